%% @doc The sending half of a lane, as a pure state machine: batches, credit, retransmission.
%%
%% Items are queued, cut into batches of at most `max_batch' pieces and `max_batch_bytes' bytes, and numbered from 1 within a
%% stream. An item is one piece, unless it is larger than a batch: then it is several, and counts as sent with the last. At most `window' batches are unacknowledged; they are kept and sent again, all of them in order
%% (go-back-N), after the link came back, after the receiver reported a gap, and when no acknowledgement made progress for
%% a retransmission time-out that doubles up to `max_rto'. Together with `topos_lane_in' this delivers every item once
%% and in order while both ends live, whatever the transport loses, repeats or reorders.
%%
%% Acknowledgements name the receiving half they come from. When that is another than before, the receiver lost its state
%% (it gave this node up while this node lived on): what it may or may not have seen is given up as in doubt, and a new
%% stream begins.
%%
%% A batch that the transport would not take (`refused/3') is offered again after a pause that doubles from `pause' up to
%% `max_pause', and everything behind it waits: it was never sent, so nothing needs to be found out.
%%
%% An item with a key (monotonic channels) gives way to a later item of its key as long as it has not been put in a batch.
%%
%% Effects, in order:
%% <ul>
%% <li>`{send, Stream, Sequence, Flags, [Piece]}': put the batch on the wire; `?TOPOS_BATCH_URGENT' if the acknowledgement is
%%     waited for, by who sent an item of it or because half of the window is used</li>
%% <li>`{settle, Notify, Result}': the outcome of an item whose `notify' asks for it: `ok',
%%     `superseded', `{failed, Reason}' as the receiver reported it, or `in_doubt'</li>
%% <li>`{failed, Reason, Item}': the same report for an item without `notify'</li>
%% <li>`{release, Items, Bytes}': so much room in the queue is free again</li>
%% <li>`{in_doubt, Items}': these were given up, sent or not</li>
%% </ul>
-module(topos_lane_out).

-include("topos_frame.hrl").
-include("topos_lane.hrl").

-export([new/2, enqueue/3, opened/2, closed/1, ack/5, refused/3, tick/2, give_up/1]).
-export([queued/1, unacknowledged/1, is_idle/1, next_timeout/1]).
-export_type([t/0, item/0, effect/0, options/0, result/0]).

-type item() :: #topos_item{}.
-type result() :: ok | superseded | {failed, byte()} | in_doubt.
-type effect() ::
    {send, topos_frame:stream(), pos_integer(), Flags :: byte(), [topos_frame:piece()]}
    | {settle, term(), result()}
    | {failed, byte(), item()}
    | {release, pos_integer(), non_neg_integer()}
    | {in_doubt, pos_integer()}.
-type options() :: #{
    window => pos_integer(), max_batch => pos_integer(), max_batch_bytes => pos_integer(),
    rto => pos_integer(), max_rto => pos_integer(), pause => pos_integer(), max_pause => pos_integer()
}.
-record(batch, {
    sequence :: pos_integer(),
    flags :: byte(),
    pieces :: [topos_frame:piece()],
    %% The items that end in this batch, each with the index of its last piece; their sum.
    items :: [{non_neg_integer(), item()}],
    count :: non_neg_integer(),
    bytes :: non_neg_integer(),
    %% Nobody is to be told of an item that is delivered.
    quiet :: boolean()
}).
-record(lane, {
    stream :: non_neg_integer(),
    %% The receiving half that acknowledges, 0 before the first acknowledgement.
    receiver = 0 :: non_neg_integer(),
    open = false :: boolean(),
    next = 1 :: pos_integer(),
    queue = queue:new() :: queue:queue(item() | {keyed, non_neg_integer(), item()}),
    %% What is left of an item that is larger than a batch and was begun.
    rest = [] :: [{more, iodata()} | {last, iodata(), item()}],
    %% Serial number of the next item with a key to be queued; the newest item of each key.
    serial = 0 :: non_neg_integer(),
    newest = #{} :: #{term() => non_neg_integer()},
    sent = queue:new() :: queue:queue(#batch{}),
    unacknowledged = 0 :: non_neg_integer(),
    %% After which cumulative acknowledgement a reported gap was answered already.
    repaired = none :: none | non_neg_integer(),
    deadline = infinity :: integer() | infinity,
    backoff :: pos_integer(),
    %% The first batch the transport refused, and when to offer it again.
    refused = none :: none | {pos_integer(), At :: integer()},
    pause :: pos_integer(),
    options :: options()
}).
-opaque t() :: #lane{}.

%% @doc A lane that is closed and empty. A stream's number must be higher than that of any earlier stream of the lane.
-spec new(Stream :: non_neg_integer(), options()) -> t().
new(Stream, Options) ->
    Defaults = #{
        window => 8, max_batch => 512, max_batch_bytes => 65536, rto => 1000, max_rto => 8000, pause => 1, max_pause => 64
    },
    #{rto := Rto, pause := Pause} = All = maps:merge(Defaults, Options),
    #lane{stream = Stream, options = All, backoff = Rto, pause = Pause}.

