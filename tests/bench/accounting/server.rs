//! Servers under load, as processes that end with their value, and what `/proc` says of them.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use spotgate::radius::attribute::{StatusType, code};
use spotgate::radius::packet::Packet;
use spotgate::radius::secret::Secret;
use spotgate::sandbox::hotspot::{Hotspot, Record};

use crate::load::{SECRET, now};
use crate::tokens;

/// How long a server may take to start, or to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process that ends with its value.
pub struct Process {
    child: Child,
    /// What ends it well; else it is killed.
    signal: Option<&'static str>,
}

/// A server and where it takes requests.
pub struct Server {
    pub processes: Vec<Process>,
    pub auth: SocketAddr,
    pub accounting: SocketAddr,
}

/// What a process keeps in memory, in bytes.
#[derive(Clone, Copy)]
pub struct Memory {
    pub resident: u64,
    /// Without pages of files.
    pub anonymous: u64,
}

impl Process {
    pub fn start(command: &mut Command, signal: Option<&'static str>) -> Self {
        let child = command.stdin(Stdio::piped()).spawn();
        Self { child: child.unwrap_or_else(|error| panic!("{command:?}: {error}")), signal }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Ends it by this signal, and waits for that.
    pub fn end(mut self, signal: &'static str) {
        self.send(signal);
        assert!(self.ended_within(PATIENCE), "{signal} did not end it");
        self.signal = None;
    }

    fn send(&self, signal: &str) {
        let _ = Command::new("kill").args([&format!("-{signal}"), &self.id().to_string()]).status();
    }

    fn ended_within(&mut self, patience: Duration) -> bool {
        let begun = now();
        while begun.elapsed() < patience {
            match self.child.try_wait() {
                Ok(None) => pause(Duration::from_millis(2)),
                Ok(Some(_)) | Err(_) => return true,
            }
        }
        false
    }

    /// Whether it has ended by itself.
    fn is_gone(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id()));
        stat.is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')))
    }

    pub fn memory(&self) -> Memory {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("a process");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
            kilobytes.expect("a number") * 1024
        };
        Memory { resident: field("VmRSS"), anonymous: field("RssAnon") }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(signal) = self.signal {
            self.send(signal);
            if self.ended_within(Duration::from_secs(10)) {
                return;
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// The daemon in a folder that holds its tokens, answering.
    pub fn spotgate(folder: &Path) -> Self {
        let server = Self::spotgate_unready(folder, &[]);
        server.until_ready();
        server
    }

    /// The daemon, just started. Its configuration may be given more lines for the section `[radius]`.
    pub fn spotgate_unready(folder: &Path, radius: &[&str]) -> Self {
        let [auth, accounting] = ports();
        let configuration = format!(
            r#"
[source]
kind = "file"
path = "tokens.json"
[[nas]]
name = "front-desk"
address = "127.0.0.1"
secret = "{SECRET}"
[radius]
auth_listen = ["{auth}"]
acct_listen = ["{accounting}"]
{}
[http]
listen = ["127.0.0.1:0"]
[store]
path = "state"
[telemetry]
level = "warn"
metrics_listen = "127.0.0.1:0"
"#,
            radius.join("\n")
        );
        let path = folder.join("spotgate.toml");
        fs::write(&path, configuration).expect("a file");
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a file of ours");
        let mut command = Command::new(env!("CARGO_BIN_EXE_spotgate"));
        command.args(["serve", "--config"]).arg(&path).stdout(Stdio::null());
        Self { processes: vec![Process::start(&mut command, None)], auth, accounting }
    }

    /// Waits until accounting is answered.
    pub fn until_ready(&self) {
        let hotspot = Hotspot::new(self.auth, SECRET.as_bytes(), "front-desk");
        let probe = Record::start("probe", tokens::mac(0xFF_FFFF), "80ffffff", tokens::wall());
        let probe = Record { status: StatusType::InterimUpdate, ..probe };
        let probe = hotspot.accounting_request(&probe).expect("a request");
        self.first_answer(self.accounting, &probe, code::ACCOUNTING_RESPONSE, Duration::from_millis(20));
    }

    /// Sends a request again and again until it is answered, and hands the answer back.
    pub fn first_answer(&self, target: SocketAddr, request: &[u8], expected: u8, every: Duration) -> Vec<u8> {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.connect(target).expect("loopback");
        socket.set_read_timeout(Some(every)).expect("a patience");
        let secret = Secret::new(SECRET.as_bytes());
        let (mut buffer, begun) = ([0; Packet::MAX], now());
        while begun.elapsed() < PATIENCE {
            assert!(!self.processes.iter().any(Process::is_gone), "the server has ended");
            // Nobody listens yet: that may be said by either call.
            let _ = socket.send(request);
            match socket.recv(&mut buffer) {
                Ok(length) => {
                    let reply = Packet::parse(&buffer[..length]).expect("a packet");
                    let authenticator = request[4..].first_chunk().expect("a header");
                    assert!(secret.check_response(&reply, authenticator), "an answer of somebody else");
                    assert_eq!(reply.code(), expected);
                    return reply.bytes().to_vec();
                }
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => pause(every),
                Err(_) => {}
            }
        }
        panic!("no answer within {PATIENCE:?}");
    }

    /// Processor time of all its processes and their descendants so far.
    pub fn cpu(&self) -> Duration {
        cpu_of(self.processes.iter().map(Process::id).collect())
    }

    /// The one process.
    pub fn process(&self) -> &Process {
        self.processes.first().expect("a process")
    }

    /// Ends the one process by this signal.
    pub fn end(mut self, signal: &'static str) {
        self.processes.pop().expect("a process").end(signal);
    }
}

/// Processor time of these processes and their descendants so far.
pub fn cpu_of(mut ours: Vec<u32>) -> Duration {
    let all = processes();
    // Each pass finds the next generation.
    for _ in 0..8 {
        let born = all.iter().filter(|one| ours.contains(&one.parent) && !ours.contains(&one.id));
        let born: Vec<_> = born.map(|one| one.id).collect();
        if born.is_empty() {
            break;
        }
        ours.extend(born);
    }
    let ticks: u64 = all.iter().filter(|one| ours.contains(&one.id)).map(|one| one.ticks).sum();
    // USER_HZ, which is 100 wherever Debian runs.
    Duration::from_millis(ticks * 10)
}

struct Stat {
    id: u32,
    parent: u32,
    ticks: u64,
}

fn processes() -> Vec<Stat> {
    let stat = |entry: fs::DirEntry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name before may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |position: usize| fields.get(position)?.parse::<u64>().ok();
        // utime, stime, and both of children that are gone
        let ticks = (11..15).map(number).sum::<Option<u64>>()?;
        Some(Stat { id, parent: u32::try_from(number(1)?).ok()?, ticks })
    };
    fs::read_dir("/proc").expect("/proc").filter_map(|entry| stat(entry.ok()?)).collect()
}

/// Two free ports on loopback.
pub fn ports() -> [SocketAddr; 2] {
    let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a port"));
    sockets.map(|socket| socket.local_addr().expect("an address"))
}

#[expect(clippy::disallowed_methods, reason = "nothing else is to be done meanwhile")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
