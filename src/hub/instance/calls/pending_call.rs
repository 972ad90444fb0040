//! One request that a server has not answered.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::envelope::{Envelope, quoted};
use crate::era::{ClientProfile, Era};
use crate::hub::eras::{self, AsTask, Asked};
use crate::hub::ids::{PrincipalId, SessionId};
use crate::hub::instance::calls::turns::{Standing, Turn};
use crate::hub::log_level::Level;
use crate::hub::session::Session;
use crate::hub::sharing::ROOTS;
use crate::lists::ListKind;
use crate::method::Method;
use crate::record::Begun;
use crate::wire::Held;

/// What a reply to a hub's own request is: the reply frame, or why there is none.
pub(in crate::hub) type Answer = Result<Box<str>, Arc<str>>;

/// One request that the server has not answered.
#[derive(Debug)]
pub(in crate::hub) struct PendingCall {
    pub owner: Caller,
    pub on_reply: OnReply,
    /// How to ask once more, of a server that is started anew: set only where asking changes nothing.
    pub repeat: Option<Box<Repeat>>,
    /// Nobody waits for it any more.
    pub(in crate::hub) cancelled: Option<Cancelled>,
    /// How long the server has had for it, not counting the time in which it waited for an answer itself.
    pub(in crate::hub) spent: Option<Duration>,
    /// It waits for a person: to log in, or to answer what is asked for its task.
    pub(in crate::hub) parked: bool,
    /// The agent speaks the other era.
    pub translation: Option<Box<Translation>>,
    /// The server asks something, for which a modern agent must come back.
    pub suspension: Option<Box<Suspension>>,
    /// Of a call of a tool, which one.
    pub tool: Option<Arc<str>>,
    /// What will stand in the record; taken out when the call ends for its agent.
    pub begun: Option<Box<Begun>>,
    pub turn: Turn,
}

/// How long a server must have been quiet for a call, once it has read behind its cancellation.
pub(in crate::hub) const QUIET: Duration = Duration::from_secs(2);
/// How long a call counts if the server does not show that it has read its cancellation.
const UNREAD: Duration = Duration::from_secs(5);

/// What is known of a call since it was cancelled.
#[derive(Debug, Clone, Copy)]
pub(in crate::hub) struct Cancelled {
    pub at: Instant,
    /// When the server answered what was sent behind the cancellation, or said something for the call after that.
    pub heard: Option<Instant>,
}

impl Cancelled {
    /// When the server is done with it, if nothing more is heard.
    pub(in crate::hub) fn over(&self) -> Instant {
        self.heard.map_or(self.at + UNREAD, |heard| heard + QUIET)
    }
}

/// The largest request that is kept to be repeated, in bytes.
const REPEATED: usize = 64 << 10;

/// What is kept of a request from an agent of one era to a server of the other.
#[derive(Debug, Clone)]
pub(in crate::hub) struct Translation {
    /// What the agent speaks.
    pub agent: Era,
    pub method: Option<Method>,
    /// What its agent declared with it.
    pub declared: Arc<ClientProfile>,
    /// What it is about, by which a modern agent comes back for it.
    pub subject: Box<str>,
    /// How it went to the server, where it may have to be made again.
    pub frame: Option<Box<str>>,
    /// How it went there last, with answers to what the server asked.
    pub retried: Option<Box<str>>,
    pub task: AsTask,
    /// From which level on a modern agent wants log messages of it.
    pub level: Option<Level>,
    /// How often the server has asked.
    pub rounds: u32,
    /// Pages that the person was sent to meanwhile.
    pub opened: Vec<Opened>,
    /// What will stand in the record, while the agent is asked something.
    pub begun: Option<Box<Begun>>,
    /// What is kept of its text weighs so much.
    pub _held: Option<Arc<Held>>,
}

/// A page that a person has opened, and the question that told of it.
#[derive(Debug, Clone)]
pub(in crate::hub) struct Opened {
    pub asked: Asked,
    pub question: u64,
}

/// What a server asks while it is at a call of a modern agent.
#[derive(Debug)]
pub(in crate::hub) struct Suspension {
    /// Under which of our ids the server is at the call: it may go on under another. Set under the lock of the table.
    pub call: Arc<AtomicU64>,
    /// What the agent was told to come back with.
    pub state: Option<Box<str>>,
    pub questions: Vec<Waiting>,
    /// How many there were so far.
    pub asked: u32,
}

