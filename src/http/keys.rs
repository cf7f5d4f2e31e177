//! API keys and what they may do.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use data_encoding::BASE64;
use secrecy::ExposeSecret as _;
use subtle::{Choice, ConstantTimeEq as _};

use crate::config::{ApiKey, Scope};
use crate::history::Action;
use crate::http::problem::Problem;
use crate::http::routes::App;
use crate::live::Live;

/// What a route asks of its caller.
#[derive(Clone)]
pub struct Required {
    /// The daemon.
    pub app: Arc<App>,
    /// The scope the key must have.
    pub scope: Scope,
    /// Whether the key may also come as the password of `Authorization: Basic`: from who can be told no more than a URL. Never
    /// where something is changed, since browsers send such a password by themselves.
    pub basic: bool,
}

/// The caller, once its key was found good: the configuration that said so, and the key's name and NAS.
#[derive(Clone)]
pub struct Caller {
    /// The configuration this request is served under, from its first byte to its last.
    pub live: Arc<Live>,
    /// The key.
    pub key: ApiKey,
}

impl Caller {
    /// Notes what the key's holder did, in the audit trail.
    pub(super) async fn act(&self, app: &App, action: &'static str, subject: String) {
        let who = format!("key {}", self.key.name);
        let action = Action { at: app.gate.clock.now().wall, who, from: None, action: action.to_owned(), subject };
        app.gate.history.act_or_log(action).await;
    }

    /// Whether codes are shown in full.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.key.scopes.contains(&Scope::Admin)
    }
}

/// Lets a request through if its key has the scope.
pub async fn require(State(required): State<Required>, mut request: Request, next: Next) -> Result<Response, Problem> {
    let live = Arc::clone(&required.app.live.borrow());
    let given = given(request.headers(), required.basic).ok_or_else(Problem::unauthorized)?;
    let key = find(&live.settings.http.api_keys, &given).ok_or_else(Problem::unauthorized)?.clone();
    if !key.scopes.contains(&required.scope) {
        return Err(Problem::forbidden(required.scope.as_str()));
    }
    request.extensions_mut().insert(Caller { live, key });
    Ok(next.run(request).await)
}

/// The key in `Authorization: Bearer KEY`, or, where that is allowed, the password of `Authorization: Basic`.
fn given(headers: &HeaderMap, basic: bool) -> Option<Vec<u8>> {
    let given = headers.get(header::AUTHORIZATION)?.as_bytes();
    let of = |scheme: &str| {
        let (named, given) = given.split_at_checked(scheme.len())?;
        named.eq_ignore_ascii_case(scheme.as_bytes()).then(|| given.trim_ascii())
    };
    if let Some(given) = of("Bearer ") {
        return Some(given.to_vec());
    }
    let decoded = BASE64.decode(of("Basic ").filter(|_| basic)?).ok()?;
    let colon = decoded.iter().position(|octet| *octet == b':')?;
    decoded.get(colon + 1..).map(<[u8]>::to_vec)
}

/// Every configured key is compared, each in constant time, so that the time taken tells nothing of how much was right.
fn find<'k>(keys: &'k [ApiKey], given: &[u8]) -> Option<&'k ApiKey> {
    keys.iter().fold(None, |found, key| {
        let same: Choice = key.key.expose_secret().as_bytes().ct_eq(given);
        if bool::from(same) { Some(key) } else { found }
    })
}
