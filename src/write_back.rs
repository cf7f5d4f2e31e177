//! Minutes used, written back to `MinutesLeft` (with `LastAccess`), and devices learnt, written to `MacAddress`: design.md,
//! "Writing minutes back".
//!
//! The record is read, changed and put back as a whole, then read again. What is about to be written is on disk before it is
//! sent, so that whatever comes between (a crash, a lost answer) is resolved by looking, and no minute is written twice. What
//! was lowered shows in the copies of the token and in its account in any order without changing its pool ([`core::settle`]).
//!
//! [`core::settle`]: crate::core::settle

mod resting;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use self::resting::{Closed, Failed, Unsettled};
use crate::catalogue::{Catalogue, Standing};
use crate::clock::Clock;
use crate::core::ident::{BusinessId, Mac, TokenId};
use crate::core::policy::{BindDevice, Policy};
use crate::core::settle::{Intent, Outcome};
use crate::core::token::AccessToken;
use crate::ledger::Ledger;
use crate::live::Current;
use crate::source::alarm::Alarm;
use crate::source::nexudus::wire::Record;
use crate::source::nexudus::{Effort, Nexudus, Share, Wrote, edited};
use crate::source::{Error, Version};
use crate::telemetry::trouble::Trouble;

/// How often it is looked who owes whole minutes, or each `mirror_interval` if that is less: they are to be written within a
/// minute.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Tokens settled between two looks; more cannot be in that time.
const AT_ONCE: usize = 500;

/// How long one token may take: calls wait for the ceiling's window.
const TOKEN_WITHIN: Duration = Duration::from_secs(120);

/// The pause after a refusal: a role is missing, say.
const QUIET: Duration = Duration::from_secs(300);

/// How long a token rests that owes and could not be lowered: it is gone, malformed, refused, or has nothing left to take.
const REST: Duration = Duration::from_secs(600);

/// Tokens in a row that fail before it is the source that does.
const FAILURES: u32 = 3;

/// The longest pause otherwise, and the first rest of a token that fails. Each further one is twice as long, up to [`REST`].
const PAUSE: Duration = Duration::from_secs(60);

/// How long what was read may wait here before it is put back, or half of what a call may take if that is more: what is older
/// could overwrite an administrator's change.
const FRESH: Duration = Duration::from_secs(2);

/// Of so many writes in a row nothing came, for the same reason, before that is said.
const IN_VAIN: u32 = 3;

/// What writes back, for one source.
pub struct WriteBack {
    nexudus: Arc<Nexudus>,
    catalogue: Arc<Catalogue>,
    ledger: Arc<Ledger>,
    live: Current,
    clock: Clock,
    trouble: Arc<Trouble>,
    /// Tokens that owe and were not settled when it was tried last.
    unsettled: HashMap<TokenId, Unsettled>,
    /// What the source's last refusal says, until it is over.
    refused: Option<String>,
    /// Locations at which a right is missing.
    closed: HashMap<Option<BusinessId>, Closed>,
    /// What Nexudus turned out not to keep.
    not_kept: BTreeSet<&'static str>,
    /// Writes in a row that were answered as of a token that is not there, and it was.
    not_taken: u32,
    /// Settlements in a row that waited too long for the disk.
    late: u32,
    /// Whether minutes are, or still are, written.
    minutes: bool,
    /// Whether devices learnt still are written, where they are to be.
    devices: bool,
}

/// What a try to settle a token came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    /// It is written, or it was found out what became of a write.
    Settled,
    /// There is nothing to write: it is gone, or has nothing left to take.
    Nothing,
    /// Nexudus says that there is no such token, and there is.
    NotTaken,
}

/// Why a token is not settled.
#[derive(Debug)]
enum Fault {
    /// The source failed; what is open is resolved later.
    Source(Error),
    /// Nothing was sent: there was no room under the ceiling, or in a pause.
    Held {
        /// When to try again, if that is known.
        after: Option<Duration>,
    },
    /// The disk did: nothing may be written that it does not know of.
    Disk(crate::ledger::Unwritten),
    /// The disk took so long that what was read is no longer fresh; nothing was sent.
    Late,
    /// The record makes no sense, or belongs to another token; it is left alone.
    Record,
    /// Nexudus does not take the record for what it holds.
    Refused(String),
}

