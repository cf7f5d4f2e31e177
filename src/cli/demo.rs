//! `spotgate demo`: a sandbox Nexudus, the daemon and a hotspot's requests, all on loopback.

mod tour;

use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::cli::{block_on, complain, interrupted, print};
use crate::clock::Clock;
use crate::config::{self, LogForm, Settings, Telemetry};
use crate::core::ident::Mac;
use crate::mikrotik;
use crate::sandbox::nexudus::{self, Sandbox, demo_tokens};
use crate::sandbox::router::{Options, Pages, Profile, Router, Web};
use crate::serve::{self, Daemon};
use crate::telemetry;

const SECRET: &str = "demo-shared-secret";
const KEY: &str = "demo-key";
const NAS: &str = "front-desk";
/// Devices whose browser a person can be, and by what host each finds the portal: browsers have cookies by host, and each phone
/// is to have its own, also as two windows of one browser.
const PHONES: [(&str, Mac, &str); 2] = [
    ("your phone", Mac::new([0x02, 0, 0x5E, 0, 0, 0x41]), "127.0.0.1"),
    ("a second phone", Mac::new([0x02, 0, 0x5E, 0, 0, 0x42]), "localhost"),
];

#[derive(Debug, clap::Args)]
pub(super) struct DemoArguments {
    /// Play a scripted tour, print it, and exit
    #[arg(long)]
    once: bool,
}

/// Everything that runs.
struct Demo {
    sandbox: Sandbox,
    daemon: Daemon,
    router: Router,
    /// One for each of the phones; none on a tour.
    phones: Vec<Web>,
    folder: Folder,
}

/// Where the parts listen: 0 for any free port.
struct Ports {
    auth: u16,
    accounting: u16,
    http: u16,
    metrics: u16,
    incoming: u16,
    /// Of each phone; none on a tour.
    phones: Vec<u16>,
}

impl Ports {
    /// A person finds the same ports again; a tour takes what is free.
    fn choose(once: bool) -> std::io::Result<Self> {
        let port = |wished| if once { 0 } else { free(wished) };
        // The configuration names these before anybody listens there.
        let named = |wished| match free(wished) {
            0 => Ok::<_, std::io::Error>(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port()),
            port => Ok(port),
        };
        let mut phones = Vec::new();
        for wished in if once { 0..0 } else { 21882..21884 } {
            phones.push(named(wished)?);
        }
        Ok(Self {
            auth: port(21812),
            accounting: port(21813),
            http: if once { 0 } else { named(21880)? },
            metrics: port(21881),
            incoming: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port(),
            phones,
        })
    }
}

/// A folder that goes with the demo.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn run(arguments: &DemoArguments) -> ExitCode {
    let level = if arguments.once { "error" } else { "warn" };
    telemetry::log::init(&Telemetry {
        log: LogForm::Text,
        level: level.to_owned(),
        metrics_listen: ([127, 0, 0, 1], 0).into(),
    });
    let outcome = block_on(async {
        let demo = start(arguments.once).await?;
        let good = if arguments.once {
            tour::play(&demo).await
        } else {
            // Somebody to see, and to disconnect.
            let _ = demo.router.login("DEMO-TEAM", "", Mac::new([0x02, 0, 0x5E, 0, 0, 0x77])).await;
            print(&described(&demo));
            interrupted().await;
            true
        };
        demo.daemon.stop(Duration::from_secs(5)).await;
        Ok::<_, String>(good)
    });
    match outcome {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::FAILURE,
        Ok(Err(error)) => {
            complain(&format!("spotgate: the demo could not start: {error}"));
            ExitCode::FAILURE
        }
        Err(code) => code,
    }
}

