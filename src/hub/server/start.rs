//! How an instance is started: what to say to the server first, and what its answer tells.

use std::sync::Arc;

use crate::config::Transport;
use crate::environment;
use crate::era::{ClientProfile, Era, InstanceTerms};
use crate::hub::failure::Failure;
use crate::hub::ids::SessionId;
use crate::hub::instance::Instance;
use crate::hub::server::Server;
use crate::hub::sharing::share_key::{ShareKey, Want};
use crate::lists::ListKind;
use crate::upstream::catalog::Audience;
use crate::upstream::{Connection, Inbound, Link, Speak, StartError, Terms};

/// How much may wait for a server, in messages of the largest size.
const QUEUE_FRAMES: usize = 2;

impl Server {
    /// Starts an instance of what `key` wants, promised `promise` if it speaks the legacy era.
    pub(in crate::hub) async fn start_instance(
        self: &Arc<Self>,
        key: &ShareKey,
        promise: &ClientProfile,
    ) -> Result<Arc<Instance>, Failure> {
        let era = self.state.lock().catalogs.era;
        // Over HTTP, what answers `initialize` in whatever way has begun a session.
        let process = matches!(self.settings().transport, Transport::Stdio(_));
        let eras = match (&key.want, era) {
            (Want::Any, _) | (Want::InstanceTerms(InstanceTerms::Modern), None) => vec![Era::Modern, Era::Legacy],
            (Want::InstanceTerms(InstanceTerms::Modern), Some(_)) => vec![Era::Modern],
            (Want::InstanceTerms(InstanceTerms::Legacy(_)), None) if process => vec![Era::Legacy, Era::Modern],
            (Want::InstanceTerms(InstanceTerms::Legacy(_)), _) => vec![Era::Legacy],
        };
        let wanted = eras[0];
        let more = eras.len() > 1;
        let error = match self.try_start(key, Speak { eras, profile: promise.clone() }).await {
            Ok(instance) => {
                self.note_spoken(&instance, wanted, more);
                return Ok(instance);
            }
            // Some servers end when their first message is not `initialize`: another process, then.
            Err(StartError::Ended(_)) if more && wanted == Era::Modern => {
                let again = Speak { eras: vec![Era::Legacy], profile: promise.clone() };
                match self.try_start(key, again).await {
                    Ok(instance) => {
                        self.note_era(Era::Legacy);
                        return Ok(instance);
                    }
                    Err(error) => error,
                }
            }
            // It is tried in the other era, in a process of its own.
            Err(error @ StartError::Refused(_)) if self.settings().era.fixed().is_none() && !self.speaks(wanted) => {
                return Err(self.other_era(wanted, &error));
            }
            Err(error) => error,
        };
        Err(self.not_started(&error))
    }

    /// Notes which era a server took, and what it said to the other one.
    fn note_spoken(&self, instance: &Instance, wanted: Era, more: bool) {
        match (instance.era(), wanted) {
            (Era::Modern, Era::Legacy) => self.note_only(Era::Modern),
            // What was not asked for the other era is not known to lack it.
            (Era::Legacy, Era::Legacy) => {}
            (era, _) if more => self.note_era(era),
            (_, _) => {}
        }
    }

    fn not_started(&self, error: &StartError) -> Failure {
        let mut reason = error.to_string();
        reason.push_str(&self.missed(&reason));
        if let Some(era) = self.settings().era.fixed()
            && matches!(error, StartError::Refused(_) | StartError::Ended(_) | StartError::Timeout(..))
        {
            let era = format!("{era:?}").to_lowercase();
            reason
                .push_str(&format!(" (it was spoken to as `era = \"{era}\"` says: without that line, both are tried)"));
        }
        match error {
            // What failed is on the way to it, and may be back at any time.
            StartError::Template(_) | StartError::Unreachable(_) => self.unavailable(reason),
            StartError::NeedsLogin(_) => self.needs_login(reason),
            StartError::Spawn(_) | StartError::Timeout(..) | StartError::Ended(_) | StartError::Refused(_) => {
                Failure::Start { server: self.name.clone(), reason: reason.into() }
            }
        }
    }

