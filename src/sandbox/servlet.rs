//! The language of the pages that a RouterOS hotspot serves (facts/hotspot.md §5.1): `$(name)`, `$(name-esc)` and
//! `$(if …) $(elif …) $(else) $(endif)`, where a condition on `http-status` or `http-header` asks nothing but sets it.
//!
//! What the manual leaves open is taken so: a name that nobody knows is empty; values are printed as they are; what opens
//! like a variable but is none (`$('#id')`) is text; a condition that is never closed ends with the page, and `$(else)` or
//! `$(endif)` without one prints nothing.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

/// What a page has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// The status it sets, and the words after it; the last one counts.
    pub status: Option<(u16, String)>,
    /// The headers it sets, in order; the last of a name counts.
    pub headers: Vec<(String, String)>,
    /// All else.
    pub body: String,
}

impl Printed {
    /// The most that is printed, in octets, status and headers included. What would come after is left out.
    pub const MOST: usize = 256 * 1024;
}

/// Prints a page. `value` knows the variables.
pub fn print(page: &str, value: impl Fn(&str) -> Option<String>) -> Printed {
    let value = |name: &str| match value(name) {
        Some(value) => value,
        None => name.strip_suffix("-esc").and_then(&value).map(|plain| escaped(&plain)).unwrap_or_default(),
    };
    let mut printer = Printer { printed: Printed::default(), open: Vec::new(), left: Printed::MOST };
    let mut rest = page;
    while let Some((text, after)) = rest.split_once("$(") {
        printer.text(text);
        rest = match directive(after) {
            Some((directive, after)) => {
                printer.obey(&directive, value);
                after
            }
            None => {
                printer.text("$(");
                after
            }
        };
    }
    printer.text(rest);
    while !printer.open.is_empty() {
        printer.close();
    }
    printer.printed
}

/// For a part of a query: `123&456=1 2` becomes `123%26456%3D1+2`.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b' ' => escaped.push('+'),
            b'-' | b'.' | b'_' => escaped.push(char::from(octet)),
            _ if octet.is_ascii_alphanumeric() => escaped.push(char::from(octet)),
            _ => {
                let _ = write!(escaped, "%{octet:02X}");
            }
        }
    }
    escaped
}

