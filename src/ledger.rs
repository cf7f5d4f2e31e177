//! The accounts, in memory and sharded by token: one lock for each shard, held only while one token is decided, so that of
//! two logins racing for the last place exactly one gets it. What happens to an account goes into the journal under the
//! same lock, so that replaying the journal gives the same account.

mod devices;
mod keep;
mod packed;
mod replay;
mod revise;
mod settle;
mod shard;
mod shared;
mod watch;
mod written;

use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use smallvec::SmallVec;
use tokio::sync::{Notify, oneshot};

use crate::core::account::Account;
use crate::core::budget::Seconds;
use crate::core::decide::{Decision, Question, Trail, decide};
use crate::core::ending::Cause;
use crate::core::event::{Event, News, Progress, Terms};
use crate::core::ident::{Code, Mac, NasName, SessionId, TokenId};
use crate::core::policy::Policy;
use crate::core::session::{Report, Session};
use crate::core::token::AccessToken;
use crate::journal::{self, Ack, Journal};

pub use crate::journal::Closed;
use devices::Devices;
pub use keep::{Lost, Opened};
pub use settle::Usage;
use shard::{Ends, Shard, Shards};
pub use shared::{Change, Owed, Row, Swapped};
use shared::{Rests, Shared};
pub use watch::{Room, Tell, Teller, watch};

/// What is due may make more due: that somebody is gone, and so the pool is empty, and so somebody else is gone, is the
/// longest chain.
const DUE_AT_MOST: usize = 3;

/// How long the database is waited for, at most: what hands changes to it says far sooner that it is away.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// How long what another daemon did may take to be heard of; mostly milliseconds.
const HEARD_WITHIN: Seconds = Seconds(60);

/// What happens to an account at once: mostly so little that it needs no room of its own.
type Events = SmallVec<[Event; 2]>;

/// Accounts by token, and the codes that devices logged in with.
#[derive(Debug)]
pub struct Ledger {
    shards: Shards,
    devices: Devices,
    /// Those that are not let in by their address alone any more: what is reported of them is still theirs.
    parted: Devices,
    book: Book,
    /// What was read at the start is not all on disk: a snapshot makes it good.
    behind: AtomicBool,
    /// Something is due earlier than was thought.
    sooner: Notify,
}

/// Where what happens is written down.
#[derive(Debug)]
enum Book {
    /// Nowhere: for commands that decide beside the daemon, and for tests.
    Memory,
    /// In the journal.
    Journal(Journal),
    /// In a database that others write to as well.
    Shared(Box<Shared>),
    /// Nowhere, though it should be: the journal could not be opened, for this reason.
    Shut(Arc<str>),
    /// On a tape, which a test cuts where it likes: what one call wrote together, one after another.
    #[cfg(test)]
    Tape(Mutex<Vec<Vec<journal::Record>>>),
}

/// Whether what happened is on disk. Nothing may be acknowledged before [`Written::settled`] says so.
#[derive(Debug)]
#[must_use = "until it is settled, nothing may be acknowledged"]
pub enum Written {
    /// Nothing had to be written.
    Already,
    /// The disk has not answered yet.
    Soon(Ack),
    /// Nor has the database, to one or several.
    Shared(Vec<oneshot::Receiver<Result<(), Unwritten>>>),
    /// It is not, and will not be.
    Never(journal::Error),
    /// It was not taken in: what it builds on is not known here yet.
    NotYet,
}

/// Why what happened is not on disk.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unwritten {
    /// The disk has not taken it.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// Another daemon has changed the account that it was decided on, and it has not happened: decide anew.
    #[error("another daemon was faster")]
    Raced,
    /// The account as it stands in the database cannot be read, or the database does not take what it is to be.
    #[error("the account in the database cannot be read or changed")]
    Unreadable,
    /// Whoever hands changes on is gone.
    #[error("the daemon is stopping")]
    Stopping,
    /// It may be taken in still.
    #[error("the database has not answered")]
    Late,
}

