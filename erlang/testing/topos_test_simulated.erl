%% @doc Runs compiled tests on virtual nodes: what `topos test --engine sim' starts,
%% ```
%% erl -noinput +S 1:1 -pa EBIN.. -s topos_test_simulated main -extra OPTION=VALUE.. -- FILE RUNS color|plain WHERE REPEAT
%% '''
%% The options are those of `topos_sim_options', the rest is told in `topos_test_runner'; `REPEAT' are the options and paths that,
%% with a seed, do the same again. Each test has a network of its own, whose
%% first node runs it and whose others do what it calls. All that is left to chance there follows from the run's seed and the test's
%% name, so a test is the same whichever others run. With `seeds' each test is tried with one seed after the other until it fails.
-module(topos_test_simulated).

-export([main/0, run/2]).
%% Body of a process.
-export([start/2]).

%% @doc Starts the tests and returns at once, because the VM's own start goes on only then.
-spec main() -> ok.
main() ->
    {Words, ["--", File, Runs, Color, Where, Repeat]} =
        lists:splitwith(fun(Word) -> Word =/= "--" end, init:get_plain_arguments()),
    ok = io:setopts(user, [{encoding, unicode}]),
    ok = io:setopts(standard_error, [{encoding, unicode}]),
    #{seed := Seed} = Options = topos_sim_options:parse(Words),
    Seeds = maps:get(seeds, Options, {Seed, Seed}),
    Settings = #{seeds => Seeds, runs => list_to_integer(Runs), color => Color =:= "color", where => Where,
                 repeat => fun(Failing, Title) -> repeat(Failing, Title, Repeat) end},
    _ = spawn(?MODULE, start, [File, {Settings, Options#{tests := true}}]),
    ok.

%% @private
-spec start(file:filename(), {topos_test_runner:settings(), topos_sim_options:t()}) -> no_return().
start(File, {Settings, Options}) ->
    topos_test_runner:halt_with(fun() ->
        {ok, _} = topos_effect:install(topos_sim:handlers([], process)),
        ok = topos_sim:first_process(),
        topos_test_runner:run(topos_test_runner:read(File), Settings, fun(Test) -> run(Test, {Settings, Options}) end)
    end).

%% @doc Runs a test with one seed after the other; the handlers must be installed. Nodes are heard when a single seed is tried, and
%% in the run that failed, which is made again.
-spec run(topos_test_runner:test(), {topos_test_runner:settings(), topos_sim_options:t()}) ->
    topos_test_runner:outcome().
run(Test, {#{seeds := {Seed, Seed}} = Settings, Options}) ->
    one(Test, Seed, Settings, Options#{tell := heard(Options)});
run(Test, {#{seeds := {First, Last}} = Settings, Options}) ->
    search(Test, First, Last, Settings, Options).

%% internal

-spec search(topos_test_runner:test(), topos_test_runner:seed(), topos_test_runner:seed(),
             topos_test_runner:settings(), topos_sim_options:t()) -> topos_test_runner:outcome().
search(_, Seed, Last, _, _) when Seed > Last ->
    passed;
search(Test, Seed, Last, Settings, Options) ->
    case one(Test, Seed, Settings, Options#{trace := false, tell := fun(_, _) -> ok end}) of
        passed ->
            search(Test, Seed + 1, Last, Settings, Options);
        {failed, Of, #{about := About} = Failure} ->
            case one(Test, Seed, Settings, Options#{tell := heard(Options)}) of
                passed ->
                    %% What Erlang code does, and the numbers of processes, are not the seed's.
                    Alone = <<"it passes when it is run again: it depends on something that is not simulated">>,
                    {failed, Of, Failure#{about := About ++ [Alone]}};
                Again ->
                    Again
            end
    end.

-spec one(topos_test_runner:test(), topos_test_runner:seed(), topos_test_runner:settings(), topos_sim_options:t()) ->
    topos_test_runner:outcome().
one({Module, Flow, _, _}, Seed, #{runs := Runs}, Options) ->
    {Self, Tag} = {self(), make_ref()},
    Main = fun() ->
        ok = topos_test:settings(Seed, Runs),
        Self ! {Tag, topos_test_runner:call(Module, Flow)},
        {main, 0}
    end,
    %% Two tests of a run have nothing in common.
    Outcome = topos_sim:run(Options#{seed := erlang:phash2({Seed, Module, Flow}, 1 bsl 32)}, Main),
    Failure =
        receive
            {Tag, Answer} -> Answer
        after 0 ->
            case Outcome of
                {failed, Error} ->
                    [What | About] = string:split(topos_error:format(Error), "\n", all),
                    #{what => text(What), about => [text(string:trim(Line, leading)) || Line <- About]};
                {exit, _} ->
                    #{what => <<"the process of the test ended">>, about => []}
            end
        end,
    case Failure of
        passed -> passed;
        _ -> {failed, Seed, Failure}
    end.

%% What nodes write, and with `trace' what happens to them.
-spec heard(topos_sim_options:t()) -> topos_sim_output:tell().
heard(#{names := Names, trace := Trace} = Options) ->
    Tell = topos_sim_output:new(Names, Options),
    fun
        (remark, _) when not Trace -> ok;
        (From, Line) -> Tell(From, Line)
    end.

%% The command that does it again.
-spec repeat(topos_test_runner:seed(), binary(), string()) -> unicode:chardata().
repeat(Seed, Title, Repeat) ->
    ["topos test --seed ", integer_to_list(Seed), " --filter ", quoted(Title), " ", Repeat].

%% A word of a shell.
-spec quoted(binary()) -> unicode:chardata().
quoted(Text) -> [$', string:replace(Text, "'", "'\\''", all), $'].

-spec text(unicode:chardata()) -> binary().
text(Characters) -> unicode:characters_to_binary(Characters).
