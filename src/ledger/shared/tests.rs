//! Three daemons on one database that is as the real one: changes on the version they build on are taken, others come back.
//! Which daemon does what when, and whether its answer arrives, is drawn by lot.

mod late;

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::core::budget::Seconds;
use crate::core::decide::{Decision, Question, Reason};
use crate::core::event::{News, Progress};
use crate::core::ident::{Code, Mac, NasName, SessionId};
use crate::core::login::{Claim, Login, Proof};
use crate::core::policy::NasRules;
use crate::core::session::{Report, Session};
use crate::core::token::AccessToken;
use crate::core::token::tests::token;
use crate::ledger::any::account;
use crate::ledger::{Room, Tell, Unwritten};

const NOON: &str = "2026-11-23T12:00:00Z";

fn at(second: i64) -> Timestamp {
    let noon: Timestamp = NOON.parse().unwrap();
    Timestamp::from_second(noon.as_second() + second).unwrap()
}

fn mac(last: u8) -> Mac {
    Mac::new([0x3C, 6, 0x30, 0xAA, 0x19, last])
}

fn limited(id: i64, user_limit: i32) -> AccessToken {
    AccessToken { user_limit: Some(user_limit), ..token(id, "abc") }
}

/// Whether something came of a [`Written`], and what.
pub(in crate::ledger) fn outcome(written: Written) -> Option<Result<(), Unwritten>> {
    let Written::Shared(all) = written else {
        // No disk is asked.
        return match written {
            Written::Already => Some(Ok(())),
            Written::NotYet => Some(Err(Unwritten::Raced)),
            other => panic!("{other:?}"),
        };
    };
    for mut heard in all {
        match heard.try_recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Some(Err(error)),
            Err(oneshot::error::TryRecvError::Empty) => return None,
            Err(oneshot::error::TryRecvError::Closed) => return Some(Err(Unwritten::Stopping)),
        }
    }
    Some(Ok(()))
}

/// The same, where a disk answers.
async fn resolved(written: Written) -> Option<Result<(), Unwritten>> {
    match written {
        Written::Soon(_) => Some(written.settled().await),
        written => outcome(written),
    }
}

fn counts(written: Written) -> bool {
    matches!(outcome(written), Some(Ok(())))
}

/// What [`Database::swap`] promises.
#[derive(Default)]
pub(in crate::ledger) struct Database {
    pub(in crate::ledger) rows: BTreeMap<TokenId, Row>,
    /// What was told of changes.
    pub(in crate::ledger) news: Vec<Row>,
    closed: BTreeMap<String, Closed>,
}

impl Database {
    pub(in crate::ledger) fn swap(&mut self, change: Change) -> Swapped {
        let stands = self.rows.get(&change.token);
        if stands.map_or(0, |row| row.version) != change.version {
            return Swapped::Stale(stands.cloned());
        }
        let row = Row { token: change.token, version: change.becomes, state: change.state };
        self.news.push(row.clone());
        self.rows.insert(change.token, row);
        for closed in change.closed {
            self.closed.insert(closed.session.clone(), closed);
        }
        for name in change.reopened {
            self.closed.remove(&name);
        }
        Swapped::Done
    }

    /// Of the sessions that a change lets in, those that are over.
    pub(in crate::ledger) fn over(&self, change: &Change) -> HashMap<SessionId, Closed> {
        let over = |id: &SessionId| Some((*id, self.closed.get(&id.to_string())?.clone()));
        change.doubted.iter().filter_map(over).collect()
    }

    pub(in crate::ledger) fn account(&self, token: i64) -> Account {
        self.rows.get(&TokenId(token)).map(|row| written::read_account(&row.state).unwrap()).unwrap_or_default()
    }
}

struct Chain {
    database: Database,
    daemons: [Ledger; 3],
    folders: [tempfile::TempDir; 3],
    /// How much of the news each has heard.
    heard: [usize; 3],
    nas: NasRules,
    policy: Policy,
    next: u8,
}

impl Chain {
    fn new() -> Self {
        let nas = NasRules {
            name: NasName::new("front-desk"),
            businesses: Vec::new(),
            can_disconnect: true,
            can_extend: false,
            accounting: true,
        };
        Self {
            database: Database::default(),
            daemons: std::array::from_fn(|_| Ledger::shared()),
            folders: std::array::from_fn(|_| tempfile::tempdir().unwrap()),
            heard: [0; 3],
            nas,
            policy: Policy::default(),
            next: 0,
        }
    }

