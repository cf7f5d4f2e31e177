//! How the ledger is written: JSON, so that an operator with `sqlite3` reads what we read. Times are milliseconds since
//! 1970, durations seconds. A field that is absent is none; one that is not known is passed over. An event begins with what
//! it is and whose, in this order.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::{self, Display};
use std::net::IpAddr;
use std::ops::Deref;
use std::str::FromStr;

use jiff::Timestamp;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::core::account::{Account, Ended};
use crate::core::budget::{Pool, Seconds};
use crate::core::ending::{Cause, Ending};
use crate::core::event::{Event, Terms};
use crate::core::ident::{Code, Mac, NasName, SessionId};
use crate::core::session::{Contact, Report, Session};

/// What an operator reads: every event, and every session with where it stands. Both are made anew at each start.
pub(super) const VIEWS: &str = include_str!("views.sql");

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
struct WrittenLapse {
    counts: u64,
}

#[derive(Serialize, Deserialize)]
struct WrittenCause<'a> {
    #[serde(borrow)]
    cause: Text<'a>,
}

#[derive(Serialize, Deserialize)]
struct WrittenTerms {
    /// Seconds; none: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pool: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    valid_to: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct WrittenSession<'a> {
    #[serde(with = "text")]
    session: SessionId,
    #[serde(with = "text_or_none", default, skip_serializing_if = "Option::is_none")]
    mac: Option<Mac>,
    /// None: the account's.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    code: Option<Text<'a>>,
    #[serde(borrow)]
    contact: WrittenContact<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    asker: Option<Text<'a>>,
    admitted_at: i64,
    granted: u64,
    interim: u64,
    accounting: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reported: Option<WrittenReport>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    ending: Option<WrittenEnding<'a>>,
}

#[derive(Serialize, Deserialize)]
struct WrittenContact<'a> {
    #[serde(borrow)]
    nas: Text<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    router: Option<IpAddr>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    nas_session: Option<Text<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    user_name: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    can_disconnect: bool,
    #[serde(default)]
    can_extend: bool,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct WrittenReport {
    at: i64,
    seconds: u64,
    input_octets: u64,
    output_octets: u64,
}

#[derive(Serialize, Deserialize)]
struct WrittenEnding<'a> {
    #[serde(borrow)]
    cause: Text<'a>,
    since: i64,
}

/// A whole account.
#[derive(Serialize, Deserialize)]
struct WrittenAccount<'a> {
    usage: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    running_since: Option<i64>,
    #[serde(with = "text_or_none", default, skip_serializing_if = "Option::is_none")]
    first_device: Option<Mac>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_used: Option<i64>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    code: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    devices: Vec<WrittenMac>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    terms: Option<WrittenTerms>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    sessions: Vec<WrittenSession<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    ended: Vec<WrittenEnded<'a>>,
}

