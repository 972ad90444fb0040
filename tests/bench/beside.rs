//! Whether a call costs more where more stands beside it: servers that are configured and run, and agents that are attached and say
//! nothing.

use std::io;
use std::path::Path;
use std::time::Instant;

use super::measure::{Sizes, in_flight_of, middle, one_at_a_time_of};
use super::peers::{Agent, Daemon};

/// How many servers and how many idle agents.
const BESIDE: [(usize, usize); 5] = [(1, 0), (10, 0), (100, 0), (1, 100), (1, 500)];

/// A daemon with what stands beside the calls.
struct Setup {
    daemon: Daemon,
    _idle: Vec<Agent>,
    caller: Agent,
    /// Bytes of the first list.
    list: usize,
    p50: f64,
    rate: f64,
    attach: f64,
}

pub(crate) fn report(folder: &Path, sizes: &Sizes) -> io::Result<()> {
    let mut all = BESIDE.iter().map(|beside| Setup::new(folder, *beside)).collect::<io::Result<Vec<_>>>()?;
    for _ in 0..sizes.rounds {
        for setup in &mut all {
            setup.measure(sizes.calls)?;
        }
    }
    println!(
        "beside others, through the view of all   p50, µs   of the first   32 in flight, calls/s   of the first   attach, ms   its list, bytes"
    );
    for (setup, (servers, agents)) in all.iter().zip(BESIDE) {
        println!(
            "  {servers:>3} servers, {agents:>3} idle agents          {:>9.1} {:>14.2} {:>23.0} {:>14.2} {:>12.3} {:>17}",
            setup.p50,
            setup.p50 / all[0].p50,
            setup.rate,
            setup.rate / all[0].rate,
            setup.attach * 1e3,
            setup.list
        );
    }
    Ok(())
}

impl Setup {
    fn new(folder: &Path, (servers, agents): (usize, usize)) -> io::Result<Self> {
        let names: Vec<_> = (0..servers).map(|number| format!("s{number}")).collect();
        let daemon = Daemon::with_echoes(folder.join(format!("beside-{servers}-{agents}")), &names)?;
        let mut idle = (0..agents).map(|_| daemon.attached_to_all()).collect::<io::Result<Vec<_>>>()?;
        idle.iter_mut().try_for_each(Agent::greet)?;
        let mut caller = daemon.attached_to_all()?;
        caller.greet()?;
        // The first list starts the servers.
        let list = caller.ask(LIST)?.len();
        Ok(Self { daemon, _idle: idle, caller, list, p50: f64::MAX, rate: 0.0, attach: f64::MAX })
    }

    fn measure(&mut self, calls: u64) -> io::Result<()> {
        self.p50 = self.p50.min(one_at_a_time_of(&mut self.caller, calls, call)?.0);
        self.rate = self.rate.max(in_flight_of(&mut self.caller, calls * 2, call)?);
        let mut times = Vec::new();
        for _ in 0..calls / 100 {
            let began = Instant::now();
            let mut agent = self.daemon.attached_to_all()?;
            agent.greet()?;
            self.list = agent.ask(LIST)?.len();
            times.push(began.elapsed().as_secs_f64());
        }
        self.attach = self.attach.min(middle(times));
        Ok(())
    }
}

const LIST: &str = r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#;

fn call(id: u64) -> Vec<u8> {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{{\"name\":\"s0__echo\",\"arguments\":{{\"text\":\"hello\"}}}}}}\n").into_bytes()
}
