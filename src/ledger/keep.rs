//! The ledger on disk: opening it, keeping the journal short, forgetting what is old.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;

use super::packed::Packed;
use super::replay::replay;
use super::{Book, Ledger, written};
use crate::clock::Clock;
use crate::core::account::Account;
use crate::core::ident::{Mac, SessionId, TokenId};
use crate::core::policy::Policy;
use crate::journal::{self, Health, Journal, OpenError, Row};
use crate::live::Current;

/// Records that may be replayed at a start before a snapshot is taken, or as many as there are accounts, if these are more: a
/// start then reads little more than the snapshot. An account takes about four times the room of a record.
const REPLAYED_AT_MOST: u64 = 50_000;

/// What keeps snapshots apart, unless the records are [`PILED_UP`]: under load they would be what the load costs.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(60);

/// Records, or five times the accounts, that ask for a snapshot at once: a start would take a second for them.
const PILED_UP: u64 = 500_000;

/// Accounts written down in one commit: routers wait meanwhile, for a few milliseconds.
const ROWS_AT_ONCE: usize = 256;

/// How often the state of the disk is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often it is tried whether a journal that could not be opened can be.
const TRY_EVERY: Duration = Duration::from_secs(5);

/// How often sessions beyond `retain_sessions` are forgotten, a few thousand each time.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// The journal cannot be relied on any more: the daemon must stop, and start anew.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the ledger must be opened again: {0}")]
pub struct Lost(Arc<str>);

/// A ledger that was opened, and what is wrong with it.
#[derive(Debug)]
pub struct Opened {
    /// The ledger.
    pub ledger: Ledger,
    /// Why nothing is written down, or what was lost, in words for people.
    pub trouble: Option<String>,
}

impl Ledger {
    /// Opens the ledger in `folder` and replays it. It blocks.
    ///
    /// A disk that cannot be written leaves a ledger that decides on what it could read, and acknowledges nothing.
    ///
    /// # Errors
    ///
    /// Another daemon has it open, or it is from a later version.
    pub fn open(folder: &Path, policy: &Policy, now: Timestamp) -> Result<Opened, OpenError> {
        let mut ledger = Self::default();
        let (opened, mut unreadable) = replay(&ledger.shards, |take| Journal::open(folder, now, take));
        let mut trouble = match opened {
            Ok(journal::Opened { journal, damaged }) => {
                ledger.book = Book::Journal(journal);
                damaged.map(|aside| damage(&aside))
            }
            Err(error @ (OpenError::InUse { .. } | OpenError::Later { .. })) => return Err(error),
            Err(error) => {
                ledger = Self::default();
                let read;
                (read, unreadable) = replay(&ledger.shards, |take| Journal::read(folder, take));
                if let Err(error) = read {
                    tracing::debug!(%error, "nor can the ledger be read");
                }
                let why = format!(
                    "accounting is not acknowledged until this is mended and spotgate started anew (it ends for that once the ledger is there): {error}"
                );
                ledger.book = Book::Shut(why.as_str().into());
                Some(why)
            }
        };
        if unreadable > 0 {
            let lost = format!("{unreadable} records of the ledger could not be read");
            trouble = Some(trouble.map_or_else(|| lost.clone(), |trouble| format!("{trouble}; {lost}")));
        }
        ledger.behind.store(trouble.is_some(), Ordering::Relaxed);
        ledger.replayed(policy);
        Ok(Opened { ledger, trouble })
    }

    /// What the ledger in `folder` holds, to decide on beside the daemon; nothing if it cannot be read. It blocks, and writes
    /// nothing.
    #[must_use]
    pub fn read(folder: &Path, policy: &Policy) -> Self {
        let read = Self::examine(folder, policy);
        let read = read.inspect_err(|error| tracing::debug!(%error, "the ledger cannot be read"));
        read.map(|(ledger, _)| ledger).unwrap_or_default()
    }

