//! A soak: half an hour of an unquiet Nexudus, a virtual minute in each second, over real sockets and on a real disk.
//!
//! Of 2000 tokens some change with every few seconds, guests use minutes and mistype codes, and of all answers one in ten is
//! faulty. When that is over, within a bounded time, the mirror equals the server, in memory and as a restart finds it; of each
//! token what was used is what its `MinutesLeft` was lowered by and what is unwritten; and no minute has seen more calls than
//! were allowed.
//!
//! The seed decides what is done, not what the network makes of it. `SPOTGATE_SOAK_SEED=7 cargo test --lib -- soak` takes
//! another, and `SPOTGATE_SOAK_MINUTES=600` soaks for longer.
//!
//! Two writers may meet: a change of `MinutesLeft` made between our read and our write is overwritten, as Nexudus knows no
//! conditional write. So the admin of this soak leaves the minutes of a token alone that a write may be under way for: one
//! that owes whole minutes and has any to take, or whose latest write is open ([`Soak::may_change_minutes`]). Of codes and
//! locations the last writer has it, and no sum depends on them.

mod driver;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::driver::{Chance, Told};
use crate::catalogue::{Catalogue, Find, Standing};
use crate::clock::Clock;
use crate::config::{self, Settings};
use crate::core::ident::{BusinessId, TokenId};
use crate::core::login::Claim;
use crate::core::token::AccessToken;
use crate::gate::{Gate, Supply};
use crate::ledger::{self, Ledger};
use crate::live::Live;
use crate::mirror::Mirror;
use crate::sandbox::nexudus::{Options, Sandbox, Seen};
use crate::source::nexudus::wire::Record;
use crate::source::nexudus::{Nexudus, Observer};
use crate::source::{Error, Origin};
use crate::telemetry::trouble::Trouble;
use crate::write_back::WriteBack;

const WALL: &str = "2026-11-23T10:00:00Z";
const SPEED: u32 = 60;
const MINUTE: Duration = Duration::from_secs(60);
const TOKENS: i64 = 2000;
const CEILING: usize = 90;

/// How long it may take until all is well: a listing, the rest of a token that could not be lowered, and some.
const WELL_WITHIN: Duration = Duration::from_secs(40 * 60);

/// What only an operator could mend: here nothing is.
#[derive(Clone, Default)]
struct Alarms(Arc<Mutex<Vec<String>>>);

impl Observer for Alarms {
    fn request(&self, _: &'static str, _: &str) {}

    fn answered(&self, operation: &'static str, outcome: Result<(), &Error>) {
        if let Err(error @ Error::Refused { .. }) = outcome {
            self.0.lock().unwrap().push(format!("{operation}: {error}"));
        }
    }

    fn signed_in(&self) {}

    fn malformed_record(&self) {
        self.0.lock().unwrap().push("a malformed record".to_owned());
    }
}

struct Soak {
    sandbox: Sandbox,
    clock: Clock,
    settings: Settings,
    folder: tempfile::TempDir,
    chance: Chance,
    told: BTreeMap<i64, Told>,
    /// Tokens that exist, those in use first.
    ids: Vec<i64>,
    next: i64,
    alarms: Alarms,
    trouble: Arc<Trouble>,
    lookups: JoinSet<()>,
    /// Tokens that nobody changes, so that it is known what a look-up must say.
    untouched: HashSet<i64>,
}

fn nexudus_of(settings: &Settings) -> &config::Nexudus {
    let config::Source::Nexudus(nexudus) = &settings.source else { panic!("a file") };
    nexudus
}

impl Soak {
    async fn new(seed: u64) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let clock = Clock::fast(WALL.parse().unwrap(), SPEED);
        // Sign-ins are among the calls, now and then.
        let options = Options { bearer_life: MINUTE * 7, ..Options::default() };
        let sandbox = Sandbox::start_local(options, clock.clone()).await.unwrap();
        let text = format!(
            "[source]\nkind = \"nexudus\"\n[source.nexudus]\nbase_url = \"{}\"\nusername = \"demo@example.org\"\npassword = \"demo\"\n\
             [[nas]]\nname = \"front-desk\"\naddress = \"127.0.0.1\"\nsecret = \"a secret for tests\"\n",
            sandbox.base_url()
        );
        let mut settings = config::from_str(&text, "spotgate.toml".as_ref(), &|_| None).unwrap().settings;
        let config::Source::Nexudus(nexudus) = &mut settings.source else { panic!("a file") };
        nexudus.business_ids = vec![BusinessId(1), BusinessId(2)];
        // A second, really: a busy machine has it.
        nexudus.request_timeout = MINUTE;
        nexudus.requests_per_minute = CEILING.try_into().unwrap();
        nexudus.mirror_interval = MINUTE;
        nexudus.full_mirror_interval = MINUTE * 6;
        let mut soak = Self {
            sandbox,
            clock,
            settings,
            folder: tempfile::tempdir().unwrap(),
            chance: Chance(seed),
            told: BTreeMap::new(),
            ids: Vec::new(),
            next: 1,
            alarms: Alarms::default(),
            trouble: Arc::default(),
            lookups: JoinSet::new(),
            untouched: HashSet::new(),
        };
        for _ in 0..TOKENS {
            soak.create();
        }
        soak
    }