    fn login(&self, device: u8) -> Login<'static> {
        let claim = Claim::Code(Code::parse("abc").unwrap());
        Login {
            claim,
            typed: b"abc",
            proof: Proof::NotAsked,
            device: Some(mac(device)),
            ip: None,
            router: Some([192, 0, 2, 1].into()),
            nas_session: None,
        }
    }

    fn admit(&mut self, daemon: usize, token: &AccessToken, device: u8, now: i64) -> (Decision, Written) {
        self.next = self.next.wrapping_add(1);
        let login = self.login(device);
        let question = Question { login: &login, nas: &self.nas, policy: &self.policy };
        let id = SessionId::new(at(now), [self.next; 10]).let_in();
        self.daemons[daemon].admit(token, &question, id, at(now), &mut ())
    }

    /// A daemon begins anew on what it kept.
    fn begins(&mut self, daemon: usize) {
        self.daemons[daemon] = Ledger::shared();
        let (ledger, owed) = Ledger::shared_from(self.folders[daemon].path(), at(0)).unwrap();
        assert_eq!(owed.unreadable, 0);
        for row in self.database.rows.values() {
            ledger.heard(row, &self.policy);
        }
        self.heard[daemon] = self.database.news.len();
        ledger.resume(owed, &self.policy);
        self.daemons[daemon] = ledger;
    }

    /// The same, while the database is away.
    async fn begins_alone(&mut self, daemon: usize) {
        self.daemons[daemon] = Ledger::shared();
        let (ledger, owed) = Ledger::shared_from(self.folders[daemon].path(), at(0)).unwrap();
        ledger.part("gone", &self.policy).await;
        ledger.resume(owed, &self.policy);
        (self.daemons[daemon], self.heard[daemon]) = (ledger, 0);
    }

    /// A daemon hands on what it has, and hears what came of it.
    fn exchange(&mut self, daemon: usize) {
        for change in self.taken(daemon, usize::MAX) {
            let token = change.token;
            let swapped = self.database.swap(change);
            self.daemons[daemon].swapped(token, swapped, &self.policy);
        }
    }

    /// Changes to hand on, without those by which a session would be let in that is over.
    fn taken(&self, daemon: usize, at_most: usize) -> Vec<Change> {
        let mut changes = self.daemons[daemon].take_changes(at_most, &self.policy);
        changes.retain(|change| {
            let over = self.database.over(change);
            over.is_empty() || self.daemons[daemon].are_over(change.token, &over)
        });
        changes
    }

    fn hear(&mut self, daemon: usize) {
        for told in &self.database.news[self.heard[daemon]..] {
            // It is fetched then, as it stands by now.
            if let Some(row) = self.database.rows.get(&told.token) {
                self.daemons[daemon].heard(row, &self.policy);
            }
        }
        self.heard[daemon] = self.database.news.len();
    }

    /// Until nobody has anything to hand on or to hear.
    fn settle(&mut self) {
        for _ in 0..10 {
            for daemon in 0..3 {
                self.exchange(daemon);
                self.hear(daemon);
            }
        }
    }

    fn report(
        &self,
        daemon: usize,
        token: i64,
        device: u8,
        session: SessionId,
        news: News,
        seconds: u64,
    ) -> Option<Written> {
        let login = self.login(device);
        let question = Question { login: &login, nas: &self.nas, policy: &self.policy };
        let now = at(i64::try_from(seconds).unwrap());
        let report = Report { at: now, seconds: Seconds(seconds), input_octets: 0, output_octets: 0 };
        let progress = Progress { session: Some((session, TokenId(token))), news, report, unmeasured: false };
        let reported = self.daemons[daemon].report(TokenId(token), &question, &progress, now);
        reported.map(|reported| reported.written)
    }

    fn sessions(&self, daemon: usize, token: i64) -> Vec<Session> {
        self.daemons[daemon].account(TokenId(token)).unwrap_or_default().sessions().to_vec()
    }
}

