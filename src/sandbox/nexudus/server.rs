//! The sandbox's routes and faults.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, Query, Request, State as Shared};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde_json::{Value, json};

use super::accounts;
use super::fail::{Fail, Mode};
use super::records::{Asked, Records, done, seconds_left};
use super::{Seen, State, World};
use crate::sandbox::listener;

pub(super) fn router(world: Arc<World>) -> Router {
    let tokens = "/api/spaces/accesstokens";
    Router::new()
        .route("/api/token", post(sign_in))
        .route(tokens, get(list).post(create).put(update))
        .route(&format!("{tokens}/commands"), get(commands))
        .route(&format!("{tokens}/{{id}}"), get(one).delete(delete))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&world), front))
        .route("/sandbox/fail", post(set_fail))
        .route("/sandbox/latency", post(set_latency))
        .route("/sandbox/requests", get(requests))
        .with_state(world)
}

fn operation(method: &Method, path: &str) -> &'static str {
    let single = path.trim_start_matches("/api/spaces/accesstokens").len() > 1;
    match (method.as_str(), path) {
        ("POST", "/api/token") => "sign_in",
        (_, path) if path.ends_with("/commands") => "other",
        ("GET", _) if single => "get",
        ("GET", _) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("DELETE", _) => "delete",
        _ => "other",
    }
}

/// `Date` by the sandbox's clock, and by how much that is wrong.
fn date(world: &World) -> Option<HeaderValue> {
    let now = world.clock.now().wall;
    let now = now.saturating_add(world.state().options.skew).unwrap_or(now);
    HeaderValue::from_str(&jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).ok()?).ok()
}

/// What stands before every call: the log, latency, the ceiling, faults, and who calls.
async fn front(Shared(world): Shared<Arc<World>>, mut request: Request, next: Next) -> Response {
    let operation = operation(request.method(), request.uri().path());
    let (number, latency, throttled, fault) = {
        let now = world.clock.now();
        let mut state = world.state();
        state.seen.push(Seen { operation, at: now.wall, status: None });
        let throttled = state.throttle(now.mono);
        let only = state.options.fail_only;
        let faults = state.options.faults.iter_mut().filter(|_| only.is_none_or(|only| only == operation));
        let fault = faults.into_iter().find_map(|fault| fault.strike(operation));
        (state.seen.len() - 1, state.options.latency, throttled, fault)
    };
    if !latency.is_zero() {
        tokio::time::sleep(world.clock.real(latency)).await;
    }
    request.extensions_mut().insert(fault);
    let mut response = match throttled {
        Some(response) => response,
        None => play(&world, fault, operation, request, next).await,
    };
    if let Some(date) = date(&world) {
        response.headers_mut().insert(DATE, date);
    }
    if !listener::is_hangup(&response)
        && let Some(seen) = world.state().seen.get_mut(number)
    {
        seen.status = Some(response.status().as_u16());
    }
    response
}

/// 401 or 403, in whatever words.
fn refusal(world: &World, status: StatusCode) -> Response {
    let body = world.state().options.refusal.clone();
    if body.is_empty() {
        return status.into_response();
    }
    let kind = if body.starts_with('<') { "text/html" } else { "application/json" };
    (status, [(CONTENT_TYPE, kind)], body).into_response()
}

async fn play(world: &World, fault: Option<Mode>, operation: &str, request: Request, next: Next) -> Response {
    let retry_after = || HeaderValue::from_str(&world.state().options.retry_after).ok();
    let throttled = |status: StatusCode| match retry_after() {
        Some(after) => (status, [(RETRY_AFTER, after)]).into_response(),
        None => status.into_response(),
    };
    match fault {
        Some(Mode::ServerError) => {
            let body = json!({"Message": "An error has occurred."});
            return (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response();
        }
        Some(Mode::Unauthorized) => return refusal(world, StatusCode::UNAUTHORIZED),
        Some(Mode::Forbidden) => return refusal(world, StatusCode::FORBIDDEN),
        Some(Mode::Throttled409) => return throttled(StatusCode::CONFLICT),
        Some(Mode::Throttled429) => return throttled(StatusCode::TOO_MANY_REQUESTS),
        Some(Mode::Timeout) => std::future::pending().await,
        Some(Mode::Reset | Mode::Down) => return listener::hangup(),
        Some(Mode::Html) => return Html("<!DOCTYPE html><title>Nexudus</title><p>Please sign in.").into_response(),
        Some(Mode::Failure) => {
            let body = json!({"Status": 500, "Message": "x", "Value": null, "WasSuccessful": false, "Errors": null});
            return Json(body).into_response();
        }
        Some(Mode::Redirect | Mode::Portal) => {
            let target = format!("{}{}", world.state().options.redirect_to, request.uri());
            let target = HeaderValue::from_str(&target).unwrap_or(HeaderValue::from_static("/"));
            return (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, target)]).into_response();
        }
        Some(Mode::Gone) => return not_found(),
        Some(Mode::TwoFactor) => return answer(accounts::two_factor()),
        Some(Mode::Locked) => return answer(accounts::locked()),
        Some(Mode::MustReset) => return answer(accounts::must_reset()),
        _ => {}
    }
    if operation != "sign_in" {
        let now = world.clock.now();
        let header = request.headers().get(AUTHORIZATION).and_then(|header| header.to_str().ok()).unwrap_or("");
        let may = world.state().accounts.user(header, now).is_some_and(|user| user.roles);
        if !may || matches!(fault, Some(Mode::Role | Mode::RoleList | Mode::RoleRead | Mode::RoleEdit)) {
            return refusal(world, StatusCode::UNAUTHORIZED);
        }
    }
    let response = next.run(request).await;
    if fault == Some(Mode::Lost) {
        return listener::hangup();
    }
    if fault != Some(Mode::Truncated) {
        return response;
    }
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default();
    let half = body.slice(..body.len() / 2);
    (status, [(CONTENT_TYPE, "application/json")], half).into_response()
}

