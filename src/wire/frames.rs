//! The reading half of a wire: whole lines out of a byte stream, none longer than the cap.

use std::io;
use std::time::Duration;

use crate::wire::budget::{Account, Held};
use crate::wire::turn::Turn;
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::sleep;

/// What a reader starts with, and goes back to when the large messages are over.
const SMALL: usize = 8 * 1024;
/// How many small frames in a row give a grown buffer back.
const QUIET: u32 = 64;

/// A buffer that grew past this is weighed, and not kept for long where nothing comes.
const WEIGHED: usize = 256 * 1024;
const IDLE: Duration = Duration::from_secs(1);

/// How much of a line that is passed over is kept, at its beginning and at its end.
const HEAD: usize = 16 * 1024;
const TAIL: usize = 256;
/// A line that is this many times longer than a message may be has no end.
const MOST_CAPS: usize = 32;

/// The beginning and the end of a line that was too long.
#[derive(Debug)]
pub struct Ends {
    pub head: Vec<u8>,
    pub tail: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("a message is larger than the cap of {0} bytes (max_frame)")]
    TooLong(usize),
    #[error("as much waits in the daemon as may (max_memory): there is no room for a message of this size now")]
    OverBudget,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Splits a byte stream into frames: lines without their line end, empty ones left out.
#[derive(Debug)]
pub struct Frames<R> {
    io: R,
    buf: BytesMut,
    /// Bytes of the frame handed out last, dropped on the next call.
    taken: usize,
    /// Bytes known to hold no line end.
    scanned: usize,
    cap: usize,
    quiet: u32,
    turn: Turn,
    account: Account,
    /// Of a large buffer, all of it.
    held: Option<Held>,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    /// `cap` is the longest frame taken, in bytes; `account` is who the buffer is weighed for, and for nothing else.
    pub fn new(io: R, cap: usize, account: Account) -> Self {
        let buf = BytesMut::with_capacity(SMALL);
        Self { io, buf, taken: 0, scanned: 0, cap, quiet: 0, turn: Turn::default(), account, held: None }
    }

