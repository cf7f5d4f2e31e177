//! Logins, timers, accounting, power.

use super::StatusType::{AccountingOn, InterimUpdate, Start, Stop};
use super::*;

#[tokio::test(start_paused = true)]
async fn a_session_is_accounted_from_start_to_session_timeout() {
    let (router, mut server, _still) = world(Grant { session_timeout: Some(150), interim: Some(60), ..HOUR }).await;
    let admitted = router.login(CODE, CODE, MAC).await.unwrap().admitted().unwrap();
    assert_eq!((&*admitted.session_id, admitted.address), ("80300000", Ipv4Addr::new(10, 5, 88, 41)));
    let start = server.record().await;
    let identity =
        |record: &Account| (record.name.clone(), record.session_id.clone(), record.class.clone(), record.address);
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(identity(&start), (text(CODE), text("80300000"), text("80300000"), Some(admitted.address)));
    assert_eq!((start.brief(), start.input, start.output), ((Start, "80300000", None, None), None, None));

    let online = router.session(MAC).unwrap();
    assert_eq!((online.seconds, online.session_timeout, online.interim), (0, Some(150), Some(60)));
    let (mut input, mut output) = (0, 0);
    for (status, seconds, step, cause) in
        [(InterimUpdate, 60, 60, None), (InterimUpdate, 120, 60, None), (Stop, 150, 30, Some(5))]
    {
        pass(&router, step - 1).await;
        server.no_more(&router).await;
        pass(&router, 1).await;
        let record = server.record().await;
        assert_eq!(record.brief(), (status, "80300000", Some(seconds), cause));
        assert_eq!(identity(&record), identity(&start));
        assert!(record.input > Some(input) && record.output > Some(output), "octets are cumulative");
        (input, output) = (record.input.unwrap(), record.output.unwrap());
    }
    router.gone(MAC).await;
    pass(&router, 1000).await;
    server.no_more(&router).await;
    assert_eq!(router.sessions(), []);
}

#[tokio::test(start_paused = true)]
async fn a_late_timer_neither_prolongs_a_session_nor_catches_up_on_interims() {
    let (router, mut server, _still) = world(Grant { session_timeout: Some(1000), interim: Some(60), ..HOUR }).await;
    online(&router, &mut server, CODE, MAC).await;
    pass(&router, 200).await;
    assert_eq!(server.record().await.brief(), (InterimUpdate, "80300000", Some(200), None));
    pass(&router, 39).await;
    server.no_more(&router).await;
    pass(&router, 1).await;
    assert_eq!(server.record().await.brief(), (InterimUpdate, "80300000", Some(240), None));
    pass(&router, 5000).await;
    assert_eq!(server.record().await.brief(), (Stop, "80300000", Some(1000), Some(5)));
    server.no_more(&router).await;
}

#[tokio::test(start_paused = true)]
async fn without_timers_a_session_goes_on_in_silence() {
    for nothing in [None, Some(0)] {
        let grant = Grant { session_timeout: nothing, idle_timeout: nothing, interim: nothing, port_limit: None };
        let (router, mut server, _still) = world(grant).await;
        online(&router, &mut server, CODE, MAC).await;
        router.idle(MAC);
        pass(&router, 30_000_000).await;
        server.no_more(&router).await;
        assert_eq!(router.session(MAC).unwrap().seconds, 30_000_000);
    }
}

#[tokio::test(start_paused = true)]
async fn a_guest_logs_out() {
    let (router, mut server, _still) = world(HOUR).await;
    online(&router, &mut server, CODE, MAC).await;
    online(&router, &mut server, "other", OTHER).await;
    pass(&router, 42).await;
    assert!(router.logout(MAC));
    assert_eq!(server.record().await.brief(), (Stop, "80300000", Some(42), Some(1)));
    assert!(!router.logout(MAC));
    assert!(router.end(OTHER, TerminateCause::LOST_SERVICE));
    assert_eq!(server.record().await.brief(), (Stop, "80300001", Some(42), Some(3)));
}

