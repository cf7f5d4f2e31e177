//! The account checked exhaustively on small worlds: two devices at two routers, and every order of a few things that may
//! happen. Worlds that came to the same are followed once.

use std::cell::RefCell;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use std::time::Duration;

use super::*;
use crate::core::budget::Pool;
use crate::core::ending::{Ending, SESSION_CONTEXT_NOT_FOUND, Told};
use crate::core::login::{Claim, Login, Proof};
use crate::core::policy::{NasRules, OnUserLimit};
use crate::core::session::Report;
use crate::core::settle::Outcome;
use crate::core::token::tests::token;

/// What the token holds: less than a silence, so that it can run empty before one ends.
const POOL: Seconds = Seconds(600);

/// A session that ends by itself within so many seconds is not told to.
const ENDS_BY_ITSELF: Seconds = Seconds(5);

fn start() -> Timestamp {
    Timestamp::from_second(1_763_899_200).unwrap()
}

fn mac(device: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 0, device])
}

fn address(nas: usize) -> IpAddr {
    [192, 0, 2, u8::try_from(nas).unwrap()].into()
}

fn router(name: &str, can_disconnect: bool, accounting: bool) -> NasRules {
    NasRules { name: NasName::new(name), businesses: Vec::new(), can_disconnect, can_extend: false, accounting }
}

/// What is the same in every world that is followed together.
struct Rules {
    token: AccessToken,
    policy: Policy,
    routers: [NasRules; 2],
    theme: Theme,
    /// Whether the source keeps the `LastAccess` that is written.
    keeps_last_access: bool,
    /// Events that were found to come back as they were written.
    came_back: RefCell<HashSet<u64>>,
}

/// What is tried: everything there is takes minutes to follow as far as a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Theme {
    Everything,
    /// Records of sessions, in any order.
    Records,
    /// Sessions that must go, routers that begin anew, and nobody watching.
    Endings,
    /// Minutes that are written back, of one device.
    Settlements,
}

impl Theme {
    fn has(self, act: Act) -> bool {
        use Act::{
            Answer, Deliver, Hold, Interim, Leave, Login, Order, Pass, Restart, Start, Stop, ToDeadline, Unwatched,
        };
        match self {
            Self::Everything => !matches!(act, Act::Upstream(_)),
            Self::Settlements => {
                matches!(act, Login { device: 0, .. } | Interim(_) | Stop(_) | Pass(_) | ToDeadline | Act::Upstream(_))
            }
            Self::Records => {
                matches!(
                    act,
                    Login { .. } | Start(_) | Interim(_) | Hold(_) | Deliver(_) | Leave(_) | Stop(_) | ToDeadline
                )
            }
            Self::Endings => {
                matches!(act, Login { .. } | Interim(_) | Stop(_) | Answer(..) | Order(_) | Restart(_) | Pass(_))
                    || matches!(act, ToDeadline | Unwatched(400))
            }
        }
    }
}

impl Rules {
    fn limit(&self) -> usize {
        usize::try_from(self.token.user_limit(&self.policy)).unwrap()
    }
}

/// A session as its router has it.
#[derive(Clone, Hash)]
struct Real {
    id: SessionId,
    device: u8,
    nas: usize,
    began: Timestamp,
    granted: Seconds,
    ended: Option<Timestamp>,
    /// Whether its router has forgotten it and reports nothing more.
    forgotten: bool,
    /// The records it was reported by.
    told: Vec<Event>,
    /// A record that is under way.
    held: Option<Report>,
}

impl Real {
    fn is_on(&self) -> bool {
        self.ended.is_none()
    }

    fn report(&self, now: Timestamp) -> Report {
        let at = self.ended.unwrap_or(now);
        let seconds = Seconds::between(self.began, at).min(self.granted);
        Report { at, seconds, input_octets: seconds.0, output_octets: seconds.0 * 2 }
    }
}

