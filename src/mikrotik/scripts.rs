//! Scripts by which a router asks over HTTP (facts/hotspot.md §6), for RouterOS 7.17 or newer: devices that are known by their MAC go
//! around the login page from their DHCP lease on, and a hotspot without RADIUS asks when a guest logs in. RADIUS is the main path; these
//! are for where it is not.
//!
//! What holds for each: an answer counts only if it says `allow` or `deny` itself; if none comes, everything stays as it is, but for
//! what was granted and is over. Nothing hangs on the router's clock, which jumps when it boots: time counts at spotgate, from the
//! admission (`accounting = false`), the router looks around so many seconds after its start, and a name of a session is used once.

use reqwest::Url;
use secrecy::ExposeSecret as _;

use super::Error;
use super::script::{Object, Script, quoted, text, word};
use super::setup::Setup;
use crate::config::{ApiKey, Nas, Scope, Settings};

/// How the comments of ip-bindings that are ours begin; after commas come the session's name, and the seconds that it may still last.
const MARK: &str = "spotgate-lease";

/// How often the router looks after its ip-bindings, and after devices that have a lease and none.
const EVERY: (&str, u32) = ("1m", 60);
const AGAIN: &str = "10m";

/// How the comments of schedulers begin that stand for a guest each. They are named as his session and never run; after commas come
/// his device, and the seconds that he may stay. They outlive a restart, as guests do not: so his end is reported then, too.
const GUEST: &str = "spotgate-guest";

/// How often the router looks after its guests: by so much at most a session ends before its time.
const LOOK: &str = "10s";

/// How long the router waits for an answer, in all, and for its next part.
const WAIT: &str = "idle-timeout=3s duration=5s";

/// Where a router asks, and as whom.
#[derive(Clone, Debug, Default)]
pub struct CallOut {
    /// Where spotgate is, as the router reaches it by HTTP; else `portal.public_url`.
    pub url: Option<Url>,
    /// The name of the API key; else the first that may do both.
    pub key: Option<String>,
}

/// The commands that put the scripts on the router.
///
/// # Errors
///
/// It would have nobody to ask, or nothing to ask with.
pub fn scripts(settings: &Settings, nas: &Nas, call_out: &CallOut) -> Result<Setup, Error> {
    let public = || settings.portal.public_url.as_deref().and_then(|url| Url::parse(url).ok());
    let url = call_out.url.clone().or_else(public).ok_or(Error::NoUrl)?;
    if nas.rules.accounting || nas.rules.can_disconnect {
        return Err(Error::NotForScripts);
    }
    if url.query().or(url.fragment()).is_some() {
        return Err(Error::NoPlainUrl(url.to_string()));
    }
    let key = key(settings, call_out)?;
    if key.key.expose_secret().contains(',') {
        return Err(Error::NoPlainKey(key.name.clone()));
    }
    let inner = Inner { url: &url, key, nas };
    let mut script = Script::default();
    for (why, name, value) in [
        (
            "The DHCP server of the guests. Empty: devices that are known by their MAC do not go around the login page.",
            "sgDhcp",
            "",
        ),
        (
            "The hotspot user profile of guests who log in without RADIUS. Empty: nothing is asked at their login.",
            "sgProfile",
            "",
        ),
    ] {
        script.variable(why, name, value);
    }
    script.statement(
        "Stop where another lease-script would be lost.",
        ":foreach sgServer in=[/ip dhcp-server find where name=$sgDhcp] do={\n    \
             :local sgFormer [:tostr [/ip dhcp-server get $sgServer lease-script]]\n    \
             :if ([:len $sgFormer] > 0 and [:typeof [:find $sgFormer \"spotgate\"]] = \"nil\") do={\n        \
                 :error \"spotgate: this DHCP server has a lease-script already; join the two by hand\"\n    \
             }\n\
         }",
    );
    script.statement(
        "Ask about a device when it gets its lease, and end what it has when it loses it.",
        &format!("/ip dhcp-server set [find where name=$sgDhcp] lease-script={}", quoted(&inner.lease())),
    );
    for (name, why, source, every) in [
        (
            "spotgate-leases",
            "Look after the devices that go around the login page: ask again, and end what is over.",
            inner.leases(),
            EVERY.0,
        ),
        (
            "spotgate-again",
            "Ask about devices that have a lease and were not let in, now and then.",
            inner.again(),
            AGAIN,
        ),
        (
            "spotgate-guests",
            "Look after guests who logged in without RADIUS: put out whose time is over, and report who is gone.",
            inner.guests(),
            LOOK,
        ),
    ] {
        scheduled(&mut script, name, why, &source, every);
    }
    script.statement(
        "Ask when a guest logs in without RADIUS, and report at once when one is gone.",
        &format!(
            "/ip hotspot user profile set [find where name=$sgProfile] on-login={} on-logout={}",
            quoted(&inner.on_login()),
            quoted(&inner.on_logout())
        ),
    );
    let mut notes = vec![
        "These scripts need RouterOS 7.17 or newer, and hold the key in clear: anybody who may read the configuration of the router has it."
            .to_owned(),
    ];
    if url.scheme() != "https" {
        notes.push(format!("{url} is not encrypted: anybody on the way can read the key and the codes."));
    }
    Ok(Setup { script: script.finished(&head(nas)), notes })
}

