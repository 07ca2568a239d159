%% The protocol of a lane as a state machine: what holds whatever a network and crashes of either side do to it. The two
%% pure halves run in `topos_lane_world'.
-module(prop_topos_lanes).

-include("topos_frame.hrl").
-include("topos_lane.hrl").
-include_lib("proper/include/proper.hrl").

-export([numtests/0]).
-export([prop_overtaking_arrives_once/0, prop_flows_keep_their_order/0, prop_other_flows_overtake/0]).
-export([prop_once_and_in_order/0, prop_crash_of_either_side/0, prop_forgetful_receiver/0]).
-export([prop_give_up_accounts_for_everything/0, prop_at_most_once/0, prop_expired_are_told/0]).
-export([prop_monotonic_keeps_the_newest/0, prop_monotonic_last_value_arrives/0]).

%% @doc Schedules of each law at least, whatever TOPOS_NUMTESTS says.
numtests() -> 10_000.

%% Whatever the network does while both nodes live: each message arrives once, in order; who waits is told once; what nobody
%% takes is reported once; the queue's room is free again.
prop_once_and_in_order() ->
    ?FORALL(Steps, schedule(topos_lane_world:step()),
            begin
                #{sent := Sent, told := Told} = Done = done(Steps),
                All = lists:seq(1, Sent),
                Expected = #{
                    arrived => All,
                    settled => [{N, outcome(N)} || N <- Told],
                    failed => [N || N <- All -- Told, topos_lane_world:is_unserved(N)],
                    released => Sent,
                    doubt => 0,
                    idle => true
                },
                law(Expected, Done)
            end).

%% The same where what is small overtakes what is large, but for the order.
prop_overtaking_arrives_once() ->
    ?FORALL(Steps, schedule(topos_lane_world:step()),
            begin
                #{sent := Sent, told := Told, arrived := Arrived} = Done = done(Steps, #{overtaking => anybody}),
                All = lists:seq(1, Sent),
                Expected = #{
                    arrived => All,
                    settled => [{N, outcome(N)} || N <- Told],
                    failed => [N || N <- All -- Told, topos_lane_world:is_unserved(N)],
                    released => Sent,
                    doubt => 0,
                    idle => true
                },
                law(Expected, Done#{arrived := lists:sort(Arrived)})
            end).

%% The same where what is small overtakes what is large of other flows: each flow keeps its order, and none is held up
%% for good.
prop_flows_keep_their_order() ->
    ?FORALL(Steps, schedule(topos_lane_world:step()),
            begin
                #{sent := Sent, told := Told, arrived := Arrived} = Done = done(Steps, #{overtaking => other_flows}),
                All = lists:seq(1, Sent),
                Expected = #{
                    arrived => by_flow(All),
                    settled => [{N, outcome(N)} || N <- Told],
                    failed => [N || N <- All -- Told, topos_lane_world:is_unserved(N)],
                    released => Sent,
                    large => 0,
                    doubt => 0,
                    idle => true
                },
                law(Expected, Done#{arrived := by_flow(Arrived)})
            end).

%% A large message is on its way, in more pieces than a window has, and others come one by one, each with as much
%% credit as it likes: those of other flows, large ones behind large ones among them, are all through before it; those
%% of its flow come after it.
prop_other_flows_overtake() ->
    ?FORALL(Others, list({range(1, 4), frequency([{4, 10}, {1, 100}])}),
            begin
                Options = #{window => 4, max_batch_bytes => 64, max_piece => 64, overtaking => true},
                {Open, []} = topos_lane_out:opened(0, topos_lane_out:new(1, Options)),
                Large = [flow_item(0, 1, 64 * (4 * length(Others) + 16))],
                Items = [flow_item(N, Flow, Bytes) || {N, {Flow, Bytes}} <- lists:zip(lists:seq(1, length(Others)), Others)],
                Came = acknowledged_one_by_one([Large | [[Item] || Item <- Items]], Open),
                {Before, [0 | After]} = lists:splitwith(fun(N) -> N =/= 0 end, Came),
                Of = fun(Wanted) -> [N || #topos_item{notify = N, flow = Flow, bytes = Bytes} <- Items, Wanted(Flow, Bytes)] end,
                Own = Of(fun(Flow, _) -> Flow =:= 1 end),
                %% One large message after the other; what is behind another one waits for that.
                Free = Of(fun(Flow, _) -> Flow =/= 1 andalso [] =:= [x || {F, B} <- Others, F =:= Flow, B > 64] end),
                ?WHENFAIL(io:format("~w before, ~w after~n", [Before, After]),
                          conjunction([
                              {all, lists:sort(Before ++ After) =:= lists:seq(1, length(Others))},
                              {others_before, Free -- Before =:= []},
                              {own_after_in_order, [N || N <- After, lists:member(N, Own)] =:= Own},
                              {order_of_flows, lists:all(fun(F) -> Mine = Of(fun(Flow, _) -> Flow =:= F end),
                                  [N || N <- Came, lists:member(N, Mine)] =:= Mine end, [2, 3, 4])}
                          ]))
            end).

%% Whoever crashes and whenever the other learns of it: nothing arrives twice, late, or at a life that it was not sent to;
%% who was told `ok' was told the truth, and who still lives is told something, once; what was accepted after the last crash
%% was known arrives; a crash puts messages in doubt once at most.
prop_crash_of_either_side() ->
    ?FORALL({Steps, Overtaking}, {schedule(frequency([{6, topos_lane_world:step()}, {1, topos_lane_world:disaster()}])),
                                  oneof([nobody, anybody, other_flows])},
            begin
                #{arrived := Arrived, settled := Settled, told := Told, of_life := First, due := Due} = Done = done(Steps, #{overtaking => Overtaking}),
                #{sent := Sent, failed := Failed, doubt := Doubt, disasters := Disasters, given_up := GivenUp} = Done,
                Served = [N || N <- Arrived, not topos_lane_world:is_unserved(N)],
                Alive = [N || N <- Told, N >= First],
                Reported = Failed ++ [N || {N, {failed, _}} <- Settled],
                ?WHENFAIL(io:format("~p~n", [Done]),
                          conjunction([
                              {once_in_order, in_order(Overtaking, Arrived) =:= in_order(Overtaking, lists:usort(Arrived))},
                              {none_held_up, maps:get(large, Done) =:= 0},
                              {life, maps:get(wrong_life, Done) =:= []},
                              {confirmed_arrived, ordsets:is_subset([N || {N, ok} <- Settled], lists:sort(Served))},
                              {reported_arrived, ordsets:is_subset(lists:usort(Reported), lists:sort(Arrived -- Served))},
                              {told_once, [N || {N, _} <- Settled] =:= lists:usort([N || {N, _} <- Settled])},
                              {living_are_told, [N || N <- Alive, not lists:keymember(N, 1, Settled)] =:= []},
                              {due_arrived, ordsets:is_subset(Due, lists:sort(Arrived))},
                              {doubt_has_a_cause, GivenUp =< Disasters andalso (Disasters > 0 orelse Doubt =:= 0)},
                              {released, maps:get(released, Done) =:= Sent - First + 1},
                              {idle, maps:get(idle, Done)}
                          ]))
            end).

