//! The commands that connect a router (facts/hotspot.md §7), for RouterOS 7.15 or newer. They may be run again: what is there is
//! brought in line, nothing is made twice, and what is not ours stays as it is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::Ipv4Net;
use reqwest::Url;
use secrecy::ExposeSecret as _;

use super::Error;
use super::script::{Object, Script, quoted, text, word};
use crate::config::{CodeIn, HandOver, Nas, RequireMessageAuthenticator, Settings};
use crate::core::policy::MacLogin;

/// What our objects are known by on the router.
const OURS: &str = "spotgate";

/// How long the router waits for an answer, three times over; 300 ms were the default once (facts/hotspot.md §2).
const TIMEOUT: &str = "1s";

/// A device that sleeps is not offline yet: phones sleep longer than the default of two minutes (facts/hotspot.md §8, 9).
const KEEPALIVE: &str = "15m";

/// What the configuration does not know of a router.
#[derive(Clone, Debug)]
pub struct Site {
    /// Where spotgate is, as the router reaches it; else it is guessed from the configuration.
    pub server: Option<IpAddr>,
    /// Where the guests are, e.g. `bridge-guest`.
    pub interface: String,
    /// The hotspot's address there; else the first that the interface has.
    pub hotspot_address: Option<Ipv4Addr>,
    /// The guests' network; else that of the address.
    pub network: Option<Ipv4Net>,
}

/// The commands, and what is to be known about them.
#[derive(Clone)]
pub struct Setup {
    /// An `.rsc` for `/import`. It holds the RADIUS secret.
    pub script: String,
    /// What somebody has to look at, a sentence each.
    pub notes: Vec<String>,
}

/// The commands that connect a router.
///
/// # Errors
///
/// The router would have nothing to connect to: no RADIUS port, or no address of the portal where `hand_over` needs it.
pub fn setup(settings: &Settings, nas: &Nas, site: &Site) -> Result<Setup, Error> {
    let portal = super::portal(settings, nas)?;
    let server = site.server.or_else(|| known_server(settings, portal.as_ref()));
    let port = |listen| port(listen, server).ok_or(Error::NoRadius);
    let ports = (port(&settings.radius.auth_listen)?, port(&settings.radius.acct_listen)?);
    let mut script = Script::default();
    variables(&mut script, nas, site, server);
    preconditions(&mut script);
    radius(&mut script, nas, ports, server);
    hotspot(&mut script, settings, nas);
    let hosts =
        [("portal", portal.clone()), ("terms", settings.portal.terms_url.as_deref().and_then(|url| url.parse().ok()))];
    for (what, url) in &hosts {
        if let Some(url) = url {
            walled_garden(&mut script, what, url);
        }
    }
    if let Some(portal) = portal.as_ref().filter(|portal| portal.scheme() == "https") {
        captive_portal_option(&mut script, portal);
    }
    clock(&mut script);
    Ok(Setup { script: script.finished(&head(nas)), notes: notes(nas, portal.as_ref(), server) })
}

/// Where spotgate is, as far as the configuration tells: at the portal's address if that is one, else where it listens.
fn known_server(settings: &Settings, portal: Option<&Url>) -> Option<IpAddr> {
    let host = portal.and_then(Url::host_str).map(|host| host.trim_start_matches('[').trim_end_matches(']'));
    let listens = settings.radius.auth_listen.iter().map(SocketAddr::ip);
    let reachable = |address: &IpAddr| !address.is_unspecified() && !address.is_loopback();
    host.and_then(|host| host.parse().ok()).into_iter().chain(listens).find(reachable)
}

/// The port at this address, else the first; none if the kernel picks it.
fn port(listen: &[SocketAddr], server: Option<IpAddr>) -> Option<u16> {
    let here = listen.iter().find(|address| Some(address.ip()) == server).or_else(|| listen.first());
    here.map(SocketAddr::port).filter(|port| *port != 0)
}

fn head(nas: &Nas) -> Script {
    let mut head = Script::default();
    head.remark(&format!("spotgate: connects the router {} (RouterOS 7.15 or newer).", nas.name().as_str()));
    head.remark(
        "It holds the RADIUS secret in clear: show it to nobody, and remove it from the router when it has run.",
    );
    head.remark("Look at the values below, upload the file, then: /import file-name=NAME.rsc");
    head.remark("It may be run again: nothing is made twice.");
    head
}

