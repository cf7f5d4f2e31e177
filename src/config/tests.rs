//! The configuration as a whole: shipped files, defaults, diagnostics, silence about secrets.

mod mistakes;
mod silence;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;
use crate::core::budget::Seconds;
use crate::core::policy::Policy;

const MINIMAL: &str = include_str!("../../config/minimal.toml");
const FULL: &str = include_str!("../../config/spotgate.toml");

/// Sixteen characters, the least without a warning.
const SECRET: &str = "0123456789abcdef";

fn no_env(_: &str) -> Option<String> {
    None
}

/// A folder with every secret that the shipped files name.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("nexudus-password", "orange-juice\n"),
        ("nexudus-totp", "JBSW Y3DP EHPK 3PXP\n"),
        ("nexudus-webhook", "0123456789abcdef\n"),
        ("front-desk.secret", "0123456789abcdef\n"),
        ("lobby.fas-key", "0123456789abcdef\n"),
        ("router-script.key", "kW2xPq8vTn4y"),
        ("ironwifi-api.key", "9f8e7d6c5b4a"),
        ("admin-password", "  lemonade  \n"),
        ("viewer-password", "only looking"),
        ("postgres-url", "postgres://spotgate:tonic@db.example.org/spotgate"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

fn read_in(folder: &Path, text: &str) -> Result<Loaded, Report> {
    from_str(text, &folder.join("spotgate.toml"), &no_env)
}

/// The full file with all its commented keys in force.
fn uncommented() -> String {
    let key = |line: &str| line.starts_with(|first: char| first.is_ascii_lowercase() || first == '[');
    let line = |line: &'static str| line.strip_prefix('#').filter(|rest| key(rest)).unwrap_or(line);
    FULL.lines().map(|text| format!("{}\n", line(text))).collect()
}

fn minimal_and(more: &str) -> Result<Loaded, Report> {
    let text = format!(
        "[source]\nkind = \"file\"\npath = \"tokens.json\"\n\n[[nas]]\nname = \"front-desk\"\naddress = \"192.168.88.1\"\nsecret = \"{SECRET}\"\n{more}"
    );
    from_str(&text, Path::new("/etc/spotgate/spotgate.toml"), &no_env)
}

#[test]
fn shipped_files_load_without_a_word() {
    let folder = folder();
    for text in [MINIMAL, FULL] {
        let loaded = read_in(folder.path(), text).unwrap_or_else(|report| panic!("{report}"));
        assert_eq!(loaded.warnings.to_string(), "");
    }
}

#[test]
fn every_key_stands_in_the_full_file_and_is_read() {
    let text = uncommented();
    let (table, errors) = DeTable::parse_recoverable(&text);
    assert_eq!(errors, []);
    for (section, keys) in keys::SECTIONS {
        let mut table = table.get_ref();
        for part in section.split('.') {
            let value = table.iter().find(|(name, _)| name.get_ref() == part).unwrap_or_else(|| panic!("{section}")).1;
            table = match value.get_ref() {
                toml::de::DeValue::Array(items) => items[0].get_ref().as_table().unwrap(),
                value => value.as_table().unwrap(),
            };
        }
        for key in *keys {
            let written = if keys::is_secret(key) { format!("{key}_file") } else { (*key).to_owned() };
            assert!(table.keys().any(|name| *name.get_ref() == written), "{section}.{key}");
        }
    }
}

#[test]
fn no_key_is_known_and_not_read() {
    for (section, keys) in keys::SECTIONS {
        for key in *keys {
            let text = format!("{}\n{key} = 1979-05-27\n", keys::header(section));
            let report = from_str(&text, Path::new("spotgate.toml"), &no_env).unwrap_err();
            let at = |problem: &Problem| problem.place.as_ref().is_some_and(|place| place.line == 2);
            let found = report.problems().iter().any(|problem| problem.severity == Severity::Error && at(problem));
            assert!(found, "{section}.{key}: {report}");
        }
    }
}

#[test]
fn the_full_file_shows_the_defaults() {
    let folder = folder();
    let full = read_in(folder.path(), &uncommented()).unwrap_or_else(|report| panic!("{report}"));
    let least = read_in(folder.path(), MINIMAL).unwrap();
    let (full, least) = (full.settings, least.settings);
    let same =
        |one: &dyn std::fmt::Debug, other: &dyn std::fmt::Debug| assert_eq!(format!("{one:?}"), format!("{other:?}"));
    same(&full.cache, &least.cache);
    same(&full.throttle, &least.throttle);
    let push = full.ironwifi.push.as_ref().unwrap();
    assert_eq!((push.requests_per_minute, push.request_timeout, push.withdraw), (60, Duration::from_secs(10), false));
    same(&Ironwifi { push: None, ..full.ironwifi }, &least.ironwifi);
    same(&full.store, &least.store);
    same(&full.telemetry, &least.telemetry);
    assert_eq!(least.policy, Policy::default());
    assert_eq!(full.policy, Policy { idle_timeout: Some(Seconds(900)), ..Policy::default() });
    same(&full.radius.auth_listen, &least.radius.auth_listen);
    same(&full.radius.acct_listen, &least.radius.acct_listen);
    same(&(full.radius.workers, full.radius.duplicate_window), &(least.radius.workers, least.radius.duplicate_window));
    same(&(&full.http.listen, &full.http.trusted_proxies), &(&least.http.listen, &least.http.trusted_proxies));
    same(&(full.portal.enabled, &full.portal.title, &full.portal.accent_color), &(true, &least.portal.title, "#0a7"));
    assert!(least.radius.listen_is_default && !full.radius.listen_is_default && least.radius.radsec.is_none());
    assert!(full.admin.enabled && !least.admin.enabled);

    let (full, least) = (&full.nas[0], &least.nas[0]);
    assert_eq!((&full.rules, full.address), (&least.rules, least.address));
    assert_eq!(full.require_message_authenticator, least.require_message_authenticator);
    assert_eq!(
        (full.disconnect_port, full.disconnect_style, full.hand_over, full.code_in),
        (least.disconnect_port, least.disconnect_style, least.hand_over, least.code_in)
    );
    assert_eq!((least.rate_limit.as_ref(), least.hotspot_hosts.len()), (None, 0));

    // What [source.nexudus] says where only what must be is set.
    let Source::Nexudus(full) = read_in(folder.path(), &uncommented()).unwrap().settings.source else { panic!() };
    let Source::Nexudus(least) = read_in(folder.path(), FULL).unwrap().settings.source else { panic!() };
    same(&Nexudus { totp_secret: None, webhook_secret: None, ..full }, &least);
    assert_eq!((least.request_timeout, least.requests_per_minute), (Duration::from_secs(5), 90));
}

#[test]
fn beside_the_service_a_credential_is_found_where_its_unit_takes_it_from() {
    let folder = folder();
    fs::create_dir(folder.path().join("secrets")).unwrap();
    let path = folder.path().join("secrets/front-desk");
    fs::write(&path, "correct horse battery").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let text = format!("{MINIMAL_BUT_SECRET}secret_file = \"$CREDENTIALS_DIRECTORY/secrets_front-desk\"\n");
    let loaded = read_in(folder.path(), &text).unwrap();
    assert!(loaded.warnings.problems().is_empty(), "{}", loaded.warnings);
    assert_eq!(loaded.settings.nas[0].secret.expose_secret(), "correct horse battery");
}

/// Complete but for the secret of its router.
const MINIMAL_BUT_SECRET: &str =
    "[source]\nkind = \"file\"\npath = \"tokens.json\"\n[[nas]]\nname = \"front-desk\"\naddress = \"192.0.2.1\"\n";

#[test]
fn the_full_file_warns_only_of_what_cannot_go_together() {
    let folder = folder();
    let loaded = read_in(folder.path(), &uncommented()).unwrap();
    let messages: Vec<&str> = loaded.warnings.problems().iter().map(|problem| &*problem.message).collect();
    assert_eq!(
        messages,
        [
            "`source.path` has no effect: it belongs to kind = \"file\"",
            "`nas.fas_key_file` has no effect without `hand_over = \"opennds\"`",
            "`store.url_file` has no effect: `store.kind` is \"embedded\"",
            "`store.away_session` has no effect: `store.kind` is \"embedded\"",
        ]
    );
}

#[test]
fn secrets_come_from_files_without_the_white_space_around() {
    let folder = folder();
    let settings = read_in(folder.path(), &uncommented()).unwrap().settings;
    assert_eq!(settings.admin.password.unwrap().expose_secret(), "lemonade");
    assert_eq!(settings.nas[0].secret.expose_secret(), SECRET);
    assert_eq!(settings.http.api_keys[0].key.expose_secret(), "kW2xPq8vTn4y");
}

#[test]
fn environment_and_credentials_are_taken_in() {
    let folder = folder();
    let at = folder.path().to_str().unwrap().to_owned();
    let env = move |name: &str| match name {
        "CREDENTIALS_DIRECTORY" => Some(at.clone()),
        "SPACE" => Some("Ca l'Arç".to_owned()),
        "PASSWORD" => Some("from the environment".to_owned()),
        _ => None,
    };
    let text = r#"
        [source]
        kind = "file"
        path = "${CREDENTIALS_DIRECTORY}/tokens.json"
        [[nas]]
        name = "front-desk"
        address = "192.168.88.1"
        secret_file = "$CREDENTIALS_DIRECTORY/front-desk.secret"
        [portal]
        title = "WiFi of ${SPACE}"
        logo = "pages/logo.svg"
        [admin]
        password = "${PASSWORD}"
    "#;
    let settings = from_str(text, Path::new("/etc/spotgate/spotgate.toml"), &env).unwrap().settings;
    let Source::File(file) = &settings.source else { panic!() };
    assert_eq!(file.path, folder.path().join("tokens.json"));
    assert_eq!(settings.portal.title, "WiFi of Ca l'Arç");
    assert_eq!(settings.portal.logo.as_deref(), Some(Path::new("/etc/spotgate/pages/logo.svg")));
    assert_eq!(settings.nas[0].secret.expose_secret(), SECRET);
    assert_eq!(settings.admin.password.unwrap().expose_secret(), "from the environment");
}

#[test]
fn values_are_normalised() {
    let settings = minimal_and(
        r##"
        hotspot_hosts = ["Login.Example.NET:8080"]
        [[nas]]
        name = "mapped"
        address = "::ffff:10.5.0.1"
        secret = "0123456789abcdef"
        disconnect_port = 0
        accounting = false
        [[nas]]
        name = "network"
        address = "::ffff:10.5.0.0/120"
        secret = "0123456789abcdef"
        [portal]
        public_url = "https://WiFi.example.org/"
        [policy]
        interim_interval = "1h 30m"
        [radius]
        auth_listen = ["127.0.0.1:0", "127.0.0.1:0"]
        acct_listen = []
        [cache]
        max_tokens = 2_000
        fresh_for = "1s"
        [http]
        trusted_proxies = ["127.0.0.1", "10.0.0.0/8"]
        "##,
    )
    .unwrap_or_else(|report| panic!("{report}"))
    .settings;
    assert_eq!(settings.nas[0].hotspot_hosts, ["login.example.net:8080"]);
    assert_eq!(settings.nas[1].address.to_string(), "10.5.0.1/32");
    assert_eq!((settings.nas[1].rules.can_disconnect, settings.nas[1].rules.accounting), (false, false));
    assert_eq!(settings.nas[2].address.to_string(), "10.5.0.0/24");

    assert_eq!(settings.portal.public_url.as_deref(), Some("https://wifi.example.org"));
    assert_eq!(settings.policy.interim_interval, Seconds(5400));
    assert_eq!(settings.cache.max_tokens, 2000);
    assert!(settings.radius.workers > 0 && !settings.radius.listen_is_default);
    assert_eq!(settings.http.trusted_proxies.len(), 2);
}

#[test]
fn a_router_gets_logins_in_the_way_that_is_written() {
    for (written, hand_over) in
        [("one-time", HandOver::OneTime), ("form", HandOver::Form), ("router", HandOver::Router)]
    {
        let settings = minimal_and(&format!("hand_over = \"{written}\"")).unwrap().settings;
        assert_eq!(settings.nas[0].hand_over, hand_over, "{written}");
    }
    assert_eq!(minimal_and("").unwrap().settings.nas[0].hand_over, HandOver::OneTime);
    let report = minimal_and("hand_over = \"cookie\"").unwrap_err().to_string();
    assert!(["one-time", "form", "router", "opennds"].iter().all(|word| report.contains(word)), "{report}");
}

#[test]
fn opennds_needs_a_key_that_its_shell_can_take() {
    let with = |lines: &str| minimal_and(&format!("hand_over = \"opennds\"\n{lines}"));
    let loaded = with("fas_key = \"0123456789abcDEF\"").unwrap();
    let nas = &loaded.settings.nas[0];
    assert_eq!((nas.hand_over, loaded.warnings.problems().len()), (HandOver::OpenNds, 0));
    assert!(nas.disconnect_port == 0 && !nas.rules.can_disconnect, "it takes no orders");
    assert!(nas.fas_key.is_some() && !format!("{nas:?}").contains("abcDEF"));
    for (lines, expected) in [
        ("", "lacks `fas_key` or `fas_key_file`"),
        ("fas_key = \"0123456789'abcdef\"", "something other than letters and digits"),
        ("fas_key = \"\"", "`nas.fas_key` is empty"),
    ] {
        let report = with(lines).unwrap_err().to_string();
        assert!(report.contains(expected) && !report.contains("'abc"), "{lines}: {report}");
    }
}

#[test]
fn what_is_doubtful_is_a_warning() {
    for (more, expected) in [
        ("[policy]\nmax_session = \"365d\"", "`policy.max_session` is more than routers honour; 21474720 s are used"),
        (
            "hotspot_hosts = [\"login.example.net\"]\n[portal]\npublic_url = \"http://wifi.example.org\"",
            "`portal.public_url` is not encrypted",
        ),
        ("[admin]", "[admin] has no password: the web console stays off"),
        ("[admin]\nenabled = true", "[admin] has no password: the web console stays off"),
        (
            "[[nas]]\nname = \"b\"\naddress = \"10.5.0.7/24\"\nsecret = \"0123456789abcdef\"",
            "the whole network is meant",
        ),
        ("[[nas]]\nname = \"b\"\naddress = \"10.5.0.7\"\nsecret = \"short\"", "shorter than 16 characters"),
        ("[source.nexudus]\nmirror = true\ntime_zone = \"Europe/Madrid\"", "`source.nexudus.mirror` has no effect"),
        ("[store]\nurl = \"postgres://u:p@h/d\"", "`store.url` has no effect"),
        ("certificate_name = \"a\"", "`nas.certificate_name` has no effect"),
        ("fas_key = \"0123456789abcdef\"", "`nas.fas_key` has no effect"),
        ("hand_over = \"opennds\"\nfas_key = \"0123456789\"", "the key of openNDS is shorter than 16 characters"),
    ] {
        let loaded = minimal_and(more).unwrap_or_else(|report| panic!("{report}"));
        let warnings = loaded.warnings.to_string();
        assert!(loaded.settings.nas.iter().all(|nas| nas.certificate_name.is_none()), "{more}: it has no effect");
        assert!(warnings.contains(expected) && loaded.warnings.problems().len() == 1, "{more}: {warnings}");
        assert!(loaded.warnings.errors() == 0 && warnings.starts_with("warning: "), "{warnings}");
    }
    for quiet in [
        "hotspot_hosts = [\"login.example.net\"]\n[portal]\npublic_url = \"http://localhost:8080\"",
        "hotspot_hosts = [\"login.example.net\"]\n[portal]\npublic_url = \"http://[::1]\"",
        "[admin]\nenabled = false",
    ] {
        assert_eq!(minimal_and(quiet).unwrap().warnings.to_string(), "", "{quiet}");
    }
}

#[test]
fn session_bounds_are_clamped_and_compared() {
    let policy = minimal_and("[policy]\nmax_session = \"9999h\"").unwrap().settings.policy;
    assert_eq!(policy.max_session, crate::core::budget::SESSION_CEILING);
    assert!(
        minimal_and("[policy]\nmin_session = \"2h\"\nmax_session = \"1h\"")
            .unwrap_err()
            .to_string()
            .contains("min_session")
    );
    assert!(minimal_and("[policy]\nmin_session = \"25h\"").is_err());
}

#[test]
fn files_that_others_can_read_are_a_warning() {
    let folder = folder();
    let secret = folder.path().join("front-desk.secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let path = folder.path().join("spotgate.toml");
    fs::write(&path, MINIMAL).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let warnings = |env: Env<'_>| load(&path, env).unwrap().warnings.to_string();
    assert!(warnings(&no_env).contains("others on this host can read the file of `nas.secret_file`"));
    let at = folder.path().to_str().unwrap().to_owned();
    assert_eq!(warnings(&|name| (name == "CREDENTIALS_DIRECTORY").then(|| at.clone())), "");

    fs::write(&path, MINIMAL.replace("secret_file = \"front-desk.secret\"", "secret = \"0123456789abcdef\"")).unwrap();
    assert!(warnings(&no_env).contains("others on this host can read this file, which holds a secret"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(warnings(&no_env), "");
}

#[test]
fn files_that_cannot_be_read_are_told() {
    let folder = folder();
    let path = folder.path().join("spotgate.toml");
    let report = load(&path, &no_env).unwrap_err();
    assert!(report.to_string().contains("the configuration cannot be read") && report.errors() == 1, "{report}");
    fs::write(&path, b"[source]\nkind = \"f\xffle\"").unwrap();
    assert!(load(&path, &no_env).unwrap_err().to_string().contains("line 2 is not UTF-8 text"));
    assert!(load(folder.path(), &no_env).is_err());
}

#[test]
fn secret_files_are_checked() {
    let folder = folder();
    for (content, expected) in
        [(&b"  \n"[..], "is empty"), (b"one\ntwo\n", "holds more than one line"), (b"\xff\xfe", "is no text")]
    {
        fs::write(folder.path().join("front-desk.secret"), content).unwrap();
        let report = read_in(folder.path(), MINIMAL).unwrap_err().to_string();
        assert!(report.contains(expected), "{report}");
    }
    fs::remove_file(folder.path().join("front-desk.secret")).unwrap();
    let report = read_in(folder.path(), MINIMAL).unwrap_err().to_string();
    assert!(report.contains("does not exist") && report.contains(folder.path().to_str().unwrap()), "{report}");
}

#[test]
fn a_webhook_secret_is_of_ascii_and_long_or_it_is_said() {
    let folder = folder();
    let warned = |nexudus: &str| {
        let text = FULL.replacen("\n#base_url", &format!("\n{nexudus}\n#base_url"), 1);
        read_in(folder.path(), &text).unwrap().warnings.to_string()
    };
    assert_eq!(warned("webhook_secret = \"0123456789abcdef\""), "");
    // As `?` each of these may be signed.
    let weak = warned("webhook_secret = \"0123456789ñññññññ\"");
    assert!(weak.contains("fewer than 16 ASCII characters") && !weak.contains("0123456789"), "{weak}");
    let idle = warned("mirror = false\nwebhook_secret_file = \"nexudus-webhook\"");
    assert!(idle.contains("`source.nexudus.webhook_secret_file` has no effect"), "{idle}");
}

#[test]
fn texts_of_other_systems_are_read() {
    let folder = folder();
    let windows = format!("\u{feff}{}", FULL.replace('\n', "\r\n"));
    assert!(read_in(folder.path(), &windows).is_ok());
    let report = read_in(folder.path(), &windows.replace("kind = \"nexudus\"", "\tkind = \"nexus\"")).unwrap_err();
    let place = report.problems()[0].place.clone().unwrap();
    let excerpt = place.excerpt.unwrap();
    assert_eq!((place.column, &*excerpt.line, &*excerpt.carets), (9, "    kind = \"nexus\"", "           ^^^^^^^"));
}

#[test]
fn depth_is_no_danger() {
    for text in [
        format!("a = {}", "[".repeat(50_000)),
        format!("{} = 1", vec!["a"; 50_000].join(".")),
        format!("[{}]", vec!["a"; 50_000].join(".")),
    ] {
        assert!(from_str(&text, Path::new("spotgate.toml"), &no_env).is_err());
    }
}

#[test]
fn too_few_calls_for_writing_back_are_warned_of() {
    let nexudus = |more: &str| {
        format!(
            "[source]\nkind = \"nexudus\"\n[source.nexudus]\nusername = \"u\"\npassword = \"p\"\n{more}\n[[nas]]\nname = \"n\"\n\
             address = \"192.0.2.1\"\nsecret = \"correct horse battery\"\n"
        )
    };
    let warned = |more: &str| {
        let loaded = from_str(&nexudus(more), Path::new("/etc/spotgate/spotgate.toml"), &|_| None).unwrap();
        loaded.warnings.to_string().contains("no room to write minutes back")
    };
    assert!(warned("write_back = true\nrequests_per_minute = 5"));
    assert!(!warned("write_back = true\nrequests_per_minute = 6") && !warned("requests_per_minute = 5"));
}

#[test]
fn a_portal_that_cannot_send_guests_back_is_warned_of() {
    let warned = |nas: &str, portal: &str| {
        let loaded = minimal_and(&format!("{nas}\n[portal]\n{portal}")).unwrap();
        loaded.warnings.to_string().contains("cannot be sent back")
    };
    let url = "public_url = \"https://wifi.example.org\"";
    assert!(warned("", url));
    assert!(!warned("hotspot_hosts = [\"login.example.net\"]", url));
    assert!(!warned("hand_over = \"router\"", url));
    assert!(!warned("", "") && !warned("", &format!("{url}\nenabled = false")));
}

#[test]
fn a_form_from_https_to_http_is_warned_of() {
    let warned = |hand_over: &str, url: &str| {
        let host = "hotspot_hosts = [\"login.example.net\"]";
        let loaded = minimal_and(&format!("{host}\n{hand_over}\n[portal]\npublic_url = \"{url}\"\n")).unwrap();
        loaded.warnings.to_string().contains("its form goes from https to http")
    };
    assert!(warned("hand_over = \"form\"", "https://wifi.example.org"));
    assert!(!warned("hand_over = \"form\"", "http://wifi.example.org") && !warned("", "https://wifi.example.org"));
}

#[test]
fn wispr_says_the_rate_limit_in_bits() {
    let nas = |more: &str| minimal_and(more).map(|loaded| (loaded.settings.nas[0].wispr, loaded.warnings.to_string()));
    assert_eq!(nas("rate_limit = \"10M/5M\"").unwrap().0, None);
    let bandwidth = nas("rate_limit = \"10M/5M\"\nwispr = true").unwrap().0.unwrap();
    assert_eq!((bandwidth.up, bandwidth.down), (10_000_000, 5_000_000));
    assert!(nas("wispr = true").unwrap().1.contains("no effect"));
    assert!(nas("rate_limit = \"fast\"\nwispr = true").unwrap_err().to_string().contains("no rate"));
}