impl Written {
    /// Waits for the disk, or the database.
    ///
    /// # Errors
    ///
    /// It did not get there.
    pub async fn settled(self) -> Result<(), Unwritten> {
        match self {
            Self::Already => Ok(()),
            Self::Soon(ack) => Ok(ack.await?),
            Self::Shared(all) => {
                let all = async {
                    for heard in all {
                        heard.await.unwrap_or(Err(Unwritten::Stopping))?;
                    }
                    Ok(())
                };
                tokio::time::timeout(ANSWERED_WITHIN, all).await.unwrap_or(Err(Unwritten::Late))
            }
            Self::Never(error) => Err(error.into()),
            Self::NotYet => Err(Unwritten::Raced),
        }
    }
}

/// A code that a device logged in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Its token.
    pub token: TokenId,
    /// The code, by which the token is found again.
    pub code: Code,
}

/// A session and what is known of its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its token.
    pub token: TokenId,
    /// The session.
    pub session: Session,
    /// When it ended and what it counts for, if it did.
    pub ended: Option<(Timestamp, Seconds)>,
}

/// What a report came to.
#[derive(Debug)]
pub struct Reported {
    /// Whether it is on disk.
    pub written: Written,
    /// The session, if this was the proof that it is gone after its router was told to end it.
    pub proven: Option<Box<Session>>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new(Book::Memory)
    }
}

impl Ledger {
    fn new(book: Book) -> Self {
        Self {
            shards: Shards::default(),
            devices: Devices::default(),
            parted: Devices::default(),
            book,
            behind: AtomicBool::new(false),
            sooner: Notify::new(),
        }
    }

    /// Decides a login in its token's account and, if it is allowed, admits it under `id`, all under one lock. Where accounts
    /// are shared, it is admitted once that is written; else nobody waits for the disk to be let in: what a power cut takes is
    /// less than a second (contract).
    pub fn admit(
        &self,
        token: &AccessToken,
        question: &Question<'_>,
        id: SessionId,
        now: Timestamp,
        trail: &mut impl Trail,
    ) -> (Decision, Written) {
        let policy = question.policy;
        let mut shard = self.shards.of(token.id);
        // A token that was never used has no account yet, and gets one only when somebody is let in.
        let account = self.settled(&mut shard, token.id, policy, now).unwrap_or_default();
        let decision = decide(token, &account, question, now, trail);
        let mut events = Events::new();
        events.extend(seen(&account, token, policy));
        let mut written = Written::Already;
        if let Decision::Allow(grant) = &decision {
            for session in account.sessions().iter().filter(|session| grant.displaces.contains(&session.id)) {
                events.push(Account::order(session, Cause::Displaced, now));
            }
            let renewed = account.sessions().iter().find(|session| Some(session.id) == grant.renews);
            events.push(match renewed {
                Some(session) => {
                    Event::Renewed { session: session.id, granted: session.used(now).plus(grant.session_timeout) }
                }
                None => Event::Admitted(Box::new(grant.session(id, token, question, now))),
            });
            written = self.change_as(Rests::Account, &mut shard, token.id, account, policy, now, &events);
            drop(shard);
            if let Some(device) = question.login.device {
                self.devices.remember(device, token.id);
            }
        } else if !account.sessions().is_empty() {
            // Whoever is refused on it may bring the news that it gives less, or more.
            let _ = self.change(&mut shard, token.id, account, policy, now, &events);
        }
        (decision, written)
    }

    /// Takes in a session that nobody knew, and the report by which it became known.
    pub fn find(
        &self,
        token: &AccessToken,
        question: &Question<'_>,
        mut session: Session,
        progress: &Progress,
        now: Timestamp,
    ) -> Reported {
        // Our own name for it says when it was let in, whatever its router counts. A broken counter is believed no more about when
        // a session began than about how long it took.
        let counted = session.admitted_at.max(session.granted.before(progress.report.at));
        session.admitted_at = progress.session.map_or(counted, |(id, _)| id.time().min(progress.report.at));
        session.reported =
            Some(Report { at: session.admitted_at, seconds: Seconds::ZERO, input_octets: 0, output_octets: 0 });
        let mut shard = self.shards.of(token.id);
        let account = shard.account(token.id).unwrap_or_default();
        let mut events: Events = seen(&account, token, question.policy).into_iter().collect();
        let id = session.id;
        events.push(Event::Admitted(Box::new(session)));
        events.push(reported(id, progress));
        let written = self.change_as(Rests::Account, &mut shard, token.id, account, question.policy, now, &events);
        drop(shard);
        if let Some(device) = question.login.device {
            self.devices.remember(device, token.id);
        }
        Reported { written, proven: None }
    }

