//! A call that the server makes a task of: across the eras it is a call that takes long
//! (MCP 2025-11-25 `basic/utilities/tasks`; the extension `io.modelcontextprotocol/tasks` of 2026-07-28).
//!
//! A legacy client asks for a task, and fetches its result with `tasks/result`, which waits. A modern client says that it
//! takes tasks, and looks with `tasks/get` until the result is there. Trunkline does either in the agent's place.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::handshake::{EXTENSION, with_tasks};
use super::input_required::{InputRequired, resend_as};
use super::meta::at_params;
use super::object::without;
use crate::envelope::reply::{self, code};
use crate::envelope::{Edit, Envelope, quoted, task_id};
use crate::era::Era;

/// How soon a modern server's task is looked at again, where it does not say, and within which bounds it may.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(30));
/// How often in a row a look may fail on the way.
const MOST_FAILURES: u32 = 5;

/// Whether a server may make a task of a call, or has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::hub) enum AsTask {
    #[default]
    Never,
    /// If it must.
    IfNeeded,
    Allowed,
    Is(Task),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::hub) struct Task {
    pub id: Box<str>,
    /// Under which of our ids its progress is told.
    pub progress: u64,
    /// Nothing is asked of the server: it is about to be looked at again, or an agent is asked something for it.
    pub asleep: bool,
    /// How often in a row looking at it has failed on the way.
    pub failures: u32,
    /// The server was told that nobody wants it any more.
    pub cancelled: bool,
    /// The names of the questions that were answered.
    pub answered: Vec<Box<str>>,
}

/// What must be done before such a call has its answer.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::hub) enum Step {
    /// Make it again, and let the server make a task of it.
    Allow,
    /// It is this task now.
    Begin(Box<str>, Duration),
    /// Poll again, after a while.
    Poll(Duration),
    /// Likewise, because the last look failed on the way.
    PollOnceMore(Duration),
    /// Ask the agent, and tell the server what it says.
    Ask(InputRequired),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Seen<'a> {
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
    poll_interval_ms: Option<f64>,
    #[serde(borrow)]
    input_requests: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

impl Seen<'_> {
    fn pause(&self) -> Duration {
        let asked = self.poll_interval_ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok());
        asked.unwrap_or(PAUSE).clamp(PAUSES.0, PAUSES.1)
    }
}

impl AsTask {
    /// What the server's response asks for; `None` if it is the call's answer.
    pub(in crate::hub) fn step(&self, agent: Era, response: &Envelope<'_>) -> Option<Step> {
        match self {
            Self::Never => None,
            Self::IfNeeded => response.error.filter(|error| needs_task(agent, error)).map(|_| Step::Allow),
            Self::Allowed => {
                let task = begun(response.result?)?;
                let seen: Seen<'_> = serde_json::from_str(response.result?).ok()?;
                Some(Step::Begin(task, seen.pause()))
            }
            Self::Is(task) if response.error.is_some_and(|error| failed_on_the_way(agent, error)) => {
                (task.failures < MOST_FAILURES).then_some(Step::PollOnceMore(PAUSE))
            }
            // `tasks/result` has waited.
            Self::Is(_) if agent == Era::Modern => None,
            Self::Is(task) => {
                let seen: Seen<'_> = serde_json::from_str(response.result?).ok()?;
                match seen.status.as_deref() {
                    Some("completed" | "failed" | "cancelled") => None,
                    Some("input_required") => Some(task.asks(&seen).map_or(Step::Poll(seen.pause()), Step::Ask)),
                    Some(_) => Some(Step::Poll(seen.pause())),
                    // What it was told has arrived.
                    None => Some(Step::Poll(PAUSES.0)),
                }
            }
        }
    }

    /// What has become of a modern server's task, as the response to the call; `None` if the response is that already.
    pub(in crate::hub) fn outcome(&self, response: &Envelope<'_>) -> Option<String> {
        let Self::Is(_) = self else { return None };
        let seen: Seen<'_> = serde_json::from_str(response.result?).ok()?;
        match (seen.status.as_deref()?, seen.result, seen.error) {
            ("completed", Some(result), _) => Some(reply::result("0", result.get())),
            ("failed", _, Some(error)) => Some(reply::raw_error("0", error.get())),
            ("completed", None, _) => {
                Some(reply::error("0", code::INTERNAL, "the server's task ended without a result"))
            }
            ("failed", _, None) => Some(reply::error("0", code::INTERNAL, "the server's task failed")),
            ("cancelled", _, _) => Some(reply::error("0", code::INTERNAL, "the server cancelled its task")),
            (_, _, _) => None,
        }
    }
}

