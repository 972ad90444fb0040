//! What a message for an agent belongs to.

/// What a message belongs to, by the agent's own raw id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To<'a> {
    /// It answers this request.
    Answer(&'a str),
    /// It comes of this request.
    Call(&'a str),
    /// It belongs to no request.
    Agent,
}
