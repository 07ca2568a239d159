%% The processes of the link and the cluster against a peer that the test plays, over an engine without sockets.
-module(topos_link_tests).

-behaviour(topos_request).

-include("topos_frame.hrl").
-include("topos_lane.hrl").
-include_lib("eunit/include/eunit.hrl").

-export([handle_request/2]).

-define(OWN, 'own@127.0.0.1').
-define(PEER, 'peer@127.0.0.1').
-define(WAIT, (topos_await:patience())).
%% Of the tests in which nobody is to be taken for dead because the machine was busy for a moment.
-define(PATIENT, #{echo_interval => 50, suspect_after => 10_000, down_after => 30_000}).
-define(WATCHFUL, #{echo_interval => 50, suspect_after => 500, down_after => 1_500}).
-define(MAX_CALLS, 4).

link_test_() ->
    [{setup, fun() -> start(detection(Name)) end, fun stop/1, {timeout, 20, {atom_to_list(Name), fun() -> Test(), ok end}}}
      || {Name, Test} <- [
             {greeting_makes_a_member, fun greeting_makes_a_member/0},
             {silence_is_suspect_then_down_then_up, fun silence_is_suspect_then_down_then_up/0},
             {lost_transport_is_down_after_the_grace, fun lost_transport_is_down_after_the_grace/0},
             {flap_is_no_down, fun flap_is_no_down/0},
             {stranger_without_the_cookie_is_a_short_guest, fun stranger_without_the_cookie_is_a_short_guest/0},
             {frames_without_the_token_are_refused, fun frames_without_the_token_are_refused/0},
             {batches_are_delivered_once, fun batches_are_delivered_once/0},
             {a_receiving_lane_that_crashed_delivers_nothing_again, fun a_receiving_lane_that_crashed_delivers_nothing_again/0},
             {nothing_is_delivered_before_its_sender_is_up, fun nothing_is_delivered_before_its_sender_is_up/0},
             {nobody_there_is_reported, fun nobody_there_is_reported/0},
             {full_queue_refuses, fun full_queue_refuses/0},
             {new_life_puts_the_old_in_doubt, fun new_life_puts_the_old_in_doubt/0},
             {messages_not_taken_yet_are_in_doubt_too, fun messages_not_taken_yet_are_in_doubt_too/0},
             {atoms_of_peers_are_bounded, fun atoms_of_peers_are_bounded/0},
             {leave_of_a_peer_is_left, fun leave_of_a_peer_is_left/0},
             {greeting_of_the_life_that_left_is_ignored, fun greeting_of_the_life_that_left_is_ignored/0},
             {news_of_a_node_that_was_dropped_is_no_news, fun news_of_a_node_that_was_dropped_is_no_news/0},
             {cancelled_is_silent, fun cancelled_is_silent/0},
             {limits_are_checked_before_the_peer, fun limits_are_checked_before_the_peer/0},
             {join_of_another_version_says_so, fun join_of_another_version_says_so/0},
             {join_of_another_cookie_says_so, fun join_of_another_cookie_says_so/0},
             {join_of_nobody_ends_in_time, fun join_of_nobody_ends_in_time/0},
             {own_greeting_is_ignored, fun own_greeting_is_ignored/0},
             {requests_are_answered_or_fail, fun requests_are_answered_or_fail/0},
             {a_lost_refusal_of_a_large_request_comes_again, fun a_lost_refusal_of_a_large_request_comes_again/0},
             {a_refused_large_request_is_told_why, fun a_refused_large_request_is_told_why/0},
             {pending_calls_are_bounded, fun pending_calls_are_bounded/0},
             {sends_during_a_stop_are_answered, fun sends_during_a_stop_are_answered/0},
             {second_start_is_refused, fun second_start_is_refused/0},
             {a_lane_that_cannot_be_started_in_time_is_overloaded, fun a_lane_that_cannot_be_started_in_time_is_overloaded/0}
         ]].

detection(silence_is_suspect_then_down_then_up) -> ?WATCHFUL;
detection(_) -> ?PATIENT.

start(Detection) ->
    {ok, _} = application:ensure_all_started(topos_partisan),
    ok = topos_fake_engine:use(self()),
    ok = topos_sup:start_node(config(Detection), topos_fake_engine).

stop(_) -> ok = topos_sup:stop_node().

config(Detection) ->
    {ok, Config} = topos_config:parse(#{
        node => ?OWN, cluster => <<"c">>, cookie => <<"cookie">>, engine => otp,
        fault_detection => Detection,
        limits => #{
            max_queue_messages => 100, max_message_bytes => 100000, max_new_atoms => 3, max_pending_calls => ?MAX_CALLS
        }
    }),
    Config.

