//! Whether an hour of everything at once leaves the daemon as it was: the real binary over the sandbox Nexudus, on loopback and a disk.
//!
//! ```sh
//! cargo bench --bench soak                              # an hour
//! cargo bench --bench soak -- --minutes 10 --plot FILE.svg
//! ```
//!
//! Guests log in, report and leave; others mistype codes; pages and the API are asked. Meanwhile faults come by lot, one after another:
//! a Nexudus that is slow, throttles, errs or is not there, a disk that takes no write, no descriptors left, a stopped process, a flood of
//! broken packets, peers that hold connections open, a reload. Every five seconds memory, descriptors and the latency of logins are
//! noted. At the end each second that was acknowledged of a session that ended must be counted once, and none that nobody reported; and in
//! quiet moments, memory, descriptors and latency must be what they were after a sixth of the time.
//!
//! `cargo test --bench soak` plays each fault for a second, to see that it works; its figures say nothing.

#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a bench")]
#![allow(unreachable_pub, reason = "a binary")]

mod faults;
mod guests;
#[path = "../accounting/load.rs"]
#[allow(dead_code, reason = "shared")]
mod load;
#[path = "../../fuzz/lots.rs"]
mod lots;
mod plot;
#[path = "../accounting/server.rs"]
#[allow(dead_code, reason = "shared")]
mod server;
#[path = "../accounting/table.rs"]
#[allow(dead_code, reason = "shared")]
mod table;
#[path = "../accounting/tokens.rs"]
#[allow(dead_code, reason = "shared")]
mod tokens;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use serde_json::json;
use spotgate::clock::Clock;
use spotgate::sandbox::nexudus::{Options, Sandbox};

use faults::{Fault, Site};
use guests::Guests;
use load::{SECRET, now};
use lots::Lots;
use server::Process;

/// Tokens of Nexudus.
const TOKENS: usize = 2000;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(5);

/// How much more memory it may hold in the last sixth than in the second, in quiet moments.
const GROWTH: f64 = 8.0;

/// What a look found.
struct Look {
    /// Minutes since the beginning.
    minute: f64,
    fault: Option<Fault>,
    /// Whether one ended just before.
    recovers: bool,
    /// Memory that is no file's, in megabytes.
    memory: f64,
    descriptors: f64,
    /// Of logins, in milliseconds; none: there were none.
    median: Option<f64>,
    p99: Option<f64>,
}

struct Plan {
    length: Duration,
    guests: usize,
    /// Each fault once, a second each.
    is_smoke: bool,
    plot: Option<PathBuf>,
}

fn configuration(site: &Site, nexudus: &str) -> String {
    let Site { auth, accounting, http, metrics, .. } = site;
    format!(
        r#"
[source]
kind = "nexudus"
[source.nexudus]
base_url = "{nexudus}"
username = "demo@example.org"
password = "demo"
request_timeout = "2s"
[[nas]]
name = "front-desk"
address = "127.0.0.1"
secret = "{SECRET}"
hotspot_hosts = ["login.example.net"]
[radius]
auth_listen = ["{auth}"]
acct_listen = ["{accounting}"]
[http]
listen = ["{http}"]
[[http.api_key]]
name = "soak"
key = "{key}"
scopes = ["authorize", "accounting", "read", "admin"]
[portal]
public_url = "http://127.0.0.1"
[store]
path = "state"
[telemetry]
level = "error"
metrics_listen = "{metrics}"
"#,
        key = guests::KEY
    )
}

/// The daemon; where its files may not grow, that is an error to it and no signal.
fn daemon(folder: &Path) -> Process {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_spotgate"), "serve", "--config"]);
    command.arg(folder.join("spotgate.toml")).stdout(Stdio::null()).stderr(Stdio::null());
    Process::start(&mut command, Some("TERM"))
}

