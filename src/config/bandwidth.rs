//! A rate limit as other systems than RouterOS read it: bits per second, each way.

/// Bits per second; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bandwidth {
    /// From the device: WISPr-Bandwidth-Max-Up.
    pub up: u32,
    /// To the device: WISPr-Bandwidth-Max-Down.
    pub down: u32,
}

impl Bandwidth {
    /// Reads a Mikrotik-Rate-Limit: `rx[/tx]` as the router sees them, so the device's way up first, with `k`, `M` or `G`; what
    /// follows (bursts, priority) has no like elsewhere. `None`: it says no rate of both ways.
    #[must_use]
    pub fn parse(rate_limit: &str) -> Option<Self> {
        let rates = rate_limit.split_ascii_whitespace().next()?;
        let (up, down) = rates.split_once('/').unwrap_or((rates, rates));
        Some(Self { up: rate(up)?, down: rate(down)? })
    }
}

/// Beyond 4.29 Gbit/s an attribute of 32 bits says as much as it can.
fn rate(text: &str) -> Option<u32> {
    let digits = text.trim_end_matches(|end: char| end.is_ascii_alphabetic());
    let factor = match text.get(digits.len()..)? {
        "" => 1,
        "k" | "K" => 1_000,
        "M" | "m" => 1_000_000,
        "G" | "g" => 1_000_000_000,
        _ => return None,
    };
    let rate = digits.parse::<u64>().ok()?.saturating_mul(factor);
    Some(u32::try_from(rate).unwrap_or(u32::MAX)).filter(|rate| *rate > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_limit_is_read_both_ways() {
        for (text, bandwidth) in [
            ("10M/5M", Some((10_000_000, 5_000_000))),
            ("512k", Some((512_000, 512_000))),
            ("1G/2000 2G/4G 1G/1G 8", Some((1_000_000_000, 2000))),
            ("9G/9G", Some((u32::MAX, u32::MAX))),
            ("10M/", None),
            ("0/1M", None),
            ("10Q/10Q", None),
            ("ten", None),
            ("", None),
        ] {
            assert_eq!(Bandwidth::parse(text).map(|both| (both.up, both.down)), bandwidth, "{text:?}");
        }
    }
}
