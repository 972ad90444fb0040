//! One configured server and its instances: starts each once for all who want it, and remembers what it learned.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::watch;

use super::Hub;
use super::events::Event;
use super::failure::Failure;
use super::line::Line;
use super::reply::code;
use crate::config::Server;
use crate::era::{Class, Dialect, Era};
use crate::lines::Lines;
use crate::names::ServerName;
use crate::upstream::{Instance, Link, Speak, StartError, Surroundings};

/// How long a server of unknown era may be silent on `server/discover`, as in `rmcp`'s own probe.
const PROBE: Duration = Duration::from_secs(10);
/// How much may wait for a server, in messages of the largest size.
const QUEUE_FRAMES: usize = 2;

#[derive(Debug)]
pub struct Upstream {
    pub name: ServerName,
    pub server: Server,
    pub stderr: Lines,
    pub around: Surroundings,
    hub: Weak<Hub>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    slots: Vec<Slot>,
    known: Known,
}

/// What an upstream has shown so far.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Whether it speaks the modern era, once probed.
    pub era: Option<Era>,
    pub instructions: Option<String>,
    pub last_error: Option<Arc<str>>,
    pub starts: u64,
    /// Names that are too long for the all-servers view.
    pub hidden: BTreeSet<String>,
    /// The method of a request that could have been any agent's.
    pub interactive: Option<String>,
    no_legacy: Option<Arc<str>>,
    no_modern: Option<Arc<str>>,
}

type Phase = Option<Result<Arc<Line>, Failure>>;

#[derive(Debug)]
struct Slot {
    want: Want,
    phase: watch::Receiver<Phase>,
}

/// Which kind of instance is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    Dialect(Dialect),
    /// Whatever the server speaks, promised nothing.
    Any,
}

impl Slot {
    fn line(&self) -> Option<Arc<Line>> {
        self.phase.borrow().as_ref()?.as_ref().ok().filter(|line| !line.is_closed()).cloned()
    }

    fn starting(&self) -> bool {
        self.phase.borrow().is_none() && self.phase.has_changed().is_ok()
    }

    fn fits(&self, want: &Want) -> bool {
        let ready = self.line();
        self.want == *want
            || matches!((want, ready), (Want::Dialect(dialect), Some(line)) if line.dialect() == Some(dialect))
    }
}

impl Upstream {
    pub fn new(hub: Weak<Hub>, name: ServerName, server: Server, around: Surroundings) -> Arc<Self> {
        let known = Known { era: server.era.fixed(), ..Known::default() };
        let state = Mutex::new(State { slots: Vec::new(), known });
        Arc::new(Self { name, server, stderr: around.stderr.clone(), around, hub, state })
    }

    pub fn known(&self) -> Known {
        self.state.lock().known.clone()
    }

    /// The instances that are up.
    pub fn lines(&self) -> Vec<Arc<Line>> {
        self.state.lock().slots.iter().filter_map(Slot::line).collect()
    }

    pub fn is_starting(&self) -> bool {
        self.state.lock().slots.iter().any(Slot::starting)
    }

    pub fn note_hidden(&self, name: &str) {
        if self.state.lock().known.hidden.insert(name.to_owned()) {
            tracing::warn!(server = %self.name, name, "left out of the all-servers view: the name would be longer than 64 characters");
        }
    }

    /// Remembers that the server asks things that cannot be told apart.
    pub fn note_interactive(&self, method: &str) {
        let before = self.state.lock().known.interactive.replace(method.to_owned());
        if before.is_none() {
            tracing::warn!(server = %self.name, method, "refused a request of the server: it could have been for any of several agents");
        }
    }

    /// An instance of the wanted kind: the one that is up, the one that is starting, or a new one.
    pub async fn line(self: &Arc<Self>, want: Want) -> Result<Arc<Line>, Failure> {
        let mut phase = self.phase(want)?;
        let result = match phase.wait_for(Option::is_some).await {
            Ok(phase) => phase.clone(),
            Err(_) => None,
        };
        result.unwrap_or_else(|| {
            Err(Failure::Start { server: self.name.clone(), reason: "the daemon is shutting down".into() })
        })
    }

