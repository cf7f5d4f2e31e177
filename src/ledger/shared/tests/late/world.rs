//! As `in_the_end_all_know_the_same…`, with time that passes, routers that ask any daemon, restarts without the database, what is
//! over asked some time before a change arrives, and
//! what the ended sessions say.

use super::apart::compares;
use super::*;

#[derive(Clone, Debug)]
enum Do {
    Login { daemon: usize, token: i64, device: u8 },
    Report { daemon: usize, which: usize, stops: bool, less: i64 },
    Due { daemon: usize },
    Take { daemon: usize },
    Arrives { daemon: usize, is_lost: bool, is_held: bool },
    Retries { daemon: usize },
    Lost { daemon: usize },
    Hears { daemon: usize },
    Compares { daemon: usize },
    Restarts { daemon: usize, alone: bool },
    Parts { daemon: usize },
    Joins { daemon: usize },
    RouterRestarts { daemon: usize },
    Waits { long: i64 },
    ComesAndGoes { daemon: usize, token: i64, device: u8, count: i64 },
}

fn step() -> impl Strategy<Value = Do> {
    let daemon = || 0usize..3;
    prop_oneof![
        3 => (daemon(), 1i64..3, 0u8..3).prop_map(|(daemon, token, device)| Do::Login { daemon, token, device }),
        6 => (daemon(), 0usize..20, prop::bool::weighted(0.3), 0i64..30).prop_map(
            |(daemon, which, stops, less)| Do::Report { daemon, which, stops, less }),
        3 => daemon().prop_map(|daemon| Do::Due { daemon }),
        5 => daemon().prop_map(|daemon| Do::Take { daemon }),
        5 => (daemon(), prop::bool::weighted(0.15), prop::bool::weighted(0.3)).prop_map(
            |(daemon, is_lost, is_held)| Do::Arrives { daemon, is_lost, is_held }),
        1 => daemon().prop_map(|daemon| Do::Retries { daemon }),
        1 => daemon().prop_map(|daemon| Do::Lost { daemon }),
        4 => daemon().prop_map(|daemon| Do::Hears { daemon }),
        1 => daemon().prop_map(|daemon| Do::Compares { daemon }),
        1 => (daemon(), prop::bool::weighted(0.4)).prop_map(|(daemon, alone)| Do::Restarts { daemon, alone }),
        2 => daemon().prop_map(|daemon| Do::Parts { daemon }),
        1 => daemon().prop_map(|daemon| Do::Joins { daemon }),
        1 => daemon().prop_map(|daemon| Do::RouterRestarts { daemon }),
        1 => (daemon(), 1i64..3, 0u8..3, 1i64..11).prop_map(|(daemon, token, device, count)| Do::ComesAndGoes { daemon, token, device, count }),
        3 => (100i64..1500).prop_map(|long| Do::Waits { long }),
    ]
}

struct Guest {
    token: i64,
    device: u8,
    id: SessionId,
    began: i64,
    sent: u64,
    admitted: Option<Written>,
    is_in: Option<bool>,
    reports: Vec<(u64, bool, Written)>,
}

