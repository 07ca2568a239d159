//! What a caught panic writes.

use std::panic::PanicHookInfo;
use std::sync::{Mutex, Once, PoisonError};

/// How many places are reported; a bug has few, the bound is for the case where it has not.
const MAX_PLACES: usize = 64;

/// The places that have been reported.
static REPORTED: Mutex<Vec<(String, u32)>> = Mutex::new(Vec::new());
static INSTALL: Once = Once::new();

/// Replaces Rust's hook, for this library alone (it has its own copy of the standard library).
///
/// The standard hook collects a backtrace under `RUST_BACKTRACE=1`, 200 µs and a page of text a panic, for as long as
/// somebody calls the function that panics. This one writes one line for each place that panics, once, and no backtrace:
/// the Erlang error has a stack trace already.
pub(crate) fn install() {
    INSTALL.call_once(|| std::panic::set_hook(Box::new(report)));
}

fn report(info: &PanicHookInfo) {
    let Some(place) = info.location() else { return };
    let mut reported = REPORTED.lock().unwrap_or_else(PoisonError::into_inner);
    let known = reported.iter().any(|(file, line)| file == place.file() && *line == place.line());
    if known || reported.len() >= MAX_PLACES {
        return;
    }
    reported.push((place.file().to_owned(), place.line()));
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let message = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)");
    eprintln!(
        "topos_nif: a bug at {}:{}: {message}; the call raised nif_panicked (reported once a place)",
        place.file(),
        place.line()
    );
}
