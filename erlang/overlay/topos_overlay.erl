%% @doc The driver of the topology: it tells the state machine in Rust (`topos_overlay_nif') what happened and carries
%% out what it decides: connections are asked of the engine, messages go to the drivers of other nodes, routes to
%% `topos_relay'.
%%
%% It knows the addresses, the machine does not. In a full mesh that is all: every member is connected to, and no driver
%% has anything to say. In the other topologies (`topos_overlay_links' keeps the books of links there):
%% <ul>
%% <li>The engine is asked for links to the machine's view, and for a while to nodes that a message is for and no route
%%     leads to. A link that carries messages both ways is <em>confirmed</em>; routes and the broadcast tree stand on
%%     confirmed links of the view.</li>
%% <li>Messages of machines are OVERLAY frames of the session with the peer, over a link or a route, on the control
%%     channel. They may be lost with a link; the machines' own time-outs and digests mend that. Bytes of a peer are
%%     checked by the library.</li>
%% <li>A member that is not up and has no route is dialled now and then, one at a time. So parts of a cluster that were
%%     separated find together, and a node that was started anew is found.</li>
%% </ul>
%%
%% == Two machines ==
%% While `topos_switch' switches the topology there is a second machine, first the one that gets ready, then the one that is left behind. Links
%% are kept for both. What is sent goes by the <em>active</em> one; where that knows no way, by the one that was active before. A full
%% mesh beside another machine has books of links like that one.
-module(topos_overlay).
-behaviour(gen_server).

-include("topos_frame.hrl").
-include_lib("kernel/include/logger.hrl").

-export([start_link/0, joined/2, dial/3, answer/2, left/1, link/2, status/2, confirmed/1, live_again/1]).
-export([broadcast/1, view/0, reserve/0, path/1, graph/0, handler_error/0]).
%% For `topos_switch'.
-export([start_machine/2, activate/2, drop/1, release/1, redial/0, missing/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

%% The machine that gets ready, who is told how far it is, what was told, and when it is helped again.
-record(next, {
    tag :: topos_overlay_machine:tag(),
    owner :: pid(),
    told = nothing :: nothing | ready | {waiting, [node()]},
    mend_at :: integer()
}).
-record(state, {
    machines :: #{topos_overlay_machine:tag() => topos_overlay_machine:t()},
    active :: topos_overlay_machine:tag(),
    %% Whose routes are used where the active one has none.
    before = none :: none | topos_overlay_machine:tag(),
    next = none :: none | #next{},
    addresses = #{} :: #{node() => [topos_engine:address()]},
    statuses = #{} :: #{node() => topos_cluster:status()},
    %% A full mesh alone: the rest is of no use.
    plain :: boolean(),
    links = topos_overlay_links:new() :: topos_overlay_links:t(),
    %% What waits for a link or for room, newest first.
    queues = #{} :: #{node() => [binary()]},
    %% Messages for a machine that is not there yet, newest first.
    early = [] :: [{topos_overlay_machine:tag(), node(), binary()}],
    look = undefined :: reference() | undefined,
    heal_at :: integer()
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
%% So long the machine beside the active one has to reach all by itself; then it is shown one more node, again and again.
-define(MEND_INTERVAL, 500).
%% What messages of `topos_swim' begin with.
-define(SWIM, <<255, "swim", 0, 0, 0>>).
-define(MAX_EARLY, 512).
-define(MAX_EARLY_BYTES, 16_384).

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

%% @doc The first echo of a session came back, or the first since the transport did: what was sent before may be lost.
-spec confirmed(node()) -> ok.
confirmed(Node) -> gen_server:cast(?MODULE, {confirmed, Node}).

%% @doc What the cluster takes the member for.
-spec status(node(), topos_cluster:status()) -> ok.
status(Node, Status) -> gen_server:cast(?MODULE, {status, Node, Status}).

%% @doc This node begins a new life.
-spec live_again(topos_incarnation:t()) -> ok.
live_again(Incarnation) -> gen_server:cast(?MODULE, {live_again, Incarnation}).

%% @doc Sends a record (`topos_frame') to all nodes along the broadcast tree. Each gets it at most once; one that stays
%% connected gets it. Two broadcasts may arrive in either order.
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

%% @doc Why the handler of a custom topology failed when it was asked last.
-spec handler_error() -> none | topos_error:t().
handler_error() -> gen_server:call(?MODULE, handler_error).

%% @doc Starts a machine beside the active one. The caller receives `{topos_overlay, Epoch, ready | {waiting, [node()]}}' when what it reaches
%% of the members that are up has changed.
-spec start_machine(topos_switch_core:epoch(), topos_config_topology:t()) -> ok | {error, topos_error:t()}.
start_machine(Epoch, Topology) -> gen_server:call(?MODULE, {start_machine, Epoch, Topology}).

%% @doc Sends by this machine from now on; it is started if it is not there. The one before stays.
-spec activate(topos_switch_core:epoch(), topos_config_topology:t()) -> ok.
activate(Epoch, Topology) -> gen_server:call(?MODULE, {activate, Epoch, Topology}).

%% @doc Stops a machine that is not active, and lets go of the links that only it wanted.
-spec drop(topos_switch_core:epoch()) -> ok.
drop(Epoch) -> gen_server:call(?MODULE, {drop, Epoch}).

%% @doc Stops all machines but this one, as {@link drop/1}.
-spec release(topos_switch_core:epoch()) -> ok.
release(Epoch) -> gen_server:call(?MODULE, {release, Epoch}).

%% @doc Dials the nodes that the topology wants links to and has none, now; their names.
-spec redial() -> [node()].
redial() -> gen_server:call(?MODULE, redial).

%% @doc The nodes that the topology wants links to and has none.
-spec missing() -> [node()].
missing() -> gen_server:call(?MODULE, missing).

%% gen_server

-spec init([]) -> {ok, state()} | {stop, topos_error:t()}.
init([]) ->
    ok = topos_relay:clear(),
    Epoch = topos_local:topology_epoch(),
    case topos_overlay_machine:new(Epoch, topos_local:config(), now_ms()) of
        {ok, Machine} ->
            Tag = topos_overlay_machine:tag(Epoch),
            Plain = topos_overlay_machine:kind(Machine) =:= full_mesh,
            State = #state{machines = #{Tag => Machine}, active = Tag, plain = Plain, heal_at = now_ms()},
            ok = case Plain of true -> ok; false -> topos_link:routes_changed(all) end,
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
handle_call({left, Node}, _From, #state{addresses = All} = State) ->
    Left = event({left, atom_to_binary(Node)}, State#state{addresses = maps:remove(Node, All)}),
    #state{links = Links, queues = Queues, statuses = Statuses} = Left,
    %% The machine sees nothing to close while it waits to try again; the engine tries by itself until it is told.
    ok = (topos_local:engine()):disconnect(Node),
    {reply, ok, Left#state{
        machines = maps:map(fun(_, Machine) -> topos_overlay_machine:unwant(Node, Machine) end, Left#state.machines),
        links = topos_overlay_links:drop(Node, Links), queues = maps:remove(Node, Queues), statuses = maps:remove(Node, Statuses)
    }};
handle_call({broadcast, Record}, _From, #state{active = Tag} = State) ->
    {reply, ok, event({broadcast, Record}, Tag, State)};
handle_call(view, _From, State) ->
    {reply, atoms(topos_overlay_machine:view(active(State))), State};
handle_call(reserve, _From, State) ->
    {reply, atoms(topos_overlay_machine:reserve(active(State))), State};
handle_call({path, Node}, _From, #state{links = Links} = State) ->
    Path = case atoms(topos_overlay_machine:path(atom_to_binary(Node), active(State))) of
        %% A link that is no part of the topology, such as that of a node which is joining.
        [] -> [Node || topos_overlay_links:is_direct(Node, Links)];
        Known -> Known
    end,
    {reply, Path, State};
handle_call(graph, _From, State) ->
    Graph = topos_overlay_machine:graph(active(State)),
    {reply, [{Node, atoms(Neighbours)} || {Name, Neighbours} <- Graph, Node <- atoms([Name])], State};
handle_call({start_machine, Epoch, Topology}, {Owner, _}, State) ->
    case start_machine(Epoch, Topology, ready, Owner, State) of
        {ok, Started} -> {reply, ok, Started};
        {error, _} = Error -> {reply, Error, State}
    end;
handle_call({activate, Epoch, Topology}, {Owner, _}, #state{machines = Machines} = State) ->
    case is_map_key(topos_overlay_machine:tag(Epoch), Machines) of
        true ->
            {reply, ok, activate(Epoch, Topology, State)};
        false ->
            %% What all others do this node can do: it has the same library, and they checked the topology. A handler that does not work here
            %% leaves it to the others to link to this node.
            {ok, Started} = start_machine(Epoch, Topology, later, Owner, State),
            {reply, ok, activate(Epoch, Topology, Started)}
    end;
handle_call({drop, Epoch}, _From, #state{active = Active} = State) ->
    case topos_overlay_machine:tag(Epoch) of
        Tag when Tag =/= Active -> {reply, ok, stop_machine(Tag, State)}
    end;
handle_call({release, Epoch}, _From, #state{active = Active, machines = Machines} = State) ->
    Active = topos_overlay_machine:tag(Epoch),
    {reply, ok, lists:foldl(fun stop_machine/2, State, maps:keys(Machines) -- [Active])};
handle_call(handler_error, _From, State) ->
    {reply, topos_overlay_machine:handler_error(active(State)), State};
handle_call(missing, _From, State) ->
    {reply, missing(State), State};
handle_call(redial, _From, State) ->
    Missing = missing(State),
    ok = lists:foreach(fun(Node) -> connect(Node, State) end, Missing),
    {reply, Missing, State}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast({link, Node, Change}, State) -> {noreply, transport(Node, Change, State)};
handle_cast({status, Node, Status}, State) -> {noreply, status(Node, Status, State)};
handle_cast({confirmed, Node}, State) -> {noreply, renewed(Node, State)};
handle_cast({live_again, Incarnation}, State) -> {noreply, event({live_again, Incarnation}, State)}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({topos, _Version, _Epoch, Bytes}, State) ->
    {noreply, frame(topos_frame:decode(Bytes), State)};
handle_info({event, all, Event}, State) ->
    {noreply, event(Event, State)};
handle_info({event, Tag, Event}, State) ->
    {noreply, event(Event, Tag, State)};
handle_info({timeout, Tick, {tick, Tag}}, #state{machines = Machines} = State) ->
    case Machines of
        #{Tag := Machine} ->
            case topos_overlay_machine:is_tick(Tick, Machine) of
                true -> {noreply, event(tick, Tag, put_machine(Tag, topos_overlay_machine:ticking(undefined, Machine), State))};
                false -> {noreply, State}
            end;
        _ ->
            {noreply, State}
    end;
handle_info({timeout, Look, look}, #state{look = Look} = Before) ->
    State = ask_handlers(Before),
    Sent = maps:fold(fun(Node, _, Acc) -> flush(Node, Acc) end, State, State#state.queues),
    Looked = heal(books(fun(Now, Links) -> topos_overlay_links:tick(Now, questions(Sent), Links) end, all, Sent)),
    Waits = lists:any(fun(Node) -> is_up(Node) end, maps:keys(Looked#state.queues)),
    {noreply, looking(case Waits of true -> ?RETRY; false -> ?LOOK end, report(Looked))};
handle_info({'DOWN', Ref, process, _, Reason}, #state{machines = Machines} = State) ->
    {noreply, lists:foldl(fun(Tag, Acc) -> handler_answered({Ref, Reason}, Tag, Acc) end, State, maps:keys(Machines))};
handle_info(_, State) ->
    {noreply, State}.

%% internal: handlers of custom topologies

-spec ask_handlers(state()) -> state().
ask_handlers(#state{machines = Machines, statuses = Statuses} = State) ->
    Up = [Node || {Node, Status} <- maps:to_list(Statuses), Status =:= up orelse Status =:= suspect],
    Members = lists:usort([topos_local:config(node) | Up]),
    State#state{machines = maps:map(fun(_, Machine) -> topos_overlay_machine:ask_handler(now_ms(), Members, Machine) end, Machines)}.

-spec handler_answered({reference(), term()}, topos_overlay_machine:tag(), state()) -> state().
handler_answered(Down, Tag, #state{machines = Machines} = State) ->
    Machine = maps:get(Tag, Machines),
    case topos_overlay_machine:handler_answered(Down, now_ms(), Machine) of
        {wanted, Nodes, Next} ->
            event({wanted, [atom_to_binary(Node) || Node <- Nodes]}, Tag, put_machine(Tag, Next, State));
        {failed, Error, Next} ->
            %% Told once, however often it is tried again.
            ok = case topos_overlay_machine:handler_error(Machine) of
                Error -> ok;
                _ -> ?LOG_WARNING("topos_partisan: ~ts", [topos_error:format(Error)])
            end,
            put_machine(Tag, Next, State);
        none ->
            State
    end.

%% internal: machines

-spec active(state()) -> topos_overlay_machine:t().
active(#state{active = Tag, machines = Machines}) -> maps:get(Tag, Machines).

-spec put_machine(topos_overlay_machine:tag(), topos_overlay_machine:t(), state()) -> state().
put_machine(Tag, Machine, #state{machines = Machines} = State) -> State#state{machines = Machines#{Tag => Machine}}.

-spec change(topos_overlay_machine:tag(), fun((topos_overlay_machine:t()) -> topos_overlay_machine:t()), state()) -> state().
change(Tag, Change, #state{machines = Machines} = State) -> State#state{machines = maps:update_with(Tag, Change, Machines)}.

%% What all machines are told.
-spec event(topos_overlay_nif:event(), state()) -> state().
event(Event, #state{machines = Machines} = State) ->
    lists:foldl(fun(Tag, Acc) -> event(Event, Tag, Acc) end, State, maps:keys(Machines)).

-spec event(topos_overlay_nif:event(), topos_overlay_machine:tag(), state()) -> state().
event(Event, Tag, #state{machines = Machines} = State) when is_map_key(Tag, Machines) ->
    case topos_overlay_machine:handle(Event, now_ms(), maps:get(Tag, Machines)) of
        {ok, Actions} ->
            lists:foldl(fun(Action, Acc) -> action(Action, Tag, Acc) end, State, Actions);
        {error, Error} when element(1, Event) =:= received ->
            ?LOG_WARNING("topos_partisan: ~ts", [topos_error:format(Error)]),
            ok = topos_local:count(malformed_frames),
            State
        %% The machine's limit is above the cluster's, which is kept before: another refusal is a bug and ends this process.
    end;
event(_, _, State) ->
    %% It was stopped meanwhile.
    State.

-spec action(topos_overlay_nif:action(), topos_overlay_machine:tag(), state()) -> state().
action({connect, Name}, _Tag, #state{plain = true} = State) ->
    ok = connect(binary_to_existing_atom(Name), State),
    State;
action({connect, Name}, Tag, State) ->
    case known(Name, State) of
        {ok, Node} -> want(Node, Tag, State);
        unknown -> later({link_down, Name}, Tag, State)
    end;
action({disconnect, Name}, _Tag, #state{plain = true} = State) ->
    ok = (topos_local:engine()):disconnect(binary_to_existing_atom(Name)),
    State;
action({disconnect, Name}, Tag, State) ->
    case known(Name, State) of
        {ok, Node} -> unwant(Node, change(Tag, fun(Machine) -> topos_overlay_machine:unwant(Node, Machine) end, State));
        unknown -> State
    end;
action({set_view, _}, _Tag, State) ->
    State;
action({send, Name, Bytes}, Tag, State) ->
    case known(Name, State) of
        {ok, Node} -> send(Node, <<Tag/binary, Bytes/binary>>, State);
        unknown -> later({link_down, Name}, Tag, State)
    end;
action({schedule_tick, Ms}, Tag, State) ->
    Tick = erlang:start_timer(Ms, self(), {tick, Tag}),
    change(Tag, fun(Machine) -> topos_overlay_machine:ticking(Tick, Machine) end, State);
action({broadcast, {Origin, Epoch, _}, _Hops, Record}, _Tag, State) ->
    ok = case known(Origin, State) of
        {ok, Node} -> delivered(topos_delivery:deliver({Node, Epoch}, Record));
        unknown -> ok
    end,
    State;
action({routes, Routes}, Tag, State) ->
    New = [{Name, binary_to_existing_atom(Via), Hops} || {Name, Via, Hops} <- Routes],
    routed(New, [], Tag, State);
action({lost, Names}, Tag, State) ->
    routed([], Names, Tag, State).

%% What the relay is told: the ways of the active machine, and where it has none those of the one before.
-spec routed([{topos_overlay_nif:name(), node(), pos_integer()}], [topos_overlay_nif:name()], topos_overlay_machine:tag(), state()) ->
    state().
routed(New, Lost, Tag, State) ->
    Changed = change(Tag, fun(Machine) -> topos_overlay_machine:routed(New, Lost, Machine) end, State),
    ok = case Changed of
        #state{next = #next{tag = Tag}} -> ok;
        _ -> publish([Name || {Name, _, _} <- New] ++ Lost, Changed)
    end,
    Changed.

-spec publish([topos_overlay_nif:name()], state()) -> ok.
publish([], _) ->
    ok;
publish(Names, #state{before = Before, machines = Machines} = State) ->
    Sources = [active(State) | [maps:get(Before, Machines) || Before =/= none]],
    Ways = [{Name, [Way || Source <- Sources, {ok, Way} <- [topos_overlay_machine:route(Name, Source)]]} || Name <- Names],
    ok = topos_relay:set_routes([{Name, Via, Hops} || {Name, [{Via, Hops} | _]} <- Ways], [Name || {Name, []} <- Ways]),
    topos_link:routes_changed(Names).

%% internal: two machines

-spec start_machine(topos_switch_core:epoch(), topos_config_topology:t(), ready | later, pid(), state()) ->
    {ok, state()} | {error, topos_error:t()}.
start_machine(Epoch, Topology, How, Owner, #state{next = none, addresses = All} = State) ->
    Tag = topos_overlay_machine:tag(Epoch),
    case topos_overlay_machine:new(Epoch, (topos_local:config())#{topology := Topology}, now_ms(), How) of
        {ok, Machine} ->
            Next = #next{tag = Tag, owner = Owner, mend_at = now_ms() + ?MEND_INTERVAL},
            Booked = put_machine(Tag, Machine, with_books(State#state{next = Next})),
            Told = lists:foldl(fun(Node, Acc) -> introduce(Node, Tag, Acc) end, Booked, maps:keys(All)),
            {Ours, Others} = lists:partition(fun({For, _, _}) -> For =:= Tag end, Told#state.early),
            Heard = lists:foldr(
                fun({_, Node, Bytes}, Acc) -> event({received, atom_to_binary(Node), Bytes}, Tag, Acc) end,
                Told#state{early = Others}, Ours),
            {ok, Heard};
        {error, _} = Error ->
            Error
    end.

%% A machine that begins late is told what is.
-spec introduce(node(), topos_overlay_machine:tag(), state()) -> state().
introduce(Node, Tag, #state{links = Links} = State) ->
    Joined = joined(Node, Tag, State),
    case topos_overlay_links:is_confirmed(Node, Links) of
        true -> effect({confirmed, Node}, [Tag], Joined);
        false -> Joined
    end.

%% A full mesh alone has no books; beside another machine it has, and wants every member.
-spec with_books(state()) -> state().
with_books(#state{plain = false} = State) ->
    State;
with_books(#state{plain = true, active = Tag, addresses = All} = State) ->
    Now = now_ms(),
    Transports = lists:foldl(
        fun(Node, Acc) ->
            {Up, _} = topos_overlay_links:transport(Node, up, Now, Acc),
            {Known, _} = topos_overlay_links:answers(Node, is_up(Node), Now, Up),
            Known
        end, topos_overlay_links:new(), topos_link:transports()),
    {Links, Machine} = maps:fold(
        fun(Node, _, {Acc, Mesh}) ->
            {Wanted, _} = topos_overlay_links:want(Node, Now, Acc),
            {Wanted, topos_overlay_machine:want(Node, Mesh)}
        end, {Transports, active(State)}, All),
    looking(?LOOK, put_machine(Tag, Machine, State#state{plain = false, links = Links})).

-spec without_books(state()) -> state().
without_books(#state{machines = Machines, active = Tag, links = Links, addresses = All, look = Look} = State) ->
    case map_size(Machines) =:= 1 andalso topos_overlay_machine:kind(active(State)) of
        full_mesh when State#state.plain =:= false ->
            _ = case Look of undefined -> false; _ -> erlang:cancel_timer(Look) end,
            Plain = State#state{plain = true, links = topos_overlay_links:new(), queues = #{}, early = [], look = undefined},
            Strangers = [Node || Node <- topos_overlay_links:asked(Links), not is_map_key(Node, All)],
            ok = lists:foreach(fun(Node) -> (topos_local:engine()):disconnect(Node) end, Strangers),
            Down = [Node || Node <- maps:keys(All), not topos_overlay_links:is_direct(Node, Links)],
            lists:foldl(fun(Node, Acc) -> event({link_down, atom_to_binary(Node)}, Tag, Acc) end, Plain, Down);
        _ ->
            State
    end.

-spec activate(topos_switch_core:epoch(), topos_config_topology:t(), state()) -> state().
activate(Epoch, Topology, #state{active = Before, machines = Machines} = State) ->
    Tag = topos_overlay_machine:tag(Epoch),
    ok = topos_local:set_topology(Epoch, Topology),
    ok = topos_link:topology_changed(),
    Active = State#state{active = Tag, before = Before, next = none},
    ok = publish(lists:usort(lists:flatmap(fun topos_overlay_machine:routes/1, maps:values(Machines))), Active),
    Active.

-spec stop_machine(topos_overlay_machine:tag(), state()) -> state().
stop_machine(Tag, #state{machines = Machines, before = Before, next = Next} = State) ->
    case maps:take(Tag, Machines) of
        {Machine, Rest} ->
            _ = topos_overlay_machine:ticking(undefined, Machine),
            Stopped = State#state{
                machines = Rest,
                before = case Before of Tag -> none; _ -> Before end,
                next = case Next of #next{tag = Tag} -> none; _ -> Next end
            },
            ok = case Next of #next{tag = Tag} -> ok; _ -> publish(topos_overlay_machine:routes(Machine), Stopped) end,
            without_books(lists:foldl(fun unwant/2, Stopped, topos_overlay_machine:wanted(Machine)));
        error ->
            State
    end.

%% Tells the owner of the machine that gets ready what it reaches; and helps it where it is slow: nodes that have links to each other, but all of whose
%% neighbours are in one part, do not find another part by themselves before long.
-spec report(state()) -> state().
report(#state{next = none} = State) ->
    State;
report(#state{next = #next{tag = Tag, owner = Owner, told = Told, mend_at = MendAt} = Next, machines = Machines, links = Links} = State) ->
    #{Tag := Machine} = Machines,
    Reached = fun(Node) ->
        case topos_overlay_machine:kind(Machine) of
            full_mesh -> topos_overlay_links:is_confirmed(Node, Links);
            _ -> topos_overlay_machine:route(atom_to_binary(Node), Machine) =/= error
        end
    end,
    Waiting = [Node || Node <- topos_cluster:up(), not Reached(Node)],
    Report = case Waiting of [] -> ready; _ -> {waiting, Waiting} end,
    _ = Report =:= Told orelse (Owner ! {topos_overlay, topos_overlay_machine:epoch(Machine), Report}),
    Known = State#state{next = Next#next{told = Report}},
    Near = [Node || Node <- Waiting, topos_overlay_links:is_confirmed(Node, Links)],
    case now_ms() of
        Now when Now >= MendAt, Near =/= [] ->
            Shown = lists:nth(rand:uniform(length(Near)), Near),
            event({met, atom_to_binary(Shown)}, Tag, Known#state{next = Next#next{told = Report, mend_at = Now + ?MEND_INTERVAL}});
        _ ->
            Known
    end.

%% Members that are to be linked and are not.
-spec missing(state()) -> [node()].
missing(#state{links = Links} = State) ->
    Direct = case State#state.plain of
        true -> topos_link:transports();
        false -> [Node || Node <- topos_overlay_links:asked(Links), topos_overlay_links:is_direct(Node, Links)]
    end,
    lists:sort(atoms(topos_overlay_machine:view(active(State)))) -- Direct.

%% Events that follow from an action come after the actions beside it.
-spec later(topos_overlay_nif:event(), topos_overlay_machine:tag() | all, state()) -> state().
later(Event, For, State) ->
    self() ! {event, For, Event},
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
add(Node, Addresses, #state{addresses = All, links = Links, plain = Plain, machines = Machines} = State) ->
    Known = State#state{addresses = All#{Node => Addresses}},
    Asked = Plain orelse topos_overlay_links:is_asked(Node, Links),
    ok = case All of
        #{Node := Old} when Old =/= Addresses, Asked -> connect(Node, Known);
        _ -> ok
    end,
    lists:foldl(fun(Tag, Acc) -> joined(Node, Tag, Acc) end, Known, maps:keys(Machines)).

-spec joined(node(), topos_overlay_machine:tag(), state()) -> state().
joined(Node, Tag, #state{plain = Plain} = State) ->
    #state{machines = #{Tag := Machine}} = Told = event({joined, atom_to_binary(Node)}, Tag, State),
    case topos_overlay_machine:kind(Machine) of
        %% It may be busy with others yet, but it wants them all.
        full_mesh when not Plain -> want(Node, Tag, Told);
        _ -> Told
    end.

%% Not asked again of a link that the machine wants already, unless it tries again.
-spec want(node(), topos_overlay_machine:tag(), state()) -> state().
want(Node, Tag, State) ->
    Wanted = change(Tag, fun(Machine) -> topos_overlay_machine:want(Node, Machine) end, State),
    answering(Node, books(fun(Now, Links) -> topos_overlay_links:want(Node, Now, Links) end, [Tag], Wanted)).

%% Whatever one machine lets go of may be wanted by another.
-spec unwant(node(), state()) -> state().
unwant(Node, #state{machines = Machines} = State) ->
    case lists:any(fun(Machine) -> topos_overlay_machine:is_wanted(Node, Machine) end, maps:values(Machines)) of
        true -> State;
        false -> books(fun(Now, Links) -> topos_overlay_links:unwant(Node, Now, Links) end, all, State)
    end.

-spec connect(node(), state()) -> ok.
connect(Node, #state{addresses = All}) ->
    (topos_local:engine()):connect(#{node => Node, addresses => maps:get(Node, All, [])}).

-spec hold(node(), {firm | once, integer()}, state()) -> state().
hold(_Node, _How, #state{plain = true} = State) -> State;
hold(Node, How, State) ->
    answering(Node, books(fun(Now, Links) -> topos_overlay_links:hold(Node, How, Now, Links) end, all, State)).

-spec transport(node(), up | down, state()) -> state().
transport(Node, up, #state{plain = true} = State) -> event({link_up, atom_to_binary(Node)}, State);
transport(Node, down, #state{plain = true} = State) -> event({link_down, atom_to_binary(Node)}, State);
transport(Node, Change, State) ->
    answering(Node, books(fun(Now, Links) -> topos_overlay_links:transport(Node, Change, Now, Links) end, all, State)).

%% A neighbour that was one before is told again what it may have missed: messages of the topology are not acknowledged.
-spec renewed(node(), state()) -> state().
renewed(Node, #state{plain = Plain, links = Links, machines = Machines} = State) ->
    case not Plain andalso topos_overlay_links:is_confirmed(Node, Links) of
        true -> lists:foldl(fun(Tag, Acc) -> event({confirmed, atom_to_binary(Node)}, Tag, Acc) end, State, maps:keys(Machines));
        false -> State
    end.

%% A link that was not known until now learns whether the peer answers: it may be up over others.
-spec answering(node(), state()) -> state().
answering(Node, State) ->
    books(fun(Now, Links) -> topos_overlay_links:answers(Node, is_up(Node), Now, Links) end, all, State).

-spec status(node(), topos_cluster:status(), state()) -> state().
status(Node, Status, #state{plain = true, statuses = Statuses} = State) ->
    State#state{statuses = Statuses#{Node => Status}};
status(Node, Status, #state{statuses = Statuses} = State) ->
    Known = State#state{statuses = Statuses#{Node => Status}},
    Answers = fun(How) -> books(fun(Now, Links) -> topos_overlay_links:answers(Node, How, Now, Links) end, all, Known) end,
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

%% The machines are told what becomes of a link: all, or the one that asked for it.
-spec books(fun((integer(), topos_overlay_links:t()) -> {topos_overlay_links:t(), [topos_overlay_links:effect()]}),
    all | [topos_overlay_machine:tag()], state()) -> state().
books(Change, For, #state{links = Links, machines = Machines} = State) ->
    {Changed, Effects} = Change(now_ms(), Links),
    Tags = case For of all -> maps:keys(Machines); _ -> For end,
    lists:foldl(fun(Effect, Acc) -> effect(Effect, Tags, Acc) end, State#state{links = Changed}, Effects).

-spec effect(topos_overlay_links:effect(), [topos_overlay_machine:tag()], state()) -> state().
effect({connect, Node}, _, State) ->
    ok = connect(Node, State),
    State;
effect({disconnect, Node}, _, #state{queues = Queues} = State) ->
    ok = (topos_local:engine()):disconnect(Node),
    State#state{queues = maps:remove(Node, Queues)};
effect({confirmed, Node}, Tags, State) ->
    flush(Node, lists:foldl(fun(Tag, Acc) -> confirmed(Node, Tag, Acc) end, State, Tags));
effect({unconfirmed, Node}, _, State) ->
    event({unconfirmed, atom_to_binary(Node)}, State);
effect({down, Node}, _, #state{queues = Queues} = State) ->
    later({link_down, atom_to_binary(Node)}, all, State#state{queues = maps:remove(Node, Queues)}).

-spec confirmed(node(), topos_overlay_machine:tag(), state()) -> state().
confirmed(Node, Tag, State) ->
    Name = atom_to_binary(Node),
    #state{machines = Machines} = Confirmed = event({confirmed, Name}, Tag, event({link_up, Name}, Tag, State)),
    #{Tag := Machine} = Machines,
    %% A link without a way beside it is one to another part of the cluster. A machine that begins has no ways yet.
    Known = topos_overlay_machine:kind(Machine) =:= full_mesh orelse Tag =/= State#state.active
        orelse lists:member(Name, topos_overlay_machine:view(Machine)) orelse topos_overlay_machine:route(Name, Machine) =/= error,
    case Known of
        true -> Confirmed;
        false -> event({met, Name}, Tag, Confirmed)
    end.

-spec questions(state()) -> #{keep := fun((node()) -> boolean()), failed := fun((node()) -> boolean())}.
questions(_State) ->
    #{
        keep => fun(Node) ->
            case topos_link:status(Node) of
                {up, _} -> topos_relay:route(Node) =:= error;
                {suspect, _} -> false;
                %% Greetings take seconds where many greet at once.
                {_, _} -> true;
                unknown -> false
            end
        end,
        failed => fun(Node) -> (topos_local:engine()):failure(Node) =/= none end
    }.

-spec looking(pos_integer(), state()) -> state().
looking(_, #state{plain = true} = State) -> State;
looking(Ms, State) -> State#state{look = erlang:start_timer(Ms, self(), look)}.

%% One of the members that are not up and that no way leads to.
-spec heal(state()) -> state().
heal(#state{plain = true} = State) ->
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
            later({link_down, atom_to_binary(Node)}, all, State#state{queues = maps:remove(Node, Queues)});
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
            case topos_overlay_machine:untag(Payload) of
                {?SWIM, Bytes} ->
                    ok = topos_swim:received(Node, Bytes),
                    State;
                Message ->
                    received(Node, Message, State)
            end;
        _ ->
            ok = topos_local:count(refused_frames),
            State
    end;
frame(_, State) ->
    ok = topos_local:count(malformed_frames),
    State.

-spec received(node(), {topos_overlay_machine:tag(), binary()} | error, state()) -> state().
received(Node, {Tag, Bytes}, #state{machines = Machines} = State) when is_map_key(Tag, Machines) ->
    event({received, atom_to_binary(Node), Bytes}, Tag, State);
received(Node, {Tag, Bytes}, #state{early = Early} = State) when byte_size(Bytes) =< ?MAX_EARLY_BYTES ->
    %% The peer's machine began before ours, or ours has ended.
    State#state{early = lists:sublist([{Tag, Node, binary:copy(Bytes)} | Early], ?MAX_EARLY)};
received(_, {_, _}, State) ->
    State;
received(_, error, State) ->
    ok = topos_local:count(malformed_frames),
    State.

-spec now_ms() -> integer().
now_ms() -> erlang:monotonic_time(millisecond).
