//! What is shipped beside the binary: configurations and systemd units.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{printed, repository_file, run, spotgate, tool};

/// The names of the files in this folder that end so, and how many there have to be at least.
fn files(folder: &str, end: &str, least: usize) -> Vec<String> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: Vec<_> = names.filter(|name| name.ends_with(end)).map(|name| format!("{folder}/{name}")).collect();
    assert!(names.len() >= least, "{names:?}");
    names
}

#[test]
fn the_shipped_configurations_are_fine() {
    for file in files("config", ".toml", 3) {
        let folder = tempfile::tempdir().unwrap();
        let text = repository_file(&file);
        // The secrets that they name are the operator's, or made by the package; here each file holds a made-up one.
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((key, value)) = line.split_once('=')
                && let Some(name) = value.split('"').nth(1)
                && key.trim().ends_with("_file")
            {
                let path = folder.path().join(name.trim_start_matches("$CREDENTIALS_DIRECTORY/"));
                fs::write(&path, "a secret long enough").unwrap();
            }
        }
        let path = folder.path().join("spotgate.toml");
        fs::write(&path, text).unwrap();
        let output = run(spotgate(&["check", "--config"]).arg(&path).env("CREDENTIALS_DIRECTORY", folder.path()));
        assert!(output.status.success(), "{file}: {}", printed(&output));
    }
}

/// The units in a folder, as shipped but for the binary, which is not installed on the machine that tests.
fn units(folder: &Path) -> Vec<PathBuf> {
    let units = [files("systemd", ".service", 1), files("systemd", ".socket", 3)].concat();
    let copied = units.into_iter().map(|unit| {
        let path = folder.join(Path::new(&unit).file_name().unwrap());
        fs::write(&path, repository_file(&unit).replace("/usr/bin/spotgate", env!("CARGO_BIN_EXE_spotgate"))).unwrap();
        path
    });
    copied.collect()
}

fn analyze(verb: &str) -> Command {
    let mut command = tool("systemd-analyze");
    command.arg(verb);
    command
}

#[test]
fn systemd_accepts_the_units() {
    let unit = repository_file("systemd/spotgate.service");
    assert!(unit.contains("Type=notify") && unit.contains("StateDirectory=") && unit.contains("LoadCredential="));
    let folder = tempfile::tempdir().unwrap();
    // The manual that they name comes with the package.
    let output = run(analyze("verify").arg("--man=no").args(units(folder.path())));
    // It also complains of other units that are enabled on this machine.
    let complaints = printed(&output).lines().any(|line| line.contains("spotgate"));
    assert!(output.status.success() && !complaints, "{}", printed(&output));
}

#[test]
fn systemd_finds_the_service_well_shut_in() {
    let folder = tempfile::tempdir().unwrap();
    units(folder.path());
    // 1.2 of 10 at most.
    let output = run(analyze("security")
        .args(["--offline=true", "--threshold=12", "--no-pager"])
        .arg(folder.path().join("spotgate.service")));
    assert!(output.status.success(), "{}", printed(&output));
}

#[test]
fn each_socket_listens_where_the_daemon_would_and_bears_its_name() {
    let settings = repository_file("config/spotgate.toml");
    for (name, key) in [("auth", "auth_listen"), ("acct", "acct_listen"), ("http", "listen")] {
        let unit = repository_file(&format!("systemd/spotgate-{name}.socket"));
        let of = |key: &str| -> Vec<&str> { unit.lines().filter_map(|line| line.strip_prefix(key)).collect() };
        assert_eq!((of("FileDescriptorName="), of("Service=")), (vec![name], vec!["spotgate.service"]));
        let listens = [of("ListenDatagram="), of("ListenStream=")].concat();
        let shown: Vec<_> = listens.iter().map(|address| format!("\"{address}\"")).collect();
        let wanted = format!("{key} = [{}]", shown.join(", "));
        assert!(settings.lines().any(|line| line.trim_start_matches('#') == wanted), "{wanted}");
    }
}
