//! A login from any door: throttled? which tokens? decide, admit, and say so.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;

use crate::catalogue::{Catalogue, Changes, Find, Found, Standing, Tokens};
use crate::clock::{Clock, Now};
use crate::config;
use crate::core::budget::Seconds;
use crate::core::decide::{Decision, Denial, Question, Reason, Trail, select};
use crate::core::event::{News, Progress};
use crate::core::ident::{Code, Mac, NasName, SessionId, TokenId};
use crate::core::login::{Claim, Login, Proof};
use crate::core::policy::{MacLogin, Policy};
use crate::core::token::AccessToken;
use crate::history::{Decided, History};
use crate::ledger::{Ledger, Reported, Unwritten, Written};
use crate::live::Live;
use crate::mirror::Coverage;
use crate::radius::sightings::Strangers;
use crate::random::Random;
use crate::source::health::Health;
use crate::source::nexudus::Hint;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trouble::Trouble;
use crate::throttle::{Throttle, Who};
use crate::ticket::{self, Tickets};

/// Through which door a login came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// A RADIUS Access-Request.
    Radius,
    /// `POST /v1/authorize`.
    Http,
    /// The guest's pages.
    Portal,
    /// `POST /v1/ironwifi/authenticate`.
    Ironwifi,
    /// `/v1/freeradius/…`.
    Freeradius,
}

/// What a decision is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The guest goes online.
    Admit,
    /// The guest wants to know, and comes back by way of the router: a failure counts as one.
    Check,
    /// Somebody else wants to know why: nothing comes of it.
    Explain,
}

impl Via {
    /// Every door.
    pub const ALL: [Self; 5] = [Self::Radius, Self::Http, Self::Portal, Self::Ironwifi, Self::Freeradius];

    /// The name in metrics and decisions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Radius => "radius",
            Self::Http => "http",
            Self::Portal => "portal",
            Self::Ironwifi => "ironwifi",
            Self::Freeradius => "freeradius",
        }
    }
}

/// A login and the circumstances of its decision.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'a> {
    /// Who asks, where, under which rules.
    pub question: Question<'a>,
    /// How many failed codes are too many.
    pub limits: &'a config::Throttle,
    /// The longest session that is let in while other daemons' accounts are not known; zero: nobody is.
    pub away_session: Duration,
    /// The door.
    pub via: Via,
    /// When the request came in.
    pub received: Duration,
    /// What the decision is for.
    pub purpose: Purpose,
    /// The browser that asks, where it is one: by its own word it is any device.
    pub browser: Option<Who<'a>>,
}

impl Visit<'_> {
    /// Whose failures count.
    fn who(&self) -> Who<'_> {
        let device = self.question.login.device;
        self.browser.unwrap_or(Who::Device { device, nas: &self.question.nas.name })
    }
}

/// A decision, and the session it opened.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Allow with terms, or deny with a reason.
    pub decision: Decision,
    /// The session, of an allow that was no dry run.
    pub session: Option<SessionId>,
}

/// What became of news of a session.
#[derive(Debug)]
pub struct Accounted {
    /// As metrics name it.
    pub result: &'static str,
    /// Whether it is on disk.
    pub written: Written,
}

/// How far a login gets on memory alone.
#[derive(Debug)]
pub enum Step {
    /// To its end.
    Decided(Answer),
    /// To this claim, which the source must be asked for.
    Ask(Claim),
    /// Nowhere: accounts are shared, and what is decided on memory counts once the others know it. [`Gate::answer`] waits for
    /// that.
    Wait,
}

/// What was decided, and whether it is written down.
type Settling = (Answer, Written);

/// How often a login is decided anew because another daemon changed its token's account meanwhile. Each time takes as long as
/// the database does.
const RACES: usize = 20;

/// What was obtained from the source for this login so far.
pub type Obtained = Vec<(Claim, Found)>;

/// Where tokens come from, and how that goes.
#[derive(Debug)]
pub struct Supply {
    /// Tokens at hand.
    pub catalogue: Arc<Catalogue>,
    /// How the source's last answer was.
    pub health: Arc<Health>,
    /// How far the mirror of every token is, if one is kept.
    pub mirror: Option<Arc<Coverage>>,
    /// Why nothing is written back, if that is so.
    pub write_back: Arc<Trouble>,
    /// That something changed there; only a source that can be re-read early waits for it.
    pub hint: Arc<Hint>,
}

