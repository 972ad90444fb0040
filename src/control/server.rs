//! The daemon's end of the control calls: one `RpcModule` for each connection, with subscriptions of its own.

use std::time::Duration;

use futures_util::future::{BoxFuture, ready};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use jsonrpsee::core::id_providers::RandomIntegerIdProvider;
use jsonrpsee::core::server::{
    BoundedSubscriptions, ConnectionId, Extensions, MethodCallback, MethodResponse, MethodSink, Methods,
    SubscriptionState,
};
use jsonrpsee::types::{ErrorCode, ErrorObject, Id, Params, Request};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::api::DaemonServer;
use super::calls::Api;
use super::long_call;
use super::refusal::refused;
use crate::envelope::Envelope;
use crate::envelope::reply::{self, code};
use crate::ipc::{ReadHalf, WriteHalf, hung_up};
use crate::wire::{Account, Frames, Message, Outbox, Refused, Unreadable, Writer};

/// How long a call may be, in bytes, that is not passed on to a server.
const LONGEST_CALL: usize = 128 << 10;
/// How many calls of one connection may run at once; then it is not read from.
const MAX_CALLS: usize = 64;
const MAX_SUBSCRIPTIONS: u32 = 16;
/// Subscription messages between a subscription and its connection.
const SINK: usize = 16;
/// How many bytes may wait for a script that reads slowly; one larger answer still passes.
const QUEUE: usize = 1 << 20;
/// Serves control calls on a connection until it closes; `first` is the frame that made it a control connection.
///
/// Ends when the account that it is weighed for is cut off.
pub async fn serve(api: Api, mut frames: Frames<ReadHalf>, write: WriteHalf, first: Message, account: &Account) {
    let (outbox, stop) = (Outbox::new(account.beside(QUEUE)), account.cut());
    let methods: Methods = api.clone().into_rpc().into();
    let writer = outbox.clone();
    let mut writing = tokio::spawn(async move { writer.write_to(write).await });
    let (sink, mut notices) = mpsc::channel::<Box<RawValue>>(SINK);
    let subscriptions = BoundedSubscriptions::new(MAX_SUBSCRIPTIONS);
    let mut calls = FuturesUnordered::new();
    let carry_out = |message| read_and_dispatch(&api, message, methods.clone(), sink.clone(), subscriptions.clone());
    calls.push(carry_out(ready(Ok(first)).boxed()));
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = &mut writing => return,
            Some(answer) = calls.next() => push(&outbox, answer, stop).await,
            // Not taken while the reader is behind: the subscription then falls behind, and says so.
            Some(notice) = notices.recv(), if !outbox.is_half_full() => push(&outbox, Some(notice.into()), stop).await,
            () = outbox.room(), if outbox.is_half_full() => {}
            frame = frames.next(), if calls.len() < MAX_CALLS && !outbox.is_half_full() => match frame {
                Ok(Some(_)) => {
                    let (frame, held) = frames.take_out();
                    let read = Message::read(frame, held, Writer::Agent).boxed();
                    calls.push(carry_out(read));
                }
                Ok(None) | Err(_) => break,
            },
        }
    }
    // A script that closed its side after its last call still gets the answers; with one that is gone, what still runs
    // is cancelled.
    let hung_up = hung_up(frames.stream()).await;
    let answers = async {
        if hung_up {
            return;
        }
        while let Some(answer) = calls.next().await {
            push(&outbox, answer, stop).await;
        }
    };
    tokio::select! {
        () = answers => {}
        () = stop.cancelled() => {}
        _ = &mut writing => return,
    }
    outbox.close();
    if tokio::time::timeout(Duration::from_secs(2), &mut writing).await.is_err() {
        writing.abort();
    }
}

async fn push(outbox: &Outbox, message: Option<Box<str>>, stop: &CancellationToken) {
    let Some(text) = message else { return };
    loop {
        match outbox.push(text.len(), |out| out.extend_from_slice(text.as_bytes())) {
            Ok(()) | Err(Refused::Closed) => return,
            Err(Refused::OverBudget) => return stop.cancel(),
            Err(Refused::Full) => tokio::select! {
                () = outbox.room_for(text.len()) => {}
                () = stop.cancelled() => return,
            },
        }
    }
}

async fn read_and_dispatch(
    api: &Api,
    message: BoxFuture<'static, Result<Message, Unreadable>>,
    methods: Methods,
    sink: mpsc::Sender<Box<RawValue>>,
    subscriptions: BoundedSubscriptions,
) -> Option<Box<str>> {
    let message = match message.await {
        Ok(message) => message,
        Err(unreadable) => return Some(unreadable.error.refusal().into()),
    };
    let Envelope { frame, id, method_name, .. } = message.envelope();
    if frame.len() > LONGEST_CALL {
        // Only what is passed on to a server is long.
        if method_name == long_call::METHOD {
            return long_call::call_tool(api, message).await;
        }
        let message = format!("the request has {} bytes, and may have {LONGEST_CALL}", frame.len());
        let id = if id.is_empty() { "null" } else { id };
        return Some(reply::error(id, code::INVALID_REQUEST, &message).into());
    }
    dispatch(methods, frame, sink, subscriptions).await.map(Box::from)
}

/// Carries one call out; a subscription answers through `sink`, and a notification not at all.
async fn dispatch(
    methods: Methods,
    frame: &str,
    sink: mpsc::Sender<Box<RawValue>>,
    subscriptions: BoundedSubscriptions,
) -> Option<Box<RawValue>> {
    let request: Request<'_> = match serde_json::from_str(frame) {
        Ok(request) => request,
        Err(error) => {
            let error = ErrorObject::owned(code::PARSE, format!("not a JSON-RPC request: {error}"), None::<()>);
            return Some(MethodResponse::error(Id::Null, error).to_json());
        }
    };
    let Request { id, method, params, .. } = request;
    let params = Params::new(params.as_ref().map(|params| params.get()));
    let (extensions, connection, limit) = (Extensions::new(), ConnectionId(0), usize::MAX);
    let response = match methods.method(&method) {
        None => {
            let message = format!("no method `{method}` in this version of trunkline");
            MethodResponse::error(id, ErrorObject::owned(ErrorCode::MethodNotFound.code(), message, None::<()>))
        }
        Some(MethodCallback::Sync(call)) => call(id, params, limit, extensions),
        Some(MethodCallback::Async(call)) => {
            call(id.into_owned(), params.into_owned(), connection, limit, extensions).await
        }
        Some(MethodCallback::Unsubscription(call)) => call(id, params, connection, limit, extensions),
        Some(MethodCallback::Subscription(call)) => match subscriptions.acquire() {
            Some(subscription_permit) => {
                let state = SubscriptionState {
                    conn_id: connection,
                    id_provider: &RandomIntegerIdProvider,
                    subscription_permit,
                };
                call(id, params, MethodSink::new(sink), state, extensions).await;
                return None;
            }
            None => MethodResponse::error(
                id,
                refused(code::INTERNAL, format!("at most {MAX_SUBSCRIPTIONS} subscriptions a connection")),
            ),
        },
    };
    Some(response.to_json())
}
