//! Catalogs across restarts: one file for each upstream, trusted only if it is ours and of the same configuration.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::{Given, Secrets, ServerConfig, Transport, find_program};
use crate::files::{check_ours, replace};
use crate::upstream::catalog::catalogs::Catalogs;

/// Counts changes of the file's form.
const FORM: u32 = 1;

#[derive(Serialize, Deserialize)]
struct File<C> {
    form: u32,
    /// What the catalogs depend on; see [`fingerprint`].
    of: String,
    catalogs: C,
}

/// A hash of what a server's offer depends on: its configuration, its program as it is now, and trunkline itself.
pub fn fingerprint(server: &ServerConfig) -> String {
    let mut hasher = DefaultHasher::new();
    env!("CARGO_PKG_VERSION").hash(&mut hasher);
    for template in server.templates() {
        template.text().hash(&mut hasher);
    }
    let program = match &server.transport {
        Transport::Stdio(stdio) => {
            stdio.env.keys().for_each(|name| name.hash(&mut hasher));
            stdio.env_vars.hash(&mut hasher);
            stdio.env_file.as_ref().map(|file| file.text()).hash(&mut hasher);
            let given = Given { project: None, secrets: &Secrets::new() };
            let command = stdio.command.expand(given).ok();
            let found = command.and_then(|command| find_program(&stdio.program(&command), std::env::var_os("PATH")));
            found.and_then(|program| fs::metadata(program).ok())
        }
        Transport::Http(http) => {
            http.headers.keys().for_each(|name| name.hash(&mut hasher));
            http.account.hash(&mut hasher);
            None
        }
    };
    format!("{:?} {:?}", server.era, server.share).hash(&mut hasher);
    if let Some(found) = program {
        found.len().hash(&mut hasher);
        found.modified().ok().hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

/// What an earlier daemon left for this fingerprint; nothing if there is none. A file that is not to be trusted is set
/// aside, under the same name with `.rejected`.
pub fn load(path: &Path, of: &str) -> Catalogs {
    match read(path) {
        Ok(File { form: FORM, of: found, catalogs }) if found == of => catalogs,
        Ok(_) => Catalogs::default(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Catalogs::default(),
        Err(error) => {
            let aside = path.with_extension("rejected");
            let moved = fs::rename(path, &aside);
            tracing::warn!(%error, path = %path.display(), moved = moved.is_ok(), "catalog set aside: it is not one that trunkline wrote");
            Catalogs::default()
        }
    }
}

fn read(path: &Path) -> io::Result<File<Catalogs>> {
    check_ours(path)?;
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

pub fn save(path: &Path, of: &str, catalogs: &Catalogs) -> io::Result<()> {
    let file = File { form: FORM, of: of.to_owned(), catalogs };
    replace(path, &serde_json::to_vec(&file)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_is_set_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("catalogs/x.json");
        let mut catalogs = Catalogs::default();
        catalogs.interactive = Some("elicitation/create".into());
        save(&path, "1", &catalogs).expect("saved");
        assert_eq!(load(&path, "1").interactive, catalogs.interactive);
        assert_eq!(load(&path, "2").interactive, None);
        assert!(path.exists(), "another configuration's is written over, not set aside");
        for bytes in [&b"{\"form\":1"[..], b"\xff", b"[]"] {
            fs::write(&path, bytes).expect("written");
            assert_eq!(load(&path, "1").interactive, None);
            assert!(!path.exists() && path.with_extension("rejected").exists());
        }
        save(&path, "1", &catalogs).expect("saved");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("changed");
            assert_eq!(load(&path, "1").interactive, None);
        }
    }
}
