//! Orders to a router's dynamic-authorisation port, which here is pyrad's; and Wireshark's opinion of both sides.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use spotgate::config::DisconnectStyle;
use spotgate::core::budget::Seconds;
use spotgate::radius::attribute::ErrorCause;
use spotgate::radius::disconnect::{Attributes, Order, Outcome, Subject, Target, request, tell};
use spotgate::radius::packet::Packet;
use spotgate::radius::secret::Secret;

use crate::peers::{pyrad, tshark};
use crate::support::pcap::Capture;
use crate::support::{SECRET, mac};

/// A router by pyrad; it ends with the value.
struct Nas {
    child: Child,
    said: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Nas {
    fn start() -> Self {
        let mut child = pyrad("pyrad_nas.py").arg(SECRET).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut nas = Self { child, said, address: "127.0.0.1:0".parse().unwrap() };
        let port = nas.heard().as_u64().unwrap();
        nas.address.set_port(port.try_into().unwrap());
        nas
    }

    /// The next line that it prints.
    fn heard(&mut self) -> Value {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Nas {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn guest() -> Subject<'static> {
    Subject {
        user_name: Some("kx7q-91mp"),
        nas_session: Some("80300001"),
        ip: Some("10.5.88.41".parse().unwrap()),
        device: Some(mac(1)),
    }
}

const GONE: Outcome = Outcome::Nak(Some(ErrorCause::SESSION_CONTEXT_NOT_FOUND));
const LONGER: Order = Order::SessionTimeout(Seconds(540));

#[tokio::test]
async fn pyrad_does_as_told() {
    let mut nas = Nas::start();
    let secret = Secret::new(SECRET.as_bytes());
    let mikrotik = Target { address: nas.address, secret: &secret, style: DisconnectStyle::Mikrotik };
    let rfc5176 = Target { style: DisconnectStyle::Rfc5176, ..mikrotik };
    let six = Subject { ip: Some("2001:db8::41".parse().unwrap()), ..guest() };
    let unknown = Subject { nas_session: Some("80300002"), ..guest() };

    let named = json!({"User-Name": "kx7q-91mp", "Acct-Session-Id": "80300001", "Framed-IP-Address": "10.5.88.41"});
    let placed = json!({"User-Name": "kx7q-91mp", "Framed-IP-Address": "10.5.88.41"});
    let placed_six = json!({"User-Name": "kx7q-91mp", "Framed-IPv6-Address": "2001:db8::41"});
    let device = json!({"User-Name": "kx7q-91mp", "Acct-Session-Id": "80300001", "Event-Timestamp": "1795435200",
                        "Calling-Station-Id": "3C-06-30-AA-19-01"});
    let numbered = json!({"Acct-Session-Id": "80300001", "Event-Timestamp": "1795435200"});
    let other = json!({"User-Name": "kx7q-91mp", "Acct-Session-Id": "80300002", "Framed-IP-Address": "10.5.88.41"});

    // The session ends with the first Disconnect about it.
    for (target, subject, order, attributes, outcome, heard) in [
        (&mikrotik, guest(), LONGER, Attributes::Full, Outcome::Ack, &named),
        (&rfc5176, guest(), LONGER, Attributes::Full, Outcome::Ack, &device),
        (&rfc5176, guest(), LONGER, Attributes::Reduced, Outcome::Ack, &numbered),
        (&mikrotik, six, LONGER, Attributes::Reduced, Outcome::Ack, &placed_six),
        (&mikrotik, unknown, Order::Disconnect, Attributes::Full, GONE, &other),
        (&mikrotik, guest(), Order::Disconnect, Attributes::Full, Outcome::Ack, &named),
        (&mikrotik, guest(), Order::Disconnect, Attributes::Reduced, GONE, &placed),
        (&rfc5176, guest(), Order::Disconnect, Attributes::Full, GONE, &device),
        (&rfc5176, guest(), Order::Disconnect, Attributes::Reduced, GONE, &numbered),
        (&mikrotik, guest(), LONGER, Attributes::Full, GONE, &named),
    ] {
        let told = tell(target, &subject, order, attributes, now()).await;
        assert_eq!(told, outcome, "{:?} {order:?} {attributes:?}", target.style);
        let mut expected = heard.clone();
        let signed = target.style == DisconnectStyle::Rfc5176 && attributes == Attributes::Full;
        expected["message_authenticator"] = signed.into();
        expected["order"] = if order == LONGER { "coa" } else { "disconnect" }.into();
        if order == LONGER {
            expected["Session-Timeout"] = "540".into();
        }
        assert_eq!(nas.heard(), expected);
    }
}

#[tokio::test]
async fn pyrad_does_not_answer_a_stranger() {
    let mut nas = Nas::start();
    let (right, wrong) = (Secret::new(SECRET.as_bytes()), Secret::new(b"another secret"));
    let target = Target { address: nas.address, secret: &wrong, style: DisconnectStyle::Rfc5176 };
    let told = tell(&target, &guest(), Order::Disconnect, Attributes::Full, now()).await;
    assert_eq!(told, Outcome::NoAnswer);
    // Nor has it taken one of the three tries: what it heard first is this.
    let target = Target { secret: &right, ..target };
    assert_eq!(tell(&target, &guest(), LONGER, Attributes::Full, now()).await, Outcome::Ack);
    assert_eq!(nas.heard()["order"], "coa");
}

#[test]
fn tshark_reads_the_requests() {
    let nas = Nas::start();
    let secret = Secret::new(SECRET.as_bytes());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (spotgate, router): (SocketAddr, SocketAddr) =
        ("127.0.0.1:40000".parse().unwrap(), "127.0.0.1:3799".parse().unwrap());
    let mut capture = Capture::new();
    let mut identifier = 0;
    for style in [DisconnectStyle::Mikrotik, DisconnectStyle::Rfc5176] {
        for attributes in [Attributes::Full, Attributes::Reduced] {
            for order in [LONGER, Order::Disconnect] {
                let target = Target { address: nas.address, secret: &secret, style };
                let mut buffer = [0; Packet::MAX];
                let request = request(&mut buffer, identifier, &target, &guest(), order, attributes, now()).unwrap();
                socket.send_to(request.bytes(), nas.address).unwrap();
                capture.add(spotgate, router, request.bytes());
                let length = socket.recv(&mut buffer).unwrap();
                capture.add(router, spotgate, &buffer[..length]);
                identifier += 1;
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orders.pcap");
    capture.write(&file);
    for (filter, packets) in [
        ("_ws.malformed", 0),
        ("radius.authenticator.invalid == 1", 0),
        // It checks those of replies.
        ("radius.authenticator.valid == 1 && radius.rsp", 8),
        ("radius.code == 40", 4),
        ("radius.code == 43", 4),
        ("radius.code == 40 && radius.User_Name == \"kx7q-91mp\" && radius.Framed-IP-Address == 10.5.88.41", 2),
        ("radius.Session_Timeout == 540", 4),
        ("radius.Calling_Station_Id == \"3C-06-30-AA-19-01\"", 2),
        ("radius.Event_Timestamp == \"2026-11-23 12:00:00Z\"", 4),
    ] {
        assert_eq!(tshark(&file, filter), packets, "{filter}");
    }
}
