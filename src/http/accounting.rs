//! `POST /v1/accounting`: what a hotspot without RADIUS accounting reports of a session. 204 once it is on disk.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::core::budget::Seconds;
use crate::core::event::{News, Progress};
use crate::core::login::{Claim, Login, Proof};
use crate::core::session::Report;
use crate::gate::{Accounted, Via};
use crate::http::fields::Fields;
use crate::http::keys::Caller;
use crate::http::problem::Problem;
use crate::http::routes::App;

/// The report, as documented; read field by field so that the one that is wrong can be named.
#[derive(Deserialize, utoipa::ToSchema)]
#[expect(dead_code, reason = "describes the body in the OpenAPI document")]
pub struct AccountingRequest {
    /// `start`, `interim` or `stop`.
    event: String,
    /// The NAS; else the key's, or the only one there is.
    nas: Option<String>,
    /// The router's own name for the session, as in `POST /v1/authorize`.
    session_id: String,
    /// The device.
    mac: String,
    /// The code it logged in with: finds the session where nothing else does.
    access_code: Option<String>,
    /// Its address.
    ip: Option<String>,
    /// Seconds online so far; of `interim` and `stop`. Left out: as many as have passed since the admission.
    session_seconds: Option<u64>,
    /// Octets from the device so far.
    input_octets: Option<u64>,
    /// Octets to the device so far.
    output_octets: Option<u64>,
}

/// News of a session.
#[utoipa::path(
    post, path = "/v1/accounting", tag = "accounting", request_body = AccountingRequest,
    responses(
        (status = 204, description = "On disk"),
        (status = 400, description = "Unreadable", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such session, and no such code", body = Problem,
         content_type = "application/problem+json"),
        (status = 413, description = "Body too large", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "It could not be written down: send it again", body = Problem,
         content_type = "application/problem+json"),
    ),
    security(("key" = ["accounting"])),
)]
pub(super) async fn accounting(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Problem> {
    let now = app.gate.clock.now();
    let fields = Fields::read(body)?;
    let news = match fields.text("event")?.as_deref() {
        Some("start") => News::Start,
        Some("interim") => News::Interim,
        Some("stop") => News::Stop,
        _ => return Err(Problem::field("event", "`event` must be \"start\", \"interim\" or \"stop\".")),
    };
    let nas = fields.nas(&caller)?;
    let session_id = fields.session_id()?;
    let session_id = session_id.ok_or_else(|| Problem::field("session_id", "`session_id` is missing."))?;
    let mac = fields.mac()?.ok_or_else(|| Problem::field("mac", "`mac` is missing."))?;
    let code = fields.code()?;
    let typed = fields.text("access_code")?.unwrap_or_default();
    // A start says none, and nothing has passed yet.
    let unmeasured = news != News::Start && matches!(fields.get("session_seconds"), None | Some(Value::Null));
    let report = Report {
        at: now.wall,
        seconds: Seconds(fields.number("session_seconds")?),
        input_octets: fields.number("input_octets")?,
        output_octets: fields.number("output_octets")?,
    };
    let login = Login {
        claim: code.map_or(Claim::Device(mac), Claim::Code),
        typed: typed.as_bytes(),
        proof: Proof::NotAsked,
        device: Some(mac),
        ip: fields.ip()?,
        router: None,
        nas_session: Some(&session_id),
    };
    if let Some(seen) = caller.live.clients.seen(&nas.name) {
        seen.accounted_by_http.set(now.wall);
        seen.hear(news, None, now.wall);
    }
    let visit = caller.live.visit(&login, nas, Via::Http, now.mono);
    let progress = Progress { session: None, news, report, unmeasured };
    let Accounted { result, written } = app.gate.account(&visit, &progress, now.wall);
    app.gate.metrics.accounting(result);
    if result == "unknown_session" {
        return Err(Problem::unknown_session());
    }
    written.settled().await.map_err(|error| {
        app.gate.metrics.accounting("not_on_disk");
        Problem::unavailable(format!("{error}; please send it again."))
    })?;
    Ok(StatusCode::NO_CONTENT)
}
