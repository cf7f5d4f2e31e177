use jiff::tz::TimeZone;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;
use crate::core::ident::BusinessId;

fn file(content: &[u8]) -> (TempDir, config::File) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.json");
    std::fs::write(&path, content).unwrap();
    (folder, config::File { path, time_zone: TimeZone::UTC, business_ids: Vec::new() })
}

fn ids(tokens: &[Arc<AccessToken>]) -> Vec<i64> {
    tokens.iter().map(|token| token.id.0).collect()
}

fn shown(warnings: &[Warning]) -> Vec<String> {
    warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn arrays_and_envelopes() {
    for content in [
        r#"[{"Id": 1, "AccessCode": "a"}, {"Id": 2, "AccessCode": "b", "BusinessId": 7}]"#,
        r#"{"Records": [{"Id": 1, "AccessCode": "a"}, {"Id": 2, "AccessCode": "b"}], "HasNextPage": false}"#,
        "\u{feff} [{\"Id\": 1, \"AccessCode\": \"a\"}, {\"Id\": 2, \"AccessCode\": 7}]\n",
    ] {
        let (_folder, file) = file(content.as_bytes());
        let (tokens, warnings) = load(&file).unwrap();
        assert_eq!((ids(&tokens), warnings), (vec![1, 2], vec![]), "{content}");
    }
}

#[test]
fn other_locations_are_left_out() {
    let (_folder, file) = file(
        br#"[{"Id": 1, "AccessCode": "a", "BusinessId": 7}, {"Id": 2, "AccessCode": "b", "BusinessId": 8},
            {"Id": 3, "AccessCode": "c"}, {"Id": 4, "AccessCode": "d", "BusinessId": 8, "ValidTo": "soon"}]"#,
    );
    let file = config::File { business_ids: vec![BusinessId(7)], ..file };
    let (tokens, warnings) = load(&file).unwrap();
    assert_eq!((ids(&tokens), warnings), (vec![1], vec![]));
}

#[test]
fn odd_records_are_named_without_their_code() {
    let (_folder, file) = file(
        br#"[{"Id": 1, "AccessCode": "kx7q", "ValidTo": "soon"}, 3, {"AccessCode": "kx7q"},
            {"Id": 4, "AccessCode": "kx7q", "MinutesLeft": 5}, {"Id": 4, "AccessCode": "kx7q", "MinutesLeft": 6},
            {"Id": 5, "AccessCode": {"kx7q": 1}}, {"Id": 6, "AccessCode": "kx7q", "MacAddress": "kx7q"}]"#,
    );
    let (tokens, warnings) = load(&file).unwrap();
    assert_eq!(ids(&tokens), [4, 6]);
    assert_eq!(tokens[0].minutes_left, Some(6), "the later counts");
    assert_eq!(
        shown(&warnings),
        [
            "record 1 (Id 1) is left out: ValidTo is not a date like 2026-11-23T10:00:00Z",
            "record 2 is left out: the record is not an object with each key once",
            "record 3 is left out: Id is missing",
            "record 4 (Id 4) is left out: a later record has the same Id",
            "record 6 (Id 5) is left out: AccessCode is neither text nor a number",
            "record 7 (Id 6) has something in MacAddress that is no MAC address; that is left out",
        ]
    );
    assert!(!format!("{warnings:?}").contains("kx7q"));
}

