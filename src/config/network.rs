//! What the file says about the network: RADIUS, routers, HTTP and its keys.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;

use ipnet::IpNet;
use rustls_pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};

use super::bandwidth::Bandwidth;
use super::file::{choice, duration, flag, number, or};
use super::keys::nearest;
use super::reader::{Given, Section};
use super::secrets::{self, Secret};
use super::settings::{
    ApiKey, CodeIn, DisconnectStyle, HandOver, Http, Nas, Radius, Radsec, RequireMessageAuthenticator, Scope, TlsFiles,
};
use super::values::SECOND;
use crate::core::ident::NasName;
use crate::core::policy::NasRules;

/// Shorter shared secrets fall to guessing (RFC 2865 §3).
pub(super) const SOUND_SECRET_BYTES: usize = 16;

/// `[radius]`.
pub(super) fn radius(section: &Section<'_>) -> Option<Radius> {
    let listens = |key, example: &str| section.given(key).map(|given| given.listens(example));
    let any = |port| vec![SocketAddr::from(([0, 0, 0, 0], port)), SocketAddr::from(([0u16; 8], port))];
    let (auth, acct) = (listens("auth_listen", "0.0.0.0:1812"), listens("acct_listen", "0.0.0.0:1813"));
    let listen_is_default = auth.is_none() && acct.is_none();
    let auth_listen = auth.unwrap_or_else(|| Some(any(1812)));
    let acct_listen = acct.unwrap_or_else(|| Some(any(1813)));
    if let (Some(auth), Some(acct)) = (&auth_listen, &acct_listen)
        && let Some(both) = auth.iter().find(|address| address.port() != 0 && acct.contains(address))
    {
        let message = "[radius] listens for authentication and accounting at one address";
        let help = format!("give the two lists different ports, usually 1812 and 1813, not both {}", both.port());
        section.reader.error(section.at.clone(), message, help);
    }
    let workers: u32 = number(section, "workers", 0..=1024, 0);
    let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
    let radsec = section.section("radsec");
    let duplicate_window = or(duration(section, "duplicate_window", "10s", SECOND..=300 * SECOND), 10);
    let radsec = if radsec.is_present() { Some(radsec_of(&radsec)?) } else { None };
    Some(Radius {
        auth_listen: auth_listen?,
        acct_listen: acct_listen?,
        listen_is_default,
        workers: usize::try_from(workers).ok().filter(|workers| *workers > 0).unwrap_or_else(cores),
        duplicate_window,
        radsec,
    })
}

fn radsec_of(section: &Section<'_>) -> Option<Radsec> {
    let path = |key, what: &str| {
        let help = format!("write `{key} = \"FILE.pem\"`: {what}");
        section.required(key, &help).and_then(|given| given.path("FILE.pem"))
    };
    let listen = section
        .given("listen")
        .map_or_else(|| Some(vec![SocketAddr::from(([0, 0, 0, 0], 2083))]), |given| given.listens("0.0.0.0:2083"));
    let certificate = path("certificate", "our certificate and what stands between it and its authority");
    let private_key = path("private_key", "the key of our certificate");
    let client_ca = path("client_ca", "the authority that the certificates of routers come from");
    Some(Radsec { listen: listen?, certificate: certificate?, private_key: private_key?, client_ca: client_ca? })
}

/// The name of a `[[nas]]`, also of one that has a mistake elsewhere.
pub(super) struct Named {
    name: String,
    /// Whether it stands in the file; one from the environment is not said.
    shown: bool,
}

/// Each `[[nas]]`, and every name that is in use.
pub(super) fn nases(root: &Section<'_>, radsec: bool) -> (Option<Vec<Nas>>, Vec<Named>) {
    let sections = root.sections("nas");
    if sections.is_empty() {
        let help = "add the router that asks:\n[[nas]]\nname = \"front-desk\"\naddress = \"192.168.88.1\"\nsecret_file = \"front-desk.secret\"";
        root.reader.error(None, "there is no [[nas]]: nobody could ask", help);
    }
    let mut taken = Taken::default();
    let read: Vec<Option<Nas>> = sections.iter().map(|section| nas(section, radsec, &mut taken)).collect();
    (read.into_iter().collect(), taken.names)
}

