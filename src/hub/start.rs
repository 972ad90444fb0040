//! How an instance is started: what to say to the server first, and what its answer tells.

use std::sync::Arc;
use std::time::Duration;

use super::failure::Failure;
use super::key::{Key, Want};
use super::line::Line;
use super::registry::Upstream;
use crate::era::{Class, Dialect, Era};
use crate::upstream::catalog::Audience;
use crate::upstream::{Instance, Link, Speak, StartError, Terms};

/// How long a server of unknown era may be silent on `server/discover`, as in `rmcp`'s own probe.
const PROBE: Duration = Duration::from_secs(10);
/// How much may wait for a server, in messages of the largest size.
const QUEUE_FRAMES: usize = 2;

impl Upstream {
    pub(super) async fn start_line(self: &Arc<Self>, key: &Key) -> Result<Arc<Line>, Failure> {
        let unknown_era = self.state.lock().catalogs.era.is_none();
        let error = match &key.want {
            Want::Any => match self.try_start(key, Speak::Auto).await {
                Ok(line) => {
                    self.note_era(line.era());
                    return Ok(line);
                }
                // Some servers end when their first message is not `initialize`, and some refuse it as one of a revision
                // that they do not speak.
                Err(StartError::Ended(_) | StartError::Refused { .. }) => {
                    match self.try_start(key, Speak::Legacy(Class::plain())).await {
                        Ok(line) => {
                            self.note_era(Era::Legacy);
                            return Ok(line);
                        }
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            },
            Want::Dialect(Dialect::Legacy(class)) => match self.try_start(key, Speak::Legacy(class.clone())).await {
                Ok(line) => return Ok(line),
                Err(error @ StartError::Refused { .. }) if !self.speaks_legacy() => {
                    return Err(self.other_era(Era::Legacy, &error));
                }
                Err(error) => error,
            },
            Want::Dialect(Dialect::Modern) if unknown_era => {
                match tokio::time::timeout(PROBE, self.try_start(key, Speak::Modern)).await {
                    Ok(Ok(line)) => {
                        self.note_era(Era::Modern);
                        return Ok(line);
                    }
                    // It may not know the method, end at the sight of it, or be slow today.
                    Ok(Err(error @ (StartError::Refused { .. } | StartError::Ended(_) | StartError::Timeout(..)))) => {
                        return Err(self.other_era(Era::Modern, &error));
                    }
                    Err(_) => return Err(self.other_era(Era::Modern, &StartError::Timeout(PROBE, String::new()))),
                    Ok(Err(error)) => error,
                }
            }
            Want::Dialect(Dialect::Modern) => match self.try_start(key, Speak::Modern).await {
                Ok(line) => return Ok(line),
                Err(error) => error,
            },
        };
        Err(self.not_started(&error))
    }

    fn not_started(&self, error: &StartError) -> Failure {
        let mut reason = error.to_string();
        if let Some(era) = self.settings().era.fixed()
            && matches!(error, StartError::Refused { .. } | StartError::Ended(_) | StartError::Timeout(..))
        {
            let era = format!("{era:?}").to_lowercase();
            reason
                .push_str(&format!(" (it was spoken to as `era = \"{era}\"` says: without that line, both are tried)"));
        }
        match error {
            // What failed is on the way to it, and may be back at any time.
            StartError::Template(_) | StartError::Unreachable(_) => self.unavailable(reason),
            StartError::NeedsLogin(_) => self.needs_login(reason),
            StartError::Spawn(_) | StartError::Timeout(..) | StartError::Ended(_) | StartError::Refused { .. } => {
                Failure::Start { server: self.name.clone(), reason: reason.into() }
            }
        }
    }

    /// The server itself has not failed.
    pub(super) fn unavailable(&self, reason: impl Into<Arc<str>>) -> Failure {
        Failure::Unavailable { server: self.name.clone(), reason: reason.into() }
    }

    pub(super) fn needs_login(&self, reason: impl Into<Arc<str>>) -> Failure {
        Failure::NeedsLogin { server: self.name.clone(), reason: reason.into() }
    }

    fn other_era(&self, wanted: Era, error: &StartError) -> Failure {
        Failure::OtherEra { server: self.name.clone(), wanted, reason: error.to_string().into() }
    }

    /// Whether the server is known to answer `initialize`.
    fn speaks_legacy(&self) -> bool {
        self.settings().era.fixed() == Some(Era::Legacy) || self.state.lock().catalogs.knows(Era::Legacy)
    }

    async fn try_start(self: &Arc<Self>, key: &Key, speak: Speak) -> Result<Arc<Line>, StartError> {
        let link = Link::new(self.around.max_frame * QUEUE_FRAMES);
        let line = Line::new(self, link.clone());
        let to_line = line.clone();
        let client_info = key.client_info.as_deref().map(str::to_owned);
        let terms = Terms { speak, project: key.project.clone(), client_info };
        let (server, around) = (self.settings(), self.around.clone());
        // So that its need is known to everybody.
        self.keeper().await.map_err(|failure| StartError::Template(failure.reason()))?;
        let instance = Instance::start(&server, &terms, link, around, move |inbound| to_line.inbound(inbound)).await?;
        let dialect = match (terms.speak, instance.era) {
            (Speak::Legacy(class), _) => Dialect::Legacy(class),
            (Speak::Auto, Era::Legacy) => Dialect::Legacy(Class::plain()),
            (Speak::Auto | Speak::Modern, _) => Dialect::Modern,
        };
        line.set_instance(instance, Audience { dialect, project: terms.project }, key.owner);
        Ok(line)
    }
}