fn nexudus_tokens() -> Vec<serde_json::Value> {
    let token = |number: usize| {
        json!({"Id": number + 1, "BusinessId": 1, "AccessCode": tokens::code(number), "MinutesIncluded": 1_000_000,
               "MinutesLeft": 1_000_000, "UserLimit": 5})
    };
    (0..TOKENS).map(token).collect()
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn look(site: &Site, guests: &Guests, minute: f64, fault: Option<Fault>, recovers: bool) -> Look {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", site.daemon.id())).map_or(0, Iterator::count);
    let mut latencies = guests.take_latencies();
    latencies.sort_by(f64::total_cmp);
    let at =
        |permille: usize| latencies.get((latencies.len() * permille / 1000).min(latencies.len().saturating_sub(1)));
    Look {
        minute,
        fault,
        recovers,
        memory: site.daemon.memory().anonymous as f64 / 1e6,
        descriptors: descriptors as f64,
        median: at(500).copied(),
        p99: at(990).copied(),
    }
}

async fn run(plan: &Plan) -> bool {
    table::part("soak", &format!("{} guests, {} minutes", plan.guests, plan.length.as_secs() / 60));
    let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
    table::machine(folder.path());
    let options = Options { tokens: nexudus_tokens(), ..Options::default() };
    let sandbox = Sandbox::start_local(options, Clock::system()).await.expect("a port");
    let [auth, accounting] = server::ports();
    let [http, metrics] = faults::tcp_ports();
    let path = folder.path().join("spotgate.toml");
    let mut site =
        Site { daemon: Process::start(&mut Command::new("true"), None), auth, accounting, http, metrics, sandbox };
    fs::write(&path, configuration(&site, &site.sandbox.base_url())).expect("a file");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a file of ours");
    site.daemon = daemon(folder.path());
    site.answers().await;

    let guests = Guests::start(&site, plan.guests);
    let (begun, mut lots, mut looks) = (now(), Lots::default(), Vec::new());
    let mut to_come: Vec<Fault> = if plan.is_smoke { faults::ALL.to_vec() } else { Vec::new() };
    let (mut active, mut recovers) = (None, false);
    let mut next = begun + if plan.is_smoke { Duration::from_secs(1) } else { LOOK * 4 };
    let mut next_look = begun + LOOK;
    while begun.elapsed() < plan.length && !(plan.is_smoke && to_come.is_empty() && active.is_none()) {
        tokio::time::sleep_until(next.min(next_look).into()).await;
        if now() >= next {
            if let Some((_, playing)) = active.take() {
                site.end(playing).await;
                recovers = true;
                next = now() + Duration::from_secs(if plan.is_smoke { 0 } else { 10 + lots.below(15) as u64 });
            } else {
                let fault = to_come.pop().unwrap_or_else(|| faults::ALL[lots.below(faults::ALL.len())]);
                active = Some((fault, site.begin(fault, &mut lots).await));
                let length = if plan.is_smoke { 1 } else { fault.least() + lots.below(10) as u64 };
                next = now() + Duration::from_secs(length);
            }
        }
        if now() >= next_look {
            let fault = active.as_ref().map(|(fault, _)| *fault);
            looks.push(look(&site, &guests, begun.elapsed().as_secs_f64() / 60.0, fault, recovers));
            recovers = fault.is_some();
            next_look += LOOK;
        }
    }
    if let Some((_, playing)) = active {
        site.end(playing).await;
    }
    let told = guests.end().await;
    let balances = told.balances(&site).await;
    if let Some(plot) = &plan.plot {
        fs::write(plot, plot::draw(&looks)).expect("a file");
    }
    balances & (plan.is_smoke || is_flat(&looks))
}

/// The median of what quiet looks of one sixth found.
fn of_sixth(looks: &[Look], sixth: usize, what: impl Fn(&Look) -> Option<f64>) -> f64 {
    let part = &looks[looks.len() * sixth / 6..looks.len() * (sixth + 1) / 6];
    let mut found: Vec<f64> =
        part.iter().filter(|look| look.fault.is_none() && !look.recovers).filter_map(what).collect();
    found.sort_by(f64::total_cmp);
    found.get(found.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Whether the last sixth is as the second, where nothing was at fault.
fn is_flat(looks: &[Look]) -> bool {
    let quiet = looks.iter().filter(|look| look.fault.is_none() && !look.recovers).count();
    println!("  {} looks, {quiet} of them quiet; medians of quiet ones in each sixth of the time:", looks.len());
    let row = |name: &str, what: &dyn Fn(&Look) -> Option<f64>| {
        let sixths: Vec<f64> = (0..6).map(|sixth| of_sixth(looks, sixth, what)).collect();
        let shown: Vec<String> = sixths.iter().map(|value| format!("{value:>8.2}")).collect();
        println!("  {name:<24}{}", shown.join(""));
        (sixths[1], sixths[5])
    };
    let memory = row("memory, MB", &|look| Some(look.memory));
    let descriptors = row("descriptors", &|look| Some(look.descriptors));
    let median = row("median of logins, ms", &|look| look.median);
    let _ = row("p99 of logins, ms", &|look| look.p99);
    // What is not a number is not flat.
    memory.1 < memory.0 + GROWTH && descriptors.1 <= descriptors.0 + 16.0 && median.1 <= median.0 * 2.0
}

fn main() -> ExitCode {
    let (mut minutes, mut plot, mut benches) = (60, None, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => benches = true,
            "--test" => {}
            "--minutes" => minutes = arguments.next().and_then(|number| number.parse().ok()).unwrap_or(minutes),
            "--plot" => plot = arguments.next().map(PathBuf::from),
            other => {
                println!("soak: {other} is nothing known here\nusage: soak [--minutes N] [--plot FILE]");
                return ExitCode::FAILURE;
            }
        }
    }
    let plan = Plan {
        length: Duration::from_secs(minutes * 60),
        guests: if benches { 300 } else { 30 },
        is_smoke: !benches,
        plot,
    };
    rustls::crypto::aws_lc_rs::default_provider().install_default().expect("the first");
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    if runtime.block_on(run(&plan)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
