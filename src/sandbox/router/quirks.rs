//! What can be wrong with a router, or with the wire to it.

use crate::radius::attribute::{ErrorCause, StatusType};

/// Switches that may be turned while the router runs. By default it has none of these faults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Accounting records that get lost on their way, every time they are sent.
    pub lose: Lose,
    /// So many datagrams with a Disconnect-Request are still to get lost on their way.
    pub lose_disconnects: u32,
    /// A Disconnect-Request is acknowledged, but the session goes on.
    pub keep_disconnected: bool,
    /// Every authentic Disconnect- and CoA-Request is refused for this cause.
    pub refuse: Option<ErrorCause>,
    /// Nothing that comes to the incoming port is heeded, as with `accept=no` or behind a firewall.
    pub deaf: bool,
    /// A Session-Timeout that passes ends no session; not later either.
    pub ignore_session_timeout: bool,
    /// No Accounting-On after a boot: whether RouterOS sends one is not certain (facts §2).
    pub silent_boot: bool,
}

/// Kinds of accounting records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lose {
    /// Starts.
    pub starts: bool,
    /// Interim-Updates.
    pub interims: bool,
    /// Stops.
    pub stops: bool,
}

impl Lose {
    pub(super) const fn loses(self, status: StatusType) -> bool {
        match status {
            StatusType::Start => self.starts,
            StatusType::InterimUpdate => self.interims,
            StatusType::Stop => self.stops,
            StatusType::AccountingOn | StatusType::AccountingOff => false,
        }
    }
}
