//! The routers: whether each asks, signs, reports and obeys.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;
use minijinja::{Value, context};

use super::pages::Page;
use super::show::Here;
use super::{Desk, sessions};
use crate::config::{HandOver, Nas};
use crate::core::decide::Reason;
use crate::core::ident::NasName;
use crate::core::session::Session;
use crate::history::{Decided, Filter};
use crate::http::routes::App;
use crate::radius::sightings::Sightings;

/// Logins that are looked at for a secret that does not fit.
const LOOKED_AT: usize = 20;

/// Ends of sessions, or logins, that tell something.
const ENOUGH: u64 = 10;

const NOBODY_CAME: &str = "no guest has come to the portal since spotgate started";

/// What is said of one thing about a router.
struct Said {
    /// `good`, `bad` or `unknown`, for the style.
    kind: &'static str,
    words: String,
}

fn good(words: impl Into<String>) -> Said {
    Said { kind: "good", words: words.into() }
}

fn bad(words: impl Into<String>) -> Said {
    Said { kind: "bad", words: words.into() }
}

fn unknown(words: impl Into<String>) -> Said {
    Said { kind: "unknown", words: words.into() }
}

/// What is known of the sessions at a router.
#[derive(Default)]
struct Sessions {
    live: usize,
    /// Of which it should have reported by now.
    due: usize,
    /// Of those, it did not.
    silent: usize,
}

pub(super) async fn page(State(app): State<Arc<App>>, desk: Desk) -> Response {
    let now = app.gate.clock.now().wall;
    let here = Here { zone: desk.live.settings.time_zone(), now };
    let mut at = HashMap::<NasName, Sessions>::new();
    for (_, session) in sessions::all(&app).await {
        let sessions = at.entry(session.contact.nas.clone()).or_default();
        sessions.live += 1;
        let (due, silent) = is_silent(&session, now);
        (sessions.due, sessions.silent) = (sessions.due + usize::from(due), sessions.silent + usize::from(silent));
    }
    let mut rows = Vec::new();
    for nas in &desk.live.settings.nas {
        let seen = desk.live.clients.seen(nas.name()).unwrap_or_default();
        let sessions = at.remove(nas.name()).unwrap_or_default();
        let filter = Filter { nas: Some(nas.name().clone()), ..Filter::default() };
        let lately = app.gate.history.decisions(filter, LOOKED_AT).await.unwrap_or_default();
        rows.push(row(nas, &seen, &sessions, &lately, here));
    }
    let strangers: Vec<_> = app.gate.strangers.all();
    let strangers: Vec<_> = strangers
        .into_iter()
        .map(|(address, at)| context! { address => address.to_string(), heard => here.ago(at) })
        .collect();
    desk.page(&app, Page::Routers, context! { rows, strangers })
}

/// Whether two reports of it should have come by now; and whether none did for so long. After three it is closed, so where guests
/// come and go only a part of them is ever due.
fn is_silent(session: &Session, now: Timestamp) -> (bool, bool) {
    let two = Duration::from_secs(session.interim.0).saturating_mul(2);
    let for_two = |since: Timestamp| now.duration_since(since).unsigned_abs() > two;
    let due = session.accounting && for_two(session.admitted_at);
    (due, due && session.reported.is_none_or(|report| for_two(report.at)))
}

fn row(nas: &Nas, seen: &Sightings, sessions: &Sessions, lately: &[Decided], here: Here<'_>) -> Value {
    let said = |said: Said| context! { kind => said.kind, words => said.words };
    context! {
        name => nas.name().to_string(),
        address => nas.address.to_string(),
        sessions => sessions.live,
        asks => said(asks(seen, here)),
        secret => said(secret(seen, lately, here)),
        signs => said(signs(seen, here)),
        reports => said(reports(nas, seen, sessions, here)),
        obeys => said(obeys(nas, seen, here)),
        keeps => said(keeps(seen, here)),
        takes => said(takes(nas, seen, here)),
        sends => said(sends(nas, seen, here)),
        cookies => said(cookies(nas, seen, here)),
        refused => seen.refused().map(|(at, why)| context! { at => here.ago(at), why }),
    }
}

