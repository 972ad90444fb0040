//! The client that the MCP conformance suite starts: a daemon of its own, with the suite's URL as a server, and an agent on its
//! socket that drives the scenario. What the suite judges is trunkline's HTTP and OAuth, as everybody uses them.
//!
//! `conformance-agent URL`, with the scenario in `MCP_CONFORMANCE_SCENARIO`.

#![allow(clippy::print_stderr, clippy::expect_used, reason = "a program of the tests says what it cannot go on from")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How often one run logs in at most.
const LOGINS: u32 = 3;
/// The suite ends a run after 30 s and waits for whatever still holds its streams.
const PATIENCE: Duration = Duration::from_secs(20);
/// A person must log in (trunkline's own code).
const NEEDS_LOGIN: i64 = -32040;

struct Daemon {
    child: Child,
    folder: tempfile::TempDir,
}

struct Agent {
    write: UnixStream,
    read: BufReader<UnixStream>,
    folder: PathBuf,
    modern: bool,
    next: u64,
    logins: u32,
}

fn main() {
    let url = std::env::args().next_back().expect("a URL");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let scenario = variable("MCP_CONFORMANCE_SCENARIO");
    let context: Value = serde_json::from_str(&variable("MCP_CONFORMANCE_CONTEXT")).unwrap_or_default();
    let modern = variable("MCP_CONFORMANCE_PROTOCOL_VERSION") == "2026-07-28";
    let daemon = Daemon::start(&config(&url, &context));
    let mut agent = Agent::attach(daemon.folder.path(), modern);
    let outcome = agent.play(&scenario, &context);
    daemon.end();
    if let Err(error) = outcome {
        eprintln!("{scenario}: {error}");
        std::process::exit(1);
    }
}

fn program() -> PathBuf {
    let own = std::env::current_exe().expect("a path");
    own.parent().and_then(Path::parent).expect("target").join("trunkline")
}

fn trunkline(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(words).env("TRUNKLINE_CONFIG", folder.join("config.toml")).stdin(Stdio::null());
    command.env("TRUNKLINE_SOCKET", folder.join("run/s.sock")).env("TRUNKLINE_STATE_DIR", folder.join("state"));
    // A keyring of this machine is none of the suite's business.
    command.env_remove("DBUS_SESSION_BUS_ADDRESS").env("XDG_RUNTIME_DIR", folder);
    command
}

