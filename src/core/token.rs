//! The Nexudus AccessToken as spotgate means it. How it is written on the wire is `source`'s affair.

use jiff::Timestamp;

use super::budget::{Pool, Seconds};
use super::ident::{BusinessId, Code, Mac, TokenId};
use super::policy::{Policy, ZeroMinutes};

/// One access token (facts/nexudus.md §2 "Record"; seeds: the AccessToken page).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessToken {
    /// `Id`.
    pub id: TokenId,
    /// `BusinessId`: its location.
    pub business: Option<BusinessId>,
    /// `AccessCode`.
    pub code: Code,
    /// `ValidFrom`; none: valid from the beginning.
    pub valid_from: Option<Timestamp>,
    /// `ValidTo`; none: no end.
    pub valid_to: Option<Timestamp>,
    /// `MinutesIncluded`.
    pub minutes_included: Option<i32>,
    /// `MinutesLeft`.
    pub minutes_left: Option<i32>,
    /// `UserLimit`: devices at once.
    pub user_limit: Option<i32>,
    /// `MacAddress`: one address, or several in one text.
    pub devices: Box<[Mac]>,
    /// `LastAccess`; none also where the source does not tell it.
    pub last_access: Option<Timestamp>,
}

/// How a token's window of validity lies to a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// `now < ValidFrom`.
    NotYet(Timestamp),
    /// Valid.
    Open,
    /// `now >= ValidTo`.
    Over(Timestamp),
}

impl AccessToken {
    /// Where `now` lies in the window. A token that has not begun counts as such even if it also ended.
    #[must_use]
    pub fn window(&self, now: Timestamp) -> Window {
        match (self.valid_from, self.valid_to) {
            (Some(from), _) if now < from => Window::NotYet(from),
            (_, Some(to)) if now >= to => Window::Over(to),
            _ => Window::Open,
        }
    }

    /// Devices at once: null means the default, 0 or less means 1.
    #[must_use]
    pub fn user_limit(&self, policy: &Policy) -> u32 {
        self.user_limit.map_or(policy.default_user_limit, |limit| u32::try_from(limit).unwrap_or_default()).max(1)
    }

    /// What the source says the token holds, before our own usage is taken out.
    #[must_use]
    pub fn pool(&self, policy: &Policy) -> Pool {
        match (self.minutes_left, self.minutes_included) {
            (None | Some(0), None | Some(0)) if policy.zero_minutes == ZeroMinutes::Unlimited => Pool::Unlimited,
            (Some(minutes), _) | (None, Some(minutes)) => Pool::Holds(Seconds::from_minutes(minutes.into())),
            (None, None) => Pool::Holds(Seconds::ZERO),
        }
    }

    /// The minutes that the source says are left: those included where it says nothing.
    #[must_use]
    pub fn minutes(&self) -> Option<i64> {
        self.minutes_left.or(self.minutes_included).map(i64::from)
    }

    /// The least that may be written as `MinutesLeft`: where nothing included means no limit, none left would lift it.
    #[must_use]
    pub fn least_minutes(&self, policy: &Policy) -> i64 {
        let none_included = matches!(self.minutes_included, None | Some(0));
        i64::from(none_included && policy.zero_minutes == ZeroMinutes::Unlimited)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A token that is valid at any time, with an hour to use.
    pub(crate) fn token(id: i64, code: &str) -> AccessToken {
        AccessToken {
            id: TokenId(id),
            business: Some(BusinessId(1)),
            code: Code::parse(code).unwrap(),
            valid_from: None,
            valid_to: None,
            minutes_included: Some(60),
            minutes_left: Some(60),
            user_limit: None,
            devices: Box::default(),
            last_access: None,
        }
    }

    #[test]
    fn the_window_is_closed_at_its_start_and_open_at_its_end() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let token = AccessToken { valid_from: Some(at(10)), valid_to: Some(at(20)), ..token(1, "a") };
        assert_eq!(token.window(at(9)), Window::NotYet(at(10)));
        assert_eq!(token.window(at(10)), Window::Open);
        assert_eq!(token.window(at(19)), Window::Open);
        assert_eq!(token.window(at(20)), Window::Over(at(20)));
    }

    #[test]
    fn limits_and_pools_of_odd_records() {
        let policy = Policy::default();
        let limit = |limit| AccessToken { user_limit: limit, ..token(1, "a") }.user_limit(&policy);
        assert_eq!([limit(None), limit(Some(0)), limit(Some(-3)), limit(Some(4))], [1, 1, 1, 4]);

        let pool = |left, included, policy: &Policy| {
            AccessToken { minutes_left: left, minutes_included: included, ..token(1, "a") }.pool(policy)
        };
        let open = Policy { zero_minutes: ZeroMinutes::Unlimited, ..Policy::default() };
        let holds = |minutes: u64| Pool::Holds(Seconds(minutes * 60));
        assert_eq!(pool(Some(5), Some(60), &policy), holds(5));
        assert_eq!(pool(None, Some(60), &policy), holds(60));
        assert_eq!(pool(None, None, &policy), holds(0));
        assert_eq!(pool(Some(0), Some(0), &policy), holds(0));
        assert_eq!(pool(Some(-5), Some(60), &policy), holds(0));
        for (left, included) in [(None, None), (Some(0), Some(0)), (None, Some(0)), (Some(0), None)] {
            assert_eq!(pool(left, included, &open), Pool::Unlimited);
        }
        assert_eq!(pool(Some(0), Some(60), &open), holds(0), "used up is not unlimited");
        assert_eq!(pool(Some(-1), Some(0), &open), holds(0));
    }
}
