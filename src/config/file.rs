//! The sections of the file, read into [`Settings`]: each key with its default and its bounds.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;
use secrecy::{ExposeSecret, SecretString};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::ironwifi;
use super::network::{self, SOUND_SECRET_BYTES};
use super::passwords::{self, SHORTEST, Written};
use super::reader::{Reader, Section};
use super::settings::{
    Admin, Cache, File, HandOver, LogForm, Nas, Nexudus, NexudusAuth, Portal, Settings, Source, Store, StoreKind,
    Telemetry, Throttle,
};
use super::values::{DAY, SECOND};
use crate::core::budget::{SESSION_CEILING, Seconds};
use crate::core::policy::{BindDevice, Counting, MacLogin, OnUserLimit, Policy, ZeroMinutes};
use crate::portal::language::Language;
use toml::de::DeTable;

/// "For ever", for durations that need some upper bound.
const LONG: u64 = 3650 * DAY;
/// The same in seconds.
const LONG_SECONDS: u64 = LONG / SECOND;

/// Reads the whole file; `None` where something needed is wrong or missing, which is noted then.
pub(super) fn settings<'a>(reader: &'a Reader<'a>, table: &'a DeTable<'a>) -> Option<Settings> {
    let root = reader.root(table);
    let source = source(&root);
    let cache = cache(&root.section("cache"));
    let policy = policy(&root.section("policy"));
    let throttle = throttle(&root.section("throttle"));
    let radius_section = root.section("radius");
    let radius = network::radius(&radius_section);
    let (nas, names) = network::nases(&root, radius_section.concealed("radsec").is_some());
    let http = network::http(&root.section("http"), &names);
    let ironwifi_section = root.section("ironwifi");
    let ironwifi = ironwifi::ironwifi(&ironwifi_section, &names);
    let is_whole = |source: &Source| !matches!(source, Source::Nexudus(nexudus) if !nexudus.mirror);
    if ironwifi.as_ref().is_some_and(|ironwifi| ironwifi.push.is_some()) && !source.as_ref().is_none_or(is_whole) {
        let help = "write `mirror = true` below [source.nexudus], or remove [ironwifi.push]";
        reader.error(ironwifi_section.at.clone(), "`ironwifi.push` needs the copy of every token", help);
    }
    let portal_section = root.section("portal");
    let portal = portal(&portal_section);
    if portal.enabled && portal.public_url.is_some() {
        let unreached = |nas: &&Nas| nas.hand_over != HandOver::Router && nas.hotspot_hosts.is_empty();
        for nas in nas.iter().flatten().filter(unreached) {
            portal_section.reader.warn(
                portal_section.at.clone(),
                format!("guests of NAS {} cannot be sent back to it: it has no `hotspot_hosts`", nas.name()),
                "write `hotspot_hosts = [\"login.example.net\"]` with the router's dns-name, or `hand_over = \"router\"`",
            );
        }
    }
    if portal.enabled && portal.public_url.as_deref().is_some_and(|url| url.starts_with("https://")) {
        for nas in nas.iter().flatten().filter(|nas| nas.hand_over == HandOver::Form) {
            portal_section.reader.warn(
                portal_section.at.clone(),
                format!(
                    "browsers warn guests of NAS {}: its form goes from https to http, unless its hotspot has TLS",
                    nas.name()
                ),
                "write `hand_over = \"one-time\"` for it, or give its hotspot a certificate and `login-by=https`",
            );
        }
    }
    let admin = admin(&root.section("admin"));
    let store = store(&root.section("store"));
    let telemetry_section = root.section("telemetry");
    let telemetry = telemetry(&telemetry_section);
    let metrics = telemetry.metrics_listen;
    if metrics.port() != 0 && http.as_ref().is_some_and(|http| http.listen.contains(&metrics)) {
        let help = "give one of the two another port, e.g. `metrics_listen = \"127.0.0.1:9812\"`";
        reader.error(telemetry_section.at, "`http.listen` and `telemetry.metrics_listen` are one address", help);
    }
    Some(Settings {
        source: source?,
        cache,
        policy,
        throttle,
        radius: radius?,
        nas: nas?,
        http: http?,
        ironwifi: ironwifi?,
        portal,
        admin,
        store: store?,
        telemetry,
    })
}

