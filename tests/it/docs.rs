//! The documentation, held to what is so: its commands are run, its configurations checked, its numbers counted again, its
//! metrics, links and anchors looked up.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use spotgate::core::decide::{Decision, Denial, Reason};
use spotgate::words;

use crate::support::{KEY, Spotgate, client, mac, printed, record, repository_file, run, spotgate, tool, with};

/// What may stand first in a line of a `console` block, which is not run: it needs a root shell, systemd, apt or a router.
const OF_A_CONSOLE: [&str; 14] = [
    "apt",
    "cat",
    "chown",
    "cp",
    "df",
    "journalctl",
    "psql",
    "rm",
    "scp",
    "sed",
    "ssh",
    "su",
    "systemctl",
    "timedatectl",
];

/// The code that the pages use.
const CODE: &str = "kx7q-91mp";

/// Metrics that appear only once something has happened, by their names in `src/telemetry/metrics.rs`.
const WITH_EVENTS: [(&str, &str); 13] = [
    ("accounting_records", "counter"),
    ("decision_seconds", "histogram"),
    ("decisions", "counter"),
    ("disconnects", "counter"),
    ("extensions", "counter"),
    ("http_problems", "counter"),
    ("ironwifi_requests", "counter"),
    ("radius_packets", "counter"),
    ("radsec_connections", "gauge"),
    ("radsec_refused", "counter"),
    ("reloads", "counter"),
    ("source_requests", "counter"),
    ("webhooks", "counter"),
];

/// A fenced block.
#[derive(Debug)]
struct Block {
    page: String,
    line: usize,
    language: String,
    text: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// The names of the files in `docs/` that end so.
fn files(end: &str) -> Vec<String> {
    let names = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(end)).map(|name| format!("docs/{name}")).collect();
    names.sort();
    assert!(!names.is_empty(), "{end}");
    names
}

/// The blocks of a page, and its text without them.
fn split(page: &str) -> (Vec<Block>, String) {
    let (mut blocks, mut text, mut open) = (Vec::<Block>::new(), String::new(), false);
    for (number, line) in repository_file(page).lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), open) {
            (Some(language), false) => {
                let (page, language) = (page.to_owned(), language.trim().to_owned());
                blocks.push(Block { page, line: number + 1, language, text: String::new() });
                open = true;
            }
            (Some(end), true) => {
                assert!(end.is_empty(), "{page}:{}: a block within a block", number + 1);
                open = false;
            }
            (None, true) => {
                let block = blocks.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, false) => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    assert!(!open, "{page}: a block has no end");
    (blocks, text)
}

fn blocks(language: &str) -> Vec<Block> {
    let all = files(".md").into_iter().flat_map(|page| split(&page).0);
    let blocks: Vec<_> = all.filter(|block| block.language == language).collect();
    assert!(!blocks.is_empty(), "no block of {language}");
    blocks
}