    fn catalogue(&self, nexudus: &Arc<Nexudus>) -> Arc<Catalogue> {
        let origin = Arc::clone(nexudus) as Arc<dyn Origin>;
        Arc::new(Catalogue::new(&self.settings.cache, Some(origin), true, self.clock.clone()))
    }

    fn nexudus(&self) -> Arc<Nexudus> {
        let observer = Box::new(self.alarms.clone());
        let config = nexudus_of(&self.settings);
        Arc::new(Nexudus::new(config, self.clock.clone(), None, Box::new(|_| ()), observer).unwrap())
    }

    fn mirror(&self, nexudus: &Arc<Nexudus>, catalogue: &Arc<Catalogue>) -> Mirror {
        let (clock, folder) = (self.clock.clone(), Some(self.folder.path()));
        Mirror::open(
            Arc::clone(nexudus),
            Arc::clone(catalogue),
            Arc::default(),
            clock,
            folder,
            Arc::default(),
            Arc::new(|_| true),
        )
    }

    fn ledger(&self) -> Ledger {
        let ledger::Opened { ledger, trouble } =
            Ledger::open(self.folder.path(), &self.settings.policy, self.clock.now().wall).unwrap();
        assert_eq!(trouble, None);
        ledger
    }

    /// Starts what the daemon runs: the mirror, the writing back, and what lets accounts feel changes.
    fn start(&self, tasks: &mut JoinSet<()>) -> Arc<Gate> {
        let (nexudus, ledger) = (self.nexudus(), Arc::new(self.ledger()));
        let catalogue = self.catalogue(&nexudus);
        let live = Arc::new(Live::new(self.settings.clone()).unwrap());
        tasks.spawn(self.mirror(&nexudus, &catalogue).run());
        let (clock, trouble) = (self.clock.clone(), Arc::clone(&self.trouble));
        let current = watch::channel(Arc::clone(&live)).1;
        let write_back =
            WriteBack::new(nexudus, Arc::clone(&catalogue), Arc::clone(&ledger), current, clock, trouble, true);
        tasks.spawn(write_back.run());
        let supply = Supply {
            catalogue,
            health: Arc::default(),
            mirror: Some(Arc::default()),
            write_back: Arc::default(),
            hint: Arc::default(),
        };
        let gate = Arc::new(Gate::new(Arc::new(supply), ledger, Arc::default(), self.clock.clone()));
        let revising = Arc::clone(&gate);
        tasks.spawn(async move {
            loop {
                let changes = revising.supply().catalogue.changes().await;
                revising.revise(changes, &live);
            }
        });
        gate
    }

    /// The tokens of our locations as the server has them.
    fn server(&self) -> Vec<AccessToken> {
        let read = |id: &i64| {
            let json = self.sandbox.token(*id).unwrap().to_string();
            Record::parse(&json).unwrap().read(&TimeZone::UTC).unwrap().token
        };
        let ours = [BusinessId(1), BusinessId(2)];
        self.ids.iter().map(read).filter(|token| token.business.is_some_and(|at| ours.contains(&at))).collect()
    }

    /// Where the mirror differs from the server.
    fn differs(&self, catalogue: &Catalogue) -> Result<(), String> {
        let server = self.server();
        for token in &server {
            match catalogue.standing(token.id) {
                Some(Standing::Held(held)) if *held == *token => {}
                other => return Err(format!("{token:?} is held as {other:?}")),
            }
            let claim = Claim::Code(token.code.clone());
            let found = match catalogue.find(&claim) {
                Find::Here(tokens) => tokens.iter().any(|found| **found == *token),
                Find::Ask { .. } | Find::Nothing => false,
            };
            if !found {
                return Err(format!("{token:?} is not found by its code"));
            }
        }
        let held = catalogue.older(Duration::MAX);
        let strange = held.iter().find(|held| server.iter().all(|token| token.id != held.id));
        strange.map_or(Ok(()), |strange| Err(format!("{strange:?} is held and not there")))
    }

