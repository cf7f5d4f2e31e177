//! Where a code is typed: it is checked, and the login goes on to the router.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use minijinja::context;

use super::address::{From, is_of_many};
use super::arrival::{Arrival, Given, Lost, RouterSays, language};
use super::badge::{self, Badge, Proof};
use super::handover::{Destination, LoginLink};
use super::language::{Key, Language, Value, words};
use super::opennds;
use super::pages::{Here, Page, fields, query};
use super::status::{badge as shown, cookie, is_of, is_online, router_login};
use super::{COOKIE, In, answer, pages, see_other};
use crate::config::HandOver;
use crate::core::decide::{Decision, Denial, Reason, View};
use crate::core::ending::Cause;
use crate::core::ident::{Code, Mac, SessionId, TokenId};
use crate::core::login::{self, Claim, Login};
use crate::core::session::Session;
use crate::gate::{Purpose, Via, Visit};
use crate::http::problem::Problem;
use crate::http::routes::App;
use crate::live::Live;
use crate::throttle::Who;

/// The cookie that brings a code back from the router, to which a guest goes first who opened a link with the code in it.
const CODE_COOKIE: &str = "spotgate-code";

/// How long it is kept, in seconds: until the router has sent the guest back.
const CODE_KEPT: u32 = 120;

/// The cookie that says that the guest was sent to the router a moment ago.
const SENT_COOKIE: &str = "spotgate-sent";
const SENT_KEPT: u32 = 10;

/// How long it is known whether all codes are of digits alone.
const DIGITS_KNOWN: Duration = Duration::from_secs(300);

/// Devices that are shown at most.
const SHOWN: usize = 20;

/// Whether every code is of digits alone, and when that was found out (monotonic).
pub(super) type Digits = Option<(Duration, bool)>;

/// The guest who comes in by the front.
pub(super) async fn front(live: In) -> Result<Response, Problem> {
    pages(&live)?;
    Ok(see_other("status"))
}

/// Asks for the code.
pub(super) async fn page(
    State(app): State<Arc<App>>,
    From(from): From,
    live: In,
    headers: HeaderMap,
    Query(given): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    pages(&live)?;
    let given = Given::new(given);
    // So openNDS sends on who is online already, and opens the address again by which it let him in.
    if given.get("tok").is_some() && given.get("status") == Some("authenticated") {
        return Ok(see_other("status"));
    }
    let door = Door::new(&app, &live, &given, &headers).await;
    let given = match given.unfolded(live.settings.portal.public_url.as_deref()) {
        Ok(given) => given,
        Err(lost) => return Ok(door.lost(lost, None)),
    };
    let Some(from) = from else { return Ok(door.lost(Lost::NotFromRouter, None)) };
    match Arrival::read(&given, &live, from) {
        Ok(arrival) => {
            if let Some(seen) = live.clients.seen(arrival.nas.name()) {
                let now = app.gate.clock.now().wall;
                seen.send_here(now);
                if let Some(remedy) = arrival.says.and_then(RouterSays::remedy) {
                    seen.complain(remedy, now);
                }
            }
            let says = arrival.says.map(|says| match says {
                RouterSays::Timeout => Key::RouterTimeout,
                RouterSays::ChapMissing => Key::RouterChapMissing,
                RouterSays::InProgress => Key::RouterInProgress,
                RouterSays::TooMany => Key::RouterDevices,
                RouterSays::Other => Key::RouterRefused,
            });
            let problem = says.map(|key| words().say(door.language, key, &[]));
            let kept = || cookie(&headers, CODE_COOKIE).map(unquoted);
            let code = given.get("code").map(str::to_owned).or_else(|| arrival.code.clone()).or_else(kept);
            let mut response = door.ask(&arrival, problem, code.as_deref().unwrap_or_default(), Vec::new());
            if cookie(&headers, SENT_COOKIE).is_some() {
                set(&mut response, SENT_COOKIE, "", 0, door.is_secure());
            }
            Ok(response)
        }
        Err(lost) => {
            let router = router_login(&given, &live, Some(from));
            let sent = cookie(&headers, SENT_COOKIE).is_some();
            match router {
                // It sends the guest back with what it takes to be handed over. Should it not, that is not tried again.
                Some(router) if lost == Lost::NotFromRouter && !sent => {
                    if is_online(&app, &live, shown(&app, &given, &headers), from) {
                        return Ok(see_other("status"));
                    }
                    let mut response = see_other(router.as_str());
                    set(&mut response, SENT_COOKIE, "1", SENT_KEPT, door.is_secure());
                    if let Some(code) = given.get("code").filter(|code| Code::parse(code).is_ok()) {
                        let code: String = query([("", code)]).chars().skip(1).collect();
                        set(&mut response, CODE_COOKIE, &code, CODE_KEPT, door.is_secure());
                    }
                    Ok(response)
                }
                router => Ok(door.lost(lost, router.as_ref())),
            }
        }
    }
}

