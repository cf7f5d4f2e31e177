//! Several daemons on one PostgreSQL database: what happens here is handed on to it, what happens elsewhere is heard from it.
//! Every daemon is equal; any may die.
//!
//! The ledger decides on its own copy of every account; here is only the way between that copy and the database.

pub mod copy;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::core::ident::{SessionId, TokenId};
use crate::core::policy::Policy;
use crate::database::{self, DAEMON, Database, Heard, Waiting};
use crate::journal::OpenError;
use crate::ledger::{Change, Closed, Ledger, Swapped};
use crate::live::Current;
use crate::mirror::Commons;

/// Accounts handed on in one statement. More would make the first wait for the last.
const BATCH: usize = 256;

/// Statements under way at once: while one waits for the database's disk, the next is made.
const LANES: usize = 4;

/// Tasks beside those.
const OTHERS: usize = 4;

/// How often a database that is away is tried.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// How often one that is there is looked at: where nothing happens, nothing else shows that it is gone.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Accounts fetched at once.
const FETCHED: usize = 1000;

/// How long the database is waited for at a start, before the daemon serves on what it has itself.
const START_WITHIN: Duration = Duration::from_secs(10);

/// How far a clock may be from the database's.
const OFF_AT_MOST: SignedDuration = SignedDuration::from_secs(2);

/// How often that is looked at.
const COMPARE_EVERY: Duration = Duration::from_secs(30);

/// How often sessions beyond `retain_sessions` are forgotten, a few thousand each time.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// One time in so many, all accounts are looked through for such that are over.
const LOOKED_THROUGH_EVERY: u32 = 60;

/// The role of the daemon that writes minutes upstream.
const LEADER: &str = "leader";

/// Below the folder of the store: what the database does not have yet.
const OUTBOX: &str = "outbox";

/// Why there is no way to the database that waiting would mend.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// What could not be handed on cannot be read or kept.
    #[error("store.path: {0}")]
    Outbox(#[from] OpenError),
    /// The URL says nothing.
    #[error("store.url_file: {0}")]
    Address(#[from] database::AddressError),
    /// The database says no.
    #[error("store.url_file: {0}")]
    Database(database::Error),
}

/// What the database shows of who is connected: this machine, and which of its daemons.
fn name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{DAEMON}{} {}", name.trim(), std::process::id())
}

/// The accounts in a database, to look at beside the daemons; and how many could not be read.
///
/// # Errors
///
/// The database did not give them.
pub async fn read(database: &Database, policy: &Policy) -> Result<(Ledger, usize), database::Error> {
    let (ledger, mut unreadable) = (Ledger::default(), 0);
    database.accounts(|row| unreadable += usize::from(!ledger.take_in(&row, policy))).await?;
    Ok((ledger, unreadable))
}

/// Changes that were taken from a ledger. Where nothing becomes known of them, by an error or a panic, they are given again.
struct Taken<'a> {
    ledger: &'a Ledger,
    open: Vec<&'a [Change]>,
}

impl Taken<'_> {
    /// What becomes of them is known, or seen to.
    fn known(mut self) {
        self.open.clear();
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.open.iter().copied().flatten().for_each(|change| self.ledger.not_swapped(change.token));
    }
}

/// The way between a ledger and its database.
#[derive(Debug)]
pub struct Cluster {
    database: Database,
    ledger: Arc<Ledger>,
    clock: Clock,
    /// The database was found to be back.
    joined: Notify,
    /// Everything is to be compared.
    missed: Notify,
    /// There is something new of a source, or another daemon to ask it.
    of_sources: watch::Sender<()>,
    /// The daemon is done.
    pub ended: CancellationToken,
}

