//! The accounts, in memory and sharded by token: one lock for each shard, held only while one token is decided, so that of
//! two logins racing for the last place exactly one gets it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use std::time::Duration;

use jiff::Timestamp;
use moka::sync::Cache;

use crate::core::account::{Account, Event, News, Progress};
use crate::core::budget::Seconds;
use crate::core::decide::{Decision, Question, Trail, decide};
use crate::core::ident::{Code, Mac, NasName, SessionId, TokenId};
use crate::core::policy::Policy;
use crate::core::session::Session;
use crate::core::token::AccessToken;

const SHARDS: usize = 64;

/// Devices remembered at most; beyond, the least active are forgotten and type their code again.
const MAX_DEVICES: u64 = 1_000_000;

/// Sessions that may be spoken of at most; beyond, the least active are known by their code alone.
const MAX_SESSIONS: u64 = 1_000_000;

/// How long after the last word of a session another may come.
const SPOKEN_OF_FOR: Duration = Duration::from_secs(2 * 86_400);

/// Tokens remembered for one device.
const MAX_TOKENS_OF_A_DEVICE: usize = 8;

/// Accounts by token, and the codes that devices logged in with.
#[derive(Debug)]
pub struct Ledger {
    shards: Vec<Mutex<HashMap<TokenId, Account>>>,
    devices: Cache<Mac, Arc<[Remembered]>>,
    /// The token of each session that may still be spoken of.
    sessions: Cache<SessionId, TokenId>,
    /// The latest session under each router's own name for it; such names come again (facts/hotspot.md §1.1).
    named: Cache<(NasName, Box<str>), SessionId>,
}

/// A code that a device logged in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Its token.
    pub token: TokenId,
    /// The code, by which the token is found again.
    pub code: Code,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            devices: Cache::new(MAX_DEVICES),
            sessions: Cache::builder().max_capacity(MAX_SESSIONS).time_to_idle(SPOKEN_OF_FOR).build(),
            named: Cache::builder().max_capacity(MAX_SESSIONS).time_to_idle(SPOKEN_OF_FOR).build(),
        }
    }
}

impl Ledger {
    /// Decides a login in its token's account and, if it is allowed, admits it under `id`, all under one lock.
    pub fn admit(
        &self,
        token: &AccessToken,
        question: &Question<'_>,
        id: SessionId,
        now: Timestamp,
        trail: &mut impl Trail,
    ) -> Decision {
        let mut shard = self.shard(token.id);
        // A token that was never used has no account yet, and gets one only when somebody is let in.
        let mut fresh = None;
        let account = match shard.get_mut(&token.id) {
            Some(account) => account,
            None => fresh.insert(Account::default()),
        };
        settle(account, question.policy, now);
        let decision = decide(token, account, question, now, trail);
        if let Decision::Allow(grant) = &decision {
            for session in &grant.displaces {
                account.apply(&Event::Displaced { session: *session });
            }
            let session = grant.session(id, token, question, now);
            self.index(&session, token.id);
            account.apply(&Event::Admitted(session));
            if let Some(fresh) = fresh {
                shard.insert(token.id, fresh);
            }
            drop(shard);
            if let Some(device) = question.login.device {
                self.remember(device, token);
            }
        }
        decision
    }

    /// Takes in a session that nobody knew.
    pub fn find(&self, token: &AccessToken, session: Session) {
        self.index(&session, token.id);
        let mut shard = self.shard(token.id);
        shard.entry(token.id).or_default().apply(&Event::Admitted(session));
    }

    /// Takes in what a router says of a session; false if the session is not known.
    pub fn report(&self, question: &Question<'_>, progress: &Progress) -> bool {
        let named = || {
            let name = question.login.nas_session?;
            self.named.get(&(question.nas.name.clone(), name.into()))
        };
        // Our own name for it, else the router's.
        let known = [progress.session, named()].into_iter().flatten();
        known.into_iter().any(|id| {
            let Some(token) = self.sessions.get(&id) else { return false };
            let mut shard = self.shard(token);
            let Some(account) = shard.get_mut(&token) else { return false };
            let ended = account.ended().iter().map(|ended| &ended.session);
            let Some(session) = account.sessions().iter().chain(ended).find(|session| session.id == id) else {
                return false;
            };
            if session.device != question.login.device {
                return false;
            }
            let report = progress.report;
            account.apply(&match progress.news {
                News::Start | News::Interim => Event::Progressed { session: id, report },
                News::Stop => Event::Stopped { session: id, report },
            });
            true
        })
    }

