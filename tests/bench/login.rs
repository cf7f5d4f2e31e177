//! Cost of a login.

fn main() {}
