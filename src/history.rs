//! What happened, for people: decisions and their reasons, what operators did, how full it was. It is kept in a file of its
//! own beside the ledger: nothing is decided on it, so a login only drops a note into a queue, and a power cut may take the
//! last second of them.

mod file;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::core::decide::Reason;
use crate::core::ident::{Code, Mac, NasName, SessionId, TokenId};
use crate::gate::Via;
use crate::journal::is_damage;
use file::File;

/// Decisions that may wait to be written: a second of a storm. Those beyond it are counted and not kept.
const QUEUE: usize = 16_384;

/// How long decisions wait to be written together.
const EVERY: Duration = Duration::from_millis(250);

/// Questions and notes of operators that may wait.
const JOBS: usize = 64;

/// How long one of them may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The width of a column in the pictures.
pub const SLOT: Duration = Duration::from_secs(15 * 60);

/// A decision, as people look at it afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// When.
    pub at: Timestamp,
    /// Through which door.
    pub via: Via,
    /// At which router.
    pub nas: NasName,
    /// The device.
    pub mac: Option<Mac>,
    /// What was typed; of a MAC login the code it was let in with.
    pub code: Option<Code>,
    /// The token, where one was found.
    pub token: Option<TokenId>,
    /// Why not; none: it was allowed.
    pub reason: Option<Reason>,
    /// Seconds it was given.
    pub session_timeout: Option<u64>,
    /// The session that was opened.
    pub session: Option<SessionId>,
}

/// Which decisions are wanted: those that fit everything that is said.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// With this code; case of ASCII letters does not matter.
    pub code: Option<Code>,
    /// Of this device.
    pub mac: Option<Mac>,
    /// Denied for this reason, or (`Some(None)`) allowed.
    pub reason: Option<Option<Reason>>,
    /// At this router.
    pub nas: Option<NasName>,
}

/// What somebody with a password or a key did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Action {
    /// When.
    pub at: Timestamp,
    /// Who: `operator`, `viewer`, or the name of a key.
    pub who: String,
    /// From where.
    pub from: Option<String>,
    /// What: `sign-in`, `disconnect`, `refresh`, …
    pub action: String,
    /// On what: a session or a token's id, never a code.
    pub subject: String,
}

/// One column of the pictures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Seconds since 1970 at which it begins.
    pub begins: i64,
    /// Most sessions at once.
    pub sessions: u64,
    /// Seconds of WiFi of all sessions together.
    pub used_seconds: u64,
    /// Logins allowed.
    pub allowed: u64,
    /// Logins denied, by reason.
    pub denied: Vec<(String, u64)>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too much is asked at once, or it takes too long.
    #[error("too much is asked of the history just now")]
    Busy,
    /// The file cannot be used.
    #[error("the history cannot be used: {0}")]
    File(#[from] rusqlite::Error),
    /// None is kept.
    #[error("no history is kept")]
    Absent,
}

enum Job {
    Run(Box<dyn FnOnce(&mut File) + Send>),
    Stop,
}

/// The history, kept by a thread of its own.
#[derive(Debug)]
pub struct History(Option<Open>);

