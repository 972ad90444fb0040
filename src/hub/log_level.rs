//! The severity of a log message (RFC 5424, as MCP names it), least severe first.

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

impl Level {
    /// What an agent that set no level gets once another one on the same instance did.
    pub const UNSET: Self = Self::Info;
    const NAMES: [(&'static str, Self); 8] = [
        ("\"debug\"", Self::Debug),
        ("\"info\"", Self::Info),
        ("\"notice\"", Self::Notice),
        ("\"warning\"", Self::Warning),
        ("\"error\"", Self::Error),
        ("\"critical\"", Self::Critical),
        ("\"alert\"", Self::Alert),
        ("\"emergency\"", Self::Emergency),
    ];

    /// From raw JSON text.
    pub fn parse(raw: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(name, _)| *name == raw).map(|(_, level)| level)
    }

    /// As raw JSON text.
    pub fn raw(self) -> &'static str {
        Self::NAMES.into_iter().find(|(_, level)| *level == self).map_or("\"info\"", |(name, _)| name)
    }
}
