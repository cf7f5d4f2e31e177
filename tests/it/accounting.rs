//! What routers report of sessions: places held, time counted, late and lost records.

use jiff::Timestamp;
use serde_json::{Value, json};
use spotgate::radius::attribute::StatusType;
use spotgate::sandbox::hotspot::{Answer, Hotspot, Record};

use crate::support::{KEY, SECRET, Spotgate, mac, record, with};

fn now() -> Timestamp {
    spotgate::clock::Clock::system().now().wall
}

async fn sessions(spotgate: &Spotgate) -> Vec<Value> {
    let (status, answer) = get(spotgate, "/v1/sessions").await;
    assert_eq!(status, 200, "{answer}");
    answer["sessions"].as_array().unwrap().clone()
}

async fn get(spotgate: &Spotgate, path: &str) -> (u16, Value) {
    let request = crate::support::client().get(format!("http://{}{path}", spotgate.http)).bearer_auth(KEY);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn minutes_left(spotgate: &Spotgate, device: u8) -> Value {
    let question = json!({"access_code": "abc-123", "mac": mac(device).to_string(), "dry_run": true});
    spotgate.authorize(question).await["minutes_left"].clone()
}

pub fn of<'a>(admitted: &'a Answer, device: u8) -> Record<'a> {
    let id = admitted.session_id.as_deref().unwrap();
    Record { class: admitted.class.as_deref(), ..Record::start("abc-123", mac(device), id, now()) }
}

#[tokio::test]
async fn a_session_from_start_to_stop() {
    let spotgate = Spotgate::over_file(&[record(1, "abc-123")]);
    let hotspot = spotgate.hotspot();
    let admitted = hotspot.login_pap("abc-123", "", mac(1)).await.unwrap();
    let started = of(&admitted, 1);
    assert_eq!(sessions(&spotgate).await[0]["state"], "admitted");
    hotspot.account(&started).await.unwrap();
    let interim = Record { status: StatusType::InterimUpdate, seconds: 300, input: 5, output: 7 << 32, ..started };
    hotspot.account(&interim).await.unwrap();
    let online = &sessions(&spotgate).await[0];
    assert_eq!(
        (&online["state"], &online["nas"], &online["code"]),
        (&json!("online"), &json!("front-desk"), &json!("abc-123"))
    );
    assert!(online["seconds_used"].as_u64().unwrap() >= 300);
    assert_eq!((&online["input_octets"], &online["output_octets"]), (&json!(5), &json!(7_u64 << 32)), "gigawords");
    let stop = Record { status: StatusType::Stop, seconds: 600, ..interim };
    for record in [&stop, &stop, &interim, &started] {
        hotspot.account(record).await.unwrap();
    }
    assert_eq!(sessions(&spotgate).await, [] as [Value; 0], "late and repeated records change nothing");
    assert_eq!(minutes_left(&spotgate, 2).await, 50, "and its time counts once");
    let id = online["session"].as_str().unwrap();
    let (status, ended) = get(&spotgate, &format!("/v1/sessions/{id}")).await;
    assert_eq!((status, &ended["state"], &ended["seconds_used"]), (200, &json!("ended"), &json!(600)));
    assert_eq!(get(&spotgate, "/v1/sessions/01ARZ3NDEKTSV4RRFFQ69G5FAV").await.0, 404);
}

#[tokio::test]
async fn a_stop_without_a_start_counts_once_and_a_late_one_the_difference() {
    let spotgate = Spotgate::over_file(&[record(1, "abc-123")]);
    let hotspot = spotgate.hotspot();
    let admitted = hotspot.login_pap("abc-123", "", mac(1)).await.unwrap();
    let stop = Record { status: StatusType::Stop, seconds: 120, ..of(&admitted, 1) };
    hotspot.account(&stop).await.unwrap();
    assert_eq!(minutes_left(&spotgate, 2).await, 58);
    hotspot.account(&Record { seconds: 300, ..stop }).await.unwrap();
    hotspot.account(&Record { seconds: 60, ..stop }).await.unwrap();
    assert_eq!(minutes_left(&spotgate, 2).await, 55);
}

#[tokio::test]
async fn the_session_is_found_without_our_class_and_even_without_its_admission() {
    let spotgate = Spotgate::over_file(&[with(record(1, "abc-123"), json!({"UserLimit": 3}))]);
    let hotspot = spotgate.hotspot();
    let admitted = hotspot.login_pap("abc-123", "", mac(1)).await.unwrap();
    let foreign = Record { class: Some(b"wav1-of-another"), ..of(&admitted, 1) };
    hotspot.account(&Record { status: StatusType::Stop, seconds: 600, ..foreign }).await.unwrap();
    assert_eq!(minutes_left(&spotgate, 9).await, 50, "by the router's name for it");
    let unknown = Record { class: None, ..Record::start("abc-123", mac(2), "80ffff01", now()) };
    hotspot.account(&Record { status: StatusType::InterimUpdate, seconds: 600, ..unknown }).await.unwrap();
    assert_eq!(minutes_left(&spotgate, 9).await, 40, "by its code");
    assert_eq!(sessions(&spotgate).await.len(), 1, "and it holds its place");
    hotspot.account(&Record { status: StatusType::Stop, seconds: 660, ..unknown }).await.unwrap();
    assert_eq!(minutes_left(&spotgate, 9).await, 39);
    let nobody = Record::start("no-such-code", mac(3), "80ffff02", now());
    hotspot.account(&nobody).await.unwrap();
    assert_eq!(spotgate.metric("spotgate_accounting_records_total{result=\"unknown_session\"}").await, 1.0);
}

#[tokio::test]
async fn a_router_that_began_anew_has_nobody_online() {
    let nas = format!("[[nas]]\nname = \"roof\"\naddress = \"127.0.0.0/24\"\nsecret = \"{SECRET}\"");
    let spotgate = Spotgate::over_file_with(&[with(record(1, "abc-123"), json!({"UserLimit": 3}))], &nas);
    let desk = spotgate.hotspot();
    let roof = |address: &str| {
        Hotspot::new(spotgate.auth, SECRET.as_bytes(), "roof")
            .accounting_at(spotgate.accounting)
            .sending_from(address.parse().unwrap())
    };
    for (router, device) in [(&desk, 1), (&roof("127.0.0.5"), 2), (&roof("127.0.0.6"), 3)] {
        let admitted = router.login_pap("abc-123", "", mac(device)).await.unwrap();
        router.account(&of(&admitted, device)).await.unwrap();
    }
    assert_eq!(sessions(&spotgate).await.len(), 3);
    let on = Record { status: StatusType::AccountingOn, ..Record::start("", mac(2), "0", now()) };
    roof("127.0.0.5").account(&on).await.unwrap();
    let left: Vec<_> = sessions(&spotgate).await.iter().map(|session| session["mac"].clone()).collect();
    assert_eq!(left, [json!(mac(1).to_string()), json!(mac(3).to_string())], "of that router alone");
}

#[tokio::test]
async fn codes_are_masked_for_who_may_only_read() {
    let keys = "[[http.api_key]]\nname = \"watcher\"\nkey = \"watching-only\"\nscopes = [\"read\"]";
    let spotgate = Spotgate::over_file_with(&[record(1, "abc-123")], keys);
    spotgate.authorize(json!({"access_code": "abc-123", "mac": mac(1).to_string()})).await;
    let request = crate::support::client().get(format!("http://{}/v1/sessions", spotgate.http));
    let answer: Value = request.bearer_auth("watching-only").send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["sessions"][0]["code"], "*****23");
    let (status, _) = spotgate.get("/v1/sessions").await;
    assert_eq!(status, 401);
}
