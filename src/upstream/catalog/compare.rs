//! Compares what a server offers its clients, to learn whether it tells them apart.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::era::InstanceTerms;
use crate::lists::ListKind;
use crate::upstream::catalog::catalogs::{Audience, Catalog, Catalogs};
use crate::upstream::catalog::items::read_items;

/// How many kinds of clients are kept that are treated alike, and how long what one declares may be.
const MOST_ALIKE: usize = 32;
const LONGEST: usize = 4096;

/// What comes of comparing a new offer with those that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// There is nothing to compare it with.
    Unknown,
    Same,
    Different,
}

impl Catalogs {
    /// Compares what a process offers with what others of another profile offered in this daemon's time, and notes what that
    /// shows; tells whether it is news, too.
    pub fn compare(&mut self, audience: &Audience) -> (Compared, bool) {
        let InstanceTerms::Legacy(profile) = &audience.instance_terms else { return (Compared::Unknown, false) };
        let Some(own) = self.get(audience).and_then(Catalog::offer) else { return (Compared::Unknown, false) };
        let before = self.shown.clone();
        let mut compared = Compared::Unknown;
        for catalog in &self.each {
            let InstanceTerms::Legacy(other) = &catalog.audience.instance_terms else { continue };
            if catalog.audience == *audience {
                continue;
            }
            let Some(offer) = catalog.offer() else { continue };
            match (catalog.audience.project == audience.project, other == profile, offer == own) {
                (true, false, true) => {
                    for profile in [other, profile] {
                        let room = self.shown.alike.len() < MOST_ALIKE && profile.capabilities.len() <= LONGEST;
                        if room && !self.shown.alike.contains(profile) {
                            self.shown.alike.push(profile.clone());
                        }
                    }
                    compared = if compared == Compared::Different { compared } else { Compared::Same };
                }
                // What an earlier daemon was offered may just be old.
                (_, _, false) if catalog.confirmed.is_none() => {}
                (true, false, false) => {
                    self.shown.by_client = true;
                    compared = Compared::Different;
                }
                (false, true, false) => self.shown.by_folder = true,
                (_, _, _) => {}
            }
        }
        (compared, self.shown != before)
    }

    /// Whether there is an offer that [`Self::compare`] could compare another one of `audience` with.
    pub fn has_other(&self, audience: &Audience) -> bool {
        let InstanceTerms::Legacy(profile) = &audience.instance_terms else { return false };
        self.each.iter().any(|catalog| {
            matches!(&catalog.audience.instance_terms, InstanceTerms::Legacy(other) if other != profile)
                && catalog.audience.project == audience.project
        })
    }

    /// For whom there is an offer that answers for `audience` at once: its own, else anybody's, but for what the server is
    /// known to offer to some only. What it says for `audience` itself comes later.
    pub fn nearest(&self, audience: &Audience, has: impl Fn(&Catalog) -> bool) -> Option<Audience> {
        let may_differ = |other: &Audience| {
            (other.instance_terms != audience.instance_terms && self.shown.by_client)
                || (other.project != audience.project && self.shown.by_folder)
        };
        let distance = |other: &Audience| {
            let era = u8::from(other.instance_terms.era() != audience.instance_terms.era());
            (other != audience, era, other.project != audience.project, other.instance_terms != audience.instance_terms)
        };
        let all = self.each.iter().filter(|catalog| !may_differ(&catalog.audience) && has(catalog));
        all.map(|catalog| &catalog.audience).min_by_key(|other| distance(other)).cloned()
    }
}

impl Catalog {
    /// What can be compared with another one: the handshake but for the revision, which follows the client's, and the items
    /// of each list in whatever order.
    fn offer(&self) -> Option<(Value, BTreeMap<ListKind, Vec<String>>)> {
        let frame: Value = serde_json::from_str(&self.handshake.as_ref()?.text).ok()?;
        let mut handshake = frame.get("result")?.clone();
        handshake.as_object_mut()?.remove("protocolVersion");
        let mut lists = BTreeMap::new();
        for (kind, pages) in &self.lists {
            let mut items = Vec::new();
            pages.iter().for_each(|page| drop(read_items(&page.kept.text, *kind, &mut items)));
            let mut items: Vec<String> = items.into_iter().map(|item| item.raw.into_string()).collect();
            items.sort_unstable();
            lists.insert(*kind, items);
        }
        Some((handshake, lists))
    }
}