/// The way in.
#[derive(Debug)]
pub struct Gate {
    supply: RwLock<Arc<Supply>>,
    /// Accounts.
    pub ledger: Arc<Ledger>,
    /// Failed codes.
    pub throttle: Throttle,
    /// Passwords that are good for once.
    pub tickets: Tickets,
    /// Who asks without being known.
    pub strangers: Strangers,
    /// What was decided, for people.
    pub history: History,
    /// Why IronWifi's users are not as they should be, if that is so.
    pub ironwifi: Trouble,
    /// Names of sessions are made of it.
    random: Random,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: Clock,
}

impl Gate {
    /// A gate before these accounts, of which no history is kept.
    #[must_use]
    pub fn new(supply: Arc<Supply>, ledger: Arc<Ledger>, metrics: Arc<Metrics>, clock: Clock) -> Self {
        let supply = RwLock::new(supply);
        let (throttle, tickets) = (Throttle::default(), Tickets::default());
        let (strangers, history) = (Strangers::default(), History::absent());
        let (ironwifi, random) = (Trouble::default(), Random::default());
        Self { supply, ledger, throttle, tickets, strangers, history, ironwifi, random, metrics, clock }
    }

    /// The same gate, of which this history is kept.
    #[must_use]
    pub fn with_history(self, history: History) -> Self {
        Self { history, ..self }
    }

