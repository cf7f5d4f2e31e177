//! The commands as a person runs them.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{FILE_SOURCE, KEY, Spotgate, configuration, printed, record, run, spotgate, tool, with};

#[test]
fn the_tour_does_what_it_says() {
    let output = run(&mut spotgate(&["demo", "--once"]));
    let said = printed(&output);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("FAIL"), "{said}");
    for reason in [
        "unknown_code",
        "unknown_device",
        "wrong_location",
        "ambiguous_code",
        "wrong_password",
        "not_yet_valid",
        "expired",
        "device_mismatch",
        "no_minutes_left",
        "user_limit_reached",
        "throttled",
        "source_unavailable",
        "malformed",
    ] {
        assert!(said.contains(reason), "{reason} in {said}");
    }
}

#[test]
fn the_lines_of_the_demo_work_when_pasted() {
    for needed in ["radclient", "curl"] {
        tool(needed);
    }
    let mut demo = spotgate(&["demo"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(demo.stdout.take().unwrap()).lines().map_while(Result::ok);
    let commands: Vec<String> = lines
        .take_while(|line| !line.contains("Ctrl-C"))
        .filter_map(|line| line.strip_prefix("  $ ").map(str::to_owned))
        .collect();
    let said: Vec<String> = commands.iter().map(|line| printed(&run(Command::new("sh").args(["-c", line])))).collect();
    assert!(Command::new("kill").arg(demo.id().to_string()).status().unwrap().success());
    assert!(demo.wait().unwrap().success(), "Ctrl-C ends it cleanly");
    for (said, expected) in said.iter().zip([
        "Received Access-Accept",
        "This code expired on",
        "\"decision\":\"allow\"",
        "\"reason\":\"no_minutes_left\"",
        "\"ready\":true",
        "deny: expired",
        "02:00:5E:00:00:77  10.5.88.119  DEMO-TEAM",
        "has ended",
    ]) {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    assert_eq!(said.len(), 8, "{commands:?}");
}

#[test]
fn check_says_each_problem_with_its_place_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spotgate.toml");
    let check = || run(spotgate(&["check", "--config"]).arg(&path));
    std::fs::write(&path, configuration(FILE_SOURCE, "")).unwrap();
    assert_eq!(check().status.code(), Some(0), "{}", printed(&check()));
    std::fs::write(&path, configuration(FILE_SOURCE, "adress = \"10.0.0.1\"\naccounting = \"yes\"")).unwrap();
    let output = check();
    let said = printed(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("adress") && said.contains("address") && said.contains("accounting"), "{said}");
    assert!(said.contains('^') && !said.contains("correct horse"), "{said}");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(check().status.code(), Some(2));
}

#[test]
fn serve_refuses_a_wrong_configuration_and_a_taken_port() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spotgate.toml");
    std::fs::write(&path, "[source]\nkind = \"fil\"\n").unwrap();
    let serve = || run(spotgate(&["serve", "--config"]).arg(&path));
    assert_eq!(serve().status.code(), Some(78));
    // Nor does trying again help where the address of the database is none.
    let store = "[store]\nkind = \"postgres\"\nurl = \"postgres://[::1\"\n";
    std::fs::write(&path, configuration(FILE_SOURCE, "").replace("[store]\n", store)).unwrap();
    let output = serve();
    assert_eq!(output.status.code(), Some(78), "{}", printed(&output));
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let listen = format!("auth_listen = [\"{}\"]", taken.local_addr().unwrap());
    std::fs::write(&path, configuration(FILE_SOURCE, "").replace("auth_listen = [\"127.0.0.1:0\"]", &listen)).unwrap();
    let output = serve();
    let said = printed(&output);
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(said.contains("another program listens there"), "{said}");
}

fn explain(arguments: &[&str], path: &std::path::Path) -> (Option<i32>, String) {
    let output = run(spotgate(&["explain", "--config"]).arg(path).args(arguments));
    (output.status.code(), printed(&output))
}

#[test]
fn explain_decides_without_a_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spotgate.toml");
    let records = [
        record(1, "abc-123"),
        with(record(2, "late"), json!({"ValidTo": "2001-01-01T00:00:00Z"})),
        with(record(3, "by-mac"), json!({"MacAddress": "02:00:00:00:00:01"})),
    ];
    std::fs::write(folder.path().join("tokens.json"), json!(records).to_string()).unwrap();
    std::fs::write(
        &path,
        configuration(
            FILE_SOURCE,
            "[[nas]]\nname = \"roof\"\naddress = \"10.0.0.1\"\nsecret = \"another long secret\"",
        ),
    )
    .unwrap();
    let (code, said) = explain(&["abc-123"], &path);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("front-desk, roof"), "{said}");
    let (code, said) = explain(&["abc-123", "--nas", "roof", "--json"], &path);
    let answer: Value = serde_json::from_str(&said[said.find('{').unwrap()..said.rfind('}').unwrap() + 1]).unwrap();
    assert_eq!((code, &answer["decision"], &answer["session"]), (Some(0), &json!("allow"), &json!(null)), "{said}");
    let names: Vec<_> =
        answer["checks"].as_array().unwrap().iter().map(|check| check["check"].as_str().unwrap()).collect();
    assert!(
        names.starts_with(&["throttle", "source", "code", "location"]) && names.ends_with(&["minutes", "user_limit"]),
        "{names:?}"
    );
    let (code, said) = explain(&["late", "--nas", "roof"], &path);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("FAIL valid_to") && said.contains("This code expired on 1 January 2001"), "{said}");
    assert_eq!(explain(&["02-00-00-00-00-01", "--nas", "roof"], &path).0, Some(0));
    let (_, said) = explain(&["020000000001", "--mac", "02:00:00:00:00:01", "--nas", "roof"], &path);
    assert!(said.contains("unknown_code"), "with --mac it is a code whatever it looks like: {said}");
    std::fs::remove_file(folder.path().join("tokens.json")).unwrap();
    assert_eq!(explain(&["abc-123", "--nas", "roof"], &path).0, Some(1), "could not decide");
}

