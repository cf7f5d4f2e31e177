//! A copy of every token there is, or of all that were listed so far: indexed by id, code and device, and changed token by
//! token.

use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashSet};
use jiff::Timestamp;

use super::Tokens;
use crate::core::ident::{BusinessId, Code, CodeKey, Mac, TokenId};
use crate::core::login::Claim;
use crate::core::token::AccessToken;
use crate::source::Version;

/// Tokens that are remembered as unreadable; with more, the copy is not complete.
const UNREADABLE: usize = 10_000;

/// Tokens that are remembered as gone: long enough for their sessions to be ended.
const GONE: usize = 10_000;

/// The copy. Codes are folded here; which case counts is decided later.
#[derive(Default)]
pub(super) struct Held {
    by_id: HashMap<TokenId, Entry>,
    by_code: HashMap<CodeKey, Tokens>,
    by_device: HashMap<Mac, Tokens>,
    /// Tokens that are there and cannot be read.
    unreadable: HashSet<TokenId>,
    /// Tokens that the source has no more, and when it was asked for them (monotonic, in milliseconds): what was asked for
    /// before brings none of them back.
    gone: HashMap<TokenId, u64>,
    /// How far each location that is asked for is held, or all together: one that fails spoils no other.
    extents: Vec<(Option<BusinessId>, Extent)>,
}

/// How far the tokens of a location are held.
#[derive(Clone, Copy, Default)]
struct Extent {
    /// Whether every token there is is held, or was when they were last compared, but for those that cannot be read.
    complete: bool,
    /// Whether that was found out in this process: what a file of before lacks may be new.
    listed: bool,
    /// When they were last compared with the source (monotonic).
    at: Duration,
    /// How old they were then: they may be from before this process.
    aged: Duration,
}

impl Extent {
    fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.at).saturating_add(self.aged)
    }
}

#[derive(Clone)]
pub(super) struct Entry {
    token: Arc<AccessToken>,
    /// `UpdatedOn`, in milliseconds since 1970; the smallest: unknown.
    updated_ms: i64,
    /// When it was asked for (monotonic), in milliseconds.
    asked_ms: u64,
}

/// For how long, in milliseconds, `UpdatedOn` tells which of two versions is the later one: pages are read long after they were
/// asked for.
const LATE_MS: u64 = 600_000;

