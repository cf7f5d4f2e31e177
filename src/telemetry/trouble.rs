//! Why something does not work although it should, for whoever asks how the daemon is.

use std::sync::{Mutex, PoisonError};

/// Why something does not work, if so.
#[derive(Debug, Default)]
pub struct Trouble(Mutex<Option<String>>);

impl Trouble {
    /// In words; none: all is well.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets it; none: all is well. Whether that is something new.
    pub fn set(&self, words: Option<String>) -> bool {
        let mut trouble = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = *trouble != words;
        *trouble = words;
        is_new
    }
}