#[derive(Deserialize)]
struct WrittenId(#[serde(with = "text")] SessionId);

#[derive(Serialize, Deserialize)]
struct WrittenMac(#[serde(with = "text")] Mac);

#[derive(Serialize, Deserialize)]
struct WrittenEnded<'a> {
    #[serde(borrow)]
    session: WrittenSession<'a>,
    at: i64,
    counts: u64,
    stopped: bool,
}

/// A text that is read where it stands: within an `Option`, serde would copy a plain `Cow`.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    /// Reads it. The text itself stays out of the error: it may be anybody's.
    fn parse<T: FromStr, E: serde::de::Error>(&self) -> Result<T, E> {
        self.0.parse().map_err(|_| E::custom("a text that cannot be read"))
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(text.into())
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Values that are written as people write them.
mod text {
    use super::{Deserialize, Deserializer, Display, FromStr, Serializer, Text};

    pub(super) fn serialize<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, T: FromStr>(deserializer: D) -> Result<T, D::Error> {
        Text::deserialize(deserializer)?.parse()
    }
}

mod text_or_none {
    use super::{Deserialize, Deserializer, Display, FromStr, Serializer, Text};

    pub(super) fn serialize<S: Serializer>(value: &Option<impl Display>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, T: FromStr>(deserializer: D) -> Result<Option<T>, D::Error> {
        <Option<Text<'_>>>::deserialize(deserializer)?.map(|text| text.parse()).transpose()
    }
}

/// An event as it goes into the journal; none for those that are not kept.
pub(super) fn event(event: &Event) -> Option<Vec<u8>> {
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
        Event::Extending { .. } | Event::Telling { .. } | Event::PutOff { .. } | Event::Told { .. } => return None,
    })
}

fn record(event: Kind, session: Option<SessionId>, rest: impl Serialize) -> Vec<u8> {
    bytes(&WrittenEvent { event, session, rest })
}

/// An account as it goes into a snapshot.
pub(super) fn account(account: &Account) -> Vec<u8> {
    let code = account.code.as_ref();
    bytes(&WrittenAccount {
        usage: account.usage.0,
        running_since: account.running_since.map(Timestamp::as_millisecond),
        first_device: account.first_device,
        last_used: account.last_used.map(Timestamp::as_millisecond),
        code: code.map(|code| code.reveal().into()),
        devices: account.devices.iter().copied().map(WrittenMac).collect(),
        terms: account.terms.as_ref().map(Into::into),
        sessions: account.sessions.iter().map(|session| WrittenSession::of(session, code)).collect(),
        ended: account.ended.iter().map(|ended| WrittenEnded::of(ended, code)).collect(),
    })
}

/// A session that ended, as it is kept for whoever asks later.
pub(super) fn ended(ended: &Ended) -> Vec<u8> {
    bytes(&WrittenEnded::of(ended, None))
}

/// Writing plain values into memory cannot fail.
fn bytes(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    let _ = serde_json::to_writer(&mut bytes, value);
    bytes
}

/// Why something written cannot be read: a fault of ours, or of whoever changed the file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// It is no JSON of the form expected. The text there is not told.
    #[error("not of the form expected, at character {}", .0.column())]
    Form(#[from] serde_json::Error),
    /// A value is none.
    #[error("`{0}` is no value of its kind")]
    Value(&'static str),
}

/// Reads what was written. Names that come again and again share their memory.
#[derive(Default)]
pub(super) struct Reader {
    nases: HashMap<Box<str>, NasName>,
}

impl Reader {
    pub(super) fn event(&mut self, payload: &[u8]) -> Result<Event, Unreadable> {
        let mut json = serde_json::Deserializer::from_str(utf8(payload)?);
        let event = json.deserialize_map(ReadEvent(self))?;
        json.end()?;
        event
    }

    pub(super) fn account(&mut self, payload: &[u8]) -> Result<Account, Unreadable> {
        let written: WrittenAccount<'_> = serde_json::from_str(utf8(payload)?)?;
        let code = written.code.as_deref().map(code_of).transpose()?;
        // As many as there are: collected, the first of most accounts would take the room of four.
        let mut sessions = Vec::with_capacity(written.sessions.len());
        for session in written.sessions {
            sessions.push(self.session(session, code.as_ref())?);
        }
        let ended = written.ended.into_iter().map(|ended| self.read_ended(ended, code.as_ref()));
        Ok(Account {
            usage: Seconds(written.usage),
            running_since: written.running_since.map(moment).transpose()?,
            first_device: written.first_device,
            last_used: written.last_used.map(moment).transpose()?,
            devices: written.devices.into_iter().map(|WrittenMac(mac)| mac).collect(),
            terms: written.terms.map(|terms| terms.read()).transpose()?,
            ended: ended.collect::<Result<_, _>>()?,
            sessions,
            code,
        })
    }

    pub(super) fn ended(&mut self, payload: &[u8]) -> Result<Ended, Unreadable> {
        self.read_ended(serde_json::from_str(utf8(payload)?)?, None)
    }

    fn read_ended(&mut self, written: WrittenEnded<'_>, code: Option<&Code>) -> Result<Ended, Unreadable> {
        Ok(Ended {
            session: self.session(written.session, code)?,
            at: moment(written.at)?,
            counts: Seconds(written.counts),
            stopped: written.stopped,
        })
    }

    fn session(&mut self, written: WrittenSession<'_>, code: Option<&Code>) -> Result<Session, Unreadable> {
        let contact = self.contact(&written.contact)?;
        let code = match written.code {
            Some(code) => code_of(&code)?,
            None => code.cloned().ok_or(Unreadable::Value("code"))?,
        };
        let ending = match written.ending {
            Some(ending) => {
                let cause = cause_of(&ending.cause)?;
                Some(Box::new(Ending::new(cause, moment(ending.since)?, contact.can_disconnect)))
            }
            None => None,
        };
        Ok(Session {
            id: written.session,
            device: written.mac,
            code,
            contact,
            asker: written.asker.map(|name| self.nas(&name)),
            admitted_at: moment(written.admitted_at)?,
            granted: Seconds(written.granted),
            interim: Seconds(written.interim),
            accounting: written.accounting,
            reported: written.reported.map(WrittenReport::read).transpose()?,
            ending,
            extension: None,
        })
    }

    fn contact(&mut self, written: &WrittenContact<'_>) -> Result<Contact, Unreadable> {
        Ok(Contact {
            nas: self.nas(&written.nas),
            router: written.router,
            nas_session: written.nas_session.as_deref().map(Into::into),
            user_name: written.user_name.as_deref().map(code_of).transpose()?,
            ip: written.ip,
            can_disconnect: written.can_disconnect,
            can_extend: written.can_extend,
        })
    }

    fn nas(&mut self, name: &str) -> NasName {
        if let Some(known) = self.nases.get(name) {
            return known.clone();
        }
        let new = NasName::new(name);
        self.nases.insert(name.into(), new.clone());
        new
    }
}

/// Reads a [`WrittenEvent`] in one go, since a start reads millions: derived, it would first put all of it aside, to look for
/// what it is and for what is flattened.
struct ReadEvent<'r>(&'r mut Reader);

impl<'p> Visitor<'p> for ReadEvent<'_> {
    type Value = Result<Event, Unreadable>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<M: MapAccess<'p>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let Self(reader) = self;
        Ok(match field(&mut map, "event")? {
            Kind::Admitted => reader.session(rest(map)?, None).map(Box::new).map(Event::Admitted),
            Kind::Renewed => {
                let session = id(&mut map)?;
                Ok(Event::Renewed { session, granted: Seconds(rest::<WrittenGrant, _>(map)?.granted) })
            }
            Kind::Seen => rest::<WrittenTerms, _>(map)?.read().map(Event::Seen),
            Kind::Contacted => {
                let session = id(&mut map)?;
                reader.contact(&rest(map)?).map(|contact| Event::Contacted { session, contact: Box::new(contact) })
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

impl<'a> WrittenSession<'a> {
    /// `of_account` is the account's code, which need not stand here again.
    fn of(session: &'a Session, of_account: Option<&Code>) -> Self {
        Self {
            session: session.id,
            mac: session.device,
            code: (of_account != Some(&session.code)).then(|| session.code.reveal().into()),
            contact: (&session.contact).into(),
            asker: session.asker.as_ref().map(|name| name.as_str().into()),
            admitted_at: session.admitted_at.as_millisecond(),
            granted: session.granted.0,
            interim: session.interim.0,
            accounting: session.accounting,
            reported: session.reported.as_ref().map(Into::into),
            ending: session.ending.as_ref().map(|ending| WrittenEnding {
                cause: ending.cause.as_str().into(),
                since: ending.since.as_millisecond(),
            }),
        }
    }
}

impl<'a> WrittenEnded<'a> {
    fn of(ended: &'a Ended, of_account: Option<&Code>) -> Self {
        Self {
            session: WrittenSession::of(&ended.session, of_account),
            at: ended.at.as_millisecond(),
            counts: ended.counts.0,
            stopped: ended.stopped,
        }
    }
}

impl<'a> From<&'a Contact> for WrittenContact<'a> {
    fn from(contact: &'a Contact) -> Self {
        Self {
            nas: contact.nas.as_str().into(),
            router: contact.router,
            nas_session: contact.nas_session.as_deref().map(Into::into),
            user_name: contact.user_name.as_ref().map(|name| name.reveal().into()),
            ip: contact.ip,
            can_disconnect: contact.can_disconnect,
            can_extend: contact.can_extend,
        }
    }
}

impl From<&Report> for WrittenReport {
    fn from(report: &Report) -> Self {
        Self {
            at: report.at.as_millisecond(),
            seconds: report.seconds.0,
            input_octets: report.input_octets,
            output_octets: report.output_octets,
        }
    }
}

impl WrittenReport {
    fn read(self) -> Result<Report, Unreadable> {
        let Self { at, seconds, input_octets, output_octets } = self;
        Ok(Report { at: moment(at)?, seconds: Seconds(seconds), input_octets, output_octets })
    }
}

impl From<&Terms> for WrittenTerms {
    fn from(terms: &Terms) -> Self {
        let pool = match terms.pool {
            Pool::Unlimited => None,
            Pool::Holds(held) => Some(held.0),
        };
        Self { pool, valid_to: terms.valid_to.map(Timestamp::as_millisecond) }
    }
}

impl WrittenTerms {
    fn read(&self) -> Result<Terms, Unreadable> {
        let pool = self.pool.map_or(Pool::Unlimited, |held| Pool::Holds(Seconds(held)));
        Ok(Terms { pool, valid_to: self.valid_to.map(moment).transpose()? })
    }
}

/// All of it at once, rather than each text in it by itself.
fn utf8(payload: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(payload).map_err(|_| Unreadable::Value("text"))
}

fn moment(millis: i64) -> Result<Timestamp, Unreadable> {
    Timestamp::from_millisecond(millis).map_err(|_| Unreadable::Value("time"))
}

fn code_of(text: &str) -> Result<Code, Unreadable> {
    Code::parse(text).map_err(|_| Unreadable::Value("code"))
}

fn cause_of(text: &str) -> Result<Cause, Unreadable> {
    Cause::ALL.into_iter().find(|cause| cause.as_str() == text).ok_or(Unreadable::Value("cause"))
}

#[cfg(test)]
mod tests;
