%% Two pure halves of a lane under a transport that loses, repeats and reorders: what was sent is delivered once, in order.
-module(prop_topos_lanes).

-include("topos_frame.hrl").
-include("topos_lane.hrl").
-include_lib("proper/include/proper.hrl").

-export([prop_monotonic_last_value_arrives/0, prop_at_most_once/0, prop_expired_are_told/0]).
-export([prop_once_and_in_order/0, prop_give_up_accounts_for_everything/0, prop_forgetful_receiver/0,
         prop_monotonic_keeps_the_newest/0]).

%% What the adversary does next. Numbers choose among the frames that are on the way.
step() ->
    frequency([
        {4, {send, range(1, 5)}},
        {4, {pass, batch, nat()}},
        {4, {pass, ack, nat()}},
        {1, {lose, batch, nat()}},
        {1, {lose, ack, nat()}},
        {1, {repeat, batch, nat()}},
        {1, {repeat, ack, nat()}},
        {1, flap},
        {1, refuse},
        {2, {wait, range(1, 3000)}}
    ]).

options() -> #{window => 3, max_batch => 2, max_batch_bytes => 64, max_piece => 80, rto => 1000, max_rto => 4000}.

-record(world, {
    now = 0,
    out = element(1, topos_lane_out:opened(0, topos_lane_out:new(1, options()))),
    in = topos_lane_in:new(1, 1000),
    refusing = false,
    batches = [],
    acks = [],
    sent = 0,
    delivered = [],
    settled = [],
    keyed = [],
    doubt = 0,
    dropped = [],
    released = 0
}).