/// Something that may happen; sessions are named by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Login {
        device: u8,
        nas: usize,
    },
    Start(usize),
    Interim(usize),
    /// An interim record is made, and not delivered yet.
    Hold(usize),
    Deliver(usize),
    /// The device goes; nobody is told yet.
    Leave(usize),
    /// The end is reported; a device that is on goes.
    Stop(usize),
    /// Its router is told to end it and answers so.
    Answer(usize, Told),
    Order(usize),
    Restart(usize),
    /// Time passes, and what is due is done.
    Pass(u64),
    /// Up to the next deadline, exactly.
    ToDeadline,
    /// Beyond it, with nobody watching.
    Unwatched(u64),
    /// Something that bears on the record upstream.
    Upstream(Upstream),
}

/// What may happen to the record upstream, and to copies of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upstream {
    /// The record is read, a settlement opened, and the write sent.
    Write,
    /// The write arrives.
    Lands,
    /// It does not, and never will.
    IsLost,
    /// The record is read again, after the write was accepted or its answer was lost, and the settlement ended.
    Look { accepted: bool },
    /// An administrator changes the minutes.
    Admin(i64),
    /// The record is fetched, and the copy is under way.
    Fetch,
    /// That copy is taken in.
    Arrives,
}

/// The record as it is, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Shown {
    minutes: i64,
    last_access: Option<Timestamp>,
    /// What administrators have added to it.
    added: i64,
}

/// The record upstream, and where copies of it are.
#[derive(Clone, Copy, Hash)]
struct Source {
    record: Shown,
    /// As logins find it.
    copy: Shown,
    /// As it was fetched, and not taken in yet.
    fetched: Option<Shown>,
    /// As it was read before the write that is under way.
    written_over: Option<Shown>,
    /// Whether that write has arrived.
    has_landed: bool,
    /// What writes have lowered it by.
    lowered: i64,
    /// What counts as written though it never arrived.
    given: i64,
}

#[derive(Clone)]
struct World {
    now: Timestamp,
    account: Account,
    /// The account as it comes out of what was written down.
    replayed: Account,
    sessions: Vec<Real>,
    /// Sessions that were given up for gone and were not.
    revived: HashSet<SessionId>,
    /// Seconds by which news of sessions that were closed without their Stop went beyond the pool: nobody could know.
    excused: Seconds,
    source: Source,
    acts: Vec<Act>,
}

impl World {
    fn new() -> Self {
        Self {
            now: start(),
            account: Account::default(),
            replayed: Account::default(),
            sessions: Vec::new(),
            revived: HashSet::new(),
            excused: Seconds::ZERO,
            source: Source::new(),
            acts: Vec::new(),
        }
    }

    fn key(&self) -> u64 {
        hash(&(self.now, &self.account, &self.sessions, self.excused, &self.source))
    }

    fn live(&self, id: SessionId) -> Option<&Session> {
        self.account.sessions().iter().find(|live| live.id == id)
    }

    /// What is used, and what may come to be used without anybody being able to prevent it.
    fn bound(&self) -> Seconds {
        let run_up = |session: &Session| {
            let used = session.used(self.now);
            if session.contact.can_disconnect { used } else { used.max(session.granted) }
        };
        self.account.usage.plus(self.account.sessions().iter().map(run_up).sum())
    }

    /// What is used according to routers.
    fn settled(&self) -> Seconds {
        let reported = self.account.sessions().iter().filter_map(|session| session.reported);
        self.account.usage.plus(reported.map(|report| report.seconds).sum())
    }

    fn places(&self) -> usize {
        let displaced = |session: &Session| session.ending.as_ref().is_some_and(|end| end.cause == Cause::Displaced);
        let live = self.account.sessions().iter().filter(|session| !displaced(session));
        let has = |device: u8| live.clone().any(|session| session.device == Some(mac(device)));
        usize::from(has(0)) + usize::from(has(1))
    }

