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
%% An item with a key (monotonic channels) gives way to a later item of its key as long as it has not been put in a batch:
%% the later one takes its place in the queue, so a key that changes all the time is still sent, and the queue holds one
%% item a key.
%%
%% A lane that is not `reliable' (at most once) sends nothing twice: where another lane would send again, this one gives
%% up what was not acknowledged and begins a new stream. With an `expiry', an item that waited longer in the queue is
%% dropped; once in a batch it is not.
%%
%% Effects, in order:
%% <ul>
%% <li>`{send, Stream, Sequence, [Record]}': put the batch on the wire</li>
%% <li>`{settle, Notify, Result}': the outcome of an item whose `notify' is not `undefined': `ok',
%%     `superseded', `expired', `{failed, Reason}' as the receiver reported it, or `in_doubt'</li>
%% <li>`{dropped, superseded | expired | lost, Items}': so many items ended otherwise than acknowledged or in doubt</li>
%% <li>`{failed, Reason, Item}': the same report for an item without `notify'</li>
%% <li>`{release, Items, Bytes}': so much room in the queue is free again</li>
%% <li>`{in_doubt, Items}': these were given up, sent or not</li>
%% </ul>
-module(topos_lane_out).

-export([new/2, enqueue/3, opened/2, closed/1, ack/5, tick/2, give_up/1]).
-export([queued/1, unacknowledged/1, is_idle/1, next_timeout/1]).
-export_type([t/0, item/0, effect/0, options/0, result/0, drop/0]).

-type item() :: #{record := binary(), notify := term(), key := term(), destination => topos_lane:destination()}.
-type result() :: ok | superseded | expired | {failed, byte()} | in_doubt.
-type drop() :: superseded | expired | lost.
-type effect() ::
    {send, topos_frame:stream(), pos_integer(), [binary()]}
    | {settle, term(), result()}
    | {failed, byte(), item()}
    | {release, pos_integer(), non_neg_integer()}
    | {dropped, drop(), pos_integer()}
    | {in_doubt, pos_integer()}.
