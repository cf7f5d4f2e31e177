//! What waits to be written, in order.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::{BATCH, Closed, Error, Position, Record, Row};

/// A bounded queue from many handles to one writer. Positions are given out under its lock, so that they follow its order.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    capacity: usize,
    /// How long what nobody waits for waits for company.
    linger: Duration,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Queued>,
    /// Of those, how many somebody waits for.
    awaited: usize,
    /// The writer waits for some, or for more, and is to be woken. To wake one that writes would cost a system call, too.
    sleeps: bool,
    head: Position,
    /// Nothing after these may be acknowledged, since it could not be replayed, until a row makes it good.
    missing: Missing,
    /// Why nothing more is taken.
    shut: Option<Error>,
}

/// Something to write.
#[derive(Debug)]
pub(super) enum Work {
    /// New records, the sessions that ended by them, and the names of those that go on after all. Without records, it is
    /// acknowledged only if nothing is missing.
    Append(Vec<Record>, Vec<Closed>, Vec<String>),
    /// New records that, together, say of a token all that is to be on disk: what did not get there before is made good.
    Whole(i64, Vec<Record>),
    /// Rows of a snapshot, and sessions that ended by what they contain.
    Rows(Vec<Row>, Vec<Closed>),
    /// All rows are there: what is at or before this position is no longer needed.
    Cut(Position),
    /// Some sessions below this name that ended before this time are no longer needed.
    Retain {
        /// A name.
        named_before: String,
        /// Milliseconds since 1970.
        ended_before_ms: i64,
    },
    /// Statements that make the file readable for people: views.
    Define(&'static str),
    /// A statement that makes the file misbehave.
    #[cfg(test)]
    Statement(String),
}

impl Work {
    /// The records in it.
    fn records(&self) -> &[Record] {
        match self {
            Self::Append(records, ..) | Self::Whole(_, records) => records,
            _ => &[],
        }
    }

    /// Whether it cannot succeed on a disk that cannot be written.
    pub(super) const fn proves_the_disk(&self) -> bool {
        match self {
            Self::Append(records, ..) | Self::Whole(_, records) => !records.is_empty(),
            Self::Rows(rows, _) => !rows.is_empty(),
            Self::Cut(_) | Self::Define(_) => true,
            Self::Retain { .. } => false,
            #[cfg(test)]
            Self::Statement(_) => false,
        }
    }
}

impl State {
    /// This will never be on disk.
    fn misses(&mut self, first: Position, work: &Work) {
        for (position, record) in (first.0..).zip(work.records()) {
            misses(&mut self.missing, record.token, Position(position));
        }
    }

    /// This is on disk; whether it may be acknowledged.
    fn succeeded(&mut self, queued: &Queued) -> bool {
        match &queued.work {
            Work::Append(records, ..) if records.is_empty() => return self.missing.is_empty(),
            Work::Append(records, ..) => {
                return !records.iter().any(|record| misses_before(&self.missing, record.token, queued.first));
            }
            work => makes_good(&mut self.missing, work, queued.first),
        }
        true
    }
}

/// Tokens of which records did not get to the disk, with the first and the latest of those: what is refused, since there is no
/// room for it, comes before what waits fails.
type Missing = HashMap<i64, (Position, Position)>;

fn misses(missing: &mut Missing, token: i64, at: Position) {
    let (first, latest) = missing.entry(token).or_insert((at, at));
    (*first, *latest) = (at.min(*first), at.max(*latest));
}

/// Whether of this token something is missing before this position.
fn misses_before(missing: &Missing, token: i64, at: Position) -> bool {
    missing.get(&token).is_some_and(|(first, _)| *first < at)
}

/// What is missing no more once this is on disk.
fn makes_good(missing: &mut Missing, work: &Work, first: Position) {
    match work {
        Work::Whole(token, _) if missing.get(token).is_some_and(|(_, latest)| *latest < first) => {
            missing.remove(token);
        }
        Work::Rows(rows, _) => {
            for row in rows {
                if missing.get(&row.token).is_some_and(|(_, latest)| *latest <= row.at) {
                    missing.remove(&row.token);
                }
            }
        }
        // What is not among the rows is of no account.
        Work::Cut(covers) => missing.retain(|_, (_, latest)| *latest > *covers),
        _ => {}
    }
}

/// Something to write, its place, and who waits for it, if anybody does.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) work: Work,
    /// Of the first record, if it has any.
    pub(super) first: Position,
    pub(super) waiter: Option<Waiter>,
}

