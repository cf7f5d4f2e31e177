//! `GET /v1/sessions`, `GET` and `DELETE /v1/sessions/{id}`: who is online, and telling a router to end it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::core::ending::{Cause, Ending, Told};
use crate::core::ident::SessionId;
use crate::http::fields::Named;
use crate::http::keys::Caller;
use crate::http::problem::Problem;
use crate::http::routes::App;
use crate::ledger::Found;

/// The answer of `GET /v1/sessions`.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionsAnswer {
    /// Live sessions, oldest first.
    pub sessions: Vec<SessionAnswer>,
}

/// One session.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionAnswer {
    /// Our name for it.
    pub session: String,
    /// The router it is at.
    pub nas: String,
    /// The device.
    pub mac: Option<String>,
    /// Its address.
    pub ip: Option<String>,
    /// The Nexudus `Id` of the token.
    pub token_id: i64,
    /// The code; masked unless the key has the scope `admin`.
    pub code: String,
    /// When it was admitted.
    #[schema(value_type = String)]
    pub started_at: Timestamp,
    /// When its router last spoke of it.
    #[schema(value_type = String)]
    pub updated_at: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>)]
    pub ended_at: Option<Timestamp>,
    /// Seconds used so far.
    pub seconds_used: u64,
    /// The Session-Timeout it was given.
    pub session_timeout: u64,
    /// Octets from the device.
    pub input_octets: u64,
    /// Octets to the device.
    pub output_octets: u64,
    /// `admitted`, `online`, `disconnecting` or `ended`.
    pub state: String,
    /// That it must go, and how far that is; also of one that has gone.
    pub ending: Option<EndingAnswer>,
}

/// That a session must go, and how far that is.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EndingAnswer {
    /// `displaced`, `operator`, `overran`, `over` (the token's `ValidTo`), `used_up`, `revoked` or `guest`.
    pub cause: String,
    /// Since when.
    #[schema(value_type = String)]
    pub since: Timestamp,
    /// How often its router was told.
    pub tries: u32,
    /// What the router last answered: `acked`, `refused` or `unanswered`; or `unsendable`: it could not be told. An
    /// acknowledgement alone proves nothing.
    pub answer: Option<String>,
    /// The Error-Cause of a refusal (RFC 5176 §3.5).
    pub error_cause: Option<u32>,
}

impl From<&Ending> for EndingAnswer {
    fn from(ending: &Ending) -> Self {
        let (answer, error_cause) = match ending.last {
            None => (None, None),
            Some(Told::Refused(cause)) => (Some("refused"), Some(cause).filter(|cause| *cause != 0)),
            Some(told) => (Some(told.as_str()), None),
        };
        Self {
            cause: ending.cause.as_str().to_owned(),
            since: ending.since,
            tries: ending.tries,
            answer: answer.map(str::to_owned),
            error_cause,
        }
    }
}

impl SessionAnswer {
    /// Puts a session into the interface's words.
    pub(crate) fn new(found: &Found, in_full: bool, now: Timestamp) -> Self {
        let Found { token, session, ended } = found;
        let report = session.reported;
        let state = match (ended, &session.ending, report) {
            (Some(_), ..) => "ended",
            (None, Some(_), _) => "disconnecting",
            (None, None, None) if session.accounting => "admitted",
            (None, None, _) => "online",
        };
        let (code, contact) = (&session.code, &session.contact);
        Self {
            session: session.id.to_string(),
            nas: contact.nas.to_string(),
            mac: session.device.map(|mac| mac.to_string()),
            ip: contact.ip.map(|ip| ip.to_string()),
            token_id: token.0,
            code: if in_full { code.reveal().to_owned() } else { code.masked() },
            started_at: session.admitted_at,
            updated_at: report.map_or(session.admitted_at, |report| report.at),
            ended_at: ended.map(|(at, _)| at),
            seconds_used: ended.map_or_else(|| session.used(now), |(_, counts)| counts).0,
            session_timeout: session.granted.0,
            input_octets: report.map_or(0, |report| report.input_octets),
            output_octets: report.map_or(0, |report| report.output_octets),
            state: state.to_owned(),
            ending: session.ending.as_deref().map(Into::into),
        }
    }
}

