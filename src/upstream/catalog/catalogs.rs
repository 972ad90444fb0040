//! All that is remembered of one upstream: its offers, each for those to whom it was made.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::era::{Era, InstanceTerms};
use crate::lists::ListKind;
use crate::upstream::catalog::items::{Item, List, next_cursor, read_items};
use crate::upstream::catalog::kept::{Bounds, Kept};
use crate::upstream::catalog::shown::Shown;

/// How many kinds of agent a server's offer is kept for.
const MOST: usize = 16;
/// For how long an offer that a running server confirmed need not be looked at again.
const TRUSTED: Duration = Duration::from_secs(10 * 60);

/// All that is remembered of one upstream.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Catalogs {
    pub era: Option<Era>,
    /// It does not know `initialize`.
    #[serde(default)]
    pub modern_only: bool,
    /// The method of a request that could have been any agent's: from then on an instance carries one call at a time.
    pub interactive: Option<String>,
    #[serde(default)]
    pub shown: Shown,
    pub(super) each: Vec<Catalog>,
    #[serde(skip)]
    bounds: Bounds,
}

/// What came of noting something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    News,
    Same,
    /// There is more of it than is kept: all of that list is forgotten.
    TooLarge,
}

/// For whom an offer is: a server may offer one agent what it does not offer another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audience {
    #[serde(rename = "dialect")]
    pub instance_terms: InstanceTerms,
    pub project: Option<PathBuf>,
}

/// One offer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Catalog {
    pub(super) audience: Audience,
    /// The reply to `initialize` or `server/discover`, a whole frame.
    pub(super) handshake: Option<Kept>,
    pub(super) lists: BTreeMap<ListKind, Vec<Page>>,
    /// When a running server last said the same.
    #[serde(skip)]
    pub(super) confirmed: Option<Instant>,
    #[serde(skip)]
    parsed: BTreeMap<ListKind, List>,
}

/// One page of a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Page {
    /// The cursor that asks for it, raw.
    cursor: Option<String>,
    pub(super) kept: Kept,
}

impl Catalogs {
    pub fn get(&self, audience: &Audience) -> Option<&Catalog> {
        self.each.iter().find(|catalog| catalog.audience == *audience)
    }

    fn get_or_add(&mut self, audience: &Audience) -> &mut Catalog {
        let index = self.each.iter().position(|catalog| catalog.audience == *audience).unwrap_or_else(|| {
            if self.each.len() == MOST {
                self.each.remove(0);
            }
            self.each.push(Catalog {
                audience: audience.clone(),
                handshake: None,
                lists: BTreeMap::new(),
                confirmed: None,
                parsed: BTreeMap::new(),
            });
            self.each.len() - 1
        });
        &mut self.each[index]
    }

    /// Notes a handshake's reply; tells whether that is news.
    pub fn note_handshake(&mut self, audience: &Audience, frame: &str) -> bool {
        let account = self.bounds.account.clone();
        let catalog = self.get_or_add(audience);
        let news = catalog.handshake.as_ref().is_none_or(|kept| *kept.text != *frame);
        let mut kept = Kept::new(frame, &audience.instance_terms);
        catalog.handshake = kept.weigh(&account).then_some(kept);
        news
    }

    /// Notes one page of a list, raw.
    pub fn note_page(&mut self, audience: &Audience, kind: ListKind, cursor: Option<&str>, result: &str) -> Noted {
        let bounds = self.bounds.clone();
        let catalog = self.get_or_add(audience);
        let pages = catalog.lists.entry(kind).or_default();
        let mut page = Page { cursor: cursor.map(str::to_owned), kept: Kept::new(result, &audience.instance_terms) };
        catalog.parsed.remove(&kind);
        let others = pages.iter().filter(|known| known.cursor.as_deref() != cursor);
        let all = others.map(|known| known.kept.text.len()).sum::<usize>() + result.len();
        if all > bounds.list || !page.kept.weigh(&bounds.account) {
            catalog.lists.remove(&kind);
            return Noted::TooLarge;
        }
        let is_news = match pages.iter_mut().find(|known| known.cursor.as_deref() == cursor) {
            Some(known) => {
                let same = known.kept.text == page.kept.text;
                *known = page;
                if !same && cursor.is_none() {
                    // What followed the old first page need not follow the new one.
                    pages.truncate(1);
                }
                !same
            }
            None => {
                pages.push(page);
                true
            }
        };
        if is_news { Noted::News } else { Noted::Same }
    }

    /// Weighs all that is kept, from now on within these bounds; what has no room in them is forgotten.
    pub fn keep_within(&mut self, bounds: Bounds) {
        for catalog in &mut self.each {
            let Catalog { handshake, lists, parsed, .. } = catalog;
            if handshake.as_mut().is_some_and(|kept| !kept.weigh(&bounds.account)) {
                *handshake = None;
            }
            lists.retain(|_, pages| {
                let all: usize = pages.iter().map(|page| page.kept.text.len()).sum();
                all <= bounds.list && pages.iter_mut().all(|page| page.kept.weigh(&bounds.account))
            });
            parsed.clear();
        }
        self.bounds = bounds;
    }

