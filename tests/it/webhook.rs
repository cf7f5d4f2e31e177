//! Webhooks of Nexudus at the real binary.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use spotgate::clock::Clock;
use spotgate::sandbox::nexudus::{Options, Sandbox};

use crate::support::{Spotgate, client, configuration, configured};

const SECRET: &str = "a secret of both sides";

fn settings(sandbox: &Sandbox, more: &str) -> String {
    let source = format!(
        "[source]\nkind = \"nexudus\"\n[source.nexudus]\nbase_url = \"{}\"\nusername = \"demo@example.org\"\npassword = \"demo\"\n{more}\n",
        sandbox.base_url()
    );
    configuration(&source, "")
}

async fn sandbox() -> Sandbox {
    Sandbox::start_local(Options::default(), Clock::system()).await.unwrap()
}

fn signed(secret: &str, body: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(body.as_bytes());
    mac.finalize().into_bytes().iter().map(|octet| format!("{octet:02X}")).collect()
}

/// Sends a webhook; the status and the body of the answer.
async fn send(spotgate: &Spotgate, signature: &str, body: &str) -> (u16, String) {
    let url = format!("http://{}/v1/nexudus/webhook", spotgate.http);
    let request = client().post(url).header("X-Nexudus-Hook-Signature", signature).body(body.to_owned());
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_webhook_is_taken_and_a_wrong_one_is_said_once() {
    let sandbox = sandbox().await;
    let spotgate = Spotgate::start(&settings(&sandbox, &format!("webhook_secret = \"{SECRET}\"")));
    // As the vendor's sample hashes it: "José" with a question mark.
    let (body, hashed) = (r#"[{"Id":1,"FullName":"José"}]"#, r#"[{"Id":1,"FullName":"Jos?"}]"#);
    for signature in [signed(SECRET, body), signed(SECRET, hashed), signed(SECRET, body).to_lowercase()] {
        assert_eq!(send(&spotgate, &signature, body).await, (204, String::new()));
    }
    for _ in 0..50 {
        let (status, problem) = send(&spotgate, &signed("another secret", body), body).await;
        assert!(status == 401 && problem.contains("X-Nexudus-Hook-Signature"), "{status} {problem}");
    }
    assert_eq!(spotgate.metric("spotgate_webhooks_total{result=\"accepted\"}").await, 3.0);
    assert_eq!(spotgate.metric("spotgate_webhooks_total{result=\"refused\"}").await, 50.0);
    let log = spotgate.log();
    assert_eq!(log.lines().filter(|line| line.contains("webhook")).count(), 1, "{log}");
    assert!(log.contains("source.nexudus.webhook_secret") && !log.contains(SECRET) && !log.contains("Jos"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_bring_a_change_into_the_mirror_before_its_time_and_cost_one_reading() {
    let sandbox = sandbox().await;
    let keys = format!("webhook_secret = \"{SECRET}\"\nmirror_interval = \"1h\"");
    let spotgate = Spotgate::start(&settings(&sandbox, &keys));
    let whole = async || spotgate.log().contains("every access token of Nexudus is at hand");
    spotgate.until("mirrored", whole).await;
    let before = sandbox.count("list");
    sandbox.put_token(crate::support::record(1, "abc-123"));
    for _ in 0..100 {
        assert_eq!(send(&spotgate, &signed(SECRET, "[]"), "[]").await.0, 204);
    }
    spotgate.until("mirrored", async || spotgate.metric("spotgate_tokens").await == 1.0).await;
    assert!(sandbox.count("list") <= before + 4, "{before} and then {}", sandbox.count("list"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_brings_the_route_and_takes_nothing_away() {
    let sandbox = sandbox().await;
    let spotgate = Spotgate::start(&settings(&sandbox, ""));
    spotgate.until("signed in", async || sandbox.count("sign_in") == 1).await;
    assert_eq!(send(&spotgate, &signed(SECRET, "[]"), "[]").await.0, 404);
    std::fs::write(spotgate.folder.path().join("hook"), format!("{SECRET}\n")).unwrap();
    configured(&spotgate.folder, &settings(&sandbox, "webhook_secret_file = \"hook\""));
    spotgate.signal("HUP");
    spotgate.until("reloaded", async || send(&spotgate, &signed(SECRET, "[]"), "[]").await.0 == 204).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(sandbox.count("sign_in"), 1, "the tokens at hand stay");
}
