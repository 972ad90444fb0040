//! A message that owns its text and was read once. Reading a large one takes as long as a thousand small ones: it is done
//! beside the runtime's thread, where nobody waits for it but its sender.

use std::sync::LazyLock;
use std::thread::available_parallelism;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::{spawn, spawn_blocking};

use crate::envelope::{Envelope, Malformed};
use crate::wire::budget::Held;
use crate::wire::line;
use self_cell::self_cell;

/// A message that is longer is read beside the runtime's thread. For one of a megabyte, the way there and back costs more than it
/// saves the others.
pub const LARGE: usize = 2 << 20;

/// How many are read at once. The runtime's thread needs a processor of its own.
static READERS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(available_parallelism().map_or(1, |all| (all.get() - 1).clamp(1, 4))));

/// Who wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// Its nesting and what is kept of it are bounded.
    Agent,
    Server,
}

/// A message and its text.
#[derive(Debug)]
pub struct Message {
    read: Read,
    /// What it weighs, where it is large.
    _held: Option<Held>,
}

self_cell! {
    struct Read {
        owner: Bytes,
        #[covariant]
        dependent: Envelope,
    }
    impl {Debug}
}

/// Bytes that are no message, and why.
#[derive(Debug)]
pub struct Unreadable {
    pub text: Bytes,
    pub error: Malformed,
}

impl Message {
    /// Reads a message, which is one line from then on to every reader.
    pub async fn read(text: Bytes, held: Option<Held>, writer: Writer) -> Result<Self, Unreadable> {
        let mut held = held;
        let read = aside(text.len(), move || {
            let text = line::one(text);
            if let Some(held) = held.as_mut().filter(|held| held.bytes() < text.len()) {
                // It became longer, and is here all the same.
                held.settle(text.len());
            }
            (parsed(text, writer, OneLine::Yes), held)
        });
        let (read, held) = read.await;
        Ok(Self { read: read?, _held: held })
    }

    /// Reads a message that is known to be small.
    pub fn small(text: impl Into<Bytes>) -> Result<Self, Unreadable> {
        Ok(Self { read: parsed(text.into(), Writer::Server, OneLine::No)?, _held: None })
    }

    /// Reads a message that was one before. Only where that was no message is there none.
    pub async fn again(text: String) -> Option<Self> {
        Self::read(text.into(), None, Writer::Server).await.ok()
    }

    pub fn envelope(&self) -> &Envelope<'_> {
        self.read.borrow_dependent()
    }

    /// Its text, which is not copied.
    pub fn text(&self) -> &Bytes {
        self.read.borrow_owner()
    }
}

/// Whether a text is known to be one line to every reader.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OneLine {
    Yes,
    No,
}

fn parsed(text: Bytes, writer: Writer, is_line: OneLine) -> Result<Read, Unreadable> {
    let read = Read::try_new_or_recover(text, |text| {
        let envelope = match writer {
            Writer::Agent => Envelope::from_agent(text),
            Writer::Server => Envelope::parse(text),
        };
        envelope.map(|envelope| Envelope { shared: Some(text).filter(|_| is_line == OneLine::Yes), ..envelope })
    });
    read.map_err(|(text, error)| Unreadable { text, error })
}

/// Does work over a text of `size` bytes, beside the runtime's thread if that is much. What panics there panics here.
pub async fn aside<T: Send + 'static>(size: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
    if size <= LARGE {
        return work();
    }
    // A task of its own, which goes on also where whoever waits for it is not polled: others may wait for the same reader.
    let read = spawn(async move {
        // It is never closed.
        let _reader = READERS.acquire().await;
        spawn_blocking(work).await
    });
    match read.await.flatten() {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is ending, and with it whoever waits.
            Err(_) => std::future::pending().await,
        },
    }
}
