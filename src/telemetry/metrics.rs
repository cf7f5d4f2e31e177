//! Prometheus metrics under the contract's names. Labels never hold a code, a MAC or anything else from a guest.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::core::decide::{Decision, Reason};
use crate::core::ident::NasName;
use crate::gate::Via;
use crate::source::Error;
use crate::source::alarm::Alarm;

/// Labels of `spotgate_decisions_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DecisionLabels {
    via: Via,
    outcome: &'static str,
    reason: &'static str,
}

/// Labels of `spotgate_decision_seconds`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ViaLabel {
    via: Via,
}

/// Labels of `spotgate_radius_packets_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PacketLabels {
    nas: NasName,
    kind: &'static str,
    result: &'static str,
}

/// Labels of `spotgate_source_requests_total` and `spotgate_ironwifi_requests_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SourceLabels {
    operation: &'static str,
    status: String,
}

/// Label `status`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StatusLabel {
    status: u16,
}

/// Label `nas`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct NasLabel {
    nas: String,
}

/// Label `kind`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    kind: &'static str,
}

/// Label `cause`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CauseLabel {
    cause: &'static str,
}

/// One of what a gauge counts, until it is dropped.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Label `result`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    result: &'static str,
}

/// Labels of `spotgate_disconnects_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DisconnectLabels {
    nas: String,
    result: &'static str,
}

/// Label `version`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Version {
    version: &'static str,
}

impl EncodeLabelValue for Via {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.write_str(self.as_str())
    }
}

impl EncodeLabelValue for NasName {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.write_str(self.as_str())
    }
}

/// The counters of one door, each looked up when it is needed first: the look-up costs more than the counting.
#[derive(Debug, Default)]
struct Door {
    allowed: OnceLock<Counter>,
    /// In the order of [`Reason::ALL`].
    denied: [OnceLock<Counter>; Reason::ALL.len()],
    seconds: OnceLock<Histogram>,
}

/// The counters of one router that every packet needs, looked up when each is needed first.
#[derive(Debug, Default)]
pub struct Packets {
    accepts: OnceLock<Counter>,
    rejects: OnceLock<Counter>,
    responses: OnceLock<Counter>,
}

impl Packets {
    fn of(&self, result: &str) -> Option<&OnceLock<Counter>> {
        match result {
            "accept" => Some(&self.accepts),
            "reject" => Some(&self.rejects),
            "response" => Some(&self.responses),
            _ => None,
        }
    }
}

/// Every metric of the daemon.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    /// In the order of [`Via::ALL`].
    doors: [Door; Via::ALL.len()],
    decisions: Family<DecisionLabels, Counter>,
    decision_seconds: Family<ViaLabel, Histogram, fn() -> Histogram>,
    packets: Family<PacketLabels, Counter>,
    source_requests: Family<SourceLabels, Counter>,
    ironwifi_requests: Family<SourceLabels, Counter>,
    /// `spotgate_ironwifi_users`: users that are kept at IronWifi.
    pub ironwifi_users: Gauge,
    /// `spotgate_store_away`: 1 while the database is away, else 0.
    pub store_away: Gauge,
    /// `spotgate_store_owed`: what happened meanwhile and the database does not have.
    pub store_owed: Gauge,
    // Absent before the first answer.
    radsec_connections: Family<NasLabel, Gauge>,
    radsec_refused: Family<CauseLabel, Counter>,
    source_up: OnceLock<Gauge>,
    source_alarm: Family<KindLabel, Gauge>,
    /// `spotgate_tokens`: token records held.
    pub tokens: Gauge,
    /// `spotgate_mirror_listed`: records read by the listing under way, or by the latest.
    pub mirror_listed: Gauge,
    /// `spotgate_mirror_age_seconds`: since the mirror was last compared with its source.
    pub mirror_age: Gauge,
    /// `spotgate_clock_correction_seconds`: what is added to this machine's wall clock, by Nexudus' `Date`.
    pub clock_correction: Gauge,
    sessions: Family<NasLabel, Gauge>,
    /// `spotgate_usage_unwritten_seconds`: WiFi used that the tokens' `MinutesLeft` do not show.
    pub usage_unwritten: Gauge,
    accounting: Family<ResultLabel, Counter>,
    /// That of nearly every record.
    recorded: OnceLock<Counter>,
    disconnects: Family<DisconnectLabels, Counter>,
    extensions: Family<DisconnectLabels, Counter>,
    malformed_records: Counter,
    http_problems: Family<StatusLabel, Counter>,
    webhooks: Family<ResultLabel, Counter>,
    reloads: Family<ResultLabel, Counter>,
    dropped_pending: Counter,
    evicted: Counter,
    decisions_unkept: Gauge,
}

