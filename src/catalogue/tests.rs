//! What memory says at which age, and how often the source is asked. The clock is moved by hand, tokio's stands still.

use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use tokio::sync::{Barrier, Semaphore};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::core::ident::Code;
use crate::core::token::tests::token;
use crate::source::LookUp;

/// What the source does when it is asked.
#[derive(Clone)]
enum Does {
    Answers(Vec<AccessToken>),
    AnswersAfter(Duration, Vec<AccessToken>),
    Fails,
    Hangs,
    Panics,
}

fn versions(tokens: Vec<AccessToken>) -> Vec<Version> {
    tokens.into_iter().map(|token| Version { token: Arc::new(token), updated: None }).collect()
}

/// A source that does as it is told and keeps what it was asked.
struct Fake {
    does: Mutex<Does>,
    asked: Mutex<Vec<Claim>>,
}

impl Fake {
    fn now(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Origin for Fake {
    fn look_up<'a>(&'a self, claim: &'a Claim) -> LookUp<'a> {
        self.asked.lock().unwrap().push(claim.clone());
        let does = self.does.lock().unwrap().clone();
        Box::pin(async move {
            match does {
                Does::Answers(tokens) => Ok(versions(tokens)),
                Does::AnswersAfter(pause, tokens) => {
                    sleep(pause).await;
                    Ok(versions(tokens))
                }
                Does::Fails => Err(away()),
                Does::Hangs => std::future::pending().await,
                Does::Panics => panic!("the source breaks"),
            }
        })
    }
}

/// A source that answers everybody at once when it is let: one permit for each look-up.
struct Gated {
    open: Semaphore,
    asked: AtomicUsize,
    panics: bool,
}

impl Gated {
    fn shut(panics: bool) -> Arc<Self> {
        Arc::new(Self { open: Semaphore::new(0), asked: AtomicUsize::new(0), panics })
    }
}

impl Origin for Gated {
    fn look_up<'a>(&'a self, claim: &'a Claim) -> LookUp<'a> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            self.open.acquire().await.unwrap().forget();
            assert!(!self.panics, "the source breaks");
            match claim {
                Claim::Code(code) => Ok(versions(vec![token(1, code.reveal())])),
                Claim::Device(_) => Ok(Vec::new()),
            }
        })
    }
}

fn away() -> Error {
    Error::Retry { what: "the source is away".to_owned(), after: None }
}

/// The times of the contract.
fn times() -> config::Cache {
    config::Cache {
        fresh_for: Duration::from_secs(60),
        stale_for: Duration::from_secs(24 * 3600),
        unknown_for: Duration::from_secs(15),
        max_tokens: 100_000,
        first_answer_within: Duration::from_millis(200),
    }
}

fn clock() -> Clock {
    Clock::manual("2026-11-23T12:00:00Z".parse::<Timestamp>().unwrap())
}

fn over(origin: Arc<dyn Origin>) -> (Arc<Catalogue>, Clock) {
    let clock = clock();
    (Arc::new(Catalogue::new(&times(), Some(origin), false, clock.clone())), clock)
}

fn world(does: Does) -> (Arc<Catalogue>, Arc<Fake>, Clock) {
    let source = Arc::new(Fake { does: Mutex::new(does), asked: Mutex::default() });
    let (catalogue, clock) = over(source.clone());
    (catalogue, source, clock)
}

fn copy<const N: usize>(tokens: [AccessToken; N]) -> Vec<Arc<AccessToken>> {
    tokens.map(Arc::new).into()
}

fn code(text: &str) -> Claim {
    Claim::Code(Code::parse(text).unwrap())
}

fn ids(tokens: &Tokens) -> Vec<i64> {
    tokens.iter().map(|token| token.id.0).collect()
}

/// A look into memory, in words.
fn find(catalogue: &Catalogue, claim: &Claim) -> String {
    match catalogue.find(claim) {
        Find::Here(tokens) => format!("here {:?}", ids(&tokens)),
        Find::Ask { stale: Some(tokens) } => format!("ask, or {:?}", ids(&tokens)),
        Find::Ask { stale: None } => "ask".to_owned(),
        Find::Nothing => "nothing".to_owned(),
    }
}

