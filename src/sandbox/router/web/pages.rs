//! The folder of a hotspot's pages: which file answers what, and the words for what went wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

/// `html-directory`: texts by file name, in sub-folders as `lv/login.html`. Clones are the same folder.
#[derive(Clone, Debug)]
pub struct Pages(Arc<BTreeMap<String, String>>);

impl Pages {
    /// A folder of these files.
    #[must_use]
    pub fn new(files: BTreeMap<String, String>) -> Self {
        Self(Arc::new(files))
    }

    /// Whether there is a sub-folder of this name.
    pub(super) fn has_folder(&self, folder: &str) -> bool {
        !folder.is_empty() && self.0.keys().any(|name| inside(name, folder).is_some())
    }

    /// The first of these files that there is, each looked for in the sub-folder before the folder itself.
    pub(super) fn find<'a>(&self, folder: &str, names: &[&'a str]) -> Option<(&'a str, &str)> {
        names.iter().find_map(|&name| {
            let own = self.0.iter().find(|(file, _)| inside(file, folder) == Some(name)).map(|(_, text)| text);
            own.or_else(|| self.0.get(name)).map(|text| (name, text.as_str()))
        })
    }

    /// The words of `errors.txt` for this key.
    pub(super) fn error(&self, folder: &str, key: &str) -> Option<&str> {
        let (_, text) = self.find(folder, &["errors.txt"])?;
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        lines
            .filter_map(|line| line.split_once('='))
            .find(|(name, _)| name.trim() == key)
            .map(|(_, words)| words.trim())
    }
}

/// The name within a sub-folder.
fn inside<'a>(name: &'a str, folder: &str) -> Option<&'a str> {
    name.strip_prefix(folder)?.strip_prefix('/')
}

/// Content-Type, by the end of the name.
pub(super) fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, end)| end) {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "xml" | "xsd" => "text/xml; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    }
}

/// Whether variables in a file are replaced that is asked for by its name.
pub(super) fn is_servlet(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, end)| matches!(end, "html" | "htm" | "txt"))
}