#[test]
fn of_three_that_give_away_the_last_place_one_does() {
    for round in 0..1000 {
        let mut chain = Chain::new();
        let token = limited(round, 1);
        let mut asking: Vec<usize> = vec![0, 1, 2];
        let mut allowed = Vec::new();
        // In whatever order they ask and hand on.
        asking.rotate_left(usize::try_from(round % 3).unwrap());
        let mut written: Vec<_> = asking
            .iter()
            .map(|daemon| (*daemon, chain.admit(*daemon, &token, u8::try_from(*daemon).unwrap(), 0)))
            .collect();
        if round % 2 == 0 {
            written.reverse();
        }
        for (daemon, (decision, written)) in written {
            assert!(matches!(decision, Decision::Allow(_)));
            chain.exchange(daemon);
            match outcome(written).unwrap() {
                Ok(()) => allowed.push(daemon),
                Err(error) => {
                    assert!(matches!(error, Unwritten::Raced));
                    let (decision, _) = chain.admit(daemon, &token, u8::try_from(daemon).unwrap(), 0);
                    assert!(matches!(decision, Decision::Deny(denial) if denial.reason == Reason::UserLimitReached));
                }
            }
        }
        assert_eq!(allowed.len(), 1);
        chain.settle();
        assert!(
            (0..3).all(|daemon| chain.sessions(daemon, round)[0].device == Some(mac(allowed[0].try_into().unwrap())))
        );
    }
}

#[test]
fn a_place_that_was_taken_meanwhile_does_not_hold_up_a_report() {
    let mut chain = Chain::new();
    let token = limited(1, 2);
    let (_, written) = chain.admit(0, &token, 1, 0);
    chain.settle();
    assert!(counts(written));
    let session = chain.sessions(1, 1)[0].id;
    // B takes the other place while C hears of the first guest.
    let (_, taken) = chain.admit(1, &token, 2, 60);
    let reported = chain.report(2, 1, 1, session, News::Interim, 60).unwrap();
    chain.exchange(1);
    chain.exchange(2);
    assert!(counts(taken));
    assert!(outcome(reported).is_none(), "it is handed on once more");
    chain.settle();
    let account = chain.database.account(1);
    assert_eq!((account.sessions().len(), account.usage(&chain.policy, at(60))), (2, Seconds(60)));
}

#[test]
fn a_session_that_another_daemon_let_in_is_reported_to_this_one() {
    let mut chain = Chain::new();
    let (_, written) = chain.admit(0, &limited(1, 1), 1, 0);
    chain.settle();
    assert!(counts(written));
    let session = chain.sessions(1, 1)[0].id;
    let stopped = chain.report(1, 1, 1, session, News::Stop, 600).unwrap();
    chain.settle();
    assert!(counts(stopped));
    assert!(chain.sessions(0, 1).is_empty());
    assert_eq!(chain.database.account(1).usage(&chain.policy, at(600)), Seconds(600));
    assert_eq!(chain.database.closed.keys().collect::<Vec<_>>(), [&session.to_string()]);
}

#[test]
fn who_gives_a_session_up_takes_back_nothing_that_another_heard() {
    let mut chain = Chain::new();
    let _ = chain.admit(0, &limited(1, 1), 1, 0);
    chain.settle();
    let session = chain.sessions(0, 1)[0].id;
    let reported = chain.report(0, 1, 1, session, News::Interim, 600).unwrap();
    chain.exchange(0);
    assert!(counts(reported));
    // Its router began anew, which this daemon hears before it hears of the report.
    let router = Some([192, 0, 2, 1].into());
    let (closed, _) = chain.daemons[1].restarted(&chain.nas.name, router, at(700), &chain.policy, at(700));
    assert_eq!(closed, 1);
    chain.settle();
    assert_eq!(chain.database.account(1).usage(&chain.policy, at(700)), Seconds(600));
}

#[test]
fn an_answer_that_is_lost_has_nothing_done_twice() {
    let mut chain = Chain::new();
    let (_, written) = chain.admit(0, &limited(1, 1), 1, 0);
    for change in chain.daemons[0].take_changes(9, &chain.policy) {
        assert!(chain.daemons[0].take_changes(9, &chain.policy).is_empty(), "not before what became of it is known");
        chain.database.swap(change);
        chain.daemons[0].not_swapped(TokenId(1));
    }
    chain.exchange(0);
    assert!(counts(written), "it is known again");
    assert_eq!(chain.database.news.len(), 1);
    let session = chain.sessions(0, 1)[0].id;
    let _ = chain.report(0, 1, 1, session, News::Stop, 600).unwrap();
    for change in chain.daemons[0].take_changes(9, &chain.policy) {
        chain.database.swap(change);
        chain.daemons[0].not_swapped(TokenId(1));
    }
    chain.settle();
    assert_eq!(chain.database.account(1).usage(&chain.policy, at(600)), Seconds(600));
}

