//! Typed access to a parsed file, which notes mistakes and goes on.

use std::cell::{Cell, RefCell};
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;

use secrecy::SecretString;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Env;
use super::keys;
use super::report::Severity;

/// A mistake and its bytes in the file.
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) at: Option<Range<usize>>,
    pub(super) message: String,
    pub(super) help: String,
}

/// What is gathered while a file is read.
pub(super) struct Reader<'a> {
    text: &'a str,
    pub(super) env: Env<'a>,
    /// Where relative paths start.
    pub(super) folder: PathBuf,
    pub(super) findings: RefCell<Vec<Finding>>,
    /// Values that may be shown.
    pub(super) public: RefCell<Vec<Range<usize>>>,
    /// Secrets that were read, to keep them out of reports.
    pub(super) secrets: RefCell<Vec<SecretString>>,
    /// Whether a secret stands in the file itself.
    pub(super) holds_secret: Cell<bool>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, env: Env<'a>, folder: PathBuf) -> Self {
        Self {
            text,
            env,
            folder,
            findings: RefCell::default(),
            public: RefCell::default(),
            secrets: RefCell::default(),
            holds_secret: Cell::new(false),
        }
    }

    pub(super) fn error(&self, at: Option<Range<usize>>, message: impl Into<String>, help: impl Into<String>) {
        self.note(Severity::Error, at, message.into(), help.into());
    }

    pub(super) fn warn(&self, at: Option<Range<usize>>, message: impl Into<String>, help: impl Into<String>) {
        self.note(Severity::Warning, at, message.into(), help.into());
    }

    fn note(&self, severity: Severity, at: Option<Range<usize>>, message: String, help: String) {
        self.findings.borrow_mut().push(Finding { severity, at, message, help });
    }

    /// The whole file.
    pub(super) fn root(&'a self, table: &'a DeTable<'a>) -> Section<'a> {
        Section::open(self, String::new(), Some(table), None)
    }
}

/// A table of the file; one that is absent has no keys.
pub(super) struct Section<'a> {
    pub(super) reader: &'a Reader<'a>,
    /// E.g. `source.nexudus`; empty: the whole file.
    pub(super) name: String,
    table: Option<&'a DeTable<'a>>,
    /// Its header.
    pub(super) at: Option<Range<usize>>,
}

impl<'a> Section<'a> {
    fn open(reader: &'a Reader<'a>, name: String, table: Option<&'a DeTable<'a>>, at: Option<Range<usize>>) -> Self {
        let section = Self { reader, name, table, at };
        section.refuse_unknown();
        section
    }

    /// Whether the file has it.
    pub(super) const fn is_present(&self) -> bool {
        self.table.is_some()
    }

    fn entry(&self, key: &str) -> Option<(Range<usize>, &'a Spanned<DeValue<'a>>)> {
        self.table?.iter().find(|(name, _)| name.get_ref() == key).map(|(name, value)| (name.span(), value))
    }

    fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// The value of a key whose content anyone may see.
    pub(super) fn given(&self, key: &'a str) -> Option<Given<'a>> {
        let given = self.concealed(key)?;
        given.publish(given.value);
        Some(given)
    }

    /// The value of a key whose content nobody may see.
    pub(super) fn concealed(&self, key: &'a str) -> Option<Given<'a>> {
        let (_, value) = self.entry(key)?;
        Some(Given { reader: self.reader, name: self.full(key), key, at: value.span(), value })
    }

    /// The value of a key that must be there; `help` says what to write.
    pub(super) fn required(&self, key: &'a str, help: &str) -> Option<Given<'a>> {
        let given = self.given(key);
        if given.is_none() {
            self.missing(&format!("`{key}`"), help);
        }
        given
    }

    /// Notes that `key` (in backquotes) is missing; `help` begins with what to write.
    pub(super) fn missing(&self, key: &str, help: &str) {
        let header = keys::header(&self.name);
        let (message, help) = match &self.at {
            Some(_) => (format!("{header} lacks {key}"), help.to_owned()),
            None => {
                let help = help.strip_prefix("write ").unwrap_or(help);
                (format!("there is no {header}, which must have {key}"), format!("write {header} and below it {help}"))
            }
        };
        self.reader.error(self.at.clone(), message, help);
    }

    /// Warns where a key is given that does nothing, for the reason `because`.
    pub(super) fn idle(&self, key: &'a str, because: &str) {
        if let Some(given) = self.concealed(key) {
            given.warn(format!("`{}` has no effect: {because}", given.name), "remove the line");
        }
    }

    /// The keys that are given.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.table.into_iter().flat_map(|table| table.keys().map(|key| &**key.get_ref()))
    }

    /// The section `[name]` below this one.
    pub(super) fn section(&self, name: &str) -> Self {
        let full = self.full(name);
        match self.entry(name).map(|(at, value)| (at, value.get_ref())) {
            None => Self { reader: self.reader, name: full, table: None, at: None },
            Some((at, DeValue::Table(table))) => Self::open(self.reader, full, Some(table), Some(at)),
            Some((at, value)) => {
                let help = format!("write `[{full}]` once, in single brackets on a line of its own, its keys below it");
                self.reader.error(Some(at.clone()), format!("`{full}` must be one section"), help);
                let first = match value {
                    DeValue::Array(items) => items.iter().find_map(|item| item.get_ref().as_table()),
                    _ => None,
                };
                match first {
                    Some(table) => Self::open(self.reader, full, Some(table), Some(at)),
                    None => Self { reader: self.reader, name: full, table: None, at: Some(at) },
                }
            }
        }
    }

    /// Each `[[name]]` below this section.
    pub(super) fn sections(&self, name: &str) -> Vec<Self> {
        let full = self.full(name);
        let Some((at, value)) = self.entry(name) else { return Vec::new() };
        let help = format!("write `[[{full}]]` in double brackets on a line of its own, its keys below it");
        let wrong =
            |at: Range<usize>| self.reader.error(Some(at), format!("`{full}` must be a list of sections"), &*help);
        match value.get_ref() {
            DeValue::Table(table) => {
                wrong(at.clone());
                vec![Self::open(self.reader, full.clone(), Some(table), Some(at))]
            }
            DeValue::Array(items) => items
                .iter()
                .filter_map(|item| {
                    let Some(table) = item.get_ref().as_table() else {
                        wrong(item.span());
                        return None;
                    };
                    Some(Self::open(self.reader, full.clone(), Some(table), Some(item.span())))
                })
                .collect(),
            _ => {
                wrong(at);
                Vec::new()
            }
        }
    }

    fn refuse_unknown(&self) {
        let Some(table) = self.table else { return };
        for (key, value) in table {
            let full = self.full(key.get_ref());
            if keys::of(&self.name).contains(&&**key.get_ref()) || keys::is_section(&full) {
                continue;
            }
            // A quoted key may be anything, a secret in the wrong place included.
            let quoted = self.reader.text.get(key.span()).is_none_or(|written| written.starts_with(['"', '\'']));
            let shown = !quoted && full.len() <= 80;
            let is_table = match value.get_ref() {
                DeValue::Table(_) => true,
                DeValue::Array(items) => items.iter().any(|item| item.get_ref().is_table()),
                _ => false,
            };
            let (message, help) = if !shown {
                (
                    "this key is unknown".to_owned(),
                    "keys are plain words without quotes; see config/spotgate.toml".to_owned(),
                )
            } else if is_table {
                let help = keys::nearest_section(&full).map_or_else(
                    || "remove it; config/spotgate.toml shows every section".to_owned(),
                    |section| format!("did you mean `{}`?", keys::header(section)),
                );
                (format!("there is no section `{full}`"), help)
            } else if self.name.is_empty() {
                let message = format!("`{full}` is no key that may stand before the first section");
                (message, keys::advice("", key.get_ref()))
            } else {
                let message = format!("{} has no key `{}`", keys::header(&self.name), key.get_ref());
                (message, keys::advice(&self.name, key.get_ref()))
            };
            self.reader.error(Some(key.span()), message, help);
        }
    }
}

/// A value of the file, or of a list in it.
pub(super) struct Given<'a> {
    pub(super) reader: &'a Reader<'a>,
    /// E.g. `source.nexudus.mirror`.
    pub(super) name: String,
    /// E.g. `mirror`.
    pub(super) key: &'a str,
    pub(super) at: Range<usize>,
    pub(super) value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Given<'a> {
    /// Lets the value be shown; tables in it are not meant, whatever they are.
    fn publish(&self, value: &Spanned<DeValue<'a>>) {
        match value.get_ref() {
            DeValue::Table(_) => {}
            DeValue::Array(items) => items.iter().for_each(|item| self.publish(item)),
            _ => self.reader.public.borrow_mut().push(value.span()),
        }
    }

    /// Takes [`Self::publish`] back: the value turned out to hold a password.
    pub(super) fn conceal(&self) {
        self.reader.public.borrow_mut().retain(|span| *span != self.at);
    }

    /// Notes that the value is wrong.
    pub(super) fn wrong<T>(&self, message: impl Into<String>, help: impl Into<String>) -> Option<T> {
        self.reader.error(Some(self.at.clone()), message, help);
        None
    }

    /// Notes that the value is doubtful.
    pub(super) fn warn(&self, message: impl Into<String>, help: impl Into<String>) {
        self.reader.warn(Some(self.at.clone()), message, help);
    }

    /// Text with `${NAME}` replaced; `example` is a value as one would write it between the quotes.
    pub(super) fn text(&self, example: &str) -> Option<String> {
        let DeValue::String(raw) = self.value.get_ref() else {
            let help = format!("write `{} = \"{example}\"`", self.key);
            return self.wrong(format!("`{}` must be text in quotes, not {}", self.name, article(self.value)), help);
        };
        match interpolated(raw, self.reader.env) {
            Ok(text) => Some(text),
            Err(variable) => {
                let message = format!("`{}` uses the environment variable {variable}, which is not set", self.name);
                self.wrong(message, format!("set {variable} for the service, or write the value itself"))
            }
        }
    }

    /// Text that is not blank.
    pub(super) fn words(&self, example: &str) -> Option<String> {
        let text = self.text(example)?;
        if text.trim().is_empty() {
            return self.wrong(format!("`{}` is empty", self.name), format!("write `{} = \"{example}\"`", self.key));
        }
        Some(text)
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let example = words.first().map_or("", |(word, _)| word);
        let text = self.text(example)?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*meaning);
        }
        let quoted: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let (last, others) = quoted.split_last()?;
        let help = keys::nearest(&text, words.iter().map(|(word, _)| *word))
            .map_or_else(|| "write one of these words".to_owned(), |near| format!("did you mean \"{near}\"?"));
        self.wrong(format!("`{}` must be {} or {last}", self.name, others.join(", ")), help)
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Option<bool> {
        match self.value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            _ => self.wrong(
                format!("`{}` must be true or false, without quotes", self.name),
                format!("write `{key} = true` or `{key} = false`", key = self.key),
            ),
        }
    }

    /// A whole number.
    pub(super) fn number<T: TryFrom<i64>>(&self, bounds: RangeInclusive<i64>, example: i64) -> Option<T> {
        let number = self.value.get_ref().as_integer();
        let number = number.and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok());
        match number.filter(|number| bounds.contains(number)).and_then(|number| T::try_from(number).ok()) {
            Some(number) => Some(number),
            None => self.wrong(
                format!(
                    "`{}` must be a whole number from {} to {}, without quotes",
                    self.name,
                    bounds.start(),
                    bounds.end()
                ),
                format!("write `{} = {example}`", self.key),
            ),
        }
    }

    /// The values of a list; `example` is a list as one would write it.
    pub(super) fn items(&self, example: &str) -> Option<Vec<Self>> {
        let DeValue::Array(items) = self.value.get_ref() else {
            let help = format!("write `{} = {example}`", self.key);
            return self.wrong(format!("`{}` must be a list in square brackets", self.name), help);
        };
        let item = |value: &'a Spanned<DeValue<'a>>| Self {
            reader: self.reader,
            name: self.name.clone(),
            key: self.key,
            at: value.span(),
            value,
        };
        Some(items.iter().map(item).collect())
    }

    /// A list whose values are read alike. All or nothing, so that later checks meet no half list.
    pub(super) fn list<T>(&self, example: &str, read: impl Fn(&Self) -> Option<T>) -> Option<Vec<T>> {
        let read: Vec<Option<T>> = self.items(example)?.iter().map(read).collect();
        read.into_iter().collect()
    }
}

