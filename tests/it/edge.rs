//! The edges of the real binary that strangers reach by TCP: what they send too slowly, too much of, or in the wrong form, what
//! they say of themselves, and how they are spoken to.

mod framing;
mod pages;
mod proxies;
mod size;
mod slow;
mod tls;
mod upstream;

use std::fs;

use crate::support::{Spotgate, run, tool};

/// What a process holds.
struct Held {
    descriptors: usize,
    /// Resident memory, in MiB.
    memory: usize,
}

impl Held {
    fn by(spotgate: &Spotgate) -> Self {
        let folder = format!("/proc/{}", spotgate.id());
        let status = fs::read_to_string(format!("{folder}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kibibytes: usize = resident.trim().trim_end_matches(" kB").parse().unwrap();
        let descriptors = fs::read_dir(format!("{folder}/fd")).unwrap().count();
        Self { descriptors, memory: kibibytes / 1024 }
    }
}

/// A JSON text behind 32 MiB of blanks, packed by gzip into some 32 KiB.
fn bomb(text: &str) -> Vec<u8> {
    let script = r#"{ head -c 33554432 /dev/zero | tr '\0' ' '; printf '%s' "$0"; } | gzip -9"#;
    let packed = run(tool("sh").args(["-c", script, text])).stdout;
    assert!((20_000..60_000).contains(&packed.len()), "{}", packed.len());
    packed
}
