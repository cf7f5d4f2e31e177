//! A wired network of strangers' programs, in network namespaces of its own: a guest's machine (wpa_supplicant) at a switch
//! (hostapd), which asks FreeRADIUS, which asks spotgate. The switch reports to spotgate and takes its orders.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::places::{Places, ip};
use super::process::{Process, place, until};
use super::{KEY, Spotgate, printed, repository_file, run, tool};

/// The MAC of the first machine that a guest plugs in.
pub const GUEST: &str = "02:00:00:00:00:51";

/// The name outside of the tunnel.
pub const OUTER: &str = "anonymous@example.org";

/// The secret of switch and spotgate.
pub const SWITCH_SECRET: &str = "between switch and spotgate";

/// The whole network; it ends with the value.
pub struct Site {
    pub spotgate: Spotgate,
    guest: Option<Process>,
    machines: u32,
    switch: Option<Process>,
    _freeradius: Process,
    folder: TempDir,
    places: Places,
}

impl Site {
    /// Lays the wires and starts everything but the guest's machine. spotgate's tokens are these records.
    pub async fn start(records: &[Value]) -> Self {
        for needed in ["ip", "curl", "hostapd", "wpa_supplicant", "wpa_cli", "freeradius"] {
            tool(needed);
        }
        let places = Places::new(&["guest", "switch", "office"]);
        places.wire(("switch", "port"), ("guest", "wire"));
        places.wire(("switch", "uplink"), ("office", "lan"));
        places.address("switch", "uplink", "192.0.2.1/24");
        places.address("office", "lan", "192.0.2.2/24");
        places.address("office", "lan", "192.0.2.3/24");
        let folder = tempfile::tempdir().unwrap();
        for file in ["hostapd.conf", "radiusd.conf"] {
            place("foreign", folder.path(), file, &[]);
        }
        let made = rcgen::generate_simple_self_signed(["radius.example.org".to_owned()]).unwrap();
        std::fs::write(folder.path().join("server.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join("server.key"), made.signing_key.serialize_pem()).unwrap();

        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("tokens.json"), Value::from(records.to_vec()).to_string()).unwrap();
        let configuration = repository_file("tests/vectors/foreign/spotgate.toml").replace("@KEY@", KEY);
        let daemon = places.command("office", env!("CARGO_BIN_EXE_spotgate"));
        let spotgate = Spotgate::start_by(daemon, home.into(), &configuration);
        let mut command = places.command("office", "freeradius");
        command.args(["-X", "-d"]).arg(folder.path());
        let freeradius = Process::start("freeradius", command, folder.path());
        freeradius.until_said("Ready to process requests").await;
        let mut site =
            Self { spotgate, guest: None, machines: 0, switch: None, _freeradius: freeradius, folder, places };
        site.power_on().await;
        site
    }

    /// Starts the switch.
    pub async fn power_on(&mut self) {
        let mut command = self.places.command("switch", "hostapd");
        command.arg("-dd").arg(self.folder.path().join("hostapd.conf"));
        let switch = Process::start("hostapd", command, self.folder.path());
        switch.until_said("AP-ENABLED").await;
        self.switch = Some(switch);
    }

    /// Stops the switch as its operator does; what it said to its end.
    pub async fn shut_down(&mut self) -> Vec<Packet> {
        let mut switch = self.switch.take().unwrap();
        let status = Command::new("kill").arg(switch.child.id().to_string()).status().unwrap();
        assert!(status.success());
        until("the switch has ended", || switch.child.try_wait().unwrap().is_some()).await;
        packets(&switch.said())
    }

    /// Takes the power from the switch.
    pub fn cut_power(&mut self) {
        self.switch = None;
    }

    /// Connects a guest's machine in place of the last, which logs in with this code, and waits for the verdict. It has a new
    /// MAC each time: for five seconds hostapd does not listen to one that it has just disconnected.
    pub async fn plug_in(&mut self, code: &str) -> bool {
        self.guest = None;
        self.machines += 1;
        let mac = format!("02:00:00:00:00:{:02x}", 0x50 + self.machines);
        ip(&["-n", &self.places.name("guest"), "link", "set", "wire", "address", &mac]);
        place("foreign", self.folder.path(), "wpa_supplicant.conf", &[("@CODE@", code)]);
        let mut command = self.places.command("guest", "wpa_supplicant");
        command.args(["-d", "-D", "wired", "-i", "wire", "-c"]).arg(self.folder.path().join("wpa_supplicant.conf"));
        let guest = self.guest.insert(Process::start("wpa_supplicant", command, self.folder.path()));
        let (yes, no) = ("CTRL-EVENT-CONNECTED", "CTRL-EVENT-EAP-FAILURE");
        until("the guest knows", || [yes, no].iter().any(|said| guest.said().contains(said))).await;
        guest.said().contains(yes)
    }

    /// Tells the guest's machine something.
    pub fn guest(&self, order: &str) {
        let mut command = self.places.command("guest", "wpa_cli");
        command.arg("-p").arg(self.folder.path().join("wpa")).args(["-i", "wire", order]);
        let output = run(&mut command);
        assert!(printed(&output).contains("OK"), "{order}: {}", printed(&output));
    }

    /// Waits until the switch has nothing left of a guest that it disconnected.
    pub async fn until_the_guest_is_forgotten(&self) {
        self.switch.as_ref().unwrap().until_said(&format!("ap_free_sta: cancel ap_handle_timer for {GUEST}")).await;
    }

    /// Every RADIUS packet that the switch sent or received since it was started.
    pub fn packets(&self) -> Vec<Packet> {
        packets(&self.switch.as_ref().unwrap().said())
    }

    /// Those of one kind.
    pub fn packets_of(&self, kind: &str) -> Vec<Packet> {
        self.packets().into_iter().filter(|packet| packet.kind == kind).collect()
    }

    /// Accounting of one status, such as "2" for Stop.
    pub fn reports(&self, status: &str) -> Vec<Packet> {
        let reports = self.packets_of("Accounting-Request").into_iter();
        reports.filter(|packet| packet.has("Acct-Status-Type", status)).collect()
    }

    /// Asks spotgate over HTTP, from where it is.
    pub fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut command = self.places.command("office", "curl");
        command.args(["-s", "-m", "5", "-X", method, "-w", "\n%{http_code}"]);
        command.args(["-H", &format!("Authorization: Bearer {KEY}")]);
        if let Some(body) = body {
            command.args(["-d", &body.to_string()]);
        }
        let output = run(command.arg(format!("http://127.0.0.1:8080{path}")));
        let said = String::from_utf8_lossy(&output.stdout);
        let (answer, status) = said.rsplit_once('\n').unwrap_or_else(|| panic!("{path}: {}", printed(&output)));
        (status.parse().unwrap(), serde_json::from_str(answer).unwrap_or(Value::Null))
    }

