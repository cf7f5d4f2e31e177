//! The router as a guest's browser meets it: it intercepts plain HTTP, serves its pages, takes the login form, asks RADIUS,
//! and opens or refuses the way (facts/hotspot.md §5).
//!
//! A [`Web`] stands for one device. Whoever connects to it is that device: by the address of the listener itself, or with
//! the listener as an HTTP proxy, by which every host on the web is reached as if through the router.
//!
//! Where RouterOS says nothing certain, it assumes that
//!
//! * a challenge is printed again until it is used or an hour old, so that two open login pages both work;
//! * 32 hexadecimal digits as a password answer a challenge wherever `http-chap` is offered;
//! * a login of a device that is online already changes nothing;
//! * an address that has control characters, or more than 2048 octets, is nobody's destination.
//!
//! Other than a router it takes every path on its own host that is no page of its own for a page of the web, so that one
//! can be guest without a proxy: RouterOS would say 404, and show the way to `/login` or `/status` at `/`.

mod challenge;
mod connections;
mod forward;
mod login;
mod pages;
mod requests;
mod variables;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::DropGuard;

use self::challenge::Memory;
use super::{Online, Router, Shared};
use crate::core::ident::Mac;

pub use pages::Pages;

/// What guests get: `/ip hotspot profile`, and the walled garden.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Where the device's browser connects, on the loopback interface; port 0 for any free one.
    pub listen: SocketAddr,
    /// How the login form may be sent.
    pub login_by: LoginBy,
    /// `html-directory`.
    pub pages: Pages,
    /// Hosts that are reached before the login, as they stand in addresses (`wifi.example.org`, `127.0.0.1:8080`), and where
    /// they are: on the loopback interface.
    pub walled_garden: BTreeMap<String, SocketAddr>,
}

/// `login-by`, of the two ways by form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginBy {
    /// `http-chap,http-pap`.
    Both,
    /// `http-chap`: the form must answer a challenge.
    Chap,
    /// `http-pap`: the form sends the password.
    Pap,
}

/// A device's way to the web; it closes when this is dropped, or with the router.
#[derive(Debug)]
pub struct Web {
    address: SocketAddr,
    mac: Mac,
    _open: DropGuard,
}

/// A device whose browser is here.
struct Device {
    shared: Arc<Shared>,
    mac: Mac,
    /// The router's pages, as a host in addresses.
    host: String,
    port: u16,
    profile: Profile,
    memory: Mutex<Memory>,
    /// One login at a time.
    turn: Arc<Semaphore>,
}

impl Profile {
    /// On any free port with these pages, and the portal at this address in the walled garden; the form sends the password, as
    /// `spotgate mikrotik setup` has it where the portal hands over by `one-time`.
    #[must_use]
    pub fn new(pages: Pages, portal: SocketAddr) -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            login_by: LoginBy::Pap,
            pages,
            walled_garden: BTreeMap::from([(portal.to_string(), portal)]),
        }
    }
}

impl Web {
    /// Where the device's browser connects: also the host of the router's pages.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The device.
    #[must_use]
    pub const fn mac(&self) -> Mac {
        self.mac
    }
}

impl Router {
    /// Opens the way to the web for a device. Fails where the address cannot be listened on, or lies outside of the loopback
    /// interface; so for what is in the walled garden.
    pub async fn web(&self, mac: Mac, profile: Profile) -> io::Result<Web> {
        let garden = profile.walled_garden.values();
        if let Some(outside) = [&profile.listen].into_iter().chain(garden).find(|address| !address.ip().is_loopback()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{outside} is not on this machine")));
        }
        let listener = TcpListener::bind(profile.listen).await?;
        let address = listener.local_addr()?;
        let open = self.shared.stop.child_token();
        let device = Arc::new(Device {
            shared: Arc::clone(&self.shared),
            mac,
            host: address.to_string(),
            port: address.port(),
            profile,
            memory: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
        });
        tokio::spawn(connections::serve(listener, device, open.clone()));
        Ok(Web { address, mac, _open: open.drop_guard() })
    }
}

impl Device {
    /// Its address; none: the pool is empty.
    fn address(&self) -> Option<Ipv4Addr> {
        self.shared.state().guests.lease(self.mac)
    }

    /// Its session.
    fn session(&self) -> Option<Online> {
        let state = self.shared.state();
        state.guests.get(self.mac).map(|guest| Online::of(guest, self.shared.now()))
    }
}
