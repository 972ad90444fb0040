//! How far the configuration has an instance shared.

use schemars::JsonSchema;

/// Who shares an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Share {
    /// As few processes as are right, by what is known of the server and what it has shown.
    Auto,
    All,
    Project,
    Session,
}