/// Takes the code.
pub(super) async fn login(
    State(app): State<Arc<App>>,
    From(from): From,
    live: In,
    headers: HeaderMap,
    Form(given): Form<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    pages(&live)?;
    let received = app.gate.clock.now().mono;
    let given = Given::new(given);
    let door = Door::new(&app, &live, &given, &headers).await;
    let Some(from) = from else { return Ok(door.lost(Lost::NotFromRouter, None)) };
    let arrival = match Arrival::read(&given, &live, from) {
        Ok(arrival) => arrival,
        Err(lost) => return Ok(door.lost(lost, router_login(&given, &live, Some(from)).as_ref())),
    };
    let typed = given.get("code").or_else(|| given.get("username")).unwrap_or_default();
    let Ok(code) = Code::parse(typed) else {
        app.gate.metrics.malformed(Via::Portal);
        return Ok(door.denied(&arrival, &Denial::from(Reason::Malformed), "", None));
    };
    let login = Login {
        claim: Claim::Code(code.clone()),
        typed: code.reveal().as_bytes(),
        proof: login::Proof::NotAsked,
        device: arrival.device,
        ip: arrival.ip,
        router: None,
        nas_session: None,
    };
    let visit = live.visit(&login, &arrival.nas.rules, Via::Portal, received);
    let nas = live.clients.find(from).is_none().then(|| arrival.nas.name());
    let browser = Who::Browser { from, shared: is_of_many(from, &live), nas };
    let visit = Visit { purpose: Purpose::Check, browser: Some(browser), ..visit };
    let mut decision = app.gate.answer(&visit, &mut ()).await.decision;
    // The places that are given up for this device: its own, under the address it had before, and one that the guest names.
    if let Some(view) = view_of(&decision)
        && door.gives_up(&arrival, view, &given, shown(&app, &given, &headers))
    {
        decision = app.gate.answer(&visit, &mut ()).await.decision;
    }
    match decision {
        Decision::Deny(denial) => Ok(door.denied(&arrival, &denial, code.reveal(), denial.view.as_ref())),
        Decision::Allow(grant) => Ok(door.hand_over(&arrival, &code, grant.view.token)),
    }
}

/// The token, where the code is right and either good or in use on as many devices as it allows.
fn view_of(decision: &Decision) -> Option<&View> {
    match decision {
        Decision::Allow(grant) => Some(&grant.view),
        Decision::Deny(denial) if denial.reason == Reason::UserLimitReached => denial.view.as_ref(),
        Decision::Deny(_) => None,
    }
}

/// What answers one request.
struct Door<'a> {
    app: &'a App,
    live: &'a Live,
    language: Language,
    digits: bool,
}

impl<'a> Door<'a> {
    async fn new(app: &'a Arc<App>, live: &'a Live, given: &Given, headers: &HeaderMap) -> Self {
        let language = language(given, headers, live);
        Self { app, live, language, digits: digits(app, &app.portal.digits).await }
    }

    fn is_secure(&self) -> bool {
        is_secure(self.live)
    }

    fn render(&self, page: Page, heading: Key, here: &Here, body: minijinja::Value) -> String {
        let heading = words().say(self.language, heading, &[]);
        self.live
            .pages
            .as_ref()
            .map(|pages| pages.render(page, self.language, &heading, here, body))
            .unwrap_or_default()
    }

    /// The page with the field for the code.
    fn ask(
        &self,
        arrival: &Arrival<'_>,
        problem: Option<String>,
        code: &str,
        devices: Vec<minijinja::Value>,
    ) -> Response {
        let query = arrival.again().map(|(name, value)| (name, value.to_owned())).collect();
        let may_replace =
            devices.iter().any(|device| device.get_attr("session").is_ok_and(|session| !session.is_none()));
        let body = context! {
            problem, code, devices, may_replace,
            digits => self.digits,
            fields => fields(arrival.again().chain([("lang", self.language.tag())])),
        };
        let page = self.render(Page::Login, Key::LoginTitle, &Here { path: "login", query }, body);
        answer(StatusCode::OK, page, &arrival.link.origins())
    }

