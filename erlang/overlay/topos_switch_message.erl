%% @doc The messages of `topos_switch_core' between nodes: tuples as they are, looked at before they are believed.
-module(topos_switch_message).

-export([check/1, cluster_wide/1, of_node/2]).

-define(MAX_NODES, 65_536).

%% @doc A term that came from a peer as a message; the topology in it is complete, with all rules kept.
-spec check(term()) -> {ok, topos_switch_core:message() | pause()} | error.
check({prepare, Epoch, Base, Topology, Members, Patience}) when is_integer(Patience), Patience > 0 ->
    case is_epoch(Epoch) andalso is_epoch(Base) andalso is_nodes(Members) andalso topology(Topology) of
        {ok, Known} -> {ok, {prepare, Epoch, Base, Known, Members, Patience}};
        _ -> error
    end;
check({commit, Epoch, Topology}) ->
    case is_epoch(Epoch) andalso topology(Topology) of
        {ok, Known} -> {ok, {commit, Epoch, Known}};
        _ -> error
    end;
check({Kind, Epoch} = Message) when
    Kind =:= ready; Kind =:= abort; Kind =:= committed; Kind =:= release; Kind =:= ask; Kind =:= active
->
    answer(is_epoch(Epoch), Message);
check({Kind, Epoch, Why} = Message) when Kind =:= not_ready; Kind =:= refused ->
    answer(is_epoch(Epoch) andalso is_why(Why), Message);
check({pause, Time} = Message) ->
    answer(is_integer(Time) andalso Time >= 0 andalso Time =< 3_600_000, Message);
check(_) ->
    error.

-type pause() :: {pause, Milliseconds :: 0..3_600_000}.

%% @doc The part of a topology that is the same on every node.
-spec cluster_wide(topos_config_topology:t()) -> topos_switch_core:topology().
cluster_wide(full_mesh) -> full_mesh;
cluster_wide(Topology) -> maps:remove(role, Topology).

%% @doc The topology as this node has it.
-spec of_node(topos_switch_core:topology(), node()) -> topos_config_topology:t().
of_node(#{type := client_server} = Topology, Node) ->
    topos_config_topology:complete(Topology#{role => by_hubs}, Node);
of_node(Topology, _) ->
    Topology.

%% internal

-spec answer(boolean(), Message) -> {ok, Message} | error.
answer(true, Message) -> {ok, Message};
answer(false, _) -> error.

-spec is_epoch(term()) -> boolean().
is_epoch({Counter, Node, Incarnation}) ->
    is_integer(Counter) andalso Counter >= 0 andalso is_atom(Node) andalso is_integer(Incarnation) andalso Incarnation >= 0;
is_epoch(_) ->
    false.

-spec is_nodes(term()) -> boolean().
is_nodes(Nodes) when is_list(Nodes), length(Nodes) =< ?MAX_NODES -> lists:all(fun is_atom/1, Nodes);
is_nodes(_) -> false.

-spec is_why(term()) -> boolean().
is_why({Kind, Nodes}) when Kind =:= down; Kind =:= suspect; Kind =:= waiting -> is_nodes(Nodes);
is_why({members, Missing, Extra}) -> is_nodes(Missing) andalso is_nodes(Extra);
is_why({Kind, Epoch}) when Kind =:= busy; Kind =:= behind -> is_epoch(Epoch);
is_why({not_started, {Reason, Details}}) -> is_atom(Reason) andalso is_map(Details);
is_why(Why) -> Why =:= releasing.

-spec topology(term()) -> {ok, topos_switch_core:topology()} | {error, topos_error:t()}.
topology(Term) ->
    case topos_config:parse_topology(Term, topos_local:config(node)) of
        {ok, Topology} -> {ok, cluster_wide(Topology)};
        {error, _} = Error -> Error
    end.
