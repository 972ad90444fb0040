//! Takes calls that have ended, and has a thread of its own write them.
//!
//! To take one costs some 20 bytes at the end of a bounded buffer. What the thread is too slow for is counted and said, and so is
//! what cannot be written: a full disk or a broken file stops the record, and nothing else.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::broadcast;

use crate::lines::is_told;
use crate::record::call::Call;
use crate::record::limits::Limits;
use crate::record::ring::{Batch, Known, Ring};
use crate::record::shape::CallShape;
use crate::record::store::{Names, Store, StoreError};

/// From how many calls on the thread does not wait for more.
const HURRY: usize = 4096;
/// How long a call may wait to be written.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long it is waited for more, where the last ones are written.
const GATHERS: Duration = Duration::from_millis(20);
/// How long a reader waits for what is to be written.
const FLUSH: Duration = Duration::from_secs(2);
/// How long it is not tried again to write, where that has failed.
const PAUSE: Duration = Duration::from_secs(5);
/// How far a watcher may fall behind before it misses calls.
const FOLLOW: usize = 1024;

/// Takes calls. Clones share the record.
#[derive(Debug, Clone)]
pub struct Recorder(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    filled: Condvar,
    /// Told when all is written.
    written: Condvar,
    /// For those who watch.
    live: broadcast::Sender<Arc<CallShape>>,
    /// Calls that are in no record.
    lost: AtomicU64,
    /// Whether calls are written.
    writes: AtomicBool,
    trouble: Mutex<Option<String>>,
    limits: Mutex<Limits>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Waiting {
    ring: Ring,
    ended: bool,
    /// What was taken last is not written yet.
    writing: bool,
    /// Somebody waits for what is to be written.
    hurries: bool,
}

impl Recorder {
    /// A record in `file`; `writes` says whether calls are written at all.
    pub fn new(file: PathBuf, writes: bool, limits: Limits) -> Self {
        let recorder = Self(Arc::new(Shared {
            waiting: Mutex::default(),
            filled: Condvar::new(),
            written: Condvar::new(),
            live: broadcast::channel(FOLLOW).0,
            lost: AtomicU64::new(0),
            writes: AtomicBool::new(writes),
            trouble: Mutex::default(),
            limits: Mutex::new(limits),
            writer: Mutex::default(),
        }));
        let shared = recorder.0.clone();
        let writer = std::thread::Builder::new().name("record".to_owned()).spawn(move || shared.write_all(&file));
        match writer {
            Ok(writer) => *recorder.0.writer.lock() = Some(writer),
            Err(error) => recorder.0.fail(&format!("its thread cannot be started: {error}"), 0),
        }
        recorder
    }

    /// Takes over other settings.
    pub fn set(&self, writes: bool, limits: Limits) {
        self.0.writes.store(writes, Ordering::Relaxed);
        *self.0.limits.lock() = limits;
    }

    /// Takes a call that has ended; `written` says whether its server's are recorded.
    pub fn push(&self, call: &Call, written: bool) {
        if self.0.live.receiver_count() > 0 {
            // That the last one has just left is no error.
            drop(self.0.live.send(Arc::new(CallShape::from(call))));
        }
        if !written || !self.0.writes.load(Ordering::Relaxed) {
            return;
        }
        let mut waiting = self.0.waiting.lock();
        let taken = waiting.ring.push(call);
        drop(waiting);
        match taken {
            Some(count) if count == 1 || count == HURRY => drop(self.0.filled.notify_one()),
            Some(_) => {}
            None => {
                let lost = self.0.lost.fetch_add(1, Ordering::Relaxed) + 1;
                if is_told(lost) {
                    tracing::warn!(lost, "calls are missing in the record: they came faster than they can be written");
                }
            }
        }
    }

    /// Every call that ends from now on.
    pub fn watch(&self) -> broadcast::Receiver<Arc<CallShape>> {
        self.0.live.subscribe()
    }

    /// Waits until what has ended so far is written. Blocks.
    pub fn flush(&self) {
        let until = Instant::now() + FLUSH;
        let mut waiting = self.0.waiting.lock();
        waiting.hurries = true;
        self.0.filled.notify_one();
        while (waiting.writing || !waiting.ring.is_empty())
            && !self.0.written.wait_until(&mut waiting, until).timed_out()
        {}
    }

    /// How many calls are missing in the record since the daemon started.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Why nothing is written now, if nothing is.
    pub fn trouble(&self) -> Option<String> {
        self.0.trouble.lock().clone()
    }

    /// Writes what waits, and ends.
    pub fn close(&self) {
        self.0.waiting.lock().ended = true;
        self.0.filled.notify_one();
        let writer = self.0.writer.lock().take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the thread of the record has failed");
        }
    }
}

