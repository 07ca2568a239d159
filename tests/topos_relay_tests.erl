%% Frames to peers that are no neighbours, and those of others, over an engine that the test plays.
-module(topos_relay_tests).

-include("topos_frame.hrl").
-include_lib("eunit/include/eunit.hrl").

-define(OWN, <<"own@h">>).
-define(TOKEN_OUT, <<1:128>>).
-define(TOKEN_IN, <<2:128>>).

relay_test_() ->
    {foreach, fun start/0, fun stop/1, [
        {atom_to_list(Name), Test}
     || {Name, Test} <- [
            {what_the_engine_carries_is_not_relayed, fun what_the_engine_carries_is_not_relayed/0},
            {without_a_transport_the_next_node_gets_it, fun without_a_transport_the_next_node_gets_it/0},
            {without_a_route_it_is_refused, fun without_a_route_it_is_refused/0},
            {a_full_engine_is_told_to_the_sender, fun a_full_engine_is_told_to_the_sender/0},
            {frames_of_others_go_on_with_one_hop_less, fun frames_of_others_go_on_with_one_hop_less/0},
            {a_channel_that_is_not_here_is_the_default, fun a_channel_that_is_not_here_is_the_default/0},
            {frames_for_this_node_reach_their_process, fun frames_for_this_node_reach_their_process/0},
            {what_cannot_go_on_is_dropped_and_counted, fun what_cannot_go_on_is_dropped_and_counted/0},
            {strangers_have_nothing_relayed, fun strangers_have_nothing_relayed/0}
        ]
    ]}.

