//! Certificates of Nexudus that change, and what holds while it is not reached.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use spotgate::sandbox::nexudus::Sandbox;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::nexudus::{sandbox, source};
use crate::support::authority::{Authority, Pair};
use crate::support::ledger::elapsed;
use crate::support::{Spotgate, configuration, mac, record, with};

/// A mirror that looks each second.
pub(super) fn often(sandbox: &Sandbox, base_url: &str) -> String {
    source(sandbox, "mirror_interval = \"1s\"\nrequests_per_minute = 100000").replace(&sandbox.base_url(), base_url)
}

/// The reason of a refusal.
pub(super) async fn reason(spotgate: &Spotgate, code: &str, device: u8) -> Value {
    spotgate.authorize(json!({"access_code": code, "mac": mac(device).to_string()})).await["reason"].clone()
}

pub(super) async fn degraded(spotgate: &Spotgate) -> Vec<String> {
    let (status, ready) = spotgate.get("/readyz").await;
    assert_eq!(status, 200, "copies can be used: {ready}");
    ready["degraded"].as_array().unwrap().iter().map(|trouble| trouble.as_str().unwrap().to_owned()).collect()
}

/// Tokens 1 and 2 are known.
pub(super) async fn mirrored(spotgate: &Spotgate) {
    spotgate.until("mirrored", async || spotgate.metric("spotgate_tokens").await == 2.0).await;
    spotgate.until("all is well", async || degraded(spotgate).await.is_empty()).await;
}

/// Whoever is known gets in at once; whoever is not hears so in the time that two calls may take.
pub(super) async fn goes_on_without(spotgate: &Arc<Spotgate>, device: u8) {
    let known = spotgate.hotspot().login_pap("known", "", mac(device)).await.unwrap();
    assert!(known.accept && known.tries == 1, "{known:?}");
    let mut strangers = JoinSet::new();
    for stranger in 1..=10 {
        let spotgate = Arc::clone(spotgate);
        strangers.spawn(async move {
            let begun = elapsed();
            let reason = reason(&spotgate, &format!("stranger-{device}-{stranger}"), 100 + stranger).await;
            (reason, elapsed() - begun)
        });
    }
    while let Some(answered) = strangers.join_next().await {
        let (reason, took) = answered.unwrap();
        assert_eq!(reason, "source_unavailable");
        assert!(took < Duration::from_secs(8), "{took:?}");
    }
}

/// What stands before the sandbox with a certificate that can be changed; at each change, all connections end.
struct Front {
    address: SocketAddr,
    shown: watch::Sender<Arc<ServerConfig>>,
    /// When somebody connected.
    connected: Arc<Mutex<Vec<Duration>>>,
}

fn shown(pair: &Pair) -> Arc<ServerConfig> {
    let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap())
}

impl Front {
    async fn start(sandbox: &Sandbox, pair: &Pair) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, behind) = (listener.local_addr().unwrap(), sandbox.address());
        let (shown, _) = watch::channel(shown(pair));
        let connected = Arc::new(Mutex::new(Vec::new()));
        let front = Self { address, shown: shown.clone(), connected: Arc::clone(&connected) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connected.lock().unwrap().push(elapsed());
                let mut changes = shown.subscribe();
                let config = changes.borrow_and_update().clone();
                tokio::spawn(async move {
                    let conversation = async {
                        let mut stream = TlsAcceptor::from(config).accept(stream).await?;
                        let mut behind = TcpStream::connect(behind).await?;
                        tokio::io::copy_bidirectional(&mut stream, &mut behind).await
                    };
                    tokio::select! {
                        _ = changes.changed() => {}
                        _ = conversation => {}
                    }
                });
            }
        });
        front
    }

    fn show(&self, pair: &Pair) {
        self.connected.lock().unwrap().clear();
        self.shown.send_replace(shown(pair));
    }

    /// When somebody connected since then.
    fn connected(&self) -> Vec<Duration> {
        self.connected.lock().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_certificate_of_nexudus_is_taken_from_who_is_trusted_and_no_other() {
    let sandbox = sandbox(vec![with(record(1, "known"), json!({"UserLimit": 9})), record(2, "other")]).await;
    let (trusted, unknown) = (Authority::new("trusted"), Authority::new("somebody"));
    let [first, second, third] = [(); 3].map(|()| trusted.issue(&["127.0.0.1"]));
    let foreign = unknown.issue(&["127.0.0.1"]);
    let front = Front::start(&sandbox, &first).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("trusted.pem"), &trusted.certificate).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_spotgate"));
    command.env("SSL_CERT_FILE", folder.path().join("trusted.pem"));
    let settings = configuration(&often(&sandbox, &format!("https://{}", front.address)), "");
    let spotgate = Arc::new(Spotgate::start_by(command, Arc::new(folder), &settings));
    mirrored(&spotgate).await;

    front.show(&second);
    sandbox.put_token(record(3, "new"));
    assert_eq!(reason(&spotgate, "new", 3).await, Value::Null, "it is asked for over a new connection");
    assert_eq!((degraded(&spotgate).await, front.connected().is_empty()), (Vec::new(), false), "nothing is noticed");

    front.show(&foreign);
    let down = async || spotgate.metric("spotgate_source_up").await == 0.0;
    spotgate.until("it is noticed", down).await;
    let calls = sandbox.requests().len();
    goes_on_without(&spotgate, 1).await;
    let before = front.connected();
    spotgate.until("it tries again", async || front.connected().len() > before.len() + 2).await;
    let again = front.connected();
    let pauses: Vec<_> = again[before.len()..].windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().sum::<Duration>() > Duration::from_secs(1), "a storm: {pauses:?}");
    assert_eq!(sandbox.requests().len(), calls, "nothing is said to it");
    let trouble = degraded(&spotgate).await;
    assert!(trouble.iter().any(|trouble| trouble.contains("certificate")), "{trouble:?}");

    front.show(&third);
    spotgate.until("all is well", async || degraded(&spotgate).await.is_empty()).await;
    sandbox.put_token(record(4, "newer"));
    assert_eq!(reason(&spotgate, "newer", 4).await, Value::Null);
}
