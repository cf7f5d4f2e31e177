//! Troubles that last until an operator acts, each with a name of its own: for `/readyz`, the log and
//! `spotgate_source_alarm`.

use std::fmt;

/// What an operator must see to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alarm {
    /// User name or password are wrong; with a one-time password, perhaps that.
    WrongPassword,
    /// With `auth = "basic"`: user name or password are wrong, or a role is missing; the answer is the same.
    PasswordOrRole,
    /// A one-time password is asked for, and there is no seed for it.
    OneTimePasswordWanted,
    /// The one-time password is not accepted, or its seed makes no sense.
    OneTimePasswordWrong,
    /// The user must choose a new password.
    MustReset,
    /// The user is locked out.
    Locked,
    /// The user lacks a role.
    RoleMissing(Role),
    /// Something else is at this address.
    WrongAddress,
    /// The source's file cannot be used.
    BadFile,
}

/// A role of a Nexudus user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Lists of tokens.
    List,
    /// Single tokens.
    Read,
    /// Writing.
    Edit,
}

impl Alarm {
    /// The name of every kind.
    pub const KINDS: [&'static str; 9] = [
        "wrong_password",
        "password_or_role",
        "one_time_password_wanted",
        "one_time_password_wrong",
        "must_reset",
        "locked",
        "role_missing",
        "wrong_address",
        "bad_file",
    ];

    /// The name of its kind, the same in every version.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::WrongPassword => "wrong_password",
            Self::PasswordOrRole => "password_or_role",
            Self::OneTimePasswordWanted => "one_time_password_wanted",
            Self::OneTimePasswordWrong => "one_time_password_wrong",
            Self::MustReset => "must_reset",
            Self::Locked => "locked",
            Self::RoleMissing(_) => "role_missing",
            Self::WrongAddress => "wrong_address",
            Self::BadFile => "bad_file",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "AccessToken-List",
            Self::Read => "AccessToken-Read",
            Self::Edit => "AccessToken-Edit",
        })
    }
}
