//! `spotgate usage`: what was used and is not written back, from the ledger as it is, whether the daemon runs or not. What may
//! have been written and may not stands apart, so that nobody books it by hand a second time.

use std::path::PathBuf;
use std::process::ExitCode;

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::{complain, load, print, store};
use crate::clock::Clock;
use crate::core::ident::Code;
use crate::ledger::Usage;

/// What the columns mean, for `--help`.
const COLUMNS: &str = "\
unwritten_seconds and unwritten_minutes are what is not written back for sure. open_minutes is what may have been written or not:
an answer of Nexudus was lost, and with write_back on the daemon finds out by itself. Look at MinutesLeft and LastAccess before
you book these by hand.";

#[derive(Debug, clap::Args)]
#[command(after_help = COLUMNS)]
pub(super) struct UsageArguments {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/spotgate/spotgate.toml")]
    config: PathBuf,
    /// Print JSON rather than CSV
    #[arg(long)]
    json: bool,
}

/// A token of which something is not written back. The names are those of the columns.
#[derive(Debug, Serialize)]
struct Row<'a> {
    token_id: i64,
    code: Option<&'a str>,
    used_seconds: u64,
    unwritten_seconds: u64,
    unwritten_minutes: u64,
    last_used: Option<Timestamp>,
    open_minutes: u64,
}

impl<'a> From<&'a Usage> for Row<'a> {
    fn from(usage: &'a Usage) -> Self {
        Self {
            token_id: usage.token.0,
            code: usage.code.as_ref().map(Code::reveal),
            used_seconds: usage.used.0,
            unwritten_seconds: usage.unwritten.0,
            unwritten_minutes: usage.unwritten_minutes,
            last_used: usage.last_used.and_then(|at| Timestamp::from_second(at.as_second()).ok()),
            open_minutes: usage.open_minutes,
        }
    }
}

pub(super) fn run(arguments: &UsageArguments) -> ExitCode {
    let settings = match load(&arguments.config) {
        Ok(loaded) => loaded.settings,
        Err(report) => {
            complain(&report.to_string());
            return ExitCode::FAILURE;
        }
    };
    let (ledger, unreadable) = match store::ledger(&settings) {
        Ok(read) => read,
        Err(why) => {
            complain(&format!("spotgate: the ledger cannot be read: {why}"));
            return ExitCode::FAILURE;
        }
    };
    let mut usage = ledger.usage(&settings.policy, Clock::system().now().wall);
    usage.retain(|usage| usage.unwritten.0 > 0 || usage.open_minutes > 0);
    let rows: Vec<_> = usage.iter().map(Row::from).collect();
    if arguments.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&rows).unwrap_or_default()));
    } else {
        print(&csv(&rows));
    }
    if unreadable > 0 {
        complain(&format!("spotgate: {unreadable} records of the ledger could not be read, and are left out"));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// CSV as of RFC 4180, but for the ends of lines, which are the system's.
fn csv(rows: &[Row<'_>]) -> String {
    let mut lines =
        vec!["token_id,code,used_seconds,unwritten_seconds,unwritten_minutes,last_used,open_minutes".to_owned()];
    lines.extend(rows.iter().map(|row| {
        let Row { token_id, code, used_seconds, unwritten_seconds, unwritten_minutes, last_used, open_minutes } = row;
        let code = code.map(quoted).unwrap_or_default();
        let last_used = last_used.map(|at| at.to_string()).unwrap_or_default();
        format!("{token_id},{code},{used_seconds},{unwritten_seconds},{unwritten_minutes},{last_used},{open_minutes}")
    }));
    lines.join("\n") + "\n"
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_stays_in_its_column_whatever_is_in_it() {
        let row = |token_id, code| Row {
            token_id,
            code,
            used_seconds: 690,
            unwritten_seconds: 90,
            unwritten_minutes: 1,
            last_used: Timestamp::from_second(1_790_000_000).ok(),
            open_minutes: 3,
        };
        let rows = [row(1, Some("0042")), row(2, Some("a,\"b\"")), Row { last_used: None, ..row(3, None) }];
        assert_eq!(
            csv(&rows),
            "token_id,code,used_seconds,unwritten_seconds,unwritten_minutes,last_used,open_minutes\n\
             1,0042,690,90,1,2026-09-21T14:13:20Z,3\n\
             2,\"a,\"\"b\"\"\",690,90,1,2026-09-21T14:13:20Z,3\n\
             3,,690,90,1,,3\n"
        );
    }
}