fn decision_histogram() -> Histogram {
    Histogram::new([
        0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0,
    ])
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("spotgate");
        let this = Self {
            registry: Mutex::default(),
            doors: Default::default(),
            decisions: Family::default(),
            decision_seconds: Family::new_with_constructor(decision_histogram as fn() -> Histogram),
            packets: Family::default(),
            radsec_connections: Family::default(),
            radsec_refused: Family::default(),
            source_requests: Family::default(),
            ironwifi_requests: Family::default(),
            ironwifi_users: Gauge::default(),
            store_away: Gauge::default(),
            store_owed: Gauge::default(),
            source_up: OnceLock::new(),
            source_alarm: Family::default(),
            tokens: Gauge::default(),
            mirror_listed: Gauge::default(),
            mirror_age: Gauge::default(),
            clock_correction: Gauge::default(),
            sessions: Family::default(),
            usage_unwritten: Gauge::default(),
            accounting: Family::default(),
            recorded: OnceLock::new(),
            disconnects: Family::default(),
            extensions: Family::default(),
            malformed_records: Counter::default(),
            http_problems: Family::default(),
            webhooks: Family::default(),
            reloads: Family::default(),
            dropped_pending: Counter::default(),
            evicted: Counter::default(),
            decisions_unkept: Gauge::default(),
        };
        registry.register("decisions", "Decisions by door, outcome and reason", this.decisions.clone());
        registry.register("decision_seconds", "Time from request to decision", this.decision_seconds.clone());
        registry.register(
            "radius_packets",
            "RADIUS packets by NAS, kind and what became of them",
            this.packets.clone(),
        );
        registry.register("radsec_connections", "RadSec connections that are open", this.radsec_connections.clone());
        registry.register("radsec_refused", "RadSec connections refused, by cause", this.radsec_refused.clone());
        registry.register(
            "ironwifi_requests",
            "Calls of IronWifi's management interface by outcome",
            this.ironwifi_requests.clone(),
        );
        registry.register("ironwifi_users", "Users kept at IronWifi", this.ironwifi_users.clone());
        registry.register("store_away", "1 while the database is away, else 0", this.store_away.clone());
        registry.register("store_owed", "Changes the database does not have yet", this.store_owed.clone());
        registry.register("source_requests", "Requests to the source by outcome", this.source_requests.clone());
        registry.register(
            "source_alarm",
            "1 while the source needs an operator for this, else 0",
            this.source_alarm.clone(),
        );
        registry.register("tokens", "Token records held", this.tokens.clone());
        registry.register(
            "mirror_listed",
            "Records read by the listing of every token under way, or by the latest",
            this.mirror_listed.clone(),
        );
        registry.register(
            "mirror_age_seconds",
            "Seconds since the mirror was last compared with its source",
            this.mirror_age.clone(),
        );
        registry.register(
            "clock_correction_seconds",
            "Seconds added to this machine's clock, which is known to be off",
            this.clock_correction.clone(),
        );
        registry.register("sessions", "Live sessions", this.sessions.clone());
        registry.register(
            "usage_unwritten_seconds",
            "Seconds of WiFi used that the source does not show",
            this.usage_unwritten.clone(),
        );
        registry.register("accounting_records", "Accounting records by result", this.accounting.clone());
        registry.register("disconnects", "Routers told to end a session, by what came of it", this.disconnects.clone());
        registry.register(
            "extensions",
            "Routers offered a longer Session-Timeout, by what came of it",
            this.extensions.clone(),
        );
        registry.register("malformed_records", "Token records that could not be read", this.malformed_records.clone());
        registry.register("reloads", "Reloads of the configuration by result", this.reloads.clone());
        registry.register("http_problems", "HTTP requests answered with a problem", this.http_problems.clone());
        registry.register("webhooks", "Webhooks of Nexudus by result", this.webhooks.clone());
        registry.register(
            "radius_pending_dropped",
            "Requests dropped because too many waited for the source",
            this.dropped_pending.clone(),
        );
        registry.register(
            "radius_duplicates_evicted",
            "Requests forgotten before their time for lack of room; each may be decided twice",
            this.evicted.clone(),
        );
        registry.register("build", "The running version", Info::new(Version { version: env!("CARGO_PKG_VERSION") }));
        registry.register(
            "decisions_unkept",
            "Decisions since the start that are missing from the history: too many came at once, or the disk failed",
            this.decisions_unkept.clone(),
        );
        Self { registry: Mutex::new(registry), ..this }
    }
}

