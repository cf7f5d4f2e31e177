//! The real binary, the real peers: one integration binary of modules.
