//! Buffers of lanes as resources: added to by any process, taken from by the lane's.

use crate::charge::charge;
use rustler::env::SavedTerm;
use rustler::{Binary, Encoder, Env, Error, LocalPid, NewBinary, NifResult, OwnedEnv, Resource, ResourceArc, Term};
use std::sync::{Mutex, MutexGuard};
use topos_lane::{Added, Buffer, Limits, Taken};

/// Items outside of any process: their terms, and where those live.
#[derive(Default)]
struct Items {
    env: OwnedEnv,
    terms: Vec<SavedTerm>,
}

struct LaneResource(Mutex<Buffer<Items>>);

#[rustler::resource_impl]
impl Resource for LaneResource {}

rustler::atoms! {
    ok,
    closed,
    empty,
    records,
    items,
    topos_lane,
    waiting,
    lane_poisoned,
}

/// A call itself, with its lock and perhaps a message: about 100 ns.
const CALL_UNITS: u64 = 4;

#[rustler::nif]
fn lane_new(count: u32, bytes: usize) -> ResourceArc<LaneResource> {
    ResourceArc::new(LaneResource(Mutex::new(Buffer::new(Limits { count, bytes }))))
}

/// Adds a record. The lane's process gets `{topos_lane, waiting}' if it has nothing to do. One call does both, so that no
/// sender can be killed in between.
#[rustler::nif]
fn lane_push<'a>(
    env: Env<'a>,
    lane: ResourceArc<LaneResource>,
    process: LocalPid,
    head: Binary<'a>,
    tail: Binary<'a>,
) -> NifResult<Term<'a>> {
    charge(env, CALL_UNITS + (head.len() + tail.len()) as u64 / 64);
    let added = lock(&lane)?.push(&head, &tail);
    Ok(tell(env, &process, added))
}

/// Adds an item of so many bytes, which comes out as it went in. Binaries in it are not copied.
#[rustler::nif]
fn lane_push_item<'a>(
    env: Env<'a>,
    lane: ResourceArc<LaneResource>,
    process: LocalPid,
    item: Term<'a>,
    bytes: usize,
) -> NifResult<Term<'a>> {
    charge(env, 4 * CALL_UNITS);
    let added = lock(&lane)?.push_item(bytes, |items| items.terms.push(items.env.save(item)));
    Ok(tell(env, &process, added))
}

fn tell<'a>(env: Env<'a>, process: &LocalPid, added: Added) -> Term<'a> {
    match added {
        Added::First => {
            // A lane that crashed is answered for by the count of what was in its buffer.
            let _ = env.send(process, (topos_lane(), waiting()));
            ok().encode(env)
        }
        Added::More => ok().encode(env),
        Added::Closed => closed().encode(env),
    }
}

/// Nothing more is added from now on.
#[rustler::nif]
fn lane_close(env: Env, lane: ResourceArc<LaneResource>) -> NifResult<Term> {
    lock(&lane)?.close();
    Ok(ok().encode(env))
}

/// `{records, Count, Bytes}', `{items, [Item]}' or `empty'.
#[rustler::nif]
fn lane_take(env: Env, lane: ResourceArc<LaneResource>) -> NifResult<Term> {
    let taken = lock(&lane)?.take();
    Ok(match taken {
        Some(Taken::Records(count, bytes)) => {
            charge(env, CALL_UNITS + bytes.len() as u64 / 64);
            let mut binary = NewBinary::new(env, bytes.len());
            binary.as_mut_slice().copy_from_slice(&bytes);
            (records(), count, Term::from(binary)).encode(env)
        }
        Some(Taken::Items(Items { env: owned, terms })) => {
            charge(env, 4 * CALL_UNITS * terms.len() as u64);
            let all: Vec<Term> = owned.run(|there| terms.iter().map(|term| term.load(there).in_env(env)).collect());
            (items(), all).encode(env)
        }
        None => empty().encode(env),
    })
}

/// A panic may have left half a record.
fn lock(lane: &LaneResource) -> NifResult<MutexGuard<'_, Buffer<Items>>> {
    lane.0.lock().map_err(|_| Error::RaiseTerm(Box::new(lane_poisoned())))
}
