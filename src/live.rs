//! What a reload replaces in one step: the settings, and what is derived from them for every request.

use std::sync::Arc;
use std::{fmt, io};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::config::Settings;
use crate::console::sign_in::Passwords;
use crate::core::decide::Question;
use crate::core::ident::NasName;
use crate::core::login::Login;
use crate::core::policy::NasRules;
use crate::gate::{Purpose, Via, Visit};
use crate::http::server;
use crate::portal::pages::Pages;
use crate::radius::clients::Clients;
use crate::radius::radsec::Terms;

/// One state of the configuration, as every door sees it.
#[derive(Debug)]
pub struct Live {
    /// The settings.
    pub settings: Settings,
    /// The routers by address, with their secrets.
    pub clients: Clients,
    /// Certificate and key of HTTP, as they were in their files when this state came into force.
    pub tls: Option<Acceptor>,
    /// The same of RadSec, and the authority of its clients.
    pub radsec: Option<Terms>,
    /// The passwords of the console; none: it is off.
    pub passwords: Option<Arc<Passwords>>,
    /// The pages of guests; none: they are switched off.
    pub pages: Option<Arc<Pages>>,
}

/// Accepts TLS connections.
#[derive(Clone)]
pub struct Acceptor(pub TlsAcceptor);

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acceptor(..)")
    }
}

/// The doors' view of the configuration: always whole, never half reloaded.
pub type Current = watch::Receiver<Arc<Live>>;

/// Certificates, or their keys, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Those of HTTP.
    #[error("http.certificate, http.private_key: {0}")]
    Http(io::Error),
    /// Those of RadSec.
    #[error("radius.radsec: {0}")]
    Radsec(io::Error),
}

impl Live {
    /// Derives what requests need; reads certificates and keys, if there are any.
    pub fn new(settings: Settings) -> Result<Self, Unusable> {
        Self::after(None, settings)
    }

    /// The same in the place of a former state.
    pub fn after(former: Option<&Self>, settings: Settings) -> Result<Self, Unusable> {
        let tls = settings.http.tls.as_ref().map(server::tls).transpose().map_err(Unusable::Http)?.map(Acceptor);
        let radsec = settings.radius.radsec.as_ref().map(Terms::new).transpose().map_err(Unusable::Radsec)?;
        let pages = settings.portal.enabled.then(|| {
            let (pages, troubles) = Pages::new(&settings.portal);
            for trouble in troubles {
                tracing::error!("the guests' pages: {trouble}");
            }
            Arc::new(pages)
        });
        let clients = Clients::new(&settings.nas, former.map(|former| &former.clients));
        let passwords = Passwords::new(&settings.admin).map(Arc::new);
        Ok(Self { clients, tls, radsec, passwords, pages, settings })
    }

    /// Why routers do not take our certificate of RadSec at this time, if so.
    #[must_use]
    pub fn radsec_trouble(&self, now: Timestamp) -> Option<String> {
        self.radsec.as_ref()?.trouble(now).map(|trouble| format!("radius.radsec: {trouble}"))
    }

    /// The rules of the NAS with this name.
    #[must_use]
    pub fn nas(&self, name: &str) -> Option<&NasRules> {
        self.settings.nas.iter().map(|nas| &nas.rules).find(|rules| rules.name.as_str() == name)
    }

    /// The NAS whose rules apply when a call names none: the key's, or the only one there is.
    #[must_use]
    pub fn default_nas(&self, of_key: Option<&NasName>) -> Option<&NasRules> {
        match (of_key, self.settings.nas.as_slice()) {
            (Some(name), _) => self.nas(name.as_str()),
            (None, [only]) => Some(&only.rules),
            (None, _) => None,
        }
    }

    /// A login under this configuration, received at `received` on the monotonic clock.
    #[must_use]
    pub fn visit<'a>(
        &'a self,
        login: &'a Login<'a>,
        nas: &'a NasRules,
        via: Via,
        received: std::time::Duration,
    ) -> Visit<'a> {
        let question = Question { login, nas, policy: &self.settings.policy };
        let (limits, away_session) = (&self.settings.throttle, self.settings.store.away_session);
        Visit { question, limits, away_session, via, received, purpose: Purpose::Admit, browser: None }
    }
}
