%% @doc `make bench': messages a second through the bridge, plain Partisan and Distributed Erlang, side by side in one run.
%%
%% Each contestant is two VMs on loopback. A round is a burst: one process on the first node sends `Messages' binaries of
%% `Bytes' bytes to one registered process on the second, as fast as the contestant lets it; the clock runs from the first
%% send to the moment the receiver has the last one and has said so over the control connection. A contestant that refuses
%% (`{error, overloaded}') is asked again after yielding: that wait is part of its time. Rounds of all contestants alternate,
%% so a noisy machine hurts all of them alike; the table shows medians and the ratio of the medians.
%%
%% The control connection is the standard input and output of the VMs, so that no contestant's sockets carry it.
-module(topos_bench_send).

-export([main/1]).
%% Called on the nodes under test.
-export([start_plain_partisan/1, start_bridge/1, join_plain_partisan/1, start_sink/0, await_sink/2, burst/4, warm/2]).

-define(SINK, topos_bench_sink).

%% @doc Entry of `scripts/bench.sh': arguments are `[Rounds]'.
-spec main([string()]) -> no_return().
main(Args) ->
    Rounds = case Args of [Text] -> list_to_integer(Text); [] -> 5 end,
    Loads = [{100, 20000}, {10000, 4000}],
    Contestants = contestants(),
    io:format("~b scheduler(s), Erlang/OTP ~s, loopback; median of ~b rounds, one sender, one receiver~n",
              [erlang:system_info(schedulers_online), erlang:system_info(otp_release), Rounds]),
    Pairs = [start_pair(C) || C <- Contestants],
    try
        [run_load(Pairs, Load, Rounds) || Load <- Loads]
    after
        [peer:stop(P) || {_, A, B} <- Pairs, P <- [element(1, A), element(1, B)]]
    end,
    halt(0).

%% internal

contestants() ->
    [{bridge, E} || E <- topos_engine:available()]
        ++ [plain_partisan || lists:member(partisan, topos_engine:available())]
        ++ [distributed_erlang].

run_load(Pairs, {Bytes, Messages}, Rounds) ->
    Samples = [{Name, rate(Name, A, B, Bytes, Messages)} || _ <- lists:seq(1, Rounds), {Name, A, B} <- Pairs],
    Medians = [{Name, median([R || {N, R} <- Samples, N =:= Name])} || {Name, _, _} <- Pairs],
    Reference = proplists:get_value(distributed_erlang, Medians),
    Plain = proplists:get_value(plain_partisan, Medians),
    io:format("~nburst of ~b messages of ~b bytes~n~-28s ~14s ~20s ~18s~n",
              [Messages, Bytes, "", "messages/s", "x Distributed Erlang", "x plain Partisan"]),
    [io:format("~-28s ~14b ~20s ~18s~n", [label(Name), round(Rate), ratio(Rate, Reference), ratio(Rate, Plain)])
     || {Name, Rate} <- Medians],
    ok.

label({bridge, Engine}) -> "bridge on " ++ atom_to_list(Engine);
label(plain_partisan) -> "plain Partisan, 1 channel";
label(distributed_erlang) -> "Distributed Erlang".

ratio(_, undefined) -> "-";
ratio(Rate, Reference) -> io_lib:format("~.2f", [Rate / Reference]).

median(List) ->
    Sorted = lists:sort(List),
    lists:nth((length(Sorted) + 1) div 2, Sorted).

rate(Name, {SenderVm, _}, {ReceiverVm, ReceiverNode}, Bytes, Messages) ->
    ok = call(ReceiverVm, start_sink, []),
    Started = erlang:monotonic_time(),
    ok = call(SenderVm, burst, [Name, ReceiverNode, Bytes, Messages]),
    ok = call(ReceiverVm, await_sink, [Messages, 120000]),
    Micros = erlang:convert_time_unit(erlang:monotonic_time() - Started, native, microsecond),
    Messages * 1.0e6 / Micros.

call(Vm, Function, Args) -> peer:call(Vm, ?MODULE, Function, Args, 180000).

