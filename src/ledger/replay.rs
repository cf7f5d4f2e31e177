//! Replaying the journal: one thread reads it, others take in what it says, each for the tokens of its own, so that what
//! happened to one token stays in order.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::packed::Packed;
use super::shard::Shards;
use super::written;
use crate::core::account::Account;
use crate::core::budget::moment;
use crate::core::ident::TokenId;
use crate::journal::Entry;

/// Octets handed over at once.
const BATCH: usize = 16 << 10;

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
            let (token, kind, octets) = match entry {
                Entry::Row { token, payload, packed } => (token, Kind::Row { packed: packed.len() }, [packed, payload]),
                Entry::Record { token, at_ms, payload } => (token, Kind::Event { at_ms }, [&[], payload]),
            };
            let lane = Shards::place(TokenId(token)) % lanes.len();
            if let Some(lane) = lanes.get_mut(lane) {
                lane.push(token, kind, octets);
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
    /// So many octets are the packed account; the rest is the same as it is written.
    Row {
        packed: usize,
    },
    Event {
        at_ms: i64,
    },
}

struct Lane {
    filling: Batch,
    sender: SyncSender<Batch>,
}

impl Lane {
    fn push(&mut self, token: i64, kind: Kind, parts: [&[u8]; 2]) {
        self.filling.entries.push((token, kind, parts.iter().map(|part| part.len()).sum()));
        // Part by part: octet by octet would take longer than reading them.
        parts.into_iter().for_each(|part| self.filling.octets.extend_from_slice(part));
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

/// Sessions in an account from which on it is not packed after each event.
const LARGE: usize = 8;

fn take_in(shards: &Shards, batches: &Receiver<Batch>) -> usize {
    let mut large: HashMap<TokenId, Account> = HashMap::new();
    let mut unreadable = 0;
    for Batch { entries, octets } in batches {
        let mut rest = octets.as_slice();
        for (token, kind, length) in entries {
            let Some((octets, further)) = rest.split_at_checked(length) else { break };
            rest = further;
            let token = TokenId(token);
            let outcome = match kind {
                Kind::Row { packed } => account(octets, packed).map(|account| shards.of(token).insert(token, account)),
                Kind::Event { at_ms } => written::read_event(octets).map(|event| {
                    let known = large.remove(&token).or_else(|| shards.of(token).account(token));
                    let mut account = known.unwrap_or_default();
                    let _ = account.apply(moment(at_ms), &event);
                    if account.sessions().len() + account.ended().len() > LARGE {
                        large.insert(token, account);
                    } else {
                        shards.of(token).put(token, &account);
                    }
                }),
            };
            if let Err(error) = outcome {
                tracing::error!(%error, "a record of the ledger cannot be read, and is passed over");
                unreadable += 1;
            }
        }
    }
    for (token, account) in large {
        shards.of(token).put(token, &account);
    }
    unreadable
}

/// An account packed or, where it was packed in another way or is damaged so, as it is written.
fn account(octets: &[u8], packed: usize) -> Result<Packed, written::Unreadable> {
    let (packed, written) = octets.split_at_checked(packed).unwrap_or((&[], octets));
    Packed::read(packed).map_or_else(|| Ok(Packed::of(&written::read_account(written)?)), Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: i64 = 7;

    fn account_after(read: impl FnOnce(&mut dyn FnMut(Entry<'_>))) -> Account {
        let shards = Shards::default();
        assert_eq!(replay(&shards, read), ((), 0));
        shards.of(TokenId(TOKEN)).account(TokenId(TOKEN)).unwrap()
    }

    #[test]
    fn a_row_whose_packed_form_cannot_be_read_is_read_as_written() {
        for packed in [&b""[..], b"\x01", b"\xFFanother form"] {
            let payload = br#"{"usage":60}"#;
            let account = account_after(|take| take(Entry::Row { token: TOKEN, payload, packed }));
            assert_eq!(account.usage.0, 60);
        }
    }

    #[test]
    fn an_account_that_grows_large_and_small_again_loses_nothing() {
        let many = 3 * LARGE;
        let account = account_after(|take| {
            let mut happens = |payload: String| {
                take(Entry::Record { token: TOKEN, at_ms: 1_790_000_000_000, payload: payload.as_bytes() });
            };
            for number in 0..many {
                happens(format!(
                    r#"{{"event":"admitted","session":"01KE00000000000000000000{number:02}","mac":"02:00:00:00:00:{number:02}","code":"abc",
                    "contact":{{"nas":"front-desk","can_disconnect":true}},"admitted_at":1790000000000,"granted":3600,
                    "interim":300,"accounting":true}}"#
                ));
            }
            for number in 1..many {
                let stopped = r#""at":1790000060000,"seconds":60,"input_octets":0,"output_octets":0"#;
                happens(format!(r#"{{"event":"stopped","session":"01KE00000000000000000000{number:02}",{stopped}}}"#));
            }
        });
        let (live, used) = (account.sessions().len(), u64::try_from(many - 1).unwrap() * 60);
        assert_eq!((live, account.ended().len(), account.usage.0), (1, many - 1, used));
    }
}
