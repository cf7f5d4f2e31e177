//! The settings that bear on a decision, in the units the decision uses.

use super::budget::Seconds;
use super::ident::{BusinessId, NasName};

/// `[policy]` of the configuration, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Devices at once where `UserLimit` is null; at least 1.
    pub default_user_limit: u32,
    /// What a token with neither minutes included nor minutes left may do.
    pub zero_minutes: ZeroMinutes,
    /// What counts as use.
    pub counting: Counting,
    /// Less budget than this is a denial.
    pub min_session: Seconds,
    /// No session is promised more than this.
    pub max_session: Seconds,
    /// Idle-Timeout to send, if any.
    pub idle_timeout: Option<Seconds>,
    /// Acct-Interim-Interval to send; at least 60 s (RFC 2869 §5.16).
    pub interim_interval: Seconds,
    /// How long an admitted device holds its place without an accounting start.
    pub grant_timeout: Seconds,
    /// Interim intervals without news after which a session counts as gone.
    pub missed_interims: u32,
    /// What happens to one device too many.
    pub on_user_limit: OnUserLimit,
    /// Which devices may log in by MAC address.
    pub mac_login: MacLogin,
    /// Whether a token serves one device only.
    pub bind_device: BindDevice,
    /// Whether `ABC` and `abc` are one code.
    pub ignore_case: bool,
}

/// `policy.zero_minutes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroMinutes {
    /// Nothing included, nothing left: no access.
    Deny,
    /// Nothing included means no limit.
    Unlimited,
}

/// `policy.counting`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// The time each device is online.
    Connected,
    /// The clock runs from the first login, online or not.
    Elapsed,
}

/// `policy.on_user_limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUserLimit {
    /// The newcomer is refused.
    Deny,
    /// The device that came first gives its place up.
    ReplaceOldest,
}

/// `policy.mac_login`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MacLogin {
    /// Nobody.
    Off,
    /// Devices that stand in the record's `MacAddress`.
    Record,
    /// Those, and devices that logged in with a code before.
    Remember,
}

/// `policy.bind_device`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindDevice {
    /// `MacAddress` does not restrict a token.
    Off,
    /// A token with a `MacAddress` serves only that device.
    Honour,
    /// As `Honour`, and the first device to log in is the one.
    Learn,
}

/// What a decision needs to know of the router that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NasRules {
    /// Its name in the configuration.
    pub name: NasName,
    /// The locations whose tokens are valid here; empty: all.
    pub businesses: Vec<BusinessId>,
    /// Whether it can be told to end a session (`disconnect_port` is not 0).
    pub can_disconnect: bool,
    /// Whether it takes a new Session-Timeout for a running session (`extend_sessions`).
    pub can_extend: bool,
    /// Whether it reports sessions; if not, time counts from admission.
    pub accounting: bool,
}

impl NasRules {
    /// Whether a token of this location is valid here.
    #[must_use]
    pub fn serves(&self, business: Option<BusinessId>) -> bool {
        self.businesses.is_empty() || business.is_some_and(|business| self.businesses.contains(&business))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            default_user_limit: 1,
            zero_minutes: ZeroMinutes::Deny,
            counting: Counting::Connected,
            min_session: Seconds(60),
            max_session: Seconds(24 * 3600),
            idle_timeout: None,
            interim_interval: Seconds(300),
            grant_timeout: Seconds(120),
            missed_interims: 3,
            on_user_limit: OnUserLimit::Deny,
            mac_login: MacLogin::Remember,
            bind_device: BindDevice::Off,
            ignore_case: true,
        }
    }
}
