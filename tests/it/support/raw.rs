//! HTTP as somebody speaks it who keeps to no rule: octets on a socket.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// How long an answer, or the end of a connection, is waited for: shorter than the daemon waits for somebody who says nothing.
const PATIENCE: Duration = Duration::from_secs(8);

/// A connection, from an address of this machine's own.
pub struct Raw(pub TcpStream);

impl Raw {
    pub async fn connect(from: [u8; 4], to: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        Self(socket.connect(to).await.unwrap())
    }

    /// Sends this; whether the other side took it.
    pub async fn send(&mut self, octets: &[u8]) -> bool {
        self.0.write_all(octets).await.is_ok()
    }

    /// What comes until the other side closes; none: it does not.
    pub async fn rest(mut self) -> Option<Vec<u8>> {
        let mut said = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut said)).await;
        // A reset, of who sends on after that, is an end too.
        closed.ok().map(|_| said)
    }

    /// The status of the first answer; none: none comes.
    pub async fn status(&mut self) -> Option<u16> {
        let mut line = [0; 12];
        let answered = tokio::time::timeout(PATIENCE, self.0.read_exact(&mut line)).await;
        answered.ok()?.ok()?;
        std::str::from_utf8(&line).ok()?.strip_prefix("HTTP/1.")?.get(2..)?.parse().ok()
    }
}

/// The statuses of the answers in what came, one after another.
pub fn statuses(mut said: &[u8]) -> Vec<u16> {
    let mut statuses = Vec::new();
    while !said.is_empty() {
        let shown = || String::from_utf8_lossy(said);
        let end = said.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("half: {}", shown()));
        let head = std::str::from_utf8(&said[..end]).unwrap().to_ascii_lowercase();
        let status = head.strip_prefix("http/1.").unwrap_or_else(|| panic!("no answer: {}", shown()));
        statuses.push(status[2..5].parse().unwrap());
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().unwrap());
        said = &said[end + 4 + length..];
    }
    statuses
}