impl Shared {
    /// Waits for calls, and takes all that wait; nothing at the end. `last` is when something was written last.
    fn take(&self, batch: &mut Batch, last: Option<Instant>) -> bool {
        let mut waiting = self.waiting.lock();
        waiting.writing = false;
        self.written.notify_all();
        while waiting.ring.is_empty() && !waiting.ended {
            self.filled.wait(&mut waiting);
        }
        let now = Instant::now();
        // One call alone is found at once; of many, more go into one step.
        let until = last.map_or(now, |last| last + PATIENCE).max(now + GATHERS);
        while waiting.ring.count() < HURRY
            && !waiting.ended
            && !waiting.hurries
            && !self.filled.wait_until(&mut waiting, until).timed_out()
        {}
        waiting.ring.take(batch);
        (waiting.writing, waiting.hurries) = (true, false);
        batch.count > 0
    }

    fn fail(&self, reason: &str, missing: usize) {
        self.lost.fetch_add(missing as u64, Ordering::Relaxed);
        let before = self.trouble.lock().replace(reason.to_owned());
        if before.as_deref() != Some(reason) {
            tracing::warn!(reason, "calls are not recorded; they go on");
        }
    }

    /// Sets a file aside that cannot be gone on with, and begins another one.
    fn begin_anew(&self, file: &Path, error: &StoreError) -> Result<Store, StoreError> {
        let kept = Store::set_aside(file)?;
        tracing::warn!(%error, kept = %kept.display(), "the record of calls was broken: it is set aside, and a new one begun");
        Store::open(file)
    }

    /// Opens the file. In one that has calls, things have the numbers that they were given there: what was numbered otherwise so far
    /// is lost.
    fn open(&self, file: &Path, batch: &mut Batch) -> Result<Store, StoreError> {
        let opened = Store::open(file).and_then(|store| {
            let known = store.known()?;
            Ok((store, known))
        });
        let (store, known) = match opened {
            Err(error) if error.is_broken() => (self.begin_anew(file, &error)?, Known::default()),
            opened => opened?,
        };
        let mut waiting = self.waiting.lock();
        if known.is_empty() {
            batch.renew(&mut waiting.ring);
        } else {
            let gone = waiting.ring.begin_with(known) + batch.count;
            drop(waiting);
            batch.forget();
            self.lost.fetch_add(gone as u64, Ordering::Relaxed);
        }
        Ok(store)
    }

    /// Writes a batch.
    fn write(&self, store: Option<Store>, file: &Path, batch: &mut Batch) -> Result<Store, StoreError> {
        let limits = *self.limits.lock();
        let mut store = match store.filter(|store| store.is_in_place(file)) {
            Some(store) => store,
            None => self.open(file, batch)?,
        };
        if batch.count == 0 {
            return Ok(store);
        }
        let names = match store.write(batch, limits) {
            Err(error) if error.is_broken() => {
                store = self.begin_anew(file, &error)?;
                batch.renew(&mut self.waiting.lock().ring);
                store.write(batch, limits)?
            }
            written => written?,
        };
        if names == Names::Dropped {
            batch.renew(&mut self.waiting.lock().ring);
        }
        Ok(store)
    }

    /// Writes calls until the daemon ends.
    fn write_all(&self, file: &Path) {
        let mut batch = Batch::default();
        // Numbers that a file has are known before the first call, also where calls are not written yet.
        let is_wanted = self.writes.load(Ordering::Relaxed) || file.exists();
        let opens = is_wanted.then(|| self.open(file, &mut batch));
        let mut store = opens.and_then(|opened| opened.map_err(|error| self.fail(&error.to_string(), 0)).ok());
        let (mut last, mut not_before) = (None, None::<Instant>);
        while self.take(&mut batch, last) {
            if not_before.is_some_and(|moment| Instant::now() < moment) {
                self.lost.fetch_add(batch.count as u64, Ordering::Relaxed);
                batch.clear();
                continue;
            }
            match self.write(store.take(), file, &mut batch) {
                Ok(written) => {
                    store = Some(written);
                    not_before = None;
                    if self.trouble.lock().take().is_some() {
                        tracing::info!(lost = self.lost.load(Ordering::Relaxed), "calls are recorded again");
                    }
                }
                Err(error) => {
                    self.fail(&error.to_string(), batch.count);
                    not_before = Some(Instant::now() + PAUSE);
                }
            }
            batch.clear();
            last = Some(Instant::now());
        }
    }
}
