//! `spotgate man`: the manual pages, made of the same texts as `--help` and the commented configuration.

use std::process::ExitCode;

use clap::{Arg, Command, CommandFactory as _, ValueEnum};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use crate::cli::{Arguments, complain, print};

/// What documents the configuration: the file with every key.
const CONFIGURATION: &str = include_str!("../../config/spotgate.toml");

/// What an operator should know beyond the commands.
const FILES: [(&str, &str); 5] = [
    ("/etc/spotgate/spotgate.toml", "The configuration; see spotgate.toml(5)."),
    ("/var/lib/spotgate/ledger.db", "Accounts and sessions; an SQLite file that may be read while spotgate runs."),
    ("/var/lib/spotgate/history.db", "Decisions, numbers for the console's pictures, and the trail of actions."),
    ("SIGHUP", "Reads the configuration again. A wrong one changes nothing; what needs a restart is logged."),
    ("SIGTERM", "Lets requests under way end, and stops within 10 s."),
];

/// Exit codes of the daemon (sysexits.h); those of other commands stand in their help.
const EXIT: [(&str, &str); 5] = [
    ("0", "Done; of explain: allow; of doctor: nothing fails."),
    ("1", "Not done; of explain: it could not be decided."),
    ("2", "The configuration (check) or the command line is wrong."),
    ("3", "Of explain: deny."),
    ("74, 78", "Of serve: the system failed (a port, the disk); the configuration is wrong."),
];

