//! `spotgate migrate` and `spotgate store copy`: what concerns the store alone.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use secrecy::SecretString;

use crate::cli::{block_on, complain, load, print};
use crate::clock::Clock;
use crate::cluster::{self, copy};
use crate::config::{Settings, StoreKind};
use crate::database::{Database, Schema};
use crate::ledger::Ledger;

/// What `spotgate store` does.
#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Copy every account, and the sessions that ended, and compare; no daemon may run meanwhile
    #[command(
        after_help = "The configuration has kind = \"postgres\": the files are those below store.path, the database is \
        the one of store.url_file. What is copied to must be empty. What waits in an outbox is not copied: \
        spotgate_store_owed must be 0 before a daemon is stopped for this. Then start the daemons with the kind that you want."
    )]
    Copy(CopyArguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct CopyArguments {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/spotgate/spotgate.toml")]
    config: PathBuf,
    /// Where to
    #[arg(long, value_enum)]
    to: To,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum To {
    /// From ledger.db below store.path into the database
    Database,
    /// From the database into ledger.db below store.path
    Files,
}

pub(super) fn run(StoreCommand::Copy(arguments): &StoreCommand) -> ExitCode {
    with_database(&arguments.config, async |settings, database| {
        let (folder, policy) = (&settings.store.path, &settings.policy);
        let now = Clock::system().now().wall;
        let mut told = 0;
        let tell = |progress: copy::Progress| {
            // About ten lines.
            let tenth = progress.accounts * 10 / progress.of.max(1);
            if tenth > told || progress.closed > 0 && progress.closed.is_multiple_of(50_000) {
                told = tenth;
                complain(&format!(
                    "{} of {} accounts, {} sessions that ended",
                    progress.accounts, progress.of, progress.closed
                ));
            }
        };
        let copied = match arguments.to {
            To::Database => copy::into_database(folder, &database, policy, now, tell).await,
            To::Files => copy::into_files(&database, folder, policy, now, tell).await,
        };
        let copy::Progress { accounts, closed, .. } = copied.map_err(|error| error.to_string())?;
        Ok(format!(
            "{accounts} accounts and {closed} sessions that ended were copied, and are the same on both sides\n"
        ))
    })
}

pub(super) fn migrate(config: &Path) -> ExitCode {
    with_database(config, async |_, database| {
        let migrated = database.migrate().await.map_err(|error| error.to_string())?;
        let schema = database.schema().await.map_err(|error| error.to_string())?;
        Ok(if schema.is_some_and(Schema::is_later) {
            format!("the schema is of a later release (version {}), beside which this one works\n", migrated.to)
        } else if migrated.from == migrated.to {
            format!("the schema is up to date (version {})\n", migrated.to)
        } else {
            format!("the schema was brought from version {} to {}\n", migrated.from, migrated.to)
        })
    })
}

fn with_database(config: &Path, act: impl AsyncFnOnce(&Settings, Database) -> Result<String, String>) -> ExitCode {
    let settings = match load(config) {
        Ok(loaded) => loaded.settings,
        Err(report) => {
            complain(&report.to_string());
            return ExitCode::from(2);
        }
    };
    let StoreKind::Postgres(url) = &settings.store.kind else {
        complain("spotgate: the configuration names no database: set store.kind = \"postgres\" and store.url_file");
        return ExitCode::from(2);
    };
    let outcome = block_on(async { act(&settings, connect(url)?).await });
    match outcome {
        Ok(Ok(said)) => {
            print(&said);
            ExitCode::SUCCESS
        }
        Ok(Err(why)) => {
            complain(&format!("spotgate: {why}"));
            ExitCode::FAILURE
        }
        Err(code) => code,
    }
}

/// Not by a daemon's name: it is none.
fn connect(url: &SecretString) -> Result<Database, String> {
    Database::new(url, "a command of spotgate").map_err(|error| error.to_string())
}

/// The accounts, to look at beside the daemon; and how many records could not be read. It blocks.
pub(super) fn ledger(settings: &Settings) -> Result<(Ledger, usize), String> {
    let StoreKind::Postgres(url) = &settings.store.kind else {
        return Ledger::examine(&settings.store.path, &settings.policy).map_err(|error| error.to_string());
    };
    let reading = block_on(async {
        let database = connect(url)?;
        cluster::read(&database, &settings.policy).await.map_err(|error| error.to_string())
    });
    reading.map_err(|_| "the runtime could not be started".to_owned())?
}

/// The same where a runtime is there already.
pub(super) async fn accounts(settings: &Settings) -> Result<Ledger, String> {
    let StoreKind::Postgres(url) = &settings.store.kind else {
        return Ok(Ledger::read(&settings.store.path, &settings.policy));
    };
    let database = connect(url)?;
    let read = cluster::read(&database, &settings.policy).await;
    read.map(|(ledger, _)| ledger).map_err(|error| error.to_string())
}