impl Cluster {
    /// Opens a ledger that the database at `url` has the truth of, and fills it. A database that is away is waited for, then the
    /// daemon begins without.
    ///
    /// # Errors
    ///
    /// The database refuses, or the folder cannot be used.
    pub async fn open(
        url: &SecretString,
        folder: &Path,
        policy: &Policy,
        clock: &Clock,
    ) -> Result<(Self, Option<String>), Unusable> {
        let (database, now) = (Database::new(url, &name())?, clock.now().wall);
        let folder = folder.join(OUTBOX);
        let opening = tokio::task::spawn_blocking(move || Ledger::shared_from(&folder, now)).await;
        let failed = |error: tokio::task::JoinError| OpenError::Folder {
            folder: OUTBOX.into(),
            error: std::io::Error::other(error),
        };
        let (ledger, owed) = opening.map_err(failed)??;
        let trouble =
            (owed.unreadable > 0).then(|| format!("{} records of the outbox could not be read", owed.unreadable));
        let cluster = Self {
            database,
            ledger: Arc::new(ledger),
            clock: clock.clone(),
            joined: Notify::new(),
            missed: Notify::new(),
            of_sources: watch::Sender::new(()),
            ended: CancellationToken::new(),
        };
        let (runtime, looked_in) = (tokio::runtime::Handle::current(), cluster.database.clone());
        cluster.ledger.look_up_by(move |session| {
            runtime.block_on(looked_in.closed(&session.to_string())).map_err(|error| error.to_string())
        });
        let connecting = tokio::time::timeout(START_WITHIN, async {
            loop {
                match cluster.prepare().await {
                    Err(error) if error.is_away() => {
                        tracing::warn!(%error, "the database is waited for");
                        tokio::time::sleep(TRY_EVERY).await;
                    }
                    outcome => break outcome,
                }
            }
        });
        let filled = match connecting.await {
            Ok(prepared) => {
                prepared.map_err(Unusable::Database)?;
                // However many accounts there are, as long as they come.
                cluster.database.accounts(|row| cluster.ledger.heard(&row, policy)).await
            }
            Err(_) => Err(database::Error::Away(format!("no answer within {} s", START_WITHIN.as_secs()))),
        };
        match filled {
            Ok(()) => {}
            Err(error) if error.is_away() => {
                tracing::error!(%error, "the database is away: sessions that others let in are not known, and what happens is kept here");
                cluster.ledger.part(&error.to_string(), policy).await;
            }
            Err(error) => return Err(Unusable::Database(error)),
        }
        cluster.ledger.resume(owed, policy);
        Ok((cluster, trouble))
    }

    /// The accounts.
    #[must_use]
    pub const fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// What its daemons share of a source.
    #[must_use]
    pub fn commons(&self) -> Commons {
        Commons::new(self.database.clone(), Arc::clone(&self.ledger), self.of_sources.subscribe())
    }

    async fn prepare(&self) -> Result<(), database::Error> {
        let migrated = self.database.migrate().await?;
        if migrated.from != migrated.to {
            tracing::info!(from = migrated.from, to = migrated.to, "the database's schema is brought up to date");
        }
        self.compare_clocks().await
    }

    /// Goes by the database's clock, as all daemons do: what one says of a session at a moment, another builds on.
    async fn compare_clocks(&self) -> Result<(), database::Error> {
        let asked = self.clock.now().mono;
        let theirs = self.database.now().await?;
        let now = self.clock.uncorrected();
        // It was said about half the way back.
        let then = now.wall.saturating_sub(now.mono.saturating_sub(asked) / 2).unwrap_or(now.wall);
        let ahead = theirs.duration_since(then);
        let known = self.clock.correction();
        if (ahead - known.unwrap_or_default()).abs() <= OFF_AT_MOST {
            return Ok(());
        }
        let by = (ahead.abs() > OFF_AT_MOST).then_some(ahead);
        match by {
            Some(by) => tracing::error!(
                off_s = by.as_secs(),
                "this machine's clock is off by so much from the database's, by which all daemons go: set it (timedatectl set-ntp true)"
            ),
            None => tracing::info!("this machine's clock is the database's again"),
        }
        self.clock.correct(by);
        Ok(())
    }

