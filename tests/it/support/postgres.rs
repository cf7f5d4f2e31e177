//! Debian's PostgreSQL, a server of its own for a test: on loopback, in a folder of its own, ended with the value.

use std::collections::HashMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use secrecy::SecretString;
use spotgate::database::Database;
use tempfile::TempDir;

use super::ledger::elapsed;
use super::places::Places;

/// Where the environment says `SPOTGATE_STORE=postgres`, the URL of a database for the daemon of this folder: the same tests
/// then hold for both stores. One server serves all; it ends with this process.
pub fn url_for(folder: &Path) -> Option<String> {
    static SERVER: LazyLock<Mutex<(Postgres, HashMap<PathBuf, String>)>> =
        LazyLock::new(|| Mutex::new((Postgres::start_by(Ends::WithTheProcess), HashMap::new())));
    if std::env::var("SPOTGATE_STORE").ok()? != "postgres" {
        return None;
    }
    let (server, databases) = &mut *SERVER.lock().unwrap();
    let name = format!("of_daemon_{}", databases.len());
    let name = databases.entry(folder.to_owned()).or_insert_with(|| {
        let (made, said) = server.psql("postgres", &format!("CREATE DATABASE {name}"));
        assert!(made, "{said}");
        name
    });
    Some(server.url_of(name))
}

/// When a server ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    WithTheValue,
    /// Nobody drops what is static: a shell waits for the end of its input, which this process holds.
    WithTheProcess,
}

/// A server, and its data.
pub struct Postgres {
    folder: TempDir,
    /// The network namespace that it runs in; none: this one.
    namespace: Option<String>,
    address: String,
    port: u16,
    ends: Ends,
    child: Option<Child>,
}

const PASSWORD: &str = "correct-horse";

impl Postgres {
    /// Makes a cluster with a database `spotgate`, and starts it.
    pub fn start() -> Self {
        Self::start_by(Ends::WithTheValue)
    }

    /// The same at a place of its own, reached by this address.
    pub fn start_at(places: &Places, place: &str, address: &str) -> Self {
        Self::start_on(address, Some(places.name(place)), Ends::WithTheValue)
    }

    fn start_by(ends: Ends) -> Self {
        Self::start_on("127.0.0.1", None, ends)
    }

