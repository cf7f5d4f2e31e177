//! The file source: a JSON array of AccessToken records, or the envelope that Nexudus sends, re-read when it changes.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::value::RawValue;

use super::Error;
use super::alarm::Alarm;
use super::nexudus::wire::{List, Malformed, Record, as_text};
use crate::clock::Clock;
use crate::config;
use crate::core::ident::{BusinessId, TokenId};
use crate::core::token::AccessToken;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 64 << 20;

/// Records that are worth a thread of their own.
const SHARE: usize = 2_000;

/// Threads that read a file.
const MOST_THREADS: usize = 4;

/// A file changed this lately may change again within one tick of its time stamp.
const TICK: Duration = Duration::from_secs(2);

/// What a file holds: its tokens, in order, and what is odd about it.
pub type Contents = (Vec<Arc<AccessToken>>, Vec<Warning>);

/// Something odd in a file that can be used all the same. It shows no value of a record but its `Id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Which record, counted from 1.
    pub record: usize,
    /// Its `Id`, if it can be read.
    pub id: Option<TokenId>,
    /// What is odd.
    pub what: Oddity,
}

/// What is odd about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// A later record has the same `Id`, and is the one that counts.
    Doubled,
    /// It cannot be read and is left out.
    Malformed(Malformed),
    /// It cannot be read, and the version read before stays in use.
    Kept(Malformed),
    /// `MacAddress` holds something that is no MAC address.
    Devices,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {}", self.record)?;
        if let Some(id) = self.id {
            write!(f, " (Id {id})")?;
        }
        match self.what {
            Oddity::Doubled => f.write_str(" is left out: a later record has the same Id"),
            Oddity::Malformed(error) => write!(f, " is left out: {error}"),
            Oddity::Kept(error) => write!(f, " stays as it was before: {error}"),
            Oddity::Devices => f.write_str(" has something in MacAddress that is no MAC address; that is left out"),
        }
    }
}

/// Reads the file. It blocks.
///
/// A malformed record is left out with a warning; of two records with one `Id` the later counts; records of locations
/// other than `business_ids` are left out. A file that is missing, larger than 64 MiB, or no list of records is an error.
pub fn load(file: &config::File) -> Result<Contents, Error> {
    let bytes = bytes(&file.path).map_err(|error| Error::Refused {
        alarm: Alarm::BadFile,
        what: format!("cannot read {}: {error}", file.path.display()),
        remedy: "create the file, or correct source.path".to_owned(),
    })?;
    let refused = |what: String| Error::Refused {
        alarm: Alarm::BadFile,
        what: format!("{} is {what}", file.path.display()),
        remedy: "correct it: a JSON array of AccessToken records, as Nexudus sends them, is expected".to_owned(),
    };
    let text = as_text(&bytes).ok_or_else(|| refused("not UTF-8 text".to_owned()))?;
    let list = List::parse_array_or_envelope(text).map_err(|error| refused(error.to_string()))?;
    Ok(read(&list, file))
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    // Before it is opened: opening a pipe waits for somebody to write.
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let file = File::open(path)?;
    let length = usize::try_from(metadata.len().min(LARGEST)).unwrap_or_default();
    let mut bytes = Vec::with_capacity(length + 1);
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > LARGEST) {
        return Err(io::Error::other("it is larger than 64 MiB"));
    }
    Ok(bytes)
}

fn read(list: &List<'_>, file: &config::File) -> Contents {
    let ours = |business| file.business_ids.is_empty() || file.business_ids.contains(&business);
    let (mut warnings, mut tokens) = (Vec::new(), Vec::with_capacity(list.records.len()));
    let mut seen = HashSet::with_capacity(list.records.len());
    // From the end: of two records with one id the later counts.
    for (place, record) in each(list, &file.time_zone).into_iter().enumerate().rev() {
        let mut warn = |id, what| warnings.push(Warning { record: place + 1, id, what });
        match record {
            Ok((token, odd_devices)) => {
                if odd_devices {
                    warn(Some(token.id), Oddity::Devices);
                }
                if !seen.insert(token.id) {
                    warn(Some(token.id), Oddity::Doubled);
                } else if file.business_ids.is_empty() || token.business.is_some_and(ours) {
                    tokens.push(token);
                }
            }
            Err(Broken { business: Some(business), .. }) if !ours(business) => {}
            Err(Broken { id, error, .. }) => warn(id, Oddity::Malformed(error)),
        }
    }
    tokens.reverse();
    warnings.sort_by_key(|warning| warning.record);
    (tokens, warnings)
}

