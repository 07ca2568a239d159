%% @doc The topology: who this node keeps links to, which way leads to the others, and how the cluster gets another one.
%%
%% ```
%% #{type := hyparview, active_view := 5} = topos_topology:current(),
%% [_, _, _, _, _] = topos_topology:neighbours(),
%% {ok, ['relay@10.0.0.7', 'far@10.0.0.9']} = topos_topology:route('far@10.0.0.9'),
%% {ok, 2} = topos_topology:hops('far@10.0.0.9').
%% '''
%% The topology is chosen with `topology' in the configuration (see `topos_config_topology'), the same type on all nodes
%% of a cluster. What `topos_partisan' and the other modules do holds in every topology, for every member: neighbour or
%% not. Answers are this node's present view, which follows a change somewhere else after some tens of milliseconds.
-module(topos_topology).

-include("topos_frame.hrl").

-export([current/0, current_topology/0, set_topology/1, set_topology/2, status/0, metrics/0]).
-export([pause_new_connections/0, pause_new_connections/1, resume_new_connections/0, reconnect_all/0, reconnect_all/1]).
-export([neighbours/0, views/0, route/1, hops/1, links/0, broadcast/2]).
-export([capabilities/0, capabilities/1, supported/2]).
-export_type([topology/0, views/0, metrics/0, status/0, capabilities/0]).

%% The topology with all its settings; a full mesh has none.
-type topology() :: #{type := topos_config_topology:type(), atom() => term()}.
%% `handler': of a custom topology alone.
-type status() :: #{
    epoch := topos_switch_core:epoch(), state := stable | preparing | adopting | releasing, handler => ok | {error, topos_error:t()}
}.
%% `active': the nodes that the topology wants links to. `passive': those that it may turn to when it loses one of them:
%% HyParView's passive view, the hubs that a client does not use; empty elsewhere. Both sorted.
-type views() :: #{active := [node()], passive := [node()]}.

%% What a choice of topology may rest on, as measured by this node. `nodes': up, this one too. `message_rate': messages a second that this node sent
%% and received on all channels, over the last two seconds. `round_trip': microseconds from sending a batch to its acknowledgement, the medians of
%% all peers and channels, weighted by how many were measured; 0 before the first. `missing': members that are suspect, down, or were never
%% heard; not empty where the cluster may be cut in parts.
-type metrics() :: #{nodes := pos_integer(), message_rate := float(), round_trip := non_neg_integer(), missing := [node()]}.

%% By function of the API, whatever its number of arguments.
-type capabilities() :: #{topos_native_capabilities:operation() => topos_native_capabilities:capability()}.

%% @doc What the running node can do: each function of the API with `yes', `{limited, Why}' or `{no, Why}'. With a native topology that is the
%% table of its manager, and a function with `{no, Why}' answers `unsupported_by_manager'; with any other it is `yes' for all, on every engine.
-spec capabilities() -> capabilities() | {error, topos_error:t()}.
capabilities() ->
    case topos_local:is_started() of
        true -> maps:from_list([{Operation, yes} || Operation <- topos_native_capabilities:operations()]);
        false -> topos_native_node:capabilities()
    end.

%% @doc What a node with such a native topology could do.
-spec capabilities(topos_native_capabilities:manager()) -> capabilities().
capabilities(Manager) -> topos_native_capabilities:all(Manager).

