//! How a guest arrives: what the hotspot put into the address of the login page, as it may have been changed on the way
//! (facts/hotspot.md §5).

use std::net::IpAddr;

use axum::http::{HeaderMap, header};
use secrecy::SecretString;

use super::handover::{Chap, Destination, LoginLink, Refused};
use super::language::Language;
use super::opennds;
use crate::config::{HandOver, Nas};
use crate::core::ident::Mac;
use crate::live::Live;

/// Longer values are nobody's, in octets.
const LONGEST: usize = 2048;

/// Longer addresses are not worth being led on to: they stand in every link of a page, and in what the router is told.
pub const ONWARD: usize = 512;

/// What the guest's browser brings: pairs of an address or of a form. The first of a name counts.
#[derive(Clone, Default)]
pub struct Given(Vec<(String, String)>);

impl Given {
    /// Pairs as they came.
    #[must_use]
    pub fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// As given, and before that what the address of a page of ours says that the router was told to lead to: some routers hand it
    /// on as a value, `dst`, rather than lead there.
    #[must_use]
    pub fn led_to(self, page: &str) -> Self {
        let led = self.get("dst").and_then(|dst| dst.strip_prefix(page)?.strip_prefix('?'));
        let pairs = led.and_then(|query| reqwest::Url::parse(&format!("http://spotgate.invalid/?{query}")).ok());
        let pairs = pairs.iter().flat_map(reqwest::Url::query_pairs).map(|(name, value)| (name.into(), value.into()));
        Self(pairs.chain(self.0.iter().cloned()).collect())
    }

    /// As given, and before that what openNDS says in one value, by the names of the portal.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn unfolded(self, base: Option<&str>) -> Result<Self, Lost> {
        let Some((_, fas)) = self.0.iter().find(|(name, _)| name == "fas") else { return Ok(self) };
        let pairs = opennds::pairs(fas, base).ok_or(Lost::Garbled)?;
        Ok(Self(pairs.into_iter().chain(self.0).collect()))
    }

    /// What it says of `name`; none if that is nothing, or too long to be anything.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(given, _)| given == name)?;
        Some(value.as_str()).filter(|value| !value.is_empty() && value.len() <= LONGEST)
    }
}

/// What the router says went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouterSays {
    /// RADIUS did not answer in time.
    Timeout,
    /// The answer to its challenge is missing.
    ChapMissing,
    /// A login is under way already.
    InProgress,
    /// As many devices as it allows are online under one name.
    TooMany,
    /// Anything else: its words are not shown, since anybody could have put them there.
    Other,
}

impl RouterSays {
    /// What the operator should know of it.
    #[must_use]
    pub const fn remedy(self) -> Option<&'static str> {
        match self {
            Self::Timeout => Some(
                "it told a guest that RADIUS does not respond: its requests or our answers are lost, or it waits too short \
                 (`timeout=1s` in `/radius`), or takes the answers for forged (`bad-replies` in `/radius monitor`)",
            ),
            Self::TooMany => Some(
                "it told a guest that no more sessions are allowed for this user: set `shared-users=unlimited` in its \
                 `/ip hotspot user profile`; spotgate counts the devices of a code",
            ),
            Self::ChapMissing | Self::InProgress | Self::Other => None,
        }
    }
}

/// A guest who comes from a hotspot that is known.
#[derive(Clone)]
pub struct Arrival<'a> {
    /// The router.
    pub nas: &'a Nas,
    /// Where it takes logins.
    pub link: LoginLink,
    /// The device, as the router is said to see it.
    pub device: Option<Mac>,
    /// Its address, likewise.
    pub ip: Option<IpAddr>,
    /// Where the guest wanted to go.
    pub onward: Option<Destination>,
    /// The challenge of the router.
    pub chap: Option<Chap>,
    /// What openNDS wants answered, and by which key.
    pub asked: Option<(opennds::Hash, &'a SecretString)>,
    /// What went wrong before.
    pub says: Option<RouterSays>,
    /// The code, where the router has caught a link of ours with it.
    pub code: Option<String>,
    /// What a form must bring back to arrive the same way.
    again: Vec<(&'static str, String)>,
}

/// Why nobody can be handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The page was opened by itself.
    NotFromRouter,
    /// The router is not known.
    UnknownRouter,
    /// What the router says cannot be read.
    Garbled,
}

