%% A cluster that falls into two parts and is whole again, on every engine that is present. The cut is the engine's own (`topos_engine', `cut/1'):
%% once with the connections left open and silent, as a firewall makes it that drops packets, and once with the connections ended.
-module(topos_partition_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile(export_all).

-define(NODE, topos_ct_node).
-define(CLUSTER, topos_ct_cluster).
-define(TOPOLOGY, topos_topology_SUITE).
-define(LOAD, topos_ct_load).
%% Nodes on each side; milliseconds between two messages of a stream; how many of a stream show that it goes on.
-define(SIDE, 3).
-define(EVERY, 50).
-define(MORE, 10).
%% For what takes seconds here, and a machine that is busy with other things ten times as long.
-define(DEADLINE, 180_000).

all() -> [{group, Engine} || Engine <- topos_engine:names()].

groups() -> [{Engine, [], [cut_is_silent, one_way_is_known_to_both, full_mesh_heals, hyparview_heals]} || Engine <- topos_engine:names()].

suite() -> [{timetrap, {minutes, 15}}].

init_per_group(Engine, Config) -> ?TOPOLOGY:init_per_group(Engine, Config).
end_per_group(Engine, Config) -> ?TOPOLOGY:end_per_group(Engine, Config).
init_per_testcase(Case, Config) -> ?TOPOLOGY:init_per_testcase(Case, Config).
end_per_testcase(Case, Config) -> ?TOPOLOGY:end_per_testcase(Case, Config).

full_mesh_heals(Config) -> heals(full_mesh, Config).

%% Two links a node, so that parts are found again by few of them.
hyparview_heals(Config) ->
    heals(#{type => hyparview, active_view => 2, passive_view => 12, shuffle_period => 1_000, request_timeout => 1_000}, Config).

%% The engine's cut by itself: frames are lost one way, connections stay as they are and serve again; nobody is dialled, and who was is not away.
cut_is_silent(Config) ->
    [A, B] = ?TOPOLOGY:cluster([{N, full_mesh} || N <- ["p1", "p2"]], Config),
    Probe = sink(B),
    _ = [?NODE:call(vm(M), topos_ct_probe, start, [Probe]) || M <- [A, B]],
    Open = engine(A, connections, []),
    Send = fun(From, To, Bytes) -> ?assertEqual(ok, engine(From, send, [?CLUSTER:name(To), data, 0, Probe, Bytes])) end,
    Got = fun(M) -> [Bytes || {_, {topos, _, _, Bytes}} <- ?NODE:call(vm(M), topos_ct_probe, messages, [Probe])] end,
    ok = cut([A], [B]),
    Send(A, B, <<"lost">>),
    Send(B, A, <<"the other way">>),
    ok = ?NODE:wait_until(the_other_way, fun() -> Got(A) =:= [<<"the other way">>] end, ?DEADLINE),
    Absent = ?NODE:name(absent),
    ok = engine(A, cut, [[?CLUSTER:name(B), Absent]]),
    ok = engine(A, connect, [#{node => Absent, addresses => [{{127, 0, 0, 1}, ?NODE:free_port()}]}]),
    ok = ?NODE:wait_until(dialled, fun() -> engine(A, failure, [Absent]) =:= {failed, {unreachable, ehostunreach}} end, ?DEADLINE),
    ok = cut([A], []),
    ok = ?NODE:wait_until(dialled_again, fun() ->
        case engine(A, failure, [Absent]) of
            {failed, {unreachable, Why}} when Why =:= econnrefused; Why =:= not_registered -> true;
            Other -> Other
        end
    end, ?DEADLINE),
    ok = engine(A, disconnect, [Absent]),
    Send(A, B, <<"found">>),
    ok = ?NODE:wait_until(found, fun() -> Got(B) =:= [<<"found">>] orelse Got(B) end, ?DEADLINE),
    ?assertEqual(Open, engine(A, connections, [])).

%% Frames get lost in one direction only: who is not heard is told so by nobody, and still does not take for up who answers nothing.
one_way_is_known_to_both(Config) ->
    Detection = #{echo_interval => 100, suspect_after => 500, down_after => 1_500},
    Members = [A, B] = ?TOPOLOGY:started([{N, #{topology => full_mesh, fault_detection => Detection}} || N <- ["p1", "p2"]], Config),
    ?assertEqual([ok], ?CLUSTER:join_all(Members)),
    ?TOPOLOGY:await_agreement(Members, [], ?DEADLINE),
    Streams = start_streams(Members),
    ok = go_on([{A, B}, {B, A}]),
    Marks = ?CLUSTER:marks(Members),
    Start = now_ms(),
    ok = cut([A], [B]),
    _ = ?CLUSTER:together(fun({M, Mark}) -> ?CLUSTER:await_all(M, [{down, N} || N <- names(Members -- [M])], Mark, ?DEADLINE) end, Marks),
    Known = now_ms() - Start,
    ok = cut([A], []),
    ?TOPOLOGY:await_agreement(Members, [], ?DEADLINE),
    ok = go_on([{A, B}, {B, A}]),
    comment("known to both after ~b ms; ~b messages, each once and in order", [Known, finish(Streams, Members)]).

%% internal

engine(#{vm := Vm, config := #{engine := Engine}}, Function, Args) -> ?NODE:call(Vm, topos_engine:module(Engine), Function, Args).

heals(Topology, Config) ->
    Engine = ?config(engine, Config),
    Members = ?TOPOLOGY:cluster([{lists:concat(["p", N]), Topology} || N <- lists:seq(1, 2 * ?SIDE)], Config),
    Sides = lists:split(?SIDE, Members),
    Streams = start_streams(Members),
    ok = go_on([{A, B} || A <- Members, B <- Members, A =/= B]),
    {Silent, Twice} = partition(Sides, fun(_, _) -> ok end),
    {Ended, TwiceAgain} = partition(Sides, fun(M, Others) -> ?NODE:call(vm(M), ?LOAD, sever, [Engine, names(Others)]) end),
    Count = finish(Streams, Members),
    ?TOPOLOGY:broadcast(Members, whole),
    called_as_often(Members),
    comment("two sides of ~b, connections silent: parted after ~b ms, whole again ~b ms after the healing; connections ended: ~b, ~b ms; "
            "~b messages between all pairs, each once and in order; ~b times more than once down",
            [?SIDE, maps:get(parted, Silent), maps:get(whole, Silent), maps:get(parted, Ended), maps:get(whole, Ended), Count, Twice + TwiceAgain]).

%% Cuts the sides off from each other, and heals it when both know and have gone on by themselves. The times, and how many changes there were beyond
%% one to down and one to up for each pair: a machine that is too busy may show more.
partition({Left, Right} = Sides, And) ->
    Members = Left ++ Right,
    Across = [{A, B} || A <- Left, B <- Right] ++ [{A, B} || A <- Right, B <- Left],
    Within = [{A, B} || Side <- [Left, Right], A <- Side, B <- Side, A =/= B],
    Marks = ?CLUSTER:marks(Members),
    Start = now_ms(),
    _ = ?CLUSTER:together(fun({Side, Others}) -> cut(Side, Others) end, both(Sides)),
    _ = ?CLUSTER:together(fun({M, Others}) -> And(M, Others) end, [{M, Others} || {Side, Others} <- both(Sides), M <- Side]),
    _ = ?CLUSTER:together(
        fun({M, Mark}) -> ?CLUSTER:await_all(M, [{down, N} || N <- names(others(M, Sides))], Mark, ?DEADLINE) end, Marks),
    _ = ?CLUSTER:together(fun({Side, Others}) -> ?TOPOLOGY:await_agreement(Side, Others, ?DEADLINE) end, both(Sides)),
    Parted = now_ms() - Start,
    %% Each side goes on, and nothing gets across.
    Before = [{Pair, arrived(Pair)} || Pair <- Across],
    ok = go_on(Within),
    ?assertEqual(Before, [{Pair, arrived(Pair)} || Pair <- Across]),
    [?assertMatch({{error, {Reason, _}}, _} when Reason =:= not_connected; Reason =:= no_route, {send(Pair), Pair}) || Pair <- Across],
    Healed = now_ms(),
    _ = ?CLUSTER:together(fun({Side, _}) -> cut(Side, []) end, both(Sides)),
    ?TOPOLOGY:await_agreement(Members, [], ?DEADLINE),
    Whole = now_ms() - Healed,
    ok = go_on(Across),
    %% The views are those of one cluster again: there are links between the parts.
    ?assertNotEqual([], [{A, B} || {A, B} <- Across, lists:member(?CLUSTER:name(B), ?TOPOLOGY:neighbours(A))]),
    More = [alternate(M, Mark, names(others(M, Sides))) || {M, Mark} <- Marks],
    {#{parted => Parted, whole => Whole}, lists:sum(More)}.

%% Every change is told once: what a node hears of another since the mark is down, up, down, up. Of those it was cut off from it hears that at
%% least once; how often more, and of the others at all.
alternate(Member, Mark, CutOff) ->
    Edges = [E || {_, {Kind, _} = E} <- ?NODE:call(vm(Member), topos_ct_events, log, [Mark]), lists:member(Kind, [up, down, left])],
    Nodes = lists:usort(CutOff ++ [N || {_, N} <- Edges]),
    lists:sum([
        begin
            Kinds = [Kind || {Kind, N} <- Edges, N =:= Node],
            Rounds = length(Kinds) div 2,
            ?assertEqual({Node, lists:append(lists:duplicate(Rounds, [down, up]))}, {Node, Kinds}),
            Expected = case lists:member(Node, CutOff) of true -> 1; false -> 0 end,
            ?assert(Rounds >= Expected),
            Rounds - Expected
        end
     || Node <- Nodes
    ]).

%% The functions that were given to `on_up' and `on_down' were called for each change, and no more often.
called_as_often(Members) ->
    _ = ?CLUSTER:together(fun(M) ->
        ok = ?NODE:wait_until({calls_at, ?CLUSTER:name(M)}, fun() ->
            Told = lists:sort([E || {_, {Kind, _} = E} <- ?NODE:call(vm(M), topos_ct_events, log, []), lists:member(Kind, [up, down])]),
            Calls = lists:sort(?NODE:call(vm(M), topos_ct_events, calls, [])),
            Told =:= Calls orelse {Told, Calls}
        end, ?DEADLINE)
    end, Members),
    ok.

