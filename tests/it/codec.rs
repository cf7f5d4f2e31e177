//! Our codec and FreeRADIUS's (`radsniff`, `radclient`) on the same octets: what one writes the other reads, and what one takes for
//! a packet so does the other.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::process::Stdio;
use std::time::Duration;

use spotgate::radius::attribute::{self as a, code, mikrotik};
use spotgate::radius::packet::{Drop, Packet, Reply, Request};
use spotgate::radius::secret::{MAX_PASSWORD, MessageAuthenticator, Secret};

use crate::support::ledger::Dice;
use crate::support::pcap::Capture;
use crate::support::{SECRET, printed, run, tool};

/// How values of an attribute are written down.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Octets,
    Number,
    Address,
}

/// Whose it is (0: RADIUS's own), and its number.
type Kind = (u32, u8);

/// What is compared: attributes that FreeRADIUS shows by their values, not by names of these.
const KINDS: [(Kind, &str, Form); 17] = [
    ((0, a::USER_NAME), "User-Name", Form::Text),
    ((0, a::NAS_PORT), "NAS-Port", Form::Number),
    ((0, a::FRAMED_IP_ADDRESS), "Framed-IP-Address", Form::Address),
    ((0, a::REPLY_MESSAGE), "Reply-Message", Form::Text),
    ((0, a::STATE), "State", Form::Octets),
    ((0, a::CLASS), "Class", Form::Octets),
    ((0, a::SESSION_TIMEOUT), "Session-Timeout", Form::Number),
    ((0, a::CALLED_STATION_ID), "Called-Station-Id", Form::Text),
    ((0, a::CALLING_STATION_ID), "Calling-Station-Id", Form::Text),
    ((0, a::NAS_IDENTIFIER), "NAS-Identifier", Form::Text),
    ((0, a::PROXY_STATE), "Proxy-State", Form::Octets),
    ((0, a::ACCT_INPUT_OCTETS), "Acct-Input-Octets", Form::Number),
    ((0, a::ACCT_SESSION_ID), "Acct-Session-Id", Form::Text),
    ((0, a::ACCT_SESSION_TIME), "Acct-Session-Time", Form::Number),
    ((0, a::CHAP_CHALLENGE), "CHAP-Challenge", Form::Octets),
    ((mikrotik::VENDOR, mikrotik::RECV_LIMIT), "Mikrotik-Recv-Limit", Form::Number),
    ((mikrotik::VENDOR, mikrotik::RATE_LIMIT), "Mikrotik-Rate-Limit", Form::Text),
];

type Attribute = (Kind, Vec<u8>);

/// An attribute as FreeRADIUS shows it; one whose value is of another form it shows by its number.
fn shown(line: &str) -> Option<Attribute> {
    let (name, value) = line.trim().split_once(" = ")?;
    let kind = match name.strip_prefix("Attr-").map(|number| number.split('.').collect::<Vec<_>>()) {
        None => KINDS.iter().find(|(_, of, _)| *of == name)?.0,
        Some(numbers) => match numbers.as_slice() {
            [kind] => (0, kind.parse().ok()?),
            ["26", vendor, kind] => (vendor.parse().ok()?, kind.parse().ok()?),
            _ => return None,
        },
    };
    KINDS.iter().any(|(of, ..)| *of == kind).then(|| (kind, octets(value)))
}

/// The octets of a value: text in quotes, hexadecimal, an address or a number.
fn octets(value: &str) -> Vec<u8> {
    if let Some(text) = value.strip_prefix('"') {
        return unescaped(text.strip_suffix('"').unwrap());
    }
    if let Some(digits) = value.strip_prefix("0x") {
        return data_encoding::HEXLOWER.decode(digits.as_bytes()).unwrap();
    }
    match value.parse::<std::net::Ipv4Addr>() {
        Ok(address) => address.octets().to_vec(),
        Err(_) => value.parse::<u32>().unwrap_or_else(|_| panic!("{value}")).to_be_bytes().to_vec(),
    }
}

