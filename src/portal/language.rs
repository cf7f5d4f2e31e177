//! The words guests read, in eight languages: sentences from `languages/*.ftl`, durations and dates.
//!
//! Texts come out as they are to be read. What a caller puts into one is not escaped: that is for the page to do.

use std::str::FromStr;
use std::sync::LazyLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::core::budget::{Pool, Seconds};
use crate::core::decide::{Denial, Reason};

/// The longest Accept-Language header that is read, in octets; browsers send a few hundred at most.
const LONGEST_HEADER: usize = 1024;

/// A language that the pages speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Language {
    /// English.
    En,
    /// Spanish.
    Es,
    /// French.
    Fr,
    /// German.
    De,
    /// Portuguese.
    Pt,
    /// Italian.
    It,
    /// Catalan.
    Ca,
    /// Dutch.
    Nl,
}

/// A tag of no language that the pages speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is none of en, es, fr, de, pt, it, ca, nl")]
pub struct UnknownLanguage;

impl Language {
    /// Every language, in the order of the chooser.
    pub const ALL: [Self; 8] = [Self::En, Self::Es, Self::Fr, Self::De, Self::Pt, Self::It, Self::Ca, Self::Nl];

    /// Its tag (BCP 47), for `lang` attributes, links and the configuration.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Es => "es",
            Self::Fr => "fr",
            Self::De => "de",
            Self::Pt => "pt",
            Self::It => "it",
            Self::Ca => "ca",
            Self::Nl => "nl",
        }
    }

    /// Its own name for itself, for a chooser.
    #[must_use]
    pub const fn own_name(self) -> &'static str {
        match self {
            Self::En => "English",
            Self::Es => "Español",
            Self::Fr => "Français",
            Self::De => "Deutsch",
            Self::Pt => "Português",
            Self::It => "Italiano",
            Self::Ca => "Català",
            Self::Nl => "Nederlands",
        }
    }

    /// What a browser asks for by its Accept-Language header (RFC 9110 §12.5.4): the heaviest that is spoken here,
    /// whatever its region, and of equals the first. `default` if there is none, if anything will do, or if the header
    /// is longer than any browser's.
    #[must_use]
    pub fn asked_for(accept_language: &str, default: Self) -> Self {
        if accept_language.len() > LONGEST_HEADER {
            return default;
        }
        let mut best: Option<(f32, Self)> = None;
        for (weight, language) in accept_language.split(',').filter_map(|range| weighed(range, default)) {
            if weight > best.map_or(0.0, |(heaviest, _)| heaviest) {
                best = Some((weight, language));
            }
        }
        best.map_or(default, |(_, language)| language)
    }

    const fn texts(self) -> &'static str {
        match self {
            Self::En => include_str!("languages/en.ftl"),
            Self::Es => include_str!("languages/es.ftl"),
            Self::Fr => include_str!("languages/fr.ftl"),
            Self::De => include_str!("languages/de.ftl"),
            Self::Pt => include_str!("languages/pt.ftl"),
            Self::It => include_str!("languages/it.ftl"),
            Self::Ca => include_str!("languages/ca.ftl"),
            Self::Nl => include_str!("languages/nl.ftl"),
        }
    }
}

impl FromStr for Language {
    type Err = UnknownLanguage;

    /// Reads a tag without a region, in either case.
    fn from_str(tag: &str) -> Result<Self, UnknownLanguage> {
        Self::ALL.into_iter().find(|language| language.tag().eq_ignore_ascii_case(tag)).ok_or(UnknownLanguage)
    }
}

/// `fr-CH;q=0.9` as a weight and a language; none if it is malformed or not spoken here.
///
/// By hand, since fluent-langneg reads no weights and drops tags with extensions, and accept-language sorts by numbers
/// that may be `NaN`, where sorting may panic.
fn weighed(range: &str, default: Language) -> Option<(f32, Language)> {
    let (tag, weight) = match range.split_once(';') {
        None => (range, 1.0),
        Some((tag, parameter)) => {
            let (name, weight) = parameter.split_once('=')?;
            let weight = weight.trim().parse().ok().filter(|weight| (0.0..=1.0).contains(weight))?;
            (tag, name.trim().eq_ignore_ascii_case("q").then_some(weight)?)
        }
    };
    let primary = tag.trim().split('-').next()?;
    let language = if primary == "*" { default } else { primary.parse().ok()? };
    Some((weight, language))
}

