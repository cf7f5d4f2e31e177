//! The commands, one file each.

mod check;
mod daemon;
mod decisions;
mod demo;
mod doctor;
mod explain;
mod man;
mod mikrotik;
mod openapi;
mod password;
mod sandbox;
mod serve;
mod sessions;
mod store;
mod table;
mod tokens;
mod usage;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::{self, Loaded, Report};

/// Decides who may use the WiFi of a coworking space, and for how long.
#[derive(Debug, Parser)]
#[command(name = "spotgate", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Serve(ConfigArgument),
    /// Read and validate the configuration without starting anything
    Check(ConfigArgument),
    /// Try the real things: source and roles, clock, store, ports, certificate, each router's disconnect port
    Doctor(doctor::DoctorArguments),
    /// Decide without admitting: the token, every check with its outcome, the budget
    Explain(explain::ExplainArguments),
    /// Show who is online, by the running daemon
    Sessions(sessions::SessionsArguments),
    /// Have a router end a session, by the running daemon
    Disconnect(sessions::DisconnectArguments),
    /// Show an access token as the running daemon holds it: time left, devices, sessions
    Tokens(tokens::TokensArguments),
    /// Show what the running daemon decided lately, and why
    Decisions(decisions::DecisionsArguments),
    /// Print the usage that is not written back to the source, as CSV; access codes stand in it in full
    Usage(usage::UsageArguments),
    /// Bring the database's schema up to date (store.kind = "postgres"); daemons do so themselves
    Migrate(ConfigArgument),
    /// Move accounts between the files of one daemon and the database of several
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// What a MikroTik router needs: the commands that connect it, and its pages
    #[command(subcommand)]
    Mikrotik(mikrotik::MikrotikCommand),
    /// Run the sandbox Nexudus API alone (user demo@example.org, password demo)
    Sandbox(sandbox::SandboxArguments),
    /// Everything on loopback, with no account and no router
    Demo(demo::DemoArguments),
    /// Print the OpenAPI document of the HTTP interface
    Openapi,
    /// Read a password and print the hash that may stand in admin.password_file in its place
    Password,
    /// Print what completes commands in a shell
    Completions(CompletionsArguments),
    /// Print a manual page: spotgate(8), or spotgate.toml(5)
    Man(man::ManArguments),
}

#[derive(Debug, clap::Args)]
struct ConfigArgument {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/spotgate/spotgate.toml")]
    config: PathBuf,
}

#[derive(Debug, clap::Args)]
struct CompletionsArguments {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: clap_complete::Shell,
}

/// Prints what completes commands in a shell.
fn completions(shell: clap_complete::Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "spotgate", &mut script);
    print(&String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}

/// Runs the command that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    // One provider of cryptography, named here; an error means that it is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(&arguments.config),
        Command::Check(arguments) => check::run(&arguments.config),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Sessions(arguments) => sessions::sessions(&arguments),
        Command::Disconnect(arguments) => sessions::disconnect(&arguments),
        Command::Tokens(arguments) => tokens::run(&arguments),
        Command::Decisions(arguments) => decisions::run(&arguments),
        Command::Usage(arguments) => usage::run(&arguments),
        Command::Migrate(arguments) => store::migrate(&arguments.config),
        Command::Store(command) => store::run(&command),
        Command::Mikrotik(command) => mikrotik::run(&command),
        Command::Sandbox(arguments) => sandbox::run(arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Openapi => openapi::run(),
        Command::Password => password::run(),
        Command::Completions(arguments) => completions(arguments.shell),
        Command::Man(arguments) => man::run(&arguments),
    }
}

/// Loads a configuration file with the process's environment.
fn load(path: &Path) -> Result<Loaded, Report> {
    config::load(path, &|name| std::env::var(name).ok())
}

/// Prints to standard output. A reader that went away is no error; anything else is said.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => complain(&format!("spotgate: {error}")),
        _ => {}
    }
}

/// An answer as programs read it.
fn to_json(answer: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(answer).unwrap_or_default() + "\n"
}

/// Prints to standard error.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Runs a future to its end on a multi-threaded runtime.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, ExitCode> {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let outcome = runtime.block_on(future);
            // A blocking call that hangs (a file on a lost mount, a name that does not resolve) must not hold the exit up.
            runtime.shutdown_timeout(Duration::from_secs(1));
            Ok(outcome)
        }
        Err(error) => {
            complain(&format!("spotgate: the runtime could not be started: {error}"));
            Err(ExitCode::from(70))
        }
    }
}

/// Ends when the user or the system asks the process to.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
