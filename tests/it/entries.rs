//! Configuration files as people have them: one bad entry takes nobody else away, and other tools' JSON is read as what it is.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Daemon, command, eventually, own_server, test_server, text_of, trunkline};

const LIST: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{}}"#;

/// Writes a file of another tool beside a daemon's folder and has a daemon of its own serve it.
fn serve(name: &str, text: &[u8], environment: &[(&str, &str)]) -> Daemon {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(name), text).expect("written");
    fs::rename(folder.path().join(name), folder.path().join("config.toml")).expect("renamed");
    Daemon::start_with(folder, environment)
}

/// Our own server as other tools would name it, with what else an entry says.
fn entry(more: Value) -> Value {
    let mut entry = json!({ "command": test_server(), "args": [] });
    for (key, value) in more.as_object().into_iter().flatten() {
        entry[key] = value.clone();
    }
    entry
}

fn state(daemon: &Daemon, server: &str) -> (String, String) {
    let status = daemon.status();
    let all = status["servers"].as_array().expect("servers").clone();
    let found = all.iter().find(|found| found["name"] == server).cloned().unwrap_or_default();
    (
        found["state"].as_str().unwrap_or("absent").to_owned(),
        found["last_error"].as_str().unwrap_or_default().to_owned(),
    )
}

fn check(folder: &Path, name: &str, text: &str) -> (Option<i32>, String) {
    fs::write(folder.join(name), text).expect("written");
    let path = folder.join(name);
    let output = trunkline(folder, &["check", &path.display().to_string()]);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_bad_entry_is_misconfigured_and_the_others_work() {
    let good = own_server("good", &[]);
    let bad = format!(
        "{good}\n[servers.bad]\ncommand = \"x\"\nargss = []\nenv = {{ A = 1 }}\n[servers.\"no name\"]\nurl = \"ftp://x\"\n"
    );
    let daemon = Daemon::start(&bad);
    let mut agent = daemon.agent("good");
    let pid = agent.server_pid();
    for (server, reason) in [
        ("bad", "unknown key `argss`: did you mean `args`?"),
        ("bad", "servers.bad.env.A: expected a string, found a number"),
        ("no_name", "scheme `ftp`"),
    ] {
        let (state, error) = state(&daemon, server);
        assert_eq!(state, "misconfigured", "{server}: {error}");
        assert!(error.contains(reason), "{server}: {error}");
        let mut to_it = daemon.attach(server);
        to_it.send(r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}"#);
        let answer = to_it.answer("1");
        assert!(answer.contains("misconfigured") && answer.contains("line "), "{answer}");
    }
    let mut all = daemon.shim(&[]);
    all.greet("{}");
    let tools: Value = serde_json::from_str(&all.ask(LIST)).expect("JSON");
    assert!(
        tools["result"]["_meta"]["io.github.trunkline/missing"]["bad"]
            .as_str()
            .is_some_and(|why| why.contains("argss")),
        "{tools}"
    );
    let call = all.call("8", "bad__x", "{}");
    assert!(call.contains("argss"), "{call}");
    let checked = daemon.run(&["check"]);
    let text = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert_eq!(checked.status.code(), Some(1), "{text}");
    assert!(text.contains("servers.bad: unknown key `argss`") && text.contains("`no name` has a character"), "{text}");
    // At a reload too: who is right goes on, who is wrong is not there any more, and what is new comes.
    daemon.configure(&format!("{good}\n[servers.bad]\ncommand = 7\n{}", own_server("new", &[])));
    eventually("the new one is there", || state(&daemon, "new").0 != "absent");
    assert_eq!(state(&daemon, "bad").0, "misconfigured");
    assert_eq!(agent.server_pid(), pid);
    let reloaded = daemon.run(&["reload"]);
    assert_eq!(reloaded.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&reloaded.stderr).contains("servers.bad.command: expected a string, found a number"),
        "{reloaded:?}"
    );
    // One that worked and is wrong now ends; its agent is told why.
    daemon.configure(&own_server("good", &[]).replace("command", "comand"));
    eventually("it is misconfigured", || state(&daemon, "good").0 == "misconfigured");
    let answer = agent.ask(LIST);
    assert!(answer.contains("misconfigured") && answer.contains("comand"), "{answer}");
    daemon.configure(&good);
    eventually("it is there again", || state(&daemon, "good").0 != "misconfigured");
    assert!(agent.server_pid() > 0);
}

