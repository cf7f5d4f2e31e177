//! An account at rest: a string of octets, about 130 for one with a session, where its fields, tables and texts would take
//! five times as much. Moments stand as the distance from the one before, a device where it comes again as its place, and
//! what is absent as one octet. It lies in a room with a few octets to spare, so that most of what happens is written where
//! the former account was: else what is freed lies in pieces about as large as the accounts themselves.
//!
//! A snapshot holds it beside the account as `written`, so that a start reads it faster. It is only read by a program that
//! packs in the same way: what else there is, and what people read, is `written`'s.

use std::collections::VecDeque;
use std::net::IpAddr;

use jiff::Timestamp;
use smallvec::SmallVec;

use crate::core::account::{Account, Ended};
use crate::core::budget::{Pool, Seconds, moment};
use crate::core::ending::{Cause, Ending, Told};
use crate::core::event::Terms;
use crate::core::extension::Extension;
use crate::core::ident::{Code, Mac, NasName, SessionId};
use crate::core::session::{Contact, Report, Session};
use crate::core::settle::{Intent, Settlement, Stage};

/// The first octet: another for another way to pack. Two ways that never were on disk may share one.
const FORM: u8 = 3;

/// What a room holds beyond the account it is made for: about what the first report of a session adds, and the octet that
/// says how much is to spare.
const SPARE: usize = 24;

/// Rooms grow by so much, as what the allocator gives does.
const STEP: usize = 16;

/// An account, packed. Moments keep their milliseconds. The last octet says how many at the end are to spare, itself
/// included.
#[derive(Debug)]
pub(super) struct Packed(Box<[u8]>);

impl Packed {
    pub(super) fn of(account: &Account) -> Self {
        Self::in_room(&packed(account))
    }

    /// Takes it from a snapshot; none if it is no account, or packed in another way.
    pub(super) fn read(octets: &[u8]) -> Option<Self> {
        Unpacker::account(octets).map(|_| Self::in_room(octets))
    }

    /// Puts another account in its place.
    pub(super) fn put(&mut self, account: &Account) {
        let octets = packed(account);
        let room = room_for(octets.len());
        // Not in one that has become far too large, either.
        if !fill(&mut self.0, &octets) || self.0.len() > room + 2 * STEP {
            *self = Self::in_room(&octets);
        }
    }

    fn in_room(octets: &[u8]) -> Self {
        let mut room = vec![0; room_for(octets.len())].into_boxed_slice();
        let fits = fill(&mut room, octets);
        debug_assert!(fits, "a room is made for what it holds");
        Self(room)
    }

    pub(super) fn as_octets(&self) -> &[u8] {
        let spare = self.0.last().map_or(0, |spare| usize::from(*spare));
        self.0.get(..self.0.len().saturating_sub(spare)).unwrap_or_default()
    }

    pub(super) fn unpack(&self) -> Account {
        let account = Unpacker::account(self.as_octets());
        debug_assert!(account.is_some(), "only what was packed is unpacked");
        account.unwrap_or_else(|| {
            tracing::error!("an account cannot be unpacked, and begins anew: a fault of spotgate");
            Account::default()
        })
    }
}

/// The length of the room made for so many octets: eight short of a whole number of steps, since the allocator itself
/// takes eight.
const fn room_for(octets: usize) -> usize {
    (octets + SPARE + STEP / 2).next_multiple_of(STEP) - STEP / 2
}

/// Puts octets in a room; whether they fit.
fn fill(room: &mut [u8], octets: &[u8]) -> bool {
    let Some(spare) = room.len().checked_sub(octets.len()).and_then(|spare| u8::try_from(spare).ok()) else {
        return false;
    };
    let Some((last, held)) = room.split_last_mut() else { return false };
    let Some(held) = held.get_mut(..octets.len()) else { return false };
    held.copy_from_slice(octets);
    *last = spare;
    true
}

fn packed(account: &Account) -> Octets {
    let mut packer = Packer { octets: Octets::new(), ms: 0 };
    packer.octets.push(FORM);
    packer.account(account);
    packer.octets
}

