//! Names of things: parsed once, shown in one form, and silent where they are secret.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use smol_str::SmolStr;

/// The Nexudus `Id` of an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(pub i64);

/// The Nexudus `BusinessId`: the location a token belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BusinessId(pub i64);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for BusinessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An access code: what a guest types. Text, never a number: `0042` is not `42`.
///
/// A code is as good as a password, so neither `Debug` nor `Display` shows it; [`Code::masked`] and
/// [`Code::reveal`] say what they do.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Code(SmolStr);

/// Why a text is no access code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Nothing but white space.
    #[error("the code is empty")]
    Empty,
    /// More than [`Code::MAX_BYTES`]: it could not stand in a User-Name.
    #[error("the code is longer than 253 bytes")]
    TooLong,
    /// A control character, which nobody types.
    #[error("the code holds a control character")]
    Control,
}

impl Code {
    /// What fits into one RADIUS attribute (RFC 2865 §5).
    pub const MAX_BYTES: usize = 253;

    /// Reads a code as typed; white space around it is not part of it.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(CodeError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(CodeError::TooLong);
        }
        // Most are ASCII, of which that is told without taking it apart.
        if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && text.chars().any(char::is_control) {
            return Err(CodeError::Control);
        }
        Ok(Self(text.into()))
    }

    /// The code in full: for comparing with what was typed, for the source, and for operators with scope `admin`.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The code with all but its last two characters hidden; up to four characters are hidden wholly.
    #[must_use]
    pub fn masked(&self) -> String {
        let length = self.0.chars().count();
        let shown = if length <= 4 { 0 } else { 2 };
        let mut masked = "*".repeat(length - shown);
        masked.extend(self.0.chars().skip(length - shown));
        masked
    }

    /// The key under which codes are looked up, the same for all spellings in upper and lower case.
    #[must_use]
    pub fn key(&self) -> CodeKey {
        if self.0.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
            CodeKey(self.0.clone())
        } else {
            CodeKey(folded(&self.0).collect())
        }
    }

    /// Whether both are one code, under the rule for case.
    #[must_use]
    pub fn same(&self, other: &Self, ignore_case: bool) -> bool {
        self.0 == other.0 || (ignore_case && folded(&self.0).eq(folded(&other.0)))
    }
}

/// Lower case, character by character: as a word, a Greek sigma would depend on where it stands.
fn folded(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().flat_map(char::to_lowercase)
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(..)")
    }
}

/// A [`Code`] folded for look-up; as silent as the code.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CodeKey(SmolStr);

impl fmt::Debug for CodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeKey(..)")
    }
}

/// A device: its MAC address, shown as `AA:BB:CC:DD:EE:FF`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac([u8; 6]);

/// The text is no MAC address in any usual spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a MAC address; write it as AA:BB:CC:DD:EE:FF")]
pub struct MacError;

impl Mac {
    /// From its six octets.
    #[must_use]
    pub const fn new(octets: [u8; 6]) -> Self {
        Self(octets)
    }

    /// Reads any usual spelling: twelve hexadecimal digits of either case, in equal groups of two, four or six
    /// with `:`, `-`, `.` or a space between them, or in one run (facts: RouterOS `radius-mac-format`).
    pub fn parse(text: &[u8]) -> Result<Self, MacError> {
        let text = text.trim_ascii();
        let mut octets = [0u8; 6];
        let mut digits = 0usize;
        let (mut group, mut group_length, mut separator) = (0usize, None, None);
        for &byte in text {
            if let Some(digit) = (byte as char).to_digit(16) {
                let octet = octets.get_mut(digits / 2).ok_or(MacError)?;
                *octet = (*octet << 4) | u8::try_from(digit).map_err(|_| MacError)?;
                digits += 1;
                group += 1;
            } else if matches!(byte, b':' | b'-' | b'.' | b' ') && group > 0 {
                if *separator.get_or_insert(byte) != byte || *group_length.get_or_insert(group) != group {
                    return Err(MacError);
                }
                group = 0;
            } else {
                return Err(MacError);
            }
        }
        let groups_equal = group_length.is_none_or(|length| length == group && matches!(length, 2 | 4 | 6));
        if digits == 12 && groups_equal { Ok(Self(octets)) } else { Err(MacError) }
    }

