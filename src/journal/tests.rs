use super::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use rusqlite::Connection;

/// The folder for a child process, and what it does there.
const FOLDER: &str = "SPOTGATE_TEST_JOURNAL";
const NOBODY: u32 = 65534;

fn now() -> Timestamp {
    "2026-11-23T20:32:52Z".parse().unwrap()
}

fn record(token: i64, number: u64) -> Record {
    Record { token, at_ms: 1_795_000_000_000, payload: number.to_le_bytes().to_vec() }
}

fn numbers(payload: &[u8]) -> impl Iterator<Item = u64> {
    payload.chunks_exact(8).map(|number| u64::from_le_bytes(number.try_into().unwrap()))
}

/// Records that hold a number each, and rows that hold the numbers of all records of their token.
#[derive(Default, Debug, PartialEq)]
struct Told(BTreeMap<i64, Vec<u64>>);

impl Told {
    fn hear(&mut self, entry: Entry<'_>) {
        match entry {
            Entry::Row { token, payload, packed } => {
                assert_eq!(packed, [payload, b"!"].concat());
                assert!(!self.0.contains_key(&token), "a row comes once and before the records");
                self.0.insert(token, numbers(payload).collect());
            }
            Entry::Record { token, at_ms, payload } => {
                assert_eq!(at_ms, 1_795_000_000_000);
                self.0.entry(token).or_default().extend(numbers(payload));
            }
        }
    }

    fn all(&self) -> BTreeSet<u64> {
        let all: BTreeSet<u64> = self.0.values().flatten().copied().collect();
        assert_eq!(all.len(), self.0.values().map(Vec::len).sum::<usize>(), "a number was replayed twice");
        all
    }

    fn row(&self, token: i64, at: Position) -> Row {
        let payload: Vec<u8> =
            self.0.get(&token).into_iter().flatten().flat_map(|number| number.to_le_bytes()).collect();
        Row { token, at, packed: [&payload[..], b"!"].concat(), payload }
    }
}

fn open(folder: &Path) -> (Journal, Told, Option<PathBuf>) {
    let mut told = Told::default();
    let Opened { journal, damaged } = Journal::open(folder, now(), |entry| told.hear(entry)).unwrap();
    (journal, told, damaged)
}

fn told(folder: &Path) -> Told {
    let (journal, told, damaged) = open(folder);
    assert_eq!(damaged, None);
    journal.close().unwrap();
    told
}

async fn statement(journal: &Journal, statement: &str) {
    journal.push(Work::Statement(statement.to_owned())).unwrap().await.unwrap();
}

/// Keeps the writer from writing until it is dropped.
fn hold(folder: &Path) -> Connection {
    let other = Connection::open(folder.join("ledger.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

fn count(folder: &Path, table: &str) -> i64 {
    let file = Connection::open(folder.join("ledger.db")).unwrap();
    file.query_row(&format!("SELECT count(*) FROM {table}"), [], |columns| columns.get(0)).unwrap()
}

#[tokio::test]
async fn what_is_appended_is_replayed_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let deeper = folder.path().join("spotgate");
    let (journal, nothing, _) = open(&deeper);
    assert_eq!(nothing, Told::default());
    for number in 0..10 {
        journal.append(record(i64::try_from(number).unwrap() % 3 - 1, number)).unwrap().await.unwrap();
    }
    journal.append_all(vec![record(7, 10), record(7, 11), record(-1, 12)], vec![], vec![]).unwrap().await.unwrap();
    journal.append_all(vec![], vec![], vec![]).unwrap().await.unwrap();
    assert_eq!(journal.counters(), Counters { commits: 12, records: 13 });
    assert_eq!(fs::metadata(deeper.join("ledger.db")).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(deeper.join("ledger.db-wal")).unwrap().mode() & 0o777, 0o600);
    assert!(matches!(Journal::open(&deeper, now(), |_| {}), Err(OpenError::InUse { .. })));
    drop(journal);

    let mut order = Vec::new();
    let opened = Journal::open(&deeper, now(), |entry| match entry {
        Entry::Record { payload, .. } => order.extend(numbers(payload)),
        Entry::Row { .. } => panic!("no snapshot was taken"),
    });
    assert_eq!(order, (0..13).collect::<Vec<_>>());
    opened.unwrap().journal.close().unwrap();
}

#[tokio::test]
async fn what_is_acknowledged_is_committed() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, ..) = open(folder.path());
    let other = Connection::open(folder.path().join("ledger.db")).unwrap();
    let mut committed = other.prepare("SELECT max(position) FROM journal").unwrap();
    for number in 1..200 {
        journal.append(record(1, number)).unwrap().await.unwrap();
        let last: i64 = committed.query_row([], |columns| columns.get(0)).unwrap();
        assert_eq!(Position(last), journal.head());
    }
}

