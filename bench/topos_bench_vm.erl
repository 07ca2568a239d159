%% @doc Contestants of the link benchmarks: pairs of VMs, each VM controlled over its standard input and output, so that no
%% contestant's sockets carry the control.
-module(topos_bench_vm).

-export([available/0, start/1, start/2, stop/1, call/3, call/4, label/1, sockets/1, a_core_each/0]).
-export_type([name/0, pair/0, vm/0, place/0]).

-type name() :: {bridge, topos_engine:name()} | plain_partisan | distributed_erlang.
-type vm() :: {Controller :: pid(), node()}.
-type pair() :: #{name := name(), sender := vm(), receiver := vm()}.
%% `config': more of the bridge's configuration. `places': where the two VMs run, a command before `erl' and the address
%% it listens on.
-type options() :: #{config => map(), places => [place()]}.
-type place() :: {Command :: [string()], inet:ip4_address()}.

-define(WORK, topos_bench_node).
-define(CALL_TIMEOUT, 300_000).
-define(HERE, {[], {127, 0, 0, 1}}).

%% @doc What can run here, the reference last.
-spec available() -> [name()].
available() ->
    Engines = topos_engine:available(),
    [{bridge, Engine} || Engine <- Engines] ++ [plain_partisan || lists:member(partisan, Engines)] ++ [distributed_erlang].

-spec start(name()) -> pair().
start(Name) -> start(Name, #{}).

%% @doc Two connected nodes that have exchanged a message.
-spec start(name(), options()) -> pair().
start(Name, Options) ->
    Places = maps:get(places, Options, [?HERE, ?HERE]),
    [A, B] = Vms = [start_vm(Name, Side, Place) || {Side, Place} <- lists:zip(["a", "b"], Places)],
    ok = connect(Name, [{Vm, Ip} || {Vm, {_, Ip}} <- lists:zip(Vms, Places)], maps:get(config, Options, #{})),
    ok = call(B, start_sink, []),
    ok = call(A, warm, [Name, element(2, B)]),
    ok = call(B, await_sink, [1, 10_000]),
    #{name => Name, sender => A, receiver => B}.

-spec stop(pair()) -> ok.
stop(#{sender := {A, _}, receiver := {B, _}}) ->
    lists:foreach(fun peer:stop/1, [A, B]).

%% @doc Calls a function of `topos_bench_node' in a VM.
-spec call(vm(), atom(), [term()]) -> term().
call(Vm, Function, Args) -> call(Vm, ?WORK, Function, Args).

-spec call(vm(), module(), atom(), [term()]) -> term().
call({Controller, _}, Module, Function, Args) -> peer:call(Controller, Module, Function, Args, ?CALL_TIMEOUT).

-spec label(name()) -> string().
label({bridge, Engine}) -> lists:concat(["bridge on ", Engine]);
label(plain_partisan) -> "plain Partisan";
label(distributed_erlang) -> "Distributed Erlang".

%% @doc TCP connections between the two nodes, as the operating system lists them.
-spec sockets(pair()) -> non_neg_integer().
sockets(#{name := Name, sender := A, receiver := B}) -> call(A, connections, [Name]) + call(B, connections, [Name]).

%% @doc Places with a core each, the first two that this VM may use (Linux, `taskset').
-spec a_core_each() -> {ok, [place()]} | {error, Why :: string()}.
a_core_each() ->
    case {os:type(), os:find_executable("taskset")} of
        {{unix, linux}, Taskset} when is_list(Taskset) ->
            case allowed_cores() of
                [First, Second | _] -> {ok, [{[Taskset, "-c", integer_to_list(Core)], {127, 0, 0, 1}} || Core <- [First, Second]]};
                _ -> {error, "it needs two cores"}
            end;
        {{unix, linux}, false} ->
            {error, "it needs the program taskset"};
        _ ->
            {error, "it needs Linux"}
    end.

%% internal

%% `Cpus_allowed_list' of this process: numbers and ranges, as in "0-1,4".
-spec allowed_cores() -> [non_neg_integer()].
allowed_cores() ->
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [List]} = re:run(Status, "^Cpus_allowed_list:\\s*(\\S+)", [multiline, {capture, all_but_first, list}]),
    lists:append([
        case string:split(Part, "-") of
            [One] -> [list_to_integer(One)];
            [First, Last] -> lists:seq(list_to_integer(First), list_to_integer(Last))
        end
     || Part <- string:lexemes(List, ",")
    ]).

-spec start_vm(name(), string(), place()) -> vm().
start_vm(Name, Side, {Command, Ip}) ->
    Base = lists:concat([base(Name), "_", Side, "_", os:getpid(), "_", erlang:unique_integer([positive])]),
    Node = list_to_atom(Base ++ "@" ++ inet:ntoa(Ip)),
    Interface = lists:flatten(io_lib:format("~w", [Ip])),
    Paths = lists:append([["-pa", P] || P <- code:get_path(), filename:basename(P) =:= "ebin"]),
    Here = filename:dirname(code:which(?MODULE)),
    Distribution =
        case Name of
            distributed_erlang -> ["-name", atom_to_list(Node), "-setcookie", "bench"];
            _ -> []
        end,
    {ok, Controller, _} = started(peer:start_link(#{
        connection => standard_io,
        exec => command(Command),
        args => Distribution ++ ["-kernel", "inet_dist_use_interface", Interface, "-kernel", "logger_level", "error", "-pa", Here | Paths],
        wait_boot => 60_000
    })),
    {Controller, Node}.

-spec command([string()]) -> {file:filename(), [string()]}.
command(Command) ->
    [Program | Args] = Command ++ [os:find_executable("erl")],
    {Program, Args}.

-spec started({ok, pid()} | {ok, pid(), node()} | {error, term()}) -> {ok, pid(), node()}.
started({ok, Controller, Node}) -> {ok, Controller, Node};
started({ok, Controller}) -> {ok, Controller, nonode@nohost}.

-spec base(name()) -> string().
base({bridge, Engine}) -> "bridge_" ++ atom_to_list(Engine);
base(Name) -> atom_to_list(Name).

-spec connect(name(), [{vm(), inet:ip4_address()}], map()) -> ok.
connect(distributed_erlang, [{A, _}, {{_, Node}, _}], _) ->
    true = call(A, net_kernel, connect_node, [Node]),
    ok;
connect(plain_partisan, [{{_, NodeA} = A, IpA}, {{_, NodeB} = B, IpB}], _) ->
    _ = call(A, start_plain_partisan, [NodeA, IpA]),
    Spec = call(B, start_plain_partisan, [NodeB, IpB]),
    call(A, join_plain_partisan, [Spec]);
connect({bridge, Engine}, [{{_, NodeA} = A, IpA}, {{_, NodeB} = B, IpB}], More) ->
    Config = fun(Node, Ip) ->
        maps:merge(#{engine => Engine, cookie => <<"bench">>, node => Node, listen => [{Ip, 0}]}, More)
    end,
    {ok, _} = call(A, start_bridge, [Config(NodeA, IpA)]),
    {ok, Addresses} = call(B, start_bridge, [Config(NodeB, IpB)]),
    call(A, topos_partisan, join, [NodeB, #{addresses => Addresses, timeout => 20_000}]).
