//! The ledger on disk: opening it, keeping the journal short, forgetting what is old.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;

use super::shard::Shard;
use super::{Book, Ledger, written};
use crate::clock::Clock;
use crate::core::account::Account;
use crate::core::ident::{SessionId, TokenId};
use crate::core::policy::Policy;
use crate::journal::{self, Entry, Health, Journal, OpenError, Row};
use crate::live::Current;

/// Records that may be replayed at a start before a snapshot is taken: about a second's worth.
const REPLAYED_AT_MOST: u64 = 500_000;

/// How often the state of the disk is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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
        let mut replay = Replay::default();
        let (book, mut trouble) = match Journal::open(folder, now, |entry| replay.take(entry)) {
            Ok(journal::Opened { journal, damaged }) => {
                // Nobody waits for it; without them the file is right all the same.
                drop(journal.define(written::VIEWS));
                (Book::Journal(journal), damaged.map(|aside| damage(&aside)))
            }
            Err(error @ (OpenError::InUse { .. } | OpenError::Later { .. })) => return Err(error),
            Err(error) => {
                replay = Replay::default();
                if let Err(error) = Journal::read(folder, |entry| replay.take(entry)) {
                    tracing::debug!(%error, "nor can the ledger be read");
                }
                let why =
                    format!("accounting is not acknowledged until this is mended and spotgate restarted: {error}");
                (Book::Shut(why.as_str().into()), Some(why))
            }
        };
        if replay.unreadable > 0 {
            let lost = format!("{} records of the ledger could not be read", replay.unreadable);
            trouble = Some(trouble.map_or_else(|| lost.clone(), |trouble| format!("{trouble}; {lost}")));
        }
        let ledger = Self::new(book);
        ledger.behind.store(trouble.is_some(), Ordering::Relaxed);
        ledger.fill(replay.accounts, policy);
        Ok(Opened { ledger, trouble })
    }

    /// What the ledger in `folder` holds, to decide on beside the daemon; nothing if it cannot be read. It blocks, and writes
    /// nothing.
    #[must_use]
    pub fn read(folder: &Path, policy: &Policy) -> Self {
        let (mut replay, ledger) = (Replay::default(), Self::default());
        match Journal::read(folder, |entry| replay.take(entry)) {
            Ok(()) => ledger.fill(replay.accounts, policy),
            Err(error) => tracing::debug!(%error, "the ledger cannot be read"),
        }
        ledger
    }

    /// A ledger of what a tape holds, which goes on writing on it.
    #[cfg(test)]
    pub(super) fn of_tape(tape: Vec<Vec<journal::Record>>, policy: &Policy) -> Self {
        let mut replay = Replay::default();
        for journal::Record { token, at_ms, payload } in tape.iter().flatten() {
            replay.take(Entry::Record { token: *token, at_ms: *at_ms, payload });
        }
        assert_eq!(replay.unreadable, 0);
        let ledger = Self::new(Book::Tape(std::sync::Mutex::new(tape)));
        ledger.fill(replay.accounts, policy);
        ledger
    }

    fn fill(&self, accounts: HashMap<TokenId, Account>, policy: &Policy) {
        let mut by_use: Vec<_> = accounts.into_iter().collect();
        by_use.sort_unstable_by_key(|(_, account)| account.last_used());
        for (token, account) in by_use {
            if let Some((code, devices)) = account.remembered() {
                for device in devices {
                    self.remember(*device, token, code);
                }
            }
            self.shards.of(token).insert(token, account, policy);
        }
    }

    /// Whether what happens is being written down, and if not, why.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        match &self.book {
            Book::Memory => None,
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
            for token in shard.tokens() {
                shard.reckon(token, policy);
            }
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
        let rows = |mut shard: MutexGuard<'_, Shard>| -> Vec<Row> {
            shard.forget(now, ended_before);
            let row = |(token, account): (TokenId, &Account)| Row {
                token: token.0,
                // Asked under the shard's lock, under which its appends are made.
                at: journal.head(),
                payload: written::account(account),
            };
            shard.accounts().map(row).collect()
        };
        // Boxed for the compiler, which else cannot tell that it may be sent.
        let parts: Box<dyn Iterator<Item = Vec<Row>> + Send + '_> = Box::new(self.shards.each().map(rows));
        journal.snapshot(parts).await
    }

    /// Keeps the journal short and forgets what is old, until the disk cannot be relied on any more.
    pub async fn keep(&self, live: &Current, clock: &Clock) -> Lost {
        let Book::Journal(journal) = &self.book else { return std::future::pending().await };
        let mut since_snapshot = REPLAYED_AT_MOST;
        let (mut counted, mut forgot) = (0, Duration::ZERO);
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            let (now, retain) = (clock.now(), live.borrow().settings.store.retain_sessions);
            match journal.health() {
                Health::Stopped(why) => return Lost(why),
                Health::Failing(_) => {
                    self.behind.store(true, Ordering::Relaxed);
                    // An empty append finds out whether it goes better; nobody waits for it.
                    drop(journal.append_all(Vec::new(), Vec::new()));
                    continue;
                }
                Health::Good => {}
            }
            let before = now.wall.saturating_sub(retain).unwrap_or(Timestamp::MIN);
            let records = journal.counters().records;
            since_snapshot += records - counted;
            counted = records;
            if self.behind.swap(false, Ordering::Relaxed) || since_snapshot > REPLAYED_AT_MOST {
                since_snapshot = 0;
                if let Err(error) = self.snapshot(now.wall, before).await {
                    tracing::warn!(%error, "no snapshot of the ledger could be taken");
                    self.behind.store(true, Ordering::Relaxed);
                }
            }
            if now.mono.saturating_sub(forgot) >= FORGET_EVERY {
                forgot = now.mono;
                let named_before = SessionId::new(before, [0; 10]).to_string();
                if let Err(error) = journal.retain(named_before, before.as_millisecond()).await {
                    tracing::warn!(%error, "old sessions could not be forgotten");
                }
            }
        }
    }

    /// Writes what is queued and closes the file. It blocks for 5 s at most.
    ///
    /// # Errors
    ///
    /// Something is not on disk.
    pub fn close(&self) -> Result<(), journal::Error> {
        match &self.book {
            Book::Journal(journal) => journal.clone().close(),
            Book::Memory | Book::Shut(_) => Ok(()),
            #[cfg(test)]
            Book::Tape(_) => Ok(()),
        }
    }
}

fn damage(aside: &Path) -> String {
    format!("the ledger was damaged and is set aside as {}; what could be read of it goes on", aside.display())
}

/// Accounts as they come out of the journal.
#[derive(Default)]
struct Replay {
    accounts: HashMap<TokenId, Account>,
    reader: written::Reader,
    unreadable: usize,
}

impl Replay {
    fn take(&mut self, entry: Entry<'_>) {
        let outcome = match entry {
            Entry::Row { token, payload } => self.reader.account(payload).map(|account| {
                self.accounts.insert(TokenId(token), account);
            }),
            Entry::Record { token, at_ms, payload } => self.reader.event(payload).map(|event| {
                let at = Timestamp::from_millisecond(at_ms).unwrap_or_default();
                let _ = self.accounts.entry(TokenId(token)).or_default().apply(at, &event);
            }),
        };
        if let Err(error) = outcome {
            tracing::error!(%error, "a record of the ledger cannot be read, and is passed over");
            self.unreadable += 1;
        }
    }
}
