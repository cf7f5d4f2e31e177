//! `spotgate sessions` and `spotgate disconnect`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;

use crate::cli::daemon::Daemon;
use crate::cli::{block_on, complain, load, print};
use crate::config::{Scope, Settings};
use crate::core::ident::SessionId;
use crate::http::sessions::{EndingAnswer, SessionAnswer, SessionsAnswer};

/// How long the outcome of a disconnect is waited for: one exchange with a router that does not answer takes 7 s.
const OUTCOME_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(250);

#[derive(Debug, clap::Args)]
pub(super) struct SessionsArguments {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/spotgate/spotgate.toml")]
    config: PathBuf,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct DisconnectArguments {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/spotgate/spotgate.toml")]
    config: PathBuf,
    /// The session, as `spotgate sessions` names it
    #[arg(value_name = "SESSION")]
    session: SessionId,
}

pub(super) fn sessions(arguments: &SessionsArguments) -> ExitCode {
    with_daemon(&arguments.config, Scope::Read, async |daemon| {
        let answer: SessionsAnswer = daemon.ask(Method::GET, "/v1/sessions", None).await?;
        if arguments.json {
            print(&format!("{}\n", serde_json::to_string_pretty(&answer).unwrap_or_default()));
        } else {
            print(&table(&answer.sessions));
        }
        Ok(())
    })
}

pub(super) fn disconnect(arguments: &DisconnectArguments) -> ExitCode {
    let path = format!("/v1/sessions/{}", arguments.session);
    with_daemon(&arguments.config, Scope::Admin, async |daemon| {
        let mut session: SessionAnswer = daemon.ask(Method::DELETE, &path, None).await?;
        // Who may end a session need not be allowed to look at one: then what is known so far is said.
        let mut left = OUTCOME_WITHIN;
        while session.state == "disconnecting" && answer(&session).is_none() && !left.is_zero() {
            tokio::time::sleep(LOOK_EVERY).await;
            left = left.saturating_sub(LOOK_EVERY);
            let Ok(now) = daemon.ask(Method::GET, &path, None).await else { break };
            session = now;
        }
        print(&format!("{}\n", outcome(&session)));
        Ok(())
    })
}

fn answer(session: &SessionAnswer) -> Option<&str> {
    session.ending.as_ref().and_then(|ending| ending.answer.as_deref())
}

fn outcome(session: &SessionAnswer) -> String {
    let nas = &session.nas;
    let said = match (session.state.as_str(), session.ending.as_ref()) {
        ("ended", _) => format!("has ended, after {} s", session.seconds_used),
        (_, Some(EndingAnswer { answer: Some(answer), error_cause, .. })) => match (answer.as_str(), error_cause) {
            ("acked", _) => format!("is being ended: {nas} acknowledged it; its Stop is awaited"),
            ("refused", Some(cause)) => format!("goes on: {nas} refused with Error-Cause {cause}; it is told again"),
            ("refused", None) => format!("goes on: {nas} refused; it is told again"),
            _ => format!("goes on: {nas} does not answer; it is told again"),
        },
        _ => format!("must go; {nas} cannot be told, or has not answered yet"),
    };
    format!("{} {said}", session.session)
}

fn with_daemon(
    config: &std::path::Path,
    scope: Scope,
    talk: impl AsyncFnOnce(&Daemon<'_>) -> Result<(), String>,
) -> ExitCode {
    let settings: Settings = match load(config) {
        Ok(loaded) => loaded.settings,
        Err(report) => {
            complain(&report.to_string());
            return ExitCode::FAILURE;
        }
    };
    let outcome = block_on(async {
        let daemon = Daemon::find(&settings, scope).await.map_err(|nobody| nobody.to_string())?;
        talk(&daemon).await
    });
    match outcome {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            complain(&format!("spotgate: {error}"));
            ExitCode::FAILURE
        }
        Err(code) => code,
    }
}

fn table(sessions: &[SessionAnswer]) -> String {
    let none = || "-".to_owned();
    let head = ["SESSION", "STATE", "NAS", "MAC", "IP", "CODE", "SINCE (UTC)", "USED", "OF"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(sessions.iter().map(|session| {
        [
            session.session.clone(),
            session.state.clone(),
            session.nas.clone(),
            session.mac.clone().unwrap_or_else(none),
            session.ip.clone().unwrap_or_else(none),
            session.code.clone(),
            since(session.started_at),
            clock(session.seconds_used),
            clock(session.session_timeout),
        ]
    }));
    let widths: Vec<usize> = (0..head.len())
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let line = |row: &[String; 9]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    lines.push(match sessions.len() {
        1 => "1 session".to_owned(),
        count => format!("{count} sessions"),
    });
    lines.join("\n") + "\n"
}

fn since(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M").to_string()
}

/// Hours, minutes and seconds.
fn clock(seconds: u64) -> String {
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(state: &str, ending: Option<(Option<&str>, Option<u32>)>) -> SessionAnswer {
        let at: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        SessionAnswer {
            session: "01KE000000000000000000000A".to_owned(),
            nas: "front-desk".to_owned(),
            mac: Some("3C:06:30:AA:19:5F".to_owned()),
            ip: None,
            token_id: 1,
            code: "*****23".to_owned(),
            started_at: at,
            updated_at: at,
            ended_at: None,
            seconds_used: 3725,
            session_timeout: 86_400,
            input_octets: 0,
            output_octets: 0,
            state: state.to_owned(),
            ending: ending.map(|(answer, error_cause)| EndingAnswer {
                cause: "operator".to_owned(),
                since: at,
                tries: 1,
                answer: answer.map(str::to_owned),
                error_cause,
            }),
        }
    }

    #[test]
    fn a_table_for_people() {
        assert_eq!(
            table(&[session("online", None)]),
            "SESSION                     STATE   NAS         MAC                IP  CODE     SINCE (UTC)       USED     OF\n\
             01KE000000000000000000000A  online  front-desk  3C:06:30:AA:19:5F  -   *****23  2026-11-23 12:00  1:02:05  24:00:00\n\
             1 session\n"
        );
        assert!(table(&[]).ends_with("0 sessions\n"));
    }

    #[test]
    fn the_outcome_of_a_disconnect_in_words() {
        let said = |state, ending| outcome(&session(state, ending));
        let id = "01KE000000000000000000000A";
        assert_eq!(said("ended", None), format!("{id} has ended, after 3725 s"));
        assert!(said("disconnecting", Some((Some("acked"), None))).contains("acknowledged it; its Stop is awaited"));
        assert!(said("disconnecting", Some((Some("refused"), Some(404)))).contains("Error-Cause 404"));
        assert!(said("disconnecting", Some((Some("unanswered"), None))).contains("does not answer"));
        assert!(said("disconnecting", Some((None, None))).contains("cannot be told, or has not answered yet"));
    }
}
