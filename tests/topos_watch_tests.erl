%% Courses of remote monitors that random steps do not find.
-module(topos_watch_tests).

-include_lib("eunit/include/eunit.hrl").

%% Fifty nodes that come up at once on two cores tell 2,450 others of their generation. Told again every second while answers were late, they had seven
%% renewals on the way for each pair.
renewals_are_fewer_the_longer_nobody_answers_test() ->
    Up = topos_watch:node_up(b, topos_watch:new(1)),
    {Asked, Sent} = ticks(40, Up),
    ?assertEqual([1, 2, 4, 8, 16, 24, 32, 40], [At || {At, {renew, b, _, _, _}} <- Sent]),
    %% An answer ends it, and whoever is watched then is asked for at every tick.
    [{_, {renew, b, Generation, Session, Forget}} | _] = Sent,
    {Answered, []} = topos_watch:renewed(b, Generation, Session, Forget, {ok, []}, Asked),
    ?assertMatch({_, []}, ticks(10, Answered)),
    {Watching, [{watch, b, Generation, Lease, p}]} = topos_watch:monitor(make_ref(), b, p, true, Answered),
    {Watched, [{confirmed, _}]} = topos_watch:watched(b, Generation, Lease, {ok, 7}, Watching),
    ?assertEqual([1, 2, 3, 4, 5], answered_ticks(5, Watched)).

%% A node that knew nothing of us when it was asked may have got an earlier request for a lease since. It is told to forget that
%% lease until it says that it did: of two such messages the first was lost, and the lease was held for ever.
what_was_cancelled_under_way_is_forgotten_test() ->
    [Ref, Other] = [make_ref(), make_ref()],
    {Asked, [{watch, b, Generation, One, p}]} = topos_watch:monitor(Ref, b, p, true, topos_watch:new(1)),
    {Ticked, [{renew, b, Generation, undefined, []}, {watch, b, Generation, One, p}]} = topos_watch:tick(Asked),
    {Both, [{watch, b, Generation, Two, p}]} = topos_watch:monitor(Other, b, p, true, Ticked),
    {Cancelled, [{forget, b, Generation, [One]}]} = topos_watch:demonitor(Ref, Both),
    {Gone, [{watch, b, Generation, Two, p}]} = topos_watch:renewed(b, Generation, undefined, [], gone, Cancelled),
    {Watched, [{confirmed, Other}]} = topos_watch:watched(b, Generation, Two, {ok, 7}, Gone),
    {Next, [{renew, b, Generation, 7, [One]}]} = topos_watch:tick(Watched),
    {Done, []} = topos_watch:renewed(b, Generation, 7, [One], {ok, []}, Next),
    ?assertMatch({_, [{renew, b, Generation, 7, []}]}, topos_watch:tick(Done)).

%% Actions with the number of the tick.
ticks(Count, Watch) ->
    lists:foldl(
        fun(Tick, {Acc, Sent}) ->
            {Next, Actions} = topos_watch:tick(Acc),
            {Next, Sent ++ [{Tick, Action} || Action <- Actions]}
        end, {Watch, []}, lists:seq(1, Count)).

%% The ticks with a renewal, each of which is answered.
answered_ticks(Count, Watch) ->
    {_, Ticks} = lists:foldl(
        fun(Tick, {Acc, Sent}) ->
            case topos_watch:tick(Acc) of
                {Next, [{renew, b, Generation, Session, Forget}]} ->
                    {Answered, []} = topos_watch:renewed(b, Generation, Session, Forget, {ok, []}, Next),
                    {Answered, Sent ++ [Tick]};
                {Next, []} ->
                    {Next, Sent}
            end
        end, {Watch, []}, lists:seq(1, Count)),
    Ticks.