impl Metrics {
    /// Counts a decision and the time it took.
    pub fn decided(&self, via: Via, decision: &Decision, took: Duration) {
        let Some(door) = self.doors.get(via as usize) else { return };
        let of = |outcome, reason| self.decisions.get_or_create(&DecisionLabels { via, outcome, reason }).clone();
        match decision {
            Decision::Allow(_) => {
                door.allowed.get_or_init(|| of("allow", "none")).inc();
            }
            Decision::Deny(denial) => {
                let reason = denial.reason;
                let denied = door.denied.get(reason as usize);
                denied.map(|denied| denied.get_or_init(|| of("deny", reason.as_str())).inc());
            }
        }
        let seconds = || self.decision_seconds.get_or_create(&ViaLabel { via }).clone();
        door.seconds.get_or_init(seconds).observe(took.as_secs_f64());
    }

    /// Counts a request that was malformed at the door.
    pub fn malformed(&self, via: Via) {
        let reason = Reason::Malformed.as_str();
        self.decisions.get_or_create(&DecisionLabels { via, outcome: "deny", reason }).inc();
    }

    /// Counts a RADIUS packet. `nas` is a configured name, or `unknown`.
    pub fn packet(&self, nas: &NasName, kind: &'static str, result: &'static str) {
        self.packets.get_or_create(&PacketLabels { nas: nas.clone(), kind, result }).inc();
    }

    /// The same, of a router whose counters are at hand; `kind` goes with the result.
    pub fn packet_of(&self, packets: &Packets, nas: &NasName, kind: &'static str, result: &'static str) {
        let Some(counter) = packets.of(result) else { return self.packet(nas, kind, result) };
        let look_up = || self.packets.get_or_create(&PacketLabels { nas: nas.clone(), kind, result }).clone();
        counter.get_or_init(look_up).inc();
    }

    /// Counts a RadSec connection of this router as long as the value lives.
    #[must_use]
    pub fn radsec_connection(&self, nas: &str) -> Counted {
        let gauge = self.radsec_connections.get_or_create(&NasLabel { nas: nas.to_owned() }).clone();
        gauge.inc();
        Counted(gauge)
    }

    /// Counts a RadSec connection that was refused: `handshake`, `unknown_nas`, `too_many`, or `off` since the section is gone.
    pub fn radsec_refused(&self, cause: &'static str) {
        self.radsec_refused.get_or_create(&CauseLabel { cause }).inc();
    }

