//! Pictures: a day in columns of a quarter of an hour, as SVG that needs neither script nor style of its own.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde::Serialize;

use super::show;
use crate::history::{Column, SLOT};

/// The columns of a day.
const COLUMNS: i64 = 96;

/// In units of the picture.
const WIDTH: i64 = 10;
const HEIGHT: i64 = 120;

/// One picture.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(super) struct Chart {
    /// What stands at the top.
    pub(super) most: u64,
    width: i64,
    height: i64,
    bars: Vec<Bar>,
    ticks: Vec<Tick>,
    /// The same in words.
    pub(super) words: String,
}

/// A piece of a column.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Bar {
    x: i64,
    y: i64,
    height: i64,
    /// Its class in the style.
    kind: &'static str,
    title: String,
}

#[derive(Debug, Serialize, PartialEq, Eq)]
struct Tick {
    x: i64,
    label: String,
}

/// A part of a column: its class, what it is called, how much.
pub(super) type Part = (&'static str, &'static str, u64);

/// A picture of the day that ends at `now`. `parts` of each column stand on each other, the first below.
pub(super) fn day(
    columns: &[Column],
    zone: &TimeZone,
    now: Timestamp,
    words: impl Fn(u64, &str) -> String,
    parts: impl Fn(&Column) -> Vec<Part>,
) -> Chart {
    let slot = i64::try_from(SLOT.as_secs()).unwrap_or(1).max(1);
    let last = now.as_second().div_euclid(slot) * slot;
    let first = last - (COLUMNS - 1) * slot;
    let shown = || columns.iter().filter(|column| (first..=last).contains(&column.begins));
    let sum = |column: &Column| parts(column).iter().map(|(_, _, value)| value).sum::<u64>();
    let most = shown().map(sum).max().unwrap_or(0);
    let time = |second: i64| {
        let at = Timestamp::from_second(second).unwrap_or_default();
        at.to_zoned_datetime(zone.clone()).strftime("%H:%M").to_string()
    };
    let mut bars = Vec::new();
    for column in shown() {
        let (x, mut top) = ((column.begins - first) / slot * WIDTH, HEIGHT);
        for (kind, name, value) in parts(column).into_iter().filter(|(_, _, value)| *value > 0) {
            // What is there at all can be seen.
            let height = scaled(value, most).max(1).min(top);
            top -= height;
            let title = format!("{}: {} {name}", time(column.begins), show::count(value));
            bars.push(Bar { x, y: top, height, kind, title });
        }
    }
    let peak = shown().max_by_key(|column| (sum(column), std::cmp::Reverse(column.begins)));
    let peak = peak.map(|column| time(column.begins)).unwrap_or_default();
    Chart {
        most,
        width: COLUMNS * WIDTH,
        height: HEIGHT,
        bars,
        ticks: ticks(first, last, slot, zone),
        words: if most == 0 { "Nothing in the last 24 hours.".to_owned() } else { words(most, &peak) },
    }
}

fn scaled(value: u64, most: u64) -> i64 {
    let height = u128::from(value) * u128::from(HEIGHT.unsigned_abs()) / u128::from(most.max(1));
    i64::try_from(height).unwrap_or(HEIGHT)
}

/// Every third hour on the clock of the wall there.
fn ticks(first: i64, last: i64, slot: i64, zone: &TimeZone) -> Vec<Tick> {
    let mut ticks = Vec::new();
    let Ok(begins) = Timestamp::from_second(first) else { return ticks };
    let mut at = begins.to_zoned_datetime(zone.clone());
    for _ in 0..COLUMNS {
        if at.minute() < 15 && at.hour() % 3 == 0 {
            let x = (at.timestamp().as_second() - first) / slot * WIDTH;
            ticks.push(Tick { x, label: at.strftime("%H:%M").to_string() });
        }
        match at.checked_add(15.minutes()) {
            Ok(next) if next.timestamp().as_second() <= last => at = next,
            _ => break,
        }
    }
    ticks
}