%% Numbered messages between all pairs, from now to the end.
start_streams(Members) ->
    _ = ?CLUSTER:together(fun(M) -> ok = in(M, start_sink, [sink(M)]) end, Members),
    maps:from_list([
        {{A, B}, in(A, start_senders, [?CLUSTER:name(B), sink(B), 16, [?CLUSTER:name(A)], #{every => ?EVERY, wait => 500}])}
     || A <- Members, B <- Members, A =/= B
    ]).

%% Stops them; all that was accepted arrives, each once and in order. How many.
finish(Streams, Members) ->
    Sent = maps:map(
        fun({A, _}, Senders) ->
            Name = ?CLUSTER:name(A),
            #{Name := {Accepted, _}} = in(A, stop_senders, [Senders]),
            Accepted
        end, Streams),
    _ = [ok = ?NODE:wait_until({all_of, names([A, B])}, fun() -> arrived(Pair) =:= Accepted orelse {arrived(Pair), 'of', Accepted} end, ?DEADLINE)
         || {{A, B} = Pair, Accepted} <- maps:to_list(Sent)],
    [?assertEqual([], [{From, Wrong} || {From, {_, [_ | _] = Wrong}} <- maps:to_list(in(M, sink, [sink(M)]))]) || M <- Members],
    lists:sum(maps:values(Sent)).

%% A VM is used by several cases, a node's name by one.
sink(Member) -> list_to_atom(lists:concat(["sink_of_", ?CLUSTER:name(Member)])).

%% The last number that came of the one at the other.
arrived({A, B}) ->
    {Last, _} = maps:get(?CLUSTER:name(A), in(B, sink, [sink(B)]), {0, []}),
    Last.

%% More comes on each of these ways.
go_on(Pairs) ->
    Before = [{Pair, arrived(Pair)} || Pair <- Pairs],
    lists:foreach(
        fun({Pair, Last}) ->
            ok = ?NODE:wait_until({goes_on, names(tuple_to_list(Pair))}, fun() -> arrived(Pair) >= Last + ?MORE orelse arrived(Pair) end, ?DEADLINE)
        end, Before).

send({A, B}) -> ?CLUSTER:call(A, send, [?CLUSTER:name(B), nobody, hello]).

cut(From, To) -> lists:foreach(fun(M) -> ok = engine(M, cut, [names(To)]) end, From).

both({Left, Right}) -> [{Left, Right}, {Right, Left}].

others(Member, {Left, Right}) ->
    case lists:member(Member, Left) of true -> Right; false -> Left end.

names(Members) -> [?CLUSTER:name(M) || M <- Members].

in(Member, Function, Args) -> ?NODE:call(vm(Member), ?LOAD, Function, Args).

vm(#{vm := Vm}) -> Vm.

now_ms() -> erlang:monotonic_time(millisecond).

comment(Format, Args) -> ?TOPOLOGY:comment(Format, Args).
