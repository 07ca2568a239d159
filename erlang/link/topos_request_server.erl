%% @doc The serving side of requests: carries out each request once, in a process of its own, and keeps its reply.
%%
%% Of each slot of a peer's life only the last sequence is known (`topos_request'). A request with a higher one is new and is carried out;
%% one with the same is a repetition, and gets the reply again if there is one; one with a lower is of the past. Which is
%% decided by one atomic exchange, so that it holds for a request that arrives on two connections at once.
%%
%% A reply is kept until the caller's time is up or the slot is used again, all replies together up to `limits.max_queue_bytes'.
%% What would be more goes through a lane, which needs nobody to keep it.
%%
%% A peer that comes back numbers its requests anew, so its incarnation is part of what they are known by.
%%
%% Tables, where `Key' is `{{Node, Incarnation}, Slot, Sequence}': `topos_served', `{{Node, Incarnation, Block of slots}, atomics}';
%% `topos_serving', `{Key, Pid, Deadline}'; `topos_replies', `{Key, Reason, Reply, Bytes, Deadline}'. Deadlines are in milliseconds
%% of monotonic time.
-module(topos_request_server).
-behaviour(topos_delivery).

-include("topos_frame.hrl").
-include_lib("kernel/include/logger.hrl").

-export([open/0, request/5, here/5, deliver/3, forget/1, sweep/1, sweep/2]).

-define(CHANNEL, control).
-define(BLOCK, 256).
%% As many requests as `limits.max_pending_calls' of a peer can be.
-define(MAX_SLOTS, 1_000_000).
%% Words for a request and its reply of a few hundred bytes: with the least that a process gets, both are copied twice.
-define(HEAP_WORDS, 600).

%% Who asks, and how the reply gets there: to an alias of this node, in a frame, or through a lane.
-type asker() :: {here, reference()} | {frame | lane, topos_delivery:from()}.
-type key() :: {topos_delivery:from(), Slot :: non_neg_integer(), Sequence :: pos_integer()}.
-record(job, {
    asker :: asker(),
    node :: node(),
    key :: key(),
    timeout :: pos_integer(),
    %% The request before in this slot, whose reply nobody asks for any more; 0: there was none.
    before = 0 :: non_neg_integer()
}).

%% @doc Called once in each life of `topos_request'. What is being served goes on.
-spec open() -> ok.
open() -> topos_delivery:claim(?TOPOS_DEST_REQUEST, ?MODULE).

%% @doc A request in a frame. Returns when it is begun or known to be nothing new.
-spec request(topos_delivery:from(), topos_frame:slot(), pos_integer(), Service :: binary(), Request :: binary()) -> ok.
request({Node, _} = From, {Number, Sequence} = Slot, Timeout, Service, Request) ->
    case claim(From, Slot) of
        {new, Before} ->
            Job = #job{asker = {frame, From}, node = Node, key = {From, Number, Sequence}, timeout = Timeout, before = Before},
            ok = start(Service, {bytes, Request}, Job),
            %% The request goes first: nobody waits for what is counted.
            true = erlang:yield(),
            ok = topos_local:count(delivered),
            topos_channel_stats:received(Node, ?CHANNEL, byte_size(Request));
        repeated ->
            repeat(From, {From, Number, Sequence});
        past ->
            ok
    end.

