%% @doc The operations of the API on a node that is one of Partisan's own managers.
%%
%% The functions of the API come here when there is no link. What the manager cannot do is the error of its capabilities (`topos_native_capabilities');
%% without such a node it is `not_started'.
-module(topos_native_node).

-export([perform/3, supported/2, capabilities/0]).

%% @doc What `Module:Function' answers for these arguments.
-spec perform(module(), atom(), [term()]) -> term().
perform(Module, Function, Args) ->
    case topos_native:running() of
        {ok, #{manager := Manager} = Here} ->
            case topos_native_capabilities:lookup(Manager, {Module, Function}) of
                {no, _} -> topos_native:absent({Module, Function});
                _ -> do(Module, Function, Args, Here)
            end;
        none ->
            {error, topos_error:new(not_started, #{})}
    end.

%% @doc `ok' if the running node can do this, limited or not; else the error that it would answer.
-spec supported(module(), atom()) -> ok | {error, topos_error:t()}.
supported(Module, Function) ->
    case topos_native:running() of
        {ok, #{manager := Manager}} ->
            case topos_native_capabilities:lookup(Manager, {Module, Function}) of
                {no, _} -> topos_native:absent({Module, Function});
                _ -> ok
            end;
        none ->
            {error, topos_error:new(not_started, #{})}
    end.

-spec capabilities() -> #{topos_native_capabilities:operation() => topos_native_capabilities:capability()} | {error, topos_error:t()}.
capabilities() ->
    case topos_native:running() of
        {ok, #{manager := Manager}} -> topos_native_capabilities:all(Manager);
        none -> {error, topos_error:new(not_started, #{})}
    end.

%% internal

-spec do(module(), atom(), [term()], topos_native:here()) -> term().
do(topos_partisan, node, [], #{node := Node}) ->
    Node;
do(topos_partisan, cluster, [], #{node := Node, cluster := Cluster, addresses := Addresses} = Here) ->
    case members(Here) of
        {ok, Members} ->
            #{
                name => Cluster, node => Node, incarnation => 0, engine => partisan, topology => native, addresses => Addresses,
                members => length(Members), up => length([up || #{node := N, status := up} <- Members, N =/= Node]), counters => #{}
            };
        {error, _} = Error ->
            Error
    end;
do(topos_partisan, join, [Node, Options], #{contacts := Contacts, timeouts := #{connect := Timeout}} = Here) ->
    Defaults = #{addresses => maps:get(Node, Contacts, []), timeout => Timeout},
    topos_native_join:join(Here, Node, maps:merge(Defaults, maps:with([addresses, timeout], Options)));
do(topos_partisan, leave, [Options], #{timeouts := #{leave := Default} = Timeouts} = Here) ->
    topos_native_view:leave(Here#{timeouts := Timeouts#{leave := maps:get(timeout, Options, Default)}});
do(topos_partisan, members, [], Here) ->
    case members(Here) of
        {ok, Members} -> Members;
        {error, _} = Error -> Error
    end;
do(topos_partisan, nodes, [], _) ->
    topos_native_view:connected();
do(topos_partisan, broadcast, [Name, Message, Options], _) ->
    {ok, maps:from_list([{Node, topos_partisan:send(Node, Name, Message, Options)} || Node <- topos_native_view:connected()])};
do(topos_channel, list, [], _) ->
    {ok, topos_native_view:channels()};
do(topos_topology, current, [], #{manager := client_server, tag := Tag}) ->
    #{type => native, manager => client_server, tag => Tag};
do(topos_topology, current, [], #{manager := Manager}) ->
    #{type => native, manager => Manager};
do(topos_topology, neighbours, [], _) ->
    topos_native_view:connected();
do(topos_topology, views, [], Here) ->
    case topos_native_view:views(Here, deadline(Here)) of
        {ok, {Active, Passive}} -> #{active => Active, passive => Passive};
        {error, _} = Error -> Error
    end;
do(topos_topology, route, [Node], #{node := Node}) ->
    {ok, []};
do(topos_topology, route, [Node], Here) ->
    case {lists:member(Node, topos_native_view:connected()), members(Here)} of
        {true, _} -> {ok, [Node]};
        {false, {ok, Members}} ->
            case [down || #{node := N} <- Members, N =:= Node] of
                [] -> {error, topos_error:new(unknown_node, #{node => Node})};
                [Status] -> {error, topos_error:new(no_route, #{node => Node, status => Status})}
            end;
        {false, {error, _} = Error} -> Error
    end;
do(topos_topology, links, [], #{node := Node}) ->
    #{Node => topos_native_view:connected()}.

%% Sorted by name; a node that is a member with several specifications once.
-spec members(topos_native:here()) -> {ok, [topos_partisan:member()]} | {error, topos_error:t()}.
members(#{node := Own} = Here) ->
    case topos_native_view:members(Here, deadline(Here)) of
        {ok, Specs} ->
            Up = [Own | topos_native_view:connected()],
            Where = lists:foldl(
                fun(#{name := Node, listen_addrs := Addresses}, Acc) ->
                    Acc#{Node => maps:get(Node, Acc, []) ++ [{Ip, Port} || #{ip := Ip, port := Port} <- Addresses]}
                end, #{}, Specs),
            {ok, [
                #{
                    node => Node, status => case lists:member(Node, Up) of true -> up; false -> down end, incarnation => 0,
                    addresses => Addresses, metadata => #{}
                }
             || {Node, Addresses} <- lists:sort(maps:to_list(Where))
            ]};
        {error, _} = Error ->
            Error
    end.

-spec deadline(topos_native:here()) -> integer().
deadline(#{timeouts := #{call := Timeout}}) -> erlang:monotonic_time(millisecond) + Timeout.
