%% Calls of tests on virtual nodes, and nodes whose inbox is full.
-module(topos_sim_calls_tests).

-include_lib("eunit/include/eunit.hrl").

-import(topos_simulated, [simulate/2, simulate/3, process/0, distributed/0, say/2, meet/2, config/0, sent/2, received/0,
    event/1, runner/2]).

-define(NODE2, 'node2@127.0.0.1').

a_call_runs_on_its_node_test() ->
    [
        begin
            Told = test(2, #{seed => Seed}, fun() ->
                %% Some seed has the second node start later than the first one calls it.
                say("~s", [called(<<"node2">>, fun() -> topos_sim_distributed:node_name(distributed()) end)]),
                say("~s", [called(<<"seed">>, fun() -> topos_sim_distributed:node_name(distributed()) end)]),
                called(<<"node2">>, fun() -> say("here", []) end)
            end),
            ?assertEqual([{1, <<"node2">>}, {1, <<"seed">>}, {2, <<"here">>}], Told)
        end
     || Seed <- lists:seq(1, 20)
    ].

what_fails_there_fails_here_test() ->
    Told = test(2, #{}, fun() ->
        Fails = fun(Name, Body) ->
            try
                called(Name, Body)
            catch
                error:{topos_test_failed, #{about := About}} -> say("~s", [hd(About)]);
                error:Error -> say("~s", [topos_error:reason(Error)])
            end
        end,
        Fails(<<"node2">>, fun() -> erlang:error(topos_error:new(not_started, #{})) end),
        Fails(<<"node2">>, fun() -> topos_test:fail(<<"no">>) end),
        Fails(<<"node2">>, fun() -> erlang:exit(odd) end),
        Fails(<<"node2">>, fun() -> self() end),
        Fails(<<"node9">>, fun() -> ok end),
        Fails(<<"node2">>, fun() -> runner(kill, [<<"node2">>]) end),
        Fails(<<"node2">>, fun() -> ok end)
    end),
    ?assertEqual([<<"not_started">>, <<"on node2">>, <<"call_failed">>, <<"stays_here">>, <<"unknown_contact">>,
        <<"node_ended">>, <<"node_ended">>], [Line || {1, Line} <- Told]).

a_node_outlives_the_call_that_started_it_test() ->
    Told = test(2, #{}, fun() ->
        meet(0, config()),
        "node2" = called(<<"node2">>, fun() -> binary_to_list(meet(1, config())) end),
        topos_sim_runner:await_members([], 1),
        {ok, ok} = sent(?NODE2, hello),
        say("~p", [called(<<"node2">>, fun() -> received() end)]),
        %% The first node runs the test and cannot be ended.
        {error, <<"seed runs the tests">>} = runner(kill, [<<"seed">>]),
        {ok, ok} = runner(kill, [<<"node2">>]),
        {node_down, ?NODE2} = event(node_down),
        {ok, ok} = runner(start, [<<"node2">>]),
        say("~p", [catch_reason(fun() -> called(<<"node2">>, fun() -> received() end) end)])
    end),
    ?assertEqual([{1, <<"hello">>}, {1, <<"not_started">>}], Told).

who_awaits_members_goes_on_when_they_are_up_test() ->
    Told = test(3, #{}, fun() ->
        meet(0, config()),
        [called(Name, fun join/0) || Name <- [<<"node2">>, <<"node3">>]],
        [called(Name, fun() -> topos_sim_runner:await_members([], 2) end) || Name <- [<<"seed">>, <<"node2">>,
            <<"node3">>]],
        {timeout, _} = catch_error(fun() -> topos_sim_runner:await_members([], 3) end),
        say("~b", [length(topos_sim_distributed:members(distributed()))])
    end),
    ?assertEqual([{1, <<"2">>}], Told).

%% What waits for calls is not stuck itself.
a_test_that_is_stuck_says_where_test() ->
    {{failed, {simulation_deadlock, #{waiting := Waiting}}}, _} = simulate(3, #{tests => true}, fun() ->
        called(<<"node2">>, fun() -> topos_sim_process:'receive'(process()) end)
    end),
    ?assertMatch([<<"seed: the test waits in Runner.on_node since ", _/binary>>,
        <<"  node2: a call of the test waits in Process.receive since ", _/binary>>],
        binary:split(Waiting, <<"\n">>, [global])).

the_node_of_the_test_is_spared_by_the_nemesis_test() ->
    Told = test(2, #{nemesis => [{crash, {share, 0.99}, none}]}, fun() ->
        topos_sim_process:sleep(process(), 100),
        say("~p", [catch_reason(fun() -> called(<<"node2">>, fun() -> ok end) end)])
    end),
    ?assertEqual([{1, <<"node_ended">>}], Told).

programs_are_called_by_nobody_test() ->
    {{exit, 0}, Told} = simulate(1, fun() -> say("~p", [catch_reason(fun() -> called(<<"seed">>, fun() -> ok end) end)]) end),
    ?assertEqual([{1, out, <<"no_serving_nodes">>}], Told).

a_full_inbox_refuses_messages_and_their_sender_learns_it_test() ->
    Small = (config())#{inbox_size => 2},
    Told = test(2, #{}, fun() ->
        meet(0, Small),
        called(<<"node2">>, fun() -> meet(1, Small) end),
        topos_sim_runner:await_members([], 1),
        [{ok, ok} = sent(?NODE2, N) || N <- [1, 2, 3]],
        {undeliverable, ?NODE2, #{code := Late}} = event(undeliverable),
        Options = #{channel => <<>>, key => none, wait => 0, acknowledged => true},
        {error, #{code := Waited}} = topos_sim_distributed:send_with(distributed(), ?NODE2, 4, Options),
        Own = topos_sim_distributed:self(distributed()),
        {error, #{code := AtOnce}} = lists:last([sent(Own, N) || N <- [1, 2, 3]]),
        say("~s ~s ~s", [Late, Waited, AtOnce]),
        say("~p", [called(<<"node2">>, fun() -> [received(), received()] end)]),
        {ok, ok} = sent(?NODE2, 5),
        say("~p", [called(<<"node2">>, fun() -> received() end)])
    end),
    ?assertEqual([{1, <<"TP1070 TP1070 TP1070">>}, {1, <<"[1,2]">>}, {1, <<"5">>}], Told).

%% internal

%% Runs a test on so many nodes. Answers the lines that nodes wrote.
test(Nodes, Options, Test) ->
    {{exit, 0}, Told} = simulate(Nodes, Options#{tests => true}, fun() -> Test(), {main, 0} end),
    [{From, Line} || {From, out, Line} <- Told].

join() ->
    {ok, ok} = topos_sim_distributed:init(distributed(), config()),
    {ok, ok} = topos_sim_distributed:join_cluster(distributed(), <<"seed@127.0.0.1">>, <<"test">>).

called(Name, Body) -> topos_sim_runner:on_node([], Name, fun(ok, _Ev) -> Body() end).

catch_error(Body) ->
    try Body() catch error:Error -> Error end.

catch_reason(Body) ->
    {Reason, _} = catch_error(Body),
    Reason.
