//! The methods of the protocol, and what trunkline must know of each: one row for a method, and nowhere else its name.
//!
//! MCP `schema.ts`, revisions 2024-11-05 to 2025-11-25 (legacy) and 2026-07-28 (modern).

use std::fmt;

use crate::era::Era;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    Initialize,
    Discover,
    Ping,
    ListTools,
    CallTool,
    ListPrompts,
    GetPrompt,
    ListResources,
    ListTemplates,
    ReadResource,
    Subscribe,
    Unsubscribe,
    Complete,
    SetLevel,
    Listen,
    GetTask,
    TaskResult,
    ListTasks,
    CancelTask,
    UpdateTask,
    CreateMessage,
    Elicit,
    ListRoots,
    Initialized,
    Cancelled,
    Progress,
    Log,
    ToolsChanged,
    PromptsChanged,
    ResourcesChanged,
    ResourceUpdated,
    RootsChanged,
    ElicitationComplete,
    Acknowledged,
    TaskStatus,
    TaskChanged,
}

/// What a request names: by that it is filtered and brought to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    Nothing,
    /// `params.name`.
    Tool,
    Prompt,
    /// `params.uri`.
    Resource,
    /// `params.taskId`.
    Task,
    /// `params.ref`.
    Reference,
}

/// What of an agent's state at a server a request changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changes {
    Nothing,
    Session,
    Level,
    Subscriptions,
}

/// What trunkline must know of a method.
#[derive(Debug, Clone, Copy)]
struct Row {
    name: &'static str,
    /// The era that has it, if only one has.
    era: Option<Era>,
    /// What a client must have declared to be asked, of a server's request.
    of_client: Option<&'static str>,
    /// Only a server says it.
    is_servers: bool,
    /// The server works on it, and may ask something meanwhile; it is no mere setting.
    is_call: bool,
    /// It may be sent again where nothing was heard of it.
    is_safe: bool,
    /// It is asked once more of the process that follows one that ended.
    is_renewed: bool,
    /// A modern server may answer it with `input_required`.
    may_ask: bool,
    names: Names,
    changes: Changes,
}

const fn request(name: &'static str) -> Row {
    Row {
        name,
        era: None,
        of_client: None,
        is_servers: false,
        is_call: true,
        is_safe: false,
        is_renewed: false,
        may_ask: false,
        names: Names::Nothing,
        changes: Changes::Nothing,
    }
}

const fn notification(name: &'static str) -> Row {
    Row { is_call: false, ..request(name) }
}

impl Row {
    const fn legacy(self) -> Self {
        Self { era: Some(Era::Legacy), ..self }
    }

    const fn modern(self) -> Self {
        Self { era: Some(Era::Modern), ..self }
    }

    /// A request of a server to a client that declared this.
    const fn of_client(self, capability: &'static str) -> Self {
        Self { of_client: Some(capability), is_servers: true, ..self }
    }

    const fn of_servers(self) -> Self {
        Self { is_servers: true, ..self }
    }

    const fn no_call(self) -> Self {
        Self { is_call: false, ..self }
    }

    const fn safe(self) -> Self {
        Self { is_safe: true, ..self }
    }

    const fn renewed(self) -> Self {
        Self { is_renewed: true, ..self }
    }

    const fn asks(self) -> Self {
        Self { may_ask: true, ..self }
    }

    const fn names(self, names: Names) -> Self {
        Self { names, ..self }
    }

    const fn changes(self, changes: Changes) -> Self {
        Self { changes, ..self }
    }
}

impl Method {
    const ALL: [Self; 36] = [
        Self::Initialize,
        Self::Discover,
        Self::Ping,
        Self::ListTools,
        Self::CallTool,
        Self::ListPrompts,
        Self::GetPrompt,
        Self::ListResources,
        Self::ListTemplates,
        Self::ReadResource,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Complete,
        Self::SetLevel,
        Self::Listen,
        Self::GetTask,
        Self::TaskResult,
        Self::ListTasks,
        Self::CancelTask,
        Self::UpdateTask,
        Self::CreateMessage,
        Self::Elicit,
        Self::ListRoots,
        Self::Initialized,
        Self::Cancelled,
        Self::Progress,
        Self::Log,
        Self::ToolsChanged,
        Self::PromptsChanged,
        Self::ResourcesChanged,
        Self::ResourceUpdated,
        Self::RootsChanged,
        Self::ElicitationComplete,
        Self::Acknowledged,
        Self::TaskStatus,
        Self::TaskChanged,
    ];