fn unescaped(text: &str) -> Vec<u8> {
    let (mut octets, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, after @ ..] = rest {
        let (octet, taken) = match (first, after) {
            (b'\\', [digit @ b'0'..=b'3', ..]) => {
                assert!(digit.is_ascii_digit());
                (u8::from_str_radix(std::str::from_utf8(&after[..3]).unwrap(), 8).unwrap(), 4)
            }
            (b'\\', [b'n', ..]) => (b'\n', 2),
            (b'\\', [b'r', ..]) => (b'\r', 2),
            (b'\\', [b't', ..]) => (b'\t', 2),
            (b'\\', [other, ..]) => (*other, 2),
            _ => (*first, 1),
        };
        octets.push(octet);
        rest = &rest[taken..];
    }
    octets
}

/// An attribute as it is told to `radclient`.
fn told((kind, value): &Attribute) -> String {
    let (_, name, form) = KINDS.iter().find(|(of, ..)| of == kind).unwrap();
    let value = match (form, <[u8; 4]>::try_from(value.as_slice())) {
        (Form::Text, _) => {
            let text: String = value.iter().map(|octet| format!("\\{octet:03o}")).collect();
            format!("\"{text}\"")
        }
        (Form::Octets, _) => format!("0x{}", data_encoding::HEXLOWER.encode(value)),
        (Form::Number, Ok(number)) => u32::from_be_bytes(number).to_string(),
        (Form::Address, Ok(address)) => std::net::Ipv4Addr::from(address).to_string(),
        (_, Err(_)) => panic!("{value:?}"),
    };
    format!("{name} = {value}\n")
}

/// What our codec finds in a packet. FreeRADIUS leaves out what is empty, and NULs at the end of a text.
fn found(packet: &Packet<'_>) -> Vec<Attribute> {
    let own = packet.attributes().map(|one| ((0, one.kind), one.value));
    let vendors = packet.vendor(mikrotik::VENDOR).map(|(kind, value)| ((mikrotik::VENDOR, kind), value));
    let compared = own.chain(vendors).filter(|(_, value)| !value.is_empty()).filter_map(|(kind, mut value)| {
        let (.., form) = KINDS.iter().find(|(of, ..)| *of == kind)?;
        while let (Form::Text, [before @ .., 0]) = (form, value) {
            value = before;
        }
        Some((kind, value.to_vec()))
    });
    sorted(compared)
}

fn sorted(attributes: impl Iterator<Item = Attribute>) -> Vec<Attribute> {
    let mut attributes: Vec<_> = attributes.collect();
    attributes.sort();
    attributes
}

/// Some attributes, with values of their forms.
fn drawn(dice: &mut Dice) -> Vec<Attribute> {
    let one = |dice: &mut Dice| {
        let (kind, _, form) = KINDS[usize::try_from(dice.below(17)).unwrap()];
        let length = match form {
            Form::Text | Form::Octets => 1 + dice.below(40),
            Form::Number | Form::Address => 4,
        };
        let mut octet = |_| match form {
            // `radclient` ends a text at its first NUL.
            Form::Text => u8::try_from(1 + dice.below(255)).unwrap(),
            _ => u8::try_from(dice.below(256)).unwrap(),
        };
        (kind, (0..length).map(&mut octet).collect())
    };
    (0..=dice.below(12)).map(|_| one(dice)).collect()
}

/// A login by our codec.
fn login(dice: &mut Dice, attributes: &[Attribute]) -> Vec<u8> {
    let mut buffer = [0; Packet::MAX];
    let authenticator = [(); 16].map(|()| u8::try_from(dice.below(256)).unwrap());
    let mut request = Request::new(&mut buffer, code::ACCESS_REQUEST, 7, &authenticator);
    for ((vendor, kind), value) in attributes {
        match vendor {
            0 => request.attribute(*kind, value).unwrap(),
            vendor => request.vendor(*vendor, *kind, value).unwrap(),
        }
    }
    request.message_authenticator().unwrap();
    request.sign(&Secret::new(SECRET.as_bytes())).to_vec()
}

