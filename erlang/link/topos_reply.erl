%% @doc Where replies of `topos_request' arrive: at the caller that waits for this one, or nowhere.
%%
%% A reply without a caller (its time was up, or it was answered before) is counted and dropped; so is one from a node that was not asked.
-module(topos_reply).
-behaviour(topos_delivery).

-include("topos_frame.hrl").

-export([arrived/4, deliver/3]).

-define(CHANNEL, control).

%% @doc A reply in a frame: with `Reason' 0 a term of so many bytes, which the caller decodes.
-spec arrived(topos_delivery:from(), topos_frame:slot(), Reason :: byte(), Reply :: binary()) -> ok.
arrived({Node, _}, Slot, Reason, Reply) ->
    ok = hand_over(Node, Slot, answer(Reason, {bytes, Reply})),
    %% The caller goes first: it does not wait for what is counted.
    true = erlang:yield(),
    topos_channel_stats:received(Node, ?CHANNEL, byte_size(Reply)).

%% topos_delivery: a large reply, or the answer to a large request, in the process of its lane

-spec deliver(topos_delivery:from(), binary(), {bytes, binary()} | {term, term()}) -> ok | {error, byte()}.
deliver({Node, _}, <<Number:32, Sequence:64, Reason>>, Message) -> hand_over(Node, {Number, Sequence}, answer(Reason, Message));
deliver(_, _, _) -> {error, ?TOPOS_UNDELIVERED_BAD_TERM}.

%% internal

-spec answer(byte(), Reply) -> {reply, Reply} | {undelivered, byte()}.
answer(0, Reply) -> {reply, Reply};
answer(Reason, _) -> {undelivered, Reason}.

-spec hand_over(node(), topos_frame:slot(), {reply, {bytes, binary()} | {term, term()}} | {undelivered, byte()}) -> ok.
hand_over(Node, {Number, Sequence}, Answer) ->
    case ets:lookup(topos_requests, Number) of
        [{_, Sequence, Node, Alias, _}] ->
            Alias ! {Alias, Answer},
            ok;
        _ ->
            topos_local:count(late_replies)
    end.
