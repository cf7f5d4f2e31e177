//! Sessions from the login to the end, and the timers between.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::guests::{Event, Guest, Guests};
use super::incoming::{ANSWERS_KEPT, ANSWERS_KEPT_FOR, Counts, Heard};
use super::quirks::Quirks;
use super::reports::{Fate, Report, Reported};
use super::{Admitted, Login, Refusal, Router, Shared, State};
use crate::core::ident::Mac;
use crate::radius::attribute::{StatusType, TerminateCause};
use crate::radius::recent::Recent;
use crate::sandbox::hotspot::{Answer, HotspotError, Password, Record};

/// What RouterOS says where the server gives no reason.
const NO_REASON: &str = "invalid username or password";
/// Devices under one name without a Port-Limit (`shared-users`).
const SHARED_USERS: u32 = 1;

/// Does what is due when it is due, until the router is gone.
pub(super) async fn keep_time(shared: Arc<Shared>) {
    let mut changed = shared.changed.subscribe();
    loop {
        changed.borrow_and_update();
        let next = shared.tick();
        let timer = async {
            match next {
                Some(at) => tokio::time::sleep_until(shared.start + at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.stop.cancelled() => return,
            // cannot fail: the sender is in `shared`
            _ = changed.changed() => {}
            () = timer => {}
        }
    }
}

impl State {
    pub(super) fn new(quirks: Quirks, power: CancellationToken) -> Self {
        Self {
            guests: Guests::default(),
            quirks,
            power: Some(power),
            recent: no_answers(),
            incoming: Counts::default(),
            heard: VecDeque::new(),
            reported: VecDeque::new(),
        }
    }

    /// Forgets all that lives in memory.
    pub(super) fn lose_power(&mut self) {
        if let Some(power) = self.power.take() {
            power.cancel();
        }
        self.guests = Guests::default();
        self.recent = no_answers();
    }

    pub(super) fn note_heard(&mut self, heard: Heard) {
        keep(&mut self.heard, heard);
    }
}

fn no_answers() -> Recent {
    Recent::new(ANSWERS_KEPT_FOR, ANSWERS_KEPT)
}

pub(super) fn keep<T>(log: &mut VecDeque<T>, entry: T) {
    if log.len() >= Router::KEPT {
        log.pop_front();
    }
    log.push_back(entry);
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time since the router was made.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Asks the server, and opens a session if it may be.
    pub(super) async fn login(&self, name: &str, password: Password<'_>, mac: Mac) -> Result<Login, HotspotError> {
        // only what is spelled as the router itself spells addresses: twelve digits may be a code
        if Mac::parse(name.as_bytes()).is_ok_and(|named| named != mac && named.to_string() == name.to_uppercase()) {
            return Ok(Login::Refused(Refusal::WrongMacUsername));
        }
        let (power, address) = {
            let mut state = self.state();
            (state.power.clone().ok_or(HotspotError::Off)?, state.guests.lease(mac))
        };
        let Some(address) = address else { return Ok(Login::Refused(Refusal::PoolEmpty)) };
        let request = self.hotspot.access_request_from(address, name, password, mac)?;
        let answer = power.run_until_cancelled(self.hotspot.exchange(&request)).await.ok_or(HotspotError::Off)??;
        if !answer.accept {
            return Ok(Login::Rejected(answer.reply_message.unwrap_or_else(|| NO_REASON.to_owned())));
        }
        self.admit(&power, name, mac, address, answer)
    }

    fn admit(
        &self,
        power: &CancellationToken,
        name: &str,
        mac: Mac,
        address: Ipv4Addr,
        answer: Answer,
    ) -> Result<Login, HotspotError> {
        let mut state = self.state();
        if power.is_cancelled() {
            return Err(HotspotError::Off);
        }
        // another device may have been given the address in the meantime
        if !state.guests.holds(mac, address) {
            return Ok(Login::Refused(Refusal::PoolEmpty));
        }
        let limit = usize::try_from(answer.port_limit.unwrap_or(SHARED_USERS)).unwrap_or(usize::MAX);
        if state.guests.others(name, mac) >= limit {
            return Ok(Login::Refused(Refusal::UserSessionLimit));
        }
        self.end(&mut state, mac, TerminateCause::USER_REQUEST);
        let guest = Guest::admitted(name, mac, address, &answer, self.clock.now().wall, self.now());
        let session_id = guest.session_id.clone();
        let start = state.guests.open(guest);
        self.report(&mut state, &start);
        self.changed.send_replace(());
        Ok(Login::Admitted(Admitted { session_id, address, answer: Box::new(answer) }))
    }

    /// Ends the session of a device, if it has one, and reports it.
    pub(super) fn end(&self, state: &mut State, mac: Mac, cause: TerminateCause) -> bool {
        let Some(stop) = state.guests.end(mac, cause, self.now()) else { return false };
        self.report(state, &stop);
        self.changed.send_replace(());
        true
    }

    /// Does what is due, and says when it will have to again.
    fn tick(&self) -> Option<Duration> {
        let mut state = self.state();
        let unlimited = state.quirks.ignore_session_timeout;
        for event in state.guests.due(self.now(), unlimited) {
            self.report(&mut state, &event);
            if event.status == StatusType::Stop {
                self.changed.send_replace(());
            }
        }
        state.guests.next_deadline()
    }

    /// Reports what has happened to a guest.
    fn report(&self, state: &mut State, event: &Event) {
        let guest = &event.guest;
        let record = Record {
            status: event.status,
            class: guest.class.as_deref(),
            address: Some(guest.address),
            seconds: event.seconds,
            input: event.input,
            output: event.output,
            cause: event.cause,
            ..Record::start(&guest.user_name, guest.mac, &guest.session_id, self.clock.now().wall)
        };
        self.queue(state, &record);
    }

    /// Says that accounting begins.
    pub(super) fn report_boot(&self, state: &mut State) {
        let nobody = Record::start("", Mac::new([0; 6]), "", self.clock.now().wall);
        self.queue(state, &Record { status: StatusType::AccountingOn, ..nobody });
    }

    /// Puts a record on its way. It is at most as long as the login that preceded it, so that it fits a packet.
    fn queue(&self, state: &mut State, record: &Record<'_>) {
        let about = Reported {
            status: record.status,
            mac: (!record.session_id.is_empty()).then_some(record.mac),
            session_id: record.session_id.to_owned(),
            at: record.at,
            seconds: record.seconds,
            cause: record.cause,
            fate: Fate::Unsent,
        };
        if state.quirks.lose.loses(record.status) {
            return keep(&mut state.reported, Reported { fate: Fate::Lost, ..about });
        }
        let (Some(power), Ok(bytes)) = (state.power.clone(), self.hotspot.accounting_request(record)) else {
            return keep(&mut state.reported, about);
        };
        self.under_way.send_modify(|records| *records += 1);
        if let Err(full) = self.reports.try_send(Report { bytes, about, power }) {
            self.under_way.send_modify(|records| *records -= 1);
            keep(&mut state.reported, full.into_inner().about);
        }
    }

    /// Notes what became of a record.
    pub(super) fn concluded(&self, about: Reported, fate: Fate) {
        keep(&mut self.state().reported, Reported { fate, ..about });
        self.under_way.send_modify(|records| *records -= 1);
    }
}
