//! Machines and the cables between them, as network namespaces of a test's own.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use super::{KEY, printed, run};

/// The namespaces of a test; they go with the value.
pub struct Places {
    stem: String,
    all: &'static [&'static str],
}

impl Places {
    /// Makes them, each with its loopback.
    pub fn new(all: &'static [&'static str]) -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let uid = run(Command::new("id").arg("-u"));
        assert!(printed(&uid).trim() == "0", "only root makes network namespaces; tests/run.sh sees to it");
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let places = Self { stem: format!("spotgate-{}-{number}", std::process::id()), all };
        for place in all {
            ip(&["netns", "add", &places.name(place)]);
            ip(&["-n", &places.name(place), "link", "set", "lo", "up"]);
        }
        places
    }

    /// Lays a cable from a device at one place to one at another.
    pub fn wire(&self, one: (&str, &str), other: (&str, &str)) {
        let (here, there) = (self.name(one.0), self.name(other.0));
        ip(&["link", "add", one.1, "netns", &here, "type", "veth", "peer", "name", other.1, "netns", &there]);
        for (place, device) in [one, other] {
            ip(&["-n", &self.name(place), "link", "set", device, "up"]);
        }
    }

    /// Gives a device an address, with the length of its network.
    pub fn address(&self, place: &str, device: &str, address: &str) {
        ip(&["-n", &self.name(place), "address", "add", address, "dev", device]);
    }

    /// Has a place send all else by way of this address.
    pub fn gateway(&self, place: &str, address: &str) {
        ip(&["-n", &self.name(place), "route", "add", "default", "via", address]);
    }

    /// Has a place pass on what is not for itself.
    pub fn forwards(&self, place: &str) {
        let mut command = self.command(place, "sh");
        let output = run(command.args(["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]));
        assert!(output.status.success(), "{}", printed(&output));
    }

    /// Has a place that forwards pass on nothing more from one address to another, without a word to either; or again.
    pub fn loses(&self, place: &str, from: &str, to: &str, yes: bool) {
        let how = if yes { "add" } else { "delete" };
        ip(&["-n", &self.name(place), "rule", how, "blackhole", "from", from, "to", to]);
    }

    /// Does something at a place, with every thread that it starts.
    pub fn inside<T: Send>(&self, place: &str, act: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.name(place))).unwrap();
        std::thread::scope(|scope| {
            let acting = scope.spawn(move || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                act()
            });
            acting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The namespace of a place.
    pub fn name(&self, place: &str) -> String {
        format!("{}-{place}", self.stem)
    }

    /// What the spotgate at this place answers, asked from there.
    pub fn ask(&self, place: &str, path: &str) -> Value {
        let mut command = self.command(place, "curl");
        command.args(["-s", "-m", "5", "-H", &format!("Authorization: Bearer {KEY}")]);
        let output = run(command.arg(format!("http://127.0.0.1:8080{path}")));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{path}: {error}: {}", printed(&output)))
    }

    /// A program at this place. Its process is the very child: `ip` becomes it.
    pub fn command(&self, place: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(place), program]).stdin(Stdio::null());
        command
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for place in self.all {
            let _ = Command::new("ip").args(["netns", "delete", &self.name(place)]).output();
        }
    }
}

/// Has `ip` do this.
pub fn ip(arguments: &[&str]) {
    let output = run(Command::new("ip").args(arguments));
    assert!(output.status.success(), "ip {}: {}", arguments.join(" "), printed(&output));
}
