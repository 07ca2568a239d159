//! Typed terms: check, encode, decode, and the atoms of a message.
//!
//! Each comes twice: on a normal scheduler with a bound on its work, where it answers `dirty` when the bound is reached, and
//! on a dirty one without. So most calls cost no more than their work, and none holds a scheduler for long; nobody has to know
//! the size of a term beforehand. What was done in vain is at most the bound.

use crate::charge::{charge, NORMAL_UNITS};
use crate::descriptor::Parser;
use crate::vm::{Raw, Vm};
use rustler::{Binary, Encoder, Env, NewBinary, Resource, ResourceArc, Term};
use std::cell::RefCell;
use topos_term::{AtomName, Build, Fault, Limits, Schema};

struct SchemaResource(Schema<Raw>);

#[rustler::resource_impl]
impl Resource for SchemaResource {}

rustler::atoms! {
    ok,
    error,
    dirty,
    type_mismatch,
    malformed_term,
    too_many_atoms,
    invalid_descriptor,
}

/// What output buffers keep for the next call.
const KEPT: usize = 64 * 1024;

thread_local! {
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// `{ok, Descriptor}` or `{error, {invalid_descriptor, Why}}`. Once a type, so always dirty.
#[rustler::nif(schedule = "DirtyCpu")]
fn term_descriptor<'a>(env: Env<'a>, descriptor: Term<'a>) -> Term<'a> {
    let mut vm = Vm::new(env);
    let compiled = Parser::new(&vm).parse(descriptor, 0).and_then(|descriptor| {
        let atom = |name: &str| {
            let name = AtomName::Utf8(name.as_bytes());
            vm.existing_atom(name).or_else(|| vm.new_atom(name))
        };
        Schema::new(&descriptor, atom).map_err(|why| why.to_string())
    });
    match compiled {
        Ok(schema) => (ok(), ResourceArc::new(SchemaResource(schema))).encode(env),
        Err(why) => (error(), (invalid_descriptor(), why)).encode(env),
    }
}

/// `ok`, `dirty` or `{error, Fault}`.
#[rustler::nif]
fn term_check<'a>(env: Env<'a>, schema: ResourceArc<SchemaResource>, term: Term<'a>, depth: usize) -> Term<'a> {
    check(env, &schema, term, depth, NORMAL_UNITS)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn term_check_dirty<'a>(env: Env<'a>, schema: ResourceArc<SchemaResource>, term: Term<'a>, depth: usize) -> Term<'a> {
    check(env, &schema, term, depth, u64::MAX)
}

fn check<'a>(env: Env<'a>, schema: &SchemaResource, term: Term<'a>, depth: usize, work: u64) -> Term<'a> {
    let vm = Vm::new(env);
    match topos_term::check(&schema.0, &vm, vm.raw(term), depth, work) {
        Ok(work) => {
            charge(env, work);
            ok().encode(env)
        }
        Err(fault) => failed(env, fault, work),
    }
}

/// `{ok, Bytes}`, `dirty` or `{error, Fault}`.
#[rustler::nif]
fn term_encode<'a>(env: Env<'a>, schema: ResourceArc<SchemaResource>, term: Term<'a>, depth: usize) -> Term<'a> {
    encode(env, &schema, term, depth, NORMAL_UNITS)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn term_encode_dirty<'a>(env: Env<'a>, schema: ResourceArc<SchemaResource>, term: Term<'a>, depth: usize) -> Term<'a> {
    encode(env, &schema, term, depth, u64::MAX)
}

fn encode<'a>(env: Env<'a>, schema: &SchemaResource, term: Term<'a>, depth: usize, work: u64) -> Term<'a> {
    let vm = Vm::new(env);
    let mut out = OUTPUT.take();
    out.clear();
    let encoded = topos_term::encode(&schema.0, &vm, vm.raw(term), &mut out, depth, work);
    let answer = match encoded {
        Ok(work) => {
            charge(env, work);
            let mut binary = NewBinary::new(env, out.len());
            binary.as_mut_slice().copy_from_slice(&out);
            (ok(), Term::from(binary)).encode(env)
        }
        Err(fault) => failed(env, fault, work),
    };
    if out.capacity() <= KEPT {
        OUTPUT.set(out);
    }
    answer
}

/// `{ok, Term}`, `dirty` or `{error, Fault}`.
#[rustler::nif]
fn term_decode<'a>(
    env: Env<'a>,
    schema: ResourceArc<SchemaResource>,
    bytes: Binary<'a>,
    depth: usize,
    new_atoms: usize,
) -> Term<'a> {
    decode(env, &schema, bytes, Limits { depth, new_atoms, work: NORMAL_UNITS })
}

#[rustler::nif(schedule = "DirtyCpu")]
fn term_decode_dirty<'a>(
    env: Env<'a>,
    schema: ResourceArc<SchemaResource>,
    bytes: Binary<'a>,
    depth: usize,
    new_atoms: usize,
) -> Term<'a> {
    decode(env, &schema, bytes, Limits { depth, new_atoms, work: u64::MAX })
}

fn decode<'a>(env: Env<'a>, schema: &SchemaResource, bytes: Binary<'a>, limits: Limits) -> Term<'a> {
    let mut vm = Vm::reading(env, &bytes);
    let source = vm.source();
    match topos_term::decode(&schema.0, &mut vm, source, limits) {
        Ok((term, work)) => {
            charge(env, work);
            (ok(), vm.term(term)).encode(env)
        }
        Err(fault) => failed(env, fault, limits.work),
    }
}

/// `{ok, [Name]}`, `dirty` or `{error, Fault}`.
#[rustler::nif]
fn term_new_atoms<'a>(env: Env<'a>, bytes: Binary<'a>, max: usize) -> Term<'a> {
    new_atoms(env, &bytes, max, NORMAL_UNITS)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn term_new_atoms_dirty<'a>(env: Env<'a>, bytes: Binary<'a>, max: usize) -> Term<'a> {
    new_atoms(env, &bytes, max, u64::MAX)
}

fn new_atoms<'a>(env: Env<'a>, bytes: &[u8], max: usize, work: u64) -> Term<'a> {
    let mut vm = Vm::new(env);
    match topos_term::scan_atoms(bytes, max, work, |name| vm.existing_atom(name).is_some()) {
        Ok((names, work)) => {
            charge(env, work);
            let names: Vec<String> = names.into_iter().map(AtomName::to_text).collect();
            (ok(), names).encode(env)
        }
        Err(fault) => failed(env, fault, work),
    }
}

/// The charge is the bound where the bound was reached; a fault found earlier has cost less, but nobody says how much.
fn failed(env: Env, fault: Fault, work_limit: u64) -> Term {
    charge(env, work_limit.min(NORMAL_UNITS));
    match fault {
        Fault::TooMuchWork { .. } => dirty().encode(env),
        Fault::Mismatch { path, expected, got } => (error(), (type_mismatch(), path, expected, got)).encode(env),
        Fault::Malformed { why, offset } => (error(), (malformed_term(), why, offset)).encode(env),
        Fault::TooManyAtoms { limit } => (error(), (too_many_atoms(), limit)).encode(env),
    }
}