    const fn row(self) -> Row {
        match self {
            Self::Initialize => request("initialize").legacy().safe().changes(Changes::Session),
            Self::Discover => request("server/discover").modern().safe(),
            Self::Ping => request("ping").legacy().no_call().safe(),
            Self::ListTools => request("tools/list").safe().renewed(),
            Self::CallTool => request("tools/call").asks().names(Names::Tool),
            Self::ListPrompts => request("prompts/list").safe().renewed(),
            Self::GetPrompt => request("prompts/get").safe().asks().names(Names::Prompt),
            Self::ListResources => request("resources/list").safe().renewed(),
            Self::ListTemplates => request("resources/templates/list").safe().renewed(),
            Self::ReadResource => request("resources/read").safe().renewed().asks().names(Names::Resource),
            Self::Subscribe => {
                let row = request("resources/subscribe").legacy().no_call();
                row.names(Names::Resource).changes(Changes::Subscriptions)
            }
            Self::Unsubscribe => {
                let row = request("resources/unsubscribe").legacy().no_call();
                row.names(Names::Resource).changes(Changes::Subscriptions)
            }
            Self::Complete => request("completion/complete").safe().names(Names::Reference),
            Self::SetLevel => request("logging/setLevel").legacy().no_call().changes(Changes::Level),
            Self::Listen => request("subscriptions/listen").modern().no_call().renewed(),
            Self::GetTask => request("tasks/get").safe().names(Names::Task),
            Self::TaskResult => request("tasks/result").legacy().names(Names::Task),
            Self::ListTasks => request("tasks/list").legacy().safe(),
            Self::CancelTask => request("tasks/cancel").names(Names::Task),
            Self::UpdateTask => request("tasks/update").modern().names(Names::Task),
            Self::CreateMessage => request("sampling/createMessage").of_client("sampling"),
            Self::Elicit => request("elicitation/create").of_client("elicitation"),
            Self::ListRoots => request("roots/list").of_client("roots"),
            Self::Initialized => notification("notifications/initialized").legacy(),
            Self::Cancelled => notification("notifications/cancelled"),
            Self::Progress => notification("notifications/progress"),
            Self::Log => notification("notifications/message").of_servers(),
            Self::ToolsChanged => notification("notifications/tools/list_changed").of_servers(),
            Self::PromptsChanged => notification("notifications/prompts/list_changed").of_servers(),
            Self::ResourcesChanged => notification("notifications/resources/list_changed").of_servers(),
            Self::ResourceUpdated => {
                notification("notifications/resources/updated").of_servers().names(Names::Resource)
            }
            Self::RootsChanged => notification("notifications/roots/list_changed").legacy(),
            Self::ElicitationComplete => notification("notifications/elicitation/complete").legacy().of_servers(),
            Self::Acknowledged => notification("notifications/subscriptions/acknowledged").modern(),
            Self::TaskStatus => notification("notifications/tasks/status").legacy().names(Names::Task),
            Self::TaskChanged => notification("notifications/tasks").modern().names(Names::Task),
        }
    }

    /// The method of this name, if the protocol has it.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Whether an era has it.
    pub fn is_of(self, era: Era) -> bool {
        self.row().era.is_none_or(|own| own == era)
    }

    /// What a client must have declared to be asked this by a server.
    pub const fn of_client(self) -> Option<&'static str> {
        self.row().of_client
    }

    /// Whether only a server says it.
    pub const fn is_servers(self) -> bool {
        self.row().is_servers
    }

    /// Whether a server works on it, and may ask something meanwhile.
    pub const fn is_call(self) -> bool {
        self.row().is_call
    }

    /// Whether it may be sent again where nothing was heard of it.
    pub const fn is_safe(self) -> bool {
        self.row().is_safe
    }

    /// Whether it is asked once more of the process that follows one that ended.
    pub const fn is_renewed(self) -> bool {
        self.row().is_renewed
    }

    /// Whether a modern server may ask something before it answers.
    pub const fn may_ask(self) -> bool {
        self.row().may_ask
    }

    pub const fn names(self) -> Names {
        self.row().names
    }

    pub const fn changes(self) -> Changes {
        self.row().changes
    }

    /// Whether a notification of this name tells of a task, whatever it says of it.
    pub fn tells_of_task(name: &str) -> bool {
        name.starts_with(Self::TaskChanged.name())
    }

    /// Whether it is about tasks, which are not the same thing in the two eras.
    pub fn is_about_tasks(self) -> bool {
        self.names() == Names::Task || self == Self::ListTasks
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_one_methods() {
        for method in Method::ALL {
            assert_eq!(Method::of(method.name()), Some(method));
        }
        let mut names: Vec<_> = Method::ALL.map(Method::name).into();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Method::ALL.len());
        assert_eq!(Method::of("tools/Call"), None);
    }
}
