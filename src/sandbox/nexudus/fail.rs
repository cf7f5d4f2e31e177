//! Faults that the sandbox plays on demand.

use std::fmt;
use std::str::FromStr;

/// A fault and how often it strikes: `500` always, `500:3` the next three times, `500@0.1` one time in ten by chance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fail {
    /// Which.
    pub mode: Mode,
    /// How often.
    pub often: Often,
}

/// How often a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Often {
    /// Every time.
    Always,
    /// So many times more.
    Times(u32),
    /// With this probability, 0 to 1.
    Chance(f64),
}

/// A fault. Where not said otherwise it strikes calls on access tokens and leaves sign-ins alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `500`: a fault of the server.
    ServerError,
    /// `401`: the bearer token is not accepted.
    Unauthorized,
    /// `403`.
    Forbidden,
    /// `409`: throttled, as Nexudus documents it, with Retry-After.
    Throttled409,
    /// `429`: throttled, as newer pages have it, with Retry-After.
    Throttled429,
    /// `timeout`: no answer ever.
    Timeout,
    /// `reset`: the connection is closed without an answer.
    Reset,
    /// `down`: as `reset`, sign-ins too.
    Down,
    /// `html`: a page with status 200.
    Html,
    /// `truncated`: half of the JSON.
    Truncated,
    /// `lost`: the call is done, and the connection closed without an answer.
    Lost,
    /// `gone`: there is no such record any more, for reads and writes of one.
    Gone,
    /// `redirect`: to another host.
    Redirect,
    /// `portal`: as `redirect`, sign-ins too: a captive portal stands between.
    Portal,
    /// `failure`: status 200 with `WasSuccessful: false`.
    Failure,
    /// `ignore-filter`: lists hold everything.
    IgnoreFilter,
    /// `match-too-much`: text filters match parts.
    MatchTooMuch,
    /// `absent-keys`: records in lists lack keys.
    AbsentKeys,
    /// `role`: the user lacks the roles, so 401 for a good bearer token.
    Role,
    /// `role-list`: the same, for lists alone.
    RoleList,
    /// `role-read`: the same, for single records alone.
    RoleRead,
    /// `role-edit`: the same, for writes alone.
    RoleEdit,
    /// `locked`: sign-ins are answered as of a user that is locked out; in what words is a guess.
    Locked,
    /// `2fa`: sign-ins want a one-time password.
    TwoFactor,
    /// `must-reset`: sign-ins want a new password.
    MustReset,
}

impl Mode {
    /// Every mode by its name.
    pub const ALL: [(&'static str, Self); 25] = [
        ("500", Self::ServerError),
        ("401", Self::Unauthorized),
        ("403", Self::Forbidden),
        ("409", Self::Throttled409),
        ("429", Self::Throttled429),
        ("timeout", Self::Timeout),
        ("reset", Self::Reset),
        ("down", Self::Down),
        ("html", Self::Html),
        ("truncated", Self::Truncated),
        ("lost", Self::Lost),
        ("gone", Self::Gone),
        ("redirect", Self::Redirect),
        ("portal", Self::Portal),
        ("failure", Self::Failure),
        ("ignore-filter", Self::IgnoreFilter),
        ("match-too-much", Self::MatchTooMuch),
        ("absent-keys", Self::AbsentKeys),
        ("role", Self::Role),
        ("role-list", Self::RoleList),
        ("role-read", Self::RoleRead),
        ("role-edit", Self::RoleEdit),
        ("locked", Self::Locked),
        ("2fa", Self::TwoFactor),
        ("must-reset", Self::MustReset),
    ];

    /// Whether it strikes this operation.
    fn concerns(self, operation: &str) -> bool {
        match self {
            Self::Down | Self::Portal => true,
            Self::TwoFactor | Self::MustReset | Self::Locked => operation == "sign_in",
            Self::Gone => matches!(operation, "get" | "update" | "delete"),
            Self::RoleRead => operation == "get",
            Self::RoleEdit => matches!(operation, "create" | "update" | "delete"),
            Self::IgnoreFilter | Self::MatchTooMuch | Self::AbsentKeys | Self::RoleList => operation == "list",
            _ => operation != "sign_in",
        }
    }
}

/// The text is no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a fault; one of {}, alone, as MODE:TIMES or as MODE@CHANCE", names())]
pub struct FailError;

fn names() -> String {
    Mode::ALL.map(|(name, _)| name).join(", ")
}

impl FromStr for Fail {
    type Err = FailError;

    fn from_str(text: &str) -> Result<Self, FailError> {
        let (name, often) = if let Some((name, times)) = text.split_once(':') {
            (name, Often::Times(times.parse().map_err(|_| FailError)?))
        } else if let Some((name, chance)) = text.split_once('@') {
            let chance: f64 = chance.parse().map_err(|_| FailError)?;
            if !(0.0..=1.0).contains(&chance) {
                return Err(FailError);
            }
            (name, Often::Chance(chance))
        } else {
            (text, Often::Always)
        };
        let mode = Mode::ALL.into_iter().find(|(known, _)| *known == name).ok_or(FailError)?.1;
        Ok(Self { mode, often })
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Mode::ALL.into_iter().find(|(_, mode)| *mode == self.mode).map_or("", |(name, _)| name);
        match self.often {
            Often::Always => f.write_str(name),
            Often::Times(times) => write!(f, "{name}:{times}"),
            Often::Chance(chance) => write!(f, "{name}@{chance}"),
        }
    }
}

impl Fail {
    /// The fault to play for this operation, if it strikes this time.
    pub(super) fn strike(&mut self, operation: &str) -> Option<Mode> {
        (self.mode.concerns(operation) && self.strikes()).then_some(self.mode)
    }

    fn strikes(&mut self) -> bool {
        match &mut self.often {
            Often::Always => true,
            Often::Times(0) => false,
            Often::Times(times) => {
                *times -= 1;
                true
            }
            Often::Chance(chance) => f64::from(getrandom::u32().unwrap_or(0)) < *chance * f64::from(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_as_they_are_shown() {
        for (name, _) in Mode::ALL {
            for text in [name.to_owned(), format!("{name}:3"), format!("{name}@0.25")] {
                assert_eq!(text.parse::<Fail>().unwrap().to_string(), text);
            }
        }
        for text in ["", "501", "500:", "500:-1", "500@2", "500@x", "500:1@0.1"] {
            assert_eq!(text.parse::<Fail>(), Err(FailError), "{text}");
        }
    }

    #[test]
    fn so_many_times_and_no_more() {
        let mut fail: Fail = "500:2".parse().unwrap();
        assert_eq!([fail.strikes(), fail.strikes(), fail.strikes()], [true, true, false]);
        let mut never: Fail = "500@0".parse().unwrap();
        assert!((0..100).all(|_| !never.strikes()));
    }
}
