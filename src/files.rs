//! Files and folders that are the user's alone.

use std::io;
use std::path::{Path, PathBuf};

/// Replaces a file in one step, readable for the user only.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    create_private(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    io::Write::write_all(&mut file, bytes)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Replaces a file of a person's in one step: its mode stays, and a link to it stays one. A new one is the user's alone.
pub fn rewrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = target.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    io::Write::write_all(&mut file, bytes)?;
    if let Ok(found) = std::fs::metadata(&target) {
        file.as_file().set_permissions(found.permissions())?;
    }
    file.as_file().sync_all()?;
    file.persist(&target).map_err(|error| error.error)?;
    Ok(())
}

/// Whether a file is one that only this user can have written.
pub fn check_ours(path: &Path) -> io::Result<()> {
    let found = std::fs::symlink_metadata(path)?;
    if !found.is_file() {
        return Err(io::Error::other("not a plain file"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if found.uid() != rustix::process::geteuid().as_raw() || found.mode() & 0o022 != 0 {
            return Err(io::Error::other("it belongs to another user, or others may write to it"));
        }
    }
    Ok(())
}

/// Why a folder is not the user's alone to write to.
#[derive(Debug, thiserror::Error)]
pub enum NotOurs {
    #[error(
        "{path} belongs to user id {owner}, not to you ({you}), and holds what trunkline trusts: name another place with --state-dir"
    )]
    Owner { path: PathBuf, owner: u32, you: u32 },
    #[error("others can write to {path} (mode {mode:04o}), which holds what trunkline trusts: run `chmod go-w {path}`")]
    Mode { path: PathBuf, mode: u32 },
    #[error("cannot look at {path}: {error}")]
    Unknown { path: PathBuf, error: io::Error },
}

/// Refuses a folder in which others could put what is read from there. One that is not there yet is nobody's.
#[cfg(unix)]
pub fn check_folder(path: &Path) -> Result<(), NotOurs> {
    use std::os::unix::fs::MetadataExt;
    let path = path.to_owned();
    let found = match std::fs::metadata(&path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(NotOurs::Unknown { path, error }),
    };
    let (owner, mode, you) = (found.uid(), found.mode() & 0o7777, rustix::process::geteuid().as_raw());
    if owner != you {
        Err(NotOurs::Owner { path, owner, you })
    } else if mode & 0o022 != 0 {
        Err(NotOurs::Mode { path, mode })
    } else {
        Ok(())
    }
}

/// On Windows, the profile's list of who may come in decides.
#[cfg(windows)]
pub fn check_folder(_path: &Path) -> Result<(), NotOurs> {
    Ok(())
}

/// Whether nobody but the user can read a file.
pub fn is_private(path: &Path) -> io::Result<bool> {
    let found = std::fs::metadata(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Ok(found.mode() & 0o077 == 0)
    }
    // On Windows, the folder's list of who may come in decides.
    #[cfg(windows)]
    Ok(found.is_file())
}

/// Makes a folder that only the user can look into.
pub fn create_private(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
