//! The records upstream in a virtual day: minutes are written back to them while writes and answers are lost, administrators
//! change them, and copies of them are old.

use super::*;
use crate::core::settle::Intent;

/// How long a write may be under way.
const UNDER_WAY_FOR: Moment = 5 * SECOND;

/// How often those who owe are looked for.
const ROUND_EVERY: Moment = MINUTE;

/// A record as it is, or was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    minutes: i64,
    last_access: Option<Timestamp>,
    /// What administrators have added to it.
    added: i64,
    /// How many writes were begun by then.
    begun: u32,
}

/// The record of one token, and what is about to happen to it.
pub(super) struct Source {
    /// The minutes it began with.
    first: i64,
    record: Shown,
    /// What administrators had added to the copy that logins find, and to the one that the account saw last.
    copy_added: i64,
    seen_added: i64,
    /// The most seconds that it ever gave.
    pub(super) most: u64,
    /// What was shown of it, and what had been added to it then.
    shown: Vec<(Terms, i64)>,
    /// What writes have lowered it by.
    lowered: i64,
    begun: u32,
    landed: Option<Intent>,
    /// Whether a write is under way to it, and was accepted.
    under_way: bool,
    accepted: bool,
    /// Whether the daemon is about it.
    busy: bool,
    /// When it was settled last.
    ended: Moment,
}

/// What happens to records.
#[derive(Clone, Copy, Debug)]
pub(super) enum Upstream {
    /// Those who owe are looked for.
    Round,
    /// A record is read, and settled if it owes.
    Read {
        token: usize,
        run: u32,
    },
    /// The settlement is on disk, and the write sent.
    Write {
        token: usize,
        run: u32,
        intent: Intent,
        written: usize,
    },
    /// It arrives.
    Lands {
        token: usize,
        intent: Intent,
    },
    /// The record is read again.
    Look {
        token: usize,
        run: u32,
        intent: Intent,
    },
    /// An administrator changes it.
    Admin(usize),
    /// It is fetched, and taken in a while later.
    Fetch(usize),
    Arrives {
        token: usize,
        copy: Shown,
    },
}

impl Source {
    pub(super) fn new(minutes: i64) -> Self {
        Self {
            first: minutes,
            record: Shown { minutes, last_access: None, added: 0, begun: 0 },
            copy_added: 0,
            seen_added: 0,
            most: minutes.unsigned_abs() * 60,
            shown: Vec::new(),
            lowered: 0,
            begun: 0,
            landed: None,
            under_way: false,
            accepted: false,
            busy: false,
            ended: 0,
        }
    }

    /// The seconds it gives, were so much added.
    fn gives(&self, added: i64) -> u64 {
        (self.first + added).max(0).unsigned_abs() * 60
    }

    /// As far as the account knows.
    pub(super) fn gives_as_seen(&self) -> u64 {
        self.gives(self.seen_added)
    }

    /// As far as logins know.
    pub(super) fn gives_as_found(&self) -> u64 {
        self.gives(self.copy_added)
    }
}

fn id(token: usize) -> TokenId {
    TokenId(i64::try_from(token).unwrap())
}

impl Day {
    /// Sets out what will happen to records this day.
    pub(super) fn writes_back(&mut self) {
        if !self.chance.percent(40) {
            return;
        }
        self.comes(ROUND_EVERY, Coming::Upstream(Upstream::Round));
        for token in 0..self.tokens.len() {
            let admin = self.chance.between(5, 60) * MINUTE;
            self.comes(admin, Coming::Upstream(Upstream::Admin(token)));
            if self.keeps_last_access {
                self.comes(MINUTE, Coming::Upstream(Upstream::Fetch(token)));
            }
        }
    }

