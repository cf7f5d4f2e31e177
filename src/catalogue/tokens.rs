//! Every token under one code, or of one device.

use std::ops::Deref;
use std::sync::Arc;

use crate::core::ident::TokenId;
use crate::core::token::AccessToken;

/// Every token under one code, or of one device. Cheap to clone; one token, the usual case, needs no list.
#[derive(Clone, Debug, Default)]
pub enum Tokens {
    /// There is none.
    #[default]
    None,
    /// There is one.
    One(Arc<AccessToken>),
    /// There are several.
    Several(Arc<Vec<Arc<AccessToken>>>),
}

impl Tokens {
    /// Adds one.
    pub(super) fn push(&mut self, token: Arc<AccessToken>) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(token),
            Self::One(first) => Self::Several(Arc::new(vec![first, token])),
            Self::Several(mut tokens) => {
                Arc::make_mut(&mut tokens).push(token);
                Self::Several(tokens)
            }
        };
    }

    /// Takes one out, if it is there.
    pub(super) fn take(&mut self, id: TokenId) {
        *self = match std::mem::take(self) {
            Self::One(token) if token.id != id => Self::One(token),
            Self::None | Self::One(_) => Self::None,
            Self::Several(tokens) => tokens.iter().filter(|token| token.id != id).cloned().collect(),
        };
    }
}

impl Deref for Tokens {
    type Target = [Arc<AccessToken>];

    fn deref(&self) -> &Self::Target {
        match self {
            Self::None => &[],
            Self::One(token) => std::slice::from_ref(token),
            Self::Several(tokens) => tokens,
        }
    }
}

impl FromIterator<Arc<AccessToken>> for Tokens {
    fn from_iter<I: IntoIterator<Item = Arc<AccessToken>>>(tokens: I) -> Self {
        let mut all = Self::None;
        tokens.into_iter().for_each(|token| all.push(token));
        all
    }
}
