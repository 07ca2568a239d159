%% @doc What the switch suite does inside the VMs of nodes: streams that go on until they are stopped.
-module(topos_ct_switch).

-export([start_streams/3, stop_streams/0, arrived/1]).

%% @doc Sends 1, 2, 3, ... to the sink on each node, one number every so many milliseconds, until {@link stop_streams/0}.
-spec start_streams([node()], Sink :: atom(), Interval :: pos_integer()) -> ok.
start_streams(Nodes, Sink, Interval) ->
    %% The VM may have been used by a case that failed.
    _ = whereis(?MODULE) =/= undefined andalso stop_streams(),
    Self = self(),
    Pid = spawn(fun() ->
        true = register(?MODULE, self()),
        Senders = [{Node, spawn_monitor(fun() -> stream(Node, Sink, Interval, 1, 0) end)} || Node <- Nodes],
        Self ! {started, self()},
        receive {stop, From, Ref} -> From ! {Ref, [{Node, stopped(Sender)} || {Node, Sender} <- Senders]} end
    end),
    receive {started, Pid} -> ok end.

%% @doc How many numbers each node was sent, and how often one had to be offered again.
-spec stop_streams() -> [{node(), {Count :: non_neg_integer(), Refused :: non_neg_integer()} | {failed, term()}}].
stop_streams() ->
    Ref = make_ref(),
    ?MODULE ! {stop, self(), Ref},
    receive {Ref, Counts} -> Counts end.

%% @doc The numbers that a sink got, and the longest time between two of them in milliseconds.
-spec arrived(atom()) -> {[term()], Stall :: non_neg_integer()}.
arrived(Sink) ->
    {Times, Numbers} = lists:unzip(topos_ct_probe:messages(Sink)),
    {Numbers, lists:max([0 | gaps(Times)])}.

%% internal

-spec stopped({pid(), reference()}) -> {non_neg_integer(), non_neg_integer()} | {failed, term()}.
stopped({Pid, Ref}) ->
    Pid ! stop,
    receive
        {'DOWN', Ref, process, Pid, {sent, Counts}} -> Counts;
        {'DOWN', Ref, process, Pid, Reason} -> {failed, Reason}
    end.

-spec stream(node(), atom(), pos_integer(), pos_integer(), non_neg_integer()) -> no_return().
stream(Node, Sink, Interval, Number, Refused) ->
    case topos_partisan:send(Node, Sink, Number, #{wait => 1_000, key => Sink}) of
        ok ->
            receive stop -> exit({sent, {Number, Refused}})
            after Interval -> stream(Node, Sink, Interval, Number + 1, Refused)
            end;
        {error, {Reason, _}} when Reason =:= overloaded; Reason =:= not_connected; Reason =:= no_route ->
            receive after Interval -> stream(Node, Sink, Interval, Number, Refused + 1) end
    end.

-spec gaps([integer()]) -> [integer()].
gaps([A | [B | _] = Rest]) -> [B - A | gaps(Rest)];
gaps(_) -> [].
