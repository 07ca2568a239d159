//! Charging work to the process that asked for it.

use rustler::{schedule, Env};
use std::cell::Cell;

/// One unit is about 25 ns of work: one term visited, or 64 bytes copied.
pub(crate) const UNITS_PER_PERCENT: u64 = 400;

/// What a call may use on a normal scheduler, about one millisecond; more work runs dirty.
pub(crate) const NORMAL_UNITS: u64 = 40_000;

thread_local! {
    /// Work of this scheduler that was less than the smallest charge.
    static REMAINDER: Cell<u64> = const { Cell::new(0) };
}

/// Tells the VM how much of the caller's time slice (of about 1 ms) the call has used.
///
/// Without it a call counts as one of 4,000 reductions whatever it did, and a process that loops a call of 0.7 ms holds its
/// scheduler for seconds. The smallest charge is one percent, 10 µs; what is left over is kept for the scheduler's next
/// call, so that neither are short calls free nor pay they for twenty times their work.
pub(crate) fn charge(env: Env, units: u64) {
    REMAINDER.with(|remainder| {
        let due = remainder.get().saturating_add(units);
        let percent = due / UNITS_PER_PERCENT;
        if percent == 0 {
            remainder.set(due);
            return;
        }
        remainder.set(due % UNITS_PER_PERCENT);
        // Whether the slice is used up is of no interest: the VM looks when the NIF returns.
        let _ = schedule::consume_timeslice(env, percent.min(100) as i32);
    });
}