/// A script that is run by itself.
fn scheduled(script: &mut Script, name: &'static str, why: &str, source: &str, every: &'static str) {
    let (of_ours, policy) = (text("comment", "spotgate"), word("policy", "read,write,test"));
    let properties = [of_ours.clone(), policy.clone(), word("dont-require-permissions", "no"), text("source", source)];
    let known_by = [text("name", name)];
    script.ensure(why, &Object { menu: "/system script", known_by: &known_by, at_first: &[], properties: &properties });
    let event = text("on-event", &format!("/system script run {name}"));
    // Else it would begin by the clock of the day on which it was made, and wait for that day after a restart without the time.
    let properties = [of_ours, word("start-time", "startup"), word("interval", every), policy, event];
    script.ensure(
        "Do so by itself.",
        &Object { menu: "/system scheduler", known_by: &known_by, at_first: &[], properties: &properties },
    );
}

fn head(nas: &Nas) -> Script {
    let mut head = Script::default();
    head.remark(&format!("spotgate: lets the router {} ask over HTTP (RouterOS 7.17 or newer).", nas.name().as_str()));
    head.remark(
        "It holds an API key in clear: show it to nobody, and remove the file from the router when it has run.",
    );
    head.remark("Set the two values below, upload the file, then: /import file-name=NAME.rsc");
    head.remark("It may be run again: nothing is made twice.");
    head
}

/// The key to ask with: it may ask and report.
fn key<'s>(settings: &'s Settings, call_out: &CallOut) -> Result<&'s ApiKey, Error> {
    let may = |key: &&ApiKey| [Scope::Authorize, Scope::Accounting].iter().all(|scope| key.scopes.contains(scope));
    let mut keys = settings.http.api_keys.iter();
    match &call_out.key {
        Some(name) => keys.find(|key| key.name == *name).filter(may).ok_or_else(|| Error::NoKey(name.clone())),
        // No more than is needed: whoever reads the router's configuration has it.
        None => keys.filter(may).min_by_key(|key| key.scopes.len()).ok_or(Error::NoKeyAtAll),
    }
}

/// What the scripts have in common.
struct Inner<'a> {
    url: &'a Url,
    key: &'a ApiKey,
    nas: &'a Nas,
}

