//! The time left, and the way out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jiff::Timestamp;
use minijinja::context;

use super::address::{From, is_of_many};
use super::arrival::{Given, ONWARD, language, login_of, login_said, nas_of};
use super::badge::{self, Badge, Proof};
use super::door::set_badge;
use super::handover::{Destination, LoginLink};
use super::language::{Key, Value, words};
use super::opennds;
use super::pages::{Here, Page, query};
use super::{COOKIE, In, answer, pages, see_other};
use crate::catalogue::{Find, Tokens};
use crate::config::{HandOver, Nas};
use crate::core::budget::{Pool, Seconds};
use crate::core::ending::Cause;
use crate::core::ident::TokenId;
use crate::core::login::Claim;
use crate::core::policy::Counting;
use crate::core::session::Session;
use crate::http::problem::Problem;
use crate::http::routes::App;
use crate::live::Live;

/// Under so much the page warns.
const SHORT: Seconds = Seconds(600);

/// How long a guest who logs out waits for the proof, and how often it is looked for.
const PROVEN_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A session that is online, as its guest may know it.
#[derive(Clone, Debug)]
pub struct Online {
    token: TokenId,
    session: Session,
    /// Until its code ends, at the time it was looked at.
    left: Pool,
    valid_to: Option<Timestamp>,
    /// Devices with a place, and how many may have one.
    devices: Option<(u32, u32)>,
}

impl Online {
    /// Seconds left; none: nothing limits them.
    #[must_use]
    pub const fn seconds(&self) -> Option<u64> {
        match self.left {
            Pool::Unlimited => None,
            Pool::Holds(left) => Some(left.0),
        }
    }

    /// For the browser that is known to be on the device.
    fn badge(&self, proven: bool) -> Option<Badge> {
        let proof = if proven { Proof::of(&self.session.id.to_string()) } else { Proof::default() };
        Some(Badge { token: self.token, device: self.session.device?, proof })
    }
}

/// The latest session of this token that `is_it`, and is not about to end.
fn online(app: &App, live: &Live, token: TokenId, is_it: impl Fn(&Session) -> bool) -> Option<Online> {
    let (account, now, policy) = (app.gate.ledger.account(token)?, app.gate.clock.now().wall, &live.settings.policy);
    let session = account.sessions().iter().rev().find(|session| session.ending.is_none() && is_it(session))?;
    let valid_to = account.terms().and_then(|terms| terms.valid_to);
    let held = account.left_by_now(policy, now).unwrap_or(Pool::Unlimited);
    let left = valid_to.map_or(held, |end| held.at_most(Pool::Holds(Seconds::between(now, end))));
    // Its router ends it then, whatever is left on the code.
    let left = left.at_most(Pool::Holds(session.granted.less(session.used(now))));
    let at_hand = match app.gate.supply().catalogue.find(&Claim::Code(session.code.clone())) {
        Find::Here(tokens) | Find::Ask { stale: Some(tokens) } => tokens,
        Find::Ask { stale: None } | Find::Nothing => Tokens::default(),
    };
    let devices = at_hand
        .iter()
        .find(|known| known.id == token)
        .map(|token| (account.other_devices(&session.endpoint()).saturating_add(1), token.user_limit(policy)));
    Some(Online { token, session: session.clone(), left, valid_to, devices })
}

/// Whether the browser with this badge is on the device of this session of its token, and does not only say so.
///
/// A ticket that the device was let in on shows that also of its later sessions, as long as it is known here; of the session that
/// was begun with it, over a restart too. An address shows it of the session that is there alone: others may have it next.
#[must_use]
pub fn is_of(app: &App, badge: Badge, session: &Session) -> bool {
    let by_ticket = || app.gate.tickets.was_used(badge.proof.mark());
    let ticket = || session.contact.user_name.as_ref().map(|ticket| Proof::of(ticket.reveal()));
    let by_session = || Proof::of(&session.id.to_string());
    session.device == Some(badge.device)
        && badge.proof.is_some()
        && (by_ticket() || ticket() == Some(badge.proof) || by_session() == badge.proof)
}

/// The session of this badge. One that proves nothing shows what its code shows to who knows it.
fn online_by(app: &App, live: &Live, badge: Badge) -> Option<Online> {
    online(app, live, badge.token, |session| session.device == Some(badge.device))
}

/// The session at this address, where it is the only one there, or the only one at that router.
pub async fn online_at(app: &Arc<App>, live: &Live, nas: Option<&str>, from: IpAddr) -> Option<Online> {
    let at = app.portal.addresses.at(from, &app.gate.ledger, &app.gate.clock).await;
    let mut there = at.iter().filter(|(name, ..)| nas.is_none_or(|nas| name.as_str() == nas));
    let (Some((nas, token, _)), None) = (there.next(), there.next()) else { return None };
    online(app, live, *token, |session| session.contact.ip == Some(from) && session.contact.nas == *nas)
}

