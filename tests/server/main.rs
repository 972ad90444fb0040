//! The tests' own MCP server: raw bytes under the tests' control, on standard input and output.
//!
//! Its tools do what their names say, and never by themselves: a test holds a call open with `hold` and ends it with
//! `release`, writes any bytes with `raw`, and reads what arrived with `seen`.

#![allow(clippy::print_stderr, clippy::exit, reason = "a server of the tests writes and ends as it is told")]

mod tasks;

use std::collections::HashMap;
use std::io::{self, BufRead, Write};

use serde_json::value::RawValue;
use serde_json::{Value, json};

/// How the server is started: `--name=N`, `--pages`, `--endless=BYTES` (pages of tools, each so large and never the last), `--no-discover=silent|exit`, `--modern`, `--slow=MS` (before it says
/// anything), `--tasks` (of the legacy era), `--ttl=MS` (of its modern results), `--tools-in=FILE` (names of more tools), `--asks-roots` (when it was
/// greeted), `--announces` (that its tools changed, then), `--varies` (a tool for each capability that it was promised), `--journal=FILE` (a line for
/// every call that is carried out).
#[derive(Default)]
struct Server {
    name: String,
    modern: bool,
    pages: bool,
    endless: Option<usize>,
    silent_probe: bool,
    exit_on_probe: bool,
    instructions: Option<String>,
    makes_tasks: bool,
    /// Tasks that go on, and what each asks.
    tasks: HashMap<String, Value>,
    ttl: u64,
    tools_in: Option<String>,
    journal: Option<String>,
    asks_roots: bool,
    varies: bool,
    announces: bool,
    /// The capabilities that it was promised, and the roots that it was told.
    promised: Value,
    roots: Value,
    /// What `set` kept for `get`.
    kept: String,
    extra_tools: Vec<String>,
    calls: u64,
    /// Frames as they came.
    seen: Vec<String>,
    /// Calls that are held open, by key: their raw ids.
    held: HashMap<String, Vec<String>>,
    /// Questions to the client: our id -> the raw id of the call that waits.
    asked: HashMap<String, String>,
}

fn main() -> io::Result<()> {
    let mut server = Server::default();
    for word in std::env::args().skip(1) {
        match word.split_once('=').unwrap_or((&word, "")) {
            ("--name", name) => server.name = name.to_owned(),
            ("--modern", _) => server.modern = true,
            ("--tasks", _) => server.makes_tasks = true,
            ("--pages", _) => server.pages = true,
            ("--endless", bytes) => server.endless = bytes.parse().ok(),
            ("--no-discover", "silent") => server.silent_probe = true,
            ("--no-discover", "exit") => server.exit_on_probe = true,
            ("--instructions", text) => server.instructions = Some(text.to_owned()),
            ("--ttl", ms) => server.ttl = ms.parse().unwrap_or(0),
            ("--slow", ms) => std::thread::sleep(std::time::Duration::from_millis(ms.parse().unwrap_or(0))),
            ("--tools-in", file) => server.tools_in = Some(file.to_owned()),
            ("--asks-roots", _) => server.asks_roots = true,
            ("--announces", _) => server.announces = true,
            ("--varies", _) => server.varies = true,
            ("--journal", file) => server.journal = Some(file.to_owned()),
            ("--tool", name) => server.extra_tools.push(name.to_owned()),
            ("--die", words) => {
                eprintln!("{words}");
                std::process::exit(3);
            }
            _ => {}
        }
    }
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        server.take(&text)?;
        line.clear();
    }
    Ok(())
}

fn send(text: &str) -> io::Result<()> {
    send_bytes(text.as_bytes())
}

fn send_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.write_all(b"\n")?;
    out.flush()
}

