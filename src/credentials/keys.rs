//! The key to the records: 32 bytes in the keyring of the operating system or, where there is none, in a file beside them.
//!
//! Which of them is decided once, when the first record is written, and stands in front of the records. A keyring that is
//! locked, or does not answer, is no reason to decide otherwise.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, TrySendError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::credentials::file::RecordFile;
use crate::credentials::key::{Key, Place};
use crate::credentials::keyring;
use crate::credentials::keyring::KeyringError;
use crate::files::{check_ours, create_private};

/// In bytes.
const LENGTH: usize = 32;
/// How long a keyring may take: it may be asking its user for a password.
const PATIENCE: Duration = Duration::from_secs(15);
/// How many may wait for the keyring.
const ASKS: usize = 64;
/// What the key is called in the keyring; the state folder tells one from another.
const SERVICE: &str = "trunkline";

/// Why there is no key.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeyError {
    #[error("their key is in the keyring, and there is none to ask ({0}): start the keyring that was used before")]
    NoKeyring(String),
    #[error("the keyring is locked ({0}): unlock it, and try again")]
    Locked(String),
    #[error("the keyring has not answered within {PATIENCE:?}: it may be asking you for its password")]
    Silent,
    #[error(
        "their key is not in the keyring (any more, or while it is locked): unlock it; if it is lost, move {0} away and log in again"
    )]
    Lost(PathBuf),
    #[error("the keyring failed: {0}")]
    Failed(String),
    #[error(
        "the key file {0} cannot be used ({1}): put it back; if it is lost, move `credentials` beside it away and log in again"
    )]
    File(PathBuf, String),
    #[error("no key can be kept ({0}): make the state folder writable, or name another with --state-dir")]
    Unwritable(String),
}

/// Handle to where keys are had from. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Keys(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: PathBuf,
    known: Mutex<Option<Key>>,
    /// The thread that talks to the keyring, and since when it has been at its last call.
    asks: mpsc::SyncSender<Ask>,
    since: Arc<Mutex<Option<Instant>>>,
}

type Ask = Box<dyn FnOnce() + Send>;

impl Keys {
    pub(super) fn new(state: &Path) -> Self {
        let (asks, queue) = mpsc::sync_channel::<Ask>(ASKS);
        let since = Arc::new(Mutex::new(None));
        let at = since.clone();
        let spawned = std::thread::Builder::new().name("keyring".to_owned()).spawn(move || {
            while let Ok(ask) = queue.recv() {
                *at.lock() = Some(Instant::now());
                ask();
                *at.lock() = None;
            }
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread for the keyring: it cannot be used");
        }
        Self(Arc::new(Shared { state: state.to_owned(), known: Mutex::default(), asks, since }))
    }

    /// The key that is kept in this place.
    pub(super) async fn get(&self, place: Place) -> Result<Key, KeyError> {
        if let Some(key) = self.0.known.lock().clone().filter(|key| key.place == place) {
            return Ok(key);
        }
        let key = match place {
            Place::File => self.read_file()?,
            Place::Keyring => {
                let found = self.ask(|user| keyring::get(SERVICE, user)).await?.map_err(KeyError::from)?;
                of_text(&found.ok_or_else(|| KeyError::Lost(self.0.state.join("credentials")))?)?
            }
        };
        *self.0.known.lock() = Some(key.clone());
        Ok(key)
    }

    /// What another program keeps in the keyring under these names.
    pub(super) async fn foreign(&self, service: &'static str, user: String) -> Result<Option<SecretString>, KeyError> {
        Ok(self.ask(move |_| keyring::get(service, &user)).await??)
    }

    /// Takes the key out of the keyring: what was encrypted with it cannot be read any more.
    pub(super) async fn remove(&self) -> Result<(), KeyError> {
        self.forget();
        Ok(self.ask(|user| keyring::remove(SERVICE, user)).await??)
    }

    /// Has the key read anew the next time.
    pub(super) fn forget(&self) {
        self.0.known.lock().take();
    }

    /// The key for records that there are none of yet: a key file if there is one, else the keyring, else a new key file.
    pub(super) async fn choose(&self) -> Result<Key, KeyError> {
        if let Some(key) = self.0.known.lock().clone() {
            return Ok(key);
        }
        let path = self.path();
        let key = if path.exists() {
            self.read_file()?
        } else {
            let file = RecordFile::new(&self.0.state);
            // Two processes that begin at the same time must not make two keys.
            let made = self.ask(move |user| file.lock().map(|_lock| found_or_made(user))).await?;
            match made.map_err(|error| KeyError::Unwritable(error.to_string()))? {
                Ok(text) => of_text(&text)?,
                Err(KeyringError::Absent(reason)) => {
                    tracing::warn!(reason, path = %path.display(), "there is no keyring: the key to logins and secrets is kept in a file, which anybody who can read your files can use");
                    self.make_file()?
                }
                Err(error) => return Err(error.into()),
            }
        };
        *self.0.known.lock() = Some(key.clone());
        Ok(key)
    }

    fn path(&self) -> PathBuf {
        self.0.state.join("credentials.key")
    }

    /// Has the keyring's thread do something, and waits no longer than is bearable.
    async fn ask<T: Send + 'static>(&self, ask: impl FnOnce(&str) -> T + Send + 'static) -> Result<T, KeyError> {
        // One call that is not answered would have every other wait behind it.
        if self.0.since.lock().is_some_and(|since| since.elapsed() >= PATIENCE) {
            return Err(KeyError::Silent);
        }
        let user = self.0.state.display().to_string();
        let (sender, done) = oneshot::channel();
        let work: Ask = Box::new(move || {
            // What nobody waits for any more is not done late.
            if !sender.is_closed() {
                drop(sender.send(ask(&user)));
            }
        });
        let gone = || KeyError::Failed("its thread has ended".to_owned());
        self.0.asks.try_send(work).map_err(|error| match error {
            TrySendError::Full(_) => KeyError::Silent,
            TrySendError::Disconnected(_) => gone(),
        })?;
        match timeout(PATIENCE, done).await {
            Ok(answer) => answer.map_err(|_| gone()),
            Err(_) => Err(KeyError::Silent),
        }
    }

