//! Debian's ocserv as a NAS, in network namespaces of its own: guests (openconnect), each at a home of his own, come to the internet
//! through its tunnels. It asks spotgate and reports to it.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::places::Places;
use super::process::{Process, place, until};
use super::{KEY, Spotgate, printed, repository_file, run, tool};

/// Where the guests are at home.
pub const ANNA: &str = "anna";
pub const BEN: &str = "ben";
pub const CLEO: &str = "cleo";

/// What of each packet is looked at, by the names that `tshark` has for it.
const FIELDS: [&str; 12] = [
    "radius.code",
    "radius.Acct_Status_Type",
    "radius.Acct_Session_Id",
    "radius.Acct_Session_Time",
    "radius.Acct_Terminate_Cause",
    "radius.Acct_Interim_Interval",
    "radius.Calling_Station_Id",
    "radius.Class",
    "radius.Framed-IP-Address",
    "radius.Session_Timeout",
    "radius.Service_Type",
    "radius.User_Name",
];

/// The whole network; it ends with the value.
pub struct Site {
    pub spotgate: Spotgate,
    _ocserv: Process,
    wire: Process,
    folder: TempDir,
    places: Places,
}

/// A guest's openconnect; it is killed with the value.
pub struct Guest(Process);

impl Guest {
    /// What it has said so far.
    pub fn said(&self) -> String {
        self.0.said()
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        let kill = run(Command::new("kill").args([&format!("-{name}"), &self.0.child.id().to_string()]));
        assert!(kill.status.success(), "{}", printed(&kill));
    }

    /// Waits until it says this.
    pub async fn until_said(&self, text: &str) {
        self.0.until_said(text).await;
    }

    /// Waits until it has ended.
    pub async fn until_gone(&mut self) {
        until("openconnect has ended", || self.0.child.try_wait().unwrap().is_some()).await;
    }
}

impl Site {
    /// Lays the wires and starts everything but the guests. spotgate's tokens are these records.
    pub async fn start(records: &[Value]) -> Self {
        for needed in ["ip", "busybox", "curl", "ocserv", "openconnect", "tshark", "unshare"] {
            tool(needed);
        }
        let places = Places::new(&[ANNA, BEN, CLEO, "server", "office"]);
        for (home, lan, here, there) in [
            (ANNA, "lan1", "10.5.51.1/24", "10.5.51.9/24"),
            (BEN, "lan2", "10.5.52.1/24", "10.5.52.9/24"),
            (CLEO, "lan3", "10.5.53.1/24", "10.5.53.9/24"),
        ] {
            places.wire(("server", lan), (home, "wire"));
            places.address("server", lan, here);
            places.address(home, "wire", there);
        }
        places.wire(("server", "uplink"), ("office", "lan"));
        places.address("server", "uplink", "192.0.2.1/24");
        places.address("office", "lan", "192.0.2.2/24");
        // The internet, as far as anybody here wants to go.
        places.address("server", "lo", "198.51.100.80/32");

        let folder = tempfile::tempdir().unwrap();
        let inside = |file: &str| folder.path().join(file).to_str().unwrap().to_owned();
        let (settings, servers) = (inside("radiusclient.conf"), inside("servers"));
        let blanks = [("/etc/radcli/radiusclient.conf", &*settings), ("/etc/radcli/servers", &*servers)];
        for file in ["ocserv.conf", "radiusclient.conf", "servers", "tunnel.sh"] {
            place("ocserv", folder.path(), file, &blanks);
        }
        let (settings, described) =
            (repository_file("tests/vectors/ocserv/ocserv.conf"), repository_file("docs/systems.md"));
        for line in settings.lines().skip(1).take_while(|line| !line.is_empty()) {
            assert!(described.contains(&format!("\n{line}\n")), "what it takes is not what is described: {line}");
        }
        let made = rcgen::generate_simple_self_signed(["vpn.example.org".to_owned()]).unwrap();
        std::fs::write(inside("server.pem"), made.cert.pem()).unwrap();
        std::fs::write(inside("server.key"), made.signing_key.serialize_pem()).unwrap();

        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("tokens.json"), Value::from(records.to_vec()).to_string()).unwrap();
        let configuration = repository_file("tests/vectors/ocserv/spotgate.toml").replace("@KEY@", KEY);
        let daemon = places.command("office", env!("CARGO_BIN_EXE_spotgate"));
        let spotgate = Spotgate::start_by(daemon, home.into(), &configuration);

