//! What several daemons on one PostgreSQL carry: admissions and accounting records in a second, what each costs and whom, and
//! whether it costs more as sessions pile up.
//!
//! ```sh
//! cargo bench --bench cluster                      # everything; about twenty minutes
//! cargo bench --bench cluster -- --quick rates     # one part, two rounds
//! ```
//!
//! Parts are `rates`, `history` and `live`; none named means all. `--folder DIR` says where everything is stored (`/var/tmp`
//! unless told); it must be on a disk, since what is durable costs nothing in memory. `--in-flight N` says how many requests
//! wait at once. `cargo test --bench cluster` runs every part at a size that says nothing, to see that it works.
//!
//! One PostgreSQL serves all, as Debian ships it: `fsync` and `synchronous_commit` on, nothing tuned. Each subject has a
//! database of its own in it and waits while another is measured; they are measured in turns, so that what else happens on the
//! machine falls on all of them. spotgate runs as its users run it: the real binary, a file of tokens, the log at `warn`. The
//! generator is that of the bench `accounting`: a closed loop, every answer verified. Requests are spread over the daemons as
//! routers are: a guest's all go to the same one.
//!
//! **Everything shares the machine's cores**: the generator, the database and every daemon. So the rate is that of the
//! machine, and the **processor time for each request**, of each of them apart, is what carries over to others. What anything
//! else took meanwhile stands beside it, and `by CPU alone` is how many a second these cores would carry without that: all of
//! them busy with nothing but what the three of them spent.
//!
//! - *admissions*: Access-Requests (PAP, the code as name and password) of a device that was never seen, each with the next of
//!   many tokens. spotgate answers once the session is in the database.
//! - *starts*, *stops*: of those sessions, all of them. *interims*: Interim-Updates of the sessions that last.
//! - *FreeRADIUS*: Debian's, with `rlm_sql_postgresql` and its schema and queries as they are shipped, sixteen threads and
//!   connections. It does not do the same: it looks a password up and writes down that it did (*reads only*: not even that),
//!   and counts nothing against a budget; there is no pool, no limit of devices, no end of a session that it sees to.
//! - *history*: over so many sessions that ended: rows of `spotgate_session` and of `radacct`, made by SQL of a real one.
//! - *live*: with so many sessions online.
//!
//! `records a commit` says how many requests one transaction carried; `log` how many octets of the database's log each took.
//! Both are the server's, so what it does by itself (autovacuum, pages written whole after a checkpoint) is in them.

#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a bench")]
#![allow(unreachable_pub, reason = "a binary")]

mod cpu;
mod crowd;
mod fill;
#[path = "../accounting/load.rs"]
#[allow(dead_code, reason = "shared")]
mod load;
#[path = "../accounting/peers.rs"]
#[allow(dead_code, reason = "shared")]
mod peers;
#[path = "../accounting/server.rs"]
#[allow(dead_code, reason = "shared")]
mod server;
mod subject;
#[path = "../accounting/table.rs"]
#[allow(dead_code, reason = "shared")]
mod table;
#[path = "../accounting/tokens.rs"]
mod tokens;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use subject::{Load, Postgres, Sample, Subject};

/// How much of everything.
#[derive(Clone, Debug)]
struct Sizes {
    /// Where everything is stored.
    folder: PathBuf,
    /// From which the median is taken.
    rounds: usize,
    /// How long admissions and Interim-Updates are measured each time.
    period: Duration,
    in_flight: usize,
    /// Daemons on one database.
    daemons: Vec<usize>,
    /// Sessions that last.
    crowd: usize,
    /// Tokens for those who log in.
    tokens: usize,
    /// Sessions that ended.
    ended: Vec<usize>,
    /// Sessions that last, where that is what changes.
    live: Vec<usize>,
}

impl Sizes {
    fn full() -> Self {
        Self {
            folder: "/var/tmp".into(),
            rounds: 5,
            period: Duration::from_secs(3),
            in_flight: 1024,
            daemons: vec![1, 2, 4],
            crowd: 10_000,
            tokens: 50_000,
            ended: vec![10_000, 100_000, 1_000_000],
            live: vec![10_000, 100_000],
        }
    }

    fn smoke(self) -> Self {
        Self {
            rounds: 1,
            period: Duration::from_millis(100),
            in_flight: 64,
            daemons: vec![1, 2],
            crowd: 160,
            tokens: 3200,
            ended: vec![300],
            live: vec![320],
            ..self
        }
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (mut sizes, mut parts, mut benches, mut tests) = (Sizes::full(), Vec::new(), false, false);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // What cargo adds: `cargo bench` the one, `cargo test` neither or the other.
            "--bench" => benches = true,
            "--test" => tests = true,
            "--quick" => sizes = Sizes { rounds: 2, period: Duration::from_secs(2), ..sizes },
            "--folder" => match arguments.next() {
                Some(folder) => sizes.folder = folder.into(),
                None => return usage("--folder wants a folder"),
            },
            "--in-flight" => match arguments.next().and_then(|count| count.parse().ok()) {
                Some(count) => sizes.in_flight = count,
                None => return usage("--in-flight wants a number"),
            },
            "rates" | "history" | "live" => parts.push(argument),
            other => return usage(&format!("{other} is nothing known here")),
        }
    }
    if tests || !benches {
        sizes = sizes.smoke();
    }
    let missing = peers::missing();
    if !missing.is_empty() {
        return usage(&format!("more is needed: apt-get install {}", missing.join(" ")));
    }
    table::machine(&sizes.folder);
    println!(
        "the generator, the database and all daemons share these cores; what anything else took stands under \"others\""
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    if wanted("rates") {
        runtime.block_on(rates(&sizes));
    }
    if wanted("history") {
        runtime.block_on(history(&sizes));
    }
    if wanted("live") {
        runtime.block_on(live(&sizes));
    }
    ExitCode::SUCCESS
}

