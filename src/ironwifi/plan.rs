//! What IronWifi's users should be, and how they get there from what they are: values in, values out.
//!
//! A user stands for one token: its name and its password are the code. IronWifi counts the time of its users by itself and
//! tells nobody, so a user is given what its token has left here, and what is used there is not known here.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::config::{Bandwidth, Nas};
use crate::core::budget::{Pool, Seconds};
use crate::core::ident::{Code, CodeKey, TokenId};
use crate::core::policy::{Counting, Policy};
use crate::core::token::{AccessToken, Window};

/// By how much less a token must have left before that is told: each change costs two calls, and time runs.
const LESS_BY: Seconds = Seconds(300);

/// Where an attribute belongs (facts/ironwifi.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Table {
    /// What is checked at a login.
    Check,
    /// What is told to the access point.
    Reply,
}

impl Table {
    pub(super) const ALL: [Self; 2] = [Self::Check, Self::Reply];

    /// As the interface names it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Check => "radcheck",
            Self::Reply => "radreply",
        }
    }
}

/// The attributes that users are given (IronWifi/docs user_Guide/attributes.md). Others are left to whoever set them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Name {
    /// Seconds of all sessions together.
    MaxAllSession,
    /// Seconds from the first login.
    ExpireAfter,
    /// Devices at once.
    SimultaneousUse,
    /// Seconds of one session.
    SessionTimeout,
    /// Seconds.
    AcctInterimInterval,
    /// Seconds.
    IdleTimeout,
    /// Bits per second.
    BandwidthMaxUp,
    /// Bits per second.
    BandwidthMaxDown,
    /// The code. It comes last: who has no password cannot log in, so nobody can before the limits are there.
    CleartextPassword,
}

impl Name {
    /// In the order in which they are set.
    pub(super) const ALL: [Self; 9] = [
        Self::MaxAllSession,
        Self::ExpireAfter,
        Self::SimultaneousUse,
        Self::SessionTimeout,
        Self::AcctInterimInterval,
        Self::IdleTimeout,
        Self::BandwidthMaxUp,
        Self::BandwidthMaxDown,
        Self::CleartextPassword,
    ];

    /// As RADIUS dictionaries name it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::MaxAllSession => "Max-All-Session",
            Self::ExpireAfter => "Expire-After",
            Self::SimultaneousUse => "Simultaneous-Use",
            Self::SessionTimeout => "Session-Timeout",
            Self::AcctInterimInterval => "Acct-Interim-Interval",
            Self::IdleTimeout => "Idle-Timeout",
            Self::BandwidthMaxUp => "WISPr-Bandwidth-Max-Up",
            Self::BandwidthMaxDown => "WISPr-Bandwidth-Max-Down",
            Self::CleartextPassword => "Cleartext-Password",
        }
    }

    pub(super) const fn table(self) -> Table {
        match self {
            Self::MaxAllSession | Self::ExpireAfter | Self::SimultaneousUse | Self::CleartextPassword => Table::Check,
            Self::SessionTimeout
            | Self::AcctInterimInterval
            | Self::IdleTimeout
            | Self::BandwidthMaxUp
            | Self::BandwidthMaxDown => Table::Reply,
        }
    }

    /// The attribute of this name in this table, if it is one of ours.
    pub(super) fn known(name: &str, table: Table) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.table() == table && known.as_str().eq_ignore_ascii_case(name))
    }

    /// Whether less of it than it says may be left for a while.
    pub(super) const fn is_time_left(self) -> bool {
        matches!(self, Self::MaxAllSession | Self::ExpireAfter)
    }
}

/// What a token's user should be: its attributes but for the password, which is the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Name and password.
    pub(super) code: Code,
    /// Whole numbers, in the order in which they are set.
    pub(super) numbers: Vec<(Name, u64)>,
}

/// What all users have in common.
#[derive(Debug)]
pub(super) struct Terms<'a> {
    pub(super) policy: &'a Policy,
    pub(super) nas: &'a Nas,
}

/// What users there should be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) users: HashMap<TokenId, Wanted>,
    /// Tokens that have none, since several have their code.
    pub(super) ambiguous: usize,
}

