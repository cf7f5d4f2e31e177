//! RADIUS over TLS: radsecproxy as Debian has it in front, OpenSSL, and a peer that does what no router should.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::{Child, Stdio};
use std::time::Duration;

use rcgen::CertificateParams;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use spotgate::radius::attribute::{self as a, ErrorCause, code};
use spotgate::radius::packet::{Packet, Reply, Request};
use spotgate::radius::secret::Secret;
use spotgate::sandbox::hotspot::{Hotspot, Password, Record};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::peers::radclient;
use crate::support::authority::{Authority, Pair, client_of};
use crate::support::{
    FILE_SOURCE, SECRET, Spotgate, configuration, configured, mac, printed, record, repository_file, run, tool, with,
};

/// What stands for a shared secret inside TLS.
const RADSEC: &[u8] = b"radsec";

const SECTION: &str = "[radius.radsec]\nlisten = [\"127.0.0.1:0\"]\ncertificate = \"radsec.pem\"\nprivate_key = \"radsec.key\"\nclient_ca = \"ca.pem\"\n";

/// A daemon with RadSec, and the authority of both ends.
pub(crate) struct World {
    pub(crate) spotgate: Spotgate,
    authority: Authority,
}

/// More settings for the NAS; the source before, if it is not a file.
pub(crate) struct Setup<'s> {
    source: &'s str,
    nas: &'s str,
}

pub(crate) const PLAIN: Setup<'static> = Setup { source: FILE_SOURCE, nas: "" };
const NAMED: Setup<'static> = Setup { source: FILE_SOURCE, nas: "certificate_name = \"front-desk.example.org\"\n" };

fn text(setup: &Setup<'_>) -> String {
    configuration(setup.source, &format!("{}{SECTION}", setup.nas))
}

impl World {
    pub(crate) fn new(setup: &Setup<'_>) -> Self {
        Self::showing(setup, |_| {})
    }

    /// The same, with its certificate changed before it is signed.
    fn showing(setup: &Setup<'_>, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let authority = Authority::new("routers and spotgate");
        let folder = tempfile::tempdir().unwrap();
        let tokens =
            [with(record(1, "kx7q-91mp"), json!({"UserLimit": 2})), with(record(2, "many"), json!({"UserLimit": 999}))];
        std::fs::write(folder.path().join("tokens.json"), Value::from(tokens.to_vec()).to_string()).unwrap();
        std::fs::write(folder.path().join("ca.pem"), &authority.certificate).unwrap();
        authority.issue_with(&["localhost", "127.0.0.1"], change).write(folder.path(), "radsec");
        Self { spotgate: Spotgate::start_in(folder, &text(setup)), authority }
    }

    fn address(&self) -> SocketAddr {
        self.spotgate.radsec.unwrap()
    }

    /// A router whose certificate has these names.
    pub(crate) async fn router(&self, names: &[&str]) -> Router {
        Router::connect(self.address(), &self.authority, Some(&self.authority.issue(names))).await.unwrap()
    }

    /// Waits until a line of the log holds all of these.
    async fn logged(&self, parts: &[&str]) {
        let log = || self.spotgate.log();
        let is_there = |log: String| log.lines().any(|line| parts.iter().all(|part| line.contains(part)));
        self.spotgate.until(&format!("in the log: {parts:?}"), async || is_there(log())).await;
    }

    /// Has it read this configuration.
    async fn reload(&self, text: &str, done: f64, refused: f64) {
        configured(&self.spotgate.folder, text);
        self.spotgate.signal("HUP");
        let count =
            async |result: &str| self.spotgate.metric(&format!("spotgate_reloads_total{{result=\"{result}\"}}")).await;
        let over = async || count("done").await == done && count("refused").await == refused;
        self.spotgate.until("reloaded", over).await;
    }

    async fn refused(&self, cause: &str) -> f64 {
        self.spotgate.metric(&format!("spotgate_radsec_refused_total{{cause=\"{cause}\"}}")).await
    }

    async fn connections(&self) -> f64 {
        self.spotgate.metric("spotgate_radsec_connections{nas=\"front-desk\"}").await
    }
}

/// A router's side of a connection.
pub(crate) struct Router {
    stream: TlsStream<TcpStream>,
    hotspot: Hotspot,
}

impl Router {
    async fn connect(to: SocketAddr, trusted: &Authority, pair: Option<&Pair>) -> std::io::Result<Self> {
        Self::connect_by(to, trusted, pair, &TLS13, [127, 0, 0, 1].into()).await
    }

    async fn connect_by(
        to: SocketAddr,
        trusted: &Authority,
        pair: Option<&Pair>,
        version: &'static rustls::SupportedProtocolVersion,
        from: IpAddr,
    ) -> std::io::Result<Self> {
        let connector = TlsConnector::from(trusted.client(pair, version));
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let stream = socket.connect(to).await?;
        let stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await?;
        Ok(Self { stream, hotspot: Hotspot::new(to, RADSEC, "front-desk") })
    }

