//! `POST /v1/authorize`: may this access code, or this device, go online? Always 200, for allow and for deny.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::core::decide::{Check, Decision};
use crate::core::ident::Mac;
use crate::core::login::{Claim, Login, Proof};
use crate::core::policy::{NasRules, Policy};
use crate::gate::{Answer, Purpose, Via, Visit};
use crate::http::fields::Fields;
use crate::http::keys::Caller;
use crate::http::problem::Problem;
use crate::http::routes::App;
use crate::words;

/// The question, as documented; read field by field so that the one that is wrong can be named.
#[derive(Deserialize, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub struct AuthorizeRequest {
    /// What the guest typed, or what the portal gave him for openNDS in its place.
    access_code: Option<String>,
    /// The device; alone, it asks for a MAC login.
    mac: Option<String>,
    /// Whose rules apply; else those of the key's NAS, or of the only one there is.
    nas: Option<String>,
    /// The device's address.
    ip: Option<String>,
    /// The router's own name for the session.
    session_id: Option<String>,
    /// Decide without admitting; the answer then also holds `checks`.
    dry_run: Option<bool>,
}

/// The answer. Every field is always there; null means not known.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuthorizeAnswer {
    /// `allow` or `deny`.
    pub decision: String,
    /// Why not; null for allow.
    pub reason: Option<String>,
    /// The same in plain words.
    pub message: String,
    /// Seconds the device may stay online.
    pub session_timeout: Option<u64>,
    /// Seconds after which an idle device is logged out.
    pub idle_timeout: Option<u64>,
    /// Seconds between accounting updates.
    pub interim_interval: Option<u64>,
    /// The token's `ValidTo`.
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Timestamp>,
    /// Whole minutes that the token's pool holds; null also where there is no limit.
    pub minutes_left: Option<u64>,
    /// Devices at once.
    pub user_limit: Option<u32>,
    /// Devices online, with this one if it is allowed.
    pub devices_online: Option<u32>,
    /// The Nexudus `Id` of the token.
    pub token_id: Option<i64>,
    /// The session that was opened.
    pub session: Option<String>,
    /// Every check with its outcome; of a dry run only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub checks: Option<Vec<CheckAnswer>>,
}

/// One check and its outcome.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CheckAnswer {
    /// What was checked.
    pub check: String,
    /// Whether it passed.
    pub ok: bool,
    /// What was found.
    pub detail: String,
}

impl From<Check> for CheckAnswer {
    fn from(check: Check) -> Self {
        Self { check: check.check.to_owned(), ok: check.ok, detail: check.detail }
    }
}

impl AuthorizeAnswer {
    /// Puts a decision into the interface's words.
    #[must_use]
    pub fn new(answer: &Answer, policy: &Policy, zone: &TimeZone, now: Timestamp) -> Self {
        let (view, grant, reason) = match &answer.decision {
            Decision::Allow(grant) => (Some(&grant.view), Some(grant), None),
            Decision::Deny(denial) => (denial.view.as_ref(), None, Some(denial.reason)),
        };
        Self {
            decision: if grant.is_some() { "allow" } else { "deny" }.to_owned(),
            reason: reason.map(|reason| reason.to_string()),
            message: words::message(&answer.decision, zone, now),
            session_timeout: grant.map(|grant| grant.session_timeout.0),
            idle_timeout: grant.and(policy.idle_timeout).map(|timeout| timeout.0),
            interim_interval: grant.map(|_| policy.interim_interval.0),
            expires_at: view.and_then(|view| view.valid_to),
            minutes_left: view.and_then(|view| view.pool.minutes()),
            user_limit: view.map(|view| view.user_limit),
            devices_online: view.map(|view| view.devices_online),
            token_id: view.map(|view| view.token.0),
            session: answer.session.map(|session| session.to_string()),
            checks: None,
        }
    }
}

/// A question with every field read.
struct Question<'a> {
    claim: Claim,
    typed: String,
    device: Option<Mac>,
    nas: &'a NasRules,
    ip: Option<IpAddr>,
    session_id: Option<String>,
    dry_run: bool,
}

/// May this access code, or this device, go online?
#[utoipa::path(
    post, path = "/v1/authorize", tag = "authorize", request_body = AuthorizeRequest,
    responses(
        (status = 200, description = "Allow or deny", body = AuthorizeAnswer),
        (status = 400, description = "Unreadable", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Body too large", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not in time", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = ["authorize"])),
)]
pub(super) async fn authorize(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<AuthorizeAnswer>, Problem> {
    let received = app.gate.clock.now().mono;
    let question = read(&Fields::read(body)?, &caller)?;
    let login = Login {
        claim: question.claim,
        typed: question.typed.as_bytes(),
        proof: Proof::NotAsked,
        device: question.device,
        ip: question.ip,
        router: None,
        nas_session: question.session_id.as_deref(),
    };
    if let Some(seen) = caller.live.clients.seen(&question.nas.name).filter(|_| !question.dry_run) {
        seen.asked_by_http.set(app.gate.clock.now().wall);
    }
    let purpose = if question.dry_run { Purpose::Explain } else { Purpose::Admit };
    // A guest of an openNDS comes with a ticket of the portal's; to ask about it does not use it up.
    let login = if question.dry_run { login } else { app.gate.redeemed(login, &question.nas.name, received) };
    let visit = caller.live.visit(&login, question.nas, Via::Http, received);
    Ok(Json(decide(&app, &caller, &Visit { purpose, ..visit }).await))
}

async fn decide(app: &App, caller: &Caller, visit: &Visit<'_>) -> AuthorizeAnswer {
    let settings = &caller.live.settings;
    let (mut checks, explained) = (Vec::new(), visit.purpose == Purpose::Explain);
    let answer =
        if explained { app.gate.answer(visit, &mut checks).await } else { app.gate.answer(visit, &mut ()).await };
    let spoken = AuthorizeAnswer::new(&answer, &settings.policy, settings.time_zone(), app.gate.clock.now().wall);
    AuthorizeAnswer { checks: explained.then(|| checks.into_iter().map(Into::into).collect()), ..spoken }
}

fn read<'a>(fields: &Fields, caller: &'a Caller) -> Result<Question<'a>, Problem> {
    let typed = fields.text("access_code")?;
    let device = fields.mac()?;
    let claim = match (&typed, device) {
        (Some(_), _) => Claim::Code(fields.code()?.ok_or_else(|| Problem::field("access_code", "It is empty."))?),
        (None, Some(device)) => Claim::Device(device),
        (None, None) => return Err(Problem::field("access_code", "Send `access_code`, or `mac` for a MAC login.")),
    };
    let nas = fields.nas(caller)?;
    let session_id = fields.session_id()?;
    let dry_run = match fields.get("dry_run") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(dry_run)) => *dry_run,
        Some(_) => return Err(Problem::field("dry_run", "`dry_run` must be true or false.")),
    };
    Ok(Question { claim, typed: typed.unwrap_or_default(), device, nas, ip: fields.ip()?, session_id, dry_run })
}
