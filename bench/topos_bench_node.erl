%% @doc What the benchmarks run inside the VMs they compare.
-module(topos_bench_node).

%% The contestants.
-export([start_plain_partisan/2, start_bridge/1, join_plain_partisan/1, connections/1, warm/2]).
%% Bursts.
-export([start_sink/0, await_sink/2, burst/5, burst/6]).
%% Latency.
-export([acknowledged/2, start_echo/2, stop_echo/1, ping/5, start_bulk/4, stop_bulk/1, serve/0, calls/4, echo/1, handle_request/2]).

-define(SINK, topos_bench_sink).
-define(ECHO, topos_bench_echo).
-define(PONG, topos_bench_pong).
-define(SERVICE, topos_bench_service).
%% How long a burst waits for room in a full lane before it asks again.
-define(WAIT, 1_000).

-type name() :: topos_bench_vm:name().

-spec start_bridge(map()) -> {ok, [topos_engine:address()]}.
start_bridge(Config) ->
    {ok, _} = application:ensure_all_started(topos_partisan),
    {ok, _} = topos_partisan:start(Config),
    #{addresses := Addresses} = topos_partisan:cluster(),
    {ok, Addresses}.

%% @doc Partisan by itself, one channel of one connection.
-spec start_plain_partisan(node(), inet:ip4_address()) -> map().
start_plain_partisan(Node, Ip) ->
    ok = application:load(partisan),
    lists:foreach(
        fun({Key, Value}) -> ok = application:set_env(partisan, Key, Value) end,
        [
            {name, Node},
            {listen_addrs, [#{ip => Ip, port => free_port(Ip)}]},
            {peer_service_manager, partisan_pluggable_peer_service_manager},
            {channels, #{undefined => #{parallelism => 1, monotonic => false, compression => false}}},
            {parallelism, 1},
            {connection_jitter, 0}
        ]
    ),
    {ok, _} = application:ensure_all_started(partisan),
    partisan:node_spec().

-spec join_plain_partisan(map()) -> ok.
join_plain_partisan(Spec) -> partisan_peer_service:join(Spec).

%% @doc Connections that this node counts as its own.
-spec connections(name()) -> non_neg_integer().
connections({bridge, partisan}) -> lists:sum([Count || {_, _, Count} <- topos_engine_partisan:connections()]);
connections(plain_partisan) -> length(partisan_peer_connections:connections());
%% One for both directions: counted by the node with the greater name.
connections(_) -> length([Node || Node <- nodes(connected), Node < node()]).

%% @doc One message through, so that connections exist before the clock runs.
-spec warm(name(), node()) -> ok | {error, term()}.
warm(Name, Node) ->
    Deadline = erlang:monotonic_time(millisecond) + 10_000,
    warm(send_fun(Name, Node, data), <<"warm">>, Deadline).

-spec warm(fun((term()) -> term()), binary(), integer()) -> ok | {error, term()}.
warm(Send, Payload, Deadline) ->
    case Send(Payload) of
        {error, _} = Error ->
            case erlang:monotonic_time(millisecond) > Deadline of
                true -> Error;
                false -> receive after 20 -> warm(Send, Payload, Deadline) end
            end;
        _ ->
            ok
    end.

%% Bursts

%% @doc A registered process that counts binaries.
-spec start_sink() -> ok.
start_sink() ->
    Parent = self(),
    Pid = spawn(fun() ->
        true = register(?SINK, self()),
        Parent ! {sink, self()},
        receive_all(0)
    end),
    receive {sink, Pid} -> ok end.

-spec receive_all(non_neg_integer()) -> term().
receive_all(Count) ->
    receive
        {await, From, Count} -> From ! {done, self()};
        Bin when is_binary(Bin) -> receive_all(Count + 1)
    end.

%% @doc The sink answers when it has exactly as many messages as are waited for: selective receive takes `await' only then.
-spec await_sink(non_neg_integer(), timeout()) -> ok | {error, timeout}.
await_sink(Count, Timeout) ->
    Sink = whereis(?SINK),
    Ref = monitor(process, Sink),
    Sink ! {await, self(), Count},
    receive
        {done, Sink} -> receive {'DOWN', Ref, process, Sink, _} -> ok end
    after Timeout ->
        exit(Sink, kill),
        {error, timeout}
    end.

-spec burst(name(), node(), pos_integer(), pos_integer(), pos_integer()) -> ok.
burst(Name, Node, Bytes, Messages, Senders) -> burst(Name, Node, Bytes, Messages, Senders, [data]).

%% @doc So many messages, shared by so many processes, which take the channels in turn; returns when all are accepted.
-spec burst(name(), node(), pos_integer(), pos_integer(), pos_integer(), [atom(), ...]) -> ok.
burst(Name, Node, Bytes, Messages, Senders, Channels) ->
    Share = Messages div Senders,
    Shares = [Share + Messages rem Senders | lists:duplicate(Senders - 1, Share)],
    Workers = [
        begin
            Channel = lists:nth(Index rem length(Channels) + 1, Channels),
            spawn_monitor(fun() -> send_many(send_fun(Name, Node, Channel), payload(Bytes), Count) end)
        end
     || {Index, Count} <- lists:zip(lists:seq(0, Senders - 1), Shares)
    ],
    lists:foreach(fun({Pid, Ref}) -> receive {'DOWN', Ref, process, Pid, normal} -> ok end end, Workers).

-spec payload(pos_integer()) -> binary().
payload(Bytes) -> binary:copy(<<"x">>, Bytes).

-spec send_many(fun((term()) -> term()), binary(), non_neg_integer()) -> ok.
send_many(_, _, 0) ->
    ok;
send_many(Send, Payload, N) ->
    case Send(Payload) of
        {error, {overloaded, _}} -> send_many(Send, Payload, N);
        Sent when Sent =:= ok; Sent =:= Payload -> send_many(Send, Payload, N - 1)
    end.

-spec send_fun(name(), node(), atom()) -> fun((term()) -> term()).
send_fun(Name, Node, Channel) -> send_fun(Name, Node, Channel, ?SINK).

-spec send_fun(name(), node(), atom(), atom()) -> fun((term()) -> term()).
send_fun({bridge, _}, Node, Channel, To) ->
    fun(P) -> topos_partisan:send(Node, To, P, #{channel => Channel, wait => ?WAIT}) end;
send_fun(plain_partisan, Node, _, To) ->
    fun(P) -> partisan:forward_message(Node, To, P, #{}) end;
send_fun(distributed_erlang, Node, _, To) ->
    fun(P) -> {To, Node} ! P end.

%% Latency under load

%% @doc Times of small messages until they are known to be delivered, in microseconds.
-spec acknowledged(node(), pos_integer()) -> [pos_integer()].
acknowledged(Node, Count) ->
    [
        begin
            Started = erlang:monotonic_time(microsecond),
            {error, {no_such_process, _}} = topos_partisan:send(Node, topos_bench_nobody, ping, #{channel => control, ack => true}),
            erlang:monotonic_time(microsecond) - Started
        end
     || _ <- lists:seq(1, Count)
    ].

%% @doc Answers pings of a node on the channel they came on, and swallows bulk.
-spec start_echo(name(), atom()) -> ok.
start_echo(Name, Channel) ->
    Parent = self(),
    Pid = spawn(fun() ->
        true = register(?ECHO, self()),
        Parent ! {echo, self()},
        echoing(Name, Channel)
    end),
    ok = receive {echo, Pid} -> ok end,
    start_sink().

%% @doc When it returns, the sink has so much of the bulk and both are gone.
-spec stop_echo(non_neg_integer()) -> ok.
stop_echo(Sent) ->
    ok = await_sink(Sent, 60_000),
    Ref = monitor(process, ?ECHO),
    exit(whereis(?ECHO), kill),
    receive {'DOWN', Ref, process, _, _} -> ok end.

-spec echoing(name(), atom()) -> no_return().
echoing(Name, Channel) ->
    receive
        {ping, Node, Number} -> accepted(send_fun(Name, Node, Channel, ?PONG), {pong, Number})
    end,
    echoing(Name, Channel).

%% @doc Round-trip times of small messages, one in flight, in microseconds: as many as come within the time.
-spec ping(name(), {Here :: node(), There :: node()}, atom(), pos_integer(), pos_integer()) -> [pos_integer()].
ping(Name, {Here, There}, Channel, Count, Milliseconds) ->
    Deadline = erlang:monotonic_time(millisecond) + Milliseconds,
    {Pid, Ref} = spawn_monitor(fun() ->
        true = register(?PONG, self()),
        exit({times, pings(send_fun(Name, There, Channel, ?ECHO), Here, Count, Deadline, [])})
    end),
    receive {'DOWN', Ref, process, Pid, {times, Times}} -> Times end.

-spec pings(fun((term()) -> term()), node(), non_neg_integer(), integer(), [pos_integer()]) -> [pos_integer()].
pings(_, _, 0, _, Times) ->
    Times;
pings(Send, Here, Number, Deadline, Times) ->
    case erlang:monotonic_time(millisecond) > Deadline of
        true ->
            Times;
        false ->
            Started = erlang:monotonic_time(microsecond),
            ok = accepted(Send, {ping, Here, Number}),
            receive {pong, Number} -> ok end,
            pings(Send, Here, Number - 1, Deadline, [erlang:monotonic_time(microsecond) - Started | Times])
    end.

-spec accepted(fun((term()) -> term()), term()) -> ok.
accepted(Send, Message) ->
    case Send(Message) of
        {error, {overloaded, _}} -> accepted(Send, Message);
        Sent when Sent =:= ok; Sent =:= Message -> ok
    end.

%% @doc Sends messages of so many bytes as fast as they are accepted until it is stopped.
-spec start_bulk(name(), node(), atom(), pos_integer()) -> pid().
start_bulk(Name, Node, Channel, Bytes) ->
    Send = send_fun(Name, Node, Channel),
    Payload = payload(Bytes),
    spawn(fun() -> bulk(Send, Payload, 0) end).

-spec bulk(fun((term()) -> term()), binary(), non_neg_integer()) -> {stopped, pid(), non_neg_integer()}.
bulk(Send, Payload, Sent) ->
    receive
        {stop, From} -> From ! {stopped, self(), Sent}
    after 0 ->
        ok = accepted(Send, Payload),
        bulk(Send, Payload, Sent + 1)
    end.

%% @doc How many it sent.
-spec stop_bulk(pid()) -> non_neg_integer().
stop_bulk(Pid) ->
    Pid ! {stop, self()},
    receive {stopped, Pid, Sent} -> Sent end.

%% Requests

-spec serve() -> ok.
serve() -> topos_request:serve(?SERVICE, ?MODULE).

-spec handle_request(node(), term()) -> {ok, term()}.
handle_request(_From, Request) -> {ok, echo(Request)}.

-spec echo(term()) -> term().
echo(Term) -> Term.

%% @doc Times of requests answered with what they carried, one in flight, in microseconds.
-spec calls(name(), node(), pos_integer(), pos_integer()) -> [pos_integer()].
calls(Name, Node, Bytes, Count) ->
    Payload = payload(Bytes),
    Call = call_fun(Name, Node, Payload),
    [
        begin
            Started = erlang:monotonic_time(microsecond),
            Payload = Call(),
            erlang:monotonic_time(microsecond) - Started
        end
     || _ <- lists:seq(1, Count)
    ].

-spec call_fun(name(), node(), binary()) -> fun(() -> binary()).
call_fun({bridge, _}, Node, Payload) ->
    fun() -> {ok, Answer} = topos_request:call(Node, ?SERVICE, Payload), Answer end;
call_fun(distributed_erlang, Node, Payload) ->
    fun() -> erpc:call(Node, ?MODULE, echo, [Payload]) end.

%% internal

-spec free_port(inet:ip4_address()) -> inet:port_number().
free_port(Ip) ->
    {ok, Socket} = gen_tcp:listen(0, [{ip, Ip}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    Port.
