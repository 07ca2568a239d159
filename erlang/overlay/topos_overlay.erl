%% @doc The driver of the overlay: it tells the state machine in Rust (`topos_overlay_nif') what happened and carries out what
%% it decides by asking the engine for connections.
%%
%% It knows the addresses, the machine does not; nothing else is decided here.
-module(topos_overlay).
-behaviour(gen_server).

-export([start_link/0, joined/2, left/1, link/2, view/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-record(state, {
    overlay :: topos_overlay_nif:overlay(),
    start :: integer(),
    addresses = #{} :: #{node() => [topos_engine:address()]},
    tick = undefined :: reference() | undefined
}).
-type state() :: #state{}.

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc The node is to be connected to if the topology wants it. New addresses take the place of the old.
-spec joined(node(), [topos_engine:address()]) -> ok.
joined(Node, Addresses) -> gen_server:call(?MODULE, {joined, Node, Addresses}).

%% @doc The node is to be disconnected and forgotten.
-spec left(node()) -> ok.
left(Node) -> gen_server:call(?MODULE, {left, Node}).

%% @doc The transport to the node came up or went down.
-spec link(node(), up | down) -> ok.
link(Node, up) -> gen_server:cast(?MODULE, {event, {link_up, atom_to_binary(Node)}});
link(Node, down) -> gen_server:cast(?MODULE, {event, {link_down, atom_to_binary(Node)}}).

%% @doc The nodes that the topology wants connections to.
-spec view() -> [node()].
view() -> gen_server:call(?MODULE, view).

%% gen_server

-spec init([]) -> {ok, state()} | {stop, topos_error:t()}.
init([]) ->
    #{node := Node, topology := Topology, limits := #{max_members := Max}} = topos_local:config(),
    <<Seed:64>> = crypto:strong_rand_bytes(8),
    %% Candidates count as members of the overlay until they prove to be any.
    Params = #{own => atom_to_binary(Node), max_members => 2 * Max},
    case topos_overlay_nif:new(Topology, Params, Seed) of
        {ok, Overlay} -> {ok, #state{overlay = Overlay, start = erlang:monotonic_time(millisecond)}};
        {error, Error} -> {stop, Error}
    end.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, term(), state()}.
handle_call({joined, Node, Addresses}, _From, #state{addresses = All} = State) ->
    Known = State#state{addresses = All#{Node => Addresses}},
    ok = case All of
        #{Node := Old} when Old =/= Addresses -> (topos_local:engine()):connect(#{node => Node, addresses => Addresses});
        _ -> ok
    end,
    {reply, ok, event({joined, atom_to_binary(Node)}, Known)};
handle_call({left, Node}, _From, #state{addresses = All} = State) ->
    Left = event({left, atom_to_binary(Node)}, State#state{addresses = maps:remove(Node, All)}),
    %% The machine sees nothing to close while it waits to try again; the engine tries by itself until it is told.
    ok = (topos_local:engine()):disconnect(Node),
    {reply, ok, Left};
handle_call(view, _From, #state{overlay = Overlay} = State) ->
    {reply, [binary_to_existing_atom(Name) || Name <- topos_overlay_nif:view(Overlay)], State}.

-spec handle_cast({event, topos_overlay_nif:event()}, state()) -> {noreply, state()}.
handle_cast({event, Event}, State) -> {noreply, event(Event, State)}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({timeout, Tick, tick}, #state{tick = Tick} = State) -> {noreply, event(tick, State#state{tick = undefined})};
handle_info(_, State) -> {noreply, State}.

%% internal

-spec event(topos_overlay_nif:event(), state()) -> state().
event(Event, #state{overlay = Overlay, start = Start} = State) ->
    %% The machine's limit is above the cluster's, which is kept before; a refusal is a bug and ends this process.
    {ok, Actions} = topos_overlay_nif:handle(Overlay, erlang:monotonic_time(millisecond) - Start, Event),
    lists:foldl(fun action/2, State, Actions).

-spec action(topos_overlay_nif:action(), state()) -> state().
action({connect, Name}, #state{addresses = All} = State) ->
    Node = binary_to_existing_atom(Name),
    ok = (topos_local:engine()):connect(#{node => Node, addresses => maps:get(Node, All, [])}),
    State;
action({disconnect, Name}, State) ->
    ok = (topos_local:engine()):disconnect(binary_to_existing_atom(Name)),
    State;
action({set_view, _}, State) ->
    State;
action({schedule_tick, Ms}, #state{tick = Tick} = State) ->
    _ = case Tick of
        undefined -> false;
        _ -> erlang:cancel_timer(Tick)
    end,
    State#state{tick = erlang:start_timer(Ms, self(), tick)}.