/// A modern agent that is told to come back for its call.
#[derive(Debug)]
pub(in crate::hub) struct Leaving {
    pub session: Arc<Session>,
    /// The agent's own id of the call, raw.
    pub id: Box<str>,
    /// What the call is about: only a request about the same brings the answers.
    pub subject: Box<str>,
    /// The object `inputRequests`, raw.
    pub requests: String,
}

/// A question that waits for the agent.
#[derive(Debug)]
pub(in crate::hub) struct Waiting {
    /// Its name in `inputRequests`.
    pub key: Box<str>,
    /// The server's own id, raw.
    pub id: Box<str>,
    /// The task in whose name it is asked, raw.
    pub task: Option<Box<str>>,
    /// The member of `inputRequests`, raw.
    pub request: Box<str>,
    pub _held: Held,
}

impl Translation {
    /// Has what is kept of the request weighed for its agent; false if there is no room for it.
    pub(in crate::hub) fn weigh(&mut self, session: &Session) -> bool {
        let Some(frame) = &self.frame else { return true };
        self._held = session.account().hold(frame.len()).ok().map(Arc::new);
        self._held.is_some()
    }
}

impl Translation {
    /// Whether an answer of a modern server asks a legacy agent something first.
    pub(in crate::hub) fn asks(&self, answer: &Envelope<'_>) -> bool {
        self.agent == Era::Legacy && answer.result.and_then(eras::InputRequired::parse).is_some()
    }

    /// The params that cancel the task that the call has become, once.
    pub(in crate::hub) fn cancellation(&mut self) -> Option<String> {
        let AsTask::Is(task) = &mut self.task else { return None };
        let told = std::mem::replace(&mut task.cancelled, true);
        (!told).then(|| task.params(self.agent, self.frame.as_deref().unwrap_or_default(), ""))
    }
}

impl Repeat {
    /// Whether asking twice changes nothing (lists, reads and subscriptions), and the request is small enough to be kept.
    pub(in crate::hub) fn may_be_kept(envelope: &Envelope<'_>) -> bool {
        envelope.method.is_some_and(Method::is_renewed)
            && envelope.frame.len() <= REPEATED
            && !envelope.params.is_retry()
    }
}

impl Waiting {
    pub(in crate::hub) fn is_for_roots(&self) -> bool {
        let request: Option<serde_json::Value> = serde_json::from_str(&self.request).ok();
        request.is_some_and(|request| request["method"] == ROOTS)
    }
}

impl Suspension {
    pub(in crate::hub) fn new(call: u64) -> Self {
        Self { call: Arc::new(AtomicU64::new(call)), state: None, questions: Vec::new(), asked: 0 }
    }

    /// The object `inputRequests` of all that is asked, raw.
    pub(in crate::hub) fn requests(&self) -> String {
        let asked = self.questions.iter().map(|waiting| format!("{}:{}", quoted(&waiting.key), waiting.request));
        format!("{{{}}}", asked.collect::<Vec<_>>().join(","))
    }
}

/// Levels before one was set: the session's own, and what the server was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    pub own: Option<Level>,
    pub told: Option<Level>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Parked {
    Yes,
    No,
}

/// A request as the agent wrote it, and what the view replaces in it.
#[derive(Debug, Clone)]
pub(in crate::hub) struct Repeat {
    pub frame: Box<str>,
    pub edits: Vec<(Range<usize>, String)>,
    pub on_reply: OnReply,
}

impl PendingCall {
    pub(in crate::hub) fn new(owner: Caller, on_reply: OnReply, repeat: Option<Box<Repeat>>) -> Self {
        let whose = owner.principal().filter(|_| !is_listen(&on_reply));
        Self {
            turn: Turn::of(whose),
            owner,
            on_reply,
            repeat,
            cancelled: None,
            spent: None,
            parked: false,
            translation: None,
            suspension: None,
            tool: None,
            begun: None,
        }
    }
}

