//! What operators see: metrics, and logs that hide secrets and do not flood.

pub mod log;
pub mod metrics;
#[cfg(test)]
pub(crate) mod silent;
pub mod trouble;
