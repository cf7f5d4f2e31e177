//! Whatever is wrong with a file, no secret of it is ever shown, and nothing panics.

use proptest::prelude::*;

use super::*;

/// Stands for every secret, in the file and in files it names.
const MARKER: &str = "Zq7marker7qZ";

/// A file with a secret in every place that can hold one, comments and wrong keys included.
fn full_of_secrets() -> String {
    format!(
        r##"# old password: {MARKER}
[source]
kind = "nexudus"
[source.nexudus]
base_url = "https://spaces.nexudus.com"
username = "wifi@example.org"
password = "{MARKER}"
business_ids = [1, 2]
totp_secret = '{MARKER}'
webhook_secret = "{MARKER}"
[policy]
min_session = "60s" # {MARKER}
mac_login = "off"
[radius]
auth_listen = ["127.0.0.1:1812"]
[[nas]]
name = "front-desk"
address = "192.168.88.1"
secret = "{MARKER}"
hotspot_hosts = ["login.example.net", "10.5.50.1"]
[[nas]]
name = "bar"
address = "192.168.88.2"
secret_file = "{MARKER}"
hand_over = "opennds"
fas_key = "{MARKER}"
group = "guests"
[http]
listen = ["127.0.0.1:8080"]
[[http.api_key]]
name = "script"
key = "{MARKER}=="
scopes = ["authorize", "read"]
[[http.api_key]]
name = "tool"
key = "${{MARKED}}"
scopes = ["admin"]
[portal]
title = "${{MARKED}}"
public_url = "https://wifi.example.org"
[ironwifi.push]
base_url = "https://console.ironwifi.com/api"
nas = "bar"
api_key = '{MARKER}'
[admin]
password = """{MARKER}"""
viewer_password = "viewer{MARKER}"
[store]
kind = "postgres"
url = "postgres://spotgate:{MARKER}@db/spotgate"
[telemetry]
level = "info"
"##
    )
}

fn env(name: &str) -> Option<String> {
    (name == "MARKED").then(|| MARKER.to_owned())
}

fn assert_silent(text: &str) {
    let shown = match from_str(text, Path::new("/etc/spotgate/spotgate.toml"), &env) {
        // The title comes from the environment on purpose: it is no secret, so settings may show it.
        Ok(loaded) => {
            format!("{}{:?}", loaded.warnings, loaded.warnings)
                + &format!("{loaded:?}").replace(&format!("title: \"{MARKER}\""), "")
        }
        Err(report) => format!("{report}{report:?}"),
    };
    assert!(!shown.contains(MARKER), "of\n{text}\nthis is shown:\n{shown}");
}

/// The text with one line replaced by others.
fn with_line(text: &str, index: usize, replacement: &[String]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.splice(index..=index, replacement.iter().cloned());
    lines.join("\n")
}

/// So that one more cannot be forgotten.
#[test]
fn every_secret_there_is_stands_in_that_file() {
    let text = full_of_secrets();
    for (section, keys) in keys::SECTIONS {
        for key in keys.iter().filter(|key| keys::is_secret(key)) {
            let sections =
                text.split("\n[").filter(|part| part.trim_start_matches('[').starts_with(&format!("{section}]")));
            let mut lines = sections.flat_map(str::lines);
            assert!(
                lines.any(|line| line.starts_with(&format!("{key} = ")) && line.contains(MARKER)),
                "{section}.{key}"
            );
        }
    }
}

/// A key with a file beside it is one of a secret, by whatever name.
#[test]
fn what_may_stand_in_a_file_of_its_own_is_a_secret() {
    let all = keys::SECTIONS.iter().flat_map(|(_, keys)| *keys);
    let of_files: Vec<_> = all.filter_map(|key| key.strip_suffix("_file")).collect();
    assert!(of_files.len() >= 10 && of_files.iter().all(|key| keys::is_secret(key)), "{of_files:?}");
}

#[test]
fn no_broken_line_brings_a_secret_out() {
    let text = full_of_secrets();
    assert_silent(&text);
    for (index, line) in text.lines().enumerate() {
        assert_silent(&with_line(&text, index, &[]));
        assert_silent(&with_line(&text, index, &[line.to_owned(), line.to_owned()]));
        let next = text.lines().nth(index + 1).unwrap_or_default();
        assert_silent(&with_line(&text, index, &[format!("{line}{next}")]));
        for (at, _) in line.char_indices() {
            // Within the marker it would no longer be the secret.
            if line.match_indices(MARKER).any(|(start, _)| at > start && at < start + MARKER.len()) {
                continue;
            }
            let (before, after) = line.split_at(at);
            let rest = after.get(1..).unwrap_or_default();
            if !after.starts_with(MARKER) {
                assert_silent(&with_line(&text, index, &[format!("{before}{rest}")]));
                for garble in ["x", "=", ".", "#", "[", "]", "{", "\"", "'", " ", ",", "\\", "\u{0}", "ñ"] {
                    assert_silent(&with_line(&text, index, &[format!("{before}{garble}{rest}")]));
                }
            }
            for garble in ["x", "=", "\"", "'", "#", "\t", "${", "[", "\u{1b}", "é"] {
                assert_silent(&with_line(&text, index, &[format!("{before}{garble}{after}")]));
            }
            assert_silent(&with_line(&text, index, &[before.to_owned(), after.to_owned()]));
        }
    }
}

#[test]
fn secrets_in_wrong_places_stay_there() {
    for line in [
        format!("secert = \"{MARKER}\""),
        format!("shared_secret = [\"{MARKER}\", {{ a = \"{MARKER}\" }}]"),
        format!("\"{MARKER}\" = 1"),
        format!("name = {{ secret = \"{MARKER}\" }}"),
        format!("[nas.{MARKER}\n"),
        format!("[portal]\npublic_url = \"https://u:{MARKER}@h\""),
        format!("[portal]\npublic_url = \"ht tps://u:{MARKER}@h\""),
        format!("[portal]\nterms_url = \"ht tps://u:{MARKER}@h\""),
        format!("[naz]\nsecret = \"{MARKER}\""),
        format!("[nas]\nname = \"x\" secret = \"{MARKER}\""),
        format!("[[nas]]\nname = \"x\"\naddress = 5\nsecret = \"{MARKER}\"\ngroup = \"{MARKER}\"\nrate_limit = \"\""),
        format!("nas = [{{ name = \"x\", secret = \"{MARKER}\", address = \"nowhere\" }}]"),
        format!("[[nas]]\nsecret = \"\"\"\n{MARKER}\nname = {MARKER}\n\"\"\"\naddress = 7"),
        format!("[[nas]]\nsecret = \"\"\"\n{MARKER}\nname = {MARKER}"),
    ] {
        // The header whose very name is the secret shows that name; nobody can tell it from a name.
        if !line.starts_with("[nas.") {
            assert_silent(&line);
        }
    }
}

proptest! {
    #[test]
    fn no_text_panics(text: String) {
        let _ = from_str(&text, Path::new("spotgate.toml"), &env).map_err(|report| format!("{report}{report:?}"));
    }

    #[test]
    fn no_value_panics(section in 0usize..14, key in 0usize..16, value in "[ -~äß€]{0,24}", quoted: bool) {
        let (section, keys) = keys::SECTIONS[section % keys::SECTIONS.len()];
        let value = if quoted { format!("{value:?}") } else { value };
        let text = format!("{}\n{} = {value}\n", keys::header(section), keys[key % keys.len()]);
        let _ = from_str(&text, Path::new("spotgate.toml"), &env).map_err(|report| format!("{report}{report:?}"));
    }
}
