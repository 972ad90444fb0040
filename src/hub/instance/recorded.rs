//! What of a call goes into the record of calls: when it begins, and when it ends for its agent.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime};

use memchr::memmem;

use crate::agent::Agent;
use crate::envelope::reply::code_of;
use crate::envelope::{Edit, Envelope};
use crate::hub::instance::calls::tool::subject_of;
use crate::hub::session::Session;
use crate::method::Method;
use crate::names;
use crate::record::{Asked, Begun, Call, Outcome};
use crate::traces::Ended;
use crate::upstream::InstanceServices;

/// How long the name of a method may be that is recorded, in bytes.
const LONGEST_METHOD: usize = 128;
/// How much of arguments and of a result is recorded, in bytes.
const PAYLOAD: usize = 64 << 10;

/// The calls of one server, or of one of its processes, on their way into the record.
#[derive(Debug)]
pub(in crate::hub) struct Records<'a> {
    around: &'a InstanceServices,
    pid: Option<u32>,
}

impl<'a> Records<'a> {
    /// Of a server, or of one process of it.
    pub(in crate::hub) fn of(around: &'a InstanceServices, pid: Option<u32>) -> Self {
        Self { around, pid }
    }

    /// A call that begins, as the record will have it, and what it is about.
    pub(in crate::hub) fn begin(
        &self,
        session: &Session,
        envelope: &Envelope<'_>,
        subject: Option<Arc<str>>,
    ) -> Box<Begun> {
        let arguments = envelope.params.arguments.filter(|_| self.around.kept.payloads());
        let method = match envelope.method {
            Some(method) => Cow::Borrowed(method.name()),
            None => Cow::Owned(cut(&envelope.method_name, LONGEST_METHOD).to_owned()),
        };
        Box::new(Begun {
            since: Instant::now(),
            agent: session.agent(),
            session: session.id.0,
            method,
            subject,
            sent: envelope.frame.len().try_into().unwrap_or(u32::MAX),
            progress: 0,
            first: None,
            asked: Vec::new(),
            span: self.around.tracer.begin(envelope.params.meta_raw),
            arguments: arguments.map(|raw| self.masked(raw)),
        })
    }

    /// The same, of a call of trunkline's own for a person.
    pub(in crate::hub) fn begin_own(&self, method: Method, subject: &str, arguments: &str) -> Box<Begun> {
        let agent = Agent { name: Some("trunkline".to_owned()), ..Agent::default() };
        Box::new(Begun {
            since: Instant::now(),
            agent: Arc::new(agent),
            session: 0,
            method: Cow::Borrowed(method.name()),
            subject: Some(subject.into()),
            sent: arguments.len().try_into().unwrap_or(u32::MAX),
            progress: 0,
            first: None,
            asked: Vec::new(),
            span: self.around.tracer.begin(None),
            arguments: self.around.kept.payloads().then(|| self.masked(arguments)),
        })
    }

    /// Puts a call into the record that has ended for its agent; `answer` is what it got.
    pub(in crate::hub) fn end(&self, begun: Option<Box<Begun>>, outcome: Outcome, answer: Option<&Envelope<'_>>) {
        let Some(begun) = begun else { return };
        let took = begun.since.elapsed();
        self.around.tally.note(&begun.method, outcome, begun.since + took, took);
        let kept = &self.around.kept;
        if let Some(span) = &begun.span {
            let now = SystemTime::now();
            self.around.tracer.end(
                span,
                &Ended {
                    server: self.around.name.as_str(),
                    method: &begun.method,
                    subject: begun.subject.as_deref(),
                    agent: begun.agent.name.as_deref(),
                    session: begun.session,
                    began: now.checked_sub(took).unwrap_or(now),
                    took,
                    failure: outcome.is_failure().then_some(outcome.name()),
                    code: outcome.code(),
                },
            );
        }
        let result = answer.and_then(|answer| answer.result.or(answer.error)).filter(|_| kept.payloads());
        let call = Call {
            took,
            server: self.around.name.clone(),
            pid: self.pid,
            first: begun.first.map(|first| first.saturating_duration_since(begun.since)),
            received: answer.map_or(0, |answer| answer.frame.len().try_into().unwrap_or(u32::MAX)),
            outcome,
            result: result.map(|raw| self.masked(raw)),
            begun,
        };
        self.around.recorder.push(&call, kept.calls());
    }

