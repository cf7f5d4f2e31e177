//! Time stands still in these tests but for `advance`, while sockets are waited for as long as they need.

mod orders;
mod sessions;
mod web;

use std::net::UdpSocket as StdSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender as Held;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::advance;

use super::*;
use crate::radius::attribute::{self as attr, StatusType, code};
use crate::radius::packet::{Packet, Reply};
use crate::radius::secret::Secret;

const SECRET: &[u8] = b"a secret of more than sixteen octets";
const MAC: Mac = Mac::new([0x9A, 0x4C, 0x10, 0x7E, 0x22, 0x29]);
const OTHER: Mac = Mac::new([0x9A, 0x4C, 0x10, 0x7E, 0x22, 0x2A]);
const CODE: &str = "kx7q-91mp";
const NOW: &str = "2026-09-21T13:33:20Z";

/// What the server grants to everybody.
#[derive(Clone, Copy, Default)]
struct Grant {
    session_timeout: Option<u32>,
    idle_timeout: Option<u32>,
    interim: Option<u32>,
    port_limit: Option<u32>,
}

const HOUR: Grant = Grant { session_timeout: Some(3600), idle_timeout: None, interim: Some(300), port_limit: Some(2) };

/// A request as the server got it.
#[derive(Debug, PartialEq, Eq)]
struct Got {
    from: SocketAddr,
    bytes: Vec<u8>,
}

/// A server for logins and accounting in a thread of its own. What it gets it shows before it answers, so that whoever
/// has an answer finds the request here.
struct Server {
    address: SocketAddr,
    logins: UnboundedReceiver<Got>,
    records: UnboundedReceiver<Got>,
    /// Whether accounting is answered.
    accounts: Arc<AtomicBool>,
}

impl Server {
    fn start(grant: Result<Grant, &'static [u8]>) -> Self {
        Self::deciding(move |_| grant)
    }