/// What stands between `$(` and `)`.
#[derive(Debug, PartialEq, Eq)]
enum Directive<'a> {
    Value(&'a str),
    If(Condition<'a>),
    Elif(Condition<'a>),
    Else,
    EndIf,
}

#[derive(Debug, PartialEq, Eq)]
struct Condition<'a> {
    name: &'a str,
    test: Test<'a>,
}

#[derive(Debug, PartialEq, Eq)]
enum Test<'a> {
    Given,
    Is(&'a str),
    IsNot(&'a str),
}

/// The directive that a text begins with, and what follows it.
fn directive(text: &str) -> Option<(Directive<'_>, &str)> {
    let (word, rest) = name(text.trim_start())?;
    let (directive, rest) = match word {
        "if" => condition(rest).map(|(condition, rest)| (Directive::If(condition), rest))?,
        "elif" => condition(rest).map(|(condition, rest)| (Directive::Elif(condition), rest))?,
        "else" => (Directive::Else, rest),
        "endif" => (Directive::EndIf, rest),
        _ => (Directive::Value(word), rest),
    };
    Some((directive, rest.trim_start().strip_prefix(')')?))
}

fn name(text: &str) -> Option<(&str, &str)> {
    let of_name = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let end = text.find(|letter| !of_name(letter)).unwrap_or(text.len());
    text.split_at_checked(end).filter(|(name, _)| !name.is_empty())
}

fn condition(text: &str) -> Option<(Condition<'_>, &str)> {
    let (name, rest) = name(text.trim_start())?;
    let after = rest.trim_start();
    let (test, rest) = if let Some(after) = after.strip_prefix("==") {
        literal(after).map(|(value, rest)| (Test::Is(value), rest))?
    } else if let Some(after) = after.strip_prefix("!=") {
        literal(after).map(|(value, rest)| (Test::IsNot(value), rest))?
    } else {
        (Test::Given, rest)
    };
    Some((Condition { name, test }, rest))
}

/// A value in quotes of either kind, or without up to the bracket.
fn literal(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    for quote in ['"', '\''] {
        if let Some(quoted) = text.strip_prefix(quote) {
            return quoted.split_once(quote);
        }
    }
    text.find(')').and_then(|end| text.split_at_checked(end)).map(|(value, rest)| (value.trim_end(), rest))
}

struct Printer {
    printed: Printed,
    open: Vec<Open>,
    /// How much more may be printed, in octets.
    left: usize,
}

/// A condition that is not closed.
struct Open {
    /// Whether what comes now is printed.
    shown: bool,
    /// Whether a later branch may still be printed.
    may: bool,
    /// What the text of this branch is for, if not for whatever stands around.
    sets: Option<Sets>,
    /// That text.
    text: String,
    /// Which open condition takes what is printed here; none: the body.
    into: Option<usize>,
}

enum Sets {
    Status(u16),
    Header(String),
    /// A status that is none.
    Nothing,
}

impl Printer {
    fn text(&mut self, text: &str) {
        if !self.open.last().is_none_or(|open| open.shown) {
            return;
        }
        let mut most = text.len().min(self.left);
        while !text.is_char_boundary(most) {
            most -= 1;
        }
        // Nothing follows what had to be cut.
        self.left = if most < text.len() { 0 } else { self.left - most };
        let text = text.get(..most).unwrap_or_default();
        let taker = self.open.last().and_then(|open| open.into).and_then(|into| self.open.get_mut(into));
        taker.map_or(&mut self.printed.body, |taker| &mut taker.text).push_str(text);
    }

    fn obey(&mut self, directive: &Directive<'_>, value: impl Fn(&str) -> String) {
        match directive {
            Directive::Value(name) => {
                if self.open.last().is_none_or(|open| open.shown) {
                    self.text(&value(name));
                }
            }
            Directive::If(condition) => {
                let around = self.open.last().is_none_or(|open| open.shown);
                let into = self.open.last().and_then(|open| open.into);
                self.open.push(Open { shown: false, may: around, sets: None, text: String::new(), into });
                self.branch(condition, value);
            }
            Directive::Elif(condition) => {
                self.conclude();
                self.branch(condition, value);
            }
            Directive::Else => {
                self.conclude();
                if let Some(open) = self.open.last_mut() {
                    open.shown = open.may;
                    open.may = false;
                }
            }
            Directive::EndIf => self.close(),
        }
    }

    /// A branch of the innermost condition begins.
    fn branch(&mut self, condition: &Condition<'_>, value: impl Fn(&str) -> String) {
        let number = self.open.len().wrapping_sub(1);
        let Some(open) = self.open.last_mut() else { return };
        open.shown = false;
        if !open.may {
            return;
        }
        let sets = match (condition.name, &condition.test) {
            ("http-status", Test::Is(code)) => {
                let code = code.parse().ok().filter(|code| (100..1000).contains(code));
                Some(code.map_or(Sets::Nothing, Sets::Status))
            }
            ("http-header", Test::Is(name)) => Some(Sets::Header((*name).to_owned())),
            _ => None,
        };
        open.shown = sets.is_some()
            || match condition.test {
                Test::Given => !value(condition.name).is_empty(),
                Test::Is(expected) => value(condition.name) == expected,
                Test::IsNot(expected) => value(condition.name) != expected,
            };
        open.may = !open.shown;
        if sets.is_some() {
            open.into = Some(number);
            open.sets = sets;
        }
    }

    /// A branch of the innermost condition ends.
    fn conclude(&mut self) {
        let around = self.open.len().checked_sub(2).and_then(|around| self.open.get(around)).and_then(|open| open.into);
        let Some(open) = self.open.last_mut() else { return };
        open.shown = false;
        open.into = around;
        let text = std::mem::take(&mut open.text);
        match open.sets.take() {
            Some(Sets::Status(code)) => self.printed.status = Some((code, text)),
            Some(Sets::Header(name)) => self.printed.headers.push((name, text)),
            Some(Sets::Nothing) | None => {}
        }
    }

    fn close(&mut self) {
        self.conclude();
        self.open.pop();
    }
}
