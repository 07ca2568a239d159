%% @doc What the channel suite does inside the VMs of nodes.
-module(topos_ct_channel).

-export([stream/5, burst/5, updates/4, in_order/2, suspend_receivers/1, resume_receivers/1, last_values/1, kill_connections/1]).
-export([fill/4, await_health/3]).

%% @doc `Senders' processes send `Count' numbered messages each, with a key of their own, while `Changes' (a fun of this VM)
%% runs; answers when all were accepted.
-spec stream(node(), atom(), atom(), pos_integer(), pos_integer()) -> ok.
stream(Node, Sink, Channel, Senders, Count) ->
    Workers = [
        spawn_monitor(fun() -> send_all(Node, Sink, Channel, Key, lists:seq(1, Count)) end)
     || Key <- lists:seq(1, Senders)
    ],
    [receive {'DOWN', Ref, process, Pid, Reason} -> normal = Reason end || {Pid, Ref} <- Workers],
    ok.

%% @doc One process sends Count messages of Size bytes, without keys.
-spec burst(node(), atom(), atom(), pos_integer(), pos_integer()) -> ok.
burst(Node, Sink, Channel, Count, Size) ->
    Bytes = binary:copy(<<7>>, Size),
    [ok = topos_partisan:send(Node, Sink, {N, Bytes}, #{channel => Channel, wait => 20_000}) || N <- lists:seq(1, Count)],
    ok.

%% @doc Count updates of Keys keys, the value of each its number; the last value of each key.
-spec updates(node(), atom(), pos_integer(), pos_integer()) -> #{integer() => integer()}.
updates(Node, Sink, Keys, Count) ->
    lists:foldl(
        fun(N, Last) ->
            Key = N rem Keys,
            ok = topos_partisan:send(Node, Sink, {Key, N}, #{channel => state_sync, key => Key, wait => 20_000}),
            Last#{Key => N}
        end, #{}, lists:seq(1, Count)).

-spec last_values(atom()) -> #{integer() => integer()}.
last_values(Sink) -> lists:foldl(fun({_, {Key, N}}, Acc) -> Acc#{Key => N} end, #{}, topos_ct_probe:messages(Sink)).

%% @doc Whether a sink received 1..Count of each key, once each and in order.
-spec in_order(atom(), pos_integer()) -> ok | {wrong, term()}.
in_order(Sink, Count) ->
    ByKey = lists:foldr(fun({_, {Key, N}}, Acc) -> maps:update_with(Key, fun(L) -> [N | L] end, [N], Acc) end, #{},
        topos_ct_probe:messages(Sink)),
    Expected = lists:seq(1, Count),
    case [{Key, wrong(Numbers, Expected)} || {Key, Numbers} <- maps:to_list(ByKey), Numbers =/= Expected] of
        [] -> ok;
        Wrong -> {wrong, Wrong}
    end.

%% @doc Sends Count messages of Size bytes and does not wait for room; how many were accepted.
-spec fill(node(), atom(), map(), pos_integer()) -> non_neg_integer().
fill(Node, Sink, Options, Count) ->
    length([ok || N <- lists:seq(1, Count), topos_partisan:send(Node, Sink, N, Options) =:= ok]).

%% @doc The receiving lanes of a channel stop taking batches: a receiver that hangs.
-spec suspend_receivers(binary()) -> pos_integer().
suspend_receivers(Channel) -> length([ok = sys:suspend(Pid) || Pid <- receivers(Channel)]).

-spec resume_receivers(binary()) -> pos_integer().
resume_receivers(Channel) -> length([ok = sys:resume(Pid) || Pid <- receivers(Channel)]).

%% @doc Closes the transport to a peer, which the engine then builds again.
-spec kill_connections(node()) -> ok.
kill_connections(Node) ->
    case topos_partisan:cluster() of
        #{engine := otp} -> _ = erlang:disconnect_node(Node), ok;
        #{engine := partisan} ->
            lists:foreach(fun({Pid, Of, _}) -> Of =:= Node andalso exit(Pid, kill) end, topos_partisan_api:connections())
    end.

%% @doc Waits until a channel to a node has a status; for how many ms it did.
-spec await_health({node(), atom()}, atom(), timeout()) -> {ok, non_neg_integer()} | {error, term()}.
await_health(Of, Status, Timeout) ->
    Start = erlang:monotonic_time(millisecond),
    Look = fun() ->
        {ok, #{channels := Channels}} = topos_channel:health(),
        [S || #{node := N, channel := C, status := S} <- Channels, {N, C} =:= Of] =:= [Status]
    end,
    try topos_ct_node:wait_until({Of, Status}, Look, Timeout) of
        ok -> {ok, topos_ct_node:elapsed(Start)}
    catch
        error:Reason -> {error, {Reason, topos_channel:health()}}
    end.

%% internal

-spec send_all(node(), atom(), atom(), pos_integer(), [pos_integer()]) -> ok.
send_all(Node, Sink, Channel, Key, Numbers) ->
    lists:foreach(
        fun(N) ->
            ok = topos_partisan:send(Node, Sink, {Key, N}, #{channel => Channel, key => Key, wait => 30_000}),
            N rem 64 =:= 0 andalso erlang:yield()
        end, Numbers).

%% What differs first, and how many.
-spec wrong([integer()], [integer()]) -> term().
wrong(Numbers, Expected) ->
    #{lost => lists:sublist(Expected -- Numbers, 5), twice => lists:sublist(Numbers -- Expected, 5),
      received => length(Numbers)}.

-spec receivers(binary()) -> [pid()].
receivers(Channel) -> [Pid || {{_, _, {Name, _}}, Pid} <- ets:tab2list(topos_lane_receivers), Name =:= Channel].
