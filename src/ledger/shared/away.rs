//! While the database is away: what happens is kept in a journal of this daemon, acknowledged from there, and handed on once the
//! database is back, each account's in the order in which it happened.

use std::collections::{BTreeSet, HashMap};
use std::future::Future as _;
use std::mem;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use jiff::Timestamp;

use super::deed::Deed;
use super::{Ledger, Rests, Shared, settle};
use crate::core::budget::moment;
use crate::core::event::Event;
use crate::core::ident::{SessionId, TokenId};
use crate::core::policy::Policy;
use crate::journal::{self, Closed, Entry, Journal, OpenError};
use crate::ledger::shard::Ends;
use crate::ledger::{Book, Unwritten, Written, lock, written};

/// Records that are kept, at most: with room on the disk for a gigabyte, and in memory when they are read at a start. A thousand
/// sessions that report each five minutes say so much in a week.
const RECORDS_AT_MOST: usize = 2_000_000;

/// How long the outbox's disk is waited for, when the database goes.
const KEPT_WITHIN: Duration = Duration::from_secs(5);

/// What this daemon keeps until the database has it.
#[derive(Debug)]
pub(super) struct Outbox {
    journal: Journal,
    /// Deeds in it that the database does not have.
    owed: usize,
    /// Records in it.
    records: usize,
    /// Those of them that this release cannot read: a later one may, so they stay.
    unreadable: usize,
    /// How many it takes.
    room: usize,
    /// So many records are being written down once more.
    mending: Option<(usize, journal::Ack)>,
}

impl Outbox {
    fn is_full(&self) -> bool {
        self.records >= self.room
    }
}

/// What was kept when this daemon ended.
#[derive(Debug, Default)]
pub struct Owed {
    events: Vec<(TokenId, Timestamp, Event)>,
    /// Records that could not be read.
    pub unreadable: usize,
    /// The file was damaged, and set aside.
    is_damaged: bool,
}

impl Shared {
    /// Writes a deed down here. To be called under the lock of its place, so that those of a token stay in order.
    pub(super) fn keep(&self, token: TokenId, deed: &mut Deed) -> Written {
        let records: Vec<_> = deed.records(token).collect();
        let mut outbox = lock(&self.outbox);
        let Some(outbox) = &mut *outbox else { return Written::Already };
        if records.is_empty() {
            return Written::Already;
        }
        if outbox.is_full() {
            return Written::Never(journal::Error::Full);
        }
        let count = records.len();
        match outbox.journal.append_all(records, Vec::new(), Vec::new()) {
            Ok(ack) => {
                outbox.owed += usize::from(!deed.is_kept);
                outbox.records += count;
                deed.is_kept = true;
                Written::Soon(ack)
            }
            Err(error) => Written::Never(error),
        }
    }

    /// Writes everything down again that the database does not have of a token.
    fn keep_whole(&self, token: TokenId) -> Result<(), journal::Error> {
        let place = self.place(token);
        let pending = place.busy.get(&token).into_iter().flat_map(|busy| &busy.pending).filter(|deed| deed.is_kept);
        let records: Vec<_> = pending.flat_map(|deed| deed.records(token)).collect();
        let mut outbox = lock(&self.outbox);
        let Some(outbox) = &mut *outbox else { return Ok(()) };
        let count = records.len();
        let ack = outbox.journal.append_whole(token.0, records)?;
        outbox.records += count;
        // They come to the disk in their order.
        let before = outbox.mending.take().map_or(0, |(count, _)| count);
        outbox.mending = Some((before + count, ack));
        Ok(())
    }

    /// Resolves once that is on disk, or is not; whoever gives up waiting may wait again.
    async fn is_whole(&self) -> Result<(), journal::Error> {
        std::future::poll_fn(|context| {
            let mut outbox = lock(&self.outbox);
            let Some(outbox) = &mut *outbox else { return Poll::Ready(Ok(())) };
            let Some((count, ack)) = &mut outbox.mending else { return Poll::Ready(Ok(())) };
            let Poll::Ready(outcome) = Pin::new(ack).poll(context) else { return Poll::Pending };
            if outcome.is_err() {
                outbox.records = outbox.records.saturating_sub(*count);
            }
            outbox.mending = None;
            Poll::Ready(outcome)
        })
        .await
    }

