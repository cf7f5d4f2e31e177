//! Minutes owed upstream: what of a token's usage its `MinutesLeft` is still to be lowered by, and how a write that arrived
//! is told from one that did not.
//!
//! A settlement is opened before the write is made and closed once a read has shown what became of it. Copies of the token
//! show the write before or after that; by neither does the pool change, since whatever a copy shows is put against it.

use jiff::Timestamp;

use super::account::Account;
use super::budget::{Pool, Seconds};
use super::event::{Event, Terms};
use super::policy::{Counting, Policy};
use super::token::AccessToken;

/// One write of `MinutesLeft`, as it is meant. No two of one account have the same `last_access`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Intent {
    /// `MinutesLeft` as it was read.
    pub before: i64,
    /// `MinutesLeft` as it is to be; less.
    pub after: i64,
    /// The `LastAccess` written with it: another than was read, to the whole second, so that a read tells whether the write
    /// arrived even where somebody changed the minutes since.
    pub last_access: Timestamp,
}

/// The latest settlement of an account. It is remembered when it is closed, since copies from before may still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Settlement {
    /// The write.
    pub intent: Intent,
    /// How far it is.
    pub stage: Stage,
}

/// How far a settlement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// It may have been written, or not.
    Open,
    /// It was written; a copy from before may be about.
    Written,
    /// It was written, and whatever a copy shows was so after it.
    Past,
    /// It was given up, and is not expected to arrive.
    GivenUp,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 4] = [Self::Open, Self::Written, Self::Past, Self::GivenUp];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Written => "written",
            Self::Past => "past",
            Self::GivenUp => "given_up",
        }
    }
}

/// What a read tells of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It arrived.
    Arrived,
    /// It did not arrive, and may be tried again.
    NotArrived,
    /// It was accepted, and the record is as before: such writes do not last.
    NotKept,
    /// The minutes are neither those before nor those after, and the answer was lost. It counts as arrived, since it must not
    /// be made twice; that is to be reported.
    Unclear,
}

impl Outcome {
    /// Whether the minutes count as written.
    #[must_use]
    pub const fn counts(self) -> bool {
        matches!(self, Self::Arrived | Self::Unclear)
    }
}

impl Intent {
    /// What it lowers the token's pool by.
    #[must_use]
    pub fn lowers_by(&self) -> Seconds {
        Seconds::from_minutes(self.before.saturating_sub(self.after))
    }

    /// What `read`, made after the write can no longer be under way, tells of it; `accepted` says whether the server answered
    /// that it took it.
    #[must_use]
    pub fn resolve(&self, read: &AccessToken, accepted: bool) -> Outcome {
        let arrived = accepted || self.is_named_by(read.last_access);
        match (read.minutes(), arrived) {
            (Some(minutes), _) if minutes == self.after => Outcome::Arrived,
            (Some(minutes), true) if minutes == self.before => Outcome::NotKept,
            (Some(minutes), false) if minutes == self.before => Outcome::NotArrived,
            (_, true) => Outcome::Arrived,
            (_, false) => Outcome::Unclear,
        }
    }

    fn is_named_by(&self, last_access: Option<Timestamp>) -> bool {
        last_access.is_some_and(|at| at.as_second() == self.last_access.as_second())
    }

    /// Whether a copy that shows these terms has it, if nothing else is known of it.
    fn is_in(&self, terms: &Terms) -> bool {
        self.left_its_name_in(terms) || terms.pool == Pool::Holds(Seconds::from_minutes(self.after))
    }

    /// Whether it wrote the `LastAccess` of this copy, and the minutes with it: a server may keep the one and not the other.
    fn left_its_name_in(&self, terms: &Terms) -> bool {
        self.is_named_by(terms.last_access) && terms.pool != Pool::Holds(Seconds::from_minutes(self.before))
    }

    /// Whether a copy that shows these terms is from before it.
    fn is_after(&self, terms: &Terms) -> bool {
        !self.is_named_by(terms.last_access) && terms.pool == Pool::Holds(Seconds::from_minutes(self.before))
    }
}

impl Account {
    /// The latest settlement.
    #[must_use]
    pub const fn latest_settlement(&self) -> Option<&Settlement> {
        self.settlement.as_ref()
    }

    /// The write that may have been made, or not.
    #[must_use]
    pub fn open_settlement(&self) -> Option<Intent> {
        self.settlement.filter(|latest| latest.stage == Stage::Open).map(|latest| latest.intent)
    }

    /// What was used for sure: it does not fall when a session ends without a further word. Where a router reports although
    /// it was said not to, it may.
    #[must_use]
    pub fn certain(&self, policy: &Policy, now: Timestamp) -> Seconds {
        match policy.counting {
            Counting::Connected => {
                let live = self.sessions.iter().map(|session| session.counts_without_stop(now));
                self.usage.plus(live.sum())
            }
            Counting::Elapsed => self.usage(policy, now),
        }
    }

    /// What of the usage a copy of the token that shows these terms has in it.
    #[must_use]
    pub fn shown(&self, terms: &Terms) -> Seconds {
        let Some(Settlement { intent, stage }) = &self.settlement else { return self.written };
        match stage {
            Stage::Open if intent.is_in(terms) => self.written.plus(intent.lowers_by()),
            Stage::GivenUp if intent.left_its_name_in(terms) => self.written.plus(intent.lowers_by()),
            Stage::Written if intent.is_after(terms) => self.written.less(intent.lowers_by()),
            _ => self.written,
        }
    }

