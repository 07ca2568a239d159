%% @doc Everything that this house calls of Partisan, in one place.
%%
%% Partisan is an optional library. Calls go through `call/3', so that neither xref nor Dialyzer looks for modules that
%% may not be there. It was written for, and tried with, Partisan 5.0.3; `usable/1' refuses another release series,
%% because `is_handshaken/2' looks into the state of a connection process.
%%
%% Partisan's supervisor runs in the engine's process tree, not as an application of its own: stopping an application from
%% within another that is stopping blocks the application controller for ever.
-module(topos_partisan_api).

-export([usable/1, is_running/0, start/1, start_unchanged/1, stop/2, stop/3, manager/0]).
-export([own_spec/0, spec/3, set_view/3, connections/0, is_handshaken/2, forward/3, close/1, call/3]).
-export_type([spec/0, connection/0, saved/0]).

-type spec() :: #{
    name := node(),
    listen_addrs := [#{ip := inet:ip_address(), port := inet:port_number()}],
    channels := #{topos_engine:channel() => #{parallelism := pos_integer(), monotonic := boolean(), compression := boolean()}},
    term() => term()
}.
-type connection() :: {pid(), node(), topos_engine:channel()}.
%% The application environment of Partisan as it was before.
-opaque saved() :: [{atom(), term()}].

-define(MANAGER, partisan_pluggable_peer_service_manager).
-define(SUPPORTED, "5.0.").
%% Where partisan_peer_service_client keeps what is read here: the tuple's size, the peer, the timer that its first valid
%% answer starts.
-define(CLIENT_STATE_SIZE, 12).
-define(CLIENT_STATE_PEER, 8).
-define(CLIENT_STATE_PING_TIMER, 10).
-define(CLOSE_TIMEOUT, 1_000).
-define(SUSPEND_TIMEOUT, 5_000).

%% @doc Whether this VM can be the node with Partisan: it is there, of the release series this was written for, and the VM has no
%% other name. Errors: `engine_not_installed', `foreign_node', `unsupported'.
-spec usable(node()) -> ok | {error, topos_error:t()}.
usable(Node) ->
    case {lists:member(partisan, topos_engine:available()), node()} of
        {false, _} ->
            {error, topos_error:new(engine_not_installed, #{engine => partisan})};
        {true, Running} when Running =/= nonode@nohost, Running =/= Node ->
            {error, topos_error:new(foreign_node, #{node => Node, running => Running})};
        {true, _} ->
            supported()
    end.

%% @doc Whether Partisan runs in this VM, whoever started it.
-spec is_running() -> boolean().
is_running() -> whereis(partisan_sup) =/= undefined.

%% @doc Starts Partisan's supervisor linked to the calling process, with the settings as its whole configuration.
%%
%% Partisan always starts a listener of its own, which believes whoever connects. Until `topos_partisan_listener' ends it,
%% right after the start, it has a free port of the loopback interface that nobody is told.
-spec start([{atom(), term()}]) -> {ok, pid(), saved()} | {error, term()}.
start(Settings) ->
    started_with(fun(Saved) ->
        case topos_engine_listen:reserve([{{127, 0, 0, 1}, 0}]) of
            {ok, [{Ip, Port}]} -> start(Settings ++ [{listen_addrs, [#{ip => Ip, port => Port}]}], Saved);
            {error, _} = Error -> Error
        end
    end).

%% @doc Starts it as whoever uses it without this house would: with a listener of its own, which believes whoever connects, and with
%% what the environment of the application says where the settings say nothing.
-spec start_unchanged([{atom(), term()}]) -> {ok, pid(), saved()} | {error, term()}.
start_unchanged(Settings) ->
    started_with(fun(Saved) ->
        Kept = [Entry || {Key, _} = Entry <- Saved, not lists:keymember(Key, 1, Settings)],
        start(Kept ++ Settings, Saved)
    end).

%% @doc Stops what `start/1' started: no process, no listener, and nothing of the configuration is left. Ends what does
%% not stop in 30 s.
-spec stop(pid(), saved()) -> ok.
stop(Sup, Saved) -> stop(?MANAGER, Sup, Saved).

%% @doc The same, where this manager runs.
-spec stop(Manager :: module(), pid(), saved()) -> ok.
stop(Manager, Sup, Saved) ->
    ok = suspend(whereis(Manager)),
    Ref = monitor(process, Sup),
    exit(Sup, shutdown),
    receive
        {'DOWN', Ref, process, Sup, _} -> ok
    after 30_000 ->
        exit(Sup, kill),
        receive
            {'DOWN', Ref, process, Sup, _} -> ok
        end
    end,
    restore(Saved).

%% Partisan's supervisor ends the event manager before the peer service manager, which crashes with a long report if it
%% then handles one more message. A suspended process handles its supervisor's exit alone.
-spec suspend(pid() | undefined) -> ok.
suspend(undefined) -> ok;
suspend(Manager) ->
    try
        sys:suspend(Manager, ?SUSPEND_TIMEOUT)
    catch
        %% It is dialling, or has just ended: the supervisor deals with it.
        exit:{Reason, {sys, suspend, _}} when Reason =:= timeout; Reason =:= noproc; Reason =:= shutdown -> ok
    end.

-spec manager() -> pid() | undefined.
manager() -> whereis(?MANAGER).

%% @doc The specification of this node, as Partisan computes it.
-spec own_spec() -> spec().
own_spec() -> call(partisan, node_spec, []).

%% @doc A specification with one address: Partisan would open every connection once for each address of a list.
-spec spec(node(), topos_engine:address(), map()) -> spec().
spec(Node, {Ip, Port}, Channels) -> #{name => Node, listen_addrs => [#{ip => Ip, port => Port}], channels => Channels}.

%% @doc Tells the manager whom to be connected to, and to dial what is missing now. Never blocks.
%%
%% The manager keeps dialling a peer that is pending, whether or not it is in the view. A peer leaves the pending list
%% when it is `connected', so those who left the view are said to be. When the manager has taken the view, and before it dials,
%% the caller receives `{topos_view, Ref}'.
-spec set_view(Manager :: pid(), Peers :: [spec()], Removed :: [spec()]) -> Ref :: reference().
set_view(Manager, Peers, Removed) ->
    Ref = make_ref(),
    Manager ! {membership_strategy, {topos_view, {self(), Ref}, Peers}},
    ok = lists:foreach(fun(Spec) -> Manager ! {connected, Spec, undefined, undefined, topos_view} end, Removed),
    Ref.

%% @doc The outbound connections, in the order they were opened. TCP is established, the handshake may still be going on.
-spec connections() -> [connection()].
connections() ->
    %% The table belongs to the manager and is gone while that restarts.
    case ets:whereis(partisan_peer_connections) of
        undefined -> [];
        _ -> connection_list()
    end.

%% @doc Whether the peer at the other end of an outbound connection said its name and it was the right one.
%%
%% Partisan does not tell: its table, its events and `is_connected/1' count TCP connections, and a peer that hangs or is
%% somebody else counts too. The connection process starts its ping timer with the first valid answer. Blocks for
%% `Timeout' ms at most.
-spec is_handshaken(pid(), timeout()) -> boolean().
is_handshaken(Pid, Timeout) ->
    try sys:get_state(Pid, Timeout) of
        State when tuple_size(State) =:= ?CLIENT_STATE_SIZE, is_map(element(?CLIENT_STATE_PEER, State)) ->
            is_reference(element(?CLIENT_STATE_PING_TIMER, State))
    catch
        %% It closed, or is busy: not yet.
        exit:_ -> false
    end.

%% @doc Hands a message for a registered process of the peer to a connection.
%%
%% This is what `partisan:forward_message/4' does when all goes well. When a connection is missing, that function calls the
%% manager and waits, falls back to another channel, and picks lanes from a list that changes as connections come and go.
-spec forward(pid(), atom(), term()) -> ok.
forward(Connection, Dest, Message) -> gen_server:cast(Connection, {send_message, {forward_message, Dest, Message}}).

%% @doc Closes connections, inbound or outbound, after what they have queued; ends those that do not close in 1 s each.
-spec close([pid()]) -> ok.
close(Pids) -> lists:foreach(fun close_one/1, Pids).

%% @doc Calls a function of Partisan.
-spec call(module(), atom(), [term()]) -> term().
call(Module, Function, Args) -> apply(Module, Function, Args).

%% internal

-spec supported() -> ok | {error, topos_error:t()}.
supported() ->
    case application:load(partisan) of
        ok -> ok;
        {error, {already_loaded, partisan}} -> ok
    end,
    {ok, Version} = application:get_key(partisan, vsn),
    case lists:prefix(?SUPPORTED, Version) of
        true ->
            ok;
        false ->
            Operation = iolist_to_binary(["run on Partisan ", Version]),
            {error, topos_error:new(unsupported, #{engine => partisan, operation => Operation})}
    end.

-spec started_with(fun((saved()) -> Answer)) -> Answer | {error, term()}.
started_with(Start) ->
    %% The applications Partisan needs, in the order its own resource file gives.
    {ok, Needed} = application:get_key(partisan, applications),
    case start_needed(Needed) of
        ok -> Start(application:get_all_env(partisan));
        {error, _} = Error -> Error
    end.

-spec start([{atom(), term()}], saved()) -> {ok, pid(), saved()} | {error, term()}.
start(Settings, Saved) ->
    ok = replace_environment(Settings),
    ok = topos_partisan_log:install(),
    case call(partisan_sup, start_link, []) of
        {ok, Sup} ->
            {ok, Sup, Saved};
        {error, Reason} ->
            ok = restore(Saved),
            {error, Reason}
    end.

-spec start_needed([atom()]) -> ok | {error, term()}.
start_needed(Applications) ->
    lists:foldl(
        fun(Application, ok) ->
                case application:ensure_all_started(Application) of
                    {ok, _} -> ok;
                    {error, Reason} -> {error, {Application, Reason}}
                end;
            (_, Error) ->
                Error
        end,
        ok,
        Applications
    ).

%% Partisan writes what it computed back into its environment and reads it at the next start: begin with nothing.
-spec replace_environment([{atom(), term()}]) -> ok.
replace_environment(Settings) ->
    lists:foreach(fun({Key, _}) -> ok = application:unset_env(partisan, Key) end, application:get_all_env(partisan)),
    lists:foreach(fun({Key, Value}) -> ok = application:set_env(partisan, Key, Value) end, Settings).

-spec restore(saved()) -> ok.
restore(Saved) ->
    ok = replace_environment(Saved),
    ok = topos_partisan_log:remove(),
    %% Partisan clears its persistent terms when it starts, never when it stops.
    lists:foreach(
        fun ({Key, _}) when is_tuple(Key), element(1, Key) =:= partisan_config -> persistent_term:erase(Key);
            ({Key, _}) when is_tuple(Key), element(1, Key) =:= partisan_inet -> persistent_term:erase(Key);
            (_) -> false
        end,
        persistent_term:get()
    ).

-spec connection_list() -> [connection()].
connection_list() ->
    try call(partisan_peer_connections, connections, []) of
        Connections when is_list(Connections) ->
            Field = fun(Name, Connection) -> call(partisan_peer_connections, Name, [Connection]) end,
            Sorted = lists:sort([{Field(timestamp, C), Field(pid, C), Field(node, C), Field(channel, C)} || C <- Connections]),
            [{Pid, Node, Channel} || {_, Pid, Node, Channel} <- Sorted]
    catch
        %% The manager died between the question whether there is a table and its reading.
        error:badarg -> [];
        error:notalive -> []
    end.

-spec close_one(pid()) -> ok.
close_one(Pid) ->
    try
        gen_server:stop(Pid, normal, ?CLOSE_TIMEOUT)
    catch
        exit:_ ->
            true = exit(Pid, kill),
            ok
    end.
