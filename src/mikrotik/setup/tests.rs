//! The script as rules: nothing is made without being looked for, nothing leaves its string, nothing is left open.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::mikrotik::script::tests::read;

/// A configuration with `nas` and `more` in it.
fn settings(nas: &str, more: &str) -> Settings {
    let text = format!(
        "[source]\nkind = \"file\"\npath = \"tokens.json\"\n[[nas]]\nname = \"front-desk\"\naddress = \"10.5.0.1\"\n\
         secret = \"0123456789abcdef\"\n{nas}\n{more}\n"
    );
    let loaded = crate::config::from_str(&text, Path::new("/etc/spotgate/spotgate.toml"), &|_| None);
    loaded.unwrap_or_else(|report| panic!("{report}")).settings
}

const PORTAL: &str =
    "[portal]\npublic_url = \"https://wifi.example.org\"\nterms_url = \"http://terms.example.org:81/x\"";

fn site() -> Site {
    Site { server: None, interface: "bridge-guest".to_owned(), hotspot_address: None, network: None }
}

fn made(nas: &str, more: &str, site: &Site) -> Setup {
    let settings = settings(nas, more);
    setup(&settings, &settings.nas[0], site).unwrap()
}

fn script(nas: &str, more: &str) -> String {
    made(nas, more, &site()).script
}

/// Scripts of many kinds.
fn scripts() -> Vec<String> {
    vec![
        script("", PORTAL),
        script(
            "hand_over = \"form\"\nhotspot_hosts = [\"10.5.88.1\", \"login.example.net:8080\"]\ngroup = \"guests\"",
            PORTAL,
        ),
        script(
            "hand_over = \"router\"\ndisconnect_port = 0\naccounting = false\nrequire_message_authenticator = \"no\"",
            "",
        ),
        script("hand_over = \"router\"\ncode_in = \"password\"", "[policy]\nmac_login = \"off\""),
        script("", "[portal]\npublic_url = \"http://10.5.0.2:8080/guests\""),
        script("", "[portal]\npublic_url = \"https://[2001:db8::2]\""),
        of_version_six(),
    ]
}

/// The script of a router that is known by an IPv6 address.
fn of_version_six() -> String {
    let settings = settings("", PORTAL);
    let mut nas = settings.nas[0].clone();
    nas.address = "2001:db8::1/128".parse().unwrap();
    let server = "2001:db8::2".parse().ok();
    setup(&settings, &nas, &Site { server, ..site() }).unwrap().script
}

#[test]
fn nothing_is_left_open() {
    for script in scripts() {
        let read = read(&script);
        assert!(read.code.starts_with("{\n") && read.code.ends_with("\n}\n"), "one block: {}", read.code);
        assert!(read.strings.len() > 20);
    }
}

#[test]
fn every_statement_says_what_it_is_for() {
    for script in scripts() {
        let lines: Vec<&str> = script.lines().collect();
        let mut statements = 0;
        for pair in lines.windows(2) {
            let [before, line] = pair else { panic!() };
            if line.starts_with([':', '/']) {
                assert!(before.starts_with("# ") && before.len() > 10, "{before}\n{line}");
                statements += 1;
            }
        }
        assert!(statements > 12, "{statements}");
    }
}

#[test]
fn nothing_is_made_that_was_not_looked_for() {
    for script in scripts() {
        let mut guards: Vec<&str> = Vec::new();
        let lines: Vec<&str> = script.lines().collect();
        let mut made = 0;
        for (at, line) in lines.iter().enumerate() {
            if let Some((_, found)) = line.split_once(":if ([:len [")
                && line.contains("]] = 0) do={")
            {
                guards.push(found.split_once("]] = 0").unwrap().0);
            }
            let Some((menu, _)) = line.trim().split_once(" add ").filter(|(menu, _)| menu.starts_with('/')) else {
                continue;
            };
            made += 1;
            let guard = guards
                .iter()
                .rev()
                .find(|guard| guard.starts_with(&format!("{menu} find")) && !guard.contains("dynamic"));
            let guard = guard.unwrap_or_else(|| panic!("no guard for {line}"));
            // What it is found by is what it is made with.
            for known in guard
                .split_once(" where ")
                .map_or("", |(_, known)| known)
                .split(" and ")
                .filter(|known| !known.is_empty())
            {
                assert!(line.contains(&format!(" {known}")), "{known} in {line}");
            }
            // Public time servers are added where there are none, and those that are there stay.
            if menu != "/system ntp client servers" {
                let set = format!("{menu} set [{guard}] ");
                assert!(lines[at..].iter().any(|later| later.trim().starts_with(&set)), "{set} after {line}");
            }
        }
        assert!(made >= 5, "{made}");
    }
}

