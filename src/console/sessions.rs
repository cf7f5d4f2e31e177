//! Who is online.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use minijinja::value::Serde;
use minijinja::{Value, context};
use serde::Deserialize;

use super::Desk;
use super::pages::Page;
use super::show::Here;
use crate::core::ident::TokenId;
use crate::core::session::Session;
use crate::http::routes::App;
use crate::http::sessions::{SessionAnswer, find};
use crate::ledger::Found;

/// Sessions on a page.
const ON_A_PAGE: usize = 100;

/// Every live session, the latest first. It looks through every account, so not on a thread that answers.
pub(super) async fn all(app: &App) -> Vec<(TokenId, Session)> {
    let ledger = Arc::clone(&app.gate.ledger);
    let look = move || {
        let mut sessions = ledger.sessions();
        sessions.sort_unstable_by_key(|(_, session)| std::cmp::Reverse(session.id));
        sessions
    };
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

/// As the interface names it.
pub(super) fn state(session: &Session) -> &'static str {
    match (&session.ending, session.reported) {
        (Some(_), _) => "disconnecting",
        (None, None) if session.accounting => "admitted",
        (None, _) => "online",
    }
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Wanted {
    /// A part of a MAC or IP address, of a router's name or a state.
    #[serde(default)]
    q: String,
    #[serde(default)]
    page: usize,
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    desk: Desk,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let Wanted { q, page } = wanted.map(|Query(wanted)| wanted).unwrap_or_default();
    let sessions = all(&app).await;
    let total = sessions.len();
    let wanted = q.trim().to_lowercase();
    // A MAC address in any usual spelling.
    let bare: String = wanted.chars().filter(char::is_ascii_hexdigit).collect();
    let fits = |session: &Session| {
        let text = |value: String| value.to_lowercase().contains(&wanted);
        wanted.is_empty()
            || text(session.contact.nas.to_string())
            || session.contact.ip.is_some_and(|ip| text(ip.to_string()))
            || session.device.is_some_and(|mac| {
                text(mac.to_string())
                    || (bare.len() >= 4 && mac.to_string().replace(':', "").to_lowercase().contains(&bare))
            })
            || state(session) == wanted
    };
    let fitting: Vec<_> = sessions.into_iter().filter(|(_, session)| fits(session)).collect();
    let pages = fitting.len().div_ceil(ON_A_PAGE).max(1);
    let page = page.clamp(1, pages);
    let shown = fitting.iter().skip((page - 1) * ON_A_PAGE).take(ON_A_PAGE);
    let rows: Vec<_> = shown.map(|(token, session)| row(&app, &desk, *token, session)).collect();
    let before = (page > 1).then(|| page - 1);
    let after = (page < pages).then(|| page + 1);
    desk.page(&app, Page::Sessions, context! { q, page, pages, before, after, total, count => fitting.len(), rows })
}

/// A live session, for a table.
pub(super) fn row(app: &App, desk: &Desk, token: TokenId, session: &Session) -> Value {
    let found = Found { token, session: session.clone(), ended: None };
    shown(app, desk, &found)
}

fn shown(app: &App, desk: &Desk, found: &Found) -> Value {
    let now = app.gate.clock.now().wall;
    let here = Here { zone: desk.live.settings.time_zone(), now };
    let answer = SessionAnswer::new(found, desk.is_operator(), now);
    let (started, updated) = (here.moment(answer.started_at), here.ago(answer.updated_at));
    let ended = answer.ended_at.map(|at| here.moment(at));
    let told = answer.ending.as_ref().map(|_| answer.ending_in_words());
    let since = answer.ending.as_ref().map(|ending| here.moment(ending.since));
    context! { answer => Serde(&answer), started, updated, ended, told, since }
}

pub(super) async fn one(State(app): State<Arc<App>>, desk: Desk, Path(id): Path<String>) -> Response {
    match find(&app, &id).await {
        Ok(found) => desk.page(&app, Page::Session, context! { session => shown(&app, &desk, &found) }),
        Err(_) => desk.trouble(
            &app,
            StatusCode::NOT_FOUND,
            "There is no such session, or it ended so long ago that it is forgotten.",
        ),
    }
}
