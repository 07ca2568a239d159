%% Switching the topology of a running cluster of real VMs, on every engine that is present.
-module(topos_switch_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile(export_all).

-define(NODE, topos_ct_node).
-define(CLUSTER, topos_ct_cluster).
-define(SHARED, topos_topology_SUITE).
%% Milliseconds between two messages of one stream.
-define(INTERVAL, 20).

all() -> [{group, Engine} || Engine <- topos_engine:names()].

groups() ->
    [{Engine, [], [full_circle_under_streams, stopped_member_rolls_back, unsafe_is_refused, late_members_follow, coordinator_is_killed]}
     || Engine <- topos_engine:names()].

suite() -> [{timetrap, {seconds, 150}}].

init_per_group(Engine, Config) -> ?SHARED:init_per_group(Engine, Config).

end_per_group(Engine, Config) -> ?SHARED:end_per_group(Engine, Config).

init_per_testcase(Case, Config) -> ?SHARED:init_per_testcase(Case, Config).

end_per_testcase(Case, Config) -> ?SHARED:end_per_testcase(Case, Config).

%% Ten nodes, a stream between each two: full mesh, HyParView, two hubs, full mesh again; each switch asked of another node.
full_circle_under_streams(Config) ->
    Members = ?SHARED:cluster([{N, full_mesh} || N <- ?SHARED:numbered("n", 10)], Config),
    Names = names(Members),
    Marks = ?CLUSTER:marks(Members),
    ok = start_streams(Members),
    Took = [
        begin
            ok = ?NODE:wait_until(streams_flow, fun() -> flow(Members) end, 10_000),
            {Type, timed(fun() -> ?assertEqual(ok, topology(Member, set_topology, [Topology, #{timeout => 30_000}])) end), settled(Members, Type, Epoch)}
        end
     || {Epoch, {Type, Topology, Member}} <- lists:zip([1, 2, 3], [
            {hyparview, hyparview(), hd(Members)},
            {client_server, #{type => client_server, hubs => lists:sublist(Names, 3, 2), request_timeout => 1_000}, lists:nth(5, Members)},
            {full_mesh, full_mesh, lists:last(Members)}
        ])
    ],
    ok = ?NODE:wait_until(streams_flow, fun() -> flow(Members) end, 10_000),
    {Messages, Refused, Stall} = verdict(Members),
    %% To nobody was anybody gone for a moment.
    [?assertEqual({?CLUSTER:name(M), []}, {?CLUSTER:name(M), gone(M, Mark)}) || {M, Mark} <- Marks],
    ?SHARED:comment("90 streams, ~b messages: 0 lost, 0 twice, 0 out of order; ~b offered again; longest stall ~b ms; switch and clearing: ~s",
        [Messages, Refused, Stall, lists:join(", ", [io_lib:format("~s ~b + ~b ms", [T, S, C]) || {T, S, C} <- Took])]).

%% A member that is stopped while all prepare: nobody switches, the caller is told its name, and later everybody does.
stopped_member_rolls_back(Config) ->
    Members = [A, B, _, D] = ?SHARED:cluster([{N, full_mesh} || N <- ?SHARED:numbered("s", 4)], Config),
    Name = ?CLUSTER:name(D),
    ok = start_streams([A, B]),
    Rolled = [
        begin
            ok = ?NODE:pause(vm(D)),
            {Ms, Answer} = timed_answer(fun() -> topology(A, set_topology, [hyparview(), #{timeout => Timeout}]) end),
            ?assertMatch({error, {switch_rolled_back, #{nodes := [Name]}}}, Answer),
            {error, Error} = Answer,
            ?assertNotEqual(nomatch, string:find(topos_error:format(Error), atom_to_list(Name))),
            %% The switch was rolled back where the machine was started.
            ok = ?NODE:wait_until(stable, fun() -> [] =:= [S || M <- [A, B], (S = topology(M, status, [])) =/= boot()] end, 5_000),
            [?assertEqual(#{type => full_mesh}, topology(M, current_topology, [])) || M <- [A, B]],
            ok = ?NODE:resume(vm(D)),
            ?SHARED:await_agreement(Members, [], 15_000),
            ok = ?NODE:wait_until(stable, fun() -> topology(D, status, []) =:= boot() end, 10_000),
            Ms
        end
        %% The first is over before the member is declared down, the second by that.
     || Timeout <- [3_000, 60_000]
    ],
    {_, Refused, Stall} = verdict([A, B]),
    ?assertEqual(ok, topology(A, set_topology, [hyparview()])),
    _ = settled(Members, hyparview, 3),
    ?SHARED:comment("rolled back after ~w ms; stall of a stream of others ~b ms, ~b offered again", [Rolled, Stall, Refused]).

unsafe_is_refused(Config) ->
    Members = [A, B, C] = ?SHARED:cluster([{N, full_mesh} || N <- ?SHARED:numbered("u", 3)], Config),
    Hubs = fun(Names) -> #{type => client_server, hubs => Names} end,
    ?assertMatch({error, {unknown_node, #{node := 'hub@nowhere'}}}, topology(A, set_topology, [Hubs(['hub@nowhere'])])),
    ?assertMatch({error, {invalid_config, _}}, topology(A, set_topology, [Hubs([])])),
    ?assertMatch({error, {invalid_config, _}}, topology(A, set_topology, [ring])),
    ?assertMatch({error, {invalid_config, _}}, topology(A, set_topology, [#{type => hyparview, active_view => 0}])),
    ?assertEqual(ok, topology(A, set_topology, [full_mesh])),
    ?assertEqual([boot()], lists:usort([topology(M, status, []) || M <- Members])),
    %% Of two at once one goes first, the other is told.
    Answers = ?CLUSTER:together(fun(M) -> topology(M, set_topology, [hyparview()]) end, [A, B]),
    ?assert(lists:member(ok, Answers)),
    [?assert(lists:member(Reason, [switch_conflict, switch_in_progress])) || {error, {Reason, _}} <- Answers],
    ok = ?NODE:wait_until(stable, fun() -> [stable] =:= lists:usort([state(M) || M <- Members]) end, 10_000),
    ok = ?NODE:kill(vm(C)),
    ?SHARED:await_agreement([A, B], [C], 15_000),
    Name = ?CLUSTER:name(C),
    ?assertMatch({error, {partition_suspected, #{nodes := [Name]}}}, topology(A, set_topology, [full_mesh])),
    ?assertMatch(#{type := hyparview}, topology(A, current_topology, [])).

%% Who comes later takes over the topology; who leaves goes on with its own. Paused, nobody comes.
late_members_follow(Config) ->
    Members = [A, B] = ?SHARED:cluster([{N, full_mesh} || N <- ["a", "b"]], Config),
    ?assertEqual(ok, topology(A, set_topology, [hyparview()])),
    _ = settled(Members, hyparview, 1),
    [C] = ?SHARED:started([{"c", #{topology => full_mesh}}], Config),
    ?assertEqual(ok, topology(A, pause_new_connections, [600_000])),
    %% B is told: until then it looks for a node that is not there.
    Nobody = #{addresses => [{{127, 0, 0, 1}, ?NODE:free_port()}], timeout => 100},
    ok = ?NODE:wait_until(paused, fun() ->
        {error, {Reason, _}} = ?CLUSTER:call(B, join, [?NODE:name(nobody), Nobody]),
        Reason =:= connections_paused orelse Reason
    end, 5_000),
    ?assertMatch({error, {connections_paused, _}}, ?CLUSTER:join(B, C)),
    ?assertMatch({error, {unreachable, _}}, ?CLUSTER:call(C, join, [?CLUSTER:name(A), #{addresses => ?CLUSTER:addresses(A), timeout => 1_000}])),
    ?assertEqual(ok, topology(B, resume_new_connections, [])),
    ok = ?NODE:wait_until(joined, fun() -> ?CLUSTER:join(C, A) =:= ok end, 10_000),
    All = [A, B, C],
    ?SHARED:await_agreement(All, [], 15_000),
    _ = settled(All, hyparview, 1),
    ?assertEqual(ok, topology(C, reconnect_all, [])),
    ?assertEqual(ok, ?CLUSTER:call(C, leave, [])),
    ?assertEqual(#{type => full_mesh}, topology(C, current_topology, [])),
    ?assertEqual(boot(), topology(C, status, [])),
    ok = ?NODE:wait_until(left, fun() -> maps:get(?CLUSTER:name(C), ?CLUSTER:statuses(B)) =:= left end, 5_000),
    ?assertEqual(ok, topology(B, set_topology, [full_mesh])),
    ok = stable(Members, full_mesh, 2),
    _ = ?SHARED:streams(Members, Members, last),
    ok.

%% The coordinator dies while it switches: the others end on one topology, the old or the new, and can switch again when it is forgotten.
coordinator_is_killed(Config) ->
    Members = [A | Others] = ?SHARED:cluster([{N, full_mesh} || N <- ?SHARED:numbered("k", 4)], Config),
    Self = self(),
    {_, Ref} = spawn_monitor(fun() -> Self ! asked, exit(topology(A, set_topology, [hyparview()])) end),
    receive asked -> ok end,
    %% Where this VM is late to look it is over already.
    ok = ?NODE:wait_until(begun, fun() -> lists:any(fun(M) -> topology(M, status, []) =/= boot() end, Others) end, 5_000),
    ok = ?NODE:kill(vm(A)),
    receive {'DOWN', Ref, process, _, _} -> ok end,
    ok = ?NODE:wait_until(one_topology, fun() ->
        case lists:usort([topology(M, status, []) || M <- Others]) of
            [#{state := stable}] -> true;
            Many -> Many
        end
    end, 20_000),
    [#{type := Type}] = lists:usort([topology(M, current_topology, []) || M <- Others]),
    ?SHARED:await_agreement(Others, [A], 15_000),
    _ = ?SHARED:streams(Others, Others, after_it),
    _ = Members,
    ?SHARED:comment("the others went on with ~s", [Type]).

%% internal

hyparview() ->
    #{
        type => hyparview, active_view => 3, passive_view => 12, shuffle_active => 2, shuffle_period => 2_000, mix_period => 10_000,
        request_timeout => 1_000
    }.

boot() -> #{epoch => {0, '', 0}, state => stable}.

vm(#{vm := Vm}) -> Vm.

names(Members) -> [?CLUSTER:name(M) || M <- Members].

topology(#{vm := Vm}, Function, Args) -> ?NODE:call(Vm, topos_topology, Function, Args, 120_000).

state(Member) -> maps:get(state, topology(Member, status, [])).

timed(Fun) -> element(1, timed_answer(Fun)).

timed_answer(Fun) ->
    Start = erlang:monotonic_time(millisecond),
    Answer = Fun(),
    {erlang:monotonic_time(millisecond) - Start, Answer}.

%% Everybody is in this epoch and has let go of the old links; the milliseconds until then.
settled(Members, Type, Counter) ->
    timed(fun() ->
        ok = stable(Members, Type, Counter),
        ?SHARED:await_agreement(Members, [], 15_000),
        case Type of
            hyparview -> few_links(Members);
            _ -> ?SHARED:engine_obeys(Members)
        end
    end).

%% The engine has the links of the views, and some for a moment: nodes with room in their view ask others all the time.
few_links(Members) ->
    ok = ?NODE:wait_until(few_links, fun() ->
        Seen = [{?CLUSTER:name(M), ?SHARED:linked(M), ?SHARED:neighbours(M)} || M <- Members],
        Missing = [N || {_, Linked, Neighbours} <- Seen, N <- Neighbours, not lists:member(N, Linked)],
        Extra = length(lists:append([Linked || {_, Linked, _} <- Seen])) - length(lists:append([N || {_, _, N} <- Seen])),
        (Missing =:= [] andalso Extra =< 2 * length(Members)) orelse {Missing, Extra, Seen}
    end, 30_000).

stable(Members, Type, Counter) ->
    ?NODE:wait_until({stable, Type}, fun() ->
        States = [{?CLUSTER:name(M), topology(M, current_topology, []), topology(M, status, [])} || M <- Members],
        case [S || {_, #{type := T}, #{epoch := {C, _, _}, state := What}} = S <- States, T =/= Type orelse C =/= Counter orelse What =/= stable] of
            [] -> true;
            Wrong -> Wrong
        end
    end, 20_000).

start_streams(Members) ->
    Sinks = ?CLUSTER:together(fun(M) ->
        [ok = ?NODE:call(vm(M), topos_ct_stream, start_sink, [sink(From)]) || From <- Members, From =/= M]
    end, Members),
    _ = Sinks,
    _ = ?CLUSTER:together(fun(M) ->
        ok = ?NODE:call(vm(M), topos_ct_switch, start_streams, [names(Members) -- [?CLUSTER:name(M)], sink(M), ?INTERVAL])
    end, Members),
    ok.

%% Every stream is going on.
flow(Members) ->
    Count = fun() ->
        ?CLUSTER:together(fun(M) -> [topos_ct_node:call(vm(M), topos_ct_stream, received, [sink(F)]) || F <- Members, F =/= M] end, Members)
    end,
    Before = lists:append(Count()),
    ok = ?NODE:wait_until(more, fun() -> lists:all(fun({A, B}) -> B > A + 5 end, lists:zip(Before, lists:append(Count()))) end, 10_000),
    true.

%% Stops the streams and looks at what arrived: how many, how many were offered again, and the longest pause in one of them.
verdict(Members) ->
    Sent = ?CLUSTER:together(fun(M) -> {M, ?NODE:call(vm(M), topos_ct_switch, stop_streams, [], 120_000)} end, Members),
    Pairs = [{From, To, Count, Refused} || {From, Counts} <- Sent, To <- Members, {Name, {Count, Refused}} <- Counts, Name =:= ?CLUSTER:name(To)],
    Stalls = [
        begin
            ok = ?NODE:wait_until({all_of, ?CLUSTER:name(From), at, ?CLUSTER:name(To)},
                fun() -> ?NODE:call(vm(To), topos_ct_stream, received, [sink(From)]) >= Count end, 20_000),
            {Numbers, Stall} = ?NODE:call(vm(To), topos_ct_switch, arrived, [sink(From)]),
            Expected = lists:seq(1, Count),
            ?assertEqual({?CLUSTER:name(From), ?CLUSTER:name(To), lost, []}, {?CLUSTER:name(From), ?CLUSTER:name(To), lost, Expected -- Numbers}),
            ?assertEqual({?CLUSTER:name(From), ?CLUSTER:name(To), twice, []}, {?CLUSTER:name(From), ?CLUSTER:name(To), twice, Numbers -- Expected}),
            ?assertEqual({?CLUSTER:name(From), ?CLUSTER:name(To), in_order}, {?CLUSTER:name(From), ?CLUSTER:name(To),
                case Numbers of Expected -> in_order; _ -> out_of_order end}),
            Stall
        end
     || {From, To, Count, _} <- Pairs
    ],
    {lists:sum([C || {_, _, C, _} <- Pairs]), lists:sum([R || {_, _, _, R} <- Pairs]), lists:max(Stalls)}.

sink(From) -> list_to_atom(lists:concat(["stream_", ?CLUSTER:name(From)])).

%% Who was not up for a moment, after the mark.
gone(#{vm := Vm}, Mark) -> [{Kind, Node} || {_, {Kind, Node}} <- ?NODE:call(Vm, topos_ct_events, log, [Mark]), Kind =:= down orelse Kind =:= left].
