%% @doc A pool of VMs, used by one test case after the other: a VM takes a second of a busy core to start.
%%
%% A case takes VMs and gives them back with their node stopped. A VM that was killed is simply not given back. All of
%% them end with the process that opened the pool closing it, or with the controlling VM.
-module(topos_ct_pool).

-export([open/0, close/0, take/1, give/1]).

-define(NODE, topos_ct_node).

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
