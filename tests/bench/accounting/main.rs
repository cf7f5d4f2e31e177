//! What accounting costs: durable records in a second, how long an answer takes, and what sessions weigh.
//!
//! ```sh
//! cargo bench --bench accounting                      # everything that is spotgate's; a few minutes
//! cargo bench --bench accounting -- --peers           # the rates beside FreeRADIUS too
//! cargo bench --bench accounting -- --quick rates     # one part, once
//! ```
//!
//! Parts are `rates`, `history`, `memory` and `restart`; none named means all. `--folder DIR` says where everything is
//! stored (`/var/tmp` unless told); it must be on a disk. `cargo test --bench accounting` runs every part at a size
//! that says nothing, to see that it works.
//!
//! spotgate runs as its users run it: the real binary, a file of tokens, the log at `warn`, loopback. The generator
//! keeps so many requests in flight over at most sixteen sockets, each answered request followed by the next; requests
//! are RouterOS-shaped and signed beforehand, each is another, and every answer is verified. Client and server share
//! the machine's cores, so **processor time for each record** is the figure that counts: user and system time of the
//! server's processes, by `/proc`, so to ten milliseconds in the whole of a run. The kernel's own threads (the file
//! system's journal) stand in no figure.
//!
//! - **rates**: Interim-Updates of live sessions with 1, 16 and 256 in flight, in turns with the other subjects:
//!   - *bare journal*: spotgate's own [`Journal`](spotgate::journal::Journal) in a process of its own, filled by a loop
//!     that keeps as many records of the same size in flight. The floor of what is durable.
//!   - *signed echo*: the same behind one socket; it checks each request's authenticator and signs an answer once the
//!     record is on disk, and knows nothing else: no session, no repetition. The floor of what a legal server does.
//!   - `--peers`: Debian's FreeRADIUS with `rlm_sql`, its queries and schema as they are shipped, on SQLite
//!     (write-ahead log, `synchronous = FULL`, as here) and on PostgreSQL (`fsync` and `synchronous_commit` on, a
//!     cluster of its own; its processes count too). Threads and connections: as many as cores on SQLite, which has one
//!     writer; sixteen on PostgreSQL, which commits together.
//! - **history**: Stops, each of which stores an ended session, over 0, 10 000 and 1 000 000 that are stored already;
//!   and how long a start takes with them.
//! - **memory**: what 100 000 live sessions add, each of a token of its own: while running, and after a restart. The
//!   places for repetitions and the queues are filled beforehand, by as many requests about few sessions. Freed room
//!   that a process keeps counts as its own, so the last row, without tokens, is the cleanest.
//! - **restart**: from the start of the program to the first right answer with 100 000 live sessions: that a code is in
//!   use on another device, which only who knows the sessions can say. From the journal as they came in (some records and
//!   the snapshots taken meanwhile) and from one snapshot of all, after SIGKILL and after SIGTERM; files in the page cache.
//!   Beside it the same with the tokens and no session.

#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a bench")]
#![allow(unreachable_pub, reason = "a binary")]

mod bare;
mod crowd;
mod history;
mod load;
mod memory;
mod peers;
mod rates;
mod restart;
mod server;
mod table;
mod tokens;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How much of everything.
#[derive(Clone, Debug)]
struct Sizes {
    /// Where everything is stored.
    folder: PathBuf,
    /// Runs of each kind, from which the median is taken.
    rounds: usize,
    /// How long each rate is measured.
    period: Duration,
    /// Live sessions while rates are measured.
    crowd: usize,
    /// Ended sessions stored beforehand.
    stored: Vec<usize>,
    /// Sessions that end in each run over them.
    stops: usize,
    /// Live sessions that are weighed and started with.
    live: usize,
    /// How long a server is left to itself before it is weighed.
    quiet: Duration,
    /// Beside FreeRADIUS too.
    peers: bool,
}

impl Sizes {
    fn full(folder: PathBuf) -> Self {
        Self {
            folder,
            rounds: 5,
            period: Duration::from_secs(2),
            crowd: 10_000,
            stored: vec![0, 10_000, 1_000_000],
            stops: 5_000,
            live: 100_000,
            // What waits is written by then, and what is old is gone.
            quiet: Duration::from_secs(4),
            peers: false,
        }
    }

    fn quick(self) -> Self {
        Self { rounds: 1, period: Duration::from_secs(1), stored: vec![0, 10_000, 100_000], ..self }
    }

    fn smoke(self) -> Self {
        Self {
            rounds: 1,
            period: Duration::from_millis(100),
            crowd: 300,
            stored: vec![0, 300],
            stops: 300,
            live: 300,
            quiet: Duration::from_millis(100),
            ..self
        }
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if_eq(bare::CHILD).is_some() {
        bare::child(arguments);
        return ExitCode::SUCCESS;
    }
    let (mut sizes, mut parts, mut benches, mut tests) = (Sizes::full("/var/tmp".into()), Vec::new(), false, false);
    let mut quick = false;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // What cargo adds: `cargo bench` the one, `cargo test` neither or the other.
            "--bench" => benches = true,
            "--test" => tests = true,
            "--quick" => quick = true,
            "--peers" => sizes.peers = true,
            "--folder" => match arguments.next() {
                Some(folder) => sizes.folder = folder.into(),
                None => return usage("--folder wants a folder"),
            },
            "rates" | "history" | "memory" | "restart" => parts.push(argument),
            other => return usage(&format!("{other} is nothing known here")),
        }
    }
    if quick {
        sizes = sizes.quick();
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
    if wanted("history") {
        runtime.block_on(history::run(&sizes));
    }
    if wanted("memory") {
        runtime.block_on(memory::run(&sizes));
    }
    if wanted("restart") {
        runtime.block_on(restart::run(&sizes));
    }
    ExitCode::SUCCESS
}

fn usage(what: &str) -> ExitCode {
    println!("accounting: {what}");
    println!("usage: accounting [--quick] [--peers] [--folder DIR] [rates] [history] [memory] [restart]");
    ExitCode::FAILURE
}
