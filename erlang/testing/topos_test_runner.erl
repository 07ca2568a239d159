%% @doc Runs compiled tests and prints what came of them: what `topos test' starts in a VM of its own,
%% ```
%% erl -noinput -pa EBIN.. -s topos_test_runner main -extra FILE SEED RUNS TIMEOUT color|plain NODES WHERE AGAIN
%% '''
%% `FILE' has a test a line: its module, its flow and its place, with tabs between. Each test runs in a process of its own
%% with the standard handlers, for at most `TIMEOUT' milliseconds. The VM halts with 0 if all passed, else with 1.
%%
%% With several nodes this VM is the first of them, and runs the tests; the others do what a test calls there
%% (`topos_runner:call/2'). A test finds no node started, here or there: what one has started is stopped after it, and a VM
%% that it called, killed or started is another one for the next. `WHERE' are the options of the command that chose the nodes;
%% `AGAIN' is what stands behind its seed to run the same tests in the same way.
-module(topos_test_runner).

-export([main/0, serve/0, run/2]).
%% Bodies of processes.
-export([start/2, in_own_process/3]).
-export_type([test/0, settings/0]).

-type test() :: {module(), Flow :: atom(), Title :: binary(), Place :: binary()}.
-type settings() :: #{seed := integer(), runs := pos_integer(), timeout := pos_integer(), color := boolean(),
                      nodes := pos_integer(), where := string(), again := string()}.

%% @doc Starts the tests and returns at once, because the VM's own start goes on only then.
-spec main() -> ok.
main() ->
    [File, Seed, Runs, Timeout, Color, Nodes, Where, Again] = init:get_plain_arguments(),
    ok = io:setopts(user, [{encoding, unicode}]),
    Settings = #{seed => list_to_integer(Seed), runs => list_to_integer(Runs), timeout => list_to_integer(Timeout),
                 color => Color =:= "color", nodes => list_to_integer(Nodes), where => Where, again => Again},
    _ = spawn(?MODULE, start, [File, Settings]),
    ok.

%% @doc Makes this VM one that does what tests call here; before `-s topos_runner start'.
-spec serve() -> ok.
serve() ->
    _ = topos_effect:install_standard([], process),
    ok.

%% @doc Runs the tests one after the other. Answers how many failed.
-spec run([test()], settings()) -> non_neg_integer().
run(Tests, #{seed := Seed, where := Where, again := Again} = Settings) ->
    Began = erlang:monotonic_time(millisecond),
    Nodes = [[", ", Where] || Where =/= ""],
    io:format("~ts, seed ~b~ts~n", [counted(length(Tests)), Seed, Nodes]),
    Failed = length([failed || failed <- run_all(Tests, Settings)]),
    Took = erlang:monotonic_time(millisecond) - Began,
    io:format("~n~b passed, ~b failed (~.2f s)~n", [length(Tests) - Failed, Failed, Took / 1000]),
    _ = [io:format("again with the same values: topos test --seed ~b~ts~n", [Seed, [[" ", Again] || Again =/= ""]])
         || Failed > 0],
    Failed.

%% internal

%% @private
-spec start(file:filename(), settings()) -> no_return().
start(File, Settings) ->
    Status =
        try
            {ok, Text} = file:read_file(File),
            Tests = [test(Line) || Line <- binary:split(Text, <<"\n">>, [global, trim_all])],
            ok = serve(),
            Failed = run(Tests, Settings),
            ok = topos_effect:uninstall(),
            min(Failed, 1)
        catch
            Class:Reason:Stack ->
                ok = topos_effect:report(Class, Reason, Stack),
                1
        end,
    halt(Status).

-spec test(binary()) -> test().
test(Line) ->
    [Module, Flow, Place] = binary:split(Line, <<"\t">>, [global]),
    [_, Title] = binary:split(Flow, <<" ">>),
    {binary_to_atom(Module), binary_to_atom(Flow), Title, Place}.

-spec run_all([test()], settings()) -> [passed | failed].
run_all([], _) ->
    [];
run_all([Test | Tests], Settings) ->
    Result = run_one(Test, Settings),
    ok = topos_program_node:stop(),
    _ = [ok = reset(Settings) || Tests =/= []],
    [Result | run_all(Tests, Settings)].

-spec reset(settings()) -> ok.
reset(#{nodes := 1}) -> ok;
reset(#{nodes := _}) -> topos_runner:reset().

-spec run_one(test(), settings()) -> passed | failed.
run_one({Module, Flow, Title, Place}, #{seed := Seed, runs := Runs, timeout := Timeout} = Settings) ->
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
    tell(Outcome, Module, Title, Place, Settings).

%% @private
-spec in_own_process({module(), atom()}, integer(), pos_integer()) -> no_return().
in_own_process({Module, Flow}, Seed, Runs) ->
    ok = topos_test:settings(Seed, Runs),
    exit({done, call(Module, Flow)}).

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

-spec failure(unicode:chardata(), [binary()]) -> topos_test:failure().
failure(What, About) -> #{what => unicode:characters_to_binary(What), about => About}.

-spec tell(passed | topos_test:failure(), module(), binary(), binary(), settings()) -> passed | failed.
tell(passed, Module, Title, _, Settings) ->
    io:format("~ts ~ts: ~ts~n", [mark("ok  ", 32, Settings), Module, Title]),
    passed;
tell(#{what := What, about := About}, Module, Title, Place, Settings) ->
    io:format("~ts ~ts: ~ts~n     ~ts~n     ~ts~n", [mark("FAIL", 31, Settings), Module, Title, Place, What]),
    lists:foreach(fun(Line) -> io:format("       ~ts~n", [Line]) end, About),
    failed.

-spec mark(string(), 31 | 32, settings()) -> iolist().
mark(Text, Color, #{color := true}) -> io_lib:format("\e[~bm~s\e[0m", [Color, Text]);
mark(Text, _, _) -> Text.

-spec counted(non_neg_integer()) -> iolist().
counted(1) -> "1 test";
counted(N) -> io_lib:format("~b tests", [N]).
