//! The step between an agent's shim and the daemon that it has started: in a session of its own, with nothing of the
//! agent's open. It ends at once, so that the daemon has no parent among the agent's processes.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context;

use crate::cli::done::Done;
use crate::program;

pub(in crate::cli) fn run(words: &[std::ffi::OsString]) -> Done {
    // Fails only for the leader of a group, which is then in a session of its own already.
    rustix::process::setsid().ok();
    keep_from_children();
    let mut command = Command::new(program::itself()?);
    command.args(words).stdin(Stdio::null());
    let home = std::env::home_dir().filter(|home| home.is_dir());
    command.current_dir(home.as_deref().unwrap_or(Path::new("/")));
    // Not waited for: the system takes it over when this process ends.
    command.spawn().context("cannot start the daemon")?;
    Ok(ExitCode::SUCCESS)
}

/// Marks every descriptor but the standard ones, so that the daemon does not inherit what the agent left open.
#[expect(unsafe_code, reason = "the system lists descriptors as numbers, and only this makes one of them usable")]
fn keep_from_children() {
    use std::os::fd::BorrowedFd;
    let folder = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let numbers: Vec<i32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    for number in numbers {
        // SAFETY: the descriptor is only marked, and one that is closed by now is refused by the system.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        // It is the listing's own, which is closed.
        rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC).ok();
    }
}
