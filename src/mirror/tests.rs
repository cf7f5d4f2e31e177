//! The mirror against the sandbox, over real sockets, a step at a time; the clock is moved by hand.

mod singly;

use serde_json::json;

use super::*;
use crate::catalogue::{Changes, Find, Found, Standing};
use crate::config::{self, NexudusAuth};
use crate::core::ident::Code;
use crate::core::login::Claim;
use crate::sandbox::nexudus::{Options, Sandbox};

const WALL: &str = "2026-11-23T10:00:00Z";
const INTERVAL: Duration = Duration::from_secs(60);
const ALL: Duration = Duration::from_secs(1800);

struct World {
    sandbox: Sandbox,
    clock: Clock,
    config: config::Nexudus,
    folder: tempfile::TempDir,
    /// On which somebody is online.
    in_use: Arc<Mutex<HashSet<i64>>>,
}

/// A mirror, and what it keeps fresh.
struct Kept {
    mirror: Mirror,
    catalogue: Arc<Catalogue>,
    clock: Clock,
}

impl World {
    /// With so many tokens `code-1`, `code-2`, … of two locations in turn.
    async fn new(tokens: i64) -> Self {
        let clock = Clock::manual(WALL.parse().unwrap());
        let token = |id| {
            json!({"Id": id, "AccessCode": format!("code-{id}"), "BusinessId": id % 2 + 1, "MinutesIncluded": 60,
                   "UpdatedOn": "2026-11-01T08:00:00Z"})
        };
        let options = Options { tokens: (1..=tokens).map(token).collect(), ..Options::default() };
        let sandbox = Sandbox::start_local(options, clock.clone()).await.unwrap();
        let config = config::Nexudus {
            base_url: sandbox.base_url(),
            username: "demo@example.org".to_owned(),
            password: "demo".into(),
            totp_secret: None,
            auth: NexudusAuth::OAuth,
            business_ids: Vec::new(),
            time_zone: jiff::tz::TimeZone::UTC,
            request_timeout: Duration::from_secs(10),
            requests_per_minute: 100_000,
            mirror: true,
            mirror_interval: INTERVAL,
            full_mirror_interval: ALL,
            webhook_secret: None,
            write_back: false,
        };
        Self { sandbox, clock, config, folder: tempfile::tempdir().unwrap(), in_use: Arc::default() }
    }

    fn mirror(&self) -> Kept {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let nexudus = Nexudus::new(&self.config, self.clock.clone(), None, Box::new(|_| ()), Box::new(())).unwrap();
        let times = config::Cache {
            fresh_for: Duration::from_secs(60),
            stale_for: Duration::from_secs(86_400),
            unknown_for: Duration::from_secs(15),
            max_tokens: 1_000_000,
            first_answer_within: Duration::from_millis(200),
        };
        let nexudus = Arc::new(nexudus);
        let origin = Arc::clone(&nexudus) as Arc<dyn crate::source::Origin>;
        let catalogue = Arc::new(Catalogue::new(&times, Some(origin), true, self.clock.clone()));
        let mirror = Mirror::open(
            nexudus,
            Arc::clone(&catalogue),
            Arc::default(),
            self.clock.clone(),
            Some(self.folder.path()),
            Arc::default(),
            {
                let in_use = Arc::clone(&self.in_use);
                Arc::new(move |id: TokenId| in_use.lock().unwrap().contains(&id.0))
            },
        );
        Kept { mirror, catalogue, clock: self.clock.clone() }
    }

    fn fail(&self, mode: Option<&str>) {
        self.sandbox.set_fail(mode.map(|mode| mode.parse().unwrap()));
    }

    fn put(&self, id: i64, code: &str, business: i64) {
        let token = json!({"Id": id, "AccessCode": code, "BusinessId": business, "MinutesIncluded": 60});
        self.sandbox.put_token(token);
    }
}

impl Kept {
    /// Until there is nothing to do.
    async fn settle(&mut self) {
        for _ in 0..1000 {
            if self.mirror.step().await.unwrap() > Duration::ZERO {
                return;
            }
        }
        panic!("it never settles");
    }

    async fn after(&mut self, time: Duration) {
        self.clock.advance(time);
        self.settle().await;
    }

    fn holds(&self, code: &str) -> bool {
        matches!(self.catalogue.find(&Claim::Code(Code::parse(code).unwrap())), Find::Here(tokens) if !tokens.is_empty())
    }
}

#[tokio::test]
async fn everything_is_listed_and_then_only_what_changes() {
    let world = World::new(2500).await;
    let mut kept = world.mirror();
    kept.settle().await;
    assert!(kept.catalogue.is_complete());
    assert_eq!(kept.catalogue.tokens(), 2500);
    // Three pages; what changed meanwhile is asked for between them, and whether there are fewer.
    assert!((4..=6).contains(&world.sandbox.count("list")), "{}", world.sandbox.count("list"));
    let listed = world.sandbox.count("list");
    assert!(kept.holds("code-1") && kept.holds("CODE-2500") && !kept.holds("code-2501"));

    world.put(2501, "code-2501", 1);
    world.put(17, "another", 1);
    kept.after(INTERVAL).await;
    assert!(kept.holds("code-2501") && kept.holds("another") && !kept.holds("code-17"));
    assert_eq!(world.sandbox.count("list"), listed + 2);
    assert_eq!(world.sandbox.count("get"), 0);
}

#[tokio::test]
async fn a_device_without_a_record_is_known_to_have_none() {
    let world = World::new(2).await;
    let mut kept = world.mirror();
    let device = Claim::Device("02:00:5E:10:00:09".parse().unwrap());
    assert!(matches!(kept.catalogue.find(&device), Find::Ask { stale: None }));
    kept.settle().await;
    assert!(matches!(kept.catalogue.find(&device), Find::Here(tokens) if tokens.is_empty()));
    let unknown = Claim::Code(Code::parse("just-now").unwrap());
    assert!(matches!(kept.catalogue.find(&unknown), Find::Ask { stale: None }), "registered a moment ago, perhaps");
}

#[tokio::test]
async fn what_the_server_counts_by_itself_is_seen_with_the_next_listing() {
    let world = World::new(3).await;
    let mut kept = world.mirror();
    kept.settle().await;
    let mut record = world.sandbox.token(2).unwrap();
    record["MinutesLeft"] = 17.into();
    // `UpdatedOn` stays as it was.
    world.sandbox.put_raw(record);
    let minutes = |kept: &Kept| match kept.catalogue.standing(TokenId(2)) {
        Some(Standing::Held(token)) => token.minutes_left,
        other => panic!("{other:?}"),
    };
    kept.after(INTERVAL).await;
    assert_eq!(minutes(&kept), Some(60), "no list of changes has it");
    kept.after(ALL).await;
    assert_eq!(minutes(&kept), Some(17));
}