#[tokio::test]
async fn explain_asks_the_daemon_who_is_online() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokens.json"), json!([record(1, "abc-123")]).to_string()).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let fixed = configuration(FILE_SOURCE, "")
        .replace("[http]\nlisten = [\"127.0.0.1:0\"]", &format!("[http]\nlisten = [\"127.0.0.1:{port}\"]"));
    let daemon = Spotgate::start_in(folder, &fixed);
    daemon.authorize(json!({"access_code": "abc-123", "mac": "02:00:00:00:00:01"})).await;
    let path = daemon.configuration();
    let (code, said) = explain(&["abc-123", "--mac", "02:00:00:00:00:02"], &path);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("user_limit_reached"), "{said}");
    assert_eq!(explain(&["abc-123", "--mac", "02:00:00:00:00:01"], &path).0, Some(0));
    let other = daemon.folder.path().join("other.toml");
    std::fs::write(&other, fixed.replace(KEY, "key-unknown-to-the-daemon")).unwrap();
    let (code, said) = explain(&["abc-123"], &other);
    assert_eq!(code, Some(1), "no verdict that leaves out who is online: {said}");
    assert!(said.contains("401"), "{said}");
}

#[test]
fn openapi_is_printed() {
    let output = run(&mut spotgate(&["openapi"]));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["paths"]["/v1/authorize"]["post"]["security"].is_array());
    assert_eq!(document["components"]["securitySchemes"]["key"]["scheme"], "bearer");
}

#[test]
fn the_manual_and_the_completions_are_sound() {
    let folder = tempfile::tempdir().unwrap();
    for page in ["spotgate", "spotgate.toml"] {
        let output = run(&mut spotgate(&["man", page]));
        assert!(output.status.success());
        let path = folder.path().join(page);
        std::fs::write(&path, &output.stdout).unwrap();
        let formatted = run(tool("groff").args(["-Kutf8", "-man", "-Tutf8", "-ww"]).arg(&path));
        assert!(formatted.status.success() && formatted.stderr.is_empty(), "{page}: {}", printed(&formatted));
    }
    let bash = run(&mut spotgate(&["completions", "bash"]));
    let script = folder.path().join("spotgate.bash");
    std::fs::write(&script, &bash.stdout).unwrap();
    let asked = format!(
        "source {}; COMP_WORDS=(spotgate dec); COMP_CWORD=1; _spotgate spotgate dec spotgate; echo ${{COMPREPLY[*]}}",
        script.display()
    );
    let completed = run(tool("bash").args(["-c", &asked]));
    assert_eq!(printed(&completed).trim(), "decisions");
    for shell in ["zsh", "fish"] {
        let output = run(&mut spotgate(&["completions", shell]));
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("decisions"), "{shell}");
    }
}

#[test]
fn a_password_becomes_a_hash_that_the_console_takes() {
    use std::io::Write as _;
    let mut command = spotgate(&["password"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a long lemonade\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let hash = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    let short = run(spotgate(&["password"]).stdin(Stdio::null()));
    assert_eq!(short.status.code(), Some(1));
}
