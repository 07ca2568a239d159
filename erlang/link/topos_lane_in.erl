%% @doc The receiving half of a lane, as a pure state machine: order, duplicates, acknowledgements.
%%
%% A batch is delivered when it carries the next sequence of the current stream. An earlier one is a duplicate and only
%% acknowledged again; a later one shows a gap, is dropped and reported, so that the sender begins again after what is
%% acknowledged: nothing is buffered for a sender. A stream with a higher number than the current one replaces it from its
%% first batch on; one with a lower number is an echo of the past and ignored.
%%
%% A receiving half that lost its state is another one, with a higher number. A batch that was meant for an earlier one is
%% only acknowledged: from the number the sender learns that its stream is lost, and begins a new one. A sender that heard
%% no acknowledgement yet names no receiving half. So a half is told the last stream that one before it took (`Taken') and
%% takes none up to that. It has two numbers, and answers with the first; what the sender sends again is then for that
%% one, and the second shows it the loss as any other. The half goes on under the number by which the sender knows it when
%% a stream begins.
%%
%% Failures to deliver single records are repeated in the acknowledgements of the last batches, so that a lost
%% acknowledgement does not lose them.
-module(topos_lane_in).

-include("topos_frame.hrl").

-export([new/2, new/3, stream/1, aside/1, batch/3, probe/3, delivered/3, piece/3, is_whole/1]).
-export_type([t/0, verdict/0, ack/0]).

%% The sender's window is 8 by default; an acknowledgement covers at least that.
-define(REMEMBERED, 64).

-record(lane, {
    %% The first of its two numbers, and the one in use.
    receiver :: pos_integer(),
    number :: pos_integer(),
    %% The last stream that an earlier half took.
    taken :: non_neg_integer(),
    stream = none :: none | non_neg_integer(),
    expected = 1 :: pos_integer(),
    %% The largest record, the parts of one that is incomplete, in reverse, and their size.
    max :: pos_integer(),
    parts = [] :: [binary()],
    held = 0 :: non_neg_integer(),
    failures = [] :: [topos_frame:failure()]
}).
-opaque t() :: #lane{}.
-type ack() :: {topos_frame:stream(), Cumulative :: non_neg_integer(), Flags :: byte(), [topos_frame:failure()]}.
%% `deliver': hand the records over, then call {@link delivered/3}. `{ack, Ack}': only answer. `ignore': do nothing.
-type verdict() :: deliver | {ack, ack()} | ignore.

%% @doc The first receiving half of a lane, for records of at most so many bytes.
-spec new(Receiver :: pos_integer(), MaxBytes :: pos_integer()) -> t().
new(Receiver, Max) -> new(Receiver, Max, 0).

%% @doc A receiving half after others, the last of which took the stream `Taken'; 0: none did. Its numbers, `Receiver' and the
%% next, are above theirs.
-spec new(Receiver :: pos_integer(), MaxBytes :: pos_integer(), Taken :: non_neg_integer()) -> t().
new(Receiver, Max, Taken) -> #lane{receiver = Receiver, number = Receiver, max = Max, taken = Taken}.

%% @doc The stream that is received, 0 before the first batch.
-spec stream(t()) -> non_neg_integer().
stream(#lane{stream = none}) -> 0;
stream(#lane{stream = Stream}) -> Stream.

%% @doc What takes the pieces of a batch that stands aside of a record that is incomplete, and is then forgotten.
-spec aside(t()) -> t().
aside(Lane) -> Lane#lane{parts = [], held = 0}.

-spec batch(topos_frame:stream(), Sequence :: non_neg_integer(), t()) -> {verdict(), t()}.
batch({Stream, For}, Sequence, #lane{stream = none} = Lane) ->
    first(Stream, For, Sequence, Lane);
batch({Stream, For}, _, #lane{number = Number} = Lane) when For =/= 0, For =/= Number ->
    {{ack, {{Stream, Number}, 0, 0, []}}, Lane};
batch({Stream, _}, Sequence, #lane{stream = Stream, expected = Sequence} = Lane) ->
    {deliver, Lane};
batch({Stream, _}, Sequence, #lane{stream = Stream, expected = Expected} = Lane) when Sequence < Expected ->
    {{ack, acknowledgement(0, Lane)}, Lane};
batch({Stream, _}, _, #lane{stream = Stream} = Lane) ->
    {{ack, acknowledgement(?TOPOS_ACK_GAP, Lane)}, Lane};
batch({Stream, _}, _, #lane{stream = Current} = Lane) when Stream < Current ->
    {ignore, Lane};
batch({Stream, _}, Sequence, Lane) ->
    begun(Stream, Sequence, Lane).

%% @doc The answer to a probe of the sender, by its flags.
-spec probe(topos_frame:stream(), Flags :: byte(), t()) -> {{ack, ack()} | ignore, t()}.
probe(Stream, Probe, Lane) ->
    %% No batch has this sequence, so it is either of the past or behind a gap.
    case batch(Stream, 0, Lane) of
        {{ack, {Of, Cumulative, Flags, Failures}}, Next} -> {{ack, {Of, Cumulative, Flags bor topos_frame:probed(Probe), Failures}}, Next};
        {ignore, Next} -> {ignore, Next}
    end.

%% @doc The batch that {@link batch/3} said to deliver was handed over; `Failed' are the records that could not be.
-spec delivered(pos_integer(), [{Index :: non_neg_integer(), Reason :: byte()}], t()) -> {ack(), t()}.
delivered(Sequence, Failed, #lane{expected = Sequence, failures = Earlier} = Lane) ->
    Kept = [F || {S, _, _} = F <- Earlier, S + ?REMEMBERED > Sequence],
    Next = Lane#lane{expected = Sequence + 1, failures = Kept ++ [{Sequence, I, R} || {I, R} <- Failed]},
    {acknowledgement(0, Next), Next}.

%% @doc Whether no record is incomplete: then a last piece is a record.
-spec is_whole(t()) -> boolean().
is_whole(#lane{held = 0}) -> true;
is_whole(_) -> false.

%% @doc The next piece of a batch that is delivered. `too_large': the last piece of a record that was not kept.
-spec piece(more | last, binary(), t()) -> {partial | too_large | {record, binary()}, t()}.
piece(more, Piece, #lane{parts = Parts, held = Held, max = Max} = Lane) ->
    %% Of a record that is too large only the size is kept.
    case Held + max(1, byte_size(Piece)) of
        Size when Size > Max -> {partial, Lane#lane{parts = [], held = Size}};
        Size -> {partial, Lane#lane{parts = [Piece | Parts], held = Size}}
    end;
piece(last, Piece, #lane{parts = Parts, held = Held, max = Max} = Lane) ->
    Whole = Lane#lane{parts = [], held = 0},
    case Held + byte_size(Piece) of
        Size when Size > Max -> {too_large, Whole};
        _ -> {{record, iolist_to_binary(lists:reverse(Parts, [Piece]))}, Whole}
    end.

%% internal

%% Before the first stream.
-spec first(non_neg_integer(), For :: non_neg_integer(), Sequence :: non_neg_integer(), t()) -> {verdict(), t()}.
first(Stream, 0, _, #lane{receiver = Receiver, taken = Taken} = Lane) when Stream =< Taken ->
    {{ack, {{Stream, Receiver}, 0, ?TOPOS_ACK_GAP, []}}, Lane};
first(Stream, Receiver, _, #lane{receiver = Receiver, taken = Taken} = Lane) when Stream =< Taken ->
    {{ack, {{Stream, Receiver + 1}, 0, 0, []}}, Lane};
first(Stream, For, Sequence, #lane{receiver = Receiver} = Lane) when For =:= 0; For =:= Receiver ->
    begun(Stream, Sequence, Lane);
first(Stream, For, Sequence, #lane{receiver = Receiver} = Lane) when For =:= Receiver + 1 ->
    begun(Stream, Sequence, Lane#lane{number = For});
first(Stream, _, _, #lane{receiver = Receiver} = Lane) ->
    {{ack, {{Stream, Receiver}, 0, 0, []}}, Lane}.

%% A stream begins with its first batch.
-spec begun(non_neg_integer(), Sequence :: non_neg_integer(), t()) -> {verdict(), t()}.
begun(Stream, 1, #lane{receiver = Receiver, number = Number, max = Max, taken = Taken}) ->
    {deliver, #lane{receiver = Receiver, number = Number, max = Max, taken = Taken, stream = Stream}};
begun(Stream, _, #lane{number = Number} = Lane) ->
    {{ack, {{Stream, Number}, 0, ?TOPOS_ACK_GAP, []}}, Lane}.

-spec acknowledgement(byte(), t()) -> ack().
acknowledgement(Flags, #lane{number = Number, stream = Stream, expected = Expected, failures = Failures}) when
    is_integer(Stream)
->
    {{Stream, Number}, Expected - 1, Flags, Failures}.
