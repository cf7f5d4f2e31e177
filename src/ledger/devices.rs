//! Which tokens a device was let in on: for logins by MAC address, and to find a session that only its device tells of.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard};

use super::lock;
use crate::core::ident::{Mac, TokenId};

/// Devices remembered at most; beyond, any other makes room, and types its code again.
const MAX_DEVICES: usize = 1_000_000;

/// Tokens remembered for one device.
const MAX_TOKENS_OF_A_DEVICE: usize = 8;

const SHARDS: usize = 64;

/// The tokens of each device, the latest first.
#[derive(Debug)]
pub(super) struct Devices {
    shards: Vec<Mutex<HashMap<Mac, Tokens>>>,
    hasher: RandomState,
}

/// Nearly every device has one.
#[derive(Debug)]
enum Tokens {
    One(TokenId),
    /// The latest first.
    Several(Box<[TokenId]>),
}

impl Default for Devices {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }
}

impl Devices {
    /// A device was let in on this token.
    pub(super) fn remember(&self, device: Mac, token: TokenId) {
        let mut shard = self.shard(device);
        if let Some(tokens) = shard.get_mut(&device) {
            return tokens.remember(token);
        }
        if shard.len() >= MAX_DEVICES / SHARDS
            && let Some(other) = shard.keys().next().copied()
        {
            shard.remove(&other);
        }
        shard.insert(device, Tokens::One(token));
    }

    /// The tokens that this device was let in on, the latest first.
    pub(super) fn of(&self, device: Mac) -> Vec<TokenId> {
        match self.shard(device).get(&device) {
            None => Vec::new(),
            Some(Tokens::One(token)) => vec![*token],
            Some(Tokens::Several(tokens)) => tokens.to_vec(),
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, device: Mac) -> MutexGuard<'_, HashMap<Mac, Tokens>> {
        let position = usize::try_from(self.hasher.hash_one(device) >> 32).unwrap_or_default() % SHARDS;
        #[expect(clippy::indexing_slicing, reason = "the remainder is below the number of shards")]
        lock(&self.shards[position])
    }
}

impl Tokens {
    fn remember(&mut self, token: TokenId) {
        match self {
            Self::One(known) if *known == token => {}
            Self::One(known) => *self = Self::Several([token, *known].into()),
            Self::Several(tokens) if tokens.first() == Some(&token) => {}
            Self::Several(tokens) => {
                let others = tokens.iter().filter(|known| **known != token).take(MAX_TOKENS_OF_A_DEVICE - 1).copied();
                *tokens = std::iter::once(token).chain(others).collect();
            }
        }
    }
}