/// A record that cannot be read, and what of it can.
struct Broken {
    id: Option<TokenId>,
    business: Option<BusinessId>,
    error: Malformed,
}

/// Each record as a token, and whether its `MacAddress` is odd. Of many, several threads read some each: a start waits for it.
fn each(list: &List<'_>, zone: &TimeZone) -> Vec<Result<(Arc<AccessToken>, bool), Broken>> {
    let one = |json: &&RawValue| -> Result<(Arc<AccessToken>, bool), Broken> {
        let record = Record::parse(json.get()).map_err(|error| Broken { id: None, business: None, error })?;
        let broken = |error| Broken { id: record.id().ok(), business: record.business().ok().flatten(), error };
        let reading = record.read(zone).map_err(broken)?;
        Ok((Arc::new(reading.token), reading.odd_devices))
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    let share = list.records.len().div_ceil(threads).max(SHARE);
    thread::scope(|scope| {
        let shares: Vec<_> = list.records.chunks(share).collect();
        let [first, others @ ..] = shares.as_slice() else { return Vec::new() };
        let others: Vec<_> =
            others.iter().map(|some| scope.spawn(|| some.iter().map(one).collect::<Vec<_>>())).collect();
        let mut read: Vec<_> = first.iter().map(one).collect();
        for other in others {
            read.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        read
    })
}

/// Reads the file now and after every change, and reports each reading; it never ends. A bad file is reported once
/// until it changes again, and whoever listens keeps the good copy. A record that was good before and is malformed now
/// is reported in its former version.
///
/// The file is looked at each `every`.
pub async fn watch(
    file: config::File,
    every: Duration,
    clock: Clock,
    mut on_change: impl FnMut(Result<Contents, Error>),
) {
    let mut seen: Option<(Option<Stamp>, bool)> = None;
    // Kept only while the file may change unseen, to tell whether it did.
    let mut reported: Option<Result<Contents, Error>> = None;
    let mut good = Vec::new();
    loop {
        let stamp = Stamp::of(&file.path).await;
        let settled = stamp.as_ref().is_none_or(|stamp| stamp.is_settled(&clock));
        if seen.as_ref().is_none_or(|(before, was_settled)| *before != stamp || !was_settled) {
            let copy = file.clone();
            let loaded = tokio::task::spawn_blocking(move || load(&copy)).await;
            // Written while it was read: the next look finds it whole.
            if Stamp::of(&file.path).await == stamp
                && let Ok(loaded) = loaded
            {
                let changed = seen.as_ref().is_none_or(|(before, _)| *before != stamp);
                seen = Some((stamp, settled));
                let loaded = loaded.map(|contents| with_former(contents, &good));
                if changed || reported.as_ref() != Some(&loaded) {
                    if let Ok((tokens, _)) = &loaded {
                        good.clone_from(tokens);
                    }
                    reported = (!settled).then(|| loaded.clone());
                    on_change(loaded);
                } else if settled {
                    reported = None;
                }
            }
        }
        tokio::time::sleep(every).await;
    }
}

/// Puts the former version in place of each record that is malformed now.
fn with_former((mut tokens, mut warnings): Contents, former: &[Arc<AccessToken>]) -> Contents {
    if !warnings.iter().any(|warning| matches!(warning.what, Oddity::Malformed(_))) {
        return (tokens, warnings);
    }
    let former: HashMap<TokenId, &Arc<AccessToken>> = former.iter().map(|token| (token.id, token)).collect();
    let mut there: HashSet<TokenId> = tokens.iter().map(|token| token.id).collect();
    for warning in &mut warnings {
        if let (Oddity::Malformed(error), Some(id)) = (warning.what, warning.id)
            && let Some(token) = former.get(&id)
            && there.insert(id)
        {
            tokens.push(Arc::clone(token));
            warning.what = Oddity::Kept(error);
        }
    }
    (tokens, warnings)
}

/// What tells one state of a file from the next.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl Stamp {
    /// None where there is no readable file.
    async fn of(path: &Path) -> Option<Self> {
        let metadata = tokio::fs::metadata(path).await.ok()?;
        Some(Self { modified: metadata.modified().ok(), length: metadata.len(), inode: inode(&metadata) })
    }

    /// Whether another change would surely show: time stamps of files move in ticks.
    fn is_settled(&self, clock: &Clock) -> bool {
        let Some(modified) = self.modified.and_then(|modified| Timestamp::try_from(modified).ok()) else {
            return true;
        };
        clock.now().wall.duration_since(modified).unsigned_abs() > TICK
    }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
const fn inode(_: &Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests;
