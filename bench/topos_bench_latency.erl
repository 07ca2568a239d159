%% @doc Latency: of small messages while another channel is full of large ones, and of requests with nothing else going on.
-module(topos_bench_latency).

-export([under_bulk/2, requests/2, requests_apart/1]).

-define(BULK_BYTES, 1_000_000).
-define(REQUEST_BYTES, 100).

%% @doc p99 of the round trip of a small message on `control' while `bulk' carries 1 MB messages as fast as it takes them,
%% against the same with both on `data', the channel of those who name none. With both on `bulk' too, where small messages overtake
%% the pieces of large ones: a figure without a goal.
-spec under_bulk([topos_bench_vm:pair()], #{rounds := pos_integer(), quick := boolean()}) -> [topos_bench_report:row()].
under_bulk(Pairs, #{rounds := Rounds, quick := Quick}) ->
    Effort = case Quick of true -> {50, 3_000}; false -> {300, 6_000} end,
    lists:append([
        begin
            Label = topos_bench_vm:label(Name),
            Sides = [
                {"control apart from bulk", {control, bulk}}, {"everything on one channel", {data, data}},
                {"everything on bulk", {bulk, bulk}}
            ],
            Samples = [{Side, round_trips(Pair, Channels, Effort)} || _ <- lists:seq(1, Rounds), {Side, Channels} <- Sides],
            P99 = [{Side, p99(Side, Samples)} || {Side, _} <- Sides],
            ok = topos_bench_report:heading(Label ++ ": round trip of a small message while 1 MB messages flow, p99"),
            ok = topos_bench_report:figures([{Side, Time, "µs"} || {Side, Time} <- P99]),
            [{_, Apart}, {_, Together}, _] = P99,
            [
                topos_bench_report:row(#{
                    line => "control_p99_under_bulk", subject => Label, figure => Apart, unit => "µs",
                    against => "one channel", ratio => Apart / Together, at_most => goal(Name)
                })
            ]
        end
     || #{name := {bridge, _} = Name} = Pair <- Pairs
    ]).

%% @doc Request and reply of 100 bytes, one in flight, against `erpc', wherever the system puts the nodes. Two VMs that happen to share
%% a core wake each other several times faster than two that do not, so that a ratio says as much of that as of the contestants.
-spec requests([topos_bench_vm:pair()], #{rounds := pos_integer(), quick := boolean()}) -> [topos_bench_report:row()].
requests(Pairs, Options) -> requests("request_100_bytes_anywhere", none, Pairs, Options).

%% @doc The same with a core for each node, as two machines have it. Where that cannot be had there is no row, and a sentence says why.
-spec requests_apart(#{rounds := pos_integer(), quick := boolean()}) -> [topos_bench_report:row()].
requests_apart(Options) ->
    case {topos_bench_vm:a_core_each(), [Name || Name <- topos_bench_vm:available(), Name =/= plain_partisan]} of
        {{ok, Places}, Names} ->
            Pairs = [topos_bench_vm:start(Name, #{places => Places}) || Name <- Names],
            try
                requests("request_100_bytes", 1.3, Pairs, Options)
            after
                lists:foreach(fun topos_bench_vm:stop/1, Pairs)
            end;
        {{error, Why}, _} ->
            [topos_bench_report:skip("request_100_bytes", Why)]
    end.

%% internal

-spec requests(string(), float() | none, [topos_bench_vm:pair()], #{rounds := pos_integer(), quick := boolean()}) -> [topos_bench_report:row()].
requests(Line, Goal, Pairs, #{rounds := Rounds, quick := Quick}) ->
    Count = case Quick of true -> 200; false -> 1_000 end,
    Able = [Pair || #{name := Name} = Pair <- Pairs, Name =/= plain_partisan],
    lists:foreach(fun(#{name := Name, receiver := B}) -> ok = serve(Name, B) end, Able),
    Samples = [
        {Name, topos_bench_report:median(topos_bench_vm:call(A, calls, [Name, Node, ?REQUEST_BYTES, Count]))}
     || _ <- lists:seq(0, Rounds), #{name := Name, sender := A, receiver := {_, Node}} <- Able
    ],
    Medians = [{Name, topos_bench_report:median(tl([T || {N, T} <- Samples, N =:= Name]))} || #{name := Name} <- Able],
    ok = topos_bench_report:heading(Line ++ ": request and reply, one in flight, median"),
    ok = topos_bench_report:figures([{topos_bench_vm:label(N), T, "µs"} || {N, T} <- Medians]),
    Reference = proplists:get_value(distributed_erlang, Medians),
    [
        topos_bench_report:row(#{
            line => Line, subject => topos_bench_vm:label(Name), figure => Time, unit => "µs",
            against => "erpc", ratio => Time / Reference, at_most => Goal
        })
     || {{bridge, _} = Name, Time} <- Medians
    ].

%% One socket carries everything on Distributed Erlang (`topos_engine:capability()'): nothing is promised of it.
-spec goal(topos_bench_vm:name()) -> float() | none.
goal({bridge, Engine}) ->
    case (topos_engine:module(Engine)):capabilities() of
        #{channel_isolation := true} -> 0.1;
        #{channel_isolation := false} -> none
    end.

-spec serve(topos_bench_vm:name(), topos_bench_vm:vm()) -> ok.
serve({bridge, _}, Vm) -> topos_bench_vm:call(Vm, serve, []);
serve(distributed_erlang, _) -> ok.

-spec round_trips(topos_bench_vm:pair(), {Small :: atom(), Large :: atom()}, {pos_integer(), pos_integer()}) -> [pos_integer()].
round_trips(#{name := Name, sender := {_, Here} = A, receiver := {_, There} = B}, {Small, Large}, {Count, Milliseconds}) ->
    ok = topos_bench_vm:call(B, start_echo, [Name, Small]),
    Bulk = topos_bench_vm:call(A, start_bulk, [Name, There, Large, ?BULK_BYTES]),
    Times = topos_bench_vm:call(A, ping, [Name, {Here, There}, Small, Count, Milliseconds]),
    Sent = topos_bench_vm:call(A, stop_bulk, [Bulk]),
    ok = topos_bench_vm:call(B, stop_echo, [Sent]),
    Times.

-spec p99(string(), [{string(), [pos_integer()]}]) -> pos_integer().
p99(Side, Samples) ->
    Sorted = lists:sort(lists:append([Times || {S, Times} <- Samples, S =:= Side])),
    lists:nth(max(1, ceil(length(Sorted) * 0.99)), Sorted).
