//! What is recorded, for those who ask: calls that have ended, and messages as they go.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::select_all;
use jsonrpsee::core::server::SubscriptionSink;
use jsonrpsee::core::{RpcResult, to_json_raw_value};

use super::refusal::refused;
use crate::envelope::reply::code;
use crate::hub::{Hub, Server, Session};
use crate::masks::Masks;
use crate::record::{ReadError, Reader, Recorder};
use crate::recording::{Direction, Heard, Line, Note, Watcher};

/// What is recorded.
pub(super) enum Recorded {
    Server(Arc<Server>),
    Agents(Vec<Arc<Session>>),
}

/// The agents of a name, process or session.
pub(super) fn agents(hub: &Hub, wanted: &str) -> Vec<Arc<Session>> {
    let number: Option<u64> = wanted.parse().ok();
    let is = |session: &Arc<Session>| {
        let agent = session.agent();
        let by_number = number.is_some_and(|number| session.id.0 == number || agent.pid.map(u64::from) == Some(number));
        by_number || agent.name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(wanted))
    };
    hub.sessions().into_iter().filter(is).collect()
}

/// Passes messages on until the one who asked goes.
pub(super) async fn follow(sink: SubscriptionSink, recorded: Recorded, masks: Masks) {
    let watched: Vec<(String, Watcher)> = match &recorded {
        Recorded::Server(server) => vec![(server.name.to_string(), server.tee().watch())],
        Recorded::Agents(sessions) => {
            sessions.iter().map(|session| (name_of(session), session.tee().watch())).collect()
        }
    };
    if let Recorded::Server(server) = &recorded {
        for (connection, frame) in server.said_before() {
            let at = std::time::SystemTime::now();
            let heard = Heard { at, direction: Direction::Handshake, connection, text: frame };
            if say(&sink, &heard, server.name.as_str(), &masks).await.is_err() {
                return;
            }
        }
    }
    drop(recorded);
    loop {
        let next = select_all(watched.iter().map(|(of, watcher)| {
            Box::pin(async move {
                let (missed, heard) = watcher.next().await;
                (of, missed, heard)
            })
        }));
        let (of, missed, heard) = tokio::select! {
            () = sink.closed() => return,
            ((of, missed, heard), ..) = next => (of, missed, heard),
        };
        if missed > 0 {
            let note = Note { missed: Some(missed), ..Note::default() };
            let Ok(note) = to_json_raw_value(&note) else { return };
            if sink.send(note).await.is_err() {
                return;
            }
        }
        if say(&sink, &heard, of, &masks).await.is_err() {
            return;
        }
    }
}

fn name_of(session: &Session) -> String {
    session.agent().name.clone().unwrap_or_else(|| format!("session {}", session.id.0))
}

async fn say(sink: &SubscriptionSink, heard: &Heard, of: &str, masks: &Masks) -> Result<(), ()> {
    let line = Line::new(heard, of, &masks.apply(&heard.text));
    let line = to_json_raw_value(&line).map_err(drop)?;
    sink.send(line).await.map_err(drop)
}

/// Reads the record of calls in `file`, with all that has ended by now; one that is not there has nothing in it.
pub(super) async fn read<T: Default + Send + 'static>(
    recorder: Recorder,
    file: PathBuf,
    read: impl FnOnce(&Reader) -> Result<T, ReadError> + Send + 'static,
) -> RpcResult<T> {
    let read = move || {
        recorder.flush();
        match Reader::open(&file) {
            Ok(reader) => read(&reader),
            Err(ReadError::Missing(_)) => Ok(T::default()),
            Err(error) => Err(error),
        }
    };
    let found = tokio::task::spawn_blocking(read).await.map_err(|error| refused(code::INTERNAL, error.to_string()))?;
    found.map_err(|error| match error {
        ReadError::Moment(_) => refused(code::INVALID_PARAMS, error.to_string()),
        ReadError::Missing(_) | ReadError::Sqlite { .. } | ReadError::Foreign { .. } => {
            refused(code::INTERNAL, error.to_string())
        }
    })
}
