//! A NAS that nobody here wrote: hostapd as a switch with 802.1X. The guest's EAP-TTLS ends at FreeRADIUS, which asks spotgate;
//! the switch reports to spotgate itself, under the name outside of the tunnel, so that only the Class tells whose session it is.

use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use crate::support::process::until;
use crate::support::wired::{GUEST, OUTER, Site};
use crate::support::{record, with};

const CODE: &str = "kx7q-91mp";
const DAS: &str = "192.0.2.1:3799";

fn now() -> Timestamp {
    spotgate::clock::Clock::system().now().wall
}

/// How often the daemon logged a line with all of these parts.
fn logged(site: &Site, parts: &[&str]) -> usize {
    site.spotgate.log().lines().filter(|line| parts.iter().all(|part| line.contains(part))).count()
}

/// Logs the guest in; the id of its session, which is the only one, once its router has spoken of it.
async fn online(site: &mut Site, code: &str) -> String {
    assert!(site.plug_in(code).await, "{}", site.spotgate.log());
    until("the session is online", || matches!(&site.sessions()[..], [only] if only["state"] == "online")).await;
    site.sessions()[0]["session"].as_str().unwrap().to_owned()
}

async fn until_ended(site: &Site, session: &str) -> Value {
    until("the session has ended", || site.session(session)["state"] == "ended").await;
    site.session(session)
}

#[tokio::test]
async fn a_guest_comes_stays_and_goes() {
    let mut site = Site::start(&[record(1, CODE)]).await;
    until("Accounting-On", || logged(&site, &["the router began anew", "\"switch\""]) == 1).await;

    let session = online(&mut site, CODE).await;
    let accept = &site.packets_of("Access-Accept")[0];
    assert_eq!((accept.number("Session-Timeout"), accept.number("Acct-Interim-Interval")), (3600, 60));
    let start = &site.reports("1")[0];
    assert_eq!((start.get("User-Name"), start.get("Class")), (OUTER, accept.get("Class")), "joined by the Class alone");
    let shown = &site.sessions()[0];
    assert_eq!((&shown["code"], &shown["mac"]), (&json!(CODE), &json!(GUEST)));
    let other = json!({"access_code": CODE, "mac": "02:00:00:00:00:52", "nas": "switch", "dry_run": true});
    assert_eq!(site.ask("POST", "/v1/authorize", Some(other)).1["reason"], "user_limit_reached");

    until("three interims", || site.reports("3").len() >= 3).await;
    let times: Vec<_> = site.reports("3").iter().map(|interim| interim.number("Acct-Session-Time")).collect();
    assert!(times.is_sorted() && times[0] < times[2], "{times:?}");
    until("they arrive", || site.sessions()[0]["seconds_used"].as_u64().unwrap() >= times[2]).await;

    site.guest("logoff");
    let ended = until_ended(&site, &session).await;
    let stop = &site.reports("2")[0];
    assert_eq!((stop.get("Class"), stop.get("Acct-Terminate-Cause")), (accept.get("Class"), "1"));
    let used = stop.number("Acct-Session-Time");
    assert_eq!(ended["seconds_used"], used);

    let again = online(&mut site, CODE).await;
    assert_eq!(site.session(&again)["session_timeout"], 3600 - used, "the time is counted once");
    let said = site.shut_down().await;
    let off = said.iter().filter(|packet| packet.has("Acct-Status-Type", "8")).count();
    assert_eq!(off, 1, "the switch sends Accounting-Off");
    until("Accounting-Off", || logged(&site, &["the router began anew", "\"switch\""]) == 2).await;
    until_ended(&site, &again).await;
    assert_eq!(logged(&site, &["unknown_session"]), 0);
}

#[tokio::test]
async fn the_switch_ends_a_session_at_its_session_timeout() {
    let mut site = Site::start(&[record(1, CODE)]).await;
    let short =
        with(record(2, "short-one"), json!({"ValidTo": now().saturating_add(10.seconds()).unwrap().to_string()}));
    let tokens = site.spotgate.folder.path().join("tokens.json");
    std::fs::write(tokens, json!([record(1, CODE), short]).to_string()).unwrap();
    until("the new token is read", || logged(&site, &["the file was read", "\"tokens\":2"]) == 1).await;

    let session = online(&mut site, "short-one").await;
    let granted = site.packets_of("Access-Accept")[0].number("Session-Timeout");
    assert!((1..10).contains(&granted), "{granted}");
    until_ended(&site, &session).await;
    let stop = &site.reports("2")[0];
    assert_eq!(stop.get("Acct-Terminate-Cause"), "5", "Session-Timeout");
    // The switch sets its alarm a moment before it begins to count, in whole seconds.
    assert!((granted - 1..=granted + 1).contains(&stop.number("Acct-Session-Time")), "{granted} {stop:?}");
    assert_eq!(site.session(&session)["seconds_used"], stop.number("Acct-Session-Time"));

    assert!(!site.plug_in("short-one").await);
    assert_eq!(logged(&site, &["\"deny\"", "expired"]), 1);
    assert_eq!(site.packets_of("Access-Reject").len(), 1);
}

