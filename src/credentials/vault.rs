//! Who alone reads and writes the records: a thread of its own, so that neither a slow disk nor a keyring that asks its
//! user something holds anybody else up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, TrySendError};

use crate::credentials::codex;
use crate::credentials::codex::ForeignLogin;
use crate::credentials::file::{FileError, RecordFile, Stamp};
use crate::credentials::key::{Key, Place};
use crate::credentials::keys::{KeyError, Keys};
use crate::credentials::record::Records;
use parking_lot::Mutex;
use secrecy::SecretString;
use tokio::sync::oneshot;

/// How many may wait for the disk.
const JOBS: usize = 1024;

type Job = Box<dyn FnOnce(&mut Cabinet) + Send>;

/// Handle to the records of one state folder. Clones share it.
#[derive(Debug, Clone)]
pub struct Vault {
    jobs: mpsc::SyncSender<Job>,
    file: RecordFile,
    keys: Keys,
    /// What a person should know of it.
    notice: Arc<Mutex<Option<String>>>,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum VaultError {
    #[error("logins and secrets cannot be had: {0}")]
    Key(KeyError),
    #[error("{0}")]
    File(String),
    #[error("logins and secrets cannot be had now: too many wait for the disk")]
    Busy,
    #[error("trunkline is ending")]
    Ended,
}

impl From<KeyError> for VaultError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

/// The records as they were read last.
#[derive(Debug)]
struct Cabinet {
    file: RecordFile,
    /// Which version of the file they are of, once it was read.
    known: Option<Option<Stamp>>,
    records: Records,
    notice: Arc<Mutex<Option<String>>>,
}

impl Vault {
    /// The records of a state folder. Nothing is read, and no keyring asked, before somebody needs it.
    pub fn open(state: &Path) -> Self {
        let file = RecordFile::new(state);
        let (jobs, queue) = mpsc::sync_channel::<Job>(JOBS);
        let notice = Arc::new(Mutex::new(None));
        let mut cabinet =
            Cabinet { file: file.clone(), known: None, records: Records::default(), notice: notice.clone() };
        let spawned = std::thread::Builder::new().name("credentials".to_owned()).spawn(move || {
            while let Ok(job) = queue.recv() {
                job(&mut cabinet);
            }
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread for logins and secrets: they cannot be used");
        }
        Self { jobs, file, keys: Keys::new(state), notice }
    }

    /// Looks at the records as they are now.
    pub async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Records) -> T + Send + 'static,
    ) -> Result<T, VaultError> {
        let place = self.file.place().map_err(|error| VaultError::File(error.to_string()));
        let key = match place {
            Ok(None) => return Ok(look(&Records::default())),
            Ok(Some(place)) => Some(self.key(place).await?),
            // What stands there is no file of records, which the reading says.
            Err(_) => None,
        };
        self.run(move |cabinet| cabinet.read(key.as_ref()).map(look)).await?
    }

