//! systemd's user manager: `trunkline.service` and `trunkline.socket`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use super::Standing;
use crate::paths::{self, Places};

const SERVICE: &str = "trunkline.service";
const SOCKET: &str = "trunkline.socket";
/// The program in the unit of the repository.
const PROGRAM: &str = "%h/.cargo/bin/trunkline run";

/// Fails with what to do instead where there is no user manager.
pub(super) fn check() -> anyhow::Result<()> {
    let manager = paths::runtime_folder().map(|runtime| runtime.join("systemd/private"));
    if manager.is_some_and(|socket| socket.exists()) {
        return Ok(());
    }
    bail!(
        "no systemd user manager runs here (a container, a box without systemd, or a session of `su`): nothing is needed for agents that use `trunkline connect`, which starts the daemon itself; in WSL, set `systemd=true` under [boot] in /etc/wsl.conf"
    )
}

/// The units, where they belong.
pub(super) fn units(program: &Path, places: &Places) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let folder = folder()?;
    let words: Vec<_> =
        std::iter::once(program.display().to_string()).chain(["run".to_owned()]).chain(places.flags()).collect();
    let line: Vec<_> = words.iter().map(|word| quoted(word)).collect();
    let service = include_str!("../../../systemd/trunkline.service");
    let service = service.replace(PROGRAM, &line.join(" "));
    let service = service.replace(
        "# A user unit: copy it, with trunkline.socket, to ~/.config/systemd/user (see the README).",
        "# Written by `trunkline service install`; `trunkline service uninstall` takes it away.",
    );
    let socket = include_str!("../../../systemd/trunkline.socket");
    let socket = if places.is_default {
        socket.to_owned()
    } else {
        socket.replace("%t/trunkline/trunkline.sock", &places.socket.display().to_string())
    };
    Ok(vec![(folder.join(SERVICE), service), (folder.join(SOCKET), socket)])
}

fn folder() -> anyhow::Result<PathBuf> {
    let named = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let base = named.or_else(|| Some(std::env::home_dir()?.join(".config")));
    Ok(base.context("there is no home folder: set HOME")?.join("systemd/user"))
}

/// A word of `ExecStart=` (`systemd.service(5)`, "Command lines").
fn quoted(word: &str) -> String {
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    let plain = escaped.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-%+@:,=".contains(&byte));
    if plain { escaped } else { format!("\"{escaped}\"") }
}

fn systemctl(words: &[&str]) -> Command {
    let mut command = Command::new("systemctl");
    command.arg("--user").args(words).stdin(Stdio::null());
    if let Some(runtime) = paths::runtime_folder() {
        command.env("XDG_RUNTIME_DIR", runtime);
    }
    command
}

fn run(words: &[&str]) -> anyhow::Result<String> {
    let output = systemctl(words).output().context("cannot start systemctl: install systemd")?;
    if !output.status.success() {
        bail!("`systemctl --user {}` failed: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Has them read, enabled and started anew: a daemon that runs gives way, and agents come back by themselves.
pub(super) fn start(places: &Places) -> anyhow::Result<()> {
    run(&["daemon-reload"])?;
    crate::cli::reach::stop_daemon(places)?;
    run(&["enable", SOCKET, SERVICE])?;
    run(&["restart", SOCKET])?;
    run(&["restart", SERVICE])?;
    Ok(())
}

pub(super) fn stop() -> anyhow::Result<()> {
    check()?;
    run(&["disable", "--now", SOCKET, SERVICE]).map(drop)
}

/// The units are gone.
pub(super) fn forget() {
    // What it would say is that there is nothing to forget.
    drop(run(&["daemon-reload"]));
    drop(systemctl(&["reset-failed", SERVICE, SOCKET]).stderr(Stdio::null()).status());
}

pub(super) fn standing(_places: &Places) -> Standing {
    let mut standing = Standing::default();
    let Ok(folder) = folder() else { return standing };
    let Ok(text) = std::fs::read_to_string(folder.join(SERVICE)) else { return standing };
    standing.installed = true;
    let line = text.lines().find_map(|line| line.strip_prefix("ExecStart="));
    let words = line.and_then(|line| shlex::split(&line.replace("%%", "%").replace("$$", "$"))).unwrap_or_default();
    let home = std::env::home_dir().unwrap_or_default();
    standing.program = words.first().map(|word| PathBuf::from(word.replace("%h", &home.display().to_string())));
    if let Err(error) = check() {
        standing.notes.push(format!("{error:#}"));
        return standing;
    }
    standing.enabled = run(&["is-enabled", SERVICE]).is_ok();
    let state = run(&["show", "--value", "--property=ActiveState", SERVICE]).unwrap_or_default();
    standing.running = state == "active";
    if !standing.running {
        let result = run(&["show", "--value", "--property=Result", SERVICE]).unwrap_or_default();
        standing
            .notes
            .push(format!("the service is {state} ({result}): `journalctl --user -u trunkline` has its words"));
    }
    let user = std::env::var("USER").unwrap_or_default();
    let linger = Command::new("loginctl")
        .args(["show-user", &user, "--value", "--property=Linger"])
        .stderr(Stdio::null())
        .output();
    if linger.is_ok_and(|output| output.stdout.starts_with(b"no")) && std::env::var_os("SSH_CONNECTION").is_some() {
        standing.notes.push(
            "it ends when your last session does: `loginctl enable-linger` keeps it, also after you leave this machine"
                .to_owned(),
        );
    }
    standing
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_of_a_command_line() {
        assert_eq!(quoted("/usr/bin/trunkline"), "/usr/bin/trunkline");
        assert_eq!(quoted("/a b/50%/$x"), "\"/a b/50%%/$$x\"");
        assert_eq!(quoted("a\"b"), "\"a\\\"b\"");
    }
}
