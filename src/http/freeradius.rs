//! `/v1/freeradius/…`: what the rest module of FreeRADIUS 3 sends (`body = 'json'`) and reads. `authorize` decides, checks the password
//! and admits; `authenticate` checks again, and admits nobody; `accounting` takes in what the NAS reports.
//!
//! The module makes of a status: 200 updated, 204 ok, 401 reject (fail, if it is about the key), of other 4xx invalid, of 5xx and of
//! silence fail. Of fail, FreeRADIUS by itself makes a Reject; by the policy in docs/freeradius, it does not answer. docs/systems.md has more.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde_json::{Map, Value, json};

use crate::config::{Bandwidth, Nas};
use crate::core::decide::{Decision, Denial, Grant, Reason};
use crate::core::ident::{Mac, SessionId};
use crate::core::login::{Login, Proof};
use crate::core::policy::Policy;
use crate::gate::{Accounted, Purpose, Via, Visit};
use crate::http::fields::Fields;
use crate::http::keys::Caller;
use crate::http::problem::Problem;
use crate::http::routes::{App, Denied};
use crate::live::Live;
use crate::radius::accounting::{Record, Said};
use crate::radius::attribute::StatusType;
use crate::radius::auth::{claim, class, device_ip, session_of};
use crate::words;

/// Attributes by name: `{"User-Name": {"type": "string", "value": ["kx7q-91mp"]}, …}`.
struct Attributes(Fields);

impl Attributes {
    fn read(body: Result<Bytes, BytesRejection>) -> Result<Self, Problem> {
        Fields::read(body).map(Self)
    }

    /// The values of an attribute.
    fn all(&self, name: &str) -> &[Value] {
        match self.0.get(name).map(|attribute| attribute.get("value").unwrap_or(attribute)) {
            Some(Value::Array(values)) => values,
            Some(value) => std::slice::from_ref(value),
            None => &[],
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.all(name).first()?.as_str()
    }

    /// The octets of an attribute: the rest module of FreeRADIUS 3.2.1 writes each beyond ASCII as a letter of its own (`ü` comes as
    /// `\u00C3\u00BC`). A text with a letter beyond those is none of its, and stays what it is.
    fn octets(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let text = self.text(name)?;
        let octets: Option<Vec<u8>> = text.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect();
        Some(match octets.filter(|_| !text.is_ascii()) {
            Some(octets) if std::str::from_utf8(&octets).is_ok() => Cow::Owned(octets),
            _ => Cow::Borrowed(text.as_bytes()),
        })
    }

    /// Whether one of those that may stand only once stands there twice (contract: RADIUS).
    fn is_repeated(&self) -> bool {
        let once = [
            "User-Name",
            "User-Password",
            "CHAP-Password",
            "Calling-Station-Id",
            "Acct-Session-Id",
            "Framed-IP-Address",
        ];
        let nas = ["NAS-Identifier", "NAS-IP-Address", "NAS-IPv6-Address"];
        once.iter().chain(&nas).any(|name| self.all(name).len() > 1)
    }

    /// Whether it comes out of a tunnel of EAP without the device, which the tunnel's settings have kept back.
    fn lost_its_device(&self) -> bool {
        self.text("FreeRADIUS-Proxied-To").is_some() && self.all("Calling-Station-Id").is_empty()
    }

    fn number(&self, name: &str) -> u32 {
        let value = self.all(name).first();
        let number = value.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
        number.map_or(0, |number| u32::try_from(number).unwrap_or(u32::MAX))
    }

    fn ip<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }

    fn octets_and_gigawords(&self, octets: &str, gigawords: &str) -> u64 {
        (u64::from(self.number(gigawords)) << 32) | u64::from(self.number(octets))
    }

    fn device(&self) -> Option<Mac> {
        self.text("Calling-Station-Id")?.parse().ok()
    }

    fn device_ip(&self) -> Option<IpAddr> {
        device_ip(self.ip("Framed-IP-Address"), self.ip("Framed-IPv6-Address"))
    }

