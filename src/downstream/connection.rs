//! One connection on the socket, from its first message to its end.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::downstream::intake::Intake;
use crate::envelope::reply::{self, code};
use crate::envelope::{Envelope, Kind, Malformed};
use crate::fault::contained;
use crate::hub::{Hub, Lifetime, Session, View};
use crate::ipc::{Peer, ReadHalf, WriteHalf, hung_up};
use crate::method::Method;
use crate::names;
use crate::same_folder;
use crate::strangers::{PATIENCE, Stranger};
use crate::wire::{Account, FrameError, Frames, LARGE, Message, Outbox, STALLED, Sink, Writer};

/// Asks for the daemon's calls as an OpenRPC document.
const DISCOVER: &str = "rpc.discover";
/// How long `daemon.attach` may be, in bytes.
const LONGEST_ATTACH: usize = 128 << 10;
/// How long the calls of an agent that said all it had to say may go on, and its last frames be written.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// An accepted connection and the frames that were read from it.
#[derive(Debug)]
pub struct Connection {
    pub frames: Frames<ReadHalf>,
    pub write: WriteHalf,
    pub peer: Peer,
    /// Who all that waits of it and for it is weighed for.
    pub account: Account,
}

impl Connection {
    /// A connection that was accepted, and that is over when `cut` is cancelled.
    pub fn new(hub: &Hub, read: ReadHalf, write: WriteHalf, peer: Peer, cut: CancellationToken) -> Self {
        let whose = match peer.pid {
            Some(pid) => format!("the agent of process {pid}"),
            None => "an agent".to_owned(),
        };
        let account = hub.account(whose, cut);
        let frames = Frames::new(read, hub.config().daemon.max_frame.0, account.beside(usize::MAX));
        Self { frames, write, peer, account }
    }
}

/// What a connection turned out to be.
#[derive(Debug)]
pub enum Opened {
    /// MCP, with the first frame if it was MCP itself.
    Agent { view: View, agent: Agent, attach_id: Option<String>, first: Option<Message> },
    /// `daemon.*` calls, with the first of them.
    Control { first: Message },
    /// Neither; this error is its answer.
    Refused { error: String },
    /// It closed without a word.
    Silent,
}

/// What a shim says first. One of another version may say more.
#[derive(Debug, Default, Deserialize)]
struct Attach {
    server: Option<String>,
    profile: Option<String>,
    cwd: Option<String>,
    client: Option<String>,
    /// What `cwd` is, where the agent is ([`same_folder::identity`]).
    folder: Option<String>,
    /// The machine that it is on.
    host: Option<String>,
    #[serde(flatten)]
    other: HashMap<String, IgnoredAny>,
}

/// Reads the first message and says what it makes of the connection.
pub async fn open(connection: &mut Connection, hub: &Hub, stranger: &Stranger) -> Opened {
    let refused = |code, message: &str| Opened::Refused { error: reply::error("null", code, message) };
    let first = tokio::select! {
        biased;
        first = connection.frames.next() => first,
        () = stranger.must_go() => {
            let message = format!("no message within {PATIENCE:?}, or before many others came");
            return refused(code::INVALID_REQUEST, &message);
        }
    };
    match first {
        Ok(Some(_)) => {}
        Ok(None) => return Opened::Silent,
        Err(error @ (FrameError::TooLong(_) | FrameError::OverBudget)) => {
            return refused(code::INVALID_REQUEST, &error.to_string());
        }
        Err(FrameError::Io(error)) => {
            tracing::debug!(%error, "connection lost before its first message");
            return Opened::Silent;
        }
    }
    let message = match taken_out(&mut connection.frames).await {
        Ok(message) => message,
        Err(error) => return Opened::Refused { error: error.refusal() },
    };
    let envelope = message.envelope();
    let pid = connection.peer.pid;
    if envelope.kind != Kind::Request {
        return refused(
            code::INVALID_REQUEST,
            "the first message must be a request: daemon.attach, another daemon.* call, or MCP",
        );
    }
    if envelope.method_name == "daemon.attach" {
        return match attach(hub, envelope) {
            Ok((view, agent)) => Opened::Agent {
                view,
                agent: Agent { pid, ..agent },
                attach_id: Some(envelope.id.to_owned()),
                first: None,
            },
            Err(message) => Opened::Refused { error: reply::error(envelope.id, code::INVALID_PARAMS, &message) },
        };
    }
    if envelope.method_name.starts_with("daemon.") || envelope.method_name == DISCOVER {
        return Opened::Control { first: message };
    }
    if envelope.method == Some(Method::Initialize) || envelope.method == Some(Method::Ping) || envelope.is_modern() {
        return Opened::Agent {
            view: View::All,
            agent: Agent { pid, ..Agent::default() },
            attach_id: None,
            first: Some(message),
        };
    }
    let message = format!(
        "`{}` cannot be the first message: begin with `initialize`, `server/discover`, daemon.attach or another daemon.* call",
        envelope.method_name
    );
    Opened::Refused { error: reply::error(envelope.id, code::INVALID_REQUEST, &message) }
}

