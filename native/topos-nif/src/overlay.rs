//! Overlays as resources: one state machine behind a lock, driven by one process.

use crate::charge::{charge, NORMAL_UNITS};
use crate::machine::{binary_term, refusal};
use rustler::{
    Binary, Encoder, Env, Error, NifMap, NifResult, NifTaggedEnum, NifUnitEnum, Resource, ResourceArc, Term,
};
use std::sync::{Mutex, MutexGuard};
use topos_overlay::{
    client_server::Role, Action, ClientServer, ClientServerParams, Custom, CustomParams, Event, FullMesh,
    FullMeshParams, HyParView, HyParViewParams, Message, NodeId, Overlay, OverlayError, Routed, RoutedAction,
    RoutedEvent, RoutedParams,
};

struct OverlayResource(Mutex<Routed>);

#[rustler::resource_impl]
impl Resource for OverlayResource {}

/// Which topology.
#[derive(NifUnitEnum)]
enum Kind {
    FullMesh,
    Hyparview,
    ClientServer,
    Custom,
}

#[derive(NifMap)]
struct MeshTerm<'a> {
    own: Binary<'a>,
    backoff_min: u64,
    backoff_max: u64,
    connect_timeout: u64,
    max_connecting: u32,
    max_members: u32,
}

#[derive(NifMap)]
struct HyParViewTerm<'a> {
    own: Binary<'a>,
    epoch: u64,
    active_view: u32,
    passive_view: u32,
    active_walk: u8,
    passive_walk: u8,
    shuffle_active: u32,
    shuffle_passive: u32,
    shuffle_period: u64,
    mix_period: u64,
    request_timeout: u64,
    backoff_min: u64,
    backoff_max: u64,
    max_members: u32,
}

#[derive(NifUnitEnum)]
enum RoleTerm {
    Hub,
    Client,
}

#[derive(NifMap)]
struct ClientServerTerm<'a> {
    own: Binary<'a>,
    epoch: u64,
    role: RoleTerm,
    hubs: Vec<Binary<'a>>,
    hubs_of_a_client: u32,
    max_clients: u32,
    request_timeout: u64,
    backoff_min: u64,
    backoff_max: u64,
    max_members: u32,
}

#[derive(NifMap)]
struct CustomTerm<'a> {
    own: Binary<'a>,
    epoch: u64,
    period: u64,
    max_links: u32,
    request_timeout: u64,
    backoff_min: u64,
    backoff_max: u64,
    max_members: u32,
}

