//! Users at the sandbox, over real sockets; the clock is moved by hand.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tokio::sync::watch;

use super::*;
use crate::core::token::tests::token;
use crate::gate::Supply;
use crate::ledger::any::uses;
use crate::sandbox::ironwifi::{Fault as Played, Sandbox, User as There};
use crate::{clock::Clock, config};

const WALL: &str = "2026-11-23T10:00:00Z";

struct World {
    sandbox: Sandbox,
    clock: Clock,
    gate: Arc<Gate>,
    live: Arc<Live>,
    folder: tempfile::TempDir,
    users: Option<Users>,
}

fn live(sandbox: &Sandbox, more: &str) -> Arc<Live> {
    let text = format!(
        "[source]\nkind = \"file\"\npath = \"t\"\n[[nas]]\nname = \"ironwifi\"\naddress = \"192.0.2.1\"\n\
         secret = \"a secret for tests\"\n[ironwifi.push]\nbase_url = \"{}\"\napi_key = \"demo\"\nnas = \"ironwifi\"\n{more}\n",
        sandbox.base_url()
    );
    let settings = config::from_str(&text, "spotgate.toml".as_ref(), &|_| None).unwrap().settings;
    Arc::new(Live::new(settings).unwrap())
}

impl World {
    async fn new(tokens: &[AccessToken]) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (sandbox, clock) = (Sandbox::start_local().await.unwrap(), Clock::manual(WALL.parse().unwrap()));
        let live = live(&sandbox, "");
        let catalogue = Arc::new(Catalogue::new(&live.settings.cache, None, false, clock.clone()));
        let supply = Supply {
            catalogue,
            health: Arc::default(),
            mirror: None,
            write_back: Arc::default(),
            hint: Arc::default(),
        };
        let gate = Arc::new(Gate::new(Arc::new(supply), Arc::default(), Arc::default(), clock.clone()));
        let folder = tempfile::tempdir().unwrap();
        let world = Self { sandbox, clock, gate, live, folder, users: None };
        world.have(tokens);
        world
    }

    /// These are the tokens from now on.
    fn have(&self, tokens: &[AccessToken]) {
        self.gate.supply().catalogue.replace(tokens.iter().cloned().map(Arc::new).collect());
    }

    /// One look, as [`push`] does it; what is wrong then.
    async fn look(&mut self) -> Option<String> {
        let push = self.live.settings.ironwifi.push.clone().unwrap();
        let begun = begun(self.users.take(), &push, &self.gate, self.folder.path()).await.unwrap();
        let pause = self.users.insert(begun).look(&self.live).await;
        self.clock.sleep(pause).await;
        self.gate.ironwifi.words()
    }

    /// Looks until nothing but lists was called for longer than anything rests.
    async fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..1000 {
            let _ = self.sandbox.take_seen();
            let trouble = self.look().await;
            let is_fine = trouble.is_none_or(|trouble| trouble.contains("several have one code"));
            let is_quiet = self.sandbox.take_seen().iter().all(|call| call == "GET /users");
            quiet = if is_fine && is_quiet { quiet + 1 } else { 0 };
            if quiet == 90 {
                return;
            }
        }
        panic!("it never settles: {:?}", self.gate.ironwifi.words());
    }

    /// The process ends here, and another begins.
    fn restart(&mut self) {
        self.users = None;
    }

    /// Names, with seconds in all and devices at once.
    fn there(&self) -> BTreeMap<String, (Option<u64>, Option<u64>)> {
        let number = |user: &There, name: &str| {
            let values: Vec<&str> = user
                .attributes
                .iter()
                .filter(|(_, attribute, _)| attribute == name)
                .map(|(.., value)| value.as_str())
                .collect();
            assert!(values.len() <= 1, "{user:?}");
            values.first().map(|value| value.parse().unwrap())
        };
        let users = self.sandbox.users();
        let limits = |user: &There| (number(user, "Max-All-Session"), number(user, "Simultaneous-Use"));
        users.values().map(|user| (user.name.clone(), limits(user))).collect()
    }
}

fn minutes(token: AccessToken, minutes: i32) -> AccessToken {
    AccessToken { minutes_left: Some(minutes), ..token }
}

