%% @doc Overlays: topologies as state machines in Rust, driven by one Erlang process each.
%%
%% The process tells the machine what happened, with the time, and carries out the actions that come back:
%% ```
%% {ok, Overlay} = topos_overlay_nif:new(full_mesh, #{own => <<"a@host">>}, Seed),
%% Now = erlang:monotonic_time(millisecond) - Start,
%% {ok, Actions} = topos_overlay_nif:handle(Overlay, Now, {joined, <<"b@host">>}),
%% [{set_view, [<<"b@host">>]}, {connect, <<"b@host">>}, {schedule_tick, 5000}] = Actions.
%% '''
%% On every topology but the full mesh a broadcast tree and routes to all nodes stand on the overlay.
%%
%% == The driver's duties ==
%% <ul>
%% <li>Times are milliseconds from any fixed moment, not negative. A time before one seen earlier counts as the latest
%%     seen.</li>
%% <li>`{schedule_tick, Ms}' replaces the tick scheduled before: send the event `tick' after so many milliseconds. One
%%     timer an overlay is enough; early and late ticks do no harm.</li>
%% <li>`{connect, Node}' is answered by `{link_up, Node}' or `{link_down, Node}'. Without either within
%%     `connect_timeout' the overlay takes it for a failure and tries again later.</li>
%% <li>`{send, Node, Bytes}' goes to the overlay of that node, in order, and reaches it as `{received, From, Bytes}'.
%%     Without a link or a route to the node one is opened for it; if it cannot be sent, the machine is told
%%     `{link_down, Node}'. A full mesh sends nothing.</li>
%% <li>`{disconnect, Node}': close the link, after what was sent on it; give up attempts to open one.</li>
%% <li>`{confirmed, Node}' says that the link to the node carries messages both ways, `{unconfirmed, Node}' that it does
%%     not any more. Routes lead over confirmed links of the view, the tree stands on them.</li>
%% <li>`{routes, [{Node, Via, Hops}]}' are routes that are new or changed; to the nodes of `{lost, Nodes}' none
%%     leads.</li>
%% <li>`{met, Node}': a link to a member is up, and no route leads to it; the overlay joins the two parts.</li>
%% <li>`{wanted, Nodes}': what decides a `custom' topology wants links to these.</li>
%% <li>`{broadcast, Bytes}' sends to all nodes along the tree; there it is `{broadcast, {Origin, Epoch, Number}, Hops,
%%     Bytes}'.</li>
%% <li>`{live_again, Epoch}': the node has a new, greater incarnation.</li>
%% <li>A call that raises `overlay_poisoned' says that an earlier call panicked: the driver must end, and begin
%%     anew.</li>
%% </ul>
%% The same seed and events give the same actions. A resource may be passed between the processes of one VM, calls are
%% serialised; it cannot be sent to another.
-module(topos_overlay_nif).

-export([new/3, handle/3, view/1, reserve/1, path/2, graph/1]).
-export_type([overlay/0, kind/0, params/0, event/0, action/0, name/0]).

-type overlay() :: topos_nif:overlay().
-type kind() :: full_mesh | hyparview | client_server | custom.

-type name() :: binary().
%% A node: opaque at this layer, 1 to 1020 bytes.

-type params() :: #{own := name(), atom() => non_neg_integer() | hub | client | [name()]}.
%% Of every kind, times in milliseconds: `own'; `backoff_min' and `backoff_max' (100, 10,000: the waits between
%% attempts, doubled each time, the upper half drawn at random); `max_members' (4,096).
%%
%% Of `full_mesh': `connect_timeout' (5,000) and `max_connecting' (64 attempts at once).
%%
%% Of the others: `epoch' (the incarnation of the node, required) and `request_timeout' (5,000). Of `hyparview':
%% `active_view' (5), `passive_view' (30), `active_walk' (6), `passive_walk' (3), `shuffle_active' (3),
%% `shuffle_passive' (4), `shuffle_period' (10,000), `mix_period' (60,000; 0 for never). Of `client_server': `role' and
%% `hubs' (required), `hubs_of_a_client' (1), `max_clients' (4,096). Of `custom': `max_links' (64) and `period' (2,000).

