//! Requests of the last seconds and what was answered to them, so that a repetition gets the very same answer and is
//! not decided twice (RFC 5080 §2.2.2). Time is passed in.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _};

use super::packet::Packet;

/// Answers whose room is kept for the next.
const SPARE: usize = 256;

/// What makes a request the same request, to be carried along while it is being decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Address and port it came from.
    pub from: SocketAddr,
    /// Its code.
    pub code: u8,
    /// Its identifier.
    pub identifier: u8,
    /// Its Request Authenticator.
    pub authenticator: [u8; 16],
}

impl Identity {
    /// The identity of this packet from that source.
    #[must_use]
    pub fn of(from: SocketAddr, packet: &Packet<'_>) -> Self {
        Self { from, code: packet.code(), identifier: packet.identifier(), authenticator: *packet.authenticator() }
    }

    /// Where its entry is: a source has one request under way for each code and identifier.
    const fn slot(&self) -> Slot {
        (self.from, self.code, self.identifier)
    }
}

type Slot = (SocketAddr, u8, u8);

/// What is known of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen<'a> {
    /// Nothing; it is now noted as in progress.
    New,
    /// It is being decided: say nothing.
    InProgress,
    /// It was answered with these bytes: send them again.
    Answered(&'a [u8]),
}

/// The requests of the last seconds, at most so many.
#[derive(Debug)]
pub struct Recent {
    window: Duration,
    capacity: usize,
    /// Octets that its answers may take up, and those that they do.
    room: usize,
    octets: usize,
    entries: HashMap<Slot, Entry>,
    /// Every entry once, oldest first; besides those, places whose entry has gone or moved on.
    order: VecDeque<Place>,
    /// Room of answers that are kept no more, for the next ones.
    spare: Vec<Vec<u8>>,
    next: u64,
    evicted: u64,
}

#[derive(Debug)]
struct Entry {
    authenticator: [u8; 16],
    /// The number of its place in the order.
    number: u64,
    reply: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Place {
    slot: Slot,
    number: u64,
    since: Duration,
}

impl Recent {
    /// Keeps a request until it is answered or forgotten, and its answer for `window` from then; at most `capacity`
    /// requests (at least one), beyond which the oldest go first.
    #[must_use]
    pub fn new(window: Duration, capacity: usize) -> Self {
        let (capacity, room) = (capacity.max(1), usize::MAX);
        let (entries, order, spare) = (HashMap::new(), VecDeque::new(), Vec::new());
        Self { window, capacity, room, octets: 0, entries, order, spare, next: 0, evicted: 0 }
    }

    /// Keeps at most so many octets of answers, at least the largest one, beyond which the oldest go first.
    #[must_use]
    pub const fn within(mut self, octets: usize) -> Self {
        self.room = octets;
        self
    }

    /// Keeps answers for this long from now on.
    pub const fn keep_for(&mut self, window: Duration) {
        self.window = window;
    }

    /// How long answers are kept.
    #[must_use]
    pub const fn window(&self) -> Duration {
        self.window
    }