/// Declares the keys once: the name in Rust, the name in the `.ftl` files, and what it says.
macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident = $id:literal,)+) => {
        /// A sentence or label. Those with variables name them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Key {
            $($(#[$doc])* $name,)+
        }

        impl Key {
            /// Every key.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The key of this name.
            #[must_use]
            pub fn of(id: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|key| key.id() == id)
            }

            /// Its name in the `.ftl` files.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)+
                }
            }
        }
    };
}

keys! {
    /// [`Reason::Malformed`].
    DeniedMalformed = "denied-malformed",
    /// [`Reason::Throttled`].
    DeniedThrottled = "denied-throttled",
    /// [`Reason::SourceUnavailable`].
    DeniedSourceUnavailable = "denied-source-unavailable",
    /// [`Reason::UnknownCode`].
    DeniedUnknownCode = "denied-unknown-code",
    /// [`Reason::UnknownDevice`].
    DeniedUnknownDevice = "denied-unknown-device",
    /// [`Reason::WrongLocation`].
    DeniedWrongLocation = "denied-wrong-location",
    /// [`Reason::AmbiguousCode`].
    DeniedAmbiguousCode = "denied-ambiguous-code",
    /// [`Reason::WrongPassword`].
    DeniedWrongPassword = "denied-wrong-password",
    /// [`Reason::NotYetValid`]: `from`, a date.
    DeniedNotYetValid = "denied-not-yet-valid",
    /// [`Reason::NotYetValid`], with no date known.
    DeniedNotYetValidUndated = "denied-not-yet-valid-undated",
    /// [`Reason::Expired`]: `to`, a date.
    DeniedExpired = "denied-expired",
    /// [`Reason::Expired`], with no date known.
    DeniedExpiredUndated = "denied-expired-undated",
    /// [`Reason::DeviceMismatch`].
    DeniedDeviceMismatch = "denied-device-mismatch",
    /// [`Reason::NoMinutesLeft`].
    DeniedNoMinutesLeft = "denied-no-minutes-left",
    /// [`Reason::UserLimitReached`]: `limit`, a number.
    DeniedUserLimitReached = "denied-user-limit-reached",

    /// The label of the field for the code.
    LoginCode = "login-code",
    /// The button of the login page.
    LoginGo = "login-go",
    /// The hint under the field.
    LoginHint = "login-hint",
    /// The link to the terms.
    LoginTerms = "login-terms",
    /// Another page is needed to log in at the router.
    HandOverReady = "hand-over-ready",
    /// The label of the chooser of languages.
    Language = "language",
    /// The heading of the login page.
    LoginTitle = "login-title",

    /// The heading of the status page.
    StatusOnline = "status-online",
    /// The same for a guest who is not.
    StatusOffline = "status-offline",
    /// The label of the time left.
    StatusTimeLeft = "status-time-left",
    /// The time left where nothing limits it.
    StatusUnlimited = "status-unlimited",
    /// The label of the date when the code ends.
    StatusValidUntil = "status-valid-until",
    /// The label of the number of devices.
    StatusDevices = "status-devices",
    /// How many devices are in use: `devices` and `limit`, numbers.
    StatusDevicesOf = "status-devices-of",
    /// Little time is left: `time`, a duration.
    StatusWarning = "status-warning",
    /// The button to log out.
    StatusLogOut = "status-log-out",
    /// The link to where the guest wanted to go: `host`.
    StatusContinue = "status-continue",

    /// The heading of the logout page.
    LogoutDone = "logout-done",
    /// That the rest of the time is not lost.
    LogoutKept = "logout-kept",
    /// That it is under way.
    LogoutPending = "logout-pending",
    /// That nobody can be told, and the device stays online.
    LogoutImpossible = "logout-impossible",
    /// The link back to the login page.
    LogoutAgain = "logout-again",

    /// The heading of the error page.
    ErrorTitle = "error-title",
    /// The page was opened by itself.
    ErrorNotFromRouter = "error-not-from-router",
    /// The router is none of the configuration's.
    ErrorUnknownRouter = "error-unknown-router",
    /// The link to the router's own login.
    ErrorGoToRouter = "error-go-to-router",

    /// The router waited for RADIUS in vain.
    RouterTimeout = "router-timeout",
    /// The router missed the answer to its challenge.
    RouterChapMissing = "router-chap-missing",
    /// Anything else that the router said.
    RouterRefused = "router-refused",

    /// The heading of the list of devices.
    DevicesTitle = "devices-title",
    /// What taking over a place does.
    DevicesHint = "devices-hint",
    /// A device that has no other name: `end`, of its address.
    DevicesEnding = "devices-ending",
    /// The button that takes a place over.
    DevicesUseHere = "devices-use-here",
    /// Since when a device is online: `time`, of today.
    DevicesSince = "devices-since",
    /// Since when a device is online: `date`.
    DevicesSinceDate = "devices-since-date",

    /// `hours`, a number.
    DurationHours = "duration-hours",
    /// `minutes`, a number.
    DurationMinutes = "duration-minutes",
    /// `hours` and `minutes`, numbers.
    DurationHoursMinutes = "duration-hours-minutes",
    /// Less than a minute.
    DurationMoments = "duration-moments",

    /// A time of day: `clock`.
    Time = "time",
    /// A date and time of this year: `day` and `month`, numbers, and `clock`.
    Date = "date",
    /// The same of another year: `year` too.
    DateWithYear = "date-with-year",

    /// The link of a router's page that only leads to another.
    PageContinue = "page-continue",
    /// A router's page that cannot do without JavaScript, where there is none.
    PageJavascript = "page-javascript",
    /// The router is set up wrongly, or failed.
    RouterFault = "router-fault",
    /// The router has no address left.
    RouterNoAddress = "router-no-address",
    /// The router is shutting down.
    RouterRestarting = "router-restarting",
    /// The router allows no more devices on this code.
    RouterDevices = "router-devices",
    /// The router's licence allows no more devices.
    RouterFull = "router-full",
    /// The router is still asking about this device.
    RouterInProgress = "router-in-progress",
}

