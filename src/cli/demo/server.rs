//! The demo's MCP server: three real tools on standard input and output, on nothing but `std` and `serde_json`.

use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::method::Method;

/// Serves until standard input closes.
pub(crate) fn run() -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let Ok(message) = serde_json::from_str::<Value>(&line?) else { continue };
        let Some(id) = message.get("id").filter(|_| message.get("method").is_some()) else { continue };
        let params = &message["params"];
        let answer = match message["method"].as_str().and_then(Method::of) {
            Some(Method::Initialize) => Ok(json!({
                "protocolVersion": params["protocolVersion"],
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "trunkline-demo", "version": env!("CARGO_PKG_VERSION") },
                "instructions": "Adds numbers, counts down with progress, and fails on request.",
            })),
            Some(Method::Ping) => Ok(json!({})),
            Some(Method::ListTools) => Ok(json!({ "tools": tools() })),
            Some(Method::CallTool) => call(params, &mut out)?,
            _ => Err((-32601, format!("no method {}", message["method"]))),
        };
        let reply = match answer {
            Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
            Err((code, message)) => {
                json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
            }
        };
        send(&mut out, &reply)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn send(out: &mut impl Write, message: &Value) -> io::Result<()> {
    writeln!(out, "{message}")?;
    out.flush()
}

fn tools() -> Value {
    let number = |what: &str| json!({ "type": "number", "description": what });
    json!([
        { "name": "add", "description": "Adds two numbers, and says which process did it",
          "inputSchema": { "type": "object", "properties": { "a": number("one"), "b": number("the other") }, "required": ["a", "b"] } },
        { "name": "countdown", "description": "Counts down, with a progress message for each step",
          "inputSchema": { "type": "object", "properties": { "from": number("where to begin, at most 1000") }, "required": ["from"] } },
        { "name": "fail", "description": "Fails, as tools do", "inputSchema": { "type": "object" } },
    ])
}

type Answer = Result<Value, (i32, String)>;

fn call(params: &Value, out: &mut impl Write) -> io::Result<Answer> {
    let arguments = &params["arguments"];
    Ok(match params["name"].as_str().unwrap_or_default() {
        "add" => match (arguments["a"].as_f64(), arguments["b"].as_f64()) {
            (Some(a), Some(b)) => Ok(json!({
                "content": [{ "type": "text", "text": format!("{}", a + b) }],
                "structuredContent": { "sum": a + b, "pid": std::process::id() },
            })),
            _ => Err((-32602, "add needs two numbers, a and b".to_owned())),
        },
        "countdown" => {
            let from = arguments["from"].as_u64().unwrap_or(3).min(1_000);
            let token = &params["_meta"]["progressToken"];
            for step in (1..=from).filter(|_| !token.is_null()) {
                let progress = json!({ "progressToken": token, "progress": step, "total": from, "message": format!("{}", from - step) });
                send(out, &json!({ "jsonrpc": "2.0", "method": Method::Progress.name(), "params": progress }))?;
            }
            Ok(json!({ "content": [{ "type": "text", "text": "lift-off" }] }))
        }
        "fail" => Ok(json!({ "content": [{ "type": "text", "text": "this tool always fails" }], "isError": true })),
        other => Err((-32602, format!("no tool {other}"))),
    })
}
