%% @doc What this node knows about itself, for every process of the link to read: configuration, engine, identity,
%% counters; and the tables of the link, owned by this process so that they outlive their writers.
%%
%% It is the first child of a started node. When it ends, the node is not started; when it is started again, the node
%% begins a new life with a new incarnation, so peers drop whatever they kept about the earlier one.
%%
%% Tables (named, public, read concurrently; each has one writer):
%% <ul>
%% <li>`topos_peers' (writer: `topos_link'): `{Node, Status, Incarnation, TokenOut | undefined}'</li>
%% <li>`topos_sessions' (writer: `topos_link'): `{SourceName, Node, Incarnation, TokenIn, Heard :: atomics:ref()}'</li>
%% <li>`topos_lane_senders' (writer: `topos_lanes'): `{{Node, Channel, Index | {retiring, Pid}}, Pid, Room :: topos_lane:room(),
%%     Generation}'</li>
%% <li>`topos_channel_counts' (writers: lanes): see `topos_channel_stats'</li>
%% <li>`topos_channel_rates' (writer: `topos_channel_monitor'): `{{Node, Channel}, topos_channel_monitor:rates()}'</li>
%% <li>`topos_channel_pools' (writer: `topos_channel_pool'): `{Channel, Max, topos_channel_pool_core:t()}'</li>
%% <li>`topos_lane_receivers' (writer: `topos_lanes'): `{{Node, Incarnation, LaneId}, Pid}'</li>
%% <li>`topos_lane_streams' (writers: receiving lanes): see `topos_lane_streams'</li>
%% <li>`topos_requests' (writer: each caller its row): `{Slot, Sequence, Node, Alias, Caller :: pid()}'</li>
%% <li>`topos_served', `topos_serving', `topos_replies': see `topos_request_server'</li>
%% <li>`topos_members' (writer: `topos_cluster'): `{Node, Status, topos_membership:entry(), Since}'</li>
%% <li>`topos_routes' (writer: `topos_overlay'): see `topos_relay'</li>
%% <li>`topos_services' (writer: whoever serves): `{Name, Module}'</li>
%% <li>`topos_destinations' (writer: whoever claims): `{Kind, Module}'</li>
%% </ul>
-module(topos_local).
-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/1, is_started/0, absent/1, own_node/0, stopping/0, config/0, config/1, engine/0, hot/0, self/0, name/0, incarnation/0, live_again/1, set_addresses/1]).
-export([set_channels/1, channel/1, set_topology/2, topology_epoch/0, configured_topology/0]).
-export([count/1, count/2, counts/0, take/3, node_atom/1]).
-export([init/1, handle_call/3, handle_cast/2, terminate/2]).
-export_type([given/0, hot/0, channel/0, counter/0]).

-define(CONFIG, {?MODULE, config}).
%% An atom: a tuple would have to be hashed and compared with each message.
-define(HOT, ?MODULE).
-define(STOPPING, {?MODULE, stopping}).
-define(TABLE, topos_local).
%% Read with every message or batch and seldom written: locks for writers would only cost their readers.
-define(READ_TABLES, [topos_peers, topos_sessions, topos_lane_senders, topos_lane_receivers]).
-define(TABLES, [topos_requests, topos_served, topos_serving, topos_replies, topos_services, topos_destinations, topos_members,
                 topos_channel_counts, topos_channel_rates, topos_channel_pools, topos_routes, topos_lane_streams]).

