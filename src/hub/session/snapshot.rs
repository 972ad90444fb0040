//! What a session had at an earlier daemon, or at an instance that it was taken from, and must get back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio_util::sync::DropGuard;

use crate::envelope::{Envelope, text};
use crate::era::ClientProfile;
use crate::hub::agent::View;
use crate::hub::log_level::Level;
use crate::method::Method;
use crate::names::ServerName;

/// A session, as far as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSnapshot {
    #[serde(rename = "class")]
    pub(in crate::hub) profile: ClientProfile,
    /// Its `clientInfo`, raw.
    pub(in crate::hub) client_info: Option<String>,
    /// Raw.
    pub(in crate::hub) level: Option<String>,
    pub(in crate::hub) subscriptions: Subscriptions,
    /// Where it works.
    pub(in crate::hub) project: Option<PathBuf>,
    /// Its roots, raw.
    #[serde(default)]
    pub(in crate::hub) roots: Option<String>,
}

/// By the URIs that the agent knows: the server, and its own URI.
pub(in crate::hub) type Subscriptions = BTreeMap<String, (String, String)>;

/// What a session had, and has not got back yet.
#[derive(Debug, Default)]
pub(in crate::hub) struct PendingRestore {
    pub level: Option<Level>,
    pub subscriptions: Subscriptions,
    /// Dropped, nobody asks for it any more.
    pub asks: Option<DropGuard>,
}

impl PendingRestore {
    pub(in crate::hub) fn is_empty(&self) -> bool {
        self.level.is_none() && self.subscriptions.is_empty()
    }

    /// Notes what a session had at an instance that it was taken from: subscriptions by the server's URIs, and the agent's.
    pub(in crate::hub) fn add(&mut self, server: &ServerName, level: Option<Level>, uris: &[(String, String)]) {
        self.level = self.level.or(level);
        let places = uris.iter().map(|(own, uri)| (uri.clone(), (server.to_string(), own.clone())));
        self.subscriptions.extend(places);
    }

    /// The servers at which it had something; a level is the one server's of its view.
    pub(in crate::hub) fn servers(&self, view: &View) -> BTreeSet<String> {
        let own = match view {
            View::One(server) if self.level.is_some() => Some(server.to_string()),
            View::One(_) | View::All | View::Profile(_) => None,
        };
        self.subscriptions.values().map(|(server, _)| server.clone()).chain(own).collect()
    }

    /// Takes what is to be had of this server: the level, and the URIs likewise.
    pub(in crate::hub) fn take(&mut self, server: &ServerName) -> (Option<Level>, Vec<(String, String)>) {
        let of_it = self.subscriptions.extract_if(.., |_, (name, _)| name == server.as_str());
        let uris = of_it.map(|(uri, (_, own))| (own, uri)).collect();
        (self.level.take(), uris)
    }

    /// Notes that a request takes the place of what the agent said to an earlier daemon.
    pub(in crate::hub) fn supersede(&mut self, envelope: &Envelope<'_>) {
        match envelope.method {
            Some(Method::Initialize) => *self = Self::default(),
            Some(Method::SetLevel) => self.level = None,
            Some(Method::Subscribe | Method::Unsubscribe) => {
                if let Some(uri) = envelope.params.uri.and_then(text) {
                    self.subscriptions.remove(&*uri);
                }
            }
            _ => {}
        }
    }
}
