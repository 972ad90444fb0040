//! The stream on which a legacy server speaks unasked, and the transport that had nothing but such a stream.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use reqwest::{StatusCode, Url};
use tokio::sync::oneshot;
use tokio::time::timeout;
use url::Host;

use crate::envelope::Kind;
use crate::oauth::NoToken;
use crate::upstream::heard::Heard;
use crate::upstream::http::answer::{Media, split};
use crate::upstream::http::client::{Repeat, Trouble};
use crate::upstream::http::done::Listened;
use crate::upstream::http::events::Events;
use crate::upstream::http::owner::Owner;
use crate::upstream::http::resume::{Resume, last_event_id};
use crate::upstream::http::session::Session;
use crate::upstream::http::shared::Shared;

/// How long the old transport may take to say where messages go.
const FIRST_EVENT: Duration = Duration::from_secs(15);

/// How long messages wait for the stream to be there.
const HEARD: Duration = Duration::from_millis(500);

/// Listens for as long as the session lasts. `told` hears when the stream is there, or will not be.
pub(super) async fn listen(shared: Arc<Shared>, session: Session, told: oneshot::Sender<()>) -> Listened {
    let mut resume = Resume::default();
    let mut told = Some(told);
    let mut was_open = false;
    loop {
        let id = resume.id();
        let request = || {
            let resumed = id.as_deref().map(last_event_id).unwrap_or_default();
            shared.endpoint.get().headers(session.headers.clone()).headers(resumed)
        };
        let opened = told_of(&mut told, shared.endpoint.send(Repeat::Safe, request)).await;
        match opened {
            Ok(response) if response.status().is_success() && is_events(&response) => {
                was_open = true;
                let since = Instant::now();
                shared.listens.store(true, Ordering::Relaxed);
                shared.hear(Events::new(response, &shared.bounds), &mut resume).await;
                shared.listens.store(false, Ordering::Relaxed);
                resume.lasted(since.elapsed());
            }
            // At first, it means that there is no such stream.
            Ok(response) if response.status() == StatusCode::NOT_FOUND && session.has_id() && was_open => {
                return Listened::Lost(session.generation);
            }
            // Of the moment, or of a stream that the server still holds to be open.
            Ok(response) if is_passing(response.status()) => {}
            Err(Trouble::Unreachable(_) | Trouble::NoToken(NoToken::Unavailable(_))) => {}
            Err(Trouble::NoToken(NoToken::Login(_))) => {
                shared.endpoint.until_token().await;
            }
            Ok(_) => return Listened::NotOffered,
        }
        // However long it takes: nothing else says that something was missed.
        tokio::time::sleep(resume.pause()).await;
    }
}

/// Whether a refusal of the stream may be another one the next time.
fn is_passing(status: StatusCode) -> bool {
    let never = matches!(status, StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED);
    matches!(status.as_u16(), 400 | 408 | 409 | 425 | 429) || status.is_server_error() && !never
}

/// Waits for `work`, and tells when it is done, or takes longer than others should wait for it.
async fn told_of<T>(told: &mut Option<oneshot::Sender<()>>, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    let first = timeout(HEARD, &mut work).await;
    // Who waited may be gone.
    drop(told.take());
    match first {
        Ok(done) => done,
        Err(_) => work.await,
    }
}

/// Takes what comes on the stream of the old transport, until it ends.
pub(super) async fn listen_old(shared: Arc<Shared>, events: Box<Events>) -> Listened {
    let why = shared.hear(*events, &mut Resume::default()).await;
    Listened::Ended(format!("its stream of events ended ({why})"))
}

fn is_events(response: &reqwest::Response) -> bool {
    Media::of(response) == Media::Events
}

/// Where a server of this machine wants messages, if that is what another spelling of its own address means.
fn at_the_same_place(messages: &Url, server: &Url) -> Option<Url> {
    let is_here = |url: &Url| match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_unspecified(),
        Some(Host::Ipv6(address)) => address.is_loopback() || address.is_unspecified(),
        None => false,
    };
    let same =
        messages.scheme() == server.scheme() && messages.port_or_known_default() == server.port_or_known_default();
    if messages.origin() == server.origin() {
        return Some(messages.clone());
    }
    let mut here = messages.clone();
    let moved = same && is_here(messages) && is_here(server) && here.set_host(server.host_str()).is_ok();
    moved.then_some(here)
}

impl Owner {
    /// The session can be used, as soon as the server has the stream on which it may ask something.
    pub(super) fn initialized(&mut self) {
        if self.session.messages.is_some() {
            return self.go_on();
        }
        let (told, heard) = oneshot::channel();
        self.listening = Some(Box::pin(listen(self.shared.clone(), self.session.clone(), told)));
        self.heard = Some(heard);
    }
}

impl Shared {
    /// Brings what comes on a stream that belongs to no call to where it belongs; returns why it ended.
    async fn hear(&self, mut events: Events, resume: &mut Resume) -> String {
        loop {
            match events.next().await {
                Some(Ok(event)) => {
                    resume.note(&event);
                    let Some(data) = event.data.filter(|data| !data.is_empty()) else { continue };
                    for message in split(data).await {
                        self.hear_one(Heard::read(message, None).await);
                    }
                }
                Some(Err(error)) => return error.to_string(),
                None => return "by the server".to_owned(),
            }
        }
    }

    fn hear_one(&self, heard: Heard) {
        if let Heard::Message(message) = &heard
            && message.envelope().kind == Kind::Response
        {
            self.answered_elsewhere(message.envelope());
        }
        self.tap.sort_heard(heard, &self.inbound);
    }

    /// Opens the stream of the old transport (2024-11-05), if the server speaks it: its events, and where messages go.
    pub(super) async fn old_transport(&self) -> Result<Option<(Events, Url)>, String> {
        let Ok(response) = self.endpoint.send(Repeat::Safe, || self.endpoint.get()).await else { return Ok(None) };
        if !response.status().is_success() || !is_events(&response) {
            return Ok(None);
        }
        let mut events = Events::new(response, &self.bounds);
        let Ok(Some(Ok(first))) = timeout(FIRST_EVENT, events.next()).await else { return Ok(None) };
        let place = first.data.filter(|_| first.event.as_deref() == Some("endpoint"));
        let server = &self.endpoint.url;
        let Some(messages) = place.and_then(|place| server.join(place.trim().trim_start_matches('\u{feff}')).ok())
        else {
            return Ok(None);
        };
        // Another origin would get what is meant for this server, its token included.
        match at_the_same_place(&messages, server) {
            Some(messages) => Ok(Some((events, messages))),
            None => Err(format!(
                "its `endpoint` event sends messages to {}, which is another origin: name a `url` there if that is the server",
                messages.origin().ascii_serialization()
            )),
        }
    }
}
