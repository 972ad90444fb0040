//! The reading half of a wire: whole lines out of a byte stream, none longer than the cap.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What a reader starts with, and goes back to when the large messages are over.
const SMALL: usize = 8 * 1024;
/// How many small frames in a row give a grown buffer back.
const QUIET: u32 = 64;

#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("a message is larger than the cap of {0} bytes (max_frame)")]
    TooLong(usize),
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
}

impl<R: AsyncRead + Unpin> Frames<R> {
    /// `cap` is the longest frame taken, in bytes.
    pub fn new(io: R, cap: usize) -> Self {
        Self { io, buf: BytesMut::with_capacity(SMALL), taken: 0, scanned: 0, cap, quiet: 0 }
    }

    /// The next frame, or `None` at the end of the stream; half a line at the end is dropped. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<&[u8]>, FrameError> {
        self.buf.advance(std::mem::take(&mut self.taken));
        loop {
            match memchr::memchr(b'\n', &self.buf[self.scanned..]) {
                Some(at) => {
                    let end = self.scanned + at;
                    self.scanned = 0;
                    let length =
                        end - self.buf[..end].iter().rev().take_while(|byte| byte.is_ascii_whitespace()).count();
                    if length == 0 {
                        self.buf.advance(end + 1);
                        continue;
                    }
                    if length > self.cap {
                        return Err(FrameError::TooLong(self.cap));
                    }
                    self.taken = end + 1;
                    self.note_size(length);
                    return Ok(Some(&self.buf[..length]));
                }
                None => self.scanned = self.buf.len(),
            }
            if self.buf.len() > self.cap {
                return Err(FrameError::TooLong(self.cap));
            }
            self.make_room();
            if self.io.read_buf(&mut self.buf).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The stream that is read.
    pub fn stream(&self) -> &R {
        &self.io
    }

    fn make_room(&mut self) {
        if self.buf.is_empty() && self.quiet >= QUIET && self.buf.capacity() > SMALL {
            self.buf = BytesMut::with_capacity(SMALL);
        } else if self.buf.is_empty() {
            // Takes back the room of what was handed out, which costs nothing now.
            self.buf.reserve(SMALL);
        } else if self.buf.capacity() == self.buf.len() {
            self.buf.reserve(self.buf.len().max(SMALL));
        }
    }

    fn note_size(&mut self, length: usize) {
        self.quiet = if length > SMALL { 0 } else { self.quiet.saturating_add(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn frames(input: &[u8], cap: usize) -> (Vec<String>, Option<String>) {
        let mut frames = Frames::new(input, cap);
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
        let long = "x".repeat(100_000);
        assert_eq!(frames(format!("{long}\ny\n").as_bytes(), 100_000).await.0, vec![long.clone(), "y".into()]);
        let (before, error) = frames(format!("ok\n{long}").as_bytes(), 99_999).await;
        assert_eq!(before, vec!["ok".to_owned()]);
        assert!(error.is_some_and(|error| error.contains("99999")));
    }
}
