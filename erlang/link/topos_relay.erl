%% @doc Carries frames to peers that are no neighbours: from node to node along the routes of the topology.
%%
%% Whoever sends to a peer calls {@link send/6} in the place of the engine: where the engine has no transport to the
%% peer and a route is known, the frame goes to the next node on it in a RELAY frame, on the same channel and lane, and
%% that node passes it on. The frame inside is as it was sent: handshake, tokens, sequence and acknowledgement run from
%% end to end, so what the link guarantees holds over any number of nodes between. From hop to hop a RELAY frame carries
%% the token of the session between the two, so only members can have anything passed on.
%%
%% A relay keeps nothing. What it cannot pass on, because it has no route or no room, is dropped and counted
%% (`unroutable'); the lane of the sender finds out by the gap or by time, as after a broken connection. A frame passes
%% at most 32 nodes, since for a moment after a change two nodes may think differently of the way.
%%
%% Routes are rows of `topos_routes', `{Name, Via, Hops}', written by `topos_overlay'. Name is a text, so that a relay
%% needs no atom for a node it does not know.
-module(topos_relay).
-behaviour(gen_server).

-include("topos_frame.hrl").

-export([start_link/0, send/6, send_control/4, ask/5, set_routes/2, clear/0, route/1, is_routed/1, frame/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(MAX_HOPS, 32).
-define(TO_LINK, 1).
-define(TO_LANES, 2).
-define(TO_OVERLAY, 3).
-define(TO_REQUEST, 4).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> gen_server:start_link({local, ?TOPOS_DEST_PROCESS_RELAY}, ?MODULE, [], []).

%% @doc As {@link topos_engine} sends, over the engine's own transport to the node or, without one, along a route.
-spec send(module(), node(), topos_engine:channel(), topos_engine:lane(), Dest :: atom(), iodata()) ->
    ok | {error, not_connected | no_such_channel | overloaded}.
send(Engine, Node, Channel, Lane, Dest, Frame) -> send(Engine, send, {Node, Channel, Lane}, Dest, Frame).

%% @doc Sends a frame to a process of a certain life of a peer, on the control channel, and leaves nothing in the mailbox of the
%% caller. `gone': there is no open session with that life.
-spec ask(node(), topos_incarnation:t(), Dest :: atom(), Kind :: byte(), iodata()) ->
    ok | {error, gone | not_connected | no_such_channel | overloaded}.
ask(Node, Incarnation, Dest, Kind, Payload) ->
    case ets:lookup(topos_peers, Node) of
        [{_, _, Incarnation, Token}] when is_binary(Token) ->
            {Engine, Frame} = frame(Incarnation, Token, Kind, Payload),
            send(Engine, send_clean, {Node, control, 0}, Dest, Frame);
        _ ->
            {error, gone}
    end.

%% @doc Sends a frame of the open session with a peer to one of its processes, on the control channel.
-spec send_control(node(), Dest :: atom(), Kind :: byte(), iodata()) ->
    ok | {error, not_connected | no_such_channel | overloaded}.
send_control(Node, Dest, Kind, Payload) ->
    case frame(Node, Kind, Payload) of
        {ok, Engine, Frame} -> send(Engine, Node, control, 0, Dest, Frame);
        error -> {error, not_connected}
    end.

%% @doc Routes that are new or changed, `{Name, Next node, Hops}', and names that none leads to any more.
-spec set_routes([{binary(), node(), pos_integer()}], [binary()]) -> ok.
set_routes(Routes, Lost) ->
    true = ets:insert(topos_routes, Routes),
    lists:foreach(fun(Name) -> true = ets:delete(topos_routes, Name) end, Lost).

-spec clear() -> ok.
clear() ->
    true = ets:delete_all_objects(topos_routes),
    ok.

%% @doc The next node on the way, and how many links the way has; 1 for a neighbour of the topology.
-spec route(node()) -> {ok, Via :: node(), Hops :: pos_integer()} | error.
route(Node) ->
    case ets:lookup(topos_routes, atom_to_binary(Node)) of
        [{_, Via, Hops}] -> {ok, Via, Hops};
        [] -> error
    end.

%% @doc Whether frames to the node can go over another one.
-spec is_routed(node()) -> boolean().
is_routed(Node) -> via(atom_to_binary(Node)) =/= error.

%% @doc Handles a message for `topos_relay' in the process that calls: an engine's connection
%% (`topos_engine:set_handler/2').
-spec frame({topos, byte(), non_neg_integer(), binary()}) -> ok.
frame({topos, Version, Epoch, Bytes}) ->
    case topos_frame:decode(Bytes) of
        {ok, #{kind := ?TOPOS_FRAME_RELAY, payload := Payload} = Frame} ->
            case topos_lanes:is_genuine(Frame) of
                {true, _} -> relayed(Payload, {Version, Epoch});
                false -> topos_local:count(refused_frames)
            end;
        _ ->
            topos_local:count(malformed_frames)
    end.

%% gen_server

-spec init([]) -> {ok, none}.
init([]) ->
    %% So that terminate/2 runs.
    _ = process_flag(trap_exit, true),
    _ = process_flag(message_queue_data, off_heap),
    ok = topos_engine:set_handler(?TOPOS_DEST_PROCESS_RELAY, ?MODULE),
    {ok, none}.

-spec handle_call(term(), gen_server:from(), none) -> {reply, ok, none}.
handle_call(_, _From, State) -> {reply, ok, State}.

-spec handle_cast(term(), none) -> {noreply, none}.
handle_cast(_, State) -> {noreply, State}.

%% Engines without a process of their own for each connection deliver here.
-spec handle_info(term(), none) -> {noreply, none}.
handle_info({topos, _, _, _} = Message, State) ->
    ok = frame(Message),
    {noreply, State};
handle_info(_, State) ->
    {noreply, State}.

-spec terminate(term(), none) -> ok.
terminate(_Reason, _State) -> topos_engine:unset_handler(?TOPOS_DEST_PROCESS_RELAY).

%% internal

-spec via(binary()) -> {ok, node()} | error.
via(Target) ->
    case ets:lookup(topos_routes, Target) of
        [{_, Via, Hops}] when Hops > 1 -> {ok, Via};
        _ -> error
    end.

-spec payload(1..?MAX_HOPS, atom(), binary(), topos_engine:channel(), topos_engine:lane(), iodata()) -> iolist().
payload(Hops, Dest, Target, Channel, Lane, Frame) ->
    Name = atom_to_binary(Channel),
    Kind = kind(Dest),
    [<<Hops, Kind, Lane:16, (byte_size(Target)), Target/binary, (byte_size(Name)), Name/binary>> | Frame].

-spec send(
    module(), send | send_clean, {node(), topos_engine:channel(), topos_engine:lane()}, Dest :: atom(), iodata()
) -> ok | {error, not_connected | no_such_channel | overloaded}.
send(Engine, Send, {Node, Channel, Lane}, Dest, Frame) ->
    case Engine:Send(Node, Channel, Lane, Dest, Frame) of
        {error, not_connected} ->
            Target = atom_to_binary(Node),
            case via(Target) of
                {ok, Via} -> pass(Engine, Send, {Via, Channel, Lane}, payload(?MAX_HOPS, Dest, Target, Channel, Lane, Frame));
                error -> {error, not_connected}
            end;
        Answer ->
            Answer
    end.

-spec pass(module(), send | send_clean, {node(), topos_engine:channel(), topos_engine:lane()}, iodata()) ->
    ok | {error, not_connected | no_such_channel | overloaded}.
pass(Engine, Send, {Via, Channel, Lane}, Payload) ->
    case frame(Via, ?TOPOS_FRAME_RELAY, Payload) of
        {ok, _, Frame} -> Engine:Send(Via, Channel, Lane, ?TOPOS_DEST_PROCESS_RELAY, Frame);
        error -> {error, not_connected}
    end.

%% A frame of the session with the node.
-spec frame(node(), byte(), iodata()) -> {ok, module(), iolist()} | error.
frame(Node, Kind, Payload) ->
    case ets:lookup(topos_peers, Node) of
        [{_, _, Incarnation, Token}] when is_binary(Token) ->
            {Engine, Frame} = frame(Incarnation, Token, Kind, Payload),
            {ok, Engine, Frame};
        _ ->
            error
    end.

-spec frame(topos_incarnation:t(), topos_frame:token(), byte(), iodata()) -> {module(), iolist()}.
frame(Incarnation, Token, Kind, Payload) ->
    #{name := Name, engine := Engine} = topos_local:hot(),
    Header = #{
        kind => Kind, source => Name, incarnation => topos_local:incarnation(), destination => Incarnation, token => Token
    },
    {Engine, topos_frame:encode(Header, Payload)}.

-spec kind(atom()) -> ?TO_LINK | ?TO_LANES | ?TO_OVERLAY | ?TO_REQUEST.
kind(?TOPOS_DEST_PROCESS_LINK) -> ?TO_LINK;
kind(?TOPOS_DEST_PROCESS_LANES) -> ?TO_LANES;
kind(?TOPOS_DEST_PROCESS_OVERLAY) -> ?TO_OVERLAY;
kind(?TOPOS_DEST_PROCESS_REQUEST) -> ?TO_REQUEST.

-spec relayed(binary(), {byte(), non_neg_integer()}) -> ok.
relayed(<<Hops, Kind, Lane:16, N, Target:N/binary, C, Name:C/binary, Frame/binary>>, Message) ->
    case {topos_local:name(), Kind} of
        {Target, ?TO_LINK} -> deliver(?TOPOS_DEST_PROCESS_LINK, Message, Frame);
        {Target, ?TO_LANES} -> deliver(?TOPOS_DEST_PROCESS_LANES, Message, Frame);
        {Target, ?TO_OVERLAY} -> deliver(?TOPOS_DEST_PROCESS_OVERLAY, Message, Frame);
        {Target, ?TO_REQUEST} -> deliver(?TOPOS_DEST_PROCESS_REQUEST, Message, Frame);
        {Target, _} -> topos_local:count(malformed_frames);
        _ when Hops > 1 -> forward(Hops - 1, Kind, Target, Name, Lane, Frame);
        _ -> topos_local:count(unroutable)
    end;
relayed(_, _) ->
    topos_local:count(malformed_frames).

-spec deliver(atom(), {byte(), non_neg_integer()}, binary()) -> ok.
deliver(Dest, {Version, Epoch}, Frame) -> topos_engine:deliver(Dest, {topos, Version, Epoch, Frame}).

-spec forward(pos_integer(), byte(), binary(), binary(), topos_engine:lane(), binary()) -> ok.
forward(Hops, Kind, Target, Name, Lane, Frame) ->
    Payload = [<<Hops, Kind, Lane:16, (byte_size(Target)), Target/binary, (byte_size(Name)), Name/binary>>, Frame],
    #{engine := Engine} = topos_local:hot(),
    case ets:lookup(topos_routes, Target) of
        [{_, Via, _}] ->
            case pass(Engine, send, {Via, channel(Name), Lane}, Payload) of
                ok -> topos_local:count(relayed);
                {error, _} -> topos_local:count(unroutable)
            end;
        [] ->
            topos_local:count(unroutable)
    end.

%% A channel that this node does not have: its frames go with the default one.
-spec channel(binary()) -> topos_engine:channel().
channel(Name) ->
    try binary_to_existing_atom(Name) of
        Channel ->
            case topos_local:channel(Channel) of
                {ok, _} -> Channel;
                error -> data
            end
    catch
        error:badarg -> data
    end.