-type event() ::
    {joined, name()} | {left, name()} | {link_up, name()} | {link_down, name()} | {met, name()} | {wanted, [name()]}
    | {confirmed, name()}
    | {unconfirmed, name()} | {received, name(), binary()} | {broadcast, binary()} | {live_again, non_neg_integer()}
    | tick.
-type action() ::
    {connect, name()} | {disconnect, name()} | {set_view, [name()]} | {send, name(), binary()}
    | {schedule_tick, non_neg_integer()}
    | {broadcast, {Origin :: name(), Epoch :: non_neg_integer(), Number :: non_neg_integer()}, Hops :: pos_integer(),
       binary()}
    | {routes, [{name(), Via :: name(), Hops :: pos_integer()}]} | {lost, [name()]}.

%% @doc A new overlay without members. The error is `invalid_overlay', with the parameter, what it may be, and what
%% came; or that of {@link topos_nif:status/0}, without a library.
-spec new(kind(), params(), Seed :: 0..16#FFFFFFFFFFFFFFFF) -> {ok, overlay()} | {error, topos_error:t()}.
new(Kind, Params, Seed) ->
    case lists:member(Kind, kinds()) of
        false ->
            invalid(kind, lists:join(", ", [atom_to_list(K) || K <- kinds()]), Kind);
        true ->
            Defaults = maps:from_list([{Key, Default} || {Key, _, Default} <- fields(Kind), Default =/= required]),
            All = maps:merge(Defaults, Params),
            case mistakes(Kind, All) of
                none -> create(Kind, All, Seed);
                {Key, Expected} -> invalid(Key, Expected, maps:get(Key, All, none))
            end
    end.

%% @doc Takes an event that happened at `Now' (milliseconds). An error (`invalid_overlay' for a name that is none,
%% `overlay_full') leaves the overlay as it was.
-spec handle(overlay(), Now :: non_neg_integer(), event()) -> {ok, [action()]} | {error, topos_error:t()}.
handle(Overlay, Now, Event) ->
    case topos_nif:overlay_handle(Overlay, Now, Event) of
        dirty -> result(topos_nif:overlay_handle_dirty(Overlay, Now, Event));
        Answer -> result(Answer)
    end.

%% @doc The nodes to keep links to, in the order of their names, without the own one.
-spec view(overlay()) -> [name()].
view(Overlay) ->
    topos_nif:overlay_view(Overlay).

%% @doc Nodes that it may turn to when it loses one of the view, in no order: the passive view, or a client's other
%% hubs.
-spec reserve(overlay()) -> [name()].
reserve(Overlay) ->
    topos_nif:overlay_reserve(Overlay).

%% @doc The nodes on the way to another, the last being that node; `[]' if no way is known, and on a full mesh.
-spec path(overlay(), name()) -> [name()].
path(Overlay, Target) ->
    topos_nif:overlay_path(Overlay, Target).

