//! The daemon, wired in reading order: state, source, gate, sockets, tasks, ready; then reload, and drain.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::catalogue::Catalogue;
use crate::clock::Clock;
use crate::config::{self, Settings};
use crate::core::login::Claim;
use crate::gate::Gate;
use crate::http;
use crate::http::routes::App;
use crate::live::{Current, Live};
use crate::radius;
use crate::radius::clients::Learnt;
use crate::radius::handle::{Handler, OnLearnt, Port};
use crate::source::health::Health;
use crate::source::nexudus::{Nexudus, Observer, Saved};
use crate::source::{self, LookUp, Origin, file};
use crate::state::StateFile;
use crate::telemetry::metrics::Metrics;

/// How long requests under way may take to end once the daemon is told to stop.
const DRAIN: Duration = Duration::from_secs(6);

/// How often lapsed sessions are cleared.
const SWEEP: Duration = Duration::from_secs(10);

/// How often a sign-in is tried while the source has not answered yet.
const KNOCK: Duration = Duration::from_secs(30);

/// How long the start waits for the file.
const FIRST_READING: Duration = Duration::from_secs(5);

/// Lines about records that one reading of a file may log.
const LINES_OF_A_FILE: usize = 20;

/// How often the file source is looked at for changes.
const FILE_INTERVAL: Duration = Duration::from_millis(500);

/// Why the daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(config::Report),
    /// An address could not be bound.
    #[error("cannot listen on {address} for {what}: {error}; {}", remedy(.error))]
    Listen {
        /// For what.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// The source cannot be set up.
    #[error("source: {0}")]
    Source(source::Error),
    /// Certificate or key of HTTP cannot be used.
    #[error("http.certificate, http.private_key: {0}")]
    Certificate(io::Error),
    /// Something else of the system failed.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        error: io::Error,
    },
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there: stop it, or change the address",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address",
        io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE",
        _ => "see the address in the configuration",
    }
}

impl Fatal {
    /// The exit code (sysexits.h): 78 configuration, 74 input and output.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Source(_) | Self::Certificate(_) => 78,
            Self::Listen { .. } | Self::Io { .. } => 74,
        }
    }
}

/// Where a running daemon can be reached; the ports are the real ones.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// RADIUS authentication.
    pub auth: Vec<SocketAddr>,
    /// RADIUS accounting.
    pub accounting: Vec<SocketAddr>,
    /// HTTP.
    pub http: Vec<SocketAddr>,
    /// Metrics, if they could be bound.
    pub metrics: Option<SocketAddr>,
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    /// Where it can be reached.
    pub addresses: Addresses,
    /// Where it decides.
    pub gate: Arc<Gate>,
    live: watch::Sender<Arc<Live>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// The gate in front of the source: the part of the daemon that `explain` uses too. A file is not read yet.
pub fn gate(settings: &Settings, state: &Arc<StateFile>, clock: &Clock) -> Result<Arc<Gate>, Fatal> {
    Ok(Arc::new(over(settings, state, clock)?.0))
}

fn over(settings: &Settings, state: &Arc<StateFile>, clock: &Clock) -> Result<(Gate, Option<Arc<Nexudus>>), Fatal> {
    let (metrics, health) = (Arc::new(Metrics::default()), Arc::new(Health::default()));
    let nexudus = match &settings.source {
        config::Source::File(_) => None,
        config::Source::Nexudus(nexudus) => {
            let watch = Watch { metrics: Arc::clone(&metrics), health: Arc::clone(&health), clock: clock.clone() };
            Some(Arc::new(client(nexudus, state, watch, clock)?))
        }
    };
    let origin = nexudus.clone().map(|nexudus| -> Arc<dyn Origin> { nexudus });
    let catalogue = Arc::new(Catalogue::new(&settings.cache, origin, clock.clone()));
    Ok((Gate::new(catalogue, health, metrics, clock.clone()), nexudus))
}

