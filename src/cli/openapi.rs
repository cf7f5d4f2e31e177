//! `spotgate openapi`.

use std::process::ExitCode;

use crate::cli::print;
use crate::http::routes;

pub(super) fn run() -> ExitCode {
    match routes::document().to_pretty_json() {
        Ok(document) => {
            print(&format!("{document}\n"));
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::from(70),
    }
}