    /// The database has a deed that was kept.
    pub(super) fn paid(&self, deed: &Deed) {
        if deed.is_kept
            && let Some(outbox) = &mut *lock(&self.outbox)
        {
            outbox.owed = outbox.owed.saturating_sub(1);
        }
    }

    /// Settled once everything that was kept so far is on disk.
    pub(super) fn all_kept(&self) -> Written {
        let Some(outbox) = &*lock(&self.outbox) else { return Written::Already };
        outbox.journal.append_all(Vec::new(), Vec::new(), Vec::new()).map_or_else(Written::Never, Written::Soon)
    }

    pub(in crate::ledger) fn close(&self) -> Result<(), journal::Error> {
        let outbox = lock(&self.outbox).take();
        outbox.map_or(Ok(()), |outbox| outbox.journal.close())
    }

    pub(in crate::ledger) fn trouble(&self) -> Option<String> {
        let Some(away) = lock(&self.away).clone() else {
            let deaf = lock(&self.deaf).clone();
            return deaf
                .map(|why| format!("what other daemons do is not heard, and asked for every few seconds: {why}"));
        };
        let outbox = lock(&self.outbox);
        Some(match outbox.as_ref().map(|outbox| (outbox.journal.health(), outbox.is_full())) {
            Some((journal::Health::Failing(why) | journal::Health::Stopped(why), _)) => {
                format!("the database is away ({away}), and accounting is not acknowledged: {why}")
            }
            Some((_, true)) => {
                format!("the database is away ({away}), and accounting is not acknowledged: the outbox is full")
            }
            _ => format!("the database is away, and what happens is kept here: {away}"),
        })
    }
}

impl Ledger {
    /// A ledger of accounts that others change too, and what this daemon did not get rid of before it ended. It is empty until
    /// [`Ledger::heard`] fills it. What the database does not take is kept in `folder`. It blocks.
    ///
    /// # Errors
    ///
    /// Another daemon uses the folder, or it cannot be written.
    pub fn shared_from(folder: &Path, now: Timestamp) -> Result<(Self, Owed), OpenError> {
        let mut owed = Owed::default();
        let opened = Journal::open(folder, now, |entry| match entry {
            Entry::Record { token, at_ms, payload } => match written::read_event(payload) {
                Ok(event) => owed.events.push((TokenId(token), moment(at_ms), event)),
                Err(_) => owed.unreadable += 1,
            },
            Entry::Row { .. } => owed.unreadable += 1,
        })?;
        let shared = Shared::default();
        let (journal, unreadable) = (opened.journal, owed.unreadable);
        *lock(&shared.outbox) = Some(Outbox {
            journal,
            owed: 0,
            records: owed.events.len(),
            unreadable,
            room: RECORDS_AT_MOST,
            mending: None,
        });
        owed.is_damaged = opened.damaged.is_some();
        owed.unreadable += usize::from(owed.is_damaged);
        Ok((Self::new(Book::Shared(Box::new(shared))), owed))
    }

    /// Takes up what was kept before this daemon began: it is handed on.
    pub fn resume(&self, owed: Owed, policy: &Policy) {
        let Book::Shared(shared) = &self.book else { return };
        let (mut names, is_damaged) = (HashMap::new(), owed.is_damaged);
        let tokens: BTreeSet<TokenId> = owed.events.iter().map(|(token, ..)| *token).collect();
        for (token, at, event) in owed.events {
            let mut shard = self.shards.of(token);
            let mut account = shard.account(token).unwrap_or_default();
            let (ends, rests) = (Ends::default(), Rests::Names);
            let mut deed = Deed { at, events: vec![event], ends, rests, done: None, is_kept: true, is_late: false };
            deed.call_by(&mut names, &account);
            let stood = account.clone();
            deed.apply_anew(token, &mut account, (0, &stood), policy);
            account.forget_surplus();
            if let Some(outbox) = &mut *lock(&shared.outbox) {
                outbox.owed += 1;
            }
            shared.add(&mut shared.place(token), token, deed);
            self.stands(&mut shard, token, &account, policy);
        }
        // What was read stands in no file any more.
        for token in tokens.into_iter().filter(|_| is_damaged) {
            let _ = shared.keep_whole(token);
        }
    }

