%% The node of a program over an API that plays its part by a script: what is tested is who is told what, and when.
-module(topos_program_node_tests).

-include_lib("eunit/include/eunit.hrl").

-define(CONFIG, #{topology => full_mesh, channels => 1, compression => false, fault_detection => swim_detection,
                  engine => best, name => <<>>, cookie => <<>>, inbox_size => 100_000, insecure => false}).

distributed_test_() ->
    [{Title, fun() -> scripted(Test) end} || {Title, Test} <- [
        {"before init nothing is there", fun before_init/0},
        {"init starts the node once", fun init_once/0},
        {"an API error becomes a record of texts", fun errors_are_records/0},
        {"a cluster of another name restarts the node, the same name does not", fun enter_cluster/0},
        {"join asks the API with the contact's addresses", fun join/0},
        {"messages and events come in one order", fun events/0},
        {"a monitor fires exactly once", fun monitors/0},
        {"callbacks run once a transition, in their own process, with the handler's evidence", fun callbacks/0},
        {"every process receives, in the order in which they wait", fun every_process_receives/0},
        {"who waits ends with the node", fun receivers_end_with_the_node/0},
        {"the node ends with its owner", fun ends_with_its_owner/0},
        {"broadcast answers whom it did not reach", fun broadcast/0},
        {"messages take room in the node's inbox until somebody takes them", fun messages_take_room/0},
        {"events that nobody takes are counted when they are too many", fun too_many_events/0},
        {"the node ends when its inbox does", fun ends_with_its_inbox/0},
        {"one of Partisan's own managers has no events, and may not be able to leave", fun without_events/0}
    ]].

%% In the test's own process, which owns the node and the mocks.
scripted(Test) ->
    Table = mock(),
    try Test() after unmock(Table) end.

