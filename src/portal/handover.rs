//! A login handed over between a MikroTik hotspot and a page that is not its own (facts/hotspot.md §5).
//!
//! Everything that the hotspot says comes by way of the guest's browser, and may be the guest's own invention: where the
//! login goes must be known to be a hotspot, where the guest goes must be on the web, and a challenge must be one.

use md5::{Digest as _, Md5};
use reqwest::Url;

/// Where devices look whether there is a portal; nobody wants to go there (facts/hotspot.md §5.3).
const PROBES: [&str; 14] = [
    "captive.apple.com",
    "www.apple.com",
    "connectivitycheck.gstatic.com",
    "connectivitycheck.android.com",
    "clients3.google.com",
    "www.msftconnecttest.com",
    "www.msftncsi.com",
    "detectportal.firefox.com",
    "nmcheck.gnome.org",
    "connectivity-check.ubuntu.com",
    "network-test.debian.org",
    "connectivitycheck.platform.hicloud.com",
    "connect.rom.miui.com",
    "conn-service-eu-04.allawnos.com",
];

/// The longest address that is looked at, in octets.
const LONGEST: usize = 2048;

/// The most octets that a challenge has; RouterOS sends 16.
const CHALLENGE: usize = 64;

/// Why an address is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no address of the web, or one with a user's name in it.
    #[error("it is no address of the web")]
    NotOfTheWeb,
    /// It is not in `hotspot_hosts` of any NAS.
    #[error("it is in hotspot_hosts of no NAS")]
    Foreign,
}

/// Where a hotspot takes its login form: `link-login-only`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginLink(Url);

/// Where the guest wanted to go: `link-orig`, later `dst`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination(Url);

/// `chap-id` and `chap-challenge`, as a hotspot prints them: a backslash and three octal digits for each octet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chap {
    id: u8,
    challenge: Vec<u8>,
}

impl LoginLink {
    /// Reads it. `is_hotspot` knows hosts in lower case, with their port if it is not the usual one: `login.example.net`,
    /// `10.5.50.1:8080`.
    ///
    /// # Errors
    ///
    /// Nothing may be sent there.
    pub fn parse(text: &str, is_hotspot: impl FnOnce(&str) -> bool) -> Result<Self, Refused> {
        let mut url = web(text)?;
        let host = url.host_str().unwrap_or_default();
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        if !is_hotspot(&host) {
            return Err(Refused::Foreign);
        }
        // What RouterOS would take for a part of the login is ours to write.
        url.set_query(None);
        url.set_fragment(None);
        Ok(Self(url))
    }

    /// For the `action` of a form, and for `form-action` of the page's policy.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Another place on the same hotspot.
    #[must_use]
    pub fn at(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(path);
        url
    }

    /// Where the hotspot logs out.
    #[must_use]
    pub fn logout(&self) -> String {
        self.0.join("logout").map_or_else(|_| self.0.to_string(), String::from)
    }

    /// Where a form may lead from there: the hotspot, whether it speaks TLS or not, for `form-action`.
    #[must_use]
    pub fn origins(&self) -> Vec<String> {
        let host = self.0.host_str().unwrap_or_default();
        let host = self.0.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        ["http", "https"].map(|scheme| format!("{scheme}://{host}")).to_vec()
    }

    /// The login as one address, and where the hotspot is to send the guest then, for a redirect. It stands in histories and logs of the hotspot: `password` must be good for
    /// once.
    #[must_use]
    pub fn with_login(&self, username: &str, password: &str, then: Option<&str>) -> String {
        let mut url = self.0.clone();
        let mut query = url.query_pairs_mut();
        query.append_pair("username", username).append_pair("password", password);
        if let Some(then) = then {
            query.append_pair("dst", then);
        }
        drop(query);
        url.into()
    }
}

impl Destination {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// Nobody is sent there.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        web(text).map(Self)
    }

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Its host.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// Whether it is of the same host as this address, by TLS or without.
    #[must_use]
    pub fn is_of(&self, base: &str) -> bool {
        Url::parse(base).is_ok_and(|base| base.host() == self.0.host() && base.port() == self.0.port())
    }

    /// What its query says of a name.
    #[must_use]
    pub fn says(&self, name: &str) -> Option<String> {
        self.0.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    }

    /// Whether a device only looked there whether there is a portal.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        PROBES.contains(&self.host()) || self.0.path() == "/generate_204"
    }
}

impl Chap {
    /// Reads both; none if either is not what a hotspot prints.
    #[must_use]
    pub fn parse(id: &str, challenge: &str) -> Option<Self> {
        let [id] = octets(id, 1)?[..] else { return None };
        let challenge = octets(challenge, CHALLENGE).filter(|challenge| !challenge.is_empty())?;
        Some(Self { id, challenge })
    }

    /// What the form sends as the password: MD5 of id, password and challenge, in lower-case hexadecimal (RFC 1994 §4.1).
    #[must_use]
    pub fn response(&self, password: &str) -> String {
        let digest = Md5::new().chain_update([self.id]).chain_update(password).chain_update(&self.challenge).finalize();
        data_encoding::HEXLOWER.encode(&digest)
    }
}

