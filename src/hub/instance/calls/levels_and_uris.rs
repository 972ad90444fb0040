//! The agents that use an instance: what each wants to hear.

use crate::hub::ids::SessionId;
use crate::hub::instance::calls::Calls;
use crate::hub::instance::calls::member::Member;
use crate::hub::log_level::Level;

impl Calls {
    /// The level that the server must log at, raw, if anybody asked for one, and every subscribed URI.
    pub(in crate::hub) fn told(&self) -> (Option<&'static str>, Vec<String>) {
        let uris = self.members.values().flat_map(|member| &member.uris).map(|(uri, _)| uri.clone());
        let uris: std::collections::BTreeSet<_> = uris.collect();
        (self.told_level.map(Level::raw), uris.into_iter().collect())
    }

    /// Whether somebody is subscribed to `uri`.
    pub(in crate::hub) fn is_subscribed(&self, uri: &str) -> bool {
        self.members.values().any(|member| member.uris.iter().any(|(known, _)| known == uri))
    }

    /// The level that the server must log at so that every member gets what it asked for.
    pub(in crate::hub) fn server_level(&self, changing: SessionId, to: Level) -> Level {
        let others = self.members.iter().filter(|(id, member)| **id != changing && member.session.is_some());
        others.map(|(_, member)| member.level.unwrap_or(Level::UNSET)).chain([to]).min().unwrap_or(to)
    }

    /// The level that the server must be told, now that an agent wants nothing any more; `None` if it logs at that already.
    pub(in crate::hub) fn level_left(&mut self) -> Option<Level> {
        let told = self.told_level?;
        let here = self.members.values().filter(|member| member.session.is_some());
        let left = here.map(|member| member.level.unwrap_or(Level::UNSET)).min()?;
        self.told_level = Some(left);
        (left != told).then_some(left)
    }

    /// Whether a member wants a log message of this level.
    pub(in crate::hub) fn wants(&self, member: &Member, level: Level) -> bool {
        match member.level {
            Some(own) => level >= own,
            // Unless somebody has changed what the server logs.
            None => self.told_level.is_none() || level >= Level::UNSET,
        }
    }

    /// Whether somebody other than `except` is subscribed to `uri`.
    pub(in crate::hub) fn subscribed_by_other(&self, except: SessionId, uri: &str) -> bool {
        self.members.iter().any(|(id, member)| *id != except && member.uris.iter().any(|(known, _)| known == uri))
    }
}
