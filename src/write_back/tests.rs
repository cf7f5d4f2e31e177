//! Writing back to the sandbox, over real sockets, from a ledger on a real disk.

use std::pin::Pin;
use std::task::{Context, Poll};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::core::ident::{BusinessId, Code};
use crate::core::login::Claim;
use crate::core::token::tests::token;
use crate::ledger::any::uses;
use crate::live::Live;
use crate::sandbox::nexudus::{Options, Sandbox};
use crate::{config, ledger};

const WALL: &str = "2026-11-23T10:00:00Z";
const ID: TokenId = TokenId(7);

struct World {
    sandbox: Sandbox,
    clock: Clock,
    policy: Policy,
    business_ids: Vec<BusinessId>,
    request_timeout: Duration,
    folder: tempfile::TempDir,
}

impl World {
    /// A token with an hour left, and more in its record than anybody knows of.
    async fn new() -> Self {
        Self::with(Options::default()).await
    }

    async fn with(options: Options) -> Self {
        let clock = Clock::manual(WALL.parse().unwrap());
        let record = json!({"Id": 7, "AccessCode": "abc", "BusinessId": 1, "MinutesIncluded": 120, "MinutesLeft": 60,
            "Description": "café", "CustomFields": {"Deep": [1, {"er": 2}]}, "FromLater": "kept"});
        let sandbox = Sandbox::start_local(Options { tokens: vec![record], ..options }, clock.clone()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self {
            sandbox,
            clock,
            policy: Policy::default(),
            business_ids: Vec::new(),
            request_timeout: Duration::from_secs(5),
            folder,
        }
    }

    fn open(&self, folder: &std::path::Path) -> WriteBack {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let text = format!(
            "[source]\nkind = \"nexudus\"\n[source.nexudus]\nbase_url = \"{}\"\nusername = \"demo@example.org\"\npassword = \"demo\"\n\
             requests_per_minute = 100000\n[[nas]]\nname = \"front-desk\"\naddress = \"127.0.0.1\"\nsecret = \"a secret for tests\"\n",
            self.sandbox.base_url()
        );
        let mut settings = config::from_str(&text, "spotgate.toml".as_ref(), &|_| None).unwrap().settings;
        settings.policy = self.policy.clone();
        let config::Source::Nexudus(config) = &mut settings.source else { panic!() };
        config.business_ids.clone_from(&self.business_ids);
        config.request_timeout = self.request_timeout;
        let nexudus = Nexudus::new(config, self.clock.clone(), None, Box::new(|_| ()), Box::new(())).unwrap();
        let catalogue = Catalogue::new(&settings.cache, None, true, self.clock.clone());
        let ledger::Opened { ledger, .. } = Ledger::open(folder, &self.policy, self.clock.now().wall).unwrap();
        let live = watch::channel(Arc::new(Live::new(settings).unwrap())).1;
        WriteBack::new(
            Arc::new(nexudus),
            Arc::new(catalogue),
            Arc::new(ledger),
            live,
            self.clock.clone(),
            Arc::default(),
            true,
        )
    }

    fn start(&self) -> WriteBack {
        self.open(self.folder.path())
    }

    /// So much was used by the `nth` session.
    fn uses(&self, write_back: &WriteBack, nth: u8, seconds: u64) {
        let token =
            AccessToken { minutes_left: self.minutes().and_then(|minutes| minutes.try_into().ok()), ..token(7, "abc") };
        let now = self.clock.now().wall;
        let began = crate::core::budget::Seconds(seconds).before(now);
        uses(&write_back.ledger, &token, nth, seconds, &self.policy, (began, now));
    }

    fn record(&self) -> Value {
        self.sandbox.token(7).unwrap()
    }

    fn minutes(&self) -> Option<i64> {
        self.record()["MinutesLeft"].as_i64()
    }

    fn set_minutes(&self, minutes: i64) {
        let mut record = self.record();
        record["MinutesLeft"] = minutes.into();
        self.sandbox.put_token(record);
    }

    fn unwritten(&self, write_back: &WriteBack) -> u64 {
        let account = write_back.ledger.account(ID).unwrap();
        account.unwritten(&self.policy, self.clock.now().wall).0
    }

    /// The fault that writes meet from now on.
    fn writes_fail(&self, mode: Option<&str>) {
        self.sandbox.change(|options| options.fail_only = Some("update"));
        self.sandbox.set_fail(mode.map(|mode| mode.parse().unwrap()));
    }

    /// Looks until nobody owes anything, with the pauses between.
    async fn settle(&self, write_back: &mut WriteBack) {
        self.clock.advance(Duration::from_secs(60));
        for _ in 0..12 {
            let outcome = write_back.look().await;
            self.clock.advance(Duration::from_secs(60));
            if outcome.is_ok() && write_back.owing(&self.policy, AT_ONCE).await.is_empty() {
                return;
            }
        }
        panic!("never settled");
    }
}

#[tokio::test]
async fn whole_minutes_are_written_and_the_rest_is_kept() {
    let world = World::new().await;
    let mut write_back = world.start();
    world.uses(&write_back, 1, 630);
    let before = world.record();
    world.settle(&mut write_back).await;
    assert_eq!((world.minutes(), world.unwritten(&write_back)), (Some(50), 30));
    let mut after = world.record();
    assert_eq!(after["LastAccess"], "2026-11-23T09:49:30Z");
    for key in ["MinutesLeft", "LastAccess", "UpdatedOn", "UpdatedBy"] {
        after[key] = before[key].clone();
    }
    assert_eq!(after, before, "everything else is as it was");
    assert_eq!((world.sandbox.count("get"), world.sandbox.count("update")), (2, 1));

    world.settle(&mut write_back).await;
    world.uses(&write_back, 2, 29);
    world.settle(&mut write_back).await;
    assert_eq!(world.sandbox.count("update"), 1);
    world.uses(&write_back, 3, 1);
    world.settle(&mut write_back).await;
    assert_eq!((world.minutes(), world.unwritten(&write_back)), (Some(49), 0));
}

#[tokio::test]
async fn a_top_up_between_is_kept_and_nothing_goes_below_nothing() {
    let world = World::new().await;
    let mut write_back = world.start();
    world.uses(&write_back, 1, 600);
    world.settle(&mut write_back).await;
    world.set_minutes(110);
    world.uses(&write_back, 2, 300);
    world.settle(&mut write_back).await;
    assert_eq!(world.minutes(), Some(105));
    world.set_minutes(2);
    world.uses(&write_back, 3, 600);
    world.settle(&mut write_back).await;
    assert_eq!((world.minutes(), world.unwritten(&write_back)), (Some(0), 480));
    world.set_minutes(20);
    world.uses(&write_back, 4, 60);
    world.settle(&mut write_back).await;
    assert_eq!((world.minutes(), world.unwritten(&write_back)), (Some(11), 0));
}

#[tokio::test]
async fn a_lost_answer_is_resolved_by_looking() {
    for mode in ["lost:1", "reset:1", "500:1", "truncated:1", "html:1", "409:1", "failure:1", "401:1"] {
        let world = World::new().await;
        let mut write_back = world.start();
        world.uses(&write_back, 1, 600);
        world.writes_fail(Some(mode));
        world.settle(&mut write_back).await;
        assert_eq!((world.minutes(), world.unwritten(&write_back)), (Some(50), 0), "{mode}");
        // Nor does the token rest then.
        world.uses(&write_back, 2, 60);
        write_back.look().await.unwrap();
        assert_eq!((world.minutes(), world.unwritten(&write_back)), (Some(49), 0), "{mode}");
    }
}

#[tokio::test]
async fn a_change_while_the_answer_is_lost_is_neither_overwritten_nor_counted_twice() {
    for (mode, minutes) in [("lost:1", 75), ("reset:1", 65)] {
        let world = World::new().await;
        let mut write_back = world.start();
        world.uses(&write_back, 1, 600);
        world.writes_fail(Some(mode));
        assert!(write_back.look().await.is_err());
        // 25 minutes more than what is there.
        world.set_minutes(world.minutes().unwrap() + 25);
        world.settle(&mut write_back).await;
        if mode == "lost:1" {
            assert_eq!((world.minutes(), world.unwritten(&write_back)), (Some(minutes), 0));
        } else {
            // Nobody can tell: the guest is not charged twice.
            assert_eq!((world.minutes(), world.unwritten(&write_back)), (Some(85), 0));
        }
    }
}

#[tokio::test]
async fn a_write_that_must_wait_is_not_made_of_what_was_read_before() {
    let world = World::new().await;
    let mut write_back = world.start();
    world.uses(&write_back, 1, 600);
    world.writes_fail(Some("429:1"));
    assert!(write_back.look().await.is_err());
    assert_eq!((world.sandbox.count("update"), write_back.ledger.open_settlement(ID)), (1, None), "it was not taken");
    let mut record = world.record();
    (record["MinutesLeft"], record["UserLimit"]) = (160.into(), 9.into());
    world.sandbox.put_token(record);
    world.settle(&mut write_back).await;
    assert_eq!((world.minutes(), world.record()["UserLimit"].clone()), (Some(150), json!(9)));
}

#[tokio::test]
async fn a_write_that_is_refused_for_now_makes_no_login_wait() {
    let world = World::new().await;
    let mut write_back = world.start();
    world.uses(&write_back, 1, 600);
    world.writes_fail(Some("429:1"));
    assert!(write_back.look().await.is_err());
    let pause = write_back.nexudus.writes_pause();
    assert!(pause > Duration::ZERO);
    let (reads, before) = (world.sandbox.count("get"), world.clock.now().mono);
    write_back.nexudus.look_up(&Claim::Code(Code::parse("SHARED").unwrap())).await.unwrap();
    assert_eq!(world.clock.now().mono, before, "a login goes at once");
    // Nor is anything read that could not be put back.
    write_back.unsettled.clear();
    assert!(matches!(write_back.look().await, Err(Fault::Held { .. })));
    assert_eq!((world.sandbox.count("get"), world.sandbox.count("update")), (reads, 1));
    world.settle(&mut write_back).await;
    assert_eq!(world.minutes(), Some(50));
}

#[tokio::test]
async fn what_is_not_kept_is_switched_off_and_said() {
    let world = World::with(Options { minutes_left_writable: false, ..Options::default() }).await;
    let mut write_back = world.start();
    world.uses(&write_back, 1, 600);
    write_back.look().await.unwrap();
    assert!(!write_back.minutes && write_back.trouble.words().unwrap().contains("does not keep MinutesLeft"));
    write_back.look().await.unwrap();
    assert_eq!((world.sandbox.count("update"), world.minutes(), world.unwritten(&write_back)), (1, Some(60), 600));
}

#[tokio::test]
async fn where_last_access_is_not_kept_minutes_are_written_all_the_same_and_once() {
    for mode in [None, Some("lost:1"), Some("reset:1")] {
        let world = World::with(Options { last_access_writable: false, ..Options::default() }).await;
        let mut write_back = world.start();
        world.writes_fail(mode);
        for nth in 1..=3 {
            world.uses(&write_back, nth, 600);
            world.settle(&mut write_back).await;
        }
        assert_eq!((world.minutes(), world.unwritten(&write_back)), (Some(30), 0), "{mode:?}");
        assert_eq!(world.record()["LastAccess"], Value::Null);
    }
}

#[tokio::test]
async fn a_token_that_is_gone_is_left_alone() {
    let world = World::new().await;
    let mut write_back = world.start();
    world.uses(&write_back, 1, 600);
    world.sandbox.delete_token(7);
    for _ in 0..10 {
        write_back.look().await.unwrap();
    }
    assert_eq!((world.sandbox.count("update"), world.sandbox.count("get")), (0, 1), "nor asked for again and again");
}

#[tokio::test]
async fn a_token_that_goes_before_it_is_written_is_no_wrong_address() {
    let world = World::new().await;
    let mut write_back = world.start();
    world.uses(&write_back, 1, 600);
    world.writes_fail(Some("gone:1"));
    write_back.look().await.unwrap();
    assert_eq!((write_back.trouble.words(), world.unwritten(&write_back)), (None, 600), "nothing was taken");
    world.settle(&mut write_back).await;
    assert_eq!((world.minutes(), world.unwritten(&write_back)), (Some(50), 0), "it was back again");
}

#[tokio::test]
async fn a_token_that_moved_to_others_is_written_and_not_mirrored() {
    let mut world = World::new().await;
    for (business, mirrored) in [(1, true), (2, false)] {
        world.business_ids = vec![BusinessId(business)];
        let mut write_back = world.open(tempfile::tempdir().unwrap().path());
        let minutes = world.minutes().unwrap();
        world.uses(&write_back, 1, 600);
        world.settle(&mut write_back).await;
        assert_eq!((world.minutes(), write_back.catalogue.tokens()), (Some(minutes - 10), u64::from(mirrored)));
    }
}

#[tokio::test]
async fn a_missing_role_is_no_storm() {
    let world = World::new().await;
    let mut write_back = world.start();
    world.uses(&write_back, 1, 600);
    world.writes_fail(Some("role"));
    write_back.look().await.unwrap();
    assert_eq!((world.sandbox.count("update"), world.sandbox.count("sign_in")), (2, 2));
    rounds(&world, &mut write_back, 240).await;
    let (updates, sign_ins) = (world.sandbox.count("update"), world.sandbox.count("sign_in"));
    assert!(updates <= 30 && sign_ins <= 15, "{updates} writes and {sign_ins} sign-ins in an hour");
    world.writes_fail(None);
    world.clock.advance(REST);
    world.settle(&mut write_back).await;
    assert_eq!(world.minutes(), Some(50));
}

#[tokio::test]
async fn the_first_device_is_written_and_nobody_elses_is_overwritten() {
    let mut world = World::new().await;
    world.policy.bind_device = BindDevice::Learn;
    let mut write_back = world.start();
    world.uses(&write_back, 1, 600);
    world.settle(&mut write_back).await;
    assert_eq!((world.record()["MacAddress"].clone(), world.minutes()), (json!("02:00:00:00:00:01"), Some(50)));
    assert_eq!(world.sandbox.count("update"), 1, "both at once");

    let mut world = World::new().await;
    world.policy.bind_device = BindDevice::Learn;
    for foreign in ["aa-bb-cc-dd-ee-ff", "the phone of Ann"] {
        let mut record = world.record();
        record["MacAddress"] = foreign.into();
        world.sandbox.put_token(record);
        let mut write_back = world.start();
        world.uses(&write_back, 1, 30);
        write_back.settle(ID, &world.policy).await.unwrap();
        assert_eq!((world.record()["MacAddress"].clone(), world.sandbox.count("update")), (json!(foreign), 0));
    }
}

/// Runs a future until it has waited so many times.
struct Cut<F> {
    inner: Pin<Box<F>>,
    waits: usize,
}

impl<F: Future> Future for Cut<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.inner.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.waits == 0 => Poll::Ready(None),
            Poll::Pending => {
                self.waits -= 1;
                Poll::Pending
            }
        }
    }
}

