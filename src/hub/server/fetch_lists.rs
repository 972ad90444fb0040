//! The lists of a running server, each fetched once for all who ask, and brought to its catalog.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::envelope::Envelope;
use crate::era::Era;
use crate::hub::instance::Instance;
use crate::hub::instance::lists::{Fetched, Fetching, Listed};
use crate::hub::server::Server;
use crate::lists::ListKind;
use crate::upstream::Quirk;
use crate::upstream::catalog::{Item, List, next_cursor, read_items};

/// How many pages of one list are read; a server that has more repeats itself.
const MAX_PAGES: usize = 1_000;
/// How long a server may take for one page.
const PAGE_WAIT: Duration = Duration::from_secs(60);

impl Server {
    /// The server's whole list: kept if the server announces changes, else asked for each time.
    pub async fn list(self: &Arc<Self>, instance: &Arc<Instance>, kind: ListKind) -> Fetched {
        let Some(handshake) = instance.handshake() else { return Err("the server is starting".into()) };
        let declared = handshake.offers(kind.capability());
        if !declared && !instance.may_offer(kind) {
            return Ok(List::default());
        }
        // A modern server announces changes only to those who listen, and trunkline itself does not. What is not declared is
        // asked for once.
        let keep = !declared || instance.era() == Era::Legacy && handshake.announces(kind.capability());
        let mut fetching = self.start_fetch(instance, kind, keep);
        let _waiting = Listed::new(&fetching);
        let answer = match fetching.told.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone(),
            Err(_) => None,
        };
        answer.unwrap_or_else(|| Err("the list was not read to its end".into()))
    }

    fn start_fetch(self: &Arc<Self>, instance: &Arc<Instance>, kind: ListKind, keep: bool) -> Fetching {
        let mut lists = instance.lists.0.lock();
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
        let (server, instance) = (self.clone(), instance.clone());
        self.around.tasks.spawn(async move {
            sender.send_replace(Some(server.fetch_tolerantly(&instance, kind, &waiting).await));
            server.arrived(&instance);
        });
        fetching
    }

    /// Of what is not declared, a refusal is no error.
    async fn fetch_tolerantly(&self, instance: &Arc<Instance>, kind: ListKind, waiting: &AtomicUsize) -> Fetched {
        let fetched = self.fetch(instance, kind, waiting).await;
        if instance.handshake().is_some_and(|handshake| handshake.offers(kind.capability())) {
            return fetched;
        }
        let items = fetched.unwrap_or_default();
        if !items.is_empty() {
            self.around.note(&Quirk::Undeclared(kind.member()));
        }
        Ok(items)
    }

    /// Whether nobody wants to know a list any more: who waited for it has left, and nobody was given lists without it.
    fn is_unwanted(&self, waiting: &AtomicUsize) -> bool {
        let missed = || self.services.sessions.all().iter().any(|session| session.misses(&self.name));
        waiting.load(Ordering::Relaxed) == 0 && !missed()
    }

    async fn fetch(&self, instance: &Arc<Instance>, kind: ListKind, waiting: &AtomicUsize) -> Fetched {
        let most = self.around.max_frame;
        let mut bytes = 0;
        let mut items = Vec::new();
        let (mut cursor, mut cursors): (Option<String>, HashSet<String>) = (None, HashSet::new());
        let mut keys = HashSet::new();
        for _ in 0..MAX_PAGES {
            let params = instance.own_params(cursor.as_deref().map(|cursor| format!(r#""cursor":{cursor}"#)));
            let mut asked = instance.ask(kind.method(), &params);
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
                    self.around.note(&Quirk::List(kind.method().name(), refused.clone()));
                }
                return kept(items, refused);
            };
            bytes += result.len();
            if bytes > most {
                self.around.note(&Quirk::LongList(kind.method().name()));
                return Err(format!("{} comes to more than {most} bytes (max_frame)", kind.method()).into());
            }
            let mut page = Vec::new();
            if let Err(error) = read_items(result, kind, &mut page) {
                self.around.note(&Quirk::List(kind.method().name(), error.to_string()));
                return kept(items, format!("its answer to {} cannot be read: {error}", kind.method()));
            }
            let length = page.len();
            page.retain(|item: &Item| keys.insert(item.key.clone()));
            let repeats = length > 0 && page.is_empty();
            items.extend(page);
            self.note_page(instance, kind, cursor.as_deref(), result);
            let next = next_cursor(result);
            let Some(next) = next else { return Ok(Arc::new(items)) };
            if repeats || !cursors.insert(next.clone()) {
                self.around.note(&Quirk::Circling(kind.method().name()));
                return Ok(Arc::new(items));
            }
            if self.is_unwanted(waiting) {
                return Err(format!("nobody waits for {} any more", kind.method()).into());
            }
            cursor = Some(next);
        }
        Err(format!("{} has more than {MAX_PAGES} pages", kind.method()).into())
    }
}

/// The pages that came before one that is no use, if there were any.
fn kept(items: Vec<Item>, error: String) -> Fetched {
    if items.is_empty() { Err(error.into()) } else { Ok(Arc::new(items)) }
}
