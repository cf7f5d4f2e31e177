use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper_util::service::TowerToHyperService;
use sha2::Sha256;
use tokio::sync::watch;
use tokio::time::Instant;

use super::*;
use crate::catalogue::Catalogue;
use crate::clock::Clock;
use crate::config;
use crate::gate::{Gate, Supply};
use crate::http::routes::router;
use crate::live::Live;
use crate::portal::Portal;
use crate::portal::badge::Key;
use crate::telemetry::metrics::Metrics;

const SECRET: &str = "a secret of both sides";

const NEXUDUS: &str = r#"
[source]
kind = "nexudus"
[source.nexudus]
username = "wifi@example.org"
password = "opensesame"
webhook_secret = "a secret of both sides"
[[nas]]
name = "front-desk"
address = "127.0.0.1"
secret = "correct horse battery"
"#;

struct World {
    router: Router,
    supply: Arc<Supply>,
    gate: Arc<Gate>,
}

fn world(configuration: &str) -> World {
    let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
    let settings = config::from_str(configuration, "spotgate.toml".as_ref(), &|_| None).unwrap().settings;
    let catalogue = Arc::new(Catalogue::new(&settings.cache, None, false, clock.clone()));
    let supply = Arc::new(Supply {
        catalogue,
        health: Arc::default(),
        mirror: None,
        write_back: Arc::default(),
        hint: Arc::default(),
    });
    let gate = Arc::new(Gate::new(Arc::clone(&supply), Arc::default(), Arc::new(Metrics::default()), clock));
    let (_, live) = watch::channel(Arc::new(Live::new(settings).unwrap()));
    World { router: router(&Arc::new(App::new(Arc::clone(&gate), live, Portal::new(Key::new([7; 32]))))), supply, gate }
}

fn signature(body: &[u8]) -> String {
    let digest = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap().chain_update(body).finalize();
    data_encoding::HEXUPPER.encode(&digest.into_bytes())
}

impl World {
    async fn send(&self, signature: Option<&str>, body: impl Into<Body>) -> (u16, String) {
        let mut request = Request::post("/v1/nexudus/webhook");
        if let Some(signature) = signature {
            request = request.header(HeaderName::from_static(Signature::HEADER), signature);
        }
        let request = request.body(body.into()).unwrap();
        let service = TowerToHyperService::new(self.router.clone());
        let answered: Result<Response, Infallible> = hyper::service::Service::call(&service, request).await;
        let response = answered.unwrap();
        let kind = response.headers().get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap().to_owned());
        (response.status().as_u16(), kind.unwrap_or_default())
    }

    /// Whether an early re-read is due within the hour.
    async fn is_hinted(&self) -> bool {
        timeout(Duration::from_secs(3600), self.supply.hint.hinted()).await.is_ok()
    }
}

fn problem(status: u16) -> (u16, String) {
    (status, "application/problem+json".to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_thousand_webhooks_are_one_re_read() {
    let world = Arc::new(world(NEXUDUS));
    let body = r#"[{"Id":1,"FullName":"José"}]"#;
    let sent = (0..1000).map(|_| {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.send(Some(&signature(body.as_bytes())), body).await.0 })
    });
    for status in sent.collect::<Vec<_>>() {
        assert_eq!(status.await.unwrap(), 204);
    }
    assert!(world.is_hinted().await);
    assert!(!world.is_hinted().await);
    assert!(world.gate.metrics.text().contains("spotgate_webhooks_total{result=\"accepted\"} 1000"));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_sign_hints_at_nothing() {
    let world = world(NEXUDUS);
    let right = signature(b"[]");
    assert_eq!(world.send(None, "[]").await, problem(401));
    assert_eq!(world.send(Some(""), "[]").await, problem(401));
    assert_eq!(world.send(Some(&right[2..]), "[]").await, problem(401));
    assert_eq!(world.send(Some(&right), "[ ]").await, problem(401));
    assert!(world.gate.metrics.text().contains("spotgate_webhooks_total{result=\"refused\"} 4"));
    assert!(!world.is_hinted().await);
    assert_eq!(world.send(Some(&right.to_ascii_lowercase()), "[]").await.0, 204);
}

#[tokio::test(start_paused = true)]
async fn without_a_secret_there_is_no_such_route() {
    let none = NEXUDUS.replace("webhook_secret", "#");
    let file = "[source]\nkind = \"file\"\npath = \"none.json\"\n[[nas]]\nname = \"x\"\naddress = \"127.0.0.1\"\nsecret = \"correct horse battery\"\n";
    for configuration in [none.as_str(), file] {
        let world = world(configuration);
        assert_eq!(world.send(Some(&signature(b"[]")), "[]").await, problem(404));
        assert_eq!(world.send(None, "[]").await, problem(404));
    }
}

#[tokio::test(start_paused = true)]
async fn a_mebibyte_and_no_more() {
    let world = world(NEXUDUS);
    let mut body = vec![b'x'; 1 << 20];
    assert_eq!(world.send(Some(&signature(&body)), body.clone()).await.0, 204);
    body.push(b'x');
    assert_eq!(world.send(Some(&signature(&body)), body).await, problem(413));
}

#[tokio::test(start_paused = true)]
async fn bodies_that_do_not_arrive_are_few_and_given_up() {
    let world = Arc::new(world(NEXUDUS));
    let endless = || Body::new(Endless);
    let slow = |_| {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.send(Some(&signature(b"")), endless()).await })
    };
    let began = Instant::now();
    let slow: Vec<_> = (0..AT_ONCE).map(slow).collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.send(Some(&signature(b"[]")), "[]").await.0, 204, "once a place is free");
    assert_eq!(began.elapsed(), PATIENCE);
    for slow in slow {
        assert_eq!(slow.await.unwrap(), problem(503));
    }
}

/// A body of which nothing ever comes.
struct Endless;

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        std::task::Poll::Pending
    }
}