#[test]
fn a_wrong_setting_outside_of_the_servers_stops_nobody() {
    let text = format!(
        "{}\n[daemon]\nidle_timeout = 5\nupgrad = \"idle\"\n[http]\nlisten = \"0.0.0.0:1\"\n[profiles.p]\nservers = [\"good\", \"gone\"]\n",
        own_server("good", &[])
    );
    let daemon = Daemon::start(&text);
    assert!(daemon.agent("good").server_pid() > 0);
    assert!(daemon.status()["http"].is_null(), "a wrong address opens no other port");
    let problems = daemon.status()["problems"].to_string();
    for expected in [
        "daemon.idle_timeout: expected a string",
        "daemon: unknown key `upgrad`: did you mean `upgrade`?",
        "http.listen: trunkline listens on 127.0.0.1",
        "profiles.p: no server is named `gone`",
    ] {
        assert!(problems.contains(expected), "{expected} in {problems}");
    }
}

#[test]
fn the_shapes_of_other_tools_are_served() {
    let command = test_server();
    let stringly =
        json!({ "type": "local", "command": [command], "environment": { "A": 1, "B": true, "NULL_VAR": null } });
    for (what, file, name) in [
        (
            "Claude Code",
            json!({ "globalShortcut": "x", "mcpServers": { "a": entry(json!({ "timeout": 60, "alwaysAllow": ["t"], "trust": true, "type": "stdio" })) } }),
            "a",
        ),
        (
            "VS Code",
            json!({ "inputs": [], "servers": { "a": entry(json!({ "type": "STDIO", "gallery": true })) } }),
            "a",
        ),
        ("VS Code's settings", json!({ "mcp": { "inputs": [], "servers": { "a": entry(json!({})) } } }), "a"),
        (
            "Zed",
            json!({ "context_servers": { "a": { "source": "custom", "command": { "path": command, "args": [] } } } }),
            "a",
        ),
        ("opencode", json!({ "$schema": "x", "mcp": { "a": stringly } }), "a"),
        ("no root", json!({ "a": entry(json!({})) }), "a"),
        ("any name", json!({ "mcpServers": { "github.com/o/a b": entry(json!({})) } }), "github_com_o_a_b"),
        (
            "numbers among the arguments",
            json!({ "mcpServers": { "a": entry(json!({ "args": [], "env": { "PORT": 3000, "D": false } })) } }),
            "a",
        ),
        (
            "null and empty",
            json!({ "mcpServers": { "a": entry(json!({ "url": null, "cwd": null, "headers": null, "disabled": "false" })) } }),
            "a",
        ),
        (
            "both, and the type",
            json!({ "mcpServers": { "a": entry(json!({ "url": "http://127.0.0.1:1/", "type": "stdio" })) } }),
            "a",
        ),
    ] {
        let daemon = serve("x.json", file.to_string().as_bytes(), &[]);
        assert!(daemon.agent(name).server_pid() > 0, "{what}");
        assert_eq!(daemon.status()["problems"], json!([]), "{what}");
    }
}

#[test]
fn what_an_entry_sets_arrives() {
    let script = "import json,os,sys\nfor line in sys.stdin:\n  m=json.loads(line)\n  if 'id' not in m: continue\n  r={'protocolVersion':'2025-11-25','capabilities':{'tools':{}},'serverInfo':{'name':'e','version':'1'}} if m['method']=='initialize' else {'content':[{'type':'text','text':json.dumps({'env':dict(os.environ),'argv':sys.argv[1:],'cwd':os.getcwd()})}]} if m['method']=='tools/call' else {'tools':[{'name':'t','inputSchema':{'type':'object'}}]} if m['method']=='tools/list' else None\n  print(json.dumps({'jsonrpc':'2.0','id':m['id'],**({'result':r} if r else {'error':{'code':-32601,'message':'no'}})}),flush=True)\n";
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(folder.path().join("sub/inner")).expect("made");
    fs::write(folder.path().join("sub/srv.py"), script).expect("written");
    let file = json!({ "mcpServers": { "e": {
        "command": "python3", "args": ["./sub/srv.py", 7, true, "${K}-${B:-b}", "~/x", "./nowhere", "${userHome}"],
        "env": { "N": 3000, "T": true, "GONE": null, "X": "${B:-${K}" , "E": "" }, "cwd": "sub/inner" } } });
    let mut bytes = b"\xef\xbb\xbf".to_vec();
    bytes.extend(file.to_string().bytes());
    fs::write(folder.path().join("config.toml"), bytes).expect("written");
    let home = folder.path().join("home");
    let daemon = Daemon::start_with(folder, &[("K", "key"), ("GONE", "passed"), ("HOME", &home.display().to_string())]);
    let said = text_of(&daemon.agent("e").call("1", "t", "{}"));
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let home = home.display().to_string();
    assert_eq!(said["argv"], json!(["7", "true", "key-b", format!("{home}/x"), "./nowhere", home]));
    assert!(said["cwd"].as_str().is_some_and(|cwd| cwd.ends_with("sub/inner")), "{said}");
    for (name, value) in [("N", "3000"), ("T", "true"), ("GONE", "passed"), ("X", "${K"), ("E", "")] {
        assert_eq!(said["env"][name], value, "{name}");
    }
}