/// What `radsniff` finds in each of these; none where it is no packet.
fn judged(datagrams: &[Vec<u8>]) -> Vec<Option<Vec<Attribute>>> {
    let (folder, mut capture) = (tempfile::tempdir().unwrap(), Capture::new());
    let router = |index: usize| SocketAddr::from(([127, 0, 0, 1], u16::try_from(20_000 + index).unwrap()));
    for (index, datagram) in datagrams.iter().enumerate() {
        capture.add(router(index), ([127, 0, 0, 2], 1812).into(), datagram);
    }
    let path = folder.path().join("it.pcap");
    capture.write(&path);
    let said = printed(&run(tool("radsniff").arg("-I").arg(&path).args(["-x", "-s", SECRET])));
    let mut verdicts: BTreeMap<usize, Option<Vec<Attribute>>> = BTreeMap::new();
    let mut of = None;
    for line in said.lines() {
        if line.starts_with('\t') {
            let attributes = of.and_then(|of| verdicts.get_mut(&of)).and_then(Option::as_mut);
            if let Some(attributes) = attributes {
                attributes.extend(shown(line));
            }
            continue;
        }
        let port = line.split_once(" -> ").and_then(|(before, _)| before.rsplit_once(':')?.1.parse::<usize>().ok());
        of = port.map(|port| port - 20_000).filter(|_| !line.contains("** norsp **"));
        if let Some(of) = of {
            verdicts.insert(of, (!line.contains("** error **")).then(Vec::new));
        }
    }
    let verdict = |(index, datagram): (usize, &Vec<u8>)| match verdicts.remove(&index) {
        Some(verdict) => verdict.map(|attributes| sorted(attributes.into_iter())),
        // It says of these that they are none, and not which.
        None => {
            assert!(datagram.len() < 20, "no verdict on {datagram:02x?}");
            None
        }
    };
    datagrams.iter().enumerate().map(verdict).collect()
}

#[test]
fn what_we_write_radsniff_reads() {
    let mut dice = Dice::new();
    let drawn: Vec<_> = (0..500).map(|_| drawn(&mut dice)).collect();
    let datagrams: Vec<_> = drawn.iter().map(|attributes| login(&mut dice, attributes)).collect();
    for (attributes, found) in drawn.into_iter().zip(judged(&datagrams)) {
        assert_eq!(found, Some(sorted(attributes.into_iter())));
    }
}

/// Changes a packet somewhere; its kind stays, since each codec knows its own.
fn mutated(dice: &mut Dice, mut datagram: Vec<u8>) -> Vec<u8> {
    let octet = |dice: &mut Dice| u8::try_from(dice.below(256)).unwrap();
    for _ in 0..=dice.below(3) {
        let place = 1 + usize::try_from(dice.below(u32::try_from(datagram.len()).unwrap())).unwrap();
        match dice.below(5) {
            0 => datagram.truncate(place),
            1 if place < datagram.len() => datagram[place] = octet(dice),
            2 if place < datagram.len() => datagram[place] ^= 1 << dice.below(8),
            3 => datagram.insert(place, octet(dice)),
            // One more attribute at the end, perhaps of another length than it says.
            _ => {
                let kind = [a::MESSAGE_AUTHENTICATOR, a::VENDOR_SPECIFIC, a::NAS_PORT, 0][dice.below(4) as usize];
                let length = [2, 4, 6, 17, 18, 18, 18, 19][dice.below(8) as usize];
                datagram.extend([kind, length]);
                for _ in 2..length + u8::from(dice.below(8) == 0) {
                    datagram.push(octet(dice));
                }
            }
        }
    }
    let whole = u16::try_from(datagram.len()).unwrap().to_be_bytes();
    if let Some(length) = datagram.get_mut(2..4)
        && dice.below(4) > 0
    {
        length.copy_from_slice(&whole);
    }
    datagram
}