/// The ids that were obtained; `None`: the source is unavailable.
async fn obtain(catalogue: &Arc<Catalogue>, claim: &Claim) -> Option<Vec<i64>> {
    match catalogue.obtain(claim, catalogue.patience()).await {
        Found::Tokens(tokens) => Some(ids(&tokens)),
        Found::Unavailable => None,
    }
}

/// Lets the others run until it has come to this.
async fn until(reached: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if reached() {
            return;
        }
        yield_now().await;
    }
    panic!("it does not come to this");
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[tokio::test]
async fn a_fresh_copy_is_served_without_asking() {
    let (catalogue, source, clock) = world(Does::Answers(vec![token(1, "abc")]));
    let abc = code("abc");
    assert_eq!(find(&catalogue, &abc), "ask");
    assert_eq!(obtain(&catalogue, &abc).await, Some(vec![1]));
    source.now(Does::Answers(vec![token(2, "abc")]));
    clock.advance(millis(59_999));
    assert_eq!(find(&catalogue, &abc), "here [1]");
    assert_eq!((obtain(&catalogue, &abc).await, source.asked()), (Some(vec![1]), 1));
    clock.advance(millis(1));
    assert_eq!(find(&catalogue, &abc), "ask, or [1]");
    assert_eq!((obtain(&catalogue, &abc).await, source.asked()), (Some(vec![2]), 2), "what the source says now");
    clock.advance(millis(59_999));
    assert_eq!(find(&catalogue, &abc), "here [2]", "fresh from when it was fetched again");
}

#[tokio::test]
async fn no_such_code_is_remembered_for_a_short_while_and_never_stale() {
    let (catalogue, source, clock) = world(Does::Answers(Vec::new()));
    let abc = code("abc");
    assert_eq!(obtain(&catalogue, &abc).await, Some(vec![]));
    clock.advance(millis(14_999));
    assert_eq!(find(&catalogue, &abc), "here []");
    assert_eq!((obtain(&catalogue, &abc).await, source.asked()), (Some(vec![]), 1));
    clock.advance(millis(1));
    assert_eq!(find(&catalogue, &abc), "ask");
    source.now(Does::Fails);
    assert_eq!(obtain(&catalogue, &abc).await, None, "an old `no such code` is no copy that may be used");
    source.now(Does::Answers(vec![token(7, "abc")]));
    assert_eq!(obtain(&catalogue, &abc).await, Some(vec![7]), "registered in the meantime");
}

#[tokio::test]
async fn a_look_up_that_failed_is_not_no_such_code() {
    let (catalogue, source, _) = world(Does::Fails);
    let abc = code("abc");
    assert_eq!(obtain(&catalogue, &abc).await, None);
    assert_eq!(find(&catalogue, &abc), "ask", "nothing is remembered of it");
    assert_eq!((obtain(&catalogue, &abc).await, source.asked()), (None, 2));
    source.now(Does::Answers(vec![token(1, "abc")]));
    assert_eq!((obtain(&catalogue, &abc).await, source.asked()), (Some(vec![1]), 3));
}

#[tokio::test]
async fn a_stale_copy_answers_for_a_source_that_fails_for_a_day() {
    let (catalogue, source, clock) = world(Does::Answers(vec![token(1, "abc")]));
    let abc = code("abc");
    assert_eq!(obtain(&catalogue, &abc).await, Some(vec![1]));
    source.now(Does::Fails);
    clock.advance(Duration::from_secs(60));
    assert_eq!((obtain(&catalogue, &abc).await, source.asked()), (Some(vec![1]), 2));
    assert_eq!((obtain(&catalogue, &abc).await, source.asked()), (Some(vec![1]), 3), "asked anew each time");
    clock.advance(Duration::from_secs(24 * 3600 - 60));
    assert_eq!(find(&catalogue, &abc), "ask, or [1]", "aged from the last answer, to the very day");
    assert_eq!(obtain(&catalogue, &abc).await, Some(vec![1]));
    clock.advance(millis(1));
    assert_eq!(find(&catalogue, &abc), "ask");
    assert_eq!(obtain(&catalogue, &abc).await, None);
}

