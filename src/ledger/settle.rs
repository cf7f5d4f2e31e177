//! Writing minutes back, as far as the accounts go: who owes, what is about to be written, what became of it. Whoever calls
//! the source waits for each to be on disk before it goes on, so that no crash has a minute written twice.
//!
//! ```text
//! owing ─► read ─► resume ─► begin ─► (on disk) ─► write ─► read again ─► Intent::resolve ─► end
//! ```

use jiff::Timestamp;

use super::{Ledger, Rests, Written, seen};
use crate::core::account::Account;
use crate::core::budget::Seconds;
use crate::core::event::Event;
use crate::core::ident::{Code, Mac, TokenId};
use crate::core::policy::Policy;
use crate::core::settle::Intent;
use crate::core::token::AccessToken;

/// What was used of a token, and what of that is written back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The token.
    pub token: TokenId,
    /// The code of its latest admission.
    pub code: Option<Code>,
    /// Time used, written back or not.
    pub used: Seconds,
    /// What of it is not written back, but for what is open.
    pub unwritten: Seconds,
    /// Whole minutes of it that no silence takes back: what would be written now.
    pub unwritten_minutes: u64,
    /// Minutes of which it is open whether they were written: an answer was lost, or waits to be looked for. Booked by hand they
    /// might be booked twice.
    pub open_minutes: u64,
    /// When it was last used.
    pub last_used: Option<Timestamp>,
}

impl Ledger {
    /// The tokens that are to be settled: those of which it is open whether a write arrived, then those that owe whole minutes
    /// and have them, most first; `at_most` so many. It looks through every account.
    #[must_use]
    pub fn owing(&self, policy: &Policy, now: Timestamp, at_most: usize) -> Vec<TokenId> {
        let mut owing: Vec<(u64, TokenId)> = Vec::new();
        for shard in self.shards.each() {
            owing.extend(shard.accounts().filter_map(|(token, account)| {
                let minutes =
                    if account.open_settlement().is_some() { u64::MAX } else { account.writable(policy, now) };
                (minutes > 0).then_some((minutes, token))
            }));
        }
        owing.sort_unstable_by_key(|(minutes, token)| (std::cmp::Reverse(*minutes), *token));
        owing.truncate(at_most);
        owing.into_iter().map(|(_, token)| token).collect()
    }

    /// The first device of each token that ever had one, for `bind_device = "learn"`. It looks through every account.
    #[must_use]
    pub fn first_devices(&self) -> Vec<(TokenId, Mac)> {
        let of = |(token, account): (TokenId, Account)| account.first_device().map(|device| (token, device));
        self.shards.each().flat_map(|shard| shard.accounts().filter_map(of).collect::<Vec<_>>()).collect()
    }

    /// The write of this token that may have been made, or not: before a crash, or with its answer lost.
    #[must_use]
    pub fn open_settlement(&self, token: TokenId) -> Option<Intent> {
        self.shards.of(token).account(token)?.open_settlement()
    }

    /// Opens the settlement of a token that was `read` just now; none if nothing is to be written, or one is open. The write
    /// may be made once the disk has it; if it never does, the settlement is to be ended as not applied.
    pub fn begin_settlement(&self, read: &AccessToken, policy: &Policy, now: Timestamp) -> Option<(Intent, Written)> {
        if !self.leads() {
            return None;
        }
        let mut shard = self.shards.of(read.id);
        let account = self.settled(&mut shard, read.id, policy, now)?;
        let mut then = account.clone();
        let mut events = Vec::with_capacity(3);
        for event in account.arrived_late(read).into_iter().chain(seen(&account, read, policy)) {
            then.apply(now, &event);
            events.push(event);
        }
        let intent = then.settlement(read, policy, now);
        events.extend(intent.map(Event::Settling));
        let written = self.change_as(Rests::Account, &mut shard, read.id, account, policy, now, &events);
        intent.map(|intent| (intent, written))
    }

    /// Ends a settlement: `applied`, or to be tried again. `read` is the token as it was read to find that out, if it was.
    pub fn end_settlement(
        &self,
        token: TokenId,
        intent: &Intent,
        applied: bool,
        read: Option<&AccessToken>,
        policy: &Policy,
        now: Timestamp,
    ) -> Written {
        let mut shard = self.shards.of(token);
        let Some(account) = shard.account(token) else { return Written::Already };
        let mut events = Vec::with_capacity(2);
        if account.open_settlement() == Some(*intent) {
            events.push(if applied { Event::Settled(*intent) } else { Event::Unsettled(*intent) });
        }
        events.extend(read.and_then(|read| seen(&account, read, policy)));
        self.change(&mut shard, token, account, policy, now, &events)
    }

    /// Has the pool of a token start from its minutes again; none if it was never used.
    pub fn forget_usage(&self, token: TokenId, policy: &Policy, now: Timestamp) -> Option<Written> {
        let mut shard = self.shards.of(token);
        let account = self.settled(&mut shard, token, policy, now)?;
        let used = account.certain(policy, now);
        Some(self.change(&mut shard, token, account, policy, now, &[Event::Forgotten { used }]))
    }

    /// What was used of each token that was ever used, in the order of their numbers.
    #[must_use]
    pub fn usage(&self, policy: &Policy, now: Timestamp) -> Vec<Usage> {
        let mut all = Vec::new();
        for shard in self.shards.each() {
            all.extend(shard.accounts().map(|(token, mut account)| {
                super::apply_due(&mut account, policy, now);
                usage_of(token, &account, policy, now)
            }));
        }
        all.sort_unstable_by_key(|usage| usage.token);
        all
    }
}

fn usage_of(token: TokenId, account: &Account, policy: &Policy, now: Timestamp) -> Usage {
    let open = account.open_settlement().map_or(Seconds::ZERO, |intent| intent.lowers_by());
    Usage {
        token,
        code: account.remembered().map(|(code, _)| code.clone()),
        used: account.usage(policy, now),
        unwritten: account.unwritten(policy, now).less(open),
        unwritten_minutes: account.certain(policy, now).less(account.written.plus(open)).minutes(),
        open_minutes: open.minutes(),
        last_used: account.last_used(),
    }
}

#[cfg(test)]
mod tests;
