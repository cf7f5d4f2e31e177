//! Sockets that were opened before the daemon: systemd holds them while it restarts, so that what comes meanwhile waits in
//! the kernel's queue (sd_listen_fds(3), systemd.socket(5)).

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use listenfd::ListenFd;

use crate::config::Radius;

/// Sockets that were handed over.
#[derive(Debug, Default)]
pub struct Sockets {
    datagram: Vec<UdpSocket>,
    stream: Vec<TcpListener>,
}

/// The same, by what they are for.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    pub(super) auth: Vec<UdpSocket>,
    pub(super) accounting: Vec<UdpSocket>,
    pub(super) radsec: Vec<TcpListener>,
    pub(super) http: Vec<TcpListener>,
}

impl Sockets {
    /// Those that whoever started this process passes on (`LISTEN_FDS`). What is none of ours is left alone.
    #[must_use]
    pub fn inherited() -> Self {
        let (mut passed, mut sockets) = (ListenFd::from_env(), Self::default());
        for index in 0..passed.len() {
            if let Ok(Some(socket)) = passed.take_udp_socket(index) {
                sockets.datagram.push(socket);
            } else if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
                sockets.stream.push(listener);
            } else {
                tracing::warn!(index, "a socket that was passed on is neither UDP nor TCP");
            }
        }
        sockets
    }

    /// By what they are for: one at a port of `acct_listen` takes accounting, every other datagram socket logins; one at a port
    /// of RadSec takes that, every other listener HTTP.
    pub(super) fn sorted(self, radius: &Radius) -> io::Result<Sorted> {
        let mut sorted = Sorted::default();
        for socket in self.datagram {
            let port = socket.local_addr()?.port();
            let is_accounting = radius.acct_listen.iter().any(|address| address.port() == port);
            if is_accounting { &mut sorted.accounting } else { &mut sorted.auth }.push(socket);
        }
        for listener in self.stream {
            listener.set_nonblocking(true)?;
            let port = listener.local_addr()?.port();
            let radsec = radius.radsec.iter().flat_map(|radsec| &radsec.listen);
            let is_radsec = radsec.into_iter().any(|address| address.port() == port);
            if is_radsec { &mut sorted.radsec } else { &mut sorted.http }.push(listener);
        }
        Ok(sorted)
    }
}

/// Where sockets of one kind were handed over, the addresses of the configuration for that kind are not bound.
pub(super) fn addresses<'a>(handed_over: usize, configured: &'a [SocketAddr], what: &str) -> &'a [SocketAddr] {
    if handed_over == 0 {
        return configured;
    }
    tracing::info!(handed_over, what, "sockets were handed over; those of the configuration are not opened");
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn sockets_are_told_apart_by_their_ports() {
        let udp = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (auth, accounting, http, radsec) = (udp(), udp(), tcp(), tcp());
        let port = |address: io::Result<SocketAddr>| address.unwrap().port();
        let (of_accounting, of_radsec) = (port(accounting.local_addr()), port(radsec.local_addr()));
        let expected = (port(auth.local_addr()), of_accounting, port(http.local_addr()), of_radsec);
        let text = format!(
            "[source]\nkind = \"file\"\npath = \"a\"\n[[nas]]\nname = \"a\"\naddress = \"192.0.2.1\"\nsecret = \"0123456789abcdef\"\n\
             [radius]\nacct_listen = [\"0.0.0.0:{of_accounting}\"]\n[radius.radsec]\nlisten = [\"0.0.0.0:{of_radsec}\"]\n\
             certificate = \"a\"\nprivate_key = \"a\"\nclient_ca = \"a\"\n"
        );
        let radius = config::from_str(&text, "spotgate.toml".as_ref(), &|_| None).unwrap().settings.radius;
        let sockets = Sockets { datagram: vec![accounting, auth], stream: vec![radsec, http] };
        let sorted = sockets.sorted(&radius).unwrap();
        let [auth, accounting] = [&sorted.auth[..], &sorted.accounting[..]].map(|of| {
            let [one] = of else { panic!("{of:?}") };
            port(one.local_addr())
        });
        let [http, radsec] = [&sorted.http[..], &sorted.radsec[..]].map(|of| {
            let [one] = of else { panic!("{of:?}") };
            port(one.local_addr())
        });
        assert_eq!((auth, accounting, http, radsec), expected);
    }
}