/// Who waits.
pub(super) type Waiter = oneshot::Sender<Result<(), Error>>;

/// What the writer finds.
pub(super) enum Taken {
    /// Something to write.
    Batch(Vec<Queued>),
    /// Nothing for as long as it wished to wait.
    Idle,
    /// Nothing, and nothing will come.
    Shut,
}

impl Queue {
    pub(super) fn new(head: Position, capacity: usize, linger: Duration) -> Self {
        let state =
            State { waiting: VecDeque::new(), awaited: 0, sleeps: false, head, missing: HashMap::new(), shut: None };
        Self { state: Mutex::new(state), filled: Condvar::new(), capacity, linger }
    }

    pub(super) fn push(&self, work: Work, waiter: Option<Waiter>) -> Result<(), Error> {
        let mut state = self.lock();
        if let Some(why) = &state.shut {
            return Err(why.clone());
        }
        let first = Position(state.head.0.saturating_add(1));
        state.head.0 = state.head.0.saturating_add(i64::try_from(work.records().len()).unwrap_or(i64::MAX));
        if state.waiting.len() >= self.capacity {
            // Its place is used up, so that no earlier row is taken for one that contains it.
            state.misses(first, &work);
            return Err(Error::Full);
        }
        let is_awaited = waiter.is_some();
        state.awaited += usize::from(is_awaited);
        state.waiting.push_back(Queued { work, first, waiter });
        // The writer hears of the first, and when it may wait no longer.
        let is_news = is_awaited || state.waiting.len() == 1 || state.waiting.len() == BATCH;
        let wakes = is_news && std::mem::take(&mut state.sleeps);
        drop(state);
        if wakes {
            self.filled.notify_one();
        }
        Ok(())
    }

    pub(super) fn head(&self) -> Position {
        self.lock().head
    }

    /// The tokens of which something did not get to the disk, and no row has made it good yet.
    pub(super) fn missing(&self) -> Vec<i64> {
        self.lock().missing.keys().copied().collect()
    }

    /// Takes from a batch what must not be on disk before what is missing is made good: that a session ended whose time no
    /// replay would count. Whoever makes it good says that, too.
    pub(super) fn hold_back(&self, batch: &mut [Queued]) {
        let mut missing = self.lock().missing.clone();
        if missing.is_empty() {
            return;
        }
        for Queued { work, first, .. } in batch {
            if let Work::Append(_, closed, _) = work {
                closed.retain(|closed| !misses_before(&missing, closed.token, *first));
            }
            makes_good(&mut missing, work, *first);
        }
    }

    /// A batch did not get to the disk.
    pub(super) fn failed(&self, batch: &[Queued]) {
        let mut state = self.lock();
        for queued in batch {
            state.misses(queued.first, &queued.work);
        }
    }

    /// A batch is on disk: who waits for it, and whether it may be acknowledged.
    pub(super) fn succeeded(&self, batch: Vec<Queued>) -> Vec<(Waiter, bool)> {
        let mut state = self.lock();
        let told = batch.into_iter().filter_map(|queued| {
            let may = state.succeeded(&queued);
            queued.waiter.map(|waiter| (waiter, may))
        });
        told.collect()
    }

    /// Takes nothing more, for the reason given unless there was one before.
    pub(super) fn close(&self, why: Error) {
        self.lock().shut.get_or_insert(why);
        self.filled.notify_one();
    }

    /// Takes nothing more and gives up what waits.
    pub(super) fn fail(&self, why: &Error) {
        let mut state = self.lock();
        state.shut = Some(why.clone());
        state.awaited = 0;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for waiter in waiting.into_iter().filter_map(|queued| queued.waiter) {
            // Nobody waits any more: nobody minds.
            let _ = waiter.send(Err(why.clone()));
        }
    }

