%% Processes of other nodes and the inbox, on real VMs and every engine that is present.
-module(topos_actor_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile(export_all).

-define(NODE, topos_ct_node).
-define(CLUSTER, topos_ct_cluster).

all() -> [{group, Engine} || Engine <- topos_engine:names()].

groups() ->
    Cases = [
        spawn_and_send, spawn_a_fun, other_code_is_refused, reasons_unknown_to_the_watcher, spawn_what_is_not_there,
        references_travel, exit_and_reason, many_monitors_one_down_each,
        monitor_of_the_dead, monitor_here, demonitor_is_silent, owner_death_frees_the_lease, node_kill_is_noconnection,
        node_leave_is_noconnection, restart_makes_references_stale, pause_and_resume, engine_crash_keeps_monitors,
        server_crash_keeps_monitors, watched_server_crash_keeps_monitors, leases_are_limited, large_reasons_are_cut,
        inbox_in_order, inbox_is_bounded, inbox_to_itself
    ],
    [{Engine, [], Cases} || Engine <- topos_engine:names()].

suite() -> [{timetrap, {seconds, 60}}].

init_per_group(Engine, Config) -> topos_ct_pool:init_group(Engine, Config).

end_per_group(_Engine, _Config) -> topos_ct_pool:close().

init_per_testcase(Case, Config) ->
    [{case_name, Case}, {case_number, erlang:unique_integer([positive])},
        {vms, ets:new(vms, [public, ordered_set])} | Config].

end_per_testcase(_Case, Config) -> topos_ct_pool:end_case(Config).

%% Spawn and send

spawn_and_send(Config) ->
    [A, B] = pair(Config),
    Ref = spawned(A, B),
    ?assertEqual(name(B), topos_remote:node(Ref)),
    ?assertEqual({ok, true}, process(A, is_alive, [Ref])),
    [?assertEqual(ok, process(A, send, [Ref, {keep, N}])) || N <- lists:seq(1, 100)],
    ok = ?NODE:wait_until(kept, fun() -> kept(B, Ref) =:= lists:seq(1, 100) end, 5_000),
    ?assertEqual(ok, process(A, send, [Ref, {keep, last}, #{ack => true}])),
    ?assertEqual(lists:seq(1, 100) ++ [last], kept(B, Ref)).

spawn_a_fun(Config) ->
    [A, B] = pair(Config),
    true = ?NODE:call(vm(B), topos_ct_actor, is_loaded, []),
    {ok, Ref} = ?NODE:call(vm(A), topos_ct_actor, spawn_fun_on, [name(B), made_there]),
    ok = ?NODE:wait_until(registered, fun() -> is_pid(?NODE:call(vm(B), erlang, whereis, [made_there])) end, 2_000),
    ?assertEqual({ok, Ref}, process(A, whereis, [name(B), made_there])).

%% Code of the same name that was built from other text is not run.
other_code_is_refused(Config) ->
    [A, B] = pair(Config),
    ok = ?NODE:call(vm(B), topos_ct_actor, load_other_code, []),
    try
        ?assertMatch({error, {code_mismatch, #{module := topos_ct_other}}},
                     ?NODE:call(vm(A), topos_ct_actor, spawn_other_on, [name(B)]))
    after
        [true = ?NODE:call(vm(M), code, delete, [topos_ct_other]) || M <- [A, B]]
    end.

%% The watching node may not take the atoms of the reason: it learns them as a text, and its monitor ends all the same.
reasons_unknown_to_the_watcher(Config) ->
    [A, B] = joined([{a, #{limits => #{max_new_atoms => 0}}}, {b, #{}}], Config),
    Ref = spawned(A, B),
    Watcher = watcher(A),
    ok = watch(A, Watcher, Ref),
    ok = process(A, send,
        [Ref, {die_of, lists:concat(["never_seen_before_", os:getpid(), "_", ?config(engine, Config)])}]),
    [{Ref, {unknown_reason, Text}}] = downs(A, Watcher, 1),
    ?assertNotEqual(nomatch, string:find(Text, "never_seen_before_")).

spawn_what_is_not_there(Config) ->
    [A, B] = pair(Config),
    Name = name(B),
    ?assertMatch({error, {no_such_function, #{node := Name}}}, process(A, spawn, [Name, topos_ct_actor, no_such, []])),
    ?assertMatch({error, {no_such_function, _}}, process(A, spawn, [Name, no_module_of_that_name, f, [1]])),
    ?assertMatch({error, {unknown_node, _}}, process(A, spawn, ['x@nowhere', topos_ct_actor, keeper, []])),
    ?assertMatch({error, {no_such_process, _}}, process(A, whereis, [Name, nobody_at_all])).

%% A reference that comes back in a message is the same one, and works from a third node.
references_travel(Config) ->
    [A, B, C] = joined([a, b, c], Config),
    Ref = spawned(A, B),
    Other = spawned(A, C),
    ok = process(A, send, [Ref, {keep, Other}]),
    ok = ?NODE:wait_until(kept, fun() -> kept(B, Ref) =:= [Other] end, 2_000),
    [Travelled] = kept(B, Ref),
    ok = process(B, send, [Travelled, {keep, hello}, #{ack => true}]),
    ?assertEqual([hello], kept(C, Other)).

%% Monitors

exit_and_reason(Config) ->
    [A, B] = pair(Config),
    Ref = spawned(A, B),
    Watcher = watcher(A),
    ok = watch(A, Watcher, Ref),
    Start = now_ms(),
    ok = process(A, exit, [Ref, {because, [of_this]}]),
    ?assertEqual([{Ref, {because, [of_this]}}], downs(A, Watcher, 1)),
    comment("DOWN ~b ms after exit/2 was called", [now_ms() - Start]).

%% Two hundred monitors of forty processes from two nodes: each ends once, none is left.
many_monitors_one_down_each(Config) ->
    [A, B, C] = joined([a, b, c], Config),
    Refs = [spawned(A, B) || _ <- lists:seq(1, 40)],
    Watchers = [{Node, watcher(Node)} || Node <- [A, A, A, C, C]],
    [ok = watch(Node, Watcher, Ref) || {Node, Watcher} <- Watchers, Ref <- Refs],
    ok = ?NODE:wait_until(leases, fun() -> leases(B) =:= 200 end, 3_000),
    [ok = process(C, exit, [Ref, done]) || Ref <- Refs],
    Expected = lists:sort([{Ref, done} || Ref <- Refs]),
    [?assertEqual(Expected, lists:sort(downs(Node, Watcher, 40))) || {Node, Watcher} <- Watchers],
    clean([A, B, C]),
    quiet(700),
    [?assertEqual(40, length(downs(Node, Watcher, 40))) || {Node, Watcher} <- Watchers].

monitor_of_the_dead(Config) ->
    [A, B] = pair(Config),
    Ref = spawned(A, B),
    ok = process(A, exit, [Ref, gone]),
    ok = ?NODE:wait_until(dead, fun() -> process(A, is_alive, [Ref]) =:= {ok, false} end, 2_000),
    Watcher = watcher(A),
    ok = watch(A, Watcher, Ref),
    ?assertEqual([{Ref, noproc}], downs(A, Watcher, 1)),
    ?assertMatch({error, {no_such_process, _}}, process(A, send, [Ref, hello, #{ack => true}])).

monitor_here(Config) ->
    [A, _] = pair(Config),
    Ref = spawned(A, A),
    Watcher = watcher(A),
    ok = watch(A, Watcher, Ref),
    ok = process(A, send, [Ref, {keep, 1}]),
    ?assertEqual([1], kept(A, Ref)),
    ok = process(A, exit, [Ref, here]),
    ?assertEqual([{Ref, here}], downs(A, Watcher, 1)),
    clean([A]).

demonitor_is_silent(Config) ->
    [A, B] = pair(Config),
    Ref = spawned(A, B),
    Watcher = watcher(A),
    ok = watch(A, Watcher, Ref),
    ok = ?NODE:wait_until(lease, fun() -> leases(B) =:= 1 end, 2_000),
    ?assertEqual(ok, ?NODE:call(vm(A), topos_ct_actor, unwatch, [Watcher, Ref])),
    clean([A, B]),
    ok = process(A, exit, [Ref, kill]),
    quiet(300),
    ?assertEqual([], downs(A, Watcher, 0)).

owner_death_frees_the_lease(Config) ->
    [A, B] = pair(Config),
    Ref = spawned(A, B),
    Watcher = watcher(A),
    ok = watch(A, Watcher, Ref),
    ok = ?NODE:wait_until(lease, fun() -> leases(B) =:= 1 end, 2_000),
    true = ?NODE:call(vm(A), topos_ct_actor, kill, [Watcher]),
    clean([A, B]).

node_kill_is_noconnection(Config) ->
    [A, B] = pair(Config),
    Refs = [spawned(A, B) || _ <- lists:seq(1, 5)],
    Watcher = watcher(A),
    [ok = watch(A, Watcher, Ref) || Ref <- Refs],
    Clock = topos_ct_clock:start([vm(A)]),
    Start = now_ms(),
    ok = ?NODE:kill(vm(B)),
    ?assertEqual(lists:sort([{Ref, noconnection} || Ref <- Refs]), lists:sort(downs(A, Watcher, 5))),
    Took = now_ms() - Start,
    ok = topos_ct_clock:kept(noconnection, Took, 1_500, topos_ct_clock:stop(Clock)),
    clean([A]),
    quiet(700),
    ?assertEqual(5, length(downs(A, Watcher, 5))),
    comment("five DOWN ~b ms after kill -9", [Took]).

node_leave_is_noconnection(Config) ->
    [A, B] = pair(Config),
    Ref = spawned(A, B),
    Mine = spawned(B, A),
    Watchers = {watcher(A), watcher(B)},
    ok = watch(A, element(1, Watchers), Ref),
    ok = watch(B, element(2, Watchers), Mine),
    ok = ?CLUSTER:call(B, leave, []),
    ?assertEqual([{Ref, noconnection}], downs(A, element(1, Watchers), 1)),
    ?assertEqual([{Mine, noconnection}], downs(B, element(2, Watchers), 1)),
    clean([A, B]).

%% A process of the new life that has the number of an old one is never taken for it.
restart_makes_references_stale(Config) ->
    [A, B] = pair(Config),
    Ref = spawned(A, B),
    Watcher = watcher(A),
    ok = watch(A, Watcher, Ref),
    Name = name(B),
    ok = ?NODE:kill(vm(B)),
    ?assertEqual([{Ref, noconnection}], downs(A, Watcher, 1)),
    [Again] = topos_cluster_SUITE:started([{{exact, Name}, #{}}], Config),
    ?assertEqual(ok, ?CLUSTER:join(Again, A)),
    ok = ?NODE:wait_until(up, fun() -> ?CLUSTER:agreed(A, [A, Again]) end, 5_000),
    ?assertMatch({error, {stale_incarnation, #{node := Name}}}, process(A, send, [Ref, hello])),
    ?assertMatch({error, {stale_incarnation, _}}, process(A, is_alive, [Ref])),
    ?assertMatch({error, {stale_incarnation, _}}, process(A, exit, [Ref, kill])),
    ok = watch(A, Watcher, Ref),
    ?assertEqual({Ref, stale_incarnation}, lists:last(downs(A, Watcher, 2))).

%% Down and up again: the monitor ended, and the process is there to be watched anew.
pause_and_resume(Config) ->
    [A, B] = joined([{Base, #{fault_detection => ?CLUSTER:quick()}} || Base <- [a, b]], Config),
    Ref = spawned(A, B),
    Watcher = watcher(A),
    ok = watch(A, Watcher, Ref),
    Mark = ?CLUSTER:mark(A),
    ok = ?NODE:pause(vm(B)),
    ?assertEqual([{Ref, noconnection}], downs(A, Watcher, 1)),
    ok = ?NODE:resume(vm(B)),
    _ = ?CLUSTER:await(A, {up, name(B)}, Mark, 5_000),
    ok = eventually(fun() -> case process(A, is_alive, [Ref]) of {ok, true} -> ok; Other -> Other end end),
    %% What B still held of the monitor that ended is dropped.
    ok = ?NODE:wait_until(no_lease, fun() -> leases(B) =:= 0 end, 3_000),
    ok = watch(A, Watcher, Ref),
    ok = process(A, exit, [Ref, later]),
    ?assertEqual([{Ref, noconnection}, {Ref, later}], downs(A, Watcher, 2)).

%% The link flaps and comes back before the peer is given up: no monitor ends, none is lost.
engine_crash_keeps_monitors(Config) ->
    [A, B] = pair(Config),
    Refs = [spawned(A, B) || _ <- lists:seq(1, 3)],
    Watcher = watcher(A),
    [ok = watch(A, Watcher, Ref) || Ref <- Refs],
    ok = ?NODE:wait_until(leases, fun() -> leases(B) =:= 3 end, 2_000),
    [ok = ?NODE:call(vm(M), topos_ct_stream, crash, [?config(engine, Config)]) || M <- [A, B]],
    ok = ?NODE:wait_until(up, fun() -> ?CLUSTER:agreed(A, [A, B]) andalso ?CLUSTER:agreed(B, [A, B]) end, 10_000),
    [ok = eventually(fun() -> process(A, exit, [Ref, after_it]) end) || Ref <- Refs],
    Downs = downs(A, Watcher, 3),
    ?assertEqual(lists:sort(Refs), lists:sort([Ref || {Ref, _} <- Downs])),
    ?assertEqual([], [R || {_, R} <- Downs, R =/= after_it, R =/= noconnection]),
    quiet(700),
    ?assertEqual(3, length(downs(A, Watcher, 3))),
    clean([A, B]).

server_crash_keeps_monitors(Config) ->
    [A, B] = pair(Config),
    Ref = spawned(A, B),
    Here = spawned(A, A),
    Watcher = watcher(A),
    ok = watch(A, Watcher, Ref),
    ok = watch(A, Watcher, Here),
    ok = ?NODE:call(vm(A), topos_ct_actor, crash_server, []),
    [ok = process(A, exit, [R, still]) || R <- [Ref, Here]],
    ?assertEqual(lists:sort([{Ref, still}, {Here, still}]), lists:sort(downs(A, Watcher, 2))),
    clean([A, B]).

%% The node that holds the leases forgets them: it is asked again.
watched_server_crash_keeps_monitors(Config) ->
    [A, B] = pair(Config),
    [Ref, Dying] = [spawned(A, B) || _ <- [1, 2]],
    Watcher = watcher(A),
    [ok = watch(A, Watcher, R) || R <- [Ref, Dying]],
    ok = ?NODE:wait_until(leases, fun() -> leases(B) =:= 2 end, 2_000),
    ok = ?NODE:call(vm(B), topos_ct_actor, crash_server_and, [Dying]),
    ?assertEqual([{Dying, noproc}], downs(A, Watcher, 1)),
    ok = ?NODE:wait_until(leased_again, fun() -> leases(B) =:= 1 end, 3_000),
    ok = process(A, exit, [Ref, still]),
    ?assertEqual([{Dying, noproc}, {Ref, still}], downs(A, Watcher, 2)).

leases_are_limited(Config) ->
    [A, B] = joined([{a, #{}}, {b, #{limits => #{max_leases => 2}}}], Config),
    Refs = [spawned(A, B) || _ <- lists:seq(1, 3)],
    Watcher = watcher(A),
    [ok = watch(A, Watcher, Ref) || Ref <- Refs],
    ?assertEqual([{lists:last(Refs), overloaded}], downs(A, Watcher, 1)),
    ?assertEqual(2, leases(B)),
    Local = watcher(B),
    [ok = watch(B, Local, Ref) || Ref <- lists:sublist(Refs, 2)],
    ?assertMatch({error, {too_many_monitors, #{limit := 2}}}, watch(B, Local, lists:last(Refs))).

large_reasons_are_cut(Config) ->
    [A, B] = pair(Config),
    Ref = spawned(A, B),
    Watcher = watcher(A),
    ok = watch(A, Watcher, Ref),
    ok = process(A, send, [Ref, die_large]),
    ?assertMatch([{Ref, {truncated, Text}}] when byte_size(Text) < 3_000, downs(A, Watcher, 1)).

%% The inbox

inbox_in_order(Config) ->
    [A, B] = pair(Config),
    Count = 500,
    ok = ?NODE:call(vm(A), topos_ct_actor, send_to_inbox, [name(B), Count]),
    From = name(A),
    ?assertEqual([{From, N} || N <- lists:seq(1, Count)], ?NODE:call(vm(B), topos_ct_actor, take, [Count])),
    ?assertMatch({error, {timeout, #{timeout := 50}}}, inbox(B, recv, [50])).

inbox_is_bounded(Config) ->
    [A, B] = joined([{a, #{}}, {b, #{limits => #{max_inbox_messages => 3}}}], Config),
    Name = name(B),
    Mark = ?CLUSTER:mark(A),
    [?assertEqual(ok, inbox(A, send, [Name, N, #{ack => true}])) || N <- [1, 2, 3]],
    ?assertMatch({error, {inbox_full, #{node := Name}}}, inbox(A, send, [Name, 4, #{ack => true}])),
    ?assertEqual(ok, inbox(A, send, [Name, 5])),
    _ = ?CLUSTER:await(A, {undeliverable, Name}, Mark, 2_000),
    ?assertEqual([1, 2, 3], [M || {_, M} <- ?NODE:call(vm(B), topos_ct_actor, take, [3])]),
    ?assertEqual(ok, inbox(A, send, [Name, 6, #{ack => true}])),
    ?assertMatch({ok, {_, 6}}, inbox(B, recv, [1_000])).

inbox_to_itself(Config) ->
    [A] = topos_cluster_SUITE:started([{a, #{}}], Config),
    Name = name(A),
    ?assertEqual(ok, inbox(A, send, [Name, hello])),
    ?assertEqual({ok, {Name, hello}}, inbox(A, recv, [0])).

%% internal

pair(Config) -> joined([a, b], Config).

joined(Specs, Config) ->
    topos_cluster_SUITE:joined([case Spec of {_, _} -> Spec; Base -> {Base, #{}} end || Spec <- Specs], Config).

name(Member) -> ?CLUSTER:name(Member).

vm(#{vm := Vm}) -> Vm.

process(Member, Function, Args) -> ?NODE:call(vm(Member), topos_process, Function, Args).

inbox(Member, Function, Args) -> ?NODE:call(vm(Member), topos_inbox, Function, Args).

spawned(From, On) ->
    {ok, Ref} = process(From, spawn, [name(On), topos_ct_actor, keeper, []]),
    Ref.

watcher(Member) -> ?NODE:call(vm(Member), topos_ct_actor, start_watcher, []).

watch(Member, Watcher, Ref) -> ?NODE:call(vm(Member), topos_ct_actor, watch, [Watcher, Ref]).

%% At least so many, in the order in which they came.
downs(Member, Watcher, AtLeast) ->
    ok = ?NODE:wait_until(
        {downs, AtLeast},
        fun() -> Downs = ?NODE:call(vm(Member), topos_ct_actor, downs, [Watcher]),
            length(Downs) >= AtLeast orelse Downs end,
        5_000),
    ?NODE:call(vm(Member), topos_ct_actor, downs, [Watcher]).

kept(Member, Ref) -> ?NODE:call(vm(Member), topos_ct_actor, kept, [Ref]).

leases(Member) -> ?NODE:call(vm(Member), topos_actors, leases, []).

%% No monitor and no lease stays.
clean(Members) ->
    Left = fun() -> [{name(M), ?NODE:call(vm(M), topos_actors, monitors, []), leases(M)} || M <- Members] end,
    ?NODE:wait_until(clean, fun() -> [] =:= [L || {_, N, K} = L <- Left(), N + K > 0] orelse Left() end, 4_000).

eventually(Fun) -> ?NODE:wait_until(eventually, fun() -> case Fun() of ok -> true; Other -> Other end end, 5_000).

quiet(Ms) -> receive after Ms -> ok end.

now_ms() -> os:system_time(millisecond).

comment(Format, Args) -> {comment, lists:flatten(io_lib:format(Format, Args))}.