    /// Whether all lists are to be forgotten.
    pub fn is_cut(&self) -> bool {
        self.bounds.account.cut().is_cancelled()
    }

    /// Forgets all lists, and keeps new ones within these bounds.
    pub fn start_over(&mut self, bounds: Bounds) {
        self.each.iter_mut().for_each(|catalog| catalog.lists.clear());
        self.keep_within(bounds);
    }

    /// Forgets a list, because the server says that it changed.
    pub fn forget(&mut self, audience: &Audience, kind: ListKind) {
        let catalog = self.get_or_add(audience);
        catalog.lists.remove(&kind);
        catalog.parsed.remove(&kind);
    }

    /// Takes over offers of the same server under other settings: what it is, it must show anew.
    pub fn inherit(&mut self, other: Self) {
        self.shown = other.shown;
        self.each = other.each;
        self.each.iter_mut().for_each(|catalog| catalog.confirmed = None);
    }

    /// Whether it was asked what it offers, and answered, for anybody.
    pub fn is_known(&self) -> bool {
        self.each.iter().any(|catalog| catalog.handshake.is_some() && catalog.confirmed.is_some())
            || self.each.iter().any(|catalog| catalog.handshake.is_some() && !catalog.lists.is_empty())
    }

    /// Whether the server has shaken hands in this era.
    pub fn knows(&self, era: Era) -> bool {
        self.era == Some(era)
            || self
                .each
                .iter()
                .any(|catalog| catalog.audience.instance_terms.era() == era && catalog.handshake.is_some())
    }

    /// The lists that are known for `audience`.
    pub fn kinds(&self, audience: &Audience) -> Vec<ListKind> {
        self.get(audience).map(|catalog| catalog.lists.keys().copied().collect()).unwrap_or_default()
    }

    /// Notes that a running server said the same.
    pub fn confirm(&mut self, audience: &Audience) {
        self.get_or_add(audience).confirmed = Some(Instant::now());
    }

    /// Whether it is time to ask the server again.
    pub fn is_due(&self, audience: &Audience) -> bool {
        self.get(audience).and_then(|catalog| catalog.confirmed).is_none_or(|confirmed| confirmed.elapsed() > TRUSTED)
    }

    /// The whole list, item by item, if all its pages are known and hold.
    pub fn list(&mut self, audience: &Audience, kind: ListKind) -> Option<List> {
        let catalog = self.each.iter_mut().find(|catalog| catalog.audience == *audience)?;
        let pages = catalog.pages(kind)?;
        if let Some(list) = catalog.parsed.get(&kind) {
            return Some(list.clone());
        }
        let mut all = Vec::new();
        for page in pages {
            read_items(&page, kind, &mut all).ok()?;
        }
        let mut keys = HashSet::new();
        all.retain(|item: &Item| keys.insert(item.key.clone()));
        let list: List = Arc::new(all);
        catalog.parsed.insert(kind, list.clone());
        Some(list)
    }

    /// Every list of this kind that is known whole.
    pub fn lists(&mut self, kind: ListKind) -> Vec<List> {
        let audiences: Vec<_> = self.each.iter().map(|catalog| catalog.audience.clone()).collect();
        audiences.iter().filter_map(|audience| self.list(audience, kind)).collect()
    }

    /// What is known of a list, whether or not it still holds; nothing if none was ever whole.
    pub fn last_list(&self, kind: ListKind) -> Option<Vec<Item>> {
        self.each.iter().rev().find_map(|catalog| {
            let pages = catalog.lists.get(&kind)?;
            let mut all = Vec::new();
            pages.iter().try_for_each(|page| read_items(&page.kept.text, kind, &mut all)).ok()?;
            Some(all)
        })
    }

    /// Notes that the server asks its clients this; tells whether that is news.
    pub fn note_asks(&mut self, method: &str) -> bool {
        self.shown.asks.insert(method.to_owned())
    }

    /// What the server says of itself, in the words of any of its handshakes.
    pub fn any_handshake(&self) -> Option<&str> {
        self.each.iter().rev().find_map(|catalog| Some(&*catalog.handshake.as_ref()?.text))
    }

    /// For whom there are offers, without those of single projects.
    pub fn instance_terms_known(&self) -> Vec<InstanceTerms> {
        let all = self.each.iter().filter(|catalog| catalog.audience.project.is_none());
        all.map(|catalog| catalog.audience.instance_terms.clone()).collect()
    }
}

impl Catalog {
    /// The handshake's reply, a whole frame, if it still holds.
    pub fn handshake(&self) -> Option<String> {
        self.handshake.as_ref()?.fresh()
    }

    /// Whether the whole list is known and holds.
    pub fn has_list(&self, kind: ListKind) -> bool {
        self.pages(kind).is_some()
    }

