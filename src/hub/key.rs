//! Which instance of an upstream serves whom.

use std::path::PathBuf;
use std::sync::Arc;

use super::failure::Failure;
use super::registry::Upstream;
use super::session::{Session, SessionId};
use crate::config::Share;
use crate::era::{Class, Dialect, Era};
use crate::upstream::catalog::Audience;

/// Which instance is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub want: Want,
    /// Where processes are shared by project.
    pub project: Option<PathBuf>,
    /// Where a process belongs to one session.
    pub owner: Option<SessionId>,
    /// Who to say that we are, to a process that belongs to one session.
    pub client_info: Option<Arc<str>>,
}

/// Which kind of instance is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    Dialect(Dialect),
    /// Whatever the server speaks, promised nothing.
    Any,
}

impl Upstream {
    /// What an agent needs.
    pub async fn key(&self, session: &Session, dialect: Dialect) -> Key {
        let project = if self.depends_on_project() { session.project().await } else { None };
        self.key_in(session, dialect, project)
    }

    /// What an agent needs, as far as it is known at once.
    pub(super) fn key_now(&self, session: &Session, dialect: Dialect) -> Key {
        let project = if self.depends_on_project() { session.project_now() } else { None };
        self.key_in(session, dialect, project)
    }

    /// Whether agents of different projects need different processes.
    pub(super) fn depends_on_project(&self) -> bool {
        let settings = self.settings();
        match settings.share {
            Share::All => false,
            Share::Project => true,
            Share::Session => settings.templates().any(|template| template.names_project()),
        }
    }

    fn key_in(&self, session: &Session, dialect: Dialect, project: Option<PathBuf>) -> Key {
        let own = self.settings().share == Share::Session;
        let (owner, client_info) = if own { (Some(session.id), session.client_info()) } else { (None, None) };
        Key { want: Want::Dialect(dialect), project, owner, client_info }
    }

    /// Whether an instance that was started for `key` is what a session needs now.
    pub(super) fn is_for(&self, key: &Key, session: &Session) -> bool {
        let Want::Dialect(dialect) = &key.want else { return true };
        let needs = self.key_now(session, dialect.clone());
        session.speaks(dialect) && needs.project == key.project && needs.owner == key.owner
    }

    /// What the daemon itself needs, to call for somebody who works in `project`.
    pub fn own_key(&self, project: Option<PathBuf>) -> Key {
        let share = self.settings().share;
        Key {
            want: Want::Any,
            project: project.filter(|_| self.depends_on_project()),
            owner: (share == Share::Session).then_some(SessionId::DAEMON),
            client_info: None,
        }
    }

    /// What is wanted, in view of what is known of the server; refused where it is known to be in vain.
    pub(super) fn settle_want(&self, key: &Key) -> Result<Key, Failure> {
        let server = self.name.clone();
        if !self.settings().enabled {
            return Err(Failure::Disabled(server));
        }
        let state = self.state.lock();
        if let Some(reason) = &state.held {
            return Err(Failure::Unavailable { server, reason: reason.clone() });
        }
        let era = state.catalogs.era;
        let want = match (&key.want, era) {
            (Want::Any, Some(Era::Modern)) => Want::Dialect(Dialect::Modern),
            (Want::Any, Some(Era::Legacy)) => Want::Dialect(Dialect::Legacy(Class::plain())),
            (want, _) => want.clone(),
        };
        if let Want::Dialect(dialect) = &want {
            let wanted = dialect.era();
            let in_vain = match wanted {
                Era::Modern => era == Some(Era::Legacy),
                Era::Legacy => state.catalogs.modern_only,
            };
            if in_vain {
                return Err(Failure::OtherEra { server, wanted, reason: "it speaks the other era only".into() });
            }
        }
        Ok(Key { want, ..key.clone() })
    }

    pub(super) fn audience(&self, key: &Key) -> Option<Audience> {
        match &key.want {
            Want::Dialect(dialect) => Some(Audience { dialect: dialect.clone(), project: key.project.clone() }),
            Want::Any => None,
        }
    }
}