    /// Takes the oldest [`BATCH`], waiting for the first of them: at most for `patience`, or until there is one. For what nobody
    /// waits for, it then waits for more.
    pub(super) fn take(&self, patience: Option<Duration>) -> Taken {
        let nothing = |state: &mut State| {
            state.sleeps = state.waiting.is_empty() && state.shut.is_none();
            state.sleeps
        };
        let state = self.lock();
        let mut state = match patience {
            Some(patience) => {
                self.filled.wait_timeout_while(state, patience, nothing).unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.filled.wait_while(state, nothing).unwrap_or_else(PoisonError::into_inner),
        };
        if state.waiting.is_empty() {
            return if state.shut.is_some() { Taken::Shut } else { Taken::Idle };
        }
        let can_wait = |state: &mut State| {
            state.sleeps = state.awaited == 0 && state.waiting.len() < BATCH && state.shut.is_none();
            state.sleeps
        };
        state = self.filled.wait_timeout_while(state, self.linger, can_wait).unwrap_or_else(PoisonError::into_inner).0;
        state.sleeps = false;
        let count = BATCH.min(state.waiting.len());
        let batch: Vec<Queued> = state.waiting.drain(..count).collect();
        state.awaited -= batch.iter().filter(|queued| queued.waiter.is_some()).count();
        Taken::Batch(batch)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    #[test]
    fn what_is_refused_early_hides_nothing_that_fails_later() {
        let mut missing = Missing::new();
        misses(&mut missing, 1, Position(20));
        assert!(!misses_before(&missing, 1, Position(12)));
        misses(&mut missing, 1, Position(10));
        assert!(misses_before(&missing, 1, Position(12)) && !misses_before(&missing, 1, Position(10)));
        let row = |at| Work::Rows(vec![Row { token: 1, at: Position(at), payload: vec![], packed: vec![] }], vec![]);
        makes_good(&mut missing, &row(19), Position(21));
        assert!(misses_before(&missing, 1, Position(12)), "the latest is not in it");
        makes_good(&mut missing, &row(20), Position(21));
        assert!(!misses_before(&missing, 1, Position(99)));
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A queue whose writer would wait for an hour, and how many it takes each time.
    fn lingering() -> (Arc<Queue>, Receiver<usize>) {
        let queue = Arc::new(Queue::new(Position(0), 10_000, Duration::from_secs(3600)));
        let (took, taken) = channel();
        let writer = Arc::clone(&queue);
        std::thread::spawn(move || {
            while let Taken::Batch(batch) = writer.take(None) {
                let _ = took.send(batch.len());
            }
        });
        (queue, taken)
    }

    fn note() -> Work {
        Work::Append(vec![Record { token: 1, at_ms: 0, payload: Vec::new() }], Vec::new(), Vec::new())
    }

    /// Until the writer waits for more than the first.
    fn until_it_lingers(queue: &Queue) {
        queue.push(note(), None).unwrap();
        while !queue.lock().sleeps {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_writer_that_waits_for_company_is_woken_by_what_somebody_waits_for() {
        let (queue, taken) = lingering();
        until_it_lingers(&queue);
        queue.push(note(), None).unwrap();
        let (waiter, _outcome) = oneshot::channel();
        queue.push(note(), Some(waiter)).unwrap();
        assert_eq!(taken.recv_timeout(PATIENCE), Ok(3));
        queue.close(Error::Closed);
    }

    #[test]
    fn a_writer_that_waits_for_company_is_woken_once_there_is_enough() {
        let (queue, taken) = lingering();
        until_it_lingers(&queue);
        for _ in 1..BATCH {
            queue.push(note(), None).unwrap();
        }
        assert_eq!(taken.recv_timeout(PATIENCE), Ok(BATCH));
        queue.close(Error::Closed);
    }

    #[test]
    fn a_writer_that_waits_for_company_is_woken_by_the_end() {
        let (queue, taken) = lingering();
        until_it_lingers(&queue);
        queue.close(Error::Closed);
        assert_eq!(taken.recv_timeout(PATIENCE), Ok(1));
    }
}