%% @doc All nodes in reach with their neighbours, this node first; `[]' on a full mesh.
-spec graph(overlay()) -> [{name(), [name()]}].
graph(Overlay) ->
    topos_nif:overlay_graph(Overlay).

%% internal

-spec create(kind(), map(), non_neg_integer()) -> {ok, overlay()} | {error, topos_error:t()}.
create(Kind, Params, Seed) ->
    case topos_nif:status() of
        ok -> result(topos_nif:overlay_new(Kind, Params, Seed));
        {error, _} = Error -> Error
    end.

-spec kinds() -> [kind(), ...].
kinds() -> [full_mesh, hyparview, client_server, custom].

-type type() :: name | names | role | time | byte | count | epoch.

-spec fields(kind()) -> [{atom(), type(), required | non_neg_integer()}].
fields(full_mesh) ->
    [{connect_timeout, time, 5_000}, {max_connecting, count, 64} | common()];
fields(hyparview) ->
    [
        {epoch, epoch, required}, {request_timeout, time, 5_000}, {active_view, count, 5}, {passive_view, count, 30},
        {active_walk, byte, 6}, {passive_walk, byte, 3}, {shuffle_active, count, 3}, {shuffle_passive, count, 4},
        {shuffle_period, time, 10_000}, {mix_period, time, 60_000} | common()
    ];
fields(client_server) ->
    [
        {epoch, epoch, required}, {request_timeout, time, 5_000}, {role, role, required}, {hubs, names, required},
        {hubs_of_a_client, count, 1}, {max_clients, count, 4_096} | common()
    ];
fields(custom) ->
    [{epoch, epoch, required}, {request_timeout, time, 5_000}, {period, time, 2_000}, {max_links, count, 64} | common()].

-spec common() -> [{atom(), type(), required | pos_integer()}].
common() ->
    [{own, name, required}, {backoff_min, time, 100}, {backoff_max, time, 10_000}, {max_members, count, 4_096}].

%% The library checks ranges; here is what its types cannot hold, so that a mistake is an error and not a badarg.
-spec mistakes(kind(), map()) -> none | {atom(), string()}.
mistakes(Kind, All) ->
    Fields = fields(Kind),
    Wrong = [{Key, expected(Type)} || {Key, Type, _} <- Fields, not is_type(Type, maps:get(Key, All, none))],
    case maps:keys(All) -- [Key || {Key, _, _} <- Fields] of
        [Unknown | _] -> {Unknown, "one of the known parameters"};
        [] when Wrong =/= [] -> hd(Wrong);
        [] -> none
    end.

-spec is_type(type(), term()) -> boolean().
is_type(name, Value) -> is_binary(Value);
is_type(names, Value) -> is_list(Value) andalso length(Value) < 256 andalso lists:all(fun is_binary/1, Value);
is_type(role, Value) -> Value =:= hub orelse Value =:= client;
is_type(byte, Value) -> is_integer(Value) andalso Value >= 0 andalso Value =< 255;
is_type(count, Value) -> is_integer(Value) andalso Value >= 0 andalso Value =< 16#FFFFFFFF;
is_type(time, Value) -> is_integer(Value) andalso Value >= 0 andalso Value =< 3_600_000;
is_type(epoch, Value) -> is_integer(Value) andalso Value >= 0 andalso Value =< 16#FFFFFFFFFFFFFFFF.

-spec expected(type()) -> string().
expected(name) -> "the name of this node, a binary";
expected(names) -> "at most 255 names of nodes, binaries";
expected(role) -> "hub or client";
expected(byte) -> "0..255";
expected(count) -> "0..4294967295";
expected(time) -> "0..3600000 (milliseconds)";
expected(epoch) -> "0..18446744073709551615".

-spec result({ok, T} | {error, tuple()}) -> {ok, T} | {error, topos_error:t()}.
result({ok, _} = Ok) -> Ok;
result({error, {invalid_node, Bytes}}) -> invalid(node, "a name of 1..1020 bytes", {Bytes, bytes});
result({error, {too_many_members, Limit}}) -> {error, topos_error:new(overlay_full, #{limit => Limit})};
result({error, {invalid_message, Why}}) -> invalid(message, "bytes that another overlay made", Why);
result({error, {invalid_parameters, [{Name, Expected, Got}]}}) -> invalid(Name, Expected, Got);
result({error, {invalid_parameters, All}}) ->
    {Names, Expected, Got} = lists:unzip3(All),
    invalid(unicode:characters_to_binary(lists:join(", ", Names)), lists:join("; ", [[N, " ", E] || {N, E} <- lists:zip(Names, Expected)]), Got).

-spec invalid(term(), unicode:chardata(), term()) -> {error, topos_error:t()}.
invalid(Parameter, Expected, Got) ->
    Details = #{parameter => Parameter, expected => unicode:characters_to_binary(Expected), got => Got},
    {error, topos_error:new(invalid_overlay, Details)}.