#[derive(NifTaggedEnum)]
enum EventTerm<'a> {
    Joined(Binary<'a>),
    Left(Binary<'a>),
    LinkUp(Binary<'a>),
    LinkDown(Binary<'a>),
    Met(Binary<'a>),
    Wanted(Vec<Binary<'a>>),
    Confirmed(Binary<'a>),
    Unconfirmed(Binary<'a>),
    Received(Binary<'a>, Binary<'a>),
    Broadcast(Binary<'a>),
    LiveAgain(u64),
    Tick,
}

rustler::atoms! {
    ok,
    error,
    dirty,
    connect,
    disconnect,
    set_view,
    schedule_tick,
    send,
    broadcast,
    routes,
    lost,
    invalid_message,
    overlay_poisoned,
}

/// Messages from this size on, and clusters from this many nodes on, are handled on dirty schedulers: reading a message
/// takes about a nanosecond a byte, routes about a microsecond a node.
const DIRTY_BYTES: usize = 256 * 1024;
const DIRTY_NODES: usize = 500;

/// `{ok, Overlay}` or `{error, Why}`.
#[rustler::nif]
fn overlay_new<'a>(env: Env<'a>, kind: Kind, params: Term<'a>, seed: u64) -> NifResult<Term<'a>> {
    // The derived decoders raise a text for a field of the wrong type; a wrong argument is a badarg.
    let created = match kind {
        Kind::FullMesh => new_mesh(&params.decode().map_err(|_| Error::BadArg)?, seed),
        Kind::Hyparview => new_hyparview(&params.decode().map_err(|_| Error::BadArg)?, seed),
        Kind::ClientServer => new_client_server(&params.decode().map_err(|_| Error::BadArg)?, seed),
        Kind::Custom => new_custom(&params.decode().map_err(|_| Error::BadArg)?, seed),
    };
    Ok(match created {
        Ok(overlay) => (ok(), ResourceArc::new(OverlayResource(Mutex::new(overlay)))).encode(env),
        Err(refused) => refusal(env, refused),
    })
}

fn new_mesh(params: &MeshTerm, seed: u64) -> Result<Routed, OverlayError> {
    let params = FullMeshParams {
        own: NodeId::new(&params.own)?,
        backoff_min: params.backoff_min,
        backoff_max: params.backoff_max,
        connect_timeout: params.connect_timeout,
        max_connecting: params.max_connecting,
        max_members: params.max_members,
    };
    Routed::new(Box::new(FullMesh::new(params, seed)?), None, seed)
}

fn new_hyparview(params: &HyParViewTerm, seed: u64) -> Result<Routed, OverlayError> {
    let own = NodeId::new(&params.own)?;
    let overlay = HyParViewParams {
        active_size: params.active_view,
        passive_size: params.passive_view,
        active_walk: params.active_walk,
        passive_walk: params.passive_walk,
        shuffle_active: params.shuffle_active,
        shuffle_passive: params.shuffle_passive,
        shuffle_period: params.shuffle_period,
        mix_period: params.mix_period,
        request_timeout: params.request_timeout,
        backoff_min: params.backoff_min,
        backoff_max: params.backoff_max,
        ..HyParViewParams::new(own.clone())
    };
    routed(&own, params.epoch, params.max_members, HyParView::new(overlay, seed)?, seed)
}

fn new_client_server(params: &ClientServerTerm, seed: u64) -> Result<Routed, OverlayError> {
    let own = NodeId::new(&params.own)?;
    let role = match params.role {
        RoleTerm::Hub => Role::Hub,
        RoleTerm::Client => Role::Client,
    };
    let hubs = params.hubs.iter().map(|hub| NodeId::new(hub)).collect::<Result<_, _>>()?;
    let overlay = ClientServerParams {
        hubs_of_a_client: params.hubs_of_a_client,
        max_clients: params.max_clients,
        request_timeout: params.request_timeout,
        backoff_min: params.backoff_min,
        backoff_max: params.backoff_max,
        ..ClientServerParams::new(own.clone(), role, hubs)
    };
    routed(&own, params.epoch, params.max_members, ClientServer::new(overlay, seed)?, seed)
}

fn new_custom(params: &CustomTerm, seed: u64) -> Result<Routed, OverlayError> {
    let own = NodeId::new(&params.own)?;
    let overlay = CustomParams {
        period: params.period,
        max_links: params.max_links,
        connect_timeout: params.request_timeout,
        backoff_min: params.backoff_min,
        backoff_max: params.backoff_max,
        max_members: params.max_members,
        ..CustomParams::new(own.clone())
    };
    routed(&own, params.epoch, params.max_members, Custom::new(overlay, seed)?, seed)
}

/// How long, in milliseconds, a broadcast is announced to neighbours that are new or are reached in another way than before.
const ANNOUNCE_FOR: u64 = 20_000;

fn routed(
    own: &NodeId,
    epoch: u64,
    max_nodes: u32,
    overlay: impl Overlay + 'static,
    seed: u64,
) -> Result<Routed, OverlayError> {
    let mut params = RoutedParams::new(own, epoch);
    params.links.max_nodes = max_nodes;
    // Until real links are mended it takes the time to find that out, and a greeting or two of busy nodes: a broadcast that was
    // under way must not be forgotten before.
    params.tree.announce_for = ANNOUNCE_FOR;
    Routed::new(Box::new(overlay), Some(params), seed)
}

/// `{ok, [Action]}`, `dirty` with nothing done, or `{error, Why}`.
#[rustler::nif]
fn overlay_handle<'a>(
    env: Env<'a>,
    overlay: ResourceArc<OverlayResource>,
    now: u64,
    event: Term<'a>,
) -> NifResult<Term<'a>> {
    let event: EventTerm = event.decode().map_err(|_| Error::BadArg)?;
    let long = match &event {
        EventTerm::Received(_, bytes) | EventTerm::Broadcast(bytes) => {
            charge(env, (bytes.len() as u64 / 64).min(NORMAL_UNITS));
            bytes.len() >= DIRTY_BYTES
        }
        _ => false,
    };
    if long || lock(&overlay)?.links().is_some_and(|links| links.nodes() >= DIRTY_NODES) {
        return Ok(dirty().encode(env));
    }
    handle(env, &overlay, now, &event)
}

#[rustler::nif(schedule = "DirtyCpu")]
fn overlay_handle_dirty<'a>(
    env: Env<'a>,
    overlay: ResourceArc<OverlayResource>,
    now: u64,
    event: Term<'a>,
) -> NifResult<Term<'a>> {
    let event: EventTerm = event.decode().map_err(|_| Error::BadArg)?;
    handle(env, &overlay, now, &event)
}

fn handle<'a>(env: Env<'a>, overlay: &OverlayResource, now: u64, event: &EventTerm) -> NifResult<Term<'a>> {
    let event = match event_of(event) {
        Ok(event) => event,
        Err(refused) => return Ok(refused.term(env)),
    };
    let mut overlay = lock(overlay)?;
    let handled = overlay.handle(now, event);
    charge(env, overlay.take_work());
    match handled {
        Ok(actions) => {
            let terms: Vec<Term> = actions.iter().map(|action| action_term(env, action)).collect();
            Ok((ok(), terms).encode(env))
        }
        Err(refused) => Ok(refusal(env, refused)),
    }
}

/// A panic inside `handle` may have left half a change: the overlay is of no more use, its driver has to build a new one.
fn lock(overlay: &OverlayResource) -> NifResult<MutexGuard<'_, Routed>> {
    overlay.0.lock().map_err(|_| Error::RaiseTerm(Box::new(overlay_poisoned())))
}

/// The nodes to keep links to.
#[rustler::nif]
fn overlay_view(env: Env, overlay: ResourceArc<OverlayResource>) -> NifResult<Term> {
    let view = lock(&overlay)?.view();
    Ok(names_term(env, &view))
}

/// The nodes it may turn to.
#[rustler::nif]
fn overlay_reserve(env: Env, overlay: ResourceArc<OverlayResource>) -> NifResult<Term> {
    let reserve = lock(&overlay)?.overlay_state().reserve();
    Ok(names_term(env, &reserve))
}

/// The nodes on the way to another, it included; empty without a way.
#[rustler::nif(schedule = "DirtyCpu")]
fn overlay_path<'a>(env: Env<'a>, overlay: ResourceArc<OverlayResource>, target: Binary<'a>) -> NifResult<Term<'a>> {
    let Ok(target) = NodeId::new(&target) else { return Ok(names_term(env, &[])) };
    let path = lock(&overlay)?.links().map_or_else(Vec::new, |links| links.path(&target));
    Ok(names_term(env, &path))
}

/// `[{Node, [Neighbour]}]`, all nodes in reach, this one first.
#[rustler::nif(schedule = "DirtyCpu")]
fn overlay_graph(env: Env, overlay: ResourceArc<OverlayResource>) -> NifResult<Term> {
    let graph = lock(&overlay)?.links().map_or_else(Vec::new, topos_overlay::LinkState::graph);
    let rows = graph.iter().map(|(node, links)| (node_term(env, node), names_term(env, links)).encode(env));
    Ok(rows.collect::<Vec<Term>>().encode(env))
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

fn event_of(event: &EventTerm) -> Result<RoutedEvent, Unusable> {
    Ok(RoutedEvent::Overlay(match event {
        EventTerm::Joined(node) => Event::Joined(NodeId::new(node)?),
        EventTerm::Left(node) => Event::Left(NodeId::new(node)?),
        EventTerm::LinkUp(node) => Event::LinkUp(NodeId::new(node)?),
        EventTerm::LinkDown(node) => Event::LinkDown(NodeId::new(node)?),
        EventTerm::Met(node) => Event::Met(NodeId::new(node)?),
        EventTerm::Wanted(nodes) => {
            Event::Wanted(nodes.iter().map(|node| NodeId::new(node)).collect::<Result<_, _>>()?)
        }
        EventTerm::Received(from, bytes) => {
            let message = Message::decode(bytes).map_err(|why| Unusable::Message(why.to_string()))?;
            Event::Received { from: NodeId::new(from)?, message }
        }
        EventTerm::Tick => Event::Tick,
        EventTerm::Confirmed(node) => return Ok(RoutedEvent::Confirmed(NodeId::new(node)?)),
        EventTerm::Unconfirmed(node) => return Ok(RoutedEvent::Unconfirmed(NodeId::new(node)?)),
        EventTerm::Broadcast(bytes) => return Ok(RoutedEvent::Broadcast(bytes.as_slice().into())),
        EventTerm::LiveAgain(epoch) => return Ok(RoutedEvent::LiveAgain(*epoch)),
    }))
}

fn action_term<'a>(env: Env<'a>, action: &RoutedAction) -> Term<'a> {
    // An action costs a lookup or two besides its terms, well below a microsecond.
    charge(env, 20);
    match action {
        RoutedAction::Overlay(Action::Connect(node)) => (connect(), node_term(env, node)).encode(env),
        RoutedAction::Overlay(Action::Disconnect(node)) => (disconnect(), node_term(env, node)).encode(env),
        RoutedAction::Overlay(Action::SetView(view)) => (set_view(), names_term(env, view)).encode(env),
        RoutedAction::Overlay(Action::Send { to, message }) => {
            let bytes = message.encode();
            // Writing and copying take about a nanosecond a byte.
            charge(env, bytes.len() as u64 / 16);
            (send(), node_term(env, to), binary_term(env, &bytes)).encode(env)
        }
        RoutedAction::Overlay(Action::ScheduleTick(ms)) => (schedule_tick(), *ms).encode(env),
        RoutedAction::Broadcast { id, hops, payload } => {
            charge(env, payload.len() as u64 / 64);
            let origin = (node_term(env, &id.origin), id.epoch, id.number);
            (broadcast(), origin, *hops, binary_term(env, payload)).encode(env)
        }
        RoutedAction::Routes(all) => {
            charge(env, 16 * all.len() as u64);
            let row = |(node, route): &(NodeId, topos_overlay::link_state::Route)| {
                (node_term(env, node), node_term(env, &route.via), route.hops).encode(env)
            };
            (routes(), all.iter().map(row).collect::<Vec<Term>>()).encode(env)
        }
        RoutedAction::Lost(nodes) => (lost(), names_term(env, nodes)).encode(env),
    }
}

fn names_term<'a>(env: Env<'a>, names: &[NodeId]) -> Term<'a> {
    // The state machine copied the list, and each name becomes a binary: about 200 ns a member.
    charge(env, 8 * names.len() as u64);
    names.iter().map(|node| node_term(env, node)).collect::<Vec<_>>().encode(env)
}

fn node_term<'a>(env: Env<'a>, node: &NodeId) -> Term<'a> {
    binary_term(env, node.as_bytes())
}
