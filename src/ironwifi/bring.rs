//! How users come to be as they should: each task in calls of which any may fail, or be done and not answered.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use super::api::{Attribute, Attributes, Fault, Id};
use super::kept::User;
use super::plan::{self, Name, Wanted};
use super::{REST, Stop, Task, UNDELETED, Users};
use crate::core::ident::{Code, TokenId};

/// Users that a list lacks and that are asked for one by one, each time.
const MISSED: usize = 20;

impl Users {
    pub(super) async fn perform(&mut self, task: Task) -> Result<(), Stop> {
        let gate = Arc::clone(&self.gate);
        match task {
            // Whatever is answered, only a list tells that it is gone.
            Task::Delete(token, User { id: Some(id), code, .. }) => {
                self.api.delete(&id, &gate.metrics).await?;
                self.note(token, Some(User { id: Some(id), code, told: None, deleted: true })).await
            }
            Task::Delete(token, User { id: None, .. }) => {
                self.list().await?;
                // One that was made after all is deleted next time.
                let is_made = self.kept().users().get(&token).is_some_and(|user| user.id.is_some());
                if is_made { Ok(()) } else { self.note(token, None).await }
            }
            Task::Create(token, want) => {
                self.note(token, Some(User::asked(want.code.clone()))).await?;
                self.create(token, &want, true).await
            }
            Task::Change(token, User { id: None, .. }, want) => self.create(token, &want, false).await,
            Task::Change(token, user, want) => {
                let outcome = self.change(token, user, &want, false).await;
                // Perhaps somebody deleted it: the list tells.
                self.doubtful |= matches!(outcome, Err(Stop::Call(Fault::Gone)));
                outcome
            }
        }
    }

    /// Makes the user of a token that is noted; `first`: it was never asked for before.
    async fn create(&mut self, token: TokenId, want: &Wanted, first: bool) -> Result<(), Stop> {
        let gate = Arc::clone(&self.gate);
        let id = match self.api.create(&want.code, &gate.metrics).await {
            Ok(id) => id,
            // Whether it was made is not known: the next list tells.
            Err(fault @ Fault::Away(_)) => return Err(fault.into()),
            Err(fault) => {
                // It was not; an earlier try may have been taken all the same.
                if first {
                    self.note(token, None).await?;
                }
                return Err(fault.into());
            }
        };
        let user = User { id: Some(id), ..User::asked(want.code.clone()) };
        self.note(token, Some(user.clone())).await?;
        self.change(token, user, want, true).await
    }

    /// Gives a user what it should have; `new`: it has nothing yet. What is new comes before what it replaces goes, and the
    /// password last, once it was read that the limits are there: so there is a limit at any time.
    async fn change(&mut self, token: TokenId, user: User, want: &Wanted, new: bool) -> Result<(), Stop> {
        let gate = Arc::clone(&self.gate);
        let metrics = &gate.metrics;
        let Some(id) = user.id.clone() else { return Ok(()) };
        let mut have = if new { Attributes::default() } else { self.api.attributes(&id, metrics).await? };
        if user.told.is_some() {
            self.note(token, Some(User { told: None, ..user.clone() })).await?;
        }
        let numbers: Vec<(Name, String)> =
            want.numbers.iter().map(|(name, number)| (*name, number.to_string())).collect();
        let lacks = |have: &Attributes, name: Name, value: &str| {
            !have.known.iter().any(|attribute| attribute.name == name && attribute.value == value)
        };
        let missing: Vec<_> = numbers.iter().filter(|(name, value)| lacks(&have, *name, value)).collect();
        let mut outcome = Ok(());
        for (name, value) in &missing {
            outcome = self.api.add(&id, *name, value, metrics).await;
            if outcome.is_err() {
                break;
            }
        }
        if !missing.is_empty() {
            // A server may have replaced what it should have added to, or taken nothing and not said so.
            have = self.api.attributes(&id, metrics).await?;
        }
        if outcome.is_err() || numbers.iter().any(|(name, value)| lacks(&have, *name, value)) {
            let is_limited = |name: Name| have.known.iter().any(|attribute| attribute.name == name);
            let is_open = want.numbers.iter().any(|(name, _)| name.is_time_left())
                && ![Name::MaxAllSession, Name::ExpireAfter].into_iter().any(is_limited);
            if is_open {
                self.without(&have, |attribute| attribute.name == Name::CleartextPassword).await?;
            }
            outcome?;
            return Err(Fault::Away("IronWifi took an attribute and does not have it".to_owned()).into());
        }
        // Which one it is may not be shown; another code is another user.
        if !have.known.iter().any(|attribute| attribute.name == Name::CleartextPassword) {
            self.api.add(&id, Name::CleartextPassword, want.code.reveal(), metrics).await?;
        }
        let mut seen = Vec::new();
        self.without(&have, |attribute| {
            let is_wanted =
                numbers.iter().any(|(wanted, value)| *wanted == attribute.name && *value == attribute.value);
            let is_first = !seen.contains(&attribute.name);
            seen.extend((is_wanted && is_first).then_some(attribute.name));
            attribute.name != Name::CleartextPassword && !(is_wanted && is_first)
        })
        .await?;
        self.note(token, Some(User { told: Some(want.numbers.clone()), ..user })).await
    }

