//! Which tokens a device was let in on: for logins by MAC address, and to find a session that only its device tells of.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard};

use foldhash::HashMap;

use super::lock;
use crate::core::ident::{Mac, TokenId};

/// Devices remembered at most; beyond, any other makes room, and types its code again.
const MAX_DEVICES: usize = 1_000_000;

/// Tokens remembered for one device.
const MAX_TOKENS_OF_A_DEVICE: usize = 8;

const SHARDS: usize = 64;

/// The tokens of each device.
#[derive(Debug)]
pub(super) struct Devices {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Shard {
    latest: HashMap<Mac, TokenId>,
    /// Apart, since nearly every device has but one: those before the latest, latest first.
    earlier: HashMap<Mac, Box<[TokenId]>>,
}

impl Default for Devices {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }
}

impl Devices {
    /// A device was let in on this token.
    pub(super) fn remember(&self, device: Mac, token: TokenId) {
        self.shard(device).remember(device, token);
    }

    /// As [`Devices::remember`], for a device that is not known yet; whether it is not.
    pub(super) fn remember_new(&self, device: Mac, token: TokenId) -> bool {
        let mut shard = self.shard(device);
        let new = !shard.latest.contains_key(&device);
        if new {
            shard.remember(device, token);
        }
        new
    }

    /// The device was not let in on this token, as far as anybody knows.
    pub(super) fn forget(&self, device: Mac, token: TokenId) {
        let Shard { latest, earlier } = &mut *self.shard(device);
        let others: Vec<TokenId> = latest
            .get(&device)
            .into_iter()
            .chain(earlier.get(&device).into_iter().flatten())
            .copied()
            .filter(|known| *known != token)
            .collect();
        match others.split_first() {
            None => {
                latest.remove(&device);
                earlier.remove(&device);
            }
            Some((first, rest)) => {
                latest.insert(device, *first);
                earlier.insert(device, rest.into());
            }
        }
    }

    /// The tokens that this device was let in on, the latest first.
    pub(super) fn of(&self, device: Mac) -> Vec<TokenId> {
        let shard = self.shard(device);
        let earlier = shard.earlier.get(&device).into_iter().flatten();
        shard.latest.get(&device).into_iter().chain(earlier).copied().collect()
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).latest.len()).sum()
    }

    fn shard(&self, device: Mac) -> MutexGuard<'_, Shard> {
        let position = usize::try_from(self.hasher.hash_one(device) >> 32).unwrap_or_default() % SHARDS;
        #[expect(clippy::indexing_slicing, reason = "the remainder is below the number of shards")]
        lock(&self.shards[position])
    }
}

impl Shard {
    fn remember(&mut self, device: Mac, token: TokenId) {
        let Self { latest, earlier } = self;
        if latest.len() >= MAX_DEVICES / SHARDS
            && !latest.contains_key(&device)
            && let Some(other) = latest.keys().next().copied()
        {
            latest.remove(&other);
            earlier.remove(&other);
        }
        let Some(former) = latest.insert(device, token).filter(|former| *former != token) else { return };
        let known = earlier.get(&device).into_iter().flatten().filter(|known| **known != token);
        let known = std::iter::once(&former).chain(known).take(MAX_TOKENS_OF_A_DEVICE - 1).copied().collect();
        earlier.insert(device, known);
    }
}
