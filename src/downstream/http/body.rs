//! Bodies of requests, weighed while they arrive.

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::StreamExt;

use crate::downstream::http::answer::refused;
use crate::envelope::reply::code;
use crate::wire::{Account, Held, Turn};

/// A body, and what it weighs.
pub(super) struct Weighed {
    pub bytes: Bytes,
    pub held: Held,
}

/// Why a body was not read to its end.
pub(super) enum Unread {
    TooLong,
    OverBudget,
    Cut,
}

/// Reads a body of at most `cap` bytes.
pub(super) async fn weighed(body: Body, cap: usize, account: &Account) -> Result<Weighed, Unread> {
    let mut held = account.nothing();
    let (mut chunks, mut bytes, mut turn) = (body.into_data_stream(), Vec::new(), Turn::default());
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Unread::Cut)?;
        let length = bytes.len() + chunk.len();
        if length > cap {
            return Err(Unread::TooLong);
        }
        if length > bytes.capacity() {
            let room = (length * 2).min(cap);
            held.resize(room).map_err(|_| Unread::OverBudget)?;
            bytes.reserve_exact(room - bytes.len());
        }
        bytes.extend_from_slice(&chunk);
        turn.count(chunk.len()).await;
    }
    bytes.shrink_to_fit();
    held.resize(bytes.len()).map_err(|_| Unread::OverBudget)?;
    Ok(Weighed { bytes: bytes.into(), held })
}

pub(super) fn over_budget() -> Response {
    let message = "as much waits in the daemon as may (max_memory): send it again when some of it is answered";
    refused(StatusCode::SERVICE_UNAVAILABLE, code::INTERNAL, message)
}