/// What stands for a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number, which chooses between singular and plural.
    Number(u32),
    /// Text that goes in as it is.
    Text(&'a str),
}

/// The words of all languages, read once and shared.
pub struct Words([FluentBundle<FluentResource>; Language::ALL.len()]);

/// The words, read when they are wanted first.
pub fn words() -> &'static Words {
    static WORDS: LazyLock<Words> = LazyLock::new(Words::new);
    &WORDS
}

impl Words {
    /// Reads them.
    #[must_use]
    pub fn new() -> Self {
        Self(Language::ALL.map(bundle))
    }

    /// A sentence in a language. A variable that is not given stands there by its name.
    #[must_use]
    pub fn say(&self, language: Language, key: Key, args: &[(&str, Value<'_>)]) -> String {
        let mut named = FluentArgs::with_capacity(args.len());
        for (name, value) in args {
            match *value {
                Value::Number(number) => named.set(*name, number),
                Value::Text(text) => named.set(*name, text),
            }
        }
        self.format(language, key.id(), &named, &mut Vec::new())
    }

    /// Why a login is denied and what to do next, at `now` by the clock on the wall of `zone`.
    #[must_use]
    pub fn denied(&self, language: Language, denial: &Denial, zone: &TimeZone, now: Timestamp) -> String {
        let view = denial.view.as_ref();
        let key = match denial.reason {
            Reason::Malformed => Key::DeniedMalformed,
            Reason::Throttled => Key::DeniedThrottled,
            Reason::SourceUnavailable => Key::DeniedSourceUnavailable,
            Reason::UnknownCode => Key::DeniedUnknownCode,
            Reason::UnknownDevice => Key::DeniedUnknownDevice,
            Reason::WrongLocation => Key::DeniedWrongLocation,
            Reason::AmbiguousCode => Key::DeniedAmbiguousCode,
            Reason::WrongPassword => Key::DeniedWrongPassword,
            Reason::DeviceMismatch => Key::DeniedDeviceMismatch,
            Reason::NoMinutesLeft => Key::DeniedNoMinutesLeft,
            Reason::NotYetValid => {
                let Some(from) = view.and_then(|view| view.valid_from) else {
                    return self.say(language, Key::DeniedNotYetValidUndated, &[]);
                };
                let from = self.date(language, from, zone, now);
                return self.say(language, Key::DeniedNotYetValid, &[("from", Value::Text(&from))]);
            }
            Reason::Expired => {
                let Some(to) = view.and_then(|view| view.valid_to) else {
                    return self.say(language, Key::DeniedExpiredUndated, &[]);
                };
                let to = self.date(language, to, zone, now);
                return self.say(language, Key::DeniedExpired, &[("to", Value::Text(&to))]);
            }
            Reason::UserLimitReached => {
                let limit = view.map_or(1, |view| view.user_limit);
                return self.say(language, Key::DeniedUserLimitReached, &[("limit", Value::Number(limit))]);
            }
        };
        self.say(language, key, &[])
    }

    /// `1 hour 5 minutes`, in whole minutes.
    #[must_use]
    pub fn duration(&self, language: Language, time: Seconds) -> String {
        let hours = u32::try_from(time.minutes() / 60).unwrap_or(u32::MAX);
        let minutes = u32::try_from(time.minutes() % 60).unwrap_or_default();
        let (hours, minutes) = (("hours", hours), ("minutes", minutes));
        let say = |key, parts: &[(&str, u32)]| {
            let parts: Vec<_> = parts.iter().map(|(name, number)| (*name, Value::Number(*number))).collect();
            self.say(language, key, &parts)
        };
        match (hours.1, minutes.1) {
            (0, 0) => say(Key::DurationMoments, &[]),
            (0, _) => say(Key::DurationMinutes, &[minutes]),
            (_, 0) => say(Key::DurationHours, &[hours]),
            _ => say(Key::DurationHoursMinutes, &[hours, minutes]),
        }
    }

    /// What a pool holds, for the status page.
    #[must_use]
    pub fn time_left(&self, language: Language, pool: Pool) -> String {
        match pool {
            Pool::Unlimited => self.say(language, Key::StatusUnlimited, &[]),
            Pool::Holds(left) => self.duration(language, left),
        }
    }

    /// `23 November, 18:00`, with the year where it is not this one.
    #[must_use]
    pub fn date(&self, language: Language, moment: Timestamp, zone: &TimeZone, now: Timestamp) -> String {
        let (moment, now) = (moment.to_zoned_datetime(zone.clone()), now.to_zoned_datetime(zone.clone()));
        let number = |part: i8| Value::Number(u32::from(part.unsigned_abs()));
        let (clock, year) = (moment.strftime("%H:%M").to_string(), moment.year().to_string());
        let (day, month) = (("day", number(moment.day())), ("month", number(moment.month())));
        let (clock, year) = (("clock", Value::Text(&clock)), ("year", Value::Text(&year)));
        if moment.year() == now.year() {
            self.say(language, Key::Date, &[day, month, clock])
        } else {
            self.say(language, Key::DateWithYear, &[day, month, clock, year])
        }
    }

    /// `since 18:00`, with the date where it is not today's.
    #[must_use]
    pub fn since(&self, language: Language, moment: Timestamp, zone: &TimeZone, now: Timestamp) -> String {
        let (then, today) = (moment.to_zoned_datetime(zone.clone()), now.to_zoned_datetime(zone.clone()));
        if then.date() == today.date() {
            let clock = then.strftime("%H:%M").to_string();
            let time = self.say(language, Key::Time, &[("clock", Value::Text(&clock))]);
            self.say(language, Key::DevicesSince, &[("time", Value::Text(&time))])
        } else {
            let date = self.date(language, moment, zone, now);
            self.say(language, Key::DevicesSinceDate, &[("date", Value::Text(&date))])
        }
    }

    fn format(
        &self,
        language: Language,
        id: &str,
        args: &FluentArgs<'_>,
        errors: &mut Vec<fluent_bundle::FluentError>,
    ) -> String {
        let bundle = self.0.get(language as usize);
        let found = bundle.and_then(|bundle| Some((bundle, bundle.get_message(id)?.value()?)));
        // A test holds every language against every key.
        found.map_or_else(String::new, |(bundle, text)| bundle.format_pattern(text, Some(args), errors).into_owned())
    }
}

impl Default for Words {
    fn default() -> Self {
        Self::new()
    }
}

fn bundle(language: Language) -> FluentBundle<FluentResource> {
    // A test reads every file without an error.
    let texts = FluentResource::try_new(language.texts().to_owned()).unwrap_or_else(|(texts, _)| texts);
    let mut bundle = FluentBundle::new_concurrent(vec![language.tag().parse().unwrap_or_default()]);
    // Marks of direction are for text that runs both ways; none of these languages does.
    bundle.set_use_isolating(false);
    bundle.add_resource_overriding(texts);
    bundle
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use fluent_bundle::FluentValue;

    use super::*;
    use crate::core::decide::View;
    use crate::core::ident::TokenId;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Each message of a file with its variables, those of the messages within it too.
    fn messages(language: Language) -> BTreeMap<&'static str, BTreeSet<&'static str>> {
        let word = |text: &'static str| {
            text.split(|letter: char| !letter.is_ascii_lowercase() && letter != '-').next().unwrap_or_default()
        };
        let mut own: BTreeMap<_, (BTreeSet<_>, BTreeSet<_>)> = BTreeMap::new();
        assert!(language.texts().split('{').skip(1).all(|placed| placed.starts_with(' ')), "{language:?}");
        let mut id = "";
        for line in language.texts().lines().filter(|line| !line.starts_with('#')) {
            if line.starts_with(|letter: char| letter.is_ascii_lowercase()) {
                id = word(line);
                assert!(own.insert(id, Default::default()).is_none(), "{language:?} has {id} twice");
            }
            for placed in line.split("{ ").skip(1) {
                let (variables, within) = own.get_mut(id).unwrap();
                match placed.strip_prefix('$') {
                    Some(name) => variables.insert(word(name)),
                    None => within.insert(word(placed)),
                };
            }
        }
        let variables = |id: &&'static str| {
            let (mut variables, mut left): (BTreeSet<_>, Vec<_>) = (BTreeSet::new(), vec![*id]);
            while let Some((own, within)) = left.pop().map(|id| own.get(id).unwrap_or_else(|| panic!("no {id}"))) {
                variables.extend(own);
                left.extend(within);
            }
            variables
        };
        own.keys().map(|id| (*id, variables(id))).collect()
    }