/// Signs in before the first guest comes, and again every while until the source has answered once. A sign-in that works
/// is an answer too, but not one that takes back what a look-up found out since (a missing role, say).
async fn knock(nexudus: Arc<Nexudus>, gate: Arc<Gate>) {
    let mut failed = false;
    while !matches!(gate.health.last(), Some(Ok(()))) {
        let signed_in = nexudus.signed_in().await;
        if signed_in.is_err() || failed || gate.health.last().is_none() {
            failed = signed_in.is_err();
            gate.health.note(signed_in, gate.clock.now().mono);
        }
        tokio::time::sleep(KNOCK).await;
    }
}

fn client(nexudus: &config::Nexudus, state: &Arc<StateFile>, watch: Watch, clock: &Clock) -> Result<Nexudus, Fatal> {
    let (state, saved) = (Arc::clone(state), state.kept().nexudus);
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
    Nexudus::new(nexudus, clock.clone(), saved, on_save, Box::new(watch)).map_err(Fatal::Source)
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
}

impl Observer for Watch {
    fn request(&self, operation: &'static str, status: &str) {
        self.metrics.source_request(operation, status);
    }

    fn answered(&self, outcome: Result<(), &source::Error>) {
        self.metrics.source_up(outcome.is_ok());
        self.health.note(outcome.map_err(Clone::clone), self.clock.now().mono);
    }

    fn malformed_record(&self) {
        self.metrics.malformed_records(1);
    }
}

/// Takes what was read of the file: a good copy replaces the former, a bad file leaves it in use.
pub fn take(read: Result<file::Contents, source::Error>, gate: &Gate) {
    match read {
        Ok((tokens, warnings)) => {
            gate.metrics.malformed_records(warnings.len().try_into().unwrap_or(u64::MAX));
            for warning in warnings.iter().take(LINES_OF_A_FILE) {
                tracing::warn!("the file's {warning}");
            }
            if warnings.len() > LINES_OF_A_FILE {
                tracing::warn!(records = warnings.len() - LINES_OF_A_FILE, "more records of the file are odd");
            }
            tracing::info!(tokens = tokens.len(), "the file was read");
            gate.catalogue.replace(tokens);
            gate.health.note(Ok(()), gate.clock.now().mono);
            gate.metrics.source_up(true);
        }
        Err(error) => {
            gate.health.note(Err(error), gate.clock.now().mono);
            gate.metrics.source_up(false);
        }
    }
}

/// Reads the file whenever it changes; returns once it was read, or could not be.
async fn follow(file: config::File, gate: &Arc<Gate>, tasks: &TaskTracker, stop: &CancellationToken) {
    let (latest, mut readings) = watch::channel(None);
    let following = file::watch(file, FILE_INTERVAL, gate.clock.clone(), move |read| {
        latest.send_replace(Some(read));
    });
    tasks.spawn(stop.clone().run_until_cancelled_owned(following));

    let (taker, taken) = (Arc::clone(gate), Arc::new(Notify::new()));
    let first = Arc::clone(&taken);
    let taking = async move {
        while readings.changed().await.is_ok() {
            let (read, gate) = (readings.borrow_and_update().clone(), Arc::clone(&taker));
            // A large file takes long to index: not on a thread that answers.
            let indexed = tokio::task::spawn_blocking(move || {
                if let Some(read) = read {
                    take(read, &gate);
                }
            });
            if indexed.await.is_ok() {
                taken.notify_one();
            }
        }
    };
    tasks.spawn(stop.clone().run_until_cancelled_owned(taking));
    if tokio::time::timeout(FIRST_READING, first.notified()).await.is_err() {
        tracing::error!("the file is not read yet; logins are denied until it is");
    }
}

