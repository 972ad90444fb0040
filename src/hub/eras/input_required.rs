//! What a server asks back: requests of its own in the legacy era, `input_required` results in the modern one
//! (MCP 2026-07-28 `basic/patterns/mrtr`).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::meta::at_params;
use super::object::Object;
use super::object::{put_first, put_last, without};
use crate::envelope;
use crate::envelope::reply::{self, code};
use crate::envelope::{Edit, Envelope, quoted, splice};
use crate::method::Method;

/// Names the task to which a message belongs, in the legacy era.
const RELATED: &str = "io.modelcontextprotocol/related-task";

/// A result with which a modern server asks for more.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::hub) struct InputRequired {
    pub asked: Vec<Asked>,
    /// Raw, to be given back.
    pub state: Option<Box<str>>,
}

/// One of its questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::hub) struct Asked {
    /// Its name in `inputRequests`.
    pub key: Box<str>,
    pub method: Box<str>,
    /// Raw.
    pub params: Option<Box<str>>,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

impl InputRequired {
    /// The bytes of all that is kept of it.
    pub(in crate::hub) fn size(&self) -> usize {
        let asked = self.asked.iter();
        let asked = asked
            .map(|asked| asked.key.len() + asked.method.len() + asked.params.as_ref().map_or(0, |params| params.len()));
        asked.sum::<usize>() + self.state.as_ref().map_or(0, |state| state.len())
    }

    /// From a raw result, if it is one.
    pub(in crate::hub) fn parse(result: &str) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Result<'a> {
            #[serde(borrow)]
            result_type: Option<Cow<'a, str>>,
            #[serde(borrow)]
            input_requests: Option<&'a RawValue>,
            #[serde(borrow)]
            request_state: Option<&'a RawValue>,
        }
        memchr::memmem::find(result.as_bytes(), b"input_required")?;
        let parsed: Result<'_> = serde_json::from_str(result).ok()?;
        parsed.result_type.filter(|kind| kind == "input_required")?;
        let state = parsed.request_state.map(|raw| raw.get().into());
        Some(Self::of(parsed.input_requests.map_or("{}", |raw| raw.get()), state))
    }

    /// From a raw `inputRequests`.
    pub(in crate::hub) fn of(requests: &str, state: Option<Box<str>>) -> Self {
        let requests = serde_json::from_str::<Object<'_>>(requests).ok();
        let asked = requests.into_iter().flat_map(|Object(members)| members).filter_map(|(key, raw)| {
            let request: Request<'_> = serde_json::from_str(raw.get()).ok()?;
            let params = request.params.map(|params| params.get().into());
            Some(Asked { key: key.into(), method: request.method.into(), params })
        });
        Self { asked: asked.collect(), state }
    }
}

