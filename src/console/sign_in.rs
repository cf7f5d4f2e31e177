//! Who is at the console: passwords, what a browser is known by afterwards, and the brake on guesses.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;

use crate::config::Admin;
use crate::config::passwords::{self, Written};
use crate::portal::badge::Key;

/// Browsers that are signed in at once; of more, the one that was away longest is signed out.
const SIGNED_IN: usize = 64;

/// Of whom so many may only look, from one place; they make room for themselves.
const LOOKING: usize = 8;

/// How long somebody stays signed in at all, and without doing anything.
const AT_MOST: Duration = Duration::from_secs(12 * 3600);
const IDLE: Duration = Duration::from_secs(2 * 3600);

/// Wrong passwords from one address before it must wait, and for how long, doubled with each further one. Whoever may only look
/// knows a password too, and must not guess the other by it: only the operator's clears the count.
const FREE_GUESSES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// After so long without a wrong one an address starts anew.
const FORGIVEN_AFTER: Duration = Duration::from_secs(3600);

/// Addresses that are watched at once.
const WATCHED: usize = 4096;

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything; codes are shown in full.
    Operator,
    /// Look; codes are masked.
    Viewer,
}

impl Role {
    /// The name in the audit trail.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Viewer => "viewer",
        }
    }
}

/// A password as it is configured: itself, or its hash as `spotgate password` prints it (a PHC string of Argon2).
pub struct Password {
    given: SecretString,
    /// Its hash, made when it is needed first.
    hash: OnceLock<String>,
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Password {
    fn new(given: &SecretString) -> Self {
        Self { given: given.clone(), hash: OnceLock::new() }
    }

    /// Whether this is it. It takes some twentieths of a second and 19 MiB, and blocks.
    fn is(&self, typed: &SecretString) -> bool {
        let hash = self.hash.get_or_init(|| {
            let given = self.given.expose_secret();
            if passwords::written(given) == Written::Hashed {
                given.to_owned()
            } else {
                hash(&self.given).unwrap_or_default()
            }
        });
        let Ok(hash) = PasswordHash::new(hash) else { return false };
        argon2().verify_password(typed.expose_secret().as_bytes(), &hash).is_ok()
    }

    /// Changes with the password.
    fn mark(&self) -> [u8; 32] {
        Sha256::digest(self.given.expose_secret().as_bytes()).into()
    }
}

/// A password's hash as a PHC string, with a salt of its own; none where the system has no random numbers.
#[must_use]
pub fn hash(password: &SecretString) -> Option<String> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).ok()?;
    let hash: PasswordHash = argon2().hash_password_with_salt(password.expose_secret().as_bytes(), &salt).ok()?;
    Some(hash.to_string())
}

/// Argon2id with what OWASP's Password Storage Cheat Sheet asks for at least: 19 MiB, two passes.
fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

/// The passwords of one configuration.
#[derive(Debug)]
pub struct Passwords {
    operator: Password,
    viewer: Option<Password>,
}

impl Passwords {
    /// Those of these settings; none: the console is off.
    #[must_use]
    pub fn new(settings: &Admin) -> Option<Self> {
        let operator = settings.password.as_ref().filter(|_| settings.enabled)?;
        Some(Self { operator: Password::new(operator), viewer: settings.viewer_password.as_ref().map(Password::new) })
    }

    const fn of(&self, role: Role) -> Option<&Password> {
        match role {
            Role::Operator => Some(&self.operator),
            Role::Viewer => self.viewer.as_ref(),
        }
    }

    fn role_of(&self, typed: &SecretString) -> Option<Role> {
        let roles = [Role::Operator, Role::Viewer];
        roles.into_iter().find(|role| self.of(*role).is_some_and(|password| password.is(typed)))
    }
}

/// Somebody who is signed in.
#[derive(Clone)]
pub struct SignedIn {
    /// What they may do.
    pub role: Role,
    /// Who they say they are, for the audit trail.
    pub name: String,
    /// What each of their forms carries (against forgery by other sites).
    pub csrf: SecretString,
    from: Guesser,
    since: Duration,
    seen: Duration,
    /// Of the password they used.
    mark: [u8; 32],
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedIn").field("role", &self.role).field("name", &self.name).finish_non_exhaustive()
    }
}

