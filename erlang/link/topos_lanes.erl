%% @doc The process that lane frames are addressed to, and the keeper of lanes: it checks each frame against the session of
%% its source, hands batches to the receiver of their lane and acknowledgements to the sender, and starts both when they
%% are first needed.
%%
%% A lane is a peer, a channel and an index. The index is chosen by the key of a message, so messages of one key keep
%% their order.
%%
%% When a channel changes, all its lanes are replaced: those of the earlier generation take no more messages, finish what
%% they have and end; those of the new one queue what they are given and send when the last of the earlier lanes to the
%% same peer has ended. So order holds across a change, whichever lanes a key had before and after.
-module(topos_lanes).
-behaviour(gen_server).

-include("topos_frame.hrl").
-include_lib("kernel/include/logger.hrl").

-export([announced/2, silenced/1]).
-export([start_link/0, sender/2, peer/2, is_genuine/1, retire/2, abandon/1, frame/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export_type([key/0]).

-type key() :: {node(), topos_engine:channel(), topos_engine:lane()}.
-type receiver_key() :: {node(), topos_incarnation:t(), topos_frame:lane_id()}.
-record(state, {
    senders = #{} :: #{reference() => {key(), topos_lane:room()}},
    %% Senders of earlier generations, by the monitor that tells their end, and how much was in their room.
    retiring = #{} :: #{reference() => {node(), topos_engine:channel(), Generation :: integer()}},
    %% Who waits until a channel has no sender of an earlier generation.
    waiting = [] :: [{gen_server:from(), topos_engine:channel()}],
    receivers = #{} :: #{reference() => receiver_key()},
    gate :: topos_gate:t(binary())
}).
-type state() :: #state{}.

%% 64 channels of 64 lanes, as many as a configuration can have.
-define(MAX_RECEIVERS_PER_PEER, 4096).
-define(START_TIMEOUT, 5_000).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> gen_server:start_link({local, ?TOPOS_DEST_PROCESS_LANES}, ?MODULE, [], []).

%% @doc The sender of a lane, started if there is none. `stale': the channel has another generation by now. `busy': this node
%% has too much to do to start one now; who asks must not pay for that with its life.
-spec sender(key(), Generation :: integer()) -> {pid(), topos_lane:room()} | stale | busy.
sender(Key, Generation) ->
    case ets:lookup(topos_lane_senders, Key) of
        [{_, Pid, Room, Generation}] ->
            {Pid, Room};
        _ ->
            try
                gen_server:call(?MODULE, {sender, Key, Generation}, ?START_TIMEOUT)
            catch
                exit:{timeout, _} -> busy
            end
    end.

%% @doc Finishes the lanes of earlier generations of a channel, of all of them if there is no such channel any more; waits
%% until they have ended.
-spec retire(topos_engine:channel(), timeout()) -> ok | timeout.
retire(Channel, Timeout) ->
    try
        gen_server:call(?MODULE, {retire, Channel}, Timeout)
    catch
        exit:{timeout, _} -> timeout
    end.

%% @doc Ends the lanes that {@link retire/2} began to finish; what they have not finished is in doubt.
-spec abandon(topos_engine:channel()) -> ok.
abandon(Channel) ->
    Rows = ets:match(topos_lane_senders, {{'_', Channel, {retiring, '$1'}}, '_', '_', '_'}),
    lists:foreach(fun([Pid]) -> Pid ! {topos_lane, gone} end, Rows).

%% @doc What became of a peer's session; `gone' ends its receivers.
-spec peer(node(), opened | closed | gone) -> ok.
peer(Node, gone) ->
    ok = topos_channel_stats:forget(Node),
    ok = topos_request_server:forget(Node),
    gen_server:cast(?MODULE, {gone, Node});
peer(Node, opened) -> topos_channel_stats:connected(Node);
peer(_, closed) -> ok.

%% @doc Subscribers were told that this life of the node is up: what it sends is delivered from now on.
-spec announced(node(), topos_incarnation:t()) -> ok.
announced(Node, Incarnation) -> gen_server:cast(?MODULE, {announced, Node, Incarnation}).

%% @doc Subscribers were told that the node is down.
-spec silenced(node()) -> ok.
silenced(Node) -> gen_server:cast(?MODULE, {silenced, Node}).

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

%% @doc Handles a message for `topos_lanes' in the process that calls: an engine's connection (`topos_engine:set_handler/2').
%% What needs more than to be looked up and handed on, the first batch of a lane and all while a peer is not announced or
%% lanes are being changed, goes to the process.
-spec frame({topos, byte(), non_neg_integer(), binary()}) -> ok.
frame({topos, _Version, _Epoch, Bytes} = Message) ->
    case topos_frame:decode(Bytes) of
        {ok, Frame} ->
            case is_genuine(Frame) of
                {true, From} ->
                    case direct(From, Frame) of
                        ok -> ok;
                        no -> to_process(Message)
                    end;
                false ->
                    topos_local:count(refused_frames)
            end;
        {error, _} ->
            topos_local:count(malformed_frames)
    end.

%% gen_server

-spec init([]) -> {ok, state()}.
init([]) ->
    true = ets:delete_all_objects(topos_lane_senders),
    true = ets:delete_all_objects(topos_lane_receivers),
    %% After a restart of this process: those that are up were announced before.
    Up = [{Node, Incarnation} || {Node, Status} <- topos_link:peers(), Status =:= up orelse Status =:= suspect,
                                 {_, Incarnation} <- [topos_link:status(Node)]],
    %% So that terminate/2 runs.
    _ = process_flag(trap_exit, true),
    true = ets:insert(topos_lane_receivers, [{{open, Node, Incarnation}, self()} || {Node, Incarnation} <- Up]),
    ok = topos_engine:set_handler(?TOPOS_DEST_PROCESS_LANES, ?MODULE),
    {ok, #state{gate = topos_gate:new(Up)}}.

-spec terminate(term(), state()) -> ok.
terminate(_Reason, _State) -> topos_engine:unset_handler(?TOPOS_DEST_PROCESS_LANES).

-spec handle_call(term(), gen_server:from(), state()) ->
    {reply, {pid(), topos_lane:room()} | stale | ok, state()} | {noreply, state()}.
handle_call({sender, {_, Channel, _} = Key, Generation}, _From, State) ->
    case topos_local:channel(Channel) of
        {ok, #{generation := Generation} = Settings} -> current_sender(Key, Settings, retired(Channel, State));
        _ -> {reply, stale, State}
    end;
handle_call({retire, Channel}, From, State) ->
    {noreply, finished(retired(Channel, State#state{waiting = [{From, Channel} | State#state.waiting]}))}.

-spec handle_cast({gone | silenced, node()} | {announced, node(), topos_incarnation:t()}, state()) -> {noreply, state()}.
handle_cast({announced, Node, Incarnation}, #state{gate = Gate} = State) ->
    {Waited, Open} = topos_gate:open(Node, Incarnation, Gate),
    Delivered = lists:foldl(fun(Frame, Acc) -> on_batch({Node, Incarnation}, Frame, Acc) end, State#state{gate = Open}, Waited),
    true = ets:insert(topos_lane_receivers, {{open, Node, Incarnation}, self()}),
    {noreply, Delivered};
handle_cast({silenced, Node}, #state{gate = Gate} = State) ->
    true = ets:match_delete(topos_lane_receivers, {{open, Node, '_'}, '_'}),
    {noreply, State#state{gate = topos_gate:close(Node, Gate)}};
handle_cast({gone, Node}, #state{gate = Gate} = Before) ->
    true = ets:match_delete(topos_lane_receivers, {{open, Node, '_'}, '_'}),
    State = Before#state{gate = topos_gate:close(Node, Gate)},
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
        #state{senders = #{Ref := {Key, Room}}, retiring = Retiring} ->
            ok = sender_ended(Key, Pid, Room, Reason),
            Ended = State#state{senders = maps:remove(Ref, Senders), retiring = maps:remove(Ref, Retiring)},
            {noreply, case Retiring of #{Ref := Of} -> finished(released(Of, Ended)); _ -> Ended end};
        #state{receivers = #{Ref := Key}} ->
            true = ets:delete_object(topos_lane_receivers, {Key, Pid}),
            {noreply, State#state{receivers = maps:remove(Ref, Receivers)}};
        _ ->
            {noreply, State}
    end;
handle_info(_, State) ->
    {noreply, State}.

%% internal

-spec direct({node(), topos_incarnation:t()}, topos_frame:t()) -> ok | no.
direct({Node, Incarnation}, #{kind := ?TOPOS_FRAME_BATCH, payload := Payload}) ->
    case ets:member(topos_lane_receivers, {open, Node, Incarnation}) andalso topos_frame:decode_batch(Payload) of
        {ok, {Lane, Stream, Sequence, Flags, Pieces}} ->
            case ets:lookup(topos_lane_receivers, {Node, Incarnation, Lane}) of
                [{_, Pid}] -> Pid ! {topos_batch, Stream, Sequence, Flags, Pieces}, ok;
                [] -> no
            end;
        _ ->
            no
    end;
direct({Node, _}, #{kind := ?TOPOS_FRAME_ACK, payload := Payload}) ->
    case not ets:member(topos_lane_receivers, retiring) andalso topos_frame:decode_ack(Payload) of
        {ok, {{Channel, Index}, Stream, Cumulative, Flags, Failures}} ->
            _ = [Pid ! {topos_ack, Stream, Cumulative, Flags, Failures} || Pid <- senders_of(Node, Channel, Index, #{})],
            ok;
        _ ->
            no
    end;
direct(_, _) ->
    no.

-spec to_process(tuple()) -> ok.
to_process(Message) ->
    case whereis(?MODULE) of
        undefined -> ok;
        Pid -> Pid ! Message, ok
    end.

-spec current_sender(key(), topos_local:channel(), state()) -> {reply, {pid(), topos_lane:room()}, state()}.
current_sender({Node, Channel, _} = Key, #{generation := Generation} = Settings, #state{senders = Senders} = State) ->
    case ets:lookup(topos_lane_senders, Key) of
        [{_, Pid, Room, Generation}] ->
            {reply, {Pid, Room}, State};
        [] ->
            Room = topos_lane:new_room(Settings),
            {ok, Pid} = topos_lane_sup:start_sender(Key, Room, Settings),
            true = ets:insert(topos_lane_senders, {Key, Pid, Room, Generation}),
            %% The row is there before the sender looks at the peer's status, so it misses no change.
            _ = is_free({Node, Channel, Generation}, State) andalso (Pid ! {topos_lane, registered}),
            {reply, {Pid, Room}, State#state{senders = Senders#{monitor(process, Pid) => {Key, Room}}}}
    end.

%% Whether no lane of a generation before is being finished. There may be several generations, if changes follow close.
-spec is_free({node(), topos_engine:channel(), Generation :: integer()}, state()) -> boolean().
is_free({Node, Channel, Generation}, #state{retiring = Retiring}) ->
    [] =:= [G || {N, C, G} <- maps:values(Retiring), N =:= Node, C =:= Channel, G < Generation].

%% Moves the lanes of earlier generations aside: their keys are for the lanes to come.
-spec retired(topos_engine:channel(), state()) -> state().
retired(Channel, State) ->
    Current = case topos_local:channel(Channel) of {ok, #{generation := G}} -> G; error -> none end,
    Rows = ets:match_object(topos_lane_senders, {{'_', Channel, '_'}, '_', '_', '_'}),
    lists:foldl(
        fun({{Node, _, Index} = Key, Pid, Room, Generation}, #state{senders = Senders, retiring = Retiring} = Acc) when
            is_integer(Index), Generation =/= Current
        ->
                Aside = {Node, Channel, {retiring, Pid}},
                true = ets:insert(topos_lane_senders, {Aside, Pid, Room, Generation}),
                true = ets:delete(topos_lane_senders, Key),
                Pid ! {topos_lane, retire},
                [Ref] = [R || {R, {K, Of}} <- maps:to_list(Senders), K =:= Key, Of =:= Room],
                true = ets:insert(topos_lane_receivers, {retiring, self()}),
                Acc#state{senders = Senders#{Ref := {Aside, Room}}, retiring = Retiring#{Ref => {Node, Channel, Generation}}};
           (_, Acc) ->
                Acc
        end, State, Rows).

%% A lane of an earlier generation has ended: those that waited for it alone may send.
-spec released({node(), topos_engine:channel(), integer()}, state()) -> state().
released({Node, Channel, _}, State) ->
    Rows = ets:match_object(topos_lane_senders, {{Node, Channel, '_'}, '_', '_', '_'}),
    Free = [Pid || {_, Pid, _, Generation} <- Rows, is_free({Node, Channel, Generation}, State)],
    ok = lists:foreach(fun(Pid) -> Pid ! {topos_lane, registered} end, Free),
    State.

-spec finished(state()) -> state().
finished(#state{waiting = Waiting, retiring = Retiring} = State) ->
    Busy = [Channel || {_, Channel, _} <- maps:values(Retiring)],
    true = Busy =/= [] orelse ets:delete(topos_lane_receivers, retiring),
    {Wait, Done} = lists:partition(fun({_, Channel}) -> lists:member(Channel, Busy) end, Waiting),
    ok = lists:foreach(fun({From, _}) -> gen_server:reply(From, ok) end, Done),
    State#state{waiting = Wait}.

-spec on_frame({node(), topos_incarnation:t()}, topos_frame:t(), state()) -> state().
on_frame(From, #{kind := ?TOPOS_FRAME_BATCH, payload := Payload}, #state{gate = Gate} = State) ->
    case topos_gate:pass(From, Payload, Gate) of
        pass ->
            on_batch(From, Payload, State);
        {hold, Held} ->
            State#state{gate = Held};
        drop ->
            State
    end;
on_frame({Node, _}, #{kind := ?TOPOS_FRAME_ACK, payload := Payload}, State) ->
    case topos_frame:decode_ack(Payload) of
        {ok, {{Channel, Index}, Stream, Cumulative, Flags, Failures}} ->
            _ = [Pid ! {topos_ack, Stream, Cumulative, Flags, Failures} || Pid <- senders_of(Node, Channel, Index, State#state.retiring)],
            State;
        {error, malformed} ->
            malformed(State)
    end;
on_frame(_, _, State) ->
    malformed(State).

-spec on_batch({node(), topos_incarnation:t()}, binary(), state()) -> state().
on_batch({Node, Incarnation}, Payload, State) ->
    case topos_frame:decode_batch(Payload) of
        {ok, {Lane, Stream, Sequence, Flags, Pieces}} ->
            to_receiver({Node, Incarnation, Lane}, {topos_batch, Stream, Sequence, Flags, Pieces}, State);
        {error, malformed} ->
            malformed(State)
    end.

%% A lane that is being finished and the one that takes its place tell by the stream which of them is meant.
-spec senders_of(node(), binary(), non_neg_integer(), #{reference() => _}) -> [pid()].
senders_of(Node, Channel, Index, Retiring) ->
    try binary_to_existing_atom(Channel) of
        Known ->
            Aside = case map_size(Retiring) of
                0 -> [];
                _ -> [Pid || [Pid] <- ets:match(topos_lane_senders, {{Node, Known, {retiring, '$1'}}, '_', '_', '_'})]
            end,
            [Pid || {_, Pid, _, _} <- ets:lookup(topos_lane_senders, {Node, Known, Index})] ++ Aside
    catch
        error:badarg -> []
    end.

-spec to_receiver(receiver_key(), tuple(), state()) -> state().
to_receiver({Node, Incarnation, _} = Key, Batch, #state{receivers = Receivers} = State) ->
    case ets:lookup(topos_lane_receivers, Key) of
        [{_, Pid}] ->
            Pid ! Batch,
            State;
        [] ->
            case ets:select_count(topos_lane_receivers, [{{{Node, Incarnation, '_'}, '_'}, [], [true]}]) of
                N when N >= ?MAX_RECEIVERS_PER_PEER ->
                    malformed(State);
                _ ->
                    {ok, Pid} = topos_lane_sup:start_receiver(Key),
                    %% Before others can find the receiver, it has its first batch.
                    Pid ! Batch,
                    true = ets:insert(topos_lane_receivers, {Key, Pid}),
                    State#state{receivers = Receivers#{monitor(process, Pid) => Key}}
            end
    end.

%% A sender that ended by itself had closed its room and told what became of its items. One that crashed did not: what was
%% in the room is in doubt.
-spec sender_ended(key(), pid(), topos_lane:room(), term()) -> ok.
sender_ended({Node, _, _} = Key, Pid, Room, Reason) ->
    true = ets:match_delete(topos_lane_senders, {Key, Pid, '_', '_'}),
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
