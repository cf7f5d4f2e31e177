//! How many connections there may be: whoever opens them without being known keeps no router out for long, and no router keeps
//! another out.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::core::ident::NasName;
use crate::radius::clients::Known;

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    /// Of one address, while their peers are not known yet. Guests may share it with their router.
    pub(super) of_an_address: usize,
    /// Of all peers that are not known yet.
    pub(super) unknown: usize,
    /// Of one router: it needs one, and some more while those that it has lost are not given up.
    pub(super) of_a_router: usize,
    /// Of a `[[nas]]` that is a network of routers.
    pub(super) of_a_network: usize,
    /// Of all routers.
    pub(super) known: usize,
}

/// What is there of them.
#[derive(Debug)]
pub(super) struct Places {
    most: Most,
    held: Mutex<Held>,
    /// Counts what routers have said.
    turn: AtomicU64,
}

#[derive(Debug, Default)]
struct Held {
    /// Those in their handshake, the oldest first.
    unknown: VecDeque<Arc<Seat>>,
    known: HashMap<NasName, Vec<Arc<Seat>>>,
}

#[derive(Debug)]
struct Seat {
    address: IpAddr,
    /// The turn in which its peer has spoken last.
    spoke: AtomicU64,
    /// It is to make room for another.
    cut: CancellationToken,
}

/// A connection's place, held until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    seat: Arc<Seat>,
    /// Whose it is, once that is known.
    nas: Option<NasName>,
}

impl Places {
    pub(super) fn new(most: Most) -> Arc<Self> {
        Arc::new(Self { most, held: Mutex::default(), turn: AtomicU64::default() })
    }

