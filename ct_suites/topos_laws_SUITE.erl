%% The laws of `docs/category-theory.md' on live clusters, of every topology, on every engine that is present.
%%
%% TOPOS_NUMTESTS sets how many arrows are tried for each law (default 30).
-module(topos_laws_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").
-include_lib("proper/include/proper.hrl").

-compile(export_all).

-define(NODE, topos_ct_node).
-define(CLUSTER, topos_ct_cluster).
-define(NODES, 6).

all() -> [{group, Engine} || Engine <- topos_engine:names()].

groups() -> [{Engine, [], [full_mesh, hyparview, client_server, custom]} || Engine <- topos_engine:names()].

suite() -> [{timetrap, {seconds, 240}}].

init_per_group(Engine, Config) -> topos_topology_SUITE:init_per_group(Engine, Config).
end_per_group(Engine, Config) -> topos_topology_SUITE:end_per_group(Engine, Config).
init_per_testcase(Case, Config) -> topos_topology_SUITE:init_per_testcase(Case, Config).
end_per_testcase(Case, Config) -> topos_topology_SUITE:end_per_testcase(Case, Config).

full_mesh(Config) -> laws(full_mesh, ["n" ++ integer_to_list(N) || N <- lists:seq(1, ?NODES + 1)], Config).

hyparview(Config) ->
    Topology = #{type => hyparview, active_view => 2, passive_view => 10, shuffle_period => 1_000, request_timeout => 1_000},
    laws(Topology, ["n" ++ integer_to_list(N) || N <- lists:seq(1, ?NODES + 1)], Config).

client_server(Config) ->
    Hubs = [topos_topology_SUITE:node_name("hub" ++ integer_to_list(N), Config) || N <- [1, 2]],
    Topology = #{type => client_server, hubs => Hubs, request_timeout => 1_000},
    laws(Topology, [{exact, Hub} || Hub <- Hubs] ++ ["c" ++ integer_to_list(N) || N <- lists:seq(3, ?NODES + 1)], Config).

custom(Config) -> laws(topos_topology_SUITE:shape(ring), ["n" ++ integer_to_list(N) || N <- lists:seq(1, ?NODES + 1)], Config).

%% internal

laws(Topology, Names, Config) ->
    {Old, [New]} = lists:split(?NODES, Names),
    Members = topos_topology_SUITE:cluster([{Name, Topology} || Name <- Old], Config),
    Arrows = counters:new(1, []),
    ok = start(Members),
    [holds(Law, Members, Arrows) || Law <- [fun identity/2, fun composition/2, fun naturality/2]],
    %% A join is an inclusion: the arrows there were are there, and those that pass the new node are the same.
    [Joined] = topos_topology_SUITE:started([{New, #{topology => Topology, fault_detection => maps:get(fault_detection, maps:get(config, hd(Members)))}}], Config),
    ?assertEqual(ok, ?CLUSTER:join(Joined, hd(Members))),
    All = Members ++ [Joined],
    topos_topology_SUITE:await_agreement(All, [], 20_000),
    ok = start([Joined]),
    ok = every_pair(Members, Arrows),
    [holds(Law, All, Arrows) || Law <- [fun identity/2, fun composition/2]],
    %% A leave, with a word and without: those that stay keep theirs.
    Leaver = lists:last(Members),
    ?assertEqual(ok, ?CLUSTER:call(Leaver, leave, [])),
    Stay = All -- [Leaver],
    topos_topology_SUITE:await_agreement(Stay, [], 20_000),
    ok = every_pair(Stay, Arrows),
    Killed = lists:nth(length(Stay) - 1, Stay),
    ok = ?NODE:kill(maps:get(vm, Killed)),
    Rest = Stay -- [Killed],
    topos_topology_SUITE:await_agreement(Rest, [Killed], 30_000),
    ok = every_pair(Rest, Arrows),
    [holds(Law, Rest, Arrows) || Law <- [fun composition/2, fun naturality/2]],
    [?assertEqual([], ?NODE:call(maps:get(vm, M), topos_ct_routes, doubled, [])) || M <- Rest],
    topos_topology_SUITE:comment("~p: ~b arrows, each delivered once", [element(1, kind(Topology)), counters:get(Arrows, 1)]).

kind(full_mesh) -> {full_mesh};
kind(#{type := Type}) -> {Type}.

holds(Law, Members, Arrows) ->
    %% Else the counterexample.
    ?assertEqual(true, proper:quickcheck(Law(Members, Arrows), [{numtests, numtests()}, noshrink, quiet, long_result])).

numtests() -> list_to_integer(os:getenv("TOPOS_NUMTESTS", "30")).

%% What a node sends to itself passes no link, before a route and after it.
identity(Members, Arrows) ->
    ?FORALL({X, Y, Payload}, {node_of(Members), node_of(Members), payload()},
            begin
                {ok, 0} = topos_topology_SUITE:topology(X, hops, [?CLUSTER:name(X)]),
                Expected = [Payload],
                Expected =:= arrow([{X, none}], Payload, Arrows)
                    andalso Expected =:= arrow([{X, none}, {X, none}, {Y, none}], Payload, Arrows)
                    andalso Expected =:= arrow([{X, none}, {Y, none}, {Y, none}], Payload, Arrows)
            end).

%% Relays, one or two, are the route itself.
composition(Members, Arrows) ->
    ?FORALL({X, Y, Z, W, Payload}, {node_of(Members), node_of(Members), node_of(Members), node_of(Members), payload()},
            begin
                Way = fun(Nodes) -> arrow([{N, none} || N <- Nodes], Payload, Arrows) end,
                [Payload] =:= Way([X, W]) andalso [Payload] =:= Way([X, Y, W]) andalso [Payload] =:= Way([X, Y, Z, W])
            end).

%% It does not matter which of the nodes changes the payload.
naturality(Members, Arrows) ->
    ?FORALL({X, Y, Z, Change, Payload},
            {node_of(Members), node_of(Members), node_of(Members), oneof([twice, size, reverse]), payload()},
            begin
                Expected = [topos_ct_routes:apply_to(Change, Payload)],
                Expected =:= arrow([{X, Change}, {Y, none}, {Z, none}], Payload, Arrows)
                    andalso Expected =:= arrow([{X, none}, {Y, Change}, {Z, none}], Payload, Arrows)
                    andalso Expected =:= arrow([{X, none}, {Y, none}, {Z, Change}], Payload, Arrows)
            end).

every_pair(Members, Arrows) ->
    [?assertEqual([{X, Y}], arrow([{A, none}, {B, none}], {X, Y}, Arrows))
     || A <- Members, B <- Members, A =/= B, X <- [?CLUSTER:name(A)], Y <- [?CLUSTER:name(B)]],
    ok.

node_of(Members) -> oneof(Members).

payload() ->
    oneof([any(), binary(), ?LET(Size, range(0, 200_000), <<0:Size/unit:8>>)]).

%% What came at the end of the steps, once it has. That nothing more came is looked at in the end.
arrow(Steps, Payload, Arrows) ->
    ok = counters:add(Arrows, 1, 1),
    Number = counters:get(Arrows, 1),
    {First, _} = hd(Steps),
    {Last, _} = lists:last(Steps),
    Named = [{?CLUSTER:name(M), Change} || {M, Change} <- Steps],
    ?assertEqual(ok, ?NODE:call(maps:get(vm, First), topos_ct_routes, carry, [Number, Named, Payload])),
    Arrived = fun() -> ?NODE:call(maps:get(vm, Last), topos_ct_routes, arrived, [Number]) end,
    ok = ?NODE:wait_until({arrow, Named}, fun() -> Arrived() =/= [] end, 20_000),
    Arrived().

start(Members) ->
    _ = ?CLUSTER:together(fun(#{vm := Vm}) -> ok = ?NODE:call(Vm, topos_ct_routes, start, []) end, Members),
    ok.