    /// What the ledger in `folder` holds, and how many of its records could not be understood. It blocks, and writes nothing.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn examine(folder: &Path, policy: &Policy) -> Result<(Self, usize), OpenError> {
        let ledger = Self::default();
        let (outcome, unreadable) = replay(&ledger.shards, |take| Journal::read(folder, take));
        outcome?;
        ledger.replayed(policy);
        Ok((ledger, unreadable))
    }

    /// A ledger of what a tape holds, which goes on writing on it.
    #[cfg(test)]
    pub(super) fn of_tape(tape: Vec<Vec<journal::Record>>, policy: &Policy) -> Self {
        let mut ledger = Self::default();
        let ((), unreadable) = replay(&ledger.shards, |take| {
            for journal::Record { token, at_ms, payload } in tape.iter().flatten() {
                take(journal::Entry::Record { token: *token, at_ms: *at_ms, payload });
            }
        });
        assert_eq!(unreadable, 0);
        ledger.book = Book::Tape(std::sync::Mutex::new(tape));
        ledger.replayed(policy);
        ledger
    }

    /// Works out, once everything is replayed, what is due when, and which devices were let in.
    fn replayed(&self, policy: &Policy) {
        let several: HashSet<Mac> = self.shards.in_parallel(|shard| {
            let mut several = Vec::new();
            shard.reckon_all(policy, |token, account| {
                several.extend(account.devices.iter().filter(|device| !self.devices.remember_new(**device, token)));
            });
            several
        });
        if several.is_empty() {
            return;
        }
        // Few devices have several tokens. Theirs are put in the order of their use.
        let mut by_use: Vec<_> = self.shards.in_parallel(|shard| {
            let used = shard.accounts().flat_map(|(token, account)| {
                let at = account.last_used();
                account.devices.into_iter().map(move |device| (at, token, device))
            });
            used.filter(|(_, _, device)| several.contains(device)).collect()
        });
        by_use.sort_unstable();
        for (_, token, device) in by_use {
            self.devices.remember(device, token);
        }
    }

    /// Whether what happens is being written down, and if not, why.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        match &self.book {
            Book::Memory => None,
            Book::Shared(shared) => shared.trouble(),
            #[cfg(test)]
            Book::Tape(_) => None,
            Book::Shut(why) => Some(why.to_string()),
            Book::Journal(journal) => match journal.health() {
                Health::Good => None,
                Health::Failing(why) | Health::Stopped(why) => Some(format!("accounting is not acknowledged: {why}")),
            },
        }
    }

    /// Works out every deadline anew, under another policy.
    pub fn reckon(&self, policy: &Policy) {
        for mut shard in self.shards.each() {
            shard.reckon_all(policy, |_, _| {});
        }
        self.sooner.notify_one();
    }

    /// Puts a snapshot in the place of the records so far, and forgets accounts whose token ended before `ended_before`.
    ///
    /// # Errors
    ///
    /// The disk failed. What was written by then is right.
    pub async fn snapshot(&self, now: Timestamp, ended_before: Timestamp) -> Result<(), journal::Error> {
        let Book::Journal(journal) = &self.book else { return Ok(()) };
        // Some at a time, since who asks for an account waits meanwhile, and what is about to be written takes room.
        let rows = |tokens: &[TokenId]| -> Vec<Row> {
            let Some(first) = tokens.first() else { return Vec::new() };
            let shard = self.shards.of(*first);
            let account = |token: &TokenId| Some(row(journal, *token, &shard.account(*token)?));
            tokens.iter().filter_map(account).collect()
        };
        let parts = self.shards.each().flat_map(|mut shard| {
            shard.forget(now, ended_before);
            let tokens = shard.tokens();
            drop(shard);
            let parts: Vec<_> = tokens.chunks(ROWS_AT_ONCE).map(<[_]>::to_vec).collect();
            parts.into_iter().map(|tokens| rows(&tokens))
        });
        // Boxed for the compiler, which else cannot tell that it may be sent.
        let parts: Box<dyn Iterator<Item = Vec<Row>> + Send + '_> = Box::new(parts);
        journal.snapshot(parts).await
    }

    /// Takes the snapshot that makes good what was read at the start and is not all on disk, if there is such.
    ///
    /// # Errors
    ///
    /// As [`Ledger::snapshot`]; it stays to be done.
    pub async fn make_good(&self, now: Timestamp, ended_before: Timestamp) -> Result<(), journal::Error> {
        if !self.behind.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let outcome = self.snapshot(now, ended_before).await;
        self.behind.fetch_or(outcome.is_err(), Ordering::Relaxed);
        outcome
    }

    /// Writes down the accounts of which a record did not get to the disk.
    async fn mend(&self, journal: &Journal, missing: &[i64]) -> Result<(), journal::Error> {
        for tokens in missing.chunks(ROWS_AT_ONCE) {
            let mut written = Vec::new();
            for token in tokens.iter().copied().map(TokenId) {
                let shard = self.shards.of(token);
                match shard.account(token) {
                    // Under the shard's lock, so that no session is closed that has come back meanwhile.
                    Some(account) => written.push(journal.put(row(journal, token, &account), shard.ended(token))?),
                    // It was forgotten meanwhile: a snapshot says so.
                    None => self.behind.store(true, Ordering::Relaxed),
                }
            }
            for written in written {
                written.await?;
            }
        }
        Ok(())
    }

    /// Keeps the journal short and forgets what is old, until the disk cannot be relied on any more.
    pub async fn keep(&self, live: &Current, clock: &Clock) -> Lost {
        let journal = match &self.book {
            Book::Journal(journal) => journal,
            Book::Shut(_) => {
                let folder = live.borrow().settings.store.path.clone();
                return mended(folder).await;
            }
            _ => return std::future::pending().await,
        };
        let (mut since_snapshot, mut snapshot_at) = (0, None);
        let (mut counted, mut forgot) = (0, None);
        // Nobody waits for it; without them the file is right all the same.
        drop(journal.define(written::VIEWS));
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            let (now, retain) = (clock.now(), live.borrow().settings.store.retain_sessions);
            let failing = match journal.health() {
                Health::Stopped(why) => return Lost(why),
                Health::Failing(_) => true,
                Health::Good => false,
            };
            let before = now.wall.saturating_sub(retain).unwrap_or(Timestamp::MIN);
            // Also a failure that has passed already left something out.
            let missing = journal.missing();
            if let Err(error) = self.mend(journal, &missing).await {
                tracing::debug!(%error, tokens = missing.len(), "what is not on disk could not be made good");
                continue;
            }
            let records = journal.counters().records;
            since_snapshot += records - counted;
            counted = records;
            // One that nothing was missing after finds out, too, whether a disk that failed does better.
            let probes = failing && missing.is_empty();
            let accounts = self.shards.accounts();
            let due = match snapshot_at {
                // The first record of a run asks for one.
                None => since_snapshot > 0,
                Some(at) if now.mono.saturating_sub(at) < SNAPSHOT_EVERY => since_snapshot > PILED_UP.max(5 * accounts),
                Some(_) => since_snapshot > REPLAYED_AT_MOST.max(accounts),
            };
            if probes || due {
                (since_snapshot, snapshot_at) = (0, Some(now.mono));
                self.behind.store(true, Ordering::Relaxed);
            }
            if let Err(error) = self.make_good(now.wall, before).await {
                tracing::debug!(%error, "no snapshot of the ledger could be taken");
                continue;
            }
            if forgot.is_none_or(|forgot| now.mono.saturating_sub(forgot) >= FORGET_EVERY) {
                forgot = Some(now.mono);
                let named_before = SessionId::new(before, [0; 10]).to_string();
                if let Err(error) = journal.retain(named_before, before.as_millisecond()).await {
                    tracing::warn!(%error, "old sessions could not be forgotten");
                }
            }
        }
    }

    /// Writes what is queued and closes the file. It blocks for 3 s at most.
    ///
    /// # Errors
    ///
    /// Something is not on disk.
    pub fn close(&self) -> Result<(), journal::Error> {
        match &self.book {
            Book::Journal(journal) => journal.clone().close(),
            Book::Shared(shared) => shared.close(),
            Book::Memory | Book::Shut(_) => Ok(()),
            #[cfg(test)]
            Book::Tape(_) => Ok(()),
        }
    }
}

/// Waits until a journal that could not be opened can be. What it holds is not known then, or what came since is not in it:
/// only a start brings both together.
async fn mended(folder: PathBuf) -> Lost {
    loop {
        tokio::time::sleep(TRY_EVERY).await;
        let folder = folder.clone();
        match tokio::task::spawn_blocking(move || Journal::can_be_opened(&folder)).await {
            Ok(Ok(())) => return Lost("it could not be opened before, and can be by now".into()),
            Ok(Err(error)) => tracing::debug!(%error, "the ledger cannot be opened yet"),
            Err(error) => tracing::error!(%error, "trying to open the ledger"),
        }
    }
}

/// Asked under the shard's lock, under which the account's appends are made.
fn row(journal: &Journal, token: TokenId, account: &Account) -> Row {
    Row {
        token: token.0,
        at: journal.head(),
        payload: written::account(account),
        packed: Packed::of(&account.kept()).as_octets().to_vec(),
    }
}

fn damage(aside: &Path) -> String {
    format!("the ledger was damaged and is set aside as {}; what could be read of it goes on", aside.display())
}
