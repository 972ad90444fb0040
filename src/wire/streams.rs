//! The writing half of a session over HTTP: a bounded queue of messages for each request, and one for what belongs to none.
//!
//! Where a reader may come back for what it missed (MCP 2025-11-25 `basic/transports`, "Resumability and Redelivery"), a
//! stream keeps what was read, as far as its bound allows, until some time after its end.

mod event;
pub(super) mod reader;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::wire::budget::{Account, Held};
use crate::wire::line;
use crate::wire::refused::Refused;
use crate::wire::to::To;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

pub use event::{EventId, Read};

/// The stream of what belongs to no request.
const LISTENING: u64 = 0;
/// How much of the stream that nobody need read is kept.
const LISTENING_LIMIT: usize = 256 * 1024;
/// For how long a stream that has ended may be read again.
const KEPT: Duration = Duration::from_secs(60);
/// How many of those are kept.
const MOST_KEPT: usize = 64;

/// Whether a reader may come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    Yes,
    No,
}

/// All streams of one session.
#[derive(Debug, Clone)]
pub struct Streams(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Who the messages are weighed for. One stream alone may hold as much.
    account: Account,
    replay: Replay,
    /// Tells these streams' events from those of an earlier daemon.
    epoch: u32,
}

/// A message that counts for as long as somebody holds it.
struct Weighed {
    frame: Vec<u8>,
    _held: Held,
}

impl AsRef<[u8]> for Weighed {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

#[derive(Debug, Default)]
struct State {
    /// Requests that wait for their answers, by raw id.
    open: HashMap<Box<str>, u64>,
    streams: BTreeMap<u64, Stream>,
    last: u64,
    /// How many readers there are.
    readers: usize,
    closed: bool,
}

#[derive(Debug, Default)]
struct Stream {
    frames: VecDeque<Bytes>,
    /// The number of the first of them.
    first: u64,
    bytes: usize,
    /// How many of all were read.
    read: u64,
    /// How many readers there were.
    readers: u64,
    /// Which one reads now: a later one takes over.
    read_by: Option<u64>,
    ended: Option<Instant>,
    /// Its last message is the answer that it was opened for.
    answered: bool,
    /// The reader must go away and come back.
    paused: bool,
    told: Arc<Notify>,
}

impl Streams {
    /// Streams that together hold as much as the account may, or one message if that is larger.
    pub fn new(account: Account, replay: Replay) -> Self {
        let state = State { last: LISTENING, ..State::default() };
        Self(Arc::new(Shared { state: Mutex::new(state), account, replay, epoch: fastrand::u32(..) }))
    }

    /// Who what waits is weighed for.
    pub fn account(&self) -> &Account {
        &self.0.account
    }

    /// Appends a message of about `size` bytes, written by `fill`, to the stream that it belongs on.
    pub(super) fn push(&self, to: To<'_>, size: usize, fill: impl FnOnce(&mut Vec<u8>)) -> Result<(), Refused> {
        let mut state = self.0.state.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        // Who waited for this answer does not any more.
        let Some(number) = state.number(to) else { return Ok(()) };
        let limit = if number == LISTENING { LISTENING_LIMIT } else { self.0.account.limit() };
        state.streams.entry(number).or_default();
        let mut held = self.hold(&mut state, size)?;
        let stream = state.streams.entry(number).or_default();
        let mut frame = Vec::with_capacity(size + 32);
        fill(&mut frame);
        line::join(&mut frame, 0);
        held.settle(frame.len());
        if !stream.make_room(frame.len(), limit, number == LISTENING) {
            return Err(Refused::Full);
        }
        stream.bytes += frame.len();
        stream.frames.push_back(Bytes::from_owner(Weighed { frame, _held: held }));
        if let To::Answer(id) = to {
            (stream.ended, stream.answered) = (Some(Instant::now()), true);
            state.open.remove(id);
        }
        if let Some(stream) = state.streams.get(&number) {
            stream.told.notify_waiters();
        }
        Ok(())
    }

