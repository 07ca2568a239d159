%% @doc Channels of a running node: created, changed and closed while messages flow, counted, timed and watched.
%%
%% ```
%% ok = topos_channel:create(orders, #{parallelism => 4, order => key}),
%% ok = topos_partisan:send('b@127.0.0.1', desk, Order, #{channel => orders, key => CustomerId}),
%% ok = topos_channel:reconfigure(orders, #{parallelism => 8}),
%% {ok, [#{node := 'b@127.0.0.1', messages_out := 1, rtt := #{p99 := Microseconds}}]} = topos_channel:stats(orders),
%% ok = topos_channel:close(orders).
%% '''
%% A channel belongs to the node that sends on it: the settings (see `topos_config_schema:channel_fields/0', and
%% `docs/channels.md' for what they guarantee) are those of the sender, and a peer needs no channel of that name to receive.
%%
%% Every function answers `{error, topos_error:t()}' with `not_started' before `topos_partisan:start/1'.
-module(topos_channel).

-export([create/1, create/2, close/1, close/2, reconfigure/2, list/0, stats/0, stats/1, health/0]).
-export([with_default/2]).
-export_type([name/0, stats/0, health/0, status/0]).

-type name() :: topos_engine:channel().
%% What is known of one peer and one channel. Counters: `topos_channel_stats:name()', since the peer became known. `rtt':
%% from the sending of a batch to its acknowledgement, in microseconds. `rates': see `topos_channel_monitor:rates()'.
%% `queue_messages', `queue_bytes': accepted and not acknowledged. `credit': batches that may be sent now, over all lanes.
%% `connections': what the engine has open for it. `reconnects' counts those of the link to the peer.
-type stats() :: #{
    node := node(), channel := topos_channel_stats:channel(), lanes := non_neg_integer(),
    queue_messages := non_neg_integer(), queue_bytes := non_neg_integer(), in_flight := non_neg_integer(),
    credit := non_neg_integer(), connections := non_neg_integer(), reconnects := non_neg_integer(),
    rtt := #{p50 := non_neg_integer(), p95 := non_neg_integer(), p99 := non_neg_integer(), count := non_neg_integer()},
    rates := topos_channel_monitor:rates(), topos_channel_stats:name() => non_neg_integer()
}.
%% `head_of_line': messages wait behind what the peer has not acknowledged for a second or more, though it is up.
%% `congested': a queue is nine tenths full. `disconnected': the peer is not up.
-type status() :: ok | congested | head_of_line | disconnected.
-type health() :: #{
    status := ok | degraded,
    channels := [#{node := node(), channel := name(), status := status(), blocked_for := non_neg_integer(),
                   blocked_lanes := [topos_engine:lane() | retiring], queue_messages := non_neg_integer()}]
}.
-type answer() :: ok | {error, topos_error:t()}.

