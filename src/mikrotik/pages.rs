//! The folder of pages that a hotspot serves (facts/hotspot.md §5.1). RouterOS fills `$(…)` in; that it stays in the templates
//! as it is, and cannot come in by a value, is the work of [`escaped`].

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use minijinja::{AutoEscape, Environment, ErrorKind, Output, State, UndefinedBehavior, Value, context};
use reqwest::Url;

use super::Error;
use crate::config::{CodeIn, Nas, Settings};
use crate::portal::language::{Key, Language, Words};
use crate::portal::pages::legible_on;

/// The templates. A page that the router shows is made of one of them, once for each language.
const TEMPLATES: [(&str, &str); 8] = [
    ("page.html", include_str!("pages/page.html")),
    ("redirect.html", include_str!("pages/redirect.html")),
    ("portal.html", include_str!("pages/portal.html")),
    ("login.html", include_str!("pages/login.html")),
    ("status.html", include_str!("pages/status.html")),
    ("logout.html", include_str!("pages/logout.html")),
    ("error.html", include_str!("pages/error.html")),
    ("errors.txt", include_str!("pages/errors.txt")),
];

/// What has no language stands in the folder itself alone.
const PLAIN: [(&str, &str); 2] =
    [("api.json", include_str!("pages/api.json")), ("md5.js", include_str!("pages/md5.js"))];

/// What the router tells the portal, by MikroTik's names. The original error, since the portal has words of its own; and
/// the challenge escaped too: a backslash is not sure to survive in an address otherwise.
const TOLD_AT_LOGIN: &str = "&mac=$(mac-esc)&ip=$(ip)&link-login-only=$(link-login-only-esc)&link-orig=$(link-orig-esc)\
    &error=$(error-orig-esc)&chap-id=$(chap-id-esc)&chap-challenge=$(chap-challenge-esc)";

/// What the router tells the portal of somebody who is online.
const TOLD_ONLINE: &str = "&mac=$(mac-esc)&ip=$(ip)&link-login-only=$(link-login-only-esc)";

/// The same, a moment after the login.
const TOLD_AFTER_LOGIN: &str = "&mac=$(mac-esc)&ip=$(ip)&link-login-only=$(link-login-only-esc)&dst=$(link-orig-esc)";

/// The pages for a router: the name of each file in its folder, with its content. The default language stands in the folder
/// itself, each other one in a folder of its tag, such as `de/login.html`; what is not found there the router takes from the
/// folder itself (facts/hotspot.md §5.1).
///
/// # Errors
///
/// The portal is needed (`hand_over` is not `router`) and has no address.
pub fn pages(settings: &Settings, nas: &Nas) -> Result<BTreeMap<String, String>, Error> {
    let portal = &settings.portal;
    let base = super::portal(settings, nas)?;
    let default = portal.default_language;
    let words = Arc::new(Words::new());
    let sources = sources(base.as_ref(), nas);
    let mut files: BTreeMap<String, String> =
        PLAIN.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    for language in Language::ALL {
        let environment = environment(&words, language)?;
        let folder = if language == default { String::new() } else { format!("{}/", language.tag()) };
        for (name, template, extra) in &sources {
            let page = environment.get_template(template)?.render(context! {
                language => language.tag(),
                languages => choices(language, default),
                title => &portal.title,
                accent => &portal.accent_color,
                on_accent => legible_on(&portal.accent_color),
                terms => &portal.terms_url,
                field => field(nas),
                ..extra.clone()
            })?;
            // The last line break of a template is left out.
            files.insert(format!("{folder}{name}"), page + "\n");
        }
    }
    Ok(files)
}

/// Each page with the template it is made of, and what that needs beside what all need. `portal` is where guests are sent, if
/// they are.
fn sources(portal: Option<&Url>, nas: &Nas) -> Vec<(&'static str, &'static str, Value)> {
    let none = || context! {};
    let mut sources = vec![
        ("rlogin.html", "redirect.html", none()),
        ("redirect.html", "redirect.html", none()),
        // Made here even where the portal has a page like it: the router knows first that somebody is logged out.
        ("logout.html", "logout.html", none()),
        ("error.html", "error.html", none()),
        ("errors.txt", "errors.txt", none()),
    ];
    match portal {
        None => sources.extend([
            ("login.html", "login.html", none()),
            ("alogin.html", "status.html", context! { refreshes => false }),
            ("status.html", "status.html", context! { refreshes => true }),
        ]),
        Some(portal) => {
            let to = |page, told, log_out| context! { portal => sent_to(portal, page, nas, told), log_out };
            sources.extend([
                ("login.html", "portal.html", to("login", TOLD_AT_LOGIN, false)),
                ("alogin.html", "portal.html", to("status", TOLD_AFTER_LOGIN, true)),
                ("status.html", "portal.html", to("status", TOLD_ONLINE, true)),
            ]);
        }
    }
    sources
}

/// The address of a page of the portal, with what the router tells it: for a Location header, and for HTML.
fn sent_to(portal: &Url, page: &str, nas: &Nas, told: &str) -> Value {
    let mut url = portal.clone();
    // An address of the web has a path that can be added to.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().push(page);
    }
    url.query_pairs_mut().append_pair("nas", nas.name().as_str());
    // A `$` in a path is allowed in an address, and begins a variable for the router.
    let location = format!("{}{told}", url.as_str().replace('$', "%24"));
    let link = location.replace('&', "&amp;").replace('\'', "&#39;");
    context! { location => Value::from_safe_string(location), link => Value::from_safe_string(link) }
}

/// The languages of the chooser, each with the address of its login page, but the one that is shown.
fn choices(shown: Language, default: Language) -> Value {
    let others = Language::ALL.into_iter().filter(|language| *language != shown);
    let choice = |language: Language| {
        let path = if language == default { "/login".to_owned() } else { format!("/{}/login", language.tag()) };
        context! { path, tag => language.tag(), name => language.own_name() }
    };
    others.map(choice).collect()
}

/// The field of the router's form that the code is typed into.
const fn field(nas: &Nas) -> &'static str {
    match nas.code_in {
        CodeIn::Username => "username",
        CodeIn::Password => "password",
    }
}

fn environment(words: &Arc<Words>, language: Language) -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_formatter(escaped);
    for (name, template) in TEMPLATES {
        environment.add_template(name, template)?;
    }
    let words = Arc::clone(words);
    let say = move |id: &str| {
        let key = Key::ALL.iter().find(|key| key.id() == id);
        let key =
            key.ok_or_else(|| minijinja::Error::new(ErrorKind::InvalidOperation, format!("there are no words {id}")))?;
        Ok::<_, minijinja::Error>(words.say(language, *key, &[]))
    };
    environment.add_function("say", say);
    Ok(environment)
}

/// Writes a value so that it is text and nothing else: neither markup, nor a variable of RouterOS.
fn escaped(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), minijinja::Error> {
    if value.is_undefined() {
        return Err(ErrorKind::UndefinedError.into());
    }
    let text = value.to_string();
    if value.is_safe() || matches!(state.auto_escape(), AutoEscape::None) {
        return Ok(out.write_str(&text)?);
    }
    for letter in text.chars() {
        match letter {
            '<' => out.write_str("&lt;")?,
            '>' => out.write_str("&gt;")?,
            '&' => out.write_str("&amp;")?,
            '"' => out.write_str("&quot;")?,
            '\'' => out.write_str("&#39;")?,
            '$' => out.write_str("&#36;")?,
            other => out.write_char(other)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
