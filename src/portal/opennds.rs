//! openNDS, which speaks no RADIUS: how its guests arrive at our page, and how they go back (its "forward authentication", FAS,
//! with `fas_secure_enabled 1`; see docs/systems.md).
//!
//! It sends a browser with `fas`: base64 of pairs, among them `hid`, the hash of a token that it keeps to itself. Whoever answers
//! with the hash of that and of the key that openNDS and spotgate share says that a code was typed that is good. openNDS then has its
//! BinAuth script ask whether the guest goes online, and for how long.

use data_encoding::{BASE64, HEXLOWER};
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::handover::{Destination, LoginLink};
use crate::ticket::Ticket;

/// More base64 is nobody's, in octets: openNDS has room for 8192 octets before it encodes.
const LONGEST: usize = 12 * 1024;

/// Where openNDS takes logins and logouts, on its own web server.
const LOGIN: &str = "/opennds_auth/";
const LOGOUT: &str = "/opennds_deny/";

/// What `fas` says, by the names that the portal has for it; none if openNDS does not write so. `base` is where our own pages are.
#[must_use]
pub fn pairs(fas: &str, base: Option<&str>) -> Option<Vec<(String, String)>> {
    if fas.len() > LONGEST {
        return None;
    }
    // In an address openNDS writes it bare, and a form's decoder takes a plus for a space.
    let text = String::from_utf8(BASE64.decode(fas.replace(' ', "+").as_bytes()).ok()?).ok()?;
    let get = |name: &str| text.split(", ").find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    // The page there that sends a guest here: its login with nothing to log in with ends openNDS.
    let login = format!("http://{}/login", get("gatewayaddress")?);
    let mut pairs = vec![
        ("hid", get("hid")?.to_owned()),
        ("mac", get("clientmac")?.to_owned()),
        ("ip", get("clientip")?.to_owned()),
        ("link-login-only", login),
    ];
    let origin = get("originurl").and_then(decoded).and_then(|origin| Destination::parse(&origin).ok());
    match origin {
        // Whom openNDS does not let in, it sends back as one who wants to go where we wanted to send him.
        Some(ours) if base.is_some_and(|base| ours.is_of(base)) && ours.says("t").is_some() => {
            pairs.push(("error", "refused".to_owned()));
            pairs.extend(ours.says("link-orig").map(|onward| ("link-orig", onward)));
        }
        // Who opened its own page wants nothing there.
        Some(origin) if get("gatewayaddress").is_some_and(|own| origin.is_of(&format!("http://{own}"))) => {}
        Some(origin) => pairs.push(("link-orig", origin.as_str().to_owned())),
        None => {}
    }
    Some(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A value that was made fit for an address.
fn decoded(value: &str) -> Option<String> {
    let url = Url::parse(&format!("http://spotgate.invalid/?v={}", value.replace('+', "%2B"))).ok()?;
    url.query_pairs().next().map(|(_, value)| value.into_owned())
}

/// `hid`: what stands for a device's token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hash(String);

impl Hash {
    /// Reads it; none of what is no SHA-256 in hexadecimal.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_one = text.len() == 64 && text.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f'));
        is_one.then(|| Self(text.to_owned()))
    }

    /// As openNDS wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What openNDS takes for our word.
    fn answered(&self, key: &SecretString) -> String {
        HEXLOWER.encode(&Sha256::new().chain_update(&self.0).chain_update(key.expose_secret()).finalize())
    }
}

/// The address by which openNDS lets this device in if its BinAuth script agrees, which is given the ticket, and then sends it on.
#[must_use]
pub fn login(link: &LoginLink, hash: &Hash, key: &SecretString, ticket: &Ticket, then: Option<&str>) -> String {
    let mut url = link.at(LOGIN);
    // One without `redir` ends openNDS.
    let then = then.unwrap_or(link.as_str());
    url.query_pairs_mut()
        .append_pair("tok", &hash.answered(key))
        .append_pair("redir", then)
        .append_pair("custom", ticket.reveal());
    url.into()
}

/// The address by which openNDS logs the device out that opens it.
#[must_use]
pub fn logout(link: &LoginLink) -> String {
    link.at(LOGOUT).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HID: &str = "3c52a4f3e7d2e05d1a0dcfd2f8db8d7d8a4d1d0b7b2f54e4b3b1f1a7f8f7d5c4";

    fn fas(origin: &str) -> String {
        BASE64.encode(
            format!(
                "hid={HID}, clientip=10.5.50.9, clientmac=3c:06:30:aa:19:5f, client_type=cpd_can, gatewayname=openNDS%20Node, \
                 gatewayurl=http%3a%2f%2fstatus.client, version=9.10.0, gatewayaddress=10.5.50.1:2050, \
                 gatewaymac=02:00:00:00:00:01, originurl={origin}, clientif=eth1, themespec=(null), (null)"
            )
            .as_bytes(),
        )
    }

    fn said(origin: &str) -> Vec<(String, String)> {
        pairs(&fas(origin), Some("http://wifi.example.org:8080")).unwrap()
    }

    fn get<'p>(pairs: &'p [(String, String)], name: &str) -> Option<&'p str> {
        pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn what_opennds_says_is_known_by_the_names_of_the_portal() {
        let pairs = said("http%3a%2f%2fexample.org%2fa%3fb%3dc%2bd");
        for (name, value) in [
            ("hid", HID),
            ("mac", "3c:06:30:aa:19:5f"),
            ("ip", "10.5.50.9"),
            ("link-login-only", "http://10.5.50.1:2050/login"),
            ("link-orig", "http://example.org/a?b=c+d"),
        ] {
            assert_eq!(get(&pairs, name), Some(value));
        }
        assert_eq!(get(&pairs, "error"), None);
        // Its plus signs are spaces by now.
        let spaced = fas("http%3a%2f%2fexample.org%2f~~~~~~").replace('+', " ");
        assert!(spaced.contains(' ') && self::pairs(&spaced, None).is_some(), "{spaced}");
    }

    #[test]
    fn who_was_not_let_in_is_told_so_and_still_knows_where_to() {
        let then = "http%3a%2f%2fwifi.example.org%3a8080%2fstatus%3fnas%3ddesk%26t%3dbadge%26link-orig%3dhttp%253A%252F%252Fexample.org%252F";
        let pairs = said(then);
        assert_eq!((get(&pairs, "error"), get(&pairs, "link-orig")), (Some("refused"), Some("http://example.org/")));
        // A link of ours that was opened before the login is none.
        assert_eq!(get(&said("http%3a%2f%2fwifi.example.org%3a8080%2flogin%3fcode%3dkx7q"), "error"), None);
        // Its own page is nowhere to go on to.
        assert_eq!(get(&said("http%3a%2f%2f10.5.50.1%3a2050%2f"), "link-orig"), None);
    }

    #[test]
    fn what_opennds_does_not_write_is_not_read() {
        let without = |name: &str| {
            let text = String::from_utf8(BASE64.decode(fas("x").as_bytes()).unwrap()).unwrap();
            BASE64.encode(text.replace(&format!("{name}="), "other=").as_bytes())
        };
        let long = BASE64.encode(&[b'a'; LONGEST]);
        let parts = ["hid", "clientip", "clientmac", "gatewayaddress"].map(without);
        for bad in ["", "?", "aGlk", "_-8=", "gIA=", &long].into_iter().chain(parts.iter().map(String::as_str)) {
            assert_eq!(pairs(bad, None), None, "{bad}");
        }
        for bad in ["", "abc", &HID[1..], &HID.to_uppercase(), &format!("{HID}0"), &HID.replace('3', "'")] {
            assert_eq!(Hash::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_answer_is_the_hash_that_opennds_makes_itself() {
        // printf '%s' "${HID}abcdefgh12345678" | sha256sum
        let key = SecretString::from("abcdefgh12345678");
        assert_eq!(
            Hash::parse(HID).unwrap().answered(&key),
            "c282df1bbc8db089be60ba7fb6ef852f3c08fd6f97bf5a23ad0854b4dd0ca416"
        );
    }

    #[test]
    fn a_guest_goes_back_where_opennds_takes_logins_and_logouts() {
        let link = LoginLink::parse("http://10.5.50.1:2050/login", |_| true).unwrap();
        assert_eq!(logout(&link), "http://10.5.50.1:2050/opennds_deny/");
    }
}
