%% Courses of a handshake that random steps do not find.
-module(topos_peer_core_tests).

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
