//! `spotgate doctor`: tries the real things, beside the running daemon or without one, and says of each what came of it and
//! what to do. It changes nothing and holds nothing for longer than it looks.

mod clock;
mod finding;
mod ports;
mod routers;
mod source;
mod store;
mod web;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use self::finding::{Finding, Grade};
use crate::cli::{block_on, load, print};
use crate::clock::Clock;
use crate::config::{Problem, Report, Settings, Severity};

/// How long one check may take.
const WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct DoctorArguments {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/spotgate/spotgate.toml")]
    config: PathBuf,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &DoctorArguments) -> ExitCode {
    let findings = match load(&arguments.config) {
        Err(report) => of_report(&report),
        Ok(loaded) => {
            let mut findings = of_report(&loaded.warnings);
            if findings.is_empty() {
                findings.push(Finding::ok("configuration", format!("{} is fine", arguments.config.display())));
            }
            match block_on(examine(Arc::new(loaded.settings))) {
                Ok(more) => findings.extend(more),
                Err(code) => return code,
            }
            findings
        }
    };
    show(&findings, arguments.json);
    if findings.iter().any(|finding| finding.result == Grade::Fail) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Makes every check, as many at once as do not build on each other; the order of the findings is always the same.
async fn examine(settings: Arc<Settings>) -> Vec<Finding> {
    let clock = Clock::system();
    let running = ports::running(&settings).await;
    let source = Box::pin(source::examine(&settings, &clock));
    let mirror = store::mirror(&settings, clock.now().wall);
    let store = store::examine(&settings);
    let ports = ports::examine(&settings, running.is_some());
    let web = web::examine(&settings, clock.now().wall);
    let routers = routers::examine(&settings, &clock);
    let (source, mirror, store, ports, web, routers) = tokio::join!(source, mirror, store, ports, web, routers);
    let daemon = ports::daemon(running.as_ref());
    [source, mirror, daemon, store, ports, web, routers].into_iter().flatten().collect()
}

/// What `spotgate check` says, one finding each.
fn of_report(report: &Report) -> Vec<Finding> {
    report.problems().iter().map(of_problem).collect()
}

fn of_problem(problem: &Problem) -> Finding {
    let detail = match &problem.place {
        Some(place) => format!("line {}, column {}: {}", place.line, place.column, problem.message),
        None => problem.message.clone(),
    };
    let say = if problem.severity == Severity::Error { Finding::fail } else { Finding::warn };
    say("configuration", detail, problem.help.lines().map(str::trim).collect::<Vec<_>>().join(" "))
}

fn show(findings: &[Finding], as_json: bool) {
    if as_json {
        print(&format!("{}\n", serde_json::to_string_pretty(findings).unwrap_or_default()));
        return;
    }
    let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut text = String::new();
    for finding in findings {
        text.push_str(&finding.line(colours));
        text.push('\n');
    }
    print(&text);
}

/// Does what blocks, for as long as a check may take; none if it takes longer.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::time::timeout(WITHIN, tokio::task::spawn_blocking(work)).await.ok()?.ok()
}

/// A check that blocked for too long.
fn stuck(check: &'static str) -> Finding {
    let detail = format!("no answer within {} s", WITHIN.as_secs());
    Finding::fail(check, detail, "see whether the disk works, or the server that the folder is mounted from")
}