    /// Where tokens come from now. A login keeps to one supply from its beginning to its end.
    #[must_use]
    pub fn supply(&self) -> Arc<Supply> {
        Arc::clone(&self.supply.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes tokens from elsewhere from now on.
    pub fn resupply(&self, supply: Arc<Supply>) {
        *self.supply.write().unwrap_or_else(PoisonError::into_inner) = supply;
    }

    /// Decides, asking the source where memory does not know.
    pub async fn answer(&self, visit: &Visit<'_>, trail: &mut (impl Trail + Default)) -> Answer {
        let (begun, supply) = (self.clock.now().mono, self.supply());
        let mut obtained = Obtained::new();
        // A guess counts from the moment it goes upstream, so that many at once get no further than one after another.
        let mut guess = None;
        let mut races = 0;
        loop {
            *trail = Default::default();
            let now = self.clock.now();
            let claim = match self.decide(visit, &supply, &obtained, now, trail) {
                Ok((answer, written)) => match self.confirmed(written).await {
                    Ok(()) => return self.counts(visit, answer, now),
                    Err(Unwritten::Raced) if races < RACES => {
                        races += 1;
                        continue;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a login could not be written down");
                        trail.note("store", false, || "that somebody is let in could not be written down".to_owned());
                        return self.counts(visit, deny(Reason::SourceUnavailable), now);
                    }
                },
                Err(claim) => claim,
            };
            if guess.is_none() && matches!(visit.question.login.claim, Claim::Code(_)) {
                guess = self.throttle.guess(&visit.who(), visit.limits, self.clock.now().mono);
                if guess.is_none() {
                    trail.note("throttle", false, || "too many codes of this device are being looked up".to_owned());
                    let answer = deny(Reason::Throttled);
                    self.record(visit, &answer, self.clock.now());
                    return answer;
                }
            }
            // However many claims a login needs, it waits for all of them no longer than for one.
            let waited = self.clock.now().mono.saturating_sub(begun);
            let found = supply.catalogue.obtain(&claim, supply.catalogue.patience().saturating_sub(waited)).await;
            obtained.push((claim, found));
        }
    }

    /// Decides on memory alone, at `now`; touches neither disk nor network.
    pub fn step(&self, visit: &Visit<'_>, now: Now, trail: &mut impl Trail) -> Step {
        if self.ledger.is_shared() {
            return Step::Wait;
        }
        match self.decide(visit, &self.supply(), &[], now, trail) {
            Ok((answer, _)) => Step::Decided(self.counts(visit, answer, now)),
            Err(claim) => Step::Ask(claim),
        }
    }

    /// Waits until an admission counts. One of a single daemon's does at once.
    async fn confirmed(&self, written: Written) -> Result<(), Unwritten> {
        if !self.ledger.is_shared() {
            return Ok(());
        }
        written.settled().await
    }

    /// What follows from a decision that counts.
    fn counts(&self, visit: &Visit<'_>, answer: Answer, now: Now) -> Answer {
        if let Decision::Allow(grant) = &answer.decision
            && visit.purpose == Purpose::Admit
            && !visit.question.nas.accounting
        {
            // No start will come that says so.
            self.ledger.moved_on(grant.view.token, &visit.question, now.wall);
        }
        self.record(visit, &answer, now);
        answer
    }

    /// Decides on memory and what was obtained already; the claim that the source must be asked for, if it must.
    fn decide(
        &self,
        visit: &Visit<'_>,
        supply: &Supply,
        obtained: &[(Claim, Found)],
        now: Now,
        trail: &mut impl Trail,
    ) -> Result<Settling, Claim> {
        let login = visit.question.login;
        let is_known = || match visit.who() {
            Who::Device { device: Some(device), .. } => !self.ledger.tokens_of(device).is_empty(),
            Who::Device { device: None, .. } | Who::Browser { .. } => false,
        };
        let throttled = self.throttle.refuses(&visit.who(), is_known, visit.limits, now.mono);
        trail.note("throttle", !throttled, || {
            if throttled { "too many failed codes from this device or NAS" } else { "not too many failed codes" }
                .to_owned()
        });
        if throttled {
            return Ok(denied(Reason::Throttled));
        }
        let known = Known { supply, obtained };
        match &login.claim {
            // Spent, or run out: nobody has such a code.
            Claim::Code(code) if ticket::is_one(code) => Ok(denied(Reason::UnknownCode)),
            Claim::Code(code) => self.by_code(visit, code, known, now, trail),
            Claim::Device(device) => self.by_device(visit, *device, known, now, trail),
        }
    }

    fn by_code(
        &self,
        visit: &Visit<'_>,
        code: &Code,
        known: Known<'_>,
        now: Now,
        trail: &mut impl Trail,
    ) -> Result<Settling, Claim> {
        let found = known.look(&visit.question.login.claim)?;
        let Some(tokens) = known.available(found, trail) else { return Ok(denied(Reason::SourceUnavailable)) };
        match select(&tokens, code, &visit.question, now.wall, trail) {
            Ok(token) => Ok(self.admit(token, visit, now.wall, trail)),
            // One of the same code may be valid here that is not held.
            Err(Reason::WrongLocation) if known.may_lack(&visit.question.login.claim) => {
                Err(visit.question.login.claim.clone())
            }
            Err(reason) => Ok(denied(reason)),
        }
    }

    /// MAC login: of the device's tokens the first that would be allowed, most recently used first. Those whose code it
    /// logged in with before are tried before the source is asked which records name it: they were used, the others may
    /// never have been.
    fn by_device(
        &self,
        visit: &Visit<'_>,
        device: Mac,
        known: Known<'_>,
        now: Now,
        trail: &mut impl Trail,
    ) -> Result<Settling, Claim> {
        let mac_login = visit.question.policy.mac_login;
        let (mut tokens, mut unavailable) = (Vec::new(), false);
        if mac_login == MacLogin::Remember {
            for before in &self.ledger.remembered(device) {
                // It is this very token that counts: a whole copy of everything says all about it, and nobody else is asked.
                match known.supply.catalogue.certain(before.token) {
                    Some(Standing::Held(token)) => {
                        tokens.extend(Some(token).filter(|token| token.code.key() == before.code.key()));
                        continue;
                    }
                    Some(Standing::Gone) => continue,
                    None => {}
                }
                match known.look(&Claim::Code(before.code.clone()))? {
                    Found::Tokens(found) => {
                        tokens.extend(found.iter().filter(|token| token.id == before.token).cloned());
                    }
                    Found::Unavailable => unavailable = true,
                }
            }
        }
        if let Some(answer) = self.first_allowed(&mut tokens, visit, now, trail) {
            return Ok(answer);
        }
        if mac_login != MacLogin::Off {
            match known.look(&Claim::Device(device))? {
                Found::Tokens(found) => {
                    let named = found.iter().filter(|token| token.devices.contains(&device));
                    let new = named.filter(|token| tokens.iter().all(|known: &Arc<AccessToken>| known.id != token.id));
                    let new: Vec<_> = new.cloned().collect();
                    tokens.extend(new);
                }
                Found::Unavailable => unavailable = true,
            }
        }
        if let Some(answer) = self.first_allowed(&mut tokens, visit, now, trail) {
            return Ok(answer);
        }
        if let Some(token) = tokens.first() {
            let decision = self.ledger.judge(token, &visit.question, now.wall, trail);
            return Ok((Answer { decision, session: None }, Written::Already));
        }
        trail.note("device", false, || "no token is known for this device".to_owned());
        Ok(denied(if unavailable { Reason::SourceUnavailable } else { Reason::UnknownDevice }))
    }

    /// Sorts the tokens, most recently used first, and admits on the first that allows it.
    fn first_allowed(
        &self,
        tokens: &mut [Arc<AccessToken>],
        visit: &Visit<'_>,
        now: Now,
        trail: &mut impl Trail,
    ) -> Option<Settling> {
        tokens.sort_by_cached_key(|token| std::cmp::Reverse(self.ledger.last_used(token.id)));
        let allows = |token: &&Arc<AccessToken>| {
            matches!(self.ledger.judge(token, &visit.question, now.wall, &mut ()), Decision::Allow(_))
        };
        // Between judging and admitting another login may have taken the place; then the next token is tried.
        let mut answers = tokens.iter().filter(allows).map(|token| self.admit(token, visit, now.wall, trail));
        answers.find(|(answer, _)| matches!(answer.decision, Decision::Allow(_)))
    }

    /// The login with the code that its ticket stands for, if it holds one at `now` (monotonic).
    #[must_use]
    pub fn redeemed<'a>(&self, login: Login<'a>, nas: &NasName, now: Duration) -> Login<'a> {
        match self.tickets.redeem(&login, nas, now) {
            Some(code) => Login { claim: Claim::Code(code), proof: Proof::NotAsked, ..login },
            None => login,
        }
    }

