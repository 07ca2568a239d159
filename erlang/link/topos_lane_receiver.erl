%% @doc The process of a receiving lane: it delivers batches in order and acknowledges them on the control channel: urgent
%% ones when it has no more of them, at the latest after some; others after a moment, together with what comes until then.
-module(topos_lane_receiver).
-behaviour(gen_server).

-include("topos_frame.hrl").
-include("topos_lane.hrl").
-include_lib("kernel/include/logger.hrl").

-export([start_link/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-record(state, {
    node :: node(),
    incarnation :: topos_incarnation:t(),
    lane_id :: topos_frame:lane_id(),
    row :: topos_channel_stats:row(),
    core :: topos_lane_in:t(),
    %% An acknowledgement that is not urgent, until its timer fires.
    pending = none :: none | topos_lane_in:ack(),
    timer = undefined :: undefined | reference(),
    %% From the first compressed batch on.
    inflater = none :: none | topos_compress:inflater(),
    %% A batch that cannot be read is told once.
    warned = false :: boolean()
}).
-type state() :: #state{}.

%% Batches handled before the sender hears of them; half its window.
-define(BATCHES_PER_ACK, 4).
%% Milliseconds that an acknowledgement nobody waits for may take.
-define(ACK_DELAY, 2).
-define(PIECE_HEAD, 4).
%% What a record is larger than its message: its destination.
-define(RECORD_OVERHEAD, 257).

-spec start_link({node(), topos_incarnation:t(), topos_frame:lane_id()}) -> {ok, pid()} | {error, term()}.
start_link(Key) -> gen_server:start_link(?MODULE, Key, []).

-spec init({node(), topos_incarnation:t(), topos_frame:lane_id()}) -> {ok, state()}.
init({Node, Incarnation, {Name, _} = Lane} = Key) ->
    Channel = known_channel(Name),
    ok = topos_lane_sender:prioritise(Channel),
    #{max_message_bytes := Max} = topos_local:config(limits),
    %% A half has two numbers.
    Number = 2 * erlang:unique_integer([monotonic, positive]),
    Core = topos_lane_in:new(Number, Max + ?RECORD_OVERHEAD, topos_lane_streams:last(Key)),
    {ok, #state{
        node = Node, incarnation = Incarnation, lane_id = Lane, row = topos_channel_stats:row(Node, Channel), core = Core
    }}.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, ok, state()}.
handle_call(_, _From, State) -> {reply, ok, State}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(_, State) -> {noreply, State}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({topos_batch, Stream, Sequence, Flags, Pieces}, State) ->
    {noreply, batches(?BATCHES_PER_ACK, false, {Stream, Sequence, Flags, Pieces}, State)};
