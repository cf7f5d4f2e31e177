//! `kill -9` in the middle of an accounting storm: what was acknowledged is there, and nothing is counted twice.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use spotgate::core::ident::Mac;
use spotgate::radius::attribute::StatusType;
use spotgate::radius::auth::session_of;
use spotgate::sandbox::hotspot::{Hotspot, Record};

use crate::support::ledger::{Dice, Reader, code, elapsed, folder, input, now, output, roomy, start};
use crate::support::{SECRET, Spotgate, mac, record, tool, with};

/// Tokens of the storms; so many that accounts share shards, so few that sessions share accounts.
pub(crate) const TOKENS: i64 = 80;

/// Requests under way at once.
const AT_ONCE: u32 = 32;

/// A session as its router knows it, with what it said and what of it was acknowledged.
pub(crate) struct Guest {
    pub(crate) id: String,
    token: i64,
    mac: Mac,
    nas_session: String,
    class: Vec<u8>,
    pub(crate) admitted: Duration,
    /// What was sent, whether or not an answer came.
    sent: Vec<u32>,
    pub(crate) acknowledged: u32,
    pub(crate) stopped: Option<u32>,
    pub(crate) stop_acknowledged: bool,
    /// When the latest record that was acknowledged was sent.
    pub(crate) witness: Option<Duration>,
    /// Its end was looked up, and no more is to come.
    pub(crate) settled: bool,
}

impl Guest {
    pub(crate) async fn login(hotspot: &Hotspot, token: i64, number: u32) -> Option<Self> {
        let [_, a, b, c] = number.to_be_bytes();
        let mac = Mac::new([0x3C, 0x06, 0x30, a, b, c]);
        let answer = hotspot.login_pap(&code(token), "", mac).await.ok()?;
        assert!(answer.accept, "{:?}", answer.reply_message);
        let class = answer.class.unwrap();
        let (id, of) = session_of(&class).unwrap();
        assert_eq!(of.0, token);
        Some(Self {
            id: id.to_string(),
            token,
            mac,
            nas_session: answer.session_id.unwrap(),
            class,
            admitted: elapsed(),
            sent: Vec::new(),
            acknowledged: 0,
            stopped: None,
            stop_acknowledged: false,
            witness: None,
            settled: false,
        })
    }

    pub(crate) fn latest(&self) -> u32 {
        self.sent.iter().copied().max().unwrap_or_default()
    }

    /// Reports so many seconds; whether that was acknowledged.
    pub(crate) async fn report(&mut self, hotspot: &Hotspot, status: StatusType, seconds: u32) -> bool {
        let begun = elapsed();
        self.sent.push(seconds);
        if status == StatusType::Stop {
            self.stopped = Some(seconds);
        }
        let name = code(self.token);
        let start = Record::start(&name, self.mac, &self.nas_session, now());
        let (input, output) = (input(seconds), output(seconds));
        let record = Record { status, class: Some(&self.class), seconds, input, output, ..start };
        let acknowledged = hotspot.account(&record).await.is_ok();
        if acknowledged {
            self.acknowledged = self.acknowledged.max(seconds);
            self.stop_acknowledged |= status == StatusType::Stop;
            self.witness = Some(begun);
        }
        acknowledged
    }
}

