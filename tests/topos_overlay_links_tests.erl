%% The books of links: why a link is there, when it is closed, what the topology hears. Times are given, nothing waits.
-module(topos_overlay_links_tests).

-include_lib("eunit/include/eunit.hrl").

-define(L, topos_overlay_links).

a_wanted_link_is_confirmed_when_it_is_up_and_the_peer_answers_test() ->
    Links = run(0, [{want, a}], [{connect, a}], ?L:new()),
    Up = run(10, [{up, a}], [], Links),
    Confirmed = run(20, [{answers, a, true}], [{confirmed, a}], Up),
    ?assert(?L:is_direct(a, Confirmed)),
    %% Told twice changes nothing.
    Same = run(30, [{answers, a, true}], [], Confirmed),
    _ = run(100_000, [tick], [], Same).

a_lost_transport_has_300_ms_to_come_back_test() ->
    Links = confirmed(a),
    Lost = run(1_000, [{down, a}], [{unconfirmed, a}], Links),
    Still = run(1_299, [tick], [], Lost),
    Down = run(1_300, [tick], [{down, a}], Still),
    %% The topology does not want it any more; nothing is there to linger.
    Gone = run(1_301, [{unwant, a}], [{disconnect, a}], Down),
    ?assertNot(?L:is_asked(a, Gone)),
    Back = run(1_200, [{up, a}], [], Lost),
    %% The session may be another one: the peer has to answer again.
    _ = run(1_210, [{answers, a, true}], [{confirmed, a}], Back).

a_link_that_does_not_come_up_is_down_after_ten_seconds_and_tried_on_while_wanted_test() ->
    Links = run(0, [{want, a}], [{connect, a}], ?L:new()),
    Early = run(9_999, [tick], [], Links),
    Down = run(10_000, [tick], [{down, a}], Early),
    ?assert(?L:is_asked(a, Down)),
    _ = run(20_000, [tick], [{down, a}], Down).

the_engine_may_know_earlier_test() ->
    Links = run(0, [{want, a}], [{connect, a}], ?L:new()),
    Ask = #{keep => fun(_) -> false end, failed => fun(a) -> true end},
    ?assertMatch({_, []}, ?L:tick(149, Ask, Links)),
    ?assertMatch({_, [{down, a}]}, ?L:tick(150, Ask, Links)).

what_was_sent_arrives_before_a_link_is_closed_test() ->
    Links = run(5_000, [{unwant, a}], [], confirmed(a)),
    Late = run(6_999, [tick], [], Links),
    _ = run(7_000, [tick], [{unconfirmed, a}, {disconnect, a}], Late),
    %% Wanted again meanwhile, it stays, and the topology hears that it is up.
    Again = run(6_000, [{want, a}], [{connect, a}, {confirmed, a}], Links),
    _ = run(20_000, [tick], [], Again).

a_link_for_a_message_is_held_and_given_up_once_test() ->
    Links = run(0, [{hold, a, once, 3_000}], [{connect, a}], ?L:new()),
    Failed = run(10_000, [tick], [{disconnect, a}, {down, a}], Links),
    ?assertNot(?L:is_asked(a, Failed)),
    Up = run(100, [{up, a}, {answers, a, true}], [{confirmed, a}], Links),
    _ = run(3_000, [tick], [{unconfirmed, a}, {disconnect, a}], Up).

a_link_that_somebody_waits_for_is_tried_until_then_test() ->
    Links = run(0, [{hold, a, firm, 25_000}], [{connect, a}], ?L:new()),
    Tried = run(10_000, [tick], [], Links),
    %% The topology cannot take it away.
    Kept = run(10_100, [{unwant, a}], [], Tried),
    Once = run(20_100, [tick], [], Kept),
    _ = run(30_200, [tick], [{disconnect, a}, {down, a}], Once).

a_link_that_is_the_only_way_is_kept_for_a_while_test() ->
    Keep = #{keep => fun(_) -> true end, failed => fun(_) -> false end},
    Links = run(0, [{hold, a, once, 1_000}, {up, a}, {answers, a, true}], [{connect, a}, {confirmed, a}], ?L:new()),
    {Kept, []} = ?L:tick(11_000, Keep, Links),
    ?assertMatch({_, [{unconfirmed, a}, {disconnect, a}]}, ?L:tick(12_001, Keep, Kept)).

a_peer_that_is_declared_down_has_no_time_test() ->
    Down = run(500, [{answers, a, failed}], [{unconfirmed, a}, {down, a}], confirmed(a)),
    %% Its transport is there: when it answers again the link is as it was.
    _ = run(600, [{answers, a, true}], [{confirmed, a}], Down).

a_link_that_nobody_asked_for_is_closed_test() ->
    Links = run(0, [{up, a}], [], ?L:new()),
    _ = run(2_000, [tick], [{disconnect, a}], Links).

%% internal

confirmed(Node) ->
    run(0, [{want, Node}, {up, Node}, {answers, Node, true}], [{connect, Node}, {confirmed, Node}], ?L:new()).

run(Now, Events, Expected, Links) ->
    {After, Effects} = lists:foldl(
        fun(Event, {Acc, Before}) -> {Next, New} = event(Event, Now, Acc), {Next, Before ++ New} end, {Links, []}, Events),
    ?assertEqual(Expected, Effects),
    After.

event({want, Node}, Now, Links) -> ?L:want(Node, Now, Links);
event({unwant, Node}, Now, Links) -> ?L:unwant(Node, Now, Links);
event({hold, Node, How, Time}, Now, Links) -> ?L:hold(Node, {How, Now + Time}, Now, Links);
event({up, Node}, Now, Links) -> ?L:transport(Node, up, Now, Links);
event({down, Node}, Now, Links) -> ?L:transport(Node, down, Now, Links);
event({answers, Node, Answers}, Now, Links) -> ?L:answers(Node, Answers, Now, Links);
event(tick, Now, Links) -> ?L:tick(Now, #{keep => fun(_) -> false end, failed => fun(_) -> false end}, Links).
