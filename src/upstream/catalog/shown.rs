//! What a server has shown of how it tells its clients apart, by what it offers and what it asks.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::era::ClientProfile;

/// What a server has shown of how it tells its clients apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The methods of its own requests.
    pub asks: BTreeSet<String>,
    /// What was promised to processes that offered the same.
    pub alike: Vec<ClientProfile>,
    /// It asks for roots by itself, and not only in a call.
    #[serde(default)]
    pub roots_by_itself: bool,
    /// It offered one client what it did not offer another, in the same folder.
    pub by_client: bool,
    /// It offered something else in another folder.
    pub by_folder: bool,
}
