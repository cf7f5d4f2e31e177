//! The source: the file, or the sign-in at Nexudus, each role, each location. Nothing is written there.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::finding::Finding;
use super::{WITHIN, blocking, clock, stuck};
use crate::clock::Clock;
use crate::config::{self, NexudusAuth, Settings};
use crate::core::ident::{BusinessId, TokenId};
use crate::core::policy::BindDevice;
use crate::source::alarm::Role;
use crate::source::nexudus::wire::{List, Record};
use crate::source::nexudus::{Nexudus, Share};
use crate::source::{Error, file};

/// Odd records of a file that are said one by one.
const ODD_RECORDS: usize = 20;

/// The longest that one call is waited for.
const CALL_WITHIN: Duration = Duration::from_secs(5);

/// Calls in a minute that are allowed at least: the few made here shall not fail by a ceiling that is meant for a daemon.
const CALLS: u32 = 60;

/// Tokens listed where one of a kind is looked for.
const SOME: &str = "25";

/// The source, the clock and the dates.
pub(super) async fn examine(settings: &Settings, clock: &Clock) -> Vec<Finding> {
    match &settings.source {
        config::Source::File(file) => {
            let mut findings = of_file(file.clone()).await;
            findings.push(clock::judge(clock.now().wall, None));
            findings
        }
        config::Source::Nexudus(nexudus) => of_nexudus(nexudus, settings, clock).await,
    }
}

async fn of_file(file: config::File) -> Vec<Finding> {
    const CHECK: &str = "source";
    let path = file.path.display().to_string();
    let (tokens, odd) = match blocking(move || file::load(&file)).await {
        None => return vec![stuck(CHECK)],
        Some(Err(error)) => return vec![failed(CHECK, &error)],
        Some(Ok(contents)) => contents,
    };
    let mut findings = vec![if tokens.is_empty() {
        Finding::warn(
            CHECK,
            format!("{path} holds no access token that can be used"),
            "add records, or correct source.path",
        )
    } else {
        Finding::ok(CHECK, format!("{path} holds {}", counted(tokens.len(), "access token")))
    }];
    let remedy = format!("correct it in {path}");
    findings.extend(odd.iter().take(ODD_RECORDS).map(|odd| Finding::warn(CHECK, odd.to_string(), &*remedy)));
    if let Some(more @ 1..) = odd.len().checked_sub(ODD_RECORDS) {
        findings.push(Finding::warn(CHECK, format!("{more} more records are odd"), &*remedy));
    }
    findings
}

async fn of_nexudus(config: &config::Nexudus, settings: &Settings, clock: &Clock) -> Vec<Finding> {
    // A sign-in of its own, kept nowhere, so that the daemon's stays good.
    let own = config::Nexudus {
        request_timeout: config.request_timeout.min(CALL_WITHIN),
        requests_per_minute: config.requests_per_minute.max(CALLS),
        ..config.clone()
    };
    let nexudus = match Nexudus::new(&own, clock.clone(), None, Box::new(|_| ()), Box::new(())) {
        Ok(nexudus) => Arc::new(nexudus),
        Err(error) => return vec![failed("sign_in", &error), clock::judge(clock.now().wall, None)],
    };
    let mut findings = Vec::new();
    if let Err(error) = nexudus.signed_in().await {
        return vec![failed("sign_in", &error), clock::judge(clock.now().wall, None)];
    }
    findings.push(Finding::ok(
        "sign_in",
        match config.auth {
            NexudusAuth::OAuth => format!("{} signed in at {}", config.username, config.base_url),
            NexudusAuth::Basic => "not tried: with auth = \"basic\" user and password go with every call".to_owned(),
        },
    ));
    let listed = match list(&nexudus, settings, clock).await {
        Ok(listed) => listed,
        Err(error) => {
            findings.push(failed("role", &error).about(&Role::List));
            findings.push(clock::judge(clock.now().wall, None));
            return findings;
        }
    };
    let (read, locations, dates) = tokio::join!(read(&nexudus, listed.id), locations(&nexudus), dates(&nexudus));
    findings.extend([listed.finding, read]);
    findings.extend(edit(config.write_back, settings.policy.bind_device));
    findings.extend(locations);
    findings.extend([listed.clock, dates]);
    findings
}

/// What came of the first list.
struct Listed {
    finding: Finding,
    clock: Finding,
    /// One that may be read singly.
    id: Option<TokenId>,
}

