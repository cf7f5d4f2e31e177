//! IronWifi's management interface (IronWifi/docs rest_api.md; lists as IronWifi/terraform-provider-ironwifi reads them).

use std::collections::HashSet;
use std::time::Duration;

use reqwest::header::{ACCEPT, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::{Name, Table};
use crate::calls::{self, Answer};
use crate::clock::Clock;
use crate::config::Push;
use crate::core::ident::Code;
use crate::telemetry::metrics::Metrics;

/// The largest answer that is read, in bytes.
const MOST_BYTES: usize = 4 << 20;

/// Users that a list may hold.
const USERS: usize = 200_000;

/// How many fewer than it says may stand in a list: others are deleted while it is read.
const SLIPPED: usize = 10;

/// The pause after "too many requests" without a `Retry-After`, and the longest of those that is believed.
const BUSY: Duration = Duration::from_secs(60);
const LONGEST_BUSY: Duration = Duration::from_secs(300);

/// What IronWifi calls a user or an attribute: a number or a text, given back as it came. `7` and `"7"` are one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Id {
    Number(u64),
    Text(String),
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.as_part() == other.as_part()
    }
}

impl Eq for Id {}

impl std::hash::Hash for Id {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_part().hash(state);
    }
}

impl Id {
    /// Out of an answer. What would be more than one part of a path is none.
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => number.as_u64().map(Self::Number),
            Value::String(text) => Self::of(text),
            _ => None,
        }
    }

    /// Out of a text.
    pub(super) fn of(text: &str) -> Option<Self> {
        let of_id = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
        ((1..=64).contains(&text.len()) && text.bytes().all(of_id)).then(|| Self::Text(text.to_owned()))
    }

    fn as_part(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// Why a call came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The key does not do, or the address is wrong: somebody must see to it.
    Refused(String),
    /// Try again, and not before.
    Busy(Duration),
    /// It failed, or did not answer: try again later. Whether it was done is not known.
    Away(String),
    /// There is no such user, or attribute; or nothing at all at this address.
    Gone,
    /// This one is not taken.
    NotTaken(StatusCode),
}

/// What a user has.
#[derive(Default)]
pub(super) struct Attributes {
    /// Those that are ours by their names.
    pub(super) known: Vec<Attribute>,
    /// How many others.
    pub(super) others: usize,
}

/// An attribute of a user.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Attribute {
    pub(super) id: Id,
    pub(super) name: Name,
    /// The value; of a password it is a code.
    pub(super) value: String,
}

/// The interface.
pub(super) struct Api {
    push: Push,
    http: Client,
    clock: Clock,
    /// When the next call may be made (monotonic).
    next: Duration,
}

impl Api {
    /// Prepares calls; makes none. The error is in words.
    pub(super) fn new(push: &Push, clock: Clock) -> Result<Self, String> {
        let http = calls::client(&push.base_url, clock.real(push.request_timeout))?;
        Ok(Self { push: push.clone(), http, clock, next: Duration::ZERO })
    }

    /// Whether it is called as these settings say.
    pub(super) fn is_of(&self, push: &Push) -> bool {
        self.push.base_url == push.base_url
            && self.push.api_key.expose_secret() == push.api_key.expose_secret()
            && (self.push.requests_per_minute, self.push.request_timeout)
                == (push.requests_per_minute, push.request_timeout)
    }