    /// The page that `cursor`, raw, asks for, if it is known and still holds.
    pub fn page(&self, kind: ListKind, cursor: Option<&str>) -> Option<String> {
        let page = self.lists.get(&kind)?.iter().find(|page| page.cursor.as_deref() == cursor)?;
        page.kept.fresh()
    }

    fn pages(&self, kind: ListKind) -> Option<Vec<String>> {
        let mut pages = vec![self.page(kind, None)?];
        let mut cursors = HashSet::new();
        while let Some(cursor) = pages.last().and_then(|page| next_cursor(page)) {
            // A page that was there before ends the list.
            if !cursors.insert(cursor.clone()) {
                break;
            }
            pages.push(self.page(kind, Some(&cursor))?);
        }
        Some(pages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::era::ClientProfile;
    use crate::wire::Account;

    fn legacy() -> Audience {
        Audience { instance_terms: InstanceTerms::Legacy(ClientProfile::plain()), project: None }
    }

    fn names(list: Option<List>) -> Option<Vec<String>> {
        list.map(|list| list.iter().map(|item| item.key.clone()).collect())
    }

    #[test]
    fn pages_make_a_list_when_they_are_all_there() {
        let (mut catalogs, who, tools) = (Catalogs::default(), legacy(), ListKind::Tools);
        let first = r#"{"tools":[{"name":"a"}],"nextCursor":"2"}"#;
        assert_eq!(catalogs.note_page(&who, tools, None, first), Noted::News);
        assert_eq!(names(catalogs.list(&who, tools)), None);
        catalogs.note_page(&who, tools, Some("\"2\""), r#"{"tools":[{"name":"b"}]}"#);
        assert_eq!(names(catalogs.list(&who, tools)), Some(vec!["a".into(), "b".into()]));
        assert_eq!(catalogs.note_page(&who, tools, None, first), Noted::Same);
        assert_eq!(catalogs.note_page(&who, tools, None, r#"{"tools":[{"name":"c"}]}"#), Noted::News);
        assert_eq!(names(catalogs.list(&who, tools)), Some(vec!["c".into()]));
        assert!(catalogs.get(&Audience { project: Some("/p".into()), ..who }).is_none());
    }

    #[test]
    fn modern_words_hold_for_their_time_only() {
        let mut catalogs = Catalogs::default();
        let who = Audience { instance_terms: InstanceTerms::Modern, project: None };
        let page = |ttl: &str| format!(r#"{{"tools":[],{ttl}"resultType":"complete"}}"#);
        catalogs.note_page(&who, ListKind::Tools, None, &page(""));
        assert_eq!(catalogs.list(&who, ListKind::Tools).map(|list| list.len()), None);
        catalogs.note_page(&who, ListKind::Tools, None, &page(r#""ttlMs":0,"#));
        assert_eq!(catalogs.list(&who, ListKind::Tools).map(|list| list.len()), None);
        catalogs.note_page(&who, ListKind::Tools, None, &page(r#""ttlMs": 60000 ,"#));
        let kept = catalogs.get(&who).and_then(|catalog| catalog.page(ListKind::Tools, None)).expect("fresh");
        let left = super::super::items::ttl(&kept).expect("a time");
        assert!(left <= 60_000 && left > 50_000, "{kept}");
        assert!(
            kept.starts_with(r#"{"tools":[],"ttlMs": "#) && kept.ends_with(r#" ,"resultType":"complete"}"#),
            "{kept}"
        );
    }

    #[test]
    fn the_oldest_offer_makes_place() {
        let mut catalogs = Catalogs::default();
        for number in 0..MOST + 1 {
            let who = Audience { project: Some(format!("/{number}").into()), ..legacy() };
            catalogs.note_handshake(&who, "{}");
        }
        assert_eq!(catalogs.each.len(), MOST);
        assert!(catalogs.get(&Audience { project: Some("/0".into()), ..legacy() }).is_none());
    }

    #[test]
    fn so_much_is_kept_of_a_list() {
        let (mut catalogs, who, tools) = (Catalogs::default(), legacy(), ListKind::Tools);
        let account = Account::alone(1_000);
        catalogs.keep_within(Bounds { account: account.clone(), list: 100 });
        let page = |next: &str| format!(r#"{{"tools":[{{"name":"{}"}}],"nextCursor":"{next}"}}"#, "x".repeat(20));
        assert_eq!(catalogs.note_page(&who, tools, None, &page("2")), Noted::News);
        assert!(account.held() > 100, "{account:?}");
        assert_eq!(catalogs.note_page(&who, tools, Some("\"2\""), &page("3")), Noted::TooLarge);
        assert_eq!((account.held(), catalogs.kinds(&who).len()), (0, 0), "all of that list is gone");
        catalogs.note_page(&who, tools, None, &page("2"));
        catalogs.note_handshake(&who, "{}");
        account.cut().cancel();
        assert!(catalogs.is_cut());
        catalogs.start_over(Bounds::default());
        assert!(!catalogs.is_cut() && account.held() == 0);
        assert!(catalogs.any_handshake().is_some() && catalogs.kinds(&who).is_empty());
    }
}
