//! Guests come, are counted and go while daemons and their database are killed: what routers heard acknowledged is in the
//! database in the end, and counts once.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use spotgate::core::ident::Mac;
use spotgate::radius::attribute::StatusType;
use spotgate::radius::auth::session_of;
use spotgate::sandbox::hotspot::{Answer, Hotspot, Password, Record};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};

use super::{folder, is_away, settings};
use crate::support::ledger::{Dice, code, elapsed, input, now, output, roomy};
use crate::support::postgres::Postgres;
use crate::support::{SECRET, Spotgate, printed, run, tool};

pub(super) const TOKENS: u32 = 20;

const GUESTS: u32 = 60;

const FAULTS: u32 = 10;

/// Records that are acknowledged between one fault and the next.
const BETWEEN: u64 = 150;

/// Daemons that a router asks, one after another, before it gives a record up.
const ASKED: u32 = 12;

/// A session as its router knows it, with what it said and what of it was acknowledged.
pub(super) struct Seen {
    id: String,
    token: i64,
    mac: Mac,
    nas_session: String,
    class: Vec<u8>,
    sent: u32,
    acknowledged: u32,
    stop_sent: bool,
    stop_acknowledged: bool,
    /// Its device has logged in again, or tried to.
    followed: bool,
}

/// The routers of a space: they have every daemon in their list.
pub(super) struct Routers {
    hotspot: Hotspot,
    /// Where daemons listen for logins and for accounting; one that is down, where it did.
    daemons: Mutex<[(SocketAddr, SocketAddr); 3]>,
    acknowledged: watch::Sender<u64>,
    pub(super) ended: AtomicBool,
    refused: Mutex<Vec<String>>,
}

impl Routers {
    /// Routers that ask these; one daemon may stand in it twice.
    pub(super) fn of(daemons: [&Spotgate; 3]) -> Arc<Self> {
        let listens = daemons.map(|daemon| (daemon.auth, daemon.accounting));
        let hotspot = Hotspot::new(listens[0].0, SECRET.as_bytes(), "front-desk");
        Arc::new(Self {
            hotspot: hotspot.patience(Duration::from_millis(400), 2),
            daemons: Mutex::new(listens),
            acknowledged: watch::Sender::new(0),
            ended: AtomicBool::new(false),
            refused: Mutex::default(),
        })
    }

    /// The daemon that is asked as one of three listens elsewhere now.
    pub(super) fn find(&self, number: usize, daemon: &Spotgate) {
        self.daemons.lock().unwrap()[number] = (daemon.auth, daemon.accounting);
    }

    pub(super) async fn until_acknowledged(&self, more: u64) {
        let mut count = self.acknowledged.subscribe();
        let enough = *count.borrow() + more;
        let waited = tokio::time::timeout(Duration::from_secs(20), count.wait_for(|count| *count >= enough)).await;
        assert!(waited.is_ok(), "{} records are acknowledged, and no more come", *self.acknowledged.borrow());
    }

    /// Asks a daemon, and after a silence the next.
    async fn ask(&self, dice: &mut Dice, request: &[u8], accounting: bool) -> Option<Answer> {
        let first = dice.below(3);
        for turn in 0..ASKED {
            let (auth, acct) = self.daemons.lock().unwrap()[((first + turn) % 3) as usize];
            if let Ok(answer) = self.hotspot.exchange_with(if accounting { acct } else { auth }, request).await {
                return Some(answer);
            }
        }
        None
    }

    async fn login(&self, dice: &mut Dice, token: i64, mac: Mac) -> Option<Seen> {
        let request = self.hotspot.access_request(&code(token), Password::Pap(""), mac).unwrap();
        let answer = self.ask(dice, &request, false).await?;
        if !answer.accept {
            self.refused.lock().unwrap().push(answer.reply_message.unwrap_or_default());
            return None;
        }
        let class = answer.class.unwrap();
        let (id, of) = session_of(&class).unwrap();
        assert_eq!(of.0, token);
        Some(Seen {
            id: id.to_string(),
            token,
            mac,
            nas_session: answer.session_id.unwrap(),
            class,
            sent: 0,
            acknowledged: 0,
            stop_sent: false,
            stop_acknowledged: false,
            followed: false,
        })
    }

