%% @doc The process of an inbound connection: the side of Partisan's protocol that is connected to.
%%
%% A probe of a peer (`topos_partisan_probe') may ask it for a proof of the cookie instead of saying hello.
%%
%% It stands where Partisan has `partisan_peer_service_server', which decodes whatever anybody sends, runs any function for
%% `{forward_message, partisan_rpc_backend, {call, M, F, A, ..}}', ends the VM for `{forward_message, init, {stop, stop}}'
%% and rewrites the membership for `{membership_strategy, ..}'. This one says hello, answers a hello and pings, hands frames
%% to the registered processes they name, and drops everything else unread (`topos_partisan_wire'), with a warning for the
%% first of each connection. Names of peers stay binaries. Who a frame is from, the link finds out.
%%
%% A connection on which nothing came for 16 s is closed: Partisan's client pings after 5 s of silence.
-module(topos_partisan_inbound).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([serve/4]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

%% Partisan's wrapper of a socket, with or without TLS.
-define(SOCKET, partisan_peer_socket).
-define(IDLE_CHECK, 8_000).
%% Packets that may wait for a connection, one before it is greeted. It asks for more when half of them are handled, so that a
%% socket that is kept up with stays active: such a one is polled by the schedulers themselves, where any other costs two
%% threads a switch each for every part of a packet.
-define(PACKETS, 8).
-define(MORE_PACKETS, 4).

-record(state, {
    socket :: term(),
    address :: {inet:ip_address(), inet:port_number()},
    listener :: reference(),
    node :: node(),
    key :: topos_partisan_proof:key(),
    %% The nonces of a probe and ours.
    nonces = undefined :: undefined | {topos_partisan_proof:nonce(), topos_partisan_proof:nonce()},
    peer = undefined :: undefined | binary(),
    %% How packets are asked for: each, or several, and how many were handled since.
    packets = once :: once | {several, Handled :: non_neg_integer()},
    %% Whether something came since the last look.
    heard = true :: boolean(),
    warned = false :: boolean()
}).

%% @doc Turns the calling process, which owns an accepted socket, into the connection. Ends with the listening socket. A TLS
%% handshake that fails is an exception.
-spec serve(gen_tcp:socket(), {inet:ip_address(), inet:port_number()}, gen_tcp:socket(), topos_partisan_proof:key()) ->
    no_return().
serve(Socket, Address, ListenSocket, Key) ->
    Listener = monitor(port, ListenSocket),
    Accepted = call(accept, [Socket]),
    Node = topos_partisan_api:call(partisan, node, []),
    State = #state{socket = Accepted, address = Address, listener = Listener, node = Node, key = Key},
    case call(send, [Accepted, topos_partisan_wire:hello(Node)]) of
        ok ->
            _ = erlang:start_timer(?IDLE_CHECK, self(), idle),
            gen_server:enter_loop(?MODULE, [], State);
        {error, _} ->
            %% It is gone already.
            ok = call(close, [Accepted]),
            exit(normal)
    end.

%% gen_server

-spec init(term()) -> {stop, not_started_this_way}.
init(_) -> {stop, not_started_this_way}.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, {error, unknown_call}, #state{}}.
handle_call(_, _From, State) -> {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_, State) -> {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, normal, #state{}}.
handle_info({Transport, _, Packet}, #state{packets = once} = State) when Transport =:= tcp; Transport =:= ssl ->
    ok = listen(once, State),
    handled(Packet, State#state{heard = true});
handle_info({Transport, _, Packet}, State) when Transport =:= tcp; Transport =:= ssl ->
    case handled(Packet, State#state{heard = true}) of
        {noreply, #state{packets = Packets} = Next} -> {noreply, Next#state{packets = more(Packets, Next)}};
        Stop -> Stop
    end;
handle_info({Passive, _}, State) when Passive =:= tcp_passive; Passive =:= ssl_passive ->
    %% All packets that were asked for had come; those handled since are asked for again already.
    {noreply, State};
handle_info({Closed, _}, State) when Closed =:= tcp_closed; Closed =:= ssl_closed ->
    {stop, normal, State};
handle_info({Error, _, Reason}, #state{address = Address} = State) when Error =:= tcp_error; Error =:= ssl_error ->
    ?LOG_WARNING(#{description => "an inbound connection failed", address => Address, peer => State#state.peer, reason => Reason}),
    {stop, normal, State};
handle_info({'DOWN', Listener, port, _, _}, #state{listener = Listener} = State) ->
    {stop, normal, State};
handle_info({timeout, _, idle}, #state{heard = false} = State) ->
    {stop, normal, State};
handle_info({timeout, _, idle}, State) ->
    _ = erlang:start_timer(?IDLE_CHECK, self(), idle),
    {noreply, State#state{heard = false}};
handle_info(_, State) ->
    {noreply, State}.

-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, #state{socket = Socket}) ->
    %% It may be closed already.
    _ = call(close, [Socket]),
    ok.

%% internal

-spec handled(binary(), #state{}) -> {noreply, #state{}} | {stop, normal, #state{}}.
handled(Packet, State) ->
    case topos_partisan_wire:decode(Packet) of
        other -> other(topos_partisan_proof:decode(Packet), State);
        Known -> packet(Known, State)
    end.

-spec packet(topos_partisan_wire:packet(), #state{}) -> {noreply, #state{}} | {stop, normal, #state{}}.
packet({frame, Dest, Version, Epoch, Frame}, #state{peer = Peer} = State) when Peer =/= undefined ->
    case known(Dest) of
        {ok, Name} -> ok = topos_engine:deliver(Name, {topos, Version, Epoch, Frame});
        %% No process can have this name.
        error -> ok
    end,
    {noreply, State};
packet({hello, Peer, Channel}, #state{peer = undefined} = State) ->
    ok = topos_partisan_listener:greeted(),
    %% What it brings goes before that of channels with less priority here too.
    _ = process_flag(priority, topos_engine_partisan:priority(Channel)),
    ok = listen(?PACKETS, State),
    ok = topos_engine_partisan:inbound(self(), Peer),
    answer(topos_partisan_wire:state(), State#state{peer = Peer, packets = {several, 0}});
packet({ping, Peer, Rest}, #state{peer = Peer, node = Node} = State) ->
    answer(topos_partisan_wire:pong(Node, Rest), State);
packet(_, State) ->
    dropped(State).

-spec other({challenge, topos_partisan_proof:nonce()} | {proof, topos_partisan_proof:proof()} | other, #state{}) ->
    {noreply, #state{}} | {stop, normal, #state{}}.
other({challenge, Theirs}, #state{peer = undefined, nonces = undefined} = State) ->
    Mine = topos_partisan_proof:nonce(),
    answer(topos_partisan_proof:challenge(Mine), State#state{nonces = {Theirs, Mine}});
other({proof, Proof}, #state{peer = undefined, nonces = {_, _} = Nonces, node = Node, key = Key} = State) ->
    case topos_partisan_proof:is_proof(Proof, topos_partisan_proof:proof(Key, probe, Node, Nonces)) of
        true ->
            answer(topos_partisan_proof:packet(topos_partisan_proof:proof(Key, listener, Node, Nonces)), State);
        false ->
            {stop, normal, State}
    end;
other(_, State) ->
    dropped(State).

%% One packet more was handled. Those that were asked for and have not come, those that wait, and those that were handled since
%% the last time are `?PACKETS' together.
-spec more({several, non_neg_integer()}, #state{}) -> {several, non_neg_integer()}.
more({several, Handled}, State) when Handled + 1 =:= ?MORE_PACKETS ->
    ok = listen(?MORE_PACKETS, State),
    {several, 0};
more({several, Handled}, _State) ->
    {several, Handled + 1}.

%% An error is told by the socket's own message.
-spec listen(once | pos_integer(), #state{}) -> ok.
listen(Packets, #state{socket = Socket}) ->
    _ = call(setopts, [Socket, [{active, Packets}]]),
    ok.

-spec dropped(#state{}) -> {noreply, #state{}}.
dropped(#state{warned = true} = State) ->
    {noreply, State};
dropped(#state{address = Address, peer = Peer} = State) ->
    ?LOG_WARNING(#{description => "dropped a packet that is no frame", address => Address, peer => Peer}),
    {noreply, State#state{warned = true}}.

-spec answer(iodata(), #state{}) -> {noreply, #state{}} | {stop, normal, #state{}}.
answer(Bytes, #state{socket = Socket} = State) ->
    case call(send, [Socket, Bytes]) of
        ok -> {noreply, State};
        {error, _} -> {stop, normal, State}
    end.

-spec known(binary()) -> {ok, atom()} | error.
known(Name) ->
    try
        {ok, binary_to_existing_atom(Name)}
    catch
        error:badarg -> error
    end.

-spec call(accept | send | setopts | close, [term()]) -> term().
call(Function, Args) -> topos_partisan_api:call(?SOCKET, Function, Args).
