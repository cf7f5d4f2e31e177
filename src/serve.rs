//! The daemon, wired in reading order: state, source, gate, sockets, tasks, ready; then reload, and drain.

mod reload;
mod sockets;

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use reload::Readings;
pub use sockets::Sockets;
use sockets::addresses;

use crate::catalogue::Changes;
use crate::clock::{Clock, RELEASED};
use crate::cluster::{self, Cluster};
use crate::config::{self, Settings, StoreKind};
use crate::feed::Feed;
use crate::gate::Gate;
use crate::history::History;
use crate::http;
use crate::http::routes::App;
use crate::ironwifi;
use crate::journal::{CLOSE_WITHIN, OpenError};
use crate::ledger::{self, Ledger, Lost};
use crate::live::{Current, Live, Unusable};
use crate::portal::{Portal, badge};
use crate::radius;
use crate::radius::clients::Learnt;
use crate::radius::handle::{Handler, OnLearnt, Port};
use crate::radius::orders::Orders;
use crate::radius::radsec::Links;
use crate::source;
use crate::state::StateFile;
use crate::telemetry::metrics::Metrics;

/// How long requests under way may take to end once the daemon is told to stop.
const DRAIN: Duration = Duration::from_secs(6);

/// How long the database may take for what was handed on last.
const FINISH: Duration = Duration::from_secs(2);

/// How often it is looked whether something is not written down that was learnt.
const WRITE_AGAIN_EVERY: Duration = Duration::from_secs(5);

/// How often the gauges are set.
const SWEEP: Duration = Duration::from_secs(10);

/// How often the number of sessions is written down, for the pictures.
const SAMPLE: Duration = Duration::from_secs(60);

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
    /// A certificate or its key cannot be used.
    #[error("{0}")]
    Certificate(Unusable),
    /// The ledger cannot be opened.
    #[error("store.path: {0}")]
    Ledger(OpenError),
    /// The database cannot be used.
    #[error("{0}")]
    Cluster(cluster::Unusable),
    /// The ledger's disk failed.
    #[error("{0}")]
    Lost(Lost),
    /// A file hangs: it may be on a mount that is lost.
    #[error("{what} took too long to read, more than {} s: a disk or a mount may hang", .within.as_secs())]
    Late {
        /// What was read.
        what: &'static str,
        /// How long it was waited for.
        within: Duration,
    },
    /// As many readings hang as may.
    #[error(
        "earlier readings of it hang still: mend the disk or the mount, and start spotgate anew if they do not go on by that"
    )]
    Stuck,
    /// Something else of the system failed.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        error: io::Error,
    },
}

/// What to do where an address cannot be bound.
pub(crate) fn remedy(error: &io::Error) -> &'static str {
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
            Self::Config(_) | Self::Source(_) | Self::Certificate(_) | Self::Cluster(cluster::Unusable::Address(_)) => {
                78
            }
            Self::Listen { .. }
            | Self::Ledger(_)
            | Self::Cluster(_)
            | Self::Late { .. }
            | Self::Stuck
            | Self::Lost(_)
            | Self::Io { .. } => 74,
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
    /// RADIUS over TLS.
    pub radsec: Vec<SocketAddr>,
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
    cluster: Option<Arc<Cluster>>,
    feed: Mutex<Arc<Feed>>,
    state: Arc<StateFile>,
    live: watch::Sender<Arc<Live>>,
    lost: watch::Sender<Option<Lost>>,
    readings: Readings,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Starts the daemon on sockets of its own; on return it answers.
pub async fn start(settings: Settings, clock: Clock) -> Result<Daemon, Fatal> {
    start_on(Sockets::default(), settings, clock).await
}

