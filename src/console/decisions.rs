//! What was decided lately.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use minijinja::value::Serde;
use minijinja::{Value, context};
use serde::Deserialize;

use super::Desk;
use super::pages::Page;
use super::show::Here;
use crate::core::decide::Reason;
use crate::core::ident::{Mac, NasName};
use crate::history::{Decided, Filter};
use crate::http::decisions::DecisionAnswer;
use crate::http::routes::App;

/// Decisions that are shown.
const SHOWN: usize = 200;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    nas: String,
    #[serde(default)]
    mac: String,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    desk: Desk,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let wanted = wanted.map(|Query(wanted)| wanted).unwrap_or_default();
    let mac = wanted.mac.trim();
    let device = (!mac.is_empty()).then(|| mac.parse::<Mac>());
    let wrong = matches!(device, Some(Err(_))).then_some("This is no MAC address.");
    let reason = Reason::ALL.into_iter().find(|reason| reason.as_str() == wanted.reason).map(Some);
    let filter = Filter {
        code: None,
        mac: device.and_then(Result::ok),
        reason: reason.or_else(|| (wanted.reason == "none").then_some(None)),
        nas: (!wanted.nas.is_empty()).then(|| NasName::new(&wanted.nas)),
    };
    let (rows, trouble) = rows(&app, &desk, filter, SHOWN).await;
    let reasons: Vec<_> = Reason::ALL.into_iter().map(Reason::as_str).collect();
    let routers: Vec<_> = desk.live.settings.nas.iter().map(|nas| nas.name().to_string()).collect();
    desk.page(
        &app,
        Page::Decisions,
        context! {
            rows, trouble, wrong, reasons, routers,
            reason => wanted.reason, nas => wanted.nas, mac,
            retained => kept_for(desk.live.settings.store.retain_decisions),
        },
    )
}

/// Decisions for a table, and why there are none.
pub(super) async fn rows(app: &App, desk: &Desk, filter: Filter, limit: usize) -> (Vec<Value>, Option<String>) {
    let here = Here { zone: desk.live.settings.time_zone(), now: app.gate.clock.now().wall };
    match app.gate.history.decisions(filter, limit).await {
        Ok(decisions) => (decisions.iter().map(|decided| row(desk, here, decided)).collect(), None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    }
}

fn row(desk: &Desk, here: Here<'_>, decided: &Decided) -> Value {
    context! { at => here.moment(decided.at), answer => Serde(DecisionAnswer::new(decided, desk.is_operator())) }
}

fn kept_for(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 172_800.. => format!("{} days", seconds / 86_400),
        seconds @ 7200.. => format!("{} hours", seconds / 3600),
        seconds => format!("{} minutes", seconds / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_kept_for_days_hours_or_minutes() {
        let said = |seconds| kept_for(Duration::from_secs(seconds));
        assert_eq!([30 * 86_400, 86_400, 5400].map(said), ["30 days", "24 hours", "90 minutes"]);
    }
}
