//! Minutes used, written back to `MinutesLeft` (with `LastAccess`), and devices learnt, written to `MacAddress`: design.md,
//! "Writing minutes back".
//!
//! The record is read, changed and put back as a whole, then read again. What is about to be written is on disk before it is
//! sent, so that whatever comes between (a crash, a lost answer) is resolved by looking, and no minute is written twice. What
//! was lowered shows in the copies of the token and in its account in any order without changing its pool ([`core::settle`]).
//!
//! [`core::settle`]: crate::core::settle

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::catalogue::{Catalogue, Standing};
use crate::clock::Clock;
use crate::core::ident::{Mac, TokenId};
use crate::core::policy::{BindDevice, Policy};
use crate::core::settle::{Intent, Outcome};
use crate::core::token::AccessToken;
use crate::ledger::Ledger;
use crate::live::Current;
use crate::source::nexudus::wire::Record;
use crate::source::nexudus::{Effort, Nexudus, Share, edited};
use crate::source::{Error, Version};

/// How often it is looked who owes whole minutes, or each `mirror_interval` if that is less: they are to be written within a
/// minute.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Tokens settled between two looks; more cannot be in that time.
const AT_ONCE: usize = 500;

/// How long one token may take: calls wait for the ceiling's window.
const TOKEN_WITHIN: Duration = Duration::from_secs(120);

/// The pause after a refusal: a role is missing, say.
const QUIET: Duration = Duration::from_secs(300);

/// How long a token rests that owes and could not be lowered: it is gone, malformed, or has nothing left to take.
const REST: Duration = Duration::from_secs(600);

/// Tokens in a row that fail before it is the source that does.
const FAILURES: u32 = 3;

/// The longest pause otherwise.
const PAUSE: Duration = Duration::from_secs(60);

/// Why nothing is written back although it should be.
#[derive(Debug, Default)]
pub struct Trouble(Mutex<Option<String>>);

impl Trouble {
    /// In words; none: all is well.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, words: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = words;
    }
}

/// What writes back, for one source.
pub struct WriteBack {
    nexudus: Arc<Nexudus>,
    catalogue: Arc<Catalogue>,
    ledger: Arc<Ledger>,
    live: Current,
    clock: Clock,
    trouble: Arc<Trouble>,
    /// Tokens that rest, until when (monotonic).
    resting: HashMap<TokenId, Duration>,
    /// Whether minutes are, or still are, written.
    minutes: bool,
    /// Whether devices learnt still are written, where they are to be.
    devices: bool,
}

/// Why a token is not settled.
#[derive(Debug)]
enum Fault {
    /// The source failed; what is open is resolved later.
    Source(Error),
    /// The disk did: nothing may be written that it does not know of.
    Disk(crate::journal::Error),
    /// The record makes no sense, or belongs to another token; it is left alone.
    Record,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Source(error)
    }
}