#[tokio::test]
async fn many_at_once_are_few_commits() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, ..) = open(folder.path());
    let held = hold(folder.path());
    let waiting: Vec<Ack> = (0..1000).map(|number| journal.append(record(1, number)).unwrap()).collect();
    drop(held);
    for ack in waiting {
        ack.await.unwrap();
    }
    let Counters { commits, records } = journal.counters();
    assert_eq!(records, 1000);
    // The first may have begun with few.
    assert!(commits <= 3, "{commits} commits");
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open_with(folder.path(), now(), |_| {}, 4).unwrap().journal;
    let held = hold(folder.path());
    let mut taken = Vec::new();
    // The writer has at most four in its hands and four wait.
    let refused = (0..9).find_map(|number| match journal.append(record(1, number)) {
        Ok(ack) => {
            taken.push(ack);
            None
        }
        Err(error) => Some(error),
    });
    assert!(matches!(refused, Some(Error::Full)), "{refused:?}");
    drop(held);
    let count = u64::try_from(taken.len()).unwrap();
    for ack in taken {
        ack.await.unwrap();
    }
    assert!(matches!(journal.append(record(1, count)).unwrap().await, Err(Error::Disk(_))), "one before it is missing");
    journal.append(record(2, count + 1)).unwrap().await.unwrap();
    journal.close().unwrap();
    assert_eq!(told(folder.path()).0[&1], (0..=count).collect::<Vec<_>>());
}

#[tokio::test]
async fn closing_commits_what_is_queued_and_takes_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, ..) = open(folder.path());
    let other = journal.clone();
    for number in 0..2000 {
        // Written though nobody waits.
        drop(journal.append(record(1, number)).unwrap());
    }
    journal.close().unwrap();
    assert!(matches!(other.append(record(1, 2000)), Err(Error::Closed)));
    assert!(!folder.path().join("ledger.db-wal").exists());
    assert_eq!(told(folder.path()).0[&1], (0..2000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_snapshot_and_what_follows_are_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, mut memory, _) = open(folder.path());
    let append = |memory: &mut Told, token: i64, number: u64| {
        memory.0.entry(token).or_default().push(number);
        drop(journal.append(record(token, number)).unwrap());
    };
    for number in 0..20_000 {
        append(&mut memory, i64::try_from(number % 5).unwrap(), number);
        if number % 4000 == 0 {
            journal.append_all(vec![], vec![], vec![]).unwrap().await.unwrap();
        }
    }
    // Token 4 is forgotten, records come between the parts, and one token is new since the snapshot began.
    memory.0.remove(&4);
    let mut number = 20_000;
    let parts = (0..4).map(|token| {
        append(&mut memory, (token + 1) % 4, number);
        append(&mut memory, 9, number + 1);
        number += 2;
        vec![memory.row(token, journal.head())]
    });
    journal.snapshot(parts).await.unwrap();
    append(&mut memory, 0, number);
    append(&mut memory, 5, number + 1);
    shrinks_to(&journal, folder.path(), 2).await;
    journal.clone().close().unwrap();
    assert_eq!(told(folder.path()), memory);
    assert_eq!(count(folder.path(), "snapshot"), 4);

    // A token that had a row is forgotten too, and what is left to remove is removed after the next start.
    let (journal, ..) = open(folder.path());
    memory.0.remove(&2);
    let everything = memory.0.keys().map(|token| memory.row(*token, journal.head())).collect();
    journal.snapshot([everything]).await.unwrap();
    journal.append(record(3, number + 2)).unwrap().await.unwrap();
    memory.0.get_mut(&3).unwrap().push(number + 2);
    journal.close().unwrap();
    assert_eq!(told(folder.path()), memory);
    let (journal, ..) = open(folder.path());
    shrinks_to(&journal, folder.path(), 1).await;
}

