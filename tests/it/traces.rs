//! Where a call stands in a trace: what agents say of it, what servers hear, and the spans that a collector gets.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::support::mock::{Mock, greet, text};
use crate::support::{Daemon, own_server, text_of};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A collector that takes spans over HTTP, one connection after the other.
fn collector() -> (String, mpsc::Receiver<Span>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (sender, spans) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut bytes = Vec::new();
            let mut part = [0; 4096];
            // A request has its length in its head.
            let body = loop {
                let count = stream.read(&mut part).unwrap_or(0);
                bytes.extend_from_slice(&part[..count]);
                let head = bytes.windows(4).position(|four| four == b"\r\n\r\n");
                if let Some(head) = head {
                    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
                    let length =
                        text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
                    if bytes.len() >= head + 4 + length.unwrap_or(0) {
                        break bytes[head + 4..].to_vec();
                    }
                }
                if count == 0 {
                    break Vec::new();
                }
            };
            let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap_or_default();
            let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
            scopes.flat_map(|scope| scope.spans).for_each(|span| drop(sender.send(span)));
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
        }
    });
    (url, spans)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == name);
    found.map(|attribute| format!("{:?}", attribute.value)).unwrap_or_default()
}

/// A call with what an agent says of its trace.
fn call(id: u32, tool: &str, meta: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{}},"_meta":{meta}}}}}"#
    )
}

#[test]
fn a_call_is_a_span_between_the_agents_and_the_servers() {
    let (url, spans) = collector();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("config.toml"), crate::support::undisturbed(&own_server("t", &[])))
        .expect("written");
    let daemon =
        Daemon::start_with(folder, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &url), ("OTEL_BSP_SCHEDULE_DELAY", "50")]);
    let mut agent = daemon.agent("t");
    let meta = format!(r#"{{"traceparent":"00-{TRACE}-{PARENT}-01","tracestate":"a=b","progressToken":"p"}}"#);
    let echoed = agent.ask(&call(1, "echo", &meta));
    let next = |name: &str| {
        let until = std::time::Instant::now() + Duration::from_secs(60);
        loop {
            let left = until.saturating_duration_since(std::time::Instant::now());
            let span = spans.recv_timeout(left).expect("a span");
            if span.name == name {
                return span;
            }
        }
    };
    let span = next("tools/call echo");
    assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
    // The server hears of trunkline's span, and of everything else as it was.
    let heard = text_of(&echoed);
    let own = format!("00-{TRACE}-{}-01", hex(&span.span_id));
    assert!(heard.contains(&format!(r#""traceparent":"{own}","tracestate":"a=b""#)), "{heard}");
    assert!(
        attribute(&span, "gen_ai.tool.name").contains("echo") && attribute(&span, "trunkline.agent").contains("test")
    );
    assert!(span.end_time_unix_nano > span.start_time_unix_nano);
    // A call of no trace begins one; one that failed says so.
    agent.call("2", "none", "{}");
    let failed = next("tools/call none");
    assert!(failed.parent_span_id.is_empty() && hex(&failed.trace_id) != TRACE);
    assert!(attribute(&failed, "error.type").contains("error"), "{failed:?}");
    // What its agent does not want recorded stays as it is.
    let unsampled = format!("00-{TRACE}-{PARENT}-00");
    let heard = text_of(&agent.ask(&call(3, "echo", &format!(r#"{{"traceparent":"{unsampled}"}}"#))));
    assert!(heard.contains(&unsampled), "{heard}");
}

#[test]
fn where_nothing_is_exported_a_message_goes_as_it_is() {
    let daemon = Daemon::start(&own_server("t", &[]));
    let mut agent = daemon.agent("t");
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let heard = text_of(&agent.ask(&call(1, "echo", &format!(r#"{{"traceparent":"{parent}"}}"#))));
    assert!(heard.contains(&parent), "{heard}");
    let heard = text_of(&agent.call("2", "echo", "{}"));
    assert!(!heard.contains("traceparent"), "{heard}");
}

#[test]
fn over_http_a_trace_is_said_in_headers_too() {
    let mock = Mock::start(|request, reply| {
        if !greet(request, reply, "s") {
            reply.json(&text(request, "done"));
        }
    });
    let daemon = Daemon::start(&mock.entry("era = \"legacy\"\n"));
    let mut agent = daemon.agent("h");
    let parent = format!("00-{TRACE}-{PARENT}-01");
    agent.ask(&call(1, "x", &format!(r#"{{"traceparent":"{parent}","tracestate":"a=b","baggage":"user=1"}}"#)));
    agent.call("2", "x", "{}");
    let calls = mock.of("tools/call");
    let said = |name: &str| calls[0].header(name).map(str::to_owned);
    assert_eq!(
        [said("traceparent"), said("tracestate"), said("baggage")],
        [Some(parent), Some("a=b".to_owned()), Some("user=1".to_owned())]
    );
    assert_eq!(calls[1].header("traceparent"), None);
}
