//! The floors, as processes of their own: this program again, with a hidden argument. Each says where it is, and ends when its
//! standard input does.

use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};

use spotgate::core::login::Proof;
use spotgate::radius::attribute::{self as a, code};
use spotgate::radius::packet::{Packet, Reply};
use spotgate::radius::secret::{MAX_PASSWORD, MessageAuthenticator, Secret};

use crate::load::SECRET;
use crate::server::{Process, Server};

/// The argument by which this program is one of the floors.
pub const CHILD: &str = "--floor";

/// Answers before it ends by itself.
const AT_MOST: usize = 50_000_000;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Floor {
    /// What came goes back.
    Udp,
    /// What came is checked, and an answer signed.
    Signed,
}

impl Floor {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp echo",
            Self::Signed => "signed echo",
        }
    }

    pub fn start(self) -> Server {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.args([CHILD, self.name()]).stdout(Stdio::piped());
        let mut process = Process::start(&mut command, None);
        let mut lines = BufReader::new(process.child().stdout.take().expect("its output")).lines();
        let said = lines.next().expect("an address").expect("an address");
        let address: SocketAddr = said.parse().expect("an address");
        Server { processes: vec![process], auth: address, accounting: address }
    }
}

/// This program as a floor.
pub fn child(mut arguments: impl Iterator<Item = String>) {
    let kind = arguments.next().expect("a kind");
    let floor = if kind == Floor::Udp.name() { Floor::Udp } else { Floor::Signed };
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    // As much as spotgate asks for.
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20).expect("a queue");
    let address = socket.local_addr().expect("an address");
    let mut output = std::io::stdout().lock();
    writeln!(output, "{address}").and_then(|()| output.flush()).expect("a reader");
    std::thread::spawn(move || serve(floor, &socket));
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

fn serve(floor: Floor, socket: &UdpSocket) {
    let secret = Secret::new(SECRET.as_bytes());
    let (mut datagram, mut buffer) = ([0; Packet::MAX], [0; Packet::MAX]);
    for _ in 0..AT_MOST {
        let Ok((length, to)) = socket.recv_from(&mut datagram) else { continue };
        let came = &datagram[..length];
        let reply = match floor {
            Floor::Udp => Some(came),
            Floor::Signed => signed(&secret, came, &mut buffer),
        };
        if let Some(reply) = reply {
            let _ = socket.send_to(reply, to);
        }
    }
}

/// The least a legal server does.
fn signed<'b>(secret: &Secret, datagram: &[u8], buffer: &'b mut [u8; Packet::MAX]) -> Option<&'b [u8]> {
    let packet = Packet::parse(datagram).ok()?;
    if secret.check_message_authenticator(&packet) != MessageAuthenticator::Good {
        return None;
    }
    let mut password = [0; MAX_PASSWORD];
    black_box(match packet.first(a::USER_PASSWORD) {
        Some(hidden) => secret.unhide(hidden, packet.authenticator(), &mut password)? == packet.first(a::USER_NAME)?,
        None => {
            let (ident, digest) = packet.first(a::CHAP_PASSWORD)?.split_first()?;
            let challenge = packet.first(a::CHAP_CHALLENGE)?;
            Proof::Chap { ident: *ident, digest: digest.try_into().ok()?, challenge }.shows(packet.first(a::USER_NAME)?)
        }
    });
    let mut reply = Reply::new(buffer, code::ACCESS_ACCEPT, packet.identifier());
    reply.integer(a::SESSION_TIMEOUT, 3600).ok()?;
    reply.integer(a::ACCT_INTERIM_INTERVAL, 300).ok()?;
    reply.integer(a::PORT_LIMIT, 4).ok()?;
    reply.attribute(a::CLASS, &[7; 28]).ok()?;
    Some(reply.sign(secret, packet.authenticator()))
}
