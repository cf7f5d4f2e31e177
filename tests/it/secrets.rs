//! Every secret in a busy life of the real binary, with the log as loud as it gets: none comes out anywhere.

mod echo;
mod life;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use data_encoding::{BASE64, HEXLOWER, HEXUPPER};

use crate::support::repository_file;

/// Each secret of the configuration, and what stands for it: found nowhere by chance.
///
/// One that is added to the configuration wants a line here, and a place in [`life`] or [`echo`] where it is in use.
const SECRETS: [(&str, &str); 12] = [
    ("source.nexudus.password", "Mark1NexudusPassword"),
    // Base32, as it must be.
    ("source.nexudus.totp_secret", "MARKTOTPSEEDMARK"),
    ("source.nexudus.webhook_secret", "Mark3WebhookSecret"),
    ("nas.secret", "Mark4SharedSecret"),
    ("nas.fas_key", "Mark5OfOpenNds77"),
    ("http.api_key.key", "Mark6KeyOfTheInterface"),
    ("ironwifi.push.api_key", "Mark7KeyOfIronWifi"),
    ("admin.password", "Mark8PasswordOfOperators"),
    ("admin.viewer_password", "Mark9PasswordOfViewers"),
    ("store.url", "Mark10PasswordOfTheDatabase"),
    // A line of them.
    ("radius.radsec.private_key", ""),
    ("http.private_key", ""),
];

fn secret(name: &str) -> &'static str {
    SECRETS.iter().find(|(known, _)| *known == name).unwrap().1
}

/// What must not come out, by what it is; and where it was looked for.
#[derive(Default)]
struct Watch {
    secrets: Vec<(String, String)>,
    /// Where it came out.
    found: String,
    looked: usize,
}

impl Watch {
    /// Over every secret of the configuration that stands here as it is.
    fn new() -> Self {
        let mut watch = Self::default();
        for (name, secret) in SECRETS.iter().filter(|(_, secret)| !secret.is_empty()) {
            watch.over(name, secret);
        }
        watch
    }

    /// Watches for one more: as it is, and as it might be hidden from a reader, though not from whoever wants it.
    fn over(&mut self, what: &str, secret: &str) {
        assert!(secret.len() >= 8, "{what} could be there by chance: {secret}");
        let octets = format!("{:?}", secret.as_bytes());
        let escaped = secret.escape_debug().to_string();
        let forms = [secret.to_owned(), escaped, octets.trim_matches(['[', ']']).to_owned()];
        let packed =
            [HEXLOWER.encode(secret.as_bytes()), HEXUPPER.encode(secret.as_bytes()), BASE64.encode(secret.as_bytes())];
        for form in forms.into_iter().chain(packed) {
            self.secrets.push((what.to_owned(), form));
        }
    }

    /// Looks for all of them, but for those that may stand there.
    fn look_in(&mut self, place: &str, text: &str, but_for: &[&str]) {
        self.looked += 1;
        for (what, secret) in self.secrets.iter().filter(|(what, _)| !but_for.contains(&what.as_str())) {
            if let Some((before, after)) = text.split_once(secret.as_str()) {
                let begin = before.char_indices().rev().nth(160).map_or(0, |(at, _)| at);
                let after: String = after.chars().take(80).collect();
                let _ = writeln!(self.found, "{what} in {place}: …{}{secret}{after}…", &before[begin..]);
            }
        }
    }

    /// In what a process shows to everybody, and in what it has started.
    fn look_at_process(&mut self, id: u32) {
        let cmdline = String::from_utf8_lossy(&std::fs::read(format!("/proc/{id}/cmdline")).unwrap()).into_owned();
        assert!(cmdline.contains("serve"), "{cmdline}");
        self.look_in("cmdline", &cmdline, &[]);
        let started = crate::support::run(std::process::Command::new("pgrep").args(["-P", &id.to_string()]));
        assert!(started.stdout.is_empty(), "it has started something, whose arguments and environment want a look");
    }

    fn is_silent(&self, least: usize) {
        assert!(self.found.is_empty(), "{}", self.found);
        assert!(self.looked >= least, "looked at {} places", self.looked);
    }
}

/// The middle line of a private key.
fn heart(pem: &str) -> &str {
    pem.lines().nth(1).unwrap()
}

#[test]
fn every_secret_of_the_configuration_is_watched() {
    let mut section = String::new();
    let mut secrets = BTreeSet::new();
    for line in repository_file("config/spotgate.toml").lines() {
        let line = line.trim_start_matches('#');
        if line.starts_with('[') && line.ends_with(']') {
            section = line.trim_matches(['[', ']']).to_owned();
        }
        let Some((key, _)) = line.split_once(" = ") else { continue };
        let secret = key.strip_suffix("_file").or((key == "private_key").then_some(key));
        secrets.extend(secret.map(|secret| format!("{section}.{secret}")));
    }
    assert_eq!(secrets, SECRETS.map(|(name, _)| name.to_owned()).into());
}

#[test]
fn what_is_watched_for_is_found() {
    let mut watch = Watch::new();
    watch.look_in("nothing", "A harmless line.", &[]);
    assert!(watch.found.is_empty());
    let secret = secret("nas.secret");
    for text in [secret.to_owned(), format!("{:?}", secret.as_bytes()), BASE64.encode(secret.as_bytes())] {
        watch.look_in("a line", &format!("before {text} after"), &[]);
        assert!(std::mem::take(&mut watch.found).contains("nas.secret in a line"), "{text}");
    }
    watch.look_in("a line", secret, &["nas.secret"]);
    assert!(watch.found.is_empty());
}
