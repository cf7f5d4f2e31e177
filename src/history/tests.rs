use super::*;
use tempfile::TempDir;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn decided(at: Timestamp, code: &str, device: u8, reason: Option<Reason>) -> Decided {
    Decided {
        at,
        via: Via::Radius,
        nas: NasName::new("front-desk"),
        mac: Some(Mac::new([2, 0, 0, 0, 0, device])),
        code: Some(Code::parse(code).unwrap()),
        token: Some(TokenId(7)),
        reason,
        session_timeout: reason.is_none().then_some(3600),
        session: reason.is_none().then(|| SessionId::new(at, [device; 10])),
    }
}

fn noon() -> Timestamp {
    at("2026-11-23T12:00:00Z")
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_second(noon().as_second() + seconds).unwrap()
}

fn opened() -> (TempDir, History) {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path(), noon());
    assert_eq!(history.trouble(), None);
    (folder, history)
}

#[tokio::test]
async fn what_was_decided_is_found_by_code_device_and_reason_newest_first_also_after_a_restart() {
    let (folder, history) = opened();
    let first = decided(noon(), "Alpha-1", 1, None);
    let second = decided(later(1), "0042", 2, Some(Reason::Expired));
    let third = decided(later(2), "alpha-1", 3, Some(Reason::UserLimitReached));
    for decided in [&first, &second, &third] {
        history.note(decided.clone());
    }
    let all = history.decisions(Filter::default(), 10).await.unwrap();
    assert_eq!(all, [third.clone(), second.clone(), first.clone()]);
    history.close();

    let history = History::open(folder.path(), later(3));
    let found = async |filter| history.decisions(filter, 10).await.unwrap();
    assert_eq!(found(Filter::default()).await.len(), 3);
    let code = Some(Code::parse("ALPHA-1").unwrap());
    assert_eq!(found(Filter { code: code.clone(), ..Filter::default() }).await, [third.clone(), first.clone()]);
    assert_eq!(found(Filter { mac: second.mac, ..Filter::default() }).await, std::slice::from_ref(&second));
    assert_eq!(found(Filter { reason: Some(None), ..Filter::default() }).await, std::slice::from_ref(&first));
    assert_eq!(found(Filter { reason: Some(Some(Reason::Expired)), ..Filter::default() }).await, [second]);
    assert_eq!(found(Filter { code, reason: Some(None), ..Filter::default() }).await, [first]);
    assert!(found(Filter { nas: Some(NasName::new("annex")), ..Filter::default() }).await.is_empty());
    assert_eq!(history.decisions(Filter::default(), 1).await.unwrap(), [third]);
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(folder.path().join("history.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "codes stand in it");
}

#[tokio::test]
async fn what_is_older_than_it_is_kept_is_forgotten_codes_and_all() {
    let (folder, history) = opened();
    history.note(decided(noon(), "0041", 1, None));
    history.note(decided(later(7200), "0042", 2, None));
    history.sample(noon(), 3, Duration::from_secs(60));
    let action = |at, subject: &str| Action {
        at,
        who: "operator".to_owned(),
        from: None,
        action: "disconnect".to_owned(),
        subject: subject.to_owned(),
    };
    history.act(action(noon(), "a")).await.unwrap();
    history.act(action(later(7200), "b")).await.unwrap();
    assert_eq!(history.columns(noon()).await.unwrap().len(), 2);
    history.forget(later(7200), Duration::from_secs(3600));
    let left = history.decisions(Filter::default(), 10).await.unwrap();
    assert_eq!(left.iter().map(|decided| decided.at).collect::<Vec<_>>(), [later(7200)]);
    let actions = history.actions(10, true).await.unwrap();
    assert_eq!(actions.iter().map(|action| action.subject.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(history.columns(noon()).await.unwrap().len(), 1);
    history.close();
    drop(folder);
}

#[tokio::test]
async fn what_is_decided_while_somebody_holds_the_file_is_written_afterwards() {
    let (folder, history) = opened();
    let other = rusqlite::Connection::open(folder.path().join("history.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    history.note(decided(noon(), "0042", 1, None));
    // It has waited as long as it does, and answers who asks meanwhile.
    assert_eq!(history.decisions(Filter::default(), 10).await.unwrap(), []);
    let action = Action {
        at: noon(),
        who: "Ana".to_owned(),
        from: None,
        action: "disconnect".to_owned(),
        subject: "s".to_owned(),
    };
    assert!(history.act(action).await.is_err());
    assert!(history.trouble().is_some());
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(history.decisions(Filter::default(), 10).await.unwrap().len(), 1);
    assert_eq!((history.trouble(), history.unkept()), (None, 0));
    history.close();
}

#[tokio::test]
async fn actions_are_shown_with_those_who_signed_in_or_without() {
    let history = History::in_memory();
    for (action, subject) in [("disconnect", "a"), ("sign-in", ""), ("refresh", "1")] {
        let (action, subject) = (action.to_owned(), subject.to_owned());
        history.act(Action { at: noon(), who: "Ana".to_owned(), from: None, action, subject }).await.unwrap();
    }
    let names = async |sign_ins| {
        let actions = history.actions(10, sign_ins).await.unwrap();
        actions.into_iter().map(|action| action.action).collect::<Vec<_>>()
    };
    assert_eq!(names(true).await, ["refresh", "sign-in", "disconnect"]);
    assert_eq!(names(false).await, ["refresh", "disconnect"]);
    history.close();
}

#[tokio::test]
async fn numbers_for_the_pictures_add_up() {
    let history = History::in_memory();
    for device in 0..3 {
        history.note(decided(later(60), "0042", device, None));
    }
    history.note(decided(later(61), "0042", 9, Some(Reason::Expired)));
    history.note(decided(later(900), "0042", 9, Some(Reason::Expired)));
    history.sample(later(60), 2, Duration::from_secs(60));
    history.sample(later(120), 5, Duration::from_secs(60));
    history.sample(later(180), 1, Duration::from_secs(60));
    let columns = history.columns(noon()).await.unwrap();
    let denied = vec![("expired".to_owned(), 1)];
    let begins = noon().as_second();
    assert_eq!(
        columns,
        [
            Column { begins, sessions: 5, used_seconds: 480, allowed: 3, denied: denied.clone() },
            Column { begins: begins + 900, denied, ..Column::default() },
        ]
    );
}

#[tokio::test]
async fn no_more_are_kept_in_memory_than_fit_and_the_oldest_go() {
    let history = History::in_memory();
    for number in 0..12_000 {
        history.note(decided(later(number), "0042", 1, None));
    }
    let left = history.decisions(Filter::default(), 20_000).await.unwrap();
    assert_eq!(left.len(), 10_000);
    assert_eq!(left.first().unwrap().at, later(11_999));
    assert_eq!(history.unkept(), 0);
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_a_folder_that_cannot_be_used_is_said() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("history.db"), [b'x'; 8192]).unwrap();
    let history = History::open(folder.path(), noon());
    assert_eq!(history.trouble(), None);
    history.note(decided(noon(), "0042", 1, None));
    assert_eq!(history.decisions(Filter::default(), 10).await.unwrap().len(), 1);
    let aside = format!("history.db.damaged-{}", noon().as_second());
    assert!(folder.path().join(aside).exists());
    history.close();

    let nowhere = History::open(&folder.path().join("absent"), noon());
    assert!(nowhere.trouble().unwrap().contains("until the next restart"));
    nowhere.note(decided(noon(), "0042", 1, None));
    assert_eq!(nowhere.decisions(Filter::default(), 10).await.unwrap().len(), 1);
    assert!(nowhere.trouble().is_some(), "it still is so");
}

#[tokio::test]
async fn nobody_waits_where_none_is_kept() {
    let history = History::absent();
    history.note(decided(noon(), "0042", 1, None));
    assert!(matches!(history.decisions(Filter::default(), 10).await, Err(Error::Absent)));
    history.close();
}

#[tokio::test]
async fn a_file_that_turns_out_to_be_damaged_is_begun_anew() {
    let (folder, history) = opened();
    for number in 0..2000 {
        history.note(decided(later(number), "0042", 1, None));
    }
    assert_eq!(history.decisions(Filter::default(), 5000).await.unwrap().len(), 2000);
    history.close();
    let path = folder.path().join("history.db");
    let mut octets = std::fs::read(&path).unwrap();
    let pages = octets.len() / 4096;
    for page in octets.chunks_mut(4096).skip(3).take(pages - 3) {
        page.fill(0xA5);
    }
    std::fs::write(&path, octets).unwrap();
    let history = History::open(folder.path(), later(3000));
    history.note(decided(later(3001), "0043", 1, None));
    assert_eq!(history.decisions(Filter::default(), 5000).await.unwrap().len(), 1);
    assert_eq!((history.trouble(), history.unkept()), (None, 0));
    assert!(folder.path().join(format!("history.db.damaged-{}", later(3001).as_second())).exists());
    history.close();
}

#[tokio::test]
async fn a_file_of_a_later_version_stays_where_it_is() {
    let (folder, history) = opened();
    history.close();
    let path = folder.path().join("history.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 9").unwrap();
    let history = History::open(folder.path(), noon());
    assert!(history.trouble().unwrap().contains("later version"));
    assert!(path.exists());
}
