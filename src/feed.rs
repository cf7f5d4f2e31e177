//! What keeps the gate supplied with tokens: a file that is followed, or the Nexudus API with its sign-in.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::catalogue::Catalogue;
use crate::clock::Clock;
use crate::config::{self, Settings};
use crate::core::ident::TokenId;
use crate::core::login::Claim;
use crate::gate::Supply;
use crate::ledger::Ledger;
use crate::live::Current;
use crate::mirror::{Coverage, Mirror};
use crate::source::health::Health;
use crate::source::nexudus::{Nexudus, Observer, Saved};
use crate::source::{Error, LookUp, Origin, Single, file};
use crate::state::StateFile;
use crate::telemetry::metrics::Metrics;
use crate::write_back::WriteBack;

/// How often a sign-in is tried while the source has not answered yet.
const KNOCK: Duration = Duration::from_secs(30);

/// How long a start waits for the file.
const FIRST_READING: Duration = Duration::from_secs(5);

/// How long a reload waits for the former source to stop.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// How often the file is looked at for changes.
const FILE_INTERVAL: Duration = Duration::from_millis(500);

/// Lines about records that one reading of a file may log.
const LINES_OF_A_FILE: usize = 20;

/// A supply and what feeds it.
#[derive(Debug)]
pub struct Feed {
    supply: Arc<Supply>,
    source: Source,
    /// Where a mirror is kept.
    folder: PathBuf,
    /// Whether minutes are written back.
    write_back: bool,
    metrics: Arc<Metrics>,
    clock: Clock,
    stop: CancellationToken,
    /// What it runs.
    own: TaskTracker,
}

enum Source {
    File(config::File),
    Nexudus(Arc<Nexudus>),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File(_) => "File",
            Self::Nexudus(_) => "Nexudus",
        })
    }
}

impl Feed {
    /// Prepares the supply of these settings; nothing is read or asked yet. It ends with `stop`. Calls that `former` made
    /// count on.
    pub fn new(
        settings: &Settings,
        state: &Arc<StateFile>,
        metrics: &Arc<Metrics>,
        clock: &Clock,
        stop: CancellationToken,
        former: Option<&Self>,
    ) -> Result<Self, Error> {
        let (metrics, health) = (Arc::clone(metrics), Arc::new(Health::default()));
        let source = match &settings.source {
            config::Source::File(file) => Source::File(file.clone()),
            config::Source::Nexudus(nexudus) => {
                let watch = Watch { metrics: Arc::clone(&metrics), health: Arc::clone(&health), clock: clock.clone() };
                let client = client(nexudus, state, watch, clock)?;
                Source::Nexudus(Arc::new(match former.map(|former| &former.source) {
                    Some(Source::Nexudus(former)) => client.after(former),
                    Some(Source::File(_)) | None => client,
                }))
            }
        };
        let origin = match &source {
            Source::File(_) => None,
            Source::Nexudus(nexudus) => Some(Arc::clone(nexudus) as Arc<dyn Origin>),
        };
        let mirrored = matches!(&settings.source, config::Source::Nexudus(nexudus) if nexudus.mirror);
        let catalogue = Arc::new(Catalogue::new(&settings.cache, origin, mirrored, clock.clone()));
        let supply = Arc::new(Supply {
            catalogue,
            health,
            mirror: mirrored.then(Arc::default),
            write_back: Arc::default(),
            hint: Arc::default(),
        });
        let folder = settings.store.path.clone();
        let write_back = matches!(&settings.source, config::Source::Nexudus(nexudus) if nexudus.write_back);
        Ok(Self { supply, source, folder, write_back, metrics, clock: clock.clone(), stop, own: TaskTracker::new() })
    }

    /// The supply.
    #[must_use]
    pub const fn supply(&self) -> &Arc<Supply> {
        &self.supply
    }

