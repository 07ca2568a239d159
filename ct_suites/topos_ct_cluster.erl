%% @doc Clusters for the suites: nodes of the bridge in VMs of their own.
%%
%% A member is a VM of `topos_ct_node' with the configuration its node was started with. A VM is used again for the next
%% cluster: a node that was stopped must leave nothing behind that hinders the next.
-module(topos_ct_cluster).

-export([vm/2, start_node/3, start_node/4, stop_node/1, join/2, join_all/1, join_all/2, name/1, config/3, quick/0, addresses/1, call/3,
    port/1]).
-export([start_here/1, stop_here/0, agreed/2, statuses/1, mark/1, marks/1, await/4, await_all/4, together/2, median/1,
    spread/1]).
-export_type([member/0]).

-type member() :: #{vm := topos_ct_node:t(), name := node(), config := map()}.

-define(NODE, topos_ct_node).

%% @doc A VM, its name free for any node.
-spec vm(atom() | string(), [string()]) -> topos_ct_node:t().
vm(Base, Args) -> ?NODE:start(?NODE:name(Base), Args).

%% @doc The configuration of a node. A VM that is killed is told by its connections, soon; silence has to last, for the operating
%% system lets a VM wait that is as well as any. What is about silence configures {@link quick/0}.
-spec config(topos_engine:name(), node(), map()) -> map().
config(Engine, Name, Extra) ->
    maps:merge(
        #{
            node => Name, engine => Engine, cluster => <<"suite">>, cookie => <<"suite">>,
            listen => [{{127, 0, 0, 1}, 0}],
            fault_detection => #{echo_interval => 100, suspect_after => 1_500, down_after => 10_000}
        },
        Extra
    ).

%% @doc A fault detection that soon gives up who is silent.
-spec quick() -> map().
quick() -> #{echo_interval => 100, suspect_after => 500, down_after => 3_000}.

%% @doc Starts a node in a VM, with a collector of events.
-spec start_node(topos_ct_node:t(), topos_engine:name(), node()) -> member().
start_node(Vm, Engine, Name) -> start_node(Vm, Engine, Name, #{}).

-spec start_node(topos_ct_node:t(), topos_engine:name(), node(), map()) -> member().
start_node(Vm, Engine, Name, Extra) ->
    Config = config(Engine, Name, Extra),
    case ?NODE:call(Vm, ?MODULE, start_here, [Config]) of
        {ok, Name} -> #{vm => Vm, name => Name, config => Config};
        {error, Error} -> error({not_started, Name, Error})
    end.

%% @doc Runs in the VM of the node.
-spec start_here(map()) -> {ok, node()} | {error, topos_error:t()}.
start_here(Config) ->
    case topos_partisan:start(Config) of
        {ok, Name} -> ok = topos_ct_events:start(), {ok, Name};
        Error -> Error
    end.

-spec stop_node(member()) -> ok.
stop_node(#{vm := Vm}) -> ?NODE:call(Vm, ?MODULE, stop_here, []).

-spec stop_here() -> ok.
stop_here() ->
    ok = topos_ct_events:stop(),
    case topos_partisan:stop() of
        ok -> ok;
        {error, {not_started, _}} -> ok
    end,
    case node() of
        nonode@nohost -> ok;
        Running -> error({still_distributed, Running})
    end.

%% @doc `Member' joins the cluster of `Contact'.
-spec join(member(), Contact :: member()) -> ok | {error, topos_error:t()}.
join(Member, Contact) ->
    call(Member, join, [name(Contact), #{addresses => addresses(Contact)}]).

%% @doc All but the first join the first, at once; when this returns, every join has.
-spec join_all([member()]) -> [ok | {error, topos_error:t()}].
join_all(Members) -> join_all(Members, #{}).

-spec join_all([member()], #{timeout => pos_integer()}) -> [ok | {error, topos_error:t()}].
join_all([First | Others], Options) ->
    Addresses = addresses(First),
    Timeout = ?NODE:patience(0) + maps:get(timeout, Options, 0),
    together(fun(#{vm := Vm}) -> ?NODE:call(Vm, topos_partisan, join, [name(First), Options#{addresses => Addresses}], Timeout) end, Others).

-spec name(member()) -> node().
name(#{name := Name}) -> Name.

-spec addresses(member()) -> [topos_engine:address()].
addresses(Member) -> maps:get(addresses, call(Member, cluster, [])).

-spec port(member()) -> inet:port_number().
port(Member) -> [{_, Port} | _] = addresses(Member), Port.

%% @doc Calls a function of `topos_partisan' in the node.
-spec call(member(), atom(), [term()]) -> term().
call(#{vm := Vm}, Function, Args) -> ?NODE:call(Vm, topos_partisan, Function, Args, 120_000).

%% @doc Status by name, this node's view of all.
-spec statuses(member()) -> #{node() => topos_partisan:status()}.
statuses(Member) ->
    maps:from_list([{Node, Status} || #{node := Node, status := Status} <- call(Member, members, [])]).

%% @doc Whether a member sees exactly those members, all up.
-spec agreed(member(), [member()]) -> boolean().
agreed(Member, Members) ->
    statuses(Member) =:= maps:from_list([{name(M), up} || M <- Members]).

-spec mark(member()) -> non_neg_integer().
mark(#{vm := Vm}) -> ?NODE:call(Vm, topos_ct_events, mark, []).

-spec marks([member()]) -> [{member(), non_neg_integer()}].
marks(Members) -> [{Member, mark(Member)} || Member <- Members].

%% @doc Waits until an event arrived at a member after the mark; its time of arrival. Fails the test with what came.
-spec await(member(), {topos_ct_events:kind(), node()}, non_neg_integer(), timeout()) -> integer().
await(Member, Event, Mark, Timeout) ->
    [Time] = await_all(Member, [Event], Mark, Timeout),
    Time.

-spec await_all(member(), [{topos_ct_events:kind(), node()}], non_neg_integer(), timeout()) -> [integer()].
await_all(#{vm := Vm, name := Name}, Events, Mark, Timeout) ->
    Patience = ?NODE:patience(Timeout),
    case ?NODE:call(Vm, topos_ct_events, await_all, [Events, Mark, Patience], 2 * Patience) of
        {ok, Times} -> Times;
        {missing, Missing, Log} -> error({not_within, Patience, {at, Name}, {missing, Missing}, {came, Log}})
    end.

%% @doc Runs a function on each element at the same time; an exception in one is raised here.
-spec together(fun((A) -> B), [A]) -> [B].
together(Fun, List) ->
    Workers = [spawn_monitor(fun() -> exit({done, Fun(Element)}) end) || Element <- List],
    [
        receive
            {'DOWN', Ref, process, Pid, {done, Result}} -> Result;
            {'DOWN', Ref, process, Pid, Reason} -> error(Reason)
        end
     || {Pid, Ref} <- Workers
    ].

-spec median([number(), ...]) -> number().
median(Numbers) -> lists:nth(length(Numbers) div 2 + 1, lists:sort(Numbers)).

%% @doc `median 12 ms, max 40 ms (of 7)'.
-spec spread([integer()]) -> string().
spread(Numbers) ->
    lists:flatten(io_lib:format("median ~b ms, max ~b ms (of ~b)",
        [median(Numbers), lists:max(Numbers), length(Numbers)])).