impl Task {
    pub(in crate::hub) fn new(id: Box<str>, progress: u64) -> Self {
        Self { id, progress, asleep: false, failures: 0, cancelled: false, answered: Vec::new() }
    }

    fn asks(&self, seen: &Seen<'_>) -> Option<InputRequired> {
        let mut required = InputRequired::of(seen.input_requests?.get(), None);
        required.asked.retain(|asked| !self.answered.contains(&asked.key));
        (!required.asked.is_empty()).then_some(required)
    }

    /// The params of a request about it to a server of the era that `agent` does not speak; `call` is how the call went
    /// there, and `members` what else is in them, raw.
    pub(in crate::hub) fn params(&self, agent: Era, call: &str, members: &str) -> String {
        let id = quoted(&self.id);
        let meta = match agent {
            Era::Modern => None,
            Era::Legacy => Envelope::parse(call.as_bytes()).ok().and_then(|call| {
                let meta = call.params.meta_raw?;
                Some(without(meta, &["progressToken"]).unwrap_or_else(|| meta.to_owned()))
            }),
        };
        let meta = meta.map(|meta| format!(r#","_meta":{meta}"#)).unwrap_or_default();
        format!(r#"{{"taskId":{id}{members}{meta}}}"#)
    }
}

/// The id of the task that a result begins, in either era.
pub(in crate::hub) fn begun(result: &str) -> Option<Box<str>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Created<'a> {
        #[serde(borrow)]
        result_type: Option<Cow<'a, str>>,
        #[serde(borrow)]
        task_id: Option<Cow<'a, str>>,
        #[serde(borrow)]
        task: Option<&'a RawValue>,
    }
    memchr::memmem::find(result.as_bytes(), b"\"taskId\"")?;
    let created: Created<'_> = serde_json::from_str(result).ok()?;
    let modern = created.task_id.filter(|_| created.result_type.is_some_and(|kind| kind == "task"));
    created.task.and_then(|task| task_id(task.get())).or(modern).map(Into::into)
}

/// Whether an error says nothing of the task: it may just be looked at again. A legacy server's may be the task's own.
fn failed_on_the_way(agent: Era, error: &str) -> bool {
    match (agent, reply::code_of(error)) {
        (_, Some(code::CONNECTION_CLOSED)) => true,
        (Era::Legacy, code) => code == Some(code::INTERNAL),
        (Era::Modern, _) => false,
    }
}

/// Whether an error says that the call can only be made as a task.
fn needs_task(agent: Era, error: &str) -> bool {
    match agent {
        Era::Modern => reply::code_of(error) == Some(code::METHOD_NOT_FOUND),
        Era::Legacy => reply::code_of(error) == Some(code::MISSING_CAPABILITY) && lacks_tasks(error),
    }
}

fn lacks_tasks(error: &str) -> bool {
    let value: serde_json::Value = serde_json::from_str(error).unwrap_or_default();
    value["data"]["requiredCapabilities"]["extensions"].get(EXTENSION).is_some()
}

/// Whether what a server says of a task, the params of a notification or a result, raw, says that it has ended; what has
/// no status but content is what came of it.
pub(in crate::hub) fn has_ended(said: &str) -> bool {
    #[derive(Deserialize)]
    struct Said<'a> {
        #[serde(borrow)]
        status: Option<Cow<'a, str>>,
        content: Option<IgnoredAny>,
    }
    let Ok(said) = serde_json::from_str::<Said<'_>>(said) else { return false };
    let ended = |status: Cow<'_, str>| matches!(&*status, "completed" | "failed" | "cancelled");
    said.status.map_or(said.content.is_some(), ended)
}

