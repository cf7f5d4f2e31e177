//! What the ledger wants a router told, carried to it; and what came of it, said and counted.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::core::ending::{Ending, SESSION_CONTEXT_NOT_FOUND, Told};
use crate::core::session::Session;
use crate::gate::Gate;
use crate::ledger::Teller;
use crate::live::Current;
use crate::radius::attribute::ErrorCause;
use crate::radius::clients::Client;
use crate::radius::disconnect::{Attributes, Order, Outcome, Subject, Target, tell};

/// Tells routers to end sessions.
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
        let (nas, id) = (&session.contact.nas, session.id);
        let Some(ending) = session.ending.as_deref() else { return Told::Unanswered };
        self.unproven(session, ending);
        let live = Arc::clone(&self.live.borrow());
        let Some((client, address)) = live.clients.named(nas, session.contact.router) else {
            tracing::debug!(%nas, session = %id, "no router of this name and address is configured any more");
            return Told::Unanswered;
        };
        if client.nas.disconnect_port == 0 {
            return Told::Unanswered;
        }
        let outcome = self.exchange(client, address, session, ending).await;
        let (told, result) = match outcome {
            Outcome::Ack => (Told::Acked, "acked"),
            Outcome::Nak(Some(ErrorCause(SESSION_CONTEXT_NOT_FOUND))) => {
                (Told::Refused(SESSION_CONTEXT_NOT_FOUND), "gone")
            }
            Outcome::Nak(cause) => (Told::Refused(cause.map_or(0, |cause| cause.0)), "refused"),
            Outcome::NoAnswer => (Told::Unanswered, "unanswered"),
            Outcome::Unsendable(_) => (Told::Unanswered, "unsendable"),
        };
        self.gate.metrics.disconnect(nas.as_str(), result);
        let cause = ending.cause.as_str();
        match outcome {
            Outcome::Ack => tracing::info!(%nas, session = %id, cause, "disconnect: acknowledged; its Stop is awaited"),
            Outcome::Nak(_) if result == "gone" => {
                tracing::info!(%nas, session = %id, cause, "disconnected: the router has no such session");
            }
            Outcome::Nak(error) => {
                let error = error.map(|error| tracing::field::display(error.0));
                tracing::warn!(%nas, session = %id, cause, tries = ending.tries, error, "disconnect: refused");
            }
            Outcome::NoAnswer => {
                tracing::warn!(%nas, %address, session = %id, cause, tries = ending.tries,
                    "disconnect: no answer; is `/radius incoming` accepting on this port, and the address ours?");
            }
            Outcome::Unsendable(why) => {
                tracing::warn!(%nas, session = %id, cause, tries = ending.tries, %why, "disconnect: not sent");
            }
        }
        told
    }
}

impl Orders {
    async fn exchange(&self, client: &Client, address: IpAddr, session: &Session, ending: &Ending) -> Outcome {
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
        let attributes = if ending.reduced() { Attributes::Reduced } else { Attributes::Full };
        tell(&target, &subject, Order::Disconnect, attributes, self.gate.clock.now().wall).await
    }

    /// An acknowledgement that no Stop followed is worth a line: the guest may still be online.
    fn unproven(&self, session: &Session, ending: &Ending) {
        if ending.last == Some(Told::Acked) {
            let nas = &session.contact.nas;
            self.gate.metrics.disconnect(nas.as_str(), "unproven");
            tracing::warn!(%nas, session = %session.id,
                "the router acknowledged a disconnect, but no Stop has come; it is told again");
        }
    }
}
