//! What HTTP costs, and what crossing the eras costs: the same calls to the same echo, on both faces.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::routing::post;
use axum::serve::ListenerExt;

use super::echo;
use super::measure::{Sizes, middle};
use super::peers::{Agent, Bench, Owned, Way, call, modern_call};

/// Microseconds at the median, with what was measured.
pub(crate) struct Summary {
    /// Straight to the echo server over HTTP; through each daemon to it, and to the echo on stdio.
    pub http: Vec<(&'static str, f64)>,
    /// On the socket of each daemon to the echo, which is legacy: a legacy agent; a modern one.
    pub eras: Vec<(&'static str, f64)>,
}

/// Serves the echo over HTTP, as a server on a common library does; its port is its first line.
pub(crate) fn serve() -> io::Result<()> {
    let answer = async |body: Bytes| {
        let mut out = Vec::new();
        echo::answer(&body, &mut out);
        ([(header::CONTENT_TYPE, "application/json")], out)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        writeln!(io::stdout(), "{}", listener.local_addr()?)?;
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap_or_default());
        axum::serve(listener, Router::new().route("/mcp", post(answer))).await
    })
}

/// Starts the echo over HTTP; its address.
pub(crate) fn start() -> io::Result<(Owned, String)> {
    let mut child = Command::new(std::env::current_exe()?).arg("http").stdout(Stdio::piped()).spawn()?;
    let mut address = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut address)?;
    }
    Ok((Owned(child), address.trim().to_owned()))
}

/// One connection that is kept open.
struct Client {
    read: BufReader<TcpStream>,
    write: TcpStream,
    head: String,
}

impl Client {
    fn new(address: &str, path: &str, token: &str) -> io::Result<Self> {
        let write = TcpStream::connect(address)?;
        write.set_nodelay(true)?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
        );
        let mut client = Self { read: BufReader::new(write.try_clone()?), write, head };
        let session = client.ask(br#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#)?;
        if let Some(session) = session {
            client.head += &format!("Mcp-Session-Id: {session}\r\n");
        }
        Ok(client)
    }

    /// Posts a message and reads the whole response; its session, if it has one.
    fn ask(&mut self, body: &[u8]) -> io::Result<Option<String>> {
        let mut request = format!("{}Content-Length: {}\r\n\r\n", self.head, body.len()).into_bytes();
        request.extend_from_slice(body);
        self.write.write_all(&request)?;
        let (mut length, mut session, mut line) = (0, None, String::new());
        loop {
            line.clear();
            if self.read.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                if line.trim().is_empty() {
                    break;
                }
                continue;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().map_err(io::Error::other)?;
            } else if name.eq_ignore_ascii_case("mcp-session-id") {
                session = Some(value.to_owned());
            }
        }
        let mut answer = vec![0; length];
        self.read.read_exact(&mut answer)?;
        if !answer.starts_with(b"{") {
            return Err(io::Error::other("an answer in another form"));
        }
        Ok(session)
    }
}

pub(crate) fn all(bench: &Bench, sizes: &Sizes, echo: &str) -> io::Result<Summary> {
    let mut summary = Summary { http: vec![("direct", f64::MAX)], eras: Vec::new() };
    let (mut clients, mut agents) = (vec![Client::new(echo, "/mcp", "-")?], Vec::new());
    for (index, daemon) in bench.daemons.iter().enumerate() {
        let name = |own, others| (if index == 0 { own } else { others }, f64::MAX);
        let (address, token) = daemon.http()?;
        clients.push(Client::new(&address, "/mcp/http", &token)?);
        summary.http.push(name("trunkline, server on HTTP", "  the other, server on HTTP"));
        clients.push(Client::new(&address, "/mcp/echo", &token)?);
        summary.http.push(name("trunkline, server on stdio", "  the other, server on stdio"));
        agents.push((bench.agent(Way::Socket(index))?, call as fn(u64, &str) -> Vec<u8>));
        summary.eras.push(name("legacy agent", "  the other, legacy agent"));
        agents.push((daemon.attached("echo")?, modern_call));
        summary.eras.push(name("modern agent, bridged", "  the other, modern agent, bridged"));
    }
    for _ in 0..sizes.rounds {
        for ((_, best), client) in summary.http.iter_mut().zip(&mut clients) {
            let time = median(sizes.calls, |id| client.ask(call(id, "hello").trim_ascii_end()).map(drop))?;
            *best = best.min(time);
        }
        for ((_, best), (agent, frame)) in summary.eras.iter_mut().zip(&mut agents) {
            *best = best.min(median(sizes.calls, |id| exchange(agent, &frame(id, "hello")))?);
        }
    }
    Ok(summary)
}

fn exchange(agent: &mut Agent, frame: &[u8]) -> io::Result<()> {
    agent.send(frame)?;
    agent.receive().map(drop)
}

/// Microseconds a call.
fn median(calls: u64, mut one: impl FnMut(u64) -> io::Result<()>) -> io::Result<f64> {
    let mut times = Vec::new();
    for id in 0..calls {
        let began = Instant::now();
        one(id)?;
        times.push(began.elapsed().as_secs_f64() * 1e6);
    }
    Ok(middle(times))
}