    /// The database is away, because of `why`: what waits for it, and what happens from now on, is kept here.
    pub async fn part(&self, why: &str, policy: &Policy) {
        let Book::Shared(shared) = &self.book else { return };
        {
            // Both together, or who joins meanwhile would leave it neither away nor there.
            let mut away = lock(&shared.away);
            if away.replace(why.into()).is_some() {
                return;
            }
            // Seen by whoever takes a place's lock from now on.
            shared.is_away.store(true, Ordering::Release);
            shared.is_up_to_date.store(false, Ordering::Release);
        }
        let mut kept = Vec::new();
        let busy = shared.places.iter().flat_map(|place| lock(place).busy.keys().copied().collect::<Vec<_>>());
        for token in busy {
            let mut shard = self.shards.of(token);
            let mut place = shared.place(token);
            let Some(busy) = place.busy.get_mut(&token) else { continue };
            let (mut withdrawn, mut is_refused) = (Vec::new(), false);
            for deed in busy.pending.iter_mut().filter(|deed| !deed.waits_for_the_database()) {
                let Some(done) = deed.done.take() else { continue };
                if deed.rests == Rests::Time {
                    let _ = done.send(Ok(()));
                    continue;
                }
                // It counts from now on; but who is let in was decided as if the database were there, and is decided anew.
                let decided_anew = deed.rests == Rests::Account;
                deed.rests = Rests::Names;
                if decided_anew {
                    withdrawn.extend(deed.withdrawn());
                }
                let written = match (deed.events.is_empty(), is_refused) {
                    (false, _) => shared.keep(token, deed),
                    // It waits for those before it.
                    (true, false) => shared.all_kept(),
                    (true, true) => Written::NotYet,
                };
                if matches!(written, Written::Never(_)) {
                    deed.events.clear();
                    is_refused = true;
                }
                kept.push((done, if decided_anew { Written::NotYet } else { written }));
            }
            let mut account = shard.account(token).unwrap_or_default();
            for mut deed in withdrawn {
                let stood = account.clone();
                deed.apply_anew(token, &mut account, (0, &stood), policy);
                account.forget_surplus();
                let _ = shared.keep(token, &mut deed);
                busy.pending.push_back(deed);
            }
            if is_refused {
                busy.unlearn();
            }
            self.stands(&mut shard, token, &account, policy);
        }
        let answer = async {
            for (done, written) in kept {
                let _ = done.send(written.settled().await);
            }
        };
        // A disk that hangs keeps nobody from finding the database again; whoever is told nothing says it once more.
        let _ = tokio::time::timeout(KEPT_WITHIN, answer).await;
    }

    /// From now on it is not known what others do.
    pub fn is_not_compared(&self) {
        if let Book::Shared(shared) = &self.book {
            shared.is_up_to_date.store(false, Ordering::Release);
        }
    }

    /// What others do is not heard, because of `why`; none: it is. Whether that is new.
    pub fn hears_not(&self, why: Option<&str>) -> bool {
        let Book::Shared(shared) = &self.book else { return false };
        let was_deaf = mem::replace(&mut *lock(&shared.deaf), why.map(Arc::from)).is_some();
        was_deaf != why.is_some()
    }

    /// The outbox takes so many records.
    #[cfg(test)]
    pub(super) fn keep_at_most(&self, records: usize) {
        if let Book::Shared(shared) = &self.book
            && let Some(outbox) = &mut *lock(&shared.outbox)
        {
            outbox.room = records;
        }
    }

    #[cfg(test)]
    pub(super) async fn outbox_misbehaves(&self, statement: &str) {
        let Book::Shared(shared) = &self.book else { return };
        let ack = lock(&shared.outbox).as_ref().unwrap().journal.misbehave(statement);
        ack.unwrap().await.unwrap();
    }

    /// The database is back; whether it was away.
    pub fn join(&self) -> bool {
        let Book::Shared(shared) = &self.book else { return false };
        let mut away = lock(&shared.away);
        shared.is_away.store(false, Ordering::Release);
        away.take().is_some()
    }

    /// Keeps once more what the disk had not taken: no later word on the same tokens is acknowledged before.
    pub async fn mend_outbox(&self) {
        let Book::Shared(shared) = &self.book else { return };
        // What an earlier try has queued, first: a disk that hangs is not asked for the same again and again.
        let _ = shared.is_whole().await;
        let missing = lock(&shared.outbox).as_ref().map(|outbox| outbox.journal.missing()).unwrap_or_default();
        for token in missing.into_iter().map(TokenId) {
            let kept = shared.keep_whole(token);
            if let Err(error) = async {
                kept?;
                shared.is_whole().await
            }
            .await
            {
                // The disk does no better yet.
                return tracing::debug!(%error, "what was not kept cannot be kept yet");
            }
        }
    }