fn result(id: &str, result: &Value) -> io::Result<()> {
    send(&format!(r#"{{"result":{result},"id":{id},"jsonrpc":"2.0"}}"#))
}

fn text_result(id: &str, text: &str) -> io::Result<()> {
    result(id, &json!({ "content": [{ "type": "text", "text": text }] }))
}

/// The raw text of a member at the top of a frame, so that ids keep their digits.
fn raw_member(frame: &str, name: &str) -> Option<String> {
    let members: HashMap<String, &RawValue> = serde_json::from_str(frame).ok()?;
    members.get(name).map(|raw| raw.get().to_owned())
}

impl Server {
    fn take(&mut self, frame: &str) -> io::Result<()> {
        self.seen.push(frame.to_owned());
        let Ok(message) = serde_json::from_str::<Value>(frame) else { return Ok(()) };
        let Some(id) = raw_member(frame, "id") else { return self.told(&message) };
        let Some(method) = message["method"].as_str() else { return self.answered(&id, frame) };
        let params = &message["params"];
        match method {
            "initialize" if self.modern => send(&format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32022,"message":"modern only","data":{{"supported":["2026-07-28"]}}}}}}"#
            )),
            "initialize" => {
                self.promised = params["capabilities"].clone();
                self.initialize(&id, params)
            }
            "server/discover" if self.silent_probe => Ok(()),
            "server/discover" if self.exit_on_probe => std::process::exit(1),
            "server/discover" if self.modern => send(&format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{{"tools":{{}},"x-odd":1E5}},"ttlMs":{},"cacheScope":"private","_meta":{{"io.modelcontextprotocol/serverInfo":{{"name":"modern","version":"1"}}}}}}}}"#,
                self.ttl
            )),
            "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => result(&id, &json!({})),
            "tools/list" => self.list_tools(&id, params),
            "prompts/list" => result(&id, &json!({ "prompts": [{ "name": "greet", "x-odd": [1] }] })),
            "prompts/get" => result(
                &id,
                &json!({ "messages": [{ "role": "user", "content": { "type": "text", "text": params["name"] } }] }),
            ),
            "resources/list" => result(
                &id,
                &json!({ "resources": [{ "uri": "test://shared", "name": "shared" }, { "uri": format!("test://{}/own", self.name), "name": "own" }] }),
            ),
            "resources/templates/list" => result(
                &id,
                &json!({ "resourceTemplates": [{ "uriTemplate": format!("test://{}/item/{{id}}", self.name), "name": "item" }] }),
            ),
            "resources/read" => result(
                &id,
                &json!({ "contents": [{ "uri": params["uri"], "text": format!("{} from {}", params["uri"].as_str().unwrap_or_default(), self.name) }] }),
            ),
            "completion/complete" => {
                result(&id, &json!({ "completion": { "values": [format!("{}:{}", self.name, params["ref"])] } }))
            }
            "subscriptions/listen" => send(&format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}},"notifications":{{"toolsListChanged":true}}}}}}"#
            )),
            "tools/call" => self.call(&id, params, frame),
            method if self.makes_tasks && method.starts_with("tasks/") => self.task(method, &id, params),
            _ => send(&format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"no such method","data":{{"n":12345678901234567890123,"method":{}}}}}}}"#,
                message["method"]
            )),
        }
    }

    fn initialize(&self, id: &str, params: &Value) -> io::Result<()> {
        let instructions = self
            .instructions
            .as_ref()
            .map(|text| format!(r#","instructions":{}"#, Value::from(text.as_str())))
            .unwrap_or_default();
        let tasks = if self.makes_tasks { tasks::CAPABILITY } else { "" };
        send(&format!(
            r#"{{"jsonrpc":"2.0","result":{{"x-unknown":[1E5,12345678901234567890123],"protocolVersion":{},"capabilities":{{"x-cap":{{}},"tools":{{"listChanged":true}},"prompts":{{}},"resources":{{"subscribe":true}},"completions":{{}},"logging":{{}}{tasks}}},"serverInfo":{{"name":"test","version":"1","x":null}}{instructions}}},"id":{id}}}"#,
            params["protocolVersion"]
        ))
    }

    /// What the client says without asking.
    fn told(&mut self, message: &Value) -> io::Result<()> {
        let method = message["method"].as_str().unwrap_or_default();
        let news = matches!(method, "notifications/initialized" | "notifications/roots/list_changed");
        if self.announces && method == "notifications/initialized" {
            send(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#)?;
        }
        if self.asks_roots && news && self.promised["roots"].is_object() {
            return send(r#"{"jsonrpc":"2.0","id":"roots","method":"roots/list"}"#);
        }
        Ok(())
    }

    fn list_tools(&self, id: &str, params: &Value) -> io::Result<()> {
        let tool = |name: &str| {
            let mut schema = json!({ "type": "object" });
            if name == "say" {
                schema["properties"] = json!({ "text": { "type": "string" }, "how": { "enum": ["loud", "low"] } });
            }
            json!({ "name": name, "x-odd": { "z": 1, "a": 2 }, "inputSchema": schema })
        };
        let page = params["cursor"].as_str().map_or(0, |cursor| cursor.parse().unwrap_or(0));
        if let Some(bytes) = self.endless {
            let mut tool = tool(&format!("page{page}"));
            tool["description"] = "x".repeat(bytes).into();
            return result(id, &json!({ "tools": [tool], "nextCursor": format!("{}", page + 1) }));
        }
        if self.pages && page < 2 {
            return result(
                id,
                &json!({ "tools": [tool(&format!("page{page}"))], "nextCursor": format!("{}", page + 1) }),
            );
        }
        let more = self.tools_in.as_ref().and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        let extra = self.extra_tools.iter().map(String::as_str).chain(more.split_whitespace());
        let mut tools: Vec<_> = ["echo", "raw"].into_iter().chain(extra).map(tool).collect();
        tools.extend(self.makes_tasks.then(tasks::tool));
        if self.varies {
            tools
                .extend(self.promised.as_object().into_iter().flatten().map(|(name, _)| tool(&format!("with-{name}"))));
        }
        if self.modern {
            return result(
                id,
                &json!({ "resultType": "complete", "ttlMs": self.ttl, "cacheScope": "private", "tools": tools }),
            );
        }
        result(id, &json!({ "tools": tools }))
    }

    fn answered(&mut self, id: &str, frame: &str) -> io::Result<()> {
        if let Some(key) = id.trim_matches('"').strip_prefix("ask-") {
            return self.task_answered(key, frame);
        }
        if id == "\"roots\"" {
            self.roots = serde_json::from_str::<Value>(frame).unwrap_or_default()["result"]["roots"].clone();
        }
        match self.asked.remove(id) {
            Some(call) => text_result(&call, frame),
            None => Ok(()),
        }
    }

    fn call(&mut self, id: &str, params: &Value, frame: &str) -> io::Result<()> {
        self.calls += 1;
        let arguments = &params["arguments"];
        let text = |name: &str| arguments[name].as_str().unwrap_or_default().to_owned();
        let token = params["_meta"]["progressToken"].to_string();
        match params["name"].as_str().unwrap_or_default() {
            // The request as it came, as a result.
            "echo" => text_result(id, frame),
            // The given frames, with the call's id and token put in.
            "raw" => arguments["frames"].as_array().into_iter().flatten().try_for_each(|frame| {
                send(&frame.as_str().unwrap_or_default().replace("$ID", id).replace("$TOKEN", &token))
            }),
            "junk" => {
                send("not json at all")?;
                send_bytes(b"\xff\xfe{\"id\":1}")?;
                send(r#"{"jsonrpc":"2.0","id":999999999,"result":{}}"#)?;
                text_result(id, "after the junk")?;
                text_result(id, "a second answer")
            }
            "progress" => {
                let total = arguments["total"].as_u64().unwrap_or(200);
                let mark = arguments["mark"].clone();
                for step in 1..=total {
                    send(&json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": { "progressToken": params["_meta"]["progressToken"], "progress": step, "mark": mark } }).to_string())?;
                }
                text_result(id, &mark.to_string())
            }
            "job" if self.makes_tasks => self.job(id, params),
            "hold" => {
                self.held.entry(text("key")).or_default().push(id.to_owned());
                Ok(())
            }
            "release" => {
                for held in self.held.remove(&text("key")).unwrap_or_default() {
                    text_result(&held, &text("key"))?;
                }
                text_result(id, "released")
            }
            // The same in the modern era: so many rounds, and then the whole request that came last.
            "ask" if self.modern => {
                let round = params["requestState"].as_u64().unwrap_or(0);
                if round < arguments["rounds"].as_u64().unwrap_or(1) {
                    let asks = json!({ "resultType": "input_required", "inputRequests": arguments["requests"], "requestState": round + 1 });
                    return result(id, &asks);
                }
                text_result(id, frame)
            }
            // A request to the client in mid-call; the call's result is the client's whole answer.
            "ask" => {
                self.asked.insert(arguments["id"].to_string(), id.to_owned());
                send(&json!({ "jsonrpc": "2.0", "id": arguments["id"], "method": arguments["method"], "params": arguments["params"] }).to_string())
            }
            "exit" => {
                eprintln!("leaving on request");
                std::process::exit(i32::try_from(arguments["code"].as_i64().unwrap_or(1)).unwrap_or(1))
            }
            "big" => {
                text_result(id, &"x".repeat(usize::try_from(arguments["bytes"].as_u64().unwrap_or(0)).unwrap_or(0)))
            }
            "seen" => {
                let seen: Vec<_> = self
                    .seen
                    .iter()
                    .filter(|frame| frame.contains(&text("what")) && !frame.contains(r#""name":"seen""#))
                    .collect();
                text_result(id, &json!(seen).to_string())
            }
            "state" => {
                let environment: HashMap<_, _> = std::env::vars().collect();
                let state = json!({ "pid": std::process::id(), "calls": self.calls, "cwd": std::env::current_dir()?, "environment": environment, "args": std::env::args().collect::<Vec<_>>() });
                text_result(id, &state.to_string())
            }
            tool => self.work(tool, id, arguments),
        }
    }

    /// Tools that do something, rather than say something.
    fn work(&mut self, tool: &str, id: &str, arguments: &Value) -> io::Result<()> {
        let text = |name: &str| arguments[name].as_str().unwrap_or_default().to_owned();
        match tool {
            // Carried out once for each time it is asked for, and the journal tells.
            "mark" => {
                if let Some(journal) = &self.journal {
                    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(journal)?;
                    // In one write: several processes keep one journal.
                    file.write_all(format!("{}\n", text("key")).as_bytes())?;
                }
                text_result(id, &text("key"))
            }
            "set" => {
                self.kept = text("to");
                text_result(id, "set")
            }
            "sleep" => {
                std::thread::sleep(std::time::Duration::from_millis(arguments["ms"].as_u64().unwrap_or(0)));
                text_result(id, "slept")
            }
            "get" => text_result(id, &self.kept),
            "roots" => text_result(id, &self.roots.to_string()),
            _ => send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32602,"message":"no such tool"}}}}"#)),
        }
    }
}