    /// Compares the clocks, and tries again what was refused, now and then.
    async fn keep_time(self: Arc<Self>) {
        loop {
            tokio::time::sleep(COMPARE_EVERY).await;
            if let Err(error) = self.compare_clocks().await {
                tracing::debug!(%error, "the clocks cannot be compared");
            }
            self.ledger.try_refused();
        }
    }

    /// Hands on and hears, for ever.
    pub async fn run(self: Arc<Self>, live: Current) {
        let mut tasks = JoinSet::new();
        let task = |number: usize| {
            let (cluster, live) = (Arc::clone(&self), live.clone());
            async move {
                match number {
                    0 => cluster.hear(live).await,
                    1 => cluster.lead(live).await,
                    2 => cluster.keep_time().await,
                    3 => cluster.watch_for_the_database(live).await,
                    _ => cluster.hand_on(live).await,
                }
            }
        };
        let mut numbers: HashMap<_, _> =
            (0..OTHERS + LANES).map(|number| (tasks.spawn(task(number)).id(), number)).collect();
        // They end only by being dropped, or by a panic: a fault of ours that may not be met again.
        while let Some(ended) = tasks.join_next_with_id().await {
            let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
            let Some(number) = numbers.remove(&id) else { continue };
            tracing::error!(number, "a task of the way to the database ended, and begins anew");
            tokio::time::sleep(TRY_EVERY).await;
            numbers.insert(tasks.spawn(task(number)).id(), number);
        }
    }

    async fn hand_on(self: Arc<Self>, live: Current) {
        loop {
            if self.ledger.is_away() {
                // No longer than a try takes, should it be back between the question and the wait.
                let _ = tokio::time::timeout(TRY_EVERY, self.joined.notified()).await;
                continue;
            }
            let current = Arc::clone(&live.borrow());
            let changes = self.ledger.take_changes(BATCH, &current.settings.policy);
            if changes.is_empty() {
                self.ledger.has_changes().await;
                continue;
            }
            self.hand_on_these(changes, &current.settings.policy).await;
            if let Err(error) = self.ledger.clear().await {
                tracing::warn!(%error, "what the database has by now could not be cleared from the outbox");
            }
        }
    }

    /// Takes out the changes by which sessions would be let in that have ended in the database.
    async fn without_what_is_over(&self, changes: Vec<Change>) -> Result<Vec<Change>, database::Error> {
        let doubted: Vec<SessionId> = changes.iter().flat_map(|change| &change.doubted).copied().collect();
        if doubted.is_empty() {
            return Ok(changes);
        }
        let guard = Taken { ledger: &self.ledger, open: vec![&changes] };
        let ended = self.database.which_ended(&doubted).await?.into_iter();
        let over: HashMap<SessionId, Closed> =
            ended.filter_map(|closed| Some((closed.session.parse().ok()?, closed))).collect();
        guard.known();
        let is_of_them = |change: &Change| change.doubted.iter().any(|id| over.contains_key(id));
        let (theirs, others): (Vec<_>, Vec<_>) = changes.into_iter().partition(is_of_them);
        let still = theirs.into_iter().filter(|change| self.ledger.are_over(change.token, &over));
        Ok(others.into_iter().chain(still).collect())
    }

    async fn hand_on_these(&self, changes: Vec<Change>, policy: &Policy) {
        let changes = match self.without_what_is_over(changes).await {
            Ok(changes) => changes,
            Err(error) => return self.part(&error.to_string(), policy).await,
        };
        let mut taken = Taken { ledger: &self.ledger, open: vec![&changes] };
        while let Some(changes) = taken.open.last().copied() {
            let swapped = match (self.database.swap(changes).await, changes) {
                (Ok(swapped), _) => swapped,
                (Err(database::Error::Refused(why)), [change]) => {
                    tracing::error!(token = %change.token, why, "the database does not take what happened to an account");
                    // How it stands there is not known here any more.
                    self.missed.notify_one();
                    vec![Swapped::Refused]
                }
                // Of those of one statement, one is in the way of the others.
                (Err(database::Error::Refused(_)), _) => {
                    let (some, others) = changes.split_at(changes.len() / 2);
                    taken.open.pop();
                    taken.open.extend([some, others]);
                    continue;
                }
                (Err(error), _) => {
                    drop(taken);
                    self.part(&error.to_string(), policy).await;
                    return;
                }
            };
            for (change, swapped) in changes.iter().zip(swapped) {
                self.ledger.swapped(change.token, swapped, policy);
            }
            taken.open.pop();
        }
    }

