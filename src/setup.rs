//! From what a person's agents have to a shared set-up, and back: which agents there are, what their files say, what becomes of it
//! here, and what is written into their files. The commands ask the person and carry it out.

mod agent;
mod agent_file;
mod attachment;
mod document;
mod edit;
mod entry;
mod identity;
mod literal;
mod plan;
mod preset;
mod registry;
mod secret_part;
mod snippet;

pub use agent::{Agent, agent_of, agents, find_agent};
pub use agent_file::{AgentFile, CannotRead};
pub use attachment::{Attachment, CannotAttach, CannotDetach, Edits, Undo, Wanted, words};
pub use document::{CannotEdit, Document};
pub use identity::{Kept, Known};
pub use literal::{Literal, masked};
pub use plan::{Agreed, Origin, Plan, Planned, Skipped, Source};
pub use preset::Preset;
pub use registry::{REGISTRY, Registered, fetch_server, of_registry};
pub use snippet::{Snippet, command, snippet};
