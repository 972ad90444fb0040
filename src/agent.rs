//! Who an agent is, as far as it has said so, and the system tells.

/// What is known of an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Agent {
    pub name: Option<String>,
    /// The folder that it was started in.
    pub cwd: Option<String>,
    pub pid: Option<u32>,
    /// The machine that it is on, where its folder is none here.
    pub host: Option<String>,
}
