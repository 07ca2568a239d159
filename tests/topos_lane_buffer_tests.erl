%% The buffer of a lane as senders and the lane's process see it; its order and limits are proved in the crate.
-module(topos_lane_buffer_tests).

-include_lib("eunit/include/eunit.hrl").

-define(WAIT, (topos_await:patience())).

order_and_kinds_test() ->
    Buffer = topos_lane_buffer:new(100, 1_000),
    Large = binary:copy(<<7>>, 5_000),
    ?assertEqual(empty, topos_lane_buffer:take(Buffer)),
    [ok = topos_lane_buffer:push(Buffer, self(), Record) || Record <- [[<<"a">> | <<"b">>], [<<"c">>, <<"d">>], [<<"e">>, <<"f">>, <<"g">>]]],
    ok = topos_lane_buffer:push_item(Buffer, self(), {item, self(), Large}, 5_000),
    ok = topos_lane_buffer:push(Buffer, self(), [<<"h">>]),
    ?assertEqual({records, 3, <<"abcdefg">>}, topos_lane_buffer:take(Buffer)),
    ?assertEqual({items, [{item, self(), Large}]}, topos_lane_buffer:take(Buffer)),
    ?assertEqual({records, 1, <<"h">>}, topos_lane_buffer:take(Buffer)),
    ?assertEqual(empty, topos_lane_buffer:take(Buffer)),
    ?assertEqual(1, told()).

closed_test() ->
    Buffer = topos_lane_buffer:new(100, 1_000),
    ok = topos_lane_buffer:push(Buffer, self(), [<<"a">>]),
    ok = topos_lane_buffer:close(Buffer),
    ?assertEqual(closed, topos_lane_buffer:push(Buffer, self(), [<<"b">>])),
    ?assertEqual(closed, topos_lane_buffer:push_item(Buffer, self(), b, 1)),
    ?assertEqual({records, 1, <<"a">>}, topos_lane_buffer:take(Buffer)),
    ?assertEqual(empty, topos_lane_buffer:take(Buffer)),
    _ = told().

%% Many add at once, some of them killed while they do: the process always hears of what waits, and gets each sender's in order.
nobody_is_forgotten_test_() ->
    {timeout, 60, fun() ->
        Buffer = topos_lane_buffer:new(50, 10_000),
        Self = self(),
        Senders = [spawn_monitor(fun() -> [add(Buffer, Self, Sender, N) || N <- lists:seq(1, 2_000)] end) || Sender <- lists:seq(1, 8)],
        [exit(Pid, kill) || {Pid, _} <- lists:sublist(Senders, 3)],
        Got = drained(Buffer, [Ref || {_, Ref} <- Senders], []),
        [?assertEqual(lists:seq(1, length(Of)), Of) || Sender <- lists:seq(1, 8), Of <- [[N || {S, N} <- Got, S =:= Sender]]],
        [?assertEqual(2_000, length([N || {S, N} <- Got, S =:= Sender])) || Sender <- lists:seq(4, 8)]
    end}.

add(Buffer, To, Sender, N) when N rem 7 =:= 0 -> ok = topos_lane_buffer:push_item(Buffer, To, {Sender, N}, 8);
add(Buffer, To, Sender, N) -> ok = topos_lane_buffer:push(Buffer, To, [<<Sender:32>> | <<N:32>>]).

drained(Buffer, Running, Got) ->
    receive
        {topos_lane, waiting} -> drained(Buffer, Running, emptied(Buffer, Got));
        {'DOWN', Ref, process, _, _} -> drained(Buffer, lists:delete(Ref, Running), Got)
    after case Running of [] -> 0; _ -> ?WAIT end ->
        ?assertEqual([], Running),
        ?assertEqual(empty, topos_lane_buffer:take(Buffer)),
        Got
    end.

emptied(Buffer, Got) ->
    case topos_lane_buffer:take(Buffer) of
        empty -> Got;
        {records, _, Bytes} -> emptied(Buffer, Got ++ [{Sender, N} || <<Sender:32, N:32>> <= Bytes]);
        {items, Items} -> emptied(Buffer, Got ++ Items)
    end.

told() -> receive {topos_lane, waiting} -> 1 + told() after 0 -> 0 end.