    fn apply(&mut self, event: &Event, rules: &Rules) {
        let (settled, places) = (self.settled(), self.places());
        let was = (!event.is_kept()).then(|| steady(self.account.clone()));
        self.account.apply(self.now, event);
        assert!(self.settled() >= settled, "{:?}: usage fell by {event:?}", self.acts);
        let let_in = matches!(event, Event::Admitted(_) | Event::Progressed { .. });
        assert!(let_in || self.places() <= places, "{:?}: a place was taken by {event:?}", self.acts);
        if !matches!(event, Event::Telling { .. }) {
            let mut twice = self.account.clone();
            twice.apply(self.now, event);
            assert_eq!(twice, self.account, "{:?}: {event:?} twice", self.acts);
        }
        if event.is_kept() {
            if rules.came_back.borrow_mut().insert(hash(event)) {
                let written = written::event(event).unwrap();
                assert_eq!(written::read_event(&written).unwrap(), *event);
            }
            self.replayed.apply(self.now, event);
        } else {
            assert_eq!(written::event(event), None);
            assert_eq!(was, Some(steady(self.account.clone())), "{:?}: what is not kept changes what is", self.acts);
        }
    }

    /// A record of a session arrives.
    fn reported(&mut self, number: usize, event: Event, rules: &Rules) {
        let id = self.sessions[number].id;
        let (bound, live) = (self.bound(), self.live(id).is_some());
        self.apply(&event, rules);
        if !live {
            self.excused = self.excused.plus(self.bound().less(bound));
            if self.live(id).is_some() {
                self.revived.insert(id);
            }
        }
        self.sessions[number].told.push(event);
    }

    /// Does what is due, as the watch does; whether it was the pool that ran empty.
    fn watch(&mut self, rules: &Rules) -> bool {
        let mut empty = false;
        for _ in 0..6 {
            let due = self.account.due(&rules.policy, self.now);
            if due.is_empty() {
                return empty;
            }
            for event in due {
                empty |= matches!(event, Event::Ending { cause: Cause::UsedUp, .. });
                self.apply(&event, rules);
            }
        }
        panic!("{:?}: something is due for ever", self.acts);
    }

    fn pass(&mut self, to: Timestamp) {
        self.now = self.now.max(to);
        for real in self.sessions.iter_mut().filter(|real| real.is_on()) {
            let end = real.granted.after(real.began);
            if end <= self.now {
                real.ended = Some(end);
            }
        }
    }

    fn login(&mut self, device: u8, nas: usize, rules: &Rules) {
        let code = Code::parse("abc").unwrap();
        let name = format!("8000000{}", self.sessions.len());
        let login = Login {
            claim: Claim::Code(code),
            typed: b"abc",
            proof: Proof::NotAsked,
            device: Some(mac(device)),
            ip: None,
            router: Some(address(nas)),
            nas_session: Some(&name),
        };
        let question = Question { login: &login, nas: &rules.routers[nas], policy: &rules.policy };
        for _ in 0..3 {
            let due = self.account.due(&rules.policy, self.now);
            due.iter()
                .filter(|event| !matches!(event, Event::Telling { .. }))
                .for_each(|event| self.apply(event, rules));
        }
        let token = self.source.copy.token(rules);
        let Decision::Allow(grant) = decide(&token, &self.account, &question, self.now, &mut ()) else { return };
        if let Some(event) = seen(&self.account, &token, &rules.policy) {
            self.apply(&event, rules);
        }
        for session in self.account.sessions().to_vec() {
            if grant.displaces.contains(&session.id) {
                self.apply(&Account::order(&session, Cause::Displaced, self.now), rules);
            }
        }
        let id = SessionId::new(start(), [u8::try_from(self.sessions.len()).unwrap(); 10]);
        let session = grant.session(id, &token, &question, self.now);
        self.apply(&Event::Admitted(Box::new(session)), rules);
        for old in self.sessions.iter_mut().filter(|old| old.is_on() && old.device == device && old.nas == nas) {
            old.ended = Some(self.now);
        }
        let granted = grant.session_timeout;
        let (began, told) = (self.now, Vec::new());
        self.sessions.push(Real { id, device, nas, began, granted, ended: None, forgotten: false, told, held: None });
        // A login never makes one too many, or promises too much.
        let live = |id: &&SessionId| self.live(**id).is_some();
        let revived = self.revived.iter().filter(live).count();
        assert!(self.places() <= rules.limit() + revived, "{:?}: {} places", self.acts, self.places());
        if !rules.routers[nas].can_disconnect {
            self.promises_hold(Seconds::ZERO);
        }
        let mut due = self.account.due(&rules.policy, self.now).into_iter();
        let goes = due.any(|event| matches!(event, Event::Ending { session, .. } if session == id));
        assert!(!goes, "{:?}: let in, and told to go", self.acts);
    }

