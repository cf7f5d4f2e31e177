//! What one check came to.

use std::fmt::Write as _;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Grade {
    /// As it should be; also what is not tried, and why.
    Ok,
    /// Guests get online, but perhaps not all, or not for long.
    Warn,
    /// It does not work.
    Fail,
}

/// What one check came to. `check` and `subject` are names that programs can rely on, the rest is for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    /// Which of several: a role, a location, a port, a NAS.
    pub(super) subject: Option<String>,
    pub(super) result: Grade,
    /// What came of it.
    pub(super) detail: String,
    /// What to do about it.
    pub(super) remedy: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, subject: None, result: Grade::Ok, detail: detail.into(), remedy: None }
    }

    pub(super) fn warn(check: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { result: Grade::Warn, remedy: Some(remedy.into()), ..Self::ok(check, detail) }
    }

    pub(super) fn fail(check: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { result: Grade::Fail, ..Self::warn(check, detail, remedy) }
    }

    /// The same about one of several.
    pub(super) fn about(self, subject: &impl ToString) -> Self {
        Self { subject: Some(subject.to_string()), ..self }
    }

    /// One line, without its end.
    pub(super) fn line(&self, colours: bool) -> String {
        let (word, colour) = match self.result {
            Grade::Ok => ("ok", 32),
            Grade::Warn => ("warn", 33),
            Grade::Fail => ("fail", 31),
        };
        let mut text = self.check.replace('_', " ");
        if let Some(subject) = &self.subject {
            let _ = write!(text, " {subject}");
        }
        let _ = write!(text, ": {}", self.detail);
        if let Some(remedy) = &self.remedy {
            let _ = write!(text, "; {remedy}");
        }
        // One line each, whatever a program elsewhere put into its words.
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if colours { format!("\x1b[{colour}m{word:<4}\x1b[0m {text}") } else { format!("{word:<4} {text}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_whatever_it_holds() {
        let finding = Finding::fail("sign_in", "no\nword \x1b[2J", "try again").about(&"a\rb");
        assert_eq!(finding.line(false), "fail sign in a b: no word  [2J; try again");
        assert_eq!(Finding::ok("clock", "right").line(true), "\x1b[32mok  \x1b[0m clock: right");
    }
}
