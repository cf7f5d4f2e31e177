//! Calls of the Nexudus API: signed in, under the ceiling, with pauses after failures, and within a deadline.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{RequestBuilder, StatusCode};

use super::answer::{Fault, date, judge, refuses_the_record};
use super::back_off::Pauses;
use super::call_log::CallLog;
use super::ceiling::{Ceiling, Share, Ticket, WINDOW};
use super::sign_in::{Authorization, Grant, Outcome, SignIn, Step, new_client_id};
use super::skew::Skew;
use super::wire::{self, NotAList};
use super::{Observer, Saved};
use crate::calls::{self, Answer};
use crate::clock::{Clock, Now, RELEASED};
use crate::config;
use crate::core::ident::TokenId;
use crate::source::Error;
use crate::source::alarm::{Alarm, Role};
use crate::telemetry::log::Brake;

/// The largest list that is read, in bytes.
const LIST_BYTES: usize = 16 << 20;

/// The largest answer of any other kind that is read, in bytes.
const SINGLE_BYTES: usize = 1 << 20;

/// How often a line about one odd record is logged, and about how many that is remembered.
const LINE_EVERY: Duration = Duration::from_secs(60);
const LINES_KEPT: usize = 256;

/// How long a call waits for being written down.
const NOTED_WITHIN: Duration = Duration::from_millis(250);

/// Attempts in one look-up, over all its calls.
const ATTEMPTS: u32 = 3;

/// The Nexudus API.
pub struct Nexudus {
    pub(crate) config: config::Nexudus,
    clock: Clock,
    http: reqwest::Client,
    sign_in: Mutex<SignIn>,
    /// Held while signing in, so that callers share one sign-in.
    signing_in: tokio::sync::Mutex<()>,
    ceiling: Arc<Mutex<Ceiling>>,
    pauses: Arc<Mutex<Pauses>>,
    /// What a restart finds of the calls; none: nothing.
    call_log: Option<Arc<CallLog>>,
    skew: Mutex<Skew>,
    on_save: Box<dyn Fn(&Saved) + Send + Sync>,
    observer: Box<dyn Observer>,
    /// Lines about one odd record.
    brake: Brake<Option<TokenId>>,
}

/// What is called, as metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    SignIn,
    List,
    Get,
    Update,
}

impl Operation {
    const fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::List => "list",
            Self::Get => "get",
            Self::Update => "update",
        }
    }

    /// The role that it needs. Signing in is for lists, above all.
    const fn role(self) -> Role {
        match self {
            Self::SignIn | Self::List => Role::List,
            Self::Get => Role::Read,
            Self::Update => Role::Edit,
        }
    }

    const fn limit(self) -> usize {
        match self {
            Self::List => LIST_BYTES,
            Self::SignIn | Self::Get | Self::Update => SINGLE_BYTES,
        }
    }
}

/// What one look-up, or another piece of work, may still spend.
#[derive(Debug)]
pub(crate) struct Effort {
    share: Share,
    /// Monotonic.
    deadline: Duration,
    /// How long it may take in all.
    allowed: Duration,
    failures: u32,
    /// When nothing is sent any more (monotonic).
    until: Duration,
    /// Whether anything was sent.
    sent: bool,
    /// Whether a write may have been taken although it failed.
    uncertain: bool,
    /// Whether its failures are its own: nobody else waits because of them.
    alone: bool,
    /// Waited so far; bounds the waits even where the clock stands still.
    waited: Duration,
}

/// What Nexudus said.
#[derive(Clone)]
pub(crate) struct Heard {
    /// The body.
    pub(crate) text: String,
    /// When, by its own clock (`Date`).
    pub(crate) date: Option<Timestamp>,
}

/// What became of a write that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrote {
    /// There is no such record, says Nexudus.
    NoRecord,
    /// It is refused for what the record holds.
    Refused(Refusal),
    /// It was taken.
    Taken,
}

/// Why a record is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// In words without secrets.
    pub(crate) what: String,
    /// Whether it was surely not taken. With a success that reports a failure nobody knows.
    pub(crate) certain: bool,
}

