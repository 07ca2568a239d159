%% Loads that go on while something goes wrong or changes, on every engine that is present. Short by default; TOPOS_SOAK=full
%% takes connections cut for five minutes, a peer stopped for half a minute, a million updates of values, and lanes that
%% grow and shrink for a minute.
-module(topos_soak_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile(export_all).

-define(NODE, topos_ct_node).
-define(CLUSTER, topos_ct_cluster).
-define(LOAD, topos_ct_load).
-define(MB, 1_048_576).
%% What a lane may hold, and what a node may use beyond that while it does: term headers, frames, garbage.
-define(QUEUE_BYTES, (8 * ?MB)).
-define(SLACK_BYTES, (64 * ?MB)).

all() -> [{group, Engine} || Engine <- topos_engine:names()].

groups() ->
    [{Engine, [], [cut_connections, stopped_peer, restarted_receiver, monotonic_values, growing_and_shrinking]} || Engine <- topos_engine:names()].

suite() -> [{timetrap, {minutes, case is_full() of true -> 8; false -> 2 end}}].

init_per_group(Engine, Config) ->
    case lists:member(Engine, topos_engine:available()) of
        true -> [{engine, Engine} | Config];
        false -> {skip, lists:concat(["the engine ", Engine, " is not installed: Erlang does not find its application"])}
    end.

end_per_group(_Engine, _Config) -> ok.

init_per_testcase(_Case, Config) -> [{vms, ets:new(vms, [public])} | Config].

end_per_testcase(_Case, Config) ->
    _ = ?CLUSTER:together(fun({Vm}) -> ?NODE:stop(Vm) end, ets:tab2list(?config(vms, Config))),
    ok.

%% All connections of both sides are killed every 200 ms under load: each of four senders' messages arrives once and in
%% order, and nothing that was accepted is missing.
cut_connections(Config) ->
    Engine = ?config(engine, Config),
    [A, B] = pair(#{}, Config),
    ok = in(B, start_sink, [sink]),
    Senders = in(A, start_senders, [?CLUSTER:name(B), sink, 500, [s1, s2, s3, s4], #{wait => 1_000}]),
    Cutters = [{M, in(M, start_cutter, [Engine, 200])} || M <- [A, B]],
    ok = pass(case is_full() of true -> 300_000; false -> 6_000 end),
    ok = ?NODE:wait_until(cut, fun() -> lists:sum([in(M, cuts, [Pid]) || {M, Pid} <- Cutters]) >= 5 end, 20_000),
    Cuts = lists:sum([in(M, stop_cutter, [Pid]) || {M, Pid} <- Cutters]),
    Sent = in(A, stop_senders, [Senders]),
    ok = arrived(Sent, B, sink),
    ?assertEqual([], [{S, Wrong} || {S, {_, [_ | _] = Wrong}} <- maps:to_list(in(B, sink, [sink]))]),
    ?assertEqual([], reasons(Sent) -- [overloaded, not_connected]),
    ?assertNot(lists:keymember(in_doubt, 1, [Event || {_, Event} <- ?NODE:call(vm(A), topos_ct_events, log, [])])),
    comment("~b messages, ~b cuts", [accepted(Sent), Cuts]).

%% A peer that is stopped costs its sender no more than the lane's queue; refusals are typed; when it goes on, all that was
%% accepted arrives, once and in order.
stopped_peer(Config) ->
    [A, B] = pair(#{limits => #{max_queue_bytes => ?QUEUE_BYTES, max_message_bytes => ?MB}, fault_detection => ?CLUSTER:quick()}, Config),
    ok = in(B, start_sink, [sink]),
    Senders = in(A, start_senders, [?CLUSTER:name(B), sink, 10_000, [s1, s2], #{}]),
    ok = ?NODE:wait_until(flowing, fun() -> accepted(in(A, senders, [Senders])) > 1_000 end, 20_000),
    Before = in(A, memory, []),
    ok = ?NODE:pause(vm(B)),
    Most = watch(A, deadline(case is_full() of true -> 30_000; false -> 5_000 end), 0),
    ok = ?NODE:resume(vm(B)),
    Stopped = accepted(in(A, senders, [Senders])),
    ok = ?NODE:wait_until(resumed, fun() -> accepted(in(A, senders, [Senders])) > Stopped + 1_000 end, 30_000),
    Sent = in(A, stop_senders, [Senders]),
    ok = arrived(Sent, B, sink),
    ?assertEqual([], [{S, Wrong} || {S, {_, [_ | _] = Wrong}} <- maps:to_list(in(B, sink, [sink]))]),
    ?assertEqual([not_connected, overloaded], lists:usort([not_connected | reasons(Sent)])),
    ?assert(Most < Before + 2 * ?QUEUE_BYTES + ?SLACK_BYTES, {Most, Before}),
    comment("~b messages; memory ~b MB before, ~b MB at most", [accepted(Sent), Before div ?MB, Most div ?MB]).

%% A peer is stopped, sent to, killed and started again under its name: its new life gets nothing of what was meant for the
%% old one, and the sender is told of each message that it does not know to be delivered.
restarted_receiver(Config) ->
    [A, B] = pair(#{}, Config),
    Name = ?CLUSTER:name(B),
    ok = in(B, start_sink, [sink]),
    ok = ?NODE:pause(vm(B)),
    %% A suspect still accepts. Those that wait come first: the senders may fill the queue.
    Waiters = in(A, start_waiters, [Name, sink, 3]),
    ok = ?NODE:wait_until(accepted, fun() -> queued(A, Name, data) =:= 3 end, 10_000),
    Old = in(A, start_senders, [Name, sink, 100, [old], #{}]),
    ok = ?NODE:wait_until(accepted, fun() -> accepted(in(A, senders, [Old])) >= 100 end, 10_000),
    Accepted = accepted(in(A, stop_senders, [Old])),
    ok = ?NODE:kill(vm(B)),
    _ = ?CLUSTER:await(A, {down, Name}, 0, 10_000),
    %% Nothing is accepted for a node that is down: so many are of the node's own, on `control'.
    Own = queued(A, Name, control),
    Mark = ?CLUSTER:mark(A),
    Again = start(Name, #{}, Config),
    ok = in(Again, start_sink, [sink]),
    ?assertEqual(ok, ?CLUSTER:join(Again, A)),
    _ = ?CLUSTER:await_all(A, [{up, Name}, {in_doubt, Name}], Mark, 10_000),
    %% Each lane tells of its own: all of the old messages, the waiters' and the node's.
    Doubtful = Accepted + 3 + Own,
    ok = ?NODE:wait_until({told_of, Doubtful}, fun() -> in_doubt(A) =:= Doubtful orelse in_doubt(A) end, 10_000),
    ?assertMatch([{error, {in_doubt, _}}, {error, {in_doubt, _}}, {error, {in_doubt, _}}], in(A, waiters, [Waiters])),
    New = in(A, start_senders, [Name, sink, 100, [new], #{}]),
    ok = ?NODE:wait_until(flowing, fun() -> accepted(in(A, senders, [New])) >= 1_000 end, 10_000),
    Sent = in(A, stop_senders, [New]),
    ok = arrived(Sent, Again, sink),
    ?assertEqual([new], maps:keys(in(Again, sink, [sink]))),
    comment("~b messages in doubt, told", [Doubtful]).

%% Values of 1,000 keys change while the receivers hang, and go on for a moment each 100,000 changes; connections die now and
%% then. All nodes end up with the newest value of each key, none ever goes back to an older one, and the counters tell
%% that 95 of 100 changes at least were never sent. A hanging receiver, not a slow one, so that this is so on any machine:
%% what passes is what may be in flight and one value a key.
monotonic_values(Config) ->
    Keys = 1_000,
    Step = 100_000,
    Rounds = case is_full() of true -> 10; false -> 1 end,
    Count = Rounds * Step,
    [A | Receivers] = members([a, b, c], #{}, Config),
    Nodes = [?CLUSTER:name(Member) || Member <- Receivers],
    [ok = ?NODE:call(vm(Member), topos_ct_values, start_store, [store]) || Member <- Receivers],
    %% The lanes exist from now on.
    [ok = ?CLUSTER:call(A, send, [Node, store, {0, 1}, #{channel => state_sync, key => 0, ack => true}]) || Node <- Nodes],
    Round = fun(N) ->
        [1 = in_channel(Member, suspend_receivers, [<<"state_sync">>]) || Member <- Receivers],
        Before = [came(Member) || Member <- Receivers],
        Values = {(N - 1) * Step + 2, N * Step + 1},
        ok = ?NODE:call(vm(A), topos_ct_values, update, [Nodes, {store, state_sync}, Keys, Values, 4], 300_000),
        _ = N rem 3 =:= 1 andalso in_channel(A, kill_connections, [hd(Nodes)]),
        [1 = in_channel(Member, resume_receivers, [<<"state_sync">>]) || Member <- Receivers],
        ok = ?NODE:wait_until(going_on, fun() -> lists:all(fun({M, C}) -> came(M) > C end, lists:zip(Receivers, Before)) end, 30_000)
    end,
    ok = lists:foreach(Round, lists:seq(1, Rounds)),
    Newest = maps:from_list([{N rem Keys, N} || N <- lists:seq(Count + 2 - Keys, Count + 1)]),
    ok = ?NODE:wait_until(newest, fun() -> [maps:get(newest, store(M)) || M <- Receivers] =:= [Newest, Newest] end, 60_000),
    Rows = fun() -> {ok, Of} = ?NODE:call(vm(A), topos_channel, stats, [state_sync]), Of end,
    ok = ?NODE:wait_until(acknowledged, fun() -> [Q || #{queue_messages := Q} <- Rows()] =:= [0, 0] end, 30_000),
    ?assertEqual([[], []], [maps:get(older, store(Member)) || Member <- Receivers]),
    Stats = maps:from_list([{Node, Row} || #{node := Node} = Row <- Rows()]),
    Superseded = [
        begin
            #{messages_out := Out, acknowledged := Out, superseded := Never, lost := 0, in_doubt := 0, expired := 0} =
                maps:get(?CLUSTER:name(Member), Stats),
            ?assertEqual({came(Member), Count + 1}, {Out, Out + Never}),
            ?assert(Never >= Count * 95 div 100),
            Never
        end
     || Member <- Receivers
    ],
    comment("~b changes for each of two nodes, ~w never sent", [Count, Superseded]).

%% A keyed stream while its channel gets 4 lanes, then 2, then 1, again and again: nothing lost, nothing twice, each key in
%% order, and no node goes down.
growing_and_shrinking(Config) ->
    [A, B] = pair(#{}, Config),
    Mark = ?CLUSTER:mark(A),
    ok = ?NODE:call(vm(A), topos_channel, create, [keyed, #{}]),
    ok = in(B, start_sink, [sink]),
    Names = [list_to_atom("key" ++ integer_to_list(N)) || N <- lists:seq(1, 16)],
    Senders = in(A, start_senders, [?CLUSTER:name(B), sink, 200, Names, #{channel => keyed, wait => 1_000}]),
    Deadline = deadline(case is_full() of true -> 60_000; false -> 0 end),
    %% Distributed Erlang has one for all.
    Connections = fun(Lanes) -> case ?config(engine, Config) of partisan -> Lanes; otp -> 1 end end,
    Changes = change_lanes([4, 2], {A, Senders, Connections, Deadline}, 0),
    Sent = in(A, stop_senders, [Senders]),
    ok = arrived(Sent, B, sink),
    ?assertEqual([], [{S, Wrong} || {S, {_, [_ | _] = Wrong}} <- maps:to_list(in(B, sink, [sink]))]),
    ?assertEqual([], reasons(Sent) -- [overloaded]),
    ?assertEqual([], [Event || {_, {Kind, _} = Event} <- ?NODE:call(vm(A), topos_ct_events, log, [Mark]), Kind =:= down orelse Kind =:= left]),
    comment("~b messages, ~b changes of the lanes", [accepted(Sent), Changes]).

%% Each change is made while messages flow and is through, connections too, before the next.
change_lanes([], {_, _, _, Deadline} = Stream, Changes) ->
    case erlang:monotonic_time(millisecond) > Deadline of
        true -> Changes;
        false -> change_lanes([1, 4, 2], Stream, Changes)
    end;
change_lanes([Lanes | Rest], {A, Senders, Connections, _} = Stream, Changes) ->
    ok = ?NODE:call(vm(A), topos_channel, reconfigure, [keyed, #{parallelism => Lanes}]),
    Before = accepted(in(A, senders, [Senders])),
    ok = ?NODE:wait_until(flowing, fun() -> accepted(in(A, senders, [Senders])) > Before + 10_000 end, 30_000),
    ok = ?NODE:wait_until({lanes, Lanes}, fun() ->
        {ok, [#{lanes := Now, connections := Open}]} = ?NODE:call(vm(A), topos_channel, stats, [keyed]),
        {Now, Open} =:= {Lanes, Connections(Lanes)} orelse {Now, Open}
    end, 30_000),
    change_lanes(Rest, Stream, Changes + 1).

%% Helpers

store(Member) -> ?NODE:call(vm(Member), topos_ct_values, store, [store]).

came(Member) -> maps:get(came, store(Member)).

in_channel(Member, Function, Args) -> ?NODE:call(vm(Member), topos_ct_channel, Function, Args).

is_full() -> os:getenv("TOPOS_SOAK") =:= "full".

pair(Extra, Config) -> members([a, b], Extra, Config).

members(Bases, Extra, Config) ->
    Number = erlang:unique_integer([positive]),
    Members = [First | Others] = ?CLUSTER:together(
        fun(Base) -> start(?NODE:name(lists:concat([Base, "_soak_", Number])), Extra, Config) end, Bases),
    [?assertEqual(ok, ?CLUSTER:join(Member, First)) || Member <- Others],
    ok = ?NODE:wait_until(agreed, fun() -> lists:all(fun(M) -> ?CLUSTER:agreed(M, Members) end, Members) end, 10_000),
    Members.

start(Name, Extra, Config) ->
    Vm = ?NODE:start(Name),
    true = ets:insert(?config(vms, Config), {Vm}),
    ?CLUSTER:start_node(Vm, ?config(engine, Config), Name, Extra).

vm(#{vm := Vm}) -> Vm.

in(Member, Function, Args) -> ?NODE:call(vm(Member), ?LOAD, Function, Args).

accepted(Sent) -> lists:sum([N || {N, _} <- maps:values(Sent)]).

queued(Member, To, Channel) ->
    lists:sum([N || #{node := Node, channel := C, messages := N} <- ?NODE:call(vm(Member), topos_channel_monitor, lanes, []),
                    Node =:= To, C =:= Channel]).

in_doubt(Member) ->
    #{counters := #{in_doubt := Count}} = ?CLUSTER:call(Member, cluster, []),
    Count.

reasons(Sent) -> lists:usort(lists:append([maps:keys(Errors) || {_, Errors} <- maps:values(Sent)])).

arrived(Sent, Member, Sink) ->
    Expected = maps:map(fun(_, {Accepted, _}) -> Accepted end, Sent),
    ?NODE:wait_until({all_of, Expected},
        fun() ->
            Seen = maps:map(fun(_, {Last, _}) -> Last end, in(Member, sink, [Sink])),
            Seen =:= Expected orelse Seen
        end, 60_000).

%% The most memory a node used until then.
watch(Member, Deadline, Most) ->
    Now = in(Member, memory, []),
    case erlang:monotonic_time(millisecond) > Deadline of
        true -> max(Now, Most);
        false -> ok = pass(100), watch(Member, Deadline, max(Now, Most))
    end.

deadline(Milliseconds) -> erlang:monotonic_time(millisecond) + Milliseconds.

%% The load goes on meanwhile: its length is what the case is about.
pass(Milliseconds) -> receive after Milliseconds -> ok end.

comment(Format, Args) ->
    Text = lists:flatten(io_lib:format(Format, Args)),
    ct:pal("~s", [Text]),
    {comment, Text}.
