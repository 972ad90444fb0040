//! The wire to a server that is a child process: its standard streams, its tasks, and why it ended.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::AsyncRead;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::{Given, Stdio};
use crate::envelope::Envelope;
use crate::fault::contained;
use crate::lines::Lines;
use crate::upstream::child::{Child, SpawnError, Streams};
use crate::upstream::heard::Heard;
use crate::upstream::inbound::Inbound;
use crate::upstream::instance_services::InstanceServices;
use crate::upstream::running::{Ended, OVER_BUDGET, Running};
use crate::upstream::salvage::{lost_between, salvage};
use crate::upstream::start_error::StartError;
use crate::upstream::stderr;
use crate::upstream::tap::Tap;
use crate::wire::{FrameError, Frames, LARGE};

/// How many lines of standard error an error message quotes.
const QUOTED_LINES: usize = 5;
/// How long to wait for the exit status once the output ended.
const EXIT_WAIT: Duration = Duration::from_secs(1);

/// Starts the command, and the tasks that move its bytes.
pub(super) fn start(
    server: &Stdio,
    given: Given<'_>,
    background: bool,
    tap: Arc<Tap>,
    around: &InstanceServices,
    stop: CancellationToken,
    inbound: impl Fn(Inbound<'_>) + Send + Sync + 'static,
) -> Result<Running, StartError> {
    let (child, streams) = Child::spawn(server, given, &around.ledger, &around.masks).map_err(|error| match error {
        SpawnError::Template(error) => StartError::Template(error.to_string()),
        error @ (SpawnError::Folder(_) | SpawnError::Variables(..)) => StartError::Template(error.to_string()),
        SpawnError::Spawn { .. } | SpawnError::Streams(_) => StartError::Spawn(error.to_string()),
    })?;
    let pid = child.pid;
    if background {
        child.step_back();
    }
    let Streams { stdin, stdout, stderr: errors } = streams;
    // Errors quote this process only; the server's log has them all.
    let last_lines = Lines::new(QUOTED_LINES);
    let writer = tap.outbox().clone();
    let writing = around.tasks.spawn(async move { writer.write_to(stdin).await });
    let erring = around.tasks.spawn(stderr::keep(errors, last_lines.clone(), around.log.clone()));
    let gone = CancellationToken::new();
    let owner = Owner { child, tap, stop, last_lines: last_lines.clone(), _ended: gone.clone().drop_guard() };
    let owner = around.tasks.spawn(owner.run(stdout, around.max_frame, inbound, writing, erring));
    Ok(Running { pid: Some(pid), gone, owner, last_lines })
}

/// What a process said last, for an error message.
pub(super) fn quoted_stderr(lines: &Lines) -> String {
    let tail = lines.tail(QUOTED_LINES);
    if tail.is_empty() { String::new() } else { format!("; its last lines on standard error: {}", tail.join(" | ")) }
}

/// Owns the process: reads it, and ends it.
struct Owner {
    child: Child,
    tap: Arc<Tap>,
    stop: CancellationToken,
    /// What this process wrote to its standard error last.
    last_lines: Lines,
    _ended: DropGuard,
}

impl Owner {
    /// Runs until the server ends or is stopped; returns why, in words.
    async fn run<O: AsyncRead + Unpin>(
        self,
        stdout: O,
        cap: usize,
        inbound: impl Fn(Inbound<'_>),
        mut writing: tokio::task::JoinHandle<io::Result<()>>,
        erring: tokio::task::JoinHandle<()>,
    ) -> Ended {
        let Self { mut child, tap, stop, last_lines, _ended } = self;
        let pid = child.pid;
        let mut status = None;
        let cut = {
            let account = tap.outbox().account();
            let reading = contained(read(&tap, Frames::new(stdout, cap, account.apart(usize::MAX)), &inbound));
            let reading = reading.map(|read| read.unwrap_or_else(|fault| Some(fault.to_string())));
            tokio::pin!(reading);
            tokio::select! {
                biased;
                () = stop.cancelled() => Some("it was stopped".to_owned()),
                () = account.cut().cancelled() => Some(OVER_BUDGET.to_owned()),
                cut = &mut reading => cut,
                exited = child.wait() => {
                    status = exited.ok();
                    // Its last words are in the pipe; a process that it left behind may hold the pipe open for ever.
                    timeout(EXIT_WAIT, &mut reading).await.unwrap_or(None)
                }
                _ = &mut writing => match timeout(EXIT_WAIT, &mut reading).await {
                    Ok(cut) => cut,
                    Err(_) => Some("it does not take input any more".to_owned()),
                },
            }
        };
        tap.outbox().close();
        if cut.is_none() {
            if status.is_none() {
                status = timeout(EXIT_WAIT, child.wait()).await.ok().and_then(Result::ok);
            }
            // The last words on standard error explain the exit; they are in the pipe already.
            drop(timeout(EXIT_WAIT, erring).await);
        }
        let ended = cut.unwrap_or_else(|| ended_with(status, &last_lines));
        inbound(Inbound::Closed(&ended));
        tap.close();
        if !writing.is_finished() {
            writing.abort();
            drop(writing.await);
        }
        tap.outbox().discard();
        child.stop().await;
        tracing::info!(server = %tap.server(), pid, reason = ended, "server process ended");
        Ended::Gone(ended)
    }
}

/// Reads until the output ends; `Some` says why reading was given up before that.
async fn read<O: AsyncRead + Unpin>(
    tap: &Tap,
    mut frames: Frames<O>,
    inbound: &impl Fn(Inbound<'_>),
) -> Option<String> {
    loop {
        match frames.next().await {
            Ok(Some(frame)) if frame.len() > LARGE => {
                let (frame, held) = frames.take_out();
                tap.sort_heard(Heard::read(frame, held).await, inbound);
            }
            Ok(Some(frame)) => match Envelope::parse(frame) {
                Ok(envelope) => tap.sort(&envelope, None, inbound),
                Err(error) => tap.sort_rest(salvage(frame), &error, inbound),
            },
            Ok(None) => return None,
            Err(FrameError::Io(error)) => return Some(format!("its output cannot be read: {error}")),
            Err(error @ (FrameError::TooLong(_) | FrameError::OverBudget)) => match frames.skip().await {
                // Its neighbours are answered all the same.
                Ok(Some(ends)) => {
                    match error {
                        FrameError::OverBudget => {
                            tracing::warn!(server = %tap.server(), %error, "an answer is left out")
                        }
                        FrameError::TooLong(_) | FrameError::Io(_) => tap.note_skipped(&error.to_string(), &ends.head),
                    }
                    let lost = lost_between(&ends.head, &ends.tail);
                    if lost.is_answer {
                        tap.lose(&lost, &error.to_string(), inbound);
                    } else if let Some(id) = &lost.id {
                        tap.refuse(id, &error.to_string());
                    }
                }
                Ok(None) => return None,
                Err(_) => return Some(format!("{error}; it was stopped")),
            },
        }
    }
}

fn ended_with(status: Option<ExitStatus>, stderr: &Lines) -> String {
    let how = match status {
        Some(status) => format!("the process ended ({status})"),
        None => "it closed its output".to_owned(),
    };
    how + &quoted_stderr(stderr)
}
