//! Requests to the walled garden, which the router passes on as the proxy it is.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::requests::plain;

/// The most that is passed on in either direction, in octets.
const MOST: usize = 1 << 20;
/// Time for the whole of it.
const TIME: Duration = Duration::from_secs(10);

/// Headers that are of one connection (RFC 9110 §7.6.1), or that say who asks: that, the router knows.
const NOT_PASSED_ON: [HeaderName; 9] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::FORWARDED,
    header::HOST,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
const NOT_PASSED_ON_EITHER: [&str; 3] = ["keep-alive", "proxy-connection", "x-forwarded-for"];

/// Asks the host at `to` for the guest with this address.
pub(super) async fn forward(request: Request<Incoming>, host: &str, to: SocketAddr, guest: Ipv4Addr) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(Ok(body)) = timeout(TIME, to_bytes(Body::new(body), MOST)).await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "The request is too long, or took too long.");
    };
    let mut onward = Request::new(Body::from(body));
    *onward.method_mut() = parts.method;
    *onward.uri_mut() = Uri::from(parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
    *onward.headers_mut() = passed_on(parts.headers);
    let (Ok(host), Ok(guest)) = (HeaderValue::from_str(host), HeaderValue::from_str(&guest.to_string())) else {
        return plain(StatusCode::BAD_REQUEST, "The host has no name.");
    };
    onward.headers_mut().insert(header::HOST, host);
    onward.headers_mut().insert("x-forwarded-for", guest);
    match timeout(TIME, ask(onward, to)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => plain(StatusCode::BAD_GATEWAY, "The host does not answer."),
    }
}

async fn ask(
    request: Request<Body>,
    to: SocketAddr,
) -> Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(to).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let (mut parts, body) = sender.send_request(request).await?.into_parts();
    let body = to_bytes(Body::new(body), MOST).await?;
    parts.headers = passed_on(parts.headers);
    parts.extensions.clear();
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn passed_on(mut headers: HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in NOT_PASSED_ON.iter().chain(&named) {
        headers.remove(name);
    }
    for name in NOT_PASSED_ON_EITHER {
        headers.remove(name);
    }
    headers
}