    /// An id that cannot be guessed. Should the system have no randomness to give, the time alone makes it unique.
    fn new_session(&self, now: Timestamp) -> SessionId {
        let of_time = || now.as_nanosecond().to_le_bytes().first_chunk().copied().unwrap_or_default();
        SessionId::new(now, self.random.octets().unwrap_or_else(of_time))
    }

    /// Takes news of a session in, at `now`.
    pub fn account(&self, visit: &Visit<'_>, progress: &Progress, now: Timestamp) -> Accounted {
        let question = &visit.question;
        let report = |token, progress: &Progress| self.ledger.report(token, question, progress, now);
        let ours = progress.session.map(|(_, token)| token);
        if let Some(reported) = ours.and_then(|token| report(token, progress)) {
            return self.accounted(ours, "recorded", reported, visit, progress, now);
        }
        let claim = &question.login.claim;
        let at_hand = match self.supply().catalogue.find(claim) {
            Find::Here(tokens) | Find::Ask { stale: Some(tokens) } => tokens,
            Find::Ask { stale: None } | Find::Nothing => Tokens::default(),
        };
        let of_device = question.login.device.map(|device| self.ledger.tokens_of(device)).unwrap_or_default();
        let tokens = at_hand.iter().map(|token| token.id).chain(of_device);
        for token in tokens {
            if let Some(reported) = report(token, progress) {
                return self.accounted(Some(token), "recorded", reported, visit, progress, now);
            }
        }
        // Where accounts are not written down, it may be one that another daemon, or this one later, knows.
        let unknown = || Accounted {
            result: "unknown_session",
            written: self.ledger.nothing_written(progress.session.map(|(id, _)| id), now),
        };
        // Its start was lost, or our memory of it. It counts all the same, if its token is at hand.
        let Claim::Code(code) = claim else { return unknown() };
        let Ok(token) = select(&at_hand, code, question, now, &mut ()) else { return unknown() };
        // A name of ours that another device's session has is not this one's.
        let ours = progress.session.filter(|(id, of)| !self.ledger.knows(*of, *id)).map(|(id, _)| id);
        // One that ended so long ago that its account has forgotten it has been counted.
        if ours.is_some_and(|id| self.ledger.has_ended(id)) {
            return Accounted { result: "late", written: Written::Already };
        }
        let began = progress.report.at.saturating_sub(Duration::from_secs(progress.report.seconds.0)).unwrap_or(now);
        let id = ours.unwrap_or_else(|| self.new_session(began).met());
        let session = question.session(id, token, began);
        let progress = &Progress { session: ours.map(|id| (id, token.id)), ..*progress };
        let reported = self.ledger.find(token, question, session, progress, now);
        self.accounted(Some(token.id), "found", reported, visit, progress, now)
    }

