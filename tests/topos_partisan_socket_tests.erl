%% Frames on the socket of a connection, against a peer that reads nothing.
-module(topos_partisan_socket_tests).
-include_lib("eunit/include/eunit.hrl").

-define(MB, 1_048_576).

socket_test_() ->
    {foreach, fun connected/0, fun closed/1, [
        fun(Sockets) -> {"a busy port refuses at once, and takes frames again when it is not", fun() -> busy(Sockets) end} end,
        fun(Sockets) -> {"a port that is closed is not connected", fun() -> gone(Sockets) end} end
    ]}.

%% As Partisan's connections: a process that is linked to the socket.
connected() ->
    {ok, Listen} = gen_tcp:listen(0, [binary, {ip, {127, 0, 0, 1}}, {active, false}, {packet, 4}]),
    {ok, Number} = inet:port(Listen),
    Test = self(),
    Connection = spawn(fun() ->
        {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Number, [binary, {active, false}, {packet, 4}]),
        Test ! {self(), connected},
        receive stop -> gen_tcp:close(Socket) end
    end),
    {ok, Peer} = gen_tcp:accept(Listen),
    receive {Connection, connected} -> ok end,
    {Listen, Peer, Connection}.

closed({Listen, Peer, Connection}) ->
    Connection ! stop,
    ok = gen_tcp:close(Peer),
    gen_tcp:close(Listen).

%% A send that waited for the peer would never return: nobody reads until after it.
busy({_, Peer, Connection}) ->
    Port = topos_partisan_socket:of_connection(Connection),
    ?assert(is_port(Port)),
    Frame = binary:copy(<<7>>, ?MB),
    Taken = filled(Port, Frame, 0),
    %% What the system takes, 8 MiB in the port, and a frame.
    {queue_size, Queued} = erlang:port_info(Port, queue_size),
    ?assert(Queued >= 8 * ?MB andalso Queued < 10 * ?MB, Queued),
    ?assertEqual([{error, overloaded}], lists:usort([topos_partisan_socket:send(Port, topos_lanes, 1, Frame) || _ <- lists:seq(1, 100)])),
    ?assertEqual({queue_size, Queued}, erlang:port_info(Port, queue_size)),
    %% Whole frames, as many as were taken, and no part of those that were refused.
    Sizes = [begin {ok, Packet} = gen_tcp:recv(Peer, 0), byte_size(Packet) end || _ <- lists:seq(1, Taken)],
    ?assertMatch([Size] when Size > ?MB andalso Size < ?MB + 200, lists:usort(Sizes)),
    ?assertEqual(ok, topos_partisan_socket:send(Port, topos_lanes, 1, <<"last">>)),
    {ok, Last} = gen_tcp:recv(Peer, 0),
    ?assert(byte_size(Last) < 200),
    ?assertEqual({error, timeout}, gen_tcp:recv(Peer, 0, 0)).

gone({_, _, Connection}) ->
    Port = topos_partisan_socket:of_connection(Connection),
    Ref = monitor(process, Connection),
    Connection ! stop,
    receive {'DOWN', Ref, process, Connection, _} -> ok end,
    ?assertEqual({error, not_connected}, topos_partisan_socket:send(Port, topos_lanes, 1, <<"frame">>)),
    ?assertEqual(Connection, topos_partisan_socket:of_connection(Connection)).

%% As much as it takes at all: the port gives the system what it has room for when it is scheduled.
filled(Port, Frame, Taken) ->
    Now = fill(Port, Frame, Taken),
    case stays_full(Port, 10) of
        true -> Now;
        false -> filled(Port, Frame, Now)
    end.

stays_full(Port, Looks) ->
    Before = erlang:port_info(Port, queue_size),
    receive after 20 -> ok end,
    case erlang:port_info(Port, queue_size) of
        Before when Looks > 1 -> stays_full(Port, Looks - 1);
        Now -> Now =:= Before
    end.

fill(Port, Frame, Taken) ->
    case topos_partisan_socket:send(Port, topos_lanes, 1, Frame) of
        ok -> fill(Port, Frame, Taken + 1);
        {error, overloaded} -> Taken
    end.