/// Copies what is on disk at this moment.
fn photograph(folder: &std::path::Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        if file.file_name() != "ledger.lock" {
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
    }
    copy
}

#[tokio::test]
async fn a_power_cut_at_any_step_has_no_minute_written_twice() {
    for mode in [None, Some("lost"), Some("truncated")] {
        let mut cuts = 0;
        for waits in 0.. {
            let world = World::new().await;
            let mut write_back = world.start();
            world.uses(&write_back, 1, 630);
            write_back.ledger.all_written().settled().await.unwrap();
            world.writes_fail(mode);
            let outcome = Cut { inner: Box::pin(write_back.look()), waits }.await;
            let after = photograph(world.folder.path());
            drop(write_back);
            // What was under way has arrived by then, or never will.
            tokio::task::yield_now().await;
            world.clock.advance(Duration::from_secs(60));
            world.writes_fail(None);
            let mut again = world.open(after.path());
            world.settle(&mut again).await;
            let what = format!("{mode:?}, cut after {waits} waits");
            assert_eq!((world.minutes(), world.unwritten(&again)), (Some(50), 30), "{what}");
            if outcome.is_some() {
                break;
            }
            cuts += 1;
            assert!(cuts < 200, "it never ends");
        }
        assert!(cuts >= 5, "{cuts} steps");
    }
}

