%% @doc The network of a simulation: what the link of real nodes promises, over packets that are late, lost and doubled.
%%
%% A lane (a pair of nodes, a channel, an index) delivers in order what its channel promises (`docs/link.md',
%% `docs/channels.md'). A packet that is lost is sent again after 200 ms, then 400, up to 8 s, so loss costs time; on a
%% channel that is `at_most_once' it costs the message. What is on its way when the nodes cannot reach each other waits,
%% and goes on when they can. When the receiver's life ends, what was not acknowledged is in doubt.
-module(topos_sim_network).
-behaviour(topos_sim_scheduler).

-export([send/5, new_lanes/3, delay/1, released/2, release_next/3, resumed/3, given_up/3, forget/2, drained_at/3,
    loss/1, set_loss/2]).
-export([stats/3, health/2, round_trip/2, message_rate/2]).
-export([handle/3, happen/2, ended/4]).
-export_type([packet/0]).

%% What is sent: the message, what it is to the receiver's side, and what decides about its lane.
-type packet() :: #{
    content := topos_sim_program:content(), channel := atom(), settings := map(), key := term(), keyed := boolean(),
    limits := #{max_queue_messages := pos_integer(), atom() => term()}
}.
-type pair() :: {From :: topos_sim_world:node_id(), To :: topos_sim_world:node_id()}.
%% A channel's lanes are others after it was changed.
-type key() :: {Channel :: atom(), Generation :: non_neg_integer(), Index :: non_neg_integer()}.

-record(item, {
    arrives :: topos_sim_world:time(), sent :: topos_sim_world:time(), expires :: infinity | topos_sim_world:time(),
    key :: none | {some, term()}, order :: pos_integer(), content :: term()
}).
-record(lane, {
    %% The receiver's life that it is for.
    incarnation :: pos_integer(),
    queue = queue:new() :: queue:queue(#item{}),
    count = 0 :: non_neg_integer(),
    last = 0 :: topos_sim_world:time(),
    %% Whether an event for the first item is on its way; if not, the lane waits for the link, or for a hand.
    moving = false :: boolean(),
    %% When what was delivered lately is acknowledged.
    acknowledged = queue:new() :: queue:queue(topos_sim_world:time())
}).
-record(part, {
    loss :: float(),
    next = 1 :: pos_integer(),
    lanes = #{} :: #{pair() => #{key() => #lane{}}},
    %% How often a node's channel was changed.
    generations = #{} :: #{{topos_sim_world:node_id(), atom()} => pos_integer()},
    %% By node, peer and channel.
    counts = #{} :: #{{topos_sim_world:node_id(), topos_sim_world:node_id(), atom()} => #{atom() => term()}}
}).

-define(FIRST_RETRY, 200_000).
-define(LAST_RETRY, 8_000_000).
-define(MAX_ROUND_TRIPS, 100).

%% @doc Sends a packet to a node in its present life. `overloaded' if the lane holds as many as it may.
-spec send(topos_sim_world:node_id(), topos_sim_world:node_id(), pos_integer(), packet(), topos_sim_world:world()) ->
    {ok | overloaded, topos_sim_world:world()}.
send(From, To, Incarnation, #{channel := Channel, settings := Settings} = Packet, World) ->
    #part{next = Order, lanes = Lanes, generations = Generations} = part(World),
    Key = {Channel, maps:get({From, Channel}, Generations, 0), lane_index(Packet, Order)},
    Of = maps:get({From, To}, Lanes, #{}),
    Lane = maps:get(Key, Of, #lane{incarnation = Incarnation}),
    Replaces = is_replaced(Lane, Packet),
    case Lane#lane.count >= room(Packet) andalso not Replaces of
        true ->
            {overloaded, count(From, To, Channel, [{overloaded, 1}], World)};
        false ->
            Size = erlang:external_size(maps:get(content, Packet)),
            Counted = count(From, To, Channel, [{messages_out, 1}, {bytes_out, Size}], World),
            {Late, Retries, Twice, Drawn} = travel(Counted),
            Noted = count(From, To, Channel, [{retries, Retries} || Retries > 0] ++ [{duplicates, 1} || Twice], Drawn),
            case Settings of
                #{delivery := at_most_once} when Retries > 0 ->
                    {ok, count(From, To, Channel, [{lost, 1}], next_order(Noted))};
                _ -> {ok, queued({From, To}, Key, Lane, item(Packet, Late, Order, Lane, Noted), Replaces,
                    next_order(Noted))}
            end
    end.

%% @doc A node's channel was changed: what is sent from now on overtakes nothing that was sent before.
-spec new_lanes(topos_sim_world:node_id(), atom(), topos_sim_world:world()) -> topos_sim_world:world().
new_lanes(Node, Channel, World) ->
    #part{generations = Generations} = Part = part(World),
    Next = maps:get({Node, Channel}, Generations, 0) + 1,
    topos_sim_world:set_part(?MODULE, Part#part{generations = Generations#{{Node, Channel} => Next}}, World).

%% @doc How long a packet takes now: with the times of its losses.
-spec delay(topos_sim_world:world()) -> {topos_sim_world:time(), topos_sim_world:world()}.
delay(World) ->
    {Late, _, _, Drawn} = travel(World),
    {Late, Drawn}.

%% @doc Two nodes can reach each other again, or one is told what was held back.
-spec resumed(topos_sim_world:node_id(), topos_sim_world:node_id(), topos_sim_world:world()) -> topos_sim_world:world().
resumed(From, To, World) ->
    Of = maps:get({From, To}, (part(World))#part.lanes, #{}),
    lists:foldl(
        fun
            ({Key, #lane{moving = false, count = Count} = Lane}, W) when Count > 0 ->
                {Late, Drawn} = delay(W),
                First = topos_sim_world:now(Drawn) + Late,
                Again = (unexpired({From, To}, Key, Lane, Drawn)),
                moved({From, To}, Key, First, Again);
            (_, W) ->
                W
        end, World, lists:sort(maps:to_list(Of))).

%% @doc A node is told all that was held back for it.
-spec released(topos_sim_world:node_id(), topos_sim_world:world()) -> topos_sim_world:world().
released(To, World) ->
    From = [A || {A, B} <- lists:sort(maps:keys((part(World))#part.lanes)), B =:= To],
    lists:foldl(fun(A, W) -> resumed(A, To, W) end, World, From).

%% @doc Delivers the oldest message of one node to the other that is held back. `false' if there is none.
-spec release_next(topos_sim_world:node_id(), topos_sim_world:node_id(), topos_sim_world:world()) ->
    {boolean(), topos_sim_world:world()}.
release_next(From, To, World) ->
    Of = maps:get({From, To}, (part(World))#part.lanes, #{}),
    Firsts = [{Item#item.order, Key} || {Key, #lane{moving = false, queue = Queue, count = N}} <- maps:to_list(Of),
        N > 0,
                                        {value, Item} <- [queue:peek(Queue)]],
    case {lists:sort(Firsts), topos_sim_nodes:is_open(From, To, World)} of
        {[{_, Key} | _], true} -> {true, deliver({From, To}, Key, World)};
        _ -> {false, World}
    end.

%% @doc The receiver's life has ended: how many messages may or may not have arrived. The lanes to it are gone.
-spec given_up(topos_sim_world:node_id(), topos_sim_world:node_id(), topos_sim_world:world()) ->
    {non_neg_integer(), topos_sim_world:world()}.
given_up(From, To, World) ->
    #part{lanes = Lanes} = Part = part(World),
    case maps:take({From, To}, Lanes) of
        {Of, Rest} ->
            Cut = topos_sim_membership:cut_since(From, To, World),
            Without = topos_sim_world:set_part(?MODULE, Part#part{lanes = Rest}, World),
            lists:foldl(
                fun({{Channel, _, _}, #lane{count = Count, acknowledged = Acks, queue = Queue}}, {Sum, W}) ->
                    Doubt = Count + length([At || At <- queue:to_list(Acks), At > Cut]),
                    Told = lists:foldl(fun(Item, Acc) -> tell_doubt(Item, To, Acc) end, W, queue:to_list(Queue)),
                    {Sum + Doubt, count(From, To, Channel, [{in_doubt, Doubt}], Told)}
                end, {0, Without}, lists:sort(maps:to_list(Of)));
        error ->
            {0, World}
    end.

%% @doc A node has ended: nothing that it sent goes on.
-spec forget(topos_sim_world:node_id(), topos_sim_world:world()) -> topos_sim_world:world().
forget(Node, World) ->
    #part{lanes = Lanes} = Part = part(World),
    topos_sim_world:set_part(?MODULE, Part#part{lanes = maps:filter(fun({From, _}, _) -> From =/= Node end, Lanes)},
        World).

%% @doc When the last message from one node to the other that moves has arrived.
-spec drained_at(topos_sim_world:node_id(), topos_sim_world:node_id(), topos_sim_world:world()) ->
    topos_sim_world:time().
drained_at(From, To, World) ->
    Of = maps:get({From, To}, (part(World))#part.lanes, #{}),
    lists:max([topos_sim_world:now(World) | [Last || #lane{last = Last, moving = true} <- maps:values(Of)]]).

-spec loss(topos_sim_world:world()) -> float().
loss(World) -> (part(World))#part.loss.

-spec set_loss(float(), topos_sim_world:world()) -> topos_sim_world:world().
set_loss(Loss, World) -> topos_sim_world:set_part(?MODULE, (part(World))#part{loss = Loss}, World).

%% What was counted

%% @doc The counters of a node's channel, by peer.
-spec stats(topos_sim_world:node_id(), atom(), topos_sim_world:world()) ->
    [{topos_sim_world:node_id(), #{atom() => term()}}].
stats(Node, Channel, World) ->
    #part{counts = Counts, lanes = Lanes} = part(World),
    [
        {Peer, Row#{lanes => length(Used), queue_messages => lists:sum([N || #lane{count = N} <- Used])}}
     || {{N1, Peer, C}, Row} <- lists:sort(maps:to_list(Counts)), N1 =:= Node, C =:= Channel,
        Used <- [[Lane || {{Of, _, _}, Lane} <- maps:to_list(maps:get({Node, Peer}, Lanes, #{})), Of =:= Channel]]
    ].

%% @doc The channels that a node uses, and how many messages wait in the fullest lane of each.
-spec health(topos_sim_world:node_id(), topos_sim_world:world()) ->
    [{topos_sim_world:node_id(), atom(), non_neg_integer(), boolean()}].
health(Node, World) ->
    [
        {To, Channel, lists:max([N || {{C, _, _}, #lane{count = N}} <- maps:to_list(Of), C =:= Channel]),
         lists:any(fun({{C, _, _}, #lane{moving = Moving, count = N}}) ->
             C =:= Channel andalso not Moving andalso N > 0 end, maps:to_list(Of))}
     || {{From, To}, Of} <- lists:sort(maps:to_list((part(World))#part.lanes)), From =:= Node,
        Channel <- lists:usort([C || {C, _, _} <- maps:keys(Of)])
    ].

%% @doc The mean of a node's latest round trips in microseconds.
-spec round_trip(topos_sim_world:node_id(), topos_sim_world:world()) -> non_neg_integer().
round_trip(Node, World) ->
    case lists:append([Times || {{N, _, _}, #{round_trips := Times}} <- maps:to_list((part(World))#part.counts),
        N =:= Node]) of
        [] -> 0;
        Times -> lists:sum(Times) div length(Times)
    end.

%% @doc How many messages a second a node sent and received in the last two whole seconds and this one.
-spec message_rate(topos_sim_world:node_id(), topos_sim_world:world()) -> float().
message_rate(Node, World) ->
    Now = topos_sim_world:now(World) div 1_000_000,
    Rows = [Seconds || {{N, _, _}, #{second := Seconds}} <- maps:to_list((part(World))#part.counts), N =:= Node],
    lists:sum([Count || Seconds <- Rows, {Second, Count} <- Seconds, Second > Now - 3]) / 3.

-spec handle(term(), pid(), topos_sim_world:world()) -> no_return().
handle(Request, _, _) -> erlang:error({no_operation_of_the_network, Request}).

-spec happen({arrive, pair(), key()}, topos_sim_world:world()) -> topos_sim_world:world().
happen({arrive, {From, To} = Pair, Key}, World) ->
    case (part(World))#part.lanes of
        #{Pair := #{Key := #lane{incarnation = Incarnation} = Lane} = Of} ->
            Stands = put_lane(Pair, Key, Lane#lane{moving = false}, World),
            Arrives = topos_sim_nodes:is_open(From, To, World) andalso not topos_sim_nodes:is_held(To, World)
                andalso topos_sim_program:incarnation(To, World) =:= Incarnation,
            case Arrives of
                true ->
                    case earlier(Key, Of) of
                        [] -> arrived(Pair, Key, Stands);
                        %% It comes after them.
                        Lanes -> moved(Pair, Key, lists:max([topos_sim_world:now(World)
                            | [Last || #lane{last = Last} <- Lanes]]) + 1, Stands)
                    end;
                false ->
                    Stands
            end;
        #{} ->
            World
    end.

-spec ended(pid(), topos_sim_world:process(), topos_sim_scheduler:reason(), topos_sim_world:world()) ->
    topos_sim_world:world().
ended(_, _, _, World) -> World.

%% internal

part(World) ->
    case topos_sim_world:part(?MODULE, none, World) of
        none -> #part{loss = topos_sim_world:option(loss, World)};
        Part -> Part
    end.

next_order(World) ->
    #part{next = Order} = Part = part(World),
    topos_sim_world:set_part(?MODULE, Part#part{next = Order + 1}, World).

put_lane(Pair, Key, Lane, World) ->
    #part{lanes = Lanes} = Part = part(World),
    topos_sim_world:set_part(?MODULE, Part#part{lanes = Lanes#{Pair => (maps:get(Pair, Lanes, #{}))#{Key => Lane}}},
        World).

%% Messages of one key, or of one process, go the same way; where nothing keeps its order, each takes the next.
lane_index(#{settings := #{parallelism := 1}}, _) -> 0;
lane_index(#{settings := #{parallelism := Lanes, order := none}}, Order) -> Order rem Lanes;
lane_index(#{settings := #{parallelism := Lanes}, key := Key}, _) -> erlang:phash2(Key, Lanes).

room(#{settings := #{max_queue_messages := Own}}) when is_integer(Own), Own > 0 -> Own;
room(#{limits := #{max_queue_messages := Limit}}) -> Limit.

%% How late a packet is, how often it was sent again, and whether it came twice.
travel(World) ->
    {First, Last} = topos_sim_world:option(delay, World),
    {Late, Drawn} = topos_sim_world:between(First, Last, World),
    {Retries, Waited, Tried} = losses(0, 0, Drawn),
    {Twice, Done} = topos_sim_world:happens(topos_sim_world:option(duplicate, World), Tried),
    {Late + Waited, Retries, Twice, Done}.

losses(Retries, Waited, World) ->
    case topos_sim_world:happens(loss(World), World) of
        {false, Drawn} -> {Retries, Waited, Drawn};
        {true, Drawn} -> losses(Retries + 1, Waited + min(?LAST_RETRY, ?FIRST_RETRY bsl min(Retries, 20)), Drawn)
    end.

item(#{content := Content, settings := Settings, key := Key, keyed := Keyed}, Late, Order, #lane{last = Last}, World) ->
    Now = topos_sim_world:now(World),
    #item{
        arrives = max(Now + Late, Last), sent = Now, order = Order, content = Content,
        expires = case Settings of #{expiry := Expiry} when is_integer(Expiry), Expiry > 0 ->
            Now + Expiry * 1_000; _ -> infinity end,
        key = case Keyed of true -> {some, Key}; false -> none end
    }.

%% On a monotonic channel a message that waits gives way to a newer one of its key.
is_replaced(#lane{moving = false, queue = Queue}, #{settings := #{monotonic := true}, keyed := true, key := Key}) ->
    queue:any(fun(#item{key = K}) -> K =:= {some, Key} end, Queue);
is_replaced(_, _) ->
    false.

queued({From, To} = Pair, {Channel, _, _} = Key, #lane{queue = Queue} = Lane, #item{key = K} = Item, true, World) ->
    Newer = queue:filter(fun(#item{key = Other}) -> Other =/= K end, Queue),
    put_lane(Pair, Key, Lane#lane{queue = queue:in(Item, Newer)}, count(From, To, Channel, [{superseded, 1}], World));
queued({From, To} = Pair, Key, #lane{queue = Queue, count = Count, moving = Moving} = Lane, #item{arrives = At} = Item,
    false, World) ->
    %% One that stands waits for the link, unless it was empty.
    Sent = Lane#lane{queue = queue:in(Item, Queue), count = Count + 1, last = At},
    case Moving orelse Count > 0 orelse not topos_sim_nodes:is_open(From, To, World) of
        true -> put_lane(Pair, Key, Sent, World);
        false -> topos_sim_world:at(At, {?MODULE, {arrive, Pair, Key}},
            put_lane(Pair, Key, Sent#lane{moving = true}, World))
    end.

%% Lanes of before a change of the channel that hold something yet.
earlier({Channel, Generation, _}, Of) ->
    [Lane || {{C, G, _}, #lane{count = Count} = Lane} <- maps:to_list(Of), C =:= Channel, G < Generation, Count > 0].

%% The first item, and those behind it whose time has come.
arrived(Pair, Key, World) ->
    Delivered = deliver(Pair, Key, World),
    case (part(Delivered))#part.lanes of
        #{Pair := #{Key := #lane{queue = Queue, count = Count}}} when Count > 0 ->
            {value, #item{arrives = At}} = queue:peek(Queue),
            case At =< topos_sim_world:now(Delivered) of
                true -> arrived(Pair, Key, Delivered);
                false -> moved(Pair, Key, At, Delivered)
            end;
        #{} ->
            Delivered
    end.

moved(Pair, Key, At, World) ->
    case (part(World))#part.lanes of
        #{Pair := #{Key := #lane{count = Count, last = Last} = Lane}} when Count > 0 ->
            Moving = put_lane(Pair, Key, Lane#lane{moving = true, last = max(Last, At)}, World),
            topos_sim_world:at(At, {?MODULE, {arrive, Pair, Key}}, Moving);
        #{} ->
            World
    end.

deliver({From, To} = Pair, {Channel, _, _} = Key, World) ->
    #part{lanes = #{Pair := #{Key := #lane{queue = Queue, count = Count, acknowledged = Acks} = Lane}}} = part(World),
    {{value, #item{content = Content, sent = Sent}}, Rest} = queue:out(Queue),
    {Back, Drawn} = delay(World),
    Now = topos_sim_world:now(Drawn),
    Recent = queue:in(Now + Back, past(Now, Acks)),
    Shorter = put_lane(Pair, Key, Lane#lane{queue = Rest, count = Count - 1, acknowledged = Recent}, Drawn),
    Out = count(From, To, Channel, [{acknowledged, 1}, {round_trips, Now + Back - Sent}, {second, Now div 1_000_000}],
        Shorter),
    In = count(To, From, Channel, [{messages_in, 1}, {bytes_in, erlang:external_size(Content)},
        {second, Now div 1_000_000}], Out),
    Named = fun() -> [topos_sim_nodes:name(From, In), " -> ", topos_sim_nodes:name(To, In),
        io_lib:format(" ~0tP", [Content, 12])] end,
    topos_sim_program:deliver(From, To, Content, topos_sim_world:message(trace, Named, In)).

%% Who waits until its message has arrived learns that nobody knows.
tell_doubt(#item{content = {acknowledged, _, {Pid, Wait}}}, To, World) ->
    Error = topos_error:new(in_doubt, #{node => topos_sim_nodes:full_name(To, World)}),
    topos_sim_world:wake(Pid, Wait, {value, {error, Error}}, World);
tell_doubt(#item{}, _, World) ->
    World.

%% Without what is acknowledged by now.
past(Now, Acks) ->
    case queue:peek(Acks) of
        {value, At} when At =< Now -> past(Now, queue:drop(Acks));
        _ -> Acks
    end.

unexpired({From, To} = Pair, {Channel, _, _} = Key, #lane{queue = Queue} = Lane, World) ->
    Now = topos_sim_world:now(World),
    Good = queue:filter(fun(#item{expires = At}) -> At > Now end, Queue),
    Count = queue:len(Good),
    Expired = Lane#lane.count - Count,
    put_lane(Pair, Key, Lane#lane{queue = Good, count = Count},
        count(From, To, Channel, [{expired, Expired} || Expired > 0], World)).

count(From, To, Channel, More, World) ->
    #part{counts = Counts} = Part = part(World),
    Row = lists:foldl(fun add/2, maps:get({From, To, Channel}, Counts, #{}), More),
    topos_sim_world:set_part(?MODULE, Part#part{counts = Counts#{{From, To, Channel} => Row}}, World).

%% Of round trips and seconds the latest are kept.
add({round_trips, Time}, Row) ->
    Row#{round_trips => lists:sublist([Time | maps:get(round_trips, Row, [])], ?MAX_ROUND_TRIPS)};
add({second, Second}, Row) ->
    case maps:get(second, Row, []) of
        [{Second, Count} | Before] -> Row#{second => [{Second, Count + 1} | Before]};
        Before -> Row#{second => lists:sublist([{Second, 1} | Before], 3)}
    end;
add({Name, More}, Row) ->
    Row#{Name => maps:get(Name, Row, 0) + More}.