    /// What is not settled that could be.
    fn owes(&self, ledger: &Ledger) -> Result<(), String> {
        for id in &self.ids {
            let Some(account) = ledger.account(TokenId(*id)) else { continue };
            let unwritten = account.unwritten(&self.settings.policy, self.clock.now().wall);
            if account.open_settlement().is_some() || (unwritten.0 >= 60 && self.minutes(*id) > 0) {
                let (settlement, terms) = (account.latest_settlement(), account.terms());
                return Err(format!("{id} has {unwritten:?} unwritten, {settlement:?}, {terms:?}"));
            }
        }
        Ok(())
    }

    /// Of each token: what was used is what it was lowered by and what is unwritten. How much was written, in minutes.
    fn balances(&self, ledger: &Ledger) -> i64 {
        let mut written = 0;
        for (id, told) in &self.told {
            let now = self.clock.now().wall;
            let account = ledger.account(TokenId(*id)).unwrap_or_default();
            let lowered = told.given - self.minutes(*id);
            let unwritten = account.unwritten(&self.settings.policy, now).0;
            assert_eq!(account.usage(&self.settings.policy, now).0, told.used, "token {id}: every second is counted");
            let sum = u64::try_from(lowered * 60).unwrap() + unwritten;
            assert_eq!(sum, told.used, "token {id}: lowered by {lowered}, {unwritten} s unwritten, {told:?}");
            written += lowered;
        }
        written
    }

    /// The most calls that any minute saw, whenever it begins.
    fn busiest_minute(calls: &[Seen]) -> usize {
        let within = |first: &Seen| first.at.saturating_add(MINUTE).unwrap();
        let count = |(index, first): (usize, &Seen)| {
            let end = within(first);
            calls.iter().skip(index).take_while(|call| call.at < end).count()
        };
        calls.iter().enumerate().map(count).max().unwrap_or(0)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_an_hour_of_faults_leaves_nothing_behind() {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seed = number("SPOTGATE_SOAK_SEED").unwrap_or(1);
    let minutes = number("SPOTGATE_SOAK_MINUTES").map_or(30, |minutes| minutes.try_into().unwrap());
    println!("SPOTGATE_SOAK_SEED={seed} SPOTGATE_SOAK_MINUTES={minutes}");

    let mut soak = Soak::new(seed).await;
    let mut tasks = JoinSet::new();
    let gate = soak.start(&mut tasks);
    soak.rain(&gate, minutes).await;
    let dry = soak.clock.now().mono;
    let calls = soak.sandbox.requests().len();
    let catalogue = Arc::clone(&gate.supply().catalogue);
    for looks in 0.. {
        let outcome = soak.differs(&catalogue).and_then(|()| soak.owes(&gate.ledger));
        let took = soak.clock.now().mono - dry;
        match outcome {
            Ok(()) => {
                println!("well again after {took:?}");
                break;
            }
            Err(what) => assert!(took < WELL_WITHIN && looks < 1000, "not well after {took:?}: {what}"),
        }
        soak.clock.sleep(MINUTE / 4).await;
    }
    let written = soak.balances(&gate.ledger);
    assert_eq!(soak.trouble.words(), None);
    assert_eq!(*soak.alarms.0.lock().unwrap(), [""; 0], "nothing was there that an operator could mend");

    let seen = soak.sandbox.requests();
    let faulty = seen[..calls].iter().filter(|seen| !matches!(seen.status, Some(200 | 404))).count();
    let busiest = Soak::busiest_minute(&seen);
    println!(
        "{calls} calls, {faulty} faulty, {busiest} in a minute, {written} minutes written, {:?}",
        soak.sandbox.counts()
    );
    assert!(busiest <= CEILING, "{busiest} calls in a minute");
    // Not among the faulty: pages and halves with status 200.
    let soaked = calls > 10 * usize::try_from(minutes).unwrap() && faulty * 40 > calls && written > i64::from(minutes);
    assert!(soaked, "that was no soak");

    // A restart without internet, once what was read last is written down.
    soak.clock.sleep(MINUTE * 3).await;
    tasks.shutdown().await;
    gate.ledger.close().unwrap();
    drop((gate, catalogue));
    soak.sandbox.set_fail(Some("down".parse().unwrap()));
    let nexudus = soak.nexudus();
    let catalogue = soak.catalogue(&nexudus);
    drop(soak.mirror(&nexudus, &catalogue));
    assert_eq!(soak.differs(&catalogue), Ok(()), "after a restart");
    assert_eq!(soak.balances(&soak.ledger()), written);
}
