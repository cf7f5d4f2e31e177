//! What is wrong with a configuration file, said to a person: place, line with carets, and what to write instead.
//!
//! A report owns only text that may be shown: secrets are taken out before it is made (see `excerpt.rs`).

use std::fmt;
use std::path::{Path, PathBuf};

/// Every mistake of one file, in order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    path: PathBuf,
    problems: Vec<Problem>,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether the file can be used in spite of it.
    pub severity: Severity,
    /// Where it is; `None` where something is missing altogether.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// What to write instead; may have several lines.
    pub help: String,
}

/// How bad a mistake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but probably does not do what was meant.
    Warning,
}

/// Where a mistake is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub line: usize,
    /// Characters, counted from 1.
    pub column: usize,
    /// The line, where it may be shown.
    pub excerpt: Option<Excerpt>,
}

/// A line of the file without its secrets, and what to underline in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The line; tabs are spaces.
    pub line: String,
    /// Spaces and `^`, as long as needed.
    pub carets: String,
}

impl Report {
    /// A report on the file at `path`; the problems are in order already.
    pub(super) fn new(path: &Path, problems: Vec<Problem>) -> Self {
        Self { path: path.to_owned(), problems }
    }

    /// A report of one mistake that concerns the file as a whole.
    pub(super) fn of_file(path: &Path, message: String, help: String) -> Self {
        Self::new(path, vec![Problem { severity: Severity::Error, place: None, message, help }])
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The mistakes.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// How many mistakes make the file unusable.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.problems.iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    pub(super) fn push(&mut self, problem: Problem) {
        self.problems.push(problem);
    }
}

impl std::error::Error for Report {}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            problem.write(f, &self.path)?;
        }
        Ok(())
    }
}

impl Problem {
    fn write(&self, f: &mut fmt::Formatter<'_>, path: &Path) -> fmt::Result {
        write!(f, "{}: {}", self.severity, path.display())?;
        let mut gutter = String::new();
        if let Some(place) = &self.place {
            write!(f, ":{}:{}", place.line, place.column)?;
            gutter = " ".repeat(place.line.to_string().len());
        }
        write!(f, ": {}", self.message)?;
        if let Some((place, excerpt)) = self.place.as_ref().and_then(|place| Some((place, place.excerpt.as_ref()?))) {
            write!(f, "\n{gutter} |")?;
            write!(f, "\n{} | {}", place.line, excerpt.line)?;
            write!(f, "\n{gutter} | {}", excerpt.carets)?;
        }
        for (index, line) in self.help.lines().enumerate() {
            write!(f, "\n{gutter} {} {line}", if index == 0 { "= help:" } else { "       " })?;
        }
        Ok(())
    }
}
