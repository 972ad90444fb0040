//! Tasks of revision 2025-11-25: `job` begins one, which goes on until `release` or `tasks/cancel` ends it.

use std::io;

use serde_json::{Value, json};

use crate::{Server, result, send, text_result};

/// What the handshake says of them.
pub(crate) const CAPABILITY: &str = r#","tasks":{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}"#;

pub(crate) fn tool() -> Value {
    json!({ "name": "job", "inputSchema": { "type": "object" }, "execution": { "taskSupport": "required" } })
}

fn task(id: &str, status: &str) -> Value {
    let at = "2026-01-01T00:00:00Z";
    json!({ "taskId": id, "status": status, "createdAt": at, "lastUpdatedAt": at, "ttl": null, "pollInterval": 50 })
}

fn refuse(id: &str, code: i32, message: &str) -> io::Result<()> {
    let error = json!({ "code": code, "message": message });
    send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#))
}

impl Server {
    /// Begins the task `key`, and asks something in its name if there is `ask`.
    pub(crate) fn job(&mut self, id: &str, params: &Value) -> io::Result<()> {
        if params["task"].is_null() {
            return refuse(id, -32601, "only as a task");
        }
        let key = params["arguments"]["key"].as_str().unwrap_or_default().to_owned();
        if params["arguments"]["early"] == true {
            // Before the task is there, and so in nobody's name but the call's.
            let question = json!({ "jsonrpc": "2.0", "id": format!("early-{key}"), "method": "elicitation/create", "params": { "message": "early" } });
            send(&question.to_string())?;
        }
        result(id, &json!({ "task": task(&key, "working") }))?;
        let token = &params["_meta"]["progressToken"];
        if !token.is_null() {
            let progress = json!({ "progressToken": token, "progress": 1, "message": key });
            send(&json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": progress }).to_string())?;
        }
        let told = json!({ "jsonrpc": "2.0", "method": "notifications/tasks/status", "params": task(&key, "working") });
        send(&told.to_string())?;
        self.tasks.insert(key, params["arguments"]["ask"].clone());
        Ok(())
    }

    pub(crate) fn task(&mut self, method: &str, id: &str, params: &Value) -> io::Result<()> {
        if method == "tasks/list" {
            let all: Vec<_> = self.tasks.keys().map(|key| task(key, "working")).collect();
            return result(id, &json!({ "tasks": all }));
        }
        let key = params["taskId"].as_str().unwrap_or_default().to_owned();
        let Some(asks) = self.tasks.get_mut(&key) else { return refuse(id, -32602, "no such task") };
        match method {
            "tasks/get" => result(id, &task(&key, "working")),
            "tasks/cancel" => {
                self.tasks.remove(&key);
                result(id, &task(&key, "cancelled"))?;
                self.held.remove(&key).unwrap_or_default().iter().try_for_each(|held| refuse(held, -32602, "cancelled"))
            }
            _ => {
                self.held.entry(key.clone()).or_default().push(id.to_owned());
                if asks.is_null() {
                    return Ok(());
                }
                let mut question = json!({ "jsonrpc": "2.0", "method": "elicitation/create", "params": asks.take() });
                question["id"] = format!("ask-{key}").into();
                question["params"]["_meta"] = json!({ "io.modelcontextprotocol/related-task": { "taskId": key } });
                send(&question.to_string())
            }
        }
    }

    /// The client has answered what a task asked: that is what becomes of the task.
    pub(crate) fn task_answered(&mut self, key: &str, frame: &str) -> io::Result<()> {
        self.tasks.remove(key);
        self.held.remove(key).unwrap_or_default().iter().try_for_each(|held| text_result(held, frame))
    }
}