    /// The next frame, or `None` at the end of the stream; half a line at the end is dropped. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<&[u8]>, FrameError> {
        self.buf.advance(std::mem::take(&mut self.taken));
        loop {
            match memchr::memchr(b'\n', &self.buf[self.scanned..]) {
                Some(at) => {
                    let end = self.scanned + at;
                    self.scanned = 0;
                    let length = self.buf[..end].trim_ascii_end().len();
                    if length == 0 {
                        self.buf.advance(end + 1);
                        continue;
                    }
                    if self.is_too_long(end) {
                        return Err(FrameError::TooLong(self.cap));
                    }
                    self.taken = end + 1;
                    self.note_size(length);
                    return Ok(Some(&self.buf[..length]));
                }
                None => self.scanned = self.buf.len(),
            }
            if self.is_too_long(self.buf.len()) {
                return Err(FrameError::TooLong(self.cap));
            }
            if self.read_more().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Whether a line of which so much is there is longer than a frame may be, however it came: white space at its end is not
    /// counted, as long as there is little of it.
    fn is_too_long(&self, there: usize) -> bool {
        there > self.cap && (there - self.cap > SMALL || self.buf[..there].trim_ascii_end().len() > self.cap)
    }

    /// Passes over the line that there was no room for; `None` at the end of the stream.
    pub async fn skip(&mut self) -> Result<Option<Ends>, FrameError> {
        let mut ends = Ends { head: self.buf[..self.buf.len().min(HEAD)].to_vec(), tail: Vec::new() };
        let mut passed = 0;
        self.scanned = 0;
        self.begin_anew();
        loop {
            let end = memchr::memchr(b'\n', &self.buf);
            let part = end.unwrap_or(self.buf.len());
            ends.tail.extend_from_slice(&self.buf[part.saturating_sub(TAIL)..part]);
            ends.tail.drain(..ends.tail.len().saturating_sub(TAIL));
            passed += part;
            match end {
                Some(end) => {
                    self.buf.advance(end + 1);
                    return Ok(Some(ends));
                }
                None => self.shrink(),
            }
            if passed / MOST_CAPS > self.cap {
                return Err(FrameError::TooLong(self.cap));
            }
            if self.read_more().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The stream that is read.
    pub fn stream(&self) -> &R {
        &self.io
    }

    /// Takes out the frame that was handed out last, a large one, with what it weighs.
    pub fn take_out(&mut self) -> (Bytes, Option<Held>) {
        let taken = std::mem::take(&mut self.taken);
        let rest = BytesMut::from(&self.buf[taken..]);
        let mut frame = std::mem::replace(&mut self.buf, rest);
        frame.truncate(frame[..taken].trim_ascii_end().len());
        self.weigh_again();
        (frame.freeze(), self.held.take())
    }

    /// Leaves the frame that was handed out last in its place: the next call hands it out again.
    pub fn put_back(&mut self) {
        self.taken = 0;
    }

    async fn read_more(&mut self) -> Result<usize, FrameError> {
        if self.buf.is_empty() && self.quiet >= QUIET && self.buf.capacity() > SMALL {
            self.shrink();
        } else if self.buf.is_empty() {
            // Takes back the room of what was handed out, which costs nothing now.
            self.buf.reserve(SMALL);
        } else if self.buf.capacity() == self.buf.len() {
            self.grow()?;
        }
        let read = match &mut self.held {
            None => self.io.read_buf(&mut self.buf).await?,
            Some(held) if self.buf.is_empty() => {
                // That it is kept is no reason to cut its owner off.
                let idle = self.account.apart(usize::MAX);
                held.move_to(&idle);
                tokio::select! {
                    biased;
                    () = idle.cut().cancelled() => self.read_anew().await?,
                    read = self.io.read_buf(&mut self.buf) => read?,
                    () = sleep(IDLE) => self.read_anew().await?,
                }
            }
            Some(held) => {
                held.move_to(&self.account);
                let cut = held.cut().clone();
                tokio::select! {
                    biased;
                    () = cut.cancelled() => return Err(FrameError::OverBudget),
                    read = self.io.read_buf(&mut self.buf) => read?,
                }
            }
        };
        self.turn.count(read).await;
        Ok(read)
    }

    /// Weighs the buffer for its owner again, which may have been idle.
    fn weigh_again(&mut self) {
        self.held.iter_mut().for_each(|held| held.move_to(&self.account));
    }

    /// Gives the buffer back, and waits for more.
    async fn read_anew(&mut self) -> io::Result<usize> {
        self.shrink();
        self.io.read_buf(&mut self.buf).await
    }

    fn shrink(&mut self) {
        self.buf = BytesMut::with_capacity(SMALL);
        self.held = None;
        self.begin_anew();
    }

    /// Takes another account where this one must give back what it holds: it holds nothing more.
    fn begin_anew(&mut self) {
        if self.account.cut().is_cancelled() {
            self.account = self.account.apart(usize::MAX);
            self.held = None;
        }
    }

    /// Makes the buffer twice as large, but not much larger than one frame may be.
    fn grow(&mut self) -> Result<(), FrameError> {
        if self.held.is_none() {
            self.begin_anew();
        }
        self.weigh_again();
        let length = self.buf.len();
        let wanted = length.saturating_mul(2).min(self.cap.saturating_add(SMALL)).max(length + SMALL);
        match &mut self.held {
            // Of one that was larger before, only the room in front comes back.
            Some(held) if held.bytes() >= wanted => {}
            Some(held) => held.resize(wanted).map_err(|_| FrameError::OverBudget)?,
            None if wanted <= WEIGHED => {}
            None => self.held = Some(self.account.hold(wanted).map_err(|_| FrameError::OverBudget)?),
        }
        if wanted >= length * 2 {
            self.buf.reserve(length);
        } else {
            // It would take twice as much again.
            let mut larger = BytesMut::with_capacity(wanted);
            larger.extend_from_slice(&self.buf);
            self.buf = larger;
        }
        Ok(())
    }

    fn note_size(&mut self, length: usize) {
        self.quiet = if length > SMALL { 0 } else { self.quiet.saturating_add(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn frames(input: &[u8], cap: usize) -> (Vec<String>, Option<String>) {
        let mut frames = Frames::new(input, cap, Account::alone(usize::MAX));
        let mut out = Vec::new();
        loop {
            match frames.next().await {
                Ok(Some(frame)) => out.push(String::from_utf8_lossy(frame).into_owned()),
                Ok(None) => return (out, None),
                Err(error) => return (out, Some(error.to_string())),
            }
        }
    }

    #[tokio::test]
    async fn lines_are_split_trimmed_and_capped() {
        assert_eq!(frames(b"a\r\n\n  \nbb\nhalf", 8).await, (vec!["a".into(), "bb".into()], None));
        let (spaced, padded) = (b"12345678 \t\r\nb\n".as_slice(), format!("1{}\n", " ".repeat(SMALL + 8)));
        assert_eq!(frames(spaced, 8).await.0, vec!["12345678".to_owned(), "b".to_owned()]);
        assert!(frames(padded.as_bytes(), 8).await.1.is_some(), "not any number of spaces");
        let long = "x".repeat(100_000);
        assert_eq!(frames(format!("{long}\ny\n").as_bytes(), 100_000).await.0, vec![long.clone(), "y".into()]);
        let (before, error) = frames(format!("ok\n{long}").as_bytes(), 99_999).await;
        assert_eq!(before, vec!["ok".to_owned()]);
        assert!(error.is_some_and(|error| error.contains("99999")));
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_passed_over() {
        for padding in [20, 100_000, 300_000] {
            let input = format!("{{\"id\":7,\"x\":\"{}\",\"y\":8}}\nok\n", "x".repeat(padding));
            let mut frames = Frames::new(input.as_bytes(), 19, Account::alone(usize::MAX));
            assert!(matches!(frames.next().await, Err(FrameError::TooLong(19))), "{padding}");
            if padding < 19 * MOST_CAPS {
                let ends = frames.skip().await.expect("passed over").expect("its end");
                assert!(ends.head.starts_with(b"{\"id\":7") && ends.tail.ends_with(b"\"y\":8}"), "{ends:?}");
                assert_eq!(frames.next().await.expect("read"), Some(&b"ok"[..]));
            } else {
                assert!(frames.skip().await.is_err());
            }
        }
    }
}
