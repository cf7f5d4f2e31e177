//! `spotgate check`.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use crate::cli::{complain, load, print};
use crate::clock::Clock;
use crate::http::server;
use crate::radius::radsec::Terms;

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
            let now = Clock::system().now().wall;
            let radsec = |files| {
                Terms::new(files)
                    .and_then(|terms| terms.trouble(now).map_or(Ok(()), |trouble| Err(io::Error::other(trouble))))
            };
            if let Some(Err(error)) = settings.radius.radsec.as_ref().map(radsec) {
                complain(&format!("error: {}: radius.radsec: {error}", path.display()));
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
