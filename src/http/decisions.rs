//! `GET /v1/decisions`: what was decided lately, and why.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::core::decide::Reason;
use crate::core::ident::{Code, Mac};
use crate::history::{Decided, Filter};
use crate::http::keys::Caller;
use crate::http::problem::Problem;
use crate::http::routes::App;

/// Decisions that are shown where nobody says how many.
const USUALLY: usize = 100;

/// Decisions that are shown at most.
const AT_MOST: usize = 1000;

/// Which decisions; all that is said must fit.
#[derive(Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// With this access code; needs the scope `admin`.
    code: Option<String>,
    /// Of this device.
    mac: Option<String>,
    /// Denied for this reason; `none`: allowed.
    reason: Option<String>,
    /// 1 to 1000; 100 if it is absent.
    limit: Option<String>,
}

/// The answer of `GET /v1/decisions`.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DecisionsAnswer {
    /// Newest first.
    pub decisions: Vec<DecisionAnswer>,
}

/// One decision.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DecisionAnswer {
    /// When.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// Through which door: `radius`, `http`, `portal`.
    pub via: String,
    /// At which router.
    pub nas: String,
    /// The device.
    pub mac: Option<String>,
    /// What was typed, or the code a MAC login was let in with; masked unless the key has the scope `admin`.
    pub code: Option<String>,
    /// The Nexudus `Id` of the token, where one was found.
    pub token_id: Option<i64>,
    /// `allow` or `deny`.
    pub decision: String,
    /// Why not; null for allow.
    pub reason: Option<String>,
    /// Seconds it was given.
    pub session_timeout: Option<u64>,
    /// The session that was opened.
    pub session: Option<String>,
}

impl DecisionAnswer {
    /// Puts a decision into the interface's words.
    #[must_use]
    pub fn new(decided: &Decided, in_full: bool) -> Self {
        let shown = |code: &Code| if in_full { code.reveal().to_owned() } else { code.masked() };
        Self {
            at: decided.at,
            via: decided.via.as_str().to_owned(),
            nas: decided.nas.to_string(),
            mac: decided.mac.map(|mac| mac.to_string()),
            code: decided.code.as_ref().map(shown),
            token_id: decided.token.map(|token| token.0),
            decision: if decided.reason.is_none() { "allow" } else { "deny" }.to_owned(),
            reason: decided.reason.map(|reason| reason.to_string()),
            session_timeout: decided.session_timeout,
            session: decided.session.map(|session| session.to_string()),
        }
    }
}

/// What was decided lately, newest first. It goes back as far as `retain_decisions`, and no further than 500 000 decisions.
#[utoipa::path(
    get, path = "/v1/decisions", tag = "decisions", params(Wanted),
    responses(
        (status = 200, description = "Decisions", body = DecisionsAnswer),
        (status = 403, description = "`code` without the scope `admin`", body = Problem,
         content_type = "application/problem+json"),
        (status = 422, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "They cannot be read", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = ["read"])),
)]
pub(super) async fn decisions(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<DecisionsAnswer>, Problem> {
    let Ok(Query(wanted)) = wanted else {
        return Err(Problem::unreadable("The query cannot be read; each parameter may stand once."));
    };
    if wanted.code.is_some() && !caller.is_admin() {
        return Err(Problem::forbidden("admin"));
    }
    let (filter, limit) = (filter(&wanted)?, limit(wanted.limit.as_deref())?);
    let decisions = app.gate.history.decisions(filter, limit).await;
    let decisions = decisions.map_err(|error| Problem::unavailable(format!("No decisions can be shown: {error}.")))?;
    let in_full = caller.is_admin();
    Ok(Json(DecisionsAnswer {
        decisions: decisions.iter().map(|decided| DecisionAnswer::new(decided, in_full)).collect(),
    }))
}

fn filter(wanted: &Wanted) -> Result<Filter, Problem> {
    let code = wanted.code.as_deref().map(Code::parse).transpose();
    let mac = wanted.mac.as_deref().map(str::parse::<Mac>).transpose();
    Ok(Filter {
        code: code.map_err(|error| Problem::field("code", format!("`code`: {error}.")))?,
        mac: mac.map_err(|error| Problem::field("mac", format!("`mac` is {error}.")))?,
        reason: wanted.reason.as_deref().map(reason).transpose()?,
        nas: None,
    })
}

/// `Some(None)` is an allow.
fn reason(name: &str) -> Result<Option<Reason>, Problem> {
    let reasons = || Reason::ALL.into_iter();
    match reasons().find(|reason| reason.as_str() == name) {
        Some(reason) => Ok(Some(reason)),
        None if name == "none" => Ok(None),
        None => {
            let names: Vec<_> = reasons().map(Reason::as_str).collect();
            Err(Problem::field("reason", format!("`reason` is one of: none, {}.", names.join(", "))))
        }
    }
}

fn limit(limit: Option<&str>) -> Result<usize, Problem> {
    match limit.map(str::parse) {
        None => Ok(USUALLY),
        Some(Ok(limit)) if (1..=AT_MOST).contains(&limit) => Ok(limit),
        Some(_) => Err(Problem::field("limit", format!("`limit` is a number from 1 to {AT_MOST}."))),
    }
}
