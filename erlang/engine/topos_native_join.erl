%% @doc Has one of Partisan's own managers join a node, and waits until it has.
%%
%% Partisan answers `ok' to a join whether or not anybody listens, and says nothing later. So the node is asked first who it is
%% (`topos_native_handshake'), what would crash a manager is refused, and the manager's members are looked at until the node is among them and connected.
-module(topos_native_join).

-export([join/3]).

-type options() :: #{addresses := [topos_engine:address()], timeout := pos_integer()}.

-define(HANDSHAKE, 1_000).
-define(TELL_AGAIN, 2_000).

%% @doc `ok': the manager has the node among its members, and a connection to it on which both said hello.
-spec join(topos_native:here(), node(), options()) -> ok | {error, topos_error:t()}.
join(#{node := Node}, Node, _) ->
    {error, topos_error:new(self_join, #{node => Node})};
join(Here, Node, #{addresses := Addresses, timeout := Timeout}) ->
    Deadline = erlang:monotonic_time(millisecond) + Timeout,
    case topos_native_view:members(Here, Deadline) of
        {ok, Members} ->
            Known = [Spec || #{name := Name} = Spec <- Members, Name =:= Node],
            case is_joined(Node, Members, Deadline) of
                true -> ok;
                false -> found(asked(Here, Node, where(Addresses, Known), Deadline, no_address), Known, Here, Node, {Timeout, Deadline})
            end;
        {error, _} = Error ->
            Error
    end.

%% internal

%% Where nothing else is said: where the manager knows the node to be.
-spec where([topos_engine:address()], [topos_partisan_api:spec()]) -> [topos_engine:address()].
where([], Known) -> [{Ip, Port} || #{listen_addrs := Addresses} <- Known, #{ip := Ip, port := Port} <- Addresses];
where(Addresses, _) -> Addresses.

%% The failure of the last address; one that answered says more than one that did not.
-spec asked(topos_native:here(), node(), [topos_engine:address()], integer(), Failure) ->
    {ok, topos_native_handshake:peer()} | {error, Failure} when Failure :: no_address | topos_native_handshake:failure().
asked(_, _, [], _, Failure) ->
    {error, Failure};
asked(#{node := Own} = Here, Node, [Address | Rest], Deadline, Failure) ->
    case topos_native_handshake:ask(Own, Node, Address, Deadline) of
        {ok, Peer} -> {ok, Peer};
        {error, {unreachable, _}} when is_tuple(Failure), element(1, Failure) =/= unreachable -> asked(Here, Node, Rest, Deadline, Failure);
        {error, Other} -> asked(Here, Node, Rest, Deadline, Other)
    end.

-spec found(
    {ok, topos_native_handshake:peer()} | {error, no_address | topos_native_handshake:failure()}, [topos_partisan_api:spec()],
    topos_native:here(), node(), {pos_integer(), integer()}
) -> ok | {error, topos_error:t()}.
found({error, Failure}, _, _, Node, {Timeout, _}) ->
    {error, failure(Failure, Node, Timeout)};
found({ok, #{manager := Theirs}}, _, #{manager := Manager}, Node, _) when Theirs =/= Manager ->
    {error, topos_error:new(other_manager, #{node => Node, running => Theirs, manager => Manager})};
found({ok, #{tag := Theirs, spec := Spec}}, Known, #{manager := Manager, tag := Tag} = Here, Node, {Timeout, Deadline}) ->
    case {Manager =/= client_server orelse is_taken(Tag, Theirs), [Other || Other <- Known, Other =/= Spec]} of
        {false, _} ->
            Why = <<"a ", (atom_to_binary(Tag))/binary, " does not take a ", (atom_to_binary(tag(Theirs)))/binary>>,
            not_joined(Here, Node, Timeout, Why);
        {true, [_ | _]} ->
            not_joined(Here, Node, Timeout, <<"it is a member with other addresses or channels, and has to leave first">>);
        {true, []} ->
            told(Here, Node, Spec, Timeout, Deadline)
    end.

-spec told(topos_native:here(), node(), topos_partisan_api:spec(), pos_integer(), integer()) -> ok | {error, topos_error:t()}.
told(#{manager := Manager} = Here, Node, Spec, Timeout, Deadline) ->
    case topos_native_view:ask(fun() -> topos_partisan_api:call(partisan_peer_service, join, [Spec]) end, Deadline) of
        {ok, ok} ->
            Joined = fun() ->
                case topos_native_view:members(Here, Deadline) of
                    {ok, Members} -> is_joined(Node, Members, Deadline);
                    {error, _} -> false
                end
            end,
            %% The pluggable manager dials until it is told to leave; the others try once, with a second for the connection.
            Again = case Manager of
                pluggable -> Deadline;
                _ -> min(Deadline, erlang:monotonic_time(millisecond) + ?TELL_AGAIN)
            end,
            case {topos_native_view:until(Joined, Again), topos_native_view:left(Deadline)} of
                {true, _} -> ok;
                {false, 0} -> not_joined(Here, Node, Timeout, <<"it listens, but is not among the manager's members, or not connected">>);
                {false, _} -> told(Here, Node, Spec, Timeout, Deadline)
            end;
        Other ->
            not_joined(Here, Node, Timeout, iolist_to_binary(io_lib:format("the manager answered ~0tp", [Other])))
    end.

-spec is_joined(node(), [topos_partisan_api:spec()], integer()) -> boolean().
is_joined(Node, Members, Deadline) ->
    Time = min(?HANDSHAKE, topos_native_view:left(Deadline)),
    lists:any(fun(#{name := Name}) -> Name =:= Node end, Members)
        andalso lists:any(fun({Pid, To, _}) -> To =:= Node andalso topos_partisan_api:is_handshaken(Pid, Time) end,
                          topos_partisan_api:connections()).

%% Of nodes with tags each takes those of the other kind, servers servers too. Partisan ends when a node without a tag joins one that has one.
-spec is_taken(none | server | client, atom()) -> boolean().
is_taken(none, Theirs) -> Theirs =:= undefined;
is_taken(server, Theirs) -> Theirs =:= server orelse Theirs =:= client;
is_taken(client, Theirs) -> Theirs =:= server.

-spec tag(atom()) -> atom().
tag(undefined) -> none;
tag(Tag) -> Tag.

-spec failure(no_address | topos_native_handshake:failure(), node(), pos_integer()) -> topos_error:t().
failure(no_address, Node, Timeout) -> topos_error:new(unreachable, #{node => Node, timeout => Timeout, why => no_address});
failure({unreachable, Why}, Node, Timeout) -> topos_error:new(unreachable, #{node => Node, timeout => Timeout, why => Why});
failure({wrong_node, Found}, Node, _) -> topos_error:new(wrong_node, #{node => Node, found => Found});
failure({not_a_node, Why}, Node, _) -> topos_error:new(not_a_node, #{node => Node, why => Why}).

-spec not_joined(topos_native:here(), node(), pos_integer(), binary()) -> {error, topos_error:t()}.
not_joined(#{manager := Manager}, Node, Timeout, Why) ->
    {error, topos_error:new(not_joined, #{node => Node, manager => Manager, timeout => Timeout, why => Why})}.
