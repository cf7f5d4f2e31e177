//! The running daemon, asked over its HTTP interface with the first key of the configuration that may.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::cli::{block_on, complain, load};
use crate::config::{ApiKey, Scope, Settings};

/// How long a running daemon may take to be found, and to answer.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(35);

/// A daemon that was found.
pub(super) struct Daemon<'s> {
    client: reqwest::Client,
    base: String,
    key: Option<&'s ApiKey>,
}

/// Why there is no daemon to ask.
#[derive(Debug, thiserror::Error)]
pub(super) enum Nobody {
    #[error("no API key in the configuration has the scope `{0}`")]
    NoKey(String),
    #[error("no daemon answers under this configuration")]
    Silent,
    #[error("the daemon cannot be asked: {0}")]
    Client(String),
}

impl<'s> Daemon<'s> {
    /// The daemon that runs under this configuration, asked with the first key that has these scopes.
    pub(super) async fn find(settings: &'s Settings, scopes: &[Scope]) -> Result<Self, Nobody> {
        let has = |key: &&ApiKey| scopes.iter().all(|scope| key.scopes.contains(scope));
        let lacking = || Nobody::NoKey(scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join("` and `"));
        let key = settings.http.api_keys.iter().find(has).ok_or_else(lacking)?;
        Self::reach(settings, Some(key)).await
    }

    /// The daemon that runs under this configuration, asked for what needs no key.
    pub(super) async fn find_without_key(settings: &'s Settings) -> Result<Self, Nobody> {
        Self::reach(settings, None).await
    }

    async fn reach(settings: &'s Settings, key: Option<&'s ApiKey>) -> Result<Self, Nobody> {
        let address = reachable(*settings.http.listen.first().ok_or(Nobody::Silent)?);
        if tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(address)).await.is_ok_and(|tried| tried.is_err()) {
            return Err(Nobody::Silent);
        }
        let mut client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_WITHIN)
            .timeout(ANSWER_WITHIN);
        let scheme = if settings.http.tls.is_some() { "https" } else { "http" };
        if settings.http.tls.is_some() {
            // It is our own daemon at our own address, whatever name its certificate has; the key goes nowhere else.
            client = client.tls_danger_accept_invalid_certs(true);
        }
        let client = client.build().map_err(|error| Nobody::Client(words(error)))?;
        Ok(Self { client, base: format!("{scheme}://{address}"), key })
    }

    /// Asks, and reads the answer. The error is in words for people.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, String> {
        let request = self.request(method, path);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        good(request.send().await).await?.json().await.map_err(words)
    }

    /// Asks for what a query says.
    pub(super) async fn ask_with<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, String> {
        good(self.request(Method::GET, path).query(query).send().await).await?.json().await.map_err(words)
    }

    /// Has it do something that has no answer.
    pub(super) async fn tell(&self, method: Method, path: &str) -> Result<(), String> {
        good(self.request(method, path).send().await).await.map(drop)
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match self.key {
            Some(key) => request.bearer_auth(key.key.expose_secret()),
            None => request,
        }
    }

    /// Reads what it says at `path`, whatever the status.
    pub(super) async fn look<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let answer = self.client.get(format!("{}{path}", self.base)).send().await.map_err(words)?;
        answer.json().await.map_err(words)
    }
}

/// Runs `talk` with the daemon under this configuration, and says what goes wrong.
pub(super) fn with_daemon(
    config: &Path,
    scopes: &[Scope],
    talk: impl AsyncFnOnce(&Daemon<'_>) -> Result<(), String>,
) -> ExitCode {
    let settings: Settings = match load(config) {
        Ok(loaded) => loaded.settings,
        Err(report) => {
            complain(&report.to_string());
            return ExitCode::FAILURE;
        }
    };
    let outcome = block_on(async {
        let daemon = Daemon::find(&settings, scopes).await.map_err(|nobody| nobody.to_string())?;
        talk(&daemon).await
    });
    match outcome {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            complain(&format!("spotgate: {error}"));
            ExitCode::FAILURE
        }
        Err(code) => code,
    }
}

/// The answer, unless it is a problem.
async fn good(answer: reqwest::Result<reqwest::Response>) -> Result<reqwest::Response, String> {
    let answer = answer.map_err(words)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let problem: Value = answer.json().await.unwrap_or_default();
    let detail = problem.get("detail").and_then(Value::as_str).unwrap_or_default();
    Err(format!("{status}. {detail}"))
}

fn words(error: reqwest::Error) -> String {
    error.without_url().to_string()
}

/// The address by which this machine reaches its own listening socket.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let address = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    };
    SocketAddr::new(address, listen.port())
}
