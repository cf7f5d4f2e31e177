//! The ceiling of calls in any minute, kept on our side (facts/nexudus.md §4).
//!
//! A log of the last minute's calls, not a bucket: a bucket that refills (GCRA, as the governor crate has it) lets a
//! burst and a minute's refill through together, almost twice the ceiling in one minute. The log is exact. A call counts
//! until a minute after it *ended*, since it can have reached the server at any moment before that: so the server never
//! sees more either, whatever the network does to the times between.

use std::collections::VecDeque;
use std::time::Duration;

/// How long a call counts after its end.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// Who calls: logins by code before writing back, and that before the mirror. Whoever comes later has the smaller share, and
/// every share holds the smaller ones; each is one call at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Share {
    /// The mirror, and devices without a code: half of the ceiling.
    Half,
    /// Writing back: three quarters, the mirror's half among them.
    Most,
    /// Codes that guests have typed: the whole ceiling.
    Whole,
}

impl Share {
    const ALL: [Self; 3] = [Self::Half, Self::Most, Self::Whole];

    /// Calls in a minute that it and the smaller ones may make.
    fn of(self, per_minute: usize) -> usize {
        match self {
            Self::Half => (per_minute / 2).max(1),
            Self::Most => (per_minute - per_minute / 4).max(1),
            Self::Whole => per_minute,
        }
    }

    /// For a file.
    pub(super) const fn digit(self) -> &'static str {
        match self {
            Self::Half => "0",
            Self::Most => "1",
            Self::Whole => "2",
        }
    }

    /// The share of that digit.
    pub(super) fn of_digit(digit: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|share| share.digit() == digit)
    }
}

/// The calls of the last minute.
#[derive(Debug)]
pub(super) struct Ceiling {
    per_minute: usize,
    calls: VecDeque<Call>,
    next: u64,
}

#[derive(Debug)]
struct Call {
    number: u64,
    share: Share,
    /// From when on it does not count any more; none: it is under way.
    frees: Option<Duration>,
}

/// A call of a former process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Former {
    /// Whose it was.
    pub(super) share: Share,
    /// In how long it does not count any more.
    pub(super) frees_in: Duration,
}

/// A call that was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u64);

impl Ceiling {
    /// At least one call a minute is let through.
    pub(super) fn new(per_minute: u32) -> Self {
        let per_minute = usize::try_from(per_minute).unwrap_or(usize::MAX).max(1);
        Self { per_minute, calls: VecDeque::new(), next: 0 }
    }

    /// Counts calls of a former process, as of `now`.
    pub(super) fn with_former(mut self, former: impl IntoIterator<Item = Former>, now: Duration) -> Self {
        for Former { share, frees_in } in former {
            self.calls.push_back(Call { number: self.next, share, frees: Some(now + frees_in) });
            self.next += 1;
        }
        self
    }

    /// What counts at `now`, for the process after this one; what is under way takes `at_most` longer.
    pub(super) fn counting(&self, now: Duration, at_most: Duration) -> impl Iterator<Item = Former> {
        self.calls.iter().filter_map(move |call| {
            let frees = call.frees.unwrap_or(now + at_most + WINDOW);
            Some(Former { share: call.share, frees_in: frees.checked_sub(now)? })
        })
    }

    /// Changes the ceiling; the calls made count on.
    pub(super) fn allow(&mut self, per_minute: u32) {
        self.per_minute = usize::try_from(per_minute).unwrap_or(usize::MAX).max(1);
    }

    /// Lets a call through at `now`, or says how long to wait before asking again.
    pub(super) fn enter(&mut self, share: Share, now: Duration) -> Result<Ticket, Duration> {
        self.calls.retain(|call| call.frees.is_none_or(|frees| frees > now));
        let mut wait = Duration::ZERO;
        for bound in Share::ALL.into_iter().filter(|bound| *bound >= share) {
            let within = self.calls.iter().filter(|call| call.share <= bound);
            // As many calls as are too many must have left the log.
            let excess = (within.clone().count() + 1).saturating_sub(bound.of(self.per_minute));
            if let Some(frees) = nth_to_free(within, excess, now) {
                wait = wait.max(frees.saturating_sub(now));
            }
        }
        if wait > Duration::ZERO {
            return Err(wait);
        }
        let number = self.next;
        self.next += 1;
        self.calls.push_back(Call { number, share, frees: None });
        Ok(Ticket(number))
    }

    /// The call ended, in whatever way.
    pub(super) fn leave(&mut self, Ticket(number): Ticket, now: Duration) {
        if let Some(call) = self.calls.iter_mut().find(|call| call.number == number) {
            call.frees = Some(now + WINDOW);
        }
    }
}

