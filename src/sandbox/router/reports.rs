//! Accounting records on their way: the first datagrams leave in the order in which things happened, repetitions
//! when they are due, and no record waits for the answer to another.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::core::ident::Mac;
use crate::radius::attribute::{StatusType, TerminateCause};
use crate::sandbox::hotspot::HotspotError;

/// Records that may wait to be sent for the first time.
pub(super) const QUEUE: usize = 1024;
/// Records that may wait for their answers: each has a socket.
const UNDER_WAY: usize = 512;

/// A record, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// What was reported.
    pub status: StatusType,
    /// The device; none for Accounting-On.
    pub mac: Option<Mac>,
    /// Its Acct-Session-Id; empty for Accounting-On.
    pub session_id: String,
    /// When it happened.
    pub at: Timestamp,
    /// Acct-Session-Time.
    pub seconds: u32,
    /// Why the session ended; of a Stop.
    pub cause: Option<TerminateCause>,
    /// What became of the record.
    pub fate: Fate,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The server has answered, after so many tries.
    Acknowledged {
        /// How often it was sent.
        tries: u32,
    },
    /// A quirk has lost it: it never came to the server.
    Lost,
    /// The power went while it was under way.
    PowerLost,
    /// No answer in all tries; it is never sent again.
    Unanswered,
    /// It could not be sent: the socket failed, or too many others were under way.
    Unsent,
}

/// A record to be sent.
pub(super) struct Report {
    pub(super) bytes: Vec<u8>,
    pub(super) about: Reported,
    pub(super) power: CancellationToken,
}

/// Sends what comes, until the router is gone.
pub(super) async fn send_all(shared: Arc<Shared>, mut queue: mpsc::Receiver<Report>) {
    let places = Arc::new(Semaphore::new(UNDER_WAY));
    while let Some(Some(report)) = shared.stop.run_until_cancelled(queue.recv()).await {
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            shared.concluded(report.about, Fate::Unsent);
            continue;
        };
        match report.power.run_until_cancelled(shared.hotspot.send_accounting(&report.bytes)).await {
            None => shared.concluded(report.about, Fate::PowerLost),
            Some(Err(_)) => shared.concluded(report.about, Fate::Unsent),
            Some(Ok(socket)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let answer = shared.hotspot.wait_for_answer(&socket, &report.bytes);
                    let fate = match report.power.run_until_cancelled(answer).await {
                        None => Fate::PowerLost,
                        Some(Ok(answer)) => Fate::Acknowledged { tries: answer.tries },
                        Some(Err(HotspotError::Io(_))) => Fate::Unsent,
                        Some(Err(_)) => Fate::Unanswered,
                    };
                    shared.concluded(report.about, fate);
                    drop(place);
                });
            }
        }
    }
}
