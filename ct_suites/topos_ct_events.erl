%% @doc What a node tells its subscribers, remembered in the node, with the time of arrival.
%%
%% The collector subscribes once, to events and to `on_up' and `on_down', before anything happens, and is not linked to
%% whoever starts it. Waiting is done by the collector: it answers when the event is there, or when the time is up.
-module(topos_ct_events).

-export([start/0, stop/0, log/0, log/1, mark/0, await/3, await_all/3, calls/0]).
-export_type([kind/0, entry/0]).

-type kind() :: up | down | left | suspect | recovered | in_doubt | undeliverable | expired.
%% System time of arrival in milliseconds, as all VMs of a host share it.
-type entry() :: {Time :: integer(), {kind(), node()}}.

%% How long an answer of the collector is waited for beyond the time that it may take.
-define(ANSWER, 60_000).

%% @doc Starts the collector; the node must be started.
-spec start() -> ok.
start() ->
    Parent = self(),
    {Pid, Ref} = spawn_monitor(fun() ->
        true = register(?MODULE, self()),
        {ok, _} = topos_partisan:subscribe(),
        Self = self(),
        {ok, _} = topos_partisan:on_up(any, fun(Node) -> Self ! {called, up, Node} end),
        {ok, _} = topos_partisan:on_down(any, fun(Node) -> Self ! {called, down, Node} end),
        Parent ! {self(), subscribed},
        loop(#{log => [], calls => [], waiting => []})
    end),
    receive
        {Pid, subscribed} -> true = demonitor(Ref, [flush]), ok;
        {'DOWN', Ref, process, Pid, Reason} -> error(Reason)
    end.

-spec stop() -> ok.
stop() ->
    case whereis(?MODULE) of
        undefined -> ok;
        Pid ->
            Ref = monitor(process, Pid),
            exit(Pid, kill),
            receive {'DOWN', Ref, process, Pid, _} -> ok end
    end.

%% @doc All events so far, oldest first.
-spec log() -> [entry()].
log() -> log(0).

%% @doc The events since a mark.
-spec log(non_neg_integer()) -> [entry()].
log(Mark) -> ask({log, Mark}, ?ANSWER).

%% @doc Stands for this moment: how many events there were.
-spec mark() -> non_neg_integer().
mark() -> length(log()).

%% @doc The calls of the subscribed functions, oldest first.
-spec calls() -> [{up | down, node()}].
calls() -> ask(calls, ?ANSWER).

%% @doc Waits for an event after a mark and returns its time of arrival, or what came instead.
-spec await({kind(), node()}, Mark :: non_neg_integer(), timeout()) ->
    {ok, integer()} | {missing, [{kind(), node()}], [entry()]}.
await(Event, Mark, Timeout) ->
    case await_all([Event], Mark, Timeout) of
        {ok, [Time]} -> {ok, Time};
        Missing -> Missing
    end.

%% @doc The same for several events in any order.
-spec await_all([{kind(), node()}], Mark :: non_neg_integer(), timeout()) ->
    {ok, [integer()]} | {missing, [{kind(), node()}], [entry()]}.
await_all(Events, Mark, Timeout) ->
    ask({await, Events, Mark, Timeout}, Timeout + ?ANSWER).

%% internal

-spec ask(term(), timeout()) -> term().
ask(What, Timeout) ->
    Ref = monitor(process, ?MODULE),
    ?MODULE ! {ask, self(), Ref, What},
    receive
        {Ref, Answer} -> true = demonitor(Ref, [flush]), Answer;
        {'DOWN', Ref, process, _, Reason} -> error({no_collector, Reason})
    after Timeout -> error({collector_silent, What})
    end.

-spec loop(map()) -> no_return().
loop(#{log := Log, calls := Calls, waiting := Waiting} = State) ->
    receive
        {topos, _, Event} ->
            loop(answer(State#{log := [{os:system_time(millisecond), {element(1, Event), element(2, Event)}} | Log]}));
        {called, Edge, Node} ->
            loop(State#{calls := [{Edge, Node} | Calls]});
        {ask, From, Ref, {log, Mark}} ->
            From ! {Ref, since(Mark, Log)},
            loop(State);
        {ask, From, Ref, calls} ->
            From ! {Ref, lists:reverse(Calls)},
            loop(State);
        {ask, From, Ref, {await, Events, Mark, Timeout}} ->
            _ = erlang:send_after(Timeout, self(), {give_up, Ref}),
            loop(answer(State#{waiting := [{From, Ref, Events, Mark} | Waiting]}));
        {give_up, Ref} ->
            {Late, Rest} = lists:partition(fun({_, R, _, _}) -> R =:= Ref end, Waiting),
            [From ! {Ref, {missing, missing(Events, since(Mark, Log)), since(Mark, Log)}}
                || {From, _, Events, Mark} <- Late],
            loop(State#{waiting := Rest})
    end.

-spec answer(map()) -> map().
answer(#{log := Log, waiting := Waiting} = State) ->
    State#{waiting := [
        Waiter
     || {From, Ref, Events, Mark} = Waiter <- Waiting,
        case {missing(Events, since(Mark, Log)), since(Mark, Log)} of
            {[], Since} ->
                From ! {Ref, {ok, [element(1, lists:keyfind(Event, 2, Since)) || Event <- Events]}},
                false;
            _ -> true
        end
    ]}.

-spec missing([{kind(), node()}], [entry()]) -> [{kind(), node()}].
missing(Events, Since) -> [Event || Event <- Events, not lists:keymember(Event, 2, Since)].

-spec since(non_neg_integer(), [entry()]) -> [entry()].
since(Mark, Log) -> lists:nthtail(min(Mark, length(Log)), lists:reverse(Log)).