    /// Looks the request up, and notes it as in progress if it is new. A request in the place of another (same source,
    /// code and identifier, but another authenticator) takes that place. Only packets that are known to be
    /// authentic may come here, or a forger could push out what is kept. `now` is monotonic.
    pub fn see(&mut self, from: SocketAddr, packet: &Packet<'_>, now: Duration) -> Seen<'_> {
        self.expire(now);
        let identity = Identity::of(from, packet);
        let slot = identity.slot();
        let known = self.entries.get(&slot).is_some_and(|entry| entry.authenticator == identity.authenticator);
        if !known {
            self.remove(&slot);
            self.make_room();
            let number = self.queue(slot, now);
            self.entries.insert(slot, Entry { authenticator: identity.authenticator, number, reply: None });
            return Seen::New;
        }
        match self.entries.get(&slot).and_then(|entry| entry.reply.as_deref()) {
            Some(reply) => Seen::Answered(reply),
            None => Seen::InProgress,
        }
    }

    /// Keeps the answer to a request, for as long as the window lasts from now. False if another request has taken its
    /// place, or it had to make room: then the answer must not be sent, since a repetition may have been decided anew.
    pub fn answered(&mut self, identity: &Identity, reply: &[u8], now: Duration) -> bool {
        self.expire(now);
        let slot = identity.slot();
        if !self.holds(identity) {
            return false;
        }
        let number = self.queue(slot, now);
        if let Some(entry) = self.entries.get_mut(&slot) {
            entry.number = number;
            self.octets += reply.len();
            let kept = match &mut entry.reply {
                Some(former) => {
                    self.octets -= former.len();
                    former
                }
                none => none.insert(self.spare.pop().unwrap_or_default()),
            };
            kept.clear();
            kept.extend_from_slice(reply);
        }
        self.make_room_for_answers(now);
        true
    }

    /// Forgets a request that was not answered after all, so that its repetition is decided anew.
    pub fn forget(&mut self, identity: &Identity) {
        if self.holds(identity) {
            self.remove(&identity.slot());
        }
    }

    /// Forgets a request unless it was answered.
    pub fn forget_undecided(&mut self, identity: &Identity) {
        if self.entries.get(&identity.slot()).is_some_and(|entry| entry.reply.is_none()) {
            self.forget(identity);
        }
    }

    /// Forgets what is over by now, for whoever hears of no request for long; memory that nothing needs is given back.
    pub fn sweep(&mut self, now: Duration) {
        self.expire(now);
        if self.entries.is_empty() {
            (self.entries, self.order, self.spare) = (HashMap::new(), VecDeque::new(), Vec::new());
        }
    }

    /// How many requests are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many requests had to go before their time, since there was no room. Each may have been decided twice.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    fn holds(&self, identity: &Identity) -> bool {
        self.entries.get(&identity.slot()).is_some_and(|entry| entry.authenticator == identity.authenticator)
    }

    fn remove(&mut self, slot: &Slot) {
        let Some(reply) = self.entries.remove(slot).and_then(|entry| entry.reply) else { return };
        self.octets -= reply.len();
        if self.spare.len() < SPARE {
            self.spare.push(reply);
        }
    }

    /// Gives a slot the last place in the order.
    fn queue(&mut self, slot: Slot, now: Duration) -> u64 {
        // Places without an entry are swept out when they outnumber the rest: constant time for each, on average.
        if self.order.len() >= self.capacity.saturating_mul(2) {
            let entries = &self.entries;
            self.order.retain(|place| entries.get(&place.slot).is_some_and(|entry| entry.number == place.number));
        }
        let number = self.next;
        self.next += 1;
        self.order.push_back(Place { slot, number, since: now });
        number
    }

    /// Takes away answers older than the window. A request still in progress stays, however long it takes: else its
    /// repetition would be decided a second time.
    fn expire(&mut self, now: Duration) {
        while let Some(place) = self.order.front() {
            let (slot, entry) = (place.slot, self.entries.get(&place.slot));
            match entry.filter(|entry| entry.number == place.number) {
                Some(_) if now.saturating_sub(place.since) < self.window => return,
                Some(entry) if entry.reply.is_none() => self.requeue(slot, now),
                Some(_) => self.remove(&slot),
                None => {}
            }
            self.order.pop_front();
        }
    }

    fn requeue(&mut self, slot: Slot, now: Duration) {
        let number = self.queue(slot, now);
        if let Some(entry) = self.entries.get_mut(&slot) {
            entry.number = number;
        }
    }

    /// Takes away the oldest answers until the others fit. What is still in progress takes up nothing, and stays.
    fn make_room_for_answers(&mut self, now: Duration) {
        while self.octets > self.room {
            let Some(place) = self.order.pop_front() else { return };
            match self.entries.get(&place.slot).filter(|entry| entry.number == place.number) {
                Some(entry) if entry.reply.is_none() => self.requeue(place.slot, now),
                Some(_) => {
                    self.remove(&place.slot);
                    self.evicted += 1;
                }
                None => {}
            }
        }
    }

