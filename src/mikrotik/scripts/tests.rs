//! The scripts as rules, read as a machine reads them; no RouterOS was there.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::mikrotik::script::tests::read;

const KEYS: &str = "[[http.api_key]]\nname = \"router\"\nkey = \"key-of-the-router\"\nscopes = [\"authorize\", \"accounting\"]\n\
                    [[http.api_key]]\nname = \"all\"\nkey = \"key-of-all\"\nscopes = [\"authorize\", \"accounting\", \"admin\"]\n\
                    [[http.api_key]]\nname = \"asks\"\nkey = \"key-that-asks\"\nscopes = [\"authorize\"]\n";

fn made(nas: &str, more: &str, call_out: &CallOut) -> Result<Setup, Error> {
    let text = format!(
        "[source]\nkind = \"file\"\npath = \"tokens.json\"\n[[nas]]\nname = \"{nas}\"\naddress = \"10.5.0.1\"\n\
         secret = \"0123456789abcdef\"\naccounting = false\ndisconnect_port = 0\n{more}\n"
    );
    let loaded = crate::config::from_str(&text, Path::new("/etc/spotgate/spotgate.toml"), &|_| None);
    let settings = loaded.unwrap_or_else(|report| panic!("{report}")).settings;
    scripts(&settings, &settings.nas[0], call_out)
}

fn at(url: &str) -> CallOut {
    CallOut { url: Url::parse(url).ok(), key: None }
}

/// The scripts that are put on the router, out of the one that puts them there.
fn inner(script: &str) -> Vec<String> {
    let strings = read(script).strings.into_iter().map(|string| String::from_utf8(string).unwrap());
    let mut inner: Vec<String> = strings.filter(|string| string.starts_with("# spotgate")).collect();
    // What is made where it is not there, and brought in line where it is, stands there for both.
    inner.dedup();
    inner
}

/// A script whose variables have no hyphens in their names: those stand in quotation marks behind their dollars.
fn hyphens(script: &str) -> String {
    let names = ["mac-address", "uptime-secs", "bytes-in", "bytes-out"];
    names.iter().fold(script.to_owned(), |script, name| script.replace(&format!("$\"{name}\""), "$given"))
}

/// What of a script is in no string, remark or string within it, with the names of its variables.
fn code(script: &str) -> String {
    read(script).code
}

#[test]
fn each_is_whole_and_names_nothing_that_is_not_there() {
    let script = made("fr\\\"ont $desk", KEYS, &at("https://wifi.example.org/x")).unwrap().script;
    assert!(read(&script).code.starts_with("{\n"));
    let inner = inner(&script);
    assert_eq!(inner.len(), 5, "lease, leases, again, on-login, on-logout");
    let given: [&[&str]; 5] = [
        &["leaseBound", "leaseActMAC", "leaseActIP"],
        &[],
        &[],
        &["user", "address", "mac-address"],
        &["user", "address", "mac-address", "uptime-secs", "bytes-in", "bytes-out"],
    ];
    for (script, given) in inner.iter().zip(given) {
        let code = code(&hyphens(script));
        let words = code.split(|letter: char| letter.is_whitespace() || "()[]{};".contains(letter));
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        let mut known: BTreeSet<&str> = given.iter().copied().chain(["given"]).collect();
        for pair in words.windows(2) {
            if matches!(pair[0], ":local" | ":foreach" | ":onerror") {
                known.insert(pair[1]);
            }
        }
        let mut used = 0;
        for (at, _) in code.match_indices('$') {
            let name: String = code[at + 1..].chars().take_while(char::is_ascii_alphanumeric).collect();
            assert!(known.contains(name.as_str()), "{name} in {script}");
            used += 1;
        }
        assert!(used > 8, "{script}");
    }
}

