//! Whether the operator's desk stays quick with 10 000 sessions, and whether reloading loses a login.
//!
//! `cargo bench --bench desk`; less than that, to see that it runs, without `--bench` (`cargo test --bench desk`).
//!
//! Logins go out at a fixed rate, each at its moment, from many sockets, each of which waits for its answer and repeats nothing: what
//! is not answered in two seconds is lost. The generator shares the machine's cores with the daemon.

#![expect(clippy::expect_used, reason = "a bench")]

#[path = "daemon.rs"]
mod daemon;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use daemon::{Daemon, Load, Outcome, SECRET, TOKENS, now};
use spotgate::sandbox::hotspot::Hotspot;

/// Logins a second while it reloads.
const LOGINS: u32 = 5000;
const LANES: u32 = 100;

const DESK: &str = "[admin]\npassword = \"a long lemonade\"";

fn main() {
    let whole = std::env::args().any(|argument| argument == "--bench");
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(measure(whole));
}

async fn measure(whole: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(folder.path(), DESK);
    daemon.answers().await;
    let hotspot = Arc::new(Hotspot::new(daemon.auth, SECRET.as_bytes(), "front-desk"));
    let sessions = if whole { TOKENS } else { 500 };
    // One login of each token, from one to the next.
    let load =
        |rate: u32, lanes: u32, phase: Duration| Load { rate, lanes, begin: now() + Duration::from_millis(50), phase };
    let seconds = u64::try_from(sessions).expect("a number") / 500;
    let admitted = all(load(500, 10, Duration::from_secs(seconds)), &daemon, &hotspot).await;
    println!("{} sessions admitted, {} lost", admitted.latencies.len(), admitted.lost);
    pages(&daemon, if whole { 101 } else { 5 }).await;
    let (times, rate) = if whole { (100, LOGINS) } else { (3, 200) };
    reloads(&daemon, &hotspot, folder.path(), times, rate).await;
}

async fn all(load: Load, daemon: &Daemon, hotspot: &Arc<Hotspot>) -> Outcome {
    let mut sent = tokio::task::JoinSet::new();
    for lane in 0..load.lanes {
        let first = usize::try_from(lane).expect("a number");
        sent.spawn(daemon::logins(load, lane, daemon.auth, Arc::clone(hotspot), first));
    }
    sent.join_all().await.into_iter().fold(Outcome::default(), Outcome::join)
}

fn client() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    client.redirect(reqwest::redirect::Policy::none()).build().expect("a client")
}

/// Asks for each page so often, one after another.
async fn pages(daemon: &Daemon, times: usize) {
    let client = client();
    let at = |path: &str| format!("http://{}{path}", daemon.http);
    let form = [("password", "a long lemonade")];
    let signed_in = client.post(at("/admin/sign-in")).form(&form).send().await.expect("an answer");
    let cookie = signed_in.headers().get("set-cookie").expect("a cookie").to_str().expect("text").to_owned();
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    for path in [
        "/admin",
        "/admin/sessions",
        "/admin/sessions?q=3c:06:30:00:00:4",
        "/admin/decisions",
        "/admin/tokens",
        "/admin/routers",
    ] {
        let (mut outcome, cpu, mut octets) = (Outcome::default(), daemon.cpu(), 0);
        for _ in 0..times {
            let begun = now();
            let answer = client.get(at(path)).header("cookie", &cookie).send().await.expect("an answer");
            assert_eq!(answer.status(), 200);
            octets = answer.bytes().await.expect("a page").len();
            outcome.latencies.push(begun.elapsed().as_secs_f64());
        }
        let outcome = outcome.join(Outcome::default());
        let cpu = (daemon.cpu() - cpu) * 1e3 / f64::from(u32::try_from(times).expect("a number"));
        println!(
            "{path:36} p50 {:6.2} ms  p99 {:6.2} ms  CPU {cpu:5.1} ms  {octets} octets",
            outcome.at(500),
            outcome.at(990)
        );
    }
}

/// Reloads so often, five times a second, while guests log in.
async fn reloads(daemon: &Daemon, hotspot: &Arc<Hotspot>, folder: &Path, times: u32, rate: u32) {
    let path = folder.join("spotgate.toml");
    let text = fs::read_to_string(&path).expect("a file");
    let (step, id) = (Duration::from_millis(200), daemon.id().to_string());
    let load = Load { rate, lanes: LANES, begin: now() + Duration::from_millis(50), phase: step * (times + 2) };
    let reloading = async {
        tokio::time::sleep(step).await;
        for nth in 0..times {
            // Another policy, other pages, and another key each time.
            let other = format!(
                "{text}\n[policy]\ninterim_interval = \"{}s\"\n[[http.api_key]]\nname = \"k{nth}\"\nkey = \"a-key-{nth}-for-a-bench\"\nscopes = [\"read\"]\n",
                300 + nth
            );
            fs::write(&path, other).expect("a file");
            assert!(Command::new("kill").args(["-HUP", &id]).status().expect("kill").success());
            tokio::time::sleep(step).await;
        }
    };
    let (outcome, ()) = tokio::join!(all(load, daemon, hotspot), reloading);
    let metrics = client().get(format!("http://{}/metrics", daemon.metrics)).send().await.expect("an answer");
    let metrics = metrics.text().await.expect("text");
    let done =
        metrics.lines().find(|line| line.starts_with("spotgate_reloads_total{result=\"done\"}")).unwrap_or("none");
    println!(
        "{times} reloads under {rate} logins/s: {} answered, {} lost; p50 {:.2} ms, p99 {:.2} ms; {done}",
        outcome.latencies.len(),
        outcome.lost,
        outcome.at(500),
        outcome.at(990)
    );
    assert_eq!(outcome.lost, 0, "a login was lost");
    assert!(done.ends_with(&format!("}} {times}")), "each reload was done: {done}");
}
