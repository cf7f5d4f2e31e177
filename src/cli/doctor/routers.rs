//! Each router's port for orders: it is told to end a session that nobody has, and says so if it hears.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use secrecy::ExposeSecret as _;
use tokio::task::JoinSet;

use super::finding::Finding;
use crate::clock::Clock;
use crate::config::{DisconnectStyle, Nas, Settings};
use crate::radius::attribute::ErrorCause;
use crate::radius::disconnect::{Attributes, Order, Outcome, Subject, Target, tell};
use crate::radius::secret::Secret;

const CHECK: &str = "disconnect";

/// An address that is nobody's (RFC 5737).
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Each NAS, in order of the configuration.
pub(super) async fn examine(settings: &Settings, clock: &Clock) -> Vec<Finding> {
    let mut asked = JoinSet::new();
    for (place, nas) in settings.nas.iter().cloned().enumerate() {
        let clock = clock.clone();
        asked.spawn(async move { (place, router(&nas, &clock).await.about(nas.name())) });
    }
    let mut findings = asked.join_all().await;
    findings.sort_by_key(|(place, _)| *place);
    findings.into_iter().map(|(_, finding)| finding).collect()
}

async fn router(nas: &Nas, clock: &Clock) -> Finding {
    if nas.disconnect_port == 0 {
        return Finding::ok(CHECK, "not tried: disconnect_port = 0, so that it cannot be told to end a session");
    }
    if nas.certificate_name.is_some() {
        return Finding::ok(CHECK, "not tried: it is told over its RadSec connection, which is the daemon's");
    }
    if nas.address.prefix_len() != nas.address.max_prefix_len() {
        return Finding::ok(CHECK, format!("not tried: {} is a network, not one router", nas.address));
    }
    let Ok(random) = getrandom::u64() else {
        return Finding::warn(CHECK, "not tried: this machine gives no random numbers", "try again");
    };
    let (address, secret) =
        (SocketAddr::new(nas.address.addr(), nas.disconnect_port), Secret::new(nas.secret.expose_secret().as_bytes()));
    let target = Target { address, secret: &secret, style: nas.disconnect_style };
    let name = format!("doctor-{random:016x}");
    let subject = Subject { user_name: Some(&name), nas_session: Some(&name), ip: Some(NOBODY), device: None };
    judge(nas, address, tell(&target, &subject, Order::Disconnect, Attributes::Full, clock.now().wall).await)
}

fn judge(nas: &Nas, address: SocketAddr, outcome: Outcome) -> Finding {
    match outcome {
        Outcome::Nak(None | Some(ErrorCause::SESSION_CONTEXT_NOT_FOUND)) => {
            Finding::ok(CHECK, format!("{address} takes orders: it says that it has no such session"))
        }
        Outcome::Nak(Some(cause)) => Finding::warn(
            CHECK,
            format!("{address} hears, but refuses to end a session: {cause}"),
            "see its log, and nas.disconnect_style",
        ),
        Outcome::Ack => Finding::warn(
            CHECK,
            format!("{address} says that it has ended a session that nobody has, so that its word is worth nothing"),
            "see that it reports sessions (accounting): then their end is known by its Stop",
        ),
        Outcome::NoAnswer => {
            let accept = match nas.disconnect_style {
                DisconnectStyle::Mikrotik => {
                    format!("on the router: `/radius incoming set accept=yes port={}`", nas.disconnect_port)
                }
                DisconnectStyle::Rfc5176 => "switch dynamic authorisation (RFC 5176) on at the router".to_owned(),
            };
            let remedy = format!(
                "{accept}; see that the secret is the same on both sides, and that no firewall drops UDP port {} from here",
                nas.disconnect_port
            );
            Finding::warn(CHECK, format!("no answer from {address}"), remedy)
        }
        Outcome::Unsendable(why) => Finding::warn(
            CHECK,
            format!("nothing could be sent to {address}: {why}"),
            "see nas.address and the route to it",
        ),
    }
}
