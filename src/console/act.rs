//! What an operator can do, and the trail of it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Form, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use minijinja::context;
use serde::Deserialize;

use super::pages::Page;
use super::show::Here;
use super::sign_in::SignedIn;
use super::tokens::held;
use super::{Act, Desk, see_other};
use crate::catalogue::Found;
use crate::core::ending::Cause;
use crate::core::ident::{SessionId, TokenId};
use crate::core::login::Claim;
use crate::history::Action;
use crate::http::routes::App;
use crate::http::tokens::{forget, reread};

/// Actions that are shown.
const SHOWN: usize = 500;

/// Notes what somebody did, before it is done.
pub(super) async fn note(app: &App, who: &SignedIn, from: Option<IpAddr>, action: &str, subject: &str) {
    let from = from.map(|from| from.to_string());
    let (who, action, subject) = (who.who(), action.to_owned(), subject.to_owned());
    app.gate.history.act_or_log(Action { at: app.gate.clock.now().wall, who, from, action, subject }).await;
}

pub(super) async fn disconnect(
    State(app): State<Arc<App>>,
    desk: Desk,
    Path(id): Path<String>,
    headers: HeaderMap,
    Form(Act { csrf }): Form<Act>,
) -> Response {
    if let Some(refused) = desk.refusal(&app, &headers, &csrf) {
        return refused;
    }
    let Ok(session) = id.parse::<SessionId>() else {
        return desk.trouble(&app, StatusCode::NOT_FOUND, "There is no such session.");
    };
    let (policy, now) = (&desk.live.settings.policy, app.gate.clock.now().wall);
    note(&app, &desk.who, desk.from, "disconnect", &session.to_string()).await;
    if let Some((_, written)) = app.gate.ledger.order(session, Cause::Operator, policy, now)
        && let Err(error) = written.settled().await
    {
        let what = format!("The router is told, but a restart may forget that: {error}.");
        return desk.trouble(&app, StatusCode::SERVICE_UNAVAILABLE, &what);
    }
    see_other(&format!("/admin/sessions/{session}"))
}

pub(super) async fn refresh(
    State(app): State<Arc<App>>,
    desk: Desk,
    Path(id): Path<i64>,
    headers: HeaderMap,
    Form(Act { csrf }): Form<Act>,
) -> Response {
    if let Some(refused) = desk.refusal(&app, &headers, &csrf) {
        return refused;
    }
    let Some(token) = held(&app, TokenId(id)).await else {
        return desk.trouble(&app, StatusCode::NOT_FOUND, "There is no such token here.");
    };
    note(&app, &desk.who, desk.from, "refresh", &id.to_string()).await;
    match reread(&app, &desk.live, &Claim::Code(token.code.clone())).await {
        Found::Tokens(tokens) if tokens.iter().any(|found| found.id == token.id) => {
            see_other(&format!("/admin/tokens/{id}"))
        }
        Found::Tokens(_) => desk.trouble(&app, StatusCode::OK, "The source has no token with this code any more."),
        Found::Unavailable => desk.trouble(
            &app,
            StatusCode::SERVICE_UNAVAILABLE,
            "The source does not answer just now; the copy stays as it is.",
        ),
    }
}

pub(super) async fn forget_usage(
    State(app): State<Arc<App>>,
    desk: Desk,
    Path(id): Path<i64>,
    headers: HeaderMap,
    Form(Act { csrf }): Form<Act>,
) -> Response {
    if let Some(refused) = desk.refusal(&app, &headers, &csrf) {
        return refused;
    }
    note(&app, &desk.who, desk.from, "forget-usage", &id.to_string()).await;
    match forget(&app, &desk.live, TokenId(id)).await {
        Ok(()) => see_other(&format!("/admin/tokens/{id}")),
        Err(error) => desk.trouble(&app, StatusCode::SERVICE_UNAVAILABLE, &format!("A restart may undo it: {error}.")),
    }
}

/// What is to be shown of the audit trail.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Shown {
    /// `no`: what was done, and not who signed in.
    #[serde(default, rename = "sign-ins")]
    sign_ins: String,
}

/// The audit trail.
pub(super) async fn page(
    State(app): State<Arc<App>>,
    desk: Desk,
    shown: Result<Query<Shown>, QueryRejection>,
) -> Response {
    let sign_ins = shown.map_or(true, |Query(shown)| shown.sign_ins != "no");
    let here = Here { zone: desk.live.settings.time_zone(), now: app.gate.clock.now().wall };
    let (actions, trouble) = match app.gate.history.actions(SHOWN, sign_ins).await {
        Ok(actions) => (actions, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let row = |action: &Action| {
        context! {
            at => here.moment(action.at), who => action.who.as_str(), from => action.from.as_deref(), action => action.action.as_str(),
            subject => action.subject.as_str(),
        }
    };
    let rows: Vec<_> = actions.iter().map(row).collect();
    desk.page(&app, Page::Actions, context! { most => rows.len() >= SHOWN, rows, trouble, sign_ins })
}