#[test]
fn a_file_saved_by_an_editor_of_windows_is_read() {
    let toml = own_server("a", &[]);
    let json = json!({ "mcpServers": { "a": entry(json!({})) } }).to_string();
    let utf16 = |text: &str| {
        [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect::<Vec<u8>>()
    };
    let marked = |text: &str| [b"\xef\xbb\xbf", text.as_bytes()].concat();
    for bytes in [marked(&toml), marked(&json), utf16(&toml), utf16(&json), json.replace(',', ",\r\n").into_bytes()] {
        assert!(serve("x", &bytes, &[]).agent("a").server_pid() > 0);
    }
    let daemon = Daemon::start(&toml);
    fs::write(daemon.folder().join("config.toml"), marked(&own_server("b", &[]))).expect("written");
    eventually("a running daemon takes it", || state(&daemon, "b").0 != "absent");
}

#[test]
fn check_says_what_is_passed_over_and_what_is_not_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = r#"{"mcpServers": {
 "a": {"command": "no-such-program", "timeout": 60, "envFile": ".env"},
 "b": {"url": "http://127.0.0.1:1/", "headers": {"Host": "x", "Accept": "y", "X-N": 5}},
 "c d": {"command": "sh -c true"},
 "d": {"command": "docker", "args": ["run", "-i", "x"]}}}"#;
    let (code, said) = check(folder.path(), "c.json", text);
    assert_eq!(code, Some(0), "{said}");
    for expected in [
        "c.json:2: note: mcpServers.a.timeout: this setting of another tool is passed over",
        "c.json:2: note: server `a`: `no-such-program`: no such program in the daemon's PATH",
        "with its variables is not there",
        "c.json:3: note: mcpServers.b.headers: the header `Host` is set by the protocol itself: left out",
        "c.json:3: note: mcpServers.b.headers.X-N: the number 5 is passed on as text",
        "c.json:4: note: mcpServers: the server `c d` is called `c_d` here",
        "name `sh` in `command`, and the rest in `args`",
        "add `--rm` and `--init` behind `run`",
        "4 servers, no problems",
    ] {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    let vs_code = r#"{"servers": {"gh": {"url": "https://h.example/", "headers": {"Authorization": "Bearer ${input:pat}"}}, "ok": {"command": "sh"}}}"#;
    let (code, said) = check(folder.path(), "mcp.json", vs_code);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("trunkline secret set pat") && said.contains("${keyring:pat}"), "{said}");
    let (code, said) =
        check(folder.path(), "c.toml", "[servers.a]\ncommand = \"sh\"\nargs = [\"${A} ${keyring:}\", \"${oops\"]\n");
    assert_eq!(code, Some(1), "{said}");
    for expected in ["${A}", "${keyring:}", "${oops"] {
        assert!(said.contains(expected), "{said}");
    }
    let (code, said) = check(folder.path(), "passwd", &"root:x:0:0:root:/root:/bin/bash\n".repeat(40));
    assert_eq!(code, Some(1));
    assert!(said.lines().count() <= 8 && said.contains("is this a configuration of trunkline?"), "{said}");
}

#[test]
fn check_looks_where_the_daemon_looks() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(
        folder.path().join("config.toml"),
        "[servers.a]\ncommand = \"sh\"\nargs = [\"${env:ONLY_THE_DAEMONS}\"]\n",
    )
    .expect("written");
    let daemon = Daemon::start_with(folder, &[("ONLY_THE_DAEMONS", "1")]);
    let checked = daemon.run(&["check"]);
    assert!(checked.status.success(), "{checked:?}");
    fs::write(
        daemon.folder().join("other.toml"),
        "[servers.a]\ncommand = \"sh\"\nargs = [\"${env:ONLY_THE_SHELLS}\"]\n",
    )
    .expect("written");
    let other = daemon.folder().join("other.toml");
    let checked = command(daemon.folder()).arg("check").arg(other).env("ONLY_THE_SHELLS", "1").output().expect("run");
    assert!(!checked.status.success(), "{checked:?}");
    assert!(String::from_utf8_lossy(&checked.stderr).contains("ONLY_THE_SHELLS is not set"), "{checked:?}");
}

