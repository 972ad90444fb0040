//! Published servers, taken directly and through the daemon: the same bytes.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{Agent, Daemon, eventually, http, id_of, legacy, modern, peers, strip_id};

/// Requests by method and params; `null` stands for none.
type Script = Vec<(&'static str, String)>;

const LISTS: [&str; 4] = ["tools/list", "prompts/list", "resources/list", "resources/templates/list"];

fn call(name: &str, arguments: &str) -> (&'static str, String) {
    ("tools/call", format!(r#""name":"{name}","arguments":{arguments},"_meta":{{"progressToken":"t/1"}}"#))
}

fn with_lists(more: impl IntoIterator<Item = (&'static str, String)>) -> Script {
    let lists = LISTS.into_iter().map(|method| (method, String::new()));
    let common = [("ping", String::new()), ("x/unknown", r#""a":1"#.to_owned()), call("no-such-tool", "{}")];
    lists.chain(common).chain(more).collect()
}

/// Everything that answers a script: for each request its progress messages and its answer.
fn play(agent: &mut Agent, script: &Script, is_modern: bool) -> Vec<String> {
    let mut seen = vec![];
    if is_modern {
        seen.push(agent.ask(&modern("1", "server/discover", "")));
    } else {
        seen.push(agent.ask(&legacy("{}")));
        agent.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    }
    for (number, (method, params)) in script.iter().enumerate() {
        let id = format!("\"r{number}\"");
        let frame = match is_modern {
            true => modern(&id, method, &params.replace(r#","_meta":{"progressToken":"t/1"}"#, "")),
            false => format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}}}}}"#),
        };
        agent.send(&frame);
        loop {
            let line = agent.line();
            let answers = id_of(&line).as_deref() == Some(&id);
            if answers || line.contains("notifications/progress") {
                seen.push(line);
            }
            if answers {
                break;
            }
        }
    }
    seen
}

fn same(name: &str, words: &[String], more: &str, script: &Script, eras: &[bool]) {
    let daemon = Daemon::start(&peers::entry(name, words, more));
    for is_modern in eras {
        let mut command = peers::command(words);
        if let Some((variable, value)) = more.split_once("env = { ").and_then(|(_, rest)| rest.split_once(" = \"")) {
            command.env(variable, value.split('"').next().unwrap_or_default());
        }
        let direct = play(&mut Agent::process(&mut command), script, *is_modern);
        // Both stay: a server whose processes belong to sessions would be remembered by the second, not asked.
        for agent in &mut [daemon.attach(name), daemon.shim(&[name])] {
            let through = play(agent, script, *is_modern);
            assert_eq!(direct.len(), through.len(), "{name}: as many messages");
            for (expected, got) in direct.iter().zip(&through) {
                assert_eq!(got, expected, "{name}, modern: {is_modern}");
            }
        }
    }
}

#[test]
fn everything() {
    let script = with_lists([
        call("echo", r#"{"message":"grüße \"x\"\u0007"}"#),
        call("get-sum", r#"{"a":1.5,"b":2e3}"#),
        call("get-sum", r#"{"a":"x"}"#),
        call("get-annotated-message", r#"{"messageType":"error","includeImage":true}"#),
        call("get-structured-content", r#"{"location":"Chicago"}"#),
        call("get-tiny-image", "{}"),
        call("get-resource-links", r#"{"count":3}"#),
        call("trigger-long-running-operation", r#"{"duration":0.2,"steps":4}"#),
        ("prompts/get", r#""name":"args-prompt","arguments":{"city":"Bern","state":"BE"}"#.to_owned()),
        ("prompts/get", r#""name":"none""#.to_owned()),
        ("resources/read", r#""uri":"demo://resource/static/document/features.md""#.to_owned()),
        ("resources/read", r#""uri":"demo://nowhere""#.to_owned()),
        ("resources/subscribe", r#""uri":"demo://resource/static/document/features.md""#.to_owned()),
        (
            "completion/complete",
            r#""ref":{"type":"ref/prompt","name":"completable-prompt"},"argument":{"name":"department","value":"E"}"#
                .to_owned(),
        ),
        ("logging/setLevel", r#""level":"debug""#.to_owned()),
        ("logging/setLevel", r#""level":"loud""#.to_owned()),
    ]);
    same("everything", &peers::server("everything", &[]), "", &script, &[false]);
}

/// A published server that listens, ended with the test.
struct Listening(Child, String);

impl Listening {
    fn start(command: &mut Command, path: &str, port: u16) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let listening = Self(child.expect("the server starts"), format!("http://127.0.0.1:{port}{path}"));
        eventually("the server listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        listening
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("an address").port()
}

#[test]
fn everything_over_http() {
    let script = with_lists([
        call("echo", r#"{"message":"grüße \"x\"\u0007"}"#),
        call("get-sum", r#"{"a":"x"}"#),
        call("get-tiny-image", "{}"),
        call("trigger-long-running-operation", r#"{"duration":0.2,"steps":4}"#),
        ("prompts/get", r#""name":"args-prompt","arguments":{"city":"Bern","state":"BE"}"#.to_owned()),
        ("resources/read", r#""uri":"demo://resource/static/document/features.md""#.to_owned()),
        ("resources/subscribe", r#""uri":"demo://resource/static/document/features.md""#.to_owned()),
        ("logging/setLevel", r#""level":"debug""#.to_owned()),
    ]);
    let words = peers::server("everything", &[]);
    let direct = play(&mut Agent::process(&mut peers::command(&words)), &script, false);
    for (mode, path) in [("streamableHttp", "/mcp"), ("sse", "/sse")] {
        let port = free_port();
        let listening = Listening::start(peers::command(&words).arg(mode).env("PORT", port.to_string()), path, port);
        let daemon = Daemon::start(&format!("[servers.everything]\nurl = {:?}\n", listening.1));
        for mut agent in [daemon.attach("everything"), daemon.shim(&["everything"])] {
            let through = play(&mut agent, &script, false);
            for (expected, got) in direct.iter().zip(&through) {
                assert_eq!(strip_id(got), strip_id(expected), "{mode}");
            }
            assert_eq!(direct.len(), through.len(), "{mode}");
        }
    }
}

#[test]
fn python_over_http_in_both_eras() {
    let port = free_port();
    let mut command = Command::new(peers::python());
    let listening =
        Listening::start(command.arg(peers::folder().join("server.py")).arg(port.to_string()), "/mcp", port);
    let daemon = Daemon::start(&format!("[servers.python]\nurl = {:?}\n", listening.1));
    let members = [
        ("tools/list", ""),
        ("tools/call", r#""name":"add","arguments":{"a":1,"b":2}"#),
        ("resources/read", r#""uri":"note://x""#),
    ];
    let mut agent = daemon.attach("python");
    for (method, members) in members {
        let frame = modern("7", method, members);
        let name = members.split('"').nth(3).unwrap_or_default();
        let headers = [
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
            ("MCP-Protocol-Version", "2026-07-28"),
            ("Mcp-Method", method),
            ("Mcp-Name", name),
        ];
        let direct = http::request("POST", &listening.1, &headers[..if name.is_empty() { 4 } else { 5 }], &frame);
        let direct =
            direct.body.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or(&direct.body).to_owned();
        assert_eq!(agent.ask(&frame), direct.trim(), "{method}");
    }
    let mut legacy = daemon.agent("python");
    assert!(legacy.call("1", "add", r#"{"a":1,"b":2}"#).contains(r#""structuredContent":{"result":3}"#));
    let eras: Vec<_> = daemon.server("python")["instances"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|each| each["era"].clone())
        .collect();
    assert_eq!(eras, ["modern", "legacy"], "each agent in its own era");
}

#[test]
fn filesystem() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().canonicalize().expect("there").join(name).display().to_string();
    std::fs::write(at("a.txt"), "one\ntwo\n").expect("written");
    let script = with_lists([
        call("list_allowed_directories", "{}"),
        call("read_text_file", &format!(r#"{{"path":"{}"}}"#, at("a.txt"))),
        call("read_text_file", r#"{"path":"/etc/passwd"}"#),
        call("list_directory", &format!(r#"{{"path":"{}"}}"#, at(""))),
        call("write_file", &format!(r#"{{"path":"{}","content":"é"}}"#, at("b.txt"))),
        call("search_files", &format!(r#"{{"path":"{}","pattern":"b*"}}"#, at(""))),
    ]);
    std::fs::write(at("b.txt"), "é").expect("written");
    same("filesystem", &peers::server("filesystem", &[&at("")]), "", &script, &[false]);
}

#[test]
fn memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("memory.json");
    let script = with_lists([
        call("read_graph", "{}"),
        call("search_nodes", r#"{"query":"x"}"#),
        call("delete_entities", r#"{"entityNames":["none"]}"#),
        call("open_nodes", r#"{"names":1}"#),
    ]);
    same(
        "memory",
        &peers::server("memory", &[]),
        &format!("env = {{ MEMORY_FILE_PATH = \"{}\" }}", file.display()),
        &script,
        &[false],
    );
}

#[test]
fn sequential_thinking() {
    let thought = r#"{"thought":"so","nextThoughtNeeded":false,"thoughtNumber":1,"totalThoughts":1}"#;
    // It counts its thoughts, so each way has its first alone.
    let script = with_lists([call("sequentialthinking", r#"{"thought":1}"#)]);
    same("sequential-thinking", &peers::server("sequential-thinking", &[]), "", &script, &[false]);
    let mut direct = Agent::process(&mut peers::command(&peers::server("sequential-thinking", &[])));
    let daemon = Daemon::start(&peers::entry("s", &peers::server("sequential-thinking", &[]), ""));
    let mut through = daemon.agent("s");
    direct.greet("{}");
    assert_eq!(through.call("1", "sequentialthinking", thought), direct.call("1", "sequentialthinking", thought));
}

#[test]
fn time() {
    let script = with_lists([
        call("convert_time", r#"{"source_timezone":"UTC","time":"12:00","target_timezone":"Asia/Tokyo"}"#),
        call("convert_time", r#"{"source_timezone":"Nowhere","time":"12:00","target_timezone":"UTC"}"#),
        call("convert_time", r#"{"time":12345678901234567890123}"#),
    ]);
    same("time", &peers::server("time", &[]), "", &script, &[true, false]);
}

fn repository(folder: &Path) -> String {
    let git = |words: &[&str]| {
        let output = Command::new("git").arg("-C").arg(folder).args(words).output().expect("git starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    git(&["init", "-q", "-b", "main"]);
    std::fs::write(folder.join("a"), "1\n").expect("written");
    git(&["add", "a"]);
    git(&["-c", "user.name=t", "-c", "user.email=t@example.invalid", "commit", "-q", "-m", "first"]);
    std::fs::write(folder.join("a"), "2\n").expect("written");
    folder.display().to_string()
}

#[test]
fn git() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = repository(folder.path());
    let of = |name: &'static str, more: &str| call(name, &format!(r#"{{"repo_path":"{path}"{more}}}"#));
    let script = with_lists([
        of("git_status", ""),
        of("git_log", ""),
        of("git_diff_unstaged", ""),
        of("git_show", r#","revision":"HEAD""#),
        of("git_show", r#","revision":"none""#),
    ]);
    same("git", &peers::server("git", &[]), "", &script, &[true, false]);
}

#[test]
fn fetch() {
    let script = with_lists([
        call("fetch", r#"{"url":"http://127.0.0.1:9/nothing"}"#),
        call("fetch", r#"{"url":"no url"}"#),
        ("prompts/get", r#""name":"fetch""#.to_owned()),
    ]);
    same("fetch", &peers::server("fetch", &[]), "", &script, &[true, false]);
}