    #[test]
    fn every_key_is_there_in_every_language_with_the_variables_of_english() {
        let english = messages(Language::En);
        // Messages that only stand within others.
        let parts = ["day", "month"];
        for language in Language::ALL {
            FluentResource::try_new(language.texts().to_owned()).unwrap();
            let mut messages = messages(language);
            for key in Key::ALL {
                assert_eq!(messages.remove(key.id()).as_ref(), english.get(key.id()), "{language:?} {key:?}");
            }
            messages.retain(|id, _| !parts.contains(id));
            assert!(messages.is_empty(), "{language:?} has more: {messages:?}");
        }
    }

    #[test]
    fn every_key_is_said_in_every_language_without_errors_and_safely() {
        let words = Words::new();
        let english = messages(Language::En);
        for language in Language::ALL {
            for key in Key::ALL {
                for number in [0, 1, 2, 5, 12, 21, 1_000_000, u32::MAX] {
                    let mut args = FluentArgs::new();
                    for name in &english[key.id()] {
                        let is_number = ["limit", "devices", "hours", "minutes", "day", "month"].contains(name);
                        args.set(*name, if is_number { FluentValue::from(number) } else { FluentValue::from("xyz") });
                    }
                    let mut errors = Vec::new();
                    let text = words.format(language, key.id(), &args, &mut errors);
                    assert_eq!(errors, [], "{language:?} {key:?}");
                    assert!(
                        !text.is_empty() && text.len() <= 253 && !text.contains(['<', '>', '&', '"', '\'', '{', '\n']),
                        "{language:?} {key:?} {text}"
                    );
                    assert!(!text.contains("  ") && text.trim() == text, "{language:?} {key:?} {text}");
                    let sentence = ["denied-", "router-"].iter().any(|group| key.id().starts_with(group));
                    assert!(!sentence || text.ends_with('.'), "{language:?} {key:?} {text}");
                }
            }
        }
    }