#[tokio::test]
async fn users_come_change_and_go_with_their_tokens() {
    let mut world = World::new(&[token(1, "kx7q-91mp"), AccessToken { user_limit: Some(3), ..token(2, "0042") }]).await;
    assert_eq!(world.look().await, None);
    let first = world.sandbox.users().into_iter().next().unwrap();
    assert_eq!(
        first.1.attributes.iter().map(|(table, name, value)| (&**table, &**name, &**value)).collect::<Vec<_>>(),
        [
            ("radcheck", "Cleartext-Password", &*first.1.name),
            ("radcheck", "Max-All-Session", "3600"),
            ("radcheck", "Simultaneous-Use", if first.1.name == "0042" { "3" } else { "1" }),
            ("radreply", "Acct-Interim-Interval", "300"),
            ("radreply", "Session-Timeout", "86400"),
        ]
    );
    let both =
        BTreeMap::from([("kx7q-91mp".to_owned(), (Some(3600), Some(1))), ("0042".to_owned(), (Some(3600), Some(3)))]);
    assert_eq!(world.there(), both);
    // Nobody can log in before the limits are there.
    let seen = world.sandbox.take_seen();
    let limits = ["POST /users", "POST /attributes", "POST /attributes", "POST /attributes", "POST /attributes"];
    let read = ["GET /attributes", "GET /attributes"];
    let of_one = [&limits[..], &read, &["POST /attributes"]].concat();
    assert_eq!(seen, [&["GET /users"], &of_one[..], &of_one[..]].concat());

    // Nothing to do is nothing called.
    assert_eq!((world.look().await, world.sandbox.take_seen().len()), (None, 0));

    // More is told at once, less when it is worth two calls.
    world.have(&[minutes(token(1, "kx7q-91mp"), 90), minutes(token(2, "0042"), 58)]);
    world.settle().await;
    assert_eq!(world.there()["kx7q-91mp"].0, Some(5400));
    assert_eq!(world.there()["0042"], (Some(3480), Some(1)), "what else changes takes it along");

    // Another code is another user; one that is over has none.
    world.have(&[minutes(token(1, "new-code"), 90), AccessToken { valid_to: WALL.parse().ok(), ..token(2, "0042") }]);
    world.settle().await;
    assert_eq!(world.there(), BTreeMap::from([("new-code".to_owned(), (Some(5400), Some(1)))]));
    world.have(&[]);
    world.settle().await;
    assert_eq!(world.there(), BTreeMap::new());
}

#[tokio::test]
async fn what_is_used_at_our_routers_is_not_left_there() {
    let mut world = World::new(&[token(1, "kx7q-91mp")]).await;
    let (policy, now) = (&world.live.settings.policy, world.clock.now().wall);
    let began = now.checked_sub(jiff::SignedDuration::from_secs(3600)).unwrap();
    uses(&world.gate.ledger, &token(1, "kx7q-91mp"), 1, 1800, policy, (began, now));
    world.settle().await;
    assert_eq!(world.there()["kx7q-91mp"].0, Some(1800));
}

#[tokio::test]
async fn users_of_others_are_left_alone() {
    let mut world = World::new(&[token(1, "Reception"), token(2, "0042")]).await;
    let id = world.sandbox.put_user("reception");
    let before = world.sandbox.users()[&id].clone();
    let trouble = world.look().await.unwrap();
    assert_eq!(trouble, "1 tokens have no user: their codes are names of other users there");
    assert!(!world.sandbox.take_seen().iter().any(|call| call == "POST /users/"), "it is known before it is asked for");
    assert_eq!(world.there().len(), 2);
    assert_eq!(world.sandbox.users()[&id], before);

    // One that came since the list.
    let other = world.sandbox.put_user("0815");
    world.have(&[token(1, "Reception"), token(2, "0042"), token(3, "0815")]);
    let trouble = world.look().await.unwrap();
    assert!(trouble.starts_with("1 tokens have no user: IronWifi does not take"), "{trouble}");
    world.restart();
    world.have(&[]);
    world.settle().await;
    assert_eq!(world.sandbox.users().into_keys().collect::<Vec<_>>(), [id, other]);
}

#[tokio::test]
async fn a_user_that_somebody_deleted_comes_again() {
    let mut world = World::new(&[token(1, "kx7q-91mp")]).await;
    world.settle().await;
    let id = *world.sandbox.users().keys().next().unwrap();
    world.sandbox.delete_user(id);
    world.clock.advance(LIST_EVERY);
    world.settle().await;
    assert_eq!(world.there().len(), 1);
    // Found at a change, too.
    world.sandbox.delete_user(*world.sandbox.users().keys().next().unwrap());
    world.have(&[minutes(token(1, "kx7q-91mp"), 90)]);
    world.settle().await;
    assert_eq!(world.there()["kx7q-91mp"].0, Some(5400));
}