fn variables(script: &mut Script, nas: &Nas, site: &Site, server: Option<IpAddr>) {
    let known = |value: Option<String>| value.unwrap_or_default();
    let of = |script: &mut Script, why, name, value: &str| script.variable(why, name, value);
    of(script, "Where spotgate is, as this router reaches it.", "sgServer", &known(server.map(|ip| ip.to_string())));
    of(script, "Where the guests are: a bridge, or another interface.", "sgInterface", &site.interface);
    let address = known(site.hotspot_address.map(|ip| ip.to_string()));
    of(script, "The address of the hotspot there. Empty: the first that the interface has.", "sgAddress", &address);
    let network = known(site.network.map(|network| network.trunc().to_string()));
    of(script, "The network of the guests, e.g. 10.5.88.0/24. Empty: that of the address.", "sgNetwork", &network);
    of(script, "The folder of the pages that spotgate mikrotik pages wrote, as it was uploaded.", "sgPages", OURS);
    of(script, "The RADIUS secret.", "sgSecret", nas.secret.expose_secret());
}

/// What must be so before anything is changed.
fn preconditions(script: &mut Script) {
    script.statement(
        "Stop if it is not known where spotgate is.",
        ":if ($sgServer = \"\") do={\n    :error \"spotgate: set sgServer, at the top, to the address of spotgate\"\n}",
    );
    script.statement(
        "Stop if there is no such interface.",
        ":if ([:len [/interface find where name=$sgInterface]] = 0) do={\n    \
         :error \"spotgate: there is no interface of this name; set sgInterface, at the top\"\n}",
    );
    script.statement(
        "Take from the interface what is not set.",
        ":if ($sgAddress = \"\" or $sgNetwork = \"\") do={\n    \
             :local sgFound [/ip address find where interface=$sgInterface]\n    \
             :if ([:len $sgFound] = 0) do={\n        \
                 :error \"spotgate: the interface has no address; set sgAddress and sgNetwork, at the top\"\n    \
             }\n    \
             :local sgFirst [:pick $sgFound 0]\n    \
             :local sgWhole [:tostr [/ip address get $sgFirst address]]\n    \
             :local sgSlash [:find $sgWhole \"/\"]\n    \
             :if ($sgAddress = \"\") do={\n        \
                 :set sgAddress [:pick $sgWhole 0 $sgSlash]\n    \
             }\n    \
             :if ($sgNetwork = \"\") do={\n        \
                 :set sgNetwork ([:tostr [/ip address get $sgFirst network]] . [:pick $sgWhole $sgSlash [:len $sgWhole]])\n    \
             }\n\
         }",
    );
    script.statement(
        "On devices with a folder flash, what is to last is below it.",
        ":if ([:len [/file find where name=\"flash\"]] > 0) do={\n    :set sgPages (\"flash/\" . $sgPages)\n}",
    );
    script.statement(
        "Without our pages the router shows its own.",
        ":if ([:len [/file find where name=($sgPages . \"/login.html\")]] = 0) do={\n    \
         :put (\"spotgate: upload the pages as \" . $sgPages . \"; until then the router shows its own\")\n}",
    );
}

fn radius(script: &mut Script, nas: &Nas, (auth, acct): (u16, u16), server: Option<IpAddr>) {
    let source = nas.address;
    let single = source.prefix_len() == source.max_prefix_len();
    let any = if source.addr().is_ipv6() { "::" } else { "0.0.0.0" };
    script.variable("The address that RADIUS packets leave from; this one: whichever fits.", "sgSource", any);
    if single {
        let menu = if source.addr().is_ipv6() { "/ipv6 address" } else { "/ip address" };
        let address = source.addr().to_string();
        let pattern = quoted(&format!("^{}/", address.replace('.', "\\.")));
        script.statement(
            "The address by which spotgate knows this router, if it is this router's own.",
            &format!(
                ":if ([:len [{menu} find where address~{pattern}]] > 0) do={{\n    :set sgSource {}\n}}",
                quoted(&address)
            ),
        );
    }
    let mut properties = vec![
        word("service", "hotspot"),
        word("address", "$sgServer"),
        word("secret", "$sgSecret"),
        word("authentication-port", &auth.to_string()),
        word("accounting-port", &acct.to_string()),
        word("timeout", TIMEOUT),
        word("src-address", "$sgSource"),
        word("disabled", "no"),
    ];
    // A router that sends none is older than 7.15, and does not know the property.
    if nas.require_message_authenticator != RequireMessageAuthenticator::No {
        properties.push(word("require-message-auth", "yes-for-request-resp"));
    }
    script.ensure(
        "RADIUS: ask spotgate who may go online, and tell it of sessions.",
        &Object { menu: "/radius", known_by: &[text("comment", OURS)], at_first: &[], properties: &properties },
    );
    if nas.disconnect_port == 0 {
        return;
    }
    script.statement(
        "Let spotgate end sessions (Disconnect-Request).",
        &format!("/radius incoming set accept=yes port={}", nas.disconnect_port),
    );
    let v6 = server.is_some_and(|server| server.is_ipv6());
    script.ensure_before(
        "Let these requests through the firewall, before anything that drops them.",
        &Object {
            menu: if v6 { "/ipv6 firewall filter" } else { "/ip firewall filter" },
            known_by: &[text("comment", "spotgate disconnect")],
            at_first: &[],
            properties: &[
                word("chain", "input"),
                word("action", "accept"),
                word("protocol", "udp"),
                word("dst-port", &nas.disconnect_port.to_string()),
                word("src-address", "$sgServer"),
                word("disabled", "no"),
            ],
        },
        "chain=input and dynamic=no",
    );
}