impl Inner<'_> {
    /// Posts `body`, an array of RouterOS; `then` sees the answer as `$sgSaid`.
    fn post(&self, path: &str, body: &str, then: &str) -> String {
        let url = quoted(&format!("{}{path}", self.url.as_str().trim_end_matches('/')));
        let header =
            quoted(&format!("Content-Type: application/json,Authorization: Bearer {}", self.key.key.expose_secret()));
        let check = if self.url.scheme() == "https" { "yes" } else { "no" };
        format!(
            ":local sgBody [:serialize to=json options=json.no-string-conversion value={{{body}}}]\n\
             :local sgSaid [/tool fetch url={url} http-method=post check-certificate={check} http-header-field={header} \
             http-data=$sgBody {WAIT} output=user as-value]\n{then}"
        )
    }

    fn nas(&self) -> String {
        quoted(self.nas.name().as_str())
    }

    /// Asks whether `$sgMac` may go online as session `$sgName`; `allow` sees `$sgSeconds`.
    fn ask(&self, who: &str, allow: &str, deny: &str) -> String {
        let body = format!("\"nas\"={};\"mac\"=$sgMac;\"ip\"=$sgIp;\"session_id\"=$sgName{who}", self.nas());
        let then = format!(
            ":local sgAnswer [:deserialize from=json options=json.no-string-conversion value=($sgSaid->\"data\")]\n\
             :if (($sgAnswer->\"decision\") = \"allow\") do={{\n:local sgSeconds [:tonum ($sgAnswer->\"session_timeout\")]\n{allow}}}\n\
             :if (($sgAnswer->\"decision\") = \"deny\") do={{\n{deny}}}\n"
        );
        self.post("/v1/authorize", &body, &then)
    }

    /// Removes what stands for session `$sgName` of `$sgMac`, and reports its end: once, since what is gone cannot be removed again. How
    /// long it lasted is known to spotgate.
    fn end(&self, remove: &str, more: &str) -> String {
        let body = format!("\"nas\"={};\"event\"=\"stop\";\"mac\"=$sgMac;\"session_id\"=$sgName{more}", self.nas());
        caught(&format!("{remove}\n{}", self.post("/v1/accounting", &body, "")))
    }

    /// Asks for `$sgMac` at `$sgIp`, which has no ip-binding, and makes one.
    fn begin(&self) -> String {
        let bind = format!(
            "/ip hotspot ip-binding add mac-address=$sgMac type=bypassed comment=(\"{MARK},\" . $sgName . \",\" . $sgSeconds)\n"
        );
        let ask = caught(&self.ask("", &bind, ""));
        format!(":local sgName (\"lease-\" . $sgMac . \"-\" . [:tonum [:timestamp]])\n{ask}")
    }

    /// Of the DHCP server: `leaseBound`, `leaseActMAC` and `leaseActIP` are given.
    fn lease(&self) -> String {
        let (begin, end) = (self.begin(), self.end(UNBIND, ""));
        format!(
            "# spotgate\n\
             :local sgMac [:tostr $leaseActMAC]\n:local sgIp [:tostr $leaseActIP]\n\
             :if ($leaseBound = 1 and [:len [/ip hotspot ip-binding find where mac-address=$sgMac]] = 0) do={{\n{begin}}}\n\
             :if ($leaseBound = 0) do={{\n\
             :foreach sgBinding in=[/ip hotspot ip-binding find where mac-address=$sgMac and comment~\"^{MARK},\"] do={{\n{READ}\
             {end}}}\n}}\n"
        )
    }

    /// Of the scheduler: each ip-binding of ours.
    fn leases(&self) -> String {
        let ask = caught(&self.ask("", ":set sgLeft $sgSeconds\n", ":set sgLeft 0\n"));
        let (every, end) = (EVERY.1, self.end(UNBIND, ""));
        format!(
            "# spotgate\n\
             :foreach sgBinding in=[/ip hotspot ip-binding find where comment~\"^{MARK},\"] do={{\n{READ}\
             :local sgLeft ([:tonum ($sgWords->2)] - {every})\n\
             :local sgMac [:tostr [/ip hotspot ip-binding get $sgBinding mac-address]]\n\
             :local sgIp \"\"\n\
             :foreach sgLease in=[/ip dhcp-server lease find where active-mac-address=$sgMac and status=bound] do={{\n\
             :set sgIp [:tostr [/ip dhcp-server lease get $sgLease active-address]]\n}}\n\
             :if ([:len $sgIp] > 0) do={{\n{ask}}}\n\
             :if ([:len $sgIp] = 0 or $sgLeft <= 0) do={{\n{end}}} else={{\n\
             /ip hotspot ip-binding set $sgBinding comment=(\"{MARK},\" . $sgName . \",\" . $sgLeft)\n}}\n}}\n"
        )
    }

    /// Of the other scheduler: devices that could not be asked about when they got their lease, or may only now.
    fn again(&self) -> String {
        let begin = self.begin();
        format!(
            "# spotgate\n\
             :foreach sgServer in=[/ip dhcp-server find where lease-script~\"^# spotgate\"] do={{\n\
             :local sgDhcp [/ip dhcp-server get $sgServer name]\n\
             :foreach sgLease in=[/ip dhcp-server lease find where server=$sgDhcp and status=bound] do={{\n\
             :local sgMac [:tostr [/ip dhcp-server lease get $sgLease active-mac-address]]\n\
             :local sgIp [:tostr [/ip dhcp-server lease get $sgLease active-address]]\n\
             :if ([:len [/ip hotspot ip-binding find where mac-address=$sgMac]] = 0 and \
             [:len [/ip hotspot active find where mac-address=$sgMac]] = 0) do={{\n{begin}}}\n}}\n}}\n"
        )
    }

    /// Of the user profile: `user`, `address`, `mac-address` are given. It runs after the login, which it can only undo. Who is let in
    /// has left his former session at spotgate; who is denied leaves it to `guests`, as who is gone before the answer has come.
    fn on_login(&self) -> String {
        let found = guests_of_device();
        let allow = format!(
            "/system scheduler remove {found}\n\
             /system scheduler add name=$sgName disabled=yes comment=(\"{GUEST},\" . $sgMac . \",\" . $sgSeconds)\n"
        );
        let deny = "/ip hotspot active remove [find where mac-address=$sgMac]\n";
        let ask = caught(&self.ask(";\"access_code\"=$sgUser", &allow, deny));
        format!(
            "# spotgate\n\
             :local sgMac [:tostr $\"mac-address\"]\n:local sgIp [:tostr $address]\n:local sgUser [:tostr $user]\n\
             :local sgName (\"hotspot-\" . $sgMac . \"-\" . [:tonum [:timestamp]])\n{ask}"
        )
    }

    /// The same; `bytes-in` and `bytes-out` too. It does not say which login is over: while the device is online, none is. Of who was
    /// not let in, or is reported already, nothing is found.
    fn on_logout(&self) -> String {
        let found = guests_of_device();
        let end = self.end(
            "/system scheduler remove $sgGuest",
            ";\"input_octets\"=[:tonum $\"bytes-in\"];\"output_octets\"=[:tonum $\"bytes-out\"]",
        );
        format!(
            "# spotgate\n\
             :local sgMac [:tostr $\"mac-address\"]\n\
             :if ([:len [/ip hotspot active find where mac-address=$sgMac]] = 0) do={{\n\
             :foreach sgGuest in={found} do={{\n\
             :local sgName [/system scheduler get $sgGuest name]\n{end}}}\n}}\n"
        )
    }

    /// Of the scheduler: each guest of ours. The router measures itself how long he is online. Whose time is over goes first: a
    /// report may have to wait.
    fn guests(&self) -> String {
        let each = format!(
            ":foreach sgGuest in=[/system scheduler find where comment~\"^{GUEST},\"] do={{\n\
             :local sgWords [:toarray [/system scheduler get $sgGuest comment]]\n\
             :local sgMac [:tostr ($sgWords->1)]\n"
        );
        let end = self.end("/system scheduler remove $sgGuest", "");
        format!(
            "# spotgate\n\
             {each}:foreach sgActive in=[/ip hotspot active find where mac-address=$sgMac] do={{\n\
             :if ([/ip hotspot active get $sgActive uptime] > ([:totime [:tonum ($sgWords->2)]] - {LOOK})) do={{\n\
             /ip hotspot active remove $sgActive\n}}\n}}\n}}\n\
             {each}:local sgName [/system scheduler get $sgGuest name]\n\
             :if ([:len [/ip hotspot active find where mac-address=$sgMac]] = 0) do={{\n{end}}}\n}}\n"
        )
    }
}

/// Finds what stands for the guest with device `$sgMac`.
fn guests_of_device() -> String {
    format!("[/system scheduler find where comment~(\"^{GUEST},\" . $sgMac . \",\")]")
}

/// What fails is said, and does no harm.
fn caught(statements: &str) -> String {
    format!(":onerror sgError in={{\n{statements}}} do={{\n:log warning (\"spotgate: \" . $sgError)\n}}\n")
}

/// What an ip-binding's comment says.
const READ: &str = ":local sgWords [:toarray [/ip hotspot ip-binding get $sgBinding comment]]\n\
                    :local sgName [:tostr ($sgWords->1)]\n";

const UNBIND: &str = "/ip hotspot ip-binding remove $sgBinding";

#[cfg(test)]
mod router;
#[cfg(test)]
mod tests;
