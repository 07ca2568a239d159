%% Courses of a handshake that random steps do not find.
-module(topos_peer_core_tests).

-include("topos_frame.hrl").
-include_lib("eunit/include/eunit.hrl").

%% Seen as two nodes of a HyParView that stayed `down' and `joining' to each other: one's way to the other changed while
%% its first echo was on the way. The echo confirms the session that was opened over the earlier way, so this side greets
%% no more; the other side, which is not confirmed, takes up the session of the later greeting. Both then held tokens that
%% the other refused, and neither asked again.
echo_of_the_session_before_the_way_changed_test() ->
    Steps = [
        {transport, a, true}, {transport, b, true},
        %% Both open the session; the first echoes and their answers are on the way to a.
        {take, b, 1}, {take, a, 2}, {take, b, 3},
        {flap, a},
        %% The greeting over the new way is lost, and so is the answer to b's echo.
        {drop, b, 1}, {take, a, 3}, {drop, b, 1}
    ],
    ?assertEqual({up, up}, prop_topos_peer:statuses_after(Steps)).

%% Seen as two nodes of a HyParView of fifty whose frames took ways of different length: an answer to a challenge and one to an echo, both of an
%% earlier session, arrive when the next one is confirmed on both sides. One side takes the earlier session up again and finds it confirmed.
late_answers_of_an_earlier_session_test() ->
    Steps = [
        {transport, a, true}, {transport, b, true},
        %% The first session. The second answer to a's challenge and that to its echo stay on their way.
        {take, b, 1}, {take, a, 2}, {take, b, 2}, {take, b, 1}, {overtake, a, 1}, {take, a, 1}, {take, b, 1},
        %% The next one, confirmed on both sides.
        {flap, b}, {overtake, a, 2}, {take, a, 1}, {take, b, 1}, {overtake, a, 2}, {take, a, 2}, {take, b, 2}, {overtake, a, 2}, {take, a, 1},
        {overtake, a, 1}, {take, a, 2}
    ],
    ?assertEqual({up, up}, prop_topos_peer:statuses_after(Steps)).

