-module(topos_rt_tests).

-include_lib("eunit/include/eunit.hrl").

apply_fits_partial_and_over_test_() ->
    Ev = #{'E' => {m, 1}},
    Add = fun(A, B, C, E) -> {A + B + C, E} end,
    Nested = fun(A, _) -> fun(B, C, E) -> {A, B, C, E} end end,
    [
        ?_assertEqual({6, Ev}, topos_rt:apply(Add, [1, 2, 3], Ev)),
        ?_assertEqual({6, Ev}, (topos_rt:apply(Add, [1, 2], #{}))(3, Ev)),
        ?_assertEqual({6, Ev}, (topos_rt:apply(Add, [1], #{}))(2, 3, Ev)),
        ?_assertEqual({6, Ev}, topos_rt:apply(topos_rt:apply(topos_rt:apply(Add, [1], #{}), [2], #{}), [3], Ev)),
        ?_assertEqual({1, 2, 3, Ev}, topos_rt:apply(Nested, [1, 2, 3], Ev)),
        ?_assertEqual({1, 2, 3, Ev}, (topos_rt:apply(Nested, [1, 2], #{}))(3, Ev))
    ].

%% For every arity and every number of given arguments, in two steps or three.
apply_of_every_arity_test() ->
    [begin
         Fun = collector(Arity),
         All = lists:seq(1, Arity),
         {First, Rest} = lists:split(Given, All),
         ?assertEqual({All, ev}, topos_rt:apply(topos_rt:apply(Fun, First, #{}), Rest, ev))
     end
     || Arity <- lists:seq(2, 15), Given <- lists:seq(1, Arity - 1)].

%% A fun of that many parameters and the evidence, made without topos_rt.
collector(Arity) ->
    Vars = [{var, 1, list_to_atom("V" ++ integer_to_list(N))} || N <- lists:seq(1, Arity)],
    List = lists:foldr(fun(V, Tail) -> {cons, 1, V, Tail} end, {nil, 1}, Vars),
    Ev = {var, 1, 'Ev'},
    {value, Fun, _} = erl_eval:expr(
        {'fun', 1, {clauses, [{clause, 1, Vars ++ [Ev], [], [{tuple, 1, [List, Ev]}]}]}}, []),
    Fun.

too_many_missing_arguments_are_refused_test() ->
    ?assertError({too_many_missing, #{missing := 16, limit := 15}}, topos_rt:apply(collector(17), [1], #{})).

capture_prefers_the_evidence_of_the_performer_test_() ->
    Own = #{'A' => own, 'B' => own},
    Caller = #{'B' => caller, 'C' => caller},
    Both = #{'A' => own, 'B' => own, 'C' => caller},
    [
        ?_assertEqual({ok, Both}, (topos_rt:capture(fun(X, E) -> {X, E} end, Own))(ok, Caller)),
        ?_assertEqual({1, 2, Both}, (topos_rt:capture(fun(X, Y, E) -> {X, Y, E} end, Own))(1, 2, Caller)),
        ?_assertEqual({[1, 2, 3, 4], Both}, (topos_rt:capture(collector(4), Own))(1, 2, 3, 4, Caller)),
        ?_assertEqual(<<"no function">>, topos_rt:capture(<<"no function">>, Own))
    ].

check_accepts_what_fits_test_() ->
    Tree = {recursive, <<"Tree">>,
            {variant, [{leaf, []}, {node, [{reference, <<"Tree">>}, int, {reference, <<"Tree">>}]}]}},
    [?_assertEqual(V, topos_rt:check(D, V, <<"x">>)) || {D, V} <- [
        {any, make_ref()}, {int, 1 bsl 100}, {float, 0.0}, {text, <<"ż"/utf8>>}, {text, <<>>}, {bool, true}, {unit, ok},
        {atom, 'a@b'}, {pid, self()}, {function, fun() -> ok end},
        {{list, int}, []}, {{list, int}, [1, 2]}, {{list, any}, [a]}, {{tuple, [int, text]}, {1, <<"a">>}},
        {{map, text, int}, #{<<"a">> => 1}}, {{map, any, any}, #{}}, {{record, [{a, int}]}, #{a => 1}}, {{record, []}, #{}},
        {{variant, [{none, []}, {some, [int]}]}, none}, {{variant, [{none, []}, {some, [int]}]}, {some, 1}},
        {Tree, {node, {node, leaf, 1, leaf}, 2, leaf}}
    ]].

check_names_the_place_test_() ->
    Rows = {list, {record, [{name, text}, {sizes, {map, text, {list, int}}}]}},
    Tree = {recursive, <<"Tree">>, {variant, [{leaf, []}, {node, [{reference, <<"Tree">>}]}]}},
    [?_assertEqual({Expected, Path}, mismatch(D, V)) || {D, V, Expected, Path} <- [
        {int, 1.0, <<"Int">>, <<"x">>},
        {text, <<255>>, <<"Text (UTF-8)">>, <<"x">>},
        {text, "list", <<"Text">>, <<"x">>},
        {bool, ok, <<"Bool">>, <<"x">>},
        {{list, int}, [1, 2 | 3], <<"[Int]">>, <<"x">>},
        {{list, any}, [1 | 2], <<"[anything]">>, <<"x">>},
        {{tuple, [int, int]}, {1, 2, 3}, <<"(Int, Int)">>, <<"x">>},
        {Rows, [#{name => <<"a">>, sizes => #{<<"s">> => [1, a]}}], <<"Int">>, <<"x[0].sizes[<<\"s\">>][1]">>},
        {Rows, [#{name => <<"a">>, sizes => #{s => []}}], <<"Text">>, <<"x[0].sizes (a key)">>},
        {Rows, [#{name => <<"a">>}], <<"{name: Text, sizes: Map (Text) ([Int])}">>, <<"x[0]">>},
        {{record, [{a, int}]}, #{a => 1, b => 2}, <<"{a: Int}">>, <<"x">>},
        {{variant, [{none, []}, {some, [int]}]}, {some}, <<"None | Some(Int)">>, <<"x">>},
        {{variant, [{none, []}, {some, [int]}]}, {none, 1}, <<"None | Some(Int)">>, <<"x">>},
        {Tree, {node, {node, stump}}, <<"Leaf | Node(Tree)">>, <<"x.Node.1.Node.1">>}
    ]].

mismatch(Descriptor, Value) ->
    try topos_rt:check(Descriptor, Value, <<"x">>) of
        Accepted -> {accepted, Accepted}
    catch
        error:{type_mismatch, #{expected := <<"a ", Expected/binary>>, path := Path, got := Got}} when is_binary(Got) ->
            {Expected, Path};
        error:{type_mismatch, #{expected := Expected, path := Path, got := Got}} when is_binary(Got) -> {Expected, Path}
    end.

a_mismatch_shows_a_bounded_part_of_the_value_test() ->
    try topos_rt:check(int, lists:seq(1, 100000), <<"x">>)
    catch error:{type_mismatch, #{got := Got}} -> ?assert(byte_size(Got) < 1000)
    end.

show_test_() ->
    [?_assertEqual(unicode:characters_to_binary(Text), topos_rt:show(V)) || {V, Text} <- [
        {<<"plain ż"/utf8>>, "plain ż"}, {1, "1"}, {-1 bsl 70, "-1180591620717411303424"}, {1.0, "1.0"}, {0.1, "0.1"},
        {true, "true"}, {ok, "()"}, {none, "None"}, {{some, <<"a\n\"">>}, "Some(\"a\\n\\\"\")"}, {{ok, 1}, "Ok(1)"},
        {{error, {node_down, 'a@b'}}, "Error(NodeDown(a@b))"}, {{1, true}, "(1, true)"}, {{true, 1}, "(true, 1)"},
        {{'a@b', 1}, "(a@b, 1)"}, {[], "[]"}, {[1, [2]], "[1, [2]]"}, {#{b => 1, a => <<"x">>}, "{a = \"x\", b = 1}"},
        {#{}, "{}"}, {#{1 => <<"x">>}, "Map {1: \"x\"}"}, {fun() -> ok end, "<function>"}, {<<255>>, "<<255>>"}
    ]].

show_of_a_pid_is_one_text_test() -> ?assertEqual(list_to_binary(pid_to_list(self())), topos_rt:show(self())).

errors_are_shown_for_people_test_() ->
    Stack = [{'Shop', '-main/1-fun-0-', 2, [{file, "Shop.topos"}, {line, 7}]}, {lists, map, 2, [{file, "lists.erl"}, {line, 1}]}],
    Shown = fun(Class, Reason, S) -> unicode:characters_to_binary(topos_rt:format_error(Class, Reason, S)) end,
    [
        ?_assertMatch(<<"error[TP1066]: 300 is no exit status\n  help: ", _/binary>>,
                      Shown(error, topos_error:new(bad_exit_status, #{status => 300}), [])),
        ?_assertEqual(<<"the program ended with the Erlang error badarg\n  at Shop.topos:7 in Shop.main">>,
                      Shown(error, badarg, Stack)),
        ?_assertEqual(<<"the program ended with the Erlang exit {a,#{}}">>, Shown(exit, {a, #{}}, [])),
        ?_assertEqual(<<"the program ended with the Erlang error {unheard_of,#{}}">>, Shown(error, {unheard_of, #{}}, [])),
        ?_assertMatch(<<"error[TP1061]", _/binary>>, Shown(error, badarith, []))
    ].
