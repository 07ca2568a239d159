%% What somebody can do who connects to a Partisan node without TLS and without the cookie: nothing.
-module(topos_stranger_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile(export_all).

-define(NODE, topos_ct_node).
-define(ENGINE, topos_engine_SUITE).

all() -> [{group, partisan}].

groups() -> [{partisan, [], [only_frames_come_in, strangers_make_no_atoms, strangers_inflate_nothing, packets_are_bounded,
                                silent_connections_end, impostors_are_not_dialled]}].

init_per_group(Engine, Config) -> ?ENGINE:init_per_group(Engine, Config).

end_per_group(Engine, Config) -> ?ENGINE:end_per_group(Engine, Config).

init_per_testcase(Case, Config) -> ?ENGINE:init_per_testcase(Case, Config).

end_per_testcase(Case, Config) -> ?ENGINE:end_per_testcase(Case, Config).

%% A stranger on the wire: no remote call, no message that is no frame, no view, no end of the VM.
only_frames_come_in(Config) ->
    [A] = ?ENGINE:started([a], Config),
    ?ENGINE:probe(A, dest),
    [{Ip, Port}] = ?ENGINE:engine(A, addresses, []),
    {ok, Socket} = gen_tcp:connect(Ip, Port, [binary, {active, false}, {packet, 4}]),
    {ok, Greeting} = gen_tcp:recv(Socket, 0, ?NODE:patience(5_000)),
    ?assertEqual({hello, ?ENGINE:name(A)}, binary_to_term(Greeting)),
    Mark = filename:join(?config(priv_dir, Config), "remote_code"),
    Send = fun(Term) -> ok = gen_tcp:send(Socket, term_to_binary(Term)) end,
    Send({hello, 'stranger@127.0.0.1', control}),
    {ok, _State} = gen_tcp:recv(Socket, 0, ?NODE:patience(5_000)),
    Send({forward_message, partisan_rpc_backend, {call, file, write_file, [Mark, <<"x">>], 1000, {origin, 'stranger@127.0.0.1', self}}}),
    Send({forward_message, partisan_pluggable_peer_service_manager, {membership_strategy, {topos_view, []}}}),
    Send({membership_strategy, {topos_view, []}}),
    Send({relay_message, ?ENGINE:name(A), {forward_message, init, {stop, stop}}, 3}),
    Send({forward_message, dest, "no frame"}),
    Send({forward_message, init, {stop, stop}}),
    Send({forward_message, dest, {topos, 1, 0, <<"a frame">>}}),
    ?NODE:wait_until(frame, fun() -> ?ENGINE:frames(A, dest) =:= [<<"a frame">>] end, 5_000),
    ?assertEqual(1, ?ENGINE:count(A, dest)),
    ?assertNot(filelib:is_file(Mark)),
    ?assert(?NODE:is_alive(A)),
    ?assertEqual([], ?ENGINE:events(A)).

%% A stranger's names, in every packet that Partisan's protocol has and in one that it has not, become no atoms.
strangers_make_no_atoms(Config) ->
    [A] = ?ENGINE:started([a], Config),
    ?ENGINE:probe(A, dest),
    Name = fun(What, N) -> iolist_to_binary(io_lib:format("stranger_~s_~s_~b@127.0.0.1", [os:getpid(), What, N])) end,
    New = fun(What, N) -> binary_to_atom(Name(What, N)) end,
    Many = [New("many", N) || N <- lists:seq(1, 1_000)],
    [{Ip, Port}] = ?ENGINE:engine(A, addresses, []),
    Before = ?NODE:call(A, erlang, system_info, [atom_count]),
    {ok, Socket} = gen_tcp:connect(Ip, Port, [binary, {active, false}, {packet, 4}]),
    {ok, _Greeting} = gen_tcp:recv(Socket, 0, ?NODE:patience(5_000)),
    Send = fun(Term) -> ok = gen_tcp:send(Socket, term_to_binary(Term)) end,
    Send({hello, New("hello", 1), New("hello", 2)}),
    {ok, _State} = gen_tcp:recv(Socket, 0, ?NODE:patience(5_000)),
    Send(Many),
    Send({forward_message, dest, Many}),
    Send({forward_message, New("dest", 1), {topos, 1, 0, <<"nobody's">>}}),
    Send({forward_message, dest, {topos, 1, New("epoch", 1), <<>>}}),
    Send({ping, New("hello", 1), [New("ping", 1) | <<"id">>], 0}),
    {ok, Pong} = gen_tcp:recv(Socket, 0, ?NODE:patience(5_000)),
    ?assertEqual({pong, ?ENGINE:name(A), [New("ping", 1) | <<"id">>], 0}, binary_to_term(Pong)),
    Send({ping, New("other", 1), Many, 0}),
    Send({forward_message, dest, {topos, 1, 0, <<"a frame">>}}),
    ?NODE:wait_until(frame, fun() -> ?ENGINE:frames(A, dest) =:= [<<"a frame">>] end, 5_000),
    Names = [Name("many", N) || N <- lists:seq(1, 1_000)] ++ [Name("hello", 1), Name("hello", 2)]
        ++ [Name(What, 1) || What <- ["dest", "epoch", "ping", "other"]],
    ?assertEqual([], ?NODE:apply(A, fun ?MODULE:known_atoms/1, [Names])),
    %% An answer that nobody asked for, which ends a connection of Partisan's.
    Send({pong, New("pong", 1), Many, 0}),
    Send({forward_message, dest, {topos, 1, 0, <<"another">>}}),
    ?NODE:wait_until(frame, fun() -> ?ENGINE:frames(A, dest) =:= [<<"a frame">>, <<"another">>] end, 5_000),
    ?assertEqual([], ?NODE:apply(A, fun ?MODULE:known_atoms/1, [[Name("pong", 1)]])),
    %% What modules loaded meanwhile hold.
    ?assert(?NODE:call(A, erlang, system_info, [atom_count]) - Before < 500).

%% 200 MB of zeros in a packet of 200 kB, as Partisan's compression would send them.
strangers_inflate_nothing(Config) ->
    Bomb = term_to_binary({forward_message, dest, binary:copy(<<0>>, 200_000_000)}, [compressed]),
    ?assert(byte_size(Bomb) < 500_000),
    [A] = ?ENGINE:started([a], Config),
    ?ENGINE:probe(A, dest),
    [{Ip, Port}] = ?ENGINE:engine(A, addresses, []),
    {ok, Socket} = gen_tcp:connect(Ip, Port, [binary, {active, false}, {packet, 4}]),
    {ok, _Greeting} = gen_tcp:recv(Socket, 0, ?NODE:patience(5_000)),
    ok = gen_tcp:send(Socket, term_to_binary({hello, 'stranger@127.0.0.1', control})),
    {ok, _State} = gen_tcp:recv(Socket, 0, ?NODE:patience(5_000)),
    Peak = ?NODE:apply(A, fun ?MODULE:watch_memory/0),
    ok = gen_tcp:send(Socket, Bomb),
    ok = gen_tcp:send(Socket, term_to_binary({forward_message, dest, {topos, 1, 0, <<"a frame">>}})),
    ?NODE:wait_until(frame, fun() -> ?ENGINE:frames(A, dest) =:= [<<"a frame">>] end, 20_000),
    ?assert(?NODE:apply(A, fun ?MODULE:grown_memory/1, [Peak]) < 50_000_000).

%% The length a packet claims is not allocated; its sender is hung up on.
packets_are_bounded(Config) ->
    [A] = ?ENGINE:started([a], Config),
    [{Ip, Port}] = ?ENGINE:engine(A, addresses, []),
    ?ENGINE:hung_up_on(Ip, Port, <<16#7fffffff:32, "and so on">>),
    ?assert(?NODE:is_alive(A)).

%% Partisan's client pings after 5 s of silence; who greets and then says nothing is no such client.
silent_connections_end(Config) ->
    [A] = ?ENGINE:started([a], Config),
    [{Ip, Port}] = ?ENGINE:engine(A, addresses, []),
    {ok, Socket} = gen_tcp:connect(Ip, Port, [binary, {active, false}, {packet, 4}]),
    {ok, _Greeting} = gen_tcp:recv(Socket, 0, ?NODE:patience(5_000)),
    ok = gen_tcp:send(Socket, term_to_binary({hello, 'stranger@127.0.0.1', control})),
    {ok, _State} = gen_tcp:recv(Socket, 0, ?NODE:patience(5_000)),
    Start = erlang:monotonic_time(millisecond),
    ?assertEqual({error, closed}, gen_tcp:recv(Socket, 0, ?NODE:patience(25_000))),
    ?assert(?NODE:elapsed(Start) > 6_000).

%% Somebody listens where a peer should be, greets with its name, and sends atoms to whoever dials.
impostors_are_not_dialled(Config) ->
    [A] = ?ENGINE:started([a], Config),
    B = ?NODE:name(impostor),
    Name = fun(N) -> iolist_to_binary(io_lib:format("impostor_~s_~b", [os:getpid(), N])) end,
    Names = [Name(N) || N <- lists:seq(1, 1_000)],
    Packets = [term_to_binary({hello, B}), term_to_binary([binary_to_atom(N) || N <- Names])],
    {ok, Listen} = gen_tcp:listen(0, [binary, {ip, {127, 0, 0, 1}}, {packet, 4}, {active, true}]),
    {ok, Port} = inet:port(Listen),
    Impostor = spawn_link(fun() -> impostor(Listen, Packets) end),
    ok = gen_tcp:controlling_process(Listen, Impostor),
    ok = ?ENGINE:engine(A, connect, [#{node => B, addresses => [{{127, 0, 0, 1}, Port}]}]),
    ?NODE:wait_until(failed, fun() -> ?ENGINE:engine(A, failure, [B]) =/= none end, 10_000),
    ?assertEqual([], ?NODE:apply(A, fun ?MODULE:known_atoms/1, [Names])),
    ?assertEqual({failed, {rejected, not_partisan}}, ?ENGINE:engine(A, failure, [B])),
    ?assertEqual([], ?ENGINE:events(A)),
    true = unlink(Impostor),
    true = exit(Impostor, kill).

impostor(Listen, Packets) ->
    {ok, Socket} = gen_tcp:accept(Listen),
    _ = [gen_tcp:send(Socket, Packet) || Packet <- Packets],
    impostor(Listen, Packets).

%% Helpers that run in the VMs

known_atoms(Names) ->
    lists:filter(
        fun(Name) ->
            try binary_to_existing_atom(Name) of _ -> true catch error:badarg -> false end
        end, Names).

%% A process that looks how large the VM is, again and again.
watch_memory() ->
    Start = erlang:memory(total),
    spawn(fun() -> peak(Start, Start) end).

peak(Start, Peak) ->
    receive
        {From, grown} -> From ! {self(), Peak - Start}
    after 0 -> peak(Start, max(Peak, erlang:memory(total)))
    end.

grown_memory(Watcher) ->
    Watcher ! {self(), grown},
    receive {Watcher, Grown} -> Grown after ?NODE:patience(5_000) -> error(no_answer) end.