    async fn report(&self, dice: &mut Dice, seen: &mut Seen, status: StatusType, seconds: u32) {
        seen.sent = seen.sent.max(seconds);
        seen.stop_sent |= status == StatusType::Stop;
        let name = code(seen.token);
        let start = Record::start(&name, seen.mac, &seen.nas_session, now());
        let (input, output) = (input(seconds), output(seconds));
        let record = Record { status, class: Some(&seen.class), seconds, input, output, ..start };
        let request = self.hotspot.accounting_request(&record).unwrap();
        if self.ask(dice, &request, true).await.is_some() {
            seen.acknowledged = seen.acknowledged.max(seconds);
            seen.stop_acknowledged |= status == StatusType::Stop;
            self.acknowledged.send_modify(|count| *count += 1);
        }
    }

    /// A guest who comes, and comes again, until the storm is over; the last time he may stay.
    pub(super) async fn guest(self: Arc<Self>, mut dice: Dice, number: u32) -> Vec<Seen> {
        let token = i64::from(number % TOKENS) + 1;
        let mut all: Vec<Seen> = Vec::new();
        loop {
            if self.ended.load(Ordering::Relaxed) {
                break;
            }
            let mac = Mac::new([0x3C, 0x06, 0x30, 0xAA, 0, u8::try_from(number).unwrap()]);
            // Also where no answer comes, a daemon may have let him in.
            all.iter_mut().filter(|seen| seen.mac == mac).for_each(|seen| seen.followed = true);
            let Some(mut seen) = self.login(&mut dice, token, mac).await else { continue };
            self.report(&mut dice, &mut seen, StatusType::Start, 0).await;
            for _ in 0..dice.below(30) {
                if self.ended.load(Ordering::Relaxed) {
                    break;
                }
                let seconds = seen.sent + dice.below(9) + 1;
                self.report(&mut dice, &mut seen, StatusType::InterimUpdate, seconds).await;
            }
            // Some leave without a word.
            if dice.below(4) > 0 {
                let seconds = seen.sent + dice.below(9);
                self.report(&mut dice, &mut seen, StatusType::Stop, seconds).await;
            }
            all.push(seen);
        }
        all
    }
}

/// Three daemons, some of them down at times, and their database.
struct Site {
    server: Arc<Mutex<Postgres>>,
    configuration: String,
    daemons: [Option<Spotgate>; 3],
    routers: Arc<Routers>,
}

impl Site {
    async fn start(tokens: &[Value]) -> Self {
        let server = spawn_blocking(Postgres::start).await.unwrap();
        let configuration = settings(&server, "");
        let daemons = [(); 3].map(|()| Some(Spotgate::start_in(folder(tokens), &configuration)));
        let routers = Routers::of(daemons.each_ref().map(|daemon| daemon.as_ref().unwrap()));
        Self { server: Arc::new(Mutex::new(server)), configuration, daemons, routers }
    }

    fn daemons(&self) -> impl Iterator<Item = &Spotgate> {
        self.daemons.iter().flatten()
    }

    fn kill(&mut self, number: u32) -> Arc<TempDir> {
        self.daemons[number as usize].take().unwrap().kill()
    }

    async fn start_again(&mut self, number: u32, folder: Arc<TempDir>) {
        let configuration = self.configuration.clone();
        let daemon = spawn_blocking(move || Spotgate::start_in(folder, &configuration)).await.unwrap();
        self.routers.find(number as usize, &daemon);
        self.daemons[number as usize] = Some(daemon);
    }

    /// One thing goes, or two, and comes back.
    async fn suffer(&mut self, dice: &mut Dice) {
        let (kind, number, meanwhile) = (dice.below(4), dice.below(3), u64::from(dice.below(60)));
        println!("at {:?}: fault {kind}, daemon {number}, {meanwhile} records meanwhile", elapsed());
        let server = Arc::clone(&self.server);
        let back = move || spawn_blocking(move || server.lock().unwrap().run());
        match kind {
            0 => {
                let folder = self.kill(number);
                self.routers.until_acknowledged(meanwhile).await;
                self.start_again(number, folder).await;
            }
            1 => {
                self.server.lock().unwrap().kill();
                self.routers.until_acknowledged(meanwhile).await;
                back().await.unwrap();
            }
            2 => {
                // The daemon has kept something by then, and begins anew before the database does.
                self.server.lock().unwrap().kill();
                self.routers.until_acknowledged(meanwhile).await;
                let folder = self.kill(number);
                let back = back();
                self.start_again(number, folder).await;
                back.await.unwrap();
            }
            _ => {
                let folder = self.kill(number);
                self.server.lock().unwrap().kill();
                self.routers.until_acknowledged(meanwhile).await;
                back().await.unwrap();
                self.start_again(number, folder).await;
            }
        }
    }

