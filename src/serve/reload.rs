//! Another configuration, put in force under way: read, tried out, and in place in one step; or refused, and nothing has
//! changed.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::sync::Semaphore;

use super::{Daemon, Fatal, differs, needs_restart};
use crate::cluster::Cluster;
use crate::config::{self, Nas, Settings};
use crate::core::ident::NasName;
use crate::feed::Feed;
use crate::live::{Live, Unusable};
use crate::telemetry;
use crate::telemetry::log::OPERATOR;

/// How long files may take to be read.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// Readings that may hang at once. While so many do, none is begun.
const HANGING: usize = 4;

/// Files being read, each on a thread that answers nobody: a mount that is lost may keep it for ever.
#[derive(Debug)]
pub(super) struct Readings(Arc<Semaphore>);

impl Default for Readings {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(HANGING)))
    }
}

impl Readings {
    /// Reads, unless that takes too long.
    async fn read<T: Send + 'static>(
        &self,
        what: &'static str,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fatal> {
        let within = READ_WITHIN;
        let place = tokio::time::timeout(within, Arc::clone(&self.0).acquire_owned()).await;
        let place = place.map_err(|_| Fatal::Stuck)?;
        let reading = tokio::task::spawn_blocking(move || {
            // It is given back when the thread is, and never closed.
            let _place = place;
            read()
        });
        let read = tokio::time::timeout(within, reading).await.map_err(|_| Fatal::Late { what, within })?;
        read.map_err(|error| Fatal::Io { what, error: std::io::Error::other(error) })
    }
}

impl Daemon {
    /// Reads what a reload is about, on a thread that may hang.
    ///
    /// # Errors
    /// It took too long.
    pub async fn read<T: Send + 'static>(&self, read: impl FnOnce() -> T + Send + 'static) -> Result<T, Fatal> {
        self.readings.read("the configuration", read).await
    }

    /// Puts other settings in force for every request from now on, and says what needs a restart. If they cannot be used
    /// after all, nothing changes; nor if our certificate of RadSec is good no longer, and the one in force is.
    ///
    /// # Errors
    /// What they name cannot be read, or not in time; or the source that they name cannot be used.
    pub async fn reload(&self, settings: Settings) -> Result<(), Fatal> {
        let former = Arc::clone(&self.live.borrow());
        let before = Arc::clone(&former);
        let deriving = move || Live::after(Some(&before), settings);
        let live = self.readings.read("what the configuration names", deriving).await?.map_err(Fatal::Certificate)?;
        let now = self.gate.clock.now().wall;
        if let Some(trouble) = live.radsec.as_ref().and_then(|terms| terms.trouble(now)) {
            if former.radsec.as_ref().is_some_and(|terms| terms.trouble(now).is_none()) {
                return Err(Fatal::Certificate(Unusable::Radsec(std::io::Error::other(trouble))));
            }
            tracing::error!("radius.radsec: {trouble}");
        }
        if feeds_differ(&former.settings, &live.settings) {
            self.feed_anew(&live.settings).await?;
        }
        let live = Arc::new(live);
        telemetry::log::set_level(&live.settings.telemetry);
        self.live.send_replace(Arc::clone(&live));
        self.gate.ledger.reckon(&live.settings.policy);
        for key in needs_restart(&former.settings, &live.settings) {
            tracing::warn!(target: OPERATOR, key, "changed in the file; it takes effect with the next restart");
        }
        self.say_who_is_left_behind(&former.settings, &live.settings);
        tracing::info!(target: OPERATOR, "reloaded");
        self.gate.metrics.reloaded(true);
        Ok(())
    }

    /// Puts another feed in the place of the one in force, if it can be used.
    async fn feed_anew(&self, settings: &Settings) -> Result<(), Fatal> {
        let former = Arc::clone(&self.feed.lock().unwrap_or_else(PoisonError::into_inner));
        let preparing = {
            let (settings, former, stop) = (settings.clone(), Arc::clone(&former), self.stop.child_token());
            let (state, gate) = (Arc::clone(&self.state), Arc::clone(&self.gate));
            move || {
                if let config::Source::File(file) = &settings.source {
                    // Whoever follows a file that hangs leaves a thread behind: here they are counted.
                    let _ = std::fs::metadata(&file.path);
                }
                Feed::new(&settings, &state, &gate.metrics, &gate.clock, stop, Some(&former))
            }
        };
        let feed = self.readings.read("the store, or the file of tokens,", preparing).await?.map_err(Fatal::Source)?;
        if let Err(error) = feed.try_out(&former, &self.tasks).await {
            feed.stop();
            return Err(Fatal::Source(error));
        }
        former.stop();
        // Two at once would write the same files, and the same minutes. Copies at hand serve meanwhile.
        former.over().await;
        let commons = self.cluster.as_deref().map(Cluster::commons);
        feed.start(Some(&former), &self.tasks, Some(&self.gate.ledger), commons).await;
        self.gate.resupply(Arc::clone(feed.supply()));
        feed.settle(&self.gate.ledger, &self.live.subscribe(), &self.tasks);
        *self.feed.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(feed);
        Ok(())
    }

    /// A router is told by its name: sessions of one that is gone can be told to nobody.
    fn say_who_is_left_behind(&self, former: &Settings, new: &Settings) {
        let kept: HashSet<&NasName> = new.nas.iter().map(Nas::name).collect();
        let gone: Vec<&NasName> = former.nas.iter().map(Nas::name).filter(|name| !kept.contains(name)).collect();
        if gone.is_empty() {
            return;
        }
        let (live, _) = self.gate.ledger.count(&new.policy, self.gate.clock.now().wall);
        for nas in gone {
            if let Some(sessions) = live.get(nas) {
                tracing::warn!(
                    target: OPERATOR, %nas, sessions,
                    "this [[nas]] is gone while sessions of it live: their routers cannot be told to end them until they report \
                     them under another name; keep the name, or let them run out"
                );
            }
        }
    }
}

