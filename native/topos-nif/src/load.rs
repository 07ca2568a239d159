//! Loading: the handshake between the stub module and this library.

use crate::panic_hook;
use rustler::{Binary, Encoder, Env, LocalPid, Term};

/// What the stub must ask for. The number after `nif` grows whenever a NIF is added, removed, or changes its arguments, its
/// results or their meaning, so that a library that was not rebuilt is noticed within a release too.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "-nif5");

rustler::atoms! {
    topos_nif_version,
}

/// Called by `erlang:load_nif(Path, {Version, Pid})`: refuses to load into a stub of another version, and tells the process
/// which version this library is, since `load_nif/2` has no way to return it.
pub fn load(env: Env, info: Term) -> bool {
    panic_hook::install();
    let Ok((needed, loader)) = info.decode::<(Binary, LocalPid)>() else { return false };
    if needed.as_slice() == VERSION.as_bytes() {
        return true;
    }
    // The loader waits for no answer: if this one is lost, it reports an unknown version.
    let _ = env.send(&loader, (topos_nif_version(), VERSION).encode(env));
    false
}

/// The version of the library.
#[rustler::nif]
fn library_version() -> &'static str {
    VERSION
}

/// Panics: the tests' way to see that a panic becomes an Erlang error, cheaply.
#[rustler::nif]
#[allow(clippy::panic)]
fn panic_on_purpose() -> bool {
    panic!("on purpose")
}