#[derive(Debug)]
struct Open {
    decided: SyncSender<Decided>,
    jobs: SyncSender<Job>,
    unkept: Arc<AtomicU64>,
    trouble: Arc<Mutex<Option<String>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl History {
    /// None is kept: for commands that decide beside the daemon.
    #[must_use]
    pub const fn absent() -> Self {
        Self(None)
    }

    /// Opens or begins the history in `folder`; in memory, and the trouble says why, where that is not possible. It blocks.
    #[must_use]
    pub fn open(folder: &Path, now: Timestamp) -> Self {
        let (file, trouble) = match File::open(folder, now) {
            Ok(file) => (Ok(file), None),
            Err(error) => {
                let trouble = format!("decisions are kept until the next restart only: {error}");
                tracing::error!("{trouble}");
                (File::in_memory(), Some(trouble))
            }
        };
        file.map_or_else(|_| Self::absent(), |file| Self::keep(file, trouble))
    }

    /// One that ends with the process.
    #[must_use]
    pub fn in_memory() -> Self {
        File::in_memory().map_or_else(|_| Self::absent(), |file| Self::keep(file, None))
    }

    fn keep(file: File, trouble: Option<String>) -> Self {
        let (decided, decisions) = sync_channel(QUEUE);
        let (jobs, to_do) = sync_channel(JOBS);
        let (unkept, trouble) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(trouble)));
        let keeper =
            Keeper { file, decisions, held: Vec::new(), unkept: Arc::clone(&unkept), trouble: Arc::clone(&trouble) };
        let thread = std::thread::Builder::new().name("history".to_owned()).spawn(move || keeper.run(&to_do));
        match thread {
            Ok(thread) => Self(Some(Open { decided, jobs, unkept, trouble, thread: Mutex::new(Some(thread)) })),
            Err(error) => {
                tracing::error!(%error, "no history is kept");
                Self::absent()
            }
        }
    }

    /// Whether anybody wants to know.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    /// Notes a decision. It never waits: when too many come at once, some are not kept.
    pub fn note(&self, decided: Decided) {
        if let Some(open) = &self.0
            && open.decided.try_send(decided).is_err()
        {
            open.unkept.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Decisions that were not kept.
    #[must_use]
    pub fn unkept(&self) -> u64 {
        self.0.as_ref().map_or(0, |open| open.unkept.load(Ordering::Relaxed))
    }

    /// What is wrong with it.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.0.as_ref().and_then(|open| lock(&open.trouble).clone())
    }

    /// The latest decisions that fit, newest first; those of a moment ago are among them.
    ///
    /// # Errors
    ///
    /// As [`Error`].
    pub async fn decisions(&self, filter: Filter, limit: usize) -> Result<Vec<Decided>, Error> {
        self.ask(move |file| file.decisions(&filter, limit)).await
    }

    /// Writes down what somebody did; on return it is on disk.
    ///
    /// # Errors
    ///
    /// As [`Error`].
    pub async fn act(&self, action: Action) -> Result<(), Error> {
        self.ask(move |file| file.act(&action)).await
    }

    /// The same; where that fails, the log has it: whoever must act at night must be able to.
    pub async fn act_or_log(&self, action: Action) {
        if let Err(error) = self.act(action.clone()).await {
            let Action { who, from, action, subject, .. } = action;
            tracing::error!(%error, who, from, action, subject, "this was done, and may stand in no audit trail");
        }
    }

    /// What was done, newest first; `sign_ins`: also who signed in.
    ///
    /// # Errors
    ///
    /// As [`Error`].
    pub async fn actions(&self, limit: usize, sign_ins: bool) -> Result<Vec<Action>, Error> {
        self.ask(move |file| file.actions(limit, sign_ins)).await
    }

    /// Columns of [`SLOT`] since `since`, oldest first; one in which nothing happened is missing.
    ///
    /// # Errors
    ///
    /// As [`Error`].
    pub async fn columns(&self, since: Timestamp) -> Result<Vec<Column>, Error> {
        self.ask(move |file| file.columns(since)).await
    }

    /// Notes that `sessions` sessions are live, and have been for `during`.
    pub fn sample(&self, now: Timestamp, sessions: u64, during: Duration) {
        self.tell(move |file| file.sample(now, sessions, during));
    }

    /// Forgets what is older than `retain`.
    pub fn forget(&self, now: Timestamp, retain: Duration) {
        self.tell(move |file| file.forget(now, retain));
    }

    /// Asks without waiting for the outcome.
    fn tell(&self, work: impl FnOnce(&mut File) -> rusqlite::Result<()> + Send + 'static) {
        let Some(open) = &self.0 else { return };
        let trouble = Arc::clone(&open.trouble);
        let job = move |file: &mut File| match work(file) {
            Ok(()) if !file.is_in_memory() => *lock(&trouble) = None,
            Ok(()) => {}
            Err(error) => troubled(&trouble, &error),
        };
        // Should there be no room, the next sample says more.
        let _ = open.jobs.try_send(Job::Run(Box::new(job)));
    }

    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut File) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let open = self.0.as_ref().ok_or(Error::Absent)?;
        let (answer, answered) = oneshot::channel();
        let job = move |file: &mut File| {
            // Whoever waits no longer is not told.
            let _ = answer.send(work(file));
        };
        open.jobs.try_send(Job::Run(Box::new(job))).map_err(|_| Error::Busy)?;
        match tokio::time::timeout(ANSWER_WITHIN, answered).await {
            Ok(Ok(outcome)) => Ok(outcome?),
            Ok(Err(_)) | Err(_) => Err(Error::Busy),
        }
    }

    /// Writes what is queued and closes the file. It blocks.
    pub fn close(&self) {
        let Some(open) = &self.0 else { return };
        if open.jobs.send(Job::Stop).is_ok()
            && let Some(thread) = lock(&open.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("the history ended in a panic; this is a fault in spotgate");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn troubled(trouble: &Mutex<Option<String>>, error: &rusqlite::Error) {
    let why = format!("decisions are not kept: {error}");
    let mut trouble = lock(trouble);
    if trouble.as_ref() != Some(&why) {
        tracing::error!("{why}");
        *trouble = Some(why);
    }
}

/// The thread's own.
struct Keeper {
    file: File,
    decisions: Receiver<Decided>,
    /// Those that could not be written yet, at most [`QUEUE`].
    held: Vec<Decided>,
    unkept: Arc<AtomicU64>,
    trouble: Arc<Mutex<Option<String>>>,
}

impl Keeper {
    fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            let job = jobs.recv_timeout(EVERY);
            // Before the job, so that who asks sees what was decided before.
            self.write();
            match job {
                Ok(Job::Run(job)) => job(&mut self.file),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    self.unkept.fetch_add(self.held.len().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
                    return;
                }
            }
        }
    }

    fn write(&mut self) {
        self.held.extend(self.decisions.try_iter().take(QUEUE.saturating_sub(self.held.len())));
        let Some(latest) = self.held.last() else { return };
        let mut outcome = self.file.write(&self.held);
        if let Err(error) = &outcome
            && is_damage(error)
        {
            // Only its first pages are looked at when it is opened.
            outcome = self.file.begin_anew(error, latest.at).and_then(|()| self.file.write(&self.held));
        }
        if outcome.is_ok() {
            self.held.clear();
        }
        match outcome {
            Ok(()) if !self.file.is_in_memory() => *lock(&self.trouble) = None,
            Ok(()) => {}
            // They are tried again: somebody may just have held the file.
            Err(error) => troubled(&self.trouble, &error),
        }
    }
}

#[cfg(test)]
mod tests;
