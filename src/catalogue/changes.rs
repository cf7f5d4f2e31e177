//! Which tokens changed since somebody last asked.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::core::ident::TokenId;

/// Tokens noted one by one; beyond, everything counts as changed.
const AT_MOST: usize = 10_000;

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// These tokens did, or went.
    Tokens(HashSet<TokenId>),
    /// Any may have.
    All,
}

/// What changed and was not taken yet.
#[derive(Debug, Default)]
pub(super) struct Noted {
    changes: Mutex<Option<Changes>>,
    sooner: Notify,
}

impl Noted {
    pub(super) fn note(&self, tokens: impl IntoIterator<Item = TokenId>) {
        let mut noted = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        for token in tokens {
            match noted.get_or_insert_with(|| Changes::Tokens(HashSet::new())) {
                Changes::All => break,
                Changes::Tokens(tokens) if tokens.len() < AT_MOST => {
                    tokens.insert(token);
                }
                full @ Changes::Tokens(_) => *full = Changes::All,
            }
        }
        if noted.is_some() {
            self.sooner.notify_one();
        }
    }

    pub(super) fn note_all(&self) {
        *self.changes.lock().unwrap_or_else(PoisonError::into_inner) = Some(Changes::All);
        self.sooner.notify_one();
    }

    pub(super) async fn wait(&self) -> Changes {
        loop {
            if let Some(changes) = self.changes.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return changes;
            }
            self.sooner.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_changed_is_told_once_and_never_more_than_can_be_kept() {
        let noted = Noted::default();
        noted.note([TokenId(1), TokenId(2)]);
        noted.note([TokenId(1)]);
        assert_eq!(noted.wait().await, Changes::Tokens(HashSet::from([TokenId(1), TokenId(2)])));
        noted.note((0i64..).take(AT_MOST + 1).map(TokenId));
        noted.note([TokenId(1)]);
        assert_eq!(noted.wait().await, Changes::All);
        noted.note([]);
        assert_eq!(*noted.changes.lock().unwrap(), None);
    }
}
