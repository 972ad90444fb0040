//! The stdio shim: stands between an agent's standard streams and the daemon, and outlives daemons.
//!
//! One thread reads the agent, the other the daemon. While there is no daemon, what the agent sends is held; when there is
//! one again, a third thread tells it what it must know of the session, and what was held. The daemon's answers are read
//! meanwhile, because it takes no more from an agent that does not read.

mod attach;
mod held;
mod lines;
mod replay;
mod streams;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

pub(super) use attach::Attach;

use crate::cli::connect::attach::AttachError;
use crate::cli::connect::held::Held;
use crate::cli::connect::lines::{Lines, each};
use crate::cli::connect::replay::{Heard, Replay};
use crate::cli::connect::streams::{finish, raw_stdio};
use crate::cli::done::{Done, complain};
use crate::cli::start;
use crate::envelope::reply::{self, code};
use crate::envelope::{Envelope, Kind};
use crate::files;
use crate::ipc::{ClientStream, Reader};
use crate::paths::Places;

/// How long a request is held while there is no daemon.
const HOLD: Duration = Duration::from_secs(60);
/// How long an agent has to ask for something, where all that it will get is the reason why there is no session.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// A line of the agent's that is longer than this is passed on while it is looked at.
const LARGE: usize = 64 << 10;
/// Pauses between tries to reach a daemon: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// What both threads know.
struct Shim {
    state: Mutex<State>,
    /// The agent said something, or left, while there is no daemon.
    spoke: Condvar,
    /// Something that was held has gone, or there is another daemon, or none.
    moved: Condvar,
    stdout: Mutex<File>,
}

struct State {
    memory: Replay,
    link: Link,
    /// How many daemons there were.
    daemons: u64,
    agent_left: bool,
}

enum Link {
    Up(Arc<Mutex<ClientStream>>),
    /// The daemon of this number is being told what was held.
    CatchingUp(u64, Held),
    Down(Held),
}

/// Why the shim ends.
enum End {
    AgentLeft,
    Broken(io::Error),
}

