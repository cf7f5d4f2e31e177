//! What one catalogue has at hand, handed on to the next of the same account: a reload shuts nobody out.

use super::held::Held;
use super::{Catalogue, Copy, Key, Tokens};
use crate::core::ident::{BusinessId, Code, TokenId};
use crate::core::token::AccessToken;
use crate::source::Version;

impl Catalogue {
    /// Takes over what `former`, of the same account, has at hand, as old as it is there: tokens of `ours`, or of every
    /// location where there is none. What was said to be absent is asked for again. It may take long.
    pub fn take_over(&self, former: &Self, ours: &[BusinessId]) {
        let is_ours =
            |token: &AccessToken| ours.is_empty() || token.business.is_some_and(|business| ours.contains(&business));
        let chosen = |tokens: &Tokens| tokens.iter().filter(|token| is_ours(token)).cloned().collect::<Tokens>();
        for (key, copy) in &former.copies {
            let tokens = chosen(&former.as_held(copy.tokens, &Tokens::None));
            if tokens.is_empty() {
                continue;
            }
            // The copy of everything knows no time before this process: what is older stays a single copy.
            let asked = copy.fetched_at.checked_sub(copy.aged).filter(|_| self.mirrored && !former.mirrored);
            if let Some(asked) = asked {
                let versions = tokens.iter().map(|token| Version { token: token.clone(), updated: None });
                let merge = self.merge(&versions.collect::<Vec<_>>(), asked);
                self.note_singly(merge.changed.iter().map(|version| version.token.id));
            }
            self.copies.insert(key.as_ref().clone(), Copy { tokens, ..copy });
        }
        match (former.mirrored, self.mirrored) {
            (true, true) => self.take_over_all(former),
            (true, false) => self.take_over_singly(former, chosen),
            (false, _) => {}
        }
    }

    /// One copy of everything after the other.
    fn take_over_all(&self, former: &Self) {
        if former.tokens() == 0 && !former.is_complete() {
            // It never got so far: a file of before may know more.
            return;
        }
        let locations: Vec<_> = self.read().locations().collect();
        let (mut held, entries) = former.read().outline(locations.into_iter());
        // Logins wait for the former one's lock: nothing is indexed under it.
        held.fill(entries, usize::try_from(self.times.max_tokens).unwrap_or(usize::MAX));
        let unwritten = self.differences(&held);
        let put_back = std::mem::replace(&mut *self.write(), held);
        self.note_singly(unwritten);
        self.changes.note_all();
        drop(put_back);
    }

    /// What stands otherwise, or not at all, in what is here: the file's, which must be told.
    fn differences(&self, held: &Held) -> Vec<TokenId> {
        let here = self.read();
        let other = held.ids().filter(|id| here.version(*id) != held.version(*id));
        let no_more = here.ids().filter(|id| held.get(*id).is_none());
        other.chain(no_more).collect()
    }

