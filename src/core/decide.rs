//! The decision: token, account, login, rules and time in; allow with terms, or deny with a reason, out.
//!
//! The checks run in the contract's order and the first that fails is the reason. [`select`] finds the one token that
//! a code means; [`decide`] judges it.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::account::Account;
use super::budget::{Pool, Seconds, budget};
use super::ident::{Code, SessionId, TokenId};
use super::login::{Claim, Login};
use super::policy::{BindDevice, Counting, NasRules, OnUserLimit, Policy};
use super::session::{Contact, Endpoint, Session};
use super::token::{AccessToken, Window};

/// Why a login is denied. The names are the contract's and stand in answers, metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A sound request with no readable code or MAC.
    Malformed,
    /// Too many failed codes from this device or NAS.
    Throttled,
    /// No copy that may be used, and the source does not answer.
    SourceUnavailable,
    /// No token has this code.
    UnknownCode,
    /// No token is this device's.
    UnknownDevice,
    /// No such token is valid at this NAS.
    WrongLocation,
    /// Several are, today.
    AmbiguousCode,
    /// The password is neither the code nor empty.
    WrongPassword,
    /// Before `ValidFrom`.
    NotYetValid,
    /// At or after `ValidTo`.
    Expired,
    /// Bound to another device.
    DeviceMismatch,
    /// The budget is below `min_session`.
    NoMinutesLeft,
    /// As many other devices are online or admitted as may be.
    UserLimitReached,
}

impl Reason {
    /// Every reason, in the order of the checks.
    pub const ALL: [Self; 13] = [
        Self::Malformed,
        Self::Throttled,
        Self::SourceUnavailable,
        Self::UnknownCode,
        Self::UnknownDevice,
        Self::WrongLocation,
        Self::AmbiguousCode,
        Self::WrongPassword,
        Self::NotYetValid,
        Self::Expired,
        Self::DeviceMismatch,
        Self::NoMinutesLeft,
        Self::UserLimitReached,
    ];

    /// The contract's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Throttled => "throttled",
            Self::SourceUnavailable => "source_unavailable",
            Self::UnknownCode => "unknown_code",
            Self::UnknownDevice => "unknown_device",
            Self::WrongLocation => "wrong_location",
            Self::AmbiguousCode => "ambiguous_code",
            Self::WrongPassword => "wrong_password",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::DeviceMismatch => "device_mismatch",
            Self::NoMinutesLeft => "no_minutes_left",
            Self::UserLimitReached => "user_limit_reached",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The outcome of a login. A permission carries its terms.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Online, on these terms.
    Allow(Grant),
    /// Not online, for this reason.
    Deny(Denial),
}

/// What an admitted device gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The budget: what Session-Timeout carries.
    pub session_timeout: Seconds,
    /// The session that goes on by it: its router authenticated it again. None: this is a new one.
    pub renews: Option<SessionId>,
    /// The sessions that must give their places up for this one.
    pub displaces: Vec<SessionId>,
    /// The token as it stands once this device is in.
    pub view: View,
}

/// A refusal and what is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The first check that failed.
    pub reason: Reason,
    /// The token, if one was found.
    pub view: Option<View>,
}

impl From<Reason> for Denial {
    fn from(reason: Reason) -> Self {
        Self { reason, view: None }
    }
}

/// A token as a decision saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The token.
    pub token: TokenId,
    /// Its code.
    pub code: Code,
    /// Its `ValidFrom`.
    pub valid_from: Option<Timestamp>,
    /// Its `ValidTo`.
    pub valid_to: Option<Timestamp>,
    /// What its pool holds; unlimited or seconds.
    pub pool: Pool,
    /// Devices at once.
    pub user_limit: u32,
    /// Devices that hold a place, with the asking one if it is allowed.
    pub devices_online: u32,
}

/// Who asks, where, under which rules.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The login.
    pub login: &'a Login<'a>,
    /// The router's rules.
    pub nas: &'a NasRules,
    /// The house rules.
    pub policy: &'a Policy,
}

impl Question<'_> {
    /// The asking device.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint<'_> {
        let login = self.login;
        let (nas, router) = (&self.nas.name, login.router);
        Endpoint { device: login.device, nas, router, nas_session: login.nas_session, ip: login.ip }
    }
}

/// One check and its outcome, for `explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was checked.
    pub check: &'static str,
    /// Whether it passed.
    pub ok: bool,
    /// What was found, in words; no code appears in it.
    pub detail: String,
}

