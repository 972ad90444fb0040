//! The frames that trunkline itself writes: results, errors, notifications.

use crate::envelope::text::quoted;
use crate::method::Method;
/// Error codes of JSON-RPC 2.0 and of MCP (`schema.ts`).
pub mod code {
    pub const PARSE: i32 = -32700;
    pub const INVALID_REQUEST: i32 = -32600;
    pub const METHOD_NOT_FOUND: i32 = -32601;
    pub const INVALID_PARAMS: i32 = -32602;
    pub const INTERNAL: i32 = -32603;
    /// What SDKs use for a connection that closed.
    pub const CONNECTION_CLOSED: i32 = -32000;
    /// What SDKs use for a request that took too long.
    pub const TIMEOUT: i32 = -32001;
    /// Trunkline's own: a person must log in first.
    pub const NEEDS_LOGIN: i32 = -32040;
    pub const RESOURCE_NOT_FOUND: i32 = -32002;
    pub const HEADER_MISMATCH: i32 = -32020;
    pub const MISSING_CAPABILITY: i32 = -32021;
    pub const UNSUPPORTED_VERSION: i32 = -32022;
}

/// A result frame; `id` and `result` are raw JSON.
pub fn result(id: &str, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

/// The longest message of an error, in bytes: it may quote what an agent sent, and nobody reads more.
const LONGEST: usize = 8 << 10;

/// An error frame; `id` is raw JSON.
pub fn error(id: &str, code: i32, message: &str) -> String {
    let message = match message.len() {
        0..=LONGEST => quoted(message),
        _ => quoted(&format!("{}…", &message[..message.floor_char_boundary(LONGEST)])),
    };
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{message}}}}}"#)
}

/// An error frame around an error object that somebody else wrote.
pub fn raw_error(id: &str, error: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)
}

/// The code of an error object, raw.
pub fn code_of(error: &str) -> Option<i32> {
    #[derive(serde::Deserialize)]
    struct Error {
        code: i32,
    }
    serde_json::from_str::<Error>(error).ok().map(|error| error.code)
}

/// The refusal of a protocol revision, with those that would do, a raw list.
pub fn unsupported_version(id: &str, message: &str, supported: &str, requested: &str) -> String {
    let data = format!(r#"{{"supported":{supported},"requested":{}}}"#, quoted(requested));
    let message = quoted(message);
    raw_error(id, &format!(r#"{{"code":{},"message":{message},"data":{data}}}"#, code::UNSUPPORTED_VERSION))
}

/// A notification; `params` is raw JSON, or empty.
pub fn notification(method: Method, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"{}"{}}}"#, method.name(), member_params(params))
}

/// A request; `params` is raw JSON, or empty.
pub fn request(id: u64, method: Method, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{}"{}}}"#, method.name(), member_params(params))
}

fn member_params(params: &str) -> String {
    if params.is_empty() { String::new() } else { format!(r#","params":{params}"#) }
}
