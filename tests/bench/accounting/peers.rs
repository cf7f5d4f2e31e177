//! Debian's FreeRADIUS with `rlm_sql`, its queries and schema as they are shipped.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;

use crate::load::{SECRET, now};
use crate::server::{Process, Server, pause, ports};

const RADDB: &str = "/etc/freeradius/3.0";
const QUERIES: &str = "mods-config/sql/main";

/// A login is written down, as FreeRADIUS is shipped.
pub const LOGGED: &str = "sql";

/// It is not.
#[allow(dead_code, reason = "of the bench `cluster`")]
pub const UNLOGGED: &str = "ok";

/// FreeRADIUS on one database.
pub struct Peer {
    pub name: &'static str,
    pub server: Server,
    /// It goes when this does.
    pub folder: TempDir,
}

/// Packages that are missing.
pub fn missing() -> Vec<&'static str> {
    let needed = [
        ("freeradius", "/usr/lib/freeradius/rlm_sql_sqlite.so"),
        ("freeradius-rest", "/usr/lib/freeradius/rlm_rest.so"),
        ("freeradius-postgresql", "/usr/lib/freeradius/rlm_sql_postgresql.so"),
    ];
    let mut missing: Vec<_> =
        needed.into_iter().filter(|(_, file)| !Path::new(file).exists()).map(|(package, _)| package).collect();
    if postgres().is_none() {
        missing.push("postgresql");
    }
    missing
}

/// Where the latest PostgreSQL's programs are.
fn postgres() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(Result::ok);
    let programs = versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("initdb").exists());
    programs.max()
}

/// On SQLite, one thread and connection for each core: it has one writer.
pub fn sqlite(on: &Path) -> Peer {
    let folder = tempfile::tempdir_in(on).expect("a folder");
    let driver = on_sqlite(folder.path(), "");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let server = freeradius(folder.path(), &sql("sqlite", &driver, cores), cores, &by_sql(LOGGED));
    Peer { name: "FreeRADIUS, SQLite", server, folder }
}

/// Its tables in an SQLite file of its own, with these rows; the driver for it.
pub fn on_sqlite(folder: &Path, rows: &str) -> String {
    let database = folder.join("radius.db");
    let schema = fs::read_to_string(format!("{RADDB}/{QUERIES}/sqlite/schema.sql")).expect("its schema");
    let made = Connection::open(&database).expect("a database");
    // The mode stays with the file; synchronous is FULL unless told otherwise.
    made.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).expect("a log");
    made.execute_batch(&schema).expect("its tables");
    made.execute_batch(rows).expect("its rows");
    format!(
        "driver = \"rlm_sql_sqlite\"\ndialect = \"sqlite\"\nsqlite {{\nfilename = \"{}\"\nbusy_timeout = 10000\n}}",
        database.display()
    )
}

/// On PostgreSQL, sixteen threads and connections: it commits together what comes together.
pub fn postgresql(on: &Path) -> Peer {
    let folder = tempfile::tempdir_in(on).expect("a folder");
    let (postgres, port) = database(folder.path(), &TUNED);
    let mut server = on_postgresql(folder.path(), port, "postgres", LOGGED);
    server.processes.push(postgres);
    Peer { name: "FreeRADIUS, PostgreSQL", server, folder }
}

/// Settings of PostgreSQL: as durable as it is shipped, with room.
pub const TUNED: [&str; 6] = [
    "fsync=on",
    "synchronous_commit=on",
    "shared_buffers=256MB",
    "max_connections=40",
    "max_wal_size=4GB",
    "log_min_messages=error",
];

/// A PostgreSQL of its own in a folder, with these settings and else as it is shipped, and its port.
pub fn database(folder: &Path, settings: &[&str]) -> (Process, u16) {
    let data = folder.join("data");
    fs::create_dir(&data).expect("a folder");
    let user = postgres_user(folder);
    if let Some((uid, gid)) = user {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("a folder of ours");
        chown(&data, Some(uid), Some(gid)).expect("a folder of ours");
    }
    let mut initdb = postgres_command("initdb", user);
    initdb.args(["--auth=trust", "--username=bench", "--encoding=UTF8", "--locale=C", "-D"]).arg(&data);
    assert!(initdb.stdout(Stdio::null()).status().expect("initdb").success());
    let port = free_tcp_port().port();
    let mut postgres = postgres_command("postgres", user);
    postgres.arg("-D").arg(&data).args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k"]).arg(&data);
    for setting in settings {
        postgres.args(["-c", setting]);
    }
    // SIGQUIT: at once.
    let log = fs::File::create(folder.join("postgres.log")).expect("a file");
    let postgres = Process::start(postgres.stdout(Stdio::null()).stderr(log), Some("QUIT"));
    let begun = now();
    let reached = || {
        let mut ready = postgres_command("pg_isready", user);
        ready
            .args(["-q", "-U", "bench", "-d", "postgres", "-h", "127.0.0.1", "-p", &port.to_string()])
            .status()
            .is_ok_and(|said| said.success())
    };
    while !reached() {
        assert!(begun.elapsed() < Duration::from_secs(30), "PostgreSQL does not start");
        pause(Duration::from_millis(50));
    }
    (postgres, port)
}

/// What a database answers.
pub fn psql(port: u16, database: &str, statement: &str) -> String {
    let mut psql = postgres_command("psql", None);
    psql.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &port.to_string()]);
    let output = psql.args(["-U", "bench", database, "-c", statement]).output().expect("psql");
    assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// FreeRADIUS with its tables in a database that has none yet.