    async fn part(&self, why: &str, policy: &Policy) {
        if !self.ledger.is_away() {
            tracing::error!(why, "the database is away: what happens is kept here, and handed on later");
        }
        self.ledger.part(why, policy).await;
    }

    /// Finds out when a database that is away is back; and when one is away, or of a later release, that nobody asks anything.
    async fn watch_for_the_database(self: Arc<Self>, live: Current) {
        let mut looked = self.clock.now().mono;
        let mut told = None;
        loop {
            tokio::time::sleep(TRY_EVERY).await;
            let (was_away, now) = (self.ledger.is_away(), self.clock.now().mono);
            if !was_away && now.saturating_sub(looked) < LOOK_EVERY {
                continue;
            }
            looked = now;
            if was_away {
                // A disk that hangs keeps nobody from finding the database.
                let _ = tokio::time::timeout(TRY_EVERY, self.ledger.mend_outbox()).await;
            }
            match self.database.is_writable().await {
                Ok(()) if was_away => {
                    self.ledger.join();
                    // What was not heard meanwhile is compared.
                    self.missed.notify_one();
                    tracing::info!(owed = self.ledger.owed(), "the database is back");
                    self.joined.notify_waiters();
                    told = None;
                }
                Ok(()) => {}
                Err(error) => {
                    let why = error.to_string();
                    if was_away && !error.is_away() && told.as_ref() != Some(&why) {
                        tracing::error!(why, "the database is away until somebody mends it");
                    }
                    let current = Arc::clone(&live.borrow());
                    self.part(&why, &current.settings.policy).await;
                    told = Some(why);
                }
            }
        }
    }