    /// Takes in what a router says of a session of this token at `now`; none if the token has no such session.
    ///
    /// The session is found by our own name for it, else by the router's, the latest first, since such names come again
    /// (facts/hotspot.md §1.1); and only if it is the same device's.
    pub fn report(
        &self,
        token: TokenId,
        question: &Question<'_>,
        progress: &Progress,
        now: Timestamp,
    ) -> Option<Reported> {
        let mut shard = self.shards.of(token);
        let account = shard.account(token)?;
        let (nas, name, device) = (&question.nas.name, question.login.nas_session, question.login.device);
        let known = || account.sessions().iter().rev().chain(account.ended().iter().rev().map(|ended| &ended.session));
        let named = |session: &&Session| {
            let same_router = session.contact.router.zip(question.login.router).is_none_or(|(one, other)| one == other);
            session.contact.nas == *nas
                && same_router
                && name.is_some()
                && session.contact.nas_session.as_deref() == name
        };
        let ours = progress.session.map(|(id, _)| id);
        // Who knows our own name for it, and no device, need not name one.
        if self.is_shared() && ours.is_some() && known().all(|session| Some(session.id) != ours) {
            // Another daemon let it in, which was not heard yet: by the router's name an older one would be meant.
            return None;
        }
        let by_id = known().find(|session| Some(session.id) == ours && (device.is_none() || session.device == device));
        let of_device = |session: &&Session| session.device == device;
        // One whose login did not name it yet, over HTTP say, is known by its device.
        let unnamed = |session: &&Session| {
            device.is_some() && session.contact.nas == *nas && session.contact.nas_session.is_none()
        };
        // One whose login named neither session nor device (a VPN server's, say) is the one that waits for a start: that of the
        // same address, else the first.
        let waits = |session: &&Session| {
            let nameless = device.is_none() && session.device.is_none() && session.contact.nas_session.is_none();
            let is_awaited = session.accounting && session.reported.is_none();
            nameless && session.contact.nas == *nas && is_awaited && progress.news == News::Start
        };
        let (ip, live) = (question.login.ip, || account.sessions().iter());
        let session = by_id
            .or_else(|| known().filter(named).find(of_device))
            .or_else(|| live().rev().filter(unnamed).find(of_device))
            .or_else(|| live().filter(waits).find(|session| ip.is_some() && session.contact.ip == ip))
            .or_else(|| live().filter(waits).find(|session| session.contact.ip.is_none()))?;
        let is_live = live().any(|live| live.id == session.id);
        let mut progress = *progress;
        if progress.unmeasured {
            // What is over has been counted.
            let began = if is_live { session.admitted_at } else { now };
            progress.report.seconds = Seconds::between(began, now);
        }
        let mut events = Events::new();
        let contact = session.contact.updated(&question.contact(&session.code));
        if contact != session.contact {
            events.push(Event::Contacted { session: session.id, contact: Box::new(contact) });
        }
        events.push(reported(session.id, &progress));
        let told =
            is_live && progress.news == News::Stop && session.ending.as_ref().is_some_and(|ending| ending.tries > 0);
        let proven = told.then(|| Box::new(session.clone()));
        let written = self.change(&mut shard, token, account, question.policy, now, &events);
        Some(Reported { written, proven })
    }

