//! What the system tells of processes: when one started, what its group holds in memory. Linux only; elsewhere nothing
//! is known.

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

/// Resident memory of a process group, in bytes; pages that its processes share count for each.
#[cfg(target_os = "linux")]
pub fn group_memory(leaders: &[u32]) -> std::collections::HashMap<u32, u64> {
    let mut memory = std::collections::HashMap::new();
    let Ok(all) = procfs::process::all_processes() else { return memory };
    for stat in all.filter_map(|process| process.ok()?.stat().ok()) {
        if let Some(leader) = u32::try_from(stat.pgrp).ok().filter(|group| leaders.contains(group)) {
            *memory.entry(leader).or_default() += stat.rss * procfs::page_size();
        }
    }
    memory
}

/// Processes of a group whose environment has this variable.
#[cfg(target_os = "linux")]
pub fn marked(group: u32, name: &str, value: &str) -> bool {
    let Ok(all) = procfs::process::all_processes() else { return false };
    let of_group = |process: &procfs::process::Process| {
        process.stat().is_ok_and(|stat| u32::try_from(stat.pgrp).is_ok_and(|found| found == group))
    };
    let has_mark = |process: procfs::process::Process| {
        let environment = process.environ().unwrap_or_default();
        environment.get(std::ffi::OsStr::new(name)).is_some_and(|found| found == value)
    };
    all.filter_map(Result::ok).filter(of_group).any(has_mark)
}

#[cfg(not(target_os = "linux"))]
pub fn start_time(_pid: u32) -> Option<u64> {
    None
}

#[cfg(not(target_os = "linux"))]
pub fn group_memory(_leaders: &[u32]) -> std::collections::HashMap<u32, u64> {
    std::collections::HashMap::new()
}
