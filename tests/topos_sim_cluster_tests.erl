%% Clusters of virtual nodes: what they see of each other, and what the network does to messages.
-module(topos_sim_cluster_tests).

-include_lib("eunit/include/eunit.hrl").

-import(topos_simulated, [simulate/3, lines/3, process/0, distributed/0, say/2, spawned/1, config/0, meet/1, meet/2]).
-import(topos_simulated, [sent/2, received/0, event/0, event/1, now_ms/0, runner/2]).

-define(SEED, 'seed@127.0.0.1').
-define(NODE2, 'node2@127.0.0.1').
-define(NODE3, 'node3@127.0.0.1').

sleep(Time) -> topos_sim_process:sleep(process(), Time).

%% What comes within a while, without the nodes that are up.
events(Time) ->
    case topos_sim_distributed:next_event_within(distributed(), Time) of
        {some, Event} -> [Event | events(Time)];
        none -> []
    end.

members_come_up_on_all_sides_test_() -> {timeout, 60, fun members_come_up_on_all_sides/0}.

members_come_up_on_all_sides() ->
    Lines = lines(20, #{}, fun() ->
        Name = meet(19), say("~s ~b", [Name, length(topos_sim_distributed:statuses(distributed()))]), sleep(1_000) end),
    ?assertEqual(20, length([up || {_, Line} <- Lines, lists:suffix(" 20", binary_to_list(Line))])).

