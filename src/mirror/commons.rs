//! One daemon asks Nexudus for all that share a database: it puts down there what it finds, and the others take it from there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{Kept, Mirror, put_back};
use crate::core::ident::{BusinessId, Code, Mac, TokenId};
use crate::core::token::AccessToken;
use crate::database::{self, Database, Published};
use crate::ledger::Ledger;
use crate::source::Version;

/// How often it is looked for what another daemon found, where nothing is heard of it.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How soon it is looked again where that failed.
const TRY_EVERY: Duration = Duration::from_secs(2);

/// Tokens taken over at once.
const AT_ONCE: usize = 1000;

/// What daemons share of one source.
#[derive(Debug)]
pub struct Commons {
    database: Database,
    ledger: Arc<Ledger>,
    /// Another daemon found something, or which of them asks has changed.
    news: watch::Receiver<()>,
    /// Whose tokens these are.
    source: String,
    /// How much of what was put down is known here.
    known: i64,
    /// When each location was compared, as far as is known here.
    compared: HashMap<i64, i64>,
    /// Whether this daemon asked last.
    asks: bool,
}

impl Commons {
    /// What is shared by those who ask the same source for the same; there is `news` when it changes, or who asks.
    #[must_use]
    pub fn new(database: Database, ledger: Arc<Ledger>, news: watch::Receiver<()>) -> Self {
        Self { database, ledger, news, source: String::new(), known: 0, compared: HashMap::new(), asks: false }
    }

    pub(super) fn of(self, source: &str) -> Self {
        Self { source: source.to_owned(), ..self }
    }

    /// Puts down what was found.
    pub(super) async fn put_down(&self, changed: &[Version], gone: &[TokenId]) -> Result<(), database::Error> {
        let mut tokens: Vec<(i64, Option<String>)> =
            changed.iter().map(|version| (version.token.id.0, Some(written(version)))).collect();
        tokens.extend(gone.iter().map(|id| (id.0, None)));
        for tokens in tokens.chunks(AT_ONCE) {
            self.database.publish(&self.source, tokens).await?;
        }
        Ok(())
    }

    pub(super) async fn see(
        &self,
        business: Option<BusinessId>,
        seen_to: Option<Timestamp>,
        compared: Option<Timestamp>,
    ) -> Result<(), database::Error> {
        let millis = |at: Option<Timestamp>| at.map(Timestamp::as_millisecond);
        let business = business.map_or(0, |business| business.0);
        self.database.see(&self.source, business, millis(seen_to), millis(compared)).await
    }
}

impl Mirror {
    /// Whether it is for this daemon to ask. Where another does, what that found is taken over; then there is nothing to do for so
    /// long.
    pub(super) async fn asks(&mut self) -> Result<(), Duration> {
        let Some(commons) = &mut self.commons else { return Ok(()) };
        let (leads, asked) = (commons.ledger.leads(), commons.asks);
        // Without the database, whoever asked last goes on.
        if asked && (leads || commons.ledger.is_away()) {
            return Ok(());
        }
        commons.news.mark_unchanged();
        let outcome = self.follow().await;
        if let Some(commons) = &mut self.commons {
            // Who begins to ask knows what was found before.
            commons.asks = leads && outcome.is_ok();
        }
        match outcome {
            Ok(()) if leads => Ok(()),
            Ok(()) => Err(LOOK_EVERY.min(self.nexudus.config.mirror_interval)),
            Err(error) => {
                tracing::debug!(%error, "what another daemon found cannot be taken over");
                Err(TRY_EVERY)
            }
        }
    }

    /// Resolves when another daemon found something, or another one is to ask.
    pub(super) async fn has_news(&mut self) {
        let is_there = match &mut self.commons {
            Some(commons) => commons.news.changed().await.is_ok(),
            None => false,
        };
        if !is_there {
            std::future::pending::<()>().await;
        }
    }

