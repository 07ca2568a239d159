%% Topologies of real VMs on every engine that is present: everybody reaches everybody, neighbours or not, also after
%% nodes were killed, and each event comes once.
%%
%% TOPOS_NODES sets how many nodes there are (default 10; the full measure is 50, `make ct-cluster'): so many in HyParView, a tenth of them as hubs with
%% four tenths as clients, and at most ten in a full mesh. A third of the nodes is killed. TOPOS_FIGURES names a file that the figures are added to.
-module(topos_topology_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile(export_all).
-compile({no_auto_import, [nodes/0]}).

-define(NODE, topos_ct_node).
-define(CLUSTER, topos_ct_cluster).
%% Messages of each stream: one from every node to every other.
-define(STREAM, 100).

all() -> [{group, Engine} || Engine <- topos_engine:names()].

groups() ->
    Cases = [
        hyparview_carries_everything, hubs_carry_everything, full_mesh_carries_everything, hub_is_killed_under_traffic,
        parts_find_together,
        custom_carries_everything, custom_handler_fails, other_ways_to_ask
    ],
    [{Engine, [], Cases} || Engine <- topos_engine:names()].

suite() -> [{timetrap, {seconds, 120 + 20 * nodes()}}].

init_per_group(Engine, Config) -> topos_ct_pool:init_group(Engine, Config).

end_per_group(_Engine, _Config) -> topos_ct_pool:close().

init_per_testcase(_Case, Config) ->
    [{case_number, erlang:unique_integer([positive])}, {vms, ets:new(vms, [public, ordered_set])} | Config].

end_per_testcase(_Case, Config) -> topos_ct_pool:end_case(Config).

%% Nodes with three links each (five, from 20 nodes on): joins, streams between all pairs, a broadcast; three are killed
%% under traffic; one leaves.
hyparview_carries_everything(Config) ->
    Links = case nodes() >= 20 of true -> 5; false -> 3 end,
    Topology = #{
        type => hyparview, active_view => Links, passive_view => 6 * Links, shuffle_period => 2_000,
        request_timeout => 1_000
    },
    Members = cluster([{N, Topology} || N <- numbered("n", nodes())], Config),
    Hops = hops(Members),
    ?assert(lists:max(Hops) > 1),
    [?assert(length(neighbours(M)) =< Links) || M <- Members],
    %% The engine keeps the links of the view, and no others.
    engine_obeys(Members),
    Stream = streams(Members, Members, first),
    broadcast(Members, one),
    requests(Members),
    {Killed, Living} = lists:split(nodes() div 3, tl(Members) ++ [hd(Members)]),
    Marks = ?CLUSTER:marks(Living),
    {Down, Count, Stall} = under_traffic(Living, Killed, Marks, second),
    Again = streams(Living, Living, third),
    broadcast(Living, two),
    Apart = exactly_once([{down, ?CLUSTER:name(K)} || K <- Killed], Marks),
    [?assert(length(neighbours(M)) =< Links) || M <- Living],
    Back = comes_back(hd(Killed), Living, tl(Killed), Topology, Config),
    Leaving = leave(lists:last(Living), lists:droplast(Living)),
    comment("HyParView, ~b nodes of ~b MB: all agreed ~b ms after the joins began; hops: ~b at most, ~.2f on average; ~b streams of ~b: ~b ms; "
            "~b killed: ~b messages through it, longest stall ~b ms, down: ~s, ~b times a living one; ~b streams of ~b after it: ~b ms; one started again: up "
            "everywhere after ~b ms; one left: nothing of it remained after ~b ms",
            [nodes(), memory(Living), formed(Config), lists:max(Hops), lists:sum(Hops) / length(Hops), pairs(Members), ?STREAM, Stream, length(Killed),
             Count, Stall, ?CLUSTER:spread(Down), Apart, pairs(Living), ?STREAM, Again, Back, Leaving]).

%% Two hubs and six clients, which have no links to each other.
hubs_carry_everything(Config) ->
    Members = hubs_and_clients(hubs(), clients(), Config),
    {Hubs, Clients} = lists:split(hubs(), Members),
    Names = [?CLUSTER:name(H) || H <- Hubs],
    [?assertMatch([_], neighbours(C)) || C <- Clients],
    [?assertEqual([], neighbours(C) -- Names) || C <- Clients],
    engine_obeys(Members),
    Stream = streams(Members, Members, first),
    broadcast(Members, one),
    requests(Members),
    processes(Clients),
    Killed = third(Hubs) ++ third(Clients),
    Living = Members -- Killed,
    Marks = ?CLUSTER:marks(Living),
    {Down, Count, Stall} = under_traffic(Living, Killed, Marks, second),
    Again = streams(Living, Living, third),
    broadcast(Living, two),
    _ = exactly_once([{down, ?CLUSTER:name(K)} || K <- Killed], Marks),
    Back = comes_back(hd(Killed), Living, tl(Killed), maps:get(topology, maps:get(config, hd(Clients))), Config),
    Leaving = leave(lists:last(Living), lists:droplast(Living)),
    comment("~b hubs, ~b clients: all agreed after ~b ms; ~b streams of ~b: ~b ms; ~b hubs and ~b clients killed: ~b messages through it, longest stall ~b ms, "
            "down: ~s; ~b streams after it: ~b ms; a hub started again: up everywhere after ~b ms; one left: after ~b ms",
            [hubs(), clients(), formed(Config), pairs(Members), ?STREAM, Stream, length(third(Hubs)), length(third(Clients)), Count, Stall,
             ?CLUSTER:spread(Down), pairs(Living), Again, Back, Leaving]).

%% Every node linked to every other.
full_mesh_carries_everything(Config) ->
    Members = cluster([{N, full_mesh} || N <- numbered("n", min(10, nodes()))], Config),
    engine_obeys(Members),
    Stream = streams(Members, Members, first),
    broadcast(Members, one),
    {Killed, Living} = lists:split(length(Members) div 3, tl(Members) ++ [hd(Members)]),
    Marks = ?CLUSTER:marks(Living),
    {Down, Count, Stall} = under_traffic(Living, Killed, Marks, second),
    Again = streams(Living, Living, third),
    broadcast(Living, two),
    _ = exactly_once([{down, ?CLUSTER:name(K)} || K <- Killed], Marks),
    Back = comes_back(hd(Killed), Living, tl(Killed), full_mesh, Config),
    Leaving = leave(lists:last(Living), lists:droplast(Living)),
    comment("full mesh, ~b nodes: all agreed after ~b ms; ~b streams of ~b: ~b ms; ~b killed: ~b messages through it, longest stall ~b ms, down: ~s; "
            "~b streams after it: ~b ms; one started again: up everywhere after ~b ms; one left: after ~b ms",
            [length(Members), formed(Config), pairs(Members), ?STREAM, Stream, length(Killed), Count, Stall, ?CLUSTER:spread(Down), pairs(Living), Again,
             Back, Leaving]).

%% A node that was killed is started again, elsewhere, and joins: it is up to all, it talks to all, and nobody else came back.
comes_back(Killed, Living, StillDown, Topology, Config) ->
    Extra = #{topology => Topology, fault_detection => maps:get(fault_detection, maps:get(config, Killed))},
    [Again] = started([{{exact, ?CLUSTER:name(Killed)}, Extra}], Config),
    Start = now_ms(),
    ?assertEqual(ok, ?CLUSTER:join(Again, hd(Living))),
    await_agreement(Living, StillDown, [Again], 20_000 + 500 * length(Living)),
    Took = now_ms() - Start,
    %% It never met those that are down.
    ok = ?NODE:wait_until(up_to_it, fun() ->
        ?CLUSTER:call(Again, nodes, []) =:= lists:sort([?CLUSTER:name(M) || M <- Living])
    end, 10_000),
    _ = streams([Again], Living, back_to),
    _ = streams(Living, [Again], back_from),
    ?assertEqual(ok, ?CLUSTER:call(Again, leave, [])),
    _ = ?CLUSTER:together(fun(M) ->
        ok = ?NODE:wait_until(left, fun() -> maps:get(?CLUSTER:name(Again), ?CLUSTER:statuses(M)) =:= left end, 10_000)
    end, Living),
    Took.

third(List) -> lists:sublist(List, max(1, length(List) div 3)).

%% Megabytes of memory that a VM has to itself and shares, on average.
memory(Members) ->
    Resident = [list_to_integer(string:trim(os:cmd("ps -o rss= -p " ++ ?NODE:os_pid(vm(M))))) || M <- Members],
    lists:sum(Resident) div (1024 * length(Resident)).

%% The hub of some clients is killed while all clients talk to each other: they find the other one.
hub_is_killed_under_traffic(Config) ->
    Members = [Hub, Other | Clients] = hubs_and_clients(2, 5, Config),
    ok = ?NODE:wait_until(one_that_serves, fun() -> neighbours(Hub) =/= [] end, 1_000),
    %% The hub that serves more of them.
    {Victim, Rest} = case length(neighbours(Hub)) >= length(neighbours(Other)) of
        true -> {Hub, Other};
        false -> {Other, Hub}
    end,
    Living = [Rest | Clients],
    Marks = ?CLUSTER:marks(Living),
    {Down, Count, Stall} = under_traffic(Living, [Victim], Marks, first),
    [?assertEqual([?CLUSTER:name(Rest)], neighbours(C)) || C <- Clients],
    _ = streams(Living, Living, second),
    broadcast(Living, two),
    _ = exactly_once([{down, ?CLUSTER:name(Victim)}], Marks),
    _ = Members,
    comment("~b messages through it, longest stall ~b ms; down: ~s", [Count, Stall, ?CLUSTER:spread(Down)]).

%% Two clusters of three with full views become one when one node of one joins one node of the other.
parts_find_together(Config) ->
    Topology = #{type => hyparview, active_view => 2, passive_view => 8, shuffle_period => 1_000, mix_period => 0},
    Left = cluster([{N, Topology} || N <- numbered("l", 3)], Config),
    Right = cluster([{N, Topology} || N <- numbered("r", 3)], Config),
    ?assertEqual(ok, ?CLUSTER:join(lists:last(Left), hd(Right))),
    await_agreement(Left ++ Right, [], 15_000),
    _ = streams(Left, Right, first),
    _ = streams(Right, Left, second),
    %% Half of them are started anew elsewhere: they are found by the new ones' joins.
    ok = ?NODE:kill(vm(hd(Left))),
    Living = tl(Left) ++ Right,
    await_agreement(Living, [hd(Left)], 15_000),
    [Again] = started([{{exact, ?CLUSTER:name(hd(Left))}, #{topology => Topology}}], Config),
    ?assertEqual(ok, ?CLUSTER:join(Again, hd(Right))),
    await_agreement([Again | Living], [], 15_000),
    _ = streams([Again], Living, third),
    ok.

%% A ring that a handler decides on: streams between all pairs over it, a node killed, one that leaves, one that joins.
custom_carries_everything(Config) ->
    Members = cluster([{N, shape(ring)} || N <- numbered("n", 6)], Config),
    is_ring(Members),
    engine_obeys(Members),
    ?assertEqual(lists:max(hops(Members)), 3),
    Stream = streams(Members, Members, first),
    broadcast(Members, one),
    requests(Members),
    [Killed | Living] = Members,
    Marks = ?CLUSTER:marks(Living),
    {_, Count, Stall} = under_traffic(Living, [Killed], Marks, second),
    is_ring(Living),
    _ = streams(Living, Living, third),
    broadcast(Living, two),
    _ = exactly_once([{down, ?CLUSTER:name(Killed)}], Marks),
    leave(lists:last(Living), lists:droplast(Living)),
    comment("a ring of 6; 30 streams of ~b: ~b ms; one killed: ~b messages through it, longest stall ~b ms", [?STREAM, Stream, Count, Stall]).

%% A handler that fails, in whatever way, changes nothing; its error is told; when it is well again the links follow it.
custom_handler_fails(Config) ->
    Members = [A, B, C, D] = cluster([{N, shape(ring)} || N <- numbered("n", 4)], Config),
    is_ring(Members),
    ?assertMatch(#{handler := ok}, topology(A, status, [])),
    Before = neighbours(A),
    [
        begin
            ok = ?NODE:call(vm(A), topos_ct_shape, spoil, [How]),
            %% A member that comes or goes makes it asked.
            [New] = started([{lists:concat(["z_", How]), #{topology => shape(ring)}}], Config),
            ?assertEqual(ok, ?CLUSTER:join(New, B)),
            ok = ?NODE:wait_until({How, told}, fun() ->
                case topology(A, status, []) of
                    #{handler := {error, {topology_handler_failed, #{why := Why}}}} -> is_reason(How, Why) orelse Why;
                    Other -> Other
                end
            end, 10_000),
            %% What it wanted itself; its other link is for the one before it to want.
            ?assert(lists:member(?CLUSTER:name(B), topology_view(A))),
            ok = ?NODE:call(vm(A), topos_ct_shape, spoil, [none]),
            ok = ?NODE:wait_until(well, fun() -> maps:get(handler, topology(A, status, [])) =:= ok end, 10_000),
            leave(New, Members)
        end
     || How <- [crash, hang, hoard, stranger, too_many, no_list]
    ],
    ok = ?NODE:wait_until(a_ring_again, fun() -> lists:sort(neighbours(A)) =:= lists:sort(Before) end, 15_000),
    _ = streams(Members, Members, first),
    %% One that will not begin, or is not there, is an error of the start, and of the switch; nothing changes.
    ?assertMatch({error, {topology_handler_failed, #{why := {not_a_handler, _}}}}, refused(#{type => custom, handler => lists}, Config)),
    Switched = fun(At) -> topology(At, set_topology, [shape(line), #{timeout => 1_000}]) end,
    ok = ?NODE:call(vm(D), topos_ct_shape, spoil, [refuse]),
    ?assertMatch({error, {topology_handler_failed, #{why := {init, on_purpose}}}}, Switched(D)),
    %% No other member heard of that one: it is in nobody's way.
    {error, {switch_rolled_back, #{nodes := Unwilling, why := Why}}} = Switched(A),
    ?assertEqual({[?CLUSTER:name(D)], {topology_handler_failed, #{handler => topos_ct_shape, why => {init, on_purpose}}}},
                 {Unwilling, element(2, maps:get(?CLUSTER:name(D), Why))}),
    [?assertMatch(#{type := custom, args := ring}, topology(M, current, [])) || M <- Members],
    ok = ?NODE:call(vm(D), topos_ct_shape, spoil, [none]),
    settled(Members),
    %% From the ring to a line, to a full mesh, and back.
    ?assertEqual(ok, topology(C, set_topology, [shape(line), #{timeout => 10_000}])),
    ok = ?NODE:wait_until(a_line, fun() -> lists:sort([length(neighbours(M)) || M <- Members]) =:= [1, 1, 2, 2] end, 15_000),
    _ = streams(Members, Members, second),
    settled(Members),
    ?assertEqual(ok, topology(B, set_topology, [full_mesh, #{timeout => 10_000}])),
    settled(Members),
    ?assertEqual(ok, topology(D, set_topology, [shape(ring), #{timeout => 10_000}])),
    ok = ?NODE:wait_until(a_ring, fun() -> [2, 2, 2, 2] =:= [length(neighbours(M)) || M <- Members] end, 15_000),
    _ = streams(Members, Members, third),
    ok.

%% No member is busy with a switch.
settled(Members) ->
    ok = ?NODE:wait_until(stable, fun() ->
        lists:all(fun(M) -> maps:get(state, topology(M, status, [])) =:= stable end, Members)
    end, 10_000).

shape(Shape) -> #{type => custom, handler => topos_ct_shape, args => Shape, request_timeout => 1_000}.

is_reason(crash, Why) -> Why =:= on_purpose;
is_reason(hang, Why) -> Why =:= {timeout, 500};
is_reason(hoard, Why) -> Why =:= memory;
is_reason(stranger, Why) -> Why =:= {no_other_members, [nobody@nowhere]};
is_reason(too_many, Why) -> Why =:= {too_many, 1_000, 64};
is_reason(no_list, Why) -> element(1, Why) =:= no_list.

topology_view(Member) -> maps:get(active, topology(Member, views, [])).

%% What a node says that is started with such a topology.
refused(Topology, Config) ->
    [Vm] = topos_ct_pool:take(1),
    Answer = ?NODE:call(Vm, topos_partisan, start, [?CLUSTER:config(?config(engine, Config), node_name(refused, Config), #{topology => Topology})]),
    ok = topos_ct_pool:give([Vm]),
    Answer.

%% Each has links to the one before and the one after, by name, and to nobody else.
is_ring(Members) ->
    Names = lists:sort([?CLUSTER:name(M) || M <- Members]),
    Round = [lists:last(Names) | Names] ++ [hd(Names)],
    Expected = maps:from_list([
        {Name, lists:usort([lists:nth(Place, Round), lists:nth(Place + 2, Round)])} || {Place, Name} <- lists:enumerate(Names)
    ]),
    ok = ?NODE:wait_until(ring, fun() ->
        Links = maps:from_list(?CLUSTER:together(fun(M) -> {?CLUSTER:name(M), neighbours(M)} end, Members)),
        Links =:= Expected orelse Links
    end, 20_000).

%% What `topos_topology' answers where nothing special is.
other_ways_to_ask(Config) ->
    [A, B] = cluster([{a, full_mesh}, {b, full_mesh}], Config),
    {NameA, NameB} = {?CLUSTER:name(A), ?CLUSTER:name(B)},
    ?assertEqual(#{type => full_mesh}, topology(A, current, [])),
    ?assertEqual([NameB], topology(A, neighbours, [])),
    ?assertEqual(#{active => [NameB], passive => []}, topology(A, views, [])),
    ?assertEqual({ok, [NameB]}, topology(A, route, [NameB])),
    ?assertEqual({ok, 1}, topology(A, hops, [NameB])),
    ?assertEqual({ok, []}, topology(A, route, [NameA])),
    ?assertEqual(#{NameA => [NameB]}, topology(A, links, [])),
    ?assertMatch({error, {unknown_node, _}}, topology(A, route, [nobody@nowhere])),
    ?assertMatch({error, {message_too_large, _}}, ?NODE:call(vm(A), ?MODULE, too_large_here, [])),
    broadcast([A, B], ask),
    [C] = started([{c, #{topology => hyparview}}], Config),
    ?assertMatch(#{type := hyparview, active_view := 5}, topology(C, current, [])),
    ?assertEqual([], topology(C, neighbours, [])),
    ?assertEqual(#{?CLUSTER:name(C) => []}, topology(C, links, [])).

too_large_here() ->
    #{max_message_bytes := Max} = topos_local:config(limits),
    topos_topology:broadcast(sink, binary:copy(<<0>>, Max)).

%% internal: clusters

nodes() -> list_to_integer(os:getenv("TOPOS_NODES", "10")).

%% Five hubs and twenty clients of fifty.
hubs() -> max(2, nodes() div 10).
clients() -> max(6, nodes() * 2 div 5).

pairs(Members) -> length(Members) * (length(Members) - 1).

hubs_and_clients(HubCount, Clients, Config) ->
    Hubs = [node_name(N, Config) || N <- numbered("hub", HubCount)],
    Topology = #{type => client_server, hubs => Hubs, hubs_of_a_client => 1, request_timeout => 1_000},
    Bases = [{exact, H} || H <- Hubs] ++ numbered("client", Clients),
    cluster([{B, Topology} || B <- Bases], Config).

%% All join the first, at once.
cluster(Specs, Config) ->
    %% A client that lost its hub is not down as long as it can find another; and nobody is who waits for the processor for a while.
    Detection = #{echo_interval => 250, suspect_after => 1_500, down_after => 5_000},
    Extra = fun(Topology) -> #{topology => Topology, fault_detection => Detection} end,
    Members = started([{Base, Extra(Topology)} || {Base, Topology} <- Specs], Config),
    Start = now_ms(),
    %% All at one node, at once: it has so many handshakes to make.
    Joins = ?CLUSTER:join_all(Members, #{timeout => 5_000 + 2_000 * length(Members)}),
    Failed = [M || {M, {error, _}} <- lists:zip(tl(Members), Joins)],
    _ = Failed =:= [] orelse ct:pal("~p", [topos_ct_diagnosis:all_of(Failed, ?CLUSTER:name(hd(Members)))
        ++ lists:append([topos_ct_diagnosis:all_of([hd(Members)], ?CLUSTER:name(M)) || M <- Failed])]),
    ?assertEqual([ok], lists:usort(Joins)),
    await_agreement(Members, [], 20_000 + 1_000 * length(Members)),
    true = ets:insert(?config(vms, Config), {formed, now_ms() - Start}),
    Members.

%% How long the last cluster took to form.
formed(Config) -> ets:lookup_element(?config(vms, Config), formed, 2).

started(Specs, Config) ->
    Vms = topos_ct_pool:take(length(Specs)),
    true = ets:insert(?config(vms, Config), [{?NODE:os_pid(Vm), Vm} || Vm <- Vms]),
    ?CLUSTER:together(
        fun({Vm, {Base, Extra}}) ->
            ?CLUSTER:start_node(Vm, ?config(engine, Config), node_name(Base, Config), Extra)
        end,
        lists:zip(Vms, Specs)).

node_name({exact, Name}, _) -> Name;
node_name(Base, Config) -> ?NODE:name(lists:concat([Base, "_", ?config(case_number, Config)])).

numbered(Base, Count) -> [lists:concat([Base, N]) || N <- lists:seq(1, Count)].

%% Everybody sees all members up, those that were killed down, and nobody else; and has a way to each.
await_agreement(Members, Killed, Timeout) -> await_agreement(Members, Killed, [], Timeout).

%% Of others that are up too it does not matter what they see.
await_agreement(Members, Killed, Others, Timeout) ->
    Names = [?CLUSTER:name(M) || M <- Members ++ Others],
    Expected = maps:from_list([{N, up} || N <- Names] ++ [{?CLUSTER:name(K), down} || K <- Killed]),
    Gone = fun(_, Status) -> Status =/= left end,
    diagnosed(fun() -> topos_ct_diagnosis:disagreements(Members, Expected) end, fun() ->
        ok = ?NODE:wait_until(agreement, fun() ->
            Views = ?CLUSTER:together(fun(M) -> {?CLUSTER:name(M), ?CLUSTER:statuses(M)} end, Members),
            [] =:= [View || {_, Statuses} = View <- Views, maps:filter(Gone, Statuses) =/= Expected] orelse politely(Members)
        end, Timeout),
        ok = ?NODE:wait_until(routes, fun() ->
            [] =:= lists:append(?CLUSTER:together(
                fun(M) -> [{?CLUSTER:name(M), N} || N <- Names, element(1, topology(M, route, [N])) =/= ok] end, Members))
        end, Timeout)
    end).

%% Fifty VMs on two cores are busy with answering alone if they are asked all the time.
politely(Members) ->
    quiet(5 * length(Members)),
    not_yet.

%% Where nodes do not agree, what each side of a pair knows of the other is worth more than that they do not.
diagnosed(Diagnose, Wait) ->
    try
        Wait()
    catch
        error:{not_within, _, _, _} = Late:Stack ->
            ct:pal("~p~n~p", [Late, Diagnose()]),
            erlang:raise(error, Late, Stack)
    end.

%% internal: traffic

%% The numbers 1 to ?STREAM from each of some to each of others; they arrive, each once and in order. Milliseconds.
streams(From, To, Tag) ->
    Start = now_ms(),
    _ = start_sinks(From, To, Tag),
    Sent = ?CLUSTER:together(fun(A) -> {A, send_all(A, To, Tag)} end, From),
    [
        ?assertEqual({?CLUSTER:name(A), []}, {?CLUSTER:name(A), [Wrong || {_, N} = Wrong <- Results, N =/= ?STREAM]})
     || {A, Results} <- Sent
    ],
    received(From, To, Tag),
    now_ms() - Start.

%% Kills some while the living all send to each other, about 8,000 messages a second in all (2,000 from 20 nodes on), from before the kill until
%% all agree again. How long the kills took to be told, how many messages arrived, the longest time between two of a
%% stream.
under_traffic(Living, Killed, Marks, Tag) ->
    _ = start_sinks(Living, Living, Tag),
    %% The VMs are those of earlier cases.
    _ = ?CLUSTER:together(fun(M) -> ok = ?NODE:call(vm(M), persistent_term, put, [{?MODULE, Tag}, go]) end, Living),
    Workers = [spawn_monitor(fun() -> exit({sent, M, steady(M, Living, Tag)}) end) || M <- Living],
    [Last, First | _] = lists:reverse(Living),
    ok = ?NODE:wait_until(traffic, fun() -> count(Last, sink(First, Tag)) > 5 end, 20_000),
    Start = now_ms(),
    [ok = ?NODE:kill(vm(K)) || K <- Killed],
    Down = await_down(Killed, Marks, Start),
    await_agreement(Living, Killed, 20_000 + 1_000 * length(Living)),
    _ = ?CLUSTER:together(fun(M) -> ok = ?NODE:call(vm(M), persistent_term, put, [{?MODULE, Tag}, stop]) end, Living),
    Sent = [receive {'DOWN', Ref, process, _, {sent, A, Results}} -> {A, Results} end || {_, Ref} <- Workers],
    Stalls = [
        arrived(A, B, Tag, Count)
     || {A, Results} <- Sent, {Name, Count} <- Results, B <- Living, ?CLUSTER:name(B) =:= Name
    ],
    {Down, lists:sum([Count || {_, Results} <- Sent, {_, Count} <- Results]), lists:max(Stalls)}.

steady(A, To, Tag) ->
    Names = [?CLUSTER:name(B) || B <- To, B =/= A],
    %% What passes several nodes costs each of them, and they all share this machine.
    PerMillisecond = case length(To) >= 20 of true -> 2; false -> 8 end,
    Period = max(5, pairs(To) div PerMillisecond),
    ?NODE:call(vm(A), ?MODULE, steady_here, [Names, sink(A, Tag), {?MODULE, Tag}, Period], 300_000).

%% Runs in the VM of the sender.
steady_here(Names, Sink, Flag, Period) ->
    ?CLUSTER:together(fun(Name) -> {Name, steady_stream(Name, Sink, {Flag, Period}, 1)} end, Names).

steady_stream(Name, Sink, {Flag, Period} = How, Number) ->
    case {persistent_term:get(Flag, go), topos_partisan:send(Name, Sink, Number, #{wait => 1_000, key => Sink})} of
        {stop, ok} -> Number;
        {_, Result} ->
            receive after Period -> ok end,
            steady_stream(Name, Sink, How, case Result of ok -> Number + 1; {error, _} -> Number end)
    end.

%% All of a stream, each once and in order; the longest time between two.
arrived(A, B, Tag, Count) ->
    ok = ?NODE:wait_until({all_of, ?CLUSTER:name(A), at, ?CLUSTER:name(B)},
        fun() -> case count(B, sink(A, Tag)) of N when N >= Count -> true; N -> {N, 'of', Count} end end, 30_000),
    Messages = ?NODE:call(vm(B), topos_ct_probe, messages, [sink(A, Tag)]),
    Pair = {?CLUSTER:name(A), ?CLUSTER:name(B)},
    ?assertEqual({Pair, lists:seq(1, Count)}, {Pair, [N || {_, N} <- Messages]}),
    Times = [T || {T, _} <- Messages],
    lists:max([0 | lists:zipwith(fun(T, Next) -> Next - T end, lists:droplast(Times), tl(Times))]).

start_sinks(From, To, Tag) ->
    ?CLUSTER:together(fun(B) ->
        [ok = ?NODE:call(vm(B), topos_ct_stream, start_sink, [sink(A, Tag)]) || A <- From, A =/= B]
    end, To).

send_all(A, To, Tag) ->
    Names = [?CLUSTER:name(B) || B <- To, B =/= A],
    ?NODE:call(vm(A), ?MODULE, send_here, [Names, sink(A, Tag)], 120_000).

%% Runs in the VM of the sender: the streams to all others at once.
send_here(Names, Sink) ->
    ?CLUSTER:together(fun(Name) -> {Name, topos_ct_stream:send(Name, Sink, ?STREAM)} end, Names).

received(From, To, Tag) ->
    Pairs = [{A, B} || A <- From, B <- To, A =/= B],
    [
        begin
            ok = ?NODE:wait_until({all_of, ?CLUSTER:name(A), at, ?CLUSTER:name(B)},
                fun() -> case count(B, sink(A, Tag)) of N when N >= ?STREAM -> true; N -> N end end, 30_000),
            Verdict = ?NODE:call(vm(B), topos_ct_stream, verdict, [sink(A, Tag), ?STREAM]),
            ?assertEqual({?CLUSTER:name(A), ?CLUSTER:name(B), in_order}, {?CLUSTER:name(A), ?CLUSTER:name(B), Verdict})
        end
     || {A, B} <- Pairs
    ].

count(B, Sink) -> ?NODE:call(vm(B), topos_ct_stream, received, [Sink]).

sink(A, Tag) -> list_to_atom(lists:concat(["sink_", ?CLUSTER:name(A), "_", Tag])).

%% Each member broadcasts: each of the others gets each once.
broadcast(Members, Tag) ->
    Sink = list_to_atom(lists:concat(["broadcasts_", ?CLUSTER:name(hd(Members)), "_", Tag])),
    _ = ?CLUSTER:together(fun(M) -> ok = ?NODE:call(vm(M), topos_ct_stream, start_sink, [Sink]) end, Members),
    [?assertEqual(ok, topology(M, broadcast, [Sink, ?CLUSTER:name(M)])) || M <- Members],
    Names = lists:sort([?CLUSTER:name(M) || M <- Members]),
    Got = fun(M) -> [Name || {_, Name} <- ?NODE:call(vm(M), topos_ct_probe, messages, [Sink])] end,
    [
        ok = ?NODE:wait_until({broadcasts, ?CLUSTER:name(M)}, fun() ->
            case Names -- [?CLUSTER:name(M) | Got(M)] of [] -> true; Missing -> {missing, Missing} end
        end, 60_000)
     || M <- Members
    ],
    quiet(300),
    [?assertEqual(Names -- [?CLUSTER:name(M)], lists:sort(Got(M))) || M <- Members].

%% An acknowledged message, a process and a monitor, from each to the next that is no neighbour.
requests(Members) ->
    [
        begin
            Others = [?CLUSTER:name(M) || M <- Members, M =/= A],
            Far = [N || N <- Others, topology(A, hops, [N]) =/= {ok, 1}],
            [?assertEqual(ok, ?CLUSTER:call(A, send, [N, topos_ct_events, hello, #{ack => true}])) || N <- Far]
        end
     || A <- Members
    ].

%% A process on another client is started and monitored, and its end is told.
processes([A, B | _]) ->
    {ok, Process} = ?CLUSTER:call(A, spawn, [?CLUSTER:name(B), ?MODULE, wait_here, []]),
    ?assertMatch({down, _}, ?NODE:call(vm(A), ?MODULE, monitor_here, [Process, ?CLUSTER:name(B)])).

wait_here() ->
    true = register(topos_topology_waits, self()),
    receive stop -> ok end.

monitor_here(Process, Node) ->
    {ok, Ref} = topos_partisan:monitor(Process),
    ok = topos_ct_node:wait_until(registered, fun() ->
        topos_partisan:send(Node, topos_topology_waits, stop, #{ack => true}) =:= ok
    end, 5_000),
    receive {'DOWN', Ref, process, _, Reason} -> {down, Reason} after topos_ct_node:patience(5_000) -> nothing end.

%% internal: who is there

%% The one that leaves is `left' to all, and nothing of it is left behind.
leave(Leaver, Others) ->
    Name = ?CLUSTER:name(Leaver),
    Marks = ?CLUSTER:marks(Others),
    Start = now_ms(),
    ?assertEqual(ok, ?CLUSTER:call(Leaver, leave, [])),
    _ = ?CLUSTER:together(fun({M, Mark}) -> ?CLUSTER:await(M, {left, Name}, Mark, 5_000) end, Marks),
    diagnosed(fun() -> topos_ct_diagnosis:all_of([Leaver | Others], Name) end, fun() ->
        ok = ?NODE:wait_until(nothing_remains, fun() ->
            Remains = ?CLUSTER:together(
                fun(M) -> {?CLUSTER:name(M), lists:member(Name, linked(M)), topology(M, route, [Name])} end, Others),
            Own = {linked(Leaver), neighbours(Leaver)},
            case [R || {_, Linked, Route} = R <- Remains, Linked orelse element(1, Route) =:= ok] of
                [] when Own =:= {[], []} -> true;
                Wrong -> {Wrong, Own}
            end
        end, 20_000)
    end),
    Took = now_ms() - Start,
    [?assertEqual(left, maps:get(Name, ?CLUSTER:statuses(M))) || M <- Others],
    %% A leaver is connected a moment longer, to get its confirmation.
    ok = ?NODE:wait_until(unknown, fun() ->
        lists:all(fun(M) -> is_unknown(?CLUSTER:call(M, send, [Name, nobody, hello])) end, Others)
    end, 2_000),
    Took.

is_unknown({error, {Reason, _}}) -> Reason =:= unknown_node;
is_unknown(ok) -> false.

await_down(Killed, Marks, Start) ->
    Events = [{down, ?CLUSTER:name(K)} || K <- Killed],
    lists:append(?CLUSTER:together(
        fun({M, Mark}) ->
            [max(0, At - Start) || At <- ?CLUSTER:await_all(M, Events, Mark, 15_000 + 500 * length(Marks))]
        end, Marks)).

%% These went down, each once and for good, to those who look at events and to those who subscribed functions. One that lives is taken for down only where
%% no way led to it for too long, and is up again: on a busy machine the views of many are mended slowly. How often that was, of one pair in ten at most.
exactly_once(Expected, Marks) ->
    quiet(500),
    Edge = fun({Kind, _}) -> lists:member(Kind, [up, down, left]) end,
    Apart = lists:sum([
        begin
            Events = [E || {_, E} <- ?NODE:call(vm(M), topos_ct_events, log, [Mark]), Edge(E)],
            Gone = [Node || {_, Node} <- Expected],
            {Last, Passing} = lists:partition(fun({_, Node}) -> lists:member(Node, Gone) end, Events),
            ?assertEqual({?CLUSTER:name(M), lists:sort(Expected)}, {?CLUSTER:name(M), lists:sort(Last)}),
            [
                ?assertEqual({Node, lists:sublist(lists:append(lists:duplicate(length(Kinds), [down, up])), length(Kinds))}, {Node, Kinds})
             || Node <- lists:usort([N || {_, N} <- Passing]), Kinds <- [[Kind || {Kind, N} <- Passing, N =:= Node]]
            ],
            %% Functions are called as often as there were events, from the start on: on a busy machine a node may have been down before.
            Calls = [C || {down, _} = C <- ?NODE:call(vm(M), topos_ct_events, calls, [])],
            All = [{down, N} || {_, {Kind, N}} <- ?NODE:call(vm(M), topos_ct_events, log, [0]), Kind =:= down orelse Kind =:= left],
            ?assertEqual({?CLUSTER:name(M), lists:sort(All)}, {?CLUSTER:name(M), lists:sort(Calls)}),
            length([N || {down, N} <- Passing])
        end
     || {M, Mark} <- Marks
    ]),
    ?assert(10 * Apart =< pairs(Marks)),
    Apart.

%% The engine has connections to the neighbours, and to nobody else, but for links that open or linger at the moment.
engine_obeys(Members) ->
    _ = ?CLUSTER:together(fun(M) ->
        ok = ?NODE:wait_until({engine_obeys, ?CLUSTER:name(M)}, fun() ->
            case {linked(M), neighbours(M)} of
                {Same, Same} -> true;
                Others -> {links_and_neighbours, Others}
            end
        end, 20_000)
    end, Members),
    ok.

hops(Members) ->
    [Hops || A <- Members, B <- Members, A =/= B, {ok, Hops} <- [topology(A, hops, [?CLUSTER:name(B)])]].

neighbours(Member) -> topology(Member, neighbours, []).

%% The peers that the engine has connections to.
linked(#{vm := Vm, config := #{engine := Engine}}) ->
    lists:usort([N || {N, _, _} <- ?NODE:call(Vm, topos_engine:module(Engine), connections, [])]).

topology(#{vm := Vm}, Function, Args) -> ?NODE:call(Vm, topos_topology, Function, Args, 120_000).

vm(#{vm := Vm}) -> Vm.

%% Nothing may happen: there is nothing to wait for.
quiet(Ms) -> receive after Ms -> ok end.

now_ms() -> os:system_time(millisecond).

comment(Format, Args) ->
    Text = lists:flatten(io_lib:format(Format, Args)),
    ok = case os:getenv("TOPOS_FIGURES") of
        false -> ok;
        File -> file:write_file(File, [Text, $\n], [append])
    end,
    ct:pal("~s", [Text]),
    {comment, Text}.