#[tokio::test]
async fn what_was_deleted_upstream_does_not_come_back_stale() {
    let (catalogue, source, clock) = world(Does::Answers(vec![token(1, "abc")]));
    let abc = code("abc");
    assert_eq!(obtain(&catalogue, &abc).await, Some(vec![1]));
    clock.advance(Duration::from_secs(60));
    source.now(Does::Answers(Vec::new()));
    assert_eq!(obtain(&catalogue, &abc).await, Some(vec![]));
    clock.advance(Duration::from_secs(15));
    source.now(Does::Fails);
    assert_eq!(obtain(&catalogue, &abc).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_stale_copy_answers_when_the_source_does_not_in_the_time_a_router_waits() {
    let (catalogue, source, clock) = world(Does::Answers(vec![token(1, "abc")]));
    let abc = code("abc");
    assert_eq!(obtain(&catalogue, &abc).await, Some(vec![1]));
    clock.advance(Duration::from_secs(60));
    let began = Instant::now();
    source.now(Does::AnswersAfter(millis(799), vec![token(2, "abc")]));
    assert_eq!(obtain(&catalogue, &abc).await, Some(vec![2]), "600 ms, or 799, are worth the wait");
    assert_eq!(began.elapsed(), millis(799));

    clock.advance(Duration::from_secs(60));
    let began = Instant::now();
    source.now(Does::AnswersAfter(millis(2000), vec![token(3, "abc")]));
    assert_eq!(obtain(&catalogue, &abc).await, Some(vec![2]));
    assert_eq!(began.elapsed(), millis(800), "4 × first_answer_within");
    assert_eq!(find(&catalogue, &abc), "ask, or [2]");
    assert_eq!((obtain(&catalogue, &abc).await, source.asked()), (Some(vec![2]), 3), "joins the look-up under way");
    sleep(millis(500)).await;
    assert_eq!(find(&catalogue, &abc), "here [3]", "which ran on although nobody waited");
}

#[tokio::test(start_paused = true)]
async fn without_a_copy_the_wait_is_the_sources_own() {
    let (catalogue, source, _) = world(Does::AnswersAfter(Duration::from_secs(25), vec![token(1, "abc")]));
    let began = Instant::now();
    assert_eq!(obtain(&catalogue, &code("abc")).await, Some(vec![1]));
    assert_eq!(began.elapsed(), Duration::from_secs(25));
    source.now(Does::Hangs);
    let waited = timeout(Duration::from_secs(3600), catalogue.obtain(&code("other"), millis(800))).await;
    assert!(waited.is_err(), "no deadline of its own");
}

#[tokio::test]
async fn two_hundred_at_once_cost_one_look_up() {
    let source = Gated::shut(false);
    let (catalogue, _) = over(source.clone());
    let mut guests = JoinSet::new();
    for _ in 0..200 {
        let catalogue = Arc::clone(&catalogue);
        guests.spawn(async move { obtain(&catalogue, &code("abc")).await });
    }
    until(|| source.asked.load(Ordering::SeqCst) > 0).await;
    yield_now().await;
    source.open.add_permits(200);
    assert_eq!(guests.join_all().await, vec![Some(vec![1]); 200]);
    assert_eq!(source.asked.load(Ordering::SeqCst), 1);
}

/// The source answers at once here, so that some come while the look-up runs, some as it ends and some after.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn two_hundred_on_many_threads_cost_one_look_up() {
    let source = Gated::shut(false);
    source.open.add_permits(1000);
    let (catalogue, _) = over(source.clone());
    for round in 1..=20 {
        let barrier = Arc::new(Barrier::new(200));
        let mut guests = JoinSet::new();
        for _ in 0..200 {
            let (catalogue, barrier) = (Arc::clone(&catalogue), Arc::clone(&barrier));
            guests.spawn(async move {
                barrier.wait().await;
                obtain(&catalogue, &code(&format!("code-{round}"))).await
            });
        }
        assert_eq!(guests.join_all().await, vec![Some(vec![1]); 200]);
        assert_eq!(source.asked.load(Ordering::SeqCst), round);
    }
}

#[tokio::test]
async fn who_comes_as_a_look_up_ends_does_not_begin_another() {
    let (catalogue, source, clock) = world(Does::Answers(vec![token(1, "abc")]));
    let abc = code("abc");
    assert_eq!(obtain(&catalogue, &abc).await, Some(vec![1]));
    // As if the look into memory had come before the copy, and the lock after it.
    let outcome = catalogue.join_or_begin(&abc, false).unwrap();
    assert_eq!(ids(outcome.borrow().as_ref().unwrap().as_ref().unwrap()), [1]);
    assert_eq!(source.asked(), 1);
    clock.advance(Duration::from_secs(60));
    assert!(catalogue.join_or_begin(&abc, false).unwrap().borrow().is_none(), "a stale copy is no answer");
}

#[tokio::test]
async fn codes_and_devices_are_asked_for_each_by_itself() {
    let (catalogue, source, _) = world(Does::Answers(vec![token(1, "abc"), token(2, "ABC")]));
    let mac = Mac::new([2; 6]);
    assert_eq!(obtain(&catalogue, &code("abc")).await, Some(vec![1, 2]), "twins are kept both");
    assert_eq!(obtain(&catalogue, &code("ABC")).await, Some(vec![1, 2]));
    assert_eq!(source.asked(), 2, "nobody knows how the source folds case");
    assert_eq!(obtain(&catalogue, &Claim::Device(mac)).await, Some(vec![1, 2]));
    assert_eq!(obtain(&catalogue, &code("02:02:02:02:02:02")).await, Some(vec![1, 2]));
    let asked = [code("abc"), code("ABC"), Claim::Device(mac), code("02:02:02:02:02:02")];
    assert_eq!(*source.asked.lock().unwrap(), asked);
    assert_eq!(catalogue.tokens(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_device_does_not_wait_for_a_source_that_hangs() {
    let (catalogue, _, _) = world(Does::Hangs);
    let began = Instant::now();
    assert_eq!(obtain(&catalogue, &Claim::Device(Mac::new([2; 6]))).await, None);
    assert_eq!(began.elapsed(), millis(800));
}

#[tokio::test]
async fn what_does_not_exist_is_no_copy() {
    let (catalogue, source, _) = world(Does::Answers(Vec::new()));
    assert!(!catalogue.is_usable());
    obtain(&catalogue, &code("none")).await;
    assert_eq!((catalogue.tokens(), catalogue.is_usable()), (0, false));
    source.now(Does::Answers(vec![token(1, "abc")]));
    obtain(&catalogue, &code("abc")).await;
    assert_eq!((catalogue.tokens(), catalogue.is_usable()), (1, true));
}

#[tokio::test]
async fn a_source_that_panics_frees_its_place() {
    let (catalogue, source, clock) = world(Does::Panics);
    let abc = code("abc");
    assert_eq!(obtain(&catalogue, &abc).await, None);
    assert!(catalogue.in_flight.lock().unwrap().is_empty());
    source.now(Does::Answers(vec![token(1, "abc")]));
    assert_eq!(obtain(&catalogue, &abc).await, Some(vec![1]));
    assert!(catalogue.in_flight.lock().unwrap().is_empty(), "as one that answers does");
    clock.advance(Duration::from_secs(60));
    source.now(Does::Panics);
    assert_eq!(obtain(&catalogue, &abc).await, Some(vec![1]), "the stale copy");
}

#[tokio::test]
async fn everybody_who_waited_hears_of_a_panic() {
    let source = Gated::shut(true);
    let (catalogue, _) = over(source.clone());
    let mut guests = JoinSet::new();
    for _ in 0..20 {
        let catalogue = Arc::clone(&catalogue);
        guests.spawn(async move { obtain(&catalogue, &code("abc")).await });
    }
    until(|| source.asked.load(Ordering::SeqCst) > 0).await;
    yield_now().await;
    source.open.add_permits(200);
    assert_eq!(guests.join_all().await, vec![None; 20]);
}

#[tokio::test]
async fn a_look_up_runs_on_when_nobody_waits_any_more() {
    let source = Gated::shut(false);
    let (catalogue, _) = over(source.clone());
    let waiting = Arc::clone(&catalogue);
    let guest = tokio::spawn(async move { obtain(&waiting, &code("abc")).await });
    until(|| source.asked.load(Ordering::SeqCst) > 0).await;
    guest.abort();
    assert!(guest.await.unwrap_err().is_cancelled());
    source.open.add_permits(1);
    until(|| catalogue.in_flight.lock().unwrap().is_empty()).await;
    assert_eq!(find(&catalogue, &code("abc")), "here [1]");
}

#[tokio::test(start_paused = true)]
async fn so_many_look_ups_at_once_and_no_more() {
    let (catalogue, source, clock) = world(Does::Answers(vec![token(1, "known")]));
    assert_eq!(obtain(&catalogue, &code("known")).await, Some(vec![1]));
    clock.advance(Duration::from_secs(60));
    source.now(Does::Hangs);
    for number in 1..=1024 {
        assert!(catalogue.join_or_begin(&code(&format!("code-{number}")), false).is_some(), "{number}");
    }
    assert!(catalogue.join_or_begin(&code("code-1"), false).is_some(), "it is under way already");
    until(|| source.asked() == 1 + 1024).await;
    let one_more = timeout(Duration::from_secs(1), obtain(&catalogue, &code("one-more"))).await;
    assert_eq!(one_more, Ok(None), "at once, and not `no such code`");
    assert_eq!(obtain(&catalogue, &code("known")).await, Some(vec![1]), "the stale copy");
    assert_eq!(source.asked(), 1 + 1024);
}

#[tokio::test]
async fn copies_beyond_the_limit_are_let_go() {
    let source = Gated::shut(false);
    source.open.add_permits(1000);
    let few = config::Cache { max_tokens: 10, ..times() };
    let catalogue = Arc::new(Catalogue::new(&few, Some(source), false, clock()));
    for number in 0..100 {
        assert_eq!(obtain(&catalogue, &code(&format!("code-{number}"))).await, Some(vec![1]));
    }
    assert_eq!(catalogue.tokens(), 10);
}

#[tokio::test]
async fn a_complete_copy_answers_everything() {
    let catalogue = Arc::new(Catalogue::new(&times(), None, false, clock()));
    let (abc, mac) = (code("abc"), Mac::new([2; 6]));
    assert_eq!(find(&catalogue, &abc), "nothing");
    assert_eq!(obtain(&catalogue, &abc).await, None, "before the file was read");

    let two_devices = AccessToken { devices: [mac, Mac::new([4; 6])].into(), ..token(1, "aBc") };
    let one_device = AccessToken { devices: [mac].into(), ..token(3, "xyz") };
    catalogue.replace(copy([two_devices, token(2, "ABC"), one_device]));
    assert_eq!(catalogue.tokens(), 3);
    assert_eq!(obtain(&catalogue, &abc).await, Some(vec![1, 2]));
    assert_eq!(obtain(&catalogue, &Claim::Device(mac)).await, Some(vec![1, 3]));
    assert_eq!(obtain(&catalogue, &Claim::Device(Mac::new([4; 6]))).await, Some(vec![1]));
    assert_eq!(obtain(&catalogue, &code("zzz")).await, Some(vec![]), "also that there is no such code");
    assert_eq!(obtain(&catalogue, &Claim::Device(Mac::new([9; 6]))).await, Some(vec![]));

    catalogue.replace(copy([token(4, "new")]));
    assert_eq!(catalogue.tokens(), 1);
    assert_eq!(obtain(&catalogue, &abc).await, Some(vec![]), "nothing of the former copy is left");
    assert_eq!(obtain(&catalogue, &Claim::Device(mac)).await, Some(vec![]));
    assert_eq!(obtain(&catalogue, &code("NEW")).await, Some(vec![4]));
    catalogue.replace(Vec::new());
    assert_eq!(find(&catalogue, &code("new")), "here []", "an empty file is a copy too");
}

#[tokio::test]
async fn a_complete_copy_leaves_the_rule_for_case_to_the_decision() {
    let catalogue = Arc::new(Catalogue::new(&times(), None, false, clock()));
    catalogue.replace(copy([token(1, "abc"), token(2, "ABC")]));
    for typed in ["abc", "ABC", "Abc"] {
        assert_eq!(obtain(&catalogue, &code(typed)).await, Some(vec![1, 2]), "{typed}");
    }
}

#[tokio::test]
async fn what_the_complete_copy_does_not_hold_is_asked_for() {
    let (catalogue, source, _) = world(Does::Answers(vec![token(2, "visitor")]));
    catalogue.replace(copy([token(1, "abc")]));
    assert_eq!((obtain(&catalogue, &code("abc")).await, source.asked()), (Some(vec![1]), 0));
    assert_eq!((obtain(&catalogue, &code("visitor")).await, source.asked()), (Some(vec![2]), 1));
    assert_eq!(catalogue.tokens(), 2);
}

#[test]
fn no_code_prints() {
    let catalogue = Catalogue::new(&times(), None, false, clock());
    catalogue.replace(copy([token(1, "kx7q-91mp")]));
    assert_eq!(format!("{catalogue:?}"), "Catalogue { tokens: 1, .. }");
}

fn windows(tokens: &Tokens) -> Vec<Option<Timestamp>> {
    tokens.iter().map(|token| token.valid_to).collect()
}

/// A mirror that holds everything, with a code that was looked up and then ended early by an administrator.
async fn ended_early() -> (Arc<Catalogue>, Arc<Fake>, Clock, Option<Timestamp>) {
    let source = Arc::new(Fake { does: Mutex::new(Does::Answers(vec![token(1, "abc")])), asked: Mutex::default() });
    let clock = clock();
    let catalogue = Arc::new(Catalogue::new(&times(), Some(source.clone()), true, clock.clone()));
    catalogue.listed(None, true);
    // A visitor registered a moment ago.
    assert_eq!(obtain(&catalogue, &code("abc")).await, Some(vec![1]));
    clock.advance(millis(20_000));
    let over: Option<Timestamp> = Some("2026-11-23T11:00:00Z".parse().unwrap());
    let merge = catalogue.merge(&versions(vec![AccessToken { valid_to: over, ..token(1, "abc") }]), clock.now().mono);
    assert_eq!(merge.changed.len(), 1);
    catalogue.compared(None);
    (catalogue, source, clock, over)
}

#[tokio::test]
async fn a_fresh_single_copy_does_not_hide_what_the_mirror_knows_since() {
    let (catalogue, _, _, over) = ended_early().await;
    match catalogue.find(&code("abc")) {
        Find::Here(tokens) | Find::Ask { stale: Some(tokens) } => assert_eq!(windows(&tokens), [over]),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn offline_a_stale_single_copy_does_not_hide_what_the_mirror_knows_since() {
    let (catalogue, source, clock, over) = ended_early().await;
    clock.advance(millis(3_600_000));
    catalogue.compared(None);
    source.now(Does::Fails);
    match catalogue.obtain(&code("abc"), catalogue.patience()).await {
        Found::Tokens(tokens) => assert_eq!(windows(&tokens), [over]),
        Found::Unavailable => panic!(),
    }
}
