//! What a login costs the more there is: tokens, live sessions, routers, packet in to packet out, without sockets; and what a token
//! weighs.
//!
//! ```sh
//! cargo bench --bench growth                       # some minutes, and two gigabytes of memory
//! cargo bench --bench growth -- --chart FILE.svg   # and a chart of it
//! ```
//!
//! `cargo test --bench growth` runs it at a size that says nothing, to see that it works.
//!
//! Each login is the first of its code and of its device, and goes into a journal on a disk (`/var/tmp`, or `--folder DIR`). What counts
//! is processor time of the whole process, the journal's thread included, until all of it is on disk. Worlds of different sizes stand
//! beside each other and are measured in turns, each with logins spread over all its tokens, so that they find nothing in the
//! processor's caches that they would not find in life. Stored ended sessions: `cargo bench --bench accounting -- history`.

#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a bench")]
#![allow(unreachable_pub, reason = "a binary")]

#[path = "growth/chart.rs"]
mod chart;
#[path = "accounting/load.rs"]
#[allow(dead_code, reason = "shared")]
mod load;
#[path = "accounting/table.rs"]
#[allow(dead_code, reason = "shared")]
mod table;
#[path = "login/world.rs"]
#[allow(dead_code, reason = "shared")]
mod world;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use spotgate::core::policy::Policy;
use spotgate::ledger::Ledger;
use spotgate::radius::attribute::code;
use spotgate::radius::handle::Port;
use spotgate::sandbox::hotspot::{Hotspot, Password};

use world::{SECRET, World, handle, mac, router};

/// What there is.
#[derive(Clone, Copy)]
struct Size {
    tokens: usize,
    sessions: usize,
    routers: usize,
}

/// Of what there is more, and how much: the first is what the others are compared with.
const AXES: [(&str, [Size; 3]); 3] = [
    ("tokens", [size(10_000, 0, 1), size(100_000, 0, 1), size(1_000_000, 0, 1)]),
    ("live sessions", [size(1_000_000, 0, 1), size(1_000_000, 10_000, 1), size(1_000_000, 500_000, 1)]),
    ("routers", [size(10_000, 0, 1), size(10_000, 0, 1000), size(10_000, 0, 10_000)]),
];

const fn size(tokens: usize, sessions: usize, routers: usize) -> Size {
    Size { tokens, sessions, routers }
}

/// How much is measured.
struct Effort {
    folder: PathBuf,
    rounds: usize,
    /// Logins of a round.
    logins: usize,
    /// What each size is divided by.
    less: usize,
}

/// A world, and who has not been in it yet.
struct Grown {
    world: World,
    size: Size,
    next: usize,
    hotspot: Hotspot,
    _folder: tempfile::TempDir,
}

impl Grown {
    fn new(size: Size, effort: &Effort) -> Self {
        let folder = tempfile::tempdir_in(&effort.folder).expect("a folder");
        let now = "2026-11-23T12:00:00Z".parse().expect("a date");
        let ledger = Ledger::open(folder.path(), &Policy::default(), now).expect("a ledger").ledger;
        let world = world::world(size.tokens, size.routers, ledger);
        let hotspot = Hotspot::new(([127, 0, 0, 1], 1812).into(), SECRET.as_bytes(), "front-desk");
        let mut grown = Self { world, size, next: 0, hotspot, _folder: folder };
        let mut left = size.sessions;
        while left > 0 {
            let some = left.min(5000);
            let requests = grown.requests(some);
            grown.log_in(&requests);
            left -= some;
        }
        grown
    }

    /// First logins, of tokens all over the place.
    fn requests(&mut self, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let first = self.next;
        self.next += count;
        assert!(self.next <= self.size.tokens, "a token for each");
        // Prime to every size, so that each comes once.
        let places = (first..self.next).map(|number| (number, number * 7919 % self.size.tokens));
        let request = |(number, token): (usize, usize)| {
            let code = world::code(token);
            let request = self.hotspot.access_request(&code, Password::Pap(&code), mac(token)).expect("a request");
            let port = u16::try_from(10_000 + number % 50_000).expect("a port");
            (SocketAddr::new(router(number * 7919 % self.size.routers), port), request)
        };
        places.map(request).collect()
    }