%% Five seconds of a standstill of the keeper of lanes.
a_lane_that_cannot_be_started_in_time_is_overloaded() ->
    ok = topos_fake_engine:use(self()),
    _ = meet(),
    ok = sys:suspend(topos_lanes),
    ?assertMatch({error, {overloaded, #{node := ?PEER}}}, topos_partisan:send(?PEER, anybody, hello)),
    ok = sys:resume(topos_lanes),
    ?assertEqual(ok, topos_partisan:send(?PEER, anybody, hello)).

%% The peer: its core, what it knows of the session, and the frames for it that the test has seen.
-record(peer, {core, incarnation = 5, session}).

greeting_makes_a_member() ->
    ok = topos_fake_engine:use(self()),
    {ok, Ref} = topos_partisan:subscribe(),
    Self = self(),
    {ok, _} = topos_partisan:on_up(any, fun(Node) -> Self ! {on_up, Node} end),
    Peer = meet(),
    ?assertMatch({up, ?PEER, 5}, event(Ref)),
    ?assertEqual(?PEER, receive {on_up, N} -> N after ?WAIT -> none end),
    ?assertEqual([?PEER], topos_partisan:nodes()),
    ?assertEqual([{?OWN, up}, {?PEER, up}], [{N, S} || #{node := N, status := S} <- topos_partisan:members()]),
    _ = live(Peer, 200),
    ?assertEqual(nothing, receive {on_up, _} = Again -> Again after 0 -> nothing end).

silence_is_suspect_then_down_then_up() ->
    ok = topos_fake_engine:use(self()),
    {ok, Ref} = topos_partisan:subscribe(),
    Peer = meet(),
    ?assertMatch({up, ?PEER, _}, event(Ref)),
    ?assertMatch({suspect, ?PEER}, event(Ref)),
    ?assertEqual([], topos_partisan:nodes()),
    ?assertMatch({down, ?PEER, silent}, event(Ref)),
    Alive = until_up(Peer, now_ms() + ?WAIT),
    ?assertMatch({up, ?PEER, 5}, event(Ref)),
    %% Its lanes are open again.
    ok = topos_partisan:send(?PEER, anybody, hello),
    ?assertMatch({_, 1, [_]}, batch(Alive)).

lost_transport_is_down_after_the_grace() ->
    ok = topos_fake_engine:use(self()),
    {ok, Ref} = topos_partisan:subscribe(),
    _ = meet(),
    ?assertMatch({up, ?PEER, _}, event(Ref)),
    ok = topos_fake_engine:tell({down, ?PEER, closed}),
    ?assertMatch({suspect, ?PEER}, event(Ref)),
    %% Not the 30 s of a silent peer.
    ?assertMatch({down, ?PEER, transport_down}, event(Ref)).

flap_is_no_down() ->
    ok = topos_fake_engine:use(self()),
    {ok, Ref} = topos_partisan:subscribe(),
    Peer = meet(),
    ?assertMatch({up, ?PEER, _}, event(Ref)),
    ok = topos_fake_engine:tell({down, ?PEER, closed}),
    ?assertMatch({suspect, ?PEER}, event(Ref)),
    ok = topos_fake_engine:tell({up, ?PEER}),
    _ = until_up(Peer, now_ms() + ?WAIT),
    ?assertMatch({recovered, ?PEER}, event(Ref)),
    ?assertEqual([?PEER], topos_partisan:nodes()).

stranger_without_the_cookie_is_a_short_guest() ->
    ok = topos_fake_engine:use(self()),
    Peer = peer(<<"other">>),
    _ = greet(Peer),
    ?assertMatch({connect, ?PEER, [_]}, engine_call(connect)),
    ok = topos_fake_engine:tell({up, ?PEER}),
    ?assertMatch({disconnect, ?PEER}, engine_call(disconnect)),
    ?assertEqual([?OWN], [N || #{node := N} <- topos_partisan:members()]),
    ?assertEqual([], topos_link:peers()).

frames_without_the_token_are_refused() ->
    ok = topos_fake_engine:use(self()),
    #peer{session = Session} = Peer = meet(),
    _ = register_self(),
    Forged = Peer#peer{session = Session#{token_out := <<9:128>>}},
    ok = send_batch(Forged, {1, 0}, 1, [{here, forged}]),
    ok = send_batch(Peer, {1, 0}, 1, [{here, genuine}]),
    ?assertEqual(genuine, message()),
    #{refused_frames := Refused} = topos_local:counts(),
    ?assertEqual(1, Refused).

%% The peer is sure of the link before this node is, and sends at once.
nothing_is_delivered_before_its_sender_is_up() ->
    ok = topos_fake_engine:use(self()),
    {ok, Ref} = topos_partisan:subscribe(),
    _ = register_self(),
    Greeted = greet(peer(<<"cookie">>)),
    ?assertMatch({connect, ?PEER, _}, engine_call(connect)),
    ok = topos_fake_engine:tell({up, ?PEER}),
    Eager = until_session(Greeted, now_ms() + ?WAIT),
    ok = send_batch(Eager, {1, 0}, 1, [{here, early}]),
    _ = sys:get_state(topos_lanes),
    ?assertEqual([], topos_partisan:nodes()),
    _ = until_up(Eager, now_ms() + ?WAIT),
    First = receive {topos, Ref, Event} -> Event; {topos_test, Message} -> Message after ?WAIT -> none end,
    ?assertMatch({up, ?PEER, 5}, First),
    ?assertEqual(early, message()).

batches_are_delivered_once() ->
    ok = topos_fake_engine:use(self()),
    Peer = meet(),
    _ = register_self(),
    ok = send_batch(Peer, {1, 0}, 1, [{here, one}, {here, two}]),
    ?assertMatch({{1, _}, 1, 0, []}, ack(Peer)),
    ok = send_batch(Peer, {1, 0}, 1, [{here, one}, {here, two}]),
    ?assertMatch({{1, _}, 1, 0, []}, ack(Peer)),
    ok = send_batch(Peer, {1, 0}, 3, [{here, four}]),
    ?assertMatch({{1, _}, 1, ?TOPOS_ACK_GAP, []}, ack(Peer)),
    ok = send_batch(Peer, {1, 0}, 2, [{here, three}]),
    ?assertMatch({{1, _}, 2, 0, []}, ack(Peer)),
    ?assertEqual([one, two, three], [message(), message(), message()]),
    ?assertEqual(none, receive {topos_test, M} -> M after 0 -> none end).

%% The peer got no acknowledgement, so its batch names no receiving half. It learns of the loss and begins a new stream.
a_receiving_lane_that_crashed_delivers_nothing_again() ->
    ok = topos_fake_engine:use(self()),
    Peer = meet(),
    _ = register_self(),
    ok = send_batch(Peer, {1, 0}, 1, [{here, one}]),
    {{1, First}, 1, 0, []} = ack(Peer),
    ?assertEqual(one, message()),
    [[Receiver]] = ets:match(topos_lane_receivers, {{?PEER, 5, {<<"data">>, 0}}, '$1'}),
    Ref = monitor(process, Receiver),
    exit(Receiver, kill),
    receive {'DOWN', Ref, process, _, killed} -> ok after ?WAIT -> error(alive) end,
    ok = send_batch(Peer, {1, 0}, 1, [{here, one}]),
    {{1, Second}, 0, ?TOPOS_ACK_GAP, []} = ack(Peer),
    ?assert(Second > First),
    ok = send_batch(Peer, {1, Second}, 1, [{here, one}]),
    {{1, Third}, 0, 0, []} = ack(Peer),
    ?assert(Third > Second),
    ok = send_batch(Peer, {2, Third}, 1, [{here, two}]),
    ?assertMatch({{2, Third}, 1, 0, []}, ack(Peer)),
    ?assertEqual(two, message()),
    ?assertEqual(none, receive {topos_test, M} -> M after 0 -> none end).

nobody_there_is_reported() ->
    ok = topos_fake_engine:use(self()),
    {ok, Ref} = topos_partisan:subscribe(),
    Peer = meet(),
    ?assertMatch({up, _, _}, event(Ref)),
    ok = send_batch(Peer, {1, 0}, 1, [{no_such_name_at_all, x}]),
    ?assertMatch({_, 1, 0, [{1, 0, ?TOPOS_UNDELIVERED_NO_PROCESS}]}, ack(Peer)),
    ok = topos_partisan:send(?PEER, anybody, hello),
    {Stream, 1, [_]} = batch(Peer),
    ok = send_frame(Peer, ?TOPOS_FRAME_ACK, topos_lanes,
                    topos_frame:ack({<<"data">>, 0}, at(Stream, 7), 1, 0, [{1, 0, ?TOPOS_UNDELIVERED_NO_PROCESS}])),
    ?assertMatch({undeliverable, ?PEER, {no_such_process, #{target := <<"anybody">>}}}, event(Ref)).

full_queue_refuses() ->
    ok = topos_fake_engine:use(self()),
    _ = meet(),
    Results = [topos_partisan:send(?PEER, anybody, N) || N <- lists:seq(1, 101)],
    ?assertEqual(100, length([ok || ok <- Results])),
    ?assertMatch({error, {overloaded, #{node := ?PEER, channel := data}}}, lists:last(Results)),
    ?assertMatch({error, {overloaded, _}}, topos_partisan:send(?PEER, anybody, x, #{wait => 50})).

new_life_puts_the_old_in_doubt() ->
    ok = topos_fake_engine:use(self()),
    {ok, Ref} = topos_partisan:subscribe(),
    Peer = meet(),
    ?assertMatch({up, _, 5}, event(Ref)),
    ok = topos_partisan:send(?PEER, anybody, hello),
    ok = topos_partisan:send(?PEER, anybody, hello),
    _ = batch(Peer),
    ok = topos_fake_engine:tell({down, ?PEER, closed}),
    ok = topos_fake_engine:tell({up, ?PEER}),
    _ = until_up(peer(<<"cookie">>, 6), now_ms() + ?WAIT),
    Events = events_until({up, ?PEER, 6}, Ref),
    ?assertEqual([{suspect, ?PEER}, {down, ?PEER, new_incarnation}], [E || E <- Events, element(1, E) =/= in_doubt]),
    %% Told by the lane itself, perhaps after the new life is up; the lane of monitors may have had messages of its own.
    lists:member({in_doubt, ?PEER, 2}, Events) orelse events_until({in_doubt, ?PEER, 2}, Ref).

messages_not_taken_yet_are_in_doubt_too() ->
    ok = topos_fake_engine:use(self()),
    {ok, Ref} = topos_partisan:subscribe(),
    Peer = meet(),
    ?assertMatch({up, _, 5}, event(Ref)),
    ok = topos_partisan:send(?PEER, anybody, hello),
    _ = batch(Peer),
    {Lane, _} = topos_lanes:sender({?PEER, data, 0}, generation(data)),
    Monitor = monitor(process, Lane),
    true = erlang:suspend_process(Lane),
    ok = topos_link:forget(?PEER),
    %% The room is still open: they are accepted, after the end of the peer's life was told to the lane.
    _ = [Lane ! #topos_item{piece = topos_frame:record(0, <<"x">>, <<131, 97, 1>>, 3), bytes = 6} || _ <- lists:seq(1, 3)],
    true = erlang:resume_process(Lane),
    ?assertMatch({in_doubt, ?PEER, 4}, event_of(in_doubt, Ref)),
    ?assertEqual(normal, receive {'DOWN', Monitor, process, _, Reason} -> Reason after ?WAIT -> alive end).

atoms_of_peers_are_bounded() ->
    ok = topos_fake_engine:use(self()),
    Peer = meet(),
    _ = register_self(),
    Atom = fun(Name) -> <<131, 119, (byte_size(Name)), Name/binary>> end,
    Raw = fun(Bytes) -> topos_frame:record(?TOPOS_DEST_NAME, <<"topos_link_tests_here">>, Bytes, byte_size(Bytes)) end,
    Names = [<<"topos_never_seen_", (integer_to_binary(N))/binary>> || N <- lists:seq(1, 4)],
    Frame = topos_frame:batch({<<"data">>, 0}, {1, 0}, 1, 1, {length(Names), [Raw(Atom(N)) || N <- Names]}),
    ok = send_frame(Peer, ?TOPOS_FRAME_BATCH, topos_lanes, Frame),
    ?assertMatch({_, 1, 0, [{1, 3, ?TOPOS_UNDELIVERED_ATOMS}]}, ack(Peer)),
    ?assertError(badarg, binary_to_existing_atom(lists:last(Names))).

leave_of_a_peer_is_left() ->
    ok = topos_fake_engine:use(self()),
    {ok, Ref} = topos_partisan:subscribe(),
    Self = self(),
    {ok, _} = topos_partisan:on_down(?PEER, fun(Node) -> Self ! {on_down, Node} end),
    Peer = meet(),
    ?assertMatch({up, _, _}, event(Ref)),
    ok = send_frame(Peer, ?TOPOS_FRAME_LEAVE, topos_link, <<5:64>>),
    ?assertMatch({left, ?PEER}, event(Ref)),
    ?assertEqual(?PEER, receive {on_down, N} -> N after ?WAIT -> none end),
    ?assertMatch({disconnect, ?PEER}, engine_call(disconnect)),
    ?assertMatch({error, {unknown_node, _}}, topos_partisan:send(?PEER, anybody, hello)),
    ?assertEqual([{?OWN, up}, {?PEER, left}], [{N, S} || #{node := N, status := S} <- topos_partisan:members()]).

%% One that leaves has lost its links to those who know it already while others have not confirmed yet, and greets them. Who took that
%% for a node that wants in dialled it, told it of a life it had to be above, and so called it back.
greeting_of_the_life_that_left_is_ignored() ->
    ok = topos_fake_engine:use(self()),
    Peer = meet(),
    ok = send_frame(Peer, ?TOPOS_FRAME_LEAVE, topos_link, <<5:64>>),
    ?assertMatch({disconnect, ?PEER}, engine_call(disconnect)),
    ok = topos_fake_engine:tell({down, ?PEER, disconnected}),
    _ = live(greet(Peer), 200),
    ?assertEqual([], topos_link:peers()),
    ?assertEqual(nothing, receive {fake_engine, {connect, _, _} = Dialled} -> Dialled after 0 -> nothing end),
    %% In a life after that it is welcome again.
    _ = greet(peer(<<"cookie">>, 6)),
    ?assertMatch({connect, ?PEER, _}, engine_call(connect)).

%% A candidate was dropped while the link had yet to be asked to forget it, and said that it is up.
news_of_a_node_that_was_dropped_is_no_news() ->
    Cluster = whereis(topos_cluster),
    Cluster ! {topos_link, {status, ?PEER, connecting, up, echo}},
    ?assertEqual([], topos_partisan:nodes()),
    %% It has taken that by now.
    _ = sys:get_state(topos_cluster),
    ?assertEqual(Cluster, whereis(topos_cluster)).

cancelled_is_silent() ->
    ok = topos_fake_engine:use(self()),
    Self = self(),
    {ok, Ref} = topos_partisan:on_up(any, fun(Node) -> Self ! {on_up, Node} end),
    {ok, Subscription} = topos_partisan:subscribe(),
    ok = topos_partisan:cancel(Ref),
    ok = topos_partisan:cancel(Ref),
    _ = meet(),
    ?assertMatch({up, ?PEER, _}, event(Subscription)),
    ?assertEqual(none, receive {on_up, N} -> N after 50 -> none end).

limits_are_checked_before_the_peer() ->
    ok = topos_fake_engine:use(self()),
    Large = binary:copy(<<0>>, 100001),
    ?assertMatch({error, {message_too_large, #{limit := 100000}}}, topos_partisan:send('nobody@127.0.0.1', x, Large)),
    ?assertMatch({error, {unknown_node, _}}, topos_partisan:send('nobody@127.0.0.1', x, small)),
    _ = meet(),
    ?assertMatch({error, {no_such_channel, #{channel := nowhere}}}, topos_partisan:send(?PEER, x, small, #{channel => nowhere})).

join_of_another_version_says_so() ->
    ok = topos_fake_engine:use(self()),
    Join = joining(),
    {ok, #{payload := Payload}} = topos_frame:decode(hello_to_peer()),
    Header = #{kind => ?TOPOS_FRAME_HELLO, source => atom_to_binary(?PEER), incarnation => 5, destination => 0, token => <<0:128>>},
    <<_, Rest/binary>> = iolist_to_binary(topos_frame:encode(Header, Payload)),
    topos_link ! {topos, 2, 0, <<2, Rest/binary>>},
    ?assertMatch({error, {version_mismatch, #{node := ?PEER, theirs := 2, ours := ?TOPOS_FRAME_VERSION}}}, answer(Join)),
    ?assertMatch({disconnect, ?PEER}, engine_call(disconnect)).

join_of_another_cookie_says_so() ->
    ok = topos_fake_engine:use(self()),
    Join = joining(),
    ?assertMatch({error, {cookie_mismatch, #{node := ?PEER}}}, live_until_answer(Join, peer(<<"other">>))),
    ?assertMatch({disconnect, ?PEER}, engine_call(disconnect)),
    ?assertEqual([?OWN], [N || #{node := N} <- topos_partisan:members()]).

join_of_nobody_ends_in_time() ->
    ok = topos_fake_engine:use(self()),
    ?assertMatch({error, {unreachable, #{node := ?PEER, timeout := 200}}}, topos_partisan:join(?PEER, #{timeout => 200})),
    ?assertMatch({error, {self_join, _}}, topos_partisan:join(?OWN)),
    ?assertEqual([?OWN], [N || #{node := N} <- topos_partisan:members()]).

%% Whoever sends it back proves nothing by it.
own_greeting_is_ignored() ->
    ok = topos_fake_engine:use(self()),
    Join = joining(),
    Hello = hello_to_peer(),
    topos_link ! {topos, ?TOPOS_FRAME_VERSION, 0, Hello},
    _ = sys:get_state(topos_link),
    _ = sys:get_state(topos_cluster),
    ?assertEqual(none, receive {fake_engine, {connect, ?OWN, _} = Call} -> Call after 0 -> none end),
    ?assertEqual([?PEER], [Node || {Node, _} <- topos_link:peers()]),
    _ = demonitor(Join, [flush]).

%% The node asks itself: the same services and replies as between nodes.
requests_are_answered_or_fail() ->
    ok = topos_request:serve(topos_link_tests, ?MODULE),
    ?assertEqual({ok, {?OWN, 42}}, topos_request:call(?OWN, topos_link_tests, {double, 21})),
    ?assertMatch({error, {no_such_service, #{service := <<"nothing">>}}}, topos_request:call(?OWN, nothing, x)),
    ?assertMatch({error, {service_failed, _}}, topos_request:call(?OWN, topos_link_tests, crash)),
    ?assertMatch({error, {timeout, _}}, topos_request:call(?OWN, topos_link_tests, hang, 50)),
    ?assertEqual(0, ets:info(topos_requests, size)),
    ?assertEqual(nothing, receive Late -> Late after 50 -> nothing end).

%% As many as the limit wait for an answer; one more is refused at once, and there is room when they are answered.
pending_calls_are_bounded() ->
    ok = topos_request:serve(topos_link_tests, ?MODULE),
    Self = self(),
    Callers = [
        spawn_monitor(fun() -> exit({answer, topos_request:call(?OWN, topos_link_tests, {wait, Self}, ?WAIT)}) end)
     || _ <- lists:seq(1, ?MAX_CALLS)
    ],
    Servers = [receive {waiting, Pid} -> Pid after ?WAIT -> none end || _ <- Callers],
    ?assertNot(lists:member(none, Servers)),
    ?assertMatch({error, {overloaded, _}}, topos_request:call(?OWN, topos_link_tests, {double, 1})),
    [Pid ! go || Pid <- Servers],
    [receive {'DOWN', Ref, process, Pid, Exit} -> ?assertEqual({answer, {ok, gone}}, Exit) end || {Pid, Ref} <- Callers],
    ?assertEqual({ok, {?OWN, 2}}, topos_request:call(?OWN, topos_link_tests, {double, 1})),
    %% The server's own bound: others may ask more than it takes.
    Others = [{{{'other@host', 1}, N, 1}, undefined, erlang:monotonic_time(millisecond) + ?WAIT} || N <- lists:seq(1, ?MAX_CALLS)],
    true = ets:insert(topos_serving, Others),
    ?assertMatch({error, {overloaded, _}}, topos_request:call(?OWN, topos_link_tests, {double, 1}, ?WAIT)),
    [true = ets:delete(topos_serving, Key) || {Key, _, _} <- Others].

%% Whoever asks through a lane does not ask again.
a_lost_refusal_of_a_large_request_comes_again() ->
    ok = topos_fake_engine:use(self()),
    ok = topos_request:serve(topos_link_tests, ?MODULE),
    Peer = meet(),
    %% Each first one gets lost. The lane reports that nobody serves it,
    Unserved = fun() -> ok = send_request(Peer, {{1, 0}, 1}, {7, 1}, <<"nothing">>, term_to_binary(<<0:560000>>)) end,
    ok = Unserved(),
    ?assertEqual([{1, 0, ?TOPOS_UNDELIVERED_NO_HANDLER}], control_failures()),
    ok = Unserved(),
    ?assertEqual([{1, 0, ?TOPOS_UNDELIVERED_NO_HANDLER}], control_failures()),
    %% and the process that serves what only that finds out.
    ok = send_request(Peer, {{1, 0}, 2}, {8, 1}, <<"topos_link_tests">>, <<131, 0:560000>>),
    Refusal = <<8:32, 1:64, ?TOPOS_UNDELIVERED_BAD_TERM>>,
    ?assertEqual(Refusal, lane_record(?TOPOS_DEST_REPLY)),
    ?assertEqual(Refusal, lane_record(?TOPOS_DEST_REPLY)).

a_refused_large_request_is_told_why() ->
    ok = topos_fake_engine:use(self()),
    Peer = meet(),
    {_, Ref} = spawn_monitor(fun() -> exit({answer, topos_request:call(?PEER, nothing, <<0:560000>>, ?WAIT)}) end),
    <<Slot:12/binary, _/binary>> = lane_record(?TOPOS_DEST_REQUEST),
    Refused = topos_frame:record(?TOPOS_DEST_REPLY, <<Slot/binary, ?TOPOS_UNDELIVERED_BAD_TERM>>, <<131, 106>>, 2),
    ok = send_record(Peer, {{1, 0}, 1}, Refused),
    ?assertMatch({answer, {error, {bad_message, #{at := ?PEER}}}},
        receive {'DOWN', Ref, process, _, Answer} -> Answer after ?WAIT -> none end).

handle_request(_, {wait, Test}) -> Test ! {waiting, self()}, receive go -> {ok, gone} end;
handle_request(From, {double, N}) -> {ok, {From, 2 * N}};
handle_request(_, crash) -> error(on_purpose);
handle_request(_, hang) -> receive never -> {ok, never} end.

joining() ->
    {_, Ref} = spawn_monitor(fun() -> exit({joined, topos_partisan:join(?PEER, #{timeout => ?WAIT})}) end),
    ?assertMatch({connect, ?PEER, _}, engine_call(connect)),
    ok = topos_fake_engine:tell({up, ?PEER}),
    Ref.

%% The peer lives until the join has an answer.
live_until_answer(Ref, Peer) ->
    receive {'DOWN', Ref, process, _, {joined, Answer}} -> Answer after 0 -> live_until_answer(Ref, live(Peer, 10)) end.

answer(Ref) -> receive {'DOWN', Ref, process, _, {joined, Answer}} -> Answer after ?WAIT -> error(no_answer) end.

hello_to_peer() ->
    receive {fake_engine, {frame, ?PEER, control, 0, topos_link, Bytes}} -> Bytes after ?WAIT -> error(no_hello) end.

%% A caller that races with the end of the node gets an answer, never an exception.
sends_during_a_stop_are_answered() ->
    ok = topos_fake_engine:use(self()),
    _ = meet(),
    Callers = [spawn_monitor(fun() -> call_until_stopped(Call) end)
               || Call <- [fun() -> topos_partisan:send(?PEER, anybody, x) end, fun topos_partisan:members/0, fun topos_partisan:nodes/0,
                           fun topos_partisan:cluster/0, fun() -> topos_partisan:on_up(any, fun(_) -> ok end) end]],
    ok = topos_sup:stop_node(),
    [?assertEqual(stopped, receive {'DOWN', Ref, process, Pid, Reason} -> Reason after ?WAIT -> running end)
     || {Pid, Ref} <- Callers],
    ok = topos_sup:start_node(config(?PATIENT), topos_fake_engine).

call_until_stopped(Call) ->
    case Call() of
        {error, {not_started, _}} -> exit(stopped);
        _ -> call_until_stopped(Call)
    end.

second_start_is_refused() ->
    ?assertMatch({error, {already_started, #{node := ?OWN}}}, topos_sup:start_node(config(?PATIENT), topos_fake_engine)).

%% The played peer

peer(Cookie) -> peer(Cookie, 5).

peer(Cookie, Incarnation) ->
    Self = #{name => atom_to_binary(?PEER), incarnation => Incarnation, cluster => <<"c">>, key => topos_auth:key(Cookie),
             addresses => [{{127, 0, 0, 1}, 2}]},
    #peer{core = topos_peer_core:new(atom_to_binary(?OWN), Self, #{echo_interval => 50, suspect_after => 5000, down_after => 9000}),
          incarnation = Incarnation}.

%% It greets, is dialled, and lives until both are up.
meet() ->
    Greeted = greet(peer(<<"cookie">>)),
    ?assertMatch({connect, ?PEER, _}, engine_call(connect)),
    ok = topos_fake_engine:tell({up, ?PEER}),
    until_up(Greeted, now_ms() + ?WAIT).

%% It proved itself, but answers no echo.
until_session(#peer{session = undefined, core = Core} = Peer, Deadline) ->
    receive
        {fake_engine, {frame, ?PEER, control, 0, topos_link, Bytes}} ->
            {ok, Frame} = topos_frame:decode(Bytes),
            until_session(act(topos_peer_core:frame(Frame, now_ms(), Core), Peer), Deadline)
    after max(0, Deadline - now_ms()) -> error(no_session)
    end;
until_session(Peer, _Deadline) ->
    Peer.

until_up(Peer, Deadline) ->
    Next = live(Peer, 10),
    case {topos_partisan:nodes(), topos_peer_core:status(Next#peer.core), now_ms() > Deadline} of
        {[?PEER], up, _} -> Next;
        {_, _, false} -> until_up(Next, Deadline);
        Else -> error({not_up, Else})
    end.

greet(#peer{core = Core} = Peer) ->
    act(topos_peer_core:transport_up(topos_auth:nonce(), now_ms(), Core), Peer).

%% Answers frames and ticks for so many milliseconds.
live(#peer{core = Core} = Peer, Ms) ->
    case topos_peer_core:has_transport(Core) of
        true -> live_until(Peer, now_ms() + Ms);
        false -> live_until(greet(Peer), now_ms() + Ms)
    end.

live_until(Peer, Deadline) ->
    #peer{core = Core} = Ticked = act(topos_peer_core:tick(now_ms(), Peer#peer.core), Peer),
    receive
        {fake_engine, {frame, ?PEER, control, 0, topos_link, Bytes}} ->
            {ok, Frame} = topos_frame:decode(Bytes),
            live_until(act(topos_peer_core:frame(Frame, now_ms(), Core), Ticked), Deadline)
    after 5 ->
        case now_ms() >= Deadline of
            true -> Ticked;
            false -> live_until(Ticked, Deadline)
        end
    end.

act({Core, Effects}, Peer) -> lists:foldl(fun effect/2, Peer#peer{core = Core}, Effects).

effect({send, Frame}, Peer) ->
    topos_link ! {topos, ?TOPOS_FRAME_VERSION, 0, iolist_to_binary(Frame)},
    Peer;
effect({session, Session}, Peer) ->
    act(topos_peer_core:admit(now_ms(), Peer#peer.core), Peer#peer{session = Session});
effect(_, Peer) ->
    Peer.

send_batch(Peer, Stream, Sequence, Messages) ->
    Pieces = [
        topos_frame:record(?TOPOS_DEST_NAME, atom_to_binary(name(Name)), Bytes, byte_size(Bytes))
     || {Name, M} <- Messages, Bytes <- [term_to_binary({topos_test, M})]
    ],
    Payload = topos_frame:batch({<<"data">>, 0}, Stream, Sequence, ?TOPOS_BATCH_URGENT, {length(Pieces), Pieces}),
    send_frame(Peer, ?TOPOS_FRAME_BATCH, topos_lanes, Payload).

send_request(Peer, At, {Number, Sequence}, Service, Bytes) ->
    Destination = <<Number:32, Sequence:64, ?WAIT:32, Service/binary>>,
    send_record(Peer, At, topos_frame:record(?TOPOS_DEST_REQUEST, Destination, Bytes, byte_size(Bytes))).

%% On the control channel.
send_record(Peer, {Stream, Sequence}, Record) ->
    Payload = topos_frame:batch({<<"control">>, 0}, Stream, Sequence, ?TOPOS_BATCH_URGENT, {1, [Record]}),
    send_frame(Peer, ?TOPOS_FRAME_BATCH, topos_lanes, Payload).

%% What the next acknowledgement on the control channel reports, if it does.
control_failures() ->
    receive
        {fake_engine, {frame, ?PEER, control, _, topos_lanes, Bytes}} ->
            {ok, #{kind := Kind, payload := Payload}} = topos_frame:decode(Bytes),
            case Kind =:= ?TOPOS_FRAME_ACK andalso topos_frame:decode_ack(Payload) of
                {ok, {{<<"control">>, 0}, _, _, _, [_ | _] = Failures}} -> Failures;
                _ -> control_failures()
            end
    after ?WAIT -> error(no_failure)
    end.

%% The destination of the next record of a kind on the control channel.
lane_record(Kind) ->
    receive
        {fake_engine, {frame, ?PEER, control, _, topos_lanes, Bytes}} ->
            case lists:keyfind(Kind, 1, lane_records(Bytes)) of
                {Kind, Destination} -> Destination;
                false -> lane_record(Kind)
            end
    after ?WAIT -> error(no_record)
    end.

lane_records(Bytes) ->
    case topos_frame:decode(Bytes) of
        {ok, #{kind := ?TOPOS_FRAME_BATCH, payload := Payload}} ->
            {ok, {_, _, _, _, Pieces}} = topos_frame:decode_batch(Payload),
            [{Kind, Destination} || Record <- topos_frame:pieces(Pieces), {ok, {Kind, Destination, _}} <- [topos_frame:decode_record(Record)]];
        {ok, _} ->
            []
    end.

send_frame(#peer{incarnation = Incarnation, session = #{token_out := Token, incarnation := Theirs}}, Kind, Dest, Payload) ->
    Header = #{kind => Kind, source => atom_to_binary(?PEER), incarnation => Incarnation, destination => Theirs, token => Token},
    Dest ! {topos, ?TOPOS_FRAME_VERSION, 0, iolist_to_binary(topos_frame:encode(Header, Payload))},
    ok.

ack(_Peer) ->
    {_, Stream, Cumulative, Flags, Failures} = lane_frame(?TOPOS_FRAME_ACK, fun topos_frame:decode_ack/1),
    {Stream, Cumulative, Flags, Failures}.

batch(_Peer) ->
    {{<<"data">>, 0}, Stream, Sequence, _Flags, Pieces} = lane_frame(?TOPOS_FRAME_BATCH, fun topos_frame:decode_batch/1),
    {Stream, Sequence, topos_frame:pieces(Pieces)}.

lane_frame(Kind, Decode) ->
    receive
        {fake_engine, {frame, ?PEER, _, _, topos_lanes, Bytes}} ->
            {ok, #{kind := Came, payload := Payload}} = topos_frame:decode(Bytes),
            %% Others than the test use the control channel.
            case Came =:= Kind andalso Decode(Payload) of
                {ok, Decoded} when element(1, Decoded) =:= {<<"data">>, 0} -> Decoded;
                _ -> lane_frame(Kind, Decode)
            end
    after ?WAIT -> error({no_frame, Kind})
    end.

at({Stream, _}, Receiver) -> {Stream, Receiver}.

name(here) -> topos_link_tests_here;
name(Name) -> Name.

register_self() ->
    case whereis(topos_link_tests_here) of
        undefined -> ok;
        _ -> unregister(topos_link_tests_here)
    end,
    register(topos_link_tests_here, self()).

message() -> receive {topos_test, Message} -> Message after ?WAIT -> error(no_message) end.

event(Ref) -> receive {topos, Ref, Event} -> Event after ?WAIT -> error(no_event) end.

event_of(Kind, Ref) ->
    case event(Ref) of
        {Kind, ?PEER, N} = Event when N > 1 -> Event;
        _ -> event_of(Kind, Ref)
    end.

events_until(Last, Ref) ->
    case event(Ref) of
        Last -> [];
        Event -> [Event | events_until(Last, Ref)]
    end.

engine_call(Name) ->
    receive {fake_engine, Call} when element(1, Call) =:= Name -> Call after ?WAIT -> error({not_called, Name}) end.

now_ms() -> erlang:monotonic_time(millisecond).

generation(Channel) ->
    {ok, #{generation := Generation}} = topos_local:channel(Channel),
    Generation.
