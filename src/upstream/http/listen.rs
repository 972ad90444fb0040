//! The stream on which a legacy server speaks unasked, and the transport that had nothing but such a stream.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::CONTENT_TYPE;
use reqwest::{StatusCode, Url};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Shared;
use super::answer::{one_line, split};
use super::client::Trouble;
use super::events::Events;
use super::resume::{Resume, last_event_id};
use super::session::Session;
use crate::envelope::Envelope;
use crate::oauth::NoToken;

/// How long the old transport may take to say where messages go.
const FIRST_EVENT: Duration = Duration::from_secs(15);

/// How long messages wait for the stream to be there.
const HEARD: Duration = Duration::from_millis(500);

/// How listening ended.
pub(super) enum Listened {
    /// The server offers no such stream, or has given it up.
    NotOffered,
    /// The server does not know the session of this generation.
    Lost(u32),
    /// The old transport ends with its stream.
    Ended(String),
}

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
        let opened = told_of(&mut told, shared.endpoint.send(request)).await;
        match opened {
            Ok(response) if response.status().is_success() && is_events(&response) => {
                was_open = true;
                let since = Instant::now();
                shared.hear(Events::new(response, shared.max_frame), &mut resume).await;
                resume.lasted(since.elapsed());
            }
            // At first, it means that there is no such stream.
            Ok(response) if response.status() == StatusCode::NOT_FOUND && session.has_id() && was_open => {
                return Listened::Lost(session.generation);
            }
            Ok(response) if response.status().is_server_error() => {}
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
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
}

impl Shared {
    /// Brings what comes on a stream that belongs to no call to where it belongs; returns why it ended.
    async fn hear(&self, mut events: Events, resume: &mut Resume) -> String {
        loop {
            match events.next().await {
                Some(Ok(event)) => {
                    resume.note(&event);
                    let Some(data) = event.data.filter(|data| !data.is_empty()) else { continue };
                    split(&data).into_iter().for_each(|message| self.hear_one(message));
                }
                Some(Err(error)) => return error.to_string(),
                None => return "by the server".to_owned(),
            }
        }
    }

    fn hear_one(&self, message: &str) {
        let line = one_line(message);
        match Envelope::parse(line.as_bytes()) {
            Ok(envelope) => {
                self.tap.sort(&envelope, None, &self.inbound);
            }
            Err(error) => {
                tracing::warn!(server = %self.name, bytes = message.len(), %error, "skipped what is no message");
            }
        }
    }

    /// Opens the stream of the old transport (2024-11-05), if the server speaks it: its events, and where messages go.
    pub(super) async fn old_transport(&self) -> Option<(Events, Url)> {
        let response = self.endpoint.send(|| self.endpoint.get()).await.ok()?;
        if !response.status().is_success() || !is_events(&response) {
            return None;
        }
        let mut events = Events::new(response, self.max_frame);
        let first = timeout(FIRST_EVENT, events.next()).await.ok()??.ok()?;
        let place = first.data.filter(|_| first.event.as_deref() == Some("endpoint"))?;
        let messages = self.endpoint.url.join(place.trim()).ok()?;
        // Another origin would get what is meant for this server, its token included.
        (messages.origin() == self.endpoint.url.origin()).then_some((events, messages))
    }
}
