//! The operator's desk at `/admin`: who is online, why somebody is not, what the routers and the source do, and the means to
//! act. Pages are made here and need no script; with one they stay up to date by themselves.
//!
//! [`mod@sign_in`] says who is at the desk. Whoever may only look sees codes masked, as the interface shows them without the
//! scope `admin`. Codes are sent in bodies, never in addresses, which proxies and browsers write down.

mod act;
mod chart;
mod decisions;
mod overview;
mod pages;
mod routers;
mod sessions;
mod show;
pub mod sign_in;
mod tokens;
mod why;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Form, FromRequestParts, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use minijinja::{Value, context};
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use crate::http::problem::Problem;
use crate::http::routes::App;
use crate::live::Live;
use crate::portal::address::{From, Peer};
use crate::telemetry::log::Brake;
use pages::{Page, Pages};
use sign_in::{Door, Guesser, KnownBrowser, Passwords, Refusal, Role, SignedIn};

/// The cookie by which a browser is known.
const COOKIE: &str = "spotgate-desk";

/// The cookie by which it is known again after it was signed out, and for how long, in seconds: half a year.
const KNOWN: &str = "spotgate-known";
const KNOWN_FOR: u32 = 180 * 86_400;

/// How often the log speaks of an address that is refused.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// The largest form, in octets.
const LARGEST_FORM: usize = 8 * 1024;

/// The longest name somebody gives, in characters.
const LONGEST_NAME: usize = 40;

/// What the console keeps between requests.
#[derive(Debug)]
pub struct Console {
    door: Door,
    pages: Pages,
    brake: Brake<Guesser>,
    /// Of sign-ins in the audit trail, by those who may only look.
    looking: Brake<Guesser>,
}

impl Default for Console {
    fn default() -> Self {
        Self {
            door: Door::default(),
            pages: Pages::default(),
            brake: Brake::new(LINE_EVERY, 64),
            looking: Brake::new(LINE_EVERY, 64),
        }
    }
}

/// The routes of operators.
pub fn router() -> axum::Router<Arc<App>> {
    axum::Router::new()
        .route("/admin", get(overview::page))
        .route("/admin/", get(overview::page))
        .route("/admin/sign-in", get(ask).post(sign_in))
        .route("/admin/sign-out", post(sign_out))
        .route("/admin/sessions", get(sessions::list))
        .route("/admin/sessions/{id}", get(sessions::one))
        .route("/admin/sessions/{id}/disconnect", post(act::disconnect))
        .route("/admin/why", get(why::ask).post(why::answer))
        .route("/admin/decisions", get(decisions::page))
        .route("/admin/tokens", get(tokens::list).post(tokens::find))
        .route("/admin/tokens/{id}", get(tokens::one))
        .route("/admin/tokens/{id}/refresh", post(act::refresh))
        .route("/admin/tokens/{id}/forget-usage", post(act::forget_usage))
        .route("/admin/routers", get(routers::page))
        .route("/admin/actions", get(act::page))
        .route("/admin/style.css", get(async || kept("text/css; charset=utf-8", pages::STYLE)))
        .route("/admin/script.js", get(async || kept("text/javascript; charset=utf-8", pages::SCRIPT)))
        .layer(DefaultBodyLimit::max(LARGEST_FORM))
}

/// Somebody who is signed in, and the configuration that their request is served under.
pub(crate) struct Desk {
    live: Arc<Live>,
    who: SignedIn,
    /// What their browser is known by.
    id: String,
    from: Option<IpAddr>,
    /// Whether what they send can be read on the way.
    is_exposed: bool,
    /// Where they are, for the menu.
    path: String,
}

impl FromRequestParts<Arc<App>> for Desk {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let live = Arc::clone(&app.live.borrow());
        let passwords = passwords(&live).map_err(Problem::into_response)?;
        let (id, now) = (cookie(&parts.headers, COOKIE), app.gate.clock.now().mono);
        let Ok(From(from)) = From::from_request_parts(parts, app).await;
        let is_exposed = is_exposed(&live, parts);
        let path = parts.uri.path().to_owned();
        let found = id.and_then(|id| Some((app.console.door.find(passwords, &id, now)?, id)));
        match found {
            Some((who, id)) => Ok(Self { live, who, id, from, is_exposed, path }),
            None => {
                // What was to be done is not done after signing in.
                let to = if parts.method == "GET" { parts.uri.to_string() } else { String::new() };
                Err(see_other(&format!("/admin/sign-in?{}", crate::portal::pages::query([("to", to.as_str())]))))
            }
        }
    }
}