#[derive(Debug)]
pub(in crate::hub) enum Caller {
    Agent {
        session: Arc<Session>,
        id: Box<str>,
        token: Option<Box<str>>,
    },
    /// The agent left; its call may go on in the server.
    Gone(SessionId),
    /// A modern agent's, which was told to come back with answers to what the server asks.
    Suspended(SessionId),
    /// A call made for `daemon.call_tool`.
    Daemon(oneshot::Sender<Answer>),
    /// A list or setting that the hub asked for itself: belongs to no call.
    Hub(oneshot::Sender<Answer>),
    /// The hub's own subscription to what a modern server announces.
    Listener,
    /// The hub's own, sent behind the cancellation of this call.
    Fence(u64),
    /// The hub's own, and nobody waits for the answer.
    Nobody,
}

/// What to do when the answer comes, besides delivering it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnReply {
    Nothing,
    /// `subscriptions/listen`: lives long, and its result repeats its id.
    Listen,
    /// The same once more, of the next process: the agent need not hear again that it is heard.
    ListenAgain,
    /// The level counts from when it was asked for; `before` comes back if the server refuses.
    SetLevel(Before),
    /// The URI, as the server knows it, of one that the agent was not subscribed to before.
    Subscribe(String),
    /// A request about a task of the agent's, by its id.
    Task(Box<str>),
    /// `tasks/list`: the agent sees its own.
    Tasks,
    /// The result is a page of a list, of which the agent sees what the filter lets pass.
    List {
        kind: ListKind,
        cursor: Option<Box<str>>,
    },
}

/// An agent's request that was answered: whose, under which id and token, and what was to be done.
#[derive(Debug, Clone)]
pub(in crate::hub) struct Asker {
    pub session: Arc<Session>,
    pub id: Box<str>,
    pub token: Option<Box<str>>,
    pub on_reply: OnReply,
}

impl Caller {
    /// Among whose calls it is, if it is a call of somebody's who waits for it.
    fn principal(&self) -> Option<PrincipalId> {
        match self {
            Self::Agent { session, .. } => Some(session.principal_id()),
            Self::Daemon(_) => Some(PrincipalId::DAEMON),
            Self::Gone(_) | Self::Suspended(_) | Self::Hub(_) | Self::Listener | Self::Fence(_) | Self::Nobody => None,
        }
    }

    /// The agent that waits for it, if one does, and its own id, raw.
    pub(in crate::hub) fn agent(&self) -> Option<(&Arc<Session>, &str)> {
        match self {
            Self::Agent { session, id, .. } => Some((session, id)),
            Self::Gone(_)
            | Self::Suspended(_)
            | Self::Daemon(_)
            | Self::Hub(_)
            | Self::Listener
            | Self::Fence(_)
            | Self::Nobody => None,
        }
    }
}

impl PendingCall {
    /// Whose call it is; nobody's if it is none.
    pub(in crate::hub) fn caller(&self) -> Option<SessionId> {
        if self.is_listen() {
            return None;
        }
        match &self.owner {
            Caller::Agent { session, .. } => Some(session.id),
            Caller::Gone(session) | Caller::Suspended(session) => Some(*session),
            Caller::Daemon(_) => Some(SessionId::DAEMON),
            Caller::Hub(_) | Caller::Listener | Caller::Fence(_) | Caller::Nobody => None,
        }
    }

    pub(in crate::hub) fn is_listen(&self) -> bool {
        is_listen(&self.on_reply)
    }

    /// Whether the server has it and must answer it.
    pub(in crate::hub) fn is_at_server(&self) -> bool {
        self.turn.whose.is_some() && self.turn.standing == Standing::AtServer && !self.is_cancelled()
    }

    /// Where it is, if it is not held.
    pub(in crate::hub) fn standing(&self) -> Standing {
        let is_task = self.translation.as_ref().is_some_and(|kept| matches!(kept.task, AsTask::Is(_)));
        if self.parked || is_task { Standing::Elsewhere } else { Standing::AtServer }
    }

    /// Whether it is a request of an agent's for anything but a list.
    pub(in crate::hub) fn is_call(&self) -> bool {
        self.caller().is_some() && !matches!(self.on_reply, OnReply::List { .. })
    }

    pub(in crate::hub) fn is_cancelled(&self) -> bool {
        self.cancelled.is_some()
    }
}

fn is_listen(on_reply: &OnReply) -> bool {
    matches!(on_reply, OnReply::Listen | OnReply::ListenAgain)
}
