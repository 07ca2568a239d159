%% @doc The configuration of a node: parsed once, into types, with every mistake reported together.
%%
%% `parse/1' takes a map or a property list; keys and values may be atoms, strings or UTF-8 binaries. What it returns is
%% complete (every default filled in) and valid: nobody checks it again. The keys, their ranges, units and defaults are
%% the table of `topos_config_schema', printed in `docs/configuration.md'.
%%
%% ```
%% {ok, Config} = topos_config:parse(#{node => 'shop@127.0.0.1', listen => "127.0.0.1:4000"}).
%% {error, Error} = topos_config:parse(#{node => 'shop@127.0.0.1', channels => #{data => #{parallelism => 0}}}),
%% {invalid_config, #{count := 1, violations := [#{path := <<"channels.data.parallelism">>,
%%                                                 expected := <<"an integer in 1..64">>, got := 0}]}} = Error.
%% '''
-module(topos_config).

-export([parse/1, from_file/1, from_environment/0, print/1]).
%% For `topos_node_spec', which shares fields with a configuration.
-export([parse_topology/2, parse_fields/3, complete_channels/2, standard_channels/0, invalid/1]).
%% For `topos_channel', which changes channels of a running node.
-export([parse_changed/2]).
-export_type([t/0, ms/0]).

-type ms() :: non_neg_integer().

-type t() :: #{
    node := node(),
    cluster := binary(),
    engine := topos_engine:name(),
    topology := topos_config_topology:t(),
    listen := [topos_engine:address(), ...],
    cookie := binary(),
    channels := topos_node_spec:channels(),
    compression := boolean(),
    fault_detection := #{
        echo_interval := ms(), suspect_after := ms(), down_after := ms(), method := echo | swim, indirect_probes := 0..32
    },
    tls := undefined | #{certfile := file:filename(), keyfile := file:filename(), cacertfile := file:filename()},
    insecure := boolean(),
    metrics := undefined | #{listen := [topos_engine:address(), ...]},
    contacts := #{node() => [topos_engine:address()]},
    metadata := topos_node_spec:metadata(),
    limits := #{
        max_message_bytes := pos_integer(),
        max_queue_messages := pos_integer(),
        max_queue_bytes := pos_integer(),
        max_inbox_messages := pos_integer(),
        max_new_atoms := non_neg_integer(),
        max_members := pos_integer(),
        max_pending_calls := pos_integer(),
        max_leases := pos_integer(),
        max_subscriptions := pos_integer()
    },
    timeouts := #{connect := ms(), call := ms(), leave := ms()},
    forget_after := ms()
}.

%% More than these are counted, but not listed.
-define(MAX_REPORTED, 100).
-define(MAX_CHANNELS, 64).
%% Stands for a value that has a violation already, so that the rules over several keys leave it alone.
-define(INVALID, '$invalid').

%% @doc Parses a configuration. Never fails on any term; the error is `invalid_config' with every violation.
-spec parse(term()) -> {ok, t()} | {error, topos_error:t()}.
parse(Term) ->
    {Parsed, Violations} = parse_fields(topos_config_schema:fields(), <<>>, Term),
    Config = complete(Parsed),
    case Violations ++ topos_config_rules:violations(Config) of
        [] -> {ok, without_marks(Config)};
        [_ | _] = All -> {error, invalid(All)}
    end.

%% @doc Parses the configuration in a file: one Erlang term, a map or a property list, ended by a full stop. The form of
%% a `sys.config', `[{topos_partisan, [..]}].', is understood too.
-spec from_file(file:name_all()) -> {ok, t()} | {error, topos_error:t()}.
from_file(File) ->
    case read_file(File) of
        {ok, Term} -> parse(Term);
        {error, Violations} -> {error, invalid(Violations)}
    end.