%% Loss costs time and not messages, and what a process sends keeps its order.
messages_arrive_once_and_in_order_test_() ->
    {timeout, 60, [
        {lists:flatten(io_lib:format("~p", [Options])), fun() ->
            Lines = lines(2, Options, fun() ->
                case meet(1) of
                    <<"seed">> -> [{ok, ok} = sent(?NODE2, N) || N <- lists:seq(1, 200)], sleep(60_000);
                    _ -> say("~w", [[received() || _ <- lists:seq(1, 200)]]),
                        none = topos_sim_distributed:recv_within(distributed(), 30_000)
                end
            end),
            ?assertEqual([{2, unicode:characters_to_binary(io_lib:format("~w", [lists:seq(1, 200)]))}], Lines)
        end}
     || Seed <- [1, 2, 3], Options <- [#{seed => Seed, loss => 0.3},
         #{seed => Seed, duplicate => 0.5, delay => {0, 900_000}}]
    ]}.

%% Without one lane there is no order between processes: some seed shows it.
messages_of_different_processes_overtake_each_other_test_() ->
    {timeout, 60, fun messages_of_different_processes_overtake_each_other/0}.

messages_of_different_processes_overtake_each_other() ->
    Orders = [
        lines(2, #{seed => Seed, delay => {1_000, 50_000}}, fun() ->
            case meet(1, (config())#{channels => 8}) of
                <<"seed">> -> [spawned(fun() -> sleep(10 * N), {ok, ok} = sent(?NODE2, N) end) || N <- [1, 2, 3]],
                    sleep(1_000);
                _ -> say("~w", [[received() || _ <- [1, 2, 3]]])
            end
        end)
     || Seed <- lists:seq(1, 20)
    ],
    ?assert(lists:member([{2, <<"[1,2,3]">>}], Orders)),
    ?assert(length(lists:usort(Orders)) > 1).

a_partition_is_noticed_and_heals_test() ->
    [{1, Events}, {1, <<"42">>}] = lines(2, #{}, fun() ->
        case meet(1) of
            <<"seed">> ->
                _ = event(node_up),
                {ok, ok} = runner(partition, [[[<<"seed">>], [<<"node2">>]]]),
                Start = now_ms(),
                {node_suspect, ?NODE2} = event(),
                Suspected = now_ms() - Start,
                {node_down, ?NODE2} = event(),
                Down = now_ms() - Start,
                {error, #{code := <<"TP1013">>}} = sent(?NODE2, refused),
                say("~w", [{Suspected >= 750, Suspected =< 1_001, Down >= 2_750, Down =< 3_001}]),
                {ok, ok} = runner(heal, []),
                {node_up, ?NODE2} = event(),
                {ok, ok} = sent(?NODE2, 21),
                say("~b", [received()]);
            _ ->
                {ok, ok} = sent(?SEED, 2 * received())
        end
    end),
    ?assertEqual(<<"{true,true,true,true}">>, Events).

%% A short cut is no end: what was sent into it arrives.
a_short_cut_costs_only_time_test() ->
    Lines = lines(2, #{}, fun() ->
        case meet(1) of
            <<"seed">> ->
                _ = event(node_up),
                {ok, ok} = runner(partition, [[[<<"seed">>], [<<"node2">>]]]),
                [{ok, ok} = sent(?NODE2, N) || N <- [1, 2, 3]],
                sleep(1_500),
                {ok, ok} = runner(heal, []),
                say("~p", [events(1_000)]);
            _ ->
                say("~w", [[received() || _ <- [1, 2, 3]]]),
                sleep(3_000)
        end
    end),
    ?assertEqual([{1, <<"[{node_suspect,'node2@127.0.0.1'},{node_recovered,'node2@127.0.0.1'}]">>},
        {2, <<"[1,2,3]">>}], lists:sort(Lines)).

a_crash_is_noticed_sooner_and_leaves_doubt_test() ->
    {{exit, 0}, Told} = simulate(2, #{}, fun() ->
        case meet(1) of
            <<"seed">> ->
                _ = event(node_up),
                Monitor = topos_sim_distributed:monitor(distributed(), ?NODE2),
                {ok, ok} = runner(hold, [<<"node2">>]),
                [{ok, ok} = sent(?NODE2, N) || N <- [1, 2, 3]],
                Start = now_ms(),
                {ok, ok} = runner(kill, [<<"node2">>]),
                {node_suspect, ?NODE2} = event(),
                {node_down, ?NODE2} = event(),
                Took = now_ms() - Start,
                {monitor_down, Monitor, ?NODE2} = event(),
                {error, <<"node2 does not run">>} = runner(kill, [<<"node2">>]),
                {ok, ok} = runner(start, [<<"node2">>]),
                {in_doubt, ?NODE2, 3} = event(),
                {node_up, ?NODE2} = event(),
                say("~w", [Took >= 300 andalso Took =< 400]),
                {ok, ok} = sent(?NODE2, to_the_second_life);
            _ ->
                say("~w", [received()])
        end
    end),
    ?assertEqual([{1, out, <<"true">>}, {2, out, <<"to_the_second_life">>}],
        lists:sort([L || {_, out, _} = L <- Told])),
    ?assertEqual([<<"killing node2">>, <<"starting node2 again">>], [Line || {remark, err, Line} <- Told]).

a_node_that_stands_still_goes_on_test() ->
    Lines = lines(2, #{}, fun() ->
        case meet(1) of
            <<"seed">> ->
                _ = event(node_up),
                {ok, ok} = runner(pause, [<<"node2">>]),
                {ok, ok} = sent(?NODE2, meanwhile),
                {node_suspect, ?NODE2} = event(),
                {node_down, ?NODE2} = event(),
                {ok, ok} = runner(resume, [<<"node2">>]),
                {node_up, ?NODE2} = event(),
                say("~w", [events(2_000)]);
            _ ->
                _ = event(node_up),
                {message, ?SEED, meanwhile} = event(),
                say("~w", [events(1_000)])
        end
    end),
    %% The one that stood still has noticed nothing but the end of the other.
    ?assertMatch([{1, <<"[{node_left,'node2@127.0.0.1'}]">>}, {2, <<"[]">>}], lists:sort(Lines)).

a_node_cannot_pause_itself_test() ->
    [{1, Line}] = lines(1, #{}, fun() -> {error, Why} = runner(pause, [<<"seed">>]), say("~s", [Why]) end),
    ?assertEqual(<<"a node cannot pause itself: nobody could resume it">>, Line).

messages_are_delivered_by_hand_test() ->
    Lines = lines(3, #{}, fun() ->
        case meet(2) of
            <<"seed">> ->
                {ok, ok} = runner(hold, [<<"node3">>]),
                {ok, ok} = sent(?NODE3, from_seed),
                {ok, ok} = sent(?NODE3, from_seed_too),
                sleep(100),
                {ok, true} = runner(release_next, [<<"node2">>, <<"node3">>]),
                sleep(100),
                {ok, false} = runner(release_next, [<<"node2">>, <<"node3">>]),
                {ok, true} = runner(release_next, [<<"seed">>, <<"node3">>]),
                sleep(100),
                {ok, ok} = runner(release, [<<"node3">>]),
                sleep(1_000);
            <<"node2">> -> {ok, ok} = sent(?NODE3, from_node2), sleep(1_000);
            <<"node3">> -> say("~w", [[received() || _ <- [1, 2, 3]]]), sleep(1_000)
        end
    end),
    ?assertEqual([{3, <<"[from_node2,from_seed,from_seed_too]">>}], Lines).

%% What is sent before a good-bye arrives before it.
a_good_bye_comes_last_test() ->
    Lines = lines(2, #{loss => 0.3, seed => 4}, fun() ->
        case meet(1) of
            <<"seed">> -> [{ok, ok} = sent(?NODE2, N) || N <- [1, 2, 3]],
                {ok, ok} = topos_sim_distributed:leave(distributed());
            _ -> _ = event(node_up), say("~w", [[event() || _ <- [1, 2, 3, 4]]])
        end
    end),
    From = "{message,'seed@127.0.0.1',",
    ?assertEqual([{2, iolist_to_binary(["[", From, "1},", From, "2},", From, "3},{node_left,'seed@127.0.0.1'}]"])}],
        Lines).

the_ends_of_a_node_are_told_to_callbacks_test() ->
    Lines = lines(2, #{}, fun() ->
        case meet(1) of
            <<"seed">> ->
                Tell = fun(What) -> fun(Node, _Ev) -> say("~s ~s", [What, Node]) end end,
                Down = topos_sim_distributed:on_down(distributed(), Tell("down")),
                Up = topos_sim_distributed:on_up(distributed(), Tell("up")),
                {ok, ok} = runner(kill, [<<"node2">>]),
                {ok, ok} = runner(start, [<<"node2">>]),
                sleep(5_000),
                [topos_sim_distributed:cancel(distributed(), S) || S <- [Up, Down]],
                {ok, ok} = runner(kill, [<<"node2">>]),
                sleep(5_000);
            _ -> sleep(100_000)
        end
    end),
    ?assertEqual([{1, <<"down node2@127.0.0.1">>}, {1, <<"up node2@127.0.0.1">>}], Lines).

wrong_joins_are_told_test() ->
    Lines = lines(2, #{}, fun() ->
        D = distributed(),
        case topos_sim_distributed:node_name(D) of
            <<"seed">> ->
                {ok, ok} = topos_sim_distributed:init(D, config()),
                {ok, ok} = topos_sim_distributed:create_cluster(D, <<"one">>),
                sleep(60_000);
            _ ->
                {error, #{code := NotStarted}} = topos_sim_distributed:create_cluster(D, <<"two">>),
                {error, #{code := Invalid}} = topos_sim_distributed:init(D, (config())#{channels => 0}),
                {ok, ok} = topos_sim_distributed:init(D, (config())#{cookie => <<"another">>}),
                {error, #{code := Twice}} = topos_sim_distributed:init(D, config()),
                Join = fun(Contact, Cluster) ->
                    {error, #{code := Code}} = topos_sim_distributed:join_cluster(D, Contact, Cluster),
                    Code
                end,
                say("~s ~s ~s", [NotStarted, Invalid, Twice]),
                say("~s", [lists:join(" ", [
                    Join(<<"seed@127.0.0.1">>, <<"one">>), Join(<<"node9@127.0.0.1">>, <<"one">>),
                        Join(<<"node2@127.0.0.1">>, <<"one">>),
                    Join(<<"no name">>, <<"one">>)])])
        end
    end),
    ?assertEqual([{2, <<"TP1006 TP1001 TP1005">>}, {2, <<"TP1009 TP1080 TP1017 TP1012">>}], Lines).

a_contact_that_does_not_come_is_unreachable_test() ->
    Lines = lines(2, #{}, fun() ->
        D = distributed(),
        case topos_sim_distributed:node_name(D) of
            <<"seed">> -> sleep(60_000);
            _ ->
                {ok, ok} = topos_sim_distributed:init(D, config()),
                {error, #{code := Code}} = topos_sim_distributed:join_cluster(D, <<"seed@127.0.0.1">>, <<"one">>),
                say("~s after ~b s", [Code, now_ms() div 1_000])
        end
    end),
    ?assertEqual([{2, <<"TP1007 after 15 s">>}], Lines).

processes_of_other_nodes_are_started_and_sent_to_test() ->
    Lines = lines(2, #{}, fun() ->
        case meet(1) of
            <<"seed">> ->
                {ok, Me} = topos_effect_remote:this_process(),
                {ok, There} = topos_effect_remote:spawn_on(?NODE2, fun(ok, _Ev) ->
                    {ok, ok} = topos_effect_remote:send_with(plainly(),
                        {from, topos_sim_distributed:self(distributed())}, Me),
                    say("there: ~w", [topos_sim_process:'receive'(process())])
                end),
                say("here: ~w", [topos_sim_process:'receive'(process())]),
                {ok, ok} = topos_effect_remote:send_with(plainly(), hello, There),
                sleep(100),
                {ok, ok} = runner(kill, [<<"node2">>]),
                {error, #{code := <<"TP1018">>}} = topos_effect_remote:send_with(plainly(), too_late, There);
            _ -> sleep(1_000)
        end
    end),
    ?assertEqual([{1, <<"here: {from,'node2@127.0.0.1'}">>}, {2, <<"there: hello">>}], Lines).

plainly() -> #{channel => <<"data">>, key => none, wait => 0, acknowledged => false}.

%% A send may wait until the message is there; a receiver that ends before that leaves doubt, one that is silent takes
%% time.
sends_are_acknowledged_test() ->
    Lines = lines(2, #{}, fun() ->
        Send = fun(Message) ->
            Before = now_ms(),
            Answer = topos_sim_distributed:send_with(distributed(), ?NODE2, Message,
                (plainly())#{acknowledged => true}),
            {case Answer of {ok, ok} -> ok; {error, #{code := Code}} -> Code end, now_ms() - Before}
        end,
        case meet(1) of
            <<"seed">> ->
                {ok, Soon} = Send(one),
                {ok, ok} = runner(hold, [<<"node2">>]),
                {Late, Timeout} = Send(two),
                _ = spawned(fun() -> sleep(100), {ok, ok} = runner(kill, [<<"node2">>]),
                    {ok, ok} = runner(start, [<<"node2">>]) end),
                {Doubt, _} = Send(three),
                say("~w ~s ~w ~s", [Soon >= 2 andalso Soon =< 25, Late, Timeout >= 1_000, Doubt]);
            _ -> sleep(60_000)
        end
    end),
    ?assertEqual([{1, <<"true TP1023 true TP1027">>}], Lines).

topologies_are_switched_or_refused_test() ->
    Lines = lines(2, #{}, fun() ->
        D = distributed(),
        Star = fun(Hub) -> {client_server, #{hubs => [Hub], hubs_of_a_client => 1}} end,
        case meet(1) of
            <<"seed">> ->
                {error, #{code := Unknown}} = topos_sim_distributed:set_topology(D, Star(<<"node9@127.0.0.1">>)),
                {ok, ok} = topos_sim_distributed:set_topology(D, Star(<<"seed@127.0.0.1">>)),
                {ok, ok} = runner(pause, [<<"node2">>]),
                _ = event(node_down),
                {error, #{code := Parted}} = topos_sim_distributed:set_topology(D, full_mesh),
                {ok, ok} = runner(resume, [<<"node2">>]),
                say("~s ~s", [Unknown, Parted]),
                try topos_sim_distributed:neighbours(D) catch error:{not_simulated, #{operation := What}} ->
                    say("~s", [What]) end;
            _ ->
                sleep(500),
                {client_server, _} = topos_sim_distributed:current_topology(D)
        end
    end),
    ?assertEqual([{1, <<"TP1012 TP1096">>}, {1, <<"Distributed.neighbours where the topology is no full mesh">>}],
        Lines).

the_nemesis_strikes_in_its_order_test_() -> {timeout, 60, fun the_nemesis_strikes_in_its_order/0}.

the_nemesis_strikes_in_its_order() ->
    Nemesis = [{wait, 1_000}, {partition, {nodes, [<<"node2">>]}, 5_000}, {wait, 2_000},
        {crash, {nodes, [<<"node3">>]}, 3_000}, {pause, {share, 0.01}, 1_000}],
    {{exit, 0}, Told} = simulate(3, #{nemesis => Nemesis}, fun() ->
        case meet(2) of
            <<"seed">> -> watch(now_ms() + 20_000);
            _ -> sleep(25_000)
        end
    end),
    ?assertEqual(
        [<<"node_down node2">>, <<"node_up node2">>, <<"node_down node3">>, <<"node_up node3">>],
            [Line || {1, out, Line} <- Told]),
    ?assertMatch([<<"partition node2">>, <<"partition is over">>, <<"killing node3">>, <<"starting node3 again">>,
        <<"pause ", _/binary>>,
                  <<"pause is over">>], [Line || {remark, err, Line} <- Told]).

watch(Until) ->
    case topos_sim_distributed:next_event_within(distributed(), max(0, Until - now_ms())) of
        {some, {Event, Node}} when Event =:= node_down; Event =:= node_up, Node =/= ?SEED ->
            %% Those who come up at first are no news.
            _ = now_ms() < 900 orelse say("~s ~s", [Event, hd(string:split(atom_to_list(Node), "@"))]),
            watch(Until);
        {some, _} -> watch(Until);
        none -> ok
    end.

%% Channels

channels_keep_their_settings_test() ->
    Lines = lines(2, #{}, fun() ->
        C = channel,
        Settings = #{
            parallelism => 2, monotonic => true, compression => false, delivery => at_least_once, order => by_key,
                priority => normal,
            expiry => 0, max_parallelism => 0, max_queue_messages => 4, max_queue_bytes => 0
        },
        case meet(1) of
            <<"seed">> ->
                {ok, ok} = topos_sim_channel:create_channel(C, <<"prices">>, Settings),
                {error, #{code := <<"TP1037">>}} = topos_sim_channel:create_channel(C, <<"prices">>, Settings),
                {error, #{code := <<"TP1036">>}} = topos_sim_channel:close_channel(C, <<"data">>),
                {error, #{code := <<"TP1015">>}} = topos_sim_channel:send_on(C, <<"none">>, ?NODE2, x),
                {ok, ok} = runner(partition, [[[<<"seed">>], [<<"node2">>]]]),
                [{ok, ok} = topos_sim_channel:send_keyed(C, <<"prices">>, <<"milk">>, ?NODE2, N)
                    || N <- lists:seq(1, 9)],
                {error, #{code := <<"TP1014">>}} =
                    lists:last([topos_sim_channel:send_on(C, <<"prices">>, ?NODE2, N) || N <- lists:seq(11, 19)]),
                sleep(100),
                {ok, ok} = runner(heal, []),
                sleep(2_000),
                {ok, [Row]} = topos_sim_channel:stats(C, <<"prices">>),
                say("~w", [maps:with([superseded, lost, acknowledged, overloaded], Row)]),
                {ok, ok} = topos_sim_channel:close_channel(C, <<"prices">>),
                {error, #{code := <<"TP1015">>}} = topos_sim_channel:stats(C, <<"prices">>);
            _ ->
                9 = received(),
                sleep(5_000)
        end
    end),
    ?assertMatch([{1, <<"#{", _/binary>>}], Lines),
    [{1, Row}] = Lines,
    ?assertMatch({_, _}, binary:match(Row, <<"superseded => 8">>)).

%% On a channel that repeats nothing loss is loss.
a_channel_may_lose_messages_test() ->
    Lines = lines(2, #{loss => 0.3, seed => 5}, fun() ->
        case meet(1) of
            <<"seed">> ->
                Settings = #{
                    parallelism => 1, monotonic => false, compression => false, delivery => at_most_once,
                        order => by_key,
                    priority => normal, expiry => 0, max_parallelism => 0, max_queue_messages => 0, max_queue_bytes => 0
                },
                {ok, ok} = topos_sim_channel:create_channel(channel, <<"ticks">>, Settings),
                [{ok, ok} = topos_sim_channel:send_on(channel, <<"ticks">>, ?NODE2, N) || N <- lists:seq(1, 100)],
                sleep(1_000),
                {ok, [#{lost := Lost, messages_out := 100}]} = topos_sim_channel:stats(channel, <<"ticks">>),
                {ok, ok} = sent(?NODE2, {lost, Lost}),
                sleep(20_000);
            _ ->
                {lost, Lost} = lists:last(Got = until_lost()),
                say("~w ~w", [Lost > 10 andalso Lost < 60, Lost + length(Got) - 1])
        end
    end),
    ?assertEqual([{2, <<"true 100">>}], Lines).

until_lost() ->
    case received() of
        {lost, _} = Last -> [Last];
        N -> [N | until_lost()]
    end.
