%% @doc What a node knows of a peer, in every process that has a say in it: for suites whose nodes do not agree, so that the failure says where it
%% hangs. It looks into states of processes; a suite that passes never calls it.
-module(topos_ct_diagnosis).

-export([disagreements/2, all_of/2, peer/1]).

-define(NODE, topos_ct_node).

%% @doc For every pair that sees each other otherwise than expected, what both sides know.
-spec disagreements([topos_ct_cluster:member()], #{node() => topos_partisan:status()}) -> [map()].
disagreements(Members, Expected) ->
    ByName = maps:from_list([{topos_ct_cluster:name(M), M} || M <- Members]),
    Pairs = lists:usort([
        lists:sort([topos_ct_cluster:name(M), Peer])
     || M <- Members,
        Seen <- [topos_ct_cluster:statuses(M)],
        Peer <- maps:keys(maps:merge(Expected, Seen)),
        maps:get(Peer, Seen, none) =/= maps:get(Peer, Expected, none)
    ]),
    [
        #{at => A, of_peer => B, knows => ?NODE:call(maps:get(vm, Member), ?MODULE, peer, [B])}
     || Pair <- lists:sublist(Pairs, 5), {A, B} <- both(Pair), {ok, Member} <- [maps:find(A, ByName)]
    ].

%% @doc What each of some knows of one node.
-spec all_of([topos_ct_cluster:member()], node()) -> [map()].
all_of(Members, Peer) ->
    [#{at => topos_ct_cluster:name(M), of_peer => Peer, knows => ?NODE:call(maps:get(vm, M), ?MODULE, peer, [Peer])} || M <- Members].

%% @doc Runs in the node. The order of fields is that of the records of those modules.
-spec peer(node()) -> map().
peer(Peer) ->
    Name = atom_to_binary(Peer),
    {state, _, _, Cores, Direct, Guests, _, _, _} = sys:get_state(topos_link),
    Cluster = sys:get_state(topos_cluster),
    Overlay = sys:get_state(topos_overlay),
    Field = fun(State, Record, Key) -> find(Peer, field(Key, Record, State)) end,
    #{
        time => erlang:monotonic_time(millisecond),
        member => ets:lookup(topos_members, Peer),
        peers_row => hidden(4, ets:lookup(topos_peers, Peer)),
        session_row => hidden(4, ets:lookup(topos_sessions, Name)),
        route => topos_relay:route(Peer),
        path => topos_overlay:path(Peer),
        view => topos_overlay:view(),
        engine_failure => (topos_local:engine()):failure(Peer),
        engine_connections => [C || {N, _, _} = C <- (topos_local:engine()):connections(), N =:= Peer],
        link => #{
            direct => is_map_key(Peer, Direct), guest => is_map_key(Peer, Guests),
            core => case Cores of #{Peer := Core} -> setelement(3, Core, self); _ -> none end
        },
        cluster => #{
            peer => Field(Cluster, cluster, peers), candidate => Field(Cluster, cluster, candidates),
            forgotten => find(Name, field(forgotten, cluster, Cluster))
        },
        overlay => #{
            status => Field(Overlay, overlay, statuses), addresses => Field(Overlay, overlay, addresses),
            link => Field(Overlay, overlay, links), queue => length(queue(Field(Overlay, overlay, queues)))
        },
        counters => topos_local:counts()
    }.

%% internal

both([A, B]) -> [{A, B}, {B, A}];
both([A]) -> [{A, A}].

field(Key, Record, State) -> element(maps:get(Key, places(Record)), State).

places(cluster) -> #{peers => 5, candidates => 6, forgotten => 7};
places(overlay) -> #{addresses => 6, statuses => 7, links => 9, queues => 10}.

find(Key, Map) when is_map(Map) -> maps:get(Key, Map, none).

queue(none) -> [];
queue(Waiting) -> Waiting.

hidden(Place, Rows) -> [setelement(Place, Row, erlang:phash2(element(Place, Row))) || Row <- Rows].
