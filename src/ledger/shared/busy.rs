//! An account of which the database does not have everything that was done to it here.

use std::collections::{HashMap, VecDeque};
use std::mem;

use super::deed::Deed;
use super::{Rests, Row, Shared};
use crate::core::account::{Account, Ended};
use crate::core::ident::{SessionId, TokenId};
use crate::core::policy::Policy;
use crate::ledger::packed::Packed;
use crate::ledger::{Unwritten, written};

/// An account with something pending.
#[derive(Debug)]
pub(super) struct Busy {
    pub(super) version: u64,
    pub(super) pending: VecDeque<Deed>,
    pub(super) handed_on: Option<HandedOn>,
    /// The account as it was heard to stand while the answer to that was awaited.
    pub(super) news: Option<Row>,
    /// What became of that is not known yet. If not so, it never will be: the same is handed on once more.
    pub(super) is_awaited: bool,
    pub(super) is_queued: bool,
    /// The database does not take what is left, or another daemon is at the account: it is tried again with what happens next, and
    /// now and then.
    pub(super) is_refused: bool,
    /// Sessions of it that have ended, which it may have forgotten though there is news of them.
    pub(super) recalled: HashMap<SessionId, Ended>,
    /// What it is here holds here alone: it is made anew of what is pending before that is handed on.
    pub(super) is_unlearnt: bool,
    /// Something was kept since, which this daemon did to a copy that forgets: the same is done to the account as it stands there, which
    /// forgets nothing before all is done.
    pub(super) is_of_alone: bool,
}

/// What was handed on last.
#[derive(Debug)]
pub(super) struct HandedOn {
    /// How many deeds, from the first on.
    pub(super) deeds: usize,
    /// What the account is with them.
    pub(super) account: Packed,
    pub(super) mark: u64,
    /// As [`Change::becomes`](super::Change::becomes).
    pub(super) becomes: u64,
    /// As [`Change::is_due`](super::Change::is_due): it may come back without saying how the account stands.
    pub(super) is_due: bool,
    /// What the account is here is something else, until the database has this.
    pub(super) is_anew: bool,
}

impl Busy {
    /// The account is `fresh` at `version`: applies what is pending to it anew, but for what rests on the account as it stood.
    pub(super) fn rebase(&mut self, token: TokenId, version: u64, fresh: Account, policy: &Policy) -> Account {
        (self.version, self.handed_on, self.is_unlearnt, self.is_of_alone) = (version, None, false, false);
        let mut account = fresh;
        let mut recalled = if version > 0 { self.recalled.clone() } else { HashMap::new() };
        let (mut names, stood) = (HashMap::new(), account.clone());
        for mut deed in mem::take(&mut self.pending) {
            deed.call_by(&mut names, &account);
            if deed.is_nothing() {
                continue;
            }
            // Just before the news of it: what ends meanwhile would push it out again.
            let of_it: Vec<_> = deed.sessions().filter(|id| recalled.contains_key(id) && !account.knows(*id)).collect();
            for ended in of_it.iter().filter_map(|id| recalled.remove(id)) {
                account.recall(ended);
            }
            // What is said of a session that is not there after all is to be said again.
            let is_of_none = deed.done.is_some() && deed.is_of_none_in(&account);
            if is_of_none && deed.is_late && version == 0 {
                self.pending.push_back(deed);
                continue;
            }
            if is_of_none {
                // Of others it may say something, too.
                deed.says_nothing_of_those_unknown_to(&account);
            }
            if deed.rests != Rests::Names || is_of_none && deed.sessions().next().is_none() {
                let outcome = if deed.is_late { Ok(()) } else { Err(Unwritten::Raced) };
                deed.becomes(outcome);
                continue;
            }
            let says_something = deed.sessions().next().is_some();
            deed.apply_anew(token, &mut account, (version, &stood), policy);
            // The database keeps it, as it is now: the account grows by none of them. One that goes on stays.
            for id in of_it {
                recalled.extend(account.forget(id).map(|ended| (id, ended)));
            }
            // What others know overtook all of it: whoever waits decides anew.
            if says_something && deed.events.is_empty() && deed.done.is_some() {
                deed.becomes(Err(Unwritten::Raced));
                continue;
            }
            self.pending.push_back(deed);
        }
        account.forget_surplus();
        account
    }

