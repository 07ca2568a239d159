%% Channels of two real nodes on every engine that is present: what each setting promises, changes under load, statistics.
-module(topos_channel_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile(export_all).

-define(NODE, topos_ct_node).
-define(CLUSTER, topos_ct_cluster).
-define(CLOCK, topos_ct_clock).

all() -> [{group, Engine} || Engine <- topos_engine:names()].

groups() ->
    Cases = [
        one_sided_channel, parallelism_changes_under_a_keyed_stream, closing_delivers_what_was_accepted,
        closing_gives_up_in_time, wrong_changes_are_refused, order_none_delivers_all,
        small_messages_overtake_a_large_one, keys_keep_their_order_around_large_messages,
        at_most_once_never_twice, expired_is_told, monotonic_keeps_the_last_value, statistics_are_true,
        rates_are_true, round_trips_are_true,
        head_of_line_is_reported, load_is_not_reported, endpoint_serves_statistics,
        a_scope_chooses_the_channel, adaptive_lanes_grow_and_shrink, compression_shrinks_the_wire, a_bomb_is_refused
    ],
    [{Engine, [], Cases} || Engine <- topos_engine:names()].

suite() -> [{timetrap, {seconds, 120}}].

init_per_group(Engine, Config) ->
    case lists:member(Engine, topos_engine:available()) of
        true ->
            Members = [A, B] = [
                ?CLUSTER:start_node(?CLUSTER:vm(Base, []), Engine, ?NODE:name(Base), #{
                    metrics => #{},
                    fault_detection => #{echo_interval => 100, suspect_after => 2_000, down_after => 6_000}
                })
             || Base <- [lists:concat([chan_a_, Engine]), lists:concat([chan_b_, Engine])]
            ],
            ok = ?CLUSTER:join(B, A),
            ok = ?NODE:wait_until(agreed, fun() -> lists:all(fun(M) -> ?CLUSTER:agreed(M, Members) end, Members) end, 5_000),
            [{engine, Engine}, {a, A}, {b, B} | Config];
        false ->
            {skip, lists:concat(["the engine ", Engine, " is not installed: Erlang does not find its application"])}
    end.

