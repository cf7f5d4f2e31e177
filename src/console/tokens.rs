//! Access tokens: those in use, and one by its code.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Form, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use minijinja::value::Serde;
use minijinja::{Value, context};
use serde::Deserialize;

use super::pages::Page;
use super::show::Here;
use super::{Desk, see_other, sessions};
use crate::catalogue::{Found, Standing};
use crate::core::ident::{Code, TokenId};
use crate::core::login::Claim;
use crate::core::token::{AccessToken, Window};
use crate::http::routes::App;
use crate::http::tokens::{TokenAnswer, one as choose};

/// Tokens in use that are shown.
const SHOWN: usize = 200;

pub(super) async fn list(State(app): State<Arc<App>>, desk: Desk) -> Response {
    listed(&app, &desk, None).await
}

async fn listed(app: &App, desk: &Desk, wrong: Option<&str>) -> Response {
    let mut devices = HashMap::<TokenId, usize>::new();
    for (token, _) in sessions::all(app).await {
        *devices.entry(token).or_default() += 1;
    }
    let mut used: Vec<_> = devices.into_iter().collect();
    used.sort_unstable_by_key(|(token, devices)| (std::cmp::Reverse(*devices), *token));
    let total = used.len();
    let mut rows = Vec::new();
    for (id, devices) in used.into_iter().take(SHOWN) {
        let Some(token) = held(app, id).await else {
            rows.push(context! { id => id.0, devices });
            continue;
        };
        rows.push(row(app, desk, &token, devices));
    }
    desk.page(app, Page::Tokens, context! { rows, total, wrong })
}

fn row(app: &App, desk: &Desk, token: &AccessToken, devices: usize) -> Value {
    let answer = TokenAnswer::new(app, &desk.live, token, desk.is_operator());
    let limit =
        token.user_limit.map_or(desk.live.settings.policy.default_user_limit, |limit| limit.max(1).unsigned_abs());
    let (id, code, left) = (token.id.0, answer.token.access_code, answer.minutes_left);
    context! { id, code, left, devices, limit }
}

/// The token of this id, as far as it is at hand: of every token, or by the code it was last used with.
pub(super) async fn held(app: &App, id: TokenId) -> Option<Arc<AccessToken>> {
    let catalogue = Arc::clone(&app.gate.supply().catalogue);
    match catalogue.standing(id) {
        Some(Standing::Held(token)) => return Some(token),
        Some(Standing::Gone) => return None,
        None => {}
    }
    let code = app.gate.ledger.account(id)?.remembered()?.0.clone();
    match catalogue.obtain(&Claim::Code(code), catalogue.patience()).await {
        Found::Tokens(tokens) => tokens.iter().find(|token| token.id == id).cloned(),
        Found::Unavailable => None,
    }
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    code: String,
}

pub(super) async fn find(State(app): State<Arc<App>>, desk: Desk, Form(Wanted { code }): Form<Wanted>) -> Response {
    let Ok(code) = Code::parse(&code) else { return listed(&app, &desk, Some("Type an access code.")).await };
    let (claim, catalogue) = (Claim::Code(code), Arc::clone(&app.gate.supply().catalogue));
    let found = catalogue.obtain(&claim, catalogue.patience()).await;
    if matches!(found, Found::Unavailable) {
        return listed(&app, &desk, Some("No copy is at hand, and the source does not answer.")).await;
    }
    match choose(found, &claim, &desk.live.settings.policy, app.gate.clock.now().wall) {
        Ok(token) => see_other(&format!("/admin/tokens/{}", token.id.0)),
        Err(_) => listed(&app, &desk, Some("No token has this code.")).await,
    }
}

pub(super) async fn one(State(app): State<Arc<App>>, desk: Desk, Path(id): Path<i64>) -> Response {
    let Some(token) = held(&app, TokenId(id)).await else {
        return desk.trouble(
            &app,
            StatusCode::NOT_FOUND,
            "No token of this number is at hand; it may be gone at the source.",
        );
    };
    let now = app.gate.clock.now().wall;
    let here = Here { zone: desk.live.settings.time_zone(), now };
    let answer = TokenAnswer::new(&app, &desk.live, &token, desk.is_operator());
    let account = app.gate.ledger.account(token.id).unwrap_or_default();
    let rows: Vec<_> =
        account.sessions().iter().rev().map(|session| sessions::row(&app, &desk, token.id, session)).collect();
    let window = match token.window(now) {
        Window::Open => "now",
        Window::NotYet(_) => "not yet",
        Window::Over(_) => "no more",
    };
    desk.page(
        &app,
        Page::Token,
        context! {
            window, rows,
            valid_from => token.valid_from.map(|at| here.moment(at)),
            valid_to => token.valid_to.map(|at| here.moment(at)),
            fetched => answer.fetched_at.map(|at| here.ago(at)),
            last_used => account.last_used().map(|at| here.ago(at)),
            answer => Serde(&answer),
        },
    )
}
