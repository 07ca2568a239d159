%% @doc The engine that needs nothing: Distributed Erlang, with nobody connected that was not asked for.
%%
%% Frames are messages to registered processes of the peer. All channels and lanes of a pair of nodes share one TCP
%% connection, so a large frame on one channel holds the others up (`capabilities/0' says so); order holds for the pair.
%%
%% Connecting blocks for seconds when a host is away, so a worker a peer does it. Sending never connects and never
%% suspends its caller: a connection that is busy (its buffer, `+zdbbl', 1 MB unless set, is full) answers `overloaded'.
%%
%% Security is that of Distributed Erlang: who has the cookie may run anything in this VM.
-module(topos_engine_otp).

-behaviour(topos_engine).
-behaviour(gen_server).

-include("topos_frame.hrl").
-include_lib("kernel/include/logger.hrl").

-export([start_link/2, capabilities/0, addresses/0, connect/1, disconnect/1, send/5, send_clean/5, failure/1, connections/0, reconfigure/1, cut/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(TAB, topos_engine_otp_table).
-define(MAX_RESTARTS, 5).
-define(RESTART_DELAY, 200).

-type phase() :: waiting | connecting | up.
-record(peer, {
    phase = waiting :: phase(),
    attempts = 0 :: non_neg_integer(),
    timer :: undefined | reference(),
    worker :: undefined | {pid(), reference()}
}).
-record(state, {
    config :: topos_config:t(),
    address :: theirs | topos_engine:address(),
    node :: node(),
    sink :: pid(),
    epoch :: non_neg_integer(),
    channels :: [topos_engine:channel()],
    %% Undefined while the distribution is away.
    started :: undefined | topos_otp_distribution:started(),
    kernel :: undefined | reference(),
    restarts = 0 :: non_neg_integer(),
    peers = #{} :: #{node() => #peer{}},
    workers = #{} :: #{reference() => node()}
}).

%% @doc Checks what can be checked, then makes this VM a hidden node.
-spec start_link(topos_config:t(), Sink :: pid()) -> {ok, pid()} | {error, topos_error:t()}.
start_link(#{node := Node} = Config, Sink) ->
    case whereis(?MODULE) of
        undefined ->
            case topos_otp_distribution:check(Config) of
                {ok, Address} ->
                    case gen_server:start_link({local, ?MODULE}, ?MODULE, {Config, Sink, Address}, []) of
                        {ok, Pid} -> {ok, Pid};
                        {error, {already_started, _}} -> {error, already_started(Node)};
                        {error, {shutdown, Error}} -> {error, Error}
                    end;
                {error, _} = Error ->
                    Error
            end;
        _ ->
            {error, already_started(node())}
    end.

-spec capabilities() -> #{topos_engine:capability() := boolean()}.
capabilities() ->
    #{channel_isolation => false, lane_isolation => false, tls => false, addresses => false, fault_injection => true}.

-spec addresses() -> [topos_engine:address()].
addresses() -> topos_engine_table:get(?TAB, addresses, []).

%% @doc The addresses are not used: epmd on the node's host knows the port.
-spec connect(topos_engine:peer()) -> ok.
connect(#{node := Node}) -> gen_server:cast(?MODULE, {connect, Node}).

-spec disconnect(node()) -> ok.
disconnect(Node) -> gen_server:cast(?MODULE, {disconnect, Node}).

-spec send(node(), topos_engine:channel(), topos_engine:lane(), Dest :: atom(), Frame :: iodata()) ->
    ok | {error, not_connected | no_such_channel | overloaded}.
send(Node, Channel, _Lane, Dest, Frame) ->
    case topos_engine_table:link(?TAB, Node, Channel) of
        {ok, Epoch} ->
            Message = {topos, ?TOPOS_FRAME_VERSION, Epoch, iolist_to_binary(Frame)},
            case erlang:send({Dest, Node}, Message, [noconnect, nosuspend]) of
                ok -> ok;
                noconnect -> {error, not_connected};
                nosuspend -> {error, overloaded}
            end;
        cut ->
            ok;
        {error, _} = Error ->
            Error
    end.

%% @doc As {@link send/5}, which leaves nothing in the mailbox.
-spec send_clean(node(), topos_engine:channel(), topos_engine:lane(), Dest :: atom(), Frame :: iodata()) ->
    ok | {error, not_connected | no_such_channel | overloaded}.
send_clean(Node, Channel, Lane, Dest, Frame) -> send(Node, Channel, Lane, Dest, Frame).

-spec failure(node()) -> none | {failed, topos_engine:failure()}.
failure(Node) -> topos_engine_table:failure(?TAB, Node).

%% @doc One connection carries all channels, and is counted for each.
-spec connections() -> [{node(), topos_engine:channel(), pos_integer()}].
connections() ->
    Channels = topos_engine_table:get(?TAB, channels, []),
    [{Node, Channel, 1} || Node <- lists:sort(nodes(connected)), Channel <- Channels].

%% @doc All channels share the one connection to a peer: a table is all there is to change.
-spec reconfigure(topos_node_spec:channels()) -> ok.
reconfigure(Channels) -> gen_server:call(?MODULE, {reconfigure, Channels}).

%% @doc The distribution itself is not cut: its own ticks go on.
-spec cut([node()]) -> ok.
cut(Nodes) -> gen_server:call(?MODULE, {cut, Nodes}).

%% internal

-spec already_started(node()) -> topos_error:t().
already_started(Node) -> topos_error:new(already_started, #{node => Node}).

-spec init({topos_config:t(), pid(), theirs | topos_engine:address()}) -> {ok, #state{}} | {stop, {shutdown, topos_error:t()}}.
init({#{node := Node, channels := Channels} = Config, Sink, Address}) ->
    process_flag(trap_exit, true),
    State = #state{
        config = Config,
        address = Address,
        node = Node,
        sink = Sink,
        epoch = erlang:system_time(microsecond),
        channels = lists:sort(maps:keys(Channels))
    },
    case start_distribution(State) of
        {ok, Started} ->
            ok = topos_engine_table:new(?TAB, Channels),
            ok = topos_engine_table:put(?TAB, channels, Started#state.channels),
            ok = announce(Started),
            {ok, Started};
        {error, Error} ->
            topos_engine_process:not_started(Error)
    end.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, ok | {error, unknown_call}, #state{}}.
handle_call({reconfigure, Channels}, _From, #state{peers = Peers, epoch = Epoch} = State) ->
    Names = lists:sort(maps:keys(Channels)),
    ok = topos_engine_table:set_channels(?TAB, Channels),
    ok = topos_engine_table:put(?TAB, channels, Names),
    ok = maps:foreach(
        fun(Node, #peer{phase = up}) ->
                topos_engine_table:open(?TAB, Node, maps:from_list([{Channel, Epoch} || Channel <- Names]));
           (_, _) ->
                ok
        end, Peers),
    {reply, ok, State#state{channels = Names}};
handle_call({cut, Nodes}, _From, State) ->
    {reply, topos_engine_table:cut(?TAB, Nodes), State};
handle_call(_Request, _From, State) -> {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast({connect, Node}, #state{node = Node} = State) ->
    ok = topos_engine_table:failed(?TAB, Node, {unreachable, self}),
    {noreply, State};
handle_cast({connect, Node}, #state{peers = Peers} = State) when is_map_key(Node, Peers) ->
    {noreply, State};
handle_cast({connect, Node}, State) ->
    case lists:member(Node, nodes(connected)) of
        true -> {noreply, up(Node, #peer{}, State)};
        false -> {noreply, dial(Node, #peer{}, State)}
    end;
handle_cast({disconnect, Node}, #state{peers = Peers} = State) ->
    ok = topos_engine_table:close(?TAB, Node),
    ok = topos_engine_table:forget(?TAB, Node),
    ok = case Peers of
        #{Node := #peer{phase = up}} -> topos_engine_process:tell(State#state.sink, {down, Node, disconnected});
        #{Node := Peer} -> cancel(Peer);
        #{} -> ok
    end,
    %% Also a connection that only the other side asked for. `ignored': this node is not alive.
    _ = erlang:disconnect_node(Node),
    {noreply, State#state{peers = maps:remove(Node, Peers)}}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
handle_info({nodeup, Node, _Info}, #state{peers = Peers} = State) ->
    case Peers of
        #{Node := #peer{phase = Phase} = Peer} when Phase =/= up ->
            ok = cancel(Peer),
            {noreply, up(Node, Peer, State)};
        #{} ->
            {noreply, State}
    end;
handle_info({nodedown, Node, Info}, #state{peers = Peers} = State) ->
    case Peers of
        #{Node := #peer{phase = up} = Peer} ->
            ok = topos_engine_table:close(?TAB, Node),
            ok = topos_engine_process:tell(State#state.sink, {down, Node, down_reason(Info)}),
            {noreply, wait(Node, Peer, State)};
        #{} ->
            {noreply, State}
    end;
handle_info({timeout, Timer, {retry, Node}}, #state{peers = Peers} = State) ->
    case Peers of
        #{Node := #peer{phase = waiting, timer = Timer} = Peer} -> {noreply, dial(Node, Peer, State)};
        #{} -> {noreply, State}
    end;
handle_info({'DOWN', Ref, process, _, _}, #state{kernel = Ref} = State) ->
    restart(reset(State#state{kernel = undefined}));
handle_info({'DOWN', Ref, process, Pid, Result}, #state{workers = Workers, peers = Peers} = State) ->
    case maps:take(Ref, Workers) of
        {Node, Rest} ->
            case Peers of
                #{Node := #peer{phase = connecting, worker = {Pid, Ref}} = Peer} ->
                    {noreply, dialled(Result, Node, Peer#peer{worker = undefined}, State#state{workers = Rest})};
                #{Node := _} ->
                    {noreply, State#state{workers = Rest}};
                #{} ->
                    %% It was to be disconnected while the connection was being made: now there is one to close.
                    _ = Result =:= {result, ok} andalso erlang:disconnect_node(Node),
                    {noreply, State#state{workers = Rest}}
            end;
        error ->
            {noreply, State}
    end;
handle_info(restart, #state{kernel = undefined} = State) ->
    restart(State);
handle_info(_Other, State) ->
    {noreply, State}.

-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, #state{started = undefined}) ->
    ok;
terminate(_Reason, #state{started = Started, peers = Peers}) ->
    ok = monitor_nodes(false),
    %% Ends the links also where the distribution is not ours and stays.
    lists:foreach(fun(Node) -> _ = erlang:disconnect_node(Node) end, maps:keys(Peers)),
    topos_otp_distribution:stop(Started).

%% The distribution

-spec start_distribution(#state{}) -> {ok, #state{}} | {error, topos_error:t()}.
start_distribution(#state{config = Config, address = Address} = State) ->
    case topos_otp_distribution:start(Config, Address) of
        {ok, Started} ->
            ok = monitor_nodes(true),
            {ok, State#state{started = Started, kernel = monitor(process, net_kernel), restarts = 0}};
        {error, _} = Error ->
            Error
    end.

-spec announce(#state{}) -> ok.
announce(#state{node = Node, address = Address}) ->
    Addresses =
        case {Address, topos_otp_distribution:port(Node)} of
            {{Ip, _}, {ok, Port}} -> [{Ip, Port}];
            %% A distribution that is not ours: where it listens is its owner's knowledge.
            _ -> []
        end,
    topos_engine_table:put(?TAB, addresses, Addresses).

%% Somebody stopped the distribution under us.
-spec reset(#state{}) -> #state{}.
reset(#state{peers = Peers} = State) ->
    lists:foreach(
        fun({Node, Peer}) ->
            ok = topos_engine_table:close(?TAB, Node),
            cancel(Peer)
        end,
        maps:to_list(Peers)
    ),
    ok = topos_engine_process:tell(State#state.sink, reset),
    State#state{peers = maps:map(fun(_, _) -> #peer{} end, Peers)}.

-spec restart(#state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
restart(#state{address = theirs, started = Started} = State) ->
    {stop, {distribution_stopped, node()}, State#state{started = case node() of nonode@nohost -> undefined; _ -> Started end}};
restart(#state{restarts = Restarts, peers = Peers} = State) ->
    case start_distribution(State) of
        {ok, #state{} = Started} ->
            ok = announce(Started),
            {noreply, maps:fold(fun dial/3, Started, Peers)};
        {error, Error} when Restarts >= ?MAX_RESTARTS ->
            {stop, {distribution_failed, Error}, State};
        {error, Error} ->
            ?LOG_WARNING(#{description => "the distribution did not start", reason => Error}),
            _ = erlang:send_after(?RESTART_DELAY, self(), restart),
            {noreply, State#state{restarts = Restarts + 1}}
    end.

-spec monitor_nodes(boolean()) -> ok.
monitor_nodes(Flag) ->
    case net_kernel:monitor_nodes(Flag, [{node_type, all}, nodedown_reason]) of
        ok -> ok;
        %% The distribution is gone, and its subscriptions with it.
        error when Flag =:= false -> ok
    end.

%% Peers

-spec dial(node(), #peer{}, #state{}) -> #state{}.
dial(Node, Peer, #state{workers = Workers, peers = Peers} = State) ->
    case topos_engine_table:is_cut(?TAB, Node) of
        true ->
            failed({unreachable, ehostunreach}, Node, Peer, State);
        false ->
            Worker = {_, Ref} = topos_engine_worker:start(fun() -> dial(Node) end),
            Connecting = Peer#peer{phase = connecting, timer = undefined, worker = Worker},
            State#state{peers = Peers#{Node => Connecting}, workers = Workers#{Ref => Node}}
    end.

%% Runs in a worker.
-spec dial(node()) -> ok | {error, topos_engine:failure()}.
dial(Node) ->
    %% Asked before, to tell a node that is not there from one that does not want us: connecting answers only `false'.
    case topos_otp_distribution:port(Node) of
        {ok, _Port} ->
            case net_kernel:hidden_connect_node(Node) of
                true -> ok;
                _ -> {error, refused(Node)}
            end;
        {error, not_registered} ->
            {error, {unreachable, not_registered}};
        {error, no_epmd} ->
            {error, {unreachable, econnrefused}}
    end.

%% It was registered when we began: if its port takes connections it turned us down. Why is in its log only.
-spec refused(node()) -> topos_engine:failure().
refused(Node) ->
    [_, Host] = string:split(atom_to_list(Node), "@"),
    case topos_otp_distribution:port(Node) of
        {ok, Port} ->
            case gen_tcp:connect(Host, Port, [{active, false}], 1_000) of
                {ok, Socket} ->
                    ok = gen_tcp:close(Socket),
                    {rejected, cookie_or_name};
                {error, Reason} ->
                    {unreachable, Reason}
            end;
        {error, _} ->
            {unreachable, not_registered}
    end.

-spec dialled(term(), node(), #peer{}, #state{}) -> #state{}.
dialled({result, ok}, Node, Peer, State) ->
    case lists:member(Node, nodes(connected)) of
        true -> up(Node, Peer, State);
        %% It went away again; its nodedown came while the peer was not up.
        false -> failed({unreachable, closed}, Node, Peer, State)
    end;
dialled({result, {error, Failure}}, Node, Peer, State) ->
    failed(Failure, Node, Peer, State);
dialled(Crash, Node, Peer, State) ->
    ?LOG_ERROR(#{description => "connecting crashed", node => Node, reason => Crash}),
    failed({unreachable, closed}, Node, Peer, State).

-spec failed(topos_engine:failure(), node(), #peer{}, #state{}) -> #state{}.
failed(Failure, Node, #peer{attempts = Attempts} = Peer, State) ->
    ok = topos_engine_table:failed(?TAB, Node, Failure),
    wait(Node, Peer#peer{attempts = Attempts + 1}, State).

-spec wait(node(), #peer{}, #state{}) -> #state{}.
wait(Node, #peer{attempts = Attempts} = Peer, #state{peers = Peers} = State) ->
    Timer = erlang:start_timer(topos_engine_process:backoff(Attempts), self(), {retry, Node}),
    State#state{peers = Peers#{Node => Peer#peer{phase = waiting, timer = Timer}}}.

-spec up(node(), #peer{}, #state{}) -> #state{}.
up(Node, Peer, #state{peers = Peers, channels = Channels, epoch = Epoch} = State) ->
    ok = topos_engine_table:open(?TAB, Node, maps:from_list([{Channel, Epoch} || Channel <- Channels])),
    ok = topos_engine_process:tell(State#state.sink, {up, Node}),
    State#state{peers = Peers#{Node => Peer#peer{phase = up, attempts = 0, timer = undefined, worker = undefined}}}.

-spec cancel(#peer{}) -> ok.
cancel(#peer{timer = undefined}) ->
    ok;
cancel(#peer{timer = Timer}) ->
    _ = erlang:cancel_timer(Timer),
    ok.

%% Small things

-spec down_reason(proplists:proplist()) -> term().
down_reason(Info) ->
    case proplists:get_value(nodedown_reason, Info) of
        connection_closed -> closed;
        net_tick_timeout -> ping_timeout;
        Reason -> Reason
    end.