    /// Takes over what another daemon found.
    async fn follow(&mut self) -> Result<(), database::Error> {
        loop {
            let Some(commons) = &mut self.commons else { return Ok(()) };
            let published = commons.database.published(&commons.source, commons.known, AT_ONCE).await?;
            let asked = self.clock.now().mono;
            let Some(last) = published.last() else { break };
            commons.known = last.sequence;
            let (mut versions, mut gone) = (Vec::new(), Vec::new());
            for Published { token, record, .. } in published {
                match record.as_deref().map(read) {
                    None => gone.push(TokenId(token)),
                    Some(Some(version)) => versions.push(version),
                    Some(None) => tracing::error!(token, "a token in the database cannot be read"),
                }
            }
            let merge = self.catalogue.merge(&versions, asked);
            let gone = self.catalogue.remove(&gone, asked);
            self.write(move |shelf| shelf.put(&merge.changed, &gone)).await;
        }
        let Some(commons) = &mut self.commons else { return Ok(()) };
        let mut kept = Kept::default();
        for (business, seen_to, compared) in commons.database.seen(&commons.source).await? {
            let at = |millis: Option<i64>| millis.and_then(|millis| Timestamp::from_millisecond(millis).ok());
            let known = compared.and_then(|compared| commons.compared.insert(business, compared));
            let business = (business != 0).then_some(BusinessId(business));
            kept.seen_to.extend(at(seen_to).map(|at| (business, at)));
            if known != compared {
                kept.compared.extend(at(compared).map(|at| (business, at)));
            }
        }
        for location in &mut self.locations {
            location.seen_to = kept.seen_to.get(&location.business).copied().or(location.seen_to);
        }
        // What is listed for the first time is not whole here either.
        kept.seen_to.retain(|business, _| kept.compared.contains_key(business));
        if !kept.compared.is_empty() {
            put_back(&self.catalogue, &kept, &self.clock);
            for (business, compared) in kept.compared {
                self.write(move |shelf| shelf.compared(business, Some(compared))).await;
            }
            self.coverage.compared(self.clock.now().mono);
        }
        Ok(())
    }
}

/// A token as it is put down. Times are milliseconds since 1970.
#[derive(Serialize, Deserialize)]
struct Written<'a> {
    id: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    business: Option<i64>,
    code: std::borrow::Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    valid_from: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    valid_to: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    minutes_included: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    minutes_left: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_limit: Option<i32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    devices: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_access: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    updated: Option<i64>,
}

fn written(Version { token, updated }: &Version) -> String {
    let millis = |at: Option<Timestamp>| at.map(Timestamp::as_millisecond);
    let written = Written {
        id: token.id.0,
        business: token.business.map(|business| business.0),
        code: token.code.reveal().into(),
        valid_from: millis(token.valid_from),
        valid_to: millis(token.valid_to),
        minutes_included: token.minutes_included,
        minutes_left: token.minutes_left,
        user_limit: token.user_limit,
        devices: token.devices.iter().map(ToString::to_string).collect(),
        last_access: millis(token.last_access),
        updated: millis(*updated),
    };
    // Writing plain values cannot fail.
    serde_json::to_string(&written).unwrap_or_default()
}

/// None for what no version of ours wrote.
fn read(record: &str) -> Option<Version> {
    let written: Written<'_> = serde_json::from_str(record).ok()?;
    let at = |millis: Option<i64>| millis.and_then(|millis| Timestamp::from_millisecond(millis).ok());
    let token = AccessToken {
        id: TokenId(written.id),
        business: written.business.map(BusinessId),
        code: Code::parse(&written.code).ok()?,
        valid_from: at(written.valid_from),
        valid_to: at(written.valid_to),
        minutes_included: written.minutes_included,
        minutes_left: written.minutes_left,
        user_limit: written.user_limit,
        devices: written.devices.iter().filter_map(|device| device.parse::<Mac>().ok()).collect(),
        last_access: at(written.last_access),
    };
    Some(Version { token: Arc::new(token), updated: at(written.updated) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::token::tests::token;

    #[test]
    fn a_token_is_put_down_as_it_is() {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let full = AccessToken {
            valid_from: at(10),
            valid_to: at(20),
            last_access: at(25),
            user_limit: Some(3),
            devices: [Mac::new([2, 0, 0, 0, 0, 1]), Mac::new([2, 0, 0, 0, 0, 2])].into(),
            ..token(7, "café \"0042\"")
        };
        let bare = AccessToken { business: None, minutes_included: None, minutes_left: None, ..token(8, "b") };
        for version in
            [Version { token: Arc::new(full), updated: at(30) }, Version { token: Arc::new(bare), updated: None }]
        {
            assert_eq!(read(&written(&version)), Some(version));
        }
        assert_eq!(read("{\"id\": 1}"), None);
    }
}
