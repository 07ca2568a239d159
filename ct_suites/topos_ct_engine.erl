%% @doc An engine in a VM of the suite, as a supervisor would hold it: these functions run in that VM.
%%
%% Events go to the probe `sink'.
-module(topos_ct_engine).

-export([config/1, config/2, start/1, stop/0, module/0, events/0, traffic/5]).
-export([start_traffic/1, until_overloaded/4, inventory/0, listener/0, suspend_inbound/0, resume_inbound/1, queues/1, sockets/0]).

%% @doc A configuration as `topos_config' fills it in, reduced to what engines read.
-spec config(node()) -> topos_config:t().
config(Node) -> config(Node, #{}).

-spec config(node(), map()) -> topos_config:t().
config(Node, Overrides) ->
    Channel = #{parallelism => 1, monotonic => false, compression => false},
    maps:merge(
        #{
            node => Node,
            engine => partisan,
            listen => [{{127, 0, 0, 1}, 0}],
            cookie => <<"suite">>,
            channels => #{
                control => Channel,
                data => Channel#{parallelism := 2},
                state_sync => Channel#{monotonic := true},
                bulk => Channel#{compression := true}
            },
            tls => undefined,
            limits => #{max_message_bytes => 16_777_216},
            timeouts => #{connect => 5_000, call => 5_000, leave => 5_000}
        },
        Overrides
    ).

%% @doc Starts the engine of the configuration under a process that holds it.
-spec start(topos_config:t()) -> {ok, [topos_engine:address()]} | {error, topos_error:t()}.
start(#{engine := Name} = Config) ->
    case whereis(sink) of
        undefined -> topos_ct_probe:start(sink);
        _ -> topos_ct_probe:flush(sink)
    end,
    Module = topos_engine:module(Name),
    Caller = self(),
    {Holder, Ref} = spawn_monitor(fun() -> hold(Module, Config, Caller) end),
    receive
        {Holder, {ok, _Pid}} ->
            persistent_term:put(?MODULE, Module),
            true = demonitor(Ref, [flush]),
            {ok, Module:addresses()};
        {Holder, {error, Error}} ->
            true = demonitor(Ref, [flush]),
            {error, Error};
        {'DOWN', Ref, process, Holder, Reason} ->
            error({start_crashed, Reason})
    end.

%% @doc Stops it in good order.
-spec stop() -> ok.
stop() ->
    Ref = monitor(process, ?MODULE),
    ?MODULE ! stop,
    receive
        {'DOWN', Ref, process, _, normal} -> ok
    after 60_000 -> error(engine_does_not_stop)
    end.

-spec module() -> module().
module() -> persistent_term:get(?MODULE).

%% @doc The events so far.
-spec events() -> [reset | {up, node()} | {down, node(), term()}].
events() -> [Event || {_, {topos_engine, Event}} <- topos_ct_probe:messages(sink)].

%% @doc Sends `<<I:32, Padding>>' for I in 1..N on a lane, and waits while the engine is overloaded. The answer is how often it was.
-spec traffic(node(), topos_engine:channel(), topos_engine:lane(), Dest :: atom(), {N :: pos_integer(), binary()}) ->
    non_neg_integer().
traffic(Node, Channel, Lane, Dest, {N, Padding}) -> traffic(module(), Node, Channel, Lane, Dest, 1, N, Padding, 0).

%% @doc Sends small frames to nodes, one a millisecond, until `traffic' is killed.
-spec start_traffic([node()]) -> ok.
start_traffic(Targets) ->
    Pid = spawn(fun() -> endless(module(), Targets, 1) end),
    true = register(traffic, Pid),
    ok.

%% @doc Sends frames of 80 kB, at most so many, until one is refused: after how many.
-spec until_overloaded(module(), node(), Dest :: atom(), Limit :: pos_integer()) -> non_neg_integer() | never.
until_overloaded(Module, Node, Dest, Limit) -> until_overloaded(Module, Node, Dest, 0, Limit, <<0:80_000>>).

%% @doc What is there and can be told apart between two moments.
-spec inventory() -> #{atom() => list()}.
inventory() ->
    Ports = [erlang:port_info(P, name) || P <- erlang:ports()],
    #{
        registered => lists:sort(registered()),
        sockets => [N || {name, N} <- Ports, lists:prefix("tcp", N)],
        tables => lists:sort([N || T <- ets:all(), N <- [ets:info(T, name)], is_atom(N), lists:prefix("partisan", atom_to_list(N)) orelse lists:prefix("topos", atom_to_list(N))]),
        terms => lists:sort([K || {K, _} <- persistent_term:get(), is_tuple(K), lists:prefix("partisan", lists:flatten(io_lib:format("~p", [element(1, K)])))]),
        environment => lists:sort(application:get_all_env(partisan)),
        processes => lists:duplicate(length(processes()), process)
    }.