/// Where checks are noted: `()` forgets them at no cost, a `Vec` keeps them.
pub trait Trail {
    /// Notes a check; `detail` is only called by a trail that keeps it.
    fn note(&mut self, check: &'static str, ok: bool, detail: impl FnOnce() -> String);
}

impl Trail for () {
    fn note(&mut self, _: &'static str, _: bool, _: impl FnOnce() -> String) {}
}

impl Trail for Vec<Check> {
    fn note(&mut self, check: &'static str, ok: bool, detail: impl FnOnce() -> String) {
        self.push(Check { check, ok, detail: detail() });
    }
}

/// Finds the one token that `code` means at this router among those that the source holds under it.
///
/// `candidates` are compared again here: a source that matched too much lets nothing in. Of several at this location the
/// one that is valid now counts; of several valid ones an exact match of case beats a folded one; if none is valid now, one
/// that still comes is taken before one that is over, so that the reason is `not_yet_valid` rather than `expired`.
pub fn select<'a>(
    candidates: &'a [Arc<AccessToken>],
    code: &Code,
    question: &Question<'_>,
    now: Timestamp,
    trail: &mut impl Trail,
) -> Result<&'a Arc<AccessToken>, Reason> {
    let Question { nas, policy, .. } = question;
    let of_code = || candidates.iter().filter(|token| token.code.same(code, policy.ignore_case));
    let is_one = of_code().next().is_some();
    trail.note("code", is_one, || format!("{} with this code", tokens(of_code().count())));
    if !is_one {
        return Err(Reason::UnknownCode);
    }
    let here = || of_code().filter(|token| nas.serves(token.business));
    let is_one = here().next().is_some();
    trail.note("location", is_one, || format!("{} valid at NAS {}", tokens(here().count()), nas.name));
    let mut open = here().filter(|token| token.window(now) == Window::Open);
    let several = match (open.next(), open.next()) {
        (Some(only), None) => return Ok(noted_unambiguous(only, trail)),
        (None, _) => false,
        (Some(_), Some(_)) => true,
    };
    if several {
        let mut exact = here().filter(|token| token.window(now) == Window::Open && token.code == *code);
        if let (Some(only), None) = (exact.next(), exact.next()) {
            return Ok(noted_unambiguous(only, trail));
        }
        trail.note("unambiguous", false, || "two or more tokens with this code are valid now".to_owned());
        return Err(Reason::AmbiguousCode);
    }
    let rank = |token: &&'a Arc<AccessToken>| match token.window(now) {
        Window::NotYet(from) => (0, from.as_millisecond()),
        Window::Open => (1, 0),
        Window::Over(to) => (2, to.as_millisecond().saturating_neg()),
    };
    here().min_by_key(rank).map(|token| noted_unambiguous(token, trail)).ok_or(Reason::WrongLocation)
}

fn noted_unambiguous<'a>(token: &'a Arc<AccessToken>, trail: &mut impl Trail) -> &'a Arc<AccessToken> {
    trail.note("unambiguous", true, || format!("token {}", token.id));
    token
}

fn tokens(count: usize) -> String {
    if count == 1 { "1 token".to_owned() } else { format!("{count} tokens") }
}

/// Judges one token. `account` must have had its due events applied.
pub fn decide(
    token: &AccessToken,
    account: &Account,
    question: &Question<'_>,
    now: Timestamp,
    trail: &mut impl Trail,
) -> Decision {
    let Question { login, nas, policy } = question;
    let asking = question.endpoint();
    let user_limit = token.user_limit(policy);
    let others = account.other_devices(&asking);
    let pool = account.left(token, &asking, policy, now);
    let view = View {
        token: token.id,
        code: token.code.clone(),
        valid_from: token.valid_from,
        valid_to: token.valid_to,
        pool,
        user_limit,
        devices_online: others,
    };
    let deny = |reason| Decision::Deny(Denial { reason, view: Some(view.clone()) });

    let location = nas.serves(token.business);
    if !location {
        trail.note("location", false, || {
            format!("token {} is of a location that NAS {} does not serve", token.id, nas.name)
        });
        return deny(Reason::WrongLocation);
    }

    let proven = proven(token, login);
    trail.note("password", proven, || {
        if proven { "the code or empty" } else { "neither the code nor empty" }.to_owned()
    });
    if !proven {
        return deny(Reason::WrongPassword);
    }

    let window = token.window(now);
    let begun = !matches!(window, Window::NotYet(_));
    trail.note("valid_from", begun, || bound(token.valid_from));
    if !begun {
        return deny(Reason::NotYetValid);
    }
    let lasting = !matches!(window, Window::Over(_));
    trail.note("valid_to", lasting, || bound(token.valid_to));
    if !lasting {
        return deny(Reason::Expired);
    }

    let own = fits_device(token, account, question);
    trail
        .note("device", own, || if own { "not bound to another device" } else { "bound to another device" }.to_owned());
    if !own {
        return deny(Reason::DeviceMismatch);
    }

    let budget = |pool| budget(pool, token.valid_to, policy.max_session, now);
    let session_timeout = budget(drawable(pool, user_limit, account, question, now));
    // What others were promised and cannot be told to give back is not there, wherever the device asks.
    let usable = session_timeout.min(budget(unpromised(pool, account, question, now)));
    let enough = usable >= policy.min_session && usable > Seconds::ZERO;
    trail.note("minutes", enough, || {
        let held = pool.minutes().map_or("no limit of minutes".to_owned(), |minutes| format!("{minutes} minutes left"));
        let budget = if enough { session_timeout } else { usable };
        format!("{held}; budget {budget}, at least {} needed", policy.min_session)
    });
    if !enough {
        return deny(Reason::NoMinutesLeft);
    }

    let excess = others.saturating_add(1).saturating_sub(user_limit);
    let displaces = match policy.on_user_limit {
        OnUserLimit::Deny => Vec::new(),
        OnUserLimit::ReplaceOldest => account.oldest_others(&asking, excess),
    };
    let free = excess == 0 || !displaces.is_empty();
    trail.note("user_limit", free, || {
        let replaced = if displaces.is_empty() { "" } else { "; the oldest gives its place up" };
        format!("{others} of {user_limit} places taken by other devices{replaced}")
    });
    if !free {
        return deny(Reason::UserLimitReached);
    }
    let devices_online = others.saturating_add(1).min(user_limit);
    let renews = account.sessions().iter().rfind(|session| session.is_continued_by(&asking));
    let renews = renews.map(|session| session.id);
    Decision::Allow(Grant { session_timeout, renews, displaces, view: View { devices_online, ..view } })
}

