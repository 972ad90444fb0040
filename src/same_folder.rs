//! Whether two processes mean the same folder by the same path: they may be on two machines, or in two containers.

use std::path::Path;

use crate::processes;

/// What a folder is, for one boot of one system; `None` where that cannot be told.
#[cfg(unix)]
pub fn identity(folder: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(folder).ok()?;
    Some(format!("{}:{}:{}", processes::boot(), found.dev(), found.ino()))
}

#[cfg(windows)]
pub fn identity(_folder: &Path) -> Option<String> {
    Some(processes::boot())
}

/// What this machine, or this container, calls itself.
pub fn host() -> Option<String> {
    let file =
        std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::fs::read_to_string("/etc/hostname"));
    let name = file.ok().or_else(|| std::env::var("COMPUTERNAME").ok()).or_else(|| std::env::var("HOSTNAME").ok())?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}