impl Entry {
    fn new(version: &Version, asked: Duration, latest: Timestamp) -> Self {
        let updated = version.updated.filter(|updated| *updated <= latest);
        Self {
            token: Arc::clone(&version.token),
            updated_ms: updated.map_or(i64::MIN, Timestamp::as_millisecond),
            asked_ms: u64::try_from(asked.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Whether this is an older state than `known`: a page of a list may be read long after it was asked for.
    fn is_older(&self, known: &Self) -> bool {
        let dated = self.updated_ms != i64::MIN && known.updated_ms != i64::MIN;
        // Their servers' clocks differ, and a copy may be put in place of what was there: what is asked for much later is later.
        let is_late = self.asked_ms > known.asked_ms.saturating_add(LATE_MS);
        if dated && !is_late && self.updated_ms != known.updated_ms {
            self.updated_ms < known.updated_ms
        } else {
            self.asked_ms < known.asked_ms
        }
    }
}

/// What became of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Merged {
    /// It says nothing new, or is older than what is known.
    Same,
    /// It is new, or differs from what was known.
    Changed,
    /// There is no room for one more.
    Full,
}

impl Held {
    /// One that holds these and nothing else, read just now.
    pub(super) fn of(tokens: Vec<Arc<AccessToken>>, now: Duration) -> Self {
        let extent = Extent { complete: true, listed: true, at: now, aged: Duration::ZERO };
        let mut held = Self { extents: vec![(None, extent)], ..Self::default() };
        held.by_id.reserve(tokens.len());
        held.by_code.reserve(tokens.len());
        for token in tokens {
            held.index(&token);
            held.by_id.insert(token.id, Entry::new(&Version { token, updated: None }, now, Timestamp::MAX));
        }
        held
    }

    /// How far it holds these locations, without a token yet, and the tokens that it holds.
    pub(super) fn outline(&self, businesses: impl Iterator<Item = Option<BusinessId>>) -> (Self, Vec<Entry>) {
        let extents = businesses.map(|business| (business, self.extent_for(business))).collect();
        let (unreadable, gone) = (self.unreadable.clone(), self.gone.clone());
        (Self { extents, unreadable, gone, ..Self::default() }, self.by_id.values().cloned().collect())
    }

    /// How far this location is held, where others may have been asked for.
    fn extent_for(&self, business: Option<BusinessId>) -> Extent {
        let of = |wanted| self.extents.iter().find(|(of, _)| *of == wanted).map(|(_, extent)| *extent);
        // A part of all is held as all is; all are not held because some are, and are as old as the oldest of these.
        of(business).or_else(|| of(None)).unwrap_or_else(|| {
            let oldest = self.extents.iter().max_by_key(|(_, extent)| (extent.aged, std::cmp::Reverse(extent.at)));
            let oldest = oldest.filter(|_| business.is_none()).map(|(_, extent)| *extent);
            oldest.map_or_else(Extent::default, |extent| Extent { complete: false, listed: false, ..extent })
        })
    }

    /// Takes these in, as far as they are of its locations and there is room.
    pub(super) fn fill(&mut self, entries: Vec<Entry>, room: usize) {
        for entry in entries {
            let of = |(business, _): &&mut (Option<BusinessId>, Extent)| {
                business.is_none() || *business == entry.token.business
            };
            let Some((_, extent)) = self.extents.iter_mut().find(of) else { continue };
            if self.by_id.len() >= room {
                extent.complete = false;
                continue;
            }
            self.index(&entry.token);
            self.by_id.insert(entry.token.id, entry);
        }
    }

    /// The locations that are asked for.
    pub(super) fn locations(&self) -> impl Iterator<Item = Option<BusinessId>> {
        self.extents.iter().map(|(business, _)| *business)
    }

    /// Every token.
    pub(super) fn ids(&self) -> impl Iterator<Item = TokenId> {
        self.by_id.keys().copied()
    }

    /// The tokens of each code, and of each device.
    pub(super) fn groups(&self) -> (Vec<Tokens>, Vec<(Mac, Tokens)>) {
        let devices = self.by_device.iter().map(|(device, tokens)| (*device, tokens.clone()));
        (self.by_code.values().cloned().collect(), devices.collect())
    }

    pub(super) fn find(&self, claim: &Claim) -> Option<&Tokens> {
        match claim {
            Claim::Code(code) => self.by_code.get(&code.key()),
            Claim::Device(mac) => self.by_device.get(mac),
        }
    }

    pub(super) fn codes(&self) -> impl Iterator<Item = &Code> {
        self.by_id.values().map(|entry| &entry.token.code)
    }

    pub(super) fn get(&self, id: TokenId) -> Option<&Arc<AccessToken>> {
        self.by_id.get(&id).map(|entry| &entry.token)
    }

    pub(super) fn updated(&self, id: TokenId) -> Option<Timestamp> {
        let entry = self.by_id.get(&id).filter(|entry| entry.updated_ms != i64::MIN)?;
        Timestamp::from_millisecond(entry.updated_ms).ok()
    }

    /// When it was asked for last (monotonic).
    pub(super) fn asked(&self, id: TokenId) -> Option<Duration> {
        self.by_id.get(&id).map(|entry| Duration::from_millis(entry.asked_ms))
    }

    pub(super) fn version(&self, id: TokenId) -> Option<Version> {
        let token = Arc::clone(self.get(id)?);
        Some(Version { token, updated: self.updated(id) })
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// These locations are asked for, and nothing is known of them yet.
    pub(super) fn of_locations(&mut self, businesses: impl Iterator<Item = Option<BusinessId>>) {
        self.extents = businesses.map(|business| (business, Extent::default())).collect();
    }

    /// Whether every token of every location is held.
    pub(super) fn is_complete(&self) -> bool {
        !self.extents.is_empty() && self.extents.iter().all(|(_, extent)| extent.complete)
    }

    /// Whether every token of this location is held.
    pub(super) fn is_whole(&self, business: Option<BusinessId>) -> bool {
        self.extents.iter().any(|(of, extent)| *of == business && extent.complete)
    }

    /// How long ago the location was compared that was so least lately.
    pub(super) fn age(&self, now: Duration) -> Duration {
        self.extents.iter().map(|(_, extent)| extent.age(now)).max().unwrap_or(now)
    }

    /// The location that this token is asked for with.
    fn extent(&self, token: &AccessToken) -> Option<&Extent> {
        let of = |(business, _): &&(Option<BusinessId>, Extent)| business.is_none() || *business == token.business;
        self.extents.iter().find(of).map(|(_, extent)| extent)
    }

    fn extent_mut(&mut self, business: Option<BusinessId>) -> Option<&mut Extent> {
        self.extents.iter_mut().find(|(of, _)| *of == business).map(|(_, extent)| extent)
    }

    /// Whether every token of this one's location is held.
    pub(super) fn covers(&self, token: &AccessToken) -> bool {
        self.extent(token).is_some_and(|extent| extent.complete)
    }

    /// How long ago this token's location was compared.
    pub(super) fn age_of_location(&self, token: &AccessToken, now: Duration) -> Duration {
        self.extent(token).map_or(now, |extent| extent.age(now))
    }

    /// How long ago the source last said what this token is: by its location, or by itself.
    pub(super) fn age_of_token(&self, token: &AccessToken, now: Duration) -> Duration {
        let asked = self.by_id.get(&token.id).map(|entry| entry.asked_ms).filter(|asked| *asked > 0);
        let by_itself = asked.map(|asked| now.saturating_sub(Duration::from_millis(asked)));
        let by_location = self.age_of_location(token, now);
        by_itself.map_or(by_location, |by_itself| by_itself.min(by_location))
    }

    fn is_complete_no_more(&mut self) {
        self.extents.iter_mut().for_each(|(_, extent)| extent.complete = false);
    }

    /// How long ago the source last said what this claim's tokens are.
    pub(super) fn age_of(&self, claim: &Claim, now: Duration) -> Option<Duration> {
        let asked = |token: &Arc<AccessToken>| self.by_id.get(&token.id).map_or(0, |entry| entry.asked_ms);
        let tokens = self.find(claim)?;
        let latest = tokens.iter().map(asked).max().filter(|asked| *asked > 0);
        let singly = latest.map(|asked| now.saturating_sub(Duration::from_millis(asked)));
        let compared = tokens.iter().map(|token| self.age_of_location(token, now)).max()?;
        Some(singly.map_or(compared, |singly| singly.min(compared)))
    }

    /// This location was compared with the source at `now`.
    pub(super) fn compared(&mut self, business: Option<BusinessId>, now: Duration) {
        if let Some(extent) = self.extent_mut(business) {
            (extent.at, extent.aged) = (now, Duration::ZERO);
        }
    }

    /// Everything of this location was listed; `complete`: and read, and had room.
    pub(super) fn listed(&mut self, business: Option<BusinessId>, complete: bool) {
        if let Some(extent) = self.extent_mut(business) {
            (extent.complete, extent.listed) = (complete, true);
        }
    }

    /// What there is of this location was written down `aged` ago.
    pub(super) fn put_back_in_part(&mut self, business: Option<BusinessId>, now: Duration, aged: Duration) {
        if let Some(extent) = self.extent_mut(business) {
            (extent.at, extent.aged) = (now, aged);
        }
    }

    /// This location is as it was written down, `aged` ago.
    pub(super) fn put_back(&mut self, business: Option<BusinessId>, now: Duration, aged: Duration) {
        if let Some(extent) = self.extent_mut(business) {
            (extent.complete, extent.at, extent.aged) = (true, now, aged);
        }
    }

    /// Tokens of this location, or of all.
    pub(super) fn count(&self, business: Option<BusinessId>) -> usize {
        match business {
            None => self.by_id.len(),
            some => self.by_id.values().filter(|entry| entry.token.business == some).count(),
        }
    }

    /// Takes one version in that was asked for at `asked`, unless a newer one is known; at most `room` tokens are held. An
    /// `UpdatedOn` after `latest` says nothing.
    pub(super) fn merge(&mut self, version: &Version, asked: Duration, latest: Timestamp, room: usize) -> Merged {
        let token = &version.token;
        let entry = Entry::new(version, asked, latest);
        if self.gone.get(&token.id).is_some_and(|gone| entry.asked_ms < *gone) {
            return Merged::Same;
        }
        self.gone.remove(&token.id);
        let full = self.by_id.len() >= room;
        match self.by_id.get_mut(&token.id) {
            Some(known) if entry.is_older(known) => return Merged::Same,
            Some(known) if *known.token == **token => {
                let dated = known.updated_ms != entry.updated_ms;
                (known.updated_ms, known.asked_ms) = (entry.updated_ms, entry.asked_ms);
                return if dated { Merged::Changed } else { Merged::Same };
            }
            Some(_) => self.unindex(token.id),
            None if full => {
                let of = |(business, _): &&mut (Option<BusinessId>, Extent)| {
                    business.is_none() || *business == token.business
                };
                self.extents.iter_mut().filter(of).for_each(|(_, extent)| extent.complete = false);
                return Merged::Full;
            }
            None => {}
        }
        self.index(token);
        self.unreadable.remove(&token.id);
        self.by_id.insert(token.id, entry);
        Merged::Changed
    }

    /// A token is there and cannot be read. Its former version stays; without one nobody can say that it is gone.
    pub(super) fn is_unreadable(&mut self, id: TokenId) {
        if !self.by_id.contains_key(&id) {
            self.gone.remove(&id);
            if self.unreadable.len() < UNREADABLE {
                self.unreadable.insert(id);
            } else {
                self.is_complete_no_more();
            }
        }
    }

    /// Whether it is there and cannot be read.
    pub(super) fn knows_unreadable(&self, id: TokenId) -> bool {
        self.unreadable.contains(&id)
    }

    /// Whether the source surely has no such token.
    pub(super) fn lacks(&self, id: TokenId) -> bool {
        let listed = self.extents.iter().all(|(_, extent)| extent.listed);
        let lacks_all = self.is_complete() && listed && !self.unreadable.contains(&id);
        !self.by_id.contains_key(&id) && (lacks_all || self.gone.contains_key(&id))
    }

    /// Forgets those that went before, should so many more be too many to remember; those that go together are remembered together.
    pub(super) fn make_room_for_gone(&mut self, more: usize) {
        if self.gone.len() + more > GONE {
            self.gone.clear();
        }
    }

    /// Takes out a token that is gone, unless it was heard of since `asked`; whether it did.
    pub(super) fn remove(&mut self, id: TokenId, asked: Duration) -> bool {
        let asked_ms = u64::try_from(asked.as_millis()).unwrap_or(u64::MAX);
        if self.by_id.get(&id).is_some_and(|entry| entry.asked_ms > asked_ms) {
            return false;
        }
        self.gone.insert(id, asked_ms);
        self.unreadable.remove(&id);
        self.unindex(id);
        self.by_id.remove(&id).is_some()
    }

    /// Every token that was last asked for before `asked`.
    pub(super) fn older(&self, asked: Duration) -> impl Iterator<Item = &Arc<AccessToken>> {
        let asked_ms = u64::try_from(asked.as_millis()).unwrap_or(u64::MAX);
        self.by_id.values().filter(move |entry| entry.asked_ms < asked_ms).map(|entry| &entry.token)
    }

    fn index(&mut self, token: &Arc<AccessToken>) {
        for device in &token.devices {
            self.by_device.entry(*device).or_default().push(Arc::clone(token));
        }
        self.by_code.entry(token.code.key()).or_default().push(Arc::clone(token));
    }

    fn unindex(&mut self, id: TokenId) {
        let Some(Entry { token, .. }) = self.by_id.get(&id) else { return };
        for device in &token.devices {
            if let Some(tokens) = self.by_device.get_mut(device) {
                tokens.take(id);
                if tokens.is_empty() {
                    self.by_device.remove(device);
                }
            }
        }
        let key = token.code.key();
        if let Some(tokens) = self.by_code.get_mut(&key) {
            tokens.take(id);
            if tokens.is_empty() {
                self.by_code.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::token::tests::token;
    use proptest::prelude::*;

    const ROOM: usize = 1000;
    const LATEST: Timestamp = Timestamp::MAX;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn version(id: i64, code: &str, updated: Option<i64>) -> Version {
        let updated = updated.map(|second| Timestamp::from_second(second).unwrap());
        Version { token: Arc::new(token(id, code)), updated }
    }

    fn by_code(held: &Held, code: &str) -> Vec<i64> {
        let found = held.find(&Claim::Code(Code::parse(code).unwrap()));
        found.map(|tokens| tokens.iter().map(|token| token.id.0).collect()).unwrap_or_default()
    }

    #[test]
    fn an_older_version_changes_nothing() {
        let mut held = Held::default();
        assert_eq!(held.merge(&version(1, "new", Some(100)), s(5), LATEST, ROOM), Merged::Changed);
        assert_eq!(held.merge(&version(1, "old", Some(99)), s(9), LATEST, ROOM), Merged::Same, "UpdatedOn tells");
        assert_eq!(
            held.merge(&version(1, "page", Some(100)), s(4), LATEST, ROOM),
            Merged::Same,
            "it was asked for earlier"
        );
        assert_eq!(held.merge(&version(1, "page", None), s(4), LATEST, ROOM), Merged::Same);
        assert_eq!(by_code(&held, "new"), [1]);
        assert_eq!(held.merge(&version(1, "next", None), s(6), LATEST, ROOM), Merged::Changed);
        assert_eq!((by_code(&held, "new"), by_code(&held, "NEXT")), (vec![], vec![1]));
    }

    #[test]
    fn who_was_heard_of_since_is_not_taken_out() {
        let mut held = Held::default();
        held.merge(&version(1, "a", None), s(5), LATEST, ROOM);
        assert!(!held.remove(TokenId(1), s(4)));
        assert!(held.remove(TokenId(1), s(5)));
        assert!(!held.remove(TokenId(1), s(5)) && held.len() == 0 && by_code(&held, "a").is_empty());
    }

    #[test]
    fn what_cannot_be_read_or_has_no_room_is_not_gone() {
        let mut held = Held::default();
        held.of_locations(std::iter::once(None));
        held.put_back(None, s(0), Duration::ZERO);
        assert!(held.is_complete() && !held.lacks(TokenId(1)), "it may be newer than what was put back");
        held.listed(None, true);
        assert!(held.lacks(TokenId(1)));
        held.is_unreadable(TokenId(1));
        assert!(!held.lacks(TokenId(1)) && held.lacks(TokenId(2)));
        held.merge(&version(1, "a", None), s(1), LATEST, ROOM);
        held.remove(TokenId(1), s(1));
        assert!(held.lacks(TokenId(1)));
        held.merge(&version(3, "c", None), s(2), LATEST, 0);
        assert!(!held.lacks(TokenId(3)) && !held.is_complete());
    }

    #[test]
    fn no_more_than_there_is_room_for() {
        let mut held = Held::default();
        assert_eq!(held.merge(&version(1, "a", None), s(0), LATEST, 1), Merged::Changed);
        assert_eq!(held.merge(&version(2, "b", None), s(0), LATEST, 1), Merged::Full);
        assert_eq!(held.merge(&version(1, "c", None), s(0), LATEST, 1), Merged::Changed, "a change needs none");
        assert_eq!(held.len(), 1);
    }

    proptest! {
        /// Whatever comes and goes, each index holds exactly the tokens there are.
        #[test]
        fn the_indexes_agree(steps in prop::collection::vec((0i64..6, 0u8..4, 0u8..4, any::<bool>()), 0..60)) {
            let mut held = Held::default();
            let mut real: HashMap<i64, AccessToken> = HashMap::default();
            for (now, (id, code, device, gone)) in (0u64..).zip(steps) {
                if gone {
                    prop_assert_eq!(held.remove(TokenId(id), s(now)), real.remove(&id).is_some());
                    continue;
                }
                let devices = [Mac::new([2, 0, 0, 0, 0, device])].into();
                let token = AccessToken { devices, ..token(id, &format!("c{code}")) };
                real.insert(id, token.clone());
                held.merge(&Version { token: Arc::new(token), updated: None }, s(now), LATEST, ROOM);
            }
            prop_assert_eq!(held.len(), real.len());
            for code in 0u8..4 {
                let code = format!("C{code}");
                let mut found = by_code(&held, &code);
                found.sort_unstable();
                let mut there: Vec<i64> =
                    real.values().filter(|token| token.code.reveal() == code.to_lowercase()).map(|token| token.id.0).collect();
                there.sort_unstable();
                prop_assert_eq!(found, there);
            }
            for device in 0u8..4 {
                let device = Mac::new([2, 0, 0, 0, 0, device]);
                let found = held.find(&Claim::Device(device)).map_or(0, |tokens| tokens.len());
                prop_assert_eq!(found, real.values().filter(|token| token.devices.contains(&device)).count());
            }
            let codes: usize = held.by_code.values().map(|tokens| tokens.len()).sum();
            prop_assert_eq!(codes, real.len());
        }
    }
}
