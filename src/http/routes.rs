//! The routes, and what holds for each of them: keys, deadline, panics, problems.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::config::Scope;
use crate::console::{self, Console};
use crate::gate::Gate;
use crate::http::keys::{Required, require};
use crate::http::problem::Problem;
use crate::http::{accounting, authorize, decisions, freeradius, health, ironwifi, sessions, tokens, webhook};
use crate::live::Current;
use crate::portal::{self, Portal, capport};
use crate::telemetry::log::Brake;

/// The largest body taken, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// How long one request may take: longer than a look-up upstream with its retries, shorter than people wait.
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);

/// How often a line about requests answered with one status is logged.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// Why a request was answered with a problem, for the log; an answer may carry it. Nothing of the request stands in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Cause(pub(super) &'static str);

/// Of an answer with the status of an error: it is a decision, and as usual as another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Denied;

/// What the routes work on.
#[derive(Debug)]
pub struct App {
    /// Where logins are decided.
    pub gate: Arc<Gate>,
    /// The configuration.
    pub live: Current,
    /// What the guests' pages keep.
    pub portal: Portal,
    /// What the operators' pages keep.
    pub console: Console,
    troubles: Mutex<Vec<String>>,
    brake: Brake<(u16, Cause)>,
    /// Webhooks that are read at once.
    pub(super) webhooks: Semaphore,
}

impl App {
    /// The interface of this gate.
    #[must_use]
    pub fn new(gate: Arc<Gate>, live: Current, portal: Portal) -> Self {
        Self {
            gate,
            live,
            portal,
            console: Console::default(),
            troubles: Mutex::default(),
            brake: Brake::new(LINE_EVERY, 64),
            webhooks: webhook::places(),
        }
    }

    /// Notes something that is wrong although logins can be decided, for `/readyz`.
    pub fn trouble(&self, trouble: String) {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).push(trouble);
    }

    pub(super) fn troubles(&self) -> Vec<String> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Every route, behind its key and inside its limits.
pub fn router(app: &Arc<App>) -> Router {
    let (router, document) = described(|scope, basic, routes| {
        routes.route_layer(from_fn_with_state(Required { app: Arc::clone(app), scope, basic }, require))
    });
    let document = Arc::new(document.to_json().unwrap_or_default());
    router
        .merge(portal::router())
        .merge(console::router())
        .route("/openapi.json", get(async move || ([(header::CONTENT_TYPE, "application/json")], (*document).clone())))
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn(within_deadline))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(Arc::clone(app), finish))
        .layer(from_fn(named))
        .with_state(Arc::clone(app))
}

/// The OpenAPI document, made from the same routes.
#[must_use]
pub fn document() -> OpenApi {
    described(|_, _, routes| routes).1
}

type Routes = OpenApiRouter<Arc<App>>;

fn described(guard: impl Fn(Scope, bool, Routes) -> Routes) -> (Router<Arc<App>>, OpenApi) {
    let info = InfoBuilder::new()
        .title("spotgate")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Who may use the WiFi, and for how long."));
    let by_url = |scope, routes| guard(scope, true, routes);
    let guard = |scope, routes| guard(scope, false, routes);
    let (router, mut document) = OpenApiRouter::with_openapi(OpenApiBuilder::new().info(info.build()).build())
        .merge(guard(Scope::Authorize, Routes::new().routes(routes!(authorize::authorize))))
        .merge(guard(Scope::Accounting, Routes::new().routes(routes!(accounting::accounting))))
        .merge(guard(Scope::Ironwifi, Routes::new().routes(routes!(ironwifi::authenticate))))
        .merge(by_url(Scope::Ironwifi, Routes::new().routes(routes!(ironwifi::webhook))))
        .merge(guard(
            Scope::Freeradius,
            Routes::new()
                .routes(routes!(freeradius::authorize))
                .routes(routes!(freeradius::authenticate))
                .routes(routes!(freeradius::accounting)),
        ))
        .merge(guard(
            Scope::Read,
            Routes::new()
                .routes(routes!(sessions::sessions))
                .routes(routes!(sessions::session))
                .routes(routes!(tokens::token))
                .routes(routes!(decisions::decisions)),
        ))
        .merge(guard(
            Scope::Admin,
            Routes::new()
                .routes(routes!(sessions::disconnect))
                .routes(routes!(tokens::forget_usage))
                .routes(routes!(tokens::refresh)),
        ))
        .merge(Routes::new().routes(routes!(webhook::webhook)).route_layer(DefaultBodyLimit::max(webhook::MOST_BYTES)))
        .routes(routes!(capport::capport))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .split_for_parts();
    let key = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    let password = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Basic).build());
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("key", key);
    components.add_security_scheme("password", password);
    for path in document.paths.paths.values_mut() {
        [&mut path.get, &mut path.post, &mut path.delete].into_iter().flatten().for_each(say_what_keys_meet);
    }
    (router, document)
}

/// Says of an operation that wants a key how one is answered that is missing, wrong or may not.
fn say_what_keys_meet(operation: &mut Operation) {
    if operation.security.is_none() {
        return;
    }
    for (status, description) in [("401", "No or wrong key"), ("403", "Scope missing")] {
        let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new().description(description).content("application/problem+json", problem);
        let responses = &mut operation.responses.responses;
        responses.entry(status.to_owned()).or_insert_with(|| response.build().into());
    }
}

async fn within_deadline(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable("The answer was not ready in time; please ask again.").into_response(),
    }
}

/// Gives a request an id, which stands in every line that is logged of it, down to the calls upstream, and in its answer.
async fn named(request: Request, next: Next) -> Response {
    let mut random = [0; 8];
    // Without random numbers all have the same, and are answered.
    let _ = getrandom::fill(&mut random);
    let id = format!("{:016x}", u64::from_be_bytes(random));
    let mut response = next.run(request).instrument(tracing::info_span!("request", id)).await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), id);
    }
    response
}

/// Counts problems, says one of each kind a minute, and sets what every answer carries.
async fn finish(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (method, route) = (request.method().clone(), request.extensions().get::<MatchedPath>().cloned());
    let mut response = next.run(request).await;
    let status = response.status();
    let is_denied = response.extensions().get::<Denied>().is_some();
    if (status.is_client_error() || status.is_server_error()) && !is_denied {
        app.gate.metrics.http_problem(status.as_u16());
        let cause = response.extensions().get::<Cause>().copied().unwrap_or_default();
        if let Some(held) = app.brake.pass(&(status.as_u16(), cause), app.gate.clock.now().mono) {
            // The route, not the path: a path is the caller's text.
            let route = route.as_ref().map_or("none", MatchedPath::as_str);
            let cause = Some(cause.0).filter(|cause| !cause.is_empty());
            let status = status.as_u16();
            tracing::warn!(%method, route, status, held, cause, "an HTTP request was answered with a problem");
        }
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("a request ended in a panic; this is a fault in spotgate");
    Problem::internal().into_response()
}