impl SignedIn {
    /// Whether a form carries what it should.
    #[must_use]
    pub fn wrote(&self, csrf: &str) -> bool {
        self.csrf.expose_secret().as_bytes().ct_eq(csrf.as_bytes()).into()
    }

    /// Who it was, in the audit trail.
    #[must_use]
    pub fn who(&self) -> String {
        let role = self.role.as_str();
        if self.name.is_empty() { role.to_owned() } else { format!("{} ({role})", self.name) }
    }
}

/// Whose wrong passwords are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guesser {
    /// Everybody at an address, of IPv6 in a network.
    At(IpAddr),
    /// A browser that an operator has signed in with before: what others at its address do keeps it from nothing.
    Known([u8; 16]),
}

impl Guesser {
    /// Who comes from there.
    #[must_use]
    pub fn at(from: Option<IpAddr>) -> Self {
        Self::At(watched(from))
    }
}

/// By what a browser is known again that an operator has signed in with: a name, signed.
#[derive(Debug)]
pub struct KnownBrowser;

impl KnownBrowser {
    /// The cookie of a browser that is not known yet; none without random numbers.
    #[must_use]
    pub fn cookie(key: &Key) -> Option<String> {
        let mut name = [0; 16];
        getrandom::fill(&mut name).ok()?;
        Some(format!("{}.{}", BASE64URL_NOPAD.encode(&name), BASE64URL_NOPAD.encode(&Self::signature(key, &name))))
    }

    /// The browser that shows this cookie.
    #[must_use]
    pub fn read(key: &Key, cookie: &str) -> Option<Guesser> {
        let (name, signature) = cookie.split_once('.')?;
        let name: [u8; 16] = BASE64URL_NOPAD.decode(name.as_bytes()).ok()?.try_into().ok()?;
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).ok()?;
        let is_ours: bool = Self::signature(key, &name).ct_eq(&signature).into();
        is_ours.then_some(Guesser::Known(name))
    }

    fn signature(key: &Key, name: &[u8; 16]) -> Vec<u8> {
        // Any length of key will do (RFC 2104 §2). The label keeps it apart from guests' badges.
        let keyed = Hmac::<Sha256>::new_from_slice(key.octets());
        let keyed = keyed.unwrap_or_else(|_| Hmac::new(&Default::default()));
        keyed.chain_update(b"spotgate operator").chain_update(name).finalize().into_bytes().to_vec()
    }
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Wrong.
    Wrong,
    /// Too many were wrong: wait for so long.
    Locked(Duration),
    /// Others are trying just now.
    Busy,
}

/// Everybody who is signed in, and who guesses.
#[derive(Debug)]
pub struct Door {
    /// By the digests of what their browsers show: how long it takes to find one says nothing of what another shows.
    signed_in: Mutex<HashMap<Shown, SignedIn>>,
    guesses: Mutex<HashMap<Guesser, Guesses>>,
    /// One hash at a time: memory.
    turn: Semaphore,
}

#[derive(Clone, Copy, Debug)]
struct Guesses {
    count: u32,
    latest: Duration,
}

impl Guesses {
    fn wait(self, now: Duration) -> Option<Duration> {
        let beyond = self.count.checked_sub(FREE_GUESSES)?;
        let wait = FIRST_WAIT.saturating_mul(1 << beyond.min(4)).min(LONGEST_WAIT);
        (self.latest + wait).checked_sub(now).filter(|left| !left.is_zero())
    }
}

impl Default for Door {
    fn default() -> Self {
        Self { signed_in: Mutex::default(), guesses: Mutex::default(), turn: Semaphore::new(1) }
    }
}