fn asks(seen: &Sightings, here: Here<'_>) -> Said {
    let heard = seen.asked.get().max(accounted(seen)).max(seen.asked_by_http.get());
    match heard {
        Some(at) if is_long_ago(at, here) => unknown(format!("last heard {}", here.ago(at))),
        Some(at) => good(format!("heard {}", here.ago(at))),
        None if seen.refused().is_some() => bad("packets come, and none can be used: see below"),
        None => unknown("not heard since spotgate started"),
    }
}

fn secret(seen: &Sightings, lately: &[Decided], here: Here<'_>) -> Said {
    let mismatches = seen.mismatches.load(Ordering::Relaxed);
    let fitted = seen.signed.get().max(seen.accounted.get()).max(seen.guarded.get());
    let garbled = lately.len() >= 3 && lately.iter().all(|decided| decided.reason == Some(Reason::WrongPassword));
    match (seen.mismatched.get(), fitted) {
        (Some(wrong), fitted) if fitted.is_none_or(|fitted| fitted < wrong) => bad(format!(
            "does not fit: {mismatches} packets, the latest {}. Set the same secret in `/radius` and in `[[nas]]`",
            here.ago(wrong)
        )),
        (_, None) if garbled => bad("every password is wrong: does the secret in `/radius` fit the one in `[[nas]]`?"),
        (_, Some(_)) => good("fits"),
        (_, None) if seen.asked.get().is_some() => unknown("requests are not signed, so nobody can tell"),
        (_, None) => unknown("not known yet"),
    }
}

fn signs(seen: &Sightings, here: Here<'_>) -> Said {
    if let Some(guarded) = seen.guarded.get().filter(|at| Some(*at) >= seen.signed.get().max(seen.unsigned.get())) {
        return good(format!("TLS does it for them (RadSec), {}", here.ago(guarded)));
    }
    match (seen.signed.get(), seen.unsigned.get()) {
        (Some(signed), unsigned) if unsigned.is_none_or(|unsigned| unsigned <= signed) => {
            good(format!("yes, {}", here.ago(signed)))
        }
        (_, Some(_)) => bad("no: RouterOS from 7.15 on signs its requests (BlastRADIUS); update it"),
        (_, None) => unknown("not known yet"),
    }
}

fn reports(nas: &Nas, seen: &Sightings, sessions: &Sessions, here: Here<'_>) -> Said {
    if !nas.rules.accounting {
        return good("not expected (accounting = false): time counts from the login");
    }
    let (due, silent) = (sessions.due, sessions.silent);
    match (accounted(seen), seen.interim.get()) {
        _ if silent > 0 && silent * 2 >= due => bad(format!(
            "{silent} of {due} sessions that should have been reported by now are not. Set `radius-accounting=yes` and `radius-interim-update=received` in \
             the hotspot's server profile"
        )),
        (Some(_), Some(interim)) => good(format!("yes, {}", here.ago(interim))),
        (Some(_), None) => unknown("starts and stops; no running session was due yet"),
        // Whoever asks by RADIUS alone would report by it.
        (None, _) if seen.asked.get().is_some() && sessions.live > 0 => {
            unknown("nothing yet: `radius-accounting=yes` must be set in the hotspot's server profile")
        }
        (None, _) => unknown("nothing yet"),
    }
}

/// The latest news of a session, by whichever door.
fn accounted(seen: &Sightings) -> Option<Timestamp> {
    seen.accounted.get().max(seen.accounted_by_http.get())
}

/// Whether who is let in comes online.
fn takes(nas: &Nas, seen: &Sightings, here: Here<'_>) -> Said {
    let (let_in, begun) = (seen.let_in.load(Ordering::Relaxed), seen.begun.load(Ordering::Relaxed));
    match seen.complained() {
        // A browser has said so, and any browser can.
        Some((at, remedy)) if !is_long_ago(at, here) => {
            return unknown(format!("{}, by a browser's word, {remedy}", here.ago(at)));
        }
        _ => {}
    }
    if !nas.rules.accounting || accounted(seen).is_none() {
        return unknown("it reports no sessions, so nobody can tell");
    }
    match let_in {
        0..ENOUGH => unknown("too few logins yet"),
        _ if begun * 4 < let_in * 3 => bad(format!(
            "of {let_in} devices that were let in, {begun} came online. See its log: `shared-users` of `/ip hotspot user profile` \
             must be `unlimited`, and no `/ip hotspot user` may have the name of a code"
        )),
        _ => good(format!("of {let_in} devices that were let in, {} came online", begun.min(let_in))),
    }
}

