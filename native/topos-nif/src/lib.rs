//! The NIF library: thin glue between the BEAM and the pure crates, and nothing that needs a test of its own.
//!
//! rustler binds one library to one Erlang module, so there is one stub module, `topos_nif`, with every NIF; the families
//! that users of the NIFs call (`topos_term`, `topos_overlay_nif`, `topos_lane_buffer`) are ordinary Erlang modules above it. Modules with NIFs
//! cannot be upgraded while they run; the stub is tiny and changes only with the library, its families can change at any
//! time.
//!
//! # Rules of the border
//! - No panic crosses it: rustler catches one and raises `nif_panicked`; `panic_hook` reports it, once a place.
//! - Work that depends on data is charged to the caller (`charge`) and runs on a dirty scheduler when it is large.
//! - `unsafe` is in `vm` alone.

mod charge;
mod descriptor;
mod lane;
mod load;
mod machine;
mod overlay;
mod panic_hook;
mod swim;
mod term;
mod vm;

rustler::init!("topos_nif", load = load::load);
