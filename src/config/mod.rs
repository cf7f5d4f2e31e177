//! The configuration file: TOML as written, read into [`Settings`] or into a report of every mistake.

mod settings;

pub use settings::*;
