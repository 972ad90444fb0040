//! What one era's messages are in the other: pure, and the only place that knows. docs/concepts/eras.md has it in words.
//!
//! Only what the other era must have, or cannot know, is put in or taken out; all the rest stays the text that was sent
//! (MCP 2026-07-28 `changelog`, `basic/versioning`).

mod capabilities;
mod disposition;
mod handshake;
mod input_required;
mod meta;
mod object;
mod refusals;
mod results;
mod tasks;

pub(in crate::hub) use capabilities::{declares, may_be_asked};
pub(in crate::hub) use disposition::{Disposition, disposition, era_of};
pub(in crate::hub) use handshake::{discover_result, greeting, initialize_result, supported, without_tasks};
pub(in crate::hub) use input_required::{
    Asked, InputRequired, elicitation_name, elicitation_result, input, input_request, input_responses, page_not_shown,
    pages, question, related, retry, subject, without_input_responses,
};
pub(in crate::hub) use meta::{at_params, legacy_meta, modern_meta};
pub(in crate::hub) use object::put_first;
pub(in crate::hub) use refusals::{bad_level, no_method, unknown_state, unsupported};
pub use refusals::{incomplete, not_modern};
pub(in crate::hub) use results::{modern_members, translate_result};
pub(in crate::hub) use tasks::{
    AS_TASK, AsTask, Step, Task, allowed, begun, has_ended, is_task_only, names_tasks, says_ended,
};
