//! Signing in (facts/nexudus.md §1): a valid bearer token, else the refresh grant, else the password grant. This is the
//! state and its rules; `client` does the sending.

use std::collections::BTreeMap;
use std::time::Duration;

use data_encoding::BASE64;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::answer::role_missing;
use super::totp;
use crate::clock::Now;
use crate::config::{self, NexudusAuth};
use crate::source::Error;
use crate::source::alarm::{Alarm, Role};

/// How long a call that went well says that it is not the bearer token when others are rejected.
const BESIDE: Duration = Duration::from_secs(120);

/// Calls in a row that are rejected, with a password that was good a moment ago, before it counts as wrong.
const REJECTED_BESIDE: u32 = 5;

/// How long no sign-in is tried after one was refused: Nexudus may lock a user out who fails too often.
const QUIET: Duration = Duration::from_secs(300);

/// How long before its end a bearer token is replaced, at most; a tenth of its life if that is less.
const MARGIN: Duration = Duration::from_secs(60);

/// The life of a bearer token whose answer does not say.
const UNSTATED_LIFE: u64 = 600;

/// What must survive a restart, so that a daemon keeps its own refresh token and logs no other one out.
#[derive(Clone, Debug)]
pub struct Saved {
    /// A random GUID, made once per installation; refresh tokens are bound to it.
    pub client_id: String,
    /// Whose refresh token it is: user name and base URL. With another account the refresh token is dropped.
    pub account: String,
    /// The newest refresh token; each refresh replaces it.
    pub refresh_token: Option<SecretString>,
}

/// What the next call is authorised by.
#[derive(Clone, Debug)]
pub(super) struct Authorization {
    /// `Authorization`; marked as sensitive, so that it does not print.
    pub(super) header: HeaderValue,
    /// Which bearer token it is, to tell an old one's 401 from a new one's.
    generation: u64,
}

/// What to do before a call.
#[derive(Debug)]
pub(super) enum Step {
    /// Call with this.
    Call(Authorization),
    /// Sign in by this grant first.
    SignIn(Grant),
    /// Nothing: an operator must act.
    Refused(Error),
}

/// How to sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    /// With the refresh token.
    Refresh,
    /// With user name, password and perhaps a one-time password.
    Password,
}

/// What came of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Take the next step: a bearer token is there, or the other grant is due.
    Go,
    /// No use without an operator.
    Refused(Error),
    /// The answer made no sense; worth another attempt.
    Nonsense,
}

/// The state.
#[derive(Debug)]
pub(super) struct SignIn {
    auth: NexudusAuth,
    /// So many calls in a row may be rejected beside good ones: some, and one for each location.
    beside: u32,
    username: String,
    password: SecretString,
    totp_secret: Option<SecretString>,
    saved: Saved,
    bearer: Option<(Authorization, Duration)>,
    generation: u64,
    /// Until when no sign-in is tried, and why.
    quiet: Option<(Duration, Error)>,
    /// Roles that seem to be missing, and until when a 401 says no more than that.
    missing: BTreeMap<Role, Duration>,
    /// When a call last went well (monotonic), and how many were rejected since.
    went_well: Option<Duration>,
    rejected: u32,
    /// When the bearer token was made (monotonic).
    made: Duration,
}

/// A successful answer.
#[derive(Deserialize)]
struct Token {
    access_token: SecretString,
    #[serde(default)]
    refresh_token: Option<SecretString>,
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
}

/// Another answer. It does not print: with `must_reset_password` the description is a reset token.
#[derive(Deserialize)]
struct Failure {
    error: String,
    #[serde(default)]
    error_description: Option<serde_json::Value>,
}

impl Failure {
    /// How Nexudus answers a user that is locked out is not documented: the words decide.
    fn is_locked(&self) -> bool {
        // A clock that is wrong locks nobody out.
        let locked = |text: &str| {
            text.split(|c: char| !c.is_ascii_alphanumeric())
                .map(str::to_ascii_lowercase)
                .any(|word| word.contains("lock") && !word.contains("clock"))
        };
        let description = self.error_description.as_ref().and_then(serde_json::Value::as_str);
        locked(&self.error) || (self.error == "invalid_grant" && description.is_some_and(locked))
    }
}

impl SignIn {
    /// Starts from what was saved, or with `new_client_id`.
    pub(super) fn new(config: &config::Nexudus, saved: Option<Saved>, new_client_id: String) -> Self {
        let account = format!("{} at {}", config.username, config.base_url);
        let mut saved =
            saved.unwrap_or_else(|| Saved { client_id: new_client_id, account: account.clone(), refresh_token: None });
        if saved.account != account {
            saved.account = account;
            saved.refresh_token = None;
        }
        Self {
            auth: config.auth,
            beside: REJECTED_BESIDE.saturating_add(u32::try_from(config.business_ids.len()).unwrap_or(u32::MAX)),
            username: config.username.clone(),
            password: config.password.clone(),
            totp_secret: config.totp_secret.clone(),
            saved,
            bearer: None,
            generation: 0,
            quiet: None,
            missing: BTreeMap::new(),
            went_well: None,
            rejected: 0,
            made: Duration::ZERO,
        }
    }

