//! `spotgate mikrotik`: what a router needs to be a hotspot of ours.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ipnet::Ipv4Net;

use crate::cli::{complain, load, print};
use crate::config::{HandOver, Nas, Settings};
use crate::mikrotik::{self, CallOut, Setup, Site};

/// The configuration does not do, or names no such router.
const UNUSABLE: u8 = 2;

#[derive(Debug, clap::Subcommand)]
pub(super) enum MikrotikCommand {
    /// Print the RouterOS v7 commands that connect the router; the RADIUS secret stands in them in full
    Setup(SetupArguments),
    /// Print the commands that put scripts on the router by which it asks over HTTP; the key stands in them in full
    Scripts(ScriptsArguments),
    /// Write the pages that the router shows to guests, as a folder to upload
    Pages(PagesArguments),
}

#[derive(Debug, clap::Args)]
struct RouterArguments {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/spotgate/spotgate.toml")]
    config: PathBuf,
    /// The router, by its name in the configuration
    #[arg(long, value_name = "NAME")]
    nas: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct SetupArguments {
    #[command(flatten)]
    router: RouterArguments,
    /// The address of spotgate, as the router reaches it; else it is guessed from the configuration
    #[arg(long, value_name = "ADDRESS")]
    server: Option<IpAddr>,
    /// The interface of the guests
    #[arg(long, value_name = "NAME", default_value = "bridge-guest")]
    interface: String,
    /// The address of the hotspot there; else the first that the interface has
    #[arg(long, value_name = "ADDRESS")]
    hotspot_address: Option<Ipv4Addr>,
    /// The network of the guests, e.g. 10.5.88.0/24; else that of the address
    #[arg(long, value_name = "NETWORK")]
    network: Option<Ipv4Net>,
}

#[derive(Debug, clap::Args)]
pub(super) struct ScriptsArguments {
    #[command(flatten)]
    router: RouterArguments,
    /// Where spotgate is, as the router reaches it by HTTP; else `portal.public_url`
    #[arg(long, value_name = "URL")]
    url: Option<reqwest::Url>,
    /// The API key to ask with, by its name; else one that may ask and report
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct PagesArguments {
    #[command(flatten)]
    router: RouterArguments,
    /// The folder to write to; files of the same names are replaced, others stay
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(super) fn run(command: &MikrotikCommand) -> ExitCode {
    match command {
        MikrotikCommand::Setup(arguments) => setup(arguments),
        MikrotikCommand::Scripts(arguments) => scripts(arguments),
        MikrotikCommand::Pages(arguments) => pages(arguments),
    }
}

fn setup(arguments: &SetupArguments) -> ExitCode {
    let site = Site {
        server: arguments.server,
        interface: arguments.interface.clone(),
        hotspot_address: arguments.hotspot_address,
        network: arguments.network,
    };
    print_script(with_router(&arguments.router, |settings, nas| mikrotik::setup(settings, nas, &site)))
}

fn scripts(arguments: &ScriptsArguments) -> ExitCode {
    let call_out = CallOut { url: arguments.url.clone(), key: arguments.key.clone() };
    print_script(with_router(&arguments.router, |settings, nas| mikrotik::scripts(settings, nas, &call_out)))
}

fn print_script(made: Result<Setup, ExitCode>) -> ExitCode {
    match made {
        Ok(made) => {
            for note in &made.notes {
                complain(&format!("spotgate: {note}"));
            }
            print(&made.script);
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

fn pages(arguments: &PagesArguments) -> ExitCode {
    let made = with_router(&arguments.router, |settings, nas| Ok((mikrotik::pages(settings, nas)?, nas.hand_over)));
    let (files, hand_over) = match made {
        Ok(made) => made,
        Err(code) => return code,
    };
    let folder = arguments.out.as_path();
    for (name, text) in &files {
        if let Err(error) = replace(&folder.join(name), text) {
            complain(&format!("spotgate: {} cannot be written: {error}", folder.join(name).display()));
            return ExitCode::FAILURE;
        }
    }
    let login = match hand_over {
        HandOver::OneTime | HandOver::Form | HandOver::OpenNds => "its login page sends guests to the portal",
        HandOver::Router => "its login page takes the code itself",
    };
    print(&format!(
        "{count} files are in {folder}: {login}.\n\
         Upload the folder to the router as spotgate (flash/spotgate if it has a folder flash), by Files in WinBox or:\n  \
         scp -r {folder} admin@ROUTER:spotgate\n\
         The profile of the hotspot has to name it, as `spotgate mikrotik setup` does:\n  \
         /ip hotspot profile set [find where name=\"spotgate\"] html-directory-override=\"spotgate\"\n",
        count = files.len(),
        folder = folder.display(),
    ));
    ExitCode::SUCCESS
}

/// What is made for the router that the arguments name; else what is wrong has been said, and the exit code is there.
fn with_router<T>(
    arguments: &RouterArguments,
    make: impl FnOnce(&Settings, &Nas) -> Result<T, mikrotik::Error>,
) -> Result<T, ExitCode> {
    let refused = |why: &str| {
        complain(why);
        Err(ExitCode::from(UNUSABLE))
    };
    let settings = match load(&arguments.config) {
        Ok(loaded) => loaded.settings,
        Err(report) => return refused(&report.to_string()),
    };
    let Some(nas) = settings.nas.iter().find(|nas| nas.name().as_str() == arguments.nas) else {
        let names: Vec<&str> = settings.nas.iter().map(|nas| nas.name().as_str()).collect();
        return refused(&format!("spotgate: no NAS is called {}; there are: {}", arguments.nas, names.join(", ")));
    };
    make(&settings, nas).or_else(|error| refused(&format!("spotgate: {}: {error}", nas.name().as_str())))
}

/// Writes a file in one step: it is there as it was or as it is to be, never in part.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidFilename.into());
    };
    fs::create_dir_all(folder)?;
    let draft = folder.join(format!(".{}.new", name.display()));
    fs::write(&draft, text)?;
    fs::rename(&draft, path).inspect_err(|_| drop(fs::remove_file(&draft)))
}
