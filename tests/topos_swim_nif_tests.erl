%% The border of the failure detector: terms in, terms out, errors. What it does is tested in Rust.
-module(topos_swim_nif_tests).

-include_lib("eunit/include/eunit.hrl").

a_member_that_does_not_answer_is_suspect_then_dead_and_may_refute_it_test() ->
    [A, B] = [swim(#{own => Own, period => 100, ping_timeout => 30, suspicion_periods => 2}) || Own <- [<<"a">>, <<"b">>]],
    {ok, [{schedule_tick, First}]} = topos_swim_nif:handle(A, 0, {joined, <<"b">>}),
    {ok, _} = topos_swim_nif:handle(B, 0, {joined, <<"a">>}),
    {ok, [{send, <<"b">>, Ping} | _]} = topos_swim_nif:handle(A, First, tick),
    {ok, Unanswered} = topos_swim_nif:handle(A, First + 100, tick),
    ?assert(lists:member({changed, <<"b">>, suspect}, Unanswered)),
    {ok, _} = topos_swim_nif:handle(A, First + 200, tick),
    {ok, Late} = topos_swim_nif:handle(A, First + 300, tick),
    ?assert(lists:member({changed, <<"b">>, dead}, Late)),
    %% What it is told with the next question it refutes with its answer.
    {ok, More} = topos_swim_nif:handle(A, First + 390, tick),
    {send, <<"b">>, Question} = lists:keyfind(send, 1, Late ++ More),
    {ok, [{send, <<"a">>, Answer} | _]} = topos_swim_nif:handle(B, 500, {received, <<"a">>, Question}),
    {ok, Alive} = topos_swim_nif:handle(A, First + 395, {received, <<"b">>, Answer}),
    ?assert(lists:member({changed, <<"b">>, alive}, Alive)),
    ?assertNotEqual(Ping, Question).

mistakes_are_errors_test() ->
    New = fun(Params) -> topos_swim_nif:new(maps:merge(#{own => <<"a">>, incarnation => 1}, Params), 1) end,
    ?assertMatch({error, {invalid_overlay, #{parameter := <<"period">>}}}, New(#{period => 9})),
    ?assertMatch({error, {invalid_overlay, #{parameter := <<"ping_timeout">>}}}, New(#{ping_timeout => 1_000})),
    ?assertMatch({error, {invalid_overlay, #{parameter := node}}}, New(#{own => <<>>})),
    ?assertMatch({error, {invalid_overlay, #{parameter := message}}}, topos_swim_nif:handle(swim(#{}), 0, {received, <<"b">>, <<"x">>})),
    ?assertMatch({error, {overlay_full, #{limit := 1}}}, begin
        Small = swim(#{max_members => 1}),
        {ok, _} = topos_swim_nif:handle(Small, 0, {joined, <<"b">>}),
        topos_swim_nif:handle(Small, 0, {joined, <<"c">>})
    end),
    ?assertError(badarg, topos_swim_nif:handle(swim(#{}), 0, {no, event})).

swim(Params) ->
    {ok, Swim} = topos_swim_nif:new(maps:merge(#{own => <<"a">>, incarnation => 1}, Params), 1),
    Swim.
