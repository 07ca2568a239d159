%% @doc Sending a message to a peer: the path that every message takes, without a call to any process.
%%
%% The caller encodes the message, takes room in the lane's queue (two atomic counters) and puts it in the lane's buffer, or hands it to
%% the lane's process.
-module(topos_lane).

-include("topos_frame.hrl").
-include("topos_lane.hrl").

-export([send/4, new_room/0, new_room/1, close_room/1, finish_room/1, release_room/3, has_room/2, left/2, queue/1]).
-export([overtaking/1, passed/2, outcome/3]).
-export([failure/3, encode/1, not_reached/2, too_large/2]).
-export_type([destination/0, options/0, room/0]).

%% The counters of a lane, and the buffer of those that have one.
-type room() :: {atomics:atomics_ref(), topos_lane_buffer:t() | none}.

%% A kind of destination (`topos_frame.hrl') and what it means to its kind.
-type destination() :: {byte(), binary()}.
%% See `topos_partisan:send/4'. `failures', for modules of the link: an alias that gets `{Alias, Result}' if the message is
%% not delivered (`topos_lane_out:result()').
-type options() :: #{
    channel => atom(), key => term(), wait => non_neg_integer(), ack => boolean(), timeout => pos_integer(),
    failures => reference()
}.
-type deadline() :: none | {after_ms, pos_integer()} | integer().
%% The room of a lane that takes no more: no sender can ever fill it, and every caller sees that. What callers that were
%% refused give back, and what the lane still finishes, takes it below this value, but never to a half of it.
-define(CLOSED, (1 bsl 60)).
-define(COPIED_BYTES, 1_024).
-define(IS_CLOSED(Messages), (Messages >= ?CLOSED div 2)).

%% @doc Sends to a destination on a node, this one included. For guarantees and errors see `topos_partisan:send/4'.
-spec send(node(), destination(), term(), options()) -> ok | {error, topos_error:t()}.
send(Node, Destination, Message, Options) ->
    try
        send(topos_local:hot(), Node, Destination, Message, Options)
    catch
        Class:Reason:Stack ->
            %% Without a node its tables and processes are missing, perhaps since a moment ago. So they are where one of Partisan's own
            %% managers is the node.
            case topos_local:is_started() of
                true -> erlang:raise(Class, Reason, Stack);
                false -> topos_native_send:send(Node, Destination, Message, Options)
            end
    end.

%% @doc Closes a room: `closed' if it was, else how many messages were in it.
-spec close_room(room()) -> closed | non_neg_integer().
close_room({Counters, _}) ->
    case atomics:exchange(Counters, 1, ?CLOSED) of
        N when ?IS_CLOSED(N) -> closed;
        N -> max(N, 0)
    end.

