//! What the ledger wants a router told, carried to it; and what came of it, said and counted.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::config::DisconnectStyle;
use crate::core::ending::{SESSION_CONTEXT_NOT_FOUND, Told};
use crate::core::session::Session;
use crate::gate::Gate;
use crate::ledger::Teller;
use crate::live::Current;
use crate::radius::attribute::ErrorCause;
use crate::radius::clients::Client;
use crate::radius::disconnect::{Attributes, Order, Outcome, Subject, Target, tell};

/// Tells routers to end sessions, or to let them last longer.
#[derive(Debug)]
pub struct Orders {
    gate: Arc<Gate>,
    live: Current,
}

impl Orders {
    /// To the routers of the configuration in force.
    #[must_use]
    pub const fn new(gate: Arc<Gate>, live: Current) -> Self {
        Self { gate, live }
    }
}

impl Teller for Orders {
    async fn tell(&self, session: &Session) -> Told {
        let (order, attributes) = match (&session.ending, &session.extension) {
            (Some(ending), _) if ending.reduced() => (Order::Disconnect, Attributes::Reduced),
            (Some(_), _) => (Order::Disconnect, Attributes::Full),
            (None, Some(extension)) => (Order::SessionTimeout(extension.to), Attributes::Full),
            (None, None) => return Told::Unanswered,
        };
        self.unproven(session);
        let nas = &session.contact.nas;
        let live = Arc::clone(&self.live.borrow());
        let known = live.clients.named(nas, session.contact.router);
        let Some((client, address)) = known.filter(|(client, _)| client.nas.disconnect_port != 0) else {
            tracing::debug!(%nas, session = %session.id, "no router of this name and address can be told any more");
            return Told::Unanswered;
        };
        let mut outcome = self.exchange(client, address, session, order, attributes).await;
        if is_gone(outcome) && attributes == Attributes::Full && client.nas.disconnect_style == DisconnectStyle::Rfc5176
        {
            // It may have compared what we write otherwise than it does. Its own name for the session names no other.
            outcome = match self.exchange(client, address, session, order, Attributes::Reduced).await {
                Outcome::NoAnswer | Outcome::Unsendable(_) => outcome,
                other => other,
            };
        }
        if let Some(result) = self.say(session, address, order, outcome) {
            client.seen.tell(result, self.gate.clock.now().wall);
        }
        match outcome {
            Outcome::Ack => Told::Acked,
            Outcome::Nak(cause) => Told::Refused(cause.map_or(0, |cause| cause.0)),
            Outcome::NoAnswer | Outcome::Unsendable(_) => Told::Unanswered,
        }
    }
}

impl Orders {
    async fn exchange(
        &self,
        client: &Client,
        address: IpAddr,
        session: &Session,
        order: Order,
        attributes: Attributes,
    ) -> Outcome {
        let nas = &client.nas;
        let target = Target {
            address: SocketAddr::new(address, nas.disconnect_port),
            secret: &client.secret,
            style: nas.disconnect_style,
        };
        let contact = &session.contact;
        let subject = Subject {
            user_name: Some(contact.user_name.as_ref().unwrap_or(&session.code).reveal()),
            nas_session: contact.nas_session.as_deref(),
            ip: contact.ip,
            device: session.device,
        };
        tell(&target, &subject, order, attributes, self.gate.clock.now().wall).await
    }

    /// What came of an order to end a session, as metrics name it.
    fn say(&self, session: &Session, address: IpAddr, order: Order, outcome: Outcome) -> Option<&'static str> {
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
                tracing::warn!(%nas, %address, session = %id, cause, tries,
                    "disconnect: no answer; does the router accept it (`/radius incoming`) on this port, from us?");
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
