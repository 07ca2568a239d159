%% @doc Topologies in a simulation: every node reaches every other, whatever the topology is.
%%
%% A switch is checked and agreed on as by real nodes. Which nodes are neighbours is known in a full mesh only; `topos
%% simulate' runs the overlays themselves.
-module(topos_sim_topology).
-behaviour(topos_sim_scheduler).

-export([switch/5, answer/4]).
-export([handle/3, happen/2, ended/4]).

%% The longest a switch takes where somebody does not follow, in milliseconds: the default of real nodes.
-define(TIMEOUT, 10_000).

%% @doc Switches the cluster of a node. The process that asked waits.
-spec switch(term(), topos_sim_world:node_id(), topos_config:t(), pid(), topos_sim_world:world()) ->
    topos_sim_scheduler:answer().
switch(Given, Id, #{node := Node}, Pid, World) ->
    Peers = [Peer || {_, Status, _} = Peer <- topos_sim_membership:peers(Id, World), Status =/= left],
    Names = [Node | [topos_sim_nodes:full_name(Peer, World) || {Peer, _, _} <- Peers]],
    Missing = [topos_sim_nodes:full_name(Peer, World) || {Peer, Status, _} <- lists:sort(Peers), Status =/= up],
    case topos_config:parse_topology(Given, Node) of
        {error, _} = Error ->
            {value, Error, World};
        {ok, Topology} ->
            case [Hub || Hub <- hubs(Topology), not lists:member(Hub, Names)] of
                [Stranger | _] ->
                    {value, {error, topos_error:new(unknown_node, #{node => Stranger})}, World};
                [] when Missing =/= [] ->
                    {value, {error, topos_error:new(partition_suspected, #{nodes => Missing})}, World};
                [] ->
                    {Wait, Parked} = topos_sim_world:park(Pid, "Distributed.set_topology", infinity, World),
                    %% To prepare, ready, to commit, committed.
                    {Until, Drawn} = lists:foldl(
                        fun(_, {Sum, W}) ->
                            {Late, W1} = topos_sim_network:delay(W),
                            {Sum + Late, W1}
                        end, {0, Parked}, [prepare, ready, commit, committed]),
                    Lives = [{Member, topos_sim_program:incarnation(Member, Drawn)}
                        || Member <- [Id | [Peer || {Peer, _, _} <- Peers]]],
                    {wait, topos_sim_world:within(Until, {?MODULE, {switched, Pid, Wait, Id, Given, Topology, Lives}},
                        Drawn)}
            end
    end.

%% @doc What `topos_topology' answers.
-spec answer(neighbours | unreached | metrics | {route, node()}, topos_sim_world:node_id(), topos_config:t(),
    topos_sim_world:world()) ->
    term().
answer(neighbours, Id, #{topology := full_mesh}, World) ->
    topos_sim_nodes:full_names([Peer || {Peer, up, _} <- topos_sim_membership:peers(Id, World)], World);
answer(neighbours, _, _, _) ->
    {error, topos_error:new(not_simulated,
        #{operation => "Distributed.neighbours where the topology is no full mesh"})};
answer(unreached, Id, _, World) ->
    case lists:sort([Peer || {Peer, Status, _} <- topos_sim_membership:peers(Id, World), Status =/= up,
        Status =/= left]) of
        [] -> ok;
        [Peer | _] -> {error, topos_error:new(unreachable,
            #{node => topos_sim_nodes:full_name(Peer, World), timeout => ?TIMEOUT})}
    end;
answer({route, Node}, Id, #{topology := Topology}, World) ->
    case topos_sim_nodes:find(Node, World) of
        {ok, Id} ->
            {ok, []};
        {ok, Peer} ->
            case topos_sim_membership:status(Id, Peer, World) of
                unknown -> {error, topos_error:new(unknown_node, #{node => Node})};
                {up, _} when Topology =:= full_mesh -> {ok, [Node]};
                {up, _} -> {error, topos_error:new(not_simulated,
                    #{operation => "Distributed.route where the topology is no full mesh"})};
                {Status, _} -> {error, topos_error:new(no_route, #{node => Node, status => Status})}
            end;
        error ->
            {error, topos_error:new(unknown_node, #{node => Node})}
    end;
answer(metrics, Id, _, World) ->
    Peers = topos_sim_membership:peers(Id, World),
    #{
        node_count => 1 + length([up || {_, up, _} <- Peers]),
        message_rate => topos_sim_network:message_rate(Id, World),
        average_latency => (topos_sim_network:round_trip(Id, World) + 500) div 1_000,
        network_partition_detected => [gone || {_, Status, _} <- Peers,
            Status =:= suspect orelse Status =:= down] =/= []
    }.

-spec handle(term(), pid(), topos_sim_world:world()) -> no_return().
handle(Request, _, _) -> erlang:error({no_operation_of_topologies, Request}).

%% All members follow, or none.
-spec happen(tuple(), topos_sim_world:world()) -> topos_sim_world:world().
happen({switched, Pid, Wait, Id, Given, Topology, Lives}, World) ->
    Lost = [Member || {Member, Life} <- Lives,
                      topos_sim_program:incarnation(Member, World) =/= Life orelse not topos_sim_nodes:is_open(Id,
                          Member, World)],
    case Lost of
        [] ->
            Switched = lists:foldl(
                fun({Member, _}, W) ->
                    #{node := Node} = Config = topos_sim_program:config(Member, W),
                    {ok, Own} = topos_config:parse_topology(Given, Node),
                    topos_sim_program:set_config(Member, Config#{topology := Own}, W)
                end, World, Lives),
            Opened = topos_sim_program:close_until(0, [Member || {Member, _} <- Lives], Switched),
            topos_sim_world:wake(Pid, Wait, {value, ok}, Opened);
        _ ->
            Names = [topos_sim_nodes:full_name(Member, World) || Member <- Lost],
            Error = topos_error:new(switch_rolled_back, #{
                nodes => Names, topology => topos_config_topology:type(Topology), timeout => ?TIMEOUT}),
            topos_sim_world:within(?TIMEOUT * 1_000, {wake, Pid, Wait, {error, Error}}, World)
    end.

-spec ended(pid(), topos_sim_world:process(), topos_sim_scheduler:reason(), topos_sim_world:world()) ->
    topos_sim_world:world().
ended(_, _, _, World) -> World.

%% internal

-spec hubs(topos_config_topology:t()) -> [node()].
hubs(#{hubs := Hubs}) -> Hubs;
hubs(_) -> [].