/// Waits until no more than so many records are kept besides those appended while parts of a snapshot were made.
async fn shrinks_to(journal: &Journal, folder: &Path, most: i64) {
    // Each commit is followed by one sweep.
    for _ in 0..5 {
        journal.append_all(vec![], vec![], vec![]).unwrap().await.unwrap();
    }
    let kept = count(folder, "journal");
    assert!(kept <= most + 8, "{kept} records are kept");
}

#[tokio::test]
async fn half_a_snapshot_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, mut memory, _) = open(folder.path());
    for number in 0..30 {
        let token = i64::try_from(number % 3).unwrap();
        memory.0.entry(token).or_default().push(number);
        journal.append(record(token, number)).unwrap().await.unwrap();
    }
    journal.put(memory.row(1, journal.head()), Vec::new()).unwrap().await.unwrap();
    journal.close().unwrap();
    assert_eq!(told(folder.path()), memory);
}

#[tokio::test]
async fn a_row_is_heeded_although_its_records_never_reached_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, ..) = open(folder.path());
    let read_only = journal.push(Work::Statement("PRAGMA query_only = ON".to_owned())).unwrap();
    assert!(matches!(read_only.await, Err(Error::Disk(_))));
    let lost = [journal.append(record(1, 0)).unwrap(), journal.append(record(1, 1)).unwrap()];
    for ack in lost {
        assert!(matches!(ack.await, Err(Error::Disk(_))));
    }
    statement(&journal, "PRAGMA query_only = OFF").await;
    let memory = Told(BTreeMap::from([(1, vec![0, 1])]));
    // As far as a snapshot came before a crash.
    journal.put(memory.row(1, journal.head()), Vec::new()).unwrap().await.unwrap();
    journal.close().unwrap();

    let (journal, ..) = open(folder.path());
    journal.append(record(1, 2)).unwrap().await.unwrap();
    journal.close().unwrap();
    assert_eq!(told(folder.path()).0[&1], [0, 1, 2]);
}

#[tokio::test]
async fn a_full_disk_that_gets_room_again_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, ..) = open(folder.path());
    statement(&journal, "PRAGMA max_page_count = 20").await;
    let mut kept = 0;
    let mut error = None;
    while error.is_none() && kept < 100 {
        let payload = Record { payload: vec![0; 4000], ..record(1, 0) };
        error = journal.append(payload).unwrap().await.err();
        kept += i64::from(error.is_none());
    }
    let error = error.unwrap();
    assert!(matches!(&error, Error::Disk(why) if why.contains("full")), "{error}");
    assert!(matches!(journal.health(), Health::Failing(_)));
    assert!(kept > 5);
    statement(&journal, "PRAGMA max_page_count = 4294967294").await;
    journal.append(record(2, 7)).unwrap().await.unwrap();
    assert!(matches!(journal.health(), Health::Good));
    journal.close().unwrap();
    assert_eq!(count(folder.path(), "journal"), kept + 1);
}

#[tokio::test]
async fn whoever_holds_the_file_too_long_costs_records_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, ..) = open(folder.path());
    statement(&journal, "PRAGMA busy_timeout = 0").await;
    let held = hold(folder.path());
    assert!(matches!(journal.append(record(1, 0)).unwrap().await, Err(Error::Disk(_))));
    drop(held);
    journal.append(record(2, 1)).unwrap().await.unwrap();
    journal.close().unwrap();
    assert_eq!(told(folder.path()).0, BTreeMap::from([(2, vec![1])]));
}

