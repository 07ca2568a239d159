%% @doc Parses single configuration values: each kind of `topos_config_schema' into its type, or into violations.
%%
%% A value comes as an Erlang term of its own type, or as the text a person, a file or a command line would write:
%% `4000', `"127.0.0.1:4000"', `<<"name@host">>'. No term makes these functions fail. Atoms are made only of texts that
%% have the shape of a name and only from the configuration, which is the operator's own.
-module(topos_config_value).

-export([parse/3, describe/1, violation/3, text/1, name/1, pairs/2, entries/1, node_name/1, address/1, addresses/1]).
-export([print_address/1, is_loopback/1, expected_key/2]).
-export_type([violation/0, path/0, result/1]).

%% `got' is what came, or, of a secret, only a description of it.
-type violation() :: #{path := binary(), expected := binary(), got := term()}.
-type path() :: binary().
-type result(T) :: {ok, T} | {error, [violation(), ...]}.

-define(MAX_METADATA, 64).
-define(MAX_METADATA_VALUE, 4_096).
-define(MAX_ADDRESSES, 16).
-define(MAX_NAMES, 255).

%% @doc Parses a value of a leaf kind.
-spec parse(topos_config_schema:kind(), path(), term()) -> result(term()).
parse({integer, Min, Max} = Kind, Path, Term) ->
    case integer(Term) of
        {ok, Value} when Value >= Min, Value =< Max -> {ok, Value};
        _ -> violation(Path, describe(Kind), Term)
    end;
parse(boolean, Path, Term) ->
    case text(Term) of
        {ok, <<"true">>} -> {ok, true};
        {ok, <<"false">>} -> {ok, false};
        _ -> violation(Path, describe(boolean), Term)
    end;
parse({one_of, Names} = Kind, Path, Term) ->
    one_of(Names, describe(Kind), Path, Term);
parse(engine, Path, Term) ->
    case one_of(topos_config_schema:engines(), describe(engine), Path, Term) of
        {ok, Engine} -> installed(Engine, Path);
        Error -> Error
    end;
parse(node_name, Path, Term) ->
    case node_name(Term) of
        {ok, Node} -> {ok, Node};
        error -> violation(Path, describe(node_name), Term)
    end;
parse(node_names, Path, Term) ->
    node_names(Path, Term);
parse(module, _Path, Term) when is_atom(Term) -> {ok, Term};
parse(module, Path, Term) -> violation(Path, describe(module), Term);
parse(term, Path, Term) ->
    case is_data(Term) of
        true -> {ok, Term};
        false -> violation(Path, describe(term), Term)
    end;
parse({text, Min, Max} = Kind, Path, Term) ->
    case printable(Term) of
        {ok, Text} when byte_size(Text) >= Min, byte_size(Text) =< Max -> {ok, Text};
        _ -> violation(Path, describe(Kind), Term)
    end;
parse({secret, Min, Max} = Kind, Path, Term) ->
    case printable(Term) of
        {ok, Text} when byte_size(Text) >= Min, byte_size(Text) =< Max -> {ok, Text};
        {ok, Text} -> violation(Path, describe(Kind), sized(Text));
        error -> violation(Path, describe(Kind), <<"something else (not shown)">>)
    end;
parse(addresses, Path, Term) ->
    case addresses(Term) of
        {ok, [_ | _] = Addresses} when length(Addresses) =< ?MAX_ADDRESSES -> {ok, Addresses};
        _ -> violation(Path, describe(addresses), Term)
    end;
parse(contacts, Path, Term) ->
    contacts(Path, Term);
parse(metadata, Path, Term) ->
    metadata(Path, Term);
parse(file, Path, Term) ->
    file(Path, Term).

