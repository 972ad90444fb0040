//! The way in and back out: trunkline is written into agents' files, and everything is put back.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::home::{Home, json, said};
use crate::support::{eventually, test_server};

#[test]
fn every_agents_file_is_written_and_put_back_to_the_byte() {
    for (agent, file, text) in [
        ("claude-code", ".claude.json", "{\"numStartups\": 1,\n \"mcpServers\": {}}"),
        ("codex", ".codex/config.toml", "# mine\nmodel = \"m\"\n[mcp_servers.a]\ncommand = \"x\" # why\n"),
        (
            "cursor",
            ".cursor/mcp.json",
            "\u{feff}{\r\n  // mine\r\n  \"mcpServers\": { \"a\": {\"command\": \"x\"}, },\r\n}\r\n",
        ),
        (
            "vscode",
            ".config/Code/User/mcp.json",
            "{\n\t\"servers\": {\n\t\t\"a\": { \"command\": \"x\" }\n\t},\n\t\"inputs\": []\n}\n",
        ),
        ("gemini", ".gemini/settings.json", "{\"theme\": \"dark\"}"),
        ("opencode", ".config/opencode/opencode.jsonc", "{ /* mine */ \"mcp\": {} }\n"),
        ("claude-desktop", ".config/Claude/claude_desktop_config.json", ""),
        ("windsurf", ".codeium/windsurf/mcp_config.json", "{}"),
        ("zed", ".config/zed/settings.json", "// Zed\n{\n  \"theme\": \"x\", // mine\n}\n"),
        ("lmstudio", ".lmstudio/mcp.json", "{\"mcpServers\":{}}"),
        ("copilot", ".copilot/mcp-config.json", "{\n  \"mcpServers\": {}\n}\n"),
        ("qwen", ".qwen/settings.json", "{\"$version\": 2}"),
        ("amp", ".config/amp/settings.json", "{\"amp.mcpServers\": {\"a\": {\"command\": \"x\"}}}"),
        ("crush", ".config/crush/crush.json", "{\"mcp\": {}}"),
        ("goose", ".config/goose/config.yaml", "A: 1\nextensions:\n  a: # mine\n    type: stdio\n    cmd: x\nB: 2"),
        ("cline", ".cline/data/settings/cline_mcp_settings.json", "{\"mcpServers\": {}}"),
        ("roo", ".config/Code/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json", "{}"),
        ("kiro", ".kiro/settings/mcp.json", "{\"mcpServers\": {}}"),
        ("jetbrains", ".junie/mcp/mcp.json", "{}"),
        ("continue", ".continue/config.yaml", "name: n\nmcpServers:\n- name: a # mine\n  command: x\n"),
    ] {
        let home = Home::new();
        home.write(file, text);
        let before = home.files();
        let told = home.says(&["attach", agent]);
        assert!(told.contains("+++ ") && told.contains("connect"), "{agent}: {told}");
        let attached = home.read(file);
        let program = env!("CARGO_BIN_EXE_trunkline");
        assert!(attached.contains(program) && attached.contains("connect"), "{agent}: {attached}");
        for comment in ["# mine", "// mine", "/* mine */", "# why"].into_iter().filter(|comment| text.contains(comment))
        {
            assert!(attached.contains(comment), "{agent}: {comment} in {attached}");
        }
        // Twice is once.
        let again = home.says(&["attach", agent]);
        assert!(again.contains("has trunkline already"), "{agent}: {again}");
        // trunkline does not take itself over.
        let plan = json(&home.says(&["import", "--dry-run", "--json", "--from", agent]));
        assert!(plan["skipped"].to_string().contains("it is trunkline itself"), "{agent}: {plan}");
        assert!(home.says(&["detach", agent]).contains("to the byte"), "{agent}");
        home.says(&["uninstall", "--yes"]);
        assert_eq!(home.files(), before, "{agent}");
    }
}

