//! What sharing saves: ten agents with eight servers each, `server-everything` as published: `cargo bench --bench memory`.
//!
//! First every agent starts servers of its own, as agents do today; then the same agents through `trunkline connect`.
//! Counted are all processes but the agents themselves, and their proportional set size (PSS): a page that several
//! processes share counts once.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the figures are its output")]

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

const AGENTS: usize = 10;
const SERVERS: usize = 8;

/// A process that ends with its owner, and its standard streams.
struct Peer {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Peer {
    fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let output = child.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
        let mut peer = Self { child, output: BufReader::new(output) };
        peer.ask(1, r#""method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"agent","version":"1"}}"#)?;
        peer.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)?;
        Ok(peer)
    }

    fn send(&mut self, frame: &str) -> io::Result<()> {
        let input = self.child.stdin.as_mut().ok_or_else(|| io::Error::other("no input"))?;
        input.write_all(format!("{frame}\n").as_bytes())
    }

    fn ask(&mut self, id: usize, rest: &str) -> io::Result<()> {
        self.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},{rest}}}"#))?;
        let mut line = String::new();
        loop {
            line.clear();
            if self.output.read_line(&mut line)? == 0 {
                return Err(io::Error::other("it ended: run `tests/run` first, which installs the server"));
            }
            if line.contains(&format!(r#""id":{id}"#)) && !line.contains(r#""method""#) {
                return if line.contains(r#""result""#) { Ok(()) } else { Err(io::Error::other(line)) };
            }
        }
    }

    fn call(&mut self, id: usize, tool: &str) -> io::Result<()> {
        let rest = format!(r#""method":"tools/call","params":{{"name":"{tool}","arguments":{{"message":"hello"}}}}"#);
        self.ask(id, &rest)
    }
}

/// Proportional set size of a process and all its descendants, and how many they are.
fn weigh(roots: &[u32]) -> (usize, u64) {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()?))
        })
        .collect();
    let mut found = roots.to_vec();
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    let pss = |pid: &u32| -> Option<u64> {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.parse().ok())
    };
    (found.len(), found.iter().filter_map(pss).sum())
}

fn server() -> PathBuf {
    let package = "tests/peers/node_modules/@modelcontextprotocol/server-everything/dist/index.js";
    Path::new(env!("CARGO_MANIFEST_DIR")).join(package)
}

fn separate() -> io::Result<(usize, u64)> {
    let mut peers = Vec::new();
    for _ in 0..AGENTS * SERVERS {
        let mut peer = Peer::start(Command::new("node").arg(server()))?;
        peer.call(2, "echo")?;
        peers.push(peer);
    }
    Ok(weigh(&peers.iter().map(|peer| peer.child.id()).collect::<Vec<_>>()))
}

fn shared() -> io::Result<(usize, u64)> {
    let folder = tempfile::tempdir()?;
    let server = server().display().to_string();
    let entry = |number| format!("[servers.s{number}]\ncommand = \"node\"\nargs = [{server:?}]\n");
    fs::write(folder.path().join("config.toml"), (0..SERVERS).map(entry).collect::<String>())?;
    let trunkline = |word: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
        command.arg(word).env("TRUNKLINE_CONFIG", folder.path().join("config.toml"));
        command.env("TRUNKLINE_SOCKET", folder.path().join("run/s.sock"));
        command.env("TRUNKLINE_STATE_DIR", folder.path().join("state"));
        command
    };
    let mut daemon = trunkline("run").stderr(Stdio::null()).spawn()?;
    while !folder.path().join("run/s.sock").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let mut shims = Vec::new();
    for _ in 0..AGENTS {
        let mut shim = Peer::start(&mut trunkline("connect"))?;
        (0..SERVERS).try_for_each(|number| shim.call(number + 2, &format!("s{number}__echo")))?;
        shims.push(shim);
    }
    let roots: Vec<_> = shims.iter().map(|shim| shim.child.id()).chain([daemon.id()]).collect();
    let weight = weigh(&roots);
    drop(shims);
    trunkline("shutdown").status()?;
    daemon.wait()?;
    Ok(weight)
}

fn main() -> ExitCode {
    let measured = separate().and_then(|separate| Ok((separate, shared()?)));
    let (separate, shared) = match measured {
        Ok(measured) => measured,
        Err(error) => {
            eprintln!("bench: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("{AGENTS} agents × {SERVERS} server-everything   processes    PSS, MB");
    for (name, (processes, kilobytes)) in [("each its own", separate), ("trunkline", shared)] {
        println!("  {name:<30} {processes:>9} {:>10.0}", kilobytes as f64 / 1024.0);
    }
    println!(
        "  trunkline, of each its own     {:>9.2} {:>10.2}",
        ratio(shared.0, separate.0),
        shared.1 as f64 / separate.1 as f64
    );
    ExitCode::SUCCESS
}

fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}