#[test]
fn each_call_checks_the_certificate_waits_not_long_and_fails_without_harm() {
    let script = made("front-desk", KEYS, &at("https://wifi.example.org/x/")).unwrap().script;
    for script in inner(&script) {
        let calls: Vec<&str> = script.lines().filter(|line| line.contains("/tool fetch")).collect();
        assert!(!calls.is_empty());
        for call in calls {
            for held in [
                "check-certificate=yes",
                "idle-timeout=3s duration=5s",
                "url=\"https://wifi.example.org/x/v1/",
                "Authorization: Bearer key-of-the-router\"",
                "http-method=post",
            ] {
                assert!(call.contains(held), "{held}: {call}");
            }
        }
        // Every call is within what catches its failure.
        let (mut caught, mut calls) = (Vec::new(), 0);
        for line in code(&hyphens(&script)).lines() {
            if line.contains("/tool fetch") {
                assert!(caught.contains(&true), "{line} in {script}");
                calls += 1;
            }
            for letter in line.chars() {
                match letter {
                    '{' => caught.push(line.starts_with(":onerror")),
                    '}' => drop(caught.pop()),
                    _ => {}
                }
            }
        }
        assert!(calls > 0);
        // What lets in or throws out hangs on a word of the answer's.
        for (act, word) in
            [("ip-binding add", "\"allow\""), ("active remove [find where mac-address=$sgMac]", "\"deny\"")]
        {
            if let Some(at) = script.find(act) {
                assert!(script[..at].contains(&format!("($sgAnswer->\"decision\") = {word}")), "{act} in {script}");
            }
        }
    }
    let open = made("front-desk", KEYS, &at("http://10.5.0.2:8080")).unwrap();
    assert!(
        open.script.contains("check-certificate=no") && open.notes.iter().any(|note| note.contains("not encrypted"))
    );
}

#[test]
fn no_session_is_named_twice_and_none_outlasts_what_was_granted() {
    let script = made("front-desk", KEYS, &at("https://wifi.example.org")).unwrap().script;
    let inner = inner(&script);
    let [lease, leases, again, login, logout] = &inner[..] else { panic!("five") };
    for script in [lease, again, login, logout] {
        assert!(script.contains("\"-\" . [:tonum [:timestamp]])"), "{script}");
    }
    // What is left shrinks with each look unless spotgate says how long.
    assert!(leases.contains("- 60)") && leases.contains("$sgLeft <= 0") && leases.contains(":set sgLeft $sgSeconds"));
    assert!(login.contains("interval=[:totime $sgSeconds]"), "{login}");
    for script in &inner {
        assert!(!script.contains("sgNow"), "no difference of clock readings: {script}");
    }
}

#[test]
fn who_would_ask_nobody_or_with_nothing_is_told() {
    let error = |more: &str, call_out: &CallOut| made("front-desk", more, call_out).unwrap_err().to_string();
    let accounted = format!("{KEYS}[[nas]]\nname = \"other\"\naddress = \"10.5.0.2\"\nsecret = \"0123456789abcdef\"\n");
    let text = format!("[source]\nkind = \"file\"\npath = \"tokens.json\"\n{accounted}");
    let settings = crate::config::from_str(&text, Path::new("spotgate.toml"), &|_| None).unwrap().settings;
    let refused = scripts(&settings, &settings.nas[0], &at("https://wifi.example.org")).unwrap_err();
    assert!(refused.to_string().contains("a [[nas]] of their own"));
    assert!(error(KEYS, &CallOut::default()).contains("--url"));
    assert!(error("", &at("https://wifi.example.org")).contains("needs a key"));
    let named = |name: &str| CallOut { key: Some(name.to_owned()), ..at("https://wifi.example.org") };
    assert!(error(KEYS, &named("asks")).contains("no key asks with the scopes"));
    assert!(error(KEYS, &named("nobody")).contains("no key nobody"));
    assert!(made("front-desk", KEYS, &named("all")).unwrap().script.contains("key-of-all"));
    let portal = format!("{KEYS}[portal]\npublic_url = \"https://portal.example.org\"\n");
    let script = made("front-desk", &portal, &CallOut::default()).unwrap().script;
    assert!(script.contains("https://portal.example.org/v1/authorize"));
}