#[tokio::test]
async fn what_is_deleted_is_gone_within_an_interval() {
    let world = World::new(1200).await;
    let mut kept = world.mirror();
    kept.settle().await;
    assert_eq!(kept.catalogue.changes().await, Changes::All);
    world.sandbox.delete_token(5);
    world.put(1201, "new", 1);
    kept.after(INTERVAL).await;
    assert!(!kept.holds("code-5") && kept.holds("new") && kept.catalogue.tokens() == 1200);
    assert_eq!(world.sandbox.count("get"), 1, "a look that it is gone");
    assert_eq!(kept.catalogue.standing(TokenId(5)), Some(Standing::Gone));
    assert_eq!(kept.catalogue.changes().await, Changes::All, "as after each listing");
    // Not again and again.
    let lists = world.sandbox.count("list");
    kept.after(INTERVAL).await;
    assert_eq!(world.sandbox.count("list"), lists + 2);
}

#[tokio::test]
async fn many_that_are_missing_are_gone_once_two_listings_lack_them() {
    let world = World::new(1200).await;
    let mut kept = world.mirror();
    kept.settle().await;
    (100..=200).for_each(|id| assert!(world.sandbox.delete_token(id)));
    kept.after(INTERVAL).await;
    assert_eq!((kept.catalogue.tokens(), world.sandbox.count("get")), (1180, 20), "as many as are looked for");
    kept.after(INTERVAL).await;
    assert_eq!((kept.catalogue.tokens(), world.sandbox.count("get")), (1099, 40));
}

#[tokio::test]
async fn a_list_that_is_short_for_once_takes_nobody_away() {
    let world = World::new(1200).await;
    let mut kept = world.mirror();
    kept.settle().await;
    for _ in 0..3 {
        // Its filter lets nobody through: the records are there, and read singly.
        world.sandbox.change(|options| options.lists_nothing = true);
        kept.after(ALL).await;
        assert_eq!(kept.catalogue.tokens(), 1200);
    }
    world.sandbox.change(|options| options.lists_nothing = false);
    kept.after(ALL).await;
    assert!(kept.catalogue.tokens() == 1200 && kept.catalogue.is_complete());
}

#[tokio::test]
async fn a_token_that_slips_from_page_to_page_is_not_gone() {
    let world = World::new(2500).await;
    let mut kept = world.mirror();
    kept.settle().await;
    kept.clock.advance(ALL);
    let later = kept.clock.now().mono + INTERVAL;
    kept.mirror.locations.iter_mut().for_each(|location| location.next = later);
    assert_eq!(kept.mirror.step().await, Ok(Duration::ZERO), "the first page");
    // Whatever stood at the begin of the second page now ends the first.
    world.sandbox.delete_token(3);
    kept.settle().await;
    assert!(kept.holds("code-1001") && kept.catalogue.tokens() == 2500);
    assert_eq!(world.sandbox.count("get"), 1);
    kept.after(INTERVAL).await;
    assert!(kept.holds("code-1001") && kept.catalogue.tokens() == 2499 && !kept.holds("code-3"));
}

#[tokio::test]
async fn only_our_locations_are_mirrored_and_who_moves_away_is_gone() {
    let mut world = World::new(100).await;
    world.config.business_ids = vec![BusinessId(1)];
    let mut kept = world.mirror();
    kept.settle().await;
    assert!(kept.catalogue.tokens() == 50 && kept.holds("code-2") && !kept.holds("code-1"));
    world.put(2, "code-2", 2);
    kept.after(INTERVAL).await;
    assert!(!kept.holds("code-2"));
    world.put(2, "code-2", 1);
    kept.after(INTERVAL).await;
    assert!(kept.holds("code-2"));

    world.fail(Some("ignore-filter"));
    kept.after(ALL).await;
    assert_eq!(kept.catalogue.tokens(), 50, "a list need not have filtered");
}

#[tokio::test]
async fn failures_take_nothing_away_and_are_made_up_for() {
    let world = World::new(1500).await;
    let mut kept = world.mirror();
    kept.settle().await;
    for mode in ["500", "html", "truncated", "failure", "403", "redirect", "reset"] {
        world.put(7, &format!("seven-{mode}"), 1);
        kept.clock.advance(ALL);
        world.fail(Some(mode));
        assert!(kept.mirror.step().await.is_err(), "{mode}");
        assert!(kept.holds("code-8") && kept.catalogue.tokens() == 1500, "{mode}");
        world.fail(None);
        kept.after(ALL).await;
        assert!(kept.holds(&format!("seven-{mode}")) && kept.catalogue.tokens() == 1500, "{mode}");
    }
}

#[tokio::test]
async fn a_restart_without_internet_knows_the_codes() {
    let world = World::new(1200).await;
    let mut kept = world.mirror();
    kept.settle().await;
    drop(kept);
    world.clock.advance(Duration::from_secs(3600));
    world.fail(Some("down"));
    let mut kept = world.mirror();
    assert!(kept.holds("code-1200") && kept.catalogue.is_complete());
    assert!(kept.mirror.step().await.is_err() && kept.holds("code-1200"));
    // For as long as copies may be used.
    world.clock.advance(Duration::from_secs(82_801));
    assert!(!kept.holds("code-1200"));
    world.fail(None);
    kept.after(Duration::ZERO).await;
    assert!(kept.holds("code-1200"));
}

#[tokio::test]
async fn a_restart_in_the_middle_goes_on_with_what_there_is() {
    let world = World::new(2500).await;
    let mut kept = world.mirror();
    assert_eq!(kept.mirror.step().await, Ok(Duration::ZERO));
    drop(kept);
    let mut kept = world.mirror();
    assert_eq!((kept.catalogue.count(None), kept.catalogue.is_complete()), (1000, false));
    let first = Claim::Code(Code::parse("code-1").unwrap());
    assert!(matches!(kept.catalogue.find(&first), Find::Ask { stale: Some(_) }), "where nobody answers it serves");
    kept.settle().await;
    assert!(kept.holds("code-2500") && kept.catalogue.is_complete());
}