%% A receiver that lost its state gets a new stream; what is lost is in doubt, what arrives is in order and came once.
prop_forgetful_receiver() ->
    ?FORALL({Before, After}, {list(topos_lane_world:step()), list(topos_lane_world:step())},
            begin
                #{arrived := Arrived, settled := Settled, told := Told, failed := Failed, sent := Sent, doubt := Doubt} = Done =
                    done(Before ++ [{crash, receiving_half}] ++ After),
                %% Of quiet messages only the number of those in doubt is told.
                Known = length([N || {N, Result} <- Settled, Result =/= in_doubt]) + length(Failed),
                conjunction([
                    {once_in_order, Arrived =:= lists:usort(Arrived)},
                    {all_told, [N || {N, _} <- Settled] =:= Told},
                    {confirmed_arrived, ordsets:is_subset([N || {N, ok} <- Settled], Arrived)},
                    {arrived_or_in_doubt, Sent - length(Arrived) =< Doubt},
                    {doubt_is_not_known, Known + Doubt =< Sent},
                    {idle, maps:get(idle, Done)}
                ])
            end).

%% When the peer dies, each item was confirmed or is in doubt, never both, and nothing was delivered that was not sent.
prop_give_up_accounts_for_everything() ->
    ?FORALL(Steps, schedule(topos_lane_world:step()),
            begin
                Done = topos_lane_world:sum(topos_lane_world:give_up(topos_lane_world:run(told(Steps)))),
                #{arrived := Arrived, settled := Settled, sent := Sent} = Done,
                conjunction([
                    {each_once, [N || {N, _} <- Settled] =:= lists:seq(1, Sent)},
                    {confirmed_arrived, ordsets:is_subset([N || {N, ok} <- Settled], Arrived)},
                    {counted, maps:get(doubt, Done) =:= length([N || {N, in_doubt} <- Settled])},
                    {released, maps:get(released, Done) =:= Sent}
                ])
            end).

