//! What an agent needs of a server, and which instances are that.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Transport;
use crate::era::{AgentTerms, ClientProfile, Era, InstanceTerms};
use crate::hub::failure::Failure;
use crate::hub::ids::SessionId;
use crate::hub::server::Server;
use crate::hub::session::Session;
use crate::hub::sharing::share_key::{ShareKey, Want};
use crate::hub::sharing::{ROOTS, Scope};
use crate::upstream::catalog::Audience;

impl Server {
    /// What an agent needs that speaks so, in this era of the server's.
    pub(in crate::hub) async fn key(&self, session: &Session, terms: &AgentTerms, era: Era) -> ShareKey {
        if self.depends_on_project() {
            session.place().await;
        }
        self.key_now(session, terms, era)
    }

    /// What an agent needs, as far as it is known at once.
    pub(in crate::hub) fn key_now(&self, session: &Session, terms: &AgentTerms, era: Era) -> ShareKey {
        let (scope, by_project) = (self.sharing().scope, self.depends_on_project());
        let own = scope == Scope::Session;
        let (owner, client_info) = if own { (Some(session.id), session.client_info()) } else { (None, None) };
        ShareKey {
            want: Want::InstanceTerms(terms.instance_terms(era)),
            profile: terms.profile().clone(),
            project: if by_project { session.place_now().folder } else { None },
            roots: if by_project { session.roots(terms.profile()) } else { None },
            owner,
            starter: Some(session.id),
            client_info,
        }
    }

    /// Whether agents of different projects need different processes.
    pub(in crate::hub) fn depends_on_project(&self) -> bool {
        match self.sharing().scope {
            Scope::All => false,
            Scope::Project => true,
            Scope::Session => matches!(self.settings().transport, Transport::Stdio(_)),
        }
    }

    /// Whether a server asks for roots, so that agents with other roots need other processes.
    pub(in crate::hub) fn asks_roots(&self) -> bool {
        self.state.lock().catalogs.shown.asks.contains(ROOTS)
    }

    /// Whether an instance that was started for `key`, and speaks so, is what a session needs now.
    pub(in crate::hub) fn is_for(&self, key: &ShareKey, instance_terms: &InstanceTerms, session: &Session) -> bool {
        let Some(terms) = session.last_terms() else { return false };
        let needs = self.key_now(session, &terms, instance_terms.era());
        let same_roots = !self.asks_roots() || needs.roots == key.roots;
        self.suits(instance_terms, session) && needs.project == key.project && needs.owner == key.owner && same_roots
    }

    /// Whether what was promised to an instance is right for an agent that speaks so.
    pub(in crate::hub) fn admits(&self, instance_terms: &InstanceTerms, profile: &ClientProfile) -> bool {
        match instance_terms {
            InstanceTerms::Modern => true,
            InstanceTerms::Legacy(promised) => {
                let state = self.state.lock();
                state.sharing.admits(promised, profile, &state.catalogs.shown)
            }
        }
    }

    /// Likewise, for any way in which a session speaks.
    pub(in crate::hub) fn suits(&self, instance_terms: &InstanceTerms, session: &Session) -> bool {
        matches!(instance_terms, InstanceTerms::Modern)
            || session.profiles().iter().any(|profile| self.admits(instance_terms, profile))
    }

    /// What the daemon itself needs, to call for somebody who works in `project`.
    pub fn own_key(&self, project: Option<PathBuf>) -> ShareKey {
        ShareKey {
            want: Want::Any,
            profile: Arc::new(ClientProfile::plain()),
            project: project.filter(|_| self.depends_on_project()),
            roots: None,
            owner: (self.sharing().scope == Scope::Session).then_some(SessionId::DAEMON),
            starter: None,
            client_info: None,
        }
    }

    /// What is wanted, in view of what is known of the server; refused where it is known to be in vain.
    pub(in crate::hub) fn settle_want(&self, key: &ShareKey) -> Result<ShareKey, Failure> {
        let server = self.name.clone();
        let settings = self.settings();
        if let Some(reason) = &settings.wrong {
            return Err(Failure::Misconfigured { server, reason: reason.as_str().into() });
        }
        if !settings.enabled {
            return Err(Failure::Disabled(server));
        }
        let state = self.state.lock();
        if let Some(reason) = &state.held {
            return Err(Failure::Unavailable { server, reason: reason.clone() });
        }
        let era = state.catalogs.era;
        let want = match (&key.want, era) {
            (Want::Any, Some(Era::Modern)) => Want::InstanceTerms(InstanceTerms::Modern),
            (Want::Any, Some(Era::Legacy)) => Want::InstanceTerms(InstanceTerms::Legacy(ClientProfile::plain())),
            (want, _) => want.clone(),
        };
        if let Want::InstanceTerms(instance_terms) = &want {
            let wanted = instance_terms.era();
            let in_vain = match wanted {
                Era::Modern => era == Some(Era::Legacy),
                Era::Legacy => state.catalogs.modern_only,
            };
            if in_vain {
                return Err(Failure::OtherEra { server, wanted, reason: "it speaks the other era only".into() });
            }
        }
        Ok(ShareKey { want, ..key.clone() })
    }

    /// For whom an instance for `key` would be.
    pub(in crate::hub) fn audience(&self, key: &ShareKey) -> Option<Audience> {
        let Want::InstanceTerms(instance_terms) = &key.want else { return None };
        let state = self.state.lock();
        let instance_terms = match instance_terms {
            InstanceTerms::Legacy(profile) => {
                InstanceTerms::Legacy(state.sharing.promise(profile, &state.catalogs.shown))
            }
            InstanceTerms::Modern => InstanceTerms::Modern,
        };
        Some(Audience { instance_terms, project: key.project.clone() })
    }
}