    /// A device has begun a session on this token: those it had at the same router on other tokens are over. If it has no
    /// such session by now, the news was late.
    pub fn moved_on(&self, token: TokenId, question: &Question<'_>, now: Timestamp) {
        let Some(device) = question.login.device else { return };
        let nas = &question.nas.name;
        let begun = |session: &&Session| session.device == Some(device) && session.contact.nas == *nas;
        let since = |account: Account| account.sessions().iter().find(begun).map(|session| session.admitted_at);
        let Some(since) = self.shards.of(token).account(token).and_then(since) else { return };
        for other in self.remembered(device).iter().filter(|other| other.token != token) {
            let mut shard = self.shards.of(other.token);
            let Some(account) = shard.account(other.token) else { continue };
            let events = account.device_moved_on(device, nas, since, now);
            let _ = self.change(&mut shard, other.token, account, question.policy, now, &events);
        }
    }

    /// Closes the sessions that the router at `address` had before it began anew at `since`, as far as was reported; how many
    /// there were.
    pub fn restarted(
        &self,
        nas: &NasName,
        address: Option<IpAddr>,
        since: Timestamp,
        policy: &Policy,
        now: Timestamp,
    ) -> (usize, Written) {
        let (mut closed, mut refused) = (0, None);
        for mut shard in self.shards.each() {
            for token in shard.tokens() {
                let Some(account) = shard.account(token) else { continue };
                let mut events = account.router_restarted(nas, address, since, now);
                closed += events.len();
                if self.is_unsure_of(token) {
                    events.extend(account.router_restarted_of_ended(nas, address, since, now));
                }
                if let Written::Never(why) = self.change(&mut shard, token, account, policy, now, &events) {
                    refused = Some(why);
                }
            }
        }
        // Also what an earlier try of the router closed and could not write down.
        (closed, refused.map_or_else(|| self.all_written(), Written::Never))
    }

    /// Says that a session must go, for `cause`; none if there is no such live session.
    pub fn order(&self, id: SessionId, cause: Cause, policy: &Policy, now: Timestamp) -> Option<(Found, Written)> {
        let token = self.find_live(id)?;
        let mut shard = self.shards.of(token);
        let account = self.settled(&mut shard, token, policy, now)?;
        let session = account.sessions().iter().find(|session| session.id == id)?;
        let event = Account::order(session, cause, now);
        let written = self.change(&mut shard, token, account, policy, now, &[event]);
        Some((shard.find(token, id)?, written))
    }

    /// Decides a login without admitting it.
    pub fn judge(
        &self,
        token: &AccessToken,
        question: &Question<'_>,
        now: Timestamp,
        trail: &mut impl Trail,
    ) -> Decision {
        let mut account = self.account(token.id).unwrap_or_default();
        apply_due(&mut account, question.policy, now);
        decide(token, &account, question, now, trail)
    }

    /// The account as it stands; none if the token was never used.
    #[must_use]
    pub fn account(&self, token: TokenId) -> Option<Account> {
        self.shards.of(token).account(token)
    }

    /// This device logs in on this token by its code alone from now on, until it has done so. A restart forgets that.
    pub fn forget_device(&self, device: Mac, token: TokenId) {
        self.devices.forget(device, token);
        self.parted.remember(device, token);
    }

    /// When the token was last used.
    #[must_use]
    pub fn last_used(&self, token: TokenId) -> Option<Timestamp> {
        self.shards.of(token).account(token)?.last_used()
    }

    /// The tokens that a session of this device may be on.
    #[must_use]
    pub fn tokens_of(&self, device: Mac) -> Vec<TokenId> {
        let mut tokens = self.devices.of(device);
        tokens.extend(self.parted.of(device));
        tokens
    }

    /// The codes a device logged in with, latest first.
    #[must_use]
    pub fn remembered(&self, device: Mac) -> Vec<Remembered> {
        let code = |token| self.shards.of(token).account(token)?.remembered().map(|(code, _)| code.clone());
        let tokens = self.devices.of(device).into_iter();
        tokens.filter_map(|token| Some(Remembered { token, code: code(token)? })).collect()
    }

    /// Every live session, those of one token oldest first.
    #[must_use]
    pub fn sessions(&self) -> Vec<(TokenId, Session)> {
        let mut sessions = Vec::new();
        for shard in self.shards.each() {
            for (token, account) in shard.accounts() {
                sessions.extend(account.sessions().iter().map(|session| (token, session.clone())));
            }
        }
        sessions
    }

