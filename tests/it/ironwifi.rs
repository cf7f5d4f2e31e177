//! IronWifi's two questions, in the form of its documentation (IronWifi/docs: user_Guide/captive_portals/authentication_providers.md,
//! user_Guide/Connectors/rest_api.md), and what is not as it should be. IronWifi itself was not there.

use serde_json::{Value, json};
use spotgate::sandbox::ironwifi::Sandbox;

use crate::support::{FILE_SOURCE, KEY, Spotgate, client, configuration, configured, record, with};

const ASKER: &str = "ironwifi-for-tests";
const KEYS: &str = "rate_limit = \"10M/5M\"\n[[nas]]\nname = \"lobby\"\naddress = \"192.0.2.1\"\nsecret = \"correct horse battery\"\n\
                    [[http.api_key]]\nname = \"ironwifi\"\nkey = \"ironwifi-for-tests\"\nscopes = [\"ironwifi\"]\nnas = \"front-desk\"\n\
                    [[http.api_key]]\nname = \"astray\"\nkey = \"names-no-nas\"\nscopes = [\"ironwifi\"]\n";

fn site(more: &str) -> Spotgate {
    let one = with(record(2, "one-device"), json!({"UserLimit": 1}));
    let past = with(record(3, "old-77"), json!({"ValidTo": "2026-01-01T00:00:00Z"}));
    Spotgate::over_file_with(&[record(1, "kx7q-91mp"), one, past, record(4, "0042")], &format!("{KEYS}{more}"))
}

async fn ask(spotgate: &Spotgate, question: Value) -> (u16, Value) {
    spotgate.post("/v1/ironwifi/authenticate", Some(ASKER), question.to_string()).await
}

fn attribute<'a>(answer: &'a Value, name: &str) -> &'a str {
    let attributes = answer["attributes"].as_array().unwrap();
    attributes.iter().find(|attribute| attribute["name"] == name).unwrap()["value"].as_str().unwrap()
}

#[tokio::test]
async fn the_form_of_a_splash_page_is_answered_as_documented() {
    let spotgate = site("");
    let form = json!({
        "username": "", "password": "", "voucher": "kx7q-91mp", "email": "guest@example.org", "tos": "1",
        "mac": "18:22:33:44:55:66", "url": "https://www.ironwifi.com", "ap_mac": "not-a-mac", "n": 7, "none": null
    });
    let (status, answer) = ask(&spotgate, form.clone()).await;
    assert_eq!(status, 200, "{answer}");
    let seconds: i64 = attribute(&answer, "Session-Timeout").parse().unwrap();
    assert!((3590..=3600).contains(&seconds), "{answer}");
    let until = answer["valid_until"].as_str().unwrap();
    assert_eq!(until.len(), "2022-06-17T22:26:13".len());
    let until: jiff::Timestamp = format!("{until}Z").parse().unwrap();
    let clock = spotgate::clock::Clock::system();
    let left = until.as_second() - clock.now().wall.as_second();
    assert!((seconds - 5..=seconds).contains(&left), "{left} of {seconds}");
    assert_eq!(attribute(&answer, "Acct-Interim-Interval"), "300");
    assert_eq!(attribute(&answer, "WISPr-Bandwidth-Max-Up"), "10000000");
    assert_eq!(attribute(&answer, "WISPr-Bandwidth-Max-Down"), "5000000");
    assert_eq!(answer["attributes"][0].get("op"), None);

    // The same device again: the same session, and its time counts, with no accounting.
    ask(&spotgate, form).await;
    let (_, sessions) = spotgate.read("/v1/sessions").await;
    let sessions = sessions["sessions"].as_array().unwrap();
    assert_eq!((sessions.len(), &sessions[0]["mac"]), (1, &json!("18:22:33:44:55:66")));
    assert_eq!((&sessions[0]["state"], &sessions[0]["nas"]), (&json!("online"), &json!("front-desk")));
    let (_, decisions) = spotgate.read("/v1/decisions").await;
    assert_eq!(decisions["decisions"][0]["via"], "ironwifi");
    spotgate.stop();
}

