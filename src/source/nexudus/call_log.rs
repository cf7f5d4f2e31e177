//! The calls of the last minute, written down so that a restart does not allow the minute anew.
//!
//! The file is written before each call and not synced: that outlives the process in whatever way it ends. When the machine
//! itself went down it may be an old state; but then every call was made before the machine's start, and as many as the ceiling
//! allows count as made at that moment.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::ceiling::{Ceiling, Former, Share, WINDOW};
use crate::clock::{Boot, Clock};

/// The file's name under `store.path`.
const NAME: &str = "nexudus-calls";

/// Octets of it that are read: some ten thousand calls.
const LARGEST: u64 = 256 << 10;

/// The file.
#[derive(Debug)]
pub(super) struct CallLog {
    file: Mutex<File>,
    clock: Clock,
}

impl CallLog {
    /// The log under `folder`, and the calls that it holds. `per_minute` is what a process may have called whose lines are lost.
    /// It blocks.
    pub(super) fn open(folder: &Path, clock: &Clock, per_minute: usize) -> io::Result<(Self, Vec<Former>)> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(folder.join(NAME))?;
        let mut text = Vec::new();
        (&file).take(LARGEST).read_to_end(&mut text)?;
        let former = read(&String::from_utf8_lossy(&text), &clock.boot()?, per_minute);
        Ok((Self { file: Mutex::new(file), clock: clock.clone() }, former))
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
fn read(text: &str, now: &Boot, per_minute: usize) -> Vec<Former> {
    let Some((boot, calls)) = text.split_once('\n') else { return Vec::new() };
    if boot != now.id {
        let frees_in = WINDOW.saturating_sub(now.up);
        return vec![Former { share: Share::Whole, frees_in }; if frees_in.is_zero() { 0 } else { per_minute }];
    }
    let call = |line: &str| {
        let (share, frees) = line.split_once(' ')?;
        let frees_in = Duration::from_millis(frees.parse().ok()?).checked_sub(now.up)?;
        Some(Former { share: Share::of_digit(share)?, frees_in: frees_in.min(WINDOW * 5) })
    };
    calls.lines().filter_map(call).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(id: &str, seconds: u64) -> Boot {
        Boot { id: id.to_owned(), up: Duration::from_secs(seconds) }
    }

    #[test]
    fn what_was_called_counts_until_its_minute_is_over() {
        let read = |seconds| read("b\n0 100000\n2 130500\nodd\n2 x\n7 130000\n", &boot("b", seconds), 90);
        let of = |share, millis| Former { share, frees_in: Duration::from_millis(millis) };
        assert_eq!(read(90), [of(Share::Half, 10_000), of(Share::Whole, 40_500)]);
        assert_eq!(read(130), [of(Share::Whole, 500)]);
        assert_eq!(read(131), []);
    }

    #[test]
    fn after_the_machine_went_down_all_of_the_ceiling_counts_from_its_start() {
        let read = |seconds| read("b\n2 1\n", &boot("c", seconds), 3);
        assert_eq!(read(20), vec![Former { share: Share::Whole, frees_in: Duration::from_secs(40) }; 3]);
        assert_eq!(read(60), []);
        assert_eq!(super::read("", &boot("c", 1), 3), [], "nothing was ever called");
    }
}