    /// What the database did not take is handed on once more: somebody may have mended that.
    pub fn try_refused(&self) {
        let Book::Shared(shared) = &self.book else { return };
        for place in &shared.places {
            for (token, busy) in lock(place).busy.iter_mut().filter(|(_, busy)| busy.is_refused) {
                busy.is_refused = false;
                shared.queue(*token, busy);
            }
        }
    }

    /// Whether this daemon decides alone since the database is away.
    #[must_use]
    pub fn is_away(&self) -> bool {
        matches!(&self.book, Book::Shared(shared) if shared.is_away.load(Ordering::Acquire))
    }

    /// How much of what was kept the database does not have yet.
    #[must_use]
    pub fn owed(&self) -> usize {
        let Book::Shared(shared) = &self.book else { return 0 };
        lock(&shared.outbox).as_ref().map_or(0, |outbox| outbox.owed)
    }

    /// Of a change that was taken, these sessions of the [`doubted`](super::Change::doubted) have ended, as the database keeps them:
    /// they are not let in once more, and what else is said of them is news of sessions that ended. The change is given again.
    /// Whether the change builds on that already, and is to be handed on.
    pub fn are_over(&self, token: TokenId, over: &HashMap<SessionId, Closed>) -> bool {
        let Book::Shared(shared) = &self.book else { return false };
        let mut place = shared.place(token);
        let Some(busy) = place.busy.get_mut(&token) else { return false };
        let said: Vec<_> = busy.pending.iter().flat_map(Deed::sessions).collect();
        let read = |id: SessionId| Some((id, written::read_ended(&over.get(&id)?.payload).ok()));
        let known: HashMap<_, _> = said.into_iter().filter_map(read).collect();
        if busy.builds_on(&known) {
            return true;
        }
        busy.is_awaited = false;
        if known.values().any(Option::is_none) {
            busy.is_stuck();
            busy.unlearn();
            if busy.pending.is_empty() {
                busy.pending.push_back(Deed::nothing(None));
            } else {
                busy.is_refused = true;
            }
            settle(shared, &mut place, token);
            return false;
        }
        for mut deed in mem::take(&mut busy.pending) {
            if !deed.sessions().any(|id| over.contains_key(&id)) {
                busy.pending.push_back(deed);
                continue;
            }
            let before = deed.events.len();
            deed.events.retain(|event| !matches!(event, Event::Admitted(session) if over.contains_key(&session.id)));
            if !deed.events.is_empty() {
                if deed.events.len() < before {
                    // Nothing else was decided by it.
                    deed.rests = Rests::Names;
                }
                deed.is_late |= deed.rests == Rests::Names;
                busy.pending.push_back(deed);
                continue;
            }
            shared.paid(&deed);
            deed.becomes(Ok(()));
        }
        busy.recalled.extend(known.into_iter().filter_map(|(id, ended)| Some((id, ended?))));
        // It is applied to what the database says.
        busy.unlearn();
        if busy.pending.is_empty() {
            busy.pending.push_back(Deed::nothing(None));
        }
        settle(shared, &mut place, token);
        false
    }

    /// Forgets what was kept, once the database has all of it.
    ///
    /// # Errors
    ///
    /// The disk failed: it is tried again. What is handed on once more after a restart counts once, as long as accounts remember
    /// the sessions.
    pub async fn clear(&self) -> Result<(), Unwritten> {
        let Book::Shared(shared) = &self.book else { return Ok(()) };
        shared.cut().await
    }
}

impl Shared {
    async fn cut(&self) -> Result<(), Unwritten> {
        let (cut, records) = match &mut *lock(&self.outbox) {
            // Under the lock, so that nothing is forgotten that comes meanwhile.
            Some(outbox) if outbox.records > 0 && outbox.owed == 0 && outbox.unreadable == 0 => {
                (outbox.journal.cut()?, mem::take(&mut outbox.records))
            }
            _ => return Ok(()),
        };
        let outcome = cut.await;
        if outcome.is_err()
            && let Some(outbox) = &mut *lock(&self.outbox)
        {
            outbox.records += records;
        }
        Ok(outcome?)
    }
}