    fn denied(&self, arrival: &Arrival<'_>, denial: &Denial, code: &str, view: Option<&View>) -> Response {
        let (zone, now) = (self.live.settings.time_zone(), self.app.gate.clock.now().wall);
        let problem = words().denied(self.language, denial, zone, now);
        let at_limit = view.filter(|_| denial.reason == Reason::UserLimitReached);
        let devices = at_limit.map(|view| self.devices(view.token, arrival.device)).unwrap_or_default();
        self.ask(arrival, Some(problem), code, devices)
    }

    /// The devices that are online on a token, but for `own`; only who knows its code gets to see them.
    fn devices(&self, token: TokenId, own: Option<Mac>) -> Vec<minijinja::Value> {
        let (zone, now) = (self.live.settings.time_zone(), self.app.gate.clock.now().wall);
        let account = self.app.gate.ledger.account(token).unwrap_or_default();
        let others = account.sessions().iter().filter(|session| session.holds_place() && session.device != own);
        let row = |session: &Session| {
            let end = session.device.map_or_else(
                || "?".to_owned(),
                |device| device.to_string().split_off("AA:BB:CC:DD:".len()).replace(':', "-"),
            );
            // One that cannot be told to go keeps its place.
            let may_go = self.live.settings.portal.guest_may_replace && session.contact.can_disconnect;
            context! {
                session => may_go.then(|| session.id.to_string()),
                name => words().say(self.language, Key::DevicesEnding, &[("end", Value::Text(&end))]),
                since => words().since(self.language, session.admitted_at, zone, now),
            }
        };
        others.take(SHOWN).map(row).collect()
    }

    /// Ends what must give way for this device; whether there was anything.
    fn gives_up(&self, arrival: &Arrival<'_>, view: &View, given: &Given, badge: Option<Badge>) -> bool {
        let account = self.app.gate.ledger.account(view.token).unwrap_or_default();
        let named = given.get("replace").filter(|_| self.live.settings.portal.guest_may_replace);
        let named: Option<SessionId> = named.and_then(|id| id.parse().ok());
        let (policy, now) = (&self.live.settings.policy, self.app.gate.clock.now().wall);
        let others =
            account.sessions().iter().filter(|session| session.holds_place() && session.device != arrival.device);
        let badge = badge.filter(|badge| badge.token == view.token);
        let is_own = |session: &Session| badge.is_some_and(|badge| is_of(self.app, badge, session));
        // One that its router cannot be told to end would go on beside this one.
        let tellable = others.filter(|session| session.contact.can_disconnect);
        let of_it = tellable.filter(|session| Some(session.id) == named || is_own(session));
        let ordered = of_it.filter_map(|session| self.app.gate.ledger.order(session.id, Cause::Displaced, policy, now));
        let mut any = false;
        for (found, _) in ordered {
            tracing::info!(session = %found.session.id, nas = %found.session.contact.nas, "a guest gives its place to another device");
            any = true;
            // Nor does it take it back by itself, before this one is there.
            if let Some(device) = found.session.device {
                self.app.gate.ledger.forget_device(device, view.token);
            }
        }
        any
    }

    /// On to the router.
    fn hand_over(&self, arrival: &Arrival<'_>, code: &Code, token: TokenId) -> Response {
        let now = self.app.gate.clock.now();
        let issue = |device| {
            let tickets = &self.app.gate.tickets;
            tickets.issue(code.clone(), device, arrival.nas.name().clone(), now.mono)
        };
        let by_ticket = matches!(arrival.nas.hand_over, HandOver::OneTime | HandOver::OpenNds);
        let ticket = arrival.device.filter(|_| by_ticket).map(issue);
        // Only who is let in on the ticket is on the device that he says.
        let proof = ticket.iter().flatten().map(|ticket| Proof::of(ticket.reveal())).next().unwrap_or_default();
        let badge = arrival.device.map(|device| Badge { token, device, proof });
        let signed = |seconds| badge.map(|badge| badge.signed(&self.app.portal.key, now.wall, seconds));
        let then = self.then(arrival, signed(badge::SHOWN_FOR).as_deref());
        let mut response = match ticket {
            Some(Some(ticket)) if let Some((hash, key)) = &arrival.asked => {
                see_other(&opennds::login(&arrival.link, hash, key, &ticket, then.as_deref()))
            }
            Some(Some(ticket)) => {
                let chap = arrival.chap.as_ref();
                let password = chap.map_or_else(|| ticket.reveal().to_owned(), |chap| chap.response(ticket.reveal()));
                see_other(&arrival.link.with_login(ticket.reveal(), &password, then.as_deref()))
            }
            Some(None) => {
                tracing::warn!("so many guests log in at once that no more are handed over for now");
                return self.ask(arrival, Some(words().say(self.language, Key::RouterTimeout, &[])), "", Vec::new());
            }
            // By a form of the router's own; without a device nothing can be bound to one.
            None => self.form(arrival, code, then.as_deref()),
        };
        if let Some(badge) = signed(badge::KEPT_FOR) {
            set_badge(&mut response, &badge, self.live);
        }
        set(&mut response, CODE_COOKIE, "", 0, self.is_secure());
        response
    }