/// Reads the message that came last.
async fn taken_out(frames: &mut Frames<ReadHalf>) -> Result<Message, Malformed> {
    let (frame, held) = frames.take_out();
    Message::read(frame, held, Writer::Agent).await.map_err(|unreadable| unreadable.error)
}

fn attach(hub: &Hub, envelope: &Envelope<'_>) -> Result<(View, Agent), String> {
    #[derive(Deserialize)]
    struct Request {
        #[serde(default)]
        params: Attach,
    }
    let length = envelope.frame.len();
    if length > LONGEST_ATTACH {
        return Err(format!("daemon.attach: the request has {length} bytes, and may have {LONGEST_ATTACH}"));
    }
    let request: Request = serde_json::from_str(envelope.frame)
        .map_err(|error| format!("daemon.attach: {error}; it takes server or profile, cwd and client, by name"))?;
    let Attach { server, profile, cwd, client, folder, host, other } = request.params;
    for name in other.into_keys() {
        // Of another version, or misspelt: that is said, because what was meant would be passed over.
        if let Some(near) = names::nearest(&name, ["server", "profile", "cwd", "client"]) {
            return Err(format!("daemon.attach: unknown field `{name}`: did you mean `{near}`?"));
        }
    }
    let view = match (server, profile) {
        (Some(name), None) => View::One(hub.server_name(&name).map_err(|error| format!("daemon.attach: {error}"))?),
        (None, Some(profile)) => View::Profile(profile.into()),
        (None, None) => View::All,
        (Some(_), Some(_)) => return Err("daemon.attach: name a server or a profile, not both".to_owned()),
    };
    if cwd.as_ref().is_some_and(|cwd| !Path::new(cwd).is_absolute()) {
        return Err("daemon.attach: `cwd` must be an absolute path".to_owned());
    }
    // A path of another machine is no folder here, whatever lies at it.
    let own = cwd.as_deref().and_then(|cwd| same_folder::identity(Path::new(cwd)));
    let is_elsewhere = folder.is_some() && folder != own;
    let (cwd, host) = if is_elsewhere { (None, Some(host.unwrap_or_else(|| "?".to_owned()))) } else { (cwd, None) };
    Ok((view, Agent { name: client, cwd, pid: None, host }))
}

/// How a connection learns that the daemon ends.
#[derive(Debug, Clone)]
pub struct Shutdown {
    /// Nothing new is to be taken.
    pub drain: CancellationToken,
    /// It is over.
    pub stop: CancellationToken,
}