#[tokio::test]
async fn every_command_does_what_it_says() {
    for needed in ["openssl", "sqlite3"] {
        tool(needed);
    }
    let extra = "disconnect_port = 0\nhand_over = \"router\"\nhotspot_hosts = [\"login.example.net\"]";
    let team = with(record(2, "team-2026"), json!({"UserLimit": 100, "MinutesLeft": 100_000}));
    let daemon = Spotgate::over_file_with(&[record(1, CODE), team], extra);
    let home = daemon.folder.path();
    // The commands find the daemon's configuration where they look for it; where it listens is known only now.
    let real = fs::read_to_string(daemon.configuration())
        .unwrap()
        .replace("auth_listen = [\"127.0.0.1:0\"]", &format!("auth_listen = [\"{}\"]", daemon.auth))
        .replace("acct_listen = [\"127.0.0.1:0\"]", &format!("acct_listen = [\"{}\"]", daemon.accounting))
        .replace("metrics_listen = \"127.0.0.1:0\"", &format!("metrics_listen = \"{}\"", daemon.metrics))
        .replace("[http]\nlisten = [\"127.0.0.1:0\"]", &format!("[http]\nlisten = [\"{}\"]", daemon.http));
    let shown = home.join("real.toml");
    fs::write(&shown, real).unwrap();
    fs::set_permissions(&shown, fs::Permissions::from_mode(0o600)).unwrap();
    let programs = home.join("bin");
    fs::create_dir(&programs).unwrap();
    let binary = env!("CARGO_BIN_EXE_spotgate");
    let wrapper = format!(
        "#!/bin/sh\ncase \"$1\" in demo | sandbox | openapi) exec '{binary}' \"$@\" ;; esac\nexec '{binary}' \"$@\" --config '{}'\n",
        shown.display()
    );
    fs::write(programs.join("spotgate"), wrapper).unwrap();
    fs::set_permissions(programs.join("spotgate"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());

    for (number, block) in blocks("sh").into_iter().enumerate() {
        let device = mac(u8::try_from(number).unwrap()).to_string();
        let admitted = daemon.authorize(json!({"access_code": "team-2026", "mac": device, "nas": "front-desk"})).await;
        let scratch = home.join(format!("block-{number}"));
        fs::create_dir(&scratch).unwrap();
        let text = block
            .text
            .replace("/etc/spotgate", &home.join("etc").display().to_string())
            .replace("/var/lib/spotgate", &home.join("state").display().to_string());
        let output = run(Command::new("sh")
            .args(["-euc", &text])
            .stdin(Stdio::null())
            .current_dir(&scratch)
            .env("PATH", &path)
            .env("TMPDIR", &scratch)
            .env("SESSION", admitted["session"].as_str().unwrap()));
        let (page, line) = (&block.page, block.line);
        assert!(output.status.success(), "{page}:{line}:\n{}\n{}", block.text, printed(&output));
    }
}

#[test]
fn every_other_block_is_of_a_kind_that_is_looked_at() {
    for page in files(".md") {
        for block in split(&page).0 {
            let Block { line, language, text, .. } = &block;
            match language.as_str() {
                // Run, or checked, elsewhere here; or neither commands nor configuration of ours.
                "sh" | "toml" => {}
                "" => assert!(!text.contains("spotgate "), "{page}:{line}: say what it is"),
                "json" => assert!(serde_json::from_str::<Value>(text).is_ok(), "{page}:{line}"),
                "console" => {
                    for command in text.lines() {
                        let first = command.split_whitespace().next().unwrap();
                        assert!(OF_A_CONSOLE.contains(&first), "{page}:{line}: {first} may be wrong here: {command}");
                    }
                }
                other => panic!("{page}:{line}: a block of {other}"),
            }
        }
    }
}

/// The configuration with the least that it lacks.
fn completed(text: &str) -> String {
    let has = |line: &str| text.lines().any(|other| other.trim() == line);
    let mut whole = text.to_owned();
    let mut within = |section: &str, lines: &str| {
        let header = format!("{section}\n");
        if whole.contains(&header) {
            whole = whole.replacen(&header, &format!("{header}{lines}"), 1);
        } else {
            write!(whole, "\n{header}{lines}").unwrap();
        }
    };
    if !has("[source]") {
        within("[source]", "kind = \"file\"\npath = \"tokens.json\"\n");
    }
    if !has("[[nas]]") {
        within("[[nas]]", "name = \"front-desk\"\naddress = \"192.168.88.1\"\nsecret_file = \"front-desk.secret\"\n");
    }
    whole
}

#[test]
fn every_configuration_is_one() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut certificate = rcgen::CertificateParams::new(vec!["wifi.example.org".to_owned()]).unwrap();
    // It stands for an authority's too.
    certificate.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = certificate.self_signed(&key).unwrap();
    for block in blocks("toml") {
        let home = tempfile::tempdir().unwrap();
        // In a list it is indented.
        let text: String = block.text.lines().map(|line| format!("{}\n", line.trim())).collect();
        let text = completed(&text);
        for (number, line) in text.lines().enumerate() {
            let Some((name, value)) = line.split_once(" = ") else { continue };
            let Some(file) = value.split('"').nth(1) else { continue };
            let content = match name {
                "certificate" | "client_ca" => certificate.pem(),
                "private_key" => key.serialize_pem(),
                "url_file" => "postgres://spotgate:a-password@db.example.org/spotgate".to_owned(),
                name if name.ends_with("_file") => format!("secretofline{number:04}"),
                _ => continue,
            };
            let path = home.path().join(file.trim_start_matches("$CREDENTIALS_DIRECTORY/"));
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let path = home.path().join("spotgate.toml");
        fs::write(&path, &text).unwrap();
        let output = run(spotgate(&["check", "--config"]).arg(&path).env("CREDENTIALS_DIRECTORY", home.path()));
        let (page, line) = (&block.page, block.line);
        assert_eq!(output.status.code(), Some(0), "{page}:{line}:\n{text}\n{}", printed(&output));
        assert!(output.stderr.is_empty(), "{page}:{line}: not without a warning:\n{}", printed(&output));
    }
}

/// The keys of the shipped configuration: section, key, and the value that stands there.
fn keys() -> Vec<(String, String, String)> {
    let (mut section, mut keys) = (String::new(), Vec::new());
    for line in repository_file("config/spotgate.toml").lines() {
        let line = line.strip_prefix('#').unwrap_or(line);
        let is_key = |key: &str| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        match line.split_once(" = ") {
            Some((key, value)) if is_key(key) => keys.push((section.clone(), key.to_owned(), value.to_owned())),
            _ if line.starts_with('[') => line.clone_into(&mut section),
            _ => {}
        }
    }
    assert!(keys.len() > 80, "{keys:?}");
    keys
}

#[test]
fn every_key_stands_in_the_settings_with_its_default_and_none_that_is_not_there() {
    let page = repository_file("docs/settings.md");
    let (mut section, mut rows) = (String::new(), BTreeMap::new());
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            heading.clone_into(&mut section);
        } else if line.starts_with("| `") {
            let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let [key, default, effect, reload] = cells[..] else { panic!("{line}") };
            assert!(!effect.is_empty() && ["yes", "restart"].contains(&reload), "{line}");
            let former = rows.insert((section.clone(), key.trim_matches('`').to_owned()), default.to_owned());
            assert_eq!(former, None, "{line}");
        }
    }
    for (section, key, value) in keys() {
        let default = rows.remove(&(section.clone(), key.clone()));
        let default = default.unwrap_or_else(|| panic!("{section} {key} is not in docs/settings.md"));
        let has_none = ["none", "required"].iter().any(|word| default.starts_with(word));
        let is_empty = default == "`[]`";
        assert!(has_none || is_empty || default == format!("`{value}`"), "{section} {key}: {default}, but {value}");
    }
    assert!(rows.is_empty(), "no such keys: {rows:?}");
}

