//! What a server offers: its lists, item by item as raw JSON, kept until the server says that they changed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::line::Line;
use crate::envelope::{Envelope, quoted, text};
use crate::era::{self, Era};

/// How many pages of one list are read; a server that has more repeats itself.
const MAX_PAGES: usize = 1_000;
/// How long a server may take for one page.
const PAGE_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListKind {
    Tools,
    Prompts,
    Resources,
    Templates,
}

impl ListKind {
    pub fn method(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Prompts => "prompts/list",
            Self::Resources => "resources/list",
            Self::Templates => "resources/templates/list",
        }
    }

    pub fn of_method(method: &str) -> Option<Self> {
        [Self::Tools, Self::Prompts, Self::Resources, Self::Templates].into_iter().find(|kind| kind.method() == method)
    }

    /// The member of the result that holds the items.
    pub fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    fn capability(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources | Self::Templates => "resources",
        }
    }

    /// The notification that says that this list changed.
    pub fn changed(self) -> &'static str {
        match self {
            Self::Tools => "notifications/tools/list_changed",
            Self::Prompts => "notifications/prompts/list_changed",
            Self::Resources | Self::Templates => "notifications/resources/list_changed",
        }
    }

    pub fn of_changed(method: &str) -> Option<Self> {
        [Self::Tools, Self::Prompts, Self::Resources].into_iter().find(|kind| kind.changed() == method)
    }
}

/// One tool, prompt, resource or template.
#[derive(Debug)]
pub struct Item {
    pub raw: Box<str>,
    /// Its name, or its URI: what agents call it by.
    pub key: String,
    /// Where that stands in `raw`, quotes and all.
    pub at: std::ops::Range<usize>,
}

pub(super) type List = Arc<Vec<Item>>;
type Fetched = Result<List, Arc<str>>;

/// The lists of one line, each fetched once for all who ask.
#[derive(Debug, Default)]
pub struct Catalog(Mutex<HashMap<ListKind, watch::Receiver<Option<Fetched>>>>);

impl Catalog {
    /// Forgets a list, because the server says that it changed.
    pub fn forget(&self, kind: ListKind) {
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
        if !handshake.offers(kind.capability()) {
            return Ok(List::default());
        }
        // A modern server announces changes only to those who listen, and trunkline itself does not.
        let keep = self.era() == Era::Legacy && handshake.announces(kind.capability());
        let mut fetched = self.start_fetch(kind, keep);
        let answer = match fetched.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone(),
            Err(_) => None,
        };
        answer.unwrap_or_else(|| Err("the list was not read to its end".into()))
    }

    fn start_fetch(self: &Arc<Self>, kind: ListKind, keep: bool) -> watch::Receiver<Option<Fetched>> {
        let mut lists = self.catalog.0.lock();
        if let Some(fetched) = lists.get(&kind)
            && (fetched.borrow().is_none() || (keep && matches!(&*fetched.borrow(), Some(Ok(_)))))
        {
            return fetched.clone();
        }
        let (sender, receiver) = watch::channel(None);
        lists.insert(kind, receiver.clone());
        drop(lists);
        let line = self.clone();
        if let Some(upstream) = self.upstream.upgrade() {
            upstream.around.tasks.spawn(async move {
                sender.send_replace(Some(line.fetch(kind).await));
                if let Some(upstream) = line.upstream.upgrade() {
                    upstream.arrived(&line);
                }
            });
        }
        receiver
    }

    async fn fetch(&self, kind: ListKind) -> Fetched {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let params = self.own_params(cursor.as_deref().map(|cursor| format!(r#""cursor":{cursor}"#)));
            let answer = tokio::time::timeout(PAGE_WAIT, self.ask(kind.method(), &params)).await;
            let frame = match answer {
                Ok(Ok(answer)) => answer?,
                Ok(Err(_)) => return Err("the server stopped".into()),
                Err(_) => return Err(format!("no answer to {} within {PAGE_WAIT:?}", kind.method()).into()),
            };
            let next = read_page(&frame, kind, &mut items)?;
            if next.is_none() || next == cursor {
                return Ok(Arc::new(items));
            }
            cursor = next;
        }
        Err(format!("{} has more than {MAX_PAGES} pages", kind.method()).into())
    }

    /// Parameters of a request of trunkline's own: `members` and, in the modern era, who asks.
    pub fn own_params(&self, members: Option<String>) -> String {
        let meta = (self.era() == Era::Modern).then(|| {
            let identity = format!(r#"{{"name":"trunkline","version":"{}"}}"#, env!("CARGO_PKG_VERSION"));
            let prefix = "io.modelcontextprotocol";
            format!(
                r#""_meta":{{"{prefix}/protocolVersion":"{}","{prefix}/clientInfo":{identity},"{prefix}/clientCapabilities":{{}}}}"#,
                era::MODERN
            )
        });
        let all: Vec<_> = members.into_iter().chain(meta).collect();
        format!("{{{}}}", all.join(","))
    }
}

/// Adds the items of one page; returns the raw cursor of the next.
fn read_page(frame: &str, kind: ListKind, items: &mut Vec<Item>) -> Result<Option<String>, Arc<str>> {
    #[derive(Deserialize)]
    struct Keys<'a> {
        #[serde(borrow)]
        name: Option<&'a RawValue>,
        #[serde(borrow)]
        uri: Option<&'a RawValue>,
        #[serde(borrow, rename = "uriTemplate")]
        template: Option<&'a RawValue>,
    }
    let envelope = Envelope::parse(frame.as_bytes()).map_err(|error| Arc::from(error.to_string()))?;
    let Some(result) = envelope.result else {
        return Err(format!("{} was refused: {}", kind.method(), envelope.error.unwrap_or_default()).into());
    };
    let unreadable = |error: serde_json::Error| Arc::from(format!("{} cannot be read: {error}", kind.method()));
    let page: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(result).map_err(unreadable)?;
    let listed: Vec<&RawValue> =
        page.get(kind.member()).map_or(Ok(Vec::new()), |raw| serde_json::from_str(raw.get())).map_err(unreadable)?;
    for raw in listed {
        let raw = raw.get();
        let Ok(keys) = serde_json::from_str::<Keys<'_>>(raw) else { continue };
        let key = match kind {
            ListKind::Tools | ListKind::Prompts => keys.name,
            ListKind::Resources => keys.uri,
            ListKind::Templates => keys.template,
        };
        let Some((key, name)) = key.and_then(|key| Some((key.get(), text(key.get())?))) else { continue };
        let start = key.as_ptr() as usize - raw.as_ptr() as usize;
        items.push(Item { raw: raw.into(), key: name.into_owned(), at: start..start + key.len() });
    }
    Ok(page.get("nextCursor").map(|raw| raw.get()).filter(|cursor| *cursor != "null").map(str::to_owned))
}

impl Item {
    /// The item under another name or URI.
    pub fn renamed(&self, key: &str) -> String {
        format!("{}{}{}", &self.raw[..self.at.start], quoted(key), &self.raw[self.at.end..])
    }
}