fn config(url: &str, context: &Value) -> String {
    let text = |name: &str| context[name].as_str();
    let mut oauth = vec![r#"client_metadata_url = "https://conformance-test.local/client-metadata.json""#.to_owned()];
    for (member, key) in
        [("client_id", "client_id"), ("client_secret", "client_secret"), ("private_key_pem", "private_key")]
    {
        if let Some(value) = text(member) {
            oauth.push(format!("{key} = {}", Value::from(value)));
        }
    }
    let own = text("name").is_some_and(|name| name.contains("client-credentials"));
    if own {
        oauth.push(r#"grant = "client_credentials""#.to_owned());
    }
    format!("[servers.s]\nurl = {url:?}\noauth = {{ {} }}\n", oauth.join(", "))
}

impl Daemon {
    fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("config.toml"), config).expect("written");
        let log = std::fs::File::create(folder.path().join("log")).expect("created");
        let mut command = trunkline(folder.path(), &["run"]);
        command.env("TRUNKLINE_LOG", "debug").stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("the daemon starts");
        let end = Instant::now() + PATIENCE;
        while UnixStream::connect(folder.path().join("run/s.sock")).is_err() {
            assert!(Instant::now() < end, "the daemon listens");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { child, folder }
    }

    /// Ends the daemon, whose streams the suite would wait for; its log is the run's standard error.
    fn end(mut self) {
        let ended = trunkline(self.folder.path(), &["shutdown"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        drop(ended);
        drop(self.child.wait());
        eprintln!("{}", std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default());
    }
}

type Played = Result<Value, String>;

impl Agent {
    fn attach(folder: &Path, modern: bool) -> Self {
        let write = UnixStream::connect(folder.join("run/s.sock")).expect("connected");
        write.set_read_timeout(Some(PATIENCE)).expect("set");
        let read = BufReader::new(write.try_clone().expect("cloned"));
        let mut agent = Self { write, read, folder: folder.to_owned(), modern, next: 0, logins: 0 };
        agent
            .send(&json!({ "jsonrpc": "2.0", "id": "attach", "method": "daemon.attach", "params": { "server": "s" } }));
        agent.receive().expect("attached");
        agent
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.write, "{message}").expect("sent");
    }

    fn receive(&mut self) -> Played {
        let mut line = String::new();
        match self.read.read_line(&mut line) {
            Ok(0) => Err("the daemon closed the connection".to_owned()),
            Ok(_) => serde_json::from_str(&line).map_err(|error| error.to_string()),
            Err(error) => Err(format!("no answer: {error}")),
        }
    }

    /// A request and its answer, the server's questions answered on the way.
    fn once(&mut self, method: &str, mut params: Value) -> Played {
        self.next += 1;
        if self.modern {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": { "name": "conformance-agent", "version": "1" },
                "io.modelcontextprotocol/clientCapabilities": { "elicitation": { "form": {} }, "sampling": {}, "roots": {} },
            });
        }
        self.send(&json!({ "jsonrpc": "2.0", "id": self.next, "method": method, "params": params }));
        loop {
            let message = self.receive()?;
            if message["method"] == "elicitation/create" {
                let content = defaults(&message["params"]["requestedSchema"]);
                let answer = json!({ "action": "accept", "content": content });
                self.send(&json!({ "jsonrpc": "2.0", "id": message["id"], "result": answer }));
            } else if message["id"] == self.next && message.get("method").is_none() {
                return Ok(message);
            }
        }
    }

    /// A request; where it needs a login, a person logs in and asks again.
    fn ask(&mut self, method: &str, params: Value) -> Played {
        loop {
            let answer = self.once(method, params.clone())?;
            let Some(error) = answer.get("error") else { return Ok(answer["result"].clone()) };
            if error["code"] != NEEDS_LOGIN {
                return Err(format!("{method}: {error}"));
            }
            if self.logins == LOGINS {
                return Err(format!("{method} still needs a login: {error}"));
            }
            self.log_in()?;
        }
    }

    /// Logs in as a person would, with `curl` for a browser.
    fn log_in(&mut self) -> Result<(), String> {
        self.logins += 1;
        let mut command = trunkline(&self.folder, &["login", "s", "--no-browser"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
        let mut url = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut url).map_err(|error| error.to_string())?;
        if url.starts_with("http") {
            let browser = Command::new("curl").args(["-sL", "-o", "/dev/null", url.trim()]).status();
            browser.map_err(|error| format!("curl: {error}: install it"))?;
        }
        let status = child.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("the login failed ({status})")) }
    }

    fn call(&mut self, tool: &str, arguments: Value) -> Played {
        self.ask("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    fn introduce(&mut self) -> Result<(), String> {
        if self.modern {
            return self.ask("server/discover", json!({})).map(drop);
        }
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "elicitation": { "form": { "applyDefaults": true } } },
            "clientInfo": { "name": "conformance-agent", "version": "1" },
        });
        self.ask("initialize", params)?;
        self.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        Ok(())
    }

    fn play(&mut self, scenario: &str, context: &Value) -> Result<(), String> {
        self.introduce()?;
        let mut tools = self.ask("tools/list", json!({}))?;
        if self.logins == 0 && tools["tools"].as_array().is_some_and(Vec::is_empty) && scenario.starts_with("auth/") {
            // An agent that was there before the login was given an empty list.
            self.log_in()?;
            tools = self.ask("tools/list", json!({}))?;
        }
        match scenario {
            "initialize" | "json-schema-ref-no-deref" | "request-metadata" => Ok(()),
            "tools_call" => self.call("add_numbers", json!({ "a": 2, "b": 3 })).map(drop),
            "elicitation-sep1034-client-defaults" => self.call("test_client_elicitation_defaults", json!({})).map(drop),
            "sse-retry" => self.call("test_reconnection", json!({})).map(drop),
            "json-schema-2020-12-preservation" => {
                let all = tools["tools"].as_array().cloned().unwrap_or_default();
                let schema = all.iter().find(|tool| tool["name"] == "json_schema_2020_12_tool");
                let schema = schema.ok_or("no tool with a schema")?["inputSchema"].clone();
                self.call("json_schema_echo", json!({ "schema": schema })).map(drop)
            }
            "sep-2322-client-request-state" => self.rounds(),
            "http-standard-headers" => self.everything(&tools),
            "http-custom-headers" => {
                for call in context["toolCalls"].as_array().into_iter().flatten() {
                    let name = call["name"].as_str().unwrap_or_default().to_owned();
                    self.call(&name, call["arguments"].clone())?;
                }
                Ok(())
            }
            // Whatever an agent calls, only what may be offered reaches the server.
            "http-invalid-tool-headers" => {
                for tool in tools["tools"].as_array().into_iter().flatten() {
                    let name = tool["name"].as_str().unwrap_or_default().to_owned();
                    self.call(&name, json!({ "region": "x" }))?;
                }
                Ok(())
            }
            _ => self.call("test-tool", json!({})).map(drop),
        }
    }

    fn everything(&mut self, tools: &Value) -> Result<(), String> {
        for tool in tools["tools"].as_array().into_iter().flatten() {
            let name = tool["name"].as_str().unwrap_or_default().to_owned();
            self.call(&name, json!({}))?;
        }
        let resources = self.ask("resources/list", json!({}))?;
        for resource in resources["resources"].as_array().into_iter().flatten() {
            self.ask("resources/read", json!({ "uri": resource["uri"] }))?;
        }
        let prompts = self.ask("prompts/list", json!({}))?;
        for prompt in prompts["prompts"].as_array().into_iter().flatten() {
            self.ask("prompts/get", json!({ "name": prompt["name"] }))?;
        }
        Ok(())
    }

    /// Calls whose server asks something back, and one in between that has nothing to do with it.
    fn rounds(&mut self) -> Result<(), String> {
        let first = self.call("test_mrtr_echo_state", json!({}))?;
        self.call("test_mrtr_unrelated", json!({}))?;
        self.again("test_mrtr_echo_state", &first)?;
        let second = self.call("test_mrtr_no_state", json!({}))?;
        self.again("test_mrtr_no_state", &second)?;
        self.call("test_mrtr_no_result_type", json!({})).map(drop)
    }

    fn again(&mut self, tool: &str, required: &Value) -> Result<(), String> {
        let answers = json!({ "confirm": { "action": "accept", "content": { "confirmed": true } } });
        let mut params = json!({ "name": tool, "arguments": {}, "inputResponses": answers });
        if let Some(state) = required.get("requestState") {
            params["requestState"] = state.clone();
        }
        self.ask("tools/call", params).map(drop)
    }
}

/// What a person who just presses return answers.
fn defaults(schema: &Value) -> Value {
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties.filter_map(|(name, schema)| Some((name.clone(), schema.get("default")?.clone()))).collect()
}