/// What users there should be at `now`; `left` knows what a token has left. Where two tokens have one code at this location,
/// neither has a user: nobody knows which is meant ([`crate::core::decide::select`]), and IronWifi's names ignore case.
pub(super) fn wanted(
    tokens: &[Arc<AccessToken>],
    left: impl Fn(&AccessToken) -> Pool,
    terms: &Terms<'_>,
    now: Timestamp,
) -> Plan {
    let open = || {
        let serves = |token: &&Arc<AccessToken>| terms.nas.rules.serves(token.business);
        tokens.iter().filter(serves).filter(|token| token.window(now) == Window::Open)
    };
    let (mut once, mut twice) = (HashSet::new(), HashSet::new());
    for token in open() {
        let name = folded(&token.code);
        if !once.insert(name.clone()) {
            twice.insert(name);
        }
    }
    let unambiguous = open().filter(|token| !twice.contains(&folded(&token.code)));
    let users = unambiguous.filter_map(|token| Some((token.id, of(token, left(token), terms, now)?))).collect();
    Plan { users, ambiguous: open().filter(|token| twice.contains(&folded(&token.code))).count() }
}

/// A name as IronWifi tells it from others.
pub(super) fn folded(code: &Code) -> CodeKey {
    code.key()
}

fn of(token: &AccessToken, left: Pool, terms: &Terms<'_>, now: Timestamp) -> Option<Wanted> {
    let Terms { policy, nas } = *terms;
    let mut numbers = Vec::new();
    if let Pool::Holds(left) = left {
        // What rounds to nothing would be no limit to some.
        let left = Seconds(left.0 / 60 * 60);
        if left < policy.min_session.max(Seconds(60)) {
            return None;
        }
        let name = match policy.counting {
            Counting::Connected => Name::MaxAllSession,
            Counting::Elapsed => Name::ExpireAfter,
        };
        numbers.push((name, left.0));
    }
    numbers.push((Name::SimultaneousUse, token.user_limit(policy).into()));
    numbers.push((Name::SessionTimeout, session_timeout(token.valid_to, policy, now)?.0));
    numbers.push((Name::AcctInterimInterval, policy.interim_interval.0));
    numbers.extend(policy.idle_timeout.map(|idle| (Name::IdleTimeout, idle.0)));
    if let Some(Bandwidth { up, down }) = nas.rate_limit.as_deref().and_then(Bandwidth::parse).or(nas.wispr) {
        numbers.extend([(Name::BandwidthMaxUp, up.into()), (Name::BandwidthMaxDown, down.into())]);
    }
    Some(Wanted { code: token.code.clone(), numbers })
}

/// `max_session`, halved until it ends before the token does, since nobody can end a session there: what is told stands while
/// the end comes nearer, and is changed once for each half. `None`: too little is left.
fn session_timeout(valid_to: Option<Timestamp>, policy: &Policy, now: Timestamp) -> Option<Seconds> {
    let Some(valid_to) = valid_to else { return Some(policy.max_session) };
    let most = Seconds::between(now, valid_to);
    let mut timeout = policy.max_session;
    while timeout > most {
        timeout = Seconds(timeout.0 / 2);
    }
    (timeout >= policy.min_session.max(Seconds(60))).then_some(timeout)
}

