//! The wire to a server over HTTP (MCP `basic/transports`): a POST for each message, any number side by side, and what the
//! server sends back on their streams and unasked.
//!
//! One task owns the connection and all of its exchanges. In the legacy era it also owns the session: when the server has
//! lost it, one `initialize` begins another, and the messages that were turned away go out again.

mod answer;
mod bounds;
mod client;
mod done;
mod elsewhere;
mod events;
mod exchange;
mod listen;
mod mirrored;
mod owner;
mod posted;
mod resume;
mod session;
mod shared;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, OptionFuture};
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::{Given, Http};
use crate::envelope::Kind;
use crate::envelope::reply::{self, code};
use crate::fault::contained;
use crate::lines::Lines;
use crate::method::Method;
use crate::upstream::http::bounds::Bounds;
use crate::upstream::http::client::Endpoint;
use crate::upstream::http::done::{About, Done, Listened};
use crate::upstream::http::exchange::exchange;
use crate::upstream::http::listen::listen_old;
use crate::upstream::http::owner::Owner;
use crate::upstream::http::posted::Posted;
use crate::upstream::http::session::Session;
use crate::upstream::http::shared::Shared;
use crate::upstream::inbound::Inbound;
use crate::upstream::instance_services::InstanceServices;
use crate::upstream::running::{Ended, OVER_BUDGET, Running};
use crate::upstream::start_error::StartError;
use crate::upstream::tap::Tap;
use crate::wire::{GIVEN_UP, Held, Message};

/// How many messages wait for a session that is beginning; then no more are taken from the queue.
const MOST_HELD: usize = 1024;
/// How many exchanges go on side by side before the others wait in the queue; more than `max_calls` is by default.
const MOST_OPEN: usize = 1100;
/// How long the server may take to accept what it need not answer.
const ACCEPTANCE: Duration = Duration::from_secs(30);
/// How often one message is sent again because the server had lost the session.
const MOST_LOST: u32 = 2;
/// How long the server may take to end a session.
const GOODBYE: Duration = Duration::from_secs(2);

