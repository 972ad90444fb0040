//! A person's home folder: what a stranger begins with.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::test_server;

/// A person's home folder with nothing of trunkline in it, and no variable that names one.
pub(crate) struct Home(pub TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        let home = Self(tempfile::tempdir().expect("a folder"));
        home.write("tmp/.keep", "");
        home
    }

    /// One with three agents' files of eleven entries.
    pub(crate) fn of_three_agents() -> Self {
        let (home, server) = (Self::new(), test_server());
        let own = home.path("work/shop").display().to_string();
        let claude = serde_json::json!({
            "numStartups": 7,
            "mcpServers": {
                "time": { "type": "stdio", "command": server, "args": ["--name=time"], "env": {} },
                "notes": { "command": server, "args": ["--name=notes", "--token", "ghp_0123456789abcdefghij0123456789abcdef"] },
                "remote": { "type": "http", "url": "http://127.0.0.1:9/mcp", "headers": { "X-Team": "a" } },
            },
            "projects": {
                own: { "mcpServers": { "db": { "command": server, "args": ["--name=db"] } } },
                "/nowhere": { "mcpServers": { "db": { "command": server, "args": ["--name=db2"] } } },
            },
        });
        home.write(".claude.json", &format!("{claude:#}\n"));
        home.write(
            ".codex/config.toml",
            &format!("model = \"m\" # mine\n\n[mcp_servers.time]\ncommand = {server:?}\nargs = [\"--name=time\"]\n\n[mcp_servers.search]\ncommand = {server:?}\nargs = [\"--name=search\"]\ntool_timeout_sec = 90\n\n[mcp_servers.off]\ncommand = \"gone\"\nenabled = false\n"),
        );
        home.write(
            ".cursor/mcp.json",
            &format!("{{\n  // mine\n  \"mcpServers\": {{\n    \"time\": {{ \"command\": {server:?}, \"args\": [\"--name=time\"] }},\n    \"My Server\": {{ \"command\": {server:?}, \"args\": [\"--name=own\"], \"alwaysAllow\": [\"x\"] }},\n    \"memory\": {{ \"command\": {server:?}, \"args\": [\"--name=memory\"], \"envFile\": \"~/memory.env\" }},\n  }},\n}}\n"),
        );
        home.write("memory.env", "MEMORY=\"1\"\n");
        home.write("work/shop/.keep", "");
        home
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(path, text).expect("written");
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.0.path()).env("TMPDIR", self.path("tmp")).env("LANG", "C.UTF-8");
        command.env("PATH", std::env::var_os("PATH").expect("set")).current_dir(self.0.path());
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.command(env!("CARGO_BIN_EXE_trunkline")).args(words).output().expect("started")
    }

    /// What it says on standard output; it must succeed.
    pub(crate) fn says(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let (out, err) = said(&output);
        assert!(output.status.success(), "{words:?}: {} {out}{err}", output.status);
        out
    }

    /// What it says on standard error; it must fail with this status.
    pub(crate) fn refuses(&self, code: i32, words: &[&str]) -> String {
        let output = self.run(words);
        let (out, err) = said(&output);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {out}{err}");
        err
    }

    pub(crate) fn config(&self) -> String {
        self.read(".config/trunkline/config.toml")
    }

    /// Every file below it, with its text.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all = Vec::new();
        let mut folders = vec![self.0.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("read") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path)
                } else {
                    all.push((path.clone(), fs::read(path).unwrap_or_default()))
                }
            }
        }
        all.sort();
        all
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        drop(self.run(&["shutdown"]));
    }
}

pub(crate) fn said(output: &Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
