%% The serving side of requests alone, between peers that come back and processes that end while it looks.
-module(topos_request_server_tests).
-behaviour(topos_request).

-include("topos_frame.hrl").
-include_lib("eunit/include/eunit.hrl").

-export([handle_request/2]).

-define(OWN, 'own@127.0.0.1').
-define(PEER, 'peer@127.0.0.1').
-define(WAIT, 60_000).

request_server_test_() ->
    {foreach, fun start/0, fun(_) -> ok = topos_sup:stop_node() end, [
        {timeout, 120, {"a peer that came back numbers its requests anew", fun lives_share_no_slots/0}},
        {timeout, 120, {"more than may be served are refused where they arrive", fun more_are_refused/0}},
        {timeout, 120, {"a sweep takes only what it saw", fun a_sweep_takes_only_what_it_saw/0}},
        {timeout, 120, {"a sweep does not end who is replying", fun a_sweep_ends_no_reply/0}}
    ]}.

%% Its first life's request must neither end what the second asked nor answer it.
lives_share_no_slots() ->
    First = asked({?PEER, 1}, first),
    Second = asked({?PEER, 2}, second),
    ok = ended(First),
    ?assertMatch([{_, Second, _}], ets:tab2list(topos_serving)),
    Before = sent(),
    ok = ask({?PEER, 2}, second),
    ?assertEqual(Before, sent()),
    ok = ended(Second),
    ?assertEqual([], ets:tab2list(topos_serving)),
    ?assertEqual(2, ets:info(topos_replies, size)),
    ok = topos_request_server:forget(?PEER),
    ?assertEqual(0, ets:info(topos_replies, size)).

%% Each refusal had a process of its own, which could wait for room as long as the caller: as many as anybody cares to ask.
more_are_refused() ->
    Served = [asked({?PEER, Life}, Name) || {Life, Name} <- [{1, first}, {2, second}]],
    Name = atom_to_binary(?MODULE),
    Large = {bytes, term_to_binary({self(), third})},
    ?assertEqual({{error, ?TOPOS_UNDELIVERED_FULL}, []}, spawned(fun() ->
        topos_request_server:deliver({?PEER, 3}, <<0:32, 1:64, ?WAIT:32, Name/binary>>, Large)
    end)),
    ?assertEqual({ok, []}, spawned(fun() -> ask({?PEER, 4}, fourth) end)),
    ?assertMatch([{{{?PEER, 4}, 0, 1}, ?TOPOS_UNDELIVERED_FULL, <<>>, 0, _}], ets:lookup(topos_replies, {{?PEER, 4}, 0, 1})),
    ?assertMatch({overloaded, #{node := ?PEER}}, topos_lane:failure(?TOPOS_UNDELIVERED_FULL, ?PEER, {?TOPOS_DEST_REQUEST, Name})),
    lists:foreach(fun ended/1, Served).

%% Of a process that is gone the row goes, but not the one that somebody else has put in its place.
a_sweep_takes_only_what_it_saw() ->
    Gone = spawn(fun() -> ok end),
    Ref = monitor(process, Gone),
    receive {'DOWN', Ref, process, Gone, _} -> ok end,
    Later = erlang:monotonic_time(millisecond) + ?WAIT,
    {Old, New} = {{key, Gone, Later}, {key, self(), Later}},
    true = ets:insert(topos_serving, New),
    ok = topos_request_server:sweep(Later - ?WAIT, [Old]),
    ?assertEqual([New], ets:tab2list(topos_serving)),
    ok = topos_request_server:sweep(Later - ?WAIT, [New]),
    ?assertEqual([New], ets:tab2list(topos_serving)),
    true = ets:insert(topos_serving, Old),
    ok = topos_request_server:sweep(Later - ?WAIT, [Old]),
    ?assertEqual([], ets:tab2list(topos_serving)).

%% It was killed between what it counted and what it kept: the bytes counted for ever.
a_sweep_ends_no_reply() ->
    Test = self(),
    ok = meck:new(topos_relay, [passthrough]),
    try
        ok = meck:expect(topos_relay, ask, fun(_, _, _, _, _) -> Test ! {writing, self()}, receive written -> ok end end),
        Pid = asked({?PEER, 1}, first),
        Seen = [{_, Pid, Deadline}] = ets:tab2list(topos_serving),
        Ref = monitor(process, Pid),
        Pid ! go,
        receive {writing, Pid} -> ok after ?WAIT -> error(not_replied) end,
        ok = topos_request_server:sweep(Deadline, Seen),
        Pid ! written,
        receive {'DOWN', Ref, process, Pid, Reason} -> ?assertEqual(normal, Reason) end,
        ?assertMatch([{_, 0, _, _, _}], ets:tab2list(topos_replies)),
        ok = topos_request_server:forget(?PEER),
        ?assertEqual(0, counters:get(maps:get(kept_replies, topos_local:hot()), 1))
    after
        meck:unload(topos_relay)
    end.

handle_request(?PEER, {Test, Name}) ->
    Test ! {serving, Name, self()},
    receive go -> {ok, Name} end.

%% internal

start() ->
    {ok, _} = application:ensure_all_started(topos_partisan),
    {ok, Config} = topos_config:parse(#{node => ?OWN, cluster => <<"c">>, cookie => <<"cookie">>, engine => otp, limits => #{max_pending_calls => 2}}),
    ok = topos_fake_engine:use(self()),
    ok = topos_sup:start_node(Config, topos_fake_engine),
    ok = topos_request:serve(?MODULE, ?MODULE).

%% The process that serves the first request of slot 0.
asked(From, Name) ->
    ok = ask(From, Name),
    receive {serving, Name, Pid} -> Pid after ?WAIT -> error({not_served, Name}) end.

ask(From, Name) ->
    topos_request_server:request(From, {0, 1}, ?WAIT, atom_to_binary(?MODULE), term_to_binary({self(), Name})).

ended(Pid) ->
    Ref = monitor(process, Pid),
    Pid ! go,
    receive {'DOWN', Ref, process, Pid, Reason} -> normal = Reason, ok end.

%% What a function returns, and the processes that it spawns.
spawned(Fun) ->
    {Pid, Ref} = spawn_monitor(fun() -> receive go -> exit({returned, Fun()}) end end),
    1 = erlang:trace(Pid, true, [procs]),
    Pid ! go,
    Result = receive {'DOWN', Ref, process, Pid, {returned, Value}} -> Value end,
    {Result, children(Pid)}.

%% The trace of a process ends with its exit.
children(Pid) ->
    receive
        {trace, Pid, spawn, Child, _} -> [Child | children(Pid)];
        {trace, Pid, exit, _} -> [];
        {trace, Pid, _, _} -> children(Pid);
        {trace, Pid, _, _, _} -> children(Pid)
    end.

sent() -> maps:get(sent, topos_local:counts()).