    /// The address of the router, by its own word.
    fn router(&self) -> Option<IpAddr> {
        self.ip("NAS-IP-Address").or_else(|| self.ip("NAS-IPv6-Address"))
    }

    /// The router: by its name, else by its address, else the key's, or the only one there is.
    fn nas<'c>(&self, caller: &'c Caller) -> Result<&'c Nas, Problem> {
        let live = &caller.live;
        let named = |name: &str| live.settings.nas.iter().find(|nas| nas.name().as_str() == name);
        let by_name = self.text("NAS-Identifier").and_then(named);
        let by_address = || self.router().and_then(|router| live.clients.find(router)).map(|client| &client.nas);
        let is_named = self.text("NAS-Identifier").is_some() || self.router().is_some();
        let by_key = || live.default_nas(caller.key.nas.as_ref()).and_then(|rules| named(rules.name.as_str()));
        let found = by_name.or_else(by_address);
        // One that is named and not known is not the key's.
        if is_named { found } else { by_key() }.ok_or_else(|| {
            Problem::field(
                "NAS-Identifier",
                "No [[nas]] has this NAS-Identifier for its name, or NAS-IP-Address for its address.",
            )
        })
    }

    /// Where orders about its sessions go, if it is as it says.
    fn router_of(&self, nas: &Nas, live: &Live) -> Option<IpAddr> {
        self.router().filter(|router| live.clients.find(*router).is_some_and(|client| client.nas.name() == nas.name()))
    }

    /// Acct-Terminate-Cause, as a number or by the names of FreeRADIUS's dictionary.
    fn cause(&self) -> Option<u32> {
        match self.text("Acct-Terminate-Cause") {
            Some("Lost-Carrier") => Some(2),
            Some("Lost-Service") => Some(3),
            _ => Some(self.number("Acct-Terminate-Cause")).filter(|cause| *cause > 0),
        }
    }

    fn status(&self) -> Option<StatusType> {
        match self.text("Acct-Status-Type") {
            Some("Start") => Some(StatusType::Start),
            Some("Interim-Update" | "Alive") => Some(StatusType::InterimUpdate),
            Some("Stop") => Some(StatusType::Stop),
            Some("Accounting-On") => Some(StatusType::AccountingOn),
            Some("Accounting-Off") => Some(StatusType::AccountingOff),
            // With `raw_value`.
            _ => StatusType::from_number(self.number("Acct-Status-Type")),
        }
    }
}

/// Octets as FreeRADIUS prints them: `0x` and digits.
fn octets(text: &str) -> Option<Vec<u8>> {
    HEXLOWER_PERMISSIVE.decode(text.strip_prefix("0x")?.as_bytes()).ok()
}

/// May this login go online? It is let in.
#[utoipa::path(
    post, path = "/v1/freeradius/authorize", tag = "freeradius", request_body = std::collections::HashMap<String, Value>,
    responses(
        (status = 200, description = "Let in, with attributes for the reply", body = std::collections::HashMap<String, Value>),
        (status = 400, description = "Unreadable", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "Not let in, with a Reply-Message; or no or wrong key", content(
            (std::collections::HashMap<String, Value> = "application/json"), (Problem = "application/problem+json"))),
        (status = 413, description = "Body too large", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No such NAS", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not in time", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = ["freeradius"])),
)]
pub(super) async fn authorize(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let attributes = Attributes::read(body)?;
    let nas = attributes.nas(&caller)?;
    let (decision, session) = decide(&app, &caller, &attributes, nas, Purpose::Admit).await;
    Ok(match &decision {
        Decision::Allow(grant) => Json(reply(grant, session, &caller.live.settings.policy, nas)).into_response(),
        Decision::Deny(_) => refused(&app, &caller.live, &decision),
    })
}

