//! The login form: what it proves, and what RADIUS makes of it.

use std::sync::{Arc, MutexGuard, PoisonError};

use data_encoding::HEXLOWER_PERMISSIVE;

use super::challenge::{Challenge, Memory};
use super::connections::Hangup;
use super::requests::Asked;
use super::{Device, LoginBy};
use crate::sandbox::hotspot::{HotspotError, Password};
use crate::sandbox::router::{Login, Refusal};

/// What came of a request for `/login`.
pub(super) enum Outcome {
    /// Nobody asked to be let in.
    Shown,
    /// The device is online.
    Online,
    /// It is not: the key of `errors.txt`, and the words of whoever refused.
    Failed { key: &'static str, original: String },
}

/// What the form proves.
enum Proof {
    Password(String),
    Response { challenge: Challenge, digest: [u8; 16] },
}

impl Outcome {
    fn failed(key: &'static str, original: impl Into<String>) -> Self {
        Self::Failed { key, original: original.into() }
    }
}

impl Device {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a login page asks for; none: a password, or there are no random octets.
    pub(super) fn challenge(&self) -> Option<Challenge> {
        if self.profile.login_by == LoginBy::Pap { None } else { self.memory().challenge(self.shared.now()) }
    }

    /// How a session was opened: by a form that was sent here, or else because the device is known.
    pub(super) fn opened_by(&self, session_id: &str) -> &'static str {
        let memory = self.memory();
        memory.opened.as_ref().filter(|(opened, _)| opened == session_id).map_or("mac", |(_, way)| way)
    }

    /// Logs the device in, if the request is for that.
    pub(super) async fn log_in(self: &Arc<Self>, asked: &Asked<'_>) -> Result<Outcome, Hangup> {
        let Some(username) = asked.fields.get("username").filter(|name| !name.is_empty()) else {
            return Ok(Outcome::Shown);
        };
        let Ok(turn) = Arc::clone(&self.turn).try_acquire_owned() else {
            return Ok(Outcome::failed("auth-in-progress", "already authorizing, retry later"));
        };
        let Some(proof) = self.proof(asked.fields.get("password").unwrap_or_default()) else {
            return Ok(Outcome::failed("chap-missing", "web browser did not send challenge response"));
        };
        let (device, username) = (Arc::clone(self), username.to_owned());
        // A browser that goes away does not call back what RADIUS was asked.
        let asking = tokio::spawn(async move {
            let _turn = turn;
            device.ask(&username, &proof).await
        });
        asking.await.map_err(|_| Hangup)?
    }

    /// What a password proves; none: it answers no challenge, and should.
    fn proof(&self, password: &str) -> Option<Proof> {
        let digest = HEXLOWER_PERMISSIVE.decode(password.as_bytes()).ok();
        let digest = digest.and_then(|digest| <[u8; 16]>::try_from(digest).ok());
        match (self.profile.login_by, digest) {
            (LoginBy::Both | LoginBy::Chap, Some(digest)) => {
                let challenge = self.memory().take_challenge(self.shared.now())?;
                Some(Proof::Response { challenge, digest })
            }
            (LoginBy::Chap, None) => None,
            (LoginBy::Both, None) | (LoginBy::Pap, _) => Some(Proof::Password(password.to_owned())),
        }
    }

    async fn ask(&self, username: &str, proof: &Proof) -> Result<Outcome, Hangup> {
        let (password, way) = match proof {
            Proof::Password(password) => (Password::Pap(password), "http-pap"),
            Proof::Response { challenge: Challenge { id, octets }, digest } => {
                (Password::ChapResponse { ident: *id, challenge: octets, digest }, "http-chap")
            }
        };
        Ok(match self.shared.login(username, password, self.mac).await {
            Ok(Login::Admitted(admitted)) => {
                self.memory().opened = Some((admitted.session_id, way));
                Outcome::Online
            }
            Ok(Login::Rejected(words)) => Outcome::failed("radius-reply", words),
            Ok(Login::Refused(refusal)) => match refusal {
                Refusal::PoolEmpty => Outcome::failed("ippool-empty", "no more free addresses from pool"),
                Refusal::UserSessionLimit => {
                    Outcome::failed("user-session-limit", "no more sessions are allowed for user")
                }
                Refusal::WrongMacUsername => Outcome::failed("wrong-mac-username", "this MAC address is not yours"),
            },
            Err(HotspotError::NoAnswer { .. }) => Outcome::failed("radius-timeout", "RADIUS server is not responding"),
            Err(HotspotError::TooLong) => Outcome::failed("invalid-username", "invalid username or password"),
            Err(HotspotError::Off) => return Err(Hangup),
            Err(error @ (HotspotError::Request(_) | HotspotError::Io(_) | HotspotError::Random(_))) => {
                Outcome::failed("internal-error", error.to_string())
            }
        })
    }
}
