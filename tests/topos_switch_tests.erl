%% The process that carries out what `topos_switch_core' decides, with all around it in place of itself.
-module(topos_switch_tests).

-include_lib("eunit/include/eunit.hrl").

-define(OWN, 'own@127.0.0.1').
-define(PEER, 'peer@127.0.0.1').
-define(AROUND, [topos_delivery, topos_events, topos_cluster, topos_overlay, topos_lane]).

switch_test_() ->
    {foreach, fun start/0, fun stop/1, [
        {timeout, 60, {"a switch that cannot begin here is announced to nobody", fun not_begun/0}},
        {timeout, 60, {"nor is one that cannot begin after a while", fun not_begun_in_time/0}},
        {timeout, 60, {"one that can is announced", fun begun/0}}
    ]}.

%% It was prepared and taken back at once, and until both had arrived another node's switch could meet it: `switch_conflict'.
not_begun() -> not_begun(0).

%% A handler that begins slowly: time to prepare again is there when it fails.
not_begun_in_time() -> not_begun(400).

not_begun(Milliseconds) ->
    Error = topos_error:new(topology_handler_failed, #{handler => nobody, why => {init, on_purpose}}),
    ok = meck:expect(topos_overlay, start_machine, fun(_, _) -> receive after Milliseconds -> {error, Error} end end),
    ?assertEqual({error, Error}, topos_switch:set_topology(#{type => custom, handler => nobody, args => []}, 60_000)),
    ?assertEqual([], [Message || Message <- sent(), element(1, Message) =:= prepare]),
    ?assertMatch(#{state := stable}, topos_switch:status()).

begun() ->
    ok = meck:expect(topos_overlay, start_machine, fun(_, _) -> ok end),
    {Pid, Ref} = spawn_monitor(fun() -> topos_switch:set_topology(#{type => hyparview}, 60_000) end),
    ok = meck:wait(topos_lane, send, [?PEER, '_', {prepare, '_', '_', '_', '_', '_'}, '_'], 30_000),
    ?assertMatch(#{state := preparing}, topos_switch:status()),
    exit(Pid, kill),
    receive {'DOWN', Ref, process, Pid, killed} -> ok end.

%% internal

start() ->
    ok = meck:new(?AROUND),
    ok = meck:new(topos_local, [passthrough]),
    Own = #{node => ?OWN, topology => full_mesh},
    [
        ok = meck:expect(Module, Function, Answer)
     || {Module, Function, Answer} <- [
            {topos_local, config, fun(Key) -> maps:get(Key, Own) end},
            {topos_local, incarnation, fun() -> 1 end},
            {topos_local, topology_epoch, fun() -> topos_switch_core:boot() end},
            {topos_delivery, claim, fun(_, _) -> ok end},
            {topos_events, subscribe, fun(_) -> {ok, make_ref()} end},
            {topos_cluster, members, fun() -> [#{node => Node, status => up} || Node <- [?OWN, ?PEER]] end},
            {topos_cluster, resume, fun() -> ok end},
            {topos_overlay, release, fun(_) -> ok end},
            {topos_overlay, drop, fun(_) -> ok end},
            {topos_lane, send, fun(?PEER, _, _, _) -> ok end}
        ]
    ],
    {ok, Pid} = topos_switch:start_link(),
    Pid.

stop(Pid) ->
    ok = gen_server:stop(Pid),
    ok = meck:unload([topos_local | ?AROUND]).

sent() -> [Message || {_, {topos_lane, send, [_, _, Message, _]}, _} <- meck:history(topos_lane)].
