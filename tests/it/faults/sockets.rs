//! Sockets that accept, take and send nothing for a while, and descriptors that run out.

use std::fs;
use std::time::Duration;

use serde_json::json;

use super::Faults;
use crate::radsec::{PLAIN, World};
use crate::support::ledger::{holds, interim, roomy};
use crate::support::{Spotgate, client, mac, printed, run, tool};

/// Asks whether it is alive, for as long as that takes.
fn asking(spotgate: &Spotgate) -> tokio::task::JoinHandle<u16> {
    let asked = client().get(format!("http://{}/healthz", spotgate.http));
    tokio::spawn(async move { asked.send().await.unwrap().status().as_u16() })
}

/// How many lines of the log hold this.
fn said(spotgate: &Spotgate, what: &str) -> usize {
    spotgate.log().matches(what).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_that_cannot_accept_try_again_without_hurry_and_go_on() {
    let world = World::new(&PLAIN);
    let spotgate = &world.spotgate;
    let hotspot = spotgate.hotspot();
    for (device, error) in (1..).zip(["EMFILE", "ENFILE", "ECONNABORTED", "EPROTO"]) {
        let faults = Faults::of(spotgate, &format!("accept4:error={error}"));
        let asked = asking(spotgate);
        let (router, _) = tokio::join!(world.router(&["localhost"]), async {
            spotgate.until("it tries", async || faults.struck().len() > 8).await;
            assert!(hotspot.login_pap("many", "", mac(device)).await.unwrap().accept, "{error}");
            assert!(!asked.is_finished(), "{error}");
            let struck = faults.struck();
            let (count, lasted) = (struck.len() as f64, struck[struck.len() - 1] - struck[0]);
            // Two listeners, each with a tenth of a second between.
            assert!(count <= 2.0 * (lasted * 10.0 + 2.0), "{error}: {count} times in {lasted} s");
            drop(faults);
            assert_eq!(asked.await.unwrap(), 200, "{error}");
        });
        let mut router = router;
        assert!(router.is_open().await, "{error}");
    }
    assert_eq!(said(spotgate, "a connection could not be accepted"), 1, "in a minute");
    assert_eq!(said(spotgate, "a RadSec connection could not be accepted"), 1, "in a minute");
}

/// Lets it open so many files and no more; none: as many as before.
fn descriptors(spotgate: &Spotgate, most: Option<u32>) {
    let most = most.map_or_else(|| "1024".to_owned(), |most| most.to_string());
    let output = run(tool("prlimit").args(["--pid", &spotgate.id().to_string(), &format!("--nofile={most}:")]));
    assert!(output.status.success(), "{}", printed(&output));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_descriptor_to_spare_guests_come_and_go_and_the_rest_waits() {
    let spotgate = Spotgate::over_file(&[roomy(1, "abc-123")]);
    let hotspot = spotgate.hotspot();
    // It may hold one more for a moment.
    let free = (0..50).map(|_| {
        let fds = fs::read_dir(format!("/proc/{}/fd", spotgate.id())).unwrap();
        let open: Vec<u32> = fds.map(|fd| fd.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
        (0..).find(|fd| !open.contains(fd)).unwrap()
    });
    descriptors(&spotgate, free.min());
    let admitted = hotspot.login_pap("abc-123", "", mac(1)).await.unwrap();
    let asked = asking(&spotgate);
    spotgate.until("it is short of them", async || said(&spotgate, "could not be accepted") > 0).await;
    for device in 2..20 {
        assert!(hotspot.login_pap("abc-123", "", mac(device)).await.unwrap().accept);
        hotspot.account(&interim(&admitted, "abc-123", 1, device.into())).await.unwrap();
    }
    spotgate.signal("HUP");
    spotgate.until("the file cannot be read", async || said(&spotgate, "not reloaded") > 0).await;
    spotgate.until("nor written", async || said(&spotgate, "what was learnt about a router could not be") > 0).await;
    assert!(!asked.is_finished());

    descriptors(&spotgate, None);
    assert_eq!(asked.await.unwrap(), 200);
    assert_eq!(spotgate.get("/readyz").await, (200, json!({"ready": true, "degraded": []})));
    let sessions = spotgate.read("/v1/sessions").await.1;
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 19);
    spotgate.signal("HUP");
    let done = async || spotgate.metric("spotgate_reloads_total{result=\"done\"}").await == 1.0;
    spotgate.until("reloaded", done).await;
    let kept = spotgate.folder.path().join("state/state.json");
    spotgate.until("what it learnt is written down", async || holds(&kept, "127.0.0.1")).await;
}

/// Decided by RADIUS, and let in.
async fn let_in(spotgate: &Spotgate) -> f64 {
    spotgate.metric("spotgate_decisions_total{via=\"radius\",outcome=\"allow\",reason=\"none\"}").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_cannot_be_sent_goes_out_when_it_is_asked_for_again() {
    let spotgate = Spotgate::over_file(&[roomy(1, "abc-123")]);
    let hotspot = spotgate.hotspot().patience(Duration::from_millis(100), 60);
    for (device, error) in (1..).zip(["EPERM", "ENOBUFS", "ENETUNREACH", "EIO", "EINVAL"]) {
        // Of each thread the first two.
        let faults = Faults::of(&spotgate, &format!("sendmsg:error={error}:when=1..2"));
        let admitted = hotspot.login_pap("abc-123", "", mac(device)).await.unwrap();
        assert!(admitted.accept && admitted.tries > 1, "{error}: {admitted:?}");
        hotspot.account(&interim(&admitted, "abc-123", device, 60)).await.unwrap();
        assert!(!faults.struck().is_empty(), "{error}");
        assert_eq!(let_in(&spotgate).await, f64::from(device), "{error}: decided once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_received_ends_nothing_and_is_tried_again_without_hurry() {
    let spotgate = Spotgate::over_file(&[roomy(1, "abc-123")]);
    for (device, error) in (1..).zip(["ECONNREFUSED", "EHOSTUNREACH", "ENOMEM"]) {
        let faults = Faults::of(&spotgate, &format!("recvmmsg:error={error}"));
        let hotspot = spotgate.hotspot().patience(Duration::from_millis(100), 60);
        let login = tokio::spawn(async move { hotspot.login_pap("abc-123", "", mac(device)).await });
        spotgate.until("it tries", async || faults.struck().len() > 50).await;
        let struck = faults.struck();
        let (count, lasted) = (struck.len() as f64, struck[struck.len() - 1] - struck[0]);
        // A millisecond between, on the one socket that something waits on.
        assert!(count <= lasted * 1000.0 + 2.0, "{error}: {count} times in {lasted} s");
        assert!(!login.is_finished(), "{error}");
        drop(faults);
        assert!(login.await.unwrap().unwrap().accept, "{error}");
        assert_eq!(let_in(&spotgate).await, f64::from(device), "{error}: decided once");
    }
}
