//! The same day with three daemons on one database: a router asks whichever it likes, which may not have heard of what another
//! did a moment ago; one may go at any time, and comes back with what the database has.

use super::*;
use crate::ledger::shared::tests::{Database, outcome};

const DAEMONS: usize = 3;

/// Each time, another daemon was faster: they do not race for ever.
const RACES: usize = 20;

pub(super) struct Chain {
    database: Database,
    /// What the database has, read.
    truth: HashMap<TokenId, Account>,
    /// All but the one that is asked now, whose place is taken by an empty one.
    daemons: Vec<Ledger>,
    asked: usize,
    /// How much of the news each has heard.
    heard: [usize; DAEMONS],
}

impl Chain {
    pub(super) fn new() -> Self {
        let daemons: Vec<_> = (0..DAEMONS).map(|_| Ledger::shared()).collect();
        Self { database: Database::default(), truth: HashMap::new(), daemons, asked: 0, heard: [0; DAEMONS] }
    }
}

impl Day {
    /// From here on three daemons answer.
    pub(super) fn with_chain(mut self) -> Self {
        let mut chain = Chain::new();
        std::mem::swap(&mut self.ledger, &mut chain.daemons[0]);
        self.chain = Some(chain);
        self.one_leads();
        self
    }

    /// The first leads, as long as it lives and again afterwards.
    fn one_leads(&mut self) {
        self.by(0);
        self.ledger.lead(true);
    }

    /// Another daemon is asked from now on, if there are several; which.
    pub(super) fn by_any(&mut self) -> usize {
        if self.chain.is_some() {
            let daemon = self.chance.below(DAEMONS);
            self.by(daemon);
        }
        self.asked()
    }

    pub(super) fn asked(&self) -> usize {
        self.chain.as_ref().map_or(0, |chain| chain.asked)
    }

    pub(super) fn by(&mut self, daemon: usize) {
        let Some(chain) = &mut self.chain else { return };
        std::mem::swap(&mut self.ledger, &mut chain.daemons[chain.asked]);
        chain.asked = daemon;
        std::mem::swap(&mut self.ledger, &mut chain.daemons[daemon]);
    }

    /// The account as the database has it.
    pub(super) fn truth(&self, token: TokenId) -> Option<Account> {
        match &self.chain {
            Some(chain) => chain.truth.get(&token).cloned(),
            None => self.ledger.account(token),
        }
    }

    /// The daemon in which something is due first, and when.
    pub(super) fn due_first(&mut self) -> Option<Timestamp> {
        if self.chain.is_some() {
            let due = |day: &mut Self, daemon| {
                day.by(daemon);
                day.ledger.next_deadline().map(|at| (at, daemon))
            };
            let (_, daemon) = (0..DAEMONS).filter_map(|daemon| due(self, daemon)).min()?;
            self.by(daemon);
        }
        self.ledger.next_deadline()
    }

    /// What was done goes to the database; others hear of it now or later.
    pub(super) fn handed_on(&mut self) {
        let Some(chain) = &mut self.chain else { return };
        loop {
            let changes = self.ledger.take_changes(usize::MAX, &self.policy);
            if changes.is_empty() {
                break;
            }
            for change in changes {
                let token = change.token;
                let over = chain.database.over(&change);
                if !over.is_empty() && !self.ledger.are_over(token, &over) {
                    continue;
                }
                let swapped = chain.database.swap(change);
                self.ledger.swapped(token, swapped, &self.policy);
                chain.truth.insert(token, chain.database.account(token.0));
            }
        }
        for daemon in 0..DAEMONS {
            if self.chance.percent(60) {
                self.hears(daemon);
            }
        }
    }

    fn hears(&mut self, daemon: usize) {
        let Some(chain) = &mut self.chain else { return };
        let ledger = if daemon == chain.asked { &self.ledger } else { &chain.daemons[daemon] };
        for row in &chain.database.news[chain.heard[daemon]..] {
            ledger.heard(row, &self.policy);
        }
        chain.heard[daemon] = chain.database.news.len();
    }

    pub(super) fn all_hear(&mut self) {
        (0..DAEMONS).for_each(|daemon| self.hears(daemon));
    }

    /// Whether what was done holds, once it was handed on.
    pub(super) fn holds(&self, written: Written) -> bool {
        if self.chain.is_none() {
            assert!(!matches!(written, Written::Never(_)));
            return true;
        }
        match outcome(written) {
            Some(Ok(())) => true,
            Some(Err(Unwritten::Raced)) => false,
            other => panic!("{self:?}: {other:?}"),
        }
    }

    /// A login is decided until no other daemon was faster.
    pub(super) fn admitted(&mut self, token: &AccessToken, question: &Question<'_>, id: SessionId) -> Decision {
        for _ in 0..RACES {
            let (decision, written) = self.ledger.admit(token, question, id, at(self.now), &mut ());
            self.noted();
            if self.holds(written) {
                return decision;
            }
        }
        panic!("{self:?}: {id} races for ever")
    }

    /// A daemon is gone at once, and another takes its place with what the database has.
    pub(super) fn one_goes(&mut self) {
        let daemon = self.by_any();
        self.ledger = Ledger::shared();
        let gone = |(by, _): &(usize, usize), _: &mut _| *by != daemon;
        self.decided.retain(gone);
        self.awaited.retain(|_, by| *by != daemon);
        if let Some(chain) = &mut self.chain {
            for row in chain.database.rows.values() {
                self.ledger.heard(row, &self.policy);
            }
            chain.heard[daemon] = chain.database.news.len();
        }
        self.one_leads();
    }
}

#[test]
fn three_daemons_never_lie_either() {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let live = |seed| {
        let _seed = Seed(seed);
        Day::new(seed).with_chain().live()
    };
    if let Some(seed) = number("SPOTGATE_CHAIN_DAY") {
        println!("{} steps", live(seed));
        return;
    }
    let days = number("SPOTGATE_CHAIN_DAYS").unwrap_or(400);
    let steps: u64 = std::thread::scope(|threads| {
        let halves = [0, 1].map(|first| threads.spawn(move || (first..days).step_by(2).map(live).sum::<u64>()));
        halves.into_iter().map(|half| half.join().unwrap()).sum()
    });
    println!("{days} days, {steps} steps");
    assert!(steps >= days * 200, "only {steps} steps in {days} days");
}