#[tokio::test]
async fn keys_that_a_list_leaves_out_are_read_singly_and_what_is_too_much_is_left_to_the_guest() {
    let world = World::new(15).await;
    world.fail(Some("absent-keys"));
    let mut kept = world.mirror();
    kept.settle().await;
    assert!(kept.catalogue.is_complete() && kept.holds("code-15"));
    assert_eq!(world.sandbox.count("get"), 15);
    kept.after(ALL).await;
    assert_eq!(world.sandbox.count("get"), 15, "what did not change is known");

    let world = World::new(50).await;
    world.fail(Some("absent-keys"));
    let mut kept = world.mirror();
    kept.settle().await;
    assert_eq!((kept.catalogue.is_complete(), kept.catalogue.tokens()), (false, 20));
}

#[tokio::test]
async fn a_malformed_record_keeps_its_former_version() {
    let world = World::new(3).await;
    let mut kept = world.mirror();
    kept.settle().await;
    let token = json!({"Id": 2, "AccessCode": "code-2", "BusinessId": 1, "MinutesIncluded": "many"});
    world.sandbox.put_token(token);
    kept.after(ALL).await;
    assert!(kept.holds("code-2") && kept.catalogue.tokens() == 3);

    // Without one it is no token that is gone.
    let token = json!({"Id": 4, "AccessCode": "code-4", "BusinessId": 1, "MinutesIncluded": "many"});
    world.sandbox.put_token(token);
    kept.after(ALL).await;
    assert!(kept.catalogue.is_complete() && !kept.holds("code-4"));
    assert_eq!(
        (kept.catalogue.standing(TokenId(4)), kept.catalogue.standing(TokenId(5))),
        (None, Some(Standing::Gone))
    );
}

#[tokio::test]
async fn a_code_that_was_over_may_have_been_given_out_anew() {
    let world = World::new(1).await;
    let over = json!({"Id": 2, "AccessCode": "44444", "BusinessId": 1, "MinutesIncluded": 60, "ValidTo": "2026-11-01T00:00:00Z"});
    world.sandbox.put_token(over);
    let mut kept = world.mirror();
    kept.settle().await;
    let claim = Claim::Code(Code::parse("44444").unwrap());
    assert!(matches!(kept.catalogue.find(&claim), Find::Ask { stale: Some(tokens) } if tokens.len() == 1));
    world.put(3, "44444", 1);
    let found = kept.catalogue.obtain(&claim, Duration::from_secs(1)).await;
    assert!(matches!(found, Found::Tokens(tokens) if tokens.len() == 2));
    assert!(matches!(kept.catalogue.find(&claim), Find::Here(_)), "nor is it asked again for each try");
}

#[tokio::test]
async fn what_cannot_be_read_singly_holds_nothing_up() {
    let world = World::new(1200).await;
    let mut kept = world.mirror();
    kept.settle().await;
    world.sandbox.delete_token(5);
    world.sandbox.change(|options| options.fail_only = Some("get"));
    world.fail(Some("500"));
    kept.after(INTERVAL).await;
    assert!(kept.holds("code-5") && kept.catalogue.tokens() == 1200, "nobody knows");
    world.put(6, "another", 1);
    kept.after(INTERVAL).await;
    assert!(kept.holds("another"));
    world.fail(None);
    kept.after(INTERVAL).await;
    assert!(!kept.holds("code-5") && kept.catalogue.tokens() == 1199);
}

#[tokio::test]
async fn a_date_that_is_wrong_for_once_blinds_nobody() {
    let world = World::new(3).await;
    let mut kept = world.mirror();
    kept.settle().await;
    world.sandbox.change(|options| options.skew = jiff::SignedDuration::from_hours(50_000));
    kept.after(INTERVAL).await;
    world.sandbox.change(|options| options.skew = jiff::SignedDuration::ZERO);
    kept.after(INTERVAL).await;
    world.put(2, "another", 1);
    kept.after(INTERVAL).await;
    assert!(kept.holds("another"));
}

#[tokio::test]
async fn a_look_up_changes_the_mirror_too() {
    let world = World::new(3).await;
    let mut kept = world.mirror();
    kept.settle().await;
    world.put(4, "just-now", 1);
    let claim = Claim::Code(Code::parse("just-now").unwrap());
    let found = kept.catalogue.obtain(&claim, Duration::from_secs(1)).await;
    assert!(matches!(found, Found::Tokens(tokens) if tokens.len() == 1));
    kept.clock.advance(Duration::from_secs(3600));
    assert!(kept.holds("just-now"), "it is the mirror's by now");
}

#[tokio::test]
async fn what_was_read_singly_outlives_a_restart() {
    let world = World::new(3).await;
    let mut kept = world.mirror();
    kept.settle().await;
    world.put(4, "just-now", 1);
    world.sandbox.delete_token(2);
    for code in ["just-now", "code-2"] {
        kept.clock.advance(Duration::from_secs(86_401));
        let claim = Claim::Code(Code::parse(code).unwrap());
        kept.catalogue.obtain(&claim, Duration::from_secs(1)).await;
    }
    kept.after(INTERVAL).await;
    drop(kept);
    world.fail(Some("down"));
    let kept = world.mirror();
    assert!(kept.holds("just-now") && !kept.holds("code-2"));
}

#[tokio::test]
async fn a_malformed_record_does_not_hide_that_another_is_deleted() {
    let world = World::new(3).await;
    let token = json!({"Id": 4, "AccessCode": "code-4", "BusinessId": 1, "MinutesIncluded": "many"});
    world.sandbox.put_token(token);
    let mut kept = world.mirror();
    kept.settle().await;
    assert!(kept.catalogue.is_complete());
    world.sandbox.delete_token(2);
    kept.after(INTERVAL).await;
    kept.after(INTERVAL).await;
    assert_eq!(kept.catalogue.standing(TokenId(2)), Some(Standing::Gone));
}

#[tokio::test]
async fn what_is_deleted_is_gone_though_the_copy_is_not_whole() {
    let world = World::new(200).await;
    world.fail(Some("absent-keys"));
    let mut kept = world.mirror();
    kept.settle().await;
    assert!(!kept.catalogue.is_complete() && kept.catalogue.updated(TokenId(1)).is_some());
    world.sandbox.delete_token(1);
    kept.after(ALL).await;
    assert!(kept.catalogue.updated(TokenId(1)).is_none(), "taken out, since Nexudus said 404 to it");
    assert_eq!(kept.catalogue.standing(TokenId(1)), Some(Standing::Gone), "so its sessions must end");
}

#[tokio::test]
async fn an_empty_answer_to_one_search_takes_nobody_away() {
    let world = World::new(3).await;
    let mut kept = world.mirror();
    kept.settle().await;
    world.sandbox.change(|options| options.lists_nothing = true);
    let _ = kept.catalogue.refresh(&Claim::Code(Code::parse("code-1").unwrap())).await;
    assert_ne!(kept.catalogue.standing(TokenId(1)), Some(Standing::Gone));
}

