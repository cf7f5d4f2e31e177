//! `/v1/tokens/{code}`: a token as it is held here, its usage and its sessions; and forgetting what was used.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::catalogue::Found as Obtained;
use crate::core::event::Terms;
use crate::core::ident::{Code, TokenId};
use crate::core::login::Claim;
use crate::core::policy::Policy;
use crate::core::token::{AccessToken, Window};
use crate::http::fields::Named;
use crate::http::keys::Caller;
use crate::http::problem::Problem;
use crate::http::routes::App;
use crate::http::sessions::SessionAnswer;
use crate::ledger::Found;
use crate::ledger::Unwritten;
use crate::live::Live;

/// Tokens with live sessions that are read singly by one refresh.
const LIVE: usize = 4;

/// The answer.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenAnswer {
    /// The record.
    pub token: TokenRecord,
    /// Seconds of WiFi spent on it that its `MinutesLeft`, as shown here, does not have in it.
    pub usage_seconds: u64,
    /// Seconds of WiFi spent on it that are not written back to the source.
    pub unwritten_seconds: u64,
    /// Whole minutes that its pool holds; null where there is no limit.
    pub minutes_left: Option<u64>,
    /// When the record was fetched.
    #[schema(value_type = Option<String>)]
    pub fetched_at: Option<Timestamp>,
    /// Its live sessions, oldest first.
    pub sessions: Vec<SessionAnswer>,
}

/// A record under the names of Nexudus.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct TokenRecord {
    /// The Nexudus `Id`.
    pub id: i64,
    /// Its location.
    pub business_id: Option<i64>,
    /// Masked unless the key has the scope `admin`.
    pub access_code: String,
    /// No login before.
    #[schema(value_type = Option<String>)]
    pub valid_from: Option<Timestamp>,
    /// None from then on.
    #[schema(value_type = Option<String>)]
    pub valid_to: Option<Timestamp>,
    /// What it was sold with.
    pub minutes_included: Option<i64>,
    /// What is left of them by the record.
    pub minutes_left: Option<i64>,
    /// Devices at once; null: the default.
    pub user_limit: Option<i64>,
    /// Devices it names.
    pub mac_address: Option<String>,
}

impl TokenRecord {
    fn new(token: &AccessToken, in_full: bool) -> Self {
        let devices: Vec<_> = token.devices.iter().map(ToString::to_string).collect();
        Self {
            id: token.id.0,
            business_id: token.business.map(|business| business.0),
            access_code: if in_full { token.code.reveal().to_owned() } else { token.code.masked() },
            valid_from: token.valid_from,
            valid_to: token.valid_to,
            minutes_included: token.minutes_included.map(i64::from),
            minutes_left: token.minutes_left.map(i64::from),
            user_limit: token.user_limit.map(i64::from),
            mac_address: (!devices.is_empty()).then(|| devices.join(", ")),
        }
    }
}

/// One token. A code that is not at hand is looked up; of several tokens with this code, one that is valid now is shown.
#[utoipa::path(
    get, path = "/v1/tokens/{code}", tag = "tokens", params(("code" = String, Path, description = "The access code")),
    responses(
        (status = 200, description = "The token", body = TokenAnswer),
        (status = 400, description = "Unreadable", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The source does not answer", body = Problem,
         content_type = "application/problem+json"),
    ),
    security(("key" = ["read"])),
)]
pub(super) async fn token(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Named(code): Named,
) -> Result<Json<TokenAnswer>, Problem> {
    let claim = claim(&code)?;
    let catalogue = &app.gate.supply().catalogue;
    shown(&app, &caller, &claim, catalogue.obtain(&claim, catalogue.patience()).await)
}

/// Reads a token again from its source, however fresh the copy at hand is; running sessions feel what changed.
#[utoipa::path(
    post, path = "/v1/tokens/{code}/refresh", tag = "tokens", params(("code" = String, Path, description = "The access code")),
    responses(
        (status = 200, description = "The token, as it is there now", body = TokenAnswer),
        (status = 400, description = "Unreadable", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The source does not answer", body = Problem,
         content_type = "application/problem+json"),
    ),
    security(("key" = ["admin"])),
)]
pub(super) async fn refresh(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Named(code): Named,
) -> Result<Json<TokenAnswer>, Problem> {
    let claim = claim(&code)?;
    let found = reread(&app, &caller.live, &claim).await;
    act(&app, &caller, "refresh", &found, &claim).await;
    shown(&app, &caller, &claim, found)
}

/// Reads the tokens of a code again; running sessions feel what changed.
pub(crate) async fn reread(app: &App, live: &Live, claim: &Claim) -> Obtained {
    let found = app.gate.supply().catalogue.refresh(claim).await;
    if let (Obtained::Tokens(tokens), Claim::Code(code)) = (&found, claim) {
        tokens.iter().for_each(|token| app.gate.revise_one(token.id, Some(token), live));
        // Whoever is online on what the search does not show: it may be gone, or have another code by now.
        let (gate, code) = (Arc::clone(&app.gate), code.clone());
        let used = tokio::task::spawn_blocking(move || gate.ledger.live_under(&code)).await.unwrap_or_default();
        for id in used.into_iter().filter(|id| tokens.iter().all(|token| token.id != *id)).take(LIVE) {
            if let Ok(version) = app.gate.supply().catalogue.reread(id).await {
                app.gate.revise_one(id, version.as_ref().map(|version| &*version.token), live);
            }
        }
    }
    found
}

