%% @doc The receiving half of a lane, as a pure state machine: order, duplicates, acknowledgements.
%%
%% A batch is delivered when it carries the next sequence of the current stream. An earlier one is a duplicate and only
%% acknowledged again; a later one shows a gap, is dropped and reported, so that the sender begins again after what is
%% acknowledged: nothing is buffered for a sender. A stream with a higher number than the current one replaces it from its
%% first batch on; one with a lower number is an echo of the past and ignored.
%%
%% A receiving half that lost its state is another one, with a higher number. A batch that was meant for an earlier one is
%% only acknowledged: from the number the sender learns that its stream is lost, and begins a new one.
%%
%% Failures to deliver single records are repeated in the acknowledgements of the last batches, so that a lost
%% acknowledgement does not lose them.
-module(topos_lane_in).

-include("topos_frame.hrl").

-export([new/2, batch/3, delivered/3, piece/3, is_whole/1]).
-export_type([t/0, verdict/0, ack/0]).

%% The sender's window is 8 by default; an acknowledgement covers at least that.
-define(REMEMBERED, 64).

-record(lane, {
    receiver :: pos_integer(),
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

%% @doc A receiving half with a number above that of any earlier one of the lane, for records of at most so many bytes.
-spec new(Receiver :: pos_integer(), MaxBytes :: pos_integer()) -> t().
new(Receiver, Max) -> #lane{receiver = Receiver, max = Max}.

-spec batch(topos_frame:stream(), Sequence :: non_neg_integer(), t()) -> {verdict(), t()}.
batch({Stream, For}, _, #lane{receiver = Receiver} = Lane) when For =/= 0, For =/= Receiver ->
    {{ack, {{Stream, Receiver}, 0, 0, []}}, Lane};
batch({Stream, _}, Sequence, #lane{stream = Stream, expected = Sequence} = Lane) ->
    {deliver, Lane};
batch({Stream, _}, Sequence, #lane{stream = Stream, expected = Expected} = Lane) when Sequence < Expected ->
    {{ack, acknowledgement(0, Lane)}, Lane};
batch({Stream, _}, _, #lane{stream = Stream} = Lane) ->
    {{ack, acknowledgement(?TOPOS_ACK_GAP, Lane)}, Lane};
batch({Stream, _}, _, #lane{stream = Current} = Lane) when is_integer(Current), Stream < Current ->
    {ignore, Lane};
batch({Stream, _}, 1, #lane{receiver = Receiver, max = Max}) ->
    {deliver, #lane{receiver = Receiver, max = Max, stream = Stream}};
batch({Stream, _}, _, #lane{receiver = Receiver} = Lane) ->
    {{ack, {{Stream, Receiver}, 0, ?TOPOS_ACK_GAP, []}}, Lane}.

%% @doc The batch that {@link batch/4} said to deliver was handed over; `Failed' are the records that could not be.
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

-spec acknowledgement(byte(), t()) -> ack().
acknowledgement(Flags, #lane{receiver = Receiver, stream = Stream, expected = Expected, failures = Failures}) when
    is_integer(Stream)
->
    {{Stream, Receiver}, Expected - 1, Flags, Failures}.
