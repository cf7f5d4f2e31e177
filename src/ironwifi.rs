//! Tokens as users of IronWifi (`[ironwifi.push]`), for sites where IronWifi cannot ask spotgate: facts/ironwifi.md, "Push".
//!
//! Users are made, changed and deleted as tokens are, one call after another. Limits are set before the password, so that
//! nobody can log in without them. Only users that are written down as ours are ever changed or deleted; where somebody
//! else's has the name already, the token goes without.

mod api;
mod kept;
mod plan;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::api::{Api, Fault, Id};
use self::kept::{Kept, User};
use self::plan::{Name, Table, Terms, Wanted};
use crate::catalogue::{Catalogue, Standing};
use crate::config::{Push, Settings};
use crate::core::budget::Pool;
use crate::core::ident::{Code, CodeKey, TokenId};
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

/// Users that a list lacks and that are asked for one by one, each time.
const MISSED: usize = 20;

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
    /// When all were listed last (monotonic).
    listed: Option<Duration>,
    /// Tokens whose users are not taken, and until when they rest (monotonic).
    resting: HashMap<TokenId, Duration>,
    /// Looks in a row that failed.
    failures: u32,
}

/// Why a look ends early.
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

impl Users {
    /// Looks once what is to be done, and does as much of it as a round takes; how long to wait before the next.
    async fn look(&mut self, live: &Arc<Live>) -> Duration {
        let outcome = self.work(live).await;
        let users = u64::try_from(self.kept().users().len()).unwrap_or(u64::MAX);
        self.gate.metrics.ironwifi_users.set(i64::try_from(users).unwrap_or(i64::MAX));
        let (words, pause) = match outcome {
            Ok(open) => {
                self.failures = 0;
                let resting = self.resting.len();
                let words = format!(
                    "{resting} tokens have no user there, or not as it should be: their codes are names of other users, or are not taken"
                );
                ((resting > 0).then_some(words), if open { Duration::ZERO } else { LOOK_EVERY })
            }
            Err(stop) => {
                let longer = PAUSE.saturating_mul(2u32.saturating_pow(self.failures)).min(LONGEST_PAUSE);
                self.failures = self.failures.saturating_add(1);
                match stop {
                    Stop::Call(Fault::Busy(after)) => (None, after.max(PAUSE)),
                    Stop::Call(Fault::Refused(words)) => (Some(words), LONGEST_PAUSE),
                    Stop::Call(Fault::Away(words)) => (Some(words), longer),
                    Stop::Call(Fault::Gone) => (Some("IronWifi knows no such address".to_owned()), longer),
                    Stop::Call(Fault::NotTaken(status)) => {
                        (Some(format!("IronWifi answers with status {status}")), longer)
                    }
                    Stop::Own(why) => (Some(why), longer),
                }
            }
        };
        said(&self.gate, words);
        pause
    }

    /// Whether something is left to do.
    async fn work(&mut self, live: &Arc<Live>) -> Result<bool, Stop> {
        let Some(push) = &live.settings.ironwifi.push else { return Ok(false) };
        let now = self.now();
        let is_asked_for = self.kept().users().values().any(|user| user.id.is_none());
        let every = if is_asked_for { LIST_AGAIN } else { LIST_EVERY };
        if self.listed.is_none_or(|listed| now >= listed + every) {
            self.list().await?;
        }
        self.resting.retain(|_, until| *until > now);
        let wanted = if push.withdraw { HashMap::new() } else { self.wanted(live).await? };
        let until = self.now() + ROUND;
        for task in self.tasks(wanted, push.withdraw) {
            if self.now() >= until {
                return Ok(true);
            }
            let token = task.token();
            match self.perform(task).await {
                Ok(()) => {}
                Err(Stop::Call(Fault::NotTaken(status))) => {
                    tracing::warn!(token = token.0, %status, "IronWifi does not take this token as a user");
                    self.resting.insert(token, self.now() + REST);
                }
                Err(stop) => return Err(stop),
            }
        }
        Ok(false)
    }