    /// Holds `size` bytes; what is kept only for a reader that may come back makes place.
    fn hold(&self, state: &mut State, size: usize) -> Result<Held, Refused> {
        loop {
            match self.0.account.hold(size) {
                Err(_) if state.drop_read() => {}
                held => return held,
            }
        }
    }

    /// Forgets what need not be kept any more.
    pub fn sweep(&self) {
        self.0.state.lock().sweep(self.0.account.limit());
    }

    /// Whether somebody reads any of them.
    pub fn are_read(&self) -> bool {
        self.0.state.lock().readers > 0
    }

    /// Ends the stream of a request to which no answer will come.
    pub fn over(&self, id: &str) {
        let mut state = self.0.state.lock();
        let number = state.open.remove(id);
        if let Some(stream) = number.and_then(|number| state.streams.get_mut(&number)) {
            stream.ended = Some(Instant::now());
            stream.told.notify_waiters();
        }
    }

    /// Has the reader of a request's stream go away and come back for the rest, if it may.
    pub fn pause(&self, id: &str) {
        let mut state = self.0.state.lock();
        let number = state.open.get(id).copied();
        if let Some(stream) = number.and_then(|number| state.streams.get_mut(&number)).filter(|_| self.is_kept()) {
            stream.paused = true;
            stream.told.notify_waiters();
        }
    }

    /// Bytes that were not read.
    pub(super) fn waiting(&self) -> usize {
        let state = self.0.state.lock();
        let unread = |stream: &Stream| {
            let read = usize::try_from(stream.read.saturating_sub(stream.first)).unwrap_or(usize::MAX);
            stream.frames.iter().skip(read).map(Bytes::len).sum::<usize>()
        };
        state.streams.values().map(unread).sum()
    }

    /// Takes no more messages; what waits can still be read.
    pub fn close(&self) {
        let mut state = self.0.state.lock();
        state.closed = true;
        for stream in state.streams.values_mut() {
            stream.ended.get_or_insert_with(Instant::now);
            stream.told.notify_waiters();
        }
    }

    /// Takes no more messages, and forgets those that wait.
    pub(super) fn discard(&self) {
        self.close();
        let mut state = self.0.state.lock();
        state.open.clear();
        std::mem::take(&mut state.streams).values().for_each(|stream| stream.told.notify_waiters());
    }

    fn is_kept(&self) -> bool {
        self.0.replay == Replay::Yes
    }
}

impl State {
    /// Which stream a message goes to.
    fn number(&self, to: To<'_>) -> Option<u64> {
        let of = |id: &str| self.open.get(id).copied();
        match to {
            To::Answer(id) => of(id),
            To::Call(id) => Some(of(id).unwrap_or(LISTENING)),
            To::Agent if self.streams.get(&LISTENING).is_some_and(|stream| stream.read_by.is_some()) => Some(LISTENING),
            // Without a reader there, the newest request's stream is the only one that is read.
            To::Agent => Some(self.open.values().max().copied().unwrap_or(LISTENING)),
        }
    }

    /// Forgets a message that was read; false if there is none.
    fn drop_read(&mut self) -> bool {
        let read = self.streams.values_mut().find(|stream| !stream.frames.is_empty() && stream.first < stream.read);
        read.map(Stream::drop_first).is_some()
    }

    /// Forgets streams that nobody reads and that ended long ago, or that are too many or too large: the oldest first.
    fn sweep(&mut self, limit: usize) {
        let over = self.streams.iter().filter(|(_, stream)| stream.read_by.is_none());
        let mut over: Vec<_> =
            over.filter_map(|(number, stream)| Some((stream.ended?, *number, stream.bytes))).collect();
        over.sort_unstable();
        let (mut left, mut bytes) = (over.len(), over.iter().map(|(_, _, bytes)| bytes).sum::<usize>());
        for (at, number, size) in over {
            if left > MOST_KEPT || bytes > limit || at.elapsed() > KEPT {
                self.streams.remove(&number);
                (left, bytes) = (left - 1, bytes - size);
            }
        }
    }
}

impl Stream {
    /// Drops what was read, or where nobody need read it whatever is oldest, until there is room.
    fn make_room(&mut self, size: usize, limit: usize, unread_too: bool) -> bool {
        while !self.frames.is_empty() && self.bytes + size > limit {
            if self.first >= self.read && !unread_too {
                return false;
            }
            self.drop_first();
        }
        true
    }