    /// Feeds the supply from now on; `ledger` knows on which tokens somebody is online. It returns once a file, or the mirror of before, was read, or could not be.
    pub async fn start(&self, tasks: &TaskTracker, ledger: Option<&Arc<Ledger>>) {
        match &self.source {
            Source::File(file) => self.follow(file.clone(), tasks).await,
            Source::Nexudus(nexudus) => {
                if let Some(coverage) = &self.supply.mirror {
                    self.mirror(Arc::clone(nexudus), Arc::clone(coverage), tasks, ledger).await;
                    return;
                }
                let knocking = knock(Arc::clone(nexudus), Arc::clone(&self.supply.health), self.clock.clone());
                tasks.spawn(self.own.track_future(self.stop.clone().run_until_cancelled_owned(knocking)));
            }
        }
    }

    /// Writes minutes used and devices learnt back from now on, where the settings ask for it.
    pub fn settle(&self, ledger: &Arc<Ledger>, live: &Current, tasks: &TaskTracker) {
        let Source::Nexudus(nexudus) = &self.source else { return };
        let write_back = WriteBack::new(
            Arc::clone(nexudus),
            Arc::clone(&self.supply.catalogue),
            Arc::clone(ledger),
            live.clone(),
            self.clock.clone(),
            Arc::clone(&self.supply.write_back),
            self.write_back,
        );
        tasks.spawn(self.own.track_future(self.stop.clone().run_until_cancelled_owned(write_back.run())));
    }

    /// Feeds it no more. What it runs is over once [`Feed::over`] is.
    pub fn stop(&self) {
        self.stop.cancel();
        self.own.close();
    }

    /// Resolves when what it ran is over, or after a while.
    pub fn over(&self) -> impl Future<Output = ()> + use<> {
        let own = self.own.clone();
        async move {
            if tokio::time::timeout(STOP_WITHIN, own.wait()).await.is_err() {
                tracing::warn!("the former source takes long to stop");
            }
        }
    }

    /// Reads the file now, for a command that ends after one decision. It blocks.
    pub fn read(&self) {
        if let Source::File(file) = &self.source {
            take(file::load(file), &self.supply, &self.metrics, &self.clock);
        }
    }

    /// Keeps a mirror; its first call signs in.
    async fn mirror(
        &self,
        nexudus: Arc<Nexudus>,
        coverage: Arc<Coverage>,
        tasks: &TaskTracker,
        ledger: Option<&Arc<Ledger>>,
    ) {
        let (catalogue, clock) = (Arc::clone(&self.supply.catalogue), self.clock.clone());
        let folder = self.folder.clone();
        let hint = Arc::clone(&self.supply.hint);
        let ledger = ledger.cloned();
        let is_in_use = move |id| {
            let account = ledger.as_ref().and_then(|ledger| ledger.account(id));
            account.is_some_and(|account| !account.sessions().is_empty())
        };
        let opening =
            move || Mirror::open(nexudus, catalogue, coverage, clock, Some(&folder), hint, Arc::new(is_in_use));
        match tokio::task::spawn_blocking(opening).await {
            Ok(mirror) => {
                tasks.spawn(self.own.track_future(self.stop.clone().run_until_cancelled_owned(mirror.run())));
            }
            Err(error) => tracing::error!(%error, "there is no mirror: every code is asked for when a guest comes"),
        }
    }

    async fn follow(&self, file: config::File, tasks: &TaskTracker) {
        let (latest, mut readings) = watch::channel(None);
        let following = file::watch(file, FILE_INTERVAL, self.clock.clone(), move |read| {
            latest.send_replace(Some(read));
        });
        tasks.spawn(self.own.track_future(self.stop.clone().run_until_cancelled_owned(following)));

        let (supply, metrics, clock) = (Arc::clone(&self.supply), Arc::clone(&self.metrics), self.clock.clone());
        let taken = Arc::new(Notify::new());
        let first = Arc::clone(&taken);
        let taking = async move {
            while readings.changed().await.is_ok() {
                let read = readings.borrow_and_update().clone();
                let (supply, metrics, clock) = (Arc::clone(&supply), Arc::clone(&metrics), clock.clone());
                // A large file takes long to index: not on a thread that answers.
                let indexed = tokio::task::spawn_blocking(move || {
                    if let Some(read) = read {
                        take(read, &supply, &metrics, &clock);
                    }
                });
                if indexed.await.is_ok() {
                    taken.notify_one();
                }
            }
        };
        tasks.spawn(self.own.track_future(self.stop.clone().run_until_cancelled_owned(taking)));
        if tokio::time::timeout(FIRST_READING, first.notified()).await.is_err() {
            tracing::error!("the file is not read yet; logins are denied until it is");
        }
    }
}

