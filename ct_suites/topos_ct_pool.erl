%% @doc A pool of VMs, used by one test case after the other: a VM takes a second of a busy core to start.
%%
%% A case takes VMs and gives them back with their node stopped. A VM that was killed is simply not given back. All of
%% them end with the process that opened the pool closing it, or with the controlling VM.
-module(topos_ct_pool).

-export([init_group/2, end_case/1]).
-export([open/0, close/0, take/1, give/1, settle/1]).

-define(NODE, topos_ct_node).

%% @doc Opens the pool for the group of an engine, which is skipped where there is no such engine. {@link close/0} ends it.
-spec init_group(topos_engine:name(), [tuple()]) -> [tuple()] | {skip, string()}.
init_group(Engine, Config) ->
    case lists:member(Engine, topos_engine:available()) of
        true -> ok = open(), [{engine, Engine} | Config];
        false -> {skip, lists:concat(["the engine ", Engine, " is not installed: Erlang does not find its application"])}
    end.

%% @doc Stops what runs in the VMs of a case, the values of its table `vms' that are VMs, and takes them back. One whose node does not
%% stop in good order fails the case, and is not used again.
-spec end_case([tuple()]) -> ok | {fail, term()}.
end_case(Config) ->
    Left = topos_ct_cluster:together(fun settle/1, [Vm || {_, #{} = Vm} <- ets:tab2list(proplists:get_value(vms, Config))]),
    ok = give([Vm || {ok, Vm} <- Left]),
    case [Why || {error, Why} <- Left] of
        [] -> ok;
        Wrong -> {fail, {left_behind, Wrong}}
    end.

-spec open() -> ok.
open() ->
    Pid = spawn(fun() -> loop([], 1) end),
    true = register(?MODULE, Pid),
    ok.

%% @doc Ends the VMs that are in the pool.
-spec close() -> ok.
close() ->
    Free = ask({take_free, all}),
    _ = topos_ct_cluster:together(fun ?NODE:stop/1, Free),
    ok = ask(stop).

%% @doc So many VMs, started where there are too few.
-spec take(non_neg_integer()) -> [?NODE:t()].
take(Count) ->
    Free = ask({take_free, Count}),
    Names = [ask(name) || _ <- lists:seq(length(Free) + 1, Count)],
    Free ++ topos_ct_cluster:together(fun(Name) -> ?NODE:start(?NODE:name(Name)) end, Names).

-spec give([?NODE:t()]) -> ok.
give(Vms) -> ask({give, Vms}).

%% @doc Stops what runs in a VM. A killed one is no error.
-spec settle(?NODE:t()) -> {ok, ?NODE:t()} | killed | {error, term()}.
settle(Vm) ->
    case ?NODE:is_alive(Vm) of
        true ->
            ok = ?NODE:resume(Vm),
            try ?NODE:call(Vm, topos_ct_cluster, stop_here, []) of
                ok -> {ok, Vm}
            catch
                Class:Reason ->
                    ok = ?NODE:kill(Vm),
                    {error, {?NODE:os_pid(Vm), Class, Reason}}
            end;
        false -> killed
    end.

%% internal

-spec ask(term()) -> term().
ask(What) ->
    Ref = monitor(process, ?MODULE),
    ?MODULE ! {ask, self(), Ref, What},
    receive
        {Ref, Answer} -> true = demonitor(Ref, [flush]), Answer;
        {'DOWN', Ref, process, _, Reason} -> error({no_pool, Reason})
    end.

-spec loop([?NODE:t()], pos_integer()) -> ok.
loop(Free, Next) ->
    receive
        {ask, From, Ref, {take_free, Count}} ->
            {Taken, Rest} = lists:split(min(Count, length(Free)), Free),
            From ! {Ref, Taken},
            loop(Rest, Next);
        {ask, From, Ref, name} ->
            From ! {Ref, "vm" ++ integer_to_list(Next)},
            loop(Free, Next + 1);
        {ask, From, Ref, {give, Vms}} ->
            From ! {Ref, ok},
            loop(Free ++ Vms, Next);
        {ask, From, Ref, stop} ->
            From ! {Ref, ok},
            ok
    end.
