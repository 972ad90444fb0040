//! What trunkline promises, tried on the real binary through its socket and its shim.

mod calls;
mod control;
mod eras;
mod frames;
mod isolation;
mod questions;
mod shim;
mod socket;
mod support;
mod tidy;
mod views;
