//! A hint that something changed upstream, from a door to whoever re-reads: any number of hints is one re-read, and early
//! re-reads keep a distance.

use std::pin::Pin;
use std::time::Duration;

use tokio::sync::{Mutex, Notify};
use tokio::time::{Sleep, sleep};

/// How long after the first hint a re-read begins: hints come in swarms, and one re-read serves all that came before it.
const SETTLE: Duration = Duration::from_secs(1);

/// How long from one early re-read to the next, at least.
const SPACING: Duration = Duration::from_secs(10);

/// Hints of a change. One task waits for them; nothing is kept of a hint but that there was one.
#[derive(Debug, Default)]
pub struct Hint {
    given: Notify,
    pace: Mutex<Pace>,
}

/// How far the waiting is. Kept here, so that a wait that is given up loses nothing.
#[derive(Debug, Default)]
enum Pace {
    /// For a hint.
    #[default]
    Idle,
    /// For other hints of the same swarm.
    Settling(Pin<Box<Sleep>>),
    /// Until the latest early re-read is long enough ago.
    Resting(Pin<Box<Sleep>>),
}

impl Hint {
    /// Something may have changed. Never waits.
    pub fn hint(&self) {
        self.given.notify_one();
    }

    /// Resolves when it is time for an early re-read, which covers every hint that was given until then. May be dropped at
    /// any time, as `select!` does, and called again.
    pub async fn hinted(&self) {
        let mut pace = self.pace.lock().await;
        loop {
            match &mut *pace {
                Pace::Resting(rest) => {
                    rest.as_mut().await;
                    *pace = Pace::Idle;
                }
                Pace::Idle => {
                    self.given.notified().await;
                    *pace = Pace::Settling(Box::pin(sleep(SETTLE)));
                }
                Pace::Settling(settle) => {
                    settle.as_mut().await;
                    *pace = Pace::Resting(Box::pin(sleep(SPACING)));
                    self.forget();
                    return;
                }
            }
        }
    }

    /// Takes back the hint that is waiting to be noticed, if there is one.
    fn forget(&self) {
        let mut given = std::pin::pin!(self.given.notified());
        given.as_mut().enable();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::{Instant, timeout};

    use super::*;

    const MOMENT: Duration = Duration::from_millis(10);
    const LONG: Duration = Duration::from_secs(3600);

    async fn is_quiet(hint: &Hint) -> bool {
        timeout(LONG, hint.hinted()).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_hints_are_one_re_read() {
        let hint = Arc::new(Hint::default());
        assert!(is_quiet(&hint).await, "nobody hinted");
        let giver = Arc::clone(&hint);
        let giving = tokio::spawn(async move {
            for number in 0..1000 {
                giver.hint();
                if number % 2 == 0 {
                    sleep(Duration::from_millis(1)).await;
                }
            }
        });
        let began = Instant::now();
        hint.hinted().await;
        assert_eq!(began.elapsed(), SETTLE, "soon");
        giving.await.unwrap();
        assert!(is_quiet(&hint).await);
    }

    #[tokio::test(start_paused = true)]
    async fn early_re_reads_keep_their_distance_and_miss_nothing() {
        let hint = Hint::default();
        hint.hint();
        hint.hinted().await;
        let began = Instant::now();
        hint.hint();
        hint.hinted().await;
        assert_eq!(began.elapsed(), SPACING + SETTLE, "what came after the first re-read began is not covered by it");
        // However often and long hints come.
        let (began, mut re_reads) = (Instant::now(), 0);
        while began.elapsed() < Duration::from_secs(600) {
            hint.hint();
            re_reads += u32::from(timeout(Duration::from_millis(100), hint.hinted()).await.is_ok());
        }
        assert!((50..=60).contains(&re_reads), "{re_reads} in ten minutes");
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_loses_no_hint() {
        let hint = Hint::default();
        hint.hint();
        // Other things happen, again and again.
        for _ in 0..5 {
            assert!(timeout(MOMENT, hint.hinted()).await.is_err());
        }
        assert!(timeout(SETTLE - 2 * MOMENT, hint.hinted()).await.is_ok(), "and none is settled anew");
        hint.hint();
        assert!(timeout(MOMENT, hint.hinted()).await.is_err());
        assert!(timeout(SPACING + SETTLE, hint.hinted()).await.is_ok());
    }
}
