//! The stdio shim: attaches to the daemon, then moves bytes between it and the agent, and knows nothing of them.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use serde::Deserialize;

use super::{Done, complain, start};
use crate::envelope::{Envelope, quoted};
use crate::ipc::Reader;
use crate::paths::Places;

const CHUNK: usize = 64 * 1024;
/// The longest answer to `daemon.attach`.
const MAX_REPLY: usize = 64 * 1024;

pub(super) fn run(places: &Places, server: Option<&str>, client: Option<&str>) -> Done {
    let (mut from_daemon, mut to_daemon) = start::connect(places)?;
    attach(&mut from_daemon, &mut to_daemon, server, client)?;
    let (mut stdin, mut stdout) = raw_stdio()?;
    let agent_is_done = Arc::new(AtomicBool::new(false));
    let (done, mut chunk) = (agent_is_done.clone(), vec![0; CHUNK]);
    std::thread::spawn(move || {
        let sent = pump(&mut stdin, &mut to_daemon, &mut chunk);
        // Told before the daemon can hang up in answer.
        done.store(true, Ordering::Release);
        if sent.is_ok() {
            finish(to_daemon);
        }
    });
    match pump(&mut from_daemon, &mut stdout, &mut vec![0; CHUNK]) {
        Ok(()) if agent_is_done.load(Ordering::Acquire) => Ok(ExitCode::SUCCESS),
        Ok(()) => {
            complain("the daemon closed the connection; `trunkline logs` or its log file may say why");
            Ok(ExitCode::FAILURE)
        }
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(anyhow::Error::new(error).context("the connection to the daemon broke").into()),
    }
}

/// Standard input and output without the buffers of `std`.
#[cfg(unix)]
fn raw_stdio() -> io::Result<(std::fs::File, std::fs::File)> {
    use std::os::fd::AsFd;
    Ok((io::stdin().as_fd().try_clone_to_owned()?.into(), io::stdout().as_fd().try_clone_to_owned()?.into()))
}

#[cfg(windows)]
fn raw_stdio() -> io::Result<(std::fs::File, std::fs::File)> {
    use std::os::windows::io::AsHandle;
    Ok((io::stdin().as_handle().try_clone_to_owned()?.into(), io::stdout().as_handle().try_clone_to_owned()?.into()))
}

/// The agent says no more. If it also reads no more, it is gone, and its calls need not be finished.
#[cfg(unix)]
fn finish(to_daemon: crate::ipc::ClientStream) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = io::stdout();
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    let polled = poll(&mut watched, Some(&Timespec::default()));
    let gone = polled.is_ok() && watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL);
    let how = if gone { std::net::Shutdown::Both } else { std::net::Shutdown::Write };
    // Fails only if the daemon hung up first, which the other direction sees too.
    drop(to_daemon.shutdown(how));
}

#[cfg(windows)]
#[expect(
    clippy::exit,
    reason = "a pipe cannot be closed on one side only, and the main thread waits for its other side"
)]
fn finish(_to_daemon: crate::ipc::ClientStream) {
    std::process::exit(0);
}

fn pump(from: &mut impl Read, to: &mut impl Write, chunk: &mut [u8]) -> io::Result<()> {
    loop {
        match from.read(chunk) {
            Ok(0) => return Ok(()),
            Ok(length) => to.write_all(&chunk[..length])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn attach(
    from_daemon: &mut Reader,
    to_daemon: &mut impl Write,
    server: Option<&str>,
    client: Option<&str>,
) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    let cwd = std::env::current_dir().ok().map(|folder| folder.display().to_string());
    let client = client.map(str::to_owned).or_else(parent_name);
    let named = [("server", server.map(str::to_owned)), ("cwd", cwd), ("client", client)];
    let params: Vec<_> =
        named.into_iter().filter_map(|(name, value)| Some(format!("\"{name}\":{}", quoted(&value?)))).collect();
    let params = params.join(",");
    let request = format!(r#"{{"jsonrpc":"2.0","id":0,"method":"daemon.attach","params":{{{params}}}}}"#);
    to_daemon.write_all(format!("{request}\n").as_bytes()).context("the daemon does not take the connection")?;
    let mut reply = Vec::new();
    let mut chunk = [0; 512];
    while !reply.ends_with(b"\n") {
        let length = from_daemon.read(&mut chunk).context("the daemon does not answer")?;
        if length == 0 || reply.len() > MAX_REPLY {
            bail!("the daemon closed the connection: is it of another version?");
        }
        reply.extend_from_slice(&chunk[..length]);
    }
    let reply = Envelope::parse(&reply).context("the daemon's answer cannot be read")?;
    match reply.error.map(serde_json::from_str) {
        None => Ok(()),
        Some(Ok(Refusal { message })) => bail!("{message}"),
        Some(Err(error)) => Err(error).context("the daemon's refusal cannot be read"),
    }
}

/// The name of the program that started this one, where the system tells it.
fn parent_name() -> Option<String> {
    #[cfg(target_os = "linux")]
    {
        let parent = std::os::unix::process::parent_id();
        let name = std::fs::read_to_string(format!("/proc/{parent}/comm")).ok()?;
        Some(name.trim_end().to_owned())
    }
    #[cfg(not(target_os = "linux"))]
    None
}
