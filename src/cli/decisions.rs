//! `spotgate decisions`.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::daemon::with_daemon;
use crate::cli::table::{count, or_dash, table};
use crate::cli::{print, to_json};
use crate::config::Scope;
use crate::core::ident::Mac;
use crate::http::decisions::{DecisionAnswer, DecisionsAnswer};
use crate::words::clock;

#[derive(Debug, clap::Args)]
pub(super) struct DecisionsArguments {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/spotgate/spotgate.toml")]
    config: PathBuf,
    /// Only those with this access code; the configuration must have a key with the scope admin
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// Only those of this device
    #[arg(long, value_name = "MAC")]
    mac: Option<Mac>,
    /// Only those denied for this reason (expired, unknown_code, ...); none: only those allowed
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// How many, newest first
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &DecisionsArguments) -> ExitCode {
    let scopes: &[Scope] = if arguments.code.is_some() { &[Scope::Read, Scope::Admin] } else { &[Scope::Read] };
    let mut query = vec![("limit", arguments.limit.to_string())];
    query.extend(arguments.code.iter().map(|code| ("code", code.clone())));
    query.extend(arguments.mac.iter().map(|mac| ("mac", mac.to_string())));
    query.extend(arguments.reason.iter().map(|reason| ("reason", reason.clone())));
    with_daemon(&arguments.config, scopes, async |daemon| {
        let answer: DecisionsAnswer = daemon.ask_with("/v1/decisions", &query).await?;
        print(&if arguments.json { to_json(&answer) } else { shown(&answer.decisions) });
        Ok(())
    })
}

fn shown(decisions: &[DecisionAnswer]) -> String {
    let row = |decision: &DecisionAnswer| {
        let DecisionAnswer { at, via, nas, mac, code, decision, reason, session_timeout, .. } = decision.clone();
        let at = at.strftime("%Y-%m-%d %H:%M:%S").to_string();
        [at, via, nas, or_dash(mac), or_dash(code), decision, or_dash(reason), or_dash(session_timeout.map(clock))]
    };
    let head = ["AT (UTC)", "VIA", "NAS", "MAC", "CODE", "DECISION", "REASON", "FOR"];
    table(head, decisions.iter().map(row)) + &count(decisions.len(), "decision")
}
