//! The thread that writes.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::file::{Fault, File};
use super::queue::{Queued, Taken, Work};
use super::{Error, Health, Shared};

/// Quiet after which the write-ahead log is carried over into the database, so that no guest waits for it.
const QUIET: Duration = Duration::from_secs(1);

/// Commits that make that worth while. Each writes a page or more to the log; at 4000 pages SQLite carries them over
/// whether it is quiet or not.
const WORTH_CARRYING_OVER: u32 = 500;

/// Writes what is queued until the queue is closed and empty, or the file cannot be trusted any more.
pub(super) fn run(mut file: File, shared: &Shared) {
    let _gone = Gone(shared);
    let mut since_carried_over = 0;
    // Records that a snapshot made superfluous, perhaps before the latest start.
    let mut litter = true;
    loop {
        let patience = match (litter, since_carried_over >= WORTH_CARRYING_OVER) {
            (true, _) => Some(Duration::ZERO),
            (false, true) => Some(QUIET),
            (false, false) => None,
        };
        let outcome = match shared.queue.take(patience) {
            Taken::Batch(batch) => {
                since_carried_over += 1;
                let cuts = batch.iter().any(|queued| matches!(queued.work, Work::Cut(_)));
                let outcome = commit(&mut file, shared, batch);
                litter |= cuts;
                outcome.and_then(|()| sweep(&mut file, &mut litter))
            }
            Taken::Idle if litter => sweep(&mut file, &mut litter).and_then(|()| {
                // What a snapshot wrote and took away is much; a start after a power cut would have to carry it over.
                if litter { Ok(()) } else { file.carry_over() }
            }),
            Taken::Idle => {
                since_carried_over = 0;
                file.carry_over()
            }
            Taken::Shut => return,
        };
        match outcome {
            Err(Fault::Stop(why)) => return stop(shared, &why),
            // Nobody waits for it, or they were told; it is tried again.
            Err(Fault::Disk(_)) | Ok(()) => {}
        }
    }
}

/// Commits a batch and wakes whoever waits for it.
fn commit(file: &mut File, shared: &Shared, mut batch: Vec<Queued>) -> Result<(), Fault> {
    shared.queue.hold_back(&mut batch);
    let outcome = file.write(&batch);
    let error = match &outcome {
        Ok(records) => {
            shared.commits.fetch_add(1, Ordering::Relaxed);
            shared.records.fetch_add(*records, Ordering::Relaxed);
            if batch.iter().any(|queued| queued.work.proves_the_disk()) {
                fare(shared, Health::Good);
            }
            for (waiter, may) in shared.queue.succeeded(batch) {
                let told = if may { Ok(()) } else { Err(Error::Disk("an earlier record is not on disk yet".into())) };
                // Nobody waits any more: nobody minds.
                let _ = waiter.send(told);
            }
            return Ok(());
        }
        Err(Fault::Disk(why)) => {
            shared.queue.failed(&batch);
            fare(shared, Health::Failing(why.clone()));
            Error::Disk(why.clone())
        }
        Err(Fault::Stop(why)) => {
            fare(shared, Health::Stopped(why.clone()));
            Error::Stop(why.clone())
        }
    };
    for waiter in batch.into_iter().filter_map(|queued| queued.waiter) {
        let _ = waiter.send(Err(error.clone()));
    }
    outcome.map(drop)
}

/// Removes some superfluous records, if there are any; after an error not again before the next snapshot.
fn sweep(file: &mut File, litter: &mut bool) -> Result<(), Fault> {
    if *litter {
        *litter = false;
        *litter = file.sweep()?;
    }
    Ok(())
}

fn stop(shared: &Shared, why: &std::sync::Arc<str>) {
    fare(shared, Health::Stopped(why.clone()));
    shared.queue.fail(&Error::Stop(why.clone()));
}

fn fare(shared: &Shared, health: Health) {
    let mut known = shared.health.lock().unwrap_or_else(PoisonError::into_inner);
    match (&*known, &health) {
        (Health::Good, Health::Good) => {}
        (_, Health::Good) => tracing::info!("the journal is written again"),
        (Health::Good, Health::Failing(error)) => tracing::warn!(%error, "the journal cannot be written"),
        (Health::Good | Health::Failing(_), Health::Stopped(error)) => {
            tracing::error!(%error, "the journal must be opened again");
        }
        (Health::Failing(_), Health::Failing(_)) | (Health::Stopped(_), _) => {}
    }
    *known = health;
}

/// Leaves nobody waiting if the thread dies.
struct Gone<'s>(&'s Shared);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            stop(self.0, &"its writer panicked".into());
        }
    }
}
