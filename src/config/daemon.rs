//! `[daemon]`: how the daemon itself behaves.

use std::time::Duration;

use crate::config::decode::{Decode, Fields, one_of};
use crate::config::node::Node;
use crate::config::problems::Problems;
use crate::config::values::{Limit, Size, Span};
use schemars::JsonSchema;

/// What may wait, where nothing is said: so much, and so many of the largest messages.
const MEMORY: (usize, usize) = (512 << 20, 16);
/// How many of the largest messages there must be room for: of one agent and one server alone there may be so many.
const LEAST_FRAMES: usize = 8;

/// `[daemon]`
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Daemon {
    /// A process that nobody uses stops after this long, like "30m"; "never" keeps it.
    #[schemars(with = "Option<String>")]
    pub idle_timeout: Limit,
    /// The largest message taken from an agent or a server, like "32MiB".
    #[schemars(with = "Option<String>")]
    pub max_frame: Size,
    /// How much may wait in memory altogether, like "512MiB": messages for agents and servers, and what servers offer. Who holds
    /// most of it is refused or cut off first. Without it, 512 MiB, or 16 of the largest messages.
    #[schemars(with = "Option<String>")]
    pub max_memory: Size,
    /// The largest result that agents are given over the shim or the socket, like "10MiB"; a larger one becomes an error. Without
    /// it, what an agent is known to take.
    #[schemars(with = "Option<String>")]
    pub max_result: Option<Size>,
    /// How long a modern agent may take to come back with the answers to what a legacy server asks, like "10m".
    #[schemars(with = "Option<String>")]
    pub question_timeout: Span,
    /// Environment variables to pass on to every server, besides those that each gets by default: names, or patterns with
    /// `*` and `?`, which leave out what looks like a secret.
    #[schemars(default)]
    pub env_vars: Vec<String>,
    /// When the daemon gives way to a new program that was put in its place: "idle", when nothing is in flight, or "never".
    #[schemars(with = "Option<Upgrade>")]
    pub upgrade: Upgrade,
    /// Whether servers that nobody has listed yet are started in the "background" to ask what they offer, or "never".
    #[schemars(with = "Option<Discover>")]
    pub discover: Discover,
}

/// Whether servers are asked what they offer before an agent wants them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum Discover {
    Background,
    Never,
}

/// When the daemon gives way to a new program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum Upgrade {
    Idle,
    Never,
}

impl Default for Daemon {
    fn default() -> Self {
        Self {
            idle_timeout: Limit(Some(Duration::from_secs(30 * 60))),
            max_frame: Size(32 << 20),
            max_memory: Size(MEMORY.0),
            max_result: None,
            question_timeout: Span(Duration::from_secs(10 * 60)),
            env_vars: Vec::new(),
            upgrade: Upgrade::Idle,
            discover: Discover::Background,
        }
    }
}

impl Decode for Daemon {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let idle_timeout = fields.take("idle_timeout").unwrap_or(Self::default().idle_timeout);
        let max_frame = fields.take("max_frame").unwrap_or(Self::default().max_frame);
        let max_memory = max_memory(&mut fields, max_frame);
        let max_result = fields.take("max_result");
        let question_timeout = fields.take("question_timeout").unwrap_or(Self::default().question_timeout);
        let env_vars = fields.take("env_vars").unwrap_or_default();
        let upgrade = fields.take("upgrade").unwrap_or(Upgrade::Idle);
        let discover = fields.take("discover").unwrap_or(Discover::Background);
        fields.finish();
        Some(Self { idle_timeout, max_frame, max_memory, max_result, question_timeout, env_vars, upgrade, discover })
    }
}

/// What may wait altogether: as the file says, or what goes with the largest message.
fn max_memory(fields: &mut Fields<'_, '_>, max_frame: Size) -> Size {
    let at = fields.position("max_memory");
    let default = Size(MEMORY.0.max(max_frame.0.saturating_mul(MEMORY.1)));
    match (fields.take::<Size>("max_memory"), at) {
        (Some(most), Some(at)) if most.0 / LEAST_FRAMES < max_frame.0 => {
            let reason = format!(
                "max_memory must be at least {LEAST_FRAMES} times max_frame: so much may wait of one agent and one server alone"
            );
            fields.problems.add(at, reason);
            default
        }
        (Some(most), _) => most,
        (None, _) => default,
    }
}

impl Decode for Discover {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        one_of(node, &[("background", Self::Background), ("never", Self::Never)], problems)
    }
}

impl Decode for Upgrade {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        one_of(node, &[("idle", Self::Idle), ("never", Self::Never)], problems)
    }
}
