//! RADIUS: the codec as pure code, and the sockets around it.