#[test]
fn a_file_that_several_read_is_read_as_by_one() {
    let mut records: Vec<_> = (1..=2 * SHARE).map(|id| format!(r#"{{"Id": {id}, "AccessCode": "c{id}"}}"#)).collect();
    // In the second share: one that doubles the first of all, and one that is broken.
    records[SHARE + 9] = r#"{"Id": 1, "AccessCode": "later"}"#.to_owned();
    records[SHARE + 19] = "3".to_owned();
    let (_folder, file) = file(format!("[{}]", records.join(",")).as_bytes());
    let (tokens, warnings) = load(&file).unwrap();
    let id = |place: usize| if place == SHARE + 9 { 1 } else { i64::try_from(place + 1).unwrap() };
    let expected: Vec<_> = (1..2 * SHARE).filter(|place| *place != SHARE + 19).map(id).collect();
    assert_eq!(ids(&tokens), expected);
    assert_eq!(tokens[SHARE + 8].code.reveal(), "later");
    assert_eq!(
        shown(&warnings),
        [
            "record 1 (Id 1) is left out: a later record has the same Id".to_owned(),
            format!("record {} is left out: the record is not an object with each key once", SHARE + 20),
        ]
    );
}

#[test]
fn files_that_cannot_be_used() {
    for (content, words) in [
        (b"".as_slice(), "not JSON, or cut off, at line 1 column 0"),
        (br#"[{"Id": 1, "AccessCode": "kx7q""#, "not JSON, or cut off, at line 1 column 31"),
        (b"{}", "not a list of records"),
        (br#"{"Records": null}"#, "not a list of records"),
        (br#""kx7q""#, "not a list of records"),
        (b"[\xff]", "not UTF-8 text"),
    ] {
        let (_folder, file) = file(content);
        let error = load(&file).unwrap_err().to_string();
        assert!(error.contains(words) && !error.contains("kx7q"), "{error}");
    }
    let (folder, file) = file(b"[]");
    let error = |path: &Path| load(&config::File { path: path.to_owned(), ..file.clone() }).unwrap_err().to_string();
    assert!(error(&folder.path().join("none")).contains("create the file, or correct source.path"));
    assert!(error(folder.path()).contains("it is no file"));
    let large = folder.path().join("large");
    File::create(&large).unwrap().set_len(LARGEST + 1).unwrap();
    assert!(error(&large).contains("larger than 64 MiB"));
}

/// Time is virtual; a look at the file comes as soon as nothing else is to be done.
#[tokio::test(start_paused = true)]
async fn changes_are_reported_and_good_copies_stay() {
    let (folder, file) = file(br#"[{"Id": 1, "AccessCode": "a", "MinutesLeft": 5}, {"Id": 2, "AccessCode": "b"}]"#);
    let path = file.path.clone();
    let (send, mut readings) = mpsc::unbounded_channel();
    let watching = tokio::spawn(watch(file, Duration::from_millis(500), Clock::system(), move |reading| {
        send.send(reading).unwrap();
    }));
    let mut next = async || readings.recv().await.unwrap();
    assert_eq!(ids(&next().await.unwrap().0), [1, 2]);

    std::fs::write(&path, br#"[{"Id": 1, "AccessCode": "a", "MinutesLeft": "x"}, {"Id": 3, "AccessCode": "c"}]"#)
        .unwrap();
    let (tokens, warnings) = next().await.unwrap();
    assert_eq!(ids(&tokens), [3, 1]);
    assert_eq!(tokens[1].minutes_left, Some(5), "as it was before");
    assert_eq!(shown(&warnings), ["record 1 (Id 1) stays as it was before: MinutesLeft is not a whole number"]);

    std::fs::write(&path, b"[{").unwrap();
    assert!(next().await.is_err());

    // Put in its place by renaming, as careful writers do; the former version outlives the bad file.
    let fresh = folder.path().join("fresh");
    std::fs::write(&fresh, br#"[{"Id": 1, "AccessCode": null}]"#).unwrap();
    std::fs::rename(&fresh, &path).unwrap();
    assert_eq!(ids(&next().await.unwrap().0), [1]);

    std::fs::remove_file(&path).unwrap();
    assert!(next().await.is_err());
    std::fs::write(&path, b"[]").unwrap();
    assert_eq!(ids(&next().await.unwrap().0), [0i64; 0]);
    watching.abort();
}

/// Same length, same tick of the time stamp, same inode: found all the same.
#[tokio::test(start_paused = true)]
async fn a_change_within_one_tick_is_found() {
    let (_folder, file) = file(br#"[{"Id": 1, "AccessCode": "a"}]"#);
    let (path, modified) = (file.path.clone(), std::fs::metadata(&file.path).unwrap().modified().unwrap());
    let clock = Clock::manual(modified.try_into().unwrap());
    let (send, mut readings) = mpsc::unbounded_channel();
    let watching = tokio::spawn(watch(file, Duration::from_millis(500), clock, move |reading| {
        send.send(reading).unwrap();
    }));
    assert_eq!(ids(&readings.recv().await.unwrap().unwrap().0), [1]);
    std::fs::write(&path, br#"[{"Id": 2, "AccessCode": "a"}]"#).unwrap();
    File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    // A look that falls between the two steps may report the change already.
    while ids(&readings.recv().await.unwrap().unwrap().0) != [2] {}
    watching.abort();
}