/// In the order of their numbers on disk.
const CAUSES: [Cause; 7] =
    [Cause::Displaced, Cause::Operator, Cause::Overran, Cause::Over, Cause::UsedUp, Cause::Revoked, Cause::Guest];

/// In the order of their numbers on disk.
const STAGES: [Stage; 4] = [Stage::Open, Stage::Written, Stage::Past, Stage::GivenUp];

/// A User-Name that is the session's code, as it mostly is: it is not written twice.
const NAMED_BY_CODE: u8 = 2;

/// Most accounts, with those that ended, in place.
type Octets = SmallVec<[u8; 512]>;

struct Packer {
    octets: Octets,
    /// The latest moment, in milliseconds since 1970.
    ms: i64,
}

impl Packer {
    fn account(&mut self, account: &Account) {
        #[rustfmt::skip]
        let Account {
            usage, written, settlement, running_since, first_device, last_used, code, devices, terms, sessions, ended,
        } = account;
        self.number(usage.0);
        self.number(written.0);
        self.count(devices.len());
        for device in devices {
            self.octets.extend_from_slice(&device.octets());
        }
        self.device(*first_device, devices);
        self.option(running_since.as_ref(), |packer, at| packer.moment(*at));
        self.option(last_used.as_ref(), |packer, at| packer.moment(*at));
        self.option(code.as_ref(), |packer, code| packer.text(code.reveal()));
        self.option(terms.as_ref(), |packer, Terms { pool, valid_to, last_access }| {
            let held = if let Pool::Holds(held) = pool { Some(held) } else { None };
            packer.option(held, |packer, held| packer.number(held.0));
            packer.option(valid_to.as_ref(), |packer, at| packer.moment(*at));
            packer.option(last_access.as_ref(), |packer, at| packer.moment(*at));
        });
        self.option(settlement.as_ref(), |packer, Settlement { intent, stage }| {
            let Intent { before, after, last_access } = intent;
            packer.count(STAGES.iter().position(|known| known == stage).unwrap_or_default());
            packer.number(before.cast_unsigned());
            packer.number(after.cast_unsigned());
            packer.moment(*last_access);
        });
        self.count(sessions.len());
        for session in sessions {
            self.session(session, account);
        }
        self.count(ended.len());
        for Ended { session, at, counts, stopped } in ended {
            self.session(session, account);
            self.moment(*at);
            self.number(counts.0);
            self.octets.push(u8::from(*stopped));
        }
    }

    fn session(&mut self, session: &Session, of: &Account) {
        // Every field by its name, so that none that is added is left out.
        #[rustfmt::skip]
        let Session {
            id, device, code, contact, asker, admitted_at, granted, interim, accounting, reported, ending, extension,
        } = session;
        let Contact { nas, router, nas_session, user_name, ip, can_disconnect, can_extend } = contact;
        let code = Some(code).filter(|code| of.code.as_ref() != Some(*code));
        let flags = [
            *accounting,
            *can_disconnect,
            *can_extend,
            code.is_some(),
            asker.is_some(),
            reported.is_some(),
            ending.is_some(),
            extension.is_some(),
        ];
        self.octets.push(flags.iter().rev().fold(0, |octet, flag| octet << 1 | u8::from(*flag)));
        let [a, b, c, d, e, g, random @ ..] = id.octets();
        self.ms(i64::from_be_bytes([0, 0, a, b, c, d, e, g]));
        self.octets.extend_from_slice(&random);
        self.device(*device, &of.devices);
        if let Some(code) = code {
            self.text(code.reveal());
        }
        self.text(nas.as_str());
        self.address(*router);
        self.option(nas_session.as_deref(), Self::text);
        match user_name {
            Some(name) if name == &session.code => self.octets.push(NAMED_BY_CODE),
            name => self.option(name.as_ref(), |packer, name| packer.text(name.reveal())),
        }
        self.address(*ip);
        self.moment(*admitted_at);
        self.number(granted.0);
        self.number(interim.0);
        if let Some(name) = asker {
            self.text(name.as_str());
        }
        if let Some(Report { at, seconds, input_octets, output_octets }) = reported {
            self.moment(*at);
            self.number(seconds.0);
            self.number(*input_octets);
            self.number(*output_octets);
        }
        if let Some(ending) = ending {
            self.ending(ending);
        }
        if let Some(Extension { to, tries, next_try }) = extension.as_deref() {
            self.number(to.0);
            self.number(u64::from(*tries));
            self.moment(*next_try);
        }
    }