handle_info({timeout, Timer, acknowledge}, #state{timer = Timer} = State) ->
    {noreply, acknowledge(State#state{timer = undefined})};
handle_info(_, State) ->
    {noreply, State}.

%% internal

%% A name that came in a frame becomes no atom.
-spec known_channel(binary()) -> topos_channel_stats:channel().
known_channel(Name) ->
    #{channels := Channels} = topos_local:hot(),
    case [Channel || Channel <- maps:keys(Channels), atom_to_binary(Channel) =:= Name] of
        [Channel] -> Channel;
        [] -> Name
    end.

-spec batches(pos_integer(), boolean(), {topos_frame:stream(), non_neg_integer(), byte(), binary()}, state()) -> state().
batches(_, _, {Stream, _, Flags, _}, #state{core = Core} = State) when Flags band ?TOPOS_BATCH_PROBE =/= 0 ->
    case topos_lane_in:probe(Stream, Flags, Core) of
        {{ack, Ack}, Next} -> acknowledge(State#state{core = Next, pending = Ack});
        {ignore, Same} -> more(0, false, State#state{core = Same})
    end;
batches(Left, Urgent, {Stream, Sequence, Flags, Pieces}, #state{core = Core} = State) ->
    case topos_lane_in:batch(Stream, Sequence, Core) of
        {deliver, Ready} ->
            case plain(Flags, Pieces, State) of
                {{ok, Plain}, Next} ->
                    ok = remember(topos_lane_in:stream(Core), topos_lane_in:stream(Ready), Next),
                    {Failed, Taken} = deliver(Flags, Plain, Ready, Next),
                    {Ack, Delivered} = topos_lane_in:delivered(Sequence, Failed, Taken),
                    Soon = Urgent orelse Flags band ?TOPOS_BATCH_URGENT =/= 0 orelse Failed =/= [],
                    more(Left - 1, Soon, Next#state{core = Delivered, pending = Ack});
                {{error, Reason}, Next} ->
                    more(Left - 1, Urgent, malformed(Reason, Next))
            end;
        {{ack, Ack}, Same} ->
            more(Left - 1, true, State#state{core = Same, pending = Ack});
        {ignore, Same} ->
            more(Left - 1, Urgent, State#state{core = Same})
    end.

%% A half after this one must not deliver anything of a stream again.
-spec remember(non_neg_integer(), pos_integer(), state()) -> ok.
remember(Same, Same, _State) ->
    ok;
remember(_, Begun, #state{node = Node, incarnation = Incarnation, lane_id = Lane}) ->
    topos_lane_streams:taken({Node, Incarnation, Lane}, Begun).

%% The pieces of a batch, inflated if they came compressed.
-spec plain(byte(), binary(), state()) -> {{ok, binary()} | {error, malformed | {too_large, pos_integer()}}, state()}.
plain(Flags, Pieces, State) when Flags band ?TOPOS_BATCH_COMPRESSED =:= 0 ->
    {{ok, Pieces}, State};
plain(Flags, Packed, #state{inflater = none} = State) ->
    plain(Flags, Packed, State#state{inflater = topos_compress:inflater()});
plain(_, Packed, #state{inflater = Inflater} = State) ->
    case topos_compress:unpack(Packed, ?TOPOS_BATCH_MAX_BYTES, Inflater) of
        {ok, Body} -> {topos_frame:decode_batch_body(Body), State};
        {error, Reason} -> {{error, Reason}, State}
    end.

%% No node of ours sends such a batch. Whoever did gets no acknowledgement of it.
-spec malformed(malformed | {too_large, pos_integer()}, state()) -> state().
malformed(Reason, #state{node = Node, lane_id = Lane, warned = Warned} = State) ->
    ok = topos_local:count(malformed_frames),
    Warned orelse ?LOG_WARNING(#{description => "refused a compressed batch", peer => Node, lane => Lane, reason => Reason}),
    State#state{warned = true}.

-spec more(non_neg_integer(), boolean(), state()) -> state().
more(0, _, State) ->
    acknowledge(State);
more(Left, Urgent, State) ->
    receive
        {topos_batch, Stream, Sequence, Flags, Pieces} -> batches(Left, Urgent, {Stream, Sequence, Flags, Pieces}, State)
    after 0 ->
        case Urgent of true -> acknowledge(State); false -> later(State) end
    end.

-spec later(state()) -> state().
later(#state{timer = undefined, pending = Ack} = State) when Ack =/= none ->
    State#state{timer = erlang:start_timer(?ACK_DELAY, self(), acknowledge)};
later(State) ->
    State.

-spec deliver(byte(), binary(), topos_lane_in:t(), state()) -> {[{non_neg_integer(), byte()}], topos_lane_in:t()}.
deliver(Flags, Pieces, Core, State) when Flags band ?TOPOS_BATCH_ASIDE =/= 0 ->
    {Failed, _} = deliver(Pieces, topos_lane_in:aside(Core), State),
    {Failed, Core};
deliver(_, Pieces, Core, State) ->
    deliver(Pieces, Core, State).

-spec deliver(binary(), topos_lane_in:t(), state()) -> {[{non_neg_integer(), byte()}], topos_lane_in:t()}.
deliver(Pieces, Core, #state{node = Node, incarnation = Incarnation, row = Row}) ->
    {Failed, Count, Taken} = pieces(Pieces, {Node, Incarnation}, {<<>>, error}, 0, [], Core),
    ok = topos_channel_stats:add(messages_in, Count, Row),
    ok = topos_channel_stats:add(bytes_in, byte_size(Pieces) - ?PIECE_HEAD * Count, Row),
    ok = topos_local:count(delivered, Count - length(Failed)),
    {lists:reverse(Failed), Taken}.

%% Names are looked up once for each run of records to the same.
-spec pieces(
    binary(), topos_delivery:from(), {binary(), {ok, pid() | port()} | error}, non_neg_integer(),
    [{non_neg_integer(), byte()}], topos_lane_in:t()
) -> {[{non_neg_integer(), byte()}], non_neg_integer(), topos_lane_in:t()}.
pieces(<<0:1, Size:31, Piece:Size/binary, Rest/binary>>, From, Known, Index, Failed, Core) ->
    case topos_lane_in:is_whole(Core) of
        true ->
            {Result, Now} = record(Piece, From, Known),
            pieces(Rest, From, Now, Index + 1, failed(Result, Index, Failed), Core);
        false ->
            case topos_lane_in:piece(last, Piece, Core) of
                {{record, Record}, Whole} ->
                    {Result, Now} = record(Record, From, Known),
                    pieces(Rest, From, Now, Index + 1, failed(Result, Index, Failed), Whole);
                {too_large, Whole} ->
                    pieces(Rest, From, Known, Index + 1, [{Index, ?TOPOS_UNDELIVERED_BAD_TERM} | Failed], Whole)
            end
    end;
pieces(<<1:1, Size:31, Piece:Size/binary, Rest/binary>>, From, Known, Index, Failed, Core) ->
    {partial, Taken} = topos_lane_in:piece(more, Piece, Core),
    pieces(Rest, From, Known, Index, Failed, Taken);
pieces(<<>>, _, _, Count, Failed, Core) ->
    {Failed, Count, Core}.

-spec record(binary(), topos_delivery:from(), {binary(), {ok, pid() | port()} | error}) ->
    {ok | {error, byte()}, {binary(), {ok, pid() | port()} | error}}.
record(<<?TOPOS_DEST_NAME, N, Name:N/binary, Message/binary>>, _, {Name, Process} = Known) ->
    {topos_delivery:to_name(Process, Message), Known};
record(<<?TOPOS_DEST_NAME, N, Name:N/binary, Message/binary>>, _, _) ->
    Process = topos_delivery:registered(Name),
    {topos_delivery:to_name(Process, Message), {Name, Process}};
record(Record, From, Known) ->
    {topos_delivery:deliver(From, Record), Known}.

-spec failed(ok | {error, byte()}, non_neg_integer(), [{non_neg_integer(), byte()}]) -> [{non_neg_integer(), byte()}].
failed(ok, _, Failed) -> Failed;
failed({error, Reason}, Index, Failed) -> [{Index, Reason} | Failed].

-spec acknowledge(state()) -> state().
acknowledge(#state{pending = none} = State) ->
    State;
acknowledge(#state{timer = Timer} = State) when Timer =/= undefined ->
    _ = erlang:cancel_timer(Timer, [{async, true}, {info, false}]),
    acknowledge(State#state{timer = undefined});
acknowledge(#state{pending = {Stream, Cumulative, Flags, Failures}, node = Node, incarnation = Incarnation} = State) ->
    ok = case ets:lookup(topos_peers, Node) of
        [{_, _, Incarnation, Token}] when is_binary(Token) ->
            #{name := Name, engine := Engine} = topos_local:hot(),
            Header = #{
                kind => ?TOPOS_FRAME_ACK, source => Name, incarnation => topos_local:incarnation(),
                destination => Incarnation, token => Token
            },
            Payload = topos_frame:ack(State#state.lane_id, Stream, Cumulative, Flags, Failures),
            %% A lost acknowledgement is made good by the next, or by the answer to a batch sent again.
            _ = topos_relay:send(Engine, Node, control, 0, ?TOPOS_DEST_PROCESS_LANES, topos_frame:encode(Header, Payload)),
            ok;
        _ ->
            ok
    end,
    State#state{pending = none}.