%% @doc The processes of our listening sockets.
-spec listener() -> [pid()].
listener() -> [Pid || {{topos_partisan_listener, _}, Pid, _, _} <- supervisor:which_children(partisan_acceptor_socket_pool_sup)].

%% @doc Has the processes of inbound connections stand still.
-spec suspend_inbound() -> [pid()].
suspend_inbound() -> [begin ok = sys:suspend(Pid), Pid end || Pid <- inbound()].

-spec resume_inbound([pid()]) -> ok.
resume_inbound(Pids) -> lists:foreach(fun sys:resume/1, Pids).

-spec queues([pid()]) -> [non_neg_integer()].
queues(Pids) -> [N || Pid <- Pids, {message_queue_len, N} <- [process_info(Pid, message_queue_len)]].

%% @doc Connected TCP sockets.
-spec sockets() -> non_neg_integer().
sockets() -> length([P || P <- erlang:ports(), {name, "tcp_inet"} <- [erlang:port_info(P, name)], {ok, _} <- [inet:peername(P)]]).

%% internal

endless(Module, Targets, I) ->
    [Module:send(T, data, I rem 2, dest, <<I:64>>) || T <- Targets],
    receive after 1 -> ok end,
    endless(Module, Targets, I + 1).

until_overloaded(_Module, _Node, _Dest, Limit, Limit, _Frame) -> never;
until_overloaded(Module, Node, Dest, N, Limit, Frame) ->
    case Module:send(Node, data, 0, Dest, Frame) of
        ok -> until_overloaded(Module, Node, Dest, N + 1, Limit, Frame);
        {error, overloaded} -> N
    end.

%% The processes of inbound connections.
inbound() ->
    [
        Pid
     || Pid <- processes(),
        {dictionary, Dictionary} <- [process_info(Pid, dictionary)],
        {'$initial_call', {topos_partisan_listener, _, _}} <- Dictionary,
        {current_function, {gen_server, loop, _}} <- [process_info(Pid, current_function)]
    ].

hold(Module, Config, Caller) ->
    process_flag(trap_exit, true),
    case Module:start_link(Config, whereis(sink)) of
        {ok, Pid} ->
            true = register(?MODULE, self()),
            Caller ! {self(), {ok, Pid}},
            receive
                stop ->
                    exit(Pid, shutdown),
                    receive
                        {'EXIT', Pid, shutdown} -> ok
                    end;
                {'EXIT', Pid, Reason} ->
                    exit({engine_died, Reason})
            end;
        {error, Error} ->
            Caller ! {self(), {error, Error}}
    end.

traffic(_Module, _Node, _Channel, _Lane, _Dest, I, N, _Padding, Waits) when I > N ->
    Waits;
traffic(Module, Node, Channel, Lane, Dest, I, N, Padding, Waits) ->
    case Module:send(Node, Channel, Lane, Dest, [<<Lane:16, I:32>>, Padding]) of
        ok -> traffic(Module, Node, Channel, Lane, Dest, I + 1, N, Padding, Waits);
        {error, overloaded} ->
            receive after 1 -> ok end,
            traffic(Module, Node, Channel, Lane, Dest, I, N, Padding, Waits + 1)
    end.
