//! Requests to the HTTP API and the guests' pages, whatever stands in them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, Uri, header};
use axum::response::Response;
use hyper_util::service::TowerToHyperService;
use spotgate::config;
use spotgate::http::routes::{App, router};
use spotgate::ledger::Ledger;
use spotgate::live::Live;
use spotgate::portal::{Portal, address::Peer, badge::Key};
use tokio::sync::watch;

use super::world;
use super::{TOKENS, all_is_well};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const VIEWER: &str = "fedcba9876543210fedcba9876543210";

fn configuration() -> String {
    format!(
        r#"
        [source]
        kind = "file"
        path = "none.json"
        [[nas]]
        name = "desk-00000"
        address = "127.0.0.1"
        secret = "{secret}"
        [portal]
        enabled = true
        public_url = "https://wifi.example.net"
        [[http.api_key]]
        name = "all"
        key = "{KEY}"
        scopes = ["authorize", "accounting", "ironwifi", "freeradius", "read", "admin"]
        [[http.api_key]]
        name = "viewer"
        key = "{VIEWER}"
        scopes = ["read"]
        "#,
        secret = world::SECRET
    )
}

/// Requests with a NUL between them. The first line of each names key (`+` may all, `-` may read, else none), method, path and
/// content type; a body follows.
pub(super) fn api(octets: &[u8]) {
    let world = world::world(TOKENS, 1, Ledger::default());
    let settings = config::from_str(&configuration(), "spotgate.toml".as_ref(), &|_| None).unwrap().settings;
    let (_, live) = watch::channel(Arc::new(Live::new(settings).unwrap()));
    let app = Arc::new(App::new(Arc::clone(&world.gate), live, Portal::new(Key::new([7; 32]))));
    let service = TowerToHyperService::new(router(&app));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for one in octets.split(|octet| *octet == 0).take(16) {
        let Some((is_viewer, request)) = request(one) else { continue };
        let path = request.uri().path().to_owned();
        let answered: Result<Response, Infallible> = runtime.block_on(hyper::service::Service::call(&service, request));
        let (head, body) = answered.unwrap().into_parts();
        let body = runtime.block_on(to_bytes(body, 1 << 20)).unwrap();
        let status = head.status.as_u16();
        assert!(status < 500 || status == 503, "{status}");
        let kind = head.headers.get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap());
        if kind.is_some_and(|kind| kind.ends_with("json")) {
            let _: serde_json::Value = serde_json::from_slice(&body).unwrap();
        }
        let is_problem = kind == Some("application/problem+json");
        // IronWifi and FreeRADIUS are answered in words of theirs.
        let is_ours =
            path.starts_with("/v1/") && !path.starts_with("/v1/ironwifi/") && !path.starts_with("/v1/freeradius/");
        assert!(status < 400 || is_problem || !is_ours, "{path}: {status}, {kind:?}");
        if is_viewer {
            let said = String::from_utf8_lossy(&body);
            for token in (0..TOKENS).map(world::code) {
                assert!(one.windows(token.len()).any(|part| part == token.as_bytes()) || !said.contains(&token));
            }
        }
        world.clock.advance(Duration::from_secs(7));
    }
    all_is_well(&world);
}

fn request(octets: &[u8]) -> Option<(bool, Request<Body>)> {
    let end = octets.iter().position(|octet| *octet == b'\n').unwrap_or(octets.len());
    let (line, body) = octets.split_at(end);
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (key, method, uri) = (words.next()?, words.next()?.parse::<Method>().ok()?, words.next()?.parse::<Uri>().ok()?);
    let mut request = Request::builder().method(method).uri(uri);
    match key {
        "+" => request = request.header(header::AUTHORIZATION, format!("Bearer {KEY}")),
        "-" => request = request.header(header::AUTHORIZATION, format!("Bearer {VIEWER}")),
        _ => {}
    }
    if let Some(kind) = words.next() {
        request = request.header(header::CONTENT_TYPE, kind);
    }
    let body = body.get(1..).unwrap_or_default().to_vec();
    let mut request = request.body(Body::from(body)).ok()?;
    request.extensions_mut().insert(Peer(([127, 0, 0, 1], 40_000).into()));
    Some((key == "-", request))
}