-spec enqueue([item()], integer(), t()) -> {t(), [effect()]}.
enqueue(Items, Now, Lane) -> pump(Now, lists:foldl(fun queue_item/2, Lane, Items), []).

%% @doc The link carries frames (again): what is unacknowledged goes out once more, then what is queued.
-spec opened(integer(), t()) -> {t(), [effect()]}.
opened(Now, Lane) ->
    pump(Now, (rearm(Now, reset_backoff(Lane)))#lane{open = true, repaired = none, refused = none}, resend(Lane)).

-spec closed(t()) -> t().
closed(Lane) -> Lane#lane{open = false, deadline = infinity, refused = none}.

%% @doc The transport did not take this batch, and nothing after it was offered.
-spec refused(pos_integer(), integer(), t()) -> t().
refused(Sequence, Now, #lane{pause = Pause, options = #{max_pause := Max}} = Lane) ->
    Lane#lane{refused = {Sequence, Now + Pause}, pause = min(2 * Pause, Max)}.

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
tick(Now, #lane{refused = {Sequence, At}} = Lane) when Now >= At ->
    pump(Now, rearm(Now, Lane#lane{refused = none}), resend(Sequence, Lane));
tick(Now, #lane{open = true, refused = none, deadline = Deadline, backoff = Backoff, options = #{max_rto := Max}} = Lane) when
    is_integer(Deadline), Now >= Deadline
->
    Slower = Lane#lane{backoff = min(2 * Backoff, Max)},
    {rearm(Now, Slower), resend(Lane)};
tick(_Now, Lane) ->
    {Lane, []}.

%% @doc The peer's life ended: nothing will ever be acknowledged.
-spec give_up(t()) -> [effect()].
give_up(Lane) ->
    doubt(unacknowledged_items(Lane) ++ [plain(I) || I <- queue:to_list(Lane#lane.queue)]).

%% @doc Items waiting for credit, one that is partly sent among them.
-spec queued(t()) -> non_neg_integer().
queued(#lane{queue = Queue, rest = []}) -> queue:len(Queue);
queued(#lane{queue = Queue}) -> queue:len(Queue) + 1.

%% @doc Batches sent and not acknowledged.
-spec unacknowledged(t()) -> non_neg_integer().
unacknowledged(#lane{unacknowledged = N}) -> N.

-spec is_idle(t()) -> boolean().
is_idle(Lane) -> queued(Lane) =:= 0 andalso unacknowledged(Lane) =:= 0.

%% @doc The time at which `tick/2' has something to do.
-spec next_timeout(t()) -> integer() | infinity.
next_timeout(#lane{refused = {_, At}}) -> At;
next_timeout(#lane{deadline = Deadline}) -> Deadline.

%% internal

-spec queue_item(item(), t()) -> t().
queue_item(#topos_item{key = undefined} = Item, #lane{queue = Queue} = Lane) ->
    Lane#lane{queue = queue:in(Item, Queue)};
queue_item(#topos_item{key = Key} = Item, #lane{queue = Queue, serial = Serial, newest = Newest} = Lane) ->
    Lane#lane{queue = queue:in({keyed, Serial, Item}, Queue), serial = Serial + 1, newest = Newest#{Key => Serial}}.

-spec plain(item() | {keyed, non_neg_integer(), item()}) -> item().
plain({keyed, _, Item}) -> Item;
plain(Item) -> Item.

%% Sends batches while there is credit and something to send.
-spec pump(integer(), t(), [effect()]) -> {t(), [effect()]}.
pump(Now, #lane{open = true, refused = none, unacknowledged = Sent, options = #{window := Window}} = Lane, Effects) when
    Sent < Window
->
    {Cut, Dropped, Taken} = cut(Lane),
    All = Effects ++ superseded(Dropped),
    case Cut of
        #batch{pieces = []} ->
            {Taken, All};
        #batch{flags = Flags} ->
            #lane{next = Next, sent = Queue} = Taken,
            Batch = Cut#batch{flags = Flags bor urgency(Sent + 1, Window)},
            Grown = Taken#lane{next = Next + 1, sent = queue:in(Batch, Queue), unacknowledged = Sent + 1},
            Armed = case Sent of 0 -> rearm(Now, Grown); _ -> Grown end,
            pump(Now, Armed, All ++ [send(Batch, Armed)])
    end;
pump(_Now, Lane, Effects) ->
    {Lane, Effects}.

%% Credit comes back in time if every half of the window is acknowledged at once.
-spec urgency(pos_integer(), pos_integer()) -> byte().
urgency(Sent, Window) when Sent =:= Window; Sent rem ((Window + 1) div 2) =:= 0 -> ?TOPOS_BATCH_URGENT;
urgency(_, _) -> 0.

%% A batch under construction: room for pieces and bytes, pieces and items in reverse.
-record(cut, {
    index = 0 :: non_neg_integer(),
    pieces = [] :: [topos_frame:piece()],
    items = [] :: [{non_neg_integer(), item()}],
    count = 0 :: non_neg_integer(),
    bytes = 0 :: non_neg_integer(),
    quiet = true :: boolean(),
    urgent = 0 :: byte(),
    dropped = [] :: [item()]
}).

-spec cut(t()) -> {#batch{}, Superseded :: [item()], t()}.
cut(#lane{next = Next, rest = Rest, queue = Queue, newest = Newest, options = Options} = Lane) ->
    #{max_batch := Max, max_batch_bytes := MaxBytes} = Options,
    {Cut, Left, Waiting, Known} = continue(Rest, Max, MaxBytes, MaxBytes, #cut{}, Queue, Newest),
    #cut{pieces = Pieces, items = Items, count = Count, bytes = Bytes, quiet = Quiet, urgent = Flags, dropped = Dropped} = Cut,
    Batch = #batch{
        sequence = Next, flags = Flags, pieces = lists:reverse(Pieces), items = lists:reverse(Items), count = Count,
        bytes = Bytes, quiet = Quiet
    },
    {Batch, lists:reverse(Dropped), Lane#lane{rest = Left, queue = Waiting, newest = Known}}.

%% One piece of a begun item fills a batch, but the last.
-spec continue(
    [{more, iodata()} | {last, iodata(), item()}], integer(), integer(), pos_integer(), #cut{}, queue:queue(),
    #{term() => non_neg_integer()}
) -> {#cut{}, [{more, iodata()} | {last, iodata(), item()}], queue:queue(), #{term() => non_neg_integer()}}.
continue([], Room, Bytes, Max, Cut, Queue, Newest) ->
    take(Room, Bytes, Max, Cut, Queue, Newest);
continue([{last, Piece, Item}], Room, Bytes, Max, Cut, Queue, Newest) ->
    take(Room - 1, Bytes - iolist_size(Piece), Max, ending(Piece, Item, Cut), Queue, Newest);
continue([{more, _} = Piece | Rest], _, _, _, #cut{pieces = Pieces} = Cut, Queue, Newest) ->
    {Cut#cut{pieces = [Piece | Pieces]}, Rest, Queue, Newest}.

take(Room, Bytes, _, Cut, Queue, Newest) when Room =:= 0; Bytes =< 0 ->
    {Cut, [], Queue, Newest};
take(Room, Bytes, Max, Cut, Queue, Newest) ->
    case queue:out(Queue) of
        {empty, _} ->
            {Cut, [], Queue, Newest};
        {{value, {keyed, Serial, #topos_item{key = Key} = Item}}, Rest} ->
            case Newest of
                #{Key := Newer} when Newer > Serial ->
                    #cut{dropped = Dropped} = Cut,
                    take(Room, Bytes, Max, Cut#cut{dropped = [Item | Dropped]}, Rest, Newest);
                _ ->
                    fit(Item, Room, Bytes, Max, Cut, {Queue, Rest}, {Newest, maps:remove(Key, Newest)})
            end;
        {{value, Item}, Rest} ->
            fit(Item, Room, Bytes, Max, Cut, {Queue, Rest}, {Newest, Newest})
    end.

%% An item larger than a batch begins one of its own.
fit(#topos_item{bytes = Size, record = Record} = Item, Room, Bytes, Max, Cut, {_, Rest}, {_, Newest}) when Size =< Bytes ->
    take(Room - 1, Bytes - Size, Max, ending(Record, Item, Cut), Rest, Newest);
fit(#topos_item{bytes = Size} = Item, Room, Bytes, Max, #cut{index = 0} = Cut, {_, Rest}, {_, Newest}) when Size > Max ->
    continue(split_item(Item, Max), Room, Bytes, Max, Cut, Rest, Newest);
fit(_, _, _, _, Cut, {Queue, _}, {Newest, _}) ->
    {Cut, [], Queue, Newest}.

ending(Piece, #topos_item{bytes = Size, notify = Notify} = Item, #cut{index = Index} = Cut) ->
    #cut{pieces = Pieces, items = Items, count = Count, bytes = Bytes, quiet = Quiet, urgent = Urgent} = Cut,
    Waited = is_waiting(Notify),
    Cut#cut{
        index = Index + 1, pieces = [Piece | Pieces], items = [{Index, Item} | Items], count = Count + 1,
        bytes = Bytes + Size, quiet = Quiet andalso not Waited,
        urgent = case Waited of true -> ?TOPOS_BATCH_URGENT; false -> Urgent end
    }.

-spec is_waiting(term()) -> boolean().
is_waiting(undefined) -> false;
is_waiting({failures, _}) -> false;
is_waiting(_) -> true.

-spec split_item(item(), pos_integer()) -> [{more, binary()} | {last, binary(), item()}, ...].
split_item(#topos_item{record = Record} = Item, Max) -> parts(erlang:iolist_to_iovec(Record), Max, 0, [], Item).

%% Parts of exactly `Max' bytes and a last one, of sub-binaries of what the record is made of.
-spec parts([binary()], pos_integer(), non_neg_integer(), [binary()], item()) -> [{more, iodata()} | {last, iodata(), item()}].
parts([], _, _, Part, Item) ->
    [{last, lists:reverse(Part), Item}];
parts([Bin | Rest], Max, Held, Part, Item) when Held + byte_size(Bin) =< Max ->
    parts(Rest, Max, Held + byte_size(Bin), [Bin | Part], Item);
parts([Bin | Rest], Max, Held, Part, Item) ->
    {Head, Tail} = split_binary(Bin, Max - Held),
    [{more, lists:reverse(Part, [Head])} | parts([Tail | Rest], Max, 0, [], Item)].

-spec superseded([item()]) -> [effect()].
superseded([]) -> [];
superseded(Items) -> told(superseded, Items) ++ release(Items).

%% Whoever asked for it is told an outcome other than `ok'.
-spec told(superseded | in_doubt, [item()]) -> [effect()].
told(Result, Items) -> [{settle, N, Result} || #topos_item{notify = N} <- Items, N =/= undefined].

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
settle(#batch{quiet = true} = Batch, Reasons) when map_size(Reasons) =:= 0 ->
    release_batch(Batch);
settle(#batch{sequence = Sequence, items = Items} = Batch, Reasons) ->
    [Effect || {Index, Item} <- Items, Effect <- outcome(maps:get({Sequence, Index}, Reasons, ok), Item)]
        ++ release_batch(Batch).

-spec outcome(ok | byte(), item()) -> [effect()].
outcome(ok, #topos_item{notify = Notify}) -> [{settle, Notify, ok} || is_waiting(Notify)];
outcome(Reason, #topos_item{notify = undefined} = Item) -> [{failed, Reason, Item}];
outcome(Reason, #topos_item{notify = Notify}) -> [{settle, Notify, {failed, Reason}}].

-spec release_batch(#batch{}) -> [effect()].
release_batch(#batch{count = 0}) -> [];
release_batch(#batch{count = Count, bytes = Bytes}) -> [{release, Count, Bytes}].

-spec release([item()]) -> [effect()].
release([]) -> [];
release(Items) -> [{release, length(Items), lists:sum([B || #topos_item{bytes = B} <- Items])}].

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
    %% An item of which a part was sent is in doubt like those that were sent whole.
    Items = unacknowledged_items(Lane),
    Fresh = reset_backoff(Lane#lane{
        stream = Stream + 1, next = 1, sent = queue:new(), unacknowledged = 0, repaired = none, deadline = infinity,
        rest = [], refused = none
    }),
    {Fresh, doubt(Items)}.

-spec doubt([item()]) -> [effect()].
doubt(Items) ->
    told(in_doubt, Items) ++ [{in_doubt, length(Items)} || Items =/= []]
        ++ release(Items).

-spec resend(t()) -> [effect()].
resend(Lane) -> resend(0, Lane).

-spec resend(From :: non_neg_integer(), t()) -> [effect()].
resend(From, #lane{sent = Sent} = Lane) -> [send(B, Lane) || #batch{sequence = S} = B <- queue:to_list(Sent), S >= From].

-spec send(#batch{}, t()) -> effect().
send(#batch{sequence = Sequence, flags = Flags, pieces = Pieces}, #lane{stream = Stream, receiver = Receiver}) ->
    {send, {Stream, Receiver}, Sequence, Flags, Pieces}.

-spec rearm(integer(), t()) -> t().
rearm(_Now, #lane{unacknowledged = 0} = Lane) -> Lane#lane{deadline = infinity};
rearm(Now, #lane{backoff = Backoff} = Lane) -> Lane#lane{deadline = Now + Backoff}.

-spec reset_backoff(t()) -> t().
reset_backoff(#lane{options = #{rto := Rto, pause := Pause}} = Lane) -> Lane#lane{backoff = Rto, pause = Pause}.

-spec unacknowledged_items(t()) -> [item()].
unacknowledged_items(#lane{sent = Sent, rest = Rest}) ->
    [Item || #batch{items = Items} <- queue:to_list(Sent), {_, Item} <- Items] ++ [Item || {last, _, Item} <- Rest].