    fn promises_hold(&self, slack: Seconds) {
        let most = self.gives().plus(self.excused).plus(slack);
        assert!(self.bound() <= most, "{:?}: {} of {most} used and promised", self.acts, self.bound());
    }

    fn act(&mut self, act: Act, rules: &Rules) {
        self.acts.push(act);
        let id = |world: &Self, number: usize| world.sessions[number].id;
        match act {
            Act::Login { device, nas } => self.login(device, nas, rules),
            Act::Start(number) => {
                let at = self.sessions[number].began;
                let report = Report { at, seconds: Seconds::ZERO, input_octets: 0, output_octets: 0 };
                self.reported(number, Event::Progressed { session: id(self, number), report }, rules);
            }
            Act::Interim(number) => {
                let report = self.sessions[number].report(self.now);
                self.reported(number, Event::Progressed { session: id(self, number), report }, rules);
            }
            Act::Hold(number) => self.sessions[number].held = Some(self.sessions[number].report(self.now)),
            Act::Deliver(number) => {
                let Some(report) = self.sessions[number].held.take() else { return };
                self.reported(number, Event::Progressed { session: id(self, number), report }, rules);
            }
            Act::Leave(number) => self.sessions[number].ended = Some(self.now),
            Act::Stop(number) => {
                self.sessions[number].ended.get_or_insert(self.now);
                let report = self.sessions[number].report(self.now);
                self.reported(number, Event::Stopped { session: id(self, number), report }, rules);
            }
            Act::Answer(number, told) => {
                if told == Told::Acked {
                    self.sessions[number].ended.get_or_insert(self.now);
                }
                if let Some(event) = self.account.answered(id(self, number), told, self.now) {
                    self.apply(&event, rules);
                }
            }
            Act::Order(number) => {
                let Some(session) = self.live(id(self, number)) else { return };
                self.apply(&Account::order(session, Cause::Operator, self.now), rules);
            }
            Act::Restart(nas) => {
                for real in self.sessions.iter_mut().filter(|real| real.nas == nas) {
                    real.ended.get_or_insert(self.now);
                    real.forgotten = true;
                }
                for event in
                    self.account.router_restarted(&rules.routers[nas].name, Some(address(nas)), self.now, self.now)
                {
                    self.apply(&event, rules);
                }
            }
            Act::Pass(seconds) => {
                self.pass(Seconds(seconds).after(self.now));
                self.watch(rules);
            }
            Act::ToDeadline => {
                let Some(deadline) = self.account.next_deadline(&rules.policy) else { return };
                let (moves, over) = (deadline > self.now, self.gives().plus(self.excused) < self.bound());
                self.pass(deadline);
                if self.watch(rules) && moves && !over {
                    let devices = u64::try_from(self.account.sessions().len()).unwrap();
                    self.promises_hold(Seconds(devices));
                    assert!(self.bound() >= self.gives(), "{:?}: {} used, and told to go", self.acts, self.bound());
                }
            }
            Act::Unwatched(seconds) => {
                let Some(deadline) = self.account.next_deadline(&rules.policy) else { return };
                self.pass(Seconds(seconds).after(deadline));
            }
            Act::Upstream(upstream) => self.upstream(upstream, rules),
        }
    }

