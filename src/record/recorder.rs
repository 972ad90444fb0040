//! Takes calls that have ended, and has a thread of its own write them.
//!
//! To take one costs a push into a bounded ring. What the thread is too slow for is counted and said, and so is what cannot be
//! written: a full disk or a broken file stops the record, and nothing else.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::broadcast;

use crate::lines::is_told;
use crate::record::call::Call;
use crate::record::limits::Limits;
use crate::record::shape::CallShape;
use crate::record::store::Store;

/// How many calls may wait to be written.
const RING: usize = 8192;
/// From how many on the thread does not wait for more.
const HURRY: usize = 1024;
/// How long a call may wait to be written.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long it is waited for more, where the last ones are written.
const GATHERS: Duration = Duration::from_millis(20);
/// How long a reader waits for what is to be written.
const FLUSH: Duration = Duration::from_secs(2);
/// How long it is not tried again to write, where that has failed.
const PAUSE: Duration = Duration::from_secs(10);
/// How far a watcher may fall behind before it misses calls.
const FOLLOW: usize = 1024;

/// Takes calls. Clones share the record.
#[derive(Debug, Clone)]
pub struct Recorder(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
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
struct Ring {
    calls: Vec<Call>,
    ended: bool,
    /// What was taken last is not written yet.
    writing: bool,
    /// Somebody waits for what is to be written.
    hurries: bool,
}

impl Recorder {
    /// A record in `file`, which is opened with the first call.
    pub fn new(file: PathBuf, limits: Limits) -> Self {
        let recorder = Self::idle(limits);
        let shared = recorder.0.clone();
        let writer = std::thread::Builder::new().name("record".to_owned()).spawn(move || write(&shared, &file));
        match writer {
            Ok(writer) => *recorder.0.writer.lock() = Some(writer),
            Err(error) => recorder.0.fail(&format!("its thread cannot be started: {error}"), 0),
        }
        recorder
    }

    /// One that nobody writes, for those who only watch.
    pub fn idle(limits: Limits) -> Self {
        Self(Arc::new(Shared {
            ring: Mutex::default(),
            filled: Condvar::new(),
            written: Condvar::new(),
            live: broadcast::channel(FOLLOW).0,
            lost: AtomicU64::new(0),
            writes: AtomicBool::new(true),
            trouble: Mutex::default(),
            limits: Mutex::new(limits),
            writer: Mutex::default(),
        }))
    }

    /// Takes over other settings: whether calls are written at all, and for how long they are kept.
    pub fn set(&self, writes: bool, limits: Limits) {
        self.0.writes.store(writes, Ordering::Relaxed);
        *self.0.limits.lock() = limits;
    }

    /// Takes a call that has ended; `written` says whether its server's are recorded.
    pub fn push(&self, call: Call, written: bool) {
        if self.0.live.receiver_count() > 0 {
            // That the last one has just left is no error.
            drop(self.0.live.send(Arc::new(CallShape::from(&call))));
        }
        if !written || !self.0.writes.load(Ordering::Relaxed) {
            return;
        }
        let mut ring = self.0.ring.lock();
        if ring.calls.len() >= RING {
            drop(ring);
            let lost = self.0.lost.fetch_add(1, Ordering::Relaxed) + 1;
            if is_told(lost) {
                tracing::warn!(lost, "calls are missing in the record: they came faster than they can be written");
            }
            return;
        }
        ring.calls.push(call);
        let count = ring.calls.len();
        drop(ring);
        if count == 1 || count == HURRY {
            self.0.filled.notify_one();
        }
    }

    /// Every call that ends from now on.
    pub fn watch(&self) -> broadcast::Receiver<Arc<CallShape>> {
        self.0.live.subscribe()
    }

    /// Waits until what has ended so far is written. Blocks.
    pub fn flush(&self) {
        let until = Instant::now() + FLUSH;
        let mut ring = self.0.ring.lock();
        ring.hurries = true;
        self.0.filled.notify_one();
        while (ring.writing || !ring.calls.is_empty()) && !self.0.written.wait_until(&mut ring, until).timed_out() {}
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
        self.0.ring.lock().ended = true;
        self.0.filled.notify_one();
        let writer = self.0.writer.lock().take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the thread of the record has failed");
        }
    }
}

impl Shared {
    /// Waits for calls, and takes all that wait; nothing at the end. `last` is when something was written last.
    fn take(&self, batch: &mut Vec<Call>, last: Option<Instant>) -> bool {
        let mut ring = self.ring.lock();
        ring.writing = false;
        self.written.notify_all();
        while ring.calls.is_empty() && !ring.ended {
            self.filled.wait(&mut ring);
        }
        let now = Instant::now();
        // One call alone is found at once; of many, more go into one step.
        let until = last.map_or(now, |last| last + PATIENCE).max(now + GATHERS);
        while ring.calls.len() < HURRY
            && !ring.ended
            && !ring.hurries
            && !self.filled.wait_until(&mut ring, until).timed_out()
        {}
        std::mem::swap(&mut ring.calls, batch);
        (ring.writing, ring.hurries) = (true, false);
        !batch.is_empty()
    }

    fn fail(&self, reason: &str, missing: usize) {
        self.lost.fetch_add(missing as u64, Ordering::Relaxed);
        let before = self.trouble.lock().replace(reason.to_owned());
        if before.as_deref() != Some(reason) {
            tracing::warn!(reason, "calls are not recorded; they go on");
        }
    }
}

/// Writes calls until the daemon ends.
fn write(shared: &Shared, file: &std::path::Path) {
    let mut store: Option<Store> = None;
    let mut batch = Vec::new();
    let mut not_before: Option<Instant> = None;
    let mut last = None;
    while shared.take(&mut batch, last) {
        if not_before.is_some_and(|moment| Instant::now() < moment) {
            shared.lost.fetch_add(batch.len() as u64, Ordering::Relaxed);
            batch.clear();
            continue;
        }
        let limits = *shared.limits.lock();
        let written = store.take().map_or_else(|| Store::open(file), Ok).and_then(|mut opened| {
            opened.write(&batch, limits)?;
            Ok(opened)
        });
        let written = written.or_else(|error| {
            if !error.is_broken() {
                return Err(error);
            }
            // What is in it cannot be read: it is kept beside, and another one begun.
            let kept = Store::set_aside(file)?;
            tracing::warn!(%error, kept = %kept.display(), "the record of calls was broken: it is set aside, and a new one begun");
            let mut opened = Store::open(file)?;
            opened.write(&batch, limits).map(|()| opened)
        });
        match written {
            Ok(opened) => {
                store = Some(opened).filter(|store| store.is_in_place(file));
                not_before = None;
                if shared.trouble.lock().take().is_some() {
                    tracing::info!(lost = shared.lost.load(Ordering::Relaxed), "calls are recorded again");
                }
            }
            Err(error) => {
                shared.fail(&error.to_string(), batch.len());
                not_before = Some(Instant::now() + PAUSE);
            }
        }
        batch.clear();
        last = Some(Instant::now());
    }
}