    /// Copies of single codes and devices after one of everything.
    fn take_over_singly(&self, former: &Self, chosen: impl Fn(&Tokens) -> Tokens) {
        let (codes, devices) = former.read().groups();
        let of_codes = codes.into_iter().flat_map(|tokens| {
            // Under the code of each record, and as people type it.
            let typed = tokens.iter().map(|token| token.code.clone());
            let folded = tokens.iter().filter_map(|token| Code::parse(&token.code.reveal().to_lowercase()).ok());
            let keys: Vec<_> = typed.chain(folded).map(|code| (Key::Code(code), tokens.clone())).collect();
            keys
        });
        let of_devices = devices.into_iter().map(|(device, tokens)| (Key::Device(device), tokens));
        for (key, tokens) in of_codes.chain(of_devices) {
            let tokens = chosen(&tokens);
            let now = self.clock.now().mono;
            let ages = former.read();
            let aged = tokens.iter().map(|token| ages.age_of_token(token, now)).max();
            drop(ages);
            if let Some(aged) = aged.filter(|aged| *aged <= self.times.stale_for) {
                self.copies.insert(key, Copy { tokens, fetched_at: now, aged });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Find;
    use crate::clock::Clock;
    use crate::config;
    use crate::core::ident::Mac;
    use crate::core::login::Claim;
    use crate::core::token::tests::token;
    use crate::source::{Error, LookUp, Origin};
    use std::sync::Arc;
    use std::time::Duration;

    /// A source that is away.
    struct Away;

    impl Origin for Away {
        fn look_up<'a>(&'a self, _: &'a Claim) -> LookUp<'a> {
            Box::pin(async { Err(Error::Retry { what: "away".to_owned(), after: None }) })
        }
    }

    const HOUR: Duration = Duration::from_secs(3600);
    const DEVICE: Mac = Mac::new([2, 0, 0, 0, 0, 1]);

    fn of_business(id: i64, code: &str, business: i64) -> AccessToken {
        AccessToken { business: Some(BusinessId(business)), devices: [DEVICE].into(), ..token(id, code) }
    }

    fn versions(tokens: Vec<AccessToken>) -> Vec<Version> {
        tokens.into_iter().map(|token| Version { token: Arc::new(token), updated: None }).collect()
    }

    fn catalogue(mirrored: bool, clock: &Clock, room: u64) -> Catalogue {
        let times = config::Cache {
            fresh_for: Duration::from_secs(60),
            stale_for: 24 * HOUR,
            unknown_for: Duration::from_secs(15),
            max_tokens: room,
            first_answer_within: Duration::from_millis(200),
        };
        Catalogue::new(&times, Some(Arc::new(Away)), mirrored, clock.clone())
    }

    fn clock() -> Clock {
        let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
        clock.advance(HOUR);
        clock
    }

    /// Everything of two locations, compared just now.
    fn whole(clock: &Clock) -> Catalogue {
        let former = catalogue(true, clock, 1000);
        former.of_locations([1, 2].map(|business| Some(BusinessId(business))).into_iter());
        former.merge(&versions(vec![of_business(1, "Abc", 1), of_business(2, "def", 2)]), clock.now().mono);
        [1, 2].into_iter().for_each(|business| former.listed(Some(BusinessId(business)), true));
        former
    }

    /// What is said of this code: whether without asking, and which tokens.
    fn said(catalogue: &Catalogue, claim: &Claim) -> (bool, Vec<i64>) {
        let ids = |tokens: &Tokens| {
            let mut ids: Vec<_> = tokens.iter().map(|token| token.id.0).collect();
            ids.sort_unstable();
            ids
        };
        match catalogue.find(claim) {
            Find::Here(tokens) => (true, ids(&tokens)),
            Find::Ask { stale } => (false, stale.as_ref().map(ids).unwrap_or_default()),
            Find::Nothing => panic!("there is a source"),
        }
    }

    fn code(text: &str) -> Claim {
        Claim::Code(Code::parse(text).unwrap())
    }

    #[test]
    fn a_copy_of_everything_goes_on_with_its_age_and_without_locations_that_are_not_ours() {
        let clock = clock();
        let former = whole(&clock);
        former.remove(&[TokenId(9)], clock.now().mono);
        clock.advance(HOUR);
        let next = catalogue(true, &clock, 1000);
        next.of_locations(std::iter::once(Some(BusinessId(1))));
        next.take_over(&former, &[BusinessId(1)]);
        assert_eq!(said(&next, &code("ABC")), (true, vec![1]));
        assert_eq!(said(&next, &code("def")), (false, vec![]), "of another location");
        assert_eq!(said(&next, &Claim::Device(DEVICE)), (true, vec![1]));
        assert_eq!(next.age_of(&code("abc")), Some(HOUR));
        next.merge(&versions(vec![of_business(9, "back", 1)]), HOUR - Duration::from_secs(1));
        assert_eq!(said(&next, &code("back")), (false, vec![]), "gone since");
        clock.advance(24 * HOUR);
        assert_eq!(said(&next, &code("abc")), (false, vec![]), "it is no younger than it was");
    }

    #[test]
    fn some_locations_are_not_all_and_all_are_each() {
        let clock = clock();
        let all = catalogue(true, &clock, 1000);
        all.take_over(&whole(&clock), &[]);
        assert!(!all.is_complete() && said(&all, &code("def")) == (false, vec![2]), "others may be there");
        all.listed(None, true);
        let one = catalogue(true, &clock, 1000);
        one.of_locations(std::iter::once(Some(BusinessId(2))));
        one.take_over(&all, &[BusinessId(2)]);
        assert!(one.is_complete() && said(&one, &code("def")) == (true, vec![2]));
    }

    #[test]
    fn what_the_file_does_not_hold_is_to_be_written_and_what_went_since_taken_out() {
        let clock = clock();
        let next = catalogue(true, &clock, 1000);
        // As the file has it.
        next.merge(&versions(vec![of_business(2, "def", 2), of_business(3, "gone", 1)]), Duration::ZERO);
        next.put_back(None, HOUR);
        next.take_over(&whole(&clock), &[]);
        let (changed, gone) = next.changed_singly();
        assert_eq!(changed.iter().map(|version| version.token.id.0).collect::<Vec<_>>(), [1]);
        assert_eq!(gone, [TokenId(3)]);
    }

    #[test]
    fn a_copy_of_everything_that_was_never_made_hides_no_file() {
        let clock = clock();
        let next = catalogue(true, &clock, 1000);
        next.merge(&versions(vec![of_business(2, "def", 2)]), Duration::ZERO);
        next.put_back(None, HOUR);
        next.take_over(&catalogue(true, &clock, 1000), &[]);
        assert_eq!(said(&next, &code("def")), (true, vec![2]));
    }

    #[test]
    fn no_more_is_taken_over_than_there_is_room_for() {
        let clock = clock();
        let next = catalogue(true, &clock, 1);
        next.take_over(&whole(&clock), &[]);
        assert_eq!((next.tokens(), next.is_complete()), (1, false));
    }

    #[test]
    fn single_copies_go_on_as_old_as_they_are_also_into_a_mirror() {
        let clock = clock();
        let former = catalogue(false, &clock, 1000);
        let tokens = versions(vec![of_business(1, "Abc", 1), of_business(2, "Abc", 2)]);
        former.keep(&Key::of(&code("Abc")), &tokens, clock.now().mono);
        former.keep(&Key::of(&code("none")), &[], clock.now().mono);
        clock.advance(Duration::from_secs(30));
        for mirrored in [false, true] {
            let clock = clock.clone();
            let next = catalogue(mirrored, &clock, 1000);
            next.take_over(&former, &[BusinessId(1)]);
            assert_eq!(said(&next, &code("Abc")), (true, vec![1]), "fresh, and ours");
            assert_eq!(said(&next, &code("none")), (false, vec![]), "it may be ours by now");
            assert_eq!(next.changed_singly().0.len(), usize::from(mirrored), "for the mirror's file");
        }
        clock.advance(Duration::from_secs(31));
        let next = catalogue(false, &clock, 1000);
        next.take_over(&former, &[]);
        assert_eq!(said(&next, &code("Abc")), (false, vec![1, 2]), "stale");
        clock.advance(24 * HOUR);
        assert_eq!(said(&next, &code("Abc")), (false, vec![]), "too old");
    }

    #[test]
    fn without_a_mirror_its_tokens_are_found_by_code_and_device_even_if_they_are_from_before_this_process() {
        let clock = clock();
        let former = catalogue(true, &clock, 1000);
        former.merge(&versions(vec![of_business(1, "Abc", 1), of_business(2, "def", 2)]), Duration::ZERO);
        former.put_back(None, 20 * HOUR);
        let next = catalogue(false, &clock, 1000);
        next.take_over(&former, &[]);
        for typed in ["Abc", "abc"] {
            assert_eq!(said(&next, &code(typed)), (false, vec![1]), "{typed}");
        }
        assert_eq!(said(&next, &Claim::Device(DEVICE)), (false, vec![1, 2]));
        assert_eq!(next.age_of(&code("def")), Some(20 * HOUR));
        let back = catalogue(true, &clock, 1000);
        back.take_over(&next, &[]);
        assert_eq!(said(&back, &code("Abc")), (false, vec![1]));
        clock.advance(5 * HOUR);
        assert_eq!(said(&next, &code("Abc")), (false, vec![]), "too old by now");
        assert_eq!(said(&back, &code("Abc")), (false, vec![]), "a mirror makes it no younger");
        let late = catalogue(false, &clock, 1000);
        late.take_over(&former, &[]);
        assert_eq!(said(&late, &code("Abc")), (false, vec![]), "too old to come along");
    }
}