/// Serves an agent until it leaves, does not read, or `stop` is cancelled.
pub async fn serve(
    hub: Arc<Hub>,
    connection: Connection,
    view: View,
    agent: Agent,
    attach_id: Option<String>,
    first: Option<Message>,
    ends: Shutdown,
) {
    let stop = ends.stop;
    let Connection { mut frames, mut write, account, .. } = connection;
    let gone = account.cut().clone();
    let outbox = Outbox::new(account);
    let session = match hub.attach(view, Lifetime::Lasting, agent, Sink::Stream(outbox.clone()), gone) {
        Ok(attached) => attached,
        Err(failure) => {
            return refuse(&mut write, &failure.frame(attach_id.as_deref().unwrap_or("null"))).await;
        }
    };
    if let Some(id) = attach_id {
        session.reply(
            &id,
            &reply::result(
                &id,
                &format!(r#"{{"session":{},"version":"{}"}}"#, session.id.0, env!("CARGO_PKG_VERSION")),
            ),
        );
    }
    let writer = outbox.clone();
    let mut writing = tokio::spawn(async move { writer.write_to_reader(write).await });
    tokio::select! {
        biased;
        read = contained(read(&hub, &session, &outbox, &mut frames, first)) => {
            if let Err(fault) = read {
                session.reply("null", &reply::error("null", code::INTERNAL, &format!("{fault}; the connection is closed")));
            }
        }
        // Nothing new is taken; what is in flight is still answered.
        () = ends.drain.cancelled() => {
            hub.close_listens(&session);
            tokio::select! {
                () = session.settled() => {}
                () = session.gone.cancelled() => {}
            }
        }
        () = session.gone.cancelled() => {}
        written = &mut writing => {
            if let Ok(Err(error)) = written && error.kind() == std::io::ErrorKind::TimedOut {
                let (session, agent) = (session.id.0, session.agent().name.clone());
                tracing::warn!(session, agent, "an agent that took nothing for {STALLED:?} is given up");
            }
        }
    }
    hub.detach(&session);
    outbox.close();
    if !writing.is_finished()
        && (session.gone.is_cancelled() && !stop.is_cancelled() || timeout(LAST_WORDS, &mut writing).await.is_err())
    {
        writing.abort();
        outbox.discard();
    }
    session.gone.cancel();
}

/// Answers a connection that is not taken, and closes it.
pub async fn refuse(write: &mut WriteHalf, frame: &str) {
    use tokio::io::AsyncWriteExt;
    let answer = async {
        write.write_all(frame.as_bytes()).await?;
        write.write_all(b"\n").await?;
        write.shutdown().await
    };
    if let Ok(Err(error)) = timeout(LAST_WORDS, answer).await {
        tracing::debug!(%error, "refusal not delivered");
    }
}

/// Reads the long message that came last, while what waits goes on.
async fn read_large(intake: &mut Intake, frames: &mut Frames<ReadHalf>) -> Result<Message, Malformed> {
    let read = taken_out(frames);
    tokio::pin!(read);
    loop {
        tokio::select! {
            biased;
            message = &mut read => return message,
            () = intake.progress(), if !intake.is_settled() => {}
        }
    }
}

/// Takes a message when there is room for it.
async fn take_large(intake: &mut Intake, session: &Session, envelope: &Envelope<'_>) {
    while !intake.has_room_for(envelope) {
        if intake.waits_aside() {
            return session.refuse_for_weight(envelope);
        }
        intake.progress().await;
    }
    intake.take(envelope);
}

/// Reads until the agent has said all, and then until it has been answered.
async fn read(
    hub: &Arc<Hub>,
    session: &Arc<Session>,
    outbox: &Outbox,
    frames: &mut Frames<ReadHalf>,
    first: Option<Message>,
) {
    let mut intake = Intake::new(hub.clone(), session.clone());
    if let Some(message) = first {
        intake.take(message.envelope());
    }
    loop {
        if outbox.is_half_full() {
            // Reading on would only make more answers for an agent that is behind with reading.
            outbox.room().await;
        }
        let next = if intake.is_settled() {
            frames.next().await
        } else {
            tokio::select! {
                biased;
                () = intake.progress() => continue,
                next = frames.next(), if !intake.is_full() => next,
            }
        };
        match next {
            Ok(Some(frame)) if frame.len() > LARGE => match read_large(&mut intake, frames).await {
                Ok(message) => take_large(&mut intake, session, message.envelope()).await,
                Err(error) => session.reply("null", &error.refusal()),
            },
            Ok(Some(frame)) => match Envelope::from_agent(frame) {
                Ok(envelope) if intake.has_room_for(&envelope) => intake.take(&envelope),
                // What waits there may need an answer that is behind this.
                Ok(envelope) if intake.waits_aside() => session.refuse_for_weight(&envelope),
                Ok(_) => {
                    frames.put_back();
                    intake.progress().await;
                }
                Err(error) => session.reply("null", &error.refusal()),
            },
            Ok(None) => {
                if !hung_up(frames.stream()).await {
                    // It closed its side only: what it asked for is still answered.
                    while !intake.is_settled() {
                        intake.progress().await;
                    }
                    drop(timeout(LAST_WORDS, session.settled()).await);
                }
                return;
            }
            Err(error) => {
                session.reply(
                    "null",
                    &reply::error("null", code::INVALID_REQUEST, &format!("{error}; the connection is closed")),
                );
                return;
            }
        }
    }
}
