//! Scripts by which a router asks over HTTP (facts/hotspot.md §6), for RouterOS 7.17 or newer: devices that are known by their MAC go
//! around the login page from their DHCP lease on, and a hotspot without RADIUS asks when a guest logs in. RADIUS is the main path; these
//! are for where it is not.
//!
//! What holds for each: an answer counts only if it says `allow` or `deny` itself; if none comes, everything stays as it is, but for
//! what was granted and is over.

use reqwest::Url;
use secrecy::ExposeSecret as _;

use super::Error;
use super::script::{Object, Script, quoted, text, word};
use super::setup::Setup;
use crate::config::{ApiKey, Nas, Scope, Settings};

/// How the comments of ip-bindings that are ours begin; after commas come the session's name, when it began and until when it may
/// last, in seconds since 1970.
const MARK: &str = "spotgate-lease";

/// How often the router looks after its ip-bindings.
const EVERY: &str = "1m";

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
    let key = key(settings, call_out)?;
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
    script.ensure(
        "Look after the devices that go around the login page: report them, ask again, and end what is over.",
        &Object {
            menu: "/system script",
            known_by: &[text("name", "spotgate-leases")],
            at_first: &[],
            properties: &[
                text("comment", "spotgate"),
                word("policy", "read,write,test"),
                word("dont-require-permissions", "no"),
                text("source", &inner.leases()),
            ],
        },
    );
    script.ensure(
        "Do so once a minute.",
        &Object {
            menu: "/system scheduler",
            known_by: &[text("name", "spotgate-leases")],
            at_first: &[],
            properties: &[
                text("comment", "spotgate"),
                word("interval", EVERY),
                word("policy", "read,write,test"),
                text("on-event", "/system script run spotgate-leases"),
            ],
        },
    );
    script.statement(
        "Ask when a guest logs in without RADIUS, and report when one is gone.",
        &format!(
            "/ip hotspot user profile set [find where name=$sgProfile] on-login={} on-logout={}",
            quoted(&inner.on_login()),
            quoted(&inner.on_logout())
        ),
    );
    let mut notes = vec![
        "These scripts need RouterOS 7.17 or newer, and hold the key in clear: anybody who may read the configuration of the router has it."
            .to_owned(),
        "Give them a [[nas]] of their own with disconnect_port = 0: a device that goes around the login page cannot be disconnected, and is \
         gone a minute after it may no longer stay."
            .to_owned(),
    ];
    if url.scheme() != "https" {
        notes.push(format!("{url} is not encrypted: anybody on the way can read the key and the codes."));
    }
    if nas.rules.can_disconnect {
        notes.push(format!("{} can be told to disconnect; the sessions of these scripts cannot.", nas.name()));
    }
    if !nas.rules.accounting {
        notes.push(format!("{} has accounting = false; these scripts report sessions.", nas.name()));
    }
    Ok(Setup { script: script.finished(&head(nas)), notes })
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

    /// Reports `event` of session `$sgName` of `$sgMac`.
    fn report(&self, event: &str, more: &str) -> String {
        let body = format!("\"nas\"={};\"event\"=\"{event}\";\"mac\"=$sgMac;\"session_id\"=$sgName{more}", self.nas());
        self.post("/v1/accounting", &body, "")
    }

    /// Of the DHCP server: `leaseBound`, `leaseActMAC` and `leaseActIP` are given.
    fn lease(&self) -> String {
        let begin = format!(
            "/ip hotspot ip-binding add mac-address=$sgMac type=bypassed comment=(\"{MARK},\" . $sgName . \",\" . $sgNow . \",\" . \
             ($sgNow + $sgSeconds))\n{}",
            self.report("start", "")
        );
        let ask = self.ask("", &begin, "");
        let end = self.report("stop", ";\"session_seconds\"=($sgNow - $sgSince)");
        format!(
            "# spotgate\n\
             :local sgMac [:tostr $leaseActMAC]\n:local sgIp [:tostr $leaseActIP]\n:local sgNow [:tonum [:timestamp]]\n\
             :local sgOurs [/ip hotspot ip-binding find where mac-address=$sgMac and comment~\"^{MARK},\"]\n\
             :if ($leaseBound = 1 and [:len $sgOurs] = 0 and [:len [/ip hotspot ip-binding find where mac-address=$sgMac]] = 0) do={{\n\
             :local sgName (\"lease-\" . $sgMac . \"-\" . $sgNow)\n\
             :onerror sgError in={{\n{ask}}} do={{\n:log warning (\"spotgate: \" . $sgError)\n}}\n}}\n\
             :if ($leaseBound = 0) do={{\n:foreach sgBinding in=$sgOurs do={{\n{READ}\
             /ip hotspot ip-binding remove $sgBinding\n\
             :onerror sgError in={{\n{end}}} do={{\n:log warning (\"spotgate: \" . $sgError)\n}}\n}}\n}}\n"
        )
    }

    /// Of the scheduler.
    fn leases(&self) -> String {
        let interim = self.report("interim", ";\"session_seconds\"=($sgNow - $sgSince)");
        let stop = self.report("stop", ";\"session_seconds\"=($sgNow - $sgSince)");
        let longer = format!(
            "/ip hotspot ip-binding set $sgBinding comment=(\"{MARK},\" . $sgName . \",\" . $sgSince . \",\" . ($sgNow + $sgSeconds))\n\
             :set sgUntil ($sgNow + $sgSeconds)\n"
        );
        let ask = self.ask("", &longer, ":set sgUntil 0\n");
        format!(
            "# spotgate\n\
             :local sgNow [:tonum [:timestamp]]\n\
             :foreach sgBinding in=[/ip hotspot ip-binding find where comment~\"^{MARK},\"] do={{\n{READ}\
             :local sgMac [:tostr [/ip hotspot ip-binding get $sgBinding mac-address]]\n\
             :local sgUntil [:tonum ($sgWords->3)]\n\
             :local sgIp \"\"\n\
             :local sgLeases [/ip dhcp-server lease find where active-mac-address=$sgMac and status=bound]\n\
             :if ([:len $sgLeases] > 0) do={{\n\
             :set sgIp [:tostr [/ip dhcp-server lease get [:pick $sgLeases 0] active-address]]\n}}\n\
             :if ([:len $sgIp] > 0) do={{\n:onerror sgError in={{\n{ask}{interim}}} do={{\n:log warning (\"spotgate: \" . $sgError)\n}}\n}}\n\
             :if ([:len $sgIp] = 0 or $sgNow >= $sgUntil) do={{\n\
             /ip hotspot ip-binding remove $sgBinding\n\
             :onerror sgError in={{\n{stop}}} do={{\n:log warning (\"spotgate: \" . $sgError)\n}}\n}}\n}}\n"
        )
    }

    /// Of the user profile: `user`, `address`, `mac-address` are given. It runs after the login, which it can only undo.
    fn on_login(&self) -> String {
        let undo = "/ip hotspot active remove [find where mac-address=$sgMac]\n";
        let start = self.report("start", ";\"access_code\"=$sgUser");
        let ask = self.ask(";\"access_code\"=$sgUser", &start, undo);
        format!(
            "# spotgate\n{GUEST}:onerror sgError in={{\n{ask}}} do={{\n:log warning (\"spotgate: \" . $sgError)\n}}\n"
        )
    }

    /// The same; `uptime-secs`, `bytes-in` and `bytes-out` too.
    fn on_logout(&self) -> String {
        let stop = self.report(
            "stop",
            ";\"access_code\"=$sgUser;\"session_seconds\"=[:tonum $\"uptime-secs\"];\"input_octets\"=[:tonum $\"bytes-in\"];\
             \"output_octets\"=[:tonum $\"bytes-out\"]",
        );
        format!(
            "# spotgate\n{GUEST}:onerror sgError in={{\n{stop}}} do={{\n:log warning (\"spotgate: \" . $sgError)\n}}\n"
        )
    }
}

/// What an ip-binding's comment says.
const READ: &str = ":local sgWords [:toarray [/ip hotspot ip-binding get $sgBinding comment]]\n\
                    :local sgName [:tostr ($sgWords->1)]\n\
                    :local sgSince [:tonum ($sgWords->2)]\n";

/// Who logs in at the hotspot. A device has one session there at a time.
const GUEST: &str = ":local sgMac [:tostr $\"mac-address\"]\n:local sgIp [:tostr $address]\n:local sgUser [:tostr $user]\n\
                     :local sgName (\"hotspot-\" . $sgMac)\n";

#[cfg(test)]
mod tests;