impl<'a> Arrival<'a> {
    /// Reads it. `from` is where the guest's request comes from.
    ///
    /// # Errors
    ///
    /// There is no router to send the guest to.
    pub fn read(given: &Given, live: &'a Live, from: IpAddr) -> Result<Self, Lost> {
        let text = given.get("link-login-only").ok_or(Lost::NotFromRouter)?;
        let mut at = None;
        let link = LoginLink::parse(text, |host| {
            at = nas_at(given, live, from, host);
            at.is_some()
        });
        let link = link.map_err(|refused| match refused {
            Refused::Foreign => Lost::UnknownRouter,
            Refused::NotOfTheWeb => Lost::Garbled,
        })?;
        let nas = at.ok_or(Lost::UnknownRouter)?;
        let chap = match (given.get("chap-id"), given.get("chap-challenge")) {
            (None, None) => None,
            (id, challenge) => {
                let chap = Chap::parse(id.unwrap_or_default(), challenge.unwrap_or_default());
                Some(chap.ok_or(Lost::Garbled)?)
            }
        };
        let device: Option<Mac> = given.get("mac").and_then(|mac| mac.parse().ok());
        let ip: Option<IpAddr> = given.get("ip").and_then(|ip| ip.parse().ok());
        let hash = || given.get("hid").and_then(opennds::Hash::parse).filter(|_| device.is_some());
        let asked = match nas.hand_over {
            HandOver::OpenNds => Some(hash().zip(nas.fas_key.as_ref()).ok_or(Lost::Garbled)?),
            HandOver::OneTime | HandOver::Form | HandOver::Router => None,
        };
        let base = live.settings.portal.public_url.as_deref();
        let orig = given.get("link-orig").or_else(|| given.get("dst"));
        let orig = orig.and_then(|orig| Destination::parse(orig).ok());
        let is_ours = |orig: &Destination| base.is_some_and(|base| orig.is_of(base));
        let code = orig.as_ref().filter(|orig| is_ours(orig)).and_then(|ours| ours.says("code"));
        let onward = orig.filter(|orig| orig.as_str().len() <= ONWARD && !is_ours(orig) && !orig.is_probe());
        // Said again as it was understood, and so as short as can be.
        let text = |name: &'static str| Some((name, given.get(name)?.to_owned()));
        let again = [
            text("nas"),
            device.map(|device| ("mac", device.to_string())),
            ip.map(|ip| ("ip", ip.to_string())),
            text("link-login-only"),
            onward.as_ref().map(|onward| ("link-orig", onward.as_str().to_owned())),
            text("chap-id"),
            text("chap-challenge"),
            asked.as_ref().map(|(hash, _)| ("hid", hash.as_str().to_owned())),
        ];
        let again = again.into_iter().flatten().collect();
        let says = given.get("error").map(router_says);
        Ok(Self { nas, link, device, ip, onward, code, chap, asked, says, again })
    }

    /// What a form, or an address, must bring back to arrive the same way.
    pub fn again(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.again.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

/// The router of a guest of whom nothing else is known: the one that is named, the one that the request comes from, or the only
/// one there is.
#[must_use]
pub fn nas_of<'a>(given: &Given, live: &'a Live, from: IpAddr) -> Option<&'a Nas> {
    if let Some(name) = given.get("nas") {
        return live.settings.nas.iter().find(|nas| nas.name().as_str() == name);
    }
    // With address translation the router's own address is seen.
    live.clients.find(from).map(|client| &client.nas).or(match live.settings.nas.as_slice() {
        [only] => Some(only),
        _ => None,
    })
}

/// The router whose hotspot is at `host`. Several may share a name: then what is known otherwise decides, else the first.
fn nas_at<'a>(given: &Given, live: &'a Live, from: IpAddr, host: &str) -> Option<&'a Nas> {
    let is_there = |nas: &&Nas| nas.hotspot_hosts.iter().any(|known| known == host);
    if given.get("nas").is_some() {
        return nas_of(given, live, from).filter(is_there);
    }
    nas_of(given, live, from).filter(is_there).or_else(|| live.settings.nas.iter().find(is_there))
}

/// The login at this router that the guest is said to have come from; none, if nothing is said, or it is none of this router.
#[must_use]
pub fn login_said(given: &Given, nas: &Nas) -> Option<LoginLink> {
    let is_there = |host: &str| nas.hotspot_hosts.iter().any(|known| known == host);
    LoginLink::parse(given.get("link-login-only")?, is_there).ok()
}

/// The same, or else the login at the first of the router's hosts.
#[must_use]
pub fn login_of(given: &Given, nas: &Nas) -> Option<LoginLink> {
    let first = || LoginLink::parse(&format!("http://{}/login", nas.hotspot_hosts.first()?), |_| true).ok();
    login_said(given, nas).or_else(first)
}

/// `error` holds a key of the router's errors.txt, or what stands there for it (facts/hotspot.md §1.4, §5.1).
fn router_says(error: &str) -> RouterSays {
    let error = error.to_ascii_lowercase();
    if error.contains("radius-timeout") || error.contains("not responding") {
        RouterSays::Timeout
    } else if error.contains("auth-in-progress") || error.contains("already authorizing") {
        RouterSays::InProgress
    } else if error.contains("session-limit") || error.contains("no more sessions") {
        RouterSays::TooMany
    } else if error.contains("chap") || error.contains("challenge") {
        RouterSays::ChapMissing
    } else {
        RouterSays::Other
    }
}

/// The language to speak: the one that was chosen, else one that the browser asks for.
#[must_use]
pub fn language(given: &Given, headers: &HeaderMap, live: &Live) -> Language {
    let default = live.settings.portal.default_language;
    let asked = headers.get(header::ACCEPT_LANGUAGE).and_then(|asked| asked.to_str().ok());
    let chosen = given.get("lang").and_then(|tag| tag.parse().ok());
    chosen.unwrap_or_else(|| asked.map_or(default, |asked| Language::asked_for(asked, default)))
}
