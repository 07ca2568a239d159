%% @doc An engine in a VM of the suite, as a supervisor would hold it: these functions run in that VM.
%%
%% Events go to the probe `sink'.
-module(topos_ct_engine).

-export([config/1, config/2, start/1, stop/0, module/0, events/0, traffic/5]).

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

%% internal

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
