//! What of a server's offer agents see, and what is kept from them.

use crate::hub::failure::Failure;
use crate::hub::server::Server;
use crate::lists::ListKind;
use crate::upstream::catalog::filtered;

impl Server {
    /// Whether a tool is offered; one that is not is named in `status`.
    pub fn allows(&self, tool: &str) -> bool {
        let settings = self.settings();
        let allowed = settings.tools.allows(tool);
        if !allowed {
            self.state.lock().known.denied.insert(tool.to_owned());
        }
        allowed
    }

    /// Why a tool cannot be called, if the filter does not let it pass.
    pub fn refuses(&self, tool: &str) -> Option<Failure> {
        if self.settings().tools.allows(tool) {
            return None;
        }
        let lists = self.state.lock().catalogs.lists(ListKind::Tools);
        let known: Vec<String> = lists.iter().flat_map(|list| list.iter()).map(|tool| tool.key.clone()).collect();
        Some(Failure::not_offered(&self.name, tool, &known))
    }

    /// The own name of the tool that the all-servers view shows so, if it is another one.
    pub(in crate::hub) fn own_tool_name(&self, shown: &str) -> Option<String> {
        self.spelled.own_name(shown, || self.state.lock().catalogs.lists(ListKind::Tools))
    }

    /// A frame that answers a list request, without what agents are not to see; `None` if that is nothing.
    pub(in crate::hub) fn filter_tools(&self, kind: ListKind, frame: &str) -> Option<String> {
        if kind != ListKind::Tools || self.settings().tools.is_open() {
            return None;
        }
        filtered(frame, kind.member(), "name", |tool| self.allows(tool))
    }

    /// Whether no tool of it is kept back.
    pub fn offers_all(&self) -> bool {
        self.settings().tools.is_open()
    }

    pub fn note_hidden(&self, name: &str) {
        if self.state.lock().known.hidden.insert(name.to_owned()) {
            tracing::warn!(server = %self.name, name, "left out of the all-servers view: the name would be longer than 64 characters");
        }
    }

    /// What it does that the specification forbids, and that is put up with.
    pub fn notes(&self) -> Vec<String> {
        self.around.quirks.all()
    }
}
