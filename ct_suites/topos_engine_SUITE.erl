%% Every engine that is present, on real VMs: the contract of `topos_engine' and what may go wrong with it.
-module(topos_engine_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile(export_all).

-define(NODE, topos_ct_node).
-define(CLOCK, topos_ct_clock).
-define(UP_TIMEOUT, 8_000).

all() -> [{group, Name} || Name <- topos_engine:names()].

groups() ->
    Common = [
        both_sides_come_up, frames_keep_their_order, large_frames, unknown_destination, send_errors, connect_is_idempotent,
        disconnect_closes_both_sides, disconnect_while_connecting, kill_is_down_within_a_second, restart_on_the_same_address, reset_recovers_by_itself,
        port_in_use, start_twice, stop_leaves_nothing, restart_in_the_same_vm, five_nodes_mesh, wrong_name_is_rejected,
        unreachable_is_told, nobody_else_comes_up, foreign_distributed_vm, overload_is_told, bounded_mailbox
    ],
    [
        {partisan, [], Common ++ [
            tls_with_certificates, tls_without_certificate, tls_of_another_authority, lagging_connections_catch_up, listener_comes_back, clients_that_vanish_harm_nobody,
            strategy_is_complete, bad_handshakes_harm_nobody,
            partisan_stopped_is_started_again, own_environment_is_restored, lost_connection_is_down_then_up,
            dead_addresses_do_not_delay, another_address_is_tried, hung_peer_is_not_up, loses_no_frame_between_up_and_down
        ]},
        {otp, [], Common ++ [other_cookie_is_rejected, tls_is_unsupported, name_in_use, distributed_vm_is_used]}
    ].

init_per_group(Engine, Config) ->
    case lists:member(Engine, topos_engine:available()) of
        true ->
            ct:comment("engine ~p", [Engine]),
            [{engine, Engine}, {module, topos_engine:module(Engine)} | Config];
        false ->
            {skip, lists:concat(["the engine ", Engine, " is not installed: Erlang does not find its application"])}
    end.

end_per_group(_Engine, Config) -> Config.

init_per_testcase(Case, Config) ->
    [{case_name, Case}, {nodes, ets:new(nodes, [public])} | Config].

end_per_testcase(_Case, Config) ->
    [?NODE:stop(Node) || {_, #{} = Node} <- ets:tab2list(?config(nodes, Config))],
    ok.

%% Cases of every engine

both_sides_come_up(Config) ->
    [A, B] = Nodes = started([a, b], Config),
    Start = erlang:system_time(millisecond),
    mesh(Nodes),
    Times = [await_up(X, Y) - Start || {X, Y} <- [{A, B}, {B, A}]],
    ct:pal("up after ~p ms", [Times]),
    [?assertEqual([{up, name(Y)}], events(X)) || {X, Y} <- [{A, B}, {B, A}]],
    Open = [Channel || {Node, Channel, _} <- engine(A, connections, []), Node =:= name(B), Channel =/= undefined],
    ?assertEqual([bulk, control, data, state_sync], Open),
    {comment, lists:flatten(io_lib:format("up after ~w ms", [Times]))}.

%% Ten thousand frames a lane, four lanes on three channels at once: each lane arrives whole and in order.
frames_keep_their_order(Config) ->
    [A, B] = connected([a, b], Config),
    Lanes = [{control, 0}, {data, 1}, {data, 2}, {bulk, 7}],
    N = 10_000,
    [probe(B, dest(Channel, Lane)) || {Channel, Lane} <- Lanes],
    Start = erlang:monotonic_time(millisecond),
    Parent = self(),
    Senders = [
        spawn_monitor(fun() ->
            Waits = ?NODE:call(A, topos_ct_engine, traffic, [name(B), Channel, Lane, dest(Channel, Lane), {N, <<0:(92 * 8)>>}], 60_000),
            Parent ! {waits, Waits}
        end)
     || {Channel, Lane} <- Lanes
    ],
    [receive {'DOWN', Ref, process, _, Reason} -> ?assertEqual(normal, Reason) end || {_, Ref} <- Senders],
    [
        ?NODE:wait_until({Channel, Lane}, fun() -> count(B, dest(Channel, Lane)) =:= N end, 30_000)
     || {Channel, Lane} <- Lanes
    ],
    Took = ?NODE:elapsed(Start),
    [
        begin
            Frames = frames(B, dest(Channel, Lane)),
            ?assertEqual(lists:seq(1, N), [I || <<_:16, I:32, _/binary>> <- Frames]),
            ?assertEqual([Lane], lists:usort([L || <<L:16, _/binary>> <- Frames]))
        end
     || {Channel, Lane} <- Lanes
    ],
    Rate = N * length(Lanes) * 1000 div max(1, Took),
    {comment, lists:flatten(io_lib:format("~w frames of 98 bytes a second", [Rate]))}.

large_frames(Config) ->
    [A, B] = connected([a, b], Config),
    probe(B, large),
    Frame = crypto:strong_rand_bytes(1_000_000),
    [?assertEqual(ok, send(A, B, Channel, 0, large, Frame)) || Channel <- [data, bulk]],
    ?NODE:wait_until(large, fun() -> count(B, large) =:= 2 end, 10_000),
    ?assertEqual([Frame, Frame], frames(B, large)),
    %% iodata is one binary at the other end
    ok = send(A, B, data, 0, large, [<<"a">>, [$b, <<"c">>]]),
    ?NODE:wait_until(iodata, fun() -> lists:last(frames(B, large)) =:= <<"abc">> end, 5_000).

%% The frame is dropped there; the connection lives on.
unknown_destination(Config) ->
    [A, B] = connected([a, b], Config),
    probe(B, known),
    ok = send(A, B, data, 0, nobody_is_called_this, <<"lost">>),
    ok = send(A, B, data, 0, known, <<"found">>),
    ?NODE:wait_until(found, fun() -> frames(B, known) =:= [<<"found">>] end, 5_000),
    ?assertEqual([{up, name(B)}], events(A)).

send_errors(Config) ->
    [A, B] = started([a, b], Config),
    ?assertEqual({error, not_connected}, send(A, B, data, 0, dest, <<"x">>)),
    ?assertEqual({error, not_connected}, engine(A, send, ['nobody@127.0.0.1', data, 0, dest, <<"x">>])),
    mesh([A, B]),
    await_up(A, B),
    ?assertEqual({error, no_such_channel}, send(A, B, smoke_signals, 0, dest, <<"x">>)),
    ?assertEqual({error, no_such_channel}, send(A, B, undefined, 0, dest, <<"x">>)),
    ok = ?NODE:call(A, topos_ct_engine, stop, []),
    ?assertEqual({error, not_connected}, send(A, B, data, 0, dest, <<"x">>)).

connect_is_idempotent(Config) ->
    [A, B] = connected([a, b], Config),
    Before = engine(A, connections, []),
    [ask(A, B) || _ <- lists:seq(1, 20)],
    probe(B, dest),
    ok = send(A, B, data, 0, dest, <<"x">>),
    ?NODE:wait_until(frame, fun() -> frames(B, dest) =:= [<<"x">>] end, 5_000),
    ?assertEqual(Before, engine(A, connections, [])),
    ?assertEqual([{up, name(B)}], events(A)).

%% Nobody is left with a connection that was being made when it was to be closed.
disconnect_while_connecting(Config) ->
    [A, B] = started([a, b], Config),
    Peer = #{node => name(B), addresses => engine(B, addresses, [])},
    %% At one moment of it or another.
    [
        begin
            ok = ?NODE:call(A, ?MODULE, connect_and_disconnect, [?config(module, Config), Peer, Microseconds]),
            %% Nothing tells that an attempt is over: so long it may still come to something.
            receive after 100 -> ok end,
            [?NODE:wait_until({quiet, name(X), Microseconds}, fun() -> links(X) =:= 0 end, 5_000) || X <- [A, B]]
        end
     || Microseconds <- lists:seq(0, 6_000, 250)
    ],
    %% And it may be asked for again.
    mesh([A, B]),
    [await_up(X, Y) || {X, Y} <- [{A, B}, {B, A}]].

connect_and_disconnect(Engine, #{node := Node} = Peer, Microseconds) ->
    Until = erlang:monotonic_time(microsecond) + Microseconds,
    ok = Engine:connect(Peer),
    ok = spin(Until),
    Engine:disconnect(Node).

spin(Until) ->
    case erlang:monotonic_time(microsecond) < Until of
        true -> erlang:yield(), spin(Until);
        false -> ok
    end.

disconnect_closes_both_sides(Config) ->
    [A, B] = connected([a, b], Config),
    %% Until both have, one that has not may connect anew.
    [ok = engine(X, disconnect, [name(Y)]) || {X, Y} <- [{A, B}, {B, A}]],
    [?NODE:wait_until({closed, name(X)}, fun() -> engine(X, connections, []) =:= [] end, 3_000) || X <- [A, B]],
    [?NODE:wait_until({quiet, name(X)}, fun() -> links(X) =:= 0 end, 5_000) || X <- [A, B]],
    %% Nobody comes back: for longer than any back-off there is no event and no connection.
    stays(1_500, fun() -> {engine(A, connections, []), engine(B, connections, [])} end, {[], []}),
    ?assertEqual({error, not_connected}, send(A, B, data, 0, dest, <<"x">>)),
    [?assertEqual({down, true}, {element(1, lists:last(events(X))), alternate(X, Y)}) || {X, Y} <- [{A, B}, {B, A}]],
    %% And it may be asked for again.
    mesh([A, B]),
    [?NODE:wait_until(again, fun() -> up_now(X, Y) end, ?UP_TIMEOUT) || {X, Y} <- [{A, B}, {B, A}]].

kill_is_down_within_a_second(Config) ->
    [A, B] = connected([a, b], Config),
    Clock = ?CLOCK:start([A]),
    Start = erlang:system_time(millisecond),
    ok = ?NODE:kill(B),
    Down = await_down(A, B),
    ok = ?CLOCK:kept(down, Down - Start, 1_000, ?CLOCK:stop(Clock)),
    ?assertEqual({error, not_connected}, send(A, B, data, 0, dest, <<"x">>)),
    ?NODE:wait_until(failure, fun() -> engine(A, failure, [name(B)]) =/= none end, 5_000),
    ?assertMatch({failed, {unreachable, _}}, engine(A, failure, [name(B)])),
    {comment, lists:flatten(io_lib:format("down ~w ms after SIGKILL: ~w", [Down - Start, events(A)]))}.

restart_on_the_same_address(Config) ->
    [A, B] = connected([a, b], Config),
    Address = address(B, Config),
    ok = ?NODE:kill(B),
    await_down(A, B),
    B2 = node_(b, Config),
    {ok, _} = boot(B2, Config, #{listen => [Address]}),
    Start = erlang:system_time(millisecond),
    ask(B2, A),
    ?NODE:wait_until(up_again, fun() -> lists:last(events(A)) =:= {up, name(B)} end, ?UP_TIMEOUT),
    Took = erlang:system_time(millisecond) - Start,
    probe(B2, dest),
    ok = send(A, B2, data, 0, dest, <<"again">>),
    ?NODE:wait_until(frame, fun() -> frames(B2, dest) =:= [<<"again">>] end, 5_000),
    ?assertEqual(none, engine(A, failure, [name(B)])),
    {comment, lists:flatten(io_lib:format("up ~w ms after the restart", [Took]))}.

%% What the engine stands on dies under traffic, once Partisan's manager, once the distribution.
reset_recovers_by_itself(Config) ->
    [A, B, C] = Nodes = connected([a, b, c], Config),
    [probe(X, dest) || X <- Nodes],
    Traffic = spawn_traffic(A, [B, C]),
    ?NODE:wait_until(traffic, fun() -> count(B, dest) > 100 end, 10_000),
    Start = erlang:system_time(millisecond),
    crash(A, ?config(engine, Config)),
    Reset = ?NODE:call(A, topos_ct_probe, await, [sink, {topos_engine, reset}, 5_000]),
    [
        ?NODE:wait_until({up_after_reset, name(X)}, fun() -> lists:member({up, name(X)}, after_reset(A)) end, ?UP_TIMEOUT)
     || X <- [B, C]
    ],
    Up = erlang:system_time(millisecond),
    [
        begin
            Seen = count(X, dest),
            ?NODE:wait_until({frames_again, name(X)}, fun() -> count(X, dest) > Seen + 100 end, 10_000)
        end
     || X <- [B, C]
    ],
    stop_traffic(Traffic),
    %% The others saw A go and come, or did not notice; they have it up.
    [?NODE:wait_until({sees_a, name(X)}, fun() -> up_now(X, A) end, ?UP_TIMEOUT) || X <- [B, C]],
    [?assert(alternate(X, Of)) || X <- Nodes, Of <- Nodes, X =/= Of],
    {comment, lists:flatten(io_lib:format("reset after ~w ms, up again after ~w ms", [Reset - Start, Up - Start]))}.

port_in_use(Config) ->
    A = node_(a, Config),
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    Before = ?NODE:call(A, erlang, processes, []),
    {error, Error} = boot(A, Config, #{listen => [{{127, 0, 0, 1}, Port}]}),
    ?assertMatch({address_in_use, _}, Error),
    ?assertMatch(<<"error[TP1004]: cannot listen on 127.0.0.1:", _/binary>>, text(Error)),
    %% Nothing was started (applications that were needed stay).
    Left = [P || P <- ?NODE:call(A, erlang, processes, []) -- Before, registered(A, P) =/= none, engine_name(registered(A, P))],
    ?assertEqual([], Left),
    ok = gen_tcp:close(Socket),
    {ok, [{_, Port}]} = boot(A, Config, #{listen => [{{127, 0, 0, 1}, Port}]}).

start_twice(Config) ->
    [A] = started([a], Config),
    Module = ?config(module, Config),
    Again = ?NODE:call(A, Module, start_link, [configuration(A, Config, #{}), self()]),
    ?assertMatch({error, {already_started, #{node := _}}}, Again),
    ?assertMatch(<<"error[TP1005]", _/binary>>, text(element(2, Again))).

stop_leaves_nothing(Config) ->
    A = node_(a, Config),
    B = node_(b, Config),
    %% The applications an engine needs stay started: start and stop once before counting.
    {ok, _} = boot(A, Config, #{}),
    ok = ?NODE:call(A, topos_ct_engine, stop, []),
    Before = ?NODE:apply(A, fun topos_ct_engine:inventory/0),
    [{ok, _} = boot(X, Config, #{}) || X <- [A, B]],
    mesh([A, B]),
    [await_up(X, Y) || {X, Y} <- [{A, B}, {B, A}]],
    [{_, Port}] = engine(A, addresses, []),
    ok = ?NODE:call(A, topos_ct_engine, stop, []),
    ?NODE:wait_until(inventory, fun() -> difference(?NODE:apply(A, fun topos_ct_engine:inventory/0), Before) end, 5_000),
    ?assertEqual({error, econnrefused}, gen_tcp:connect({127, 0, 0, 1}, Port, [])),
    ?assertEqual(nonode@nohost, ?NODE:call(A, erlang, node, [])),
    await_down(B, A).

restart_in_the_same_vm(Config) ->
    [A, B] = connected([a, b], Config),
    ok = ?NODE:call(A, topos_ct_engine, stop, []),
    await_down(B, A),
    %% Another name, other channels.
    Other = A#{name := ?NODE:name(other)},
    Channels = #{news => #{parallelism => 3, monotonic => false, compression => false}},
    {ok, _} = boot(Other, Config, #{channels => Channels}),
    ask(Other, B),
    await_up(Other, B),
    probe(B, dest),
    ok = send(Other, B, news, 5, dest, <<"news">>),
    ?NODE:wait_until(frame, fun() -> frames(B, dest) =:= [<<"news">>] end, 5_000),
    ?assertEqual({error, no_such_channel}, send(Other, B, data, 0, dest, <<"x">>)),
    %% And the old one again.
    ok = ?NODE:call(Other, topos_ct_engine, stop, []),
    {ok, _} = boot(A, Config, #{}),
    ask(A, B),
    await_up(A, B).

five_nodes_mesh(Config) ->
    Nodes = started([a, b, c, d, e], Config),
    Clock = ?CLOCK:start(Nodes),
    Start = erlang:system_time(millisecond),
    mesh(Nodes),
    Last = lists:max([await_up(X, Y) || X <- Nodes, Y <- Nodes, X =/= Y]),
    ok = ?CLOCK:kept(up, Last - Start, 2_000, ?CLOCK:stop(Clock)),
    [?assertEqual(4, length(events(X))) || X <- Nodes],
    {comment, lists:flatten(io_lib:format("20 links up after ~w ms", [Last - Start]))}.

%% At the address of B there is somebody called otherwise (OTP finds by name: there is nobody of that name).
wrong_name_is_rejected(Config) ->
    [A, B] = started([a, b], Config),
    Wrong = ?NODE:name(wrong),
    ok = engine(A, connect, [#{node => Wrong, addresses => engine(B, addresses, [])}]),
    ?NODE:wait_until(failure, fun() -> engine(A, failure, [Wrong]) =/= none end, 5_000),
    case ?config(engine, Config) of
        partisan -> ?assertMatch({failed, {rejected, {unexpected_peer, _}}}, engine(A, failure, [Wrong]));
        otp -> ?assertEqual({failed, {unreachable, not_registered}}, engine(A, failure, [Wrong]))
    end,
    ?assertEqual([], events(A)).

unreachable_is_told(Config) ->
    [A] = started([a], Config),
    Absent = ?NODE:name(absent),
    ?assertEqual(none, engine(A, failure, [Absent])),
    ok = engine(A, connect, [#{node => Absent, addresses => [{{127, 0, 0, 1}, ?NODE:free_port()}]}]),
    ?NODE:wait_until(failure, fun() -> engine(A, failure, [Absent]) =/= none end, 5_000),
    ?assertMatch({failed, {unreachable, Why}} when Why =:= econnrefused; Why =:= not_registered, engine(A, failure, [Absent])),
    ok = engine(A, disconnect, [Absent]),
    ?NODE:wait_until(forgotten, fun() -> engine(A, failure, [Absent]) =:= none end, 5_000),
    %% Itself is nobody to connect to.
    ok = engine(A, connect, [#{node => name(A), addresses => engine(A, addresses, [])}]),
    ?NODE:wait_until(self, fun() -> engine(A, failure, [name(A)]) =:= {failed, {unreachable, self}} end, 5_000),
    ?assertEqual([], events(A)).

%% A peer that connects to us is up when we ask for it, not before.
nobody_else_comes_up(Config) ->
    [A, B] = started([a, b], Config),
    ask(A, B),
    await_up(A, B),
    probe(B, dest),
    ok = send(A, B, data, 0, dest, <<"one way">>),
    ?NODE:wait_until(frame, fun() -> frames(B, dest) =:= [<<"one way">>] end, 5_000),
    ?assertEqual([], events(B)),
    ?assertEqual({error, not_connected}, send(B, A, data, 0, dest, <<"x">>)),
    ask(B, A),
    await_up(B, A),
    ?assertEqual(ok, send(B, A, data, 0, dest, <<"x">>)).

foreign_distributed_vm(Config) ->
    A = node_(a, Config),
    Running = ?NODE:name(running),
    {ok, _} = ?NODE:call(A, net_kernel, start, [Running, #{name_domain => longnames}]),
    {error, Error} = boot(A, Config, #{}),
    ?assertEqual({foreign_node, #{node => name(A), running => Running}}, Error),
    ?assertMatch(<<"error[TP1052]", _/binary>>, text(Error)),
    ?assertEqual(Running, ?NODE:call(A, erlang, node, [])).

%% The peer is stopped (SIGSTOP): queues fill, the sender is told, and what was queued arrives after SIGCONT.
overload_is_told(Config) ->
    [A, B] = connected([a, b], Config),
    probe(B, dest),
    ok = ?NODE:pause(B),
    Sent = ?NODE:apply(A, fun topos_ct_engine:until_overloaded/4, [?config(module, Config), name(B), dest, 20_000]),
    ok = ?NODE:resume(B),
    ?assert(is_integer(Sent), Sent),
    ?NODE:wait_until({all_arrive, Sent}, fun() -> count(B, dest) =:= Sent end, 20_000),
    ?assertEqual([{up, name(B)}], events(A)),
    {comment, lists:flatten(io_lib:format("~w frames of 10 kB were accepted", [Sent]))}.

%% Hundreds of unreachable peers, flapping for seconds: nothing piles up in the engine.
bounded_mailbox(Config) ->
    [A, B] = connected([a, b], Config),
    Port = ?NODE:free_port(),
    Absent = [?NODE:name(lists:concat([absent, I])) || I <- lists:seq(1, 100)],
    [ok = engine(A, connect, [#{node => N, addresses => [{{127, 0, 0, 1}, Port}]}]) || N <- Absent],
    ?NODE:wait_until(failures, fun() -> lists:all(fun(N) -> engine(A, failure, [N]) =/= none end, Absent) end, 20_000),
    Module = ?config(module, Config),
    stays(1_500, fun() -> mailbox(A, Module) < 200 end, true),
    %% While they do, the others are served.
    probe(B, dest),
    ok = send(A, B, data, 0, dest, <<"x">>),
    ?NODE:wait_until(frame, fun() -> frames(B, dest) =:= [<<"x">>] end, 5_000),
    [ok = engine(A, disconnect, [N]) || N <- Absent],
    ?NODE:wait_until(forgotten, fun() -> engine(A, failure, [lists:last(Absent)]) =:= none end, 5_000),
    ?assertEqual([{up, name(B)}], events(A)).

%% Cases of Partisan

tls_with_certificates(Config) ->
    Tls = certificates(Config, "cluster"),
    [A, B] = Nodes = [node_(N, Config) || N <- [a, b]],
    [{ok, _} = boot(N, Config, #{tls => Tls}) || N <- Nodes],
    Clock = ?CLOCK:start(Nodes),
    Start = erlang:system_time(millisecond),
    mesh(Nodes),
    Up = lists:max([await_up(X, Y) || {X, Y} <- [{A, B}, {B, A}]]) - Start,
    ok = ?CLOCK:kept(up, Up, 2_000, ?CLOCK:stop(Clock)),
    probe(B, dest),
    ok = send(A, B, data, 0, dest, <<"secret">>),
    ?NODE:wait_until(frame, fun() -> frames(B, dest) =:= [<<"secret">>] end, 5_000),
    ok = ?NODE:kill(B),
    await_down(A, B),
    %% A plain client gets no greeting.
    [{Ip, Port}] = engine(A, addresses, []),
    {ok, Socket} = gen_tcp:connect(Ip, Port, [binary, {active, false}, {packet, 4}]),
    ok = gen_tcp:send(Socket, term_to_binary({hello, x, control})),
    ?assertMatch({error, _}, gen_tcp:recv(Socket, 0, 5_000)).

%% B has no certificate: it does not speak TLS at all. Neither side may come up, both say why.
tls_without_certificate(Config) ->
    Tls = certificates(Config, "cluster"),
    [A, B] = Nodes = [node_(N, Config) || N <- [a, b]],
    {ok, _} = boot(A, Config, #{tls => Tls}),
    {ok, _} = boot(B, Config, #{}),
    mesh(Nodes),
    [
        ?NODE:wait_until({failure, name(X)}, fun() -> engine(X, failure, [name(Y)]) =/= none end, 10_000)
     || {X, Y} <- [{A, B}, {B, A}]
    ],
    ?assertMatch({failed, {rejected, {tls, _}}}, engine(A, failure, [name(B)])),
    ?assertMatch({failed, {unreachable, Why}} when Why =:= no_greeting; Why =:= closed, engine(B, failure, [name(A)])),
    [?assertEqual([], events(X)) || X <- Nodes].

tls_of_another_authority(Config) ->
    [A, B] = Nodes = [node_(N, Config) || N <- [a, b]],
    {ok, _} = boot(A, Config, #{tls => certificates(Config, "cluster")}),
    {ok, _} = boot(B, Config, #{tls => certificates(Config, "stranger")}),
    mesh(Nodes),
    [
        ?NODE:wait_until({failure, name(X)}, fun() -> engine(X, failure, [name(Y)]) =/= none end, 10_000)
     || {X, Y} <- [{A, B}, {B, A}]
    ],
    [?assertMatch({failed, {rejected, {tls, _}}}, engine(X, failure, [name(Y)])) || {X, Y} <- [{A, B}, {B, A}]],
    stays(1_000, fun() -> [events(X) || X <- Nodes] end, [[], []]),
    {comment, lists:flatten(io_lib:format("~p", [engine(A, failure, [name(B)])]))}.

%% Connections that stand still hold eight packets each at most, each time, and nothing is lost or changes places.
lagging_connections_catch_up(Config) ->
    [begin lagging(Config, Names, Tls), end_per_testcase(lagging, Config) end
     || {Names, Tls} <- [{[a, b], undefined}, {[c, d], certificates(Config, "cluster")}]].

lagging(Config, Names, Tls) ->
    [A, B] = Nodes = [node_(Name, Config) || Name <- Names],
    [{ok, _} = boot(Node, Config, #{tls => Tls}) || Node <- Nodes],
    mesh(Nodes),
    [await_up(X, Y) || {X, Y} <- [{A, B}, {B, A}]],
    Channels = [control, data, bulk],
    [probe(B, Channel) || Channel <- Channels],
    [
        begin
            Inbound = ?NODE:apply(B, fun topos_ct_engine:suspend_inbound/0),
            Frames = [<<Round:8, I:16>> || I <- lists:seq(1, 100)],
            [ok = send(A, B, Channel, 0, Channel, Frame) || Frame <- Frames, Channel <- Channels],
            %% A ninth message says that there is no more.
            Waiting = fun() -> [N || N <- ?NODE:apply(B, fun topos_ct_engine:queues/1, [Inbound]), N > 8] end,
            ?NODE:wait_until({waiting, Round}, fun() -> Waiting() =:= [9, 9, 9] end, 10_000),
            ok = ?NODE:apply(B, fun topos_ct_engine:resume_inbound/1, [Inbound]),
            [
                begin
                    ?NODE:wait_until({Channel, Round}, fun() -> count(B, Channel) =:= 100 * Round end, 10_000),
                    ?assertEqual(Frames, lists:nthtail(100 * (Round - 1), frames(B, Channel)))
                end
             || Channel <- Channels
            ]
        end
     || Round <- lists:seq(1, 5)
    ].

%% Partisan's supervisor of listeners restarts with Partisan's own listener; ours is put back, with its bound.
listener_comes_back(Config) ->
    [A, B] = connected([a, b], Config),
    ok = ?NODE:apply(A, fun() -> true = exit(whereis(partisan_acceptor_socket_pool_sup), kill), ok end),
    Ours = fun() ->
        ?NODE:apply(A, fun() ->
            is_pid(whereis(partisan_acceptor_socket_pool_sup)) andalso
                [M || {{M, _}, _, _, _} <- supervisor:which_children(partisan_acceptor_socket_pool_sup)] =:= [topos_partisan_listener]
        end)
    end,
    ?NODE:wait_until(ours, fun() -> Ours() end, 5_000),
    ?NODE:wait_until(b_sees_a, fun() -> up_now(B, A) end, ?UP_TIMEOUT),
    [{Ip, Port}] = engine(A, addresses, []),
    hung_up_on(Ip, Port, <<16#7fffffff:32, "and so on">>).

%% Clients that connect and reset at once. (Partisan's own listener would close, and every inbound connection with it.)
clients_that_vanish_harm_nobody(Config) ->
    [A, B] = connected([a, b], Config),
    [{Ip, Port}] = engine(A, addresses, []),
    Listener = ?NODE:apply(A, fun topos_ct_engine:listener/0),
    [
        begin
            {ok, Socket} = gen_tcp:connect(Ip, Port, [{linger, {true, 0}}]),
            ok = gen_tcp:close(Socket)
        end
     || _ <- lists:seq(1, 500)
    ],
    C = node_(c, Config),
    {ok, _} = boot(C, Config, #{}),
    ask(C, A),
    await_up(C, A),
    ?assertEqual(Listener, ?NODE:apply(A, fun topos_ct_engine:listener/0)),
    [?assertEqual([{up, name(Y)}], events(X)) || {X, Y} <- [{A, B}, {B, A}]].

%% A hundred clients that do not speak TLS: peers that do stay up.
bad_handshakes_harm_nobody(Config) ->
    Tls = certificates(Config, "cluster"),
    [A, B] = Nodes = [node_(N, Config) || N <- [a, b]],
    [{ok, _} = boot(N, Config, #{tls => Tls}) || N <- Nodes],
    mesh(Nodes),
    [await_up(X, Y) || {X, Y} <- [{A, B}, {B, A}]],
    [{Ip, Port}] = engine(A, addresses, []),
    [hung_up_on(Ip, Port, <<"GET / HTTP/1.1\r\n\r\n">>) || _ <- lists:seq(1, 100)],
    [?assertEqual([{up, name(Y)}], events(X)) || {X, Y} <- [{A, B}, {B, A}]],
    C = node_(c, Config),
    {ok, _} = boot(C, Config, #{tls => Tls}),
    ask(C, A),
    await_up(C, A).

strategy_is_complete(_Config) ->
    missing(topos_partisan_strategy, partisan_membership_strategy),
    missing(topos_partisan_firewall, partisan_peer_service_manager).

%% All of Partisan, not only its manager: more crashes than its supervisors endure.
partisan_stopped_is_started_again(Config) ->
    [A, B] = connected([a, b], Config),
    Addresses = engine(A, addresses, []),
    ok = ?NODE:apply(A, fun() -> true = exit(whereis(partisan_sup), kill), ok end),
    ?NODE:call(A, topos_ct_probe, await, [sink, {topos_engine, reset}, 5_000]),
    ?NODE:wait_until(up_again, fun() -> lists:member({up, name(B)}, after_reset(A)) end, ?UP_TIMEOUT),
    ?assertEqual(Addresses, engine(A, addresses, [])),
    ?NODE:wait_until(seen, fun() -> up_now(B, A) end, ?UP_TIMEOUT).

own_environment_is_restored(Config) ->
    A = node_(a, Config),
    ok = ?NODE:call(A, application, set_env, [partisan, parallelism, 7]),
    {ok, _} = boot(A, Config, #{}),
    ok = ?NODE:call(A, topos_ct_engine, stop, []),
    ?assertEqual([{parallelism, 7}], ?NODE:call(A, application, get_all_env, [partisan])).

%% One connection of many closes: the peer is down, then up on new ones.
lost_connection_is_down_then_up(Config) ->
    [A, B] = connected([a, b], Config),
    ok = ?NODE:apply(A, fun() -> {Pid, _, _} = hd(topos_partisan_api:connections()), exit(Pid, kill), ok end),
    ?NODE:wait_until(flap, fun() -> events(A) =:= [{up, name(B)}, {down, name(B), killed}, {up, name(B)}] end, ?UP_TIMEOUT),
    Expected = [{name(B), C, N} || {C, N} <- [{bulk, 1}, {control, 1}, {data, 2}, {state_sync, 1}, {undefined, 1}]],
    ?NODE:wait_until(whole, fun() -> engine(A, connections, []) =:= Expected end, 5_000).

%% Peers that are silent (they accept, and never answer) take Partisan's manager no time.
dead_addresses_do_not_delay(Config) ->
    [A, B] = started([a, b], Config),
    {ok, Silent} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Silent),
    [ok = engine(A, connect, [#{node => ?NODE:name(lists:concat([silent, I])), addresses => [{{127, 0, 0, 1}, Port}]}]) || I <- [1, 2, 3]],
    Clock = ?CLOCK:start([A, B]),
    Start = erlang:system_time(millisecond),
    ask(A, B),
    Took = await_up(A, B) - Start,
    ok = ?CLOCK:kept(up, Took, 1_000, ?CLOCK:stop(Clock)),
    ?NODE:wait_until(failure, fun() -> engine(A, failure, [?NODE:name(silent1)]) =:= {failed, {unreachable, no_greeting}} end, 10_000).

another_address_is_tried(Config) ->
    [A, B] = started([a, b], Config),
    Dead = {{127, 0, 0, 1}, ?NODE:free_port()},
    ok = engine(A, connect, [#{node => name(B), addresses => [Dead]}]),
    ?NODE:wait_until(failure, fun() -> engine(A, failure, [name(B)]) =:= {failed, {unreachable, econnrefused}} end, 5_000),
    %% A new list replaces the old, and is tried at once.
    ok = engine(A, connect, [#{node => name(B), addresses => [Dead | engine(B, addresses, [])]}]),
    await_up(A, B),
    ?assertEqual(none, engine(A, failure, [name(B)])).

%% The kernel of a stopped process accepts connections for it. That is not up.
hung_peer_is_not_up(Config) ->
    [A, B] = started([a, b], Config),
    ok = ?NODE:pause(B),
    ok = engine(A, connect, [#{node => name(B), addresses => [address(B, Config)]}]),
    ?NODE:wait_until(failure, fun() -> engine(A, failure, [name(B)]) =:= {failed, {unreachable, no_greeting}} end, 10_000),
    ?assertEqual([], events(A)),
    ok = ?NODE:resume(B),
    await_up(A, B).

%% Between an up and the next down a lane loses nothing and keeps its order, also while other connections come and go.
loses_no_frame_between_up_and_down(Config) ->
    [A, B, C] = connected([a, b, c], Config),
    probe(B, dest),
    N = 20_000,
    Traffic = spawn_monitor(fun() -> ?NODE:call(A, topos_ct_engine, traffic, [name(B), data, 1, dest, {N, <<0:800>>}], 60_000) end),
    [
        begin
            ok = engine(A, disconnect, [name(C)]),
            ask(A, C)
        end
     || _ <- lists:seq(1, 20)
    ],
    {_, Ref} = Traffic,
    receive {'DOWN', Ref, process, _, normal} -> ok end,
    ?NODE:wait_until(all, fun() -> count(B, dest) =:= N end, 20_000),
    ?assertEqual(lists:seq(1, N), [I || <<_:16, I:32, _/binary>> <- frames(B, dest)]),
    ?assertEqual([{up, name(B)}], [E || E <- events(A), element(2, E) =:= name(B)]).

%% Cases of Distributed Erlang

other_cookie_is_rejected(Config) ->
    [A, B] = Nodes = [node_(N, Config) || N <- [a, b]],
    {ok, _} = boot(A, Config, #{}),
    {ok, _} = boot(B, Config, #{cookie => <<"another">>}),
    mesh(Nodes),
    [
        ?NODE:wait_until({failure, name(X)}, fun() -> engine(X, failure, [name(Y)]) =:= {failed, {rejected, cookie_or_name}} end, 20_000)
     || {X, Y} <- [{A, B}, {B, A}]
    ],
    [?assertEqual([], events(X)) || X <- Nodes].

tls_is_unsupported(Config) ->
    A = node_(a, Config),
    {error, Error} = boot(A, Config, #{tls => #{certfile => "c", keyfile => "k", cacertfile => "a"}}),
    ?assertMatch({unsupported, #{operation := tls}}, Error),
    ?assertEqual(nonode@nohost, ?NODE:call(A, erlang, node, [])).

name_in_use(Config) ->
    [A] = started([a], Config),
    Twin = (node_(b, Config))#{name := name(A)},
    {error, Error} = boot(Twin, Config, #{}),
    ?assertEqual({name_in_use, #{node => name(A)}}, Error),
    ?assertEqual(nonode@nohost, ?NODE:call(Twin, erlang, node, [])).

%% Started with -name by its user: used if it has the name, and left as it was.
distributed_vm_is_used(Config) ->
    [A, B] = [node_(N, Config) || N <- [a, b]],
    {ok, _} = ?NODE:call(A, net_kernel, start, [name(A), #{name_domain => longnames}]),
    Cookie = ?NODE:call(A, erlang, get_cookie, []),
    [{ok, _} = boot(X, Config, #{}) || X <- [A, B]],
    mesh([A, B]),
    [await_up(X, Y) || {X, Y} <- [{A, B}, {B, A}]],
    ok = ?NODE:call(A, topos_ct_engine, stop, []),
    await_down(B, A),
    ?assertEqual(name(A), ?NODE:call(A, erlang, node, [])),
    ?assertEqual(Cookie, ?NODE:call(A, erlang, get_cookie, [])).

%% Helpers here

started(Names, Config) ->
    Nodes = [node_(Name, Config) || Name <- Names],
    [{ok, _} = boot(Node, Config, #{}) || Node <- Nodes],
    Nodes.

connected(Names, Config) ->
    Nodes = started(Names, Config),
    mesh(Nodes),
    [await_up(X, Y) || X <- Nodes, Y <- Nodes, X =/= Y],
    Nodes.

node_(Base, Config) ->
    Node = ?NODE:start(?NODE:name(Base)),
    true = ets:insert(?config(nodes, Config), {?NODE:os_pid(Node), Node}),
    Node.

configuration(Node, Config, Overrides) ->
    topos_ct_engine:config(name(Node), maps:merge(#{engine => ?config(engine, Config)}, Overrides)).

boot(Node, Config, Overrides) ->
    case ?NODE:call(Node, topos_ct_engine, start, [configuration(Node, Config, Overrides)]) of
        {ok, [Address]} = Ok ->
            true = ets:insert(?config(nodes, Config), {{address, name(Node)}, Address}),
            Ok;
        Other ->
            Other
    end.

name(#{name := Name}) -> Name.

address(Node, Config) ->
    [{_, Address}] = ets:lookup(?config(nodes, Config), {address, name(Node)}),
    Address.

engine(Node, Function, Args) -> ?NODE:call(Node, ?NODE:call(Node, topos_ct_engine, module, []), Function, Args).

ask(X, Y) -> ok = engine(X, connect, [#{node => name(Y), addresses => engine(Y, addresses, [])}]).

mesh(Nodes) -> [ask(X, Y) || X <- Nodes, Y <- Nodes, X =/= Y].

send(X, Y, Channel, Lane, Dest, Frame) -> engine(X, send, [name(Y), Channel, Lane, Dest, Frame]).

await_up(X, Y) -> ?NODE:call(X, topos_ct_probe, await, [sink, {topos_engine, {up, name(Y)}}, ?UP_TIMEOUT]).

await_down(X, Y) ->
    Down = fun() -> [T || {T, {topos_engine, {down, N, _}}} <- ?NODE:call(X, topos_ct_probe, messages, [sink]), N =:= name(Y)] end,
    ?NODE:wait_until({down, name(Y)}, fun() -> Down() =/= [] end, 10_000),
    hd(Down()).

events(Node) -> ?NODE:call(Node, topos_ct_engine, events, []).

after_reset(Node) ->
    case lists:splitwith(fun(E) -> E =/= reset end, lists:reverse(events(Node))) of
        {After, [reset | _]} -> After;
        {_, []} -> []
    end.

up_now(X, Y) ->
    case [E || E <- events(X), E =:= reset orelse element(2, E) =:= name(Y)] of
        [] -> false;
        Events -> lists:last(Events) =:= {up, name(Y)}
    end.

%% Up and down of a node alternate, beginning with up, and begin anew after a reset.
alternate(X, Y) -> alternates([E || E <- events(X), E =:= reset orelse element(2, E) =:= name(Y)], down).

alternates([], _) -> true;
alternates([reset | Rest], _) -> alternates(Rest, down);
alternates([{up, _} | Rest], down) -> alternates(Rest, up);
alternates([{down, _, _} | Rest], up) -> alternates(Rest, down);
alternates(_, _) -> false.

probe(Node, Name) -> ?NODE:call(Node, topos_ct_probe, start, [Name]).

dest(Channel, Lane) -> list_to_atom(lists:concat([dest_, Channel, Lane])).

count(Node, Name) -> ?NODE:call(Node, topos_ct_probe, count, [Name]).

frames(Node, Name) ->
    [begin {topos, 1, Epoch, Frame} = M, true = is_integer(Epoch), Frame end || {_, M} <- ?NODE:call(Node, topos_ct_probe, messages, [Name])].

text(Error) -> unicode:characters_to_binary(topos_error:format(Error)).

%% Open connections of either direction, as the operating system sees them.
links(Node) ->
    case ?NODE:call(Node, topos_ct_engine, module, []) of
        topos_engine_otp -> length(?NODE:call(Node, erlang, nodes, [connected]));
        topos_engine_partisan -> ?NODE:apply(Node, fun topos_ct_engine:sockets/0)
    end.

crash(Node, partisan) ->
    ok = ?NODE:apply(Node, fun() -> true = exit(whereis(partisan_pluggable_peer_service_manager), kill), ok end);
crash(Node, otp) ->
    ok = ?NODE:call(Node, net_kernel, stop, []).

spawn_traffic(A, Targets) ->
    ?NODE:call(A, erlang, apply, [fun topos_ct_engine:start_traffic/1, [[name(T) || T <- Targets]]]),
    A.

stop_traffic(A) -> ?NODE:call(A, erlang, apply, [fun() -> exit(whereis(traffic), kill), ok end, []]).

mailbox(Node, Module) ->
    ?NODE:apply(Node, fun() -> element(2, process_info(whereis(Module), message_queue_len)) end).

%% The same answer all the time.
stays(Ms, Fun, Expected) -> stays_until(erlang:monotonic_time(millisecond) + Ms, Fun, Expected).

stays_until(Deadline, Fun, Expected) ->
    ?assertEqual(Expected, Fun()),
    case erlang:monotonic_time(millisecond) < Deadline of
        true ->
            receive after 50 -> ok end,
            stays_until(Deadline, Fun, Expected);
        false ->
            ok
    end.

difference(Now, Before) ->
    case [{Key, maps:get(Key, Now) -- maps:get(Key, Before)} || Key <- maps:keys(Now), maps:get(Key, Now) -- maps:get(Key, Before) =/= []] of
        [] -> true;
        Left -> Left
    end.

registered(Node, Pid) ->
    case ?NODE:call(Node, erlang, process_info, [Pid, registered_name]) of
        {registered_name, Name} -> Name;
        _ -> none
    end.

engine_name(Name) ->
    Text = atom_to_list(Name),
    lists:prefix("partisan", Text) orelse lists:prefix("topos_engine", Text) orelse Name =:= net_kernel.

missing(Module, Behaviour) ->
    {module, Module} = code:ensure_loaded(Module),
    Optional = case erlang:function_exported(Behaviour, behaviour_info, 1) of true -> Behaviour:behaviour_info(optional_callbacks); false -> [] end,
    ?assertEqual([], Behaviour:behaviour_info(callbacks) -- Module:module_info(exports) -- Optional).

certificates(Config, Authority) -> topos_ct_certificates:files(filename:join(?config(priv_dir, Config), Authority), Authority).

%% Sends the bytes and waits for the end of the connection.
hung_up_on(Ip, Port, Bytes) ->
    {ok, Socket} = gen_tcp:connect(Ip, Port, [binary, {active, true}]),
    ok = gen_tcp:send(Socket, Bytes),
    hung_up(Socket).

hung_up(Socket) ->
    receive
        {tcp, Socket, _} -> hung_up(Socket);
        {tcp_closed, Socket} -> ok;
        {tcp_error, Socket, _} -> ok
    after ?NODE:patience(10_000) -> error(still_connected)
    end.
