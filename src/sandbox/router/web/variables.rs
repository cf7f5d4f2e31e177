//! What the pages may say: the variables of facts/hotspot.md §5.1, as far as they mean something here.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::LoginBy;
use super::challenge::{Challenge, octal};
use crate::core::ident::Mac;
use crate::sandbox::hotspot::{HOTSPOT_SERVER, INTERFACE};
use crate::sandbox::router::Online;
use crate::sandbox::servlet::escaped;

/// `status-autorefresh`.
const REFRESH: u32 = 60;

/// All that variables are made of.
pub(super) struct Variables<'a> {
    /// The host of the router's pages.
    pub(super) host: &'a str,
    /// The router's name.
    pub(super) identity: &'a str,
    /// The sub-folder that was chosen, or nothing.
    pub(super) folder: &'a str,
    pub(super) login_by: LoginBy,
    pub(super) mac: Mac,
    pub(super) address: Option<Ipv4Addr>,
    /// The device's session; on the page after a logout, the last one.
    pub(super) session: Option<&'a Online>,
    /// The way in which it was opened.
    pub(super) opened_by: &'static str,
    pub(super) logged_in: bool,
    /// Whether octets are told: on the pages of `/status` and `/logout`.
    pub(super) counters: bool,
    /// Where the guest wanted to go, or nothing.
    pub(super) orig: &'a str,
    /// Where a redirect leads.
    pub(super) redirect: Redirect,
    /// Parameters of the request that are repeated.
    pub(super) session_id: &'a str,
    pub(super) var: &'a str,
    /// What only `/login` knows.
    pub(super) form: Form<'a>,
}

/// Where a redirect leads.
#[derive(Clone, Copy)]
pub(super) enum Redirect {
    /// To the login page.
    Login,
    /// To where the guest wanted to go, or to the status page.
    Onwards,
    /// To the status page.
    Status,
}

/// What was sent to `/login`, and what came of it.
#[derive(Clone, Copy, Default)]
pub(super) struct Form<'a> {
    pub(super) username: &'a str,
    pub(super) popup: &'a str,
    pub(super) error: Wrong<'a>,
    pub(super) challenge: Option<Challenge>,
}

/// What went wrong, if anything: the key of `errors.txt`, its words, and those of whoever refused.
#[derive(Clone, Copy, Default)]
pub(super) struct Wrong<'a> {
    pub(super) key: &'a str,
    pub(super) words: &'a str,
    pub(super) original: &'a str,
}

