//! `[http]`: where agents attach over HTTP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::decode::{Decode, Fields};
use crate::config::node::Node;
use crate::config::problems::Problems;
use schemars::JsonSchema;

const PORT: u16 = 7337;
/// What a program on this machine calls it.
const OWN: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// `[http]`: without it, there is no TCP port at all.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(rename = "Face", deny_unknown_fields)]
pub struct HttpListener {
    /// An address of this machine's own, like "127.0.0.1:7337"; port 0 takes any that is free.
    #[schemars(with = "Option<String>")]
    pub listen: SocketAddr,
    /// The origins of pages that may come in besides those of this machine, word for word, like "app://my-agent". They need the
    /// token all the same.
    #[schemars(default)]
    pub origins: Vec<String>,
}

impl Decode for HttpListener {
    fn decode(node: Node, problems: &mut Problems<'_>) -> Option<Self> {
        let mut fields = Fields::open(node, problems)?;
        let listen = match fields.take_node("listen") {
            Some(node) => fields.problems.under("listen", |problems| SocketAddr::decode(node, problems)),
            None => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT)),
        };
        let origins = fields.take_node("origins").map(|node| {
            fields.problems.under("origins", |problems| {
                let at = node.at.start;
                let origins = Vec::<String>::decode(node, problems).unwrap_or_default();
                let (right, wrong): (Vec<_>, Vec<_>) = origins.into_iter().partition(|origin| is_origin(origin));
                for origin in wrong {
                    problems.add(at, format!("`{origin}` is no origin: write scheme and host, like \"app://my-agent\", and nothing behind them"));
                }
                right
            })
        });
        fields.finish();
        // Where the address is wrong, no port is opened: nobody asked for another one.
        Some(Self { listen: listen?, origins: origins.unwrap_or_default() })
    }
}

/// Whether a text is the origin of one program or page: "null" and "*" are anybody's.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let is_name = |name: &str, more: &str| {
        !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || more.contains(letter))
    };
    is_name(scheme, "+-.") && is_name(host, "-.:[]_")
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
