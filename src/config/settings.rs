//! The configuration as meant: every value parsed, in its unit, inside its bounds. Secrets are loaded and do not print.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use jiff::tz::TimeZone;
use secrecy::SecretString;

use super::bandwidth::Bandwidth;
use crate::core::ident::{BusinessId, NasName};
use crate::core::policy::{NasRules, Policy};
use crate::portal::language::Language;

/// The whole configuration (contract: "Configuration").
#[derive(Clone, Debug)]
pub struct Settings {
    /// `[source]`.
    pub source: Source,
    /// `[cache]`.
    pub cache: Cache,
    /// `[policy]`.
    pub policy: Policy,
    /// `[throttle]`.
    pub throttle: Throttle,
    /// `[radius]`.
    pub radius: Radius,
    /// Each `[[nas]]`, in order of the file; names are unique.
    pub nas: Vec<Nas>,
    /// `[http]`.
    pub http: Http,
    /// `[ironwifi]`.
    pub ironwifi: Ironwifi,
    /// `[portal]`.
    pub portal: Portal,
    /// `[admin]`.
    pub admin: Admin,
    /// `[store]`.
    pub store: Store,
    /// `[telemetry]`.
    pub telemetry: Telemetry,
}

/// Where tokens come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A JSON array of AccessToken records.
    File(File),
    /// The Nexudus API.
    Nexudus(Nexudus),
}

/// `[source]` of kind `file`.
#[derive(Clone, Debug)]
pub struct File {
    /// The file.
    pub path: PathBuf,
    /// `source.nexudus.time_zone`: how a date without an offset is read, and dates are shown.
    pub time_zone: TimeZone,
    /// `source.nexudus.business_ids`: the locations to use; empty: every one.
    pub business_ids: Vec<BusinessId>,
}

/// `[source.nexudus]`.
#[derive(Clone, Debug)]
pub struct Nexudus {
    /// Without a trailing slash, e.g. `https://spaces.nexudus.com`.
    pub base_url: String,
    /// E-mail of the administrator.
    pub username: String,
    /// Its password.
    pub password: SecretString,
    /// Base32 seed of its one-time passwords, if it has two factors.
    pub totp_secret: Option<SecretString>,
    /// How calls are authorised.
    pub auth: NexudusAuth,
    /// The locations to use; empty: every one the user sees.
    pub business_ids: Vec<BusinessId>,
    /// How a date without an offset is read, and dates are shown.
    pub time_zone: TimeZone,
    /// Deadline of one call.
    pub request_timeout: Duration,
    /// Ceiling of calls in any minute; at least 1.
    pub requests_per_minute: u32,
    /// Whether a local copy of all tokens is kept.
    pub mirror: bool,
    /// How often changed records are read.
    pub mirror_interval: Duration,
    /// How often everything is read.
    pub full_mirror_interval: Duration,
    /// Whether minutes used are written back.
    pub write_back: bool,
    /// What webhooks are signed with; none: there is no route for them.
    pub webhook_secret: Option<SecretString>,
}

impl Nexudus {
    /// Whether tokens of this location are used.
    #[must_use]
    pub fn is_ours(&self, business: Option<BusinessId>) -> bool {
        self.business_ids.is_empty() || business.is_some_and(|business| self.business_ids.contains(&business))
    }
}

/// `source.nexudus.auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NexudusAuth {
    /// Bearer tokens from `/api/token`.
    OAuth,
    /// User and password with every call.
    Basic,
}

/// `[cache]`.
#[derive(Clone, Debug)]
pub struct Cache {
    /// Age up to which a copy is served without asking.
    pub fresh_for: Duration,
    /// Age up to which a copy is served while the source does not answer.
    pub stale_for: Duration,
    /// How long "no such code" is remembered.
    pub unknown_for: Duration,
    /// Copies kept at most.
    pub max_tokens: u64,
    /// How long a request is held for a source round trip before it goes on.
    pub first_answer_within: Duration,
}

/// `[throttle]`.
#[derive(Clone, Debug)]
pub struct Throttle {
    /// Failed codes per device …
    pub device_failures: u32,
    /// … in this time.
    pub device_window: Duration,
    /// Failed codes per NAS in one minute.
    pub nas_failures: u32,
}