/// Whether a notification about a task says that it has ended.
pub(in crate::hub) fn says_ended(told: &Envelope<'_>) -> bool {
    #[derive(Deserialize)]
    struct Told<'a> {
        #[serde(borrow)]
        params: Option<&'a RawValue>,
    }
    let params = serde_json::from_str::<Told<'_>>(told.frame).ok().and_then(|told| told.params);
    params.is_some_and(|params| has_ended(params.get()))
}

/// Whether a list of tools, or one of them, raw, says anything of tasks.
pub(in crate::hub) fn names_tasks(text: &str) -> bool {
    memchr::memmem::find(text.as_bytes(), b"taskSupport").is_some()
}

/// Whether a legacy server's tool, raw, can only be called as a task.
pub(in crate::hub) fn is_task_only(tool: &str) -> bool {
    #[derive(Deserialize)]
    struct Tool<'a> {
        #[serde(borrow)]
        execution: Option<Execution<'a>>,
    }
    #[derive(Deserialize)]
    struct Execution<'a> {
        #[serde(borrow, rename = "taskSupport")]
        task_support: Option<Cow<'a, str>>,
    }
    names_tasks(tool)
        && serde_json::from_str::<Tool<'_>>(tool)
            .ok()
            .and_then(|tool| tool.execution?.task_support)
            .is_some_and(|support| support == "required")
}

/// The member of a call's params with which a legacy client asks for a task.
pub(in crate::hub) const AS_TASK: &str = r#""task":{}"#;