/// What only one `[[nas]]` can have.
#[derive(Default)]
struct Taken {
    names: Vec<Named>,
    networks: Vec<IpNet>,
    certified: Vec<String>,
}

fn nas(section: &Section<'_>, radsec: bool, taken: &mut Taken) -> Option<Nas> {
    let Taken { names, networks, certified } = taken;
    let given = section.required("name", "write `name = \"front-desk\"`: any name, for logs and API keys");
    let name = given.as_ref().and_then(|given| given.name("front-desk", 64));
    if let (Some(given), Some(name)) = (&given, &name) {
        if names.iter().any(|other| other.name == *name) {
            let message = format!("another [[nas]] has the name of this one: `{}` must be unique", given.name);
            given.wrong::<()>(message, "give each router a name of its own");
        }
        names.push(Named { name: name.clone(), shown: !given.is_interpolated() });
    }
    let given = section.required("address", "write `address = \"192.168.88.1\"`, or a network: \"10.5.0.0/24\"");
    let address = given.as_ref().and_then(|given| given.network("192.168.88.1"));
    if let (Some(given), Some(address)) = (&given, address) {
        let single = address.prefix_len() == address.max_prefix_len();
        if single && (address.addr().is_unspecified() || address.addr().is_multicast()) {
            let help = "write the address its packets come from, e.g. \"192.168.88.1\"";
            given.wrong::<()>("no router sends from this address", help);
        }
        if networks.contains(&address) {
            let help = "give each [[nas]] an address of its own; within a network, the narrowest that fits counts";
            given.wrong::<()>("another [[nas]] has the same address", help);
        }
        networks.push(address);
    }
    let secret = section.required_secret("secret", "secret_file");
    if let Some((_, at)) = secret.as_ref().filter(|(secret, _)| secret.expose_secret().len() < SOUND_SECRET_BYTES) {
        let message = format!("the RADIUS secret is shorter than {SOUND_SECRET_BYTES} characters and can be guessed");
        let help = "make one with `openssl rand -hex 16` and set it on the router too";
        section.reader.warn(Some(at.clone()), message, help);
    }
    let require = [
        ("auto", RequireMessageAuthenticator::Auto),
        ("yes", RequireMessageAuthenticator::Yes),
        ("no", RequireMessageAuthenticator::No),
    ];
    let styles = [("mikrotik", DisconnectStyle::Mikrotik), ("rfc5176", DisconnectStyle::Rfc5176)];
    let ways = [
        ("one-time", HandOver::OneTime),
        ("form", HandOver::Form),
        ("router", HandOver::Router),
        ("opennds", HandOver::OpenNds),
    ];
    let places = [("username", CodeIn::Username), ("password", CodeIn::Password)];
    let hand_over = choice(section, "hand_over", &ways, HandOver::OneTime);
    // openNDS takes no orders.
    let port = if hand_over == HandOver::OpenNds { 0 } else { 3799 };
    let disconnect_port: u16 = number(section, "disconnect_port", 0..=65_535, port);
    let businesses = section.given("business_ids").and_then(|given| given.businesses()).unwrap_or_default();
    let host = "login.example.net";
    let hotspot_hosts =
        section.given("hotspot_hosts").and_then(|given| given.list("[\"login.example.net\"]", |item| item.host(host)));
    let certificate_name = section.given("certificate_name").and_then(|given| {
        if !radsec {
            given.warn(
                "`nas.certificate_name` has no effect: there is no [radius.radsec]",
                "add the section, or remove the line",
            );
        }
        let name = given.name("front-desk.example.org", 253)?;
        if ServerName::try_from(name.as_str()).is_err() {
            let help =
                "write the DNS name (or the address) that stands in its certificate as a subject alternative name";
            return given.wrong("a certificate cannot hold this name", help);
        }
        if certified.iter().any(|other| other.eq_ignore_ascii_case(&name)) {
            let help = "give each router a certificate with a name of its own";
            return given.wrong("another [[nas]] has the same certificate_name", help);
        }
        certified.push(name.clone());
        radsec.then_some(name)
    });
    let accounting = flag(section, "accounting", true);
    let require_message_authenticator =
        choice(section, "require_message_authenticator", &require, RequireMessageAuthenticator::Auto);
    let extend_sessions = flag(section, "extend_sessions", false);
    let disconnect_style = choice(section, "disconnect_style", &styles, DisconnectStyle::Mikrotik);
    let fas_key = fas_key(section, hand_over);
    let code_in = choice(section, "code_in", &places, CodeIn::Username);
    let rate_limit = section.given("rate_limit").and_then(|given| given.attribute("10M/10M"));
    let wispr = wispr(section, rate_limit.as_deref());
    let group = section.given("group").and_then(|given| given.attribute("guests"));
    Some(Nas {
        rules: NasRules {
            name: NasName::new(&name?),
            businesses,
            can_disconnect: disconnect_port != 0,
            can_extend: disconnect_port != 0 && extend_sessions,
            accounting,
        },
        address: address?,
        secret: secret?.0,
        require_message_authenticator,
        disconnect_port,
        disconnect_style,
        hand_over,
        fas_key: fas_key?,
        hotspot_hosts: hotspot_hosts.unwrap_or_default(),
        code_in,
        certificate_name,
        rate_limit,
        wispr,
        group,
    })
}

