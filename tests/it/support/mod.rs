//! The daemon as its users run it: the real binary, a folder of its own, ports that the kernel picks.

pub mod authority;
pub mod browser;
pub mod gateway;
pub mod ledger;
pub mod pcap;
pub mod places;
pub mod postgres;
pub mod process;
pub mod raw;
pub mod tunnel;
pub mod wired;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use spotgate::core::ident::Mac;
use spotgate::sandbox::hotspot::Hotspot;
use tempfile::TempDir;

/// The secret of every NAS here.
pub const SECRET: &str = "correct horse battery";

/// The key with every scope.
pub const KEY: &str = "key-for-tests-only";

/// A running `spotgate serve`; it ends with the value.
pub struct Spotgate {
    child: Child,
    pub folder: Arc<TempDir>,
    pub auth: SocketAddr,
    pub accounting: SocketAddr,
    pub http: SocketAddr,
    pub metrics: SocketAddr,
    /// Where RADIUS over TLS is listened for, if it is.
    pub radsec: Option<SocketAddr>,
    log: Arc<Mutex<String>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

/// The `spotgate` binary with these arguments.
pub fn spotgate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spotgate"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs a command to its end and returns what it printed.
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?} could not be run: {error}"))
}

/// A configuration around `extra`: file source, loopback, ports that the kernel picks, every scope for [`KEY`].
pub fn configuration(source: &str, extra: &str) -> String {
    format!(
        r#"
{source}
[[nas]]
name = "front-desk"
address = "127.0.0.1"
secret = "{SECRET}"
{extra}
[radius]
auth_listen = ["127.0.0.1:0"]
acct_listen = ["127.0.0.1:0"]
[http]
listen = ["127.0.0.1:0"]
[[http.api_key]]
name = "tests"
key = "{KEY}"
scopes = ["authorize", "accounting", "read", "admin"]
[store]
path = "state"
[telemetry]
log = "json"
level = "debug"
metrics_listen = "127.0.0.1:0"
"#
    )
}

/// The source section for a file.
pub const FILE_SOURCE: &str = "[source]\nkind = \"file\"\npath = \"tokens.json\"\n";

/// A token record that is valid and has an hour.
pub fn record(id: i64, code: &str) -> Value {
    json!({
        "Id": id, "BusinessId": 1, "AccessCode": code, "Description": null, "MinutesIncluded": 60, "MinutesLeft": 60,
        "ValidFrom": null, "ValidTo": null, "UserLimit": null, "MacAddress": null
    })
}

/// The same with some fields changed.
pub fn with(mut record: Value, changes: Value) -> Value {
    let (Value::Object(fields), Value::Object(changes)) = (&mut record, changes) else { panic!("objects") };
    fields.extend(changes);
    record
}

impl Spotgate {
    /// Starts the daemon over a file of these records.
    pub fn over_file(records: &[Value]) -> Self {
        Self::over_file_with(records, "")
    }

    /// The same, with more settings for the NAS, or whole sections.
    pub fn over_file_with(records: &[Value], extra: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tokens.json"), Value::from(records.to_vec()).to_string()).unwrap();
        Self::start_in(folder, &configuration(FILE_SOURCE, extra))
    }

