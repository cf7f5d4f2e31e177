//! What could not be established about Nexudus, and the test that plays it (facts/nexudus.md §8). A row that no test here
//! plays has one elsewhere:
//!
//! | what is open | what plays it |
//! | --- | --- |
//! | dates in UTC or the location's time | [`dates_are_read_in_the_zone_of_the_house`]; `date::tests::dates_as_they_are_written`; `wire::tests::dates_and_no_dates` |
//! | `client_id` as header or form field | [`a_client_id_is_understood_wherever_it_is_read`] |
//! | a `PUT` clears what it leaves out | `sandbox::nexudus::tests::writes_replace_the_record` plays it; `write_back::tests::whole_minutes_are_written_and_the_rest_is_kept` and `edit::tests::what_is_not_changed_stays_to_the_letter` leave nothing out |
//! | `MinutesLeft` not writable | `write_back::tests::what_is_not_kept_is_switched_off_and_said` |
//! | `LastAccess` not writable | `write_back::tests::where_last_access_is_not_kept_minutes_are_written_all_the_same_and_once`; `core::settle::tests::nor_where_last_access_is_not_kept` |
//! | zero, negative and missing minutes | `core::token::tests::limits_and_pools_of_odd_records`; `core::decide::tests::zero_minutes_as_the_house_reads_them`; `core::settle::tests::a_token_without_limit_is_not_written_and_none_is_made_without_limit` |
//! | `UserLimit` null or 0 | `core::token::tests::limits_and_pools_of_odd_records` |
//! | what `MacAddress` means, and its format | `wire::tests::devices_in_every_spelling`; `core::decide::tests::a_bound_token_serves_its_device_where_that_is_honoured`; foreign values: `write_back::tests::the_first_device_is_written_and_nobody_elses_is_overwritten` |
//! | when a visitor's window starts | `core::decide::tests::the_window_denies_in_its_order`, `the_clock_runs_from_the_first_login_where_elapsed_time_counts` |
//! | filters match parts, or are ignored | `tests::a_filter_that_is_ignored_lets_no_wrong_record_in`, `a_search_that_does_not_end_is_no_answer`; `mirror::tests::only_our_locations_are_mirrored_and_who_moves_away_is_gone`; `core::decide::tests::a_filter_that_matched_too_much_lets_nothing_in` |
//! | codes unique in a location or everywhere | [`a_code_that_two_locations_have_is_each_ones_own`]; `core::decide::tests::locations_come_before_twins` |
//! | lists leave keys out | `tests::keys_left_out_of_a_list_are_read_singly_once`; `wire::tests::absent_is_not_null`; `mirror::tests::keys_that_a_list_leaves_out_are_read_singly_and_what_is_too_much_is_left_to_the_guest` |
//! | minutes are counted without `UpdatedOn` | `mirror::tests::what_the_server_counts_by_itself_is_seen_with_the_next_listing` |
//! | deletions show nowhere | `mirror::tests::what_is_deleted_is_gone_within_an_interval`, `many_that_are_missing_are_gone_once_two_listings_lack_them` |
//! | throttled by 409 or 429, and how long | [`a_pause_that_is_absurd_is_kept_to_within_reason`]; `tests::a_pause_that_was_asked_for_is_kept`; `answer::tests::waits_that_were_asked_for`; our own ceiling: `tests::the_ceiling_holds_and_codes_go_first` |
//! | 401 for an expired sign-in and a missing role | `tests::one_401_is_a_new_sign_in_and_a_second_attempt`, `a_missing_role_is_named_and_makes_no_storm`, `every_alarm_signs_in_once_and_then_every_five_minutes` |
//! | two factors, a password that must be reset | `tests::sign_ins_that_need_a_person`, `logs_are_silent_about_secrets` |
//! | the body of 401 and 403 | [`whatever_a_refusal_says_it_is_one`] |
//! | what a webhook's signature is made of | `hook::tests::either_digest_in_either_case`; `http::webhook::tests` |
//! | sizes and spellings of numbers | `wire::tests::whole_numbers_in_every_spelling`, `codes_are_text_even_where_they_are_numbers`; `tests::odd_spellings_arrive_as_meant` |
//! | fractions, a missing zone, year 0001 | `date::tests::dates_as_they_are_written`, `no_bound` |
//! | redirects | `tests::a_redirect_is_not_followed`, `something_else_at_the_address_is_not_told_the_password_with_every_code`; [`a_sign_in_is_not_redirected_either`] |

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::sandbox::nexudus::ClientIdIn;

#[tokio::test]
async fn dates_are_read_in_the_zone_of_the_house() {
    let (sandbox, ..) = demo().await;
    for (zone, text, instant) in [
        ("UTC", "2026-12-01T10:00:00", "2026-12-01T10:00:00Z"),
        ("Europe/Madrid", "2026-12-01T10:00:00", "2026-12-01T09:00:00Z"),
        ("Europe/Madrid", "2026-07-01T10:00:00.000", "2026-07-01T08:00:00Z"),
        // What names its offset is not moved.
        ("Europe/Madrid", "2026-12-01T10:00:00Z", "2026-12-01T10:00:00Z"),
        ("Europe/Madrid", "2026-12-01T10:00:00-05:00", "2026-12-01T15:00:00Z"),
    ] {
        sandbox.put_token(json!({"Id": 5, "AccessCode": "dated", "MinutesIncluded": 1, "ValidTo": text}));
        let time_zone = TimeZone::get(zone).unwrap();
        let config = config::Nexudus { time_zone, ..config(sandbox.base_url()) };
        let (nexudus, _) = client(&config, Clock::system(), None);
        let token = nexudus.look_up(&code("dated")).await.unwrap().remove(0).token;
        assert_eq!(token.valid_to, Some(instant.parse().unwrap()), "{text} in {zone}");
    }
}

