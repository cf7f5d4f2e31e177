//! A router as far as these scripts see one, by MikroTik's documentation: their text is run, on its tables, in the order that a test
//! makes things happen. No RouterOS was there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use run::{Run, Value};

mod run;

type Row = BTreeMap<String, String>;

/// A session as spotgate has it.
#[derive(Debug)]
struct Session {
    name: String,
    mac: String,
    began: i64,
    seconds: i64,
    open: bool,
}

#[derive(Default)]
pub(super) struct Router {
    tables: BTreeMap<String, BTreeMap<u32, Row>>,
    made: u32,
    /// Seconds, whatever its clock says.
    now: i64,
    started: i64,
    clock: i64,
    /// Whether what a script causes runs after it, and not at once.
    pub(super) later: bool,
    caused: Vec<(String, Row)>,
    /// spotgate: whether it answers, whom it denies, how long it lets in.
    pub(super) away: bool,
    pub(super) denied: BTreeSet<&'static str>,
    pub(super) seconds: i64,
    /// What happens while it is asked.
    pub(super) meanwhile: Option<fn(&mut Self)>,
    sessions: Vec<Session>,
}

const ACTIVE: &str = "/ip hotspot active";
const PROFILE: &str = "/ip hotspot user profile";
const BINDING: &str = "/ip hotspot ip-binding";
const DHCP: &str = "/ip dhcp-server";
const LEASE: &str = "/ip dhcp-server lease";

fn row<const N: usize>(fields: [(&str, &str); N]) -> Row {
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

impl Router {
    /// One on which the script has been run.
    pub(super) fn with(script: &str, later: bool) -> Self {
        let mut router = Self { later, seconds: 600, clock: 1_790_000_000, ..Self::default() };
        router.add(PROFILE, row([("name", "guests")]));
        router.add(DHCP, row([("name", "guests"), ("lease-script", "")]));
        let script = ["sgProfile", "sgDhcp"].iter().fold(script.to_owned(), |script, name| {
            script.replace(&format!("{name} \"\""), &format!("{name} \"guests\""))
        });
        // It may be run again.
        for _ in 0..2 {
            router.run(&script, Row::new());
        }
        router
    }

    fn add(&mut self, menu: &str, row: Row) {
        self.made += 1;
        self.tables.entry(menu.to_owned()).or_default().insert(self.made, row);
    }

    fn hook(&self, menu: &str, name: &str) -> String {
        self.tables[menu].values().next().unwrap()[name].clone()
    }

    /// A device gets its address.
    pub(super) fn lease(&mut self, mac: &str, ip: &str) {
        self.add(
            LEASE,
            row([("active-mac-address", mac), ("active-address", ip), ("status", "bound"), ("server", "guests")]),
        );
        self.run(
            &self.hook(DHCP, "lease-script"),
            row([("leaseBound", "1"), ("leaseActMAC", mac), ("leaseActIP", ip)]),
        );
    }

    pub(super) fn log_in(&mut self, user: &str, mac: &str, ip: &str) {
        let given = row([("user", user), ("mac-address", mac), ("address", ip), ("since", &self.now.to_string())]);
        self.add(ACTIVE, given.clone());
        self.run(&self.hook(PROFILE, "on-login"), given);
    }

    /// The guest at this address logs out.
    pub(super) fn log_out(&mut self, ip: &str) {
        let at = |(id, row): (&u32, &Row)| (row["address"] == ip).then_some(*id);
        let id = self.tables[ACTIVE].iter().find_map(at).unwrap();
        self.gone(id);
        self.settle();
    }

    fn gone(&mut self, id: u32) {
        let mut row = self.tables.get_mut(ACTIVE).unwrap().remove(&id).unwrap();
        row.insert("uptime-secs".to_owned(), (self.now - row["since"].parse::<i64>().unwrap()).to_string());
        row.extend(["bytes-in", "bytes-out"].map(|name| (name.to_owned(), "7".to_owned())));
        self.caused.push((self.hook(PROFILE, "on-logout"), row));
        if !self.later {
            self.settle();
        }
    }

    fn settle(&mut self) {
        while let Some((script, given)) = self.caused.pop() {
            self.run(&script, given);
        }
    }

    /// It is switched off and on; its clock begins a year ago.
    pub(super) fn restart(&mut self) {
        self.tables.remove(ACTIVE);
        self.started = self.now;
        self.clock -= 31_536_000;
    }

    /// Time passes. Nobody is online for longer than spotgate has said.
    pub(super) fn pass(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.now += 1;
            let due = |row: &&Row| {
                let every = row.get("interval").map_or(0, |interval| Value::Text(interval.clone()).number());
                let passed = match row.get("start-time").map(String::as_str) {
                    Some("startup") => self.now - self.started,
                    _ => self.now + self.clock - row["since"].parse::<i64>().unwrap(),
                };
                row.get("disabled").is_none_or(|disabled| disabled == "no")
                    && every > 0
                    && passed > 0
                    && passed % every == 0
            };
            let rows = self.tables["/system scheduler"].values();
            let events: Vec<String> = rows.filter(due).map(|row| row["on-event"].clone()).collect();
            for event in events {
                self.run(&event, Row::new());
            }
            for session in self.sessions.iter().filter(|session| session.open && self.is_online(&session.mac)) {
                assert!(self.now - session.began <= session.seconds, "at {}: {session:?}", self.now);
            }
        }
    }

    pub(super) fn is_online(&self, mac: &str) -> bool {
        let rows = [ACTIVE, BINDING].into_iter().filter_map(|menu| self.tables.get(menu)).flat_map(BTreeMap::values);
        rows.into_iter().any(|row| row["mac-address"] == mac)
    }

    /// How many sessions are open at spotgate.
    pub(super) fn open(&self) -> usize {
        self.sessions.iter().filter(|session| session.open).count()
    }

    /// How many schedulers there are.
    pub(super) fn schedulers(&self) -> usize {
        self.tables["/system scheduler"].len()
    }

    /// What spotgate answers. Each report is of a session that it has, and that is over.
    fn spotgate(&mut self, url: &str, body: &Map<String, Json>) -> Result<Json, String> {
        if let Some(meanwhile) = self.meanwhile.take() {
            meanwhile(self);
        }
        if self.away {
            return Err("no answer".to_owned());
        }
        let text = |name: &str| body.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
        let (name, mac, now) = (text("session_id"), text("mac"), self.now);
        if url.ends_with("/v1/accounting") {
            let named = |session: &&mut Session| session.open && session.name == name && session.mac == mac;
            let session = self.sessions.iter_mut().find(named).unwrap_or_else(|| panic!("no such session: {body:?}"));
            session.open = false;
            assert!(body.get("session_seconds").is_none_or(|said| *said == json!(now - session.began)), "{body:?}");
            assert!(!self.is_online(&mac), "who is online has not ended: {body:?}");
            return Ok(json!({}));
        }
        if self.denied.contains(text("access_code").as_str()) {
            return Ok(json!({"decision": "deny", "session_timeout": null}));
        }
        assert!(self.sessions.iter().all(|session| session.name != name), "named twice: {name}");
        // A device that logs in again takes its session over.
        for session in self.sessions.iter_mut().filter(|session| session.mac == mac) {
            session.open = false;
        }
        self.sessions.push(Session { name, mac, began: now, seconds: self.seconds, open: true });
        Ok(json!({"decision": "allow", "session_timeout": self.seconds}))
    }

    fn run(&mut self, script: &str, given: Row) {
        Run::new(self, given).block(script).unwrap_or_else(|error| panic!("{error} in {script}"));
        self.settle();
    }
}
