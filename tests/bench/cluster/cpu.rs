//! Processor time of this process and of the whole machine.

use std::fs;
use std::time::Duration;

/// Of this process alone, without those that it started.
pub fn own() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("/proc");
    let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
    ticks(fields.skip(11).take(2))
}

/// Of everything that runs here, the kernel included; without what waits.
pub fn machine() -> Duration {
    let stat = fs::read_to_string("/proc/stat").expect("/proc");
    let mut fields = stat.lines().next().expect("all processors").split_whitespace().skip(1);
    let [user, nice, system] = [(); 3].map(|()| fields.next().expect("a number"));
    // idle and iowait
    let rest = fields.skip(2).take(2);
    ticks([user, nice, system].into_iter().chain(rest))
}

fn ticks<'a>(fields: impl Iterator<Item = &'a str>) -> Duration {
    // USER_HZ, which is 100 wherever Debian runs.
    Duration::from_millis(fields.map(|field| field.parse::<u64>().expect("a number") * 10).sum())
}
