//! The NIF library: thin glue between the BEAM and the pure crates.
rustler::init!("topos_nif");