    /// One that looks at what it is asked.
    fn deciding(decide: impl Fn(&Packet<'_>) -> Result<Grant, &'static [u8]> + Send + 'static) -> Self {
        let socket = StdSocket::bind("127.0.0.1:0").unwrap();
        // when nothing comes for so long, a test that waits shall fail
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (login, logins) = unbounded_channel();
        let (record, records) = unbounded_channel();
        let accounts = Arc::new(AtomicBool::new(true));
        let server = Self { address: socket.local_addr().unwrap(), logins, records, accounts: Arc::clone(&accounts) };
        std::thread::spawn(move || Self::run(&socket, decide, &login, &record, &accounts));
        server
    }

    fn run(
        socket: &StdSocket,
        decide: impl Fn(&Packet<'_>) -> Result<Grant, &'static [u8]>,
        login: &UnboundedSender<Got>,
        record: &UnboundedSender<Got>,
        accounts: &AtomicBool,
    ) {
        let mut buffer = vec![0; Packet::MAX];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let request = Packet::parse(&buffer[..length]).unwrap();
            let accounting = request.code() == code::ACCOUNTING_REQUEST;
            // what is set when somebody sees the request is too late for it
            let answered = !accounting || accounts.load(Ordering::SeqCst);
            let got = Got { from, bytes: request.bytes().to_vec() };
            if if accounting { record } else { login }.send(got).is_err() {
                return;
            }
            if answered {
                let reply = if accounting { bare(&request) } else { decision(&request, decide(&request)) };
                socket.send_to(&reply, from).unwrap();
            }
        }
    }

    /// The next record.
    async fn record(&mut self) -> Account {
        Account::read(&self.records.recv().await.expect("a record"))
    }

    /// Fails if there is a record that was not looked at.
    async fn no_more(&mut self, router: &Router) {
        turns().await;
        router.settled().await;
        assert!(self.records.try_recv().is_err());
    }
}

fn bare(request: &Packet<'_>) -> Vec<u8> {
    let mut buffer = [0; Packet::MAX];
    let reply = Reply::bare(&mut buffer, code::ACCOUNTING_RESPONSE, request.identifier());
    reply.sign(&Secret::new(SECRET), request.authenticator()).to_vec()
}

fn decision(request: &Packet<'_>, grant: Result<Grant, &[u8]>) -> Vec<u8> {
    let mut buffer = [0; Packet::MAX];
    let code = if grant.is_ok() { code::ACCESS_ACCEPT } else { code::ACCESS_REJECT };
    let mut reply = Reply::new(&mut buffer, code, request.identifier());
    match grant {
        Ok(grant) => {
            for (kind, value) in [
                (attr::SESSION_TIMEOUT, grant.session_timeout),
                (attr::IDLE_TIMEOUT, grant.idle_timeout),
                (attr::ACCT_INTERIM_INTERVAL, grant.interim),
                (attr::PORT_LIMIT, grant.port_limit),
            ] {
                value.into_iter().for_each(|value| reply.integer(kind, value).unwrap());
            }
            // the server knows its session by the Class
            reply.attribute(attr::CLASS, request.first(attr::ACCT_SESSION_ID).unwrap()).unwrap();
        }
        Err([]) => {}
        Err(message) => reply.attribute(attr::REPLY_MESSAGE, message).unwrap(),
    }
    reply.sign(&Secret::new(SECRET), request.authenticator()).to_vec()
}

/// An accounting record as the server reads it.
#[derive(Debug, PartialEq, Eq)]
struct Account {
    status: StatusType,
    name: Option<String>,
    session_id: Option<String>,
    class: Option<String>,
    address: Option<Ipv4Addr>,
    seconds: Option<u32>,
    input: Option<u64>,
    output: Option<u64>,
    cause: Option<u32>,
}

impl Account {
    fn read(got: &Got) -> Self {
        let packet = Packet::parse(&got.bytes).unwrap();
        assert!(Secret::new(SECRET).check_request_authenticator(&packet));
        let integer = |kind| packet.first(kind).and_then(attr::integer);
        let text = |kind| packet.first(kind).map(|value| String::from_utf8(value.to_vec()).unwrap());
        let long = |low, high| Some(u64::from(integer(low)?) | (u64::from(integer(high)?) << 32));
        Self {
            status: StatusType::from_number(integer(attr::ACCT_STATUS_TYPE).unwrap()).unwrap(),
            name: text(attr::USER_NAME),
            session_id: text(attr::ACCT_SESSION_ID),
            class: text(attr::CLASS),
            address: packet.first(attr::FRAMED_IP_ADDRESS).and_then(attr::ipv4),
            seconds: integer(attr::ACCT_SESSION_TIME),
            input: long(attr::ACCT_INPUT_OCTETS, attr::ACCT_INPUT_GIGAWORDS),
            output: long(attr::ACCT_OUTPUT_OCTETS, attr::ACCT_OUTPUT_GIGAWORDS),
            cause: integer(attr::ACCT_TERMINATE_CAUSE),
        }
    }

    /// What most tests look at.
    fn brief(&self) -> (StatusType, &str, Option<u32>, Option<u32>) {
        (self.status, self.session_id.as_deref().unwrap_or_default(), self.seconds, self.cause)
    }
}

/// Keeps tokio's stopped clock from advancing by itself while a socket is waited for.
fn still() -> Held<()> {
    let (held, until_dropped) = std::sync::mpsc::channel();
    tokio::task::spawn_blocking(move || until_dropped.recv());
    held
}

fn options(server: &Server) -> Options {
    Options {
        accounting: server.address,
        timeout: Duration::from_secs(1),
        clock: Clock::manual(NOW.parse().unwrap()),
        ..Options::new(server.address, SECRET)
    }
}

/// A server that grants this, and a router.
async fn world(grant: Grant) -> (Router, Server, Held<()>) {
    let server = Server::start(Ok(grant));
    (Router::start(options(&server)).await.unwrap(), server, still())
}

/// Logs in and takes note of the Start.
async fn online(router: &Router, server: &mut Server, name: &str, mac: Mac) -> Admitted {
    let admitted = router.login(name, "", mac).await.unwrap().admitted().unwrap();
    let start = server.record().await;
    assert_eq!(start.brief(), (StatusType::Start, &*admitted.session_id, None, None));
    admitted
}

/// Lets time pass, but not while an answer is on its way: it would be late.
async fn pass(router: &Router, seconds: u64) {
    router.settled().await;
    advance(Duration::from_secs(seconds)).await;
}

/// Gives every task of the router its turn, timers included.
async fn turns() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Lets the router work until it has come so far.
async fn until(mut done: impl FnMut() -> bool) {
    for _ in 0..10_000_000 {
        if done() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never came so far");
}
