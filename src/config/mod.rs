//! The configuration file: TOML as written, read into [`Settings`] or into a [`Report`] of every mistake.
//!
//! `reader.rs` gives typed access to the parsed text and notes mistakes; `values.rs` and `secrets.rs` know what values
//! mean, `file.rs`, `network.rs` and `ironwifi.rs` which keys there are; `excerpt.rs` decides which lines a report may show.

mod bandwidth;
mod excerpt;
mod file;
mod ironwifi;
mod keys;
mod network;
pub mod passwords;
mod reader;
mod report;
mod secrets;
mod settings;
#[cfg(test)]
mod tests;
mod values;

use std::path::Path;

pub use bandwidth::Bandwidth;
pub use report::{Excerpt, Place, Problem, Report, Severity};
pub use settings::*;
use toml::de::{DeTable, Error};

use self::reader::{Finding, Reader};

/// Where `${NAME}` is taken from.
type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub settings: Settings,
    /// What is doubtful about it; often empty.
    pub warnings: Report,
}

/// Reads the file at `path`. `env` answers for environment variables, usually `|name| std::env::var(name).ok()`.
///
/// # Errors
/// Every mistake of the file at once, warnings among them.
pub fn load(path: &Path, env: Env<'_>) -> Result<Loaded, Report> {
    let bytes = std::fs::read(path).map_err(|error| {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "name another file with --config FILE; config/minimal.toml shows the least there must be"
            }
            std::io::ErrorKind::PermissionDenied => "let the user that runs spotgate read it, e.g. with chown or chmod",
            _ => "name a configuration file with --config FILE",
        };
        Report::of_file(path, format!("the configuration cannot be read: {error}"), help.to_owned())
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let sound = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(sound).filter(|byte| **byte == b'\n').count() + 1;
        let message = format!("line {line} is not UTF-8 text");
        Report::of_file(path, message, "save the file as UTF-8".to_owned())
    })?;
    read(&text, path, env, secrets::is_open(path))
}

/// Reads `text` as if it were the file at `path`, where relative paths start.
///
/// # Errors
/// As [`load`].
pub fn from_str(text: &str, path: &Path, env: Env<'_>) -> Result<Loaded, Report> {
    read(text, path, env, false)
}

fn read(text: &str, path: &Path, env: Env<'_>, is_open: bool) -> Result<Loaded, Report> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(syntax(text, path, &errors));
    }
    let reader = Reader::new(text, env, values::folder_of(path).to_owned());
    let settings = file::settings(&reader, table.get_ref());
    let holds_secret = reader.holds_secret.get();
    let mut findings = reader.findings.take();
    let source = excerpt::Source::parsed(text, table.get_ref(), reader.public.take(), reader.secrets.take());
    findings.sort_by_key(|finding| finding.at.as_ref().map_or(usize::MAX, |at| at.start));
    let mut problems: Vec<Problem> = Vec::new();
    for Finding { severity, at, message, help } in findings {
        let place = at.map(|span| source.place(&span));
        let problem = Problem { severity, place, message, help };
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    let mut report = Report::new(path, problems);
    if is_open && holds_secret {
        let message = "others on this host can read this file, which holds a secret".to_owned();
        let help = "take their rights away with chmod 600, or put the secret into a file of its own".to_owned();
        report.push(Problem { severity: Severity::Warning, place: None, message, help });
    }
    match settings {
        Some(settings) if report.errors() == 0 => Ok(Loaded { settings, warnings: report }),
        _ => Err(report),
    }
}

/// What makes a text no TOML: the first mistake of each line. What the file means is looked at once it is TOML.
fn syntax(text: &str, path: &Path, errors: &[Error]) -> Report {
    let source = excerpt::Source::broken(text);
    let mut problems: Vec<Problem> = Vec::new();
    for error in errors {
        let place = error.span().map(|span| source.place(&span));
        let line = |place: &Option<Place>| place.as_ref().map(|place| place.line);
        if problems.iter().any(|problem| line(&problem.place) == line(&place)) {
            continue;
        }
        let words = match error.message() {
            // What the parser makes of `key = text`.
            message if message.starts_with("invalid boolean") => {
                "a value is neither true nor false, nor text in quotes"
            }
            message => message,
        };
        let message = format!("this is not TOML: {words}");
        problems.push(Problem { severity: Severity::Error, place, message, help: remedy(error.message()).to_owned() });
    }
    problems.sort_by_key(|problem| problem.place.as_ref().map_or((usize::MAX, 0), |place| (place.line, place.column)));
    Report::new(path, problems)
}

/// What to write instead, by the parser's words.
fn remedy(message: &str) -> &'static str {
    if message.contains("duplicate key") {
        "give each key once in its section, and each [section] once in the file"
    } else if message.contains("table") {
        "write a section as [name], and one of several as [[name]], alone on its line"
    } else if message.contains("string") || message.contains("quote") || message.contains('"') {
        "put text between two double quotes on one line: key = \"text\""
    } else if message.contains("array") {
        "write a list as key = [\"one\", \"two\"]"
    } else if message.contains("key") {
        "write each line as key = value"
    } else {
        "write each line as key = value, with text in double quotes: key = \"text\""
    }
}
