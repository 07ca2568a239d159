%% @doc What a node tells others about itself: its name, where it listens, its channels, its metadata.
%%
%% A specification is parsed once, from the forms people write, and is a plain map afterwards. `join' takes every form
%% that `parse/1' takes.
-module(topos_node_spec).

-export([parse/1, parse_peer/1, from_config/1, peer/1, print/1]).
-export_type([t/0, channel/0, channels/0, metadata/0]).

-type channel() :: #{
    parallelism := 1..64,
    monotonic := boolean(),
    compression := boolean(),
    delivery := at_least_once | at_most_once,
    order := key | pair | none,
    priority := high | normal | low,
    expiry := topos_config:ms(),
    max_parallelism := 0..64,
    max_queue_messages := non_neg_integer(),
    max_queue_bytes := non_neg_integer()
}.
-type channels() :: #{topos_engine:channel() => channel()}.
-type metadata() :: #{binary() => binary()}.

-type t() :: #{
    name := node(),
    listen := [topos_engine:address()],
    channels := channels(),
    metadata := metadata()
}.

%% @doc Parses a specification.
%%
%% Accepted are a map (or property list) of `name', `listen', `channels' and `metadata', of which only the name is
%% required, and the short forms of `parse_peer/1'. Channels that are not named are the standard ones. Every violation
%% is in the one `invalid_config' error.
-spec parse(term()) -> {ok, t()} | {error, topos_error:t()}.
parse(#{name := _} = Map) -> parse_fields(Map);
parse([{Key, _} | _] = Pairs) when Key =:= name; Key =:= listen; Key =:= channels; Key =:= metadata ->
    parse_fields(Pairs);
parse(Term) ->
    case parse_peer(Term) of
        {ok, #{node := Node, addresses := Addresses}} ->
            {ok, #{name => Node, listen => Addresses, channels => topos_config:standard_channels(), metadata => #{}}};
        error ->
            Expected = <<"a node name, name@address:port, {name, addresses}, or a map with the key name">>,
            {error, Violations} = topos_config_value:violation(<<"node">>, Expected, Term),
            {error, topos_config:invalid(Violations)}
    end.

%% @doc A node and where to find it: `shop@host', `{shop@host, Addresses}', `#{node, addresses}', or the text
%% `"shop@127.0.0.1:4000"', which says both at once. Without addresses the list is empty, and the engine must know the
%% node by its name.
-spec parse_peer(term()) -> {ok, topos_engine:peer()} | error.
parse_peer(#{node := Node, addresses := Addresses} = Map) when map_size(Map) =:= 2 -> parse_peer({Node, Addresses});
parse_peer({Name, Where}) ->
    case {topos_config_value:node_name(Name), topos_config_value:addresses(Where)} of
        {{ok, Node}, {ok, Addresses}} -> {ok, #{node => Node, addresses => Addresses}};
        _ -> error
    end;
parse_peer(Term) ->
    case topos_config_value:node_name(Term) of
        {ok, Node} -> {ok, #{node => Node, addresses => []}};
        error -> parse_text(topos_config_value:text(Term))
    end.

%% @doc What this node would tell others, from its configuration.
-spec from_config(topos_config:t()) -> t().
from_config(#{node := Name, listen := Listen, channels := Channels, metadata := Metadata}) ->
    #{name => Name, listen => Listen, channels => Channels, metadata => Metadata}.

%% @doc What an engine needs to connect to the node.
-spec peer(t()) -> topos_engine:peer().
peer(#{name := Name, listen := Listen}) -> #{node => Name, addresses => Listen}.

%% @doc One line for people: the name and the addresses.
-spec print(t()) -> unicode:chardata().
print(#{name := Name, listen := []}) -> atom_to_binary(Name);
print(#{name := Name, listen := Listen}) ->
    [atom_to_binary(Name), " (", lists:join(", ", [topos_config_value:print_address(A) || A <- Listen]), ")"].

%% internal

-spec parse_fields(map() | list()) -> {ok, t()} | {error, topos_error:t()}.
parse_fields(Term) ->
    Fields = [
        #{key => name, kind => node_name, meaning => <<"name of the node">>},
        #{key => listen, kind => addresses, default => [], meaning => <<"where it listens">>},
        #{key => channels, kind => channels, default => #{}, meaning => <<"its channels">>},
        #{key => metadata, kind => metadata, default => #{}, meaning => <<"what it tells its peers">>}
    ],
    case topos_config:parse_fields(Fields, <<>>, Term) of
        {Spec, []} -> {ok, Spec#{channels := topos_config:complete_channels(maps:get(channels, Spec), false)}};
        {_, Violations} -> {error, topos_config:invalid(Violations)}
    end.

-spec parse_text({ok, binary()} | error) -> {ok, topos_engine:peer()} | error.
parse_text({ok, Text}) ->
    case binary:split(Text, <<"@">>) of
        [Name, Where] ->
            case topos_config_value:address(Where) of
                {ok, {Ip, _} = Address} when tuple_size(Ip) =:= 4 ->
                    [Host, _] = binary:split(Where, <<":">>),
                    parse_peer({<<Name/binary, "@", Host/binary>>, [Address]});
                _ -> error
            end;
        _ -> error
    end;
parse_text(error) -> error.