    fn ending(&mut self, ending: &Ending) {
        let Ending { cause, since, tries, last, next_try } = ending;
        self.count(CAUSES.iter().position(|known| known == cause).unwrap_or_default());
        self.moment(*since);
        self.number(u64::from(*tries));
        self.option(last.as_ref(), |packer, told| match told {
            Told::Acked => packer.octets.push(0),
            Told::Unanswered => packer.octets.push(1),
            Told::Refused(cause) => {
                packer.octets.push(2);
                packer.number(u64::from(*cause));
            }
            Told::Unsendable => packer.octets.push(3),
        });
        self.option(next_try.as_ref(), |packer, at| packer.moment(*at));
    }

    /// None, one of those that the account has, by its place, or another.
    fn device(&mut self, device: Option<Mac>, devices: &[Mac]) {
        match (device, devices.iter().position(|known| Some(*known) == device)) {
            (None, _) => self.number(0),
            (Some(device), None) => {
                self.number(1);
                self.octets.extend_from_slice(&device.octets());
            }
            (Some(_), Some(place)) => self.count(place.saturating_add(2)),
        }
    }

    fn address(&mut self, address: Option<IpAddr>) {
        match address {
            None => self.octets.push(0),
            Some(IpAddr::V4(address)) => {
                self.octets.push(4);
                self.octets.extend_from_slice(&address.octets());
            }
            Some(IpAddr::V6(address)) => {
                self.octets.push(16);
                self.octets.extend_from_slice(&address.octets());
            }
        }
    }

    fn option<'v, T: ?Sized>(&mut self, value: Option<&'v T>, pack: impl FnOnce(&mut Self, &'v T)) {
        self.octets.push(u8::from(value.is_some()));
        if let Some(value) = value {
            pack(self, value);
        }
    }

    fn moment(&mut self, at: Timestamp) {
        self.ms(at.as_millisecond());
    }

    fn ms(&mut self, ms: i64) {
        let step = ms.wrapping_sub(self.ms);
        self.ms = ms;
        // Zigzag: a small step back is a small number, too.
        self.number((step.cast_unsigned() << 1) ^ (step >> 63).cast_unsigned());
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.octets.extend_from_slice(text.as_bytes());
    }

    fn count(&mut self, count: usize) {
        self.number(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// Seven bits an octet, the lowest first; the eighth says that more follow.
    fn number(&mut self, mut number: u64) {
        while number > 0x7F {
            self.octets.push(0x80 | u8::try_from(number & 0x7F).unwrap_or_default());
            number >>= 7;
        }
        self.octets.push(u8::try_from(number).unwrap_or_default());
    }
}

/// Reads in the order in which [`Packer`] writes.
struct Unpacker<'p> {
    rest: &'p [u8],
    ms: i64,
}

impl Unpacker<'_> {
    fn account(octets: &[u8]) -> Option<Account> {
        let mut unpacker = Unpacker { rest: octets.strip_prefix(&[FORM])?, ms: 0 };
        let account = unpacker.fields()?;
        unpacker.rest.is_empty().then_some(account)
    }

    fn fields(&mut self) -> Option<Account> {
        let usage = self.seconds()?;
        let written = self.seconds()?;
        let devices = self.several(|unpacker| Some(Mac::new(unpacker.octets()?)))?;
        let first_device = self.device(&devices)?;
        let running_since = self.option(Self::moment)?;
        let last_used = self.option(Self::moment)?;
        let code = self.option(Self::code)?;
        let terms = self.option(|unpacker| {
            let pool = unpacker.option(Self::seconds)?.map_or(Pool::Unlimited, Pool::Holds);
            let (valid_to, last_access) = (unpacker.option(Self::moment)?, unpacker.option(Self::moment)?);
            Some(Terms { pool, valid_to, last_access })
        })?;
        let settlement = self.option(|unpacker| {
            let stage = *STAGES.get(unpacker.count()?)?;
            let (before, after) = (unpacker.number()?.cast_signed(), unpacker.number()?.cast_signed());
            Some(Settlement { intent: Intent { before, after, last_access: unpacker.moment()? }, stage })
        })?;
        let sessions = self.several(|unpacker| unpacker.session(code.as_ref(), &devices))?;
        let ended = self.several(|unpacker| {
            let session = unpacker.session(code.as_ref(), &devices)?;
            Some(Ended {
                session,
                at: unpacker.moment()?,
                counts: unpacker.seconds()?,
                stopped: unpacker.octet()? == 1,
            })
        })?;
        let ended = VecDeque::from(ended);
        #[rustfmt::skip]
        let account = Account {
            usage, written, settlement, running_since, first_device, last_used, code, devices, terms, sessions, ended,
        };
        Some(account)
    }

