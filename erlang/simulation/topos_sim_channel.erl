%% @doc The effect `Topos.Channel.Channel' in a simulation: it means what `topos_effect_channel' means.
%%
%% Channels keep the order that they promise, and no more: messages of different lanes overtake each other. Of the
%% settings, those that are about bytes, priorities and growing lanes change nothing; of the statistics, `credit',
%% `reconnects', `undeliverable' and `queue_bytes' are always 0: there are no batches and no connections here.
-module(topos_sim_channel).
-behaviour(topos_handler).

-export([init/2, terminate/2, portable/1, '$handle_undefined_function'/2]).
-export([send_on/4, send_keyed/5, create_channel/3, create_channels/2, close_channel/2, reconfigure/3, stats/2,
    health/1]).
-export([request/4]).

-dialyzer(no_underspecs).

-type instance() :: channel.
-type error() :: topos_effect_distributed:error().
-type outcome() :: {ok, ok} | {error, error()}.

-spec init([], topos_effect:evidence()) -> {ok, instance()}.
init([], _Ev) -> {ok, channel}.

-spec terminate(term(), instance()) -> ok.
terminate(_Reason, channel) -> ok.

-spec portable(instance()) -> true.
portable(channel) -> true.

%% @private An operation that the effect has and this module has not.
-spec '$handle_undefined_function'(atom(), [term()]) -> no_return().
'$handle_undefined_function'(Operation, _) -> topos_sim_distributed:not_simulated('Channel', Operation).

-spec send_on(instance(), binary(), node(), term()) -> outcome().
send_on(channel, Channel, Node, Message) -> send(Channel, none, Node, Message).

-spec send_keyed(instance(), binary(), binary(), node(), term()) -> outcome().
send_keyed(channel, Channel, Key, Node, Message) -> send(Channel, {some, Key}, Node, Message).

-spec create_channel(instance(), binary(), map()) -> outcome().
create_channel(channel, Name, Settings) -> create_channels(channel, [{Name, Settings}]).

-spec create_channels(instance(), [{binary(), map()}]) -> outcome().
create_channels(channel, Channels) ->
    outcome(ask({create, [{Name, topos_effect_channel:given(Settings)} || {Name, Settings} <- Channels]})).

-spec close_channel(instance(), binary()) -> outcome().
close_channel(channel, Name) -> outcome(ask({close, Name})).

-spec reconfigure(instance(), binary(), map()) -> outcome().
reconfigure(channel, Name, Settings) -> outcome(ask({reconfigure, Name, topos_effect_channel:given(Settings)})).

-spec stats(instance(), binary()) -> {ok, [map()]} | {error, error()}.
stats(channel, Name) -> outcome(ask({stats, Name})).

-spec health(instance()) -> {ok, [map()]} | {error, error()}.
health(channel) -> outcome(ask(health)).

%% @doc What a node does about its channels; runs in the scheduler. `changed' comes with the channels of its
%% configuration.
-spec request(term(), topos_sim_world:node_id(), topos_config:t(), topos_sim_world:world()) ->
    {changed, Answer, topos_node_spec:channels()} | Answer when Answer :: ok | {ok, term()} | {error, topos_error:t()}.
request({channel, Name}, _, #{channels := Channels}, _) ->
    named(Name, Channels);
request({create, Given}, _, #{channels := Channels} = Config, _) ->
    case [Name || {Name, _} <- Given, is_tuple(named(Name, Channels)), element(1, named(Name, Channels)) =:= ok] of
        [] -> changed(topos_config:parse_changed(Config, Given));
        [Name | _] -> {error, topos_error:new(channel_exists, #{channel => Name})}
    end;
request({reconfigure, Name, Settings}, _, #{channels := Channels} = Config, _) ->
    case named(Name, Channels) of
        {ok, Channel} -> changed(topos_config:parse_changed(Config, #{Channel => Settings}));
        {error, _} = Error -> Error
    end;
request({close, Name}, _, #{channels := Channels}, _) ->
    case named(Name, Channels) of
        {ok, Channel} ->
            case is_map_key(Channel, topos_config:standard_channels()) of
                true -> {error, topos_error:new(standard_channel, #{channel => Channel})};
                %% What it accepted is on its way, and arrives.
                false -> {changed, ok, maps:remove(Channel, Channels)}
            end;
        {error, _} = Error ->
            Error
    end;
request({stats, Name}, Id, #{channels := Channels}, World) ->
    case named(Name, Channels) of
        {ok, Channel} -> {ok, [row(Peer, Name, Row, World)
            || {Peer, Row} <- topos_sim_network:stats(Id, Channel, World)]};
        {error, _} = Error -> Error
    end;
request(health, Id, #{channels := Channels, limits := #{max_queue_messages := Limit}}, World) ->
    {ok, [
        #{
            node => topos_sim_nodes:full_name(Peer, World), channel => atom_to_binary(Channel),
            condition => condition(topos_sim_membership:status(Id, Peer, World), Longest, Stands, Limit)
        }
     || {Peer, Channel, Longest, Stands} <- topos_sim_network:health(Id, World), is_map_key(Channel, Channels)
    ]}.

%% internal

ask(Request) -> topos_sim_distributed:ask({channels, Request}).

send(Name, Key, Node, Message) ->
    case ask({channel, Name}) of
        {ok, Channel} -> outcome(topos_sim_distributed:send_message(send, Node, Message, Channel, Key));
        {error, _} = Error -> outcome(Error)
    end.

outcome({ok, Value}) -> {ok, Value};
outcome(Other) -> topos_effect_distributed:outcome(Other).

changed({ok, Channels}) -> {changed, ok, Channels};
changed({error, _} = Error) -> Error.

named(Name, Channels) ->
    case [Channel || Channel <- maps:keys(Channels), atom_to_binary(Channel) =:= Name] of
        [Channel] -> {ok, Channel};
        [] -> {error, topos_error:new(no_such_channel, #{channel => Name, known => lists:sort(maps:keys(Channels))})}
    end.

row(Peer, Name, Row, World) ->
    Counters = [
        lanes, messages_out, bytes_out, messages_in, bytes_in, acknowledged, queue_messages, queue_bytes, credit,
            retries,
        superseded, expired, lost, in_doubt, undeliverable, overloaded, reconnects
    ],
    Times = lists:sort(maps:get(round_trips, Row, [])),
    Counts = maps:from_list([{Counter, maps:get(Counter, Row, 0)} || Counter <- Counters]),
    Counts#{
        node => topos_sim_nodes:full_name(Peer, World), channel => Name,
        round_trip_p50 => percentile(50, Times), round_trip_p95 => percentile(95, Times),
            round_trip_p99 => percentile(99, Times)
    }.

percentile(_, []) -> 0;
percentile(Percent, Times) -> lists:nth(max(1, (length(Times) * Percent + 99) div 100), Times).

condition({up, _}, Longest, _, Limit) when Longest * 10 >= Limit * 9 -> congested;
condition({up, _}, _, true, _) -> head_of_line;
condition({up, _}, _, false, _) -> healthy;
condition(_, _, _, _) -> disconnected.
