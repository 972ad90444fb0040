//! A place for one instance after another: whom it serves, and what state it is in.

use std::sync::Arc;

use tokio::sync::watch;

use crate::era::{Class, Dialect};
use crate::hub::failure::Failure;
use crate::hub::instance::Line;
use crate::hub::sharing::key::{Key, Want};
use crate::hub::sharing::{ROOTS, Sharing};
use crate::upstream::catalog::Shown;
use crate::upstream::state::State;

pub(in crate::hub) type Phase = Option<Result<Arc<Line>, Failure>>;

/// A place for one instance, which keeps its agents together when one process follows another.
#[derive(Debug)]
pub(in crate::hub) struct Slot {
    pub number: u64,
    pub key: Key,
    /// What its instance is promised, if it speaks the legacy era.
    pub promise: Class,
    pub life: State,
    pub phase: watch::Sender<Phase>,
    /// The instance that is up, or the last one that was.
    pub line: Option<Arc<Line>>,
}

impl Slot {
    /// The instance, if it is up.
    pub(in crate::hub) fn up(&self) -> Option<&Arc<Line>> {
        self.line.as_ref().filter(|line| !line.is_closed())
    }

    /// What its instance speaks, or will.
    fn dialect(&self) -> Option<Dialect> {
        match (self.up().and_then(|line| line.dialect()), &self.key.want) {
            (Some(dialect), _) => Some(dialect.clone()),
            (None, Want::Dialect(Dialect::Modern)) => Some(Dialect::Modern),
            (None, Want::Dialect(Dialect::Legacy(_))) => Some(Dialect::Legacy(self.promise.clone())),
            (None, Want::Any) => None,
        }
    }

    /// Whether its instance is one that `key` wants.
    pub(in crate::hub) fn fits(&self, key: &Key, sharing: &Sharing, shown: &Shown) -> bool {
        let same_kind = match (&key.want, self.dialect()) {
            (Want::Any, _) => self.key.want == Want::Any,
            (Want::Dialect(Dialect::Legacy(class)), Some(Dialect::Legacy(promised))) => {
                sharing.admits(&promised, class, shown)
            }
            (Want::Dialect(wanted), Some(dialect)) => *wanted == dialect,
            (Want::Dialect(_), None) => false,
        };
        let takes = match self.life {
            State::Draining { .. } => false,
            State::Idle | State::Starting | State::Ready { .. } | State::Backoff { .. } | State::Broken => true,
        };
        same_kind && takes && self.key.is_in_place_of(key, shown.asks.contains(ROOTS))
    }

    /// Where its news come.
    pub(in crate::hub) fn news(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Whether somebody would miss it.
    pub(in crate::hub) fn is_needed(&self) -> bool {
        self.line.as_ref().is_some_and(|line| !line.session_ids().is_empty())
    }

    pub(in crate::hub) fn is_live(&self) -> bool {
        match self.life {
            State::Starting | State::Ready { .. } | State::Draining { .. } => true,
            State::Idle | State::Backoff { .. } | State::Broken => false,
        }
    }
}
