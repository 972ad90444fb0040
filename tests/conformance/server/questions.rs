//! What the server asks its client while a call is open: in requests of its own before 2026-07-28, from then on in a result
//! that requires input and a call that brings it.

use std::collections::BTreeMap;

use rmcp::model::{
    ClientCapabilities, CreateMessageResult, ElicitResult, InputRequest, InputRequests, InputRequiredResult,
    InputResponses, ListRootsResult, SealOptions,
};
use rmcp::service::{RequestContext, ServiceError};
use rmcp::{ErrorData, RoleServer};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{Server, modern};

/// One request out of the several that a call of the later era may take.
pub(crate) struct Round<'a> {
    pub(crate) server: &'a Server,
    pub(crate) context: &'a RequestContext<RoleServer>,
    /// The tool or prompt, which the state is bound to.
    pub(crate) subject: &'a str,
    pub(crate) answers: InputResponses,
    pub(crate) state: Option<String>,
}

/// Why a call is not carried on.
pub(crate) enum Halt {
    Required(InputRequiredResult),
    Failed(ErrorData),
}

impl From<ErrorData> for Halt {
    fn from(error: ErrorData) -> Self {
        Self::Failed(error)
    }
}

impl Halt {
    /// The result that a call ends in all the same, where it does.
    pub(crate) fn into_result<R: From<InputRequiredResult>>(self) -> Result<R, ErrorData> {
        match self {
            Self::Required(result) => Ok(result.into()),
            Self::Failed(error) => Err(error),
        }
    }
}

impl Round<'_> {
    /// The answers to all of the questions. Where they come in a call of their own, they count with the state that was
    /// given with the questions.
    pub(crate) async fn ask(
        &self,
        questions: &[(&str, InputRequest)],
        state: Option<&str>,
    ) -> Result<InputResponses, Halt> {
        for (_, question) in questions {
            self.permit(question)?;
        }
        if !modern(self.context) {
            return Ok(self.ask_now(questions).await?);
        }
        let theirs = if state.is_some() { self.state()? } else { None };
        if theirs.as_deref() == state && questions.iter().all(|(key, _)| self.answers.contains_key(*key)) {
            for (key, question) in questions {
                check(key, question, &self.answers[*key])?;
            }
            return Ok(self.answers.clone());
        }
        let questions: InputRequests =
            questions.iter().map(|(key, question)| ((*key).to_owned(), question.clone())).collect();
        let options = SealOptions::new().associated_data(self.subject.as_bytes());
        let state = state.map(|state| self.server.shared.seal.seal_with(state.as_bytes(), &options));
        Err(Halt::Required(InputRequiredResult::new(Some(questions), state)))
    }

    /// The state that an earlier round was answered with, if it is what the client was given.
    pub(crate) fn state(&self) -> Result<Option<String>, ErrorData> {
        let Some(sealed) = &self.state else { return Ok(None) };
        let opened = self.server.shared.seal.open_with(sealed, self.subject.as_bytes());
        let state = opened.map_err(|error| ErrorData::invalid_params(format!("requestState: {error}"), None))?;
        Ok(Some(String::from_utf8_lossy(&state).into_owned()))
    }

    /// An error where the client did not say that it can be asked this.
    pub(crate) fn permit(&self, question: &InputRequest) -> Result<(), ErrorData> {
        let needed = capability(question);
        let has = self.context.client_capabilities().unwrap_or_default();
        let lacks = (needed.sampling.is_some() && has.sampling.is_none())
            || (needed.elicitation.is_some() && has.elicitation.is_none())
            || (needed.roots.is_some() && has.roots.is_none());
        if lacks { Err(ErrorData::missing_required_client_capability(needed)) } else { Ok(()) }
    }

    async fn ask_now(&self, questions: &[(&str, InputRequest)]) -> Result<InputResponses, ErrorData> {
        let peer = &self.context.peer;
        let mut answers = BTreeMap::new();
        for (key, question) in questions {
            let answer = match question.clone() {
                InputRequest::CreateMessage(request) => written(peer.create_message(request.params).await),
                InputRequest::Elicitation(request) => written(peer.create_elicitation(request.params).await),
                InputRequest::ListRoots(_) => written(peer.list_roots().await),
                other => Err(ErrorData::internal_error(format!("{other:?} is no question"), None)),
            };
            answers.insert((*key).to_owned(), answer?);
        }
        Ok(answers)
    }
}

fn written<T: Serialize>(answer: Result<T, ServiceError>) -> Result<Value, ErrorData> {
    let failed = |error: &dyn std::fmt::Display| ErrorData::internal_error(format!("no answer: {error}"), None);
    let answer = answer.map_err(|error| failed(&error))?;
    serde_json::to_value(answer).map_err(|error| failed(&error))
}

fn capability(question: &InputRequest) -> ClientCapabilities {
    let builder = ClientCapabilities::builder();
    match question {
        InputRequest::CreateMessage(_) => builder.enable_sampling().build(),
        InputRequest::Elicitation(_) => builder.enable_elicitation().build(),
        InputRequest::ListRoots(_) => builder.enable_roots().build(),
        _ => builder.build(),
    }
}

fn check(key: &str, question: &InputRequest, answer: &Value) -> Result<(), ErrorData> {
    let answer = answer.clone();
    let checked = match question {
        InputRequest::CreateMessage(_) => serde_json::from_value::<CreateMessageResult>(answer).map(drop),
        InputRequest::Elicitation(_) => serde_json::from_value::<ElicitResult>(answer).map(drop),
        InputRequest::ListRoots(_) => serde_json::from_value::<ListRootsResult>(answer).map(drop),
        _ => Ok(()),
    };
    checked.map_err(|error| ErrorData::invalid_params(format!("inputResponses.{key}: {error}"), None))
}

fn question(method: &str, params: Value) -> InputRequest {
    serde_json::from_value(json!({ "method": method, "params": params })).expect("a question")
}

/// Asks the user to fill in a form.
pub(crate) fn form(message: &str, schema: Value) -> InputRequest {
    question("elicitation/create", json!({ "mode": "form", "message": message, "requestedSchema": schema }))
}

/// Sends the user to a page.
pub(crate) fn page(message: &str, url: &str) -> InputRequest {
    let params = json!({ "mode": "url", "elicitationId": "page-1", "message": message, "url": url });
    question("elicitation/create", params)
}

/// Asks the user for one thing.
pub(crate) fn field(message: &str, name: &str, kind: &str) -> InputRequest {
    let properties = json!({ name: { "type": kind } });
    form(message, json!({ "type": "object", "properties": properties, "required": [name] }))
}

/// Asks the client's model.
pub(crate) fn sample(prompt: &str, tokens: u32) -> InputRequest {
    let message = json!({ "role": "user", "content": { "type": "text", "text": prompt } });
    question("sampling/createMessage", json!({ "messages": [message], "maxTokens": tokens }))
}

pub(crate) fn roots() -> InputRequest {
    question("roots/list", json!({}))
}

/// What the user filled in, as text.
pub(crate) fn filled(answers: &InputResponses, key: &str, name: &str) -> String {
    let value = &answers[key]["content"][name];
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
