//! A second NAS that nobody here wrote: Debian's ocserv, a VPN server. It names neither device nor session when it asks, and gives no
//! Class back, so that a Start tells whose it is by the code alone.

use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use crate::support::process::until;
use crate::support::tunnel::{ANNA, BEN, CLEO, Guest, Site};
use crate::support::{record, with};

const CODE: &str = "kx7q-91mp";

fn now() -> Timestamp {
    spotgate::clock::Clock::system().now().wall
}

fn id(session: &Value) -> String {
    session["session"].as_str().unwrap().to_owned()
}

/// Calls from there and is let in; the session, which was admitted after all others.
async fn online(site: &Site, home: &'static str, code: &str) -> (Guest, String) {
    let starts = site.reports("1").len();
    let guest = site.call(home, code).await;
    assert!(site.is_online(home), "{}", guest.said());
    until("it has started", || site.reports("1").len() > starts).await;
    until("its session is online", || site.sessions().last().is_some_and(|session| session["state"] == "online")).await;
    (guest, id(site.sessions().last().unwrap()))
}

#[tokio::test]
async fn a_guest_of_ocserv_is_online_from_the_code_to_the_end() {
    let site = Site::start(&[record(1, CODE)]).await;
    let mut stranger = site.call(ANNA, "no-such-code").await;
    stranger.until_gone().await;
    assert!(stranger.said().contains("This code is not known"), "{}", stranger.said());
    assert!(!site.is_online(ANNA) && site.sessions().is_empty());
    drop(stranger);

    let (mut guest, session) = online(&site, ANNA, CODE).await;
    let [_, asked] = &site.packets_of("1")[..] else { panic!("{:?}", site.packets()) };
    assert_eq!(asked.get("radius.Calling_Station_Id"), Some("10.5.51.9"), "no device");
    assert_eq!(asked.get("radius.Service_Type"), Some("8"), "Authenticate-Only");
    assert_eq!((asked.get("radius.Acct_Session_Id"), asked.get("radius.Framed-IP-Address")), (None, None));
    let accept = &site.packets_of("2")[0];
    assert!(accept.get("radius.Class").is_some());
    assert_eq!(accept.number("radius.Session_Timeout"), 3600);
    let start = &site.reports("1")[0];
    assert_eq!((start.get("radius.User_Name"), start.get("radius.Class")), (Some(CODE), None));
    assert_eq!(site.decisions()[0]["session"], session, "it is the session of the login");
    assert_eq!(site.sessions().len(), 1);

    // Ten seconds after its begin, then when Acct-Interim-Interval has passed.
    until("the first interim", || !site.reports("3").is_empty()).await;
    let interim = &site.reports("3")[0];
    until("it arrives", || !site.sessions()[0]["ip"].is_null()).await;
    let shown = &site.sessions()[0];
    assert_eq!(shown["ip"].as_str(), interim.get("radius.Framed-IP-Address"));
    assert!(shown["seconds_used"].as_u64().unwrap() >= interim.number("radius.Acct_Session_Time"), "{shown}");

    // Back by a cookie after a break of the line: the same session, of which ocserv tells nobody.
    guest.signal("USR2");
    guest.until_said("User requested reconnect").await;
    until("it is online again", || site.is_online(ANNA)).await;
    assert!(site.sessions().iter().map(id).eq([&*session]), "{:?}", site.sessions());

    guest.signal("INT");
    guest.until_gone().await;
    until("the session has ended", || site.sessions().is_empty()).await;
    until("the wire has shown it", || !site.reports("2").is_empty()).await;
    let [stop] = &site.reports("2")[..] else { panic!("{:?}", site.packets()) };
    assert_eq!(stop.get("radius.Acct_Terminate_Cause"), Some("1"), "User-Request");
    assert_eq!(
        (site.packets_of("1").len(), site.reports("1").len()),
        (2, 1),
        "neither asked nor told of a start again"
    );
    let used = stop.number("radius.Acct_Session_Time");
    assert!(used >= interim.number("radius.Acct_Session_Time"), "both parts: {stop:?}");
    assert_eq!(site.ask(&format!("/v1/sessions/{session}"))["seconds_used"], used);
    drop(guest);
    let (_guest, _) = online(&site, ANNA, CODE).await;
    assert_eq!(site.packets_of("2")[1].number("radius.Session_Timeout"), 3600 - used);
    let log = site.spotgate.log();
    assert!(!log.contains("unknown_session") && !log.contains(CODE), "{log}");
}

#[tokio::test]
async fn places_hold_for_guests_without_a_device_and_are_free_after_a_stop() {
    let both = with(record(1, CODE), json!({"UserLimit": 2, "MinutesIncluded": 0, "MinutesLeft": 0}));
    let site = Site::start(&[both]).await;
    let (mut anna, hers) = online(&site, ANNA, CODE).await;
    let (ben, his) = online(&site, BEN, CODE).await;
    assert_ne!(hers, his);
    let refused = site.call(CLEO, CODE).await;
    assert!(!site.is_online(CLEO), "{}", refused.said());
    assert_eq!(site.decisions()[0]["reason"], "user_limit_reached");
    drop(refused);

    anna.signal("INT");
    anna.until_gone().await;
    until("her place is free", || site.sessions().iter().map(id).eq([his.clone()])).await;
    assert!(site.is_online(BEN));
    let (_cleo, _) = online(&site, CLEO, CODE).await;
    assert_eq!(site.sessions().len(), 2);

    // Whom ocserv loses it awaits for as long as his cookie is good, and keeps his session.
    let told = site.reports("3").len();
    drop(ben);
    until("an interim tells how far he came", || site.reports("3").len() > told).await;
    assert_eq!(site.sessions().len(), 2);
    site.call(ANNA, CODE).await;
    assert_eq!(site.decisions()[0]["reason"], "user_limit_reached");
    assert_eq!(site.reports("2").len(), 1);
}

#[tokio::test]
async fn ocserv_ends_a_session_at_its_session_timeout() {
    let site = Site::start(&[record(1, CODE)]).await;
    // Shorter than the ten seconds after which ocserv first looks; the next time is 25 to 40 later.
    let end = now().saturating_add(10.seconds()).unwrap();
    site.issue(&[record(1, CODE), with(record(2, "short-one"), json!({"ValidTo": end.to_string()}))]);
    until("the new token is read", || site.spotgate.log().contains("\"tokens\":2")).await;
    let (mut guest, session) = online(&site, ANNA, "short-one").await;
    let granted = site.packets_of("2")[0].number("radius.Session_Timeout");
    assert!((1..10).contains(&granted), "{granted}");
    guest.until_said("Session authentication will expire").await;
    guest.until_gone().await;
    until("the session has ended", || site.sessions().is_empty()).await;
    until("the wire has shown it", || !site.reports("2").is_empty()).await;
    let [stop] = &site.reports("2")[..] else { panic!("{:?}", site.packets()) };
    assert_eq!(stop.get("radius.Acct_Terminate_Cause"), Some("5"), "Session-Timeout");
    let used = stop.number("radius.Acct_Session_Time");
    assert!(used > granted && guest.said().contains("Session terminated by server"), "{granted} {stop:?}");
    assert_eq!(site.ask(&format!("/v1/sessions/{session}"))["seconds_used"], used, "and what is over is counted");
    site.call(ANNA, "short-one").await;
    assert_eq!(site.decisions()[0]["reason"], "expired");
}
