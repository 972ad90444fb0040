//! Servers come into the configuration: from agents' files, from what a person types or pastes, from the registry.

use std::fs;
use std::path::Path;

use crate::support::home::{Home, json, said};
use crate::support::mock::Mock;
use crate::support::test_server;

#[test]
fn real_files_are_taken_over() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agent-files");
    let mut found = String::new();
    let mut folders: Vec<_> =
        fs::read_dir(&folder).expect("read").map(|entry| entry.expect("an entry").path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    assert!(folders.len() >= 20);
    for place in folders {
        let file = fs::read_dir(&place).expect("read").next().expect("a file").expect("an entry").path();
        let home = Home::new();
        let output = home.run(&["import", "--yes", "--from", &file.display().to_string()]);
        let (out, err) = said(&output);
        let config = fs::read_to_string(home.path(".config/trunkline/config.toml")).unwrap_or_default();
        let told: Vec<_> =
            out.lines().skip_while(|line| !line.starts_with("  ") || line.starts_with("  SERVER")).collect();
        let told = told
            .into_iter()
            .filter(|line| !line.ends_with(" FROM") && !line.contains("Next: "))
            .collect::<Vec<_>>()
            .join("\n");
        let text = format!("{err}{told}\n{config}");
        let text =
            text.replace(&home.0.path().display().to_string(), "HOME").replace(&folder.display().to_string(), "FILES");
        let name = file.strip_prefix(&folder).expect("below").display();
        found.push_str(&format!("=== {name}: {}\n{}\n\n", output.status, text.trim()));
        // What it wrote, it takes; secrets are not in it.
        if !config.is_empty() {
            let checked = json(&said(&home.run(&["check", "--json"])).0);
            let wrong: Vec<_> = checked["problems"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|problem| problem["message"].to_string())
                .collect();
            let unset = |message: &String| {
                message.contains("is not set")
                    || message.contains("named by ${file")
                    || message.contains("no secret is named")
            };
            assert!(wrong.iter().all(unset), "{name}: {wrong:?}");
            assert!(!config.contains("ghp_") && !config.contains("pa55") && !config.contains("eyJ"), "{config}");
        }
    }
    let expected = folder.join("expected.txt");
    if std::env::var_os("TRUNKLINE_BLESS").is_some() {
        fs::write(&expected, &found).expect("written");
    }
    let expected = fs::read_to_string(expected).unwrap_or_default();
    let differ = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(
        found == expected,
        "not as tests/agent-files/expected.txt has it: {differ:?}; TRUNKLINE_BLESS=1 writes it anew"
    );
}

#[test]
fn check_says_in_one_line_what_a_file_of_an_agent_is() {
    let home = Home::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agent-files");
    for file in ["08-codex/config.toml", "09-codex/config.toml", "20-goose/config.yaml", "24-continue/config.yaml"] {
        let said = home.refuses(1, &["check", &folder.join(file).display().to_string()]);
        assert!(said.contains("`trunkline import --from FILE`") && said.lines().count() == 1, "{said}");
    }
    // In a file of ours, the rest goes on.
    home.write("mixed.toml", "[servers.mine]\ncommand = \"cat\"\n[mcp_servers.other]\ncommand = \"cat\"\n");
    let output = home.run(&["check", "--json", &home.path("mixed.toml").display().to_string()]);
    let checked = json(&said(&output).0);
    assert_eq!(checked["servers"], 1, "{checked}");
    assert!(checked["problems"].to_string().contains("import --from FILE"), "{checked}");
}

#[test]
fn three_agents_files_become_one_configuration() {
    let home = Home::of_three_agents();
    let before = home.files();
    let plan = json(&home.says(&["import", "--dry-run", "--json"]));
    assert_eq!(home.files(), before, "nothing is written");
    let names: Vec<_> = plan["servers"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|server| server["name"].as_str().expect("text").to_owned())
        .collect();
    assert_eq!(names, ["notes", "remote", "time", "db", "db_shop", "search", "off", "My_Server", "memory"]);
    assert_eq!(plan["servers"][2]["from"].as_array().map(Vec::len), Some(3), "one server of three files: {plan}");

    let told = home.says(&["import", "--yes"]);
    for line in [
        "called `My_Server` here, not `My Server`",
        "alwaysAllow: ",
        "only; here every agent has it",
        "args -> ${keyring:notes-token}",
    ] {
        assert!(told.contains(line), "{line} in {told}");
    }
    let config = home.config();
    for line in [
        "# from Claude Code, Codex, Cursor",
        "call_timeout = \"90s\"",
        "enabled = false",
        "env_file = \"~/memory.env\"",
        "${keyring:notes-token}",
    ] {
        assert!(config.contains(line), "{line} in {config}");
    }
    assert!(!config.contains("ghp_"), "{config}");
    assert_eq!(home.says(&["secret", "list"]).trim(), "notes-token");
    for (path, text) in before {
        assert_eq!(fs::read(&path).expect("read"), text, "{} is not touched", path.display());
    }
    // Again, it is all there.
    let again = home.says(&["import", "--yes"]);
    assert!(again.contains("Nothing to take over.") && !again.contains("FROM"), "{again}");
    assert_eq!(home.config(), config);
    // Its servers can be used, with what the keyring and the file of variables have.
    let state = json(&home.says(&["call", "memory", "state", "--json"]));
    let state = json(state["content"][0]["text"].as_str().expect("text"));
    assert_eq!(state["environment"]["MEMORY"], "1");
}

