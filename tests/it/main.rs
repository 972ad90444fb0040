//! What trunkline promises, tried on the real binary through its socket and its shim.

#![allow(clippy::expect_used, clippy::print_stderr, reason = "a test that cannot go on says so and fails")]

mod calls;
mod clients;
mod control;
mod eras;
mod frames;
mod isolation;
mod published;
mod questions;
mod shim;
mod socket;
mod support;
mod tidy;
mod views;
