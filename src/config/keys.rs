//! The names of all sections and keys, for "did you mean" and for telling a typing mistake from a misplaced key.

/// Each section with its keys, in order of the documentation. Every key is read by `file.rs` or `network.rs`, and stands
/// in `config/spotgate.toml`; tests hold the three together.
pub(super) const SECTIONS: &[(&str, &[&str])] = &[
    ("source", &["kind", "path"]),
    (
        "source.nexudus",
        &[
            "base_url",
            "username",
            "password",
            "password_file",
            "totp_secret",
            "totp_secret_file",
            "auth",
            "business_ids",
            "time_zone",
            "request_timeout",
            "requests_per_minute",
            "mirror",
            "mirror_interval",
            "full_mirror_interval",
            "write_back",
            "webhook_secret",
            "webhook_secret_file",
        ],
    ),
    ("cache", &["fresh_for", "stale_for", "unknown_for", "max_tokens", "first_answer_within"]),
    (
        "policy",
        &[
            "default_user_limit",
            "zero_minutes",
            "counting",
            "min_session",
            "max_session",
            "idle_timeout",
            "interim_interval",
            "grant_timeout",
            "missed_interims",
            "on_user_limit",
            "mac_login",
            "bind_device",
            "ignore_case",
        ],
    ),
    ("throttle", &["device_failures", "device_window", "nas_failures"]),
    ("radius", &["auth_listen", "acct_listen", "workers", "duplicate_window"]),
    ("radius.radsec", &["listen", "certificate", "private_key", "client_ca"]),
    (
        "nas",
        &[
            "name",
            "address",
            "secret",
            "secret_file",
            "require_message_authenticator",
            "business_ids",
            "disconnect_port",
            "disconnect_style",
            "extend_sessions",
            "accounting",
            "hand_over",
            "fas_key",
            "fas_key_file",
            "hotspot_hosts",
            "code_in",
            "certificate_name",
            "rate_limit",
            "wispr",
            "group",
        ],
    ),
    ("http", &["listen", "certificate", "private_key", "trusted_proxies"]),
    ("http.api_key", &["name", "key", "key_file", "scopes", "nas"]),
    ("ironwifi", &["code_fields", "device_fields", "valid_until"]),
    (
        "ironwifi.push",
        &["base_url", "api_key", "api_key_file", "nas", "requests_per_minute", "request_timeout", "withdraw"],
    ),
    (
        "portal",
        &[
            "enabled",
            "public_url",
            "title",
            "logo",
            "accent_color",
            "terms_url",
            "default_language",
            "guest_may_replace",
            "templates",
        ],
    ),
    ("admin", &["enabled", "password", "password_file", "viewer_password", "viewer_password_file"]),
    ("store", &["kind", "path", "url", "url_file", "away_session", "retain_sessions", "retain_decisions"]),
    ("telemetry", &["log", "level", "metrics_listen"]),
];

/// The keys of a section; none of one that does not exist.
pub(super) fn of(section: &str) -> &'static [&'static str] {
    SECTIONS.iter().find(|(name, _)| *name == section).map_or(&[], |(_, keys)| keys)
}

/// Whether there is such a section.
pub(super) fn is_section(name: &str) -> bool {
    SECTIONS.iter().any(|(known, _)| *known == name)
}

/// Whether a key holds a secret, rather than something that may be shown.
pub(super) fn is_secret(key: &str) -> bool {
    matches!(
        key,
        "secret"
            | "key"
            | "api_key"
            | "fas_key"
            | "password"
            | "viewer_password"
            | "totp_secret"
            | "webhook_secret"
            | "url"
    )
}

/// A section as it is written: those of which there may be several have double brackets.
pub(super) fn header(section: &str) -> String {
    if matches!(section, "nas" | "http.api_key") { format!("[[{section}]]") } else { format!("[{section}]") }
}

/// The one of `words` that `word` was probably meant to be.
pub(super) fn nearest<'w>(word: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let folded = word.to_ascii_lowercase().replace('-', "_");
    let close = |candidate: &str| {
        let distance = strsim::damerau_levenshtein(&folded, &candidate.to_ascii_lowercase().replace('-', "_"));
        (distance <= candidate.chars().count().div_ceil(4).clamp(1, 3)).then_some(distance)
    };
    // A word far longer than any of ours is no typing mistake, and comparing it costs its length squared.
    if folded.len() > 64 {
        return None;
    }
    words
        .into_iter()
        .filter_map(|candidate| Some((close(candidate)?, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Where an unknown section was probably meant to be.
pub(super) fn nearest_section(name: &str) -> Option<&'static str> {
    let last = |path: &'static str| path.rsplit('.').next().unwrap_or(path);
    let all = || SECTIONS.iter().map(|(section, _)| *section);
    let wanted = name.rsplit('.').next().unwrap_or(name);
    nearest(name, all()).or_else(|| all().find(|section| nearest(wanted, [last(section)]).is_some())).or_else(|| {
        all().find(|section| name.ends_with('s') && nearest(name.trim_end_matches('s'), [*section]).is_some())
    })
}

/// What to write instead of the unknown `key` in `section` (empty: before the first section).
pub(super) fn advice(section: &str, key: &str) -> String {
    let elsewhere = || SECTIONS.iter().filter(|(_, keys)| keys.contains(&key)).map(|(name, _)| header(name));
    if let Some(near) = nearest(key, of(section).iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    let owners: Vec<String> = elsewhere().collect();
    if !owners.is_empty() {
        return format!("`{key}` belongs below {}", owners.join(" or "));
    }
    let mut everywhere = SECTIONS.iter().flat_map(|(name, keys)| keys.iter().map(move |known| (*name, *known)));
    if let Some((owner, near)) = everywhere.find(|(_, known)| nearest(key, [*known]).is_some()) {
        return format!("did you mean `{near}` below {}?", header(owner));
    }
    if section.is_empty() {
        let names: Vec<String> = SECTIONS.iter().map(|(name, _)| header(name)).collect();
        return format!("write keys below their section; there are {}", names.join(", "));
    }
    format!("remove the line; {} knows {}", header(section), of(section).join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_mistakes_find_what_was_meant() {
        for (section, key, advice_part) in [
            ("nas", "secert", "did you mean `secret`?"),
            ("nas", "adress", "did you mean `address`?"),
            ("policy", "max-session", "did you mean `max_session`?"),
            ("source", "mirror", "`mirror` belongs below [source.nexudus]"),
            ("", "min_session", "`min_session` belongs below [policy]"),
            ("cache", "requests_per_minutes", "did you mean `requests_per_minute` below [source.nexudus]?"),
            ("throttle", "colour", "[throttle] knows device_failures, device_window, nas_failures"),
        ] {
            let advice = advice(section, key);
            assert!(advice.contains(advice_part), "{section}.{key}: {advice}");
        }
    }

    #[test]
    fn sections_are_found_by_their_last_name_too() {
        assert_eq!(nearest_section("nexudus"), Some("source.nexudus"));
        assert_eq!(nearest_section("api_key"), Some("http.api_key"));
        assert_eq!(nearest_section("http.apikey"), Some("http.api_key"));
        assert_eq!(nearest_section("polcy"), Some("policy"));
        assert_eq!(nearest_section("radius.radsecc"), Some("radius.radsec"));
        assert_eq!(nearest_section("zebra"), None);
    }
}