%% Of items of one key that wait together only the newest crosses; others are told; keys keep apart.
prop_monotonic_keeps_the_newest() ->
    ?FORALL(Keys, list(oneof([x, y, undefined])),
            begin
                Items = [topos_lane_world:item(N, {key, Key}) || {N, Key} <- lists:zip(lists:seq(1, length(Keys)), Keys)],
                Closed = topos_lane_out:new(1, #{window => 1000}),
                {Queued, Replaced} = topos_lane_out:enqueue(Items, 0, Closed),
                {_, Effects} = topos_lane_out:opened(0, Queued),
                Crossed = crossed(Effects),
                Dropped = [N || {settle, N, superseded} <- Replaced],
                Counted = lists:sum([N || {dropped, superseded, N} <- Replaced]),
                Released = lists:sum([N || {release, N, _} <- Replaced]),
                Newest = [N || #topos_item{notify = N, key = Key} <- Items,
                               Key =:= undefined orelse
                                   N =:= lists:max([M || #topos_item{notify = M, key = K} <- Items, K =:= Key])],
                conjunction([
                    {newest, lists:sort(Crossed) =:= Newest},
                    {all_told, lists:sort(Crossed ++ Dropped) =:= lists:seq(1, length(Keys))},
                    %% A queue holds one item a key: what gave way makes room at once.
                    {counted, {Counted, Released} =:= {length(Dropped), length(Dropped)}}
                ])
            end).

%% The last value of each key crosses, whatever is lost, repeated or reordered in between.
prop_monotonic_last_value_arrives() ->
    ?FORALL(Steps, schedule(oneof([topos_lane_world:step(), topos_lane_world:keyed()])),
            begin
                #{keyed := Sent, arrived := Arrived} = Done = done(Steps),
                Came = ordsets:from_list(Arrived),
                Of = fun(Key) -> [N || {K, N} <- Sent, K =:= Key] end,
                Keys = [Key || Key <- [1, 2, 3], Of(Key) =/= []],
                Delivered = fun(Key) -> Mine = Of(Key), [N || N <- Arrived, lists:member(N, Mine)] end,
                conjunction([
                    {last, [Key || Key <- Keys, not ordsets:is_element(lists:last(Of(Key)), Came)] =:= []},
                    {never_older_after_newer, [Key || Key <- Keys, Delivered(Key) =/= lists:usort(Delivered(Key))] =:= []},
                    {released, maps:get(released, Done) =:= maps:get(sent, Done)}
                ])
            end).

%% At most once: never twice, never out of order, everything accounted for; nothing is lost that the transport keeps.
prop_at_most_once() ->
    ?FORALL(Steps, schedule(topos_lane_world:step()),
            begin
                #{arrived := Arrived, settled := Settled, sent := Sent} = Done = done(told(Steps), #{reliable => false}),
                Lost = maps:get(lost, Done),
                conjunction([
                    {once_in_order, Arrived =:= lists:usort(Arrived)},
                    {all_told, [N || {N, _} <- Settled] =:= lists:seq(1, Sent)},
                    {confirmed_arrived, ordsets:is_subset([N || {N, ok} <- Settled], Arrived)},
                    {lost_are_told, Lost =:= length([N || {N, in_doubt} <- Settled])},
                    {nothing_lost_without_cause, Lost =:= 0 orelse not lists:all(fun is_good/1, Steps)},
                    {released, maps:get(released, Done) =:= Sent},
                    {idle, maps:get(idle, Done)}
                ])
            end).

%% While the link is away items expire in time, are told and make room; what has not expired crosses when it is back.
prop_expired_are_told() ->
    ?FORALL(Waits, list(range(0, 400)),
            begin
                Closed = topos_lane_out:new(1, #{expiry => 500, window => 1000}),
                {Last, Lane, Told} = lists:foldl(
                    fun(Wait, {Now, Acc, Effects}) ->
                        At = Now + Wait,
                        {Ticked, More} = topos_lane_out:tick(At, Acc),
                        {Next, None} = topos_lane_out:enqueue([topos_lane_world:item(At, told)], At, Ticked),
                        {At, Next, Effects ++ More ++ None}
                    end, {0, Closed, []}, Waits),
                {_, Effects} = topos_lane_out:opened(Last, Lane),
                Ats = lists:reverse(element(2, lists:foldl(fun(W, {N, A}) -> {N + W, [N + W | A]} end, {0, []}, Waits))),
                Expired = [N || {settle, N, expired} <- Told ++ Effects],
                Crossed = crossed(Effects),
                conjunction([
                    {expired, Expired =:= [At || At <- Ats, At + 500 =< Last]},
                    {crossed, Crossed =:= [At || At <- Ats, At + 500 > Last]},
                    {counted, length(Expired) =:= lists:sum([N || {dropped, expired, N} <- Told ++ Effects])},
                    {timer, Waits =:= [] orelse Crossed =:= [] orelse topos_lane_out:next_timeout(
                        element(1, topos_lane_out:tick(Last, Lane))) =:= hd(Crossed) + 500}
                ])
            end).

%% internal

%% Up to 126 steps: what goes wrong may need several faults in a row.
schedule(Step) -> ?SIZED(Size, resize(3 * Size, list(Step))).

done(Steps) -> done(Steps, #{}).

done(Steps, Options) -> topos_lane_world:sum(topos_lane_world:finish(topos_lane_world:run(Steps, Options))).

%% Somebody waits for each message.
told(Steps) -> [case Step of {send_quiet, N} -> {send, N}; _ -> Step end || Step <- Steps].

in_order(nobody, Numbers) -> Numbers;
in_order(anybody, Numbers) -> lists:sort(Numbers);
in_order(other_flows, Numbers) -> by_flow(Numbers).

%% The numbers of each flow, in the order in which they are.
by_flow(Numbers) ->
    lists:foldr(fun(N, Acc) -> maps:update_with(topos_lane_world:flow(N), fun(L) -> [N | L] end, [N], Acc) end, #{}, Numbers).

flow_item(N, Flow, Bytes) -> (topos_lane_world:item(N, told))#topos_item{
    piece = topos_frame:record(0, <<"x">>, <<N:32, 0:(8 * Bytes)>>, 4 + Bytes), bytes = 3 + 4 + Bytes, flow = Flow}.

%% Enqueues one list of items after the other; before the next one, and in the end until nothing is left, one batch is
%% acknowledged and the credit used. The numbers in the order in which they would arrive.
acknowledged_one_by_one(Lists, Lane) -> acknowledged_one_by_one(Lists, Lane, 0, []).

acknowledged_one_by_one([], Lane, Cumulative, Sent) ->
    case topos_lane_out:is_idle(Lane) of
        true -> arrived(lists:reverse(Sent));
        false ->
            {Next, Effects} = topos_lane_out:ack({1, 1}, Cumulative + 1, none, {[], 0}, Lane),
            acknowledged_one_by_one([], Next, Cumulative + 1, lists:reverse(batches(Effects), Sent))
    end;
acknowledged_one_by_one([Items | Rest], Lane, Cumulative, Sent) ->
    {Longer, First} = topos_lane_out:enqueue(Items, 0, Lane),
    {Next, Second} = topos_lane_out:ack({1, 1}, Cumulative + 1, none, {[], 0}, Longer),
    acknowledged_one_by_one(Rest, Next, Cumulative + 1, lists:reverse(batches(First ++ Second), Sent)).

batches(Effects) -> [{Flags, Pieces} || {send, _, _, Flags, {_, Pieces}, _} <- Effects].

%% What stands aside arrives by itself, the rest is put together.
arrived(Batches) ->
    {Numbers, _} = lists:foldl(
        fun({Flags, Pieces}, {Before, Begun}) when Flags band ?TOPOS_BATCH_ASIDE =/= 0 ->
                {Whole, <<>>} = whole(Pieces, <<>>),
                {Before ++ Whole, Begun};
           ({_, Pieces}, {Before, Begun}) ->
                {Whole, Left} = whole(Pieces, Begun),
                {Before ++ Whole, Left}
        end, {[], <<>>}, Batches),
    Numbers.

whole(Pieces, Begun) ->
    lists:foldl(
        fun({more, Piece}, {Numbers, Left}) ->
                {Numbers, <<Left/binary, Piece/binary>>};
           (Piece, {Numbers, Left}) ->
                {ok, {0, <<"x">>, <<N:32, _/binary>>}} = topos_frame:decode_record(<<Left/binary, Piece/binary>>),
                {Numbers ++ [N], <<>>}
        end, {[], Begun}, topos_frame:pieces(iolist_to_binary(Pieces))).

outcome(N) ->
    case topos_lane_world:is_unserved(N) of
        true -> {failed, ?TOPOS_UNDELIVERED_NO_PROCESS};
        false -> ok
    end.

law(Expected, Done) ->
    ?WHENFAIL(io:format("~p~n", [Done]),
              conjunction([{Name, map_get(Name, Done) =:= Value} || {Name, Value} <- maps:to_list(Expected)])).

is_good({Send, _}) when Send =:= send; Send =:= send_quiet -> true;
is_good({pass, _, 0}) -> true;
is_good(_) -> false.

crossed(Effects) -> topos_lane_world:numbers([Pieces || {send, _, _, _, {_, Pieces}, _} <- Effects]).