/// Is the password right, and may this login go online? Nobody is let in by it.
#[utoipa::path(
    post, path = "/v1/freeradius/authenticate", tag = "freeradius", request_body = std::collections::HashMap<String, Value>,
    responses(
        (status = 204, description = "It is, and may"),
        (status = 400, description = "Unreadable", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No, with a Reply-Message; or no or wrong key", content(
            (std::collections::HashMap<String, Value> = "application/json"), (Problem = "application/problem+json"))),
        (status = 413, description = "Body too large", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No such NAS", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Not in time", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = ["freeradius"])),
)]
pub(super) async fn authenticate(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let attributes = Attributes::read(body)?;
    let nas = attributes.nas(&caller)?;
    let (decision, _) = decide(&app, &caller, &attributes, nas, Purpose::Check).await;
    Ok(match decision {
        Decision::Allow(_) => StatusCode::NO_CONTENT.into_response(),
        Decision::Deny(_) => refused(&app, &caller.live, &decision),
    })
}

/// What a NAS reports of a session, or of itself.
#[utoipa::path(
    post, path = "/v1/freeradius/accounting", tag = "freeradius", request_body = std::collections::HashMap<String, Value>,
    responses(
        (status = 204, description = "On disk"),
        (status = 400, description = "Unreadable", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Body too large", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No such NAS, or no session is named", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "It could not be written down: send it again", body = Problem,
         content_type = "application/problem+json"),
    ),
    security(("key" = ["freeradius"])),
)]
pub(super) async fn accounting(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Problem> {
    let now = app.gate.clock.now();
    let attributes = Attributes::read(body)?;
    let (nas, live) = (attributes.nas(&caller)?, &caller.live);
    let router = attributes.router_of(nas, live);
    let user_name = attributes.octets("User-Name");
    let said = Said {
        status: attributes.status(),
        delay: attributes.number("Acct-Delay-Time"),
        nas_session: attributes.text("Acct-Session-Id"),
        user_name: user_name.as_deref().unwrap_or_default(),
        device: attributes.device(),
        ip: attributes.device_ip(),
        seconds: attributes.number("Acct-Session-Time"),
        input_octets: attributes.octets_and_gigawords("Acct-Input-Octets", "Acct-Input-Gigawords"),
        output_octets: attributes.octets_and_gigawords("Acct-Output-Octets", "Acct-Output-Gigawords"),
        session: attributes.all("Class").iter().find_map(|class| session_of(&octets(class.as_str()?)?)),
    };
    let record = said.record(router, now.wall).ok_or_else(|| {
        Problem::field(
            "Acct-Session-Id",
            "The session is not named: Acct-Session-Id, and User-Name or Calling-Station-Id.",
        )
    })?;
    if let Some(seen) = live.clients.seen(nas.name()) {
        seen.accounted_by_http.set(now.wall);
        if let Record::Session { progress, .. } = &record {
            seen.hear(progress.news, attributes.cause(), now.wall);
        }
    }
    let Accounted { result, written } = match &record {
        Record::Restart { at } => app.gate.restarted(nas.name(), router, *at, &live.settings.policy),
        Record::Session { login, progress } => {
            app.gate.account(&live.visit(login, &nas.rules, Via::Freeradius, now.mono), progress, now.wall)
        }
        Record::Other => return Ok(StatusCode::NO_CONTENT),
    };
    app.gate.metrics.accounting(result);
    written.settled().await.map_err(|error| {
        app.gate.metrics.accounting("not_on_disk");
        Problem::unavailable(format!("{error}; please send it again."))
    })?;
    Ok(StatusCode::NO_CONTENT)
}

async fn decide(
    app: &App,
    caller: &Caller,
    attributes: &Attributes,
    nas: &Nas,
    purpose: Purpose,
) -> (Decision, Option<SessionId>) {
    let (live, received) = (&caller.live, app.gate.clock.now().mono);
    let seen = live.clients.seen(nas.name());
    if let Some(seen) = &seen {
        seen.asked_by_http.set(app.gate.clock.now().wall);
    }
    if attributes.lost_its_device() {
        tracing::warn!(nas = %nas.name(), "a login comes out of a tunnel of EAP without its device: in FreeRADIUS's module eap, the kind of tunnel needs \
            copy_request_to_tunnel = yes and use_tunneled_reply = yes");
    }
    let (name, typed_password) = (attributes.octets("User-Name"), attributes.octets("User-Password"));
    let (response, challenge) = (attributes.text("CHAP-Password"), attributes.text("CHAP-Challenge"));
    let (response, challenge) = (response.and_then(octets), challenge.and_then(octets).unwrap_or_default());
    let device = attributes.device();
    let read = proof(attributes, typed_password.as_deref(), response.as_deref(), &challenge)
        .filter(|_| !attributes.is_repeated() && !attributes.lost_its_device())
        .and_then(|proof| claim(nas.code_in, name.as_deref()?, device, proof).ok());
    let Some((claim, typed, proof)) = read else {
        app.gate.malformed(Via::Freeradius, nas.name());
        return (Decision::Deny(Denial::from(Reason::Malformed)), None);
    };
    let login = Login {
        claim,
        typed,
        proof,
        device,
        ip: attributes.device_ip(),
        router: attributes.router_of(nas, live),
        nas_session: attributes.text("Acct-Session-Id"),
    };
    let login = app.gate.redeemed(login, nas.name(), received);
    let visit = live.visit(&login, &nas.rules, Via::Freeradius, received);
    let answer = app.gate.answer(&Visit { purpose, ..visit }, &mut ()).await;
    if let Some(seen) = seen.filter(|_| purpose == Purpose::Admit) {
        seen.decide(&login.claim, &answer.decision);
    }
    (answer.decision, answer.session)
}

/// PAP or CHAP; none of both counts as an empty password. EAP and MS-CHAP prove something that is not understood here.
fn proof<'a>(
    attributes: &Attributes,
    password: Option<&'a [u8]>,
    response: Option<&'a [u8]>,
    challenge: &'a [u8],
) -> Option<Proof<'a>> {
    let says = |name| !attributes.all(name).is_empty();
    match (says("User-Password"), says("CHAP-Password")) {
        (true, false) => password.map(Proof::Password),
        (false, true) => {
            let (ident, digest) = response?.split_first()?;
            // The policy of docs/freeradius puts the request authenticator here where the NAS sent no challenge.
            (!challenge.is_empty()).then_some(())?;
            Some(Proof::Chap { ident: *ident, digest: digest.try_into().ok()?, challenge })
        }
        (true, true) => None,
        (false, false) => {
            let foreign = ["EAP-Message", "MS-CHAP-Response", "MS-CHAP2-Response"];
            (!foreign.into_iter().any(says)).then_some(Proof::Password(b""))
        }
    }
}

