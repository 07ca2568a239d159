%% Clusters of real VMs on every engine that is present: who sees whom come and go, when, and how often.
%%
%% TOPOS_RUNS sets how often eight nodes join at once (default 3, the full measure is 20). With 20 or more the silences
%% that must follow a departure are kept longer than any period of the engines.
-module(topos_cluster_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile(export_all).

-define(NODE, topos_ct_node).
-define(CLUSTER, topos_ct_cluster).
-define(CLOCK, topos_ct_clock).
%% What the team promises (milliseconds).
-define(AGREED_WITHIN, 2_000).
-define(DOWN_AFTER_KILL_WITHIN, 1_000).
%% How much later than configured a state is seen at most: looks are taken some times an interval.
-define(SLACK, 400).

all() -> [{group, Engine} || Engine <- topos_engine:names()].

groups() ->
    Cases = [
        eight_nodes_join_at_once, kill_is_down_within_a_second, pause_is_suspect_then_down_then_up,
        leave_is_left_everywhere,
        leave_and_join_again, restart_with_the_same_port, restart_with_another_port, engine_crash_under_traffic,
        subscriptions_can_be_cancelled, metadata_reaches_the_members,
        failed_join_of_a_member_loses_nobody, join_nobody, join_self, join_before_start, other_cookie, other_cluster, other_version, port_in_use,
        bad_configuration,
        message_over_the_limit, unknown_channel, unknown_node, nobody_has_that_name, stop_leaves_nothing
    ],
    [{Engine, [], Cases} || Engine <- topos_engine:names()].

suite() -> [{timetrap, {seconds, 60 + 12 * runs()}}].

init_per_group(Engine, Config) -> topos_ct_pool:init_group(Engine, Config).

end_per_group(_Engine, _Config) -> topos_ct_pool:close().

init_per_testcase(Case, Config) ->
    Table = ets:new(vms, [public, ordered_set]),
    [{case_name, Case}, {case_number, erlang:unique_integer([positive])}, {vms, Table} | Config].

end_per_testcase(_Case, Config) -> topos_ct_pool:end_case(Config).

%% Membership

%% Seven join the eighth in the same moment: each hears of each of the others exactly once, and all agree soon.
eight_nodes_join_at_once(Config) ->
    Runs = [eight_nodes(Run, Config) || Run <- lists:seq(1, runs())],
    {Joins, Agreements} = lists:unzip(Runs),
    comment("~b runs; join: ~s; agreement after the last join: ~s",
            [length(Runs), ?CLUSTER:spread(lists:append(Joins)), ?CLUSTER:spread(Agreements)]).

eight_nodes(Run, Config) ->
    Members = [First | Others] = started([{Base, #{}} || Base <- eight(Run)], Config),
    Addresses = ?CLUSTER:addresses(First),
    Joins = ?CLUSTER:together(
        fun(Member) ->
            timed(fun() -> ok = ?CLUSTER:call(Member, join, [?CLUSTER:name(First), #{addresses => Addresses}]) end)
        end, Others),
    Clock = ?CLOCK:start(vms(Members)),
    Agreement = timed(fun() -> await_agreement(Members, ?AGREED_WITHIN) end),
    ok = ?CLOCK:kept(agreement, Agreement, ?AGREED_WITHIN, ?CLOCK:stop(Clock)),
    Expected = fun(Member) -> lists:sort([{up, ?CLUSTER:name(M)} || M <- Members, M =/= Member]) end,
    _ = ?CLUSTER:together(fun(Member) -> ?CLUSTER:await_all(Member, Expected(Member), 0, 1_000) end, Members),
    %% An event too many would come with the next echoes.
    quiet(500),
    [?assertEqual({?CLUSTER:name(M), Expected(M)}, {?CLUSTER:name(M), lists:sort(edges(M, 0))}) || M <- Members],
    [?assertEqual({?CLUSTER:name(M), Expected(M)}, {?CLUSTER:name(M), lists:sort(calls(M))}) || M <- Members],
    finish(Members, Config),
    {Joins, Agreement}.

%% Three of eight are killed, one after the other.
kill_is_down_within_a_second(Config) ->
    Members = cluster(eight(0), Config),
    {Killed, Survivors} = lists:split(3, lists:reverse(Members)),
    Times = lists:foldl(
        fun(Victim, Acc) ->
            Others = Members -- [Victim | [M || {M, _} <- Acc]],
            Marks = ?CLUSTER:marks(Others),
            Clock = ?CLOCK:start(vms(Others)),
            Start = now_ms(),
            ok = ?NODE:kill(vm(Victim)),
            Took = await_everywhere({down, ?CLUSTER:name(Victim)}, Marks, ?DOWN_AFTER_KILL_WITHIN, Start),
            ok = ?CLOCK:kept(down, lists:max(Took), ?DOWN_AFTER_KILL_WITHIN, ?CLOCK:stop(Clock)),
            [{Victim, Took} | Acc]
        end, [], Killed),
    quiet(500),
    Down = [{down, ?CLUSTER:name(M)} || M <- Killed],
    [
        begin
            ?assertEqual(lists:sort(Down), lists:sort([E || {down, _} = E <- events(M, 0)])),
            ?assertEqual(lists:sort(Down), lists:sort([C || {down, _} = C <- calls(M)])),
            ?assertEqual(length(Members) - 1, length([up || {up, _} <- calls(M)])),
            ?assertEqual([down], lists:usort([maps:get(?CLUSTER:name(K), ?CLUSTER:statuses(M)) || K <- Killed]))
        end
     || M <- Survivors
    ],
    comment("down after kill: ~s", [?CLUSTER:spread(lists:append([T || {_, T} <- Times]))]).

%% A node that is stopped keeps its sockets: only the missing echoes tell.
pause_is_suspect_then_down_then_up(Config) ->
    Members = [A, B, C] = joined([{Base, #{fault_detection => ?CLUSTER:quick()}} || Base <- [a, b, c]], Config),
    %% Messages flowed before the pause, as they shall after it.
    [?assertEqual(ok, ?CLUSTER:call(From, send, [?CLUSTER:name(To), topos_ct_events, hello, #{ack => true}]))
     || {From, To} <- [{A, C}, {C, A}, {B, C}, {C, B}]],
    #{fault_detection := #{echo_interval := Echo, suspect_after := SuspectAfter,
        down_after := DownAfter}} = maps:get(config, A),
    Name = ?CLUSTER:name(C),
    Marks = ?CLUSTER:marks([A, B]),
    Clock = ?CLOCK:start(vms([A, B])),
    Start = now_ms(),
    ok = ?NODE:pause(vm(C)),
    Suspect = await_everywhere({suspect, Name}, Marks, SuspectAfter + Echo + ?SLACK, Start),
    %% `down' where this VM was late to look.
    [?assertNotEqual(up, maps:get(Name, ?CLUSTER:statuses(M))) || M <- [A, B]],
    Down = await_everywhere({down, Name}, Marks, DownAfter + Echo + ?SLACK, Start),
    Allowed = ?CLOCK:stop(Clock),
    ok = ?CLOCK:kept(suspect, lists:max(Suspect), SuspectAfter + Echo + ?SLACK, Allowed),
    ok = ?CLOCK:kept(down, lists:max(Down), DownAfter + Echo + ?SLACK, Allowed),
    ?assert(lists:min(Suspect) >= SuspectAfter - Echo),
    ?assert(lists:min(Down) >= DownAfter - Echo),
    [?assertEqual([{suspect, Name}, {down, Name}], of_node(Name, events(M, Mark))) || {M, Mark} <- Marks],
    Again = ?CLUSTER:marks([A, B]),
    Resumed = now_ms(),
    ok = ?NODE:resume(vm(C)),
    Up = await_everywhere({up, Name}, Again, 5_000, Resumed),
    await_agreement(Members, 5_000),
    quiet(500),
    [?assertEqual([{up, Name}], edges(M, Mark)) || {M, Mark} <- Again],
    [?assertEqual(ok, ?CLUSTER:call(From, send, [?CLUSTER:name(To), topos_ct_events, hello, #{ack => true}]))
     || {From, To} <- [{A, C}, {C, A}, {B, C}, {C, B}]],
    comment("configured ~b/~b ms; suspect: ~s; down: ~s; up again after SIGCONT: ~s",
            [SuspectAfter, DownAfter, ?CLUSTER:spread(Suspect), ?CLUSTER:spread(Down), ?CLUSTER:spread(Up)]).

%% The one that leaves is `left' to all, keeps no link, is no ghost, and causes no event later.
leave_is_left_everywhere(Config) ->
    Members = cluster([a, b, c, d, e], Config),
    Leaver = lists:last(Members),
    Name = ?CLUSTER:name(Leaver),
    Others = Members -- [Leaver],
    Marks = ?CLUSTER:marks(Others),
    Start = now_ms(),
    ?assertEqual(ok, ?CLUSTER:call(Leaver, leave, [])),
    Left = await_everywhere({left, Name}, Marks, 2_000, Start),
    ok = ?NODE:wait_until(no_link_remains, fun() ->
        lists:append([[N || {N, _, _} <- connections(M), N =:= Name] || M <- Others]) ++ connections(Leaver) =:= []
    end, 5_000),
    quiet(long()),
    [
        begin
            ?assertEqual([{left, Name}], edges(M, Mark)),
            ?assertEqual(1, length([C || {down, N} = C <- calls(M), N =:= Name])),
            ?assertEqual(left, maps:get(Name, ?CLUSTER:statuses(M))),
            ?assertNot(lists:member(Name, ?CLUSTER:call(M, nodes, []))),
            ?assertMatch({error, {unknown_node, _}}, ?CLUSTER:call(M, send, [Name, nobody, hello])),
            ?assertEqual([], [N || {N, _, _} <- connections(M), N =:= Name])
        end
     || {M, Mark} <- Marks
    ],
    ?assertEqual(#{Name => up}, maps:filter(fun(_, Status) -> Status =/= left end, ?CLUSTER:statuses(Leaver))),
    ?assertEqual([], ?CLUSTER:call(Leaver, nodes, [])),
    ?assertEqual([], connections(Leaver)),
    comment("left: ~s; silent for ~b ms", [?CLUSTER:spread(Left), long()]).

leave_and_join_again(Config) ->
    Members = [A, _, C] = cluster([a, b, c], Config),
    ok = ?CLUSTER:call(C, leave, []),
    Marks = ?CLUSTER:marks([A]),
    ?assertEqual(ok, ?CLUSTER:join(C, A)),
    await_agreement(Members, 5_000),
    _ = await_everywhere({up, ?CLUSTER:name(C)}, [{A, 0} || {_, _} <- Marks], 1_000, now_ms()),
    ok.

%% Nobody has to do anything: the others ask for the address they know.
restart_with_the_same_port(Config) ->
    restarted(fun(Member) -> #{listen => [{{127, 0, 0, 1}, ?CLUSTER:port(Member)}]} end, Config).

%% The others cannot know the port: the node joins one of them, and the rest learn of it.
restart_with_another_port(Config) -> restarted(fun(_) -> #{} end, Config).

restarted(Extra, Config) ->
    Members = [A, B, C] = cluster([a, b, c], Config),
    Name = ?CLUSTER:name(C),
    Before = incarnation(A, Name),
    More = Extra(C),
    Marks = ?CLUSTER:marks([A, B]),
    ok = ?NODE:kill(vm(C)),
    _ = await_everywhere({down, Name}, Marks, ?DOWN_AFTER_KILL_WITHIN, now_ms()),
    Start = now_ms(),
    [Again] = started([{{exact, Name}, More}], Config),
    case More of
        #{listen := _} -> ok;
        _ -> ?assertEqual(ok, ?CLUSTER:join(Again, A))
    end,
    Up = await_everywhere({up, Name}, Marks, 8_000, Start),
    await_agreement([A, B, Again], 5_000),
    quiet(500),
    ?assert(incarnation(A, Name) > Before),
    [?assertEqual([{down, Name}, {up, Name}], edges(M, Mark)) || {M, Mark} <- Marks],
    _ = Members,
    comment("up after the start of the node: ~s", [?CLUSTER:spread(Up)]).

%% Partisan's manager, or the process of the embedded engine, is killed while messages flow both ways.
engine_crash_under_traffic(Config) ->
    Members = [A, B, C] = cluster([a, b, c], Config),
    Count = 3_000,
    Streams = [{A, B}, {B, A}, {C, A}],
    [ok = ?NODE:call(vm(To), topos_ct_stream, start_sink, [sink(From)]) || {From, To} <- Streams],
    Marks = ?CLUSTER:marks(Members),
    Sent = [
        spawn_monitor(fun() ->
            exit({sent, ?NODE:call(vm(From), topos_ct_stream, send, [?CLUSTER:name(To), sink(From), Count], 120_000)})
        end)
     || {From, To} <- Streams
    ],
    Killed = [
        begin
            ok = ?NODE:wait_until(traffic, fun() -> ?NODE:call(vm(B), topos_ct_stream, received, [sink(A)]) > N end,
                30_000),
            Start = now_ms(),
            ok = ?NODE:call(vm(A), topos_ct_stream, crash, [?config(engine, Config)]),
            Start
        end
     || N <- [200, 1_200]
    ],
    [receive {'DOWN', Ref, process, _, Reason} -> ?assertEqual({sent, Count}, Reason) end || {_, Ref} <- Sent],
    [
        begin
            ok = ?NODE:wait_until({all_of, From}, fun() -> ?NODE:call(vm(To), topos_ct_stream, received,
                [sink(From)]) >= Count end, 20_000),
            ?assertEqual(in_order, ?NODE:call(vm(To), topos_ct_stream, verdict, [sink(From), Count]))
        end
     || {From, To} <- Streams
    ],
    await_agreement(Members, 10_000),
    Recovered = now_ms() - lists:last(Killed),
    %% The subscriptions of before the crash hear of what comes after it.
    ok = ?NODE:kill(vm(C)),
    [_ = ?CLUSTER:await(M, {down, ?CLUSTER:name(C)}, Mark, 5_000) || {M, Mark} <- Marks, M =/= C],
    comment("~b messages a stream, none lost; all done ~b ms after the last crash", [Count, Recovered]).

subscriptions_can_be_cancelled(Config) ->
    [A, B] = started([{a, #{}}, {b, #{}}], Config),
    ?assertEqual(ok, ?NODE:call(vm(A), topos_ct_stream, cancelled_subscription, [])),
    ok = ?CLUSTER:join(B, A),
    _ = ?CLUSTER:await(A, {up, ?CLUSTER:name(B)}, 0, 5_000),
    quiet(300),
    ?assertEqual(0, ?NODE:call(vm(A), topos_ct_stream, calls_of_cancelled, [])).

metadata_reaches_the_members(Config) ->
    [A, B] = started([{a, #{metadata => #{<<"rack">> => <<"1">>}}}, {b, #{metadata => #{<<"rack">> => <<"2">>}}}],
        Config),
    ok = ?CLUSTER:join(B, A),
    await_agreement([A, B], 2_000),
    Rack = fun(At, Of) -> [R || #{node := N, metadata := #{<<"rack">> := R}} <- ?CLUSTER:call(At, members, []),
        N =:= ?CLUSTER:name(Of)] end,
    ok = ?NODE:wait_until(metadata, fun() -> {Rack(A, B), Rack(B, A)} =:= {[<<"2">>], [<<"1">>]} end, 3_000).

%% Bad input

%% A node that is joined by name may become known as a member meanwhile. That the join ends without an answer says nothing
%% against the membership: it is found when it answers again.
failed_join_of_a_member_loses_nobody(Config) ->
    [B, C] = cluster([b, c], Config),
    [A] = started([{a, #{}}], Config),
    ok = ?NODE:pause(vm(C)),
    To = fun(Member, Timeout) -> [?CLUSTER:name(Member), #{addresses => addresses(Member, B), timeout => Timeout}] end,
    Join = spawn_monitor(fun() -> exit({joined, ?CLUSTER:call(A, join, To(C, 2_000))}) end),
    ?assertEqual(ok, ?CLUSTER:call(A, join, To(B, 5_000))),
    ok = ?NODE:wait_until(known, fun() -> is_map_key(?CLUSTER:name(C), ?CLUSTER:statuses(A)) end, 1_500),
    {_, Ref} = Join,
    receive {'DOWN', Ref, process, _, {joined, Answer}} -> ?assertMatch({error, {unreachable, _}}, Answer) end,
    ok = ?NODE:resume(vm(C)),
    await_agreement([A, B, C], 10_000).

%% As another member knows them: the node itself may be paused.
addresses(Member, Knows) ->
    Name = ?CLUSTER:name(Member),
    [Addresses] = [A || #{node := N, addresses := A} <- ?NODE:call(vm(Knows), topos_cluster, members, []), N =:= Name],
    Addresses.

join_nobody(Config) ->
    [A] = started([{a, #{}}], Config),
    Nobody = ?NODE:name(nobody),
    Clock = ?CLOCK:start([vm(A)]),
    Took = timed(fun() ->
        Options = #{addresses => [{{127, 0, 0, 1}, ?NODE:free_port()}], timeout => 1_000},
        ?assertMatch({error, {unreachable, #{node := Nobody, timeout := 1_000}}},
            ?CLUSTER:call(A, join, [Nobody, Options]))
    end),
    ok = ?CLOCK:kept(refusal, Took, 1_000 + ?SLACK, ?CLOCK:stop(Clock)),
    ?assertEqual(#{?CLUSTER:name(A) => up}, ?CLUSTER:statuses(A)),
    ?assertEqual([], connections(A)),
    quiet(500),
    ?assertEqual([], events(A, 0)),
    comment("refused after ~b ms of 1000", [Took]).

join_self(Config) ->
    [A] = started([{a, #{}}], Config),
    ?assertMatch({error, {self_join, _}}, ?CLUSTER:join(A, A)).

join_before_start(Config) ->
    [Vm] = take(1, Config),
    [
        ?assertMatch({Function, {error, {not_started, _}}}, {Function, ?NODE:call(Vm, topos_partisan, Function, Args)})
     || {Function, Args} <- [{join, [a@b]}, {leave, []}, {members, []}, {nodes, []}, {send, [a@b, c, d]},
         {broadcast, [c, d]},
                             {cluster, []}, {node, []}, {subscribe, []}, {stop, []}]
    ].

other_cookie(Config) -> refused(#{cookie => <<"another">>}, cookie_mismatch, Config).
other_cluster(Config) -> refused(#{cluster => <<"another">>}, cluster_mismatch, Config).

%% The node joins with an error in bounded time, and neither side has a member or a link of the other.
refused(Extra, Reason, Config) ->
    [A, B] = started([{a, #{}}, {b, Extra}], Config),
    refused_now(A, B, Reason).

refused_now(A, B, Reason) ->
    Options = #{addresses => ?CLUSTER:addresses(A), timeout => 3_000},
    Clock = ?CLOCK:start(vms([A, B])),
    Took = timed(fun() -> ?assertMatch({error, {Reason, #{}}},
        ?CLUSTER:call(B, join, [?CLUSTER:name(A), Options])) end),
    ok = ?CLOCK:kept(refusal, Took, 3_000 + ?SLACK, ?CLOCK:stop(Clock)),
    quiet(500),
    [
        begin
            ?assertEqual([], events(M, 0)),
            ?assertEqual([?CLUSTER:name(M)], maps:keys(?CLUSTER:statuses(M))),
            ?assertEqual([], ?CLUSTER:call(M, nodes, []))
        end
     || M <- [A, B]
    ],
    ok = ?NODE:wait_until(no_link, fun() -> {connections(A), connections(B)} =:= {[], []} end, 5_000),
    comment("~p after ~b ms", [Reason, Took]).

%% One VM runs the same code with a frame version of its own.
other_version(Config) ->
    [VmA, VmB] = take(2, Config),
    ok = ?NODE:call(VmB, topos_ct_stream, other_version, []),
    A = ?CLUSTER:start_node(VmA, ?config(engine, Config), node_name(a, Config)),
    B = ?CLUSTER:start_node(VmB, ?config(engine, Config), node_name(b, Config)),
    try
        refused_now(A, B, version_mismatch)
    after
        ok = ?NODE:call(VmB, topos_ct_stream, own_version, [])
    end.

port_in_use(Config) ->
    [Vm] = take(1, Config),
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    Start = ?CLUSTER:config(?config(engine, Config), node_name(a, Config), #{listen => [{{127, 0, 0, 1}, Port}]}),
    Before = topos_ct_stream:footprint(Vm),
    {error, Error} = ?NODE:call(Vm, topos_partisan, start, [Start]),
    ?assertEqual(address_in_use, topos_error:reason(Error)),
    ok = gen_tcp:close(Socket),
    ok = same_footprint(Vm, Before),
    %% And nothing hinders another start.
    ?assertMatch({ok, _}, ?NODE:call(Vm, topos_ct_cluster, start_here, [Start])).

bad_configuration(Config) ->
    [Vm] = take(1, Config),
    Before = topos_ct_stream:footprint(Vm),
    Good = ?CLUSTER:config(?config(engine, Config), node_name(a, Config), #{}),
    [
        begin
            {error, {invalid_config, #{violations := Violations}} = Error} =
                ?NODE:call(Vm, topos_partisan, start, [maps:merge(Good, Bad)]),
            ?assertEqual([Path], [P || #{path := P} <- Violations]),
            ?assertMatch({match, _}, re:run(topos_error:format(Error), "^error\\[TP1001\\]"))
        end
     || {Bad, Path} <- [
            {#{engine => scamp}, <<"engine">>},
            {#{listen => [{{0, 0, 0, 0}, 0}]}, <<"listen">>},
            {#{channels => #{data => #{parallelism => 0}}}, <<"channels.data.parallelism">>},
            {#{chanels => 4}, <<"chanels">>}
        ]
    ],
    same_footprint(Vm, Before).

message_over_the_limit(Config) ->
    [A, B] = joined([{a, #{limits => #{max_message_bytes => 2_048}}}, {b, #{}}], Config),
    Send = fun(Bytes) -> ?CLUSTER:call(A, send, [?CLUSTER:name(B), topos_ct_events,
        {big, binary:copy(<<0>>, Bytes)}]) end,
    ?assertMatch({error, {message_too_large, #{limit := 2_048}}}, Send(4_096)),
    ?assertEqual(ok, Send(1_024)).

unknown_channel(Config) ->
    [A, B] = joined([{a, #{}}, {b, #{}}], Config),
    ?assertMatch(
        {error, {no_such_channel, #{channel := nonsense, known := [bulk, control, data, state_sync]}}},
        ?CLUSTER:call(A, send, [?CLUSTER:name(B), anybody, hello, #{channel => nonsense}])
    ).

unknown_node(Config) ->
    [A] = started([{a, #{}}], Config),
    ?assertMatch({error, {unknown_node, #{node := 'x@nowhere'}}},
        ?CLUSTER:call(A, send, ['x@nowhere', anybody, hello])).

nobody_has_that_name(Config) ->
    [A, B] = joined([{a, #{}}, {b, #{}}], Config),
    Name = ?CLUSTER:name(B),
    Mark = ?CLUSTER:mark(A),
    ?assertEqual(ok, ?CLUSTER:call(A, send, [Name, nobody_at_all, hello])),
    _ = ?CLUSTER:await(A, {undeliverable, Name}, Mark, 2_000),
    ?assertMatch({error, {no_such_process, _}}, ?CLUSTER:call(A, send, [Name, nobody_at_all, hello, #{ack => true}])).

stop_leaves_nothing(Config) ->
    [Vm] = take(1, Config),
    Before = topos_ct_stream:footprint(Vm),
    A = ?CLUSTER:start_node(Vm, ?config(engine, Config), node_name(a, Config)),
    [B] = started([{b, #{}}], Config),
    ok = ?CLUSTER:join(A, B),
    _ = ?CLUSTER:await(B, {up, ?CLUSTER:name(A)}, 0, 3_000),
    ok = ?CLUSTER:stop_node(A),
    ok = same_footprint(Vm, Before),
    _ = ?CLUSTER:await(B, {down, ?CLUSTER:name(A)}, 0, 3_000),
    ok.

%% internal

runs() -> list_to_integer(os:getenv("TOPOS_RUNS", "3")).

%% Longer than Partisan's gossip period in a full run.
long() -> case runs() >= 20 of true -> 11_000; false -> 2_500 end.

eight(Run) -> [lists:concat([Letter, Run]) || Letter <- [a, b, c, d, e, f, g, h]].

take(Count, Config) ->
    Vms = topos_ct_pool:take(Count),
    true = ets:insert(?config(vms, Config), [{?NODE:os_pid(Vm), Vm} || Vm <- Vms]),
    Vms.

started(Specs, Config) ->
    Vms = take(length(Specs), Config),
    ?CLUSTER:together(
        fun({Vm, {Base, Extra}}) -> ?CLUSTER:start_node(Vm, ?config(engine, Config), node_name(Base, Config),
            Extra) end,
        lists:zip(Vms, Specs)).

%% Each case has names of its own.
node_name({exact, Name}, _) -> Name;
node_name(Base, Config) -> ?NODE:name(lists:concat([Base, "_", ?config(case_number, Config)])).

joined(Specs, Config) ->
    Members = started(Specs, Config),
    [?assertEqual(ok, Result) || Result <- ?CLUSTER:join_all(Members)],
    await_agreement(Members, 5_000),
    Members.

cluster(Bases, Config) -> joined([{Base, #{}} || Base <- Bases], Config).

%% Gives the VMs of a finished run back before the case ends.
finish(Members, Config) ->
    Settled = ?CLUSTER:together(fun topos_ct_pool:settle/1, [vm(M) || M <- Members]),
    ?assertEqual([], [Why || {error, Why} <- Settled]),
    [ets:delete(?config(vms, Config), ?NODE:os_pid(Vm)) || {ok, Vm} <- Settled],
    topos_ct_pool:give([Vm || {ok, Vm} <- Settled]).

vm(#{vm := Vm}) -> Vm.

vms(Members) -> [vm(M) || M <- Members].

%% Processes that end do so in their time.
same_footprint(Vm, Before) ->
    ?NODE:wait_until(footprint, fun() ->
        case topos_ct_stream:footprint(Vm) of Before -> true; Other -> {Before, Other} end
    end, 5_000).

sink(From) -> list_to_atom("sink_of_" ++ atom_to_list(?CLUSTER:name(From))).

incarnation(At, Name) ->
    [Incarnation] = [I || #{node := N, incarnation := I} <- ?CLUSTER:call(At, members, []), N =:= Name],
    Incarnation.

connections(#{vm := Vm, config := #{engine := Engine}}) ->
    ?NODE:call(Vm, topos_engine:module(Engine), connections, []).

events(#{vm := Vm}, Mark) -> [Event || {_, Event} <- ?NODE:call(Vm, topos_ct_events, log, [Mark])].

%% A node may be suspected before it is given up, or messages be in doubt: these change nothing about who is there.
edges(Member, Mark) -> [Event || {Kind, _} = Event <- events(Member, Mark), lists:member(Kind, [up, down, left])].

of_node(Name, Events) -> [Event || {_, N} = Event <- Events, N =:= Name].

calls(#{vm := Vm}) -> ?NODE:call(Vm, topos_ct_events, calls, []).

await_agreement(Members, Timeout) ->
    ?NODE:wait_until(
        {agreement, [?CLUSTER:name(M) || M <- Members]},
        fun() ->
            Views = ?CLUSTER:together(fun(M) -> {?CLUSTER:name(M), ?CLUSTER:agreed(M, Members),
                ?CLUSTER:statuses(M)} end, Members),
            [] =:= [View || {_, false, _} = View <- Views] orelse Views
        end,
        Timeout).

%% How long after `Start' each member heard of the event.
await_everywhere(Event, Marks, Timeout, Start) ->
    ?CLUSTER:together(fun({Member, Mark}) -> max(0, ?CLUSTER:await(Member, Event, Mark, Timeout) - Start) end, Marks).

%% Nothing may happen: there is nothing to wait for.
quiet(Ms) -> receive after Ms -> ok end.

timed(Fun) ->
    Start = now_ms(),
    _ = Fun(),
    now_ms() - Start.

now_ms() -> os:system_time(millisecond).

comment(Format, Args) ->
    Text = lists:flatten(io_lib:format(Format, Args)),
    ct:pal("~s", [Text]),
    {comment, Text}.
