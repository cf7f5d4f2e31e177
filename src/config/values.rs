//! What values mean: durations, paths, addresses, URLs, colours.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo};
use reqwest::Url;
use toml::de::DeValue;

use super::reader::{Given, interpolated};
use crate::core::budget::Seconds;
use crate::core::ident::BusinessId;

/// What fits into one RADIUS attribute, less what a vendor attribute needs (RFC 2865 §5.26).
const VENDOR_TEXT_BYTES: usize = 247;

/// Milliseconds of the units that bounds are written in.
pub(super) const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
pub(super) const DAY: u64 = 24 * HOUR;

impl Given<'_> {
    /// A duration within `bounds` (milliseconds); `example` as one would write it.
    pub(super) fn duration(&self, example: &str, bounds: RangeInclusive<u64>) -> Option<Duration> {
        let written = format!("write `{} = \"{example}\"`", self.key);
        if let DeValue::Integer(_) | DeValue::Float(_) = self.value.get_ref() {
            let message = format!("`{}` is a number without a unit", self.name);
            return self.wrong(message, format!("{written}; units are ms, s, m, h and d"));
        }
        let text = self.text(example)?;
        let Some(duration) = duration(&text) else {
            let message = format!("`{}` is no duration", self.name);
            return self.wrong(message, format!("{written}; units are ms, s, m, h and d, also together: \"1h 30m\""));
        };
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        // Parts of a millisecond are nothing anybody means.
        if bounds.contains(&millis) && duration.subsec_nanos() % 1_000_000 == 0 {
            return Some(duration);
        }
        let message = format!("`{}` must be from {} to {}", self.name, shown(*bounds.start()), shown(*bounds.end()));
        self.wrong(message, written)
    }

    /// A duration in whole seconds within `bounds` (seconds).
    pub(super) fn seconds(&self, example: &str, bounds: RangeInclusive<u64>) -> Option<Seconds> {
        let bounds = bounds.start() * SECOND..=bounds.end() * SECOND;
        let duration = self.duration(example, bounds)?;
        if duration.subsec_nanos() != 0 {
            let message = format!("`{}` must be whole seconds: routers know no parts of one", self.name);
            return self.wrong(message, format!("write `{} = \"{example}\"`", self.key));
        }
        Some(Seconds(duration.as_secs()))
    }

    /// A path; a relative one starts at the configuration's folder.
    pub(super) fn path(&self, example: &str) -> Option<PathBuf> {
        const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
        let text = self.words(example)?;
        let after = text.strip_prefix('$').and_then(|text| text.strip_prefix(CREDENTIALS));
        let Some(after) = after.filter(|after| after.is_empty() || after.starts_with('/')) else {
            return Some(self.reader.folder.join(text));
        };
        match ((self.reader.env)(CREDENTIALS), after.strip_prefix("/secrets_")) {
            (Some(folder), _) => Some(PathBuf::from(format!("{folder}{after}"))),
            // Where the shipped unit takes it from (LoadCredential=secrets:), so that commands beside the service find it too.
            (None, Some(name)) if !name.contains('/') => Some(self.reader.folder.join("secrets").join(name)),
            (None, _) => self.wrong(
                format!("`{}` uses {CREDENTIALS}, which is not set", self.name),
                "systemd sets it for a service with LoadCredential=; by hand, set it to the folder of the secrets",
            ),
        }
    }

    /// Printable text that fits into a vendor attribute.
    pub(super) fn attribute(&self, example: &str) -> Option<String> {
        let text = self.words(example)?;
        if text.len() > VENDOR_TEXT_BYTES || text.chars().any(char::is_control) {
            return self.wrong(
                format!("`{}` must be at most {VENDOR_TEXT_BYTES} bytes of printable text", self.name),
                format!("write `{} = \"{example}\"`", self.key),
            );
        }
        Some(text)
    }

    /// A name of at most `most` printable characters.
    pub(super) fn name(&self, example: &str, most: usize) -> Option<String> {
        let text = self.words(example)?;
        if text.trim() != text || text.chars().count() > most || text.chars().any(char::is_control) {
            return self.wrong(
                format!("`{}` must be 1 to {most} printable characters, without blanks around them", self.name),
                format!("write `{} = \"{example}\"`", self.key),
            );
        }
        Some(text)
    }

    /// Ids of Nexudus locations.
    pub(super) fn businesses(&self) -> Option<Vec<BusinessId>> {
        self.list("[123]", |id| id.number(1..=i64::MAX, 123)).map(|ids| ids.into_iter().map(BusinessId).collect())
    }

    /// A time zone.
    pub(super) fn time_zone(&self) -> Option<TimeZone> {
        let text = self.text("UTC")?;
        TimeZone::get(&text).ok().filter(|_| !text.is_empty()).or_else(|| {
            self.wrong(
                format!("`{}` is no time zone", self.name),
                "write \"UTC\" or a name like \"Europe/Madrid\" (continent/city)",
            )
        })
    }

    /// Where a socket listens.
    pub(super) fn listen(&self, example: &str) -> Option<SocketAddr> {
        let text = self.text(example)?;
        text.trim().parse().ok().or_else(|| {
            self.wrong(
                format!("`{}` must be an IP address with a port", self.name),
                format!(
                    "write \"{example}\"; IPv6 in brackets: \"[::1]:8080\"; every address of the host: \"0.0.0.0:PORT\""
                ),
            )
        })
    }

    /// Where sockets listen; no address twice.
    pub(super) fn listens(&self, example: &str) -> Option<Vec<SocketAddr>> {
        let mut seen: Vec<SocketAddr> = Vec::new();
        for item in self.items(&format!("[\"{example}\"]"))? {
            let address = item.listen(example);
            if address.is_some_and(|address| address.port() != 0 && seen.contains(&address)) {
                item.wrong::<()>(format!("`{}` has this address twice", self.name), "remove one of the two");
            }
            seen.extend(address);
        }
        Some(seen)
    }

    /// An address, or a network.
    pub(super) fn network(&self, example: &str) -> Option<IpNet> {
        let text = self.text(example)?;
        let text = text.trim();
        let parsed = match text.parse::<IpAddr>() {
            Ok(address) => Some(IpNet::from(address.to_canonical())),
            Err(_) => text.parse::<IpNet>().ok().map(canonical),
        };
        let Some(network) = parsed else {
            return self.wrong(
                format!("`{}` must be an IP address or a network", self.name),
                "write \"192.168.88.1\", or \"10.5.0.0/24\" for every address of a network",
            );
        };
        if network.addr() != network.network() {
            let message = format!("`{}` is an address within a network; the whole network is meant", self.name);
            let whole = if self.is_interpolated() {
                "0 after the prefix".to_owned()
            } else {
                format!("\"{}\"", network.trunc())
            };
            self.warn(message, format!("write {whole}, or the address alone without the /"));
        }
        Some(network.trunc())
    }

    /// An `http(s)` URL, without a slash at the end.
    pub(super) fn url(&self, example: &str, path_allowed: bool) -> Option<Url> {
        let text = self.text(example)?;
        if text.contains('@') {
            // What stands before an @ in a URL is user and password.
            self.conceal();
        }
        let help = format!("write `{} = \"{example}\"`", self.key);
        let url = Url::parse(text.trim()).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let Some(url) = url else {
            return self.wrong(format!("`{}` must be a URL that begins with https:// or http://", self.name), help);
        };
        if !url.username().is_empty() || url.password().is_some() {
            return self.wrong(format!("`{}` must not hold a user or password", self.name), help);
        }
        if url.query().is_some() || url.fragment().is_some() || (!path_allowed && url.path() != "/") {
            let path = if path_allowed { "" } else { "a path, " };
            return self.wrong(format!("`{}` must be a URL without {path}`?` and `#`", self.name), help);
        }
        Some(url)
    }

    /// A URL as [`Self::url`] reads it, with a warning where anybody on the way could read along.
    pub(super) fn base_url(&self, example: &str, path_allowed: bool, risk: &str) -> Option<String> {
        let url = self.url(example, path_allowed)?;
        if url.scheme() == "http" && !is_loopback(&url) {
            self.warn(
                format!("`{}` is not encrypted: {risk}", self.name),
                format!("write `{} = \"{example}\"`", self.key),
            );
        }
        Some(url.as_str().trim_end_matches('/').to_owned())
    }

    /// A host name or address, with or without a port.
    pub(super) fn host(&self, example: &str) -> Option<String> {
        let text = self.text(example)?.to_ascii_lowercase();
        if is_host(&text) {
            return Some(text);
        }
        self.wrong(
            format!("`{}` must hold host names, each with or without a port", self.name),
            format!("write \"{example}\": no https:// before it, no / after it"),
        )
    }

    /// A CSS colour.
    pub(super) fn color(&self) -> Option<String> {
        let text = self.text("#0a7")?;
        let digits = text.strip_prefix('#').unwrap_or_default();
        if matches!(digits.len(), 3 | 6) && digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
            return Some(text);
        }
        let message = format!("`{}` must be # and three or six hexadecimal digits", self.name);
        self.wrong(message, format!("write `{} = \"#0a7\"` or `{} = \"#00aa77\"`", self.key, self.key))
    }

    /// Whether the value comes from the environment, as far as the file shows.
    pub(super) fn is_interpolated(&self) -> bool {
        self.value.get_ref().as_str().is_some_and(|raw| interpolated(raw, self.reader.env).as_deref() != Ok(raw))
    }
}