#[test]
fn a_router_is_told_by_one_daemon_and_by_another_once_that_one_is_gone() {
    let mut chain = Chain::new();
    let _ = chain.admit(0, &limited(1, 1), 1, 0);
    chain.settle();
    let session = chain.sessions(0, 1)[0].id;
    let _ = chain.daemons[2].order(session, crate::core::ending::Cause::Operator, &chain.policy, at(10)).unwrap();
    chain.settle();
    let tell = |chain: &mut Chain, second: i64| -> Vec<usize> {
        let tells: Vec<(usize, Vec<Tell>)> = (0..3)
            .map(|daemon| (daemon, chain.daemons[daemon].due(&chain.policy, at(second), &mut |_| Room::Free)))
            .collect();
        chain.settle();
        let told =
            tells.into_iter().flat_map(|(daemon, tells)| tells.into_iter().map(move |tell| (daemon, tell.claimed)));
        told.filter_map(|(daemon, claimed)| counts(claimed).then_some(daemon)).collect()
    };
    assert_eq!(tell(&mut chain, 10), [0]);
    assert_eq!(tell(&mut chain, 11), [0; 0], "its answer is awaited");
    // The first is gone with what its router said; a minute later another tells it again.
    chain.daemons[0] = Ledger::shared();
    assert_eq!(tell(&mut chain, 70), [1]);
    let gone = crate::core::ending::Told::Refused(503);
    assert!(chain.daemons[1].told(TokenId(1), session, gone, &chain.policy, at(71)).is_some());
    chain.settle();
    assert!(chain.sessions(2, 1).is_empty() && chain.database.account(1).sessions().is_empty());
}

#[test]
fn what_is_due_is_left_to_the_daemon_that_is_at_it() {
    for is_done_by_that_one in [true, false] {
        let mut chain = Chain::new();
        let _ = chain.admit(0, &limited(1, 1), 1, 0);
        chain.settle();
        let session = chain.sessions(0, 1)[0].id;
        let _ = chain.daemons[0].order(session, crate::core::ending::Cause::Operator, &chain.policy, at(10)).unwrap();
        chain.settle();
        let [one, other] =
            [0, 1].map(|daemon: usize| chain.daemons[daemon].due(&chain.policy, at(10), &mut |_| Room::Free).remove(0));
        let [claim, held] = [0, 1].map(|daemon: usize| chain.taken(daemon, 9).remove(0));
        assert!(held.is_due);
        chain.daemons[1].swapped(TokenId(1), Swapped::Held, &chain.policy);
        assert!(matches!(outcome(other.claimed), Some(Err(Unwritten::Raced))), "it tells nobody");
        assert!(chain.taken(1, 9).is_empty(), "it asks for nothing while the other is at it");
        if is_done_by_that_one {
            let swapped = chain.database.swap(claim);
            chain.daemons[0].swapped(TokenId(1), swapped, &chain.policy);
            assert!(counts(one.claimed));
            chain.hear(1);
        } else {
            // Which will not be heard.
            chain.daemons[0] = Ledger::shared();
            chain.daemons[1].try_refused();
            chain.exchange(1);
            assert_eq!(chain.daemons[1].due(&chain.policy, at(10), &mut |_| Room::Free).len(), 1);
            chain.exchange(1);
        }
        let told = |account: Account| account.sessions()[0].ending.as_ref().map(|ending| ending.tries);
        assert_eq!(told(chain.daemons[1].account(TokenId(1)).unwrap()), Some(1));
        assert_eq!(told(chain.database.account(1)), Some(1));
    }
}

#[test]
fn who_has_no_such_router_leaves_it_to_others() {
    let mut chain = Chain::new();
    let _ = chain.admit(0, &limited(1, 1), 1, 0);
    chain.settle();
    let session = chain.sessions(0, 1)[0].id;
    let _ = chain.daemons[0].order(session, crate::core::ending::Cause::Operator, &chain.policy, at(10)).unwrap();
    chain.settle();
    let elsewhere = chain.daemons[0].due(&chain.policy, at(10), &mut |_| Room::Elsewhere);
    assert!(elsewhere.is_empty() && chain.daemons[0].take_changes(9, &chain.policy).is_empty());
    assert_eq!(chain.daemons[0].next_deadline(), Some(at(11)), "it looks again");
    assert_eq!(chain.daemons[1].due(&chain.policy, at(10), &mut |_| Room::Free).len(), 1);
}