#[tokio::test]
async fn one_that_was_made_and_not_heard_of_is_found() {
    let mut world = World::new(&[token(1, "kx7q-91mp")]).await;
    world.sandbox.fail("POST /users", Played::Lost, 1);
    assert!(world.look().await.unwrap().contains("the connection to IronWifi broke"));
    world.restart();
    world.settle().await;
    assert_eq!(world.there(), BTreeMap::from([("kx7q-91mp".to_owned(), (Some(3600), Some(1)))]));
    // The same, and its token goes before it is found.
    world.sandbox.fail("POST /users", Played::Lost, 1);
    world.have(&[token(2, "0042")]);
    world.look().await;
    world.have(&[]);
    world.settle().await;
    assert_eq!(world.there(), BTreeMap::new());
}

#[tokio::test]
async fn a_refusal_is_said_and_a_pause_is_kept() {
    let mut world = World::new(&[token(1, "kx7q-91mp")]).await;
    world.sandbox.fail("GET /users", Played::Status(403), 1);
    assert!(world.look().await.unwrap().contains("ironwifi.push.api_key_file"));
    world.sandbox.fail("GET /users", Played::Status(429), 1);
    let before = world.clock.now().mono;
    assert!(world.look().await.unwrap().contains("api_key_file"), "that ends no trouble");
    assert_eq!(world.clock.now().mono - before, Duration::from_secs(10), "as it was asked for, at least");
    world.settle().await;
    world.sandbox.fail("GET /users", Played::Status(429), 30);
    world.clock.advance(LIST_EVERY);
    let looks = async |world: &mut World| {
        let mut looks = 0;
        while world.look().await.is_none() && looks < 100 {
            looks += 1;
        }
        looks
    };
    assert_eq!(looks(&mut world).await, u64::from(PATIENCE), "a pause now and then is no trouble");
    world.sandbox.forgive();
    world.settle().await;
    // The key is sent nowhere else.
    for number in 0..30 {
        world.sandbox.put_user(&format!("other-{number}"));
    }
    world.sandbox.set_pages_elsewhere(true);
    world.clock.advance(LIST_EVERY);
    assert!(world.look().await.unwrap().contains("goes on elsewhere"));
}

#[tokio::test]
async fn one_of_the_same_name_that_somebody_else_made_is_not_taken_for_ours() {
    let mut world = World::new(&[token(1, "kx7q-91mp")]).await;
    // Nobody knows whether it was made; it was not, and an operator makes one.
    world.sandbox.fail("POST /users", Played::Status(500), 1);
    world.look().await;
    let id = world.sandbox.put_user("KX7Q-91mp");
    world.sandbox.change_user(id, "KX7Q-91mp", ("radcheck", "Cleartext-Password", "of-the-operator"));
    let before = world.sandbox.users();
    for _ in 0..20 {
        world.look().await;
    }
    world.have(&[]);
    world.settle().await;
    assert_eq!(world.sandbox.users(), before);
}

#[tokio::test]
async fn a_user_of_ours_that_has_another_name_by_now_is_nobodys() {
    let mut world = World::new(&[token(1, "kx7q-91mp")]).await;
    world.settle().await;
    // Another account, say, that numbers its users likewise.
    let id = *world.sandbox.users().keys().next().unwrap();
    world.sandbox.change_user(id, "boss", ("radreply", "Tunnel-Private-Group-Id", "7"));
    let before = world.sandbox.users()[&id].clone();
    world.restart();
    world.have(&[minutes(token(1, "kx7q-91mp"), 90)]);
    world.settle().await;
    assert_eq!(world.sandbox.users()[&id], before);
    assert_eq!(world.there()["kx7q-91mp"].0, Some(5400));
}

#[tokio::test]
async fn a_user_is_gone_when_a_list_says_so() {
    let mut world = World::new(&[token(1, "kx7q-91mp")]).await;
    world.settle().await;
    world.have(&[]);
    world.sandbox.fail("DELETE /users/", Played::Status(404), 1);
    world.look().await;
    assert_eq!(world.there().len(), 1, "it was a lie");
    world.restart();
    for _ in 0..100 {
        world.look().await;
    }
    assert_eq!(world.there().len(), 0);
}