    /// What must survive a restart.
    pub(super) const fn saved(&self) -> &Saved {
        &self.saved
    }

    /// What comes next at `now`, for a call that needs `role`.
    pub(super) fn step(&self, role: Role, now: Now) -> Step {
        let refused = self.quiet.as_ref().filter(|(until, _)| now.mono < *until).map(|(_, error)| error.clone());
        if self.auth == NexudusAuth::Basic {
            let missing = self.is_missing(role, now).then(|| password_or_role(role));
            return refused.or(missing).map_or_else(|| Step::Call(self.basic()), Step::Refused);
        }
        // Where a role is missing, the bearer token itself is good: calls go on, and find out when the role is given.
        match &self.bearer {
            Some((authorization, until)) if now.mono < *until => return Step::Call(authorization.clone()),
            _ => {}
        }
        match (refused, &self.saved.refresh_token) {
            (Some(error), _) => Step::Refused(error),
            (None, Some(_)) => Step::SignIn(Grant::Refresh),
            (None, None) => Step::SignIn(Grant::Password),
        }
    }

    fn basic(&self) -> Authorization {
        let pair = BASE64.encode(format!("{}:{}", self.username, self.password.expose_secret()).as_bytes());
        // Base64 is always a legal header value.
        let mut header = HeaderValue::from_str(&format!("Basic {pair}")).unwrap_or(HeaderValue::from_static(""));
        header.set_sensitive(true);
        Authorization { header, generation: 0 }
    }

    /// The fields of the form that is sent to `/api/token`.
    pub(super) fn form(&self, grant: Grant, now: Now) -> Result<Vec<(&'static str, String)>, Error> {
        let mut form = match (grant, &self.saved.refresh_token) {
            (Grant::Refresh, Some(token)) => {
                vec![("grant_type", "refresh_token".to_owned()), ("refresh_token", token.expose_secret().to_owned())]
            }
            _ => vec![
                ("grant_type", "password".to_owned()),
                ("username", self.username.clone()),
                ("password", self.password.expose_secret().to_owned()),
            ],
        };
        if let (Grant::Password, Some(seed)) = (grant, &self.totp_secret) {
            let code = totp::code(seed.expose_secret(), now.wall).map_err(|error| Error::Refused {
                alarm: Alarm::OneTimePasswordWrong,
                what: error.to_string(),
                remedy: "copy it again into source.nexudus.totp_secret_file".to_owned(),
            })?;
            form.push(("totp", code));
        }
        // Documented as a header once and as a field later: both, and equal.
        form.push(("client_id", self.saved.client_id.clone()));
        Ok(form)
    }

    /// `/api/token` answered; neither throttling nor a fault of the server, which the caller tells apart.
    pub(super) fn answered(&mut self, grant: Grant, success: bool, body: &str, now: Now) -> Outcome {
        if success {
            return self.take_token(body, now);
        }
        if grant == Grant::Refresh {
            // Expired, or replaced by a sign-in elsewhere: the password tells what is really wrong.
            self.saved.refresh_token = None;
            return Outcome::Go;
        }
        let failure = serde_json::from_str::<Failure>(body).ok();
        let locked = failure.as_ref().is_some_and(Failure::is_locked);
        let error = failure.map(|failure| failure.error).unwrap_or_default();
        let (alarm, what, remedy) = match (error.as_str(), &self.totp_secret) {
            _ if locked => (
                Alarm::Locked,
                "Nexudus has locked this user out",
                "unlock the user in Nexudus, and check source.nexudus.username and password_file",
            ),
            ("invalid_grant", None) => (
                Alarm::WrongPassword,
                "wrong user name or password",
                "correct source.nexudus.username and password_file",
            ),
            ("invalid_grant", Some(_)) => (
                Alarm::WrongPassword,
                "wrong user name, password or one-time password",
                "correct source.nexudus.username, password_file and totp_secret_file, and check this machine's clock",
            ),
            ("two_factor_auth_check", None) => (
                Alarm::OneTimePasswordWanted,
                "Nexudus asks this user for a one-time password",
                "set source.nexudus.totp_secret_file, or use a user without two factors",
            ),
            ("two_factor_auth_check", Some(_)) => (
                Alarm::OneTimePasswordWrong,
                "Nexudus does not accept the one-time password",
                "correct source.nexudus.totp_secret_file, and check this machine's clock",
            ),
            ("must_reset_password", _) => (
                Alarm::MustReset,
                "Nexudus wants this user to choose a new password",
                "choose one in Nexudus and write it to source.nexudus.password_file",
            ),
            _ => (
                Alarm::WrongAddress,
                "Nexudus does not accept sign-ins at this address",
                "set source.nexudus.base_url to the address of the API, e.g. https://spaces.nexudus.com",
            ),
        };
        let error = Error::Refused { alarm, what: what.to_owned(), remedy: remedy.to_owned() };
        self.refused(error.clone(), now);
        Outcome::Refused(error)
    }

