//! What is measured: daemons, or FreeRADIUS, on a database of the one server.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use spotgate::radius::attribute::{StatusType, code};
use tempfile::TempDir;

use crate::crowd::{self, Crowd};
use crate::load::{LANES, Outcome, SECRET};
use crate::server::{Process, Server, cpu_of, ports};
use crate::{Sizes, cpu, fill, peers, tokens};

/// The one PostgreSQL.
pub struct Postgres {
    process: Process,
    pub port: u16,
    _folder: TempDir,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Load {
    Admissions,
    Starts,
    Interims,
    Stops,
}

impl Load {
    pub const ALL: [Self; 4] = [Self::Admissions, Self::Starts, Self::Interims, Self::Stops];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Admissions => "admissions",
            Self::Starts => "starts",
            Self::Interims => "interims",
            Self::Stops => "stops",
        }
    }
}

/// Servers on one database.
pub struct Subject {
    pub name: String,
    servers: Vec<Server>,
    crowd: Crowd,
    /// Admissions and Interim-Updates in a second, last time.
    paces: [f64; 2],
    only_admissions: bool,
    /// Of spotgate's alone it is known what must stand there.
    database: Option<String>,
    _folders: Vec<TempDir>,
}

/// One measurement.
pub struct Sample {
    pub outcome: Outcome,
    /// Of the daemons, of PostgreSQL with all its processes, of the generator, and of everything else on this machine.
    pub cpu: [Duration; 4],
    /// Transactions that wrote.
    pub commits: f64,
    /// Octets of the database's log.
    pub log: f64,
}

impl Postgres {
    pub fn start(on: &Path) -> Self {
        let folder = tempfile::tempdir_in(on).expect("a folder");
        let (process, port) = peers::database(folder.path(), &[]);
        for setting in ["fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size"] {
            print!("{setting} = {}  ", peers::psql(port, "postgres", &format!("SHOW {setting}")));
        }
        println!("({})", peers::psql(port, "postgres", "SHOW server_version"));
        Self { process, port, _folder: folder }
    }

    fn create(&self, database: &str) {
        peers::psql(self.port, "postgres", &format!("CREATE DATABASE {database}"));
    }

    /// How many transactions have written so far, and how long the log is.
    fn written(&self) -> (f64, f64) {
        let asked = "SELECT pg_snapshot_xmax(pg_current_snapshot()), (pg_current_wal_insert_lsn() - '0/0')::bigint";
        let answer = peers::psql(self.port, "postgres", asked);
        let (commits, log) = answer.split_once('|').expect("two numbers");
        (commits.parse().expect("a number"), log.parse().expect("a number"))
    }
}

impl Subject {
    /// So many daemons, with so many sessions that last, over so many that ended.
    pub async fn spotgate(postgres: &Postgres, sizes: &Sizes, daemons: usize, live: usize, ended: usize) -> Self {
        let database = format!("spotgate_{daemons}_{live}_{ended}");
        postgres.create(&database);
        let mut folders = Vec::new();
        let servers: Vec<Server> = (0..daemons)
            .map(|_| {
                let folder = tempfile::tempdir_in(&sizes.folder).expect("a folder");
                tokens::store(folder.path(), live + sizes.tokens, 3);
                let server = daemon(folder.path(), postgres.port, &database);
                server.until_ready();
                folders.push(folder);
                server
            })
            .collect();
        let crowd = Crowd::online(&servers, live, sizes.tokens, sizes.in_flight).await;
        let plural = if daemons == 1 { "" } else { "s" };
        let mut subject = Self {
            name: format!("spotgate, {daemons} daemon{plural}"),
            servers,
            crowd,
            paces: [2000.0; 2],
            only_admissions: false,
            database: Some(database.clone()),
            _folders: folders,
        };
        // Something that ended, to be multiplied; and nothing is cold.
        subject.warm_up(postgres, sizes).await;
        fill::spotgate(postgres.port, &database, ended);
        subject
    }

    /// FreeRADIUS, with so many sessions that last, over so many that ended.
    pub async fn freeradius(postgres: &Postgres, sizes: &Sizes, live: usize, ended: usize) -> Self {
        let database = format!("radius_{live}_{ended}");
        postgres.create(&database);
        let folder = tempfile::tempdir_in(&sizes.folder).expect("a folder");
        let servers = vec![peers::on_postgresql(folder.path(), postgres.port, &database, peers::LOGGED)];
        fill::codes(postgres.port, &database, live + sizes.tokens);
        let crowd = Crowd::online(&servers, live, sizes.tokens, sizes.in_flight).await;
        let name = "FreeRADIUS".to_owned();
        let _folders = vec![folder];
        let mut subject =
            Self { name, servers, crowd, paces: [2000.0; 2], only_admissions: false, database: None, _folders };
        subject.warm_up(postgres, sizes).await;
        fill::freeradius(postgres.port, &database, ended);
        subject
    }