#[tokio::test]
async fn what_cannot_be_deleted_or_changed_keeps_nobody_else_waiting() {
    let codes: Vec<String> = (0..6).map(|number| format!("code-{number}")).collect();
    let tokens: Vec<AccessToken> = (1..).zip(&codes).map(|(id, code)| token(id, code)).collect();
    let mut world = World::new(&tokens).await;
    world.settle().await;
    world.have(&[token(9, "new")]);
    world.sandbox.fail("DELETE /users/", Played::Status(405), 1000);
    let _ = world.sandbox.take_seen();
    let began = world.clock.now().mono;
    while world.clock.now().mono < began + REST {
        world.look().await;
    }
    assert_eq!(world.gate.ironwifi.words().unwrap(), format!("6 {UNDELETED}"));
    let deletions = world.sandbox.take_seen().iter().filter(|call| *call == "DELETE /users/").count();
    assert_eq!((deletions, world.there()["new"].0), (6, Some(3600)), "each is tried once in a while");
    world.sandbox.forgive();
    world.settle().await;
    assert_eq!(world.there().len(), 1);

    // One whose creation never gets through.
    world.have(&[tokens.clone(), vec![token(9, "new")]].concat());
    world.sandbox.fail("POST /users", Played::Status(500), 1);
    world.sandbox.fail("POST /users", Played::Status(500), 1);
    world.look().await;
    assert!(world.there().len() > 1, "others have their turn");
    world.settle().await;
    assert_eq!(world.there().len(), 7);
}

#[tokio::test]
async fn there_is_a_limit_at_any_time_also_where_one_attribute_replaces_another() {
    let mut world = World::new(&[token(1, "kx7q-91mp")]).await;
    world.sandbox.set_replaces(true);
    world.settle().await;
    world.have(&[minutes(token(1, "kx7q-91mp"), 90)]);
    world.settle().await;
    assert_eq!(world.there()["kx7q-91mp"].0, Some(5400));
    // The other limit is not taken: the one there is stays.
    let mut settings = world.live.settings.clone();
    settings.policy.counting = crate::core::policy::Counting::Elapsed;
    world.live = Arc::new(Live::new(settings).unwrap());
    world.sandbox.fail("POST /attributes", Played::Status(422), 1);
    assert!(world.look().await.is_some());
    assert_eq!(world.there()["kx7q-91mp"].0, Some(5400));
    world.settle().await;
    assert_eq!(world.there()["kx7q-91mp"].0, None);
    let user = world.sandbox.users().into_values().next().unwrap();
    assert!(user.attributes.contains(&("radcheck".to_owned(), "Expire-After".to_owned(), "5400".to_owned())));
}

#[tokio::test]
async fn a_user_whose_limit_is_not_kept_gets_no_password() {
    let mut world = World::new(&[token(1, "kx7q-91mp")]).await;
    // Answered as if it were done.
    world.sandbox.fail("POST /attributes", Played::Status(200), 1);
    assert!(world.look().await.is_some());
    let has = |world: &World, name: &str| {
        let user = world.sandbox.users().into_values().next().unwrap();
        user.attributes.iter().any(|(_, known, _)| known == name)
    };
    assert!(!has(&world, "Cleartext-Password") && !has(&world, "Max-All-Session"));
    world.settle().await;
    assert!(has(&world, "Cleartext-Password") && has(&world, "Max-All-Session"));
}

#[tokio::test]
async fn tokens_that_go_without_a_user_are_told_of() {
    let mut world = World::new(&[token(1, "twin"), token(2, "TWIN"), token(3, "other")]).await;
    world.look().await;
    assert_eq!(world.look().await.unwrap(), "2 tokens have no user: several have one code, whatever its case");
}

#[tokio::test]
async fn all_are_withdrawn_where_that_is_asked_for() {
    let mut world = World::new(&[token(1, "kx7q-91mp")]).await;
    let other = world.sandbox.put_user("other");
    world.settle().await;
    world.live = live(&world.sandbox, "withdraw = true");
    world.settle().await;
    assert_eq!(world.sandbox.users().into_keys().collect::<Vec<_>>(), [other]);
}

