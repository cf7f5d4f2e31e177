//! The pages as rules: what is in each folder, what a router makes of it, what cannot get in.

use std::path::Path;

use super::*;
use crate::config::HandOver;
use crate::core::ident::NasName;
use crate::portal::handover::Chap;
use crate::sandbox::servlet::{Printed, print};

/// The challenge of facts/hotspot.md §5.2.
const CHAP_ID: &str = "\\371";
const CHALLENGE: &str = "\\133\\012\\235\\341\\102\\167\\063\\310\\037\\320\\252\\144\\022\\351\\213\\007";

/// A guest who is not logged in.
const GUEST: [(&str, &str); 8] = [
    ("mac", "9A:4C:10:7E:22:D1"),
    ("ip", "10.5.88.41"),
    ("link-login-only", "http://login.example.net/login"),
    ("link-orig", "http://captive.example.com/?a=1&b=<2>"),
    ("link-logout", "http://login.example.net/logout"),
    ("chap-id", CHAP_ID),
    ("chap-challenge", CHALLENGE),
    ("error-orig", "RADIUS server is not responding"),
];

/// Two routers and a portal; `nas` and `portal` are more lines of their sections.
fn settings(nas: &str, portal: &str) -> Settings {
    let text = format!(
        "[source]\nkind = \"file\"\npath = \"tokens.json\"\n[[nas]]\nname = \"front-desk\"\naddress = \"10.5.0.1\"\n\
         secret = \"0123456789abcdef\"\n{nas}\n[portal]\n{portal}\n"
    );
    let loaded = crate::config::from_str(&text, Path::new("/etc/spotgate/spotgate.toml"), &|_| None);
    loaded.unwrap_or_else(|report| panic!("{report}")).settings
}

const PORTAL: &str = "public_url = \"https://wifi.example.org\"\nterms_url = \"https://www.example.org/terms?a=b&c=d\"";

fn folder(nas: &str, portal: &str) -> BTreeMap<String, String> {
    let settings = settings(nas, portal);
    pages(&settings, &settings.nas[0]).unwrap()
}

/// The folders of every pattern.
fn folders() -> Vec<BTreeMap<String, String>> {
    [
        "hand_over = \"one-time\"",
        "hand_over = \"form\"",
        "hand_over = \"router\"",
        "hand_over = \"router\"\ncode_in = \"password\"",
    ]
    .map(|nas| folder(nas, PORTAL))
    .to_vec()
}

