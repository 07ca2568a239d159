%% Promises: one value for all who wait, and nothing left of them afterwards.
-module(topos_promise_tests).

-include_lib("eunit/include/eunit.hrl").

-define(LONG, (topos_await:patience())).

the_first_value_counts_test() ->
    Promise = topos_promise:start(),
    ?assertEqual(none, topos_promise:wait(Promise, 0)),
    Waiters = [spawn_monitor(fun() -> exit(topos_promise:wait(Promise, infinity)) end) || _ <- lists:seq(1, 3)],
    ok = topos_promise:fulfill(Promise, one),
    ok = topos_promise:fulfill(Promise, two),
    [?assertEqual({some, one}, reason(Waiter)) || Waiter <- Waiters],
    ?assertEqual({some, one}, topos_promise:wait(Promise, 0)),
    ok = topos_promise:cancel(Promise),
    ?assertError({promise_ended, _}, topos_promise:wait(Promise, 0)).

%% A wait that ended in time takes no message later.
no_message_comes_late_test() ->
    Promise = topos_promise:start(),
    ?assertEqual(none, topos_promise:wait(Promise, 1)),
    ok = topos_promise:fulfill(Promise, late),
    ?assertEqual({some, late}, topos_promise:wait(Promise, ?LONG)),
    ok = topos_promise:cancel(Promise),
    receive Message -> ?assertEqual(nothing, Message) after 0 -> ok end.

a_calculation_test() ->
    Promise = topos_promise:start(fun() -> 6 * 7 end),
    ?assertEqual({some, 42}, topos_promise:wait(Promise, ?LONG)),
    ok = topos_promise:cancel(Promise).

a_failure_is_the_waiters_test_() ->
    [
        {atom_to_list(Class), fun() ->
            Promise = topos_promise:start(fun() -> erlang:raise(Class, why, []) end),
            ?assertEqual({Class, why}, try topos_promise:wait(Promise, ?LONG) catch C:R -> {C, R} end),
            ok = topos_promise:cancel(Promise)
        end}
     || Class <- [error, exit, throw]
    ].

a_killed_calculation_is_a_failure_test() ->
    Self = self(),
    Promise = topos_promise:start(fun() -> Self ! {worker, self()}, wait_for_ever() end),
    Worker = receive {worker, Pid} -> Pid end,
    true = exit(Worker, kill),
    ?assertExit(killed, topos_promise:wait(Promise, ?LONG)),
    ok = topos_promise:cancel(Promise).

%% The calculation has ended when cancel returns.
cancel_ends_the_calculation_test() ->
    Self = self(),
    Promise = topos_promise:start(fun() -> Self ! {worker, self()}, wait_for_ever() end),
    Worker = receive {worker, Pid} -> Pid end,
    ok = topos_promise:cancel(Promise),
    ?assertNot(is_process_alive(Worker)),
    ?assertNot(is_process_alive(Promise)),
    ok = topos_promise:cancel(Promise).

%% However the owner ends.
nothing_outlives_the_owner_test_() ->
    [
        {atom_to_list(Reason), fun() ->
            Self = self(),
            {Owner, _} = Of = spawn_monitor(fun() ->
                Promise = topos_promise:start(fun() -> Self ! {worker, self()}, wait_for_ever() end),
                Self ! {promise, Promise},
                receive go -> exit(Reason) end
            end),
            Started = [receive {Tag, Pid} -> Pid end || Tag <- [worker, promise]],
            Monitors = [{Pid, monitor(process, Pid)} || Pid <- Started],
            _ = [Owner ! go || Reason =/= kill],
            _ = [exit(Owner, kill) || Reason =:= kill],
            _ = reason(Of),
            [_, _] = [reason(Monitor) || Monitor <- Monitors]
        end}
     || Reason <- [normal, shutdown, kill]
    ].

%% Failures that nobody was told are reported, others are not.
an_unseen_failure_is_reported_test() ->
    ok = meck:new(topos_effect, [passthrough]),
    try
        ok = meck:expect(topos_effect, report, fun(_, _, _) -> ok end),
        Seen = topos_promise:start(fun() -> error(seen) end),
        ?assertError(seen, topos_promise:wait(Seen, ?LONG)),
        ok = topos_promise:cancel(Seen),
        ?assertEqual(0, meck:num_calls(topos_effect, report, '_')),
        Self = self(),
        Unseen = topos_promise:start(fun() -> Self ! {worker, self()}, error(unseen) end),
        Worker = receive {worker, Pid} -> Pid end,
        _ = reason({Worker, monitor(process, Worker)}),
        ok = topos_promise:cancel(Unseen),
        ?assert(meck:called(topos_effect, report, [error, unseen, '_']))
    after
        ok = meck:unload(topos_effect)
    end.

wait_for_ever() -> receive after infinity -> ok end.

reason({Pid, Monitor}) ->
    receive {'DOWN', Monitor, process, Pid, Reason} -> Reason after ?LONG -> nothing end.