#[tokio::test]
async fn a_token_whose_code_was_changed_is_not_gone() {
    let world = World::new(3).await;
    let mut kept = world.mirror();
    kept.settle().await;
    world.put(1, "renamed", 2);
    let _ = kept.catalogue.refresh(&Claim::Code(Code::parse("code-1").unwrap())).await;
    assert_ne!(kept.catalogue.standing(TokenId(1)), Some(Standing::Gone));
}

#[tokio::test]
async fn an_updated_on_in_the_future_does_not_freeze_a_token() {
    let world = World::new(3).await;
    let record = json!({"Id": 9, "AccessCode": "first", "BusinessId": 1, "MinutesIncluded": 60, "UpdatedOn": "2026-11-23T16:00:00Z"});
    world.sandbox.put_token(record);
    let mut kept = world.mirror();
    kept.settle().await;
    world.sandbox.edit_token(9, |record| drop(record.insert("ValidTo".to_owned(), "2026-11-23T10:00:00Z".into())));
    kept.after(INTERVAL).await;
    kept.after(ALL).await;
    let Some(Standing::Held(token)) = kept.catalogue.standing(TokenId(9)) else { panic!() };
    assert!(token.valid_to.is_some(), "it was ended half an hour ago");
}

#[tokio::test]
async fn what_could_not_be_written_down_is_written_later() {
    let world = World::new(3).await;
    let mut kept = world.mirror();
    kept.settle().await;
    let other = rusqlite::Connection::open(world.folder.path().join("mirror.db")).unwrap();
    other
        .execute_batch(
            "CREATE TRIGGER a BEFORE INSERT ON token BEGIN SELECT RAISE(ABORT, 'full'); END;
             CREATE TRIGGER b BEFORE DELETE ON token BEGIN SELECT RAISE(ABORT, 'full'); END;",
        )
        .unwrap();
    world.put(4, "new", 1);
    world.sandbox.delete_token(2);
    kept.after(INTERVAL).await;
    assert!(kept.holds("new") && !kept.holds("code-2") && kept.mirror.coverage.trouble().is_some());
    other.execute_batch("DROP TRIGGER a; DROP TRIGGER b;").unwrap();
    drop(other);
    kept.after(INTERVAL).await;
    kept.after(ALL).await;
    let trouble = kept.mirror.coverage.trouble();
    drop(kept);
    world.fail(Some("down"));
    let kept = world.mirror();
    assert_eq!((kept.holds("new"), kept.holds("code-2"), trouble), (true, false, None));
}

#[tokio::test]
async fn single_reads_that_fail_do_not_stall_the_mirror_for_long() {
    let world = World::new(200).await;
    let mut kept = world.mirror();
    kept.settle().await;
    for id in 1..=20 {
        world.sandbox.delete_token(id);
    }
    world.sandbox.change(|options| options.fail_only = Some("get"));
    world.fail(Some("500"));
    kept.clock.advance(INTERVAL);
    let mut longest = Duration::ZERO;
    for _ in 0..8 {
        let began = kept.clock.now().mono;
        let pause = kept.mirror.step().await.unwrap();
        longest = longest.max(kept.clock.now().mono - began);
        if pause > Duration::ZERO {
            break;
        }
    }
    assert!(longest < Duration::from_secs(120), "one step took {longest:?}, in which nothing else was read");
}

#[tokio::test]
async fn one_location_that_fails_does_not_blind_the_others() {
    let mut world = World::new(4).await;
    world.config.business_ids = vec![BusinessId(2), BusinessId(1)];
    let mut kept = world.mirror();
    kept.settle().await;
    assert!(kept.catalogue.is_complete());
    world.sandbox.change(|options| options.fails_at = Some(2));
    world.sandbox.edit_token(2, |record| drop(record.insert("MinutesLeft".to_owned(), 0.into())));
    world.sandbox.delete_token(4);
    for _ in 0..40 {
        kept.clock.advance(INTERVAL);
        let _ = kept.mirror.step().await;
    }
    let Some(Standing::Held(token)) = kept.catalogue.standing(TokenId(2)) else { panic!() };
    assert_eq!(token.minutes_left, Some(0));
    assert_eq!(kept.catalogue.standing(TokenId(4)), Some(Standing::Gone), "nor is a listing held up by it");
    assert!(kept.holds("code-3"), "nobody knows anything new of it");
}

#[tokio::test]
async fn lists_that_do_not_say_how_long_they_are_show_deletions_when_everything_is_listed() {
    let world = World::new(3).await;
    world.sandbox.change(|options| options.no_totals = true);
    let mut kept = world.mirror();
    kept.settle().await;
    world.sandbox.delete_token(2);
    kept.after(INTERVAL).await;
    assert!(kept.holds("code-2"));
    kept.after(ALL).await;
    assert!(!kept.holds("code-2"));
}

/// Were a missing id answered with 500 (facts/nexudus.md has 404 as no more than likely): one deletion must neither keep
/// guests with new codes out nor leave the deleted one in for ever.
#[tokio::test]
async fn a_deleted_token_whose_single_read_fails_keeps_nobody_out_and_goes_some_time() {
    let world = World::new(200).await;
    let mut kept = world.mirror();
    kept.settle().await;
    for id in 1..=3 {
        world.sandbox.delete_token(id);
    }
    world.put(900, "visitor", 1);
    world.sandbox.change(|options| options.fail_only = Some("get"));
    world.fail(Some("500"));
    let began = kept.clock.now().mono;
    let (mut denied, mut tried) = (0, 0);
    while kept.clock.now().mono - began < Duration::from_secs(6 * 3600) {
        let pause = kept.mirror.step().await.unwrap_or(PAUSE);
        kept.clock.advance(pause);
        tried += 1;
        let claim = Claim::Code(Code::parse(&format!("cold-{tried}")).unwrap());
        let found = kept.catalogue.obtain(&claim, Duration::from_secs(1)).await;
        denied += i32::from(matches!(found, Found::Unavailable));
    }
    let there = (1..=3).filter(|id| !matches!(kept.catalogue.standing(TokenId(*id)), Some(Standing::Gone))).count();
    assert_eq!((denied, there), (0, 0));
}

