//! Where tokens come from: the Nexudus API or a file with the same records.

pub mod alarm;
pub mod file;
pub mod health;
pub mod nexudus;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use self::alarm::Alarm;
use crate::core::ident::TokenId;
use crate::core::login::Claim;
use crate::core::token::AccessToken;

/// A source that is asked for one code or one device at a time.
pub trait Origin: Send + Sync + 'static {
    /// Every token with this code, or of this device; none: there is no such token.
    fn look_up<'a>(&'a self, claim: &'a Claim) -> LookUp<'a>;

    /// One token by its id; none: the source surely has none, or none of ours.
    fn read_one(&self, id: TokenId) -> Single<'_> {
        let what = format!("the source does not read access token {id} by itself");
        Box::pin(std::future::ready(Err(Error::Retry { what, after: None })))
    }
}

/// A token as a source had it at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The token.
    pub token: Arc<AccessToken>,
    /// Its `UpdatedOn`, by which versions are told apart; none: the source did not say.
    pub updated: Option<Timestamp>,
}

/// A look-up under way.
pub type LookUp<'a> = Pin<Box<dyn Future<Output = Result<Vec<Version>, Error>> + Send + 'a>>;

/// One token being read.
pub type Single<'a> = Pin<Box<dyn Future<Output = Result<Option<Version>, Error>> + Send + 'a>>;

/// Why a source gave no answer. It never means "no such token".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It may answer later: time-outs, broken connections, throttling, faults of the server, nonsense instead of JSON.
    #[error("{what}")]
    Retry {
        /// What happened, in words without secrets.
        what: String,
        /// When to ask again, if the source said so.
        after: Option<Duration>,
    },
    /// It will not answer until an operator acts: a wrong password, a missing role, a second factor.
    #[error("{what}; {remedy}")]
    Refused {
        /// Which of the troubles it is.
        alarm: Alarm,
        /// What happened, in words without secrets.
        what: String,
        /// What the operator can do about it.
        remedy: String,
    },
}

impl Error {
    /// The trouble that an operator must see to, if it is one.
    #[must_use]
    pub const fn alarm(&self) -> Option<Alarm> {
        match self {
            Self::Retry { .. } => None,
            Self::Refused { alarm, .. } => Some(*alarm),
        }
    }
}