/// As `run` does, but for the start.
async fn rounds(world: &World, write_back: &mut WriteBack, rounds: u32) {
    for _ in 0..rounds {
        world.clock.advance(LOOK_EVERY);
        let Err(fault) = write_back.look().await else { continue };
        let pause = match &fault {
            Fault::Source(Error::Retry { after, .. }) => after.unwrap_or(PAUSE).min(PAUSE),
            Fault::Source(Error::Refused { .. }) => QUIET,
            _ => PAUSE,
        };
        world.clock.advance(pause.max(write_back.nexudus.config.request_timeout * 2));
    }
}

impl World {
    /// Tokens 11 and on, used more than the first, whose records fail the server's own validation.
    fn refused_tokens(&self, write_back: &WriteBack, ids: std::ops::RangeInclusive<u8>) {
        let now = self.clock.now().wall;
        for id in ids {
            let code = format!("bad-{id}");
            self.sandbox.put_token(Self::refused_record(id, None));
            let token = AccessToken { minutes_included: None, ..token(id.into(), &code) };
            let online = (crate::core::budget::Seconds(1200).before(now), now);
            uses(&write_back.ledger, &token, id, 1200, &self.policy, online);
        }
    }

    fn refused_record(id: u8, included: Option<i64>) -> Value {
        json!({"Id": id, "AccessCode": format!("bad-{id}"), "BusinessId": 1, "MinutesIncluded": included, "MinutesLeft": 60})
    }
}