    /// Whether `matches` holds for any spelling in which a router may write the address: the forms of RouterOS's
    /// `radius-mac-format` and the dotted one, in either case.
    pub fn any_spelling(self, matches: impl Fn(&[u8]) -> bool) -> bool {
        let [a, b, c, d, e, g] = self.0;
        let digits = format!("{a:02X}{b:02X}{c:02X}{d:02X}{e:02X}{g:02X}");
        let spelled = |group: usize, separator: &str| {
            let groups: Vec<_> = digits.as_bytes().chunks(group).map(String::from_utf8_lossy).collect();
            groups.join(separator)
        };
        [(2, ":"), (2, "-"), (12, ""), (4, ":"), (6, ":"), (6, "-"), (2, " "), (4, "."), (2, ".")]
            .into_iter()
            .map(|(group, separator)| spelled(group, separator))
            .any(|upper| matches(upper.as_bytes()) || matches(upper.to_ascii_lowercase().as_bytes()))
    }

    /// The six octets.
    #[must_use]
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02X}:{b:02X}:{c:02X}:{d:02X}:{e:02X}:{g:02X}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The `name` of a `[[nas]]`: the hotspot router that asks.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NasName(SmolStr);

impl NasName {
    /// Takes the name as configured.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NasName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NasName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Our name for a session: 48 bits of milliseconds and 80 bits that are random but for the last, which says whether it was let in or
/// met ([`SessionId::is_met`]); shown as a ULID (26 characters of Crockford's Base32), so that ids sort by time and cannot be guessed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(u128);

/// The text is no session id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a session id")]
pub struct SessionIdError;

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// What each byte stands for in it, in either case; [`NO_DIGIT`] for most. Ids are read by the million at a start.
const DIGITS: [u8; 256] = digits();
const NO_DIGIT: u8 = u8::MAX;

#[expect(clippy::indexing_slicing, reason = "done by the compiler")]
const fn digits() -> [u8; 256] {
    let mut digits = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < 32 {
        let letter = CROCKFORD[digit as usize];
        digits[letter as usize] = digit;
        digits[letter.to_ascii_lowercase() as usize] = digit;
        digit += 1;
    }
    digits
}

impl SessionId {
    /// Makes an id from the time and ten random octets.
    #[must_use]
    pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
        let millis = u128::from(now.as_millisecond().max(0).unsigned_abs()) & 0xFFFF_FFFF_FFFF;
        let random = random.iter().fold(0u128, |sum, &octet| (sum << 8) | u128::from(octet));
        Self((millis << 80) | random)
    }

    /// The same of a session that nobody let in here: it was met by what its router says of it, under its router's name alone.
    #[must_use]
    pub const fn met(self) -> Self {
        Self(self.0 | 1)
    }

    /// The same of a session that was let in.
    #[must_use]
    pub const fn let_in(self) -> Self {
        Self(self.0 & !1)
    }

    /// Whether the session was met, and not let in: the last bit says so.
    #[must_use]
    pub const fn is_met(self) -> bool {
        self.0 & 1 == 1
    }

    /// When it was made.
    #[must_use]
    pub fn time(self) -> Timestamp {
        let millis = i64::try_from(self.0 >> 80).unwrap_or(i64::MAX);
        Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
    }

