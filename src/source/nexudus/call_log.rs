//! The calls of the last minute, written down so that a restart does not allow the minute anew.
//!
//! The file is written before each call and not synced: that outlives the process in whatever way it ends. When the machine
//! itself went down it may be an old state; but then every call was made before the machine's start, and as many as the ceiling
//! allows count as made at that moment.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ceiling::{Ceiling, Former, Share, WINDOW};
use crate::clock::{Boot, Clock};

/// The file's name under `store.path`.
const NAME: &str = "nexudus-calls";

/// Octets of it that are read: some ten thousand calls.
const LARGEST: u64 = 256 << 10;

/// Calls that wait for the file at once; where a disk hangs, the next ones are not written down.
const WAITING: usize = 16;

/// The file.
#[derive(Debug)]
pub(super) struct CallLog {
    file: Mutex<File>,
    clock: Clock,
    places: Arc<Semaphore>,
}

impl CallLog {
    /// The log under `folder`, and the calls that it holds, each of which counts for `longest` at most. `per_minute` is what a
    /// process may have called whose lines are lost. It blocks.
    pub(super) fn open(
        folder: &Path,
        clock: &Clock,
        per_minute: usize,
        longest: Duration,
    ) -> io::Result<(Self, Vec<Former>)> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(folder.join(NAME))?;
        let mut text = Vec::new();
        (&file).take(LARGEST).read_to_end(&mut text)?;
        let former = read(&String::from_utf8_lossy(&text), &clock.boot()?, per_minute, longest);
        let places = Arc::new(Semaphore::new(WAITING));
        Ok((Self { file: Mutex::new(file), clock: clock.clone(), places }, former))
    }

    /// A place to wait for the file; none: too many do.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Writes down what counts now, a call that is about to be made among it; one that is under way may take `at_most` longer.
    /// It blocks.
    pub(super) fn note(&self, ceiling: &Mutex<Ceiling>, at_most: Duration) -> io::Result<()> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (boot, now) = (self.clock.boot()?, self.clock.now().mono);
        let mut text = format!("{}\n", boot.id);
        for call in ceiling.lock().unwrap_or_else(PoisonError::into_inner).counting(now, at_most) {
            text.push_str(&format!("{} {}\n", call.share.digit(), (boot.up + call.frees_in).as_millis()));
        }
        // Should the process end between these, what is left of the former state stands for calls that are counted twice.
        file.write_all_at(text.as_bytes(), 0)?;
        file.set_len(u64::try_from(text.len()).unwrap_or_default())
    }
}

/// The calls in a file that still count.
fn read(text: &str, now: &Boot, per_minute: usize, longest: Duration) -> Vec<Former> {
    if text.is_empty() {
        return Vec::new();
    }
    let (boot, calls) = text.split_once('\n').unwrap_or_default();
    let call = |line: &str| {
        let (share, frees) = line.split_once(' ')?;
        Some((Share::of_digit(share)?, Duration::from_millis(frees.parse().ok()?)))
    };
    let calls: Vec<_> = calls.lines().filter_map(call).collect();
    // A container may be another start of the machine, and yet go by the same uptime; or show an uptime of its own.
    let began_anew = boot != now.id || calls.iter().any(|(_, frees)| *frees > now.up + longest);
    let since_start = WINDOW.saturating_sub(now.up);
    let lost = if began_anew && !since_start.is_zero() { per_minute } else { 0 };
    let former = calls.into_iter().filter_map(|(share, frees)| {
        let frees_in = frees.checked_sub(now.up).filter(|frees_in| *frees_in <= longest)?;
        Some(Former { share, frees_in })
    });
    former.chain(std::iter::repeat_n(Former { share: Share::Whole, frees_in: since_start }, lost)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(65);

    fn boot(id: &str, seconds: u64) -> Boot {
        Boot { id: id.to_owned(), up: Duration::from_secs(seconds) }
    }

    #[test]
    fn what_was_called_counts_until_its_minute_is_over() {
        let read = |seconds| read("b\n0 100000\n2 130500\nodd\n2 x\n7 130000\n", &boot("b", seconds), 90, LONGEST);
        let of = |share, millis| Former { share, frees_in: Duration::from_millis(millis) };
        assert_eq!(read(90), [of(Share::Half, 10_000), of(Share::Whole, 40_500)]);
        assert_eq!(read(130), [of(Share::Whole, 500)]);
        assert_eq!(read(131), []);
    }

    #[test]
    fn a_disk_that_hangs_holds_no_more_than_some_calls() {
        let folder = tempfile::tempdir().unwrap();
        let (log, former) = CallLog::open(folder.path(), &Clock::system(), 90, LONGEST).unwrap();
        assert_eq!(former, []);
        let waiting: Vec<_> = (0..WAITING).map(|_| log.place().unwrap()).collect();
        assert!(log.place().is_none());
        drop(waiting);
        assert!(log.place().is_some());
    }

    #[test]
    fn after_the_machine_went_down_all_of_the_ceiling_counts_from_its_start() {
        let read = |text, id, seconds| read(text, &boot(id, seconds), 3, LONGEST);
        let used_up = vec![Former { share: Share::Whole, frees_in: Duration::from_secs(40) }; 3];
        assert_eq!(read("b\n2 1\n", "c", 20), used_up);
        assert_eq!(read("b\n2 1\n", "c", 60), []);
        assert_eq!(read("b\n2 900000\n", "c", 20), used_up, "by the uptime of before");
        assert_eq!(read("b\n2 900000\n", "b", 20), used_up, "the same start, and an uptime that began anew");
        assert_eq!(read("\0\0\0", "c", 20), used_up, "what a power cut left");
        let still = Former { share: Share::Whole, frees_in: Duration::from_secs(30) };
        assert_eq!(read("b\n2 930000\n", "c", 900), [still], "another container by the same uptime");
        assert_eq!(read("", "c", 1), [], "nothing was ever called");
    }
}