impl Refusal {
    fn of(answer: &Answer, certain: bool) -> Self {
        let status = answer.status.as_u16();
        let fields = wire::refused_fields(wire::as_text(&answer.body).unwrap_or_default());
        let because = if fields.is_empty() { String::new() } else { format!(", because of {}", fields.join(", ")) };
        let way = if certain { "answers with" } else { "reports a failure with" };
        Self { what: format!("it {way} status {status}{because}"), certain }
    }
}

/// What a good answer says.
enum Said {
    Heard(Heard),
    /// There is no such record.
    Nothing,
    Refused(Refusal),
}

fn text(answer: &Answer) -> Result<&str, Fault> {
    wire::as_text(&answer.body)
        .ok_or_else(|| Fault::Broken { what: "Nexudus answered with bytes that are no text".to_owned() })
}

/// A call's place under the ceiling, given back when it ends in whatever way.
struct Place<'a> {
    nexudus: &'a Nexudus,
    ticket: Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let now = self.nexudus.clock.now().mono;
        locked(&self.nexudus.ceiling).leave(self.ticket, now);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Nexudus {
    /// Prepares calls; makes none. `on_save` is handed what must be kept over a restart whenever it changes, and what
    /// it was handed last comes back as `saved`.
    ///
    /// rustls' default provider must have been installed.
    pub fn new(
        config: &config::Nexudus,
        clock: Clock,
        saved: Option<Saved>,
        on_save: Box<dyn Fn(&Saved) + Send + Sync>,
        observer: Box<dyn Observer>,
    ) -> Result<Self, Error> {
        let client_id = new_client_id().map_err(|error| Error::Retry {
            what: format!("this machine gives no random numbers: {error}"),
            after: None,
        })?;
        let refused = |what: String| Error::Refused {
            alarm: Alarm::WrongAddress,
            what,
            remedy: "correct source.nexudus.base_url, or install the CA certificates of this system".to_owned(),
        };
        let http = calls::client(&config.base_url, clock.real(config.request_timeout));
        let http = http.map_err(|why| refused(format!("source.nexudus.base_url: {why}")))?;
        Ok(Self {
            config: config.clone(),
            clock,
            http,
            sign_in: Mutex::new(SignIn::new(config, saved, client_id)),
            signing_in: tokio::sync::Mutex::new(()),
            ceiling: Arc::new(Mutex::new(Ceiling::new(config.requests_per_minute))),
            pauses: Arc::default(),
            call_log: None,
            skew: Mutex::default(),
            on_save,
            observer,
            brake: Brake::new(LINE_EVERY, LINES_KEPT),
        })
    }

    /// Keeps to the calls that `former` made, and to its pause, where it called the same account.
    #[must_use]
    pub fn after(mut self, former: &Self) -> Self {
        if self.config.base_url == former.config.base_url && self.config.username == former.config.username {
            locked(&former.ceiling).allow(self.config.requests_per_minute);
            (self.ceiling, self.pauses) = (Arc::clone(&former.ceiling), Arc::clone(&former.pauses));
            self.call_log = former.call_log.clone();
        }
        self
    }

    /// Writes its calls down under `folder`, and counts those that a former process wrote down. It blocks.
    #[must_use]
    pub fn noting_calls(mut self, folder: &Path) -> Self {
        let now = self.clock.now().mono;
        let per_minute = usize::try_from(self.config.requests_per_minute).unwrap_or(usize::MAX);
        let longest = self.config.request_timeout + WINDOW;
        let former = match CallLog::open(folder, &self.clock, per_minute, longest) {
            Ok((log, former)) => {
                self.call_log = Some(Arc::new(log));
                former
            }
            Err(error) => {
                tracing::warn!(%error, "which calls of Nexudus were made before a restart is not known");
                Vec::new()
            }
        };
        let ceiling = Ceiling::new(self.config.requests_per_minute).with_former(former, now);
        self.ceiling = Arc::new(Mutex::new(ceiling));
        self
    }

    /// Signs in if need be, so that the first guest does not wait for it and trouble is known before. With
    /// `auth = "basic"` there is nothing to do.
    pub async fn signed_in(&self) -> Result<(), Error> {
        let mut effort = self.effort(Share::Whole);
        self.authorization(Operation::SignIn.role(), &mut effort).await.map(drop)
    }

    /// What a look-up may spend: twice the deadline of one call.
    pub(super) fn effort(&self, share: Share) -> Effort {
        self.effort_within(share, self.config.request_timeout.saturating_mul(2))
    }

    /// What one call may spend that is made now or not at all, and not after `until` (monotonic), whatever comes between.
    pub(crate) fn at_once(&self, share: Share, until: Duration) -> Effort {
        let deadline = self.now().mono.saturating_add(self.config.request_timeout);
        Effort {
            share,
            deadline,
            allowed: until.saturating_sub(self.now().mono),
            failures: ATTEMPTS,
            until,
            sent: false,
            uncertain: false,
            alone: true,
            waited: Duration::ZERO,
        }
    }

    /// What one call may spend that is made once, and after whose failure nobody else waits: one about one record, or one of
    /// the mirror or the writing back, which have pauses of their own.
    pub(crate) fn effort_alone(&self, share: Share, allowed: Duration) -> Effort {
        Effort { failures: ATTEMPTS - 1, alone: true, ..self.effort_within(share, allowed) }
    }

    /// What work may spend that takes so long at most.
    pub(crate) fn effort_within(&self, share: Share, allowed: Duration) -> Effort {
        let deadline = self.now().mono.saturating_add(allowed);
        Effort {
            share,
            deadline,
            allowed,
            failures: 0,
            until: Duration::MAX,
            sent: false,
            uncertain: false,
            alone: false,
            waited: Duration::ZERO,
        }
    }

    /// Counts a record that is odd, and says so once in a while.
    pub(crate) fn odd(&self, id: Option<TokenId>, what: &str) {
        self.observer.malformed_record();
        if let Some(held) = self.brake.pass(&id, self.now().mono) {
            tracing::warn!(token = id.map(|id| id.0), held, "an odd access token: {what}");
        }
    }

    pub(super) fn now(&self) -> Now {
        self.clock.now()
    }

    /// `GET` of a list; its text, which `wire::List` can read.
    pub(crate) async fn list(&self, query: &[(&str, &str)], effort: &mut Effort) -> Result<Heard, Error> {
        let request = |url: &str| self.http.get(url).query(query);
        match self.call(Operation::List, "", request, effort).await? {
            Said::Heard(heard) => Ok(heard),
            // Only a single record can be missing, or refused.
            Said::Nothing | Said::Refused(_) => {
                Err(Error::Retry { what: "Nexudus knows no list".to_owned(), after: None })
            }
        }
    }

    /// `GET` of a single record; its text, or none if there is no such record.
    pub(crate) async fn get(&self, id: TokenId, effort: &mut Effort) -> Result<Option<String>, Error> {
        match self.call(Operation::Get, &format!("/{id}"), |url| self.http.get(url), effort).await? {
            Said::Heard(heard) => Ok(Some(heard.text)),
            Said::Nothing | Said::Refused(_) => Ok(None),
        }
    }

    /// `PUT` of a whole record. After an error nobody knows whether it was taken, and a look tells; it is not sent twice
    /// but where the first was surely not taken.
    pub(crate) async fn update(&self, record: &str, effort: &mut Effort) -> Result<Wrote, Error> {
        let request = |url: &str| self.http.put(url).header(CONTENT_TYPE, "application/json").body(record.to_owned());
        Ok(match self.call(Operation::Update, "", request, effort).await? {
            Said::Heard(_) => Wrote::Taken,
            Said::Nothing => Wrote::NoRecord,
            Said::Refused(refusal) => Wrote::Refused(refusal),
        })
    }

    async fn call(
        &self,
        operation: Operation,
        path: &str,
        request: impl Fn(&str) -> RequestBuilder,
        effort: &mut Effort,
    ) -> Result<Said, Error> {
        let url = format!("{}/api/spaces/accesstokens{path}", self.config.base_url);
        let mut signed_in_anew = false;
        loop {
            let authorization = self.authorization(operation.role(), effort).await?;
            let request = || {
                let header = authorization.header.clone();
                request(&url).header(AUTHORIZATION, header).header(ACCEPT, "application/json")
            };
            let sent = self.now().mono;
            let answered = self.send(operation, request, effort).await;
            match answered.and_then(|answer| self.read(operation, &answer)) {
                Ok(said) => {
                    if let Said::Heard(heard) = &said {
                        self.compare_clocks(heard.date, sent);
                    }
                    locked(&self.sign_in).accepted(operation.role(), self.now());
                    locked(&self.pauses).succeeded(operation == Operation::Update);
                    self.observer.answered(operation.as_str(), Ok(()));
                    return Ok(said);
                }
                Err(Fault::Unauthorized) => {
                    let now = self.now();
                    let rejected =
                        locked(&self.sign_in).rejected(&authorization, signed_in_anew, operation.role(), now);
                    rejected.inspect_err(|error| self.down(operation, error))?;
                    signed_in_anew = true;
                }
                Err(fault @ Fault::Broken { .. }) if operation == Operation::Update => {
                    effort.failures = ATTEMPTS;
                    effort.uncertain = true;
                    self.pause_after(operation, fault, sent, effort)?;
                }
                Err(fault) => {
                    if let Fault::Final(error) = &fault {
                        locked(&self.sign_in).failed_for_good(error, self.now());
                    }
                    self.pause_after(operation, fault, sent, effort)?;
                }
            }
        }
    }

    /// Corrects the clock if the dates of answers say so; `sent` is when this one was asked for (monotonic).
    fn compare_clocks(&self, date: Option<Timestamp>, sent: Duration) {
        let Some(date) = date else { return };
        let (now, took) = (self.clock.uncorrected(), self.now().mono.saturating_sub(sent));
        // A date is cut to the second, and was written about half the way back.
        let then = now.wall.saturating_sub(took / 2).unwrap_or(now.wall);
        let ahead = date.duration_since(then).saturating_add(SignedDuration::from_millis(500));
        let verdict = locked(&self.skew).note(ahead, took, now.wall < RELEASED);
        let Some(by) = verdict else { return };
        let known = self.clock.correction();
        match (known, by) {
            (None, None) => return,
            (Some(known), Some(by)) if (known - by).abs() <= SignedDuration::from_secs(10) => return,
            (_, Some(by)) => tracing::error!(
                off_s = by.as_secs(),
                "this machine's clock is off by so much: tokens are judged by Nexudus' time until it is set \
                 (timedatectl set-ntp true)"
            ),
            (Some(_), None) => tracing::info!("this machine's clock is right again"),
        }
        self.clock.correct(by);
    }

    /// What a good answer says.
    fn read(&self, operation: Operation, answer: &Answer) -> Result<Said, Fault> {
        if matches!(operation, Operation::Get | Operation::Update) && answer.status == StatusCode::NOT_FOUND {
            // "Not found" as a JSON string, or nothing; a web page that is not there at all is something else.
            let text = text(answer)?;
            if text.trim().is_empty() || serde_json::from_str::<serde_json::Value>(text).is_ok() {
                return Ok(Said::Nothing);
            }
            return Err(Fault::Broken { what: "Nexudus answered with status 404 and no word of its own".to_owned() });
        }
        if operation == Operation::Update && refuses_the_record(answer.status) {
            return Ok(Said::Refused(Refusal::of(answer, true)));
        }
        judge(answer.status, &answer.headers, operation.role(), self.now().wall)?;
        let text = text(answer)?;
        let checked = match operation {
            Operation::List => wire::List::parse(text).map(drop),
            Operation::Get | Operation::Update | Operation::SignIn => wire::reported_failure(text),
        };
        match checked {
            Ok(()) => Ok(Said::Heard(Heard { text: text.to_owned(), date: date(&answer.headers) })),
            Err(NotAList::Failure) if operation == Operation::Update => Ok(Said::Refused(Refusal::of(answer, false))),
            Err(NotAList::Json { .. }) if text.trim_start().starts_with('<') => {
                Err(Fault::Broken { what: "Nexudus answered with a web page instead of JSON".to_owned() })
            }
            Err(error) => Err(Fault::Broken { what: format!("the answer of Nexudus makes no sense: {error}") }),
        }
    }

    /// What to call with, signing in first where needed.
    async fn authorization(&self, role: Role, effort: &mut Effort) -> Result<Authorization, Error> {
        if let Step::Call(authorization) = locked(&self.sign_in).step(role, self.now()) {
            return Ok(authorization);
        }
        let left = effort.left(self.now().mono);
        let Ok(_turn) = tokio::time::timeout(self.clock.real(left), self.signing_in.lock()).await else {
            return Err(Error::Retry { what: "Nexudus takes long to sign in".to_owned(), after: None });
        };
        loop {
            let step = locked(&self.sign_in).step(role, self.now());
            match step {
                Step::Call(authorization) => return Ok(authorization),
                Step::Refused(error) => return Err(error),
                Step::SignIn(grant) => self.sign_in(grant, effort).await?,
            }
        }
    }

    /// One sign-in, or a pause after one that failed for no fault of ours.
    async fn sign_in(&self, grant: Grant, effort: &mut Effort) -> Result<(), Error> {
        let form = locked(&self.sign_in).form(grant, self.now());
        let form = form.inspect_err(|error| self.down(Operation::SignIn, error))?;
        let client_id = locked(&self.sign_in).saved().client_id.clone();
        let url = format!("{}/api/token", self.config.base_url);
        let request =
            || self.http.post(&url).header("client_id", &client_id).header(ACCEPT, "application/json").form(&form);
        let sent = self.now().mono;
        let answer = match self.send(Operation::SignIn, request, effort).await {
            Ok(answer) => answer,
            Err(fault) => return self.pause_after(Operation::SignIn, fault, sent, effort),
        };
        match judge(answer.status, &answer.headers, Operation::SignIn.role(), self.now().wall) {
            // A refusal (400, 401) is for the state to understand, a wrong address too.
            Ok(()) | Err(Fault::Unauthorized) => {}
            Err(Fault::Final(_)) if answer.status.is_client_error() => {}
            Err(Fault::Final(error)) => {
                // Whoever redirects was sent the password, and would be with every code that is typed.
                locked(&self.sign_in).refused(error.clone(), self.now());
                self.down(Operation::SignIn, &error);
                return Err(error);
            }
            Err(fault) => return self.pause_after(Operation::SignIn, fault, sent, effort),
        }
        let body = wire::as_text(&answer.body).unwrap_or_default();
        let (outcome, saved) = {
            let mut sign_in = locked(&self.sign_in);
            let outcome = sign_in.answered(grant, answer.status.is_success(), body, self.now());
            (outcome, sign_in.saved().clone())
        };
        tracing::debug!(
            ?grant,
            ok = matches!(outcome, Outcome::Go) && answer.status.is_success(),
            "signed in to Nexudus"
        );
        match outcome {
            Outcome::Go => {
                (self.on_save)(&saved);
                if answer.status.is_success() {
                    self.observer.signed_in();
                }
                Ok(())
            }
            Outcome::Refused(error) => {
                self.down(Operation::SignIn, &error);
                Err(error)
            }
            Outcome::Nonsense => {
                let what = "the answer of Nexudus to the sign-in makes no sense".to_owned();
                self.pause_after(Operation::SignIn, Fault::Broken { what }, sent, effort)
            }
        }
    }

    /// Sends one request when the pause is over and the ceiling has room, and reads its answer.
    async fn send(
        &self,
        operation: Operation,
        request: impl Fn() -> RequestBuilder,
        effort: &mut Effort,
    ) -> Result<Answer, Fault> {
        let place = self.enter(operation, effort).await.map_err(Fault::Held)?;
        self.note_call().await;
        effort.sent = true;
        let left = effort.left(self.now().mono).min(self.config.request_timeout);
        let exchanged = calls::exchange(request().timeout(self.clock.real(left)), operation.limit(), "Nexudus").await;
        drop(place);
        let status = match &exchanged {
            Ok(answer) => answer.status.as_str().to_owned(),
            Err((status, _)) => (*status).to_owned(),
        };
        self.observer.request(operation.as_str(), &status);
        tracing::debug!(operation = operation.as_str(), status, "asked Nexudus");
        exchanged.map_err(|(_, what)| Fault::Broken { what })
    }

    /// Writes down what counts under the ceiling, the call that is about to be made among it.
    async fn note_call(&self) {
        let Some((log, place)) = self.call_log.clone().and_then(|log| Some((log.clone(), log.place()?))) else {
            return;
        };
        let (ceiling, at_most) = (Arc::clone(&self.ceiling), self.config.request_timeout);
        let noting = tokio::task::spawn_blocking(move || {
            let _place = place;
            if let Err(error) = log.note(&ceiling, at_most) {
                tracing::debug!(%error, "a call of Nexudus could not be written down");
            }
        });
        // A disk that hangs keeps no guest from going online.
        let _ = tokio::time::timeout(NOTED_WITHIN, noting).await;
    }

    /// How long nothing may be written, because Nexudus asked for that.
    pub(crate) fn writes_pause(&self) -> Duration {
        locked(&self.pauses).wait(true, self.now().mono)
    }

    /// Waits for the pause and for the ceiling, as long as the look-up may.
    async fn enter(&self, operation: Operation, effort: &mut Effort) -> Result<Place<'_>, Error> {
        // Everybody waits for a sign-in, so it is nobody's share.
        let share = if operation == Operation::SignIn { Share::Whole } else { effort.share };
        loop {
            let now = self.now().mono;
            if now > effort.until {
                return Err(Error::Retry { what: "it is too late for this call".to_owned(), after: None });
            }
            let (wait, what) = match locked(&self.pauses).wait(operation == Operation::Update, now) {
                Duration::ZERO => match locked(&self.ceiling).enter(share, now) {
                    Ok(ticket) => return Ok(Place { nexudus: self, ticket }),
                    Err(wait) => (wait, "source.nexudus.requests_per_minute is used up"),
                },
                wait => (wait, "Nexudus failed a moment ago and is left alone"),
            };
            if now + wait >= effort.deadline || effort.waited + wait > effort.allowed {
                return Err(Error::Retry { what: what.to_owned(), after: Some(wait) });
            }
            effort.waited += wait;
            self.clock.sleep(wait).await;
        }
    }

    /// Notes a failed call that was sent at `sent`. `Ok`: the look-up may try again.
    fn pause_after(
        &self,
        operation: Operation,
        fault: Fault,
        sent: Duration,
        effort: &mut Effort,
    ) -> Result<(), Error> {
        let (what, asked) = match fault {
            Fault::Held(error) => return Err(error),
            Fault::Final(error) => {
                self.down(operation, &error);
                return Err(error);
            }
            Fault::Broken { what } if effort.alone && operation != Operation::SignIn => {
                let error = Error::Retry { what, after: None };
                if operation == Operation::List {
                    self.down(operation, &error);
                }
                return Err(error);
            }
            Fault::Broken { what } => (what, None),
            Fault::Throttled { asked } => ("Nexudus asks for a pause".to_owned(), asked),
            Fault::Unauthorized => ("Nexudus does not accept the sign-in".to_owned(), None),
        };
        let now = self.now().mono;
        let after = {
            let (mut pauses, writes) = (locked(&self.pauses), operation == Operation::Update);
            pauses.failed(writes, sent, now, asked, getrandom::u32().unwrap_or_default());
            pauses.wait(writes, now)
        };
        effort.failures += 1;
        let error = Error::Retry { what, after: Some(after) };
        self.down(operation, &error);
        if effort.failures >= ATTEMPTS || now + after >= effort.deadline { Err(error) } else { Ok(()) }
    }

    /// A call failed, and not by our own ceiling or pause.
    fn down(&self, operation: Operation, error: &Error) {
        tracing::debug!(%error, "a call of Nexudus failed");
        self.observer.answered(operation.as_str(), Err(error));
    }
}

impl Effort {
    /// Whether anything was sent. If not, what failed says nothing about Nexudus.
    pub(crate) const fn is_sent(&self) -> bool {
        self.sent
    }

    /// Whether a write may have been taken although it failed.
    pub(crate) const fn is_uncertain(&self) -> bool {
        self.uncertain
    }

    /// Time left; never nothing, so that a time-out is a time-out.
    fn left(&self, now: Duration) -> Duration {
        self.deadline.saturating_sub(now).max(Duration::from_millis(1))
    }
}
