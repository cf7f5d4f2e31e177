//! What was done to an account together, and is handed on together.

use std::collections::HashMap;
use std::mem;

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::{LOT_BITS, Rests};
use crate::core::account::Account;
use crate::core::budget::Seconds;
use crate::core::event::Event;
use crate::core::ident::{SessionId, TokenId};
use crate::core::policy::Policy;
use crate::core::session::Report;
use crate::journal::Record;
use crate::ledger::shard::{Ends, applied};
use crate::ledger::{Unwritten, written};

/// What was done together.
#[derive(Debug)]
pub(super) struct Deed {
    pub(super) at: Timestamp,
    pub(super) events: Vec<Event>,
    pub(super) ends: Ends,
    pub(super) rests: Rests,
    /// Who waits for the database; none: it was acknowledged already.
    pub(super) done: Option<oneshot::Sender<Result<(), Unwritten>>>,
    /// Whether it stands in the outbox.
    pub(super) is_kept: bool,
    /// The database says that a session is over of which it speaks: it is not let in again, and asked for no more.
    pub(super) is_late: bool,
}

impl Deed {
    /// By which an account is asked for, or waited for.
    pub(super) const fn nothing(done: Option<oneshot::Sender<Result<(), Unwritten>>>) -> Self {
        let ends = Ends { closed: Vec::new(), reopened: Vec::new() };
        Self {
            at: Timestamp::UNIX_EPOCH,
            events: Vec::new(),
            ends,
            rests: Rests::Names,
            done,
            is_kept: false,
            is_late: false,
        }
    }

    /// Whether nobody minds that it is not done.
    pub(super) const fn is_nothing(&self) -> bool {
        self.events.is_empty() && self.done.is_none() && !self.is_kept
    }

    /// The sessions that it lets in.
    fn let_in(&self) -> Vec<SessionId> {
        let let_in = |event: &Event| if let Event::Admitted(session) = event { Some(session.id) } else { None };
        self.events.iter().filter_map(let_in).collect()
    }

