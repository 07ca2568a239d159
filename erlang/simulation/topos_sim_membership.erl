%% @doc Who is a member of whose cluster in a simulation, and how nodes see each other.
%%
%% Follows the status of peers of `docs/link.md': `joining' until an echo came back, `suspect' after a silence or when
%% the connection is gone, `down' after a longer one or 300 ms without a connection. A node that crashed is gone with
%% its connections; one that is paused, or on the other side of a partition, is silent. Each node sees for itself,
%% within the times of its own configuration.
-module(topos_sim_membership).
-behaviour(topos_sim_scheduler).

-export([join/5, entered/2, leave/2, crashed/2, refresh/2, peers/2, status/3, cut_since/3, heard_from/3]).
-export([handle/3, happen/2, ended/4]).
-export_type([peer/0]).

-record(peer, {
    status = joining :: joining | up | suspect | down | left,
    incarnation :: pos_integer(),
    %% Since when nothing comes from it, and which silence this is; 0 for one that nobody listens to.
    cut = none :: none | {topos_sim_world:time(), non_neg_integer()}
}).
-opaque peer() :: #peer{}.
-type id() :: topos_sim_world:node_id().

-record(part, {
    next = 1 :: pos_integer(),
    peers = #{} :: #{id() => #{id() => #peer{}}},
    %% Who waits for a node to enter a cluster.
    joins = #{} :: #{id() => [{pid(), topos_sim_world:wait_id(), id()}]}
}).

%% A connection that is gone has so long to come back, in microseconds, as in the link.
-define(RECONNECT, 300_000).
%% How long a node of the same run may take to enter a cluster, in milliseconds, as for real nodes.
-define(CONTACT_TIMEOUT, 15_000).

%% @doc Has a node join the cluster of another one. The process that asked waits for the answer.
-spec join(pid(), id(), id(), Timeout :: pos_integer(), topos_sim_world:world()) -> topos_sim_world:world().
join(Pid, Own, Contact, Timeout, World) ->
    {Wait, Parked} = topos_sim_world:park(Pid, "Distributed.join_cluster", infinity, World),
    case topos_sim_program:is_entered(Contact, Parked) andalso topos_sim_nodes:is_open(Own, Contact, Parked) of
        true -> dial(Pid, Wait, Own, Contact, Parked);
        false ->
            %% It may enter, or be reached, in time.
            Limit = case topos_sim_program:is_entered(Contact, Parked) of true -> Timeout; false ->
                ?CONTACT_TIMEOUT end,
            #part{joins = Joins} = Part = part(Parked),
            Waiting = set(Part#part{joins = Joins#{Contact => maps:get(Contact, Joins, []) ++ [{Pid, Wait, Own}]}},
                Parked),
            topos_sim_world:within(Limit * 1_000, {?MODULE, {no_contact, Pid, Wait, Contact, Limit}}, Waiting)
    end.

%% @doc A node has entered a cluster: those that wait for it dial it.
-spec entered(id(), topos_sim_world:world()) -> topos_sim_world:world().
entered(Contact, World) ->
    #part{joins = Joins} = Part = part(World),
    case topos_sim_program:is_entered(Contact, World) andalso maps:take(Contact, Joins) of
        false ->
            World;
        {Waiting, Rest} ->
            {Ready, Others} = lists:partition(fun({_, _, Own}) ->
                topos_sim_nodes:is_open(Own, Contact, World) end, Waiting),
            Left = case Others of [] -> Rest; _ -> Rest#{Contact => Others} end,
            lists:foldl(fun({Pid, Wait, Own}, W) ->
                dial(Pid, Wait, Own, Contact, W) end, set(Part#part{joins = Left}, World), Ready);
        error ->
            World
    end.

%% @doc A node says good-bye to its peers. Answers when all that it reaches know, with what it sent before; at most
%% `Timeout' ms later where one cannot be reached.
-spec leave(id(), topos_sim_world:world()) -> {topos_sim_world:time(), topos_sim_world:world()}.
leave(Own, World) ->
    Incarnation = topos_sim_program:incarnation(Own, World),
    #{timeouts := #{leave := Timeout}} = topos_sim_program:config(Own, World),
    Now = topos_sim_world:now(World),
    lists:foldl(
        fun({Id, #peer{status = Status}}, {Until, W}) ->
            case {Status, topos_sim_nodes:is_open(Own, Id, W)} of
                {_, true} ->
                    {There, W1} = topos_sim_network:delay(W),
                    {Back, W2} = topos_sim_network:delay(W1),
                    At = max(topos_sim_network:drained_at(Own, Id, W2), Now + There) + 1,
                    {max(Until, At + Back), topos_sim_world:at(At, {?MODULE, {left, Id, Own, Incarnation}}, W2)};
                {Awaited, false} when Awaited =:= up; Awaited =:= suspect ->
                    {max(Until, Now + Timeout * 1_000), W};
                {_, false} ->
                    {Until, W}
            end
        end, {Now, World}, lists:sort(maps:to_list(peers_of(Own, World)))).

%% @doc The node and its connections are gone.
-spec crashed(id(), topos_sim_world:world()) -> topos_sim_world:world().
crashed(Id, World) ->
    #part{peers = Peers} = Part = part(World),
    refresh(Id, set(Part#part{peers = maps:remove(Id, Peers)}, World)).

%% @doc Looks again whether a node and the others reach each other.
-spec refresh(id(), topos_sim_world:world()) -> topos_sim_world:world().
refresh(Id, World) ->
    Own = [{Id, Peer} || Peer <- lists:sort(maps:keys(peers_of(Id, World)))],
    Others = [{Observer, Id} || {Observer, #{Id := _}} <- lists:sort(maps:to_list((part(World))#part.peers))],
    Seen = lists:foldl(fun look/2, World, Own ++ Others),
    entered(Id, Seen).

%% @doc What a node knows of the others.
-spec peers(id(), topos_sim_world:world()) -> [{id(), joining | up | suspect | down | left, pos_integer()}].
peers(Id, World) ->
    [{Peer, Status, Incarnation} || {Peer,
        #peer{status = Status, incarnation = Incarnation}} <- maps:to_list(peers_of(Id, World))].

-spec status(id(), id(), topos_sim_world:world()) -> unknown | {joining | up | suspect | down | left, pos_integer()}.
status(Own, Id, World) ->
    case peers_of(Own, World) of
        #{Id := #peer{status = Status, incarnation = Incarnation}} -> {Status, Incarnation};
        #{} -> unknown
    end.

%% @doc Since when nothing of one node reaches the other; the end of time if it does.
-spec cut_since(id(), id(), topos_sim_world:world()) -> topos_sim_world:time() | infinity.
cut_since(Own, Id, World) ->
    case peers_of(Own, World) of
        #{Id := #peer{cut = {Since, _}}} -> Since;
        #{} -> infinity
    end.

%% @doc Something came from a peer: it is up.
-spec heard_from(id(), id(), topos_sim_world:world()) -> topos_sim_world:world().
heard_from(Own, Id, World) ->
    case status(Own, Id, World) of
        {up, _} -> World;
        {left, _} -> World;
        {_, _} -> up(Own, Id, World);
        unknown -> World
    end.

-spec handle(term(), pid(), topos_sim_world:world()) -> no_return().
handle(Request, _, _) -> erlang:error({no_operation_of_members, Request}).

-spec happen(tuple(), topos_sim_world:world()) -> topos_sim_world:world().
happen({no_contact, Pid, Wait, Contact, Limit}, World) ->
    #part{joins = Joins} = Part = part(World),
    Waiting = [Join || {P, W, _} = Join <- maps:get(Contact, Joins, []), {P, W} =/= {Pid, Wait}],
    Error = topos_error:new(unreachable, #{node => topos_sim_nodes:full_name(Contact, World), timeout => Limit}),
    Failed = {value, topos_effect_distributed:outcome({error, Error})},
    topos_sim_world:wake(Pid, Wait, Failed, set(Part#part{joins = Joins#{Contact => Waiting}}, World));
happen({greeted, Pid, Wait, Own, Contact}, World) ->
    greeted(Pid, Wait, Own, Contact, World);
happen({meet, A, B, LifeA, LifeB}, World) ->
    Lives = {topos_sim_program:incarnation(A, World), topos_sim_program:incarnation(B, World)},
    case Lives =:= {LifeA, LifeB} andalso topos_sim_nodes:is_open(A, B, World) of
        true ->
            {Back, Drawn} = topos_sim_network:delay(up(A, B, World)),
            topos_sim_world:within(Back, {?MODULE, {heard, B, A, LifeB, LifeA}}, Drawn);
        %% They meet when they reach each other.
        false -> World
    end;
happen({heard, A, B, LifeA, LifeB}, World) ->
    Lives = {topos_sim_program:incarnation(A, World), topos_sim_program:incarnation(B, World)},
    case Lives =:= {LifeA, LifeB} andalso topos_sim_nodes:is_open(A, B, World) of
        true -> topos_sim_network:resumed(A, B, up(A, B, World));
        false -> World
    end;
happen({silent, Status, A, B, Silence}, World) ->
    case peers_of(A, World) of
        #{B := #peer{cut = {_, Silence}, status = up}} when Status =:= suspect ->
            set_status(A, B, suspect, {suspect, full(B, World)}, World);
        #{B := #peer{cut = {_, Silence}, status = Now}} when Status =:= down, Now =:= up; Status =:= down,
            Now =:= suspect ->
            set_status(A, B, down, {down, full(B, World), silent}, World);
        #{} -> World
    end;
happen({left, A, B, Incarnation}, World) ->
    case peers_of(A, World) of
        #{B := #peer{incarnation = Incarnation, status = Status}} when Status =/= left ->
            Told = set_status(A, B, left, {left, full(B, World)}, World),
            in_doubt(A, B, Told);
        #{} ->
            World
    end.

-spec ended(pid(), topos_sim_world:process(), topos_sim_scheduler:reason(), topos_sim_world:world()) ->
    topos_sim_world:world().
ended(_, _, _, World) -> World.

%% internal

part(World) -> topos_sim_world:part(?MODULE, #part{}, World).

set(Part, World) -> topos_sim_world:set_part(?MODULE, Part, World).

peers_of(Id, World) -> maps:get(Id, (part(World))#part.peers, #{}).

put_peer(A, B, Peer, World) ->
    #part{peers = Peers} = Part = part(World),
    set(Part#part{peers = Peers#{A => (maps:get(A, Peers, #{}))#{B => Peer}}}, World).

full(Id, World) -> topos_sim_nodes:full_name(Id, World).

%% A hello and its answer.
dial(Pid, Wait, Own, Contact, World) ->
    {There, W1} = topos_sim_network:delay(World),
    {Back, W2} = topos_sim_network:delay(W1),
    topos_sim_world:within(There + Back, {?MODULE, {greeted, Pid, Wait, Own, Contact}}, W2).

greeted(Pid, Wait, Own, Contact, World) ->
    case [incarnation(Own, World), incarnation(Contact, World)] of
        %% The node has left meanwhile, and nobody waits.
        [none, _] -> World;
        [_, Life] ->
            case Life =/= none andalso topos_sim_nodes:is_open(Own, Contact, World) of
                true ->
                    case topos_sim_program:refusal(Own, Contact, World) of
                        none -> topos_sim_world:wake(Pid, Wait, {value, {ok, ok}}, joined(Own, Contact, World));
                        Error -> topos_sim_world:wake(Pid, Wait,
                            {value, topos_effect_distributed:outcome({error, Error})}, World)
                    end;
                false ->
                    #{timeouts := #{connect := Limit}} = topos_sim_program:config(Own, World),
                    Error = topos_error:new(unreachable, #{node => full(Contact, World), timeout => Limit}),
                    topos_sim_world:within(Limit * 1_000,
                        {wake, Pid, Wait, topos_effect_distributed:outcome({error, Error})}, World)
            end
    end.

%% The two clusters are one: everybody who did not know each other meets; the two who talked see each other first.
joined(Own, Contact, World) ->
    Mine = [Own | known(Own, World)],
    Theirs = [Contact | known(Contact, World)],
    Pairs = [{A, B} || A <- Mine, B <- Theirs, A =/= B, {A, B} =/= {Own, Contact}, not acquainted(A, B, World)],
    Introduced = lists:foldl(fun introduce/2, World, [{Own, Contact} | Pairs]),
    First = happen({meet, Own, Contact, incarnation(Own, World), incarnation(Contact, World)}, Introduced),
    lists:foldl(
        fun({A, B}, W) ->
            %% Gossip, a hello and its answer.
            {T1, W1} = topos_sim_network:delay(W),
            {T2, W2} = topos_sim_network:delay(W1),
            topos_sim_world:within(T1 + T2, {?MODULE, {meet, A, B, incarnation(A, W), incarnation(B, W)}}, W2)
        end, First, Pairs).

incarnation(Id, World) -> topos_sim_program:incarnation(Id, World).

%% Those of the same cluster that live, or are thought to.
known(Id, World) ->
    [Peer || {Peer, #peer{status = Status, incarnation = Incarnation}} <- lists:sort(maps:to_list(peers_of(Id, World))),
             Status =/= left, incarnation(Peer, World) =:= Incarnation].

acquainted(A, B, World) ->
    case peers_of(A, World) of
        #{B := #peer{incarnation = Incarnation, status = Status}} ->
            Status =/= left andalso Incarnation =:= incarnation(B, World);
        #{} -> false
    end.

introduce({A, B}, World) -> introduced(B, A, introduced(A, B, World)).

%% A life that follows another one of the same node ends that.
introduced(A, B, World) ->
    Incarnation = incarnation(B, World),
    Cut = case topos_sim_nodes:is_open(A, B, World) of true -> none; false -> {topos_sim_world:now(World), 0} end,
    New = #peer{incarnation = Incarnation, cut = Cut},
    case peers_of(A, World) of
        #{B := #peer{incarnation = Incarnation, status = Status}} when Status =/= left ->
            World;
        #{B := #peer{incarnation = Old, status = Status}} when Old =/= Incarnation, Status =:= up; Old =/= Incarnation,
            Status =:= suspect ->
            Down = set_status(A, B, down, {down, full(B, World), restarted}, World),
            put_peer(A, B, New, in_doubt(A, B, Down));
        #{B := #peer{}} ->
            put_peer(A, B, New, in_doubt(A, B, World));
        #{} ->
            put_peer(A, B, New, World)
    end.

in_doubt(A, B, World) ->
    case topos_sim_network:given_up(A, B, World) of
        {0, Next} -> Next;
        {Count, Next} -> topos_sim_program:tell(A, {in_doubt, full(B, World), Count}, Next)
    end.

up(A, B, World) ->
    #{B := #peer{status = Status, incarnation = Incarnation}} = peers_of(A, World),
    Name = full(B, World),
    case Status of
        up -> World;
        suspect -> set_status(A, B, up, {recovered, Name}, World);
        _ -> set_status(A, B, up, {up, Name, Incarnation}, World)
    end.

set_status(A, B, Status, Event, World) ->
    #{B := Peer} = peers_of(A, World),
    Seen = fun() -> [topos_sim_nodes:name(A, World), " sees ", topos_sim_nodes:name(B, World), $\s,
        atom_to_binary(Status)] end,
    Changed = topos_sim_world:message(trace, Seen, put_peer(A, B, Peer#peer{status = Status}, World)),
    topos_sim_program:tell(A, Event, Changed).

%% Whether what A knows of B still holds: a silence begins, or ends.
look({A, B}, World) ->
    case peers_of(A, World) of
        %% It said good-bye: there is nothing to notice.
        #{B := #peer{status = left}} -> World;
        #{B := Peer} -> look(A, B, Peer, World)
    end.

look(A, B, #peer{cut = Cut, incarnation = Incarnation} = Peer, World) ->
    Alive = incarnation(B, World) =:= Incarnation,
    case {Cut, Alive andalso topos_sim_nodes:is_open(A, B, World)} of
        {none, false} -> silent(A, B, Peer, Alive, World);
        {{_, 0}, false} -> silent(A, B, Peer, Alive, World);
        {{_, _}, true} -> found(A, B, Peer, World);
        {_, _} -> World
    end.

silent(A, B, Peer, Alive, World) ->
    case topos_sim_nodes:is_open(A, A, World) of
        true -> heard_nothing(A, B, Peer, Alive, World);
        %% A node that stands still notices nothing, and gives the others the time that it missed: silence 0.
        false -> put_peer(A, B, Peer#peer{cut = {topos_sim_world:now(World), 0}}, World)
    end.

heard_nothing(A, B, Peer, Alive, World) ->
    #part{next = Silence} = Part = part(World),
    Now = topos_sim_world:now(World),
    Cut = put_peer(A, B, Peer#peer{cut = {Now, Silence}}, set(Part#part{next = Silence + 1}, World)),
    #{fault_detection := #{echo_interval := Interval, suspect_after := Suspect,
        down_after := Down}} = topos_sim_program:config(A, World),
    {Suspected, Dead, Drawn} =
        case Alive of
            false ->
                %% Its connections are closed.
                {Late, W} = topos_sim_network:delay(Cut),
                {Late, Late + ?RECONNECT, W};
            true ->
                %% The last echo came a part of an interval ago.
                {Ago, W} = topos_sim_world:between(0, Interval * 1_000, Cut),
                {max(0, Suspect * 1_000 - Ago), max(0, Down * 1_000 - Ago), W}
        end,
    Soon = topos_sim_world:within(Suspected, {?MODULE, {silent, suspect, A, B, Silence}}, Drawn),
    topos_sim_world:within(Dead, {?MODULE, {silent, down, A, B, Silence}}, Soon).

found(A, B, Peer, World) ->
    Heard = put_peer(A, B, Peer#peer{cut = none}, World),
    {There, W1} = topos_sim_network:delay(Heard),
    {Back, W2} = topos_sim_network:delay(W1),
    topos_sim_world:within(There + Back, {?MODULE, {heard, A, B, incarnation(A, World), incarnation(B, World)}}, W2).