#[tokio::test]
async fn what_follows_a_record_that_is_missing_is_not_acknowledged_before_a_row_makes_it_good() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, ..) = open(folder.path());
    statement(&journal, "PRAGMA busy_timeout = 0").await;
    let held = hold(folder.path());
    let early = journal.head();
    assert!(matches!(journal.append(record(1, 0)).unwrap().await, Err(Error::Disk(_))));
    drop(held);
    let refused = async |number| matches!(journal.append(record(1, number)).unwrap().await, Err(Error::Disk(_)));
    let nothing = async || journal.append_all(vec![], vec![], vec![]).unwrap().await;
    assert!(refused(1).await, "it would be replayed without the one before");
    assert!(nothing().await.is_err(), "something is missing");
    journal.append(record(2, 2)).unwrap().await.unwrap();
    assert_eq!(journal.missing(), [1]);
    let memory = Told(BTreeMap::from([(1, vec![0, 1])]));
    journal.put(memory.row(1, early), Vec::new()).unwrap().await.unwrap();
    assert!(refused(3).await, "a row from before does not contain it");
    let memory = Told(BTreeMap::from([(1, vec![0, 1, 3])]));
    journal.put(memory.row(1, journal.head()), Vec::new()).unwrap().await.unwrap();
    assert_eq!(journal.missing(), [] as [i64; 0]);
    nothing().await.unwrap();
    journal.append(record(1, 4)).unwrap().await.unwrap();
    journal.close().unwrap();
    assert_eq!(told(folder.path()).0, BTreeMap::from([(1, vec![0, 1, 3, 4]), (2, vec![2])]));
}

/// Else a replay would take the session for one that was counted, and acknowledge its Stop without counting it.
#[tokio::test]
async fn that_a_session_ended_is_not_on_disk_before_its_time_is() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, ..) = open(folder.path());
    statement(&journal, "PRAGMA busy_timeout = 0").await;
    let held = hold(folder.path());
    assert!(matches!(journal.append(record(1, 0)).unwrap().await, Err(Error::Disk(_))));
    drop(held);
    let closed = |token, session: &str| Closed { session: session.to_owned(), token, at_ms: 7, payload: vec![1] };
    let ends =
        |token, session| journal.append_all(vec![record(token, 1)], vec![closed(token, session)], vec![]).unwrap();
    assert!(ends(1, "late").await.is_err());
    ends(2, "other").await.unwrap();
    assert_eq!(journal.closed("late").unwrap(), None);
    assert_eq!(journal.closed("other").unwrap(), Some(closed(2, "other")));
    let memory = Told(BTreeMap::from([(1, vec![0, 1])]));
    // In one commit, perhaps.
    let good = journal.put(memory.row(1, journal.head()), vec![closed(1, "late")]).unwrap();
    let after = ends(1, "after");
    good.await.unwrap();
    after.await.unwrap();
    for session in ["late", "after"] {
        assert_eq!(journal.closed(session).unwrap(), Some(closed(1, session)));
    }
}

#[tokio::test]
async fn what_is_missing_is_made_good_by_records_that_say_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, ..) = open(folder.path());
    statement(&journal, "PRAGMA busy_timeout = 0").await;
    let held = hold(folder.path());
    for token in [1, 2] {
        assert!(matches!(journal.append(record(token, 0)).unwrap().await, Err(Error::Disk(_))));
    }
    let early = journal.append_whole(1, vec![record(1, 7)]).unwrap().await;
    assert!(matches!(early, Err(Error::Disk(_))), "the disk is no better");
    drop(held);
    journal.append_whole(1, vec![record(1, 0), record(1, 1)]).unwrap().await.unwrap();
    journal.append(record(1, 2)).unwrap().await.unwrap();
    assert_eq!(journal.missing(), [2]);
    journal.append_whole(2, Vec::new()).unwrap().await.unwrap();
    assert_eq!(journal.missing(), [] as [i64; 0]);
    journal.close().unwrap();
    assert_eq!(told(folder.path()).0, BTreeMap::from([(1, vec![0, 1, 2])]));
}

#[tokio::test]
async fn nothing_written_is_no_proof_that_the_disk_does_better() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, ..) = open(folder.path());
    assert!(journal.push(Work::Statement("PRAGMA query_only = ON".to_owned())).unwrap().await.is_err());
    assert!(journal.append(record(1, 0)).unwrap().await.is_err());
    let _ = journal.append_all(vec![], vec![], vec![]).unwrap().await;
    assert!(matches!(journal.health(), Health::Failing(_)));
}

#[tokio::test]
async fn one_that_goes_on_after_all_is_not_closed() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, ..) = open(folder.path());
    let closed = |session: &str| Closed { session: session.to_owned(), token: 1, at_ms: 7, payload: vec![1] };
    journal.append_all(vec![record(1, 0)], vec![closed("a"), closed("b")], vec![]).unwrap().await.unwrap();
    journal.append_all(vec![record(1, 1)], vec![], vec!["a".to_owned()]).unwrap().await.unwrap();
    assert_eq!(journal.closed("a").unwrap(), None);
    assert_eq!(journal.closed("b").unwrap(), Some(closed("b")));
}

