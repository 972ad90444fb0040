//! A line that moves while a person waits; nothing where nobody looks.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::shown;

/// A wait that is shorter shows nothing.
const PATIENCE: Duration = Duration::from_millis(700);
const STEP: Duration = Duration::from_millis(120);
const SIGNS: [&str; 4] = ["-", "\\", "|", "/"];

/// What is waited for, on a line of its own until it ends.
pub(super) struct Progress {
    end: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    pub(super) fn begin(what: String) -> Self {
        if !io::stderr().is_terminal() {
            return Self { end: None, thread: None };
        }
        let (end, ended) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let since = Instant::now();
            let mut pause = PATIENCE;
            let mut step = 0;
            while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                pause = STEP;
                let (sign, what) = (SIGNS[step % SIGNS.len()], shown::line(&what));
                drop(write!(io::stderr(), "\r\x1b[K{sign} {what} ({} s)", since.elapsed().as_secs()));
                step += 1;
            }
            if step > 0 {
                drop(write!(io::stderr(), "\r\x1b[K"));
            }
        });
        Self { end: Some(end), thread: Some(thread) }
    }

    /// Takes the line away.
    pub(super) fn end(self) {}
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