/// A record as it was read.
struct Read {
    text: String,
    version: Version,
    asked: Duration,
    /// When it was here.
    came: Duration,
    /// Whether it names no device, in whatever way.
    unbound: bool,
}

impl WriteBack {
    /// Writes minutes back if `minutes`, and devices where the policy in force says so.
    #[must_use]
    pub fn new(
        nexudus: Arc<Nexudus>,
        catalogue: Arc<Catalogue>,
        ledger: Arc<Ledger>,
        live: Current,
        clock: Clock,
        trouble: Arc<Trouble>,
        minutes: bool,
    ) -> Self {
        Self {
            nexudus,
            catalogue,
            ledger,
            live,
            clock,
            trouble,
            unsettled: HashMap::new(),
            refused: None,
            closed: HashMap::new(),
            not_kept: BTreeSet::new(),
            not_taken: 0,
            late: 0,
            minutes,
            devices: true,
        }
    }

    /// Settles whoever owes; never ends.
    pub async fn run(mut self) {
        let mut leads = false;
        loop {
            if !(leads && self.ledger.leads()) {
                leads = self.ledger.leads();
                // What was sent before a restart or a reload, or by the daemon that wrote before, may arrive as long as this.
                self.clock.sleep(self.nexudus.config.request_timeout * 2).await;
                continue;
            }
            self.clock.sleep(LOOK_EVERY.min(self.nexudus.config.mirror_interval)).await;
            let Err(fault) = self.look().await else { continue };
            let pause = match &fault {
                Fault::Source(Error::Retry { after, .. }) | Fault::Held { after } => after.unwrap_or(PAUSE).min(PAUSE),
                Fault::Source(Error::Refused { .. }) => QUIET,
                Fault::Disk(error) => {
                    tracing::debug!(%error, "nothing is written back that the ledger cannot note first");
                    PAUSE
                }
                Fault::Late | Fault::Record | Fault::Refused(_) => PAUSE,
            };
            tracing::debug!(?fault, pause_s = pause.as_secs(), "writing back pauses");
            // What was sent and not answered may arrive as long as this.
            self.clock.sleep(pause.max(self.nexudus.config.request_timeout * 2)).await;
        }
    }

    /// Settles once everybody who owes by now, one after another.
    async fn look(&mut self) -> Result<(), Fault> {
        let policy = self.live.borrow().settings.policy.clone();
        let now = self.clock.now().mono;
        self.closed.retain(|_, closed| now < closed.until + REST);
        let due = self.due(&policy).await;
        if due.is_empty() {
            // Nothing would be refused now.
            self.refused = None;
        }
        if due.is_empty() && self.unsettled.is_empty() {
            (self.not_taken, self.late) = (0, 0);
            self.closed.clear();
        }
        self.say();
        let mut failed = Failed::default();
        let outcome = self.settle_each(due, &policy, &mut failed).await;
        self.let_rest(failed);
        self.say();
        outcome
    }

