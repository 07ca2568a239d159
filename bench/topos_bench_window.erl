%% @doc Named channels against one, where the window of a socket is the limit: two network namespaces joined by a router
%% that takes 10 ms each way (`native/topos-router'), at most 256 KB unacknowledged in a TCP connection, messages of 512 KB.
%%
%% A connection then carries about 256 KB each 20 ms, however fast the machines are. With a channel of its own, each kind of
%% traffic has a window of its own.
-module(topos_bench_window).

-export([run/1]).

-define(NAME, "named_channels_20_ms").
-define(DELAY_MS, 10).
-define(WINDOW_BYTES, 262_144).
-define(MESSAGE_BYTES, 524_288).
-define(CHANNELS, 16).
%% The router: to make the link, and to take it away.
-define(READY, 10_000).
-define(GONE, 10_000).
-define(TIMEOUT, 120_000).

-spec run(#{rounds := pos_integer(), quick := boolean(), _ => _}) -> [topos_bench_report:row()].
run(#{rounds := Rounds, quick := Quick}) ->
    case {os:find_executable("ip"), filelib:is_regular(router()), lists:member(partisan, topos_engine:available())} of
        {false, _, _} ->
            [topos_bench_report:skip(?NAME, "there is no `ip` command")];
        {_, false, _} ->
            [topos_bench_report:skip(?NAME, "the router is not built: cargo build --release -p topos-router")];
        {_, _, false} ->
            [topos_bench_report:skip(?NAME, "Partisan is not installed, and Distributed Erlang has one connection")];
        {_, true, true} ->
            with_router(fun(Places) -> measure(Places, Rounds, Quick) end)
    end.

%% internal

-spec router() -> file:filename().
router() -> filename:join([os:getenv("CARGO_TARGET_DIR", "target"), "release", "topos-router"]).

%% The router removes the namespaces when its standard input ends: when the port is closed, or with this VM.
-spec with_router(fun(([topos_bench_vm:place()]) -> [topos_bench_report:row()])) -> [topos_bench_report:row()].
with_router(Fun) ->
    Args = ["--delay-ms", integer_to_list(?DELAY_MS), "--socket-buffer", integer_to_list(?WINDOW_BYTES)],
    Port = open_port({spawn_executable, router()}, [{args, Args}, {line, 1_000}, exit_status, stderr_to_stdout]),
    receive
        {Port, {data, {eol, "ready " ++ Where}}} ->
            [SpaceA, A, SpaceB, B] = string:lexemes(Where, " "),
            try
                Fun([place(SpaceA, A), place(SpaceB, B)])
            after
                ok = close(Port, [SpaceA, SpaceB])
            end;
        {Port, {data, {eol, "topos-router: " ++ Why}}} ->
            [topos_bench_report:skip(?NAME, Why)];
        {Port, {exit_status, Status}} ->
            [topos_bench_report:skip(?NAME, lists:concat(["the router ended with status ", Status]))]
    after ?READY ->
        true = port_close(Port),
        [topos_bench_report:skip(?NAME, "the router did not make its link in 10 seconds")]
    end.

-spec place(string(), string()) -> topos_bench_vm:place().
place(Space, Address) ->
    {ok, Ip} = inet:parse_ipv4strict_address(Address),
    {[os:find_executable("ip"), "netns", "exec", Space], Ip}.

%% Returns when the namespaces are gone.
-spec close(port(), [string()]) -> ok.
close(Port, Spaces) ->
    true = port_close(Port),
    gone(Spaces, erlang:monotonic_time(millisecond) + ?GONE).

-spec gone([string()], integer()) -> ok.
gone(Spaces, Deadline) ->
    Listed = os:cmd("ip netns list"),
    case [S || S <- Spaces, string:find(Listed, S) =/= nomatch] of
        [] ->
            ok;
        Left ->
            case erlang:monotonic_time(millisecond) > Deadline of
                true -> io:format(standard_error, "network namespaces were left behind: ~0p~n", [Left]);
                false -> receive after 20 -> gone(Spaces, Deadline) end
            end
    end.

-spec measure([topos_bench_vm:place()], pos_integer(), boolean()) -> [topos_bench_report:row()].
measure(Places, Rounds, Quick) ->
    Channels = [list_to_atom("stream_" ++ integer_to_list(N)) || N <- lists:seq(1, ?CHANNELS)],
    Config = #{insecure => true, channels => maps:from_list([{C, #{parallelism => 1}} || C <- Channels])},
    Pair = topos_bench_vm:start({bridge, partisan}, #{places => Places, config => Config}),
    try
        #{sender := A, receiver := {_, Node}} = Pair,
        Times = topos_bench_vm:call(A, acknowledged, [Node, 20]),
        Rtt = topos_bench_report:median(Times),
        Count = case Quick of true -> 32; false -> 64 end,
        Sides = [
            {"one channel", [hd(Channels)], max(16, Count div 4)},
            {lists:concat([?CHANNELS, " channels"]), Channels, 4 * Count}
        ],
        %% The first round opens the windows.
        Samples = [
            {Side, topos_bench_burst:rate(Pair, {?MESSAGE_BYTES, Messages, ?CHANNELS}, Used, ?TIMEOUT)}
         || _ <- lists:seq(0, min(Rounds, 3)), {Side, Used, Messages} <- Sides
        ],
        Medians = [{Side, topos_bench_report:median(tl([R || {S, R} <- Samples, S =:= Side]))} || {Side, _, _} <- Sides],
        ok = topos_bench_report:heading(
            lists:flatten(io_lib:format("messages of 512 KB over a link with a round trip of ~.1f ms, ~b connections",
                                        [Rtt / 1000, topos_bench_vm:sockets(Pair)]))),
        ok = topos_bench_report:figures([{Side, R, "messages/s"} || {Side, R} <- Medians]),
        [{One, Single}, {Many, Named}] = Medians,
        [
            topos_bench_report:row(#{
                line => ?NAME, subject => Many, figure => Named, unit => "messages/s", against => One,
                ratio => Named / Single, at_least => 10.0
            })
        ]
    after
        topos_bench_vm:stop(Pair)
    end.
