//! What operators see: metrics, and logs that hide secrets and do not flood.

pub mod log;
pub mod metrics;
pub mod trouble;