    fn phase(self: &Arc<Self>, want: Want) -> Result<watch::Receiver<Phase>, Failure> {
        if !self.server.enabled {
            return Err(Failure::Disabled(self.name.clone()));
        }
        let mut state = self.state.lock();
        let want = match (want, state.known.era) {
            (Want::Any, Some(Era::Modern)) => Want::Dialect(Dialect::Modern),
            (Want::Any, Some(Era::Legacy)) => Want::Dialect(Dialect::Legacy(Class::plain())),
            (want, _) => want,
        };
        let server = self.name.clone();
        match &want {
            Want::Dialect(Dialect::Modern) if state.known.era == Some(Era::Legacy) => {
                return Err(Failure::NoModern { server, error: state.known.no_modern.clone() });
            }
            Want::Dialect(Dialect::Legacy(_)) if state.known.no_legacy.is_some() => {
                let error = state.known.no_legacy.clone().unwrap_or_default();
                return Err(Failure::NoLegacy { server, error });
            }
            Want::Dialect(_) | Want::Any => {}
        }
        state.slots.retain(|slot| slot.starting() || slot.line().is_some());
        if let Some(slot) = state.slots.iter().find(|slot| slot.fits(&want)) {
            return Ok(slot.phase.clone());
        }
        let (sender, phase) = watch::channel(None);
        state.slots.push(Slot { want: want.clone(), phase: phase.clone() });
        drop(state);
        self.around.tasks.spawn(self.clone().start(want, sender));
        Ok(phase)
    }

    async fn start(self: Arc<Self>, want: Want, sender: watch::Sender<Phase>) {
        let result = self.start_line(&want).await;
        {
            let known = &mut self.state.lock().known;
            match &result {
                Ok(line) => {
                    known.starts += 1;
                    known.last_error = None;
                    known.instructions = line.handshake().and_then(crate::upstream::Handshake::instructions);
                }
                Err(failure) => known.last_error = Some(failure.to_string().into()),
            }
        }
        sender.send_replace(Some(result.clone()));
        match &result {
            Ok(line) => {
                let pid = line.instance().map(|instance| instance.pid);
                tracing::info!(server = %self.name, pid, era = ?line.era(), "server ready");
                self.publish(Event::ServerReady { server: self.name.clone(), pid });
                self.arrived(line);
            }
            Err(failure) => {
                tracing::warn!(server = %self.name, error = %failure, "server not started");
                self.publish(Event::ServerFailed { server: self.name.clone(), error: failure.to_string() });
            }
        }
    }

    async fn start_line(self: &Arc<Self>, want: &Want) -> Result<Arc<Line>, Failure> {
        let unknown_era = self.state.lock().known.era.is_none();
        let reason = match want {
            Want::Any => match self.try_start(Speak::Auto).await {
                Ok(line) => {
                    self.state.lock().known.era = Some(line.era());
                    return Ok(line);
                }
                // Some servers end when their first message is not `initialize`.
                Err(StartError::Ended(_)) => match self.try_start(Speak::Legacy(Class::plain())).await {
                    Ok(line) => {
                        self.state.lock().known.era = Some(Era::Legacy);
                        return Ok(line);
                    }
                    Err(error) => error.to_string(),
                },
                Err(error) => error.to_string(),
            },
            Want::Dialect(Dialect::Legacy(class)) => match self.try_start(Speak::Legacy(class.clone())).await {
                Ok(line) => return Ok(line),
                Err(error) => return Err(self.no_legacy(error)),
            },
            Want::Dialect(Dialect::Modern) if unknown_era => {
                match tokio::time::timeout(PROBE, self.try_start(Speak::Modern)).await {
                    Ok(Ok(line)) => {
                        self.state.lock().known.era = Some(Era::Modern);
                        return Ok(line);
                    }
                    Ok(Err(StartError::Spawn(reason))) => reason,
                    Ok(Err(StartError::Refused { handshake, .. })) => {
                        return Err(self.no_modern(handshake.refusal(Era::Modern)));
                    }
                    // It may not know the method, or be slow today: an agent that can falls back, and nothing is remembered.
                    Ok(Err(StartError::Ended(_) | StartError::Timeout(..))) | Err(_) => {
                        return Err(Failure::NoModern { server: self.name.clone(), error: None });
                    }
                }
            }
            Want::Dialect(Dialect::Modern) => match self.try_start(Speak::Modern).await {
                Ok(line) => return Ok(line),
                Err(error) => error.to_string(),
            },
        };
        Err(Failure::Start { server: self.name.clone(), reason: reason.into() })
    }

