//! The file in which logins and secrets are kept: one line that says how, and then the encrypted records.
//!
//! It is replaced in one step, so that whoever ends in the middle leaves the old or the new one. The line in front is
//! authenticated with the rest.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use serde::{Deserialize, Serialize};

use crate::credentials::key::{Key, Place};
use crate::credentials::record::Records;
use crate::files::create_private;
use crate::retry::Backoff;

/// Counts changes of the file's form.
const FORM: u32 = 1;
/// The longest first line, in bytes.
const HEAD: u64 = 4096;
/// The first pause before a lock is tried for again, and how long it is.
const LOCK: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(5));

/// The first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    form: u32,
    key: Place,
}

/// Why records cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("cannot {doing} {path}: {error}")]
    Io { doing: &'static str, path: PathBuf, error: io::Error },
    /// What stands there is not what was written.
    #[error("{0}")]
    Damaged(String),
    #[error("it is of a newer trunkline (form {0}): use that one")]
    Newer(u32),
}

/// One file of records.
#[derive(Debug, Clone)]
pub(super) struct RecordFile {
    path: PathBuf,
}

/// Tells one version of the file from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp(u64, Option<SystemTime>, u64);

impl RecordFile {
    pub(super) fn new(state: &Path) -> Self {
        Self { path: state.join("credentials") }
    }

    fn io_error(&self, doing: &'static str) -> impl FnOnce(io::Error) -> FileError {
        let path = self.path.clone();
        move |error| FileError::Io { doing, path, error }
    }

    /// Keeps other processes out until it is dropped.
    pub(super) fn lock(&self) -> Result<File, FileError> {
        create_private(self.path.parent().unwrap_or(Path::new("."))).map_err(self.io_error("make the folder of"))?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let lock = options.open(self.path.with_extension("lock")).map_err(self.io_error("lock"))?;
        let mut backoff = Backoff::new(LOCK.0, LOCK.0 * 16, LOCK.1);
        loop {
            match (lock.try_lock(), backoff.pause()) {
                (Ok(()), _) => return Ok(lock),
                (Err(TryLockError::WouldBlock), Some(pause)) => std::thread::sleep(pause),
                (Err(TryLockError::WouldBlock), None) => {
                    return Err(self.io_error("lock")(io::Error::other("another process holds it")));
                }
                (Err(TryLockError::Error(error)), _) => return Err(self.io_error("lock")(error)),
            }
        }
    }

