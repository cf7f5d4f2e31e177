//! The pages as text: templates with the words of a language, and what hangs on them (style, script, logo).

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::io;
use std::path::Path;

use axum::body::Bytes;
use minijinja::{AutoEscape, Environment, ErrorKind, State, UndefinedBehavior, Value, context};
use reqwest::Url;

use super::language::{Key, Language, words};
use crate::config::Portal;

/// The built-in templates.
const BUILT_IN: [(&str, &str); 7] = [
    ("frame.html", include_str!("pages/frame.html")),
    ("login.html", include_str!("pages/login.html")),
    ("handover.html", include_str!("pages/handover.html")),
    ("status.html", include_str!("pages/status.html")),
    ("logout.html", include_str!("pages/logout.html")),
    ("error.html", include_str!("pages/error.html")),
    (STYLE, include_str!("pages/style.css")),
];

const STYLE: &str = "style.css";

/// The script of the pages, which do without it.
pub const SCRIPT: &str = include_str!("pages/script.js");

/// The largest logo, in octets: a page is 30 kB at most, all in all.
const LARGEST_LOGO: usize = 20_000;

/// The largest template of a site's own, in octets.
const LARGEST_TEMPLATE: u64 = 256 << 10;

/// The pages of one configuration.
pub struct Pages {
    built_in: Environment<'static>,
    /// With the site's own templates.
    own: Option<Environment<'static>>,
    title: String,
    terms_url: Option<String>,
    /// `style.css`.
    pub style: Bytes,
    /// The logo.
    pub logo: Option<Logo>,
    /// Changes with what browsers keep: style, script and logo.
    version: String,
}

/// An image.
#[derive(Clone, Debug)]
pub struct Logo {
    /// Its media type.
    pub media_type: &'static str,
    /// The image.
    pub image: Bytes,
}

/// Which page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// The code is asked for.
    Login,
    /// On to the router, by a form of its own.
    HandOver,
    /// Time left.
    Status,
    /// Logged out.
    Logout,
    /// It cannot go on.
    Error,
}

impl Page {
    const fn template(self) -> &'static str {
        match self {
            Self::Login => "login.html",
            Self::HandOver => "handover.html",
            Self::Status => "status.html",
            Self::Logout => "logout.html",
            Self::Error => "error.html",
        }
    }
}