    async fn settle_each(&mut self, due: Vec<TokenId>, policy: &Policy, failed: &mut Failed) -> Result<(), Fault> {
        let (mut latest, mut in_a_row, mut forbidden) = (None, 0, 0);
        for id in due {
            if !(self.minutes || self.learns(policy)) {
                break;
            }
            let business = self.business(id);
            let now = self.clock.now().mono;
            if let Some(until) = self.closed.get(&business).map(|closed| closed.until).filter(|until| now < *until) {
                // It rests, so that others are due.
                self.rests(id, until - now);
                continue;
            }
            let fault = match self.settle(id, policy).await {
                Ok(tried) => {
                    self.tried(id, tried);
                    None
                }
                Err(Fault::Record) => {
                    self.rests(id, REST);
                    None
                }
                Err(Fault::Refused(what)) => {
                    self.is_refused(id, &what);
                    None
                }
                Err(Fault::Source(error @ Error::Refused { alarm: Alarm::RoleMissing(_), .. })) => {
                    self.is_forbidden(id, business, &error);
                    forbidden += 1;
                    if forbidden > FAILURES {
                        // Wherever they are: a few each time, so that no others wait long.
                        break;
                    }
                    continue;
                }
                Err(fault @ (Fault::Disk(_) | Fault::Source(Error::Refused { .. }))) => {
                    if let Fault::Source(error) = &fault {
                        self.refused = Some(error.to_string());
                    }
                    return Err(fault);
                }
                Err(fault) => Some(fault),
            };
            let Some(fault) = fault else {
                in_a_row = 0;
                failed.others_went_well = true;
                self.refused = None;
                self.closed.remove(&business);
                self.say();
                continue;
            };
            match &fault {
                Fault::Held { after } => self.rests(id, after.unwrap_or(PAUSE).min(PAUSE)),
                Fault::Late => {
                    self.late = self.late.saturating_add(1);
                    self.rests(id, PAUSE);
                }
                _ => failed.tokens.push((id, self.clock.now().mono)),
            }
            // Perhaps it is this token's alone: it makes room for others.
            if in_a_row == FAILURES {
                return Err(fault);
            }
            in_a_row += 1;
            latest = Some(fault);
        }
        latest.map_or(Ok(()), Err)
    }

    /// The location of a token, as far as it is known.
    fn business(&self, id: TokenId) -> Option<BusinessId> {
        match self.catalogue.standing(id) {
            Some(Standing::Held(token)) => token.business,
            Some(Standing::Gone) | None => None,
        }
    }

    /// Notes what a try came to.
    fn tried(&mut self, id: TokenId, tried: Tried) {
        match tried {
            Tried::Settled => drop(self.unsettled.remove(&id)),
            Tried::Nothing => self.rests(id, REST),
            Tried::NotTaken => {
                self.not_taken = self.not_taken.saturating_add(1);
                if self.not_taken == IN_VAIN {
                    tracing::warn!(token = id.0, "{}", in_vain());
                }
                self.fails(id, self.clock.now().mono);
            }
        }
    }

    /// How long what was read may wait here.
    fn fresh(&self) -> Duration {
        FRESH.max(self.nexudus.config.request_timeout / 2)
    }

    fn learns(&self, policy: &Policy) -> bool {
        self.devices && policy.bind_device == BindDevice::Learn
    }

    /// Whoever owes and does not rest: those first that were settled when it was tried last, so that no others hold them up.
    async fn due(&mut self, policy: &Policy) -> Vec<TokenId> {
        let at_most = AT_ONCE + self.unsettled.len();
        let mut due = self.owing(policy, at_most).await;
        if due.len() < at_most {
            // That is everybody: who is not there owes nothing any more.
            let owing: HashSet<TokenId> = due.iter().copied().collect();
            self.unsettled.retain(|id, _| owing.contains(id));
        }
        let now = self.clock.now().mono;
        due.retain(|id| self.unsettled.get(id).is_none_or(|unsettled| unsettled.until <= now));
        due.sort_by_key(|id| self.unsettled.contains_key(id));
        due.truncate(AT_ONCE);
        due
    }

    /// Whoever owes minutes, or has a device that its token does not name; at most so many. All accounts may be many: not on a
    /// thread that answers.
    async fn owing(&self, policy: &Policy, at_most: usize) -> Vec<TokenId> {
        let (ledger, catalogue, policy) = (Arc::clone(&self.ledger), Arc::clone(&self.catalogue), policy.clone());
        let (now, minutes, learns) = (self.clock.now().wall, self.minutes, self.learns(&policy));
        let looking = tokio::task::spawn_blocking(move || {
            let mut owing = if minutes { ledger.owing(&policy, now, at_most) } else { Vec::new() };
            if learns {
                let unbound = |id: &TokenId| matches!(catalogue.standing(*id), Some(Standing::Held(token)) if token.devices.is_empty());
                let devices = ledger.first_devices().into_iter().map(|(id, _)| id).filter(unbound);
                owing.extend(devices.filter(|id| !owing.contains(id)).take(at_most).collect::<Vec<_>>());
            }
            owing
        });
        looking.await.unwrap_or_default()
    }