%% @doc Parses the configuration the operating system's environment gives: the file that `TOPOS_CONFIG' names, if it is
%% set, and over it `TOPOS_NODE', `TOPOS_CLUSTER', `TOPOS_ENGINE', `TOPOS_COOKIE', `TOPOS_LISTEN' and `TOPOS_CONTACTS'
%% (the last two separated by commas).
-spec from_environment() -> {ok, t()} | {error, topos_error:t()}.
from_environment() ->
    Base =
        case os:getenv("TOPOS_CONFIG") of
            false -> {ok, #{}};
            File -> read_file(File)
        end,
    case Base of
        {ok, Term} ->
            case topos_config_value:pairs(<<>>, Term) of
                {ok, Pairs} -> parse(maps:merge(maps:from_list(Pairs), environment()));
                {error, Violations} -> {error, invalid(Violations)}
            end;
        {error, Violations} ->
            {error, invalid(Violations)}
    end.

%% @doc The text of a file that `from_file/1' reads back to the same configuration. It shows the cookie.
-spec print(t()) -> unicode:chardata().
print(#{listen := Listen, contacts := Contacts, tls := Tls, metrics := Metrics} = Config) ->
    Printable = Config#{
        listen := [print_address(Address) || Address <- Listen],
        contacts := maps:map(fun(_, Addresses) -> [print_address(Address) || Address <- Addresses] end, Contacts)
    },
    Plain = case Tls of undefined -> maps:remove(tls, Printable); _ -> Printable end,
    Whole = case Metrics of
        undefined -> maps:remove(metrics, Plain);
        #{listen := Where} -> Plain#{metrics := #{listen => [print_address(Address) || Address <- Where]}}
    end,
    ["%% -*- coding: utf-8 -*-\n", io_lib:format("~tp.~n", [Whole])].

%% @doc The topology in a term such as `topology' of a configuration is, for this node. Of a running node: it cannot become `native'.
-spec parse_topology(term(), node()) -> {ok, topos_config_topology:t()} | {error, topos_error:t()}.
parse_topology(Term, Node) ->
    {Parsed, Violations} = topos_config_topology:parse(<<"topology">>, Term, fun parse_fields/3),
    Topology = topos_config_topology:complete(Parsed, Node),
    case Violations ++ topos_config_topology:violations(Topology, Node) of
        [] when map_get(type, Topology) =:= native ->
            {error, NotNow} = topos_config_value:violation(
                <<"topology">>, <<"another type: a node is started with a manager of Partisan's, or never has one">>, native),
            {error, invalid(NotNow)};
        [] -> {ok, Topology};
        [_ | _] = All -> {error, invalid(All)}
    end.

%% @doc Walks a table of fields over a map or a property list: what was parsed, and the violations in the table's order.
-spec parse_fields([topos_config_schema:field()], topos_config_value:path(), term()) ->
    {#{atom() => term()}, [topos_config_value:violation()]}.
parse_fields(Fields, Path, Term) ->
    {Given, Broken} =
        case topos_config_value:pairs(Path, Term) of
            {ok, Pairs} -> {maps:from_list(Pairs), []};
            {error, Violations} -> {unreadable, Violations}
        end,
    {Parsed, Bad} = lists:foldl(
        fun(Field, {Acc, AccBad}) -> parse_field(Field, Path, Given, Acc, AccBad) end, {#{}, []}, Fields
    ),
    {Parsed, Broken ++ lists:append(lists:reverse(Bad)) ++ unknown(Fields, Path, Given)}.

%% @doc The channels of a node: those given, completed, and the standard ones that were not given.
-spec complete_channels(#{atom() => #{atom() => term()}}, boolean()) -> topos_node_spec:channels().
complete_channels(Given, Compression) ->
    Fixed = maps:from_list([{Key, Value} || #{key := Key, default := Value} <- topos_config_schema:channel_fields()]),
    Defaults = Fixed#{compression => Compression},
    Standard = topos_config_schema:standard_channels(),
    maps:map(
        fun(Name, Settings) ->
            maps:merge(maps:merge(Defaults, maps:get(Name, Standard, #{})), Settings)
        end,
        maps:merge(Standard, Given)
    ).

-spec standard_channels() -> topos_node_spec:channels().
standard_channels() -> complete_channels(#{}, false).

%% @doc The channels of a configuration after those given (as `channels' of a configuration is) were added to it or
%% adjusted; every rule holds for the result.
-spec parse_changed(t(), term()) -> {ok, topos_node_spec:channels()} | {error, topos_error:t()}.
parse_changed(#{channels := Old, compression := Compression} = Config, Term) ->
    {Given, Violations} = parse_channels(<<"channels">>, Term),
    New = case Given of
        ?INVALID -> Old;
        _ ->
            Completed = maps:with(maps:keys(Given), complete_channels(Given, Compression)),
            maps:merge(Old, maps:map(
                fun(Name, Settings) -> maps:merge(maps:get(Name, Old, Settings), maps:get(Name, Given)) end, Completed))
    end,
    case Violations ++ too_many(New) ++ topos_config_rules:violations(Config#{channels := New}) of
        [] -> {ok, New};
        All -> {error, invalid(All)}
    end.

%% @doc The one error for a list of violations.
-spec invalid([topos_config_value:violation()]) -> topos_error:t().
invalid(Violations) ->
    topos_error:new(invalid_config, #{
        count => length(Violations), violations => lists:sublist(Violations, ?MAX_REPORTED)
    }).

%% internal

-type parsed() :: #{atom() => term()}.
-type given() :: #{binary() => term()} | unreadable.

-spec parse_field(topos_config_schema:field(), topos_config_value:path(), given(), parsed(), Bad) ->
    {parsed(), Bad} when
    Bad :: [[topos_config_value:violation()]].
parse_field(#{key := Key} = Field, Prefix, Given, Acc, Bad) ->
    Path = join(Prefix, atom_to_binary(Key)),
    case given(Key, Given) of
        {ok, Term} ->
            case parse_kind(maps:get(kind, Field), Path, Term) of
                {Value, Violations} -> {Acc#{Key => Value}, [Violations | Bad]}
            end;
        none ->
            case default(Field) of
                {ok, Value} -> {Acc#{Key => Value}, Bad};
                %% Without a readable map nothing can be said about its keys.
                _ when Given =:= unreadable -> {Acc#{Key => ?INVALID}, Bad};
                required ->
                    {error, Missing} =
                        topos_config_value:violation(Path, topos_config_value:describe(maps:get(kind, Field)), missing),
                    {Acc#{Key => ?INVALID}, [Missing | Bad]}
            end
    end.

-spec given(atom(), given()) -> {ok, term()} | none.
given(_, unreadable) -> none;
given(Key, Given) ->
    case maps:find(atom_to_binary(Key), Given) of
        {ok, Value} -> {ok, Value};
        error -> none
    end.

%% A value and its violations; a value that has some is marked.
-spec parse_kind(topos_config_schema:kind(), topos_config_value:path(), term()) ->
    {term(), [topos_config_value:violation()]}.
parse_kind({section, Fields}, Path, Term) ->
    parse_fields(Fields, Path, Term);
parse_kind({optional_section, _}, _, Nothing) when Nothing =:= undefined; Nothing =:= false; Nothing =:= none ->
    {undefined, []};
parse_kind({optional_section, Fields}, Path, Term) ->
    parse_fields(Fields, Path, Term);
parse_kind(channels, Path, Term) ->
    parse_channels(Path, Term);
parse_kind(topology, Path, Term) ->
    topos_config_topology:parse(Path, Term, fun parse_fields/3);
parse_kind(Kind, Path, Term) ->
    case topos_config_value:parse(Kind, Path, Term) of
        {ok, Value} -> {Value, []};
        {error, Violations} -> {?INVALID, Violations}
    end.

-spec default(topos_config_schema:field()) -> {ok, term()} | required.
default(#{kind := {section, Fields}}) ->
    {ok, maps:from_list([{Key, Value} || #{key := Key, default := Value} <- Fields])};
default(#{kind := {optional_section, _}}) -> {ok, undefined};
default(#{key := cookie, default := Cookie}) -> {ok, {default, Cookie}};
default(#{default := Value}) -> {ok, Value};
default(#{key := node}) when node() =/= nonode@nohost -> {ok, node()};
default(#{kind := engine}) -> {ok, hd(topos_config_schema:available_engines())};
default(_) -> required.

-spec unknown([topos_config_schema:field()], topos_config_value:path(), given()) -> [topos_config_value:violation()].
unknown(_, _, unreadable) -> [];
unknown(Fields, Path, Given) ->
    Keys = [Key || #{key := Key} <- Fields],
    Known = [atom_to_binary(Key) || Key <- Keys],
    [
        #{
            path => join(Path, Key),
            expected => topos_config_value:expected_key(Key, Keys),
            got => unknown_key
        }
     || Key <- lists:sort(maps:keys(Given)), not lists:member(Key, Known)
    ].

%% Channels: `5' (the parallelism of `data'), `[orders, {bulk, #{parallelism => 4}}]', or a map.
-spec parse_channels(topos_config_value:path(), term()) ->
    {#{atom() => parsed()} | ?INVALID, [topos_config_value:violation()]}.
parse_channels(Path, Parallelism) when is_integer(Parallelism) ->
    parse_channels(Path, #{data => #{parallelism => Parallelism}});
parse_channels(Path, Term) ->
    case topos_config_value:pairs(Path, Term) of
        {ok, Pairs} when length(Pairs) > ?MAX_CHANNELS ->
            {error, Violations} = topos_config_value:violation(Path, <<"at most 64 channels">>, length(Pairs)),
            {?INVALID, Violations};
        {ok, Pairs} ->
            lists:foldl(fun({Name, Settings}, Acc) -> parse_channel(Path, Name, Settings, Acc) end, {#{}, []}, Pairs);
        {error, _} ->
            {error, Violations} =
                topos_config_value:violation(
                    Path, <<(topos_config_value:describe(channels))/binary, ", each name once">>, Term
                ),
            {?INVALID, Violations}
    end.

-spec too_many(#{atom() => term()}) -> [topos_config_value:violation()].
too_many(Channels) when map_size(Channels) > ?MAX_CHANNELS ->
    {error, Violations} =
        topos_config_value:violation(<<"channels">>, <<"at most 64 channels">>, map_size(Channels)),
    Violations;
too_many(_) ->
    [].

-spec parse_channel(topos_config_value:path(), binary(), term(), {Channels, Bad}) -> {Channels, Bad} when
    Channels :: #{atom() => parsed()},
    Bad :: [topos_config_value:violation()].
parse_channel(Prefix, Text, Settings, {Channels, Bad}) ->
    case topos_config_value:name(Text) of
        %% Names the engines use themselves.
        {ok, Name} when Name =/= undefined, Name =/= partisan_membership ->
            {Parsed, Violations} = parse_settings(join(Prefix, Text), Settings),
            {Channels#{Name => Parsed}, Bad ++ Violations};
        _ ->
            {error, Violations} = topos_config_value:violation(
                Prefix,
                <<"names of a-z, 0-9 and _ that begin with a letter (not undefined, partisan_membership)">>,
                Text
            ),
            {Channels, Bad ++ Violations}
    end.

%% Only what was given: the standard channels differ in their defaults.
-spec parse_settings(topos_config_value:path(), term()) -> {parsed(), [topos_config_value:violation()]}.
parse_settings(_, true) -> {#{}, []};
parse_settings(Path, Parallelism) when is_integer(Parallelism) -> parse_settings(Path, #{parallelism => Parallelism});
parse_settings(Path, Settings) ->
    Fields = topos_config_schema:channel_fields(),
    case topos_config_value:pairs(Path, Settings) of
        {ok, Pairs} ->
            Given = maps:from_list(Pairs),
            Known = [Field || #{key := Key} = Field <- Fields, is_map_key(atom_to_binary(Key), Given)],
            {Parsed, Violations} = parse_fields(Known, Path,
                maps:with([atom_to_binary(K) || #{key := K} <- Known], Given)),
            {Parsed, Violations ++ unknown(Fields, Path, Given)};
        {error, Violations} -> {#{}, Violations}
    end.

-spec complete(parsed()) -> parsed().
complete(#{channels := Channels, compression := Compression} = Parsed) when is_map(Channels), is_boolean(Compression) ->
    complete_topology(Parsed#{channels := complete_channels(Channels, Compression)});
complete(Parsed) ->
    complete_topology(Parsed).

-spec complete_topology(parsed()) -> parsed().
complete_topology(#{topology := Topology, node := Node} = Parsed) ->
    Parsed#{topology := topos_config_topology:complete(Topology, Node)}.

-spec without_marks(parsed()) -> t().
without_marks(#{cookie := {default, Cookie}} = Config) -> Config#{cookie := Cookie};
without_marks(Config) -> Config.

-spec join(topos_config_value:path(), binary()) -> topos_config_value:path().
join(<<>>, Key) -> Key;
join(Prefix, Key) -> <<Prefix/binary, ".", Key/binary>>.

-spec read_file(file:name_all()) -> topos_config_value:result(term()).
read_file(File) ->
    case file:consult(File) of
        {ok, [[{topos_partisan, Term}]]} -> {ok, Term};
        {ok, [Term]} -> {ok, Term};
        {ok, Terms} ->
            topos_config_value:violation(<<"file">>, <<"one Erlang term, ended by a full stop">>, length(Terms));
        {error, Reason} ->
            Why = unicode:characters_to_binary([to_text(File), ": ", file:format_error(Reason)]),
            topos_config_value:violation(<<"file">>, <<"a readable file of one Erlang term">>, Why)
    end.

-spec to_text(file:name_all()) -> unicode:chardata().
to_text(File) ->
    case topos_config_value:text(File) of
        {ok, Text} -> Text;
        error -> io_lib:format("~0tp", [File])
    end.

-spec environment() -> #{binary() => term()}.
environment() ->
    Variables = [
        {"TOPOS_NODE", <<"node">>, one}, {"TOPOS_CLUSTER", <<"cluster">>, one}, {"TOPOS_ENGINE", <<"engine">>, one},
        {"TOPOS_COOKIE", <<"cookie">>, one}, {"TOPOS_LISTEN", <<"listen">>, many},
        {"TOPOS_CONTACTS", <<"contacts">>, many}
    ],
    maps:from_list([
        {Key, environment_value(Form, Value)}
     || {Variable, Key, Form} <- Variables, (Value = os:getenv(Variable)) =/= false
    ]).

-spec environment_value(one | many, string()) -> term().
environment_value(one, Value) -> unicode:characters_to_binary(Value);
environment_value(many, Value) ->
    [unicode:characters_to_binary(string:trim(Part)) || Part <- string:split(Value, ",", all)].

-spec print_address(topos_engine:address()) -> string().
print_address(Address) -> unicode:characters_to_list(topos_config_value:print_address(Address)).