    fn start_on(address: &str, namespace: Option<String>, ends: Ends) -> Self {
        // What is made in it belongs to another user.
        let folder = tempfile::Builder::new().prefix("spotgate-postgres").tempdir().unwrap();
        let (data, password) = (folder.path().join("data"), folder.path().join("password"));
        fs::write(&password, PASSWORD).unwrap();
        owned_by_postgres(folder.path());
        let mut initdb = as_postgres("initdb");
        initdb.arg("-D").arg(&data).args([
            "-U",
            "spotgate",
            "--auth=scram-sha-256",
            "--no-sync",
            "--no-locale",
            "-E",
            "UTF8",
        ]);
        let made = initdb.arg(format!("--pwfile={}", password.display())).stdout(Stdio::null()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let lines = format!(
            "port = {port}\nlisten_addresses = '{address}'\nunix_socket_directories = '{}'\nmax_connections = 100\n\
             shared_buffers = '64MB'\n",
            folder.path().display()
        );
        let configuration = data.join("postgresql.conf");
        fs::write(&configuration, fs::read_to_string(&configuration).unwrap() + &lines).unwrap();
        if namespace.is_some() {
            let who = data.join("pg_hba.conf");
            fs::write(&who, fs::read_to_string(&who).unwrap() + "host all all 0.0.0.0/0 scram-sha-256\n").unwrap();
        }
        let mut server = Self { folder, namespace, address: address.to_owned(), port, ends, child: None };
        server.run();
        let (code, said) = server.psql("postgres", "CREATE DATABASE spotgate");
        assert!(code, "{said}");
        server
    }

    /// Its folder; what lies there may be read by the server.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the server on the data that there is, and waits until it answers.
    pub fn run(&mut self) {
        let data = self.folder.path().join("data");
        let mut postgres = match self.ends {
            Ends::WithTheValue => match &self.namespace {
                Some(namespace) => {
                    let server = as_postgres("postgres");
                    let mut there = Command::new("ip");
                    there.args(["netns", "exec", namespace]).arg(server.get_program()).args(server.get_args());
                    there.process_group(0).current_dir("/");
                    there
                }
                None => as_postgres("postgres"),
            },
            Ends::WithTheProcess => {
                let server = as_postgres("postgres");
                let mut shell = Command::new("sh");
                shell.args(["-c", "\"$0\" \"$@\" </dev/null & cat >/dev/null; kill -QUIT $!; wait; rm -r \"$FOLDER\""]);
                shell.arg(server.get_program()).args(server.get_args());
                shell.process_group(0).current_dir("/").env("FOLDER", self.folder.path());
                shell
            }
        };
        postgres.arg("-D").arg(data);
        let stdin = if self.ends == Ends::WithTheProcess { Stdio::piped() } else { Stdio::null() };
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        postgres.stdin(stdin).stdout(log.try_clone().unwrap()).stderr(log);
        let mut child = postgres.spawn().unwrap();
        let until = elapsed() + Duration::from_secs(60);
        while !self.psql("postgres", "SELECT 1").0 {
            let said = || fs::read_to_string(self.log()).unwrap();
            assert!(elapsed() < until, "{}", said());
            // A process of the server that was killed has not ended yet.
            if child.try_wait().unwrap().is_some() {
                assert!(said().contains("pre-existing shared memory block"), "{}", said());
                child = postgres.spawn().unwrap();
            }
        }
        self.child = Some(child);
    }

    /// Adds settings, and starts anew with them.
    pub fn set(&mut self, lines: &str) {
        self.end("QUIT");
        owned_by_postgres(self.folder.path());
        let configuration = self.folder.path().join("data/postgresql.conf");
        fs::write(&configuration, fs::read_to_string(&configuration).unwrap() + lines).unwrap();
        self.run();
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// What a daemon is told.
    pub fn url(&self) -> String {
        self.url_of("spotgate")
    }

    fn url_of(&self, database: &str) -> String {
        // It has no certificate to show to those from elsewhere.
        let plain = if self.namespace.is_some() { "?sslmode=disable" } else { "" };
        format!("postgres://spotgate:{PASSWORD}@{}:{}/{database}{plain}", self.address, self.port)
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    pub fn database(&self) -> Database {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Database::new(&SecretString::from(self.url()), "a test").unwrap()
    }

    /// Has `psql` do something; whether it was done, and what it said.
    fn psql(&self, database: &str, statement: &str) -> (bool, String) {
        let url = self.url_of(database);
        let output = Command::new("psql")
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement, &url])
            .output()
            .unwrap();
        (output.status.success(), super::printed(&output))
    }

    /// What the database answers.
    pub fn ask(&self, statement: &str) -> String {
        let (done, said) = self.psql("spotgate", statement);
        assert!(done, "{statement}: {said}");
        said.trim().to_owned()
    }

    /// Sends the server a signal by name. Its other processes get it too if it is one that stops or continues.
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        let children = Command::new("pgrep").args(["-P", &id]).output().unwrap();
        let children = String::from_utf8(children.stdout).unwrap();
        let all = children.lines().filter(|_| ["STOP", "CONT"].contains(&name)).chain([id.as_str()]);
        for process in all {
            let _ = Command::new("kill").args([&format!("-{name}"), process]).status().unwrap();
        }
    }

    /// Ends it as a power cut does, as far as it can tell.
    pub fn kill(&mut self) {
        // Every process at once: those that are left would finish what they do.
        self.end("KILL");
    }

    fn end(&mut self, how: &str) {
        let Some(mut child) = self.child.take() else { return };
        let id = child.id().to_string();
        let children = Command::new("pgrep").args(["-P", &id]).output().unwrap();
        let children = String::from_utf8(children.stdout).unwrap();
        let _ = Command::new("kill")
            .args([&format!("-{how}"), &id])
            .args(if how == "KILL" { children.lines().collect() } else { Vec::new() })
            .stderr(Stdio::null())
            .status();
        let _ = child.wait();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.signal("CONT");
        }
        self.end("QUIT");
        if std::thread::panicking() {
            eprintln!("--- PostgreSQL ---\n{}", fs::read_to_string(self.log()).unwrap_or_default());
        }
    }
}

fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("Debian's package postgresql is needed");
    let programs = versions.map(|version| version.unwrap().path().join("bin").join(name));
    programs.filter(|program| program.exists()).max().expect("PostgreSQL's programs are needed")
}

/// A program of PostgreSQL's, which does not run as root.
fn as_postgres(name: &str) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program(name));
        command
    } else {
        Command::new(program(name))
    };
    command.current_dir("/").process_group(0);
    command
}

/// Gives a folder, and what is in it, to whom the server runs as.
fn owned_by_postgres(folder: &Path) {
    if is_root() {
        assert!(Command::new("chown").args(["-R", "postgres:postgres"]).arg(folder).status().unwrap().success());
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    String::from_utf8(id.stdout).unwrap().trim() == "0"
}
