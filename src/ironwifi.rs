//! Tokens as users of IronWifi (`[ironwifi.push]`), for sites where IronWifi cannot ask spotgate: facts/ironwifi.md, "Push".
//!
//! Users are made, changed and deleted as tokens are, one call after another. Limits are set before the password, so that
//! nobody can log in without them. Only users that are written down as ours, and that a list of this process has shown under
//! their name, are changed or deleted; where somebody else's has the name already, the token goes without.

mod api;
mod bring;
mod kept;
mod plan;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::api::{Api, Fault};
use self::kept::{Kept, User};
use self::plan::{Plan, Terms, Wanted};
use crate::catalogue::{Catalogue, Standing};
use crate::config::{Push, Settings};
use crate::core::budget::Pool;
use crate::core::ident::{CodeKey, TokenId};
use crate::core::token::AccessToken;
use crate::gate::Gate;
use crate::live::{Current, Live};

/// How often it is looked what changed.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// How long is worked before it is looked again: what ends in the meantime goes first.
const ROUND: Duration = Duration::from_secs(30);

/// How often all users are listed, and how often at most if one may have been made and is not known.
const LIST_EVERY: Duration = Duration::from_secs(3600);
const LIST_AGAIN: Duration = Duration::from_secs(60);

/// Calls that fail in a row before it is IronWifi that does.
const FAILURES: u32 = 3;

/// How often in a row it may ask for a pause before that is said.
const PATIENCE: u32 = 10;
const BUSY: &str = "IronWifi asks for pauses all the time: lower ironwifi.push.requests_per_minute";

/// How long a token rests whose user is not taken.
const REST: Duration = Duration::from_secs(600);

/// The pause after a failure: it doubles. After a refusal it is the longest.
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Keeps users as tokens are, as the settings in force say; never ends. What is kept is under `folder`.
pub async fn push(gate: Arc<Gate>, mut live: Current, folder: PathBuf) {
    let mut users: Option<Users> = None;
    loop {
        let current = Arc::clone(&live.borrow_and_update());
        let Some(push) = &current.settings.ironwifi.push else {
            if users.take().is_some() {
                tracing::warn!("users at IronWifi are left there as they are");
            }
            gate.ironwifi.set(None);
            if live.changed().await.is_err() {
                return;
            }
            continue;
        };
        let pause = match begun(users.take(), push, &gate, &folder).await {
            Ok(begun) => users.insert(begun).look(&current).await,
            Err(words) => {
                said(&gate, Some(words));
                LONGEST_PAUSE
            }
        };
        tokio::select! {
            () = gate.clock.sleep(pause) => {}
            changed = live.changed() => if changed.is_err() { return },
        }
    }
}

/// What there was, if it is of these settings; else anew.
async fn begun(users: Option<Users>, push: &Push, gate: &Arc<Gate>, folder: &std::path::Path) -> Result<Users, String> {
    if let Some(users) = users.filter(|users| users.api.is_of(push)) {
        return Ok(users);
    }
    let api = Api::new(push, gate.clock.clone()).map_err(|why| format!("ironwifi.push.base_url: {why}"))?;
    let (folder, of) = (folder.to_owned(), push.base_url.clone());
    let opened = tokio::task::spawn_blocking(move || Kept::open(&folder, &of)).await;
    let (kept, dropped) = opened
        .map_err(|error| error.to_string())
        .and_then(|opened| opened.map_err(|error| error.to_string()))
        .map_err(|why| format!("which users are ours cannot be read: {why}"))?;
    if dropped > 0 {
        tracing::warn!(users = dropped, "users at another address of IronWifi are left there as they are");
    }
    Ok(Users {
        api,
        kept: Arc::new(Mutex::new(kept)),
        gate: Arc::clone(gate),
        others: HashSet::new(),
        listed: None,
        tried: Duration::ZERO,
        doubtful: false,
        resting: HashMap::new(),
        failures: 0,
    })
}

/// Notes and logs what is wrong, or that it is over.
fn said(gate: &Gate, words: Option<String>) {
    let is_new = gate.ironwifi.set(words.clone());
    match words {
        Some(words) if is_new => tracing::warn!("IronWifi's users: {words}"),
        None if is_new => tracing::info!("IronWifi's users: all is well again"),
        _ => {}
    }
}

/// The users at one address.
struct Users {
    api: Api,
    kept: Arc<Mutex<Kept>>,
    gate: Arc<Gate>,
    /// Names of users that are not ours.
    others: HashSet<CodeKey>,
    /// When all were listed last, and when that was tried last (monotonic).
    listed: Option<Duration>,
    tried: Duration,
    /// Something is amiss that a list clears up.
    doubtful: bool,
    /// Tokens whose users are as they should not be, what for, and until when they rest (monotonic).
    resting: HashMap<TokenId, (&'static str, Duration)>,
    /// Looks in a row that failed.
    failures: u32,
}

/// Why something is not done.
enum Stop {
    /// A call failed.
    Call(Fault),
    /// Something here did: nothing may be done that is not noted.
    Own(String),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Call(fault)
    }
}

