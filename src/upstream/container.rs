//! Servers in containers: a label finds the container again that its client program left behind.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::config::behind_run;

/// The label that a container carries: which process of which daemon runs it.
const LABEL: &str = "io.github.trunkline.process";
/// How long the program that runs containers may take for each answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The program that runs a container, as its server's entry has it.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub program: PathBuf,
    /// Its own flags.
    flags: Vec<OsString>,
    pub env: Vec<(String, String)>,
}

/// Adds the label to a command that runs a container; returns how its program is asked for it, if it is one.
pub(super) fn label(program: &Path, words: &mut Vec<OsString>, mark: &str) -> Option<Client> {
    let text: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let text: Vec<&str> = text.iter().map(|word| &**word).collect();
    let at = behind_run(&program.to_string_lossy(), &text)?;
    let flags = words[..at - 1].iter().filter(|word| *word != "container" && *word != "compose").cloned().collect();
    words.insert(at, format!("--label={LABEL}={mark}").into());
    Some(Client { program: program.to_owned(), flags, env: Vec::new() })
}

/// Ends the container with this mark, if it is still there: its program passes SIGTERM on, and nothing stronger.
pub(super) async fn end(client: &Client, mark: &str) {
    let run = async |words: Vec<String>| {
        let mut command = Command::new(&client.program);
        command
            .args(&client.flags)
            .args(words)
            .envs(client.env.iter().cloned())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        timeout(PATIENCE, command.output()).await.ok()?.ok()
    };
    let Some(found) = run(find(mark)).await else { return };
    let found = ids(&found.stdout);
    if !found.is_empty() {
        tracing::info!(containers = found.join(" "), "ending containers that their server left behind");
        drop(run(remove(&found)).await);
    }
}

/// The same, where nothing else goes on: on a thread that nobody waits for, since the program may never answer.
pub(super) fn end_later(program: &Path, mark: &str) {
    let (program, mark) = (program.to_owned(), mark.to_owned());
    std::thread::spawn(move || end_now(&program, &mark));
}

fn end_now(program: &Path, mark: &str) {
    let run = |words: Vec<String>| {
        std::process::Command::new(program).args(words).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()
    };
    let found = run(find(mark)).map(|found| ids(&found.stdout)).unwrap_or_default();
    if !found.is_empty() {
        tracing::warn!(containers = found.join(" "), "ended containers that the last daemon left behind");
        drop(run(remove(&found)));
    }
}

fn find(mark: &str) -> Vec<String> {
    ["ps", "--all", "--quiet", "--filter"]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("label={LABEL}={mark}")])
        .collect()
}

fn remove(ids: &[String]) -> Vec<String> {
    ["rm", "--force"].map(str::to_owned).into_iter().chain(ids.iter().cloned()).collect()
}

/// What stands on the lines of an answer, if it can be a container's id.
fn ids(answer: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answer);
    let is_id = |line: &&str| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_alphanumeric());
    text.lines().map(str::trim).filter(is_id).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_gets_its_label() {
        for (line, expected) in [
            ("docker run -i --rm x", Some("run --label=io.github.trunkline.process=m -i --rm x")),
            ("/usr/bin/podman container run x", Some("container run --label=io.github.trunkline.process=m x")),
            ("docker exec -i c x", None),
            ("node run", None),
        ] {
            let mut words = line.split(' ').map(OsString::from);
            let program = words.next().unwrap_or_default();
            let mut words: Vec<_> = words.collect();
            let labelled = label(Path::new(&program), &mut words, "m").map(|_| words.join(&OsString::from(" ")));
            assert_eq!(labelled, expected.map(OsString::from), "{line}");
        }
        assert_eq!(ids(b"0f3a\r\n\nb1\nno id\n--rm\n"), ["0f3a", "b1"]);
    }
}
