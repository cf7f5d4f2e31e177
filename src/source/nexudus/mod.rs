//! The Nexudus source.