    /// Tries to settle one token.
    async fn settle(&mut self, id: TokenId, policy: &Policy) -> Result<Tried, Fault> {
        let pause = self.nexudus.writes_pause();
        if pause > Duration::ZERO {
            return Err(Fault::Held { after: Some(pause) });
        }
        let mut effort = self.nexudus.effort_alone(Share::Most, TOKEN_WITHIN);
        let open = self.ledger.open_settlement(id);
        let Some(read) = self.read(id, &mut effort).await? else {
            // Gone: there is nothing to lower. What was open can no longer be told, once that is sure.
            if let Some(intent) = open {
                let sure = matches!(self.catalogue.standing(id), Some(Standing::Gone));
                let unsettled = self.unsettled.entry(id).or_default();
                if sure || std::mem::replace(&mut unsettled.missing, true) {
                    self.end(id, &intent, true, None, policy);
                }
            }
            return Ok(Tried::Nothing);
        };
        if let Some(unsettled) = self.unsettled.get_mut(&id) {
            unsettled.missing = false;
        }
        if let Some(intent) = &open {
            // From before a crash, or with its answer lost.
            self.resolve(id, intent, &read, false, policy);
        }
        let device = self.learnt(id, &read, policy);
        let until = read.came.saturating_add(self.fresh());
        let intent = if self.minutes { self.begin(id, &read, until, policy).await? } else { None };
        let changes = changes(intent.as_ref(), device);
        if changes.is_empty() {
            return Ok(if open.is_some() { Tried::Settled } else { Tried::Nothing });
        }
        let Some(record) = edited(&read.text, &changes) else {
            if let Some(intent) = &intent {
                self.end(id, intent, false, None, policy);
            }
            return Err(Fault::Record);
        };
        // Now or not at all: whatever waits between the read and this could be an administrator's change.
        let mut once = self.nexudus.at_once(Share::Most, until);
        let taken = match self.nexudus.update(&record, &mut once).await {
            Ok(Wrote::Taken) => true,
            Ok(Wrote::NoRecord) => false,
            Ok(Wrote::Refused(refusal)) => {
                if let Some(intent) = &intent {
                    if refusal.certain {
                        self.end(id, intent, false, None, policy);
                    } else if let Some(after) = self.read(id, &mut effort).await?
                        && self.resolve(id, intent, &after, false, policy).counts()
                    {
                        return Ok(Tried::Settled);
                    }
                }
                return Err(Fault::Refused(refusal.what));
            }
            Err(error) => {
                if let Some(intent) = intent.as_ref().filter(|_| !once.is_uncertain()) {
                    self.end(id, intent, false, None, policy);
                }
                return Err(fault(error, &once));
            }
        };
        if taken {
            (self.not_taken, self.late) = (0, 0);
        }
        let Some(after) = self.read(id, &mut effort).await? else {
            // It went in this moment. Where it was taken before, that is found out when it is looked for.
            if let Some(intent) = intent.as_ref().filter(|_| !taken) {
                self.end(id, intent, false, None, policy);
            }
            return Ok(if taken { Tried::Settled } else { Tried::Nothing });
        };
        let arrived = intent.is_some_and(|intent| self.resolve(id, &intent, &after, taken, policy).counts());
        if let Some(device) = device
            && taken
            && after.unbound
        {
            self.devices = false;
            let what = "Nexudus does not keep MacAddress: devices learnt are not written to it until the next start";
            tracing::warn!(token = id.0, mac = %device, "{what}");
            self.not_kept.insert(what);
        }
        self.keep(&after);
        Ok(if taken || arrived { Tried::Settled } else { Tried::NotTaken })
    }

    /// Has the ledger note the write that is to be made of what was read; none: nothing is to be written. After `until` it is not
    /// waited for any more.
    async fn begin(&self, id: TokenId, read: &Read, until: Duration, policy: &Policy) -> Result<Option<Intent>, Fault> {
        let now = self.clock.now();
        let Some((intent, written)) = self.ledger.begin_settlement(&read.version.token, policy, now.wall) else {
            return Ok(None);
        };
        let left = self.clock.real(until.saturating_sub(now.mono));
        let fault = match tokio::time::timeout(left, written.settled()).await {
            Ok(Ok(())) if self.clock.now().mono <= until => return Ok(Some(intent)),
            Ok(Ok(())) | Err(_) => Fault::Late,
            Ok(Err(error)) => Fault::Disk(error),
        };
        // Nothing was sent, so whatever the disk has of it comes to nothing.
        self.end(id, &intent, false, None, policy);
        Err(fault)
    }

