%% @doc The process that lane frames are addressed to, and the keeper of lanes: it checks each frame against the session of
%% its source, hands batches to the receiver of their lane and acknowledgements to the sender, and starts both when they
%% are first needed.
%%
%% A lane is a peer, a channel and an index. The index is chosen by the key of a message, so messages of one key keep
%% their order.
-module(topos_lanes).
-behaviour(gen_server).

-include("topos_frame.hrl").
-include_lib("kernel/include/logger.hrl").

-export([start_link/0, sender/1, peer/2, is_genuine/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
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

%% gen_server

-spec init([]) -> {ok, state()}.
init([]) ->
    true = ets:delete_all_objects(topos_lane_senders),
    true = ets:delete_all_objects(topos_lane_receivers),
    {ok, #state{}}.

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
handle_info({topos, _Version, _Epoch, Bytes}, State) ->
    case topos_frame:decode(Bytes) of
        {ok, Frame} ->
            case is_genuine(Frame) of
                {true, From} ->
                    {noreply, on_frame(From, Frame, State)};
                false ->
                    ok = topos_local:count(refused_frames),
                    {noreply, State}
            end;
        {error, _} ->
            {noreply, malformed(State)}
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

-spec on_frame({node(), topos_incarnation:t()}, topos_frame:t(), state()) -> state().
on_frame({Node, Incarnation}, #{kind := ?TOPOS_FRAME_BATCH, payload := Payload}, State) ->
    case topos_frame:decode_batch(Payload) of
        {ok, {Lane, Stream, Sequence, Flags, Pieces}} ->
            case receiver({Node, Incarnation, Lane}, State) of
                {ok, Pid, Next} ->
                    Pid ! {topos_batch, Stream, Sequence, Flags, Pieces},
                    Next;
                {error, too_many} ->
                    malformed(State)
            end;
        {error, malformed} ->
            malformed(State)
    end;
on_frame({Node, _}, #{kind := ?TOPOS_FRAME_ACK, payload := Payload}, State) ->
    case topos_frame:decode_ack(Payload) of
        {ok, {{Channel, Index}, Stream, Cumulative, Flags, Failures}} ->
            _ = [Pid ! {topos_ack, Stream, Cumulative, Flags, Failures} || Pid <- sender_of(Node, Channel, Index)],
            State;
        {error, malformed} ->
            malformed(State)
    end;
on_frame(_, _, State) ->
    malformed(State).

-spec sender_of(node(), binary(), non_neg_integer()) -> [pid()].
sender_of(Node, Channel, Index) ->
    try binary_to_existing_atom(Channel) of
        Known -> [Pid || {_, Pid, _} <- ets:lookup(topos_lane_senders, {Node, Known, Index})]
    catch
        error:badarg -> []
    end.

-spec receiver(receiver_key(), state()) -> {ok, pid(), state()} | {error, too_many}.
receiver({Node, Incarnation, _} = Key, #state{receivers = Receivers} = State) ->
    case ets:lookup(topos_lane_receivers, Key) of
        [{_, Pid}] ->
            {ok, Pid, State};
        [] ->
            case ets:select_count(topos_lane_receivers, [{{{Node, Incarnation, '_'}, '_'}, [], [true]}]) of
                N when N >= ?MAX_RECEIVERS_PER_PEER ->
                    {error, too_many};
                _ ->
                    {ok, Pid} = topos_lane_sup:start_receiver(Key),
                    true = ets:insert(topos_lane_receivers, {Key, Pid}),
                    {ok, Pid, State#state{receivers = Receivers#{monitor(process, Pid) => Key}}}
            end
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

-spec malformed(state()) -> state().
malformed(State) ->
    ok = topos_local:count(malformed_frames),
    State.
