//! `spotgate sessions` and `spotgate disconnect`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use reqwest::Method;

use crate::cli::daemon::with_daemon;
use crate::cli::table::{count, or_dash, table};
use crate::cli::{print, to_json};
use crate::config::Scope;
use crate::core::ident::SessionId;
use crate::http::sessions::{SessionAnswer, SessionsAnswer};
use crate::words::clock;

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
    with_daemon(&arguments.config, &[Scope::Read], async |daemon| {
        let answer: SessionsAnswer = daemon.ask(Method::GET, "/v1/sessions", None).await?;
        print(&if arguments.json { to_json(&answer) } else { shown(&answer.sessions) });
        Ok(())
    })
}

pub(super) fn disconnect(arguments: &DisconnectArguments) -> ExitCode {
    let path = format!("/v1/sessions/{}", arguments.session);
    with_daemon(&arguments.config, &[Scope::Admin], async |daemon| {
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
    format!("{} {}", session.session, session.ending_in_words())
}

/// A table of sessions.
pub(super) fn shown(sessions: &[SessionAnswer]) -> String {
    let row = |session: &SessionAnswer| {
        [
            session.session.clone(),
            session.state.clone(),
            session.nas.clone(),
            or_dash(session.mac.clone()),
            or_dash(session.ip.clone()),
            session.code.clone(),
            session.started_at.strftime("%Y-%m-%d %H:%M").to_string(),
            clock(session.seconds_used),
            clock(session.session_timeout),
        ]
    };
    let head = ["SESSION", "STATE", "NAS", "MAC", "IP", "CODE", "SINCE (UTC)", "USED", "OF"];
    table(head, sessions.iter().map(row)) + &count(sessions.len(), "session")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::sessions::EndingAnswer;
    use jiff::Timestamp;

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
            shown(&[session("online", None)]),
            "SESSION                     STATE   NAS         MAC                IP  CODE     SINCE (UTC)       USED     OF\n\
             01KE000000000000000000000A  online  front-desk  3C:06:30:AA:19:5F  -   *****23  2026-11-23 12:00  1:02:05  24:00:00\n\
             1 session\n"
        );
        assert!(shown(&[]).ends_with("0 sessions\n"));
    }

    #[test]
    fn the_outcome_of_a_disconnect_in_words() {
        let said = |state, ending| outcome(&session(state, ending));
        let id = "01KE000000000000000000000A";
        assert_eq!(said("ended", None), format!("{id} has ended, after 3725 s"));
        assert!(said("disconnecting", Some((Some("acked"), None))).contains("acknowledged it; its Stop is awaited"));
        assert!(said("disconnecting", Some((Some("refused"), Some(404)))).contains("Error-Cause 404"));
        assert!(said("disconnecting", Some((Some("unanswered"), None))).contains("does not answer"));
        let untold = said("disconnecting", Some((Some("unsendable"), None)));
        assert!(untold.contains("cannot be told") && !untold.contains("answer"), "{untold}");
        assert!(said("disconnecting", Some((None, None))).contains("cannot be told, or has not answered yet"));
    }
}