/// The same, on sockets that were handed over, where there are such.
pub async fn start_on(sockets: Sockets, settings: Settings, clock: Clock) -> Result<Daemon, Fatal> {
    if clock.now().wall < RELEASED {
        tracing::error!(time = %clock.now().wall, "this machine's clock was not set; set it (timedatectl set-ntp true)");
        clock.not_before(RELEASED);
    }
    let (state, opened) = StateFile::open(&settings.store.path);
    let state = Arc::new(state);
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let metrics = Arc::new(Metrics::default());
    let feed = Feed::new(&settings, &state, &metrics, &clock, stop.child_token(), None).map_err(Fatal::Source)?;
    let opening = open(&settings, &clock);
    // A file is read meanwhile. Nexudus is not signed in to before it is known that no other daemon runs on this ledger.
    let is_file = matches!(settings.source, config::Source::File(_));
    let reading = async {
        if is_file {
            feed.start(None, &tasks, None, None).await;
        }
    };
    let (ledger, ()) = tokio::join!(opening, reading);
    let Opened { ledger, cluster, trouble, history } = ledger?;
    let gate =
        Arc::new(Gate::new(Arc::clone(feed.supply()), Arc::clone(&ledger), metrics, clock).with_history(history));

    let live = Live::new(settings).map_err(Fatal::Certificate)?;
    if let Some(trouble) = live.radsec_trouble(gate.clock.now().wall) {
        // Routers by UDP, and guests, are served all the same.
        tracing::error!("{trouble}");
    }
    let (live, current) = watch::channel(Arc::new(live));
    let portal = Portal::new(badge_key(&state).await?);
    let app = Arc::new(App::new(Arc::clone(&gate), current.clone(), portal));
    if let Err(error) = opened {
        let folder = current.borrow().settings.store.path.display().to_string();
        tracing::error!(%error, folder, "the store's folder cannot be used: what is learnt will not survive a restart");
        app.trouble(format!("store: {folder}: {error}"));
    }

    if let Some(trouble) = trouble {
        tracing::error!(trouble, "the ledger");
        // What lasts is asked for anew each time.
        if gate.ledger.trouble().is_none() {
            app.trouble(format!("store: {trouble}"));
        }
    }

    // Before anything is acknowledged that builds on it. Should it fail, that is tried again.
    let retain = current.borrow().settings.store.retain_sessions;
    let now = gate.clock.now().wall;
    if let Err(error) = gate.ledger.make_good(now, now.saturating_sub(retain).unwrap_or(Timestamp::MIN)).await {
        tracing::error!(%error, "what was read of the ledger could not be written down");
    }
    if !is_file {
        feed.start(None, &tasks, Some(&ledger), cluster.as_deref().map(Cluster::commons)).await;
        feed.settle(&ledger, &current, &tasks);
    }
    let links = Arc::new(Links::default());
    let doors =
        Doors { current: &current, app: &app, gate: &gate, state: &state, links: &links, tasks: &tasks, stop: &stop };
    let addresses = listen(sockets, &doors).await?;
    let teller = Arc::new(Orders::new(Arc::clone(&gate), current.clone(), links));
    if let Some(cluster) = &cluster {
        // Not with the others: what they do last is handed on.
        tokio::spawn(cluster.ended.clone().run_until_cancelled_owned(Arc::clone(cluster).run(current.clone())));
    }
    let watching = ledger::watch(ledger, current.clone(), gate.clock.clone(), teller);
    tasks.spawn(stop.clone().run_until_cancelled_owned(watching));
    let (lost, _) = watch::channel(None);
    tasks.spawn(stop.clone().run_until_cancelled_owned(keep(Arc::clone(&gate), current.clone(), lost.clone())));
    tasks.spawn(stop.clone().run_until_cancelled_owned(revise(Arc::clone(&gate), current.clone())));
    tasks.spawn(stop.clone().run_until_cancelled_owned(sweep_regularly(Arc::clone(&gate), current)));
    tasks.spawn(stop.clone().run_until_cancelled_owned(write_again(Arc::clone(&state))));
    let folder = live.borrow().settings.store.path.clone();
    let pushing = ironwifi::push(Arc::clone(&gate), live.subscribe(), folder);
    tasks.spawn(stop.clone().run_until_cancelled_owned(pushing));
    tracing::info!(
        auth = ?addresses.auth, accounting = ?addresses.accounting, radsec = ?addresses.radsec, http = ?addresses.http, metrics = ?addresses.metrics,
        version = env!("CARGO_PKG_VERSION"), "ready"
    );
    let (feed, readings) = (Mutex::new(Arc::new(feed)), Readings::default());
    Ok(Daemon { addresses, gate, cluster, feed, state, live, lost, readings, stop, tasks })
}

