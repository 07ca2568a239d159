%% @doc Where replies of `topos_request' arrive: at the caller that waits for this one, or nowhere.
-module(topos_reply).
-behaviour(topos_delivery).

-include("topos_frame.hrl").

-export([deliver/3]).

%% @doc A reply without a caller (its time was up) is counted and dropped; so is one from a node that was not asked.
-spec deliver(topos_delivery:from(), binary(), {bytes, binary()} | {term, term()}) -> ok | {error, byte()}.
deliver({Node, _}, <<Id:64>>, Message) ->
    case {ets:lookup(topos_requests, Id), topos_delivery:message(Message)} of
        {[{_, Node, Alias}], {ok, Reply}} ->
            Alias ! {Alias, {reply, Reply}},
            ok;
        {[{_, Node, Alias}], {error, Reason}} ->
            Alias ! {Alias, {undecodable, Reason}},
            {error, Reason};
        _ ->
            topos_local:count(late_replies)
    end;
deliver(_, _, _) ->
    {error, ?TOPOS_UNDELIVERED_BAD_TERM}.