%% @doc Creates several channels, or none: all that `channels' of a configuration may be. Errors:
%% `invalid_config' with every violation, `channel_exists'.
-spec create(#{name() | binary() => map()} | [{name() | binary(), map()}]) -> answer().
create(Channels) when is_map(Channels); is_list(Channels) -> started({?MODULE, create, [Channels]}, fun() -> topos_channels:create(Channels) end).

%% @doc Creates one channel.
-spec create(name(), map()) -> answer().
create(Name, Settings) when is_atom(Name), is_map(Settings) -> create(#{Name => Settings}).

%% @doc Changes settings of a channel; those that are not named stay. Order holds across the change and nothing is lost:
%% messages accepted before go out on the lanes of before, and no message that comes after overtakes them. Answers when
%% the change has begun. Errors: `invalid_config', `no_such_channel'.
-spec reconfigure(name(), map()) -> answer().
reconfigure(Name, Settings) when is_atom(Name), is_map(Settings) ->
    started({?MODULE, reconfigure, [Name, Settings]}, fun() -> topos_channels:reconfigure(#{Name => Settings}) end).

%% @equiv close(Name, #{})
-spec close(name()) -> answer().
close(Name) -> close(Name, #{}).

%% @doc Closes a channel: it takes no more messages, and what it had accepted is delivered. What is not acknowledged after
%% `timeout' milliseconds (default: `timeouts.leave') is given up, told as `{in_doubt, Node, Count}' to subscribers.
%% Errors: `no_such_channel', `standard_channel'.
-spec close(name(), #{timeout => non_neg_integer()}) -> answer().
close(Name, Options) when is_atom(Name), is_map(Options) ->
    started({?MODULE, close, [Name, Options]}, fun() ->
        case topos_channels:remove(Name) of
            ok ->
                #{leave := Default} = topos_local:config(timeouts),
                ok = case topos_lanes:retire(Name, maps:get(timeout, Options, Default)) of
                    ok -> ok;
                    timeout -> topos_lanes:abandon(Name)
                end,
                topos_channels:removed();
            {error, _} = Error ->
                Error
        end
    end).

%% @doc Calls a function and answers what it answers. What the calling process sends in it without naming a channel
%% (`topos_partisan:send/3,4', `broadcast/2,3', `topos_process:send/2,3') takes this one.
%% ```
%% ok = topos_channel:with_default(bulk, fun() -> topos_partisan:send('b@127.0.0.1', archive, Page) end).
%% '''
-spec with_default(name(), fun(() -> Result)) -> Result when Result :: term().
with_default(Name, Fun) when is_atom(Name), is_function(Fun, 0) -> topos_default_channel:run(Name, Fun).

%% @doc The channels of this node with all their settings; with a native topology, with those that Partisan knows.
-spec list() -> {ok, topos_node_spec:channels()} | {error, topos_error:t()}.
list() -> started({?MODULE, list, []}, fun() -> {ok, topos_local:config(channels)} end).

%% @doc The statistics of every peer and channel that was used, sorted by both.
-spec stats() -> {ok, [stats()]} | {error, topos_error:t()}.
stats() -> started({?MODULE, stats, []}, fun() -> {ok, all_stats()} end).

%% @doc The statistics of one channel, a row each peer.
-spec stats(name()) -> {ok, [stats()]} | {error, topos_error:t()}.
stats(Name) ->
    started({?MODULE, stats, [Name]}, fun() ->
        case topos_local:config(channels) of
            #{Name := _} -> {ok, [Row || #{channel := Channel} = Row <- all_stats(), Channel =:= Name]};
            Channels -> {error, topos_error:new(no_such_channel, #{channel => Name, known => lists:sort(maps:keys(Channels))})}
        end
    end).

%% @doc How channels are doing now: every peer and channel with a lane, and whether all are well.
-spec health() -> {ok, health()} | {error, topos_error:t()}.
health() ->
    started({?MODULE, health, []}, fun() ->
        Lanes = by_channel(topos_channel_monitor:lanes()),
        Channels = [channel_health(Key, Of) || {Key, Of} <- lists:sort(maps:to_list(Lanes))],
        Bad = [bad || #{status := Status} <- Channels, Status =/= ok],
        {ok, #{status => case Bad of [] -> ok; _ -> degraded end, channels => Channels}}
    end).

%% internal

-spec all_stats() -> [stats()].
all_stats() ->
    Lanes = by_channel(topos_channel_monitor:lanes()),
    Connections = maps:from_list([{{Node, Channel}, N} || {Node, Channel, N} <- (topos_local:engine()):connections()]),
    [
        row(Key, topos_channel_stats:read(Row), maps:get(Key, Lanes, []), maps:get(Key, Connections, 0))
     || {Key, Row} <- lists:sort(topos_channel_stats:rows())
    ].

-spec row({node(), topos_channel_stats:channel()}, {topos_channel_stats:counts(), topos_histogram:snapshot()},
          [topos_channel_monitor:lane()], non_neg_integer()) -> stats().
row({Node, Channel}, {Counts, Rtt}, Lanes, Connections) ->
    InFlight = sum(in_flight, Lanes),
    Current = [Lane || #{lane := Index} = Lane <- Lanes, is_integer(Index)],
    maps:merge(Counts, #{
        node => Node,
        channel => Channel,
        lanes => length(Current),
        queue_messages => sum(messages, Lanes),
        queue_bytes => sum(bytes, Lanes),
        in_flight => InFlight,
        credit => max(0, length(Current) * window(Channel) - sum(in_flight, Current)),
        connections => Connections,
        reconnects => max(0, topos_channel_stats:connects(Node) - 1),
        rtt => #{
            p50 => topos_histogram:percentile(50, Rtt), p95 => topos_histogram:percentile(95, Rtt),
            p99 => topos_histogram:percentile(99, Rtt), count => topos_histogram:count(Rtt)
        },
        rates => topos_channel_monitor:rates(Node, Channel)
    }).

-spec window(topos_channel_stats:channel()) -> non_neg_integer().
window(Channel) ->
    case topos_local:hot() of
        #{channels := #{Channel := Settings}} -> topos_lane_sender:window(Settings);
        _ -> 0
    end.

-spec channel_health({node(), name()}, [topos_channel_monitor:lane(), ...]) -> map().
channel_health({Node, Channel}, Lanes) ->
    Blocked = [Lane || #{blocked_for := Time} = Lane <- Lanes, Time >= 1000],
    Full = case topos_local:channel(Channel) of
        {ok, #{max_queue_messages := Messages, max_queue_bytes := Bytes}} ->
            lists:any(fun(#{messages := M, bytes := B}) -> M * 10 >= Messages * 9 orelse B * 10 >= Bytes * 9 end, Lanes);
        error ->
            false
    end,
    Status = case topos_link:status(Node) of
        {up, _} when Blocked =/= [] -> head_of_line;
        {up, _} when Full -> congested;
        {up, _} -> ok;
        _ -> disconnected
    end,
    #{
        node => Node, channel => Channel, status => Status, queue_messages => sum(messages, Lanes),
        blocked_for => lists:max([0 | [Time || #{blocked_for := Time} <- Blocked]]),
        blocked_lanes => lists:sort([Lane || #{lane := Lane} <- Blocked])
    }.

-spec by_channel([topos_channel_monitor:lane()]) -> #{{node(), name()} => [topos_channel_monitor:lane(), ...]}.
by_channel(Lanes) ->
    lists:foldl(
        fun(#{node := Node, channel := Channel} = Lane, Acc) ->
            maps:update_with({Node, Channel}, fun(Others) -> [Lane | Others] end, [Lane], Acc)
        end, #{}, Lanes).

-spec sum(atom(), [map()]) -> non_neg_integer().
sum(Key, Maps) -> lists:sum([map_get(Key, Map) || Map <- Maps]).

-spec started({module(), atom(), [term()]}, fun(() -> Answer)) -> Answer | {error, topos_error:t()}.
started(Operation, Fun) -> topos_partisan:started(Operation, Fun).
