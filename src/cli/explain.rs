//! `spotgate explain`: decides without admitting, by the running daemon if there is one, which knows who is online; else
//! alone, on the source and the rules, and says so.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use reqwest::Method;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::cli::daemon::{Daemon, Nobody};
use crate::cli::{block_on, complain, load, print, store, to_json};
use crate::clock::Clock;
use crate::config::{Scope, Settings};
use crate::core::decide::Reason;
use crate::core::ident::{Code, Mac};
use crate::core::login::{Claim, Login, Proof};
use crate::core::policy::NasRules;
use crate::feed::Feed;
use crate::gate::{Gate, Purpose, Via, Visit};
use crate::http::authorize::{AuthorizeAnswer, CheckAnswer};

use crate::live::Live;
use crate::state::StateFile;

/// Nothing could be decided.
const UNDECIDED: u8 = 1;

/// Denied.
const DENIED: u8 = 3;

#[derive(Debug, clap::Args)]
pub(super) struct ExplainArguments {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/spotgate/spotgate.toml")]
    config: PathBuf,
    /// An access code, or a device's MAC address for a MAC login; with --mac it is a code whatever it looks like
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
        let question = Question::of(arguments)?;
        match ask_daemon(&question, arguments.nas.as_deref(), &settings).await {
            Asked::Answer(answer) => Ok(*answer),
            Asked::Refused(why) => Err(format!("the running daemon did not answer: {why}")),
            Asked::Nobody => {
                complain(
                    "spotgate: no daemon answers under this configuration; decided without it, on what its ledger holds",
                );
                alone(&question, arguments.nas.as_deref(), settings).await
            }
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

/// What is asked.
struct Question<'a> {
    claim: Claim,
    typed: &'a str,
    device: Option<Mac>,
}

impl<'a> Question<'a> {
    fn of(arguments: &'a ExplainArguments) -> Result<Self, String> {
        let typed = arguments.claim.as_str();
        let (claim, device) = match (typed.parse::<Mac>(), arguments.mac) {
            (Ok(device), None) => (Claim::Device(device), Some(device)),
            (_, device) => (Claim::Code(Code::parse(typed).map_err(|error| error.to_string())?), device),
        };
        Ok(Self { claim, typed, device })
    }
}

/// What asking the daemon came to.
enum Asked {
    Answer(Box<AuthorizeAnswer>),
    /// It is there, and did not answer the question.
    Refused(String),
    /// It is not there, or no key may ask it.
    Nobody,
}

async fn ask_daemon(question: &Question<'_>, nas: Option<&str>, settings: &Settings) -> Asked {
    let daemon = match Daemon::find(settings, &[Scope::Authorize]).await {
        Ok(daemon) => daemon,
        Err(Nobody::NoKey(_) | Nobody::Silent) => return Asked::Nobody,
        Err(error) => return Asked::Refused(error.to_string()),
    };
    let body = json!({
        "access_code": matches!(question.claim, Claim::Code(_)).then_some(question.typed),
        "mac": question.device.map(|mac| mac.to_string()),
        "nas": nas,
        "dry_run": true,
    });
    match daemon.ask(Method::POST, "/v1/authorize", Some(&body)).await {
        Ok(answer) => Asked::Answer(Box::new(answer)),
        Err(why) => Asked::Refused(why),
    }
}

/// Decides without a daemon, on what its ledger holds, if it left one that this user may read.
async fn alone(question: &Question<'_>, nas: Option<&str>, settings: Settings) -> Result<AuthorizeAnswer, String> {
    let clock = Clock::system();
    // A sign-in of its own, so that the daemon's stays good.
    let state = Arc::new(StateFile::forgetful());
    let (metrics, stop) = (Arc::default(), CancellationToken::new());
    let feed = Feed::new(&settings, &state, &metrics, &clock, stop, None).map_err(|error| error.to_string())?;
    feed.read();
    let ledger = Arc::new(store::accounts(&settings).await?);
    let gate = Gate::new(Arc::clone(feed.supply()), ledger, metrics, clock.clone());
    let live = Live::new(settings).map_err(|error| error.to_string())?;
    let nas = self::nas(&live, nas)?;
    let login = Login {
        claim: question.claim.clone(),
        typed: question.typed.as_bytes(),
        proof: Proof::NotAsked,
        device: question.device,
        ip: None,
        router: None,
        nas_session: None,
    };
    let visit = Visit { purpose: Purpose::Explain, ..live.visit(&login, nas, Via::Http, clock.now().mono) };
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
        print(&to_json(answer));
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
