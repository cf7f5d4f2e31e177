//! Certificates and keys as they stand in files, and the one provider of cryptography.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

/// A second that no certificate outlives: the first after the year 9999 (RFC 5280 §4.1.2.5).
const NEVER: Duration = Duration::from_secs(253_402_300_800);

/// The provider of every TLS here.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// What is wrong with a file, which it names.
#[must_use]
pub fn bad(file: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", file.display()))
}

/// Every certificate of a PEM file.
pub fn certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(|error| bad(file, &error))
}

/// The private key of a PEM file.
pub fn private_key(file: &Path) -> io::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| bad(file, &error))
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Not before this.
    pub from: Timestamp,
    /// Not after this.
    pub until: Timestamp,
}

/// When a certificate is valid; none: that was not found out.
#[must_use]
pub fn validity(certificate: &CertificateDer<'_>) -> Option<Validity> {
    let from = match objection(certificate, UnixTime::since_unix_epoch(Duration::ZERO))? {
        Error::CertNotValidYet { not_before, .. } => moment(not_before),
        _ => Timestamp::MIN,
    };
    Some(Validity { from, until: moment(end(certificate)?) })
}

/// Whether a certificate is one that may sign no others: basicConstraints does not say cA (RFC 5280 §4.2.1.9).
#[must_use]
pub fn signs_nobody(certificate: &CertificateDer<'_>) -> bool {
    let objection = end(certificate).and_then(|end| objection(certificate, end));
    objection.is_some_and(|objection| objection != Error::CaUsedAsEndEntity)
}

fn end(certificate: &CertificateDer<'_>) -> Option<UnixTime> {
    match objection(certificate, UnixTime::since_unix_epoch(NEVER))? {
        Error::CertExpired { not_after, .. } => Some(not_after),
        _ => None,
    }
}

/// What the library has against a certificate that nobody has issued, as one of a peer: its time first, then that it is an
/// authority's. None: it cannot be read.
fn objection(certificate: &CertificateDer<'_>, at: UnixTime) -> Option<Error> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    certificate.verify_for_usage(&[], &[], &[], at, KeyUsage::client_auth(), None, None).err()
}

fn moment(time: UnixTime) -> Timestamp {
    i64::try_from(time.as_secs()).ok().and_then(|second| Timestamp::from_second(second).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    fn made(change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut parameters = CertificateParams::new(vec!["radius.example.org".to_owned()]).unwrap();
        change(&mut parameters);
        parameters.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn a_certificate_says_when_it_is_valid_and_whether_it_may_sign() {
        for (kind, signs_none) in [
            (IsCa::Ca(BasicConstraints::Unconstrained), false),
            (IsCa::Ca(BasicConstraints::Constrained(0)), false),
            (IsCa::ExplicitNoCa, true),
            (IsCa::NoCa, true),
        ] {
            let certificate = made(|one| {
                one.is_ca = kind;
                one.not_before = rcgen::date_time_ymd(2019, 1, 1);
                one.not_after = rcgen::date_time_ymd(2020, 1, 1);
            });
            assert_eq!(signs_nobody(&certificate), signs_none, "{kind:?}");
            let (from, until) = ("2019-01-01T00:00:00Z".parse().unwrap(), "2020-01-01T00:00:00Z".parse().unwrap());
            assert_eq!(validity(&certificate), Some(Validity { from, until }));
        }
        let endless = made(|one| one.not_after = rcgen::date_time_ymd(9999, 12, 31));
        assert_eq!(validity(&endless).unwrap().until, Timestamp::MAX);
        let no_certificate = CertificateDer::from(vec![0; 9]);
        assert!(validity(&no_certificate).is_none() && !signs_nobody(&no_certificate));
    }
}
