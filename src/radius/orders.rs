//! What the ledger wants a router told, carried to it; and what came of it, said and counted.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::config::{DisconnectStyle, Nas};
use crate::core::ending::{SESSION_CONTEXT_NOT_FOUND, Told};
use crate::core::session::Session;
use crate::gate::Gate;
use crate::ledger::Teller;
use crate::live::{Current, Live};
use crate::radius::attribute::ErrorCause;
use crate::radius::clients::Client;
use crate::radius::disconnect::{Attributes, Order, Outcome, Subject, Target, tell};
use crate::radius::radsec::{Link, Links};

/// Tells routers to end sessions, or to let them last longer.
#[derive(Debug)]
pub struct Orders {
    gate: Arc<Gate>,
    live: Current,
    links: Arc<Links>,
}

/// How a router is reached.
enum Way {
    /// By its port for orders.
    Udp(Arc<Client>, IpAddr),
    /// By the connection that it keeps.
    Radsec(Arc<Link>),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(client, address) => write!(f, "UDP port {} of {address}", client.nas.disconnect_port),
            Self::Radsec(link) => write!(f, "its RadSec connection from {}", link.peer()),
        }
    }
}

impl Orders {
    /// To the routers of the configuration in force, by `links` where they have connected.
    #[must_use]
    pub const fn new(gate: Arc<Gate>, live: Current, links: Arc<Links>) -> Self {
        Self { gate, live, links }
    }

    /// How to reach the router of a session, if it may be told. A connection goes before UDP; a router that is known by its
    /// certificate is told by nothing else, lest whoever breaks the connection has its orders sent where TLS does not guard
    /// them.
    fn way(&self, live: &Live, nas: &Nas, router: Option<IpAddr>) -> Option<Way> {
        if nas.disconnect_port == 0 {
            return None;
        }
        if let Some(link) = self.links.find(nas.name(), router) {
            return Some(Way::Radsec(link));
        }
        if nas.certificate_name.is_some() {
            return None;
        }
        live.clients.named(nas.name(), router).map(|(client, address)| Way::Udp(Arc::clone(client), address))
    }
}

impl Teller for Orders {
    async fn tell(&self, session: &Session) -> Told {
        let (order, attributes) = match (&session.ending, &session.extension) {
            (Some(ending), _) if ending.reduced() => (Order::Disconnect, Attributes::Reduced),
            (Some(_), _) => (Order::Disconnect, Attributes::Full),
            (None, Some(extension)) => (Order::SessionTimeout(extension.to), Attributes::Full),
            (None, None) => return Told::Unsendable,
        };
        self.unproven(session);
        let nas = &session.contact.nas;
        let live = Arc::clone(&self.live.borrow());
        let settings = live.settings.nas.iter().find(|other| other.name() == nas);
        let way = settings.and_then(|nas| Some((nas.disconnect_style, self.way(&live, nas, session.contact.router)?)));
        let Some((style, way)) = way else {
            self.say_unknown(session);
            return Told::Unsendable;
        };
        let mut outcome = self.exchange(&way, style, session, order, attributes).await;
        if is_gone(outcome) && attributes == Attributes::Full && style == DisconnectStyle::Rfc5176 {
            // It may have compared what we write otherwise than it does. Its own name for the session names no other.
            outcome = match self.exchange(&way, style, session, order, Attributes::Reduced).await {
                Outcome::NoAnswer | Outcome::Unsendable(_) => outcome,
                other => other,
            };
        }
        if let Some(result) = self.say(session, &way, order, outcome)
            && let Some(seen) = live.clients.seen(nas)
        {
            seen.tell(result, self.gate.clock.now().wall);
        }
        match outcome {
            Outcome::Ack => Told::Acked,
            Outcome::Nak(cause) => Told::Refused(cause.map_or(0, |cause| cause.0)),
            Outcome::NoAnswer => Told::Unanswered,
            Outcome::Unsendable(_) => Told::Unsendable,
        }
    }
}