/// What this NAS makes of Disconnect-Requests, told by `radclient` from spotgate's address.
#[tokio::test]
async fn the_switch_takes_a_disconnect_and_proves_it_by_a_stop() {
    let mut site = Site::start(&[record(1, CODE)]).await;
    let session = online(&mut site, CODE).await;
    let name = site.reports("1")[0].get("Acct-Session-Id").to_owned();
    let moment = now().as_second();
    let full = |user: &str, name: &str| {
        format!(
            "Message-Authenticator = 0x00\nEvent-Timestamp = {moment}\nUser-Name = \"{user}\"\n\
             Calling-Station-Id = \"02-00-00-00-00-51\"\nAcct-Session-Id = \"{name}\"\n"
        )
    };
    let tell = |attributes: &str| site.radclient("office", DAS, "disconnect", attributes);
    for (what, attributes, cause) in [
        ("another session", full(OUTER, "0000000000000000"), "Session-Context-Not-Found"),
        ("a live session under the code", full(CODE, &name), "Session-Context-Not-Found"),
        ("an address", format!("{}Framed-IP-Address = 192.0.2.51\n", full(OUTER, &name)), "Unsupported-Attribute"),
    ] {
        let said = tell(&attributes);
        assert!(said.contains("Received Disconnect-NAK") && said.contains(cause), "{what}: {said}");
    }
    let late = format!("Event-Timestamp = {}\nAcct-Session-Id = \"{name}\"\n", moment - 400);
    assert!(tell(&late).contains("No reply"), "outside of the window");
    assert_eq!(site.session(&session)["state"], "online");
    let causes: Vec<_> = site.packets_of("Disconnect-NAK").iter().map(|nak| nak.number("Error-Cause")).collect();
    assert_eq!(causes, [503, 503, 401]);

    let said = tell(&full(OUTER, &name));
    assert!(said.contains("Received Disconnect-ACK"), "{said}");
    let ended = until_ended(&site, &session).await;
    assert_eq!(ended["seconds_used"], site.reports("2")[0].number("Acct-Session-Time"));
    // An ACK proves nothing: for five seconds it says so of a session whose Stop it has sent, and each time for five more.
    let again = format!("Acct-Session-Id = \"{name}\"\n");
    let said = tell(&again);
    assert!(said.contains("Received Disconnect-ACK"), "{said}");
    site.until_the_guest_is_forgotten().await;
    let said = tell(&again);
    assert!(said.contains("Session-Context-Not-Found"), "gone: {said}");
    assert_eq!(site.reports("2").len(), 1);

    let session = online(&mut site, CODE).await;
    let name = site.reports("1").last().unwrap().get("Acct-Session-Id").to_owned();
    let said = site.radclient("office", DAS, "disconnect", &format!("Acct-Session-Id = \"{name}\"\n"));
    assert!(said.contains("Received Disconnect-ACK"), "by the session's name alone, at any time: {said}");
    until_ended(&site, &session).await;
}

#[tokio::test]
async fn spotgate_disconnects_at_the_switch() {
    let mut site = Site::start(&[with(record(1, CODE), json!({"UserLimit": 2}))]).await;
    let session = online(&mut site, CODE).await;
    let (status, answer) = site.ask("DELETE", &format!("/v1/sessions/{session}"), None);
    assert_eq!(status, 202, "{answer}");
    let ended = until_ended(&site, &session).await;
    let stop = &site.reports("2")[0];
    assert_eq!(ended["seconds_used"], stop.number("Acct-Session-Time"), "the Stop is the proof");
    assert_eq!(site.packets_of("Disconnect-ACK").len(), 1);
    let asked = &site.packets_of("Disconnect-Request")[0];
    assert_eq!(asked.get("Acct-Session-Id"), stop.get("Acct-Session-Id"));

    // A session that the switch knows nothing of any more: reported from its address, but not by it.
    let device = "User-Name = \"kx7q-91mp\"\nCalling-Station-Id = \"02-00-00-00-00-52\"\nAcct-Session-Id = \"gone\"\n";
    let login = format!("{device}User-Password = \"{CODE}\"\nMessage-Authenticator = 0x00\n");
    assert!(site.radclient("switch", "192.0.2.2:1812", "auth", &login).contains("Received Access-Accept"));
    let start = format!("{device}Acct-Status-Type = Start\n");
    assert!(site.radclient("switch", "192.0.2.2:1813", "acct", &start).contains("Received Accounting-Response"));
    let gone = site.sessions()[0]["session"].as_str().unwrap().to_owned();
    assert_eq!(site.ask("DELETE", &format!("/v1/sessions/{gone}"), None).0, 202);
    until_ended(&site, &gone).await;
    let naks = site.packets_of("Disconnect-NAK");
    assert!(!naks.is_empty() && naks.iter().all(|nak| nak.has("Error-Cause", "503")), "{naks:?}");
}

#[tokio::test]
async fn a_switch_that_lost_power_has_nobody_online() {
    let mut site = Site::start(&[record(1, CODE)]).await;
    let session = online(&mut site, CODE).await;
    site.cut_power();
    site.power_on().await;
    until("Accounting-On", || logged(&site, &["the router began anew", "\"switch\""]) == 2).await;
    until_ended(&site, &session).await;
}

#[tokio::test]
async fn authenticating_again_counts_no_second_twice() {
    let mut site = Site::start(&[record(1, CODE)]).await;
    online(&mut site, CODE).await;
    until("three interims", || site.reports("3").len() >= 3).await;
    site.guest("reauthenticate");
    until("it has authenticated again", || site.packets_of("Access-Accept").len() == 2).await;
    until("two more interims", || site.reports("3").len() >= 5).await;
    site.guest("logoff");
    until("it is over", || site.sessions().is_empty()).await;
    let stops = site.reports("2");
    let [stop] = &stops[..] else { panic!("one session, as the switch sees it: {stops:?}") };
    let session = online(&mut site, CODE).await;
    assert_eq!(site.session(&session)["session_timeout"], 3600 - stop.number("Acct-Session-Time"));
}
