%% Simulations of programs written in Erlang: a main function calls the root handlers as compiled code does.
-module(topos_sim_tests).

-include_lib("eunit/include/eunit.hrl").

-import(topos_simulated, [simulate/2, simulate/3, lines/3, process/0, distributed/0, say/2, spawned/1, meet/1, sent/2,
    received/0, now_ms/0]).

%% Determinism

two_who_count() ->
    Count = fun(Name) -> fun() -> [say("~s ~b", [Name, N]) || N <- lists:seq(1, 10)] end end,
    [spawned(Count(Name)) || Name <- ["a", "b", "c"]],
    topos_sim_process:sleep(process(), 10).

the_same_seed_gives_the_same_run_test_() -> {timeout, 60, fun the_same_seed_gives_the_same_run/0}.

the_same_seed_gives_the_same_run() ->
    Run = fun(Seed) -> simulate(3, #{seed => Seed, loss => 0.2, trace => true}, fun() -> chatter() end) end,
    {{exit, 0}, Told} = Run(7),
    ?assert(length(Told) > 30),
    ?assertEqual({{exit, 0}, Told}, Run(7)),
    ?assertNotEqual({{exit, 0}, Told}, Run(8)).

%% Everybody greets everybody at a time drawn by lot, and tells what comes when.
chatter() ->
    Name = meet(2),
    topos_sim_process:sleep(process(), topos_effect_random:int(random, 1, 50)),
    [sent(Node, {Name, N}) || N <- lists:seq(1, 3), Node <- topos_sim_distributed:members(distributed())],
    [say("~p at ~b", [received(), now_ms()]) || _ <- lists:seq(1, 6)].

different_seeds_give_different_interleavings_test_() ->
    {timeout, 60, fun different_seeds_give_different_interleavings/0}.

different_seeds_give_different_interleavings() ->
    Orders = [lines(1, #{seed => Seed}, fun two_who_count/0) || Seed <- lists:seq(1, 20)],
    ?assertEqual(20, length(lists:usort(Orders))),
    %% Each keeps its own order.
    [?assertEqual([<<"a ", (integer_to_binary(N))/binary>> || N <- lists:seq(1, 10)],
        [L || {1, <<"a", _/binary>> = L} <- Order])
     || Order <- Orders].

time_is_virtual_test() ->
    {Micros, Lines} = timer:tc(fun() ->
        lines(1, #{}, fun() ->
            Before = now_ms(),
            topos_sim_process:sleep(process(), 300_000),
            say("~b", [now_ms() - Before])
        end)
    end),
    ?assertMatch([{1, <<"300000">>}], Lines),
    ?assert(Micros < 60_000_000).

%% A read and an assignment of a shared variable are two steps: some seed puts another process between them.
a_race_is_found_by_some_seed_test_() -> {timeout, 60, fun a_race_is_found_by_some_seed/0}.

a_race_is_found_by_some_seed() ->
    Race = fun() ->
        topos_scope:run(true, fun(Scope) -> topos_scope:cell(Scope, 0) end, none, fun(Cell) ->
            Add = fun() -> N = topos_scope:get(Cell), topos_scope:put(Cell, N + 1) end,
            Promises = [topos_sim_promise:start(Add) || _ <- [1, 2]],
            [topos_sim_promise:wait(P, infinity) || P <- Promises],
            say("~b", [topos_scope:get(Cell)])
        end, none)
    end,
    ?assertEqual([[{1, <<"1">>}], [{1, <<"2">>}]],
        lists:usort([lines(1, #{seed => Seed}, Race) || Seed <- lists:seq(1, 30)])).

an_update_is_one_step_test_() -> {timeout, 60, fun an_update_is_one_step/0}.

an_update_is_one_step() ->
    Safe = fun() ->
        topos_scope:run(true, fun(Scope) -> topos_scope:cell(Scope, 0) end, none, fun(Cell) ->
            Add = fun() ->
                topos_scope:update(Cell, fun() ->
                    N = topos_scope:get(Cell),
                    topos_sim_process:sleep(process(), 1),
                    N + 1
                end)
            end,
            Promises = [topos_sim_promise:start(Add) || _ <- [1, 2, 3]],
            [topos_sim_promise:wait(P, infinity) || P <- Promises],
            say("~b", [topos_scope:get(Cell)])
        end, none)
    end,
    [?assertEqual([{1, <<"3">>}], lines(1, #{seed => Seed}, Safe)) || Seed <- lists:seq(1, 30)].

%% Processes

a_question_is_answered_or_not_test() ->
    P = fun() -> process() end,
    [{1, <<"{{some,42},none,none}">>}] = lines(1, #{}, fun() ->
        Ask = fun(Pid, Timeout) -> topos_sim_process:ask(P(), Pid, fun(Reply, _) ->
            {double, Reply, 21} end, Timeout) end,
        Server = spawned(fun() ->
            topos_sim_process:serve(P(), fun({double, Reply, N}, _) -> topos_sim_process:reply(P(), Reply, 2 * N) end)
        end),
        Answered = Ask(Server, 1000),
        ok = topos_sim_process:stop(P(), Server),
        Late = Ask(spawned(fun() -> topos_sim_process:sleep(P(), 10_000) end), 5),
        say("~w", [{Answered, Ask(Server, 1000), Late}])
    end).

a_server_ends_between_two_messages_test() ->
    [{1, <<"done with 1">>}, {1, <<"finally">>}, {1, <<"stopped">>}] = lines(1, #{}, fun() ->
        P = process(),
        Server = spawned(fun() ->
            try
                topos_sim_process:serve(P, fun(N, _) ->
                    topos_sim_process:sleep(P, 100),
                    say("done with ~b", [N])
                end)
            after
                say("finally", [])
            end
        end),
        [topos_sim_process:send(P, Server, N) || N <- [1, 2]],
        topos_sim_process:sleep(P, 10),
        ok = topos_sim_process:stop(P, Server),
        say("stopped", [])
    end).

ends_are_seen_test() ->
    {{exit, 0}, Told} = simulate(1, fun() ->
        P = process(),
        {_, Good} = topos_sim_process:spawn_monitor(P, fun(ok, _) -> ok end),
        {_, Bad} = topos_sim_process:spawn_monitor(P, fun(ok, _) ->
            error(topos_error:new(bad_exit_status, #{status => 7})) end),
        Ended = spawned(fun() -> ok end),
        topos_sim_process:sleep(P, 1),
        Gone = topos_sim_process:monitor(P, Ended),
        _ = topos_sim_process:notify_end(P, spawned(fun() -> ok end), fun(Exit, _) -> {told, Exit} end),
        Ends = [topos_sim_process:await_end(P, M, 100) || M <- [Good, Bad, Gone]],
        say("~p ~p ~p", [element(1, element(2, lists:nth(2, Ends))), [E || {some, E} <- Ends, is_atom(E)],
            topos_sim_process:'receive'(P)])
    end),
    ?assertMatch([{1, err, <<"error[TP1066]", _/binary>>}, {1, err, _} | _], Told),
    ?assertEqual([<<"failed [finished,gone] {told,finished}">>], [L || {1, out, L} <- Told]).

a_selective_receive_keeps_the_others_test() ->
    [{1, <<"{some,third} none first {some,second}">>}] = lines(1, #{}, fun() ->
        P = process(),
        [topos_sim_process:send(P, self(), M) || M <- [first, second, third]],
        Third = topos_sim_process:select(P, fun(M, _) -> case M of third -> {some, M}; _ -> none end end, none),
        None = topos_sim_process:select(P, fun(_, _) -> none end, {some, 50}),
        First = topos_sim_process:'receive'(P),
        say("~w ~w ~w ~w", [Third, None, First, topos_sim_process:receive_within(P, 0)])
    end).

a_process_of_another_node_is_none_here_test() ->
    Lines = lines(2, #{}, fun() ->
        case meet(1) of
            <<"seed">> ->
                {error, #{code := <<"TP1079">>}} = sent('node2@127.0.0.1', self()),
                %% Its number crosses: only Erlang code makes a process of it.
                {ok, ok} = sent('node2@127.0.0.1', pid_to_list(self())),
                topos_sim_process:sleep(process(), 100);
            <<"node2">> ->
                Pid = list_to_pid(received()),
                try topos_sim_process:send(process(), Pid, hello) catch error:{foreign_process, _} ->
                    say("refused", []) end
        end
    end),
    ?assertEqual([{2, <<"refused">>}], Lines).

promises_end_with_their_owner_test() ->
    [{1, <<"7">>}, {1, <<"late">>}, {1, <<"ended">>}, {1, <<"not alive">>}] = lines(1, #{}, fun() ->
        P = process(),
        Seven = topos_sim_promise:start(fun() -> topos_sim_process:sleep(P, 5), 7 end),
        say("~b", [topos_sim_process:await(P, Seven)]),
        Never = topos_sim_promise:start(),
        none = topos_sim_process:await_within(P, Never, 20),
        say("late", []),
        Me = self(),
        _ = spawned(fun() -> topos_sim_process:send(P, Me, topos_sim_promise:start(fun() ->
            topos_sim_process:send(P, Me, self()), topos_sim_process:sleep(P, 99) end)),
                topos_sim_process:sleep(P, 10) end),
        Got = [topos_sim_process:'receive'(P), topos_sim_process:'receive'(P)],
        [Worker] = [W || W <- Got, is_pid(W)],
        [Promise] = [Pr || Pr <- Got, not is_pid(Pr)],
        try topos_sim_promise:wait(Promise, infinity) catch error:{promise_ended, _} -> say("ended", []) end,
        case topos_sim_process:is_alive(P, Worker) of false -> say("not alive", []); true -> say("alive", []) end
    end).

%% Supervisors

children(Strategy, Restart) ->
    fun() ->
        P = process(),
        Me = self(),
        Sup = topos_sim_process:start_supervisor(P, Strategy, 2, 5_000),
        Child = fun(Name) ->
            fun(ok, _Ev) ->
                topos_sim_process:spawn(P, fun(ok, _) ->
                    topos_sim_process:send(P, Me, {Name, self()}),
                    topos_sim_process:'receive'(P) =:= die andalso error(topos_error:new(bad_exit_status,
                        #{status => 1}))
                end)
            end
        end,
        [topos_sim_process:start_child(P, Sup, Name, Restart, Child(Name)) || Name <- [<<"a">>, <<"b">>, <<"c">>]],
        Pids = maps:from_list([topos_sim_process:'receive'(P) || _ <- [1, 2, 3]]),
        topos_sim_process:send(P, maps:get(<<"b">>, Pids), die),
        topos_sim_process:sleep(P, 10),
        say("~s of ~b", [lists:sort(again(P)), topos_sim_process:count_children(P, Sup)]),
        ok = topos_sim_process:stop_supervisor(P, Sup),
        say("~w", [[topos_sim_process:is_alive(P, Pid) || Pid <- [Sup | maps:values(Pids)]]])
    end.

again(P) ->
    case topos_sim_process:receive_within(P, 0) of
        {some, {Name, _}} -> [Name | again(P)];
        none -> []
    end.

supervisors_start_again_what_their_strategy_says_test_() ->
    [
        {atom_to_list(Strategy) ++ " " ++ atom_to_list(Restart), fun() ->
            ?assertEqual([{1, Restarted}, {1, <<"[false,false,false,false]">>}],
                lines(1, #{seed => Seed}, children(Strategy, Restart)))
        end}
     || {Strategy, Restart, Restarted} <- [
            {one_for_one, permanent, <<"b of 3">>}, {one_for_all, permanent, <<"abc of 3">>},
                {rest_for_one, permanent, <<"bc of 3">>},
            {one_for_one, transient, <<"b of 3">>}, {one_for_one, temporary, <<" of 2">>}
        ], Seed <- [1, 2, 3]
    ].

a_supervisor_gives_up_test() ->
    {{exit, 0}, Told} = simulate(1, fun() ->
        P = process(),
        Sup = topos_sim_process:start_supervisor(P, one_for_one, 3, 1_000),
        Me = self(),
        topos_sim_process:start_child(P, Sup, <<"x">>, permanent, fun(ok, _) ->
            topos_sim_process:spawn(P, fun(ok, _) ->
                topos_sim_process:send(P, Me, started), topos_sim_process:sleep(P, 1), error(badarith) end)
        end),
        Monitor = topos_sim_process:monitor(P, Sup),
        say("~w", [topos_sim_process:await_end(P, Monitor, 60_000)]),
        say("~b starts", [length(starts(P))])
    end),
    ?assertEqual([<<"{some,finished}">>, <<"4 starts">>], [L || {1, out, L} <- Told]).

starts(P) ->
    case topos_sim_process:receive_within(P, 0) of
        {some, started} -> [started | starts(P)];
        none -> []
    end.

pools_start_workers_test() ->
    [{1, <<"[42,44] 0">>}] = lines(1, #{}, fun() ->
        P = process(),
        Me = self(),
        Pool = topos_sim_process:start_pool(P, temporary, 1, 1_000, fun(N, _) ->
            topos_sim_process:spawn(P, fun(ok, _) -> topos_sim_process:send(P, Me, 2 * N) end)
        end),
        [topos_sim_process:start_worker(P, Pool, N) || N <- [21, 22]],
        Got = lists:sort([topos_sim_process:'receive'(P) || _ <- [1, 2]]),
        topos_sim_process:sleep(P, 1),
        say("~w ~b", [Got, topos_sim_process:count_workers(P, Pool)])
    end).

%% The end of a run

deadlock_names_who_waits_test() ->
    {{failed, Error}, _} = simulate(2, fun() ->
        case meet(1) of
            <<"seed">> -> received();
            _ -> topos_sim_process:'receive'(process())
        end
    end),
    Message = unicode:characters_to_binary(topos_error:message(Error)),
    ?assertEqual(<<"TP1083">>, topos_error:code(Error)),
    ?assertMatch({_, _}, binary:match(Message, <<"seed: main waits in Distributed.recv since">>)),
    ?assertMatch({_, _}, binary:match(Message, <<"node2: main waits in Process.receive since">>)).

limits_end_a_run_test_() ->
    Forever = fun() -> (fun Again() -> topos_sim_process:sleep(process(), 1_000), Again() end)() end,
    Busy = fun() -> (fun Again() -> _ = now_ms(), Again() end)() end,
    Flood = fun() -> (fun Again() -> topos_sim_process:send(process(), self(), x), Again() end)() end,
    [
        {What, fun() ->
            {{failed, Error}, _} = simulate(1, Options, Main),
            ?assertEqual(<<"TP1084">>, topos_error:code(Error)),
            ?assertMatch({_, _}, binary:match(unicode:characters_to_binary(topos_error:message(Error)),
                list_to_binary(What)))
        end}
     || {What, Options, Main} <- [
            {"time: 5000 ms", #{max_time => 5_000}, Forever}, {"steps: 1000", #{max_steps => 1_000}, Busy},
            {"messages in a mailbox: 100", #{max_mailbox => 100}, Flood}
        ]
    ].

%% A program that looks at the clock until it has moved ends.
time_moves_while_a_process_is_busy_test() ->
    Wait = fun() -> Until = now_ms() + 5, (fun Again() -> now_ms() >= Until orelse Again() end)(), say("there", []) end,
    ?assertEqual([{1, <<"there">>}], lines(1, #{}, Wait)).

a_calculation_without_end_is_found_test() ->
    {ok, _} = topos_effect:install(topos_sim:handlers([], vm)),
    World = topos_sim_nodes:start(fun() ->
        (fun Again() -> Again() end)() end, topos_sim_world:new(topos_sim_options:defaults())),
    {Outcome, _} = topos_sim_scheduler:run(World, 50),
    ok = topos_effect:uninstall(),
    ?assertMatch({failed, {simulation_stuck, #{timeout := 50}}}, Outcome).

the_first_status_that_is_not_0_is_that_of_the_run_test() ->
    {{exit, 3}, Told} = simulate(2, fun() ->
        case topos_sim_distributed:node_name(distributed()) of
            <<"seed">> -> topos_sim_process:sleep(process(), 1_000);
            <<"node2">> -> topos_sim_process:exit(process(), 3)
        end
    end),
    ?assertMatch([{remark, err, <<"node2 ended with exit status 3; stopping the others">>}], Told),
    {{exit, 1}, [{1, err, <<"error[TP1061]: a calculation", _/binary>>} | _]} = simulate(1, fun() ->
        error(badarith) end),
    {{exit, 1}, [{1, err, <<"why">>}]} = simulate(1, fun() -> topos_sim_process:fail(process(), <<"why">>) end).

%% What is simulated

%% A new operation of a root handler needs one here, or it is refused with its name.
every_operation_is_simulated_test() ->
    Simulated = maps:from_list([{Effect, Module} || {Effect, Module, _} <- topos_sim:handlers([], vm)]),
    Helpers = #{topos_effect_distributed => [configuration, outcome, on_channel, send_options, value, item, topology,
        shown_topology,
                                              wait, run],
                topos_effect_channel => [given]},
    [
        begin
            Module = maps:get(Effect, Simulated),
            Operations = [O || {Name, _} = O <- Real:module_info(exports), Name =/= module_info,
                               not lists:member(Name, maps:get(Real, Helpers, []))],
            ?assertEqual([], Operations -- Module:module_info(exports))
        end
     || {Effect, Real} <- topos_effect:effects()
    ].

what_is_not_simulated_is_named_test() ->
    {{exit, 1}, [{1, err, Line} | _]} = simulate(1, fun() -> topos_sim_channel:teleport(channel, now) end),
    ?assertEqual(<<"error[TP1082]: the simulation cannot do this: Channel.teleport">>,
        hd(binary:split(Line, <<"\n">>))).

effects_of_processes_that_erlang_started_are_refused_test() ->
    {ok, _} = topos_effect:install(topos_sim:handlers([], vm)),
    ?assertError({not_simulated, _}, topos_sim_time:now(time)),
    ok = topos_effect:uninstall().

operations_of_a_simulation_are_errors_on_real_nodes_test() ->
    {error, Text} = topos_effect_runner:partition([], [[<<"seed">>]]),
    ?assertMatch(<<"error[TP1087]: only a simulation can do this: Runner.partition", _/binary>>, Text).

options_are_read_test() ->
    #{names := [<<"seed">>, <<"node2">>], delay := {5, 9}, loss := 0.25, max_time := 7, trace := true, seeds := {3, 9},
        nemesis := Faults} =
        topos_sim_options:parse(["nodes=2", "delay=5..9", "loss=0.25", "max_time=7", "trace=true", "seeds=3..9",
                                 "nemesis=wait,10;crash,0.5,;crash,seed,20;partition,node2+seed,30;loss,1,40"]),
    ?assertEqual([{wait, 10}, {crash, {share, 0.5}, none}, {crash, {nodes, [<<"seed">>]}, 20},
                  {partition, {nodes, [<<"node2">>, <<"seed">>]}, 30}, {loss, 1.0, 40}], Faults).