impl Variables<'_> {
    /// The value of a variable; none where it is not known.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        self.of_links(name).or_else(|| self.of_the_session(name)).or_else(|| self.of_the_rest(name))
    }

    fn of_links(&self, name: &str) -> Option<String> {
        let link = |page: &str| {
            let slash = if self.folder.is_empty() { "" } else { "/" };
            format!("http://{}/{}{slash}{page}", self.host, self.folder)
        };
        let login = || match self.orig {
            "" => link("login"),
            orig => format!("{}?dst={}", link("login"), escaped(orig)),
        };
        Some(match name {
            "link-login" => login(),
            "link-login-only" => link("login"),
            "link-logout" => link("logout"),
            "link-orig" => self.orig.to_owned(),
            "link-status" => link("status"),
            "link-redirect" => match self.redirect {
                Redirect::Login => login(),
                Redirect::Onwards if !self.orig.is_empty() => self.orig.to_owned(),
                Redirect::Onwards | Redirect::Status => link("status"),
            },
            _ => return None,
        })
    }

    fn of_the_session(&self, name: &str) -> Option<String> {
        let limit = self.session.and_then(|session| session.session_timeout).filter(|&seconds| seconds > 0);
        let up = self.session.map_or(0, |session| session.seconds);
        let left = limit.map(|limit| limit.saturating_sub(up));
        let idle = self.session.and_then(|session| session.idle_timeout).filter(|&seconds| seconds > 0);
        let period = |seconds: Option<u32>| seconds.map(period).unwrap_or_default();
        let counted = |of: fn(&Online) -> u64, print: fn(u64) -> String| {
            self.session.filter(|_| self.counters).map(|session| print(of(session))).unwrap_or_default()
        };
        Some(match name {
            "uptime" => period(self.session.map(|_| up)),
            "uptime-secs" => up.to_string(),
            // the manual says "time left" of both
            "session-timeout" | "session-time-left" => period(left),
            "session-timeout-secs" | "session-time-left-secs" => left.unwrap_or(0).to_string(),
            "idle-timeout" => period(idle),
            "idle-timeout-secs" => idle.unwrap_or(0).to_string(),
            "refresh-timeout" => period(Some(REFRESH)),
            "refresh-timeout-secs" => REFRESH.to_string(),
            "bytes-in" => counted(|session| session.input, |octets| octets.to_string()),
            "bytes-out" => counted(|session| session.output, |octets| octets.to_string()),
            "bytes-in-nice" => counted(|session| session.input, nice),
            "bytes-out-nice" => counted(|session| session.output, nice),
            "packets-in" => counted(|session| session.input, |octets| octets.div_ceil(1000).to_string()),
            "packets-out" => counted(|session| session.output, |octets| octets.div_ceil(1000).to_string()),
            "limit-bytes-in" | "limit-bytes-out" | "remain-bytes-in" | "remain-bytes-out" => "---".to_owned(),
            _ => return None,
        })
    }

    fn of_the_rest(&self, name: &str) -> Option<String> {
        let yes = |yes: bool| if yes { "yes" } else { "no" };
        let text = match name {
            "hostname" | "server-address" => self.host,
            "identity" => self.identity,
            "server-name" => HOTSPOT_SERVER,
            "interface-name" => INTERFACE,
            "ip" | "host-ip" => return Some(self.address.map(|address| address.to_string()).unwrap_or_default()),
            "mac" => return Some(self.mac.to_string()),
            "username" => self.session.map_or(self.form.username, |session| &session.user_name),
            "logged-in" => yes(self.logged_in),
            "login-by" => self.opened_by,
            "plain-passwd" => yes(self.login_by != LoginBy::Chap),
            "trial" | "ssl-login" | "advert-pending" => "no",
            "session-id" => self.session_id,
            "var" => self.var,
            "popup" => self.form.popup,
            "error" => self.form.error.words,
            "error-orig" => self.form.error.original,
            "error-type" => self.form.error.key,
            "chap-id" => return Some(self.form.challenge.map(|given| octal(&[given.id])).unwrap_or_default()),
            "chap-challenge" => {
                return Some(self.form.challenge.map(|given| octal(&given.octets)).unwrap_or_default());
            }
            _ => return None,
        };
        Some(text.to_owned())
    }
}

/// `1w2d3h4m5s`, without what is nothing.
fn period(seconds: u32) -> String {
    let mut text = String::new();
    let mut rest = seconds;
    for (unit, length) in [('w', 604_800), ('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)] {
        if rest >= length {
            let _ = write!(text, "{}{unit}", rest / length);
            rest %= length;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// `14.7 KiB`.
fn nice(octets: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let Some((unit, size)) = units.into_iter().find(|(_, size)| octets >= *size) else { return format!("{octets} B") };
    format!("{}.{} {unit}", octets / size, octets % size * 10 / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_and_octets_are_written_for_people() {
        let periods = [0, 59, 60, 36_153, 694_861].map(period);
        assert_eq!(periods, ["0s", "59s", "1m", "10h2m33s", "1w1d1h1m1s"]);
        let octets = [0, 1023, 1024, 15_053, 1 << 20, u64::MAX].map(nice);
        assert_eq!(octets, ["0 B", "1023 B", "1.0 KiB", "14.7 KiB", "1.0 MiB", "17179869183.9 GiB"]);
    }
}