fn hotspot(script: &mut Script, settings: &Settings, nas: &Nas) {
    let yes_no = |flag| if flag { "yes" } else { "no" };
    let mut profile = vec![
        word("hotspot-address", "$sgAddress"),
        word("login-by", &login_by(settings, nas)),
        word("use-radius", "yes"),
        word("radius-accounting", yes_no(nas.rules.accounting)),
        word("radius-interim-update", "received"),
        word("nas-port-type", "wireless-802.11"),
        word("mac-auth-mode", "mac-as-username"),
        word("radius-mac-format", "XX:XX:XX:XX:XX:XX"),
        word("split-user-domain", "no"),
        word("html-directory-override", "$sgPages"),
    ];
    if let Some(name) = dns_name(nas) {
        profile.push(text("dns-name", name));
    }
    let interval = settings.policy.interim_interval.0;
    script.ensure(
        &format!("How guests log in, and what they see; spotgate says how often sessions are reported ({interval} s)."),
        &Object { menu: "/ip hotspot profile", known_by: &[text("name", OURS)], at_first: &[], properties: &profile },
    );
    // How many devices a code has, and how long they stay, is for spotgate to say.
    let users = [
        word("shared-users", "unlimited"),
        word("add-mac-cookie", "no"),
        word("keepalive-timeout", KEEPALIVE),
        word("idle-timeout", "none"),
        word("session-timeout", "0s"),
        word("status-autorefresh", "1m"),
    ];
    let set: String = users.iter().map(|(name, value)| format!(" {name}={value}")).collect();
    script.statement(
        "Leave to spotgate how many devices a code has, and how long they stay.",
        &format!("/ip hotspot user profile set [/ip hotspot user profile find where default=yes]{set}"),
    );
    if let Some(group) = &nas.group {
        script.ensure(
            "The profile that spotgate names in its answers (Mikrotik-Group).",
            &Object {
                menu: "/ip hotspot user profile",
                known_by: &[text("name", group)],
                at_first: &[],
                properties: &users,
            },
        );
    }
    script.ensure(
        "The hotspot itself; one that is there already gets our profile.",
        &Object {
            menu: "/ip hotspot",
            known_by: &[word("interface", "$sgInterface")],
            at_first: &[text("name", OURS), word("address-pool", "none")],
            properties: &[
                text("profile", OURS),
                word("idle-timeout", "none"),
                word("keepalive-timeout", "none"),
                word("login-timeout", "5m"),
                word("addresses-per-mac", "2"),
                word("disabled", "no"),
            ],
        },
    );
    script.ensure(
        "Keep out devices that gave themselves an address: they would take the place of their own MAC.",
        &Object {
            menu: "/ip hotspot ip-binding",
            known_by: &[text("comment", "spotgate self-assigned")],
            at_first: &[],
            properties: &[word("address", "169.254.0.0/16"), word("type", "blocked"), word("disabled", "no")],
        },
    );
}

/// How guests may log in. A password that is good for once, or one that has to be read, gains nothing from CHAP, which needs a
/// challenge that is still good, and on the router's own page JavaScript. Cookies are left out: they would log in whom spotgate
/// no longer lets in, until it is asked (facts/hotspot.md §8, 17).
fn login_by(settings: &Settings, nas: &Nas) -> String {
    let form = match (nas.code_in, nas.hand_over) {
        (CodeIn::Password, _) | (CodeIn::Username, HandOver::OneTime | HandOver::OpenNds) => "http-pap",
        (CodeIn::Username, HandOver::Form | HandOver::Router) => "http-chap",
    };
    match settings.policy.mac_login {
        MacLogin::Off => form.to_owned(),
        MacLogin::Record | MacLogin::Remember => format!("mac,{form}"),
    }
}