    /// Shows every live session to `look`. It looks through every account, and blocks.
    pub fn each_session(&self, mut look: impl FnMut(TokenId, &Session)) {
        for shard in self.shards.each() {
            for (token, account) in shard.accounts() {
                account.sessions().iter().for_each(|session| look(token, session));
            }
        }
    }

    /// Takes the lock of every shard once, as a sign that it can be taken. It blocks.
    pub fn touch(&self) {
        self.shards.each().for_each(drop);
    }

    /// Whether this token has a live session of this name.
    #[must_use]
    pub fn is_live(&self, token: TokenId, id: SessionId) -> bool {
        self.account(token).is_some_and(|account| account.sessions().iter().any(|session| session.id == id))
    }

    /// The tokens on which somebody is online who logged in with this code, whatever its case. It looks through every account,
    /// and blocks.
    #[must_use]
    pub fn live_under(&self, code: &Code) -> Vec<TokenId> {
        let mut tokens = Vec::new();
        for shard in self.shards.each() {
            for (token, account) in shard.accounts() {
                if account.sessions().iter().any(|session| session.code.same(code, true)) {
                    tokens.push(token);
                }
            }
        }
        tokens
    }

    /// One session, live or ended. It looks through every account, and may read the disk: it blocks.
    #[must_use]
    pub fn session(&self, id: SessionId) -> Option<Found> {
        self.shards.each().find_map(|shard| shard.find_any(id)).or_else(|| self.closed(id))
    }

    /// Whether this token has, or lately had, a session of this name.
    #[must_use]
    pub fn knows(&self, token: TokenId, id: SessionId) -> bool {
        self.shards.of(token).find(token, id).is_some()
    }

    /// Whether a session that no account knows has ended. It may read the disk, and blocks. A database is not asked: it is
    /// what accounts remember.
    #[must_use]
    pub fn has_ended(&self, id: SessionId) -> bool {
        !self.is_shared() && self.closed(id).is_some()
    }

    /// A session that ended long ago. It blocks.
    fn closed(&self, id: SessionId) -> Option<Found> {
        let closed = match &self.book {
            Book::Journal(journal) => journal.closed(&id.to_string()).map_err(|error| error.to_string()),
            Book::Shared(shared) => shared.closed(id),
            _ => return None,
        };
        let closed = closed.inspect_err(|error| tracing::warn!(error, "an ended session could not be looked up"));
        let closed = closed.ok()??;
        let ended = written::read_ended(&closed.payload);
        let ended = ended.inspect_err(|error| tracing::warn!(%error, "an ended session could not be read")).ok()?;
        let token = TokenId(closed.token);
        Some(Found { token, session: ended.session, ended: Some((ended.at, ended.counts)) })
    }

    fn find_live(&self, id: SessionId) -> Option<TokenId> {
        self.shards.each().find_map(|shard| {
            let live = |account: Account| account.sessions().iter().any(|session| session.id == id);
            shard.accounts().find_map(|(token, account)| live(account).then_some(token))
        })
    }

    /// The account after what is due was applied, but for routers to be told, which is the watch's.
    fn settled(&self, shard: &mut Shard, token: TokenId, policy: &Policy, now: Timestamp) -> Option<Account> {
        for _ in 0..DUE_AT_MOST {
            let account = shard.account(token)?;
            let mut due = if shard.is_due(token, now) { account.due(policy, now) } else { Vec::new() };
            due.retain(|event| !matches!(event, Event::Telling { .. }));
            if due.is_empty() {
                return Some(account);
            }
            let _ = self.change_as(Rests::Time, shard, token, account, policy, now, &due);
        }
        shard.account(token)
    }

    /// Applies events at `now` to an account as it stands in its shard, and writes them down, in one order for both. They hold
    /// whatever others do to it meanwhile.
    fn change(
        &self,
        shard: &mut Shard,
        token: TokenId,
        account: Account,
        policy: &Policy,
        now: Timestamp,
        events: &[Event],
    ) -> Written {
        self.change_as(Rests::Names, shard, token, account, policy, now, events)
    }

