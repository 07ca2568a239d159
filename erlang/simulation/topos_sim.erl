%% @doc Simulations of whole programs: virtual nodes in one VM, deterministic by a seed.
%%
%% The compiled program is the same that runs on real nodes; its root handlers are others (`topos_sim_process',
%% `topos_sim_distributed' and so on). Why here and not below the link: `docs/decisions/0008-simulated-effects.md'. How
%% it is used: `docs/simulation.md'.
%%
%% == How a simulation is started ==
%% ```
%% erl -noinput +S 1:1 -pa EBIN.. -s topos_sim main -extra OPTION=VALUE.. -- MODULE ARGUMENT..
%% '''
%% The VM halts with the status of the run, or, where several seeds are tried, writes `passed' or `failed SEED' and
%% halts with 0.
-module(topos_sim).

-export([main/0, run/2, handlers/2, first_process/0]).
%% Bodies of processes.
-export([start/2]).

%% A process may calculate for so long between two operations, in milliseconds of real time.
-define(PATIENCE, 60_000).
%% The first process of a program has at least this number in every VM, so that orders by process do not depend on what
%% else was started before.
-define(FIRST_PROCESS, 20_000).

%% @doc Reads the command line and returns at once, because the VM's own start goes on only then.
-spec main() -> ok.
main() ->
    ok = io:setopts(user, [{encoding, unicode}]),
    ok = io:setopts(standard_error, [{encoding, unicode}]),
    {Options, ["--", Module | Arguments]} = lists:splitwith(fun(Word) -> Word =/= "--" end, init:get_plain_arguments()),
    Texts = [unicode:characters_to_binary(A) || A <- Arguments],
    _ = spawn(?MODULE, start, [topos_sim_options:parse(Options), {list_to_atom(Module), Texts}]),
    ok.

%% @doc Runs a main function on the virtual nodes of the options (see `topos_sim_options'); the handlers must be
%% installed. Answers how the run ended.
-spec run(topos_sim_options:t(), fun(() -> term())) -> topos_sim_world:outcome().
run(Options, Main) ->
    World = topos_sim_nodes:start(Main, topos_sim_world:new(Options)),
    {Outcome, Ended} = topos_sim_scheduler:run(World, ?PATIENCE),
    _ = topos_sim_nodes:flush(Ended),
    Outcome.

%% @doc The root handlers of a simulation, with the arguments of the program, and what ends when it ends itself: its node, or as in
%% a test the process that asks for it, with an error.
-spec handlers([binary()], Ends :: vm | process) -> [{topos_effect:effect(), module(), [term()]}].
handlers(Arguments, Ends) ->
    [
        {'Topos.IO.IO', topos_sim_io, []},
        {'Topos.Process.Process', topos_sim_process, [Arguments, Ends]},
        {'Topos.Time.Time', topos_sim_time, []},
        %% A process of a simulation has a generator that is seeded by the run.
        {'Topos.Random.Random', topos_effect_random, []},
        {'Topos.Runner.Runner', topos_sim_runner, []},
        {'Topos.Partisan.Distributed', topos_sim_distributed, []},
        {'Topos.Channel.Channel', topos_sim_channel, []}
    ].

%% @doc Makes the number of the next process at least the same in every VM. Numbers grow by one in a VM with one scheduler.
-spec first_process() -> ok.
first_process() ->
    {Pid, Monitor} = spawn_monitor(fun() -> ok end),
    receive
        {'DOWN', Monitor, process, Pid, _} -> ok
    end,
    ["<0", Number | _] = string:lexemes(pid_to_list(Pid), "."),
    case list_to_integer(Number) < ?FIRST_PROCESS of
        true -> first_process();
        false -> ok
    end.

%% @private
-spec start(topos_sim_options:t(), {module(), [binary()]}) -> no_return().
start(Options, {Module, Arguments}) ->
    Status =
        try
            {ok, _} = topos_effect:install(handlers(Arguments, vm)),
            ok = first_process(),
            Main = fun() -> topos_effect:call_main(Module, Arguments) end,
            case Options of
                #{seeds := {First, Last}} -> search(First, Last, Options, Main);
                #{} -> show(Options, Main)
            end
        catch
            Class:Reason:Stack ->
                ok = topos_effect:report(Class, Reason, Stack),
                1
        end,
    halt(Status).

%% internal

%% The first seed that fails. Only what came of it is told.
-spec search(non_neg_integer(), non_neg_integer(), topos_sim_options:t(), fun(() -> term())) -> 0.
search(Seed, Last, _, _) when Seed > Last ->
    ok = io:put_chars("passed\n"),
    0;
search(Seed, Last, Options, Main) ->
    case run(Options#{seed => Seed, trace => false, tell => fun(_, _) -> ok end}, Main) of
        {exit, 0} ->
            search(Seed + 1, Last, Options, Main);
        _ ->
            ok = io:put_chars(["failed ", integer_to_list(Seed), $\n]),
            0
    end.

-spec show(topos_sim_options:t(), fun(() -> term())) -> byte().
show(#{names := Names} = Options, Main) ->
    Tell = topos_sim_output:new(Names, Options),
    Outcome = run(Options#{tell => Tell}, Main),
    case Outcome of
        {exit, Status} ->
            Status;
        {failed, Error} ->
            ok = io:put_chars(standard_error, [topos_error:format(Error), $\n]),
            1
    end.
