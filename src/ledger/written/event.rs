//! Events as they go into the journal: what it is, the session it is of, and what else it says, side by side.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer as _, Serialize};

use super::{
    Text, Unreadable, WrittenContact, WrittenIntent, WrittenReport, WrittenSession, WrittenTerms, bytes, cause_of,
    contact_of, session_of, text, text_or_none, utf8,
};
use crate::core::budget::Seconds;
use crate::core::event::Event;
use crate::core::ident::SessionId;

/// Which event it is.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Admitted,
    Renewed,
    Seen,
    Contacted,
    Progressed,
    Stopped,
    Lapsed,
    Ending,
    Granted,
    Settling,
    Settled,
    Unsettled,
    Forgotten,
}

/// One event: what it is, the session it is of, and what else it says, side by side.
#[derive(Serialize)]
struct WrittenEvent<T> {
    event: Kind,
    /// None: there is none, or `rest` begins with it.
    #[serde(with = "text_or_none", skip_serializing_if = "Option::is_none")]
    session: Option<SessionId>,
    #[serde(flatten)]
    rest: T,
}

#[derive(Serialize, Deserialize)]
struct WrittenGrant {
    granted: u64,
}

#[derive(Serialize, Deserialize)]
struct WrittenUse {
    used: u64,
}

#[derive(Serialize, Deserialize)]
struct WrittenLapse {
    counts: u64,
}

#[derive(Serialize, Deserialize)]
struct WrittenCause<'a> {
    #[serde(borrow)]
    cause: Text<'a>,
}

#[derive(Deserialize)]
struct WrittenId(#[serde(with = "text")] SessionId);

/// An event as it goes into the journal; none for those that are not kept.
pub(in crate::ledger) fn event(event: &Event) -> Option<Vec<u8>> {
    Some(match event {
        Event::Admitted(session) => record(Kind::Admitted, None, WrittenSession::of(session, None)),
        Event::Seen(terms) => record(Kind::Seen, None, WrittenTerms::from(terms)),
        Event::Contacted { session, contact } => {
            record(Kind::Contacted, Some(*session), WrittenContact::from(contact.as_ref()))
        }
        Event::Progressed { session, report } => record(Kind::Progressed, Some(*session), WrittenReport::from(report)),
        Event::Stopped { session, report } => record(Kind::Stopped, Some(*session), WrittenReport::from(report)),
        Event::Lapsed { session, counts } => record(Kind::Lapsed, Some(*session), WrittenLapse { counts: counts.0 }),
        Event::Renewed { session, granted } => {
            record(Kind::Renewed, Some(*session), WrittenGrant { granted: granted.0 })
        }
        Event::Granted { session, granted } => {
            record(Kind::Granted, Some(*session), WrittenGrant { granted: granted.0 })
        }
        Event::Ending { session, cause } => {
            record(Kind::Ending, Some(*session), WrittenCause { cause: cause.as_str().into() })
        }
        Event::Settling(intent) => record(Kind::Settling, None, WrittenIntent::from(intent)),
        Event::Settled(intent) => record(Kind::Settled, None, WrittenIntent::from(intent)),
        Event::Unsettled(intent) => record(Kind::Unsettled, None, WrittenIntent::from(intent)),
        Event::Forgotten { used } => record(Kind::Forgotten, None, WrittenUse { used: used.0 }),
        Event::Extending { .. } | Event::Telling { .. } | Event::PutOff { .. } | Event::Told { .. } => return None,
    })
}

fn record(event: Kind, session: Option<SessionId>, rest: impl Serialize) -> Vec<u8> {
    bytes(&WrittenEvent { event, session, rest })
}

/// Reads an event as [`event`] writes it.
pub(in crate::ledger) fn read_event(payload: &[u8]) -> Result<Event, Unreadable> {
    let mut json = serde_json::Deserializer::from_str(utf8(payload)?);
    let event = json.deserialize_map(ReadEvent)?;
    json.end()?;
    event
}

/// Reads a [`WrittenEvent`] in one go, since a start reads millions: derived, it would first put all of it aside, to look for
/// what it is and for what is flattened.
struct ReadEvent;

impl<'p> Visitor<'p> for ReadEvent {
    type Value = Result<Event, Unreadable>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<M: MapAccess<'p>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        Ok(match field(&mut map, "event")? {
            Kind::Admitted => session_of(rest(map)?, None).map(Box::new).map(Event::Admitted),
            Kind::Renewed => {
                let session = id(&mut map)?;
                Ok(Event::Renewed { session, granted: Seconds(rest::<WrittenGrant, _>(map)?.granted) })
            }
            Kind::Seen => rest::<WrittenTerms, _>(map)?.read().map(Event::Seen),
            Kind::Contacted => {
                let session = id(&mut map)?;
                contact_of(&rest(map)?).map(|contact| Event::Contacted { session, contact: Box::new(contact) })
            }
            Kind::Progressed => {
                let session = id(&mut map)?;
                rest::<WrittenReport, _>(map)?.read().map(|report| Event::Progressed { session, report })
            }
            Kind::Stopped => {
                let session = id(&mut map)?;
                rest::<WrittenReport, _>(map)?.read().map(|report| Event::Stopped { session, report })
            }
            Kind::Lapsed => {
                let session = id(&mut map)?;
                Ok(Event::Lapsed { session, counts: Seconds(rest::<WrittenLapse, _>(map)?.counts) })
            }
            Kind::Ending => {
                let session = id(&mut map)?;
                cause_of(&rest::<WrittenCause<'_>, _>(map)?.cause).map(|cause| Event::Ending { session, cause })
            }
            Kind::Granted => {
                let session = id(&mut map)?;
                Ok(Event::Granted { session, granted: Seconds(rest::<WrittenGrant, _>(map)?.granted) })
            }
            Kind::Settling => Ok(Event::Settling(rest::<WrittenIntent, _>(map)?.read())),
            Kind::Settled => Ok(Event::Settled(rest::<WrittenIntent, _>(map)?.read())),
            Kind::Unsettled => Ok(Event::Unsettled(rest::<WrittenIntent, _>(map)?.read())),
            Kind::Forgotten => Ok(Event::Forgotten { used: Seconds(rest::<WrittenUse, _>(map)?.used) }),
        })
    }
}

fn field<'p, T: Deserialize<'p>, M: MapAccess<'p>>(map: &mut M, name: &'static str) -> Result<T, M::Error> {
    match map.next_key::<Text<'_>>()? {
        Some(key) if *key == *name => map.next_value(),
        _ => Err(M::Error::missing_field(name)),
    }
}

fn id<'p, M: MapAccess<'p>>(map: &mut M) -> Result<SessionId, M::Error> {
    field(map, "session").map(|WrittenId(session)| session)
}

fn rest<'p, T: Deserialize<'p>, M: MapAccess<'p>>(map: M) -> Result<T, M::Error> {
    T::deserialize(MapAccessDeserializer::new(map))
}