/// What the daemon keeps.
struct Opened {
    ledger: Arc<Ledger>,
    /// The way to the database that the accounts are in, if they are in one.
    cluster: Option<Arc<Cluster>>,
    /// What is wrong with it, in words for people.
    trouble: Option<String>,
    history: History,
}

/// Opens the ledger, here or in a database, and the history beside it.
async fn open(settings: &Settings, clock: &Clock) -> Result<Opened, Fatal> {
    let (path, policy) = (settings.store.path.clone(), settings.policy.clone());
    let failed = |error| Fatal::Io { what: "the ledger", error: io::Error::other(error) };
    if let StoreKind::Postgres(url) = &settings.store.kind {
        let opening = Cluster::open(url, &path, &policy, clock);
        let (cluster, trouble) = opening.await.map_err(Fatal::Cluster)?;
        let now = clock.now().wall;
        let history = tokio::task::spawn_blocking(move || History::open(&path, now)).await.map_err(failed)?;
        let ledger = Arc::clone(cluster.ledger());
        let cluster = Arc::new(cluster);
        return Ok(Opened { ledger, cluster: Some(cluster), trouble, history });
    }
    let now = clock.now().wall;
    let opening = tokio::task::spawn_blocking(move || {
        let opened = Ledger::open(&path, &policy, now)?;
        // Only who holds the ledger writes beside it.
        Ok((opened, History::open(&path, now)))
    });
    let (ledger::Opened { ledger, trouble }, history) = opening.await.map_err(failed)?.map_err(Fatal::Ledger)?;
    Ok(Opened { ledger: Arc::new(ledger), cluster: None, trouble, history })
}

/// What guests' badges are signed with: as before, else a new key from now on.
async fn badge_key(state: &Arc<StateFile>) -> Result<badge::Key, Fatal> {
    if let Some(key) = state.kept().badge_key {
        return Ok(key);
    }
    let no_random = |error| Fatal::Io { what: "random numbers", error: io::Error::other(error) };
    let key = badge::Key::random().map_err(no_random)?;
    let (state, kept) = (Arc::clone(state), key.clone());
    let written = tokio::task::spawn_blocking(move || state.change(|state| state.badge_key = Some(kept))).await;
    if let Ok(Err(error)) = written {
        tracing::error!(%error, "the key of guests' badges could not be written down; after a restart guests are not recognised");
    }
    Ok(key)
}

/// What listens, and what stands behind it.
struct Doors<'d> {
    current: &'d Current,
    app: &'d Arc<App>,
    gate: &'d Arc<Gate>,
    state: &'d Arc<StateFile>,
    links: &'d Arc<Links>,
    tasks: &'d TaskTracker,
    stop: &'d CancellationToken,
}

