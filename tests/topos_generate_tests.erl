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
    {Values, _} = lists:mapfoldl(Make, rand:seed_s(exsss, 42), [N rem 41 || N <- lists:seq(0, 200)]),
    Values.

%% What is made is of the type, and so is everything smaller: the run time's own check says so.
values_are_of_their_type_test_() ->
    {timeout, 60, [fun() ->
        [begin
             Value = topos_rt:check(D, Value, <<"a generated value">>),
             [Smaller = topos_rt:check(D, Smaller, <<"a smaller value">>) || Smaller <- topos_generate:smaller(D, Value)]
         end || Value <- made(D)]
    end || D <- descriptors()]}.

%% However it is done, making smaller comes to an end, and never offers the value itself.
shrinking_ends_test_() ->
    {timeout, 60, [fun() ->
        [?assert(steps(D, Value, 0) < 5000) || Value <- lists:sublist(made(D), 1, 60)]
    end || D <- descriptors()]}.

steps(D, Value, Count) ->
    Smaller = topos_generate:smaller(D, Value),
    ?assertNot(lists:member(Value, Smaller)),
    case Smaller of
        [] -> Count;
        _ when Count > 5000 -> Count;
        %% The least helpful choice.
        _ -> steps(D, lists:last(Smaller), Count + 1)
    end.

the_same_seed_makes_the_same_test() ->
    [?assertEqual(made(D), made(D)) || D <- descriptors()].

all_constructors_are_made_test() ->
    Made = made({variant, [{red, []}, {green, []}, {blue, [int]}]}),
    ?assert(lists:member(red, Made) andalso lists:member(green, Made)),
    ?assert(lists:any(fun is_tuple/1, Made)).

a_type_without_finite_values_is_refused_test() ->
    Endless = {recursive, <<"E">>, {variant, [{more, [{reference, <<"E">>}]}]}},
    ?assertError({topos_test, no_value}, topos_generate:value(Endless, 5, rand:seed_s(exsss, 1))).