    /// A place for a connection from here, which is not known yet. Where there are as many of those as there may be, of this
    /// address or of all, the oldest of them gives its place up.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Place {
        let address = address.to_canonical();
        let mut held = self.held();
        let of_address: Vec<usize> =
            (0..).zip(&held.unknown).filter(|(_, seat)| seat.address == address).map(|(at, _)| at).collect();
        let gives_way = if of_address.len() >= self.most.of_an_address {
            of_address.first().copied()
        } else {
            (held.unknown.len() >= self.most.unknown).then_some(0)
        };
        if let Some(seat) = gives_way.and_then(|at| held.unknown.remove(at)) {
            seat.cut.cancel();
        }
        let seat = Arc::new(Seat { address, spoke: self.next_turn().into(), cut: CancellationToken::new() });
        held.unknown.push_back(Arc::clone(&seat));
        drop(held);
        Place { places: Arc::clone(self), seat, nas: None }
    }

    fn next_turn(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The peer is this router; whether there is room for it. If its `[[nas]]` has as many connections as it may have, that one
    /// of them gives its place up which has been silent for longest.
    pub(super) fn is_known(&mut self, known: &Known) -> bool {
        let most = self.places.most;
        let mut held = self.places.held();
        if self.cut().is_cancelled() {
            // Its place is another's already.
            return false;
        }
        held.unknown.retain(|seat| !Arc::ptr_eq(seat, &self.seat));
        let all: usize = held.known.values().map(Vec::len).sum();
        let nas = known.client.nas.name();
        let of_nas = held.known.get_mut(nas);
        let may_have = if known.is_one() { most.of_a_router } else { most.of_a_network };
        match of_nas.filter(|seats| seats.len() >= may_have) {
            Some(seats) => {
                let silent = seats.iter().enumerate().min_by_key(|(_, seat)| seat.spoke.load(Ordering::Relaxed));
                if let Some((longest, _)) = silent {
                    seats.swap_remove(longest).cut.cancel();
                }
            }
            None if all >= most.known => return false,
            None => {}
        }
        held.known.entry(nas.clone()).or_default().push(Arc::clone(&self.seat));
        drop(held);
        self.nas = Some(nas.clone());
        self.spoke();
        true
    }

    /// The peer has said something.
    pub(super) fn spoke(&self) {
        self.seat.spoke.store(self.places.next_turn(), Ordering::Relaxed);
    }

    /// What is cancelled once it is to make room for another.
    pub(super) fn cut(&self) -> &CancellationToken {
        &self.seat.cut
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.held();
        let Some(nas) = &self.nas else {
            return held.unknown.retain(|seat| !Arc::ptr_eq(seat, &self.seat));
        };
        if let Some(seats) = held.known.get_mut(nas) {
            seats.retain(|seat| !Arc::ptr_eq(seat, &self.seat));
            if seats.is_empty() {
                held.known.remove(nas);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::radius::clients::{Certified, Clients};

    const MOST: Most = Most { of_an_address: 9, unknown: 9, of_a_router: 9, of_a_network: 9, known: 9 };

    const NAS: &str = r#"
[source]
kind = "file"
path = "none.json"
[[nas]]
name = "desk"
address = "192.0.2.1"
secret = "correct horse battery"
[[nas]]
name = "bar"
address = "192.0.2.2"
secret = "correct horse battery"
[[nas]]
name = "rooms"
address = "10.5.0.0/16"
secret = "correct horse battery"
"#;

    struct Nameless;

    impl Certified for Nameless {
        fn dns_names(&self) -> impl Iterator<Item = &str> {
            std::iter::empty()
        }

        fn has_ip(&self, _: IpAddr) -> bool {
            false
        }
    }

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn router(address: IpAddr) -> Known {
        let settings = config::from_str(NAS, "spotgate.toml".as_ref(), &|_| None).unwrap().settings;
        Clients::new(&settings.nas, None).over_tls(&Nameless, address).unwrap()
    }

    fn cut(places: &[Place]) -> Vec<bool> {
        places.iter().map(|place| place.cut().is_cancelled()).collect()
    }

    /// A router's place, if there is room for it.
    fn known(places: &Arc<Places>, address: IpAddr) -> Option<Place> {
        let mut place = places.enter(address);
        place.is_known(&router(address)).then_some(place)
    }

    #[test]
    fn of_the_strangers_of_an_address_the_oldest_gives_way_to_the_next() {
        let places = Places::new(Most { of_an_address: 2, ..MOST });
        let mapped = "::ffff:192.0.2.1".parse().unwrap();
        let from = [address(2), address(1), mapped, address(1), address(2), address(1)];
        let strangers = from.map(|from| places.enter(from));
        assert_eq!(cut(&strangers), [false, true, true, false, false, false]);
    }

    #[test]
    fn who_has_given_way_already_gets_no_place_any_more() {
        let places = Places::new(Most { of_an_address: 1, ..MOST });
        let mut first = places.enter(address(1));
        let _second = places.enter(address(1));
        assert!(!first.is_known(&router(address(1))));
    }

    #[test]
    fn strangers_leave_the_places_of_a_router_at_their_address_alone() {
        let places = Places::new(Most { of_an_address: 1, unknown: 2, ..MOST });
        let routers = [known(&places, address(1)).unwrap(), known(&places, address(1)).unwrap()];
        let strangers = [1, 2, 3, 4].map(|last| places.enter(address(last)));
        assert_eq!(cut(&strangers), [true, true, false, false], "of all of them the oldest");
        assert_eq!(cut(&routers), [false; 2]);
    }

    #[test]
    fn of_a_routers_connections_the_one_silent_for_longest_gives_way_and_others_keep_theirs() {
        let places = Places::new(Most { of_a_router: 2, ..MOST });
        let bar = known(&places, address(2)).unwrap();
        let mut desk: Vec<_> = (0..2).map(|_| known(&places, address(1)).unwrap()).collect();
        desk[0].spoke();
        desk.push(known(&places, address(1)).unwrap());
        assert_eq!(cut(&desk), [false, true, false]);
        desk.push(known(&places, address(1)).unwrap());
        assert_eq!(cut(&desk), [true, true, false, false]);
        assert!(!bar.cut().is_cancelled());
        desk.clear();
        assert_eq!(places.held().known.len(), 1);
    }

    #[test]
    fn a_network_has_the_places_of_many_routers() {
        let places = Places::new(Most { of_a_router: 1, of_a_network: 3, ..MOST });
        let rooms = [1, 2, 3, 1].map(|last| known(&places, [10, 5, 0, last].into()).unwrap());
        assert_eq!(cut(&rooms), [true, false, false, false]);
    }

    #[test]
    fn there_are_so_many_routers_and_no_more_until_one_leaves() {
        let places = Places::new(Most { known: 1, ..MOST });
        let desk = known(&places, address(1));
        assert!(desk.is_some() && known(&places, address(2)).is_none());
        drop(desk);
        assert!(known(&places, address(2)).is_some());
        let held = places.held();
        assert!(held.unknown.is_empty() && held.known.is_empty(), "nothing is left behind");
    }
}