#[test]
fn every_reason_of_a_denial_stands_in_the_runbook_with_what_the_guest_reads() {
    let page = repository_file("docs/runbook.md");
    for reason in Reason::ALL {
        let heading = format!("### `{reason}`\n");
        let (_, section) = page.split_once(&heading).unwrap_or_else(|| panic!("{reason} is not in docs/runbook.md"));
        let section = section.split("\n#").next().unwrap().replace('\n', " ");
        // What it says of a date, and of a number, is not known here.
        if !matches!(reason, Reason::NotYetValid | Reason::Expired) {
            let sentence = words::message(&Decision::Deny(Denial::from(reason)), &TimeZone::UTC, Timestamp::UNIX_EPOCH);
            assert!(section.contains(&format!("*\"{sentence}\"*")), "{reason}: {sentence}");
        }
    }
}

/// As GitHub and its like make an anchor of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn anchors(page: &str) -> BTreeSet<String> {
    let text = split(page).1;
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#'))).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = files(".md");
    pages.push("README.md".to_owned());
    let mut count = 0;
    for page in pages {
        let text = split(&page).1;
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.contains("://") {
                continue;
            }
            count += 1;
            let (path, to) = link.split_once('#').map_or((link, None), |(path, to)| (path, Some(to)));
            let there = match path {
                "" => root.join(&page),
                path => root.join(&page).parent().unwrap().join(path),
            };
            assert!(there.exists(), "{page}: {link}");
            if let Some(to) = to {
                let there = there.canonicalize().unwrap();
                let there = there.strip_prefix(root.canonicalize().unwrap()).unwrap().display().to_string();
                assert!(anchors(&there).contains(to), "{page}: {link}: {:?}", anchors(&there));
            }
        }
    }
    assert!(count > 30, "{count} links were found");
    for page in files(".md") {
        let name = page.trim_start_matches("docs/");
        assert!(name == "README.md" || repository_file("docs/README.md").contains(&format!("]({name})")), "{page}");
    }
    assert!(repository_file("README.md").contains("](docs/README.md)"));
}

