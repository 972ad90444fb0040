//! What all looks begin with.

use crate::config::Config;
use crate::control::{Environment, Status};
use crate::paths::Places;

/// What all looks begin with.
pub(super) struct Look<'a> {
    pub places: &'a Places,
    pub config: Config,
    /// The running daemon's own words of itself.
    pub status: Option<Status>,
    /// What it has of the environment.
    pub environment: Option<Environment>,
}
