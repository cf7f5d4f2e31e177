//! Decisions in plain words, for guests and routers. RouterOS puts Reply-Message into its pages unescaped
//! (facts/hotspot.md §1.4), so no sentence holds any of `<>&"'`, and none is longer than one attribute.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::core::decide::{Decision, Denial, Reason};

/// The sentence for a decision at `now`; dates as the clock on the wall of `zone` shows them.
#[must_use]
pub fn message(decision: &Decision, zone: &TimeZone, now: Timestamp) -> String {
    match decision {
        Decision::Allow(grant) => match grant.view.pool.minutes() {
            Some(1) => "You are online. 1 minute is left on this code.".to_owned(),
            Some(minutes) => format!("You are online. {minutes} minutes are left on this code."),
            None => "You are online.".to_owned(),
        },
        Decision::Deny(denial) => denied(denial, zone, now),
    }
}

fn denied(denial: &Denial, zone: &TimeZone, now: Timestamp) -> String {
    let view = denial.view.as_ref();
    let sentence = match denial.reason {
        Reason::Malformed => "Please type the access code you were given.",
        Reason::Throttled => "Too many wrong codes. Please wait a few minutes, then try again.",
        Reason::SourceUnavailable => "This code cannot be checked right now. Please try again in a minute.",
        Reason::UnknownCode => "This code is not known. Please check it and try again.",
        Reason::UnknownDevice => "This device is not known here. Please type your access code.",
        Reason::WrongLocation => "This code is not valid at this location.",
        Reason::AmbiguousCode => "This code was given out twice. Please ask the front desk for another one.",
        Reason::WrongPassword => "The password does not fit this code. Type the code alone.",
        Reason::NotYetValid => {
            return match view.and_then(|view| view.valid_from) {
                Some(from) => format!("This code is valid from {}.", date(from, zone, now)),
                None => "This code is not valid yet.".to_owned(),
            };
        }
        Reason::Expired => {
            return match view.and_then(|view| view.valid_to) {
                Some(to) => format!("This code expired on {}.", date(to, zone, now)),
                None => "This code has expired.".to_owned(),
            };
        }
        Reason::DeviceMismatch => "This code belongs to another device.",
        Reason::NoMinutesLeft => "No time is left on this code.",
        Reason::UserLimitReached => {
            return match view.map_or(1, |view| view.user_limit) {
                1 => "This code is in use on another device. Log out there first.".to_owned(),
                limit => format!("This code is in use on {limit} devices, as many as it allows. Log out on one first."),
            };
        }
    };
    sentence.to_owned()
}

/// What whoever runs the place can do about a denial.
#[must_use]
pub const fn remedy(reason: Reason) -> &'static str {
    match reason {
        Reason::Malformed => "The router sent no code: its login page must send what was typed as the user name.",
        Reason::Throttled => {
            "Too many wrong codes came from this device or router. It passes by itself after throttle.device_window, or a minute."
        }
        Reason::SourceUnavailable => {
            "Nexudus does not answer, and no copy is at hand that may be used. The overview says what is wrong with the source."
        }
        Reason::UnknownCode => {
            "Compare it with the token in Nexudus, letter by letter: 0 and O, 1 and l. Is the token of a location that is \
             configured here? A token made a moment ago is asked for by itself."
        }
        Reason::UnknownDevice => {
            "No token names this device, and it has not logged in with a code before. Phones use another MAC address for each \
             network: the guest types the code once."
        }
        Reason::WrongLocation => {
            "The token belongs to another location: see business_ids of this router, and the token in Nexudus."
        }
        Reason::AmbiguousCode => "Several tokens that are valid today have this code. Change one of them in Nexudus.",
        Reason::WrongPassword => {
            "The guest typed something else as the password; it stays empty, or is the code again. If that happens to everybody, \
             the secret of the router does not fit."
        }
        Reason::NotYetValid => "See ValidFrom of the token in Nexudus, and the time zone (source.nexudus.time_zone).",
        Reason::Expired => "See ValidTo of the token in Nexudus; extend it there, then refresh the token here.",
        Reason::DeviceMismatch => {
            "The token is bound to another device: clear MacAddress in Nexudus, then refresh the token here."
        }
        Reason::NoMinutesLeft => {
            "The time is used up, or less than policy.min_session is left. Raise MinutesLeft in Nexudus, then refresh the token \
             here. If it shows minutes there, see what is used and not in it."
        }
        Reason::UserLimitReached => {
            "As many devices as UserLimit are online with this code. End a session of it, or raise UserLimit in Nexudus."
        }
    }
}

/// What to look at where a login would be allowed and the guest is not online all the same.
pub const ALLOWED: &str = "The code is fine here and now. If the guest is not online: has the router asked at all (see the earlier \
                           decisions)? Does the guest have an address of the hotspot? See the router's own log.";

/// Hours, minutes and seconds: `1:02:05`.
#[must_use]
pub fn clock(seconds: u64) -> String {
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// A check of `explain` as people read it.
#[must_use]
pub fn check(name: &str) -> String {
    let mut words = name.replace('_', " ");
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    words
}

/// `23 November at 18:00`, with the year where it is not this one.
fn date(moment: Timestamp, zone: &TimeZone, now: Timestamp) -> String {
    let (moment, now) = (moment.to_zoned_datetime(zone.clone()), now.to_zoned_datetime(zone.clone()));
    let form = if moment.year() == now.year() { "%-d %B at %H:%M" } else { "%-d %B %Y at %H:%M" };
    moment.strftime(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::budget::{Pool, Seconds};
    use crate::core::decide::{Grant, View};
    use crate::core::ident::TokenId;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn view() -> View {
        View {
            token: TokenId(1),
            code: crate::core::ident::Code::parse("4711").unwrap(),
            valid_from: Some(at("2026-11-23T08:00:00Z")),
            valid_to: Some(at("2026-11-23T17:00:00Z")),
            pool: Pool::Holds(Seconds(3599)),
            user_limit: 2,
            devices_online: 2,
        }
    }

    #[test]
    fn every_sentence_is_safe_in_a_routers_page() {
        for reason in Reason::ALL {
            for view in [None, Some(view())] {
                let text =
                    message(&Decision::Deny(Denial { reason, view }), &TimeZone::UTC, at("2026-11-23T12:00:00Z"));
                assert!(
                    text.len() <= 253 && !text.contains(['<', '>', '&', '"', '\'']) && text.ends_with('.'),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn dates_are_shown_in_the_locations_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let denied = |reason, now| message(&Decision::Deny(Denial { reason, view: Some(view()) }), &zone, at(now));
        let (today, next_year) = ("2026-11-23T20:00:00Z", "2026-12-31T23:30:00Z");
        assert_eq!(denied(Reason::Expired, today), "This code expired on 23 November at 18:00.");
        assert_eq!(denied(Reason::NotYetValid, today), "This code is valid from 23 November at 09:00.");
        assert_eq!(denied(Reason::Expired, next_year), "This code expired on 23 November 2026 at 18:00.");
        let grant = Grant { session_timeout: Seconds(3599), renews: None, displaces: Vec::new(), view: view() };
        assert_eq!(
            message(&Decision::Allow(grant), &zone, at(today)),
            "You are online. 59 minutes are left on this code."
        );
    }
}
