%% @doc What may cross to another node inside of a function.
-module(topos_portable_tests).

-include_lib("eunit/include/eunit.hrl").

%% A handler written in Erlang, which says whether it may cross.
-export([portable/1]).

portable({crosses, _}) -> true;
portable({stays, _}) -> false.

data_crosses_test() ->
    Values = [1, 1.5, <<"text">>, [], ok, node(), {some, 1}, #{a => [{1}]}, [1 | 2], fun lists:map/2,
        {topos_remote, 'a@b', 1, <<"1.0">>}],
    lists:foreach(fun(Value) -> ?assertEqual(ok, topos_portable:check(fun(ok, _) -> Value end)) end, [Values | Values]).

what_belongs_to_this_vm_stays_test() ->
    Self = self(),
    Inner = fun() -> Self end,
    Named = [{"process", Self}, {"port", hd(erlang:ports())}, {"reference", make_ref()}, {"reference", ets:new(t, [])},
        {"process", #{Self => 1}}, {"process", [1, {2, #{a => Self}}]}, {"process", [1 | Self]}, {"process", Inner},
        {"process", topos_rt:apply(fun(_, _, _) -> ok end, [Self], #{})}],
    lists:foreach(
        fun({Kind, Value}) ->
            {error, {stays_here, #{value := Shown}} = Error} = topos_portable:check(fun(ok, _) -> Value end),
            ?assertMatch({0, _}, binary:match(Shown, list_to_binary(["the ", Kind, $\s]))),
            ?assertEqual(<<"TP1079">>, topos_error:code(Error))
        end, Named).

%% References of a simulation hold a process, and cross all the same.
who_calls_may_let_tuples_cross_test() ->
    Self = self(),
    Reference = {reference, Self},
    Is = fun(Tuple) -> element(1, Tuple) =:= reference end,
    ?assertEqual(ok, topos_portable:check(fun(ok, _) -> [Reference] end, Is)),
    ?assertMatch({error, {stays_here, _}}, topos_portable:check(fun(ok, _) -> {other, [Reference], Self} end, Is)).

tied_functions_test() ->
    Root = topos_effect:root(),
    %% As the compiler makes it of a handler in Topos: its instance begins with its scope.
    InTopos = {{{self(), make_ref()}, #{}}, fun(_, _) -> ok end},
    Check = fun(Arity, Ev) ->
        Fun = case Arity of 1 -> fun(_, _) -> ok end; 2 -> fun(_, _, _) -> ok end; 3 -> fun(_, _, _, _) -> ok end end,
        Tied = topos_rt:capture(Fun, Ev),
        topos_portable:check(fun(ok, _) -> Tied end)
    end,
    lists:foreach(
        fun(Arity) ->
            ?assertEqual(ok, Check(Arity, Root)),
            %% Nothing that is spawned on another node may have such an effect.
            ?assertEqual(ok, Check(Arity, Root#{'Shop.Prices' => InTopos})),
            ?assertEqual(ok, Check(Arity, Root#{'Topos.IO.IO' := {?MODULE, {crosses, 1}}})),
            lists:foreach(
                fun(Handler) ->
                    ?assertEqual({error, {stays_here, #{value => <<"a handler of Topos.IO.IO">>}}},
                        Check(Arity, Root#{'Topos.IO.IO' := Handler}))
                end, [InTopos, {?MODULE, {stays, 1}}, {?MODULE, {crosses, self()}}])
        end, [1, 2, 3]).

%% A function that is tied again, and one that a tied function captured.
tied_functions_hide_nothing_test() ->
    Self = self(),
    Root = topos_effect:root(),
    Stays = Root#{'Topos.IO.IO' := {?MODULE, {stays, 1}}},
    Tied = fun(Fun, Ev) -> topos_rt:capture(Fun, Ev) end,
    lists:foreach(
        fun(Fun) -> ?assertMatch({error, {stays_here, _}}, topos_portable:check(fun(ok, _) -> Fun end)) end,
        [Tied(Tied(fun(_, _) -> ok end, Stays), Root), Tied(fun(_, _) -> Self end, Root),
         topos_rt:apply(Tied(fun(_, _, _) -> ok end, Stays), [1], #{})]).

%% What is tied still handles by the evidence it was tied to, and by the caller's where that has nothing.
tied_functions_are_called_with_both_evidences_test() ->
    Ev = #{a => tied, b => tied},
    Caller = #{b => caller, c => caller},
    Both = #{a => tied, b => tied, c => caller},
    ?assertEqual({1, Both}, (topos_rt:capture(fun(A, E) -> {A, E} end, Ev))(1, Caller)),
    ?assertEqual({1, 2, Both}, (topos_rt:capture(fun(A, B, E) -> {A, B, E} end, Ev))(1, 2, Caller)),
    ?assertEqual({1, 2, 3, Both}, (topos_rt:capture(fun(A, B, C, E) -> {A, B, C, E} end, Ev))(1, 2, 3, Caller)),
    ?assertEqual(no_function, topos_rt:capture(no_function, Ev)).
