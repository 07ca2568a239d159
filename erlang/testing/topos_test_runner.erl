%% @doc Runs compiled tests and prints what came of them: what `topos test' starts in a VM of its own,
%% ```
%% erl -noinput -pa EBIN.. -s topos_test_runner main -extra FILE SEED RUNS TIMEOUT color|plain NODES WHERE
%% '''
%% `FILE' has a test a line: its module, its flow and its place, with tabs between. Each test runs in a process of its own
%% with the standard handlers, for at most `TIMEOUT' milliseconds. The VM halts with 0 if all passed, else with 1.
%%
%% With several nodes this VM is the first of them, and runs the tests; the others do what a test calls there
%% (`topos_runner:call/2'). A test finds no node started, here or there: what one has started is stopped after it, and a VM
%% that it called, killed or started is another one for the next. `WHERE' are the options of the command that chose the nodes.
%%
%% How tests run on virtual nodes says `topos_test_simulated'.
-module(topos_test_runner).

-export([main/0, halt_with/1, serve/0, read/1, run/3, call/2]).
%% Bodies of processes.
-export([start/2, in_own_process/3]).
-export_type([test/0, settings/0, seed/0, outcome/0]).

-type test() :: {module(), Flow :: atom(), Title :: binary(), Place :: binary()}.
%% `seeds': the first and the last that a test may be tried with. `repeat': the command that runs a test again with a seed, where
%% that is another one than the seed of all; `again': else the rest of the command that runs these tests again.
-type settings() :: #{seeds := {seed(), seed()}, runs := pos_integer(), color := boolean(), where := string(), again => string(),
                      repeat => fun((seed(), Title :: binary()) -> unicode:chardata()),
                      timeout => pos_integer(), nodes => pos_integer()}.
-type seed() :: non_neg_integer().
-type outcome() :: passed | {failed, seed(), topos_test:failure()}.

%% @doc Starts the tests and returns at once, because the VM's own start goes on only then.
-spec main() -> ok.
main() ->
    [File, Seed, Runs, Timeout, Color, Nodes, Where, Again] = init:get_plain_arguments(),
    ok = io:setopts(user, [{encoding, unicode}]),
    One = list_to_integer(Seed),
    Settings = #{seeds => {One, One}, runs => list_to_integer(Runs), timeout => list_to_integer(Timeout),
                 color => Color =:= "color", nodes => list_to_integer(Nodes), where => Where, again => Again},
    _ = spawn(?MODULE, start, [File, Settings]),
    ok.

%% @doc Makes this VM one that does what tests call here; before `-s topos_runner start'.
-spec serve() -> ok.
serve() ->
    _ = topos_effect:install_standard([], process),
    ok.

%% @doc The tests of a file.
-spec read(file:filename()) -> [test()].
read(File) ->
    {ok, Text} = file:read_file(File),
    [test(Line) || Line <- binary:split(Text, <<"\n">>, [global, trim_all])].

%% @doc Runs the tests one after the other, each with the function, and prints what comes of them. Answers how many failed.
-spec run([test()], settings(), fun((test()) -> outcome())) -> non_neg_integer().
run(Tests, #{seeds := {Seed, _} = Seeds, where := Where} = Settings, RunOne) ->
    Began = erlang:monotonic_time(millisecond),
    Nodes = [[", ", Where] || Where =/= ""],
    io:format("~ts, ~ts~ts~n", [counted(length(Tests)), tried(Seeds), Nodes]),
    Failed = length([failed || Test <- Tests, tell(RunOne(Test), Test, Settings) =:= failed]),
    Took = erlang:monotonic_time(millisecond) - Began,
    io:format("~n~b passed, ~b failed (~.2f s)~n", [length(Tests) - Failed, Failed, Took / 1000]),
    %% A simulated test says it for itself.
    _ = [io:format("again with the same values: topos test --seed ~b~ts~n", [Seed, [[" ", Again] || Again =/= ""]])
         || Failed > 0, {ok, Again} <- [maps:find(again, Settings)]],
    Failed.

%% @doc Calls a test in the calling process, and takes its failure apart.
-spec call(module(), atom()) -> passed | topos_test:failure().
call(Module, Flow) ->
    try Module:Flow() of
        _ -> passed
    catch
        error:{topos_test_failed, Failure} ->
            Failure;
        Class:Reason:Stack ->
            [What | About] = string:split(topos_rt:format_error(Class, Reason, Stack), "\n", all),
            failure(What, [unicode:characters_to_binary(string:trim(Line, leading)) || Line <- About])
    end.

%% @doc Ends the VM with what a run of tests says: 0 where none failed. The handlers are taken away before.
-spec halt_with(fun(() -> Failed :: non_neg_integer())) -> no_return().
halt_with(Run) ->
    Status =
        try
            Failed = Run(),
            ok = topos_effect:uninstall(),
            min(Failed, 1)
        catch
            Class:Reason:Stack ->
                ok = topos_effect:report(Class, Reason, Stack),
                1
        end,
    halt(Status).

%% internal

%% @private
-spec start(file:filename(), settings()) -> no_return().
start(File, Settings) ->
    halt_with(fun() ->
        Tests = read(File),
        ok = serve(),
        run(Tests, Settings, fun(Test) -> run_one(Test, Settings, Test =:= hd(Tests)) end)
    end).

-spec test(binary()) -> test().
test(Line) ->
    [Module, Flow, Place] = binary:split(Line, <<"\t">>, [global]),
    [_, Title] = binary:split(Flow, <<" ">>),
    {binary_to_atom(Module), binary_to_atom(Flow), Title, Place}.

%% All but the first find nodes anew.
-spec run_one(test(), settings(), IsFirst :: boolean()) -> outcome().
run_one(Test, #{nodes := Nodes} = Settings, IsFirst) ->
    _ = [ok = topos_runner:reset() || Nodes > 1, not IsFirst],
    Outcome = run_one(Test, Settings),
    ok = topos_program_node:stop(),
    Outcome.

-spec run_one(test(), settings()) -> outcome().
run_one({Module, Flow, _, _}, #{seeds := {Seed, _}, runs := Runs, timeout := Timeout}) ->
    {Pid, Monitor} = spawn_monitor(?MODULE, in_own_process, [{Module, Flow}, Seed, Runs]),
    Outcome =
        receive
            {'DOWN', Monitor, process, Pid, {done, Done}} ->
                Done;
            {'DOWN', Monitor, process, Pid, Reason} ->
                failure(io_lib:format("the process of the test ended: ~0tP", [Reason, 20]), [])
        after Timeout ->
            true = exit(Pid, kill),
            receive
                {'DOWN', Monitor, process, Pid, _} -> failure(io_lib:format("not done after ~b ms", [Timeout]), [])
            end
        end,
    case Outcome of
        passed -> passed;
        Failure -> {failed, Seed, Failure}
    end.

%% @private
-spec in_own_process({module(), atom()}, integer(), pos_integer()) -> no_return().
in_own_process({Module, Flow}, Seed, Runs) ->
    ok = topos_test:settings(Seed, Runs),
    exit({done, call(Module, Flow)}).

-spec failure(unicode:chardata(), [binary()]) -> topos_test:failure().
failure(What, About) -> #{what => unicode:characters_to_binary(What), about => About}.

-spec tell(outcome(), test(), settings()) -> passed | failed.
tell(passed, {Module, _, Title, _}, Settings) ->
    io:format("~ts ~ts: ~ts~n", [mark("ok  ", 32, Settings), Module, Title]),
    passed;
tell({failed, Seed, #{what := What, about := About}}, {Module, _, Title, Place}, Settings) ->
    io:format("~ts ~ts: ~ts~n     ~ts~n     ~ts~n", [mark("FAIL", 31, Settings), Module, Title, Place, What]),
    lists:foreach(fun(Line) -> io:format("       ~ts~n", [Line]) end, About),
    _ = [io:format("     again: ~ts~n", [Repeat(Seed, Title)]) || #{repeat := Repeat} <- [Settings]],
    failed.

-spec mark(string(), 31 | 32, settings()) -> iolist().
mark(Text, Color, #{color := true}) -> io_lib:format("\e[~bm~s\e[0m", [Color, Text]);
mark(Text, _, _) -> Text.

-spec tried({seed(), seed()}) -> iolist().
tried({Seed, Seed}) -> io_lib:format("seed ~b", [Seed]);
tried({First, Last}) -> io_lib:format("seeds ~b to ~b", [First, Last]).

-spec counted(non_neg_integer()) -> iolist().
counted(1) -> "1 test";
counted(N) -> io_lib:format("~b tests", [N]).
