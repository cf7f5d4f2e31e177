//! Guests of a soak: they log in, report and leave, each second of it remembered; and others, who ask for pages or mistype codes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use spotgate::radius::attribute::StatusType;
use spotgate::sandbox::hotspot::{Hotspot, Record};
use tokio::task::JoinSet;

use crate::faults::Site;
use crate::load::{SECRET, now};
use crate::{TOKENS, tokens};

pub const KEY: &str = "a-key-for-the-soak-alone";

/// How often a report is sent until it is acknowledged, a second apart: longer than any fault lasts.
const TRIES: u32 = 120;

/// What was acknowledged, by token.
#[derive(Default)]
pub struct Told {
    seconds: BTreeMap<usize, u64>,
    sessions: u64,
    refused: u64,
    unanswered: u64,
}

#[derive(Default)]
struct Shared {
    stops: AtomicBool,
    told: Mutex<Told>,
    /// Of logins since the latest look, in milliseconds.
    latencies: Mutex<Vec<f64>>,
}

/// All of them.
pub struct Guests {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.stops.load(Ordering::Relaxed)
    }

    fn told(&self, change: impl FnOnce(&mut Told)) {
        change(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// One guest: a session after another, of another code and device each time, until all end.
async fn guest(shared: Arc<Shared>, hotspot: Arc<Hotspot>, number: usize, of: usize) {
    for turn in 0usize.. {
        if !shared.goes_on() {
            return;
        }
        let token = (number + turn * of) % TOKENS;
        let (code, device) = (tokens::code(token), tokens::mac(number + of * (turn % 3)));
        let begun = now();
        let admitted = hotspot.login_pap(&code, &code, device).await;
        shared.latencies.lock().unwrap_or_else(PoisonError::into_inner).push(begun.elapsed().as_secs_f64() * 1e3);
        let admitted = match admitted {
            Ok(answer) if answer.accept => answer,
            Ok(_) => {
                shared.told(|told| told.refused += 1);
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            Err(_) => {
                shared.told(|told| told.unanswered += 1);
                continue;
            }
        };
        let (online, name) = (now(), admitted.session_id.unwrap_or_default());
        let report = async |status: StatusType| {
            let seconds = u32::try_from(online.elapsed().as_secs()).unwrap_or(u32::MAX);
            let start = Record::start(&code, device, &name, tokens::wall());
            let record = Record { status, class: admitted.class.as_deref(), seconds, ..start };
            hotspot.account(&record).await.is_ok().then_some(seconds)
        };
        let _ = report(StatusType::Start).await;
        for _ in 0..1 + (number + turn) % 4 {
            tokio::time::sleep(Duration::from_millis(2000 + 37 * (number as u64 % 40))).await;
            let _ = report(StatusType::InterimUpdate).await;
        }
        match report(StatusType::Stop).await {
            Some(seconds) => shared.told(|told| {
                *told.seconds.entry(token).or_default() += u64::from(seconds);
                told.sessions += 1;
            }),
            None => shared.told(|told| told.unanswered += 1),
        }
    }
}

/// Who mistypes a code each second, at a device of his own.
async fn mistypes(shared: Arc<Shared>, hotspot: Arc<Hotspot>) {
    for turn in 0usize.. {
        if !shared.goes_on() {
            return;
        }
        let _ = hotspot.login_pap(&format!("nobody-{turn:06}"), "", tokens::mac(0x80_0000 + turn % 5000)).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Who asks for pages, and programs that ask the API.
async fn asks(shared: Arc<Shared>, http: String, metrics: String) {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().expect("a client");
    let login = "/login?mac=3C:06:30:7F:00:01&ip=192.168.88.9&link-login=http://login.example.net/login";
    for turn in 0usize.. {
        if !shared.goes_on() {
            return;
        }
        let question = json!({"access_code": tokens::code(turn % TOKENS), "mac": "3C:06:30:7F:00:02", "dry_run": true});
        let request = match turn % 5 {
            0 => client.get(format!("{http}{login}")),
            1 => client.post(format!("{http}/v1/authorize")).bearer_auth(KEY).json(&question),
            2 => client.get(format!("{http}/readyz")),
            3 => client.get(format!("{http}/v1/sessions")).bearer_auth(KEY),
            _ => client.get(format!("{metrics}/metrics")),
        };
        if let Ok(response) = request.send().await {
            let _ = response.bytes().await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

impl Guests {
    pub fn start(site: &Site, count: usize) -> Self {
        let hotspot = || {
            let hotspot = Hotspot::new(site.auth, SECRET.as_bytes(), "front-desk").accounting_at(site.accounting);
            Arc::new(hotspot.patience(Duration::from_secs(1), TRIES))
        };
        let (shared, mut tasks) = (Arc::new(Shared::default()), JoinSet::new());
        // Identifiers are eight bits of a router's socket: each asks from one of its own.
        for number in 0..count {
            tasks.spawn(guest(Arc::clone(&shared), hotspot(), number, count));
        }
        tasks.spawn(mistypes(Arc::clone(&shared), hotspot()));
        let (http, metrics) = (format!("http://{}", site.http), format!("http://{}", site.metrics));
        tasks.spawn(asks(Arc::clone(&shared), http, metrics));
        Self { shared, tasks }
    }

    /// Latencies since this was asked last.
    pub fn take_latencies(&self) -> Vec<f64> {
        std::mem::take(&mut self.shared.latencies.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets all end what they do.
    pub async fn end(mut self) -> Told {
        self.shared.stops.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no panic");
        }
        std::mem::take(&mut self.shared.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Told {
    /// Whether the daemon counts what was acknowledged, and no more.
    pub async fn balances(&self, site: &Site) -> bool {
        let client = reqwest::Client::new();
        let (mut counted, mut missing, mut beyond) = (0, 0, 0);
        for token in 0..TOKENS {
            let url = format!("http://{}/v1/tokens/{}", site.http, tokens::code(token));
            let answer = client.get(url).bearer_auth(KEY).send().await.expect("an answer");
            let answer: Value = answer.json().await.expect("JSON");
            let used = answer["usage_seconds"].as_u64().unwrap_or_default();
            let told = self.seconds.get(&token).copied().unwrap_or_default();
            counted += used;
            missing += told.saturating_sub(used);
            beyond += used.saturating_sub(told);
        }
        println!(
            "  {} sessions ended, {} logins refused, {} requests never answered; {counted} s counted, {missing} s acknowledged \
             and not counted, {beyond} s counted that no acknowledged Stop told of",
            self.sessions, self.refused, self.unanswered
        );
        missing == 0 && (beyond == 0 || self.unanswered > 0)
    }
}