/// Every name of a metric in a text.
/// Every file of this kind below a folder.
fn below(folder: &Path, end: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            below(&entry, end, found);
        } else if entry.extension().is_some_and(|kind| kind == end) {
            found.push(entry);
        }
    }
}

#[test]
fn every_test_that_stands_for_a_promise_exists() {
    let mut sources = Vec::new();
    for folder in ["src", "tests"] {
        below(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), "rs", &mut sources);
    }
    let code: String = sources.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let page = fs::read_to_string(folder().join("threats.md")).unwrap();
    let words = page.split('`').skip(1).step_by(2);
    let is_test = |word: &&str| {
        word.matches('_').count() > 2
            && word.bytes().all(|octet| octet == b'_' || octet.is_ascii_lowercase() || octet.is_ascii_digit())
    };
    let named: Vec<&str> = words.filter(is_test).collect();
    assert!(named.len() > 30, "{named:?}");
    for name in named.iter().filter(|name| !name.starts_with("spotgate_")) {
        assert!(code.contains(&format!("fn {name}(")), "no test is called {name}");
    }
}

fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let after = text.split("spotgate_").skip(1).filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
    after.map(|rest| format!("spotgate_{}", &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())])).collect()
}

/// The names under which a metric of this kind is exposed.
fn exposed(name: &str, kind: &str) -> Vec<String> {
    let ends: &[&str] = match kind {
        "counter" => &["_total"],
        "gauge" => &[""],
        "histogram" => &["_bucket", "_sum", "_count"],
        "info" => &["_info"],
        other => panic!("{name} is a {other}"),
    };
    ends.iter().map(|end| format!("{name}{end}")).collect()
}

/// Names that are registered in the source.
fn registered() -> BTreeSet<String> {
    let source = repository_file("src/telemetry/metrics.rs");
    let calls = source.split("register(").skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
    let names: BTreeSet<_> = calls.map(|rest| rest.split('"').next().unwrap().to_owned()).collect();
    assert!(names.len() > 20, "{names:?}");
    names
}

#[tokio::test]
async fn every_metric_that_is_named_exists_and_the_dashboard_shows_all_of_them() {
    let daemon = Spotgate::over_file(&[record(1, CODE)]);
    let page = client().get(format!("http://{}/metrics", daemon.metrics)).send().await.unwrap().text().await.unwrap();
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let mut kinds: BTreeMap<_, _> = types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
    let registered = registered();
    for (name, kind) in WITH_EVENTS {
        assert!(registered.contains(name), "{name} is in src/telemetry/metrics.rs no more");
        assert_eq!(kinds.insert(format!("spotgate_{name}"), kind.to_owned()), None, "{name} is always there");
    }
    let all: BTreeSet<_> = registered.iter().map(|name| format!("spotgate_{name}")).collect();
    assert_eq!(all, kinds.keys().cloned().collect(), "add what is new to WITH_EVENTS if it is not always there");

    let existing: BTreeSet<_> = kinds.iter().flat_map(|(name, kind)| exposed(name, kind)).collect();
    let tables = repository_file("src/database/schema.sql");
    let is_table = |name: &str| tables.contains(&format!("TABLE {name} ("));
    let pages = [files(".md"), files(".json"), files(".yml"), vec!["README.md".to_owned()]].concat();
    for page in pages {
        for name in metrics_in(&repository_file(&page)) {
            assert!(existing.contains(&name) || is_table(&name), "{page}: there is no metric {name}");
        }
    }
    let shown = metrics_in(&repository_file("docs/grafana-dashboard.json"));
    for (name, kind) in &kinds {
        assert!(exposed(name, kind).iter().any(|name| shown.contains(name)), "no panel shows {name}");
    }
}

