//! Overlay state machines: `(state, event) -> (state, [action])`, no clock, no sockets.