#[tokio::test(start_paused = true)]
async fn the_idle_timeout_runs_only_while_the_guest_is_idle() {
    let (router, mut server, _still) = world(Grant { idle_timeout: Some(60), interim: None, ..HOUR }).await;
    online(&router, &mut server, CODE, MAC).await;
    pass(&router, 100).await;
    assert!(router.idle(MAC) && !router.idle(OTHER));
    pass(&router, 59).await;
    assert!(router.busy(MAC));
    pass(&router, 100).await;
    server.no_more(&router).await;
    let before = router.session(MAC).unwrap();
    router.idle(MAC);
    pass(&router, 30).await;
    router.idle(MAC);
    let idle = router.session(MAC).unwrap();
    assert_eq!((idle.input, idle.output, idle.seconds), (before.input, before.output, 289));
    pass(&router, 30).await;
    let stop = server.record().await;
    assert_eq!(stop.brief(), (Stop, "80300000", Some(259), Some(4)), "less the idle minute");
    assert_eq!((stop.input, stop.output), (Some(before.input), Some(before.output)));
}

#[tokio::test(start_paused = true)]
async fn of_two_timers_the_first_ends_the_session() {
    let (router, mut server, _still) =
        world(Grant { session_timeout: Some(100), idle_timeout: Some(60), ..HOUR }).await;
    online(&router, &mut server, CODE, MAC).await;
    pass(&router, 50).await;
    router.idle(MAC);
    pass(&router, 200).await;
    assert_eq!(server.record().await.brief(), (Stop, "80300000", Some(100), Some(5)));
}

#[tokio::test(start_paused = true)]
async fn octets_stay_as_they_are_set() {
    let (router, mut server, _still) = world(HOUR).await;
    online(&router, &mut server, CODE, MAC).await;
    assert!(router.set_octets(MAC, 7, (3 << 32) + 5) && !router.set_octets(OTHER, 1, 1));
    pass(&router, 300).await;
    let record = server.record().await;
    assert_eq!((record.input, record.output), (Some(7), Some((3 << 32) + 5)));
}

#[tokio::test(start_paused = true)]
async fn a_login_replaces_the_devices_own_session() {
    let (router, mut server, _still) = world(HOUR).await;
    let first = online(&router, &mut server, CODE, MAC).await;
    let mut old = first.session_id;
    for _ in 0..20 {
        pass(&router, 10).await;
        let next = router.login("another", "", MAC).await.unwrap().admitted().unwrap();
        assert_eq!(server.record().await.brief(), (Stop, &*old, Some(10), Some(1)));
        assert_eq!(server.record().await.brief(), (Start, &*next.session_id, None, None));
        assert_eq!((router.sessions().len(), next.address), (1, first.address));
        old = next.session_id;
    }
}

#[tokio::test(start_paused = true)]
async fn each_way_to_log_in_sends_its_own_request() {
    let (router, mut server, _still) = world(HOUR).await;
    let mut sent = async |login: Login| {
        assert!(login.admitted().is_some());
        let got = server.logins.recv().await.unwrap();
        let packet = Packet::parse(&got.bytes).unwrap();
        let name = String::from_utf8(packet.first(attr::USER_NAME).unwrap().to_vec()).unwrap();
        (name, packet.first(attr::USER_PASSWORD).is_some(), packet.first(attr::CHAP_PASSWORD).is_some())
    };
    assert_eq!(sent(router.login(CODE, CODE, MAC).await.unwrap()).await, (CODE.to_owned(), true, false));
    assert_eq!(sent(router.login_chap(CODE, CODE, MAC).await.unwrap()).await, (CODE.to_owned(), false, true));
    assert_eq!(sent(router.login_mac(MAC).await.unwrap()).await, (MAC.to_string(), false, true));
}

