//! Streams to those who subscribed: what one is too slow for is counted in its place.

use std::sync::Arc;

use jsonrpsee::core::server::SubscriptionSink;
use jsonrpsee::core::to_json_raw_value;
use serde::Serialize;
use tokio::sync::broadcast;

use super::shapes::{LogLine, Missed};

pub(super) fn log_line(line: Arc<str>) -> LogLine {
    LogLine { line: line.to_string() }
}

/// Passes a stream on until the subscriber goes; what it is too slow for is counted in its place.
pub(super) async fn follow<T: Clone, M: Serialize>(
    sink: SubscriptionSink,
    mut stream: broadcast::Receiver<T>,
    message: impl Fn(T) -> M,
) {
    loop {
        let received = tokio::select! {
            () = sink.closed() => return,
            received = stream.recv() => received,
        };
        let sent = match received {
            Ok(item) => send(&sink, &message(item)).await,
            Err(broadcast::error::RecvError::Lagged(missed)) => send(&sink, &Missed { missed }).await,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        if sent.is_err() {
            return;
        }
    }
}

pub(super) async fn send(sink: &SubscriptionSink, message: &impl Serialize) -> Result<(), ()> {
    let message = to_json_raw_value(message).map_err(drop)?;
    sink.send(message).await.map_err(drop)
}