prop_once_and_in_order() ->
    ?FORALL(Steps, list(step()),
            begin
                Done = finish(lists:foldl(fun step/2, #world{}, Steps), 1000),
                Expected = lists:seq(1, Done#world.sent),
                ?WHENFAIL(io:format("~p~n", [Done]),
                          conjunction([
                              {delivered, lists:reverse(Done#world.delivered) =:= Expected},
                              {settled, lists:sort(Done#world.settled) =:= [{N, ok} || N <- Expected]},
                              {released, Done#world.released =:= Done#world.sent},
                              {nothing_in_doubt, Done#world.doubt =:= 0},
                              {idle, topos_lane_out:is_idle(Done#world.out)}
                          ]))
            end).

%% When the peer dies, each item was confirmed or is in doubt, never both, and nothing was delivered that was not sent.
prop_give_up_accounts_for_everything() ->
    ?FORALL(Steps, list(step()),
            begin
                World = lists:foldl(fun step/2, #world{}, Steps),
                Done = effects(topos_lane_out:give_up(World#world.out), World),
                Sent = lists:seq(1, Done#world.sent),
                Doubtful = length([N || {N, in_doubt} <- Done#world.settled]),
                conjunction([
                    {each_once, lists:sort([N || {N, _} <- Done#world.settled]) =:= Sent},
                    {confirmed_were_delivered, [N || {N, ok} <- Done#world.settled] -- Done#world.delivered =:= []},
                    {counted, Done#world.doubt =:= Doubtful},
                    {released, Done#world.released =:= Done#world.sent}
                ])
            end).

%% A receiver that lost its state gets a new stream; what is lost is in doubt, what arrives is in order and came once.
prop_forgetful_receiver() ->
    ?FORALL({Before, After}, {list(step()), list(step())},
            begin
                Middle = lists:foldl(fun step/2, #world{}, Before),
                Forgot = Middle#world{in = topos_lane_in:new(2, 1000), batches = [], acks = []},
                Done = finish(lists:foldl(fun step/2, Forgot, After), 1000),
                New = lists:reverse(Done#world.delivered) -- lists:reverse(Middle#world.delivered),
                Told = [N || {N, ok} <- Done#world.settled] ++ [N || {N, in_doubt} <- Done#world.settled],
                conjunction([
                    {in_order, New =:= lists:usort(New)},
                    {all_told, lists:sort(Told) =:= lists:seq(1, Done#world.sent)},
                    {confirmed_were_delivered, [N || {N, ok} <- Done#world.settled] -- Done#world.delivered =:= []},
                    {idle, topos_lane_out:is_idle(Done#world.out)}
                ])
            end).

%% Of items of one key that wait together only the newest crosses; others are told; keys keep apart.
prop_monotonic_keeps_the_newest() ->
    ?FORALL(Keys, list(oneof([x, y, undefined])),
            begin
                Items = [item(N, Key) || {N, Key} <- lists:zip(lists:seq(1, length(Keys)), Keys)],
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
    ?FORALL(Steps, list(oneof([step(), {keyed, range(1, 3)}])),
            begin
                Done = finish(lists:foldl(fun step/2, #world{}, Steps), 1000),
                Sent = lists:reverse(Done#world.keyed),
                Delivered = lists:reverse(Done#world.delivered),
                Of = fun(Key, Numbers) -> [N || {K, N} <- Sent, K =:= Key, lists:member(N, Numbers)] end,
                Numbers = [N || {_, N} <- Sent],
                conjunction([
                    {last, [lists:last(Of(K, Numbers)) || K <- [1, 2, 3], Of(K, Numbers) =/= []]
                        =:= [lists:last(Of(K, Delivered)) || K <- [1, 2, 3], Of(K, Delivered) =/= []]},
                    {never_older_after_newer,
                        lists:all(fun(K) -> Ns = [N || N <- Delivered, lists:member({K, N}, Sent)], Ns =:= lists:usort(Ns) end,
                                  [1, 2, 3])},
                    {released, Done#world.released =:= Done#world.sent}
                ])
            end).

%% At most once: never twice, never out of order, everything accounted for; nothing is lost that the transport keeps.
prop_at_most_once() ->
    ?FORALL(Steps, list(step()),
            begin
                Out = element(1, topos_lane_out:opened(0, topos_lane_out:new(1, (options())#{reliable => false}))),
                Done = finish(lists:foldl(fun step/2, #world{out = Out}, Steps), 1000),
                Delivered = lists:reverse(Done#world.delivered),
                Lost = lists:sum([N || {lost, N} <- Done#world.dropped]),
                Confirmed = [N || {N, ok} <- Done#world.settled],
                Good = lists:all(fun(S) -> lists:member(element(1, tag(S)), [send, good]) end, Steps),
                conjunction([
                    {once_in_order, Delivered =:= lists:usort(Delivered)},
                    {all_told, lists:sort([N || {N, _} <- Done#world.settled]) =:= lists:seq(1, Done#world.sent)},
                    {confirmed_were_delivered, Confirmed -- Delivered =:= []},
                    {lost_are_told, Lost =:= length([N || {N, in_doubt} <- Done#world.settled])},
                    {nothing_lost_without_cause, not Good orelse Lost =:= 0},
                    {released, Done#world.released =:= Done#world.sent},
                    {idle, topos_lane_out:is_idle(Done#world.out)}
                ])
            end).

tag({send, _}) -> {send};
tag({pass, _, 0}) -> {good};
tag(_) -> {bad}.

%% While the link is away items expire in time, are told and make room; what has not expired crosses when it is back.
prop_expired_are_told() ->
    ?FORALL(Waits, list(range(0, 400)),
            begin
                Closed = topos_lane_out:new(1, #{expiry => 500, window => 1000}),
                {Last, Lane, Told} = lists:foldl(
                    fun(Wait, {Now, Acc, Effects}) ->
                        At = Now + Wait,
                        {Ticked, More} = topos_lane_out:tick(At, Acc),
                        {Next, None} = topos_lane_out:enqueue([item(At, undefined)], At, Ticked),
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

%% Every fifth is larger than a batch, so that it crosses in pieces.
item(N, Key) ->
    Message = <<N:32, 0:(case N rem 5 of 0 -> 8 * (10 * N rem 150 + 60); _ -> 0 end)>>,
    #topos_item{piece = topos_frame:record(0, <<"x">>, Message, byte_size(Message)), bytes = 3 + byte_size(Message), notify = N, key = Key}.

crossed(Effects) ->
    Pieces = lists:append([P || {send, _, _, _, {_, P}, _} <- Effects]),
    {Numbers, _} = assemble(topos_frame:pieces(iolist_to_binary(Pieces)), [], topos_lane_in:new(1, 1000)),
    Numbers.

in_record(Record) ->
    {ok, {0, <<"x">>, <<N:32, _/binary>>}} = topos_frame:decode_record(Record),
    N.

step({send, Count}, #world{sent = Sent, out = Out, now = Now} = W) ->
    Items = [item(N, undefined) || N <- lists:seq(Sent + 1, Sent + Count)],
    out(topos_lane_out:enqueue(Items, Now, Out), W#world{sent = Sent + Count});
step({keyed, Key}, #world{sent = Sent, out = Out, now = Now, keyed = Keyed} = W) ->
    N = Sent + 1,
    out(topos_lane_out:enqueue([item(N, Key)], Now, Out), W#world{sent = N, keyed = [{Key, N} | Keyed]});
step({pass, Kind, N}, W) -> take(Kind, N, W, fun(Frame, _, Rest) -> arrive(Kind, Frame, put_frames(Kind, Rest, W)) end);
step({lose, Kind, N}, W) -> take(Kind, N, W, fun(_, _, Rest) -> put_frames(Kind, Rest, W) end);
step({repeat, Kind, N}, W) -> take(Kind, N, W, fun(Frame, All, _) -> put_frames(Kind, [Frame | All], W) end);
step(flap, #world{out = Out, now = Now} = W) ->
    out(topos_lane_out:opened(Now, topos_lane_out:closed(Out)), W);
step(refuse, W) -> W#world{refusing = true};
step({wait, Ms}, #world{now = Now, out = Out} = W) ->
    out(topos_lane_out:tick(Now + Ms, Out), W#world{now = Now + Ms}).

take(Kind, N, W, Fun) ->
    case frames(Kind, W) of
        [] -> W;
        Frames ->
            Frame = lists:nth(N rem length(Frames) + 1, Frames),
            Fun(Frame, Frames, lists:delete(Frame, Frames))
    end.

frames(batch, #world{batches = Frames}) -> Frames;
frames(ack, #world{acks = Frames}) -> Frames.

put_frames(batch, Frames, W) -> W#world{batches = Frames};
put_frames(ack, Frames, W) -> W#world{acks = Frames}.

arrive(batch, {Stream, Sequence, Pieces}, #world{in = In} = W) ->
    case topos_lane_in:batch(Stream, Sequence, In) of
        {deliver, Ready} ->
            {Numbers, Taken} = assemble(topos_frame:pieces(iolist_to_binary(Pieces)), [], Ready),
            {Ack, Next} = topos_lane_in:delivered(Sequence, [], Taken),
            W#world{in = Next, acks = W#world.acks ++ [Ack], delivered = lists:reverse(Numbers) ++ W#world.delivered};
        {{ack, Ack}, Next} ->
            W#world{in = Next, acks = W#world.acks ++ [Ack]};
        {ignore, Next} ->
            W#world{in = Next}
    end;
arrive(ack, {Stream, Cumulative, Flags, Failures}, #world{out = Out, now = Now} = W) ->
    out(topos_lane_out:ack(Stream, Cumulative, Flags =:= ?TOPOS_ACK_GAP, {Failures, Now}, Out), W).

assemble([], Numbers, In) ->
    {lists:reverse(Numbers), In};
assemble([{more, Piece} | Rest], Numbers, In) ->
    {partial, Next} = topos_lane_in:piece(more, Piece, In),
    assemble(Rest, Numbers, Next);
assemble([Piece | Rest], Numbers, In) ->
    {{record, Record}, Next} = topos_lane_in:piece(last, Piece, In),
    assemble(Rest, [in_record(Record) | Numbers], Next).

out({Out, Effects}, W) -> effects(Effects, W#world{out = Out}).

%% A transport that refuses takes neither the batch nor what is after it.
effects(Effects, #world{refusing = true, out = Out, now = Now} = W) ->
    case [Sequence || {send, _, Sequence, _, _, _} <- Effects] of
        [] ->
            effects(Effects, W#world{refusing = false});
        [First | _] ->
            Others = [E || E <- Effects, element(1, E) =/= send],
            effects(Others, W#world{refusing = false, out = topos_lane_out:refused(First, Now, Out)})
    end;
effects(Effects, W) ->
    lists:foldl(
        fun({send, Stream, Sequence, _Flags, {Count, Pieces}, _}, Acc) ->
                Count = length(Pieces),
                Acc#world{batches = Acc#world.batches ++ [{Stream, Sequence, Pieces}]};
           ({settle, N, Result}, Acc) -> Acc#world{settled = [{N, Result} | Acc#world.settled]};
           ({release, N, _}, Acc) -> Acc#world{released = Acc#world.released + N};
           ({dropped, Why, N}, Acc) -> Acc#world{dropped = [{Why, N} | Acc#world.dropped]};
           ({in_doubt, N}, Acc) -> Acc#world{doubt = Acc#world.doubt + N}
        end, W, Effects).

%% The transport becomes good: everything passes, time goes on, until nothing is left to do.
finish(W, 0) -> W;
finish(#world{batches = [], acks = [], out = Out} = W, N) ->
    case topos_lane_out:is_idle(Out) of
        true -> W;
        false -> finish(step({wait, 4000}, W), N - 1)
    end;
finish(#world{batches = [_ | _]} = W, N) -> finish(step({pass, batch, 0}, W), N);
finish(W, N) -> finish(step({pass, ack, 0}, W), N).