/// Notes what the holder of a key did to a token.
async fn act(app: &App, caller: &Caller, action: &'static str, found: &Obtained, claim: &Claim) {
    let policy = &caller.live.settings.policy;
    if let Ok(token) = one(found.clone(), claim, policy, app.gate.clock.now().wall) {
        caller.act(app, action, token.id.to_string()).await;
    }
}

fn shown(app: &App, caller: &Caller, claim: &Claim, found: Obtained) -> Result<Json<TokenAnswer>, Problem> {
    let token = one(found, claim, &caller.live.settings.policy, app.gate.clock.now().wall)?;
    Ok(Json(TokenAnswer::new(app, &caller.live, &token, caller.is_admin())))
}

impl TokenAnswer {
    /// A token as it is held here.
    pub(crate) fn new(app: &App, live: &Live, token: &AccessToken, in_full: bool) -> Self {
        let (now, policy) = (app.gate.clock.now(), &live.settings.policy);
        let account = app.gate.ledger.account(token.id).unwrap_or_default();
        let usage = account.unshown(&Terms::of(token, policy), policy, now.wall);
        let claim = Claim::Code(token.code.clone());
        let fetched_at = app.gate.supply().catalogue.age_of(&claim).map(|age| earlier(now.wall, age));
        let session = |session: &crate::core::session::Session| {
            let found = Found { token: token.id, session: session.clone(), ended: None };
            SessionAnswer::new(&found, in_full, now.wall)
        };
        Self {
            token: TokenRecord::new(token, in_full),
            usage_seconds: usage.0,
            unwritten_seconds: account.unwritten(policy, now.wall).0,
            minutes_left: account.left_of(token, policy, now.wall).minutes(),
            fetched_at,
            sessions: account.sessions().iter().map(session).collect(),
        }
    }
}

/// Has a token's pool start from its `MinutesLeft` again: what was used so far is not subtracted any more, nor written back.
#[utoipa::path(
    post, path = "/v1/tokens/{code}/forget-usage", tag = "tokens",
    params(("code" = String, Path, description = "The access code")),
    responses(
        (status = 204, description = "It does, and that is on disk"),
        (status = 400, description = "Unreadable", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The source does not answer, or it could not be written down", body = Problem,
         content_type = "application/problem+json"),
    ),
    security(("key" = ["admin"])),
)]
pub(super) async fn forget_usage(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Named(code): Named,
) -> Result<StatusCode, Problem> {
    let (claim, now) = (claim(&code)?, app.gate.clock.now().wall);
    let policy = &caller.live.settings.policy;
    let catalogue = &app.gate.supply().catalogue;
    let token = one(catalogue.obtain(&claim, catalogue.patience()).await, &claim, policy, now)?;
    caller.act(&app, "forget-usage", token.id.to_string()).await;
    forget(&app, &caller.live, token.id)
        .await
        .map_err(|error| Problem::unavailable(format!("A restart may undo it: {error}.")))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Has a token's pool start anew; on return that is on disk.
pub(crate) async fn forget(app: &App, live: &Live, token: TokenId) -> Result<(), Unwritten> {
    tracing::info!(token = token.0, "its usage is forgotten, as an operator wishes");
    match app.gate.ledger.forget_usage(token, &live.settings.policy, app.gate.clock.now().wall) {
        Some(written) => written.settled().await,
        None => Ok(()),
    }
}

fn claim(code: &str) -> Result<Claim, Problem> {
    Code::parse(code).map(Claim::Code).map_err(|_| Problem::no_such_token())
}

/// The token of this code; of several, one that is valid now.
pub(crate) fn one(
    found: Obtained,
    claim: &Claim,
    policy: &Policy,
    now: Timestamp,
) -> Result<Arc<AccessToken>, Problem> {
    let found = match found {
        Obtained::Tokens(tokens) => tokens,
        Obtained::Unavailable => {
            return Err(Problem::unavailable("No copy is at hand, and the source does not answer."));
        }
    };
    let Claim::Code(code) = claim else { return Err(Problem::no_such_token()) };
    let same = || found.iter().filter(|token| token.code.same(code, policy.ignore_case));
    // Each of several that differ in case can be seen by its own spelling.
    let exact = |token: &&Arc<AccessToken>| token.code == *code;
    let open = |token: &&Arc<AccessToken>| token.window(now) == Window::Open;
    let token = same().find(|token| exact(token) && open(token)).or_else(|| same().find(exact));
    token.or_else(|| same().find(open)).or_else(|| same().next()).map(Arc::clone).ok_or_else(Problem::no_such_token)
}

fn earlier(now: Timestamp, by: Duration) -> Timestamp {
    now.saturating_sub(by).unwrap_or(now)
}