    /// The sixteen octets, most significant first: what the Class attribute carries.
    #[must_use]
    pub const fn octets(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The id from its sixteen octets.
    #[must_use]
    pub const fn from_octets(octets: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(octets))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Written at once: an accounting record holds one.
        let mut text = [0; 26];
        for (position, place) in (0..26u32).rev().zip(&mut text) {
            let digit = usize::try_from((self.0 >> (5 * position)) & 31).unwrap_or_default();
            *place = CROCKFORD.get(digit).copied().unwrap_or_default();
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SessionId {
    type Err = SessionIdError;

    fn from_str(text: &str) -> Result<Self, SessionIdError> {
        if text.len() != 26 || !matches!(text.as_bytes().first(), Some(b'0'..=b'7')) {
            return Err(SessionIdError);
        }
        text.bytes()
            .try_fold(0u128, |sum, byte| {
                let digit = DIGITS.get(usize::from(byte)).filter(|digit| **digit != NO_DIGIT);
                digit.map(|digit| (sum << 5) | u128::from(*digit)).ok_or(SessionIdError)
            })
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_usual_spelling_is_one_mac() {
        for spelling in [
            "9A:4C:10:7E:22:D1",
            "9a:4c:10:7e:22:d1",
            "9A-4C-10-7E-22-D1",
            "9A4C:107E:22D1",
            "9A4C10:7E22D1",
            "9A4C10-7E22D1",
            "9A4C107E22D1",
            "9A 4C 10 7E 22 D1",
            "9a4c.107e.22d1",
            " 9A:4C:10:7E:22:D1 ",
        ] {
            let mac: Mac = spelling.parse().unwrap();
            assert_eq!(mac.to_string(), "9A:4C:10:7E:22:D1", "{spelling}");
        }
    }

    #[test]
    fn every_spelling_is_read_back() {
        let mac: Mac = "9A:4C:10:7E:22:D1".parse().unwrap();
        let all = std::cell::RefCell::new(Vec::new());
        assert!(!mac.any_spelling(|spelling| {
            all.borrow_mut().push(String::from_utf8(spelling.to_vec()).unwrap());
            Mac::parse(spelling) != Ok(mac)
        }));
        let all = all.into_inner();
        for one in ["9A:4C:10:7E:22:D1", "9a-4c-10-7e-22-d1", "9A4C107E22D1", "9a4c.107e.22d1", "9A4C10-7E22D1"] {
            assert!(all.iter().any(|spelling| spelling == one), "{one}");
        }
    }

    #[test]
    fn what_only_looks_like_a_mac_is_none() {
        for text in [
            "",
            "9A:4C:10:7E:22",
            "9A:4C:10:7E:22:D1:00",
            "9A:4C:10-7E:22:D1",
            "9A:4C1:07:E2:2D:1",
            ":9A4C107E22D1",
            "9A4C107E22D1:",
            "9A::4C:10:7E:22:D1",
            "9A4C107E22DG",
            "9A4C107:E22D1",
            "9:A:4:C:1:0:7:E:2:2:D:1",
            "9A_4C_10_7E_22_D1",
            "9A/4C/10/7E/22/D1",
            "9AG4CG10G7EG22GD1",
            "9A:4C:10:7E:22:D1:",
            "００:4C:10:7E:22:D1",
        ] {
            assert_eq!(text.parse::<Mac>(), Err(MacError), "{text}");
        }
    }

    #[test]
    fn codes_are_text_and_stay_silent() {
        let code = Code::parse(" 0042 ").unwrap();
        assert_eq!(code.reveal(), "0042");
        assert_ne!(code, Code::parse("42").unwrap());
        assert_eq!(format!("{code:?} {:?}", code.key()), "Code(..) CodeKey(..)");
        assert_eq!(Code::parse("  "), Err(CodeError::Empty));
        assert_eq!(Code::parse("a\nb"), Err(CodeError::Control));
        assert_eq!(Code::parse(&"x".repeat(254)), Err(CodeError::TooLong));
    }

    #[test]
    fn masks_leave_two_characters_and_short_codes_none() {
        let masked = |text: &str| Code::parse(text).unwrap().masked();
        assert_eq!(masked("kx7q-91mp"), "*******mp");
        assert_eq!(masked("12345"), "***45");
        assert_eq!(masked("1234"), "****");
        assert_eq!(masked("ñandú"), "***dú");
    }

    #[test]
    fn case_folds_only_where_it_is_ignored() {
        let (lower, upper) = (Code::parse("kx7q").unwrap(), Code::parse("KX7Q").unwrap());
        assert!(lower.same(&upper, true) && !lower.same(&upper, false));
        assert_eq!(lower.key(), upper.key());
    }

    #[test]
    fn a_code_of_253_bytes_still_fits() {
        assert_eq!(Code::parse(&"x".repeat(253)).unwrap().reveal().len(), 253);
        assert_eq!(Code::parse(&"ñ".repeat(127)), Err(CodeError::TooLong), "bytes, not letters");
    }

    #[test]
    fn names_are_shown_as_they_are() {
        assert_eq!((TokenId(87_654_321).to_string(), BusinessId(-1).to_string()), ("87654321".into(), "-1".into()));
        let nas = NasName::new("front \"desk\"");
        assert_eq!((nas.as_str(), nas.to_string().as_str()), ("front \"desk\"", "front \"desk\""));
        assert_eq!(format!("{nas:?}"), r#""front \"desk\"""#);
        let mac = Mac::new([0x9A, 0x4C, 0x10, 0x7E, 0x22, 0xD1]);
        assert_eq!(
            (format!("{mac:?}").as_str(), mac.octets()),
            ("9A:4C:10:7E:22:D1", [0x9A, 0x4C, 0x10, 0x7E, 0x22, 0xD1])
        );
    }

    /// The example in the README of ulid's first implementation: `ulid(1469918176385)`.
    #[test]
    fn a_session_id_is_a_ulid() {
        let now = Timestamp::from_millisecond(1_469_918_176_385).unwrap();
        let id = SessionId::new(now, [0xD6, 0x76, 0x4C, 0x61, 0xEF, 0xB9, 0x93, 0x02, 0xBD, 0x5B]);
        assert_eq!(id.to_string(), "01ARYZ6S41TSV4RRFFQ69G5FAV");
        assert_eq!(format!("{id:?}"), "01ARYZ6S41TSV4RRFFQ69G5FAV");
        assert_eq!("01aryz6s41tsv4rrffq69g5fav".parse(), Ok(id), "of either case");
        let octets = [0x01, 0x56, 0x3D, 0xF3, 0x64, 0x81, 0xD6, 0x76, 0x4C, 0x61, 0xEF, 0xB9, 0x93, 0x02, 0xBD, 0x5B];
        assert_eq!(id.octets(), octets);
        assert_eq!(SessionId::new(Timestamp::from_second(-1).unwrap(), [0; 10]).octets(), [0; 16], "before 1970");
        for text in [
            "",
            "01ARYZ6S41TSV4RRFFQ69G5FA",
            "01ARYZ6S41TSV4RRFFQ69G5FAVV",
            "81ARYZ6S41TSV4RRFFQ69G5FAV",
            "01ARYZ6S41TSV4RRFFQ69G5FAU",
            "01ARYZ6S41TSV4RRFFQ69G5F-V",
        ] {
            assert_eq!(text.parse::<SessionId>(), Err(SessionIdError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn macs_round_trip(octets: [u8; 6]) {
            let mac = Mac::new(octets);
            prop_assert_eq!(mac.to_string().parse::<Mac>(), Ok(mac));
        }

        #[test]
        fn session_ids_round_trip(millis in 0i64..253_402_300_799_999, random: [u8; 10]) {
            let id = SessionId::new(Timestamp::from_millisecond(millis).unwrap(), random);
            prop_assert_eq!(id.to_string().parse::<SessionId>(), Ok(id));
            prop_assert_eq!(SessionId::from_octets(id.octets()), id);
        }

        #[test]
        fn codes_are_the_same_if_their_keys_are(one in "[aAbBßẞéÉ0]{1,3}", other in "[aAbBßẞéÉΣσς0]{1,3}") {
            let (one, other) = (Code::parse(&one).unwrap(), Code::parse(&other).unwrap());
            prop_assert_eq!(one.same(&other, true), one.key() == other.key());
        }

        #[test]
        fn no_text_panics_a_parser(text: String) {
            let _ = (Code::parse(&text), text.parse::<Mac>(), text.parse::<SessionId>());
        }
    }
}