/// `[radius]`.
#[derive(Clone, Debug)]
pub struct Radius {
    /// Where authentication is listened for.
    pub auth_listen: Vec<SocketAddr>,
    /// Where accounting is listened for.
    pub acct_listen: Vec<SocketAddr>,
    /// Whether both lists are the built-in ones: then an address family that the host lacks is no error.
    pub listen_is_default: bool,
    /// Sockets per address; never 0 (0 in the file: one per core).
    pub workers: usize,
    /// How long an answer is kept for repetitions of its request.
    pub duplicate_window: Duration,
    /// `[radius.radsec]`.
    pub radsec: Option<Radsec>,
}

/// `[radius.radsec]`.
#[derive(Clone, Debug)]
pub struct Radsec {
    /// Where RADIUS over TLS is listened for.
    pub listen: Vec<SocketAddr>,
    /// PEM chain.
    pub certificate: PathBuf,
    /// PEM key.
    pub private_key: PathBuf,
    /// PEM certificates that client certificates must chain to.
    pub client_ca: PathBuf,
}

/// A `[[nas]]`.
#[derive(Clone, Debug)]
pub struct Nas {
    /// What decisions need: name, locations, whether it can disconnect and account.
    pub rules: NasRules,
    /// Its address, or the network it is in.
    pub address: IpNet,
    /// The shared secret.
    pub secret: SecretString,
    /// Whether requests must carry a Message-Authenticator.
    pub require_message_authenticator: RequireMessageAuthenticator,
    /// Its dynamic-authorisation port; 0: none.
    pub disconnect_port: u16,
    /// Which attributes a Disconnect-Request carries.
    pub disconnect_style: DisconnectStyle,
    /// How a guest's login gets to it.
    pub hand_over: HandOver,
    /// What openNDS knows our word by; there where `hand_over` is [`HandOver::OpenNds`].
    pub fas_key: Option<SecretString>,
    /// Hosts where `link-login-only` may point.
    pub hotspot_hosts: Vec<String>,
    /// Where the code stands in a request.
    pub code_in: CodeIn,
    /// How it is known over RadSec.
    pub certificate_name: Option<String>,
    /// Mikrotik-Rate-Limit to send.
    pub rate_limit: Option<String>,
    /// The same in WISPr's attributes, which are sent in its place.
    pub wispr: Option<Bandwidth>,
    /// Mikrotik-Group to send.
    pub group: Option<String>,
}

impl Nas {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &NasName {
        &self.rules.name
    }
}

/// `nas.require_message_authenticator`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequireMessageAuthenticator {
    /// Required once this NAS has sent one.
    Auto,
    /// Required.
    Yes,
    /// Not required; checked where present.
    No,
}

/// `nas.disconnect_style`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisconnectStyle {
    /// User-Name, Acct-Session-Id, Framed-IP-Address, as RouterOS wants.
    Mikrotik,
    /// As RFC 5176 has it.
    Rfc5176,
}

/// `nas.hand_over` (facts/hotspot.md §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandOver {
    /// The portal takes the code and redirects the guest to the router with a password that is good for once.
    OneTime,
    /// The portal's page sends the router's login form.
    Form,
    /// The portal takes the code, and gives the guest its word for openNDS, with a password that is good for once.
    OpenNds,
    /// The login page stands on the router itself.
    Router,
}

/// `nas.code_in`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeIn {
    /// User-Name.
    Username,
    /// User-Password (PAP only).
    Password,
}

/// `[http]`.
#[derive(Clone, Debug)]
pub struct Http {
    /// Where HTTP is listened for.
    pub listen: Vec<SocketAddr>,
    /// TLS, if any.
    pub tls: Option<TlsFiles>,
    /// Whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Each `[[http.api_key]]`; names are unique.
    pub api_keys: Vec<ApiKey>,
}

/// `[ironwifi]`: how the forms of a splash page name things, which whoever made the page has chosen.
#[derive(Clone, Debug)]
pub struct Ironwifi {
    /// The fields that may hold the code: the first that is not empty.
    pub code_fields: Vec<String>,
    /// The fields that may hold the device's MAC: the first that is one.
    pub device_fields: Vec<String>,
    /// How `valid_until` is written.
    pub valid_until: ValidUntil,
    /// `[ironwifi.push]`.
    pub push: Option<Push>,
}