    /// What users there should be. All tokens may be many: not on a thread that answers.
    async fn wanted(&self, live: &Arc<Live>) -> Result<HashMap<TokenId, Wanted>, Stop> {
        let (gate, live) = (Arc::clone(&self.gate), Arc::clone(live));
        let looking = tokio::task::spawn_blocking(move || wanted(&gate, &live.settings)).await;
        looking.ok().flatten().ok_or_else(|| Stop::Own("which users there should be cannot be told".to_owned()))
    }

    /// What is to be done: what ended first, then what is new. With `all`, every user of ours is to go.
    fn tasks(&self, mut wanted: HashMap<TokenId, Wanted>, all: bool) -> Vec<Task> {
        let (mut tasks, mut changes) = (Vec::new(), Vec::new());
        let catalogue = &self.gate.supply().catalogue;
        let kept = self.kept();
        let mut names: HashSet<CodeKey> = HashSet::new();
        for (token, user) in kept.users() {
            names.insert(plan::folded(&user.code));
            match wanted.remove(token) {
                Some(want) if want.code == user.code => {
                    let is_told = user.told.as_ref().is_some_and(|told| !plan::differs(told, &want.numbers));
                    if !is_told && !self.resting.contains_key(token) {
                        changes.push(Task::Change(*token, user.clone(), want));
                    }
                }
                Some(_) => tasks.push(Task::Delete(*token, user.clone())),
                // That a list lacks a token does not yet mean that it is gone.
                None if all || is_known(catalogue, *token) => tasks.push(Task::Delete(*token, user.clone())),
                None => {}
            }
        }
        let is_free = |want: &Wanted| {
            let name = plan::folded(&want.code);
            !names.contains(&name) && !self.others.contains(&name)
        };
        let new = wanted.into_iter().filter(|(token, want)| !self.resting.contains_key(token) && is_free(want));
        tasks.extend(new.map(|(token, want)| Task::Create(token, want)));
        tasks.extend(changes);
        tasks
    }

    async fn perform(&mut self, task: Task) -> Result<(), Stop> {
        let gate = Arc::clone(&self.gate);
        match task {
            Task::Delete(token, User { id: Some(id), .. }) => {
                self.api.delete(&id, &gate.metrics).await?;
                self.note(token, None).await
            }
            Task::Delete(token, User { id: None, .. }) => {
                self.list().await?;
                // One that was made after all is deleted next time.
                let is_made = self.kept().users().get(&token).is_some_and(|user| user.id.is_some());
                if is_made { Ok(()) } else { self.note(token, None).await }
            }
            Task::Create(token, want) => {
                self.note(token, Some(User { code: want.code.clone(), id: None, told: None })).await?;
                self.create(token, &want, true).await
            }
            Task::Change(token, user, want) => {
                let Some(id) = user.id.clone() else { return self.create(token, &want, false).await };
                let outcome = self.change(token, user, &want, false).await;
                // The user is gone, or it is only that this call did not get there.
                if matches!(outcome, Err(Stop::Call(Fault::Gone))) && !self.api.exists(&id, &gate.metrics).await? {
                    return self.note(token, None).await;
                }
                outcome
            }
        }
    }

    /// Makes the user of a token that is noted; `first`: it was never asked for before.
    async fn create(&mut self, token: TokenId, want: &Wanted, first: bool) -> Result<(), Stop> {
        let gate = Arc::clone(&self.gate);
        let id = match self.api.create(&want.code, &gate.metrics).await {
            Ok(id) => id,
            Err(fault @ Fault::NotTaken(_)) => {
                // The name is another's. If it was asked for before, that may be ours: the next list tells.
                if first {
                    self.note(token, None).await?;
                }
                return Err(fault.into());
            }
            Err(fault) => return Err(fault.into()),
        };
        let user = User { code: want.code.clone(), id: Some(id), told: None };
        self.note(token, Some(user.clone())).await?;
        self.change(token, user, want, true).await
    }