impl Orders {
    async fn exchange(
        &self,
        way: &Way,
        style: DisconnectStyle,
        session: &Session,
        order: Order,
        attributes: Attributes,
    ) -> Outcome {
        let contact = &session.contact;
        let subject = Subject {
            user_name: Some(contact.user_name.as_ref().unwrap_or(&session.code).reveal()),
            nas_session: contact.nas_session.as_deref(),
            ip: contact.ip,
            device: session.device,
        };
        let now = self.gate.clock.now().wall;
        match way {
            Way::Radsec(link) => link.tell(style, &subject, order, attributes, now).await,
            Way::Udp(client, address) => {
                let address = SocketAddr::new(*address, client.nas.disconnect_port);
                let target = Target { address, secret: &client.secret, style };
                tell(&target, &subject, order, attributes, now).await
            }
        }
    }

    /// There is nobody to tell: the `[[nas]]` has another name or address by now, or its `disconnect_port` is 0.
    fn say_unknown(&self, session: &Session) {
        let (nas, result) = (&session.contact.nas, Told::Unsendable.as_str());
        match session.ending.as_deref() {
            Some(ending) => {
                self.gate.metrics.disconnect(nas.as_str(), result);
                tracing::warn!(%nas, session = %session.id, cause = ending.cause.as_str(), tries = ending.tries,
                    "disconnect: not sent; no [[nas]] of this name and address can be told any more, or one has no RadSec connection now");
            }
            None => self.gate.metrics.extension(nas.as_str(), result),
        }
    }

    /// What came of an order to end a session, as metrics name it.
    fn say(&self, session: &Session, way: &Way, order: Order, outcome: Outcome) -> Option<&'static str> {
        let (nas, id) = (&session.contact.nas, session.id);
        let gone = is_gone(outcome);
        let result = match outcome {
            Outcome::Ack => "acked",
            Outcome::Nak(_) if gone => "gone",
            Outcome::Nak(_) => "refused",
            Outcome::NoAnswer => "unanswered",
            Outcome::Unsendable(_) => "unsendable",
        };
        let Some(ending) = session.ending.as_deref() else {
            self.gate.metrics.extension(nas.as_str(), result);
            tracing::info!(%nas, session = %id, ?order, result, "a longer session was offered");
            return None;
        };
        self.gate.metrics.disconnect(nas.as_str(), result);
        let (cause, tries) = (ending.cause.as_str(), ending.tries);
        match outcome {
            Outcome::Ack => tracing::info!(%nas, session = %id, cause, "disconnect: acknowledged; its Stop is awaited"),
            Outcome::Nak(_) if gone => {
                tracing::info!(%nas, session = %id, cause, "disconnected: the router has no such session");
            }
            Outcome::Nak(error) => {
                let error = error.map(|error| tracing::field::display(error.0));
                tracing::warn!(%nas, session = %id, cause, tries, error, "disconnect: refused");
            }
            Outcome::NoAnswer => {
                let does_it = match way {
                    Way::Udp(..) => "does the router accept it (`/radius incoming`) on this port, from us?",
                    Way::Radsec(_) => "does the router take orders over the connection that it asks by?",
                };
                tracing::warn!(%nas, %way, session = %id, cause, tries, "disconnect: no answer; {does_it}");
            }
            Outcome::Unsendable(why) => {
                tracing::warn!(%nas, session = %id, cause, tries, %why, "disconnect: not sent");
            }
        }
        Some(result)
    }

    /// An acknowledgement that no Stop followed is worth a line: the guest may still be online.
    fn unproven(&self, session: &Session) {
        if session.ending.as_ref().is_some_and(|ending| ending.last == Some(Told::Acked)) {
            let nas = &session.contact.nas;
            self.gate.metrics.disconnect(nas.as_str(), "unproven");
            tracing::warn!(%nas, session = %session.id,
                "the router acknowledged a disconnect, but no Stop has come; it is told again");
        }
    }
}

/// Whether the router says that it has no such session.
fn is_gone(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Nak(Some(ErrorCause(SESSION_CONTEXT_NOT_FOUND))))
}