%% @doc A room: messages and bytes in the queue, what `topos_lane_meter' shows (slots 3 to 5), how many messages were in
%% it when its lane began to be finished, and how many large ones hold up their flow.
-spec new_room() -> room().
new_room() -> {atomics:new(7, []), none}.

%% @doc The room of a lane of such a channel. Where messages expire or give way to newer ones, the lane's process has to see them while
%% they wait; everywhere else they wait in a buffer.
-spec new_room(topos_local:channel()) -> room().
new_room(#{monotonic := false, expiry := 0}) ->
    {atomics:new(7, []), topos_lane_buffer:new(?TOPOS_LANE_BATCH, ?TOPOS_LANE_BATCH_BYTES)};
new_room(_) ->
    new_room().

%% @doc How many of the messages that were in a room when it was closed have not been released since. Never too few.
-spec left(room(), non_neg_integer()) -> integer().
left({Counters, _}, AtClosing) -> AtClosing + atomics:get(Counters, 1) - ?CLOSED.

%% @doc Messages and bytes in a room; of one that is closed, those that are still to be finished.
-spec queue(room()) -> {non_neg_integer(), non_neg_integer()}.
queue({Counters, _} = Room) ->
    Messages = case atomics:get(Counters, 1) of
        N when ?IS_CLOSED(N) -> left(Room, atomics:get(Counters, 6));
        N -> N
    end,
    {max(0, Messages), max(0, atomics:get(Counters, 2))}.

%% @doc Closes the room of a lane that finishes what it has: as {@link close_room/1}.
-spec finish_room(room()) -> closed | non_neg_integer().
finish_room({Counters, _} = Room) ->
    case close_room(Room) of
        closed -> closed;
        Count -> ok = atomics:put(Counters, 6, Count), Count
    end.

-spec release_room(room(), non_neg_integer(), non_neg_integer()) -> ok.
release_room({Counters, _}, Messages, Bytes) ->
    ok = atomics:sub(Counters, 1, Messages),
    atomics:sub(Counters, 2, Bytes).

%% @doc Whose messages may overtake one that is larger than a batch: anybody's; those of other flows, that is of
%% another key, or process, and receiver; or nobody's, since each stream ends with what was lost, or what waits is
%% looked at all the time.
-spec overtaking(topos_local:channel()) -> anybody | other_flows | nobody.
overtaking(#{delivery := at_least_once, order := none}) -> anybody;
overtaking(#{delivery := at_least_once, monotonic := false, expiry := 0}) -> other_flows;
overtaking(_) -> nobody.

%% @doc So many large messages hold up their flow no more.
-spec passed(room(), pos_integer()) -> ok.
passed({Counters, _}, Count) -> atomics:sub(Counters, 7, Count).

%% @doc Whether those who wait for room are told that there is some: when a quarter of the queue is free. With less, a sender
%% that is faster than its peer would wait before each message, and each would cost two switches between processes. A monotonic
%% channel has one message a key and may stay almost full for good, so there any room is enough.
-spec has_room(room(), topos_local:channel()) -> boolean().
has_room({Room, _}, #{max_queue_messages := MaxMessages, max_queue_bytes := MaxBytes, monotonic := true}) ->
    atomics:get(Room, 1) < MaxMessages andalso atomics:get(Room, 2) < MaxBytes;
has_room({Room, _}, #{max_queue_messages := MaxMessages, max_queue_bytes := MaxBytes, monotonic := false}) ->
    atomics:get(Room, 1) =< MaxMessages * 3 div 4 andalso atomics:get(Room, 2) =< MaxBytes * 3 div 4.

%% @doc The error for a record that the peer reported as not delivered. The limits of the peer are its own: a reason is one byte,
%% and those of this node are no news of them.
-spec failure(byte(), node(), destination()) -> topos_error:t().
failure(?TOPOS_UNDELIVERED_NO_PROCESS, Node, Destination) ->
    topos_error:new(no_such_process, #{node => Node, target => target(Destination)});
failure(?TOPOS_UNDELIVERED_ATOMS, _Node, _) ->
    topos_error:new(too_many_atoms, #{node => topos_local:config(node)});
failure(?TOPOS_UNDELIVERED_FULL, Node, {?TOPOS_DEST_REQUEST, _}) ->
    %% It serves as many requests as it may.
    topos_error:new(overloaded, #{node => Node, channel => control});
failure(?TOPOS_UNDELIVERED_FULL, Node, _) ->
    topos_error:new(inbox_full, #{node => Node});
failure(?TOPOS_UNDELIVERED_NO_HANDLER, Node, {?TOPOS_DEST_REQUEST, Service}) ->
    topos_error:new(no_such_service, #{node => Node, service => Service});
failure(?TOPOS_UNDELIVERED_NO_HANDLER, Node, {Kind, _}) ->
    topos_error:new(no_such_service, #{node => Node, service => {destination_kind, Kind}});
failure(Reason, Node, Destination) ->
    topos_error:new(bad_message, #{
        node => topos_local:config(node), at => Node, target => target(Destination), why => {reason, Reason}
    }).

%% internal

-spec send(topos_local:hot(), node(), destination(), term(), options()) -> ok | {error, topos_error:t()}.
send(#{node := Node, max_message_bytes := Max}, Node, Destination, Message, _Options) ->
    %% The same cap as for a peer, so that a program does not depend on where its peer happens to run.
    case erlang:external_size(Message) of
        Size when Size > Max -> too_large(Size, Max);
        _ -> local(Destination, Message)
    end;
send(#{max_message_bytes := Max} = Hot, Node, {Kind, Name} = Destination, Message, Options) ->
    case encode(Message) of
        {Size, _} when Size > Max ->
            too_large(Size, Max);
        {Size, Encoded} ->
            case ets:lookup(topos_peers, Node) of
                [{_, Status, _, _}] when Status =:= up; Status =:= suspect ->
                    Item = #topos_item{
                        piece = topos_frame:record(Kind, Name, Encoded, Size), bytes = 2 + byte_size(Name) + Size
                    },
                    on_channel(Hot, Node, Destination, Item, Options);
                [{_, Status, _, _}] ->
                    {error, not_reached(Node, Status)};
                [] ->
                    {error, topos_error:new(unknown_node, #{node => Node})}
            end
    end.

%% @doc The error for a peer that is neither up nor suspect.
-spec not_reached(node(), topos_peer_core:status()) -> topos_error:t().
not_reached(Node, Status) ->
    case topos_local:config(topology) =:= full_mesh orelse topos_relay:route(Node) =/= error of
        true -> topos_error:new(not_connected, #{node => Node, status => Status});
        false -> topos_error:new(no_route, #{node => Node, status => Status})
    end.

%% @doc The error for a message above `limits.max_message_bytes'.
-spec too_large(pos_integer(), pos_integer()) -> {error, topos_error:t()}.
too_large(Size, Max) -> {error, topos_error:new(message_too_large, #{size => Size, limit => Max})}.

-spec local(destination(), term()) -> ok | {error, topos_error:t()}.
local({Kind, Name} = Destination, Message) ->
    Node = topos_local:config(node),
    case topos_delivery:deliver_here(Kind, {Node, topos_local:incarnation()}, Name, Message) of
        ok -> ok;
        {error, Reason} -> {error, failure(Reason, Node, Destination)}
    end.

%% @doc In external term format, and its size. A binary is not copied, here or on the way to the engine; nor are the large
%% binaries in another large term.
-spec encode(term()) -> {pos_integer(), iodata()}.
encode(Message) when is_binary(Message) ->
    Size = byte_size(Message),
    {6 + Size, [<<131, 109, Size:32>>, Message]};
encode(Message) ->
    %% One copy of a small term costs less than taking it apart.
    case erlang:external_size(Message) of
        Small when Small =< ?COPIED_BYTES ->
            Encoded = term_to_binary(Message),
            {byte_size(Encoded), Encoded};
        _ ->
            Encoded = term_to_iovec(Message),
            {iolist_size(Encoded), Encoded}
    end.

-spec on_channel(topos_local:hot(), node(), destination(), #topos_item{}, options()) -> ok | {error, topos_error:t()}.
on_channel(#{channels := Channels}, Node, {_, Name}, Item, Options) ->
    Channel = maps:get(channel, Options, data),
    case Channels of
        #{Channel := #{parallelism := 1, monotonic := false} = Settings} ->
            in_lane(Settings, {Node, Channel, 0}, Item, deadline(Options), Options);
        #{Channel := #{parallelism := Lanes, monotonic := Monotonic, order := Order} = Settings} ->
            Key = maps:get(key, Options, self()),
            Index = case Lanes of 1 -> 0; _ -> index(Order, Key, Name, Lanes) end,
            %% Only a key that the caller gave says that a newer message may take the place of an older one.
            Newest = case Monotonic of true when is_map_key(key, Options) -> {Key, Name}; _ -> undefined end,
            in_lane(Settings, {Node, Channel, Index}, Item#topos_item{key = Newest}, deadline(Options), Options);
        _ ->
            {error, topos_error:new(no_such_channel, #{channel => Channel, known => lists:sort(maps:keys(Channels))})}
    end.

%% The clock is read by those that have to wait: most do not.
-spec deadline(options()) -> deadline().
deadline(#{wait := Wait}) when Wait > 0 -> {after_ms, Wait};
deadline(_) -> none.

-spec until({after_ms, pos_integer()} | integer()) -> integer().
until({after_ms, Wait}) -> now_ms() + Wait;
until(At) -> At.

-spec index(key | pair | none, term(), binary(), pos_integer()) -> topos_engine:lane().
index(key, Key, Name, Lanes) -> erlang:phash2({Key, Name}, Lanes);
index(pair, _, Name, Lanes) -> erlang:phash2({self(), Name}, Lanes);
index(none, _, _, Lanes) -> erlang:phash2(erlang:unique_integer(), Lanes).

-spec in_lane(topos_local:channel(), topos_lanes:key(), #topos_item{}, deadline(), options()) ->
    ok | {error, topos_error:t()}.
in_lane(#{generation := Generation} = Settings, {Node, Channel, _} = Key, #topos_item{bytes = Bytes} = Item, Deadline, Options) ->
    case topos_lanes:sender(Key, Generation) of
        {Pid, Room} ->
            case take_room(Settings, Room, Bytes) of
                ok ->
                    InFlow = in_flow(overtaking(Settings), Settings, Room, Item, Options),
                    Handed = case Options of
                        #{ack := true} -> acknowledged(Pid, Room, Node, InFlow, Options);
                        #{failures := Ref} -> hand_over(Room, Pid, InFlow#topos_item{notify = {failures, Ref}});
                        _ -> hand_over(Room, Pid, InFlow)
                    end,
                    case Handed of
                        %% Since a moment ago.
                        closed -> changed(Generation, Node, Channel, Item, Deadline, Options);
                        Result -> Result
                    end;
                closed ->
                    changed(Generation, Node, Channel, Item, Deadline, Options);
                full when Deadline =/= none ->
                    At = until(Deadline),
                    case await_room(Pid, At) of
                        room -> in_lane(Settings, Key, Item, At, Options);
                        %% There may be a little room.
                        timeout -> in_lane(Settings, Key, Item, none, Options)
                    end;
                full ->
                    overloaded(Node, Channel)
            end;
        stale ->
            changed(Generation, Node, Channel, Item, Deadline, Options);
        busy ->
            overloaded(Node, Channel)
    end.

%% The flow of an item, where that matters: of a large one, and of what comes while one is in the lane. Whoever sent a
%% large message, or knows of it, finds it counted until the last of its pieces is in a batch; what somebody else
%% sends at the same time has no place before or after it.
-spec in_flow(anybody | other_flows | nobody, topos_local:channel(), room(), #topos_item{}, options()) -> #topos_item{}.
in_flow(other_flows, #{order := Order}, {Counters, _}, #topos_item{bytes = Bytes} = Item, Options) when
    Bytes > ?TOPOS_LANE_BATCH_BYTES
->
    ok = atomics:add(Counters, 7, 1),
    Item#topos_item{flow = flow(Order, Item, Options)};
in_flow(other_flows, #{order := Order}, {Counters, _}, Item, Options) ->
    case atomics:get(Counters, 7) of
        0 -> Item;
        _ -> Item#topos_item{flow = flow(Order, Item, Options)}
    end;
in_flow(_, _, _, Item, _) ->
    Item.

%% Two flows of one number keep a common order.
-spec flow(key | pair, #topos_item{}, options()) -> topos_lane_out:flow().
flow(Order, #topos_item{piece = Piece}, Options) ->
    {_, Name} = topos_frame:destination(Piece),
    Key = case Order of key -> maps:get(key, Options, self()); pair -> self() end,
    erlang:phash2({Key, Name}).

%% The lane takes no more: because its channel was changed, then the message goes by the new settings; or because the peer
%% is gone.
-spec changed(integer(), node(), atom(), #topos_item{}, deadline(), options()) -> ok | {error, topos_error:t()}.
changed(Generation, Node, Channel, #topos_item{piece = Piece} = Item, Deadline, Options) ->
    case topos_local:channel(Channel) of
        {ok, #{generation := Generation}} ->
            {error, topos_error:new(not_connected, #{node => Node, status => down})};
        _ ->
            Left = case is_integer(Deadline) of true -> Options#{wait => max(0, Deadline - now_ms())}; false -> Options end,
            on_channel(topos_local:hot(), Node, topos_frame:destination(Piece), Item#topos_item{key = undefined}, Left)
    end.

-spec overloaded(node(), atom()) -> {error, topos_error:t()}.
overloaded(Node, Channel) ->
    ok = topos_local:count(overloaded),
    ok = topos_channel_stats:bump(Node, Channel, overloaded, 1),
    {error, topos_error:new(overloaded, #{node => Node, channel => Channel})}.

%% Into the buffer of the lane if it has one; else to its process.
-spec hand_over(room(), pid(), #topos_item{}) -> ok | closed.
hand_over({_, none}, Pid, Item) ->
    Pid ! Item,
    ok;
hand_over({_, Buffer}, Pid, #topos_item{piece = Piece, bytes = Bytes, notify = undefined, flow = none}) when
    Bytes =< ?TOPOS_LANE_COPIED_BYTES
->
    topos_lane_buffer:push(Buffer, Pid, Piece);
hand_over({_, Buffer}, Pid, #topos_item{bytes = Bytes} = Item) ->
    topos_lane_buffer:push_item(Buffer, Pid, Item, Bytes).

-spec take_room(topos_local:channel(), room(), pos_integer()) -> ok | full | closed.
take_room(#{max_queue_messages := MaxMessages, max_queue_bytes := MaxBytes}, {Counters, _} = Room, Bytes) ->
    Messages = atomics:add_get(Counters, 1, 1),
    Held = atomics:add_get(Counters, 2, Bytes),
    %% One message always fits an empty queue, whatever the two limits are.
    case Messages =< MaxMessages andalso (Held =< MaxBytes orelse Messages =:= 1) of
        true ->
            ok;
        false ->
            ok = release_room(Room, 1, Bytes),
            case ?IS_CLOSED(Messages) of true -> closed; false -> full end
    end.

%% The sender tells when there is room; several callers may then race for it.
-spec await_room(pid(), integer()) -> room | timeout.
await_room(Pid, Deadline) ->
    Ref = monitor(process, Pid, [{alias, reply_demonitor}]),
    Pid ! {topos_room, Ref},
    receive
        {Ref, room} -> room;
        {'DOWN', Ref, process, _, _} -> room
    after max(0, Deadline - now_ms()) ->
        _ = demonitor(Ref, [flush]),
        receive {Ref, room} -> room after 0 -> timeout end
    end.

-spec acknowledged(pid(), room(), node(), #topos_item{}, options()) -> ok | closed | {error, topos_error:t()}.
acknowledged(Pid, Room, Node, #topos_item{piece = Piece} = Item, Options) ->
    Destination = topos_frame:destination(Piece),
    #{call := Default} = topos_local:config(timeouts),
    Timeout = maps:get(timeout, Options, Default),
    Ref = monitor(process, Pid, [{alias, reply_demonitor}]),
    case hand_over(Room, Pid, Item#topos_item{notify = Ref}) of
        ok ->
            told(Ref, {Node, Destination}, Timeout);
        closed ->
            _ = demonitor(Ref, [flush]),
            closed
    end.

-spec told(reference(), {node(), destination()}, pos_integer()) -> ok | {error, topos_error:t()}.
told(Ref, {Node, Destination}, Timeout) ->
    receive
        {Ref, Result} -> outcome(Result, Node, Destination);
        {'DOWN', Ref, process, _, _} -> outcome(in_doubt, Node, Destination)
    after Timeout ->
        _ = demonitor(Ref, [flush]),
        receive
            {Ref, Result} -> outcome(Result, Node, Destination)
        after 0 ->
            {error, topos_error:new(timeout, #{operation => send, timeout => Timeout, node => Node})}
        end
    end.

-spec outcome(topos_lane_out:result(), node(), destination()) -> ok | {error, topos_error:t()}.
outcome(ok, _, _) -> ok;
outcome({failed, Reason}, Node, Destination) -> {error, failure(Reason, Node, Destination)};
outcome(expired, Node, _) -> {error, topos_error:new(expired, #{node => Node})};
outcome(Result, Node, _) -> {error, topos_error:new(Result, #{node => Node})}.

-spec target(destination()) -> term().
target({?TOPOS_DEST_NAME, Name}) -> Name;
target({Kind, Bytes}) -> {destination_kind, Kind, Bytes}.

-spec now_ms() -> integer().
now_ms() -> erlang:monotonic_time(millisecond).
