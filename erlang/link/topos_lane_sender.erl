%% @doc The process of a sending lane: it drains its mailbox and its buffer into a `topos_lane_out' and carries out what that says.
%%
%% What waits in the buffer (`topos_lane_buffer') is taken when there is credit for it and not before, or to let it
%% overtake a large message.
-module(topos_lane_sender).
-behaviour(gen_server).

-include("topos_frame.hrl").
-include("topos_lane.hrl").

-export([start_link/3, prioritise/1, window/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-record(state, {
    key :: topos_lanes:key(),
    lane_id :: topos_frame:lane_id(),
    room :: topos_lane:room(),
    settings :: topos_local:channel(),
    core :: topos_lane_out:t(),
    meter :: topos_lane_meter:t(),
    %% Until lanes of an earlier generation are finished.
    held = true :: boolean(),
    %% A lane of an earlier generation: how many messages were in its room when that was closed.
    retiring = false :: false | non_neg_integer(),
    timer = undefined :: {reference(), integer()} | undefined,
    %% On a channel with compression: where to count, and the compressor.
    packer :: packer(),
    waiting = [] :: [reference()]
}).
-type state() :: #state{}.
-type packer() :: none | {topos_channel_stats:row(), topos_compress:deflater()}.
-type ready() ::
    topos_lane_out:effect()
    | {send, topos_frame:stream(), pos_integer(), byte(), {packed, topos_compress:packed()}, {non_neg_integer(), non_neg_integer()}}.

%% A large piece holds others up: in a shared socket, and on the processors of both nodes.
-define(MAX_PIECE, 262_144).
%% A message that is not cut is not put together either, which costs as much as the network: one that is at most half
%% of what may be in flight, and so large, crosses whole.
-define(MAX_WHOLE, 1_048_576).
%% What is in flight gives way to nothing any more.
-define(MAX_MONOTONIC_BATCH, 256).
%% Items taken from the mailbox before anything is sent: a few batches.
-define(DRAIN, 4096).

-spec start_link(topos_lanes:key(), topos_lane:room(), topos_local:channel()) -> {ok, pid()} | {error, term()}.
start_link(Key, Room, Settings) -> gen_server:start_link(?MODULE, {Key, Room, Settings}, []).

%% @doc Gives the calling process the priority of a channel; of one that this node does not have: normal.
-spec prioritise(topos_channel_stats:channel()) -> ok.
prioritise(Channel) ->
    case topos_local:hot() of
        #{channels := #{Channel := #{priority := Priority}}} ->
            _ = process_flag(priority, Priority),
            ok;
        _ ->
            ok
    end.

%% @doc Batches that a lane of a channel has in flight at most.
-spec window(topos_local:channel()) -> pos_integer().
window(#{priority := high}) -> 16;
window(#{priority := normal}) -> 8;
window(#{priority := low}) -> 2.

-spec init({topos_lanes:key(), topos_lane:room(), topos_local:channel()}) -> {ok, state()}.
init({{Node, Channel, Index} = Key, Room, #{priority := Priority, compression := Compression} = Settings}) ->
    _ = process_flag(message_queue_data, off_heap),
    _ = process_flag(priority, Priority),
    %% Higher than any earlier stream of this VM; the shift leaves numbers for streams that the core begins itself.
    Stream = erlang:unique_integer([monotonic, positive]) bsl 24,
    {ok, #state{
        key = Key,
        lane_id = {atom_to_binary(Channel), Index},
        room = Room,
        settings = Settings,
        meter = topos_lane_meter:new(Node, Channel),
        packer = case Compression of
            true -> {topos_channel_stats:row(Node, Channel), topos_compress:deflater()};
            false -> none
        end,
        core = topos_lane_out:new(Stream, options(Settings))
    }}.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, ok, state()}.
handle_call(_, _From, State) -> {reply, ok, State}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(_, State) -> {noreply, State}.

-spec handle_info(term(), state()) -> {noreply, state()} | {stop, normal, state()}.
handle_info(#topos_item{} = Item, #state{core = Core} = State) ->
    Items = drain(?DRAIN, [Item]),
    ok = topos_local:count(sent, length(Items)),
    next(carry_out(topos_lane_out:enqueue(Items, now_ms(), Core), State));
handle_info({topos_lane, waiting}, State) ->
    next(refill(State));
handle_info({topos_ack, Stream, Cumulative, Flags, Failures}, #state{core = Core, meter = Meter} = State) ->
    Answer = topos_lane_out:ack(Stream, Cumulative, topos_frame:report(Flags), {Failures, now_ms()}, Core),
    next(refill(carry_out(Answer, State#state{meter = topos_lane_meter:acknowledged(Stream, Cumulative, Meter)})));
handle_info({topos_lane, registered}, #state{held = false} = State) ->
    {noreply, State};
handle_info({topos_lane, registered}, #state{key = {Node, _, _}, core = Core} = State) ->
    Free = State#state{held = false},
    case topos_link:status(Node) of
        {Status, _} when Status =:= up; Status =:= suspect ->
            {noreply, refill(carry_out(topos_lane_out:opened(now_ms(), Core), Free))};
        _ ->
            {noreply, Free}
    end;
handle_info({topos_lane, retire}, #state{room = Room, retiring = false, waiting = Waiting} = State) ->
    %% Who waits for room takes the new lane.
    _ = [Ref ! {Ref, room} || Ref <- lists:reverse(Waiting)],
    case topos_lane:finish_room(Room) of
        closed -> {stop, normal, State};
        Count -> next(State#state{retiring = Count, waiting = []})
    end;
handle_info({topos_lane, opened}, #state{held = true} = State) ->
    {noreply, State};
handle_info(retired, State) ->
    next(State);
handle_info({topos_lane, opened}, #state{core = Core} = State) ->
    {noreply, refill(carry_out(topos_lane_out:opened(now_ms(), Core), State))};
handle_info({topos_lane, closed}, #state{core = Core} = State) ->
    {noreply, State#state{core = topos_lane_out:closed(Core)}};
handle_info({topos_lane, gone}, State) ->
    {stop, normal, give_up(State)};
handle_info({topos_room, Ref}, #state{room = Room, settings = Settings, waiting = Waiting} = State) ->
    case is_integer(State#state.retiring) orelse topos_lane:has_room(Room, Settings) of
        true -> Ref ! {Ref, room}, {noreply, State};
        false -> {noreply, State#state{waiting = [Ref | Waiting]}}
    end;
handle_info({timeout, Timer, tick}, #state{timer = {Timer, _}, core = Core} = State) ->
    next(refill(carry_out(topos_lane_out:tick(now_ms(), Core), State#state{timer = undefined})));
handle_info(_, State) ->
    {noreply, State}.

%% internal

-define(RETIRED_CHECK, 10).

-spec options(topos_local:channel()) -> topos_lane_out:options().
options(#{delivery := Delivery, expiry := Expiry, monotonic := Monotonic} = Settings) ->
    #{
        overtaking => topos_lane:overtaking(Settings) =/= nobody,
        window => window(Settings),
        max_batch => case Monotonic of true -> ?MAX_MONOTONIC_BATCH; false -> ?TOPOS_LANE_BATCH end,
        max_piece => ?MAX_PIECE,
        max_whole => max(?MAX_PIECE, min(?MAX_WHOLE, window(Settings) * ?TOPOS_LANE_BATCH_BYTES div 2)),
        reliable => Delivery =:= at_least_once,
        expiry => case Expiry of 0 -> infinity; _ -> Expiry end
    }.

%% A lane of an earlier generation ends when it has nothing left. Callers that were refused may hold a place of its room
%% for a moment; then it looks again.
-spec next(state()) -> {noreply, state()} | {stop, normal, state()}.
next(#state{retiring = false} = State) ->
    {noreply, State};
next(#state{retiring = Count, room = Room, core = Core} = State) ->
    case topos_lane:left(Room, Count) of
        Left when Left =< 0 ->
            {stop, normal, State};
        _ ->
            case topos_lane_out:is_idle(Core) of
                true -> _ = erlang:send_after(?RETIRED_CHECK, self(), retired), {noreply, State};
                false -> {noreply, State}
            end
    end.

-spec drain(non_neg_integer() | all, [topos_lane_out:item()]) -> [topos_lane_out:item()].
drain(0, Items) ->
    lists:reverse(Items);
drain(N, Items) ->
    receive
        #topos_item{} = Item -> drain(fewer(N), [Item | Items])
    after 0 ->
        lists:reverse(Items)
    end.

%% Takes from the buffer while what is taken goes out at once or may overtake something.
-spec refill(state()) -> state().
refill(#state{core = Core, room = Room} = State) ->
    case topos_lane_out:takes_more(Core) andalso taken(Room, ?TOPOS_LANE_BATCH_BYTES) of
        false ->
            State;
        [] ->
            State;
        Items ->
            ok = topos_local:count(sent, topos_lane_out:messages(Items)),
            refill(carry_out(topos_lane_out:enqueue(Items, now_ms(), Core), State))
    end.

%% About so many bytes, or all there are.
-spec taken(topos_lane:room(), integer() | infinity) -> [topos_lane_out:item()].
taken({_, none}, _) ->
    [];
taken(_, Bytes) when Bytes =< 0 ->
    [];
taken({_, Buffer} = Room, Bytes) ->
    case topos_lane_buffer:take(Buffer) of
        {records, Count, Records} -> [topos_lane_out:of_records(Count, Records) | taken(Room, less(Bytes, byte_size(Records)))];
        {items, Items} -> Items ++ taken(Room, less(Bytes, lists:sum([Size || #topos_item{bytes = Size} <- Items])));
        empty -> []
    end.

%% An atom is greater than any integer.
-spec less(integer() | infinity, non_neg_integer()) -> integer() | infinity.
less(infinity, _) -> infinity;
less(Bytes, Less) -> Bytes - Less.

-spec fewer(pos_integer() | all) -> non_neg_integer() | all.
fewer(all) -> all;
fewer(N) -> N - 1.

-spec carry_out({topos_lane_out:t(), [topos_lane_out:effect()]}, state()) -> state().
carry_out({Core, Effects}, State) ->
    Meter = topos_lane_meter:effects(Effects, State#state.meter),
    {Ready, Packer} = lists:mapfoldl(fun pack/2, State#state.packer, Effects),
    Next = State#state{core = Core, meter = Meter, packer = Packer},
    ok = topos_lane_meter:publish(Next#state.room, Meter),
    case effects(Ready, none, Next) of
        none -> wake(arm(Next));
        Sequence -> wake(arm(Next#state{core = topos_lane_out:refused(Sequence, now_ms(), Core)}))
    end.

%% Compresses a batch that is to be sent, if that is worth it. (The core keeps it as it was.)
-spec pack(topos_lane_out:effect(), packer()) -> {ready(), packer()}.
pack({send, Stream, Sequence, Flags, Pieces, Size} = Effect, {Row, Deflater}) ->
    case topos_compress:pack(topos_frame:batch_body(Pieces), Deflater) of
        {{packed, Packed, Saved}, Next} ->
            ok = topos_channel_stats:add(bytes_saved, Saved, Row),
            {{send, Stream, Sequence, Flags, {packed, Packed}, Size}, {Row, Next}};
        {plain, Next} ->
            {Effect, {Row, Next}}
    end;
pack(Effect, Packer) ->
    {Effect, Packer}.

%% After a batch that the engine has no room for, no other goes out; the answer is its sequence.
-spec effects([ready()], none | pos_integer(), state()) -> none | pos_integer().
effects([], Refused, _State) ->
    Refused;
effects([{send, Stream, Sequence, Flags, Pieces, _} | Rest], none, State) ->
    case send(Stream, Sequence, Flags, Pieces, State) of
        ok -> effects(Rest, none, State);
        overloaded -> effects(Rest, Sequence, State)
    end;
effects([{send, _, _, _, _, _} | Rest], Refused, State) ->
    effects(Rest, Refused, State);
effects([Effect | Rest], Refused, State) ->
    ok = effect(Effect, State),
    effects(Rest, Refused, State).

-spec send(
    topos_frame:stream(), non_neg_integer(), byte(), {non_neg_integer(), [topos_frame:piece()]} | {packed, topos_compress:packed()}, state()
) -> ok | overloaded.
send(Stream, Sequence, Flags, Pieces, #state{key = {Node, Channel, Index}, lane_id = Lane}) ->
    case ets:lookup(topos_peers, Node) of
        [{_, _, Incarnation, Token}] when is_binary(Token) ->
            #{name := Name, engine := Engine} = topos_local:hot(),
            Header = #{
                kind => ?TOPOS_FRAME_BATCH, source => Name, incarnation => topos_local:incarnation(),
                destination => Incarnation, token => Token
            },
            Frame = topos_frame:encode(Header, topos_frame:batch(Lane, Stream, Sequence, Flags, Pieces)),
            case topos_relay:send(Engine, Node, Channel, Index, ?TOPOS_DEST_PROCESS_LANES, Frame) of
                {error, overloaded} -> overloaded;
                %% Lost, it is sent again when the link comes back or the acknowledgement does not come.
                _ -> ok
            end;
        _ ->
            ok
    end.

-spec effect(topos_lane_out:effect(), state()) -> ok.
effect({probe, Stream, Number}, State) ->
    %% If it does not go out, there is another.
    _ = send(Stream, 0, topos_frame:probe(Number), {0, []}, State),
    ok;
effect({settle, {failures, Ref}, Result}, _State) ->
    Ref ! {Ref, Result},
    ok;
effect({settle, Ref, Result}, _State) ->
    Ref ! {Ref, Result},
    ok;
effect({failed, Reason, #topos_item{piece = Piece}}, #state{key = {Node, _, _}}) ->
    Destination = topos_frame:destination(Piece),
    ok = topos_local:count(undeliverable),
    topos_events:undeliverable(Node, topos_lane:failure(Reason, Node, Destination));
effect({release, Messages, Bytes}, #state{room = Room}) ->
    topos_lane:release_room(Room, Messages, Bytes);
effect({passed, Count}, #state{room = Room}) ->
    topos_lane:passed(Room, Count);
effect({dropped, expired, Count}, #state{key = {Node, Channel, _}}) ->
    ok = topos_channel_monitor:expired(Node, Channel, Count),
    topos_events:expired(Node, Channel, Count);
effect({dropped, _Why, _Count}, _State) ->
    ok;
effect({in_doubt, Count}, #state{key = {Node, _, _}}) ->
    ok = topos_local:count(in_doubt, Count),
    topos_events:in_doubt(Node, Count).

%% The room is closed first, and the buffer: who comes after that is refused, who came before is in the buffer, the mailbox or the core.
-spec give_up(state()) -> state().
give_up(#state{room = Room, core = Core, meter = Meter} = State) ->
    _ = topos_lane:close_room(Room),
    ok = case Room of {_, none} -> ok; {_, Buffer} -> topos_lane_buffer:close(Buffer) end,
    {Filled, _} = topos_lane_out:enqueue(taken(Room, infinity) ++ drain(all, []), now_ms(), topos_lane_out:closed(Core)),
    Effects = topos_lane_out:give_up(Filled),
    ok = lists:foreach(fun(Effect) -> given_up(Effect, State) end, Effects),
    _ = [Ref ! {Ref, room} || Ref <- State#state.waiting],
    State#state{core = Filled, meter = topos_lane_meter:effects(Effects, Meter)}.

-spec given_up(topos_lane_out:effect(), state()) -> ok.
given_up({release, _, _}, _State) -> ok;
given_up(Effect, State) -> effect(Effect, State).

-spec wake(state()) -> state().
wake(#state{waiting = []} = State) -> State;
wake(#state{waiting = Waiting, room = Room, settings = Settings} = State) ->
    case topos_lane:has_room(Room, Settings) of
        true ->
            _ = [Ref ! {Ref, room} || Ref <- lists:reverse(Waiting)],
            State#state{waiting = []};
        false ->
            State
    end.

%% One timer that is not moved at every acknowledgement: when it fires early, it is set again.
-spec arm(state()) -> state().
arm(#state{core = Core, timer = Timer} = State) ->
    case {topos_lane_out:next_timeout(Core), Timer} of
        {infinity, _} -> State;
        {At, {_, Set}} when Set =< At -> State;
        {At, {Ref, _}} -> _ = erlang:cancel_timer(Ref), set(At, State);
        {At, undefined} -> set(At, State)
    end.

-spec set(integer(), state()) -> state().
set(At, State) -> State#state{timer = {erlang:start_timer(At, self(), tick, [{abs, true}]), At}}.

-spec now_ms() -> integer().
now_ms() -> erlang:monotonic_time(millisecond).