/// Whether single reads fail, or the role for them is missing: without one answer that says so, nobody is gone.
#[tokio::test]
async fn lists_that_are_empty_while_nothing_can_be_read_singly_take_nobody_away() {
    for fails in ["500", "401"] {
        let world = World::new(300).await;
        let mut kept = world.mirror();
        kept.settle().await;
        world.sandbox.change(|options| {
            options.lists_nothing = true;
            options.fail_only = Some("get");
        });
        world.fail(Some(fails));
        for _ in 0..200 {
            let pause = kept.mirror.step().await.unwrap_or(PAUSE);
            kept.clock.advance(pause);
        }
        assert_eq!(kept.catalogue.tokens(), 300, "{fails}");
        assert!(world.sandbox.count("get") < 60, "{fails}: {}", world.sandbox.count("get"));
    }
}

#[tokio::test]
async fn a_page_asked_for_before_a_token_went_does_not_bring_it_back() {
    let world = World::new(3).await;
    let mut kept = world.mirror();
    kept.settle().await;
    let Some(Standing::Held(token)) = kept.catalogue.standing(TokenId(2)) else { panic!() };
    let asked = kept.clock.now().mono;
    kept.clock.advance(Duration::from_secs(5));
    world.sandbox.delete_token(2);
    assert_eq!(kept.catalogue.reread(TokenId(2)).await, Ok(None));
    kept.catalogue.merge(&[Version { token, updated: None }], asked);
    assert!(!kept.holds("code-2"));
}

#[tokio::test]
async fn who_is_found_singly_is_let_in_though_a_search_left_him_out() {
    let world = World::new(3).await;
    world.sandbox.put_raw(json!({"Id": "x", "AccessCode": "odd", "BusinessId": 1, "MinutesIncluded": 60}));
    let mut kept = world.mirror();
    kept.settle().await;
    world.sandbox.change(|options| options.lists_nothing = true);
    let claim = Claim::Code(Code::parse("code-1").unwrap());
    for _ in 0..2 {
        let found = kept.catalogue.obtain(&claim, Duration::from_secs(1)).await;
        assert!(matches!(&found, Found::Tokens(tokens) if tokens.len() == 1), "{found:?}");
        kept.clock.advance(Duration::from_secs(5));
    }
}

#[tokio::test]
async fn a_malformed_location_is_no_proof_that_a_token_is_gone() {
    let world = World::new(3).await;
    let mut kept = world.mirror();
    kept.settle().await;
    world.sandbox.put_raw(json!({"Id": 2, "AccessCode": "code-2", "BusinessId": "x", "MinutesIncluded": 60}));
    assert!(kept.catalogue.reread(TokenId(2)).await.is_err());
    assert!(matches!(kept.catalogue.standing(TokenId(2)), Some(Standing::Held(_))));
}

/// Their versions cannot be told apart, so that each is read again and again: all of them, in turn.
#[tokio::test]
async fn undated_records_of_lists_that_omit_keys_are_all_read_some_time() {
    let world = World::new(1).await;
    for id in 10..60 {
        world
            .sandbox
            .put_raw(json!({"Id": id, "AccessCode": format!("u-{id}"), "BusinessId": 1, "MinutesIncluded": 60}));
    }
    world.fail(Some("absent-keys"));
    let mut kept = world.mirror();
    kept.settle().await;
    for _ in 0..5 {
        kept.after(INTERVAL).await;
    }
    assert!(kept.catalogue.tokens() == 51 && kept.catalogue.is_complete(), "{}", kept.catalogue.tokens());
}

#[tokio::test]
async fn a_location_that_fails_delays_no_other_and_no_login() {
    let mut world = World::new(20_000).await;
    world.config.business_ids = vec![BusinessId(2), BusinessId(1)];
    world.config.requests_per_minute = 60;
    let mut kept = world.mirror();
    kept.settle().await;
    world.sandbox.change(|options| options.fails_at = Some(2));
    let listed = world.sandbox.count("list");
    let (began, mut looked, mut tried) = (kept.clock.now().mono, kept.clock.now().mono, kept.clock.now().mono);
    while kept.clock.now().mono - began < Duration::from_secs(3600) {
        let next = kept.mirror.locations[1].next;
        let pause = kept.mirror.step().await.unwrap_or(PAUSE);
        let now = kept.clock.now().mono;
        if kept.mirror.locations[1].next != next {
            assert!(now - looked < Duration::from_secs(90), "{:?} without a look", now - looked);
            looked = now;
        }
        if now - tried > Duration::from_secs(20) {
            tried = now;
            let claim = Claim::Code(Code::parse(&format!("cold-{}", now.as_millis())).unwrap());
            let found = kept.catalogue.obtain(&claim, Duration::from_secs(1)).await;
            assert!(matches!(found, Found::Tokens(_)), "after {:?}", now - began);
        }
        kept.clock.advance(pause);
    }
    let listed = world.sandbox.count("list") - listed;
    assert!(listed < 700, "{listed} calls in an hour");
}

/// A right may be missing at one location alone (facts/nexudus.md §1: a missing right is answered as a missing sign-in).
#[tokio::test]
async fn a_location_that_is_refused_hides_nothing_at_the_others() {
    let mut world = World::new(4).await;
    world.config.business_ids = vec![BusinessId(2), BusinessId(1)];
    let mut kept = world.mirror();
    kept.settle().await;
    world.sandbox.change(|options| (options.fails_at, options.fails_with) = (Some(2), 401));
    world.sandbox.edit_token(2, |record| drop(record.insert("MinutesLeft".to_owned(), 0.into())));
    world.sandbox.delete_token(4);
    for _ in 0..40 {
        kept.clock.advance(INTERVAL);
        let _ = kept.mirror.step().await;
    }
    let Some(Standing::Held(token)) = kept.catalogue.standing(TokenId(2)) else { panic!() };
    assert_eq!(token.minutes_left, Some(0));
    assert_eq!(kept.catalogue.standing(TokenId(4)), Some(Standing::Gone));
    assert!(world.sandbox.count("sign_in") < 45, "{}", world.sandbox.count("sign_in"));
}

/// Lists may hide some that are there; who went hides behind them.
#[tokio::test]
async fn who_is_gone_is_found_among_many_that_are_never_listed() {
    let world = World::new(60).await;
    let mut kept = world.mirror();
    kept.settle().await;
    world.sandbox.change(|options| options.lists_nothing = true);
    world.sandbox.delete_token(59);
    for _ in 0..6 {
        kept.after(ALL).await;
    }
    assert_eq!(kept.catalogue.standing(TokenId(59)), Some(Standing::Gone));
    assert_eq!(kept.catalogue.tokens(), 59);
}