#[test]
fn what_cannot_be_read_is_not_replaced() {
    let mut chain = Chain::new();
    let row = Row { token: TokenId(1), version: 4, state: b"{\"usage\": \"much\"}".to_vec() };
    chain.database.rows.insert(TokenId(1), row.clone());
    let (_, written) = chain.admit(0, &limited(1, 1), 1, 0);
    chain.settle();
    assert!(matches!(outcome(written), Some(Err(Unwritten::Unreadable))));
    assert_eq!(chain.database.rows.get(&TokenId(1)), Some(&row));
}

#[tokio::test]
async fn without_the_database_what_happens_is_kept_and_handed_on_later() {
    let mut chain = Chain::new();
    chain.begins(0);
    let (_, written) = chain.admit(0, &limited(1, 1), 1, 0);
    chain.settle();
    assert!(counts(written));
    let session = chain.sessions(0, 1)[0].id;
    // One waits when the database goes, the others come then.
    let waits = chain.report(0, 1, 1, session, News::Interim, 60).unwrap();
    chain.daemons[0].part("gone", &chain.policy).await;
    waits.settled().await.unwrap();
    for seconds in 61..200 {
        chain.report(0, 1, 1, session, News::Interim, seconds).unwrap().settled().await.unwrap();
    }
    let (decision, written) = chain.admit(0, &limited(2, 1), 2, 200);
    assert!(matches!(decision, Decision::Allow(_)));
    written.settled().await.unwrap();
    assert!(chain.daemons[0].is_away() && chain.daemons[0].trouble().unwrap().contains("gone"));
    assert_eq!(chain.daemons[0].owed(), 2, "of how long a session runs the latest says all");

    chain.begins(0);
    assert_eq!(chain.daemons[0].account(TokenId(1)).unwrap().usage(&chain.policy, at(199)), Seconds(199));
    let _ = chain.report(1, 1, 1, session, News::Interim, 300);
    chain.settle();
    assert_eq!(chain.database.account(1).usage(&chain.policy, at(300)), Seconds(300));
    assert_eq!((chain.database.account(2).sessions().len(), chain.daemons[0].owed()), (1, 0));
    chain.daemons[0].clear().await.unwrap();
    let rows = chain.database.rows.clone();
    chain.begins(0);
    chain.settle();
    assert_eq!(chain.database.rows, rows, "nothing is handed on twice");
}

#[tokio::test]
async fn what_a_daemon_concludes_from_silence_holds_only_for_itself() {
    let mut chain = Chain::new();
    chain.begins(0);
    let _ = chain.admit(0, &limited(1, 1), 1, 0);
    chain.settle();
    let session = chain.sessions(0, 1)[0].id;
    chain.daemons[0].part("gone", &chain.policy).await;
    for seconds in [300, 600, 900, 1200] {
        assert!(counts({
            let reported = chain.report(1, 1, 1, session, News::Interim, seconds).unwrap();
            chain.exchange(1);
            reported
        }));
    }
    // Nobody has told it anything: it takes the session for gone, and has the place for another.
    let _ = chain.daemons[0].due(&chain.policy, at(1200), &mut |_| Room::Free);
    assert!(chain.sessions(0, 1).is_empty());
    let _ = chain.daemons[0].order(session, crate::core::ending::Cause::Operator, &chain.policy, at(1201));
    chain.daemons[0].join();
    chain.settle();
    for daemon in 0..3 {
        assert_eq!(chain.sessions(daemon, 1).len(), 1, "it was never gone");
    }
    assert_eq!(chain.database.account(1).usage(&chain.policy, at(1200)), Seconds(1200));
}

#[tokio::test]
async fn who_is_let_in_when_the_database_goes_is_decided_anew() {
    let mut chain = Chain::new();
    chain.begins(0);
    let (_, written) = chain.admit(0, &limited(1, 1), 1, 0);
    chain.daemons[0].part("gone", &chain.policy).await;
    assert!(matches!(written.settled().await, Err(Unwritten::Raced)));
    let (decision, written) = chain.admit(0, &limited(1, 1), 1, 1);
    assert!(matches!(decision, Decision::Allow(_)), "by what holds without it");
    written.settled().await.unwrap();
}

