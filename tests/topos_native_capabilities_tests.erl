%% The table of what Partisan's own managers can do is whole: a row for each function of the API, and reasons for what is less than `yes'.
-module(topos_native_capabilities_tests).

-include_lib("eunit/include/eunit.hrl").

-export([markdown/0]).

every_function_of_the_api_has_a_row_test_() ->
    [
        {atom_to_list(Module), ?_assertEqual(functions(Module), lists:sort([F || {M, F} <- topos_native_capabilities:operations(), M =:= Module]))}
     || Module <- [topos_partisan, topos_channel, topos_topology, topos_process]
    ].

every_operation_has_one_row_test() ->
    Operations = topos_native_capabilities:operations(),
    ?assertEqual([], Operations -- lists:usort(Operations)),
    ?assertEqual([topos_channel, topos_inbox, topos_partisan, topos_process, topos_request, topos_topology], lists:usort([M || {M, _} <- Operations])).

every_row_has_an_answer_for_each_manager_test_() ->
    [
        ?_assert(is_answer(topos_native_capabilities:lookup(Manager, Operation)))
     || Manager <- topos_native_capabilities:managers(), Operation <- topos_native_capabilities:operations()
    ].

%% The documentation shows this table.
the_table_is_documented_test() ->
    {ok, Text} = file:read_file(topos_house_tests:root() ++ "/docs/overlays.md"),
    [_, Rest] = binary:split(Text, <<"tests/topos_native_capabilities_tests.erl -->\n">>),
    [Table, _] = binary:split(Rest, <<"<!-- end -->">>),
    ?assertEqual(unicode:characters_to_binary(markdown()), Table).

%% Operations with the same answers share a row.
markdown() ->
    Managers = topos_native_capabilities:managers(),
    Rows = [{[topos_native_capabilities:lookup(Manager, Operation) || Manager <- Managers], Operation}
            || Operation <- topos_native_capabilities:operations()],
    Answers = lists:foldl(fun({Answer, _}, Seen) -> Seen ++ [Answer || not lists:member(Answer, Seen)] end, [], Rows),
    [
        "|", [[" | ", cell(Manager)] || Manager <- Managers], " |\n|---", ["|---" || _ <- Managers], "|\n",
        [
            ["| ", lists:join(", ", [operation(Operation) || {A, Operation} <- Rows, A =:= Answer]), [[" | ", cell(One)] || One <- shared(Answer)], " |\n"]
         || Answer <- Answers
        ]
    ].

%% The same for all is said once.
shared([Same, Same, Same]) when Same =/= yes -> [Same, same, same];
shared(Answer) -> Answer.

operation({Module, Function}) -> ["`", atom_to_list(Module), ":", atom_to_list(Function), "`"].

cell(same) -> "the same";
cell(Atom) when is_atom(Atom) -> atom_to_list(Atom);
cell({Degree, Why}) -> [atom_to_list(Degree), ": ", Why].

modules_and_names_test() ->
    [?assertEqual(Manager, topos_native_capabilities:name(topos_native_capabilities:module(Manager)))
     || Manager <- topos_native_capabilities:managers()],
    ?assertEqual(partisan_static_peer_service_manager, topos_native_capabilities:name(partisan_static_peer_service_manager)).

%% Without a node, and on one of the bridge.
without_a_native_node_test() ->
    ?assertMatch({error, {not_started, _}}, topos_topology:capabilities()),
    ?assertMatch({error, {not_started, _}}, topos_topology:supported(topos_partisan, spawn)),
    ?assertMatch({error, {not_started, _}}, topos_partisan:send('a@127.0.0.1', sink, m)),
    ?assertMatch({error, {not_started, _}}, topos_process:self()).

is_answer(yes) -> true;
is_answer({Degree, Why}) -> lists:member(Degree, [limited, no]) andalso is_binary(Why) andalso byte_size(Why) > 10.

%% Not the callbacks of behaviours, and what other modules of the bridge call.
functions(Module) ->
    lists:usort([F || {F, _} <- Module:module_info(exports)])
        -- [module_info, started, serve, handle_request, deliver].