%% @doc What a kind accepts, in words: the `expected' of a violation and the range in the documentation.
-spec describe(topos_config_schema:kind()) -> binary().
describe({integer, Min, Max}) -> format("an integer in ~b..~b", [Min, Max]);
describe(boolean) -> <<"true or false">>;
describe({one_of, [Name]}) -> format("~ts", [Name]);
describe({one_of, Names}) -> format("one of ~ts", [lists:join(", ", [atom_to_list(Name) || Name <- Names])]);
describe(engine) -> describe({one_of, topos_config_schema:engines()});
describe(node_name) -> <<"a name such as shop@127.0.0.1">>;
describe(node_names) -> format("a list of 1..~b names such as shop@127.0.0.1, each once", [?MAX_NAMES]);
describe(module) -> <<"the name of an Erlang module, an atom">>;
describe(term) -> <<"any term without functions, processes, ports and references">>;
describe(topology) -> topos_config_topology:describe();
describe({text, Min, Max}) -> format("a printable text of ~b..~b bytes", [Min, Max]);
describe({secret, Min, Max}) -> describe({text, Min, Max});
describe(addresses) -> format("1..~b addresses such as 127.0.0.1:4000 or [::1]:4000", [?MAX_ADDRESSES]);
describe(contacts) -> <<"a map from node names to lists of addresses, or a list of shop@127.0.0.1:4000">>;
describe(metadata) ->
    format("at most ~b texts by name, each of at most ~b bytes", [?MAX_METADATA, ?MAX_METADATA_VALUE]);
describe(file) -> <<"the name of a file that can be read">>;
describe(channels) -> <<"a map from channel names to their settings, a list of names, or a number">>;
describe({section, Fields}) -> section(Fields);
describe({optional_section, Fields}) -> section(Fields).

%% @doc One violation, as the error result of a parser.
-spec violation(path(), binary(), term()) -> {error, [violation(), ...]}.
violation(Path, Expected, Got) ->
    {error, [#{path => Path, expected => Expected, got => Got}]}.

%% @doc The text of an atom, a string or a UTF-8 binary.
-spec text(term()) -> {ok, binary()} | error.
text(Atom) when is_atom(Atom) -> {ok, atom_to_binary(Atom)};
text(Data) when is_binary(Data); is_list(Data) ->
    try unicode:characters_to_binary(Data) of
        Text when is_binary(Text) -> {ok, Text};
        _ -> error
    catch
        error:_ -> error
    end;
text(_) -> error.

%% @doc A short identifier, such as the name of a channel: `[a-z][a-z0-9_]*', at most 64 characters.
-spec name(term()) -> {ok, atom()} | error.
name(Term) ->
    case text(Term) of
        {ok, Text} ->
            case re:run(Text, <<"^[a-z][a-z0-9_]{0,63}$">>, [{capture, none}, dollar_endonly]) of
                match -> {ok, binary_to_atom(Text)};
                nomatch -> error
            end;
        error -> error
    end.

%% @doc A map, or a list of pairs and of atoms that stand for `true', as pairs whose keys are texts. A key that comes
%% twice, or is no text, is a violation.
-spec pairs(path(), term()) -> result([{binary(), term()}]).
pairs(Path, Term) ->
    case entries(Term) of
        {ok, Entries} -> pairs(Entries, Path, #{}, [], []);
        error -> violation(Path, <<"a map, or a list of {key, value} pairs">>, Term)
    end.

%% @doc The entries of a map or of a property list, keys as they came.
-spec entries(term()) -> {ok, [{term(), term()}]} | error.
entries(Map) when is_map(Map) -> {ok, maps:to_list(Map)};
entries(List) when is_list(List) -> entries(List, []);
entries(_) -> error.

%% @doc `name@host' as an atom or a text, at most 255 bytes.
-spec node_name(term()) -> {ok, node()} | error.
node_name(Term) ->
    case text(Term) of
        {ok, Text} when byte_size(Text) =< 255, Text =/= <<"nonode@nohost">> ->
            Shape = <<"^[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9_][A-Za-z0-9_.-]*$">>,
            case re:run(Text, Shape, [{capture, none}, dollar_endonly]) of
                match -> {ok, binary_to_atom(Text)};
                nomatch -> error
            end;
        _ -> error
    end.

