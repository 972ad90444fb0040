//! What trunkline promises, tried on the real binary through its socket and its shim.

#![allow(
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that cannot go on says so and fails, and one prints a table"
)]

mod attach;
mod auto;
mod blame;
mod border;
mod calls;
mod catalogs;
mod chaos;
mod clients;
mod codex;
mod conformance;
mod control;
mod credentials;
mod doors;
mod elsewhere;
mod entries;
mod eras;
mod face;
mod frames;
mod fuzz;
mod glass;
mod http;
mod http_sessions;
mod imports;
mod isolation;
mod lists;
mod logins;
mod lost_sessions;
mod matrix;
mod oauth;
mod owners;
mod published;
mod questions;
mod quirks;
mod readings;
mod record;
mod refresh;
mod reload;
mod rounds;
mod service;
mod sharing;
mod shim;
mod socket;
mod strays;
mod supervision;
mod support;
mod survival;
mod tasks;
mod tidy;
mod traces;
mod turns;
mod upgrade;
mod views;
mod way_in;
mod weights;
mod wild;

#[path = "../../fuzz/targets.rs"]
mod targets;