/// Compares what the daemon holds with what routers said and heard; gives back the guests but for those who may be
/// lost.
pub(crate) async fn check(spotgate: &Spotgate, guests: Vec<Guest>) -> Vec<Guest> {
    let reader = Reader::of(spotgate);
    let live = reader.live().await;
    let witness = guests.iter().filter_map(|guest| guest.witness).max();
    let (mut settled, mut found) = (BTreeMap::<i64, u64>::new(), 0);
    let mut kept = Vec::new();
    for mut guest in guests {
        if let Some(stop) = guest.stopped.filter(|_| guest.settled) {
            *settled.entry(guest.token).or_default() += u64::from(stop);
            kept.push(guest);
            continue;
        }
        let Guest { id, sent, acknowledged, stopped, .. } = &guest;
        let told = format!("{id}: sent {sent:?}, acknowledged {acknowledged}, stopped {stopped:?}");
        if let Some(session) = live.get(id) {
            assert!(!guest.stop_acknowledged, "its Stop was acknowledged, and it is live: {told} {session}");
            let octets = session["input_octets"].as_u64().unwrap();
            let seconds = *sent.iter().chain(&[0]).find(|seconds| input(**seconds) == octets).expect(&told);
            assert!(seconds >= *acknowledged, "{told} {session}");
            assert_eq!(session["output_octets"], output(seconds), "{told}");
            assert!(session["seconds_used"].as_u64().unwrap() >= u64::from(*acknowledged), "{told} {session}");
            found += 1;
            kept.push(guest);
            continue;
        }
        let (status, session) = reader.get(&format!("/v1/sessions/{id}")).await;
        if status == 404 {
            // The latest admissions may be lost, with what was said of them and never acknowledged: not those before a
            // record that was.
            let late = witness.is_none_or(|witness| guest.admitted > witness);
            assert!(guest.witness.is_none() && late, "lost: {told}");
            continue;
        }
        let stop = stopped.expect(&told);
        let expected = (json!("ended"), json!(stop), json!(input(stop)), json!(output(stop)));
        let [state, used, input, output] =
            ["state", "seconds_used", "input_octets", "output_octets"].map(|field| session[field].clone());
        assert_eq!((state, used, input, output), expected, "{told}");
        *settled.entry(guest.token).or_default() += u64::from(stop);
        guest.settled = guest.stop_acknowledged;
        kept.push(guest);
    }
    println!("{} sessions, {found} of them live", kept.len());
    for token in 1..=TOKENS {
        let (_, answer) = reader.get(&format!("/v1/tokens/{}", code(token))).await;
        let running = answer["sessions"].as_array().unwrap().iter();
        let running: u64 = running.map(|session| session["seconds_used"].as_u64().unwrap()).sum();
        let usage = answer["usage_seconds"].as_u64().unwrap();
        assert_eq!(usage - running, settled.get(&token).copied().unwrap_or_default(), "token {token}, settled");
    }
    kept
}

/// What routers do all at once until the daemon is gone.
struct Storm {
    hotspot: Hotspot,
    live: Mutex<Vec<Guest>>,
    over: Mutex<Vec<Guest>>,
    ended: AtomicBool,
    acknowledged: AtomicU32,
}

impl Storm {
    /// One that is online, more often than none.
    fn some_guest(&self, dice: &mut Dice) -> Option<Guest> {
        let mut live = self.live.lock().unwrap();
        let most = u32::try_from(live.len()).unwrap();
        (most > 90 || (most > 0 && dice.below(5) > 0)).then(|| live.swap_remove(dice.below(most).try_into().unwrap()))
    }

    async fn new_guest(&self, numbers: &AtomicU32) -> Option<Guest> {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let mut guest = Guest::login(&self.hotspot, i64::from(number) % TOKENS + 1, number).await?;
        let acknowledged = guest.report(&self.hotspot, StatusType::Start, 0).await;
        self.acknowledged.fetch_add(acknowledged.into(), Ordering::Relaxed);
        Some(guest)
    }