    /// Remembers that the server answered `server/discover` with an error.
    fn no_modern(&self, error: Option<String>) -> Failure {
        let error: Option<Arc<str>> = error.map(Into::into);
        let known = &mut self.state.lock().known;
        known.era = Some(Era::Legacy);
        known.no_modern = error.clone();
        Failure::NoModern { server: self.name.clone(), error }
    }

    /// Tells a server that does not know `initialize` from one that failed, and remembers the first.
    fn no_legacy(&self, error: StartError) -> Failure {
        #[derive(Deserialize)]
        struct Code {
            code: i32,
        }
        let server = self.name.clone();
        let StartError::Refused { handshake, .. } = &error else {
            return Failure::Start { server, reason: error.to_string().into() };
        };
        let raw: Option<Arc<str>> = handshake.refusal(Era::Legacy).map(Into::into);
        let code = raw.as_ref().and_then(|raw| serde_json::from_str::<Code>(raw).ok()).map(|error| error.code);
        match raw {
            Some(raw) if matches!(code, Some(code::UNSUPPORTED_VERSION | code::METHOD_NOT_FOUND)) => {
                self.state.lock().known.no_legacy = Some(raw.clone());
                Failure::NoLegacy { server, error: raw }
            }
            Some(_) | None => Failure::Start { server, reason: error.to_string().into() },
        }
    }

    async fn try_start(self: &Arc<Self>, speak: Speak) -> Result<Arc<Line>, StartError> {
        let link = Link::new(self.around.max_frame * QUEUE_FRAMES);
        let line = Line::new(self, link.clone());
        let to_line = line.clone();
        let instance =
            Instance::start(&self.server, &speak, link, self.around.clone(), move |inbound| to_line.inbound(inbound))
                .await?;
        let dialect = match (speak, instance.era) {
            (Speak::Legacy(class), _) => Dialect::Legacy(class),
            (Speak::Auto, Era::Legacy) => Dialect::Legacy(Class::plain()),
            (Speak::Auto | Speak::Modern, _) => Dialect::Modern,
        };
        line.set_instance(instance, dialect);
        Ok(line)
    }

    /// An instance, or a list of its, is there now: agents that were given lists without it learn of the change.
    pub fn arrived(&self, line: &Arc<Line>) {
        if let Some(hub) = self.hub.upgrade() {
            hub.announce(self, line);
        }
    }

    pub fn line_closed(&self, line: &Arc<Line>, reason: &Arc<str>) {
        if line.instance().is_none() {
            // It never was ready; who tried to start it says why.
            return;
        }
        let mut state = self.state.lock();
        state.slots.retain(|slot| slot.starting() || slot.line().is_some_and(|other| !Arc::ptr_eq(&other, line)));
        state.known.last_error = Some(reason.clone());
        drop(state);
        let pid = line.instance().map(|instance| instance.pid);
        self.publish(Event::ServerStopped { server: self.name.clone(), pid, reason: reason.to_string() });
    }

    fn publish(&self, event: Event) {
        if let Some(hub) = self.hub.upgrade() {
            hub.events.publish(event);
        }
    }
}
