//! A place for one instance after another: whom it serves, and what state it is in.

use std::sync::Arc;

use tokio::sync::watch;

use crate::era::{ClientProfile, InstanceTerms};
use crate::hub::failure::Failure;
use crate::hub::instance::Instance;
use crate::hub::sharing::share_key::{ShareKey, Want};
use crate::hub::sharing::{ROOTS, Sharing};
use crate::upstream::catalog::Shown;
use crate::upstream::state::State;

pub(in crate::hub) type Phase = Option<Result<Arc<Instance>, Failure>>;

/// A place for one instance, which keeps its agents together when one process follows another.
#[derive(Debug)]
pub(in crate::hub) struct Slot {
    pub number: u64,
    pub key: ShareKey,
    /// What its instance is promised, if it speaks the legacy era.
    pub promise: ClientProfile,
    pub life: State,
    pub phase: watch::Sender<Phase>,
    /// The instance that is up, or the last one that was.
    pub instance: Option<Arc<Instance>>,
}

impl Slot {
    /// The instance, if it is up.
    pub(in crate::hub) fn up(&self) -> Option<&Arc<Instance>> {
        self.instance.as_ref().filter(|instance| !instance.is_closed())
    }

    /// What its instance speaks, or will.
    fn instance_terms(&self) -> Option<InstanceTerms> {
        match (self.up().and_then(|instance| instance.instance_terms()), &self.key.want) {
            (Some(instance_terms), _) => Some(instance_terms.clone()),
            (None, Want::InstanceTerms(InstanceTerms::Modern)) => Some(InstanceTerms::Modern),
            (None, Want::InstanceTerms(InstanceTerms::Legacy(_))) => Some(InstanceTerms::Legacy(self.promise.clone())),
            (None, Want::Any) => None,
        }
    }

    /// Whether its instance is one that `key` wants.
    pub(in crate::hub) fn fits(&self, key: &ShareKey, sharing: &Sharing, shown: &Shown) -> bool {
        let same_kind = match (&key.want, self.instance_terms()) {
            (Want::Any, _) => self.key.want == Want::Any,
            (Want::InstanceTerms(InstanceTerms::Legacy(profile)), Some(InstanceTerms::Legacy(promised))) => {
                sharing.admits(&promised, profile, shown)
            }
            (Want::InstanceTerms(wanted), Some(instance_terms)) => *wanted == instance_terms,
            (Want::InstanceTerms(_), None) => false,
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
        self.instance.as_ref().is_some_and(|instance| !instance.session_ids().is_empty())
    }

    pub(in crate::hub) fn is_live(&self) -> bool {
        match self.life {
            State::Starting | State::Ready { .. } | State::Draining { .. } => true,
            State::Idle | State::Backoff { .. } | State::Broken => false,
        }
    }
}
