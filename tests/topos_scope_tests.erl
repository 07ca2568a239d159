%% Handlers written in Topos at run time: cells, the lock, the end of a `with'.
-module(topos_scope_tests).

-include_lib("eunit/include/eunit.hrl").

-define(GONE, {handler_gone, _}).

%% Runs `Body' with a cell that holds `Value', local or shared.
with_cell(Shared, Value, Body) ->
    topos_scope:run(Shared, fun(Scope) -> {Scope, topos_scope:cell(Scope, Value)} end, none, Body, none).

each(Test) -> [{atom_to_list(Shared), fun() -> Test(Shared) end} || Shared <- [false, true]].

cells_test_() ->
    each(fun(Shared) ->
        with_cell(Shared, 1, fun({_, Cell}) ->
            ?assertEqual(1, topos_scope:get(Cell)),
            ok = topos_scope:put(Cell, undefined),
            ?assertEqual(undefined, topos_scope:get(Cell)),
            ok = topos_scope:put(Cell, 5),
            ok = topos_scope:update(Cell, fun() -> topos_scope:get(Cell) * 2 end),
            ?assertEqual(10, topos_scope:get(Cell))
        end)
    end).

after_the_with_a_cell_is_gone_test_() ->
    each(fun(Shared) ->
        {Scope, Cell} = with_cell(Shared, 1, fun(Both) -> Both end),
        ?assertError(?GONE, topos_scope:get(Cell)),
        ?assertError(?GONE, topos_scope:put(Cell, 2)),
        ?assertError(?GONE, topos_scope:update(Cell, fun() -> 2 end)),
        ?assertError(?GONE, topos_scope:atomic(Scope, fun() -> ok end)),
        ?assertError(?GONE, topos_scope:abort(Scope, 1))
    end).

nothing_is_left_in_the_process_test_() ->
    each(fun(Shared) ->
        Before = lists:sort(get()),
        ?assertError(oops, with_cell(Shared, 1, fun({_, Cell}) -> topos_scope:put(Cell, 2), error(oops) end)),
        ?assertEqual(Before, lists:sort(get()))
    end).