#[tokio::test]
async fn tokens_that_nexudus_refuses_do_not_starve_the_others() {
    let world = World::new().await;
    let mut write_back = world.start();
    world.refused_tokens(&write_back, 11..=14);
    world.uses(&write_back, 1, 600);
    rounds(&world, &mut write_back, 40).await;
    assert_eq!(world.minutes(), Some(50), "updates: {}", world.sandbox.count("update"));
    assert_eq!(world.sandbox.count("update"), 1 + 4, "ten minutes");
}

#[tokio::test]
async fn what_nexudus_refuses_is_said_while_it_lasts() {
    let world = World::new().await;
    let mut write_back = world.start();
    world.refused_tokens(&write_back, 11..=12);
    let words = |write_back: &WriteBack| write_back.trouble.words();
    write_back.look().await.unwrap();
    assert_eq!((world.sandbox.count("update"), words(&write_back)), (2, None), "once is not for long");
    assert_eq!(write_back.ledger.open_settlement(TokenId(11)), None, "it was surely not taken");
    rounds(&world, &mut write_back, 41).await;
    assert_eq!(world.sandbox.count("update"), 4);
    assert!(words(&write_back).unwrap().contains("2 tokens: see the log"), "{:?}", words(&write_back));

    // It is tried later each time.
    world.sandbox.put_token(World::refused_record(11, Some(60)));
    rounds(&world, &mut write_back, 41).await;
    assert_eq!(world.sandbox.count("update"), 4);
    rounds(&world, &mut write_back, 41).await;
    assert_eq!(world.sandbox.token(11).unwrap()["MinutesLeft"], 40);
    assert!(words(&write_back).unwrap().contains("1 token: see the log"), "{:?}", words(&write_back));
    // Nobody owes any more.
    let _ = write_back.ledger.forget_usage(TokenId(12), &world.policy, world.clock.now().wall);
    write_back.look().await.unwrap();
    assert_eq!(words(&write_back), None);
}