/// Starts the daemon; on return it answers.
pub async fn start(settings: Settings, clock: Clock) -> Result<Daemon, Fatal> {
    let (state, opened) = StateFile::open(&settings.store.path);
    let state = Arc::new(state);
    let (gate, nexudus) = over(&settings, &state, &clock)?;
    let gate = Arc::new(gate);

    let (live, current) = watch::channel(Arc::new(Live::new(settings)));
    let app = Arc::new(App::new(Arc::clone(&gate), current.clone()));
    if let Err(error) = opened {
        let folder = current.borrow().settings.store.path.display().to_string();
        tracing::error!(%error, folder, "the store's folder cannot be used: what is learnt will not survive a restart");
        app.trouble(format!("store: {folder}: {error}"));
    }

    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let source = current.borrow().settings.source.clone();
    if let config::Source::File(file) = source {
        follow(file, &gate, &tasks, &stop).await;
    }
    if let Some(nexudus) = nexudus {
        tasks.spawn(stop.clone().run_until_cancelled_owned(knock(nexudus, Arc::clone(&gate))));
    }
    let addresses = listen(&current, &app, &gate, &state, &tasks, &stop).await?;
    tasks.spawn(stop.clone().run_until_cancelled_owned(sweep_regularly(Arc::clone(&gate), current)));
    tracing::info!(
        auth = ?addresses.auth, accounting = ?addresses.accounting, http = ?addresses.http, metrics = ?addresses.metrics,
        version = env!("CARGO_PKG_VERSION"), "ready"
    );
    Ok(Daemon { addresses, gate, live, stop, tasks })
}

async fn listen(
    current: &Current,
    app: &Arc<App>,
    gate: &Arc<Gate>,
    state: &Arc<StateFile>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Addresses, Fatal> {
    let settings = current.borrow().settings.clone();
    let learnt = Arc::new(Learnt::from_earlier(state.kept().message_authenticator_seen));
    let keep = Box::new(Keep { state: Arc::clone(state), tasks: tasks.clone() });
    let handler = Arc::new(Handler::new(Arc::clone(gate), learnt, keep));

    // Everything is bound before anything is served.
    let auth = bind_radius(&settings.radius, &settings.radius.auth_listen, Port::Auth)?;
    let accounting = bind_radius(&settings.radius, &settings.radius.acct_listen, Port::Accounting)?;
    let http = bind_http(&settings.http.listen).await?;
    let tls = settings.http.tls.as_ref().map(http::server::tls).transpose();
    let tls = tls.map_err(Fatal::Certificate)?;

    let mut addresses = Addresses::default();
    for (bound, reached) in [(auth, &mut addresses.auth), (accounting, &mut addresses.accounting)] {
        for bound in bound {
            reached.push(bound.address());
            bound.serve(&handler, current, tasks, stop);
        }
    }
    let router = http::routes::router(app);
    for listener in http {
        addresses.http.extend(listener.local_addr());
        tasks.spawn(http::server::serve(listener, tls.clone(), router.clone(), stop.clone(), DRAIN));
    }
    match TcpListener::bind(settings.telemetry.metrics_listen).await {
        Ok(listener) => {
            addresses.metrics = listener.local_addr().ok();
            tasks.spawn(http::server::serve(listener, None, metrics_router(gate, current), stop.clone(), DRAIN));
        }
        Err(error) => {
            // Guests get online without metrics too.
            let address = settings.telemetry.metrics_listen;
            tracing::error!(%error, %address, "metrics cannot be served; {}", remedy(&error));
            app.trouble(format!("metrics: {address}: {error}"));
        }
    }
    Ok(addresses)
}

fn bind_radius(
    radius: &config::Radius,
    listen: &[SocketAddr],
    port: Port,
) -> Result<Vec<radius::server::Bound>, Fatal> {
    let what = if port == Port::Auth { "RADIUS authentication" } else { "RADIUS accounting" };
    let mut bound = Vec::new();
    for &address in listen {
        match radius::server::bind(address, port, radius.workers) {
            Ok(sockets) => bound.push(sockets),
            Err(error) if radius.listen_is_default && address.is_ipv6() && lacks_family(&error) => {
                tracing::info!(%address, "this machine has no IPv6; RADIUS listens on IPv4 alone");
            }
            Err(error) => return Err(Fatal::Listen { what, address, error }),
        }
    }
    Ok(bound)
}

/// EAFNOSUPPORT or EADDRNOTAVAIL: IPv6 is not compiled in, or switched off.
fn lacks_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(97) || error.kind() == io::ErrorKind::AddrNotAvailable
}

