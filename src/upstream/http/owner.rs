//! The connection to a server, as the one task has it that owns it.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::upstream::http::done::{About, Done, Listened};
use crate::upstream::http::posted::Posted;
use crate::upstream::http::session::Session;
use crate::upstream::http::shared::Shared;

/// `None` where the exchange was cancelled.
pub(super) type Exchange = Pin<Box<dyn Future<Output = (About, Option<Done>)> + Send>>;
pub(super) type Listening = Pin<Box<dyn Future<Output = Listened> + Send>>;

pub(super) struct Owner {
    pub shared: Arc<Shared>,
    pub stop: CancellationToken,
    pub session: Session,
    pub exchanges: FuturesUnordered<Exchange>,
    /// Requests under way, and what ends each.
    pub open: HashMap<u64, CancellationToken>,
    /// Messages that must wait until what comes first is over.
    pub held: VecDeque<Posted>,
    pub waits: bool,
    /// Told when the server listens to what is asked of its stream: its questions would be lost before that.
    pub heard: Option<oneshot::Receiver<()>>,
    /// The `initialize` that began the session.
    pub initialize: Option<Posted>,
    /// The id of the one that begins it anew.
    pub renewing: Option<u64>,
    /// The session is lost, and the server has not begun another one yet.
    pub is_lost: bool,
    pub listening: Option<Listening>,
}
