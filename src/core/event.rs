//! What happens to an account, and what a router reports.

use jiff::Timestamp;

use super::budget::{Pool, Seconds};
use super::ending::{Cause, Told};
use super::ident::{SessionId, TokenId};
use super::policy::Policy;
use super::session::{Contact, Report, Session};
use super::settle::Intent;
use super::token::AccessToken;

/// What a token gives, as far as its running sessions depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    /// Its pool, before our own usage is taken out.
    pub pool: Pool,
    /// Its `ValidTo`.
    pub valid_to: Option<Timestamp>,
    /// Its `LastAccess`, by which a write of ours is known again.
    pub last_access: Option<Timestamp>,
}

impl Terms {
    /// Those of `token`.
    #[must_use]
    pub fn of(token: &AccessToken, policy: &Policy) -> Self {
        Self { pool: token.pool(policy), valid_to: token.valid_to, last_access: token.last_access }
    }
}

/// News of a session, from its router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It began.
    Start,
    /// It goes on.
    Interim,
    /// It ended.
    Stop,
}

/// What a router reported of a session.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The session by our own name, and its token, if the report carried them (Class).
    pub session: Option<(SessionId, TokenId)>,
    /// What happened.
    pub news: News,
    /// Time and octets.
    pub report: Report,
    /// Whoever reports has measured no time: what has passed since the admission counts.
    pub unmeasured: bool,
}

/// What happens to an account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A device was let in, or is found to be in by what its router reports of it. Its older sessions end here.
    Admitted(Box<Session>),
    /// A session authenticated again, and goes on.
    Renewed {
        /// Which.
        session: SessionId,
        /// The Session-Timeout, counted from its begin.
        granted: Seconds,
    },
    /// The token was seen to give this.
    Seen(Terms),
    /// A session's router is known better.
    Contacted {
        /// Which.
        session: SessionId,
        /// How it is known from now on.
        contact: Box<Contact>,
    },
    /// The router reported a session's time so far (Start: none).
    Progressed {
        /// Which.
        session: SessionId,
        /// What was said.
        report: Report,
    },
    /// The router reported the end of a session.
    Stopped {
        /// Which.
        session: SessionId,
        /// What was said.
        report: Report,
    },
    /// A session ended without the router saying so.
    Lapsed {
        /// Which.
        session: SessionId,
        /// The time it counts for.
        counts: Seconds,
    },
    /// A session must go.
    Ending {
        /// Which.
        session: SessionId,
        /// Why.
        cause: Cause,
    },
    /// A session may last longer, and its router is to be offered that. Not kept.
    Extending {
        /// Which.
        session: SessionId,
        /// The Session-Timeout, counted from its begin.
        to: Seconds,
    },
    /// Its router gave it another timeout.
    Granted {
        /// Which.
        session: SessionId,
        /// The Session-Timeout, counted from its begin.
        granted: Seconds,
    },
    /// Its router is being told. Not kept: after a restart it is told again.
    Telling {
        /// Which.
        session: SessionId,
    },
    /// Its router is told later, since too much is under way to it. Not kept.
    PutOff {
        /// Which.
        session: SessionId,
    },
    /// What its router answered. Not kept.
    Told {
        /// Which.
        session: SessionId,
        /// The answer.
        told: Told,
    },
    /// Minutes are about to be written back.
    Settling(Intent),
    /// They were.
    Settled(Intent),
    /// They were not, and will be tried again.
    Unsettled(Intent),
    /// An operator had the pool start from the token's minutes again.
    Forgotten {
        /// What was used by then: it counts as written.
        used: Seconds,
    },
}

impl Event {
    /// The session it happens to; none: it happens to the account.
    #[must_use]
    pub const fn session(&self) -> Option<SessionId> {
        match self {
            Self::Admitted(session) => Some(session.id),
            Self::Renewed { session, .. }
            | Self::Contacted { session, .. }
            | Self::Progressed { session, .. }
            | Self::Stopped { session, .. }
            | Self::Lapsed { session, .. }
            | Self::Ending { session, .. }
            | Self::Extending { session, .. }
            | Self::Granted { session, .. }
            | Self::Telling { session }
            | Self::PutOff { session }
            | Self::Told { session, .. } => Some(*session),
            Self::Seen(_) | Self::Settling(_) | Self::Settled(_) | Self::Unsettled(_) | Self::Forgotten { .. } => None,
        }
    }

    /// The same of the session that is known by another name.
    #[must_use]
    pub(crate) fn of_another(mut self, name: impl Fn(SessionId) -> SessionId) -> Self {
        match &mut self {
            Self::Renewed { session, .. }
            | Self::Contacted { session, .. }
            | Self::Progressed { session, .. }
            | Self::Stopped { session, .. }
            | Self::Lapsed { session, .. }
            | Self::Ending { session, .. }
            | Self::Extending { session, .. }
            | Self::Granted { session, .. }
            | Self::Telling { session }
            | Self::PutOff { session }
            | Self::Told { session, .. } => *session = name(*session),
            Self::Admitted(_)
            | Self::Seen(_)
            | Self::Settling(_)
            | Self::Settled(_)
            | Self::Unsettled(_)
            | Self::Forgotten { .. } => {}
        }
        self
    }

    /// Whether somebody is let in by it: for that, nobody waits until it is written down.
    #[must_use]
    pub fn lets_in(&self) -> bool {
        match self {
            Self::Admitted(session) => session.reported.is_none(),
            Self::Renewed { .. } => true,
            _ => false,
        }
    }

    /// Whether the event must outlive the process.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        !matches!(self, Self::Extending { .. } | Self::Telling { .. } | Self::PutOff { .. } | Self::Told { .. })
    }
}