pub(super) fn run(places: &Places, attach: Attach) -> Done {
    let trusted = files::check_folder(&places.state).map_err(anyhow::Error::from);
    let attached = trusted.and_then(|()| start::connect(places)).and_then(|(mut from_daemon, mut to_daemon)| {
        attach.send(&mut from_daemon, &mut to_daemon)?;
        Ok((from_daemon, to_daemon))
    });
    if io::stdin().is_terminal() {
        complain(
            "`connect` is what an agent starts, and speaks MCP on standard input and output: `trunkline attach AGENT` writes it into an agent's file. It goes on for you to type at; Ctrl-D ends it",
        );
    }
    let (stdin, stdout) = raw_stdio()?;
    let (mut from_daemon, to_daemon): (Reader, ClientStream) = match attached {
        Ok(connected) => connected,
        Err(error) => return Err(refuse(stdin, stdout, error).into()),
    };
    let link = Link::Up(Arc::new(Mutex::new(to_daemon)));
    let shim = Arc::new(Shim {
        state: Mutex::new(State { memory: Replay::default(), link, daemons: 1, agent_left: false }),
        spoke: Condvar::new(),
        moved: Condvar::new(),
        stdout: Mutex::new(stdout),
    });
    let agents = shim.clone();
    std::thread::spawn(move || agents.read_agent(stdin));
    loop {
        let end = match shim.read_daemon(from_daemon) {
            Ok(()) => shim.reconnect(places, &attach),
            Err(end) => Err(end),
        };
        from_daemon = match end {
            Ok(connected) => connected,
            Err(End::AgentLeft) => return Ok(ExitCode::SUCCESS),
            Err(End::Broken(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            Err(End::Broken(error)) => return Err(anyhow::Error::new(error).context("cannot reach the agent").into()),
        };
    }
}

/// Answers the agent's first request with the reason why there is no session, so that the agent shows it.
fn refuse(stdin: File, mut stdout: File, error: anyhow::Error) -> anyhow::Error {
    if io::stdin().is_terminal() {
        return error;
    }
    let (sender, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = Lines::new(stdin);
        let mut answer = None;
        while answer.is_none()
            && let Ok(Some(block)) = lines.next()
        {
            answer = each(block).find_map(|line| no_daemon(line, &format!("{error:#}")));
        }
        drop(sender.send((answer, error)));
    });
    match said.recv_timeout(FIRST_REQUEST) {
        Ok((answer, error)) => {
            // An agent that is gone needs no reason.
            answer.iter().for_each(|answer| drop(stdout.write_all(format!("{answer}\n").as_bytes())));
            error
        }
        Err(_) => {
            anyhow::anyhow!("no daemon could be reached, and the agent asked for nothing within {FIRST_REQUEST:?}")
        }
    }
}

impl Shim {
    /// Passes on what the agent says, until it has said all.
    fn read_agent(&self, stdin: File) {
        let mut lines = Lines::new(stdin);
        while let Ok(Some(block)) = lines.next() {
            self.send(block);
        }
        // A last line without an end is one all the same.
        let rest = [lines.rest(), b"\n"].concat();
        if rest.len() > 1 {
            self.send(&rest);
        }
        let mut state = self.state.lock();
        state.agent_left = true;
        if let Link::Up(stream) = &state.link {
            finish(&stream.lock());
        }
        self.spoke.notify_one();
    }

    fn send(&self, block: &[u8]) {
        let mut state = self.state.lock();
        match &mut state.link {
            Link::Up(stream) => {
                let stream = stream.clone();
                // Noted before the last line end is sent: no answer is faster than that. The rest may be on its way by then.
                let one = memchr::memchr(b'\n', block) == Some(block.len() - 1);
                let ready = if one && block.len() > LARGE { block.len() - 1 } else { 0 };
                if ready > 0 {
                    drop(state);
                    drop(stream.lock().write_all(&block[..ready]));
                    state = self.state.lock();
                }
                let same = matches!(&state.link, Link::Up(now) if Arc::ptr_eq(now, &stream));
                if !same {
                    // That daemon never saw the end of it.
                    drop(state);
                    return self.send(block);
                }
                each(block).for_each(|line| state.memory.said(line));
                drop(state);
                // If the daemon is gone, the other thread sees it too, and tells the agent.
                drop(stream.lock().write_all(&block[ready..]));
            }
            Link::CatchingUp(..) => {
                drop(state);
                self.send_behind(block);
            }
            Link::Down(held) => {
                let mut refused = Vec::new();
                for line in each(block) {
                    if held.has_room(line) {
                        held.push(line);
                    } else {
                        refused.extend(no_daemon(line, "there is no daemon, and too much waits for one already"));
                    }
                }
                drop(state);
                self.spoke.notify_one();
                // An agent that is gone is seen by the other thread.
                drop(self.tell(&refused));
            }
        }
    }

    /// Has lines wait behind what the daemon is still being told, as long as it takes them.
    fn send_behind(&self, block: &[u8]) {
        let mut lines = each(block);
        while let Some(line) = lines.next() {
            let mut state = self.state.lock();
            loop {
                match &mut state.link {
                    Link::CatchingUp(_, held) if held.is_empty() || held.has_room(line) => {
                        held.push(line);
                        break;
                    }
                    Link::CatchingUp(..) => self.moved.wait(&mut state),
                    Link::Up(_) | Link::Down(_) => {
                        drop(state);
                        let rest = std::iter::once(line).chain(lines).flat_map(|line| [line, b"\n"].concat());
                        return self.send(&rest.collect::<Vec<u8>>());
                    }
                }
            }
        }
    }

    /// Passes on what the daemon says, until it is gone.
    fn read_daemon(&self, from_daemon: Reader) -> Result<(), End> {
        let mut lines = Lines::new(from_daemon);
        while let Ok(Some(block)) = lines.next() {
            let mut state = self.state.lock();
            if state.memory.expects() {
                drop(state);
                for line in each(block) {
                    let heard = self.state.lock().memory.heard(line);
                    match heard {
                        Heard::Pass => self.write(&[line, b"\n"].concat())?,
                        Heard::Own(Some(told)) => self.tell(&[told])?,
                        Heard::Own(None) => {}
                    }
                }
            } else {
                for line in each(block) {
                    state.memory.heard(line);
                }
                drop(state);
                self.write(block)?;
            }
        }
        let mut state = self.state.lock();
        let held = match &mut state.link {
            Link::CatchingUp(_, held) => std::mem::take(held),
            Link::Up(_) | Link::Down(_) => Held::default(),
        };
        // What it said last, and no daemon took, is still answered.
        let is_over = state.agent_left && held.is_empty();
        state.link = Link::Down(held);
        self.moved.notify_all();
        let told = state.memory.lost();
        drop(state);
        self.tell(&told)?;
        if is_over { Err(End::AgentLeft) } else { Ok(()) }
    }

    /// Finds a daemon, or starts one, and hands the session over to it.
    fn reconnect(self: &Arc<Self>, places: &Places, attach: &Attach) -> Result<Reader, End> {
        let mut pause = PAUSE.0;
        let mut complained = String::new();
        loop {
            let wanted = {
                let state = self.state.lock();
                let wanted = matches!(&state.link, Link::Down(held) if !held.is_empty());
                // What it said last is still answered.
                if state.agent_left && !wanted {
                    return Err(End::AgentLeft);
                }
                wanted
            };
            let reached = self.reach(places, attach, wanted);
            match reached {
                Ok(Some(connected)) => return Ok(connected),
                Ok(None) => self.expire(Instant::now().checked_sub(HOLD), "there has been no daemon for a minute")?,
                Err(error) => {
                    let reason = format!("{error:#}");
                    self.expire(Some(Instant::now()), &reason)?;
                    if reason != complained {
                        complain(&format!("no daemon takes the session over yet: {reason}"));
                        complained = reason;
                    }
                }
            }
            let mut state = self.state.lock();
            let is_over = state.agent_left && matches!(&state.link, Link::Down(held) if held.is_empty());
            if !is_over && self.spoke.wait_for(&mut state, pause).timed_out() {
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }

    /// One try. After a daemon that ended in order, none is started before the agent wants something.
    fn reach(self: &Arc<Self>, places: &Places, attach: &Attach, wanted: bool) -> anyhow::Result<Option<Reader>> {
        if !wanted && !start::is_claimed(places) {
            return Ok(None);
        }
        let (mut from_daemon, mut to_daemon) = start::connect(places)?;
        match attach.send(&mut from_daemon, &mut to_daemon) {
            Ok(()) => {}
            // It was about to end.
            Err(AttachError::Gone(_)) => return Ok(None),
            Err(error @ AttachError::Refused(_)) => return Err(error.into()),
        }
        let mut state = self.state.lock();
        let replay: String = state.memory.replay().iter().map(|frame| format!("{frame}\n")).collect();
        let held = match &mut state.link {
            Link::Down(held) => std::mem::take(held),
            Link::Up(_) | Link::CatchingUp(..) => Held::default(),
        };
        state.daemons += 1;
        let number = state.daemons;
        state.link = Link::CatchingUp(number, held);
        drop(state);
        let shim = self.clone();
        std::thread::spawn(move || shim.catch_up(to_daemon, number, &replay));
        Ok(Some(from_daemon))
    }

    /// Tells a daemon what it must know, and what was held. What cannot be written is told by the reading side.
    fn catch_up(&self, mut to_daemon: ClientStream, number: u64, replay: &str) {
        if to_daemon.write_all(replay.as_bytes()).is_err() {
            return;
        }
        loop {
            let mut state = self.state.lock();
            let State { memory, link, agent_left, .. } = &mut *state;
            let next = match link {
                Link::CatchingUp(now, held) if *now == number => held.pop(),
                // That daemon is gone.
                Link::CatchingUp(..) | Link::Up(_) | Link::Down(_) => return,
            };
            self.moved.notify_all();
            let Some(mut line) = next else {
                if *agent_left {
                    finish(&to_daemon);
                }
                *link = Link::Up(Arc::new(Mutex::new(to_daemon)));
                return;
            };
            memory.said(&line);
            drop(state);
            line.push(b'\n');
            if to_daemon.write_all(&line).is_err() {
                return;
            }
        }
    }

    /// Answers the requests that have waited since `before` or longer.
    fn expire(&self, before: Option<Instant>, reason: &str) -> Result<(), End> {
        let mut told = Vec::new();
        if let (Link::Down(held), Some(before)) = (&mut self.state.lock().link, before) {
            while let Some(line) = held.pop_older(before) {
                told.extend(no_daemon(&line, reason));
            }
        }
        self.tell(&told)
    }

    fn tell(&self, frames: &[String]) -> Result<(), End> {
        frames.iter().try_for_each(|frame| self.write(format!("{frame}\n").as_bytes()))
    }

    fn write(&self, bytes: &[u8]) -> Result<(), End> {
        self.stdout.lock().write_all(bytes).map_err(End::Broken)
    }
}

/// The answer to a request that no daemon will see.
fn no_daemon(line: &[u8], reason: &str) -> Option<String> {
    let envelope = Envelope::parse(line).ok().filter(|envelope| envelope.kind == Kind::Request)?;
    Some(reply::error(envelope.id, code::CONNECTION_CLOSED, &format!("trunkline: {reason}")))
}