impl State {
    /// Counts a call, or answers it when a minute holds too many.
    fn throttle(&mut self, now: Duration) -> Option<Response> {
        let limit = usize::try_from(self.options.requests_per_minute?).unwrap_or(usize::MAX);
        self.recent.retain(|at| *at + Duration::from_secs(60) > now);
        match self.recent.front() {
            Some(oldest) if self.recent.len() >= limit => {
                let status = StatusCode::from_u16(self.options.throttle_status).unwrap_or(StatusCode::CONFLICT);
                Some((status, [(RETRY_AFTER, seconds_left(*oldest, now).to_string())]).into_response())
            }
            _ => {
                self.recent.push_back(now);
                None
            }
        }
    }
}

fn answer((status, body): (u16, Value)) -> Response {
    (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(body)).into_response()
}

/// What is no form (JSON, say) has no fields, hence no `grant_type`.
async fn sign_in(
    Shared(world): Shared<Arc<World>>,
    headers: HeaderMap,
    form: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> Response {
    let form = form.map(|Form(form)| form).unwrap_or_default();
    let client = headers.get("client_id").and_then(|value| value.to_str().ok());
    let now = world.clock.now();
    let mut state = world.state();
    let client = state.options.client_id_in.of(client, &form).map(str::to_owned);
    answer(state.accounts.sign_in(&form, client.as_deref(), now))
}

async fn list(
    Shared(world): Shared<Arc<World>>,
    Extension(fault): Extension<Option<Mode>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response {
    let state = world.state();
    let asked = Asked {
        query: &query,
        ignore_filters: fault == Some(Mode::IgnoreFilter),
        contains: state.options.contains || fault == Some(Mode::MatchTooMuch),
        absent_keys: fault == Some(Mode::AbsentKeys),
    };
    let fails = |at: i64| query.iter().any(|(name, value)| name == "AccessToken_Business" && *value == at.to_string());
    if state.options.fails_at.is_some_and(fails) {
        return StatusCode::from_u16(state.options.fails_with)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            .into_response();
    }
    let mut list = if state.options.lists_nothing {
        Records::default().list(asked)
    } else if state.options.hides.is_empty() {
        state.records.list(asked)
    } else {
        let mut shown = state.records.clone();
        for id in &state.options.hides {
            shown.delete(*id);
        }
        shown.list(asked)
    };
    if let Some(told) = list.get_mut("TotalItems")
        && let Some(total) = told.as_i64()
    {
        *told = (total + state.options.total_off).into();
    }
    if state.options.no_totals
        && let Some(list) = list.as_object_mut()
    {
        list.remove("TotalItems");
        list.remove("TotalPages");
    }
    Json(list).into_response()
}

async fn one(Shared(world): Shared<Arc<World>>, Path(id): Path<String>) -> Response {
    if id.parse().is_ok_and(|id| world.state().options.forbids.contains(&id)) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let record = id.parse().ok().and_then(|id| world.state().records.get(id).cloned());
    match record {
        Some(record) => Json(record).into_response(),
        None => not_found(),
    }
}

async fn create(Shared(world): Shared<Arc<World>>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    write(&world, &headers, &body, false)
}

async fn update(Shared(world): Shared<Arc<World>>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    write(&world, &headers, &body, true)
}

fn write(world: &World, headers: &HeaderMap, body: &Value, replace: bool) -> Response {
    let now = world.clock.now();
    let header = headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok()).unwrap_or("");
    let mut state = world.state();
    let by = state.accounts.user(header, now).map_or_else(String::new, |user| user.name.clone());
    answer(state.records.write(body, replace, &by, now.wall))
}

async fn delete(Shared(world): Shared<Arc<World>>, Path(id): Path<String>) -> Response {
    let deleted = id.parse().is_ok_and(|id| world.state().records.delete(id));
    if deleted {
        Json(done("AccessToken was successfully deleted.", &Value::Null)).into_response()
    } else {
        not_found()
    }
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, Json("Not found")).into_response()
}

async fn commands() -> Response {
    Json(json!([])).into_response()
}

async fn set_fail(Shared(world): Shared<Arc<World>>, Json(body): Json<Value>) -> Response {
    let mode = body.get("mode").and_then(Value::as_str).unwrap_or("none");
    let fail = if matches!(mode, "none" | "") { Ok(None) } else { mode.parse::<Fail>().map(Some) };
    match fail {
        Ok(fail) => {
            world.state().options.faults = fail.into_iter().collect();
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).into_response(),
    }
}

async fn set_latency(Shared(world): Shared<Arc<World>>, Json(body): Json<Value>) -> Response {
    match body.get("milliseconds").and_then(Value::as_u64) {
        Some(milliseconds) => {
            world.state().options.latency = Duration::from_millis(milliseconds);
            StatusCode::NO_CONTENT.into_response()
        }
        None => (StatusCode::UNPROCESSABLE_ENTITY, "milliseconds must be a whole number").into_response(),
    }
}

async fn requests(Shared(world): Shared<Arc<World>>) -> Response {
    let state = world.state();
    Json(json!({"counts": state.counts(), "requests": state.seen})).into_response()
}