    fn accounted(
        &self,
        token: Option<TokenId>,
        result: &'static str,
        reported: Reported,
        visit: &Visit<'_>,
        progress: &Progress,
        now: Timestamp,
    ) -> Accounted {
        if let Some(session) = &reported.proven {
            self.metrics.disconnect(session.contact.nas.as_str(), "proven");
            tracing::info!(nas = %session.contact.nas, session = %session.id, "disconnected: its Stop has come");
        }
        if let (News::Start, Some(token)) = (progress.news, token) {
            self.ledger.moved_on(token, &visit.question, now);
        }
        Accounted { result, written: reported.written }
    }

    /// Tokens changed at their source: so does what their running sessions may.
    pub fn revise(&self, changes: Changes, live: &Live) {
        let (catalogue, now) = (&self.supply().catalogue, self.clock.now().wall);
        let tokens = match changes {
            Changes::Tokens(tokens) => tokens.into_iter().collect(),
            Changes::All => self.ledger.concerned(&live.settings.policy, now),
        };
        for id in tokens {
            match catalogue.standing(id) {
                Some(Standing::Held(token)) => self.revise_one(id, Some(&token), live),
                Some(Standing::Gone) => self.revise_one(id, None, live),
                // It bears on its sessions with the next login on it.
                None => {}
            }
        }
    }

    /// So does this one, by which `None` is one that is gone.
    pub fn revise_one(&self, id: TokenId, token: Option<&AccessToken>, live: &Live) {
        let serves = |nas: &NasName, token: &AccessToken| {
            // Of a NAS that is configured no more nobody can say it.
            live.nas(nas.as_str()).is_none_or(|rules| rules.serves(token.business))
        };
        let _ = self.ledger.revise(id, token, serves, &live.settings.policy, self.clock.now().wall);
    }

    /// The router at `address` began anew at `since`: its sessions are over, as far as was reported. None: its address was not said.
    pub fn restarted(&self, nas: &NasName, address: Option<IpAddr>, since: Timestamp, policy: &Policy) -> Accounted {
        let (closed, written) = self.ledger.restarted(nas, address, since, policy, self.clock.now().wall);
        let address = address.map(tracing::field::display);
        tracing::info!(%nas, address, closed, "the router began anew");
        Accounted { result: "restart", written }
    }

    fn admit(&self, token: &AccessToken, visit: &Visit<'_>, now: Timestamp, trail: &mut impl Trail) -> Settling {
        let mut question = visit.question;
        let policy;
        if self.ledger.is_away() {
            // What it costs that others let somebody in meanwhile has a bound.
            let longest = Seconds(visit.away_session.as_secs());
            trail.note("store", longest > Seconds::ZERO, || {
                format!("the database is away: sessions of at most {} s", longest.0)
            });
            if longest == Seconds::ZERO {
                return denied(Reason::SourceUnavailable);
            }
            policy = Policy { max_session: longest.min(question.policy.max_session), ..question.policy.clone() };
            question.policy = &policy;
        }
        if visit.purpose != Purpose::Admit {
            let decision = self.ledger.judge(token, &question, now, trail);
            return (Answer { decision, session: None }, Written::Already);
        }
        let id = self.new_session(now).let_in();
        let (decision, written) = self.ledger.admit(token, &question, id, now, trail);
        let session = match &decision {
            Decision::Allow(grant) => Some(grant.renews.unwrap_or(id)),
            Decision::Deny(_) => None,
        };
        (Answer { decision, session }, written)
    }

    /// Notes a request of this router that holds no code or MAC that can be read.
    pub fn malformed(&self, via: Via, nas: &NasName) {
        self.metrics.malformed(via);
        self.history.note(Decided {
            at: self.clock.now().wall,
            via,
            nas: nas.clone(),
            mac: None,
            code: None,
            token: None,
            reason: Some(Reason::Malformed),
            session_timeout: None,
            session: None,
        });
    }