async fn list(nexudus: &Nexudus, settings: &Settings, clock: &Clock) -> Result<Listed, Error> {
    let asked = clock.now();
    let heard = page(nexudus, &[("size", "1")]).await?;
    let now = clock.now();
    let took = now.mono.saturating_sub(asked.mono);
    let list = List::parse(&heard.0).map_err(|error| unreadable(&error))?;
    let id = list.records.first().and_then(|json| Record::parse(json.get()).ok()?.id().ok());
    let how_many = match list.total {
        Some(total) => counted(usize::try_from(total).unwrap_or(usize::MAX), "access token"),
        None if list.records.is_empty() => counted(0, "access token"),
        None => "access tokens".to_owned(),
    };
    let detail = format!("Nexudus lists {how_many}, in {} ms", took.as_millis());
    let hold = settings.cache.first_answer_within;
    let finding = if list.records.is_empty() {
        Finding::warn(
            "role",
            detail,
            "give the user access to the locations whose tokens are meant, or add tokens there",
        )
    } else if took > hold && !nexudus.config.mirror {
        let detail = format!("{detail}, which is longer than cache.first_answer_within ({} ms)", hold.as_millis());
        Finding::warn("role", detail, "set source.nexudus.mirror = true, so that logins do not wait for Nexudus")
    } else {
        Finding::ok("role", detail)
    };
    let ahead = heard.1.map(|theirs| clock::ahead(asked, now, theirs));
    Ok(Listed { finding: finding.about(&Role::List), clock: clock::judge(now.wall, ahead), id })
}

async fn read(nexudus: &Nexudus, id: Option<TokenId>) -> Finding {
    const CHECK: &str = "role";
    let finding = match id {
        None => Finding::ok(CHECK, "not tried: there is no token to read"),
        Some(id) => match nexudus.get(id, &mut nexudus.effort_within(Share::Whole, WITHIN)).await {
            Ok(Some(_)) => Finding::ok(CHECK, format!("access token {id} was read singly")),
            Ok(None) => Finding::warn(
                CHECK,
                format!("access token {id} is listed, but not found singly"),
                "try again: it may have been deleted meanwhile",
            ),
            Err(error) => failed(CHECK, &error),
        },
    };
    finding.about(&Role::Read)
}

/// Only a write would tell.
fn edit(write_back: bool, bind_device: BindDevice) -> Option<Finding> {
    let why = match (write_back, bind_device == BindDevice::Learn) {
        (true, _) => "source.nexudus.write_back",
        (false, true) => "policy.bind_device = \"learn\"",
        (false, false) => return None,
    };
    let detail = format!("not tried, since only writing would tell; {why} needs it");
    Some(Finding::ok("role", detail).about(&Role::Edit))
}

/// Whether each location shows tokens. Lists are never trusted to have filtered.
async fn locations(nexudus: &Arc<Nexudus>) -> Vec<Finding> {
    let mut asked = JoinSet::new();
    for (place, business) in nexudus.config.business_ids.iter().copied().enumerate() {
        let nexudus = Arc::clone(nexudus);
        asked.spawn(async move { (place, location(&nexudus, business).await.about(&business)) });
    }
    let mut findings = asked.join_all().await;
    findings.sort_by_key(|(place, _)| *place);
    findings.into_iter().map(|(_, finding)| finding).collect()
}

async fn location(nexudus: &Nexudus, business: BusinessId) -> Finding {
    const CHECK: &str = "location";
    const REMEDY: &str = "correct source.nexudus.business_ids, or give the user access to the location in Nexudus";
    let of = business.to_string();
    let text = match page(nexudus, &[("AccessToken_Business", &of), ("size", SOME)]).await {
        Ok((text, _)) => text,
        Err(error) => return failed(CHECK, &error),
    };
    let list = match List::parse(&text).map_err(|error| unreadable(&error)) {
        Ok(list) => list,
        Err(error) => return failed(CHECK, &error),
    };
    let business_of = |json: &&serde_json::value::RawValue| Record::parse(json.get()).ok()?.business().ok()?;
    if list.records.iter().filter_map(business_of).any(|other| other == business) {
        Finding::ok(CHECK, "it shows access tokens")
    } else if list.records.is_empty() {
        Finding::warn(CHECK, "it shows no access token", REMEDY)
    } else {
        Finding::warn(CHECK, "asked for its access tokens, Nexudus shows those of others", REMEDY)
    }
}

async fn dates(nexudus: &Nexudus) -> Finding {
    let text = page(nexudus, &[("size", SOME)]).await.map(|(text, _)| text);
    let list =
        text.as_ref().map_err(Clone::clone).and_then(|text| List::parse(text).map_err(|error| unreadable(&error)));
    list.map_or_else(|error| failed("dates", &error), |list| clock::dates(&list, &nexudus.config.time_zone))
}

/// The first page of a list, and when it was sent by Nexudus' clock.
async fn page(nexudus: &Nexudus, query: &[(&str, &str)]) -> Result<(String, Option<jiff::Timestamp>), Error> {
    let query = [query, &[("page", "1")]].concat();
    let heard = nexudus.list(&query, &mut nexudus.effort_within(Share::Whole, WITHIN)).await?;
    Ok((heard.text, heard.date))
}

fn unreadable(error: &impl ToString) -> Error {
    Error::Retry { what: error.to_string(), after: None }
}

fn failed(check: &'static str, error: &Error) -> Finding {
    match error {
        Error::Refused { alarm, what, remedy } => Finding::fail(check, format!("{what} ({})", alarm.kind()), remedy),
        Error::Retry { what, .. } => {
            let remedy =
                "see whether this machine reaches source.nexudus.base_url (network, DNS, firewall), and try again";
            Finding::fail(check, what, remedy)
        }
    }
}

fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
