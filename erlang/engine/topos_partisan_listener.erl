%% @doc A listener of ours in the place of Partisan's, and the processes of the connections it accepts.
%%
%% Partisan's own is replaced right after the start, under the same supervisor, because
%% <ul>
%% <li>its acceptors close the listening socket when a client is gone before it is looked at, and every inbound
%%     connection ends with that socket: a port scanner, or a peer that gives up dialling, cuts off all peers;</li>
%% <li>its backlog is 5, which one peer that opens its connections overflows: the kernel drops the sixth, tries again
%%     after a second, and Partisan's manager stands still meanwhile;</li>
%% <li>it takes packets of any size up to 4 GB, and allocates what the first four bytes say;</li>
%% <li>a client that connects and says nothing is kept for ever;</li>
%% <li>its connections decode whatever comes: see `topos_partisan_inbound', which our acceptors become.</li>
%% </ul>
%% A process accepts, becomes the connection, and another takes its place.
-module(topos_partisan_listener).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([replace/2, start_link/3, greeted/0]).
-export_type([options/0]).

-type options() :: #{max_packet_bytes := pos_integer(), tls := boolean(), key := topos_partisan_proof:key()}.
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-define(SUPERVISOR, partisan_acceptor_socket_pool_sup).
-define(BACKLOG, 1_024).
-define(ACCEPTORS, 16).
-define(MAX_CONNECTIONS, 16_384).
%% Within this, a client has to finish TLS and say its name.
-define(GREETING_TIMEOUT, 10_000).
%% Before accepting again when the operating system has no file descriptor left.
-define(EXHAUSTED_DELAY, 100).

-record(state, {
    socket :: gen_tcp:socket(),
    key :: topos_partisan_proof:key(),
    monitor :: reference(),
    acceptors = #{} :: #{pid() => true},
    %% The timer of those that have not greeted.
    connections = #{} :: #{pid() => undefined | reference()}
}).

%% @doc Ends Partisan's listeners and starts ours. Inbound connections that exist end.
-spec replace([topos_engine:address()], options()) -> ok | {error, term()}.
replace(Addresses, Options) ->
    try
        Theirs = [Id || {{partisan_acceptor_socket, _, _} = Id, _, _, _} <- supervisor:which_children(?SUPERVISOR)],
        ok = lists:foreach(fun end_theirs/1, Theirs),
        start_each(Addresses, Options)
    catch
        %% The supervisor ended while it was being asked.
        exit:Reason -> {error, Reason}
    end.

-spec start_link(inet:ip_address(), inet:port_number(), options()) -> {ok, pid()} | {error, term()}.
start_link(Ip, Port, Options) -> gen_server:start_link(?MODULE, {Ip, Port, Options}, []).

%% @doc Called in the process of an inbound connection: its peer has said its name.
-spec greeted() -> ok.
greeted() ->
    case get(?MODULE) of
        undefined -> ok;
        Listener -> gen_server:cast(Listener, {greeted, self()})
    end.

%% internal

-spec end_theirs(term()) -> ok.
end_theirs(Id) ->
    ok = supervisor:terminate_child(?SUPERVISOR, Id),
    ok = supervisor:delete_child(?SUPERVISOR, Id).

-spec start_each([topos_engine:address()], options()) -> ok | {error, term()}.
start_each([], _Options) ->
    ok;
start_each([{Ip, Port} = Address | Rest], Options) ->
    Ours = #{id => {?MODULE, Address}, start => {?MODULE, start_link, [Ip, Port, Options]}},
    case supervisor:start_child(?SUPERVISOR, Ours) of
        {ok, _} -> start_each(Rest, Options);
        {error, {already_started, _}} -> start_each(Rest, Options);
        {error, Reason} -> {error, {Address, Reason}}
    end.

-spec init({inet:ip_address(), inet:port_number(), options()}) -> {ok, #state{}} | {stop, inet:posix()}.
init({Ip, Port, #{max_packet_bytes := MaxPacketBytes, tls := Tls, key := Key}}) ->
    process_flag(trap_exit, true),
    %% Accepted sockets have the same options. A connection asks for each packet; the first must not be read as one when it
    %% begins with a TLS handshake.
    Active = case Tls of true -> false; false -> once end,
    Options = [
        {active, Active}, {mode, binary}, {ip, Ip}, {packet, 4}, {packet_size, MaxPacketBytes}, {backlog, ?BACKLOG},
        {reuseaddr, true}, {nodelay, true}, {keepalive, true}
    ],
    case gen_tcp:listen(Port, Options) of
        {ok, Socket} -> {ok, accepting(#state{socket = Socket, key = Key, monitor = monitor(port, Socket)})};
        {error, Reason} -> {stop, Reason}
    end.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, {error, unknown_call}, #state{}}.
handle_call(_Request, _From, State) -> {reply, {error, unknown_call}, State}.

-spec handle_cast({accepted | greeted, pid()}, #state{}) -> {noreply, #state{}}.
handle_cast({accepted, Pid}, #state{acceptors = Acceptors, connections = Connections} = State) ->
    case maps:take(Pid, Acceptors) of
        {true, Rest} ->
            Timer = erlang:start_timer(?GREETING_TIMEOUT, self(), Pid),
            {noreply, accepting(State#state{acceptors = Rest, connections = Connections#{Pid => Timer}})};
        %% It ended already.
        error ->
            {noreply, State}
    end;
handle_cast({greeted, Pid}, #state{connections = Connections} = State) ->
    case Connections of
        #{Pid := Timer} when is_reference(Timer) ->
            _ = erlang:cancel_timer(Timer),
            {noreply, State#state{connections = Connections#{Pid := undefined}}};
        #{} ->
            {noreply, State}
    end.

-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, {listener_closed, term()}, #state{}}.
handle_info({'EXIT', Pid, _Reason}, #state{acceptors = Acceptors, connections = Connections} = State) ->
    Ended = State#state{acceptors = maps:remove(Pid, Acceptors), connections = maps:remove(Pid, Connections)},
    {noreply, accepting(Ended)};
handle_info({timeout, Timer, Pid}, #state{connections = Connections} = State) ->
    case Connections of
        #{Pid := Timer} ->
            true = exit(Pid, kill),
            {noreply, State};
        #{} ->
            {noreply, State}
    end;
handle_info({'DOWN', Monitor, port, _, Reason}, #state{monitor = Monitor} = State) ->
    {stop, {listener_closed, Reason}, State};
handle_info(_Message, State) ->
    {noreply, State}.

-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, #state{socket = Socket}) ->
    %% Acceptors and connections are linked to this process, and end with it.
    gen_tcp:close(Socket).

%% As many acceptors as there should be, unless there are connections enough.
-spec accepting(#state{}) -> #state{}.
accepting(#state{socket = Socket, key = Key, acceptors = Acceptors, connections = Connections} = State) when
    map_size(Acceptors) < ?ACCEPTORS, map_size(Acceptors) + map_size(Connections) < ?MAX_CONNECTIONS
->
    Listener = self(),
    Pid = proc_lib:spawn_link(fun() -> acceptor(Listener, Socket, Key) end),
    accepting(State#state{acceptors = Acceptors#{Pid => true}});
accepting(State) ->
    State.

-spec acceptor(pid(), gen_tcp:socket(), topos_partisan_proof:key()) -> no_return().
acceptor(Listener, ListenSocket, Key) ->
    case gen_tcp:accept(ListenSocket) of
        {ok, Socket} ->
            case inet:peername(Socket) of
                {ok, Peer} ->
                    gen_server:cast(Listener, {accepted, self()}),
                    put(?MODULE, Listener),
                    connection(Peer, Socket, ListenSocket, Key);
                {error, _} ->
                    %% It is gone already.
                    ok = gen_tcp:close(Socket),
                    acceptor(Listener, ListenSocket, Key)
            end;
        {error, closed} ->
            exit(normal);
        {error, Reason} when Reason =:= emfile; Reason =:= enfile; Reason =:= system_limit ->
            ?LOG_ERROR(#{description => "cannot accept a connection", reason => Reason}),
            receive after ?EXHAUSTED_DELAY -> ok end,
            acceptor(Listener, ListenSocket, Key);
        {error, _} ->
            %% That connection failed, not the listening.
            acceptor(Listener, ListenSocket, Key)
    end.

%% Becomes the connection. Partisan's TLS handshake is a match that fails when the client is not one of ours.
-spec connection(
    {inet:ip_address(), inet:port_number()}, gen_tcp:socket(), gen_tcp:socket(), topos_partisan_proof:key()
) -> no_return().
connection(Peer, Socket, ListenSocket, Key) ->
    try
        topos_partisan_inbound:serve(Socket, Peer, ListenSocket, Key)
    catch
        error:{badmatch, {error, Reason}} ->
            ?LOG_NOTICE(#{description => "TLS handshake failed", peer => Peer, reason => Reason}),
            ok = gen_tcp:close(Socket),
            exit(normal)
    end.