    async fn blow(self: Arc<Self>, mut dice: Dice, numbers: Arc<AtomicU32>) {
        while !self.ended.load(Ordering::Relaxed) {
            let guest = match self.some_guest(&mut dice) {
                Some(guest) => Some(guest),
                None => self.new_guest(&numbers).await,
            };
            let Some(mut guest) = guest else { continue };
            for _ in 0..=dice.below(4) {
                if self.ended.load(Ordering::Relaxed) {
                    break;
                }
                // Late ones, too, which change nothing.
                let seconds = guest.latest() + dice.below(9) + 1;
                let seconds = if dice.below(8) == 0 { seconds / 2 } else { seconds };
                if guest.report(&self.hotspot, StatusType::InterimUpdate, seconds).await {
                    self.acknowledged.fetch_add(1, Ordering::Relaxed);
                }
            }
            if dice.below(4) == 0 {
                let seconds = guest.latest() + dice.below(9);
                guest.report(&self.hotspot, StatusType::Stop, seconds).await;
                self.over.lock().unwrap().push(guest);
            } else {
                self.live.lock().unwrap().push(guest);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_survives_kill_9_in_a_storm_and_counts_once() {
    const ROUNDS: u32 = 10;
    let mut dice = Dice::new();
    let tokens: Vec<Value> = (1..=TOKENS).map(|token| roomy(token, &code(token))).collect();
    let folder = folder(&tokens);
    let numbers = Arc::new(AtomicU32::new(1));
    let mut guests: Vec<Guest> = Vec::new();
    let mut acknowledged = 0;
    for round in 1..=ROUNDS {
        let spotgate = start(&folder);
        guests = check(&spotgate, guests).await;
        let (over, live): (Vec<_>, Vec<_>) = guests.into_iter().partition(|guest| guest.stopped.is_some());
        // It repeats itself while a commit is under way, from the same port.
        let hotspot = spotgate.hotspot().patience(Duration::from_millis(60), 4);
        let storm = Arc::new(Storm {
            hotspot,
            live: Mutex::new(live),
            over: Mutex::new(over),
            ended: AtomicBool::new(false),
            acknowledged: AtomicU32::new(0),
        });
        let mut routers = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            let dice = dice.another();
            routers.spawn(Arc::clone(&storm).blow(dice, Arc::clone(&numbers)));
        }
        // Every third round long enough that a snapshot falls into it.
        let least = if round % 3 == 0 { 1100 } else { 50 };
        tokio::time::sleep(Duration::from_millis(u64::from(least + dice.below(500)))).await;
        if round == ROUNDS {
            // This once it is told to stop, and has the time.
            spotgate.stop();
        } else {
            spotgate.kill();
        }
        storm.ended.store(true, Ordering::Relaxed);
        while let Some(router) = routers.join_next().await {
            router.unwrap();
        }
        let Ok(storm) = Arc::try_unwrap(storm) else { panic!("every router is done") };
        acknowledged += storm.acknowledged.into_inner();
        guests = storm.live.into_inner().unwrap();
        guests.append(&mut storm.over.into_inner().unwrap());
    }
    println!("{acknowledged} records acknowledged");
    assert!(acknowledged > 500, "{acknowledged} records are no storm");

    // At last every router reports the end, again where it did so already.
    let spotgate = start(&folder);
    guests = check(&spotgate, guests).await;
    let hotspot = Arc::new(spotgate.hotspot().patience(Duration::from_secs(2), 5));
    let mut routers = tokio::task::JoinSet::new();
    let share = guests.len().div_ceil(AT_ONCE.try_into().unwrap());
    while !guests.is_empty() {
        let (mut some, hotspot) = (guests.split_off(guests.len().saturating_sub(share)), Arc::clone(&hotspot));
        routers.spawn(async move {
            for guest in &mut some {
                let seconds = guest.stopped.unwrap_or_else(|| guest.latest());
                assert!(guest.report(&hotspot, StatusType::Stop, seconds).await);
                guest.settled = false;
            }
            some
        });
    }
    let guests: Vec<Guest> = routers.join_all().await.into_iter().flatten().collect();
    let mut guests = check(&spotgate, guests).await;
    guests.iter_mut().for_each(|guest| guest.settled = false);
    let all = guests.len();
    let spotgate = start(&spotgate.kill());
    assert_eq!(check(&spotgate, guests).await.len(), all);
    // Of a login whose answer was lost nobody reported anything.
    let live = Reader::of(&spotgate).live().await;
    assert!(live.values().all(|session| session["state"] == "admitted"), "{live:?}");
}

/// A record as `radclient` reads it.
fn lines(guest: &Guest, status: &str, seconds: u32) -> String {
    let class: String = guest.class.iter().map(|octet| format!("{octet:02x}")).collect();
    let octets = |name: &str, octets: u64| {
        format!("Acct-{name}-Octets = {}\nAcct-{name}-Gigawords = {}\n", octets & 0xFFFF_FFFF, octets >> 32)
    };
    format!(
        "Acct-Status-Type = {status}\nCalling-Station-Id = \"{}\"\nUser-Name = \"{}\"\nAcct-Session-Id = \"{}\"\n\
         Class = 0x{class}\nAcct-Session-Time = {seconds}\n{}{}NAS-Identifier = \"front-desk\"\n\n",
        guest.mac,
        code(guest.token),
        guest.nas_session,
        octets("Input", input(seconds)),
        octets("Output", output(seconds)),
    )
}

#[tokio::test]
async fn what_radclient_heard_acknowledged_survives_kill_9() {
    const ROUNDS: u32 = 4;
    const GUESTS: usize = 40;
    let mut dice = Dice::new();
    let tokens: Vec<Value> = (1..=TOKENS).map(|token| roomy(token, &code(token))).collect();
    let folder = folder(&tokens);
    let mut guests: Vec<Guest> = Vec::new();
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let spotgate = start(&folder);
        guests = check(&spotgate, guests).await;
        let hotspot = spotgate.hotspot();
        let first = guests.len();
        for number in 0..GUESTS {
            let number = u32::try_from(first + number).unwrap();
            guests.push(Guest::login(&hotspot, i64::from(number) % TOKENS + 1, number).await.unwrap());
        }
        // Record by record: whose, what, how many seconds.
        let mut records = Vec::new();
        for step in 1..=20 {
            for (position, guest) in guests.iter_mut().enumerate().filter(|(_, guest)| guest.stopped.is_none()) {
                let seconds = guest.latest() + dice.below(60) + 1;
                let stops = step == 20 && position % 2 == 0;
                guest.sent.push(seconds);
                records.push((
                    position,
                    stops,
                    seconds,
                    lines(guest, if stops { "Stop" } else { "Interim-Update" }, seconds),
                ));
            }
        }
        for (position, stops, seconds, _) in &records {
            if *stops {
                guests[*position].stopped = Some(*seconds);
            }
        }
        let file = folder.path().join(format!("records-{round}"));
        fs::write(&file, records.iter().map(|(.., lines)| lines.as_str()).collect::<String>()).unwrap();
        let mut command = tool("stdbuf");
        command.args(["-oL", "radclient", "-x", "-F", "-p", "32", "-r", "2", "-t", "0.3", "-f"]).arg(&file);
        command.args([&spotgate.accounting.to_string(), "acct", SECRET]);
        let (said, sending) = (folder.path().join(format!("said-{round}")), elapsed());
        let mut radclient = command
            .stdin(Stdio::null())
            .stdout(fs::File::create(&said).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Some of the file, and in the last round all of it.
        let moment = Duration::from_millis(u64::from(80 + dice.below(400)));
        let until = elapsed() + if round == ROUNDS - 1 { Duration::from_secs(20) } else { moment };
        while elapsed() < until && radclient.try_wait().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        spotgate.kill();
        let _ = radclient.kill();
        radclient.wait().unwrap();
        let heard = fs::read_to_string(&said).unwrap();
        // Counted from nought: "(17) records response code 5"
        for line in heard.lines().filter(|line| line.ends_with(" response code 5")) {
            let number: usize = line.trim_start_matches('(').split(')').next().unwrap().parse().unwrap();
            let (position, stops, seconds, _) = &records[number];
            let guest = &mut guests[*position];
            guest.acknowledged = guest.acknowledged.max(*seconds);
            guest.stop_acknowledged |= stops;
            guest.witness = Some(sending);
            acknowledged += 1;
        }
        if round == ROUNDS - 1 {
            assert!(guests[first..].iter().all(|guest| guest.acknowledged > 0), "radclient heard all of it");
        }
    }
    println!("radclient heard {acknowledged} records acknowledged");
    let spotgate = start(&folder);
    check(&spotgate, guests).await;
}

/// As many rounds as four seconds hold; `SPOTGATE_RACES=1000 cargo test --test it -- of_fifty_logins` runs just as many as it
/// says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_logins_for_the_last_place_exactly_one_gets_it() {
    let named: Option<i64> = std::env::var("SPOTGATE_RACES").ok().map(|races| races.parse().unwrap());
    let (within, most) = named.map_or((Duration::from_secs(4), 400), |races| (Duration::MAX, races));
    let tokens: Vec<Value> =
        (1..=most).map(|token| with(record(token, &code(token)), json!({"UserLimit": 1}))).collect();
    let spotgate = Spotgate::over_file(&tokens);
    let hotspot = Arc::new(spotgate.hotspot().patience(Duration::from_secs(2), 4));
    let begun = elapsed();
    let mut rounds = 0;
    for token in 1..=most {
        if elapsed() - begun > within {
            break;
        }
        let mut racing = tokio::task::JoinSet::new();
        let start = Arc::new(tokio::sync::Barrier::new(50));
        for device in 1..=50 {
            let (hotspot, start) = (Arc::clone(&hotspot), Arc::clone(&start));
            racing.spawn(async move {
                start.wait().await;
                hotspot.login_pap(&code(token), "", mac(device)).await.unwrap().accept
            });
        }
        let won = racing.join_all().await.into_iter().filter(|accepted| *accepted).count();
        assert_eq!(won, 1, "token {token}");
        rounds += 1;
    }
    println!("{rounds} rounds in {:?}", elapsed() - begun);
    assert!(rounds >= 20 || named.is_some(), "{rounds} rounds");
    let live = Reader::of(&spotgate).live().await;
    assert_eq!(live.len(), rounds);
}
