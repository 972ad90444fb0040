//! Responses: one JSON message where the answer comes alone, else a stream of events.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use tokio::time::timeout;

use crate::envelope::Envelope;
use crate::envelope::reply::{self, code};
use crate::wire::{Read, Reader};

/// How long a stream may be quiet before a comment keeps it open.
const QUIET: Duration = Duration::from_secs(15);
const COMMENT: &str = ":\n\n";
/// When a client may come back for a stream that was cut, in milliseconds.
const RETRY: u32 = 500;
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What a client takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepts {
    pub json: bool,
    pub events: bool,
    /// It names events first, or alone: then it gets a stream, also for an answer that comes alone.
    pub rather_events: bool,
}

/// Whether the events of a stream have names by which they can be asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    Yes,
    No,
}

pub(super) fn accepts(headers: &HeaderMap) -> Accepts {
    let all = headers.get_all(header::ACCEPT);
    let values: Vec<_> = all.iter().filter_map(|value| value.to_str().ok()).collect();
    let has = |kind: &str| {
        values.is_empty()
            || values.iter().flat_map(|value| value.split(',')).any(|range| {
                let range = range.split(';').next().unwrap_or_default().trim();
                range == "*/*"
                    || range.eq_ignore_ascii_case(kind)
                    || kind.strip_prefix(range.trim_end_matches('*')).is_some() && range.ends_with("/*")
            })
    };
    let (json, events) = (has("application/json"), has("text/event-stream"));
    let first = values.first().is_some_and(|first| first.trim_start().starts_with("text/event-stream"));
    Accepts { json, events, rather_events: events && (first || !json) }
}

/// An error that answers no message in particular.
pub(super) fn refused(status: StatusCode, code: i32, message: &str) -> Response {
    refused_as(status, &reply::error("null", code, message))
}

/// An error frame as a response.
pub(super) fn refused_as(status: StatusCode, frame: &str) -> Response {
    (status, [(header::CONTENT_TYPE, JSON)], frame.to_owned()).into_response()
}

/// How a request is responded to.
pub(super) struct Form<U> {
    pub accepts: Accepts,
    pub named: Named,
    pub status: fn(&Bytes) -> StatusCode,
    /// Told of what comes before the answer where the answer alone is taken.
    pub unseen: U,
}

/// The response to a request: what comes first decides its form. `held` lives as long as the response does.
pub(super) async fn respond<H: Send + 'static, U: Fn(&[u8])>(
    mut reader: Reader,
    patience: Duration,
    form: Form<U>,
    held: H,
) -> Response {
    let Form { accepts, named, status, unseen } = form;
    let first = match timeout(patience, reader.next()).await {
        Ok(Read::Frame(frame, id)) if reader.is_answered() => {
            let status = status(&frame);
            if accepts.rather_events && status == StatusCode::OK {
                return stream(reader, Some(Read::Frame(frame, id)), named, held);
            }
            reader.forget();
            return (status, [(header::CONTENT_TYPE, JSON)], Body::from(frame)).into_response();
        }
        // There is no answer to come, nor anything to take up.
        Ok(Read::End) if accepts.events => return stream(reader, Some(Read::End), Named::No, held),
        Ok(Read::End) => return empty(StatusCode::NO_CONTENT),
        Ok(first @ (Read::Frame(..) | Read::Pause)) => Some(first),
        Err(_) => None,
    };
    if accepts.events {
        return stream(reader, first, named, held);
    }
    // It takes nothing but the answer itself.
    if let Some(Read::Frame(frame, _)) = &first {
        unseen(frame);
    }
    loop {
        match reader.next().await {
            Read::Frame(frame, _) if reader.is_answered() => {
                reader.forget();
                return (status(&frame), [(header::CONTENT_TYPE, JSON)], Body::from(frame)).into_response();
            }
            Read::Frame(frame, _) => unseen(&frame),
            Read::Pause => {}
            Read::End => return empty(StatusCode::NO_CONTENT),
        }
    }
}