#[test]
fn what_is_brought_in_line_is_what_is_made() {
    // What an object is known by, and what it gets when it is made and may be changed by hand.
    let at_first = ["comment", "name", "interface", "address-pool"];
    for script in scripts() {
        let adds: Vec<&str> = script.lines().map(str::trim).filter(|line| line.contains(" add ")).collect();
        let sets =
            script.lines().map(str::trim).filter(|line| line.contains(" set [") && !line.contains("default=yes"));
        let mut compared = 0;
        for line in sets {
            let (menu, set) = line.split_once(" set [").unwrap();
            let set = set.split_once("] ").unwrap().1;
            let start = format!("{menu} add ");
            let made = adds.iter().filter_map(|add| add.strip_prefix(&start)?.split(" place-before=").next());
            let before =
                made.filter_map(|made| made.strip_suffix(set)).next().unwrap_or_else(|| panic!("no add like {line}"));
            for (word, _) in before.split(' ').filter_map(|property| property.split_once('=')) {
                assert!(at_first.contains(&word), "{word} of {line}");
            }
            compared += 1;
        }
        assert!(compared >= 4, "{compared}");
    }
}

#[test]
fn variables_are_declared_first_and_are_no_properties() {
    for script in scripts() {
        let code = read(&script).code;
        let mut known = BTreeSet::new();
        for line in code.lines() {
            let name = |after: &str| -> String { after.chars().take_while(char::is_ascii_alphanumeric).collect() };
            for (at, _) in line.match_indices('$') {
                assert!(known.contains(&name(&line[at + 1..])), "{line}");
            }
            for word in [":local ", ":foreach "] {
                known.extend(line.split_once(word).map(|(_, after)| name(after)));
            }
            if let Some((_, after)) = line.split_once(":set ") {
                assert!(known.contains(&name(after)), "{line}");
            }
        }
        // A name that is a property too would mean the property where things are looked for.
        assert!(known.iter().all(|name| name.starts_with("sg")) && known.contains("sgServer"), "{known:?}");
    }
}

#[test]
fn hostile_values_stay_in_their_strings() {
    let hostile = "\";}}/system reset-configuration;{{:put \"$(1)$sgServer[]\\";
    let settings = settings("group = \"guests\"", PORTAL);
    let plain = read(&setup(&settings, &settings.nas[0], &site()).unwrap().script);
    let mut nas = settings.nas[0].clone();
    nas.secret = format!("{hostile}\n#é").into();
    nas.group = Some(hostile.to_owned());
    nas.rules.name = crate::core::ident::NasName::new(&format!("x\n{hostile}\r\n"));
    let read = read(&setup(&settings, &nas, &Site { interface: hostile.to_owned(), ..site() }).unwrap().script);
    assert_eq!(read.code, plain.code);
    for value in [format!("{hostile}\n#é").as_bytes(), hostile.as_bytes()] {
        assert!(read.strings.iter().any(|string| string == value), "{value:?}");
    }
}