end_per_group(_Engine, Config) ->
    lists:foreach(fun(#{vm := Vm} = Member) -> ok = ?CLUSTER:stop_node(Member), ok = ?NODE:stop(Vm) end,
        [?config(a, Config), ?config(b, Config)]).

init_per_testcase(Case, Config) ->
    ok = in(b, Config, topos_ct_stream, start_sink, [Case]),
    [{sink, Case} | Config].

end_per_testcase(_Case, _Config) -> ok.

%% A channel belongs to its sender: the receiver knows nothing of it.
one_sided_channel(Config) ->
    ok = channel(create, [fresh, #{parallelism => 2}], Config),
    ok = in(a, Config, topos_ct_channel, stream, [b(Config), sink(Config), fresh, 4, 100]),
    await_received(400, Config),
    ?assertEqual(ok, in(b, Config, topos_ct_channel, in_order, [sink(Config), 100])),
    ok = await_connections(fresh, 2, Config),
    {ok, #{fresh := #{parallelism := 2, delivery := at_least_once}}} = channel(list, [], Config),
    ok = channel(close, [fresh], Config),
    ok = await_connections(fresh, 0, Config),
    {error, {no_such_channel, _}} =
        in(a, Config, topos_partisan, send, [b(Config), sink(Config), x, #{channel => fresh}]).

%% The bytes that the sockets of the sending VM count, for the same messages with compression and without.
compression_shrinks_the_wire(Config) ->
    ok = channel(create, [#{plain => #{}, packed => #{compression => true}}], Config),
    Text = binary:copy(<<"a line of a log that says much the same as the one before\n">>, 20),
    Send = fun(Channel) ->
        Before = in(a, Config, topos_ct_channel, bytes_sent, []),
        ok = in(a, Config, topos_ct_channel, texts, [b(Config), sink(Config), Channel, 400, Text]),
        in(a, Config, topos_ct_channel, bytes_sent, []) - Before
    end,
    Plain = Send(plain),
    Packed = Send(packed),
    Payload = 400 * byte_size(Text),
    await_received(800, Config),
    ?assertEqual(ok, in(b, Config, topos_ct_channel, same_texts, [sink(Config), 400, Text])),
    ?assert(Plain >= Payload),
    ?assert(Packed * 5 < Plain),
    {ok, Of} = channel(stats, [packed], Config),
    [#{bytes_saved := Saved, bytes_out := Out}] = [Row || #{node := Node} = Row <- Of, Node =:= b(Config)],
    ?assert(Saved * 5 > Out * 4),
    {ok, OfPlain} = channel(stats, [plain], Config),
    ?assertEqual([0], lists:usort([N || #{bytes_saved := N} <- OfPlain])),
    ok = channel(close, [plain], Config),
    ok = channel(close, [packed], Config),
    {comment, lists:flatten(io_lib:format("~b bytes of text: ~b on the wire plain, ~b compressed", [Payload, Plain, Packed]))}.

%% A peer that holds the cookie sends batches that are no zlib data, and that inflate to more than is allowed or announced.
a_bomb_is_refused(Config) ->
    ok = channel(create, [bomb, #{compression => true}], Config),
    ok = in(a, Config, topos_partisan, send, [b(Config), sink(Config), first, #{channel => bomb, ack => true}]),
    Before = counter(b, malformed_frames, Config),
    Memory = in(b, Config, topos_ct_channel, binary_memory, []),
    3 = in(a, Config, topos_ct_channel, send_bombs, [b(Config), bomb]),
    ok = ?NODE:wait_until(refused, fun() -> counter(b, malformed_frames, Config) =:= Before + 3 end, 5_000),
    ?assert(in(b, Config, topos_ct_channel, binary_memory, []) - Memory < 20_000_000),
    %% The lane goes on.
    ok = in(a, Config, topos_partisan, send, [b(Config), sink(Config), second, #{channel => bomb, ack => true}]),
    ?assertEqual([first, second], [M || {_, M} <- in(b, Config, topos_ct_probe, messages, [sink(Config)])]),
    ok = channel(close, [bomb], Config).

counter(Which, Name, Config) -> maps:get(Name, in(Which, Config, topos_local, counts, [])).

%% 1 -> 4 -> 2 -> 3 while 16 keys stream: nothing lost, nothing twice, each key in order, and the link never down.
parallelism_changes_under_a_keyed_stream(Config) ->
    ok = channel(create, [keyed, #{}], Config),
    Mark = ?CLUSTER:mark(a(Config)),
    Count = 10_000,
    Self = self(),
    Stream = spawn_monitor(fun() ->
        ok = ?NODE:call(maps:get(vm, a(Config)), topos_ct_channel, stream, [b(Config), sink(Config), keyed, 16, Count], 300_000),
        Self ! streamed
    end),
    Steps = [
        begin
            %% Each change comes while messages flow.
            Before = received(Config),
            ok = ?NODE:wait_until(flowing, fun() -> received(Config) > Before orelse received(Config) =:= 16 * Count end, 10_000),
            ok = channel(reconfigure, [keyed, #{parallelism => Lanes}], Config),
            ok = await_connections(keyed, Lanes, Config),
            {Lanes, received(Config)}
        end
     || Lanes <- [4, 2, 3]
    ],
    receive streamed -> ok; {'DOWN', _, process, _, Why} when Why =/= normal -> error({Stream, Why}) end,
    await_received(16 * Count, Config),
    ?assertEqual(ok, in(b, Config, topos_ct_channel, in_order, [sink(Config), Count])),
    ?assertEqual([], [Edge || {_, {Kind, _} = Edge} <- events(Mark, Config), Kind =:= down orelse Kind =:= left]),
    ok = channel(close, [keyed], Config),
    {comment, lists:flatten(io_lib:format("received when the lanes had changed: ~w of ~b", [Steps, 16 * Count]))}.

closing_delivers_what_was_accepted(Config) ->
    ok = channel(create, [brief, #{parallelism => 2}], Config),
    ok = in(a, Config, topos_ct_channel, stream, [b(Config), sink(Config), brief, 8, 500]),
    ok = channel(close, [brief, #{timeout => 20_000}], Config),
    %% Acknowledged means in the mailbox of the receiver.
    ?assertEqual(4_000, received(Config)),
    ?assertEqual(ok, in(b, Config, topos_ct_channel, in_order, [sink(Config), 500])).

closing_gives_up_in_time(Config) ->
    ok = channel(create, [stuck, #{}], Config),
    ok = in(a, Config, topos_partisan, send, [b(Config), sink(Config), first, #{channel => stuck, ack => true}]),
    1 = in(b, Config, topos_ct_channel, suspend_receivers, [<<"stuck">>]),
    50 = in(a, Config, topos_ct_channel, fill, [b(Config), sink(Config), #{channel => stuck}, 50]),
    Clock = ?CLOCK:start(vms(Config)),
    Start = erlang:monotonic_time(millisecond),
    ok = channel(close, [stuck, #{timeout => 300}], Config),
    Took = ?NODE:elapsed(Start),
    ok = ?CLOCK:kept(close, Took, 2_000, ?CLOCK:stop(Clock)),
    1 = in(b, Config, topos_ct_channel, resume_receivers, [<<"stuck">>]),
    ok = ?NODE:wait_until(in_doubt, fun() -> in_doubt(stuck, Config) =:= 50 end, 5_000).

wrong_changes_are_refused(Config) ->
    {ok, Before} = channel(list, [], Config),
    ?assertMatch({error, {invalid_config, #{count := 2}}},
        channel(create, [#{bad => #{parallelism => 65, monotonic => true, order => none}}], Config)),
    ?assertMatch({error, {channel_exists, #{channel := <<"bulk">>}}}, channel(create, [bulk, #{}], Config)),
    ?assertMatch({error, {no_such_channel, _}}, channel(reconfigure, [nothing, #{}], Config)),
    ?assertMatch({error, {no_such_channel, _}}, channel(close, [nothing], Config)),
    ?assertMatch({error, {no_such_channel, _}}, channel(stats, [nothing], Config)),
    ?assertMatch({error, {standard_channel, _}}, channel(close, [data], Config)),
    ?assertMatch({error, {invalid_config, _}}, channel(reconfigure, [control, #{parallelism => 2}], Config)),
    ?assertEqual({ok, Before}, channel(list, [], Config)).

order_none_delivers_all(Config) ->
    ok = channel(create, [loose, #{parallelism => 4, order => none}], Config),
    ok = in(a, Config, topos_ct_channel, burst, [b(Config), sink(Config), loose, 2_000, 10]),
    await_received(2_000, Config),
    Numbers = [N || {_, {N, _}} <- in(b, Config, topos_ct_probe, messages, [sink(Config)])],
    ?assertEqual(lists:seq(1, 2_000), lists:sort(Numbers)),
    {ok, [#{lanes := 4}]} = channel(stats, [loose], Config),
    ok = channel(close, [loose], Config).

%% The receiver hangs while a message of 16 pieces is sent, twice the window, and a small one behind it: this one
%% comes first where no order is promised, or not between the two; elsewhere it comes when it is its turn.
small_messages_overtake_a_large_one(Config) ->
    Bytes = 4_000_000,
    ok = channel(create, [#{overtaken => #{order => none}, strict => #{}}], Config),
    Arrived = fun(Channel, Key) ->
        Send = fun(Message, More) ->
            ok = in(a, Config, topos_partisan, send, [b(Config), sink(Config), Message, maps:merge(#{channel => Channel, key => k}, More)])
        end,
        ok = Send(first, #{ack => true}),
        1 = in(b, Config, topos_ct_channel, suspend_receivers, [atom_to_binary(Channel)]),
        ok = Send({large, binary:copy(<<1>>, Bytes)}, #{}),
        ok = Send(small, #{key => Key}),
        1 = in(b, Config, topos_ct_channel, resume_receivers, [atom_to_binary(Channel)]),
        ok = Send(last, #{ack => true}),
        ok = ?NODE:wait_until(all, fun() -> received(Config) =:= 4 end, 20_000),
        [case M of {large, Copy} -> {large, byte_size(Copy)}; _ -> M end
            || {_, M} <- in(b, Config, topos_ct_probe, flush, [sink(Config)])]
    end,
    ?assertEqual([first, {large, Bytes}, small, last], Arrived(strict, k)),
    ?assertEqual([first, small, {large, Bytes}, last], Arrived(strict, other)),
    %% What is sent at last is small too.
    ?assertMatch([first, small, _, _], Arrived(overtaken, k)),
    [ok = channel(close, [Channel], Config) || Channel <- [overtaken, strict]],
    ok.

%% Four keys at once, each tenth message large, and connections die: each key's messages come once and in order.
keys_keep_their_order_around_large_messages(Config) ->
    ok = channel(create, [mixed, #{}], Config),
    Cut = fun() -> ok = in(a, Config, topos_ct_channel, kill_connections, [b(Config)]) end,
    {_, Ref} = spawn_monitor(fun() -> exit(in(a, Config, topos_ct_channel, mixed, [b(Config), sink(Config), mixed, 4, 100])) end),
    ok = lists:foreach(
        fun(Count) -> ok = ?NODE:wait_until({flowing, Count}, fun() -> received(Config) > Count end, 60_000), Cut() end, [20, 150]),
    ?assertEqual(ok, receive {'DOWN', Ref, process, _, Result} -> Result end),
    ok = ?NODE:wait_until(all, fun() -> received(Config) >= 400 orelse received(Config) end, 60_000),
    ?assertEqual(ok, in(b, Config, topos_ct_channel, in_order, [sink(Config), 100])),
    %% The next case sees nothing of the cuts.
    ok = ?NODE:wait_until(up, fun() -> lists:member(b(Config), in(a, Config, topos_partisan, nodes, [])) end, 60_000),
    ok = channel(close, [mixed], Config).

%% Connections die under it: some messages may be lost, and are counted; none comes twice or late.
at_most_once_never_twice(Config) ->
    ok = channel(create, [once, #{delivery => at_most_once}], Config),
    Self = self(),
    {_, Ref} = spawn_monitor(fun() ->
        ok = in(a, Config, topos_ct_channel, burst, [b(Config), sink(Config), once, 20_000, 100]),
        Self ! streamed
    end),
    ok = ?NODE:wait_until(flowing, fun() -> received(Config) > 100 end, 10_000),
    ok = in(a, Config, topos_ct_channel, kill_connections, [b(Config)]),
    receive streamed -> ok; {'DOWN', Ref, process, _, Why} when Why =/= normal -> error(Why) end,
    ok = ?NODE:wait_until(idle, fun() ->
        {ok, [#{queue_messages := Queue}]} = channel(stats, [once], Config),
        Queue =:= 0
    end, 20_000),
    {ok, [#{lost := Lost, messages_out := Out, retries := Retries}]} = channel(stats, [once], Config),
    Numbers = [N || {_, {N, _}} <- in(b, Config, topos_ct_probe, messages, [sink(Config)])],
    ?assertEqual(lists:usort(Numbers), Numbers),
    ?assertEqual({20_000, 0}, {Out, Retries}),
    ?assert(length(Numbers) + Lost >= 20_000),
    ok = channel(close, [once], Config),
    {comment, lists:flatten(io_lib:format("~b received, ~b counted as lost", [length(Numbers), Lost]))}.

expired_is_told(Config) ->
    Mark = in(a, Config, topos_ct_events, mark, []),
    Telemetry = in(a, Config, topos_ct_channel, watch_telemetry, []),
    ok = channel(create, [soon, #{expiry => 2_000, priority => low}], Config),
    ok = in(a, Config, topos_partisan, send, [b(Config), sink(Config), first, #{channel => soon, key => k, ack => true}]),
    %% The node looks twice a second whether there is telemetry.
    ok = ?NODE:wait_until(sample, fun() -> not Telemetry orelse telemetry(sample, soon, Config) =/= [] end, 5_000),
    1 = in(b, Config, topos_ct_channel, suspend_receivers, [<<"soon">>]),
    %% Two batches are in flight; what comes after waits.
    [ok, ok] = [in(a, Config, topos_partisan, send, [b(Config), sink(Config), flying, #{channel => soon, key => k}]) || _ <- [1, 2]],
    Start = erlang:monotonic_time(millisecond),
    ?assertMatch({error, {expired, _}},
        in(a, Config, topos_partisan, send, [b(Config), sink(Config), late, #{channel => soon, key => k, ack => true}])),
    ?assert(?NODE:elapsed(Start) >= 1_990),
    1 = in(b, Config, topos_ct_channel, resume_receivers, [<<"soon">>]),
    await_received(3, Config),
    {ok, [#{expired := 1}]} = channel(stats, [soon], Config),
    {ok, _} = in(a, Config, topos_ct_events, await, [{expired, b(Config)}, Mark, 10_000]),
    ok = told_expired(Telemetry, soon, Config),
    ok = channel(close, [soon], Config).

told_expired(false, _Channel, _Config) ->
    ok;
told_expired(true, Channel, Config) ->
    Node = b(Config),
    ?NODE:wait_until(expired, fun() ->
        telemetry(expired, Channel, Config) =:= [{#{count => 1}, #{node => Node, channel => Channel}}]
    end, 5_000).

%% The receiver hangs, then the connections die: of 100,000 updates of 1,000 keys nearly all give way, the last of each key comes.
monotonic_keeps_the_last_value(Config) ->
    Options = #{channel => state_sync, key => 0, ack => true},
    ok = in(a, Config, topos_partisan, send, [b(Config), sink(Config), {0, 0}, Options]),
    1 = in(b, Config, topos_ct_channel, suspend_receivers, [<<"state_sync">>]),
    Last = ?NODE:call(maps:get(vm, a(Config)), topos_ct_channel, updates, [b(Config), sink(Config), 1_000, 100_000], 300_000),
    ok = in(a, Config, topos_ct_channel, kill_connections, [b(Config)]),
    1 = in(b, Config, topos_ct_channel, resume_receivers, [<<"state_sync">>]),
    ok = ?NODE:wait_until(last_values, fun() ->
        in(b, Config, topos_ct_channel, last_values, [sink(Config)]) =:= Last
    end, 20_000),
    {ok, [#{superseded := Superseded}]} = channel(stats, [state_sync], Config),
    ?assert(Superseded >= 95_000),
    {comment, lists:flatten(io_lib:format("~b of 100000 gave way", [Superseded]))}.

statistics_are_true(Config) ->
    ok = channel(create, [counted, #{parallelism => 2}], Config),
    ok = in(a, Config, topos_ct_channel, burst, [b(Config), sink(Config), counted, 5_000, 1_000]),
    await_received(5_000, Config),
    ok = ?NODE:wait_until(acknowledged, fun() ->
        {ok, [#{acknowledged := N}]} = channel(stats, [counted], Config),
        N =:= 5_000
    end, 5_000),
    {ok, [Out]} = channel(stats, [counted], Config),
    {ok, Peer} = in(b, Config, topos_channel, stats, []),
    [In] = [Row || #{channel := <<"counted">>} = Row <- Peer],
    ?assertMatch(#{messages_out := 5_000, queue_messages := 0, queue_bytes := 0, lost := 0, expired := 0}, Out),
    ?assertMatch(#{messages_in := 5_000}, In),
    #{bytes_out := BytesOut, rtt := #{p50 := P50, p95 := P95, p99 := P99, count := Timed}, credit := Credit} = Out,
    ?assertEqual(BytesOut, maps:get(bytes_in, In)),
    ?assert(abs(BytesOut - 5_000 * 1_000) =< 5_000 * 50),
    ?assert(Timed > 0 andalso P50 > 0 andalso P50 =< P95 andalso P95 =< P99 andalso P99 < 60_000_000),
    ?assertEqual(8 * maps:get(lanes, Out), Credit),
    ok = ?NODE:wait_until(rates, fun() ->
        {ok, [#{rates := #{history_out := History}}]} = channel(stats, [counted], Config),
        lists:sum(History) > 0
    end, 3_000),
    ok = channel(close, [counted], Config),
    {comment, lists:flatten(io_lib:format("round trips of ~b batches: p50 ~b, p95 ~b, p99 ~b us", [Timed, P50, P95, P99]))}.

%% Messages and bytes a second, at both ends, are within 5 % of what the test counts in the same two seconds.
rates_are_true(Config) ->
    ok = channel(create, [steady, #{}], Config),
    Size = 4_000,
    ok = in(b, Config, topos_ct_rates, start_sink, [steady]),
    Sender = in(a, Config, topos_ct_rates, start, [b(Config), steady, steady, Size]),
    Out = in(a, Config, topos_ct_rates, out, [b(Config), steady]),
    In = in(b, Config, topos_ct_rates, in, [a_name(Config), <<"steady">>, steady]),
    ok = in(a, Config, topos_ct_rates, stop, [Sender]),
    Wrong = [
        Measured
     || {Messages, Bytes, {Low, High}} = Measured <- Out ++ In,
        not (is_within_5_percent(Messages, Low, High) andalso is_within_5_percent(Bytes, Size * Low, Size * High))
    ],
    ?assertEqual([], Wrong),
    ok = channel(close, [steady, #{timeout => 20_000}], Config),
    [{Rate, _, Bounds} | _] = Out,
    {comment, lists:flatten(io_lib:format("~w a second, between ~w", [round(Rate), Bounds]))}.

%% A receiver that takes each of ten batches a known time after it came: percentiles of the round trip are within 5 % of what
%% the test measures, which has the time between the arrival and the taking, and that between the send and its return.
round_trips_are_true(Config) ->
    ok = channel(create, [timed, #{}], Config),
    First = in(a, Config, topos_ct_rates, send, [b(Config), sink(Config), timed]),
    Measured = [{0, First} | [timed(40 * N, 20, Config) || N <- lists:seq(1, 10)]],
    {ok, [#{rtt := #{p50 := P50, p95 := P95, p99 := P99, count := Count}}]} = channel(stats, [timed], Config),
    ?assert(Count >= 11),
    %% Whatever their order is, the sixth of eleven is the median, and the longest is beyond 95 %.
    {Low, High} = lists:unzip(Measured),
    Bounds = lists:zip(lists:sort(Low), lists:sort(High)),
    {LowMedian, HighMedian} = lists:nth(6, Bounds),
    {LowMost, HighMost} = lists:last(Bounds),
    ?assert(is_within_5_percent(P50, LowMedian, HighMedian), {P50, Measured}),
    ?assert(is_within_5_percent(P95, LowMost, HighMost), {P95, Measured}),
    ?assert(is_within_5_percent(P99, LowMost, HighMost), {P99, Measured}),
    ok = channel(close, [timed], Config),
    {comment, lists:flatten(io_lib:format("p50 ~b us, measured ~w", [P50, {LowMedian, HighMedian}]))}.

is_within_5_percent(Reported, Low, High) -> Reported >= 0.95 * Low andalso Reported =< 1.05 * High.

%% One that had to be sent again is not in the statistics, and is measured anew.
timed(Delay, Tries, Config) when Tries > 0 ->
    Counted = timed_count(Config),
    1 = in(b, Config, topos_ct_channel, suspend_receivers, [<<"timed">>]),
    Self = self(),
    _ = spawn_link(fun() -> Self ! {took, in(a, Config, topos_ct_rates, send, [b(Config), sink(Config), timed])} end),
    ok = ?NODE:wait_until(came, fun() -> in(b, Config, topos_ct_channel, waiting_batches, [<<"timed">>]) >= 1 end, 20_000),
    Came = erlang:monotonic_time(microsecond),
    receive after Delay -> ok end,
    Least = erlang:monotonic_time(microsecond) - Came,
    1 = in(b, Config, topos_ct_channel, resume_receivers, [<<"timed">>]),
    Most = receive {took, Time} -> Time end,
    case timed_count(Config) of
        Counted -> timed(Delay, Tries - 1, Config);
        More when More =:= Counted + 1 -> {Least, Most}
    end.

timed_count(Config) ->
    {ok, [#{rtt := #{count := Count}}]} = channel(stats, [timed], Config),
    Count.

%% The receiver of one lane hangs: this channel is reported within two seconds, and no other.
head_of_line_is_reported(Config) ->
    ok = channel(create, [jam, #{}], Config),
    Send = fun(Channel, Message) ->
        in(a, Config, topos_partisan, send, [b(Config), sink(Config), Message, #{channel => Channel, ack => true}])
    end,
    [ok, ok] = [Send(Channel, hello) || Channel <- [jam, data]],
    Telemetry = in(a, Config, topos_ct_channel, watch_telemetry, []),
    1 = in(b, Config, topos_ct_channel, suspend_receivers, [<<"jam">>]),
    9_500 = in(a, Config, topos_ct_channel, fill, [b(Config), sink(Config), #{channel => jam}, 9_500]),
    [Clock, Whole] = [?CLOCK:start(vms(Config)) || _ <- [1, 2]],
    {ok, Took} = in(a, Config, topos_ct_channel, await_health, [{b(Config), jam}, head_of_line, 2_000]),
    Waited = ?CLOCK:stop(Clock),
    %% A look that comes a quarter of a second late begins anew, which takes six times as long.
    ok = ?CLOCK:kept(head_of_line, Took, 2_000, 6 * Waited),
    ok = Send(data, still_fine),
    {ok, #{status := degraded, channels := Channels}} = channel(health, [], Config),
    ?assertEqual([jam], [C || #{channel := C, status := S} <- Channels, S =/= ok]),
    ?assertMatch([#{blocked_lanes := [0], queue_messages := 9_500}], [C || #{channel := jam} = C <- Channels]),
    ok = told_blocked(Telemetry, jam, Config),
    1 = in(b, Config, topos_ct_channel, resume_receivers, [<<"jam">>]),
    {ok, _} = in(a, Config, topos_ct_channel, await_health, [{b(Config), jam}, ok, 10_000]),
    ok = told_telemetry(Telemetry, jam, ?CLOCK:stop(Whole), Config),
    ok = channel(close, [jam, #{timeout => 10_000}], Config),
    {comment, lists:flatten(io_lib:format("reported after ~b ms", [Took]))}.

told_blocked(false, _Channel, _Config) -> ok;
told_blocked(true, Channel, Config) ->
    ?NODE:wait_until(blocked, fun() -> telemetry(blocked, Channel, Config) =/= [] end, 2_000).

%% Blocked once, then unblocked, with the lane; again only where a look was late. And samples with every counter.
told_telemetry(false, _Channel, _Waited, _Config) ->
    ok;
told_telemetry(true, Channel, Waited, Config) ->
    Count = fun(Kind) -> length(telemetry(Kind, Channel, Config)) end,
    ok = ?NODE:wait_until(unblocked, fun() -> Count(unblocked) > 0 andalso Count(unblocked) =:= Count(blocked) end, 3_000),
    Node = b(Config),
    [First | Again] = telemetry(blocked, Channel, Config),
    ?assertMatch({#{waiting := 9_500, blocked_for := _}, #{node := Node, lane := 0}}, First),
    ?assert(length(Again) =< Waited div 250),
    [{Sample, #{node := Node}} | _] = telemetry(sample, Channel, Config),
    ?assertEqual([], topos_channel_stats:names() -- maps:keys(Sample)),
    ok.

telemetry(Kind, Channel, Config) ->
    [
        {Measurements, Metadata}
     || {K, Measurements, #{channel := C} = Metadata} <- in(a, Config, topos_ct_channel, telemetry_events, []),
        K =:= Kind, C =:= Channel
    ].

%% A channel under as much load as it takes, for longer than blocking takes to be seen, is not blocked.
load_is_not_reported(Config) ->
    ok = channel(create, [busy, #{}], Config),
    Self = self(),
    ok = ?CLOCK:undisturbed(vms(Config), 250, fun() ->
        Load = spawn_link(fun() -> load(Self, Config) end),
        Seen = watch(erlang:monotonic_time(millisecond) + 4_000, Config, []),
        Load ! stop,
        Sent = receive {stopped, N} -> N end,
        ?assert(Sent > 0),
        [S || S <- Seen, S =:= head_of_line]
    end),
    ok = channel(close, [busy, #{timeout => 20_000}], Config).

endpoint_serves_statistics(Config) ->
    {ok, _} = application:ensure_all_started(inets),
    ok = in(a, Config, topos_ct_channel, burst, [b(Config), sink(Config), bulk, 10, 10]),
    await_received(10, Config),
    [{Ip, Port}] = in(a, Config, topos_metrics_server, addresses, []),
    ?assertEqual({127, 0, 0, 1}, Ip),
    Get = fun(Path) ->
        {ok, {{_, Status, _}, Headers, Body}} =
            httpc:request(get, {lists:concat(["http://127.0.0.1:", Port, Path]), []}, [{timeout, ?NODE:patience(5_000)}], []),
        {Status, proplists:get_value("content-type", Headers), Body}
    end,
    {200, "text/plain; version=0.0.4" ++ _, Metrics} = Get("/metrics"),
    Line = lists:concat(["topos_channel_messages_out{peer=\"", b(Config), "\",channel=\"bulk\"} 10\n"]),
    ?assertNotEqual(nomatch, string:find(Metrics, Line)),
    %% Every line is a comment or a sample.
    Lines = string:lexemes(Metrics, "\n"),
    ?assertEqual([], [L || L <- Lines, re:run(L, "^(# (HELP|TYPE) .+|[a-z_]+(\\{.+\\})? [0-9.e+-]+)$") =:= nomatch]),
    {200, "application/json", Stats} = Get("/stats?x=1"),
    ?assertNotEqual(nomatch, string:find(Stats, "\"channel\":\"bulk\"")),
    {200, "application/json", Topology} = Get("/topology"),
    Link = lists:concat(["{\"from\":\"", ?CLUSTER:name(a(Config)), "\",\"to\":[\"", b(Config)]),
    ?assertNotEqual(nomatch, string:find(Topology, Link)),
    ?assertMatch({200, "application/json", _}, Get("/health")),
    ?assertMatch({404, _, _}, Get("/nothing")),
    {ok, Socket} = gen_tcp:connect(Ip, Port, [binary, {active, false}]),
    ok = gen_tcp:send(Socket, "nonsense\r\n\r\n"),
    {ok, <<"HTTP/1.1 400", _/binary>>} = gen_tcp:recv(Socket, 0, ?NODE:patience(5_000)),
    ok = gen_tcp:close(Socket),
    %% Connections that say nothing do not keep others out for ever.
    Silent = [element(2, {ok, _} = gen_tcp:connect(Ip, Port, [])) || _ <- lists:seq(1, 20)],
    ok = lists:foreach(fun gen_tcp:close/1, Silent),
    ?assertMatch({200, _, _}, Get("/metrics")).

%% Messages without a channel take that of the innermost scope, also when one ends with an exception; a process on the other
%% node takes the one it was started with.
a_scope_chooses_the_channel(Config) ->
    ok = channel(create, [#{outer => #{}, inner => #{}}], Config),
    ok = in(b, Config, topos_channel, create, [there, #{}]),
    Node = b(Config),
    Out = fun(Channel) ->
        {ok, Rows} = channel(stats, [Channel], Config),
        lists:sum([N || #{messages_out := N} <- Rows])
    end,
    ok = in(a, Config, topos_ct_channel, nested_defaults, [Node, sink(Config), outer, inner]),
    ?assertEqual([outer_first, inner_first, inner_of_a_crash, outer_named_bulk, outer_broadcast, data_after],
        [Message || {_, Message} <- in(b, Config, topos_ct_probe, messages, [sink(Config)])]),
    ?assertEqual({2, 2}, {Out(outer), Out(inner)}),
    _ = in(a, Config, topos_ct_probe, start, [answers]),
    {ok, _} = in(a, Config, topos_ct_channel, spawn_sender, [Node, answers, there]),
    ok = ?NODE:wait_until(answered, fun() -> in(a, Config, topos_ct_probe, count, [answers]) =:= 2 end, 10_000),
    {ok, [#{messages_out := 2}]} = in(b, Config, topos_channel, stats, [there]),
    ok = in(b, Config, topos_channel, close, [there]),
    [ok = channel(close, [Channel], Config) || Channel <- [outer, inner]],
    ok.

%% The receiver hangs, so messages queue: lanes are added up to the limit; when all is delivered, in order, they go again.
adaptive_lanes_grow_and_shrink(Config) ->
    ok = channel(create, [elastic, #{max_parallelism => 4}], Config),
    ok = in(a, Config, topos_partisan, send, [b(Config), sink(Config), {k, 0}, #{channel => elastic, key => k, ack => true}]),
    1 = in(b, Config, topos_ct_channel, suspend_receivers, [<<"elastic">>]),
    Self = self(),
    {_, Ref} = spawn_monitor(fun() ->
        ok = in(a, Config, topos_ct_channel, stream, [b(Config), sink(Config), elastic, 4, 5_000]),
        Self ! streamed
    end),
    Start = erlang:monotonic_time(millisecond),
    ok = await_lanes(elastic, 4, 10_000, Config),
    Grown = ?NODE:elapsed(Start),
    %% The process that decides may fail: what it began with is not forgotten.
    true = in(a, Config, erlang, exit, [in(a, Config, erlang, whereis, [topos_channel_pool]), kill]),
    _ = in(b, Config, topos_ct_channel, resume_receivers, [<<"elastic">>]),
    receive streamed -> ok; {'DOWN', Ref, process, _, Why} when Why =/= normal -> error(Why) end,
    await_received(1 + 4 * 5_000, Config),
    Keyed = [M || {_, {Key, _} = M} <- in(b, Config, topos_ct_probe, messages, [sink(Config)]), is_integer(Key)],
    [?assertEqual(lists:seq(1, 5_000), [N || {K, N} <- Keyed, K =:= Key]) || Key <- [1, 2, 3, 4]],
    ok = await_lanes(elastic, 1, 30_000, Config),
    ok = channel(close, [elastic], Config),
    {comment, lists:flatten(io_lib:format("four lanes after ~b ms", [Grown]))}.

await_lanes(Channel, Lanes, Timeout, Config) ->
    ?NODE:wait_until({lanes, Channel, Lanes}, fun() ->
        {ok, #{Channel := #{parallelism := N}}} = channel(list, [], Config),
        N =:= Lanes orelse N
    end, Timeout).

%% internal

load(Parent, Config) -> load(Parent, Config, 0).

load(Parent, Config, Sent) ->
    receive
        stop -> Parent ! {stopped, Sent}
    after 0 ->
        ok = in(a, Config, topos_ct_channel, burst, [b(Config), sink(Config), busy, 2_000, 2_000]),
        load(Parent, Config, Sent + 2_000)
    end.

watch(Until, Config, Seen) ->
    case erlang:monotonic_time(millisecond) > Until of
        true -> Seen;
        false ->
            {ok, #{channels := Channels}} = channel(health, [], Config),
            watch(Until, Config, lists:usort([S || #{channel := busy, status := S} <- Channels] ++ Seen))
    end.

channel(Function, Args, Config) -> in(a, Config, topos_channel, Function, Args).

in(Which, Config, Module, Function, Args) ->
    #{vm := Vm} = ?config(Which, Config),
    ?NODE:call(Vm, Module, Function, Args, 120_000).

a(Config) -> ?config(a, Config).
vms(Config) -> [maps:get(vm, ?config(Which, Config)) || Which <- [a, b]].
a_name(Config) -> ?CLUSTER:name(a(Config)).
b(Config) -> ?CLUSTER:name(?config(b, Config)).
sink(Config) -> ?config(sink, Config).
received(Config) -> in(b, Config, topos_ct_stream, received, [sink(Config)]).

await_received(Count, Config) ->
    ok = ?NODE:wait_until({received, Count}, fun() -> case received(Config) of Count -> true; N -> N end end, 60_000).

%% Distributed Erlang has one connection for all: nothing to wait for.
await_connections(Channel, Count, Config) ->
    case ?config(engine, Config) of
        otp -> ok;
        partisan ->
            ?NODE:wait_until({connections, Channel, Count}, fun() ->
                Open = in(a, Config, topos_engine_partisan, connections, []),
                case lists:sum([N || {_, C, N} <- Open, C =:= Channel]) of Count -> true; _ -> Open end
            end, 15_000)
    end.

in_doubt(Channel, Config) ->
    {ok, Rows} = channel(stats, [], Config),
    lists:sum([N || #{channel := C, in_doubt := N} <- Rows, C =:= Channel]).

events(Mark, Config) -> in(a, Config, topos_ct_events, log, [Mark]).
