%% The failure detector of the cluster (`fault_detection.method' `swim') on real VMs of every engine that is present.
-module(topos_detection_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile(export_all).
-compile({no_auto_import, [nodes/0]}).

-define(NODE, topos_ct_node).
-define(CLUSTER, topos_ct_cluster).
-define(DETECTION, #{method => swim, echo_interval => 100, suspect_after => 400, down_after => 2_000}).

all() -> [{group, Engine} || Engine <- topos_engine:names()].

groups() ->
    Cases = [stopped_is_suspect_then_down_then_up, suspicion_is_refuted, one_bad_link_makes_nobody_suspect, quiet_cluster_is_quiet,
             works_over_routes],
    [{Engine, [], Cases} || Engine <- topos_engine:names()].

suite() -> [{timetrap, {seconds, 180}}].

init_per_group(Engine, Config) -> topos_topology_SUITE:init_per_group(Engine, Config).
end_per_group(Engine, Config) -> topos_topology_SUITE:end_per_group(Engine, Config).
init_per_testcase(Case, Config) -> topos_topology_SUITE:init_per_testcase(Case, Config).

end_per_testcase(Case, Config) ->
    [ok = ?NODE:resume(Vm) || {_, #{} = Vm} <- ets:tab2list(?config(vms, Config)), ?NODE:is_alive(Vm)],
    topos_topology_SUITE:end_per_testcase(Case, Config).

%% A node that is stopped keeps its sockets. Nobody asks it all the time, and yet all learn of it, once; and when it goes on it is up again.
stopped_is_suspect_then_down_then_up(Config) ->
    Members = cluster(full_mesh, 6, Config),
    [Stopped | Others] = Members,
    Name = ?CLUSTER:name(Stopped),
    Marks = ?CLUSTER:marks(Others),
    Start = now_ms(),
    ok = ?NODE:pause(vm(Stopped)),
    Suspect = everywhere({suspect, Name}, Marks, Start),
    Down = everywhere({down, Name}, Marks, Start),
    %% Down once, and after a suspicion. Before it stopped it may have been late, on a busy machine, which is a suspicion refuted.
    [?assertMatch([{down, Name}, {suspect, Name} | _], lists:reverse(events_of(Name, M, Mark))) || {M, Mark} <- Marks],
    [?assertEqual(1, length([D || {down, _} = D <- events_of(Name, M, Mark)])) || {M, Mark} <- Marks],
    Again = ?CLUSTER:marks(Others),
    Resumed = now_ms(),
    ok = ?NODE:resume(vm(Stopped)),
    Up = everywhere({up, Name}, Again, Resumed),
    agreed(Members),
    comment("suspect: ~s; down: ~s; up again: ~s", [?CLUSTER:spread(Suspect), ?CLUSTER:spread(Down), ?CLUSTER:spread(Up)]).

%% One that is slow to answer is suspect, and not down: it refutes that as soon as it goes on.
suspicion_is_refuted(Config) ->
    Members = cluster(full_mesh, 5, (?DETECTION)#{down_after => 6_000}, Config),
    [Slow | Others] = Members,
    Name = ?CLUSTER:name(Slow),
    Marks = ?CLUSTER:marks(Others),
    ok = ?NODE:pause(vm(Slow)),
    [{First, Mark} | _] = Marks,
    _ = ?CLUSTER:await(First, {suspect, Name}, Mark, 20_000),
    ok = ?NODE:resume(vm(Slow)),
    agreed(Members),
    %% It stays so, longer than a suspicion lasts.
    receive after 6_500 -> ok end,
    Seen = [events_of(Name, M, From) || {M, From} <- Marks],
    [?assertNot(lists:member({down, Name}, Events)) || Events <- Seen],
    [?assertMatch([{suspect, Name}, {recovered, Name} | _], Events) || Events <- Seen, Events =/= []],
    agreed(Members).

%% Two nodes that do not hear each other's questions, while all others hear both: those answer for them.
one_bad_link_makes_nobody_suspect(Config) ->
    %% A third of a period for an answer has to be enough on a busy machine too: here nobody is to be late.
    Members = [A, B | _] = cluster(full_mesh, 4, (?DETECTION)#{suspect_after => 3_000, down_after => 12_000}, Config),
    deaf(A, B),
    deaf(B, A),
    Unheard = fun() -> [?NODE:call(vm(M), ?MODULE, unheard_here, []) || M <- [A, B]] end,
    ok = topos_ct_clock:undisturbed([vm(M) || M <- Members], 500, fun() ->
        agreed(Members),
        Marks = ?CLUSTER:marks(Members),
        Before = Unheard(),
        ok = ?NODE:wait_until(both_were_asked, fun() -> lists:min(lists:zipwith(fun(Now, Then) -> Now - Then end, Unheard(), Before)) > 0 end, 60_000),
        %% The period in which that was goes to its end.
        receive after 3_500 -> ok end,
        [{?CLUSTER:name(M), Events} || {M, Mark} <- Marks, Events <- [events(M, Mark)], Events =/= []]
    end),
    Asked = Unheard(),
    [ok = ?NODE:call(vm(M), meck, unload, [topos_swim]) || M <- [A, B]],
    comment("questions and answers that were not heard: ~p", [Asked]).

%% At rest a node sends a message or two a period, however many there are; with echoes it is one to each in each interval.
quiet_cluster_is_quiet(Config) ->
    [Few, Many, Echo] = [
        begin
            Members = [First | _] = cluster(full_mesh, Count, Detection, Config),
            receive after 1_000 -> ok end,
            %% What is still told of the joins is no more than what is told all the time: the quieter of two times counts.
            Frames = lists:min([frames(First, 2_000) || _ <- [1, 2]]),
            _ = ?CLUSTER:together(fun(M) -> ok = ?CLUSTER:stop_node(M) end, Members),
            Frames
        end
     || {Count, Detection} <- [{4, ?DETECTION}, {10, ?DETECTION}, {10, (?DETECTION)#{method => echo}}]
    ],
    %% Of ten nodes: 9 peers, 20 intervals, an echo and an answer each, against some 5 periods.
    ?assert(3 * Many < Echo),
    comment("frames of a node in 2 s: ~b with SWIM of 4, ~b of 10; ~b with echoes of 10", [Few, Many, Echo]).

frames(Member, Milliseconds) ->
    Before = sent(Member),
    receive after Milliseconds -> ok end,
    sent(Member) - Before.

%% Members that are not neighbours watch each other too.
works_over_routes(Config) ->
    Topology = #{type => hyparview, active_view => 2, passive_view => 12, shuffle_period => 1_000, request_timeout => 1_000},
    Members = cluster(Topology, 8, Config),
    [Stopped | Others] = Members,
    Name = ?CLUSTER:name(Stopped),
    Marks = ?CLUSTER:marks(Others),
    Start = now_ms(),
    ok = ?NODE:pause(vm(Stopped)),
    Down = everywhere({down, Name}, Marks, Start),
    agreed(Others, #{Name => down}),
    ok = ?NODE:resume(vm(Stopped)),
    agreed(Members),
    comment("down: ~s", [?CLUSTER:spread(Down)]).

%% internal

cluster(Topology, Count, Config) -> cluster(Topology, Count, ?DETECTION, Config).

cluster(Topology, Count, Detection, Config) ->
    Specs = [
        {lists:concat(["d", N, "_", erlang:unique_integer([positive])]), #{topology => Topology, fault_detection => Detection}}
     || N <- lists:seq(1, Count)
    ],
    Members = topos_topology_SUITE:started(Specs, Config),
    [?assertEqual(ok, Result) || Result <- ?CLUSTER:join_all(Members)],
    agreed(Members),
    Members.

agreed(Members) -> agreed(Members, #{}).

agreed(Members, Others) ->
    Expected = maps:merge(maps:from_list([{?CLUSTER:name(M), up} || M <- Members]), Others),
    topos_topology_SUITE:diagnosed(fun() -> topos_ct_diagnosis:disagreements(Members, Expected) end, fun() ->
        ok = ?NODE:wait_until(agreement, fun() ->
            [] =:= [M || M <- Members, ?CLUSTER:statuses(M) =/= Expected]
        end, 30_000)
    end).

everywhere(Event, Marks, Start) ->
    ?CLUSTER:together(fun({Member, Mark}) -> max(0, ?CLUSTER:await(Member, Event, Mark, 30_000) - Start) end, Marks).

events_of(Name, Member, Mark) -> [Event || {_, N} = Event <- events(Member, Mark), N =:= Name].

events(#{vm := Vm}, Mark) ->
    [E || {_, {Kind, _} = E} <- ?NODE:call(Vm, topos_ct_events, log, [Mark]), lists:member(Kind, [up, suspect, recovered, down, left])].

%% What `From' says by the detector is not heard at `At'.
deaf(At, From) -> ok = ?NODE:call(vm(At), ?MODULE, deaf_here, [?CLUSTER:name(From)]).

deaf_here(From) ->
    Counter = counters:new(1, []),
    ok = persistent_term:put(?MODULE, Counter),
    ok = meck:new(topos_swim, [passthrough, no_link]),
    meck:expect(topos_swim, received, fun
        (Node, _) when Node =:= From -> counters:add(Counter, 1, 1);
        (Node, Bytes) -> meck:passthrough([Node, Bytes])
    end).

unheard_here() -> counters:get(persistent_term:get(?MODULE), 1).

%% Packets that a node's sockets have sent.
sent(#{vm := Vm}) -> ?NODE:call(Vm, ?MODULE, sent_here, []).

sent_here() ->
    lists:sum([Count || Port <- erlang:ports(), erlang:port_info(Port, name) =:= {name, "tcp_inet"},
                        {ok, [{send_cnt, Count}]} <- [inet:getstat(Port, [send_cnt])]]).

vm(#{vm := Vm}) -> Vm.

now_ms() -> os:system_time(millisecond).

comment(Format, Args) -> topos_topology_SUITE:comment(Format, Args).