%% @doc An address: `{Ip, Port}' with the IP address as a tuple or a text, `#{ip, port}', `"127.0.0.1:4000"',
%% `"[::1]:4000"', `"localhost:4000"', or a port on 127.0.0.1. Host names are not looked up.
-spec address(term()) -> {ok, topos_engine:address()} | error.
address({Ip, Port}) -> address(ip(Ip), port(Port));
address(#{ip := Ip, port := Port} = Map) when map_size(Map) =:= 2 -> address(ip(Ip), port(Port));
address(Port) when is_integer(Port) -> address({ok, {127, 0, 0, 1}}, port(Port));
address(Term) when is_atom(Term) -> error;
address(Term) ->
    case text(Term) of
        {ok, Text} ->
            case re:run(Text, <<"^(?:\\[([^\\]]*)\\]|([^:]*)):([0-9]{1,5})$">>, [
                {capture, all_but_first, binary}, dollar_endonly
            ]) of
                {match, [<<>>, Ip4, Port]} -> address(ip(Ip4), port(Port));
                {match, [Ip6, _, Port]} -> address(ip(Ip6), port(Port));
                nomatch -> error
            end;
        error -> error
    end.

%% @doc One address or a list of them, each once. A list of integers is a text if it is printable ASCII, else ports.
-spec addresses(term()) -> {ok, [topos_engine:address()]} | error.
addresses([]) -> {ok, []};
addresses(Term) ->
    case is_list(Term) andalso not is_ascii(Term) of
        true -> addresses(Term, []);
        false ->
            case address(Term) of
                {ok, Address} -> {ok, [Address]};
                error -> error
            end
    end.

%% @doc The text that `address/1' reads back.
-spec print_address(topos_engine:address()) -> unicode:chardata().
print_address({Ip, Port}) when tuple_size(Ip) =:= 8 -> io_lib:format("[~s]:~b", [inet:ntoa(Ip), Port]);
print_address({Ip, Port}) -> io_lib:format("~s:~b", [inet:ntoa(Ip), Port]).

-spec is_loopback(topos_engine:address()) -> boolean().
is_loopback({{127, _, _, _}, _}) -> true;
is_loopback({{0, 0, 0, 0, 0, 0, 0, 1}, _}) -> true;
is_loopback(_) -> false.

%% @doc What was expected where an unknown key came: the nearest key if one is near, else all of them.
-spec expected_key(binary(), [atom()]) -> binary().
expected_key(Text, Keys) ->
    format("~ts~ts", [describe({one_of, Keys}), suggest(Text, Keys)]).

%% internal

%% `" (did you mean x?)"' for the candidate nearest to a text, or nothing if none is near.
-spec suggest(binary(), [atom()]) -> binary().
suggest(Text, Candidates) when byte_size(Text) =< 64 ->
    Wanted = string:lowercase(unicode:characters_to_list(Text)),
    Ranked = lists:sort([{distance(Wanted, atom_to_list(Name)), Name} || Name <- Candidates]),
    case Ranked of
        [{Distance, Name} | _] when Distance =< 1 + length(Wanted) div 4 -> format(" (did you mean ~ts?)", [Name]);
        _ -> <<>>
    end;
suggest(_, _) -> <<>>.

%% What can be printed and read again, and means the same on every node.
-spec is_data(term()) -> boolean().
is_data(Term) when is_function(Term); is_pid(Term); is_port(Term); is_reference(Term) -> false;
is_data([Head | Tail]) -> is_data(Head) andalso is_data(Tail);
is_data(Tuple) when is_tuple(Tuple) -> is_data(tuple_to_list(Tuple));
is_data(Map) when is_map(Map) -> is_data(maps:to_list(Map));
is_data(_) -> true.

-spec section([topos_config_schema:field()]) -> binary().
section(Fields) ->
    format("a map of ~ts", [lists:join(", ", [atom_to_list(Key) || #{key := Key} <- Fields])]).

-spec format(io:format(), [term()]) -> binary().
format(Format, Args) -> unicode:characters_to_binary(io_lib:format(Format, Args)).

-spec sized(binary()) -> binary().
sized(Text) -> format("a text of ~b bytes (not shown)", [byte_size(Text)]).

-spec integer(term()) -> {ok, integer()} | error.
integer(Value) when is_integer(Value) -> {ok, Value};
integer(Atom) when is_atom(Atom) -> error;
integer(Term) ->
    case text(Term) of
        {ok, Text} when byte_size(Text) =< 20 ->
            case string:to_integer(Text) of
                {Value, <<>>} when is_integer(Value) -> {ok, Value};
                _ -> error
            end;
        _ -> error
    end.

-spec one_of([atom()], binary(), path(), term()) -> result(atom()).
one_of(Names, Expected, Path, Term) ->
    case text(Term) of
        {ok, Text} ->
            case [Name || Name <- Names, atom_to_binary(Name) =:= Text] of
                [Name] -> {ok, Name};
                [] -> violation(Path, <<Expected/binary, (suggest(Text, Names))/binary>>, Term)
            end;
        error -> violation(Path, Expected, Term)
    end.

-spec installed(topos_engine:name(), path()) -> result(topos_engine:name()).
installed(otp, _Path) ->
    %% Part of every Erlang: no look along the code path, which a simulation of many nodes would take for each.
    {ok, otp};
installed(Engine, Path) ->
    Available = topos_config_schema:available_engines(),
    case lists:member(Engine, Available) of
        true -> {ok, Engine};
        false -> violation(Path, <<"an engine that is installed here: ", (describe({one_of, Available}))/binary>>,
            Engine)
    end.

%% Printable and in one line, so that it can stand in a message, a log and a file.
-spec printable(term()) -> {ok, binary()} | error.
printable(Term) ->
    case text(Term) of
        {ok, Text} ->
            case re:run(Text, <<"^[^\\p{C}\\p{Zl}\\p{Zp}]*$">>, [unicode, ucp, dollar_endonly, {capture, none}]) of
                match -> {ok, Text};
                nomatch -> error
            end;
        error -> error
    end.

-spec pairs([{term(), term()}], path(), #{binary() => true}, [{binary(), term()}], [violation()]) ->
    result([{binary(), term()}]).
pairs([], _, _, Pairs, []) -> {ok, lists:reverse(Pairs)};
pairs([], _, _, _, [_ | _] = Violations) -> {error, lists:reverse(Violations)};
pairs([{Key, Value} | Rest], Path, Seen, Pairs, Violations) ->
    case text(Key) of
        {ok, Text} when is_map_key(Text, Seen) ->
            {error, [Violation]} = violation(Path, <<"each key once">>, Key),
            pairs(Rest, Path, Seen, Pairs, [Violation | Violations]);
        {ok, Text} ->
            pairs(Rest, Path, Seen#{Text => true}, [{Text, Value} | Pairs], Violations);
        error ->
            {error, [Violation]} = violation(Path, <<"keys that are atoms or texts">>, Key),
            pairs(Rest, Path, Seen, Pairs, [Violation | Violations])
    end.

-spec entries(term(), [{term(), term()}]) -> {ok, [{term(), term()}]} | error.
entries([{_, _} = Pair | Rest], Acc) -> entries(Rest, [Pair | Acc]);
entries([Atom | Rest], Acc) when is_atom(Atom) -> entries(Rest, [{Atom, true} | Acc]);
entries([], Acc) -> {ok, lists:reverse(Acc)};
entries(_, _) -> error.

-spec address({ok, inet:ip_address()} | error, {ok, inet:port_number()} | error) ->
    {ok, topos_engine:address()} | error.
address({ok, Ip}, {ok, Port}) -> {ok, {Ip, Port}};
address(_, _) -> error.

-spec ip(term()) -> {ok, inet:ip_address()} | error.
ip(Ip) when is_tuple(Ip) ->
    case is_ip(Ip) of
        true -> {ok, Ip};
        false -> error
    end;
ip(localhost) -> {ok, {127, 0, 0, 1}};
ip(Term) when is_atom(Term) -> error;
ip(Term) ->
    case text(Term) of
        {ok, <<"localhost">>} -> {ok, {127, 0, 0, 1}};
        {ok, Text} ->
            case inet:parse_strict_address(unicode:characters_to_list(Text)) of
                {ok, Ip} -> {ok, Ip};
                {error, einval} -> error
            end;
        error -> error
    end.

-spec is_ip(tuple()) -> boolean().
is_ip(Ip) ->
    Max = case tuple_size(Ip) of 4 -> 255; 8 -> 65_535; _ -> -1 end,
    lists:all(fun(Part) -> is_integer(Part) andalso Part >= 0 andalso Part =< Max end, tuple_to_list(Ip)) andalso
        Max > 0.

-spec port(term()) -> {ok, inet:port_number()} | error.
port(Term) ->
    case integer(Term) of
        {ok, Port} when Port >= 0, Port =< 65_535 -> {ok, Port};
        _ -> error
    end.

-spec is_ascii(term()) -> boolean().
is_ascii([Char | Rest]) when is_integer(Char), Char >= 32, Char =< 126 -> is_ascii(Rest);
is_ascii([]) -> true;
is_ascii(_) -> false.

-spec addresses(term(), [topos_engine:address()]) -> {ok, [topos_engine:address()]} | error.
addresses([Term | Rest], Acc) ->
    case address(Term) of
        {ok, Address} -> addresses(Rest, [Address | lists:delete(Address, Acc)]);
        error -> error
    end;
addresses([], Acc) -> {ok, lists:reverse(Acc)};
addresses(_, _) -> error.

-spec node_names(path(), term()) -> result([node(), ...]).
node_names(Path, Terms) when is_list(Terms), Terms =/= [], length(Terms) =< ?MAX_NAMES ->
    Names = [node_name(Term) || Term <- Terms],
    Nodes = [Node || {ok, Node} <- Names],
    case lists:member(error, Names) orelse lists:usort(Nodes) =/= lists:sort(Nodes) of
        true -> violation(Path, describe(node_names), Terms);
        false -> {ok, Nodes}
    end;
node_names(Path, Term) ->
    violation(Path, describe(node_names), Term).

-spec contacts(path(), term()) -> result(#{node() => [topos_engine:address()]}).
contacts(Path, Term) ->
    case contact_entries(Term) of
        {ok, Entries} ->
            {Contacts, Violations} = lists:foldl(
                fun(Entry, {Acc, Bad}) ->
                    case topos_node_spec:parse_peer(Entry) of
                        {ok, #{node := Node}} when is_map_key(Node, Acc) ->
                            {error, New} = violation(Path, <<"each node once">>, Node),
                            {Acc, New ++ Bad};
                        {ok, #{node := Node, addresses := Addresses}} ->
                            {Acc#{Node => Addresses}, Bad};
                        error ->
                            {error, New} = violation(Path, describe(contacts), Entry),
                            {Acc, New ++ Bad}
                    end
                end,
                {#{}, []},
                Entries
            ),
            case Violations of
                [] -> {ok, Contacts};
                [_ | _] -> {error, lists:reverse(Violations)}
            end;
        error -> violation(Path, describe(contacts), Term)
    end.

-spec contact_entries(term()) -> {ok, [term()]} | error.
contact_entries(Map) when is_map(Map) -> {ok, maps:to_list(Map)};
contact_entries([]) -> {ok, []};
contact_entries(Term) ->
    case is_list(Term) andalso not is_ascii(Term) of
        true -> proper(Term);
        false -> {ok, [Term]}
    end.

-spec proper(nonempty_maybe_improper_list()) -> {ok, [term()]} | error.
proper(List) ->
    try length(List) of
        _ -> {ok, List}
    catch
        error:badarg -> error
    end.

-spec metadata(path(), term()) -> result(#{binary() => binary()}).
metadata(Path, Term) ->
    case pairs(Path, Term) of
        {ok, Pairs} when length(Pairs) > ?MAX_METADATA -> violation(Path, describe(metadata), length(Pairs));
        {ok, Pairs} ->
            Bad = [
                #{path => <<Path/binary, ".", Key/binary>>, expected => describe({text, 0, ?MAX_METADATA_VALUE}),
                    got => Value}
             || {Key, Value} <- Pairs, metadata_value(Value) =:= error
            ],
            BadKeys = [
                #{path => Path, expected => <<"names that are ", (describe({text, 1, 255}))/binary>>, got => Key}
             || {Key, _} <- Pairs, metadata_key(Key) =:= error
            ],
            case BadKeys ++ Bad of
                [] -> {ok, maps:from_list([{Key, element(2, metadata_value(Value))} || {Key, Value} <- Pairs])};
                [_ | _] = Violations -> {error, Violations}
            end;
        Error -> Error
    end.

-spec metadata_key(binary()) -> {ok, binary()} | error.
metadata_key(Key) when Key =/= <<>>, byte_size(Key) =< 255 -> printable(Key);
metadata_key(_) -> error.

-spec metadata_value(term()) -> {ok, binary()} | error.
metadata_value(Value) ->
    case text(Value) of
        {ok, Text} when byte_size(Text) =< ?MAX_METADATA_VALUE -> {ok, Text};
        _ -> error
    end.

-spec file(path(), term()) -> result(file:filename()).
file(Path, Term) ->
    case is_atom(Term) orelse printable(Term) of
        {ok, <<_, _/binary>> = Text} ->
            case file:open(Text, [read, raw]) of
                {ok, File} ->
                    ok = file:close(File),
                    {ok, unicode:characters_to_list(Text)};
                {error, Reason} ->
                    violation(Path, describe(file), format("~ts: ~ts", [Text, file:format_error(Reason)]))
            end;
        _ -> violation(Path, describe(file), Term)
    end.

%% Edit distance with transpositions of neighbours (optimal string alignment), two rows back at most.
-spec distance(string(), string()) -> non_neg_integer().
distance(From, To) ->
    First = lists:seq(0, length(To)),
    distance(From, none, To, First, none, 1).

-spec distance(string(), char() | none, string(), [non_neg_integer()], [non_neg_integer()] | none, pos_integer()) ->
    non_neg_integer().
distance([], _, _, Row, _, _) -> lists:last(Row);
distance([Char | Rest], Before, To, Row, RowBefore, Index) ->
    Next = distance_row(Char, Before, none, To, Row, [none | before(RowBefore, Row)], Index, [Index]),
    distance(Rest, Char, To, Next, Row, Index + 1).

-spec before([non_neg_integer()] | none, [non_neg_integer()]) -> [non_neg_integer() | none].
before(none, Row) -> [none || _ <- Row];
before(RowBefore, _) -> RowBefore.

-spec distance_row(char(), char() | none, char() | none, string(), [non_neg_integer()], [non_neg_integer() | none],
                   non_neg_integer(), [non_neg_integer()]) -> [non_neg_integer()].
distance_row(_, _, _, [], _, _, _, Acc) -> lists:reverse(Acc);
distance_row(Char, Before, ToBefore, [To | Rest], [Diagonal, Above | Row], [Swap | Swaps], Left, Acc) ->
    Cost = case Char =:= To of true -> 0; false -> 1 end,
    Plain = lists:min([Left + 1, Above + 1, Diagonal + Cost]),
    Best =
        case Before =:= To andalso ToBefore =:= Char andalso is_integer(Swap) of
            true -> min(Plain, Swap + 1);
            false -> Plain
        end,
    distance_row(Char, Before, To, Rest, [Above | Row], Swaps, Best, [Best | Acc]).
