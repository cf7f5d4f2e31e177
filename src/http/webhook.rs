//! `POST /v1/nexudus/webhook`: Nexudus says that something changed. Who may say so is shown by a signature; what is said is
//! not believed, only a re-read is hinted at, so that a hook that is sent again does no harm.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::config::Source;
use crate::http::fields::unread;
use crate::http::problem::Problem;
use crate::http::routes::{App, Cause};
use crate::source::nexudus::Signature;

/// The largest body read, in bytes.
pub(super) const MOST_BYTES: usize = 1 << 20;

/// Bodies held at once: strangers can send them too.
const AT_ONCE: usize = 16;

/// How long a body may take to arrive, and how long its turn is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the log says of those that are refused.
const REFUSED: Cause = Cause("a webhook is not signed with source.nexudus.webhook_secret");

/// The places of bodies that are read.
pub(super) fn places() -> Semaphore {
    Semaphore::new(AT_ONCE)
}

/// A webhook of Nexudus. Changed records are read again soon; what the body says is not believed.
#[utoipa::path(
    post, path = "/v1/nexudus/webhook", tag = "nexudus",
    params(("X-Nexudus-Hook-Signature" = String, Header,
        description = "HMAC-SHA256 of the body under `source.nexudus.webhook_secret`, in hex")),
    request_body(content = Object, description = "Whatever Nexudus sends, up to 1 MiB", content_type = "application/json"),
    responses(
        (status = 204, description = "Taken as a hint"),
        (status = 400, description = "The body did not arrive whole", body = Problem,
         content_type = "application/problem+json"),
        (status = 401, description = "No or a wrong signature", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No `webhook_secret` is configured", body = Problem,
         content_type = "application/problem+json"),
        (status = 413, description = "Body too large", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The body took too long, or too many came at once: send it again", body = Problem,
         content_type = "application/problem+json"),
    ),
)]
pub(super) async fn webhook(State(app): State<Arc<App>>, request: Request) -> Response {
    let secret = match &app.live.borrow().settings.source {
        Source::Nexudus(nexudus) => nexudus.webhook_secret.clone(),
        Source::File(_) => None,
    };
    let Some(secret) = secret else { return Problem::not_found().into_response() };
    let signature = request.headers().get(Signature::HEADER).and_then(|header| Signature::parse(header.as_bytes()));
    let Some(signature) = signature else { return refuse(&app) };
    let late = || Problem::unavailable("The webhook could not be read in time; please send it again.").into_response();
    let Ok(Ok(_place)) = timeout(PATIENCE, app.webhooks.acquire()).await else { return late() };
    let body = match timeout(PATIENCE, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => body,
        Ok(Err(rejection)) => return unread(&rejection, MOST_BYTES).into_response(),
        Err(_) => return late(),
    };
    // A mebibyte takes milliseconds, which logins must not wait for.
    let checked = tokio::task::spawn_blocking(move || signature.fits(&secret, &body)).await;
    if !checked.unwrap_or(false) {
        return refuse(&app);
    }
    app.gate.metrics.webhook(true);
    app.gate.supply().hint.hint();
    StatusCode::NO_CONTENT.into_response()
}

fn refuse(app: &App) -> Response {
    app.gate.metrics.webhook(false);
    let mut response = Problem::unsigned().into_response();
    response.extensions_mut().insert(REFUSED);
    response
}

#[cfg(test)]
mod tests;