#[tokio::test]
async fn a_failure_that_is_reported_is_looked_at_and_not_counted_against_the_source() {
    let world = World::new().await;
    let mut write_back = world.start();
    world.uses(&write_back, 1, 600);
    world.writes_fail(Some("failure"));
    write_back.look().await.unwrap();
    assert_eq!((world.sandbox.count("get"), world.sandbox.count("update")), (2, 1));
    assert_eq!(write_back.ledger.open_settlement(ID), None, "the record is as before");
    rounds(&world, &mut write_back, 41).await;
    assert!(write_back.trouble.words().unwrap().contains("1 token"));
    world.writes_fail(None);
    rounds(&world, &mut write_back, 82).await;
    assert_eq!((world.minutes(), world.unwritten(&write_back), write_back.trouble.words()), (Some(50), 0, None));
}

#[tokio::test]
async fn whoever_fails_alone_rests_longer_each_time_and_comes_after_the_others() {
    let world = World::new().await;
    let mut write_back = world.start();
    let (failing, minute) = (TokenId(11), Duration::from_secs(60));
    world.refused_tokens(&write_back, 11..=11);
    world.uses(&write_back, 1, 600);
    assert_eq!(write_back.due(&world.policy).await, [failing, ID], "most first");
    let mut rests = |others_went_well| {
        let at = world.clock.now().mono;
        write_back.let_rest(Failed { tokens: vec![(failing, at)], others_went_well });
        write_back.unsettled[&failing].until - at
    };
    assert_eq!([(); 5].map(|()| rests(true)), [minute, minute * 2, minute * 4, minute * 8, REST]);
    assert_eq!(rests(false), minute, "nobody knows whose fault it is");
    assert_eq!(rests(true), REST);
    assert_eq!(write_back.due(&world.policy).await, [ID]);
    world.clock.advance(REST);
    assert_eq!(write_back.due(&world.policy).await, [ID, failing]);
}