%% The configuration and the engine's module, in a function because a configuration holds the cookie.
-type given() :: fun(() -> {topos_config:t(), module()}).
%% What a send reads.
-type hot() :: #{
    node := node(),
    name := binary(),
    engine := module(),
    channels := #{atom() => channel()},
    max_message_bytes := pos_integer(),
    max_pending_calls := pos_integer(),
    max_queue_bytes := pos_integer(),
    incarnation := topos_incarnation:t(),
    counters := counters:counters_ref(),
    %% The slot of a request that was free last.
    free_slot := atomics:atomics_ref(),
    %% The bytes of the replies that `topos_request_server' keeps.
    kept_replies := counters:counters_ref()
}.
%% The settings of a channel, its limits filled in. The generation grows with every change of them: lanes of an earlier one
%% are finished before those of the present one send.
-type channel() :: #{generation := integer(), parallelism := pos_integer(), atom() => term()}.
%% `sent', `delivered': messages. `undeliverable': nobody to deliver to, told to the sender. `in_doubt': given up.
%% `overloaded': refused at the queue. `resent': batches sent again. `refused_frames': without a valid token or for
%% another incarnation. `node_names': atoms made for names of nodes. `peer_atoms':
%% atoms made for messages of peers. `malformed_frames': not a frame. `late_replies': to requests that had timed out.
%% `relayed': frames of others that were passed on; `unroutable': that were dropped.
-type counter() ::
    sent | delivered | undeliverable | in_doubt | overloaded | resent | refused_frames | malformed_frames | late_replies
    | node_names | peer_atoms | relayed | unroutable.

-spec start_link(given()) -> {ok, pid()} | {error, term()}.
start_link(Given) -> gen_server:start_link({local, ?MODULE}, ?MODULE, Given, []).

-spec is_started() -> boolean().
is_started() -> persistent_term:get(?CONFIG, undefined) =/= undefined andalso not persistent_term:get(?STOPPING, false).

%% @doc The error of an operation that needs the link while there is none: `not_started', or `unsupported_by_manager' where the node is one of Partisan's own
%% managers.
-spec absent(topos_native_capabilities:operation()) -> {error, topos_error:t()}.
absent(Operation) -> topos_native:absent(Operation).