    fn read_file(&self) -> Result<Key, KeyError> {
        let path = self.path();
        let wrong = |error: io::Error| KeyError::File(path.clone(), error.to_string());
        check_ours(&path).map_err(wrong)?;
        let bytes = fs::read(&path).map_err(wrong)?;
        if bytes.len() != LENGTH {
            return Err(KeyError::File(path.clone(), format!("it has {} bytes, and a key has {LENGTH}", bytes.len())));
        }
        Ok(Key { bytes: bytes.into(), place: Place::File })
    }

    fn make_file(&self) -> Result<Key, KeyError> {
        let path = self.path();
        let wrong = |error: io::Error| KeyError::Unwritable(error.to_string());
        let bytes = random().map_err(|reason| KeyError::File(path.clone(), reason))?;
        create_private(&self.0.state).map_err(wrong)?;
        let mut file =
            tempfile::Builder::new().prefix(".credentials.key-").tempfile_in(&self.0.state).map_err(wrong)?;
        file.write_all(bytes.expose_secret()).and_then(|()| file.as_file().sync_all()).map_err(wrong)?;
        match file.persist_noclobber(&path) {
            Ok(_) => Ok(Key { bytes, place: Place::File }),
            // Somebody was faster: that is the key.
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => self.read_file(),
            Err(error) => Err(wrong(error.error)),
        }
    }
}

impl From<KeyringError> for KeyError {
    fn from(error: KeyringError) -> Self {
        match error {
            KeyringError::Absent(reason) => Self::NoKeyring(reason),
            KeyringError::Locked(reason) => Self::Locked(reason),
            KeyringError::Failed(reason) => Self::Failed(reason),
        }
    }
}

/// The key in the keyring, as text; made, and read back, where there is none yet.
fn found_or_made(user: &str) -> Result<SecretString, KeyringError> {
    if let Some(found) = keyring::get(SERVICE, user)? {
        return Ok(found);
    }
    let made = random().map_err(KeyringError::Failed)?;
    let made = SecretString::from(BASE64_STANDARD.encode(made.expose_secret()));
    keyring::set(SERVICE, user, &made)?;
    match keyring::get(SERVICE, user)? {
        Some(found) if found.expose_secret() == made.expose_secret() => Ok(found),
        Some(_) | None => Err(KeyringError::Failed("it does not keep what it is given".to_owned())),
    }
}

fn of_text(text: &SecretString) -> Result<Key, KeyError> {
    let bytes = BASE64_STANDARD.decode(text.expose_secret()).ok().filter(|bytes| bytes.len() == LENGTH);
    let bytes =
        bytes.ok_or_else(|| KeyError::Failed(format!("what stands under `{SERVICE}` is no key of {LENGTH} bytes")))?;
    Ok(Key { bytes: bytes.into(), place: Place::Keyring })
}

fn random() -> Result<SecretSlice<u8>, String> {
    let mut bytes = vec![0; LENGTH];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "the system gives no random numbers".to_owned())?;
    Ok(bytes.into())
}