    #[expect(clippy::too_many_arguments, reason = "an account, where it lies, and what happens to it")]
    fn change_as(
        &self,
        rests: Rests,
        shard: &mut Shard,
        token: TokenId,
        mut account: Account,
        policy: &Policy,
        now: Timestamp,
        events: &[Event],
    ) -> Written {
        if events.is_empty() {
            return Written::Already;
        }
        let was_due = shard.is_due(token, now);
        // What is refused since the database is away, or goes just now, has not happened.
        let before = self.is_shared().then(|| shard.account(token));
        let ends = shard.apply(token, &mut account, policy, now, events);
        if shard.is_due(token, now) && !was_due {
            self.sooner.notify_one();
        }
        match &self.book {
            Book::Shared(shared) => {
                let written = shared.push(token, now, events, ends, rests);
                if let (Written::Never(_) | Written::NotYet, Some(before)) = (&written, before) {
                    shard.put_back(token, before.as_ref(), policy);
                }
                written
            }
            _ => self.write(token, now, events, ends),
        }
    }

    /// Settled once it is known that what happens can be written down, where nothing had to be: a session is not known. One that
    /// another daemon let in a moment ago, by our own name for it, will be: its router is to say it again.
    pub fn nothing_written(&self, ours: Option<SessionId>, now: Timestamp) -> Written {
        if !self.is_shared() {
            return self.all_written();
        }
        let is_new = ours.is_some_and(|id| Seconds::between(id.time(), now) <= HEARD_WITHIN);
        // A daemon that has not compared everything yet may know nothing of older ones either.
        if is_new || ours.is_some() && !self.is_up_to_date() { Written::NotYet } else { Written::Already }
    }

    /// Settled once everything that happened so far is on disk.
    pub fn all_written(&self) -> Written {
        match &self.book {
            Book::Memory => Written::Already,
            Book::Shared(shared) => shared.all(),
            #[cfg(test)]
            Book::Tape(_) => Written::Already,
            Book::Shut(why) => Written::Never(journal::Error::Disk(Arc::clone(why))),
            Book::Journal(journal) => {
                journal.append_all(Vec::new(), Vec::new(), Vec::new()).map_or_else(Written::Never, Written::Soon)
            }
        }
    }

    fn write(&self, token: TokenId, now: Timestamp, events: &[Event], ends: Ends) -> Written {
        let at_ms = now.as_millisecond();
        let records = || -> Vec<_> {
            let payloads = events.iter().filter_map(written::event);
            payloads.map(|payload| journal::Record { token: token.0, at_ms, payload }).collect()
        };
        let journal = match &self.book {
            Book::Memory | Book::Shared(_) => return Written::Already,
            Book::Shut(why) => return Written::Never(journal::Error::Disk(Arc::clone(why))),
            Book::Journal(journal) => journal,
            #[cfg(test)]
            Book::Tape(tape) => {
                lock(tape).push(records());
                return Written::Already;
            }
        };
        let records = records();
        if records.is_empty() {
            return Written::Already;
        }
        let written = if events.iter().any(Event::lets_in) {
            journal.note(records, ends.closed, ends.reopened).map(|()| Written::Already)
        } else {
            journal.append_all(records, ends.closed, ends.reopened).map(Written::Soon)
        };
        written.unwrap_or_else(Written::Never)
    }
}

/// Applies what is due to a copy of an account.
fn apply_due(account: &mut Account, policy: &Policy, now: Timestamp) {
    for _ in 0..DUE_AT_MOST {
        for event in account.due(policy, now) {
            let _ = account.apply(now, &event);
        }
    }
}

/// The event that a token gives something else than was known.
fn seen(account: &Account, token: &AccessToken, policy: &Policy) -> Option<Event> {
    let terms = Terms::of(token, policy);
    (account.terms() != Some(terms)).then_some(Event::Seen(terms))
}

fn reported(session: SessionId, progress: &Progress) -> Event {
    let report = progress.report;
    match progress.news {
        News::Start | News::Interim => Event::Progressed { session, report },
        News::Stop => Event::Stopped { session, report },
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod any;
#[cfg(test)]
mod day;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod worlds;