    /// Who is online.
    pub fn sessions(&self) -> Vec<Value> {
        let (status, answer) = self.ask("GET", "/v1/sessions", None);
        assert_eq!(status, 200, "{answer}");
        answer["sessions"].as_array().unwrap().clone()
    }

    /// One session, also ended.
    pub fn session(&self, id: &str) -> Value {
        let (status, answer) = self.ask("GET", &format!("/v1/sessions/{id}"), None);
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// What `radclient`, run at this place, says to the answer.
    pub fn radclient(&self, place: &str, server: &str, kind: &str, attributes: &str) -> String {
        let file = self.folder.path().join("request.txt");
        std::fs::write(&file, attributes).unwrap();
        let mut command = self.places.command(place, "radclient");
        command.args(["-x", "-r", "1", "-t", "2", "-f"]).arg(file).args([server, kind, SWITCH_SECRET]);
        printed(&run(&mut command))
    }
}

/// A RADIUS packet as hostapd tells of it.
#[derive(Clone, Debug)]
pub struct Packet {
    pub kind: String,
    attributes: BTreeMap<String, String>,
}

impl Packet {
    /// An attribute's value in hostapd's words.
    pub fn get(&self, attribute: &str) -> &str {
        self.attributes.get(attribute).unwrap_or_else(|| panic!("{attribute} in {self:?}"))
    }

    pub fn number(&self, attribute: &str) -> u64 {
        self.get(attribute).parse().unwrap()
    }

    pub fn has(&self, attribute: &str, value: &str) -> bool {
        self.attributes.get(attribute).is_some_and(|given| given == value)
    }
}

/// The packets in hostapd's log: a line for the packet, then two for each attribute.
fn packets(log: &str) -> Vec<Packet> {
    let mut packets: Vec<Packet> = Vec::new();
    let mut attribute = None;
    for line in log.lines() {
        let in_brackets = || Some(line.split_once('(')?.1.split_once(')')?.0.to_owned());
        if line.starts_with("RADIUS message:") {
            packets.push(Packet { kind: in_brackets().unwrap_or_default(), attributes: BTreeMap::new() });
            attribute = None;
        } else if line.starts_with("   Attribute ") {
            attribute = in_brackets();
        } else if let Some(value) = line.strip_prefix("      Value: ")
            && let (Some(packet), Some(name)) = (packets.last_mut(), attribute.take())
        {
            packet.attributes.insert(name, value.trim_matches('\'').to_owned());
        }
    }
    packets
}