/// When the `n`th of the calls to leave does; a call under way ends at the soonest now. None for `n` = 0.
fn nth_to_free<'a>(calls: impl Iterator<Item = &'a Call>, n: usize, now: Duration) -> Option<Duration> {
    let mut frees: Vec<Duration> = calls.map(|call| call.frees.unwrap_or(now + WINDOW)).collect();
    frees.sort_unstable();
    frees.get(n.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn call(ceiling: &mut Ceiling, share: Share, now: Duration) -> Result<(), Duration> {
        let ticket = ceiling.enter(share, now)?;
        ceiling.leave(ticket, now);
        Ok(())
    }

    #[test]
    fn a_full_minute_waits_for_its_oldest_call() {
        let mut ceiling = Ceiling::new(3);
        for second in [0, 10, 20] {
            assert_eq!(call(&mut ceiling, Share::Whole, s(second)), Ok(()));
        }
        assert_eq!(call(&mut ceiling, Share::Whole, s(30)), Err(s(30)));
        assert_eq!(call(&mut ceiling, Share::Whole, s(59)), Err(s(1)));
        assert_eq!(call(&mut ceiling, Share::Whole, s(60)), Ok(()));
        assert_eq!(call(&mut ceiling, Share::Whole, s(60)), Err(s(10)));
    }

    #[test]
    fn a_call_counts_from_its_end() {
        let mut ceiling = Ceiling::new(1);
        let ticket = ceiling.enter(Share::Whole, s(0)).unwrap();
        assert_eq!(ceiling.enter(Share::Whole, s(100)), Err(s(60)), "still under way");
        ceiling.leave(ticket, s(110));
        assert_eq!(ceiling.enter(Share::Whole, s(120)), Err(s(50)));
        assert!(ceiling.enter(Share::Whole, s(170)).is_ok());
    }

    #[test]
    fn writing_back_leaves_a_quarter_to_codes_and_takes_what_the_mirror_leaves() {
        let mut ceiling = Ceiling::new(8);
        for second in 0..4 {
            assert_eq!(call(&mut ceiling, Share::Half, s(second)), Ok(()));
        }
        assert_eq!(call(&mut ceiling, Share::Half, s(10)), Err(s(50)));
        assert_eq!(call(&mut ceiling, Share::Most, s(11)), Ok(()));
        assert_eq!(call(&mut ceiling, Share::Most, s(12)), Ok(()));
        assert_eq!(call(&mut ceiling, Share::Most, s(13)), Err(s(47)), "six of eight");
        assert_eq!(call(&mut ceiling, Share::Whole, s(14)), Ok(()));
        assert_eq!(call(&mut ceiling, Share::Whole, s(15)), Ok(()));
        assert_eq!(call(&mut ceiling, Share::Whole, s(16)), Err(s(44)));
    }

    #[test]
    fn devices_leave_half_to_codes() {
        let mut ceiling = Ceiling::new(4);
        assert_eq!(call(&mut ceiling, Share::Half, s(0)), Ok(()));
        assert_eq!(call(&mut ceiling, Share::Half, s(1)), Ok(()));
        assert_eq!(call(&mut ceiling, Share::Half, s(2)), Err(s(58)));
        assert_eq!(call(&mut ceiling, Share::Whole, s(3)), Ok(()));
        assert_eq!(call(&mut ceiling, Share::Whole, s(4)), Ok(()));
        assert_eq!(call(&mut ceiling, Share::Whole, s(5)), Err(s(55)));
        assert_eq!(call(&mut ceiling, Share::Half, s(60)), Ok(()));

        let mut one = Ceiling::new(1);
        assert_eq!(call(&mut one, Share::Half, s(0)), Ok(()), "half of one is one");
        assert_eq!(call(&mut one, Share::Whole, s(0)), Err(s(60)));
    }

    #[test]
    fn calls_of_a_former_process_count_on() {
        let mut before = Ceiling::new(3);
        assert_eq!(call(&mut before, Share::Half, s(100)), Ok(()));
        let _under_way = before.enter(Share::Whole, s(110)).unwrap();
        let former: Vec<Former> = before.counting(s(120), s(5)).collect();
        let [listed, typed] = former[..] else { panic!("{former:?}") };
        assert_eq!(
            (listed.share, listed.frees_in, typed.share, typed.frees_in),
            (Share::Half, s(40), Share::Whole, s(65))
        );

        let mut after = Ceiling::new(3).with_former(former, s(1));
        assert_eq!(call(&mut after, Share::Half, s(1)), Err(s(40)), "one of one");
        assert_eq!(call(&mut after, Share::Whole, s(1)), Ok(()));
        assert_eq!(call(&mut after, Share::Whole, s(1)), Err(s(40)));
        assert_eq!(call(&mut after, Share::Whole, s(41)), Ok(()));
        assert_eq!(after.counting(s(66), s(5)).count(), 2, "what has left is not handed on");
    }

    proptest! {
        /// However calls come and however long they take, no minute holds more than the ceiling, counted at any moment
        /// of each call; and whoever waits as told is let through.
        #[test]
        fn no_minute_holds_more(
            per_minute in 1u32..6,
            steps in prop::collection::vec((0u64..40, 0u64..30, prop::sample::select(Share::ALL.to_vec())), 0..60),
        ) {
            let mut ceiling = Ceiling::new(per_minute);
            let mut now = Duration::ZERO;
            let mut spans: Vec<(Duration, Duration)> = Vec::new();
            for (pause, takes, share) in steps {
                now += s(pause);
                let ticket = match ceiling.enter(share, now) {
                    Ok(ticket) => ticket,
                    Err(wait) => {
                        prop_assert!(wait > Duration::ZERO && wait <= WINDOW);
                        now += wait;
                        ceiling.enter(share, now).map_err(|_| TestCaseError::fail("told to wait too short"))?
                    }
                };
                let start = now;
                now += s(takes);
                ceiling.leave(ticket, now);
                spans.push((start, now));
            }
            for (index, (_, end)) in spans.iter().enumerate() {
                // The calls that can have reached the server within a minute of this one's end.
                let within = spans.iter().skip(index).filter(|(start, _)| *start < *end + WINDOW).count();
                prop_assert!(within <= per_minute as usize);
            }
        }
    }
}