    /// Which version is there now, if there is one.
    pub(super) fn stamp(&self) -> Result<Option<Stamp>, FileError> {
        let found = match fs::metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io_error("read")(error)),
        };
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&found);
        #[cfg(not(unix))]
        let inode = 0;
        Ok(Some(Stamp(inode, found.modified().ok(), found.len())))
    }

    /// Where the key to the file is kept; nothing if there is no file.
    pub(super) fn place(&self) -> Result<Option<Place>, FileError> {
        let mut bytes = Vec::new();
        let read =
            File::open(&self.path).and_then(|file| BufReader::new(file.take(HEAD)).read_until(b'\n', &mut bytes));
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io_error("read")(error)),
        }
        self.split(&bytes).map(|(head, _, _)| Some(head.key))
    }

    fn split<'b>(&self, bytes: &'b [u8]) -> Result<(Head, &'b [u8], &'b [u8]), FileError> {
        let damaged = || FileError::Damaged(format!("{} does not begin as trunkline writes it", self.path.display()));
        let end = memchr::memchr(b'\n', bytes).ok_or_else(damaged)?;
        let head: Head = serde_json::from_slice(&bytes[..end]).map_err(|_| damaged())?;
        if head.form > FORM {
            return Err(FileError::Newer(head.form));
        }
        Ok((head, &bytes[..end], &bytes[end + 1..]))
    }

    pub(super) fn read(&self, key: &Key) -> Result<Records, FileError> {
        let damaged = |what: &str| FileError::Damaged(format!("{} {what}", self.path.display()));
        let bytes = fs::read(&self.path).map_err(self.io_error("read"))?;
        let (head, line, sealed) = self.split(&bytes)?;
        if head.key != key.place {
            return Err(self.io_error("read")(io::Error::other("it was written anew meanwhile: try again")));
        }
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or_else(|| damaged("is cut short"))?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged("is cut short"))?;
        let mut open = sealed.to_vec();
        let plain = self
            .cipher(key)?
            .open_in_place(nonce, Aad::from(line), &mut open)
            .map_err(|_| damaged("is not what was written with the key at hand"))?;
        let records = serde_json::from_slice(plain);
        // Its words could quote what is secret.
        records.map_err(|error| damaged(&format!("holds records that cannot be read (column {})", error.column())))
    }

    pub(super) fn write(&self, key: &Key, records: &Records) -> Result<(), FileError> {
        let head = Head { form: FORM, key: key.place };
        let mut bytes = serde_json::to_vec(&head).map_err(|error| self.io_error("write")(error.into()))?;
        let mut sealed = serde_json::to_vec(records).map_err(|error| self.io_error("write")(error.into()))?;
        let nonce = self
            .cipher(key)?
            .seal_in_place_append_tag(Aad::from(&bytes), &mut sealed)
            .map_err(|_| self.io_error("encrypt")(io::Error::other("the cipher failed")))?;
        bytes.push(b'\n');
        bytes.extend_from_slice(nonce.as_ref());
        bytes.extend_from_slice(&sealed);
        self.replace(&bytes).map_err(self.io_error("write"))
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        create_private(folder)?;
        // Readable for the user only from its first moment on.
        let mut file = tempfile::Builder::new().prefix(".credentials-").tempfile_in(folder)?;
        crash::here("created");
        let half = bytes.len() / 2;
        file.write_all(&bytes[..half])?;
        crash::here("half");
        file.write_all(&bytes[half..])?;
        crash::here("written");
        file.as_file().sync_all()?;
        crash::here("synced");
        file.persist(&self.path).map_err(|error| error.error)?;
        crash::here("renamed");
        #[cfg(unix)]
        File::open(folder)?.sync_all()?;
        crash::here("done");
        Ok(())
    }

    fn cipher(&self, key: &Key) -> Result<RandomizedNonceKey, FileError> {
        use secrecy::ExposeSecret;
        RandomizedNonceKey::new(&AES_256_GCM, key.bytes.expose_secret())
            .map_err(|_| FileError::Damaged("the key has the wrong length".to_owned()))
    }

    /// Removes what writes that were cut off left behind.
    pub(super) fn sweep(&self) {
        let entries = self.path.parent().and_then(|folder| fs::read_dir(folder).ok());
        for entry in entries.into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(".credentials-")
                && let Err(error) = fs::remove_file(entry.path())
            {
                tracing::debug!(%error, "left-over file stays");
            }
        }
    }

    /// A file that was put aside, by whomever.
    pub(super) fn set_aside_before(&self) -> Option<PathBuf> {
        let mut entries = fs::read_dir(self.path.parent()?).ok()?.flatten();
        let found = entries.find(|entry| entry.file_name().to_string_lossy().starts_with("credentials.rejected"));
        found.map(|entry| entry.path())
    }

    /// Puts a file that is of no use aside, and returns its new name.
    pub(super) fn set_aside(&self) -> Result<PathBuf, FileError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let names = (1..).map(|number| match number {
            1 => format!("rejected-{now}"),
            _ => format!("rejected-{now}-{number}"),
        });
        let mut free = names.map(|name| self.path.with_extension(name)).filter(|path| !path.exists());
        let aside = free.next().unwrap_or_else(|| self.path.with_extension("rejected"));
        fs::rename(&self.path, &aside).map_err(self.io_error("set aside"))?;
        Ok(aside)
    }
}

/// Where tests end the process in the middle of a write.
mod crash {
    #[cfg(debug_assertions)]
    pub(super) fn here(point: &str) {
        if std::env::var("TRUNKLINE_CRASH_AT").is_ok_and(|named| named == point) {
            #[cfg(unix)]
            if rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).is_ok() {
                std::thread::park();
            }
        }
    }

    #[cfg(not(debug_assertions))]
    pub(super) fn here(_point: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key { bytes: vec![byte; 32].into(), place: Place::File }
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = RecordFile::new(folder.path());
        let mut records = Records::default();
        records.secrets.insert("name".to_owned(), "canary".into());
        file.write(&key(1), &records).expect("written");
        let names = |key: &Key| file.read(key).map(|records| records.secrets.into_keys().collect::<Vec<_>>());
        assert_eq!(names(&key(1)).expect("read"), ["name"]);
        assert!(matches!(names(&key(2)), Err(FileError::Damaged(_))));
        let bytes = fs::read(folder.path().join("credentials")).expect("there");
        assert!(!String::from_utf8_lossy(&bytes).contains("canary"));
        for at in [0, 12, 40, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            fs::write(folder.path().join("credentials"), &damaged).expect("written");
            assert!(names(&key(1)).is_err(), "byte {at}");
        }
        fs::write(folder.path().join("credentials"), "{\"form\":9,\"key\":\"file\"}\n").expect("written");
        assert!(matches!(names(&key(1)), Err(FileError::Newer(9))));
        let aside = file.set_aside().expect("moved");
        assert!(aside.exists() && matches!(file.stamp(), Ok(None)));
    }
}
