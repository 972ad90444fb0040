//! Routes between sessions and instances. Owns no I/O: frames come in as text and go out through queues.

mod catalog;
mod events;
mod failure;
mod inbound;
mod level;
mod line;
mod merged;
mod registry;
pub mod reply;
mod resources;
mod router;
mod session;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use catalog::ListKind;
pub use events::{Event, Events};
pub use failure::Failure;
pub use line::{Call, Line};
pub use registry::{Known, Upstream, Want};
pub use router::{Later, Routed};
pub use session::{Agent, Session, SessionId, View};

use crate::config::Config;
use crate::era::Dialect;
use crate::lines::Lines;
use crate::names::ServerName;
use crate::upstream::Surroundings;
use crate::wire::Outbox;

/// How many lines of a server's standard error are kept.
const STDERR_LINES: usize = 1_000;
/// How much may wait for one agent, in messages of the largest size.
const QUEUE_FRAMES: usize = 2;

#[derive(Debug)]
pub struct Hub {
    /// In the order of the configuration.
    upstreams: Vec<Arc<Upstream>>,
    sessions: Mutex<BTreeMap<SessionId, Arc<Session>>>,
    attached: AtomicU64,
    pub events: Events,
    max_frame: usize,
}

impl Hub {
    /// A hub for the configured servers, none of them started. Its tasks run in `tasks` and end with `stop`.
    pub fn new(config: &Config, tasks: &TaskTracker, stop: &CancellationToken) -> Arc<Self> {
        let max_frame = config.daemon.max_frame.0;
        Arc::new_cyclic(|hub| {
            let upstream = |(name, server): &(ServerName, crate::config::Server)| {
                let stderr = Lines::new(STDERR_LINES);
                let around = Surroundings { tasks: tasks.clone(), stop: stop.clone(), stderr, max_frame };
                Upstream::new(hub.clone(), name.clone(), server.clone(), around)
            };
            Self {
                upstreams: config.servers.iter().map(upstream).collect(),
                sessions: Mutex::default(),
                attached: AtomicU64::new(0),
                events: Events::default(),
                max_frame,
            }
        })
    }

    pub fn upstreams(&self) -> &[Arc<Upstream>] {
        &self.upstreams
    }

    pub fn upstream(&self, name: &str) -> Result<&Arc<Upstream>, Failure> {
        let found = self.upstreams.iter().find(|upstream| upstream.name.as_str() == name);
        found.ok_or_else(|| Failure::unknown(name, self.upstreams.iter().map(|upstream| &upstream.name)))
    }

    pub fn sessions(&self) -> Vec<Arc<Session>> {
        self.sessions.lock().values().cloned().collect()
    }

    /// Attaches an agent. The caller writes what the returned queue holds, and calls [`Hub::detach`] at the end.
    pub fn attach(&self, view: View, agent: Agent, gone: CancellationToken) -> Result<(Arc<Session>, Outbox), Failure> {
        if let View::One(server) = &view {
            self.upstream(server.as_str())?;
        }
        let id = SessionId(1 + self.attached.fetch_add(1, Ordering::Relaxed));
        let outbox = Outbox::new(self.max_frame * QUEUE_FRAMES);
        let name = agent.name.clone();
        let session = Arc::new(Session::new(id, view, agent, outbox.clone(), gone));
        self.sessions.lock().insert(id, session.clone());
        self.events.publish(Event::AgentAttached { session: id, agent: name });
        Ok((session, outbox))
    }

    /// Ends what an agent left behind: its calls are cancelled, its questions refused, its subscriptions given up.
    pub fn detach(&self, session: &Session) {
        self.sessions.lock().remove(&session.id);
        for question in session.take_questions() {
            question.line.refuse(&question.id, "the agent that was asked left");
        }
        for line in session.lines() {
            line.leave(session);
        }
        self.events.publish(Event::AgentLeft { session: session.id, agent: session.agent().name });
    }

    /// The line of a session to a server: the one it has, else one that is found or started and joined.
    pub async fn line(&self, session: &Arc<Session>, server: &str, dialect: &Dialect) -> Result<Arc<Line>, Failure> {
        if let Some(line) = session.line(server, dialect.era()) {
            return Ok(line);
        }
        let line = self.upstream(server)?.line(Want::Dialect(dialect.clone())).await?;
        line.join(session);
        if let Some(level) = session.level().as_deref().and_then(level::Level::parse)
            && line.handshake().is_some_and(|handshake| handshake.offers("logging"))
        {
            line.tell_level(session.id, level);
        }
        Ok(line)
    }

    /// Tells the agents that were given lists without this server that it is there now.
    fn announce(&self, upstream: &Upstream, line: &Line) {
        for session in self.sessions() {
            let same = session.dialect(false).as_ref() == line.dialect();
            if session.view == View::All && same {
                let changed: std::collections::BTreeSet<_> =
                    session.take_missed(&upstream.name).into_iter().map(ListKind::changed).collect();
                for method in changed {
                    session.send_text(&reply::notification(method, ""));
                }
            }
        }
    }
}