    #[test]
    fn no_two_languages_say_the_same_of_a_denial() {
        let words = Words::new();
        let view = View {
            token: TokenId(1),
            code: crate::core::ident::Code::parse("4711").unwrap(),
            valid_from: Some(at("2026-11-23T08:00:00Z")),
            valid_to: Some(at("2026-11-23T17:00:00Z")),
            pool: Pool::Unlimited,
            user_limit: 2,
            devices_online: 2,
        };
        let mut said = BTreeSet::new();
        for language in Language::ALL {
            for reason in Reason::ALL {
                let mut texts = Vec::new();
                for view in [None, Some(view.clone())] {
                    let text =
                        words.denied(language, &Denial { reason, view }, &TimeZone::UTC, at("2026-11-23T12:00:00Z"));
                    // What happened, and what to do next; for a code that was not readable the latter says it all.
                    assert!(reason == Reason::Malformed || text.matches(". ").count() > 0, "{text}");
                    texts.push(text);
                }
                texts.dedup();
                let two = matches!(reason, Reason::NotYetValid | Reason::Expired | Reason::UserLimitReached);
                assert_eq!(texts.len(), if two { 2 } else { 1 }, "{texts:?}");
                for text in texts {
                    assert!(said.insert(text.clone()), "{text}");
                }
            }
        }
    }

