%% Selective receive: what is passed over waits, in its order.
-module(topos_mailbox_tests).

-include_lib("eunit/include/eunit.hrl").

messages_that_are_passed_over_keep_their_order_test() ->
    in_process(fun() ->
        lists:foreach(fun tell/1, [a, 1, b, 2, c]),
        ?assertEqual({some, 1}, select(fun is_integer/1, 0)),
        ?assert(topos_mailbox:is_waiting()),
        tell(3),
        ?assertEqual({some, 2}, select(fun is_integer/1, 0)),
        ?assertEqual(none, select(fun is_tuple/1, 0)),
        ?assertEqual([a, b, c, 3], [topos_mailbox:next() || _ <- lists:seq(1, 4)]),
        ?assertEqual(none, topos_mailbox:next(0)),
        ?assertNot(topos_mailbox:is_waiting())
    end).

a_message_on_which_the_choice_fails_is_not_lost_test() ->
    in_process(fun() ->
        lists:foreach(fun tell/1, [a, 0, b]),
        ?assertError(badarith, topos_mailbox:select(fun(M) when is_integer(M) -> {some, 1 div M}; (_) -> none end, 0)),
        ?assertEqual([a, 0, b], [topos_mailbox:next() || _ <- lists:seq(1, 3)])
    end).

what_is_no_message_of_a_program_stays_where_it_is_test() ->
    in_process(fun() ->
        self() ! {foreign, 1},
        tell(1),
        ?assertEqual({some, 1}, select(fun is_integer/1, infinity)),
        ?assertEqual({foreign, 1}, receive Foreign -> Foreign end)
    end).

a_receive_waits_for_what_comes_later_test() ->
    in_process(fun() ->
        Me = self(),
        tell(a),
        _ = spawn_link(fun() -> Me ! {'$topos', 7} end),
        ?assertEqual({some, 7}, select(fun is_integer/1, topos_await:patience())),
        ?assertEqual(a, topos_mailbox:next())
    end).

%% A receive whose arms match nothing that comes would collect messages without a bound.
too_many_messages_that_nobody_takes_test() ->
    Before = application:get_env(topos_partisan, max_set_aside_messages),
    ok = application:set_env(topos_partisan, max_set_aside_messages, 3),
    try
        in_process(fun() ->
            lists:foreach(fun tell/1, [a, b]),
            ?assertEqual(none, select(fun is_integer/1, 0)),
            lists:foreach(fun tell/1, [c, 1, d, e]),
            ?assertEqual({some, 1}, select(fun is_integer/1, 0)),
            ?assertError({mailbox_full, #{limit := 3}}, select(fun is_integer/1, 0)),
            %% None is lost, for who catches the failure.
            ?assertEqual([a, b, c, d, e], [topos_mailbox:next() || _ <- lists:seq(1, 5)])
        end)
    after
        case Before of
            undefined -> application:unset_env(topos_partisan, max_set_aside_messages);
            {ok, Max} -> application:set_env(topos_partisan, max_set_aside_messages, Max)
        end
    end.

the_end_of_a_process_is_a_message_test() ->
    in_process(fun() ->
        Watched = spawn(fun() -> receive stop -> exit(topos_mailbox:failed(["wr", "ong"])) end end),
        _ = topos_mailbox:notify_end(Watched, fun(Exit) -> {ended, Exit} end),
        Watched ! stop,
        ?assertEqual({ended, {failed, <<"wrong">>}}, topos_mailbox:next()),
        _ = topos_mailbox:notify_end(Watched, fun(Exit) -> {ended, Exit} end),
        ?assertEqual({ended, gone}, topos_mailbox:next())
    end).

an_actor_handles_what_an_arm_passed_over_test() ->
    Test = self(),
    Actor = proc_lib:spawn(fun() ->
        topos_actor:serve(fun
            (collect) -> Test ! {collected, select(fun is_integer/1, topos_await:patience())};
            (Message) -> Test ! {handled, Message}
        end)
    end),
    lists:foreach(fun(M) -> Actor ! {'$topos', M} end, [collect, a, b, 1, c]),
    ?assertEqual([{collected, {some, 1}}, {handled, a}, {handled, b}, {handled, c}], [next_answer() || _ <- lists:seq(1, 4)]),
    ok = topos_actor:stop(Actor).

%% internal

tell(Message) -> self() ! {'$topos', Message}.

select(Test, Timeout) ->
    Choose = fun(Message) ->
        case Test(Message) of
            true -> {some, Message};
            false -> none
        end
    end,
    topos_mailbox:select(Choose, Timeout).

next_answer() ->
    receive
        {Kind, _} = Answer when Kind =:= collected; Kind =:= handled -> Answer
    after topos_await:patience() -> timeout
    end.

%% A mailbox of its own.
in_process(Test) ->
    {Pid, Monitor} = spawn_monitor(Test),
    receive
        {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason)
    end.
