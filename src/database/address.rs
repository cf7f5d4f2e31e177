//! Where the database is, and how it is trusted: a URL as libpq reads it
//! (<https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS>).

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::tls;

/// How long a connection may take to be made.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// How long the server works on a statement, in milliseconds, before it gives up.
const STATEMENT_WITHIN_MS: u32 = 5000;

/// A daemon that is gone without a word must not hold its role, or an account, for the two hours that systems wait else: the
/// server asks a silent connection after ten seconds, and gives it up fifteen later.
const NOTICED_SOON: &str =
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 -c tcp_user_timeout=15000";

/// Why a URL leads nowhere. It says nothing of what stands in it.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is none.
    #[error("not of the form postgres://USER:PASSWORD@HOST/DATABASE")]
    Form,
    /// `sslmode` is not known.
    #[error("`sslmode` must be \"disable\", \"require\" or \"verify-full\"")]
    Mode,
    /// What servers are trusted by cannot be had.
    #[error("certificate authorities: {0}")]
    Trust(String),
}

/// A database, and what its certificate must be signed by.
pub(super) struct Address {
    pub(super) config: Config,
    pub(super) tls: MakeRustlsConnect,
}

impl Address {
    /// Reads a URL. A server elsewhere must prove who it is by a certificate, unless `sslmode=disable`; one on this machine need
    /// not, unless `sslmode=require`. `sslrootcert` names a file of authorities in the place of the machine's.
    pub(super) fn parse(url: &SecretString, name: &str) -> Result<Self, AddressError> {
        let (base, parameters) = url.expose_secret().split_once('?').unwrap_or((url.expose_secret(), ""));
        let (mut mode, mut authorities, mut others) = (None, None, Vec::new());
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value.to_owned()),
                Some(("sslrootcert", value)) => authorities = Some(PathBuf::from(decoded(value))),
                _ => others.push(parameter),
            }
        }
        let rest = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
        let mut config = Config::from_str(&rest).map_err(|_| AddressError::Form)?;
        if config.get_hosts().is_empty() || config.get_dbname().is_none() {
            return Err(AddressError::Form);
        }
        let is_here = |host: &Host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()),
        };
        let encrypted = match mode.as_deref() {
            Some("disable") => false,
            None | Some("prefer" | "allow") => !config.get_hosts().iter().all(is_here),
            Some("require" | "verify-ca" | "verify-full") => true,
            Some(_) => return Err(AddressError::Mode),
        };
        config
            .ssl_mode(if encrypted { SslMode::Require } else { SslMode::Disable })
            .application_name(name)
            .connect_timeout(CONNECT_WITHIN)
            .tcp_user_timeout(Duration::from_secs(10))
            .keepalives_idle(Duration::from_secs(10))
            .options(format!(
                "-c statement_timeout={STATEMENT_WITHIN_MS} -c lock_timeout={STATEMENT_WITHIN_MS} {NOTICED_SOON}"
            ));
        let trust = trust(authorities.as_deref()).map_err(AddressError::Trust)?;
        Ok(Self { config, tls: MakeRustlsConnect::new(trust) })
    }
}

fn trust(authorities: Option<&Path>) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let Some(file) = authorities else {
        return Ok(builder.with_platform_verifier().map_err(|error| error.to_string())?.with_no_client_auth());
    };
    let mut roots = RootCertStore::empty();
    for certificate in tls::certificates(file).map_err(|error| error.to_string())? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// A value of a URL, without its percent signs.
fn decoded(value: &str) -> String {
    let mut octets = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(octet) = rest.next() {
        let mut ahead = rest.clone();
        let digits = (ahead.next(), ahead.next());
        let of = |digit: Option<u8>| digit.and_then(|digit| char::from(digit).to_digit(16));
        match (octet, of(digits.0), of(digits.1)) {
            (b'%', Some(high), Some(low)) => {
                octets.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                rest = ahead;
            }
            _ => octets.push(octet),
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Address, AddressError> {
        Address::parse(&url.to_owned().into(), "a test")
    }

    #[test]
    fn a_server_elsewhere_must_prove_who_it_is() {
        for (url, encrypted) in [
            ("postgres://u:p@db.example.org/spotgate", true),
            ("postgres://u:p@db.example.org/spotgate?sslmode=disable", false),
            ("postgres://u:p@db.example.org/spotgate?connect_timeout=3&sslmode=prefer", true),
            ("postgres://u:p@127.0.0.1:5433/spotgate", false),
            ("postgres://u:p@localhost,db.example.org/spotgate", true),
            ("postgresql://u@localhost/spotgate?sslmode=verify-full", true),
            ("postgres://u@/spotgate?host=/run/postgresql", false),
        ] {
            let mode = read(url).unwrap_or_else(|error| panic!("{url}: {error}")).config.get_ssl_mode();
            assert_eq!(mode == SslMode::Require, encrypted, "{url}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for (url, words) in [
            ("postgres://u:tonic@db/d?sslmode=perhaps", "`sslmode`"),
            ("postgres://u:tonic@db/d?sslrootcert=/nowhere%2Fca.pem", "/nowhere/ca.pem"),
            ("postgres://u:tonic@db", "not of the form"),
            ("postgres://u:tonic@db:port/d", "not of the form"),
        ] {
            let error = read(url).err().unwrap().to_string();
            assert!(error.contains(words) && !error.contains("tonic"), "{url}: {error}");
        }
    }
}
