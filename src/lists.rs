//! The lists that a server offers (MCP `server/tools`, `server/prompts`, `server/resources`).

use serde::{Deserialize, Serialize};

use crate::method::Method;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListKind {
    Tools,
    Prompts,
    Resources,
    Templates,
}

impl ListKind {
    pub const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    pub fn method(self) -> Method {
        match self {
            Self::Tools => Method::ListTools,
            Self::Prompts => Method::ListPrompts,
            Self::Resources => Method::ListResources,
            Self::Templates => Method::ListTemplates,
        }
    }

    pub fn of_method(method: Option<Method>) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| Some(kind.method()) == method)
    }

    /// The member of the result that holds the items.
    pub fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// The capability under which a server declares it.
    pub fn capability(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources | Self::Templates => "resources",
        }
    }

    /// The notification that says that this list changed.
    pub fn changed(self) -> Method {
        match self {
            Self::Tools => Method::ToolsChanged,
            Self::Prompts => Method::PromptsChanged,
            Self::Resources | Self::Templates => Method::ResourcesChanged,
        }
    }

    /// That notification, whole.
    pub fn notification(self) -> String {
        format!(r#"{{"jsonrpc":"2.0","method":"{}"}}"#, self.changed().name())
    }

    pub fn of_changed(method: Option<Method>) -> Option<Self> {
        [Self::Tools, Self::Prompts, Self::Resources].into_iter().find(|kind| Some(kind.changed()) == method)
    }
}
