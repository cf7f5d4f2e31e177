//! Secrets: in the file, or better in a file of their own. Nothing here says what a secret is.

use std::fs;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq as _;

use super::reader::{Given, Section};

/// More than this is no secret but a wrong file.
const MOST_BYTES: u64 = 64 * 1024;

/// What a section says about a secret.
pub(super) enum Secret {
    /// Nothing.
    Absent,
    /// Something wrong, which is noted.
    Wrong,
    /// This, at this place.
    Given(SecretString, Range<usize>),
}

impl Secret {
    /// The secret and its place, if there is one.
    pub(super) fn given(self) -> Option<(SecretString, Range<usize>)> {
        match self {
            Self::Given(secret, at) => Some((secret, at)),
            Self::Absent | Self::Wrong => None,
        }
    }
}

impl<'a> Section<'a> {
    /// The secret of `key`, or of the file that `file_key` names.
    pub(super) fn secret(&self, key: &'a str, file_key: &'a str) -> Secret {
        let read = match (self.concealed(key), self.concealed(file_key)) {
            (None, None) => return Secret::Absent,
            (Some(_), Some(file)) => file.wrong(
                format!("both `{key}` and `{file_key}` are given"),
                format!("keep one of the two; `{file_key}` keeps the secret out of this file"),
            ),
            (Some(value), None) => value.inline_secret(file_key).map(|secret| (secret, value.at)),
            (None, Some(file)) => file.secret_from_file(key).map(|secret| (secret, file.at)),
        };
        read.map_or(Secret::Wrong, |(secret, at)| {
            let secret = SecretString::from(secret);
            self.reader.secrets.borrow_mut().push(secret.clone());
            Secret::Given(secret, at)
        })
    }

    /// A secret that must be there.
    pub(super) fn required_secret(&self, key: &'a str, file_key: &'a str) -> Option<(SecretString, Range<usize>)> {
        let secret = self.secret(key, file_key);
        if matches!(secret, Secret::Absent) {
            let help = format!("write `{file_key} = \"FILE\"` with the secret in FILE, or `{key} = \"…\"`");
            self.missing(&format!("`{key}` or `{file_key}`"), &help);
        }
        secret.given()
    }
}

impl Given<'_> {
    fn inline_secret(&self, file_key: &str) -> Option<String> {
        if let Some(raw) = self.value.get_ref().as_str() {
            // The name of a variable may be said only where it cannot be a part of the secret.
            let whole = raw.starts_with("${") && raw.find('}') == Some(raw.len().saturating_sub(1));
            if !whole && super::reader::interpolated(raw, self.reader.env).is_err() {
                let message = format!("`{}` uses an environment variable that is not set", self.name);
                return self.wrong(message, "set it for the service, or write the value itself");
            }
        }
        if !self.is_interpolated() {
            self.reader.holds_secret.set(true);
        }
        let secret = self.text("…")?;
        if secret.trim().is_empty() {
            return self
                .wrong(format!("`{}` is empty", self.name), format!("write the secret, or `{file_key} = \"FILE\"`"));
        }
        Some(secret)
    }

    fn secret_from_file(&self, key: &str) -> Option<String> {
        let path = self.path("FILE")?;
        let relative = format!("relative paths start in the folder {}", self.reader.folder.display());
        let text = match read(&path) {
            Ok(text) => text,
            Err(reason) => {
                let help = match reason {
                    Unreadable::Missing => format!(
                        "create it with nothing but the secret in it; {relative}\n(the secret itself would go to `{key}`)"
                    ),
                    Unreadable::Forbidden => "let the user that runs spotgate read it, e.g. with chown".to_owned(),
                    Unreadable::NoFile | Unreadable::NoText | Unreadable::Other => {
                        format!("name a text file that holds nothing but the secret; {relative}")
                    }
                };
                return self.wrong(format!("the file of `{}` {}", self.name, reason.as_str()), help);
            }
        };
        let secret = text.trim();
        if secret.is_empty() {
            return self.wrong(format!("the file of `{}` is empty", self.name), "write the secret into the file");
        }
        if secret.contains(char::is_control) {
            let message = format!("the file of `{}` holds more than one line", self.name);
            return self.wrong(message, "write nothing but the secret into the file");
        }
        // What systemd passes is for the service alone, however its mode looks.
        let passed = (self.reader.env)("CREDENTIALS_DIRECTORY").is_some_and(|folder| path.starts_with(folder));
        if !passed && is_open(&path) {
            let message = format!("others on this host can read the file of `{}`", self.name);
            self.warn(message, "take their rights away: chmod 600 FILE");
        }
        Some(secret.to_owned())
    }
}

/// Why a file with a secret could not be read.
enum Unreadable {
    Missing,
    Forbidden,
    NoFile,
    NoText,
    Other,
}

impl Unreadable {
    const fn as_str(&self) -> &'static str {
        match self {
            Self::Missing => "does not exist",
            Self::Forbidden => "may not be read",
            Self::NoFile => "is no regular file",
            Self::NoText => "is no text",
            Self::Other => "cannot be read",
        }
    }
}

fn read(path: &Path) -> Result<String, Unreadable> {
    let reason = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => Unreadable::Missing,
        ErrorKind::PermissionDenied => Unreadable::Forbidden,
        ErrorKind::InvalidData => Unreadable::NoText,
        _ => Unreadable::Other,
    };
    // Before it is opened: opening a pipe waits for somebody to write.
    if !fs::metadata(path).map_err(reason)?.is_file() {
        return Err(Unreadable::NoFile);
    }
    let mut text = String::new();
    fs::File::open(path).map_err(reason)?.take(MOST_BYTES).read_to_string(&mut text).map_err(reason)?;
    Ok(text)
}

/// Whether others than the owner of a file have rights to it.
pub(super) fn is_open(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

/// Whether two secrets are one. It takes as long however much of them is alike.
pub(super) fn same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret().as_bytes().ct_eq(other.expose_secret().as_bytes()).into()
}