%% @doc The node of this VM, with a link or without.
-spec own_node() -> node().
own_node() ->
    case {is_started(), topos_native:running()} of
        {false, {ok, #{node := Node}}} -> Node;
        _ -> config(node)
    end.

%% @doc From now on the node counts as not started, though its processes still end one after the other.
-spec stopping() -> ok.
stopping() -> persistent_term:put(?STOPPING, true).

-spec config() -> topos_config:t().
config() -> persistent_term:get(?CONFIG).

-spec config(atom()) -> term().
config(Key) -> maps:get(Key, config()).

-spec engine() -> module().
engine() -> maps:get(engine, hot()).

%% @doc Fails with `badarg' while the node is not started.
-spec hot() -> hot().
hot() -> persistent_term:get(?HOT).

%% @doc This node as its peers know it.
-spec self() -> topos_peer_core:self().
self() -> ets:lookup_element(?TABLE, self, 2).

%% @doc The node's name as frames carry it.
-spec name() -> binary().
name() -> maps:get(name, hot()).

-spec incarnation() -> topos_incarnation:t().
incarnation() -> maps:get(incarnation, hot()).

%% @doc Begins a new life, with an incarnation above `Earlier' and above the present one. `topos_link' must be told.
-spec live_again(topos_incarnation:t()) -> topos_incarnation:t().
live_again(Earlier) -> gen_server:call(?MODULE, {live_again, Earlier}).

%% @doc Where this node listens, as its greetings say.
-spec set_addresses([topos_engine:address()]) -> ok.
set_addresses(Addresses) -> gen_server:call(?MODULE, {set_addresses, Addresses}).

%% @doc The channels from now on. Lanes of a channel that changed are replaced at its next message, see `topos_lanes'.
-spec set_channels(topos_node_spec:channels()) -> ok.
set_channels(Channels) -> gen_server:call(?MODULE, {set_channels, Channels}).

%% @doc The topology from now on, and the epoch of the switch that made it so (`topos_switch_core').
-spec set_topology({non_neg_integer(), node(), non_neg_integer()}, topos_config_topology:t()) -> ok.
set_topology(Epoch, Topology) -> gen_server:call(?MODULE, {set_topology, Epoch, Topology}).

%% @doc The epoch of the topology: that of counter 0 while it is the configured one.
-spec topology_epoch() -> {non_neg_integer(), node(), non_neg_integer()}.
topology_epoch() -> ets:lookup_element(?TABLE, topology_epoch, 2).

%% @doc The topology that the node was started with.
-spec configured_topology() -> topos_config_topology:t().
configured_topology() -> ets:lookup_element(?TABLE, configured_topology, 2).

%% @doc A channel of this node.
-spec channel(topos_engine:channel()) -> {ok, channel()} | error.
channel(Name) -> maps:find(Name, maps:get(channels, hot())).

-spec count(counter()) -> ok.
count(Counter) -> count(Counter, 1).

-spec count(counter(), non_neg_integer()) -> ok.
count(Counter, N) -> counters:add(maps:get(counters, hot()), index(Counter), N).

%% @doc Counts `N' more if that stays within the limit; several callers at once are never let over it.
-spec take(counter(), non_neg_integer(), non_neg_integer()) -> boolean().
take(Counter, N, Limit) ->
    Ref = maps:get(counters, hot()),
    ok = counters:add(Ref, index(Counter), N),
    case counters:get(Ref, index(Counter)) =< Limit of
        true ->
            true;
        false ->
            ok = counters:sub(Ref, index(Counter), N),
            false
    end.

%% @doc The atom of a name of a node that proved to know the cookie, or that such a node told of. Four times
%% `limits.max_members' are made in a node's life.
-spec node_atom(binary()) -> {ok, node()} | error.
node_atom(Name) ->
    try
        {ok, binary_to_existing_atom(Name)}
    catch
        error:badarg ->
            #{max_members := Max} = config(limits),
            case take(node_names, 1, 4 * Max) of
                true ->
                    new_atom(Name);
                false ->
                    ?LOG_WARNING("topos_partisan: no more names of nodes are taken, the limit is four times limits.max_members"),
                    error
            end
    end.

%% @doc All counters since the node was started.
-spec counts() -> #{counter() => non_neg_integer()}.
counts() ->
    Ref = maps:get(counters, hot()),
    maps:from_list([{C, counters:get(Ref, index(C))} || C <- counter_names()]).

%% gen_server

-spec init(given()) -> {ok, topos_config:t()}.
init(Given) ->
    {Config, Engine} = Given(),
    %% So that terminate/2 runs.
    _ = process_flag(trap_exit, true),
    _ = [ets:new(T, [named_table, public, {read_concurrency, true}, {write_concurrency, true}]) || T <- ?TABLES],
    _ = [ets:new(T, [named_table, public, {read_concurrency, true}]) || T <- ?READ_TABLES],
    _ = ets:new(?TABLE, [named_table, protected, {read_concurrency, true}]),
    #{node := Node, channels := Channels, limits := Limits} = Config,
    Incarnation = topos_incarnation:new(),
    Hot = maps:merge(maps:with([max_message_bytes, max_pending_calls, max_queue_bytes], Limits), #{
        node => Node,
        incarnation => Incarnation,
        name => atom_to_binary(Node),
        engine => Engine,
        channels => hot_channels(Channels, Limits, #{}),
        counters => counters:new(length(counter_names()), [atomics]),
        free_slot => atomics:new(1, []),
        kept_replies => counters:new(1, [atomics])
    }),
    true = ets:insert(?TABLE, [{topology_epoch, {0, '', 0}}, {configured_topology, maps:get(topology, Config)}]),
    ok = introduce(Incarnation, Config),
    ok = persistent_term:put(?HOT, Hot),
    ok = persistent_term:put(?CONFIG, Config),
    {ok, Config}.

-spec handle_call(term(), gen_server:from(), topos_config:t()) -> {reply, term(), topos_config:t()}.
handle_call({set_addresses, Addresses}, _From, Config) ->
    true = ets:insert(?TABLE, {self, (topos_local:self())#{addresses => Addresses}}),
    {reply, ok, Config};
handle_call({set_channels, Channels}, _From, #{limits := Limits} = Config) ->
    #{channels := Old} = Hot = hot(),
    Next = Config#{channels := Channels},
    ok = persistent_term:put(?HOT, Hot#{channels := hot_channels(Channels, Limits, Old)}),
    ok = persistent_term:put(?CONFIG, Next),
    {reply, ok, Next};
handle_call({set_topology, Epoch, Topology}, _From, Config) ->
    Next = Config#{topology := Topology},
    true = ets:insert(?TABLE, {topology_epoch, Epoch}),
    ok = persistent_term:put(?CONFIG, Next),
    {reply, ok, Next};
handle_call({live_again, Earlier}, _From, Config) ->
    Incarnation = topos_incarnation:above(max(Earlier, incarnation())),
    ok = introduce(Incarnation, Config),
    ok = persistent_term:put(?HOT, (hot())#{incarnation := Incarnation}),
    {reply, Incarnation, Config}.

-spec handle_cast(term(), topos_config:t()) -> {noreply, topos_config:t()}.
handle_cast(_, Config) -> {noreply, Config}.

-spec terminate(term(), topos_config:t()) -> ok.
terminate(_Reason, _Config) ->
    _ = persistent_term:erase(?CONFIG),
    _ = persistent_term:erase(?HOT),
    _ = persistent_term:erase(?STOPPING),
    ok.

%% internal

-spec new_atom(binary()) -> {ok, node()} | error.
new_atom(Name) ->
    try
        {ok, binary_to_atom(Name)}
    catch
        %% No UTF-8.
        error:badarg -> error
    end.

-spec hot_channels(topos_node_spec:channels(), map(), #{atom() => channel()}) -> #{atom() => channel()}.
hot_channels(Channels, #{max_queue_messages := Messages, max_queue_bytes := Bytes}, Old) ->
    maps:map(
        fun(Name, #{max_queue_messages := OwnMessages, max_queue_bytes := OwnBytes} = Settings) ->
            New = Settings#{
                max_queue_messages := limit(OwnMessages, Messages), max_queue_bytes := limit(OwnBytes, Bytes)
            },
            case Old of
                #{Name := #{generation := Same} = Known} when Known =:= New#{generation => Same} -> Known;
                _ -> New#{generation => erlang:unique_integer([monotonic])}
            end
        end, Channels).

-spec limit(non_neg_integer(), pos_integer()) -> pos_integer().
limit(0, Default) -> Default;
limit(Own, _) -> Own.

%% What peers are told of this node.
-spec introduce(topos_incarnation:t(), topos_config:t()) -> ok.
introduce(Incarnation, #{node := Node, cluster := Cluster, cookie := Cookie}) ->
    Addresses = case ets:lookup(?TABLE, self) of
        [{self, #{addresses := Known}}] -> Known;
        _ -> []
    end,
    Self = #{
        name => atom_to_binary(Node), incarnation => Incarnation, cluster => Cluster, key => topos_auth:key(Cookie),
        addresses => Addresses
    },
    true = ets:insert(?TABLE, {self, Self}),
    ok.

-spec counter_names() -> [counter(), ...].
counter_names() ->
    [sent, delivered, undeliverable, in_doubt, overloaded, resent, refused_frames, malformed_frames, late_replies,
     node_names, peer_atoms, relayed, unroutable].

-spec index(counter()) -> 1..13.
index(sent) -> 1;
index(delivered) -> 2;
index(undeliverable) -> 3;
index(in_doubt) -> 4;
index(overloaded) -> 5;
index(resent) -> 6;
index(refused_frames) -> 7;
index(malformed_frames) -> 8;
index(late_replies) -> 9;
index(node_names) -> 10;
index(peer_atoms) -> 11;
index(relayed) -> 12;
index(unroutable) -> 13.