    /// A sign-in was refused, or met something that is not Nexudus: none is tried for a while.
    pub(super) fn refused(&mut self, error: Error, now: Now) {
        self.quiet = Some((now.mono + QUIET, error));
    }

    /// A call met what no attempt will help with. Where each call carries the password, it is a sign-in too: something that
    /// is not Nexudus is not told the password with every code that is typed.
    pub(super) fn failed_for_good(&mut self, error: &Error, now: Now) {
        if self.auth == NexudusAuth::Basic && error.alarm() == Some(Alarm::WrongAddress) {
            self.refused(error.clone(), now);
        }
    }

    fn take_token(&mut self, body: &str, now: Now) -> Outcome {
        let Ok(token) = serde_json::from_str::<Token>(body) else {
            return Outcome::Nonsense;
        };
        let Ok(mut header) = HeaderValue::from_str(&format!("Bearer {}", token.access_token.expose_secret())) else {
            return Outcome::Nonsense;
        };
        if token.access_token.expose_secret().is_empty() {
            return Outcome::Nonsense;
        }
        header.set_sensitive(true);
        let life = match &token.expires_in {
            Some(serde_json::Value::Number(number)) => number.as_u64(),
            Some(serde_json::Value::String(text)) => text.trim().parse().ok(),
            _ => None,
        };
        // A month at most; even a token that ends at once serves the call it was fetched for.
        let life = Duration::from_secs(life.unwrap_or(UNSTATED_LIFE).clamp(1, 30 * 86_400));
        self.generation += 1;
        self.made = now.mono;
        let until = now.mono + life - MARGIN.min(life / 10);
        self.bearer = Some((Authorization { header, generation: self.generation }, until));
        if let Some(refresh) = token.refresh_token.filter(|token| !token.expose_secret().is_empty()) {
            self.saved.refresh_token = Some(refresh);
        }
        self.quiet = None;
        Outcome::Go
    }

    /// A call with `used` that needs `role` was answered with 401; `again`: for the second time, after signing in anew in
    /// between. `Ok` means: take the next step and call once more.
    pub(super) fn rejected(&mut self, used: &Authorization, again: bool, role: Role, now: Now) -> Result<(), Error> {
        self.rejected = self.rejected.saturating_add(1);
        let others_go_well = |within| self.went_well.is_some_and(|at| now.mono.saturating_sub(at) < within);
        if self.auth == NexudusAuth::Basic {
            // A right may be missing at one location alone. A password that is wrong by now is tried a few times.
            if others_go_well(QUIET) && self.rejected <= self.beside {
                return Err(role_missing(role));
            }
            self.missing.insert(role, now.mono + QUIET);
            return Err(password_or_role(role));
        }
        // Other calls may go well meanwhile: they must not bring a sign-in with each of these. Where none does any more, it may be
        // the bearer token that has ended early.
        let went_well = self.went_well.is_some_and(|at| at >= self.made) && !others_go_well(BESIDE);
        if self.is_missing(role, now) && !went_well {
            return Err(role_missing(role));
        }
        if let Some((_, error)) = self.quiet.as_ref().filter(|(until, _)| now.mono < *until) {
            return Err(error.clone());
        }
        if again {
            self.missing.insert(role, now.mono + QUIET);
            return Err(role_missing(role));
        }
        self.bearer.take_if(|(current, _)| current.generation == used.generation);
        Ok(())
    }

    /// A call that needs `role` succeeded. That it is missing somewhere, at one location say, is known on for its time: else each
    /// call there brought a sign-in. With user and password in every call nothing is asked for while it is.
    pub(super) fn accepted(&mut self, role: Role, now: Now) {
        (self.went_well, self.rejected) = (Some(now.mono), 0);
        if self.auth == NexudusAuth::Basic || !self.is_missing(role, now) {
            self.missing.remove(&role);
        }
    }

    fn is_missing(&self, role: Role, now: Now) -> bool {
        self.missing.get(&role).is_some_and(|until| now.mono < *until)
    }
}

/// With user and password in every call there is no telling which it is.
fn password_or_role(role: Role) -> Error {
    Error::Refused {
        alarm: Alarm::PasswordOrRole,
        what: "wrong user name or password, or a role is missing".to_owned(),
        remedy: format!(
            "correct source.nexudus.username and password_file, or give the user the role {role} in Nexudus"
        ),
    }
}

/// A new random GUID (RFC 9562 version 4).
pub(crate) fn new_client_id() -> Result<String, getrandom::Error> {
    let mut octets = [0u8; 16];
    getrandom::fill(&mut octets)?;
    let number = u128::from_be_bytes(octets);
    let number = (number & !(0xf000 << 64) & !(0xc000 << 48)) | (0x4000 << 64) | (0x8000 << 48);
    let hex = format!("{number:032x}");
    let group = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    Ok(format!("{}-{}-{}-{}-{}", group(0, 8), group(8, 12), group(12, 16), group(16, 20), group(20, 32)))
}

#[cfg(test)]
mod tests;
