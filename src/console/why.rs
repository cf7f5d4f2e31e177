//! Why can this guest not connect?

use std::sync::Arc;

use axum::extract::{Form, State};
use axum::response::Response;
use minijinja::context;
use minijinja::value::Serde;
use serde::Deserialize;

use super::Desk;
use super::decisions::rows;
use super::pages::Page;
use crate::core::decide::{Check, Decision};
use crate::core::ident::{Code, Mac};
use crate::core::login::{Claim, Login, Proof};
use crate::gate::{Purpose, Via, Visit};
use crate::history::Filter;
use crate::http::authorize::AuthorizeAnswer;
use crate::http::routes::App;
use crate::words;

/// Earlier decisions that are shown with it.
const EARLIER: usize = 20;

#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    /// A code, or a MAC address.
    #[serde(default)]
    who: String,
    /// The device that types the code.
    #[serde(default)]
    mac: String,
    #[serde(default)]
    nas: String,
    /// That `who` is a code, whatever it looks like.
    #[serde(default)]
    code: String,
}

pub(super) async fn ask(State(app): State<Arc<App>>, desk: Desk) -> Response {
    let routers = routers(&desk);
    desk.page(&app, Page::Why, context! { routers, who => "", mac => "", nas => "", is_code => false })
}

fn routers(desk: &Desk) -> Vec<String> {
    desk.live.settings.nas.iter().map(|nas| nas.name().to_string()).collect()
}

/// The router that a question is about where none is named: where the code, or the device, was decided on last; else the first.
async fn likely(app: &App, routers: &[String], who: &str, is_code: bool) -> String {
    let device = who.parse::<Mac>().ok().filter(|_| !is_code);
    let filter = Filter { mac: device, code: Code::parse(who).ok().filter(|_| device.is_none()), ..Filter::default() };
    let latest = app.gate.history.decisions(filter, 1).await.unwrap_or_default();
    let there = latest.first().map(|decided| decided.nas.to_string()).filter(|nas| routers.contains(nas));
    there.or_else(|| routers.first().cloned()).unwrap_or_default()
}

pub(super) async fn answer(State(app): State<Arc<App>>, desk: Desk, Form(wanted): Form<Wanted>) -> Response {
    let routers = routers(&desk);
    let is_code = !wanted.code.is_empty();
    let nas = if wanted.nas.is_empty() {
        likely(&app, &routers, wanted.who.trim(), is_code).await
    } else {
        wanted.nas.clone()
    };
    let asked = context! { routers, who => wanted.who.trim(), mac => wanted.mac.trim(), nas => nas.as_str(), is_code };
    let wrong = |what: &str| desk.page(&app, Page::Why, context! { wrong => what, ..asked.clone() });
    let Some(rules) = desk.live.nas(&nas) else { return wrong("No router of this name is configured.") };
    let typed = wanted.who.trim();
    let device = match wanted.mac.trim() {
        "" => None,
        mac => match mac.parse::<Mac>() {
            Ok(mac) => Some(mac),
            Err(_) => return wrong("The device is no MAC address."),
        },
    };
    let (claim, device) = match (typed.parse::<Mac>(), Code::parse(typed)) {
        (Ok(mac), _) if !is_code && device.is_none() => (Claim::Device(mac), Some(mac)),
        (_, Ok(code)) => (Claim::Code(code), device),
        (_, Err(_)) => return wrong("Type an access code, or the MAC address of a device."),
    };
    let login = Login {
        claim: claim.clone(),
        typed: typed.as_bytes(),
        proof: Proof::NotAsked,
        device,
        ip: None,
        router: None,
        nas_session: None,
    };
    let visit = desk.live.visit(&login, rules, Via::Http, app.gate.clock.now().mono);
    let mut checks = Vec::<Check>::new();
    let decided = app.gate.answer(&Visit { purpose: Purpose::Explain, ..visit }, &mut checks).await;
    let settings = &desk.live.settings;
    let spoken = AuthorizeAnswer::new(&decided, &settings.policy, settings.time_zone(), app.gate.clock.now().wall);
    let remedy = match &decided.decision {
        Decision::Deny(denial) => words::remedy(denial.reason),
        Decision::Allow(_) => words::ALLOWED,
    };
    let checks: Vec<_> = checks
        .into_iter()
        .map(|check| context! { name => words::check(check.check), ok => check.ok, detail => check.detail })
        .collect();
    let filter = match claim {
        Claim::Code(code) => Filter { code: Some(code), ..Filter::default() },
        Claim::Device(mac) => Filter { mac: Some(mac), ..Filter::default() },
    };
    let is_device = filter.mac.is_some();
    // Who may only look does not see what became of a code, as with keys.
    let is_hidden = filter.code.is_some() && !desk.is_operator();
    let (earlier, trouble) = if is_hidden { (Vec::new(), None) } else { rows(&app, &desk, filter, EARLIER).await };
    let is_random = device.is_some_and(|mac| mac.octets().first().is_some_and(|first| first & 0b10 != 0));
    desk.page(
        &app,
        Page::Why,
        context! { answer => Serde(&spoken), remedy, checks, earlier, is_hidden, trouble, is_device, is_random, ..asked },
    )
}