#[tokio::test]
async fn minutes_are_not_written_upstream_without_the_database() {
    let mut chain = Chain::new();
    chain.begins(0);
    let token = AccessToken { minutes_left: Some(60), ..limited(1, 1) };
    let _ = chain.admit(0, &token, 1, 0);
    chain.settle();
    let session = chain.sessions(0, 1)[0].id;
    let _ = chain.report(0, 1, 1, session, News::Stop, 600).unwrap();
    chain.settle();
    let ledger = &chain.daemons[0];
    assert!(ledger.begin_settlement(&token, &chain.policy, at(601)).is_none(), "another daemon does");
    ledger.lead(true);
    let (intent, written) = ledger.begin_settlement(&token, &chain.policy, at(601)).unwrap();
    ledger.part("gone", &chain.policy).await;
    assert!(outcome(written).is_none());
    let _ = ledger.end_settlement(TokenId(1), &intent, false, None, &chain.policy, at(602));
    assert!(ledger.begin_settlement(&token, &chain.policy, at(603)).is_none());
    assert!(ledger.join() && !ledger.join());
    chain.settle();
    assert_eq!(chain.database.account(1).open_settlement(), None);
    assert!(chain.daemons[0].begin_settlement(&token, &chain.policy, at(604)).is_some());
}

