//! `GET /v1/sessions` and `GET /v1/sessions/{id}`: who is online.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::Scope;
use crate::core::budget::Seconds;
use crate::core::ident::{SessionId, TokenId};
use crate::core::session::{Place, Session};
use crate::http::keys::Caller;
use crate::http::problem::Problem;
use crate::http::routes::App;

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
}

impl SessionAnswer {
    fn new(token: TokenId, session: &Session, ended: Option<Seconds>, caller: &Caller, now: Timestamp) -> Self {
        let report = session.reported;
        let state = match (ended, session.place, report) {
            (Some(_), ..) => "ended",
            (None, Place::GivenUp, _) => "disconnecting",
            (None, Place::Held, None) if session.accounting => "admitted",
            (None, Place::Held, _) => "online",
        };
        let code = &session.code;
        let in_full = caller.key.scopes.contains(&Scope::Admin);
        Self {
            session: session.id.to_string(),
            nas: session.nas.to_string(),
            mac: session.device.map(|mac| mac.to_string()),
            ip: session.ip.map(|ip| ip.to_string()),
            token_id: token.0,
            code: if in_full { code.reveal().to_owned() } else { code.masked() },
            started_at: session.admitted_at,
            updated_at: report.map_or(session.admitted_at, |report| report.at),
            seconds_used: ended.unwrap_or_else(|| session.used(now)).0,
            session_timeout: session.granted.0,
            input_octets: report.map_or(0, |report| report.input_octets),
            output_octets: report.map_or(0, |report| report.output_octets),
            state: state.to_owned(),
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
    app.gate.ledger.sweep(&caller.live.settings.policy, now);
    let mut sessions = app.gate.ledger.sessions();
    sessions.sort_unstable_by_key(|(_, session)| session.id);
    let sessions = sessions.iter().map(|(token, session)| SessionAnswer::new(*token, session, None, &caller, now));
    Json(SessionsAnswer { sessions: sessions.collect() })
}

/// One session, also ended.
#[utoipa::path(
    get, path = "/v1/sessions/{id}", tag = "sessions", params(("id" = String, Path, description = "Our name for it")),
    responses(
        (status = 200, description = "The session", body = SessionAnswer),
        (status = 404, description = "Unknown", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = ["read"])),
)]
pub(super) async fn session(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<SessionAnswer>, Problem> {
    let now = app.gate.clock.now().wall;
    app.gate.ledger.sweep(&caller.live.settings.policy, now);
    let id: SessionId = id.parse().map_err(|_| Problem::not_found())?;
    let (token, session, ended) = app.gate.ledger.session(id).ok_or_else(Problem::not_found)?;
    Ok(Json(SessionAnswer::new(token, &session, ended, &caller, now)))
}
