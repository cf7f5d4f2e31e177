//! `POST /v1/ironwifi/authenticate`: IronWifi asks, for a form of its splash page (REST API as authentication provider) or for a
//! RADIUS login (REST API connector), as facts/ironwifi.md has it; docs/systems.md says how it is set up.
//!
//! IronWifi's accounting goes to IronWifi: nobody reports these sessions here, so their time counts from the admission, and they
//! cannot be told to end.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;

use crate::config::{Bandwidth, Ironwifi, Nas, ValidUntil};
use crate::core::decide::{Decision, Denial, Grant, Reason};
use crate::core::ident::{Code, Mac};
use crate::core::login::{Claim, Login, Proof};
use crate::core::policy::{NasRules, Policy};
use crate::gate::Via;
use crate::http::fields::{Fields, unread};
use crate::http::keys::Caller;
use crate::http::problem::Problem;
use crate::http::routes::{App, Cause, Denied, MAX_BODY};
use crate::words;

/// What stands for the session's name, so that a device that is asked about again goes on with its session.
const SESSION: &str = "ironwifi";

/// Names of fields that are named in the log.
const NAMED: usize = 32;

/// Whoever is let in.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct IronwifiAnswer {
    /// Until when, in UTC: `2026-11-23T18:00:00`, or for the connector `2026/11/23 18:00:00 +0000`.
    valid_until: String,
    /// RADIUS attributes for the reply.
    attributes: Vec<IronwifiAttribute>,
}

/// A RADIUS attribute.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct IronwifiAttribute {
    /// Its name.
    name: &'static str,
    /// Its value.
    value: String,
    /// `:=`; for the connector.
    #[serde(skip_serializing_if = "Option::is_none")]
    op: Option<&'static str>,
}

/// Whoever is not let in.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct IronwifiRefusal {
    /// Why, in plain words.
    errors: Vec<String>,
}

/// News of a login: only taken as a sign that IronWifi is there, whatever it says.
#[utoipa::path(
    post, path = "/v1/ironwifi/webhook", tag = "ironwifi", request_body = Option<serde_json::Value>,
    responses(
        (status = 204, description = "Taken note of"),
        (status = 413, description = "Body too large", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = ["ironwifi"]), ("password" = [])),
)]
pub(super) async fn webhook(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Problem> {
    body.map_err(|rejection| unread(&rejection, MAX_BODY))?;
    heard(&app, &caller);
    Ok(StatusCode::NO_CONTENT)
}

/// Notes that the caller's NAS was heard.
fn heard(app: &App, caller: &Caller) {
    let nas = caller.live.default_nas(caller.key.nas.as_ref());
    if let Some(seen) = nas.and_then(|nas| caller.live.clients.seen(&nas.name)) {
        seen.asked_by_http.set(app.gate.clock.now().wall);
    }
}

/// Which of the two asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Portal,
    Connector,
}

/// May whoever filled in this form, or logs in by RADIUS at IronWifi, go online?
#[utoipa::path(
    post, path = "/v1/ironwifi/authenticate", tag = "ironwifi", request_body = std::collections::HashMap<String, String>,
    responses(
        (status = 200, description = "Let in", body = IronwifiAnswer),
        (status = 400, description = "Unreadable", body = IronwifiRefusal),
        (status = 413, description = "Body too large", body = IronwifiRefusal),
        (status = 422, description = "Not let in", body = IronwifiRefusal),
        (status = 503, description = "Not in time", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = ["ironwifi"])),
)]
pub(super) async fn authenticate(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let received = app.gate.clock.now().mono;
    let settings = &caller.live.settings;
    let fields = match Fields::read(body) {
        Ok(fields) => fields,
        Err(problem) => return refused(problem.status(), problem.detail()),
    };
    let Some(nas) = caller.live.default_nas(caller.key.nas.as_ref()) else {
        let refused =
            refused(StatusCode::UNPROCESSABLE_ENTITY, "This WiFi is not set up completely. Please tell the staff.");
        return (Extension(Cause("several NASes are configured, and the key names none")), refused).into_response();
    };
    heard(&app, &caller);
    let form = if is_connector(&fields) { Form::Connector } else { Form::Portal };
    let Asked { claim, typed, device } = match read(&fields, &settings.ironwifi) {
        Ok(asked) => asked,
        Err(wrong) => {
            app.gate.malformed(Via::Ironwifi, &nas.name);
            return refused(StatusCode::UNPROCESSABLE_ENTITY, &wrong.words());
        }
    };
    let rules = NasRules { accounting: false, can_disconnect: false, can_extend: false, ..nas.clone() };
    let login = Login {
        claim,
        typed: typed.as_bytes(),
        proof: Proof::NotAsked,
        device,
        ip: None,
        router: None,
        nas_session: Some(SESSION),
    };
    let visit = caller.live.visit(&login, &rules, Via::Ironwifi, received);
    let decision = app.gate.answer(&visit, &mut ()).await.decision;
    let now = app.gate.clock.now().wall;
    match &decision {
        Decision::Allow(grant) => {
            let nas = settings.nas.iter().find(|configured| *configured.name() == rules.name);
            Json(admitted(grant, form, settings.ironwifi.valid_until, &settings.policy, nas, now)).into_response()
        }
        Decision::Deny(_) => {
            let refused =
                refused(StatusCode::UNPROCESSABLE_ENTITY, &words::message(&decision, settings.time_zone(), now));
            (Extension(Denied), refused).into_response()
        }
    }
}