    pub(super) fn upstream(&mut self, step: Upstream) {
        // The one that leads.
        self.by(0);
        match step {
            Upstream::Round => self.round(),
            Upstream::Read { token, run } if self.goes_on(run) => self.read(token),
            Upstream::Write { token, run, intent, written } if self.goes_on(run) => {
                self.durable = self.durable.max(written.min(self.wrote.len()));
                let weather = self.weather;
                self.tokens[token].source.accepted = false;
                if !self.chance.percent(weather.lost) {
                    self.tokens[token].source.under_way = true;
                    let way = self.chance.between(1, UNDER_WAY_FOR);
                    self.comes(self.now + way, Coming::Upstream(Upstream::Lands { token, intent }));
                }
                let look = Upstream::Look { token, run, intent };
                self.comes(self.now + UNDER_WAY_FOR + 1, Coming::Upstream(look));
            }
            Upstream::Look { token, run, intent } if self.goes_on(run) => self.end_settlement(token, intent),
            // A power cut came between.
            Upstream::Read { .. } | Upstream::Write { .. } | Upstream::Look { .. } => {}
            Upstream::Lands { token, intent } => {
                let accepted = !self.chance.percent(self.weather.lost);
                let source = &mut self.tokens[token].source;
                (source.under_way, source.accepted, source.landed) = (false, accepted, Some(intent));
                source.lowered += intent.before - intent.after;
                source.record.minutes = intent.after;
                if self.keeps_last_access {
                    source.record.last_access = Some(intent.last_access);
                }
            }
            Upstream::Admin(token) => self.administrator(token),
            Upstream::Fetch(token) => {
                let Source { record, begun, .. } = self.tokens[token].source;
                let (way, next) = (self.chance.between(1, 8 * SECOND), self.chance.between(20, 400) * SECOND);
                let copy = Shown { begun, ..record };
                self.comes(self.now + way, Coming::Upstream(Upstream::Arrives { token, copy }));
                self.comes(self.now + next, Coming::Upstream(Upstream::Fetch(token)));
            }
            Upstream::Arrives { token, copy } => {
                // Copies are at most one write old: whoever writes hands on what was read.
                if copy.begun == self.tokens[token].source.begun {
                    self.takes_copy(token, copy);
                }
            }
        }
    }

    fn goes_on(&self, run: u32) -> bool {
        self.up && self.run == run
    }

    fn round(&mut self) {
        self.comes(self.now + ROUND_EVERY, Coming::Upstream(Upstream::Round));
        self.settles();
        if !self.up {
            return;
        }
        for token in self.ledger.owing(&self.policy, at(self.now), 2) {
            let token = usize::try_from(token.0).unwrap();
            if !self.tokens[token].source.busy {
                self.tokens[token].source.busy = true;
                let way = self.chance.between(1, self.weather.way);
                self.comes(self.now + way, Coming::Upstream(Upstream::Read { token, run: self.run }));
            }
        }
    }

    fn read(&mut self, token: usize) {
        let source = &mut self.tokens[token].source;
        if source.under_way {
            // From before a power cut: it is too early to tell.
            source.busy = false;
            return;
        }
        if let Some(intent) = self.ledger.open_settlement(id(token)) {
            self.tokens[token].source.accepted = false;
            self.end_settlement(token, intent);
            return;
        }
        if let Some((intent, written)) = self.begin_settlement(token) {
            let takes = self.chance.between(1, 200);
            let write = Upstream::Write { token, run: self.run, intent, written };
            self.comes(self.now + takes, Coming::Upstream(write));
        }
    }

    fn begin_settlement(&mut self, token: usize) -> Option<(Intent, usize)> {
        let before = self.bounds();
        let record = self.tokens[token].source.record;
        let read = self.token_of(token, record);
        let begun = self.ledger.begin_settlement(&read, &self.policy, at(self.now));
        self.noted();
        let begun = begun.and_then(|(intent, written)| self.holds(written).then_some(intent));
        self.takes_copy(token, record);
        self.knows(token, before[token]);
        self.kept_within(&before, "a settlement began");
        let source = &mut self.tokens[token].source;
        source.busy = begun.is_some();
        let intent = begun?;
        source.begun += 1;
        assert!(intent.after >= 0 && intent.after < intent.before, "{self:?}: {intent:?}");
        Some((intent, self.wrote.len()))
    }

    fn end_settlement(&mut self, token: usize, intent: Intent) {
        let before = self.bounds();
        let Source { record, accepted, landed, .. } = self.tokens[token].source;
        let read = self.token_of(token, record);
        let outcome = intent.resolve(&read, accepted);
        assert_eq!(outcome.counts(), landed == Some(intent), "{self:?}: token {token}: {intent:?} {outcome:?}");
        let (policy, now) = (&self.policy, at(self.now));
        let written = self.ledger.end_settlement(id(token), &intent, outcome.counts(), Some(&read), policy, now);
        self.noted();
        assert!(self.holds(written));
        self.takes_copy(token, record);
        self.knows(token, before[token]);
        self.kept_within(&before, "a settlement ended");
        (self.tokens[token].source.busy, self.tokens[token].source.ended) = (false, self.now);
    }

