//! The tools of a server, and what it answers to a call, for commands and scripts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jsonrpsee::core::RpcResult;
use jsonrpsee::types::ErrorObjectOwned;
use serde_json::value::RawValue;

use super::refusal::refused;
use super::shapes::ServerTools;
use crate::envelope::Envelope;
use crate::envelope::reply::code;
use crate::hub::{Instance, Server};
use crate::lists::ListKind;
use crate::wire::aside;

/// How long a list may take.
const LIST_WAIT: Duration = Duration::from_secs(120);

/// A server's answer as this call's: its result, or its error with code and data.
pub(super) async fn answer(frame: Box<str>) -> RpcResult<Box<RawValue>> {
    aside(frame.len(), move || read(&frame)).await
}

fn read(frame: &str) -> RpcResult<Box<RawValue>> {
    let unreadable = || refused(code::INTERNAL, "the server's answer cannot be read");
    let envelope = Envelope::parse(frame.as_bytes()).map_err(|_| unreadable())?;
    match (envelope.result, envelope.error) {
        (Some(result), None) => RawValue::from_string(result.to_owned()).map_err(|_| unreadable()),
        // Whatever stands beside it.
        (_, Some(error)) => {
            Err(serde_json::from_str::<ErrorObjectOwned>(error).unwrap_or_else(|_| refused(code::INTERNAL, error)))
        }
        (None, None) => Err(unreadable()),
    }
}

pub(super) async fn tools_of(upstream: Arc<Server>, cwd: Option<PathBuf>) -> ServerTools {
    let list = async {
        // Any instance tells what the tools are; only a call needs one that was promised nothing.
        let line: Arc<Instance> = match upstream.instances().into_iter().next() {
            Some(line) => line,
            None => {
                // One that is starting for this already is not started twice.
                let key = upstream.introduction().unwrap_or_else(|| upstream.own_key(cwd));
                upstream.instance(&key).await.map_err(|failure| failure.to_string())?
            }
        };
        upstream.list(&line, ListKind::Tools).await.map_err(|error| error.to_string())
    };
    let list =
        tokio::time::timeout(LIST_WAIT, list).await.unwrap_or_else(|_| Err(format!("no list within {LIST_WAIT:?}")));
    let server = upstream.name.to_string();
    match list {
        Ok(list) => {
            let offered = list.iter().filter(|item| upstream.allows(&item.key));
            let tools = offered.filter_map(|item| RawValue::from_string(item.raw.to_string()).ok()).collect();
            ServerTools { server, tools, error: None }
        }
        Err(error) => ServerTools { server, tools: Vec::new(), error: Some(error) },
    }
}