/// What daemons do, and what happens between them and the database.
#[derive(Clone, Debug)]
enum Step {
    Login { daemon: usize, token: i64, device: u8 },
    Report { daemon: usize, token: i64, session: usize, stops: bool, later: u64 },
    Due { daemon: usize },
    Take { daemon: usize },
    Arrives { daemon: usize, is_lost: bool },
    Lost { daemon: usize },
    Hears { daemon: usize },
    Restarts { daemon: usize },
    Parts { daemon: usize },
    Joins { daemon: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let daemon = || 0usize..3;
    prop_oneof![
        3 => (daemon(), 1i64..3, 0u8..4).prop_map(|(daemon, token, device)| Step::Login { daemon, token, device }),
        4 => (daemon(), 1i64..3, 0usize..8, prop::bool::weighted(0.3), 0u64..400).prop_map(
            |(daemon, token, session, stops, later)| Step::Report { daemon, token, session, stops, later }
        ),
        1 => daemon().prop_map(|daemon| Step::Due { daemon }),
        5 => daemon().prop_map(|daemon| Step::Take { daemon }),
        5 => (daemon(), prop::bool::weighted(0.1))
            .prop_map(|(daemon, is_lost)| Step::Arrives { daemon, is_lost }),
        1 => daemon().prop_map(|daemon| Step::Lost { daemon }),
        4 => daemon().prop_map(|daemon| Step::Hears { daemon }),
        1 => daemon().prop_map(|daemon| Step::Restarts { daemon }),
        1 => daemon().prop_map(|daemon| Step::Parts { daemon }),
        2 => daemon().prop_map(|daemon| Step::Joins { daemon }),
    ]
}

proptest! {
    #[test]
    fn in_the_end_all_know_the_same_and_nothing_acknowledged_is_lost(steps in vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut chain = Chain::new();
        (0..3).for_each(|daemon| chain.begins(daemon));
        let (mut now, mut has_parted) = (0, false);
        let mut on_their_way: [Vec<Change>; 3] = std::array::from_fn(|_| Vec::new());
        // Admissions, and the time that was reported of each session, by what is known of whether they count.
        let mut admitted: Vec<(i64, SessionId, Written)> = Vec::new();
        let mut reported: Vec<(SessionId, u64, Written)> = Vec::new();
        for step in steps {
            now += 1;
            match step {
                Step::Login { daemon, token, device } => {
                    let (decision, written) = chain.admit(daemon, &limited(token, 2), device, now);
                    if let Decision::Allow(grant) = decision {
                        let id = grant.renews.unwrap_or(SessionId::new(at(now), [chain.next; 10]).let_in());
                        admitted.push((token, id, written));
                    }
                }
                Step::Report { daemon, token, session, stops, later } => {
                    let known: Vec<_> = admitted.iter().filter(|(of, ..)| *of == token).map(|(_, id, _)| *id).collect();
                    let Some(id) = known.get(session) else { continue };
                    let seconds = u64::try_from(now).unwrap() + later;
                    let device = chain.sessions(daemon, token).iter().find(|known| known.id == *id).and_then(|known| known.device);
                    let Some(device) = device else { continue };
                    let news = if stops { News::Stop } else { News::Interim };
                    let written = chain.report(daemon, token, device.octets()[5], *id, news, seconds);
                    reported.extend(written.map(|written| (*id, seconds, written)));
                }
                Step::Due { daemon } => drop(chain.daemons[daemon].due(&chain.policy, at(now), &mut |_| Room::Free)),
                Step::Parts { daemon } => {
                    // What is on its way may have arrived, or not.
                    for change in mem::take(&mut on_their_way[daemon]) {
                        let token = change.token;
                        if now % 2 == 0 {
                            chain.database.swap(change);
                        }
                        chain.daemons[daemon].not_swapped(token);
                    }
                    runtime.block_on(chain.daemons[daemon].part("gone", &chain.policy));
                    has_parted = true;
                }
                Step::Joins { daemon } => drop(chain.daemons[daemon].join()),
                Step::Take { daemon } if chain.daemons[daemon].is_away() => {}
                Step::Take { daemon } => {
                    let changes = chain.taken(daemon, 9);
                    on_their_way[daemon].extend(changes);
                }
                Step::Arrives { daemon, is_lost } => {
                    for change in mem::take(&mut on_their_way[daemon]) {
                        let token = change.token;
                        let swapped = chain.database.swap(change);
                        if is_lost {
                            chain.daemons[daemon].not_swapped(token);
                        } else {
                            chain.daemons[daemon].swapped(token, swapped, &chain.policy);
                        }
                    }
                }
                Step::Lost { daemon } => {
                    for change in mem::take(&mut on_their_way[daemon]) {
                        chain.daemons[daemon].not_swapped(change.token);
                    }
                }
                Step::Hears { daemon } => chain.hear(daemon),
                Step::Restarts { daemon } => {
                    on_their_way[daemon].clear();
                    chain.begins(daemon);
                }
            }
        }
        for (daemon, changes) in chain.daemons.iter().zip(on_their_way) {
            changes.iter().for_each(|change| daemon.not_swapped(change.token));
        }
        chain.settle();
        for daemon in &chain.daemons {
            prop_assert_eq!(daemon.owed(), 0);
        }
        for token in 1..3 {
            let stands = chain.database.account(token);
            for daemon in &chain.daemons {
                prop_assert_eq!(&daemon.account(TokenId(token)).unwrap_or_default(), &stands);
            }
            let places: std::collections::BTreeSet<_> = stands.sessions().iter().map(|session| session.device).collect();
            prop_assert!(places.len() <= 2 || has_parted, "{:?}", places);
            // What counts of each session is the most that was acknowledged of it, or more.
            let counted: u64 = stands.sessions().iter().map(|session| session.reported.map_or(0, |report| report.seconds.0))
                .chain(stands.ended().iter().map(|ended| ended.counts.0)).sum();
            let ended: u64 = stands.ended().iter().map(|ended| ended.counts.0).sum();
            prop_assert_eq!(stands.usage.0, ended, "each session once");
            prop_assert!(counted >= stands.usage.0);
        }
        for (_, id, written) in admitted {
            match runtime.block_on(resolved(written)) {
                Some(Ok(())) => {
                    let known = (1..3).any(|token| {
                        let account = chain.database.account(token);
                        account.sessions().iter().chain(account.ended().iter().map(|ended| &ended.session)).any(|known| known.id == id)
                    });
                    prop_assert!(known, "an admission that counts is lost");
                }
                Some(Err(Unwritten::Raced | Unwritten::Stopping)) => {}
                other => prop_assert!(false, "{:?}", other),
            }
        }
        for (id, seconds, written) in reported {
            if runtime.block_on(resolved(written)).expect("something comes of it").is_err() {
                continue;
            }
            let counts = (1..3).find_map(|token| {
                let account = chain.database.account(token);
                let live = account.sessions().iter().find(|known| known.id == id).map(|known| known.reported.map_or(0, |report| report.seconds.0));
                live.or_else(|| account.ended().iter().find(|ended| ended.session.id == id).map(|ended| {
                    if ended.stopped { u64::MAX } else { ended.counts.0 }
                }))
            });
            // After a Stop only another is believed, and a report is believed as far as was granted.
            if let Some(counts) = counts {
                prop_assert!(counts >= seconds.min(60), "{} of {} s are left", counts, seconds);
            }
        }
    }

    #[test]
    fn an_account_is_shared_as_it_is(account in account()) {
        prop_assert_eq!(written::read_account(&written::shared(&account, 7)).unwrap(), account);
    }
}