#[tokio::test]
async fn it_runs_until_it_is_told_otherwise() {
    let world = World::new(&[token(1, "kx7q-91mp")]).await;
    let (settings, current) = watch::channel(Arc::clone(&world.live));
    let running = tokio::spawn(push(Arc::clone(&world.gate), current, world.folder.path().to_owned()));
    let there = async {
        while world.there().get("kx7q-91mp").is_none_or(|limits| limits.1.is_none()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), there).await.unwrap();
    drop(settings);
    running.await.unwrap();
}

/// What happens to a token, or on the way to IronWifi.
#[derive(Clone, Debug)]
enum Happens {
    Is(i64, &'static str, i32),
    Goes(i64),
    Passes(u64),
    Fails(&'static str, Played, u32),
    Deleted(usize),
    Restarts,
}

fn happens() -> impl Strategy<Value = Happens> {
    let calls = [
        "GET /users",
        "POST /users",
        "GET /users/",
        "DELETE /users/",
        "GET /attributes",
        "POST /attributes",
        "DELETE /attributes/",
    ];
    let faults = [
        Played::Lost,
        Played::Lost,
        Played::Status(500),
        Played::Status(429),
        Played::Status(404),
        Played::Status(422),
    ];
    let codes = prop::sample::select(vec!["a-1", "A-1", "b-2", "c-3"]);
    let fails = (prop::sample::select(calls.to_vec()), prop::sample::select(faults.to_vec()), 1..3u32);
    // That there is no such attribute is believed.
    let is_lie = |call: &str, fault: Played| call == "DELETE /attributes/" && fault == Played::Status(404);
    let fails = fails.prop_filter("a lie", move |(call, fault, _)| !is_lie(call, *fault));
    prop_oneof![
        4 => (1..4i64, codes, 1..200i32).prop_map(|(id, code, left)| Happens::Is(id, code, left)),
        2 => (1..4i64).prop_map(Happens::Goes),
        2 => (0..4000u64).prop_map(Happens::Passes),
        4 => fails.prop_map(|(call, fault, times)| Happens::Fails(call, fault, times)),
        1 => (0..4usize).prop_map(Happens::Deleted),
        2 => Just(Happens::Restarts),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever happens to tokens, to calls and to the process: in the end there is one user for each token that may go
    /// online, with its limits once, and those of others are as they were.
    #[test]
    fn in_the_end_users_are_as_tokens_are(steps in prop::collection::vec(happens(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(&[]).await;
            let other = world.sandbox.put_user("other");
            let mut tokens: BTreeMap<i64, AccessToken> = BTreeMap::new();
            for step in steps {
                match step {
                    Happens::Is(id, code, left) => {
                        tokens.insert(id, minutes(token(id, code), left));
                    }
                    Happens::Goes(id) => drop(tokens.remove(&id)),
                    Happens::Passes(seconds) => world.clock.advance(Duration::from_secs(seconds)),
                    Happens::Fails(call, fault, times) => world.sandbox.fail(call, fault, times),
                    Happens::Deleted(index) => {
                        let users = world.sandbox.users();
                        let ours: Vec<&u64> = users.keys().filter(|id| **id != other).collect();
                        if let Some(id) = ours.get(index) {
                            world.sandbox.delete_user(**id);
                        }
                    }
                    Happens::Restarts => world.restart(),
                }
                world.have(&tokens.values().cloned().collect::<Vec<_>>());
                world.look().await;
            }
            world.sandbox.forgive();
            world.clock.advance(LIST_EVERY);
            world.settle().await;
            let mut expected = BTreeMap::from([("other".to_owned(), (None, None))]);
            for token in tokens.values() {
                let twice = tokens.values().filter(|other| other.code.key() == token.code.key()).count() > 1;
                if !twice {
                    let left = u64::try_from(token.minutes_left.unwrap()).unwrap() * 60;
                    expected.insert(token.code.reveal().to_owned(), (Some(left), Some(1)));
                }
            }
            let there = world.there();
            assert_eq!(there.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
            for (name, (left, devices)) in &expected {
                let (told, at_once) = there[name];
                assert_eq!(at_once, *devices);
                let over = told.zip(*left).map(|(told, left)| told.checked_sub(left));
                assert!(told == *left || over.flatten().is_some_and(|over| over < 300), "{name}: {told:?} of {left:?}");
            }
        });
    }
}