%% Fifty nodes that join at once on two cores greet 2,450 others. At ten greetings a second each they were busy with nothing else, and stayed so.
greetings_are_fewer_the_longer_nobody_answers_test() ->
    Self = #{name => <<"a@h">>, incarnation => 1, cluster => <<"c">>, key => topos_auth:key(<<"k">>), addresses => []},
    New = topos_peer_core:new(<<"b@h">>, Self, #{echo_interval => 250, suspect_after => 1000, down_after => 3000}),
    {Up, [{send, _}]} = topos_peer_core:transport_up(<<1:128>>, 0, New),
    Greetings = fun(Core, From, To) ->
        lists:foldl(fun(Now, {Acc, Sent}) ->
            {Next, Effects} = topos_peer_core:tick(Now, Acc),
            {Next, Sent + length(Effects)}
        end, {Core, 0}, lists:seq(From, To, 50))
    end,
    {Later, First} = Greetings(Up, 50, 1_000),
    ?assertEqual(3, First),
    {Long, Rest} = Greetings(Later, 1_050, 20_000),
    ?assert(Rest =< 13),
    %% It never gives up, and begins anew with a new way.
    ?assert(element(2, Greetings(Long, 20_050, 24_000)) >= 2),
    {Again, [{send, _}]} = topos_peer_core:transport_up(<<2:128>>, 24_000, Long),
    ?assertEqual(3, element(2, Greetings(Again, 24_050, 25_000))).

%% Answers that come within the time between two echoes change nothing: silence is judged by the settings to the millisecond, at the next look.
prompt_peer_is_judged_by_the_settings_test() ->
    {Core, Heard} = answered_after(100, 20_000),
    ?assertEqual([{suspect, 1_000}, {down, 3_000}], silence(Core, Heard)).

%% A peer, or a machine, that is too busy answers late but answers: it is not suspect for that, and when it falls silent it is given time as it took.
late_peer_is_given_time_test() ->
    {Core, Heard} = answered_after(1_600, 20_000),
    [{suspect, Suspect}, {down, Down}] = silence(Core, Heard),
    ?assert(Suspect >= 2_000 andalso Suspect =< 4_000),
    ?assert(Down >= 4_000 andalso Down =< 12_000).

%% However late: no more than four times the settings.
patience_ends_test() ->
    {Core, Heard} = answered_after(11_500, 100_000),
    ?assertEqual([{suspect, 4_000}, {down, 12_000}], silence(Core, Heard)).

%% A way that carries frames in one direction only: the peer is heard all the time and hears nothing. It was `up' for ever.
heard_but_not_hearing_is_down_test() ->
    {Core, _} = answered_after(100, 20_000),
    {Deaf, Changes} = talking(Core, 20_000, 60_000),
    ?assertEqual([{suspect, unanswered}, {down, unanswered}], [{To, Why} || {_, To, Why} <- Changes]),
    [{Suspect, _, _}, {Down, _, _}] = Changes,
    ?assert(Suspect >= 12_000 andalso Down =< 13_000),
    %% What it says does not bring it back, the first echo that it answers does.
    {_, Effects} = reply(last_echo(Deaf), 60_000, Deaf),
    ?assertMatch([{status, down, up, echo} | _], Effects).

%% Echoes that are sent and not answered while this VM stands still are none.
what_a_pause_leaves_unanswered_counts_for_nothing_test() ->
    {Core, _} = answered_after(100, 20_000),
    {Asked, []} = talking(Core, 20_000, 31_000),
    {_, Changes} = talking(topos_peer_core:paused(30_000, Asked), 61_000, 61_900),
    ?assertEqual([], Changes).

%% What becomes of a peer, and how many milliseconds after the first, that sends all the time and answers nothing.
talking(Core, From, To) ->
    lists:foldl(
        fun(Now, {Acc, Before}) ->
            {Told, Said} = topos_peer_core:heard(Now, Acc),
            {Next, Done} = topos_peer_core:tick(Now, Told),
            {Next, Before ++ [{Now - From, Is, Why} || {status, _, Is, Why} <- Said ++ Done]}
        end, {Core, []}, lists:seq(From, To, 50)).

%% The number of the next echo is one above it.
last_echo(Core) ->
    [Id | _] = [Id || At <- lists:seq(60_050, 70_000, 50), {_, Effects} <- [topos_peer_core:tick(At, Core)],
                      {send, Frame} <- Effects, {ok, #{kind := ?TOPOS_FRAME_ECHO, payload := <<Id:64>>}} <- [decoded(Frame)]],
    Id - 1.

%% Once it answers in time again the settings count again.
patience_is_forgotten_test() ->
    {Late, _} = answered_after(1_600, 20_000),
    {Core, Heard} = answered(Late, 100, 30_000, 60_000),
    ?assertEqual([{suspect, 1_000}, {down, 3_000}], silence(Core, Heard)).

%% A peer that is up, and each of its echoes was answered after so many milliseconds; when it was last heard. While answers are under way for longer than silence may
%% last it sends something else now and then.
answered_after(Delay, Until) ->
    Up = lists:foldl(
        fun(Event, Core) -> element(1, Event(Core)) end, greeted(),
        [fun(C) -> topos_peer_core:admit(0, C) end, fun(C) -> reply(1, 0, C) end]),
    ?assertEqual(up, topos_peer_core:status(Up)),
    answered(Up, Delay, 0, Until).

answered(Core, Delay, From, Until) -> answered(Core, Delay, [], From, Until, From).

answered(Core, _, _, Now, Until, Heard) when Now >= Until -> {Core, Heard};
answered(Core, Delay, Due, Now, Until, Heard) ->
    {Ripe, Later} = lists:partition(fun({At, _}) -> At =< Now end, Due),
    {Told, Last} = lists:foldl(fun({_, Id}, {Acc, _}) -> {element(1, reply(Id, Now, Acc)), Now} end, {Core, Heard}, Ripe),
    {Noisy, Latest} = case Now rem 500 of
        0 -> {element(1, topos_peer_core:heard(Now, Told)), Now};
        _ -> {Told, Last}
    end,
    {Next, Effects} = topos_peer_core:tick(Now, Noisy),
    ?assertEqual([], [E || {status, _, _, _} = E <- Effects]),
    Echoes = [{Now + Delay, Id} || {send, Frame} <- Effects, {ok, #{kind := Kind, payload := <<Id:64>>}} <- [decoded(Frame)], Kind =:= ?TOPOS_FRAME_ECHO],
    answered(Next, Delay, Later ++ Echoes, Now + 50, Until, Latest).

%% What becomes of it when nothing comes any more, and after how many milliseconds of silence.
silence(Core, Heard) ->
    {_, Changes} = lists:foldl(
        fun(Now, {Acc, Before}) ->
            {Next, Effects} = topos_peer_core:tick(Now, Acc),
            {Next, Before ++ [{To, Now - Heard} || {status, _, To, silent} <- Effects]}
        end, {Core, []}, lists:seq(Heard + 50, Heard + 20_000, 50)),
    Changes.

%% One of two that have greeted each other at 0: it has a session.
greeted() ->
    [{A, ToB}, {B, ToA}] = [topos_peer_core:transport_up(<<Nonce:128>>, 0, core(Own, Other)) || {Own, Other, Nonce} <- [{a, b, 1}, {b, a, 2}]],
    exchange(A, B, ToA, ToB).

exchange(A, _, [], []) ->
    ?assert(topos_peer_core:has_session(A)),
    A;
exchange(A, B, ToA, ToB) ->
    {NextA, FromA} = took(A, ToA),
    {NextB, FromB} = took(B, ToB),
    exchange(NextA, NextB, FromB, FromA).

took(Core, Effects) ->
    lists:foldl(
        fun(Effect, {Acc, Sent}) ->
            {ok, Frame} = decoded(element(2, Effect)),
            {Next, New} = topos_peer_core:frame(Frame, 0, Acc),
            {Next, Sent ++ [E || {send, _} = E <- New]}
        end, {Core, []}, Effects).

core(Own, Other) ->
    Self = #{name => name(Own), incarnation => 1, cluster => <<"c">>, key => topos_auth:key(<<"k">>), addresses => []},
    topos_peer_core:new(name(Other), Self, #{echo_interval => 250, suspect_after => 1000, down_after => 3000}).

name(Name) -> <<(atom_to_binary(Name))/binary, "@h">>.

reply(Id, Now, Core) ->
    topos_peer_core:frame(
        #{kind => ?TOPOS_FRAME_ECHO_REPLY, version => ?TOPOS_FRAME_VERSION, source => name(b), incarnation => 1, destination => 1, token => <<0:128>>,
          payload => <<Id:64>>}, Now, Core).

decoded(Frame) -> topos_frame:decode(iolist_to_binary(Frame)).