fn source(root: &Section<'_>) -> Option<Source> {
    let section = root.section("source");
    let nexudus = section.section("nexudus");
    let kinds = [("nexudus", Kind::Nexudus), ("file", Kind::File)];
    let kind = section
        .required("kind", "write `kind = \"nexudus\"` or `kind = \"file\"`")
        .and_then(|given| given.choice(&kinds));
    let (time_zone, business_ids) = zone_and_businesses(&nexudus);
    let api = nexudus_source(&nexudus, kind == Some(Kind::Nexudus));
    let path = if kind == Some(Kind::File) {
        section.required("path", "write `path = \"tokens.json\"`: a JSON array of AccessToken records")
    } else {
        section.given("path")
    };
    let path = path.and_then(|given| given.path("tokens.json"));
    match kind? {
        Kind::Nexudus => {
            section.idle("path", "it belongs to kind = \"file\"");
            api.map(|api| Source::Nexudus(Nexudus { time_zone, business_ids, ..api }))
        }
        Kind::File => {
            for key in nexudus.keys().filter(|key| !matches!(*key, "time_zone" | "business_ids")) {
                if super::keys::of("source.nexudus").contains(&key) {
                    nexudus.idle(key, "`source.kind` is \"file\"");
                }
            }
            Some(Source::File(File { path: path?, time_zone, business_ids }))
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Nexudus,
    File,
}

fn zone_and_businesses(section: &Section<'_>) -> (TimeZone, Vec<crate::core::ident::BusinessId>) {
    let zone = section.given("time_zone").and_then(|given| given.time_zone());
    (
        zone.unwrap_or(TimeZone::UTC),
        section.given("business_ids").and_then(|given| given.businesses()).unwrap_or_default(),
    )
}

/// `[source.nexudus]` but for what both kinds of source use; where it is not `used`, only what it says is checked, not
/// what it lacks.
fn nexudus_source(section: &Section<'_>, used: bool) -> Option<Nexudus> {
    let base_url = section.given("base_url").map_or_else(
        || Some("https://spaces.nexudus.com".to_owned()),
        |given| given.base_url("https://spaces.nexudus.com", false, "the password travels in clear"),
    );
    let username = if used {
        section.required("username", "write `username = \"wifi@example.org\"`: the e-mail of an administrator")
    } else {
        section.given("username")
    };
    let username = username.and_then(|given| given.words("wifi@example.org"));
    let password = if used {
        section.required_secret("password", "password_file")
    } else {
        section.secret("password", "password_file").given()
    };
    let totp_secret = section.secret("totp_secret", "totp_secret_file").given().map(|(seed, at)| {
        let plain: String = seed.expose_secret().chars().filter(|c| !matches!(c, ' ' | '-' | '=')).collect();
        if data_encoding::BASE32_NOPAD.decode(plain.to_ascii_uppercase().as_bytes()).is_err() {
            let help = "copy the text seed that Nexudus shows beside the QR code: letters A to Z and digits 2 to 7";
            section.reader.error(Some(at), "the one-time password seed is no Base32", help);
        }
        seed
    });
    let webhook_secret = webhook_secret(section);
    let auth = [("oauth", NexudusAuth::OAuth), ("basic", NexudusAuth::Basic)];
    let interval = |key, example: &str, default| or(duration(section, key, example, SECOND..=LONG), default);
    let settings = Nexudus {
        base_url: base_url.unwrap_or_default(),
        username: username.clone().unwrap_or_default(),
        password: password.clone().map(|(password, _)| password).unwrap_or_default(),
        totp_secret,
        auth: section.given("auth").and_then(|given| given.choice(&auth)).unwrap_or(NexudusAuth::OAuth),
        business_ids: Vec::new(),
        time_zone: TimeZone::UTC,
        request_timeout: or(duration(section, "request_timeout", "5s", 50..=300 * SECOND), 5),
        requests_per_minute: number(section, "requests_per_minute", 1..=100_000, 90),
        mirror: flag(section, "mirror", true),
        mirror_interval: interval("mirror_interval", "60s", 60),
        full_mirror_interval: interval("full_mirror_interval", "30m", 30 * 60),
        write_back: flag(section, "write_back", false),
        webhook_secret,
    };
    if settings.write_back && settings.requests_per_minute < 6 {
        section.given("requests_per_minute").into_iter().for_each(|given| {
            given.warn(
                "so few calls a minute leave no room to write minutes back: each token takes three, one after another",
                "write `requests_per_minute = 6` or more, or `write_back = false`",
            );
        });
    }
    if !settings.mirror {
        for key in ["webhook_secret", "webhook_secret_file"] {
            section.idle(key, "`source.nexudus.mirror` is false, so that there is nothing to read again");
        }
    }
    (username.is_some() && password.is_some()).then_some(settings)
}

fn webhook_secret(section: &Section<'_>) -> Option<SecretString> {
    let (secret, at) = section.secret("webhook_secret", "webhook_secret_file").given()?;
    // Of other characters Nexudus may sign a `?`.
    if secret.expose_secret().chars().filter(char::is_ascii).count() < SOUND_SECRET_BYTES {
        let message =
            format!("the webhook secret has fewer than {SOUND_SECRET_BYTES} ASCII characters and can be guessed");
        let help = "make one with `openssl rand -hex 16` and set it in Nexudus too";
        section.reader.warn(Some(at), message, help);
    }
    Some(secret)
}

fn cache(section: &Section<'_>) -> Cache {
    let age = |key, example: &str, default| or(duration(section, key, example, 0..=LONG), default);
    Cache {
        fresh_for: age("fresh_for", "60s", 60),
        stale_for: age("stale_for", "24h", 24 * 3600),
        unknown_for: age("unknown_for", "15s", 15),
        max_tokens: number(section, "max_tokens", 1..=1_000_000_000, 1_000_000),
        first_answer_within: duration(section, "first_answer_within", "200ms", 0..=10 * SECOND)
            .unwrap_or(Duration::from_millis(200)),
    }
}

fn policy(section: &Section<'_>) -> Policy {
    let default = Policy::default();
    let seconds = |key, example: &str, bounds: RangeInclusive<u64>| {
        let given = section.given(key)?;
        Some((given.seconds(example, bounds)?, given))
    };
    let value = |read: Option<(Seconds, _)>, default: Seconds| read.map_or(default, |(seconds, _)| seconds);
    let zero = [("deny", ZeroMinutes::Deny), ("unlimited", ZeroMinutes::Unlimited)];
    let counting = [("connected", Counting::Connected), ("elapsed", Counting::Elapsed)];
    let on_limit = [("deny", OnUserLimit::Deny), ("replace-oldest", OnUserLimit::ReplaceOldest)];
    let mac_login = [("remember", MacLogin::Remember), ("record", MacLogin::Record), ("off", MacLogin::Off)];
    let bind = [("off", BindDevice::Off), ("honour", BindDevice::Honour), ("learn", BindDevice::Learn)];

    let least = seconds("min_session", "60s", 1..=LONG_SECONDS);
    let most = seconds("max_session", "24h", 1..=u64::MAX / 1000);
    let min_session = least.as_ref().map_or(default.min_session, |(seconds, _)| *seconds);
    let mut max_session = most.as_ref().map_or(default.max_session, |(seconds, _)| *seconds);
    if let Some((_, given)) = most.as_ref().filter(|(seconds, _)| *seconds > SESSION_CEILING) {
        let message = format!("`policy.max_session` is more than routers honour; {SESSION_CEILING} are used");
        given.warn(message, format!("write `max_session = \"{}s\"` or less", SESSION_CEILING.0));
        max_session = SESSION_CEILING;
    }
    let both_sound = (least.is_some() || section.concealed("min_session").is_none())
        && (most.is_some() || section.concealed("max_session").is_none());
    if let Some((_, given)) = least.as_ref().or(most.as_ref()).filter(|_| both_sound && min_session > max_session) {
        given.wrong::<()>(
            format!("`policy.min_session` ({min_session}) is more than `policy.max_session` ({max_session}): nobody could log in"),
            "write a `min_session` below `max_session`, e.g. `min_session = \"60s\"`",
        );
    }
    Policy {
        default_user_limit: number(section, "default_user_limit", 1..=10_000, default.default_user_limit),
        zero_minutes: choice(section, "zero_minutes", &zero, default.zero_minutes),
        counting: choice(section, "counting", &counting, default.counting),
        min_session,
        max_session,
        idle_timeout: seconds("idle_timeout", "15m", 1..=LONG_SECONDS).map(|(seconds, _)| seconds),
        interim_interval: section
            .given("interim_interval")
            .and_then(|given| given.seconds("5m", 60..=DAY / SECOND))
            .unwrap_or(default.interim_interval),
        grant_timeout: value(seconds("grant_timeout", "2m", 1..=LONG_SECONDS), default.grant_timeout),
        missed_interims: number(section, "missed_interims", 1..=1000, default.missed_interims),
        on_user_limit: choice(section, "on_user_limit", &on_limit, default.on_user_limit),
        mac_login: choice(section, "mac_login", &mac_login, default.mac_login),
        bind_device: choice(section, "bind_device", &bind, default.bind_device),
        ignore_case: flag(section, "ignore_case", default.ignore_case),
    }
}

fn throttle(section: &Section<'_>) -> Throttle {
    Throttle {
        device_failures: number(section, "device_failures", 1..=1_000_000_000, 10),
        device_window: or(duration(section, "device_window", "10m", SECOND..=LONG), 600),
        nas_failures: number(section, "nas_failures", 1..=1_000_000_000, 300),
    }
}

fn portal(section: &Section<'_>) -> Portal {
    let languages = Language::ALL.map(|language| (language.tag(), language));
    let color = section.given("accent_color").and_then(|given| given.color());
    Portal {
        enabled: flag(section, "enabled", true),
        public_url: section.given("public_url").and_then(|given| {
            given.base_url("https://wifi.example.org", true, "anybody near can read the codes of guests")
        }),
        title: section
            .given("title")
            .and_then(|given| given.words("Example Space"))
            .unwrap_or_else(|| "WiFi".to_owned()),
        logo: section.given("logo").and_then(|given| given.path("logo.svg")),
        accent_color: color.unwrap_or_else(|| "#0a7".to_owned()),
        terms_url: terms_url(section),
        default_language: choice(section, "default_language", &languages, Language::En),
        guest_may_replace: flag(section, "guest_may_replace", false),
        templates: section.given("templates").and_then(|given| given.path("pages")),
    }
}

/// Unlike the other URLs it is only linked to, so that path, query and fragment are its own business.
fn terms_url(section: &Section<'_>) -> Option<String> {
    let given = section.given("terms_url")?;
    let example = "https://www.example.org/terms";
    let text = given.text(example)?;
    if text.contains('@') {
        given.conceal();
    }
    match reqwest::Url::parse(text.trim()) {
        Ok(url)
            if matches!(url.scheme(), "http" | "https") && url.password().is_none() && url.username().is_empty() =>
        {
            Some(url.to_string())
        }
        _ => given.wrong(
            "`portal.terms_url` must be a URL that begins with https:// or http://",
            format!("write `terms_url = \"{example}\"`"),
        ),
    }
}

fn admin(section: &Section<'_>) -> Admin {
    let enabled = flag(section, "enabled", true);
    let secret = section.secret("password", "password_file");
    if enabled && section.is_present() && matches!(secret, super::secrets::Secret::Absent) {
        section.reader.warn(
            section.at.clone(),
            "[admin] has no password: the web console stays off",
            "write `password_file = \"FILE\"` with the password in FILE, or `enabled = false`",
        );
    }
    let operator = secret.given();
    let viewer = section.secret("viewer_password", "viewer_password_file").given();
    for (password, at) in [&operator, &viewer].into_iter().flatten() {
        let text = password.expose_secret();
        match passwords::written(text) {
            Written::Unusable => section.reader.error(
                Some(at.clone()),
                "this is the hash of a password, and of a kind that cannot be checked",
                "make one with `spotgate password`, or write the password itself",
            ),
            Written::Plainly if text.chars().count() < SHORTEST => section.reader.warn(
                Some(at.clone()),
                format!("the password has fewer than {SHORTEST} characters and can be guessed"),
                "take a longer one",
            ),
            Written::Plainly | Written::Hashed => {}
        }
    }
    if let (Some((password, _)), Some((same, at))) = (&operator, &viewer)
        && super::secrets::same(password, same)
    {
        let help = "give those who may only look a password of their own, or leave it out";
        section.reader.error(Some(at.clone()), "both passwords are the same: whoever has it may do everything", help);
    }
    let (password, viewer_password) = (operator.map(|(password, _)| password), viewer.map(|(password, _)| password));
    Admin { enabled: enabled && password.is_some(), password, viewer_password }
}

fn store(section: &Section<'_>) -> Option<Store> {
    let kinds = [("embedded", false), ("postgres", true)];
    let kind = match section.given("kind") {
        None => Some(false),
        Some(given) => given.choice(&kinds),
    };
    let url = match kind {
        Some(true) => section.required_secret("url", "url_file"),
        _ => section.secret("url", "url_file").given(),
    };
    if let Some((url, at)) = &url {
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.expose_secret().starts_with(scheme)) {
            let help = "write postgres://USER:PASSWORD@HOST/DATABASE into the file";
            section.reader.error(Some(at.clone()), "the URL of the store must begin with postgres://", help);
        }
        if kind == Some(false) {
            for key in ["url", "url_file"] {
                section.idle(key, "`store.kind` is \"embedded\"");
            }
        }
    }
    if kind == Some(false) {
        section.idle("away_session", "`store.kind` is \"embedded\"");
    }
    let retain =
        |key, example: &str, days: u64| or(duration(section, key, example, SECOND..=LONG), days * DAY / SECOND);
    let path = section.given("path").and_then(|given| given.path("/var/lib/spotgate"));
    Some(Store {
        path: path.unwrap_or_else(|| PathBuf::from("/var/lib/spotgate")),
        away_session: or(duration(section, "away_session", "1h", 0..=LONG), 3600),
        retain_sessions: retain("retain_sessions", "90d", 90),
        retain_decisions: retain("retain_decisions", "30d", 30),
        kind: if kind? { StoreKind::Postgres(url?.0) } else { StoreKind::Embedded },
    })
}

fn telemetry(section: &Section<'_>) -> Telemetry {
    let forms = [("text", LogForm::Text), ("json", LogForm::Json), ("journald", LogForm::Journald)];
    let level = section.given("level").and_then(|given| {
        let level = given.words("info")?;
        // A bare word that is no level would pass as the name of a part, and silence all others.
        let sound = |part: &str| {
            part.contains(['=', '[']) || part.starts_with("spotgate") || part.parse::<LevelFilter>().is_ok()
        };
        if level.split(',').all(|part| sound(part.trim())) && EnvFilter::builder().parse(&level).is_ok() {
            return Some(level);
        }
        given.wrong(
            "`telemetry.level` must be a level, or several for parts of spotgate",
            "write \"error\", \"warn\", \"info\", \"debug\" or \"trace\"; or e.g. \"info,spotgate::radius=debug\"",
        )
    });
    let metrics = section.given("metrics_listen").and_then(|given| given.listen("127.0.0.1:9812"));
    Telemetry {
        log: choice(section, "log", &forms, LogForm::Text),
        level: level.unwrap_or_else(|| "info".to_owned()),
        metrics_listen: metrics.unwrap_or_else(|| ([127, 0, 0, 1], 9812).into()),
    }
}

/// The duration of a key within bounds in milliseconds.
pub(super) fn duration<'a>(
    section: &Section<'a>,
    key: &'a str,
    example: &str,
    bounds: RangeInclusive<u64>,
) -> Option<Duration> {
    section.given(key).and_then(|given| given.duration(example, bounds))
}

/// The duration, else so many seconds.
pub(super) fn or(duration: Option<Duration>, seconds: u64) -> Duration {
    duration.unwrap_or(Duration::from_secs(seconds))
}

/// The number of a key, else its default.
pub(super) fn number<'a, T: TryFrom<i64> + Copy + Into<u64>>(
    section: &Section<'a>,
    key: &'a str,
    bounds: RangeInclusive<i64>,
    default: T,
) -> T {
    let example = i64::try_from(default.into()).unwrap_or(*bounds.start());
    section.given(key).and_then(|given| given.number(bounds, example)).unwrap_or(default)
}

/// `true` or `false` of a key, else its default.
pub(super) fn flag<'a>(section: &Section<'a>, key: &'a str, default: bool) -> bool {
    section.given(key).and_then(|given| given.flag()).unwrap_or(default)
}

/// The word of a key, else its default.
pub(super) fn choice<'a, T: Copy>(section: &Section<'a>, key: &'a str, words: &[(&str, T)], default: T) -> T {
    section.given(key).and_then(|given| given.choice(words)).unwrap_or(default)
}
