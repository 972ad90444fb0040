//! A keyring of a test's own: a session bus, and gnome-keyring on it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// What state a keyring is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    Unlocked,
    Locked,
}

/// A session bus that starts nothing by itself: a second gnome-keyring would be another, and empty.
const BUS: &str = r#"<busconfig><type>session</type><listen>unix:dir=/tmp</listen>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>"#;

pub(crate) struct Keyring {
    session: Child,
    /// Of the session bus.
    pub address: String,
    pub pid: i32,
    _home: TempDir,
}

impl Keyring {
    pub(crate) fn start(lock: Lock) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        // One that is locked has been used before, under a password that nobody says now.
        let script = match lock {
            Lock::Unlocked => "printf pw | gnome-keyring-daemon --unlock --foreground --components=secrets & pid=$!",
            Lock::Locked => {
                "printf pw | gnome-keyring-daemon --unlock --foreground --components=secrets & pid=$!
                 until printf x | secret-tool store --label=x a b 2>/dev/null; do sleep 0.05; done
                 kill $pid; wait $pid
                 gnome-keyring-daemon --start --foreground --components=secrets >/dev/null & pid=$!"
            }
        };
        let wait = "until busctl --user --address=\"$DBUS_SESSION_BUS_ADDRESS\" status org.freedesktop.secrets >/dev/null 2>&1; do sleep 0.05; done";
        let bus = home.path().join("bus.conf");
        std::fs::write(&bus, BUS).expect("written");
        let mut command = Command::new("dbus-run-session");
        command.arg("--config-file").arg(&bus).args([
            "--",
            "bash",
            "-c",
            &format!("{script}\n{wait}\necho $DBUS_SESSION_BUS_ADDRESS $pid; cat; kill -CONT $pid; kill $pid"),
        ]);
        command
            .env("HOME", home.path())
            .env("XDG_RUNTIME_DIR", home.path())
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY");
        let session = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut session =
            session.expect("dbus-run-session starts: run `tests/run`, which installs what the tests need");
        let mut line = String::new();
        BufReader::new(session.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let (address, pid) =
            line.trim().split_once(' ').unwrap_or_else(|| panic!("no keyring ({line}): run `tests/run`"));
        Self { address: address.to_owned(), pid: pid.parse().expect("a pid"), session, _home: home }
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        drop(self.session.stdin.take());
        drop(self.session.wait());
    }
}