impl Guest {
    /// Whether its router was told that it is in, as far as is known by now.
    fn is_in(&mut self, runtime: &tokio::runtime::Runtime) -> Option<bool> {
        match self.admitted.take() {
            None => {}
            Some(Written::Shared(all)) => {
                let mut left = Vec::new();
                for mut heard in all {
                    match heard.try_recv() {
                        Ok(Ok(())) => {}
                        Err(oneshot::error::TryRecvError::Empty) => left.push(heard),
                        _ => self.is_in = Some(false),
                    }
                }
                if self.is_in.is_none() && left.is_empty() {
                    self.is_in = Some(true);
                } else if self.is_in.is_none() {
                    self.admitted = Some(Written::Shared(left));
                }
            }
            Some(written) => self.is_in = Some(runtime.block_on(written.settled()).is_ok()),
        }
        self.is_in
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]
    #[test]
    fn what_was_acknowledged_counts_once_whichever_daemons_were_apart(steps in vec(step(), 1..130)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut chain = Chain::new();
        (0..3).for_each(|daemon| chain.begins(daemon));
        let token = |id| AccessToken { minutes_left: Some(900_000), minutes_included: Some(900_000), ..limited(id, 2) };
        let (mut now, mut has_parted, mut has_found) = (0i64, false, false);
        // With those of the doubted that were over when that was asked.
        let mut on_their_way: [Vec<(Change, HashMap<SessionId, Closed>)>; 3] = std::array::from_fn(|_| Vec::new());
        let mut guests: Vec<Guest> = Vec::new();
        // Sessions that each daemon has known; and restarts: since when, what was live there and known, and what it was told.
        let mut met: [std::collections::HashSet<SessionId>; 3] = Default::default();
        let mut restarts: Vec<(i64, Vec<SessionId>, Written)> = Vec::new();
        for step in steps {
            now += 1;
            for (daemon, met) in chain.daemons.iter().zip(&mut met) {
                for token in 1..5 {
                    met.extend(daemon.account(TokenId(token)).unwrap_or_default().sessions().iter().map(|session| session.id));
                }
            }
            match step {
                Do::Waits { long } => now += long,
                Do::Login { daemon, token: of, device } => {
                    let (decision, written) = chain.admit(daemon, &token(of), device, now);
                    if let Decision::Allow(grant) = decision {
                        prop_assert!(grant.renews.is_none());
                        let id = SessionId::new(at(now), [chain.next; 10]).let_in();
                        guests.push(Guest { token: of, device, id, began: now, sent: 0, admitted: Some(written), is_in: None, reports: Vec::new() });
                    }
                }
                Do::Report { daemon, which, stops, less } => {
                    // The latest sessions are reported of.
                    let len = guests.len();
                    if which >= len { continue }
                    let guest = &mut guests[len - 1 - which];
                    // Its router knows of it only if it was let in.
                    if guest.is_in(&runtime) != Some(true) { continue }
                    let seconds = u64::try_from((now - guest.began - less).max(0)).unwrap();
                    guest.sent = guest.sent.max(seconds);
                    let login = chain.login(guest.device);
                    let question = Question { login: &login, nas: &chain.nas, policy: &chain.policy };
                    let report = Report { at: at(now - less), seconds: Seconds(seconds), input_octets: 0, output_octets: 0 };
                    let news = if stops { News::Stop } else { News::Interim };
                    let progress = Progress { session: Some((guest.id, TokenId(guest.token))), news, report, unmeasured: false };
                    let written = match chain.daemons[daemon].report(TokenId(guest.token), &question, &progress, at(now)) {
                        Some(reported) => reported.written,
                        None => {
                            has_found = true;
                            let access = token(guest.token);
                            let session = question.session(guest.id, &access, at(guest.began));
                            chain.daemons[daemon].find(&access, &question, session, &progress, at(now)).written
                        }
                    };
                    guest.reports.push((seconds, stops, written));
                }
                Do::ComesAndGoes { daemon, token: of, device, count } => for _ in 0..count {
                    now += 3;
                    let (decision, written) = chain.admit(daemon, &token(of), device, now);
                    let Decision::Allow(_) = decision else { continue };
                    let id = SessionId::new(at(now), [chain.next; 10]).let_in();
                    let mut guest = Guest { token: of, device, id, began: now, sent: 0, admitted: Some(written), is_in: None, reports: Vec::new() };
                    if !chain.daemons[daemon].is_away() { chain.exchange(daemon); }
                    if guest.is_in(&runtime) == Some(true) {
                        guest.sent = 1;
                        let login = chain.login(device);
                        let question = Question { login: &login, nas: &chain.nas, policy: &chain.policy };
                        let report = Report { at: at(now + 1), seconds: Seconds(1), input_octets: 0, output_octets: 0 };
                        let progress = Progress { session: Some((id, TokenId(of))), news: News::Stop, report, unmeasured: false };
                        if let Some(reported) = chain.daemons[daemon].report(TokenId(of), &question, &progress, at(now + 1)) {
                            guest.reports.push((1, true, reported.written));
                        }
                        if !chain.daemons[daemon].is_away() { chain.exchange(daemon); }
                    }
                    guests.push(guest);
                },
                Do::Due { daemon } => drop(chain.daemons[daemon].due(&chain.policy, at(now), &mut |_| Room::Free)),
                Do::RouterRestarts { daemon } => {
                    let router = Some([192, 0, 2, 1].into());
                    let mut known = Vec::new();
                    for token in 1..5 {
                        for session in chain.database.account(token).sessions() {
                            let latest = session.reported.map_or(session.admitted_at, |report| report.at);
                            if met[daemon].contains(&session.id) && latest <= at(now - 5) && session.contact.router == router {
                                known.push(session.id);
                            }
                        }
                    }
                    let (_, written) = chain.daemons[daemon].restarted(&chain.nas.name, router, at(now - 5), &chain.policy, at(now));
                    restarts.push((now - 5, known, written));
                }
                Do::Parts { daemon } => {
                    for (change, over) in mem::take(&mut on_their_way[daemon]) {
                        let token = change.token;
                        if now % 2 == 0 && over.is_empty() {
                            chain.database.swap(change);
                        }
                        chain.daemons[daemon].not_swapped(token);
                    }
                    runtime.block_on(chain.daemons[daemon].part("gone", &chain.policy));
                    has_parted = true;
                }
                Do::Joins { daemon } => {
                    if chain.daemons[daemon].join() {
                        compares(&chain, daemon);
                    }
                }
                Do::Compares { daemon } => compares(&chain, daemon),
                Do::Take { daemon } if chain.daemons[daemon].is_away() => {}
                Do::Take { daemon } => {
                    let changes = chain.daemons[daemon].take_changes(9, &chain.policy).into_iter();
                    let asked = changes.map(|change| (chain.database.over(&change), change));
                    on_their_way[daemon].extend(asked.map(|(over, change)| (change, over)));
                }
                Do::Retries { daemon } => chain.daemons[daemon].try_refused(),
                Do::Arrives { daemon, is_lost, is_held } => {
                    for (change, over) in mem::take(&mut on_their_way[daemon]) {
                        let token = change.token;
                        if !over.is_empty() && !chain.daemons[daemon].are_over(token, &over) {
                            continue;
                        }
                        let is_held = is_held && change.is_due;
                        let swapped = if is_held { Swapped::Held } else { chain.database.swap(change) };
                        if is_lost {
                            chain.daemons[daemon].not_swapped(token);
                        } else {
                            chain.daemons[daemon].swapped(token, swapped, &chain.policy);
                        }
                    }
                }
                Do::Lost { daemon } => {
                    for (change, _) in mem::take(&mut on_their_way[daemon]) {
                        chain.daemons[daemon].not_swapped(change.token);
                    }
                }
                Do::Hears { daemon } => chain.hear(daemon),
                Do::Restarts { daemon, alone } => {
                    on_their_way[daemon].clear();
                    met[daemon].clear();
                    if alone {
                        runtime.block_on(chain.begins_alone(daemon));
                        has_parted = true;
                    } else {
                        chain.begins(daemon);
                    }
                }
            }
        }
        for (daemon, changes) in chain.daemons.iter().zip(on_their_way) {
            changes.iter().for_each(|(change, _)| daemon.not_swapped(change.token));
        }
        for daemon in 0..3 {
            chain.daemons[daemon].join();
            chain.daemons[daemon].try_refused();
            compares(&chain, daemon);
        }
        chain.settle();
        for daemon in 0..3 {
            compares(&chain, daemon);
        }
        chain.settle();
        for daemon in &chain.daemons {
            prop_assert_eq!(daemon.owed(), 0);
        }
        for (since, known, written) in restarts {
            if !matches!(runtime.block_on(resolved(written)), Some(Ok(()))) { continue }
            for token in 1..5 {
                for session in chain.database.account(token).sessions() {
                    let latest = session.reported.map_or(session.admitted_at, |report| report.at);
                    prop_assert!(!known.contains(&session.id) || latest > at(since), "{} lives on after a restart at {} that was acknowledged", session.id, since);
                }
            }
        }
        let mut counted: BTreeMap<String, (u64, bool, &'static str)> = BTreeMap::new();
        for token in 1..5 {
            let stands = chain.database.account(token);
            for daemon in &chain.daemons {
                prop_assert_eq!(&daemon.account(TokenId(token)).unwrap_or_default(), &stands);
            }
            let closed: u64 = chain.database.closed.values().filter(|closed| closed.token == token)
                .map(|closed| written::read_ended(&closed.payload).unwrap().counts.0).sum();
            prop_assert!(stands.usage.0 == closed, "usage {} and ended sessions {}", stands.usage.0, closed);
            let ended: u64 = stands.ended().iter().map(|ended| ended.counts.0).sum();
            prop_assert!(stands.usage.0 >= ended);
            for session in stands.sessions() {
                prop_assert!(!chain.database.closed.contains_key(&session.id.to_string()), "in two places");
                counted.insert(session.id.to_string(), (session.reported.map_or(0, |report| report.seconds.0), false, "live"));
            }
            let places: std::collections::BTreeSet<_> = stands.sessions().iter().map(|session| session.device).collect();
            prop_assert!(places.len() <= 2 || has_parted || has_found, "{:?}", places);
        }
        for closed in chain.database.closed.values() {
            let ended = written::read_ended(&closed.payload).unwrap();
            counted.entry(closed.session.clone()).or_insert((ended.counts.0, ended.stopped, "closed"));
        }
        for mut guest in guests {
            let found = counted.get(&guest.id.to_string()).copied();
            if guest.is_in(&runtime) == Some(true) {
                prop_assert!(found.is_some(), "an admission that counts is lost: {}", guest.id);
            }
            let counts = found.map_or(0, |(counts, ..)| counts);
            prop_assert!(counts <= guest.sent, "{} counts {} of {} s", guest.id, counts, guest.sent);
            for (seconds, stops, written) in guest.reports {
                let outcome = runtime.block_on(resolved(written));
                let said = outcome.expect("something comes of it");
                if said.is_err() { continue }
                let Some((counts, stopped, how)) = found else {
                    prop_assert!(false, "{} is acknowledged ({} s, stops {}), and nowhere", guest.id, seconds, stops);
                    continue;
                };
                prop_assert!(counts >= seconds || stopped && !stops, "{} {}: {} of {} s (stops {}) are left", guest.id, how, counts, seconds, stops);
                if stops {
                    prop_assert!(how == "closed", "{} was stopped, and is live", guest.id);
                }
            }
        }
    }
}
