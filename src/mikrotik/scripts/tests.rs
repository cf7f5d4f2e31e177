//! The scripts as rules, read as a machine reads them; no RouterOS was there.

use std::collections::BTreeSet;
use std::path::Path;

use super::router::Router;
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
    let names = ["mac-address", "bytes-in", "bytes-out"];
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
    assert_eq!(inner.len(), 6, "lease, leases, again, guests, on-login, on-logout");
    let given: [&[&str]; 6] = [
        &["leaseBound", "leaseActMAC", "leaseActIP"],
        &[],
        &[],
        &[],
        &["user", "address", "mac-address"],
        &["mac-address", "bytes-in", "bytes-out"],
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
    let [lease, leases, again, _, login, _] = &inner[..] else { panic!("six") };
    for script in [lease, again, login] {
        assert!(script.contains("\"-\" . [:tonum [:timestamp]])"), "{script}");
    }
    // What is left shrinks with each look unless spotgate says how long.
    assert!(leases.contains("- 60)") && leases.contains("$sgLeft <= 0") && leases.contains(":set sgLeft $sgSeconds"));
    for script in &inner {
        assert!(!script.contains("sgNow"), "no difference of clock readings: {script}");
    }
}

#[test]
fn who_would_ask_nobody_or_with_nothing_is_told() {
    let error = |more: &str, call_out: &CallOut| made("front-desk", more, call_out).err().unwrap().to_string();
    let accounted = format!("{KEYS}[[nas]]\nname = \"other\"\naddress = \"10.5.0.2\"\nsecret = \"0123456789abcdef\"\n");
    let text = format!("[source]\nkind = \"file\"\npath = \"tokens.json\"\n{accounted}");
    let settings = crate::config::from_str(&text, Path::new("spotgate.toml"), &|_| None).unwrap().settings;
    let refused = scripts(&settings, &settings.nas[0], &at("https://wifi.example.org")).err().unwrap();
    assert!(refused.to_string().contains("a [[nas]] of their own"));
    assert!(error(KEYS, &CallOut::default()).contains("--url"));
    assert!(error("", &at("https://wifi.example.org")).contains("needs a key"));
    let comma = KEYS.replace("key-of-the-router", "key,of-the-router");
    assert!(error(&comma, &at("https://wifi.example.org")).contains("the key router has a comma"));
    for url in ["https://wifi.example.org/?site=1", "https://wifi.example.org/#site"] {
        assert!(error(KEYS, &at(url)).contains("leave `?` and `#` out"), "{url}");
    }
    let named = |name: &str| CallOut { key: Some(name.to_owned()), ..at("https://wifi.example.org") };
    assert!(error(KEYS, &named("asks")).contains("no key asks with the scopes"));
    assert!(error(KEYS, &named("nobody")).contains("no key nobody"));
    assert!(made("front-desk", KEYS, &named("all")).unwrap().script.contains("key-of-all"));
    let portal = format!("{KEYS}[portal]\npublic_url = \"https://portal.example.org\"\n");
    let script = made("front-desk", &portal, &CallOut::default()).unwrap().script;
    assert!(script.contains("https://portal.example.org/v1/authorize"));
}

const PHONE: &str = "3C:06:30:AA:19:01";
const LAPTOP: &str = "3C:06:30:AA:19:02";

/// Runs a day on a router: what a script causes runs at once, and then, on another, after it.
fn on_a_router(day: impl Fn(&mut Router)) {
    let script = made("front-desk", KEYS, &at("https://wifi.example.org")).unwrap().script;
    for later in [false, true] {
        let mut router = Router::with(&script, later);
        let standing = router.schedulers();
        day(&mut router);
        // By then everybody is gone: nothing is left of any of them, here or at spotgate.
        router.pass(1000);
        assert_eq!((router.open(), router.schedulers()), (0, standing), "later: {later}");
    }
}

#[test]
fn a_guest_who_logs_out_is_reported_under_the_name_of_his_login() {
    on_a_router(|router| {
        router.log_in("kx7q-91mp", PHONE, "10.5.88.41");
        router.pass(100);
        assert!(router.is_online(PHONE));
        router.log_out("10.5.88.41");
        assert_eq!(router.open(), 0);
    });
}