/// `[ironwifi.push]`: tokens become users of IronWifi.
#[derive(Clone, Debug)]
pub struct Push {
    /// Its management interface, without a trailing slash.
    pub base_url: String,
    /// What it is called with.
    pub api_key: SecretString,
    /// Whose locations and rate limit they have.
    pub nas: NasName,
    /// Ceiling of calls in a minute; at least 1.
    pub requests_per_minute: u32,
    /// Deadline of one call.
    pub request_timeout: Duration,
    /// Whether all of them are to be deleted instead.
    pub withdraw: bool,
}

impl Ironwifi {
    /// Whether a field of this name is read.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.code_fields.iter().chain(&self.device_fields).any(|known| known == name)
    }
}

impl Default for Ironwifi {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            code_fields: names(&["voucher", "voucher_code", "access_code", "password", "login", "username"]),
            device_fields: names(&["client_mac", "mac", "id"]),
            valid_until: ValidUntil::Auto,
            push: None,
        }
    }
}

/// `ironwifi.valid_until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidUntil {
    /// As whoever asks documents it.
    Auto,
    /// `2026-11-23T18:00:00`.
    Portal,
    /// `2026/11/23 18:00:00 +0000`.
    Connector,
}

/// Certificate and key, as PEM files.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The chain.
    pub certificate: PathBuf,
    /// The key.
    pub private_key: PathBuf,
}

/// A `[[http.api_key]]`.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// For logs and audit.
    pub name: String,
    /// The key.
    pub key: SecretString,
    /// What it may do; not empty.
    pub scopes: Vec<Scope>,
    /// Whose rules apply when a call names no NAS.
    pub nas: Option<NasName>,
}

/// What an API key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `POST /v1/authorize`.
    Authorize,
    /// `POST /v1/accounting`.
    Accounting,
    /// `/v1/ironwifi/…`.
    Ironwifi,
    /// `/v1/freeradius/…`.
    Freeradius,
    /// Sessions, tokens, decisions: to look at.
    Read,
    /// To change; shows codes in full.
    Admin,
}

impl Scope {
    /// The configuration's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Accounting => "accounting",
            Self::Ironwifi => "ironwifi",
            Self::Freeradius => "freeradius",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

/// `[portal]`.
#[derive(Clone, Debug)]
pub struct Portal {
    /// Whether guests get pages.
    pub enabled: bool,
    /// How guests reach it, without a trailing slash.
    pub public_url: Option<String>,
    /// Its heading.
    pub title: String,
    /// Image file.
    pub logo: Option<PathBuf>,
    /// CSS colour, `#rgb` or `#rrggbb`.
    pub accent_color: String,
    /// Where the terms of use are.
    pub terms_url: Option<String>,
    /// Of guests whose browser asks for none that is spoken here.
    pub default_language: Language,
    /// Whether a guest whose code is in use on as many devices as it allows may take one's place.
    pub guest_may_replace: bool,
    /// A folder with pages that take the place of the built-in ones of the same name.
    pub templates: Option<PathBuf>,
}

/// `[admin]`.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Whether operators get pages; false too where no password is set.
    pub enabled: bool,
    /// Their password.
    pub password: Option<SecretString>,
    /// Password of those who may look and change nothing.
    pub viewer_password: Option<SecretString>,
}

/// `[store]`.
#[derive(Clone, Debug)]
pub struct Store {
    /// Which.
    pub kind: StoreKind,
    /// Folder for what must survive a restart.
    pub path: PathBuf,
    /// The longest session that is let in while the database is away; zero: nobody is.
    pub away_session: Duration,
    /// How long ended sessions are kept.
    pub retain_sessions: Duration,
    /// How long decisions are kept.
    pub retain_decisions: Duration,
}

/// `store.kind`.
#[derive(Clone, Debug)]
pub enum StoreKind {
    /// A file under `store.path`.
    Embedded,
    /// A PostgreSQL database, by its URL.
    Postgres(SecretString),
}

/// `[telemetry]`.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// Form of log lines.
    pub log: LogForm,
    /// What is logged, e.g. `info`, or `info,spotgate::radius=debug`.
    pub level: String,
    /// Where Prometheus fetches metrics.
    pub metrics_listen: SocketAddr,
}

/// `telemetry.log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogForm {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
    /// Native fields for the systemd journal.
    Journald,
}

impl Settings {
    /// The zone in which dates are shown to people.
    #[must_use]
    pub const fn time_zone(&self) -> &TimeZone {
        match &self.source {
            Source::Nexudus(nexudus) => &nexudus.time_zone,
            Source::File(file) => &file.time_zone,
        }
    }
}
