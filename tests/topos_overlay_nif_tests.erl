%% The border of the overlays: terms in, terms out, errors. What an overlay does is tested in Rust.
-module(topos_overlay_nif_tests).

-include_lib("eunit/include/eunit.hrl").

a_member_is_connected_to_test() ->
    Overlay = overlay(#{}),
    {ok, Actions} = topos_overlay_nif:handle(Overlay, 10, {joined, <<"b">>}),
    ?assertEqual([{set_view, [<<"b">>]}, {connect, <<"b">>}, {schedule_tick, 5000}], Actions),
    ?assertEqual({ok, []}, topos_overlay_nif:handle(Overlay, 20, {link_up, <<"b">>})),
    ?assertEqual([<<"b">>], topos_overlay_nif:view(Overlay)),
    {ok, Left} = topos_overlay_nif:handle(Overlay, 30, {left, <<"b">>}),
    ?assertEqual([{set_view, []}, {disconnect, <<"b">>}], Left).

a_link_that_is_down_is_tried_again_test() ->
    Overlay = overlay(#{backoff_min => 100}),
    {ok, _} = topos_overlay_nif:handle(Overlay, 0, {joined, <<"b">>}),
    {ok, _} = topos_overlay_nif:handle(Overlay, 0, {link_up, <<"b">>}),
    {ok, [{schedule_tick, Wait}]} = topos_overlay_nif:handle(Overlay, 0, {link_down, <<"b">>}),
    ?assert(Wait >= 50 andalso Wait =< 100),
    ?assertMatch({ok, [{connect, <<"b">>} | _]}, topos_overlay_nif:handle(Overlay, Wait, tick)).

the_seed_decides_the_jitter_test() ->
    Waits = fun(Seed) ->
        {ok, Overlay} = topos_overlay_nif:new(full_mesh, #{own => <<"a">>}, Seed),
        {ok, _} = topos_overlay_nif:handle(Overlay, 0, {joined, <<"b">>}),
        {ok, [{schedule_tick, Wait}]} = topos_overlay_nif:handle(Overlay, 0, {link_down, <<"b">>}),
        Wait
    end,
    ?assertEqual([Waits(S) || S <- lists:seq(1, 20)], [Waits(S) || S <- lists:seq(1, 20)]),
    ?assert(length(lists:usort([Waits(S) || S <- lists:seq(1, 20)])) > 10).

mistakes_are_errors_with_their_parameter_test_() ->
    New = fun(Kind, Params) -> topos_overlay_nif:new(Kind, Params, 1) end,
    Own = #{own => <<"a">>},
    [
        ?_assertMatch({error, {invalid_overlay, #{parameter := Parameter}}}, New(Kind, Params))
     || {Parameter, Kind, Params} <- [
            {kind, ring, Own},
            {own, full_mesh, #{}},
            {own, full_mesh, #{own => a}},
            {node, full_mesh, #{own => <<>>}},
            {colour, full_mesh, Own#{colour => red}},
            {<<"backoff_min">>, full_mesh, Own#{backoff_min => 0}},
            {backoff_min, full_mesh, Own#{backoff_min => 1.5}},
            {<<"backoff_max">>, full_mesh, Own#{backoff_max => 50}},
            {connect_timeout, full_mesh, Own#{connect_timeout => 3_600_001}},
            {max_connecting, full_mesh, Own#{max_connecting => 1 bsl 32}},
            {max_members, full_mesh, Own#{max_members => -1}},
            {epoch, hyparview, Own},
            {<<"active_size">>, hyparview, Own#{epoch => 1, active_view => 0, shuffle_active => 0}},
            {active_walk, hyparview, Own#{epoch => 1, active_walk => 256}},
            {role, client_server, Own#{epoch => 1, hubs => [<<"a">>], role => boss}},
            {<<"role">>, client_server, Own#{epoch => 1, hubs => [<<"b">>], role => hub}},
            {hubs, client_server, Own#{epoch => 1, hubs => [b], role => client}}
        ]
    ].

bytes_that_no_overlay_made_are_refused_and_a_mesh_ignores_the_others_test() ->
    Overlay = overlay(#{}),
    [
        ?assertMatch(
            {error, {invalid_overlay, #{parameter := message}}},
            topos_overlay_nif:handle(Overlay, 0, {received, <<"b">>, Bytes})
        )
     || Bytes <- [<<>>, <<2, 1, 0>>, <<1, 9, 0>>, <<1, 1, 9, 255, 255, 255, 255, 15>>]
    ],
    ?assertEqual({ok, []}, topos_overlay_nif:handle(Overlay, 0, {received, <<"b">>, <<1, 1, 0>>})).

limits_are_errors_and_change_nothing_test() ->
    Overlay = overlay(#{max_members => 1}),
    {ok, _} = topos_overlay_nif:handle(Overlay, 0, {joined, <<"b">>}),
    {error, Full} = topos_overlay_nif:handle(Overlay, 0, {joined, <<"c">>}),
    ?assertEqual({overlay_full, #{limit => 1}}, Full),
    ?assertMatch("error[TP1044]" ++ _, unicode:characters_to_list(topos_error:format(Full))),
    ?assertMatch({error, {invalid_overlay, #{parameter := node}}}, topos_overlay_nif:handle(Overlay, 0, {left, <<>>})),
    ?assertEqual([<<"b">>], topos_overlay_nif:view(Overlay)).

what_is_no_event_is_a_badarg_test() ->
    ?assertError(badarg, topos_overlay_nif:handle(overlay(#{}), 0, {joined, b})),
    ?assertError(badarg, topos_overlay_nif:handle(overlay(#{}), -1, tick)),
    ?assertError(badarg, topos_overlay_nif:handle(make_ref(), 0, tick)).

%% Two machines, what one sends given to the other at once.
routes_and_broadcasts_cross_test() ->
    Machines = [{Name, routed(Name)} || Name <- [<<"a">>, <<"b">>]],
    _ = play([{<<"b">>, {joined, <<"a">>}}], 0, Machines),
    Log = play([{<<"a">>, {confirmed, <<"b">>}}, {<<"b">>, {confirmed, <<"a">>}}, {<<"a">>, tick}, {<<"b">>, tick}], 1_000, Machines),
    [?assertEqual([<<"b">>], topos_overlay_nif:view(M)) || {<<"a">>, M} <- Machines],
    Ticked = play([{<<"a">>, tick}, {<<"b">>, tick}], 1_100, Machines),
    ?assert(lists:member({<<"a">>, {routes, [{<<"b">>, <<"b">>, 1}]}}, Log ++ Ticked)),
    [{_, A}, {_, B}] = Machines,
    ?assertEqual([<<"b">>], topos_overlay_nif:path(A, <<"b">>)),
    ?assertEqual([], topos_overlay_nif:path(A, <<"c">>)),
    ?assertEqual([{<<"b">>, [<<"a">>]}, {<<"a">>, [<<"b">>]}], topos_overlay_nif:graph(B)),
    %% Below the size from which a dirty scheduler does it, and above.
    [
        ?assertMatch([{<<"b">>, {broadcast, {<<"a">>, 7, _}, 1, Bytes}}],
            [Got || {_, {broadcast, _, _, _}} = Got <- play([{<<"a">>, {broadcast, Bytes}}], 1_200, Machines)])
     || Bytes <- [<<"hello">>, binary:copy(<<"x">>, 300_000)]
    ],
    ?assertEqual([{<<"a">>, {lost, [<<"b">>]}}],
        [Got || {_, {lost, _}} = Got <- play([{<<"a">>, {unconfirmed, <<"b">>}}], 1_300, Machines) ++ play([{<<"a">>, tick}], 1_400, Machines)]).

%% internal

routed(Name) ->
    {ok, Overlay} = topos_overlay_nif:new(hyparview, #{own => Name, epoch => 7}, 1),
    Overlay.

play([], _, _) ->
    [];
play([{Name, Event} | Events], Now, Machines) ->
    {Name, Machine} = lists:keyfind(Name, 1, Machines),
    {ok, Actions} = topos_overlay_nif:handle(Machine, Now, Event),
    Sent = [{To, {received, Name, Bytes}} || {send, To, Bytes} <- Actions],
    [{Name, Action} || Action <- Actions] ++ play(Events ++ Sent, Now, Machines).

overlay(Params) ->
    {ok, Overlay} = topos_overlay_nif:new(full_mesh, Params#{own => <<"a">>}, 1),
    Overlay.