async fn listen(sockets: Sockets, doors: &Doors<'_>) -> Result<Addresses, Fatal> {
    let Doors { current, app, gate, state, links, tasks, stop } = *doors;
    let settings = current.borrow().settings.clone();
    let learnt = Arc::new(Learnt::from_earlier(state.kept().message_authenticator_seen));
    let keep = Box::new(Keep { state: Arc::clone(state), tasks: tasks.clone() });
    let handler = Arc::new(Handler::new(Arc::clone(gate), learnt, keep));

    // Everything is bound before anything is served.
    let radius = &settings.radius;
    let handed = |error| Fatal::Io { what: "a socket that was handed over", error };
    let given = sockets.sorted(radius).map_err(handed)?;
    let auth = bind_radius(radius, given.auth, &radius.auth_listen, Port::Auth)?;
    let accounting = bind_radius(radius, given.accounting, &radius.acct_listen, Port::Accounting)?;
    let mut http = bind_http(addresses(given.http.len(), &settings.http.listen, "HTTP")).await?;
    for listener in given.http {
        http.push(TcpListener::from_std(listener).map_err(handed)?);
    }
    let mut radsec = Vec::new();
    for &address in addresses(given.radsec.len(), radsec_listen(radius), "RadSec") {
        let listener = radius::radsec::bind(address);
        radsec.push(listener.map_err(|error| Fatal::Listen { what: "RadSec", address, error })?);
    }
    for listener in given.radsec {
        radsec.push(TcpListener::from_std(listener).map_err(handed)?);
    }

    let mut addresses = Addresses::default();
    for (bound, reached) in [(auth, &mut addresses.auth), (accounting, &mut addresses.accounting)] {
        for bound in bound {
            reached.push(bound.address());
            bound.serve(&handler, current, tasks, stop);
        }
    }
    let shared = radius::radsec::Shared::new(
        Arc::clone(gate),
        Arc::clone(&handler),
        current.clone(),
        Arc::clone(links),
        tasks.clone(),
    );
    let shared = Arc::new(shared);
    for listener in radsec {
        addresses.radsec.extend(listener.local_addr());
        tasks.spawn(radius::radsec::serve(listener, Arc::clone(&shared), stop.clone()));
    }
    let router = http::routes::router(app);
    for listener in http {
        addresses.http.extend(listener.local_addr());
        let live = Some(current.clone());
        tasks.spawn(http::server::serve(listener, live, router.clone(), stop.clone(), DRAIN));
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
    given: Vec<UdpSocket>,
    listen: &[SocketAddr],
    port: Port,
) -> Result<Vec<radius::server::Bound>, Fatal> {
    let what = if port == Port::Auth { "RADIUS authentication" } else { "RADIUS accounting" };
    let listen = addresses(given.len(), listen, what);
    let adopted = given.into_iter().map(|socket| radius::server::adopt(socket, port));
    let mut bound: Vec<_> = adopted.collect::<io::Result<_>>().map_err(|error| Fatal::Io { what, error })?;
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
pub(crate) fn lacks_family(error: &io::Error) -> bool {
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

/// Sets the gauges; how many sessions are live.
fn sweep(gate: &Gate, live: &Current) -> u64 {
    let live = Arc::clone(&live.borrow());
    let (sessions, unwritten) = gate.ledger.count(&live.settings.policy, gate.clock.now().wall);
    gate.metrics.usage_unwritten.set(i64::try_from(unwritten.0).unwrap_or(i64::MAX));
    let names = live.settings.nas.iter().map(config::Nas::name);
    gate.metrics.sessions(names.map(|name| (name.as_str(), sessions.get(name).copied().unwrap_or_default())));
    let (supply, now) = (gate.supply(), gate.clock.now().mono);
    if let Some(state) = supply.mirror.as_ref().map(|mirror| mirror.state()) {
        gate.metrics.mirror_listed.set(i64::try_from(state.records).unwrap_or(i64::MAX));
        let age = state.compared_at.map_or(0, |at| now.saturating_sub(at).as_secs());
        gate.metrics.mirror_age.set(i64::try_from(age).unwrap_or(i64::MAX));
    }
    gate.metrics.store_away.set(i64::from(gate.ledger.is_away()));
    gate.metrics.store_owed.set(i64::try_from(gate.ledger.owed()).unwrap_or(i64::MAX));
    gate.metrics.clock_correction.set(gate.clock.correction().map_or(0, |by| by.as_secs()));
    gate.metrics.tokens.set(i64::try_from(supply.catalogue.tokens()).unwrap_or(i64::MAX));
    gate.tickets.forget(gate.clock.now().mono);
    gate.metrics.source_alarms(&supply.health.alarms());
    gate.metrics.decisions_unkept(gate.history.unkept());
    sessions.values().map(|count| u64::try_from(*count).unwrap_or_default()).sum()
}

async fn sweep_regularly(gate: Arc<Gate>, live: Current) {
    let mut ticks = tokio::time::interval(SWEEP);
    let mut sampled = gate.clock.now().mono;
    loop {
        ticks.tick().await;
        let (sessions, now) = (sweep(&gate, &live), gate.clock.now());
        let since = now.mono.saturating_sub(sampled);
        if since >= SAMPLE {
            sampled = now.mono;
            gate.history.sample(now.wall, sessions, since);
            gate.history.forget(now.wall, live.borrow().settings.store.retain_decisions);
        }
    }
}

/// Writes down what could not be when it was learnt.
async fn write_again(state: Arc<StateFile>) {
    let mut ticks = tokio::time::interval(WRITE_AGAIN_EVERY);
    loop {
        ticks.tick().await;
        if !state.is_behind() {
            continue;
        }
        let state = Arc::clone(&state);
        match tokio::task::spawn_blocking(move || state.change(|_| {})).await {
            Ok(Ok(())) => tracing::info!("what had been learnt is written down"),
            Ok(Err(error)) => tracing::debug!(%error, "what was learnt could not be written down"),
            Err(error) => tracing::error!(%error, "writing down what was learnt"),
        }
    }
}

/// Lets running sessions feel what changes at the source.
async fn revise(gate: Arc<Gate>, mut live: Current) {
    loop {
        let supply = gate.supply();
        let changes = tokio::select! {
            changes = supply.catalogue.changes() => changes,
            // Tokens may come from elsewhere by now, or be valid elsewhere.
            reloaded = live.changed() => match reloaded {
                Ok(()) => Changes::All,
                Err(_) => return,
            },
        };
        let (gate, live) = (Arc::clone(&gate), Arc::clone(&live.borrow_and_update()));
        // All accounts may be many: not on a thread that answers.
        let _ = tokio::task::spawn_blocking(move || gate.revise(changes, &live)).await;
    }
}

/// Keeps the ledger, and says when it is lost.
async fn keep(gate: Arc<Gate>, live: Current, lost: watch::Sender<Option<Lost>>) {
    let why = gate.ledger.keep(&live, &gate.clock).await;
    lost.send_replace(Some(why));
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
    /// Whether what logins need goes on: tasks are run, and no account is held by somebody who does not let go of it. It
    /// waits for that as long as it takes.
    pub async fn is_alive(&self) -> bool {
        let gate = Arc::clone(&self.gate);
        let looked = tokio::task::spawn_blocking(move || gate.ledger.touch());
        let ran = tokio::spawn(std::future::ready(()));
        looked.await.is_ok() && ran.await.is_ok()
    }

    /// Resolves when the ledger cannot be relied on any more: the daemon must stop, and start anew.
    pub async fn lost(&self) -> Fatal {
        let mut lost = self.lost.subscribe();
        match lost.wait_for(Option::is_some).await.map(|lost| lost.clone()) {
            Ok(Some(why)) => Fatal::Lost(why),
            // Its sender is ours.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Takes nothing new, lets what is under way end, and closes the ledger; whether all of it was done within `within`.
    pub async fn stop(self, within: Duration) -> bool {
        self.stop.cancel();
        self.tasks.close();
        let drained = tokio::time::timeout(within.saturating_sub(CLOSE_WITHIN), self.tasks.wait()).await.is_ok();
        if let Some(cluster) = &self.cluster {
            cluster.finish(FINISH).await;
        }
        let gate = Arc::clone(&self.gate);
        let close = move || {
            gate.history.close();
            gate.ledger.close()
        };
        match tokio::task::spawn_blocking(close).await {
            Ok(Ok(())) => drained,
            Ok(Err(error)) => {
                tracing::error!(%error, "the ledger was not closed cleanly");
                false
            }
            Err(_) => false,
        }
    }
}

/// Whether two settings differ in anything but secrets, which do not print.
fn differs(one: &impl fmt::Debug, other: &impl fmt::Debug) -> bool {
    format!("{one:?}") != format!("{other:?}")
}

/// Where RADIUS over TLS is listened for; nowhere without its section.
fn radsec_listen(radius: &config::Radius) -> &[SocketAddr] {
    radius.radsec.as_ref().map_or(&[], |radsec| &radsec.listen)
}

fn needs_restart(former: &Settings, new: &Settings) -> Vec<&'static str> {
    let (radius, other) = (&former.radius, &new.radius);
    let (telemetry, telemetry_after) = (&former.telemetry, &new.telemetry);
    [
        ("radius.auth_listen", radius.auth_listen != other.auth_listen),
        ("radius.acct_listen", radius.acct_listen != other.acct_listen),
        ("radius.workers", radius.workers != other.workers),
        ("radius.radsec.listen", radsec_listen(radius) != radsec_listen(other)),
        ("http.listen", former.http.listen != new.http.listen),
        // How long things are kept is asked anew each time.
        ("store.path", former.store.path != new.store.path),
        ("store.kind", differs(&former.store.kind, &new.store.kind)),
        ("telemetry.metrics_listen", telemetry.metrics_listen != telemetry_after.metrics_listen),
        ("telemetry.log", telemetry.log != telemetry_after.log),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}
