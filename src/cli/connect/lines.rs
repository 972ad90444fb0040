//! Whole lines out of a byte stream, so that nothing torn is ever passed on.

use std::io::{self, Read};

const CHUNK: usize = 64 * 1024;

/// Reads as much as is there, and hands out what is complete.
pub(super) struct Lines<R> {
    io: R,
    buffer: Vec<u8>,
    /// The part of the buffer that was handed out.
    taken: usize,
    filled: usize,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(io: R) -> Self {
        Self { io, buffer: vec![0; CHUNK], taken: 0, filled: 0 }
    }

    /// The next complete lines, with their ends, or `None` at the end of the stream.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.buffer.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        self.taken = 0;
        if self.filled == 0 && self.buffer.len() > CHUNK {
            self.buffer = vec![0; CHUNK];
        }
        loop {
            if self.filled == self.buffer.len() {
                self.buffer.resize(self.filled * 2, 0);
            }
            let length = match self.io.read(&mut self.buffer[self.filled..]) {
                Ok(0) => return Ok(None),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            };
            let end = memchr::memrchr(b'\n', &self.buffer[self.filled..self.filled + length]);
            let before = self.filled;
            self.filled += length;
            if let Some(end) = end {
                self.taken = before + end + 1;
                return Ok(Some(&self.buffer[..self.taken]));
            }
        }
    }

    /// What came after the last complete line, at the end of the stream.
    pub(super) fn rest(&self) -> &[u8] {
        &self.buffer[self.taken..self.filled]
    }
}

/// The lines of a block, without their ends.
pub(super) fn each(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    block.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_are_handed_out() {
        struct Pieces(Vec<&'static [u8]>);
        impl Read for Pieces {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let Some(piece) = (!self.0.is_empty()).then(|| self.0.remove(0)) else { return Ok(0) };
                buffer[..piece.len()].copy_from_slice(piece);
                Ok(piece.len())
            }
        }
        let mut lines = Lines::new(Pieces(vec![b"a\nb", b"c", b"\n\nd\ne"]));
        let mut blocks = Vec::new();
        while let Some(block) = lines.next().expect("read") {
            blocks.push(block.to_vec());
        }
        assert_eq!(blocks, [&b"a\n"[..], b"bc\n\nd\n"]);
        assert_eq!(lines.rest(), b"e");
        assert_eq!(each(&blocks[1]).collect::<Vec<_>>(), [b"bc", &b"d"[..]]);
        let long: &'static [u8] = Box::leak(vec![b'x'; CHUNK].into_boxed_slice());
        let mut lines = Lines::new(Pieces(vec![long, long, b"\n"]));
        assert_eq!(lines.next().expect("read").map(<[u8]>::len), Some(2 * CHUNK + 1));
    }
}
