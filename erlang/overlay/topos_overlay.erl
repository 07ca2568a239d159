%% @doc The driver of the topology: it tells the state machine in Rust (`topos_overlay_nif') what happened and carries out what it
%% decides: connections are asked of the engine, messages go to the drivers of other nodes, routes to `topos_relay'.
%%
%% It knows the addresses, the machine does not. In a full mesh that is all: every member is connected to, and no driver has anything to
%% say. In the other topologies (`topos_overlay_links' keeps the books of links there):
%% <ul>
%% <li>The engine is asked for links to the machine's view, and for a while to nodes that a message is for and no route leads to. A link that
%%     carries messages both ways is <em>confirmed</em>; routes and the broadcast tree stand on confirmed links of the view.</li>
%% <li>Messages of machines are OVERLAY frames of the session with the peer, over a link or a route, on the control channel. They may be lost
%%     with a link; the machines' own time-outs and digests mend that. Bytes of a peer are checked by the library.</li>
%% <li>A member that is not up and has no route is dialled now and then, one at a time. So parts of a cluster that were
%%     separated find together, and a node that was started anew is found.</li>
%% </ul>
-module(topos_overlay).
-behaviour(gen_server).

-include("topos_frame.hrl").
-include_lib("kernel/include/logger.hrl").

-export([start_link/0, joined/2, dial/3, answer/2, left/1, link/2, status/2, live_again/1]).
-export([broadcast/1, view/0, reserve/0, path/1, graph/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-record(state, {
    kind :: topos_overlay_nif:kind(),
    overlay :: topos_overlay_nif:overlay(),
    start :: integer(),
    addresses = #{} :: #{node() => [topos_engine:address()]},
    tick = undefined :: reference() | undefined,
    %% The rest is of no use in a full mesh.
    links = topos_overlay_links:new() :: topos_overlay_links:t(),
    statuses = #{} :: #{node() => topos_cluster:status()},
    %% What waits for a link or for room, newest first.
    queues = #{} :: #{node() => [binary()]},
    look = undefined :: reference() | undefined,
    heal_at = 0 :: integer()
}).
-type state() :: #state{}.

%% How often links are looked at.
-define(LOOK, 100).
%% So soon again while something waits for room in the engine.
-define(RETRY, 5).
%% A link that was opened for a message is held so long.
-define(HOLD, 3_000).
-define(MAX_QUEUE, 256).
%% Between two attempts to reach members that are not up.
-define(HEAL_INTERVAL, 2_000).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> gen_server:start_link({local, ?TOPOS_DEST_PROCESS_OVERLAY}, ?MODULE, [], []).

%% @doc The node is a member. New addresses take the place of the old.
-spec joined(node(), [topos_engine:address()]) -> ok.
joined(Node, Addresses) -> gen_server:call(?MODULE, {joined, Node, Addresses}).

%% @doc As {@link joined/2}, and somebody waits for a link to the node for so many milliseconds.
-spec dial(node(), [topos_engine:address()], pos_integer()) -> ok.
dial(Node, Addresses, Time) -> gen_server:call(?MODULE, {dial, Node, Addresses, Time}).

%% @doc As {@link joined/2}; the node has connected to this one, and cannot be answered but by a link of our own.
-spec answer(node(), [topos_engine:address()]) -> ok.
answer(Node, Addresses) -> gen_server:call(?MODULE, {answer, Node, Addresses}).

%% @doc The node is to be disconnected and forgotten.
-spec left(node()) -> ok.
left(Node) -> gen_server:call(?MODULE, {left, Node}).

%% @doc The transport to the node came up or went down.
-spec link(node(), up | down) -> ok.
link(Node, Change) -> gen_server:cast(?MODULE, {link, Node, Change}).

%% @doc What the cluster takes the member for.
-spec status(node(), topos_cluster:status()) -> ok.
status(Node, Status) -> gen_server:cast(?MODULE, {status, Node, Status}).

%% @doc This node begins a new life.
-spec live_again(topos_incarnation:t()) -> ok.
live_again(Incarnation) -> gen_server:cast(?MODULE, {live_again, Incarnation}).

%% @doc Sends a record (`topos_frame') to all nodes along the broadcast tree. Each gets it at most once; one that stays connected gets
%% it. Two broadcasts may arrive in either order.
-spec broadcast(binary()) -> ok.
broadcast(Record) -> gen_server:call(?MODULE, {broadcast, Record}).

%% @doc The nodes that the topology wants connections to.
-spec view() -> [node()].
view() -> gen_server:call(?MODULE, view).

%% @doc The nodes that it may turn to when it loses one of these.
-spec reserve() -> [node()].
reserve() -> gen_server:call(?MODULE, reserve).

%% @doc The nodes on the way to another, that one the last; `[]' if none is known.
-spec path(node()) -> [node()].
path(Node) -> gen_server:call(?MODULE, {path, Node}).

%% @doc The nodes in reach and their neighbours; in a full mesh: of this node alone.
-spec graph() -> [{node(), [node()]}].
graph() -> gen_server:call(?MODULE, graph).

%% gen_server

-spec init([]) -> {ok, state()} | {stop, topos_error:t()}.
init([]) ->
    <<Seed:64>> = crypto:strong_rand_bytes(8),
    {Kind, Params} = parameters(topos_local:config()),
    ok = topos_relay:clear(),
    case topos_overlay_nif:new(Kind, Params, Seed) of
        {ok, Overlay} ->
            State = #state{kind = Kind, overlay = Overlay, start = now_ms()},
            ok = case Kind of full_mesh -> ok; _ -> topos_link:routes_changed(all) end,
            Known = lists:foldl(fun(Node, Acc) -> transport(Node, up, Acc) end, State, topos_link:transports()),
            {ok, looking(?LOOK, Known)};
        {error, Error} ->
            {stop, Error}
    end.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, term(), state()}.
handle_call({joined, Node, Addresses}, _From, State) ->
    {reply, ok, add(Node, Addresses, State)};
handle_call({dial, Node, Addresses, Time}, _From, State) ->
    {reply, ok, hold(Node, {firm, now_ms() + Time}, add(Node, Addresses, State))};
handle_call({answer, Node, Addresses}, _From, State) ->
    Known = add(Node, Addresses, State),
    case topos_relay:is_routed(Node) of
        true -> {reply, ok, Known};
        false -> {reply, ok, hold(Node, {once, now_ms() + ?HOLD}, Known)}
    end;
handle_call({left, Node}, _From, #state{addresses = All, links = Links, queues = Queues, statuses = Statuses} = State) ->
    Left = event({left, atom_to_binary(Node)}, State#state{addresses = maps:remove(Node, All)}),
    %% The machine sees nothing to close while it waits to try again; the engine tries by itself until it is told.
    ok = (topos_local:engine()):disconnect(Node),
    {reply, ok, Left#state{
        links = topos_overlay_links:drop(Node, Links), queues = maps:remove(Node, Queues), statuses = maps:remove(Node, Statuses)
    }};
handle_call({broadcast, Record}, _From, State) ->
    {reply, ok, event({broadcast, Record}, State)};
handle_call(view, _From, #state{overlay = Overlay} = State) ->
    {reply, atoms(topos_overlay_nif:view(Overlay)), State};
handle_call(reserve, _From, #state{overlay = Overlay} = State) ->
    {reply, atoms(topos_overlay_nif:reserve(Overlay)), State};
handle_call({path, Node}, _From, #state{kind = full_mesh, overlay = Overlay} = State) ->
    {reply, [Node || lists:member(atom_to_binary(Node), topos_overlay_nif:view(Overlay))], State};
handle_call({path, Node}, _From, #state{overlay = Overlay} = State) ->
    {reply, atoms(topos_overlay_nif:path(Overlay, atom_to_binary(Node))), State};
handle_call(graph, _From, #state{kind = full_mesh, overlay = Overlay} = State) ->
    {reply, [{topos_local:config(node), atoms(topos_overlay_nif:view(Overlay))}], State};
handle_call(graph, _From, #state{overlay = Overlay} = State) ->
    {reply, [{Node, atoms(Neighbours)} || {Name, Neighbours} <- topos_overlay_nif:graph(Overlay), Node <- atoms([Name])], State}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast({link, Node, Change}, State) -> {noreply, transport(Node, Change, State)};
handle_cast({status, Node, Status}, State) -> {noreply, status(Node, Status, State)};
handle_cast({live_again, Incarnation}, State) -> {noreply, event({live_again, Incarnation}, State)}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({topos, _Version, _Epoch, Bytes}, State) ->
    {noreply, frame(topos_frame:decode(Bytes), State)};
handle_info({event, Event}, State) ->
    {noreply, event(Event, State)};
handle_info({timeout, Tick, tick}, #state{tick = Tick} = State) ->
    {noreply, event(tick, State#state{tick = undefined})};
handle_info({timeout, Look, look}, #state{look = Look} = State) ->
    Sent = maps:fold(fun(Node, _, Acc) -> flush(Node, Acc) end, State, State#state.queues),
    Looked = heal(books(fun(Now, Links) -> topos_overlay_links:tick(Now, questions(Sent), Links, all) end, Sent)),
    Waits = lists:any(fun(Node) -> is_up(Node) end, maps:keys(Looked#state.queues)),
    {noreply, looking(case Waits of true -> ?RETRY; false -> ?LOOK end, Looked)};
handle_info(_, State) ->
    {noreply, State}.

%% internal: the machine

-spec parameters(topos_config:t()) -> {topos_overlay_nif:kind(), topos_overlay_nif:params()}.
parameters(#{node := Node, topology := Topology, limits := #{max_members := Max}}) ->
    %% Candidates count as members of the overlay until they prove to be any.
    Common = #{own => atom_to_binary(Node), max_members => 2 * Max},
    case Topology of
        full_mesh ->
            {full_mesh, Common};
        #{type := hyparview} ->
            Known = maps:merge(Common, maps:remove(type, Topology)),
            {hyparview, Known#{epoch => topos_local:incarnation()}};
        #{type := client_server, hubs := Hubs} ->
            Known = maps:merge(Common, maps:remove(type, Topology)),
            {client_server, Known#{epoch => topos_local:incarnation(), hubs := [atom_to_binary(Hub) || Hub <- Hubs]}}
    end.

-spec event(topos_overlay_nif:event(), state()) -> state().
event(Event, #state{overlay = Overlay, start = Start} = State) ->
    case topos_overlay_nif:handle(Overlay, now_ms() - Start, Event) of
        {ok, Actions} ->
            lists:foldl(fun action/2, State, Actions);
        {error, Error} when element(1, Event) =:= received ->
            ?LOG_WARNING("topos_partisan: ~ts", [topos_error:format(Error)]),
            ok = topos_local:count(malformed_frames),
            State
        %% The machine's limit is above the cluster's, which is kept before: another refusal is a bug and ends this process.
    end.

-spec action(topos_overlay_nif:action(), state()) -> state().
action({connect, Name}, #state{kind = full_mesh} = State) ->
    ok = connect(binary_to_existing_atom(Name), State),
    State;
action({connect, Name}, State) ->
    case known(Name, State) of
        {ok, Node} -> answering(Node, books(fun(Now, Links) -> topos_overlay_links:want(Node, Now, Links) end, State));
        unknown -> later({link_down, Name}, State)
    end;
action({disconnect, Name}, #state{kind = full_mesh} = State) ->
    ok = (topos_local:engine()):disconnect(binary_to_existing_atom(Name)),
    State;
action({disconnect, Name}, State) ->
    case known(Name, State) of
        {ok, Node} -> books(fun(Now, Links) -> topos_overlay_links:unwant(Node, Now, Links) end, State);
        unknown -> State
    end;
action({set_view, _}, State) ->
    State;
action({send, Name, Bytes}, State) ->
    case known(Name, State) of
        {ok, Node} -> send(Node, Bytes, State);
        unknown -> later({link_down, Name}, State)
    end;
action({schedule_tick, Ms}, #state{tick = Tick} = State) ->
    _ = case Tick of
        undefined -> false;
        _ -> erlang:cancel_timer(Tick)
    end,
    State#state{tick = erlang:start_timer(Ms, self(), tick)};
action({broadcast, {Origin, Epoch, _}, _Hops, Record}, State) ->
    ok = case known(Origin, State) of
        {ok, Node} -> delivered(topos_delivery:deliver({Node, Epoch}, Record));
        unknown -> ok
    end,
    State;
action({routes, Routes}, State) ->
    ok = topos_relay:set_routes([{Name, binary_to_existing_atom(Via), Hops} || {Name, Via, Hops} <- Routes], []),
    ok = topos_link:routes_changed([Name || {Name, _, _} <- Routes]),
    State;
action({lost, Names}, State) ->
    ok = topos_relay:set_routes([], Names),
    ok = topos_link:routes_changed(Names),
    State.

%% Events that follow from an action come after the actions beside it.
-spec later(topos_overlay_nif:event(), state()) -> state().
later(Event, State) ->
    self() ! {event, Event},
    State.

-spec delivered(ok | {error, topos_delivery:reason()}) -> ok.
delivered(ok) -> topos_local:count(delivered);
delivered({error, _}) -> topos_local:count(undeliverable).

%% Names in messages of peers become no atoms: the cluster made one of each member's.
-spec known(topos_overlay_nif:name(), state()) -> {ok, node()} | unknown.
known(Name, #state{addresses = All}) ->
    try binary_to_existing_atom(Name) of
        Node when is_map_key(Node, All) -> {ok, Node};
        _ -> unknown
    catch
        error:badarg -> unknown
    end.

-spec atoms([topos_overlay_nif:name()]) -> [node()].
atoms(Names) ->
    lists:flatmap(
        fun(Name) ->
            try
                [binary_to_existing_atom(Name)]
            catch
                error:badarg -> []
            end
        end, Names).

%% internal: links

-spec add(node(), [topos_engine:address()], state()) -> state().
add(Node, Addresses, #state{addresses = All, links = Links, kind = Kind} = State) ->
    Known = State#state{addresses = All#{Node => Addresses}},
    Asked = Kind =:= full_mesh orelse topos_overlay_links:is_asked(Node, Links),
    ok = case All of
        #{Node := Old} when Old =/= Addresses, Asked -> connect(Node, Known);
        _ -> ok
    end,
    event({joined, atom_to_binary(Node)}, Known).

-spec connect(node(), state()) -> ok.
connect(Node, #state{addresses = All}) ->
    (topos_local:engine()):connect(#{node => Node, addresses => maps:get(Node, All, [])}).

-spec hold(node(), {firm | once, integer()}, state()) -> state().
hold(_Node, _How, #state{kind = full_mesh} = State) -> State;
hold(Node, How, State) -> answering(Node, books(fun(Now, Links) -> topos_overlay_links:hold(Node, How, Now, Links) end, State)).

-spec transport(node(), up | down, state()) -> state().
transport(Node, up, #state{kind = full_mesh} = State) -> event({link_up, atom_to_binary(Node)}, State);
transport(Node, down, #state{kind = full_mesh} = State) -> event({link_down, atom_to_binary(Node)}, State);
transport(Node, Change, State) ->
    answering(Node, books(fun(Now, Links) -> topos_overlay_links:transport(Node, Change, Now, Links) end, State)).

%% A link that was not known until now learns whether the peer answers: it may be up over others.
-spec answering(node(), state()) -> state().
answering(Node, State) ->
    books(fun(Now, Links) -> topos_overlay_links:answers(Node, is_up(Node), Now, Links) end, State).

-spec status(node(), topos_cluster:status(), state()) -> state().
status(_, _, #state{kind = full_mesh} = State) ->
    State;
status(Node, Status, #state{statuses = Statuses} = State) ->
    Known = State#state{statuses = Statuses#{Node => Status}},
    Answers = fun(How) -> books(fun(Now, Links) -> topos_overlay_links:answers(Node, How, Now, Links) end, Known) end,
    case Status of
        up -> flush(Node, Answers(true));
        %% Silence may end; a session that has to be opened anew is not confirmed until the peer is up again.
        suspect -> Known;
        down -> Answers(failed);
        _ -> Answers(false)
    end.

-spec is_up(node()) -> boolean().
is_up(Node) ->
    case topos_link:status(Node) of
        {Status, _} -> Status =:= up;
        unknown -> false
    end.

-spec books(fun((integer(), topos_overlay_links:t()) -> {topos_overlay_links:t(), [topos_overlay_links:effect()]}), state()) -> state().
books(Change, #state{links = Links} = State) ->
    {Changed, Effects} = Change(now_ms(), Links),
    lists:foldl(fun effect/2, State#state{links = Changed}, Effects).

-spec effect(topos_overlay_links:effect(), state()) -> state().
effect({connect, Node}, State) ->
    ok = connect(Node, State),
    State;
effect({disconnect, Node}, #state{queues = Queues} = State) ->
    ok = (topos_local:engine()):disconnect(Node),
    State#state{queues = maps:remove(Node, Queues)};
effect({confirmed, Node}, State) ->
    Name = atom_to_binary(Node),
    Confirmed = event({confirmed, Name}, event({link_up, Name}, State)),
    %% A link without a way beside it is one to another part of the cluster.
    Met = case lists:member(Name, topos_overlay_nif:view(State#state.overlay)) orelse topos_relay:route(Node) =/= error of
        true -> Confirmed;
        false -> event({met, Name}, Confirmed)
    end,
    flush(Node, Met);
effect({unconfirmed, Node}, State) ->
    event({unconfirmed, atom_to_binary(Node)}, State);
effect({down, Node}, #state{queues = Queues} = State) ->
    later({link_down, atom_to_binary(Node)}, State#state{queues = maps:remove(Node, Queues)}).

-spec questions(state()) -> #{keep := fun((node()) -> boolean()), failed := fun((node()) -> boolean())}.
questions(_State) ->
    #{
        keep => fun(Node) -> is_up(Node) andalso topos_relay:route(Node) =:= error end,
        failed => fun(Node) -> (topos_local:engine()):failure(Node) =/= none end
    }.

-spec looking(pos_integer(), state()) -> state().
looking(_, #state{kind = full_mesh} = State) -> State;
looking(Ms, State) -> State#state{look = erlang:start_timer(Ms, self(), look)}.

%% One of the members that are not up and that no way leads to.
-spec heal(state()) -> state().
heal(#state{kind = full_mesh} = State) ->
    State;
heal(#state{heal_at = At, statuses = Statuses, links = Links} = State) ->
    case now_ms() of
        Now when Now >= At ->
            Lost = [Node || {Node, Status} <- maps:to_list(Statuses), Status =:= down orelse Status =:= joining,
                            not topos_overlay_links:is_asked(Node, Links), not topos_relay:is_routed(Node)],
            Next = State#state{heal_at = Now + ?HEAL_INTERVAL div 2 + rand:uniform(?HEAL_INTERVAL)},
            case Lost of
                [] -> Next;
                _ -> hold(lists:nth(rand:uniform(length(Lost)), Lost), {once, Now + ?HOLD}, Next)
            end;
        _ ->
            State
    end.

%% internal: messages

-spec send(node(), binary(), state()) -> state().
send(Node, Bytes, #state{queues = Queues} = State) ->
    case Queues of
        #{Node := Waiting} when length(Waiting) >= ?MAX_QUEUE ->
            ?LOG_WARNING("topos_partisan: messages of the topology to ~ts are lost: ~b wait already", [Node, ?MAX_QUEUE]),
            later({link_down, atom_to_binary(Node)}, State#state{queues = maps:remove(Node, Queues)});
        #{Node := Waiting} ->
            State#state{queues = Queues#{Node := [Bytes | Waiting]}};
        _ ->
            case is_up(Node) andalso send_now(Node, Bytes) of
                ok ->
                    State;
                overloaded ->
                    State#state{queues = Queues#{Node => [Bytes]}};
                _ ->
                    hold(Node, {once, now_ms() + ?HOLD}, State#state{queues = Queues#{Node => [Bytes]}})
            end
    end.

-spec send_now(node(), binary()) -> ok | overloaded | not_connected.
send_now(Node, Bytes) ->
    case topos_relay:send_control(Node, ?TOPOS_DEST_PROCESS_OVERLAY, ?TOPOS_FRAME_OVERLAY, Bytes) of
        ok -> ok;
        {error, overloaded} -> overloaded;
        {error, _} -> not_connected
    end.

-spec flush(node(), state()) -> state().
flush(Node, #state{queues = Queues} = State) ->
    case Queues of
        #{Node := Waiting} ->
            case is_up(Node) of
                true -> flush(Node, lists:reverse(Waiting), State);
                false -> State
            end;
        _ ->
            State
    end.

-spec flush(node(), [binary()], state()) -> state().
flush(Node, [], #state{queues = Queues} = State) ->
    State#state{queues = maps:remove(Node, Queues)};
flush(Node, [Bytes | Rest] = Waiting, #state{queues = Queues} = State) ->
    case send_now(Node, Bytes) of
        ok -> flush(Node, Rest, State);
        _ -> State#state{queues = Queues#{Node := lists:reverse(Waiting)}}
    end.

-spec frame({ok, topos_frame:t()} | {error, term()}, state()) -> state().
frame({ok, #{kind := ?TOPOS_FRAME_OVERLAY, payload := Payload} = Frame}, State) ->
    case topos_lanes:is_genuine(Frame) of
        {true, {Node, _}} when is_map_key(Node, State#state.addresses) ->
            event({received, atom_to_binary(Node), Payload}, State);
        _ ->
            ok = topos_local:count(refused_frames),
            State
    end;
frame(_, State) ->
    ok = topos_local:count(malformed_frames),
    State.

-spec now_ms() -> integer().
now_ms() -> erlang:monotonic_time(millisecond).
