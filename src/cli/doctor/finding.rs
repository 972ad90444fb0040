//! One thing that was looked at.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Good,
    /// Worth knowing; nothing fails because of it.
    Note,
    Problem,
}

/// What mends it safely, and says in words what it did.
pub(super) type Mend = Box<dyn FnOnce() -> anyhow::Result<String>>;

#[derive(Serialize)]
pub(super) struct Finding {
    /// What was looked at: `daemon`, `config`, `path` and so on.
    pub subject: &'static str,
    pub level: Level,
    pub what: String,
    /// The command, or the step, that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    #[serde(skip)]
    pub mend: Option<Mend>,
}

impl Finding {
    pub(super) fn good(subject: &'static str, what: impl Into<String>) -> Self {
        Self { subject, level: Level::Good, what: what.into(), fix: None, mend: None }
    }

    pub(super) fn note(subject: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { subject, level: Level::Note, what: what.into(), fix: Some(fix.into()), mend: None }
    }

    pub(super) fn problem(subject: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { subject, level: Level::Problem, what: what.into(), fix: Some(fix.into()), mend: None }
    }

    pub(super) fn mended_by(self, mend: impl FnOnce() -> anyhow::Result<String> + 'static) -> Self {
        Self { mend: Some(Box::new(mend)), ..self }
    }
}