    /// Takes away the oldest until one more fits.
    fn make_room(&mut self) {
        while self.entries.len() >= self.capacity {
            let Some(place) = self.order.pop_front() else { return };
            if self.entries.get(&place.slot).is_some_and(|entry| entry.number == place.number) {
                self.remove(&place.slot);
                self.evicted += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::attribute::code;
    use super::*;
    use proptest::prelude::*;

    const WINDOW: Duration = Duration::from_secs(10);

    /// A packet without attributes.
    fn raw(code: u8, identifier: u8, authenticator: u8) -> [u8; 20] {
        let mut bytes = [authenticator; 20];
        bytes[..4].copy_from_slice(&[code, identifier, 0, 20]);
        bytes
    }

    fn source(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Port, identifier, authenticator.
    type Request = (u16, u8, u8);

    /// A table is a row of steps at literal milliseconds.
    struct Table(Recent);

    impl Table {
        fn new(capacity: usize) -> Self {
            Self(Recent::new(WINDOW, capacity))
        }

        fn sees(&mut self, millis: u64, (port, identifier, authenticator): Request) -> String {
            let bytes = raw(code::ACCESS_REQUEST, identifier, authenticator);
            match self.0.see(source(port), &Packet::parse(&bytes).unwrap(), at(millis)) {
                Seen::New => "new".into(),
                Seen::InProgress => "in progress".into(),
                Seen::Answered(reply) => String::from_utf8(reply.into()).unwrap(),
            }
        }

        fn answers(&mut self, millis: u64, request: Request, reply: &str) -> bool {
            self.0.answered(&identity(request), reply.as_bytes(), at(millis))
        }
    }

    fn identity((port, identifier, authenticator): Request) -> Identity {
        let bytes = raw(code::ACCESS_REQUEST, identifier, authenticator);
        Identity::of(source(port), &Packet::parse(&bytes).unwrap())
    }

    #[test]
    fn another_window_holds_from_now_on() {
        let mut table = Table::new(8);
        table.sees(0, (1, 7, 1));
        table.answers(0, (1, 7, 1), "yes");
        table.0.keep_for(at(1000));
        assert_eq!(table.sees(1001, (1, 7, 1)), "new");
    }

    #[test]
    fn of_what_is_given_up_only_the_undecided_is_forgotten() {
        let mut table = Table::new(8);
        for request in [(1, 7, 1), (1, 8, 1)] {
            table.sees(0, request);
        }
        table.answers(0, (1, 7, 1), "yes");
        for request in [(1, 7, 1), (1, 8, 1)] {
            table.0.forget_undecided(&identity(request));
        }
        assert_eq!((table.sees(1, (1, 7, 1)), table.sees(1, (1, 8, 1))), ("yes".into(), "new".into()));
        assert!(!table.0.is_empty() && Table::new(8).0.is_empty());
    }

    #[test]
    fn what_comes_and_is_forgotten_for_ever_takes_no_more_room() {
        let mut table = Table::new(8);
        for turn in 0..1000 {
            let request = (1, u8::try_from(turn % 256).unwrap(), 1);
            table.sees(turn, request);
            table.answers(turn, request, "yes");
            table.0.forget(&identity(request));
        }
        assert!(table.0.is_empty() && table.0.order.len() <= 17, "{}", table.0.order.len());
        assert_eq!(table.0.spare.len(), 1, "one buffer goes round");
        let mut table = Table::new(2 * SPARE);
        let all = (0..2 * u16::try_from(SPARE).unwrap()).map(|port| (port, 1, 1));
        for request in all.clone() {
            table.sees(0, request);
            table.answers(0, request, "yes");
        }
        all.for_each(|request| table.0.forget(&identity(request)));
        assert_eq!(table.0.spare.len(), SPARE);
    }

    #[test]
    fn a_repetition_waits_and_then_gets_the_same_bytes() {
        let mut table = Table::new(8);
        assert_eq!(table.sees(0, (1, 7, 1)), "new");
        assert_eq!(table.sees(1000, (1, 7, 1)), "in progress");
        assert!(table.answers(1500, (1, 7, 1), "yes"));
        assert_eq!(table.sees(2000, (1, 7, 1)), "yes");
        assert_eq!(table.sees(2100, (1, 7, 1)), "yes");
    }

    #[test]
    fn source_port_and_identifier_tell_requests_apart() {
        let mut table = Table::new(8);
        for request in [(1, 7, 1), (2, 7, 1), (1, 8, 1)] {
            assert_eq!(table.sees(0, request), "new");
        }
        let bytes = raw(code::STATUS_SERVER, 7, 1);
        assert_eq!(table.0.see(source(1), &Packet::parse(&bytes).unwrap(), at(0)), Seen::New);
        assert_eq!(table.0.len(), 4);
        assert!(!table.0.is_empty());
        assert_eq!(table.sees(0, (1, 7, 1)), "in progress");
    }

    #[test]
    fn the_window_ends_answers_but_not_what_is_in_progress() {
        let mut table = Table::new(8);
        assert_eq!(table.sees(0, (1, 1, 1)), "new");
        assert_eq!(table.sees(0, (1, 2, 1)), "new");
        assert!(table.answers(4000, (1, 1, 1), "yes"));
        assert_eq!(table.sees(9_999, (1, 2, 1)), "in progress");
        assert_eq!(table.sees(10_000, (1, 2, 1)), "in progress");
        assert_eq!(table.sees(13_999, (1, 1, 1)), "yes", "an answer is kept from when it was given");
        assert_eq!(table.sees(14_000, (1, 1, 1)), "new");
        assert!(table.answers(60_000, (1, 1, 1), "late"), "it was in progress all the while");
        assert!(table.answers(60_000, (1, 2, 1), "late too"));
        assert_eq!(table.sees(70_000, (1, 3, 1)), "new");
        assert_eq!(table.0.len(), 1);
        assert_eq!(table.0.evicted(), 0);
    }

    #[test]
    fn another_authenticator_replaces_and_late_answers_do_not() {
        let mut table = Table::new(8);
        assert_eq!(table.sees(0, (1, 7, 1)), "new");
        assert_eq!(table.sees(100, (1, 7, 2)), "new");
        assert!(!table.answers(200, (1, 7, 1), "old"));
        assert_eq!(table.sees(300, (1, 7, 2)), "in progress");
        table.0.forget(&identity((1, 7, 1)));
        assert_eq!(table.sees(400, (1, 7, 2)), "in progress");
        assert!(table.answers(500, (1, 7, 2), "newer"));
        assert!(!table.answers(600, (1, 7, 1), "old"));
        assert_eq!(table.sees(700, (1, 7, 2)), "newer");
        assert_eq!(table.0.len(), 1);
        // the replaced one's place in the order ends nothing but itself
        assert_eq!(table.sees(10_050, (1, 7, 2)), "newer");
    }

    #[test]
    fn what_is_forgotten_is_new_again() {
        let mut table = Table::new(8);
        assert_eq!(table.sees(0, (1, 7, 1)), "new");
        table.0.forget(&identity((1, 7, 1)));
        assert_eq!(table.sees(9_000, (1, 7, 1)), "new");
        assert_eq!(table.sees(11_000, (1, 7, 1)), "in progress");
    }

    #[test]
    fn without_room_the_oldest_goes_and_is_counted() {
        let mut table = Table::new(2);
        assert_eq!(table.sees(0, (1, 1, 1)), "new");
        assert_eq!(table.sees(1, (1, 2, 1)), "new");
        assert!(table.answers(2, (1, 1, 1), "yes"), "answered, and so younger than the second");
        assert_eq!(table.sees(3, (1, 3, 1)), "new");
        assert_eq!((table.0.len(), table.0.evicted()), (2, 1));
        assert!(!table.answers(4, (1, 2, 1), "gone"));
        assert_eq!(table.sees(5, (1, 1, 1)), "yes");
        // a replacement takes its own place and pushes nobody out
        assert_eq!(table.sees(6, (1, 3, 9)), "new");
        assert_eq!((table.sees(7, (1, 1, 1)).as_str(), table.0.evicted()), ("yes", 1));
    }

    #[test]
    fn beyond_so_many_octets_the_oldest_answers_go_and_what_is_in_progress_stays() {
        let mut table = Table(Recent::new(WINDOW, 8).within(7));
        for identifier in 0..4 {
            assert_eq!(table.sees(0, (1, identifier, 1)), "new");
        }
        for identifier in 1..4 {
            assert!(table.answers(u64::from(identifier), (1, identifier, 1), "yes"));
        }
        assert_eq!((table.0.len(), table.0.octets, table.0.evicted()), (3, 6, 1));
        assert_eq!(table.sees(4, (1, 0, 1)), "in progress");
        assert_eq!(table.sees(4, (1, 2, 1)), "yes");
        assert_eq!(table.sees(4, (1, 1, 1)), "new");
    }

    #[test]
    fn without_any_request_a_sweep_ends_what_is_over_and_gives_its_memory_back() {
        let mut table = Table::new(8);
        for identifier in 0..8 {
            assert_eq!(table.sees(0, (1, identifier, 1)), "new");
            assert!(table.answers(0, (1, identifier, 1), "yes"));
        }
        table.0.sweep(at(9_999));
        assert_eq!((table.0.len(), table.0.octets), (8, 24));
        table.0.sweep(at(10_000));
        assert_eq!((table.0.len(), table.0.octets), (0, 0));
        assert_eq!((table.0.entries.capacity(), table.0.order.capacity()), (0, 0));
    }

    #[test]
    fn no_room_at_all_is_room_for_one() {
        let mut table = Table::new(0);
        assert_eq!(table.sees(0, (1, 1, 1)), "new");
        assert_eq!(table.sees(0, (1, 1, 1)), "in progress");
    }

    #[test]
    fn a_clock_that_falls_back_ends_nothing() {
        let mut table = Table::new(2);
        assert_eq!(table.sees(5_000, (1, 1, 1)), "new");
        assert_eq!(table.sees(0, (1, 1, 1)), "in progress");
    }

    proptest! {
        /// Against a plain list that is searched from end to end.
        #[test]
        fn it_behaves_like_a_list(
            capacity in 1usize..6,
            room in 3usize..12,
            steps in proptest::collection::vec((0u64..3000, 0u8..5, 0u8..3, 0u8..4), 0..200),
        ) {
            let mut table = Table(Recent::new(WINDOW, capacity).within(room));
            let mut list: Vec<(Request, u64, Option<String>)> = Vec::new();
            let mut now = 0;
            for (step, (pause, identifier, authenticator, action)) in steps.into_iter().enumerate() {
                now += pause;
                let request = (1, identifier, authenticator);
                // Forgetting looks at no clock.
                while action != 1 && list.first().is_some_and(|(_, since, _)| now - since >= 10_000) {
                    let (one, _, reply) = list.remove(0);
                    if reply.is_none() {
                        list.push((one, now, None));
                    }
                }
                let found = list.iter().position(|(one, ..)| *one == request);
                match (action, found) {
                    (0, _) => {
                        let reply = format!("{step}");
                        prop_assert_eq!(table.answers(now, request, &reply), found.is_some());
                        if let Some(found) = found {
                            list.remove(found);
                            list.push((request, now, Some(reply)));
                        }
                        let octets = |list: &[(Request, u64, Option<String>)]| -> usize {
                            list.iter().flat_map(|(.., reply)| reply).map(String::len).sum()
                        };
                        while octets(&list) > room {
                            let (one, _, reply) = list.remove(0);
                            if reply.is_none() {
                                list.push((one, now, None));
                            }
                        }
                        prop_assert_eq!(table.0.octets, octets(&list));
                    }
                    (1, _) => {
                        table.0.forget(&identity(request));
                        list.retain(|(one, ..)| *one != request);
                    }
                    (_, Some(found)) => {
                        let expected = list[found].2.clone().unwrap_or_else(|| "in progress".into());
                        prop_assert_eq!(table.sees(now, request), expected);
                    }
                    (_, None) => {
                        prop_assert_eq!(table.sees(now, request), "new");
                        list.retain(|((_, one, _), ..)| *one != identifier);
                        if list.len() == capacity {
                            list.remove(0);
                        }
                        list.push((request, now, None));
                    }
                }
                prop_assert!(table.0.order.len() <= 2 * capacity);
            }
        }
    }
}
