%% @doc `scripts/test-counts.sh' on what the runners of the test stages close with.
-module(topos_test_counts_tests).

-include_lib("eunit/include/eunit.hrl").

counts_test_() ->
    [
        {Stage ++ ": " ++ hd(Lines), ?_assertEqual(Expected, counts(Stage, Lines))}
     || {Stage, Lines, Expected} <- [
            {"rust", ["     Summary [ 210.000s] 861 tests run: 860 passed (1 slow), 1 failed, 2 skipped"], "860 1 2"},
            {"rust", ["test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured", "test result: ok. 4 passed; 1 failed; 0 ignored"], "7 1 1"},
            {"eunit", ["657 tests, 0 failures"], "657 0 0"},
            {"eunit", ["10 tests, 2 failures, 1 cancelled, 1 skipped"], "7 3 1"},
            {"properties", ["OK: Passed 200 test(s).", "properties: 54 passed, 1 failed"], "54 1 0"},
            {"ct", ["All 291 tests passed."], "291 0 0"},
            %% Properties that a suite checks are no cases of the run.
            {"ct", ["OK: Passed 30 test(s).", "Failed 1 tests. Passed 290 tests. "], "290 1 0"},
            {"ct", ["Skipped 149 (149, 0) tests. Passed 142 tests. "], "142 0 149"},
            {"ct", ["nothing that a runner closes with"], "0 0 0"}
        ]
    ].

%% Nothing counted must not look like nothing failed.
log_that_is_not_there_test() ->
    Script = filename:join(topos_house_tests:root(), "scripts/test-counts.sh"),
    ?assertEqual(nomatch, string:find(os:cmd("sh " ++ Script ++ " ct /nowhere/ct.log 2>/dev/null; echo status $?"), "status 0")).

%% internal

counts(Stage, Lines) ->
    Root = topos_house_tests:root(),
    Log = filename:join([Root, "_build", ?MODULE_STRING ++ os:getpid() ++ ".log"]),
    ok = file:write_file(Log, [[Line, $\n] || Line <- Lines]),
    try
        string:trim(os:cmd("sh " ++ filename:join(Root, "scripts/test-counts.sh") ++ " " ++ Stage ++ " " ++ Log))
    after
        ok = file:delete(Log)
    end.
