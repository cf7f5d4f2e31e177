//! What is printed.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::load::now;

/// Says on what all of it was measured.
pub fn machine(folder: &Path) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo");
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let (device, kind) = file_system(folder);
    assert!(!matches!(kind.as_str(), "tmpfs" | "ramfs"), "{} is memory: --folder names a disk", folder.display());
    println!(
        "{cores} cores ({}), Linux {}",
        processor.map_or("?", |found| found.1),
        read("/proc/sys/kernel/osrelease").trim()
    );
    println!("stored on {kind} ({device}), where 4 KiB appended and synced take {} (median)", time(sync(folder)));
    if cfg!(debug_assertions) {
        println!("a build without optimisation: the figures say nothing");
    }
}

/// Device and kind of the file system that holds a folder.
fn file_system(folder: &Path) -> (String, String) {
    let folder = folder.canonicalize().expect("a folder");
    let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc");
    let mount = |line: &str| {
        let mut fields = line.split(' ').map(str::to_owned);
        let (device, at, kind) = (fields.next()?, fields.next()?, fields.next()?);
        folder.starts_with(&at).then_some((at.len(), device, kind))
    };
    // None is listed where the root is no mount of its own.
    let unknown = || (0, "?".to_owned(), "?".to_owned());
    let (_, device, kind) = mounts.lines().filter_map(mount).max_by_key(|mount| mount.0).unwrap_or_else(unknown);
    (device, kind)
}

fn sync(folder: &Path) -> Duration {
    let mut file = tempfile::tempfile_in(folder).expect("a file");
    let mut times: Vec<Duration> = (0..100)
        .map(|_| {
            let begun = now();
            file.write_all(&[7; 4096]).and_then(|()| file.sync_data()).expect("a disk");
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// Begins a part.
pub fn part(name: &str, what: &str) {
    println!("\n{name}: {what}");
}

/// Prints rows in columns; the first row is the head.
pub fn print(rows: &[Vec<String>]) {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = width(column).unwrap_or_default();
            if column == 0 { format!("{cell:width$}") } else { format!("{cell:>width$}") }
        });
        println!("  {}", cells.collect::<Vec<_>>().join("   ").trim_end());
    }
}

pub fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// The median; 0 of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// `median (least–most)`.
pub fn spread(values: &[f64], shown: impl Fn(f64) -> String) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    if values.len() < 2 {
        return shown(median(values));
    }
    format!("{} ({}–{})", shown(median(values)), shown(least), shown(most))
}

pub fn time(time: Duration) -> String {
    seconds(time.as_secs_f64())
}

pub fn seconds(seconds: f64) -> String {
    match seconds {
        short if short < 1e-4 => format!("{:.1} µs", short * 1e6),
        short if short < 1e-3 => format!("{:.0} µs", short * 1e6),
        short if short < 0.1 => format!("{:.1} ms", short * 1e3),
        short if short < 1.0 => format!("{:.0} ms", short * 1e3),
        long => format!("{long:.2} s"),
    }
}

/// A whole number with its thousands apart.
pub fn count(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut shown = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            shown.push(' ');
        }
        shown.push(digit);
    }
    shown
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
