%% @doc The topology of a configuration: a name, or a map of its `type' and its settings.
%%
%% ```
%% topology => full_mesh
%% topology => #{type => hyparview, active_view => 5, passive_view => 30}
%% topology => #{type => client_server, hubs => ['hub1@10.0.0.1', 'hub2@10.0.0.2'], hubs_of_a_client => 2}
%% topology => #{type => custom, handler => my_ring}
%% topology => {native, pluggable}
%% '''
%% The last is short for `#{type => native, manager => pluggable}': one of Partisan's own managers, unchanged, which can do
%% what `topos_native_capabilities' says and no more.
%% The settings of each type are rows of {@link fields/1}; what they mean is told in `docs/overlays.md'.
-module(topos_config_topology).

-export([types/0, fields/1, parse/3, violations/2, complete/2, type/1, describe/0]).
-export_type([t/0, type/0, native/0]).

-type type() :: full_mesh | hyparview | client_server | custom | native.
%% `tag': of `client_server' alone, what Partisan calls so.
-type native() :: #{type := native, manager := topos_native_capabilities:manager(), tag := none | server | client}.
%% Complete: every setting of the type is there. Times in milliseconds.
-type t() ::
    full_mesh
    | #{
        type := hyparview, active_view := pos_integer(), passive_view := pos_integer(), active_walk := pos_integer(),
        passive_walk := non_neg_integer(), shuffle_active := non_neg_integer(), shuffle_passive := non_neg_integer(),
        shuffle_period := pos_integer(), mix_period := non_neg_integer(), request_timeout := pos_integer()
    }
    | #{
        type := client_server, role := hub | client, hubs := [node(), ...], hubs_of_a_client := pos_integer(),
        max_clients := pos_integer(), request_timeout := pos_integer()
    }
    | #{
        type := custom, handler := module(), args := term(), handler_timeout := pos_integer(), max_links := pos_integer(),
        request_timeout := pos_integer()
    }
    | native().
-type parser() :: fun(([topos_config_schema:field()], topos_config_value:path(), term()) ->
    {#{atom() => term()}, [topos_config_value:violation()]}).

-define(INVALID, '$invalid').
-define(HOUR, 3_600_000).

-spec types() -> [type(), ...].
types() -> [full_mesh, hyparview, client_server, custom, native].

%% @doc The settings of a type.
-spec fields(type()) -> [topos_config_schema:field()].
fields(full_mesh) ->
    [];
fields(hyparview) ->
    [
        #{key => active_view, kind => {integer, 2, 64}, default => 5, unit => <<"nodes">>,
          meaning => <<"neighbours: how many links a node keeps">>},
        #{key => passive_view, kind => {integer, 1, 1_024}, default => 30, unit => <<"nodes">>,
          meaning => <<"nodes in reserve, to take the place of neighbours that fail">>},
        #{key => active_walk, kind => {integer, 1, 32}, default => 6, unit => <<"steps">>,
          meaning => <<"length of random walks (ARWL)">>},
        #{key => passive_walk, kind => {integer, 0, 32}, default => by_limit,
          default_text => <<"3, or `active_walk` if that is less">>, unit => <<"steps">>,
          meaning => <<"steps left when a joiner enters a passive view (PRWL); at most `active_walk`">>},
        #{key => shuffle_active, kind => {integer, 0, 64}, default => by_limit,
          default_text => <<"3, or `active_view` if that is less">>, unit => <<"nodes">>,
          meaning => <<"names of the active view in a shuffle; at most `active_view`">>},
        #{key => shuffle_passive, kind => {integer, 0, 128}, default => by_limit,
          default_text => <<"4, or `passive_view` if that is less">>, unit => <<"nodes">>,
          meaning => <<"names of the passive view in a shuffle; at most `passive_view`">>},
        #{key => shuffle_period, kind => {integer, 100, ?HOUR}, default => 10_000, unit => <<"ms">>,
          meaning => <<"time between two shuffles">>},
        #{key => mix_period, kind => {integer, 0, ?HOUR}, default => 60_000, unit => <<"ms">>,
          meaning => <<"time after which a neighbour is exchanged for another node; 0: never">>},
        request_timeout()
    ];
fields(client_server) ->
    [
        #{key => role, kind => {one_of, [hub, client]}, default => by_hubs,
          default_text => <<"`hub` if this node is among `hubs`, else `client`">>,
          meaning => <<"what this node is; it must fit `hubs`">>},
        #{key => hubs, kind => node_names,
          meaning => <<"all hubs, the same on every node">>},
        #{key => hubs_of_a_client, kind => {integer, 1, 16}, default => 1, unit => <<"hubs">>,
          meaning => <<"hubs that a client keeps links to; at most as many as there are">>},
        #{key => max_clients, kind => {integer, 1, 8_000}, default => 4_096, unit => <<"clients">>,
          meaning => <<"clients that a hub takes">>},
        request_timeout()
    ];
fields(custom) ->
    [
        #{key => handler, kind => module,
          meaning => <<"module that says whom a node links to, the same on every node: a `topos_topology_handler`">>},
        #{key => args, kind => term, default => [],
          meaning => <<"what its `init/1` is called with">>},
        #{key => handler_timeout, kind => {integer, 10, 2_000}, default => 500, unit => <<"ms">>,
          meaning => <<"how long a call of the handler may take">>},
        #{key => max_links, kind => {integer, 1, 255}, default => 64, unit => <<"nodes">>,
          meaning => <<"links that the handler may ask for, and as many that others may ask this node for">>},
        request_timeout()
    ];
fields(native) ->
    [
        #{key => manager, kind => {one_of, topos_native_capabilities:managers()},
          meaning => <<"which of Partisan's own managers; only with `engine` = `partisan` and `insecure` = `true`">>},
        #{key => tag, kind => {one_of, [none, server, client]}, default => none,
          meaning => <<"what Partisan's client-server manager calls this node: servers take servers and clients, clients servers, nodes without a tag each other">>}
    ].

%% @doc The type of a topology.
-spec type(t()) -> type().
type(full_mesh) -> full_mesh;
type(#{type := Type}) -> Type.

-spec describe() -> binary().
describe() ->
    Names = lists:join(", ", [atom_to_binary(Type) || Type <- types()]),
    iolist_to_binary(["one of ", Names, ", or a map with such a `type`"]).

%% @doc Parses a topology with the parser of fields; a value that has a violation is marked.
-spec parse(topos_config_value:path(), term(), parser()) ->
    {full_mesh | #{atom() => term()} | ?INVALID, [topos_config_value:violation()]}.
parse(Path, {Type, Manager}, Fields) ->
    case topos_config_value:parse({one_of, [native]}, Path, Type) of
        {ok, native} -> settings(native, #{<<"manager">> => Manager}, Path, Fields);
        {error, _} -> invalid(Path, describe(), {Type, Manager})
    end;
parse(Path, Term, Fields) ->
    case topos_config_value:parse({one_of, types()}, Path, Term) of
        {ok, Type} ->
            settings(Type, #{}, Path, Fields);
        {error, _} ->
            case topos_config_value:pairs(Path, Term) of
                {ok, Pairs} -> typed(maps:from_list(Pairs), Path, Fields);
                {error, _} -> invalid(Path, describe(), Term)
            end
    end.

%% @doc Fills in what follows from the rest of the configuration.
-spec complete(full_mesh | #{atom() => term()}, term()) -> full_mesh | #{atom() => term()}.
complete(#{type := hyparview} = Topology, _) ->
    Limited = fun(Key, Limit, Default, Acc) ->
        case Acc of
            #{Key := by_limit, Limit := Max} when is_integer(Max) -> Acc#{Key := min(Default, Max)};
            #{Key := by_limit} -> Acc#{Key := Default};
            _ -> Acc
        end
    end,
    Limited(passive_walk, active_walk, 3,
        Limited(shuffle_active, active_view, 3, Limited(shuffle_passive, passive_view, 4, Topology)));
complete(#{type := client_server, role := by_hubs, hubs := Hubs} = Topology, Node) when is_list(Hubs) ->
    Topology#{role := case lists:member(Node, Hubs) of true -> hub; false -> client end};
complete(Topology, _) ->
    Topology.

%% @doc The rules over several settings.
-spec violations(term(), term()) -> [topos_config_value:violation()].
violations(#{type := hyparview} = Topology, _Node) ->
    at_most(passive_walk, active_walk, Topology) ++ at_most(shuffle_active, active_view, Topology)
        ++ at_most(shuffle_passive, passive_view, Topology);
violations(#{type := client_server, hubs := Hubs} = Topology, Node) when is_list(Hubs) ->
    IsHub = lists:member(Node, Hubs),
    Fits = fun(hub) -> IsHub; (client) -> not IsHub; (_) -> true end,
    [
        violation(role, <<"hub on the nodes among topology.hubs and client on the others">>, Role)
     || #{role := Role} <- [Topology], Node =/= ?INVALID, not Fits(Role)
    ] ++ [
        violation(hubs_of_a_client, <<"at most the number of topology.hubs">>, Wanted)
     || #{hubs_of_a_client := Wanted} <- [Topology], is_integer(Wanted), Wanted > length(Hubs)
    ];
violations(#{type := native, manager := Manager, tag := Tag}, _Node) when
    Tag =/= none, Tag =/= ?INVALID, Manager =/= client_server, Manager =/= ?INVALID
->
    [violation(tag, <<"none: only the manager client_server knows tags">>, Tag)];
violations(_, _) ->
    [].

%% internal

-spec request_timeout() -> topos_config_schema:field().
request_timeout() ->
    #{key => request_timeout, kind => {integer, 10, ?HOUR}, default => 5_000, unit => <<"ms">>,
      meaning => <<"how long a node that was asked for a link may take to answer">>}.

-spec typed(#{binary() => term()}, topos_config_value:path(), parser()) ->
    {full_mesh | #{atom() => term()} | ?INVALID, [topos_config_value:violation()]}.
typed(Given, Path, Fields) ->
    TypePath = <<Path/binary, ".type">>,
    case maps:take(<<"type">>, Given) of
        error ->
            invalid(TypePath, topos_config_value:describe({one_of, types()}), missing);
        {Text, Settings} ->
            case topos_config_value:parse({one_of, types()}, TypePath, Text) of
                {ok, Type} -> settings(Type, Settings, Path, Fields);
                {error, Violations} -> {?INVALID, Violations}
            end
    end.

-spec settings(type(), #{binary() => term()}, topos_config_value:path(), parser()) ->
    {full_mesh | #{atom() => term()}, [topos_config_value:violation()]}.
settings(Type, Given, Path, Fields) ->
    {Parsed, Violations} = Fields(fields(Type), Path, Given),
    {case Type of full_mesh -> full_mesh; _ -> Parsed#{type => Type} end, Violations}.

-spec invalid(topos_config_value:path(), binary(), term()) -> {?INVALID, [topos_config_value:violation()]}.
invalid(Path, Expected, Got) ->
    {error, Violations} = topos_config_value:violation(Path, Expected, Got),
    {?INVALID, Violations}.

-spec at_most(atom(), atom(), #{atom() => term()}) -> [topos_config_value:violation()].
at_most(Key, Limit, Topology) ->
    case Topology of
        #{Key := Value, Limit := Max} when is_integer(Value), is_integer(Max), Value > Max ->
            [violation(Key, iolist_to_binary(io_lib:format("at most topology.~s, ~b", [Limit, Max])), Value)];
        _ ->
            []
    end.

-spec violation(atom(), binary(), term()) -> topos_config_value:violation().
violation(Key, Expected, Got) ->
    #{path => <<"topology.", (atom_to_binary(Key))/binary>>, expected => Expected, got => Got}.