impl Door {
    /// Tries a password that `from` typed; the cookie's value if it is right. Attempts while an address must wait do not
    /// prolong that.
    pub async fn sign_in(
        &self,
        passwords: &Arc<Passwords>,
        typed: SecretString,
        name: &str,
        from: Guesser,
        now: Duration,
    ) -> Result<(String, SignedIn), Refusal> {
        if let Some(left) = self.wait(from, now) {
            return Err(Refusal::Locked(left));
        }
        let Ok(turn) = tokio::time::timeout(Duration::from_secs(3), self.turn.acquire()).await else {
            return Err(Refusal::Busy);
        };
        // Others of this address may have guessed meanwhile.
        if let Some(left) = self.wait(from, now) {
            return Err(Refusal::Locked(left));
        }
        let tried = Arc::clone(passwords);
        let role = tokio::task::spawn_blocking(move || tried.role_of(&typed)).await.ok().flatten();
        drop(turn);
        let (Some(role), Some(id), Some(csrf)) = (role, random(), random()) else {
            self.guessed(from, now);
            return Err(self.wait(from, now).map_or(Refusal::Wrong, Refusal::Locked));
        };
        if role == Role::Operator {
            lock(&self.guesses).remove(&from);
        }
        let mark = passwords.of(role).map(Password::mark).unwrap_or_default();
        let csrf = SecretString::from(csrf);
        let signed_in = SignedIn { role, name: name.to_owned(), csrf, from, since: now, seen: now, mark };
        let mut all = lock(&self.signed_in);
        all.retain(|_, other| other.is_fresh(now));
        let beside = |other: &SignedIn| role == Role::Viewer && other.role == role && other.from == from;
        if all.values().filter(|other| beside(other)).count() >= LOOKING {
            sign_out_oldest(&mut all, beside);
        } else if all.len() >= SIGNED_IN {
            sign_out_oldest(&mut all, |_| true);
        }
        all.insert(shown(&id), signed_in.clone());
        Ok((id, signed_in))
    }

    /// Who shows this cookie, if they are signed in under these passwords.
    #[must_use]
    pub fn find(&self, passwords: &Passwords, id: &str, now: Duration) -> Option<SignedIn> {
        let mut all = lock(&self.signed_in);
        let id = shown(id);
        let signed_in = all.get_mut(&id)?;
        let mark = passwords.of(signed_in.role).map(Password::mark);
        if !signed_in.is_fresh(now) || mark != Some(signed_in.mark) {
            all.remove(&id);
            return None;
        }
        signed_in.seen = now;
        Some(signed_in.clone())
    }

    /// Signs out whoever shows this cookie.
    pub fn sign_out(&self, id: &str) {
        lock(&self.signed_in).remove(&shown(id));
    }

    fn wait(&self, from: Guesser, now: Duration) -> Option<Duration> {
        lock(&self.guesses).get(&from)?.wait(now)
    }

    fn guessed(&self, from: Guesser, now: Duration) {
        let mut guesses = lock(&self.guesses);
        if guesses.len() >= WATCHED && !guesses.contains_key(&from) {
            guesses.retain(|_, guesses| now.saturating_sub(guesses.latest) < FORGIVEN_AFTER);
            if guesses.len() >= WATCHED
                && let Some(oldest) = guesses.iter().min_by_key(|(_, guesses)| guesses.latest).map(|(from, _)| *from)
            {
                guesses.remove(&oldest);
            }
        }
        let guesses = guesses.entry(from).or_insert(Guesses { count: 0, latest: now });
        if now.saturating_sub(guesses.latest) >= FORGIVEN_AFTER {
            guesses.count = 0;
        }
        *guesses = Guesses { count: guesses.count.saturating_add(1), latest: now };
    }
}

impl SignedIn {
    /// Who goes first where there are too many: somebody who may only look.
    fn weight(&self) -> (bool, Duration) {
        (self.role == Role::Operator, self.seen)
    }

    fn is_fresh(&self, now: Duration) -> bool {
        now.saturating_sub(self.since) < AT_MOST && now.saturating_sub(self.seen) < IDLE
    }
}

/// The digest of what a browser shows.
type Shown = [u8; 32];

fn shown(id: &str) -> Shown {
    Sha256::digest(id.as_bytes()).into()
}

fn sign_out_oldest(all: &mut HashMap<Shown, SignedIn>, among: impl Fn(&SignedIn) -> bool) {
    let oldest = all.iter().filter(|(_, other)| among(other)).min_by_key(|(_, other)| other.weight());
    if let Some(oldest) = oldest.map(|(id, _)| *id) {
        all.remove(&oldest);
    }
}

