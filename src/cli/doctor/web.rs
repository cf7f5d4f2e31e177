//! The certificates of HTTP and of RadSec, and the name by which guests find the portal.

use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::Url;

use super::finding::Finding;
use super::{blocking, stuck};
use crate::config::{Radsec, Settings, TlsFiles};
use crate::http::server;
use crate::radius::radsec::Terms;
use crate::tls;

/// How long before its end a certificate is to be renewed.
const RENEW: SignedDuration = SignedDuration::from_hours(14 * 24);

/// How long a name may take to resolve.
const RESOLVE_WITHIN: Duration = Duration::from_secs(5);

/// The certificate and the name, where they are configured.
pub(super) async fn examine(settings: &Settings, now: Timestamp) -> Vec<Finding> {
    let certificate = async {
        let files = settings.http.tls.clone()?;
        Some(blocking(move || certificate(&files, now)).await.unwrap_or_else(|| stuck("certificate")))
    };
    let radsec = async {
        let files = settings.radius.radsec.clone()?;
        Some(blocking(move || radsec(&files, now)).await.unwrap_or_else(|| vec![stuck("radsec")]))
    };
    let portal = async { Some(portal(settings.portal.public_url.as_deref()?).await) };
    let (certificate, radsec, portal) = tokio::join!(certificate, radsec, portal);
    certificate.into_iter().chain(radsec.unwrap_or_default()).chain(portal).collect()
}

fn certificate(files: &TlsFiles, now: Timestamp) -> Finding {
    const CHECK: &str = "certificate";
    if let Err(error) = server::tls(files) {
        return Finding::fail(CHECK, error.to_string(), "correct http.certificate and http.private_key");
    }
    lasts(CHECK, &files.certificate, now)
}

/// Certificate and authority of RadSec: two files that end each at its own time.
fn radsec(files: &Radsec, now: Timestamp) -> Vec<Finding> {
    const CHECK: &str = "radsec";
    if let Err(error) = Terms::new(files) {
        let remedy = "correct certificate, private_key and client_ca of [radius.radsec]";
        return vec![Finding::fail(CHECK, error.to_string(), remedy)];
    }
    vec![lasts(CHECK, &files.certificate, now), lasts(CHECK, &files.client_ca, now)]
}

/// Until when the certificates of a file last.
fn lasts(check: &'static str, file: &Path, now: Timestamp) -> Finding {
    let shown = file.display();
    let chain = tls::certificates(file).unwrap_or_default();
    let valid: Vec<_> = chain.iter().filter_map(tls::validity).collect();
    let (Some(begin), Some(end)) =
        (valid.iter().map(|valid| valid.from).max(), valid.iter().map(|valid| valid.until).min())
    else {
        return Finding::ok(check, format!("{shown} can be used; until when was not found out"));
    };
    let on = end.strftime("%Y-%m-%d %H:%M UTC");
    let renew = "renew it, then `systemctl reload spotgate`";
    if end <= now {
        Finding::fail(check, format!("{shown} expired on {on}"), renew)
    } else if begin > now {
        let begin = begin.strftime("%Y-%m-%d %H:%M UTC");
        Finding::fail(check, format!("{shown} is not valid before {begin}"), "set this machine's clock, or renew it")
    } else if end.duration_since(now) < RENEW {
        Finding::warn(check, format!("{shown} expires on {on}"), renew)
    } else {
        Finding::ok(check, format!("{shown} is valid until {on}"))
    }
}

async fn portal(public_url: &str) -> Finding {
    const CHECK: &str = "portal";
    let url = Url::parse(public_url).ok();
    let Some((host, port)) = url.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?))) else {
        return Finding::warn(CHECK, "portal.public_url names no host", "write it like https://wifi.example.org");
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let resolved = tokio::time::timeout(RESOLVE_WITHIN, tokio::net::lookup_host((host, port))).await;
    let why = match resolved {
        Ok(Ok(addresses)) => {
            let mut addresses: Vec<String> = addresses.map(|address| address.ip().to_string()).collect();
            addresses.dedup();
            return Finding::ok(CHECK, format!("{host} resolves to {}", addresses.join(", ")));
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", RESOLVE_WITHIN.as_secs()),
    };
    let remedy =
        "correct portal.public_url, or add the name to the DNS that guests use, e.g. /ip dns static on the router";
    Finding::warn(CHECK, format!("{host} does not resolve here: {why}"), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Grade;

    fn files(folder: &Path, end: Timestamp) -> TlsFiles {
        let mut parameters = rcgen::CertificateParams::new(vec!["wifi.example.org".to_owned()]).unwrap();
        let end = jiff::tz::TimeZone::UTC.to_datetime(end);
        let (month, day) = (end.month().try_into().unwrap(), end.day().try_into().unwrap());
        parameters.not_after = rcgen::date_time_ymd(end.year().into(), month, day);
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let files = TlsFiles { certificate: folder.join("a.pem"), private_key: folder.join("a.key") };
        std::fs::write(&files.certificate, parameters.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&files.private_key, key.serialize_pem()).unwrap();
        files
    }

    #[test]
    fn a_certificate_is_to_be_renewed_two_weeks_before_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path(), "2027-03-31T00:00:00Z".parse().unwrap());
        for (now, grade) in [
            ("2027-03-16T00:00:00Z", Grade::Ok),
            ("2027-03-18T00:00:00Z", Grade::Warn),
            ("2027-03-31T00:00:01Z", Grade::Fail),
        ] {
            let finding = certificate(&files, now.parse().unwrap());
            assert_eq!(finding.result, grade, "{finding:?}");
            assert!(finding.detail.contains("2027-03-31 00:00 UTC"), "{finding:?}");
        }
        let early = certificate(&files, "1974-12-31T00:00:00Z".parse().unwrap());
        assert_eq!((early.result, early.detail.contains("is not valid before 1975-01-01")), (Grade::Fail, true));
        let (pem, key) = (files.certificate.clone(), files.private_key.clone());
        let both = Radsec { listen: Vec::new(), certificate: pem.clone(), private_key: key, client_ca: pem };
        let grades = |now: &str| radsec(&both, now.parse().unwrap()).iter().map(|one| one.result).collect::<Vec<_>>();
        assert_eq!(grades("2027-03-16T00:00:00Z"), [Grade::Ok; 2]);
        assert_eq!(grades("2027-03-18T00:00:00Z"), [Grade::Warn; 2]);
        std::fs::write(&files.private_key, "no key").unwrap();
        assert_eq!(certificate(&files, Timestamp::UNIX_EPOCH).result, Grade::Fail);
        assert_eq!(grades("2027-03-16T00:00:00Z"), [Grade::Fail]);
    }

    #[tokio::test]
    async fn an_address_needs_no_name_and_a_name_that_is_none_is_said() {
        assert_eq!(portal("https://[::1]:8443").await.result, Grade::Ok);
        assert_eq!(portal("http://127.0.0.1:8080").await.detail, "127.0.0.1 resolves to 127.0.0.1");
        assert_eq!(portal("https://no-such-host.invalid").await.result, Grade::Warn);
    }
}
