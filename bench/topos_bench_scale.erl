%% @doc What a cluster costs each of its nodes, by the number of nodes: connections, writes and bytes a second while no program
%% sends anything, and memory; in a full mesh, under HyParView, and as clients of five hubs. Real VMs on this host, started and ended by this one.
-module(topos_bench_scale).

-export([main/1, probe/0]).

-define(CALL_TIMEOUT, 120_000).
%% How long a cluster may take until every node sees every other.
-define(FORMATION, 300_000).
-define(POLL, 250).
%% How long an idle cluster is watched.
-define(WATCHED, 20_000).
-define(EPMD, 4369).
-define(SIZES, [10, 20, 50]).
-define(HUBS, 5).
-define(TOPOLOGIES, [full_mesh, hyparview, client_server]).

-type vm() :: {Controller :: pid(), node()}.
-type topology() :: full_mesh | hyparview | client_server.

%% @doc Names of engines and topologies, and sizes, in any order: a table of Markdown for each engine and topology, a row for each
%% size. Without an engine the best there is, without a topology all three, without sizes 10, 20 and 50.
-spec main([string()]) -> ok.
main(Arguments) ->
    Available = topos_engine:available(),
    case chosen(Arguments, Available) of
        {Engines, Topologies, Sizes} ->
            _ = [table(Engine, Topology, or_all(Sizes, ?SIZES))
                 || Engine <- or_all(Engines, [hd(Available)]), Topology <- or_all(Topologies, ?TOPOLOGIES)],
            ok;
        {unknown, Argument} ->
            io:format(standard_error, "bench-scale: '~ts' is no engine that is installed (~0p), no topology (~0p), and no number of nodes from 2~n", [
                Argument, Available, ?TOPOLOGIES
            ]),
            halt(2)
    end.

%% @doc In a node: its connections, what they wrote since they opened, and its memory in bytes.
-spec probe() -> #{connections | writes | bytes | memory | resident := non_neg_integer()}.
probe() ->
    Sockets = [Port || Port <- erlang:ports(), erlang:port_info(Port, name) =:= {name, "tcp_inet"}],
    %% That to the port mapper is no connection of the cluster.
    Connected = [Stat || Port <- Sockets, {ok, {_, To}} <- [inet:peername(Port)], To =/= ?EPMD,
                 {ok, Stat} <- [inet:getstat(Port, [send_cnt, send_oct])]],
    Sum = fun(Key) -> lists:sum([Count || Stat <- Connected, {K, Count} <- Stat, K =:= Key]) end,
    #{connections => length(Connected), writes => Sum(send_cnt), bytes => Sum(send_oct), memory => erlang:memory(total),
      resident => resident()}.

%% internal

-spec chosen([string()], [topos_engine:name()]) -> {[topos_engine:name()], [topology()], [pos_integer()]} | {unknown, string()}.
chosen(Arguments, Available) -> chosen(Arguments, Available, {[], [], []}).

-spec chosen([string()], [topos_engine:name()], {[topos_engine:name()], [topology()], [pos_integer()]}) ->
    {[topos_engine:name()], [topology()], [pos_integer()]} | {unknown, string()}.
chosen([], _, {Engines, Topologies, Sizes}) ->
    {lists:reverse(Engines), lists:reverse(Topologies), lists:reverse(Sizes)};
chosen([Argument | Rest], Available, {Engines, Topologies, Sizes}) ->
    Named = fun(Names) -> [Name || Name <- Names, atom_to_list(Name) =:= Argument] end,
    case {Named(Available), Named(?TOPOLOGIES), string:to_integer(Argument)} of
        {[Engine], _, _} -> chosen(Rest, Available, {[Engine | Engines], Topologies, Sizes});
        {_, [Topology], _} -> chosen(Rest, Available, {Engines, [Topology | Topologies], Sizes});
        {_, _, {Size, []}} when Size > 1 -> chosen(Rest, Available, {Engines, Topologies, [Size | Sizes]});
        _ -> {unknown, Argument}
    end.

-spec or_all([A], [A]) -> [A].
or_all([], All) -> All;
or_all(Some, _) -> Some.

-spec table(topos_engine:name(), topology(), [pos_integer()]) -> ok.
table(Engine, Topology, Sizes) ->
    ok = io:format("~n~w, ~w, ~b cores~n~n", [Engine, Topology, erlang:system_info(logical_processors_available)]),
    Columns = ["nodes", "formed in s", "connections a node", "writes a node and s", "bytes a node and s",
               "memory of the VM's tables and processes, MB a node", "resident MB a node"],
    ok = io:format("| ~ts |~n|~ts~n", [lists:join(" | ", Columns), lists:duplicate(length(Columns), "---:|")]),
    lists:foreach(fun(Size) -> ok = measure(Engine, Topology, Size) end, Sizes).