/// The address that counts: of IPv6 its network, since a device has as many of its addresses as it likes.
fn watched(from: Option<IpAddr>) -> IpAddr {
    match from {
        Some(IpAddr::V6(address)) => {
            let mut segments = address.segments();
            segments.iter_mut().skip(4).for_each(|segment| *segment = 0);
            Ipv6Addr::from(segments).into()
        }
        Some(address) => address,
        None => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// 256 random bits as text.
fn random() -> Option<String> {
    let mut octets = [0; 32];
    getrandom::fill(&mut octets).ok()?;
    Some(BASE64URL_NOPAD.encode(&octets))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passwords(viewer: Option<&str>) -> Arc<Passwords> {
        let viewer_password = viewer.map(SecretString::from);
        let settings = Admin { enabled: true, password: Some("lemonade".into()), viewer_password };
        Arc::new(Passwords::new(&settings).unwrap())
    }

    const HOME: Guesser = Guesser::At(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test]
    async fn each_password_has_its_role_plain_or_hashed() {
        let hashed = hash(&"only looking".into()).unwrap();
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        let (passwords, door) = (passwords(Some(&hashed)), Door::default());
        let (id, operator) = door.sign_in(&passwords, "lemonade".into(), "Ana", HOME, at(0)).await.unwrap();
        assert_eq!((operator.role, operator.who()), (Role::Operator, "Ana (operator)".to_owned()));
        let (_, viewer) = door.sign_in(&passwords, "only looking".into(), "", HOME, at(0)).await.unwrap();
        assert_eq!((viewer.role, viewer.who()), (Role::Viewer, "viewer".to_owned()));
        let wrong = door.sign_in(&passwords, hashed.into(), "", HOME, at(0)).await;
        assert_eq!(wrong.unwrap_err(), Refusal::Wrong, "the hash is no password");
        assert!(door.find(&passwords, &id, at(1)).is_some_and(|found| found.wrote(operator.csrf.expose_secret())));
        assert!(door.find(&passwords, "other", at(1)).is_none());
    }

    #[tokio::test]
    async fn one_is_signed_out_by_oneself_by_time_and_by_another_password() {
        let (now, door) = (passwords(None), Door::default());
        let sign_in = async || door.sign_in(&now, "lemonade".into(), "", HOME, at(0)).await.unwrap().0;
        let (one, idle, long, changed) = (sign_in().await, sign_in().await, sign_in().await, sign_in().await);
        door.sign_out(&one);
        assert!(door.find(&now, &one, at(1)).is_none());
        assert!(door.find(&now, &idle, at(7200)).is_none());
        for hour in 1..12 {
            assert!(door.find(&now, &long, at(hour * 3600)).is_some());
            assert!(door.find(&now, &changed, at(hour * 3600)).is_some());
        }
        assert!(door.find(&now, &long, at(12 * 3600)).is_none());
        let settings = Admin { enabled: true, password: Some("other".into()), viewer_password: None };
        let other = Passwords::new(&settings).unwrap();
        assert!(door.find(&other, &changed, at(11 * 3600)).is_none());
    }

    #[tokio::test]
    async fn who_guesses_waits_longer_each_time_and_holds_nobody_else_up() {
        let (passwords, door) = (passwords(None), Door::default());
        let guess = async |from, now| door.sign_in(&passwords, "guess".into(), "", from, at(now)).await.unwrap_err();
        for _ in 0..4 {
            assert_eq!(guess(HOME, 0).await, Refusal::Wrong);
        }
        assert_eq!(guess(HOME, 0).await, Refusal::Locked(at(60)));
        let right = async |from, now| door.sign_in(&passwords, "lemonade".into(), "", from, at(now)).await;
        assert_eq!(right(HOME, 59).await.unwrap_err(), Refusal::Locked(at(1)), "the right one too");
        assert_eq!(guess(HOME, 60).await, Refusal::Locked(at(120)));
        assert!(right(Guesser::at("192.0.2.2".parse().ok()), 60).await.is_ok());
        assert!(right(HOME, 180).await.is_ok());
        assert_eq!(guess(HOME, 181).await, Refusal::Wrong, "it starts anew");
        let neighbours = ["2001:db8::1", "2001:db8::2"].map(|address| Guesser::at(address.parse().ok()));
        for turn in 0..5 {
            guess(neighbours[turn % 2], 0).await;
        }
        assert!(matches!(right(neighbours[0], 1).await.unwrap_err(), Refusal::Locked(_)), "one network");
    }

    #[tokio::test]
    async fn a_browser_that_signed_in_before_is_not_kept_out_by_others_at_its_address() {
        let (passwords, door, key) = (passwords(None), Door::default(), Key::new([7; 32]));
        for _ in 0..5 {
            let _ = door.sign_in(&passwords, "guess".into(), "", HOME, at(0)).await;
        }
        let cookie = KnownBrowser::cookie(&key).unwrap();
        let known = KnownBrowser::read(&key, &cookie).unwrap();
        let right = async |from| door.sign_in(&passwords, "lemonade".into(), "", from, at(1)).await;
        assert!(matches!(right(HOME).await, Err(Refusal::Locked(_))));
        assert!(right(known).await.is_ok());
        assert_eq!(KnownBrowser::read(&Key::new([8; 32]), &cookie), None, "signed by another");
        assert_eq!(KnownBrowser::read(&key, &cookie.replace('.', "A.")), None);
        for _ in 0..5 {
            let _ = door.sign_in(&passwords, "guess".into(), "", known, at(1)).await;
        }
        assert!(matches!(right(known).await, Err(Refusal::Locked(_))), "nor does it guess for ever");
    }

    #[tokio::test]
    async fn who_may_only_look_does_not_guess_the_other_password_by_that() {
        let (passwords, door) = (passwords(Some("only looking")), Door::default());
        let try_it = async |typed: &str| door.sign_in(&passwords, typed.into(), "", HOME, at(0)).await.map(|_| ());
        for _ in 0..4 {
            assert_eq!(try_it("guess").await, Err(Refusal::Wrong));
            assert_eq!(try_it("only looking").await, Ok(()));
        }
        assert_eq!(try_it("guess").await, Err(Refusal::Locked(at(60))));
    }

    #[tokio::test]
    async fn who_may_only_look_signs_nobody_at_another_place_out() {
        let (passwords, door) = (passwords(Some("only looking")), Door::default());
        let look =
            async |from, now| door.sign_in(&passwords, "only looking".into(), "", from, at(now)).await.unwrap().0;
        let other = look(Guesser::at("192.0.2.2".parse().ok()), 0).await;
        let first = look(HOME, 1).await;
        for number in 0..LOOKING {
            look(HOME, 2 + u64::try_from(number).unwrap()).await;
        }
        assert!(door.find(&passwords, &other, at(60)).is_some());
        assert!(door.find(&passwords, &first, at(60)).is_none(), "they make room for themselves");
    }

    #[test]
    fn a_password_that_looks_like_a_hash_and_is_none_is_a_password() {
        let password = Password::new(&"$ummer2026".into());
        assert!(password.is(&"$ummer2026".into()) && !password.is(&"$ummer2025".into()));
    }

    #[tokio::test]
    async fn no_more_than_so_many_are_signed_in() {
        let (passwords, door) = (passwords(None), Door::default());
        let (first, _) = door.sign_in(&passwords, "lemonade".into(), "", HOME, at(0)).await.unwrap();
        let template = door.find(&passwords, &first, at(0)).unwrap();
        for number in 1..SIGNED_IN {
            lock(&door.signed_in).insert(shown(&number.to_string()), SignedIn { seen: at(1), ..template.clone() });
        }
        assert!(door.sign_in(&passwords, "lemonade".into(), "", HOME, at(2)).await.is_ok());
        assert_eq!(lock(&door.signed_in).len(), SIGNED_IN);
        assert!(door.find(&passwords, &first, at(2)).is_none(), "it was away longest");
        lock(&door.signed_in).insert(shown("1"), SignedIn { seen: at(3), role: Role::Viewer, ..template });
        assert!(door.sign_in(&passwords, "lemonade".into(), "", HOME, at(3)).await.is_ok());
        assert!(!lock(&door.signed_in).contains_key(&shown("1")), "who may only look goes first");
    }
}
