%% @doc The last stream that was taken on each lane of a peer, kept where it outlives the receiving half: the next half of the
%% lane delivers nothing of it again (`topos_lane_in').
%%
%% A row stays when the peer is forgotten, since the peer may live on, have sent again what it got no answer to, and be
%% heard again. Rows of an earlier life of a peer mean nothing, and the first stream of a lane in the next life replaces its row.
%% There are at most 65,536; when there is no room, the rows of peers without a session go, and a half for which there is
%% none even then is as if it were the first.
-module(topos_lane_streams).

-export([last/1, taken/2]).

-define(TABLE, topos_lane_streams).
-define(MAX, 65_536).

-type lane() :: {node(), topos_incarnation:t(), topos_frame:lane_id()}.

%% @doc The last stream taken on a lane, 0 if none was.
-spec last(lane()) -> non_neg_integer().
last({Node, Incarnation, Lane}) ->
    case ets:lookup(?TABLE, {Node, Lane}) of
        [{_, Incarnation, Stream}] -> Stream;
        _ -> 0
    end.

%% @doc To be called before the first batch of a stream is delivered.
-spec taken(lane(), pos_integer()) -> ok.
taken({Node, Incarnation, Lane}, Stream) ->
    Key = {Node, Lane},
    true = case ets:member(?TABLE, Key) orelse has_room() of
        true -> ets:insert(?TABLE, {Key, Incarnation, Stream});
        false -> true
    end,
    ok.

%% internal

-spec has_room() -> boolean().
has_room() ->
    case ets:info(?TABLE, size) < ?MAX of
        true ->
            true;
        false ->
            Nodes = lists:usort([Node || [Node] <- ets:match(?TABLE, {{'$1', '_'}, '_', '_'})]),
            Gone = [Node || Node <- Nodes, not ets:member(topos_peers, Node)],
            ok = lists:foreach(fun(Node) -> true = ets:match_delete(?TABLE, {{Node, '_'}, '_', '_'}) end, Gone),
            ets:info(?TABLE, size) < ?MAX
    end.