    /// Changes the records: when this returns, the change is on the disk.
    pub async fn update<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Records) -> T + Send + 'static,
    ) -> Result<T, VaultError> {
        let place = match self.file.place() {
            Ok(place) => place,
            // What stands there will be put aside.
            Err(FileError::Damaged(_)) => None,
            Err(error) => return Err(VaultError::File(error.to_string())),
        };
        let key = match place {
            Some(place) => self.key(place).await?,
            None => self.keys.choose().await?,
        };
        self.run(move |cabinet| cabinet.update(&key, change)).await?
    }

    /// The key to the records. It is asked for anew if the one at hand does not fit: somebody may have replaced both.
    async fn key(&self, place: Place) -> Result<Key, VaultError> {
        let key = self.keys.get(place).await?;
        let tried = key.clone();
        if self.run(move |cabinet| cabinet.fits(&tried)).await? {
            return Ok(key);
        }
        self.keys.forget();
        Ok(self.keys.get(place).await?)
    }

    /// The secrets of these names, of those that there are.
    pub async fn secrets(&self, names: BTreeSet<String>) -> Result<BTreeMap<String, SecretString>, VaultError> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        self.read(move |records| {
            let wanted = records.secrets.iter().filter(|(name, _)| names.contains(*name));
            wanted.map(|(name, secret)| (name.clone(), secret.clone())).collect()
        })
        .await
    }

    /// The login at a server that Codex keeps, whose home folder this is.
    pub async fn codex_login(
        &self,
        home: PathBuf,
        server: String,
        url: String,
    ) -> Result<Option<ForeignLogin>, VaultError> {
        let mut trouble = None;
        // It keeps the URL as it is written; a bare one has no slash at its end there.
        for url in [url.as_str(), url.trim_end_matches('/')] {
            match self.keys.foreign(codex::SERVICE, codex::account(&server, url)).await {
                Ok(entry) => {
                    if let Some(login) = entry.as_ref().and_then(codex::of_keyring) {
                        return Ok(Some(login));
                    }
                }
                Err(error) => trouble = Some(error),
            }
        }
        let path = home.clone();
        let found = self.run(move |_| codex::in_file(&home, &server, &url)).await?;
        let found = found
            .map_err(|error| VaultError::File(format!("cannot read the logins in {}: {error}", path.display())))?;
        match (found, trouble) {
            (None, Some(KeyError::NoKeyring(_)) | None) => Ok(None),
            (None, Some(error)) => Err(error.into()),
            (Some(login), _) => Ok(Some(login)),
        }
    }

    /// Where the key is kept, if there are records.
    pub fn place(&self) -> Option<Place> {
        self.file.place().ok().flatten()
    }

    /// Takes the key out of the keyring, if it is there: for when the records go too.
    pub async fn forget_key(&self) -> Result<(), VaultError> {
        match self.place() {
            Some(Place::Keyring) => Ok(self.keys.remove().await?),
            Some(Place::File) | None => Ok(()),
        }
    }

    /// What happened that a person should know of, here or in another process.
    pub fn notice(&self) -> Option<String> {
        let aside = || {
            let path = self.file.set_aside_before()?;
            Some(format!(
                "a damaged file of logins and secrets was put aside as {}: remove it when you do not miss it",
                path.display()
            ))
        };
        self.notice.lock().clone().or_else(aside)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Cabinet) -> T + Send + 'static,
    ) -> Result<T, VaultError> {
        let (sender, done) = oneshot::channel();
        let job: Job = Box::new(move |cabinet| drop(sender.send(work(cabinet))));
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => VaultError::Busy,
            TrySendError::Disconnected(_) => VaultError::Ended,
        })?;
        done.await.map_err(|_| VaultError::Ended)
    }
}

impl Cabinet {
    fn read(&mut self, key: Option<&Key>) -> Result<&Records, VaultError> {
        let _lock = self.file.lock().map_err(|error| VaultError::File(error.to_string()))?;
        self.refresh(key)?;
        Ok(&self.records)
    }

    /// Whether a key opens the records, as far as that can be told.
    fn fits(&self, key: &Key) -> bool {
        let known = self.file.stamp().is_ok_and(|stamp| self.known == Some(stamp));
        known || !matches!(self.file.read(key), Err(FileError::Damaged(_)))
    }

    fn update<T>(&mut self, key: &Key, change: impl FnOnce(&mut Records) -> T) -> Result<T, VaultError> {
        let failed = |error: FileError| VaultError::File(error.to_string());
        let _lock = self.file.lock().map_err(failed)?;
        self.file.sweep();
        self.refresh(Some(key))?;
        let mut records = self.records.clone();
        let result = change(&mut records);
        self.file.write(key, &records).map_err(failed)?;
        (self.known, self.records) = (self.file.stamp().ok(), records);
        Ok(result)
    }

    /// Reads the file if it is another than the one that is known. One that is damaged is put aside, and nothing is known
    /// from then on.
    fn refresh(&mut self, key: Option<&Key>) -> Result<(), VaultError> {
        let stamp = self.file.stamp().map_err(|error| VaultError::File(error.to_string()))?;
        if self.known.as_ref().is_some_and(|known| *known == stamp) {
            return Ok(());
        }
        let read = match (&stamp, key) {
            (None, _) => Ok(Records::default()),
            (Some(_), Some(key)) => self.file.read(key),
            (Some(_), None) => match self.file.place() {
                Err(error) => Err(error),
                Ok(_) => {
                    return Err(VaultError::File("the records changed while they were read: try again".to_owned()));
                }
            },
        };
        let records = match read {
            Ok(records) => records,
            Err(FileError::Damaged(what)) => {
                let aside = self.file.set_aside().map_err(|error| VaultError::File(error.to_string()))?;
                let notice = format!(
                    "{what}: it was put aside as {}; log in again, and keep secrets again, where that is needed",
                    aside.display()
                );
                tracing::error!("{notice}");
                *self.notice.lock() = Some(notice);
                Records::default()
            }
            Err(error) => return Err(VaultError::File(error.to_string())),
        };
        (self.known, self.records) = (self.file.stamp().ok(), records);
        Ok(())
    }
}
