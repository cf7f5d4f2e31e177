//! What a login costs over the wire, beside the least that it can cost.
//!
//! ```sh
//! cargo bench --bench logins                      # everything that is spotgate's; about ten minutes
//! cargo bench --bench logins -- --peers rates     # beside FreeRADIUS too
//! cargo bench --bench logins -- --quick rates     # one part, three rounds of 10 000 logins
//! ```
//!
//! Parts are `rates` and `latency`; none named means all. `--only WORDS` measures the subjects whose names hold these words,
//! `--in-flight N` with so many requests that wait at once. `--folder DIR` says where everything is stored
//! (`/var/tmp` unless told); it must be on a disk. `cargo test --bench logins` runs every part at a size that says nothing, to
//! see that it works.
//!
//! spotgate runs as its users run it: the real binary, a file of tokens, the log at `warn`, accounts in its journal, `UserLimit` 3 and
//! a pool of minutes enforced. Requests are RouterOS-shaped (PAP unless another way is named), signed beforehand, and each is another;
//! every answer is verified. Client and server share the machine's cores, so **processor time for each login** is the figure that
//! counts: user and system time of the server's processes by `/proc`, so to ten milliseconds in the whole of a run. Subjects are
//! measured in turns, so that what else happens on the machine falls on all of them.
//!
//! - *udp echo*: a loop around one socket that sends back what came. The floor of what the system's calls cost.
//! - *signed echo*: the least that a legal RADIUS server does: it checks the Message-Authenticator, reads the password and signs an
//!   answer of the same attributes; it looks nothing up, remembers no repetitions, decides and writes nothing. The floor.
//! - *spotgate, again*: guests whose code and device are known log in once more, after their former session ended by its Stop.
//! - *spotgate, first*: each login is the first of its code and of its device.
//! - `--peers`: Debian's FreeRADIUS; see `peers.rs`.
//!
//! - **rates**: a closed loop, with 1, 16 and 64 in flight.
//! - **latency**: an open loop: requests leave by a timetable, whatever has been answered, and an answer's time counts from when its
//!   request was due (no co-ordinated omission). At the same rates for all: 1000, and half of what spotgate does with 64 in flight.

#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a bench")]
#![allow(unreachable_pub, reason = "a binary")]

mod floors;
mod guests;
#[path = "../accounting/load.rs"]
#[allow(dead_code, reason = "shared")]
mod load;
#[path = "../accounting/peers.rs"]
#[allow(dead_code, reason = "shared")]
mod of_accounting;
mod paced;
mod peers;
mod rates;
#[path = "../accounting/server.rs"]
#[allow(dead_code, reason = "shared")]
mod server;
#[path = "../accounting/table.rs"]
#[allow(dead_code, reason = "shared")]
mod table;
#[path = "../accounting/tokens.rs"]
mod tokens;

use std::path::PathBuf;
use std::process::ExitCode;

/// How much of everything.
#[derive(Clone, Debug)]
struct Sizes {
    /// Where everything is stored.
    folder: PathBuf,
    /// Runs of each kind, from which the median is taken.
    rounds: usize,
    /// The subjects whose names hold these words.
    only: Option<String>,
    /// How many requests wait at once.
    in_flight: Vec<usize>,
    /// Beside FreeRADIUS too.
    peers: bool,
    /// Guests who come back: so many logins are measured each time.
    guests: usize,
    /// Tokens that nobody has used yet; a file of more is not read (64 MiB).
    unused: usize,
}

impl Sizes {
    fn full() -> Self {
        Self {
            folder: "/var/tmp".into(),
            rounds: 5,
            only: None,
            in_flight: vec![1, 16, 64],
            peers: false,
            guests: 30_000,
            unused: 250_000,
        }
    }

    fn quick(self) -> Self {
        Self { rounds: 3, guests: 10_000, ..self }
    }

    fn smoke(self) -> Self {
        Self { rounds: 1, guests: 300, unused: 3000, ..self }
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if_eq(floors::CHILD).is_some() {
        floors::child(arguments);
        return ExitCode::SUCCESS;
    }
    let (mut sizes, mut parts, mut benches, mut tests) = (Sizes::full(), Vec::new(), false, false);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // What cargo adds: `cargo bench` the one, `cargo test` neither or the other.
            "--bench" => benches = true,
            "--test" => tests = true,
            "--peers" => sizes.peers = true,
            "--quick" => sizes = sizes.quick(),
            "--folder" => match arguments.next() {
                Some(folder) => sizes.folder = folder.into(),
                None => return usage("--folder wants a folder"),
            },
            "--only" => sizes.only = arguments.next(),
            "--in-flight" => match arguments.next().map(|number| number.parse()) {
                Some(Ok(number)) => sizes.in_flight = vec![number],
                _ => return usage("--in-flight wants a number"),
            },
            "rates" | "latency" => parts.push(argument),
            other => return usage(&format!("{other} is nothing known here")),
        }
    }
    if tests || !benches {
        sizes = sizes.smoke();
    }
    let missing = if sizes.peers { peers::missing() } else { Vec::new() };
    if !missing.is_empty() {
        return usage(&format!("--peers needs more: apt-get install {}", missing.join(" ")));
    }
    table::machine(&sizes.folder);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    if wanted("rates") {
        runtime.block_on(rates::run(&sizes));
    }
    if wanted("latency") {
        runtime.block_on(paced::run(&sizes));
    }
    ExitCode::SUCCESS
}

fn usage(what: &str) -> ExitCode {
    println!("logins: {what}");
    println!("usage: logins [--quick] [--peers] [--only WORDS] [--in-flight N] [--folder DIR] [rates] [latency]");
    ExitCode::FAILURE
}