    fn session(&mut self, code: Option<&Code>, devices: &[Mac]) -> Option<Session> {
        let flags = self.octet()?;
        let [accounting, can_disconnect, can_extend, own_code, asker, reported, ending, extension] =
            std::array::from_fn(|place| flags >> place & 1 == 1);
        let [_, _, a, b, c, d, e, g] = self.ms()?.to_be_bytes();
        let [h, i, j, k, l, m, n, o, p, q] = self.octets()?;
        let id = SessionId::from_octets([a, b, c, d, e, g, h, i, j, k, l, m, n, o, p, q]);
        let device = self.device(devices)?;
        let code = if own_code { self.code()? } else { code?.clone() };
        let contact = Contact {
            nas: self.nas()?,
            router: self.address()?,
            nas_session: self.option(|unpacker| Some(unpacker.text()?.into()))?,
            user_name: match self.octet()? {
                0 => None,
                NAMED_BY_CODE => Some(code.clone()),
                _ => Some(self.code()?),
            },
            ip: self.address()?,
            can_disconnect,
            can_extend,
        };
        Some(Session {
            id,
            device,
            contact,
            accounting,
            admitted_at: self.moment()?,
            granted: self.seconds()?,
            interim: self.seconds()?,
            code,
            asker: if asker { Some(self.nas()?) } else { None },
            reported: if reported { Some(self.report()?) } else { None },
            ending: if ending { Some(Box::new(self.ending()?)) } else { None },
            extension: if extension { Some(Box::new(self.extension()?)) } else { None },
        })
    }

    fn report(&mut self) -> Option<Report> {
        Some(Report {
            at: self.moment()?,
            seconds: self.seconds()?,
            input_octets: self.number()?,
            output_octets: self.number()?,
        })
    }

    fn extension(&mut self) -> Option<Extension> {
        Some(Extension { to: self.seconds()?, tries: self.short()?, next_try: self.moment()? })
    }

    fn ending(&mut self) -> Option<Ending> {
        Some(Ending {
            cause: *CAUSES.get(self.count()?)?,
            since: self.moment()?,
            tries: self.short()?,
            last: self.option(|unpacker| {
                Some(match unpacker.octet()? {
                    0 => Told::Acked,
                    1 => Told::Unanswered,
                    3 => Told::Unsendable,
                    _ => Told::Refused(unpacker.short()?),
                })
            })?,
            next_try: self.option(Self::moment)?,
        })
    }

    fn device(&mut self, devices: &[Mac]) -> Option<Option<Mac>> {
        Some(match self.count()? {
            0 => None,
            1 => Some(Mac::new(self.octets()?)),
            place => Some(*devices.get(place - 2)?),
        })
    }

    fn address(&mut self) -> Option<Option<IpAddr>> {
        Some(match self.octet()? {
            0 => None,
            4 => Some(IpAddr::from(self.octets::<4>()?)),
            _ => Some(IpAddr::from(self.octets::<16>()?)),
        })
    }

    fn option<T>(&mut self, unpack: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        Some(if self.octet()? == 1 { Some(unpack(self)?) } else { None })
    }

    fn several<T>(&mut self, mut unpack: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.count()?;
        // Not more than there can be.
        let mut several = Vec::with_capacity(count.min(self.rest.len()));
        for _ in 0..count {
            several.push(unpack(self)?);
        }
        Some(several)
    }