mock() ->
    Table = ets:new(script, [public]),
    ets:insert(Table, [{started, false}, {nodes, []}, {calls, []}, {restart, ok}, {max, 100}]),
    ok = meck:new(topos_partisan, [non_strict]),
    ok = meck:new(topos_node_spec, [non_strict]),
    ok = meck:new(topos_inbox, [non_strict]),
    meck:expect(topos_inbox, take_over, fun(Held) ->
        ets:insert(Table, {held, Held}),
        {ok, ets:lookup_element(Table, max, 2)}
    end),
    meck:expect(topos_inbox, taken, fun() -> _ = ets:update_counter(Table, held, -1), ok end),
    Inbox = spawn(fun() -> receive stop -> ok end end),
    true = register(topos_inbox, Inbox),
    meck:expect(topos_partisan, start, fun(Config) ->
        case Config of
            #{cluster := <<"refused">>} -> {error, topos_error:new(address_in_use, #{address => <<"x">>})};
            _ ->
                ets:insert(Table, [{started, true}, {cluster, maps:get(cluster, Config, <<"default">>)}]),
                {ok, here()}
        end
    end),
    meck:expect(topos_partisan, stop, fun() -> ets:insert(Table, {started, false}), ok end),
    meck:expect(topos_partisan, leave, fun() -> ok end),
    meck:expect(topos_partisan, node, fun() ->
        case ets:lookup_element(Table, started, 2) of
            true -> here();
            false -> {error, topos_error:new(not_started, #{})}
        end
    end),
    meck:expect(topos_partisan, cluster, fun() ->
        #{name => ets:lookup_element(Table, cluster, 2), node => here(), addresses => []}
    end),
    meck:expect(topos_partisan, nodes, fun() -> ets:lookup_element(Table, nodes, 2) end),
    meck:expect(topos_partisan, join, fun
        ('lost@127.0.0.1', _) -> {error, topos_error:new(unreachable, #{node => 'lost@127.0.0.1', timeout => 5})};
        (_, _) -> ok
    end),
    meck:expect(topos_inbox, send, fun
        ('lost@127.0.0.1', _, _) -> {error, topos_error:new(not_connected, #{node => 'lost@127.0.0.1', status => down})};
        (_, _, _) -> ok
    end),
    %% The subscription of the newest start.
    meck:expect(topos_partisan, subscribe, fun() ->
        Ref = make_ref(),
        ets:insert(Table, {subscription, self(), Ref}),
        {ok, Ref}
    end),
    meck:expect(topos_node_spec, parse_peer, fun
        (<<"seed@127.0.0.1:4000">>) -> {ok, #{node => 'seed@127.0.0.1', addresses => [{{127, 0, 0, 1}, 4000}]}};
        (<<"nonsense">>) -> error;
        (Text) -> {ok, #{node => binary_to_atom(Text), addresses => []}}
    end),
    {ok, Handler} = topos_effect_distributed:init([], #{'E' => root}),
    put(handler, Handler),
    put(table, Table),
    Table.

unmock(Table) ->
    ok = topos_effect_distributed:terminate(normal, get(handler)),
    ok = meck:unload([topos_partisan, topos_node_spec, topos_inbox]),
    _ = [exit(Inbox, kill) || Inbox <- [whereis(topos_inbox)], is_pid(Inbox)],
    ok = topos_await:until(fun() -> whereis(topos_inbox) =:= undefined end),
    true = ets:delete(Table),
    _ = flush(),
    ok.

here() -> 'node@127.0.0.1'.
perform(Op, Args) -> apply(topos_effect_distributed, Op, [get(handler) | Args]).
init() -> perform(init, [?CONFIG]).

happens(Event) ->
    [{subscription, Pid, Ref}] = ets:lookup(get(table), subscription),
    Pid ! {topos, Ref, Event},
    ok.

arrives(Message) ->
    _ = ets:update_counter(get(table), held, 1),
    topos_program_node ! {letter, {'a@127.0.0.1', Message}},
    ok.

%% Room is given back after the message was handed over.
holds(Count) ->
    Table = get(table),
    topos_await:until(fun() -> case ets:lookup_element(Table, held, 2) of Count -> true; Held -> {held, Held} end end).

flush() -> receive M -> [M | flush()] after 0 -> [] end.

before_init() ->
    ?assertEqual(<<"node">>, perform(node_name, [])),
    ?assertError({not_started, _}, perform(self, [])),
    ?assertError({not_started, _}, perform(recv, [])),
    ?assertError({not_started, _}, perform(monitor, [here()])),
    ?assertMatch({error, #{reason := <<"not_started">>}}, perform(create_cluster, [<<"c">>])),
    ?assertMatch({error, #{reason := <<"not_started">>}}, perform(send, [here(), 1])),
    ?assertMatch({error, #{reason := <<"not_started">>}}, perform(leave, [])),
    ?assertEqual(ok, perform(cancel, [make_ref()])).

init_once() ->
    ?assertEqual({ok, ok}, init()),
    ?assertMatch({error, #{code := <<"TP1005">>, reason := <<"already_started">>}}, init()),
    ?assertEqual(here(), perform(self, [])),
    ?assertEqual({ok, ok}, perform(leave, [])),
    ?assertEqual({ok, ok}, init()).

errors_are_records() ->
    {ok, ok} = init(),
    {error, Error} = perform(join_cluster, [<<"lost@127.0.0.1">>, <<"default">>]),
    ?assertMatch(#{code := <<"TP1007">>, reason := <<"unreachable">>, message := <<"lost@127.0.0.1 did not", _/binary>>,
                   help := <<"check", _/binary>>}, Error),
    ?assertEqual(4, map_size(Error)).

enter_cluster() ->
    {ok, ok} = init(),
    ?assertEqual({ok, ok}, perform(create_cluster, [<<"default">>])),
    ?assertEqual(1, meck:num_calls(topos_partisan, start, '_')),
    ?assertEqual({ok, ok}, perform(create_cluster, [<<"shop">>])),
    ?assertMatch(#{cluster := <<"shop">>}, meck:capture(last, topos_partisan, start, '_', 1)),
    %% A monitor of the restarted node works.
    ok = happens({up, 'a@127.0.0.1', 1}),
    ?assertEqual({some, {node_up, 'a@127.0.0.1'}}, perform(next_event_within, [topos_await:patience()])),
    ?assertMatch({error, #{code := <<"TP1004">>}}, perform(create_cluster, [<<"refused">>])),
    %% Nothing half-started is left.
    ?assertMatch({error, #{reason := <<"not_started">>}}, perform(create_cluster, [<<"shop">>])).

join() ->
    {ok, ok} = init(),
    ?assertEqual({ok, ok}, perform(join_cluster, [<<"seed@127.0.0.1:4000">>, <<"default">>])),
    ?assert(meck:called(topos_partisan, join, ['seed@127.0.0.1', #{addresses => [{{127, 0, 0, 1}, 4000}]}])),
    ?assertEqual({ok, ok}, perform(join_cluster, [<<"seed@127.0.0.1">>, <<"default">>])),
    ?assert(meck:called(topos_partisan, join, ['seed@127.0.0.1', #{}])),
    ?assertMatch({error, #{code := <<"TP1012">>}}, perform(join_cluster, [<<"nonsense">>, <<"default">>])).

events() ->
    {ok, ok} = init(),
    ok = happens({up, 'a@127.0.0.1', 1}),
    ok = happens({suspect, 'a@127.0.0.1'}),
    ok = happens({recovered, 'a@127.0.0.1'}),
    ok = happens({in_doubt, 'a@127.0.0.1', 3}),
    ok = happens({undeliverable, 'a@127.0.0.1', topos_error:new(no_such_process, #{target => x, node => a})}),
    ok = happens({down, 'a@127.0.0.1', timeout}),
    ok = happens({left, 'b@127.0.0.1'}),
    Next = fun() -> perform(next_event, []) end,
    ?assertEqual({node_up, 'a@127.0.0.1'}, Next()),
    ?assertEqual({node_suspect, 'a@127.0.0.1'}, Next()),
    ?assertEqual({node_recovered, 'a@127.0.0.1'}, Next()),
    ?assertEqual({in_doubt, 'a@127.0.0.1', 3}, Next()),
    ?assertMatch({undeliverable, 'a@127.0.0.1', #{code := <<"TP1024">>}}, Next()),
    %% recv leaves events where they are.
    ok = arrives(hello),
    ok = arrives(again),
    ?assertEqual(hello, perform(recv, [])),
    ?assertEqual({some, again}, perform(recv_within, [topos_await:patience()])),
    ?assertEqual(none, perform(recv_within, [0])),
    ?assertEqual({node_down, 'a@127.0.0.1'}, Next()),
    ?assertEqual({node_left, 'b@127.0.0.1'}, Next()),
    ok = arrives(last),
    ?assertEqual({message, 'a@127.0.0.1', last}, Next()),
    ?assertEqual(none, perform(next_event_within, [0])).

monitors() ->
    ets:insert(get(table), {nodes, ['a@127.0.0.1']}),
    {ok, ok} = init(),
    Up = perform(monitor, ['a@127.0.0.1']),
    Forgotten = perform(monitor, ['a@127.0.0.1']),
    ok = perform(demonitor, [Forgotten]),
    Absent = perform(monitor, ['b@127.0.0.1']),
    ?assertEqual({monitor_down, Absent, 'b@127.0.0.1'}, perform(next_event, [])),
    ok = happens({down, 'a@127.0.0.1', timeout}),
    %% It is known to have left afterwards: no second transition.
    ok = happens({left, 'a@127.0.0.1'}),
    ok = happens({up, 'a@127.0.0.1', 2}),
    ok = happens({down, 'a@127.0.0.1', timeout}),
    Events = [perform(next_event, []) || _ <- lists:seq(1, 5)],
    ?assertEqual([{node_down, 'a@127.0.0.1'}, {monitor_down, Up, 'a@127.0.0.1'}, {node_left, 'a@127.0.0.1'},
                  {node_up, 'a@127.0.0.1'}, {node_down, 'a@127.0.0.1'}], Events),
    ?assertEqual(none, perform(next_event_within, [0])).

callbacks() ->
    {ok, ok} = init(),
    Self = self(),
    Tell = fun(What) -> fun(Node, Ev) -> Self ! {What, Node, Ev, self() =/= Self} end end,
    Ups = perform(on_up, [Tell(up)]),
    _ = perform(on_down, [Tell(down)]),
    _ = perform(on_down, [fun(_, _) -> exit(shutdown) end]),
    Expect = fun(What) ->
        receive {What, 'a@127.0.0.1', #{'E' := root}, true} -> ok after topos_await:patience() -> {missing, What} end
    end,
    ok = happens({up, 'a@127.0.0.1', 1}),
    ?assertEqual(ok, Expect(up)),
    ok = happens({left, 'a@127.0.0.1'}),
    ?assertEqual(ok, Expect(down)),
    ok = perform(cancel, [Ups]),
    ok = happens({up, 'a@127.0.0.1', 2}),
    ok = happens({down, 'a@127.0.0.1', timeout}),
    ?assertEqual(ok, Expect(down)),
    ?assertEqual([], [M || {up, _, _, _} = M <- flush()]).

%% Receivers are served in the order in which they began to wait; one that gave up or ended takes nothing.
every_process_receives() ->
    {ok, ok} = init(),
    [Late, First, Second, Events] = [receiver(Op) || Op <- [recv, recv, recv, next_event]],
    true = exit(Late, kill),
    ok = happens({up, 'a@127.0.0.1', 1}),
    ?assertEqual({Events, {node_up, 'a@127.0.0.1'}}, received()),
    ?assertEqual(none, perform(recv_within, [1])),
    ok = arrives(one),
    ?assertEqual({First, one}, received()),
    ok = arrives(two),
    ?assertEqual({Second, two}, received()),
    ok = arrives(three),
    ?assertEqual(three, perform(recv, [])).

%% A server of the program ends quietly with the node, the process that started it is told.
receivers_end_with_the_node() ->
    {ok, ok} = init(),
    Receiver = receiver(recv),
    Monitor = monitor(process, Receiver),
    {ok, ok} = perform(leave, []),
    receive {'DOWN', Monitor, process, Receiver, Reason} -> ?assertEqual(shutdown, Reason) after topos_await:patience() -> ?assert(false) end,
    ?assertError({not_started, _}, perform(recv, [])).

%% A process that waits already.
receiver(Op) ->
    Self = self(),
    Handler = get(handler),
    Pid = spawn(fun() -> Self ! {received, self(), topos_effect_distributed:Op(Handler)} end),
    ok = topos_await:until(fun() ->
        process_info(Pid, [status, current_function]) =:= [{status, waiting}, {current_function, {gen, do_call, 4}}]
    end),
    Pid.

received() -> receive {received, Pid, What} -> {Pid, What} after topos_await:patience() -> nothing end.

ends_with_its_owner() ->
    Handler = get(handler),
    {Pid, Monitor} = spawn_monitor(fun() -> {ok, ok} = topos_effect_distributed:init(Handler, ?CONFIG) end),
    receive {'DOWN', Monitor, process, Pid, normal} -> ok end,
    %% The server is gone, or will be before it serves another call.
    Server = whereis(topos_program_node),
    _ = Server =:= undefined orelse begin
        M = monitor(process, Server),
        receive {'DOWN', M, process, Server, _} -> ok after topos_await:patience() -> ?assert(false) end
    end,
    ?assert(meck:called(topos_partisan, stop, [])),
    ?assertEqual({ok, ok}, init()).

broadcast() ->
    {ok, ok} = init(),
    ?assertMatch([{'lost@127.0.0.1', #{code := <<"TP1013">>}}],
                 perform(broadcast, [['a@127.0.0.1', 'lost@127.0.0.1', 'b@127.0.0.1'], hi])),
    ?assert(meck:called(topos_inbox, send, ['b@127.0.0.1', hi, #{}])).

messages_take_room() ->
    {ok, ok} = init(),
    ok = arrives(one),
    ok = arrives(two),
    ?assertEqual(one, perform(recv, [])),
    ok = holds(1),
    %% A message that somebody waited for.
    ?assertEqual(two, perform(recv, [])),
    Receiver = receiver(recv),
    ok = arrives(three),
    ?assertEqual({Receiver, three}, received()),
    ok = holds(0),
    %% What waits when the node is restarted for another cluster waits on, and keeps its room.
    ok = arrives(four),
    {ok, ok} = perform(create_cluster, [<<"shop">>]),
    ok = holds(1),
    ?assertEqual(four, perform(recv, [])).

%% As many events wait as messages, three here. The oldest go, and their number stands in their place.
too_many_events() ->
    true = ets:insert(get(table), {max, 3}),
    {ok, ok} = init(),
    Ups = [list_to_atom([C | "@127.0.0.1"]) || C <- "abcde"],
    lists:foreach(fun(Node) -> ok = happens({up, Node, 1}) end, Ups),
    ok = arrives(hello),
    Next = fun() -> perform(next_event, []) end,
    ?assertEqual({missed, 2}, Next()),
    ?assertEqual([{node_up, Node} || Node <- lists:nthtail(2, Ups)], [Next(), Next(), Next()]),
    ?assertEqual({message, 'a@127.0.0.1', hello}, Next()),
    ?assertEqual(none, perform(next_event_within, [0])).

ends_with_its_inbox() ->
    {ok, ok} = init(),
    Server = monitor(process, topos_program_node),
    exit(whereis(topos_inbox), kill),
    receive {'DOWN', Server, process, _, Reason} -> ?assertEqual(normal, Reason) after topos_await:patience() -> ?assert(false) end,
    ?assertError({not_started, _}, perform(recv, [])).

%% It goes on after what cannot be done, and ends quietly.
without_events() ->
    Refused = fun(Operation) ->
        {error, topos_error:new(unsupported_by_manager, #{operation => Operation, manager => hyparview, why => <<"it has none">>})}
    end,
    meck:expect(topos_partisan, subscribe, fun() -> Refused(<<"topos_partisan:subscribe">>) end),
    meck:expect(topos_partisan, leave, fun() -> Refused(<<"topos_partisan:leave">>) end),
    {ok, ok} = init(),
    Callback = fun(_, _) -> ok end,
    [
        ?assertError({unsupported_by_manager, #{operation := Operation, manager := hyparview, why := <<"it has none">>}}, perform(Op, [Arg]))
     || {Op, Arg, Operation} <- [{monitor, here(), <<"Distributed.monitor">>}, {on_up, Callback, <<"Distributed.on_up">>},
                                 {on_down, Callback, <<"Distributed.on_down">>}]
    ],
    ?assertMatch({error, #{code := <<"TP1046">>}}, perform(leave, [])),
    ok = arrives(hello),
    ?assertEqual(hello, perform(recv, [])),
    ok = topos_effect_distributed:terminate(normal, get(handler)),
    ?assertError({not_started, _}, perform(recv, [])).
