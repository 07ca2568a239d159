%% @doc What one of Partisan's own managers sees: members, connections, views. And how its functions are called in bounded time.
%%
%% Managers dial in their own process, a second for each address that does not answer, and most of their functions wait for ever. So they
%% are called in a process that is ended when time is up. Connections are read from the table of Partisan, without the manager.
-module(topos_native_view).

-export([members/2, connected/0, views/2, leave/1, channels/0]).
-export([specs/1, ask/2, until/2, left/1]).
-export_type([state/0]).

%% What a manager keeps and says in a handshake: the set of `pluggable' with full membership; the active view of `hyparview'; the
%% set of `client_server'. Each with the node itself.
-type state() :: term().
-type spec() :: topos_partisan_api:spec().

-define(POLL, 20).

%% @doc The specifications of all members, this node's own too, by the manager's word.
-spec members(topos_native:here(), Deadline :: integer()) -> {ok, [spec()]} | {error, topos_error:t()}.
members(#{manager := Manager}, Deadline) ->
    State = fun() ->
        {ok, Found} = topos_partisan_api:call(partisan_peer_service, get_local_state, []),
        {ok, Manager, Specs} = specs(Found),
        Specs
    end,
    in_time(State, Deadline, members).

%% @doc The nodes that there is a connection to now, sorted.
-spec connected() -> [node()].
connected() -> lists:usort([Node || {_, Node, _} <- topos_partisan_api:connections()]).

%% @doc Whom the manager wants connections with, and whom it keeps in reserve.
-spec views(topos_native:here(), Deadline :: integer()) -> {ok, {[node()], [node()]}} | {error, topos_error:t()}.
views(#{node := Own, manager := Manager} = Here, Deadline) ->
    Passive = fun() ->
        {ok, Found} = topos_partisan_api:call(topos_native_capabilities:module(Manager), passive, []),
        sets:to_list(Found)
    end,
    case {members(Here, Deadline), Manager} of
        {{ok, Active}, hyparview} ->
            case in_time(Passive, Deadline, views) of
                {ok, Reserve} -> {ok, {others(Own, Active), others(Own, Reserve)}};
                {error, _} = Error -> Error
            end;
        {{ok, Active}, _} -> {ok, {others(Own, Active), []}};
        {{error, _} = Error, _} -> Error
    end.

%% @doc Has the manager tell the others that this node leaves. It ends then, and begins again alone: `ok' when it has.
-spec leave(topos_native:here()) -> ok | {error, topos_error:t()}.
leave(#{node := Own, manager := Manager, timeouts := #{leave := Timeout}} = Here) ->
    Deadline = erlang:monotonic_time(millisecond) + Timeout,
    Before = whereis(topos_native_capabilities:module(Manager)),
    case in_time(fun() -> topos_partisan_api:call(partisan_peer_service, leave, []) end, Deadline, leave) of
        {ok, ok} ->
            Alone = fun() ->
                whereis(topos_native_capabilities:module(Manager)) =/= Before
                    andalso case members(Here, Deadline) of {ok, [#{name := Own}]} -> true; _ -> false end
            end,
            case until(Alone, Deadline) of
                true -> ok;
                false -> {error, topos_error:new(timeout, #{operation => leave, timeout => Timeout})}
            end;
        {error, _} = Error ->
            Error
    end.

%% @doc The channels of this node as Partisan has them. What it calls `undefined', its default channel, is `data' here.
-spec channels() ->
    #{topos_engine:channel() => #{parallelism := pos_integer(), monotonic := boolean(), compression := boolean() | 0..9}}.
channels() ->
    All = topos_partisan_api:call(partisan_config, channels, []),
    {Default, Others} = maps:take(undefined, maps:remove(partisan_membership, All)),
    maps:map(fun(_, Settings) -> maps:with([parallelism, monotonic, compression], Settings) end, Others#{data => Default}).

%% @doc Which manager keeps such a state, and the specifications in it.
-spec specs(state()) -> {ok, topos_native_capabilities:manager(), [spec()]} | error.
specs({full_v1, _Actor, Set}) -> {ok, pluggable, topos_partisan_api:call(partisan_membership_set, to_list, [Set])};
specs({state, Active, _Epoch}) ->
    case sets:is_set(Active) of
        true -> {ok, hyparview, sets:to_list(Active)};
        false -> error
    end;
specs(Set) ->
    case sets:is_set(Set) of
        true -> {ok, client_server, sets:to_list(Set)};
        false -> error
    end.

%% @doc Calls a function in a process of its own, and ends that when time is up.
-spec ask(fun(() -> Answer), Deadline :: integer()) -> {ok, Answer} | {error, timeout | {failed, term()}}.
ask(Fun, Deadline) ->
    Alias = erlang:alias([reply]),
    {Pid, Ref} = spawn_monitor(fun() -> Alias ! {Alias, Fun()} end),
    receive
        {Alias, Answer} ->
            true = demonitor(Ref, [flush]),
            {ok, Answer};
        {'DOWN', Ref, process, Pid, Reason} ->
            _ = erlang:unalias(Alias),
            {error, {failed, Reason}}
    after left(Deadline) ->
        _ = erlang:unalias(Alias),
        true = exit(Pid, kill),
        true = demonitor(Ref, [flush]),
        %% It may have come just now.
        receive
            {Alias, Answer} -> {ok, Answer}
        after 0 -> {error, timeout}
        end
    end.

%% @doc Whether a function answers true before time is up. Partisan tells nobody what its managers have done.
-spec until(fun(() -> boolean()), Deadline :: integer()) -> boolean().
until(Fun, Deadline) ->
    case {Fun(), left(Deadline)} of
        {true, _} ->
            true;
        {false, 0} ->
            false;
        {false, Left} ->
            receive after min(?POLL, Left) -> ok end,
            until(Fun, Deadline)
    end.

-spec left(Deadline :: integer()) -> non_neg_integer().
left(Deadline) -> max(0, Deadline - erlang:monotonic_time(millisecond)).

%% internal

%% A manager that is being started again is asked once more.
-spec in_time(fun(() -> Answer), integer(), atom()) -> {ok, Answer} | {error, topos_error:t()}.
in_time(Fun, Deadline, Operation) ->
    Start = erlang:monotonic_time(millisecond),
    case ask(Fun, Deadline) of
        {ok, Answer} ->
            {ok, Answer};
        {error, {failed, {Reason, {gen_server, call, _}}}} when Reason =:= noproc; Reason =:= normal; Reason =:= shutdown ->
            case left(Deadline) of
                0 -> timed_out(Operation, 0);
                Left ->
                    receive after min(?POLL, Left) -> ok end,
                    in_time(Fun, Deadline, Operation)
            end;
        {error, {failed, Reason}} ->
            {error, topos_error:new(engine_failed, #{engine => partisan, why => Reason})};
        {error, timeout} ->
            timed_out(Operation, max(0, Deadline - Start))
    end.

-spec timed_out(atom(), non_neg_integer()) -> {error, topos_error:t()}.
timed_out(Operation, Timeout) -> {error, topos_error:new(timeout, #{operation => Operation, timeout => Timeout})}.

-spec others(node(), [spec()]) -> [node()].
others(Own, Specs) -> lists:usort([Node || #{name := Node} <- Specs, Node =/= Own]).
