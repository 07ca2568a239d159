%% @doc The process that lane frames are addressed to, and the keeper of lanes, which it starts when they are first needed.
%%
%% A frame is checked against the session of its source, a batch handed to the receiver of its lane and an acknowledgement
%% to the sender: by `frame/1' where it arrives, if the engine can (`topos_engine:set_handler/2'), else by this process. A
%% lane that does not exist yet is always the process's business. Should a batch overtake the one that starts its lane, that
%% is a gap like any other.
%%
%% A lane is a peer, a channel and an index. The index is chosen by the key of a message, so messages of one key keep
%% their order.
-module(topos_lanes).
-behaviour(gen_server).

-include("topos_frame.hrl").
-include_lib("kernel/include/logger.hrl").

-export([start_link/0, sender/1, peer/2, is_genuine/1, frame/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export_type([key/0]).

-type key() :: {node(), topos_engine:channel(), topos_engine:lane()}.
-type receiver_key() :: {node(), topos_incarnation:t(), topos_frame:lane_id()}.
-record(state, {
    senders = #{} :: #{reference() => {key(), atomics:atomics_ref()}},
    receivers = #{} :: #{reference() => receiver_key()}
}).
-type state() :: #state{}.

%% 64 channels of 64 lanes, as many as a configuration can have.
-define(MAX_RECEIVERS_PER_PEER, 4096).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> gen_server:start_link({local, ?TOPOS_DEST_PROCESS_LANES}, ?MODULE, [], []).

%% @doc The sender of a lane, started if there is none.
-spec sender(key()) -> {pid(), atomics:atomics_ref()}.
sender(Key) ->
    case ets:lookup(topos_lane_senders, Key) of
        [{_, Pid, Room}] -> {Pid, Room};
        [] -> gen_server:call(?MODULE, {sender, Key})
    end.

%% @doc What became of a peer's session; `gone' ends its receivers.
-spec peer(node(), opened | closed | gone) -> ok.
peer(Node, gone) -> gen_server:cast(?MODULE, {gone, Node});
peer(_, _) -> ok.

%% @doc Whether a frame belongs to the open session of its source and is meant for this life of this node.
-spec is_genuine(topos_frame:t()) -> {true, {node(), topos_incarnation:t()}} | false.
is_genuine(#{source := Source, incarnation := Incarnation, destination := Destination, token := Token}) ->
    case ets:lookup(topos_sessions, Source) of
        [{_, Node, Incarnation, TokenIn, Heard}] ->
            case topos_auth:equal(Token, TokenIn) andalso Destination =:= topos_local:incarnation() of
                true ->
                    ok = atomics:put(Heard, 1, 1),
                    {true, {Node, Incarnation}};
                false ->
                    false
            end;
        _ ->
            false
    end.

%% @doc Handles a message for `topos_lanes' in the process that calls.
-spec frame({topos, byte(), non_neg_integer(), binary()}) -> ok.
frame(Message) ->
    case route(Message) of
        ok ->
            ok;
        {start, _, _} ->
            case whereis(?MODULE) of
                undefined -> ok;
                Pid -> Pid ! Message, ok
            end
    end.

%% gen_server

-spec init([]) -> {ok, state()}.
init([]) ->
    true = ets:delete_all_objects(topos_lane_senders),
    true = ets:delete_all_objects(topos_lane_receivers),
    %% So that terminate/2 runs.
    _ = process_flag(trap_exit, true),
    ok = topos_engine:set_handler(?TOPOS_DEST_PROCESS_LANES, ?MODULE),
    {ok, #state{}}.

-spec terminate(term(), state()) -> ok.
terminate(_Reason, _State) -> topos_engine:unset_handler(?TOPOS_DEST_PROCESS_LANES).

-spec handle_call({sender, key()}, gen_server:from(), state()) -> {reply, {pid(), atomics:atomics_ref()}, state()}.
handle_call({sender, Key}, _From, #state{senders = Senders} = State) ->
    case ets:lookup(topos_lane_senders, Key) of
        [{_, Pid, Room}] ->
            {reply, {Pid, Room}, State};
        [] ->
            %% 1: messages, 2: bytes in the queue.
            Room = atomics:new(2, []),
            {ok, Pid} = topos_lane_sup:start_sender(Key, Room),
            true = ets:insert(topos_lane_senders, {Key, Pid, Room}),
            %% The row is there before the sender looks at the peer's status, so it misses no change.
            Pid ! {topos_lane, registered},
            {reply, {Pid, Room}, State#state{senders = Senders#{monitor(process, Pid) => {Key, Room}}}}
    end.

-spec handle_cast({gone, node()}, state()) -> {noreply, state()}.
handle_cast({gone, Node}, State) ->
    Gone = ets:match(topos_lane_receivers, {{Node, '_', '_'}, '$1'}),
    ok = lists:foreach(fun([Pid]) -> topos_lane_sup:stop(Pid) end, Gone),
    true = ets:match_delete(topos_lane_receivers, {{Node, '_', '_'}, '_'}),
    {noreply, State}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info({topos, _Version, _Epoch, _Bytes} = Message, State) ->
    case route(Message) of
        {start, Key, Batch} -> {noreply, start(Key, Batch, State)};
        ok -> {noreply, State}
    end;
handle_info({'DOWN', Ref, process, Pid, Reason}, #state{senders = Senders, receivers = Receivers} = State) ->
    case State of
        #state{senders = #{Ref := {Key, Room}}} ->
            ok = sender_ended(Key, Pid, Room, Reason),
            {noreply, State#state{senders = maps:remove(Ref, Senders)}};
        #state{receivers = #{Ref := Key}} ->
            true = ets:delete_object(topos_lane_receivers, {Key, Pid}),
            {noreply, State#state{receivers = maps:remove(Ref, Receivers)}};
        _ ->
            {noreply, State}
    end;
handle_info(_, State) ->
    {noreply, State}.

%% internal

-spec route({topos, byte(), non_neg_integer(), binary()}) -> ok | {start, receiver_key(), tuple()}.
route({topos, _Version, _Epoch, Bytes}) ->
    case topos_frame:decode(Bytes) of
        {ok, Frame} ->
            case is_genuine(Frame) of
                {true, From} -> on_frame(From, Frame);
                false -> topos_local:count(refused_frames)
            end;
        {error, _} ->
            malformed()
    end.

-spec on_frame({node(), topos_incarnation:t()}, topos_frame:t()) -> ok | {start, receiver_key(), tuple()}.
on_frame({Node, Incarnation}, #{kind := ?TOPOS_FRAME_BATCH, payload := Payload}) ->
    case topos_frame:decode_batch(Payload) of
        {ok, {Lane, Stream, Sequence, Flags, Pieces}} ->
            Key = {Node, Incarnation, Lane},
            Batch = {topos_batch, Stream, Sequence, Flags, Pieces},
            case ets:lookup(topos_lane_receivers, Key) of
                [{_, Pid}] -> Pid ! Batch, ok;
                [] -> {start, Key, Batch}
            end;
        {error, malformed} ->
            malformed()
    end;
on_frame({Node, _}, #{kind := ?TOPOS_FRAME_ACK, payload := Payload}) ->
    case topos_frame:decode_ack(Payload) of
        {ok, {{Channel, Index}, Stream, Cumulative, Flags, Failures}} ->
            _ = [Pid ! {topos_ack, Stream, Cumulative, Flags, Failures} || Pid <- sender_of(Node, Channel, Index)],
            ok;
        {error, malformed} ->
            malformed()
    end;
on_frame(_, _) ->
    malformed().

-spec sender_of(node(), binary(), non_neg_integer()) -> [pid()].
sender_of(Node, Channel, Index) ->
    try binary_to_existing_atom(Channel) of
        Known -> [Pid || {_, Pid, _} <- ets:lookup(topos_lane_senders, {Node, Known, Index})]
    catch
        error:badarg -> []
    end.

-spec start(receiver_key(), tuple(), state()) -> state().
start({Node, Incarnation, _} = Key, Batch, #state{receivers = Receivers} = State) ->
    case ets:select_count(topos_lane_receivers, [{{{Node, Incarnation, '_'}, '_'}, [], [true]}]) of
        N when N >= ?MAX_RECEIVERS_PER_PEER ->
            ok = malformed(),
            State;
        _ ->
            {ok, Pid} = topos_lane_sup:start_receiver(Key),
            %% Before others can find the receiver, it has its first batch.
            Pid ! Batch,
            true = ets:insert(topos_lane_receivers, {Key, Pid}),
            State#state{receivers = Receivers#{monitor(process, Pid) => Key}}
    end.

%% A sender that ended by itself had closed its room and told what became of its items. One that crashed did not: what was
%% in the room is in doubt.
-spec sender_ended(key(), pid(), atomics:atomics_ref(), term()) -> ok.
sender_ended({Node, _, _} = Key, Pid, Room, Reason) ->
    true = ets:match_delete(topos_lane_senders, {Key, Pid, '_'}),
    case topos_lane:close_room(Room) of
        closed ->
            ok;
        Count ->
            ?LOG_ERROR("topos_partisan: the lane ~0tp ended with ~b message(s): ~0tp", [Key, Count, Reason]),
            topos_events:in_doubt(Node, Count)
    end.

-spec malformed() -> ok.
malformed() -> topos_local:count(malformed_frames).