/// The attributes of an Access-Accept, as in RADIUS.
fn reply(grant: &Grant, session: Option<SessionId>, policy: &Policy, nas: &Nas) -> Value {
    let mut reply = Map::new();
    let mut set = |name: &str, value: Value| reply.insert(format!("reply:{name}"), literal(&value));
    set("Session-Timeout", grant.session_timeout.0.into());
    if let Some(idle) = policy.idle_timeout {
        set("Idle-Timeout", idle.0.into());
    }
    set("Acct-Interim-Interval", policy.interim_interval.0.into());
    set("Port-Limit", grant.view.user_limit.saturating_add(1).into());
    if let Some(session) = session {
        set("Class", format!("0x{}", HEXLOWER.encode(&class(session, grant.view.token))).into());
    }
    if let Some(Bandwidth { up, down }) = nas.wispr {
        set("WISPr-Bandwidth-Max-Up", up.into());
        set("WISPr-Bandwidth-Max-Down", down.into());
    } else if let Some(rate) = &nas.rate_limit {
        set("Mikrotik-Rate-Limit", rate.as_str().into());
    }
    if let Some(group) = &nas.group {
        set("Mikrotik-Group", group.as_str().into());
    }
    Value::Object(reply)
}

fn refused(app: &App, live: &Live, decision: &Decision) -> Response {
    let words = words::message(decision, live.settings.time_zone(), app.gate.clock.now().wall);
    let body = Json(json!({"reply:Reply-Message": literal(&words.into())}));
    (StatusCode::UNAUTHORIZED, Extension(Denied), body).into_response()
}

/// A value that FreeRADIUS takes as it is: by default it would expand what stands in it.
fn literal(value: &Value) -> Value {
    json!({"op": ":=", "do_xlat": false, "value": [value]})
}
