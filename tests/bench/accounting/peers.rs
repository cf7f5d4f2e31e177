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
    let database = folder.path().join("radius.db");
    let schema = fs::read_to_string(format!("{RADDB}/{QUERIES}/sqlite/schema.sql")).expect("its schema");
    let made = Connection::open(&database).expect("a database");
    // The mode stays with the file; synchronous is FULL unless told otherwise.
    made.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).expect("a log");
    made.execute_batch(&schema).expect("its tables");
    drop(made);
    let driver = format!(
        "driver = \"rlm_sql_sqlite\"\ndialect = \"sqlite\"\nsqlite {{\nfilename = \"{}\"\nbusy_timeout = 10000\n}}",
        database.display()
    );
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let server = freeradius(folder.path(), "sqlite", &driver, cores, Vec::new());
    Peer { name: "FreeRADIUS, SQLite", server, folder }
}

/// On PostgreSQL, sixteen threads and connections: it commits together what comes together.
pub fn postgresql(on: &Path) -> Peer {
    let folder = tempfile::tempdir_in(on).expect("a folder");
    let programs = postgres().expect("its programs");
    let data = folder.path().join("data");
    fs::create_dir(&data).expect("a folder");
    // It does not run as root.
    let owner =
        fs::metadata(folder.path()).map(|folder| std::os::unix::fs::MetadataExt::uid(&folder)).expect("an owner");
    let user = (owner == 0).then(|| (number("-u"), number("-g")));
    let command = |program: &str| {
        let mut command = Command::new(programs.join(program));
        if let Some((uid, gid)) = user {
            command.uid(uid).gid(gid);
        }
        command.current_dir("/").stdin(Stdio::null());
        command
    };
    if let Some((uid, gid)) = user {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a folder of ours");
        chown(&data, Some(uid), Some(gid)).expect("a folder of ours");
    }
    let mut initdb = command("initdb");
    initdb.args(["--auth=trust", "--username=bench", "--encoding=UTF8", "--locale=C", "-D"]).arg(&data);
    assert!(initdb.stdout(Stdio::null()).status().expect("initdb").success());
    let port = free_tcp_port();
    let mut postgres = command("postgres");
    postgres.arg("-D").arg(&data).args(["-p", &port.port().to_string(), "-h", "127.0.0.1", "-k"]).arg(&data);
    for setting in [
        "fsync=on",
        "synchronous_commit=on",
        "shared_buffers=256MB",
        "max_connections=40",
        "max_wal_size=4GB",
        "log_min_messages=error",
    ] {
        postgres.args(["-c", setting]);
    }
    // SIGQUIT: at once.
    let log = fs::File::create(folder.path().join("postgres.log")).expect("a file");
    let postgres = Process::start(postgres.stdout(Stdio::null()).stderr(log), Some("QUIT"));
    let schema = format!("{RADDB}/{QUERIES}/postgresql/schema.sql");
    // It reads no file of ours that is root's alone.
    let schema = fs::read_to_string(schema).expect("its schema");
    let begun = now();
    let reached = || {
        let mut ready = command("pg_isready");
        ready
            .args(["-q", "-U", "bench", "-d", "postgres", "-h", "127.0.0.1", "-p", &port.port().to_string()])
            .status()
            .is_ok_and(|said| said.success())
    };
    while !reached() {
        assert!(begun.elapsed() < Duration::from_secs(30), "PostgreSQL does not start");
        pause(Duration::from_millis(50));
    }
    let mut psql = command("psql");
    psql.args(["-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &port.port().to_string(), "-U", "bench"]);
    psql.args(["postgres", "-c", &schema]);
    assert!(psql.status().expect("psql").success());
    let driver = format!(
        "driver = \"rlm_sql_postgresql\"\ndialect = \"postgresql\"\npostgresql {{\nsend_application_name = yes\n}}\n\
         server = \"127.0.0.1\"\nport = {}\nlogin = \"bench\"\npassword = \"\"\nradius_db = \"postgres\"",
        port.port()
    );
    let server = freeradius(folder.path(), "postgresql", &driver, 16, vec![postgres]);
    Peer { name: "FreeRADIUS, PostgreSQL", server, folder }
}

/// A number of the user `postgres`.
fn number(which: &str) -> u32 {
    let said = Command::new("id").args([which, "postgres"]).output().expect("id").stdout;
    String::from_utf8_lossy(&said).trim().parse().expect("the user postgres")
}

fn free_tcp_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

fn freeradius(folder: &Path, dialect: &str, driver: &str, threads: usize, mut processes: Vec<Process>) -> Server {
    let [auth, accounting] = ports();
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
}}
policy {{
	$INCLUDE {RADDB}/policy.d/accounting
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
		sql
	}}
}}
"#,
        folder = folder.display(),
        port = accounting.port()
    );
    fs::write(folder.join("radiusd.conf"), configuration).expect("a file");
    let mut command = Command::new("freeradius");
    command.args(["-f", "-d"]).arg(folder).current_dir(folder).stdout(Stdio::null());
    processes.insert(0, Process::start(&mut command, Some("TERM")));
    let server = Server { processes, auth, accounting };
    server.until_ready();
    server
}
