//! Debian's FreeRADIUS, each doing more of the job than the one before: nothing (`null`), a password from a file that it keeps in
//! memory (`files`), and the job itself: `rlm_sql` with `Simultaneous-Use` and a counter of all that was ever used (`rlm_sqlcounter`), on
//! SQLite and on PostgreSQL, with its schema and queries as they are shipped. Threads: as many as cores; on PostgreSQL sixteen, which
//! commit together. None of them writes a login down; their accounting, which is not measured here, does.

use std::fmt::Write as _;
use std::fs;
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