#[tokio::test]
async fn a_client_id_is_understood_wherever_it_is_read() {
    for client_id_in in [ClientIdIn::Either, ClientIdIn::Header, ClientIdIn::Form] {
        let (sandbox, nexudus, _) = demo().await;
        sandbox.change(|options| options.client_id_in = client_id_in);
        found(&nexudus, code("DEMO-HOUR")).await;
        // Another daemon of the same user signs in: only by its own client id it leaves this one's refresh token alone.
        let (other, _) = client(&config(sandbox.base_url()), Clock::system(), None);
        found(&other, code("DEMO-HOUR")).await;
        sandbox.expire_bearers();
        // From here on the password is wrong: the refresh token must do.
        sandbox.change_users(|users| "changed".clone_into(&mut users[0].password));
        assert_eq!(found(&nexudus, code("DEMO-HOUR")).await, [1001], "{client_id_in:?}");
        assert_eq!(sandbox.count("sign_in"), 3, "{client_id_in:?}");
    }
}

#[tokio::test]
async fn a_code_that_two_locations_have_is_each_ones_own() {
    let (sandbox, ..) = demo().await;
    // Its own filter is no help.
    fail(&sandbox, "ignore-filter");
    for business in [1, 2] {
        let id = 50 + business;
        sandbox.put_token(json!({"Id": id, "AccessCode": "00042", "MinutesIncluded": 1, "BusinessId": business}));
    }
    for (ours, ids) in [(vec![1], vec![51]), (vec![2], vec![52]), (vec![1, 2], vec![51, 52]), (vec![], vec![51, 52])] {
        let business_ids = ours.iter().copied().map(BusinessId).collect();
        let config = config::Nexudus { business_ids, ..config(sandbox.base_url()) };
        let (nexudus, _) = client(&config, Clock::system(), None);
        assert_eq!(found(&nexudus, code("00042")).await, ids, "at {ours:?}");
    }
}

#[tokio::test]
async fn a_pause_that_is_absurd_is_kept_to_within_reason() {
    for mode in ["409:1", "429:1"] {
        for retry_after in ["86400", "99999999999999999999999", "Fri, 31 Dec 2100 23:59:59 GMT"] {
            let clock = Clock::manual(WALL.parse().unwrap());
            let options = Options { retry_after: retry_after.to_owned(), ..Options::default() };
            let sandbox = Sandbox::start_local(options, clock.clone()).await.unwrap();
            let (nexudus, _) = client(&config(sandbox.base_url()), clock.clone(), None);
            fail(&sandbox, mode);
            let five_minutes = Duration::from_secs(300);
            assert_eq!(retry(&nexudus, code("x")).await.1, Some(five_minutes), "{mode} {retry_after}");
            clock.advance(five_minutes);
            assert_eq!(found(&nexudus, code("x")).await, [0i64; 0], "{mode} {retry_after}");
        }
        // What is no time at all asks for nothing, nor for a storm.
        for retry_after in ["soon", "-5", ""] {
            let (sandbox, nexudus, _) = demo().await;
            sandbox.change(|options| retry_after.clone_into(&mut options.retry_after));
            fail(&sandbox, mode);
            assert_eq!(found(&nexudus, code("DEMO-HOUR")).await, [1001], "{mode} {retry_after}");
        }
    }
}

#[tokio::test]
async fn whatever_a_refusal_says_it_is_one() {
    for body in [
        "",
        r#"{"Message": "Authorization has been denied for this request."}"#,
        "<!DOCTYPE html><title>Sign in</title>",
        r#"{"Records": [], "HasNextPage": false}"#,
        r#"{"Status": 200, "WasSuccessful": true, "#,
    ] {
        let (sandbox, nexudus, watched) = demo().await;
        sandbox.change(|options| body.clone_into(&mut options.refusal));
        fail(&sandbox, "401:1");
        assert_eq!(found(&nexudus, code("DEMO-HOUR")).await, [1001], "{body}");
        assert_eq!((sandbox.count("sign_in"), sandbox.count("list")), (2, 2), "{body}");
        for mode in ["role", "403"] {
            fail(&sandbox, mode);
            assert!(refused(&nexudus, code("DEMO-HOUR")).await.contains("AccessToken-List"), "{mode} {body}");
            assert_eq!((watched.alarms(), watched.is_up()), (vec!["role_missing"], Some(false)), "{mode} {body}");
        }
    }
}

#[tokio::test]
async fn a_sign_in_is_not_redirected_either() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", elsewhere.local_addr().unwrap());
    let here = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (nexudus, _) = client(&config(format!("http://{}", here.local_addr().unwrap())), Clock::system(), None);
    let location = format!("{origin}/api/token");
    let answering = tokio::spawn(async move {
        let (mut stream, _) = here.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        let head = format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
    });
    let error = refused(&nexudus, code("DEMO-HOUR")).await;
    assert!(error.contains(&format!("base_url = \"{origin}\"")), "{error}");
    answering.await.unwrap();
    let knocked = tokio::time::timeout(Duration::ZERO, elsewhere.accept()).await;
    assert!(knocked.is_err(), "the password stays here");
}