    /// Where the router sends the guest afterwards: to the time left.
    fn then(&self, arrival: &Arrival<'_>, badge: Option<&str>) -> Option<String> {
        let onward = arrival.onward.as_ref().map(Destination::as_str);
        let Some(base) = self.live.settings.portal.public_url.as_deref() else { return onward.map(str::to_owned) };
        let onward = onward.map(|onward| ("link-orig", onward));
        let pairs = [("nas", arrival.nas.name().as_str()), ("lang", self.language.tag())];
        let pairs = pairs.into_iter().chain(badge.map(|badge| ("t", badge))).chain(onward);
        Some(format!("{base}/status?{}", query(pairs)))
    }

    fn form(&self, arrival: &Arrival<'_>, code: &Code, then: Option<&str>) -> Response {
        let password =
            arrival.chap.as_ref().map_or_else(|| code.reveal().to_owned(), |chap| chap.response(code.reveal()));
        let pairs = [("username", code.reveal()), ("password", password.as_str())].into_iter();
        let body = context! {
            action => arrival.link.as_str(),
            fields => fields(pairs.chain(then.map(|then| ("dst", then)))),
        };
        let page = self.render(Page::HandOver, Key::LoginTitle, &Here { path: "login", query: Vec::new() }, body);
        answer(StatusCode::OK, page, &arrival.link.origins())
    }

    fn lost(&self, lost: Lost, router: Option<&LoginLink>) -> Response {
        let problem = match lost {
            Lost::NotFromRouter | Lost::Garbled => Key::ErrorNotFromRouter,
            Lost::UnknownRouter => Key::ErrorUnknownRouter,
        };
        let body =
            context! { problem => words().say(self.language, problem, &[]), router => router.map(LoginLink::as_str) };
        let page = self.render(Page::Error, Key::ErrorTitle, &Here { path: "login", query: Vec::new() }, body);
        let status = if lost == Lost::NotFromRouter { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        answer(status, page, &[])
    }
}

fn is_secure(live: &Live) -> bool {
    live.settings.portal.public_url.as_deref().is_some_and(|url| url.starts_with("https:"))
}

/// Has the browser keep a badge.
pub(super) fn set_badge(response: &mut Response, badge: &str, live: &Live) {
    set(response, COOKIE, badge, badge::KEPT_FOR.try_into().unwrap_or(u32::MAX), is_secure(live));
}

/// Sets a cookie for `seconds`, or takes it away.
fn set(response: &mut Response, name: &str, value: &str, seconds: u32, secure: bool) {
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

/// A value as it was before it was made fit for a cookie.
fn unquoted(value: &str) -> String {
    let Ok(mut url) = reqwest::Url::parse("http://spotgate.invalid/") else { return String::new() };
    url.set_query(Some(&format!("v={value}")));
    url.query_pairs().next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// Whether every code is of digits alone, so that phones may show keys for digits and no others.
async fn digits(app: &Arc<App>, known: &Mutex<Digits>) -> bool {
    let now = app.gate.clock.now().mono;
    let latest = *known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, digits)) = latest.filter(|(found, _)| now < *found + DIGITS_KNOWN) {
        return digits;
    }
    // Whoever comes meanwhile is told what was known before.
    *known.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, latest.is_some_and(|(_, digits)| digits)));
    let catalogue = Arc::clone(&app.gate.supply().catalogue);
    let found = tokio::task::spawn_blocking(move || {
        catalogue.every_code(|code| code.reveal().bytes().all(|octet| octet.is_ascii_digit()))
    });
    let digits = found.await.unwrap_or_default();
    *known.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, digits));
    digits
}
