//! Debian's FreeRADIUS, each doing more of the job than the one before: nothing (`null`), a password from a file that it keeps in
//! memory (`files`), one that a server of this bench tells over HTTP, and that it keeps from then on (`cache and rest`), and the job itself: `rlm_sql` with `Simultaneous-Use` and a counter of all that was ever used (`rlm_sqlcounter`), on
//! SQLite and on PostgreSQL, with its schema and queries as they are shipped. Threads: as many as cores; on PostgreSQL sixteen, which
//! commit together. None of them writes a login down; their accounting, which is not measured here, does.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use tempfile::TempDir;

pub use crate::of_accounting::missing;
use crate::of_accounting::{self, Login, TUNED};
use crate::server::Server;
use crate::tokens::code;

/// A server and what goes when it does.
pub struct Peer {
    pub server: Server,
    pub folder: TempDir,
}

/// What every guest has: a password, three devices at once, and more seconds than are ever used.
const ROWS: [(&str, &str); 3] =
    [("Cleartext-Password", ""), ("Simultaneous-Use", "3"), ("Max-All-Session", "2000000000")];

const COUNTER: &str = r#"
	sqlcounter counter {
		sql_module_instance = sql
		dialect = "DIALECT"
		counter_name = All-Session-Time
		check_name = Max-All-Session
		reply_name = Session-Timeout
		key = User-Name
		reset = never
		query = "SELECT COALESCE(SUM(acctsessiontime), 0) FROM radacct WHERE username = '%{${key}}'"
	}
"#;

pub fn null(on: &Path) -> Peer {
    let login =
        Login { modules: "", authorize: "update control {\nAuth-Type := Accept\n}", session: "", post_auth: "ok" };
    in_memory(on, &login, "")
}

pub fn files(on: &Path, guests: usize) -> Peer {
    let mut users = String::new();
    for guest in 0..guests {
        let code = code(guest);
        let _ = writeln!(users, "{code} Cleartext-Password := \"{code}\"\n\tSession-Timeout := 3600");
    }
    let modules = "files {\nfilename = ${localstatedir}/users\n}";
    let login = Login { modules, authorize: "files\npap", session: "", post_auth: "ok" };
    in_memory(on, &login, &users)
}

/// What is asked is in the cache by the time that anything is measured.
pub fn cache_and_rest(on: &Path, guests: usize) -> Peer {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || tells_passwords(&connection));
        }
    });
    let modules = format!(
        "rest {{\nconnect_uri = \"http://{address}\"\nauthorize {{\nuri = \"${{..connect_uri}}/%{{User-Name}}\"\n\
         method = 'get'\ntls = ${{..tls}}\n}}\ntls {{\n}}\npool {{\nstart = 1\nmin = 1\nmax = 16\nspare = 1\n}}\n}}\n\
         cache {{\ndriver = \"rlm_cache_rbtree\"\nkey = \"%{{User-Name}}\"\nttl = 86400\nmax_entries = {}\n\
         update {{\n&control:Cleartext-Password := &control:Cleartext-Password\n}}\n}}",
        guests * 2
    );
    let authorize =
        "update control {\n&Cache-Status-Only := 'yes'\n}\ncache\nif (ok) {\ncache\n}\nelse {\nrest\ncache\n}\npap";
    in_memory(on, &Login { modules: &modules, authorize, session: "", post_auth: "ok" }, "")
}

/// Answers requests on a connection, one after another: a guest's password is the name that is asked for.
fn tells_passwords(connection: &TcpStream) {
    let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
    while let Some(request) = lines.next() {
        let name = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
        let _ = lines.find(String::is_empty);
        let body = format!("{{\"control:Cleartext-Password\":\"{name}\"}}");
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        if (&mut &*connection).write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

fn in_memory(on: &Path, login: &Login<'_>, users: &str) -> Peer {
    let folder = tempfile::tempdir_in(on).expect("a folder");
    fs::write(folder.path().join("users"), users).expect("a file");
    let server = of_accounting::freeradius(folder.path(), "", cores(), login);
    Peer { server, folder }
}

pub fn sqlite(on: &Path, guests: usize) -> Peer {
    let folder = tempfile::tempdir_in(on).expect("a folder");
    let numbers =
        format!("WITH RECURSIVE guest (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM guest WHERE n < {guests} - 1)");
    let code = "printf('kx7q-%07d', n)";
    let rows = ROWS.map(|(attribute, value)| insert(attribute, value, code, &format!("{numbers} SELECT"), "guest"));
    let driver = of_accounting::on_sqlite(folder.path(), &rows.concat());
    let server = the_job(folder.path(), "sqlite", &driver, cores());
    Peer { server, folder }
}

pub fn postgresql(on: &Path, guests: usize) -> Peer {
    let folder = tempfile::tempdir_in(on).expect("a folder");
    let (postgres, port) = of_accounting::database(folder.path(), &TUNED);
    let driver = of_accounting::driver_of_postgresql(port, "postgres");
    let numbers = format!("generate_series(0, {guests} - 1) AS guest (n)");
    for (attribute, value) in ROWS {
        let code = "'kx7q-' || lpad(n::text, 7, '0')";
        of_accounting::psql(port, "postgres", &insert(attribute, value, code, "SELECT", &numbers));
    }
    of_accounting::psql(port, "postgres", "ANALYZE");
    let mut server = the_job(folder.path(), "postgresql", &driver, 16);
    server.processes.push(postgres);
    Peer { server, folder }
}

/// A statement by which every guest has this.
fn insert(attribute: &str, value: &str, code: &str, select: &str, from: &str) -> String {
    let value = if value.is_empty() { code.to_owned() } else { format!("'{value}'") };
    format!(
        "INSERT INTO radcheck (username, attribute, op, value) {select} {code}, '{attribute}', ':=', {value} FROM {from};"
    )
}

fn the_job(folder: &Path, dialect: &str, driver: &str, threads: usize) -> Server {
    let modules = COUNTER.replace("DIALECT", dialect);
    let login = Login { modules: &modules, authorize: "sql\ncounter\npap", session: "sql", post_auth: "ok" };
    of_accounting::freeradius(folder, &of_accounting::sql(dialect, driver, threads), threads, &login)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
