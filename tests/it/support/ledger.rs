//! Ledgers between two starts of the daemon, and what is in them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use spotgate::clock::Clock;
use spotgate::radius::attribute::StatusType;
use spotgate::radius::auth::session_of;
use spotgate::sandbox::hotspot::{Answer, Record};
use tempfile::TempDir;

use super::{FILE_SOURCE, KEY, Spotgate, client, configuration, mac, printed, record, run, tool, with};

static CLOCK: LazyLock<Clock> = LazyLock::new(Clock::system);

/// The wall clock.
pub fn now() -> Timestamp {
    CLOCK.now().wall
}

/// The time since the tests began.
pub fn elapsed() -> Duration {
    CLOCK.now().mono
}

/// A token with room for everybody.
pub fn roomy(id: i64, code: &str) -> Value {
    with(record(id, code), json!({"MinutesIncluded": 9_000_000, "MinutesLeft": 9_000_000, "UserLimit": 100_000}))
}

/// The code of a token of many.
pub fn code(token: i64) -> String {
    format!("storm-{token}")
}

/// A folder with these tokens in it.
pub fn folder(records: &[Value]) -> Arc<TempDir> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokens.json"), Value::from(records.to_vec()).to_string()).unwrap();
    Arc::new(folder)
}

/// The daemon over what the folder holds.
pub fn start(folder: &Arc<TempDir>) -> Spotgate {
    Spotgate::start_in(Arc::clone(folder), &configuration(FILE_SOURCE, ""))
}

/// Octets are a function of the seconds, so that what is found can be told to the second.
pub const fn input(seconds: u32) -> u64 {
    seconds as u64 * 1001
}

pub const fn output(seconds: u32) -> u64 {
    seconds as u64 * 50_000_017
}

/// Logs one device in on `code`, and reports these seconds of it; the session's id.
pub async fn online(spotgate: &Spotgate, code: &str, device: u8, seconds: u32) -> (Answer, String) {
    let hotspot = spotgate.hotspot();
    let admitted = hotspot.login_pap(code, "", mac(device)).await.unwrap();
    assert!(admitted.accept, "{:?}", admitted.reply_message);
    let (id, _) = session_of(admitted.class.as_deref().unwrap()).unwrap();
    hotspot.account(&interim(&admitted, code, device, seconds)).await.unwrap();
    (admitted, id.to_string())
}

/// What is reported of one that goes on.
pub fn interim<'a>(admitted: &'a Answer, code: &'a str, device: u8, seconds: u32) -> Record<'a> {
    let start = Record::start(code, mac(device), admitted.session_id.as_deref().unwrap(), now());
    Record {
        status: StatusType::InterimUpdate,
        class: admitted.class.as_deref(),
        seconds,
        input: input(seconds),
        ..start
    }
}

/// Seconds used on a token.
pub async fn usage(spotgate: &Spotgate, code: &str) -> u64 {
    spotgate.read(&format!("/v1/tokens/{code}")).await.1["usage_seconds"].as_u64().unwrap()
}

/// The ledger.
pub fn file_of(folder: &TempDir) -> PathBuf {
    folder.path().join("state/ledger.db")
}

/// What was committed and not carried over into the file yet.
pub fn log_of(folder: &TempDir) -> PathBuf {
    folder.path().join("state/ledger.db-wal")
}

/// Whether this text is in the file.
pub fn holds(file: &Path, text: &str) -> bool {
    fs::read(file).is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

/// Debian's `sqlite3` on the ledger, as an operator uses it while the daemon runs; every row as JSON.
pub fn sqlite3(folder: &TempDir, statement: &str) -> Vec<Value> {
    let mut command = tool("sqlite3");
    let command = command.args(["-json", "-cmd", ".timeout 5000"]).arg(folder.path().join("state/ledger.db"));
    let output = run(command.arg(statement));
    assert!(output.status.success() && output.stderr.is_empty(), "{}", printed(&output));
    let rows: &[u8] = if output.stdout.is_empty() { b"[]" } else { &output.stdout };
    serde_json::from_slice(rows).unwrap()
}

/// What the daemon says, asked over one connection.
pub struct Reader<'s>(&'s Spotgate, reqwest::Client);

impl<'s> Reader<'s> {
    pub fn of(spotgate: &'s Spotgate) -> Self {
        Self(spotgate, client())
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        let response = self.1.get(format!("http://{}{path}", self.0.http)).bearer_auth(KEY).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub async fn live(&self) -> HashMap<String, Value> {
        let (_, mut answer) = self.get("/v1/sessions").await;
        let sessions = answer["sessions"].as_array_mut().unwrap().drain(..);
        sessions.map(|session| (session["session"].as_str().unwrap().to_owned(), session)).collect()
    }
}

/// Numbers that look random and come again with the same seed.
pub struct Dice(u64);

impl Dice {
    /// A seed of chance, or the one that `SPOTGATE_TEST_SEED` names; said, so that a failure can be had again.
    pub fn new() -> Self {
        let mut chance = [0; 8];
        getrandom::fill(&mut chance).unwrap();
        let named = std::env::var("SPOTGATE_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
        let seed = named.unwrap_or(u64::from_le_bytes(chance)) | 1;
        println!("SPOTGATE_TEST_SEED={seed}");
        Self(seed)
    }

    /// A number from nought to before `end`.
    pub fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from((self.0 >> 16) % u64::from(end)).unwrap()
    }

    /// Other dice.
    pub fn another(&mut self) -> Self {
        Self(u64::from(self.below(u32::MAX)) << 16 | 1)
    }
}
