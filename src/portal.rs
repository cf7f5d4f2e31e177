//! The guest's door: the pages where a code is typed, and where the time left is read.
//!
//! A hotspot sends the browser of a guest who is not online to [`door`], with what [`arrival`] reads; the code is checked there,
//! so that the guest reads the real reason, and the login goes back to the hotspot by way of [`handover`], or of [`opennds`]
//! where that is one. [`status`] shows the time left and logs out, and [`capport`] tells the same to a device's own software
//! (RFC 8908). Nothing that comes from a browser is trusted: see each.

pub mod address;
pub mod arrival;
pub mod badge;
pub mod capport;
pub mod door;
pub mod handover;
pub mod language;
pub mod opennds;
pub mod pages;
pub mod status;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::http::problem::Problem;
use crate::http::routes::App;
use crate::live::Live;
use pages::Pages;

/// The configuration that a request is served under, from its beginning to its end.
#[derive(Debug)]
pub(crate) struct In(Arc<Live>);

impl std::ops::Deref for In {
    type Target = Live;

    fn deref(&self) -> &Live {
        &self.0
    }
}

impl FromRequestParts<Arc<App>> for In {
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, app: &Arc<App>) -> Result<Self, Infallible> {
        Ok(Self(Arc::clone(&app.live.borrow())))
    }
}

/// The largest form that is read, in octets.
const LARGEST_FORM: usize = 16 * 1024;

/// How long a request may take.
const DEADLINE: Duration = Duration::from_secs(8);

/// The cookie that holds a badge.
const COOKIE: &str = "spotgate";

/// What the guests' pages keep between requests.
#[derive(Debug)]
pub struct Portal {
    /// What badges are signed with.
    pub key: badge::Key,
    /// Who is online at which address.
    pub addresses: address::Addresses,
    /// Whether every code is of digits alone.
    digits: Mutex<door::Digits>,
}

impl Portal {
    /// A portal whose badges are signed with this key.
    #[must_use]
    pub fn new(key: badge::Key) -> Self {
        Self { key, addresses: address::Addresses::default(), digits: Mutex::default() }
    }
}

/// The routes of guests.
pub fn router() -> axum::Router<Arc<App>> {
    axum::Router::new()
        .route("/", get(door::front))
        .route("/login", get(door::page).post(door::login))
        .route("/status", get(status::page))
        .route("/logout", post(status::logout).get(status::elsewhere))
        .route("/portal/style.css", get(style))
        .route("/portal/script.js", get(script))
        .route("/portal/logo", get(logo))
        .layer(DefaultBodyLimit::max(LARGEST_FORM))
        .layer(from_fn(soon))
}

/// A guest's request takes no longer than guests wait, its body included.
async fn soon(request: Request, next: Next) -> Response {
    match tokio::time::timeout(DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable("The answer was not ready in time; please ask again.").into_response(),
    }
}

/// The pages in force; a problem where there are none.
fn pages(live: &Live) -> Result<&Arc<Pages>, Problem> {
    live.pages.as_ref().ok_or_else(Problem::not_found)
}

/// A page as an answer: never kept, never framed, with nothing in it but what comes from here. `onward` is where its forms may
/// lead, by way of redirects too.
fn answer(status: StatusCode, page: String, onward: &[String]) -> Response {
    let onward = onward.iter().fold(String::new(), |all, origin| all + " " + origin);
    let policy = format!(
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'{onward}; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    let policy = HeaderValue::from_str(&policy)
        .unwrap_or(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (header::VARY, HeaderValue::from_static("accept-language, cookie")),
    ];
    (status, headers, page).into_response()
}

/// To another address, by `GET`.
fn see_other(location: &str) -> Response {
    let location = HeaderValue::from_str(location).unwrap_or(HeaderValue::from_static("status"));
    let headers = [(header::LOCATION, location), (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"))];
    (StatusCode::SEE_OTHER, headers).into_response()
}

/// A file that browsers keep; its address changes with it.
fn kept(media_type: &'static str, content: axum::body::Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "public, max-age=86400"),
        // An image may hold a script, and be opened by itself.
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; sandbox"),
    ];
    (headers, content).into_response()
}

async fn style(live: In) -> Result<Response, Problem> {
    Ok(kept("text/css; charset=utf-8", pages(&live)?.style.clone()))
}

async fn script(live: In) -> Result<Response, Problem> {
    pages(&live)?;
    Ok(kept("text/javascript; charset=utf-8", pages::SCRIPT.into()))
}

async fn logo(live: In) -> Result<Response, Problem> {
    let logo = pages(&live)?.logo.clone().ok_or_else(Problem::not_found)?;
    Ok(kept(logo.media_type, logo.image))
}

#[cfg(test)]
mod tests;