abort_leaves_the_with_and_finally_runs_once_test_() ->
    each(fun(Shared) ->
        Self = self(),
        Run = fun(Body) ->
            topos_scope:run(Shared, fun(Scope) -> Scope end, none, Body, fun(_) -> Self ! finally end)
        end,
        Finally = fun() -> receive finally -> receive finally -> twice after 0 -> once end after 0 -> never end end,
        ?assertEqual(7, Run(fun(Scope) -> topos_scope:abort(Scope, 7) end)),
        ?assertEqual(once, Finally()),
        ?assertThrow(other, Run(fun(_) -> throw(other) end)),
        ?assertEqual(once, Finally()),
        %% The inner `with' is passed over by an abort of the outer one, and cleaned up.
        ?assertEqual(1, Run(fun(Outer) -> Run(fun(_) -> topos_scope:abort(Outer, 1) end) end)),
        ?assertEqual(twice, Finally())
    end).

abort_in_another_process_is_an_error_test() ->
    Error = with_cell(true, 1, fun({Scope, _}) ->
        in_process(fun() -> try topos_scope:abort(Scope, 1) catch error:E -> E end end)
    end),
    ?assertMatch({abort_elsewhere, _}, Error).

updates_of_many_processes_are_not_lost_test_() ->
    {timeout, 60, fun() ->
        Total = with_cell(true, 0, fun({_, Cell}) ->
            Add = fun() -> topos_scope:update(Cell, fun() -> topos_scope:get(Cell) + 1 end) end,
            Monitors = [element(2, spawn_monitor(fun() -> [Add() || _ <- lists:seq(1, 200)] end)) || _ <- lists:seq(1, 10)],
            [receive {'DOWN', M, process, _, normal} -> ok end || M <- Monitors],
            topos_scope:get(Cell)
        end),
        ?assertEqual(2000, Total)
    end}.

an_atomic_block_is_seen_whole_or_not_at_all_test() ->
    Setup = fun(Scope) -> {Scope, topos_scope:cell(Scope, 0), topos_scope:cell(Scope, 0)} end,
    topos_scope:run(true, Setup, none, fun({Scope, A, B}) ->
        topos_scope:atomic(Scope, fun() ->
            ok = topos_scope:put(A, 1),
            ?assertEqual(1, topos_scope:get(A)),
            ?assertEqual(0, in_process(fun() -> topos_scope:get(A) end)),
            ok = topos_scope:update(B, fun() -> topos_scope:get(A) + 1 end)
        end),
        ?assertEqual({1, 2}, in_process(fun() -> {topos_scope:get(A), topos_scope:get(B)} end)),
        ?assertError(oops, topos_scope:atomic(Scope, fun() -> ok = topos_scope:put(A, 9), error(oops) end)),
        ?assertEqual(1, topos_scope:get(A))
    end, none).

a_local_atomic_block_that_fails_changes_nothing_test() ->
    with_cell(false, 1, fun({Scope, Cell}) ->
        ?assertError(oops, topos_scope:atomic(Scope, fun() -> ok = topos_scope:put(Cell, 9), error(oops) end)),
        ?assertEqual(1, topos_scope:get(Cell))
    end).

a_process_that_dies_with_the_lock_sets_it_free_test() ->
    with_cell(true, 1, fun({Scope, Cell}) ->
        Self = self(),
        {Pid, Monitor} = spawn_monitor(fun() ->
            topos_scope:atomic(Scope, fun() -> Self ! locked, receive never -> ok end end)
        end),
        receive locked -> ok end,
        {Waiter, Waits} = spawn_monitor(fun() -> ok = topos_scope:put(Cell, 2) end),
        true = exit(Pid, kill),
        receive {'DOWN', Monitor, process, Pid, killed} -> ok end,
        receive {'DOWN', Waits, process, Waiter, normal} -> ok end,
        ?assertEqual(2, topos_scope:get(Cell))
    end).

a_lock_that_does_not_come_is_a_timeout_test() ->
    ok = application:set_env(topos_partisan, state_lock_timeout, 20),
    try
        with_cell(true, 1, fun({Scope, Cell}) ->
            topos_scope:atomic(Scope, fun() ->
                Error = in_process(fun() -> try topos_scope:put(Cell, 2) catch error:E -> E end end),
                ?assertMatch({timeout, #{timeout := 20}}, Error)
            end),
            %% Who gave up is not waited for.
            ok = topos_scope:put(Cell, 3)
        end)
    after
        ok = application:unset_env(topos_partisan, state_lock_timeout)
    end.

what_init_starts_ends_with_the_with_test() ->
    {ok, Process} = topos_effect_process:init([[], vm], #{}),
    Self = self(),
    Body = fun(ok, _) -> Self ! {child, self()}, receive never -> ok end end,
    Init = fun(_) -> topos_effect_process:spawn(Process, Body) end,
    Monitor = topos_scope:run(true, fun(Scope) -> Scope end, Init, fun(_) ->
        receive {child, Pid} -> monitor(process, Pid) end
    end, none),
    ?assertEqual(shutdown, receive {'DOWN', Monitor, process, _, Reason} -> Reason end),
    ?assertEqual(undefined, topos_scope:owner()).

the_owner_ends_with_the_process_of_the_with_test() ->
    Self = self(),
    Tag = make_ref(),
    Pid = spawn(fun() ->
        with_cell(true, 1, fun({Scope, _}) -> Self ! {Tag, Scope}, receive never -> ok end end)
    end),
    Owner = receive {Tag, {_, _, O, _}} -> O end,
    Monitor = monitor(process, Owner),
    true = exit(Pid, kill),
    ?assertEqual(shutdown, receive {'DOWN', Monitor, process, _, Reason} -> Reason end).

%% What the function answers in a process of its own.
in_process(Fun) ->
    {_, Monitor} = spawn_monitor(fun() -> exit({answer, Fun()}) end),
    receive {'DOWN', Monitor, process, _, {answer, Answer}} -> Answer end.
