//! What a hop through trunkline costs: `cargo bench`.
//!
//! Measures in one run, interleaved, the same calls to the same echo server: *direct* to the child, through a *floor* (the
//! least a multiplexer can do: one shared child, ids rewritten, nothing else), through trunkline's socket, and through
//! its shim. Everything is pinned to one CPU, so that latency is work and not scheduling.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the figures are its output")]

mod beside;
mod echo;
mod floor;
mod http;
mod huge;
mod measure;
mod peers;

use std::io;
use std::process::ExitCode;

use measure::{Sizes, Summary};
use peers::Other;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["echo"] => echo::serve(),
        ["http"] => http::serve(),
        ["floor", socket] => floor::serve(socket.as_ref()),
        rest => report(rest.contains(&"--quick"), other(rest)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is measured beside the program that was built: the one behind `--against`, or the same without a record of calls.
fn other(words: &[&str]) -> Option<Other> {
    if words.contains(&"--unrecorded") {
        return Some(Other::Unrecorded);
    }
    let at = words.iter().position(|word| *word == "--against")?;
    words.get(at + 1).map(|program| Other::Program(program.into()))
}

fn report(quick: bool, other: Option<Other>) -> io::Result<()> {
    let sizes = if quick { Sizes::QUICK } else { Sizes::FULL };
    measure::pin_to_one_cpu()?;
    let folder = tempfile::tempdir()?;
    let (_echo, echo) = http::start()?;
    let bench = peers::Bench::start(folder.path(), &echo, other)?;
    let ways = bench.ways();
    let Summary { latency, pipelined, large, crowd, cpu, attach, memory } = measure::all(&bench, &sizes)?;
    let direct = latency[0].0;
    println!("one call at a time, µs       p50     p99   over direct");
    for (way, (p50, p99)) in ways.iter().zip(&latency) {
        println!("  {:<22} {p50:>9.1} {p99:>7.1} {:>+10.1}", way.name(), p50 - direct);
    }
    for (title, rates) in [("1 agent × 32 in flight, calls/s", &pipelined), ("1 MB each way, messages/s", &large)] {
        println!("{title}   of direct");
        for (way, rate) in ways.iter().zip(rates) {
            println!("  {:<22} {rate:>12.0} {:>9.2}", way.name(), rate / rates[0]);
        }
    }
    println!("50 agents × 1, calls/s   of the floor");
    for (way, rate) in &crowd {
        println!("  {:<22} {rate:>12.0} {:>9.2}", way.name(), rate / crowd[0].1);
    }
    println!("CPU a call, µs");
    for (way, spent) in &cpu {
        println!("  {:<22} {spent:>12.1}", way.name());
    }
    let http::Summary { http, eras } = http::all(&bench, &sizes, &echo)?;
    for (title, rows) in [("over HTTP, one call at a time", &http), ("a legacy server on the socket", &eras)] {
        println!("{title}, µs       p50   over the first");
        for (name, p50) in rows {
            println!("  {name:<32} {p50:>9.1} {:>+10.1}", p50 - rows[0].1);
        }
    }
    huge::report(&bench, &sizes)?;
    beside::report(folder.path(), &sizes)?;
    for (which, (attach, memory)) in ["trunkline", "the other"].iter().zip(attach.iter().zip(&memory)) {
        println!(
            "{which}: attach to first tools/list, warm: {:.3} ms; resident: daemon with 8 idle servers {:.1} MB, with 50 agents {:.1} MB, one shim {:.1} MB",
            attach * 1e3,
            memory[0],
            memory[1],
            memory[2]
        );
    }
    Ok(())
}
