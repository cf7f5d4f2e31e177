//! Who drives the soak: admins, guests and the weather.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::{MINUTE, Soak};
use crate::catalogue::{Found, Standing};
use crate::core::budget::Seconds;
use crate::core::ident::{Code, TokenId};
use crate::core::login::Claim;
use crate::gate::Gate;
use crate::ledger::any::uses;
use crate::sandbox::nexudus::Fail;

/// Tokens that have guests; the rest only changes.
const IN_USE: usize = 80;

/// One thing is done in each such time.
const STEP: Duration = Duration::from_secs(3);

/// One answer in ten, of every kind of fault about as many.
const FAULTS: [&str; 7] =
    ["500@0.015", "reset@0.015", "html@0.015", "truncated@0.015", "lost@0.015", "409@0.015", "timeout@0.015"];

/// splitmix64.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    fn between(&mut self, least: i64, most: i64) -> i64 {
        least + i64::try_from(self.next() % (most - least + 1).unsigned_abs()).unwrap()
    }
}

/// What the driver knows of a token.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Minutes that admins gave it, less those they took away.
    pub(super) given: i64,
    /// Seconds that guests used.
    pub(super) used: u64,
    /// How often.
    sessions: u8,
}

impl Soak {
    /// A token that one in two times is in use, with its place among those that exist.
    fn pick(&mut self) -> (usize, i64) {
        let among = if self.chance.below(2) == 0 { IN_USE } else { self.ids.len() };
        let index = self.chance.below(among.min(self.ids.len()));
        (index, self.ids[index])
    }

    fn code(&mut self) -> String {
        format!("c{:08x}", self.chance.next() >> 32)
    }

    fn business(&mut self) -> i64 {
        // So many in the first that its list has two pages, and some that are none of ours.
        [1, 1, 1, 1, 1, 1, 2, 2, 2, 3][self.chance.below(10)]
    }

    pub(super) fn create(&mut self) -> (i64, String) {
        let (id, minutes, code, business) = (self.next, self.chance.between(0, 120), self.code(), self.business());
        self.next += 1;
        self.sandbox.put_token(json!({"Id": id, "AccessCode": code, "BusinessId": business, "MinutesIncluded": 120,
            "MinutesLeft": minutes, "Description": "soaked"}));
        self.told.insert(id, Told { given: minutes, ..Told::default() });
        self.ids.push(id);
        (id, code)
    }

    pub(super) fn minutes(&self, id: i64) -> i64 {
        self.sandbox.token(id).unwrap()["MinutesLeft"].as_i64().unwrap()
    }

    /// Whether no write of ours to this token can be under way. One may be from when it is read, which is done while it owes
    /// whole minutes, until its settlement is closed; and where nothing is left to take, none is made.
    fn may_change_minutes(&self, gate: &Gate, id: i64) -> bool {
        gate.ledger.account(TokenId(id)).is_none_or(|account| {
            let owed = account.owed(&self.settings.policy, self.clock.now().wall);
            account.open_settlement().is_none() && (owed == 0 || self.minutes(id) == 0)
        })
    }

    /// One thing that an admin or a guest does.
    fn act(&mut self, gate: &Arc<Gate>) {
        let (index, id) = self.pick();
        if self.untouched.contains(&id) {
            return;
        }
        let now = self.clock.now().wall;
        match self.chance.below(100) {
            0..15 => {
                let (id, code) = self.create();
                if id % 3 == 0 && self.is_ours(id) {
                    self.untouched.insert(id);
                    self.look_up(gate, &code, Some(TokenId(id)));
                }
            }
            15..30 => {
                self.sandbox.delete_token(id);
                self.ids.swap_remove(index);
                self.told.remove(&id);
            }
            30..42 => {
                let code = self.code();
                self.sandbox.edit_token(id, |record| drop(record.insert("AccessCode".to_owned(), code.into())));
            }
            42..54 => {
                let business = self.business();
                self.sandbox.edit_token(id, |record| drop(record.insert("BusinessId".to_owned(), business.into())));
            }
            54..60 => {
                let ends = Seconds(self.chance.next() % 86_400).after(now).to_string();
                self.sandbox.edit_token(id, |record| drop(record.insert("ValidTo".to_owned(), ends.into())));
            }
            60..78 if self.may_change_minutes(gate, id) => {
                let before = self.minutes(id);
                let after = (before + self.chance.between(-60, 60)).max(0);
                self.sandbox.edit_token(id, |record| drop(record.insert("MinutesLeft".to_owned(), after.into())));
                self.told.get_mut(&id).unwrap().given += after - before;
            }
            78.. => self.use_some(gate, now),
            _ => {}
        }
    }

    /// A guest of a token that the mirror knows uses some of it, more than there is at times.
    fn use_some(&mut self, gate: &Gate, now: Timestamp) {
        let id = self.ids[self.chance.below(IN_USE)];
        let seconds = self.chance.next() % 900 + 1;
        let Some(Standing::Held(token)) = gate.supply().catalogue.standing(TokenId(id)) else { return };
        let told = self.told.get_mut(&id).unwrap();
        told.used += seconds;
        told.sessions = told.sessions.wrapping_add(1);
        let began = Seconds(seconds).before(now);
        uses(&gate.ledger, &token, told.sessions, seconds, &self.settings.policy, (began, now));
    }

    fn is_ours(&self, id: i64) -> bool {
        self.sandbox.token(id).unwrap()["BusinessId"].as_i64() != Some(3)
    }

    /// A guest types a code, of this token or of none: whatever the weather, that is not said of a code that there is.
    fn look_up(&mut self, gate: &Gate, code: &str, of: Option<TokenId>) {
        let (catalogue, claim) = (Arc::clone(&gate.supply().catalogue), Claim::Code(Code::parse(code).unwrap()));
        self.lookups.spawn(async move {
            if let Found::Tokens(tokens) = catalogue.obtain(&claim, MINUTE).await {
                assert_eq!(tokens.iter().next().map(|token| token.id), of, "a code that was typed");
            }
        });
    }

    /// So many minutes of it, with faults.
    pub(super) async fn rain(&mut self, gate: &Arc<Gate>, minutes: u32) {
        self.sandbox.set_faults(FAULTS.map(|fault| fault.parse::<Fail>().unwrap()).to_vec());
        let ends = self.clock.now().mono + MINUTE * minutes;
        // Every five minutes a bus arrives, and nobody can read the code.
        let bus = 5 * 60 / 3;
        for step in 0..u64::from(minutes) * 20 {
            if self.clock.now().mono >= ends {
                break;
            }
            self.act(gate);
            if step % bus == bus / 2 {
                for _ in 0..60 {
                    let code = self.code();
                    self.look_up(gate, &code, None);
                }
            }
            while let Some(ended) = self.lookups.try_join_next() {
                ended.unwrap();
            }
            self.clock.sleep(STEP).await;
        }
        // Each has a deadline.
        while let Some(ended) = self.lookups.join_next().await {
            ended.unwrap();
        }
        self.sandbox.set_faults(Vec::new());
    }
}
