%% @doc What each of Partisan's own managers can do of the API, as read in the source of Partisan 5.0.3 and measured on real VMs.
%%
%% `yes': as the function's documentation says. `{limited, Why}': it is done, with less than that. `{no, Why}': the function answers
%% the error `unsupported_by_manager' with this reason, and nothing is done. `ct_suites/topos_native_SUITE.erl' asks for every row on real nodes.
-module(topos_native_capabilities).

-export([managers/0, operations/0, lookup/2, all/1, module/1, name/1, refusal/3]).
-export_type([manager/0, operation/0, capability/0]).

-type manager() :: pluggable | hyparview | client_server.
%% A function of the API, whatever its number of arguments.
-type operation() :: {module(), Function :: atom()}.
-type capability() :: yes | {limited, Why :: binary()} | {no, Why :: binary()}.

-define(NO(Why), {no, <<Why>>}).
-define(LIMITED(Why), {limited, <<Why>>}).
-define(MANAGERS, [pluggable, hyparview, client_server]).

-define(NO_EVENTS_PLUGGABLE, ?NO("most of Partisan's up events are missing, its down events come again with every round of gossip, and neither can be cancelled")).
-define(NO_EVENTS, ?NO("this manager has no events")).
-define(NO_TREE, ?NO("there is no broadcast tree of the bridge, and messages to nodes that are no neighbours are lost or multiplied")).
-define(NO_LINK, ?NO("Partisan's messages have no acknowledgements that end, so there is no link to do it on")).
-define(NO_SWITCH, ?NO("a manager cannot be exchanged while it has peers: those of the others crash")).
-define(NO_CHANNELS, ?NO("Partisan reads its channels when it starts; a change crashes the manager")).
-define(NO_FIGURES, ?NO("Partisan counts no messages, no bytes and no time")).
-define(OWN_LINKS, ?LIMITED("the connections of this node alone")).
-define(ONE_HOP, ?LIMITED("a node that is connected with this one: no manager passes messages on")).
-define(SEND, ?LIMITED("at most once, to a node that is connected now; what its process is called is not checked; no `ack`, no `wait`")).
-define(SEND_CLIENT_SERVER,
    ?LIMITED("at most once, to a node that is connected now, on the default channel; what its process is called is not checked; no `ack`, no `wait`")).

-spec managers() -> [manager(), ...].
managers() -> ?MANAGERS.

%% @doc The module of Partisan.
-spec module(manager()) -> module().
module(pluggable) -> partisan_pluggable_peer_service_manager;
module(hyparview) -> partisan_hyparview_peer_service_manager;
module(client_server) -> partisan_client_server_peer_service_manager.

%% @doc What a module of Partisan is called here; any other is its own name.
-spec name(module()) -> manager() | module().
name(Module) ->
    case [Manager || Manager <- ?MANAGERS, module(Manager) =:= Module] of
        [Manager] -> Manager;
        [] -> Module
    end.

-spec operations() -> [operation()].
operations() -> [Operation || {Operation, _} <- rows()].

-spec lookup(manager(), operation()) -> capability().
lookup(Manager, Operation) ->
    {Operation, Capabilities} = lists:keyfind(Operation, 1, rows()),
    case Manager of
        pluggable -> element(1, Capabilities);
        hyparview -> element(2, Capabilities);
        client_server -> element(3, Capabilities)
    end.

%% @doc The whole table of a manager.
-spec all(manager()) -> #{operation() => capability()}.
all(Manager) -> maps:from_list([{Operation, lookup(Manager, Operation)} || Operation <- operations()]).