impl Desk {
    /// Whether codes are shown in full, and something may be done.
    fn is_operator(&self) -> bool {
        self.who.role == Role::Operator
    }

    /// A page of theirs.
    fn page(&self, app: &App, page: Page, body: Value) -> Response {
        self.page_with(app, StatusCode::OK, page, body)
    }

    fn page_with(&self, app: &App, status: StatusCode, page: Page, body: Value) -> Response {
        let desk = context! {
            path => self.path.as_str(),
            csrf => self.who.csrf.expose_secret(),
            signed_in => self.who.who(),
            is_operator => self.is_operator(),
            is_exposed => self.is_exposed,
            site => self.live.settings.portal.title.as_str(),
            zone => self.live.settings.time_zone().iana_name(),
        };
        html(status, app.console.pages.render(page, context! { ..body, ..desk }))
    }

    /// A page that says what is wrong.
    fn trouble(&self, app: &App, status: StatusCode, what: &str) -> Response {
        self.page_with(app, status, Page::Trouble, context! { what })
    }

    /// What to answer where a form was not sent from a page of theirs, or not by somebody who may do what it says.
    fn refusal(&self, app: &App, headers: &HeaderMap, csrf: &str) -> Option<Response> {
        if is_foreign(headers) || !self.who.wrote(csrf) {
            return Some(self.trouble(
                app,
                StatusCode::FORBIDDEN,
                "This page was too old, or not ours. Nothing was done.",
            ));
        }
        if !self.is_operator() {
            return Some(self.trouble(
                app,
                StatusCode::FORBIDDEN,
                "Whoever signs in with this password may look only.",
            ));
        }
        None
    }
}

/// A form that says nothing but that something is to be done.
#[derive(Deserialize)]
struct Act {
    #[serde(default)]
    csrf: String,
}

#[derive(Deserialize)]
struct To {
    #[serde(default)]
    to: String,
}

/// The form for the password.
async fn ask(
    State(app): State<Arc<App>>,
    to: Result<Query<To>, QueryRejection>,
    parts: Parts,
) -> Result<Response, Problem> {
    let live = Arc::clone(&app.live.borrow());
    passwords(&live)?;
    let to = to.map(|Query(To { to })| to).unwrap_or_default();
    Ok(sign_in_page(&app, &live, StatusCode::OK, &to, "", is_exposed(&live, &parts)))
}

/// Somebody who wants to sign in.
#[derive(Deserialize)]
struct Typed {
    password: secrecy::SecretString,
    #[serde(default)]
    name: String,
    #[serde(default)]
    to: String,
}

async fn sign_in(
    State(app): State<Arc<App>>,
    From(from): From,
    parts: Parts,
    typed: Result<Form<Typed>, FormRejection>,
) -> Result<Response, Problem> {
    let live = Arc::clone(&app.live.borrow());
    let passwords = passwords(&live)?;
    let Form(Typed { password, name, to }) = match typed {
        Ok(typed) if !is_foreign(&parts.headers) => typed,
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return Err(Problem::too_large(LARGEST_FORM));
        }
        _ => return Err(Problem::unreadable("The form cannot be read.")),
    };
    let name: String = name.trim().chars().filter(|character| !character.is_control()).take(LONGEST_NAME).collect();
    let now = app.gate.clock.now().mono;
    let known = cookie(&parts.headers, KNOWN).and_then(|cookie| KnownBrowser::read(&app.portal.key, &cookie));
    let guesser = known.unwrap_or_else(|| Guesser::at(from));
    let (status, wrong) = match app.console.door.sign_in(passwords, password, &name, guesser, now).await {
        Ok((id, who)) => {
            if let Some(held) = sign_in_is_noted(&app, &who, guesser, now) {
                let more = if held > 0 { format!("and {held} times more") } else { String::new() };
                act::note(&app, &who, from, "sign-in", &more).await;
            }
            let secure = if is_encrypted(&live, &parts) { "; Secure" } else { "" };
            let attributes = format!("; Path=/admin; HttpOnly; SameSite=Strict{secure}");
            let mut cookies = vec![format!("{COOKIE}={id}{attributes}")];
            if known.is_none() && who.role == Role::Operator {
                let new = KnownBrowser::cookie(&app.portal.key);
                cookies.extend(new.map(|known| format!("{KNOWN}={known}; Max-Age={KNOWN_FOR}{attributes}")));
            }
            let mut response = see_other(inside(&to));
            for cookie in cookies.iter().filter_map(|cookie| HeaderValue::from_str(cookie).ok()) {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
            return Ok(response);
        }
        Err(Refusal::Wrong) => (StatusCode::FORBIDDEN, "This is not the password.".to_owned()),
        Err(Refusal::Locked(left)) => {
            let minutes = left.as_secs().div_ceil(60);
            (StatusCode::TOO_MANY_REQUESTS, format!("Too many wrong passwords. Please wait {minutes} min."))
        }
        Err(Refusal::Busy) => (StatusCode::SERVICE_UNAVAILABLE, "Please try again in a moment.".to_owned()),
    };
    if status != StatusCode::SERVICE_UNAVAILABLE
        && let Some(held) = app.console.brake.pass(&guesser, now)
    {
        tracing::warn!(from = from.map(tracing::field::display), held, "somebody could not sign in at the console");
    }
    Ok(sign_in_page(&app, &live, status, &to, &wrong, is_exposed(&live, &parts)))
}