    /// Waits until every daemon has handed on what it kept, and all know the same.
    async fn settle(&self) {
        for daemon in self.daemons() {
            daemon.until("the database is back", async || !is_away(daemon).await).await;
            daemon.until("nothing is kept here any more", async || kept(&daemon.folder) == 0).await;
        }
        let [first, second, third] = self.daemons.each_ref().map(|daemon| daemon.as_ref().unwrap());
        for other in [second, third] {
            let mut last = Vec::new();
            let deadline = elapsed() + Duration::from_secs(15);
            loop {
                let (here, there) = (live(first).await, live(other).await);
                if here == there {
                    break;
                }
                let differ = here
                    .iter()
                    .filter(|one| !there.contains(one))
                    .chain(there.iter().filter(|one| !here.contains(one)));
                last.clear();
                last.extend(differ.cloned());
                assert!(elapsed() < deadline, "two daemons do not know the same: {last:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Events that the daemon of this folder keeps for the database.
pub(super) fn kept(folder: &TempDir) -> u64 {
    let mut command = tool("sqlite3");
    command.args(["-cmd", ".timeout 5000"]).arg(folder.path().join("state/outbox/ledger.db"));
    let output = run(command.arg("SELECT count(*) FROM journal"));
    assert!(output.status.success() && output.stderr.is_empty(), "{}", printed(&output));
    printed(&output).trim().parse().unwrap()
}

/// What a daemon lists, but for what runs with its clock.
pub(super) async fn live(spotgate: &Spotgate) -> Vec<String> {
    let (status, listed) = spotgate.read("/v1/sessions").await;
    assert_eq!(status, 200, "{listed}");
    let shown = |session: &Value| {
        ["session", "token_id", "state", "input_octets", "started_at"].map(|field| session[field].to_string()).join(" ")
    };
    let mut live: Vec<String> = listed["sessions"].as_array().unwrap().iter().map(shown).collect();
    live.sort_unstable();
    live
}

/// A session as the database has it.
pub(super) struct Found {
    token: i64,
    mac: String,
    pub(super) is_over: bool,
    pub(super) is_stopped: bool,
    pub(super) seconds: u64,
    octets: u64,
}

/// All that the database has, sessions by name; and in what it does not agree with itself.
pub(super) fn found(server: &Postgres) -> (HashMap<String, Found>, Vec<String>) {
    let rows = |statement: &str| -> Vec<Value> {
        serde_json::from_str(&server.ask(&format!("SELECT coalesce(json_agg(r), '[]') FROM ({statement}) r"))).unwrap()
    };
    let (mut all, mut wrong) = (HashMap::new(), Vec::new());
    let mut over: BTreeMap<i64, u64> = BTreeMap::new();
    let mut counted: HashMap<String, u64> = HashMap::new();
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    for row in rows("SELECT session, token, payload FROM spotgate_session") {
        let (name, token) = (row["session"].as_str().unwrap().to_owned(), row["token"].as_i64().unwrap());
        let (payload, session) = (&row["payload"], &row["payload"]["session"]);
        assert_eq!(session["session"], row["session"]);
        let seconds = number(&payload["counts"]);
        *over.entry(token).or_default() += seconds;
        counted.insert(name.clone(), seconds);
        let (is_stopped, octets) = (payload["stopped"] == true, number(&session["reported"]["input_octets"]));
        let mac = session["mac"].as_str().unwrap().to_owned();
        all.insert(name, Found { token, mac, is_over: true, is_stopped, seconds, octets });
    }
    for row in rows("SELECT token, state FROM spotgate_account") {
        let (token, state) = (row["token"].as_i64().unwrap(), &row["state"]);
        let usage = number(&state["usage"]);
        let sum = over.get(&token).copied().unwrap_or_default();
        if usage != sum {
            wrong.push(format!("usage of token {token} is {usage}, of its ended sessions {sum}"));
        }
        for session in state["sessions"].as_array().into_iter().flatten() {
            let reported = &session["reported"];
            let (seconds, octets) = (number(&reported["seconds"]), number(&reported["input_octets"]));
            let name = session["session"].as_str().unwrap().to_owned();
            let mac = session["mac"].as_str().unwrap().to_owned();
            let found = Found { token, mac, is_over: false, is_stopped: false, seconds, octets };
            if all.insert(name.clone(), found).is_some() {
                wrong.push(format!("{name} is in two places"));
            }
        }
        for ended in state["ended"].as_array().into_iter().flatten() {
            let name = ended["session"]["session"].as_str().unwrap();
            if counted.get(name).copied() != ended["counts"].as_u64() {
                wrong.push(format!(
                    "{name} of {token} counts {:?} by itself, and by its account {ended}",
                    counted.get(name)
                ));
            }
        }
    }
    (all, wrong)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_any_daemon_acknowledged_is_in_the_database_once_whatever_was_killed() {
    let mut dice = Dice::new();
    let tokens: Vec<Value> = (1..=i64::from(TOKENS)).map(|token| roomy(token, &code(token))).collect();
    let mut site = Site::start(&tokens).await;
    let mut guests = JoinSet::new();
    for number in 0..GUESTS {
        guests.spawn(Arc::clone(&site.routers).guest(dice.another(), number));
    }
    for _ in 0..FAULTS {
        site.routers.until_acknowledged(BETWEEN).await;
        site.suffer(&mut dice).await;
    }
    site.routers.until_acknowledged(BETWEEN).await;
    site.routers.ended.store(true, Ordering::Relaxed);
    let seen = tokio::time::timeout(Duration::from_secs(30), guests.join_all()).await.expect("guests end");
    let seen: Vec<Seen> = seen.into_iter().flatten().collect();
    site.settle().await;

    let server = Arc::clone(&site.server);
    let (all, mut wrong) = spawn_blocking(move || found(&server.lock().unwrap())).await.unwrap();
    let refused = site.routers.refused.lock().unwrap();
    println!(
        "at {:?}: {} sessions, {} records acknowledged, {} logins refused {:?}; the database has {} sessions",
        elapsed(),
        seen.len(),
        *site.routers.acknowledged.borrow(),
        refused.len(),
        refused.first(),
        all.len()
    );
    wrong.extend(differences(&seen, &all));
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), seen.len(), wrong.join("\n"));
}

/// In what the database does not agree with the routers.
pub(super) fn differences(all_seen: &[Seen], all: &HashMap<String, Found>) -> Vec<String> {
    let mut wrong = Vec::new();
    for seen in all_seen {
        let Seen { id, token, sent, acknowledged, stop_sent, stop_acknowledged, followed, .. } = seen;
        let told = format!(
            "{id} of {token}: sent {sent}, acknowledged {acknowledged}, stop {stop_sent} {stop_acknowledged}, followed {followed}"
        );
        let Some(found) = all.get(id) else {
            wrong.push(format!("lost: {told}"));
            continue;
        };
        let Found { token: of, mac, is_over, is_stopped, seconds, octets } = found;
        // A request that a second daemon was asked after the first was silent may have let its device in twice: the later goes
        // on. Names are in the order of time.
        let twice = all.iter().any(|(name, other)| name > id && other.mac == *mac && other.token == *of);
        let mut must = |holds: bool, what: &str| {
            if !holds {
                wrong.push(format!("{what}: {told}; over {is_over}, stopped {is_stopped}, {seconds} s, {octets}"));
            }
        };
        must(of == token, "of another token");
        must((u64::from(*acknowledged)..=u64::from(*sent)).contains(seconds), "counts wrongly");
        must(*octets == *seconds * 1001, "octets are not those of its seconds");
        must(!stop_acknowledged || (*is_over && *is_stopped), "it was stopped");
        must(!is_stopped || *stop_sent, "nobody stopped it");
        must(*followed || twice || *stop_sent || !is_over, "nobody ended it");
    }
    wrong
}
