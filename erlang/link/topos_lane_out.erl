%% @doc The sending half of a lane, as a pure state machine: batches, credit, retransmission.
%%
%% Items are queued, cut into batches of at most `max_batch' items and about `max_batch_bytes' bytes, and numbered from 1
%% within a stream. At most `window' batches are unacknowledged; they are kept and sent again, all of them in order
%% (go-back-N), after the link came back, after the receiver reported a gap, and when no acknowledgement made progress for
%% a retransmission time-out that doubles up to `max_rto'. Together with `topos_lane_in' this delivers every item once
%% and in order while both ends live, whatever the transport loses, repeats or reorders.
%%
%% Acknowledgements name the receiving half they come from. When that is another than before, the receiver lost its state
%% (it gave this node up while this node lived on): what it may or may not have seen is given up as in doubt, and a new
%% stream begins.
%%
%% An item with a key (monotonic channels) gives way to a later item of its key as long as it has not been put in a batch.
%%
%% Effects, in order:
%% <ul>
%% <li>`{send, Stream, Sequence, [Record]}': put the batch on the wire</li>
%% <li>`{settle, Notify, Result}': the outcome of an item whose `notify' is not `undefined': `ok',
%%     `superseded', `{failed, Reason}' as the receiver reported it, or `in_doubt'</li>
%% <li>`{failed, Reason, Item}': the same report for an item without `notify'</li>
%% <li>`{release, Items, Bytes}': so much room in the queue is free again</li>
%% <li>`{in_doubt, Items}': these were given up, sent or not</li>
%% </ul>
-module(topos_lane_out).

-export([new/2, enqueue/3, opened/2, closed/1, ack/5, tick/2, give_up/1]).
-export([queued/1, unacknowledged/1, is_idle/1, next_timeout/1]).
-export_type([t/0, item/0, effect/0, options/0, result/0]).

-type item() :: #{record := binary(), notify := term(), key := term(), destination => topos_lane:destination()}.
-type result() :: ok | superseded | {failed, byte()} | in_doubt.
-type effect() ::
    {send, topos_frame:stream(), pos_integer(), [binary()]}
    | {settle, term(), result()}
    | {failed, byte(), item()}
    | {release, pos_integer(), non_neg_integer()}
    | {in_doubt, pos_integer()}.
