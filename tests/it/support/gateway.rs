//! Debian's openNDS between a guest and the internet, in network namespaces of its own, with spotgate beside it. The guest's browser
//! is curl.

use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;

use super::places::Places;
use super::process::{Process, place, until};
use super::{KEY, Spotgate, printed, repository_file, run, tool};

/// The MAC of the guest's phone.
pub const PHONE: &str = "02:00:00:00:00:51";

/// What the guest wants to see.
pub const INTERNET: &str = "http://198.51.100.80/";

/// The key between openNDS and spotgate.
pub const ASKER: &str = "between-opennds-and-spotgate=";

/// The script that comes with spotgate, where openNDS has it.
pub const SCRIPT: &str = "/usr/lib/opennds/spotgate-binauth.sh";

/// The whole network; it ends with the value.
pub struct Site {
    /// None while it is down.
    pub spotgate: Option<Spotgate>,
    opennds: Process,
    _internet: Process,
    home: Arc<TempDir>,
    folder: TempDir,
    places: Places,
}

/// What came back to the guest.
#[derive(Debug)]
pub struct Shown {
    pub status: u16,
    /// Where it leads to, if it does.
    pub onward: String,
    pub text: String,
}

impl Site {
    /// Lays the wires and starts everything. spotgate's tokens are these records.
    pub async fn start(records: &[Value]) -> Self {
        for needed in ["ip", "curl", "iptables", "nft", "nsenter", "opennds", "pgrep", "wget"] {
            tool(needed);
        }
        let places = Places::new(&["guest", "gateway", "office", "internet"]);
        for (at, device, other, there, address, far) in [
            ("gateway", "lan", "guest", "wlan", "10.5.50.1/24", "10.5.50.9/24"),
            ("gateway", "uplink", "office", "lan", "192.0.2.1/24", "192.0.2.2/24"),
            ("gateway", "wan", "internet", "net", "198.51.100.1/24", "198.51.100.80/24"),
        ] {
            places.wire((at, device), (other, there));
            places.address(at, device, address);
            places.address(other, there, far);
            places.gateway(other, address.trim_end_matches("/24"));
        }
        super::places::ip(&["-n", &places.name("guest"), "link", "set", "wlan", "address", PHONE]);

        let folder = tempfile::tempdir().unwrap();
        for file in ["gateway.sh", "opennds.conf", "dhcp.leases"] {
            place("opennds", folder.path(), file, &[]);
        }
        let script = repository_file("tests/vectors/opennds/gateway.sh");
        let mended = script.lines().find(|line| line.starts_with("sed ")).unwrap();
        assert!(repository_file("docs/systems.md").contains(mended), "what it takes is not what is described");
        let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text).unwrap();
        write("spotgate-binauth.sh", &repository_file("docs/opennds/spotgate-binauth.sh"));
        write("settings", &format!("SPOTGATE_URL=http://192.0.2.2:8080\nSPOTGATE_KEY={ASKER}\n"));
        write("index.html", "the internet");