/// An absolute address of the web, without a name or password in it.
fn web(text: &str) -> Result<Url, Refused> {
    // Line breaks and tabs would be left out by the parser, and so be something else to whoever reads it next.
    let plain = text.len() <= LONGEST && text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'\\');
    let url = if plain { Url::parse(text).ok() } else { None };
    let is_web = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.has_host()
    };
    url.filter(is_web).ok_or(Refused::NotOfTheWeb)
}

/// `\371\133…` as octets, `most` of them; none for anything else.
fn octets(text: &str, most: usize) -> Option<Vec<u8>> {
    let (each, rest) = text.as_bytes().as_chunks::<4>();
    if !rest.is_empty() || each.len() > most {
        return None;
    }
    let octet = |printed: &[u8; 4]| match printed {
        [b'\\', high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7'] => {
            Some((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'))
        }
        _ => None,
    };
    each.iter().map(octet).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn link(text: &str) -> Result<LoginLink, Refused> {
        LoginLink::parse(text, |host| ["login.example.net", "10.5.50.1:8080", "[2001:db8::1]"].contains(&host))
    }

    #[test]
    fn a_login_goes_to_hotspots_alone() {
        for good in [
            "http://login.example.net/login",
            "https://LOGIN.example.net:443/login?dst=x&username=y#z",
            "http://10.5.50.1:8080/login",
            "http://[2001:DB8::1]/login",
        ] {
            assert!(link(good).is_ok_and(|link| link.as_str().ends_with("/login")), "{good}");
        }
        for foreign in [
            "http://evil.example/login",
            "http://login.example.net.evil.example/login",
            "http://login.example.net.:80/login",
            "http://login.example.net:8080/login",
            "http://10.5.50.1/login",
            "http://evil.example/login.example.net",
            "http://evil.example#login.example.net",
            "http://evil.example?login.example.net",
        ] {
            assert_eq!(link(foreign), Err(Refused::Foreign), "{foreign}");
        }
    }

    #[test]
    fn only_addresses_of_the_web_are_addresses() {
        let long = format!("http://login.example.net/{}", "a".repeat(LONGEST));
        for bad in [
            "",
            "login.example.net/login",
            "//login.example.net/login",
            "javascript:alert(1)",
            "data:text/html,x",
            "ftp://login.example.net/",
            "http://login.example.net@evil.example/login",
            "http://:x@login.example.net/login",
            "http://login.example.net\\@evil.example/",
            "http://login.example.net/\r\nSet-Cookie: a=b",
            "http://login.example.net/ x",
            "http://log\tin.example.net/",
            "http://löggin.example.net/",
            &long,
        ] {
            assert_eq!(link(bad), Err(Refused::NotOfTheWeb), "{bad}");
            assert_eq!(Destination::parse(bad), Err(Refused::NotOfTheWeb), "{bad}");
        }
        assert!(Destination::parse("https://example.org/a?b=c#d").is_ok());
    }

    #[test]
    fn a_login_in_an_address_is_escaped() {
        let destination = Destination::parse("http://example.org/?a=b&c=d").unwrap();
        let link = link("http://login.example.net/login?x=y").unwrap();
        assert_eq!(
            link.with_login("é &=", "o#p", Some(destination.as_str())),
            "http://login.example.net/login?username=%C3%A9+%26%3D&password=o%23p&dst=http%3A%2F%2Fexample.org%2F%3Fa%3Db%26c%3Dd"
        );
    }

    /// The example of facts/hotspot.md §5.2.
    #[test]
    fn a_challenge_is_answered_as_the_hotspots_own_page_does() {
        let chap =
            Chap::parse("\\371", "\\133\\012\\235\\341\\102\\167\\063\\310\\037\\320\\252\\144\\022\\351\\213\\007");
        assert_eq!(chap.unwrap().response("kx7q-91mp"), "33b1ec440cdbb48a28ca00096f49aaff");
    }

    #[test]
    fn what_is_not_printed_so_is_no_challenge() {
        for (id, challenge) in [
            ("", "\\001"),
            ("\\001", ""),
            ("\\001\\002", "\\001"),
            ("\\400", "\\001"),
            ("\\008", "\\001"),
            ("\\01", "\\001"),
            ("001", "\\001"),
            ("/001", "\\001"),
            ("\\001", "\\001\\02"),
            ("\\001", "\\001\\002x"),
            ("\\00é", "\\001"),
            ("\\001", &"\\001".repeat(CHALLENGE + 1)),
        ] {
            assert_eq!(Chap::parse(id, challenge), None, "{id} {challenge}");
        }
    }

    proptest! {
        #[test]
        fn every_challenge_is_read_as_it_was_printed(id: u8, challenge in prop::collection::vec(any::<u8>(), 1..=CHALLENGE)) {
            let printed: String = challenge.iter().map(|octet| format!("\\{octet:03o}")).collect();
            prop_assert_eq!(Chap::parse(&format!("\\{id:03o}"), &printed), Some(Chap { id, challenge }));
        }
    }
}