#[test]
fn what_the_configuration_says_is_in_the_script() {
    let script = script(
        "",
        &format!("{PORTAL}\n[radius]\nauth_listen = [\"10.5.0.2:11812\"]\nacct_listen = [\"10.5.0.2:11813\"]"),
    );
    for part in [
        ":local sgServer \"10.5.0.2\"",
        ":local sgInterface \"bridge-guest\"",
        ":local sgSecret \"0123456789abcdef\"",
        "find where address~\"^10\\\\.5\\\\.0\\\\.1/\"]] > 0) do={\n    :set sgSource \"10.5.0.1\"",
        "address=$sgServer secret=$sgSecret authentication-port=11812 accounting-port=11813 timeout=1s src-address=$sgSource",
        "require-message-auth=yes-for-request-resp",
        "/radius incoming set accept=yes port=3799",
        "chain=input action=accept protocol=udp dst-port=3799 src-address=$sgServer",
        "place-before=[:pick [/ip firewall filter find where chain=input and dynamic=no] 0]",
        "use-radius=yes radius-accounting=yes radius-interim-update=received",
        "html-directory-override=$sgPages",
        "shared-users=unlimited",
        "/ip hotspot walled-garden add comment=\"spotgate portal\" action=allow dst-host=\"wifi.example.org\"",
        "comment=\"spotgate portal 443\" action=accept protocol=tcp dst-port=443 dst-host=\"wifi.example.org\"",
        "comment=\"spotgate portal 80\" action=accept protocol=tcp dst-port=80 dst-host=\"wifi.example.org\"",
        "comment=\"spotgate terms 81\" action=accept protocol=tcp dst-port=81 dst-host=\"terms.example.org\"",
        "code=114 value=\"'https://wifi.example.org/capport'\" force=yes",
        "address=169.254.0.0/16 type=blocked",
        ":if ([/system ntp client get enabled] != true)",
    ] {
        assert!(script.contains(part), "{part} in {script}");
    }
}

#[test]
fn each_setting_has_its_effect() {
    let portal = "[portal]\npublic_url = \"http://10.5.0.2:8080/guests\"";
    for (nas, more, has, lacks) in [
        ("disconnect_port = 1700", PORTAL, "accept=yes port=1700", "3799"),
        ("disconnect_port = 0", PORTAL, "/ip hotspot profile", "/radius incoming"),
        ("disconnect_port = 0", PORTAL, "/ip hotspot profile", "firewall"),
        ("accounting = false", PORTAL, "radius-accounting=no", "radius-accounting=yes"),
        ("require_message_authenticator = \"no\"", PORTAL, "/radius add", "require-message-auth"),
        (
            "hotspot_hosts = [\"10.5.88.1\", \"login.example.net:8080\"]",
            PORTAL,
            "dns-name=\"login.example.net\"",
            "10.5.88.1",
        ),
        ("hotspot_hosts = [\"hotspot\", \"[2001:db8::1]:80\"]", PORTAL, "/ip hotspot profile", "dns-name"),
        ("group = \"guests\"", PORTAL, "/ip hotspot user profile add name=\"guests\" shared-users=unlimited", "rate"),
        ("", PORTAL, "login-by=mac,http-pap ", "chap"),
        ("hand_over = \"form\"", PORTAL, "login-by=mac,http-chap ", "http-pap"),
        ("hand_over = \"form\"\ncode_in = \"password\"", PORTAL, "login-by=mac,http-pap ", "chap"),
        ("hand_over = \"router\"", "[policy]\nmac_login = \"off\"", "login-by=http-chap ", "walled-garden"),
        ("hand_over = \"router\"", PORTAL, "\"spotgate terms\"", "\"spotgate portal"),
        ("hand_over = \"router\"", PORTAL, "/ip hotspot profile", "capport"),
        ("", portal, "dst-port=8080 dst-address=\"10.5.0.2\"", "code=114"),
        ("", portal, ":local sgServer \"10.5.0.2\"", "dst-port=80 "),
        (
            "",
            "[portal]\npublic_url = \"https://x.example.org/a'b\"",
            "value=\"'https://x.example.org/a%27b/capport'\"",
            "a'b",
        ),
        ("", "[portal]\npublic_url = \"https://[2001:db8::2]\"", "/ipv6 firewall filter add", "/ip firewall"),
    ] {
        let script = script(nas, more);
        assert!(script.contains(has), "{nas} {more}: {has} in {script}");
        assert!(!script.contains(lacks), "{nas} {more}: {lacks} in {script}");
    }
}

