%% @doc Root handler of the effect `Topos.Channel.Channel', over the public API `topos_channel'.
%%
%% Channels are texts in Topos and atoms here. Only a text that becomes a channel becomes an atom: other operations look
%% the name up among the channels there are.
-module(topos_effect_channel).
-behaviour(topos_handler).

-export([init/2, terminate/2, portable/1]).
-export([send_on/4, send_keyed/5, create_channel/3, create_channels/2, close_channel/2, reconfigure/3, stats/2, health/1]).
%% For the same effect in a simulation.
-export([given/1]).
-export_type([instance/0]).

%% The specs say what the effect's declaration promises, which is more than what the API answers today.
-dialyzer(no_underspecs).

-opaque instance() :: channel.
-type error() :: topos_effect_distributed:error().
-type outcome() :: {ok, ok} | {error, error()}.
-type settings() :: #{atom() => term()}.

-spec init([], topos_effect:evidence()) -> {ok, instance()}.
init([], _Ev) -> {ok, channel}.

-spec terminate(term(), instance()) -> ok.
terminate(_Reason, channel) -> ok.

-spec portable(instance()) -> true.
portable(channel) -> true.

-spec send_on(instance(), binary(), node(), term()) -> outcome().
send_on(channel, Channel, Node, Message) -> send(Channel, #{}, Node, Message).

-spec send_keyed(instance(), binary(), binary(), node(), term()) -> outcome().
send_keyed(channel, Channel, Key, Node, Message) -> send(Channel, #{key => Key}, Node, Message).

-spec create_channel(instance(), binary(), settings()) -> outcome().
create_channel(channel, Name, Settings) -> create_channels(channel, [{Name, Settings}]).

-spec create_channels(instance(), [{binary(), settings()}]) -> outcome().
create_channels(channel, Channels) -> outcome(topos_channel:create([{Name, given(Settings)} || {Name, Settings} <- Channels])).

-spec close_channel(instance(), binary()) -> outcome().
close_channel(channel, Name) -> with_channel(Name, fun topos_channel:close/1).

-spec reconfigure(instance(), binary(), settings()) -> outcome().
reconfigure(channel, Name, Settings) ->
    with_channel(Name, fun(Channel) -> topos_channel:reconfigure(Channel, given(Settings)) end).

-spec stats(instance(), binary()) -> {ok, [map()]} | {error, error()}.
stats(channel, Name) ->
    case with_channel(Name, fun topos_channel:stats/1) of
        {ok, Rows} -> {ok, [row(Row) || Row <- Rows]};
        {error, _} = Error -> Error
    end.

-spec health(instance()) -> {ok, [map()]} | {error, error()}.
health(channel) ->
    case topos_channel:health() of
        {ok, #{channels := Channels}} ->
            {ok, [
                #{node => Node, channel => atom_to_binary(Channel), condition => condition(Status)}
             || #{node := Node, channel := Channel, status := Status} <- Channels
            ]};
        {error, _} = Error ->
            topos_effect_distributed:outcome(Error)
    end.

%% internal

-spec send(binary(), topos_partisan:send_options(), node(), term()) -> outcome().
send(Name, Options, Node, Message) ->
    topos_effect_distributed:on_channel(Name, Options, fun(Full) -> topos_program_node:send(Node, Message, Full) end).

-spec with_channel(binary(), fun((atom()) -> ok | {ok, Value} | {error, topos_error:t()})) ->
    {ok, ok | Value} | {error, error()}.
with_channel(Name, Fun) ->
    case topos_channel:list() of
        {ok, Channels} ->
            case [Channel || Channel <- maps:keys(Channels), atom_to_binary(Channel) =:= Name] of
                [Channel] -> outcome(Fun(Channel));
                [] -> outcome({error, topos_error:new(no_such_channel, #{channel => Name, known => lists:sort(maps:keys(Channels))})})
            end;
        {error, _} = Error ->
            outcome(Error)
    end.

-spec outcome(ok | {ok, Value} | {error, topos_error:t()}) -> {ok, ok | Value} | {error, error()}.
outcome({ok, Value}) -> {ok, Value};
outcome(Other) -> topos_effect_distributed:outcome(Other).

%% @doc The settings of a channel, as a configuration has them.
-spec given(settings()) -> settings().
given(#{order := Order} = Settings) ->
    Settings#{order := case Order of by_key -> key; by_pair -> pair; unordered -> none end}.

-spec row(topos_channel:stats()) -> map().
row(#{channel := Channel, rtt := #{p50 := P50, p95 := P95, p99 := P99}} = Row) ->
    Kept = maps:with(
        [node, lanes, messages_out, bytes_out, messages_in, bytes_in, acknowledged, queue_messages, queue_bytes, credit, retries,
         superseded, expired, lost, in_doubt, undeliverable, overloaded, reconnects], Row),
    Kept#{channel => name(Channel), round_trip_p50 => P50, round_trip_p95 => P95, round_trip_p99 => P99}.

-spec name(atom() | binary()) -> binary().
name(Channel) when is_atom(Channel) -> atom_to_binary(Channel);
name(Channel) -> Channel.

-spec condition(topos_channel:status()) -> healthy | congested | head_of_line | disconnected.
condition(ok) -> healthy;
condition(Status) -> Status.
