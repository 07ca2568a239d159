%% @doc A process that remembers what it was sent: the sink of an engine, the destination of frames.
%%
%% It is not linked to whoever starts it, since that is a short-lived process of `peer:call/5'.
-module(topos_ct_probe).

-export([start/1, stop/1, messages/1, count/1, flush/1, await/3]).

%% @doc Starts a probe under a registered name.
-spec start(atom()) -> pid().
start(Name) ->
    {Pid, Ref} = spawn_monitor(fun() ->
        true = register(Name, self()),
        loop([], 0)
    end),
    true = erlang:demonitor(Ref, [flush]),
    ok = topos_ct_node:wait_until({registered, Name}, fun() -> whereis(Name) =:= Pid end, 5_000),
    Pid.

-spec stop(atom()) -> ok.
stop(Name) ->
    Ref = monitor(process, Name),
    exit(whereis(Name), kill),
    receive
        {'DOWN', Ref, process, _, _} -> ok
    end.

%% @doc Everything received since the start or the last flush, oldest first, with the time of arrival (system time, ms).
-spec messages(atom()) -> [{Time :: integer(), term()}].
messages(Name) -> ask(Name, messages).

-spec count(atom()) -> non_neg_integer().
count(Name) -> ask(Name, count).

%% @doc Forgets what was received, and returns it.
-spec flush(atom()) -> [{integer(), term()}].
flush(Name) -> ask(Name, flush).

%% @doc Waits for one message and returns its time of arrival.
-spec await(atom(), term(), timeout()) -> integer().
await(Name, Message, Timeout) ->
    Found = fun() -> [Time || {Time, M} <- messages(Name), M =:= Message] end,
    ok = topos_ct_node:wait_until({message, Message, got, messages(Name)}, fun() -> Found() =/= [] end, Timeout),
    hd(Found()).

%% internal

-spec loop([{integer(), term()}], non_neg_integer()) -> no_return().
loop(Messages, Count) ->
    receive
        {?MODULE, From, Ref, messages} ->
            From ! {Ref, lists:reverse(Messages)},
            loop(Messages, Count);
        {?MODULE, From, Ref, count} ->
            From ! {Ref, Count},
            loop(Messages, Count);
        {?MODULE, From, Ref, flush} ->
            From ! {Ref, lists:reverse(Messages)},
            loop([], 0);
        Message ->
            loop([{erlang:system_time(millisecond), Message} | Messages], Count + 1)
    end.

-spec ask(atom(), messages | count | flush) -> term().
ask(Name, What) ->
    Ref = monitor(process, Name),
    Name ! {?MODULE, self(), Ref, What},
    receive
        {Ref, Answer} ->
            true = erlang:demonitor(Ref, [flush]),
            Answer;
        {'DOWN', Ref, process, _, Reason} ->
            error({no_probe, Name, Reason})
    after 60_000 -> error({probe_silent, Name})
    end.
