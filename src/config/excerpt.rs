//! Lines of the file for a report, with every secret taken out.
//!
//! The rule is a list of what may be shown, not of what may not: in a file that parses, the values that were read as
//! something public; in a file that does not, lines that begin with a known public key. All else becomes `…`, and
//! comments are cut off, since people leave old passwords there.

use std::ops::Range;

use secrecy::{ExposeSecret, SecretString};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys;
use super::report::{Excerpt, Place};

/// The text of a file, and what of it may be shown.
pub(super) struct Source<'a> {
    text: &'a str,
    /// Every value that is no table or array; `None` where the text did not parse.
    values: Option<Vec<Range<usize>>>,
    /// Those values that are public.
    public: Vec<Range<usize>>,
    /// What must not appear even so, e.g. a secret that stands in a comment too.
    secrets: Vec<SecretString>,
}

impl<'a> Source<'a> {
    /// Of a file that parses.
    pub(super) fn parsed(
        text: &'a str,
        table: &DeTable<'_>,
        public: Vec<Range<usize>>,
        secrets: Vec<SecretString>,
    ) -> Self {
        let mut values = Vec::new();
        table.iter().for_each(|(_, value)| leaves(value, &mut values));
        Self { text, values: Some(values), public, secrets }
    }

    /// Of a file that does not parse.
    pub(super) const fn broken(text: &'a str) -> Self {
        Self { text, values: None, public: Vec::new(), secrets: Vec::new() }
    }

    /// Line and column of `span`, with its first line.
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let start = floor(self.text, span.start);
        let before = self.text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let rest = self.text.get(line_start..).unwrap_or_default();
        let line = rest.split('\n').next().unwrap_or_default();
        Place {
            line: before.matches('\n').count() + 1,
            column: self.text.get(line_start..start).unwrap_or_default().chars().count() + 1,
            excerpt: self.excerpt(line_start, line.strip_suffix('\r').unwrap_or(line), &(start..span.end)),
        }
    }

    fn excerpt(&self, line_start: usize, line: &str, span: &Range<usize>) -> Option<Excerpt> {
        let shown_to = match &self.values {
            Some(_) => line.len(),
            None => self.shown_of_broken(line)?,
        };
        let (mut shown, mut carets) = (String::new(), String::new());
        let mut put = |text: &str, marked: bool| {
            shown.push_str(text);
            carets.extend(text.chars().map(|_| if marked { '^' } else { ' ' }));
        };
        let mut hidden_to = 0;
        for (offset, character) in line.char_indices() {
            let at = line_start + offset;
            let marked = span.contains(&at);
            if at < hidden_to {
                continue;
            }
            if offset >= shown_to {
                let hidden = at..line_start + line.len();
                put("…", span.start < hidden.end && hidden.start < span.end);
                break;
            }
            if let Some(values) = &self.values {
                match values.iter().find(|value| value.contains(&at)) {
                    Some(value) if self.public.contains(value) => {}
                    Some(value) => {
                        put("…", span.start < value.end && value.start < span.end);
                        hidden_to = value.end;
                        continue;
                    }
                    None if character == '#' => break,
                    // A quoted key: nothing of ours needs one, so what is in it may be anything.
                    None => {
                        if matches!(character, '"' | '\'') {
                            return None;
                        }
                    }
                }
            }
            match character {
                '\t' => put("    ", marked),
                character if character.is_control() => put("\u{fffd}", marked),
                character => put(character.encode_utf8(&mut [0; 4]), marked),
            }
        }
        let line = shown.trim_end().to_owned();
        let mut carets = carets.trim_end().to_owned();
        if carets.is_empty() {
            carets = format!("{}^", " ".repeat(line.chars().count()));
        }
        let leaks = self.secrets.iter().any(|secret| line.contains(secret.expose_secret()));
        (!leaks && !line.is_empty()).then_some(Excerpt { line, carets })
    }

    /// How much of a line may be shown of a text that is no TOML: all (but the comment) after a public key or of a
    /// section header, only the key before a secret, nothing of a line that begins otherwise.
    fn shown_of_broken(&self, line: &str) -> Option<usize> {
        if self.text.contains("\"\"\"") || self.text.contains("'''") {
            return None; // any line may be part of a value then
        }
        let code = line.get(..comment(line)).unwrap_or(line);
        let name = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.');
        let header = |character: char| name(character) || matches!(character, '[' | ']' | ' ');
        if code.trim_start().starts_with('[') && code.trim().chars().all(header) {
            return Some(code.trim_end().len());
        }
        let (key, value) = code.split_once('=')?;
        let key_name = key.trim().rsplit('.').next().unwrap_or_default();
        if !keys::SECTIONS.iter().any(|(_, keys)| keys.contains(&key_name)) || !key.trim().chars().all(name) {
            return None;
        }
        let private = keys::is_secret(key_name)
            || key_name.ends_with("_file")
            || ["secret", "key", "password", "url", "@"].iter().any(|word| value.contains(word))
            // Two assignments in one line: the second may be of anything.
            || value.contains('=');
        let blank = usize::from(value.starts_with(' '));
        Some(if private { key.len() + 1 + blank } else { code.trim_end().len() })
    }
}

/// Where the comment of a line begins, or its length. A `#` after a blank counts even between quotes: this reads lines
/// whose quotes may not match.
fn comment(line: &str) -> usize {
    let (mut quoted, mut previous) = (false, ' ');
    for (offset, character) in line.char_indices() {
        match character {
            '"' | '\'' => quoted = !quoted,
            '#' if !quoted || previous.is_whitespace() => return offset,
            _ => {}
        }
        previous = character;
    }
    line.len()
}

fn leaves(value: &Spanned<DeValue<'_>>, found: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::Array(items) => items.iter().for_each(|item| leaves(item, found)),
        DeValue::Table(table) => table.iter().for_each(|(_, value)| leaves(value, found)),
        _ => found.push(value.span()),
    }
}

/// The nearest place at or before `offset` where a character begins.
fn floor(text: &str, offset: usize) -> usize {
    (0..=offset.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}
