//! The instances of one server: which of them serves whom, and what becomes of each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::config::Start;
use crate::era::{ClientProfile, InstanceTerms};
use crate::fault::{SAID, contained};
use crate::hub::agent::Principal;
use crate::hub::failure::Failure;
use crate::hub::ids::SessionId;
use crate::hub::instance::Instance;
use crate::hub::instance::calls::member::Uris;
use crate::hub::log_level::Level;
use crate::hub::server::Server;
use crate::hub::server::compare_offers::Settled;
use crate::hub::server::slot::Phase;
use crate::hub::session::Session;
use crate::hub::sharing::share_key::ShareKey;
use crate::upstream::state::{Action, Event, State};

/// How long an agent waits for a process to be gone that was started for it and turned out not to be needed.
const GONE: Duration = Duration::from_millis(300);
/// How long a request waits for a server that failed to be started again.
const HOLD: Duration = Duration::from_secs(5);

impl Server {
    /// An instance of the wanted kind: the one that is up, the one that is starting, or a new one.
    pub async fn instance(self: &Arc<Self>, key: &ShareKey) -> Result<Arc<Instance>, Failure> {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            let instance = match self.wait(self.want(key)?).await {
                // What it showed when it started says that another one is right.
                Err(Failure::Again(_)) => continue,
                found => found?,
            };
            if instance.is_draining() && !instance.is_closed() {
                // Another one took over while this was on its way.
                continue;
            }
            if !instance.is_closed() {
                return Ok(instance);
            }
            // It has just ended, and why is about to be known.
            if tokio::time::timeout(HOLD, ended).await.is_err() {
                return Err(self.unavailable(instance.closed_reason()));
            }
        }
    }

    pub(in crate::hub) async fn wait(&self, mut phase: watch::Receiver<Phase>) -> Result<Arc<Instance>, Failure> {
        let result = match phase.wait_for(Option::is_some).await {
            Ok(phase) => phase.clone(),
            Err(_) => None,
        };
        result.unwrap_or_else(|| Err(self.unavailable("it was stopped")))
    }

    fn want(self: &Arc<Self>, key: &ShareKey) -> Result<watch::Receiver<Phase>, Failure> {
        let key = self.settle_want(key)?;
        let found = {
            let state = self.state.lock();
            state.slots.iter().find(|slot| state.fits(slot, &key)).map(|slot| slot.number)
        };
        let number = match found {
            Some(number) => self.make_place_to_start(number).map(|()| number)?,
            None => self.add_slot(key)?,
        };
        self.wake_slot(number)
    }

    /// Like [`Server::want`], for an instance without a call; `None` if all are busy, and there may be no more.
    pub(in crate::hub) fn want_free(
        self: &Arc<Self>,
        key: &ShareKey,
    ) -> Result<Option<watch::Receiver<Phase>>, Failure> {
        let key = self.settle_want(key)?;
        let found = {
            let state = self.state.lock();
            let mut fitting = state.slots.iter().filter(|slot| state.fits(slot, &key));
            fitting.find(|slot| slot.up().is_none_or(|instance| !instance.is_busy(key.starter))).map(|slot| slot.number)
        };
        let number = match found {
            Some(number) if self.make_place_to_start(number).is_ok() => number,
            Some(_) => return Ok(None),
            None if self.one_at_a_time.is_alone() && self.has_instance(&key) => return Ok(None),
            None => match self.add_slot(key) {
                Ok(number) => number,
                Err(Failure::Full { .. }) => return Ok(None),
                Err(failure) => return Err(failure),
            },
        };
        self.wake_slot(number).map(Some)
    }

    /// Has a slot's instance started if it is not up; returns where its news come.
    fn wake_slot(self: &Arc<Self>, number: u64) -> Result<watch::Receiver<Phase>, Failure> {
        self.event(number, Event::Wanted);
        let state = self.state.lock();
        let server = self.name.clone();
        let Some(slot) = state.slots.iter().find(|slot| slot.number == number) else {
            return Err(self.unavailable("it was stopped"));
        };
        let now = Instant::now();
        let last = state.known.last_error.clone().unwrap_or_else(|| "it failed".into());
        match slot.life {
            State::Broken => {
                let (failures, until) = state.records.failures(&slot.key);
                let pause = until.unwrap_or(now).saturating_duration_since(now);
                Err(Failure::Broken { server, failures, pause, reason: last })
            }
            State::Backoff { until } => match until.saturating_duration_since(now) {
                pause if pause > HOLD => Err(Failure::Backoff { server, pause, reason: last }),
                _ => Ok(slot.phase.subscribe()),
            },
            State::Idle | State::Starting | State::Ready { .. } | State::Draining { .. } => Ok(slot.phase.subscribe()),
        }
    }

    /// Tells a slot what happened, and does what follows.
    pub(in crate::hub) fn event(self: &Arc<Self>, number: u64, event: Event) {
        if event == Event::Tick && !self.finds_place(number) {
            return;
        }
        let eager = self.settings().start == Start::Eager;
        let mut state = self.state.lock();
        let state_mut = &mut *state;
        let Some(slot) = state_mut.slots.iter_mut().find(|slot| slot.number == number) else { return };
        let now = Instant::now();
        if event == Event::Tick && slot.life == State::Broken && !slot.is_needed() && !eager {
            // Whoever needed it has left.
            return;
        }
        let life = slot.life;
        let (life, action) = state_mut.records.with(&slot.key, now, |record| life.on(event, now, record));
        slot.life = life;
        if matches!(life, State::Starting | State::Backoff { .. })
            && slot.phase.borrow().is_some()
            && !matches!(event, Event::Failed { .. })
        {
            slot.phase.send_replace(None);
        }
        if life == State::Idle && slot.phase.borrow().is_none() {
            // Whoever waits, waits in vain.
            slot.phase.send_replace(Some(Err(self.unavailable("it was stopped"))));
        }
        let again = event == Event::Reset && life == State::Idle && slot.is_needed();
        // What has been shown since the slot was made counts for the next instance.
        slot.promise = state_mut.sharing.promise(&slot.key.profile, &state_mut.catalogs.shown);
        let (key, promise, instance) = (slot.key.clone(), slot.promise.clone(), slot.up().cloned());
        state_mut.slots.retain(|slot| slot.life != State::Idle || slot.is_needed());
        drop(state);
        if again {
            return self.event(number, Event::Wanted);
        }
        match action {
            Action::Nothing => {}
            Action::Start => {
                let (server, of) = (self.clone(), key.clone());
                self.around.tasks.spawn(async move {
                    if contained(server.clone().start(number, key, promise)).await.is_err() {
                        let failure = Failure::Start { server: server.name.clone(), reason: SAID.into() };
                        server.started(number, &of, Err(failure));
                    }
                });
            }
            Action::Stop => {
                if let Some(instance) = instance {
                    instance.stop();
                }
            }
            Action::Wake(at) => {
                let server = self.clone();
                let pause = at.saturating_duration_since(Instant::now());
                self.around.later(pause, move || server.event(number, Event::Tick));
            }
        }
    }

    async fn start(self: Arc<Self>, number: u64, key: ShareKey, promise: ClientProfile) {
        let started = self.start_instance(&key, &promise).await;
        let settled = match &started {
            Ok(instance) if !instance.is_closed() => self.settle(&key, instance).await,
            Ok(_) | Err(_) => Settled::Own,
        };
        match (started, settled) {
            (Ok(instance), Settled::Other(other)) => self.give_up_slot(number, &instance, Ok(other)).await,
            (Ok(instance), Settled::Again) => {
                self.give_up_slot(number, &instance, Err(Failure::Again(self.name.clone()))).await;
            }
            // It may have ended between its handshake and now.
            (Ok(instance), Settled::Own) if instance.is_closed() => {
                let failure = Failure::Start { server: self.name.clone(), reason: instance.closed_reason() };
                self.started(number, &key, Err(failure));
            }
            (result, _) => self.started(number, &key, result),
        }
    }

    /// Gives a slot its instance, or the reason why there is none.
    fn started(self: &Arc<Self>, number: u64, key: &ShareKey, result: Result<Arc<Instance>, Failure>) {
        // One that was only asked what it offers has failed nobody.
        let asked_only = key.owner == Some(SessionId::STRANGERS);
        if !asked_only {
            self.note_start(&result);
        }
        let spread = fastrand::f64();
        let eager = self.settings().start == Start::Eager;
        let mut state = self.state.lock();
        let beside = self.one_at_a_time.is_serialized()
            && state.slots.iter().any(|slot| slot.number != number && state.fits(slot, key) && slot.up().is_some());
        let Some(slot) = state.slots.iter_mut().find(|slot| slot.number == number) else {
            drop(state);
            if let Ok(instance) = result {
                instance.stop();
            }
            return;
        };
        let previous = if let Ok(instance) = &result { slot.instance.replace(instance.clone()) } else { None };
        let event = match &result {
            Ok(_) => Event::Started,
            // That it does not speak an era, or a setting has no value, is no failure of the server; and one beside which
            // another one runs may just be one too many.
            Err(
                Failure::OtherEra { .. } | Failure::Unavailable { .. } | Failure::NeedsLogin { .. } | Failure::Again(_),
            ) => Event::Stopped,
            Err(_) if asked_only => Event::Stopped,
            Err(_) if beside => {
                self.one_at_a_time.note_alone();
                Event::Stopped
            }
            Err(_) => Event::Failed { needed: slot.is_needed() || eager, spread, excused: false },
        };
        let draining = matches!(slot.life, State::Draining { .. });
        let phase = slot.phase.clone();
        drop(state);
        if let (Ok(instance), Some(previous)) = (&result, previous) {
            let instance_terms = instance.instance_terms().cloned().unwrap_or(InstanceTerms::Modern);
            let here = |session: &Session| self.services.sessions.is_attached(session.id);
            instance.take_over(&previous, |session| here(session) && self.is_for(key, &instance_terms, session));
        }
        self.event(number, event);
        let told = match &result {
            // It is not for calls: who waited looks for another one.
            Ok(instance) if draining => {
                instance.drain();
                Err(self.unavailable("it was stopped"))
            }
            result => result.clone(),
        };
        phase.send_replace(Some(told));
        match result {
            Ok(instance) if draining => instance.stop(),
            Ok(instance) => self.ready(&instance),
            Err(_) => self.one_at_a_time.free(),
        }
    }

    /// Ends an instance that nobody has used, because another one is right for whom it was started.
    async fn give_up_slot(
        self: &Arc<Self>,
        number: u64,
        instance: &Arc<Instance>,
        told: Result<Arc<Instance>, Failure>,
    ) {
        instance.stop();
        if let Some(instance) = instance.connection() {
            // So that it is seldom seen beside the one that stays.
            drop(tokio::time::timeout(GONE, instance.gone()).await);
        }
        let mut state = self.state.lock();
        state.known.starts += 1;
        let Some(slot) = state.slots.iter_mut().find(|slot| slot.number == number) else {
            return;
        };
        let phase = slot.phase.clone();
        // Who waited for an earlier one of the slot goes there too.
        let previous = slot.instance.take();
        drop(state);
        if let (Ok(other), Some(previous)) = (&told, previous) {
            other.take_over(&previous, |session| self.services.sessions.is_attached(session.id));
        }
        phase.send_replace(Some(told));
        self.event(number, Event::Stopped);
        self.one_at_a_time.free();
    }

    /// What a session asked for at each of its instances, also at one that ended and has no successor yet: its level, and
    /// its subscriptions.
    pub(in crate::hub) fn asked_by(&self, session: SessionId) -> Vec<(Option<Level>, Uris)> {
        let instances: Vec<_> = self.state.lock().slots.iter().filter_map(|slot| slot.instance.clone()).collect();
        let asked = |instance: Arc<Instance>| {
            let calls = instance.calls.lock();
            calls.members.get(&session).map(|member| (member.level, member.uris.clone()))
        };
        instances.into_iter().filter_map(asked).collect()
    }

    /// Forgets a session that left, or is another now, where it waits for the next process of a slot.
    pub(in crate::hub) fn forget(&self, session: SessionId) {
        let mut state = self.state.lock();
        state.crashes.forget(&Principal::Session(session));
        for instance in
            state.slots.iter().filter_map(|slot| slot.instance.as_ref()).filter(|instance| instance.is_closed())
        {
            instance.calls.lock().members.remove(&session);
        }
        state.slots.retain(|slot| !matches!(slot.life, State::Idle | State::Broken) || slot.is_needed());
    }

    pub(in crate::hub) fn number_of(&self, instance: &Arc<Instance>) -> Option<u64> {
        let state = self.state.lock();
        let slot = state.slots.iter().find(|slot| slot.instance.as_ref().is_some_and(|own| Arc::ptr_eq(own, instance)));
        slot.map(|slot| slot.number)
    }
}
