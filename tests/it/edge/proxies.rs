//! What a request says of who sent it, and by which way: believed of the proxies of the configuration, and of nobody else.

use std::net::IpAddr;

use reqwest::RequestBuilder;

use crate::support::{KEY, Spotgate, client_builder, record};

/// A proxy, another one behind it, and somebody who is none.
const PROXY: &str = "127.0.0.2";
const INNER: &str = "127.0.0.3";
const STRANGER: &str = "127.0.0.9";

const SETTINGS: &str = "[portal]\npublic_url = \"http://wifi.example.org\"\n[admin]\npassword = \"a long lemonade\"\n";

fn site() -> Spotgate {
    let text = crate::support::configuration(crate::support::FILE_SOURCE, SETTINGS);
    let text = text.replace("[http]\n", "[http]\ntrusted_proxies = [\"127.0.0.2\", \"127.0.0.3/32\"]\n");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokens.json"), serde_json::json!([record(1, "abc-123")]).to_string()).unwrap();
    Spotgate::start_in(folder, &text)
}

fn from(address: &str) -> reqwest::Client {
    let address: IpAddr = address.parse().unwrap();
    client_builder()
        .tls_certs_only([])
        .local_address(address)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

/// Types a password of operators; the status.
async fn typed(
    spotgate: &Spotgate,
    peer: &str,
    password: &str,
    says: impl Fn(RequestBuilder) -> RequestBuilder,
) -> u16 {
    let form = from(peer).post(format!("http://{}/admin/sign-in", spotgate.http)).form(&[("password", password)]);
    says(form).send().await.unwrap().status().as_u16()
}

/// Guesses until it is enough, and then once more under each of these; the statuses of those.
async fn guessed(spotgate: &Spotgate, peer: &str, first: &[&str], then: &[&[&str]]) -> Vec<u16> {
    let lines = |request: RequestBuilder, lines: &[&str]| {
        lines.iter().fold(request, |request, line| request.header("x-forwarded-for", *line))
    };
    for _ in 0..5 {
        typed(spotgate, peer, "guess", |request| lines(request, first)).await;
    }
    let mut statuses = Vec::new();
    for then in then {
        statuses.push(typed(spotgate, peer, "a long lemonade", |request| lines(request, then)).await);
    }
    statuses
}

const WAITS: u16 = 429;
const IS_IN: u16 = 303;

#[tokio::test]
async fn who_is_no_proxy_is_himself_whatever_he_says() {
    let spotgate = site();
    let invented: Vec<String> = (1..=5).map(|last| format!("10.9.9.{last}")).collect();
    for address in &invented {
        let says = |request: RequestBuilder| {
            let named = request.header("x-forwarded-for", address).header("x-real-ip", address);
            named.header("forwarded", format!("for={address};proto=https;host=evil.example"))
        };
        assert!([403, WAITS].contains(&typed(&spotgate, STRANGER, "guess", says).await));
    }
    assert_eq!(typed(&spotgate, STRANGER, "a long lemonade", |request| request).await, WAITS);
    assert_eq!(typed(&spotgate, "127.0.0.8", "a long lemonade", |request| request).await, IS_IN);
    // What is noted of him is where he is.
    let log = spotgate.log();
    let said = log.lines().find(|line| line.contains("somebody could not sign in")).unwrap();
    assert!(said.contains("\"from\":\"127.0.0.9\""), "{said}");
    assert!(!log.contains("10.9.9."), "{log}");
}

#[tokio::test]
async fn of_what_a_proxy_passes_on_the_last_that_is_no_proxy_counts() {
    let spotgate = site();
    // Each with what makes it another, and what does not.
    let same = guessed(
        &spotgate,
        PROXY,
        &["10.1.1.1"],
        &[&["10.1.1.1"], &["10.66.6.6, 10.1.1.1"], &["10.66.6.6", "10.1.1.1"], &["::ffff:10.1.1.1"], &[" 10.1.1.1 "]],
    );
    assert_eq!(same.await, [WAITS; 5]);
    let others: [&[&str]; 3] = [&["10.1.1.2"], &["10.1.1.1, 10.1.1.3"], &["10.1.1.1", "10.1.1.4"]];
    assert_eq!(guessed(&spotgate, PROXY, &["10.1.1.1"], &others).await, [IS_IN; 3]);
    // By way of two of them.
    let behind: [&[&str]; 3] =
        [&["10.2.2.2, 127.0.0.3"], &["127.0.0.3, 10.2.2.2"], &["10.2.2.2", "127.0.0.3, 127.0.0.2"]];
    assert_eq!(guessed(&spotgate, PROXY, &["10.66.6.6, 10.2.2.2, 127.0.0.3"], &behind).await, [WAITS; 3]);
    assert_eq!(guessed(&spotgate, INNER, &[], &[&["10.2.2.2"], &["10.2.2.3"]]).await, [WAITS, IS_IN]);
    // Of IPv6 a network counts.
    let networks: [&[&str]; 3] = [&["2001:db8::1"], &["2001:db8::2:1"], &["2001:db8:0:1::1"]];
    assert_eq!(guessed(&spotgate, PROXY, &["2001:db8::1"], &networks).await, [WAITS, WAITS, IS_IN]);
}

/// Where a proxy passes on what is no address, it stands for itself: nobody gets to be somebody else by that.
#[tokio::test]
async fn what_is_no_address_is_nobodys() {
    let spotgate = site();
    // The proxy itself, to begin with.
    assert_eq!(guessed(&spotgate, PROXY, &[], &[&[]]).await, [WAITS]);
    let long = "10.9.9.9,".repeat(900);
    let garbage = [
        "",
        "unknown",
        "_hidden",
        "10.9.9.9, ",
        "10.9.9.9,,",
        "10.9.9.9, unknown",
        "10.9.9.9;10.9.9.8",
        "10.9.9.9:4711",
        "[2001:db8::9]:4711",
        "\"10.9.9.9\"",
        "10.9.9",
        "10.9.9.9/32",
        "0x0a090909",
        "for=10.9.9.9",
        "10.9.9.9, 127.0.0.2,",
        &long,
    ];
    for garbage in garbage {
        assert_eq!(
            typed(&spotgate, PROXY, "a long lemonade", |request| request.header("x-forwarded-for", garbage)).await,
            WAITS,
            "{garbage}"
        );
        // Nor does a line before it count then.
        let says =
            |request: RequestBuilder| request.header("x-forwarded-for", "10.9.9.9").header("x-forwarded-for", garbage);
        assert_eq!(typed(&spotgate, PROXY, "a long lemonade", says).await, WAITS, "behind another: {garbage}");
    }
    // A line with what is no text in it, to which the proxy has added whom it saw, or nobody.
    let line = |octets: &'static [u8]| reqwest::header::HeaderValue::from_bytes(octets).unwrap();
    for (octets, expected) in [(&b"\xff"[..], WAITS), (b"10.9.9.7, \xff", WAITS), (b"\xff, 10.9.9.8", IS_IN)] {
        let says = |request: RequestBuilder| {
            request.header("x-forwarded-for", "10.9.9.9").header("x-forwarded-for", line(octets))
        };
        assert_eq!(typed(&spotgate, PROXY, "a long lemonade", says).await, expected, "{octets:?}");
    }
    let trail = spotgate.folder.path().join("state");
    assert!(trail.is_dir());
    assert!(!spotgate.log().contains("10.9.9.9"), "{}", spotgate.log());
}

/// Neither the pages nor where they lead change by what a request says of its way.
#[tokio::test]
async fn no_word_of_the_way_leads_a_guest_elsewhere() {
    let spotgate = site();
    let says = |request: RequestBuilder| {
        let request = request.header("host", "evil.example").header("x-forwarded-host", "evil.example");
        request.header("forwarded", "for=10.9.9.9;host=evil.example;proto=https").header("x-forwarded-proto", "https")
    };
    for peer in [PROXY, STRANGER] {
        for path in [
            "/",
            "/login",
            "/status",
            "/logout",
            "/capport",
            "/admin",
            "/admin/sessions",
            "/admin/sign-in",
            "/nowhere",
            "//evil.example/",
        ] {
            let answer = says(from(peer).get(format!("http://{}{path}", spotgate.http))).send().await.unwrap();
            let (headers, text) = (format!("{:?}", answer.headers()), answer.text().await.unwrap());
            assert!(
                !headers.contains("evil.example") && !text.contains("evil.example"),
                "{peer}{path}: {headers} {text}"
            );
        }
        // Whether the browser's way is encrypted a proxy may say, and nobody else.
        let form =
            from(peer).post(format!("http://{}/admin/sign-in", spotgate.http)).form(&[("password", "a long lemonade")]);
        let answer = says(form).send().await.unwrap();
        let cookies: Vec<_> =
            answer.headers().get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()).collect();
        assert_eq!(cookies.len(), 2);
        assert!(cookies.iter().all(|cookie| cookie.ends_with("; Secure") == (peer == PROXY)), "{peer}: {cookies:?}");
    }
    let _ = KEY;
}
