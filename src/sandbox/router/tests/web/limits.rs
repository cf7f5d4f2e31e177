//! Whatever a browser sends, and however much of it.

use super::*;

#[tokio::test(start_paused = true)]
async fn whatever_a_browser_sends_is_answered() {
    let guest = guest(LoginBy::Both).await;
    let host = guest.web.address();
    let long = "a".repeat(20_000);
    let many = format!("Connection: close\r\n{}", "X: y\r\n".repeat(65));
    let post = |path: &str, body: &str| {
        let kind = "Content-Type: application/x-www-form-urlencoded\r\nConnection: close";
        format!("POST {path} HTTP/1.1\r\nHost: {host}\r\n{kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    for (request, status) in [
        (format!("GET / HTTP/1.1\r\nHost: {host}\r\nX: {long}\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nHost: {host}\r\n{many}\r\n"), 431),
        (format!("GET /{long} HTTP/1.1\r\nHost: {host}\r\n\r\n"), 431),
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), 302),
        ("GET http://[ HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET * HTTP/1.1\r\nHost: \r\nConnection: close\r\n\r\n".to_owned(), 302),
        ("GET / HTTP/1.1\r\nHost: \u{e9}\"<>\r\nConnection: close\r\n\r\n".to_owned(), 302),
        (format!("PUT /login HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"), 405),
        (post("/login", &long), 413),
        (post("/login", "username=%00%ff%zz&password=%"), 302),
        (post("/login?username=%ff&dst=%zz", "\u{0}"), 302),
        (post("/login", &format!("username={}", "a".repeat(254))), 302),
        (post("/login", "username=a&password=\\9\\400"), 302),
        (post("/login", &format!("username=a&password={}", "é".repeat(16))), 302),
        (post("/login/../../etc/passwd", "target=../.."), 302),
    ] {
        let answer = guest.raw(request.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.{} {status} ", u8::from(!request.contains("HTTP/1.0")))),
            "{request:.100}: {answer:.200}"
        );
    }
    for dst in ["http://example.org/%0d%0aSet-Cookie:%20a=b", &format!("http://example.org/{}", "a".repeat(2048))] {
        let page = guest.direct.get(guest.url(&format!("/login?dst={dst}"))).send().await.unwrap();
        assert!(page.headers().get("set-cookie").is_none());
        assert_eq!(parameters(page.headers()["location"].to_str().unwrap())["link-orig"], "");
    }
}

#[tokio::test(start_paused = true)]
async fn the_router_holds_so_many_connections_and_no_more() {
    let guest = guest(LoginBy::Pap).await;
    let mut held = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(guest.web.address()).await.unwrap();
        stream.write_all(b"GET /login HTTP/1.1\r\n").await.unwrap();
        held.push(stream);
    }
    let one_more = guest.raw(b"GET / HTTP/1.0\r\n\r\n");
    tokio::pin!(one_more);
    tokio::select! {
        answer = &mut one_more => panic!("{answer}"),
        () = turns() => {}
    }
    // those who say nothing for too long lose their place
    let late = async {
        turns().await;
        advance(Duration::from_secs(11)).await;
    };
    let (answer, ()) = tokio::join!(one_more, late);
    assert!(answer.starts_with("HTTP/1.0 302 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn nothing_outside_of_this_machine_is_listened_on_or_asked() {
    let guest = guest(LoginBy::Pap).await;
    let outside: SocketAddr = ([192, 0, 2, 1], 80).into();
    let listening = Profile { listen: ([0, 0, 0, 0], 0).into(), ..profile(LoginBy::Pap) };
    for profile in [listening, Profile::new(pages("one-time", outside), outside)] {
        let error = guest.router.web(OTHER, profile).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