    /// Starts the daemon with this configuration.
    pub fn start(configuration: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), configuration)
    }

    /// Starts the daemon with this configuration in this folder.
    pub fn start_in(folder: impl Into<Arc<TempDir>>, configuration: &str) -> Self {
        Self::start_by(spotgate(&[]), folder.into(), configuration)
    }

    /// The same, by a command that becomes the daemon once it has these arguments too.
    pub fn start_by(command: Command, folder: Arc<TempDir>, configuration: &str) -> Self {
        Self::start_with(command, Stdio::null(), Stdio::null(), folder, configuration)
    }

    /// The same, with these as its standard input and output.
    pub fn start_with(
        mut command: Command,
        stdin: Stdio,
        stdout: Stdio,
        folder: Arc<TempDir>,
        configuration: &str,
    ) -> Self {
        let store = postgres::url_for(folder.path()).filter(|_| !configuration.contains("kind = \"postgres\""));
        let configuration = match store {
            Some(url) => {
                &*configuration.replace("[store]\n", &format!("[store]\nkind = \"postgres\"\nurl = \"{url}\"\n"))
            }
            None => configuration,
        };
        command.args(["serve", "--config"]).arg(configured(&folder, configuration)).stdin(stdin);
        let mut child = command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut log = String::new();
        // The daemon says where it listens once it answers; it says so or ends.
        let ready = loop {
            let Some(Ok(line)) = lines.next() else {
                let _ = child.wait();
                panic!("the daemon ended before it was ready:\n{log}")
            };
            log.push_str(&line);
            log.push('\n');
            match serde_json::from_str::<Value>(&line) {
                Ok(event) if event["message"] == "ready" => break event,
                _ => {}
            }
        };
        let log = Arc::new(Mutex::new(log));
        let kept = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = kept.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let listed = |field: &str| {
            let text = ready[field].as_str().unwrap_or_else(|| panic!("{field} in {ready}"));
            let text = text.trim_start_matches("Some(").trim_matches(|c| "[]()".contains(c));
            text.split(',').next().unwrap().parse().ok()
        };
        let address = |field| listed(field).unwrap_or_else(|| panic!("{field} in {ready}"));
        Self {
            auth: address("auth"),
            accounting: address("accounting"),
            http: address("http"),
            metrics: address("metrics"),
            radsec: listed("radsec"),
            child,
            folder,
            log,
            reader: Some(reader),
        }
    }

    /// The configuration file.
    pub fn configuration(&self) -> PathBuf {
        self.folder.path().join("spotgate.toml")
    }

    /// Runs a command of the same configuration; its exit code, and what it printed.
    pub fn command(&self, arguments: &[&str]) -> (Option<i32>, String) {
        // Where it listens is known only now.
        let text = std::fs::read_to_string(self.configuration()).unwrap();
        let listen = format!("[http]\nlisten = [\"{}\"]", self.http);
        let path = self.folder.path().join("command.toml");
        std::fs::write(&path, text.replace("[http]\nlisten = [\"127.0.0.1:0\"]", &listen)).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let output = run(spotgate(arguments).arg("--config").arg(path));
        (output.status.code(), printed(&output))
    }

    /// Everything logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The NAS that the configuration knows.
    pub fn hotspot(&self) -> Hotspot {
        Hotspot::new(self.auth, SECRET.as_bytes(), "front-desk").accounting_at(self.accounting)
    }

    /// Asks `POST /v1/authorize`.
    pub async fn authorize(&self, question: Value) -> Value {
        let (status, answer) = self.post("/v1/authorize", Some(KEY), question.to_string()).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Posts a body; the status and the JSON that came back.
    pub async fn post(&self, path: &str, key: Option<&str>, body: String) -> (u16, Value) {
        let mut request = client().post(format!("http://{}{path}", self.http)).body(body);
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null))
    }

    /// Gets a path; the status and the JSON that came back.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let response = client().get(format!("http://{}{path}", self.http)).send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null))
    }

    /// Gets a path with the key; the status and the JSON that came back.
    pub async fn read(&self, path: &str) -> (u16, Value) {
        let request = client().get(format!("http://{}{path}", self.http)).bearer_auth(KEY);
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null))
    }

    /// One metric's value, by its name with labels; 0 where it is absent.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = client().get(format!("http://{}/metrics", self.metrics)).send().await.unwrap().text().await.unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits, at most thirty seconds, until `met` holds; for effects that come on the daemon's own time.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, mut met: impl FnMut() -> F) {
        for _ in 0..600 {
            if met().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not in thirty seconds: {what}\n{}", self.log());
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends the daemon as a power cut would, as far as the daemon can tell; what it leaves.
    pub fn kill(mut self) -> Arc<TempDir> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        Arc::clone(&self.folder)
    }

    /// Ends the daemon in order; what it leaves.
    pub fn stop(self) -> Arc<TempDir> {
        self.signal("TERM");
        let folder = Arc::clone(&self.folder);
        let (code, log) = self.ended();
        assert_eq!(code, Some(0), "{log}");
        folder
    }

    /// Waits for the daemon to end by itself; its exit code and its whole log.
    pub fn ended(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        let log = self.log();
        (code, log)
    }
}

/// Writes the configuration into the folder; its path.
pub fn configured(folder: &TempDir, configuration: &str) -> PathBuf {
    let path = folder.path().join("spotgate.toml");
    std::fs::write(&path, configuration).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    path
}

impl Drop for Spotgate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the daemon ---\n{}", self.log());
        }
    }
}

/// An HTTP client that talks to loopback alone.
pub fn client() -> reqwest::Client {
    // No root certificates: reading those of the system takes longer than most requests here.
    client_builder().tls_certs_only([]).build().unwrap()
}

/// The same, not made yet.
pub fn client_builder() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30))
}

/// A device.
pub fn mac(last: u8) -> Mac {
    Mac::new([0x3C, 0x06, 0x30, 0xAA, 0x19, last])
}

/// Runs a tool that the test command installs; without it the test fails.
pub fn tool(name: &str) -> Command {
    let found = Command::new("which").arg(name).output().is_ok_and(|output| output.status.success());
    assert!(found, "{name} is missing: tests/run.sh installs what the tests need");
    Command::new(name)
}

/// What a finished command printed, both streams.
pub fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Reads a file of the repository.
pub fn repository_file(path: &str) -> String {
    let mut text = String::new();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::File::open(&path)
        .and_then(|mut file| file.read_to_string(&mut text))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text
}
