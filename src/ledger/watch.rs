//! What happens because time passes: sessions lapse, pools run empty, tokens end, routers are told. The cost is that of
//! what is due; accounts in which nothing is due cost nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::{Ledger, Rests, Written};
use crate::clock::Clock;
use crate::core::budget::Seconds;
use crate::core::ending::Told;
use crate::core::event::Event;
use crate::core::ident::{NasName, SessionId, TokenId};
use crate::core::policy::Policy;
use crate::core::session::Session;
use crate::live::Current;

/// The longest sleep: something may be due earlier than was thought.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// When an account is looked at again in which nothing is due but what another daemon does.
const LOOK_AGAIN: Seconds = Seconds(1);

/// Accounts of one shard looked at in one go: logins wait meanwhile.
const LOOKS_AT_MOST: usize = 1000;

/// Routers told at once; each takes seconds where the router does not answer.
const TOLD_AT_ONCE: usize = 256;

/// Sessions of one router that it is told of at once.
const TOLD_AT_ONCE_OF_A_ROUTER: usize = 16;

/// A router that is to be told to end a session.
#[derive(Debug)]
pub struct Tell {
    /// The session's token.
    pub token: TokenId,
    /// The session as it stands.
    pub session: Session,
    /// Where accounts are shared: that it is this daemon that tells it, this time.
    pub claimed: Written,
}

/// Whether a router can be told of a session now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Yes.
    Free,
    /// Too much is under way to it: a second later.
    Full,
    /// Another daemon has that router.
    Elsewhere,
}

/// Tells a router to end a session, once.
pub trait Teller: Send + Sync + 'static {
    /// What came of it.
    fn tell(&self, session: &Session) -> impl Future<Output = Told> + Send;
}

impl Ledger {
    /// Does what is due at `now`, and gives the routers to be told. A session for which there is no `room` is put off for a
    /// second; nothing else waits for it. Where accounts are shared, every daemon does what is due: all but one find out that
    /// another is at it, or was faster.
    pub fn due(&self, policy: &Policy, now: Timestamp, room: &mut impl FnMut(&Session) -> Room) -> Vec<Tell> {
        let mut tells = Vec::new();
        for mut shard in self.shards.each() {
            for _ in 0..LOOKS_AT_MOST {
                let Some(token) = shard.overdue(now) else { break };
                let Some(account) = shard.account(token) else { break };
                let (mut due, mut told) = (Vec::new(), Vec::new());
                let mut is_elsewhere = false;
                for event in account.due(policy, now) {
                    let Event::Telling { session: id } = event else {
                        due.push(event);
                        continue;
                    };
                    match account.sessions().iter().find(|session| session.id == id).map(&mut *room) {
                        Some(Room::Free) => told.push(id),
                        Some(Room::Full) => due.push(Event::PutOff { session: id }),
                        Some(Room::Elsewhere) | None => is_elsewhere = true,
                    }
                }
                if due.is_empty() && told.is_empty() {
                    if is_elsewhere {
                        shard.look_again(token, LOOK_AGAIN.after(now));
                    } else {
                        shard.reckon(token, policy);
                    }
                    continue;
                }
                let _ = self.change_as(Rests::Time, &mut shard, token, account, policy, now, &due);
                for id in told {
                    let Some(account) = shard.account(token) else { break };
                    let telling = [Event::Telling { session: id }];
                    let claimed = self.change_as(Rests::Time, &mut shard, token, account, policy, now, &telling);
                    let found = shard.find(token, id);
                    tells.extend(found.map(|found| Tell { token, session: found.session, claimed }));
                }
            }
        }
        tells
    }

    /// Takes in what a router answered at `now`; the session, if that was the proof that it is gone.
    pub fn told(&self, token: TokenId, id: SessionId, told: Told, policy: &Policy, now: Timestamp) -> Option<Session> {
        let mut shard = self.shards.of(token);
        let account = shard.account(token)?;
        let event = account.answered(id, told, now)?;
        let gone = matches!(event, Event::Lapsed { .. });
        let session = account.sessions().iter().find(|session| session.id == id).cloned();
        let _ = self.change(&mut shard, token, account, policy, now, &[event]);
        session.filter(|_| gone)
    }

    /// When something is due next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.shards.next_deadline()
    }

    /// Counts the live sessions of each NAS, by name, and the time used that is not written back.
    #[must_use]
    pub fn count(&self, policy: &Policy, now: Timestamp) -> (HashMap<NasName, usize>, Seconds) {
        let (mut live, mut unwritten) = (HashMap::new(), Seconds::ZERO);
        for shard in self.shards.each() {
            for (_, account) in shard.accounts() {
                unwritten = unwritten.plus(account.unwritten(policy, now));
                for session in account.sessions() {
                    *live.entry(session.contact.nas.clone()).or_insert(0) += 1;
                }
            }
        }
        (live, unwritten)
    }
}

/// Watches the ledger for ever: does what is due when it is due, to the second, and tells routers by `teller`.
/// Ends, and tells nobody any more, when it is dropped: after a restart they are told again.
pub async fn watch<T: Teller>(ledger: Arc<Ledger>, live: Current, clock: Clock, teller: Arc<T>) {
    let mut under_way = JoinSet::new();
    // Of each router, so that one that does not answer holds nobody up but its own guests.
    let mut told: HashMap<(NasName, Option<IpAddr>), usize> = HashMap::new();
    loop {
        let now = clock.now().wall;
        while let Some(ended) = under_way.try_join_next() {
            let count = ended.ok().and_then(|router| told.get_mut(&router));
            if let Some(count) = count {
                *count = count.saturating_sub(1);
            }
        }
        if under_way.is_empty() {
            told.clear();
        }
        let mut room = TOLD_AT_ONCE.saturating_sub(under_way.len());
        let (current, is_shared) = (Arc::clone(&live.borrow()), ledger.is_shared());
        let mut has_room = |session: &Session| {
            if is_shared && current.nas(session.contact.nas.as_str()).is_none() {
                return Room::Elsewhere;
            }
            let router = told.entry((session.contact.nas.clone(), session.contact.router)).or_default();
            let has_room = room > 0 && *router < TOLD_AT_ONCE_OF_A_ROUTER;
            *router += usize::from(has_room);
            room -= usize::from(has_room);
            if has_room { Room::Free } else { Room::Full }
        };
        let tells = ledger.due(&current.settings.policy, now, &mut has_room);
        for Tell { token, session, claimed } in tells {
            let (ledger, live, clock, teller) = (Arc::clone(&ledger), live.clone(), clock.clone(), Arc::clone(&teller));
            under_way.spawn(async move {
                // Of a journal it is not asked: nothing of a router being told is kept.
                if !is_shared || claimed.settled().await.is_ok() {
                    let told = teller.tell(&session).await;
                    let policy = live.borrow().settings.policy.clone();
                    ledger.told(token, session.id, told, &policy, clock.now().wall);
                }
                (session.contact.nas, session.contact.router)
            });
        }
        let until = ledger.next_deadline().map_or(LOOK_EVERY, |next| {
            let millis = next.as_millisecond().saturating_sub(clock.now().wall.as_millisecond()).max(0);
            Duration::from_millis(millis.unsigned_abs()).min(LOOK_EVERY)
        });
        // Never spinning, even where nothing can be done about what is due.
        let until = until.max(Duration::from_millis(10));
        tokio::select! {
            () = tokio::time::sleep(until) => {}
            () = ledger.sooner.notified() => {}
        }
    }
}
