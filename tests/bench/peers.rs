//! The ways to the echo server, and an agent that uses them.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const TRUNKLINE: &str = env!("CARGO_BIN_EXE_trunkline");

/// A way to the echo. The numbers say which daemon: 0 is the program that was built, 1 the one that it is measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Direct,
    Floor,
    Socket(usize),
    Shim(usize),
}

impl Way {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Floor => "floor",
            Self::Socket(0) => "trunkline socket",
            Self::Shim(0) => "trunkline connect",
            Self::Socket(_) => "  the other's",
            Self::Shim(_) => "  the other's shim",
        }
    }
}

/// A process that ends with its owner.
pub(crate) struct Owned(pub Child);

impl Drop for Owned {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The running processes that are measured.
pub(crate) struct Bench {
    pub daemons: Vec<Daemon>,
    pub floor: Owned,
    folder: PathBuf,
}

/// A daemon with a folder of its own.
pub(crate) struct Daemon {
    program: PathBuf,
    folder: PathBuf,
    process: Owned,
}

/// What is measured beside the program that was built.
pub(crate) enum Other {
    Program(PathBuf),
    /// The same, which records no calls.
    Unrecorded,
}

impl Bench {
    pub(crate) fn start(folder: &Path, echo: &str, other: Option<Other>) -> io::Result<Self> {
        let own = std::env::current_exe()?;
        let floor = Command::new(own).arg("floor").arg(folder.join("floor.sock")).spawn().map(Owned)?;
        wait_for(&folder.join("floor.sock"))?;
        let own = (PathBuf::from(TRUNKLINE), "");
        let other = other.map(|other| match other {
            Other::Program(program) => (program, ""),
            Other::Unrecorded => (own.0.clone(), "[record]\ncalls = false\n"),
        });
        let daemons = std::iter::once(own).chain(other).enumerate();
        let daemons =
            daemons.map(|(index, (program, more))| Daemon::start(&program, folder.join(index.to_string()), echo, more));
        Ok(Self { daemons: daemons.collect::<io::Result<_>>()?, floor, folder: folder.to_owned() })
    }

    /// Every way, the two programs' beside each other.
    pub(crate) fn ways(&self) -> Vec<Way> {
        let all = 0..self.daemons.len();
        [Way::Direct, Way::Floor].into_iter().chain(all.clone().map(Way::Socket)).chain(all.map(Way::Shim)).collect()
    }

    /// An agent that has shaken hands over `way`.
    pub(crate) fn agent(&self, way: Way) -> io::Result<Agent> {
        let mut agent = match way {
            Way::Direct => Agent::piped(Command::new(std::env::current_exe()?).arg("echo"))?,
            Way::Floor => Agent::socket(&self.folder.join("floor.sock"))?,
            Way::Socket(daemon) => self.daemons[daemon].attached("echo")?,
            Way::Shim(daemon) => Agent::piped(self.daemons[daemon].command().args(["connect", "echo"]))?,
        };
        agent.greet()?;
        Ok(agent)
    }
}

impl Daemon {
    fn start(program: &Path, folder: PathBuf, echo: &str, more: &str) -> io::Result<Self> {
        let names = ["echo", "b", "c", "d", "e", "f", "g", "h"].map(str::to_owned);
        let more = format!(
            "{more}[http]\nlisten = \"127.0.0.1:0\"\n[servers.http]\nera = \"legacy\"\nurl = \"http://{echo}/mcp\"\n"
        );
        Self::with(program, folder, &names, &more)
    }

    /// The program that was built, with a server of each name, each an echo.
    pub(crate) fn with_echoes(folder: PathBuf, names: &[String]) -> io::Result<Self> {
        Self::with(TRUNKLINE.as_ref(), folder, names, "")
    }

