%% @doc What callers of an engine read without asking its process: one named ETS table an engine.
%%
%% ```
%% {{link, Node, Channel}, Link}     frames for the channel can be sent; Link is the engine's own
%% {{channel, Channel}, Settings}    the channel is configured
%% {{failure, Node}, Reason}         the last attempt to connect failed
%% {{fact, Key}, Value}              addresses, epoch
%% {{cut, Node}, true}               what is sent to the node is lost; its rows hold `{cut, Link}'
%% '''
%% Reading a table that does not exist (the engine is not running) finds nothing.
-module(topos_engine_table).

-export([new/2, set_channels/2, channels/1, link/3, links/2, open/3, close/2, failed/3, failure/2, forget/2, put/3, get/3]).
-export([cut/2, is_cut/2]).

-type tab() :: atom().

%% @doc Creates the table of an engine; it dies with the calling process.
-spec new(tab(), #{topos_engine:channel() => map()}) -> ok.
new(Tab, Channels) ->
    Tab = ets:new(Tab, [named_table, protected, set, {read_concurrency, true}]),
    true = ets:insert(Tab, [{{channel, Channel}, Settings} || {Channel, Settings} <- maps:to_list(Channels)]),
    ok.

%% @doc Replaces the channels; links of channels that are no more are closed.
-spec set_channels(tab(), #{topos_engine:channel() => map()}) -> ok.
set_channels(Tab, Channels) ->
    Gone = [Channel || [Channel] <- ets:match(Tab, {{channel, '$1'}, '_'}), not is_map_key(Channel, Channels)],
    true = ets:insert(Tab, [{{channel, Channel}, Settings} || {Channel, Settings} <- maps:to_list(Channels)]),
    lists:foreach(
        fun(Channel) ->
            true = ets:delete(Tab, {channel, Channel}),
            true = ets:match_delete(Tab, {{link, '_', Channel}, '_'})
        end, Gone).

%% @doc The channels that are configured, none while the engine is not running.
-spec channels(tab()) -> [{topos_engine:channel(), map()}].
channels(Tab) ->
    case ets:whereis(Tab) of
        undefined -> [];
        Table -> [{C, S} || [C, S] <- ets:match(Table, {{channel, '$1'}, '$2'})]
    end.

%% @doc The open links to a node.
-spec links(tab(), node()) -> #{topos_engine:channel() => term()}.
links(Tab, Node) -> maps:from_list([{C, whole(L)} || [C, L] <- ets:match(Tab, {{link, Node, '$1'}, '$2'})]).

%% @doc The link of a channel to a node, or why there is none; `cut': there is one, and what is sent on it is lost.
-spec link(tab(), node(), topos_engine:channel()) -> {ok, term()} | cut | {error, not_connected | no_such_channel}.
link(Tab, Node, Channel) ->
    case find(Tab, {link, Node, Channel}) of
        {ok, {cut, _}} ->
            cut;
        {ok, _} = Found ->
            Found;
        error ->
            case find(Tab, {channel, Channel}) of
                {ok, _} -> {error, not_connected};
                error -> missing_channel(Tab)
            end
    end.

%% @doc Opens the links of a node, all of them at once, and forgets why it could not be reached.
-spec open(tab(), node(), #{topos_engine:channel() => term()}) -> ok.
open(Tab, Node, Links) ->
    Row = case is_cut(Tab, Node) of true -> fun(Link) -> {cut, Link} end; false -> fun(Link) -> Link end end,
    true = ets:insert(Tab, [{{link, Node, Channel}, Row(Link)} || {Channel, Link} <- maps:to_list(Links)]),
    forget(Tab, Node).

%% @doc Closes every link of a node.
-spec close(tab(), node()) -> ok.
close(Tab, Node) ->
    true = ets:match_delete(Tab, {{link, Node, '_'}, '_'}),
    ok.

-spec failed(tab(), node(), topos_engine:failure()) -> ok.
failed(Tab, Node, Reason) ->
    true = ets:insert(Tab, {{failure, Node}, Reason}),
    ok.

-spec failure(tab(), node()) -> none | {failed, topos_engine:failure()}.
failure(Tab, Node) ->
    case find(Tab, {failure, Node}) of
        {ok, Reason} -> {failed, Reason};
        error -> none
    end.

%% @doc Forgets why a node could not be reached.
-spec forget(tab(), node()) -> ok.
forget(Tab, Node) ->
    true = ets:delete(Tab, {failure, Node}),
    ok.

-spec put(tab(), atom(), term()) -> ok.
put(Tab, Key, Value) ->
    true = ets:insert(Tab, {{fact, Key}, Value}),
    ok.

-spec get(tab(), atom(), Default) -> term() | Default.
get(Tab, Key, Default) ->
    case find(Tab, {fact, Key}) of
        {ok, Value} -> Value;
        error -> Default
    end.

%% @doc What is sent to these nodes is lost from now on, and to these only. Links are marked, so sending costs no more than before.
-spec cut(tab(), [node()]) -> ok.
cut(Tab, Nodes) ->
    Before = [Node || [Node] <- ets:match(Tab, {{cut, '$1'}, '_'})],
    true = ets:match_delete(Tab, {{cut, '_'}, '_'}),
    true = ets:insert(Tab, [{{cut, Node}, true} || Node <- Nodes]),
    lists:foreach(
        fun(Node) ->
            Rows = [{{link, Node, Channel}, Link} || {Channel, Link} <- maps:to_list(links(Tab, Node))],
            true = ets:insert(Tab, [case is_cut(Tab, Node) of true -> {Key, {cut, Link}}; false -> {Key, Link} end || {Key, Link} <- Rows])
        end, lists:usort(Before ++ Nodes)).

-spec is_cut(tab(), node()) -> boolean().
is_cut(Tab, Node) -> find(Tab, {cut, Node}) =/= error.

%% internal

%% No engine's link is a pair that begins so.
-spec whole(term()) -> term().
whole({cut, Link}) -> Link;
whole(Link) -> Link.

%% A lookup in a table that is not there fails with badarg, and only that does.
-spec find(tab(), term()) -> {ok, term()} | error.
find(Tab, Key) ->
    try ets:lookup(Tab, Key) of
        [{_, Value}] -> {ok, Value};
        [] -> error
    catch
        error:badarg -> error
    end.

-spec missing_channel(tab()) -> {error, not_connected | no_such_channel}.
missing_channel(Tab) ->
    case ets:whereis(Tab) of
        undefined -> {error, not_connected};
        _ -> {error, no_such_channel}
    end.
