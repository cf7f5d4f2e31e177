//! Replaying the journal: one thread reads it, others take in what it says, each for the tokens of its own, so that what
//! happened to one token stays in order.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use jiff::Timestamp;

use super::packed::Packed;
use super::shard::Shards;
use super::written;
use crate::core::ident::TokenId;
use crate::journal::Entry;

/// Octets handed over at once.
const BATCH: usize = 64 << 10;

/// Batches that wait for a thread; beyond, reading waits.
const WAITING: usize = 4;

/// Threads that take in. The number of shards is a multiple, so that no two meet in a shard.
pub(super) fn threads() -> usize {
    match thread::available_parallelism().map_or(1, usize::from) {
        1 => 1,
        2 | 3 => 2,
        _ => 4,
    }
}

/// Puts into shards what `read` finds in a journal; gives its outcome, and how many entries could not be understood.
pub(super) fn replay<R>(shards: &Shards, read: impl FnOnce(&mut dyn FnMut(Entry<'_>)) -> R) -> (R, usize) {
    thread::scope(|scope| {
        let mut lanes = Vec::new();
        let mut takers = Vec::new();
        for _ in 0..threads() {
            let (sender, batches) = sync_channel(WAITING);
            lanes.push(Lane { filling: Batch::default(), sender });
            takers.push(scope.spawn(move || take_in(shards, &batches)));
        }
        let outcome = read(&mut |entry| {
            let (token, kind, payload) = match entry {
                Entry::Row { token, packed, .. } if Packed::is_known(packed) => (token, Kind::Packed, packed),
                Entry::Row { token, payload, .. } => (token, Kind::Account, payload),
                Entry::Record { token, at_ms, payload } => (token, Kind::Event { at_ms }, payload),
            };
            let lane = usize::try_from(token.unsigned_abs()).unwrap_or_default() % lanes.len();
            if let Some(lane) = lanes.get_mut(lane) {
                lane.push(token, kind, payload);
            }
        });
        lanes.into_iter().for_each(Lane::end);
        let unreadable = takers.into_iter().map(|taker| taker.join().unwrap_or_else(|panic| resume_unwind(panic)));
        (outcome, unreadable.sum())
    })
}

/// Entries for one thread: token, kind, and the length of what is written.
#[derive(Default)]
struct Batch {
    entries: Vec<(i64, Kind, usize)>,
    octets: Vec<u8>,
}

enum Kind {
    Packed,
    Account,
    Event { at_ms: i64 },
}

struct Lane {
    filling: Batch,
    sender: SyncSender<Batch>,
}

impl Lane {
    fn push(&mut self, token: i64, kind: Kind, payload: &[u8]) {
        self.filling.entries.push((token, kind, payload.len()));
        self.filling.octets.extend(payload);
        if self.filling.octets.len() >= BATCH {
            self.send();
        }
    }

    fn send(&mut self) {
        // It fails only if the thread panicked, which is found out when it is waited for.
        let _ = self.sender.send(std::mem::take(&mut self.filling));
    }

    fn end(mut self) {
        self.send();
    }
}

fn take_in(shards: &Shards, batches: &Receiver<Batch>) -> usize {
    let mut unreadable = 0;
    for Batch { entries, octets } in batches {
        let mut rest = octets.as_slice();
        for (token, kind, length) in entries {
            let Some((payload, further)) = rest.split_at_checked(length) else { break };
            rest = further;
            let token = TokenId(token);
            let outcome = match kind {
                Kind::Packed => Packed::read(payload)
                    .map(|account| shards.of(token).insert(token, account))
                    .ok_or(written::Unreadable::Value("packed account")),
                Kind::Account => {
                    written::read_account(payload).map(|account| shards.of(token).insert(token, Packed::of(&account)))
                }
                Kind::Event { at_ms } => written::read_event(payload).map(|event| {
                    let at = Timestamp::from_millisecond(at_ms).unwrap_or_default();
                    shards.of(token).replay(token, at, &event);
                }),
            };
            if let Err(error) = outcome {
                tracing::error!(%error, "a record of the ledger cannot be read, and is passed over");
                unreadable += 1;
            }
        }
    }
    unreadable
}