    /// Whether it lets a session in by what its router says: it may have ended by what is pending, and be forgotten since.
    pub(super) fn finds(&self) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Admitted(session) if session.reported.is_some()))
    }

    /// Whether it says something of a session that this account does not know.
    pub(super) fn is_of_none_in(&self, account: &Account) -> bool {
        let let_in = self.let_in();
        self.sessions().any(|id| !account.knows(id) && !let_in.contains(&id))
    }

    /// Leaves out what it says of such sessions.
    pub(super) fn says_nothing_of_those_unknown_to(&mut self, account: &Account) {
        let let_in = self.let_in();
        let is_known = |id| account.knows(id) || let_in.contains(&id);
        self.events.retain(|event| event.session().is_none_or(is_known));
    }

    /// A session that a daemon met by a report while it knew of no other may be one that others know: by the name that its router
    /// has for it. So may one that was let in here, which another met by a report. What is said of it is said of that one.
    pub(super) fn call_by(&mut self, names: &mut HashMap<SessionId, SessionId>, account: &Account) {
        for event in &self.events {
            if let Event::Admitted(session) = event
                && (session.id.is_met() || self.is_kept)
                && !account.knows(session.id)
                && let Some(known) = account.named_as(session)
            {
                names.insert(session.id, known.id);
            }
        }
        if names.is_empty() {
            return;
        }
        let events = mem::take(&mut self.events).into_iter();
        // At the moment at which it was let in; later its router began anew.
        let at_ms = self.at.as_millisecond();
        let is_withdrawn = |event: &Event| matches!(event, Event::Lapsed { session, counts: Seconds::ZERO } if names.contains_key(session) && session.time().as_millisecond() >= at_ms);
        // Who is told to ask again is in: its router has spoken of it.
        let events = events.filter(|event| !is_withdrawn(event));
        let called = events.filter_map(|event| match event {
            Event::Admitted(session) => match names.get(&session.id) {
                Some(_) if session.reported.is_some() => None,
                Some(known) => Some(Event::Renewed { session: *known, granted: session.granted }),
                None => Some(Event::Admitted(session)),
            },
            event => Some(event.of_another(|id| names.get(&id).copied().unwrap_or(id))),
        });
        self.events = called.collect();
    }

    /// Does it to the account as others have changed it: who was let in ends no later session of the same device, and what the
    /// token gave then is not what it gives now. What others did is judged by the account as it `stood`: what was done here before
    /// was known.
    pub(super) fn apply_anew(
        &mut self,
        token: TokenId,
        account: &mut Account,
        (version, stood): (u64, &Account),
        policy: &Policy,
    ) {
        // What was seen before others last changed the account, they may know better.
        let is_older = version >> LOT_BITS > self.at.as_millisecond().unsigned_abs();
        if self.is_kept && is_older && account.terms().is_some() {
            self.events.retain(|event| !matches!(event, Event::Seen(_)));
        }
        let at = self.at;
        self.events.retain(|event| !stood.has_overtaken(at, event));
        for event in &mut self.events {
            if let Event::Admitted(session) = event
                && account.followed(session).is_some()
            {
                let (at, seconds) = (session.admitted_at, Seconds::ZERO);
                session.reported.get_or_insert(Report { at, seconds, input_octets: 0, output_octets: 0 });
            }
        }
        self.ends = applied(token, account, policy, self.at, &self.events);
    }

    pub(super) fn becomes(self, outcome: Result<(), Unwritten>) {
        if let Some(done) = self.done {
            let _ = done.send(outcome);
        }
    }

    /// The sessions of which it speaks.
    pub(super) fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.events.iter().filter_map(Event::session)
    }

    /// The sessions that may have ended, and that an account may have forgotten which is so with it: see
    /// [`Change::doubted`](super::Change::doubted).
    pub(super) fn doubted(&self, account: &Account) -> impl Iterator<Item = SessionId> {
        let doubted = move |event: &Event| match event {
            Event::Admitted(session) if self.is_kept || session.reported.is_some() => Some(session.id),
            event => event.session().filter(|id| self.is_kept && !account.knows(*id)),
        };
        self.events.iter().filter_map(doubted).filter(|_| !self.is_late)
    }

    /// That whoever it let in is told to ask again, and is not in; who became known by a report is.
    pub(super) fn withdrawn(&self) -> Option<Self> {
        let session = self.events.iter().find_map(|event| match event {
            Event::Admitted(session) if session.reported.is_none() => Some(session.id),
            _ => None,
        })?;
        let events = vec![Event::Lapsed { session, counts: Seconds::ZERO }];
        let (at, ends, rests) = (self.at, Ends::default(), Rests::Names);
        Some(Self { at, events, ends, rests, done: None, is_kept: false, is_late: false })
    }

    /// As it is written down.
    pub(super) fn records(&self, token: TokenId) -> impl Iterator<Item = Record> {
        let at_ms = self.at.as_millisecond();
        let payloads = self.events.iter().filter_map(written::event);
        payloads.map(move |payload| Record { token: token.0, at_ms, payload })
    }

    /// Whether it says of a session how long it has run, as the former does, and nothing less.
    pub(super) fn says_more_than(&self, former: &Self) -> bool {
        let report = |deed: &Self| match deed.events.as_slice() {
            [Event::Progressed { report, .. }] => Some(*report),
            _ => None,
        };
        report(self).zip(report(former)).is_some_and(|(later, earlier)| {
            later.at >= earlier.at
                && later.seconds >= earlier.seconds
                && later.input_octets >= earlier.input_octets
                && later.output_octets >= earlier.output_octets
        })
    }

    /// Whether it may only be done once the database has it: minutes are not written upstream by two.
    pub(super) fn waits_for_the_database(&self) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Settling(_)))
    }

    /// The session of which this only says how long it has run.
    pub(super) fn progress(&self) -> Option<SessionId> {
        match self.events.as_slice() {
            [Event::Progressed { session, .. }] => Some(*session),
            _ => None,
        }
    }
}