%% @doc `ok' if the running node can do what this function of the API does, limited or not; else the error that it would answer.
-spec supported(module(), Function :: atom()) -> ok | {error, topos_error:t()}.
supported(Module, Function) ->
    case topos_local:is_started() of
        true -> ok;
        false -> topos_native_node:supported(Module, Function)
    end.

%% @doc The topology of this node.
-spec current() -> topology() | {error, topos_error:t()}.
current() ->
    topos_partisan:started({?MODULE, current, []}, fun() ->
        case topos_local:config(topology) of
            full_mesh -> #{type => full_mesh};
            Topology -> Topology
        end
    end).

%% @equiv current()
-spec current_topology() -> topology() | {error, topos_error:t()}.
current_topology() -> current().

%% @equiv set_topology(Topology, #{})
-spec set_topology(term()) -> ok | {error, topos_error:t()}.
set_topology(Topology) -> set_topology(Topology, #{}).

%% @doc Switches the whole cluster to a topology, given as `topology' of a configuration is: `full_mesh', `#{type => hyparview}',
%% `#{type => client_server, hubs => [...]}', `#{type => custom, handler => my_ring}'. A setting `role' counts for nobody: a node is a hub if it is among `hubs'.
%%
%% `ok': every member that is not down routes by the new topology, and the links of the old one are being closed. Messages go on meanwhile; none is
%% lost, doubled or reordered. It is `ok' at once if this is the topology already. Members that come later, or back, get it from the others.
%%
%% `timeout' (milliseconds, default 10,000) bounds the preparation, and the completion once more. Errors; after the first six the
%% topology is as it was, everywhere:
%% <ul>
%% <li>`invalid_config': the topology has mistakes;</li>
%% <li>`unknown_node': a hub is not a member;</li>
%% <li>`partition_suspected': a member is not up, here or as another member sees it;</li>
%% <li>`switch_in_progress': a switch is not over yet;</li>
%% <li>`switch_conflict': another node began one at the same time, and its goes first;</li>
%% <li>`switch_rolled_back': the members in `nodes' did not follow in time, or went down; `why' says what they said;</li>
%% <li>`switch_unconfirmed': the switch is decided and goes on, but `nodes' did not confirm it yet.</li>
%% </ul>
-spec set_topology(term(), #{timeout => pos_integer()}) -> ok | {error, topos_error:t()}.
set_topology(Topology, Options) when is_map(Options) ->
    Timeout = timeout(Options),
    topos_partisan:started({?MODULE, set_topology, [Topology, Options]}, fun() ->
        case topos_config:parse_topology(Topology, topos_local:config(node)) of
            {ok, Parsed} -> topos_switch:set_topology(Parsed, Timeout);
            {error, _} = Error -> Error
        end
    end).

%% @doc The epoch of the topology: how often it was switched, by whom at last and in which life of that node; whether a switch is under way;
%% and, of a custom topology, why its handler failed when it was asked last.
-spec status() -> status() | {error, topos_error:t()}.
status() ->
    topos_partisan:started({?MODULE, status, []}, fun() ->
        Status = topos_switch:status(),
        case topos_local:config(topology) of
            #{type := custom} ->
                Handler = case topos_overlay:handler_error() of none -> ok; Error -> {error, Error} end,
                Status#{handler => Handler};
            _ ->
                Status
        end
    end).

%% @doc Measurements to choose a topology by.
-spec metrics() -> metrics() | {error, topos_error:t()}.
metrics() ->
    topos_partisan:started({?MODULE, metrics, []}, fun() ->
        {ok, Rows} = topos_channel:stats(),
        Rates = [Out + In || #{rates := #{messages_out := Out, messages_in := In}} <- Rows],
        Trips = [{Median * Count, Count} || #{rtt := #{p50 := Median, count := Count}} <- Rows],
        {Total, Measured} = lists:foldl(fun({T, C}, {Ts, Cs}) -> {T + Ts, C + Cs} end, {0, 0}, Trips),
        #{
            nodes => 1 + length(topos_cluster:up()),
            message_rate => lists:sum([0.0 | Rates]),
            round_trip => Total div max(1, Measured),
            missing => lists:sort([N || #{node := N, status := S} <- topos_cluster:members(), S =/= up, S =/= left])
        }
    end).

%% @equiv pause_new_connections(30_000)
-spec pause_new_connections() -> ok | {error, topos_error:t()}.
pause_new_connections() -> pause_new_connections(30_000).

%% @doc For so many milliseconds, or until the next switch is over, no member of the cluster that is up now takes a new member: `join' there is an error
%% (`connections_paused'), and a node that wants to join waits. Members that reconnect are not concerned.
-spec pause_new_connections(1..3_600_000) -> ok | {error, topos_error:t()}.
pause_new_connections(Time) when is_integer(Time), Time > 0, Time =< 3_600_000 ->
    topos_partisan:started({?MODULE, pause_new_connections, [Time]}, fun() -> topos_switch:pause(Time) end).

%% @doc Ends a {@link pause_new_connections/1}, of any node.
-spec resume_new_connections() -> ok | {error, topos_error:t()}.
resume_new_connections() -> topos_partisan:started({?MODULE, resume_new_connections, []}, fun() -> topos_switch:pause(0) end).

%% @equiv reconnect_all(#{})
-spec reconnect_all() -> ok | {error, topos_error:t()}.
reconnect_all() -> reconnect_all(#{}).

%% @doc Dials every node that this one is to have a link to and has none, now instead of at the next attempt, and waits until all are there, at
%% most `timeout' milliseconds (default 10,000). Links that work are left alone. Error: `unreachable', with the first node that is missing.
-spec reconnect_all(#{timeout => pos_integer()}) -> ok | {error, topos_error:t()}.
reconnect_all(Options) when is_map(Options) ->
    Timeout = timeout(Options),
    topos_partisan:started({?MODULE, reconnect_all, [Options]}, fun() -> topos_switch:reconnect(Timeout) end).

%% @doc The nodes that this one has a working link to, as the topology wants it, sorted.
-spec neighbours() -> [node()] | {error, topos_error:t()}.
neighbours() ->
    topos_partisan:started({?MODULE, neighbours, []}, fun() ->
        case topos_local:config(topology) of
            full_mesh -> topos_cluster:up();
            _ -> lists:sort([Via || [Via] <- ets:match(topos_routes, {'_', '$1', 1})])
        end
    end).

%% @doc The views of the topology.
-spec views() -> views() | {error, topos_error:t()}.
views() ->
    topos_partisan:started({?MODULE, views, []}, fun() ->
        #{active => lists:sort(topos_overlay:view()), passive => lists:sort(topos_overlay:reserve())}
    end).

%% @doc The nodes on the way to a member, the last being that member; `[]' to this node itself. The way of what is sent
%% now: it changes with the links. Errors: `unknown_node', `no_route'.
-spec route(node()) -> {ok, [node()]} | {error, topos_error:t()}.
route(Node) when is_atom(Node) ->
    topos_partisan:started({?MODULE, route, [Node]}, fun() ->
        case {topos_local:config(node), topos_link:status(Node)} of
            {Node, _} ->
                {ok, []};
            {_, unknown} ->
                {error, topos_error:new(unknown_node, #{node => Node})};
            {_, {Status, _}} ->
                case topos_overlay:path(Node) of
                    [] -> {error, topos_error:new(no_route, #{node => Node, status => Status})};
                    Path -> {ok, Path}
                end
        end
    end).

%% @doc How many links the way to a member has, 0 to this node itself. Errors as of {@link route/1}.
-spec hops(node()) -> {ok, non_neg_integer()} | {error, topos_error:t()}.
hops(Node) ->
    case route(Node) of
        {ok, Path} -> {ok, length(Path)};
        {error, _} = Error -> Error
    end.

%% @doc Every node in reach with its neighbours, as the nodes told each other. In a full mesh, where nothing is told,
%% this node's own links.
-spec links() -> #{node() => [node()]} | {error, topos_error:t()}.
links() ->
    topos_partisan:started({?MODULE, links, []}, fun() ->
        maps:from_list([{Node, lists:sort(To)} || {Node, To} <- topos_overlay:graph()])
    end).

%% @doc Sends to the processes of that name on all other nodes along a broadcast tree: each node passes it to a few, so
%% the cost for this node does not grow with the cluster. No answer says who got it.
%%
%% Each node gets it at most once, and exactly once if it stays connected to this one by nodes that live. Two broadcasts
%% may arrive in either order. `topos_partisan:broadcast/2' keeps order and answers for each node, at the price of one
%% message a node. In a full mesh this is that. Error: `message_too_large'.
-spec broadcast(atom() | binary(), term()) -> ok | {error, topos_error:t()}.
broadcast(Name, Message) when is_atom(Name) -> broadcast(atom_to_binary(Name), Message);
broadcast(Name, Message) when is_binary(Name), byte_size(Name) =< 255 ->
    topos_partisan:started({?MODULE, broadcast, [Name, Message]}, fun() ->
        Bytes = term_to_binary(Message),
        #{max_message_bytes := Max} = topos_local:hot(),
        case {byte_size(Bytes), topos_local:config(topology)} of
            {Size, _} when Size > Max ->
                {error, topos_error:new(message_too_large, #{size => Size, limit => Max})};
            {_, full_mesh} ->
                case topos_partisan:broadcast(Name, Message) of
                    {ok, _} -> ok;
                    {error, _} = Error -> Error
                end;
            _ ->
                topos_overlay:broadcast(<<?TOPOS_DEST_NAME, (byte_size(Name)), Name/binary, Bytes/binary>>)
        end
    end).

%% internal

-spec timeout(#{timeout => pos_integer()}) -> pos_integer().
timeout(Options) ->
    case maps:get(timeout, Options, 10_000) of
        Timeout when is_integer(Timeout), Timeout > 0, Timeout =< 600_000 -> Timeout
    end.
