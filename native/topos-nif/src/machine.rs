//! What overlays and the failure detector have in common towards the BEAM: names and payloads as binaries, and why one was refused.

use rustler::{Encoder, Env, NewBinary, Term};
use topos_overlay::OverlayError;

rustler::atoms! {
    error,
    invalid_node,
    too_many_members,
    invalid_parameters,
}

pub fn binary_term<'a>(env: Env<'a>, bytes: &[u8]) -> Term<'a> {
    let mut binary = NewBinary::new(env, bytes.len());
    binary.as_mut_slice().copy_from_slice(bytes);
    binary.into()
}

/// `{error, {Reason, ...}}`: what `topos_overlay_nif` and `topos_swim_nif` make a `topos_error:t()` of.
pub fn refusal(env: Env, refused: OverlayError) -> Term {
    match refused {
        OverlayError::InvalidNode { bytes } => (error(), (invalid_node(), bytes)).encode(env),
        OverlayError::TooManyMembers { limit } => (error(), (too_many_members(), limit)).encode(env),
        OverlayError::InvalidParameters(all) => {
            let all: Vec<_> = all.into_iter().map(|wrong| (wrong.name, wrong.expected, wrong.got)).collect();
            (error(), (invalid_parameters(), all)).encode(env)
        }
    }
}