impl Kept {
    /// As [`Mirror::run`] goes on for so long, whatever fails.
    async fn goes_on(&mut self, time: Duration) {
        let end = self.clock.now().mono + time;
        while self.clock.now().mono < end {
            let outcome = self.mirror.step().await;
            self.mirror.in_vain = if outcome.is_ok() { 0 } else { self.mirror.in_vain + 1 };
            let pause = match outcome {
                Ok(pause) => pause,
                Err(Error::Retry { after, .. }) => after.unwrap_or(self.mirror.pause(self.mirror.in_vain)),
                Err(Error::Refused { .. }) => PAUSE * 6,
            };
            let left = end.saturating_sub(self.clock.now().mono);
            self.clock.advance(pause.min(left).max(Duration::from_millis(100)));
        }
    }

    /// After how long this token is known to be gone.
    async fn loses(&mut self, id: i64) -> Duration {
        let began = self.clock.now().mono;
        while !matches!(self.catalogue.standing(TokenId(id)), Some(Standing::Gone)) {
            self.goes_on(Duration::from_secs(1)).await;
            assert!(self.clock.now().mono - began < ALL * 2, "{id} is held for ever");
        }
        self.clock.now().mono - began
    }

    fn is_held(&self, id: i64) -> bool {
        matches!(self.catalogue.standing(TokenId(id)), Some(Standing::Held(_)))
    }
}

/// A location that fails for long ages by itself, and holds nothing up at the others.
#[tokio::test]
async fn each_location_is_as_fresh_as_it_is_itself() {
    for status in [401, 500] {
        let mut world = World::new(40).await;
        world.config.business_ids = vec![BusinessId(2), BusinessId(1)];
        world.config.requests_per_minute = 90;
        let mut kept = world.mirror();
        kept.settle().await;
        world.sandbox.change(|options| (options.fails_at, options.fails_with) = (Some(2), status));
        kept.goes_on(Duration::from_secs(3600)).await;
        let before = world.sandbox.count("sign_in");
        kept.goes_on(Duration::from_secs(3600)).await;
        let sign_ins = world.sandbox.count("sign_in") - before;
        assert!(sign_ins <= 15, "{sign_ins} in an hour");
        for id in [4, 6, 8] {
            world.sandbox.delete_token(id);
            let took = kept.loses(id).await;
            assert!(took <= INTERVAL + Duration::from_secs(5), "{status}: {took:?}");
        }
        kept.goes_on(Duration::from_secs(25 * 3600)).await;
        // Of the good one all is known, of the other nothing that may be used any more: it is asked for.
        assert!(kept.holds("code-2") && kept.catalogue.certain(TokenId(2)).is_some(), "{status}");
        assert!(!kept.holds("code-3") && kept.catalogue.certain(TokenId(3)).is_none(), "{status}");
        drop(kept);
        let again = world.mirror();
        assert!(again.holds("code-2") && !again.holds("code-3"), "{status}: after a restart");
        // And one that was never listed makes the others no worse.
        let never = World { folder: tempfile::tempdir().unwrap(), ..world };
        let mut kept = never.mirror();
        kept.goes_on(Duration::from_secs(600)).await;
        assert!(kept.holds("code-2") && !kept.catalogue.is_complete(), "{status}");
        drop(kept);
        assert!(never.mirror().holds("code-2"), "{status}");
    }
}

/// What lists hide is there, however many others went.
#[tokio::test]
async fn who_is_hidden_stays_though_many_went() {
    for (known, went) in [(true, 15), (true, 25), (true, 60), (false, 101)] {
        let world = World::new(1200).await;
        let mut kept = world.mirror();
        kept.settle().await;
        world.sandbox.change(|options| options.hides = vec![1150]);
        if known {
            kept.after(ALL).await;
        } else {
            world.in_use.lock().unwrap().insert(1150);
        }
        (100..100 + went).for_each(|id| assert!(world.sandbox.delete_token(id)));
        for _ in 0..10 {
            kept.after(INTERVAL).await;
        }
        assert!(kept.is_held(1150), "{known} {went}");
        assert_eq!(kept.catalogue.tokens(), 1200 - u64::try_from(went).unwrap(), "{known} {went}");
    }
}

/// Sessions are what matters: whoever is online is looked for before all others, and by no list.
#[tokio::test]
async fn of_many_that_went_those_in_use_are_found_first() {
    let world = World::new(1200).await;
    let mut kept = world.mirror();
    kept.settle().await;
    let in_use = (150..=300).filter(|id| id % 3 == 0);
    world.in_use.lock().unwrap().extend(in_use.clone());
    (100..=300).for_each(|id| assert!(world.sandbox.delete_token(id)));
    kept.after(INTERVAL).await;
    assert!(in_use.clone().all(|id| !kept.is_held(id)));
    assert_eq!(
        world.sandbox.count("get"),
        in_use.count() + listing::LOOKED_FOR,
        "and as many others as are looked for"
    );
}

#[tokio::test]
async fn lists_and_records_that_are_gone_for_a_moment_take_nobody_away() {
    for tokens in [3, 300] {
        let world = World::new(tokens).await;
        let mut kept = world.mirror();
        kept.settle().await;
        world.in_use.lock().unwrap().extend(1..=tokens);
        let all = u64::try_from(tokens).unwrap();
        world.sandbox.change(|options| (options.lists_nothing, options.fail_only) = (true, Some("get")));
        world.fail(Some("gone"));
        kept.after(INTERVAL).await;
        assert_eq!(kept.catalogue.tokens(), all);
        world.sandbox.change(|options| options.lists_nothing = false);
        world.fail(None);
        kept.after(INTERVAL).await;
        assert_eq!(kept.catalogue.tokens(), all);
        // It may last; and once it is over, that is seen at the next look.
        world.sandbox.change(|options| options.lists_nothing = true);
        world.fail(Some("gone"));
        for _ in 0..10 {
            kept.after(INTERVAL).await;
        }
        assert_eq!(kept.catalogue.tokens(), 0);
        world.sandbox.change(|options| options.lists_nothing = false);
        world.fail(None);
        kept.after(INTERVAL).await;
        assert_eq!(kept.catalogue.tokens(), all);
    }
}

/// A list that has not filtered shows where a token has gone.
#[tokio::test]
async fn a_token_that_moves_elsewhere_is_gone_though_filters_are_ignored() {
    for ignored in [false, true] {
        let mut world = World::new(6).await;
        world.config.business_ids = vec![BusinessId(1)];
        world.fail(ignored.then_some("ignore-filter"));
        let mut kept = world.mirror();
        kept.settle().await;
        assert_eq!(kept.catalogue.tokens(), 3);
        kept.clock.advance(Duration::from_secs(10));
        world.sandbox.edit_token(2, |record| drop(record.insert("BusinessId".to_owned(), 9.into())));
        kept.after(INTERVAL).await;
        assert!(!kept.is_held(2) && !kept.holds("code-2") && kept.is_held(4), "{ignored}");
    }
}

