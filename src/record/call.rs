//! One call, while it is under way and when it has ended.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::agent::Agent;
use crate::method::Method;
use crate::names::ServerName;
use crate::shown;
use crate::traces::Span;

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Result,
    /// Its agent did not want it any more.
    Cancelled,
    AgentLeft,
    /// A result with `isError`.
    ToolError,
    /// A JSON-RPC error of the server's, with this code.
    Error(i64),
    TimedOut,
    ServerDied,
    /// Trunkline did not pass it on, and answered with this code.
    Refused(i64),
}

/// The first number of those that stand for failures.
pub(super) const FIRST_FAILURE: u8 = 10;

impl Outcome {
    /// The number that stands for it in the file.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Result => 0,
            Self::Cancelled => 1,
            Self::AgentLeft => 2,
            Self::ToolError => FIRST_FAILURE,
            Self::Error(_) => 11,
            Self::TimedOut => 12,
            Self::ServerDied => 13,
            Self::Refused(_) => 14,
        }
    }

    /// The code of the JSON-RPC error, where there is one.
    pub fn code(self) -> Option<i64> {
        match self {
            Self::Error(code) | Self::Refused(code) => Some(code),
            Self::Result | Self::Cancelled | Self::AgentLeft | Self::ToolError | Self::TimedOut | Self::ServerDied => {
                None
            }
        }
    }

    pub(super) fn of(number: u8, code: i64) -> Self {
        match number {
            1 => Self::Cancelled,
            2 => Self::AgentLeft,
            FIRST_FAILURE => Self::ToolError,
            11 => Self::Error(code),
            12 => Self::TimedOut,
            13 => Self::ServerDied,
            14 => Self::Refused(code),
            _ => Self::Result,
        }
    }

    /// Its name, for scripts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Result => "result",
            Self::Cancelled => "cancelled",
            Self::AgentLeft => "agent_left",
            Self::ToolError => "tool_error",
            Self::Error(_) => "error",
            Self::TimedOut => "timed_out",
            Self::ServerDied => "server_died",
            Self::Refused(_) => "refused",
        }
    }

    /// Whether the agent got something else than it asked for. A call that its agent gave up is no failure.
    pub fn is_failure(self) -> bool {
        self.number() >= FIRST_FAILURE
    }
}

/// What a server asked in the course of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub method: Box<str>,
    pub since: Instant,
    /// How long it waited for the answer, and how that ended, in a word: `accept`, `decline`, `cancel`, `answered`, `error`.
    pub ended: Option<(Duration, Cow<'static, str>)>,
}

/// A call that is under way.
#[derive(Debug, Clone)]
pub struct Begun {
    pub since: Instant,
    pub agent: Arc<Agent>,
    pub session: u64,
    pub method: Cow<'static, str>,
    /// The tool, prompt or URI that it is about.
    pub subject: Option<Arc<str>>,
    /// Bytes of the request.
    pub sent: u32,
    pub progress: u32,
    /// When the server first said something for it.
    pub first: Option<Instant>,
    pub asked: Vec<Asked>,
    /// Its span, where it is traced.
    pub span: Option<Span>,
    /// Its arguments, raw, where those are recorded.
    pub arguments: Option<Box<str>>,
}

/// A call that has ended.
#[derive(Debug)]
pub struct Call {
    pub took: Duration,
    pub server: ServerName,
    /// The server's process, if it is one.
    pub pid: Option<u32>,
    pub begun: Box<Begun>,
    /// Until the server first said something for it.
    pub first: Option<Duration>,
    /// Bytes of the answer.
    pub received: u32,
    pub outcome: Outcome,
    /// The answer, raw, where those are recorded.
    pub result: Option<Box<str>>,
}

/// What a call is about, as a line shows it.
pub fn subject_shown(method: &str, subject: Option<&str>) -> String {
    match (method, subject) {
        (method, Some(tool)) if method == Method::CallTool.name() => shown::line(tool).into_owned(),
        (method, Some(subject)) => format!("{} {}", shown::line(method), shown::line(subject)),
        (method, None) => shown::line(method).into_owned(),
    }
}