#[tokio::test]
async fn writes_that_are_never_taken_are_not_repeated_without_a_word() {
    let world = World::new().await;
    let mut write_back = world.start();
    world.uses(&write_back, 1, 600);
    world.writes_fail(Some("gone"));
    rounds(&world, &mut write_back, 10).await;
    assert_eq!((world.sandbox.count("update"), write_back.trouble.words()), (2, None));
    rounds(&world, &mut write_back, 30).await;
    let updates = world.sandbox.count("update");
    assert!(updates <= 5, "{updates} writes in ten minutes");
    assert!(write_back.trouble.words().unwrap().contains("does not take changes"));
    world.writes_fail(None);
    world.settle(&mut write_back).await;
    assert_eq!((world.minutes(), world.unwritten(&write_back), write_back.trouble.words()), (Some(50), 0, None));
}

#[tokio::test]
async fn a_refusal_is_not_said_any_more_when_there_is_nothing_left_to_refuse() {
    let world = World::new().await;
    let mut write_back = world.start();
    world.uses(&write_back, 1, 600);
    world.writes_fail(Some("role"));
    write_back.look().await.unwrap();
    assert!(write_back.trouble.words().unwrap().contains("AccessToken-Edit"));
    let _ = write_back.ledger.forget_usage(ID, &world.policy, world.clock.now().wall);
    world.clock.advance(QUIET);
    write_back.look().await.unwrap();
    assert_eq!(write_back.trouble.words(), None);
}