    /// Every user: its id and its name, or none where the list does not say it.
    pub(super) async fn users(&mut self, metrics: &Metrics) -> Result<Vec<(Id, Option<String>)>, Fault> {
        let (mut users, mut ids) = (Vec::new(), HashSet::new());
        let mut next = Some(format!("{}/users", self.push.base_url));
        let mut total = None;
        while let Some(url) = next {
            let answer = self.call(Method::GET, &url, "users", |request| request, metrics).await?;
            let page: Value = json(&answer)?;
            let listed = page.pointer("/_embedded/users").unwrap_or(&page).as_array();
            let Some(listed) = listed else { return Err(nonsense("its list of users is no list")) };
            let before = ids.len();
            for user in listed {
                // One without might be any: then it is not known who is there.
                let Some(id) = user.get("id").and_then(Id::read) else {
                    return Err(nonsense("its list holds a user without id"));
                };
                if ids.insert(id.clone()) {
                    users.push((id, user.get("username").and_then(Value::as_str).map(str::to_owned)));
                }
            }
            if users.len() > USERS {
                return Err(nonsense("it has more users than are read"));
            }
            total = page.get("total_items").and_then(Value::as_u64);
            next = match page.pointer("/_links/next/href").and_then(Value::as_str) {
                // A page that brings nobody goes on for ever.
                Some(_) if ids.len() == before => return Err(nonsense("its list of users has no end")),
                Some(href) => Some(self.same_place(&url, href)?),
                None => None,
            };
        }
        // Users come and go while it is read; that half of them are missing is something else.
        match total.and_then(|total| usize::try_from(total).ok()) {
            Some(total) if users.len() < total && users.len() + SLIPPED < total => {
                Err(nonsense("its list of users ends before it says so"))
            }
            _ => Ok(users),
        }
    }

    /// Where a list goes on: the key is sent nowhere else.
    fn same_place(&self, url: &str, href: &str) -> Result<String, Fault> {
        let parsed = |text: &str| Url::parse(text).map_err(|_| nonsense("its list goes on nowhere"));
        let (base, next) = (parsed(&self.push.base_url)?, parsed(url)?.join(href));
        let next = next.map_err(|_| nonsense("its list goes on nowhere"))?;
        if next.origin() != base.origin() {
            return Err(nonsense("its list goes on elsewhere"));
        }
        Ok(next.into())
    }

    /// Makes a user of this name.
    pub(super) async fn create(&mut self, name: &Code, metrics: &Metrics) -> Result<Id, Fault> {
        let body = serde_json::json!({"username": name.reveal()});
        let url = format!("{}/users", self.push.base_url);
        let answer = self.call(Method::POST, &url, "create", |request| request.json(&body), metrics).await?;
        let user: Value = json(&answer)?;
        user.get("id").and_then(Id::read).ok_or_else(|| nonsense("it made a user and does not say which"))
    }