%% @doc The error for what a manager cannot do.
-spec refusal(manager(), operation() | binary(), Why :: binary()) -> {error, topos_error:t()}.
refusal(Manager, Operation, Why) ->
    {error, topos_error:new(unsupported_by_manager, #{operation => shown(Operation), manager => Manager, why => Why})}.

%% internal

-spec shown(operation() | binary()) -> binary().
shown({Module, Function}) -> <<(atom_to_binary(Module))/binary, ":", (atom_to_binary(Function))/binary>>;
shown(Text) -> Text.

-spec rows() -> [{operation(), {capability(), capability(), capability()}}].
rows() -> life() ++ membership() ++ messages() ++ work() ++ channels() ++ topology().

-spec life() -> [{operation(), {capability(), capability(), capability()}}].
life() ->
    [
        {{topos_partisan, start}, same(yes)},
        {{topos_partisan, stop}, same(yes)},
        {{topos_partisan, node}, same(yes)},
        {{topos_partisan, cluster}, same(?LIMITED("incarnation 0 and no counters: Partisan has neither; the cluster's name keeps nobody out"))}
    ].

-spec membership() -> [{operation(), {capability(), capability(), capability()}}].
membership() ->
    [
        {{topos_partisan, join}, {
            ?LIMITED("after an error the manager may go on dialling the node"),
            ?LIMITED("the node is a neighbour when this returns, and may be exchanged for another at any time; after an error the manager may go on dialling it"),
            ?LIMITED("one way: the node does not learn of this one, and can send it nothing, until it joins it as well; after an error the connection may stay open")
        }},
        {{topos_partisan, leave}, {
            ?LIMITED("the others forget this node, but keep their connections to it, so they list it among their `nodes` until it stops"),
            ?NO("Partisan answers not_implemented"),
            ?NO("the manager ends instead of answering, and so does that of a server which is told to remove a node")
        }},
        {{topos_partisan, members}, {
            ?LIMITED("those that died stay members, as `down`; `up` says that there is a connection, not that the node answers; no incarnations, no metadata"),
            ?LIMITED("neighbours alone; `up` says that there is a connection, not that the node answers; no incarnations, no metadata"),
            ?LIMITED("the nodes that this one joined, for ever; `up` says that there is a connection, not that the node answers; no incarnations, no metadata")
        }},
        {{topos_partisan, nodes}, same(?LIMITED("the nodes that are connected with this one, whether they answer or not"))},
        {{topos_partisan, on_up}, {?NO_EVENTS_PLUGGABLE, ?NO_EVENTS, ?NO_EVENTS}},
        {{topos_partisan, on_down}, {?NO_EVENTS_PLUGGABLE, ?NO_EVENTS, ?NO_EVENTS}},
        {{topos_partisan, subscribe}, {?NO_EVENTS_PLUGGABLE, ?NO_EVENTS, ?NO_EVENTS}},
        {{topos_partisan, cancel}, {?NO_EVENTS_PLUGGABLE, ?NO_EVENTS, ?NO_EVENTS}}
    ].

-spec messages() -> [{operation(), {capability(), capability(), capability()}}].
messages() ->
    Broadcast = ?LIMITED("one message to each node that is connected now, at most once"),
    Inbox = fun(Send) -> {limited, <<(element(2, Send))/binary, "; the node must be one of this release with a native topology">>} end,
    [
        {{topos_partisan, send}, {?SEND, ?SEND, ?SEND_CLIENT_SERVER}},
        {{topos_partisan, broadcast}, same(Broadcast)},
        {{topos_inbox, send}, {Inbox(?SEND), Inbox(?SEND), Inbox(?SEND_CLIENT_SERVER)}},
        {{topos_inbox, recv}, same(yes)}
    ].

-spec work() -> [{operation(), {capability(), capability(), capability()}}].
work() ->
    [{{topos_partisan, Function}, same(?NO_LINK)} || Function <- [spawn, monitor, demonitor]]
        ++ [{{topos_process, Function}, same(?NO_LINK)}
            || Function <- [self, ref, spawn, spawn_as, send, monitor, demonitor, exit, whereis, is_alive]]
        ++ [{{topos_request, call}, same(?NO_LINK)}].

-spec channels() -> [{operation(), {capability(), capability(), capability()}}].
channels() ->
    [{{topos_channel, Function}, same(?NO_CHANNELS)} || Function <- [create, close, reconfigure]]
        ++ [
            {{topos_channel, list}, same(?LIMITED("only what Partisan knows of a channel: parallelism, monotonic, compression"))},
            {{topos_channel, stats}, same(?NO_FIGURES)},
            {{topos_channel, health}, same(?NO_FIGURES)},
            {{topos_channel, with_default}, {yes, yes, ?LIMITED("what is sent in it is refused: this manager sends on the default channel alone")}}
        ].

-spec topology() -> [{operation(), {capability(), capability(), capability()}}].
topology() ->
    [
        {{topos_topology, current}, same(yes)},
        {{topos_topology, current_topology}, same(yes)},
        {{topos_topology, capabilities}, same(yes)},
        {{topos_topology, supported}, same(yes)},
        {{topos_topology, set_topology}, same(?NO_SWITCH)},
        {{topos_topology, status}, same(?NO_SWITCH)},
        {{topos_topology, metrics}, same(?NO_FIGURES)},
        {{topos_topology, pause_new_connections}, same(?NO("no manager refuses new nodes"))},
        {{topos_topology, resume_new_connections}, same(?NO("no manager refuses new nodes"))},
        {{topos_topology, reconnect_all}, same(?NO("the manager dials by timers of its own"))},
        {{topos_topology, neighbours}, same(?LIMITED("the nodes that are connected with this one, whether they answer or not"))},
        {{topos_topology, views}, {
            ?LIMITED("active: all members"),
            ?LIMITED("the manager's views, which may be one-sided and hold nodes that died"),
            ?LIMITED("active: the nodes that this one joined")
        }},
        {{topos_topology, route}, same(?ONE_HOP)},
        {{topos_topology, hops}, same(?ONE_HOP)},
        {{topos_topology, links}, same(?OWN_LINKS)},
        {{topos_topology, broadcast}, same(?NO_TREE)}
    ].

-spec same(capability()) -> {capability(), capability(), capability()}.
same(Capability) -> {Capability, Capability, Capability}.