fn unescaped(html: &str) -> String {
    html.replace("&quot;", "\"").replace("&#39;", "'").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// Every variable that a page may use.
const VARIABLES: [&str; 17] = [
    "chap-challenge",
    "chap-id",
    "error",
    "error-orig",
    "ip",
    "link-login",
    "link-login-only",
    "link-logout",
    "link-orig",
    "link-redirect",
    "logged-in",
    "mac",
    "refresh-timeout",
    "refresh-timeout-secs",
    "session-time-left",
    "session-timeout-secs",
    "username",
];

/// What a router makes of a page where the variables have these values, and all others none.
fn served(page: &str, variables: &[(&str, &str)]) -> Printed {
    certain(page);
    print(page, |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
}

/// That a page has nothing of which the manual leaves open what a router makes of it: variables that it does not have, conditions
/// that stand within another or are not closed, a status that is none.
fn certain(page: &str) {
    let is_variable = |name: &str| VARIABLES.contains(&name.strip_suffix("-esc").unwrap_or(name));
    let mut is_open = false;
    for after in page.split("$(").skip(1) {
        let (word, _) = after.split_once(')').unwrap_or_else(|| panic!("no end: {after}"));
        match word.split_once(' ').unwrap_or((word, "")) {
            (kind @ ("if" | "elif"), condition) => {
                assert_eq!(is_open, kind == "elif", "{word} in {page}");
                is_open = true;
                let (name, value) =
                    condition.split_once(" == ").or_else(|| condition.split_once(" != ")).unwrap_or((condition, ""));
                let is_known = match name {
                    "http-status" => value == "302" && condition.contains("=="),
                    "http-header" => value == "\"Location\"" && condition.contains("=="),
                    name => is_variable(name),
                };
                assert!(is_known, "{word} in {page}");
            }
            ("else", "") => assert!(is_open, "{page}"),
            ("endif", "") => assert!(std::mem::take(&mut is_open), "{page}"),
            (name, rest) => assert!(is_variable(name) && rest.is_empty(), "{word} in {page}"),
        }
    }
    assert!(!is_open, "a condition without an end: {page}");
}

/// Each variable that stands in a page, conditions as a whole.
fn variables_of(page: &str) -> Vec<&str> {
    page.split("$(").skip(1).filter_map(|after| after.split_once(')')).map(|(word, _)| word).collect()
}

/// Where a page sends a browser: by header, by refresh, by its link. They are to be one.
fn sent_on(page: &Printed) -> Url {
    assert_eq!(page.status.as_ref().map(|(code, _)| *code), Some(302), "{page:?}");
    let [(name, location)] = &page.headers[..] else { panic!("{page:?}") };
    assert_eq!(name, "Location");
    assert!(location.bytes().all(|octet| octet.is_ascii_graphic()), "{location}");
    let within = |before: &str| {
        let (_, after) = page.body.split_once(before).unwrap_or_else(|| panic!("{before} in {}", page.body));
        unescaped(after.split_once('"').unwrap().0)
    };
    assert_eq!(&within("http-equiv=\"refresh\" content=\"0; url="), location);
    assert_eq!(&within("<a class=\"button\" href=\""), location);
    Url::parse(location).unwrap()
}

fn query(url: &Url) -> Vec<(String, String)> {
    url.query_pairs().into_owned().collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_folder_has_every_page_in_every_language() {
    for folder in folders() {
        let mut names: Vec<String> = vec!["api.json".to_owned(), "md5.js".to_owned()];
        for at in ["", "es/", "fr/", "de/", "pt/", "it/", "ca/", "nl/"] {
            for page in ["login", "alogin", "rlogin", "redirect", "status", "logout", "error"] {
                names.push(format!("{at}{page}.html"));
            }
            names.push(format!("{at}errors.txt"));
        }
        names.sort();
        assert_eq!(folder.keys().cloned().collect::<Vec<_>>(), names);
    }
    let settings = settings("", &format!("{PORTAL}\ndefault_language = \"ca\""));
    let folder = pages(&settings, &settings.nas[0]).unwrap();
    assert!(folder.contains_key("en/login.html") && !folder.contains_key("ca/login.html"));
    assert!(folder["login.html"].contains("lang=\"ca\"") && folder["en/login.html"].contains("lang=\"en\""));
}

#[test]
fn pages_are_small_and_need_nothing_from_elsewhere() {
    for folder in folders() {
        for (name, page) in folder.iter().filter(|(name, _)| name.ends_with(".html")) {
            assert!(page.len() < 8192 && page.ends_with("</html>\n"), "{name}: {}", page.len());
            assert!(page.contains("name=\"viewport\"") && page.contains("prefers-color-scheme:dark"), "{name}");
            assert!(page.contains("content=\"default-src 'none';"), "{name}");
            for (at, _) in page.match_indices("<script") {
                assert!(page[at..].starts_with("<script src=\"/md5.js\" defer></script>"), "{name}");
            }
            for foreign in
                ["<img", "<link", "<iframe", "@import", "url(", " onclick", " onload", " onsubmit", "javascript:"]
            {
                assert!(!page.contains(foreign), "{name}: {foreign}");
            }
            assert!(["{{", "{%", "{#"].iter().all(|template| !page.contains(template)), "{name}");
        }
    }
}

#[test]
fn a_router_can_serve_every_page_to_anybody() {
    for folder in folders() {
        for (name, page) in folder.iter().filter(|(name, _)| !name.ends_with(".js")) {
            for variables in
                [&GUEST[..], &[], &[("session-time-left", "5m"), ("refresh-timeout", "1m"), ("error", "x")]]
            {
                let body = served(page, variables).body;
                assert!(!body.contains("$("), "{name}: {body}");
            }
        }
    }
}

#[test]
fn what_the_configuration_says_stays_text() {
    let hostile = "title = \"<b>$(mac) $(if x)\\\"'&</b>{{ accent }}\"\npublic_url = \"https://wifi.example.org/$(mac)/'a&b\"\n\
                   terms_url = \"https://www.example.org/$(mac)?\\\"><b>'\"";
    for way in ["one-time", "form", "router"] {
        let way = format!("hand_over = \"{way}\"");
        let (kind, settings) = (folder(&way, PORTAL), settings(&way, hostile));
        let mut nas = settings.nas[0].clone();
        nas.rules.name = NasName::new("$(ip)&x=y\"><b>");
        for (file, page) in pages(&settings, &nas).unwrap() {
            assert_eq!(variables_of(&page), variables_of(&kind[&file]), "{file}: {page}");
            assert!(!page.contains("<b>"), "{file}: {page}");
            let title = "&lt;b&gt;&#36;(mac) &#36;(if x)&quot;&#39;&amp;&lt;/b&gt;{{ accent }}";
            assert!(!file.ends_with(".html") || page.contains(title), "{file}: {page}");
            if file.ends_with("status.html") && nas.hand_over != HandOver::Router {
                let url = sent_on(&served(&page, &GUEST));
                assert_eq!(url.path(), "/%24(mac)/'a&b/status");
                assert_eq!(query(&url)[0], ("nas".to_owned(), nas.name().to_string()));
            }
        }
    }
}

#[test]
fn a_login_goes_to_the_portal_with_all_that_the_router_knows() {
    for way in ["one-time", "form"] {
        let folder = folder(&format!("hand_over = \"{way}\""), PORTAL);
        let url = sent_on(&served(&folder["login.html"], &GUEST));
        assert_eq!((url.host_str(), url.path()), (Some("wifi.example.org"), "/login"));
        let told = query(&url);
        assert_eq!(
            told,
            pairs(&[
                ("nas", "front-desk"),
                ("mac", "9A:4C:10:7E:22:D1"),
                ("ip", "10.5.88.41"),
                ("link-login-only", "http://login.example.net/login"),
                ("link-orig", "http://captive.example.com/?a=1&b=<2>"),
                ("error", "RADIUS server is not responding"),
                ("chap-id", CHAP_ID),
                ("chap-challenge", CHALLENGE),
            ])
        );
        assert!(Chap::parse(&told[6].1, &told[7].1).is_some());
        assert_eq!(sent_on(&served(&folder["de/login.html"], &GUEST)), url);
    }
}

#[test]
fn who_is_online_goes_to_the_status_page_of_the_portal() {
    for way in ["one-time", "form"] {
        let folder = folder(&format!("hand_over = \"{way}\""), PORTAL);
        let online = pairs(&[
            ("nas", "front-desk"),
            ("mac", "9A:4C:10:7E:22:D1"),
            ("ip", "10.5.88.41"),
            ("link-login-only", "http://login.example.net/login"),
        ]);
        let status = served(&folder["status.html"], &GUEST);
        assert_eq!((sent_on(&status).path(), query(&sent_on(&status))), ("/status", online.clone()));
        assert!(status.body.contains("href=\"http://login.example.net/logout\""));
        let after = sent_on(&served(&folder["alogin.html"], &GUEST));
        let dst = pairs(&[("dst", "http://captive.example.com/?a=1&b=<2>")]);
        assert_eq!((after.path(), query(&after)), ("/status", [online, dst].concat()));
    }
}

#[test]
fn the_routers_own_login_answers_its_challenge() {
    let folder = folder("hand_over = \"router\"", PORTAL);
    let page = served(&folder["login.html"], &GUEST).body;
    for part in [
        "<form action=\"http://login.example.net/login\" method=\"post\" data-chap-id=\"\\371\" data-chap-challenge=\"\\133\\012",
        "<script src=\"/md5.js\" defer></script>",
        "<noscript><p class=\"wrong\">To go online here, please switch JavaScript on",
        "name=\"username\"",
        "<input type=\"hidden\" name=\"password\" value=\"\">",
        "href=\"https://www.example.org/terms?a=b&amp;c=d\"",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(!page.contains("role=\"alert\"") && page.matches("<form").count() == 1, "{page}");
}

#[test]
fn the_routers_own_login_needs_no_script_where_there_is_no_challenge() {
    for (nas, typed, hidden) in [
        ("", "id=\"code\" name=\"username\"", "name=\"password\" value=\"\""),
        ("code_in = \"password\"", "id=\"code\" name=\"password\"", "name=\"username\" value=\"9A:4C:10:7E:22:D1\""),
    ] {
        let folder = folder(&format!("hand_over = \"router\"\n{nas}"), PORTAL);
        let variables = [("mac", GUEST[0].1), ("link-login-only", "http://10.5.88.1/login"), ("error", "No.")];
        let page = served(&folder["login.html"], &variables).body;
        assert!(page.contains("<form action=\"http://10.5.88.1/login\" method=\"post\">"), "{page}");
        assert!(page.contains(typed) && page.contains(hidden) && page.matches("<form").count() == 1, "{page}");
        assert!(
            page.contains("role=\"alert\">No.</p>") && !page.contains("script>") && !page.contains("data-chap"),
            "{page}"
        );
    }
}

#[test]
fn each_language_leads_to_each_other() {
    let folder = folder("hand_over = \"router\"", &format!("{PORTAL}\ndefault_language = \"de\""));
    for language in Language::ALL {
        let at =
            |language: Language| if language == Language::De { String::new() } else { format!("/{}", language.tag()) };
        let page = &folder[format!("{}/login.html", at(language)).trim_start_matches('/')];
        for other in Language::ALL {
            let link = format!("<a href=\"{}/login\" lang=\"{}\"", at(other), other.tag());
            assert_eq!(page.contains(&link), other != language, "{language:?} {other:?}");
        }
    }
}

#[test]
fn the_routers_own_status_page_has_time_and_a_way_out() {
    let folder = folder("hand_over = \"router\"", PORTAL);
    let variables =
        [GUEST[4], ("session-time-left", "59m30s"), ("refresh-timeout", "1m"), ("refresh-timeout-secs", "60")];
    for (name, refreshes) in [("status.html", true), ("alogin.html", false)] {
        let page = served(&folder[name], &variables).body;
        assert!(page.contains("Time left: 59m30s</p>") && !page.contains("No limit"), "{page}");
        assert!(page.contains("<form action=\"http://login.example.net/logout\">"), "{page}");
        assert_eq!(page.contains("http-equiv=\"refresh\" content=\"60\""), refreshes, "{page}");
        assert!(served(&folder[name], &[]).body.contains("Time left: No limit</p>"));
    }
}

#[test]
fn a_browser_on_another_site_is_sent_to_the_login() {
    for folder in folders() {
        for name in ["rlogin.html", "redirect.html", "de/rlogin.html"] {
            let page = served(&folder[name], &[("link-redirect", "http://login.example.net/login?dst=x")]);
            assert_eq!(sent_on(&page).as_str(), "http://login.example.net/login?dst=x");
        }
    }
}

#[test]
fn the_capport_answer_is_json_in_every_state() {
    for folder in folders() {
        for (logged_in, seconds, captive, remaining) in
            [("no", "0", true, None), ("yes", "0", false, None), ("yes", "3475", false, Some(3475))]
        {
            let variables = [GUEST[2], ("logged-in", logged_in), ("session-timeout-secs", seconds)];
            let body = served(&folder["api.json"], &variables).body;
            let answer: serde_json::Value =
                serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
            assert_eq!(answer["captive"], captive);
            assert_eq!(answer["user-portal-url"], "http://login.example.net/login");
            assert_eq!(answer.get("seconds-remaining").and_then(serde_json::Value::as_u64), remaining);
            assert_eq!(answer["can-extend-session"], true);
        }
    }
}

#[test]
fn every_error_of_the_router_has_words_in_every_language() {
    let keys = [
        "internal-error",
        "config-error",
        "not-logged-in",
        "ippool-empty",
        "shutting-down",
        "user-session-limit",
        "license-session-limit",
        "wrong-mac-username",
        "chap-missing",
        "invalid-username",
        "otp-already-used",
        "invalid-mac",
        "uptime-limit",
        "traffic-limit",
        "radius-timeout",
        "auth-in-progress",
        "radius-reply",
    ];
    for folder in folders() {
        let texts: Vec<&String> =
            folder.iter().filter(|(name, _)| name.ends_with("errors.txt")).map(|(_, text)| text).collect();
        let mut said = std::collections::BTreeSet::new();
        for text in &texts {
            let lines: Vec<(&str, &str)> = text
                .lines()
                .filter(|line| !line.starts_with('#'))
                .map(|line| line.split_once(" = ").unwrap())
                .collect();
            assert_eq!(lines.iter().map(|(key, _)| *key).collect::<Vec<_>>(), keys);
            for (key, words) in lines {
                if key == "radius-reply" {
                    assert_eq!(words, "$(error-orig)");
                } else {
                    assert!(words.ends_with('.') && !words.contains(['<', '>', '&', '"', '\'', '$']), "{key}: {words}");
                }
            }
            said.insert(*text);
        }
        assert_eq!((texts.len(), said.len()), (8, 8));
    }
}

#[test]
fn a_portal_without_an_address_gets_no_guests() {
    for (nas, portal, refused) in [
        ("hand_over = \"one-time\"", "", true),
        ("hand_over = \"form\"", "title = \"x\"", true),
        ("hand_over = \"form\"", "enabled = false\npublic_url = \"https://wifi.example.org\"", true),
        ("hand_over = \"router\"", "", false),
        ("hand_over = \"router\"", "enabled = false", false),
    ] {
        let settings = settings(nas, portal);
        let said = pages(&settings, &settings.nas[0]).map_err(|error| error.to_string());
        assert_eq!(said.is_err(), refused, "{nas} {portal}");
    }
    let settings = settings("", "");
    let said = pages(&settings, &settings.nas[0]).unwrap_err().to_string();
    assert!(said.contains("portal.public_url") && said.contains("hand_over = \"router\""), "{said}");
}
