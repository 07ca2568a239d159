%% @doc One topology machine of this node: the state machine in Rust (`topos_overlay_nif'), its clock, and what it asked for so far.
%%
%% A node has one machine, and two while the topology is switched. Each has a <em>tag</em> made of the switch's epoch: messages carry it,
%% so the machines of one epoch talk to each other alone. Pure but for the machine itself, which is behind a resource.
-module(topos_overlay_machine).

-include("topos_frame.hrl").

-export([new/3, new/4, tag/1, untag/1, kind/1, epoch/1, topology/1, handle/3, want/2, unwant/2, is_wanted/2, wanted/1]).
-export([ask_handler/3, handler_answered/3, handler_error/1]).
-export([routed/3, route/2, routes/1, ticking/2, is_tick/2, view/1, reserve/1, path/2, graph/1, age/2]).
-export_type([t/0, tag/0]).

-record(machine, {
    epoch :: topos_switch_core:epoch(),
    topology :: topos_config_topology:t(),
    kind :: topos_overlay_nif:kind(),
    overlay :: topos_overlay_nif:overlay(),
    %% Who decides on a custom topology.
    handler = none :: none | topos_topology_handler:t(),
    start :: integer(),
    tick = undefined :: reference() | undefined,
    %% The nodes it wants links to.
    wants = #{} :: #{node() => true},
    routes = #{} :: #{topos_overlay_nif:name() => {node(), pos_integer()}}
}).
-opaque t() :: #machine{}.
-type tag() :: <<_:64>>.

%% @doc A machine for this epoch, without members.
-spec new(topos_switch_core:epoch(), topos_config:t(), Now :: integer()) -> {ok, t()} | {error, topos_error:t()}.
new(Epoch, Config, Now) -> new(Epoch, Config, Now, ready).

%% @doc `later': the handler of a custom topology need not work yet.
-spec new(topos_switch_core:epoch(), topos_config:t(), Now :: integer(), ready | later) -> {ok, t()} | {error, topos_error:t()}.
new(Epoch, #{topology := Topology} = Config, Now, How) ->
    <<Seed:64>> = crypto:strong_rand_bytes(8),
    {Kind, Params} = parameters(Config),
    case {handler(Config, How), topos_overlay_nif:new(Kind, Params, Seed)} of
        {{ok, Handler}, {ok, Overlay}} ->
            {ok, #machine{epoch = Epoch, topology = Topology, kind = Kind, overlay = Overlay, handler = Handler, start = Now}};
        {{error, _} = Error, _} ->
            Error;
        {_, {error, _} = Error} ->
            Error
    end.

%% @doc What messages of this epoch's machines begin with.
-spec tag(topos_switch_core:epoch()) -> tag().
tag({0, _, _}) ->
    <<0:64>>;
tag(Epoch) ->
    <<Tag:8/binary, _/binary>> = crypto:hash(sha256, term_to_binary(Epoch, [{minor_version, 2}, deterministic])),
    Tag.

-spec untag(binary()) -> {tag(), binary()} | error.
untag(<<Tag:8/binary, Bytes/binary>>) -> {Tag, Bytes};
untag(_) -> error.

-spec kind(t()) -> topos_overlay_nif:kind().
kind(#machine{kind = Kind}) -> Kind.

-spec epoch(t()) -> topos_switch_core:epoch().
epoch(#machine{epoch = Epoch}) -> Epoch.

-spec topology(t()) -> topos_config_topology:t().
topology(#machine{topology = Topology}) -> Topology.

%% @doc Milliseconds since it was made.
-spec age(integer(), t()) -> integer().
age(Now, #machine{start = Start}) -> Now - Start.

-spec handle(topos_overlay_nif:event(), Now :: integer(), t()) -> {ok, [topos_overlay_nif:action()]} | {error, topos_error:t()}.
handle(Event, Now, #machine{overlay = Overlay, start = Start}) -> topos_overlay_nif:handle(Overlay, Now - Start, Event).

%% @doc Asks the handler of a custom topology, where the members that are up have changed. See {@link topos_topology_handler:look/3}.
-spec ask_handler(Now :: integer(), [node()], t()) -> t().
ask_handler(_, _, #machine{handler = none} = Machine) -> Machine;
ask_handler(Now, Members, #machine{handler = Handler} = Machine) ->
    Machine#machine{handler = topos_topology_handler:look(Now, Members, Handler)}.

%% @doc What the `DOWN' of a handler's process says, if it is of this machine's.
-spec handler_answered({reference(), term()}, Now :: integer(), t()) -> {wanted, [node()], t()} | {failed, topos_error:t(), t()} | none.
handler_answered(_, _, #machine{handler = none}) -> none;
handler_answered(Down, Now, #machine{handler = Handler} = Machine) ->
    case topos_topology_handler:result(Down, Now, Handler) of
        none -> none;
        {What, Answer, Next} -> {What, Answer, Machine#machine{handler = Next}}
    end.

-spec handler_error(t()) -> none | topos_error:t().
handler_error(#machine{handler = none}) -> none;
handler_error(#machine{handler = Handler}) -> topos_topology_handler:error(Handler).

-spec want(node(), t()) -> t().
want(Node, #machine{wants = Wants} = Machine) -> Machine#machine{wants = Wants#{Node => true}}.

-spec unwant(node(), t()) -> t().
unwant(Node, #machine{wants = Wants} = Machine) -> Machine#machine{wants = maps:remove(Node, Wants)}.

-spec is_wanted(node(), t()) -> boolean().
is_wanted(Node, #machine{wants = Wants}) -> is_map_key(Node, Wants).

-spec wanted(t()) -> [node()].
wanted(#machine{wants = Wants}) -> maps:keys(Wants).

%% @doc Takes note of routes, and of names that none leads to.
-spec routed([{topos_overlay_nif:name(), node(), pos_integer()}], [topos_overlay_nif:name()], t()) -> t().
routed(New, Lost, #machine{routes = Routes} = Machine) ->
    Known = maps:merge(Routes, maps:from_list([{Name, {Via, Hops}} || {Name, Via, Hops} <- New])),
    Machine#machine{routes = maps:without(Lost, Known)}.

-spec route(topos_overlay_nif:name(), t()) -> {ok, {node(), pos_integer()}} | error.
route(Name, #machine{routes = Routes}) -> maps:find(Name, Routes).

%% @doc The names that a route leads to.
-spec routes(t()) -> [topos_overlay_nif:name()].
routes(#machine{routes = Routes}) -> maps:keys(Routes).

%% @doc Its next tick; the one before is no more.
-spec ticking(reference() | undefined, t()) -> t().
ticking(Tick, #machine{tick = Before} = Machine) ->
    _ = case Before of
        undefined -> false;
        _ -> erlang:cancel_timer(Before)
    end,
    Machine#machine{tick = Tick}.

-spec is_tick(reference(), t()) -> boolean().
is_tick(Tick, #machine{tick = Expected}) -> Tick =:= Expected.

-spec view(t()) -> [topos_overlay_nif:name()].
view(#machine{overlay = Overlay}) -> topos_overlay_nif:view(Overlay).

-spec reserve(t()) -> [topos_overlay_nif:name()].
reserve(#machine{overlay = Overlay}) -> topos_overlay_nif:reserve(Overlay).

-spec path(topos_overlay_nif:name(), t()) -> [topos_overlay_nif:name()].
path(Name, #machine{kind = full_mesh} = Machine) -> [Name || lists:member(Name, view(Machine))];
path(Name, #machine{overlay = Overlay}) -> topos_overlay_nif:path(Overlay, Name).

-spec graph(t()) -> [{topos_overlay_nif:name(), [topos_overlay_nif:name()]}].
graph(#machine{kind = full_mesh} = Machine) -> [{topos_local:name(), view(Machine)}];
graph(#machine{overlay = Overlay}) -> topos_overlay_nif:graph(Overlay).

%% internal

-spec parameters(topos_config:t()) -> {topos_overlay_nif:kind(), topos_overlay_nif:params()}.
parameters(#{node := Node, topology := Topology, limits := #{max_members := Max}}) ->
    %% Candidates count as members of the overlay until they prove to be any.
    Common = #{own => atom_to_binary(Node), max_members => 2 * Max},
    case Topology of
        full_mesh ->
            {full_mesh, Common};
        #{type := hyparview} ->
            Known = maps:merge(Common, maps:remove(type, Topology)),
            {hyparview, Known#{epoch => topos_local:incarnation()}};
        #{type := client_server, hubs := Hubs} ->
            Known = maps:merge(Common, maps:remove(type, Topology)),
            {client_server, Known#{epoch => topos_local:incarnation(), hubs := [atom_to_binary(Hub) || Hub <- Hubs]}};
        #{type := custom, max_links := MaxLinks, request_timeout := Timeout} ->
            {custom, Common#{epoch => topos_local:incarnation(), max_links => MaxLinks, request_timeout => Timeout}}
    end.

-spec handler(topos_config:t(), ready | later) -> {ok, none | topos_topology_handler:t()} | {error, topos_error:t()}.
handler(#{topology := #{type := custom} = Topology, node := Node}, ready) -> topos_topology_handler:new(Topology, Node);
handler(#{topology := #{type := custom} = Topology, node := Node}, later) -> {ok, topos_topology_handler:later(Topology, Node)};
handler(_, _) -> {ok, none}.
