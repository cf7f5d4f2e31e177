//! `spotgate password`: a password as it may stand in a file.

use std::io::BufRead as _;
use std::process::ExitCode;

use secrecy::SecretString;

use crate::cli::{complain, print};
use crate::config::passwords::SHORTEST;
use crate::console::sign_in::hash;

/// Reads one line and prints its hash.
pub(super) fn run() -> ExitCode {
    complain("Type the password, then Enter. (What you type is shown: another program may write it here instead.)");
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    let typed = line.trim_end_matches(['\n', '\r']);
    if read.is_err() || typed.chars().count() < SHORTEST {
        complain(&format!("spotgate: a password has {SHORTEST} characters or more"));
        return ExitCode::FAILURE;
    }
    match hash(&SecretString::from(typed)) {
        Some(hash) => {
            print(&format!("{hash}\n"));
            ExitCode::SUCCESS
        }
        None => {
            complain("spotgate: the system has no random numbers to give");
            ExitCode::from(74)
        }
    }
}