    #[test]
    fn a_denial_tells_its_dates_and_numbers() {
        let words = Words::new();
        let said = |language, reason, user_limit| {
            let view = View {
                token: TokenId(1),
                code: crate::core::ident::Code::parse("4711").unwrap(),
                valid_from: Some(at("2026-11-23T08:00:00Z")),
                valid_to: Some(at("2026-11-23T17:00:00Z")),
                pool: Pool::Unlimited,
                user_limit,
                devices_online: 2,
            };
            let zone = TimeZone::fixed(jiff::tz::offset(1));
            words.denied(language, &Denial { reason, view: Some(view) }, &zone, at("2026-11-23T20:00:00Z"))
        };
        for (language, reason, limit, text) in [
            (
                Language::En,
                Reason::NotYetValid,
                1,
                "This code is valid from 23 November, 09:00. Please try again then.",
            ),
            (
                Language::De,
                Reason::Expired,
                1,
                "Dieser Code ist am 23. November um 18:00 Uhr abgelaufen. Einen neuen bekommen Sie am Empfang.",
            ),
            (Language::En, Reason::UserLimitReached, 1, "This code is in use on another device. Log out there first."),
            (
                Language::En,
                Reason::UserLimitReached,
                3,
                "This code is in use on 3 devices, as many as it allows. Log out on one first.",
            ),
            (
                Language::Ca,
                Reason::UserLimitReached,
                1,
                "Aquest codi s’està fent servir en un altre dispositiu. Tanqueu-hi primer la sessió.",
            ),
        ] {
            assert_eq!(said(language, reason, limit), text);
        }
    }

