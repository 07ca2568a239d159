%% Nodes that are one of Partisan's own managers, unchanged, on real VMs with the real Partisan: what `topos_native_capabilities' says of each is true.
-module(topos_native_SUITE).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-compile(export_all).
-compile({no_auto_import, [nodes/0]}).

-define(NODE, topos_ct_node).
%% On a machine that is busy with something else; a join takes some tens of milliseconds.
-define(JOIN, 60_000).

all() -> [{group, Manager} || Manager <- topos_native_capabilities:managers()].

groups() ->
    Every = [
        joins_and_talks, talks_with_plain_partisan, does_what_the_table_says, sends_what_is_carried, strangers_are_errors, wrong_peers_are_not_joined,
        attaches_to_a_running_partisan, another_partisan_is_an_error, ends_with_partisan, bounded_inbox, bounded_queue, keeps_the_order_of_a_key
    ],
    [
        {pluggable, [], Every ++ [channels_are_the_configured_ones, leaves_and_comes_back, a_dead_member_is_down]},
        {hyparview, [], Every ++ [channels_are_the_configured_ones, has_views]},
        {client_server, [], Every ++ [tags_decide]}
    ].

suite() -> [{timetrap, {seconds, 300}}].

init_per_group(Manager, Config) ->
    case topos_ct_pool:init_group(partisan, Config) of
        {skip, _} = Skip -> Skip;
        Opened -> [{manager, Manager} | Opened]
    end.

end_per_group(_Manager, _Config) -> topos_ct_pool:close().

init_per_testcase(_Case, Config) -> [{vms, ets:new(vms, [public, ordered_set])} | Config].