#[test]
fn an_agent_stays_with_the_entry_that_it_named() {
    let named = |name: &str, entry: &str| {
        format!("{name:?}: {}", json!({ "command": test_server(), "args": [format!("--name={entry}")] }))
    };
    let file = |entries: &[String]| format!("{{\"mcpServers\": {{{}}}}}", entries.join(","));
    let who = |agent: &mut crate::support::Agent| {
        let list = agent.ask(r#"{"jsonrpc":"2.0","id":5,"method":"resources/list"}"#);
        ["tenki", "pogoda", "ab", "other"]
            .into_iter()
            .find(|name| list.contains(&format!("test://{name}/")))
            .map(str::to_owned)
            .ok_or(list)
    };
    let daemon =
        serve("x.json", file(&[named("天気", "tenki"), named("погода", "pogoda"), named("a.b", "ab")]).as_bytes(), &[]);
    let mut agents: Vec<_> = ["天気", "погода", "a.b"].into_iter().map(|name| daemon.shim(&[name])).collect();
    for agent in &mut agents {
        agent.greet("{}");
    }
    assert_eq!(
        agents.iter_mut().map(|agent| who(agent).expect("a list")).collect::<Vec<_>>(),
        ["tenki", "pogoda", "ab"]
    );
    fs::write(
        daemon.folder().join("config.toml"),
        file(&[named("погода", "pogoda"), named("a_b", "other"), named("a.b", "ab")]),
    )
    .expect("written");
    eventually("it is taken", || state(&daemon, "a_b_108bf50c").0 != "absent");
    assert_eq!(who(&mut agents[1]).as_deref(), Ok("pogoda"));
    assert_eq!(who(&mut agents[2]).as_deref(), Ok("ab"));
    assert!(who(&mut agents[0]).is_err_and(|error| !error.contains("resources\":[")), "its entry is gone");
}

#[test]
fn a_file_that_names_no_servers_any_more_is_not_taken() {
    let good = json!({ "mcpServers": { "a": entry(json!({})) } }).to_string();
    let daemon = serve("x.json", good.as_bytes(), &[]);
    let mut agent = daemon.agent("a");
    let pid = agent.server_pid();
    for bad in ["{}", r#"{"mcpServers": []}"#, r#"{"mcpServer": {}}"#, r#"{"mcpServers": null}"#] {
        fs::write(daemon.folder().join("config.toml"), bad).expect("written");
        assert_eq!(daemon.run(&["reload"]).status.code(), Some(1), "{bad}");
        assert_eq!(agent.server_pid(), pid, "{bad}");
    }
}

#[test]
fn what_other_tools_write_and_mean_otherwise() {
    let folder = tempfile::tempdir().expect("a folder");
    for (text, code, said) in [
        (
            r#"{"mcpServers": {"a": {"command": "sh", "args": ["C:\Program\x"]}, "b": {"command": "sh"}}}"#,
            1,
            "not valid JSON",
        ),
        (
            r#"{"mcpServers": {"a": {"command": "sh", "args": ["C:\Program"]}, "b": {"command": "sh"}}}"#,
            1,
            "a backslash that JSON does not know",
        ),
        (
            r#"{"mcp": {"allowed": ["a"], "serverCommand": "x"}, "mcpServers": {"a": {"command": "sh"}}}"#,
            0,
            "1 server, no problems",
        ),
        (
            r#"{"mcpServers": {}, "projects": {"/p": {"mcpServers": {"a": {"command": "sh"}}}}}"#,
            0,
            "servers of single projects",
        ),
        (
            r#"{"mcpServers": {"a": {"command": "sh", "tools": {"allow": ["x"]}, "excludeTools": ["y"]}}}"#,
            1,
            "stand side by side",
        ),
    ] {
        let (found, words) = check(folder.path(), "c.json", text);
        assert_eq!((found, words.contains(said)), (Some(code), true), "{text}: {words}");
    }
}