impl SessionAnswer {
    /// How far its end is, in a sentence without a subject.
    #[must_use]
    pub fn ending_in_words(&self) -> String {
        let nas = &self.nas;
        match (self.state.as_str(), self.ending.as_ref()) {
            ("ended", _) => format!("has ended, after {} s", self.seconds_used),
            (_, Some(EndingAnswer { answer: Some(answer), error_cause, .. })) => match (answer.as_str(), error_cause) {
                ("acked", _) => format!("is being ended: {nas} acknowledged it; its Stop is awaited"),
                ("refused", Some(cause)) => {
                    format!("goes on: {nas} refused with Error-Cause {cause}; it is told again")
                }
                ("refused", None) => format!("goes on: {nas} refused; it is told again"),
                ("unsendable", _) => {
                    format!("goes on: {nas} cannot be told; is it still the name of a [[nas]] that can be?")
                }
                _ => format!("goes on: {nas} does not answer; it is told again"),
            },
            (_, Some(_)) => format!("must go; {nas} cannot be told, or has not answered yet"),
            (_, None) => "goes on".to_owned(),
        }
    }
}

/// Every live session.
#[utoipa::path(
    get, path = "/v1/sessions", tag = "sessions",
    responses((status = 200, description = "Live sessions", body = SessionsAnswer)),
    security(("key" = ["read"])),
)]
pub(super) async fn sessions(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
) -> Json<SessionsAnswer> {
    let now = app.gate.clock.now().wall;
    let mut sessions = app.gate.ledger.sessions();
    sessions.sort_unstable_by_key(|(_, session)| session.id);
    let found = sessions.into_iter().map(|(token, session)| Found { token, session, ended: None });
    Json(SessionsAnswer { sessions: found.map(|found| SessionAnswer::new(&found, caller.is_admin(), now)).collect() })
}

/// One session, also ended.
#[utoipa::path(
    get, path = "/v1/sessions/{id}", tag = "sessions", params(("id" = String, Path, description = "Our name for it")),
    responses(
        (status = 200, description = "The session", body = SessionAnswer),
        (status = 400, description = "Unreadable", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = ["read"])),
)]
pub(super) async fn session(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Named(id): Named,
) -> Result<Json<SessionAnswer>, Problem> {
    let found = find(&app, &id).await?;
    Ok(Json(SessionAnswer::new(&found, caller.is_admin(), app.gate.clock.now().wall)))
}

/// Tells the router to end a session. What came of it stands in `GET /v1/sessions/{id}`.
#[utoipa::path(
    delete, path = "/v1/sessions/{id}", tag = "sessions",
    params(("id" = String, Path, description = "Our name for it")),
    responses(
        (status = 202, description = "Its router is told; or it has ended already", body = SessionAnswer),
        (status = 400, description = "Unreadable", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Its router is told, but that could not be written down", body = Problem,
         content_type = "application/problem+json"),
    ),
    security(("key" = ["admin"])),
)]
pub(super) async fn disconnect(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Named(id): Named,
) -> Result<(StatusCode, Json<SessionAnswer>), Problem> {
    let (now, policy) = (app.gate.clock.now().wall, &caller.live.settings.policy);
    let parsed: SessionId = id.parse().map_err(|_| Problem::no_such_session())?;
    let found = match app.gate.ledger.order(parsed, Cause::Operator, policy, now) {
        Some((found, written)) => {
            tracing::info!(session = %parsed, key = caller.key.name, "an operator ends a session");
            caller.act(&app, "disconnect", parsed.to_string()).await;
            written.settled().await.map_err(|error| {
                Problem::unavailable(format!("The router is told, but a restart may forget that: {error}."))
            })?;
            found
        }
        None => find(&app, &id).await?,
    };
    Ok((StatusCode::ACCEPTED, Json(SessionAnswer::new(&found, caller.is_admin(), now))))
}

/// A session, live or ended.
pub(crate) async fn find(app: &Arc<App>, id: &str) -> Result<Found, Problem> {
    let id: SessionId = id.parse().map_err(|_| Problem::no_such_session())?;
    let ledger = Arc::clone(&app.gate.ledger);
    // An ended session may have to be read from disk.
    let found = tokio::task::spawn_blocking(move || ledger.session(id)).await;
    found.ok().flatten().ok_or_else(Problem::no_such_session)
}
