//! A new program in the place of the one that runs: the daemon says so, and gives way to it when nothing is in flight.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::config::Upgrade;
use crate::control::Notice;
use crate::hub::Hub;
use crate::program;
use crate::ticks::Ticks;

/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// For so many looks in a row the new program must not change, and nothing be in flight.
const STEADY: u32 = 2;
/// How long the new program may take to tell its version.
const VERSION_WAIT: Duration = Duration::from_secs(10);

/// A file as it is now; another one has another of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    length: u64,
    modified: Option<SystemTime>,
    inode: u64,
}

impl Identity {
    fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&found);
        #[cfg(windows)]
        let inode = 0;
        Some(Self { length: found.len(), modified: found.modified().ok(), inode })
    }
}

/// Watches the program's place until another one takes over there: then it is returned, and the daemon is to end.
pub(super) async fn watch(hub: Arc<Hub>, notice: Notice, stop: CancellationToken) -> Option<PathBuf> {
    let path = program::itself().ok()?;
    let own = Identity::of(&path)?;
    let mut ticks = Ticks::new("upgrade").ok()?;
    let (mut seen, mut steady, mut quiet) = (own, 0, 0);
    loop {
        stop.run_until_cancelled(ticks.after(LOOK)).await?;
        let Some(now) = Identity::of(&path) else { continue };
        steady = if now == seen { steady + 1 } else { 0 };
        seen = now;
        if now == own {
            *notice.lock() = None;
            continue;
        }
        let wanted = hub.config().daemon.upgrade;
        let busy = hub.busy();
        quiet = if busy.is_none() { quiet + 1 } else { 0 };
        *notice.lock() = Some(words(&path, wanted, busy.as_deref()));
        if wanted == Upgrade::Idle && steady >= STEADY && quiet >= STEADY {
            match (runs(&path).await, hub.busy()) {
                (true, None) => return Some(path),
                // A call has begun meanwhile.
                (true, Some(_)) => continue,
                (false, _) => {}
            }
            *notice.lock() =
                Some(format!("{} was replaced by a program that does not run: this daemon goes on", path.display()));
            // One that runs may come.
            steady = 0;
        }
    }
}

fn words(path: &Path, wanted: Upgrade, busy: Option<&str>) -> String {
    let path = path.display();
    match (wanted, busy) {
        (Upgrade::Never, _) => format!("{path} was replaced: `trunkline shutdown` has the new one take over"),
        (Upgrade::Idle, None) => format!("{path} was replaced: the new one is about to take over"),
        (Upgrade::Idle, Some(busy)) => {
            format!("{path} was replaced: the new one takes over when nothing is in flight ({busy})")
        }
    }
}

/// Whether the new program is one that starts at all.
async fn runs(path: &Path) -> bool {
    let mut command = tokio::process::Command::new(path);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let status = tokio::time::timeout(VERSION_WAIT, command.status()).await;
    status.is_ok_and(|status| status.is_ok_and(|status| status.success()))
}

/// Goes on as the new program, in the same process: who watches over that does not notice. Returns if it cannot.
#[cfg(unix)]
pub(super) fn become_new(path: &Path) -> std::io::Error {
    use std::os::unix::process::CommandExt;
    // It raises the limit itself, and gives its servers what it has found.
    if let Err(error) = crate::descriptors::put_back() {
        tracing::debug!(%error, "the limit on open files stays as it is");
    }
    std::process::Command::new(path).args(std::env::args_os().skip(1)).exec()
}

#[cfg(windows)]
pub(super) fn become_new(path: &Path) -> std::io::Error {
    let started = std::process::Command::new(path).args(std::env::args_os().skip(1)).spawn();
    started.err().unwrap_or_else(|| std::io::ErrorKind::Other.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_another_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, new) = (folder.path().join("p"), folder.path().join("n"));
        std::fs::write(&path, "a").expect("written");
        let own = Identity::of(&path);
        assert_eq!(Identity::of(&path), own);
        std::fs::write(&new, "a").expect("written");
        std::fs::rename(&new, &path).expect("renamed");
        assert_ne!(Identity::of(&path), own);
        assert_eq!(Identity::of(&new), None);
    }
}