async fn start(once: bool) -> Result<Demo, String> {
    let clock = Clock::system();
    let options = nexudus::Options { tokens: demo_tokens(clock.now().wall), ..nexudus::Options::default() };
    let sandbox = Sandbox::start_local(options, clock.clone()).await.map_err(|error| error.to_string())?;
    let folder = std::env::temp_dir().join(format!("spotgate-demo-{}", std::process::id()));
    std::fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let folder = Folder(folder);
    let path = folder.0.join("spotgate.toml");
    let ports = Ports::choose(once).map_err(|error| error.to_string())?;
    let text = configuration(&sandbox.base_url(), &ports);
    std::fs::write(&path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
    let loaded = config::from_str(&text, &path, &|_| None).map_err(|report| report.to_string())?;
    let settings = loaded.settings.clone();
    let daemon = serve::start(loaded.settings, clock).await.map_err(|error| error.to_string())?;
    let addresses = &daemon.addresses;
    let (Some(&auth), Some(&accounting), Some(&http)) =
        (addresses.auth.first(), addresses.accounting.first(), addresses.http.first())
    else {
        return Err("RADIUS or HTTP listens nowhere".to_owned());
    };
    let mut options = Options::new(auth, SECRET.as_bytes());
    options.name = NAS.to_owned();
    options.accounting = accounting;
    options.incoming.set_port(ports.incoming);
    let router = Router::start(options).await.map_err(|error| error.to_string())?;
    let mut phones = Vec::new();
    for (&port, (_, mac, host)) in ports.phones.iter().zip(PHONES) {
        let portal = format!("{host}:{}", http.port());
        let pages = pages(&settings, &portal)?;
        let mut profile = Profile { listen: (Ipv4Addr::LOCALHOST, port).into(), ..Profile::new(pages, http) };
        profile.walled_garden.insert(portal, http);
        phones.push(router.web(mac, profile).await.map_err(|error| error.to_string())?);
    }
    Ok(Demo { sandbox, daemon, router, phones, folder })
}

/// What `spotgate mikrotik pages` writes, for guests who find the portal at this host.
fn pages(settings: &Settings, portal: &str) -> Result<Pages, String> {
    let mut settings = settings.clone();
    settings.portal.public_url = Some(format!("http://{portal}"));
    let nas = settings.nas.first().ok_or("the demo has no router")?;
    mikrotik::pages(&settings, nas).map(Pages::new).map_err(|error| error.to_string())
}

/// The port, or 0 if somebody has it.
fn free(port: u16) -> u16 {
    let taken = UdpSocket::bind(("127.0.0.1", port)).is_err() || TcpListener::bind(("127.0.0.1", port)).is_err();
    if taken { 0 } else { port }
}

fn configuration(base_url: &str, ports: &Ports) -> String {
    let Ports { auth, accounting, http, metrics, incoming, phones } = ports;
    let hosts: Vec<String> = phones.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let portal =
        if phones.is_empty() { String::new() } else { format!("[portal]\npublic_url = \"http://127.0.0.1:{http}\"\n") };
    format!(
        r#"[source]
kind = "nexudus"
[source.nexudus]
base_url = "{base_url}"
username = "demo@example.org"
password = "demo"
request_timeout = "1s"
[policy]
bind_device = "honour"
[radius]
auth_listen = ["127.0.0.1:{auth}"]
acct_listen = ["127.0.0.1:{accounting}"]
[[nas]]
name = "{NAS}"
address = "127.0.0.1"
secret = "{SECRET}"
business_ids = [1]
disconnect_port = {incoming}
hotspot_hosts = {hosts:?}
[http]
listen = ["127.0.0.1:{http}"]
trusted_proxies = ["127.0.0.1"]
[[http.api_key]]
name = "demo"
key = "{KEY}"
scopes = ["authorize", "read", "admin"]
{portal}[admin]
password = "demo"
[store]
path = "state"
[telemetry]
metrics_listen = "127.0.0.1:{metrics}"
"#
    )
}

/// What is running, and lines to paste into another terminal.
fn described(demo: &Demo) -> String {
    let addresses = &demo.daemon.addresses;
    let first = |addresses: &[std::net::SocketAddr]| addresses.first().map(ToString::to_string).unwrap_or_default();
    let (auth, http) = (first(&addresses.auth), first(&addresses.http));
    let config = demo.folder.0.join("spotgate.toml");
    let sessions = demo.daemon.gate.ledger.sessions();
    let guest = sessions.first().map_or_else(|| "SESSION".to_owned(), |(_, session)| session.id.to_string());
    let mut text = String::new();
    let _ = write!(
        text,
        r#"spotgate demo: everything on this machine, nothing leaves it.

  sandbox Nexudus   {}   user demo@example.org, password demo
  RADIUS            {auth} (accounting {}), shared secret {SECRET}
  HTTP              http://{http}   API key {KEY}
  console           http://{http}/admin   password demo
  metrics           http://{}/metrics
  hotspot           an emulated router with a guest on it
  configuration     {}

Be a guest: each address is a phone in the hotspot's WiFi. Open yours in a browser, type DEMO-HOUR, see the time run, log out.
Before that, open the second phone and type the same code: it is for one device. DEMO-POOL is for three, who share its hour.

{}

Codes: DEMO-HOUR (an hour, one device)  DEMO-TWO (two devices)  DEMO-POOL (three)  DEMO-MINUTE  00421  DEMO-TEAM
       DEMO-SOON  DEMO-PAST  DEMO-EMPTY  DEMO-ELSEWHERE  DEMO-TWIN  DEMO-BOUND  (each denied for its own reason)

Ask like a hotspot, in another terminal (radclient is in Debian's freeradius-utils):

{}

Ask over HTTP:

{}

See who is online, and end the guest's session at the emulated router:

{}

Stop with Ctrl-C.
"#,
        demo.sandbox.base_url(),
        first(&addresses.accounting),
        addresses.metrics.map(|address| address.to_string()).unwrap_or_default(),
        config.display(),
        phones(&demo.phones),
        lines(&[
            radclient("DEMO-HOUR", "02:00:5E:00:00:01", &auth),
            radclient("DEMO-PAST", "02:00:5E:00:00:02", &auth),
        ]),
        lines(&[
            curl(r#"{"access_code":"DEMO-TWO","mac":"02:00:5E:00:00:03"}"#, &http),
            curl(r#"{"access_code":"DEMO-EMPTY","dry_run":true}"#, &http),
            format!("curl -s http://{http}/readyz"),
            format!("{} explain --config {} DEMO-PAST", program(), config.display()),
        ]),
        lines(&[
            format!("{} sessions --config {}", program(), config.display()),
            format!("{} disconnect --config {} {guest}", program(), config.display()),
        ]),
    );
    text
}

fn phones(phones: &[Web]) -> String {
    let line = |(web, (name, ..)): (&Web, (&str, Mac, &str))| format!("  {name:<16}  http://{}/", web.address());
    phones.iter().zip(PHONES).map(line).collect::<Vec<_>>().join("\n")
}

fn lines(commands: &[String]) -> String {
    commands.iter().map(|command| format!("  $ {command}")).collect::<Vec<_>>().join("\n")
}

fn radclient(code: &str, mac: &str, auth: &str) -> String {
    format!(
        "echo 'User-Name = \"{code}\", User-Password = \"{code}\", Calling-Station-Id = \"{mac}\", \
         NAS-Identifier = \"{NAS}\", Message-Authenticator = 0x00' | radclient -x {auth} auth {SECRET}"
    )
}

fn curl(body: &str, http: &str) -> String {
    format!("curl -s -H 'Authorization: Bearer {KEY}' -d '{body}' http://{http}/v1/authorize")
}

fn program() -> String {
    std::env::current_exe().map_or_else(|_| "spotgate".to_owned(), |path| path.display().to_string())
}