/// The expressions of the dashboard, by the panel that has them.
fn expressions() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&repository_file("docs/grafana-dashboard.json")).unwrap();
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            found.push((panel["title"].as_str().unwrap().to_owned(), target["expr"].as_str().unwrap().to_owned()));
        }
    }
    found
}

#[test]
fn prometheus_takes_the_alerts_and_what_the_panels_ask() {
    let check = |path: &Path| {
        let output = run(tool("promtool").args(["check", "rules"]).arg(path));
        assert!(output.status.success(), "{}", printed(&output));
    };
    check(&folder().join("prometheus-alerts.yml"));
    // As rules that record them, which are JSON as well as YAML.
    let rules: Vec<_> = expressions()
        .iter()
        .enumerate()
        .map(|(number, (_, expression))| {
            let expression =
                expression.replace("$__rate_interval", "5m").replace("$instance", ".*").replace("$nas", ".*");
            assert!(!expression.contains('$'), "{expression}");
            json!({"record": format!("panel:{number}"), "expr": expression})
        })
        .collect();
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("panels.yml");
    fs::write(&path, json!({"groups": [{"name": "panels", "rules": rules}]}).to_string()).unwrap();
    check(&path);
}

#[test]
fn alerts_come_when_they_should_and_only_then() {
    let series = |name: &str, values: &str| json!({"series": name, "values": values});
    let denied = r#"spotgate_decisions_total{via="radius",outcome="deny",reason="expired"}"#;
    let new = r#"spotgate_decisions_total{via="radius",outcome="deny",reason="unknown_device"}"#;
    let allowed = r#"spotgate_decisions_total{via="radius",outcome="allow",reason="none"}"#;
    let recorded = r#"spotgate_accounting_records_total{result="recorded"}"#;
    let cases = [
        ("SpotgateMostLoginsDenied", vec![series(denied, "0+2x200")], true),
        ("SpotgateMostLoginsDenied", vec![series(denied, "0+2x200"), series(allowed, "0+1x200")], false),
        ("SpotgateMostLoginsDenied", vec![series(new, "0+2x200")], false),
        ("SpotgateNoAccounting", vec![series(allowed, "0+1x200")], true),
        ("SpotgateNoAccounting", vec![series(allowed, "0+1x200"), series(recorded, "0+1x200")], false),
        ("SpotgateMirrorOld", vec![series("spotgate_mirror_age_seconds", "0+60x200")], true),
        ("SpotgateMirrorOld", vec![series("spotgate_mirror_age_seconds", "0+0x200")], false),
        ("SpotgateSourceDown", vec![series("spotgate_source_up", "0+0x200")], true),
        ("SpotgateSourceDown", vec![series("spotgate_source_up", "1+0x200")], false),
        ("SpotgateStoreAway", vec![series("spotgate_store_away", "1+0x200")], true),
        (
            "SpotgateStoreAway",
            vec![series("spotgate_store_owed", "3+0x200"), series("spotgate_store_away", "0+0x200")],
            true,
        ),
        (
            "SpotgateStoreAway",
            vec![series("spotgate_store_owed", "0 3 0 0x200"), series("spotgate_store_away", "0 1 0 0x200")],
            false,
        ),
        ("SpotgateDown", vec![series(r#"up{job="spotgate"}"#, "0+0x200")], true),
    ];
    let tests: Vec<_> = cases
        .into_iter()
        .map(|(alert, series, fires)| {
            // What fires is asked as a series: what an alert says is its own business.
            let expression = format!("count(ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}}) or vector(0)");
            let samples = json!([{"labels": "{}", "value": u8::from(fires)}]);
            let asked = json!([{"expr": expression, "eval_time": "180m", "exp_samples": samples}]);
            json!({"name": format!("{alert} {fires}"), "interval": "1m", "input_series": series, "promql_expr_test": asked})
        })
        .collect();
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("test.yml");
    let rules = folder().join("prometheus-alerts.yml").display().to_string();
    let text = json!({"rule_files": [rules], "evaluation_interval": "1m", "tests": tests}).to_string();
    fs::write(&path, text).unwrap();
    let output = run(tool("promtool").args(["test", "rules"]).arg(&path));
    assert!(output.status.success(), "{}", printed(&output));
}

#[test]
fn what_alerts_and_panels_select_is_what_is_counted() {
    let sources = [
        "src/core/decide.rs",
        "src/gate.rs",
        "src/http/accounting.rs",
        "src/radius/handle.rs",
        "src/radius/orders.rs",
        "src/telemetry/metrics.rs",
    ];
    let sources: String = sources.iter().map(|file| repository_file(file)).collect();
    let alerts = repository_file("docs/prometheus-alerts.yml");
    let panels: String = expressions().into_iter().map(|(_, expression)| expression + "\n").collect();
    let mut count = 0;
    for text in
        [alerts.lines().filter(|line| line.contains("spotgate_")).map(|line| format!("{line}\n")).collect(), panels]
    {
        // A label, a matcher, a quote, what it is to be, a quote.
        let parts: Vec<_> = text.split('"').collect();
        for pair in parts.chunks(2) {
            let [before, wanted] = pair else { continue };
            let Some(label) = ["=~", "!~", "!=", "="].iter().find_map(|end| before.strip_suffix(end)) else { continue };
            let label = label.rsplit(['{', ',']).next().unwrap();
            if ["instance", "job", "nas"].contains(&label) {
                continue;
            }
            count += 1;
            assert!(["outcome", "reason", "result", "via"].contains(&label), "{label} in {text}");
            for value in wanted.split('|') {
                assert!(sources.contains(&format!("\"{value}\"")), "{label}: nothing is ever {value}");
            }
        }
    }
    assert!(count > 8, "{count} were looked at");
}

#[test]
fn every_alert_says_how_bad_it_is_and_what_to_do() {
    let text = repository_file("docs/prometheus-alerts.yml");
    let anchors = anchors("docs/runbook.md");
    let alerts: Vec<_> = text.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 10);
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        let of = |key: &str| alert.lines().find_map(|line| line.trim().strip_prefix(key).map(str::trim));
        assert!(["{severity: page}", "{severity: ticket}"].contains(&of("labels:").unwrap()), "{name}");
        assert!(of("summary:").is_some_and(|summary| summary.len() > 20), "{name}");
        let link = of("runbook_url:").unwrap().strip_prefix("docs/runbook.md#").unwrap();
        assert!(anchors.contains(link), "{name}: the runbook has no #{link}");
    }
}

#[test]
fn the_dashboard_is_one() {
    let dashboard: Value = serde_json::from_str(&repository_file("docs/grafana-dashboard.json")).unwrap();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 38, "Grafana 10");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|variable| variable["type"] == "datasource" && variable["name"] == "datasource"));
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let place = |of: &str| panel["gridPos"][of].as_u64().unwrap();
        let (x, y, width, height) = (place("x"), place("y"), place("w"), place("h"));
        assert!(x + width <= 24, "{title}");
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} lies on another");
        }
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
            assert!(!panel["targets"].as_array().unwrap().is_empty() && panel["description"].is_string(), "{title}");
        }
    }
}