/// A legacy server's request as a member of `inputRequests`, raw.
pub(in crate::hub) fn input_request(envelope: &Envelope<'_>) -> String {
    let request: Option<Request<'_>> = serde_json::from_str(envelope.frame).ok();
    let params = request.and_then(|request| request.params).map(|params| {
        // The modern era knows none of them: the retry is what tells the outcome.
        let rest = without(params.get(), &["elicitationId", "task"]).unwrap_or_else(|| params.get().to_owned());
        let meta = envelope.params.meta_raw.and_then(|meta| Some((meta, without(meta, &[RELATED])?)));
        meta.map_or(rest.clone(), |(meta, without)| rest.replacen(meta, &without, 1))
    });
    let params = params.map(|params| format!(r#","params":{params}"#)).unwrap_or_default();
    format!(r#"{{"method":{}{params}}}"#, quoted(&envelope.method_name))
}

/// The answer to a question that was asked in the name of this task, raw: it must name the task too (2025-11-25
/// `basic/utilities/tasks`).
pub(in crate::hub) fn related(answer: &str, task: &str) -> String {
    let Ok(Object(members)) = serde_json::from_str(answer) else { return answer.to_owned() };
    let meta = members.iter().find(|(key, _)| key == "_meta").map_or("{}", |(_, raw)| raw.get());
    let meta = put_last(meta, &format!(r#""{RELATED}":{task}"#));
    let rest = without(answer, &["_meta"]).unwrap_or_else(|| answer.to_owned());
    put_first(&rest, &format!(r#""_meta":{meta}"#))
}

/// A modern server's question as a request to a legacy agent, under the id `id`.
pub(in crate::hub) fn question(asked: &Asked, id: u64) -> String {
    let method = quoted(&asked.method);
    let params = asked.params.as_deref().map(|params| {
        let elicitation = asked.is_page().then(|| format!(r#""elicitationId":"{}","#, elicitation_name(id)));
        match params.strip_prefix('{') {
            Some(inner) => format!("{{{}{inner}", elicitation.unwrap_or_default()),
            None => params.to_owned(),
        }
    });
    let params = params.map(|params| format!(r#","params":{params}"#)).unwrap_or_default();
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method}{params}}}"#)
}

/// A member of `inputRequests`, raw.
pub(in crate::hub) fn input(method: Method, params: &str) -> String {
    format!(r#"{{"method":"{}","params":{params}}}"#, method.name())
}

impl Asked {
    /// Its method, if the protocol has it.
    pub(in crate::hub) fn what(&self) -> Option<Method> {
        Method::of(&self.method)
    }

    /// Whether a person is to open a page.
    pub(in crate::hub) fn is_page(&self) -> bool {
        #[derive(Deserialize)]
        struct Mode<'a> {
            #[serde(borrow)]
            mode: Option<Cow<'a, str>>,
        }
        let params = self.params.as_deref().and_then(|params| serde_json::from_str::<Mode<'_>>(params).ok());
        self.what() == Some(Method::Elicit) && params.and_then(|params| params.mode).is_some_and(|mode| mode == "url")
    }
}

/// The name that the legacy era gives to a page that a person was sent to by this question.
pub(in crate::hub) fn elicitation_name(question: u64) -> String {
    format!("elicitation-{question}")
}

/// What a request is about: the same for a call and for the one that comes back for it.
pub(in crate::hub) fn subject(envelope: &Envelope<'_>) -> Box<str> {
    let about = envelope.params.name.or(envelope.params.uri).unwrap_or_default();
    format!("{} {about}", envelope.method_name).into()
}

/// A request with the answers to what the server asked: `frame` is how it went to the server first.
pub(in crate::hub) fn retry(
    frame: &str,
    id: u64,
    answers: &[(Box<str>, Box<str>)],
    state: Option<&str>,
) -> Option<String> {
    let state = state.map(|state| format!(r#","requestState":{state}"#)).unwrap_or_default();
    let members = format!(r#""inputResponses":{}{state}"#, input_responses(answers));
    let (at, text) = at_params(frame, &members)?;
    resend_as(frame, id, Some(Edit { at, with: &text }))
}

/// `inputResponses`, raw: the name of each question, and its answer.
pub(in crate::hub) fn input_responses(answers: &[(Box<str>, Box<str>)]) -> String {
    let answers: Vec<_> = answers.iter().map(|(key, answer)| format!("{}:{answer}", quoted(key))).collect();
    format!("{{{}}}", answers.join(","))
}

/// A request with edits, under another id, which is its progress token too if it has one.
pub(in crate::hub) fn resend_as(frame: &str, id: u64, edit: Option<Edit<'_>>) -> Option<String> {
    let envelope = Envelope::parse(frame.as_bytes()).ok()?;
    let ours = id.to_string();
    let own = std::iter::once(envelope.id).chain(envelope.params.meta.progress_token);
    let mut edits: Vec<_> = own.map(|raw| envelope.edit(raw, &ours)).chain(edit).collect();
    let mut out = Vec::with_capacity(frame.len() + 256);
    splice(frame, &mut edits, &mut out);
    String::from_utf8(out).ok()
}

/// A request without what answers an earlier question.
pub(in crate::hub) fn without_input_responses(frame: &str) -> String {
    let mut frame = frame.to_owned();
    for _ in 0..2 {
        let Ok(envelope) = Envelope::parse(frame.as_bytes()) else { break };
        let Some(value) = envelope.params.request_state.or(envelope.params.input_responses) else { break };
        frame = envelope::without(&frame, value);
    }
    frame
}

/// What a legacy server wants to have a person do first (error -32042 of 2025-11-25), each raw.
fn wanted_first(error: &str) -> Vec<&RawValue> {
    #[derive(Deserialize)]
    struct Error<'a> {
        code: i64,
        #[serde(borrow)]
        data: Option<Data<'a>>,
    }
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        elicitations: Vec<&'a RawValue>,
    }
    let error = serde_json::from_str(error).ok().filter(|error: &Error<'_>| error.code == -32042);
    error.and_then(|error| error.data).map(|data| data.elicitations).unwrap_or_default()
}

/// The ids of the pages that an error wants to have opened first.
pub(in crate::hub) fn pages(error: &str) -> Vec<String> {
    #[derive(Deserialize)]
    struct Page {
        #[serde(rename = "elicitationId")]
        id: String,
    }
    let pages = wanted_first(error).into_iter().filter_map(|raw| serde_json::from_str(raw.get()).ok());
    pages.map(|page: Page| page.id).collect()
}

/// A result that asks a modern agent for what a legacy server wants first: `inputRequests`, raw.
pub(in crate::hub) fn elicitation_result(error: &str) -> Option<String> {
    let all = wanted_first(error);
    let requests = all.iter().enumerate().map(|(number, raw)| {
        let params = without(raw.get(), &["elicitationId"]).unwrap_or_else(|| raw.get().to_owned());
        format!(r#""{number}":{}"#, input(Method::Elicit, &params))
    });
    let requests: Vec<_> = requests.collect();
    (!requests.is_empty()).then(|| format!("{{{}}}", requests.join(",")))
}

/// The error that says so to an agent that cannot show a person a page.
pub(in crate::hub) fn page_not_shown(id: &str, message: &str) -> String {
    let (code, message) = (code::MISSING_CAPABILITY, quoted(message));
    let needs = r#"{"requiredCapabilities":{"elicitation":{"url":{}}}}"#;
    reply::raw_error(id, &format!(r#"{{"code":{code},"message":{message},"data":{needs}}}"#))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_keep_their_words() {
        let result = r#"{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"mode":"url","n":1E5}},"b":{"method":"roots/list"}},"requestState":"s"}"#;
        let asked = InputRequired::parse(result).expect("asks");
        assert_eq!(asked.state.as_deref(), Some("\"s\""));
        assert_eq!(
            question(&asked.asked[0], 7),
            r#"{"jsonrpc":"2.0","id":7,"method":"elicitation/create","params":{"elicitationId":"elicitation-7","mode":"url","n":1E5}}"#
        );
        let roots = question(&asked.asked[1], 8);
        assert_eq!(roots, r#"{"jsonrpc":"2.0","id":8,"method":"roots/list"}"#);
        let back = question(&asked.asked[0], 7);
        let back = input_request(&Envelope::parse(back.as_bytes()).expect("valid"));
        assert_eq!(back, r#"{"method":"elicitation/create","params":{"mode":"url","n":1E5}}"#);
        assert_eq!(InputRequired::parse(r#"{"resultType":"complete","x":"input_required"}"#), None);
        let of_task = r#"{"id":1,"method":"elicitation/create","params":{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"a"},"x":1}}}"#;
        let asked = input_request(&Envelope::parse(of_task.as_bytes()).expect("valid"));
        assert_eq!(asked, r#"{"method":"elicitation/create","params":{"_meta":{"x":1}}}"#);
        let task = r#"{"taskId":"a"}"#;
        assert_eq!(
            related(r#"{"action":"accept","_meta":{"x":1}}"#, task),
            r#"{"_meta":{"x":1,"io.modelcontextprotocol/related-task":{"taskId":"a"}},"action":"accept"}"#
        );
        assert_eq!(related("{ }", task), r#"{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"a"}} }"#);
    }

    #[test]
    fn a_retry_brings_the_answers() {
        let frame =
            r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"t","_meta":{"progressToken":3}}}"#;
        let retried = retry(frame, 9, &[("a".into(), "{\"x\":1E5}".into())], Some("\"s\"")).expect("an object");
        assert_eq!(
            retried,
            r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"inputResponses":{"a":{"x":1E5}},"requestState":"s","name":"t","_meta":{"progressToken":9}}}"#
        );
    }

    #[test]
    fn a_page_that_must_be_opened_first_is_asked_for() {
        let error = r#"{"code":-32042,"message":"x","data":{"elicitations":[{"mode":"url","elicitationId":"1","url":"https://x","message":"m"}]}}"#;
        assert_eq!(
            elicitation_result(error).as_deref(),
            Some(r#"{"0":{"method":"elicitation/create","params":{"mode":"url","url":"https://x","message":"m"}}}"#)
        );
        assert_eq!(elicitation_result(r#"{"code":-32602,"message":"x"}"#), None);
    }
}
