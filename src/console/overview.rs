//! How things are, at a glance.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use minijinja::context;
use minijinja::value::Serde;

use super::chart::{Part, day};
use super::pages::Page;
use super::show::{self, Here};
use super::{Desk, sessions};
use crate::history::Column;
use crate::http::health;
use crate::http::routes::App;

const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) async fn page(State(app): State<Arc<App>>, desk: Desk) -> Response {
    let (gate, settings) = (&app.gate, &desk.live.settings);
    let (zone, now) = (settings.time_zone(), gate.clock.now());
    let here = Here { zone, now: now.wall };
    let (ready, degraded) = health::state(&app);
    let live = sessions::all(&app).await;
    let mut states = BTreeMap::<&str, usize>::new();
    for (_, session) in &live {
        *states.entry(sessions::state(session)).or_default() += 1;
    }
    let of = |state: &str| states.get(state).copied().unwrap_or_default();
    let supply = gate.supply();
    let mirror = supply.mirror.as_ref().map(|mirror| {
        let state = mirror.state();
        let ago = |at: Duration| here.ago(now.wall.saturating_sub(now.mono.saturating_sub(at)).unwrap_or(now.wall));
        context! { compared => state.compared_at.map(ago), listed => state.listed_at.map(ago), records => state.records }
    });
    let unwritten = {
        let (gate, live) = (Arc::clone(gate), Arc::clone(&desk.live));
        let count = move || gate.ledger.count(&live.settings.policy, now.wall).1.0;
        tokio::task::spawn_blocking(count).await.unwrap_or_default()
    };
    let columns = gate.history.columns(now.wall.saturating_sub(DAY).unwrap_or(now.wall)).await;
    let trouble = columns.as_ref().err().map(ToString::to_string);
    let columns = columns.unwrap_or_default();
    let mut reasons = BTreeMap::<String, u64>::new();
    for (reason, count) in columns.iter().flat_map(|column| &column.denied) {
        *reasons.entry(reason.clone()).or_default() += count;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let denied = |column: &Column| column.denied.iter().map(|(_, count)| count).sum::<u64>();
    let online = day(
        &columns,
        zone,
        now.wall,
        |most, at| format!("Most at once: {} sessions, about {at}.", show::count(most)),
        |column| vec![("sessions", "sessions", column.sessions)],
    );
    let logins = day(
        &columns,
        zone,
        now.wall,
        |_, _| {
            let (allowed, refused) = columns
                .iter()
                .fold((0, 0), |(allowed, refused), column| (allowed + column.allowed, refused + denied(column)));
            format!("{} allowed, {} denied.", show::count(allowed), show::count(refused))
        },
        |column| -> Vec<Part> { vec![("allowed", "allowed", column.allowed), ("denied", "denied", denied(column))] },
    );
    let minutes = day(
        &columns,
        zone,
        now.wall,
        |_, _| {
            let minutes = columns.iter().map(|column| column.used_seconds).sum::<u64>() / 60;
            format!("{} minutes of WiFi in all.", show::count(minutes))
        },
        |column| vec![("minutes", "minutes", column.used_seconds / 60)],
    );
    desk.page(
        &app,
        Page::Overview,
        context! {
            ready, degraded, mirror, unwritten, reasons, trouble,
            online => Serde(&online), logins => Serde(&logins),
            minutes => Serde(&minutes),
            sessions => context! {
                all => live.len(), admitted => of("admitted"), online => of("online"),
                disconnecting => of("disconnecting"),
            },
            tokens => supply.catalogue.tokens(),
            version => env!("CARGO_PKG_VERSION"),
        },
    )
}