        // What each starts ends with it.
        let at_server = |program: &str| {
            let mut command = places.command("server", "unshare");
            command.args(["--pid", "--fork", "--kill-child", program]);
            command
        };
        let mut command = at_server("tshark");
        command.args(["-l", "-n", "-i", "uplink", "-f", "udp portrange 1812-1813", "-T", "fields"]);
        command.args(FIELDS.iter().flat_map(|field| ["-e", field]));
        // It leaves its capture behind.
        command.env("TMPDIR", folder.path());
        let wire = Process::start("tshark", command, folder.path());
        wire.until_said("Capture started").await;
        let mut command = at_server("ocserv");
        command.args(["-f", "-d", "2", "-c"]).arg(inside("ocserv.conf"));
        let ocserv = Process::start("ocserv", command, folder.path());
        ocserv.until_said("initialized ocserv").await;
        Self { spotgate, _ocserv: ocserv, wire, folder, places }
    }

    /// Has spotgate's tokens be these.
    pub fn issue(&self, records: &[Value]) {
        let tokens = self.spotgate.folder.path().join("tokens.json");
        std::fs::write(tokens, Value::from(records.to_vec()).to_string()).unwrap();
    }

    /// A guest calls from this place, where nobody else does, with this code as user name and password, and waits for the verdict.
    pub async fn call(&self, home: &'static str, code: &str) -> Guest {
        let folder = self.folder.path();
        let typed = folder.join(format!("{home}.code"));
        std::fs::write(&typed, format!("{code}\n")).unwrap();
        let server = match home {
            ANNA => "10.5.51.1",
            BEN => "10.5.52.1",
            _ => "10.5.53.1",
        };
        let mut command = self.places.command(home, "openconnect");
        command.args(["--protocol", "anyconnect", "--no-dtls", "--interface", "tunnel", "--non-inter"]);
        command.args(["--user", code, "--passwd-on-stdin"]).stdin(File::open(typed).unwrap());
        command.arg("--cafile").arg(folder.join("server.pem"));
        command.arg(format!("--resolve=vpn.example.org:{server}"));
        command.arg(format!("--script=sh {}", folder.join("tunnel.sh").display()));
        command.arg("https://vpn.example.org/");
        let guest = Guest(Process::start(home, command, folder));
        let verdicts = ["the way into the tunnel is open", "Failed to"];
        until("the guest knows", || verdicts.iter().any(|verdict| guest.said().contains(verdict))).await;
        guest
    }

    /// Whether who is there gets to the internet.
    pub fn is_online(&self, home: &str) -> bool {
        let mut command = self.places.command(home, "busybox");
        run(command.args(["ping", "-c", "1", "-W", "1", "198.51.100.80"])).status.success()
    }

    /// Every RADIUS packet between ocserv and spotgate, in order.
    pub fn packets(&self) -> Vec<Packet> {
        let said = self.wire.said();
        // What is before the last end of a line is whole.
        let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().filter(|line| line.contains('\t')).map(Packet::read).collect()
    }

    /// Those with this code of RADIUS, such as "1" for Access-Request.
    pub fn packets_of(&self, code: &str) -> Vec<Packet> {
        self.packets().into_iter().filter(|packet| packet.get("radius.code") == Some(code)).collect()
    }

    /// Accounting of one status, such as "2" for Stop.
    pub fn reports(&self, status: &str) -> Vec<Packet> {
        let requests = self.packets_of("4").into_iter();
        requests.filter(|packet| packet.get("radius.Acct_Status_Type") == Some(status)).collect()
    }

    /// Asks spotgate, from where it is.
    pub fn ask(&self, path: &str) -> Value {
        self.places.ask("office", path)
    }

    /// Who is online, by spotgate, in the order of admission.
    pub fn sessions(&self) -> Vec<Value> {
        let mut sessions = self.ask("/v1/sessions")["sessions"].as_array().unwrap().clone();
        sessions.sort_by_key(|session| session["session"].as_str().map(str::to_owned));
        sessions
    }

    /// What spotgate decided, the latest first: the reasons of refusals, and the names of sessions.
    pub fn decisions(&self) -> Vec<Value> {
        self.ask("/v1/decisions")["decisions"].as_array().unwrap().clone()
    }
}

/// A RADIUS packet: what of [`FIELDS`] it has.
#[derive(Clone, Debug)]
pub struct Packet(BTreeMap<&'static str, String>);

impl Packet {
    fn read(line: &str) -> Self {
        let all = FIELDS.into_iter().zip(line.split('\t').map(str::to_owned));
        Self(all.filter(|(_, value)| !value.is_empty()).collect())
    }

    /// A field, if the packet has it.
    pub fn get(&self, field: &str) -> Option<&str> {
        self.0.get(field).map(String::as_str)
    }

    pub fn number(&self, field: &str) -> u64 {
        self.get(field).unwrap_or_else(|| panic!("{field} in {self:?}")).parse().unwrap()
    }
}
