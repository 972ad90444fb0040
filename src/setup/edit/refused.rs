//! Why a text stays as it is.

use crate::config::Format;

/// Why a text cannot be edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotEditText {
    #[error("it is not valid {0}: {1}")]
    Invalid(Format, String),
    #[error("`{0}` in it is not where servers stand")]
    Shape(String),
}