-type options() :: #{
    window => pos_integer(), max_batch => pos_integer(), max_batch_bytes => pos_integer(),
    rto => pos_integer(), max_rto => pos_integer()
}.
-record(batch, {sequence :: pos_integer(), items :: [item()]}).
-record(lane, {
    stream :: non_neg_integer(),
    %% The receiving half that acknowledges, 0 before the first acknowledgement.
    receiver = 0 :: non_neg_integer(),
    open = false :: boolean(),
    next = 1 :: pos_integer(),
    queue = queue:new() :: queue:queue({non_neg_integer(), item()}),
    %% Serial number of the next item to be queued; the newest item of each key.
    serial = 0 :: non_neg_integer(),
    newest = #{} :: #{term() => non_neg_integer()},
    sent = queue:new() :: queue:queue(#batch{}),
    unacknowledged = 0 :: non_neg_integer(),
    %% After which cumulative acknowledgement a reported gap was answered already.
    repaired = none :: none | non_neg_integer(),
    deadline = infinity :: integer() | infinity,
    backoff :: pos_integer(),
    options :: options()
}).
-opaque t() :: #lane{}.

%% @doc A lane that is closed and empty. A stream's number must be higher than that of any earlier stream of the lane.
-spec new(Stream :: non_neg_integer(), options()) -> t().
new(Stream, Options) ->
    Defaults = #{window => 8, max_batch => 128, max_batch_bytes => 65536, rto => 1000, max_rto => 8000},
    #{rto := Rto} = All = maps:merge(Defaults, Options),
    #lane{stream = Stream, options = All, backoff = Rto}.

-spec enqueue([item()], integer(), t()) -> {t(), [effect()]}.
enqueue(Items, Now, Lane) -> pump(Now, lists:foldl(fun queue_item/2, Lane, Items), []).

%% @doc The link carries frames (again): what is unacknowledged goes out once more, then what is queued.
-spec opened(integer(), t()) -> {t(), [effect()]}.
opened(Now, Lane) ->
    pump(Now, (rearm(Now, reset_backoff(Lane)))#lane{open = true, repaired = none}, resend(Lane)).

-spec closed(t()) -> t().
closed(Lane) -> Lane#lane{open = false, deadline = infinity}.

%% @doc An acknowledgement of everything up to `Cumulative', and whether the receiver saw a gap after it. One of another
%% stream, of an earlier receiving half, or for what was never sent changes nothing.
-spec ack(topos_frame:stream(), Cumulative :: non_neg_integer(), Gap :: boolean(),
          {[topos_frame:failure()], Now :: integer()}, t()) -> {t(), [effect()]}.
ack({Stream, Receiver}, _, _, {_, Now}, #lane{stream = Stream, receiver = Known} = Lane) when
    Known =/= 0, Receiver > Known
->
    {Fresh, Effects} = restart(Lane),
    pump(Now, Fresh#lane{receiver = Receiver}, Effects);
ack({Stream, Receiver}, Cumulative, Gap, {Failures, Now}, #lane{stream = Stream, receiver = Known, next = Next} = Lane) when
    Cumulative < Next, Receiver >= Known
->
    {Progressed, Settled} = drop_acknowledged(Cumulative, Failures, Lane#lane{receiver = Receiver}),
    {Repaired, Effects} = repair(Gap, Cumulative, Now, Progressed),
    pump(Now, Repaired, Settled ++ Effects);
ack(_, _, _, _, Lane) ->
    {Lane, []}.

%% @doc To be called when `next_timeout/1' is reached.
-spec tick(integer(), t()) -> {t(), [effect()]}.
tick(Now, #lane{open = true, deadline = Deadline, backoff = Backoff, options = #{max_rto := Max}} = Lane) when
    is_integer(Deadline), Now >= Deadline
->
    Slower = Lane#lane{backoff = min(2 * Backoff, Max)},
    {rearm(Now, Slower), resend(Lane)};
tick(_Now, Lane) ->
    {Lane, []}.

%% @doc The peer's life ended: nothing will ever be acknowledged.
-spec give_up(t()) -> [effect()].
give_up(Lane) ->
    doubt(unacknowledged_items(Lane) ++ [I || {_, I} <- queue:to_list(Lane#lane.queue)]).

%% @doc Items waiting for credit.
-spec queued(t()) -> non_neg_integer().
queued(#lane{queue = Queue}) -> queue:len(Queue).

%% @doc Batches sent and not acknowledged.
-spec unacknowledged(t()) -> non_neg_integer().
unacknowledged(#lane{unacknowledged = N}) -> N.

-spec is_idle(t()) -> boolean().
is_idle(Lane) -> queued(Lane) =:= 0 andalso unacknowledged(Lane) =:= 0.

%% @doc The time at which `tick/2' has something to do.
-spec next_timeout(t()) -> integer() | infinity.
next_timeout(#lane{deadline = Deadline}) -> Deadline.

%% internal

-spec queue_item(item(), t()) -> t().
queue_item(#{key := Key} = Item, #lane{queue = Queue, serial = Serial, newest = Newest} = Lane) ->
    Known = case Key of undefined -> Newest; _ -> Newest#{Key => Serial} end,
    Lane#lane{queue = queue:in({Serial, Item}, Queue), serial = Serial + 1, newest = Known}.

%% Sends batches while there is credit and something to send.
-spec pump(integer(), t(), [effect()]) -> {t(), [effect()]}.
pump(Now, #lane{open = true, unacknowledged = Sent, options = #{window := Window}} = Lane, Effects) when Sent < Window ->
    {Items, Dropped, Cut} = cut(Lane),
    All = Effects ++ superseded(Dropped),
    case Items of
        [] ->
            {Cut, All};
        _ ->
            #lane{next = Next, sent = Queue} = Cut,
            Batch = #batch{sequence = Next, items = Items},
            Grown = Cut#lane{next = Next + 1, sent = queue:in(Batch, Queue), unacknowledged = Sent + 1},
            Armed = case Sent of 0 -> rearm(Now, Grown); _ -> Grown end,
            pump(Now, Armed, All ++ [send(Batch, Cut)])
    end;
pump(_Now, Lane, Effects) ->
    {Lane, Effects}.

-spec cut(t()) -> {[item()], Superseded :: [item()], t()}.
cut(#lane{options = #{max_batch := Max, max_batch_bytes := MaxBytes}} = Lane) -> cut(Max, MaxBytes, [], [], Lane).

-spec cut(non_neg_integer(), integer(), [item()], [item()], t()) -> {[item()], [item()], t()}.
cut(Room, Bytes, Items, Dropped, Lane) when Room =:= 0; Bytes =< 0 ->
    {lists:reverse(Items), lists:reverse(Dropped), Lane};
cut(Room, Bytes, Items, Dropped, #lane{queue = Queue, newest = Newest} = Lane) ->
    case queue:out(Queue) of
        {empty, _} ->
            {lists:reverse(Items), lists:reverse(Dropped), Lane};
        {{value, {Serial, #{record := Record, key := Key} = Item}}, Rest} ->
            case Newest of
                #{Key := Newer} when Newer > Serial ->
                    cut(Room, Bytes, Items, [Item | Dropped], Lane#lane{queue = Rest});
                _ ->
                    %% A batch takes its first item whatever its size.
                    Left = Bytes - byte_size(Record),
                    Taken = Lane#lane{queue = Rest, newest = maps:remove(Key, Newest)},
                    cut(Room - 1, Left, [Item | Items], Dropped, Taken)
            end
    end.

-spec superseded([item()]) -> [effect()].
superseded(Items) -> [{settle, N, superseded} || #{notify := N} <- Items, N =/= undefined] ++ release(Items).

-spec drop_acknowledged(non_neg_integer(), [topos_frame:failure()], t()) -> {t(), [effect()]}.
drop_acknowledged(Cumulative, Failures, #lane{sent = Sent} = Lane) ->
    {Done, Kept} = split(Cumulative, Sent, []),
    case Done of
        [] ->
            {Lane, []};
        _ ->
            Left = queue:len(Kept),
            Fresh = reset_backoff(Lane#lane{sent = Kept, unacknowledged = Left, repaired = none}),
            Reasons = maps:from_list([{{S, I}, R} || {S, I, R} <- Failures]),
            {Fresh#lane{deadline = infinity}, lists:append([settle(B, Reasons) || B <- Done])}
    end.

-spec split(non_neg_integer(), queue:queue(#batch{}), [#batch{}]) -> {[#batch{}], queue:queue(#batch{})}.
split(Cumulative, Sent, Done) ->
    case queue:peek(Sent) of
        {value, #batch{sequence = S} = Batch} when S =< Cumulative -> split(Cumulative, queue:drop(Sent), [Batch | Done]);
        _ -> {lists:reverse(Done), Sent}
    end.

-spec settle(#batch{}, #{{pos_integer(), non_neg_integer()} => byte()}) -> [effect()].
settle(#batch{sequence = Sequence, items = Items}, Reasons) ->
    Numbered = lists:zip(lists:seq(0, length(Items) - 1), Items),
    [Effect || {Index, Item} <- Numbered, Effect <- outcome(maps:get({Sequence, Index}, Reasons, ok), Item)]
        ++ release(Items).

-spec outcome(ok | byte(), item()) -> [effect()].
outcome(ok, #{notify := undefined}) -> [];
outcome(ok, #{notify := Notify}) -> [{settle, Notify, ok}];
outcome(Reason, #{notify := undefined} = Item) -> [{failed, Reason, Item}];
outcome(Reason, #{notify := Notify}) -> [{settle, Notify, {failed, Reason}}].

-spec release([item()]) -> [effect()].
release([]) -> [];
release(Items) -> [{release, length(Items), lists:sum([byte_size(R) || #{record := R} <- Items])}].

%% A gap is repaired once an acknowledged position: every batch behind the gap reports it again. A report about a position
%% that is acknowledged already is late and means nothing.
-spec repair(boolean(), non_neg_integer(), integer(), t()) -> {t(), [effect()]}.
repair(false, _, Now, #lane{deadline = infinity, open = true} = Lane) -> {rearm(Now, Lane), []};
repair(false, _, _, Lane) -> {Lane, []};
repair(true, Cumulative, _, #lane{repaired = Cumulative} = Lane) -> {Lane, []};
repair(true, Cumulative, Now, #lane{open = true, next = Next, unacknowledged = N} = Lane) when Cumulative =:= Next - 1 - N ->
    {rearm(Now, Lane#lane{repaired = Cumulative}), resend(Lane)};
repair(true, _, Now, #lane{deadline = infinity, open = true} = Lane) -> {rearm(Now, Lane), []};
repair(true, _, _, Lane) -> {Lane, []}.

-spec restart(t()) -> {t(), [effect()]}.
restart(#lane{stream = Stream} = Lane) ->
    Items = unacknowledged_items(Lane),
    Fresh = reset_backoff(Lane#lane{
        stream = Stream + 1, next = 1, sent = queue:new(), unacknowledged = 0, repaired = none, deadline = infinity
    }),
    {Fresh, doubt(Items)}.

-spec doubt([item()]) -> [effect()].
doubt(Items) ->
    [{settle, N, in_doubt} || #{notify := N} <- Items, N =/= undefined]
        ++ [{in_doubt, length(Items)} || Items =/= []]
        ++ release(Items).

-spec resend(t()) -> [effect()].
resend(#lane{sent = Sent} = Lane) -> [send(Batch, Lane) || Batch <- queue:to_list(Sent)].

-spec send(#batch{}, t()) -> effect().
send(#batch{sequence = Sequence, items = Items}, #lane{stream = Stream, receiver = Receiver}) ->
    {send, {Stream, Receiver}, Sequence, [R || #{record := R} <- Items]}.

-spec rearm(integer(), t()) -> t().
rearm(_Now, #lane{unacknowledged = 0} = Lane) -> Lane#lane{deadline = infinity};
rearm(Now, #lane{backoff = Backoff} = Lane) -> Lane#lane{deadline = Now + Backoff}.

-spec reset_backoff(t()) -> t().
reset_backoff(#lane{options = #{rto := Rto}} = Lane) -> Lane#lane{backoff = Rto}.

-spec unacknowledged_items(t()) -> [item()].
unacknowledged_items(#lane{sent = Sent}) -> lists:append([Items || #batch{items = Items} <- queue:to_list(Sent)]).