#[test]
fn a_file_that_was_made_goes_and_one_that_was_edited_stays() {
    let home = Home::new();
    home.says(&["attach", "cursor"]);
    home.says(&["detach", "cursor"]);
    assert!(!home.path(".cursor").exists(), "the folder was made for it");

    home.write(".cursor/mcp.json", "{\"mcpServers\": {\"a\": {\"command\": \"x\"}}}");
    home.says(&["attach", "cursor"]);
    let edited = home.read(".cursor/mcp.json").replace("\"x\"", "\"edited\"");
    home.write(".cursor/mcp.json", &edited);
    let output = home.run(&["detach", "cursor"]);
    let (out, err) = said(&output);
    assert!(
        output.status.code() == Some(1) && out.contains("+") && out.contains("edited") && err.contains("--keep-edits"),
        "{out}{err}"
    );
    assert_eq!(home.read(".cursor/mcp.json"), edited);
    home.says(&["detach", "cursor", "--keep-edits"]);
    let left = home.read(".cursor/mcp.json");
    assert!(left.contains("edited") && !left.contains("trunkline"), "{left}");
    assert!(home.refuses(1, &["detach", "cursor"]).contains("not attached"));

    // Claude Code writes into its file whenever it runs: that is no edit, but one of its servers is.
    home.write(".claude.json", "{\"numStartups\": 1, \"mcpServers\": {}}");
    home.says(&["attach", "claude-code"]);
    let ran = home.read(".claude.json").replace("\"numStartups\": 1", "\"numStartups\": 2");
    home.write(".claude.json", &ran);
    home.says(&["detach", "claude-code"]);
    assert!(home.read(".claude.json").contains("2") && !home.read(".claude.json").contains("trunkline"));
    home.says(&["attach", "claude-code"]);
    let edited =
        home.read(".claude.json").replace("\"mcpServers\": {", "\"mcpServers\": {\"new\": {\"command\": \"x\"},");
    home.write(".claude.json", &edited);
    home.refuses(1, &["detach", "claude-code"]);
    assert_eq!(home.read(".claude.json"), edited);
}

#[test]
fn one_server_takes_the_place_of_the_agents_own() {
    let home = Home::of_three_agents();
    home.says(&["import", "--yes"]);
    let own = home.read(".codex/config.toml");
    let told = home.says(&["attach", "codex", "--server", "time"]);
    assert!(told.contains("Taken out, and kept for `detach`: time"), "{told}");
    let attached = home.read(".codex/config.toml");
    assert!(
        attached.contains("[mcp_servers.time]")
            && attached.contains("\"connect\", \"time\"")
            && attached.contains("search"),
        "{attached}"
    );
    let told = home.says(&["attach", "codex", "--replace"]);
    assert!(told.contains("off, search"), "{told}");
    let found = home.says(&["doctor", "--json", "--try"]);
    assert!(!found.contains("starts for itself"), "{found}");
    home.says(&["detach", "codex"]);
    assert_eq!(home.read(".codex/config.toml"), own);
    home.write(".codex/config.toml", "[mcp_servers.trunkline]\ncommand = \"other\"\n");
    assert!(home.refuses(1, &["attach", "codex"]).contains("--name"));
    assert!(home.refuses(1, &["attach", "codex", "--server", "tiem"]).contains("did you mean `time`?"));
    assert!(home.refuses(1, &["attach", "codx"]).contains("did you mean `codex`?"));
}

#[test]
fn from_three_agents_to_a_shared_set_up_and_back_without_a_trace() {
    let home = Home::of_three_agents();
    let before = home.files();
    assert!(home.refuses(1, &["init"]).contains("--yes"));
    let told = home.says(&["init", "--dry-run", "--no-service"]);
    assert!(told.contains("Nothing was written") && told.contains("+++ "), "{told}");
    assert_eq!(home.files(), before);
    let told = home.says(&["init", "--yes", "--no-service"]);
    for agent in ["Claude Code", "Codex", "Cursor"] {
        assert!(told.contains(&format!("{agent}: its entry works")), "{told}");
    }
    assert!(told.contains("trunkline uninstall"), "{told}");
    for file in [".claude.json", ".codex/config.toml", ".cursor/mcp.json"] {
        assert!(home.read(file).contains("trunkline"), "{file}");
    }
    let told = home.says(&["uninstall", "--yes"]);
    assert!(told.contains("as it was before trunkline") && told.contains("gone: "), "{told}");
    assert_eq!(home.files(), before, "no trace is left");
    assert!(!home.path(".config").exists() || fs::read_dir(home.path(".config")).expect("read").next().is_none());
}

