//! The accounts, in memory and sharded by token: one lock for each shard, held only while one token is decided, so that of
//! two logins racing for the last place exactly one gets it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// Tokens remembered for one device.
const MAX_TOKENS_OF_A_DEVICE: usize = 8;

/// Accounts by token, and the codes that devices logged in with.
#[derive(Debug)]
pub struct Ledger {
    shards: Vec<Mutex<HashMap<TokenId, Account>>>,
    devices: Cache<Mac, Arc<[Remembered]>>,
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
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), devices: Cache::new(MAX_DEVICES) }
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
        let mut shard = self.shard(token.id);
        shard.entry(token.id).or_default().apply(&Event::Admitted(session));
    }

    /// Takes in what a router says of a session of this token; false if the token has no such session.
    ///
    /// The session is found by our own name for it, else by the router's, the latest first, since such names come again
    /// (facts/hotspot.md §1.1); and only if it is the same device's.
    pub fn report(&self, token: TokenId, question: &Question<'_>, progress: &Progress) -> bool {
        let mut shard = self.shard(token);
        let Some(account) = shard.get_mut(&token) else { return false };
        let (nas, name) = (&question.nas.name, question.login.nas_session);
        let ours = progress.session.map(|(id, _)| id);
        let known = || account.sessions().iter().rev().chain(account.ended().iter().rev().map(|ended| &ended.session));
        let named =
            |session: &&Session| session.nas == *nas && name.is_some() && session.nas_session.as_deref() == name;
        let by_id = known().find(|session| Some(session.id) == ours);
        let found = by_id.or_else(|| known().find(named)).filter(|session| session.device == question.login.device);
        let Some(session) = found.map(|session| session.id) else { return false };
        let report = progress.report;
        account.apply(&match progress.news {
            News::Start | News::Interim => Event::Progressed { session, report },
            News::Stop => Event::Stopped { session, report },
        });
        true
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

    /// One session, live or ended (then with what it counts for). It looks through every account.
    #[must_use]
    pub fn session(&self, id: SessionId) -> Option<(TokenId, Session, Option<Seconds>)> {
        self.shards.iter().find_map(|shard| {
            lock(shard).iter().find_map(|(token, account)| {
                let live = account.sessions().iter().find(|session| session.id == id);
                let ended = || account.ended().iter().find(|ended| ended.session.id == id);
                live.map(|session| (*token, session.clone(), None))
                    .or_else(|| ended().map(|ended| (*token, ended.session.clone(), Some(ended.counts))))
            })
        })
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
