//! A recorded call as scripts and commands get it.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::agent::Agent;
use crate::record::call::{Asked, Call};

/// How many bytes of JSON make a token, about.
const BYTES_A_TOKEN: u64 = 4;

/// Who made a call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Caller {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The folder that it was started in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// What a server asked in the course of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AskedShape {
    pub method: String,
    /// How long the answer took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<f64>,
    /// `accept`, `decline`, `cancel`, `answered` or `error`; absent where nobody answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}

/// A call that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CallShape {
    /// Its number in the record; absent while it is not written yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    /// When it began, in RFC 3339.
    pub at: String,
    pub agent: Caller,
    /// The agent's session; 0 is a command of trunkline's own.
    pub session: u64,
    pub server: String,
    /// The server's process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    pub method: String,
    /// The tool, prompt or URI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    pub took_ms: f64,
    /// Until the server first said something for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_ms: Option<f64>,
    /// Bytes of the request and of the answer.
    pub sent: u64,
    pub received: u64,
    /// An estimate of the answer's tokens: a quarter of its bytes.
    pub tokens: u64,
    /// How many notifications of progress came.
    pub progress: u32,
    /// `result`, `tool_error`, `error`, `refused`, `timed_out`, `server_died`, `cancelled` or `agent_left`.
    pub outcome: String,
    /// Of a JSON-RPC error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    pub failed: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<AskedShape>,
    /// Raw JSON, where the configuration has payloads recorded; cut where it is long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

pub(super) fn tokens(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_A_TOKEN)
}

pub(super) fn milliseconds(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

pub(super) fn rfc3339(micros: i64) -> String {
    let at = DateTime::<Utc>::from_timestamp_micros(micros).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

pub(super) fn micros(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros().try_into().unwrap_or(i64::MAX)
}

pub(super) fn micros_of(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000).saturating_add(time.subsec_micros().into())
}

impl From<&Agent> for Caller {
    fn from(agent: &Agent) -> Self {
        let Agent { name, cwd, pid, host } = agent.clone();
        Self { name, pid, folder: cwd, host }
    }
}

impl From<&Asked> for AskedShape {
    fn from(asked: &Asked) -> Self {
        let (took, ended) = asked.ended.clone().unzip();
        Self {
            method: asked.method.to_string(),
            took_ms: took.map(|took| milliseconds(micros_of(took))),
            ended: ended.map(Into::into),
        }
    }
}

impl From<&Call> for CallShape {
    /// The shape of a call that ends now.
    fn from(call: &Call) -> Self {
        let now = SystemTime::now();
        Self {
            id: None,
            at: rfc3339(micros(now.checked_sub(call.took).unwrap_or(now))),
            agent: Caller::from(&*call.begun.agent),
            session: call.begun.session,
            server: call.server.to_string(),
            pid: call.pid,
            method: call.begun.method.to_string(),
            subject: call.begun.subject.as_deref().map(Into::into),
            took_ms: milliseconds(micros_of(call.took)),
            first_ms: call.first.map(|first| milliseconds(micros_of(first))),
            sent: call.begun.sent.into(),
            received: call.received.into(),
            tokens: tokens(call.received.into()),
            progress: call.begun.progress,
            outcome: call.outcome.name().to_owned(),
            code: call.outcome.code(),
            failed: call.outcome.is_failure(),
            asked: call.begun.asked.iter().map(Into::into).collect(),
            arguments: call.begun.arguments.as_deref().map(Into::into),
            result: call.result.as_deref().map(Into::into),
        }
    }
}