/// A record as it was read.
struct Read {
    text: String,
    version: Version,
    asked: Duration,
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
        Self { nexudus, catalogue, ledger, live, clock, trouble, resting: HashMap::new(), minutes, devices: true }
    }

    /// Settles whoever owes; never ends.
    pub async fn run(mut self) {
        // What was sent before a restart or a reload may arrive as long as this.
        self.clock.sleep(self.nexudus.config.request_timeout * 2).await;
        loop {
            self.clock.sleep(LOOK_EVERY.min(self.nexudus.config.mirror_interval)).await;
            let Err(fault) = self.look().await else { continue };
            let pause = match &fault {
                Fault::Source(Error::Retry { after, .. }) => after.unwrap_or(PAUSE).min(PAUSE),
                Fault::Source(error @ Error::Refused { .. }) => {
                    self.trouble.set(Some(error.to_string()));
                    QUIET
                }
                Fault::Disk(error) => {
                    tracing::debug!(%error, "nothing is written back that the ledger cannot note first");
                    PAUSE
                }
                Fault::Record => PAUSE,
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
        self.resting.retain(|_, until| *until > now);
        let (mut failed, mut in_a_row) = (None, 0);
        for id in self.owing(&policy).await {
            if !(self.minutes || self.learns(&policy)) {
                break;
            }
            match self.settle(id, &policy).await {
                Ok(true) => in_a_row = 0,
                Ok(false) | Err(Fault::Record) => {
                    self.resting.insert(id, now + REST);
                    in_a_row = 0;
                }
                // Perhaps it is this token's alone: it makes room for others. What was sent may arrive until then.
                Err(fault @ Fault::Source(Error::Retry { .. })) if in_a_row < FAILURES => {
                    self.resting.insert(id, now + PAUSE.max(self.nexudus.config.request_timeout * 2));
                    in_a_row += 1;
                    failed = Some(fault);
                    continue;
                }
                Err(fault) => return Err(fault),
            }
            if self.minutes && self.devices {
                self.trouble.set(None);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn learns(&self, policy: &Policy) -> bool {
        self.devices && policy.bind_device == BindDevice::Learn
    }

    /// Whoever owes minutes, or has a device that its token does not name. All accounts may be many: not on a thread that
    /// answers.
    async fn owing(&self, policy: &Policy) -> Vec<TokenId> {
        let (ledger, catalogue, policy) = (Arc::clone(&self.ledger), Arc::clone(&self.catalogue), policy.clone());
        let resting: HashSet<TokenId> = self.resting.keys().copied().collect();
        let (now, minutes, learns) = (self.clock.now().wall, self.minutes, self.learns(&policy));
        let looking = tokio::task::spawn_blocking(move || {
            let mut owing = if minutes { ledger.owing(&policy, now, AT_ONCE + resting.len()) } else { Vec::new() };
            if learns {
                let unbound = |id: &TokenId| matches!(catalogue.standing(*id), Some(Standing::Held(token)) if token.devices.is_empty());
                let devices = ledger.first_devices().into_iter().map(|(id, _)| id).filter(unbound);
                owing.extend(devices.filter(|id| !owing.contains(id)).take(AT_ONCE).collect::<Vec<_>>());
            }
            owing.retain(|id| !resting.contains(id));
            owing
        });
        looking.await.unwrap_or_default()
    }

    /// Settles one token; whether there was anything to write, or to find out about.
    async fn settle(&mut self, id: TokenId, policy: &Policy) -> Result<bool, Fault> {
        let mut effort = self.nexudus.effort_within(Share::Most, TOKEN_WITHIN);
        let open = self.ledger.open_settlement(id);
        let Some(read) = self.read(id, &mut effort).await? else {
            // Gone: there is nothing to lower. What was open can no longer be told.
            if let Some(intent) = open {
                self.end(id, &intent, true, None, policy);
            }
            return Ok(false);
        };
        if let Some(intent) = &open {
            // From before a crash, or with its answer lost.
            self.resolve(id, intent, &read, false, policy);
        }
        let token = &read.version.token;
        let device = self.learnt(id, &read, policy);
        let intent = if self.minutes {
            match self.ledger.begin_settlement(token, policy, self.clock.now().wall) {
                Some((intent, written)) => match written.settled().await {
                    Ok(()) => Some(intent),
                    Err(error) => {
                        self.end(id, &intent, false, None, policy);
                        return Err(Fault::Disk(error));
                    }
                },
                None => None,
            }
        } else {
            None
        };
        let changes = changes(intent.as_ref(), device);
        if changes.is_empty() {
            return Ok(open.is_some());
        }
        let record = edited(&read.text, &changes).ok_or(Fault::Record)?;
        // Now or not at all: whatever waits between the read and this could be an administrator's change.
        let mut once = self.nexudus.at_once(Share::Most);
        let taken = match self.nexudus.update(&record, &mut once).await {
            Ok(taken) => taken,
            Err(error) => {
                if let Some(intent) = intent.as_ref().filter(|_| !once.is_uncertain()) {
                    self.end(id, intent, false, None, policy);
                }
                return Err(error.into());
            }
        };
        let Some(after) = self.read(id, &mut effort).await? else { return Ok(true) };
        if let Some(intent) = intent {
            self.resolve(id, &intent, &after, taken, policy);
        }
        if let Some(device) = device
            && taken
            && after.unbound
        {
            self.devices = false;
            let what = "Nexudus does not keep MacAddress: devices learnt are not written to it until the next start";
            tracing::warn!(token = id.0, mac = %device, "{what}");
            self.trouble.set(Some(what.to_owned()));
        }
        self.keep(&after);
        Ok(true)
    }

    /// Reads a token; none: there is no such token.
    async fn read(&self, id: TokenId, effort: &mut Effort) -> Result<Option<Read>, Fault> {
        let asked = self.clock.now().mono;
        let Some(text) = self.nexudus.get(id, effort).await? else { return Ok(None) };
        let record = Record::parse(&text).map_err(|_| Fault::Record)?;
        let reading = record.read(&self.nexudus.config.time_zone).map_err(|_| Fault::Record)?;
        if reading.token.id != id {
            return Err(Fault::Record);
        }
        let unbound = reading.token.devices.is_empty() && !reading.odd_devices;
        let version = Version { token: Arc::new(reading.token), updated: reading.updated };
        Ok(Some(Read { text, version, asked, unbound }))
    }

    /// The device that the token is to name: nobody else's name is overwritten, whatever it says.
    fn learnt(&self, id: TokenId, read: &Read, policy: &Policy) -> Option<Mac> {
        let device = self.ledger.account(id)?.first_device()?;
        (self.learns(policy) && read.unbound).then_some(device)
    }

    /// Closes a settlement by what a look shows.
    fn resolve(&mut self, id: TokenId, intent: &Intent, read: &Read, accepted: bool, policy: &Policy) {
        let outcome = intent.resolve(&read.version.token, accepted);
        match outcome {
            Outcome::Arrived | Outcome::NotArrived => {}
            Outcome::NotKept => {
                self.minutes = false;
                let what = "Nexudus does not keep MinutesLeft: nothing is written back until the next start, and spotgate's \
                            own account goes on to be enforced";
                tracing::warn!(token = id.0, "{what}");
                self.trouble.set(Some(what.to_owned()));
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
