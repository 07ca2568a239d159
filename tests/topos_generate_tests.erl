-module(topos_generate_tests).

-include_lib("eunit/include/eunit.hrl").

%% Every kind of descriptor that `forall' accepts.
descriptors() ->
    Tree = {recursive, <<"T">>, {variant, [{leaf, []}, {node, [{reference, <<"T">>}, int, {reference, <<"T">>}]}]}},
    [int, float, text, bool, unit, {list, int}, {tuple, [int, text]}, {map, text, {list, bool}},
     {record, [{name, text}, {size, float}]}, {variant, [{none, []}, {some, [int]}]}, Tree, {list, Tree},
     {recursive, <<"R">>, {variant, [{rose, [int, {list, {reference, <<"R">>}}]}]}}].

made(Descriptor) ->
    Make = fun(Size, R) -> topos_generate:value(Descriptor, Size, R) end,
    {Values, _} = lists:mapfoldl(Make, rand:seed_s(exsss, 42), [N rem 21 || N <- lists:seq(0, 60)]),
    Values.

%% What is made is of the type, and so is everything smaller: the run time's own check says so.
values_are_of_their_type_test_() ->
    [{timeout, 60, fun() ->
        [begin
             Value = topos_rt:check(D, Value, <<"a generated value">>),
             [Smaller = topos_rt:check(D, Smaller, <<"a smaller value">>) || Smaller <- topos_generate:smaller(D, Value)]
         end || Value <- made(D)]
    end} || D <- descriptors()].

%% Whatever is chosen, making smaller comes to an end: each candidate weighs less than the value.
shrinking_ends_test_() ->
    [{timeout, 60, fun() ->
        [?assert(weight(D, Smaller, #{}) < weight(D, Value, #{}))
         || Value <- made(D), Smaller <- topos_generate:smaller(D, Value)]
    end} || D <- descriptors()].

weight(int, N, _) when N < 0 -> 1 - 2 * N;
weight(int, N, _) -> 2 * N;
weight(float, F, _) -> abs(F);
weight(text, Text, _) -> lists:sum([case C of $a -> 1; _ -> 2 end || <<C/utf8>> <= Text]);
weight(bool, Value, _) -> case Value of true -> 1; false -> 0 end;
weight(unit, ok, _) -> 0;
weight({list, D}, List, Scope) -> lists:sum([1 + weight(D, E, Scope) || E <- List]);
weight({tuple, Ds}, Tuple, Scope) -> all(Ds, tuple_to_list(Tuple), Scope);
weight({map, K, V}, Map, Scope) -> weight({list, {tuple, [K, V]}}, maps:to_list(Map), Scope);
weight({record, Fields}, Record, Scope) -> lists:sum([weight(D, maps:get(Name, Record), Scope) || {Name, D} <- Fields]);
weight({variant, Constructors}, Value, Scope) ->
    [Constructor | Values] = case Value of _ when is_atom(Value) -> [Value]; _ -> tuple_to_list(Value) end,
    {Before, [{Constructor, Ds} | _]} = lists:splitwith(fun({C, _}) -> C =/= Constructor end, Constructors),
    length(Before) + length(Values) + all(Ds, Values, Scope);
weight({recursive, Name, Inner} = D, Value, Scope) -> weight(Inner, Value, Scope#{Name => D});
weight({reference, Name}, Value, Scope) -> weight(maps:get(Name, Scope), Value, Scope).

all(Ds, Values, Scope) -> lists:sum([weight(D, V, Scope) || {D, V} <- lists:zip(Ds, Values)]).

the_same_seed_makes_the_same_test() ->
    [?assertEqual(made(D), made(D)) || D <- descriptors()].

all_constructors_are_made_test() ->
    Made = made({variant, [{red, []}, {green, []}, {blue, [int]}]}),
    ?assert(lists:member(red, Made) andalso lists:member(green, Made)),
    ?assert(lists:any(fun is_tuple/1, Made)).

a_type_without_finite_values_is_refused_test() ->
    Endless = {recursive, <<"E">>, {variant, [{more, [{reference, <<"E">>}]}]}},
    ?assertError({topos_test, no_value}, topos_generate:value(Endless, 5, rand:seed_s(exsss, 1))).
