%% Requests and replies between real VMs, on every engine that is present: carried out at most once whatever happens to
%% connections, bounded in time, and without a trace in whoever asked.
-module(topos_request_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile(export_all).

-define(NODE, topos_ct_node).
-define(CLUSTER, topos_ct_cluster).
-define(REQUEST, topos_ct_request).

all() -> [{group, Engine} || Engine <- topos_engine:names()].

groups() ->
    Cases = [once_while_connections_are_cut, refusals_are_not_lost, large_ones_go_through_lanes, nothing_is_left_behind, killed_callers_are_cleaned_up,
             overdue_service_is_ended, a_later_life_is_not_asked,
             a_node_that_leaves_is_told_of],
    [{Engine, [], Cases} || Engine <- topos_engine:names()].

suite() -> [{timetrap, {seconds, case is_full() of true -> 240; false -> 60 end}}].

init_per_group(Engine, Config) -> topos_ct_pool:init_group(Engine, Config).

end_per_group(Engine, Config) -> topos_actor_SUITE:end_per_group(Engine, Config).

init_per_testcase(Case, Config) -> topos_actor_SUITE:init_per_testcase(Case, Config).

end_per_testcase(_Case, Config) -> topos_ct_pool:end_case(Config).

%% All connections of both sides are killed again and again while eight processes ask: no request is carried out twice, each
%% that was answered was carried out, and only what a caller may hear happens to it.
once_while_connections_are_cut(Config) ->
    Engine = ?config(engine, Config),
    [A, B] = pair(Config),
    Callers = in(A, start_callers, [?CLUSTER:name(B), lists:seq(1, 8), 20_000]),
    Cutters = [{M, load(M, start_cutter, [Engine, 100])} || M <- [A, B]],
    ok = pass(case is_full() of true -> 60_000; false -> 4_000 end),
    %% On a slow machine it takes longer until enough of both have been.
    ok = ?NODE:wait_until(cut, fun() -> lists:sum([load(M, cuts, [Pid]) || {M, Pid} <- Cutters]) >= 4 end, 10_000),
    ok = ?NODE:wait_until(answered, fun() -> in(A, answered, [Callers]) > 100 end, 10_000),
    Cuts = lists:sum([load(M, stop_cutter, [Pid]) || {M, Pid} <- Cutters]),
    Answers = in(A, stop_callers, [Callers]),
    Answered = [Id || {Id, ok} <- Answers],
    ?assertEqual([], lists:usort([Answer || {_, Answer} <- Answers]) -- [ok, not_connected, in_doubt]),
    ?assertEqual(#{1 => length(Answered)}, in(B, carried_out, [Answered])),
    ?assertEqual([], maps:keys(in(B, carried_out, [[Id || {Id, _} <- Answers]])) -- [0, 1]),
    ?assertNotEqual([], Answered),
    comment("~b requests answered, ~b not, ~b cuts", [length(Answered), length(Answers) - length(Answered), Cuts]).

%% All connections are killed after each answer, again and again, while four processes ask large requests that nobody
%% serves: each is told so in the end, though it is asked but once.
refusals_are_not_lost(Config) ->
    ct:timetrap({seconds, 300}),
    [A, B] = pair(Config),
    Callers = in(A, start_refused, [?CLUSTER:name(B), lists:seq(1, 4), 40_000]),
    ok = lists:foreach(
        fun(_) ->
            Before = in(A, answered, [Callers]),
            ok = ?NODE:wait_until(answered, fun() -> in(A, answered, [Callers]) > Before end, 100_000),
            [ok = ?NODE:call(vm(M), topos_ct_channel, kill_connections, [?CLUSTER:name(Of)]) || {M, Of} <- [{A, B}, {B, A}]]
        end, lists:seq(1, 10)),
    Answers = [Answer || {_, Answer} <- in(A, stop_callers, [Callers])],
    ?assertEqual([], lists:usort(Answers) -- [no_such_service, not_connected, in_doubt]),
    comment("~b refusals", [length([Answer || no_such_service = Answer <- Answers])]).

large_ones_go_through_lanes(Config) ->
    [A, B] = pair(Config),
    Name = ?CLUSTER:name(B),
    [?assertEqual({Request, Reply, {ok, Reply}}, {Request, Reply, in(A, size_of_answer, [Name, Request, Reply])})
     || Request <- [1, 65_000, 66_000, 1_000_000], Reply <- [1, 65_500, 65_550, 3_000_000]],
    #{max_message_bytes := Max} = ?NODE:call(vm(A), topos_local, config, [limits]),
    ?assertMatch({error, {message_too_large, #{limit := Max}}}, in(A, size_of_answer, [Name, Max, 1])),
    ?assertMatch({error, {message_too_large, #{limit := Max}}}, in(A, size_of_answer, [Name, 1, Max])).

nothing_is_left_behind(Config) ->
    [A, B] = pair(Config),
    ?assertEqual([], in(A, strangers, [?CLUSTER:name(B), 200])),
    ?assertEqual(0, size(A, topos_requests)),
    ?assertEqual(0, size(B, topos_serving)),
    %% One slot was enough, and it keeps the last reply only: as soon as whoever wrote it has come to that.
    ok = ?NODE:wait_until(kept, fun() -> size(B, topos_replies) =:= 1 end, 5_000).

killed_callers_are_cleaned_up(Config) ->
    [A, B] = pair(Config),
    Callers = [in(A, start_caller, [?CLUSTER:name(B), {hang, N}]) || N <- [1, 2, 3]],
    ok = ?NODE:wait_until(served, fun() -> lists:sort(in(B, waiting, [])) =:= [1, 2, 3] end, 5_000),
    ?assertEqual(3, size(A, topos_requests)),
    [true = in(A, kill_caller, [Pid]) || Pid <- Callers],
    ok = ?NODE:wait_until(cleaned, fun() -> size(A, topos_requests) =:= 0 end, 5_000),
    ?assertMatch({ok, {after_it, 1}}, in(A, call, [?CLUSTER:name(B), {count, after_it}, 60_000])).

overdue_service_is_ended(Config) ->
    [A, B] = pair(Config),
    ?assertMatch({error, {timeout, #{timeout := 200}}}, in(A, call, [?CLUSTER:name(B), {hang, late}, 200])),
    ok = ?NODE:wait_until(ended, fun() -> in(B, waiting, []) =:= [] andalso size(B, topos_serving) =:= 0 end, 5_000).

%% A request that was on its way when its node was killed is in doubt; the node's next life does not get it.
a_later_life_is_not_asked(Config) ->
    [A, B] = pair(Config),
    Name = ?CLUSTER:name(B),
    ok = ?NODE:pause(vm(B)),
    Callers = in(A, start_callers, [Name, [early], 30_000]),
    ok = ?NODE:wait_until(asked, fun() -> size(A, topos_requests) =:= 1 end, 5_000),
    ok = ?NODE:kill(vm(B)),
    _ = ?CLUSTER:await(A, {down, Name}, 0, 10_000),
    Mark = ?CLUSTER:mark(A),
    [{{early, 1}, in_doubt} | _] = lists:keysort(1, in(A, stop_callers, [Callers])),
    [Again] = topos_cluster_SUITE:started([{{exact, Name}, #{}}], Config),
    ok = in(Again, serve, []),
    ?assertEqual(ok, ?CLUSTER:join(Again, A)),
    _ = ?CLUSTER:await(A, {up, Name}, Mark, 10_000),
    ?assertMatch({ok, {now, 1}}, in(A, call, [Name, {count, now}, 60_000])),
    ?assertEqual(#{0 => 1}, in(Again, carried_out, [[{early, 1}]])).

%% Whoever asks a node while it leaves hears of that soon, and not when its time is up.
a_node_that_leaves_is_told_of(Config) ->
    [A, B] = pair(Config),
    Hanging = in(A, start_callers, [?CLUSTER:name(B), [one, two, three, four], 50_000]),
    ok = ?NODE:wait_until(asking, fun() -> in(B, carried_out, [[{one, 20}]]) =:= #{1 => 1} end, 10_000),
    Clock = topos_ct_clock:start([vm(A), vm(B)]),
    ok = ?CLUSTER:call(B, leave, []),
    _ = ?CLUSTER:await(A, {left, ?CLUSTER:name(B)}, 0, 10_000),
    {Micros, Answers} = timer:tc(fun() -> in(A, stop_callers, [Hanging]) end),
    ?assertEqual([], lists:usort([Answer || {_, Answer} <- Answers]) -- [ok, in_doubt, not_connected, unknown_node]),
    ok = topos_ct_clock:kept(told, Micros div 1_000, 20_000, topos_ct_clock:stop(Clock)).

%% internal

is_full() -> os:getenv("TOPOS_SOAK") =:= "full".

pair(Config) ->
    Members = [_, B] = topos_actor_SUITE:pair(Config),
    ok = in(B, serve, []),
    Members.

vm(#{vm := Vm}) -> Vm.

in(Member, Function, Args) -> ?NODE:call(vm(Member), ?REQUEST, Function, Args, 120_000).

load(Member, Function, Args) -> ?NODE:call(vm(Member), topos_ct_load, Function, Args).

size(Member, Table) -> ?NODE:call(vm(Member), ets, info, [Table, size]).

%% The load goes on meanwhile: its length is what the case is about.
pass(Milliseconds) -> receive after Milliseconds -> ok end.

comment(Format, Args) ->
    Text = lists:flatten(io_lib:format(Format, Args)),
    ct:pal("~s", [Text]),
    {comment, Text}.
