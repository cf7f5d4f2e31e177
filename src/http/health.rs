//! `GET /healthz` and `GET /readyz`: alive, and able to decide.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::http::routes::App;
use crate::source::Error;

/// The answer of `/healthz`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Health {
    status: &'static str,
    version: &'static str,
}

/// The answer of `/readyz`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Readiness {
    /// Whether logins can be decided.
    ready: bool,
    /// What is wrong although logins can be decided, or why they cannot.
    degraded: Vec<String>,
}

/// Alive.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, description = "Alive", body = Health)))]
pub(super) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

/// Ready to decide: 200 while copies can be used, 503 when nothing can be decided.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses(
        (status = 200, description = "Ready; `degraded` says what is wrong", body = Readiness),
        (status = 503, description = "Nothing can be decided, and why", body = Readiness),
    ),
)]
pub(super) async fn readyz(State(app): State<Arc<App>>) -> (StatusCode, Json<Readiness>) {
    let (ready, degraded) = state(&app);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, degraded }))
}

/// Whether logins can be decided, and what is wrong all the same.
pub(crate) fn state(app: &App) -> (bool, Vec<String>) {
    let (supply, mut degraded) = (app.gate.supply(), app.troubles());
    degraded.extend(app.gate.ledger.trouble().map(|trouble| format!("store: {trouble}")));
    let ready = match supply.health.last() {
        Some(Ok(())) => true,
        Some(Err(error)) => {
            degraded.push(shown(&error));
            supply.catalogue.is_usable()
        }
        None => {
            // Where another daemon asks for all, this one may never have to.
            if app.gate.ledger.leads() || !supply.catalogue.is_usable() {
                degraded.push("source: no answer yet".to_owned());
            }
            supply.catalogue.is_usable()
        }
    };
    for alarm in supply.health.alarms().iter().map(shown) {
        if !degraded.contains(&alarm) {
            degraded.push(alarm);
        }
    }
    degraded
        .extend(supply.mirror.as_ref().and_then(|mirror| mirror.trouble()).map(|trouble| format!("mirror: {trouble}")));
    degraded.extend(app.live.borrow().radsec_trouble(app.gate.clock.now().wall));
    degraded.extend(app.gate.clock.correction().map(|by| {
        let (seconds, way) = (by.as_secs().unsigned_abs(), if by.is_negative() { "ahead" } else { "behind" });
        format!("clock: this machine's is {seconds} s {way}, and corrected for that; set it (timedatectl set-ntp true)")
    }));
    degraded.extend(app.gate.ironwifi.words().map(|trouble| format!("ironwifi: {trouble}")));
    degraded.extend(supply.write_back.words().map(|trouble| format!("write_back: {trouble}")));
    degraded.extend(app.gate.history.trouble().map(|trouble| format!("history: {trouble}")));
    (ready, degraded)
}

/// An error of the source in words; an alarm with its name, which programs can rely on.
fn shown(error: &Error) -> String {
    match error.alarm() {
        Some(alarm) => format!("source: {error} ({})", alarm.kind()),
        None => format!("source: {error}"),
    }
}