    async fn send(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next packet; none: the other side has closed the connection.
    async fn receive(&mut self) -> Option<Vec<u8>> {
        let reading = async {
            let mut packet = vec![0; 4];
            self.stream.read_exact(&mut packet).await.ok()?;
            packet.resize(usize::from(u16::from_be_bytes([packet[2], packet[3]])), 0);
            self.stream.read_exact(&mut packet[4..]).await.ok()?;
            Some(packet)
        };
        tokio::time::timeout(Duration::from_secs(20), reading).await.expect("an answer, or an end, in time")
    }

    async fn exchange(&mut self, request: &[u8]) -> Option<Vec<u8>> {
        self.send(request).await;
        self.receive().await
    }

    fn login(&self, code: &str, device: u8) -> Vec<u8> {
        self.hotspot.access_request(code, Password::Pap(code), mac(device)).unwrap()
    }

    /// Whether it is still answered.
    pub(crate) async fn is_open(&mut self) -> bool {
        let request = self.hotspot.status_request().unwrap();
        let sent = self.stream.write_all(&request).await.is_ok() && self.stream.flush().await.is_ok();
        sent && self.receive().await.is_some_and(|reply| reply[0] == code::ACCESS_ACCEPT)
    }
}

/// The packet with this identifier instead, signed again; it has no password and no Message-Authenticator.
fn numbered(kind: u8, identifier: u8, attributes: &[(u8, &[u8])]) -> Vec<u8> {
    let mut buffer = [0; Packet::MAX];
    let mut authenticator = [identifier; 16];
    authenticator[0] = kind;
    let mut request = Request::new(&mut buffer, kind, identifier, &authenticator);
    for (kind, value) in attributes {
        request.attribute(*kind, value).unwrap();
    }
    request.sign(&Secret::new(RADSEC)).to_vec()
}

/// radsecproxy, in by UDP and out by TLS; it ends with the value.
struct Proxy {
    child: Child,
    udp: SocketAddr,
    folder: TempDir,
}

impl Proxy {
    fn start(world: &World, tls: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        world.authority.issue(&["front-desk.example.org"]).write(folder.path(), "proxy");
        std::fs::write(at("ca.pem"), &world.authority.certificate).unwrap();
        // Free a moment ago.
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = format!(
            "ListenUDP {udp}\nListenTCP 127.0.0.1:0\nSourceTLS 127.0.0.1\nLogLevel 2\nLogDestination file://{}\n\
             tls default {{\n CACertificateFile {}\n CertificateFile {}\n CertificateKeyFile {}\n TlsVersion {tls}\n}}\n\
             client router {{\n host 127.0.0.1\n type udp\n secret \"{SECRET}\"\n}}\n\
             server spotgate {{\n host 127.0.0.1\n port {}\n type tls\n secret radsec\n StatusServer on\n}}\n\
             realm * {{\n server spotgate\n accountingServer spotgate\n}}\n",
            at("log"),
            at("ca.pem"),
            at("proxy.pem"),
            at("proxy.key"),
            world.address().port(),
        );
        std::fs::write(at("radsecproxy.conf"), text).unwrap();
        let mut command = tool("radsecproxy");
        command.args(["-f", "-c", &at("radsecproxy.conf"), "-i", &at("pid")]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { child, udp, folder }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of radsecproxy ---\n{}", self.log());
        }
    }
}

async fn through_radsecproxy(tls: &str, version: &str) -> (World, Proxy) {
    let world = World::new(&NAMED);
    let proxy = Proxy::start(&world, tls);
    world.logged(&["a RadSec connection is open", version]).await;
    for (vector, answer) in [("http-chap", "Session-Timeout = 3600"), ("http-pap", "Session-Timeout = 3600")] {
        let said = radclient(proxy.udp, "auth", SECRET, &repository_file(&format!("tests/vectors/{vector}.txt")));
        assert!(said.contains("Received Access-Accept") && said.contains(answer), "{vector}: {said}");
    }
    // BlastRADIUS has no place inside TLS: the proxy adds a Proxy-State to what came without a Message-Authenticator.
    let old = format!(
        "{}Proxy-State = 0x6f6e65\nProxy-State = 0x74776f\n",
        repository_file("tests/vectors/http-pap-before-7.15.txt")
    );
    let said = radclient(proxy.udp, "auth", SECRET, &old);
    assert!(said.contains("Received Access-Accept"), "{said}");
    let received = said.split("Received").nth(1).unwrap();
    let (one, two) = (received.find("Proxy-State = 0x6f6e65"), received.find("Proxy-State = 0x74776f"));
    assert!(one.is_some() && one < two, "unchanged and in order: {said}");
    let unknown = repository_file("tests/vectors/http-pap.txt").replace("kx7q", "none");
    let said = radclient(proxy.udp, "auth", SECRET, &unknown);
    assert!(said.contains("Received Access-Reject") && said.contains("This code is not known"), "{said}");
    let said = radclient(proxy.udp, "acct", SECRET, &repository_file("tests/vectors/accounting-start.txt"));
    assert!(said.contains("Received Accounting-Response"), "{said}");

    let (_, sessions) = world.spotgate.read("/v1/sessions").await;
    assert!(sessions["sessions"].as_array().unwrap().iter().all(|one| one["nas"] == "front-desk"), "{sessions}");
    let count = async |kind: &str, result: &str| {
        let labels = format!("nas=\"front-desk\",kind=\"{kind}\",result=\"{result}\"");
        world.spotgate.metric(&format!("spotgate_radius_packets_total{{{labels}}}")).await
    };
    assert_eq!(count("access_request", "accept").await, 3.0);
    assert_eq!(world.connections().await, 1.0, "all of it over one connection");
    assert_eq!(world.refused("handshake").await, 0.0);
    (world, proxy)
}

#[tokio::test]
async fn radsecproxy_carries_logins_and_accounting_by_tls_1_3() {
    let (world, proxy) = through_radsecproxy("TLS1_3:", "TLSv1_3").await;
    // Its watchdog asks once nothing has come for 25 s; nobody but it can hurry that.
    let labels = "nas=\"front-desk\",kind=\"status_server\",result=\"status\"";
    let asked = async || world.spotgate.metric(&format!("spotgate_radius_packets_total{{{labels}}}")).await >= 1.0;
    for _ in 0..4 {
        if asked().await {
            break;
        }
        let _ = tokio::time::timeout(Duration::from_secs(9), world.spotgate.until("asked", asked)).await;
    }
    assert!(asked().await, "{}", proxy.log());
    let said = radclient(proxy.udp, "auth", SECRET, &repository_file("tests/vectors/http-pap.txt"));
    assert!(said.contains("Received Access-Accept"), "it still takes spotgate for alive: {said}");
    assert_eq!(world.connections().await, 1.0, "over the same connection");
}

#[tokio::test]
async fn radsecproxy_carries_logins_and_accounting_by_tls_1_2() {
    let (world, proxy) = through_radsecproxy(":TLS1_2", "TLSv1_2").await;
    // This version takes no orders from its server (its issue 160): they stay unanswered, and harm nothing.
    let (_, sessions) = world.spotgate.read("/v1/sessions").await;
    let session = sessions["sessions"][0]["session"].as_str().unwrap();
    disconnect(&world, session).await;
    world.spotgate.until("unanswered", async || told(&world, "unanswered").await >= 1.0).await;
    world
        .logged(&[
            "no answer; does the router take orders over the connection that it asks by?",
            "its RadSec connection from",
        ])
        .await;
    let said = radclient(proxy.udp, "auth", SECRET, &repository_file("tests/vectors/http-pap.txt"));
    assert!(said.contains("Received Access-Accept"), "{said}");
    assert_eq!(world.connections().await, 1.0, "over the same connection");
}

#[tokio::test]
async fn a_peer_without_a_certificate_of_ours_is_refused_and_the_cause_is_said() {
    let world = World::new(&NAMED);
    let other = Authority::new("somebody else");
    let name = ["front-desk.example.org"];
    let expired = world.authority.issue_with(&name, |one| one.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let early = world.authority.issue_with(&name, |one| one.not_before = rcgen::date_time_ymd(2100, 1, 1));
    let server_only = world
        .authority
        .issue_with(&name, |one| one.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth]);
    let foreign = other.issue(&name);
    let cases = [
        (&TLS13, "it shows no certificate", None),
        (&TLS12, "it shows no certificate", None),
        (&TLS13, "its certificate does not come from radius.radsec.client_ca", Some(&foreign)),
        (&TLS12, "its certificate does not come from radius.radsec.client_ca", Some(&foreign)),
        (&TLS13, "its certificate has expired", Some(&expired)),
        (&TLS13, "its certificate is not valid yet", Some(&early)),
        (&TLS13, "its certificate is not for clients", Some(&server_only)),
    ];
    // Of one address one line a minute is written, so each comes from another.
    for (last, (version, cause, pair)) in (11..).zip(cases) {
        let from = [127, 0, 0, last].into();
        match Router::connect_by(world.address(), &world.authority, pair, version, from).await {
            Ok(mut router) => assert!(!router.is_open().await, "{cause}"),
            Err(_) => assert_eq!(version.version, TLS12.version, "with TLS 1.3 a client hears of it later"),
        }
        world.logged(&["RadSec connection refused", &format!("\"from\":\"{from}\""), cause]).await;
    }
    assert_eq!(world.refused("handshake").await, 7.0);
    let plain = async |octets: &[u8]| {
        let mut stream = TcpStream::connect(world.address()).await.unwrap();
        stream.write_all(octets).await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    };
    plain(&Hotspot::new(world.address(), RADSEC, "front-desk").status_request().unwrap()).await;
    world.logged(&["RadSec connection refused", "what it sends is no TLS"]).await;
    plain(b"GET / HTTP/1.1\r\n\r\n").await;
    let lines = world.spotgate.log().matches("RadSec connection refused").count();
    assert_eq!((world.refused("handshake").await, lines), (9.0, 8), "a line a minute for each address");
    assert!(world.router(&name).await.is_open().await);
}

#[tokio::test]
async fn silent_connections_from_a_routers_own_address_do_not_keep_it_out() {
    let world = World::new(&NAMED);
    let mut earlier = world.router(&["front-desk.example.org"]).await;
    // From here on it is known; with TLS 1.3 the client is ready before.
    assert!(earlier.is_open().await);
    let mut silent = Vec::new();
    for _ in 0..65 {
        silent.push(TcpStream::connect(world.address()).await.unwrap());
    }
    let mut router = world.router(&["front-desk.example.org"]).await;
    assert!(router.is_open().await && earlier.is_open().await);
    let first = tokio::time::timeout(Duration::from_secs(5), silent[0].read(&mut [0; 1])).await;
    assert!(matches!(first, Ok(Ok(0) | Err(_))), "the oldest has made room");
    world.logged(&["RadSec connection refused", "as many connections as there may be"]).await;
}

#[tokio::test]
async fn of_sixty_four_connections_of_a_router_the_one_silent_for_longest_makes_room() {
    let world = World::new(&NAMED);
    let pair = world.authority.issue(&["front-desk.example.org"]);
    let connect = async || {
        let mut router = Router::connect(world.address(), &world.authority, Some(&pair)).await.unwrap();
        assert!(router.is_open().await);
        router
    };
    let mut routers = Vec::new();
    for _ in 0..64 {
        routers.push(connect().await);
    }
    assert!(routers[0].is_open().await, "it is the oldest, and has spoken last");
    let mut one_more = connect().await;
    assert_eq!(routers[1].receive().await, None);
    assert!(routers[0].is_open().await && routers[2].is_open().await && one_more.is_open().await);
    assert_eq!(world.connections().await, 64.0);
    world.logged(&["a RadSec connection was ended", "another of its router took its place"]).await;
}

#[tokio::test]
async fn a_router_is_known_by_its_certificate_wherever_it_is_and_otherwise_by_its_address() {
    let named = World::new(&NAMED);
    for names in [&["other.example.org"][..], &["*.example.org"], &["127.0.0.1"], &[]] {
        assert!(!named.router(names).await.is_open().await, "{names:?}: its address is not enough");
    }
    assert_eq!(named.refused("unknown_nas").await, 4.0);
    named.logged(&["RadSec connection refused", "certificate_name"]).await;
    let by_common_name = named.authority.issue_with(&[], |one| {
        one.distinguished_name.push(rcgen::DnType::CommonName, "front-desk.example.org");
    });
    let mut router = Router::connect(named.address(), &named.authority, Some(&by_common_name)).await.unwrap();
    assert!(!router.is_open().await, "a common name names nobody (RFC 9525)");
    assert!(named.router(&["also.example.org", "Front-Desk.example.org"]).await.is_open().await);

    let by_address = World::new(&PLAIN);
    assert!(by_address.router(&["whatever.example.org"]).await.is_open().await);
    let elsewhere = text(&PLAIN).replace("address = \"127.0.0.1\"", "address = \"192.0.2.1\"");
    by_address.reload(&elsewhere, 1.0, 0.0).await;
    assert!(!by_address.router(&["whatever.example.org"]).await.is_open().await);
}

#[tokio::test]
async fn a_packet_that_breaks_the_rules_ends_the_connection_and_one_that_is_not_understood_does_not() {
    let world = World::new(&PLAIN);
    let sound = numbered(
        code::ACCESS_REQUEST,
        1,
        &[(a::USER_NAME, b"kx7q-91mp"), (a::CALLING_STATION_ID, b"3C-06-30-AA-19-01")],
    );
    let with_length = |length: u16| {
        let mut packet = sound.clone();
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        packet
    };
    let mut long_attribute = sound.clone();
    long_attribute[21] = 200;
    let mut of_nothing = sound.clone();
    of_nothing[21] = 1;
    let signed_otherwise = Hotspot::new(world.address(), SECRET.as_bytes(), "front-desk");
    let otherwise = signed_otherwise.access_request("kx7q-91mp", Password::Pap("kx7q-91mp"), mac(1)).unwrap();
    let mut accounting = numbered(code::ACCOUNTING_REQUEST, 1, &[(a::ACCT_SESSION_ID, b"1")]);
    accounting[7] ^= 1;
    for (what, octets) in [
        ("a length of 19", with_length(19)),
        ("a length of 4097", with_length(4097)),
        ("no RADIUS at all", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("an attribute that runs over the end", long_attribute),
        ("an attribute of one octet", of_nothing),
        ("a Message-Authenticator by another secret", otherwise),
        ("an accounting record by another secret", accounting),
    ] {
        let mut router = world.router(&[]).await;
        assert!(router.is_open().await);
        assert_eq!(router.exchange(&octets).await, None, "{what}");
        world.logged(&["a RadSec connection was ended"]).await;
    }
    // What is not understood is passed over, and the next is answered (RFC 6613 §2.6.4).
    let mut router = world.router(&[]).await;
    for unknown in [0, 99, code::ACCESS_ACCEPT, code::DISCONNECT_ACK, code::COA_NAK] {
        router.send(&numbered(unknown, 9, &[])).await;
    }
    assert!(router.is_open().await);
    // Nobody gives orders here, and hears so (RFC 6614 §2.5).
    for (order, nak) in [(code::DISCONNECT_REQUEST, code::DISCONNECT_NAK), (code::COA_REQUEST, code::COA_NAK)] {
        let octets = router.exchange(&numbered(order, 5, &[(a::PROXY_STATE, b"way")])).await.unwrap();
        let reply = Packet::parse(&octets).unwrap();
        assert_eq!((reply.code(), reply.identifier()), (nak, 5));
        assert_eq!(reply.first(a::ERROR_CAUSE).and_then(a::integer), Some(ErrorCause::UNSUPPORTED_EXTENSION.0));
        assert_eq!(reply.first(a::PROXY_STATE), Some(&b"way"[..]));
    }
    // By UDP that stays what it was: dropped.
    let udp = world.spotgate.hotspot().patience(Duration::from_millis(300), 1);
    let order = Request::new(&mut [0; Packet::MAX], code::DISCONNECT_REQUEST, 5, &[0; 16])
        .sign(&Secret::new(SECRET.as_bytes()))
        .to_vec();
    assert!(udp.exchange(&order).await.is_err());
    assert!(world.spotgate.log().contains("\"cause\":\"wrong_port\""));
}

#[tokio::test]
async fn openssl_is_let_in_and_hears_the_end_of_a_connection() {
    let world = World::new(&NAMED);
    let folder = world.spotgate.folder.path();
    world.authority.issue(&["front-desk.example.org"]).write(folder, "router");
    let at = |name: &str| folder.join(name).display().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let mut command = tool("openssl");
        command.args(["s_client", "-connect", &world.address().to_string(), version, "-quiet", "-verify_return_error"]);
        command.args(["-CAfile", &at("ca.pem"), "-cert", &at("router.pem"), "-key", &at("router.key"), "-no_ign_eof"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let hotspot = Hotspot::new(world.address(), RADSEC, "front-desk");
        stdin.write_all(&hotspot.status_request().unwrap()).unwrap();
        let mut answer = [0; 20];
        child.stdout.as_mut().unwrap().read_exact(&mut answer).unwrap();
        assert_eq!(answer[0], code::ACCESS_ACCEPT, "{version}");
        // No packet has this length: spotgate closes the connection.
        stdin.write_all(&[1, 2, 0, 1]).unwrap();
        let output = child.wait_with_output().unwrap();
        drop(stdin);
        assert!(!printed(&output).contains("verify error"), "{version}: {}", printed(&output));
    }
    world.logged(&["a RadSec connection was ended: a packet claims to be 1 octets long"]).await;
    assert_eq!(world.refused("handshake").await, 0.0);
}

/// The identifiers of one login after another, each with the octet that its device ends with.
fn many(world: &World) -> (Vec<Vec<u8>>, usize) {
    let hotspot = Hotspot::new(world.address(), RADSEC, "front-desk");
    let at = "2026-11-23T12:00:00Z".parse().unwrap();
    let mut requests = Vec::new();
    for number in 0..44u8 {
        let session = format!("8030{number:04}");
        let mut record = hotspot.accounting_request(&Record::start("many", mac(number), &session, at)).unwrap();
        record = renumbered(&record, number);
        requests.push(record);
    }
    for identifier in 0..=255u8 {
        let device = format!("3C-06-30-AA-20-{identifier:02X}");
        requests.push(numbered(
            code::ACCESS_REQUEST,
            identifier,
            &[(a::USER_NAME, b"many"), (a::CALLING_STATION_ID, device.as_bytes())],
        ));
    }
    (requests, 44)
}

/// An accounting record with this identifier, signed again.
fn renumbered(record: &[u8], identifier: u8) -> Vec<u8> {
    let record = Packet::parse(record).unwrap();
    let attributes: Vec<_> = record.attributes().map(|attribute| (attribute.kind, attribute.value.to_vec())).collect();
    let attributes: Vec<_> = attributes.iter().map(|(kind, value)| (*kind, value.as_slice())).collect();
    numbered(record.code(), identifier, &attributes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_requests_in_flight_are_each_answered_once_and_nobody_waits_for_the_disk_of_another() {
    let world = World::new(&PLAIN);
    let mut router = world.router(&[]).await;
    let (requests, records) = many(&world);
    router.send(&requests.concat()).await;
    let mut answers = Vec::new();
    for _ in 0..requests.len() {
        let octets = router.receive().await.unwrap();
        let reply = Packet::parse(&octets).unwrap();
        let kind =
            if reply.code() == code::ACCOUNTING_RESPONSE { code::ACCOUNTING_REQUEST } else { code::ACCESS_REQUEST };
        let asked = requests.iter().find(|request| request[0] == kind && request[1] == reply.identifier()).unwrap();
        let asked = Packet::parse(asked).unwrap();
        assert!(Secret::new(RADSEC).check_response(&reply, asked.authenticator()));
        assert!(kind == code::ACCOUNTING_REQUEST || reply.code() == code::ACCESS_ACCEPT, "{}", reply.code());
        assert!(kind == code::ACCOUNTING_REQUEST || reply.message_authenticator().is_some());
        answers.push((kind, reply.identifier()));
    }
    let logins_first = answers.iter().take_while(|(kind, _)| *kind == code::ACCESS_REQUEST).count();
    assert!(logins_first > 0, "records came first, and their answers wait for the disk: {answers:?}");
    assert_eq!(answers.iter().filter(|(kind, _)| *kind == code::ACCOUNTING_REQUEST).count(), records);
    answers.sort_unstable();
    answers.dedup();
    assert_eq!(answers.len(), requests.len());
    assert!(router.is_open().await);
}

#[tokio::test]
async fn a_repetition_gets_the_very_same_answer_and_an_identifier_may_be_used_again() {
    let world = World::new(&PLAIN);
    let mut router = world.router(&[]).await;
    let request = router.login("kx7q-91mp", 1);
    let first = router.exchange(&request).await.unwrap();
    assert_eq!(router.exchange(&request).await.unwrap(), first);
    let mut again =
        Router::connect(world.address(), &world.authority, Some(&world.authority.issue(&[]))).await.unwrap();
    let elsewhere = again.exchange(&request).await.unwrap();
    assert_eq!(elsewhere[0], code::ACCESS_ACCEPT);
    let decided = "spotgate_radius_packets_total{nas=\"front-desk\",kind=\"access_request\",result=\"accept\"}";
    assert_eq!(world.spotgate.metric(decided).await, 2.0, "another connection knows nothing of it");
    // The same identifier, another authenticator.
    let (status, identifier) = (router.hotspot.status_request().unwrap(), 7);
    drop(status);
    for device in ["3C-06-30-AA-19-01", "3C-06-30-AA-19-02"] {
        let mut buffer = [0; Packet::MAX];
        let mut request = Request::new(&mut buffer, code::ACCESS_REQUEST, identifier, &[device.as_bytes()[16]; 16]);
        request.attribute(a::USER_NAME, b"kx7q-91mp").unwrap();
        request.attribute(a::CALLING_STATION_ID, device.as_bytes()).unwrap();
        let octets = router.exchange(request.sign(&Secret::new(RADSEC))).await.unwrap();
        assert!(Secret::new(RADSEC).check_response(&Packet::parse(&octets).unwrap(), &[device.as_bytes()[16]; 16]));
    }
    assert_eq!(world.spotgate.metric(decided).await, 4.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_waits_for_the_source_holds_up_nobody() {
    let sandbox = crate::nexudus::sandbox(vec![record(1, "kx7q-91mp")]).await;
    sandbox.set_latency(Duration::from_millis(400));
    let source = crate::nexudus::source(&sandbox, "mirror = false");
    let world = World::new(&Setup { source: &source, nas: "" });
    let mut router = world.router(&[]).await;
    let login = router.login("kx7q-91mp", 1);
    let status = router.hotspot.status_request().unwrap();
    router.send(&[login.clone(), status.clone(), login.clone()].concat()).await;
    let first = router.receive().await.unwrap();
    assert_eq!(first[1], status[1], "asked after it, answered before it");
    let second = router.receive().await.unwrap();
    assert_eq!((second[0], second[1]), (code::ACCESS_ACCEPT, login[1]));
    assert_eq!(sandbox.count("list"), 1, "its repetition was not decided twice");
    assert_eq!(router.exchange(&login).await.unwrap(), second);

    // Whoever stops asking is still answered.
    let late = router.login("not-there", 2);
    router.send(&late).await;
    router.stream.shutdown().await.unwrap();
    let answer = router.receive().await.unwrap();
    assert_eq!((answer[0], answer[1]), (code::ACCESS_REJECT, late[1]));
    assert_eq!(router.receive().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_stop_what_is_owed_is_answered_and_then_it_says_goodbye() {
    let sandbox = crate::nexudus::sandbox(vec![record(1, "kx7q-91mp")]).await;
    sandbox.set_latency(Duration::from_millis(400));
    let source = crate::nexudus::source(&sandbox, "mirror = false");
    let world = World::new(&Setup { source: &source, nas: "" });
    let mut router = world.router(&[]).await;
    let login = router.login("kx7q-91mp", 1);
    router.send(&login).await;
    assert!(router.is_open().await, "it has read the login");
    world.spotgate.signal("TERM");
    let answer = router.receive().await.unwrap();
    assert_eq!((answer[0], answer[1]), (code::ACCESS_ACCEPT, login[1]));
    let mut rest = Vec::new();
    router.stream.read_to_end(&mut rest).await.expect("a close_notify, or this is an error");
    assert!(rest.is_empty());
    drop(router);
    assert_eq!(world.spotgate.ended().0, Some(0));
}

#[tokio::test]
async fn a_reload_renews_certificates_and_closes_what_is_no_longer_known() {
    let world = World::new(&NAMED);
    let folder = world.spotgate.folder.path();
    let name = ["front-desk.example.org"];
    let mut router = world.router(&name).await;
    world.reload(&text(&NAMED), 1.0, 0.0).await;
    assert!(router.is_open().await, "nothing that bears on it has changed");

    // Our certificate from another authority: the old connection goes on, a new one sees it.
    let other = Authority::new("another one");
    other.issue(&["localhost"]).write(folder, "radsec");
    assert!(world.router(&name).await.is_open().await, "the files are read at a reload, not before");
    world.reload(&text(&NAMED), 2.0, 0.0).await;
    assert!(router.is_open().await);
    let pair = world.authority.issue(&name);
    assert!(Router::connect(world.address(), &world.authority, Some(&pair)).await.is_err());
    assert!(Router::connect(world.address(), &other, Some(&pair)).await.unwrap().is_open().await);
    world.logged(&["RadSec connection refused", "it does not take our certificate"]).await;

    // One that cannot be read changes nothing, and is said.
    std::fs::write(folder.join("radsec.key"), "no key").unwrap();
    world.reload(&text(&NAMED), 2.0, 1.0).await;
    world.logged(&["not reloaded", "radius.radsec: ", "radsec.key"]).await;
    assert!(Router::connect(world.address(), &other, Some(&pair)).await.unwrap().is_open().await);
    other.issue(&["localhost"]).write(folder, "radsec");

    // Where it listens needs a restart.
    let moved = text(&NAMED)
        .replace("[radius.radsec]\nlisten = [\"127.0.0.1:0\"]", "[radius.radsec]\nlisten = [\"127.0.0.2:0\"]");
    world.reload(&moved, 3.0, 1.0).await;
    world.logged(&["radius.radsec.listen", "with the next restart"]).await;
    assert!(router.is_open().await);

    // Another name is another router.
    let renamed = Setup { nas: "certificate_name = \"desk.example.org\"\n", ..NAMED };
    world.reload(&text(&renamed), 4.0, 1.0).await;
    assert_eq!(router.receive().await, None);
    assert!(!Router::connect(world.address(), &other, Some(&pair)).await.unwrap().is_open().await);
    let pair = world.authority.issue(&["desk.example.org"]);
    let mut router = Router::connect(world.address(), &other, Some(&pair)).await.unwrap();
    assert!(router.is_open().await);

    // Other routers' authority.
    std::fs::write(folder.join("ca.pem"), &other.certificate).unwrap();
    world.reload(&text(&renamed), 5.0, 1.0).await;
    assert_eq!(router.receive().await, None, "its certificate is not trusted any more");
    let pair = other.issue(&["desk.example.org"]);
    let mut router = Router::connect(world.address(), &other, Some(&pair)).await.unwrap();
    assert!(router.is_open().await);

    // Without the section nobody is known.
    world.reload(&text(&renamed).replace(SECTION, "").replace(renamed.nas, ""), 6.0, 1.0).await;
    assert_eq!(router.receive().await, None);
    assert!(Router::connect(world.address(), &other, Some(&pair)).await.is_err());
}

#[tokio::test]
async fn a_reload_gives_no_valid_certificate_away_and_takes_no_router_for_an_authority() {
    let world = World::new(&NAMED);
    let folder = world.spotgate.folder.path();
    let name = ["front-desk.example.org"];
    let ours = |change: fn(&mut CertificateParams)| world.authority.issue_with(&["localhost"], change);
    let expired = ours(|one| one.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let early = ours(|one| one.not_before = rcgen::date_time_ymd(2100, 1, 1));
    for (refused, (pair, why)) in
        (1..).zip([(expired, "expired on 2020-01-01 00:00 UTC"), (early, "is not valid before 2100-01-01 00:00 UTC")])
    {
        pair.write(folder, "radsec");
        world.reload(&text(&NAMED), 0.0, refused.into()).await;
        world.logged(&["not reloaded", "radsec.pem", why]).await;
        assert!(world.router(&name).await.is_open().await, "the good one stays in force");
        let (code, said) = world.spotgate.command(&["check"]);
        assert!(code == Some(2) && said.contains(why), "{said}");
    }
    ours(|_| {}).write(folder, "radsec");
    std::fs::write(folder.join("ca.pem"), world.authority.issue(&name).certificate).unwrap();
    world.reload(&text(&NAMED), 0.0, 3.0).await;
    world.logged(&["not reloaded", "ca.pem", "no authority"]).await;
    assert!(world.router(&name).await.is_open().await);
    let (code, said) = world.spotgate.command(&["check"]);
    assert!(code == Some(2) && said.contains("no authority"), "{said}");
}

#[tokio::test]
async fn with_an_expired_certificate_all_else_starts_and_it_is_said_until_it_is_renewed() {
    let world = World::showing(&NAMED, |one| one.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let folder = world.spotgate.folder.path();
    assert!(world.spotgate.hotspot().login_pap("kx7q-91mp", "kx7q-91mp", mac(1)).await.unwrap().accept);
    let degraded = async || world.spotgate.get("/readyz").await.1["degraded"].clone();
    let said = degraded().await.to_string();
    assert!(said.contains("radsec: ") && said.contains("expired on 2020-01-01 00:00 UTC"), "{said}");
    world.logged(&["ERROR", "radsec.pem", "expired on 2020-01-01"]).await;
    // What is no worse than what is in force is no reason to refuse everything else that is in the file.
    world.reload(&text(&NAMED), 1.0, 0.0).await;
    world.authority.issue(&["localhost"]).write(folder, "radsec");
    world.reload(&text(&NAMED), 2.0, 0.0).await;
    assert!(world.router(&["front-desk.example.org"]).await.is_open().await);
    assert_eq!(degraded().await, json!([]));
}

/// A guest online at the router; the session's id.
async fn online(world: &World, router: &mut Router, device: u8) -> String {
    let login = router.login("kx7q-91mp", device);
    let accept = router.exchange(&login).await.unwrap();
    assert_eq!(accept[0], code::ACCESS_ACCEPT);
    let class = Packet::parse(&accept).unwrap().first(a::CLASS).unwrap().to_vec();
    let session = Packet::parse(&login).unwrap().first(a::ACCT_SESSION_ID).and_then(a::text).unwrap().to_owned();
    let at = "2026-11-23T12:00:00Z".parse().unwrap();
    let record = Record { class: Some(&class), ..Record::start("kx7q-91mp", mac(device), &session, at) };
    let start = router.hotspot.accounting_request(&record).unwrap();
    assert_eq!(router.exchange(&start).await.unwrap()[0], code::ACCOUNTING_RESPONSE);
    let (_, sessions) = world.spotgate.read("/v1/sessions").await;
    let mine = sessions["sessions"].as_array().unwrap().iter().find(|one| one["mac"] == mac(device).to_string());
    mine.unwrap()["session"].as_str().unwrap().to_owned()
}

fn answer_to(order: &Packet<'_>, kind: u8, cause: Option<u32>) -> Vec<u8> {
    let mut buffer = [0; Packet::MAX];
    let mut reply = Reply::bare(&mut buffer, kind, order.identifier());
    if let Some(cause) = cause {
        reply.integer(a::ERROR_CAUSE, cause).unwrap();
    }
    reply.sign(&Secret::new(RADSEC), order.authenticator()).to_vec()
}

async fn disconnect(world: &World, session: &str) {
    let url = format!("http://{}/v1/sessions/{session}", world.spotgate.http);
    let response = crate::support::client().delete(url).bearer_auth(crate::support::KEY).send().await.unwrap();
    assert_eq!(response.status(), 202);
}

async fn told(world: &World, result: &str) -> f64 {
    world.spotgate.metric(&format!("spotgate_disconnects_total{{nas=\"front-desk\",result=\"{result}\"}}")).await
}

#[tokio::test]
async fn a_router_is_told_over_its_own_connection_and_by_nothing_else() {
    // Were it told by UDP, this would hear of it.
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let nas = format!("disconnect_port = {}\n{}", udp.local_addr().unwrap().port(), NAMED.nas);
    let world = World::new(&Setup { nas: &nas, ..NAMED });
    let mut idle = world.router(&["front-desk.example.org"]).await;
    assert!(idle.is_open().await);
    let mut router = world.router(&["front-desk.example.org"]).await;
    let (one, two) = (online(&world, &mut router, 1).await, online(&world, &mut router, 2).await);

    disconnect(&world, &one).await;
    let octets = router.receive().await.unwrap();
    let order = Packet::parse(&octets).unwrap();
    assert_eq!(order.code(), code::DISCONNECT_REQUEST);
    assert!(Secret::new(RADSEC).check_request_authenticator(&order));
    assert_eq!(order.first(a::USER_NAME), Some(&b"kx7q-91mp"[..]));
    // What answers another order, or is signed otherwise, is passed over; logins go on meanwhile.
    let mut other = answer_to(&order, code::DISCONNECT_ACK, None);
    other[1] = other[1].wrapping_add(1);
    router.send(&other).await;
    let mut buffer = [0; Packet::MAX];
    let forged = Reply::bare(&mut buffer, code::DISCONNECT_ACK, order.identifier());
    router.send(forged.sign(&Secret::new(SECRET.as_bytes()), order.authenticator())).await;
    assert!(router.is_open().await);
    assert_eq!(told(&world, "acked").await, 0.0);
    router.send(&answer_to(&order, code::DISCONNECT_ACK, None)).await;
    world.spotgate.until("acknowledged", async || told(&world, "acked").await == 1.0).await;

    disconnect(&world, &two).await;
    let octets = router.receive().await.unwrap();
    let order = Packet::parse(&octets).unwrap();
    router.send(&answer_to(&order, code::DISCONNECT_NAK, Some(503))).await;
    world.spotgate.until("gone", async || told(&world, "gone").await == 1.0).await;
    let (_, ended) = world.spotgate.read(&format!("/v1/sessions/{two}")).await;
    assert_eq!(ended["state"], "ended", "{ended}");

    // An order under way when the connection breaks is unanswered at once; and then there is no way to the router.
    let three = online(&world, &mut router, 3).await;
    disconnect(&world, &three).await;
    router.receive().await.unwrap();
    drop((router, idle));
    world.spotgate.until("unanswered", async || told(&world, "unanswered").await == 1.0).await;
    world.logged(&["no [[nas]] of this name and address can be told"]).await;
    udp.set_nonblocking(true).unwrap();
    assert!(udp.recv(&mut [0; 64]).is_err(), "never by UDP");

    // Once it is back, it is told again.
    let mut router = world.router(&["front-desk.example.org"]).await;
    let octets = router.receive().await.unwrap();
    assert_eq!(octets[0], code::DISCONNECT_REQUEST);
}

#[tokio::test]
async fn a_router_known_by_its_address_is_told_by_udp_while_it_has_no_connection() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let nas = format!("disconnect_port = {}\n", udp.local_addr().unwrap().port());
    let world = World::new(&Setup { nas: &nas, ..PLAIN });
    let mut router = world.router(&[]).await;
    let one = online(&world, &mut router, 1).await;
    drop(router);
    world.spotgate.until("gone", async || world.connections().await == 0.0).await;
    disconnect(&world, &one).await;
    udp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut buffer = [0; Packet::MAX];
    let length = udp.recv(&mut buffer).unwrap();
    let order = Packet::parse(&buffer[..length]).unwrap();
    assert!(Secret::new(SECRET.as_bytes()).check_request_authenticator(&order), "with the secret of UDP");
}

#[tokio::test]
async fn what_came_by_udp_binds_nobody_over_tls_and_the_other_way_round() {
    let world = World::new(&PLAIN);
    // By UDP this address must sign from now on.
    assert!(world.spotgate.hotspot().login_pap("kx7q-91mp", "kx7q-91mp", mac(1)).await.unwrap().accept);
    let device = b"3C-06-30-AA-19-01";
    let unsigned = numbered(
        code::ACCESS_REQUEST,
        3,
        &[(a::USER_NAME, b"kx7q-91mp"), (a::CALLING_STATION_ID, device), (a::PROXY_STATE, b"1")],
    );
    let mut router = world.router(&[]).await;
    assert_eq!(router.exchange(&unsigned).await.unwrap()[0], code::ACCESS_ACCEPT, "TLS vouches for it");
    // The secret of UDP is no secret here, and that of TLS none there.
    let by_udp = world.spotgate.hotspot().access_request("kx7q-91mp", Password::Pap("kx7q-91mp"), mac(1)).unwrap();
    assert_eq!(router.exchange(&by_udp).await, None);
    let fresh = World::new(&PLAIN);
    let mut router = fresh.router(&[]).await;
    let signed = router.login("kx7q-91mp", 1);
    assert_eq!(router.exchange(&signed).await.unwrap()[0], code::ACCESS_ACCEPT);
    let state = std::fs::read_to_string(fresh.spotgate.folder.path().join("state/state.json")).unwrap_or_default();
    assert!(!state.contains("127.0.0.1"), "nothing was learnt of its address: {state}");
}

#[tokio::test]
async fn the_certificates_of_the_runbook_open_a_connection_and_doctor_takes_them() {
    let page = repository_file("docs/runbook.md");
    let section = page.split_once("## RADIUS over TLS").unwrap().1;
    let commands = section.split_once("```sh\n").unwrap().1.split_once("```").unwrap().0;
    let folder = tempfile::tempdir().unwrap();
    let output = run(std::process::Command::new("sh").args(["-euc", commands]).current_dir(folder.path()));
    assert!(output.status.success(), "{}", printed(&output));
    std::fs::write(folder.path().join("tokens.json"), "[]").unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let pair = Pair { certificate: read("front-desk.pem"), key: read("front-desk.key") };
    let authority = read("ca.pem");
    let text = text(&NAMED).replace("radsec.pem", "radius.pem").replace("radsec.key", "radius.key");
    let spotgate = Spotgate::start_in(folder, &text);

    let client = client_of(&authority, Some(&pair), &TLS13);
    let stream = TcpStream::connect(spotgate.radsec.unwrap()).await.unwrap();
    let name = ServerName::try_from("radius.example.org").unwrap();
    let stream = TlsConnector::from(client).connect(name, stream).await.unwrap();
    let mut router = Router { stream, hotspot: Hotspot::new(spotgate.radsec.unwrap(), RADSEC, "front-desk") };
    assert!(router.is_open().await);

    let (_, said) = spotgate.command(&["doctor", "--json"]);
    let findings: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
    let of = |check: &str| findings.as_array().unwrap().iter().filter(|one| one["check"] == check).collect::<Vec<_>>();
    let [ours, theirs] = of("radsec")[..] else { panic!("{said}") };
    for (finding, file) in [(ours, "radius.pem is valid until 2"), (theirs, "ca.pem is valid until 2")] {
        assert!(finding["result"] == "ok" && finding["detail"].as_str().unwrap().contains(file), "{finding}");
    }
    assert!(of("port").iter().any(|one| one["detail"].as_str().unwrap().ends_with("for RadSec")), "{said}");
    assert!(of("disconnect")[0]["detail"].as_str().unwrap().contains("over its RadSec connection"), "{said}");
}