fn usage(what: &str) -> ExitCode {
    println!("cluster: {what}");
    println!("usage: cluster [--quick] [--folder DIR] [--in-flight N] [rates] [history] [live]");
    ExitCode::FAILURE
}

fn begin(name: &str, what: &str, sizes: &Sizes) -> Postgres {
    let how = format!(
        "{what}; {} in flight, {} each, median of {} rounds in turns (least–most)",
        sizes.in_flight,
        table::time(sizes.period),
        sizes.rounds
    );
    table::part(name, &how);
    Postgres::start(Path::new(&sizes.folder))
}

async fn rates(sizes: &Sizes) {
    let what = format!("so many daemons, {} sessions online", whole(sizes.crowd));
    let postgres = begin("rates", &what, sizes);
    let mut subjects = Vec::new();
    for daemons in &sizes.daemons {
        subjects.push(Subject::spotgate(&postgres, sizes, *daemons, sizes.crowd, 0).await);
    }
    subjects.push(Subject::freeradius(&postgres, sizes, sizes.crowd, 0).await);
    subjects.push(Subject::reading(&postgres, sizes, sizes.crowd).await);
    measure(&postgres, sizes, &mut subjects).await;
}

async fn history(sizes: &Sizes) {
    let what = format!("one daemon, {} sessions online, over so many that ended", whole(sizes.crowd));
    let postgres = begin("history", &what, sizes);
    let mut subjects = Vec::new();
    for ended in &sizes.ended {
        let mut subject = Subject::spotgate(&postgres, sizes, 1, sizes.crowd, *ended).await;
        subject.name = format!("spotgate, {} ended", whole(*ended));
        subjects.push(subject);
    }
    for ended in &sizes.ended {
        let mut subject = Subject::freeradius(&postgres, sizes, sizes.crowd, *ended).await;
        subject.name = format!("FreeRADIUS, {} ended", whole(*ended));
        subjects.push(subject);
    }
    measure(&postgres, sizes, &mut subjects).await;
}

async fn live(sizes: &Sizes) {
    let postgres = begin("live", "one daemon, so many sessions online", sizes);
    let mut subjects = Vec::new();
    for live in &sizes.live {
        let mut subject = Subject::spotgate(&postgres, sizes, 1, *live, 0).await;
        subject.name = format!("spotgate, {} online", whole(*live));
        subjects.push(subject);
    }
    measure(&postgres, sizes, &mut subjects).await;
}

async fn measure(postgres: &Postgres, sizes: &Sizes, subjects: &mut [Subject]) {
    let mut samples: Vec<Vec<Vec<Sample>>> =
        Load::ALL.iter().map(|_| subjects.iter().map(|_| Vec::new()).collect()).collect();
    for _ in 0..sizes.rounds {
        for (number, subject) in subjects.iter_mut().enumerate() {
            for (load, taken) in Load::ALL.into_iter().zip(&mut samples) {
                taken[number].extend(subject.measure(postgres, sizes, load).await);
            }
        }
    }
    let mut rows = vec![table::row(&[
        "",
        "a second",
        "CPU each: server",
        "database",
        "generator",
        "others",
        "by CPU alone",
        "answered p50",
        "p99",
        "records a commit",
        "log each",
        "sent again",
    ])];
    for (load, taken) in Load::ALL.into_iter().zip(&samples) {
        for (subject, taken) in subjects.iter().zip(taken).filter(|(_, taken)| !taken.is_empty()) {
            rows.push(row(load, &subject.name, taken));
        }
    }
    table::print(&rows);
}

fn row(load: Load, name: &str, taken: &[Sample]) -> Vec<String> {
    let of = |which: &dyn Fn(&Sample) -> f64| -> Vec<f64> { taken.iter().map(which).collect() };
    let cpu = |whose: Range<usize>| {
        of(&|one| one.cpu[whose.clone()].iter().sum::<Duration>().as_secs_f64() / number(one.outcome.answered))
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let median = |which: &dyn Fn(&Sample) -> f64| table::median(&of(which));
    vec![
        format!("{}: {name}", load.name()),
        table::spread(&of(&|one| one.outcome.rate()), table::count),
        table::spread(&cpu(0..1), table::seconds),
        table::spread(&cpu(1..2), table::seconds),
        table::seconds(table::median(&cpu(2..3))),
        table::seconds(table::median(&cpu(3..4))),
        table::count(number(cores) / table::median(&cpu(0..3))),
        table::seconds(median(&|one| one.outcome.latency(0.5).as_secs_f64())),
        table::seconds(median(&|one| one.outcome.latency(0.99).as_secs_f64())),
        if median(&|one| one.commits) < 1.0 {
            "–".to_owned()
        } else {
            format!("{:.1}", median(&|one| number(one.outcome.answered) / one.commits.max(1.0)))
        },
        format!("{} B", table::count(median(&|one| one.log / number(one.outcome.answered)))),
        taken.iter().map(|one| one.outcome.repeated).sum::<usize>().to_string(),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn number(count: usize) -> f64 {
    count as f64
}

fn whole(count: usize) -> String {
    table::count(number(count))
}