#[tokio::test]
async fn one_that_is_hidden_delays_no_others_end() {
    let world = World::new(300).await;
    let mut kept = world.mirror();
    kept.settle().await;
    world.sandbox.change(|options| options.hides = vec![150]);
    for _ in 0..40 {
        kept.after(INTERVAL).await;
    }
    for id in 10..16 {
        world.sandbox.delete_token(id);
        let took = kept.loses(id).await;
        assert!(took <= INTERVAL + Duration::from_secs(5), "{took:?}");
        kept.after(INTERVAL).await;
    }
    assert!(kept.is_held(150));
}

/// As above, but that a timed listing comes a second before the next look.
#[tokio::test]
async fn two_listings_in_a_row_are_not_two_opinions() {
    let world = World::new(300).await;
    let mut kept = world.mirror();
    kept.settle().await;
    world.in_use.lock().unwrap().extend(1..=50);
    kept.after(Duration::from_secs(30)).await;
    let now = kept.clock.now().mono;
    kept.mirror.next_listing = now;
    kept.mirror.locations[0].next = now + Duration::from_secs(1);
    world.sandbox.change(|options| (options.lists_nothing, options.fail_only) = (true, Some("get")));
    world.fail(Some("gone"));
    kept.settle().await;
    for _ in 0..3 {
        kept.after(Duration::from_secs(1)).await;
    }
    world.sandbox.change(|options| options.lists_nothing = false);
    world.fail(None);
    for _ in 0..3 {
        kept.after(INTERVAL).await;
    }
    assert_eq!(kept.catalogue.tokens(), 300);
}

