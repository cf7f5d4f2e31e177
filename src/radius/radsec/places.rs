//! How many connections there may be: whoever opens them without being known keeps no router out for long.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    /// Of one address. Many routers behind one that translates addresses are as many as this.
    pub(super) of_an_address: usize,
    /// Of peers that are not known yet.
    pub(super) unknown: usize,
    /// Of routers.
    pub(super) known: usize,
}

/// What is there of them.
#[derive(Debug)]
pub(super) struct Places {
    most: Most,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    addresses: HashMap<IpAddr, usize>,
    /// Those in their handshake, the oldest first.
    unknown: VecDeque<(u64, CancellationToken)>,
    known: usize,
    next: u64,
}

/// A connection's place, held until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    address: IpAddr,
    id: u64,
    is_known: bool,
    /// It is to make room for another.
    pub(super) cut: CancellationToken,
}

impl Places {
    pub(super) fn new(most: Most) -> Arc<Self> {
        Arc::new(Self { most, held: Mutex::default() })
    }

    /// A place for a connection from here, which is not known yet. Where there are as many of those as there may be, the oldest
    /// gives its place up. None: the address has as many as it may have.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let mut held = self.held();
        let of_address = held.addresses.get(&address).copied().unwrap_or_default();
        if of_address >= self.most.of_an_address {
            return None;
        }
        held.addresses.insert(address, of_address + 1);
        if held.unknown.len() >= self.most.unknown
            && let Some((_, oldest)) = held.unknown.pop_front()
        {
            oldest.cancel();
        }
        let (id, cut) = (held.next, CancellationToken::new());
        held.next += 1;
        held.unknown.push_back((id, cut.clone()));
        drop(held);
        Some(Place { places: Arc::clone(self), address, id, is_known: false, cut })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The peer is a router of ours; whether there is room for it.
    pub(super) fn is_known(&mut self) -> bool {
        let mut held = self.places.held();
        held.unknown.retain(|(id, _)| *id != self.id);
        if held.known >= self.places.most.known {
            return false;
        }
        held.known += 1;
        self.is_known = true;
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.held();
        held.unknown.retain(|(id, _)| *id != self.id);
        held.known -= usize::from(self.is_known);
        if let Some(count) = held.addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                held.addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn an_address_has_so_many_places_and_no_more_until_one_is_free() {
        let places = Places::new(Most { of_an_address: 2, unknown: 9, known: 9 });
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        let (one, _two) = (places.enter(address(1)).unwrap(), places.enter(mapped).unwrap());
        assert!(places.enter(address(1)).is_none());
        assert!(places.enter(address(2)).is_some(), "another address has its own");
        drop(one);
        assert!(places.enter(address(1)).is_some());
    }

    #[test]
    fn of_strangers_the_oldest_gives_way_and_routers_never_do() {
        let places = Places::new(Most { of_an_address: 9, unknown: 2, known: 9 });
        let mut router = places.enter(address(1)).unwrap();
        assert!(router.is_known());
        let strangers: Vec<_> = (2..6).map(|last| places.enter(address(last)).unwrap()).collect();
        let cut: Vec<_> = strangers.iter().map(|stranger| stranger.cut.is_cancelled()).collect();
        assert_eq!(cut, [true, true, false, false]);
        assert!(!router.cut.is_cancelled());
    }

    #[test]
    fn there_are_so_many_routers_and_no_more_until_one_leaves() {
        let places = Places::new(Most { of_an_address: 9, unknown: 9, known: 1 });
        let (mut one, mut other) = (places.enter(address(1)).unwrap(), places.enter(address(2)).unwrap());
        assert!(one.is_known() && !other.is_known());
        drop((one, other));
        assert!(places.enter(address(3)).unwrap().is_known());
        let held = places.held();
        assert!(held.addresses.is_empty() && held.unknown.is_empty() && held.known == 0, "nothing is left behind");
    }
}