/// The badge that a browser shows: in the address or the form, else in its cookie.
#[must_use]
pub fn badge(app: &App, given: &Given, headers: &HeaderMap) -> Option<Badge> {
    let now = app.gate.clock.now().wall;
    let read = |text: &str| Badge::read(text, &app.portal.key, now);
    given.get("t").and_then(read).or_else(|| cookie(headers, COOKIE).and_then(read))
}

/// A cookie (RFC 6265 §5.4).
#[must_use]
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(axum::http::header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// The time left: of the badge's session, else of the one at the guest's address.
pub(super) async fn page(
    State(app): State<Arc<App>>,
    From(from): From,
    live: In,
    headers: HeaderMap,
    Query(given): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let (pages, given) = (pages(&live)?, Given::new(given));
    let base = live.settings.portal.public_url.as_deref();
    let given = base.map_or(given.clone(), |base| given.led_to(&format!("{base}/status")));
    let (language, words, now) = (language(&given, &headers, &live), words(), app.gate.clock.now().wall);
    let shown = badge(&app, &given, &headers);
    let by_badge = shown.and_then(|badge| {
        let online = online_by(&app, &live, badge)?;
        let proven = is_of(&app, badge, &online.session);
        let is_here = from.is_none_or(|from| may_be_at(&online.session, from, &live));
        Some((online, proven, is_here))
    });
    let by_address = match (from, by_badge.as_ref()) {
        (Some(_), Some((_, true, true))) | (None, _) => None,
        (Some(from), _) => online_at(&app, &live, given.get("nas"), from).await,
    };
    // Networks of several sites may be alike: then an address shows the time, and proves nothing.
    let from_there = by_address.is_some() && live.settings.nas.len() == 1;
    // Who has shown more keeps that: what is at this address may be somebody's who has left it.
    let keeps_own = matches!(by_badge, Some((_, true, _)));
    let found = by_address.map(|online| (online, from_there, true)).or(by_badge);
    let onward = given.get("link-orig").or_else(|| given.get("dst")).and_then(|onward| Destination::parse(onward).ok());
    let is_ours = |onward: &Destination| base.is_some_and(|base| onward.is_of(base));
    let onward = onward.filter(|onward| onward.as_str().len() <= ONWARD && !onward.is_probe() && !is_ours(onward));
    let badge = found.as_ref().and_then(|(online, proven, _)| online.badge(*proven));
    let signed = |seconds| badge.map(|badge| badge.signed(&app.portal.key, now, seconds));
    let text = |name: &'static str| Some((name, given.get(name)?.to_owned()));
    let here = [
        text("nas"),
        signed(badge::SHOWN_FOR).map(|badge| ("t", badge)),
        text("link-login-only"),
        onward.as_ref().map(|onward| ("link-orig", onward.as_str().to_owned())),
    ];
    let here = Here { path: "status", query: here.into_iter().flatten().collect() };
    let zone = live.settings.time_zone();
    let named = given.get("nas").and_then(|name| live.settings.nas.iter().find(|nas| nas.name().as_str() == name));
    let Some((online, _, is_here)) = found else {
        let body = context! { online => false, login => again(&given, named) };
        let heading = words.say(language, Key::StatusOffline, &[]);
        return Ok(answer(StatusCode::OK, pages.render(Page::Status, language, &heading, &here, body), &[]));
    };
    let warning = online.seconds().filter(|left| *left < SHORT.0).map(|left| {
        let time = words.duration(language, Seconds(left));
        words.say(language, Key::StatusWarning, &[("time", Value::Text(&time))])
    });
    let devices = online.devices.map(|(devices, limit)| {
        let numbers = [("devices", Value::Number(devices)), ("limit", Value::Number(limit))];
        words.say(language, Key::StatusDevicesOf, &numbers)
    });
    let onward = onward.as_ref().map(|onward| {
        let text = words.say(language, Key::StatusContinue, &[("host", Value::Text(onward.host()))]);
        context! { href => onward.as_str(), text }
    });
    let nas = live.settings.nas.iter().find(|nas| *nas.name() == online.session.contact.nas);
    let body = context! {
        online => true,
        router => nas.and_then(|nas| login_said(&given, nas)).map(|said| said.as_str().to_owned()),
        seconds => online.seconds(),
        time_left => words.time_left(language, online.left),
        valid_until => online.valid_to.map(|end| words.date(language, end, zone, now)),
        warning, devices, onward,
        login => (!is_here).then(|| again(&given, named.or(nas))),
        badge => signed(badge::IN_PAGE_FOR).unwrap_or_default(),
        here => here.spoken(language),
    };
    // Who seems to be elsewhere reads what is left, and how to go online here.
    let heading = words.say(language, if is_here { Key::StatusOnline } else { Key::StatusTimeLeft }, &[]);
    // A router that cannot be told logs out by its own page.
    let origins = nas.and_then(|nas| login_of(&given, nas)).map(|login| login.origins()).unwrap_or_default();
    let mut response = answer(StatusCode::OK, pages.render(Page::Status, language, &heading, &here, body), &origins);
    if let Some(badge) = signed(badge::KEPT_FOR).filter(|_| from_there && !keeps_own) {
        set_badge(&mut response, &badge, &live);
    }
    Ok(response)
}

/// Logs the badge's device out. A badge is asked for: an address alone would let any page that a guest opens do it.
pub(super) async fn logout(
    State(app): State<Arc<App>>,
    live: In,
    headers: HeaderMap,
    Form(given): Form<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let (pages, given) = (pages(&live)?, Given::new(given));
    let (language, words) = (language(&given, &headers, &live), words());
    let shown = given.get("t").and_then(|text| Badge::read(text, &app.portal.key, app.gate.clock.now().wall));
    let Some((badge, online)) = shown.and_then(|badge| Some((badge, online_by(&app, &live, badge)?))) else {
        return Ok(see_other("status"));
    };
    let (id, contact) = (online.session.id, &online.session.contact);
    let nas = live.settings.nas.iter().find(|nas| *nas.name() == contact.nas);
    let policy = &live.settings.policy;
    tracing::info!(session = %id, nas = %contact.nas, "a guest logs out");
    let (mut told, mut gone) = (false, false);
    let proven = is_of(&app, badge, &online.session);
    if proven {
        // By none of its codes does it come back by itself.
        for known in app.gate.ledger.remembered(badge.device) {
            app.gate.ledger.forget_device(badge.device, known.token);
        }
    }
    if contact.can_disconnect && proven {
        let now = app.gate.clock.now();
        told = true;
        // Should it not get to the disk, the router is told all the same.
        gone = app.gate.ledger.order(id, Cause::Guest, policy, now.wall).is_none();
        while !gone && app.gate.clock.now().mono.saturating_sub(now.mono) < PROVEN_WITHIN {
            app.gate.clock.sleep(LOOK_EVERY).await;
            gone = !app.gate.ledger.is_live(online.token, id);
        }
    }
    // A router that cannot be told, or does not answer, logs out by its own page.
    let own = nas.and_then(|nas| {
        let login = login_of(&given, nas)?;
        Some(if nas.hand_over == HandOver::OpenNds { opennds::logout(&login) } else { login.logout() })
    });
    if let Some(own) = own.filter(|_| !gone) {
        return Ok(see_other(&own));
    }
    let said = match (told, gone, policy.counting) {
        (true, true, Counting::Connected) => words.say(language, Key::LogoutKept, &[]),
        // The clock runs on.
        (true, true, Counting::Elapsed) => String::new(),
        (true, false, _) => words.say(language, Key::LogoutPending, &[]),
        (false, ..) => words.say(language, Key::LogoutImpossible, &[]),
    };
    let heading = words.say(language, if told { Key::LogoutDone } else { Key::StatusOnline }, &[]);
    let body = context! { said, login => told.then(|| again(&given, nas)) };
    let here = Here { path: "status", query: Vec::new() };
    Ok(answer(StatusCode::OK, pages.render(Page::Logout, language, &heading, &here, body), &[]))
}

/// Nobody is logged out by an address.
pub(super) async fn elsewhere(live: In) -> Result<Response, Problem> {
    pages(&live)?;
    Ok(see_other("status"))
}

/// Whether the asking guest is known to be online, by badge alone.
pub(super) fn is_online(app: &App, live: &Live, shown: Option<Badge>, from: IpAddr) -> bool {
    let online = shown.and_then(|badge| online_by(app, live, badge));
    online.is_some_and(|online| may_be_at(&online.session, from, live))
}

/// Whether who asks from here may be on the device of this session: a device that came back under another MAC address has another
/// address too, and is not online.
fn may_be_at(session: &Session, from: IpAddr, live: &Live) -> bool {
    let is_at = |ip: IpAddr| match (ip.to_canonical(), from) {
        // From another network altogether comes who is translated on the way.
        (IpAddr::V4(ip), IpAddr::V4(from)) => ip == from || ip.octets()[..2] != from.octets()[..2],
        (ip, from) => ip == from || ip.is_ipv4() != from.is_ipv4(),
    };
    session.contact.ip.is_none_or(is_at) || is_of_many(from, live)
}

/// Where a guest is logged in at the router, if that is known.
pub(super) fn router_login(given: &Given, live: &Live, from: Option<IpAddr>) -> Option<LoginLink> {
    from.and_then(|from| nas_of(given, live, from)).and_then(|nas| login_of(given, nas))
}

/// Where the guest goes online again: at the router that is said, else by the page that finds out.
fn again(given: &Given, nas: Option<&Nas>) -> String {
    if let Some(said) = nas.and_then(|nas| login_said(given, nas)) {
        return said.as_str().to_owned();
    }
    let named = nas.map(|nas| format!("?{}", query([("nas", nas.name().as_str())])));
    format!("login{}", named.unwrap_or_default())
}
