//! The pages as text.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};

use super::show;
use crate::words;

/// The style of every page.
pub(super) const STYLE: &str = include_str!("pages/style.css");

/// What keeps pages up to date; they do without it.
pub(super) const SCRIPT: &str = include_str!("pages/script.js");

const TEMPLATES: [(&str, &str); 13] = [
    ("frame.html", include_str!("pages/frame.html")),
    ("parts.html", include_str!("pages/parts.html")),
    ("sign-in.html", include_str!("pages/sign-in.html")),
    ("overview.html", include_str!("pages/overview.html")),
    ("sessions.html", include_str!("pages/sessions.html")),
    ("session.html", include_str!("pages/session.html")),
    ("why.html", include_str!("pages/why.html")),
    ("decisions.html", include_str!("pages/decisions.html")),
    ("tokens.html", include_str!("pages/tokens.html")),
    ("token.html", include_str!("pages/token.html")),
    ("routers.html", include_str!("pages/routers.html")),
    ("actions.html", include_str!("pages/actions.html")),
    ("trouble.html", include_str!("pages/trouble.html")),
];

/// Which page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    SignIn,
    Overview,
    Sessions,
    Session,
    Why,
    Decisions,
    Tokens,
    Token,
    Routers,
    Actions,
    Trouble,
}

impl Page {
    const fn template(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in.html",
            Self::Overview => "overview.html",
            Self::Sessions => "sessions.html",
            Self::Session => "session.html",
            Self::Why => "why.html",
            Self::Decisions => "decisions.html",
            Self::Tokens => "tokens.html",
            Self::Token => "token.html",
            Self::Routers => "routers.html",
            Self::Actions => "actions.html",
            Self::Trouble => "trouble.html",
        }
    }
}

/// The templates.
pub(super) struct Pages {
    environment: Environment<'static>,
    /// Changes with what browsers keep.
    version: String,
}

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pages(..)")
    }
}

impl Default for Pages {
    fn default() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.add_filter("clock", words::clock);
        environment.add_filter("count", show::count);
        for (name, text) in TEMPLATES {
            // A test renders each.
            if let Err(error) = environment.add_template(name, text) {
                tracing::error!(%error, name, "a page of the console cannot be made; this is a fault in spotgate");
            }
        }
        let mut hasher = DefaultHasher::new();
        (STYLE, SCRIPT).hash(&mut hasher);
        Self { environment, version: format!("{:08x}", hasher.finish() & 0xffff_ffff) }
    }
}

impl Pages {
    pub(super) fn render(&self, page: Page, body: Value) -> String {
        let context = context! { version => self.version.as_str(), ..body };
        let template = self.environment.get_template(page.template());
        let rendered = template.and_then(|template| template.render(context));
        rendered.unwrap_or_else(|error| {
            // What it was made of may hold a code; a debug form of the error would show it.
            let (line, kind) = (error.line(), error.kind());
            tracing::error!(?page, line, %kind, "a page of the console could not be made; this is a fault in spotgate");
            "<!doctype html><title>spotgate</title><p>This page could not be made. The log says more.".to_owned()
        })
    }
}
