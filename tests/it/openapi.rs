//! The interface as /openapi.json describes it, tried by schemathesis: what it makes up is answered as described, and never by a fault.

use std::path::Path;
use std::process::Command;

use crate::support::{FILE_SOURCE, KEY, Spotgate, configuration, printed, record, run};
use serde_json::json;

/// Of one kind of request.
const EXAMPLES: &str = "25";

#[test]
fn schemathesis_finds_nothing_that_is_not_as_described() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".test-tools/venv/bin/schemathesis");
    assert!(program.exists(), "schemathesis is missing: tests/run.sh installs what the tests need");
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("tokens.json"), json!([record(1, "kx7q-91mp")]).to_string()).unwrap();
    let every = r#"scopes = ["authorize", "accounting", "read", "admin", "ironwifi", "freeradius"]"#;
    let configuration = configuration(FILE_SOURCE, "");
    let given = r#"scopes = ["authorize", "accounting", "read", "admin"]"#;
    assert!(configuration.contains(given));
    let spotgate = Spotgate::start_in(home, &configuration.replace(given, every));
    let mut command = Command::new(program);
    command.args(["run", &format!("http://{}/openapi.json", spotgate.http)]);
    command.args(["-H", &format!("Authorization: Bearer {KEY}"), "--max-examples", EXAMPLES, "--seed", "2026"]);
    command.args(["--request-timeout", "20", "--no-color"]);
    // A text may be of the right type and mean nothing; the signature of a webhook is looked at where webhooks are set up.
    command.args(["--exclude-checks", "positive_data_acceptance,missing_required_header"]);
    let output = run(command.current_dir(spotgate.folder.path()));
    assert!(output.status.success(), "{}", printed(&output));
    assert!(printed(&output).contains("Tested: 18"), "{}", printed(&output));
    spotgate.stop();
}
