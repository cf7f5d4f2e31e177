//! What goes wrong during a soak, and how it is brought about.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::time::Duration;

use spotgate::sandbox::nexudus::{Fail, Mode, Often, Sandbox};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::lots::Lots;
use crate::server::Process;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Down,
    Slow,
    Throttled,
    Errs,
    Disk,
    Descriptors,
    Stopped,
    Flood,
    Slowloris,
    Reload,
}

pub const ALL: [Fault; 10] = [
    Fault::Down,
    Fault::Slow,
    Fault::Throttled,
    Fault::Errs,
    Fault::Disk,
    Fault::Descriptors,
    Fault::Stopped,
    Fault::Flood,
    Fault::Slowloris,
    Fault::Reload,
];

/// Connections of who holds them open.
const HELD: usize = 60;

/// Packets of a flood.
const FLOOD: usize = 20_000;

impl Fault {
    /// How long it lasts at least, in seconds.
    pub fn least(self) -> u64 {
        match self {
            Self::Down | Self::Slow | Self::Throttled | Self::Errs => 10,
            Self::Disk | Self::Descriptors | Self::Slowloris => 5,
            Self::Stopped => 2,
            Self::Flood | Self::Reload => 1,
        }
    }
}

/// What is there as long as a fault lasts.
pub struct Playing {
    fault: Fault,
    held: Vec<TcpStream>,
}

/// The daemon and what is around it.
pub struct Site {
    pub daemon: Process,
    pub auth: SocketAddr,
    pub accounting: SocketAddr,
    pub http: SocketAddr,
    pub metrics: SocketAddr,
    pub sandbox: Sandbox,
}

/// Two ports that nobody has.
pub fn tcp_ports() -> [SocketAddr; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("an address"))
}

impl Site {
    /// Waits until the daemon does.
    pub async fn answers(&self) {
        for _ in 0..1200 {
            if TcpStream::connect(self.http).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the daemon does not answer");
    }

    fn tell(&self, program: &str, arguments: &[&str]) {
        let said = Command::new(program).args(arguments).status();
        assert!(said.is_ok_and(|status| status.success()), "{program} {arguments:?}");
    }

    fn signal(&self, signal: &str) {
        self.tell("kill", &[signal, &self.daemon.id().to_string()]);
    }

    /// The limit from here on; the one that was stays the highest there may be.
    fn limit(&self, limit: &str) {
        self.tell("prlimit", &["--pid", &self.daemon.id().to_string(), limit]);
    }

    fn fails(&self, mode: Mode, often: Often) {
        self.sandbox.set_faults(vec![Fail { mode, often }]);
    }

    /// Brings a fault about.
    pub async fn begin(&self, fault: Fault, lots: &mut Lots) -> Playing {
        let mut held = Vec::new();
        match fault {
            Fault::Down => self.fails(Mode::Down, Often::Always),
            Fault::Slow => self.sandbox.set_latency(Duration::from_millis(900)),
            Fault::Throttled => self.fails(Mode::Throttled429, Often::Chance(0.5)),
            Fault::Errs => {
                let mode = [Mode::ServerError, Mode::Html, Mode::Truncated, Mode::Timeout][lots.below(4)];
                self.fails(mode, Often::Chance(0.7));
            }
            Fault::Disk => self.limit("--fsize=0:"),
            Fault::Descriptors => self.limit("--nofile=8:"),
            Fault::Stopped => self.signal("-STOP"),
            Fault::Flood => self.flood(lots),
            Fault::Slowloris => {
                for _ in 0..HELD {
                    if let Ok(mut stream) = TcpStream::connect(self.http).await {
                        let _ = stream.write_all(b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ").await;
                        held.push(stream);
                    }
                }
            }
            Fault::Reload => self.signal("-HUP"),
        }
        Playing { fault, held }
    }

    /// Ends it.
    pub async fn end(&self, playing: Playing) {
        match playing.fault {
            Fault::Down | Fault::Throttled | Fault::Errs => self.sandbox.set_faults(Vec::new()),
            Fault::Slow => self.sandbox.set_latency(Duration::ZERO),
            Fault::Disk => self.limit("--fsize=unlimited:"),
            Fault::Descriptors => self.limit("--nofile=1024:"),
            Fault::Stopped => self.signal("-CONT"),
            Fault::Flood | Fault::Slowloris | Fault::Reload => {}
        }
        drop(playing.held);
    }

    /// Octets by lot, to both ports.
    fn flood(&self, lots: &mut Lots) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for number in 0..FLOOD {
            let mut octets = [0; 64];
            octets.fill_with(|| u8::try_from(lots.below(256)).unwrap_or_default());
            // Half of them have the head of a packet.
            if number % 2 == 0 {
                octets[0] = [1, 4][number / 2 % 2];
                octets[2..4].copy_from_slice(&[0, 64]);
            }
            let _ = socket.send_to(&octets, [self.auth, self.accounting][number % 2]);
        }
    }
}
