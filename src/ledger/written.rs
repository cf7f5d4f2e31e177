//! How the ledger is written: JSON, so that an operator with `sqlite3` reads what we read. Times are milliseconds since
//! 1970, durations seconds. A field that is absent is none; one that is not known is passed over. An event begins with what
//! it is and whose, in this order.

mod event;

use std::borrow::Cow;
use std::fmt::Display;
use std::net::IpAddr;
use std::ops::Deref;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::core::account::{Account, Ended};
use crate::core::budget::{Pool, Seconds, moment};
use crate::core::ending::{Cause, Ending, Told};
use crate::core::event::Terms;
use crate::core::extension::Extension;
use crate::core::ident::{Code, Mac, NasName, SessionId};
use crate::core::session::{Contact, Report, Session};
use crate::core::settle::{Intent, Settlement, Stage};

pub(super) use event::{event, read_event};

/// What an operator reads: every event, and every session with where it stands. Both are made anew at each start.
pub(super) const VIEWS: &str = include_str!("views.sql");

#[derive(Serialize, Deserialize)]
struct WrittenTerms {
    /// Seconds; none: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pool: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    valid_to: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_access: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct WrittenIntent {
    /// Minutes.
    before: i64,
    /// Minutes.
    after: i64,
    last_access: i64,
}

#[derive(Serialize, Deserialize)]
struct WrittenSettlement<'a> {
    #[serde(borrow)]
    stage: Text<'a>,
    #[serde(flatten)]
    intent: WrittenIntent,
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
    /// Only where accounts are shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extension: Option<WrittenExtension>,
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
    /// Only where accounts are shared; else its router is told anew after a restart.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    told: Option<WrittenTold<'a>>,
}

/// How far a router was told.
#[derive(Serialize, Deserialize)]
struct WrittenTold<'a> {
    tries: u32,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    last: Option<Text<'a>>,
    /// Its Error-Cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next_try: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct WrittenExtension {
    to: u64,
    tries: u32,
    next_try: i64,
}

/// A whole account.
#[derive(Serialize, Deserialize)]
struct WrittenAccount<'a> {
    /// Only where accounts are shared: by which change it stands so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<u64>,
    usage: u64,
    /// What of that, and of what live sessions run up, is written back.
    #[serde(default, skip_serializing_if = "is_none")]
    written: u64,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    settlement: Option<WrittenSettlement<'a>>,
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

/// An account as it goes into a snapshot. How far routers were told is not kept.
pub(super) fn account(account: &Account) -> Vec<u8> {
    bytes(&WrittenAccount::of(account))
}

/// An account as daemons share it: how far routers were told is in it, so that one of them tells; and the `mark` of the change
/// by which it stands so, so that who made it knows it again.
pub(super) fn shared(account: &Account, mark: u64) -> Vec<u8> {
    let mut written = WrittenAccount::of(account);
    written.mark = Some(mark);
    for (written, session) in written.sessions.iter_mut().zip(&account.sessions) {
        written.extension = session.extension.as_ref().map(|extension| WrittenExtension {
            to: extension.to.0,
            tries: extension.tries,
            next_try: extension.next_try.as_millisecond(),
        });
        if let (Some(written), Some(ending)) = (&mut written.ending, &session.ending) {
            written.told = Some(WrittenTold {
                tries: ending.tries,
                last: ending.last.map(|told| told.as_str().into()),
                refused: ending.last.and_then(|told| if let Told::Refused(cause) = told { Some(cause) } else { None }),
                next_try: ending.next_try.map(Timestamp::as_millisecond),
            });
        }
    }
    bytes(&written)
}

impl<'a> WrittenAccount<'a> {
    fn of(account: &'a Account) -> Self {
        let code = account.code.as_ref();
        Self {
            mark: None,
            usage: account.usage.0,
            written: account.written.0,
            settlement: account.settlement.as_ref().map(Into::into),
            running_since: account.running_since.map(Timestamp::as_millisecond),
            first_device: account.first_device,
            last_used: account.last_used.map(Timestamp::as_millisecond),
            code: code.map(|code| code.reveal().into()),
            devices: account.devices.iter().copied().map(WrittenMac).collect(),
            terms: account.terms.as_ref().map(Into::into),
            sessions: account.sessions.iter().map(|session| WrittenSession::of(session, code)).collect(),
            ended: account.ended.iter().map(|ended| WrittenEnded::of(ended, code)).collect(),
        }
    }
}

