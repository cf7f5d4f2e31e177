//! What a handshake of RadSec goes by, and what a certificate says of its holder.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{AlertDescription, CertificateError, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::TlsAcceptor;
use webpki::EndEntityCert;

use crate::config::Radsec;
use crate::radius::clients::Certified;
use crate::tls::{self, Validity};

/// What is wrong with a `client_ca`.
const NO_AUTHORITY: &str =
    "a certificate in it is no authority's (CA:TRUE is missing): put the one there that signs the routers'";

/// Certificate, key and authority of `[radius.radsec]`, as they were in their files when they were read.
#[derive(Clone)]
pub struct Terms {
    config: Arc<ServerConfig>,
    clients: Arc<dyn ClientCertVerifier>,
    /// The file of our certificate, and when that is valid.
    ours: (PathBuf, Option<Validity>),
}

impl Terms {
    /// Reads the files. TLS 1.3 and 1.2; a client must show a certificate. No session is resumed, since the certificate would not
    /// be looked at again, and nothing is taken before the handshake is over (no 0-RTT).
    ///
    /// # Errors
    /// What a file holds cannot be read or used. That our certificate has expired is none: see [`Terms::trouble`].
    pub fn new(radsec: &Radsec) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        for authority in tls::certificates(&radsec.client_ca)? {
            if tls::signs_nobody(&authority) {
                return Err(tls::bad(&radsec.client_ca, &NO_AUTHORITY));
            }
            roots.add(authority).map_err(|error| tls::bad(&radsec.client_ca, &error))?;
        }
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::provider())
            .build()
            .map_err(|error| tls::bad(&radsec.client_ca, &error))?;
        let (chain, key) = (tls::certificates(&radsec.certificate)?, tls::private_key(&radsec.private_key)?);
        let ours = (radsec.certificate.clone(), chain.first().and_then(tls::validity));
        let mut config = ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_client_cert_verifier(Arc::clone(&clients)).with_single_cert(chain, key))
            .map_err(|error| tls::bad(&radsec.certificate, &error))?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(Self { config: Arc::new(config), clients, ours })
    }

    /// Why routers do not take our certificate at this time, if so.
    #[must_use]
    pub fn trouble(&self, now: Timestamp) -> Option<String> {
        let (file, Some(Validity { from, until })) = &self.ours else { return None };
        let (what, when) = if now > *until {
            ("expired on", until)
        } else if now < *from {
            ("is not valid before", from)
        } else {
            return None;
        };
        let (file, when) = (file.display(), when.strftime("%Y-%m-%d %H:%M UTC"));
        Some(format!(
            "{file} {what} {when}: put another there, or correct this machine's clock, then `systemctl reload spotgate`"
        ))
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// Whether a certificate with its chain comes from the authority, and is valid at this time.
    pub(super) fn trusts(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> bool {
        let now = u64::try_from(now.as_second()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        chain.split_first().is_some_and(|(end, between)| self.clients.verify_client_cert(end, between, now).is_ok())
    }
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Terms(..)")
    }
}

/// The certificate of a peer.
pub(super) struct Certificate<'a>(EndEntityCert<'a>);

impl<'a> Certificate<'a> {
    /// Reads it; none: it is none.
    pub(super) fn read(certificate: &'a CertificateDer<'_>) -> Option<Self> {
        EndEntityCert::try_from(certificate).ok().map(Self)
    }
}

impl Certified for Certificate<'_> {
    fn dns_names(&self) -> impl Iterator<Item = &str> {
        self.0.valid_dns_names()
    }

    fn has_ip(&self, address: IpAddr) -> bool {
        self.0.verify_is_valid_for_subject_name(&ServerName::from(address)).is_ok()
    }
}

/// The likely cause of a handshake that came to nothing.
pub(super) fn why(error: &io::Error) -> &'static str {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return "the connection broke before the handshake was over";
    };
    match error {
        rustls::Error::NoCertificatesPresented => {
            "it shows no certificate: give the router one that comes from radius.radsec.client_ca"
        }
        rustls::Error::InvalidCertificate(cause) => match cause {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its certificate does not come from radius.radsec.client_ca"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired, or the clock of this machine is wrong"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet, or the clock of this machine is wrong"
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "its certificate is not for clients: extended key usage lacks clientAuth"
            }
            _ => "its certificate cannot be used",
        },
        rustls::Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::UnsupportedCertificate,
        ) => {
            "it does not take our certificate: give it the authority of radius.radsec.certificate, and see that the certificate \
             holds the name or the address that the router asks"
        }
        rustls::Error::PeerIncompatible(_) => "it has no version of TLS from 1.2 on, or no cipher that is here",
        rustls::Error::InvalidMessage(_) | rustls::Error::InappropriateMessage { .. } => {
            "what it sends is no TLS: set it to RadSec, or look who scans ports"
        }
        _ => "the handshake failed",
    }
}
