//! One of three daemons is cut off from the database by a network that loses what it should pass on, without a word to either
//! side; the others are not.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use spotgate::clock::Clock;
use spotgate::core::ident::Mac;
use spotgate::radius::attribute::StatusType;
use spotgate::radius::auth::session_of;
use spotgate::sandbox::hotspot::{Answer, Record};
use spotgate::sandbox::nexudus::{Options, Sandbox};
use tokio::net::TcpListener;

use super::storm::{found, kept, live};
use super::{folder, hotspot, is_away, lists, of};
use crate::nexudus::source;
use crate::support::ledger::{elapsed, roomy};
use crate::support::places::Places;
use crate::support::postgres::Postgres;
use crate::support::{FILE_SOURCE, Spotgate, configuration, mac, record, with};

/// Where the database is.
const DATABASE: &str = "192.0.2.1";

/// Where the office is, as the branch sees it.
const OFFICE: &str = "198.51.100.1";

/// Where the daemon is that is cut off.
const BRANCH: &str = "198.51.100.2";

/// How soon a daemon must say that it is cut off: it looks every five seconds, and waits for two.
const SAID_WITHIN: Duration = Duration::from_secs(10);

/// What the network loses of what the branch and the database say to each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lost {
    Everything,
    /// What the branch says arrives, and it does not know.
    Answers,
}

/// The test, and two daemons, are at the office; it passes on what the branch and the database say to each other.
struct Site<'p> {
    branch: Spotgate,
    others: [Spotgate; 2],
    server: Postgres,
    places: &'p Places,
}

fn at_the_office(test: impl AsyncFnOnce(&Places) + Send) {
    let places = Places::new(&["office", "branch", "database"]);
    for (device, place, here, there) in
        [("lan", "branch", OFFICE, BRANCH), ("dmz", "database", "192.0.2.254", DATABASE)]
    {
        places.wire(("office", device), (place, "uplink"));
        places.address("office", device, &format!("{here}/24"));
        places.address(place, "uplink", &format!("{there}/24"));
        places.gateway(place, here);
    }
    places.forwards("office");
    places.inside("office", || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(test(&places));
    });
}

impl<'p> Site<'p> {
    /// Starts the database, and the daemons one after another, that of the branch first.
    async fn start(places: &'p Places, source: &str, tokens: &[Value], extra: &str) -> Self {
        let server = Postgres::start_at(places, "database", DATABASE);
        let store = format!("[store]\nkind = \"postgres\"\nurl = \"{}\"\n", server.url());
        let here = configuration(source, extra).replace("[store]\n", &store);
        let there = here
            .replace("address = \"127.0.0.1\"", &format!("address = \"{OFFICE}\""))
            .replace("\"127.0.0.1:0\"", &format!("\"{BRANCH}:0\""));
        let command = places.command("branch", env!("CARGO_BIN_EXE_spotgate"));
        let branch = Spotgate::start_by(command, folder(tokens), &there);
        branch.until("it leads", async || said_at(&branch, "writes minutes upstream for all").is_some()).await;
        let others = [(); 2].map(|()| Spotgate::start_in(folder(tokens), &here));
        Self { branch, others, server, places }
    }

    fn all(&self) -> [&Spotgate; 3] {
        [&self.branch, &self.others[0], &self.others[1]]
    }

    fn cut(&self, lost: Lost) {
        self.places.loses("office", DATABASE, BRANCH, true);
        if lost == Lost::Everything {
            self.places.loses("office", BRANCH, DATABASE, true);
        }
    }

    fn heal(&self, lost: Lost) {
        self.places.loses("office", DATABASE, BRANCH, false);
        if lost == Lost::Everything {
            self.places.loses("office", BRANCH, DATABASE, false);
        }
    }

    async fn until_all_list(&self, count: usize) {
        for daemon in self.all() {
            daemon.until("all sessions are known", async || live(daemon).await.len() == count).await;
        }
    }

    /// Waits until the branch has handed on what it kept, and all know the same.
    async fn until_healed(&self) {
        let Self { branch, others, .. } = self;
        let begun = elapsed();
        branch.until("the database is back", async || !is_away(branch).await).await;
        println!("back after {:?}", elapsed() - begun);
        branch.until("nothing is kept here any more", async || kept(&branch.folder) == 0).await;
        println!("handed on after {:?}", elapsed() - begun);
        for other in others {
            other.until("both know the same", async || live(branch).await == live(other).await).await;
        }
        println!("the same everywhere after {:?}", elapsed() - begun);
        assert_eq!(
            (branch.metric("spotgate_store_away").await, branch.metric("spotgate_store_owed").await),
            (0.0, 0.0)
        );
    }

    /// Neither of the others has noticed anything.
    async fn others_go_on(&self) {
        for other in &self.others {
            assert!(!other.log().contains("the database is away"), "{}", other.log());
            assert_eq!(other.metric("spotgate_store_away").await, 0.0);
        }
    }
}