    fn code(&mut self) -> Option<Code> {
        Code::parse(self.text()?).ok()
    }

    fn nas(&mut self) -> Option<NasName> {
        Some(NasName::new(self.text()?))
    }

    fn text(&mut self) -> Option<&str> {
        let length = self.count()?;
        let (text, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        std::str::from_utf8(text).ok()
    }

    fn moment(&mut self) -> Option<Timestamp> {
        self.ms().map(moment)
    }

    fn ms(&mut self) -> Option<i64> {
        let step = self.number()?;
        self.ms = self.ms.wrapping_add((step >> 1).cast_signed() ^ -(step & 1).cast_signed());
        Some(self.ms)
    }

    fn seconds(&mut self) -> Option<Seconds> {
        self.number().map(Seconds)
    }

    fn count(&mut self) -> Option<usize> {
        self.number()?.try_into().ok()
    }

    fn short(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let octet = self.octet()?;
            number |= u64::from(octet & 0x7F) << shift;
            if octet & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn octet(&mut self) -> Option<u8> {
        let (octet, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*octet)
    }

    fn octets<const COUNT: usize>(&mut self) -> Option<[u8; COUNT]> {
        let (octets, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{any, written};
    use data_encoding::HEXLOWER;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    proptest! {
        #[test]
        fn an_account_comes_back(account in any::account_being_told()) {
            prop_assert_eq!(Packed::of(&account).unpack(), account);
        }

        #[test]
        fn a_snapshot_says_the_same_packed_and_written(account in any::account_being_told()) {
            let written = written::read_account(&written::account(&account)).unwrap();
            prop_assert_eq!(Packed::of(&account.kept()).unpack(), written);
        }

        #[test]
        fn one_takes_the_place_of_another(one in any::account(), other in any::account_being_told()) {
            let mut packed = Packed::of(&one);
            packed.put(&other);
            let anew = super::packed(&other);
            prop_assert_eq!(packed.as_octets(), anew.as_slice());
            prop_assert!(packed.0.len() <= room_for(packed.as_octets().len()) + 2 * STEP, "too much to spare");
        }

        #[test]
        fn what_was_cut_off_is_no_account(account in any::account(), cut in 0.0..1.0) {
            let octets = packed(&account);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share")]
            let length = (octets.len() as f64 * cut) as usize;
            let cut_off = Packed::read(&octets[..length]);
            prop_assert!(cut_off.is_none());
        }
    }

    #[test]
    fn it_is_small_and_its_form_is_that_on_disk() {
        let json = br#"{"usage":0,"running_since":1790000000000,"first_device":"02:00:00:00:00:01","last_used":1790000000000,
            "code":"kx7q-91mp","devices":["02:00:00:00:00:01"],"terms":{"pool":36000,"valid_to":1790086400000},"sessions":[
            {"session":"01KE000000000000000000000A","mac":"02:00:00:00:00:01","contact":{"nas":"front-desk","router":"192.0.2.1",
            "nas_session":"80a00001","user_name":"kx7q-91mp","ip":"10.5.88.41","can_disconnect":true,"can_extend":false},"admitted_at":1790000000000,
            "granted":36000,"interim":300,"accounting":true,"reported":{"at":1790000300000,"seconds":300,"input_octets":90000,
            "output_octets":1200000}}]}"#;
        let account = written::read_account(json).unwrap();
        let octets = packed(&account);
        assert!(octets.len() < 128, "{}", octets.len());
        let form = "03000001020000000001020180b083c59868010001096b7837712d39316d700101a099020180f0b25200000123ff\
            9fb697a9010000000000000000000a020a66726f6e742d6465736b04c00002010108383061303030303102040a0558\
            2980b083c5a801a09902ac02c0cf24ac0290bf05809f4900";
        assert_eq!(HEXLOWER.encode(&octets), form, "packed in another way than FORM says: raise it");

        let json = br#"{"usage":60,"written":300,"settlement":{"stage":"open","before":60,"after":55,"last_access":1790000300000}}"#;
        let octets = packed(&written::read_account(json).unwrap());
        assert_eq!(HEXLOWER.encode(&octets), "033cac0200000000000001003c37c0ffa7c598680000");
    }
}
