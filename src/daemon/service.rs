//! What a service manager is told, and what it does not give: systemd's notifications (`sd_notify(3)`) and watchdog, and
//! the PATH of a login shell.

use std::ffi::OsString;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How long the login shell may take.
const SHELL_WAIT: Duration = Duration::from_secs(5);
/// Stands before the PATH in what the shell prints, since its profile may print too.
const MARK: &str = "trunkline-path:";

#[cfg(target_os = "linux")]
mod manager {
    use sd_notify::NotifyState;

    pub(super) fn tell(states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states) {
            tracing::debug!(%error, "service manager not told");
        }
    }
}

pub(super) fn ready() {
    #[cfg(target_os = "linux")]
    manager::tell(&[sd_notify::NotifyState::Ready]);
}

pub(super) fn reloading() {
    #[cfg(target_os = "linux")]
    if let Ok(now) = sd_notify::NotifyState::monotonic_usec_now() {
        manager::tell(&[sd_notify::NotifyState::Reloading, now]);
    }
}

pub(super) fn stopping() {
    #[cfg(target_os = "linux")]
    manager::tell(&[sd_notify::NotifyState::Stopping]);
}

/// Says from time to time that the event loop turns: a daemon that hangs is started anew.
pub(super) async fn watchdog(stop: CancellationToken) {
    #[cfg(target_os = "linux")]
    if let Some(limit) = sd_notify::watchdog_enabled() {
        match crate::ticks::Ticks::new("watchdog") {
            Ok(mut ticks) => {
                while stop.run_until_cancelled(ticks.after(limit / 3)).await.is_some() {
                    manager::tell(&[sd_notify::NotifyState::Watchdog]);
                }
            }
            Err(error) => tracing::error!(%error, "cannot keep the watchdog quiet: it will end this daemon"),
        }
    }
    #[cfg(not(target_os = "linux"))]
    drop(stop);
}

/// The PATH that the user's login shell sets, if a service manager started this process: its own is bare, and npx, uvx
/// and the like would not be found.
pub(super) async fn login_path() -> Option<OsString> {
    let by_manager = std::env::var_os("NOTIFY_SOCKET").is_some()
        || std::env::var_os("XPC_SERVICE_NAME").is_some_and(|name| name != "0");
    if !by_manager {
        return None;
    }
    let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
    let mut command = tokio::process::Command::new(&shell);
    command.args(["-l", "-c", &format!("printf '\\n{MARK}%s\\n' \"$PATH\"")]);
    for variable in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] {
        command.env_remove(variable);
    }
    command.stdin(std::process::Stdio::null()).stderr(std::process::Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(SHELL_WAIT, command.output()).await;
    let found = output.ok().and_then(Result::ok).and_then(|output| path_in(&String::from_utf8_lossy(&output.stdout)));
    if found.is_none() {
        tracing::warn!(shell = %shell.display(), "the login shell did not tell its PATH: servers get the service manager's");
    }
    found
}

fn path_in(output: &str) -> Option<OsString> {
    let path = output.lines().rev().find_map(|line| line.strip_prefix(MARK))?;
    (!path.is_empty()).then(|| path.into())
}

#[cfg(test)]
mod tests {
    use super::path_in;

    #[test]
    fn a_talkative_profile_does_not_matter() {
        assert_eq!(path_in("Welcome!\n\ntrunkline-path:/a:/b c\nbye\n"), Some("/a:/b c".into()));
        assert_eq!(path_in("Welcome!\ntrunkline-path:\n"), None);
    }
}