start() ->
    _ = [ets:new(Table, [named_table, public]) || Table <- tables()],
    Heard = atomics:new(1, []),
    true = ets:insert(topos_peers, {via@h, up, 7, ?TOKEN_OUT}),
    true = ets:insert(topos_sessions, {<<"via@h">>, via@h, 7, ?TOKEN_IN, Heard}),
    ok = meck:new(topos_local),
    ok = meck:expect(topos_local, hot, fun() -> #{name => ?OWN, engine => relay_engine} end),
    ok = meck:expect(topos_local, name, fun() -> ?OWN end),
    ok = meck:expect(topos_local, incarnation, fun() -> 3 end),
    ok = meck:expect(topos_local, count, fun(C) -> _ = ets:update_counter(relay_counts, C, 1, {C, 0}), ok end),
    ok = meck:expect(topos_local, channel, fun(C) -> maps:find(C, #{data => #{}, bulk => #{}}) end),
    ok = meck:new(relay_engine, [non_strict]),
    ok = meck:expect(relay_engine, send, fun
        (full@h, _, _, _, _) -> {error, overloaded};
        (To, Channel, Lane, Dest, Frame) when To =:= via@h; To =:= near@h ->
            true = ets:insert_new(relay_sent, {sent, To, Channel, Lane, Dest, iolist_to_binary(Frame)}),
            ok;
        (_, _, _, _, _) -> {error, not_connected}
    end).

stop(_) ->
    ok = meck:unload([topos_local, relay_engine]),
    _ = [ets:delete(Table) || Table <- tables()],
    ok.

tables() -> [topos_routes, topos_peers, topos_sessions, relay_counts, relay_sent].

what_the_engine_carries_is_not_relayed() ->
    ok = topos_relay:set_routes([{<<"near@h">>, via@h, 2}], []),
    ?assertEqual(ok, topos_relay:send(relay_engine, near@h, data, 1, topos_lanes, <<"frame">>)),
    ?assertEqual({sent, near@h, data, 1, topos_lanes, <<"frame">>}, sent()).

without_a_transport_the_next_node_gets_it() ->
    ok = topos_relay:set_routes([{<<"far@h">>, via@h, 2}], []),
    ?assert(topos_relay:is_routed(far@h)),
    ?assertEqual({ok, via@h, 2}, topos_relay:route(far@h)),
    ?assertEqual(ok, topos_relay:send(relay_engine, far@h, bulk, 3, topos_lanes, [<<"fra">>, "me"])),
    {sent, via@h, bulk, 3, topos_relay, Bytes} = sent(),
    {ok, Frame} = topos_frame:decode(Bytes),
    ?assertMatch(#{kind := ?TOPOS_FRAME_RELAY, source := ?OWN, incarnation := 3}, Frame),
    ?assertMatch(#{destination := 7, token := ?TOKEN_OUT}, Frame),
    ?assertEqual(<<32, 2, 3:16, 5, "far@h", 4, "bulk", "frame">>, maps:get(payload, Frame)).

without_a_route_it_is_refused() ->
    ?assertEqual({error, not_connected}, topos_relay:send(relay_engine, far@h, data, 0, topos_link, <<>>)),
    %% A neighbour without a transport is not reached over itself.
    ok = topos_relay:set_routes([{<<"far@h">>, far@h, 1}], []),
    ?assertNot(topos_relay:is_routed(far@h)),
    ?assertEqual({error, not_connected}, topos_relay:send(relay_engine, far@h, data, 0, topos_link, <<>>)),
    ok = topos_relay:set_routes([], [<<"far@h">>]),
    ?assertEqual(error, topos_relay:route(far@h)),
    %% Nor over a node without a session.
    ok = topos_relay:set_routes([{<<"far@h">>, near@h, 2}], []),
    ?assertEqual({error, not_connected}, topos_relay:send(relay_engine, far@h, data, 0, topos_link, <<>>)).

a_full_engine_is_told_to_the_sender() ->
    true = ets:insert(topos_peers, {full@h, up, 7, ?TOKEN_OUT}),
    ok = topos_relay:set_routes([{<<"far@h">>, full@h, 2}], []),
    ?assertEqual({error, overloaded}, topos_relay:send(relay_engine, far@h, data, 0, topos_lanes, <<>>)).

frames_of_others_go_on_with_one_hop_less() ->
    ok = topos_relay:set_routes([{<<"far@h">>, via@h, 1}], []),
    ok = topos_relay:frame(relayed(5, 2, <<"far@h">>, <<"bulk">>, 3)),
    {sent, via@h, bulk, 3, topos_relay, Bytes} = sent(),
    {ok, #{token := ?TOKEN_OUT, payload := Payload}} = topos_frame:decode(Bytes),
    ?assertEqual(<<4, 2, 3:16, 5, "far@h", 4, "bulk", "frame">>, Payload),
    ?assertEqual([{relayed, 1}], ets:tab2list(relay_counts)).

a_channel_that_is_not_here_is_the_default() ->
    ok = topos_relay:set_routes([{<<"far@h">>, via@h, 1}], []),
    [
        begin
            ok = topos_relay:frame(relayed(5, 2, <<"far@h">>, Channel, 0)),
            ?assertMatch({sent, via@h, data, 0, topos_relay, _}, sent())
        end
     || Channel <- [<<"state_sync">>, <<"no_atom_of_this_vm_7f3a">>]
    ].

frames_for_this_node_reach_their_process() ->
    true = register(topos_overlay, self()),
    ok = topos_relay:frame(relayed(1, 3, ?OWN, <<"control">>, 0)),
    ?assertEqual({topos, ?TOPOS_FRAME_VERSION, 9, <<"frame">>}, receive Message -> Message after 0 -> nothing end),
    true = unregister(topos_overlay),
    ok = topos_relay:frame(relayed(1, 9, ?OWN, <<"control">>, 0)),
    ?assertEqual([{malformed_frames, 1}], ets:tab2list(relay_counts)).

what_cannot_go_on_is_dropped_and_counted() ->
    ok = topos_relay:frame(relayed(5, 2, <<"lost@h">>, <<"data">>, 0)),
    ok = topos_relay:set_routes([{<<"far@h">>, via@h, 1}, {<<"away@h">>, away@h, 1}], []),
    ok = topos_relay:frame(relayed(1, 2, <<"far@h">>, <<"data">>, 0)),
    ok = topos_relay:frame(relayed(5, 2, <<"away@h">>, <<"data">>, 0)),
    ?assertEqual([{unroutable, 3}], ets:tab2list(relay_counts)),
    ?assertEqual(nothing, sent()).

strangers_have_nothing_relayed() ->
    ok = topos_relay:set_routes([{<<"far@h">>, via@h, 1}], []),
    {topos, V, E, <<Head:31/binary, _:1/binary, Rest/binary>>} = relayed(5, 2, <<"far@h">>, <<"data">>, 0),
    ok = topos_relay:frame({topos, V, E, <<Head/binary, 77, Rest/binary>>}),
    ok = topos_relay:frame({topos, V, E, <<"nonsense">>}),
    ok = topos_relay:frame({topos, V, E, iolist_to_binary(topos_frame:encode(header(), <<5, 2, 0>>))}),
    ?assertEqual([{malformed_frames, 2}, {refused_frames, 1}], lists:sort(ets:tab2list(relay_counts))),
    ?assertEqual(nothing, sent()).

%% internal

%% As the neighbour `via@h' sends it.
relayed(Hops, Kind, Target, Channel, Lane) ->
    Names = <<(byte_size(Target)), Target/binary, (byte_size(Channel)), Channel/binary>>,
    Payload = <<Hops, Kind, Lane:16, Names/binary, "frame">>,
    {topos, ?TOPOS_FRAME_VERSION, 9, iolist_to_binary(topos_frame:encode(header(), Payload))}.

header() ->
    #{kind => ?TOPOS_FRAME_RELAY, source => <<"via@h">>, incarnation => 7, destination => 3, token => ?TOKEN_IN}.

%% The one frame that the engine was given since the last look.
sent() ->
    case ets:take(relay_sent, sent) of
        [Sent] -> Sent;
        [] -> nothing
    end.
