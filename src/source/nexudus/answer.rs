//! What the head of an answer means, before its body is read (facts/nexudus.md §1, §2, §4).

use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, LOCATION, RETRY_AFTER};

use crate::source::Error;
use crate::source::alarm::{Alarm, Role};

/// Why a call brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Worth another attempt after a pause.
    Broken {
        /// What happened, in words without secrets.
        what: String,
    },
    /// No attempt will help now.
    Final(Error),
    /// Nothing was sent: our own ceiling, or a pause that outlasts the look-up. It says nothing about Nexudus.
    Held(Error),
    /// Worth another attempt after the pause that was asked for.
    Throttled {
        /// `Retry-After`.
        asked: Option<Duration>,
    },
    /// The bearer token is wrong or expired, or a role is missing: Nexudus says 401 to both.
    Unauthorized,
}

/// Judges an answer of the API to a call that needs this role.
pub(super) fn judge(status: StatusCode, headers: &HeaderMap, role: Role, now: Timestamp) -> Result<(), Fault> {
    match status.as_u16() {
        200..=299 => Ok(()),
        300..=399 => Err(Fault::Final(redirected(headers))),
        401 => Err(Fault::Unauthorized),
        403 => Err(Fault::Final(role_missing(role))),
        404 | 405 | 410 => Err(Fault::Final(Error::Refused {
            alarm: Alarm::WrongAddress,
            what: format!("there are no access tokens at this address (status {})", status.as_u16()),
            remedy: "set source.nexudus.base_url to the address of the API, e.g. https://spaces.nexudus.com".to_owned(),
        })),
        // Nexudus documents 409 for throttling and newer pages say 429; a real conflict is never 409.
        409 | 429 => Err(Fault::Throttled { asked: retry_after(headers, now) }),
        408 | 500.. => Err(Fault::Broken { what: format!("Nexudus answered with status {}", status.as_u16()) }),
        status => {
            Err(Fault::Final(Error::Retry { what: format!("Nexudus answered with status {status}"), after: None }))
        }
    }
}

/// Whether an answer to a write is about the record that was sent, and not about the sign-in, the address or the pace: a
/// validation that failed, say. Such a write was surely not taken.
pub(super) fn refuses_the_record(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status.as_u16(), 401 | 403 | 404 | 405 | 407 | 408 | 409 | 429)
}

/// The user lacks this role.
pub(super) fn role_missing(role: Role) -> Error {
    let what = match role {
        Role::List => "Nexudus does not let this user list access tokens",
        Role::Read => "Nexudus does not let this user read single access tokens",
        Role::Edit => "Nexudus does not let this user change access tokens",
    };
    Error::Refused {
        alarm: Alarm::RoleMissing(role),
        what: what.to_owned(),
        remedy: format!("give the user the role {role} in Nexudus"),
    }
}

/// A redirect is never followed: it could carry the credentials to another host.
fn redirected(headers: &HeaderMap) -> Error {
    let target = headers.get(LOCATION).and_then(|location| location.to_str().ok());
    // The path and the query may hold anything; the origin is what base_url needs.
    let origin = target.and_then(|target| reqwest::Url::parse(target).ok()).map(|url| url.origin());
    match origin {
        Some(origin) if origin.is_tuple() => {
            let origin = origin.ascii_serialization();
            Error::Refused {
                alarm: Alarm::WrongAddress,
                what: format!("Nexudus redirects to {origin}, which is not followed"),
                remedy: format!("if that address is right, set source.nexudus.base_url = \"{origin}\""),
            }
        }
        _ => Error::Refused {
            alarm: Alarm::WrongAddress,
            what: "Nexudus redirects to another page, which is not followed".to_owned(),
            remedy: "set source.nexudus.base_url to the address of the API, e.g. https://spaces.nexudus.com".to_owned(),
        },
    }
}

/// `Date` (RFC 9110 §6.6.1): when the server answered, by its own clock.
pub(super) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    http_date(headers.get(DATE)?.to_str().ok()?.trim())
}

fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

/// `Retry-After` (RFC 9110 §10.2.3) in seconds or as a date; a date that has passed is no wait.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = http_date(text)?;
    let wait = date.as_second().saturating_sub(now.as_second());
    Some(Duration::from_secs(u64::try_from(wait).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn headers(name: reqwest::header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    fn judged(status: u16, headers: &HeaderMap) -> Result<(), Fault> {
        judge(StatusCode::from_u16(status).unwrap(), headers, Role::Edit, "2026-11-23T10:00:00Z".parse().unwrap())
    }

    #[test]
    fn statuses() {
        let none = HeaderMap::new();
        assert_eq!(judged(200, &none), Ok(()));
        assert_eq!(judged(401, &none), Err(Fault::Unauthorized));
        for status in [408, 500, 502, 503, 504, 599] {
            assert!(matches!(judged(status, &none), Err(Fault::Broken { .. })), "{status}");
        }
        for status in [302, 308, 403, 404, 405] {
            assert!(matches!(judged(status, &none), Err(Fault::Final(Error::Refused { .. }))), "{status}");
        }
        assert_eq!(judged(403, &none), Err(Fault::Final(role_missing(Role::Edit))));
        assert!(matches!(judged(400, &none), Err(Fault::Final(Error::Retry { .. }))));
    }

    #[test]
    fn what_is_about_the_record_and_not_about_us() {
        let refused = |status| refuses_the_record(StatusCode::from_u16(status).unwrap());
        assert!([400, 410, 413, 415, 422].into_iter().all(refused));
        assert!(![200, 302, 401, 403, 404, 405, 407, 408, 409, 429, 500, 503].into_iter().any(refused));
    }

    #[test]
    fn waits_that_were_asked_for() {
        for (value, seconds) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Mon, 23 Nov 2026 10:00:30 GMT", Some(30)),
            ("Mon, 23 Nov 2026 09:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            let asked = seconds.map(Duration::from_secs);
            for status in [409, 429] {
                assert_eq!(judged(status, &headers(RETRY_AFTER, value)), Err(Fault::Throttled { asked }), "{value}");
            }
        }
    }

    #[test]
    fn a_redirect_names_the_origin_alone() {
        let Err(Fault::Final(error)) = judged(302, &headers(LOCATION, "https://other.example/a?AccessCode=kx7q"))
        else {
            panic!("followed");
        };
        assert_eq!(
            error.to_string(),
            "Nexudus redirects to https://other.example, which is not followed; \
             if that address is right, set source.nexudus.base_url = \"https://other.example\""
        );
        let Err(Fault::Final(error)) = judged(302, &headers(LOCATION, "/login?ReturnUrl=kx7q")) else {
            panic!("followed");
        };
        assert!(!error.to_string().contains("kx7q"));
    }
}
