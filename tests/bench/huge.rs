//! What one message as long as may be costs everybody else: for how long it has the daemon's one thread.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use super::measure::Sizes;
use super::peers::{Agent, Bench, Daemon, Way};

/// A little less than `max_frame`.
const LENGTH: usize = (32 << 20) - 4096;

/// What a message begins with, what it has much of, and what it ends with.
struct Kind {
    name: &'static str,
    head: String,
    body: String,
    tail: &'static str,
}

impl Kind {
    fn new(name: &'static str, head: &str, body: &str, tail: &'static str) -> Self {
        Self { name, head: head.to_owned(), body: body.to_owned(), tail }
    }

    /// A call with many of something in its arguments.
    fn call(name: &'static str, head: &str, body: &str, tail: &'static str) -> Self {
        let call = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"e","#;
        Self::new(name, &format!("{call}{head}"), body, tail)
    }

    fn all() -> Vec<Self> {
        let nested = "[".repeat(900) + &"]".repeat(900) + ",";
        let request = |rest: &str| format!(r#"{{"jsonrpc":"2.0","id":7,"method":{rest}"#);
        vec![
            Self::call("text", r#""arguments":{"t":""#, "x", r#""}}}"#),
            Self::call("text of escapes", r#""arguments":{"t":""#, r"\n", r#""}}}"#),
            Self::call("text of line ends", r#""arguments":{"t":""#, "\u{2028}xxx", r#""}}}"#),
            Self::call("carriage returns", r#""arguments":{"t":1"#, "\r", "}}}"),
            Self::call("nested", r#""arguments":{"t":["#, &nested, "0]}}}"),
            Self::call("many numbers", r#""arguments":{"t":["#, "1,", "0]}}}"),
            Self::call("many members", "", r#""a":1,"#, r#""b":0}}"#),
            Self::call("many members of _meta", r#""_meta":{"#, r#""a":1,"#, r#""b":0}}}"#),
            Self::new("many ids", &request(r#""subscriptions/listen","params":{"taskIds":["#), r#""a","#, r#""b"]}}"#),
            Self::new("a method", &request("\""), "x", r#""}"#),
            Self::new("a name", &request(r#""tools/call","params":{"name":""#), "x", r#""}}"#),
            Self::new("a URI", &request(r#""resources/read","params":{"uri":"a:"#), "x", r#""}}"#),
            Self::new("a server's name", &request(r#""daemon.attach","params":{"server":""#), "x", r#""}}"#),
            Self::new("no message", "x", "x", "x"),
        ]
    }

    fn message(&self) -> Vec<u8> {
        let Self { head, body, tail, .. } = self;
        format!("{head}{}{tail}\n", body.repeat((LENGTH - head.len() - tail.len()) / body.len())).into_bytes()
    }
}

/// Prints, for each kind, the milliseconds of the daemon's thread, of each daemon, and how often its bytes could be read in that time.
pub(crate) fn report(bench: &Bench, sizes: &Sizes) -> io::Result<()> {
    let read = reading()?;
    println!("one message of 32 MiB, ms of the daemon's thread   of reading it ({read:.1} ms)");
    for kind in Kind::all() {
        let message = kind.message();
        let mut row = format!("  {:<22}", kind.name);
        for (index, daemon) in bench.daemons.iter().enumerate() {
            let mut best = f64::MAX;
            for _ in 0..sizes.rounds {
                let agent = if kind.name == "a server's name" {
                    daemon.connected()?
                } else {
                    bench.agent(Way::Socket(index))?
                };
                best = best.min(cost(daemon, agent, &message)?);
            }
            row += &format!(" {best:>9.1} {:>9.2}", best / read);
        }
        println!("{row}");
    }
    Ok(())
}

/// Sends one message and waits for its answer; the milliseconds that it took of the daemon's thread.
fn cost(daemon: &Daemon, mut agent: Agent, message: &[u8]) -> io::Result<f64> {
    let stat = format!("/proc/{0}/task/{0}/schedstat", daemon.pid());
    let before = spent(&stat)?;
    agent.send(message)?;
    agent.receive()?;
    Ok(spent(&stat)? - before)
}

/// Milliseconds in which a thread has run.
fn spent(stat: &str) -> io::Result<f64> {
    let nanoseconds = fs::read_to_string(stat)?.split_whitespace().next().and_then(|field| field.parse::<f64>().ok());
    Ok(nanoseconds.ok_or(io::ErrorKind::InvalidData)? / 1e6)
}

/// Milliseconds of reading as many bytes once, up to the line end, as the best of readers does: into room that is there.
fn reading() -> io::Result<f64> {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let (mut from, to) = UnixStream::pair()?;
        let mut line = Vec::with_capacity(LENGTH + 1);
        best = best.min(std::thread::scope(|scope| {
            scope.spawn(move || from.write_all(&vec![b'x'; LENGTH]).and_then(|()| from.write_all(b"\n")));
            let before = spent("/proc/thread-self/schedstat")?;
            BufReader::with_capacity(1 << 17, to).read_until(b'\n', &mut line)?;
            Ok::<_, io::Error>(spent("/proc/thread-self/schedstat")? - before)
        })?);
    }
    Ok(best)
}