    fn administrator(&mut self, token: usize) {
        let account = self.account(token);
        let source = &self.tokens[token].source;
        // Whatever is changed between a read and the write is written over; and what is not on disk yet may be looked up anew.
        let settling = source.busy || source.under_way || account.open_settlement().is_some();
        let next = if settling || self.now < source.ended + 2 * SECOND {
            10 * SECOND
        } else {
            let by = self.chance.one_of(&[30, 7, -5, -15]);
            let source = &mut self.tokens[token].source;
            let minutes = (source.record.minutes + by).max(0);
            let latest = account.latest_settlement().map(|latest| latest.intent);
            // By the minutes alone these could not be told apart.
            if latest.is_none_or(|intent| ![intent.before, intent.after].contains(&minutes)) {
                source.record.added += minutes - source.record.minutes;
                source.record.minutes = minutes;
                source.most = source.most.max(source.gives(source.record.added));
            }
            self.chance.between(5, 60) * MINUTE
        };
        self.comes(self.now + next, Coming::Upstream(Upstream::Admin(token)));
    }

    fn token_of(&self, token: usize, shown: Shown) -> AccessToken {
        let Shown { minutes, last_access, .. } = shown;
        AccessToken { minutes_left: minutes.try_into().ok(), last_access, ..self.tokens[token].token.clone() }
    }

    /// Logins find this copy from now on.
    fn takes_copy(&mut self, token: usize, copy: Shown) {
        let found = self.token_of(token, copy);
        let terms = Terms::of(&found, &self.policy);
        let watched = &mut self.tokens[token];
        watched.token = found;
        watched.source.copy_added = copy.added;
        watched.source.shown.push((terms, copy.added));
    }

    /// The account may have seen the copy that logins find: what it gave `was` used and promised before.
    pub(super) fn knows(&mut self, token: usize, was: u64) {
        let terms = Terms::of(&self.tokens[token].token, &self.policy);
        if self.look(token, Account::terms) != Some(terms) {
            return;
        }
        let Watched { source, bound, .. } = &mut self.tokens[token];
        let former = source.gives_as_seen();
        source.seen_added = source.copy_added;
        let gives = source.gives_as_seen();
        if gives != former && self.policy.counting == Counting::Connected {
            *bound = gives.max(was);
        }
    }

    /// After a power cut the account may have seen less.
    pub(super) fn sees_what_is_kept(&mut self) {
        self.run += 1;
        for token in 0..self.tokens.len() {
            let terms = self.look(token, Account::terms);
            let Watched { source, bound, .. } = &mut self.tokens[token];
            source.busy = false;
            let added = source.shown.iter().filter(|(shown, _)| Some(*shown) == terms).map(|(_, added)| *added);
            let added: Vec<_> = added.collect();
            if let (Some(least), Some(most)) = (added.iter().min(), added.iter().max()) {
                source.seen_added = *least;
                *bound = (*bound).max(source.gives(*most));
            }
        }
    }

    /// What records were lowered by, and what they were not, is what was used; and nothing is written twice.
    fn settles(&self) {
        for (token, Watched { token: copy, source, .. }) in self.tokens.iter().enumerate() {
            let account = self.account(token);
            if account.open_settlement().is_none() {
                let lowered = source.lowered.unsigned_abs() * 60;
                assert_eq!(account.written.0, lowered, "{self:?}: token {token}: written {:?}", account.settlement);
            }
            let used = account.usage(&self.policy, at(self.now)).0;
            let record = (self.token_of(token, source.record), source.record.added);
            for (shown, added) in [record, (copy.clone(), source.copy_added)] {
                let left = Pool::Holds(Seconds(source.gives(added).saturating_sub(used)));
                let is_left = account.left_of(&shown, &self.policy, at(self.now));
                assert_eq!(is_left, left, "{self:?}: token {token}: by {shown:?}, {:?}", account.settlement);
            }
        }
    }

    /// In the evening everything is settled.
    pub(super) fn all_is_settled(&mut self) {
        self.by(0);
        for token in 0..self.tokens.len() {
            // What was under way is lost.
            (self.tokens[token].source.under_way, self.tokens[token].source.accepted) = (false, false);
            if let Some(intent) = self.ledger.open_settlement(id(token)) {
                self.end_settlement(token, intent);
            }
            if let Some((intent, _)) = self.begin_settlement(token) {
                self.upstream(Upstream::Lands { token, intent });
                self.end_settlement(token, intent);
            }
            let (account, source) = (self.account(token), &self.tokens[token].source);
            let rest = account.certain(&self.policy, at(self.now)).less(account.written);
            assert!(rest < Seconds(60) || source.record.minutes == 0, "{self:?}: token {token}: {rest} not written");
            assert_eq!(source.record.minutes, source.first + source.record.added - source.lowered);
        }
        self.settles();
    }
}