fn article(value: &Spanned<DeValue<'_>>) -> &'static str {
    match value.get_ref() {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// `text` with each `${NAME}` replaced from the environment, or the first name that is not set. A `$` that begins no
/// such thing stands for itself.
pub(super) fn interpolated(text: &str, env: Env<'_>) -> Result<String, String> {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        done.push_str(before);
        let name = after.split('}').next().unwrap_or_default();
        let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
        match after.get(name.len() + 1..) {
            Some(tail) if is_name => {
                done.push_str(&env(name).ok_or_else(|| name.to_owned())?);
                rest = tail;
            }
            _ => {
                done.push_str("${");
                rest = after;
            }
        }
    }
    done.push_str(rest);
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_in_braces_are_replaced() {
        let env = |name: &str| (name == "SPACE").then(|| "Ca l'Arç".to_owned());
        for (text, expected) in [
            ("plain", Ok("plain")),
            ("a ${SPACE} b ${SPACE}", Ok("a Ca l'Arç b Ca l'Arç")),
            ("$SPACE costs 5$", Ok("$SPACE costs 5$")),
            ("${} ${1A} ${a b} ${SPACE", Ok("${} ${1A} ${a b} ${SPACE")),
            ("${ÑU}", Ok("${ÑU}")),
            ("$${SPACE}", Ok("$Ca l'Arç")),
            ("${NOWHERE}", Err("NOWHERE")),
        ] {
            assert_eq!(interpolated(text, &env).as_deref().map_err(String::as_str), expected, "{text}");
        }
    }
}
