%% What the monitor makes of rooms, without nodes: when a lane counts as blocked, rates, and events for telemetry.
-module(topos_channel_monitor_tests).
-include_lib("eunit/include/eunit.hrl").

-define(NODE, 'peer@127.0.0.1').
%% The time it is in these tests, in milliseconds.
-define(NOW, 1_000_000).

monitor_test_() ->
    {foreach, fun setup/0, fun cleanup/1, [
        {"waiting behind a silent flight is blocked", fun waiting_behind_a_silent_flight/0},
        {"a flight alone is not blocked", fun a_flight_alone/0},
        {"a peer that is not up is not blocked", fun not_up/0},
        {"a standstill of this VM is no silence of the peer", fun standstill/0},
        {"after a standstill a peer has its second again", fun after_a_standstill/0},
        {"a lane that is being finished shows what is left", fun retiring/0}
    ]}.

setup() ->
    _ = [ets:new(T, [named_table, public]) || T <- tables()],
    ok = looked(100, 60_000),
    up().

cleanup(_) -> [true = ets:delete(T) || T <- tables()].

tables() -> [topos_lane_senders, topos_peers, topos_channel_rates, topos_channel_counts].

%% The monitor looked so many ms ago, and has looked in time since so many.
looked(Ago, Since) ->
    true = ets:insert(topos_channel_rates, {looked, ?NOW - Ago, ?NOW - Since}),
    ok.

up() -> true = ets:insert(topos_peers, {?NODE, up, 1, <<>>}).

%% A lane with so many messages, of which so many are in flight, and nothing acknowledged for so many ms.
lane(Messages, Flying, Since) ->
    {Counters, none} = Room = topos_lane:new_room(),
    ok = atomics:put(Counters, 1, Messages),
    ok = atomics:put(Counters, 2, 10 * Messages),
    ok = atomics:put(Counters, 3, 8),
    ok = atomics:put(Counters, 4, ?NOW - Since),
    ok = atomics:put(Counters, 5, Flying),
    true = ets:insert(topos_lane_senders, {{?NODE, data, 0}, self(), Room, 1}),
    Room.

waiting_behind_a_silent_flight() ->
    _ = lane(100, 20, 1_500),
    ?assertMatch([#{lane := 0, messages := 100, bytes := 1000, in_flight := 8, blocked_for := 1_500}],
        topos_channel_monitor:blocked(?NOW)),
    %% Something was acknowledged a moment ago.
    _ = lane(100, 20, 300),
    ?assertEqual([], topos_channel_monitor:blocked(?NOW)).

a_flight_alone() ->
    _ = lane(20, 20, 5_000),
    ?assertEqual([], topos_channel_monitor:blocked(?NOW)).

not_up() ->
    true = ets:insert(topos_peers, {?NODE, suspect, 1, <<>>}),
    _ = lane(100, 20, 5_000),
    ?assertMatch([#{blocked_for := 0}], topos_channel_monitor:lanes(?NOW)).

standstill() ->
    ok = looked(5_000, 60_000),
    _ = lane(100, 20, 5_200),
    ?assertEqual([], topos_channel_monitor:blocked(?NOW)),
    %% Silent for long before it.
    _ = lane(100, 20, 7_000),
    ?assertMatch([#{blocked_for := 2_000}], topos_channel_monitor:blocked(?NOW)).

after_a_standstill() ->
    {ok, State} = topos_channel_monitor:init([]),
    Real = erlang:monotonic_time(millisecond),
    true = ets:insert(topos_channel_rates, {looked, Real - 5_000, Real - 60_000}),
    _ = lane(100, 20, ?NOW - Real + 7_000),
    {noreply, _} = topos_channel_monitor:handle_info(sample, State),
    [{_, Looked, Looked}] = ets:lookup(topos_channel_rates, looked),
    ?assertMatch([#{blocked_for := 500}], topos_channel_monitor:lanes(Looked + 500)),
    ?assertEqual([], topos_channel_monitor:blocked(Looked + 700)),
    true = ets:insert(topos_channel_rates, {looked, Looked + 500, Looked}),
    ?assertMatch([#{blocked_for := 1_000}], topos_channel_monitor:blocked(Looked + 1_000)).

retiring() ->
    Room = lane(100, 0, 0),
    100 = topos_lane:finish_room(Room),
    ok = topos_lane:release_room(Room, 60, 600),
    true = ets:delete_all_objects(topos_lane_senders),
    true = ets:insert(topos_lane_senders, {{?NODE, data, {retiring, self()}}, self(), Room, 1}),
    ?assertMatch([#{lane := retiring, messages := 40, bytes := 400}], topos_channel_monitor:lanes(?NOW)),
    closed = topos_lane:close_room(Room).