    /// What of the person's environment a server that failed was not given, and may want.
    pub(in crate::hub) fn missed(&self, words: &str) -> String {
        let settings = self.settings();
        let Transport::Stdio(stdio) = &settings.transport else { return String::new() };
        let given = |name: &str| {
            environment::passes(name, stdio.env_vars.iter().map(String::as_str)) || stdio.env.contains_key(name)
        };
        let withheld: Vec<String> =
            std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).filter(|name| !given(name)).collect();
        let command = std::iter::once(&stdio.command).chain(&stdio.args).map(|word| word.text());
        let command = command.take_while(|word| !word.contains("${")).collect::<Vec<_>>().join(" ");
        let missed = environment::missed(&withheld, self.name.as_str(), &command, words);
        if missed.is_empty() {
            return String::new();
        }
        format!("; it was not given {} of your environment: name in `env_vars` what it needs", missed.join(", "))
    }

    /// The server itself has not failed.
    pub(in crate::hub) fn unavailable(&self, reason: impl Into<Arc<str>>) -> Failure {
        Failure::Unavailable { server: self.name.clone(), reason: reason.into() }
    }

    pub(in crate::hub) fn needs_login(&self, reason: impl Into<Arc<str>>) -> Failure {
        Failure::NeedsLogin { server: self.name.clone(), reason: reason.into() }
    }

    fn other_era(&self, wanted: Era, error: &StartError) -> Failure {
        Failure::OtherEra { server: self.name.clone(), wanted, reason: error.to_string().into() }
    }

    /// Whether the server is known to speak this era.
    fn speaks(&self, era: Era) -> bool {
        self.settings().era.fixed() == Some(era) || self.state.lock().catalogs.knows(era)
    }

    async fn try_start(self: &Arc<Self>, key: &ShareKey, speak: Speak) -> Result<Arc<Instance>, StartError> {
        let around = &self.around;
        let whose = format!("server `{}`", self.name);
        let account = around.budget.account(whose, around.max_frame * QUEUE_FRAMES, around.stop.child_token());
        let link = Link::new(account).recorded(around.tee.clone());
        let instance = Instance::new(
            around.clone(),
            self.one_at_a_time.clone(),
            self.task_tools.clone(),
            link.clone(),
            key.starter,
        );
        let client_info = key.client_info.as_deref().map(str::to_owned);
        let profile = speak.profile.clone();
        let background = key.owner == Some(SessionId::STRANGERS);
        let terms = Terms { speak, project: key.project.clone(), client_info, background };
        let (settings, around) = (self.settings(), self.around.clone());
        // So that its need is known to everybody.
        self.keeper().await.map_err(|failure| StartError::Template(failure.reason()))?;
        self.above.instances.add(self, &instance);
        let (server, of) = (self.clone(), instance.clone());
        let inbound = move |inbound: Inbound<'_>| (server.above.hears)(&server, &of, inbound);
        let connection = Connection::start(&settings, &terms, link, around, inbound).await;
        let connection = connection.inspect_err(|_| self.above.instances.remove(instance.id))?;
        let instance_terms = match connection.era {
            Era::Legacy => InstanceTerms::Legacy(profile),
            Era::Modern => InstanceTerms::Modern,
        };
        instance.set_connection(connection, Audience { instance_terms, project: terms.project }, key.owner);
        if !self.may_ask_roots_first(&instance) {
            // It is set once, here or by who waits.
            drop(instance.roots_read.set(()));
        }
        if let Some(audience) = instance.audience().filter(|_| instance.makes_tasks())
            && let Some(tools) = self.recall_list(audience, ListKind::Tools)
        {
            self.task_tools.note(&tools);
        }
        Ok(instance)
    }
}