    /// Puts a call into the record that the server has answered.
    pub(in crate::hub) fn answered(&self, begun: Option<Box<Begun>>, answer: &Envelope<'_>) {
        if let Some(begun) = begun {
            let outcome = outcome(&begun.method, answer);
            self.end(Some(begun), outcome, Some(answer));
        }
    }

    /// Puts a call into the record that was not passed on; `refusal` is the answer.
    pub(in crate::hub) fn refused(
        &self,
        session: &Session,
        envelope: &Envelope<'_>,
        edits: &[Edit<'_>],
        refusal: &str,
    ) {
        let mut begun = self.begin(session, envelope, subject_of(envelope, edits));
        // As the server knows it, also where the agent sees all servers.
        let own =
            begun.subject.as_deref().and_then(names::split).filter(|(server, _)| *server == self.around.name.as_str());
        if let Some((_, own)) = own {
            begun.subject = Some(own.into());
        }
        let Ok(refusal) = Envelope::parse(refusal.as_bytes()) else { return };
        let code = refusal.error.and_then(code_of).unwrap_or_default();
        self.end(Some(begun), Outcome::Refused(code.into()), Some(&refusal));
    }

    /// A payload as it may be recorded.
    fn masked(&self, raw: &str) -> Box<str> {
        let text = cut(raw, PAYLOAD);
        self.around.masks.apply(text).into()
    }
}

/// The beginning of a text.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// How a call ended that was answered so.
fn outcome(method: &str, answer: &Envelope<'_>) -> Outcome {
    match (answer.result, answer.error) {
        (_, Some(error)) => Outcome::Error(code_of(error).unwrap_or_default().into()),
        (Some(result), None) if method == Method::CallTool.name() && is_tool_error(result) => Outcome::ToolError,
        (Some(_) | None, None) => Outcome::Result,
    }
}

/// Whether the result of a tool says that it failed. It is read only where that stands in it.
fn is_tool_error(result: &str) -> bool {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ToolResult {
        #[serde(default)]
        is_error: bool,
    }
    const WORD: &str = "\"isError\"";
    static FINDER: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(WORD));
    let says_so = |at: usize| {
        let behind = result[at + WORD.len()..].trim_start();
        behind.strip_prefix(':').is_some_and(|value| value.trim_start().starts_with("true"))
    };
    FINDER.find_iter(result.as_bytes()).any(says_so)
        && serde_json::from_str::<ToolResult>(result).is_ok_and(|result| result.is_error)
}

/// What a server asks in the course of a call.
pub(in crate::hub) fn asked(envelope: &Envelope<'_>) -> Asked {
    Asked { method: cut(&envelope.method_name, LONGEST_METHOD).into(), since: Instant::now(), ended: None }
}

/// How a question ended, by the answer.
pub(in crate::hub) fn ended(answer: &Envelope<'_>) -> Cow<'static, str> {
    #[derive(serde::Deserialize)]
    struct Elicited {
        action: String,
    }
    let action = answer.result.and_then(|result| serde_json::from_str(result).ok());
    match (answer.error, action.map(|Elicited { action }| action).as_deref()) {
        (Some(_), _) => "error",
        (None, Some("accept")) => "accept",
        (None, Some("decline")) => "decline",
        (None, Some("cancel")) => "cancel",
        (None, Some(_) | None) => "answered",
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_call_ends_is_read_from_the_answer() {
        let of = |method: &str, members: &str| {
            let frame = format!(r#"{{"jsonrpc":"2.0","id":1,{members}}}"#);
            outcome(method, &Envelope::parse(frame.as_bytes()).expect("a message"))
        };
        for (method, members, expected) in [
            ("tools/call", r#""result":{"content":[]}"#, Outcome::Result),
            ("tools/call", r#""result":{"content":[],"isError":false}"#, Outcome::Result),
            ("tools/call", r#""result":{"content":[],"isError" : true}"#, Outcome::ToolError),
            ("tools/call", r#""result":{"isError":true,"content":[{"type":"text","text":"x"}]}"#, Outcome::ToolError),
            ("tools/call", r#""result":{"structuredContent":{"isError":true}}"#, Outcome::Result),
            ("tools/call", r#""result":{"content":[{"text":"{\"isError\":true}"}]}"#, Outcome::Result),
            ("prompts/get", r#""result":{"isError":true}"#, Outcome::Result),
            ("tools/call", r#""error":{"code":-32602,"message":"no"}"#, Outcome::Error(-32602)),
            ("tools/call", r#""error":{"code":"x"}"#, Outcome::Error(0)),
        ] {
            assert_eq!(of(method, members), expected, "{members}");
        }
    }
}
