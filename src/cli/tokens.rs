//! `spotgate tokens`: one access token as the running daemon holds it.

use std::path::PathBuf;
use std::process::ExitCode;

use reqwest::Method;

use crate::cli::daemon::{Daemon, with_daemon};
use crate::cli::{print, sessions, to_json};
use crate::config::Scope;
use crate::http::tokens::TokenAnswer;

#[derive(Debug, clap::Args)]
pub(super) struct TokensArguments {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/spotgate/spotgate.toml")]
    config: PathBuf,
    /// The access code
    #[arg(value_name = "CODE")]
    code: String,
    /// Read it again from its source first
    #[arg(long)]
    refresh: bool,
    /// Have its time start from its MinutesLeft again: what was used so far is not subtracted any more
    #[arg(long)]
    forget_usage: bool,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &TokensArguments) -> ExitCode {
    let changes = arguments.refresh || arguments.forget_usage;
    let scopes: &[Scope] = if changes { &[Scope::Admin, Scope::Read] } else { &[Scope::Read] };
    with_daemon(&arguments.config, scopes, async |daemon| {
        if arguments.forget_usage {
            daemon.tell(Method::POST, &path(&arguments.code, "/forget-usage")?).await?;
        }
        let token = fetch(daemon, arguments).await?;
        print(&if arguments.json { to_json(&token) } else { shown(&token) });
        Ok(())
    })
}

async fn fetch(daemon: &Daemon<'_>, arguments: &TokensArguments) -> Result<TokenAnswer, String> {
    let (method, end) = if arguments.refresh { (Method::POST, "/refresh") } else { (Method::GET, "") };
    daemon.ask(method, &path(&arguments.code, end)?, None).await
}

/// The code as one segment of a path.
fn path(code: &str, end: &str) -> Result<String, String> {
    let mut url = reqwest::Url::parse("http://localhost/v1/tokens/").map_err(|error| error.to_string())?;
    url.path_segments_mut().map_err(|()| "no path".to_owned())?.pop_if_empty().push(code);
    Ok(format!("{}{end}", url.path()))
}

fn shown(answer: &TokenAnswer) -> String {
    let token = &answer.token;
    let text = |value: Option<String>| value.unwrap_or_else(|| "not set".to_owned());
    let number = |value: Option<i64>| text(value.map(|value| value.to_string()));
    let moment = |value: Option<jiff::Timestamp>| text(value.map(|at| at.strftime("%Y-%m-%d %H:%M UTC").to_string()));
    let lines = [
        ("code", token.access_code.clone()),
        ("token", token.id.to_string()),
        ("location", number(token.business_id)),
        ("valid from", moment(token.valid_from)),
        ("valid to", moment(token.valid_to)),
        ("minutes included", number(token.minutes_included)),
        ("minutes left there", number(token.minutes_left)),
        ("user limit", number(token.user_limit)),
        ("devices", text(token.mac_address.clone())),
        ("time left", answer.minutes_left.map_or_else(|| "no limit".to_owned(), |left| format!("{left} minutes"))),
        ("used, not in it", format!("{} s", answer.usage_seconds)),
        ("not written back", format!("{} s", answer.unwritten_seconds)),
        ("read from source", moment(answer.fetched_at)),
    ];
    let lines: String = lines.iter().map(|(name, value)| format!("{name:<19}{value}\n")).collect();
    format!("{lines}\n{}", sessions::shown(&answer.sessions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_one_segment_whatever_stands_in_it() {
        assert_eq!(path("a/b ?#", "/refresh").unwrap(), "/v1/tokens/a%2Fb%20%3F%23/refresh");
    }
}
