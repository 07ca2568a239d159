%% @doc Throughput: bursts of messages from one process or sixteen to one process of the peer.
%%
%% The clock runs from the first send to the moment the receiver has the last message and has said so over the control
%% connection. A contestant that refuses (`overloaded') is asked again: that wait is part of its time.
-module(topos_bench_burst).

-export([run/2, rate/4]).

-type load() :: #{bytes := pos_integer(), messages := pos_integer(), senders := pos_integer()}.

%% @doc All loads. `rounds': how often each contestant is measured.
-spec run([topos_bench_vm:pair()], #{rounds := pos_integer(), quick := boolean()}) -> [topos_bench_report:row()].
run(Pairs, #{rounds := Rounds, quick := Quick}) ->
    lists:append([load(Pairs, Load, Rounds) || Load <- loads(Quick)]).

%% internal

-spec loads(boolean()) -> [load()].
loads(false) ->
    [
        #{bytes => 100, messages => 100_000, senders => 1}, #{bytes => 100, messages => 100_000, senders => 16},
        #{bytes => 10_000, messages => 10_000, senders => 1}, #{bytes => 1_000_000, messages => 200, senders => 1}
    ];
loads(true) ->
    [
        #{bytes => 100, messages => 20_000, senders => 1}, #{bytes => 100, messages => 20_000, senders => 16},
        #{bytes => 10_000, messages => 4_000, senders => 1}, #{bytes => 1_000_000, messages => 50, senders => 1}
    ].

-spec load([topos_bench_vm:pair()], load(), pos_integer()) -> [topos_bench_report:row()].
load(Pairs, Load, Rounds) ->
    Samples = [{Name, rate(Pair, Load, data)} || _ <- lists:seq(1, Rounds), #{name := Name} = Pair <- Pairs],
    Medians = [{Name, topos_bench_report:median([R || {N, R} <- Samples, N =:= Name])} || #{name := Name} <- Pairs],
    ok = topos_bench_report:heading(title(Load)),
    ok = topos_bench_report:figures([{topos_bench_vm:label(N), R, "messages/s"} || {N, R} <- Medians]),
    [
        topos_bench_report:row(#{
            line => line(Load), subject => topos_bench_vm:label(Name), figure => Rate, unit => "messages/s",
            against => topos_bench_vm:label(Other), ratio => Rate / Reference, at_least => goal(Other, Load)
        })
     || {{bridge, _} = Name, Rate} <- Medians,
        {Other, Reference} <- Medians,
        lists:member(Other, [plain_partisan, distributed_erlang]),
        goal(Other, Load) =/= none
    ].

-spec title(load()) -> string().
title(#{bytes := Bytes, messages := Messages, senders := Senders}) ->
    lists:concat(["burst of ", Messages, " messages of ", Bytes, " bytes from ", Senders, " sender(s)"]).

-spec line(load()) -> string().
line(#{bytes := Bytes, senders := Senders}) -> lists:concat(["burst_", Bytes, "_bytes_", Senders, "_senders"]).

-spec goal(topos_bench_vm:name(), load()) -> float() | none.
goal(plain_partisan, #{bytes := 100}) -> 20.0;
goal(distributed_erlang, #{bytes := 100}) -> 1.3;
goal(distributed_erlang, #{bytes := 10_000}) -> 1.5;
goal(distributed_erlang, #{bytes := 1_000_000}) -> 1.0;
goal(_, _) -> none.

-spec rate(topos_bench_vm:pair(), load(), atom()) -> float().
rate(Pair, #{bytes := Bytes, messages := Messages, senders := Senders}, Channel) ->
    rate(Pair, {Bytes, Messages, Senders}, [Channel], 180_000).

%% @doc Messages a second, over the channels in turn.
-spec rate(topos_bench_vm:pair(), {pos_integer(), pos_integer(), pos_integer()}, [atom(), ...], timeout()) -> float().
rate(#{name := Name, sender := A, receiver := {_, Node} = B}, {Bytes, Messages, Senders}, Channels, Timeout) ->
    ok = topos_bench_vm:call(B, start_sink, []),
    Started = erlang:monotonic_time(microsecond),
    ok = topos_bench_vm:call(A, burst, [Name, Node, Bytes, Messages, Senders, Channels]),
    ok = topos_bench_vm:call(B, await_sink, [Messages, Timeout]),
    Messages * 1.0e6 / (erlang:monotonic_time(microsecond) - Started).
