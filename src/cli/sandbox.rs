//! `spotgate sandbox`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::cli::{block_on, complain, print};
use crate::clock::Clock;
use crate::sandbox::ironwifi;
use crate::sandbox::nexudus::{Fail, Options, Sandbox, demo_tokens};

#[derive(Debug, clap::Args)]
pub(super) struct SandboxArguments {
    /// Where to listen, e.g. 127.0.0.1:8088
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// A JSON array of AccessToken records; without it, one token for every outcome
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Milliseconds added to every answer
    #[arg(long, value_name = "MS", default_value_t = 0)]
    latency: u64,
    /// A fault: 500, 409, timeout, html, …; `500:3` three times, `500@0.1` one time in ten
    #[arg(long, value_name = "MODE", value_parser = NonEmptyStringValueParser::new())]
    fail: Option<String>,
    /// Where a sandbox of IronWifi's management interface listens as well (base_url http://ADDR/api, API key demo)
    #[arg(long, value_name = "ADDR")]
    ironwifi: Option<SocketAddr>,
}

pub(super) fn run(arguments: SandboxArguments) -> ExitCode {
    match block_on(serve(arguments)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            complain(&format!("spotgate: {error}"));
            ExitCode::FAILURE
        }
        Err(code) => code,
    }
}

async fn serve(arguments: SandboxArguments) -> Result<(), String> {
    let clock = Clock::system();
    let tokens = match &arguments.tokens {
        Some(path) => read(path)?,
        None => demo_tokens(clock.now().wall),
    };
    let fail = arguments.fail.map(|mode| mode.parse::<Fail>().map_err(|error| error.to_string())).transpose()?;
    let listener = listen(arguments.listen).await?;
    let ironwifi = match arguments.ironwifi {
        Some(address) => Some(ironwifi::Sandbox::start(listen(address).await?).map_err(|error| error.to_string())?),
        None => None,
    };
    let count = tokens.len();
    let (faults, latency) = (fail.into_iter().collect(), Duration::from_millis(arguments.latency));
    let options = Options { tokens, faults, latency, ..Options::default() };
    let sandbox = Sandbox::start(listener, options, clock).map_err(|error| error.to_string())?;
    print(&format!(
        "sandbox Nexudus at {} with {count} tokens; user demo@example.org, password demo; stop with Ctrl-C\n",
        sandbox.base_url()
    ));
    if let Some(ironwifi) = &ironwifi {
        print(&format!("sandbox IronWifi at {}; API key {}\n", ironwifi.base_url(), ironwifi::KEY));
    }
    tokio::select! {
        () = sandbox.wait() => {}
        () = super::interrupted() => {}
    }
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}"))
}

fn read(path: &Path) -> Result<Vec<Value>, String> {
    let text = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&text).map_err(|error| format!("{} is no JSON array: {error}", path.display()))
}
