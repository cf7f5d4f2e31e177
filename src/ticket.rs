//! Passwords that are good for once: how a guest who typed the code at the portal is let in at the router, without the code in
//! an address (pattern B of facts/hotspot.md §5.3).
//!
//! A ticket stands for a code, at one router, for one device and for a minute. They are kept in memory alone: after a restart
//! the guest types the code again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::core::ident::{Code, CodeKey, Mac, NasName};
use crate::core::login::{Claim, Login};

/// How long a ticket is good for: the browser goes to the router at once, and the router asks at once.
const GOOD_FOR: Duration = Duration::from_secs(60);

/// Tickets at once; more are not given out until some have run out.
const AT_ONCE: usize = 20_000;

/// What its text begins with; no access code does, in all likelihood, and one that does is only looked for in vain.
const MARK: &str = "sg-";

/// Random octets of its text, and how many letters they are.
const RANDOM: usize = 16;
const LETTERS: usize = 26;

/// Tickets that are out for one code: whoever has it takes none of the others'.
const OF_A_CODE: usize = 16;

/// Used tickets that are known again; beyond, the one that nobody has shown for longest is forgotten.
const KNOWN_AGAIN: u64 = 100_000;

/// Whether a text is made like that of a ticket.
#[must_use]
pub fn is_one(code: &Code) -> bool {
    let letters = code.reveal().strip_prefix(MARK);
    letters.is_some_and(|letters| {
        letters.len() == LETTERS && letters.bytes().all(|octet| matches!(octet, b'a'..=b'z' | b'2'..=b'7'))
    })
}

/// The text of a ticket: the user name and the password at the router.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Ticket(Arc<str>);

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ticket(..)")
    }
}

impl Ticket {
    /// The text.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// A text in short: whoever shows it was given the text.
pub type Mark = [u8; 8];

/// The mark of a text.
#[must_use]
pub fn mark(text: &str) -> Mark {
    let digest = Sha256::digest(text.as_bytes());
    std::array::from_fn(|octet| digest.get(octet).copied().unwrap_or_default())
}

/// What a ticket stands for.
struct Meant {
    code: Code,
    nas: NasName,
    device: Mac,
    /// Monotonic.
    until: Duration,
    /// The router's name for the session that it was used for, and when: a router that hears no answer asks anew.
    used_for: Option<(Box<str>, Duration)>,
}

/// How long a session without a name may be asked for anew: what is asked upstream for one packet.
const NAMELESS: Duration = Duration::from_secs(5);

/// The tickets that are out, and the marks of those that were used.
pub struct Tickets {
    out: Mutex<Out>,
    used: Cache<Mark, ()>,
}

impl Default for Tickets {
    fn default() -> Self {
        // By how lately they were shown, not how often: a new one always finds room.
        let used = Cache::builder().max_capacity(KNOWN_AGAIN).eviction_policy(EvictionPolicy::lru()).build();
        Self { out: Mutex::default(), used }
    }
}

#[derive(Default)]
struct Out {
    tickets: HashMap<Ticket, Meant>,
    /// Of each code, the latest last.
    of_code: HashMap<CodeKey, VecDeque<Ticket>>,
}

impl Out {
    fn forget(&mut self, now: Duration) {
        let tickets = &mut self.tickets;
        tickets.retain(|_, meant| meant.until > now);
        self.of_code.retain(|_, of_code| {
            of_code.retain(|ticket| tickets.contains_key(ticket));
            !of_code.is_empty()
        });
    }
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tickets(..)")
    }
}

impl Tickets {
    /// A ticket for this code, for this device at this router, at `now` (monotonic); none if too many are out, or the system has
    /// no random numbers to give.
    #[must_use]
    pub fn issue(&self, code: Code, device: Mac, nas: NasName, now: Duration) -> Option<Ticket> {
        let mut random = [0; RANDOM];
        getrandom::fill(&mut random).ok()?;
        let text = format!("{MARK}{}", data_encoding::BASE32_NOPAD.encode(&random).to_ascii_lowercase());
        let ticket = Ticket(text.into());
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that ran out are forgotten now and then, too.
        if out.tickets.len() >= AT_ONCE {
            return None;
        }
        let Out { tickets, of_code } = &mut *out;
        let of_code = of_code.entry(code.key()).or_default();
        if of_code.len() >= OF_A_CODE
            && let Some(oldest) = of_code.pop_front()
        {
            tickets.remove(&oldest);
        }
        of_code.push_back(ticket.clone());
        tickets.insert(ticket.clone(), Meant { code, nas, device, until: now + GOOD_FOR, used_for: None });
        Some(ticket)
    }

    /// The code that this login at `nas` has a ticket for, if it proves that.
    #[must_use]
    pub fn redeem(&self, login: &Login<'_>, nas: &NasName, now: Duration) -> Option<Code> {
        let Claim::Code(_) = login.claim else { return None };
        let text = std::str::from_utf8(login.typed).ok().filter(|text| text.starts_with(MARK))?;
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let meant = out.tickets.get_mut(&Ticket(text.into()))?;
        let session = login.nas_session.unwrap_or_default();
        let is_same = |(used_for, at): &(Box<str>, Duration)| {
            **used_for == *session && (!session.is_empty() || now < *at + NAMELESS)
        };
        let is_good = meant.until > now
            && meant.nas == *nas
            && login.device == Some(meant.device)
            && login.proof.shows(text.as_bytes())
            && meant.used_for.as_ref().is_none_or(is_same);
        if !is_good {
            return None;
        }
        meant.used_for.get_or_insert_with(|| (session.into(), now));
        self.used.insert(mark(text), ());
        Some(meant.code.clone())
    }