    #[test]
    fn numbers_choose_singular_or_plural_as_the_language_does() {
        let words = Words::new();
        for (language, minutes) in [
            (Language::En, ["0 minutes", "1 minute", "2 minutes", "59 minutes"]),
            (Language::Es, ["0 minutos", "1 minuto", "2 minutos", "59 minutos"]),
            (Language::Fr, ["0 minute", "1 minute", "2 minutes", "59 minutes"]),
            (Language::De, ["0 Minuten", "1 Minute", "2 Minuten", "59 Minuten"]),
            (Language::Pt, ["0 minuto", "1 minuto", "2 minutos", "59 minutos"]),
            (Language::It, ["0 minuti", "1 minuto", "2 minuti", "59 minuti"]),
            (Language::Ca, ["0 minuts", "1 minut", "2 minuts", "59 minuts"]),
            (Language::Nl, ["0 minuten", "1 minuut", "2 minuten", "59 minuten"]),
        ] {
            let said = [0, 1, 2, 59]
                .map(|number| words.say(language, Key::DurationMinutes, &[("minutes", Value::Number(number))]));
            assert_eq!(said, minutes);
        }
    }

    #[test]
    fn durations_are_in_hours_and_minutes() {
        let words = Words::new();
        for (seconds, said) in [
            (0, "less than 1 minute"),
            (59, "less than 1 minute"),
            (60, "1 minute"),
            (3599, "59 minutes"),
            (3600, "1 hour"),
            (3900, "1 hour 5 minutes"),
            (7260, "2 hours 1 minute"),
            (360_000, "100 hours"),
        ] {
            assert_eq!(words.duration(Language::En, Seconds(seconds)), said);
        }
        for (language, said) in [
            (Language::Es, "1 hora y 5 minutos"),
            (Language::Fr, "1 heure 5 minutes"),
            (Language::De, "1 Stunde 5 Minuten"),
            (Language::Pt, "1 hora e 5 minutos"),
            (Language::It, "1 ora e 5 minuti"),
            (Language::Ca, "1 hora i 5 minuts"),
            (Language::Nl, "1 uur en 5 minuten"),
        ] {
            assert_eq!(words.duration(language, Seconds(3900)), said);
        }
        assert!(words.duration(Language::En, Seconds(u64::MAX)).starts_with("4294967295 hours"));
        assert_eq!(words.time_left(Language::En, Pool::Unlimited), "No limit");
        assert_eq!(words.time_left(Language::En, Pool::Holds(Seconds(120))), "2 minutes");
    }

    #[test]
    fn dates_are_shown_in_the_zone_and_name_another_year() {
        let words = Words::new();
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let now = at("2026-11-24T12:00:00Z");
        let date = |language, moment| words.date(language, at(moment), &zone, now);
        for (language, said) in [
            (Language::En, "23 November, 18:00"),
            (Language::Es, "23 de noviembre a las 18:00"),
            (Language::Fr, "23 novembre à 18:00"),
            (Language::De, "23. November um 18:00 Uhr"),
            (Language::Pt, "23 de novembro às 18:00"),
            (Language::It, "23 novembre alle ore 18:00"),
            (Language::Ca, "23 de novembre a les 18:00"),
            (Language::Nl, "23 november om 18:00 uur"),
        ] {
            assert_eq!(date(language, "2026-11-23T17:00:00Z"), said);
        }
        // The year ends an hour earlier in this zone.
        assert_eq!(date(Language::En, "2026-12-31T22:59:59Z"), "31 December, 23:59");
        assert_eq!(date(Language::En, "2026-12-31T23:00:00Z"), "1 January 2027, 00:00");
        assert_eq!(date(Language::Fr, "2026-12-31T23:00:00Z"), "1er janvier 2027 à 00:00");
        assert_eq!(date(Language::De, "2026-12-31T23:00:00Z"), "1. Januar 2027 um 00:00 Uhr");
        assert_eq!(date(Language::Ca, "2027-04-11T10:00:00Z"), "11 d’abril de 2027 a les 11:00");
        // Now is already in the next year here.
        let new_year = at("2026-12-31T23:30:00Z");
        assert_eq!(words.date(Language::Es, new_year, &zone, new_year), "1 de enero a las 00:30");
        for moment in [Timestamp::MIN, Timestamp::MAX] {
            assert!(!words.date(Language::En, moment, &zone, moment).is_empty());
        }
    }