    /// What the token gives as far as the account knows: minutes that were written back are given all the same.
    fn gives(&self) -> Seconds {
        let Source { copy, given, .. } = self.source;
        Seconds::from_minutes(i64::try_from(POOL.minutes()).unwrap() + copy.added + given)
    }

    /// The catalogue, and the account, have this copy from now on.
    fn taken_in(&mut self, copy: Shown, rules: &Rules) {
        self.source.copy = copy;
        if let Some(event) = seen(&self.account, &copy.token(rules), &rules.policy) {
            self.apply(&event, rules);
        }
        // Of what an administrator takes away, nobody gives back what was used or promised.
        let over = self.bound().less(self.gives().plus(self.excused));
        self.excused = self.excused.plus(over);
    }

    fn upstream(&mut self, upstream: Upstream, rules: &Rules) {
        let record = self.source.record;
        match upstream {
            Upstream::Write => {
                self.taken_in(record, rules);
                let read = record.token(rules);
                let Some(intent) = self.account.settlement(&read, &rules.policy, self.now) else { return };
                self.apply(&Event::Settling(intent), rules);
                (self.source.written_over, self.source.has_landed) = (Some(record), false);
                // Copies are at most one write old: whoever writes hands on what was read.
                self.source.fetched = self.source.fetched.filter(|copy| *copy == record);
            }
            Upstream::Lands => {
                let (Some(read), Some(intent)) = (self.source.written_over, self.account.open_settlement()) else {
                    return;
                };
                self.source.has_landed = true;
                self.source.lowered += intent.before - intent.after;
                // What was changed since it was read is written over; a copy of that is wrong by more than a write.
                self.source.fetched = self.source.fetched.filter(|copy| copy.added == read.added);
                let last_access = if rules.keeps_last_access { Some(intent.last_access) } else { record.last_access };
                self.source.record = Shown { minutes: intent.after, last_access, added: read.added };
            }
            Upstream::IsLost => self.source.written_over = None,
            Upstream::Look { accepted } => {
                let Some(intent) = self.account.open_settlement() else { return };
                let outcome = intent.resolve(&record.token(rules), accepted);
                let (landed, by) = (self.source.has_landed, intent.before - intent.after);
                assert!(outcome != Outcome::NotKept, "{:?}: {intent:?} was kept", self.acts);
                assert!(!landed || outcome.counts(), "{:?}: {intent:?} arrived, and would be made again", self.acts);
                if outcome.counts() && !landed {
                    assert_eq!(outcome, Outcome::Unclear, "{:?}", self.acts);
                    self.source.given += by;
                }
                let end = if outcome.counts() { Event::Settled(intent) } else { Event::Unsettled(intent) };
                self.apply(&end, rules);
                (self.source.written_over, self.source.has_landed) = (None, false);
                self.taken_in(record, rules);
            }
            Upstream::Admin(by) => {
                let minutes = (record.minutes + by).max(0);
                let latest = self.account.latest_settlement().map(|latest| latest.intent);
                if latest.is_some_and(|intent| [intent.before, intent.after].contains(&minutes)) {
                    // By the minutes alone these could not be told apart.
                    return;
                }
                let added = record.added + minutes - record.minutes;
                self.source.record = Shown { minutes, added, ..record };
            }
            Upstream::Fetch => self.source.fetched = Some(record),
            Upstream::Arrives => {
                let Some(copy) = self.source.fetched.take() else { return };
                self.taken_in(copy, rules);
            }
        }
    }