/// When a daemon first logged this.
fn said_at(daemon: &Spotgate, words: &str) -> Option<Timestamp> {
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains(words))?;
    serde_json::from_str::<Value>(line).unwrap()["timestamp"].as_str().unwrap().parse().ok()
}

/// A guest who was let in.
struct Guest {
    code: &'static str,
    mac: Mac,
    admitted: Answer,
}

impl Guest {
    async fn comes(daemon: &Spotgate, code: &'static str, device: u8) -> Self {
        let admitted = hotspot(daemon).login_pap(code, "", mac(device)).await.unwrap();
        assert!(admitted.accept, "{code}: {admitted:?}");
        Self { code, mac: mac(device), admitted }
    }

    /// The router reports so many seconds, and is patient until that is acknowledged.
    async fn is_reported(&self, daemon: &Spotgate, status: StatusType, seconds: u32) {
        let record = Record { status, seconds, ..of(self.code, self.mac, &self.admitted) };
        hotspot(daemon).account(&record).await.unwrap();
    }

    fn session(&self) -> String {
        session_of(self.admitted.class.as_deref().unwrap()).unwrap().0.to_string()
    }

    async fn is_listed(&self, daemon: &Spotgate) -> bool {
        live(daemon).await.iter().any(|listed| listed.contains(&self.session()))
    }
}

async fn a_daemon_is_cut_off(places: &Places, lost: Lost) {
    use StatusType::{InterimUpdate, Start, Stop};
    let tokens = [
        roomy(1, "roomy"),
        with(record(2, "single"), json!({"UserLimit": 1, "MinutesLeft": 600})),
        roomy(3, "reported-there"),
        roomy(4, "reported-here"),
    ];
    let site = Site::start(places, FILE_SOURCE, &tokens, "[policy]\ngrant_timeout = \"8s\"").await;
    let Site { branch, others: [second, third], server, .. } = &site;
    let ours = Guest::comes(branch, "roomy", 1).await;
    ours.is_reported(branch, Start, 0).await;
    let theirs = Guest::comes(second, "roomy", 2).await;
    theirs.is_reported(second, Start, 0).await;
    site.until_all_list(2).await;
    // What their routers report first, each daemon of the other side does not hear.
    let not_heard_here = Guest::comes(branch, "reported-there", 3).await;
    let not_heard_there = Guest::comes(second, "reported-here", 4).await;
    site.until_all_list(4).await;

    site.cut(lost);
    let cut = elapsed();
    ours.is_reported(branch, InterimUpdate, 600).await;
    println!("acknowledged {:?} after the cut", elapsed() - cut);
    branch.until("it says so", async || is_away(branch).await).await;
    println!("said {:?} after the cut", elapsed() - cut);
    assert!(elapsed() - cut < SAID_WITHIN, "{}", branch.log());
    assert_eq!(branch.metric("spotgate_store_away").await, 1.0);
    assert_eq!(branch.get("/readyz").await.0, 200);
    not_heard_here.is_reported(second, InterimUpdate, 60).await;
    not_heard_there.is_reported(branch, InterimUpdate, 300).await;
    theirs.is_reported(third, InterimUpdate, 700).await;

    let gone = Guest::comes(branch, "roomy", 5).await;
    assert!(gone.admitted.session_timeout.unwrap() <= 3600, "{:?}", gone.admitted);
    gone.is_reported(branch, Stop, 900).await;
    let alone = Guest::comes(branch, "single", 6).await;
    alone.is_reported(branch, InterimUpdate, 30).await;
    let full = hotspot(branch).login_pap("single", "", mac(7)).await.unwrap();
    assert!(!full.accept, "its only place is given away: {full:?}");
    let welcome = Guest::comes(third, "roomy", 8).await;
    assert!(welcome.admitted.session_timeout.unwrap() > 3600, "{:?}", welcome.admitted);
    welcome.is_reported(second, Start, 0).await;

    branch.until("silence ends it here", async || !not_heard_here.is_listed(branch).await).await;
    second.until("silence ends it there", async || !not_heard_there.is_listed(second).await).await;
    println!("silence has ended both {:?} after the cut", elapsed() - cut);
    assert!(not_heard_here.is_listed(second).await && not_heard_here.is_listed(third).await);
    assert!(not_heard_there.is_listed(branch).await);
    site.others_go_on().await;

    site.heal(lost);
    site.until_healed().await;
    for guest in [&ours, &theirs, &not_heard_here, &alone, &welcome] {
        assert!(guest.is_listed(third).await, "{} is ended:\n{:?}", guest.code, live(third).await);
    }
    let (all, wrong) = found(server);
    assert!(wrong.is_empty() && all.len() == 7, "{} sessions: {wrong:?}", all.len());
    for (guest, is_over, is_stopped, seconds) in [
        (&ours, false, false, 600),
        (&theirs, false, false, 700),
        (&not_heard_here, false, false, 60),
        (&alone, false, false, 30),
        (&gone, true, true, 900),
        // It was said before the others gave it up: it counts, and the next report says that it goes on.
        (&not_heard_there, true, false, 300),
    ] {
        let found = &all[&guest.session()];
        assert_eq!((found.is_over, found.is_stopped, found.seconds), (is_over, is_stopped, seconds), "{}", guest.code);
    }
    not_heard_there.is_reported(branch, InterimUpdate, 350).await;
    third.until("it goes on", async || not_heard_there.is_listed(third).await).await;

    // What was handed on once is not counted again when they end.
    let stops = [(&ours, 1000), (&theirs, 1000), (&welcome, 1000), (&not_heard_here, 50), (&not_heard_there, 400)];
    for (guest, seconds) in stops {
        guest.is_reported(branch, Stop, seconds).await;
    }
    let usage = "SELECT string_agg(state->>'usage', ' ' ORDER BY token) FROM spotgate_account";
    assert_eq!(server.ask(usage), "3900 0 60 400");
    site.others_go_on().await;
}