    /// Everybody logs in, and it is on disk.
    fn log_in(&self, requests: &[(SocketAddr, Vec<u8>)]) {
        for (from, request) in requests {
            handle(&self.world, Port::Auth, *from, request, |reply| assert_eq!(reply[0], code::ACCESS_ACCEPT));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(self.world.gate.ledger.all_written().settled()).expect("a disk");
    }

    /// Processor time of a login.
    fn measure(&mut self, logins: usize) -> f64 {
        let requests = self.requests(logins);
        let before = cpu();
        self.log_in(&requests);
        (cpu() - before).as_secs_f64() / f64::from(u32::try_from(logins).expect("a count"))
    }
}

/// Processor time of this process so far, to the nanosecond.
fn cpu() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc");
    let spent = |task: &Path| -> Option<u64> {
        fs::read_to_string(task.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
    };
    Duration::from_nanos(tasks.filter_map(|task| spent(&task.ok()?.path())).sum())
}

/// Memory of this process, in octets.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a figure");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// What grows an axis, by its name.
fn amount(axis: &str, size: Size) -> usize {
    match axis {
        "tokens" => size.tokens,
        "live sessions" => size.sessions,
        _ => size.routers,
    }
}

fn run(effort: &Effort, chart: Option<&Path>) {
    let what = format!(
        "{} first logins, median of {} runs in turns (least–most)",
        table::count(f64::from(u32::try_from(effort.logins).expect("a count"))),
        effort.rounds
    );
    table::part("growth", &what);
    let mut rows = vec![table::row(&["of", "there are", "CPU for a login", "to the first", "memory for each"])];
    let mut lines = Vec::new();
    for (axis, sizes) in AXES {
        let less = |count: usize| if count <= 1 { count } else { (count / effort.less).max(2) };
        let sizes = sizes.map(|Size { tokens, sessions, routers }| {
            size(less(tokens).max(effort.logins * (effort.rounds + 1)) + less(sessions), less(sessions), less(routers))
        });
        let (mut worlds, mut weights, mut before) = (Vec::new(), Vec::new(), resident());
        for size in sizes {
            worlds.push(Grown::new(size, effort));
            let after = resident();
            weights.push(after.saturating_sub(before));
            before = after;
        }
        let mut samples: Vec<Vec<f64>> = sizes.iter().map(|_| Vec::new()).collect();
        for round in 0..=effort.rounds {
            for (world, taken) in worlds.iter_mut().zip(&mut samples) {
                let sample = world.measure(effort.logins);
                // The first finds everything cold.
                taken.extend((round > 0).then_some(sample));
            }
        }
        let first = table::median(&samples[0]);
        let mut line = Vec::new();
        for ((size, taken), weight) in sizes.into_iter().zip(&samples).zip(&weights) {
            let (count, ratio) = (amount(axis, size), table::median(taken) / first);
            let added = weight.saturating_sub(weights[0]) / u64::try_from(count.max(1)).expect("a count");
            line.push((count, ratio));
            rows.push(vec![
                axis.to_owned(),
                table::count(f64::from(u32::try_from(count).expect("a count"))),
                table::spread(taken, table::seconds),
                format!("{ratio:.2}"),
                // Beside a session, what was answered lately is remembered: `accounting` weighs sessions.
                if axis == "tokens" && count > amount(axis, sizes[0]) { format!("{added} B") } else { String::new() },
            ]);
        }
        lines.push((axis, line));
    }
    table::print(&rows);
    if let Some(file) = chart {
        fs::write(file, chart::draw(&lines)).expect("a file");
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut effort = Effort { folder: "/var/tmp".into(), rounds: 7, logins: 1000, less: 1 };
    let (mut chart, mut benches) = (None, false);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // What cargo adds: `cargo bench` the one, `cargo test` neither or the other.
            "--bench" => benches = true,
            "--test" => {}
            "--chart" => chart = arguments.next().map(PathBuf::from),
            "--folder" => effort.folder = arguments.next().unwrap_or_default().into(),
            other => {
                println!("growth: {other} is nothing known here\nusage: growth [--folder DIR] [--chart FILE]");
                return ExitCode::FAILURE;
            }
        }
    }
    if !benches {
        effort = Effort { rounds: 1, logins: 50, less: 2000, ..effort };
    }
    table::machine(&effort.folder);
    run(&effort, chart.as_deref());
    ExitCode::SUCCESS
}
