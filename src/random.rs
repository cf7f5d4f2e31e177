//! Random octets from the system, taken some hundred at a time: a call for each login would cost as much as deciding it.

use std::sync::{Mutex, PoisonError};

/// Octets taken at once.
const AT_ONCE: usize = 1024;

/// Random octets. Each is given out once.
pub(crate) struct Random(Mutex<Pool>);

struct Pool {
    octets: [u8; AT_ONCE],
    /// From here on they were not given out.
    next: usize,
}

impl Default for Random {
    fn default() -> Self {
        Self(Mutex::new(Pool { octets: [0; AT_ONCE], next: AT_ONCE }))
    }
}

impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Random(..)")
    }
}

impl Random {
    /// So many octets, at most 1024; none if the system has none to give.
    #[must_use]
    pub(crate) fn octets<const N: usize>(&self) -> Option<[u8; N]> {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if AT_ONCE - pool.next < N {
            getrandom::fill(&mut pool.octets).ok()?;
            pool.next = 0;
        }
        let Pool { octets, next } = &mut *pool;
        let taken = octets.get_mut(*next..)?.first_chunk_mut::<N>()?;
        *next += N;
        // What was given out lies nowhere else.
        Some(std::mem::replace(taken, [0; N]))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn none_comes_twice_and_no_more_are_asked_for_than_there_are() {
        let random = Random::default();
        let taken: HashSet<[u8; 10]> = (0..1000).filter_map(|_| random.octets()).collect();
        assert_eq!(taken.len(), 1000);
        assert!(taken.iter().all(|octets| *octets != [0; 10]));
        assert!(random.octets::<1024>().is_some());
        assert!(random.octets::<1025>().is_none());
    }
}
