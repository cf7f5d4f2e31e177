//! `spotgate check`.

use std::path::Path;
use std::process::ExitCode;

use crate::cli::{complain, load, print};
use crate::http::server;

pub(super) fn run(path: &Path) -> ExitCode {
    match load(path) {
        Ok(loaded) => {
            if !loaded.warnings.problems().is_empty() {
                complain(&loaded.warnings.to_string());
            }
            let settings = &loaded.settings;
            if let Some(Err(error)) = settings.http.tls.as_ref().map(server::tls) {
                complain(&format!("error: {}: http.certificate, http.private_key: {error}", path.display()));
                return ExitCode::from(2);
            }
            print(&format!(
                "{}: fine ({} NAS, {} API keys)\n",
                path.display(),
                settings.nas.len(),
                settings.http.api_keys.len()
            ));
            ExitCode::SUCCESS
        }
        Err(report) => {
            complain(&report.to_string());
            ExitCode::from(2)
        }
    }
}