    /// What the record was lowered by, and what it was not, is what was used; and nothing is written twice.
    fn settles(&self, rules: &Rules) {
        let Source { record, copy, lowered, given, has_landed, .. } = self.source;
        let acts = &self.acts;
        let under_way = self.account.open_settlement().filter(|_| has_landed);
        let under_way = under_way.map_or(0, |intent| intent.before - intent.after);
        let written = Seconds::from_minutes(lowered + given - under_way);
        assert_eq!(self.account.written, written, "{acts:?}: of {lowered} minutes, {under_way} of them under way");
        let used = self.account.usage(&rules.policy, self.now);
        for shown in [record, copy] {
            let token = shown.token(rules);
            let first = i64::try_from(POOL.minutes()).unwrap();
            let left = Pool::Holds(Seconds::from_minutes(first + shown.added + given).less(used));
            let is_left = self.account.left_of(&token, &rules.policy, self.now);
            let changed_since = has_landed && shown.added != copy.added && !rules.keeps_last_access;
            // Until it is looked at, nothing tells that the write is in it.
            assert!(is_left == left || changed_since && is_left.at_most(left) == is_left, "{acts:?}: by {shown:?}");
        }
    }

    fn check(&self, rules: &Rules) {
        let acts = &self.acts;
        let policy = &rules.policy;
        if let Some(deadline) = self.account.next_deadline(policy) {
            assert_ne!(self.account.due(policy, deadline), [], "{acts:?}: a deadline for nothing");
            let before = deadline.saturating_sub(Duration::from_millis(1)).unwrap();
            assert_eq!(self.account.due(policy, before), [], "{acts:?}: due before its deadline");
            let watched = matches!(acts.last(), Some(Act::Pass(_) | Act::ToDeadline));
            assert!(!watched || deadline > self.now, "{acts:?}: still due");
            if watched && self.bound() >= self.gives() {
                let goes = |session: &Session| {
                    let rest = session.granted.less(session.used(self.now));
                    !session.contact.can_disconnect || session.ending.is_some() || rest <= ENDS_BY_ITSELF
                };
                assert!(self.account.sessions().iter().all(goes), "{acts:?}: used up, and going on");
            }
        }
        self.settles(rules);
        if rules.routers.iter().all(|nas| !nas.can_disconnect) {
            self.promises_hold(Seconds::ZERO);
        }
        // Nobody is charged for more than the router counted, but for what ran to its timeout by the clock.
        assert!(self.account.usage <= self.sessions.iter().map(|real| real.granted).sum());

        let mut again = self.account.clone();
        for event in self.sessions.iter().flat_map(|real| &real.told) {
            again.apply(self.now, event);
            assert_eq!(again, self.account, "{acts:?}: {event:?}, told again, changes something");
        }
        let steadied = steady(self.account.clone());
        assert_eq!(steady(self.replayed.clone()), steadied, "{acts:?}: replayed");
        // Reading back is slow, and what is written differs in little: one of sixteen.
        if hash(&self.account).is_multiple_of(16) {
            let read = written::read_account(&written::account(&self.account)).unwrap();
            assert_eq!(steady(read), steadied, "{acts:?}: read back");
        }
    }

    fn possible_upstream(&self, rules: &Rules, acts: &mut Vec<Act>) {
        if rules.theme != Theme::Settlements {
            return;
        }
        let Source { record, copy, fetched, written_over, has_landed, .. } = self.source;
        let open = self.account.open_settlement().is_some();
        let mut may = vec![Upstream::Admin(100), Upstream::Admin(-37)];
        if !open {
            may.push(Upstream::Write);
        }
        if written_over.is_some() && !has_landed {
            may.extend([Upstream::Lands, Upstream::IsLost]);
        }
        if open && (written_over.is_none() || has_landed) {
            may.push(Upstream::Look { accepted: false });
        }
        if has_landed {
            may.push(Upstream::Look { accepted: true });
        }
        // By its minutes alone, no copy from before is told from minutes set back.
        if rules.keeps_last_access && fetched.is_none() && (open || copy != record) {
            may.push(Upstream::Fetch);
        }
        if fetched.is_some() {
            may.push(Upstream::Arrives);
        }
        acts.extend(may.into_iter().map(Act::Upstream));
    }