#[test]
fn the_way_in_is_for_the_agents_that_are_named() {
    let home = Home::of_three_agents();
    let before = home.files();
    let (claude, cursor) = (home.read(".claude.json"), home.read(".cursor/mcp.json"));
    assert!(home.refuses(1, &["init", "--yes", "--agent", "codx"]).contains("did you mean `codex`?"));
    let told = home.says(&["init", "--yes", "--no-service", "--agent", "codex", "--agent", "codex"]);
    assert!(told.contains("Codex: its entry works") && !told.contains("Cursor"), "{told}");
    assert!(home.read(".codex/config.toml").contains("trunkline"));
    assert_eq!((home.read(".claude.json"), home.read(".cursor/mcp.json")), (claude, cursor));
    home.says(&["uninstall", "--yes"]);
    assert_eq!(home.files(), before);
}

#[test]
fn the_doctor_finds_what_is_wrong_and_mends_what_is_safe() {
    let home = Home::new();
    let healthy = home.run(&["doctor"]);
    assert!(healthy.status.success() && said(&healthy).0.contains("0 problems"), "{healthy:?}");
    let config = format!(
        "[servers.good]\ncommand = {:?}\n[servers.gone]\ncommand = \"no-such-program\"\nargs = [\"--token\", \"ghp_0123456789abcdefghij0123456789abcdef\"]\n[servers.unset]\ncommand = {:?}\nenv = {{ A = \"${{env:NO_SUCH_VARIABLE}}\" }}\n",
        test_server(),
        test_server()
    );
    home.write(".config/trunkline/config.toml", &config);
    home.write(
        ".cursor/mcp.json",
        "{\"mcpServers\": {\"trunkline\": {\"command\": \"/gone/trunkline\", \"args\": [\"connect\"]}}}",
    );
    home.says(&["tools", "good"]);
    let output = home.run(&["doctor", "--try", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found = json(&said(&output).0);
    let problems: Vec<String> = found
        .as_array()
        .expect("a list")
        .iter()
        .filter(|finding| finding["level"] == "problem")
        .map(Value::to_string)
        .collect();
    for words in ["no-such-program", "NO_SUCH_VARIABLE", "/gone/trunkline", "trunkline attach cursor"] {
        assert!(problems.iter().any(|problem| problem.contains(words)), "{words} in {problems:#?}");
    }
    assert!(found.to_string().contains("good: answers"), "{found}");
    let report = said(&home.run(&["doctor", "--report"])).0;
    assert!(
        report.contains("findings")
            && !report.contains("ghp_")
            && !report.contains(&home.0.path().display().to_string()),
        "{report}"
    );

    // What can be mended safely is.
    home.says(&["shutdown"]);
    use std::os::unix::fs::PermissionsExt;
    let state = home.path(".local/state/trunkline");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).expect("changed");
    let (_, mended) = said(&home.run(&["doctor", "--fix"]));
    assert!(mended.contains("mended: "), "{mended}");
    assert_eq!(fs::metadata(&state).expect("there").permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_shell_completes_servers_tools_and_agents() {
    let home = Home::new();
    home.write(
        ".config/trunkline/config.toml",
        &format!(
            "[servers.clock]\ncommand = {:?}\nargs = [\"--tool=clock\", \"--tool=say\"]\n[profiles.work]\nservers = [\"clock\"]\n",
            test_server()
        ),
    );
    home.says(&["tools", "clock"]);
    let completed = |words: &[&str]| {
        let mut command = home.command(env!("CARGO_BIN_EXE_trunkline"));
        command
            .env("TRUNKLINE_COMPLETE", "bash")
            .env("_CLAP_IFS", "\n")
            .env("_CLAP_COMPLETE_INDEX", words.len().to_string());
        let output = command.args(["--", "trunkline"]).args(words).output().expect("run");
        said(&output).0.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let has = |words: &[&str], wanted: &str| {
        assert!(completed(words).iter().any(|line| line == wanted), "{words:?}: {:?}", completed(words))
    };
    has(&["tools", ""], "clock");
    has(&["call", "clock", ""], "echo");
    has(&["call", "clock", "say", ""], "text=");
    has(&["call", "clock", "say", "text=x", "how"], "how=loud");
    assert!(!completed(&["call", "clock", "say", "text=x", ""]).iter().any(|line| line == "text="));
    has(&["attach", "cur"], "cursor");
    has(&["connect", "--profile", ""], "work");
    for shell in ["bash", "zsh", "fish", "powershell"] {
        assert!(home.says(&["completions", shell]).contains("TRUNKLINE_COMPLETE"), "{shell}");
    }
    let folder = home.path("man").display().to_string();
    home.says(&["man-pages", &folder]);
    assert!(home.read("man/trunkline-attach.1").contains("codex"));
}

#[test]
fn real_agents_see_it_connected() {
    let cache = std::env::var_os("AGENTS_CACHE")
        .map_or_else(|| std::env::temp_dir().join("trunkline-agents-cache"), PathBuf::from);
    let program = |name: &str| {
        let folders = fs::read_dir(&cache)
            .unwrap_or_else(|error| panic!("{}: {error}; `tests/run` installs the agents", cache.display()));
        let mut folders = folders.map(|entry| entry.expect("an entry").path().join("node_modules/.bin").join(name));
        folders
            .find(|program| program.exists())
            .unwrap_or_else(|| panic!("no {name} in {}: `tests/run` installs it", cache.display()))
    };
    let home = Home::new();
    home.says(&["add", "own", "--", &test_server()]);
    for (agent, name, words, wanted) in
        [("claude-code", "claude", ["mcp", "list"], "✔ Connected"), ("codex", "codex", ["mcp", "list"], "enabled")]
    {
        home.says(&["attach", agent]);
        let listed = home.command(&program(name).display().to_string()).args(words).output().expect("run");
        let (out, err) = said(&listed);
        assert!(out.lines().any(|line| line.contains("trunkline") && line.contains(wanted)), "{agent}: {out}{err}");
    }
    eventually("Claude Code has left again", || home.says(&["status"]).lines().all(|line| !line.contains("claude")));
    home.says(&["uninstall", "--yes"]);
    assert!(!home.read(".claude.json").contains("trunkline"));
}

#[test]
fn an_edit_elsewhere_costs_no_comment() {
    let home = Home::of_three_agents();
    home.says(&["import", "--yes"]);
    let own = home.read(".codex/config.toml").replace("[mcp_servers.search]", "# finds things\n[mcp_servers.search]");
    home.write(".codex/config.toml", &own);
    home.says(&["attach", "codex", "--replace"]);
    let edited = home.read(".codex/config.toml").replace("model = \"m\"", "model = \"n\"");
    home.write(".codex/config.toml", &edited);
    home.says(&["detach", "codex"]);
    assert_eq!(home.read(".codex/config.toml"), own.replace("model = \"m\"", "model = \"n\""));

    // Its own entry was edited, and is written anew: nothing else has changed, so the file is what it was.
    home.says(&["attach", "codex", "--replace"]);
    let edited = home.read(".codex/config.toml").replace("\"connect\"", "\"connect\", \"time\"");
    home.write(".codex/config.toml", &edited);
    home.says(&["attach", "codex", "--replace"]);
    assert!(home.says(&["detach", "codex"]).contains("to the byte"));
    assert_eq!(home.read(".codex/config.toml"), own.replace("model = \"m\"", "model = \"n\""));
}

#[test]
fn what_was_begun_is_finished_whoever_reads() {
    let home = Home::of_three_agents();
    let before = home.files();
    home.says(&["init", "--yes", "--no-service"]);
    let mut uninstall = home.command(env!("CARGO_BIN_EXE_trunkline"));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = uninstall.args(["uninstall", "--yes"]).stdout(writer).status().expect("run");
    assert!(status.success());
    assert_eq!(home.files(), before);
}