pub fn on_postgresql(folder: &Path, port: u16, database: &str, after_login: &str) -> Server {
    let driver = driver_of_postgresql(port, database);
    freeradius(folder, &sql("postgresql", &driver, 16), 16, &by_sql(after_login))
}

/// Its tables, where there are none yet; and the driver for them.
pub fn driver_of_postgresql(port: u16, database: &str) -> String {
    if psql(port, database, "SELECT to_regclass('radacct')").is_empty() {
        let schema = format!("{RADDB}/{QUERIES}/postgresql/schema.sql");
        psql(port, database, &fs::read_to_string(schema).expect("its schema"));
    }
    format!(
        "driver = \"rlm_sql_postgresql\"\ndialect = \"postgresql\"\npostgresql {{\nsend_application_name = yes\n}}\n\
         server = \"127.0.0.1\"\nport = {port}\nlogin = \"bench\"\npassword = \"\"\nradius_db = \"{database}\"",
    )
}

/// Whom PostgreSQL runs as where the folder is root's: it does not run as root.
fn postgres_user(folder: &Path) -> Option<(u32, u32)> {
    let owner = fs::metadata(folder).map(|folder| std::os::unix::fs::MetadataExt::uid(&folder)).expect("an owner");
    (owner == 0).then(|| (number("-u"), number("-g")))
}

fn postgres_command(program: &str, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(postgres().expect("its programs").join(program));
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command.current_dir("/").stdin(Stdio::null());
    command
}

/// A number of the user `postgres`.
fn number(which: &str) -> u32 {
    let said = Command::new("id").args([which, "postgres"]).output().expect("id").stdout;
    String::from_utf8_lossy(&said).trim().parse().expect("the user postgres")
}

fn free_tcp_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

/// How FreeRADIUS lets somebody in.
pub struct Login<'a> {
    /// Modules that it takes.
    pub modules: &'a str,
    /// Sections.
    pub authorize: &'a str,
    pub session: &'a str,
    pub post_auth: &'a str,
}

/// By a password in the database.
fn by_sql(after_login: &str) -> Login<'_> {
    Login { modules: "", authorize: "sql\npap", session: "", post_auth: after_login }
}

/// `rlm_sql` as it is shipped, on this database.
pub fn sql(dialect: &str, driver: &str, threads: usize) -> String {
    format!(
        r#"
	sql {{
		{driver}
		acct_table1 = "radacct"
		acct_table2 = "radacct"
		postauth_table = "radpostauth"
		authcheck_table = "radcheck"
		groupcheck_table = "radgroupcheck"
		authreply_table = "radreply"
		groupreply_table = "radgroupreply"
		usergroup_table = "radusergroup"
		read_groups = no
		read_clients = no
		client_table = "nas"
		delete_stale_sessions = yes
		group_attribute = "SQL-Group"
		pool {{
			start = {threads}
			min = {threads}
			max = {threads}
			spare = {threads}
			uses = 0
			retry_delay = 30
			lifetime = 0
			idle_timeout = 0
		}}
		$INCLUDE {RADDB}/{QUERIES}/{dialect}/queries.conf
	}}
"#
    )
}

/// FreeRADIUS in a folder; its accounting goes to `sql` if that is a module of it, else nowhere.
pub fn freeradius(folder: &Path, sql: &str, threads: usize, login: &Login<'_>) -> Server {
    let [auth, accounting] = ports();
    let accounted = if sql.is_empty() { "ok" } else { "sql" };
    let configuration = format!(
        r#"
prefix = /usr
localstatedir = {folder}
libdir = /usr/lib/freeradius
logdir = {folder}
run_dir = {folder}
max_requests = 16384
log {{
	destination = files
	file = {folder}/radius.log
}}
security {{
	status_server = no
}}
client bench {{
	ipaddr = 127.0.0.1
	secret = "{SECRET}"
}}
thread pool {{
	start_servers = {threads}
	max_servers = {threads}
	min_spare_servers = {threads}
	max_spare_servers = {threads}
	max_requests_per_server = 0
}}
modules {{
	expr {{
	}}
	pap {{
	}}
	always ok {{
		rcode = ok
	}}
	{sql}
	{modules}
}}
policy {{
	$INCLUDE {RADDB}/policy.d/accounting
}}
server login {{
	listen {{
		type = auth
		ipaddr = 127.0.0.1
		port = {port_of_logins}
		recv_buff = 4194304
	}}
	authorize {{
		{authorize}
	}}
	authenticate {{
		Auth-Type PAP {{
			pap
		}}
	}}
	session {{
		{session}
	}}
	post-auth {{
		{post_auth}
	}}
}}
server accounting {{
	listen {{
		type = acct
		ipaddr = 127.0.0.1
		port = {port}
		recv_buff = 4194304
	}}
	preacct {{
		acct_unique
	}}
	accounting {{
		{accounted}
	}}
}}
"#,
        folder = folder.display(),
        modules = login.modules,
        authorize = login.authorize,
        session = login.session,
        post_auth = login.post_auth,
        port_of_logins = auth.port(),
        port = accounting.port()
    );
    fs::write(folder.join("radiusd.conf"), configuration).expect("a file");
    let mut command = Command::new("freeradius");
    command.args(["-f", "-d"]).arg(folder).current_dir(folder).stdout(Stdio::null());
    let processes = vec![Process::start(&mut command, Some("TERM"))];
    let server = Server { processes, auth, accounting };
    server.until_ready();
    server
}
