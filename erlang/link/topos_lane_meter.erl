%% @doc Counts what a sending lane does, and times its batches: from their first sending to their acknowledgement.
%%
%% A batch that was sent again is not timed, since its acknowledgement may be for either sending (P. Karn, C. Partridge:
%% Improving round-trip time estimates in reliable transport protocols, 1987).
%%
%% The lane's room shows others what is in flight: slot 3 holds the number of unacknowledged batches, slot 4 since when (ms,
%% monotonic) nothing was acknowledged while some were, slot 5 how many messages they hold.
-module(topos_lane_meter).

-export([new/2, effects/2, acknowledged/3, publish/2, in_flight/1]).
-export_type([t/0]).

-record(meter, {
    row :: topos_channel_stats:row(),
    stream = 0 :: non_neg_integer(),
    highest = 0 :: non_neg_integer(),
    %% Sequence, time of sending (us), number of messages that end in it, whether it was sent once only.
    flight = queue:new() :: queue:queue({pos_integer(), integer(), non_neg_integer(), boolean()}),
    %% When something was acknowledged or the flight began (ms).
    progress = 0 :: integer()
}).
-opaque t() :: #meter{}.

-spec new(node(), topos_engine:channel()) -> t().
new(Node, Channel) -> #meter{row = topos_channel_stats:row(Node, Channel)}.

-spec effects([topos_lane_out:effect()], t()) -> t().
effects([], Meter) -> Meter;
effects(Effects, Meter) -> lists:foldl(fun(Effect, Acc) -> effect(Effect, Acc) end, Meter, Effects).

%% @doc To be called with every acknowledgement, before its effects.
-spec acknowledged(topos_frame:stream(), non_neg_integer(), t()) -> t().
acknowledged({Stream, _}, Cumulative, #meter{stream = Stream} = Meter) -> landed(Cumulative, now_us(), Meter);
acknowledged(_, _, Meter) -> Meter.

-spec publish(topos_lane:room(), t()) -> ok.
publish({Room, _}, #meter{flight = Flight, progress = Progress}) ->
    ok = atomics:put(Room, 3, queue:len(Flight)),
    ok = atomics:put(Room, 5, queue:fold(fun({_, _, Count, _}, Sum) -> Sum + Count end, 0, Flight)),
    atomics:put(Room, 4, Progress).

%% @doc Batches in flight, how many messages are in them, and since when (ms) nothing was acknowledged; `none' when nothing
%% is in flight.
-spec in_flight(topos_lane:room()) -> {pos_integer(), non_neg_integer(), integer()} | none.
in_flight({Room, _}) ->
    case atomics:get(Room, 3) of
        0 -> none;
        N -> {N, atomics:get(Room, 5), atomics:get(Room, 4)}
    end.

%% internal

-spec effect(topos_lane_out:effect(), t()) -> t().
effect({send, {Stream, _}, Sequence, Flags, Pieces, Size}, #meter{stream = Current} = Meter) when Stream =/= Current ->
    effect({send, {Stream, 0}, Sequence, Flags, Pieces, Size}, Meter#meter{stream = Stream, highest = 0, flight = queue:new()});
effect({send, _, Sequence, _, _, {Count, Bytes}}, #meter{highest = Highest, flight = Flight, row = Row} = Meter) when
    Sequence > Highest
->
    ok = topos_channel_stats:add(messages_out, Count, Row),
    ok = topos_channel_stats:add(bytes_out, Bytes, Row),
    Now = now_us(),
    Progress = case queue:is_empty(Flight) of true -> Now div 1000; false -> Meter#meter.progress end,
    Meter#meter{highest = Sequence, flight = queue:in({Sequence, Now, Count, true}, Flight), progress = Progress};
effect({send, _, Again, _, _, _}, #meter{flight = Flight, row = Row} = Meter) ->
    ok = topos_local:count(resent),
    ok = topos_channel_stats:add(retries, 1, Row),
    Meter#meter{flight = queue:filtermap(
        fun({Sequence, At, Count, _}) when Sequence =:= Again -> {true, {Sequence, At, Count, false}}; (_) -> true end, Flight)};
effect({dropped, lost, N}, #meter{row = Row} = Meter) ->
    ok = topos_channel_stats:add(lost, N, Row),
    Meter#meter{flight = queue:new()};
effect({dropped, Why, N}, #meter{row = Row} = Meter) ->
    ok = topos_channel_stats:add(Why, N, Row),
    Meter;
effect({in_doubt, N}, #meter{row = Row} = Meter) ->
    ok = topos_channel_stats:add(in_doubt, N, Row),
    Meter#meter{flight = queue:new()};
effect({failed, _, _}, #meter{row = Row} = Meter) ->
    ok = topos_channel_stats:add(undeliverable, 1, Row),
    Meter;
effect({settle, _, {failed, _}}, #meter{row = Row} = Meter) ->
    ok = topos_channel_stats:add(undeliverable, 1, Row),
    Meter;
effect(_, Meter) ->
    Meter.

-spec landed(non_neg_integer(), integer(), t()) -> t().
landed(Cumulative, Now, #meter{flight = Flight, row = {_, Histogram} = Row} = Meter) ->
    case queue:peek(Flight) of
        {value, {Sequence, At, Count, Once}} when Sequence =< Cumulative ->
            ok = topos_channel_stats:add(acknowledged, Count, Row),
            ok = case Once of true -> topos_histogram:record(Now - At, Histogram); false -> ok end,
            landed(Cumulative, Now, Meter#meter{flight = queue:drop(Flight), progress = Now div 1000});
        _ ->
            Meter
    end.

-spec now_us() -> integer().
now_us() -> erlang:monotonic_time(microsecond).