/// Reads `90s`, `1h 30m`, `PT5M`: what jiff calls a friendly duration, with days of 24 hours.
fn duration(text: &str) -> Option<Duration> {
    let span: Span = text.trim().parse().ok()?;
    Duration::try_from(span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?).ok()
}

/// Milliseconds as one would write them.
fn shown(millis: u64) -> String {
    let units = [(DAY, "d"), (HOUR, "h"), (60 * SECOND, "m"), (SECOND, "s"), (1, "ms")];
    let unit = units
        .iter()
        .find(|(unit, _)| millis >= *unit && millis.is_multiple_of(*unit) && (*unit != DAY || millis > 2 * DAY));
    unit.map_or_else(|| "0s".to_owned(), |(unit, name)| format!("{}{name}", millis / unit))
}

/// An IPv4 network written as IPv6 (`::ffff:0:0/96`), as the IPv4 network it is.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(six) = network else { return network };
    match (six.addr().to_ipv4_mapped(), six.prefix_len().checked_sub(96)) {
        (Some(four), Some(prefix)) => IpNet::new(four.into(), prefix).unwrap_or(network),
        _ => network,
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost"
        || host.ends_with(".localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

fn is_host(text: &str) -> bool {
    if text.parse::<SocketAddr>().is_ok() || text.parse::<Ipv6Addr>().is_ok() {
        return true;
    }
    let (host, port) = text.split_once(':').unwrap_or((text, "1"));
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|character| character.is_ascii_alphanumeric() || matches!(character, '-' | '_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= 253 && host.split('.').all(label) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// The folder of the file at `path`.
pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, expected) in [
            ("90s", Some(90_000)),
            ("15m", Some(900_000)),
            ("24h", Some(86_400_000)),
            ("200ms", Some(200)),
            ("90d", Some(90 * 86_400_000)),
            ("1h 30m", Some(5_400_000)),
            ("1h30m", Some(5_400_000)),
            ("PT5M", Some(300_000)),
            ("0s", Some(0)),
            ("-5s", None),
            ("60", None),
            ("", None),
            ("1 month", None),
            ("soon", None),
        ] {
            assert_eq!(duration(text).map(|duration| duration.as_millis()), expected, "{text}");
        }
    }

    #[test]
    fn bounds_are_shown_in_their_unit() {
        let texts = [0, 50, 1000, 60_000, HOUR, DAY, 3650 * DAY].map(shown);
        assert_eq!(texts, ["0s", "50ms", "1s", "1m", "1h", "24h", "3650d"]);
    }

    #[test]
    fn hosts_are_names_or_addresses_with_or_without_a_port() {
        for good in [
            "login.example.net",
            "login.example.net:8080",
            "10.5.50.1",
            "10.5.50.1:80",
            "[::1]:80",
            "fe80::1",
            "hotspot",
        ] {
            assert!(is_host(good), "{good}");
        }
        for bad in [
            "",
            "https://login.example.net",
            "login.example.net/",
            "*.example.net",
            "a..b",
            "-a.net",
            "a:0",
            "a:b",
            "a b",
        ] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