    /// As if there were no such account, by which the database is asked how it stands: what can be done to such a one, and how
    /// many deeds that are. The others wait for the answer.
    pub(super) fn asks(&mut self, token: TokenId, policy: &Policy) -> (Account, usize) {
        (self.version, self.handed_on, self.is_unlearnt, self.is_of_alone) = (0, None, false, false);
        let (mut account, mut names) = (Account::default(), HashMap::new());
        let mut left = mem::take(&mut self.pending);
        while let Some(mut deed) = left.pop_front() {
            deed.call_by(&mut names, &account);
            if deed.is_nothing() {
                continue;
            }
            let rests = deed.rests != Rests::Names || deed.is_of_none_in(&account);
            if deed.is_late || deed.done.is_some() && rests {
                left.push_front(deed);
                break;
            }
            deed.apply_anew(token, &mut account, (0, &Account::default()), policy);
            self.pending.push_back(deed);
        }
        account.forget_surplus();
        let deeds = self.pending.len();
        self.pending.append(&mut left);
        (account, deeds)
    }

    /// The sessions of which the first `deeds` speak and that were recalled: the database may have heard more of them since.
    pub(super) fn recalled_by(&self, deeds: usize) -> Vec<SessionId> {
        let said = self.pending.iter().take(deeds).flat_map(Deed::sessions);
        said.filter(|id| self.recalled.contains_key(id)).collect()
    }

    /// Whether what was handed on already builds on that these are over, as they are.
    pub(super) fn builds_on(&self, over: &HashMap<SessionId, Option<Ended>>) -> bool {
        let Some(handed_on) = self.handed_on.as_ref().filter(|handed_on| !handed_on.is_anew) else { return false };
        let account = handed_on.account.unpack();
        let of_them = |deed: &Deed| deed.doubted(&account).any(|id| over.contains_key(&id));
        let said = self.recalled_by(handed_on.deeds);
        !self.pending.iter().take(handed_on.deeds).any(of_them)
            && said.iter().all(|id| over.get(id).is_none_or(|ended| ended.as_ref() == self.recalled.get(id)))
    }

    /// An earlier report of how long a session has run that nobody waits for and that says nothing once this one is known:
    /// while the database is away for hours, there is one of each session. It is pending no more.
    pub(super) fn superseded_by(&mut self, deed: &Deed) -> Option<Deed> {
        let session = deed.progress().filter(|_| deed.is_kept)?;
        let handed_on = self.handed_on.as_ref().map_or(0, |handed_on| handed_on.deeds);
        let is_of_it = |former: &Deed| former.events.iter().any(|event| event.session() == Some(session));
        let position = self.pending.iter().rposition(is_of_it).filter(|position| *position >= handed_on)?;
        let is_such = |former: &&Deed| former.is_kept && deed.says_more_than(former);
        self.pending.get(position).filter(is_such)?;
        self.pending.remove(position)
    }

    /// The version of which nothing needs to be heard any more. What is on its way becomes the next one, or comes back with it.
    pub(super) fn known(&self) -> Option<u64> {
        let says = self.handed_on.as_ref().filter(|handed_on| !handed_on.is_due);
        let asked = says.map_or(self.version, |handed_on| handed_on.becomes);
        Some(self.news.as_ref().map_or(asked, |news| news.version.max(asked)))
    }

    /// The database has taken what was handed on last.
    pub(super) fn taken(&mut self, shared: &Shared) {
        let Some(HandedOn { deeds, becomes, .. }) = self.handed_on.take() else { return };
        self.version = becomes;
        for deed in self.pending.drain(..deeds.min(self.pending.len())) {
            shared.paid(&deed);
            deed.becomes(Ok(()));
        }
    }

    /// As if nothing of the account were known: what is pending is applied to what the database says.
    pub(super) fn unlearn(&mut self) {
        (self.version, self.handed_on, self.is_unlearnt) = (0, None, true);
    }

    /// Nothing of it can be handed on: whoever waits hears so. What was acknowledged stays, for a daemon that can.
    pub(super) fn is_stuck(&mut self) {
        let (kept, waited_for): (VecDeque<_>, VecDeque<_>) =
            mem::take(&mut self.pending).into_iter().partition(|deed| deed.is_kept);
        self.pending = kept;
        waited_for.into_iter().for_each(|deed| deed.becomes(Err(Unwritten::Unreadable)));
    }

    /// Another daemon is at the account, perhaps at the same: how it stands then is heard, or asked for now and then.
    pub(super) fn gives_way(&mut self) {
        let deeds = self.handed_on.as_ref().map_or(0, |handed_on| handed_on.deeds);
        for deed in self.pending.drain(..deeds.min(self.pending.len())) {
            deed.becomes(Err(Unwritten::Raced));
        }
        self.unlearn();
        if self.pending.is_empty() {
            self.pending.push_back(Deed::nothing(None));
            self.is_refused = true;
        }
    }

    /// Whether the account stands as it does by what was handed on last: its answer was lost.
    pub(super) fn is_by(&self, row: Option<&Row>) -> bool {
        let by = row.and_then(|row| written::mark(&row.state));
        by.is_some() && by == self.handed_on.as_ref().map(|handed_on| handed_on.mark)
    }
}
