//! Time that is kept outside of the async runtime. A timer inside of it would be set anew in the kernel whenever the
//! runtime waits, which is with every message that passes, and costs as much as a third of a hop.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// What the thread that waits needs.
const STACK: usize = 64 << 10;

/// A thread that waits, for one who has something to do from time to time. Dropping it ends the thread.
#[derive(Debug)]
pub struct Ticks {
    pauses: Option<mpsc::Sender<Duration>>,
    over: tokio::sync::mpsc::Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Ticks {
    pub fn new(name: &str) -> io::Result<Self> {
        let (pauses, wanted) = mpsc::channel::<Duration>();
        let (told, over) = tokio::sync::mpsc::channel(1);
        let thread = Builder::new().name(name.to_owned()).stack_size(STACK).spawn(move || {
            let mut asked = wanted.recv();
            while let Ok(pause) = asked {
                // Ends early when the other side is dropped: parking would miss that, since the channel parks too.
                asked = match wanted.recv_timeout(pause) {
                    Err(RecvTimeoutError::Timeout) if told.blocking_send(()).is_err() => return,
                    Err(RecvTimeoutError::Timeout) => wanted.recv(),
                    // Nobody waits for the last one any more.
                    Ok(another) => Ok(another),
                    Err(RecvTimeoutError::Disconnected) => return,
                };
            }
        })?;
        Ok(Self { pauses: Some(pauses), over, thread: Some(thread) })
    }

    /// Waits for `pause`, or a little less.
    pub async fn after(&mut self, pause: Duration) {
        let asked = self.pauses.as_ref().is_some_and(|pauses| pauses.send(pause).is_ok());
        if !asked || self.over.recv().await.is_none() {
            // The thread is gone, which it never is before this is dropped.
            std::future::pending().await
        }
    }
}

impl Drop for Ticks {
    fn drop(&mut self) {
        self.pauses = None;
        self.over.close();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_waits_and_ends_early() {
        let begun = std::time::Instant::now();
        let mut ticks = Ticks::new("test").expect("a thread");
        ticks.after(Duration::from_millis(20)).await;
        ticks.after(Duration::from_millis(20)).await;
        assert!(begun.elapsed() >= Duration::from_millis(30));
        let endless = tokio::time::timeout(Duration::from_millis(1), ticks.after(Duration::from_secs(3600))).await;
        assert!(endless.is_err());
        drop(ticks);
        // However soon it is dropped.
        for _ in 0..200 {
            let mut ticks = Ticks::new("test").expect("a thread");
            drop(tokio::time::timeout(Duration::ZERO, ticks.after(Duration::from_secs(3600))).await);
        }
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}