/// Whether tokens come from elsewhere, or are kept otherwise.
fn feeds_differ(former: &Settings, new: &Settings) -> bool {
    let secrets = |settings: &Settings| match &settings.source {
        config::Source::File(_) => None,
        config::Source::Nexudus(nexudus) => Some((
            nexudus.password.expose_secret().to_owned(),
            nexudus.totp_secret.as_ref().map(|secret| secret.expose_secret().to_owned()),
        )),
    };
    // Webhooks are a door's affair.
    let source = |settings: &Settings| match settings.source.clone() {
        config::Source::Nexudus(nexudus) => {
            config::Source::Nexudus(config::Nexudus { webhook_secret: None, ..nexudus })
        }
        file @ config::Source::File(_) => file,
    };
    differs(&source(former), &source(new)) || differs(&former.cache, &new.cache) || secrets(former) != secrets(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_hangs_is_given_up_and_not_piled_up() {
        let readings = Readings::default();
        let (let_go, held) = std::sync::mpsc::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        for attempt in 0..HANGING + 2 {
            let (tell, mut begun) = tokio::sync::oneshot::channel();
            let held = Arc::clone(&held);
            let hang = move || {
                let _ = tell.send(());
                let _ = held.lock().unwrap().recv();
            };
            let late = async {
                if attempt < HANGING {
                    (&mut begun).await.unwrap();
                } else {
                    tokio::task::yield_now().await;
                }
                tokio::time::advance(READ_WITHIN).await;
            };
            let (read, ()) = tokio::join!(readings.read("a file", hang), late);
            let said = if attempt < HANGING { "took too long" } else { "start spotgate anew" };
            assert!(read.is_err_and(|error| error.to_string().contains(said)), "{attempt}");
            assert!(attempt < HANGING || begun.await.is_err(), "it was never begun");
        }
        drop(let_go);
        assert_eq!(readings.read("a file", || 7).await.ok(), Some(7));
    }
}