#[tokio::test]
async fn a_file_damaged_under_way_stops_the_writer() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, ..) = open(folder.path());
    Connection::open(folder.path().join("ledger.db")).unwrap().execute_batch("DROP TABLE journal").unwrap();
    for number in 0..2 {
        // It may have noticed by itself, and may still be about to shut the queue.
        let refused = match journal.append(record(1, number)) {
            Ok(ack) => ack.await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(refused, Error::Stop(_)), "{refused}");
    }
    assert!(matches!(journal.health(), Health::Stopped(_)));
    assert!(matches!(journal.close(), Err(Error::Stop(_))));
    let (_, _, damaged) = open(folder.path());
    assert!(damaged.is_some());
}

#[tokio::test]
async fn a_file_that_is_no_database_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["ledger.db.damaged-20261123T203252Z", "ledger.db.damaged-20261123T203252Z-2"] {
        fs::write(folder.path().join("ledger.db"), "no database ".repeat(1000)).unwrap();
        let (journal, nothing, damaged) = open(folder.path());
        assert_eq!(nothing, Told::default());
        assert_eq!(damaged, Some(folder.path().join(name)));
        assert_eq!(fs::read_to_string(damaged.unwrap()).unwrap(), "no database ".repeat(1000));
        journal.append(record(1, 1)).unwrap().await.unwrap();
        journal.close().unwrap();
        assert_eq!(told(folder.path()).0[&1], [1]);
    }
}

/// Overwrites the page in the middle of the file; the file as it is then.
fn damage(folder: &Path) -> Vec<u8> {
    let path = folder.join("ledger.db");
    let mut file = fs::read(&path).unwrap();
    let middle = file.len() / 4096 / 2 * 4096;
    file[middle..middle + 4096].fill(0xa5);
    fs::write(&path, &file).unwrap();
    file
}

#[tokio::test]
async fn of_a_damaged_file_what_can_be_read_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, ..) = open(folder.path());
    let many = (0..5000).map(|number| record(1, number)).collect();
    journal.append_all(many, vec![], vec![]).unwrap().await.unwrap();
    journal.close().unwrap();
    let file = damage(folder.path());

    let (journal, told, damaged) = open(folder.path());
    assert_eq!(fs::read(damaged.unwrap()).unwrap(), file);
    let read = &told.0[&1];
    assert!(read.len() > 1000 && read.iter().copied().eq(0..u64::try_from(read.len()).unwrap()));
    journal.close().unwrap();
}

#[tokio::test]
async fn a_file_with_damage_that_reading_does_not_meet_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, ..) = open(folder.path());
    let ended =
        (0..5000).map(|number| Closed { session: format!("{number:026}"), token: 1, at_ms: 0, payload: vec![0; 100] });
    journal.append_all(vec![record(1, 1)], ended.collect(), vec![]).unwrap().await.unwrap();
    journal.close().unwrap();
    let file = damage(folder.path());

    let (journal, told, damaged) = open(folder.path());
    assert_eq!(told.0[&1], [1]);
    assert_eq!(fs::read(damaged.unwrap()).unwrap(), file);
    journal.close().unwrap();
}

