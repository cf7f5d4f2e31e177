//! JSON bodies, read field by field so that the one that is wrong can be named. A field that is null is as good as absent.

use std::net::IpAddr;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde_json::{Map, Value};

use crate::core::ident::{Code, Mac};
use crate::core::policy::NasRules;
use crate::http::keys::Caller;
use crate::http::problem::Problem;
use crate::http::routes::MAX_BODY;

/// Why a body of which at most `limit` bytes are read was not read.
pub(super) fn unread(rejection: &BytesRejection, limit: usize) -> Problem {
    if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
        Problem::too_large(limit)
    } else {
        Problem::unreadable("The body did not arrive whole.")
    }
}

/// A number with a point that is whole all the same, up to where each such number is exact.
fn whole(number: &serde_json::Number) -> Option<u64> {
    let number = number.as_f64().filter(|number| (0.0..=9_007_199_254_740_992.0).contains(number))?;
    format!("{number:.0}").parse().ok().filter(|_| number.fract() == 0.0)
}

/// What a path names: a code, a session.
pub(super) struct Named(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let named = Path::from_request_parts(parts, state).await;
        named.map(|Path(name)| Self(name)).map_err(|_| Problem::unreadable("The path is not UTF-8."))
    }
}

/// The fields of a body.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a body that should be a JSON object.
    pub(super) fn read(body: Result<Bytes, BytesRejection>) -> Result<Self, Problem> {
        let body = body.map_err(|rejection| unread(&rejection, MAX_BODY))?;
        // The parser's own message may hold a text of the body.
        serde_json::from_slice(&body).map(Self).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Problem::unreadable(format!("The body is not a JSON object: see line {line}, column {column}."))
        })
    }

    pub(super) fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }

    /// The text of any field, of a body that others have shaped.
    pub(super) fn word(&self, field: &str) -> Option<&str> {
        self.get(field)?.as_str()
    }

    /// What the fields are called.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn text(&self, field: &'static str) -> Result<Option<String>, Problem> {
        match self.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Problem::field(field, format!("`{field}` must be text, in quotation marks."))),
        }
    }

    /// A number that is not negative; 0 if it is absent.
    pub(super) fn number(&self, field: &'static str) -> Result<u64, Problem> {
        match self.get(field) {
            None | Some(Value::Null) => Ok(0),
            Some(Value::Number(number)) if number.is_u64() => Ok(number.as_u64().unwrap_or_default()),
            // RouterOS writes some whole numbers as 60.000000.
            Some(Value::Number(number)) if whole(number).is_some() => Ok(whole(number).unwrap_or_default()),
            Some(_) => Err(Problem::field(field, format!("`{field}` must be a whole number, 0 or more."))),
        }
    }

    /// `access_code`.
    pub(super) fn code(&self) -> Result<Option<Code>, Problem> {
        let parse = |typed: String| Code::parse(&typed);
        let code = self.text("access_code")?.map(parse).transpose();
        code.map_err(|error| Problem::field("access_code", format!("`access_code`: {error}.")))
    }

    /// `mac`.
    pub(super) fn mac(&self) -> Result<Option<Mac>, Problem> {
        let mac = self.text("mac")?.map(|mac| mac.parse()).transpose();
        mac.map_err(|error| Problem::field("mac", format!("`mac` is {error}.")))
    }

    /// `ip`.
    pub(super) fn ip(&self) -> Result<Option<IpAddr>, Problem> {
        let ip = self.text("ip")?.map(|ip| ip.parse()).transpose();
        ip.map_err(|_| Problem::field("ip", "`ip` is not an IP address."))
    }

    /// `session_id`: a router's name for a session, as long as a RADIUS attribute at most.
    pub(super) fn session_id(&self) -> Result<Option<String>, Problem> {
        let session_id = self.text("session_id")?;
        if session_id.as_ref().is_some_and(|id| id.len() > Code::MAX_BYTES) {
            return Err(Problem::field("session_id", "`session_id` is longer than 253 bytes."));
        }
        Ok(session_id)
    }

    /// `nas`: whose rules apply; else the key's, or the only one there is.
    pub(super) fn nas<'c>(&self, caller: &'c Caller) -> Result<&'c NasRules, Problem> {
        match self.text("nas")? {
            Some(name) => {
                caller.live.nas(&name).ok_or_else(|| Problem::field("nas", "No NAS of this name is configured."))
            }
            None => caller.live.default_nas(caller.key.nas.as_ref()).ok_or_else(|| {
                Problem::field("nas", "Several NASes are configured: name one in `nas`, or give the key one.")
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_read_with_a_point_or_without_and_no_other() {
        let number = |text: &'static str| Fields::read(Ok(Bytes::from(text))).unwrap().number("n").ok();
        for (body, read) in [
            ("{\"n\":60}", Some(60)),
            ("{\"n\":60.000000}", Some(60)),
            ("{\"n\":6e1}", Some(60)),
            ("{\"n\":18446744073709551615}", Some(u64::MAX)),
            ("{\"n\":null}", Some(0)),
            ("{}", Some(0)),
            ("{\"n\":60.5}", None),
            ("{\"n\":-60.0}", None),
            ("{\"n\":1e300}", None),
            ("{\"n\":\"60\"}", None),
        ] {
            assert_eq!(number(body), read, "{body}");
        }
    }
}
