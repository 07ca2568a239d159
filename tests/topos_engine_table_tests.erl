%% What callers of an engine read: links, and what a cut makes of them.
-module(topos_engine_table_tests).

-include_lib("eunit/include/eunit.hrl").

-define(TAB, topos_engine_table_tests).

table(Test) ->
    fun() ->
        ok = topos_engine_table:new(?TAB, #{data => #{}, bulk => #{}}),
        try Test() after true = ets:delete(?TAB) end
    end.

links_test_() ->
    table(fun() ->
        ?assertEqual({error, not_connected}, topos_engine_table:link(?TAB, a, data)),
        ?assertEqual({error, no_such_channel}, topos_engine_table:link(?TAB, a, smoke)),
        ok = topos_engine_table:open(?TAB, a, #{data => 1, bulk => 2}),
        ?assertEqual({ok, 2}, topos_engine_table:link(?TAB, a, bulk)),
        ok = topos_engine_table:close(?TAB, a),
        ?assertEqual({error, not_connected}, topos_engine_table:link(?TAB, a, bulk))
    end).

%% Links of before and of after the cut lead nowhere, and are what they were when it is over; those to others are not touched.
cut_test_() ->
    table(fun() ->
        ok = topos_engine_table:open(?TAB, a, #{data => 1, bulk => 2}),
        ok = topos_engine_table:open(?TAB, b, #{data => 3}),
        ok = topos_engine_table:cut(?TAB, [a, c]),
        ok = topos_engine_table:open(?TAB, c, #{data => 4}),
        ?assertEqual([cut, cut, cut], [topos_engine_table:link(?TAB, N, C) || {N, C} <- [{a, data}, {a, bulk}, {c, data}]]),
        ?assertEqual({ok, 3}, topos_engine_table:link(?TAB, b, data)),
        ?assertEqual([true, false, true], [topos_engine_table:is_cut(?TAB, N) || N <- [a, b, c]]),
        %% Who opens links anew finds them whole.
        ?assertEqual(#{data => 1, bulk => 2}, topos_engine_table:links(?TAB, a)),
        ok = topos_engine_table:cut(?TAB, [a]),
        ?assertEqual({ok, 4}, topos_engine_table:link(?TAB, c, data)),
        ok = topos_engine_table:cut(?TAB, []),
        ?assertEqual([{ok, 1}, {ok, 2}, {ok, 3}, {ok, 4}],
                     [topos_engine_table:link(?TAB, N, C) || {N, C} <- [{a, data}, {a, bulk}, {b, data}, {c, data}]])
    end).

%% A node that is not connected stays so.
cut_of_nobody_test_() ->
    table(fun() ->
        ok = topos_engine_table:cut(?TAB, [a]),
        ?assertEqual({error, not_connected}, topos_engine_table:link(?TAB, a, data)),
        ok = topos_engine_table:cut(?TAB, []),
        ?assertEqual({error, not_connected}, topos_engine_table:link(?TAB, a, data))
    end).