/// A session that ended, as it is kept for whoever asks later.
pub(super) fn ended(ended: &Ended) -> Vec<u8> {
    bytes(&WrittenEnded::of(ended, None))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
const fn is_none(number: &u64) -> bool {
    *number == 0
}

/// Writing plain values into memory cannot fail.
fn bytes(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(448);
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

/// Reads an account as [`account`] writes it.
pub(super) fn read_account(payload: &[u8]) -> Result<Account, Unreadable> {
    let written: WrittenAccount<'_> = serde_json::from_str(utf8(payload)?)?;
    let code = written.code.as_deref().map(code_of).transpose()?;
    // As many as there are: collected, the first of most accounts would take the room of four.
    let mut sessions = Vec::with_capacity(written.sessions.len());
    for session in written.sessions {
        sessions.push(session_of(session, code.as_ref())?);
    }
    let ended = written.ended.into_iter().map(|ended| ended_of(ended, code.as_ref()));
    Ok(Account {
        usage: Seconds(written.usage),
        written: Seconds(written.written),
        settlement: written.settlement.map(|settlement| settlement.read()).transpose()?,
        running_since: written.running_since.map(moment),
        first_device: written.first_device,
        last_used: written.last_used.map(moment),
        devices: written.devices.into_iter().map(|WrittenMac(mac)| mac).collect(),
        terms: written.terms.map(|terms| terms.read()).transpose()?,
        ended: ended.collect::<Result<_, _>>()?,
        sessions,
        code,
    })
}

/// The mark that [`shared`] has put on an account.
pub(super) fn mark(payload: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Marked {
        mark: u64,
    }
    serde_json::from_slice(payload).ok().map(|Marked { mark }| mark)
}

/// Reads a session that ended as [`ended`] writes it.
pub(super) fn read_ended(payload: &[u8]) -> Result<Ended, Unreadable> {
    ended_of(serde_json::from_str(utf8(payload)?)?, None)
}

fn ended_of(written: WrittenEnded<'_>, code: Option<&Code>) -> Result<Ended, Unreadable> {
    Ok(Ended {
        session: session_of(written.session, code)?,
        at: moment(written.at),
        counts: Seconds(written.counts),
        stopped: written.stopped,
    })
}

fn session_of(written: WrittenSession<'_>, code: Option<&Code>) -> Result<Session, Unreadable> {
    let contact = contact_of(&written.contact)?;
    let code = match written.code {
        Some(code) => code_of(&code)?,
        None => code.cloned().ok_or(Unreadable::Value("code"))?,
    };
    let ending = match written.ending {
        Some(ending) => {
            let cause = cause_of(&ending.cause)?;
            let mut known = Ending::new(cause, moment(ending.since), contact.can_disconnect);
            if let Some(told) = ending.told {
                known.tries = told.tries;
                known.last = told.last.as_deref().map(|last| told_of(last, told.refused)).transpose()?;
                known.next_try = told.next_try.map(moment);
            }
            Some(Box::new(known))
        }
        None => None,
    };
    Ok(Session {
        id: written.session,
        device: written.mac,
        code,
        contact,
        asker: written.asker.as_deref().map(NasName::new),
        admitted_at: moment(written.admitted_at),
        granted: Seconds(written.granted),
        interim: Seconds(written.interim),
        accounting: written.accounting,
        reported: written.reported.map(WrittenReport::read).transpose()?,
        ending,
        extension: written.extension.map(|WrittenExtension { to, tries, next_try }| {
            Box::new(Extension { to: Seconds(to), tries, next_try: moment(next_try) })
        }),
    })
}

fn contact_of(written: &WrittenContact<'_>) -> Result<Contact, Unreadable> {
    Ok(Contact {
        nas: NasName::new(&written.nas),
        router: written.router,
        nas_session: written.nas_session.as_deref().map(Into::into),
        user_name: written.user_name.as_deref().map(code_of).transpose()?,
        ip: written.ip,
        can_disconnect: written.can_disconnect,
        can_extend: written.can_extend,
    })
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
                told: None,
            }),
            extension: None,
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
        Ok(Report { at: moment(at), seconds: Seconds(seconds), input_octets, output_octets })
    }
}

impl From<&Terms> for WrittenTerms {
    fn from(terms: &Terms) -> Self {
        let pool = match terms.pool {
            Pool::Unlimited => None,
            Pool::Holds(held) => Some(held.0),
        };
        let [valid_to, last_access] = [terms.valid_to, terms.last_access].map(|at| at.map(Timestamp::as_millisecond));
        Self { pool, valid_to, last_access }
    }
}

impl WrittenTerms {
    fn read(&self) -> Result<Terms, Unreadable> {
        let pool = self.pool.map_or(Pool::Unlimited, |held| Pool::Holds(Seconds(held)));
        Ok(Terms { pool, valid_to: self.valid_to.map(moment), last_access: self.last_access.map(moment) })
    }
}

impl From<&Intent> for WrittenIntent {
    fn from(intent: &Intent) -> Self {
        let Intent { before, after, last_access } = intent;
        Self { before: *before, after: *after, last_access: last_access.as_millisecond() }
    }
}

impl WrittenIntent {
    fn read(&self) -> Intent {
        Intent { before: self.before, after: self.after, last_access: moment(self.last_access) }
    }
}

impl From<&Settlement> for WrittenSettlement<'_> {
    fn from(settlement: &Settlement) -> Self {
        Self { stage: settlement.stage.as_str().into(), intent: (&settlement.intent).into() }
    }
}

impl WrittenSettlement<'_> {
    fn read(&self) -> Result<Settlement, Unreadable> {
        let stage = Stage::ALL.into_iter().find(|stage| stage.as_str() == &*self.stage);
        Ok(Settlement { intent: self.intent.read(), stage: stage.ok_or(Unreadable::Value("stage"))? })
    }
}

/// All of it at once, rather than each text in it by itself.
fn utf8(payload: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(payload).map_err(|_| Unreadable::Value("text"))
}

fn code_of(text: &str) -> Result<Code, Unreadable> {
    Code::parse(text).map_err(|_| Unreadable::Value("code"))
}

fn told_of(text: &str, refused: Option<u32>) -> Result<Told, Unreadable> {
    let known = [Told::Acked, Told::Refused(refused.unwrap_or_default()), Told::Unanswered, Told::Unsendable];
    known.into_iter().find(|told| told.as_str() == text).ok_or(Unreadable::Value("told"))
}

fn cause_of(text: &str) -> Result<Cause, Unreadable> {
    Cause::ALL.into_iter().find(|cause| cause.as_str() == text).ok_or(Unreadable::Value("cause"))
}

#[cfg(test)]
mod tests;