%% @doc A request of this node; the reply goes to an alias, as `{Alias, {reply, {term, Reply}}}' or `{Alias, {undelivered, Reason}}'.
-spec here(reference(), topos_frame:slot(), pos_integer(), Service :: binary(), Request :: term()) -> ok.
here(Alias, {Number, Sequence}, Timeout, Service, Request) ->
    #{node := Node} = topos_local:hot(),
    Key = {{Node, topos_local:incarnation()}, Number, Sequence},
    ok = start(Service, {term, Request}, #job{asker = {here, Alias}, node = Node, key = Key, timeout = Timeout}).

%% topos_delivery: a request that came through a lane, in the lane's process

-spec deliver(topos_delivery:from(), binary(), {bytes, binary()} | {term, term()}) -> ok | {error, byte()}.
deliver({Node, _} = From, <<Number:32, Sequence:64, Timeout:32, Service/binary>>, Message) when Sequence > 0, Timeout > 0 ->
    case claim(From, {Number, Sequence}) of
        {new, Before} ->
            Job = #job{asker = {lane, From}, node = Node, key = {From, Number, Sequence}, timeout = Timeout, before = Before},
            start(Service, Message, Job);
        _ ->
            ok
    end;
deliver(_, _, _) ->
    {error, ?TOPOS_UNDELIVERED_BAD_TERM}.

%% @doc The peer is no longer known: nothing of its life is needed any more.
-spec forget(node()) -> ok.
forget(Node) ->
    true = ets:match_delete(topos_served, {{Node, '_', '_'}, '_'}),
    lists:foreach(fun(Key) -> ok = drop(Key) end, ets:select(topos_replies, [{{{{Node, '_'}, '_', '_'}, '_', '_', '_', '_'}, [], [{element, 1, '$_'}]}])).

%% @doc Ends what is served longer than its caller waits, and drops replies nobody can ask for again.
-spec sweep(Now :: integer()) -> ok.
sweep(Now) ->
    ok = sweep(Now, ets:tab2list(topos_serving)),
    Old = ets:select(topos_replies, [{{'$1', '_', '_', '_', '$2'}, [{'=<', '$2', Now}], ['$1']}]),
    lists:foreach(fun(Key) -> ok = drop(Key) end, Old).

%% @doc Of the requests that were being served at some time: only these rows go, whatever has become of their keys since.
-spec sweep(Now :: integer(), [{key(), undefined | pid(), integer()}]) -> ok.
sweep(Now, Seen) ->
    lists:foreach(
        fun({_, Pid, Deadline} = Row) ->
            case Deadline =< Now of
                %% Who took its row back itself is past what takes time, and keeps its reply.
                true -> is_taken(Row) andalso is_pid(Pid) andalso exit(Pid, kill);
                %% It was killed by somebody else.
                false -> is_pid(Pid) andalso not is_process_alive(Pid) andalso is_taken(Row)
            end
        end, Seen).

%% internal

%% Of several who want to take a row, one does.
-spec is_taken({key(), undefined | pid(), integer()}) -> boolean().
is_taken(Row) -> ets:select_delete(topos_serving, [{Row, [], [true]}]) =:= 1.

-spec claim(topos_delivery:from(), topos_frame:slot()) -> {new, Before :: non_neg_integer()} | repeated | past.
claim(_, {Number, _}) when Number >= ?MAX_SLOTS ->
    past;
claim({Node, Incarnation}, {Number, Sequence}) ->
    Block = block({Node, Incarnation, Number div ?BLOCK}),
    exchange(Block, Number rem ?BLOCK + 1, Sequence).

-spec exchange(atomics:atomics_ref(), pos_integer(), pos_integer()) -> {new, non_neg_integer()} | repeated | past.
exchange(Block, Index, Sequence) ->
    case atomics:get(Block, Index) of
        Sequence ->
            repeated;
        Later when Later > Sequence ->
            past;
        Earlier ->
            case atomics:compare_exchange(Block, Index, Earlier, Sequence) of
                ok -> {new, Earlier};
                _ -> exchange(Block, Index, Sequence)
            end
    end.

-spec block({node(), topos_incarnation:t(), non_neg_integer()}) -> atomics:atomics_ref().
block({Node, Incarnation, _} = Key) ->
    case ets:lookup(topos_served, Key) of
        [{_, Block}] ->
            Block;
        [] ->
            %% Frames of earlier lives are refused before they get here.
            _ = ets:select_delete(topos_served, [{{{Node, '$1', '_'}, '_'}, [{'=/=', '$1', Incarnation}], [true]}]),
            %% Two connections may need it at once: the first wins.
            _ = ets:insert_new(topos_served, {Key, atomics:new(?BLOCK, [])}),
            block(Key)
    end.

%% A request is begun where it arrives. Connections that begin at once may pass the limit by one each.
-spec start(binary(), {bytes, binary()} | {term, term()}, #job{}) -> ok | {error, byte()}.
start(Service, Request, #job{key = Key, timeout = Timeout} = Job) ->
    #{max_pending_calls := Limit} = topos_local:hot(),
    case {ets:lookup(topos_services, Service), ets:info(topos_serving, size)} of
        {[], _} ->
            refused(?TOPOS_UNDELIVERED_NO_HANDLER, Job);
        {[_], N} when N >= Limit ->
            refused(?TOPOS_UNDELIVERED_FULL, Job);
        {[{_, Module}], _} ->
            true = ets:insert(topos_serving, {Key, undefined, erlang:monotonic_time(millisecond) + Timeout}),
            _ = spawn_opt(fun() -> serve(Module, Request, Job) end, [{min_heap_size, ?HEAP_WORDS}]),
            ok
    end.

%% Without a process: there may be any number of them. Who asked through a lane does not ask again; the lane itself reports until that is
%% acknowledged.
-spec refused(byte(), #job{}) -> ok | {error, byte()}.
refused(Reason, Job) ->
    ok = drop_before(Job),
    case Job of
        #job{asker = {lane, _}} -> {error, Reason};
        _ -> refuse(Reason, Job)
    end.

%% The place is given back before the reply, since whoever has the reply may ask again at once.
-spec serve(module(), {bytes, binary()} | {term, term()}, #job{}) -> ok.
serve(Module, Request, #job{node = Node, key = Key} = Job) ->
    true = ets:update_element(topos_serving, Key, {2, self()}),
    Answer = case topos_delivery:message(Request) of
        {ok, Term} -> {reply, handled(Module, Node, Term)};
        {error, Reason} -> {refuse, Reason}
    end,
    case ets:take(topos_serving, Key) of
        [_] ->
            ok = case Answer of
                {reply, Reply} -> reply(Reply, Job);
                {refuse, Why} -> refuse(Why, Job)
            end,
            %% While the reply is on its way. Of a process that is killed before this, the sweep does it.
            drop_before(Job);
        %% Its time is up: the sweep has taken it, and this process is about to be killed.
        [] ->
            ok
    end.

-spec handled(module(), node(), term()) -> {ok, term()} | {error, topos_error:t()}.
handled(Module, Node, Request) ->
    try
        Module:handle_request(Node, Request)
    catch
        Class:Reason:Stack ->
            ?LOG_ERROR("topos_partisan: ~0tp failed for a request of ~0tp: ~0tp:~0tp~n~0tp", [Module, Node, Class, Reason, Stack]),
            {error, topos_error:new(service_failed, #{node => topos_local:config(node), service => Module, why => Class})}
    end.

-spec reply({ok, term()} | {error, topos_error:t()}, #job{}) -> ok.
reply(Answer, #job{asker = {here, Alias}}) ->
    Alias ! {Alias, {reply, {term, Answer}}},
    ok;
reply(Answer, #job{asker = {lane, _}} = Job) ->
    by_lane(0, Answer, Job);
reply(Answer, #job{asker = {frame, From}} = Job) ->
    case topos_lane:encode(Answer) of
        {Size, Encoded} when Size =< ?TOPOS_REQUEST_MAX_BYTES ->
            case is_room(Size) of
                true -> write_and_keep(From, 0, Encoded, Size, Job);
                false -> by_lane(0, Answer, Job)
            end;
        _ ->
            by_lane(0, Answer, Job)
    end.

-spec refuse(byte(), #job{}) -> ok.
refuse(Reason, #job{asker = {here, Alias}}) ->
    Alias ! {Alias, {undelivered, Reason}},
    ok;
%% This must not get lost either.
refuse(Reason, #job{asker = {lane, _}} = Job) ->
    by_lane(Reason, [], Job);
refuse(Reason, #job{asker = {frame, From}} = Job) ->
    write_and_keep(From, Reason, <<>>, 0, Job).

%% The reply to a request that was served (0), or why it was not.
-spec by_lane(Reason :: byte(), {ok, term()} | {error, topos_error:t()} | [], #job{}) -> ok.
by_lane(Reason, Answer, #job{node = Node, key = {_, Number, Sequence}, timeout = Timeout} = Job) ->
    Destination = {?TOPOS_DEST_REPLY, <<Number:32, Sequence:64, Reason>>},
    case topos_lane:send(Node, Destination, Answer, #{channel => ?CHANNEL, key => Sequence, wait => Timeout}) of
        ok -> ok;
        {error, {message_too_large, _} = Error} -> by_lane(Reason, {error, Error}, Job);
        %% The peer is gone, or the caller's time is up.
        {error, _} -> ok
    end.

%% Whether so many bytes more may be kept: they count from now on.
-spec is_room(non_neg_integer()) -> boolean().
is_room(Size) ->
    #{kept_replies := Kept, max_queue_bytes := Max} = topos_local:hot(),
    ok = counters:add(Kept, 1, Size),
    case counters:get(Kept, 1) =< Max of
        true ->
            true;
        false ->
            ok = counters:sub(Kept, 1, Size),
            false
    end.

%% Kept while the reply is on its way. A repetition that comes between the two finds nothing, and comes again.
-spec write_and_keep(topos_delivery:from(), byte(), iodata(), non_neg_integer(), #job{}) -> ok.
write_and_keep(From, Reason, Reply, Size, #job{key = Key, timeout = Timeout}) ->
    ok = write(From, Key, Reason, Reply),
    true = ets:insert(topos_replies, {Key, Reason, Reply, Size, erlang:monotonic_time(millisecond) + Timeout}),
    wrote(From, Size).

-spec drop_before(#job{}) -> ok.
drop_before(#job{before = 0}) -> ok;
drop_before(#job{key = {From, Number, _}, before = Before}) -> drop({From, Number, Before}).

-spec drop(key()) -> ok.
drop(Key) ->
    case ets:take(topos_replies, Key) of
        [{_, _, _, Size, _}] ->
            #{kept_replies := Kept} = topos_local:hot(),
            counters:sub(Kept, 1, Size);
        [] ->
            ok
    end.

%% While the first is being served there is no reply yet; then it goes out by itself.
-spec repeat(topos_delivery:from(), key()) -> ok.
repeat(From, Key) ->
    case ets:lookup(topos_replies, Key) of
        [{_, Reason, Reply, Size, _}] ->
            ok = write(From, Key, Reason, Reply),
            wrote(From, Size);
        [] ->
            ok
    end.

%% A reply that gets lost is asked for again.
-spec write(topos_delivery:from(), key(), byte(), iodata()) -> ok.
write({Node, Incarnation}, {_, Number, Sequence}, Reason, Reply) ->
    Payload = topos_frame:reply({Number, Sequence}, Reason, Reply),
    _ = topos_relay:ask(Node, Incarnation, ?TOPOS_DEST_PROCESS_REQUEST, ?TOPOS_FRAME_REPLY, Payload),
    ok.

-spec wrote(topos_delivery:from(), non_neg_integer()) -> ok.
wrote({Node, _}, Size) ->
    ok = topos_local:count(sent),
    topos_channel_stats:sent(Node, ?CHANNEL, Size).