#[test]
fn a_file_of_a_later_version_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE later (x); PRAGMA user_version = 3").unwrap();
    let before = fs::read(&path).unwrap();
    let refused = Journal::open(folder.path(), now(), |_| {});
    assert!(matches!(refused, Err(OpenError::Later { found: 3, .. })));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_of_the_first_version_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let first = "
        CREATE TABLE journal (position INTEGER PRIMARY KEY, token INTEGER NOT NULL, at_ms INTEGER NOT NULL, payload BLOB NOT NULL) STRICT;
        CREATE TABLE snapshot (token INTEGER PRIMARY KEY, position INTEGER NOT NULL, payload BLOB NOT NULL) STRICT;
        CREATE TABLE closed (session TEXT PRIMARY KEY, token INTEGER NOT NULL, at_ms INTEGER NOT NULL, payload BLOB NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE covered (position INTEGER NOT NULL) STRICT;
        INSERT INTO covered VALUES (5);
        INSERT INTO snapshot VALUES (7, 5, x'41');
        PRAGMA user_version = 1;";
    Connection::open(&path).unwrap().execute_batch(first).unwrap();
    let mut rows = Vec::new();
    for _ in 0..2 {
        let opened = Journal::open(folder.path(), now(), |entry| {
            if let Entry::Row { token, payload, packed } = entry {
                rows.push((token, payload.to_vec(), packed.to_vec()));
            }
        });
        let Opened { journal, damaged } = opened.unwrap();
        assert_eq!(damaged, None);
        journal.close().unwrap();
    }
    assert_eq!(rows, vec![(7, b"A".to_vec(), Vec::new()); 2]);
    // On a disk that cannot be written it stays what it is, and is read all the same.
    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch(first).unwrap();
    let mut rows = 0;
    Journal::read(folder.path(), |_| rows += 1).unwrap();
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn a_torn_log_leaves_a_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, ..) = open(folder.path());
    for number in 0..40 {
        journal.append(record(1, number)).unwrap().await.unwrap();
    }
    let database = fs::read(folder.path().join("ledger.db")).unwrap();
    let log = fs::read(folder.path().join("ledger.db-wal")).unwrap();
    let mut lengths: Vec<usize> = (0..log.len()).step_by(4099).chain([1, 31, 32, 33, 55, 56, 57]).collect();
    lengths.sort_unstable();
    let mut longest = 0;
    for length in lengths {
        for tail in [&[][..], &[0; 5000]] {
            let torn = tempfile::tempdir().unwrap();
            fs::write(torn.path().join("ledger.db"), &database).unwrap();
            fs::write(torn.path().join("ledger.db-wal"), [&log[..length], tail].concat()).unwrap();
            let found = told(torn.path()).0.remove(&1).unwrap_or_default();
            assert!(found.iter().copied().eq(0..u64::try_from(found.len()).unwrap()), "{length}: {found:?}");
            assert!(found.len() >= longest, "{length}: fewer than of a shorter log");
            longest = found.len();
        }
    }
    assert!(longest >= 38, "{longest}");
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    let mut first = 0;
    for _ in 0..10 {
        let mut child = child("appends_until_it_is_killed", folder.path(), &first.to_string(), None);
        let mut moment = [0; 2];
        getrandom::fill(&mut moment).unwrap();
        let moment = usize::from(u16::from_le_bytes(moment) % 1500) + 1;
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        // A last line may be torn: whole ones end in a full stop.
        let number = |line: String| line.strip_prefix("on disk ")?.strip_suffix('.')?.parse::<u64>().ok();
        let mut heard: Vec<u64> = said.by_ref().filter_map(number).take(moment).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said and nobody had read yet.
        heard.extend(said.filter_map(number));
        assert!(!heard.is_empty());
        acknowledged.extend(heard);

        let found = told(folder.path()).all();
        let lost: Vec<_> = acknowledged.difference(&found).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
        first = found.last().unwrap() + 1;
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_said() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    // Permissions do not bind root.
    let child = child("opens_and_says_what_comes_of_it", folder.path(), "", root.then_some(NOBODY));
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(said.contains("refused: Folder"), "{said}");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_write_that_fails_is_not_acknowledged_and_no_end() {
    let folder = tempfile::tempdir().unwrap();
    // A limit on the size of files, in blocks of 512 or 1024 bytes: what a quota does.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 200; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    let child = start(shell, "appends_until_it_fails", folder.path(), "");
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let kept: u64 = said.lines().find_map(|line| line.strip_prefix("failed after ")).expect(&said).parse().unwrap();
    assert!(kept > 2);
    assert_eq!(told(folder.path()).0[&1].len(), usize::try_from(kept * 500).unwrap());
}

#[test]
fn appends_until_it_is_killed() {
    let Some((folder, first)) = started_as("appends_until_it_is_killed") else { return };
    let (journal, memory, _) = open(&folder);
    let memory = Arc::new(Mutex::new(memory));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut under_way = tokio::task::JoinSet::new();
        for number in first.parse::<u64>().unwrap().. {
            let token = i64::try_from(number % 7).unwrap();
            let ack = {
                let mut memory = memory.lock().unwrap();
                memory.0.entry(token).or_default().push(number);
                journal.append(record(token, number)).unwrap()
            };
            under_way.spawn(async move {
                ack.await.unwrap();
                say(&format!("on disk {number}."));
            });
            if number % 200 == 0 {
                let (journal, memory) = (journal.clone(), Arc::clone(&memory));
                under_way.spawn(async move {
                    let rows = (0..7).map(|token| vec![memory.lock().unwrap().row(token, journal.head())]);
                    journal.snapshot(rows).await.unwrap();
                });
            }
            while under_way.len() >= 32 {
                under_way.join_next().await.unwrap().unwrap();
            }
        }
    });
}