-type options() :: #{
    window => pos_integer(), max_batch => pos_integer(), max_batch_bytes => pos_integer(),
    rto => pos_integer(), max_rto => pos_integer(), reliable => boolean(), expiry => pos_integer() | infinity
}.
-record(batch, {sequence :: pos_integer(), items :: [item()]}).
-record(lane, {
    stream :: non_neg_integer(),
    %% The receiving half that acknowledges, 0 before the first acknowledgement.
    receiver = 0 :: non_neg_integer(),
    open = false :: boolean(),
    next = 1 :: pos_integer(),
    %% When each expires, and the item or its key.
    queue = queue:new() :: queue:queue({integer() | infinity, {item, item()} | {key, term()}}),
    %% The newest item of each key that waits.
    newest = #{} :: #{term() => item()},
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
    Defaults = #{window => 8, max_batch => 128, max_batch_bytes => 65536, rto => 1000, max_rto => 8000,
                 reliable => true, expiry => infinity},
    #{rto := Rto} = All = maps:merge(Defaults, Options),
    #lane{stream = Stream, options = All, backoff = Rto}.

-spec enqueue([item()], integer(), t()) -> {t(), [effect()]}.
enqueue(Items, Now, #lane{options = #{expiry := Expiry}} = Lane) ->
    Expires = expires(Expiry, Now),
    {Queued, Replaced} = lists:foldl(fun(Item, Acc) -> queue_item(Item, Expires, Acc) end, {Lane, []}, Items),
    pump(Now, Queued, dropped(superseded, lists:reverse(Replaced))).

%% @doc The link carries frames (again): what is unacknowledged goes out once more, then what is queued.
-spec opened(integer(), t()) -> {t(), [effect()]}.
opened(Now, Lane) ->
    {Recovered, Effects} = recover(reset_backoff(Lane)),
    pump(Now, (rearm(Now, Recovered))#lane{open = true, repaired = none}, Effects).

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
tick(Now, Lane) ->
    {Fresh, Expired} = expire(Now, Lane, []),
    {Resent, Effects} = retransmit(Now, Fresh),
    pump(Now, Resent, dropped(expired, Expired) ++ Effects).

%% @doc The peer's life ended: nothing will ever be acknowledged.
-spec give_up(t()) -> [effect()].
give_up(Lane) ->
    doubt(unacknowledged_items(Lane) ++ [waiting(Entry, Lane) || {_, Entry} <- queue:to_list(Lane#lane.queue)]).

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
next_timeout(#lane{deadline = Deadline, options = #{expiry := infinity}}) -> Deadline;
next_timeout(#lane{deadline = Deadline, queue = Queue}) ->
    %% The first to come is the first to expire. An atom is greater than any integer.
    case queue:peek(Queue) of
        {value, {Expires, _}} -> min(Deadline, Expires);
        empty -> Deadline
    end.

%% internal

-spec queue_item(item(), integer() | infinity, {t(), [item()]}) -> {t(), [item()]}.
queue_item(#{key := undefined} = Item, Expires, {#lane{queue = Queue} = Lane, Replaced}) ->
    {Lane#lane{queue = queue:in({Expires, {item, Item}}, Queue)}, Replaced};
queue_item(#{key := Key} = Item, Expires, {#lane{queue = Queue, newest = Newest} = Lane, Replaced}) ->
    case Newest of
        #{Key := Older} -> {Lane#lane{newest = Newest#{Key := Item}}, [Older | Replaced]};
        _ -> {Lane#lane{queue = queue:in({Expires, {key, Key}}, Queue), newest = Newest#{Key => Item}}, Replaced}
    end.

-spec waiting({item, item()} | {key, term()}, t()) -> item().
waiting({item, Item}, _) -> Item;
waiting({key, Key}, #lane{newest = Newest}) -> map_get(Key, Newest).

-spec taken({item, item()} | {key, term()}, t()) -> t().
taken({item, _}, Lane) -> Lane;
taken({key, Key}, #lane{newest = Newest} = Lane) -> Lane#lane{newest = maps:remove(Key, Newest)}.

-spec expires(pos_integer() | infinity, integer()) -> integer() | infinity.
expires(infinity, _) -> infinity;
expires(Expiry, Now) -> Now + Expiry.

%% Drops what waited too long; the first in the queue waited longest.
-spec expire(integer(), t(), [item()]) -> {t(), [item()]}.
expire(_Now, #lane{options = #{expiry := infinity}} = Lane, Expired) ->
    {Lane, Expired};
expire(Now, #lane{queue = Queue} = Lane, Expired) ->
    case queue:peek(Queue) of
        {value, {Expires, Entry}} when Expires =< Now ->
            expire(Now, taken(Entry, Lane#lane{queue = queue:drop(Queue)}), [waiting(Entry, Lane) | Expired]);
        _ ->
            {Lane, lists:reverse(Expired)}
    end.

-spec retransmit(integer(), t()) -> {t(), [effect()]}.
retransmit(Now, #lane{open = true, deadline = Deadline, backoff = Backoff, options = #{max_rto := Max}} = Lane) when
    is_integer(Deadline), Now >= Deadline
->
    {Recovered, Effects} = recover(Lane#lane{backoff = min(2 * Backoff, Max)}),
    {rearm(Now, Recovered), Effects};
retransmit(_Now, Lane) ->
    {Lane, []}.

%% What is unacknowledged goes out again, or is lost where nothing may go out twice.
-spec recover(t()) -> {t(), [effect()]}.
recover(#lane{options = #{reliable := true}} = Lane) ->
    {Lane, resend(Lane)};
recover(#lane{unacknowledged = 0} = Lane) ->
    {Lane, []};
recover(Lane) ->
    Items = unacknowledged_items(Lane),
    {fresh_stream(Lane), settled(in_doubt, Items) ++ [{dropped, lost, length(Items)} | release(Items)]}.

%% Sends batches while there is credit and something to send.
-spec pump(integer(), t(), [effect()]) -> {t(), [effect()]}.
pump(Now, #lane{open = true, unacknowledged = Sent, options = #{window := Window}} = Lane, Effects) when Sent < Window ->
    {Current, Expired} = expire(Now, Lane, []),
    {Items, Cut} = cut(Current),
    All = Effects ++ dropped(expired, Expired),
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

-spec cut(t()) -> {[item()], t()}.
cut(#lane{options = #{max_batch := Max, max_batch_bytes := MaxBytes}} = Lane) -> cut(Max, MaxBytes, [], Lane).

-spec cut(non_neg_integer(), integer(), [item()], t()) -> {[item()], t()}.
cut(Room, Bytes, Items, Lane) when Room =:= 0; Bytes =< 0 ->
    {lists:reverse(Items), Lane};
cut(Room, Bytes, Items, #lane{queue = Queue} = Lane) ->
    case queue:out(Queue) of
        {empty, _} ->
            {lists:reverse(Items), Lane};
        {{value, {_, Entry}}, Rest} ->
            %% A batch takes its first item whatever its size.
            #{record := Record} = Item = waiting(Entry, Lane),
            cut(Room - 1, Bytes - byte_size(Record), [Item | Items], taken(Entry, Lane#lane{queue = Rest}))
    end.

-spec dropped(superseded | expired, [item()]) -> [effect()].
dropped(_Why, []) -> [];
dropped(Why, Items) -> settled(Why, Items) ++ [{dropped, Why, length(Items)} | release(Items)].

-spec settled(result(), [item()]) -> [effect()].
settled(Result, Items) -> [{settle, N, Result} || #{notify := N} <- Items, N =/= undefined].

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
    {Recovered, Effects} = recover(Lane#lane{repaired = Cumulative}),
    {rearm(Now, Recovered), Effects};
repair(true, _, Now, #lane{deadline = infinity, open = true} = Lane) -> {rearm(Now, Lane), []};
repair(true, _, _, Lane) -> {Lane, []}.

-spec restart(t()) -> {t(), [effect()]}.
restart(Lane) -> {reset_backoff(fresh_stream(Lane)), doubt(unacknowledged_items(Lane))}.

-spec fresh_stream(t()) -> t().
fresh_stream(#lane{stream = Stream} = Lane) ->
    Lane#lane{stream = Stream + 1, next = 1, sent = queue:new(), unacknowledged = 0, repaired = none, deadline = infinity}.

-spec doubt([item()]) -> [effect()].
doubt(Items) ->
    settled(in_doubt, Items)
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
