//! What becomes of running sessions when their token changes upstream.

use jiff::Timestamp;

use super::{Ledger, Written, seen};
use crate::core::account::Account;
use crate::core::ending::Cause;
use crate::core::event::Event;
use crate::core::ident::{NasName, TokenId};
use crate::core::policy::Policy;
use crate::core::token::AccessToken;

impl Ledger {
    /// Takes in how a token stands upstream; `None`: it is gone. What it gives by now bears on the deadlines of its running
    /// sessions, and on what their routers are told of a longer right; those that it gives nothing any more, being gone or of
    /// a location that their NAS does not serve (`serves`), must go. Where nobody is online it bears on what can be written
    /// back of minutes that are owed.
    pub fn revise(
        &self,
        id: TokenId,
        token: Option<&AccessToken>,
        serves: impl Fn(&NasName, &AccessToken) -> bool,
        policy: &Policy,
        now: Timestamp,
    ) -> Written {
        let mut shard = self.shards.of(id);
        let Some(account) = shard.account(id).filter(|account| is_concerned(account, policy, now)) else {
            return Written::Already;
        };
        let mut events: Vec<Event> = token.and_then(|token| seen(&account, token, policy)).into_iter().collect();
        let goes_on = account.sessions().iter().filter(|session| session.ending.is_none());
        let revoked = goes_on.filter(|session| token.is_none_or(|token| !serves(&session.contact.nas, token)));
        events.extend(revoked.map(|session| Account::order(session, Cause::Revoked, now)));
        self.change(&mut shard, id, account, policy, now, &events)
    }

    /// Every token that [`Ledger::revise`] would do something for.
    #[must_use]
    pub fn concerned(&self, policy: &Policy, now: Timestamp) -> Vec<TokenId> {
        let concerned = |shard: std::sync::MutexGuard<'_, super::shard::Shard>| -> Vec<TokenId> {
            let accounts = shard.accounts().filter(|(_, account)| is_concerned(account, policy, now));
            accounts.map(|(token, _)| token).collect()
        };
        self.shards.each().flat_map(concerned).collect()
    }
}

/// Whether a change of its token means something to an account.
fn is_concerned(account: &Account, policy: &Policy, now: Timestamp) -> bool {
    !account.sessions().is_empty() || account.owed(policy, now) > 0
}
