//! What is measured, and how often.

use std::fs;
use std::io::{self, BufRead};
use std::time::Instant;

use super::peers::{Agent, Bench, Daemon, Way, call};

const WINDOW: u64 = 32;
const CROWD: usize = 50;
const PAYLOAD: &str = "hello";

pub(crate) struct Sizes {
    pub rounds: usize,
    pub calls: u64,
    large: u64,
}

impl Sizes {
    pub(crate) const FULL: Self = Self { rounds: 5, calls: 4_000, large: 40 };
    pub(crate) const QUICK: Self = Self { rounds: 2, calls: 500, large: 5 };
}

/// Figures by way, in the order of [`Bench::ways`], or by daemon; the best of the rounds, so that a neighbour's noise does not count.
pub(crate) struct Summary {
    pub latency: Vec<(f64, f64)>,
    pub pipelined: Vec<f64>,
    pub large: Vec<f64>,
    /// The floor, and each daemon's socket.
    pub crowd: Vec<(Way, f64)>,
    /// Microseconds of CPU a call, likewise.
    pub cpu: Vec<(Way, f64)>,
    /// Seconds, by daemon.
    pub attach: Vec<f64>,
    /// MB, by daemon: idle with 8 servers, with 50 agents, one shim.
    pub memory: Vec<[f64; 3]>,
}

pub(crate) fn pin_to_one_cpu() -> io::Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    set.set(0);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

pub(crate) fn all(bench: &Bench, sizes: &Sizes) -> io::Result<Summary> {
    let ways = bench.ways();
    let mut memory = bench.daemons.iter().map(idle).collect::<io::Result<Vec<_>>>()?;
    for (index, daemon) in bench.daemons.iter().enumerate() {
        let attached = (0..CROWD).map(|_| bench.agent(Way::Socket(index))).collect::<io::Result<Vec<_>>>()?;
        memory[index][1] = resident(daemon.pid())?;
        drop(attached);
    }
    let mut agents = ways.iter().map(|way| bench.agent(*way)).collect::<io::Result<Vec<_>>>()?;
    let mut latency = vec![(f64::MAX, f64::MAX); ways.len()];
    let (mut pipelined, mut large) = (vec![0.0f64; ways.len()], vec![0.0f64; ways.len()]);
    let counted = ways.iter().copied().filter(|way| pid(bench, *way).is_some());
    let mut cpu: Vec<_> = counted.map(|way| (way, f64::MAX)).collect();
    let mut crowd: Vec<_> = cpu.iter().map(|(way, _)| (*way, 0.0f64)).collect();
    for _ in 0..sizes.rounds {
        for (index, (way, agent)) in ways.iter().zip(&mut agents).enumerate() {
            let before = pid(bench, *way).map(cpu_seconds).transpose()?;
            let (p50, p99) = one_at_a_time(agent, sizes.calls)?;
            if let (Some(pid), Some(before)) = (pid(bench, *way), before) {
                let spent = (cpu_seconds(pid)? - before) * 1e6 / sizes.calls as f64;
                cpu.iter_mut().filter(|(counted, _)| counted == way).for_each(|(_, best)| *best = best.min(spent));
            }
            latency[index] = (latency[index].0.min(p50), latency[index].1.min(p99));
            pipelined[index] = pipelined[index].max(in_flight(agent, sizes.calls * 2)?);
        }
        for (way, best) in ways.iter().zip(&mut large) {
            *best = best.max(megabytes(bench.agent(*way)?, sizes.large)?);
        }
    }
    for (way, agent) in ways.iter().zip(&agents) {
        if let (Way::Shim(daemon), Some(shim)) = (way, &agent.child) {
            memory[*daemon][2] = resident(shim.0.id())?;
        }
    }
    drop(agents);
    for _ in 0..sizes.rounds {
        for (way, best) in &mut crowd {
            let mut agents = (0..CROWD).map(|_| bench.agent(*way)).collect::<io::Result<Vec<_>>>()?;
            *best = best.max(together(&mut agents, sizes.calls / 10)?);
        }
    }
    let mut attaching = vec![Vec::new(); bench.daemons.len()];
    for _ in 0..sizes.calls / 20 {
        for (daemon, times) in bench.daemons.iter().zip(&mut attaching) {
            times.push(attach(daemon)?);
        }
    }
    Ok(Summary { latency, pipelined, large, crowd, cpu, attach: attaching.into_iter().map(middle).collect(), memory })
}