/// Opens the wire; the first message connects.
pub(super) fn start(
    server: &Http,
    patience: Duration,
    given: Given<'_>,
    tap: Arc<Tap>,
    around: &InstanceServices,
    stop: CancellationToken,
    inbound: impl Fn(Inbound<'_>) + Send + Sync + 'static,
) -> Result<Running, StartError> {
    let account = tap.outbox().account().clone();
    let shared = Arc::new(Shared {
        name: around.name.clone(),
        endpoint: Endpoint::new(server, given, around)?,
        tap,
        inbound: Box::new(inbound),
        bounds: Bounds { max_frame: around.max_frame, account: account.beside(usize::MAX) },
        patience,
        tools: Mutex::default(),
        listens: AtomicBool::new(false),
        elsewhere: Mutex::default(),
    });
    let owner = Owner {
        shared,
        stop,
        session: Session::default(),
        exchanges: FuturesUnordered::new(),
        open: HashMap::new(),
        held: VecDeque::new(),
        waits: false,
        heard: None,
        initialize: None,
        renewing: None,
        is_lost: false,
        listening: None,
    };
    let gone = CancellationToken::new();
    let ended = gone.clone().drop_guard();
    let owner = around.tasks.spawn(async move {
        let _ended = ended;
        owner.run().await
    });
    Ok(Running { pid: None, gone, owner, last_lines: Lines::new(1) })
}

impl Owner {
    /// Runs until the connection is stopped or of no use any more; returns why.
    async fn run(mut self) -> Ended {
        let ended = contained(self.work()).await.unwrap_or_else(|fault| Ended::Gone(fault.to_string()));
        let reason = match &ended {
            Ended::Gone(reason) | Ended::Unreachable(reason) => reason.clone(),
            Ended::NeedsLogin(reason) => reason.to_string(),
        };
        let Self { shared, session, exchanges, listening, .. } = self;
        shared.tap.outbox().close();
        (shared.inbound)(Inbound::Closed(&reason));
        shared.tap.close();
        drop((exchanges, listening));
        shared.tap.outbox().discard();
        if session.has_id() {
            let request = shared.endpoint.delete().headers(session.headers.clone());
            if !matches!(timeout(GOODBYE, shared.endpoint.send_once(request)).await, Ok(Ok(_))) {
                tracing::debug!(server = %shared.name, "session not ended at the server");
            }
        }
        ended
    }

    async fn work(&mut self) -> Ended {
        let shared = self.shared.clone();
        let queue = shared.tap.outbox();
        // Of a long message, that takes a while; the exchanges go on.
        let mut reading: Option<BoxFuture<'static, Vec<Posted>>> = None;
        loop {
            let event = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ended::Gone("it was stopped".to_owned()),
                () = queue.account().cut().cancelled() => return Ended::Gone(OVER_BUDGET.to_owned()),
                Some((about, done)) = self.exchanges.next(), if !self.exchanges.is_empty() => Event::Done(about, done),
                Some(_) = OptionFuture::from(self.heard.as_mut()), if self.heard.is_some() => Event::Heard,
                Some(listened) = OptionFuture::from(self.listening.as_mut()), if self.listening.is_some() => {
                    Event::Listened(listened)
                }
                Some(posted) = OptionFuture::from(reading.as_mut()), if reading.is_some() => Event::Read(posted),
                batch = queue.take(), if reading.is_none() && self.may_take() => Event::Queued(batch),
            };
            match event {
                Event::Done(about, done) => {
                    if let Some(ended) = self.done(about, done) {
                        return ended;
                    }
                }
                Event::Heard => {
                    self.heard = None;
                    self.go_on();
                }
                Event::Listened(listened) => {
                    self.listening = None;
                    match listened {
                        Listened::NotOffered => {}
                        Listened::Lost(generation) => self.renew(generation),
                        Listened::Ended(reason) => return Ended::Gone(reason),
                    }
                }
                Event::Queued(None) => return Ended::Gone("it was stopped".to_owned()),
                Event::Queued(Some(batch)) => reading = Some(Box::pin(Posted::all(batch))),
                Event::Read(posted) => {
                    reading = None;
                    posted.into_iter().for_each(|posted| self.take(posted));
                }
            }
        }
    }

    /// Whether more is taken from the queue now. It is weighed for who sent it until it is answered.
    fn may_take(&self) -> bool {
        self.held.len() < MOST_HELD && self.exchanges.len() < MOST_OPEN
    }

    /// Takes a message from the queue.
    fn take(&mut self, posted: Posted) {
        if posted.method == Some(Method::Cancelled) {
            self.cancel(posted);
        } else if posted.kind == Kind::Response && (self.initialize.is_none() || self.is_lost) {
            // The modern era has no questions to answer, and a session that was lost asks nothing.
            tracing::debug!(server = %self.shared.name, "dropped an answer to nothing");
        } else if self.waits && !posted.comes_first() {
            self.held.push_back(posted);
        } else {
            self.send(posted);
        }
    }

    fn send(&mut self, posted: Posted) {
        self.waits |= posted.comes_first();
        if posted.method == Some(Method::Initialize) {
            self.initialize = Some(posted.clone());
        }
        let ends = CancellationToken::new();
        let about = match posted.id {
            Some(id) => {
                self.open.insert(id, ends.clone());
                About::Request(id)
            }
            None if posted.method == Some(Method::Initialized) => About::Initialized,
            None => About::Other,
        };
        let shared = self.shared.clone();
        let limit = match about {
            _ if posted.comes_first() => Some(shared.patience),
            About::Request(_) => None,
            About::Initialized | About::Other => Some(ACCEPTANCE),
        };
        let session = self.session.clone();
        let exchange = async move {
            let (known, given_up) = (posted.clone(), posted.given_up());
            let exchange = exchange(shared.clone(), posted, session);
            let exchange = async {
                match limit {
                    Some(limit) => timeout(limit, exchange).await.unwrap_or_else(|_| shared.late(&known, limit)),
                    None => exchange.await,
                }
            };
            match given_up.run_until_cancelled_owned(exchange).await {
                Some(done) => done,
                None => shared.tell(&known, code::INTERNAL, &format!("{GIVEN_UP}; it may have been carried out")),
            }
        };
        self.exchanges.push(Box::pin(async move { (about, ends.run_until_cancelled_owned(exchange).await) }));
    }

    /// Ends a request. In the modern era that its stream closes tells the server; in the legacy one, the message does.
    fn cancel(&mut self, posted: Posted) {
        let named = posted.message.envelope().params.request_id;
        let Some(id) = named.and_then(|id| id.parse().ok()) else { return };
        if let Some(at) = self.held.iter().position(|held| held.id == Some(id)) {
            self.held.remove(at);
            return (self.shared.inbound)(Inbound::Over(id));
        }
        if let Some(ends) = self.open.remove(&id) {
            ends.cancel();
        }
        self.shared.not_elsewhere(id);
        if self.initialize.is_some() {
            self.send(posted);
        }
    }

    /// What an exchange came to.
    fn done(&mut self, about: About, done: Option<Done>) -> Option<Ended> {
        let id = if let About::Request(id) = about { Some(id) } else { None };
        if let Some(id) = id {
            self.open.remove(&id);
        }
        let renews = id.is_some() && id == self.renewing;
        match done {
            None => {
                if let Some(id) = id {
                    (self.shared.inbound)(Inbound::Over(id));
                }
            }
            Some(Done::Over | Done::Mismatch | Done::NotNow(_) | Done::Elsewhere(_)) if renews => {
                return Some(Ended::Gone("it lost the session, and refused to begin another".to_owned()));
            }
            Some(Done::Over) if about == About::Initialized => self.initialized(),
            Some(Done::Over | Done::Mismatch | Done::NotNow(_)) => {}
            Some(Done::Elsewhere(id)) => self.wait_elsewhere(id),
            Some(Done::Began(session)) => {
                self.session = session;
                self.is_lost = false;
                if renews && let Ok(initialized) = Message::small(reply::notification(Method::Initialized, "")) {
                    self.send(Posted::new(initialized));
                }
            }
            Some(Done::Lost(_)) if about == About::Initialized => {
                return Some(Ended::Gone("it does not know the session that it has just begun (HTTP 404)".to_owned()));
            }
            Some(Done::Lost(posted)) => self.lost(posted),
            Some(Done::OldTransport(posted, events, messages)) => {
                self.session = Session { messages: Some(messages), ..Session::default() };
                self.listening = Some(Box::pin(listen_old(self.shared.clone(), events)));
                self.send(posted);
            }
            Some(Done::Fatal(ended)) => return Some(ended),
        }
        None
    }

    fn go_on(&mut self) {
        self.waits = false;
        if self.renewing.take().is_some() {
            tracing::info!(server = %self.shared.name, "the server had lost the session, and has another one now");
            (self.shared.inbound)(Inbound::Renewed);
        }
        std::mem::take(&mut self.held).into_iter().for_each(|posted| self.take(posted));
    }

    /// A message was turned away, because the server does not know the session.
    fn lost(&mut self, mut posted: Posted) {
        posted.lost += 1;
        let generation = posted.generation;
        if posted.lost > MOST_LOST {
            let said = posted.refusal.as_deref().unwrap_or("HTTP 404");
            let reason = format!("it does not know the session that it has just begun ({said})");
            self.shared.tell(&posted, code::CONNECTION_CLOSED, &reason);
        } else if posted.id.is_some() {
            self.held.push_back(posted);
        }
        self.renew(generation);
    }

    /// Begins the session anew, if it is still the one that was lost.
    fn renew(&mut self, generation: u32) {
        if self.waits {
            return;
        }
        let again = self.initialize.as_ref().filter(|_| generation == self.session.generation);
        let Some(again) = again.and_then(|initialize| initialize.under(self.shared.tap.next_id())) else {
            return self.go_on();
        };
        self.renewing = again.id;
        self.is_lost = true;
        (self.shared.inbound)(Inbound::SessionLost);
        self.held.retain(|posted| posted.kind != Kind::Response);
        self.listening = None;
        self.session.headers.clear();
        self.send(again);
    }
}

/// What the owner turns to next.
enum Event {
    Done(About, Option<Done>),
    Heard,
    Listened(Listened),
    /// Frames that waited, and what they weigh; nothing at the end of the queue.
    Queued(Option<(Vec<u8>, Vec<Held>)>),
    /// They were read.
    Read(Vec<Posted>),
}
