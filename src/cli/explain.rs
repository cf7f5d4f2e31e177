//! `spotgate explain`: decides without admitting, by the running daemon if there is one, which knows who is online; else
//! alone, on the source and the rules.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::cli::{block_on, complain, load, print};
use crate::clock::Clock;
use crate::config::{self, ApiKey, Scope, Settings};
use crate::core::decide::Reason;
use crate::core::ident::{Code, Mac};
use crate::core::login::{Claim, Login, Proof};
use crate::core::policy::NasRules;
use crate::gate::{Via, Visit};
use crate::http::authorize::{AuthorizeAnswer, CheckAnswer};
use crate::live::Live;
use crate::serve;
use crate::source::file;
use crate::state::StateFile;

/// How long a running daemon may take to be found, and to answer.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(35);

/// Nothing could be decided.
const UNDECIDED: u8 = 1;

/// Denied.
const DENIED: u8 = 3;

#[derive(Debug, clap::Args)]
pub(super) struct ExplainArguments {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/spotgate/spotgate.toml")]
    config: PathBuf,
    /// An access code, or a device's MAC address for a MAC login
    #[arg(value_name = "CODE_OR_MAC")]
    claim: String,
    /// The device that types the code
    #[arg(long, value_name = "MAC")]
    mac: Option<Mac>,
    /// The NAS whose rules apply; needed where several are configured
    #[arg(long, value_name = "NAME")]
    nas: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &ExplainArguments) -> ExitCode {
    let settings = match load(&arguments.config) {
        Ok(loaded) => loaded.settings,
        Err(report) => {
            complain(&report.to_string());
            return ExitCode::from(UNDECIDED);
        }
    };
    let answer = block_on(async {
        match ask_daemon(arguments, &settings).await {
            Some(answer) => Ok(answer),
            None => alone(arguments, settings).await,
        }
    });
    match answer {
        Ok(Ok(answer)) => show(&answer, arguments.json),
        Ok(Err(error)) => {
            complain(&format!("spotgate: {error}"));
            ExitCode::from(UNDECIDED)
        }
        Err(code) => code,
    }
}

/// Asks the daemon that runs under this configuration; `None` if there is none that answers.
async fn ask_daemon(arguments: &ExplainArguments, settings: &Settings) -> Option<AuthorizeAnswer> {
    let key: &ApiKey = settings.http.api_keys.iter().find(|key| key.scopes.contains(&Scope::Authorize))?;
    let scheme = if settings.http.tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}/v1/authorize", reachable(*settings.http.listen.first()?));
    let device = arguments.claim.parse::<Mac>().ok();
    let question = json!({
        "access_code": device.is_none().then_some(&arguments.claim),
        "mac": device.or(arguments.mac).map(|mac| mac.to_string()),
        "nas": arguments.nas,
        "dry_run": true,
    });
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_WITHIN)
        .timeout(ANSWER_WITHIN)
        .build()
        .ok()?;
    let answer = client.post(url).bearer_auth(key.key.expose_secret()).json(&question).send().await.ok()?;
    answer.error_for_status().ok()?.json().await.ok()
}

/// The address by which this machine reaches its own listening socket.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let address = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    };
    SocketAddr::new(address, listen.port())
}

/// Decides without a daemon: nobody is online as far as is known here.
async fn alone(arguments: &ExplainArguments, settings: Settings) -> Result<AuthorizeAnswer, String> {
    let clock = Clock::system();
    // A sign-in of its own, so that the daemon's stays good.
    let state = Arc::new(StateFile::forgetful());
    let gate = serve::gate(&settings, &state, &clock).map_err(|error| error.to_string())?;
    if let config::Source::File(file) = &settings.source {
        serve::take(file::load(file), &gate);
    }
    let live = Live::new(settings);
    let nas = nas(&live, arguments.nas.as_deref())?;
    let (claim, device) = match arguments.claim.parse::<Mac>() {
        Ok(device) => (Claim::Device(device), Some(device)),
        Err(_) => (Claim::Code(Code::parse(&arguments.claim).map_err(|error| error.to_string())?), arguments.mac),
    };
    let login =
        Login { claim, typed: arguments.claim.as_bytes(), proof: Proof::NotAsked, device, ip: None, nas_session: None };
    let visit = Visit { dry_run: true, ..live.visit(&login, nas, Via::Http, clock.now().mono) };
    let mut checks = Vec::new();
    let answer = gate.answer(&visit, &mut checks).await;
    let spoken = AuthorizeAnswer::new(&answer, &live.settings.policy, live.settings.time_zone(), gate.clock.now().wall);
    Ok(AuthorizeAnswer { checks: Some(checks.into_iter().map(CheckAnswer::from).collect()), ..spoken })
}

fn nas<'a>(live: &'a Live, name: Option<&str>) -> Result<&'a NasRules, String> {
    let names = || {
        let names: Vec<_> = live.settings.nas.iter().map(|nas| nas.name().as_str()).collect();
        names.join(", ")
    };
    match name {
        Some(name) => live.nas(name).ok_or_else(|| format!("no NAS is called {name}; there are: {}", names())),
        None => live
            .default_nas(None)
            .ok_or_else(|| format!("several NASes are configured; add --nas with one of: {}", names())),
    }
}

fn show(answer: &AuthorizeAnswer, as_json: bool) -> ExitCode {
    if as_json {
        print(&format!("{}\n", serde_json::to_string_pretty(answer).unwrap_or_default()));
    } else {
        print(&words(answer));
    }
    let undecided = answer.reason.as_deref() == Some(Reason::SourceUnavailable.as_str());
    match answer.decision.as_str() {
        "allow" => ExitCode::SUCCESS,
        _ if undecided => ExitCode::from(UNDECIDED),
        _ => ExitCode::from(DENIED),
    }
}

fn words(answer: &AuthorizeAnswer) -> String {
    let mut lines: Vec<String> = answer
        .checks
        .iter()
        .flatten()
        .map(|check| format!("{} {:<12} {}", if check.ok { "ok  " } else { "FAIL" }, check.check, check.detail))
        .collect();
    lines.push(match (&answer.reason, answer.session_timeout) {
        (Some(reason), _) => format!("\ndeny: {reason}\n{}", answer.message),
        (None, Some(seconds)) => format!("\nallow for {seconds} s\n{}", answer.message),
        (None, None) => format!("\nallow\n{}", answer.message),
    });
    lines.join("\n") + "\n"
}
