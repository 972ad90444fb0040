//! The lists of a running server, each fetched once for all who ask, and brought to its catalog.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::line::Line;
use crate::envelope::Envelope;
use crate::era::{self, Era};
use crate::lists::ListKind;
use crate::upstream::catalog::{Item, List, next_cursor, read_items};
use crate::upstream::{Handshake, Quirk};

/// How many pages of one list are read; a server that has more repeats itself.
const MAX_PAGES: usize = 1_000;
/// How long a server may take for one page.
const PAGE_WAIT: Duration = Duration::from_secs(60);

type Fetched = Result<List, Arc<str>>;

/// The lists of one line.
#[derive(Debug, Default)]
pub(super) struct Lists(Mutex<HashMap<ListKind, Fetching>>);

/// A list that is being read, or was.
#[derive(Debug, Clone)]
struct Fetching {
    told: watch::Receiver<Option<Fetched>>,
    /// How many wait for it.
    waiting: Arc<AtomicUsize>,
}

/// One who waits for a list.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn new(fetching: &Fetching) -> Self {
        fetching.waiting.fetch_add(1, Ordering::Relaxed);
        Self(fetching.waiting.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lists {
    pub(super) fn forget_all(&self) {
        self.0.lock().clear();
    }

    /// Forgets a list, because the server says that it changed.
    pub(super) fn forget(&self, kind: ListKind) {
        let mut lists = self.0.lock();
        lists.remove(&kind);
        if kind == ListKind::Resources {
            lists.remove(&ListKind::Templates);
        }
    }
}

impl Line {
    /// The server's whole list: kept if the server announces changes, else asked for each time.
    pub async fn list(self: &Arc<Self>, kind: ListKind) -> Fetched {
        let Some(handshake) = self.handshake() else { return Err("the server is starting".into()) };
        let declared = handshake.offers(kind.capability());
        if !declared && !self.may_offer(kind) {
            return Ok(List::default());
        }
        // A modern server announces changes only to those who listen, and trunkline itself does not. What is not declared is
        // asked for once.
        let keep = !declared || self.era() == Era::Legacy && handshake.announces(kind.capability());
        let mut fetching = self.start_fetch(kind, keep);
        let _waiting = Waiting::new(&fetching);
        let answer = match fetching.told.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone(),
            Err(_) => None,
        };
        answer.unwrap_or_else(|| Err("the list was not read to its end".into()))
    }

    /// Whether a server may have what it does not declare: some have tools all the same, or declare nothing at all.
    pub(super) fn may_offer(&self, kind: ListKind) -> bool {
        let nothing = || self.handshake().is_some_and(Handshake::declares_nothing);
        kind == ListKind::Tools || nothing()
    }

    /// A list as it was read last, and not forgotten since.
    pub(super) fn kept_list(&self, kind: ListKind) -> Option<List> {
        self.lists.0.lock().get(&kind)?.told.borrow().as_ref()?.as_ref().ok().cloned()
    }

    fn start_fetch(self: &Arc<Self>, kind: ListKind, keep: bool) -> Fetching {
        let mut lists = self.lists.0.lock();
        if let Some(fetching) = lists.get(&kind)
            && (fetching.told.borrow().is_none() || (keep && matches!(&*fetching.told.borrow(), Some(Ok(_)))))
        {
            return fetching.clone();
        }
        let (sender, told) = watch::channel(None);
        let fetching = Fetching { told, waiting: Arc::default() };
        lists.insert(kind, fetching.clone());
        drop(lists);
        let waiting = fetching.waiting.clone();
        let line = self.clone();
        if let Some(upstream) = self.upstream.upgrade() {
            upstream.around.tasks.spawn(async move {
                sender.send_replace(Some(line.fetch_tolerantly(kind, &waiting).await));
                if let Some(upstream) = line.upstream.upgrade() {
                    upstream.arrived(&line);
                }
            });
        }
        fetching
    }

    /// Of what is not declared, a refusal is no error.
    async fn fetch_tolerantly(self: &Arc<Self>, kind: ListKind, waiting: &AtomicUsize) -> Fetched {
        let fetched = self.fetch(kind, waiting).await;
        if self.handshake().is_some_and(|handshake| handshake.offers(kind.capability())) {
            return fetched;
        }
        let items = fetched.unwrap_or_default();
        if !items.is_empty() {
            self.note(&Quirk::Undeclared(kind.member()));
        }
        Ok(items)
    }

    /// Whether nobody wants to know a list any more: who waited for it has left, and nobody was given lists without it.
    fn is_unwanted(&self, waiting: &AtomicUsize) -> bool {
        let hub = self.upstream.upgrade().and_then(|upstream| upstream.hub.upgrade());
        let missed = |hub: Arc<super::Hub>| hub.sessions().iter().any(|session| session.misses(&self.name));
        waiting.load(Ordering::Relaxed) == 0 && !hub.is_some_and(missed)
    }

    async fn fetch(self: &Arc<Self>, kind: ListKind, waiting: &AtomicUsize) -> Fetched {
        let most = self.upstream.upgrade().map_or(0, |upstream| upstream.around.max_frame);
        let mut bytes = 0;
        let mut items = Vec::new();
        let (mut cursor, mut cursors): (Option<String>, HashSet<String>) = (None, HashSet::new());
        let mut keys = HashSet::new();
        for _ in 0..MAX_PAGES {
            let params = self.own_params(cursor.as_deref().map(|cursor| format!(r#""cursor":{cursor}"#)));
            let mut asked = self.ask(kind.method(), &params);
            let answer = tokio::time::timeout(PAGE_WAIT, &mut asked.answer).await;
            let frame = match answer {
                Ok(Ok(answer)) => answer?,
                Ok(Err(_)) => return Err("the server stopped".into()),
                Err(_) => return Err(format!("no answer to {} within {PAGE_WAIT:?}", kind.method()).into()),
            };
            let envelope = Envelope::parse(frame.as_bytes()).map_err(|error| Arc::from(error.to_string()))?;
            let Some(result) = envelope.result else {
                let refused = format!("{} was refused: {}", kind.method(), envelope.error.unwrap_or_default());
                if !items.is_empty() {
                    self.note(&Quirk::List(kind.method(), refused.clone()));
                }
                return kept(items, refused);
            };
            bytes += result.len();
            if bytes > most {
                self.note(&Quirk::LongList(kind.method()));
                return Err(format!("{} comes to more than {most} bytes (max_frame)", kind.method()).into());
            }
            let mut page = Vec::new();
            if let Err(error) = read_items(result, kind, &mut page) {
                self.note(&Quirk::List(kind.method(), error.to_string()));
                return kept(items, format!("its answer to {} cannot be read: {error}", kind.method()));
            }
            let length = page.len();
            page.retain(|item: &Item| keys.insert(item.key.clone()));
            let repeats = length > 0 && page.is_empty();
            items.extend(page);
            self.note_page(kind, cursor.as_deref(), result);
            let next = next_cursor(result);
            let Some(next) = next else { return Ok(Arc::new(items)) };
            if repeats || !cursors.insert(next.clone()) {
                self.note(&Quirk::Circling(kind.method()));
                return Ok(Arc::new(items));
            }
            if self.is_unwanted(waiting) {
                return Err(format!("nobody waits for {} any more", kind.method()).into());
            }
            cursor = Some(next);
        }
        Err(format!("{} has more than {MAX_PAGES} pages", kind.method()).into())
    }

    /// Parameters of a request of trunkline's own: `members` and, in the modern era, who asks.
    pub fn own_params(&self, members: Option<String>) -> String {
        let meta = (self.era() == Era::Modern).then(era::own_meta);
        let all: Vec<_> = members.into_iter().chain(meta).collect();
        format!("{{{}}}", all.join(","))
    }

    /// Brings a page to the upstream's catalog.
    pub(super) fn note_page(self: &Arc<Self>, kind: ListKind, cursor: Option<&str>, result: &str) {
        if kind == ListKind::Tools {
            self.note_task_tools(result);
        }
        if let (Some(upstream), Some(audience)) = (self.upstream.upgrade(), self.audience()) {
            upstream.note_page(audience, kind, cursor, result);
        }
    }
}

/// The pages that came before one that is no use, if there were any.
fn kept(items: Vec<Item>, error: String) -> Fetched {
    if items.is_empty() { Err(error.into()) } else { Ok(Arc::new(items)) }
}

/// Whether two lists offer the same, in whatever order.
pub(super) fn same_items(one: &List, other: &List) -> bool {
    let sorted = |list: &List| {
        let mut raw: Vec<_> = list.iter().map(|item| item.raw.clone()).collect();
        raw.sort_unstable();
        raw
    };
    sorted(one) == sorted(other)
}
