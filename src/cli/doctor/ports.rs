//! The running daemon, if there is one, and the addresses to listen on.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use tokio::net::TcpListener;

use super::finding::Finding;
use crate::cli::daemon::Daemon;
use crate::config::Settings;
use crate::radius;
use crate::radius::handle::Port;
use crate::serve::{lacks_family, remedy};

/// How long the daemon may take for each of two answers.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A daemon that answers, and what it says of itself.
pub(super) struct Running {
    version: String,
    readiness: Result<Readiness, String>,
}

#[derive(Deserialize)]
struct Alive {
    status: String,
    version: String,
}

#[derive(Deserialize)]
struct Readiness {
    ready: bool,
    degraded: Vec<String>,
}

/// The daemon that runs under this configuration: it answers on `/healthz`.
pub(super) async fn running(settings: &Settings) -> Option<Running> {
    let asking = async {
        let daemon = Daemon::find_without_key(settings).await.ok()?;
        let alive: Alive = daemon.look("/healthz").await.ok()?;
        (alive.status == "ok").then_some((daemon, alive.version))
    };
    let (daemon, version) = tokio::time::timeout(ANSWER_WITHIN, asking).await.ok()??;
    let readiness = tokio::time::timeout(ANSWER_WITHIN, daemon.look("/readyz")).await;
    let readiness = readiness.unwrap_or_else(|_| Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs())));
    Some(Running { version, readiness })
}

/// What it says of itself.
pub(super) fn daemon(running: Option<&Running>) -> Vec<Finding> {
    const CHECK: &str = "daemon";
    let Some(Running { version, readiness }) = running else {
        return vec![Finding::ok(CHECK, "none runs under this configuration")];
    };
    let log = "see its log, and the other findings here";
    let (ready, degraded) = match readiness {
        Ok(readiness) => (readiness.ready, readiness.degraded.as_slice()),
        Err(error) => return vec![Finding::fail(CHECK, format!("version {version} runs; /readyz: {error}"), log)],
    };
    let mut findings = vec![match (ready, version == env!("CARGO_PKG_VERSION")) {
        (false, _) => Finding::fail(CHECK, format!("version {version} runs, and cannot decide"), log),
        (true, true) => Finding::ok(CHECK, format!("version {version} runs, and is ready")),
        (true, false) => Finding::warn(CHECK, format!("version {version} runs, another than this one"), "restart it"),
    }];
    findings.extend(degraded.iter().map(|what| Finding::warn(CHECK, format!("it says: {what}"), log)));
    findings
}

/// Each address: free, or held by the daemon.
pub(super) async fn examine(settings: &Settings, running: bool) -> Vec<Finding> {
    let radius = &settings.radius;
    let mut findings = Vec::new();
    for (listen, port, what) in [
        (&radius.auth_listen, Port::Auth, "RADIUS authentication"),
        (&radius.acct_listen, Port::Accounting, "RADIUS accounting"),
    ] {
        for &address in listen {
            let bound = radius::server::bind(address, port, 1).map(drop);
            findings.push(match bound {
                Err(error) if radius.listen_is_default && address.is_ipv6() && lacks_family(&error) => {
                    Finding::ok("port", format!("not tried for {what}: this machine has no IPv6")).about(&address)
                }
                bound => judge(what, address, bound, running),
            });
        }
    }
    for &address in radius.radsec.iter().flat_map(|radsec| &radsec.listen) {
        findings.push(judge("RadSec", address, radius::radsec::bind(address).map(drop), running));
    }
    for &address in &settings.http.listen {
        findings.push(judge("HTTP", address, TcpListener::bind(address).await.map(drop), running));
    }
    let address = settings.telemetry.metrics_listen;
    findings.push(judge("metrics", address, TcpListener::bind(address).await.map(drop), running));
    findings
}

fn judge(what: &str, address: SocketAddr, bound: io::Result<()>, running: bool) -> Finding {
    const CHECK: &str = "port";
    let finding = match bound {
        Ok(()) if running && address.port() != 0 => Finding::warn(
            CHECK,
            format!("nobody listens for {what}, although spotgate runs"),
            "restart it: a changed address takes effect then",
        ),
        Ok(()) => Finding::ok(CHECK, format!("free, for {what}")),
        Err(error) if running && error.kind() == io::ErrorKind::AddrInUse => {
            Finding::ok(CHECK, format!("held by the daemon that runs, for {what}"))
        }
        Err(error) => Finding::fail(CHECK, format!("cannot be listened on for {what}: {error}"), remedy(&error)),
    };
    finding.about(&address)
}