end_per_testcase(_Case, Config) ->
    Vms = [Vm || {_, #{} = Vm} <- ets:tab2list(?config(vms, Config)), ?NODE:is_alive(Vm)],
    lists:foreach(fun(Vm) -> ok = ?NODE:apply(Vm, fun ?MODULE:end_here/0) end, Vms),
    topos_ct_pool:end_case(Config).

%% Three nodes: two join the first. Members, neighbours and a message both ways.
joins_and_talks(Config) ->
    [A, B, C] = [started(N, Config) || N <- [a, b, c]],
    ?assertEqual(ok, join(B, A)),
    ?assertEqual(ok, join(B, A)),
    ?assertEqual(ok, join(C, A)),
    %% One way, until the other joins as well.
    ?config(manager, Config) =:= client_server andalso [?assertEqual(ok, join(A, N)) || N <- [B, C]],
    connected(A, [B, C]),
    [connected(N, [A]) || N <- [B, C]],
    [?assert(lists:member({name(A), up}, statuses(N))) || N <- [A, B, C]],
    [begin ?assertEqual(ok, send(From, To, {from, name(From)})), received(To, {from, name(From)}) end || {From, To} <- [{B, A}, {A, B}, {A, C}]],
    ?assertEqual(ok, call(B, topos_inbox, send, [name(A), {for_you, [1 | 2]}])),
    ?assertEqual({ok, {name(B), {for_you, [1 | 2]}}}, call(A, topos_inbox, recv, [?NODE:patience(5_000)])),
    ?assertMatch({ok, #{}}, call(A, topos_partisan, broadcast, [sink, to_all])),
    [received(N, to_all) || N <- [B, C]],
    Stop = fun(#{vm := Vm}) -> ?NODE:call(Vm, topos_partisan, stop, []) end,
    ?assertEqual(ok, Stop(A)),
    ?assertEqual(undefined, ?NODE:call(maps:get(vm, A), erlang, whereis, [partisan_sup])),
    ?assertMatch({error, {not_started, _}}, call(A, topos_partisan, members, [])),
    [?NODE:wait_until({disconnected, name(N)}, fun() -> not lists:member(name(A), call(N, topos_partisan, nodes, [])) end, 5_000) || N <- [B, C]],
    ?assertMatch({error, {not_connected, _}}, send(B, A, too_late)).

%% A node that runs Partisan alone is joined, sent to, and sends.
talks_with_plain_partisan(Config) ->
    Ours = started(a, Config),
    Plain = plain(p, Config),
    ?assertEqual(ok, join(Ours, Plain)),
    ?assert(lists:member({name(Plain), up}, statuses(Ours))),
    ?assertEqual(ok, send(Ours, Plain, {hello, [<<"plain">>, 1.5]})),
    received(Plain, {hello, [<<"plain">>, 1.5]}),
    %% It does as its users do. With clients and servers it has to join as well.
    Spec = ?NODE:call(maps:get(vm, Ours), partisan, node_spec, []),
    Join = fun() -> ?config(manager, Config) =:= client_server andalso ?NODE:call(maps:get(vm, Plain), partisan_peer_service, join, [Spec]) end,
    ?NODE:wait_until(back, fun() ->
        ?NODE:call(maps:get(vm, Plain), partisan, forward_message, [name(Ours), sink, {hello, back}, #{}]) =:= ok orelse {joining, Join()}
    end, 10_000),
    received(Ours, {hello, back}).

%% Every row of the table, asked on a real node: `no' is the typed error with the table's reason, everything else is done.
does_what_the_table_says(Config) ->
    A = started(a, Config),
    B = started(b, Config),
    ?assertEqual(ok, join(A, B)),
    Manager = ?config(manager, Config),
    Table = call(A, topos_topology, capabilities, []),
    ?assertEqual(topos_native_capabilities:all(Manager), Table),
    ?assertEqual(lists:sort(topos_native_capabilities:operations()), lists:sort(maps:keys(Table))),
    Wrong = [
        {Operation, Capability, Answer}
     || {Operation, Capability} <- lists:sort(maps:to_list(Table)), Answer <- ?NODE:apply(maps:get(vm, A), fun ?MODULE:ask/2, [Operation, name(B)]),
        not fits(Capability, Manager, Answer)
    ],
    ?assertEqual([], Wrong),
    ?assertEqual([{O, C} || {O, {no, _} = C} <- lists:sort(maps:to_list(Table))],
                 [{O, C} || {{M, F} = O, C} <- lists:sort(maps:to_list(Table)), call(A, topos_topology, supported, [M, F]) =/= ok]).

fits({no, Why}, Manager, {error, {unsupported_by_manager, #{manager := Manager, why := Why, operation := Operation}}}) -> is_binary(Operation);
fits({no, _}, _, _) -> false;
fits(_, _, {error, _}) -> false;
fits(_, _, _) -> true.

%% What the calls of an operation answer on this node, which is connected with `Peer'.
ask({topos_partisan, start}, _) -> [ok];
ask({topos_partisan, stop}, _) -> [ok];
%% It ends the manager: cases of its own show it.
ask({topos_partisan, leave} = Operation, Peer) ->
    case topos_topology:supported(topos_partisan, leave) of
        ok -> [ok];
        {error, _} -> ask(Operation, Peer, [[], [#{}]])
    end;
ask({topos_partisan, F} = Operation, Peer) ->
    Args = #{
        join => [[Peer], [Peer, #{}]], on_up => [[any, fun(_) -> ok end]], on_down => [[Peer, fun(_) -> ok end]], cancel => [[make_ref()]],
        send => [[Peer, sink, m], [Peer, <<"sink">>, m, #{key => k}]], broadcast => [[sink, m], [sink, m, #{}]],
        spawn => [[Peer, fun erlang:node/0], [Peer, fun erlang:node/0, #{}], [Peer, erlang, node, []]],
        monitor => [[reference(Peer)]], demonitor => [[make_ref()]]
    },
    ask(Operation, Peer, maps:get(F, Args, [[]]));
ask({topos_inbox, send} = Operation, Peer) ->
    ask(Operation, Peer, [[Peer, m], [Peer, m, #{}], [topos_partisan:node(), m]]);
ask({topos_inbox, recv} = Operation, Peer) ->
    ok = topos_inbox:send(topos_partisan:node(), m),
    ask(Operation, Peer, [[infinity]]);
ask({topos_process, F} = Operation, Peer) ->
    Ref = reference(Peer),
    Args = #{
        ref => [[self()]], spawn => [[Peer, fun erlang:node/0], [Peer, fun erlang:node/0, #{channel => data}], [Peer, erlang, node, []]],
        spawn_as => [[Peer, fun erlang:node/0, fun erlang:node/0]], send => [[Ref, m], [Ref, m, #{}]], monitor => [[Ref]],
        demonitor => [[make_ref()]], exit => [[Ref, kill]], whereis => [[Peer, sink]], is_alive => [[Ref]]
    },
    ask(Operation, Peer, maps:get(F, Args, [[]]));
ask({topos_request, call} = Operation, Peer) ->
    ask(Operation, Peer, [[Peer, a_service, m], [Peer, a_service, m, 1_000]]);
ask({topos_channel, F} = Operation, Peer) ->
    Args = #{
        create => [[#{orders => #{}}], [orders, #{}]], close => [[data], [data, #{}]], reconfigure => [[data, #{parallelism => 2}]],
        stats => [[], [data]], with_default => [[data, fun() -> topos_partisan:send(Peer, sink, m) end]]
    },
    ask(Operation, Peer, maps:get(F, Args, [[]]));
ask({topos_topology, F} = Operation, Peer) ->
    Args = #{
        set_topology => [[full_mesh], [full_mesh, #{}]], pause_new_connections => [[], [1_000]], reconnect_all => [[], [#{}]], route => [[Peer]],
        hops => [[Peer]], broadcast => [[sink, m]], supported => [[topos_partisan, send]], capabilities => [[], [pluggable]]
    },
    ask(Operation, Peer, maps:get(F, Args, [[]])).

ask({Module, Function}, _, Calls) -> [apply(Module, Function, Args) || Args <- Calls].

reference(Peer) -> topos_remote:new(Peer, 1, <<"a process">>).

%% What Partisan's encoder would mangle or die of is refused; everything else arrives as it was.
sends_what_is_carried(Config) ->
    A = started(a, Config),
    B = started(b, Config),
    ?assertEqual(ok, join(A, B)),
    Refused = [[1 | 2], {x, #{[a | b] => 1}}, #{1 => list_to_tuple(lists:seq(1, 256))}, [[], [1, [2, 3 | 4]]]],
    [?assertMatch({error, {unsupported_by_manager, #{operation := <<"send of ", _/binary>>}}}, send(A, B, Term)) || Term <- Refused],
    Carried = [
        [], {}, #{}, "text", <<1:3>>, 1.5, -1, 1 bsl 100, list_to_tuple(lists:seq(1, 255)), lists:seq(1, 70_000), #{a => [#{b => {c, <<"d">>}}]},
        {[alias], ['n@h', <<"x">>]}
    ],
    [begin ?assertEqual(ok, send(A, B, {T})), received(B, {T}) end || T <- Carried],
    [
        begin
            ?assertEqual(ok, call(A, topos_inbox, send, [name(B), T])),
            ?assertEqual({ok, {name(A), T}}, call(B, topos_inbox, recv, [?NODE:patience(5_000)]))
        end
     || T <- Refused ++ Carried
    ],
    Large = binary:copy(<<0>>, 2_000_000),
    ?assertMatch({error, {message_too_large, #{limit := 1_048_576}}}, send(A, B, Large)),
    ?assertMatch({error, {message_too_large, _}}, send(A, A, Large)),
    ?assertMatch({error, {unsupported_by_manager, #{operation := <<"send with ack">>}}}, send(A, B, x, #{ack => true})),
    ?assertMatch({error, {unsupported_by_manager, #{operation := <<"send with wait">>}}}, send(A, B, x, #{wait => 1})),
    %% To itself, without Partisan.
    ?assertEqual(ok, send(A, A, {to, me})),
    received(A, {to, me}),
    ?assertMatch({error, {no_such_process, _}}, call(A, topos_partisan, send, [name(A), nobody_has_this_name, x])),
    ?assertMatch({error, {no_such_process, _}}, call(A, topos_partisan, send, [name(B), <<255>>, x])).

%% Whoever is not connected is an error before Partisan is asked.
strangers_are_errors(Config) ->
    A = started(a, Config),
    B = started(b, Config),
    ?assertMatch({error, {not_connected, _}}, send(A, B, x)),
    ?assertMatch({error, {not_connected, _}}, call(A, topos_inbox, send, [name(B), x])),
    ?assertMatch({error, {unknown_node, _}}, call(A, topos_topology, route, [name(B)])),
    ?assertMatch({error, {unknown_node, _}}, call(A, topos_topology, hops, [name(B)])),
    ?assertEqual([], call(A, topos_topology, neighbours, [])),
    ?assertMatch({ok, []}, call(A, topos_topology, route, [name(A)])),
    ?assertEqual(ok, join(A, B)),
    ?assertEqual({ok, [name(B)]}, call(A, topos_topology, route, [name(B)])),
    ?assertEqual({ok, 1}, call(A, topos_topology, hops, [name(B)])),
    ?assertEqual(#{name(A) => [name(B)]}, call(A, topos_topology, links, [])).

%% The reason of a join that fails is told, in time, and no manager is hurt by it.
wrong_peers_are_not_joined(Config) ->
    A = started(a, Config),
    Manager = pid_of_manager(A, Config),
    Nobody = ?NODE:name(nobody),
    To = fun(Name, Port) -> call(A, topos_partisan, join, [Name, #{addresses => [{{127, 0, 0, 1}, Port}], timeout => ?JOIN}]) end,
    ?assertMatch({error, {unreachable, #{why := econnrefused}}}, To(Nobody, ?NODE:free_port())),
    ?assertMatch({error, {unreachable, #{why := no_address}}}, call(A, topos_partisan, join, [Nobody])),
    ?assertMatch({error, {self_join, _}}, call(A, topos_partisan, join, [name(A)])),
    %% Somebody who says nothing, until time is up.
    {ok, Silent} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, SilentPort} = inet:port(Silent),
    {error, {Slow, _}} = call(A, topos_partisan, join, [Nobody, #{addresses => [{{127, 0, 0, 1}, SilentPort}], timeout => 500}]),
    %% The second where the machine is so slow that the manager's members were not known in time.
    ?assert(lists:member(Slow, [unreachable, timeout])),
    ok = gen_tcp:close(Silent),
    %% Another name; a node of the bridge with another topology; another manager.
    Plain = plain(p, Config),
    ?assertMatch({error, {wrong_node, _}}, To(Nobody, port(Plain))),
    Mesh = started_with(m, #{topology => full_mesh}, Config),
    ?assertEqual([yes], lists:usort(maps:values(call(Mesh, topos_topology, capabilities, [])))),
    ?assertEqual(ok, call(Mesh, topos_topology, supported, [topos_partisan, spawn])),
    ?assertMatch({error, {invalid_config, _}}, call(Mesh, topos_topology, set_topology, [{native, ?config(manager, Config)}])),
    ?assertMatch({error, {not_a_node, _}}, join(A, Mesh)),
    [Other | _] = topos_native_capabilities:managers() -- [?config(manager, Config)],
    Foreign = started_with(f, #{topology => {native, Other}}, Config),
    ?assertMatch({error, {other_manager, #{running := Other}}}, join(A, Foreign)),
    ForeignPlain = plain(q, Other, Config),
    ?assertMatch({error, {other_manager, #{running := Other}}}, join(A, ForeignPlain)),
    ?assertEqual([name(A)], [N || {N, _} <- statuses(A)]),
    ?assertEqual(Manager, pid_of_manager(A, Config)),
    ?assertEqual(ok, join(A, Plain)).

%% Partisan that runs already is used as it is, and runs on.
attaches_to_a_running_partisan(Config) ->
    Plain = #{vm := Vm} = plain(p, Config),
    Other = plain(q, Config),
    Before = {whereis(Vm, partisan_sup), pid_of_manager(Plain, Config), ?NODE:call(Vm, application, get_all_env, [partisan])},
    Started = given(?config(manager, Config), name(Plain)),
    ?assertEqual({ok, name(Plain)}, ?NODE:call(Vm, topos_partisan, start, [Started])),
    #{addresses := [{_, Port}]} = call(Plain, topos_partisan, cluster, []),
    ?assertEqual(port(Plain), Port),
    ?assertEqual(ok, join(Plain, Other)),
    ?assertEqual(ok, send(Plain, Other, attached)),
    received(Other, attached),
    ?assertMatch({error, {already_started, _}}, ?NODE:call(Vm, topos_partisan, start, [Started])),
    ?assertEqual(ok, ?NODE:call(Vm, topos_partisan, stop, [])),
    ?assertMatch({error, {not_started, _}}, send(Plain, Other, detached)),
    ?assertEqual(Before, {whereis(Vm, partisan_sup), pid_of_manager(Plain, Config), ?NODE:call(Vm, application, get_all_env, [partisan])}),
    %% What was joined stays joined.
    ?assertEqual(ok, ?NODE:call(Vm, partisan, forward_message, [name(Other), sink, still_there, #{}])),
    received(Other, still_there).

%% Another manager, or another name, is an error that names both, and nothing is started or stopped.
another_partisan_is_an_error(Config) ->
    Manager = ?config(manager, Config),
    [Other | _] = topos_native_capabilities:managers() -- [Manager],
    Plain = #{vm := Vm} = plain(p, Other, Config),
    Sup = whereis(Vm, partisan_sup),
    Given = given(Manager, name(Plain)),
    ?assertMatch({error, {other_manager, #{running := Other, manager := Manager}}}, ?NODE:call(Vm, topos_partisan, start, [Given])),
    Stranger = ?NODE:name(stranger),
    ?assertMatch({error, {foreign_node, #{node := Stranger}}},
        ?NODE:call(Vm, topos_partisan, start, [Given#{node := Stranger, topology := {native, Other}}])),
    %% The bridge's own engine cannot share it either.
    ?assertMatch({error, {already_started, _}}, ?NODE:call(Vm, topos_partisan, start, [#{node => name(Plain), engine => partisan}])),
    ?assertEqual(Sup, whereis(Vm, partisan_sup)),
    ?assertEqual(undefined, whereis(Vm, topos_native)),
    %% An address that is taken.
    Free = vm(b, Config),
    ?assertMatch({error, {address_in_use, _}},
        ?NODE:call(Free, topos_partisan, start, [Given#{node := ?NODE:name(b), listen => [{{127, 0, 0, 1}, port(Plain)}]}])),
    ?assertEqual(undefined, whereis(Free, partisan_sup)),
    ?assertMatch({ok, _}, ?NODE:call(Free, topos_partisan, start, [Given#{node := ?NODE:name(b)}])).

%% Without Partisan there is no node.
ends_with_partisan(Config) ->
    A = #{vm := Vm} = started(a, Config),
    true = ?NODE:call(Vm, erlang, exit, [whereis(Vm, partisan_sup), kill]),
    ?NODE:wait_until(ended, fun() -> is_not_started(call(A, topos_partisan, node, [])) end, 10_000),
    Plain = #{vm := PlainVm} = plain(p, Config),
    Given = given(?config(manager, Config), name(Plain)),
    ?assertMatch({ok, _}, ?NODE:call(PlainVm, topos_partisan, start, [Given])),
    ok = ?NODE:call(PlainVm, application, stop, [partisan]),
    ?NODE:wait_until(ended, fun() -> is_not_started(call(Plain, topos_partisan, node, [])) end, 10_000).

is_not_started({error, {not_started, _}}) -> true;
is_not_started(_) -> false.

%% More than the inbox holds is an error at once on the node itself, and lost with a warning from others.
bounded_inbox(Config) ->
    A = started_with(a, #{limits => #{max_inbox_messages => 3}}, Config),
    [?assertEqual(ok, call(A, topos_inbox, send, [name(A), N])) || N <- [1, 2, 3]],
    ?assertMatch({error, {inbox_full, #{node := _, limit := 3}}}, call(A, topos_inbox, send, [name(A), 4])),
    B = started(b, Config),
    ?assertEqual(ok, join(B, A)),
    ?assertEqual(ok, call(B, topos_inbox, send, [name(A), 5])),
    %% On the same connection: what came before it was dealt with.
    ?assertEqual(ok, send(B, A, after_it, #{})),
    received(A, after_it),
    ?NODE:wait_until(idle, fun() -> ?NODE:call(maps:get(vm, A), sys, get_state, [topos_native_inbox]) =/= none end, 5_000),
    ?assertEqual([{ok, {name(A), N}} || N <- [1, 2, 3]], [call(A, topos_inbox, recv, [0]) || _ <- [1, 2, 3]]),
    ?assertMatch({error, {timeout, _}}, call(A, topos_inbox, recv, [0])).

%% A peer that takes nothing: what waits for its connection is bounded.
bounded_queue(Config) ->
    A = started_with(a, #{limits => #{max_queue_messages => 10}}, Config),
    B = #{vm := Vm} = started(b, Config),
    ?assertEqual(ok, join(A, B)),
    ok = ?NODE:pause(Vm),
    Answers = ?NODE:apply(maps:get(vm, A), fun ?MODULE:flood/3, [name(B), binary:copy(<<0>>, 500_000), 1_000]),
    ok = ?NODE:resume(Vm),
    ?assertMatch([{error, {overloaded, _}} | _], Answers),
    ?assert(length(Answers) < 1_000).

%% Until one is refused; the last answer is the first.
flood(Peer, Message, Count) -> flood(Peer, Message, Count, []).

flood(_, _, 0, Answers) -> Answers;
flood(_, _, _, [{error, _} | _] = Answers) -> Answers;
flood(Peer, Message, Count, Answers) -> flood(Peer, Message, Count - 1, [topos_partisan:send(Peer, sink, Message) | Answers]).

%% A connection keeps order, and a key keeps its connection.
keeps_the_order_of_a_key(Config) ->
    A = started(a, Config),
    B = started(b, Config),
    ?assertEqual(ok, join(A, B)),
    Count = 1_000,
    ?assertEqual([ok], ?NODE:apply(maps:get(vm, A), fun ?MODULE:numbers/2, [name(B), Count])),
    received(B, Count),
    ?assertEqual(lists:seq(Count, 1, -1), ?NODE:apply(maps:get(vm, B), fun ?MODULE:came/0)).

numbers(Peer, Count) -> lists:usort([topos_partisan:send(Peer, sink, N, #{key => numbers}) || N <- lists:seq(1, Count)]).

%% A channel of the configuration is one of Partisan's, with as many connections; of the others only the default one is there.
channels_are_the_configured_ones(Config) ->
    Channels = #{channels => #{data => 2, orders => #{parallelism => 3}}},
    A = started_with(a, Channels, Config),
    B = started_with(b, Channels, Config),
    ?assertMatch({ok, #{data := #{parallelism := 2}, orders := #{parallelism := 3, monotonic := false}}}, call(A, topos_channel, list, [])),
    ?assertEqual(ok, join(A, B)),
    ?assertEqual(ok, send(A, B, one, #{channel => orders, key => 7})),
    ?assertEqual(ok, send(A, B, two, #{channel => data})),
    [received(B, Message) || Message <- [one, two]],
    ?assertMatch({error, {no_such_channel, #{known := [data, orders]}}}, send(A, B, x, #{channel => bulk})),
    ?assertEqual(ok, ?NODE:apply(maps:get(vm, A), fun ?MODULE:with_default/2, [orders, name(B)])),
    received(B, by_default).

with_default(Channel, Peer) -> topos_channel:with_default(Channel, fun() -> topos_partisan:send(Peer, sink, by_default) end).

%% The others forget a node that leaves; it is alone, and may join again.
leaves_and_comes_back(Config) ->
    [A, B] = [started(N, Config) || N <- [a, b]],
    Plain = plain(p, Config),
    [?assertEqual(ok, join(N, A)) || N <- [B]],
    ?assertEqual(ok, join(A, Plain)),
    [?NODE:wait_until({members, name(N)}, fun() -> members(N) =:= lists:sort([name(M) || M <- [A, B, Plain]]) end, 20_000) || N <- [A, B]],
    ?assertEqual(ok, call(B, topos_partisan, leave, [#{timeout => ?JOIN}])),
    ?assertEqual([name(B)], members(B)),
    ?NODE:wait_until(forgotten, fun() -> members(A) =:= lists:sort([name(A), name(Plain)]) end, 20_000),
    ?assertEqual([name(B)], members(B)),
    ?assert(lists:member(name(B), call(A, topos_partisan, nodes, []))),
    ?assertEqual(ok, join(B, A)),
    ?NODE:wait_until(back, fun() -> members(A) =:= lists:sort([name(M) || M <- [A, B, Plain]]) end, 20_000),
    ?assertEqual(ok, send(B, A, back)),
    received(A, back).

%% Who died stays a member, and is `down'; what is sent to it is refused.
a_dead_member_is_down(Config) ->
    [A, B] = [started(N, Config) || N <- [a, b]],
    ?assertEqual(ok, join(A, B)),
    ok = ?NODE:kill(maps:get(vm, B)),
    ?NODE:wait_until(down, fun() -> lists:member({name(B), down}, statuses(A)) end, 20_000),
    ?assertMatch({error, {not_connected, #{status := down}}}, send(A, B, x)),
    ?assertMatch({error, {no_route, _}}, call(A, topos_topology, route, [name(B)])).

has_views(Config) ->
    [A, B] = [started(N, Config) || N <- [a, b]],
    ?assertEqual(ok, join(A, B)),
    ?assertEqual(#{active => [name(B)], passive => []}, call(A, topos_topology, views, [])).

%% A server takes clients and servers, a client servers alone; a node without a tag is not let near either: it would end their managers.
tags_decide(Config) ->
    With = fun(Name, Tag) -> started_with(Name, #{topology => #{type => native, manager => client_server, tag => Tag}}, Config) end,
    Server = With(s, server),
    Client = With(c, client),
    Other = With(d, client),
    None = started(n, Config),
    ?assertEqual(#{type => native, manager => client_server, tag => server}, call(Server, topos_topology, current, [])),
    ?assertEqual(ok, join(Client, Server)),
    ?assertMatch({error, {not_connected, _}}, send(Server, Client, x)),
    ?assertEqual(ok, join(Server, Client)),
    ?assertEqual(ok, send(Server, Client, x)),
    received(Client, x),
    [?assertMatch({error, {not_joined, #{why := _}}}, join(From, To)) || {From, To} <- [{Client, Other}, {None, Server}, {Server, None}]],
    [?assertMatch({error, {unsupported_by_manager, _}}, send(Client, Server, x, #{channel => Channel})) || Channel <- [bulk, orders]],
    ?assertEqual([name(Client), name(Server)], members(Server)).

%% helpers

vm(Name, Config) ->
    [Vm] = topos_ct_pool:take(1),
    true = ets:insert(?config(vms, Config), {Name, Vm}),
    Vm.

started(Name, Config) -> started_with(Name, #{}, Config).

started_with(Base, Extra, Config) ->
    Vm = vm(Base, Config),
    Name = ?NODE:name(Base),
    case ?NODE:call(Vm, topos_partisan, start, [maps:merge(given(?config(manager, Config), Name), Extra)]) of
        {ok, Name} -> ok;
        {error, Error} -> error({not_started, Error})
    end,
    ok = ?NODE:apply(Vm, fun ?MODULE:sink/0),
    #{vm => Vm, name => Name}.

given(Manager, Name) ->
    #{
        node => Name, engine => partisan, topology => {native, Manager}, insecure => true, limits => #{max_message_bytes => 1_048_576},
        timeouts => #{connect => ?JOIN, call => ?JOIN, leave => ?JOIN}
    }.

%% Partisan as an application that knows nothing of us, with the defaults of its own.
plain(Base, Config) -> plain(Base, ?config(manager, Config), Config).

plain(Base, Manager, Config) ->
    Vm = vm(Base, Config),
    Name = ?NODE:name(Base),
    Port = ?NODE:free_port(),
    ok = ?NODE:apply(Vm, fun ?MODULE:plain_here/3, [Name, topos_native_capabilities:module(Manager), Port]),
    ok = ?NODE:apply(Vm, fun ?MODULE:sink/0),
    #{vm => Vm, name => Name, port => Port}.

plain_here(Name, Manager, Port) ->
    _ = application:load(partisan),
    Address = #{ip => {127, 0, 0, 1}, port => Port},
    ok = lists:foreach(fun({Key, Value}) -> application:set_env(partisan, Key, Value) end,
        [{name, Name}, {peer_service_manager, Manager}, {listen_addrs, [Address]}, {peer_ip, {127, 0, 0, 1}}, {listen_ip, {127, 0, 0, 1}}]),
    ok = logger:set_application_level(partisan, error),
    {ok, _} = application:ensure_all_started(partisan),
    ok.

%% What came for it, by name.
sink() ->
    Parent = self(),
    Pid = spawn(fun() -> true = register(sink, self()), Parent ! {ready, self()}, sink([]) end),
    receive {ready, Pid} -> ok end.

sink(Messages) ->
    receive
        {came, From} -> From ! {sink, Messages}, sink(Messages);
        stop -> ok;
        Message -> sink([Message | Messages])
    end.

came() ->
    sink ! {came, self()},
    receive {sink, Messages} -> Messages end.

end_here() ->
    [begin Ref = monitor(process, sink), sink ! stop, receive {'DOWN', Ref, _, _, _} -> ok end end || is_pid(erlang:whereis(sink))],
    case topos_partisan:stop() of
        ok -> ok;
        {error, {not_started, _}} -> ok
    end,
    case lists:keymember(partisan, 1, application:which_applications()) of
        true -> ok = application:stop(partisan);
        false -> ok
    end,
    lists:foreach(fun({Key, _}) -> application:unset_env(partisan, Key) end, application:get_all_env(partisan)).

name(#{name := Name}) -> Name.

port(#{port := Port}) -> Port;
port(Node) -> #{addresses := [{_, Port}]} = call(Node, topos_partisan, cluster, []), Port.

call(#{vm := Vm}, Module, Function, Args) -> ?NODE:call(Vm, Module, Function, Args).

join(From, To) -> call(From, topos_partisan, join, [name(To), #{addresses => [{{127, 0, 0, 1}, port(To)}]}]).

send(From, To, Message) -> send(From, To, Message, #{}).

send(From, To, Message, Options) -> call(From, topos_partisan, send, [name(To), sink, Message, Options]).

received(#{vm := Vm}, Message) ->
    ?NODE:wait_until({received, Message}, fun() -> lists:member(Message, ?NODE:apply(Vm, fun ?MODULE:came/0)) end, 10_000).

connected(Node, Peers) ->
    ?NODE:wait_until({connected, name(Node)}, fun() -> [name(P) || P <- Peers] -- call(Node, topos_partisan, nodes, []) =:= [] end, 10_000).

statuses(Node) -> [{N, S} || #{node := N, status := S} <- call(Node, topos_partisan, members, [])].

members(Node) -> [N || {N, _} <- statuses(Node)].

whereis(Vm, Name) -> ?NODE:call(Vm, erlang, whereis, [Name]).

pid_of_manager(#{vm := Vm}, Config) -> whereis(Vm, topos_native_capabilities:module(?config(manager, Config))).