#[tokio::test]
async fn a_device_that_takes_another_code_runs_down_one_at_a_time() {
    let spotgate = site("");
    for code in ["kx7q-91mp", "0042"] {
        let form = json!({"voucher": code, "client_mac": "18:22:33:44:55:66"});
        assert_eq!(ask(&spotgate, form).await.0, 200);
    }
    let (_, sessions) = spotgate.read("/v1/sessions").await;
    let sessions = sessions["sessions"].as_array().unwrap();
    assert_eq!((sessions.len(), &sessions[0]["token_id"]), (1, &json!(4)), "{sessions:?}");
    spotgate.stop();
}

#[tokio::test]
async fn the_connector_is_answered_as_documented() {
    let spotgate = site("");
    for login in [
        json!({"login": "kx7q-91mp", "password": "kx7q-91mp", "auth_port": "11111"}),
        json!({"login": "guest@example.org", "password": "kx7q-91mp", "auth_port": "11111"}),
        json!({"login": "kx7q-91mp", "auth_port": "11111"}),
    ] {
        let (status, answer) = ask(&spotgate, login).await;
        assert_eq!(status, 200, "{answer}");
        let until = answer["valid_until"].as_str().unwrap();
        assert!(until.ends_with(" +0000") && until.len() == "2017/01/10 01:59:59 +0000".len(), "{until}");
        assert_eq!(answer["attributes"][0]["op"], ":=");
    }
    // It names no device: whoever asks there is one.
    let (_, sessions) = spotgate.read("/v1/sessions").await;
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1, "{sessions}");
    let mschap = json!({"login": "kx7q-91mp", "auth_port": "11111", "mschap_challenge": "99999999", "mschap_response": "888888888888888888"});
    for mschap in [mschap, json!({"login": "kx7q-91mp", "mschap_response": ["888888888888888888"]})] {
        let (status, answer) = ask(&spotgate, mschap).await;
        assert_eq!(status, 422);
        assert!(answer["errors"][0].as_str().unwrap().contains("MS-CHAP"), "{answer}");
    }
    spotgate.stop();
}

#[tokio::test]
async fn who_may_not_is_told_why_and_nothing_is_admitted() {
    let spotgate = site("");
    let device =
        |code: &str, last: u8| json!({"voucher_code": code, "client_mac": format!("18:22:33:44:55:{last:02X}")});
    assert_eq!(ask(&spotgate, device("one-device", 1)).await.0, 200);
    for (question, words) in [
        (device("nobodys", 2), "not known"),
        (device("old-77", 2), "expired on"),
        (device("one-device", 2), "No time is left"),
        (device("42", 2), "not known"),
        (json!({"client_mac": "18:22:33:44:55:01"}), "Please type the access code"),
        (json!({"voucher": "x".repeat(300)}), "Please type the access code"),
        (json!({"voucher": 42, "password": ["kx7q-91mp"]}), "Please type the access code"),
    ] {
        let (status, answer) = ask(&spotgate, question.clone()).await;
        let said = answer["errors"][0].as_str().unwrap_or_default();
        assert!(status == 422 && said.contains(words), "{question}: {status} {answer}");
    }
    for (key, body, status) in [
        (ASKER, "[]", 400),
        (ASKER, "voucher=kx7q-91mp", 400),
        (ASKER, &"9".repeat(70_000), 413),
        ("names-no-nas", "{\"voucher\":\"kx7q-91mp\"}", 422),
    ] {
        let (answered, answer) = spotgate.post("/v1/ironwifi/authenticate", Some(key), body.to_owned()).await;
        assert!(answered == status && answer["errors"][0].is_string(), "{answered} {answer}");
    }
    for (key, status) in [(None, 401), (Some("wrong"), 401), (Some(KEY), 403)] {
        assert_eq!(spotgate.post("/v1/ironwifi/authenticate", key, device("kx7q-91mp", 3).to_string()).await.0, status);
    }
    let (_, sessions) = spotgate.read("/v1/sessions").await;
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1, "{sessions}");
    spotgate.stop();
}

