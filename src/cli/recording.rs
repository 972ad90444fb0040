//! `record`, `replay` and `diff`: messages into a file, a server out of it, two of them compared.

use std::fs::File;
use std::io::{self, BufRead, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::AsyncWriteExt;

use crate::cli::diff;
use crate::cli::done::{Done, Trouble, complain, out};
use crate::cli::reach::block_on;
use crate::envelope::Envelope;
use crate::envelope::quoted;
use crate::ipc;
use crate::paths::Places;
use crate::recording::{Line, Note, Recording, Replay, read, script};
use crate::wire::{Account, Frames};

/// The largest line that is read.
const LONGEST: usize = 1 << 30;
/// The form of the file.
const FORM: u32 = 1;

/// What the daemon says on the connection.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow, default)]
    params: Option<Params<'a>>,
    #[serde(default)]
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    result: &'a RawValue,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// Writes what is said into a file until interrupted. What is read is written as it is, byte for byte.
pub(super) fn record(places: &Places, server: Option<&str>, agent: Option<&str>, output: &Path) -> Done {
    let place = output.display();
    let (member, of) = match (server, agent) {
        (_, Some(agent)) => ("agent", agent),
        (server, None) => ("server", server.unwrap_or_default()),
    };
    let count = block_on(async {
        let connected = ipc::connect(&places.socket).await;
        let (read, mut write) = connected.map_err(|_| Trouble::NoDaemon(places.socket.display().to_string()))?;
        let params = format!(r#"{{"{member}":{}}}"#, quoted(of));
        let request = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"daemon.record\",\"params\":{params}}}\n");
        write.write_all(request.as_bytes()).await?;
        write.flush().await?;
        let mut frames = Frames::new(read, LONGEST, Account::alone(usize::MAX));
        let interrupted = interrupted();
        tokio::pin!(interrupted);
        let mut count = 0_u64;
        let mut file: Option<BufWriter<File>> = None;
        loop {
            let frame = tokio::select! {
                frame = frames.next() => frame.map_err(anyhow::Error::from)?,
                () = &mut interrupted => break,
            };
            let Some(frame) = frame else {
                return Err(Trouble::Daemon(format!("the daemon has ended: {count} messages are in {place}")));
            };
            let said: Said<'_> = serde_json::from_slice(frame).map_err(anyhow::Error::from)?;
            if let Some(Refusal { message }) = said.error {
                return Err(Trouble::Daemon(message));
            }
            if file.is_none() {
                // Whom is meant is there: now what was in the file is not wanted any more.
                file = Some(begin(output)?);
                complain(&format!(
                    "recording {member} `{of}` into {place}, without the secrets that trunkline keeps; Ctrl-C ends it"
                ));
            }
            if let (Some(Params { result }), Some(file)) = (said.params, &mut file) {
                writeln!(file, "{}", result.get())?;
                file.flush()?;
                count += 1;
            }
        }
        Ok(count)
    })?;
    let what = if count == 1 { "message is" } else { "messages are" };
    complain(&format!("{count} {what} in {place}; secrets that trunkline gave to servers are replaced by [secret]"));
    Ok(ExitCode::SUCCESS)
}

/// Begins the file.
fn begin(output: &Path) -> anyhow::Result<BufWriter<File>> {
    let mut options = File::options();
    options.create(true).truncate(true).write(true);
    // What agents say to servers is nobody else's business.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(output).with_context(|| format!("cannot write {}", output.display()))?;
    let mut file = BufWriter::new(file);
    let form = Note { trunkline_recording: Some(FORM), ..Note::default() };
    writeln!(file, "{}", serde_json::to_string(&form)?)?;
    file.flush()?;
    Ok(file)
}

/// Waits until a person, or whoever started this, wants an end.
async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let (Ok(mut interrupt), Ok(mut terminate)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    drop(tokio::signal::ctrl_c().await);
}

/// A server on standard input and output, until its client closes them.
pub(super) fn replay(file: &Path) -> Done {
    let mut replay = Replay::new(&lines(file)?);
    complain(&format!(
        "replaying {} on standard input and output: {} requests are known",
        file.display(),
        replay.count()
    ));
    let mut output = io::stdout().lock();
    for line in io::stdin().lock().split(b'\n') {
        let line = line?;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match Envelope::parse(&line) {
            Ok(envelope) => {
                for message in replay.answer(&envelope) {
                    writeln!(output, "{message}")?;
                }
                output.flush()?;
            }
            Err(error) => {
                writeln!(output, "{}", error.refusal())?;
                output.flush()?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Where two recordings differ, ids and moments aside; the exit status says whether they do.
pub(super) fn compare(one: &Path, other: &Path) -> Done {
    let (before, after) = match (lines(one), lines(other)) {
        (Ok(one), Ok(other)) => (script(&one), script(&other)),
        // A script tells it from recordings that differ.
        (Err(error), _) | (_, Err(error)) => {
            complain(&error.to_string());
            return Ok(ExitCode::from(2));
        }
    };
    if before == after {
        complain("the recordings say the same, ids and moments aside");
        return Ok(ExitCode::SUCCESS);
    }
    diff::print_between(&mut out(), (one, &before), (other, &after))?;
    Ok(ExitCode::FAILURE)
}

/// The messages of a recording; what is missing in it is said.
fn lines(file: &Path) -> Result<Vec<Line>, Trouble> {
    let Recording { lines, missed, is_cut } = read(file).map_err(|error| anyhow!(error))?;
    let place = file.display();
    if missed > 0 {
        complain(&format!("{place}: {missed} messages are missing: they came faster than they could be written"));
    }
    if is_cut {
        complain(&format!("{place}: the last line is cut: what was being written when the recording ended is missing"));
    }
    Ok(lines)
}
