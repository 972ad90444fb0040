//! The `trunkline` program; see `src/lib.rs` for how it is built.

use std::process::ExitCode;

fn main() -> ExitCode {
    trunkline::cli::main()
}