/// Seconds of the budget that this login gets.
async fn budget(daemon: &Spotgate, device: u8, session: &str) -> u64 {
    let question = json!({"access_code": CODE, "mac": mac(device).to_string(), "session_id": session});
    let answer = daemon.authorize(question).await;
    answer["session_timeout"].as_u64().unwrap_or_else(|| panic!("{answer}"))
}

async fn reports(daemon: &Spotgate, device: u8, session: &str, event: &str, seconds: u64) {
    let report =
        json!({"event": event, "mac": mac(device).to_string(), "session_id": session, "session_seconds": seconds});
    let (status, answer) = daemon.post("/v1/accounting", Some(KEY), report.to_string()).await;
    assert_eq!(status, 204, "{answer}");
}

/// The clock runs while the test does.
fn is_about(seconds: u64, expected: u64) {
    assert!((expected.saturating_sub(5)..=expected).contains(&seconds), "{seconds} s, not {expected}");
}

#[tokio::test]
async fn the_examples_of_counting_are_right() {
    let page = repository_file("docs/counting.md");
    for number in ["Session-Timeout 2700 s", "| 1800 s |", "| 1350 s |", "| 450 s |", "would count 3660 s"] {
        assert!(page.contains(number), "{number}");
    }
    let token = || with(record(1, CODE), json!({"UserLimit": 2}));

    let daemon = Spotgate::over_file(&[token()]);
    assert_eq!(budget(&daemon, 1, "a").await, 3600);
    reports(&daemon, 1, "a", "start", 0).await;
    reports(&daemon, 1, "a", "interim", 900).await;
    is_about(budget(&daemon, 2, "b").await, 2700);

    let daemon = Spotgate::over_file_with(&[token()], "disconnect_port = 0");
    assert_eq!(budget(&daemon, 1, "a").await, 1800);
    reports(&daemon, 1, "a", "interim", 900).await;
    is_about(budget(&daemon, 2, "b").await, 1350);
    reports(&daemon, 1, "a", "stop", 1800).await;
    reports(&daemon, 2, "b", "interim", 900).await;
    is_about(budget(&daemon, 1, "c").await, 450);

    let capped =
        Spotgate::over_file_with(&[with(token(), json!({"MinutesLeft": 600}))], "[policy]\nmax_session = \"1h\"");
    assert_eq!(budget(&capped, 1, "a").await, 3600);
    reports(&capped, 1, "a", "stop", 2000).await;
    reports(&capped, 1, "a", "stop", 2000).await;
    assert_eq!(capped.read(&format!("/v1/tokens/{CODE}")).await.1["usage_seconds"], 2000);
    reports(&capped, 1, "a", "stop", 9000).await;
    assert_eq!(capped.read(&format!("/v1/tokens/{CODE}")).await.1["usage_seconds"], 3660);
}

