%% Actors and supervisors of compiled programs.
-module(topos_actor_tests).

-include_lib("eunit/include/eunit.hrl").

process() ->
    {ok, Process} = topos_effect_process:init([[], vm], #{}),
    Process.

%% An actor that answers questions with what was told last; `crash' ends it.
echo(Process) ->
    topos_effect_process:spawn(Process, fun(ok, Ev) ->
        topos_effect_process:serve(Process, fun
            (crash, E) when E =:= Ev -> exit(crashed);
            ({ask, Reply}, _) -> topos_effect_process:reply(Process, Reply, get(told));
            ({tell, Value}, _) -> put(told, Value)
        end)
    end).

ask(Process, Pid, Timeout) -> topos_effect_process:ask(Process, Pid, fun(Reply, _) -> {ask, Reply} end, Timeout).

an_actor_is_a_gen_server_test() ->
    Process = process(),
    Pid = echo(Process),
    ok = topos_effect_process:send(Process, Pid, {tell, 1}),
    ?assertEqual({some, 1}, ask(Process, Pid, topos_await:patience())),
    ok = gen_server:cast(Pid, {'$topos', {tell, 2}}),
    ?assertEqual({some, 2}, ask(Process, Pid, topos_await:patience())),
    ?assertMatch({error, {no_such_call, #{request := hello}}}, gen_server:call(Pid, hello)),
    Pid ! noise,
    ?assertMatch({status, Pid, _, _}, sys:get_status(Pid)),
    ok = topos_effect_process:stop(Process, Pid),
    ?assertNot(is_process_alive(Pid)),
    ?assertEqual(none, ask(Process, Pid, topos_await:patience())).

a_late_answer_is_dropped_test() ->
    Process = process(),
    Self = self(),
    Pid = topos_effect_process:spawn(Process, fun(ok, _) ->
        topos_effect_process:serve(Process, fun({ask, Reply}, _) -> Self ! Reply end)
    end),
    ?assertEqual(none, ask(Process, Pid, 10)),
    Reply = receive R when is_reference(R) -> R end,
    ok = topos_effect_process:reply(Process, Reply, late),
    ok = topos_effect_process:stop(Process, Pid),
    ?assertEqual([], element(2, process_info(self(), messages))).

finally_runs_when_an_actor_is_stopped_test() ->
    Process = process(),
    Self = self(),
    Pid = topos_effect_process:spawn(Process, fun(ok, _) ->
        Serve = fun(_) -> topos_effect_process:serve(Process, fun(ping, _) -> Self ! pong end) end,
        topos_scope:run(false, fun(Scope) -> Scope end, none, Serve, fun(_) -> Self ! finally end)
    end),
    ok = topos_effect_process:send(Process, Pid, ping),
    receive pong -> ok end,
    ok = topos_effect_process:stop(Process, Pid),
    ?assertEqual(finally, receive finally -> finally after 0 -> never end).

an_abort_leaves_the_loop_test() ->
    Process = process(),
    Self = self(),
    Pid = topos_effect_process:spawn(Process, fun(ok, _) ->
        Serve = fun(Scope) ->
            topos_effect_process:serve(Process, fun(_, _) -> topos_scope:abort(Scope, left) end)
        end,
        Self ! {self(), topos_scope:run(false, fun(Scope) -> Scope end, none, Serve, none)}
    end),
    ok = topos_effect_process:send(Process, Pid, go),
    ?assertEqual(left, receive {Pid, Value} -> Value after topos_await:patience() -> timeout end).

restarts_test_() ->
    [
        {atom_to_list(Strategy), fun() -> restarted(Strategy, Expected) end}
     || {Strategy, Expected} <- [{one_for_one, [2]}, {one_for_all, [1, 2, 3]}, {rest_for_one, [2, 3]}]
    ].

%% Which of three children are started again when the second one crashes.
restarted(Strategy, Expected) ->
    ok = logger:set_primary_config(level, none),
    Process = process(),
    Self = self(),
    Supervisor = topos_effect_process:start_supervisor(Process, Strategy, 3, 5000),
    Start = fun(N) ->
        fun(ok, _) ->
            Pid = echo(Process),
            Self ! {started, N, Pid},
            Pid
        end
    end,
    [ok = topos_effect_process:start_child(Process, Supervisor, integer_to_binary(N), permanent, Start(N)) || N <- [1, 2, 3]],
    ?assertEqual(3, topos_effect_process:count_children(Process, Supervisor)),
    [_, Second, _] = [receive {started, N, Pid} -> Pid end || N <- [1, 2, 3]],
    Monitor = monitor(process, Second),
    true = exit(Second, kill),
    receive {'DOWN', Monitor, process, _, _} -> ok end,
    [receive {started, N, _} -> ok end || N <- Expected],
    %% A call that is answered: the restart is complete.
    ?assertEqual(3, topos_effect_process:count_children(Process, Supervisor)),
    ?assertEqual(none, receive {started, N, _} -> N after 0 -> none end),
    ok = topos_effect_process:stop_supervisor(Process, Supervisor),
    ?assertNot(is_process_alive(Supervisor)),
    ok = logger:set_primary_config(level, notice).

a_child_that_cannot_start_is_an_error_test() ->
    ok = logger:set_primary_config(level, none),
    Process = process(),
    Supervisor = topos_effect_process:start_supervisor(Process, one_for_one, 3, 5000),
    Start = fun(ok, _) -> error(oops) end,
    ?assertError(
        {child_not_started, #{id := <<"1">>}},
        topos_effect_process:start_child(Process, Supervisor, <<"1">>, permanent, Start)
    ),
    ok = topos_effect_process:stop_supervisor(Process, Supervisor),
    ok = logger:set_primary_config(level, notice).