#[test]
fn radsniff_takes_for_packets_what_we_take_and_finds_the_same_in_them() {
    let mut dice = Dice::new();
    let datagrams: Vec<_> = (0..4000)
        .map(|_| {
            let attributes = drawn(&mut dice);
            let datagram = login(&mut dice, &attributes);
            mutated(&mut dice, datagram)
        })
        .collect();
    let (mut taken, mut refused) = (0, 0);
    for (datagram, verdict) in datagrams.iter().zip(judged(&datagrams)) {
        let ours = match Packet::parse(datagram) {
            // FreeRADIUS takes the first of two for the one there may be (RFC 3579 §3.3).
            Err(Drop::MessageAuthenticatorTwice) => continue,
            ours => ours.ok(),
        };
        // FreeRADIUS takes no attribute of number 0, which to us is one of many that we do not know; and it looks here already
        // whether EAP comes with a Message-Authenticator (RFC 3579 §3.1).
        let ours = ours.filter(|packet| {
            packet.attributes().all(|one| one.kind != 0)
                && (packet.count(a::EAP_MESSAGE) == 0 || packet.message_authenticator().is_some())
        });
        assert_eq!(ours.as_ref().map(found), verdict, "{datagram:02x?}");
        *if ours.is_some() { &mut taken } else { &mut refused } += 1;
    }
    println!("{taken} taken, {refused} refused");
    assert!(taken > 400 && refused > 400, "of both there are some: {taken}, {refused}");
}

/// Expects a login with these attributes, and answers it with those.
fn answer(socket: &UdpSocket, sent: &[Attribute], password: &str, attributes: &[Attribute]) {
    let (secret, mut buffer) = (Secret::new(SECRET.as_bytes()), [0; Packet::MAX]);
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    let request = Packet::parse(&buffer[..length]).unwrap();
    assert_eq!(found(&request), sorted(sent.iter().cloned()));
    assert_eq!(secret.check_message_authenticator(&request), MessageAuthenticator::Good);
    let (hidden, mut shown) = (request.first(a::USER_PASSWORD).unwrap(), [0; MAX_PASSWORD]);
    assert_eq!(secret.unhide(hidden, request.authenticator(), &mut shown), Some(password.as_bytes()));
    let mut buffer = [0; Packet::MAX];
    let mut reply = Reply::new(&mut buffer, code::ACCESS_ACCEPT, request.identifier());
    for ((vendor, kind), value) in attributes {
        match vendor {
            0 => reply.attribute(*kind, value).unwrap(),
            vendor => reply.vendor(*vendor, *kind, value).unwrap(),
        }
    }
    socket.send_to(reply.sign(&secret, request.authenticator()), from).unwrap();
}

#[test]
fn what_radclient_writes_we_read_and_the_other_way_round() {
    const REQUESTS: usize = 100;
    let mut dice = Dice::new();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let sent: Vec<_> = (0..REQUESTS).map(|_| drawn(&mut dice)).collect();
    let answers: Vec<_> = (0..REQUESTS).map(|_| drawn(&mut dice)).collect();
    let password = |index: usize| format!("a password of some length {index}");
    let asked: Vec<String> = sent
        .iter()
        .enumerate()
        .map(|(index, attributes)| {
            let lines: String = attributes.iter().map(told).collect();
            format!("{lines}User-Password = \"{}\"\nMessage-Authenticator = 0x00\n", password(index))
        })
        .collect();
    let server = socket.local_addr().unwrap().to_string();
    let mut radclient = tool("radclient")
        .args(["-x", "-p", "1", "-r", "1", "-t", "10", &server, "auth", SECRET])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    radclient.stdin.take().unwrap().write_all(asked.join("\n").as_bytes()).unwrap();
    let serve = || {
        for index in 0..REQUESTS {
            answer(&socket, &sent[index], &password(index), &answers[index]);
        }
    };
    let said = std::thread::scope(|scope| {
        scope.spawn(serve);
        printed(&radclient.wait_with_output().unwrap())
    });
    let received = said.split("Received Access-Accept").skip(1).map(|answer| {
        let own = answer.lines().skip(1).take_while(|line| line.starts_with('\t'));
        sorted(own.filter_map(shown))
    });
    let expected: Vec<_> = answers.into_iter().map(|attributes| sorted(attributes.into_iter())).collect();
    assert_eq!(received.collect::<Vec<_>>(), expected);
}