/// Takes what was read of the file: a good copy replaces the former, a bad file leaves it in use.
fn take(read: Result<file::Contents, Error>, supply: &Supply, metrics: &Metrics, clock: &Clock) {
    let up = read.is_ok();
    let answer = read.map(|(tokens, warnings)| {
        metrics.malformed_records(warnings.len().try_into().unwrap_or(u64::MAX));
        for warning in warnings.iter().take(LINES_OF_A_FILE) {
            tracing::warn!("the file's {warning}");
        }
        if warnings.len() > LINES_OF_A_FILE {
            tracing::warn!(records = warnings.len() - LINES_OF_A_FILE, "more records of the file are odd");
        }
        tracing::info!(tokens = tokens.len(), "the file was read");
        supply.catalogue.replace(tokens);
    });
    supply.health.called("file", answer.as_ref().map(drop));
    supply.health.note(answer, clock.now().mono);
    metrics.source_up(up);
}

/// Signs in before the first guest comes, and again every while until the source has answered once. A sign-in that works
/// is an answer too, but not one that takes back what a look-up found out since (a missing role, say).
async fn knock(nexudus: Arc<Nexudus>, health: Arc<Health>, clock: Clock) {
    let mut failed = false;
    while !matches!(health.last(), Some(Ok(()))) {
        let signed_in = nexudus.signed_in().await;
        if signed_in.is_err() || failed || health.last().is_none() {
            failed = signed_in.is_err();
            health.note(signed_in, clock.now().mono);
        }
        tokio::time::sleep(KNOCK).await;
    }
}

fn client(nexudus: &config::Nexudus, state: &Arc<StateFile>, watch: Watch, clock: &Clock) -> Result<Nexudus, Error> {
    let (state, saved, folder) = (Arc::clone(state), state.kept().nexudus, state.folder().map(Path::to_owned));
    let latest = Arc::new(Mutex::new(None));
    let on_save = Box::new(move |saved: &Saved| {
        *latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(saved.clone());
        let (state, latest) = (Arc::clone(&state), Arc::clone(&latest));
        tokio::task::spawn_blocking(move || {
            // Whichever of two writers comes last, the latest is written.
            let latest = || latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Err(error) = state.change(|kept| kept.nexudus = latest()) {
                tracing::error!(%error, "the sign-in at Nexudus could not be written down");
            }
        });
    });
    let client = Nexudus::new(nexudus, clock.clone(), saved, on_save, Box::new(watch))?;
    Ok(match folder {
        Some(folder) => client.noting_calls(&folder),
        None => client,
    })
}

/// Counts and notes how calls of Nexudus go.
struct Watch {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    clock: Clock,
}

impl Origin for Nexudus {
    fn look_up<'a>(&'a self, claim: &'a Claim) -> LookUp<'a> {
        Box::pin(self.look_up(claim))
    }

    fn read_one(&self, id: TokenId) -> Single<'_> {
        Box::pin(self.read_one(id))
    }
}

impl Observer for Watch {
    fn request(&self, operation: &'static str, status: &str) {
        self.metrics.source_request(operation, status);
    }

    fn answered(&self, operation: &'static str, outcome: Result<(), &Error>) {
        self.health.called(operation, outcome);
        self.metrics.source_up(outcome.is_ok());
        self.health.note(outcome.map_err(Clone::clone), self.clock.now().mono);
    }

    fn signed_in(&self) {
        self.health.called("sign_in", Ok(()));
    }

    fn malformed_record(&self) {
        self.metrics.malformed_records(1);
    }
}
