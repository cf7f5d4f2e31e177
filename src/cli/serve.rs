//! `spotgate serve`.

use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{block_on, complain, load};
use crate::clock::Clock;
use crate::config::Loaded;
use crate::serve::{self, Daemon, Fatal, Sockets};
use crate::telemetry;
use crate::telemetry::log::OPERATOR;

/// SIGTERM drains within this, so that everything has ended within 10 s.
const STOP_WITHIN: Duration = Duration::from_secs(9);

pub(super) fn run(path: &Path) -> ExitCode {
    let loaded = match load(path) {
        Ok(loaded) => loaded,
        Err(report) => return fatal(&Fatal::Config(report)),
    };
    telemetry::log::init(&loaded.settings.telemetry);
    warn(&loaded);
    match block_on(serve(path, loaded)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => fatal(&error),
        Err(code) => code,
    }
}

async fn serve(path: &Path, loaded: Loaded) -> Result<(), Fatal> {
    let signals = |kind| signal(kind).map_err(|error| Fatal::Io { what: "signals", error });
    let (mut terminate, mut interrupt) = (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
    let mut hang_up = signals(SignalKind::hangup())?;

    let daemon = serve::start_on(Sockets::inherited(), loaded.settings, Clock::system()).await?;
    notify(&[NotifyState::Ready]);
    let fault = {
        let mut watched = std::pin::pin!(watch_over(&daemon));
        // Beside the rest: whatever it waits for, the watchdog is told, and signals are heeded.
        let mut reloading: Option<Pin<Box<dyn Future<Output = ()> + '_>>> = None;
        loop {
            let is_idle = reloading.is_none();
            let reload_ends = async {
                match &mut reloading {
                    Some(reloading) => reloading.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = &mut watched => {}
                () = reload_ends => reloading = None,
                _ = terminate.recv() => break None,
                _ = interrupt.recv() => break None,
                // One at a time; another signal meanwhile is heeded after it.
                _ = hang_up.recv(), if is_idle => reloading = Some(Box::pin(reload(path, &daemon))),
                fault = daemon.lost() => break Some(fault),
            }
        }
    };
    notify(&[NotifyState::Stopping]);
    tracing::info!("stopping");
    if daemon.stop(STOP_WITHIN).await {
        tracing::info!("stopped");
    } else {
        tracing::warn!("stopped; some requests were cut off");
    }
    fault.map_or(Ok(()), Err)
}

/// Tells systemd's watchdog that the daemon lives, as long as it does; a daemon that does not is ended and started anew.
async fn watch_over(daemon: &Daemon) {
    let Some(within) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let mut ticks = tokio::time::interval(within / 3);
    loop {
        ticks.tick().await;
        if daemon.is_alive().await {
            notify(&[NotifyState::Watchdog]);
        }
    }
}

async fn reload(path: &Path, daemon: &Daemon) {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        notify(&[NotifyState::Reloading, now]);
    }
    let path = path.to_owned();
    // Files may hang, and this task tells the watchdog and heeds signals.
    let outcome = match daemon.read(move || load(&path)).await {
        Ok(Ok(loaded)) => {
            warn(&loaded);
            daemon.reload(loaded.settings).await
        }
        Ok(Err(report)) => Err(Fatal::Config(report)),
        Err(late) => Err(late),
    };
    if let Err(error) = outcome {
        tracing::error!(target: OPERATOR, "not reloaded, nothing has changed:\n{error}");
        daemon.gate.metrics.reloaded(false);
    }
    notify(&[NotifyState::Ready]);
}

fn warn(loaded: &Loaded) {
    if !loaded.warnings.problems().is_empty() {
        tracing::warn!("{}", loaded.warnings);
    }
}

/// Tells systemd; without it there is nobody to tell.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd could not be told");
    }
}

fn fatal(error: &Fatal) -> ExitCode {
    complain(&format!("spotgate: {error}"));
    ExitCode::from(error.exit_code())
}