/// Keeps the disk of a ledger from taking anything.
fn stalled(folder: &std::path::Path) -> rusqlite::Connection {
    let other = rusqlite::Connection::open(folder.join("ledger.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

#[tokio::test]
async fn what_waited_for_the_disk_is_read_again_before_it_is_written() {
    let world = World::new().await;
    let mut write_back = world.start();
    world.uses(&write_back, 1, 600);
    write_back.ledger.all_written().settled().await.unwrap();
    let disk = stalled(world.folder.path());
    let ledger = Arc::clone(&write_back.ledger);
    let (outcome, ()) = tokio::join!(write_back.look(), async {
        while ledger.open_settlement(ID).is_none() {
            tokio::task::yield_now().await;
        }
        world.clock.advance(Duration::from_secs(10));
        // An administrator meanwhile.
        world.set_minutes(160);
        drop(disk);
    });
    assert!(matches!(outcome, Err(Fault::Late)), "{outcome:?}");
    assert_eq!((world.sandbox.count("update"), ledger.open_settlement(ID)), (0, None), "nothing was sent");
    world.settle(&mut write_back).await;
    assert_eq!((world.minutes(), world.unwritten(&write_back)), (Some(150), 0));
}

#[tokio::test]
async fn a_disk_that_stalls_is_not_waited_for_without_end() {
    let mut world = World::new().await;
    // Half a second for the disk, really: less than it is busy for.
    world.clock = Clock::fast(WALL.parse().unwrap(), 60);
    world.request_timeout = Duration::from_secs(60);
    let mut write_back = world.start();
    world.uses(&write_back, 1, 600);
    write_back.ledger.all_written().settled().await.unwrap();
    let disk = stalled(world.folder.path());
    for _ in 0..IN_VAIN {
        write_back.unsettled.clear();
        let outcome = write_back.look().await;
        assert!(matches!(outcome, Err(Fault::Late)), "{outcome:?}");
    }
    assert_eq!((world.sandbox.count("update"), write_back.ledger.open_settlement(ID)), (0, None));
    assert!(write_back.trouble.words().unwrap().contains("the disk of store.path takes more than 30 s"));
    drop(disk);
    write_back.unsettled.clear();
    write_back.look().await.unwrap();
    assert_eq!((world.minutes(), world.unwritten(&write_back), write_back.trouble.words()), (Some(50), 0, None));
}

/// A right may be missing at one location, or of single tokens.
#[tokio::test]
async fn tokens_that_may_not_be_read_hold_no_others_up() {
    for known in [true, false] {
        may_not_be_read(known).await;
    }
}

/// `known`: of which location they are.
async fn may_not_be_read(known: bool) {
    let world = World::new().await;
    let mut write_back = world.start();
    let now = world.clock.now().wall;
    for id in 11u8..=30 {
        let code = format!("b-{id}");
        let record = json!({"Id": id, "AccessCode": code, "BusinessId": 2, "MinutesIncluded": 60, "MinutesLeft": 60});
        world.sandbox.put_token(record);
        let used = (crate::core::budget::Seconds(1200).before(now), now);
        uses(&write_back.ledger, &token(id.into(), &code), id, 1200, &world.policy, used);
        if known {
            let token = AccessToken { business: Some(BusinessId(2)), ..token(id.into(), &code) };
            write_back.catalogue.heard(&Version { token: Arc::new(token), updated: None }, Duration::ZERO);
        }
    }
    world.sandbox.change(|options| options.forbids = (11..=30).collect());
    world.uses(&write_back, 1, 600);
    let began = world.clock.now().mono;
    rounds(&world, &mut write_back, if known { 1 } else { 6 }).await;
    assert_eq!(world.minutes(), Some(50), "after {:?}", world.clock.now().mono - began);
    assert!(write_back.trouble.words().unwrap().contains("AccessToken-Read"), "{:?}", write_back.trouble.words());
    for nth in 2..=20 {
        world.uses(&write_back, nth, 60);
        rounds(&world, &mut write_back, 1).await;
    }
    assert_eq!((world.minutes(), world.unwritten(&write_back)), (Some(31), 0));
    let sign_ins = world.sandbox.count("sign_in");
    assert!(sign_ins <= 12, "{sign_ins} in {:?}", world.clock.now().mono - began);
    world.sandbox.change(|options| options.forbids.clear());
    world.clock.advance(REST);
    for _ in 0..10 {
        rounds(&world, &mut write_back, 1).await;
    }
    assert_eq!(
        (world.sandbox.token(30).unwrap()["MinutesLeft"].clone(), write_back.trouble.words()),
        (json!(40), None)
    );
}

/// Nobody knows what became of a write, and of its token Nexudus says for once that it is not there.
#[tokio::test]
async fn what_is_open_is_not_closed_by_a_word_that_may_be_wrong() {
    for gone in [false, true] {
        let world = World::new().await;
        let mut write_back = world.start();
        world.uses(&write_back, 1, 600);
        world.writes_fail(Some("reset"));
        assert!(write_back.look().await.is_err());
        assert!(write_back.ledger.open_settlement(ID).is_some());
        world.sandbox.change(|options| options.fail_only = Some("get"));
        world.sandbox.set_fail(Some(if gone { "gone" } else { "gone:1" }.parse().unwrap()));
        world.clock.advance(REST);
        write_back.look().await.unwrap();
        assert!(write_back.ledger.open_settlement(ID).is_some(), "said once");
        world.clock.advance(REST);
        write_back.look().await.unwrap();
        assert_eq!(write_back.ledger.open_settlement(ID), None);
        // It counts as written if it is gone, and is written if it is there.
        let minutes = if gone { 60 } else { 50 };
        assert_eq!((world.minutes(), world.unwritten(&write_back)), (Some(minutes), 0), "{gone}");
    }
}

/// However many there are, they are not all that is due.
#[tokio::test]
async fn more_forbidden_tokens_than_a_look_takes_hold_no_others_up() {
    let world = World::new().await;
    let mut write_back = world.start();
    let now = world.clock.now().wall;
    for id in 1000..1600i64 {
        let code = format!("b-{id}");
        let used = (crate::core::budget::Seconds(1200).before(now), now);
        let device = u8::try_from(id % 250).unwrap();
        uses(&write_back.ledger, &token(id, &code), device, 1200, &world.policy, used);
        let token = AccessToken { business: Some(BusinessId(2)), ..token(id, &code) };
        write_back.catalogue.heard(&Version { token: Arc::new(token), updated: None }, Duration::ZERO);
    }
    world.sandbox.change(|options| options.forbids = (1000..1600).collect());
    world.uses(&write_back, 1, 600);
    rounds(&world, &mut write_back, 4).await;
    assert_eq!(world.minutes(), Some(50));
}