#[test]
fn only_the_servers_that_are_named_are_taken_over() {
    let home = Home::of_three_agents();
    let refused = home.refuses(1, &["import", "--yes", "tme"]);
    assert!(refused.contains("no agent's file has a server `tme`") && refused.contains("time, db"), "{refused}");
    // Each by its own name, or by the one that it has with its agent.
    home.says(&["import", "--yes", "time", "My Server"]);
    let config = home.config();
    assert!(config.contains("[servers.time]") && config.contains("[servers.My_Server]"), "{config}");
    assert_eq!(config.matches("[servers.").count(), 2, "{config}");
    assert!(home.says(&["secret", "list"]).trim().is_empty(), "no secret of what stayed behind");
    let again = home.says(&["import", "--yes", "time"]);
    assert!(again.contains("there already, as `time`") && again.contains("Nothing to take over."), "{again}");
}

#[test]
fn without_a_word_nothing_is_proposed_into_the_entries() {
    let home = Home::of_three_agents();
    home.write(
        ".gemini/settings.json",
        r#"{"mcpServers": {"web": {"command": "npx", "args": ["@playwright/mcp@latest"]}}}"#,
    );
    let output = home.run(&["import"]);
    assert!(output.status.success());
    let config = home.config();
    assert!(config.contains("ghp_") && !config.contains("keyring") && !config.contains("share"), "{config}");
    let home = Home::new();
    home.write(
        ".gemini/settings.json",
        r#"{"mcpServers": {"web": {"command": "npx", "args": ["@playwright/mcp@latest"]}}}"#,
    );
    home.says(&["import", "--yes", "--from", "gemini"]);
    assert!(home.config().contains("share = \"session\""), "{}", home.config());
    let refused = home.refuses(1, &["import", "--from", "gemnii"]);
    assert!(refused.contains("did you mean `gemini`?"), "{refused}");
    let refused = home.refuses(1, &["import", "--from", "codex"]);
    assert!(refused.contains(".codex/config.toml"), "{refused}");
}

#[test]
fn servers_are_added_in_every_way_and_tried() {
    let home = Home::new();
    home.write(
        ".config/trunkline/config.toml",
        "# mine\n[daemon] # why\nidle_timeout = \"1h\"\n\n[servers.first] # one\ncommand = \"x\"\nenabled = false\n",
    );
    let told = home.says(&["add", "own", "-e", "A=b", "--", &test_server(), "--name=own"]);
    assert!(told.contains("`own` works: "), "{told}");
    let config = home.config();
    assert!(config.starts_with("# mine\n[daemon] # why\n") && config.contains("[servers.first] # one"), "{config}");
    assert!(config.contains("env = { A = \"b\" }"), "{config}");
    // A snippet, as a README shows it.
    let snippet = format!(
        "{{\"mcpServers\": {{\"pasted\": {{\"command\": {:?}, \"args\": [\"--name=pasted\"]}}}}}}",
        test_server()
    );
    home.write("snippet.json", &snippet);
    let mut add = home.command(env!("CARGO_BIN_EXE_trunkline"));
    let output = add.arg("add").stdin(fs::File::open(home.path("snippet.json")).expect("open")).output().expect("run");
    assert!(said(&output).0.contains("`pasted` works: "), "{output:?}");
    assert!(
        home.refuses(1, &["add", "again", "--", &test_server(), "--name=pasted"])
            .contains("there already, as `pasted`")
    );
    assert!(home.refuses(1, &["add", "own", "--", "other"]).contains("another server is named `own`"));
    assert!(home.refuses(1, &["add", "a b", "--", "other"]).contains("a b"));
    let failed = home.refuses(1, &["add", "broken", "--", "/nonexistent"]);
    assert!(failed.contains("does not work yet") && failed.contains("trunkline remove broken"), "{failed}");
    home.says(&["add", "remote", "https://mcp.example.com/mcp", "-H", "X-A: b", "--share", "all", "--no-try"]);
    assert!(home.config().contains("headers = { X-A = \"b\" }"), "{}", home.config());
    for name in ["broken", "remote", "pasted", "own"] {
        home.says(&["remove", name]);
    }
    assert_eq!(
        home.config(),
        "# mine\n[daemon] # why\nidle_timeout = \"1h\"\n\n[servers.first] # one\ncommand = \"x\"\nenabled = false\n"
    );
    assert!(home.refuses(1, &["remove", "frist"]).contains("did you mean `first`?"));
}

#[test]
fn a_server_of_the_registry() {
    let home = Home::new();
    let server = r#"{"server": {"name": "io.github.a/thing", "packages": [{"registryType": "npm", "identifier": "@a/thing", "version": "1.2.3", "transport": {"type": "stdio"},
        "environmentVariables": [{"name": "THING_KEY", "isRequired": true, "isSecret": true}]}]}}"#;
    let registry = Mock::start(move |request, reply| match request.path.as_str() {
        "/mcp/v0.1/servers/io.github.a%2Fthing/versions/latest" => reply.json(server),
        _ => reply.answer(404, "", ""),
    });
    home.says(&["add", "registry:io.github.a/thing", "--registry", &registry.url]);
    let config = home.config();
    assert!(
        config.contains("@a/thing@1.2.3") && config.contains("THING_KEY = \"${keyring:thing-THING_KEY}\""),
        "{config}"
    );
    assert!(home.refuses(1, &["add", "registry:none", "--registry", &registry.url]).contains("has no server `none`"));
    home.write("server.json", &server.replace("thing", "other"));
    home.says(&["add", "registry:server.json", "--no-try"]);
    assert!(home.config().contains("[servers.other]"));
}
