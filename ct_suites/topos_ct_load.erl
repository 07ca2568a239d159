%% @doc Long loads for the soak suite, run inside the VMs of nodes: senders that number what they send until they are
%% stopped, a sink that checks the numbers as they come and keeps nothing, and something that cuts connections.
-module(topos_ct_load).

-export([start_sink/1, sink/1, start_senders/5, senders/1, stop_senders/1, start_cutter/2, stop_cutter/1, sever/2]).
-export([memory/0, start_waiters/3, waiters/1]).
-export_type([seen/0, sent/0]).
-export([cuts/1]).

%% By sender: the last number, and what was not its successor, the first 10.
-type seen() :: #{Sender :: term() => {Last :: non_neg_integer(), Wrong :: [{Expected :: pos_integer(), Came :: pos_integer()}]}}.
%% By sender: how many were accepted, and the errors by reason.
-type sent() :: #{Sender :: term() => {Accepted :: non_neg_integer(), #{atom() => pos_integer()}}}.

%% Between two tries where a message was refused, in milliseconds.
-define(RETRY, 5).
-define(ANSWER, 60_000).

-spec start_sink(atom()) -> ok.
start_sink(Name) ->
    Parent = self(),
    {Pid, Ref} = spawn_monitor(fun() ->
        true = register(Name, self()),
        Parent ! {self(), registered},
        sinking(#{})
    end),
    receive
        {Pid, registered} -> true = demonitor(Ref, [flush]), ok;
        {'DOWN', Ref, process, Pid, Reason} -> error({no_sink, Name, Reason})
    end.

%% @doc What a sink has seen so far.
-spec sink(atom()) -> seen().
sink(Name) -> ask(whereis(Name), seen).

%% @doc Processes that send messages of `Bytes' bytes to a sink as fast as they are accepted; where one is refused, the
%% sender tries the same again, as a program would. Answers a process to ask and to stop them all. Beside the options of
%% `topos_partisan:send/4' there is `every': milliseconds between two messages of a sender.
-spec start_senders(node(), atom(), pos_integer(), [term()], #{atom() => term()}) -> pid().
start_senders(Node, Sink, Bytes, Names, Options) ->
    To = fun(Name) -> {Node, Sink, Name, <<0:(8 * Bytes)>>, maps:get(every, Options, 0), maps:remove(every, Options)} end,
    spawn(fun() ->
        Senders = [{Name, spawn_link(fun() -> sending(To(Name), 1, #{}, 0) end)} || Name <- Names],
        supervising(Senders)
    end).

-spec senders(pid()) -> sent().
senders(Pid) -> ask(Pid, sent).

%% @doc Stops them; what they sent in all.
-spec stop_senders(pid()) -> sent().
stop_senders(Pid) -> ask(Pid, stop).

%% @doc Ends all connections of this node every so many milliseconds.
-spec start_cutter(topos_engine:name(), pos_integer()) -> pid().
start_cutter(Engine, Every) -> spawn(fun() -> cutting(Engine, Every, now_ms() + Every, 0) end).

%% @doc How often it has cut so far.
-spec cuts(pid()) -> non_neg_integer().
cuts(Pid) -> ask(Pid, cuts).

%% @doc Ends it; how often it cut.
-spec stop_cutter(pid()) -> non_neg_integer().
stop_cutter(Pid) -> ask(Pid, stop).

%% @doc Ends the connections of this node to some nodes.
-spec sever(topos_engine:name(), [node()]) -> ok.
sever(partisan, Nodes) ->
    lists:foreach(fun(Pid) -> exit(Pid, kill) end, [Pid || {Pid, Node, _} <- topos_partisan_api:connections(), lists:member(Node, Nodes)]);
sever(otp, Nodes) ->
    lists:foreach(fun erlang:disconnect_node/1, Nodes).

-spec memory() -> non_neg_integer().
memory() ->
    true = erlang:garbage_collect(),
    erlang:memory(total).

%% @doc Processes that each send one message and wait for its acknowledgement.
-spec start_waiters(node(), atom(), pos_integer()) -> pid().
start_waiters(Node, Sink, Count) ->
    spawn(fun() ->
        Waiting = [
            spawn_monitor(fun() ->
                exit({answer, topos_partisan:send(Node, Sink, {{waiter, N}, 1, <<>>}, #{ack => true, timeout => 60_000})})
            end)
         || N <- lists:seq(1, Count)
        ],
        Answers = [receive {'DOWN', Ref, process, Pid, {answer, Answer}} -> Answer end || {Pid, Ref} <- Waiting],
        answering(Answers)
    end).

%% @doc Their answers, once all have one.
-spec waiters(pid()) -> [ok | {error, topos_error:t()}].
waiters(Pid) -> ask(Pid, answers).

%% internal

-spec ask(pid(), term()) -> term().
ask(Pid, What) ->
    Ref = monitor(process, Pid),
    Pid ! {ask, self(), Ref, What},
    receive
        {Ref, Answer} -> true = demonitor(Ref, [flush]), Answer;
        {'DOWN', Ref, process, _, Reason} -> error({gone, What, Reason})
    after ?ANSWER -> error({silent, What})
    end.

answering(Answers) ->
    receive {ask, From, Ref, answers} -> From ! {Ref, Answers} end.

sinking(Seen) ->
    receive
        {Sender, Number, _Padding} when is_integer(Number) ->
            {Last, Wrong} = maps:get(Sender, Seen, {0, []}),
            Now = case Number of
                _ when Number =:= Last + 1; length(Wrong) >= 10 -> Wrong;
                _ -> [{Last + 1, Number} | Wrong]
            end,
            sinking(Seen#{Sender => {Number, Now}});
        {ask, From, Ref, seen} ->
            From ! {Ref, Seen},
            sinking(Seen)
    end.

supervising(Senders) ->
    receive
        {ask, From, Ref, What} ->
            From ! {Ref, maps:from_list([{Name, ask(Pid, What)} || {Name, Pid} <- Senders])},
            case What of
                stop -> ok;
                sent -> supervising(Senders)
            end
    end.

%% The padding is made anew for each message, so that what is queued takes memory.
sending({Node, Sink, Name, Padding, Every, Options} = To, Number, Errors, Wait) ->
    receive
        {ask, From, Ref, What} ->
            From ! {Ref, {Number - 1, Errors}},
            case What of
                stop -> ok;
                sent -> sending(To, Number, Errors, Wait)
            end
    after Wait ->
        case topos_partisan:send(Node, Sink, {Name, Number, binary:copy(Padding)}, Options) of
            ok ->
                sending(To, Number + 1, Errors, Every);
            {error, {Reason, _}} ->
                sending(To, Number, maps:update_with(Reason, fun(N) -> N + 1 end, 1, Errors), max(?RETRY, Every))
        end
    end.

cutting(Engine, Every, Due, Cuts) ->
    receive
        {ask, From, Ref, cuts} -> From ! {Ref, Cuts}, cutting(Engine, Every, Due, Cuts);
        {ask, From, Ref, stop} -> From ! {Ref, Cuts}
    after max(0, Due - now_ms()) ->
        cutting(Engine, Every, now_ms() + Every, Cuts + cut(Engine))
    end.

now_ms() -> erlang:monotonic_time(millisecond).

%% 1 if there was anything to cut.
cut(Engine) ->
    Nodes = lists:usort([Node || {Node, _, _} <- (topos_engine:module(Engine)):connections()]),
    ok = sever(Engine, Nodes),
    min(1, length(Nodes)).