    fn with(program: &Path, folder: PathBuf, names: &[String], more: &str) -> io::Result<Self> {
        fs::create_dir(&folder)?;
        let own = std::env::current_exe()?;
        let server = |name: &String| format!("[servers.{name}]\ncommand = {own:?}\nargs = [\"echo\"]\n");
        let config = more.to_owned() + &names.iter().map(server).collect::<String>();
        fs::write(folder.join("config.toml"), config)?;
        let process = command(program, &folder).arg("run").env("TRUNKLINE_LOG", "error").spawn().map(Owned)?;
        wait_for(&folder.join("run/trunkline.sock"))?;
        Ok(Self { program: program.to_owned(), folder, process })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    fn command(&self) -> Command {
        command(&self.program, &self.folder)
    }

    /// Where agents attach over HTTP: host and port, and the token.
    pub(crate) fn http(&self) -> io::Result<(String, String)> {
        let token = fs::read_to_string(self.folder.join("state/http-token"))?.trim().to_owned();
        let status = self.command().args(["status", "--json"]).output()?.stdout;
        let status: serde_json::Value = serde_json::from_slice(&status)?;
        let url = status["http"]["url"].as_str().unwrap_or_default();
        Ok((url.trim_start_matches("http://").trim_end_matches("/mcp").to_owned(), token))
    }

    /// A connection that has said nothing.
    pub(crate) fn connected(&self) -> io::Result<Agent> {
        Agent::socket(&self.folder.join("run/trunkline.sock"))
    }

    /// An agent that is attached to all servers and has not shaken hands.
    pub(crate) fn attached_to_all(&self) -> io::Result<Agent> {
        let mut agent = self.connected()?;
        agent.ask(r#"{"jsonrpc":"2.0","id":0,"method":"daemon.attach","params":{}}"#)?;
        Ok(agent)
    }

    /// An agent that is attached to `server` and has not shaken hands.
    pub(crate) fn attached(&self, server: &str) -> io::Result<Agent> {
        let mut agent = self.connected()?;
        agent
            .ask(&format!(r#"{{"jsonrpc":"2.0","id":0,"method":"daemon.attach","params":{{"server":"{server}"}}}}"#))?;
        Ok(agent)
    }
}

fn wait_for(socket: &Path) -> io::Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    while UnixStream::connect(socket).is_err() {
        if Instant::now() > end {
            return Err(io::Error::other(format!("{} does not listen", socket.display())));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("--config").arg(folder.join("config.toml")).arg("--socket").arg(folder.join("run/trunkline.sock"));
    command.arg("--state-dir").arg(folder.join("state"));
    command
}

/// One agent: raw lines, no JSON library between it and the clock.
pub(crate) struct Agent {
    pub child: Option<Owned>,
    pub read: BufReader<Box<dyn Read + Send>>,
    pub write: Box<dyn Write + Send>,
    pub line: Vec<u8>,
}

impl Agent {
    fn piped(command: &mut Command) -> io::Result<Self> {
        let mut child = Owned(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        let (Some(write), Some(read)) = (child.0.stdin.take(), child.0.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        Ok(Self {
            child: Some(child),
            read: BufReader::with_capacity(1 << 16, Box::new(read)),
            write: Box::new(write),
            line: Vec::new(),
        })
    }

    fn socket(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        let read = Box::new(stream.try_clone()?);
        Ok(Self {
            child: None,
            read: BufReader::with_capacity(1 << 16, read),
            write: Box::new(stream),
            line: Vec::new(),
        })
    }

    pub(crate) fn greet(&mut self) -> io::Result<()> {
        self.ask(r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#)?;
        self.send(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n")
    }

    pub(crate) fn send(&mut self, frames: &[u8]) -> io::Result<()> {
        self.write.write_all(frames)
    }

    pub(crate) fn receive(&mut self) -> io::Result<&[u8]> {
        self.line.clear();
        if self.read.read_until(b'\n', &mut self.line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(&self.line)
    }

    pub(crate) fn ask(&mut self, frame: &str) -> io::Result<&[u8]> {
        self.send(format!("{frame}\n").as_bytes())?;
        self.receive()
    }
}

/// A call with `payload` as its text.
pub(crate) fn call(id: u64, payload: &str) -> Vec<u8> {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{{\"name\":\"echo\",\"arguments\":{{\"text\":\"{payload}\"}}}}}}\n").into_bytes()
}

/// The same of a modern agent.
pub(crate) fn modern_call(id: u64, payload: &str) -> Vec<u8> {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{{\"name\":\"echo\",\"arguments\":{{\"text\":\"{payload}\"}},\"_meta\":{{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\"io.modelcontextprotocol/clientInfo\":{{\"name\":\"bench\",\"version\":\"1\"}},\"io.modelcontextprotocol/clientCapabilities\":{{}}}}}}}}\n").into_bytes()
}
