//! Calls of other systems over HTTP: no redirect is followed, nothing larger than asked for is read, and no error says an
//! address, which may hold a code.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder, StatusCode, Url};

/// What a system answered.
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Vec<u8>,
}

/// A client for the system at `base_url`; what is on this machine is reached without a proxy. rustls' default provider must
/// have been installed. The error is in words.
pub(crate) fn client(base_url: &str, connect_timeout: Duration) -> Result<Client, String> {
    let url = Url::parse(base_url).map_err(|error| error.to_string())?;
    let mut http = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(connect_timeout)
        .user_agent(concat!("spotgate/", env!("CARGO_PKG_VERSION")))
        .referer(false);
    if url.host_str().is_some_and(is_loopback) {
        http = http.no_proxy();
    }
    http.build().map_err(|error| format!("no HTTP client: {}", root_cause(&error)))
}

/// Sends and reads at most `limit` bytes. The error: its name in metrics, and words in which the system is called `whom`.
pub(crate) async fn exchange(
    request: RequestBuilder,
    limit: usize,
    whom: &str,
) -> Result<Answer, (&'static str, String)> {
    let broken = |error: reqwest::Error| {
        if error.is_timeout() {
            ("timeout", format!("{whom} did not answer in time"))
        } else if error.is_connect() {
            ("error", format!("no connection to {whom}: {}", root_cause(&error)))
        } else {
            ("error", format!("the connection to {whom} broke"))
        }
    };
    let mut response = request.send().await.map_err(broken)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > limit {
            return Err(("error", format!("the answer of {whom} is larger than {} MiB", limit >> 20)));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status: response.status(), headers: std::mem::take(response.headers_mut()), body })
}

/// The innermost error, which knows no address: "Connection refused", "certificate has expired".
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.downcast_ref::<reqwest::Error>().map_or_else(|| cause.to_string(), |_| "it could not be made".to_owned())
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