/// The first of the hotspot's hosts that is a name, without its port. The router serves names with a dot alone.
fn dns_name(nas: &Nas) -> Option<&str> {
    let name = |host: &'_ String| {
        let name = host.split(':').next().unwrap_or_default();
        (name.contains('.') && name.parse::<IpAddr>().is_err()).then_some(name.len())
    };
    nas.hotspot_hosts.iter().find_map(|host| host.get(..name(host)?))
}

/// What is open to guests who are not logged in: in the menu for HTTP, and for HTTPS in the one for packets.
fn walled_garden(script: &mut Script, what: &str, url: &Url) {
    let Some(host) = url.host_str().filter(|host| !host.starts_with('[')) else { return };
    let comment = |suffix: &str| text("comment", &format!("{OURS} {what}{suffix}"));
    script.ensure(
        &format!("The {what} is open to everybody: requests."),
        &Object {
            menu: "/ip hotspot walled-garden",
            known_by: &[comment("")],
            at_first: &[],
            properties: &[word("action", "allow"), text("dst-host", host), word("disabled", "no")],
        },
    );
    let destination = if host.parse::<Ipv4Addr>().is_ok() { "dst-address" } else { "dst-host" };
    let mut ports: Vec<u16> = url.port_or_known_default().into_iter().collect();
    if ports == [443] {
        ports.push(80);
    }
    for port in ports {
        script.ensure(
            &format!("The {what} is open to everybody: packets to port {port}."),
            &Object {
                menu: "/ip hotspot walled-garden ip",
                known_by: &[comment(&format!(" {port}"))],
                at_first: &[],
                properties: &[
                    word("action", "accept"),
                    word("protocol", "tcp"),
                    word("dst-port", &port.to_string()),
                    text(destination, host),
                    word("disabled", "no"),
                ],
            },
        );
    }
}

/// DHCP option 114 (RFC 8910): devices learn that there is a portal without having to try.
fn captive_portal_option(script: &mut Script, portal: &Url) {
    let name = "spotgate-capport";
    let api = format!("{}/capport", portal.as_str().trim_end_matches('/')).replace('\'', "%27");
    script.ensure(
        "DHCP option 114 tells devices where the portal answers them (RFC 8910).",
        &Object {
            menu: "/ip dhcp-server option",
            known_by: &[text("name", name)],
            at_first: &[],
            properties: &[word("code", "114"), text("value", &format!("'{api}'")), word("force", "yes")],
        },
    );
    script.statement(
        "Hand it out in the network of the guests, unless that has options of its own.",
        &format!(
            ":foreach sgEach in=[/ip dhcp-server network find] do={{\n    \
                 :if ([:tostr [/ip dhcp-server network get $sgEach address]] = $sgNetwork) do={{\n        \
                     :local sgOptions [:tostr [/ip dhcp-server network get $sgEach dhcp-option]]\n        \
                     :if ([:len $sgOptions] = 0) do={{\n            \
                         /ip dhcp-server network set $sgEach dhcp-option={option}\n        \
                     }} else={{\n            \
                         :if ([:typeof [:find $sgOptions {option}]] = \"nil\") do={{\n                \
                             :put \"spotgate: the network of the guests has DHCP options; add {name} to them\"\n            \
                         }}\n        \
                     }}\n    \
                 }}\n\
             }}",
            option = quoted(name)
        ),
    );
}

fn clock(script: &mut Script) {
    script.statement(
        "The right time, where no server is asked for it yet: certificates and logs need it.",
        ":if ([/system ntp client get enabled] != true) do={\n    \
             :if ([:len [/system ntp client servers find]] = 0) do={\n        \
                 /system ntp client servers add address=\"pool.ntp.org\"\n    \
             }\n    \
             /system ntp client set enabled=yes\n\
         }",
    );
}

fn notes(nas: &Nas, portal: Option<&Url>, server: Option<IpAddr>) -> Vec<String> {
    let mut notes = Vec::new();
    if server.is_none() {
        notes.push(
            "it is not known where the router reaches spotgate: add --server, or set sgServer in the script".to_owned(),
        );
    }
    if portal.is_some() && nas.hotspot_hosts.is_empty() {
        let hint = "the portal sends nobody back to this router until `hotspot_hosts` of its [[nas]] names its login page: the \
                    dns-name of the hotspot, or its address";
        notes.push(hint.to_owned());
    }
    if portal.is_some_and(|portal| portal.host_str().is_some_and(|host| host.starts_with('['))) {
        notes.push(
            "the portal has an IPv6 address, and hotspots of RouterOS know IPv4 alone: guests will not reach it"
                .to_owned(),
        );
    }
    if nas.disconnect_port == 0 {
        notes.push(
            "`disconnect_port` is 0: the script leaves `/radius incoming` and the firewall as they are".to_owned(),
        );
    }
    notes
}

#[cfg(test)]
mod tests;