/// Where a page is, so that it can be had in another language: its path, and what its address says but for `lang`.
#[derive(Clone, Default)]
pub struct Here {
    /// Without a slash before it.
    pub path: &'static str,
    /// Names and values.
    pub query: Vec<(&'static str, String)>,
}

impl Here {
    /// The address with `lang` in it, from the page itself.
    #[must_use]
    pub fn spoken(&self, language: Language) -> String {
        let pairs = self.query.iter().map(|(name, value)| (*name, value.as_str()));
        format!("{}?{}", self.path, query(pairs.chain([("lang", language.tag())])))
    }
}

/// Pairs as they stand after the question mark.
pub fn query<'n, 'v>(pairs: impl IntoIterator<Item = (&'n str, &'v str)>) -> String {
    // Any address will do: it is its query that is wanted.
    let Ok(mut url) = Url::parse("http://spotgate.invalid/") else { return String::new() };
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

/// The hidden fields of a form, for a template.
#[must_use]
pub fn fields<'n, 'v>(pairs: impl IntoIterator<Item = (&'n str, &'v str)>) -> Value {
    pairs.into_iter().map(|(name, value)| context! { name, value }).collect::<Vec<_>>().into()
}

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pages").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Pages {
    /// Reads what these settings name. What cannot be used is said in the second part, and done without. It blocks.
    #[must_use]
    pub fn new(settings: &Portal) -> (Self, Vec<String>) {
        let mut troubles = Vec::new();
        let mut note = |what: String| troubles.push(what);
        let logo = settings.logo.as_deref().and_then(|path| {
            logo(path).inspect_err(|error| note(format!("portal.logo: {}: {error}", path.display()))).ok()
        });
        let own = settings.templates.as_deref().and_then(|folder| own(folder, &mut note));
        let built_in = environment();
        let colors =
            context! { accent => settings.accent_color.as_str(), on_accent => legible_on(&settings.accent_color) };
        let style = |environment: &Environment<'_>| environment.get_template(STYLE)?.render(&colors);
        let style = own.as_ref().and_then(|own| style(own).inspect_err(|error| note(said(STYLE, error))).ok());
        let style = style.unwrap_or_else(|| built_in_style(&built_in, &colors));
        let mut hasher = DefaultHasher::new();
        (&style, SCRIPT, logo.as_ref().map(|logo| &logo.image)).hash(&mut hasher);
        let version = format!("{:08x}", hasher.finish() & 0xffff_ffff);
        let pages = Self {
            built_in,
            own,
            title: settings.title.clone(),
            terms_url: settings.terms_url.clone(),
            style: style.into(),
            logo,
            version,
        };
        (pages, troubles)
    }

    /// A page in a language; `body` holds what its template names.
    #[must_use]
    pub fn render(&self, page: Page, language: Language, heading: &str, here: &Here, body: Value) -> String {
        let languages: Vec<_> =
            Language::ALL.into_iter().map(|other| context! { tag => other.tag(), name => other.own_name() }).collect();
        let here_fields = fields(here.query.iter().map(|(name, value)| (*name, value.as_str())));
        let frame = context! {
            lang => language.tag(),
            title => self.title.as_str(),
            heading,
            logo => self.logo.is_some(),
            version => self.version.as_str(),
            terms_url => self.terms_url.as_deref(),
            languages,
            path => here.path,
            here_fields,
        };
        let context = context! { ..body, ..frame };
        let render = |environment: &Environment<'_>| environment.get_template(page.template())?.render(&context);
        let own = self.own.as_ref().and_then(|own| {
            let rendered = render(own);
            rendered.inspect_err(|error| tracing::error!("{}", said(page.template(), error))).ok()
        });
        // A test renders every built-in page with every context.
        own.or_else(|| render(&self.built_in).ok()).unwrap_or_default()
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_auto_escape_callback(|name| if name == STYLE { AutoEscape::None } else { AutoEscape::Html });
    environment.add_function("say", say);
    for (name, text) in BUILT_IN {
        // A test reads each.
        let _ = environment.add_template(name, text);
    }
    environment
}

fn built_in_style(environment: &Environment<'_>, colors: &Value) -> String {
    environment.get_template(STYLE).and_then(|style| style.render(colors)).unwrap_or_default()
}

/// `say("login-go")` in a template: a label in the language of the page.
fn say(state: &State<'_, '_>, id: &str) -> Result<String, minijinja::Error> {
    let wrong = |what: String| minijinja::Error::new(ErrorKind::InvalidOperation, what);
    let key = Key::of(id).ok_or_else(|| wrong(format!("there is no text `{id}`")))?;
    let language = state.lookup("lang").and_then(|lang| lang.as_str()?.parse().ok());
    let language = language.ok_or_else(|| wrong("`lang` is no language".to_owned()))?;
    Ok(words().say(language, key, &[]))
}

/// The site's own templates over the built-in ones; none if one of them cannot be used.
fn own(folder: &Path, note: &mut impl FnMut(String)) -> Option<Environment<'static>> {
    let mut environment = environment();
    let mut found = false;
    for (name, _) in BUILT_IN {
        let path = folder.join(name);
        let read = match std::fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => Err(error),
            Ok(of) if of.len() > LARGEST_TEMPLATE => Err(io::Error::other("it is too large")),
            Ok(_) => std::fs::read_to_string(&path),
        };
        let added = match read {
            Ok(text) => environment.add_template_owned(name, text).map_err(|error| said(name, &error)),
            Err(error) => Err(format!("{name}: {error}")),
        };
        if let Err(error) = added {
            note(format!("portal.templates: {}: {error}; the built-in pages are used", folder.display()));
            return None;
        }
        found = true;
    }
    if !found {
        note(format!("portal.templates: {}: it holds none of the pages' files", folder.display()));
    }
    found.then_some(environment)
}

fn said(name: &str, error: &minijinja::Error) -> String {
    let line = error.line().map(|line| format!(" line {line}:")).unwrap_or_default();
    format!("template {name}:{line} {error}")
}

fn logo(path: &Path) -> io::Result<Logo> {
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    let media_type = match extension.as_deref() {
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("webp") => "image/webp",
        _ => return Err(io::Error::other("its name must end with .svg, .png, .jpg or .webp")),
    };
    let size = std::fs::metadata(path)?.len();
    if size > u64::try_from(LARGEST_LOGO).unwrap_or(u64::MAX) {
        return Err(io::Error::other(format!(
            "it has {size} bytes; phones on a slow WiFi take {LARGEST_LOGO} at most"
        )));
    }
    Ok(Logo { media_type, image: std::fs::read(path)?.into() })
}

/// Black or white, whichever can be read better on this colour: one of both always has the contrast that WCAG 2.2 §1.4.3 asks
/// for (4.5 : 1).
#[must_use]
pub fn legible_on(color: &str) -> &'static str {
    let digits: Vec<u32> = color.chars().filter_map(|digit| digit.to_digit(16)).collect();
    let channels: Vec<u32> = match digits[..] {
        [r, g, b] => [r, g, b].map(|digit| digit * 17).to_vec(),
        [r, s, g, h, b, i] => vec![r * 16 + s, g * 16 + h, b * 16 + i],
        _ => return "#000",
    };
    let linear = |channel: u32| {
        let part = f64::from(channel) / 255.0;
        if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    };
    let luminance: f64 =
        channels.iter().zip([0.2126, 0.7152, 0.0722]).map(|(channel, share)| linear(*channel) * share).sum();
    // The two contrasts are equal where (1.05) / (l + 0.05) = (l + 0.05) / 0.05.
    if luminance > 0.179_13 { "#000" } else { "#fff" }
}

#[cfg(test)]
mod tests;
