//! The accounts, in memory and sharded by token: one lock for each shard, held only while one token is decided, so that of
//! two logins racing for the last place exactly one gets it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use moka::sync::Cache;

use crate::core::account::{Account, Event, Session};
use crate::core::decide::{Decision, Question, Trail, decide};
use crate::core::ident::{Code, Mac, NasName, SessionId, TokenId};
use crate::core::policy::Policy;
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
            account.apply(&Event::Admitted(grant.session(id, question, now)));
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

    /// The live sessions of a token, oldest first.
    #[must_use]
    pub fn sessions(&self, token: TokenId) -> Vec<Session> {
        self.shard(token).get(&token).map(|account| account.sessions().to_vec()).unwrap_or_default()
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