    /// Takes away those attributes of a user that are `unwanted`.
    async fn without(&mut self, have: &Attributes, mut unwanted: impl FnMut(&Attribute) -> bool) -> Result<(), Fault> {
        let gate = Arc::clone(&self.gate);
        for attribute in &have.known {
            if unwanted(attribute) {
                self.api.remove(attribute, &gate.metrics).await?;
            }
        }
        Ok(())
    }

    /// Lists all users: finds those that were asked for, those that are gone, and the names of others.
    pub(super) async fn list(&mut self) -> Result<(), Stop> {
        let gate = Arc::clone(&self.gate);
        let listed = self.api.users(&gate.metrics).await?;
        let folded = |name: &str| Code::parse(name).ok().map(|name| plan::folded(&name));
        let by_id: HashMap<&Id, Option<&str>> = listed.iter().map(|(id, name)| (id, name.as_deref())).collect();
        let ours: Vec<(TokenId, User)> =
            self.kept().users().iter().map(|(token, user)| (*token, user.clone())).collect();
        let known: HashSet<Id> = ours.iter().filter_map(|(_, user)| user.id.clone()).collect();
        let mut missed = 0;
        for (token, user) in ours {
            let name = plan::folded(&user.code);
            let is_named = |listed: Option<&str>| listed.is_none_or(|listed| folded(listed).as_ref() == Some(&name));
            match &user.id {
                None => {
                    let made = listed.iter().find(|(id, listed)| {
                        !known.contains(id) && listed.as_deref().and_then(folded).as_ref() == Some(&name)
                    });
                    let Some((id, _)) = made else { continue };
                    // One that was made for us and not heard of has nothing yet.
                    let has = self.api.attributes(id, &gate.metrics).await?;
                    let is_ours = has.known.is_empty() && has.others == 0;
                    let found = is_ours.then(|| User { id: Some(id.clone()), ..user });
                    self.note(token, found).await?;
                }
                Some(id) => match by_id.get(id) {
                    Some(listed) if !is_named(*listed) => {
                        tracing::warn!(
                            token = token.0,
                            "this token's user at IronWifi has another name by now: it is left alone"
                        );
                        self.note(token, None).await?;
                    }
                    Some(_) if user.deleted => {
                        // It was not deleted.
                        self.note(token, Some(User { deleted: false, ..user })).await?;
                        self.resting.insert(token, (UNDELETED, self.now() + REST));
                    }
                    Some(_) => {}
                    None if user.deleted => self.note(token, None).await?,
                    None if missed == MISSED => {}
                    None => {
                        missed += 1;
                        if !self.api.exists(id, &gate.metrics).await? {
                            tracing::warn!(token = token.0, "somebody deleted this token's user at IronWifi");
                            self.note(token, None).await?;
                        }
                    }
                },
            }
        }
        let ours: HashSet<Id> = self.kept().users().values().filter_map(|user| user.id.clone()).collect();
        let others = listed.iter().filter(|(id, _)| !ours.contains(id));
        self.others = others.filter_map(|(_, name)| folded(name.as_deref()?)).collect();
        self.listed = Some(self.now());
        self.doubtful = false;
        Ok(())
    }

    /// Writes down what is known of a token's user; none: it has none.
    async fn note(&self, token: TokenId, user: Option<User>) -> Result<(), Stop> {
        let kept = Arc::clone(&self.kept);
        let noting = tokio::task::spawn_blocking(move || {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            match user {
                Some(user) => kept.put(token, user),
                None => kept.remove(token),
            }
        });
        let noted = noting.await.map_err(|error| error.to_string());
        let noted = noted.and_then(|noted| noted.map_err(|error| error.to_string()));
        noted.map_err(|why| Stop::Own(format!("which users are ours cannot be written down: {why}")))
    }
}