    /// Whether there is such a user.
    pub(super) async fn exists(&mut self, user: &Id, metrics: &Metrics) -> Result<bool, Fault> {
        let url = format!("{}/users/{}", self.push.base_url, user.as_part());
        match self.call(Method::GET, &url, "user", |request| request, metrics).await {
            // It may not be asked for: nobody can say that it is gone.
            Ok(_) | Err(Fault::NotTaken(_)) => Ok(true),
            Err(Fault::Gone) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Deletes a user; one that is gone is deleted.
    pub(super) async fn delete(&mut self, user: &Id, metrics: &Metrics) -> Result<(), Fault> {
        let url = format!("{}/users/{}", self.push.base_url, user.as_part());
        gone_is_done(self.call(Method::DELETE, &url, "delete", |request| request, metrics).await)
    }

    /// What a user has.
    pub(super) async fn attributes(&mut self, user: &Id, metrics: &Metrics) -> Result<Attributes, Fault> {
        let mut attributes = Attributes::default();
        for table in Table::ALL {
            let url = format!("{}/attributes", self.push.base_url);
            let query = [("table", table.name().to_owned()), ("userid", user.as_part())];
            let answer = self.call(Method::GET, &url, "attributes", |request| request.query(&query), metrics).await?;
            let page: Value = json(&answer)?;
            let listed = page.pointer("/_embedded/attributes").unwrap_or(&page).as_array();
            let Some(listed) = listed else { return Err(nonsense("its list of attributes is no list")) };
            if page.pointer("/_links/next/href").is_some() {
                return Err(nonsense("a user has more attributes than stand on one page"));
            }
            for attribute in listed {
                if attribute.get("userid").and_then(Id::read).is_some_and(|of| of != *user) {
                    return Err(nonsense("its list of attributes is not of the user alone"));
                }
                let name = attribute.get("attribute").and_then(Value::as_str);
                let Some(name) = name.and_then(|name| Name::known(name, table)) else {
                    attributes.others += 1;
                    continue;
                };
                let value = match attribute.get("value") {
                    Some(Value::String(text)) => text.clone(),
                    Some(Value::Number(number)) => number.to_string(),
                    _ => String::new(),
                };
                let Some(id) = attribute.get("id").and_then(Id::read) else {
                    return Err(nonsense("its list holds an attribute without id"));
                };
                attributes.known.push(Attribute { id, name, value });
            }
        }
        Ok(attributes)
    }

    /// Gives a user an attribute.
    pub(super) async fn add(&mut self, user: &Id, name: Name, value: &str, metrics: &Metrics) -> Result<(), Fault> {
        let body = serde_json::json!({
            "userid": user, "attribute": name.as_str(), "operator": ":=", "value": value, "table": name.table().name(),
        });
        let url = format!("{}/attributes", self.push.base_url);
        self.call(Method::POST, &url, "add_attribute", |request| request.json(&body), metrics).await.map(drop)
    }

    /// Takes an attribute away; one that is gone is taken away.
    pub(super) async fn remove(&mut self, attribute: &Attribute, metrics: &Metrics) -> Result<(), Fault> {
        let url = format!("{}/attributes/{}", self.push.base_url, attribute.id.as_part());
        let table = [("table", attribute.name.table().name())];
        gone_is_done(
            self.call(Method::DELETE, &url, "remove_attribute", |request| request.query(&table), metrics).await,
        )
    }

    /// One call, when it is its turn.
    async fn call(
        &mut self,
        method: Method,
        url: &str,
        operation: &'static str,
        with: impl FnOnce(RequestBuilder) -> RequestBuilder,
        metrics: &Metrics,
    ) -> Result<Answer, Fault> {
        let now = self.clock.now().mono;
        if self.next > now {
            self.clock.sleep(self.next - now).await;
        }
        let pace = Duration::from_secs(60) / self.push.requests_per_minute.max(1);
        self.next = self.clock.now().mono.saturating_add(pace);
        let request = self
            .http
            .request(method, url)
            .bearer_auth(self.push.api_key.expose_secret())
            .header(ACCEPT, "application/json")
            .timeout(self.clock.real(self.push.request_timeout));
        let answered = calls::exchange(with(request), MOST_BYTES, "IronWifi").await;
        let status = match &answered {
            Ok(answer) => answer.status.as_str().to_owned(),
            Err((status, _)) => (*status).to_owned(),
        };
        metrics.ironwifi_request(operation, &status);
        let answer = answered.map_err(|(_, what)| Fault::Away(what))?;
        judge(answer)
    }
}

fn judge(answer: Answer) -> Result<Answer, Fault> {
    let status = answer.status;
    match status.as_u16() {
        200..=299 => Ok(answer),
        401 | 403 => {
            Err(Fault::Refused(format!("IronWifi answers with status {status}: see to ironwifi.push.api_key_file")))
        }
        300..=399 => {
            Err(Fault::Refused(format!("IronWifi answers with status {status}: see to ironwifi.push.base_url")))
        }
        404 | 410 => Err(Fault::Gone),
        408 | 500.. => Err(Fault::Away(format!("IronWifi answers with status {status}"))),
        429 => {
            let after = answer.headers.get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.trim().parse().ok());
            Err(Fault::Busy(after.map_or(BUSY, Duration::from_secs).min(LONGEST_BUSY)))
        }
        _ => Err(Fault::NotTaken(status)),
    }
}

fn gone_is_done(outcome: Result<Answer, Fault>) -> Result<(), Fault> {
    match outcome {
        Ok(_) | Err(Fault::Gone) => Ok(()),
        Err(fault) => Err(fault),
    }
}

fn json(answer: &Answer) -> Result<Value, Fault> {
    serde_json::from_slice(&answer.body).map_err(|_| nonsense("it is no JSON"))
}

fn nonsense(what: &str) -> Fault {
    Fault::Away(format!("the answer of IronWifi makes no sense: {what}"))
}