    /// Leads while no other daemon does.
    async fn lead(self: Arc<Self>, live: Current) {
        self.ledger.lead(false);
        let mut waiting = Waiting::default();
        loop {
            match self.database.lead(LEADER, &mut waiting).await {
                Ok(Some(mut lease)) => {
                    tracing::info!("this daemon writes minutes upstream for all");
                    self.ledger.lead(true);
                    self.of_sources.send_replace(());
                    tokio::select! {
                        () = lease.lost() => {}
                        () = self.forget(&live) => {}
                    }
                    self.ledger.lead(false);
                    tracing::info!("this daemon writes minutes upstream no more");
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "who leads cannot be found out"),
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
    }

    /// Forgets what is older than it is to be kept, for ever.
    async fn forget(&self, live: &Current) {
        for round in 0u32.. {
            let retain = live.borrow().settings.store.retain_sessions;
            let before = self.clock.now().wall.saturating_sub(retain).unwrap_or(Timestamp::MIN);
            if let Err(error) = self.database.retain(before.as_millisecond()).await {
                tracing::debug!(%error, "old sessions could not be forgotten");
            }
            if round.is_multiple_of(LOOKED_THROUGH_EVERY)
                && let Err(error) = self.forget_accounts(before).await
            {
                tracing::debug!(%error, "old accounts could not be forgotten");
            }
            tokio::time::sleep(FORGET_EVERY).await;
        }
    }

    async fn forget_accounts(&self, ended_before: Timestamp) -> Result<(), database::Error> {
        let ledger = Arc::clone(&self.ledger);
        let looking = tokio::task::spawn_blocking(move || ledger.over(ended_before)).await;
        self.database.forget(&looking.unwrap_or_default()).await
    }

    /// Hears what others do; where it cannot, it asks.
    async fn hear(self: Arc<Self>, live: Current) {
        // Since when nothing is heard, or when everything was asked for since.
        let mut deaf = None;
        loop {
            if let Err(error) = self.hear_until_it_fails(&live, &mut deaf).await {
                tracing::debug!(%error, "what others do is not heard");
                self.do_without_hearing(&live, &mut deaf, &error).await;
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
    }

    async fn do_without_hearing(&self, live: &Current, deaf: &mut Option<Duration>, error: &database::Error) {
        if self.ledger.is_away() {
            *deaf = None;
            return;
        }
        let now = self.clock.now().mono;
        let since = deaf.get_or_insert_with(|| {
            self.ledger.is_not_compared();
            now
        });
        if now.saturating_sub(*since) < LOOK_EVERY {
            return;
        }
        *since = now;
        if self.ledger.hears_not(Some(&error.to_string())) {
            tracing::error!(%error, "what other daemons do is not heard: it is asked for every few seconds");
        }
        if let Err(error) = self.take_in(Heard::All, live).await {
            tracing::debug!(%error, "what others do cannot be asked for");
            self.ledger.is_not_compared();
        }
    }

    async fn hear_until_it_fails(&self, live: &Current, deaf: &mut Option<Duration>) -> Result<(), database::Error> {
        let mut listener = self.database.listen().await?;
        loop {
            let heard = tokio::select! {
                heard = listener.next() => heard?,
                () = self.missed.notified() => Heard::All,
            };
            self.take_in(heard, live).await?;
            // The first that is heard is that everything is to be compared.
            *deaf = None;
            if !self.ledger.is_away() && self.ledger.hears_not(None) {
                tracing::info!("what other daemons do is heard again");
            }
        }
    }

    async fn take_in(&self, heard: Heard, live: &Current) -> Result<(), database::Error> {
        let (news, is_all) = match heard {
            Heard::Accounts(news) => (news, false),
            Heard::Tokens => {
                self.of_sources.send_replace(());
                return Ok(());
            }
            Heard::All => {
                self.of_sources.send_replace(());
                (self.compare().await?, true)
            }
        };
        for (token, _) in news.iter().filter(|(_, version)| *version == 0) {
            self.ledger.gone(*token, None);
        }
        let is_behind = |(token, version): &(TokenId, u64)| self.ledger.is_behind(*token, *version);
        let behind: Vec<TokenId> = news.into_iter().filter(is_behind).map(|(token, _)| token).collect();
        for tokens in behind.chunks(FETCHED) {
            let current = Arc::clone(&live.borrow());
            for row in self.database.fetch(tokens).await? {
                self.ledger.heard(&row, &current.settings.policy);
            }
        }
        if is_all && !self.ledger.is_away() {
            self.ledger.is_compared();
        }
        Ok(())
    }

    /// What stands in the database. What stood here before and does not there, or earlier, was forgotten meanwhile.
    async fn compare(&self) -> Result<Vec<(TokenId, u64)>, database::Error> {
        let known = self.ledger.versions();
        let there: HashMap<TokenId, u64> = self.database.versions().await?.into_iter().collect();
        for (token, version) in known {
            if there.get(&token).is_none_or(|stands| *stands < version) {
                self.ledger.gone(token, Some(version));
            }
        }
        Ok(there.into_iter().collect())
    }

    /// Waits until what is left has been handed on, no longer than `within`.
    pub async fn finish(&self, within: Duration) {
        let handing_on = async {
            if !self.ledger.is_away() {
                // Whoever waits for one of them hears of it.
                let _ = self.ledger.all_written().settled().await;
            }
        };
        if tokio::time::timeout(within, handing_on).await.is_err() {
            tracing::warn!("not everything was handed on to the database in time; nobody was told that it was");
        }
        if let Err(error) = self.ledger.clear().await {
            tracing::debug!(%error, "the outbox is not cleared: it is handed on once more");
        }
        self.ended.cancel();
    }
}
