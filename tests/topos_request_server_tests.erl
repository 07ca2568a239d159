%% The serving side of requests alone, between peers that come back and processes that end while it looks.
-module(topos_request_server_tests).
-behaviour(topos_request).

-include_lib("eunit/include/eunit.hrl").

-export([handle_request/2]).

-define(OWN, 'own@127.0.0.1').
-define(PEER, 'peer@127.0.0.1').
-define(WAIT, 60_000).

request_server_test_() ->
    {foreach, fun start/0, fun(_) -> ok = topos_sup:stop_node() end, [
        {timeout, 120, {"a peer that came back numbers its requests anew", fun lives_share_no_slots/0}},
        {timeout, 120, {"a sweep takes only what it saw", fun a_sweep_takes_only_what_it_saw/0}}
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

handle_request(?PEER, {Test, Name}) ->
    Test ! {serving, Name, self()},
    receive go -> {ok, Name} end.

%% internal

start() ->
    {ok, _} = application:ensure_all_started(topos_partisan),
    {ok, Config} = topos_config:parse(#{node => ?OWN, cluster => <<"c">>, cookie => <<"cookie">>, engine => otp}),
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

sent() -> maps:get(sent, topos_local:counts()).