/// Who asks, out of a form of any shape.
struct Asked {
    claim: Claim,
    typed: String,
    device: Option<Mac>,
}

/// Why nobody can be let in by a form.
enum Wrong {
    /// It holds no code.
    NoCode,
    /// What is asked can only be answered by who knows the password in clear.
    MsChap,
}

impl Wrong {
    fn words(&self) -> String {
        match self {
            Self::NoCode => {
                let decision = Decision::Deny(Denial::from(Reason::Malformed));
                words::message(&decision, &jiff::tz::TimeZone::UTC, Timestamp::UNIX_EPOCH)
            }
            Self::MsChap => {
                "This login came by MS-CHAP, which cannot be checked here. Set the network to PAP.".to_owned()
            }
        }
    }
}

/// What the connector sends of an MS-CHAP login.
const MSCHAP: [&str; 2] = ["mschap_challenge", "mschap_response"];

/// The connector's question names the port of RADIUS, or is one of MS-CHAP (facts/ironwifi.md).
fn is_connector(fields: &Fields) -> bool {
    fields.get("auth_port").is_some() || is_mschap(fields)
}

fn is_mschap(fields: &Fields) -> bool {
    MSCHAP.iter().any(|name| fields.get(name).is_some_and(|value| !value.is_null()))
}

fn read(fields: &Fields, names: &Ironwifi) -> Result<Asked, Wrong> {
    let said = |name: &String| fields.word(name).filter(|word| !word.trim().is_empty());
    let unknown: Vec<&str> =
        fields.names().filter(|name| !names.knows(name)).filter(|name| is_plain(name)).take(NAMED).collect();
    if !unknown.is_empty() {
        tracing::debug!(fields = ?unknown, "fields from IronWifi that mean nothing here");
    }
    let typed = names.code_fields.iter().find_map(said);
    if is_mschap(fields) && fields.word("password").is_none_or(str::is_empty) {
        return Err(Wrong::MsChap);
    }
    let typed = typed.ok_or(Wrong::NoCode)?;
    let code = Code::parse(typed).map_err(|_| Wrong::NoCode)?;
    // Several may be there, and one of them something else than a MAC.
    let device = names.device_fields.iter().filter_map(said).find_map(|mac| mac.parse().ok());
    Ok(Asked { claim: Claim::Code(code), typed: typed.to_owned(), device })
}

/// Whether a field's name is fit for a log: it comes from a page that anybody may fill in.
fn is_plain(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"_-.[]".contains(&octet))
}

fn refused(status: StatusCode, why: &str) -> Response {
    (status, Json(IronwifiRefusal { errors: vec![why.to_owned()] })).into_response()
}

fn admitted(
    grant: &Grant,
    form: Form,
    written: ValidUntil,
    policy: &Policy,
    nas: Option<&Nas>,
    now: Timestamp,
) -> IronwifiAnswer {
    let until = grant.session_timeout.after(now);
    let is_iso = match written {
        ValidUntil::Auto => form == Form::Portal,
        ValidUntil::Portal => true,
        ValidUntil::Connector => false,
    };
    let valid_until = until.strftime(if is_iso { "%Y-%m-%dT%H:%M:%S" } else { "%Y/%m/%d %H:%M:%S +0000" }).to_string();
    let mut attributes = vec![
        ("Session-Timeout", grant.session_timeout.0.to_string()),
        ("Acct-Interim-Interval", policy.interim_interval.0.to_string()),
    ];
    if let Some(idle) = policy.idle_timeout {
        attributes.push(("Idle-Timeout", idle.0.to_string()));
    }
    if let Some(rate_limit) = nas.and_then(|nas| nas.rate_limit.as_deref()) {
        if let Some(Bandwidth { up, down }) = Bandwidth::parse(rate_limit) {
            attributes.push(("WISPr-Bandwidth-Max-Up", up.to_string()));
            attributes.push(("WISPr-Bandwidth-Max-Down", down.to_string()));
        }
        attributes.push(("Mikrotik-Rate-Limit", rate_limit.to_owned()));
    }
    let op = (form == Form::Connector).then_some(":=");
    let attributes = attributes.into_iter().map(|(name, value)| IronwifiAttribute { name, value, op }).collect();
    IronwifiAnswer { valid_until, attributes }
}