    /// Time used by `now` that a copy of the token with these terms does not show.
    #[must_use]
    pub fn unshown(&self, terms: &Terms, policy: &Policy, now: Timestamp) -> Seconds {
        self.usage(policy, now).less(self.shown(terms))
    }

    /// Time used by `now` that is not written back.
    #[must_use]
    pub fn unwritten(&self, policy: &Policy, now: Timestamp) -> Seconds {
        self.usage(policy, now).less(self.written)
    }

    /// The pool of a token with these terms after `used` was taken out, but for what the copy shows. Where more was written
    /// than turned out to be used, the rest is given back.
    pub(super) fn pool_less(&self, used: Seconds, terms: &Terms) -> Pool {
        terms.pool.plus(self.shown(terms)).less(used)
    }

    /// Whole minutes that are to be written; none while it is open whether some were.
    #[must_use]
    pub fn owed(&self, policy: &Policy, now: Timestamp) -> u64 {
        if self.open_settlement().is_some() {
            return 0;
        }
        self.certain(policy, now).less(self.written).minutes()
    }

    /// Whole minutes by which the token could be lowered now, as far as is known of it.
    #[must_use]
    pub fn writable(&self, policy: &Policy, now: Timestamp) -> u64 {
        let held = match self.terms() {
            Some(Terms { pool: Pool::Holds(held), .. }) => held.minutes(),
            Some(Terms { pool: Pool::Unlimited, .. }) => 0,
            None => u64::MAX,
        };
        self.owed(policy, now).min(held)
    }

    /// The write by which the token, `read` just now, is settled; none if there is nothing to write.
    #[must_use]
    pub fn settlement(&self, read: &AccessToken, policy: &Policy, now: Timestamp) -> Option<Intent> {
        if read.pool(policy) == Pool::Unlimited {
            return None;
        }
        let before = read.minutes()?;
        let owed = i64::try_from(self.owed(policy, now)).unwrap_or(i64::MAX);
        let after = before.saturating_sub(owed).max(read.least_minutes(policy));
        (after < before).then(|| Intent { before, after, last_access: self.next_last_access(read, now) })
    }

    /// The event by which a write that was given up turns out to have arrived after all.
    #[must_use]
    pub fn arrived_late(&self, read: &AccessToken) -> Option<Event> {
        let Settlement { intent, stage } = self.settlement?;
        let arrived = intent.is_named_by(read.last_access) && read.minutes() != Some(intent.before);
        (stage == Stage::GivenUp && arrived).then_some(Event::Settled(intent))
    }

    /// The latest use, to the whole second, and later than what is there and than what was written before.
    fn next_last_access(&self, read: &AccessToken, now: Timestamp) -> Timestamp {
        let reported = |session: &super::session::Session| session.reported.map(|report| report.at);
        let sessions = self.sessions.iter().chain(self.ended.iter().map(|ended| &ended.session));
        let used = sessions.filter_map(reported).max().max(self.last_used);
        let former = read.last_access.max(self.settlement.map(|latest| latest.intent.last_access));
        let second = |at: Timestamp| Timestamp::from_second(at.as_second()).unwrap_or(at);
        let used = second(used.unwrap_or(now));
        former.map_or(used, |former| used.max(Seconds(1).after(second(former))))
    }

    /// A write is about to be made. One that is not newer than the latest is that one again.
    pub(super) fn open(&mut self, intent: Intent) {
        if self.settlement.is_none_or(|latest| intent.last_access > latest.intent.last_access) {
            self.settlement = Some(Settlement { intent, stage: Stage::Open });
        }
    }

    /// It arrived, or counts as such.
    pub(super) fn close(&mut self, intent: Intent) {
        let known = self.settlement.as_mut().filter(|latest| latest.intent == intent);
        if let Some(latest) = known
            && matches!(latest.stage, Stage::Open | Stage::GivenUp)
        {
            latest.stage = Stage::Written;
            self.written = self.written.plus(intent.lowers_by());
            self.compare();
        }
    }

    /// It did not arrive.
    pub(super) fn give_up(&mut self, intent: Intent) {
        let open = Settlement { intent, stage: Stage::Open };
        if let Some(latest) = self.settlement.as_mut().filter(|latest| **latest == open) {
            latest.stage = Stage::GivenUp;
        }
    }

    /// The pool starts from the token's minutes again.
    pub(super) fn forget_usage(&mut self, used: Seconds) {
        // A second time, later, it says nothing new.
        self.written = self.written.max(used);
        if let Some(latest) = &mut self.settlement {
            latest.stage = Stage::Past;
        }
    }

    /// Once a copy shows what was so after the write, and not by its `LastAccess`, a later one that shows the minutes from
    /// before is no copy from before: somebody set them so.
    pub(super) fn compare(&mut self) {
        let (Some(Settlement { intent, stage }), Some(terms)) = (&mut self.settlement, &self.terms) else { return };
        if *stage == Stage::Written && !intent.is_after(terms) && !intent.is_named_by(terms.last_access) {
            *stage = Stage::Past;
        }
    }
}

#[cfg(test)]
mod tests;
