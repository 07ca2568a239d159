%% @doc What the cluster suites do inside the VMs of nodes: streams of messages, crashes, another protocol version, and
%% the footprint that a stopped node may not change.
-module(topos_ct_stream).

-export([start_sink/1, send/3, received/1, verdict/2, crash/1, cancelled_subscription/0, calls_of_cancelled/0]).
-export([other_version/0, own_version/0, footprint/1, footprint_here/0]).

%% @doc Starts a process that keeps the numbers it is sent.
-spec start_sink(atom()) -> ok.
start_sink(Name) ->
    _ = topos_ct_probe:start(Name),
    ok.

%% @doc Sends the numbers 1..Count, in order; where the node has no room or no connection for a moment, it waits and
%% sends the same number again, as a program would. Answers how many were accepted.
-spec send(node(), atom(), pos_integer()) -> non_neg_integer().
send(Node, Sink, Count) -> send(Node, Sink, 1, Count, erlang:monotonic_time(millisecond) + 100_000).

%% @doc How many a sink received.
-spec received(atom()) -> non_neg_integer().
received(Sink) -> topos_ct_probe:count(Sink).

%% @doc Whether a sink received 1..Count, each once and in order.
-spec verdict(atom(), pos_integer()) -> in_order | {lost, [integer()]} | {wrong, [term()]}.
verdict(Sink, Count) ->
    Numbers = [Number || {_, Number} <- topos_ct_probe:messages(Sink)],
    Expected = lists:seq(1, Count),
    case Expected -- Numbers of
        [] when Numbers =:= Expected -> in_order;
        [] -> {wrong, lists:sublist(Numbers -- Expected, 10)};
        Lost -> {lost, lists:sublist(Lost, 10)}
    end.

%% @doc Kills what owns the engine's connections.
-spec crash(topos_engine:name()) -> ok.
crash(partisan) -> kill(fun topos_partisan_api:manager/0);
crash(otp) -> kill(fun() -> whereis(topos_engine_otp) end).

%% @doc Subscribes to `up' and cancels at once.
-spec cancelled_subscription() -> ok.
cancelled_subscription() ->
    Counter = counters:new(1, []),
    ok = persistent_term:put(?MODULE, Counter),
    {ok, Ref} = topos_partisan:on_up(any, fun(_) -> counters:add(Counter, 1, 1) end),
    ok = topos_partisan:cancel(Ref),
    topos_partisan:cancel(Ref).

-spec calls_of_cancelled() -> non_neg_integer().
calls_of_cancelled() -> counters:get(persistent_term:get(?MODULE), 1).

%% @doc Loads the modules that know the version of the protocol, compiled for another one.
-spec other_version() -> ok.
other_version() ->
    Source = proplists:get_value(source, topos_frame:module_info(compile)),
    Root = root(filename:dirname(Source)),
    Include = filename:join(Root, "include"),
    Dir = filename:join(os:getenv("TMPDIR", "/tmp"), "topos_other_version_" ++ os:getpid()),
    {ok, Header} = file:read_file(filename:join(Include, "topos_frame.hrl")),
    Other = re:replace(Header, "(-define\\(TOPOS_FRAME_VERSION, )1\\)", "\\g{1}99)"),
    true = iolist_to_binary(Other) =/= Header,
    ok = filelib:ensure_dir(filename:join(Dir, "x")),
    ok = file:write_file(filename:join(Dir, "topos_frame.hrl"), Other),
    [
        begin
            {ok, Module, Beam} = compile:file(filename:join([Root, "erlang", File]), [binary, {i, Dir}, {i, Include}]),
            {module, Module} = code:load_binary(Module, "other version", Beam)
        end
     || {File, _} <- versioned(Root)
    ],
    file:del_dir_r(Dir).

-spec own_version() -> ok.
own_version() ->
    Source = proplists:get_value(source, topos_local:module_info(compile)),
    [
        begin
            _ = code:purge(Module),
            {module, Module} = code:load_file(Module)
        end
     || {_, Module} <- versioned(root(filename:dirname(Source)))
    ],
    ok.

-spec versioned(file:filename()) -> [{file:filename(), module()}].
versioned(Root) ->
    [
        {File, list_to_atom(filename:basename(File, ".erl"))}
     || File <- filelib:wildcard("*/*.erl", filename:join(Root, "erlang")),
        {ok, Text} <- [file:read_file(filename:join([Root, "erlang", File]))],
        binary:match(Text, <<"?TOPOS_FRAME_VERSION">>) =/= nomatch
    ].

%% @doc What a node adds to a VM and must take away: names, listening sockets, applications, the VM's own name.
-spec footprint(topos_ct_node:t()) -> map().
footprint(Vm) -> topos_ct_node:call(Vm, ?MODULE, footprint_here, []).

-spec footprint_here() -> map().
footprint_here() ->
    #{
        %% Started on demand by OTP, and kept.
        registered => 
            lists:sort(registered()) -- [inet_gethost_native, inet_gethost_native_sup, timer_server, tls_connection_sup],
        listening => [Port || Port <- erlang:ports(), erlang:port_info(Port, name) =:= {name, "tcp_inet"},
                              inet:peername(Port) =:= {error, enotconn}],
        applications => [A || {A, _, _} <- application:which_applications(),
            lists:member(A, [partisan, topos_partisan_engine])],
        tables => [T || T <- ets:all(), is_atom(T), is_ours(atom_to_list(T))],
        node => node()
    }.

%% internal

-spec send(node(), atom(), pos_integer(), pos_integer(), integer()) -> non_neg_integer().
send(_, _, Number, Count, _) when Number > Count -> Count;
send(Node, Sink, Number, Count, Deadline) ->
    case topos_partisan:send(Node, Sink, Number, #{wait => 1_000, key => Sink}) of
        ok -> send(Node, Sink, Number + 1, Count, Deadline);
        {error, {Reason, _}} when Reason =:= overloaded; Reason =:= not_connected ->
            case erlang:monotonic_time(millisecond) > Deadline of
                true -> Number - 1;
                false -> receive after 5 -> send(Node, Sink, Number, Count, Deadline) end
            end
    end.

-spec is_ours(string()) -> boolean().
is_ours(Name) -> lists:prefix("topos_", Name) orelse lists:prefix("partisan_", Name).

-spec kill(fun(() -> pid() | undefined)) -> ok.
kill(Find) ->
    ok = topos_ct_node:wait_until(running, fun() -> is_pid(Find()) end, 5_000),
    Pid = Find(),
    Ref = monitor(process, Pid),
    exit(Pid, kill),
    receive {'DOWN', Ref, process, Pid, _} -> ok end.

-spec root(file:filename()) -> file:filename().
root("/") -> error(no_repository);
root(Dir) ->
    case filelib:is_regular(filename:join(Dir, "include/topos_frame.hrl")) of
        true -> Dir;
        false -> root(filename:dirname(Dir))
    end.