#[tokio::test]
async fn differences_that_mean_nothing_hide_none_that_do() {
    // A length that is told wrongly; many that lists hide; tokens that move between our own locations.
    for (off, hidden) in [(1, 0), (-1, 0), (0, 45)] {
        let world = World::new(1200).await;
        world.sandbox.change(|options| options.total_off = off);
        let mut kept = world.mirror();
        kept.settle().await;
        world.sandbox.change(|options| options.hides = (200..200 + hidden).collect());
        kept.goes_on(Duration::from_secs(4 * 3600)).await;
        for id in [10, 1000] {
            world.sandbox.delete_token(id);
            let took = kept.loses(id).await;
            assert!(took <= INTERVAL + Duration::from_secs(5), "{off} {hidden}: {took:?}");
        }
    }
    let mut world = World::new(100).await;
    world.config.business_ids = vec![BusinessId(1), BusinessId(2)];
    let mut kept = world.mirror();
    kept.settle().await;
    for id in [20, 22, 24, 26] {
        kept.goes_on(Duration::from_secs(120)).await;
        world.put(id, &format!("code-{id}"), 2);
    }
    kept.goes_on(Duration::from_secs(120)).await;
    world.sandbox.delete_token(2);
    let took = kept.loses(2).await;
    assert!(took <= INTERVAL + Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn who_is_hidden_is_so_after_a_restart_too() {
    let world = World::new(1200).await;
    let mut kept = world.mirror();
    kept.settle().await;
    world.sandbox.change(|options| options.hides = vec![1150]);
    kept.goes_on(Duration::from_secs(600)).await;
    drop(kept);
    (100..200).for_each(|id| assert!(world.sandbox.delete_token(id)));
    let mut kept = world.mirror();
    kept.goes_on(Duration::from_secs(1800)).await;
    assert!(kept.is_held(1150) && kept.catalogue.tokens() == 1100, "{}", kept.catalogue.tokens());
}

/// With user and password in every call, too, a right may be missing at one location alone.
#[tokio::test]
async fn one_refused_location_silences_no_other_with_basic_either() {
    let mut world = World::new(40).await;
    world.config.auth = NexudusAuth::Basic;
    world.config.business_ids = vec![BusinessId(2), BusinessId(1)];
    world.config.requests_per_minute = 90;
    let mut kept = world.mirror();
    kept.settle().await;
    world.sandbox.change(|options| (options.fails_at, options.fails_with) = (Some(2), 401));
    for nth in 0..20 {
        kept.goes_on(Duration::from_secs(100)).await;
        let claim = Claim::Code(Code::parse(&format!("cold-{nth}")).unwrap());
        let found = kept.catalogue.obtain(&claim, Duration::from_secs(1)).await;
        assert!(matches!(found, Found::Tokens(_)), "{nth}");
    }
    world.sandbox.delete_token(4);
    let took = kept.loses(4).await;
    assert!(took <= INTERVAL + Duration::from_secs(5), "{took:?}");
}

/// One location was never listed: a code of another may be one of its codes, too.
#[tokio::test]
async fn twins_at_a_location_of_which_nothing_is_known_are_asked_for() {
    let mut world = World::new(4).await;
    world.config.business_ids = vec![BusinessId(1), BusinessId(2)];
    world.put(100, "twin", 1);
    world.put(101, "twin", 2);
    world.sandbox.change(|options| (options.fails_at, options.fails_with) = (Some(2), 500));
    let mut kept = world.mirror();
    kept.goes_on(Duration::from_secs(120)).await;
    assert!(kept.holds("twin") && kept.catalogue.may_lack());
    world.sandbox.change(|options| options.fails_at = None);
    let claim = Claim::Code(Code::parse("twin").unwrap());
    let Found::Tokens(tokens) = kept.catalogue.obtain(&claim, Duration::from_secs(1)).await else { panic!() };
    assert_eq!(tokens.len(), 2);
    let Find::Here(tokens) = kept.catalogue.find(&claim) else { panic!() };
    assert_eq!(tokens.len(), 2, "and it is kept");
    kept.goes_on(Duration::from_secs(120)).await;
    assert!(!kept.catalogue.may_lack());
}

/// A location that cannot be listed: who is online there is looked after all the same.
#[tokio::test]
async fn where_nothing_can_be_listed_those_in_use_are_read_by_their_ids() {
    let mut world = World::new(6).await;
    world.config.business_ids = vec![BusinessId(1), BusinessId(2)];
    world.sandbox.change(|options| (options.fails_at, options.fails_with) = (Some(2), 500));
    let mut kept = world.mirror();
    kept.goes_on(Duration::from_secs(120)).await;
    // Somebody was let in there by his code.
    for id in [1, 3] {
        let claim = Claim::Code(Code::parse(&format!("code-{id}")).unwrap());
        world.sandbox.change(|options| options.fails_at = None);
        assert!(matches!(kept.catalogue.obtain(&claim, Duration::from_secs(1)).await, Found::Tokens(_)));
        world.sandbox.change(|options| options.fails_at = Some(2));
    }
    world.in_use.lock().unwrap().extend([1, 3]);
    world.sandbox.delete_token(1);
    world.sandbox.edit_token(3, |record| drop(record.insert("MinutesLeft".to_owned(), 0.into())));
    kept.goes_on(INTERVAL * 4).await;
    assert!(!kept.is_held(1));
    let Some(Standing::Held(token)) = kept.catalogue.standing(TokenId(3)) else { panic!() };
    assert_eq!(token.minutes_left, Some(0));
}

#[tokio::test]
async fn an_update_that_seems_older_is_believed_after_a_while() {
    let world = World::new(4).await;
    let mut kept = world.mirror();
    kept.settle().await;
    world.sandbox.edit_token(2, |record| {
        record.insert("MinutesLeft".to_owned(), 0.into());
        record.insert("UpdatedOn".to_owned(), "2026-10-31T08:00:00Z".into());
    });
    kept.after(ALL).await;
    let Some(Standing::Held(token)) = kept.catalogue.standing(TokenId(2)) else { panic!() };
    assert_eq!(token.minutes_left, Some(0));
}

#[tokio::test]
async fn a_small_location_that_is_emptied_is_noticed_though_another_fails() {
    let mut world = World::new(6).await;
    world.config.business_ids = vec![BusinessId(1), BusinessId(2)];
    world.config.mirror_interval = Duration::from_secs(10);
    let mut kept = world.mirror();
    kept.settle().await;
    world.sandbox.change(|options| (options.fails_at, options.fails_with) = (Some(2), 500));
    kept.goes_on(Duration::from_secs(3600)).await;
    world.in_use.lock().unwrap().extend([2, 4, 6]);
    for id in [2, 4, 6] {
        world.sandbox.delete_token(id);
    }
    let took = kept.loses(6).await;
    assert!(took <= INTERVAL, "{took:?}");
}

/// Of very many tokens a listing takes minutes; of those in use, few, one is looked for at once.
#[tokio::test]
async fn of_very_many_those_in_use_are_read_before_all_are_listed() {
    let world = World::new(12_000).await;
    let mut kept = world.mirror();
    kept.settle().await;
    world.in_use.lock().unwrap().extend([7, 8, 9]);
    for id in [8, 5000] {
        world.sandbox.delete_token(id);
    }
    kept.clock.advance(INTERVAL);
    let (lists, gets) = (world.sandbox.count("list"), world.sandbox.count("get"));
    assert_eq!(kept.mirror.step().await, Ok(Duration::ZERO), "the look");
    assert!(!kept.is_held(8) && kept.is_held(7) && kept.is_held(5000));
    assert_eq!((world.sandbox.count("list") - lists, world.sandbox.count("get") - gets), (2, 3));
    kept.settle().await;
    assert!(!kept.is_held(5000) && kept.catalogue.tokens() == 11_998);
    // But not where most are said to be gone, for a moment.
    world.sandbox.change(|options| (options.lists_nothing, options.fail_only) = (true, Some("get")));
    world.fail(Some("gone"));
    kept.after(INTERVAL).await;
    assert!(kept.is_held(7) && kept.is_held(9));
}

/// One word that a token is gone may be wrong: what single reads say must fit the number, and others' lists.
#[tokio::test]
async fn single_reads_that_are_wrong_for_a_moment_take_nobody_away() {
    let world = World::new(12_000).await;
    let mut kept = world.mirror();
    kept.settle().await;
    world.in_use.lock().unwrap().extend([7, 8, 9]);
    world.sandbox.delete_token(5000);
    world.sandbox.change(|options| options.fail_only = Some("get"));
    world.fail(Some("gone"));
    kept.clock.advance(INTERVAL);
    assert!(kept.mirror.step().await.is_ok());
    world.fail(None);
    assert!([7, 8, 9].into_iter().all(|id| kept.is_held(id)), "one was missing, and three were not there");

    // Two outages of another location, far apart: each time single reads say once that nobody is there.
    let mut world = World::new(6).await;
    world.config.business_ids = vec![BusinessId(1), BusinessId(2)];
    let mut kept = world.mirror();
    kept.settle().await;
    world.in_use.lock().unwrap().extend([1, 2, 3, 4]);
    for round in 0..3 {
        world.sandbox.change(|options| {
            (options.fails_at, options.fails_with, options.fail_only) = (Some(2), 500, Some("get"));
        });
        world.fail(Some("gone"));
        kept.mirror.next_listing = Duration::ZERO;
        kept.goes_on(Duration::from_secs(45)).await;
        assert!((1..=4).all(|id| kept.is_held(id)), "{round}");
        world.fail(None);
        world.sandbox.change(|options| options.fails_at = None);
        kept.mirror.next_listing = Duration::ZERO;
        kept.goes_on(ALL * 2).await;
    }
    // It lasts: who is listed well is not asked for, and stays.
    world.sandbox.change(|options| (options.fails_at, options.fail_only) = (Some(2), Some("get")));
    world.fail(Some("gone"));
    kept.mirror.next_listing = Duration::ZERO;
    kept.goes_on(INTERVAL * 30).await;
    assert!(kept.is_held(2) && kept.is_held(4));
}

#[tokio::test]
async fn one_that_goes_each_interval_is_noticed_each_time() {
    let world = World::new(12_000).await;
    let mut kept = world.mirror();
    kept.settle().await;
    world.in_use.lock().unwrap().extend(1..=8);
    for id in 1..=8 {
        world.sandbox.delete_token(id);
        kept.after(INTERVAL).await;
        assert!(!kept.is_held(id), "{id}");
    }
}

#[tokio::test]
async fn what_was_taken_over_from_a_mirror_of_other_locations_survives_a_restart_without_internet() {
    let mut world = World::new(4).await;
    let mut before = world.mirror();
    before.settle().await;
    world.fail(Some("down"));
    world.config.business_ids = vec![BusinessId(1)];
    let after = world.mirror();
    assert!(!after.holds("code-2"), "the file was of other locations");
    after.catalogue.take_over(&before.catalogue, &world.config.business_ids);
    assert!(after.holds("code-2") && !after.holds("code-1"));
    after.mirror.write_singly().await;
    drop((before, after));
    let again = world.mirror();
    let found = again.catalogue.find(&Claim::Code(Code::parse("code-2").unwrap()));
    assert!(matches!(found, Find::Ask { stale: Some(_) }), "{found:?}");
}