    /// What may happen next.
    fn possible(&self, rules: &Rules) -> Vec<Act> {
        let mut acts = Vec::new();
        let first = self.sessions.is_empty();
        for nas in 0..2 {
            // Devices are alike: the first to come is the first.
            let devices = if first { 0..1 } else { 0..2 };
            acts.extend(devices.map(|device| Act::Login { device, nas }));
        }
        if first {
            return acts;
        }
        for (number, real) in self.sessions.iter().enumerate() {
            let live = self.live(real.id);
            if rules.routers[real.nas].accounting && !real.forgotten {
                if real.told.is_empty() {
                    acts.push(Act::Start(number));
                }
                acts.push(Act::Stop(number));
                if real.is_on() {
                    acts.extend([Act::Interim(number), Act::Leave(number)]);
                    if real.held.is_none() {
                        acts.push(Act::Hold(number));
                    }
                }
            }
            if real.held.is_some() {
                acts.push(Act::Deliver(number));
            }
            if rules.routers[real.nas].can_disconnect
                && let Some(live) = live
            {
                match &live.ending {
                    None => acts.push(Act::Order(number)),
                    Some(ending) if ending.tries > 0 && real.is_on() => {
                        acts.extend([Told::Acked, Told::Unanswered].map(|told| Act::Answer(number, told)));
                    }
                    Some(ending) if ending.tries > 0 => {
                        acts.push(Act::Answer(number, Told::Refused(SESSION_CONTEXT_NOT_FOUND)));
                    }
                    Some(_) => {}
                }
            }
        }
        for (nas, router) in rules.routers.iter().enumerate() {
            if router.accounting && self.sessions.iter().any(|real| real.nas == nas && !real.forgotten) {
                acts.push(Act::Restart(nas));
            }
        }
        acts.push(Act::Pass(100));
        self.possible_upstream(rules, &mut acts);
        if self.account.next_deadline(&rules.policy).is_some() {
            acts.extend([Act::ToDeadline, Act::Unwatched(0), Act::Unwatched(400)]);
        }
        acts.retain(|act| rules.theme.has(*act));
        acts
    }
}

impl Source {
    fn new() -> Self {
        let record = Shown { minutes: i64::try_from(POOL.minutes()).unwrap(), last_access: None, added: 0 };
        Self { record, copy: record, fetched: None, written_over: None, has_landed: false, lowered: 0, given: 0 }
    }
}

