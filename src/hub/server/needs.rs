//! What an agent needs of a server, and which instances are that.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Transport;
use crate::era::{Class, Dialect, Era, Speech};
use crate::hub::failure::Failure;
use crate::hub::ids::SessionId;
use crate::hub::server::Upstream;
use crate::hub::session::Session;
use crate::hub::sharing::key::{Key, Want};
use crate::hub::sharing::{ROOTS, Scope};
use crate::upstream::catalog::Audience;

impl Upstream {
    /// What an agent needs that speaks so, in this era of the server's.
    pub(in crate::hub) async fn key(&self, session: &Session, speech: &Speech, era: Era) -> Key {
        if self.depends_on_project() {
            session.place().await;
        }
        self.key_now(session, speech, era)
    }

    /// What an agent needs, as far as it is known at once.
    pub(in crate::hub) fn key_now(&self, session: &Session, speech: &Speech, era: Era) -> Key {
        let (scope, by_project) = (self.sharing().scope, self.depends_on_project());
        let own = scope == Scope::Session;
        let (owner, client_info) = if own { (Some(session.id), session.client_info()) } else { (None, None) };
        Key {
            want: Want::Dialect(speech.dialect(era)),
            class: speech.class().clone(),
            project: if by_project { session.place_now().folder } else { None },
            roots: if by_project { session.roots(speech.class()) } else { None },
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
    pub(in crate::hub) fn is_for(&self, key: &Key, dialect: &Dialect, session: &Session) -> bool {
        let Some(speech) = session.last_speech() else { return false };
        let needs = self.key_now(session, &speech, dialect.era());
        let same_roots = !self.asks_roots() || needs.roots == key.roots;
        self.suits(dialect, session) && needs.project == key.project && needs.owner == key.owner && same_roots
    }

    /// Whether what was promised to an instance is right for an agent that speaks so.
    pub(in crate::hub) fn admits(&self, dialect: &Dialect, class: &Class) -> bool {
        match dialect {
            Dialect::Modern => true,
            Dialect::Legacy(promised) => {
                let state = self.state.lock();
                state.sharing.admits(promised, class, &state.catalogs.shown)
            }
        }
    }

    /// Likewise, for any way in which a session speaks.
    pub(in crate::hub) fn suits(&self, dialect: &Dialect, session: &Session) -> bool {
        matches!(dialect, Dialect::Modern) || session.classes().iter().any(|class| self.admits(dialect, class))
    }

    /// What the daemon itself needs, to call for somebody who works in `project`.
    pub fn own_key(&self, project: Option<PathBuf>) -> Key {
        Key {
            want: Want::Any,
            class: Arc::new(Class::plain()),
            project: project.filter(|_| self.depends_on_project()),
            roots: None,
            owner: (self.sharing().scope == Scope::Session).then_some(SessionId::DAEMON),
            starter: None,
            client_info: None,
        }
    }

    /// What is wanted, in view of what is known of the server; refused where it is known to be in vain.
    pub(in crate::hub) fn settle_want(&self, key: &Key) -> Result<Key, Failure> {
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

    /// For whom an instance for `key` would be.
    pub(in crate::hub) fn audience(&self, key: &Key) -> Option<Audience> {
        let Want::Dialect(dialect) = &key.want else { return None };
        let state = self.state.lock();
        let dialect = match dialect {
            Dialect::Legacy(class) => Dialect::Legacy(state.sharing.promise(class, &state.catalogs.shown)),
            Dialect::Modern => Dialect::Modern,
        };
        Some(Audience { dialect, project: key.project.clone() })
    }
}
