%% @doc The sending half of a lane, as a pure state machine: batches, credit, retransmission.
%%
%% Items are queued, cut into batches of at most `max_batch' pieces and `max_batch_bytes' bytes, and numbered from 1 within a
%% stream. An item larger than that is a batch by itself, and one larger than `max_piece' several: then it counts as sent
%% with the last. At most `window' batches are unacknowledged; they are kept and sent again, all of them in order
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
%% <li>`{send, Stream, Sequence, Flags, {Count, [Piece]}}': put the batch on the wire; `?TOPOS_BATCH_URGENT' if the acknowledgement is
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
    {send, topos_frame:stream(), pos_integer(), Flags :: byte(), {Count :: pos_integer(), [topos_frame:piece()]}}
    | {settle, term(), result()}
    | {failed, byte(), item()}
    | {release, pos_integer(), non_neg_integer()}
    | {in_doubt, pos_integer()}.
-type options() :: #{
    window => pos_integer(), max_batch => pos_integer(), max_batch_bytes => pos_integer(), max_piece => pos_integer(),
    rto => pos_integer(), max_rto => pos_integer(), pause => pos_integer(), max_pause => pos_integer()
}.
-type newest() :: #{Key :: term() => Serial :: non_neg_integer()}.
-record(batch, {
    sequence :: pos_integer(),
    flags :: byte(),
    %% How many, and they themselves.
    pieces :: {non_neg_integer(), [topos_frame:piece()]},
    %% The items that end in this batch, the last first. Each ends with a piece of this batch, in the same order.
    items :: [item()],
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
    rest = none :: none | {[topos_frame:piece(), ...], item()},
    %% Serial number of the next item with a key to be queued; the newest item of each key.
    serial = 0 :: non_neg_integer(),
    newest = #{} :: newest(),
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
        window => 8, max_batch => 1024, max_batch_bytes => 262144, max_piece => 262144,
        rto => 1000, max_rto => 8000, pause => 1, max_pause => 64
    },
    #{rto := Rto, pause := Pause} = All = maps:merge(Defaults, Options),
    #lane{stream = Stream, options = All, backoff = Rto, pause = Pause}.

-spec enqueue([item()], integer(), t()) -> {t(), [effect()]}.
enqueue(Items, Now, #lane{queue = Queue, serial = Serial, newest = Newest} = Lane) ->
    {Longer, Next, Known} = queue_items(Items, Queue, Serial, Newest),
    pump(Now, Lane#lane{queue = Longer, serial = Next, newest = Known}, []).

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
queued(#lane{queue = Queue, rest = none}) -> queue:len(Queue);
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

-spec queue_items([item()], queue:queue(), non_neg_integer(), newest()) -> {queue:queue(), non_neg_integer(), newest()}.
queue_items([#topos_item{key = undefined} = Item | Rest], Queue, Serial, Newest) ->
    queue_items(Rest, queue:in(Item, Queue), Serial, Newest);
queue_items([#topos_item{key = Key} = Item | Rest], Queue, Serial, Newest) ->
    queue_items(Rest, queue:in({keyed, Serial, Item}, Queue), Serial + 1, Newest#{Key => Serial});
queue_items([], Queue, Serial, Newest) ->
    {Queue, Serial, Newest}.

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
        #batch{pieces = {0, []}} ->
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

%% A batch under construction is {Index of the next piece, Bytes left, pieces in reverse, items in reverse, Quiet}, kept in
%% arguments: this is done for every message.
-spec cut(t()) -> {#batch{}, Superseded :: [item()], t()}.
cut(#lane{rest = {[Piece, Next | More], Item}} = Lane) ->
    %% One piece of a begun item fills a batch, but the last.
    {batch(Lane, {1, [Piece], [], 0, true}), [], Lane#lane{rest = {[Next | More], Item}}};
cut(#lane{rest = {[Piece], #topos_item{bytes = Bytes, notify = Notify} = Item}} = Lane) ->
    #{max_batch_bytes := Max, max_piece := MaxPiece} = Lane#lane.options,
    take(Lane#lane{rest = none}, 1, Max - 1 - (Bytes - 1) rem MaxPiece, {[Piece], [Item], Bytes, not is_waiting(Notify)});
cut(#lane{rest = none, options = #{max_batch_bytes := Max}, queue = Queue} = Lane) ->
    case queue:peek(Queue) of
        {value, {keyed, _, #topos_item{bytes = Size}}} when Size > Max -> begin_large(Lane);
        {value, #topos_item{bytes = Size}} when Size > Max -> begin_large(Lane);
        _ -> take(Lane, 0, Max, {[], [], 0, true})
    end.

-spec begin_large(t()) -> {#batch{}, Superseded :: [item()], t()}.
begin_large(#lane{queue = Queue, newest = Newest, options = #{max_piece := Max}} = Lane) ->
    {{value, Head}, Rest} = queue:out(Queue),
    case is_superseded(Head, Newest) of
        true ->
            {Batch, Dropped, Next} = cut(Lane#lane{queue = Rest}),
            {Batch, [plain(Head) | Dropped], Next};
        false ->
            #topos_item{piece = Piece, key = Key} = Item = plain(Head),
            Parts = topos_frame:parts(Piece, Max),
            cut(Lane#lane{queue = Rest, newest = maps:remove(Key, Newest), rest = {Parts, Item}})
    end.

-spec is_superseded(item() | {keyed, non_neg_integer(), item()}, newest()) -> boolean().
is_superseded({keyed, Serial, #topos_item{key = Key}}, Newest) -> maps:get(Key, Newest, Serial) > Serial;
is_superseded(_, _) -> false.

-spec take(t(), non_neg_integer(), integer(), {[topos_frame:piece()], [item()], non_neg_integer(), boolean()}) ->
    {#batch{}, Superseded :: [item()], t()}.
take(#lane{queue = Queue, newest = Newest, options = #{max_batch := Max}} = Lane, Index, Room, {Pieces, Items, Bytes, Quiet}) ->
    {Cut, Dropped, Rest, Known} = take(Queue, Newest, Index, Max, Room, Pieces, Items, Bytes, Quiet, []),
    {batch(Lane, Cut), lists:reverse(Dropped), Lane#lane{queue = Rest, newest = Known}}.

take(Queue, Newest, Max, Max, _Room, Pieces, Items, Bytes, Quiet, Dropped) ->
    {{Max, Pieces, Items, Bytes, Quiet}, Dropped, Queue, Newest};
take(Queue, Newest, Index, Max, Room, Pieces, Items, Bytes, Quiet, Dropped) ->
    case queue:out(Queue) of
        {{value, #topos_item{piece = Piece, bytes = Size, notify = Notify} = Item}, Rest} when Size =< Room ->
            Still = Quiet andalso not is_waiting(Notify),
            take(Rest, Newest, Index + 1, Max, Room - Size, [Piece | Pieces], [Item | Items], Bytes + Size, Still, Dropped);
        {{value, {keyed, _, #topos_item{piece = Piece, bytes = Size, notify = Notify, key = Key} = Item} = Head}, Rest} ->
            case is_superseded(Head, Newest) of
                true ->
                    take(Rest, Newest, Index, Max, Room, Pieces, Items, Bytes, Quiet, [Item | Dropped]);
                false when Size =< Room ->
                    Still = Quiet andalso not is_waiting(Notify),
                    Known = maps:remove(Key, Newest),
                    take(Rest, Known, Index + 1, Max, Room - Size, [Piece | Pieces], [Item | Items], Bytes + Size, Still, Dropped);
                false ->
                    {{Index, Pieces, Items, Bytes, Quiet}, Dropped, Queue, Newest}
            end;
        _ ->
            %% Nothing more, or nothing that fits.
            {{Index, Pieces, Items, Bytes, Quiet}, Dropped, Queue, Newest}
    end.

-spec batch(t(), {non_neg_integer(), [topos_frame:piece()], [item()], non_neg_integer(), boolean()}) -> #batch{}.
batch(#lane{next = Next}, {Count, Pieces, Items, Bytes, Quiet}) ->
    #batch{
        sequence = Next, flags = case Quiet of true -> 0; false -> ?TOPOS_BATCH_URGENT end,
        pieces = {Count, lists:reverse(Pieces)}, items = Items, count = length(Items), bytes = Bytes, quiet = Quiet
    }.

-spec is_waiting(term()) -> boolean().
is_waiting(undefined) -> false;
is_waiting({failures, _}) -> false;
is_waiting(_) -> true.

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
    Numbered = lists:zip(lists:seq(0, length(Items) - 1), lists:reverse(Items)),
    [Effect || {Index, Item} <- Numbered, Effect <- outcome(maps:get({Sequence, Index}, Reasons, ok), Item)]
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
        rest = none, refused = none
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
    lists:append([lists:reverse(Items) || #batch{items = Items} <- queue:to_list(Sent)]) ++ begun(Rest).

-spec begun(none | {[topos_frame:piece()], item()}) -> [item()].
begun(none) -> [];
begun({_, Item}) -> [Item].