    /// Reads a token; none: there is no such token.
    async fn read(&self, id: TokenId, effort: &mut Effort) -> Result<Option<Read>, Fault> {
        let asked = self.clock.now().mono;
        let answered = self.nexudus.get(id, effort).await.map_err(|error| fault(error, effort))?;
        let came = self.clock.now().mono;
        let Some(text) = answered else { return Ok(None) };
        let record = Record::parse(&text).map_err(|_| Fault::Record)?;
        let reading = record.read(&self.nexudus.config.time_zone).map_err(|_| Fault::Record)?;
        if reading.token.id != id {
            return Err(Fault::Record);
        }
        let unbound = reading.token.devices.is_empty() && !reading.odd_devices;
        let version = Version { token: Arc::new(reading.token), updated: reading.updated };
        Ok(Some(Read { text, version, asked, came, unbound }))
    }

    /// The device that the token is to name: nobody else's name is overwritten, whatever it says.
    fn learnt(&self, id: TokenId, read: &Read, policy: &Policy) -> Option<Mac> {
        let device = self.ledger.account(id)?.first_device()?;
        (self.learns(policy) && read.unbound).then_some(device)
    }

    /// Closes a settlement by what a look shows.
    fn resolve(&mut self, id: TokenId, intent: &Intent, read: &Read, accepted: bool, policy: &Policy) -> Outcome {
        let outcome = intent.resolve(&read.version.token, accepted);
        match outcome {
            Outcome::Arrived | Outcome::NotArrived => {}
            Outcome::NotKept => {
                self.minutes = false;
                let what = "Nexudus does not keep MinutesLeft: nothing is written back until the next start, and spotgate's \
                            own account goes on to be enforced";
                tracing::warn!(token = id.0, "{what}");
                self.not_kept.insert(what);
            }
            Outcome::Unclear => tracing::warn!(
                token = id.0,
                before = intent.before,
                after = intent.after,
                "MinutesLeft was changed while an answer of Nexudus was lost; the minutes count as written"
            ),
        }
        // The copies first: by the account they are known to have it, or not.
        self.keep(read);
        self.end(id, intent, outcome.counts(), Some(&read.version.token), policy);
        outcome
    }

    fn end(&self, id: TokenId, intent: &Intent, applied: bool, read: Option<&AccessToken>, policy: &Policy) {
        // Should it not get to the disk, it is open again after a restart, and looked for.
        let _ = self.ledger.end_settlement(id, intent, applied, read, policy, self.clock.now().wall);
    }

    fn keep(&self, read: &Read) {
        // One that moved to a location of others is no part of the copies; the mirror finds that out by itself.
        if self.nexudus.config.is_ours(read.version.token.business) {
            self.catalogue.heard(&read.version, read.asked);
        }
    }
}

/// What a call that failed says.
fn fault(error: Error, effort: &Effort) -> Fault {
    match error {
        Error::Retry { after, .. } if !effort.is_sent() => Fault::Held { after },
        error => Fault::Source(error),
    }
}

const fn in_vain() -> &'static str {
    "Nexudus does not take changes: it says of tokens that are there that they are not; spotgate's own account goes on to be enforced"
}

/// What is changed of a record, as JSON.
fn changes(intent: Option<&Intent>, device: Option<Mac>) -> Vec<(&'static str, String)> {
    let mut changes = Vec::new();
    if let Some(intent) = intent {
        changes.push(("MinutesLeft", intent.after.to_string()));
        changes.push(("LastAccess", format!("\"{}\"", intent.last_access.strftime("%Y-%m-%dT%H:%M:%SZ"))));
    }
    changes.extend(device.map(|device| ("MacAddress", format!("\"{device}\""))));
    changes
}

#[cfg(test)]
mod tests;
