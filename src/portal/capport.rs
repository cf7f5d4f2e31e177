//! What a device's own software asks: is there a portal before the internet here, and for how long is it open (RFC 8908).

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::address::{From, is_of_many};
use super::arrival::{Given, nas_of};
use super::pages::query;
use super::status::{Online, online_at};
use super::{In, pages};
use crate::http::problem::Problem;
use crate::http::routes::App;

/// The answer (RFC 8908 §5).
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Captive {
    /// Whether the way to the internet is closed.
    captive: bool,
    /// Where it is opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_portal_url: Option<String>,
    /// Where the time left is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    venue_info_url: Option<String>,
    /// Until it closes.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_remaining: Option<u64>,
    /// Whether it can be kept open longer: by another code.
    can_extend_session: bool,
}

/// Whether the asking device is online, and for how long.
#[utoipa::path(
    get, path = "/capport", tag = "portal",
    responses(
        (status = 200, description = "As of the asking address", body = Captive, content_type = "application/captive+json"),
        (status = 404, description = "There is no portal", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn capport(State(app): State<Arc<App>>, From(from): From, live: In) -> Result<Response, Problem> {
    pages(&live)?;
    let online = match from {
        Some(from) => online_at(&app, &live, None, from).await,
        None => None,
    };
    let nas = from.and_then(|from| nas_of(&Given::default(), &live, from));
    let may_be_online = match nas {
        Some(nas) if online.is_none() => {
            app.portal.addresses.is_any_unknown(nas.name(), &app.gate.ledger, &app.gate.clock).await
        }
        Some(_) | None => false,
    };
    // Behind address translation all guests are one, of some devices nobody says the address, and networks of several sites may be
    // alike: whether this one is online nobody can say then, and devices find out otherwise.
    let nobody_knows = |from: IpAddr| {
        let several = live.settings.nas.len() > 1 && live.clients.find(from).is_none();
        !from.is_loopback() && (several || may_be_online || (online.is_none() && is_of_many(from, &live)))
    };
    if from.is_some_and(nobody_knows) {
        return Err(Problem::not_found());
    }
    let at = |path: &str| {
        let base = live.settings.portal.public_url.as_deref()?;
        let query = query(nas.map(|nas| ("nas", nas.name().as_str())));
        Some(format!("{base}/{path}{}{query}", if query.is_empty() { "" } else { "?" }))
    };
    let captive = Captive {
        captive: online.is_none(),
        user_portal_url: at("login"),
        venue_info_url: at("status"),
        seconds_remaining: online.as_ref().and_then(Online::seconds),
        can_extend_session: true,
    };
    let headers = [(header::CONTENT_TYPE, "application/captive+json"), (header::CACHE_CONTROL, "private, no-store")];
    Ok((headers, Json(captive)).into_response())
}
