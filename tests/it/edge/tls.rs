//! The floor of TLS, as sslscan finds it.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::support::authority::Authority;
use crate::support::{FILE_SOURCE, Spotgate, configuration, printed, record, run, tool};

/// The value of an attribute in a line of sslscan's XML.
fn attribute<'l>(line: &'l str, name: &str) -> &'l str {
    let value = line.split_once(&format!(" {name}=\"")).and_then(|(_, rest)| rest.split_once('"'));
    value.unwrap_or_else(|| panic!("{name} in {line}")).0
}

/// What sslscan says of a listener, a line for each finding; where it shows a certificate, with that.
fn scanned(to: SocketAddr, shown: Option<&Path>) -> Vec<String> {
    let mut sslscan = tool("sslscan");
    sslscan.args(["--xml=-", "--no-colour", "--no-check-certificate"]);
    for (option, file) in [("certs", "client.pem"), ("pk", "client.key")] {
        sslscan.args(shown.map(|folder| format!("--{option}={}", folder.join(file).display())));
    }
    let output = run(sslscan.arg(to.to_string()));
    let said = printed(&output);
    assert!(output.status.success() && said.contains("</ssltest>"), "{said}");
    said.lines().map(|line| line.trim().to_owned()).collect()
}

fn assert_sound(whose: &str, to: SocketAddr, shown: Option<&Path>) {
    let lines = scanned(to, shown);
    let of = |element: &str| -> Vec<&str> {
        let begin = format!("<{element} ");
        let found: Vec<_> = lines.iter().map(String::as_str).filter(|line| line.starts_with(&begin)).collect();
        assert!(!found.is_empty(), "{whose}: sslscan says nothing of {element}: {lines:?}");
        found
    };
    let enabled: BTreeSet<_> = of("protocol")
        .into_iter()
        .filter(|line| attribute(line, "enabled") == "1")
        .map(|line| (attribute(line, "type"), attribute(line, "version")))
        .collect();
    assert_eq!(enabled, BTreeSet::from([("tls", "1.2"), ("tls", "1.3")]), "{whose}");
    let ciphers = of("cipher");
    for line in &ciphers {
        let (version, cipher) = (attribute(line, "sslversion"), attribute(line, "cipher"));
        let is_sealed = cipher.contains("GCM") || cipher.contains("CHACHA20");
        let is_forward = version == "TLSv1.3" || cipher.starts_with("ECDHE-");
        assert!(is_sealed && is_forward && attribute(line, "strength") != "weak", "{whose}: {line}");
        assert!(attribute(line, "bits").parse::<u16>().unwrap() >= 128, "{whose}: {line}");
    }
    for version in ["TLSv1.2", "TLSv1.3"] {
        assert!(ciphers.iter().any(|line| attribute(line, "sslversion") == version), "{whose}: {version} has a cipher");
    }
    for line in of("renegotiation") {
        assert!(attribute(line, "supported") == "0" || attribute(line, "secure") == "1", "{whose}: {line}");
    }
    for line in of("heartbleed") {
        assert_eq!(attribute(line, "vulnerable"), "0", "{whose}: {line}");
    }
    for line in of("group") {
        assert!(attribute(line, "bits").parse::<u16>().unwrap() >= 128, "{whose}: {line}");
    }
}

/// What a listener answers to a hello of TLS 1.2 that offers these ways to compress: the one that it takes; none: it refuses.
fn compressed(to: SocketAddr, ways: &[u8]) -> Option<u8> {
    let with_length = |octets: &[u8]| [&u16::try_from(octets.len()).unwrap().to_be_bytes(), octets].concat();
    let extension = |kind: u16, list: &[u8]| [&kind.to_be_bytes()[..], &with_length(&with_length(list))].concat();
    // x25519 and P-256; ECDSA and RSA-PSS with SHA-256; ECDHE with AES-128 and SHA-256, with either kind of key.
    let extensions = [extension(10, &[0, 29, 0, 23]), extension(13, &[4, 3, 8, 4])].concat();
    let ways = [&[u8::try_from(ways.len()).unwrap()], ways].concat();
    let hello =
        [&[3, 3][..], &[7; 32], &[0], &with_length(&[0xC0, 0x2B, 0xC0, 0x2F]), &ways, &with_length(&extensions)]
            .concat();
    let handshake = [&[1, 0][..], &with_length(&hello)].concat();
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(&[&[22, 3, 1][..], &with_length(&handshake)].concat()).unwrap();
    // Of a record: its kind, version and length; of a hello in it: kind, length, version, random, session.
    let mut head = [0; 5];
    stream.read_exact(&mut head).unwrap();
    let mut record = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    stream.read_exact(&mut record).unwrap();
    match (head[0], record[0]) {
        (22, 2) => Some(record[4 + 2 + 32 + 1 + usize::from(record[38]) + 2]),
        (21, 2) => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn sslscan_finds_tls_1_2_and_1_3_alone_with_sound_ciphers_at_every_listener() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("routers and spotgate"));
    std::fs::write(folder.path().join("tokens.json"), json!([record(1, "abc-123")]).to_string()).unwrap();
    std::fs::write(folder.path().join("ca.pem"), &authority.certificate).unwrap();
    for name in ["radsec", "http", "client"] {
        authority.issue(&["localhost", "127.0.0.1"]).write(folder.path(), name);
    }
    let radsec = "[radius.radsec]\nlisten = [\"127.0.0.1:0\"]\ncertificate = \"radsec.pem\"\nprivate_key = \"radsec.key\"\nclient_ca = \"ca.pem\"\n";
    let text = configuration(FILE_SOURCE, radsec);
    let text = text.replace("[http]\n", "[http]\ncertificate = \"http.pem\"\nprivate_key = \"http.key\"\n");
    let spotgate = Spotgate::start_in(folder, &text);
    let shown = Some(spotgate.folder.path());
    let listeners = [("https", spotgate.http, None), ("RadSec", spotgate.radsec.unwrap(), shown)];
    // Both at once: it waits for much.
    std::thread::scope(|scope| {
        for (whose, to, shown) in listeners {
            scope.spawn(move || assert_sound(whose, to, shown));
        }
    });
    for (whose, to, _) in listeners {
        // That of Debian is built without compression, so it cannot ask for it.
        assert_eq!((compressed(to, &[1, 0]), compressed(to, &[1])), (Some(0), None), "{whose}");
    }
    spotgate.stop();
}