async fn bind_http(listen: &[SocketAddr]) -> Result<Vec<TcpListener>, Fatal> {
    let mut bound = Vec::new();
    for &address in listen {
        let listener = TcpListener::bind(address).await;
        bound.push(listener.map_err(|error| Fatal::Listen { what: "HTTP", address, error })?);
    }
    Ok(bound)
}

fn metrics_router(gate: &Arc<Gate>, live: &Current) -> Router {
    let (gate, live) = (Arc::clone(gate), live.clone());
    let text = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let metrics = async move || {
        sweep(&gate, &live);
        ([("content-type", text)], gate.metrics.text())
    };
    Router::new().route("/metrics", get(metrics))
}

/// Clears lapsed sessions and sets the gauges.
fn sweep(gate: &Gate, live: &Current) {
    let live = Arc::clone(&live.borrow());
    let sessions = gate.ledger.sweep(&live.settings.policy, gate.clock.now().wall);
    let names = live.settings.nas.iter().map(config::Nas::name);
    gate.metrics.sessions(names.map(|name| (name.as_str(), sessions.get(name).copied().unwrap_or_default())));
    gate.metrics.tokens.set(i64::try_from(gate.catalogue.tokens()).unwrap_or(i64::MAX));
}

async fn sweep_regularly(gate: Arc<Gate>, live: Current) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        ticks.tick().await;
        sweep(&gate, &live);
    }
}

/// Writes down which routers sign their requests, off the packet path.
#[derive(Debug)]
struct Keep {
    state: Arc<StateFile>,
    tasks: TaskTracker,
}

impl OnLearnt for Keep {
    fn learnt(&self, learnt: &Arc<Learnt>) {
        let (state, learnt) = (Arc::clone(&self.state), Arc::clone(learnt));
        self.tasks.spawn_blocking(move || {
            // Read when it is written: of two writers the later writes all that both have learnt.
            if let Err(error) = state.change(|kept| kept.message_authenticator_seen = learnt.all()) {
                tracing::error!(%error, "what was learnt about a router could not be written down");
            }
        });
    }
}

impl Daemon {
    /// Puts other settings in force for every request from now on, and says what needs a restart.
    pub fn reload(&self, settings: Settings) {
        let former = Arc::clone(&self.live.borrow());
        for key in needs_restart(&former.settings, &settings) {
            tracing::warn!(key, "changed in the file; it takes effect with the next restart");
        }
        self.live.send_replace(Arc::new(Live::new(settings)));
        self.gate.metrics.reloaded(true);
        tracing::info!("reloaded");
    }

    /// Takes nothing new, and lets what is under way end; whether all of it did within `within`.
    pub async fn stop(self, within: Duration) -> bool {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(within, self.tasks.wait()).await.is_ok()
    }
}

fn needs_restart(former: &Settings, new: &Settings) -> Vec<&'static str> {
    // Debug prints no secret, so a changed password alone is not seen here; it is said in the README.
    let differs = |one: &dyn std::fmt::Debug, other: &dyn std::fmt::Debug| format!("{one:?}") != format!("{other:?}");
    let mut keys = Vec::new();
    for (key, changed) in [
        ("source", differs(&former.source, &new.source)),
        ("cache", differs(&former.cache, &new.cache)),
        ("radius.auth_listen", former.radius.auth_listen != new.radius.auth_listen),
        ("radius.acct_listen", former.radius.acct_listen != new.radius.acct_listen),
        ("radius.workers", former.radius.workers != new.radius.workers),
        ("radius.duplicate_window", former.radius.duplicate_window != new.radius.duplicate_window),
        ("radius.radsec", differs(&former.radius.radsec, &new.radius.radsec)),
        ("http.listen", former.http.listen != new.http.listen),
        ("http.certificate", differs(&former.http.tls, &new.http.tls)),
        ("store", differs(&former.store, &new.store)),
        ("telemetry", differs(&former.telemetry, &new.telemetry)),
    ] {
        if changed {
            keys.push(key);
        }
    }
    keys
}
