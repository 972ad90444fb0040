//! A long call of a tool: its arguments are read beside the runtime's thread, where those of all other calls are read on it.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::api::DaemonServer;
use super::calls::Api;
use crate::envelope::reply::{self, code};
use crate::wire::{Message, aside};

/// The one call that may be long.
pub(super) const METHOD: &str = "daemon.call_tool";

#[derive(Deserialize)]
struct Request {
    params: CallTool,
}

/// What `daemon.call_tool` takes.
#[derive(Deserialize)]
struct CallTool {
    server: String,
    tool: String,
    #[serde(default)]
    arguments: Option<Box<RawValue>>,
    #[serde(default)]
    cwd: Option<PathBuf>,
}

/// Carries out a call that is no notification.
pub(super) async fn call_tool(api: &Api, message: Message) -> Option<Box<str>> {
    let length = message.text().len();
    // The message is kept until it is answered: it is what weighs.
    let (_message, id, request) = aside(length, move || {
        let envelope = message.envelope();
        let (id, request) = (envelope.id.to_owned(), serde_json::from_str::<Request>(envelope.frame));
        (message, id, request)
    })
    .await;
    if id.is_empty() {
        return None;
    }
    let result = match request {
        Ok(Request { params: CallTool { server, tool, arguments, cwd } }) => {
            api.call_tool(server, tool, arguments, cwd).await
        }
        Err(error) => return Some(reply::error(&id, code::INVALID_PARAMS, &format!("{METHOD}: {error}")).into()),
    };
    let answer = match result {
        Ok(result) => reply::result(&id, result.get()),
        Err(error) => reply::raw_error(&id, &serde_json::to_string(&error).ok()?),
    };
    Some(answer.into())
}
