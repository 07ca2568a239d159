%% @doc What the channel suite does inside the VMs of nodes.
-module(topos_ct_channel).

-include("topos_frame.hrl").

-export([stream/5, mixed/5, burst/5, updates/4, in_order/2, suspend_receivers/1, resume_receivers/1, last_values/1, kill_connections/1]).
-export([waiting_batches/1, nested_defaults/4, spawn_sender/3]).
-export([bytes_sent/0, texts/5, same_texts/3, send_bombs/2, binary_memory/0]).
-export([fill/4, await_health/3, watch_telemetry/0, telemetry_events/0, telemetry_event/4]).

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

%% @doc The same with messages of which each tenth is larger than a batch, and each twentieth crosses in pieces.
-spec mixed(node(), atom(), atom(), pos_integer(), pos_integer()) -> ok.
mixed(Node, Sink, Channel, Senders, Count) ->
    Large = binary:copy(<<7>>, 1_200_000),
    Whole = binary:copy(<<7>>, 600_000),
    Send = fun(Key, N) ->
        Content = case N rem 10 of 0 when N rem 20 =:= 0 -> Large; 0 -> Whole; _ -> <<N>> end,
        ok = topos_partisan:send(Node, Sink, {Key, N, Content}, #{channel => Channel, key => Key, wait => 30_000})
    end,
    Workers = [spawn_monitor(fun() -> [Send(Key, N) || N <- lists:seq(1, Count)] end) || Key <- lists:seq(1, Senders)],
    [receive {'DOWN', Ref, process, Pid, Reason} -> normal = Reason end || {Pid, Ref} <- Workers],
    ok.

%% @doc One process sends Count messages of Size bytes, without keys.
-spec burst(node(), atom(), atom(), pos_integer(), pos_integer()) -> ok.
burst(Node, Sink, Channel, Count, Size) ->
    Bytes = binary:copy(<<7>>, Size),
    [ok = topos_partisan:send(Node, Sink, {N, Bytes}, #{channel => Channel, wait => 60_000}) || N <- lists:seq(1, Count)],
    ok.

%% @doc What all TCP sockets of this VM have sent, in bytes.
-spec bytes_sent() -> non_neg_integer().
bytes_sent() ->
    lists:sum([
        N || Port <- erlang:ports(), erlang:port_info(Port, name) =:= {name, "tcp_inet"},
             {ok, [{send_oct, N}]} <- [inet:getstat(Port, [send_oct])]
    ]).

%% @doc One process sends a text with a number so often, and waits until all were delivered.
-spec texts(node(), atom(), atom(), pos_integer(), binary()) -> ok.
texts(Node, Sink, Channel, Count, Text) ->
    [ok = topos_partisan:send(Node, Sink, {N, Text}, #{channel => Channel, wait => 60_000}) || N <- lists:seq(1, Count - 1)],
    topos_partisan:send(Node, Sink, {Count, Text}, #{channel => Channel, wait => 60_000, ack => true}).

%% @doc Whether a sink received the messages of {@link texts/5} in order, and once more.
-spec same_texts(atom(), pos_integer(), binary()) -> ok | wrong.
same_texts(Sink, Count, Text) ->
    Once = [{N, Text} || N <- lists:seq(1, Count)],
    case [Message || {_, Message} <- topos_ct_probe:messages(Sink)] =:= Once ++ Once of
        true -> ok;
        false -> wrong
    end.

%% @doc Sends batches as the next of a lane that break the promises of a compressed one; how many.
-spec send_bombs(node(), atom()) -> pos_integer().
send_bombs(Node, Channel) ->
    [{_, _, Incarnation, Token}] = ets:lookup(topos_peers, Node),
    #{name := Name, engine := Engine} = topos_local:hot(),
    Header = #{
        kind => ?TOPOS_FRAME_BATCH, source => Name, incarnation => topos_local:incarnation(), destination => Incarnation, token => Token
    },
    %% A stream above that of the lane, which goes on with its own when this one comes to nothing.
    Bombs = [
        [<<1_000:32>>, "no zlib data"],
        [<<100_000_000:32>>, zlib:compress(<<>>)],
        [<<2_000_000:32>>, zlib:compress(<<0:800_000_000>>)]
    ],
    lists:foreach(
        fun(Bomb) ->
            Batch = topos_frame:batch({atom_to_binary(Channel), 0}, {1 bsl 62, 0}, 1, 0, {packed, Bomb}),
            ok = Engine:send(Node, Channel, 0, ?TOPOS_DEST_PROCESS_LANES, topos_frame:encode(Header, Batch))
        end, Bombs),
    length(Bombs).

-spec binary_memory() -> non_neg_integer().
binary_memory() -> erlang:memory(binary).

%% @doc Count updates of Keys keys, the value of each its number; the last value of each key.
-spec updates(node(), atom(), pos_integer(), pos_integer()) -> #{integer() => integer()}.
updates(Node, Sink, Keys, Count) ->
    lists:foldl(
        fun(N, Last) ->
            Key = N rem Keys,
            ok = topos_partisan:send(Node, Sink, {Key, N}, #{channel => state_sync, key => Key, wait => 60_000}),
            Last#{Key => N}
        end, #{}, lists:seq(1, Count)).

-spec last_values(atom()) -> #{integer() => integer()}.
last_values(Sink) -> lists:foldl(fun({_, {Key, N}}, Acc) -> Acc#{Key => N} end, #{}, topos_ct_probe:messages(Sink)).

%% @doc Whether a sink received 1..Count of each key, once each and in order.
-spec in_order(atom(), pos_integer()) -> ok | {wrong, term()}.
in_order(Sink, Count) ->
    ByKey = lists:foldr(
        fun({_, Message}, Acc) -> maps:update_with(element(1, Message), fun(L) -> [element(2, Message) | L] end, [element(2, Message)], Acc) end,
        #{}, topos_ct_probe:messages(Sink)),
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

%% @doc Sends in scopes with a default channel; each message waits for the one before.
-spec nested_defaults(node(), atom(), atom(), atom()) -> ok.
nested_defaults(Node, Sink, Outer, Inner) ->
    Send = fun(Message, Options) -> ok = topos_partisan:send(Node, Sink, Message, Options#{ack => true}) end,
    topos_channel:with_default(Outer, fun() ->
        Send(outer_first, #{}),
        topos_channel:with_default(Inner, fun() -> Send(inner_first, #{}) end),
        try topos_channel:with_default(Inner, fun() -> Send(inner_of_a_crash, #{}), throw(on_purpose) end)
        catch throw:on_purpose -> ok
        end,
        Send(outer_named_bulk, #{channel => bulk}),
        {ok, Sent} = topos_partisan:broadcast(Sink, outer_broadcast, #{ack => true}),
        [ok] = maps:values(Sent)
    end),
    Send(data_after, #{}).

%% @doc Starts a process on the other node that sends two messages back, with a default channel of its node.
-spec spawn_sender(node(), atom(), atom()) -> {ok, topos_process:ref()} | {error, topos_error:t()}.
spawn_sender(Node, Sink, Channel) ->
    Self = topos_partisan:node(),
    {ok, Probe} = topos_process:ref(whereis(Sink)),
    topos_partisan:spawn(Node, fun() ->
        ok = topos_partisan:send(Self, Sink, by_name),
        ok = topos_process:send(Probe, to_the_process)
    end, #{channel => Channel}).

%% @doc Batches of a channel that came and were not taken.
-spec waiting_batches(binary()) -> non_neg_integer().
waiting_batches(Channel) ->
    lists:sum([N || Pid <- receivers(Channel), {message_queue_len, N} <- [process_info(Pid, message_queue_len)]]).

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

%% @doc Keeps the events that the application telemetry is told from now on; `false' where there is no such application.
-spec watch_telemetry() -> boolean().
watch_telemetry() ->
    case application:ensure_all_started(telemetry) of
        {ok, _} ->
            ok = case whereis(?MODULE) of
                undefined ->
                    _ = topos_ct_probe:start(?MODULE),
                    Events = [[topos, channel, Event] || Event <- [sample, blocked, unblocked, expired]],
                    apply(telemetry, attach_many, [?MODULE, Events, fun ?MODULE:telemetry_event/4, []]);
                _ ->
                    _ = topos_ct_probe:flush(?MODULE),
                    ok
            end,
            true;
        {error, {telemetry, _}} ->
            false
    end.

-spec telemetry_event([atom()], map(), map(), []) -> ok.
telemetry_event([topos, channel, Event], Measurements, Metadata, []) ->
    ?MODULE ! {Event, Measurements, Metadata},
    ok.

-spec telemetry_events() -> [{atom(), map(), map()}].
telemetry_events() -> [Event || {_, Event} <- topos_ct_probe:messages(?MODULE)].

%% internal

-spec send_all(node(), atom(), atom(), pos_integer(), [pos_integer()]) -> ok.
send_all(Node, Sink, Channel, Key, Numbers) ->
    lists:foreach(
        fun(N) ->
            ok = topos_partisan:send(Node, Sink, {Key, N}, #{channel => Channel, key => Key, wait => 60_000}),
            N rem 64 =:= 0 andalso erlang:yield()
        end, Numbers).

%% What differs first, and how many.
-spec wrong([integer()], [integer()]) -> term().
wrong(Numbers, Expected) ->
    #{lost => lists:sublist(Expected -- Numbers, 5), twice => lists:sublist(Numbers -- Expected, 5),
      received => length(Numbers)}.

-spec receivers(binary()) -> [pid()].
receivers(Channel) -> [Pid || {{_, _, {Name, _}}, Pid} <- ets:tab2list(topos_lane_receivers), Name =:= Channel].
