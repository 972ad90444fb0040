//! Many calls in one text of bytes: about 20 each. Pure.
//!
//! Every number is written in as many bytes as it needs (LEB128), moments as the difference from the one before.

/// One call, its names by their numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// When it began, in microseconds since 1970.
    pub at: i64,
    pub agent: u32,
    pub session: u64,
    pub server: u32,
    /// 0 where there is none, as for the next ones.
    pub pid: u32,
    pub method: u32,
    pub subject: u32,
    /// In microseconds.
    pub took: u64,
    pub first: Option<u64>,
    pub sent: u32,
    pub received: u32,
    pub progress: u32,
    pub outcome: u8,
    pub code: i64,
}

/// How many bytes a call can take: 14 numbers of ten bytes each.
const LONGEST: usize = 14 * 10;

/// Writes calls, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub bytes: Vec<u8>,
    last: i64,
}

impl Writer {
    /// Moves what was written into an empty buffer, whose room is used for what comes.
    pub(super) fn take(&mut self, bytes: &mut Vec<u8>) {
        std::mem::swap(bytes, &mut self.bytes);
        self.last = 0;
    }

    pub(super) fn push(&mut self, entry: &Entry) {
        let Entry { at, agent, session, server, pid, method, subject, took, first, sent, received, progress, .. } =
            *entry;
        let moment = zigzag(at.wrapping_sub(self.last));
        self.last = at;
        // In one piece: the buffer is looked at once, and not for each byte.
        let mut piece = [0; LONGEST];
        let mut length = 0;
        for number in [
            moment,
            agent.into(),
            session,
            server.into(),
            pid.into(),
            method.into(),
            subject.into(),
            took,
            first.map_or(0, |first| first + 1),
            sent.into(),
            received.into(),
            progress.into(),
            entry.outcome.into(),
        ] {
            put(&mut piece, &mut length, number);
        }
        // Most have none.
        if has_code(entry.outcome) {
            put(&mut piece, &mut length, zigzag(entry.code));
        }
        self.bytes.extend_from_slice(&piece[..length]);
    }
}

/// Whether a code stands behind this outcome: errors, and refusals.
fn has_code(outcome: u8) -> bool {
    matches!(outcome, 11 | 14)
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

fn put(piece: &mut [u8; LONGEST], length: &mut usize, mut number: u64) {
    while number >= 0x80 {
        piece[*length] = (number & 0x7f) as u8 | 0x80;
        *length += 1;
        number >>= 7;
    }
    piece[*length] = number as u8;
    *length += 1;
}

/// Reads the calls of a block until its end, or until what is none.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    last: i64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, last: 0 }
    }

    fn number(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0_u64, 0);
        loop {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
            shift += 7;
        }
    }

    fn small(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }
}

impl Iterator for Reader<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let moment = self.number()?;
        self.last = self.last.wrapping_add(unzigzag(moment));
        let entry = Entry {
            at: self.last,
            agent: self.small()?,
            session: self.number()?,
            server: self.small()?,
            pid: self.small()?,
            method: self.small()?,
            subject: self.small()?,
            took: self.number()?,
            first: self.number()?.checked_sub(1),
            sent: self.small()?,
            received: self.small()?,
            progress: self.small()?,
            outcome: self.number()?.try_into().ok()?,
            code: 0,
        };
        let code = if has_code(entry.outcome) { unzigzag(self.number()?) } else { 0 };
        Some(Entry { code, ..entry })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let plain = Entry {
            at: 1_764_460_800_000_000,
            agent: 3,
            session: 7,
            server: 1,
            method: 2,
            took: 150,
            ..Entry::default()
        };
        let entries = [
            plain,
            Entry { at: plain.at - 5, subject: 300, first: Some(0), outcome: 11, code: -32602, ..plain },
            Entry {
                at: i64::MIN,
                agent: u32::MAX,
                session: u64::MAX,
                took: u64::MAX,
                outcome: 14,
                code: i64::MIN,
                ..plain
            },
            Entry { at: i64::MAX, first: Some(9), sent: u32::MAX, received: u32::MAX, progress: u32::MAX, ..plain },
        ];
        let mut writer = Writer::default();
        entries.iter().for_each(|entry| writer.push(entry));
        assert_eq!(Reader::new(&writer.bytes).collect::<Vec<_>>(), entries);
        // What is cut, or is none, ends it.
        for cut in 0..writer.bytes.len() {
            assert!(Reader::new(&writer.bytes[..cut]).count() < entries.len());
        }
        assert_eq!(Reader::new(&[0xff; 64]).count(), 0);
        let mut usual = Writer::default();
        (0..1000)
            .for_each(|number| usual.push(&Entry { at: plain.at + number * 100, sent: 120, received: 400, ..plain }));
        assert!(usual.bytes.len() < 20_000, "{}", usual.bytes.len());
    }
}
