//! Where this program is, also after an upgrade has put another one in its place.

use std::env;
use std::path::{Path, PathBuf};

/// What is added to the name of a program whose file was replaced (`proc_pid_exe(5)`).
const DELETED: &str = " (deleted)";

/// The program that now stands where this one was started from, else the one that PATH leads to.
pub fn itself() -> anyhow::Result<PathBuf> {
    let name = env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let current = env::current_exe().ok();
    let folders: Vec<PathBuf> = env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    let found = candidates(&name, current.as_deref(), &folders).into_iter().find(|path| path.is_file());
    found.ok_or_else(|| {
        let was = current.unwrap_or(name);
        anyhow::anyhow!(
            "the program {} is gone, and no `trunkline` is in PATH: install it again, or put its new place into the agent's settings",
            was.display().to_string().trim_end_matches(DELETED)
        )
    })
}

/// Places to look at, in this order: what the program was called by comes first, because a package manager replaces what
/// a link leads to, and not the link.
fn candidates(name: &Path, current: Option<&Path>, folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let plain = name.components().count() == 1 && !name.is_absolute();
    if plain {
        all.extend(folders.iter().map(|folder| folder.join(name)));
    } else if !name.as_os_str().is_empty() {
        all.push(env::current_dir().map(|folder| folder.join(name)).unwrap_or_else(|_| name.to_owned()));
    }
    if let Some(current) = current {
        let text = current.display().to_string();
        all.push(text.strip_suffix(DELETED).map_or_else(|| current.to_owned(), PathBuf::from));
    }
    let own = format!("trunkline{}", env::consts::EXE_SUFFIX);
    all.extend(folders.iter().map(|folder| folder.join(&own)));
    all
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn where_it_is_looked_for() {
        let folders = ["/a".into(), "/b".into()];
        let found = |name: &str, current: &str| -> Vec<String> {
            let all = candidates(Path::new(name), Some(Path::new(current)), &folders);
            all.iter().map(|path| path.display().to_string()).collect()
        };
        assert_eq!(
            found("/opt/bin/trunkline", "/cellar/1/trunkline (deleted)"),
            ["/opt/bin/trunkline", "/cellar/1/trunkline", "/a/trunkline", "/b/trunkline"]
        );
        assert_eq!(found("tl", "/x/trunkline"), ["/a/tl", "/b/tl", "/x/trunkline", "/a/trunkline", "/b/trunkline"]);
    }
}