#[derive(Debug, clap::Args)]
pub(super) struct ManArguments {
    /// Which page
    #[arg(value_name = "PAGE", value_enum, default_value_t = Page::Spotgate)]
    page: Page,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Page {
    /// spotgate(8)
    Spotgate,
    /// spotgate.toml(5)
    #[value(name = "spotgate.toml")]
    Configuration,
}

pub(super) fn run(arguments: &ManArguments) -> ExitCode {
    let mut page = Vec::new();
    let written = match arguments.page {
        Page::Spotgate => commands(&mut page),
        Page::Configuration => {
            page = configuration(CONFIGURATION).into_bytes();
            Ok(())
        }
    };
    match written.map(|()| String::from_utf8(page)) {
        Ok(Ok(page)) => {
            print(&page);
            ExitCode::SUCCESS
        }
        _ => {
            complain("spotgate: the page could not be made");
            ExitCode::from(70)
        }
    }
}

fn commands(page: &mut Vec<u8>) -> std::io::Result<()> {
    let mut command = Arguments::command();
    command.build();
    // No date: the same sources make the same page.
    let man = Man::new(command.clone()).section("8").manual("spotgate").date("");
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    for command in command.get_subcommands() {
        describe(&mut roff, "spotgate", command);
    }
    listed(&mut roff, "FILES AND SIGNALS", &FILES);
    listed(&mut roff, "EXIT STATUS", &EXIT);
    roff.control("SH", ["SEE ALSO"]);
    roff.text([bold("spotgate.toml"), roman("(5), "), bold("systemctl"), roman("(1); /usr/share/doc/spotgate")]);
    roff.to_writer(page)
}

fn describe(roff: &mut Roff, parent: &str, command: &Command) {
    let name = format!("{parent} {}", command.get_name());
    if command.get_name() == "help" {
        return;
    }
    if command.has_subcommands() {
        command.get_subcommands().for_each(|command| describe(roff, &name, command));
        return;
    }
    let mut line = vec![bold(name.clone())];
    for argument in command.get_arguments().filter(|argument| argument.get_id() != "help") {
        line.push(roman(" "));
        line.extend(usage(argument));
    }
    roff.control("SS", [name.as_str()]);
    roff.text(line);
    if let Some(about) = command.get_about() {
        roff.control("PP", []);
        roff.text([roman(format!("{about}."))]);
    }
    for argument in command.get_arguments().filter(|argument| argument.get_id() != "help") {
        roff.control("TP", []);
        roff.text(usage(argument));
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let defaults = argument.get_default_values().iter().filter_map(|value| value.to_str()).collect::<Vec<_>>();
        let takes = argument.get_action().takes_values() && !defaults.is_empty();
        let default = if takes { format!("; {} unless given", defaults.join(", ")) } else { String::new() };
        roff.text([roman(format!("{help}{default}."))]);
    }
}

/// An argument as it is typed.
fn usage(argument: &Arg) -> Vec<Inline> {
    let takes = argument.get_action().takes_values();
    let value = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    let mut shown = Vec::new();
    if let Some(long) = argument.get_long() {
        shown.push(bold(format!("--{long}")));
        if takes {
            shown.push(roman(" "));
        }
    }
    if takes {
        shown.push(italic(value.unwrap_or_else(|| argument.get_id().to_string().to_uppercase())));
    }
    if !argument.is_required_set() {
        shown.insert(0, roman("["));
        shown.push(roman("]"));
    }
    shown
}

fn listed(roff: &mut Roff, heading: &str, items: &[(&str, &str)]) {
    roff.control("SH", [heading]);
    for (name, text) in items {
        roff.control("TP", []);
        roff.text([bold(*name)]);
        roff.text([roman(*text)]);
    }
}

/// The page of a commented configuration: its headings, sections and keys, each with the comment before it.
fn configuration(file: &str) -> String {
    let mut roff = Roff::new();
    roff.control("TH", ["spotgate.toml", "5", "", concat!("spotgate ", env!("CARGO_PKG_VERSION")), "spotgate"]);
    roff.control("SH", ["NAME"]);
    roff.text([roman("spotgate.toml - the configuration of spotgate")]);
    roff.control("SH", ["DESCRIPTION"]);
    let (mut comment, mut is_head) = (Vec::new(), true);
    for line in file.lines() {
        if let Some(heading) = line.strip_prefix("# ---- ") {
            is_head = false;
            flush(&mut roff, &mut comment);
            roff.control("SH", [heading.trim_end_matches(['-', ' ']).to_uppercase().as_str()]);
        } else if let Some(text) = line.strip_prefix("# ") {
            comment.push(text);
        } else if line == "#" || line.is_empty() {
            if is_head {
                flush(&mut roff, &mut comment);
            }
        } else {
            setting(&mut roff, line.trim_start_matches('#'), &mut comment);
        }
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text([
        bold("spotgate"),
        roman("(8); "),
        bold("spotgate check"),
        roman(" says what is wrong with a file, and where."),
    ]);
    roff.to_roff()
}

/// Writes what a comment says: lines with columns as they are, others as text.
fn flush(roff: &mut Roff, comment: &mut Vec<&str>) {
    if comment.is_empty() {
        return;
    }
    roff.control("PP", []);
    let is_table = comment.iter().any(|line| line.trim_start().contains("   "));
    if is_table {
        roff.control("nf", []);
        for line in comment.iter() {
            roff.text([roman(*line)]);
        }
        roff.control("fi", []);
    } else {
        roff.text([roman(comment.join(" "))]);
    }
    comment.clear();
}

/// A section or a key.
fn setting(roff: &mut Roff, line: &str, comment: &mut Vec<&str>) {
    if line.starts_with('[') {
        roff.control("SS", [line]);
        flush(roff, comment);
        return;
    }
    let (key, value) = line.split_once(" = ").unwrap_or((line, ""));
    roff.control("TP", []);
    roff.text([bold(key), roman(" = "), italic(value)]);
    let text = if comment.is_empty() { "See the key before.".to_owned() } else { comment.join(" ") };
    roff.text([roman(text)]);
    comment.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_stands_in_the_page() {
        let mut page = Vec::new();
        commands(&mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        for command in Arguments::command().get_subcommands().filter(|command| !command.has_subcommands()) {
            assert!(page.contains(&format!(".SS \"spotgate {}\"", command.get_name())), "{}", command.get_name());
        }
        assert!(page.contains(".SS \"spotgate mikrotik setup\""));
    }

    #[test]
    fn sections_keys_and_comments_become_a_page() {
        let page = configuration(
            "# Head.\n#\n# Durations   \"1s\"\n\n# ---- Routers ----\n\n# One each.\n[[nas]]\n# Any name.\nname = \"a\"\n#group = \"b\"\n",
        );
        for text in [
            "Head.",
            ".nf",
            ".SH ROUTERS",
            ".SS [[nas]]\n.PP\nOne each.",
            "\\fBname\\fR = \\fI\"a\"\\fR\nAny name.",
            "See the key before.",
        ] {
            assert!(page.contains(text), "{text} in {page}");
        }
        let whole = configuration(CONFIGURATION);
        assert!(whole.matches(".TP").count() > 80, "every key");
    }
}
