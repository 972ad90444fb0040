//! `[http]`: where agents attach over HTTP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use schemars::JsonSchema;

use super::decode::{Decode, Fields, Problems};
use super::node::Node;

const PORT: u16 = 7337;
/// What a program on this machine calls it.
const OWN: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// `[http]`: without it, there is no TCP port at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Face {
    /// An address of this machine's own, like "127.0.0.1:7337"; port 0 takes any that is free.
    #[schemars(with = "Option<String>")]
    pub listen: SocketAddr,
}

impl Decode for Face {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let listen = fields.take("listen").unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT));
        fields.finish();
        Some(Self { listen })
    }
}

impl Decode for SocketAddr {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let at = node.at.start;
        let text = String::decode(node, problems)?;
        let problem = match text.parse::<Self>() {
            Ok(address) if OWN.contains(&address.ip()) => return Some(address),
            Ok(address) => format!(
                "trunkline listens on 127.0.0.1 or [::1] only, which no other machine can reach, and not on `{}`",
                address.ip()
            ),
            Err(_) => format!(
                "`{text}` is not an address and a port in numbers, like \"127.0.0.1:{PORT}\" or \"[::1]:{PORT}\""
            ),
        };
        problems.add(at, problem);
        None
    }
}