/// What is to be done with a user.
enum Task {
    /// Its token is over, gone, or has another code.
    Delete(TokenId, User),
    Create(TokenId, Wanted),
    Change(TokenId, User, Wanted),
}

/// What there is to do, and of how many tokens nothing can be done.
#[derive(Default)]
struct Tasks {
    tasks: Vec<Task>,
    /// Their codes are names of other users.
    taken: usize,
}

/// What a look found.
struct Seen {
    /// Something is left to do.
    more: bool,
    taken: usize,
    ambiguous: usize,
}

const UNDELETED: &str = "users whose tokens are over cannot be deleted";
const UNTOLD: &str = "users are not as their tokens are: IronWifi does not take that";
const UNMADE: &str = "tokens have no user: IronWifi does not take their codes as names";

impl Users {
    /// Looks once what is to be done, and does as much of it as a round takes; how long to wait before the next.
    async fn look(&mut self, live: &Arc<Live>) -> Duration {
        let outcome = self.work(live).await;
        let users = self.kept().users().values().filter(|user| user.id.is_some() && !user.deleted).count();
        self.gate.metrics.ironwifi_users.set(i64::try_from(users).unwrap_or(i64::MAX));
        let longer = PAUSE.saturating_mul(2u32.saturating_pow(self.failures)).min(LONGEST_PAUSE);
        let (words, pause) = match outcome {
            Ok(seen) => {
                self.failures = 0;
                said(&self.gate, self.words(&seen));
                return if seen.more { Duration::ZERO } else { LOOK_EVERY };
            }
            Err(Stop::Call(Fault::Busy(after))) => (BUSY.to_owned(), after.max(longer)),
            Err(Stop::Call(Fault::Refused(words))) => (words, LONGEST_PAUSE),
            Err(Stop::Call(Fault::Away(words)) | Stop::Own(words)) => (words, longer),
            Err(Stop::Call(Fault::Gone)) => ("IronWifi knows no such address".to_owned(), longer),
            Err(Stop::Call(Fault::NotTaken(status))) => (format!("IronWifi answers with status {status}"), longer),
        };
        self.failures = self.failures.saturating_add(1);
        // That it asks for a pause now and then is no trouble, and ends none.
        if words != BUSY || self.failures > PATIENCE {
            said(&self.gate, Some(words));
        }
        pause
    }