    /// Gives a user what it should have; `new`: it has nothing yet. What is new comes before what it replaces goes, so that
    /// there is a limit at any time.
    async fn change(&mut self, token: TokenId, user: User, want: &Wanted, new: bool) -> Result<(), Stop> {
        let gate = Arc::clone(&self.gate);
        let metrics = &gate.metrics;
        let Some(id) = user.id.clone() else { return Ok(()) };
        let mut have = Vec::new();
        if !new {
            for table in Table::ALL {
                have.extend(self.api.attributes(&id, table, metrics).await?);
            }
        }
        if user.told.is_some() {
            self.note(token, Some(User { told: None, ..user.clone() })).await?;
        }
        for name in Name::ALL {
            let value = match name {
                Name::CleartextPassword => Some(want.code.reveal().to_owned()),
                _ => want.numbers.iter().find(|(known, _)| *known == name).map(|(_, number)| number.to_string()),
            };
            let (same, other): (Vec<_>, Vec<_>) = have
                .iter()
                .filter(|attribute| attribute.name == name)
                .partition(|attribute| Some(&attribute.value) == value.as_ref());
            if let (Some(value), true) = (&value, same.is_empty()) {
                self.api.add(&id, name, value, metrics).await?;
            }
            for attribute in same.into_iter().skip(1).chain(other) {
                self.api.remove(attribute, metrics).await?;
            }
        }
        self.note(token, Some(User { told: Some(want.numbers.clone()), ..user })).await
    }

    /// Lists all users: finds those that were asked for, those that somebody deleted, and the names of others.
    async fn list(&mut self) -> Result<(), Stop> {
        let gate = Arc::clone(&self.gate);
        let listed = self.api.users(&gate.metrics).await?;
        let name = |name: &str| Code::parse(name).ok().map(|name| plan::folded(&name));
        let mut by_name: HashMap<CodeKey, Id> = HashMap::new();
        by_name.extend(listed.iter().filter_map(|(id, user)| Some((name(user)?, id.clone()))));
        let ids: HashSet<&Id> = listed.iter().map(|(id, _)| id).collect();
        let ours: Vec<(TokenId, User)> =
            self.kept().users().iter().map(|(token, user)| (*token, user.clone())).collect();
        let mut missed = 0;
        for (token, user) in ours {
            let Some(id) = &user.id else {
                let made = by_name.get(&plan::folded(&user.code)).cloned();
                if made.is_some() {
                    self.note(token, Some(User { id: made, ..user })).await?;
                }
                continue;
            };
            if !ids.contains(id) && missed < MISSED {
                missed += 1;
                if !self.api.exists(id, &gate.metrics).await? {
                    tracing::warn!(token = token.0, "somebody deleted this token's user at IronWifi");
                    self.note(token, None).await?;
                }
            }
        }
        let ours: HashSet<Id> = self.kept().users().values().filter_map(|user| user.id.clone()).collect();
        let others = listed.iter().filter(|(id, _)| !ours.contains(id));
        self.others = others.filter_map(|(_, user)| name(user)).collect();
        self.listed = Some(self.now());
        Ok(())
    }

    /// Writes down what is known of a token's user; none: it has none.
    async fn note(&self, token: TokenId, user: Option<User>) -> Result<(), Stop> {
        let kept = Arc::clone(&self.kept);
        let noting = tokio::task::spawn_blocking(move || {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            match user {
                Some(user) => kept.put(token, user),
                None => kept.remove(token),
            }
        });
        let noted = noting.await.map_err(|error| error.to_string());
        let noted = noted.and_then(|noted| noted.map_err(|error| error.to_string()));
        noted.map_err(|why| Stop::Own(format!("which users are ours cannot be written down: {why}")))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.gate.clock.now().mono
    }
}

impl Task {
    const fn token(&self) -> TokenId {
        match self {
            Self::Delete(token, _) | Self::Create(token, _) | Self::Change(token, _, _) => *token,
        }
    }
}

/// Whether it is known how a token is: it is there, or surely gone.
fn is_known(catalogue: &Catalogue, token: TokenId) -> bool {
    matches!(catalogue.standing(token), Some(Standing::Held(_))) || catalogue.is_surely_gone(token)
}

/// What users there should be now. It may look through all tokens.
fn wanted(gate: &Gate, settings: &Settings) -> Option<HashMap<TokenId, Wanted>> {
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