/// A call, as it went to the server, under another id, so that the server may make a task of it.
pub(in crate::hub) fn allowed(agent: Era, call: &str, id: u64) -> Option<String> {
    match agent {
        Era::Modern => {
            let (at, text) = at_params(call, AS_TASK)?;
            resend_as(call, id, Some(Edit { at, with: &text }))
        }
        Era::Legacy => {
            let envelope = Envelope::parse(call.as_bytes()).ok()?;
            let capabilities = envelope.params.meta.client_capabilities?;
            resend_as(call, id, Some(envelope.edit(capabilities, &with_tasks(capabilities))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(task: &AsTask, agent: Era, response: &str) -> Option<Step> {
        task.step(agent, &Envelope::parse(response.as_bytes()).expect("valid"))
    }

    fn task(answered: &[&str]) -> AsTask {
        let answered = answered.iter().map(|key| (*key).into()).collect();
        AsTask::Is(Task { answered, ..Task::new("t\"1".into(), 3) })
    }

    #[test]
    fn a_legacy_servers_task_is_waited_for() {
        let refused = r#"{"id":1,"error":{"code":-32601,"message":"as a task only"}}"#;
        assert_eq!(step(&AsTask::IfNeeded, Era::Modern, refused), Some(Step::Allow));
        assert_eq!(step(&AsTask::Allowed, Era::Modern, refused), None, "once");
        let begun = r#"{"id":1,"result":{"task":{"taskId":"t\"1","status":"working"}}}"#;
        let begin = Some(Step::Begin("t\"1".into(), PAUSE));
        assert_eq!(step(&AsTask::Allowed, Era::Modern, begun), begin);
        assert_eq!(step(&AsTask::IfNeeded, Era::Modern, begun), None, "nobody asked for one");
        assert_eq!(step(&task(&[]), Era::Modern, r#"{"id":1,"result":{"content":[]}}"#), None);
        let AsTask::Is(task) = task(&[]) else { unreachable!() };
        assert_eq!(task.params(Era::Modern, "", ""), r#"{"taskId":"t\"1"}"#);
        assert_eq!(
            allowed(Era::Modern, r#"{"id":1,"method":"tools/call","params":{"name":"a"}}"#, 2).as_deref(),
            Some(r#"{"id":2,"method":"tools/call","params":{"task":{},"name":"a"}}"#)
        );
    }

    #[test]
    fn a_modern_servers_task_is_looked_at() {
        let refused = r#"{"id":1,"error":{"code":-32021,"message":"","data":{"requiredCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}}}"#;
        assert_eq!(step(&AsTask::IfNeeded, Era::Legacy, refused), Some(Step::Allow));
        let sampling = refused.replace("extensions", "sampling");
        assert_eq!(step(&AsTask::IfNeeded, Era::Legacy, &sampling), None);
        let begun = r#"{"id":1,"result":{"resultType":"task","taskId":"a","pollIntervalMs":200}}"#;
        let begin = Some(Step::Begin("a".into(), Duration::from_millis(200)));
        assert_eq!(step(&AsTask::Allowed, Era::Legacy, begun), begin);
        let working = r#"{"id":1,"result":{"status":"working","pollIntervalMs":1e9}}"#;
        assert_eq!(step(&task(&[]), Era::Legacy, working), Some(Step::Poll(PAUSES.1)));
        assert_eq!(step(&task(&[]), Era::Legacy, r#"{"id":1,"result":{}}"#), Some(Step::Poll(PAUSES.0)));
        let call = r#"{"id":1,"method":"tools/call","params":{"_meta":{"progressToken":1,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"x":{},"extensions":{"y":{}}}}}}"#;
        let again = allowed(Era::Legacy, call, 2).expect("a call");
        let capabilities = r#"{"x":{},"extensions":{"y":{},"io.modelcontextprotocol/tasks":{}}}"#;
        assert_eq!(again, call.replace(":1,", ":2,").replace(r#"{"x":{},"extensions":{"y":{}}}"#, capabilities));
        let AsTask::Is(task) = task(&[]) else { unreachable!() };
        let params = task.params(Era::Legacy, &again, r#","x":1"#);
        assert!(params.starts_with(r#"{"taskId":"t\"1","x":1,"_meta":{"#) && !params.contains("progressToken"));
    }

    #[test]
    fn a_task_is_told_from_what_looks_like_one() {
        assert_eq!(begun(r#"{"task":{"taskId":"a","status":"working"}}"#).as_deref(), Some("a"));
        assert_eq!(begun(r#"{"resultType":"task","taskId":"b","x":1}"#).as_deref(), Some("b"));
        for other in [
            r#"{"resultType":"complete","taskId":"b","status":"working"}"#,
            r#"{"content":[{"type":"text","text":"\"taskId\""}]}"#,
            r#"{"structuredContent":{"taskId":"c"}}"#,
        ] {
            assert_eq!(begun(other), None, "{other}");
        }
    }

    #[test]
    fn what_becomes_of_it_is_the_answer() {
        let asks = r#"{"id":1,"result":{"status":"input_required","inputRequests":{"a":{"method":"roots/list"}}}}"#;
        assert!(matches!(step(&task(&[]), Era::Legacy, asks), Some(Step::Ask(required)) if required.asked.len() == 1));
        assert_eq!(step(&task(&["a"]), Era::Legacy, asks), Some(Step::Poll(PAUSE)), "it was answered");
        let failed = r#"{"id":1,"error":{"code":-32603,"message":"502"}}"#;
        assert_eq!(step(&task(&[]), Era::Legacy, failed), Some(Step::PollOnceMore(PAUSE)));
        assert_eq!(step(&task(&[]), Era::Modern, failed), None, "that is what became of it");
        let AsTask::Is(tired) = task(&[]) else { unreachable!() };
        let tired = AsTask::Is(Task { failures: MOST_FAILURES, ..tired });
        assert_eq!(step(&tired, Era::Legacy, failed), None);
        for (response, outcome) in [
            (r#"{"status":"completed","result":{"n":1E5}}"#, r#""result":{"n":1E5}"#),
            (r#"{"status":"failed","error":{"code":7,"message":"m"}}"#, r#""error":{"code":7,"message":"m"}"#),
            (r#"{"status":"cancelled"}"#, "cancelled its task"),
        ] {
            let response = format!(r#"{{"id":1,"result":{response}}}"#);
            assert_eq!(step(&task(&[]), Era::Legacy, &response), None);
            let envelope = Envelope::parse(response.as_bytes()).expect("valid");
            let answer = task(&[]).outcome(&envelope).unwrap_or_default();
            assert!(answer.contains(outcome), "{answer}");
        }
        assert!(is_task_only(r#"{"name":"a","execution":{"taskSupport":"required"}}"#));
        assert!(!is_task_only(r#"{"name":"a","execution":{"taskSupport":"optional"}}"#));
    }
}