/// A stream of what a reader finds, until there is no more.
pub(super) fn stream<H: Send + 'static>(reader: Reader, first: Option<Read>, named: Named, held: H) -> Response {
    struct State<H> {
        reader: Reader,
        first: Option<Read>,
        opening: Option<String>,
        _held: H,
    }
    // An event without data, so that even a stream that is cut before the first message can be taken up again.
    let opening = match named {
        Named::Yes => format!("id: {}\nretry: {RETRY}\ndata: \n\n", reader.start()),
        Named::No => COMMENT.to_owned(),
    };
    let state = State { reader, first, opening: Some(opening), _held: held };
    let events = unfold(state, move |mut state| async move {
        if let Some(opening) = state.opening.take() {
            return Some((Ok::<_, std::convert::Infallible>(Bytes::from(opening)), state));
        }
        let read = match state.first.take() {
            Some(read) => read,
            None => match timeout(QUIET, state.reader.next()).await {
                Ok(read) => read,
                Err(_) => return Some((Ok(Bytes::from_static(COMMENT.as_bytes())), state)),
            },
        };
        match read {
            Read::Frame(frame, id) => {
                let mut event = Vec::with_capacity(frame.len() + 48);
                if named == Named::Yes {
                    event.extend_from_slice(format!("id: {id}\n").as_bytes());
                }
                event.extend_from_slice(b"event: message\ndata: ");
                event.extend_from_slice(&frame);
                event.extend_from_slice(b"\n\n");
                Some((Ok(Bytes::from(event)), state))
            }
            Read::Pause => None,
            Read::End => {
                if named == Named::No {
                    state.reader.forget();
                }
                None
            }
        }
    });
    let headers = [
        (header::CONTENT_TYPE, EVENTS),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, Body::from_stream(events)).into_response()
}

/// The status of an answer in the legacy era, where errors are told by the message alone.
pub(super) fn always_ok(_: &Bytes) -> StatusCode {
    StatusCode::OK
}

/// Stands for the status of an `initialize` that was refused.
pub(super) const FAILED: StatusCode = StatusCode::BAD_GATEWAY;

/// Tells a result from an error.
pub(super) fn by_kind(frame: &Bytes) -> StatusCode {
    let failed = Envelope::parse(frame).is_ok_and(|envelope| envelope.error.is_some());
    if failed { FAILED } else { StatusCode::OK }
}

/// The status of an answer in the modern era (MCP 2026-07-28 `basic/transports/streamable-http`).
pub(super) fn by_error(frame: &Bytes) -> StatusCode {
    if memchr::memmem::find(frame, b"\"error\"").is_none() {
        return StatusCode::OK;
    }
    match Envelope::parse(frame).ok().and_then(|envelope| reply::code_of(envelope.error?)) {
        Some(code::METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
        Some(code::HEADER_MISMATCH | code::MISSING_CAPABILITY | code::UNSUPPORTED_VERSION) => StatusCode::BAD_REQUEST,
        Some(_) | None => StatusCode::OK,
    }
}

/// GET and DELETE belong to sessions, of which the modern era has none.
pub(super) fn not_allowed() -> Response {
    let message = "only POST without a session: GET and DELETE belong to a session, named by `Mcp-Session-Id`";
    let mut response = refused(StatusCode::METHOD_NOT_ALLOWED, code::INVALID_REQUEST, message);
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("POST"));
    response
}

pub(super) fn ending() -> Response {
    refused(StatusCode::SERVICE_UNAVAILABLE, code::CONNECTION_CLOSED, "the daemon is ending")
}

pub(super) fn empty(status: StatusCode) -> Response {
    (status, Body::empty()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_takes() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::ACCEPT, HeaderValue::from_static(value));
            }
            let Accepts { json, events, .. } = accepts(&headers);
            (json, events)
        };
        assert_eq!(of(&["application/json, text/event-stream"]), (true, true));
        assert_eq!(of(&["application/json;q=1", "text/*"]), (true, true));
        assert_eq!(of(&["text/event-stream"]), (false, true));
        assert_eq!(of(&["*/*"]), (true, true));
        assert_eq!(of(&[]), (true, true));
        assert_eq!(of(&["text/html"]), (false, false));
    }

    #[test]
    fn errors_of_the_protocol_have_a_status() {
        let status = |frame: &'static str| by_error(&Bytes::from_static(frame.as_bytes())).as_u16();
        assert_eq!(status(r#"{"id":1,"result":{"error":{"code":-32601}}}"#), 200);
        assert_eq!(status(r#"{"error":{"code":-32601,"message":""},"id":1}"#), 404);
        assert_eq!(status(r#"{"id":1,"error":{"code":-32021,"message":""}}"#), 400);
        assert_eq!(status(r#"{"id":1,"error":{"code":-32602,"message":""}}"#), 200);
    }
}