    #[test]
    fn every_month_has_its_name() {
        let words = Words::new();
        for language in Language::ALL {
            let dates = (1..=12).map(|month| {
                words.date(
                    language,
                    at(&format!("2026-{month:02}-05T10:00:00Z")),
                    &TimeZone::UTC,
                    at("2026-01-01T00:00:00Z"),
                )
            });
            assert_eq!(dates.collect::<BTreeSet<_>>().len(), 12, "{language:?}");
        }
    }

    #[test]
    fn a_device_is_there_since_a_time_of_today_or_a_date() {
        let words = Words::new();
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let since = |language, moment| words.since(language, at(moment), &zone, at("2026-11-24T12:00:00Z"));
        assert_eq!(since(Language::En, "2026-11-23T23:00:00Z"), "since 00:00");
        assert_eq!(since(Language::En, "2026-11-23T22:59:00Z"), "since 23 November, 23:59");
        assert_eq!(since(Language::De, "2026-11-24T09:05:00Z"), "seit 10:05 Uhr");
        assert_eq!(since(Language::De, "2026-11-23T09:05:00Z"), "seit dem 23. November um 10:05 Uhr");
        assert_eq!(since(Language::It, "2026-11-08T09:05:00Z"), "dal giorno 8 novembre alle ore 10:05");
    }

    #[test]
    fn a_browser_gets_the_language_it_asks_for() {
        use Language::{Ca, De, En, Es, Fr, It, Nl, Pt};
        let (commas, long) = (",".repeat(100_000), "a".repeat(100_000));
        for (header, default, language) in [
            ("fr-CH, fr;q=0.9, en;q=0.8", En, Fr),
            ("ca,es;q=0.5", En, Ca),
            ("es;q=0.5,ca", En, Ca),
            ("pt-BR", En, Pt),
            ("zh-Hant-TW, nl-BE;q=0.3", En, Nl),
            ("DE-at", En, De),
            ("de-DE-u-co-phonebk", En, De),
            ("it;q=0.5, fr;q=0.5", En, It),
            ("it ; q=0.5 , fr ; Q=0.6", En, Fr),
            ("*", De, De),
            ("zh, *;q=0.1", De, De),
            ("fr, *;q=0.1", De, Fr),
            ("", De, De),
            ("zh", De, De),
            ("de;q=0, en", Es, En),
            ("de;q=0", Es, Es),
            ("de;q=0.000, *", Es, Es),
            ("de;q=2, en;q=0.1", Es, En),
            ("de;q=-1, en;q=0.1", Es, En),
            ("de;q=NaN, en;q=0.1", Es, En),
            ("de;q=inf, en;q=0.1", Es, En),
            ("de;q=, en;q=0.1", Es, En),
            ("de;x=1, en;q=0.1", Es, En),
            ("de;, en;q=0.1", Es, En),
            ("english, de_DE, e, -, ;, ;q=1, =", Es, Es),
            ("\u{0}\u{ff}é<script>", Es, Es),
            (commas.as_str(), Nl, Nl),
            (long.as_str(), Nl, Nl),
        ] {
            assert_eq!(Language::asked_for(header, default), language, "{header:.80}");
        }
    }

    #[test]
    fn a_tag_is_read_as_it_is_written() {
        for language in Language::ALL {
            assert_eq!(language.tag().parse(), Ok(language));
        }
        for bad in ["", "zh", "de-DE", "deu", " de"] {
            assert_eq!(bad.parse::<Language>(), Err(UnknownLanguage));
        }
        assert_eq!(
            UnknownLanguage.to_string(),
            format!("it is none of {}", Language::ALL.map(Language::tag).join(", "))
        );
    }

    #[test]
    fn words_are_shared_between_threads() {
        fn shared<T: Send + Sync>(_: &T) {}
        shared(&Words::new());
    }

    proptest::proptest! {
        #[test]
        fn no_header_is_harmful(header in ".{0,200}") {
            let _ = Language::asked_for(&header, Language::En);
        }
    }
}
