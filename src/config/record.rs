//! `[record]`: what is kept of the calls that were made.

use std::time::Duration;

use schemars::JsonSchema;

use crate::config::decode::{Decode, Fields};
use crate::config::node::Node;
use crate::config::problems::Problems;
use crate::config::values::{Limit, Size};

/// `[record]`: who called what, when, how long it took and how it ended (`trunkline calls`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Record {
    /// Set to false to keep nothing of calls.
    #[schemars(with = "Option<bool>")]
    pub calls: bool,
    /// Set to true to keep arguments and results too, up to 64 KiB of each, without the secrets that trunkline keeps.
    #[schemars(with = "Option<bool>")]
    pub payloads: bool,
    /// How long a call is kept, like "30d"; "never" drops none for its age.
    #[schemars(with = "Option<String>")]
    pub keep: Limit,
    /// How large the record may become, like "200MiB"; then the oldest calls are dropped.
    #[schemars(with = "Option<String>")]
    pub max_size: Size,
}

/// `[servers.NAME.record]`: what is kept of this server's calls, where that is something else than `[record]` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ServerRecord {
    pub calls: Option<bool>,
    pub payloads: Option<bool>,
}

impl Default for Record {
    fn default() -> Self {
        let month = Duration::from_secs(30 * 24 * 60 * 60);
        Self { calls: true, payloads: false, keep: Limit(Some(month)), max_size: Size(200 << 20) }
    }
}

impl Decode for Record {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let or = Self::default();
        let record = Self {
            calls: fields.take("calls").unwrap_or(or.calls),
            payloads: fields.take("payloads").unwrap_or(or.payloads),
            keep: fields.take("keep").unwrap_or(or.keep),
            max_size: fields.take("max_size").unwrap_or(or.max_size),
        };
        fields.finish();
        Some(record)
    }
}

impl Decode for ServerRecord {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let record = Self { calls: fields.take("calls"), payloads: fields.take("payloads") };
        fields.finish();
        Some(record)
    }
}