#[test]
fn a_guest_whose_time_is_over_goes_and_is_reported_once() {
    on_a_router(|router| {
        router.log_in("kx7q-91mp", PHONE, "10.5.88.41");
        router.pass(580);
        assert!(router.is_online(PHONE));
        router.pass(20);
        assert!(!router.is_online(PHONE));
    });
}

#[test]
fn a_guest_whose_time_is_over_goes_while_spotgate_is_away() {
    let script = made("front-desk", KEYS, &at("https://wifi.example.org")).unwrap().script;
    let mut router = Router::with(&script, true);
    router.log_in("kx7q-91mp", PHONE, "10.5.88.41");
    router.away = true;
    router.pass(600);
    assert!(!router.is_online(PHONE));
}

#[test]
fn a_guest_who_is_denied_is_put_out_and_nothing_is_reported_of_him() {
    on_a_router(|router| {
        router.denied.insert("old-77");
        router.log_in("old-77", PHONE, "10.5.88.41");
        assert!(!router.is_online(PHONE));
        // Nor does it touch what another device has.
        router.log_in("kx7q-91mp", LAPTOP, "10.5.88.42");
        router.log_in("old-77", PHONE, "10.5.88.41");
        assert!(router.is_online(LAPTOP) && router.open() == 1);
        // What it had before is over.
        router.log_in("old-77", LAPTOP, "10.5.88.43");
        assert!(!router.is_online(LAPTOP));
        router.pass(10);
        assert_eq!(router.open(), 0);
    });
}

#[test]
fn a_device_that_logs_in_again_without_a_logout_goes_on_under_the_new_name() {
    on_a_router(|router| {
        router.log_in("kx7q-91mp", PHONE, "10.5.88.41");
        router.pass(100);
        // At another address; the router notices only now that the other one is gone.
        router.log_in("kx7q-91mp", PHONE, "10.5.88.77");
        router.pass(100);
        router.log_out("10.5.88.41");
        assert_eq!((router.is_online(PHONE), router.open()), (true, 1));
        router.pass(480);
        assert!(router.is_online(PHONE));
        router.pass(20);
        assert!(!router.is_online(PHONE));
    });
}

#[test]
fn two_devices_with_one_code_are_two() {
    on_a_router(|router| {
        router.log_in("kx7q-91mp", PHONE, "10.5.88.41");
        router.pass(100);
        router.log_in("kx7q-91mp", LAPTOP, "10.5.88.42");
        router.log_out("10.5.88.41");
        assert_eq!((router.is_online(LAPTOP), router.open()), (true, 1));
        router.pass(590);
        assert!(router.is_online(LAPTOP));
        router.pass(10);
        assert!(!router.is_online(LAPTOP));
    });
}

#[test]
fn a_guest_who_leaves_while_spotgate_is_asked_is_reported_all_the_same() {
    on_a_router(|router| {
        router.meanwhile = Some(|router| {
            router.pass(2);
            router.log_out("10.5.88.41");
        });
        router.log_in("kx7q-91mp", PHONE, "10.5.88.41");
        router.pass(60);
        assert_eq!(router.open(), 0);
    });
}

#[test]
fn a_restart_of_the_router_ends_its_sessions_whatever_its_clock_says_then() {
    on_a_router(|router| {
        router.log_in("kx7q-91mp", PHONE, "10.5.88.41");
        router.log_in("kx7q-91mp", LAPTOP, "10.5.88.42");
        router.pass(100);
        router.restart();
        // One is back before anybody has looked.
        router.log_in("kx7q-91mp", LAPTOP, "10.5.88.42");
        router.pass(60);
        assert_eq!((router.is_online(LAPTOP), router.open()), (true, 1));
        router.pass(540);
        assert!(!router.is_online(LAPTOP));
    });
}

#[test]
fn a_device_that_goes_around_the_login_page_goes_when_its_time_is_over_whatever_the_clock_says() {
    let script = made("front-desk", KEYS, &at("https://wifi.example.org")).unwrap().script;
    let mut router = Router::with(&script, true);
    router.lease(PHONE, "10.5.88.41");
    router.restart();
    router.away = true;
    router.pass(500);
    assert!(router.is_online(PHONE));
    router.pass(100);
    assert!(!router.is_online(PHONE));
}