#[tokio::test]
async fn the_names_of_fields_and_the_form_of_the_time_can_be_set_and_the_log_holds_names_alone() {
    let names =
        "[ironwifi]\ncode_fields = [\"wifi_code\"]\ndevice_fields = [\"station\"]\nvalid_until = \"connector\"\n";
    let spotgate = site(names);
    let form = json!({
        "wifi_code": "0042", "station": "18-22-33-44-55-66", "voucher": "secret-of-a-guest", "comment": "another secret",
        "a name\nthat is none": "third secret"
    });
    let (status, answer) = ask(&spotgate, form).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer["valid_until"].as_str().unwrap().ends_with(" +0000"));
    spotgate.until("the names are in the log", async || spotgate.log().contains("comment")).await;
    let log = spotgate.log();
    assert!(log.contains("comment") && !log.contains("secret") && !log.contains("a name"), "{log}");
    assert!(!log.contains("0042"), "{log}");
    spotgate.stop();
}

#[tokio::test]
async fn its_webhook_is_a_sign_of_life_and_no_more() {
    let spotgate =
        Spotgate::start(&configuration(FILE_SOURCE, &format!("{KEYS}[admin]\npassword = \"a long lemonade\"\n")));
    let url = format!("http://{}/v1/ironwifi/webhook", spotgate.http);
    let told = json!({"user_type": "voucher", "username": "kx7q-91mp", "client_mac": "18:22:33:44:55:66"}).to_string();
    let basic = |password: &'static str| client().post(&url).basic_auth("ironwifi", Some(password)).body(told.clone());
    assert_eq!(basic("wrong").send().await.unwrap().status(), 401);
    assert_eq!(basic(ASKER).send().await.unwrap().status(), 204, "all that can be told to IronWifi is a URL");
    assert_eq!(client().post(&url).bearer_auth(ASKER).body("anything").send().await.unwrap().status(), 204);
    let elsewhere = format!("http://{}/v1/ironwifi/authenticate", spotgate.http);
    assert_eq!(client().post(elsewhere).basic_auth("ironwifi", Some(ASKER)).send().await.unwrap().status(), 401);
    assert!(!spotgate.log().contains("kx7q-91mp"));
    spotgate.stop();
}

#[tokio::test]
async fn tokens_are_users_there_as_long_as_they_are_valid() {
    let ironwifi = Sandbox::start_local().await.unwrap();
    let push = |key: &str, more: &str| {
        let url = ironwifi.base_url();
        format!(
            "{KEYS}[ironwifi.push]\nbase_url = \"{url}\"\napi_key = \"{key}\"\nnas = \"front-desk\"\nrequests_per_minute = 6000\n{more}"
        )
    };
    let there = |names: &[&str]| {
        let mut users: Vec<String> = ironwifi.users().into_values().map(|user| user.name).collect();
        users.sort();
        users == names
    };
    let other = ironwifi.put_user("staff");
    let records = [
        record(1, "kx7q-91mp"),
        record(2, "0042"),
        with(record(3, "old-77"), json!({"ValidTo": "2026-01-01T00:00:00Z"})),
    ];
    let spotgate = Spotgate::over_file_with(&records, &push("demo", ""));
    spotgate.until("a user each", async || there(&["0042", "kx7q-91mp", "staff"])).await;
    spotgate.until("they are counted", async || spotgate.metric("spotgate_ironwifi_users").await == 2.0).await;
    let created = "spotgate_ironwifi_requests_total{operation=\"create\",status=\"201\"}";
    assert_eq!(spotgate.metric(created).await, 2.0);

    // A key that is refused is said, and a reload puts it right.
    configured(&spotgate.folder, &configuration(FILE_SOURCE, &push("not-the-key", "")));
    spotgate.signal("HUP");
    let refused =
        async || spotgate.get("/readyz").await.1["degraded"].to_string().contains("ironwifi.push.api_key_file");
    spotgate.until("the key is refused", refused).await;
    configured(&spotgate.folder, &configuration(FILE_SOURCE, &push("demo", "withdraw = true\n")));
    spotgate.signal("HUP");
    spotgate.until("ours are gone", async || there(&["staff"])).await;
    assert_eq!(ironwifi.users().into_keys().collect::<Vec<_>>(), [other]);
    let log = spotgate.log();
    for secret in ["kx7q-91mp", "0042", "not-the-key"] {
        assert!(!log.contains(secret), "{log}");
    }
    spotgate.stop();
}