#[test]
fn where_spotgate_is_comes_from_whoever_knows() {
    let listens = |address: &str| {
        format!("{PORTAL}\n[radius]\nauth_listen = [\"{address}:1812\"]\nacct_listen = [\"0.0.0.0:1813\"]")
    };
    for (more, given, server) in [
        (listens("10.5.0.2"), None, Some("10.5.0.2")),
        (listens("10.5.0.2"), Some("10.5.0.9"), Some("10.5.0.9")),
        (listens("10.5.0.2").replace("wifi.example.org", "10.5.0.3"), None, Some("10.5.0.3")),
        (listens("127.0.0.1"), None, None),
        (listens("0.0.0.0"), None, None),
        (PORTAL.to_owned(), None, None),
    ] {
        let site = Site { server: given.map(|ip| ip.parse().unwrap()), ..site() };
        let setup = made("hotspot_hosts = [\"login.example.net\"]", &more, &site);
        let line = format!(":local sgServer \"{}\"\n", server.unwrap_or_default());
        assert!(setup.script.contains(&line), "{more}: {}", setup.script);
        assert_eq!(setup.notes.is_empty(), server.is_some(), "{:?}", setup.notes);
        // Where nobody knows, it stops before it changes anything.
        let stop = setup.script.find(":if ($sgServer = \"\") do={\n    :error ").unwrap();
        assert!(stop < setup.script.find(" add ").unwrap() && stop < setup.script.find(" set ").unwrap());
    }
}

#[test]
fn what_is_given_is_not_guessed() {
    let site = Site {
        interface: "vlan 7".to_owned(),
        hotspot_address: Some(Ipv4Addr::new(10, 7, 0, 1)),
        network: "10.7.0.9/16".parse().ok(),
        ..site()
    };
    let script = made("", PORTAL, &site).script;
    for (name, value) in [("sgInterface", "vlan 7"), ("sgAddress", "10.7.0.1"), ("sgNetwork", "10.7.0.0/16")] {
        assert!(script.contains(&format!(":local {name} \"{value}\"\n")), "{script}");
    }
}

#[test]
fn packets_leave_from_the_address_that_spotgate_knows() {
    let settings = settings("", PORTAL);
    let mut nas = settings.nas[0].clone();
    nas.address = "10.5.0.0/24".parse().unwrap();
    let script = setup(&settings, &nas, &site()).unwrap().script;
    assert!(script.contains(":local sgSource \"0.0.0.0\"\n") && !script.contains(":set sgSource"), "{script}");
    let script = of_version_six();
    for part in [
        ":local sgSource \"::\"\n",
        "[/ipv6 address find where address~\"^2001:db8::1/\"]] > 0) do={\n    :set sgSource \"2001:db8::1\"",
        "/ipv6 firewall filter add",
    ] {
        assert!(script.contains(part), "{part} in {script}");
    }
}

#[test]
fn what_somebody_has_to_look_at_is_noted() {
    let server = Some(Ipv4Addr::new(10, 5, 0, 2).into());
    for (nas, more, noted) in [
        ("", PORTAL, "hotspot_hosts"),
        ("hotspot_hosts = [\"login.example.net\"]", "[portal]\npublic_url = \"https://[2001:db8::2]\"", "IPv4"),
        ("hotspot_hosts = [\"login.example.net\"]\ndisconnect_port = 0", PORTAL, "disconnect_port"),
    ] {
        let notes = made(nas, more, &Site { server, ..site() }).notes;
        assert!(notes.len() == 1 && notes[0].contains(noted), "{notes:?}");
    }
    assert_eq!(made("hand_over = \"router\"", "", &Site { server, ..site() }).notes, Vec::<String>::new());
}

#[test]
fn a_router_needs_something_to_ask() {
    for (nas, more, refused) in [
        ("", "", "portal.public_url"),
        ("", "[portal]\nenabled = false\npublic_url = \"https://wifi.example.org\"", "portal.enabled"),
        ("hand_over = \"router\"", "[radius]\nauth_listen = []", "radius.auth_listen"),
        ("hand_over = \"router\"", "[radius]\nacct_listen = [\"10.5.0.2:0\"]", "radius.acct_listen"),
    ] {
        let settings = settings(nas, more);
        let error = setup(&settings, &settings.nas[0], &site()).err().unwrap().to_string();
        assert!(error.contains(refused), "{error}");
    }
}