#[test]
fn appends_until_it_fails() {
    let Some((folder, _)) = started_as("appends_until_it_fails") else { return };
    let (journal, ..) = open(&folder);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let many = || journal.append_all((0..500).map(|number| record(1, number)).collect(), vec![], vec![]).unwrap();
    runtime.block_on(async {
        let mut kept = 0;
        let error = loop {
            match many().await {
                Ok(()) => kept += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::Disk(_)), "{error}");
        assert!(matches!(many().await, Err(Error::Disk(_))));
        say(&format!("failed after {kept}"));
    });
}

#[test]
fn opens_and_says_what_comes_of_it() {
    let Some((folder, _)) = started_as("opens_and_says_what_comes_of_it") else { return };
    match Journal::open(&folder, now(), |_| {}) {
        Ok(_) => say("opened"),
        Err(error) => say(&format!("refused: {error:?}")),
    }
}

/// Starts this program again as the test named, with its folder and an argument.
fn child(test: &str, folder: &Path, argument: &str, user: Option<u32>) -> Child {
    // By this name it may be started even from a folder that the other user may not enter.
    let mut program = Command::new("/proc/self/exe");
    if let Some(user) = user {
        program.uid(user).gid(user);
    }
    start(program, test, folder, argument)
}

fn start(mut program: Command, test: &str, folder: &Path, argument: &str) -> Child {
    program
        .args(["--exact", &format!("journal::tests::{test}"), "--nocapture"])
        .env(FOLDER, folder)
        .env(format!("{FOLDER}_{test}"), argument)
        .current_dir("/")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The folder and the argument, if this is the child that is to run the test named.
fn started_as(test: &str) -> Option<(PathBuf, String)> {
    let argument = std::env::var(format!("{FOLDER}_{test}")).ok()?;
    Some((std::env::var_os(FOLDER).unwrap().into(), argument))
}

fn say(line: &str) {
    // At once and whole, past the test harness, which may be in the middle of a line.
    std::io::stdout().write_all(format!("\n{line}\n").as_bytes()).unwrap();
}

#[tokio::test]
async fn what_nobody_waits_for_is_written_with_what_somebody_does() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ((journal, ..), (other, ..)) = (open(folder.path()), open(other.path()));
    let (mut number, mut joined) = (0, 0);
    for _ in 0..10 {
        let before = journal.counters().commits;
        journal.note(vec![record(1, number)], Vec::new(), Vec::new()).unwrap();
        for _ in 0..3 {
            other.append(record(1, 0)).unwrap().await.unwrap();
        }
        let waits = journal.counters().commits == before;
        journal.append(record(1, number + 1)).unwrap().await.unwrap();
        joined += u32::from(waits && journal.counters().commits == before + 1);
        number += 2;
    }
    // On a machine that stood still for long, some went alone.
    assert!(joined > 0, "none waited for company while others were written three times");
    // Nor does it wait when the journal is closed.
    journal.note(vec![record(1, number)], Vec::new(), Vec::new()).unwrap();
    journal.close().unwrap();
    assert_eq!(told(folder.path()).0[&1], (0..=number).collect::<Vec<u64>>());
}

#[tokio::test]
async fn what_nobody_waits_for_is_written_by_itself_too() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, ..) = open(folder.path());
    journal.note(vec![record(1, 0)], Vec::new(), Vec::new()).unwrap();
    while journal.counters().records == 0 {
        tokio::task::yield_now().await;
    }
    // A batch is full: it waits no longer.
    for number in 1..=u64::try_from(BATCH).unwrap() {
        journal.note(vec![record(1, number)], Vec::new(), Vec::new()).unwrap();
    }
    while journal.counters().records <= u64::try_from(BATCH).unwrap() {
        tokio::task::yield_now().await;
    }
    journal.close().unwrap();
    assert_eq!(told(folder.path()).all().len(), BATCH + 1);
}
