//! The back end: emitted Erlang read by people (snapshots) and run by a BEAM.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used, clippy::panic)]

mod beam;
mod build;
mod golden;
mod programs;
mod run;
mod traits;