/// Whether a sign-in stands in the audit trail, and how many before it do not: whoever may only look does not fill it with them.
fn sign_in_is_noted(app: &App, who: &SignedIn, from: Guesser, now: Duration) -> Option<u64> {
    if who.role == Role::Operator { Some(0) } else { app.console.looking.pass(&from, now) }
}

async fn sign_out(
    State(app): State<Arc<App>>,
    desk: Desk,
    headers: HeaderMap,
    Form(Act { csrf }): Form<Act>,
) -> Response {
    if is_foreign(&headers) || !desk.who.wrote(&csrf) {
        return desk.trouble(&app, StatusCode::FORBIDDEN, "This page was too old, or not ours.");
    }
    app.console.door.sign_out(&desk.id);
    see_other("/admin/sign-in")
}

fn sign_in_page(app: &App, live: &Live, status: StatusCode, to: &str, wrong: &str, is_exposed: bool) -> Response {
    let site = live.settings.portal.title.as_str();
    html(status, app.console.pages.render(Page::SignIn, context! { to, wrong, is_exposed, site }))
}

fn passwords(live: &Live) -> Result<&Arc<Passwords>, Problem> {
    live.passwords.as_ref().ok_or_else(Problem::not_found)
}

/// Where to go after signing in: only to a page of ours.
fn inside(to: &str) -> &str {
    let is_ours = to == "/admin" || to.starts_with("/admin/") || to.starts_with("/admin?");
    let is_plain = to.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'\\');
    if is_ours && is_plain { to } else { "/admin" }
}

fn cookie(headers: &HeaderMap, wanted: &str) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned())
}

/// Whether another site's page sent this (Fetch Metadata); browsers that do not say so send no cookie of ours from there.
fn is_foreign(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
}

/// Whether the browser's connection is encrypted: ours, or, as a trusted proxy says, that to it.
fn is_encrypted(live: &Live, parts: &Parts) -> bool {
    let is_proxied =
        peer(parts).is_some_and(|peer| live.settings.http.trusted_proxies.iter().any(|proxy| proxy.contains(&peer)));
    let says_so = parts.headers.get("x-forwarded-proto").is_some_and(|proto| proto.as_bytes() == b"https");
    live.tls.is_some() || (is_proxied && says_so)
}

/// Whether a password can be read on the way.
fn is_exposed(live: &Live, parts: &Parts) -> bool {
    !is_encrypted(live, parts) && peer(parts).is_some_and(|peer| !peer.is_loopback())
}

fn peer(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<Peer>().map(|Peer(peer)| peer.ip().to_canonical())
}

/// A page as an answer: never kept, never framed, with nothing in it but what comes from here.
fn html(status: StatusCode, page: String) -> Response {
    let policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
                  base-uri 'none'; frame-ancestors 'none'";
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    (status, headers, page).into_response()
}

/// To another page, by `GET`.
fn see_other(location: &str) -> Response {
    let location = HeaderValue::from_str(location).unwrap_or(HeaderValue::from_static("/admin"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()
}

fn kept(media_type: &'static str, content: &'static str) -> Response {
    ([(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, "public, max-age=86400")], content).into_response()
}

#[cfg(test)]
mod tests;