    fn record(&self, visit: &Visit<'_>, answer: &Answer, now: Now) {
        if visit.purpose == Purpose::Explain {
            return;
        }
        let login = visit.question.login;
        let nas = &visit.question.nas.name;
        self.metrics.decided(visit.via, &answer.decision, self.clock.now().mono.saturating_sub(visit.received));
        if self.history.is_kept() {
            self.history.note(decided(visit, answer, now.wall));
        }
        let via = visit.via.as_str();
        match &answer.decision {
            Decision::Allow(grant) => {
                tracing::info!(
                    via,
                    %nas,
                    mac = login.device.map(tracing::field::display),
                    token = %grant.view.token,
                    session_timeout = grant.session_timeout.0,
                    session = answer.session.map(tracing::field::display),
                    "allow"
                );
            }
            Decision::Deny(denial) => {
                let reason = denial.reason;
                tracing::info!(
                    via,
                    %nas,
                    mac = login.device.map(tracing::field::display),
                    token = denial.view.as_ref().map(|view| tracing::field::display(view.token)),
                    %reason,
                    "deny"
                );
                let guessed = matches!(&login.claim, Claim::Code(code) if !ticket::is_one(code))
                    && matches!(reason, Reason::UnknownCode | Reason::WrongPassword);
                if guessed {
                    self.throttle.failed(&visit.who(), visit.limits, now.mono);
                }
            }
        }
    }
}

/// What is known of tokens while one login is decided.
#[derive(Clone, Copy)]
struct Known<'k> {
    supply: &'k Supply,
    obtained: &'k [(Claim, Found)],
}

impl Known<'_> {
    /// What memory, or the source just now, says of a claim; `Err` if the source must be asked first.
    fn look(&self, claim: &Claim) -> Result<Found, Claim> {
        if let Some((_, found)) = self.obtained.iter().find(|(asked, _)| asked == claim) {
            return Ok(found.clone());
        }
        match self.supply.catalogue.find(claim) {
            Find::Here(tokens) => Ok(Found::Tokens(tokens)),
            Find::Nothing => Ok(Found::Unavailable),
            Find::Ask { .. } => Err(claim.clone()),
        }
    }

    /// Whether the source was not asked for this claim yet, and may know more of it than memory.
    fn may_lack(&self, claim: &Claim) -> bool {
        self.supply.catalogue.may_lack() && self.obtained.iter().all(|(asked, _)| asked != claim)
    }

    fn available(&self, found: Found, trail: &mut impl Trail) -> Option<Tokens> {
        match found {
            Found::Tokens(tokens) => {
                trail.note("source", true, || "a copy that may be used is at hand".to_owned());
                Some(tokens)
            }
            Found::Unavailable => {
                trail.note("source", false, || match self.supply.health.last() {
                    Some(Err(error)) => error.to_string(),
                    _ => "no copy that may be used, and the source does not answer".to_owned(),
                });
                None
            }
        }
    }
}

/// What people see of a decision afterwards.
fn decided(visit: &Visit<'_>, answer: &Answer, at: Timestamp) -> Decided {
    let (login, nas) = (visit.question.login, &visit.question.nas.name);
    let (view, reason, session_timeout) = match &answer.decision {
        Decision::Allow(grant) => (Some(&grant.view), None, Some(grant.session_timeout.0)),
        Decision::Deny(denial) => (denial.view.as_ref(), Some(denial.reason), None),
    };
    let code = match &login.claim {
        // Nobody has typed it.
        Claim::Code(code) if ticket::is_one(code) => None,
        Claim::Code(code) => Some(code),
        Claim::Device(_) => view.map(|view| &view.code),
    };
    Decided {
        at,
        via: visit.via,
        nas: nas.clone(),
        mac: login.device,
        code: code.cloned(),
        token: view.map(|view| view.token),
        reason,
        session_timeout,
        session: answer.session,
    }
}

const fn deny(reason: Reason) -> Answer {
    Answer { decision: Decision::Deny(Denial { reason, view: None }), session: None }
}

const fn denied(reason: Reason) -> Settling {
    (deny(reason), Written::Already)
}
