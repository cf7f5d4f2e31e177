//! Debian's openNDS, with the script and the settings that are shipped: how its guests come online and leave.

mod script;

use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use crate::support::gateway::{ASKER, INTERNET, PHONE, SCRIPT, Site};
use crate::support::process::until;
use crate::support::{record, with};

const CODE: &str = "kx7q-91mp";

/// Has the script find the programs that the test has placed.
const STAGED: &[&str] = &["PATH=/run/site/programs:/usr/bin:/bin", "sh", "-c", "exec \"$0\" \"$@\" 2>&1"];

/// Has the script print its complaints.
const ALOUD: &[&str] = &["sh", "-c", "exec \"$0\" \"$@\" 2>&1"];

/// Types the code and goes where that leads.
fn comes_online(site: &Site) {
    let sent = site.types(CODE);
    assert_eq!(sent.status, 303, "{sent:?}");
    let page = site.follow(&sent.onward);
    assert!(page.text.contains("You are online"), "{page:?}");
}

/// What the address by which openNDS lets the guest in says of a name.
fn said(address: &str, name: &str) -> String {
    let url = reqwest::Url::parse(address).unwrap();
    url.query_pairs().find(|(known, _)| known == name).unwrap().1.into_owned()
}

fn number(of: &Value) -> i64 {
    of.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_guest_of_opennds_is_online_from_the_code_to_the_logout() {
    let mut site = Site::start(&[record(1, CODE)]).await;
    assert!(!site.is_online());
    let page = site.types("no-such-code");
    assert!(page.status == 200 && page.text.contains("This code is not known"), "{page:?}");
    assert!(!site.is_online());

    comes_online(&site);
    assert!(site.is_online());
    let known = site.known();
    assert_eq!(known["state"], "Authenticated");
    assert_eq!(number(&known["session_end"]) - number(&known["session_start"]), 3600, "{known}");
    let [session] = &site.sessions()[..] else { panic!("{:?}", site.sessions()) };
    assert_eq!((&session["state"], &session["nas"]), (&json!("online"), &json!("lobby")));
    assert_eq!((&session["mac"], &session["ip"]), (&json!(PHONE), &json!("10.5.50.9")));
    assert_eq!(session["session_timeout"], 3600);
    // Once a minute, where it is set up as described.
    until("openNDS has counted what the guest has read", || number(&site.known()["download_this_session"]) > 0).await;
    assert_eq!(site.script(&["sh"], &["report", "now"]), (Some(0), String::new()));
    assert!(site.sessions()[0]["output_octets"].as_u64().unwrap() >= 1024, "{:?}", site.sessions());
    // The address that let him in is good for nobody who is in, and shows him his time.
    let again = site.follow("http://10.5.50.1:2050/opennds_auth/?tok=123456789&redir=x&custom=y");
    assert!(again.text.contains("You are online"), "{again:?}");

    let id = session["session"].as_str().unwrap();
    let page = site.follow("http://192.0.2.2:8080/status");
    let sent = site.send(&page, "logout", &[]);
    assert_eq!(sent.onward, "http://10.5.50.1:2050/opennds_deny/");
    site.open(&sent.onward);
    assert!(!site.is_online());
    assert_eq!(site.sessions(), [] as [Value; 0]);
    let ended = site.ask(&format!("/v1/sessions/{id}"));
    assert!(ended["input_octets"].as_u64().unwrap() > 0 && ended["output_octets"].as_u64().unwrap() > 0, "{ended}");

    // openNDS tells of those it puts out when it is stopped.
    comes_online(&site);
    assert_eq!(site.sessions().len(), 1);
    site.shut_down().await;
    assert_eq!(site.sessions(), [] as [Value; 0]);
    for (whose, said) in [("openNDS", site.said()), ("spotgate", site.spotgate.as_ref().unwrap().log())] {
        assert!(!said.contains(CODE) && !said.contains(ASKER), "{whose}: {said}");
    }
    site.spotgate.take().unwrap().stop();
}

#[tokio::test]
async fn opennds_ends_a_session_when_its_time_is_over() {
    let mut site = Site::start(&[]).await;
    let end = spotgate::clock::Clock::system().now().wall + 10.seconds();
    site.issue(&[with(record(1, CODE), json!({"ValidTo": end.to_string()}))]);
    until("the token is known", || site.spotgate.as_ref().unwrap().log().contains("\"tokens\":1")).await;
    comes_online(&site);
    let known = site.known();
    let (began, ends) = (number(&known["session_start"]), number(&known["session_end"]));
    let session = site.sessions()[0].clone();
    assert_eq!(session["session_timeout"], ends - began);
    assert!(began < ends && Timestamp::from_second(ends).unwrap() <= end, "{ends} and {end}");
    until("its time is over", || !site.is_online()).await;
    until("its end is reported", || site.sessions().is_empty()).await;
    let ended = site.ask(&format!("/v1/sessions/{}", session["session"].as_str().unwrap()));
    let used = ended["seconds_used"].as_i64().unwrap();
    assert!((ends - began..ends - began + 5).contains(&used), "{known}: {ended}");
    site.spotgate.take().unwrap().stop();
}

#[tokio::test]
async fn without_spotgate_nobody_comes_in_who_is_in_stays_and_the_end_is_reported_later() {
    let mut site = Site::start(&[record(1, CODE)]).await;
    let address = site.types(CODE).onward;
    site.spotgate.take().unwrap().kill();
    let refused = site.open(&address);
    assert!(refused.onward.starts_with("http://192.0.2.2:8080/login?fas="), "{refused:?}");
    assert!(!site.is_online());
    site.start_spotgate();
    let page = site.follow(&refused.onward);
    assert!(page.text.contains("did not accept the login"), "{page:?}");

    comes_online(&site);
    let session = site.sessions()[0]["session"].as_str().unwrap().to_owned();
    site.spotgate.take().unwrap().kill();
    assert!(site.is_online());
    site.open("http://10.5.50.1:2050/opennds_deny/");
    assert!(!site.is_online());
    assert_eq!(site.script(&["sh"], &["report", "now"]), (Some(0), String::new()), "it is kept while nobody takes it");
    site.start_spotgate();
    assert_eq!(site.sessions()[0]["state"], "online");
    assert_eq!(site.script(&["sh"], &["report", "now"]), (Some(0), String::new()));
    assert_eq!(site.ask(&format!("/v1/sessions/{session}"))["state"], "ended");
    site.spotgate.take().unwrap().stop();
}

#[tokio::test]
async fn whom_opennds_lets_in_without_asking_is_put_out() {
    let mut site = Site::start(&[record(1, CODE)]).await;
    let address = site.types(CODE).onward;
    // openNDS does not run the script while somebody else has its lock, and takes that for a yes.
    let lock = site.locked().await;
    let page = site.open(&address);
    assert!(page.onward.starts_with("http://192.0.2.2:8080/status?"), "{page:?}");
    assert!(site.is_online(), "this is what is to be undone");
    drop(lock);
    until("he is put out", || !site.is_online()).await;
    assert_eq!(site.sessions(), [] as [Value; 0]);
    // Whom `ndsctl` lets in, the next report puts out.
    until("openNDS sees him as one who is out", || site.open(INTERNET).onward.contains("/login?fas=")).await;
    let output = site.at_gateway("ndsctl").args(["auth", PHONE]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(site.script(&["sh"], &["report", "now"]).0, Some(0));
    until("he is put out again", || !site.is_online()).await;
    until("openNDS sees it", || site.open(INTERNET).onward.contains("/login?fas=")).await;

    // openNDS keeps what a guest comes with, and writes it among what it says of its guests.
    let address = site.types(CODE).onward;
    let words = "x%0a%22state%22:%22Gone%22,%0a%22mac%22:%2202:00:00:00:00:99%22,%0a%22state%22:%22Authenticated%22,%0a\
                 %22upload_this_session%22:%220%22,%0a%22state%22:%22Gone%22,";
    let address = format!("{}custom={words}", address.split_once("custom=").unwrap().0);
    let change = |how: &str| assert!(site.at_gateway("sh").args(["-c", how]).status().unwrap().success());
    change(&format!("cp {SCRIPT} /run/work/kept && echo exit 1 >{SCRIPT}"));
    site.open(&address);
    assert!(site.is_online());
    change(&format!("cp /run/work/kept {SCRIPT}"));
    let (_, complaint) = site.script(ALOUD, &["report", "now"]);
    assert_eq!(complaint, format!("{PHONE} is online and not known to spotgate (404): it is put out\n"));
    until("he is put out, whatever he says", || !site.is_online()).await;
    site.spotgate.take().unwrap().stop();
}

#[tokio::test]
async fn a_report_waits_until_opennds_has_an_ear_for_it() {
    let mut site = Site::start(&[record(1, CODE)]).await;
    until("openNDS knows the guest", || site.open(INTERNET).onward.contains("/login?fas=")).await;
    assert!(site.at_gateway("ndsctl").args(["auth", PHONE]).output().unwrap().status.success());
    assert!(site.is_online());
    site.place_program("ndsctl", "echo \"$1\" >>/run/site/orders\nexec /usr/bin/ndsctl \"$@\"\n");
    let lock = site.locked().await;
    let mut command = site.at_gateway("env");
    command.args(STAGED).arg(SCRIPT).args(["report", "now"]);
    let report = site.process("report", command);
    until("it has tried again", || site.left("orders").lines().count() > 2).await;
    assert_eq!(report.said(), "");
    drop(lock);
    until("he is put out", || !site.is_online()).await;
    site.spotgate.take().unwrap().stop();
}