start_pair(distributed_erlang = Name) ->
    [A, B] = [start_vm(#{name => vm_name(Name, N), host => "127.0.0.1", longnames => true}, distribution())
              || N <- [a, b]],
    true = peer:call(element(1, A), net_kernel, connect_node, [element(2, B)]),
    warmed(Name, A, B);
start_pair(plain_partisan = Name) ->
    [{VmA, _} = A, {VmB, NodeB} = B] = [start_alone(Name, N) || N <- [a, b]],
    [_, SpecB] = [call(Vm, start_plain_partisan, [Node]) || {Vm, Node} <- [A, B]],
    ok = call(VmA, join_plain_partisan, [SpecB]),
    true = NodeB =/= VmB,
    warmed(Name, A, B);
start_pair({bridge, Engine} = Name) ->
    [{VmA, NodeA} = A, {VmB, NodeB} = B] = [start_alone(Name, N) || N <- [a, b]],
    Config = #{engine => Engine, cookie => <<"bench">>},
    {ok, _} = call(VmA, start_bridge, [Config#{node => NodeA}]),
    {ok, Addresses} = call(VmB, start_bridge, [Config#{node => NodeB}]),
    ok = peer:call(VmA, topos_partisan, join, [NodeB, #{addresses => Addresses}]),
    warmed(Name, A, B).

warmed(Name, A, {VmB, NodeB} = B) ->
    ok = call(VmB, start_sink, []),
    ok = call(element(1, A), warm, [Name, NodeB]),
    ok = call(VmB, await_sink, [1, 10000]),
    {Name, A, B}.

start_alone(Name, N) ->
    {Vm, _} = start_vm(#{}, ["-kernel", "inet_dist_use_interface", "{127,0,0,1}"]),
    {Vm, list_to_atom(vm_name(Name, N) ++ "@127.0.0.1")}.

start_vm(Options, Args) ->
    Paths = lists:append([["-pa", P] || P <- code:get_path(), filename:basename(P) =:= "ebin"]),
    Here = filename:dirname(code:which(?MODULE)),
    {ok, Vm, Node} = peer:start_link(Options#{connection => standard_io, args => Args ++ ["-kernel", "logger_level", "warning", "-pa", Here | Paths]}),
    {Vm, Node}.

distribution() -> ["-setcookie", "bench", "-kernel", "inet_dist_use_interface", "{127,0,0,1}"].

vm_name(Name, N) ->
    Base = case Name of {bridge, E} -> "bridge_" ++ atom_to_list(E); _ -> atom_to_list(Name) end,
    lists:flatten(io_lib:format("~s_~s_~s", [Base, N, os:getpid()])).

%% On the nodes under test.

-spec start_sink() -> ok.
start_sink() ->
    Parent = self(),
    Pid = spawn(fun() ->
        true = register(?SINK, self()),
        Parent ! {sink, self()},
        receive_all(0)
    end),
    receive {sink, Pid} -> ok end.

receive_all(Count) ->
    receive
        {await, From, Count} -> From ! {done, self()};
        Bin when is_binary(Bin) -> receive_all(Count + 1)
    end.

%% The sink answers when it has exactly as many messages as are waited for: selective receive takes `await' only then.
-spec await_sink(pos_integer(), timeout()) -> ok | {error, timeout}.
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

-spec burst(term(), node(), pos_integer(), pos_integer()) -> ok.
burst(Name, Node, Bytes, Messages) ->
    send_many(send_fun(Name, Node), binary:copy(<<"x">>, Bytes), Messages).

send_many(_, _, 0) -> ok;
send_many(Send, Payload, N) ->
    case Send(Payload) of
        {error, {overloaded, _}} -> erlang:yield(), send_many(Send, Payload, N);
        Sent when Sent =:= ok; Sent =:= Payload -> send_many(Send, Payload, N - 1)
    end.

send_fun({bridge, _}, Node) -> fun(P) -> topos_partisan:send(Node, ?SINK, P) end;
send_fun(plain_partisan, Node) -> fun(P) -> partisan:forward_message(Node, ?SINK, P, #{}) end;
send_fun(distributed_erlang, Node) -> fun(P) -> {?SINK, Node} ! P end.

%% One message through, so that connections exist before the clock runs.
-spec warm(term(), node()) -> ok.
warm(Name, Node) ->
    Deadline = erlang:monotonic_time(millisecond) + 10000,
    warm(send_fun(Name, Node), <<"warm">>, Deadline).

warm(Send, Payload, Deadline) ->
    case Send(Payload) of
        Sent when Sent =:= ok; Sent =:= Payload -> ok;
        {error, _} = Error ->
            case erlang:monotonic_time(millisecond) > Deadline of
                true -> Error;
                false -> timer:sleep(20), warm(Send, Payload, Deadline)
            end
    end.

-spec start_bridge(map()) -> {ok, [topos_engine:address()]}.
start_bridge(Config) ->
    {ok, _} = application:ensure_all_started(topos_partisan),
    {ok, _} = topos_partisan:start(Config),
    #{addresses := Addresses} = topos_partisan:cluster(),
    {ok, Addresses}.

-spec start_plain_partisan(node()) -> map().
start_plain_partisan(Node) ->
    ok = application:load(partisan),
    [ok = application:set_env(partisan, Key, Value)
     || {Key, Value} <- [
            {name, Node},
            {listen_addrs, [#{ip => {127, 0, 0, 1}, port => free_port()}]},
            {peer_service_manager, partisan_pluggable_peer_service_manager},
            {channels, #{undefined => #{parallelism => 1, monotonic => false, compression => false}}},
            {parallelism, 1},
            {connection_jitter, 0}
        ]],
    {ok, _} = application:ensure_all_started(partisan),
    partisan:node_spec().

free_port() ->
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    Port.

-spec join_plain_partisan(map()) -> ok.
join_plain_partisan(Spec) -> partisan_peer_service:join(Spec).
