%% @doc Overlays: topologies as state machines in Rust, driven by one Erlang process each.
%%
%% The process tells the machine what happened, with the time, and carries out the actions that come back:
%% ```
%% {ok, Overlay} = topos_overlay_nif:new(full_mesh, #{own => <<"a@host">>}, Seed),
%% {ok, Actions} = topos_overlay_nif:handle(Overlay, erlang:monotonic_time(millisecond) - Start, {joined, <<"b@host">>}),
%% [{set_view, [<<"b@host">>]}, {connect, <<"b@host">>}, {schedule_tick, 5000}] = Actions.
%% '''
%%
%% == The driver's duties ==
%% <ul>
%% <li>Times are milliseconds from any fixed moment, not negative. A time before one seen earlier counts as the latest seen.</li>
%% <li>`{schedule_tick, Ms}' replaces the tick scheduled before: send the event `tick' after so many milliseconds. One timer
%%     an overlay is enough; early and late ticks do no harm.</li>
%% <li>`{connect, Node}' is answered by `{link_up, Node}' or `{link_down, Node}'. Without either within `connect_timeout' the
%%     overlay takes it for a failure and tries again later.</li>
%% <li>`{send, Node, Bytes}' goes to the overlay of that node, in order, and reaches it as `{received, From, Bytes}'. A full mesh
%%     sends nothing.</li>
%% <li>`{disconnect, Node}': close the link, give up attempts to open one.</li>
%% <li>A call that raises `overlay_poisoned' says that an earlier call panicked: the driver must end, and begin anew.</li>
%% </ul>
%% The same seed and events give the same actions. A resource may be passed between the processes of one VM, calls are
%% serialised; it cannot be sent to another.
-module(topos_overlay_nif).

-export([new/3, handle/3, view/1]).
-export_type([overlay/0, kind/0, params/0, event/0, action/0, name/0]).

-type overlay() :: topos_nif:overlay().
-type kind() :: full_mesh.
%% Every member keeps a link to every other.

-type name() :: binary().
%% A node: opaque at this layer, 1 to 1020 bytes.

-type params() :: #{
    own := name(),
    backoff_min => pos_integer(),
    backoff_max => pos_integer(),
    connect_timeout => pos_integer(),
    max_connecting => pos_integer(),
    max_members => pos_integer()
}.
%% Times in milliseconds. Defaults: a wait of 100 ms after the first failure, doubled after each up to 10 s, the upper half
%% of it drawn at random; attempts of at most 5 s, 64 of them at once; 4,096 members.

-type event() ::
    {joined, name()} | {left, name()} | {link_up, name()} | {link_down, name()} | {received, name(), binary()} | tick.
-type action() ::
    {connect, name()} | {disconnect, name()} | {set_view, [name()]} | {send, name(), binary()} | {schedule_tick, non_neg_integer()}.

%% @doc A new overlay without members. The error is `invalid_overlay', with the parameter, what it may be, and what came; or
%% that of {@link topos_nif:status/0}, without a library.
-spec new(kind(), params(), Seed :: 0..16#FFFFFFFFFFFFFFFF) -> {ok, overlay()} | {error, topos_error:t()}.
new(Kind, Params, Seed) ->
    All = maps:merge(defaults(), Params),
    case {lists:member(Kind, kinds()), known(All), numbers(All)} of
        {false, _, _} -> invalid(kind, lists:join(", ", [atom_to_list(K) || K <- kinds()]), Kind);
        {true, {false, Key}, _} -> invalid(Key, "one of the known parameters", maps:get(Key, All));
        {true, true, {false, Key}} -> invalid(Key, expected(Key), maps:get(Key, All, none));
        {true, true, true} -> create(Kind, All, Seed)
    end.

%% @doc Takes an event that happened at `Now' (milliseconds). An error (`invalid_overlay' for a name that is none,
%% `overlay_full') leaves the overlay as it was.
-spec handle(overlay(), Now :: non_neg_integer(), event()) -> {ok, [action()]} | {error, topos_error:t()}.
handle(Overlay, Now, Event) ->
    result(topos_nif:overlay_handle(Overlay, Now, Event)).

%% @doc The nodes to keep links to, in the order of their names, without the own one.
-spec view(overlay()) -> [name()].
view(Overlay) ->
    topos_nif:overlay_view(Overlay).

%% internal

-spec create(kind(), map(), non_neg_integer()) -> {ok, overlay()} | {error, topos_error:t()}.
create(Kind, Params, Seed) ->
    case topos_nif:status() of
        ok -> result(topos_nif:overlay_new(Kind, Params, Seed));
        {error, _} = Error -> Error
    end.

-spec kinds() -> [kind(), ...].
kinds() -> [full_mesh].

-spec defaults() -> #{atom() => pos_integer()}.
defaults() ->
    #{
        backoff_min => 100,
        backoff_max => 10_000,
        connect_timeout => 5_000,
        max_connecting => 64,
        max_members => 4_096
    }.

-spec known(map()) -> true | {false, term()}.
known(All) ->
    case maps:keys(All) -- [own | maps:keys(defaults())] of
        [] -> true;
        [Key | _] -> {false, Key}
    end.

%% The library checks ranges; here is what its types cannot hold, so that a mistake is an error and not a badarg.
-spec numbers(map()) -> true | {false, atom()}.
numbers(#{own := Own} = All) when is_binary(Own) ->
    Wrong = [Key || Key <- maps:keys(defaults()), not in_range(Key, maps:get(Key, All))],
    case Wrong of
        [] -> true;
        [Key | _] -> {false, Key}
    end;
numbers(_) ->
    {false, own}.

-spec in_range(atom(), term()) -> boolean().
in_range(Key, Value) when Key =:= max_connecting; Key =:= max_members ->
    is_integer(Value) andalso Value >= 1 andalso Value =< 16#FFFFFFFF;
in_range(_, Value) ->
    is_integer(Value) andalso Value >= 1 andalso Value =< 3_600_000.

-spec expected(atom()) -> string().
expected(own) -> "the name of this node, a binary";
expected(Key) when Key =:= max_connecting; Key =:= max_members -> "1..4294967295";
expected(_) -> "1..3600000 (milliseconds)".

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
