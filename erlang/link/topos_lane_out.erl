%% @doc The sending half of a lane, as a pure state machine: batches, credit, retransmission.
%%
%% Items are queued, cut into batches of at most `max_batch' pieces and `max_batch_bytes' bytes, and numbered from 1 within a
%% stream. An item larger than that is a batch by itself, and one larger than `max_whole' is several, of `max_piece'
%% bytes: then it counts as sent with the last. At most `window' batches are unacknowledged, and no more are sent
%% while they hold `window' times `max_batch_bytes'; they are kept and sent again, all of them in order (go-back-N),
%% after the link came back, after the receiver reported a gap, and when it answered a probe without having them. Together with
%% `topos_lane_in' this delivers every item once and in order while both ends live, whatever the transport loses, repeats or reorders.
%%
%% A probe goes out when no acknowledgement made progress for a time-out that doubles from `rto' up to `max_rto'. It is a few bytes
%% and is answered at once; whoever answers has seen what was sent before it, unless that was overtaken on the way. So a link that is only slow, or full of
%% other lanes, is not given everything again, which would make it slower still.
%%
%% Acknowledgements name the receiving half they come from. When that is another than before, the receiver lost its state
%% (it gave this node up while this node lived on): what it may or may not have seen is given up as in doubt, and a new
%% stream begins.
%%
%% A batch that the transport would not take (`refused/3') is offered again after a pause that doubles from `pause' up to
%% `max_pause', and everything behind it waits: it was never sent, so nothing needs to be found out.
%%
%% An item with a key (monotonic channels) gives way to a later item of its key as long as it has not been put in a batch:
%% the later one takes its place in the queue, so a key that changes all the time is still sent, and the queue holds one
%% item a key.
%%
%% In a lane with `overtaking' an item larger than a batch holds up none but those of its flow (`topos_lane_flow'):
%% when it is its turn it moves to a queue of its own; its pieces take at most half of the window while others wait,
%% and batches that go out between them say that they stand aside of it (`?TOPOS_BATCH_ASIDE'). Such a lane is
%% `reliable', since one that is not begins a new stream between any two batches; its items have no `key', and no
%% `flow' if it has an `expiry'.
%%
%% A lane that is not `reliable' (at most once) sends nothing twice: where another lane would send again, this one gives
%% up what the transport took and nobody acknowledged, and begins a new stream with what the transport refused. With an `expiry', an item that waited longer in the queue is
%% dropped; once in a batch it is not.
%%
%% Effects, in order:
%% <ul>
%% <li>`{send, Stream, Sequence, Flags, {Count, [Piece]}, {Messages, Bytes}}': put the batch on the wire; `?TOPOS_BATCH_URGENT' if the acknowledgement is
%%     waited for, by who sent an item of it or because half of the window is used</li>
%% <li>`{probe, Stream, Number}': ask the receiver what it has</li>
%% <li>`{settle, Notify, Result}': the outcome of an item whose `notify' asks for it: `ok',
%%     `superseded', `expired', `{failed, Reason}' as the receiver reported it, or `in_doubt'</li>
%% <li>`{dropped, superseded | expired | lost, Items}': so many items ended otherwise than acknowledged or in doubt</li>
%% <li>`{failed, Reason, Item}': the same report for an item without `notify'</li>
%% <li>`{release, Items, Bytes}': so much room in the queue is free again</li>
%% <li>`{in_doubt, Items}': these were given up, sent or not</li>
%% <li>`{passed, Items}': so many large items of a flow hold up none of it any more</li>
%% </ul>
-module(topos_lane_out).

-include("topos_frame.hrl").
-include("topos_lane.hrl").

-export([new/2, enqueue/3, opened/2, closed/1, ack/5, refused/3, tick/2, give_up/1]).
-export([of_records/2, messages/1, takes_more/1, queued/1, unacknowledged/1, is_idle/1, next_timeout/1]).
-export_type([t/0, item/0, flow/0, effect/0, options/0, result/0, drop/0]).

%% Before each piece in a row of them.
-define(PIECE_HEAD, 4).

%% What waits behind large items at most before no more is looked at.
-define(LOOK_AHEAD, 4_096).

-type item() :: #topos_item{}.
-type flow() :: non_neg_integer().
-type result() :: ok | superseded | expired | {failed, byte()} | in_doubt.
-type drop() :: superseded | expired | lost.
%% What waits: an item, with the time when it expires if it does; of items with a key that key, whose newest is to be sent.
-type entry() :: item() | {item, Expires :: integer(), item()} | {key, Expires :: integer() | infinity, Key :: term()}.
-type effect() ::
    {send, topos_frame:stream(), pos_integer(), Flags :: byte(), {Count :: pos_integer(), [topos_frame:piece()]},
        {Messages :: non_neg_integer(), Bytes :: non_neg_integer()}}
    | {probe, topos_frame:stream(), topos_frame:probe()}
    | {settle, term(), result()}
    | {failed, byte(), item()}
    | {release, pos_integer(), non_neg_integer()}
    | {dropped, drop(), pos_integer()}
    | {in_doubt, pos_integer()}
    | {passed, pos_integer()}.
-type options() :: #{
    window => pos_integer(), max_batch => pos_integer(), max_batch_bytes => pos_integer(), max_piece => pos_integer(),
    max_whole => pos_integer(),
    rto => pos_integer(), max_rto => pos_integer(), pause => pos_integer(), max_pause => pos_integer(),
    reliable => boolean(), expiry => pos_integer() | infinity, overtaking => boolean()
}.
-type newest() :: #{Key :: term() => item()}.
-record(batch, {
    sequence :: pos_integer(),
    flags :: byte(),
    %% How many, and they themselves.
    pieces :: {non_neg_integer(), [topos_frame:piece()]},
    %% The items that end in this batch, the last first. Each ends with a piece of this batch, in the same order.
    items :: [item()],
    count :: non_neg_integer(),
    bytes :: non_neg_integer(),
    %% What the pieces hold, in bytes.
    wire :: non_neg_integer(),
    %% Nobody is to be told of an item that is delivered.
    quiet :: boolean()
}).
-record(lane, {
    stream :: non_neg_integer(),
    %% The receiving half that acknowledges, 0 before the first acknowledgement.
    receiver = 0 :: non_neg_integer(),
    open = false :: boolean(),
    next = 1 :: pos_integer(),
    queue = queue:new() :: queue:queue(entry()),
    %% Items larger than a batch whose turn has come, of a lane in which others overtake them, and what waits behind
    %% them.
    large = queue:new() :: queue:queue(entry()),
    flows :: topos_lane_flow:t(),
    %% Large items of a flow that are through, and this was not told yet.
    passed = 0 :: non_neg_integer(),
    %% What is left of an item that is larger than a batch and was begun.
    rest = none :: none | {[topos_frame:piece(), ...], item()},
    %% The newest item of each key that waits.
    newest = #{} :: newest(),
    sent = queue:new() :: queue:queue(#batch{}),
    unacknowledged = 0 :: non_neg_integer(),
    %% After which cumulative acknowledgement a reported gap was answered already.
    repaired = none :: none | non_neg_integer(),
    %% The last batch that was sent before the probe which is not answered yet, and how many probes were settled.
    probed = none :: none | pos_integer(),
    settled = 0 :: non_neg_integer(),
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
        window => 8, max_batch => ?TOPOS_LANE_BATCH, max_batch_bytes => ?TOPOS_LANE_BATCH_BYTES, max_piece => 262144,
        rto => 1000, max_rto => 8000, pause => 1, max_pause => 64, reliable => true,
        expiry => infinity, overtaking => false
    },
    #{rto := Rto, pause := Pause, max_batch_bytes := Max} = All = maps:merge(Defaults, Options#{
        max_whole => maps:get(max_whole, Options, maps:get(max_piece, Options, maps:get(max_piece, Defaults)))
    }),
    #lane{stream = Stream, options = All, backoff = Rto, pause = Pause, flows = topos_lane_flow:new(Max)}.

-spec enqueue([item()], integer(), t()) -> {t(), [effect()]}.
enqueue(Items, Now, #lane{flows = Flows, options = #{overtaking := true}} = Lane) ->
    {Free, Waiting} = topos_lane_flow:admit(Items, Flows),
    pump(Now, may_go(Free, Now, Lane#lane{flows = Waiting}), []);
enqueue(Items, Now, #lane{queue = Queue, newest = Newest, options = #{expiry := Expiry} = Options} = Lane) ->
    {Longer, Known, Replaced} = queue_items(packed(Items, Options), expires(Expiry, Now), Queue, Newest, []),
    pump(Now, Lane#lane{queue = Longer, newest = Known}, dropped(superseded, lists:reverse(Replaced))).

%% @doc The link carries frames (again): what is unacknowledged goes out once more, then what is queued.
-spec opened(integer(), t()) -> {t(), [effect()]}.
opened(Now, Lane) ->
    {Recovered, Effects} = recover(reset_backoff(Lane)),
    pump(Now, (unprobed(rearm(Now, Recovered)))#lane{open = true, repaired = none, refused = none}, Effects).

-spec closed(t()) -> t().
closed(Lane) -> Lane#lane{open = false, deadline = infinity}.

%% @doc The transport did not take this batch, and nothing after it was offered.
-spec refused(pos_integer(), integer(), t()) -> t().
refused(Sequence, Now, #lane{pause = Pause, options = #{max_pause := Max}} = Lane) ->
    Lane#lane{refused = {Sequence, Now + Pause}, pause = min(2 * Pause, Max)}.

%% @doc An acknowledgement of everything up to `Cumulative', and whether the receiver saw a gap after it or a probe. One of
%% another stream, of an earlier receiving half, or for what was never sent changes nothing.
-spec ack(topos_frame:stream(), Cumulative :: non_neg_integer(), gap | {probed, topos_frame:probe()} | none,
          {[topos_frame:failure()], Now :: integer()}, t()) -> {t(), [effect()]}.
ack({Stream, Receiver}, _, _, {_, Now}, #lane{stream = Stream, receiver = Known} = Lane) when
    Known =/= 0, Receiver > Known
->
    {Fresh, Effects} = restart(Lane),
    pump(Now, Fresh#lane{receiver = Receiver}, Effects);
ack({Stream, Receiver}, Cumulative, Report, {Failures, Now}, #lane{stream = Stream, receiver = Known, next = Next} = Lane) when
    Cumulative < Next, Receiver >= Known
->
    {Progressed, Settled} = drop_acknowledged(Cumulative, Failures, Lane#lane{receiver = Receiver}),
    {Repaired, Effects} = repair(Report, Cumulative, Now, Progressed),
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
    #lane{queue = Queue, large = Large, newest = Newest, flows = Flows} = Lane,
    Waiting = queue:to_list(Large) ++ queue:to_list(Queue),
    doubt(unacknowledged_items(Lane) ++ [waiting(Entry, Newest) || Entry <- Waiting] ++ topos_lane_flow:items(Flows)).

%% @doc Items waiting for credit, one that is partly sent among them.
-spec queued(t()) -> non_neg_integer().
queued(#lane{queue = Queue, large = Large, newest = Newest, rest = Rest, flows = Flows}) ->
    Behind = length(begun(Rest)) + queue:len(Large) + topos_lane_flow:count(Flows),
    queue:fold(fun(Entry, Sum) -> weight(waiting(Entry, Newest)) + Sum end, Behind, Queue).

%% @doc Batches sent and not acknowledged.
-spec unacknowledged(t()) -> non_neg_integer().
unacknowledged(#lane{unacknowledged = N}) -> N.

%% @doc Whether it is to be given more of what waits elsewhere: nothing waits here, and what is enqueued now is sent
%% now (there is credit, and the transport takes frames) or may overtake a large item.
-spec takes_more(t()) -> boolean().
takes_more(#lane{open = true, refused = none, options = #{overtaking := true}} = Lane) ->
    #lane{queue = Queue, flows = Flows} = Ready = set_aside(Lane),
    queue:is_empty(Queue) andalso topos_lane_flow:count(Flows) < ?LOOK_AHEAD
        andalso (has_credit(Ready) orelse has_large(Ready));
takes_more(#lane{open = true, refused = none, rest = none, queue = Queue} = Lane) ->
    has_credit(Lane) andalso queue:is_empty(Queue);
takes_more(_) ->
    false.

%% @doc So many records in a row, as an item to {@link enqueue/3}.
-spec of_records(pos_integer(), binary()) -> item().
of_records(Count, Records) -> #topos_item{piece = [Records], bytes = byte_size(Records) - ?PIECE_HEAD * Count, notify = {packed, Count}}.

%% @doc How many messages the items are.
-spec messages([item()]) -> non_neg_integer().
messages(Items) -> lists:foldl(fun(Item, Sum) -> weight(Item) + Sum end, 0, Items).

-spec is_idle(t()) -> boolean().
is_idle(#lane{queue = Queue, large = Large, rest = Rest} = Lane) ->
    queue:is_empty(Queue) andalso queue:is_empty(Large) andalso Rest =:= none andalso unacknowledged(Lane) =:= 0.

%% @doc The time at which `tick/2' has something to do.
-spec next_timeout(t()) -> integer() | infinity.
next_timeout(#lane{options = #{expiry := infinity}} = Lane) ->
    next_sending(Lane);
next_timeout(#lane{queue = Queue, large = Large} = Lane) ->
    %% The first to come is the first to expire. An atom is greater than any integer.
    lists:min([next_sending(Lane) | [expiry(Entry) || {value, Entry} <- [queue:peek(Queue), queue:peek(Large)]]]).

%% internal

%% Items that wait for no other of their flow.
-spec may_go([item()], integer(), t()) -> t().
may_go(Items, Now, #lane{queue = Queue, options = #{expiry := Expiry} = Options} = Lane) ->
    {Longer, _, []} = queue_items(packed(Items, Options), expires(Expiry, Now), Queue, #{}, []),
    Lane#lane{queue = Longer}.

-spec next_sending(t()) -> integer() | infinity.
next_sending(#lane{open = true, refused = {_, At}}) -> At;
next_sending(#lane{deadline = Deadline}) -> Deadline.

-spec queue_items([item()], integer() | infinity, queue:queue(entry()), newest(), [item()]) ->
    {queue:queue(entry()), newest(), Replaced :: [item()]}.
queue_items([#topos_item{key = undefined} = Item | Rest], infinity, Queue, Newest, Replaced) ->
    queue_items(Rest, infinity, queue:in(Item, Queue), Newest, Replaced);
queue_items([#topos_item{key = undefined} = Item | Rest], Expires, Queue, Newest, Replaced) ->
    queue_items(Rest, Expires, queue:in({item, Expires, Item}, Queue), Newest, Replaced);
queue_items([#topos_item{key = Key} = Item | Rest], Expires, Queue, Newest, Replaced) ->
    case Newest of
        #{Key := Older} -> queue_items(Rest, Expires, Queue, Newest#{Key := Item}, [Older | Replaced]);
        _ -> queue_items(Rest, Expires, queue:in({key, Expires, Key}, Queue), Newest#{Key => Item}, Replaced)
    end;
queue_items([], _, Queue, Newest, Replaced) ->
    {Queue, Newest, Replaced}.

%% Small items that nobody waits for are put together as they come, so that a long queue is a few binaries: as terms, each
%% garbage collection of the lane would copy them all. A pack is an item of several pieces, no more than fit a batch.
-spec packed([item()], options()) -> [item()].
packed(Items, #{expiry := infinity, max_batch := Max, max_batch_bytes := MaxBytes}) -> pack(Items, Max, MaxBytes);
packed(Items, _) -> Items.

-spec pack([item()], pos_integer(), pos_integer()) -> [item()].
pack([#topos_item{key = undefined, notify = undefined, bytes = Bytes} = Item | Rest], Max, MaxBytes) when
    Bytes =< ?TOPOS_LANE_COPIED_BYTES, Bytes =< MaxBytes
->
    case run(Rest, 1, Max, MaxBytes - Bytes, [Item#topos_item.piece]) of
        {1, _, _, Others} -> [Item | pack(Others, Max, MaxBytes)];
        {Count, Left, Pieces, Others} ->
            Pack = #topos_item{
                piece = [iolist_to_binary(lists:reverse(Pieces))], bytes = MaxBytes - Left, notify = {packed, Count}
            },
            [Pack | pack(Others, Max, MaxBytes)]
    end;
pack([Item | Rest], Max, MaxBytes) ->
    [Item | pack(Rest, Max, MaxBytes)];
pack([], _, _) ->
    [].

-spec run([item()], pos_integer(), pos_integer(), integer(), [topos_frame:piece()]) ->
    {pos_integer(), integer(), [topos_frame:piece()], [item()]}.
run([#topos_item{key = undefined, notify = undefined, bytes = Bytes, piece = Piece} | Rest], Count, Max, Left, Pieces) when
    Count < Max, Bytes =< ?TOPOS_LANE_COPIED_BYTES, Bytes =< Left
->
    run(Rest, Count + 1, Max, Left - Bytes, [Piece | Pieces]);
run(Rest, Count, _, Left, Pieces) ->
    {Count, Left, Pieces, Rest}.

-spec unpacked(item()) -> [item()].
unpacked(#topos_item{piece = [Pieces], notify = {packed, _}}) ->
    [#topos_item{piece = [<<0:1, Size:31, Record/binary>>], bytes = Size} || <<0:1, Size:31, Record:Size/binary>> <= Pieces];
unpacked(Item) ->
    [Item].

%% How many messages an item is, and several.
-spec weight(item()) -> pos_integer().
weight(#topos_item{notify = {packed, Count}}) -> Count;
weight(_) -> 1.


-spec waiting(entry(), newest()) -> item().
waiting({key, _, Key}, Newest) -> map_get(Key, Newest);
waiting({item, _, Item}, _) -> Item;
waiting(Item, _) -> Item.

-spec taken(entry(), newest()) -> newest().
taken({key, _, Key}, Newest) -> maps:remove(Key, Newest);
taken(_, Newest) -> Newest.

-spec expiry(entry()) -> integer() | infinity.
expiry({key, Expires, _}) -> Expires;
expiry({item, Expires, _}) -> Expires;
expiry(_) -> infinity.

-spec expires(pos_integer() | infinity, integer()) -> integer() | infinity.
expires(infinity, _) -> infinity;
expires(Expiry, Now) -> Now + Expiry.

%% Drops what waited too long; the first in the queue waited longest.
-spec expire(integer(), t(), [item()]) -> {t(), [item()]}.
expire(_Now, #lane{options = #{expiry := infinity}} = Lane, Expired) ->
    {Lane, Expired};
expire(Now, #lane{queue = Queue, large = Large, newest = Newest} = Lane, Expired) ->
    {Left, Known, Dropped} = expire(Now, Queue, Newest, Expired),
    {LeftLarge, _, All} = expire(Now, Large, #{}, Dropped),
    {Lane#lane{queue = Left, large = LeftLarge, newest = Known}, lists:reverse(All)}.

-spec expire(integer(), queue:queue(entry()), newest(), [item()]) -> {queue:queue(entry()), newest(), [item()]}.
expire(Now, Queue, Newest, Expired) ->
    case queue:peek(Queue) of
        {value, Entry} ->
            case expiry(Entry) =< Now of
                true -> expire(Now, queue:drop(Queue), taken(Entry, Newest), [waiting(Entry, Newest) | Expired]);
                false -> {Queue, Newest, Expired}
            end;
        empty ->
            {Queue, Newest, Expired}
    end.

-spec retransmit(integer(), t()) -> {t(), [effect()]}.
retransmit(Now, #lane{open = true, refused = {Sequence, At}} = Lane) when Now >= At ->
    {rearm(Now, Lane#lane{refused = none}), resend(Sequence, Lane)};
retransmit(Now, #lane{open = true, refused = none, deadline = Deadline, backoff = Backoff, options = #{max_rto := Max}} = Lane) when
    is_integer(Deadline), Now >= Deadline
->
    #lane{stream = Stream, receiver = Receiver} = Probing = probing(Lane),
    {rearm(Now, Probing#lane{backoff = min(2 * Backoff, Max)}), [{probe, {Stream, Receiver}, number(Probing)}]};
retransmit(_Now, Lane) ->
    {Lane, []}.

%% A probe without an answer is sent again under its number as long as what was sent before it is not acknowledged: the
%% answer to either says the same. After that answers to it mean nothing.
-spec probing(t()) -> t().
probing(#lane{probed = none, next = Next} = Lane) -> Lane#lane{probed = Next - 1};
probing(#lane{probed = Probed, next = Next, unacknowledged = N} = Lane) when Probed < Next - N -> probing(unprobed(Lane));
probing(Lane) -> Lane.

-spec unprobed(t()) -> t().
unprobed(#lane{settled = Settled} = Lane) -> Lane#lane{probed = none, settled = Settled + 1}.

-spec number(t()) -> topos_frame:probe().
number(#lane{settled = Settled}) -> Settled band 15.

%% What is unacknowledged goes out again, or is lost where nothing may go out twice.
-spec recover(t()) -> {t(), [effect()]}.
recover(#lane{options = #{reliable := true}} = Lane) ->
    {Lane, resend(Lane)};
recover(#lane{unacknowledged = 0} = Lane) ->
    {Lane, []};
recover(#lane{sent = Sent, refused = Refused} = Lane) ->
    From = case Refused of none -> infinity; {Sequence, _} -> Sequence end,
    %% An atom is greater than any integer.
    {Offered, Never} = lists:partition(fun(#batch{sequence = S}) -> S < From end, queue:to_list(Sent)),
    case Offered of
        %% Nothing is lost, and the first may go on with a record of which the receiver has the beginning.
        [] -> {Lane, resend(Lane)};
        _ when Never =:= [] -> lost(unacknowledged_items(Lane), fresh_stream(Lane));
        _ -> recover(is_begun(lists:last(Offered)), Offered, Never, Lane)
    end.

%% What was refused begins a new stream, unless it is more of a record that is lost.
-spec recover(boolean(), Offered :: [#batch{}], Never :: [#batch{}], t()) -> {t(), [effect()]}.
recover(true, _, _, Lane) ->
    lost(unacknowledged_items(Lane), fresh_stream(Lane));
recover(false, Offered, Never, Lane) ->
    Renumbered = [B#batch{sequence = N} || {N, B} <- lists:zip(lists:seq(1, length(Never)), Never)],
    Fresh = (fresh_stream(Lane))#lane{
        rest = Lane#lane.rest, sent = queue:from_list(Renumbered), unacknowledged = length(Never), next = length(Never) + 1
    },
    {Left, Effects} = lost(items(Offered), Fresh),
    {Left, Effects ++ resend(Left)}.

-spec lost([item()], t()) -> {t(), [effect()]}.
lost([], Lane) -> {Lane, []};
lost(Items, Lane) -> {Lane, told(in_doubt, Items) ++ [{dropped, lost, messages(Items)} | release(Items)]}.

%% Whether a batch is a piece of a record, and not its last.
-spec is_begun(#batch{}) -> boolean().
is_begun(#batch{pieces = {1, [[<<1:1, _:31>> | _]]}}) -> true;
is_begun(_) -> false.

%% Sends batches while there is credit and something to send.
-spec pump(integer(), t(), [effect()]) -> {t(), [effect()]}.
pump(Now, #lane{open = true, refused = none} = Lane, Effects) ->
    case has_credit(Lane) of
        true -> pump_one(Now, Lane, Effects);
        false -> {Lane, Effects}
    end;
pump(_Now, Lane, Effects) ->
    {Lane, Effects}.

-spec pump_one(integer(), t(), [effect()]) -> {t(), [effect()]}.
pump_one(Now, #lane{unacknowledged = Sent, options = #{window := Window}} = Lane, Effects) ->
    {Current, Expired} = expire(Now, Lane, []),
    {Cut, Taken} = next_batch(Current),
    All = Effects ++ dropped(expired, Expired),
    case Cut of
        #batch{pieces = {0, []}} ->
            {Taken, All};
        #batch{flags = Flags} ->
            #lane{next = Next, sent = Queue, passed = Passed} = Taken,
            Batch = Cut#batch{flags = Flags bor urgency(Sent + 1, Window) bor urgency_of_size(Cut, Lane)},
            Grown = Taken#lane{next = Next + 1, sent = queue:in(Batch, Queue), unacknowledged = Sent + 1, passed = 0},
            Armed = case Sent of 0 -> rearm(Now, Grown); _ -> Grown end,
            pump(Now, Armed, All ++ [send(Batch, Armed) | passed(Passed)])
    end.

-spec has_credit(t()) -> boolean().
has_credit(#lane{unacknowledged = Sent, options = #{window := Window}}) when Sent >= Window -> false;
has_credit(#lane{sent = Batches, options = #{window := Window, max_batch_bytes := Max}}) ->
    queue:fold(fun(#batch{wire = Bytes}, Sum) -> Bytes + Sum end, 0, Batches) < Window * Max.

-spec passed(non_neg_integer()) -> [effect()].
passed(0) -> [];
passed(Count) -> [{passed, Count}].

%% Credit comes back in time if every half of the window is acknowledged at once.
-spec urgency(pos_integer(), pos_integer()) -> byte().
urgency(Sent, Window) when Sent =:= Window; Sent rem ((Window + 1) div 2) =:= 0 -> ?TOPOS_BATCH_URGENT;
urgency(_, _) -> 0.

%% What is larger than a batch takes the place of several.
-spec urgency_of_size(#batch{}, t()) -> byte().
urgency_of_size(#batch{wire = Bytes}, #lane{options = #{max_batch_bytes := Max}}) when Bytes > Max -> ?TOPOS_BATCH_URGENT;
urgency_of_size(_, _) -> 0.

-spec next_batch(t()) -> {#batch{}, t()}.
next_batch(#lane{options = #{overtaking := true}} = Any) ->
    Lane = set_aside(Any),
    case {turn(Lane), Lane} of
        {none, _} -> {batch(Lane, {0, [], [], 0, true}), Lane};
        {piece, #lane{rest = none, large = Large}} -> cut(begin_large(waiting(queue:get(Large), #{}), Lane#lane{large = queue:drop(Large)}));
        {piece, _} -> cut(Lane);
        {other, #lane{rest = none}} -> cut(Lane);
        {other, #lane{rest = Rest}} ->
            {Batch, Left} = cut(Lane#lane{rest = none}),
            {Batch#batch{flags = Batch#batch.flags bor ?TOPOS_BATCH_ASIDE}, Left#lane{rest = Rest}}
    end;
next_batch(Lane) ->
    cut(Lane).

%% Where items overtake large ones: those whose turn has come let the next ones by from now on.
-spec set_aside(t()) -> t().
set_aside(#lane{queue = Queue, large = Large, options = #{max_batch_bytes := Max}} = Lane) ->
    case queue:peek(Queue) of
        {value, Entry} ->
            case waiting(Entry, #{}) of
                #topos_item{bytes = Size} when Size > Max ->
                    set_aside(Lane#lane{queue = queue:drop(Queue), large = queue:in(Entry, Large)});
                _ ->
                    Lane
            end;
        empty ->
            Lane
    end.

-spec has_large(t()) -> boolean().
has_large(#lane{rest = Rest, large = Large}) -> Rest =/= none orelse not queue:is_empty(Large).

%% What goes out next where items overtake large ones: a piece of one, others, or nothing. While both wait, pieces
%% take at most one half of the window, others the other half.
-spec turn(t()) -> piece | other | none.
turn(#lane{queue = Queue} = Lane) ->
    case {queue:is_empty(Queue), has_large(Lane)} of
        {true, false} -> none;
        {true, true} -> piece;
        {false, false} -> other;
        {false, true} -> share(Lane)
    end.

-spec share(t()) -> piece | other.
share(#lane{sent = Batches, unacknowledged = Sent, options = #{window := Window, max_batch_bytes := Max}}) ->
    Half = max(1, Window div 2),
    Pieces = length([piece || #batch{wire = Bytes} = Batch <- queue:to_list(Batches), Bytes > Max orelse is_begun(Batch)]),
    case Sent - Pieces < Window - Half of
        true -> other;
        false -> piece
    end.

%% A batch under construction is kept in arguments: index of the next piece, bytes left, pieces and items in reverse, bytes of
%% its items, quiet. This is done for every message.
-spec cut(t()) -> {#batch{}, t()}.
cut(#lane{rest = {[Piece, Next | More], Item}} = Lane) ->
    %% One piece of a begun item fills a batch, but the last.
    {(batch(Lane, {1, [Piece], [], 0, true}))#batch{wire = iolist_size(Piece)}, Lane#lane{rest = {[Next | More], Item}}};
cut(#lane{rest = {[Piece], #topos_item{bytes = Bytes, notify = Notify} = Item}} = Lane) ->
    #{max_batch_bytes := Max} = Lane#lane.options,
    Size = 1 + (Bytes - 1) rem piece_size(Bytes, Lane),
    {Batch, Left} = take(through(Item, Lane#lane{rest = none}), 1, Max - Size, {[Piece], [Item], Bytes, not is_waiting(Notify)}),
    {Batch#batch{wire = Batch#batch.wire - Bytes + Size}, Left};
cut(#lane{rest = none, options = #{max_batch_bytes := Max}, queue = Queue, newest = Newest} = Lane) ->
    case queue:peek(Queue) of
        {value, Entry} ->
            case waiting(Entry, Newest) of
                #topos_item{bytes = Size} = Item when Size > Max ->
                    cut(begin_large(Item, Lane#lane{queue = queue:drop(Queue), newest = taken(Entry, Newest)}));
                _ -> take(Lane, 0, Max, {[], [], 0, true})
            end;
        empty ->
            {batch(Lane, {0, [], [], 0, true}), Lane}
    end.

-spec begin_large(item(), t()) -> t().
begin_large(#topos_item{piece = Piece, bytes = Bytes} = Item, Lane) ->
    Lane#lane{rest = {topos_frame:parts(Piece, piece_size(Bytes, Lane)), Item}}.

-spec piece_size(pos_integer(), t()) -> pos_integer().
piece_size(Bytes, #lane{options = #{max_whole := Whole}}) when Bytes =< Whole -> Bytes;
piece_size(_, #lane{options = #{max_piece := Max}}) -> Max.

-spec take(t(), non_neg_integer(), integer(), {[topos_frame:piece()], [item()], non_neg_integer(), boolean()}) ->
    {#batch{}, t()}.
take(#lane{queue = Queue, newest = Newest, options = #{max_batch := Max}} = Lane, Index, Room, {Pieces, Items, Bytes, Quiet}) ->
    {Cut, Rest, Known} = take(Queue, Newest, Index, Max, Room, Pieces, Items, Bytes, Quiet),
    {batch(Lane, Cut), Lane#lane{queue = Rest, newest = Known}}.

-spec take(
    queue:queue(entry()), newest(), non_neg_integer(), pos_integer(), integer(), [topos_frame:piece()], [item()],
    non_neg_integer(), boolean()
) -> {{non_neg_integer(), [topos_frame:piece()], [item()], non_neg_integer(), boolean()}, queue:queue(entry()), newest()}.
take(Queue, Newest, Max, Max, _Room, Pieces, Items, Bytes, Quiet) ->
    {{Max, Pieces, Items, Bytes, Quiet}, Queue, Newest};
take(Queue, Newest, Index, Max, Room, Pieces, Items, Bytes, Quiet) ->
    case queue:out(Queue) of
        {empty, _} ->
            {{Index, Pieces, Items, Bytes, Quiet}, Queue, Newest};
        {{value, Entry}, Rest} ->
            case waiting(Entry, Newest) of
                #topos_item{notify = {packed, Count}} when Index + Count > Max ->
                    {{Index, Pieces, Items, Bytes, Quiet}, Queue, Newest};
                #topos_item{piece = Piece, bytes = Size, notify = Notify} = Item when Size =< Room ->
                    Still = Quiet andalso not is_waiting(Notify),
                    Known = taken(Entry, Newest),
                    take(Rest, Known, Index + weight(Item), Max, Room - Size, [Piece | Pieces], [Item | Items], Bytes + Size, Still);
                _ ->
                    {{Index, Pieces, Items, Bytes, Quiet}, Queue, Newest}
            end
    end.

-spec batch(t(), {non_neg_integer(), [topos_frame:piece()], [item()], non_neg_integer(), boolean()}) -> #batch{}.
batch(#lane{next = Next}, {Count, Pieces, Items, Bytes, Quiet}) ->
    #batch{
        sequence = Next, flags = case Quiet of true -> 0; false -> ?TOPOS_BATCH_URGENT end, wire = Bytes,
        pieces = {Count, lists:reverse(Pieces)}, items = Items, count = messages(Items), bytes = Bytes, quiet = Quiet
    }.

-spec is_waiting(term()) -> boolean().
is_waiting(undefined) -> false;
is_waiting({failures, _}) -> false;
is_waiting({packed, _}) -> false;
is_waiting(_) -> true.

-spec dropped(superseded | expired, [item()]) -> [effect()].
dropped(_Why, []) -> [];
dropped(Why, Items) -> told(Why, Items) ++ [{dropped, Why, messages(Items)} | release(Items)].

%% Whoever asked for it is told an outcome other than `ok'.
-spec told(superseded | expired | in_doubt, [item()]) -> [effect()].
told(Result, Items) -> [{settle, N, Result} || #topos_item{notify = N} <- Items, N =/= undefined, not is_packed(N)].

-spec is_packed(term()) -> boolean().
is_packed({packed, _}) -> true;
is_packed(_) -> false.

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
    Each = lists:flatmap(fun unpacked/1, lists:reverse(Items)),
    Numbered = lists:zip(lists:seq(0, length(Each) - 1), Each),
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
release(Items) -> [{release, messages(Items), lists:sum([B || #topos_item{bytes = B} <- Items])}].

%% A gap is repaired once an acknowledged position: every batch behind the gap reports it again. A report about a position
%% that is acknowledged already is late and means nothing.
-spec repair(gap | {probed, topos_frame:probe()} | none, non_neg_integer(), integer(), t()) -> {t(), [effect()]}.
repair({probed, Number}, Cumulative, Now, #lane{open = true, next = Next, unacknowledged = N, probed = Probed} = Lane) when
    is_integer(Probed), Cumulative =:= Next - 1 - N
->
    case {number(Lane), Cumulative < Probed} of
        {Number, true} ->
            {Recovered, Effects} = recover(unprobed(Lane#lane{repaired = Cumulative})),
            {rearm(Now, Recovered), Effects};
        {Number, false} ->
            repair(none, Cumulative, Now, unprobed(Lane));
        _ ->
            repair(none, Cumulative, Now, Lane)
    end;
repair(gap, Cumulative, Now, #lane{open = true, next = Next, unacknowledged = N, repaired = Repaired} = Lane) when
    Cumulative =:= Next - 1 - N, Cumulative =/= Repaired
->
    {Recovered, Effects} = recover(Lane#lane{repaired = Cumulative}),
    {rearm(Now, Recovered), Effects};
repair(_, _, Now, #lane{deadline = infinity, open = true} = Lane) -> {rearm(Now, Lane), []};
repair(_, _, _, Lane) -> {Lane, []}.

-spec restart(t()) -> {t(), [effect()]}.
restart(#lane{rest = Rest} = Lane) ->
    #lane{passed = Passed} = Fresh = lists:foldl(fun through/2, fresh_stream(Lane), begun(Rest)),
    {reset_backoff(Fresh#lane{passed = 0}), doubt(unacknowledged_items(Lane)) ++ passed(Passed)}.

%% Nothing more of a large item goes out: those of its flow may go.
-spec through(item(), t()) -> t().
through(#topos_item{flow = none}, Lane) ->
    Lane;
through(#topos_item{flow = Flow}, #lane{flows = Flows, passed = Passed} = Lane) ->
    {Free, Left} = topos_lane_flow:passed(Flow, Flows),
    %% Nothing that has a flow expires.
    may_go(Free, 0, Lane#lane{flows = Left, passed = Passed + 1}).

%% An item of which a part was sent ends like those that were sent whole.
-spec fresh_stream(t()) -> t().
fresh_stream(#lane{stream = Stream} = Lane) ->
    (unprobed(Lane))#lane{
        stream = Stream + 1, next = 1, sent = queue:new(), unacknowledged = 0, repaired = none, deadline = infinity, rest = none,
        refused = none
    }.

-spec doubt([item()]) -> [effect()].
doubt(Items) ->
    told(in_doubt, Items) ++ [{in_doubt, messages(Items)} || Items =/= []]
        ++ release(Items).

-spec resend(t()) -> [effect()].
resend(Lane) -> resend(0, Lane).

-spec resend(From :: non_neg_integer(), t()) -> [effect()].
resend(From, #lane{sent = Sent} = Lane) -> [send(B, Lane) || #batch{sequence = S} = B <- queue:to_list(Sent), S >= From].

-spec send(#batch{}, t()) -> effect().
send(#batch{sequence = Sequence, flags = Flags, pieces = Pieces, count = Count, wire = Bytes}, Lane) ->
    #lane{stream = Stream, receiver = Receiver} = Lane,
    {send, {Stream, Receiver}, Sequence, Flags, Pieces, {Count, Bytes}}.

-spec rearm(integer(), t()) -> t().
rearm(_Now, #lane{unacknowledged = 0} = Lane) -> Lane#lane{deadline = infinity};
rearm(Now, #lane{backoff = Backoff} = Lane) -> Lane#lane{deadline = Now + Backoff}.

-spec reset_backoff(t()) -> t().
reset_backoff(#lane{options = #{rto := Rto, pause := Pause}} = Lane) -> Lane#lane{backoff = Rto, pause = Pause}.

-spec unacknowledged_items(t()) -> [item()].
unacknowledged_items(#lane{sent = Sent, rest = Rest}) ->
    items(queue:to_list(Sent)) ++ begun(Rest).

-spec items([#batch{}]) -> [item()].
items(Batches) -> lists:append([lists:reverse(Items) || #batch{items = Items} <- Batches]).

-spec begun(none | {[topos_frame:piece()], item()}) -> [item()].
begun(none) -> [];
begun({_, Item}) -> [Item].
