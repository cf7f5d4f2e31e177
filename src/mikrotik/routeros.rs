//! As much of RouterOS as it takes to serve a page in a test: variables, `$(if …)`, status and headers (facts/hotspot.md §5.1).

use std::collections::BTreeMap;

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

/// What a browser gets.
#[derive(Debug, Default)]
pub(super) struct Served {
    pub(super) status: Option<String>,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

/// Serves a page where the variables have these values, and all others none. What RouterOS does not have is a panic, and so is a
/// condition within another, of which its manual says nothing.
pub(super) fn served(page: &str, variables: &[(&str, &str)]) -> Served {
    let mut served = Served::default();
    let (mut rest, mut branch) = (page, None::<Branch>);
    while let Some((text, after)) = rest.split_once("$(") {
        write(&mut served, branch.as_mut(), text);
        let (word, after) = after.split_once(')').expect("a variable ends");
        rest = after;
        match word.split_once(' ').unwrap_or((word, "")) {
            ("if", condition) => {
                assert!(branch.is_none(), "a condition within another: {condition}");
                branch = Some(Branch::new(condition, variables));
            }
            ("elif", condition) => {
                let branch = branch.as_mut().expect("elif after if");
                branch.shown = !branch.done && holds(condition, variables);
                branch.done |= branch.shown;
            }
            ("else", "") => {
                let branch = branch.as_mut().expect("else after if");
                branch.shown = !branch.done;
            }
            ("endif", "") => match branch.take().expect("endif after if") {
                Branch { header: Some(name), value, .. } if name == "http-status" => served.status = Some(value),
                Branch { header: Some(name), value, .. } => drop(served.headers.insert(name, value)),
                _ => {}
            },
            (name, _) => write(&mut served, branch.as_mut(), &value(name, variables)),
        }
    }
    assert!(branch.is_none(), "a condition without an end");
    write(&mut served, None, rest);
    served
}

/// Each variable that stands in a page, conditions as a whole.
pub(super) fn variables_of(page: &str) -> Vec<&str> {
    page.split("$(").skip(1).filter_map(|after| after.split_once(')')).map(|(word, _)| word).collect()
}

struct Branch {
    shown: bool,
    done: bool,
    header: Option<String>,
    value: String,
}

impl Branch {
    fn new(condition: &str, variables: &[(&str, &str)]) -> Self {
        let header = match condition.split_once(" == ") {
            Some(("http-status", status)) => {
                assert!(status.len() == 3 && status.bytes().all(|digit| digit.is_ascii_digit()), "{status}");
                Some("http-status".to_owned())
            }
            Some(("http-header", name)) => Some(name.trim_matches('"').to_owned()),
            _ => None,
        };
        let shown = header.is_some() || holds(condition, variables);
        Self { shown, done: shown, header, value: String::new() }
    }
}

fn write(served: &mut Served, branch: Option<&mut Branch>, text: &str) {
    match branch {
        None => served.body.push_str(text),
        Some(branch) if branch.header.is_some() => branch.value.push_str(text),
        Some(branch) if branch.shown => served.body.push_str(text),
        Some(_) => {}
    }
}

fn holds(condition: &str, variables: &[(&str, &str)]) -> bool {
    let literal = |text: &str| text.trim_matches(['\'', '"']).to_owned();
    if let Some((name, wanted)) = condition.split_once(" == ") {
        value(name, variables) == literal(wanted)
    } else if let Some((name, unwanted)) = condition.split_once(" != ") {
        value(name, variables) != literal(unwanted)
    } else {
        !value(condition, variables).is_empty()
    }
}

fn value(name: &str, variables: &[(&str, &str)]) -> String {
    let plain = name.strip_suffix("-esc").unwrap_or(name);
    assert!(VARIABLES.contains(&plain), "RouterOS has no variable {name}");
    let value = variables.iter().find(|(known, _)| *known == plain).map_or("", |(_, value)| value);
    if plain == name { value.to_owned() } else { form_escaped(value) }
}

/// As `-esc` has it: `123&456=1 2` becomes `123%26456%3D1+2`.
fn form_escaped(text: &str) -> String {
    let mut url = reqwest::Url::parse("http://x/").unwrap();
    url.query_pairs_mut().append_key_only(text);
    url.query().unwrap_or_default().to_owned()
}
