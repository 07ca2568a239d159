%% Laws of the configuration parser.
-module(prop_topos_config).
-include_lib("proper/include/proper.hrl").

-export([prop_any_term_is_parsed_or_refused/0, prop_any_value_is_parsed_or_refused/0,
    prop_print_then_parse_is_identity/0,
         prop_node_spec_of_any_term/0]).

%% No term makes the parser fail, and a refusal can be shown to people.
prop_any_term_is_parsed_or_refused() ->
    ?FORALL(Term, hostile(), answers(topos_config:parse(Term))).

%% The same for any value under a key that exists.
prop_any_value_is_parsed_or_refused() ->
    Keys = [Key || #{key := Key} <- topos_config_schema:fields()],
    ?FORALL(
        {Key, Form, Value},
        {oneof(Keys), oneof([atom, text, string]), hostile()},
        answers(topos_config:parse([{node, 'n@h'}, {spell(Form, Key), Value}]))
    ).

prop_node_spec_of_any_term() ->
    ?FORALL(Term, hostile(), answers(topos_node_spec:parse(Term))).

prop_print_then_parse_is_identity() ->
    ?FORALL(
        Source,
        source(),
        begin
            {ok, Config} = topos_config:parse(Source),
            File = filename:join(os:getenv("TMPDIR", "/tmp"), "topos_config_" ++ os:getpid() ++ ".config"),
            ok = file:write_file(File, unicode:characters_to_binary(topos_config:print(Config))),
            Again = topos_config:from_file(File),
            ok = file:delete(File),
            ?WHENFAIL(io:format("~tp~n=>~n~tp~n", [Config, Again]), Again =:= {ok, Config})
        end
    ).

answers({ok, Value}) when is_map(Value) -> true;
answers({error, {invalid_config, #{count := Count, violations := [_ | _] = Violations}} = Error}) ->
    Shown = unicode:characters_to_binary(topos_error:format(Error)),
    is_binary(Shown) andalso Count >= length(Violations) andalso
        lists:all(fun(#{path := P, expected := E, got := _}) -> is_binary(P) andalso is_binary(E) end, Violations).

spell(atom, Key) -> Key;
spell(text, Key) -> atom_to_binary(Key);
spell(string, Key) -> atom_to_list(Key).

hostile() ->
    ?SIZED(Size, hostile(Size)).

%% Not proper's any(): it makes a new atom for each of its atoms.
hostile(0) ->
    oneof([integer(), float(), binary(), bitstring(), <<255, 254>>, -1, 0, 1.5, 1 bsl 70, [], "", self(), make_ref(),
        [a | b], [$a, -1],
           "127.0.0.1:99999", "::1", "[::1]:1", "a@b", {{1, 2, 3, 4}, 5}, {{1, 2}, 3}, #{}, undefined,
               fun() -> ok end]);
hostile(Size) ->
    Smaller = hostile(Size div 3),
    Key = oneof([node, listen, <<"channels">>, "tls", limits, data, parallelism, ip, port, 7, self(), <<255>>]),
    oneof([
        hostile(0),
        list(Smaller),
        list({Key, Smaller}),
        ?LET(Pairs, list({Key, Smaller}), maps:from_list(Pairs)),
        ?LET({Head, Tail}, {Smaller, Smaller}, [Head | Tail])
    ]).

source() ->
    ?LET(
        Optional,
        [
            {cluster, word()},
            {engine, oneof(topos_config_schema:available_engines())},
            {cookie, word()},
            {listen, ?LET(Many, non_empty(list({oneof([{127, 0, 0, 1}, {0, 0, 0, 0, 0, 0, 0, 1}]), range(0, 65535)})),
                          lists:sublist(Many, 16))},
            {channels, dictionary(channel_name(), record([{parallelism, range(1, 2)}, {compression, boolean()}]))},
            {compression, boolean()},
            {metadata, dictionary(word(), utf8(8))},
            {contacts, dictionary(peer(), list({{10, 0, range(0, 255), 1}, range(1, 65535)}))},
            {fault_detection, record([{echo_interval, range(10, 100)}, {suspect_after, range(200, 300)},
                {down_after, range(301, 400)}])},
            {insecure, boolean()},
            {limits, record([{max_new_atoms, range(0, 1000)}, {max_inbox_messages, range(1, 1000)}])}
        ],
        ?LET(Kept, sublist(Optional), maps:from_list([{node, 'self@host'} | Kept]))
    ).

dictionary(Key, Value) -> ?LET(Pairs, list({Key, Value}), maps:from_list(Pairs)).

%% PropEr does not look for generators in maps.
record(Fields) -> ?LET(Pairs, Fields, maps:from_list(Pairs)).

sublist(List) ->
    ?LET(Choices, vector(length(List), boolean()), [Item || {Item, true} <- lists:zip(List, Choices)]).

word() -> ?LET(Word, non_empty(list(oneof([range($a, $z), $\s, 252, 8364, 128512]))),
               unicode:characters_to_binary(lists:sublist(Word, 12))).
channel_name() -> oneof([data, bulk, state_sync, orders, prices, chat]).
peer() -> oneof(['a@127.0.0.1', 'b@host', 'c-1@some.host']).
