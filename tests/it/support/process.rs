//! Programs of strangers, at work beside a test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use super::repository_file;

/// Puts a file of `tests/vectors/FROM` into the folder, its blanks filled in; `@FOLDER@` is the folder.
pub fn place(from: &str, folder: &Path, file: &str, blanks: &[(&str, &str)]) {
    let mut text = repository_file(&format!("tests/vectors/{from}/{file}"));
    for (blank, value) in [("@FOLDER@", folder.to_str().unwrap())].iter().chain(blanks) {
        text = text.replace(blank, value);
    }
    std::fs::write(folder.join(file), text).unwrap();
}

/// A stranger's program at work; what it says goes into a file.
pub struct Process {
    name: &'static str,
    pub child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; its log is in the folder.
    pub fn start(name: &'static str, mut command: Command, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).unwrap();
        let child = command.stderr(file.try_clone().unwrap()).stdout(file).spawn().unwrap();
        Self { name, child, log }
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// Waits until it has said this.
    pub async fn until_said(&self, text: &str) {
        until(&format!("{} says: {text}", self.name), || self.said().contains(text)).await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let said = self.said();
            let lines: Vec<_> = said.lines().collect();
            eprintln!("--- {} ---\n{}", self.name, lines[lines.len().saturating_sub(80)..].join("\n"));
        }
    }
}

/// Waits, at most twenty seconds, until `met` holds; for what other programs do in their own time.
pub async fn until(what: &str, mut met: impl FnMut() -> bool) {
    for _ in 0..400 {
        if met() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not in twenty seconds: {what}");
}
