//! What the system tells of processes: when one started, what its group holds in memory. Linux only; elsewhere nothing
//! is known.

mod mark;

pub use mark::{DaemonMark, Mark, VARIABLE};

/// What the process is called that waits for the daemon to be gone.
pub const GUARDIAN: &str = "trunkline-guardian";

/// Which boot of the system this is.
pub fn boot() -> String {
    let id = if cfg!(target_os = "linux") {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
    } else {
        Ok(String::new())
    };
    id.map(|id| id.trim().to_owned()).ok().filter(|id| !id.is_empty()).unwrap_or_else(|| "-".to_owned())
}

/// When the process started, in the system's own clock: together with the pid and the boot, a name that no other process
/// ever has.
#[cfg(target_os = "linux")]
pub fn start_time(pid: u32) -> Option<u64> {
    let process = procfs::process::Process::new(i32::try_from(pid).ok()?).ok()?;
    Some(process.stat().ok()?.starttime)
}

/// The mark of this daemon.
pub fn own_mark() -> DaemonMark {
    let pid = std::process::id();
    DaemonMark::new(pid, start_time(pid).unwrap_or_default())
}

/// Whether a daemon does not run any more.
pub fn is_gone(daemon: DaemonMark) -> bool {
    start_time(daemon.pid()).is_none_or(|started| DaemonMark::new(daemon.pid(), started) != daemon)
}

/// What each process group holds in memory, in bytes. A page that several processes share counts for each in part, where the
/// kernel tells that (`smaps_rollup`), and else for each.
#[cfg(target_os = "linux")]
pub fn group_memory(leaders: &[u32]) -> std::collections::HashMap<u32, u64> {
    let mut memory = std::collections::HashMap::new();
    let Ok(all) = procfs::process::all_processes() else { return memory };
    for process in all.filter_map(Result::ok) {
        let Ok(stat) = process.stat() else { continue };
        if let Some(leader) = u32::try_from(stat.pgrp).ok().filter(|group| leaders.contains(group)) {
            let resident = stat.rss * procfs::page_size();
            *memory.entry(leader).or_default() += proportional(&process).unwrap_or(resident);
        }
    }
    memory
}

/// The part of a process in the memory that is there.
#[cfg(target_os = "linux")]
fn proportional(process: &procfs::process::Process) -> Option<u64> {
    let rollup = process.smaps_rollup().ok()?;
    let parts = rollup.memory_map_rollup.iter().filter_map(|map| map.extension.map.get("Pss").copied());
    Some(parts.sum()).filter(|part| *part > 0)
}

/// The processes that have a mark which `is` right, without this one and those that it comes from.
#[cfg(target_os = "linux")]
pub fn marked(is: impl Fn(Mark) -> bool) -> Vec<u32> {
    let Ok(all) = procfs::process::all_processes() else { return Vec::new() };
    let own = ancestry();
    let others = all.filter_map(Result::ok).filter(|process| !own.contains(&process.pid));
    let ended = others.filter(|process| mark_of(process).is_some_and(&is)).filter(|process| !is_a_persons(process));
    ended.filter_map(|process| u32::try_from(process.pid).ok()).collect()
}

/// The mark of a process that goes on. A daemon that a server has started marks its own, in their environment; what else stands
/// there does not hide the limit.
#[cfg(target_os = "linux")]
fn mark_of(process: &procfs::process::Process) -> Option<Mark> {
    let environment = process.environ().ok()?;
    let written = environment.get(std::ffi::OsStr::new(VARIABLE)).and_then(|mark| mark.to_str()?.parse::<Mark>().ok());
    let limit = match process.limits().ok()?.max_realtime_timeout.hard_limit {
        procfs::process::LimitValue::Value(limit) => Mark::of_limit(limit),
        procfs::process::LimitValue::Unlimited => None,
    };
    let is_others = |mark: &Mark| limit.is_none_or(|limit| limit.daemon != mark.daemon) && !is_gone(mark.daemon);
    let mark = written.filter(is_others).or(limit).or(written)?;
    process.stat().is_ok_and(|stat| stat.state != 'Z').then_some(mark)
}

/// Marks this process by its limits, and all that comes from it. No program notices: the limit is one of 146,000 years.
#[cfg(target_os = "linux")]
pub fn mark_self(mark: Mark) -> std::io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limit = Some(mark.limit());
    Ok(setrlimit(Resource::Rttime, Rlimit { current: limit, maximum: limit })?)
}

/// Programs that a server may have opened for the person, and that go on for the person.
#[cfg(target_os = "linux")]
const OF_PERSONS: [&str; 28] = [
    "firefox",
    "chrome",
    "google-chrome",
    "chromium",
    "chromium-browser",
    "brave",
    "msedge",
    "opera",
    "vivaldi-bin",
    "epiphany",
    "code",
    "cursor",
    "windsurf",
    "zed",
    "zed-editor",
    "idea",
    "tmux",
    "tmux: server",
    "screen",
    "gpg-agent",
    "ssh-agent",
    "dbus-daemon",
    "adb",
    "dockerd",
    "containerd",
    "systemd",
    "trunkline",
    GUARDIAN,
];
/// What a browser is told that a program drives.
#[cfg(target_os = "linux")]
const DRIVEN: [&str; 5] =
    ["--headless", "--remote-debugging-port", "--remote-debugging-pipe", "--user-data-dir", "--enable-automation"];

/// Whether a process is one of those, and no server drives it.
#[cfg(target_os = "linux")]
fn is_a_persons(process: &procfs::process::Process) -> bool {
    let words = process.cmdline().unwrap_or_default();
    let name = words.first().and_then(|word| std::path::Path::new(word).file_name()?.to_str()).unwrap_or_default();
    let driven = words.iter().any(|word| DRIVEN.iter().any(|flag| word.starts_with(flag)));
    OF_PERSONS.contains(&name) && !driven
}

/// This process and those that it comes from.
#[cfg(target_os = "linux")]
fn ancestry() -> Vec<i32> {
    let mut next = procfs::process::Process::myself().ok();
    let mut all = Vec::new();
    while let Some(stat) = next.and_then(|process| process.stat().ok()).filter(|stat| stat.pid > 1) {
        all.push(stat.pid);
        next = procfs::process::Process::new(stat.ppid).ok();
    }
    all
}

#[cfg(not(target_os = "linux"))]
pub fn marked(_is: impl Fn(Mark) -> bool) -> Vec<u32> {
    Vec::new()
}

#[cfg(not(target_os = "linux"))]
pub fn start_time(_pid: u32) -> Option<u64> {
    None
}

#[cfg(not(target_os = "linux"))]
pub fn group_memory(_leaders: &[u32]) -> std::collections::HashMap<u32, u64> {
    std::collections::HashMap::new()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_is_gone_where_another_process_has_its_pid() {
        let own = own_mark();
        assert!(!is_gone(own));
        assert!(is_gone(DaemonMark::new(own.pid(), 0)));
        assert!(is_gone(DaemonMark::new(4_194_303, 0)), "or none has it");
    }
}