-spec measure(topos_engine:name(), topology(), pos_integer()) -> ok.
measure(Engine, Topology, Size) ->
    Vms = [start(Engine, Number) || Number <- lists:seq(1, Size)],
    Started = erlang:monotonic_time(millisecond),
    ok = form(Engine, configured(Topology, Vms), Vms),
    Formed = erlang:monotonic_time(millisecond) - Started,
    Before = [call(Vm, ?MODULE, probe, []) || Vm <- Vms],
    Watched = erlang:monotonic_time(millisecond),
    %% An idle cluster has no event to wait for: the time that passes is what is measured.
    ok = timer:sleep(?WATCHED),
    After = [call(Vm, ?MODULE, probe, []) || Vm <- Vms],
    Seconds = (erlang:monotonic_time(millisecond) - Watched) / 1_000,
    Mean = fun(Key, Probes) -> lists:sum([map_get(Key, Probe) || Probe <- Probes]) / Size end,
    Rate = fun(Key) -> (Mean(Key, After) - Mean(Key, Before)) / Seconds end,
    Megabytes = fun(Key) -> Mean(Key, After) / 1_048_576 end,
    ok = io:format("| ~b | ~.1f | ~.1f | ~.1f | ~b | ~.1f | ~.1f |~n", [
        Size, Formed / 1_000, Mean(connections, After), Rate(writes), round(Rate(bytes)), Megabytes(memory), Megabytes(resident)
    ]),
    lists:foreach(fun({Controller, _}) -> peer:stop(Controller) end, Vms).

-spec start(topos_engine:name(), pos_integer()) -> vm().
start(Engine, Number) ->
    Node = list_to_atom(lists:concat(["scale_", Engine, "_", Number, "_", os:getpid(), "@127.0.0.1"])),
    Paths = lists:append([["-pa", Path] || Path <- code:get_path(), filename:basename(Path) =:= "ebin"]),
    %% Linked to this VM over their standard input: they end with it, however it ends.
    {ok, Controller} = peer_started(peer:start_link(#{
        connection => standard_io,
        args => ["+S", "1", "+sbwt", "none", "-kernel", "inet_dist_use_interface", "{127,0,0,1}", "-kernel", "logger_level", "error",
                 "-pa", filename:dirname(code:which(?MODULE)) | Paths],
        wait_boot => ?CALL_TIMEOUT
    })),
    {Controller, Node}.

-spec peer_started({ok, pid()} | {ok, pid(), node()}) -> {ok, pid()}.
peer_started({ok, Controller, _}) -> {ok, Controller};
peer_started({ok, Controller}) -> {ok, Controller}.

%% Half of a small cluster may be hubs.
-spec configured(topology(), [vm()]) -> full_mesh | map().
configured(full_mesh, _) -> full_mesh;
configured(hyparview, _) -> #{type => hyparview};
configured(client_server, Vms) -> #{type => client_server, hubs => [Node || {_, Node} <- lists:sublist(Vms, min(?HUBS, length(Vms) div 2))]}.

%% All but the first join the first, one after the other; then every node is to see every other.
-spec form(topos_engine:name(), full_mesh | map(), [vm()]) -> ok.
form(Engine, Topology, [{_, First} = Contact | Others] = Vms) ->
    {ok, Addresses} = bridge(Engine, Topology, Contact),
    lists:foreach(
        fun(Vm) ->
            {ok, _} = bridge(Engine, Topology, Vm),
            ok = call(Vm, topos_partisan, join, [First, #{addresses => Addresses, timeout => ?CALL_TIMEOUT}])
        end,
        Others
    ),
    Deadline = erlang:monotonic_time(millisecond) + ?FORMATION,
    lists:foreach(fun(Vm) -> ok = await_peers(Vm, length(Vms) - 1, Deadline) end, Vms).

-spec bridge(topos_engine:name(), full_mesh | map(), vm()) -> {ok, [topos_engine:address()]}.
bridge(Engine, Topology, {_, Node} = Vm) ->
    Config = #{
        engine => Engine, node => Node, cluster => <<"scale">>, cookie => <<"bench">>, listen => [{{127, 0, 0, 1}, 0}], topology => Topology
    },
    {ok, _} = call(Vm, topos_bench_node, start_bridge, [Config]).

-spec await_peers(vm(), non_neg_integer(), integer()) -> ok.
await_peers({_, Node} = Vm, Count, Deadline) ->
    case {length(call(Vm, topos_partisan, nodes, [])), erlang:monotonic_time(millisecond)} of
        {Count, _} -> ok;
        {Seen, Now} when Now > Deadline -> error({not_formed, Node, Seen, Count});
        _ -> ok = timer:sleep(?POLL), await_peers(Vm, Count, Deadline)
    end.

-spec call(vm(), module(), atom(), [term()]) -> term().
call({Controller, _}, Module, Function, Args) -> peer:call(Controller, Module, Function, Args, ?CALL_TIMEOUT).

%% Zero where the system does not tell.
-spec resident() -> non_neg_integer().
resident() ->
    case file:read_file("/proc/self/statm") of
        {ok, Statm} -> 4_096 * binary_to_integer(lists:nth(2, binary:split(Statm, <<" ">>, [global])));
        {error, _} -> 0
    end.
