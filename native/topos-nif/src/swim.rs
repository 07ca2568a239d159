//! The failure detector as a resource: one state machine behind a lock, driven by one process.

use crate::charge::{charge, NORMAL_UNITS};
use crate::machine::{binary_term, refusal};
use rustler::{Binary, Encoder, Env, Error, NifMap, NifResult, NifTaggedEnum, Resource, ResourceArc, Term};
use std::sync::{Mutex, MutexGuard};
use topos_overlay::{
    swim::{Action, Event, Status},
    Message, NodeId, OverlayError, Swim, SwimParams,
};

struct SwimResource(Mutex<Swim>);

#[rustler::resource_impl]
impl Resource for SwimResource {}

#[derive(NifMap)]
struct ParamsTerm<'a> {
    own: Binary<'a>,
    incarnation: u64,
    period: u64,
    ping_timeout: u64,
    indirect: u32,
    suspicion_periods: u32,
    max_members: u32,
}

#[derive(NifTaggedEnum)]
enum EventTerm<'a> {
    Joined(Binary<'a>),
    Left(Binary<'a>),
    Received(Binary<'a>, Binary<'a>),
    Tick,
}

rustler::atoms! {
    ok,
    error,
    send,
    changed,
    schedule_tick,
    alive,
    suspect,
    dead,
    invalid_message,
    overlay_poisoned,
}

/// `{ok, Swim}` or `{error, Why}`.
#[rustler::nif]
fn swim_new<'a>(env: Env<'a>, params: Term<'a>, seed: u64) -> NifResult<Term<'a>> {
    let params: ParamsTerm = params.decode().map_err(|_| Error::BadArg)?;
    let created = NodeId::new(&params.own).and_then(|own| {
        let known = SwimParams {
            period: params.period,
            ping_timeout: params.ping_timeout,
            indirect: params.indirect,
            suspicion_periods: params.suspicion_periods,
            max_members: params.max_members,
            ..SwimParams::new(own, params.incarnation)
        };
        Swim::new(known, seed)
    });
    Ok(match created {
        Ok(swim) => (ok(), ResourceArc::new(SwimResource(Mutex::new(swim)))).encode(env),
        Err(refused) => refusal(env, refused),
    })
}

/// `{ok, [Action]}` or `{error, Why}`. A message has at most 255 news, so no call is long.
#[rustler::nif]
fn swim_handle<'a>(env: Env<'a>, swim: ResourceArc<SwimResource>, now: u64, event: Term<'a>) -> NifResult<Term<'a>> {
    let event: EventTerm = event.decode().map_err(|_| Error::BadArg)?;
    let event = match event_of(env, &event) {
        Ok(event) => event,
        Err(Unusable::Node(refused)) => return Ok(refusal(env, refused)),
        Err(Unusable::Message(why)) => return Ok((error(), (invalid_message(), why)).encode(env)),
    };
    match lock(&swim)?.handle(now, event) {
        Ok(actions) => {
            let terms: Vec<Term> = actions.iter().map(|action| action_term(env, action)).collect();
            Ok((ok(), terms).encode(env))
        }
        Err(refused) => Ok(refusal(env, refused)),
    }
}

/// A panic inside `handle` may have left half a change.
fn lock(swim: &SwimResource) -> NifResult<MutexGuard<'_, Swim>> {
    swim.0.lock().map_err(|_| Error::RaiseTerm(Box::new(overlay_poisoned())))
}

enum Unusable {
    Node(OverlayError),
    Message(String),
}

impl From<OverlayError> for Unusable {
    fn from(error: OverlayError) -> Self {
        Self::Node(error)
    }
}

fn event_of(env: Env, event: &EventTerm) -> Result<Event, Unusable> {
    Ok(match event {
        EventTerm::Joined(node) => Event::Joined(NodeId::new(node)?),
        EventTerm::Left(node) => Event::Left(NodeId::new(node)?),
        EventTerm::Received(from, bytes) => {
            charge(env, (bytes.len() as u64 / 8).min(NORMAL_UNITS));
            match Message::decode(bytes) {
                Ok(Message::Swim(message)) => Event::Received { from: NodeId::new(from)?, message },
                Ok(_) => return Err(Unusable::Message("the message is not of a failure detector".to_owned())),
                Err(why) => return Err(Unusable::Message(why.to_string())),
            }
        }
        EventTerm::Tick => Event::Tick,
    })
}

fn action_term<'a>(env: Env<'a>, action: &Action) -> Term<'a> {
    charge(env, 20);
    match action {
        Action::Send { to, message } => {
            let bytes = Message::Swim(message.clone()).encode();
            charge(env, bytes.len() as u64 / 16);
            (send(), binary_term(env, to.as_bytes()), binary_term(env, &bytes)).encode(env)
        }
        Action::Changed { node, status } => {
            let status = match status {
                Status::Alive => alive(),
                Status::Suspect => suspect(),
                Status::Dead => dead(),
            };
            (changed(), binary_term(env, node.as_bytes()), status).encode(env)
        }
        Action::ScheduleTick(ms) => (schedule_tick(), *ms).encode(env),
    }
}
