//! The least a multiplexer can do: one child, any number of agents, ids rewritten, and nothing checked.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use memchr::memmem;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, poll};

type Pending = Mutex<HashMap<u64, (Arc<UnixStream>, Vec<u8>)>>;

/// Serves agents on `socket` until it is killed: one thread for what agents say, one for what the child does.
pub(crate) fn serve(socket: &Path) -> io::Result<()> {
    let mut child =
        Command::new(std::env::current_exe()?).arg("echo").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (Some(mut to_child), Some(from_child)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let listener = UnixListener::bind(socket)?;
    let pending: Arc<Pending> = Arc::default();
    std::thread::spawn({
        let pending = pending.clone();
        move || deliver(from_child, &pending)
    });
    let mut agents: Vec<(Arc<UnixStream>, Vec<u8>)> = Vec::new();
    let (mut next, mut chunk) = (0u64, vec![0; 64 * 1024]);
    loop {
        let ready: Vec<bool> = {
            let mut watched = vec![PollFd::new(&listener, PollFlags::IN)];
            watched.extend(agents.iter().map(|(stream, _)| PollFd::new(stream, PollFlags::IN)));
            poll(&mut watched, None)?;
            watched.iter().map(|fd| !fd.revents().is_empty()).collect()
        };
        let mut out = Vec::new();
        for (index, _) in
            ready.iter().skip(1).enumerate().filter(|(_, ready)| **ready).collect::<Vec<_>>().into_iter().rev()
        {
            let (stream, buffer) = &mut agents[index];
            let length = (&**stream).read(&mut chunk)?;
            if length == 0 {
                agents.swap_remove(index);
                continue;
            }
            buffer.extend_from_slice(&chunk[..length]);
            let done = memchr::memrchr(b'\n', buffer).map_or(0, |at| at + 1);
            for line in buffer[..done].split_inclusive(|byte| *byte == b'\n') {
                let Some(at) = id_of(line) else { continue };
                pending.lock().insert(next, (stream.clone(), line[at.clone()].to_vec()));
                out.extend_from_slice(&line[..at.start]);
                write!(out, "{next}")?;
                out.extend_from_slice(&line[at.end..]);
                next += 1;
            }
            buffer.drain(..done);
        }
        to_child.write_all(&out)?;
        if ready[0] {
            agents.push((Arc::new(listener.accept()?.0), Vec::new()));
        }
    }
}

fn deliver(mut from_child: impl Read, pending: &Pending) -> io::Result<()> {
    let (mut answers, mut chunk) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let length = from_child.read(&mut chunk)?;
        if length == 0 {
            return Ok(());
        }
        answers.extend_from_slice(&chunk[..length]);
        let done = memchr::memrchr(b'\n', &answers).map_or(0, |at| at + 1);
        let mut last: Option<(Arc<UnixStream>, Vec<u8>)> = None;
        for line in answers[..done].split_inclusive(|byte| *byte == b'\n') {
            let Some(at) = id_of(line) else { continue };
            let ours = std::str::from_utf8(&line[at.clone()]).ok().and_then(|text| text.parse().ok());
            let Some((stream, id)) = ours.and_then(|ours: u64| pending.lock().remove(&ours)) else { continue };
            if let Some((other, out)) = last.take_if(|(other, _)| !Arc::ptr_eq(other, &stream)) {
                (&*other).write_all(&out)?;
            }
            let (_, out) = last.get_or_insert_with(|| (stream, Vec::new()));
            out.extend_from_slice(&line[..at.start]);
            out.extend_from_slice(&id);
            out.extend_from_slice(&line[at.end..]);
        }
        if let Some((stream, out)) = last {
            // An agent that left does not want its answer.
            drop((&*stream).write_all(&out));
        }
        answers.drain(..done);
    }
}

fn id_of(line: &[u8]) -> Option<std::ops::Range<usize>> {
    let start = memmem::find(line, b"\"id\":")? + 5;
    let length = line[start..].iter().position(|byte| matches!(byte, b',' | b'}'))?;
    Some(start..start + length)
}
