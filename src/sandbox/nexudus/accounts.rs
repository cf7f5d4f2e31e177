//! Users, bearer tokens and refresh tokens of the sandbox (facts/nexudus.md §1).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::Now;
use crate::source::nexudus::{new_client_id, totp};

/// Who may sign in.
#[derive(Clone, Debug)]
pub struct User {
    /// E-mail.
    pub name: String,
    /// Password.
    pub password: String,
    /// Base32 seed, if it has two factors.
    pub totp_secret: Option<String>,
    /// Whether it may read and write access tokens.
    pub roles: bool,
}

impl User {
    /// `demo@example.org` with password `demo`.
    #[must_use]
    pub fn demo() -> Self {
        Self { name: "demo@example.org".to_owned(), password: "demo".to_owned(), totp_secret: None, roles: true }
    }
}

/// How long a refresh token lives.
const REFRESH_LIFE: Duration = Duration::from_secs(15 * 86_400);

/// The users and their tokens.
#[derive(Debug)]
pub(super) struct Accounts {
    pub(super) users: Vec<User>,
    /// Life of a bearer token.
    pub(super) life: Duration,
    /// User and end of each bearer token.
    bearers: BTreeMap<String, (String, Duration)>,
    /// User, client id and end of each refresh token.
    refreshes: BTreeMap<String, (String, String, Duration)>,
}

/// Where `client_id` is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientIdIn {
    /// The header, or else the form.
    Either,
    /// The header alone, as older pages have it.
    Header,
    /// The form alone, as newer pages may mean.
    Form,
}

impl ClientIdIn {
    pub(super) fn of<'a>(self, header: Option<&'a str>, form: &'a [(String, String)]) -> Option<&'a str> {
        let field = form.iter().find(|(key, _)| key == "client_id").map(|(_, value)| value.as_str());
        match self {
            Self::Either => header.or(field),
            Self::Header => header,
            Self::Form => field,
        }
    }
}

impl Accounts {
    pub(super) const fn new(users: Vec<User>, life: Duration) -> Self {
        Self { users, life, bearers: BTreeMap::new(), refreshes: BTreeMap::new() }
    }

    /// Ends every bearer token.
    pub(super) fn expire_bearers(&mut self) {
        self.bearers.clear();
    }

    /// Ends every refresh token.
    pub(super) fn expire_refreshes(&mut self) {
        self.refreshes.clear();
    }

    /// `POST /api/token` with these form fields and this `client_id`; answers status and body.
    pub(super) fn sign_in(&mut self, form: &[(String, String)], client: Option<&str>, now: Now) -> (u16, Value) {
        let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        match field("grant_type") {
            Some("password") => {
                let user = self.users.iter().find(|user| {
                    field("username").is_some_and(|name| name.eq_ignore_ascii_case(&user.name))
                        && field("password") == Some(&user.password)
                });
                let Some(user) = user else {
                    return refused("invalid_grant", "The user name or password is incorrect.");
                };
                if let Some(seed) = &user.totp_secret {
                    let expected = totp::code(seed, now.wall).ok();
                    if expected.as_deref() != field("totp") || expected.is_none() {
                        return two_factor();
                    }
                }
                let (name, client) = (user.name.clone(), client.unwrap_or(&user.name).to_owned());
                self.issue(name, client, now)
            }
            Some("refresh_token") => {
                let kept = field("refresh_token").and_then(|token| self.refreshes.get(token)).cloned();
                match kept {
                    Some((name, bound, end)) if end > now.mono && client.unwrap_or(&name) == bound => {
                        self.issue(name, bound, now)
                    }
                    _ => refused("invalid_grant", "The refresh token is invalid."),
                }
            }
            _ => refused("unsupported_grant_type", "The grant type is not supported."),
        }
    }

    fn issue(&mut self, name: String, client: String, now: Now) -> (u16, Value) {
        let random = || new_client_id().unwrap_or_else(|_| "00000000".to_owned());
        let (bearer, refresh) = (format!("bearer-{}", random()), format!("refresh-{}", random()));
        // One refresh token for each client id: the older ones end here.
        self.refreshes.retain(|_, (user, bound, _)| *user != name || *bound != client);
        self.bearers.insert(bearer.clone(), (name.clone(), now.mono + self.life));
        self.refreshes.insert(refresh.clone(), (name, client, now.mono + REFRESH_LIFE));
        let answer = json!({
            "access_token": bearer, "token_type": "bearer", "expires_in": self.life.as_secs(), "refresh_token": refresh,
        });
        (200, answer)
    }

    /// Who an `Authorization` header speaks for, by bearer token or Basic.
    pub(super) fn user(&self, header: &str, now: Now) -> Option<&User> {
        let (scheme, rest) = header.split_once(' ')?;
        let name = if scheme.eq_ignore_ascii_case("bearer") {
            self.bearers.get(rest).filter(|(_, end)| *end > now.mono).map(|(name, _)| name.clone())?
        } else {
            let pair = data_encoding::BASE64.decode(rest.as_bytes()).ok()?;
            let pair = String::from_utf8(pair).ok()?;
            let (name, password) = pair.split_once(':')?;
            self.users.iter().find(|user| user.name == name && user.password == password)?.name.clone()
        };
        self.users.iter().find(|user| user.name == name)
    }
}

fn refused(error: &str, description: &str) -> (u16, Value) {
    (400, json!({"error": error, "error_description": description}))
}

/// The answer to a sign-in that lacks its one-time password.
pub(super) fn two_factor() -> (u16, Value) {
    refused("two_factor_auth_check", "A one-time password is required.")
}

/// The answer to a sign-in of a user that is locked out: undocumented, and so made up.
pub(super) fn locked() -> (u16, Value) {
    refused("invalid_grant", "The user is locked out until 10:15.")
}

/// The answer to a sign-in whose password must be replaced; the description is a token that must not be logged.
pub(super) fn must_reset() -> (u16, Value) {
    refused("must_reset_password", "reset-token-5c0e41d2")
}