/// The process whose time a way takes, where that is counted.
fn pid(bench: &Bench, way: Way) -> Option<u32> {
    match way {
        Way::Floor => Some(bench.floor.0.id()),
        Way::Socket(daemon) => Some(bench.daemons[daemon].pid()),
        Way::Direct | Way::Shim(_) => None,
    }
}

/// What a daemon takes with eight servers that nobody uses.
fn idle(daemon: &Daemon) -> io::Result<[f64; 3]> {
    let mut agents = Vec::new();
    for server in ["echo", "b", "c", "d", "e", "f", "g", "h"] {
        let mut agent = daemon.attached(server)?;
        agent.greet()?;
        agents.push(agent);
    }
    drop(agents);
    Ok([resident(daemon.pid())?, 0.0, 0.0])
}

/// The median.
pub(crate) fn middle(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// Microseconds: the median, and the 99th percentile.
fn one_at_a_time(agent: &mut Agent, calls: u64) -> io::Result<(f64, f64)> {
    one_at_a_time_of(agent, calls, |id| call(id, PAYLOAD))
}

/// Likewise, of the calls that `call` makes.
pub(crate) fn one_at_a_time_of(agent: &mut Agent, calls: u64, call: impl Fn(u64) -> Vec<u8>) -> io::Result<(f64, f64)> {
    let mut times = Vec::new();
    for id in 0..calls {
        let frame = call(id);
        let began = Instant::now();
        agent.send(&frame)?;
        agent.receive()?;
        times.push(began.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok((times[times.len() / 2], times[times.len() * 99 / 100]))
}

/// Calls a second with a full window.
fn in_flight(agent: &mut Agent, calls: u64) -> io::Result<f64> {
    in_flight_of(agent, calls, |id| call(id, PAYLOAD))
}

/// Likewise, of the calls that `call` makes.
pub(crate) fn in_flight_of(agent: &mut Agent, calls: u64, call: impl Fn(u64) -> Vec<u8>) -> io::Result<f64> {
    let began = Instant::now();
    for id in 0..WINDOW {
        agent.send(&call(id))?;
    }
    for id in WINDOW..WINDOW + calls {
        agent.receive()?;
        agent.send(&call(id))?;
    }
    for _ in 0..WINDOW {
        agent.receive()?;
    }
    Ok(calls as f64 / began.elapsed().as_secs_f64())
}

/// Messages of 1 MB a second, there and back.
fn megabytes(agent: Agent, messages: u64) -> io::Result<f64> {
    let payload = "x".repeat(1 << 20);
    let Agent { child, mut read, mut write, mut line } = agent;
    let frame = call(1, &payload);
    let began = Instant::now();
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || (0..messages).try_for_each(|_| write.write_all(&frame)).map(|()| write));
        for _ in 0..messages {
            line.clear();
            if read.read_until(b'\n', &mut line)? < 1 << 20 {
                return Err(io::Error::other("a short answer"));
            }
        }
        sender.join().map_err(|_| io::Error::other("the sender panicked"))?.map(drop)
    })?;
    let rate = messages as f64 / began.elapsed().as_secs_f64();
    drop(child);
    Ok(rate)
}

/// Calls a second when every agent has one in flight.
fn together(agents: &mut [Agent], rounds: u64) -> io::Result<f64> {
    let began = Instant::now();
    for id in 0..rounds {
        let frame = call(id, PAYLOAD);
        for agent in agents.iter_mut() {
            agent.send(&frame)?;
        }
        for agent in agents.iter_mut() {
            agent.receive()?;
        }
    }
    Ok((rounds * agents.len() as u64) as f64 / began.elapsed().as_secs_f64())
}

/// Seconds from connecting to the first list.
fn attach(daemon: &Daemon) -> io::Result<f64> {
    let began = Instant::now();
    let mut agent = daemon.attached("echo")?;
    agent.greet()?;
    agent.ask(r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#)?;
    Ok(began.elapsed().as_secs_f64())
}

/// Resident megabytes.
fn resident(pid: u32) -> io::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(f64::NAN);
    Ok(kib / 1024.0)
}

/// Seconds of CPU, user and system.
fn cpu_seconds(pid: u32) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: f64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0)
}
