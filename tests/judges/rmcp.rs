//! An agent on the published Rust client: lists, calls, and prints what it saw as one line of JSON.
//!
//! `judge COMMAND [ARGUMENT …]`, or `judge URL`, with the token in `PEER_TOKEN`.

#![allow(clippy::print_stdout, clippy::expect_used, reason = "a program of the tests says what it saw")]

use rmcp::ServiceExt;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let client = match words[0].starts_with("http") {
        true => {
            let token = std::env::var("PEER_TOKEN").unwrap_or_default();
            let config = StreamableHttpClientTransportConfig::with_uri(words[0].as_str()).auth_header(token);
            ().serve(StreamableHttpClientTransport::from_config(config)).await.expect("greeted")
        }
        false => {
            let mut command = tokio::process::Command::new(&words[0]);
            command.args(&words[1..]);
            ().serve(TokioChildProcess::new(command).expect("started")).await.expect("greeted")
        }
    };
    let tools = client.list_tools(None).await.expect("listed").tools;
    let calls: Vec<Value> =
        serde_json::from_str(&std::env::var("PEER_CALLS").unwrap_or_else(|_| "[]".to_owned())).expect("JSON");
    let mut results = Vec::new();
    for call in calls {
        let name = call["name"].as_str().unwrap_or_default().to_owned();
        let result = client.call_tool(CallToolRequestParams::new(name)).await.expect("answered");
        results.push(json!({ "result": result }));
    }
    println!("{}", json!({ "tools": tools, "results": results }));
}
