//! What the modern era repeats in headers, by the tools as the server listed them last.

use reqwest::header::HeaderMap;

use crate::envelope::Envelope;
use crate::envelope::reply;
use crate::era;
use crate::mcp_headers;
use crate::method::Method;
use crate::upstream::catalog::next_cursor;
use crate::upstream::http::answer;
use crate::upstream::http::client::Repeat;
use crate::upstream::http::shared::Shared;
use crate::wire::Message;

/// How many pages of tools are read when headers do not match.
const MOST_PAGES: usize = 100;

impl Shared {
    /// The headers of the modern era.
    pub(super) fn mirrored(&self, envelope: &Envelope<'_>) -> HeaderMap {
        mcp_headers::headers(envelope, &self.tools.lock())
    }

    /// Asks for the tools, because they seem to be others than those that were listed last.
    pub(super) async fn list_again(&self) {
        let mut cursor: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let page = cursor.as_ref().map(|cursor| format!(r#""cursor":{cursor},"#)).unwrap_or_default();
            let (id, meta) = (self.tap.next_id(), era::own_meta());
            let frame = reply::request(id, Method::ListTools, &format!("{{{page}{meta}}}"));
            let Ok(message) = Message::small(frame) else { return };
            let headers = self.mirrored(message.envelope());
            let post = || self.endpoint.post(&self.endpoint.url, message.text().clone()).headers(headers.clone());
            let sent = self.endpoint.send(Repeat::Safe, post).await;
            let Ok(response) = sent else { return };
            let Some(result) = answer::result_of(response, &self.bounds).await else { return };
            mcp_headers::read(&result, &mut self.tools.lock());
            cursor = next_cursor(&result);
            if cursor.is_none() {
                return;
            }
        }
    }
}