impl Shown {
    fn token(&self, rules: &Rules) -> AccessToken {
        let Self { minutes, last_access, .. } = *self;
        AccessToken { minutes_left: minutes.try_into().ok(), last_access, ..rules.token.clone() }
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// An account without what a restart forgets: how far telling a router has come.
fn steady(mut account: Account) -> Account {
    let sessions = account.sessions.iter_mut().chain(account.ended.iter_mut().map(|ended| &mut ended.session));
    for session in sessions {
        let tellable = session.contact.can_disconnect;
        session.ending =
            session.ending.take().map(|ending| Box::new(Ending::new(ending.cause, ending.since, tellable)));
    }
    account
}

/// Follows every world through so many events, and says how many there were.
fn follow(rules: &Rules, first: World, events: usize) -> usize {
    let (mut known, mut level) = (HashSet::new(), vec![first]);
    for _ in 0..events {
        let mut next = Vec::new();
        for world in &level {
            for act in world.possible(rules) {
                let mut world = world.clone();
                world.act(act, rules);
                if known.insert(world.key()) {
                    world.check(rules);
                    next.push(world);
                }
            }
        }
        level = next;
    }
    known.len()
}

/// Follows the worlds of these two routers: so many must be found, lest fewer be tried unnoticed. More events are tried by
/// `SPOTGATE_WORLDS=8 cargo test worlds`; each takes about ten times as long.
fn all_is_well(limit: i32, on_user_limit: OnUserLimit, routers: [NasRules; 2], themes: [(Theme, usize, usize); 3]) {
    let minutes = POOL.minutes().try_into().unwrap();
    let token = AccessToken { user_limit: Some(limit), minutes_left: Some(minutes), ..token(1, "abc") };
    let policy = Policy { on_user_limit, ..Policy::default() };
    let (theme, came_back) = (Theme::Everything, RefCell::default());
    let mut rules = Rules { token, policy, routers, theme, keeps_last_access: true, came_back };
    for (theme, events, at_least) in themes {
        rules.theme = theme;
        let more = std::env::var("SPOTGATE_WORLDS").ok().and_then(|events| events.parse().ok());
        let worlds = follow(&rules, World::new(), more.unwrap_or(events));
        assert!(more.is_some() || worlds >= at_least, "{theme:?}, {limit} at once: only {worlds} worlds");
    }
}

#[test]
fn one_that_can_be_told_and_one_that_cannot() {
    let routers = || [router("can", true, true), router("cannot", false, true)];
    let themes = [(Theme::Everything, 5, 19_000), (Theme::Records, 6, 26_000), (Theme::Endings, 5, 9_000)];
    all_is_well(1, OnUserLimit::Deny, routers(), themes);
    let themes = [(Theme::Everything, 4, 3_000), (Theme::Records, 5, 10_500), (Theme::Endings, 5, 19_000)];
    all_is_well(2, OnUserLimit::Deny, routers(), themes);
}

#[test]
fn one_gives_its_place_up_to_the_other() {
    let routers = [router("can", true, true), router("cannot", false, true)];
    let themes = [(Theme::Everything, 4, 2_500), (Theme::Records, 5, 6_500), (Theme::Endings, 5, 14_000)];
    all_is_well(1, OnUserLimit::ReplaceOldest, routers, themes);
}

#[test]
fn neither_can_be_told() {
    let routers = [router("cannot", false, true), router("quiet", false, false)];
    let themes = [(Theme::Everything, 5, 16_500), (Theme::Records, 6, 38_000), (Theme::Endings, 5, 9_000)];
    all_is_well(2, OnUserLimit::Deny, routers, themes);
}

#[test]
fn one_that_can_be_told_reports_nothing() {
    let routers = [router("quiet", true, false), router("cannot", false, true)];
    let themes = [(Theme::Everything, 4, 1_500), (Theme::Records, 6, 35_000), (Theme::Endings, 5, 10_000)];
    all_is_well(2, OnUserLimit::Deny, routers, themes);
}

/// Minutes are written back while writes and answers are lost, copies are old and administrators change the minutes.
#[test]
fn what_is_written_back_is_written_once() {
    let minutes = POOL.minutes().try_into().unwrap();
    let token = AccessToken { user_limit: Some(1), minutes_left: Some(minutes), ..token(1, "abc") };
    for (keeps_last_access, routers, events, at_least) in [
        (true, [router("can", true, true), router("quiet", true, false)], 5, 12_000),
        (false, [router("cannot", false, true), router("quiet", false, false)], 5, 9_900),
    ] {
        let (policy, theme, came_back) = (Policy::default(), Theme::Settlements, RefCell::default());
        let rules = Rules { token: token.clone(), policy, routers, theme, keeps_last_access, came_back };
        let mut first = World::new();
        for act in [Act::Login { device: 0, nas: 0 }, Act::Start(0), Act::Pass(100), Act::Interim(0)] {
            first.act(act, &rules);
            first.check(&rules);
        }
        let more = std::env::var("SPOTGATE_WORLDS").ok().and_then(|events| events.parse().ok());
        let worlds = follow(&rules, first, more.unwrap_or(events));
        assert!(more.is_some() || worlds >= at_least, "LastAccess kept: {keeps_last_access}: only {worlds} worlds");
    }
}