#[test]
fn what_a_daemon_that_is_cut_off_acknowledged_is_in_the_database_once() {
    at_the_office(async |places| a_daemon_is_cut_off(places, Lost::Everything).await);
}

#[test]
fn what_arrived_though_no_answer_came_back_is_in_the_database_once() {
    at_the_office(async |places| a_daemon_is_cut_off(places, Lost::Answers).await);
}

#[test]
fn a_daemon_that_nobody_asks_says_that_it_is_cut_off_too() {
    at_the_office(async |places| {
        let site = Site::start(places, FILE_SOURCE, &[record(1, "abc-123")], "").await;
        site.cut(Lost::Everything);
        let cut = elapsed();
        site.branch.until("it says so", async || is_away(&site.branch).await).await;
        println!("said {:?} after the cut", elapsed() - cut);
        assert!(elapsed() - cut < SAID_WITHIN, "{}", site.branch.log());
        site.others_go_on().await;
        site.heal(Lost::Everything);
        site.until_healed().await;
    });
}

#[test]
fn another_daemon_leads_once_the_one_that_did_is_cut_off() {
    at_the_office(async |places| {
        let listener = TcpListener::bind((OFFICE, 0)).await.unwrap();
        let tokens = vec![record(1, "abc-123"), record(2, "def-456")];
        let sandbox = Sandbox::start(listener, Options { tokens, ..Options::default() }, Clock::system()).unwrap();
        let often = "mirror_interval = \"1s\"\nrequests_per_minute = 100000\nwrite_back = true";
        let site = Site::start(places, &source(&sandbox, often), &[], "disconnect_port = 0").await;
        let Site { branch, others, .. } = &site;
        for daemon in site.all() {
            daemon.until("mirrored", async || daemon.metric("spotgate_tokens").await == 2.0).await;
        }
        let here = Guest::comes(branch, "abc-123", 1).await;
        let there = Guest::comes(&others[0], "def-456", 2).await;
        site.until_all_list(2).await;

        site.cut(Lost::Everything);
        let cut = elapsed();
        // Both are acknowledged; only one of them can be written before the other leads.
        here.is_reported(branch, StatusType::Stop, 600).await;
        there.is_reported(&others[0], StatusType::Stop, 1200).await;
        let leads = "writes minutes upstream for all";
        others[0].until("another leads", async || others.iter().any(|other| said_at(other, leads).is_some())).await;
        println!("another leads {:?} after the cut", elapsed() - cut);
        let left = |token: i64| sandbox.token(token).unwrap()["MinutesLeft"].clone();
        others[0].until("it writes", async || left(2) == json!(40)).await;
        println!("it writes {:?} after the cut", elapsed() - cut);
        let began = others.iter().find_map(|other| said_at(other, leads)).unwrap();
        let ended = said_at(branch, "writes minutes upstream no more").unwrap();
        assert!(ended < began, "two led: from {began} on, until {ended}");
        others[0].until("it asks", async || lists(&others[0]).await + lists(&others[1]).await > 2.0).await;
        assert_eq!(left(1), json!(60), "the database does not know of it yet");
        site.others_go_on().await;

        sandbox.put_token(record(3, "new-789"));
        others[0].until("what is new is known", async || others[0].metric("spotgate_tokens").await == 3.0).await;
        site.heal(Lost::Everything);
        site.until_healed().await;
        others[0].until("what was kept is written, too", async || left(1) == json!(50)).await;
        branch.until("what is new is known", async || branch.metric("spotgate_tokens").await == 3.0).await;
        let others_asked = async || lists(&others[0]).await + lists(&others[1]).await;
        let mut asks = true;
        // What it was about to ask when it was healed, it may ask still.
        for _ in 0..5 {
            let (asked, by_now) = (lists(branch).await, others_asked().await);
            others[0].until("the other asks", async || others_asked().await > by_now + 2.0).await;
            asks = lists(branch).await != asked;
            if !asks {
                break;
            }
        }
        assert_eq!((asks, left(1), left(2)), (false, json!(50), json!(40)));
        for daemon in site.all() {
            let unwritten = async || daemon.metric("spotgate_usage_unwritten_seconds").await == 0.0;
            daemon.until("nothing is unwritten", unwritten).await;
        }
    });
}
