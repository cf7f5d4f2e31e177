//! What keeps the gate supplied with tokens: a file that is followed, or the Nexudus API with its sign-in.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::sync::{oneshot, watch};
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
use crate::mirror::{Commons, Coverage, Mirror};
use crate::source::health::Health;
use crate::source::nexudus::{Nexudus, Observer, Saved, Share};
use crate::source::{Error, LookUp, Origin, Single, file};
use crate::state::StateFile;
use crate::telemetry::metrics::Metrics;
use crate::write_back::WriteBack;

/// How often a sign-in is tried while the source has not answered yet.
const KNOCK: Duration = Duration::from_secs(30);

/// How long a start waits for the file.
const FIRST_READING: Duration = Duration::from_secs(5);

/// How long a reload waits for a file, while the former source serves: the largest that is read takes a slow machine less.
const OTHER_READING: Duration = Duration::from_secs(60);

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
    /// Whether its supply is the one in use: until then it sets no gauge and says nothing.
    in_force: watch::Sender<bool>,
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
    /// Prepares the supply of these settings; no token is read or asked for yet. It ends with `stop`. Calls that `former` made
    /// count on. It blocks.
    pub fn new(
        settings: &Settings,
        state: &Arc<StateFile>,
        metrics: &Arc<Metrics>,
        clock: &Clock,
        stop: CancellationToken,
        former: Option<&Self>,
    ) -> Result<Self, Error> {
        let (metrics, health) = (Arc::clone(metrics), Arc::new(Health::default()));
        let (in_force, _) = watch::channel(false);
        let source = match &settings.source {
            config::Source::File(file) => Source::File(file.clone()),
            config::Source::Nexudus(nexudus) => {
                let watch = Watch {
                    metrics: Arc::clone(&metrics),
                    health: Arc::clone(&health),
                    clock: clock.clone(),
                    in_force: in_force.subscribe(),
                };
                let another = former.is_some_and(|former| former.is_entered_otherwise(nexudus));
                let client = client(nexudus, state, watch, clock, another)?;
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
        // The store stays where it is until a restart.
        let folder = former.map_or_else(|| settings.store.path.clone(), |former| former.folder.clone());
        let write_back = matches!(&settings.source, config::Source::Nexudus(nexudus) if nexudus.write_back);
        let (clock, own) = (clock.clone(), TaskTracker::new());
        Ok(Self { supply, source, folder, write_back, metrics, clock, stop, in_force, own })
    }

    /// The supply.
    #[must_use]
    pub const fn supply(&self) -> &Arc<Supply> {
        &self.supply
    }

    /// Finds out whether it can take the place of `former`, which serves meanwhile: a file is read, and another account, or
    /// the same by another password, is signed in to and asked for a token. The same account may be away just now: its copies
    /// are taken over.
    pub async fn try_out(&self, former: &Self, tasks: &TaskTracker) -> Result<(), Error> {
        match &self.source {
            Source::File(file) => {
                let first = self.follow(file.clone(), tasks);
                let late = |what: &str| Error::Retry { what: format!("{}: {what}", file.path.display()), after: None };
                match tokio::time::timeout(OTHER_READING, first).await {
                    Ok(Ok(read)) => read,
                    Ok(Err(_)) => Err(late("reading it broke off")),
                    Err(_) => {
                        Err(late(&format!("it is not read after {} s; make it smaller", OTHER_READING.as_secs())))
                    }
                }
            }
            Source::Nexudus(nexudus) => {
                let same = self.of_the_same_account(former);
                if same && !former.is_entered_otherwise(&nexudus.config) {
                    return Ok(());
                }
                let config = &nexudus.config;
                let mut effort = nexudus.effort_within(Share::Whole, config.request_timeout.saturating_mul(2));
                let business = config.business_ids.first().map(|business| business.0.to_string());
                let mut query = vec![("page", "1"), ("size", "1")];
                query.extend(business.as_deref().map(|business| ("AccessToken_Business", business)));
                match nexudus.list(&query, &mut effort).await {
                    Err(Error::Retry { .. }) if same => Ok(()),
                    listed => listed.map(drop),
                }
            }
        }
    }

    /// Whether this account is entered otherwise than by this feed: by another password, say.
    fn is_entered_otherwise(&self, other: &config::Nexudus) -> bool {
        let Source::Nexudus(nexudus) = &self.source else { return true };
        let secrets = |config: &config::Nexudus| {
            let totp = config.totp_secret.as_ref().map(|secret| secret.expose_secret().to_owned());
            (config.auth, config.password.expose_secret().to_owned(), totp)
        };
        secrets(&nexudus.config) != secrets(other)
    }

    /// Whether both ask one account of Nexudus.
    fn of_the_same_account(&self, other: &Self) -> bool {
        match (&self.source, &other.source) {
            (Source::Nexudus(one), Source::Nexudus(other)) => {
                one.config.base_url == other.config.base_url && one.config.username == other.config.username
            }
            _ => false,
        }
    }

    /// Feeds the supply from now on; `ledger` knows on which tokens somebody is online, one daemon of several that share `commons`
    /// asks for all, and what `former` has at hand of the
    /// same account is taken over. It returns once a file, or the mirror of before, was read, or could not be.
    pub async fn start(
        &self,
        former: Option<&Self>,
        tasks: &TaskTracker,
        ledger: Option<&Arc<Ledger>>,
        commons: Option<Commons>,
    ) {
        // Tried out, a file is being followed already.
        let begun = !self.own.is_empty();
        self.in_force.send_replace(true);
        if matches!(self.supply.health.last(), Some(Ok(()))) {
            self.metrics.source_up(true);
        }
        let former = former.filter(|former| self.of_the_same_account(former));
        let former = former.map(|former| Arc::clone(&former.supply.catalogue));
        match &self.source {
            Source::File(_) if begun => {}
            Source::File(file) => {
                let first = self.follow(file.clone(), tasks);
                if tokio::time::timeout(FIRST_READING, first).await.is_err() {
                    tracing::error!("the file is not read yet; logins are denied until it is");
                }
            }
            Source::Nexudus(nexudus) => {
                if let Some(coverage) = &self.supply.mirror {
                    self.mirror(Arc::clone(nexudus), Arc::clone(coverage), former, tasks, ledger, commons).await;
                    return;
                }
                if let Some(former) = former {
                    let (catalogue, ours) = (Arc::clone(&self.supply.catalogue), nexudus.config.business_ids.clone());
                    let taking_over = tokio::task::spawn_blocking(move || catalogue.take_over(&former, &ours));
                    if let Err(error) = taking_over.await {
                        tracing::error!(%error, "the copies at hand could not be taken over");
                    }
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
            say(take(file::load(file), &self.supply), &self.supply, &self.metrics, &self.clock);
        }
    }

    /// Keeps a mirror; its first call signs in.
    async fn mirror(
        &self,
        nexudus: Arc<Nexudus>,
        coverage: Arc<Coverage>,
        former: Option<Arc<Catalogue>>,
        tasks: &TaskTracker,
        ledger: Option<&Arc<Ledger>>,
        commons: Option<Commons>,
    ) {
        let (catalogue, clock) = (Arc::clone(&self.supply.catalogue), self.clock.clone());
        let folder = self.folder.clone();
        let hint = Arc::clone(&self.supply.hint);
        let ledger = ledger.cloned();
        let is_in_use = move |id| {
            let account = ledger.as_ref().and_then(|ledger| ledger.account(id));
            account.is_some_and(|account| !account.sessions().is_empty())
        };
        let opening = move || {
            let (ours, held) = (nexudus.config.business_ids.clone(), Arc::clone(&catalogue));
            let mirror = Mirror::open(nexudus, catalogue, coverage, clock, Some(&folder), hint, Arc::new(is_in_use))
                .sharing(commons);
            if let Some(former) = former {
                held.take_over(&former, &ours);
            }
            mirror
        };
        match tokio::task::spawn_blocking(opening).await {
            Ok(mirror) => {
                tasks.spawn(self.own.track_future(self.stop.clone().run_until_cancelled_owned(mirror.run())));
            }
            Err(error) => tracing::error!(%error, "there is no mirror: every code is asked for when a guest comes"),
        }
    }

    /// Reads the file now and whenever it changes; what came of the first reading. Only once this is in force anything is said,
    /// and read again.
    fn follow(&self, file: config::File, tasks: &TaskTracker) -> oneshot::Receiver<Result<(), Error>> {
        let (latest, mut readings) = watch::channel(None);
        let following = file::watch(file, FILE_INTERVAL, self.clock.clone(), move |read| {
            latest.send_replace(Some(read));
        });
        tasks.spawn(self.own.track_future(self.stop.clone().run_until_cancelled_owned(following)));

        let (supply, metrics, clock) = (Arc::clone(&self.supply), Arc::clone(&self.metrics), self.clock.clone());
        let mut in_force = self.in_force.subscribe();
        let (read_first, first) = oneshot::channel();
        let mut read_first = Some(read_first);
        let taking = async move {
            while readings.changed().await.is_ok() {
                let Some(read) = readings.borrow_and_update().clone() else { continue };
                let copies = Arc::clone(&supply);
                // A large file takes long to index: not on a thread that answers.
                let Ok(taken) = tokio::task::spawn_blocking(move || take(read, &copies)).await else { continue };
                if let Some(first) = read_first.take() {
                    let _ = first.send(taken.as_ref().map(drop).map_err(Clone::clone));
                }
                if in_force.wait_for(|in_force| *in_force).await.is_err() {
                    return;
                }
                say(taken, &supply, &metrics, &clock);
            }
        };
        tasks.spawn(self.own.track_future(self.stop.clone().run_until_cancelled_owned(taking)));
        first
    }
}

/// What was taken of a file: how many tokens, and what is odd about it.
type Taken = Result<(usize, Vec<file::Warning>), Error>;

/// Takes what was read of the file: a good copy replaces the former, a bad file leaves it in use.
fn take(read: Result<file::Contents, Error>, supply: &Supply) -> Taken {
    let (tokens, warnings) = read?;
    let count = tokens.len();
    supply.catalogue.replace(tokens);
    Ok((count, warnings))
}

/// Says and notes what was taken.
fn say(taken: Taken, supply: &Supply, metrics: &Metrics, clock: &Clock) {
    metrics.source_up(taken.is_ok());
    let answer = taken.map(|(tokens, warnings)| {
        metrics.malformed_records(warnings.len().try_into().unwrap_or(u64::MAX));
        for warning in warnings.iter().take(LINES_OF_A_FILE) {
            tracing::warn!("the file's {warning}");
        }
        if warnings.len() > LINES_OF_A_FILE {
            tracing::warn!(records = warnings.len() - LINES_OF_A_FILE, "more records of the file are odd");
        }
        tracing::info!(tokens, "the file was read");
    });
    supply.health.called("file", answer.as_ref().map(drop));
    supply.health.note(answer, clock.now().mono);
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

/// `anew`: by the password, since that is another.
fn client(
    nexudus: &config::Nexudus,
    state: &Arc<StateFile>,
    watch: Watch,
    clock: &Clock,
    anew: bool,
) -> Result<Nexudus, Error> {
    let (state, saved, folder) = (Arc::clone(state), state.kept().nexudus, state.folder().map(Path::to_owned));
    let refresh_token = |saved: &Saved| saved.refresh_token.clone().filter(|_| !anew);
    let saved = saved.map(|saved| Saved { refresh_token: refresh_token(&saved), ..saved });
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
    in_force: watch::Receiver<bool>,
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
        if !*self.in_force.borrow() {
            // What fails while it is tried out is the answer of that, and nobody else's trouble.
            if outcome.is_ok() {
                self.health.note(Ok(()), self.clock.now().mono);
            }
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_str;

    /// Indexing is done on a thread of which there is one, and that is busy. The clock is moved by hand.
    #[test]
    fn a_file_that_is_slow_to_index_is_waited_for_while_the_former_serves() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .max_blocking_threads(1)
            .build();
        runtime.unwrap().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("tokens.json"), r#"[{"Id": 1, "AccessCode": "abc"}]"#).unwrap();
            let text = "[source]\nkind = \"file\"\npath = \"tokens.json\"\n[[nas]]\nname = \"a\"\naddress = \"127.0.0.1\"\nsecret = \"correct horse battery\"\n";
            let settings = from_str(text, &folder.path().join("spotgate.toml"), &|_| None).unwrap().settings;
            let (state, metrics, clock) = (Arc::new(StateFile::forgetful()), Arc::default(), Clock::system());
            let feed = || Feed::new(&settings, &state, &metrics, &clock, CancellationToken::new(), None).unwrap();
            let (former, next, tasks) = (feed(), feed(), TaskTracker::new());
            let (let_go, held) = std::sync::mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || held.recv().is_ok());
            let mut trial = std::pin::pin!(next.try_out(&former, &tasks));
            for _ in 0..5 {
                let step = OTHER_READING / 6;
                assert!(tokio::time::timeout(Duration::ZERO, &mut trial).await.is_err(), "it goes on");
                tokio::time::advance(step).await;
            }
            let_go.send(()).unwrap();
            assert!(busy.await.unwrap());
            assert_eq!(trial.await, Ok(()));
            assert!(next.supply().catalogue.is_usable());
            let source_up = || metrics.text().lines().any(|line| line.starts_with("spotgate_source_up "));
            assert!(!source_up(), "it is not in force");
            next.start(Some(&former), &tasks, None, None).await;
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert!(source_up());
            next.stop();
        });
    }
}