#[tokio::test]
async fn what_counting_says_of_minutes_set_by_hand_is_right() {
    let page = repository_file("docs/counting.md");
    for row in
        ["| 60 | 45 min | 15 min |", "| 120 | 45 min | 75 min |", "| 15 | 45 min | 0: guests", "| 15 | 0 | 15 min |"]
    {
        assert!(page.contains(row), "{row}");
    }
    let daemon = Spotgate::over_file(&[record(1, CODE)]);
    let shows = async |minutes: u64| {
        let (daemon, path) = (&daemon, format!("/v1/tokens/{CODE}"));
        let path = &path;
        daemon.until("minutes are shown", async || daemon.read(path).await.1["minutes_left"] == minutes).await;
    };
    let set = |minutes: u64| {
        let records = json!([with(record(1, CODE), json!({"MinutesLeft": minutes}))]);
        let beside = daemon.folder.path().join("tokens.new");
        fs::write(&beside, records.to_string()).unwrap();
        fs::rename(beside, daemon.folder.path().join("tokens.json")).unwrap();
    };
    assert_eq!(budget(&daemon, 1, "a").await, 3600);
    reports(&daemon, 1, "a", "stop", 45 * 60).await;
    shows(15).await;
    set(120);
    shows(75).await;
    set(15);
    shows(0).await;
    let answer = daemon.authorize(json!({"access_code": CODE, "mac": mac(1).to_string()})).await;
    assert_eq!(answer["reason"], "no_minutes_left");
    let (code, said) = daemon.command(&["tokens", CODE, "--forget-usage"]);
    assert!(code == Some(0) && said.contains("time left          15 minutes"), "{said}");
}