/// `nas.wispr`: the rate limit in WISPr's words.
fn wispr(section: &Section<'_>, rate_limit: Option<&str>) -> Option<Bandwidth> {
    let given = section.given("wispr")?;
    if !given.flag()? {
        return None;
    }
    match rate_limit.map(Bandwidth::parse) {
        Some(Some(bandwidth)) => Some(bandwidth),
        Some(None) => given.wrong(
            "`nas.rate_limit` says no rate that WISPr's attributes could say",
            "write `rate_limit = \"10M/10M\"`: upload/download of the guest",
        ),
        None => {
            given.warn(
                "`nas.wispr` has no effect: there is no `rate_limit`",
                "write `rate_limit = \"10M/10M\"`, or remove this",
            );
            None
        }
    }
}

/// `fas_key`, which an openNDS has and nobody else; `None` if it is wrong or missing.
fn fas_key(section: &Section<'_>, hand_over: HandOver) -> Option<Option<SecretString>> {
    if hand_over != HandOver::OpenNds {
        for key in ["fas_key", "fas_key_file"] {
            if let Some(given) = section.concealed(key) {
                let message = format!("`nas.{key}` has no effect without `hand_over = \"opennds\"`");
                given.warn(message, "write that too, or remove the line");
            }
        }
        return match section.secret("fas_key", "fas_key_file") {
            Secret::Wrong => None,
            Secret::Absent | Secret::Given(..) => Some(None),
        };
    }
    let (key, at) = section.required_secret("fas_key", "fas_key_file")?;
    // openNDS writes it into a command of a shell.
    if !key.expose_secret().bytes().all(|octet| octet.is_ascii_alphanumeric()) {
        let help = "make one with `openssl rand -hex 16`, and write the same as `faskey` of openNDS";
        section.reader.error(Some(at), "the key of openNDS has something other than letters and digits in it", help);
        return None;
    }
    if key.expose_secret().len() < SOUND_SECRET_BYTES {
        let message = format!("the key of openNDS is shorter than {SOUND_SECRET_BYTES} characters and can be guessed");
        let help = "make one with `openssl rand -hex 16`, and write the same as `faskey` of openNDS";
        section.reader.warn(Some(at), message, help);
    }
    Some(Some(key))
}

/// `[http]` with its keys; `nases` are the names that a key may point to.
pub(super) fn http(section: &Section<'_>, nases: &[Named]) -> Option<Http> {
    let listen = section
        .given("listen")
        .map_or_else(|| Some(vec![SocketAddr::from(([127, 0, 0, 1], 8080))]), |given| given.listens("127.0.0.1:8080"));
    let trusted_proxies = section
        .given("trusted_proxies")
        .and_then(|given| given.list("[\"127.0.0.1\"]", |proxy| proxy.network("127.0.0.1")))
        .unwrap_or_default();
    let tls = tls(section);
    let mut api_keys: Vec<Option<ApiKey>> = Vec::new();
    for key in section.sections("api_key") {
        let read = api_key(&key, nases, &api_keys);
        api_keys.push(read);
    }
    let api_keys: Option<Vec<ApiKey>> = api_keys.into_iter().collect();
    Some(Http { listen: listen?, tls, trusted_proxies, api_keys: api_keys? })
}