        let mut command = places.command("internet", "/usr/bin/python3");
        command.args(["-u", "-m", "http.server", "80", "--directory"]).arg(folder.path());
        let internet = Process::start("internet", command, folder.path());
        internet.until_said("Serving HTTP").await;
        let home = Arc::new(tempfile::tempdir().unwrap());
        let mut command = places.command("gateway", "unshare");
        // What it starts ends with it.
        command.args(["--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh"]);
        command.args([folder.path().join("gateway.sh"), folder.path().to_owned()]);
        let opennds = Process::start("opennds", command, folder.path());
        let mut site = Self { spotgate: None, opennds, _internet: internet, home, folder, places };
        site.issue(records);
        site.start_spotgate();
        until("openNDS asks for a login", || site.open(INTERNET).onward.contains("/login?fas=")).await;
        site
    }

    /// Has spotgate's tokens be these.
    pub fn issue(&self, records: &[Value]) {
        std::fs::write(self.home.path().join("tokens.json"), Value::from(records.to_vec()).to_string()).unwrap();
    }

    /// Starts spotgate, where it was before if it was.
    pub fn start_spotgate(&mut self) {
        let configuration =
            repository_file("tests/vectors/opennds/spotgate.toml").replace("@KEY@", KEY).replace("@ASKER@", ASKER);
        let daemon = self.places.command("office", env!("CARGO_BIN_EXE_spotgate"));
        self.spotgate = Some(Spotgate::start_by(daemon, Arc::clone(&self.home), &configuration));
    }

    /// The guest opens an address, and follows nothing.
    pub fn open(&self, address: &str) -> Shown {
        self.curl(&[address])
    }

    /// The guest opens an address, and gets to where it leads.
    pub fn follow(&self, address: &str) -> Shown {
        let mut shown = self.open(address);
        for _ in 0..5 {
            if shown.onward.is_empty() {
                return shown;
            }
            shown = self.open(&shown.onward);
        }
        panic!("it leads nowhere: {shown:?}")
    }

    /// The guest sends the first form of a page of spotgate's, with more filled in, and follows nothing.
    pub fn send(&self, page: &Shown, action: &str, filled_in: &[(&str, &str)]) -> Shown {
        let form = page.text.split_once("<form method=\"post\"").unwrap_or_else(|| panic!("no form: {page:?}")).1;
        let form = form.split_once("</form>").unwrap().0;
        let value = |of: &str, name: &str| {
            let value = of.split_once(&format!("{name}=\"")).unwrap().1.split_once('"').unwrap().0;
            value.replace("&#x2f;", "/").replace("&amp;", "&")
        };
        let hidden = form.split("<input type=\"hidden\" ").skip(1);
        let mut fields: Vec<String> =
            hidden.map(|input| format!("{}={}", value(input, "name"), value(input, "value"))).collect();
        fields.extend(filled_in.iter().map(|(name, value)| format!("{name}={value}")));
        let mut arguments: Vec<&str> = fields.iter().flat_map(|field| ["--data-urlencode", field]).collect();
        let address = format!("http://192.0.2.2:8080/{action}");
        arguments.push(&address);
        self.curl(&arguments)
    }

    /// The guest is led to the page of spotgate and types a code; what comes back, which is not followed.
    pub fn types(&self, code: &str) -> Shown {
        let page = self.follow(INTERNET);
        assert!(page.text.contains("Access code"), "{page:?}");
        self.send(&page, "login", &[("code", code)])
    }

    /// Whether the guest gets to the internet.
    pub fn is_online(&self) -> bool {
        self.open(INTERNET).text.contains("the internet")
    }

    fn curl(&self, arguments: &[&str]) -> Shown {
        let jar = self.folder.path().join("cookies");
        let mut command = self.places.command("guest", "curl");
        command.args(["-s", "-m", "15", "-w", "\n%{http_code} %{redirect_url}", "-b"]).arg(&jar).arg("-c").arg(&jar);
        let output = run(command.args(arguments));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let (text, end) = said.rsplit_once('\n').unwrap();
        let (status, onward) = end.split_once(' ').unwrap();
        Shown { status: status.parse().unwrap(), onward: onward.to_owned(), text: text.to_owned() }
    }

    /// A program at the gateway, where it finds what openNDS finds.
    pub fn at_gateway(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.opennds(), "-m", "-n", "-p", program]);
        command
    }

    fn opennds(&self) -> String {
        let found = run(Command::new("pgrep").args(["-P", &self.opennds.child.id().to_string()]));
        printed(&found).trim().to_owned()
    }

    /// What the script prints when openNDS, by this shell, runs it.
    pub fn script(&self, shell: &[&str], arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = self.at_gateway("env");
        let output = run(command.args(shell).arg(SCRIPT).args(arguments));
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Writes the script's settings, `/etc/opennds/spotgate`.
    pub fn set_up(&self, settings: &[u8]) {
        std::fs::write(self.folder.path().join("settings"), settings).unwrap();
        let copied = ["-m", "600", "/run/site/settings", "/etc/opennds/spotgate"];
        let output = run(self.at_gateway("install").args(copied));
        assert!(output.status.success(), "{output:?}");
    }

    /// Puts a program where the gateway finds it as `/run/site/programs/NAME`.
    pub fn place_program(&self, name: &str, text: &str) {
        let programs = self.folder.path().join("programs");
        std::fs::create_dir_all(&programs).unwrap();
        std::fs::write(programs.join(name), format!("#!/bin/sh\n{text}")).unwrap();
        std::fs::set_permissions(programs.join(name), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// What a program has left at the gateway as `/run/site/FILE`, if it has.
    pub fn left(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(file)).unwrap_or_default()
    }

    /// Starts a program that the test goes on beside.
    pub fn process(&self, name: &'static str, command: Command) -> Process {
        Process::start(name, command, self.folder.path())
    }

    /// What openNDS knows of the guest.
    pub fn known(&self) -> Value {
        let output = run(self.at_gateway("ndsctl").arg("json"));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let all: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        all["clients"][PHONE].clone()
    }

    /// Has openNDS do nothing that needs its lock, as while somebody uses `ndsctl`, until the value goes.
    pub async fn locked(&self) -> Process {
        // The very child, which ends when it is killed: `nsenter` does not become what it has join a process namespace.
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.opennds(), "-m", "/usr/bin/python3"]);
        let program = "import fcntl, signal\n\
                       lock = open('/tmp/ndsctl.lock', 'w')\n\
                       fcntl.lockf(lock, fcntl.LOCK_EX)\n\
                       print('held', flush=True)\n\
                       signal.pause()\n";
        command.args(["-c", program]);
        let lock = Process::start("lock", command, self.folder.path());
        lock.until_said("held").await;
        lock
    }

    /// Ends openNDS as its operator does.
    pub async fn shut_down(&mut self) {
        let status = Command::new("kill").arg(self.opennds()).status().unwrap();
        assert!(status.success());
        until("openNDS has ended", || self.opennds.child.try_wait().unwrap().is_some()).await;
    }

    /// What openNDS, and what it runs, has said so far.
    pub fn said(&self) -> String {
        self.opennds.said()
    }

    /// Asks spotgate, from where it is.
    pub fn ask(&self, path: &str) -> Value {
        self.places.ask("office", path)
    }

    /// Who is online, by spotgate.
    pub fn sessions(&self) -> Vec<Value> {
        self.ask("/v1/sessions")["sessions"].as_array().unwrap().clone()
    }
}
