//! Overlays as resources: one state machine behind a lock, driven by one process.

use crate::charge::charge;
use rustler::{
    Binary, Encoder, Env, Error, NewBinary, NifMap, NifResult, NifTaggedEnum, NifUnitEnum, Resource, ResourceArc, Term,
};
use std::sync::Mutex;
use topos_overlay::{Action, Event, FullMesh, FullMeshParams, Message, NodeId, Overlay, OverlayError};

struct OverlayResource(Mutex<Box<dyn Overlay>>);

#[rustler::resource_impl]
impl Resource for OverlayResource {}

/// Which topology.
#[derive(NifUnitEnum)]
enum Kind {
    FullMesh,
}

#[derive(NifMap)]
struct Params<'a> {
    own: Binary<'a>,
    backoff_min: u64,
    backoff_max: u64,
    connect_timeout: u64,
    max_connecting: u32,
    max_members: u32,
}

#[derive(NifTaggedEnum)]
enum EventTerm<'a> {
    Joined(Binary<'a>),
    Left(Binary<'a>),
    LinkUp(Binary<'a>),
    LinkDown(Binary<'a>),
    Received(Binary<'a>, Binary<'a>),
    Tick,
}

rustler::atoms! {
    ok,
    error,
    connect,
    disconnect,
    set_view,
    schedule_tick,
    send,
    invalid_node,
    too_many_members,
    invalid_parameters,
    invalid_message,
    overlay_poisoned,
}

/// `{ok, Overlay}` or `{error, Why}`.
#[rustler::nif]
fn overlay_new<'a>(env: Env<'a>, kind: Kind, params: Params<'a>, seed: u64) -> Term<'a> {
    match new_overlay(kind, &params, seed) {
        Ok(overlay) => (ok(), ResourceArc::new(OverlayResource(Mutex::new(overlay)))).encode(env),
        Err(refused) => refusal(env, refused),
    }
}

fn new_overlay(kind: Kind, params: &Params, seed: u64) -> Result<Box<dyn Overlay>, OverlayError> {
    match kind {
        Kind::FullMesh => {
            let params = FullMeshParams {
                own: NodeId::new(&params.own)?,
                backoff_min: params.backoff_min,
                backoff_max: params.backoff_max,
                connect_timeout: params.connect_timeout,
                max_connecting: params.max_connecting,
                max_members: params.max_members,
            };
            Ok(Box::new(FullMesh::new(params, seed)?))
        }
    }
}

/// `{ok, [Action]}` or `{error, Why}`.
#[rustler::nif]
fn overlay_handle<'a>(
    env: Env<'a>,
    overlay: ResourceArc<OverlayResource>,
    now: u64,
    event: Term<'a>,
) -> NifResult<Term<'a>> {
    // The derived decoder raises a text for a field of the wrong type; a wrong argument is a badarg.
    let event: EventTerm = event.decode().map_err(|_| Error::BadArg)?;
    let event = match event_of(&event) {
        Ok(event) => event,
        Err(refused) => return Ok(refused.term(env)),
    };
    // A panic inside `handle` may have left half a change: the overlay is of no more use, its driver has to build a new one.
    let mut overlay = overlay.0.lock().map_err(|_| Error::RaiseTerm(Box::new(overlay_poisoned())))?;
    match overlay.handle(now, event) {
        Ok(actions) => {
            let terms: Vec<Term> = actions.iter().map(|action| action_term(env, action)).collect();
            Ok((ok(), terms).encode(env))
        }
        Err(refused) => Ok(refusal(env, refused)),
    }
}

/// The nodes to keep links to.
#[rustler::nif]
fn overlay_view(env: Env, overlay: ResourceArc<OverlayResource>) -> NifResult<Term> {
    let overlay = overlay.0.lock().map_err(|_| Error::RaiseTerm(Box::new(overlay_poisoned())))?;
    Ok(view_term(env, &overlay.view()))
}

/// Why an event is none.
enum Unusable {
    Node(OverlayError),
    Message(String),
}

impl From<OverlayError> for Unusable {
    fn from(error: OverlayError) -> Self {
        Self::Node(error)
    }
}

impl Unusable {
    fn term(self, env: Env) -> Term {
        match self {
            Self::Node(refused) => refusal(env, refused),
            Self::Message(why) => (error(), (invalid_message(), why)).encode(env),
        }
    }
}

fn event_of(event: &EventTerm) -> Result<Event, Unusable> {
    Ok(match event {
        EventTerm::Joined(node) => Event::Joined(NodeId::new(node)?),
        EventTerm::Left(node) => Event::Left(NodeId::new(node)?),
        EventTerm::LinkUp(node) => Event::LinkUp(NodeId::new(node)?),
        EventTerm::LinkDown(node) => Event::LinkDown(NodeId::new(node)?),
        EventTerm::Received(from, bytes) => {
            let message = Message::decode(bytes).map_err(|why| Unusable::Message(why.to_string()))?;
            Event::Received { from: NodeId::new(from)?, message }
        }
        EventTerm::Tick => Event::Tick,
    })
}

fn action_term<'a>(env: Env<'a>, action: &Action) -> Term<'a> {
    // An action costs a lookup or two besides its terms, well below a microsecond.
    charge(env, 20);
    match action {
        Action::Connect(node) => (connect(), node_term(env, node)).encode(env),
        Action::Disconnect(node) => (disconnect(), node_term(env, node)).encode(env),
        Action::SetView(view) => (set_view(), view_term(env, view)).encode(env),
        Action::Send { to, message } => {
            let bytes = message.encode();
            // Writing and copying take about a nanosecond a byte.
            charge(env, bytes.len() as u64 / 16);
            (send(), node_term(env, to), binary_term(env, &bytes)).encode(env)
        }
        Action::ScheduleTick(ms) => (schedule_tick(), *ms).encode(env),
    }
}

fn view_term<'a>(env: Env<'a>, view: &[NodeId]) -> Term<'a> {
    // The state machine copied the view, and each name becomes a binary: about 200 ns a member.
    charge(env, 8 * view.len() as u64);
    view.iter().map(|node| node_term(env, node)).collect::<Vec<_>>().encode(env)
}

fn node_term<'a>(env: Env<'a>, node: &NodeId) -> Term<'a> {
    binary_term(env, node.as_bytes())
}

fn binary_term<'a>(env: Env<'a>, bytes: &[u8]) -> Term<'a> {
    let mut binary = NewBinary::new(env, bytes.len());
    binary.as_mut_slice().copy_from_slice(bytes);
    binary.into()
}

/// `{error, {Reason, ...}}`: what `topos_overlay_nif` makes a `topos_error:t()` of.
fn refusal(env: Env, refused: OverlayError) -> Term {
    match refused {
        OverlayError::InvalidNode { bytes } => (error(), (invalid_node(), bytes)).encode(env),
        OverlayError::TooManyMembers { limit } => (error(), (too_many_members(), limit)).encode(env),
        OverlayError::InvalidParameters(all) => {
            let all: Vec<_> = all.into_iter().map(|wrong| (wrong.name, wrong.expected, wrong.got)).collect();
            (error(), (invalid_parameters(), all)).encode(env)
        }
    }
}