/// Which numbers of a user must be told anew: `have` are those it has. What there is less of is told when it is less by
/// [`LESS_BY`], more at once.
pub(super) fn differs(have: &[(Name, u64)], want: &[(Name, u64)]) -> bool {
    let is_near = |name: Name, had: u64, wanted: u64| {
        had == wanted || (name.is_time_left() && wanted < had && had - wanted < LESS_BY.0)
    };
    let names = |numbers: &[(Name, u64)]| numbers.iter().map(|(name, _)| *name).collect::<HashSet<_>>();
    names(have) != names(want)
        || want
            .iter()
            .any(|(name, wanted)| have.iter().any(|(had_name, had)| had_name == name && !is_near(*name, *had, *wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::token::tests::token;
    use proptest::prelude::*;

    const NOW: &str = "2026-11-23T10:00:00Z";

    fn now() -> Timestamp {
        NOW.parse().unwrap()
    }

    fn nas() -> Nas {
        let text = "[source]\nkind = \"file\"\npath = \"t\"\n[[nas]]\nname = \"ironwifi\"\naddress = \"192.0.2.1\"\nsecret = \"for tests only, long\"\n";
        crate::config::from_str(text, "spotgate.toml".as_ref(), &|_| None).unwrap().settings.nas.remove(0)
    }

    fn after(seconds: i64) -> Option<Timestamp> {
        now().checked_add(jiff::SignedDuration::from_secs(seconds)).ok()
    }

    fn plan(tokens: &[AccessToken], policy: &Policy, nas: &Nas) -> Plan {
        let tokens: Vec<_> = tokens.iter().cloned().map(Arc::new).collect();
        wanted(&tokens, |token| token.pool(policy), &Terms { policy, nas }, now())
    }

    fn number(wanted: &Wanted, name: Name) -> Option<u64> {
        wanted.numbers.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
    }

    #[test]
    fn a_user_has_the_limits_of_its_token() {
        let policy = Policy { idle_timeout: Some(Seconds(900)), ..Policy::default() };
        let nas = Nas { rate_limit: Some("10M/5M".to_owned()), ..nas() };
        let of = AccessToken { user_limit: Some(3), minutes_left: Some(45), ..token(1, "kx7q") };
        let users = plan(std::slice::from_ref(&of), &policy, &nas).users;
        let numbers = [
            (Name::MaxAllSession, 2700),
            (Name::SimultaneousUse, 3),
            (Name::SessionTimeout, 86_400),
            (Name::AcctInterimInterval, 300),
            (Name::IdleTimeout, 900),
            (Name::BandwidthMaxUp, 10_000_000),
            (Name::BandwidthMaxDown, 5_000_000),
        ];
        assert_eq!(users[&TokenId(1)], Wanted { code: Code::parse("kx7q").unwrap(), numbers: numbers.to_vec() });

        let elapsed = Policy { counting: Counting::Elapsed, ..Policy::default() };
        let users = plan(&[of], &elapsed, &nas).users;
        let user = &users[&TokenId(1)];
        assert_eq!((number(user, Name::ExpireAfter), number(user, Name::MaxAllSession)), (Some(2700), None));

        let open = Policy { zero_minutes: crate::core::policy::ZeroMinutes::Unlimited, ..Policy::default() };
        let unlimited = AccessToken { minutes_included: None, minutes_left: None, ..token(1, "kx7q") };
        assert_eq!(number(&plan(&[unlimited], &open, &nas).users[&TokenId(1)], Name::MaxAllSession), None);
    }

    #[test]
    fn only_who_may_go_online_here_and_now_has_a_user() {
        let policy = Policy::default();
        let elsewhere = crate::core::ident::BusinessId(2);
        let mut nas = nas();
        nas.rules.businesses = vec![crate::core::ident::BusinessId(1)];
        let tokens = [
            AccessToken { valid_from: after(1), ..token(1, "later") },
            AccessToken { valid_to: after(0), ..token(2, "over") },
            AccessToken { valid_to: after(59), ..token(3, "nearly-over") },
            AccessToken { minutes_left: Some(0), ..token(4, "used-up") },
            AccessToken { business: Some(elsewhere), ..token(5, "elsewhere") },
            token(6, "twice"),
            token(7, "TWICE"),
            AccessToken { valid_to: after(-5), ..token(8, "again") },
            token(9, "again"),
        ];
        let plan = plan(&tokens, &policy, &nas);
        assert_eq!((plan.users.into_keys().collect::<Vec<_>>(), plan.ambiguous), (vec![TokenId(9)], 2));
    }

    #[test]
    fn less_is_told_in_steps_and_more_at_once() {
        let left = |seconds| [(Name::MaxAllSession, seconds), (Name::SimultaneousUse, 1)];
        assert!(!differs(&left(3600), &left(3600)) && !differs(&left(3600), &left(3360)));
        assert!(differs(&left(3600), &left(3300)) && differs(&left(3600), &left(3660)));
        assert!(differs(&left(3600), &[(Name::MaxAllSession, 3600), (Name::SimultaneousUse, 2)]));
        assert!(differs(&left(3600), &[(Name::SimultaneousUse, 1)]) && differs(&[], &left(60)));
    }

    proptest! {
        /// A session that is begun never outlasts its token, and what is told is told a few times only.
        #[test]
        fn no_session_outlasts_its_token(max in 60u64..200_000, least in 1u64..600, until in 0u32..400_000) {
            let policy = Policy { max_session: Seconds(max), min_session: Seconds(least), ..Policy::default() };
            let told: Vec<Seconds> = (0..=until)
                .step_by(15)
                .filter_map(|left| session_timeout(after(left.into()), &policy, now()).inspect(|timeout| {
                    assert!(timeout.0 <= u64::from(left) && timeout.0 >= 60);
                }))
                .collect();
            let mut steps = told.clone();
            steps.dedup();
            prop_assert!(steps.len() <= 13 && told.is_sorted());
        }
    }
}
