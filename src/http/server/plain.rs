//! Heads that somebody in front of us could read in another way than we do, so that one request is two to them, or for somebody
//! else. What a head must be like at all, and how lengths are said, hyper sees to.

use axum::http::{HeaderValue, Method, Request, Version, header};
use axum::response::{IntoResponse as _, Response};

use crate::http::problem::Problem;

const NO_ONE_HOST: &str = "Send one Host header, with the host that is asked and nothing else.";
const NO_PATH: &str = "Ask for a path that begins with a slash.";
const NO_CHUNKS: &str = "Send a body with Content-Length, or with `Transfer-Encoding: chunked` and nothing else.";

/// What is not plain in a head; none: everybody reads it alike.
pub(super) fn doubt<B>(request: &Request<B>) -> Option<&'static str> {
    let (version, headers, path) = (request.version(), request.headers(), request.uri().path());
    // That of a tunnel has none (RFC 9112 §3.2.3).
    let is_ours = path.starts_with('/') || (path == "*" && request.method() == Method::OPTIONS);
    let mut hosts = headers.get_all(header::HOST).iter();
    let is_addressed = match (hosts.next(), hosts.next()) {
        // RFC 9112 §3.2.
        (None, _) => version < Version::HTTP_11,
        (Some(host), None) => host.as_bytes().iter().all(|octet| octet.is_ascii_graphic() && !b"/?#@,".contains(octet)),
        (Some(_), Some(_)) => false,
    };
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    // RFC 9112 §6.1: once at most; of other codings we know none.
    let is_framed = codings.next().is_none_or(is_chunked) && codings.next().is_none();
    let doubts = [(is_ours, NO_PATH), (is_addressed, NO_ONE_HOST), (is_framed, NO_CHUNKS)];
    doubts.into_iter().find_map(|(is_plain, doubt)| (!is_plain).then_some(doubt))
}

/// The answer; nor is what comes behind such a head looked at.
pub(super) fn refused(doubt: &'static str) -> Response {
    ([(header::CONNECTION, "close")], Problem::unreadable(doubt)).into_response()
}