    /// FreeRADIUS on the database of another, writing no login down: it only reads.
    pub async fn reading(postgres: &Postgres, sizes: &Sizes, live: usize) -> Self {
        let folder = tempfile::tempdir_in(&sizes.folder).expect("a folder");
        let servers =
            vec![peers::on_postgresql(folder.path(), postgres.port, &format!("radius_{live}_0"), peers::UNLOGGED)];
        let crowd = Crowd::online(&servers, LANES, sizes.tokens, sizes.in_flight).await;
        let name = "FreeRADIUS, reads only".to_owned();
        let _folders = vec![folder];
        let mut subject =
            Self { name, servers, crowd, paces: [2000.0; 2], only_admissions: true, database: None, _folders };
        subject.warm_up(postgres, sizes).await;
        subject
    }

    async fn warm_up(&mut self, postgres: &Postgres, sizes: &Sizes) {
        for load in Load::ALL {
            self.measure(postgres, sizes, load).await;
        }
    }

    /// Measures it once; none: that is not for it. The sessions that begin and end are those of the admissions before.
    pub async fn measure(&mut self, postgres: &Postgres, sizes: &Sizes, load: Load) -> Option<Sample> {
        if self.only_admissions && load != Load::Admissions {
            return None;
        }
        let crowd = &mut self.crowd;
        let (requests, limit) = match load {
            Load::Admissions => (crowd.logins(requests(self.paces[0], sizes)), Some(sizes.period)),
            Load::Starts => (crowd.reports(StatusType::Start), None),
            Load::Interims => (crowd.interims(requests(self.paces[1], sizes)), Some(sizes.period)),
            Load::Stops => (crowd.reports(StatusType::Stop), None),
        };
        let (to, expected) = match load {
            Load::Admissions => (crowd::auth(&self.servers), code::ACCESS_ACCEPT),
            _ => (crowd::accounting(&self.servers), code::ACCOUNTING_RESPONSE),
        };
        let ids: Vec<u32> = self.servers.iter().flat_map(|server| server.processes.iter().map(Process::id)).collect();
        let spent = || [cpu_of(ids.clone()), cpu_of(vec![postgres.process.id()]), cpu::own(), cpu::machine()];
        let held = self.database.as_ref().map(|database| held(postgres.port, database));
        let written = postgres.written();
        let before = spent();
        let outcome = crowd::spread(&to, requests, sizes.in_flight, expected, limit).await;
        let mut cpu = spent();
        for (spent, before) in cpu.iter_mut().zip(before) {
            *spent = spent.saturating_sub(before);
        }
        let [daemons, database, own, machine] = cpu;
        let others = machine.saturating_sub(daemons + database + own);
        let (commits, log) = postgres.written();
        match load {
            Load::Admissions => {
                self.paces[0] = outcome.rate();
                self.crowd.are_in(&outcome);
            }
            Load::Interims => self.paces[1] = outcome.rate(),
            Load::Starts | Load::Stops => {}
        }
        if let (Some(database), Some([online, ended])) = (&self.database, held) {
            let answered = outcome.answered;
            let expected = match load {
                Load::Admissions => [online + answered, ended],
                Load::Starts | Load::Interims => [online, ended],
                Load::Stops => [online - answered, ended + answered],
            };
            assert_eq!(self::held(postgres.port, database), expected, "what was acknowledged is in the database");
        }
        let cpu = [daemons, database, own, others];
        Some(Sample { outcome, cpu, commits: commits - written.0, log: log - written.1 })
    }
}

/// What the database holds of spotgate's: sessions online, and sessions that ended.
fn held(port: u16, database: &str) -> [usize; 2] {
    let asked = "SELECT (SELECT coalesce(sum(json_array_length(state->'sessions')), 0) FROM spotgate_account),
        (SELECT count(*) FROM spotgate_session)";
    let answer = peers::psql(port, database, asked);
    let (online, ended) = answer.split_once('|').expect("two numbers");
    [online, ended].map(|number| number.parse().expect("a number"))
}

/// Requests to have at hand: more than can be answered; as many for each lane.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hundred thousand")]
fn requests(pace: f64, sizes: &Sizes) -> usize {
    ((pace * sizes.period.as_secs_f64() * 1.6) as usize).max(sizes.in_flight).next_multiple_of(LANES)
}

fn daemon(folder: &Path, port: u16, database: &str) -> Server {
    let [auth, accounting] = ports();
    let configuration = format!(
        r#"
[source]
kind = "file"
path = "tokens.json"
[policy]
grant_timeout = "12h"
missed_interims = 100
[[nas]]
name = "front-desk"
address = "127.0.0.1"
secret = "{SECRET}"
[radius]
auth_listen = ["{auth}"]
acct_listen = ["{accounting}"]
[http]
listen = ["127.0.0.1:0"]
[store]
kind = "postgres"
path = "state"
url = "postgres://bench@127.0.0.1:{port}/{database}"
[telemetry]
level = "warn"
metrics_listen = "127.0.0.1:0"
"#
    );
    let path = folder.join("spotgate.toml");
    fs::write(&path, configuration).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a file of ours");
    let mut command = Command::new(env!("CARGO_BIN_EXE_spotgate"));
    command.args(["serve", "--config"]).arg(&path).stdout(Stdio::null());
    Server { processes: vec![Process::start(&mut command, None)], auth, accounting }
}
