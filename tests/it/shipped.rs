//! What is shipped beside the binary: configurations and the systemd unit.

use crate::support::{printed, repository_file, run, spotgate, tool};

#[test]
fn the_shipped_configurations_are_fine() {
    for file in ["config/minimal.toml", "config/spotgate.toml"] {
        let folder = tempfile::tempdir().unwrap();
        let text = repository_file(file);
        // The secrets that they name are the operator's; here each file holds a made-up one.
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((key, value)) = line.split_once('=')
                && let Some(name) = value.split('"').nth(1)
                && key.trim().ends_with("_file")
            {
                let path = folder.path().join(name);
                std::fs::write(&path, "a secret long enough").unwrap();
            }
        }
        let path = folder.path().join("spotgate.toml");
        std::fs::write(&path, text).unwrap();
        let output = run(spotgate(&["check", "--config"]).arg(&path));
        assert!(output.status.success(), "{file}: {}", printed(&output));
    }
}

#[test]
fn systemd_accepts_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let unit = repository_file("systemd/spotgate.service");
    assert!(unit.contains("Type=notify") && unit.contains("StateDirectory=") && unit.contains("LoadCredential="));
    // The binary is not installed on the machine that tests; everything else stands as shipped.
    let unit = unit.replace("/usr/bin/spotgate", env!("CARGO_BIN_EXE_spotgate"));
    let path = folder.path().join("spotgate.service");
    std::fs::write(&path, unit).unwrap();
    let output = run(tool("systemd-analyze").arg("verify").arg(&path));
    // It also complains of other units that are enabled on this machine.
    let complaints = printed(&output).lines().any(|line| line.contains("spotgate"));
    assert!(output.status.success() && !complaints, "{}", printed(&output));
}