    fn drop_first(&mut self) {
        if let Some(frame) = self.frames.pop_front() {
            self.bytes -= frame.len();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::reader::Reader;
    use super::*;

    fn push(streams: &Streams, to: To<'_>, frame: &str) -> Result<(), Refused> {
        streams.push(to, frame.len(), |out| out.extend_from_slice(frame.as_bytes()))
    }

    async fn text(reader: &mut Reader) -> String {
        match reader.next().await {
            Read::Frame(frame, _) => String::from_utf8_lossy(&frame).into_owned(),
            other @ (Read::Pause | Read::End) => format!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn each_message_is_on_its_stream_and_can_be_read_again() {
        let streams = Streams::new(Account::alone(2 * LISTENING_LIMIT), Replay::Yes);
        let (mut one, mut two) = (streams.open("1").expect("new"), streams.open("\"1\"").expect("another"));
        assert!(streams.open("1").is_none(), "the id is in use");
        push(&streams, To::Call("1"), "a").expect("taken");
        push(&streams, To::Answer("1"), "b").expect("taken");
        push(&streams, To::Agent, "c").expect("taken");
        let start = one.start();
        assert_eq!((text(&mut one).await, text(&mut one).await), ("a".into(), "b".into()));
        assert_eq!(one.next().await, Read::End);
        assert_eq!(text(&mut two).await, "c", "where nobody listens, the open stream has it");
        let after = EventId::parse(&start.to_string()).expect("parsed");
        let mut again = streams.resume(after).expect("kept");
        assert_eq!(text(&mut again).await, "a");
        assert_eq!(one.next().await, Read::End, "a later reader took over");
        let mut listening = streams.listen().expect("listens");
        push(&streams, To::Agent, "d").expect("taken");
        assert_eq!(text(&mut listening).await, "d");
        assert!(streams.resume(EventId { epoch: streams.0.epoch, stream: 99, next: 0 }).is_none());
        streams.pause("\"1\"");
        assert_eq!(two.next().await, Read::Pause);
        assert!(streams.open("1").is_some(), "it was answered");
        push(&streams, To::Answer("gone"), "late").expect("passed over");
        push(&streams, To::Agent, "e").expect("taken");
        assert_eq!(text(&mut listening).await, "e", "an answer that nobody waits for is nobody's");
        drop(listening);
        for _ in 0..4 {
            push(&streams, To::Call("none"), &"x".repeat(LISTENING_LIMIT / 2)).expect("taken");
        }
        assert!(streams.listen().is_some(), "whatever was dropped meanwhile");
    }

    #[tokio::test]
    async fn the_bounds_hold() {
        let streams = Streams::new(Account::alone(2 * LISTENING_LIMIT), Replay::No);
        let mut reader = streams.open("1").expect("new");
        assert_eq!(
            push(&streams, To::Call("1"), &"a".repeat(3 * LISTENING_LIMIT)),
            Ok(()),
            "one message, however large"
        );
        assert_eq!(push(&streams, To::Call("1"), "b"), Err(Refused::Full));
        assert_eq!(text(&mut reader).await.len(), 3 * LISTENING_LIMIT);
        assert_eq!(push(&streams, To::Call("1"), "b"), Ok(()));
        for _ in 0..10 {
            let large = "x".repeat(LISTENING_LIMIT / 2);
            assert_eq!(push(&streams, To::Call("gone"), &large), Ok(()), "nobody need read these");
        }
        assert!(streams.waiting() <= LISTENING_LIMIT + 4);
        streams.close();
        assert_eq!(push(&streams, To::Agent, "c"), Err(Refused::Closed));
        assert_eq!((text(&mut reader).await, reader.next().await), ("b".into(), Read::End));
        assert_eq!(streams.open("2").expect("new").next().await, Read::End, "who comes too late need not wait");
    }
}
