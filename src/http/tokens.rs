//! `GET /v1/tokens/{code}`: a token as it is held here, its usage and its sessions.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Path, State};
use jiff::Timestamp;
use serde::Serialize;

use crate::catalogue::Found as Obtained;
use crate::core::ident::Code;
use crate::core::login::Claim;
use crate::core::token::{AccessToken, Window};
use crate::http::keys::Caller;
use crate::http::problem::Problem;
use crate::http::routes::App;
use crate::http::sessions::SessionAnswer;
use crate::ledger::Found;

/// The answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TokenAnswer {
    /// The record.
    token: TokenRecord,
    /// Seconds of WiFi spent on it that its `MinutesLeft` does not show.
    usage_seconds: u64,
    /// Those of them that are not written back to the source.
    unwritten_seconds: u64,
    /// Whole minutes that its pool holds; null where there is no limit.
    minutes_left: Option<u64>,
    /// When the record was fetched.
    #[schema(value_type = Option<String>)]
    fetched_at: Option<Timestamp>,
    /// Its live sessions, oldest first.
    sessions: Vec<SessionAnswer>,
}

/// A record under the names of Nexudus.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct TokenRecord {
    id: i64,
    business_id: Option<i64>,
    /// Masked unless the key has the scope `admin`.
    access_code: String,
    #[schema(value_type = Option<String>)]
    valid_from: Option<Timestamp>,
    #[schema(value_type = Option<String>)]
    valid_to: Option<Timestamp>,
    minutes_included: Option<i64>,
    minutes_left: Option<i64>,
    user_limit: Option<i64>,
    mac_address: Option<String>,
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
            minutes_included: token.minutes_included,
            minutes_left: token.minutes_left,
            user_limit: token.user_limit,
            mac_address: (!devices.is_empty()).then(|| devices.join(", ")),
        }
    }
}

/// One token. A code that is not at hand is looked up; of several tokens with this code, one that is valid now is shown.
#[utoipa::path(
    get, path = "/v1/tokens/{code}", tag = "tokens", params(("code" = String, Path, description = "The access code")),
    responses(
        (status = 200, description = "The token", body = TokenAnswer),
        (status = 404, description = "Unknown", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The source does not answer", body = Problem,
         content_type = "application/problem+json"),
    ),
    security(("key" = ["read"])),
)]
pub(super) async fn token(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(code): Path<String>,
) -> Result<Json<TokenAnswer>, Problem> {
    let code = Code::parse(&code).map_err(|_| Problem::not_found())?;
    let (supply, now) = (app.gate.supply(), app.gate.clock.now());
    let policy = &caller.live.settings.policy;
    let claim = Claim::Code(code.clone());
    let found = match supply.catalogue.obtain(&claim, supply.catalogue.patience()).await {
        Obtained::Tokens(tokens) => tokens,
        Obtained::Unavailable => {
            return Err(Problem::unavailable("No copy is at hand, and the source does not answer."));
        }
    };
    let same = || found.iter().filter(|token| token.code.same(&code, policy.ignore_case));
    // Each of several that differ in case can be seen by its own spelling.
    let exact = |token: &&Arc<AccessToken>| token.code == code;
    let open = |token: &&Arc<AccessToken>| token.window(now.wall) == Window::Open;
    let token = same().find(|token| exact(token) && open(token)).or_else(|| same().find(exact));
    let token = token.or_else(|| same().find(open)).or_else(|| same().next()).ok_or_else(Problem::not_found)?;
    let account = app.gate.ledger.account(token.id).unwrap_or_default();
    let usage = account.usage(policy, now.wall);
    let fetched_at = supply.catalogue.fetched_at(&claim).map(|at| earlier(now.wall, now.mono.saturating_sub(at)));
    let in_full = caller.is_admin();
    let session = |session: &crate::core::session::Session| {
        let found = Found { token: token.id, session: session.clone(), ended: None };
        SessionAnswer::new(&found, in_full, now.wall)
    };
    Ok(Json(TokenAnswer {
        token: TokenRecord::new(token, in_full),
        usage_seconds: usage.0,
        unwritten_seconds: usage.0,
        minutes_left: token.pool(policy).less(usage).minutes(),
        fetched_at,
        sessions: account.sessions().iter().map(session).collect(),
    }))
}

fn earlier(now: Timestamp, by: Duration) -> Timestamp {
    now.saturating_sub(by).unwrap_or(now)
}