    /// Whether the ticket with this mark was used: whoever was given it is on the device that it was given for, since a router
    /// has seen that device bring it. Also when it has run out long since; a restart forgets it.
    #[must_use]
    pub fn was_used(&self, mark: Mark) -> bool {
        self.used.get(&mark).is_some()
    }

    /// Whether this text is a ticket that was used, and ran out since: a browser that sends its address again does so at once, and
    /// what brings it later has kept it.
    #[must_use]
    pub fn is_spent(&self, text: &str, now: Duration) -> bool {
        let out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let is_out = out.tickets.get(&Ticket(text.into())).is_some_and(|meant| meant.until > now);
        drop(out);
        !is_out && self.was_used(mark(text))
    }

    /// Forgets those that have run out.
    pub fn forget(&self, now: Duration) {
        self.out.lock().unwrap_or_else(PoisonError::into_inner).forget(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::login::Proof;

    const NOW: Duration = Duration::from_secs(1000);
    const DEVICE: Mac = Mac::new([2, 0, 0, 0, 0, 1]);

    fn nas(name: &str) -> NasName {
        NasName::new(name)
    }

    fn issued(tickets: &Tickets) -> String {
        let ticket = tickets.issue(Code::parse("kx7q").unwrap(), DEVICE, nas("desk"), NOW).unwrap();
        assert_eq!(format!("{ticket:?} {tickets:?}"), "Ticket(..) Tickets(..)");
        ticket.reveal().to_owned()
    }

    fn login<'a>(typed: &'a str, proof: Proof<'a>, device: Mac, session: Option<&'a str>) -> Login<'a> {
        Login {
            claim: Claim::Code(Code::parse(typed).unwrap()),
            typed: typed.as_bytes(),
            proof,
            device: Some(device),
            ip: None,
            router: None,
            nas_session: session,
        }
    }

    #[test]
    fn a_ticket_lets_its_device_in_once_at_its_router() {
        let tickets = Tickets::default();
        let text = issued(&tickets);
        let redeem = |login: &Login<'_>, at: &str, now| tickets.redeem(login, &nas(at), now);
        let proof = Proof::Password(text.as_bytes());
        let good = login(&text, proof, DEVICE, Some("80a00001"));
        assert_eq!(redeem(&good, "other", NOW), None, "another router");
        assert_eq!(
            redeem(&login(&text, proof, Mac::new([2; 6]), Some("80a00001")), "desk", NOW),
            None,
            "another device"
        );
        assert_eq!(
            redeem(&login(&text, Proof::Password(b""), DEVICE, Some("80a00001")), "desk", NOW),
            None,
            "no proof"
        );
        assert_eq!(redeem(&login("sg-nothing", proof, DEVICE, None), "desk", NOW), None, "no such ticket");
        assert!(!tickets.was_used(mark(&text)));
        assert_eq!(redeem(&good, "desk", NOW), Code::parse("kx7q").ok());
        assert_eq!(redeem(&good, "desk", NOW), Code::parse("kx7q").ok(), "the same session asks anew");
        assert_eq!(redeem(&login(&text, proof, DEVICE, Some("80a00002")), "desk", NOW), None, "used");
        assert_eq!(redeem(&login(&text, proof, DEVICE, None), "desk", NOW), None, "used");
        assert_eq!(redeem(&good, "desk", NOW + GOOD_FOR), None, "run out");
        assert!(!tickets.is_spent(&text, NOW) && tickets.is_spent(&text, NOW + GOOD_FOR));
        assert!(!tickets.is_spent("sg-nothing", NOW + GOOD_FOR));
        tickets.forget(NOW + GOOD_FOR);
        assert!(tickets.was_used(mark(&text)) && !tickets.was_used(mark("sg-nothing")));
    }

    #[test]
    fn a_session_without_a_name_uses_it_up_in_a_moment() {
        let tickets = Tickets::default();
        let text = issued(&tickets);
        let nameless = login(&text, Proof::Password(text.as_bytes()), DEVICE, None);
        assert!(tickets.redeem(&nameless, &nas("desk"), NOW).is_some());
        assert!(tickets.redeem(&nameless, &nas("desk"), NOW + NAMELESS / 2).is_some(), "the same packet");
        assert!(tickets.redeem(&nameless, &nas("desk"), NOW + NAMELESS).is_none());
    }

    #[test]
    fn there_are_not_more_than_fit_and_those_that_ran_out_make_room() {
        let tickets = Tickets::default();
        let issue = |code: usize, now| {
            let code = Code::parse(&format!("kx7q-{code}")).unwrap();
            tickets.issue(code, DEVICE, nas("desk"), now)
        };
        let first = issue(0, NOW).unwrap();
        for _ in 0..OF_A_CODE {
            assert!(issue(0, NOW).is_some());
        }
        let text = first.reveal();
        let login = login(text, Proof::Password(text.as_bytes()), DEVICE, Some("80a00001"));
        assert!(tickets.redeem(&login, &nas("desk"), NOW).is_none(), "the oldest of the code made room");
        for code in OF_A_CODE..AT_ONCE {
            assert!(issue(code, NOW).is_some());
        }
        assert!(issue(AT_ONCE, NOW + GOOD_FOR / 2).is_none());
        tickets.forget(NOW + GOOD_FOR);
        assert!(issue(0, NOW + GOOD_FOR).is_some());
        let out = tickets.out.lock().unwrap();
        assert_eq!((out.tickets.len(), out.of_code.len()), (1, 1));
    }
}
