//! What the system beneath refuses a running daemon: calls that fail, are late, or are its last. `strace` puts that in from
//! outside, and takes it back; of limits, signals and clocks the system has its own. Nothing acknowledged is lost, and all
//! heals by itself.

mod beside;
mod journal;
mod limits;
mod resolver;
mod sockets;
mod upstream;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use crate::support::{Spotgate, tool};

/// Faults in the system calls of a daemon, as long as the value lives.
struct Faults {
    strace: Child,
    /// What it did to which call, line by line.
    told: PathBuf,
    _says: BufReader<ChildStderr>,
}

impl Faults {
    /// `what` happens, as `strace -e inject=` has it, to all of the daemon.
    fn of(spotgate: &Spotgate, what: &str) -> Self {
        Self::attach(spotgate, spotgate.id(), &["-f"], what)
    }

    /// The same to one of its threads; nothing slows the others down.
    fn of_thread(spotgate: &Spotgate, thread: &str, what: &str) -> Self {
        let threads = fs::read_dir(format!("/proc/{}/task", spotgate.id())).unwrap().map(|task| task.unwrap().path());
        let named = |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == thread);
        let task = threads.into_iter().find(named).unwrap_or_else(|| panic!("no thread {thread}"));
        Self::attach(spotgate, task.file_name().unwrap().to_str().unwrap().parse().unwrap(), &[], what)
    }

    /// The same where these files are concerned.
    fn of_files(spotgate: &Spotgate, files: &[&Path], what: &str) -> Self {
        let named = files.iter().flat_map(|file| ["-P", file.to_str().unwrap()]);
        Self::attach(spotgate, spotgate.id(), &["-f"].into_iter().chain(named).collect::<Vec<_>>(), what)
    }

    fn attach(spotgate: &Spotgate, task: u32, how: &[&str], what: &str) -> Self {
        let told = spotgate.folder.path().join(format!("strace-{task}"));
        let calls = what.split(':').next().unwrap();
        let mut command = tool("strace");
        command.args(how).args(["-ttt", "-s", "0", "-o"]).arg(&told).args(["-p", &task.to_string()]);
        command.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={what}")]);
        let mut strace = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut says = BufReader::new(strace.stderr.take().unwrap());
        let mut line = String::new();
        says.read_line(&mut line).unwrap();
        assert!(line.contains(" attached"), "strace may do nothing here, so nothing is tried: {line}");
        Self { strace, told, _says: says }
    }

    /// When each of its calls met a fault, in seconds.
    fn struck(&self) -> Vec<f64> {
        let told = fs::read_to_string(&self.told).unwrap();
        let injected = told.lines().filter(|line| line.ends_with("(INJECTED)") || line.contains("+++ killed by"));
        let time = |line: &str| line.split_whitespace().find_map(|word| word.parse().ok().filter(|time| *time > 1e6));
        injected.map(|line| time(line).unwrap_or_else(|| panic!("no time: {line}"))).collect()
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        // By this signal it lets go of what it holds.
        let _ = Command::new("kill").args(["-INT", &self.strace.id().to_string()]).status();
        let _ = self.strace.wait();
    }
}

/// A router soon tired of waiting: for requests that stay unanswered.
fn hasty(spotgate: &Spotgate) -> spotgate::sandbox::hotspot::Hotspot {
    spotgate.hotspot().patience(Duration::from_millis(150), 2)
}

/// Whether its process has ended.
fn is_over(spotgate: &Spotgate) -> bool {
    // Behind the name, which may hold anything, stands a letter: a zombie's, once it is over.
    let stat = fs::read_to_string(format!("/proc/{}/stat", spotgate.id())).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}
