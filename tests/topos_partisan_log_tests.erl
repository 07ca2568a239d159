%% @doc What of Partisan's log is left out, and that nothing else is.
-module(topos_partisan_log_tests).

-include_lib("eunit/include/eunit.hrl").

-define(FILTER(Msg), topos_partisan_log:filter(#{level => error, msg => Msg, meta => #{}}, [])).

what_the_engine_tells_itself_is_left_out_test() ->
    Closed = #{description => "Connection closed", channel => data, reason => closed},
    Failed = #{description => "Node failed to connect", channel => data, error => {error, normal}},
    ?assertEqual(stop, ?FILTER({report, Closed})),
    ?assertEqual(stop, ?FILTER({report, Failed})).

a_monitor_whose_tables_are_gone_is_left_out_test() ->
    Stack = fun(Module) -> [{ets, safe_fixtable, [table, true], []}, {ets, foldl, 3, []}, {Module, on_nodedown, 2, []}] end,
    Error = fun(Module) -> {"Error in process ~p with exit value:~n~p~n", [self(), {badarg, Stack(Module)}]} end,
    ?assertEqual(stop, ?FILTER(Error(partisan_monitor))),
    ?assertEqual(ignore, ?FILTER(Error(shop))).

a_connection_whose_peer_died_is_left_out_test() ->
    Report = {report, #{label => {gen_server, terminate}, reason => {error, closed}}},
    ?assertEqual(ignore, ?FILTER(Report)),
    _ = put('$initial_call', {partisan_peer_service_client, init, 1}),
    ?assertEqual(stop, ?FILTER(Report)),
    ?assertEqual(ignore, ?FILTER({report, #{label => {gen_server, terminate}, reason => {badmatch, 1}}})),
    _ = erase('$initial_call').

other_events_stay_test() ->
    ?assertEqual(ignore, ?FILTER({report, #{description => "Channel conflict", channel => data}})),
    Unsent = #{description => "Failed to send message", data => frame},
    ?assertEqual(stop, ?FILTER({report, Unsent#{error => {error, einval}}})),
    ?assertEqual(ignore, ?FILTER({report, Unsent#{error => {error, emsgsize}}})),
    ?assertEqual(ignore, ?FILTER({string, "disk full"})),
    ?assertEqual(ignore, ?FILTER({"~p", [x]})).