    /// Counts a request to the source.
    pub fn source_request(&self, operation: &'static str, status: &str) {
        self.source_requests.get_or_create(&SourceLabels { operation, status: status.to_owned() }).inc();
    }

    /// Counts a call of IronWifi's management interface.
    pub fn ironwifi_request(&self, operation: &'static str, status: &str) {
        self.ironwifi_requests.get_or_create(&SourceLabels { operation, status: status.to_owned() }).inc();
    }

    /// Notes whether the source's last answer was good.
    pub fn source_up(&self, up: bool) {
        let gauge = self.source_up.get_or_init(|| {
            let gauge = Gauge::default();
            self.registry().register("source_up", "1 if the source's last answer was good, else 0", gauge.clone());
            gauge
        });
        gauge.set(i64::from(up));
    }

    /// Notes which alarms of the source last.
    pub fn source_alarms(&self, lasting: &[Error]) {
        for kind in Alarm::KINDS {
            let lasts = lasting.iter().any(|error| error.alarm().is_some_and(|alarm| alarm.kind() == kind));
            self.source_alarm.get_or_create(&KindLabel { kind }).set(i64::from(lasts));
        }
    }

    /// Counts token records that could not be read.
    pub fn malformed_records(&self, count: u64) {
        self.malformed_records.inc_by(count);
    }

    /// Counts an HTTP request that was answered with a problem.
    pub fn http_problem(&self, status: u16) {
        self.http_problems.get_or_create(&StatusLabel { status }).inc();
    }

    /// Counts a webhook of Nexudus: `accepted`, or `refused` for its signature.
    pub fn webhook(&self, accepted: bool) {
        let result = if accepted { "accepted" } else { "refused" };
        self.webhooks.get_or_create(&ResultLabel { result }).inc();
    }

    /// Counts a reload of the configuration; a wrong file changes nothing.
    pub fn reloaded(&self, done: bool) {
        let result = if done { "done" } else { "refused" };
        self.reloads.get_or_create(&ResultLabel { result }).inc();
    }

    /// Notes how many decisions are missing from the history.
    pub fn decisions_unkept(&self, count: u64) {
        self.decisions_unkept.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Counts an accounting record.
    pub fn accounting(&self, result: &'static str) {
        let look_up = || self.accounting.get_or_create(&ResultLabel { result }).clone();
        if result == "recorded" {
            self.recorded.get_or_init(look_up).inc()
        } else {
            look_up().inc()
        };
    }

    /// Counts what came of telling a router to end a session: `acked`, `refused`, `unanswered`, `unsendable`; or that the
    /// end is known: `proven` by a Stop, `gone` by Error-Cause 503; or that no Stop came after an acknowledgement: `unproven`.
    pub fn disconnect(&self, nas: &str, result: &'static str) {
        self.disconnects.get_or_create(&DisconnectLabels { nas: nas.to_owned(), result }).inc();
    }

    /// Counts what came of offering a router a longer Session-Timeout, under the same names.
    pub fn extension(&self, nas: &str, result: &'static str) {
        self.extensions.get_or_create(&DisconnectLabels { nas: nas.to_owned(), result }).inc();
    }

    /// Counts a request that could not wait for the source.
    pub fn pending_dropped(&self) {
        self.dropped_pending.inc();
    }

    /// Counts requests that were forgotten before their time.
    pub fn duplicates_evicted(&self, count: u64) {
        if count > 0 {
            self.evicted.inc_by(count);
        }
    }

    /// Notes how many sessions are live at each NAS.
    pub fn sessions<'a>(&self, counts: impl Iterator<Item = (&'a str, usize)>) {
        // A NAS that a reload took away must not stand here for ever.
        self.sessions.clear();
        for (nas, count) in counts {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.sessions.get_or_create(&NasLabel { nas: nas.to_owned() }).set(count);
        }
    }

    /// Everything as Prometheus text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry());
        text
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