fn tls(section: &Section<'_>) -> Option<TlsFiles> {
    let path = |key: &'static str| section.given(key).map(|given| (given.at.clone(), given.path("FILE.pem")));
    let lacks = |at, has: &str, lacks: &str| {
        let message = format!("`http.{has}` is given without `http.{lacks}`");
        section.reader.error(
            Some(at),
            message,
            format!("write `{lacks} = \"FILE.pem\"` too, or remove both for plain HTTP"),
        );
    };
    match (path("certificate"), path("private_key")) {
        (None, None) => None::<(PathBuf, PathBuf)>,
        (Some((at, _)), None) => {
            lacks(at, "certificate", "private_key");
            None
        }
        (None, Some((at, _))) => {
            lacks(at, "private_key", "certificate");
            None
        }
        (Some((_, certificate)), Some((_, private_key))) => certificate.zip(private_key),
    }
    .map(|(certificate, private_key)| TlsFiles { certificate, private_key })
}

fn api_key(section: &Section<'_>, nases: &[Named], before: &[Option<ApiKey>]) -> Option<ApiKey> {
    let before = || before.iter().flatten();
    let given = section.required("name", "write `name = \"router-script\"`: any name, for logs");
    let name = given.as_ref().and_then(|given| given.name("router-script", 64));
    if let (Some(given), Some(name)) = (&given, &name)
        && before().any(|other| other.name == *name)
    {
        given.wrong::<()>("another [[http.api_key]] has the name of this one", "give each key a name of its own");
    }
    let key = section.required_secret("key", "key_file");
    if let Some((key, at)) = &key {
        if !key.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) {
            let help = "make one with `openssl rand -hex 24`: letters and digits, no blanks";
            section.reader.error(Some(at.clone()), "this key cannot stand in an Authorization header", help);
        }
        if before().any(|other| secrets::same(&other.key, key)) {
            let help = "make a key for each with `openssl rand -hex 24`";
            section.reader.error(Some(at.clone()), "another [[http.api_key]] has the same key", help);
        }
    }
    let words = [Scope::Authorize, Scope::Accounting, Scope::Ironwifi, Scope::Freeradius, Scope::Read, Scope::Admin]
        .map(|scope| (scope.as_str(), scope));
    let help = "write `scopes = [\"authorize\"]`; there are authorize, accounting, ironwifi, freeradius, read, admin";
    let given = section.required("scopes", help);
    let scopes = given.and_then(|given| {
        let scopes = given.list("[\"authorize\"]", |scope| scope.choice(&words))?;
        if scopes.is_empty() {
            given.wrong(format!("`{}` is empty: this key may do nothing", given.name), help)
        } else {
            Some(scopes)
        }
    });
    let nas = section.given("nas").and_then(|given| nas_of_name(&given, nases));
    Some(ApiKey { name: name?, key: key?.0, scopes: scopes?, nas })
}

/// The [[nas]] that is meant.
pub(super) fn nas_of_name(given: &Given<'_>, nases: &[Named]) -> Option<NasName> {
    let name = given.text("front-desk")?;
    if nases.iter().any(|nas| nas.name == name) {
        return Some(NasName::new(&name));
    }
    let known: Vec<&str> = nases.iter().filter(|nas| nas.shown).map(|nas| &*nas.name).collect();
    let near = nearest(&name, known.iter().copied()).map(|near| format!("did you mean \"{near}\"?"));
    let known = || match &*known {
        [] => "write the name of a [[nas]]".to_owned(),
        names => format!("write the name of a [[nas]]: {}", names.join(", ")),
    };
    given.wrong("there is no [[nas]] of this name", near.unwrap_or_else(known))
}
