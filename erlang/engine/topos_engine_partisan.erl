%% @doc The engine for production: Partisan's pluggable manager owns the sockets, this process decides to whom.
%%
%% == How a peer comes up ==
%% ```
%% connect/1 -> probing -> dialling -> up -> (a connection is lost) -> probing ...
%%                 ^ back-off |  deadline
%%                 +----------+
%% '''
%% A probe (`topos_partisan_probe') finds an address that answers with the right name, so that Partisan's manager, which
%% dials in its own process, never waits for a dead one, and so that the reason of a failure is known. Then the peer is put
%% into the view of `topos_partisan_strategy' and the manager opens all its connections, one a channel a pass. The manager is given one view at
%% a time: it dials in its own process, and views that wait would have it dial again what is up, or over. A peer is up
%% when every connection of every channel has shaken hands; after 5 s without another one when each channel has one. These connections,
%% in this order, are the lanes until the first of them is lost: then the peer is down and all is built again. So a
%% lane never changes its socket while a peer is up, and its order holds.
%%
%% Nothing here trusts Partisan's events: `on_up' is mostly missing, and its table counts connections that never shook hands. The table is
%% looked at while a peer is being dialled; connections of peers that are up are monitored.
%%
%% == How channels change ==
%% The manager crashes when a peer has more connections than its specification says, and sees no change of Partisan's
%% configuration. So a peer that is up leaves the view, keeps its connections but those it no longer needs, which are closed, and when
%% these are gone it enters the view again with the new specification; the manager then opens what is missing. A lane
%% that has no connection of its own yet shares one: first of its channel, else of `data'. That a lane may so change its
%% socket without a `down' is said in `topos_engine:reconfigure/1'; the link's sequence numbers keep the order.
%%
%% == What is not asked of Partisan ==
%% Frames are written to the sockets of Partisan's connections (`topos_partisan_socket'); with TLS they go to the connection
%% process (`topos_partisan_api:forward/3'). One with 1000 frames in its queue answers `overloaded': there is no other
%% back-pressure, and beyond some thousands its throughput collapses.
-module(topos_engine_partisan).

-behaviour(topos_engine).
-behaviour(gen_server).

-include("topos_frame.hrl").
-include_lib("kernel/include/logger.hrl").

-export([start_link/2, capabilities/0, addresses/0, connect/1, disconnect/1, send/5, send_clean/5, priority/1, failure/1, connections/0, reconfigure/1, cut/1]).
-export([inbound/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(TAB, topos_engine_partisan_table).
-define(MAX_QUEUE, 1_000).
-define(LOOK_EVERY, 32).
-define(PROBE_TIMEOUT, 3_000).
-define(DIAL_TIMEOUT, 5_000).
-define(INSPECT_TIMEOUT, 1_000).
%% While a peer is being dialled, or the manager is missing; and otherwise, to find what was missed.
-define(FAST_TICK, 20).
-define(SLOW_TICK, 500).
%% Looking takes a fifth of the time at most: on a busy machine a look takes longer, and is no use more often.
-define(REST, 4).
%% A peer that was up for less begins with the back-off it had.
-define(STABLE_AFTER, 1_000).
-define(MAX_RESTARTS, 5).
-define(RESTART_DELAY, 200).
%% What a frame may be larger than the largest message: the batch it is in, and headers.
-define(PACKET_OVERHEAD, 1_048_576).

-type phase() :: waiting | probing | dialling | up.
-record(peer, {
    addresses :: [topos_engine:address()],
    phase = waiting :: phase(),
    attempts = 0 :: non_neg_integer(),
    %% The back-off timer of a waiting peer; the prober of a probing one; the inspector of one that is dialled.
    timer :: undefined | reference(),
    worker :: undefined | {pid(), reference()},
    spec :: undefined | topos_partisan_api:spec(),
    %% Where the probe found it.
    address :: undefined | topos_engine:address(),
    %% Monotonic, ms: when dialling ends (`infinity': the manager was not told yet), since when it is up.
    deadline = 0 :: integer() | infinity,
    %% Connections that had shaken hands at the last look while it was dialled.
    shaken = 0 :: non_neg_integer(),
    since = 0 :: integer(),
    lanes = #{} :: #{reference() => pid()},
    %% A peer that is up while its channels change: `shrinking' until the connections it no longer needs are closed, then
    %% `growing' until those it needs more have shaken hands.
    changing = none :: none | shrinking | growing
}).
-record(state, {
    node :: node(),
    sink :: pid(),
    epoch :: non_neg_integer(),
    tls :: undefined | map(),
    key :: topos_partisan_proof:key(),
    channels :: map(),
    settings :: [{atom(), term()}],
    sup :: undefined | pid(),
    saved :: topos_partisan_api:saved(),
    restarts = 0 :: non_neg_integer(),
    tick :: undefined | reference(),
    %% How many milliseconds the last look took.
    took = 0 :: non_neg_integer(),
    %% The view that the manager has not taken yet, who is in it, and whether there is another one since.
    viewing = none :: none | {reference(), [node()], latest | outdated},
    manager :: undefined | {pid(), reference()},
    %% Monitors the supervisor of the listeners; undefined while ours are not in place.
    listener :: undefined | reference(),
    max_packet :: pos_integer(),
    peers = #{} :: #{node() => #peer{}},
    %% Specifications the manager may still have in its view or on its list of pending peers.
    removed = [] :: [topos_partisan_api:spec()],
    refs = #{} :: #{reference() => {prober | inspector | lane, node()} | {inbound, binary()}},
    %% By their names in bytes: nobody vouches for them, and they become no atoms.
    inbound = #{} :: #{pid() => {binary(), reference()}}
}).

%% @doc Checks all that can be checked, then starts Partisan under a process of its own.
-spec start_link(topos_config:t(), Sink :: pid()) -> {ok, pid()} | {error, topos_error:t()}.
start_link(Config, Sink) -> start_link(Config, Sink, 3).

-spec capabilities() -> #{topos_engine:capability() := boolean()}.
capabilities() ->
    #{channel_isolation => true, lane_isolation => true, tls => true, addresses => true, fault_injection => true}.

-spec addresses() -> [topos_engine:address()].
addresses() -> topos_engine_table:get(?TAB, addresses, []).

-spec connect(topos_engine:peer()) -> ok.
connect(#{node := Node, addresses := Addresses}) -> gen_server:cast(?MODULE, {connect, Node, Addresses}).

-spec disconnect(node()) -> ok.
disconnect(Node) -> gen_server:cast(?MODULE, {disconnect, Node}).

-spec send(node(), topos_engine:channel(), topos_engine:lane(), Dest :: atom(), Frame :: iodata()) ->
    ok | {error, not_connected | no_such_channel | overloaded}.
send(Node, Channel, Lane, Dest, Frame) -> write(fun topos_partisan_socket:send/4, {Node, Channel, Lane}, Dest, Frame).

-spec send_clean(node(), topos_engine:channel(), topos_engine:lane(), Dest :: atom(), Frame :: iodata()) ->
    ok | {error, not_connected | no_such_channel | overloaded}.
send_clean(Node, Channel, Lane, Dest, Frame) ->
    write(fun topos_partisan_socket:send_clean/4, {Node, Channel, Lane}, Dest, Frame).

-spec write(
    fun((port(), atom(), non_neg_integer(), iodata()) -> ok | {error, not_connected | overloaded}),
    {node(), topos_engine:channel(), topos_engine:lane()}, atom(), iodata()
) -> ok | {error, not_connected | no_such_channel | overloaded}.
write(Write, {Node, Channel, Lane}, Dest, Frame) ->
    case link_of(Node, Channel) of
        {ok, {Epoch, Lanes, Sent}} ->
            Index = Lane rem tuple_size(Lanes) + 1,
            case element(Index, Lanes) of
                {Port, _} when is_port(Port) -> Write(Port, Dest, Epoch, Frame);
                {Connection, _} -> through(Connection, Sent, Index, Dest, {topos, ?TOPOS_FRAME_VERSION, Epoch, Frame})
            end;
        cut ->
            ok;
        {error, _} = Error ->
            Error
    end.

-spec through(pid(), atomics:atomics_ref(), pos_integer(), atom(), {topos, byte(), non_neg_integer(), iodata()}) ->
    ok | {error, not_connected | overloaded}.
through(Connection, Sent, Index, Dest, {topos, Version, Epoch, Frame}) ->
    case room(Connection, Sent, Index) of
        ok -> topos_partisan_api:forward(Connection, Dest, {topos, Version, Epoch, iolist_to_binary(Frame)});
        {error, _} = Error -> Error
    end.

%% Epoch; connections, each with what it is written to by; and how many frames each process was given.
-spec link_row(non_neg_integer(), [pid()]) -> {non_neg_integer(), tuple(), atomics:atomics_ref()}.
link_row(Epoch, Pids) ->
    Lanes = [{topos_partisan_socket:of_connection(Pid), Pid} || Pid <- Pids],
    {Epoch, list_to_tuple(Lanes), atomics:new(length(Pids), [{signed, false}])}.

%% Asking a process for the length of its queue waits until it is not running: a busy connection is asked at every so many
%% frames only, and at each while it is full.
-spec room(pid(), atomics:atomics_ref(), pos_integer()) -> ok | {error, not_connected | overloaded}.
room(Connection, Sent, Index) ->
    case atomics:add_get(Sent, Index, 1) rem ?LOOK_EVERY of
        0 ->
            case process_info(Connection, message_queue_len) of
                {message_queue_len, Queued} when Queued < ?MAX_QUEUE -> ok;
                {message_queue_len, _} -> ok = atomics:sub(Sent, Index, 1), {error, overloaded};
                undefined -> {error, not_connected}
            end;
        _ ->
            ok
    end.

%% @doc The priority of a channel of this node, by its name; `normal' for any other.
-spec priority(Channel :: binary()) -> low | normal | high.
priority(Channel) ->
    case [P || {C, #{priority := P}} <- topos_engine_table:channels(?TAB), atom_to_binary(C) =:= Channel] of
        [Priority] -> Priority;
        [] -> normal
    end.

-spec failure(node()) -> none | {failed, topos_engine:failure()}.
failure(Node) -> topos_engine_table:failure(?TAB, Node).

%% @doc Outbound connections; Partisan's default channel, which carries no frames, is called `undefined'.
-spec connections() -> [{node(), topos_engine:channel(), pos_integer()}].
connections() ->
    Counts = lists:foldl(
        fun({_, Node, Channel}, Acc) -> maps:update_with({Node, Channel}, fun(N) -> N + 1 end, 1, Acc) end,
        #{},
        topos_partisan_api:connections()
    ),
    [{Node, Channel, Count} || {{Node, Channel}, Count} <- lists:sort(maps:to_list(Counts))].

%% @doc Returns when the change has begun; `connections/0' shows how far it is.
-spec reconfigure(topos_node_spec:channels()) -> ok.
reconfigure(Channels) -> gen_server:call(?MODULE, {reconfigure, Channels}).

%% @doc Partisan's own pings are not cut.
-spec cut([node()]) -> ok.
cut(Nodes) -> gen_server:call(?MODULE, {cut, Nodes}).

%% @private Called by `topos_partisan_inbound' when the peer has said its name.
-spec inbound(pid(), binary()) -> ok.
inbound(Pid, Name) -> gen_server:cast(?MODULE, {inbound, Pid, Name}).

%% internal

-spec link_of(node(), topos_engine:channel()) ->
    {ok, {non_neg_integer(), tuple(), atomics:atomics_ref()}} | cut | {error, not_connected | no_such_channel}.
link_of(Node, Channel) ->
    case topos_engine_table:link(?TAB, Node, Channel) of
        {error, not_connected} when Channel =/= data -> topos_engine_table:link(?TAB, Node, data);
        Answer -> Answer
    end.

-spec start_link(topos_config:t(), pid(), pos_integer()) -> {ok, pid()} | {error, topos_error:t()}.
start_link(Config, Sink, Tries) ->
    case checked(Config) of
        {ok, Addresses} ->
            case gen_server:start_link({local, ?MODULE}, ?MODULE, {Config, Sink, Addresses}, []) of
                {ok, Pid} -> {ok, Pid};
                {error, {already_started, _}} -> {error, already_started()};
                {error, {shutdown, {address_in_use, _}}} when Tries > 1 ->
                    %% Somebody took a free port between our look and the listening.
                    start_link(Config, Sink, Tries - 1);
                {error, {shutdown, Error}} -> {error, Error}
            end;
        {error, _} = Error ->
            Error
    end.

-spec checked(topos_config:t()) -> {ok, [topos_engine:address()]} | {error, topos_error:t()}.
checked(#{node := Node, listen := Listen}) ->
    case {topos_partisan_api:usable(Node), topos_partisan_api:is_running()} of
        {ok, false} -> topos_engine_listen:reserve(Listen);
        {ok, true} -> {error, already_started()};
        {{error, _} = Error, _} -> Error
    end.

-spec already_started() -> topos_error:t().
already_started() ->
    topos_error:new(already_started, #{node => topos_partisan_api:call(partisan_config, get, [name, undefined])}).

-spec init({topos_config:t(), pid(), [topos_engine:address()]}) -> {ok, #state{}} | {stop, {shutdown, topos_error:t()}}.
init({#{node := Node, tls := Tls, channels := Channels, cookie := Cookie} = Config, Sink, Addresses}) ->
    #{limits := #{max_message_bytes := MaxMessage}} = Config,
    process_flag(trap_exit, true),
    Settings = topos_partisan_settings:environment(Config, Addresses),
    case topos_partisan_api:start(Settings) of
        {ok, Sup, Saved} ->
            Epoch = erlang:system_time(microsecond),
            ok = topos_engine_table:new(?TAB, Channels),
            ok = topos_engine_table:put(?TAB, addresses, Addresses),
            State = #state{
                node = Node,
                sink = Sink,
                epoch = Epoch,
                tls = Tls,
                key = topos_partisan_proof:key(Cookie),
                channels = topos_partisan_settings:channels(Channels),
                settings = Settings,
                sup = Sup,
                saved = Saved,
                max_packet = MaxMessage + ?PACKET_OVERHEAD
            },
            case listening(State) of
                #state{listener = undefined} ->
                    ok = topos_partisan_api:stop(Sup, Saved),
                    topos_engine_process:not_started(topos_engine_listen:in_use(hd(Addresses)));
                Listening ->
                    {ok, ticking(find_manager(Listening))}
            end;
        {error, Reason} ->
            topos_engine_process:not_started(topos_engine_listen:start_error(Reason, Addresses))
    end.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, ok | {error, unknown_call}, #state{}}.
handle_call({reconfigure, Channels}, _From, #state{settings = Settings, peers = Peers} = State) ->
    Layout = topos_partisan_settings:channels(Channels),
    ok = topos_engine_table:set_channels(?TAB, Channels),
    %% Partisan reads them when it is started again.
    Next = State#state{
        channels = Layout, settings = lists:keystore(channels, 1, Settings, {channels, maps:remove(undefined, Layout)})
    },
    {reply, ok, ticking(maps:fold(fun change/3, Next, Peers))};
handle_call({cut, Nodes}, _From, State) ->
    {reply, topos_engine_table:cut(?TAB, Nodes), State};
handle_call(_Request, _From, State) -> {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast({connect, Node, _}, #state{node = Node} = State) ->
    ok = topos_engine_table:failed(?TAB, Node, {unreachable, self}),
    {noreply, State};
handle_cast({connect, Node, Addresses}, #state{peers = Peers} = State) ->
    case Peers of
        #{Node := #peer{addresses = Addresses}} ->
            {noreply, State};
        #{Node := #peer{phase = waiting} = Peer} ->
            {noreply, probe(Node, Peer#peer{addresses = Addresses, attempts = 0}, State)};
        #{Node := Peer} ->
            {noreply, set_peer(Node, Peer#peer{addresses = Addresses}, State)};
        #{} ->
            {noreply, probe(Node, #peer{addresses = Addresses}, State)}
    end;
handle_cast({disconnect, Node}, State) ->
    {noreply, forget(Node, State)};
handle_cast({inbound, Pid, Name}, #state{inbound = Inbound, refs = Refs} = State) ->
    Ref = monitor(process, Pid),
    Known = State#state{inbound = Inbound#{Pid => {Name, Ref}}, refs = Refs#{Ref => {inbound, Name}}},
    case [{N, P} || {N, #peer{phase = waiting} = P} <- maps:to_list(Known#state.peers), atom_to_binary(N) =:= Name] of
        %% It is alive: no need to wait.
        [{Node, Peer}] -> {noreply, probe(Node, Peer, Known)};
        [] -> {noreply, Known}
    end.

-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
handle_info({timeout, Tick, tick}, #state{tick = Tick} = State) ->
    Start = now_ms(),
    Looked = close_strays(inspect_all(shrink_all(find_manager(listening(State))))),
    {noreply, ticking(Looked#state{took = now_ms() - Start})};
handle_info({topos_view, Ref}, #state{viewing = {Ref, Nodes, Since}} = State) ->
    Taken = lists:foldl(fun begin_dialling/2, State#state{viewing = none}, Nodes),
    {noreply, case Since of latest -> Taken; outdated -> set_view(Taken) end};
handle_info({timeout, Timer, {retry, Node}}, #state{peers = Peers} = State) ->
    case Peers of
        #{Node := #peer{timer = Timer} = Peer} -> {noreply, probe(Node, Peer, State)};
        #{} -> {noreply, State}
    end;
handle_info({'DOWN', Ref, process, _, _}, #state{manager = {_, Ref}} = State) ->
    {noreply, reset(State#state{manager = undefined})};
handle_info({'DOWN', Ref, process, _, _}, #state{listener = Ref} = State) ->
    {noreply, State#state{listener = undefined}};
handle_info({'DOWN', Ref, process, Pid, Reason}, #state{refs = Refs} = State) ->
    case maps:take(Ref, Refs) of
        {{Kind, Node}, Rest} -> {noreply, ended(Kind, Node, Pid, Reason, State#state{refs = Rest})};
        error -> {noreply, State}
    end;
handle_info({'EXIT', Sup, Reason}, #state{sup = Sup} = State) ->
    ?LOG_ERROR(#{description => "Partisan stopped, starting it again", reason => Reason}),
    Down = case State#state.manager of
        %% Its own DOWN came first.
        undefined -> State;
        {_, Ref} ->
            true = demonitor(Ref, [flush]),
            reset(State#state{manager = undefined})
    end,
    restart(Down#state{sup = undefined});
handle_info(restart, #state{sup = undefined} = State) ->
    restart(State);
handle_info(_Other, State) ->
    {noreply, State}.

-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, #state{sup = undefined}) -> ok;
terminate(_Reason, #state{sup = Sup, saved = Saved}) -> topos_partisan_api:stop(Sup, Saved).

%% Partisan itself

-spec find_manager(#state{}) -> #state{}.
find_manager(#state{manager = undefined, sup = Sup} = State) when is_pid(Sup) ->
    case topos_partisan_api:manager() of
        undefined -> State;
        Pid -> set_view(State#state{manager = {Pid, monitor(process, Pid)}, removed = [], viewing = none})
    end;
find_manager(State) ->
    State.

%% Puts our listeners in the place of Partisan's; their supervisor brings those back when it restarts.
-spec listening(#state{}) -> #state{}.
listening(#state{listener = undefined, sup = Sup, tls = Tls, key = Key, max_packet = MaxPacket} = State) when is_pid(Sup) ->
    case whereis(partisan_acceptor_socket_pool_sup) of
        undefined ->
            State;
        Pool ->
            Options = #{max_packet_bytes => MaxPacket, tls => Tls =/= undefined, key => Key},
            case topos_partisan_listener:replace(addresses(), Options) of
                ok ->
                    State#state{listener = monitor(process, Pool)};
                {error, Reason} ->
                    ?LOG_ERROR(#{description => "cannot listen, trying again", reason => Reason}),
                    State
            end
    end;
listening(State) ->
    State.

%% The manager is gone, and with it every connection that was ours.
-spec reset(#state{}) -> #state{}.
reset(#state{peers = Peers} = State) ->
    Closed = maps:fold(
        fun(Node, #peer{phase = Phase} = Peer, Acc) when Phase =:= up; Phase =:= dialling ->
                ok = topos_engine_table:close(?TAB, Node),
                {Clean, Next} = drop_lanes(Peer, Acc),
                probe(Node, Clean#peer{attempts = 0}, Next);
            (_, _, Acc) ->
                Acc
        end,
        State,
        Peers
    ),
    ok = topos_engine_process:tell(State#state.sink, reset),
    Closed.

-spec restart(#state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
restart(#state{settings = Settings, restarts = Restarts} = State) ->
    %% The addresses are those of the first start: peers know them.
    case topos_partisan_api:start(Settings) of
        {ok, Sup, _} ->
            {noreply, find_manager(listening(State#state{sup = Sup, restarts = 0}))};
        {error, Reason} when Restarts >= ?MAX_RESTARTS ->
            {stop, {partisan_failed, Reason}, State};
        {error, Reason} ->
            ?LOG_WARNING(#{description => "Partisan did not start", reason => Reason}),
            _ = erlang:send_after(?RESTART_DELAY, self(), restart),
            {noreply, State#state{restarts = Restarts + 1}}
    end.

%% Gives the manager the view: those that are being dialled and those that are up.
-spec set_view(#state{}) -> #state{}.
set_view(#state{manager = undefined} = State) ->
    State;
set_view(#state{viewing = {Ref, Nodes, _}} = State) ->
    State#state{viewing = {Ref, Nodes, outdated}};
set_view(#state{manager = {Manager, _}, peers = Peers, removed = Removed} = State) ->
    {Nodes, View} = lists:unzip([{Node, Spec} || {Node, #peer{spec = Spec}} <- maps:to_list(Peers), Spec =/= undefined]),
    Ref = topos_partisan_api:set_view(Manager, View, Removed -- View),
    State#state{removed = [], viewing = {Ref, Nodes, latest}}.

%% The time to dial a peer begins when the manager has heard of it.
-spec begin_dialling(node(), #state{}) -> #state{}.
begin_dialling(Node, #state{peers = Peers} = State) ->
    case Peers of
        #{Node := #peer{deadline = infinity} = Peer} -> set_peer(Node, Peer#peer{deadline = now_ms() + ?DIAL_TIMEOUT}, State);
        #{} -> State
    end.

%% Connections the manager opened before it had the latest view: it never closes any.
-spec close_strays(#state{}) -> #state{}.
close_strays(#state{peers = Peers} = State) ->
    Wanted = [Node || {Node, #peer{spec = Spec, phase = Phase}} <- maps:to_list(Peers), Spec =/= undefined orelse Phase =:= up],
    ok = close_later([Pid || {Pid, Node, _} <- topos_partisan_api:connections(), not lists:member(Node, Wanted)]),
    State.

%% Peers

-spec probe(node(), #peer{}, #state{}) -> #state{}.
probe(Node, #peer{addresses = Addresses} = Peer0, #state{tls = Tls, key = Key, refs = Refs} = State) ->
    Peer = cancel(Peer0),
    case topos_engine_table:is_cut(?TAB, Node) of
        true ->
            failed({unreachable, ehostunreach}, Node, Peer, State);
        false ->
            Options = #{tls => Tls, key => Key, timeout => ?PROBE_TIMEOUT},
            Worker = {_, Ref} = topos_engine_worker:start(fun() ->
                topos_partisan_probe:run(Node, Addresses, Options, {unreachable, no_address})
            end),
            Probing = Peer#peer{phase = probing, worker = Worker},
            set_peer(Node, Probing, State#state{refs = Refs#{Ref => {prober, Node}}})
    end.

-spec ended(prober | inspector | lane | inbound, node() | binary(), pid(), term(), #state{}) -> #state{}.
ended(inbound, _Name, Pid, _Reason, #state{inbound = Inbound} = State) ->
    State#state{inbound = maps:remove(Pid, Inbound)};
ended(Kind, Node, Pid, Reason, #state{peers = Peers} = State) ->
    case {Kind, Peers} of
        {prober, #{Node := #peer{phase = probing, worker = {Pid, _}} = Peer}} ->
            probed(Reason, Node, Peer#peer{worker = undefined}, State);
        {inspector, #{Node := #peer{phase = dialling, worker = {Pid, _}} = Peer}} ->
            inspected(Reason, Node, Peer#peer{worker = undefined}, State);
        {inspector, #{Node := #peer{phase = up, worker = {Pid, _}} = Peer}} ->
            adopted(Reason, Node, Peer#peer{worker = undefined}, State);
        {lane, #{Node := #peer{phase = up} = Peer}} ->
            lane_lost(Reason, Node, Peer, State);
        _ ->
            State
    end.

-spec probed(term(), node(), #peer{}, #state{}) -> #state{}.
probed({result, {ok, Address}}, Node, Peer, #state{channels = Channels} = State) ->
    case [Pid || {Pid, Of, _} <- topos_partisan_api:connections(), Of =:= Node] of
        [] ->
            Spec = topos_partisan_api:spec(Node, Address, Channels),
            Dialled = Peer#peer{phase = dialling, spec = Spec, address = Address, deadline = infinity, shaken = 0},
            Dialling = set_peer(Node, Dialled, State),
            %% The first pass opens the default channel, the second one connection of each other channel.
            ticking(set_view(set_view(Dialling)));
        Old ->
            %% Connections of before, still writing what they had: Partisan must not take them for the new ones.
            ok = close_later(Old),
            wait(Node, Peer, State)
    end;
probed({result, {error, Failure}}, Node, Peer, State) ->
    failed(Failure, Node, Peer, State);
probed(Crash, Node, Peer, State) ->
    ?LOG_ERROR(#{description => "a probe crashed", node => Node, reason => Crash}),
    failed({unreachable, closed}, Node, Peer, State).

-spec failed(topos_engine:failure(), node(), #peer{}, #state{}) -> #state{}.
failed(Failure, Node, #peer{attempts = Attempts} = Peer, State) ->
    ok = topos_engine_table:failed(?TAB, Node, Failure),
    wait(Node, Peer#peer{attempts = Attempts + 1}, State).

-spec wait(node(), #peer{}, #state{}) -> #state{}.
wait(Node, #peer{attempts = Attempts} = Peer, State) ->
    Timer = erlang:start_timer(topos_engine_process:backoff(Attempts), self(), {retry, Node}),
    set_peer(Node, Peer#peer{phase = waiting, timer = Timer}, State).

%% Looks which connections of the peers that are being dialled have shaken hands; asking them takes time, so workers do.
-spec inspect_all(#state{}) -> #state{}.
inspect_all(#state{peers = Peers} = State0) ->
    Dialled = [
        {Node, Peer}
     || {Node, #peer{phase = Phase, changing = Changing, worker = undefined} = Peer} <- maps:to_list(Peers),
        Phase =:= dialling orelse Changing =:= growing
    ],
    case Dialled of
        [] ->
            State0;
        _ ->
            State = set_view(State0),
            Connections = topos_partisan_api:connections(),
            lists:foldl(fun({Node, Peer}, Acc) -> inspect(Node, Peer, Connections, Acc) end, State, Dialled)
    end.

-spec inspect(node(), #peer{}, [topos_partisan_api:connection()], #state{}) -> #state{}.
inspect(Node, Peer, Connections, #state{refs = Refs} = State) ->
    Mine = [{Pid, Channel} || {Pid, Of, Channel} <- Connections, Of =:= Node],
    Worker = {_, Ref} = topos_engine_worker:start(fun() ->
        [Link || {Pid, _} = Link <- Mine, topos_partisan_api:is_handshaken(Pid, ?INSPECT_TIMEOUT)]
    end),
    set_peer(Node, Peer#peer{worker = Worker}, State#state{refs = Refs#{Ref => {inspector, Node}}}).

-spec inspected(term(), node(), #peer{}, #state{}) -> #state{}.
inspected({result, Links}, Node, #peer{shaken = Before} = Peer, State) when length(Links) > Before ->
    %% It goes on: on a busy machine that may take long.
    looked_at(Links, Node, Peer#peer{shaken = length(Links), deadline = now_ms() + ?DIAL_TIMEOUT}, State);
inspected({result, Links}, Node, Peer, State) ->
    looked_at(Links, Node, Peer, State);
inspected(Crash, Node, Peer, State) ->
    ?LOG_ERROR(#{description => "an inspection crashed", node => Node, reason => Crash}),
    set_peer(Node, Peer, State).

-spec looked_at([{pid(), topos_engine:channel()}], node(), #peer{}, #state{}) -> #state{}.
looked_at(Links, Node, #peer{deadline = Deadline} = Peer, #state{channels = Channels} = State) ->
    Lanes = maps:map(fun(Channel, _) -> [Pid || {Pid, Of} <- Links, Of =:= Channel] end, Channels),
    Whole = maps:fold(fun(C, #{parallelism := N}, Acc) -> Acc andalso length(map_get(C, Lanes)) >= N end, true, Channels),
    Usable = not lists:member([], maps:values(Lanes)),
    Late = now_ms() > Deadline,
    if
        Whole -> up(Node, Peer, Lanes, State);
        Late, Usable -> up(Node, Peer, Lanes, State);
        Late -> failed({unreachable, timeout}, Node, hung_up(Peer), set_view(removed(Peer, Node, State)));
        true -> set_peer(Node, Peer, State)
    end.

-spec up(node(), #peer{}, #{topos_engine:channel() => [pid()]}, #state{}) -> #state{}.
up(Node, Peer, Lanes, #state{epoch = Epoch, refs = Refs} = State) ->
    Monitors = maps:from_list([{monitor(process, Pid), Pid} || Pid <- lists:append(maps:values(Lanes))]),
    Links = maps:map(fun(_, Pids) -> link_row(Epoch, Pids) end, maps:remove(undefined, Lanes)),
    ok = topos_engine_table:open(?TAB, Node, Links),
    ok = topos_engine_process:tell(State#state.sink, {up, Node}),
    set_peer(
        Node,
        Peer#peer{phase = up, lanes = Monitors, since = now_ms()},
        State#state{refs = maps:merge(Refs, maps:map(fun(_, _) -> {lane, Node} end, Monitors))}
    ).

%% Channels of a peer change

-spec change(node(), #peer{}, #state{}) -> #state{}.
change(Node, #peer{phase = up, spec = Spec} = Peer, #state{removed = Removed} = State) ->
    Out = [Spec || Spec =/= undefined] ++ Removed,
    Changing = Peer#peer{changing = shrinking, spec = undefined, worker = undefined},
    ok = truncate(Node, State),
    shrink(Node, set_view(set_peer(Node, Changing, State#state{removed = Out})));
change(Node, #peer{phase = dialling} = Peer, State) ->
    wait(Node, hung_up(cancel(Peer)), set_view(removed(Peer, Node, State)));
change(_, _, State) ->
    State.

%% Nothing more is sent on connections that are to be closed.
-spec truncate(node(), #state{}) -> ok.
truncate(Node, #state{channels = Channels}) ->
    Shorter = maps:map(
        fun(Channel, {Epoch, Lanes, _}) ->
            #{Channel := #{parallelism := N}} = Channels,
            link_row(Epoch, [Pid || {_, Pid} <- lists:sublist(tuple_to_list(Lanes), N)])
        end, topos_engine_table:links(?TAB, Node)),
    topos_engine_table:open(?TAB, Node, Shorter).

-spec shrink_all(#state{}) -> #state{}.
shrink_all(#state{peers = Peers} = State) ->
    lists:foldl(fun shrink/2, State, [Node || {Node, #peer{changing = shrinking}} <- maps:to_list(Peers)]).

%% Looks again at each tick: the manager may have opened one more before it had the view.
-spec shrink(node(), #state{}) -> #state{}.
shrink(Node, #state{peers = Peers, refs = Refs, channels = Channels} = State) ->
    #{Node := #peer{lanes = Lanes, address = Address} = Peer} = Peers,
    Mine = [{Pid, Channel} || {Pid, Of, Channel} <- topos_partisan_api:connections(), Of =:= Node],
    case surplus(Mine, Channels) of
        [] ->
            Spec = topos_partisan_api:spec(Node, Address, Channels),
            Growing = Peer#peer{changing = growing, spec = Spec, deadline = infinity},
            set_view(set_peer(Node, Growing, State));
        Surplus ->
            Monitors = [Ref || {Ref, Pid} <- maps:to_list(Lanes), lists:member(Pid, Surplus)],
            lists:foreach(fun(Ref) -> true = demonitor(Ref, [flush]) end, Monitors),
            ok = close_later(Surplus),
            set_peer(Node, Peer#peer{lanes = maps:without(Monitors, Lanes)}, State#state{refs = maps:without(Monitors, Refs)})
    end.

%% The connections beyond the parallelism of their channel, those opened last first to go.
-spec surplus([{pid(), topos_engine:channel()}], map()) -> [pid()].
surplus(Connections, Channels) ->
    Of = lists:foldr(
        fun({Pid, Channel}, Acc) -> maps:update_with(Channel, fun(Pids) -> [Pid | Pids] end, [Pid], Acc) end, #{}, Connections),
    lists:append([
        case Channels of
            #{Channel := #{parallelism := N}} when length(Pids) > N -> lists:nthtail(N, Pids);
            #{Channel := _} -> [];
            _ -> Pids
        end
     || {Channel, Pids} <- maps:to_list(Of)
    ]).

%% Those that have shaken hands are the lanes from now on, the older ones first as before.
-spec adopted(term(), node(), #peer{}, #state{}) -> #state{}.
adopted({result, Links}, Node, #peer{lanes = Known, changing = growing} = Peer, State) ->
    #state{channels = Channels, epoch = Epoch, refs = Refs} = State,
    Lanes = maps:map(
        fun(Channel, #{parallelism := N}) -> lists:sublist([Pid || {Pid, Of} <- Links, Of =:= Channel], N) end, Channels),
    Whole = maps:fold(fun(C, #{parallelism := N}, Acc) -> Acc andalso length(map_get(C, Lanes)) =:= N end, true, Channels),
    New = lists:append(maps:values(Lanes)) -- maps:values(Known),
    Monitors = maps:from_list([{monitor(process, Pid), Pid} || Pid <- New]),
    Usable = maps:filter(fun(Channel, Pids) -> Channel =/= undefined andalso Pids =/= [] end, Lanes),
    ok = topos_engine_table:open(?TAB, Node, maps:map(fun(_, Pids) -> link_row(Epoch, Pids) end, Usable)),
    set_peer(
        Node,
        Peer#peer{lanes = maps:merge(Known, Monitors), changing = case Whole of true -> none; false -> growing end},
        State#state{refs = maps:merge(Refs, maps:map(fun(_, _) -> {lane, Node} end, Monitors))}
    );
adopted({result, _}, Node, Peer, State) ->
    set_peer(Node, Peer, State);
adopted(Crash, Node, Peer, State) ->
    ?LOG_ERROR(#{description => "an inspection crashed", node => Node, reason => Crash}),
    set_peer(Node, Peer, State).

-spec lane_lost(term(), node(), #peer{}, #state{}) -> #state{}.
lane_lost(Reason, Node, #peer{since = Since, attempts = Attempts} = Peer, #state{manager = Manager} = State) ->
    case manager_lives(Manager) of
        false ->
            %% Its own end took the connection along; that is told as a reset, which is on its way.
            State;
        true ->
            ok = topos_engine_table:close(?TAB, Node),
            ok = topos_engine_process:tell(State#state.sink, {down, Node, down_reason(Reason)}),
            {Clean, Next} = drop_lanes(Peer, State),
            case now_ms() - Since >= ?STABLE_AFTER of
                true -> probe(Node, Clean#peer{attempts = 0}, set_view(removed(Peer, Node, Next)));
                false -> wait(Node, Clean#peer{attempts = Attempts + 1}, set_view(removed(Peer, Node, Next)))
            end
    end.

%% The peer was disconnected from: closes its connections of both directions and forgets it.
-spec forget(node(), #state{}) -> #state{}.
forget(Node, #state{peers = Peers, inbound = Inbound} = State) ->
    ok = topos_engine_table:forget(?TAB, Node),
    Name = atom_to_binary(Node),
    ok = close_later([Pid || {Pid, {Of, _}} <- maps:to_list(Inbound), Of =:= Name]),
    case Peers of
        #{Node := #peer{phase = Phase} = Peer} ->
            ok = topos_engine_table:close(?TAB, Node),
            ok = case Phase of up -> topos_engine_process:tell(State#state.sink, {down, Node, disconnected}); _ -> ok end,
            {_, Next} = drop_lanes(cancel(Peer), State),
            Gone = removed(Peer, Node, Next),
            set_view(Gone#state{peers = maps:remove(Node, Peers)});
        #{} ->
            State
    end.

%% Takes a peer's specification out of the view and closes what the manager opened for it.
-spec removed(#peer{}, node(), #state{}) -> #state{}.
removed(#peer{spec = undefined}, _Node, State) ->
    State;
removed(#peer{spec = Spec} = Peer, Node, #state{removed = Removed} = State) ->
    ok = close_later([Pid || {Pid, Of, _} <- topos_partisan_api:connections(), Of =:= Node]),
    set_peer(Node, hung_up(Peer), State#state{removed = [Spec | Removed]}).

-spec hung_up(#peer{}) -> #peer{}.
hung_up(Peer) -> Peer#peer{spec = undefined, lanes = #{}, changing = none}.

-spec drop_lanes(#peer{}, #state{}) -> {#peer{}, #state{}}.
drop_lanes(#peer{lanes = Lanes} = Peer, #state{refs = Refs} = State) ->
    Monitors = maps:keys(Lanes),
    lists:foreach(fun(Ref) -> true = demonitor(Ref, [flush]) end, Monitors),
    {hung_up(Peer), State#state{refs = maps:without(Monitors, Refs)}}.

%% Stops a peer's timer and leaves its worker behind: what that finds is nobody's any more.
-spec cancel(#peer{}) -> #peer{}.
cancel(#peer{timer = undefined} = Peer) ->
    Peer#peer{worker = undefined};
cancel(#peer{timer = Timer} = Peer) ->
    _ = erlang:cancel_timer(Timer),
    Peer#peer{timer = undefined, worker = undefined}.

%% Small things

-spec set_peer(node(), #peer{}, #state{}) -> #state{}.
set_peer(Node, Peer, #state{peers = Peers} = State) -> State#state{peers = Peers#{Node => Peer}}.

%% There is one tick at a time; being called again brings it forward, or puts it off.
-spec ticking(#state{}) -> #state{}.
ticking(#state{manager = Manager, peers = Peers, tick = Old, took = Took} = State) ->
    _ = Old =:= undefined orelse erlang:cancel_timer(Old),
    Busy = Manager =:= undefined orelse lists:any(fun is_busy/1, maps:values(Peers)),
    Interval = case Busy of true -> ?FAST_TICK; false -> ?SLOW_TICK end,
    State#state{tick = erlang:start_timer(max(Interval, ?REST * Took), self(), tick)}.

-spec is_busy(#peer{}) -> boolean().
is_busy(#peer{phase = dialling}) -> true;
is_busy(#peer{changing = shrinking}) -> true;
is_busy(#peer{changing = growing, deadline = Deadline}) -> now_ms() < Deadline;
is_busy(_) -> false.

%% Closing waits for what a connection has queued.
-spec close_later([pid()]) -> ok.
close_later([]) ->
    ok;
close_later(Pids) ->
    _ = spawn(topos_partisan_api, close, [Pids]),
    ok.

-spec manager_lives(undefined | {pid(), reference()}) -> boolean().
manager_lives(undefined) -> false;
manager_lives({Pid, _}) -> is_process_alive(Pid).

-spec down_reason(term()) -> term().
down_reason(normal) -> closed;
down_reason(noproc) -> closed;
down_reason({shutdown, Reason}) -> Reason;
down_reason(Reason) -> Reason.

-spec now_ms() -> integer().
now_ms() -> erlang:monotonic_time(millisecond).