#[tokio::test(start_paused = true)]
async fn a_reject_says_why() {
    for (message, words) in
        [(&b"This code has expired."[..], "This code has expired."), (b"", "invalid username or password")]
    {
        let mut server = Server::start(Err(message));
        let router = Router::start(options(&server)).await.unwrap();
        let _still = still();
        let login = router.login(CODE, "", MAC).await.unwrap();
        assert!(matches!(login, Login::Rejected(said) if said == words));
        assert_eq!(router.sessions(), []);
        server.no_more(&router).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_router_itself_refuses_more_devices_than_the_port_limit() {
    let third = Mac::new([2, 0, 0, 0, 0, 1]);
    let (router, mut server, _still) = world(HOUR).await;
    online(&router, &mut server, CODE, MAC).await;
    online(&router, &mut server, CODE, OTHER).await;
    let refused = router.login(CODE, "", third).await.unwrap();
    assert!(matches!(refused, Login::Refused(Refusal::UserSessionLimit)));
    online(&router, &mut server, "another", third).await;
    router.logout(OTHER);
    assert_eq!(server.record().await.status, Stop);
    let again = router.login(CODE, "", MAC).await.unwrap();
    assert!(again.admitted().is_some(), "its own session does not count");

    let (router, mut server, _still) = world(Grant { port_limit: None, ..HOUR }).await;
    online(&router, &mut server, CODE, MAC).await;
    let refused = router.login(CODE, "", OTHER).await.unwrap();
    assert!(matches!(refused, Login::Refused(Refusal::UserSessionLimit)));
}

#[tokio::test(start_paused = true)]
async fn a_typed_address_must_be_the_devices_own() {
    let (router, mut server, _still) = world(HOUR).await;
    let refused = router.login(&OTHER.to_string().to_lowercase(), "", MAC).await.unwrap();
    assert!(matches!(refused, Login::Refused(Refusal::WrongMacUsername)));
    assert!(server.logins.try_recv().is_err());
    online(&router, &mut server, "9A4C107E222A", MAC).await;
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_record_is_sent_three_times_and_delays_nobody() {
    let (router, mut server, _still) = world(HOUR).await;
    server.accounts.store(false, Ordering::SeqCst);
    router.login(CODE, "", MAC).await.unwrap().admitted().unwrap();
    let first = server.records.recv().await.unwrap();
    server.accounts.store(true, Ordering::SeqCst);
    router.login("another", "", OTHER).await.unwrap().admitted().unwrap();
    assert_eq!(server.record().await.session_id.as_deref(), Some("80300001"));
    until(|| router.reported().len() == 1).await;
    server.accounts.store(false, Ordering::SeqCst);
    for _ in 0..2 {
        advance(Duration::from_secs(1)).await;
        assert_eq!(server.records.recv().await.unwrap(), first, "same bytes from the same port");
    }
    advance(Duration::from_secs(1)).await;
    router.settled().await;
    pass(&router, 100).await;
    server.no_more(&router).await;
    let fates: Vec<_> = router.reported().into_iter().map(|record| (record.session_id, record.fate)).collect();
    assert_eq!(fates, [("80300001".into(), Fate::Acknowledged { tries: 1 }), ("80300000".into(), Fate::Unanswered)]);
    assert_eq!(router.sessions().len(), 2, "accounting decides nothing");
}

#[tokio::test(start_paused = true)]
async fn when_the_power_goes_all_vanishes_without_a_word() {
    let (router, mut server, _still) = world(HOUR).await;
    let before = online(&router, &mut server, CODE, MAC).await;
    router.settled().await;
    server.accounts.store(false, Ordering::SeqCst);
    router.logout(MAC);
    let stop = server.record().await;
    assert_eq!(stop.status, Stop);
    router.lose_power();
    router.settled().await;
    assert_eq!(router.reported().last().map(|record| record.fate), Some(Fate::PowerLost));
    pass(&router, 100).await;
    assert!(matches!(router.login(CODE, "", MAC).await, Err(HotspotError::Off)));
    server.no_more(&router).await;

    server.accounts.store(true, Ordering::SeqCst);
    router.boot();
    let on = server.record().await;
    assert_eq!((on.brief(), on.name.as_deref()), ((AccountingOn, "", None, None), None));
    let after = online(&router, &mut server, CODE, MAC).await;
    assert_eq!((&*before.session_id, &*after.session_id), ("80300000", "80400000"));

    router.change(|quirks| quirks.silent_boot = true);
    for _ in 0..15 {
        router.boot();
    }
    assert_eq!(router.sessions(), []);
    let recurred = online(&router, &mut server, CODE, MAC).await;
    assert_eq!(recurred.session_id, before.session_id);
    server.no_more(&router).await;
}

#[tokio::test(start_paused = true)]
async fn a_login_does_not_outlive_the_power() {
    let silent = StdSocket::bind("127.0.0.1:0").unwrap();
    let router = Router::start(Options::new(silent.local_addr().unwrap(), SECRET)).await.unwrap();
    let _still = still();
    let login = async { router.login(CODE, "", MAC).await };
    let cut = async {
        router.lose_power();
        router.boot();
    };
    let (login, ()) = tokio::join!(login, cut);
    assert!(matches!(login, Err(HotspotError::Off)));
}

#[tokio::test(start_paused = true)]
async fn records_of_a_kind_get_lost() {
    let kinds = [
        (Start, Lose { starts: true, ..Lose::default() }),
        (InterimUpdate, Lose { interims: true, ..Lose::default() }),
        (Stop, Lose { stops: true, ..Lose::default() }),
    ];
    for (kind, lose) in kinds {
        let (router, mut server, _still) = world(HOUR).await;
        router.change(|quirks| quirks.lose = lose);
        let _ = router.login(CODE, "", MAC).await.unwrap();
        pass(&router, 300).await;
        until(|| router.reported().len() == 2).await;
        router.logout(MAC);
        router.settled().await;
        let mut came = Vec::new();
        while let Ok(got) = server.records.try_recv() {
            came.push(Account::read(&got).status);
        }
        let all = [Start, InterimUpdate, Stop];
        assert_eq!(came, all.into_iter().filter(|status| *status != kind).collect::<Vec<_>>());
        let lost = router.reported().into_iter().filter(|record| record.fate == Fate::Lost);
        assert_eq!(lost.map(|record| record.status).collect::<Vec<_>>(), [kind]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_timeout_is_ignored_on_demand() {
    let (router, mut server, _still) = world(Grant { session_timeout: Some(100), interim: None, ..HOUR }).await;
    router.change(|quirks| quirks.ignore_session_timeout = true);
    online(&router, &mut server, CODE, MAC).await;
    pass(&router, 5000).await;
    server.no_more(&router).await;
    router.change(|quirks| quirks.ignore_session_timeout = false);
    pass(&router, 5000).await;
    router.logout(MAC);
    assert_eq!(server.record().await.brief(), (Stop, "80300000", Some(10_000), Some(1)));
}

#[tokio::test(start_paused = true)]
async fn all_ends_with_the_last_clone() {
    let (router, mut server, _still) = world(Grant { session_timeout: Some(100), ..HOUR }).await;
    let address = router.incoming();
    let clone = router.clone();
    drop(router);
    online(&clone, &mut server, CODE, MAC).await;
    assert!(StdSocket::bind(address).is_err());
    clone.settled().await;
    drop(clone);
    until(|| StdSocket::bind(address).is_ok()).await;
    advance(Duration::from_secs(200)).await;
    turns().await;
    assert!(server.records.try_recv().is_err());
}

#[test]
fn addresses_are_unique_and_those_of_absent_devices_are_given_anew() {
    let mut guests = Guests::default();
    let device = |number: u32| {
        let [a, b, c, d] = number.to_be_bytes();
        Mac::new([2, 0, a, b, c, d])
    };
    let one = guests.lease(MAC).unwrap();
    assert_eq!(guests.lease(MAC), Some(one));
    let taken: std::collections::HashSet<_> = (1..1000).map(|number| guests.lease(device(number)).unwrap()).collect();
    assert_eq!(taken.len(), 999);
    assert!(!taken.contains(&one) && guests.holds(MAC, one));
    assert!(guests.lease(device(1000)).is_some());
    assert!(!guests.holds(MAC, one), "it was not online");
}

#[test]
fn logs_keep_the_last_entries() {
    let mut log = VecDeque::new();
    for number in 0..=Router::KEPT {
        life::keep(&mut log, number);
    }
    assert_eq!((log.len(), log.front(), log.back()), (1000, Some(&1), Some(&1000)));
}