/// Whether the password fits: the code as typed or as in the record, for a MAC login the MAC; or nothing.
fn proven(token: &AccessToken, login: &Login<'_>) -> bool {
    let proof = &login.proof;
    proof.shows(b"")
        || proof.shows(login.typed)
        || match &login.claim {
            Claim::Code(code) => proof.shows(code.reveal().as_bytes()) || proof.shows(token.code.reveal().as_bytes()),
            Claim::Device(mac) => mac.any_spelling(|spelling| proof.shows(spelling)),
        }
}

fn fits_device(token: &AccessToken, account: &Account, question: &Question<'_>) -> bool {
    let bound_to = |devices: &[_]| question.login.device.is_some_and(|device| devices.contains(&device));
    match question.policy.bind_device {
        BindDevice::Honour | BindDevice::Learn if !token.devices.is_empty() => bound_to(&token.devices),
        BindDevice::Off | BindDevice::Honour => true,
        BindDevice::Learn => account.first_device().is_none_or(|first| bound_to(&[first])),
    }
}

/// What the asking device may be promised. A router that can be told to end a session gets the whole pool; another at most
/// an equal share, and never what other sessions were promised and cannot be told to give back, nor what its own old session
/// may still be found to have used. Under [`Counting::Elapsed`] devices do not draw from each other, so there is nothing to
/// share.
fn drawable(pool: Pool, user_limit: u32, account: &Account, question: &Question<'_>, now: Timestamp) -> Pool {
    if question.nas.can_disconnect || question.policy.counting == Counting::Elapsed {
        return pool;
    }
    let own = account.unreported(&question.endpoint(), now);
    pool.share(user_limit).at_most(unpromised(pool, account, question, now).less(own))
}

/// What of the pool no other session was promised for good.
fn unpromised(pool: Pool, account: &Account, question: &Question<'_>, now: Timestamp) -> Pool {
    match question.policy.counting {
        Counting::Connected => pool.less(account.promised_to_others(&question.endpoint(), now)),
        Counting::Elapsed => pool,
    }
}

fn bound(bound: Option<Timestamp>) -> String {
    bound.map_or_else(|| "no bound".to_owned(), |moment| moment.to_string())
}

impl Grant {
    /// The session that this grant opens on `token`.
    #[must_use]
    pub fn session(&self, id: SessionId, token: &AccessToken, question: &Question<'_>, now: Timestamp) -> Session {
        Session { granted: self.session_timeout, ..question.session(id, token, now) }
    }
}

impl Question<'_> {
    /// A session of the asking device on `token` that began at `now`, with all the time there may be.
    #[must_use]
    pub fn session(&self, id: SessionId, token: &AccessToken, now: Timestamp) -> Session {
        Session {
            id,
            device: self.login.device,
            code: token.code.clone(),
            contact: self.contact(&token.code),
            asker: None,
            admitted_at: now,
            granted: self.policy.max_session,
            interim: self.policy.interim_interval,
            accounting: self.nas.accounting,
            reported: None,
            ending: None,
            extension: None,
        }
    }

    /// How the asking router knows a session that was admitted on `code`.
    #[must_use]
    pub fn contact(&self, code: &Code) -> Contact {
        let login = self.login;
        let typed = std::str::from_utf8(login.typed).ok().and_then(|typed| Code::parse(typed).ok());
        Contact {
            nas: self.nas.name.clone(),
            router: login.router,
            nas_session: login.nas_session.map(Into::into),
            user_name: typed.filter(|typed| typed != code),
            ip: login.ip,
            can_disconnect: self.nas.can_disconnect,
            can_extend: self.nas.can_extend,
        }
    }
}

#[cfg(test)]
mod tests;
