//! What a MikroTik router needs from us to be a hotspot of ours: its pages, and the commands that set it up.
//!
//! What goes into either comes from the configuration, and stays what it is there: a title is a text and never a variable of
//! RouterOS, a secret is a value and never a command.

mod pages;
mod script;
mod scripts;
mod setup;

use reqwest::Url;

pub use pages::pages;
pub use scripts::{CallOut, scripts};
pub use setup::{Setup, Site, setup};

use crate::config::{HandOver, Nas, Settings};

/// Why a router cannot be a hotspot of ours as the configuration is.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Guests would be sent to a portal that is switched off.
    #[error(
        "guests are sent to the portal, which is off: remove `portal.enabled = false`, or write `hand_over = \"router\"` below \
         [[nas]], for a login page on the router itself"
    )]
    NoPortal,
    /// Guests would be sent to a portal that has no address.
    #[error(
        "guests are sent to the portal, and `portal.public_url` is not set: write how they reach it, e.g. \
         `public_url = \"https://wifi.example.org\"` below [portal]; or `hand_over = \"router\"` below [[nas]], for a login page \
         on the router itself"
    )]
    NoPublicUrl,
    /// It is none of MikroTik's.
    #[error("this NAS is an openNDS (`hand_over = \"opennds\"`): docs/systems.md says how to connect one")]
    OpenNds,
    /// The router would have no port to ask at.
    #[error(
        "there is nothing that the router could ask: `radius.auth_listen` and `radius.acct_listen` need a port each"
    )]
    NoRadius,
    /// The router would not know where to ask over HTTP.
    #[error("the router would not know where to ask: say `--url https://wifi.example.org`, or set `portal.public_url`")]
    NoUrl,
    /// There is no such key, or it may not do both.
    #[error("there is no key {0} with the scopes authorize and accounting below [http]")]
    NoKey(String),
    /// There is no key that may do both.
    #[error("the router needs a key: a [[http.api_key]] with `scopes = [\"authorize\", \"accounting\"]`")]
    NoKeyAtAll,
    /// RouterOS would take the rest of the key for another header.
    #[error("the key {0} has a comma in it, which ends a header for RouterOS: give the router a key without one")]
    NoPlainKey(String),
    /// What is asked would stand behind the address's question mark.
    #[error(
        "{0} is no address that `/v1/authorize` could be put behind: leave `?` and `#` out, and what comes after them"
    )]
    NoPlainUrl(String),
    /// Time would be counted as of a router that reports it.
    #[error(
        "these scripts need a [[nas]] of their own, with `accounting = false` and `disconnect_port = 0`: time counts from the login, and nobody \
         can tell the router to end a session of theirs"
    )]
    NotForScripts,
    /// A template is wrong, which tests rule out.
    #[error("a page could not be made: {0}")]
    Template(#[from] minijinja::Error),
}

/// The portal that guests of this router are sent to, if they are.
fn portal(settings: &Settings, nas: &Nas) -> Result<Option<Url>, Error> {
    match nas.hand_over {
        HandOver::OneTime | HandOver::Form => {}
        HandOver::Router => return Ok(None),
        HandOver::OpenNds => return Err(Error::OpenNds),
    }
    if !settings.portal.enabled {
        return Err(Error::NoPortal);
    }
    let url = settings.portal.public_url.as_deref().and_then(|url| Url::parse(url).ok());
    url.map(Some).ok_or(Error::NoPublicUrl)
}
