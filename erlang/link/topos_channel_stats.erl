%% @doc What is counted for each peer and channel, by lanes as they work: a row of counters and a histogram of round trips.
%%
%% Rows are made when a lane needs them and removed when the peer is forgotten; lanes keep the reference, so counting costs
%% no look-up. Bytes are those of records: the encoded message and its address, without headers of batches and frames.
%% Counting is not atomic over several counters: a reading may be a message ahead in one of them.
-module(topos_channel_stats).

-export([row/2, add/3, bump/4, sent/3, received/3, connected/1, forget/1, rows/0, read/1, counts/1, empty/0, names/0, connects/1]).
-export_type([row/0, name/0, channel/0, counts/0]).

-type row() :: {counters:counters_ref(), topos_histogram:t()}.
%% A peer may use channels that this node has not: they keep the name they came with.
-type channel() :: topos_engine:channel() | binary().
%% `messages_out', `bytes_out': put on the wire, once each. `acknowledged': put into a mailbox of the peer, or refused there.
%% `retries': batches sent again. `superseded': gave way to a newer message of their key. `expired': waited too long.
%% `lost': not acknowledged on a channel that sends once. `in_doubt': given up when the peer's life ended.
%% `undeliverable': refused by the peer. `overloaded': refused here, the queue was full. `bytes_saved': what compression kept
%% off the wire, of batches sent again as well.
-type name() ::
    messages_out | bytes_out | messages_in | bytes_in | acknowledged | retries | superseded | expired | lost | in_doubt
    | undeliverable | overloaded | bytes_saved.
-type counts() :: #{name() => non_neg_integer()}.

-define(TABLE, topos_channel_counts).

%% @doc The row of a peer and a channel.
-spec row(node(), channel()) -> row().
row(Node, Channel) ->
    Key = {Node, Channel},
    case ets:lookup(?TABLE, Key) of
        [{_, Counters, Histogram}] ->
            {Counters, Histogram};
        [] ->
            %% Two lanes may need it at once: the first wins.
            _ = ets:insert_new(?TABLE, {Key, counters:new(length(names()), [write_concurrency]), topos_histogram:new()}),
            row(Node, Channel)
    end.

-spec add(name(), non_neg_integer(), row()) -> ok.
add(Name, N, {Counters, _}) -> counters:add(Counters, index(Name), N).

%% @doc As {@link add/3}, for those who have no row at hand.
-spec bump(node(), channel(), name(), non_neg_integer()) -> ok.
bump(Node, Channel, Name, N) -> add(Name, N, row(Node, Channel)).

%% @doc A message of so many bytes went out beside the lanes.
-spec sent(node(), channel(), non_neg_integer()) -> ok.
sent(Node, Channel, Bytes) -> both(messages_out, bytes_out, Bytes, row(Node, Channel)).

%% @doc A message of so many bytes came in beside the lanes.
-spec received(node(), channel(), non_neg_integer()) -> ok.
received(Node, Channel, Bytes) -> both(messages_in, bytes_in, Bytes, row(Node, Channel)).

%% @doc The link to a peer opened.
-spec connected(node()) -> ok.
connected(Node) ->
    _ = ets:update_counter(?TABLE, {connects, Node}, 1, {{connects, Node}, 0}),
    ok.

%% @doc How often the link to a peer opened.
-spec connects(node()) -> non_neg_integer().
connects(Node) ->
    case ets:lookup(?TABLE, {connects, Node}) of
        [{_, N}] -> N;
        [] -> 0
    end.

%% @doc Removes what was counted for a peer.
-spec forget(node()) -> ok.
forget(Node) ->
    true = ets:match_delete(?TABLE, {{Node, '_'}, '_', '_'}),
    true = ets:delete(?TABLE, {connects, Node}),
    ok.

-spec rows() -> [{{node(), channel()}, row()}].
rows() -> [{Key, {Counters, Histogram}} || {Key, Counters, Histogram} <- ets:tab2list(?TABLE)].

-spec read(row()) -> {counts(), topos_histogram:snapshot()}.
read({_, Histogram} = Row) -> {counts(Row), topos_histogram:snapshot(Histogram)}.

-spec counts(row()) -> counts().
counts({Counters, _}) -> maps:from_list([{Name, counters:get(Counters, index(Name))} || Name <- names()]).

-spec empty() -> counts().
empty() -> maps:from_list([{Name, 0} || Name <- names()]).

-spec names() -> [name(), ...].
names() ->
    [messages_out, bytes_out, messages_in, bytes_in, acknowledged, retries, superseded, expired, lost, in_doubt,
     undeliverable, overloaded, bytes_saved].

%% internal

-spec both(name(), name(), non_neg_integer(), row()) -> ok.
both(Messages, Bytes, N, Row) ->
    ok = add(Messages, 1, Row),
    add(Bytes, N, Row).

-spec index(name()) -> 1..13.
index(messages_out) -> 1;
index(bytes_out) -> 2;
index(messages_in) -> 3;
index(bytes_in) -> 4;
index(acknowledged) -> 5;
index(retries) -> 6;
index(superseded) -> 7;
index(expired) -> 8;
index(lost) -> 9;
index(in_doubt) -> 10;
index(undeliverable) -> 11;
index(overloaded) -> 12;
index(bytes_saved) -> 13.
