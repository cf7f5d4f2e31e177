//! A session that must go: why, and how its router is told, again and again, until it is proven gone.

use jiff::Timestamp;

use super::budget::Seconds;

/// That a session must go, and how far that is.
///
/// It goes on to count, and to hold its place, until its Stop, "no such session" or silence proves the end (contract,
/// "Deciding"); an acknowledgement alone proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ending {
    /// Why.
    pub cause: Cause,
    /// Since when.
    pub since: Timestamp,
    /// How often its router was told.
    pub tries: u32,
    /// What its router last answered.
    pub last: Option<Told>,
    /// When to tell it again; none if it cannot be told.
    pub next_try: Option<Timestamp>,
}

/// Why a session must go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Another device has taken its place.
    Displaced,
    /// An operator wants it so.
    Operator,
    /// Its router lets it run on beyond its Session-Timeout.
    Overran,
    /// The token's `ValidTo` has come.
    Over,
    /// The token's pool is empty.
    UsedUp,
    /// The token is gone, or no longer valid at the session's NAS.
    Revoked,
    /// The guest has logged out.
    Guest,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 7] =
        [Self::Displaced, Self::Operator, Self::Overran, Self::Over, Self::UsedUp, Self::Revoked, Self::Guest];

    /// Its name in logs, answers and the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Displaced => "displaced",
            Self::Operator => "operator",
            Self::Overran => "overran",
            Self::Over => "over",
            Self::UsedUp => "used_up",
            Self::Revoked => "revoked",
            Self::Guest => "guest",
        }
    }

    /// Whether the session's place is free at once, before it is gone.
    #[must_use]
    pub const fn gives_up_place(self) -> bool {
        matches!(self, Self::Displaced | Self::Guest)
    }
}

/// What came of telling a router once (RFC 5176).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Told {
    /// Disconnect-ACK: its Stop is awaited.
    Acked,
    /// Disconnect-NAK with this Error-Cause; 0 if it named none.
    Refused(u32),
    /// No answer.
    Unanswered,
    /// It could not be sent: nobody is known by this name and address, say.
    Unsendable,
}

impl Told {
    /// Its name in logs, answers and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acked => "acked",
            Self::Refused(_) => "refused",
            Self::Unanswered => "unanswered",
            Self::Unsendable => "unsendable",
        }
    }
}

/// Session-Context-Not-Found (RFC 5176 §3.5): the session is gone.
pub const SESSION_CONTEXT_NOT_FOUND: u32 = 503;

/// How long a Stop may take after an acknowledgement, before that is reported and the router told again.
pub const STOP_AWAITED: Seconds = Seconds(30);

/// The longest time until an answer, or its lack, is known; should it never be, the router is told again.
const ANSWER_AWAITED: Seconds = Seconds(60);

impl Ending {
    /// An ending that nobody was told of yet; `tellable` if the router can be.
    #[must_use]
    pub fn new(cause: Cause, since: Timestamp, tellable: bool) -> Self {
        Self { cause, since, tries: 0, last: None, next_try: tellable.then_some(since) }
    }

    /// Whether the session is to be named by fewer attributes this time: every other time, since routers differ in what
    /// they take (facts/hotspot.md §3).
    #[must_use]
    pub const fn reduced(&self) -> bool {
        self.tries.is_multiple_of(2)
    }

    /// Its router is being told at `at`.
    pub(super) fn telling(&mut self, at: Timestamp) {
        self.tries = self.tries.saturating_add(1);
        self.next_try = Some(ANSWER_AWAITED.after(at));
    }

    /// What came of it, by `at`.
    pub(super) fn told(&mut self, told: Told, at: Timestamp) {
        self.last = Some(told);
        let wait = if told == Told::Acked { STOP_AWAITED } else { back_off(self.tries) };
        self.next_try = Some(wait.after(at));
    }
}

/// The pause after a try that failed: short before the other set of attributes, then longer and longer. Each try takes
/// seconds itself.
const fn back_off(tries: u32) -> Seconds {
    match tries {
        0 | 1 => Seconds(1),
        2 => Seconds(10),
        3 | 4 => Seconds(30),
        5..=8 => Seconds(60),
        _ => Seconds(300),
    }
}