    /// What is wrong with some of them.
    fn words(&self, seen: &Seen) -> Option<String> {
        let resting = |why| (self.resting.values().filter(|(for_that, _)| *for_that == why).count(), why);
        let counts = [
            resting(UNDELETED),
            resting(UNTOLD),
            resting(UNMADE),
            (seen.taken, "tokens have no user: their codes are names of other users there"),
            (seen.ambiguous, "tokens have no user: several have one code, whatever its case"),
        ];
        let words: Vec<String> =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, words)| format!("{count} {words}")).collect();
        (!words.is_empty()).then(|| words.join("; "))
    }

    /// Lists them if that is due, and does what is to be done, as far as a round goes.
    async fn work(&mut self, live: &Arc<Live>) -> Result<Seen, Stop> {
        let Some(push) = &live.settings.ironwifi.push else { return Ok(Seen { more: false, taken: 0, ambiguous: 0 }) };
        let now = self.now();
        self.resting.retain(|_, (_, until)| *until > now);
        let plan = if push.withdraw { Plan::default() } else { self.plan(live).await? };
        let ambiguous = plan.ambiguous;
        let mut failed = None;
        if self.is_to_be_listed(&plan.users, now) {
            self.tried = now;
            match self.list().await {
                // Without any list nobody knows whose users they are.
                Err(stop) if self.listed.is_none() => return Err(stop),
                Err(stop @ Stop::Call(Fault::Refused(_) | Fault::Busy(_))) => return Err(stop),
                listed => failed = listed.err(),
            }
        }
        let before = self.kept().users().len();
        let Tasks { tasks, taken } = self.tasks(plan.users, push.withdraw);
        let (until, mut in_a_row) = (self.now() + ROUND, 0);
        for task in tasks {
            if self.now() >= until {
                return failed.map_or(Ok(Seen { more: true, taken, ambiguous }), Err);
            }
            let (token, why) = task.about();
            let Err(stop) = self.perform(task).await else {
                in_a_row = 0;
                continue;
            };
            let rest = match &stop {
                Stop::Call(Fault::NotTaken(status)) => {
                    tracing::warn!(token = token.0, %status, "IronWifi: {why}");
                    REST
                }
                // Perhaps it is this user's alone: others have their turn.
                Stop::Call(Fault::Away(_) | Fault::Gone) if in_a_row < FAILURES => {
                    in_a_row += 1;
                    LIST_AGAIN
                }
                _ => return Err(stop),
            };
            self.resting.insert(token, (why, self.now() + rest));
            failed = if rest == REST { failed } else { Some(stop) };
        }
        if push.withdraw && before > 0 && self.kept().users().values().all(|user| user.deleted) {
            tracing::info!("every user that was made at IronWifi is deleted there");
        }
        failed.map_or(Ok(Seen { more: false, taken, ambiguous }), Err)
    }

    /// Whether a list is due: now and then, and sooner where somebody waits for what it says.
    fn is_to_be_listed(&self, wanted: &HashMap<TokenId, Wanted>, now: Duration) -> bool {
        let Some(listed) = self.listed else { return true };
        let kept = self.kept();
        let tokens: HashSet<&TokenId> = wanted.keys().collect();
        let names: HashSet<CodeKey> = wanted.values().map(|want| plan::folded(&want.code)).collect();
        let is_awaited = kept.users().iter().any(|(token, user)| {
            let waits = || tokens.contains(token) || names.contains(&plan::folded(&user.code));
            user.id.is_none() || (user.deleted && waits())
        });
        let is_open = kept.users().values().any(|user| user.deleted);
        let is_taken = self.others.iter().any(|name| names.contains(name));
        let every = match (is_awaited || self.doubtful, is_open || is_taken) {
            // The latest try failed; the pause after that is over.
            _ if self.tried > listed => Duration::ZERO,
            (true, _) => LIST_AGAIN,
            (false, true) => REST,
            (false, false) => LIST_EVERY,
        };
        now >= listed.max(self.tried) + every
    }

    /// What users there should be. All tokens may be many: not on a thread that answers.
    async fn plan(&self, live: &Arc<Live>) -> Result<Plan, Stop> {
        let (gate, live) = (Arc::clone(&self.gate), Arc::clone(live));
        let looking = tokio::task::spawn_blocking(move || wanted(&gate, &live.settings)).await;
        looking.ok().flatten().ok_or_else(|| Stop::Own("which users there should be cannot be told".to_owned()))
    }

    /// What is to be done: what ended first, then what is new. With `all`, every user of ours is to go.
    fn tasks(&self, mut wanted: HashMap<TokenId, Wanted>, all: bool) -> Tasks {
        let (mut tasks, mut changes) = (Tasks::default(), Vec::new());
        let catalogue = &self.gate.supply().catalogue;
        let kept = self.kept();
        let mut names: HashSet<CodeKey> = HashSet::new();
        for (token, user) in kept.users() {
            names.insert(plan::folded(&user.code));
            let want = wanted.remove(token);
            if self.resting.contains_key(token) || user.deleted {
                continue;
            }
            match want {
                Some(want) if want.code == user.code => {
                    let is_told = user.told.as_ref().is_some_and(|told| !plan::differs(told, &want.numbers));
                    changes.extend((!is_told).then(|| Task::Change(*token, user.clone(), want)));
                }
                Some(_) => tasks.tasks.push(Task::Delete(*token, user.clone())),
                // That a list lacks a token does not yet mean that it is gone.
                None if all || is_known(catalogue, *token) => tasks.tasks.push(Task::Delete(*token, user.clone())),
                None => {}
            }
        }
        for (token, want) in wanted {
            let name = plan::folded(&want.code);
            if self.others.contains(&name) {
                tasks.taken += 1;
            } else if !names.contains(&name) && !self.resting.contains_key(&token) {
                tasks.tasks.push(Task::Create(token, want));
            }
        }
        tasks.tasks.extend(changes);
        tasks
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.gate.clock.now().mono
    }
}

impl Task {
    /// Whose it is, and what it means if it is not done.
    const fn about(&self) -> (TokenId, &'static str) {
        match self {
            Self::Delete(token, _) => (*token, UNDELETED),
            Self::Create(token, _) => (*token, UNMADE),
            Self::Change(token, _, _) => (*token, UNTOLD),
        }
    }
}

/// Whether it is known how a token is: it is there, or surely gone.
fn is_known(catalogue: &Catalogue, token: TokenId) -> bool {
    matches!(catalogue.standing(token), Some(Standing::Held(_))) || catalogue.is_surely_gone(token)
}

/// What users there should be now. It may look through all tokens.
fn wanted(gate: &Gate, settings: &Settings) -> Option<Plan> {
    let push = settings.ironwifi.push.as_ref()?;
    let nas = settings.nas.iter().find(|nas| *nas.name() == push.nas)?;
    let (policy, now) = (&settings.policy, gate.clock.now().wall);
    let left = |token: &AccessToken| -> Pool {
        gate.ledger.account(token.id).map_or_else(|| token.pool(policy), |account| account.left_of(token, policy, now))
    };
    Some(plan::wanted(&gate.supply().catalogue.all(), left, &Terms { policy, nas }, now))
}

#[cfg(test)]
mod tests;