/// Whether guests get from it to the portal.
fn sends(nas: &Nas, seen: &Sightings, here: Here<'_>) -> Said {
    if nas.hand_over == HandOver::Router {
        return good("its own login page takes the code (hand_over = \"router\")");
    }
    let turned_away = seen.turned_away.load(Ordering::Relaxed);
    match seen.sent_here.get() {
        sent if turned_away >= ENOUGH && sent.is_none_or(|at| is_long_ago(at, here)) => bad(format!(
            "{turned_away} devices were not known by their MAC, and {}. It must be reachable \
             before the login, in `/ip hotspot walled-garden` and `walled-garden ip` (`spotgate mikrotik setup` sets both); \
             and no host by which devices look for a login page may be in them",
            sent.map_or(NOBODY_CAME.to_owned(), |at| format!("the last guest came to the portal {}", here.ago(at)))
        )),
        Some(at) => good(format!("a guest came {}", here.ago(at))),
        None => unknown(NOBODY_CAME),
    }
}

/// Whether it brings passwords again that guests were given for once.
fn cookies(nas: &Nas, seen: &Sightings, here: Here<'_>) -> Said {
    match seen.spent.get() {
        Some(at) if !is_long_ago(at, here) => bad(format!(
            "{}, it brought a one-time password again. Take `cookie` and `mac-cookie` out of `login-by` in `/ip hotspot profile`",
            here.ago(at)
        )),
        _ if matches!(nas.hand_over, HandOver::OneTime | HandOver::OpenNds) => {
            good("none has brought a password again")
        }
        _ => unknown("cannot be told from guests who type their code; each login is checked anew"),
    }
}

fn is_long_ago(at: Timestamp, here: Here<'_>) -> bool {
    here.now.duration_since(at).as_hours() >= 24
}

/// Whether devices stay with it (facts of operation: sleeping phones, short leases, devices without a lease).
fn keeps(seen: &Sightings, here: Here<'_>) -> Said {
    let (ends, lost) = (seen.ends.load(Ordering::Relaxed), seen.lost.load(Ordering::Relaxed));
    match seen.self_addressed.get() {
        Some(at) if !is_long_ago(at, here) => {
            return bad(format!(
                "{}, a device came with an address of 169.254.0.0/16: it got none by DHCP, and blocks its own logins. Bind \
                 that network in `/ip hotspot ip-binding` with `type=blocked`",
                here.ago(at)
            ));
        }
        _ => {}
    }
    match ends {
        0..ENOUGH => unknown("too few sessions have ended yet"),
        _ if lost * 2 > ends => bad(format!(
            "{lost} of {ends} sessions ended because the device was lost. Sleeping phones need `keepalive-timeout` of 10 to 30 \
             minutes, and DHCP leases as long as sessions"
        )),
        _ => good(format!("{lost} of {ends} sessions ended because the device was lost")),
    }
}

fn obeys(nas: &Nas, seen: &Sightings, here: Here<'_>) -> Said {
    if nas.disconnect_port == 0 {
        return unknown("it cannot be told (disconnect_port = 0): sessions get shares of the time instead");
    }
    let Some((at, result)) = seen.told() else { return unknown("not tried since spotgate started") };
    let ago = here.ago(at);
    match result {
        "acked" | "gone" => good(format!("yes, {ago}")),
        "refused" => bad(format!("refused {ago}: the log has its Error-Cause")),
        "unanswered" if nas.certificate_name.is_some() => bad(format!(
            "no answer over its RadSec connection {ago}: see whether it takes orders there; if not, write disconnect_port = 0"
        )),
        "unanswered" => bad(format!(
            "no answer {ago}: set `/radius incoming set accept=yes port={}`, and let UDP from here to it through its firewall",
            nas.disconnect_port
        )),
        _ => bad(format!("could not be sent {ago}: the log says why")),
    }
}