    /// Closes the sessions of the router at `address`, as far as was reported; how many there were.
    pub fn restarted(&self, nas: &NasName, address: IpAddr, policy: &Policy, now: Timestamp) -> usize {
        let mut closed = 0;
        for shard in &self.shards {
            for account in lock(shard).values_mut() {
                settle(account, policy, now);
                for event in account.router_restarted(nas, address, now) {
                    account.apply(&event);
                    closed += 1;
                }
            }
        }
        closed
    }

    fn index(&self, session: &Session, token: TokenId) {
        self.sessions.insert(session.id, token);
        if let Some(name) = &session.nas_session {
            self.named.insert((session.nas.clone(), name.clone()), session.id);
        }
    }

    /// Decides a login without admitting it.
    pub fn judge(
        &self,
        token: &AccessToken,
        question: &Question<'_>,
        now: Timestamp,
        trail: &mut impl Trail,
    ) -> Decision {
        let mut account = self.shard(token.id).get(&token.id).cloned().unwrap_or_default();
        settle(&mut account, question.policy, now);
        decide(token, &account, question, now, trail)
    }

    /// When the token was last used.
    #[must_use]
    pub fn last_used(&self, token: TokenId) -> Option<Timestamp> {
        self.shard(token).get(&token).and_then(Account::last_used)
    }

    /// The codes a device logged in with, latest first.
    #[must_use]
    pub fn remembered(&self, device: Mac) -> Arc<[Remembered]> {
        self.devices.get(&device).unwrap_or_default()
    }

    /// Closes what lapsed, and counts the live sessions of each NAS.
    pub fn sweep(&self, policy: &Policy, now: Timestamp) -> HashMap<NasName, usize> {
        let mut live = HashMap::new();
        for shard in &self.shards {
            for account in lock(shard).values_mut() {
                settle(account, policy, now);
                for session in account.sessions() {
                    *live.entry(session.nas.clone()).or_insert(0) += 1;
                }
            }
        }
        live
    }

    /// Every live session with its token, those of one token oldest first.
    #[must_use]
    pub fn sessions(&self) -> Vec<(TokenId, Session)> {
        let mut sessions = Vec::new();
        for shard in &self.shards {
            for (token, account) in lock(shard).iter() {
                sessions.extend(account.sessions().iter().map(|session| (*token, session.clone())));
            }
        }
        sessions
    }

    /// One session, live or ended (then with what it counts for).
    #[must_use]
    pub fn session(&self, id: SessionId) -> Option<(TokenId, Session, Option<Seconds>)> {
        let token = self.sessions.get(&id)?;
        let shard = self.shard(token);
        let account = shard.get(&token)?;
        let live = account.sessions().iter().find(|session| session.id == id).map(|session| (session, None));
        let (session, counts) = live.or_else(|| {
            let ended = account.ended().iter().find(|ended| ended.session.id == id)?;
            Some((&ended.session, Some(ended.counts)))
        })?;
        Some((token, session.clone(), counts))
    }

    fn remember(&self, device: Mac, token: &AccessToken) {
        let known = self.remembered(device);
        if known.first().is_some_and(|latest| latest.token == token.id && latest.code == token.code) {
            return;
        }
        let latest = Remembered { token: token.id, code: token.code.clone() };
        let others = known.iter().filter(|other| other.token != token.id).take(MAX_TOKENS_OF_A_DEVICE - 1).cloned();
        self.devices.insert(device, std::iter::once(latest).chain(others).collect());
    }

    fn shard(&self, token: TokenId) -> MutexGuard<'_, HashMap<TokenId, Account>> {
        let position = usize::try_from(token.0.unsigned_abs()).unwrap_or_default() % SHARDS;
        #[expect(clippy::indexing_slicing, reason = "the remainder is below the number of shards")]
        lock(&self.shards[position])
    }
}

fn settle(account: &mut Account, policy: &Policy, now: Timestamp) {
    for event in account.due(policy, now) {
        account.apply(&event);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
