%% @doc Runs the processes of a simulated program, one at a time.
%%
%% Every process is one of the BEAM, and every operation of an effect is a call to the scheduler, which owns the world
%% ({@link topos_sim_world}). A process runs alone from the moment its operation is answered until it performs the next
%% one; then a process that can go on is drawn by lot. So the lots of the seed decide about the order of everything, as
%% in PULSE (Claessen et al., "Finding race conditions in Erlang with QuickCheck and PULSE", ICFP 2009); what a process
%% calculates between two operations cannot be seen by others and needs no order.
%%
%% A module that simulates something answers operations (`handle/3'), lets happen what it put into the queue of events
%% (`happen/2'), and is told of each process that has ended (`ended/4').
-module(topos_sim_scheduler).

-export([run/2, call/2, is_simulated/0, start_process/4, kill/3]).
-export([begin_process/3]).
-export_type([answer/0, reason/0]).

%% What came of an operation: its value, an error of the program, the end of the process, or it waits. `gone': it has
%% ended.
-type answer() ::
    {value, term(), topos_sim_world:world()}
    | {error, topos_error:t(), topos_sim_world:world()}
    | {exit, term(), topos_sim_world:world()}
    | {wait, topos_sim_world:world()}.
%% Why a process ended, as the BEAM has it.
-type reason() :: term().

-callback handle(Request :: term(), pid(), topos_sim_world:world()) -> answer().
-callback happen(Event :: term(), topos_sim_world:world()) -> topos_sim_world:world().
-callback ended(pid(), topos_sim_world:process(), reason(), topos_sim_world:world()) -> topos_sim_world:world().

-define(TAG, '$topos_sim').
%% Who is told of the end of a process, in this order.
-define(MODULES, [topos_sim_lock, topos_sim_process, topos_sim_promise, topos_sim_program, topos_sim_calls,
    topos_sim_nodes]).
%% How many of those who wait a report names.
-define(MAX_NAMED, 20).

%% @doc Runs the world until the run is over, and ends all its processes. `Patience' is how long, in milliseconds of
%% real time, a process may calculate between two operations.
-spec run(topos_sim_world:world(), pos_integer()) -> {topos_sim_world:outcome(), topos_sim_world:world()}.
run(World, Patience) ->
    case topos_sim_world:outcome(World) of
        none -> run(step(World, Patience), Patience);
        Outcome -> {Outcome, lists:foldl(fun({Pid, _}, W) -> stop(Pid, W) end, World, topos_sim_world:processes(World))}
    end.

%% @doc Performs an operation: for the root handlers of the simulation, in a process of the program.
-spec call(module(), term()) -> term().
call(Module, Request) ->
    case erlang:get(?TAG) of
        undefined ->
            erlang:error(topos_error:new(not_simulated,
                #{operation => "an effect in a process that Erlang code started"}));
        Scheduler ->
            Scheduler ! {?TAG, self(), Module, Request},
            receive
                {?TAG, {value, Value}} -> Value;
                {?TAG, {error, Error}} -> erlang:error(Error);
                {?TAG, {exit, Reason}} -> erlang:exit(Reason)
            end
    end.

%% @doc Whether the calling process belongs to a simulation.
-spec is_simulated() -> boolean().
is_simulated() -> erlang:get(?TAG) =/= undefined.

%% @doc Starts a process on a node, which can begin when its turn comes. It ends with the reason that the body answers.
%% Runs in the scheduler, as all that takes a world.
-spec start_process(topos_sim_world:node_id(), #{life := pos_integer(), kind := topos_sim_world:kind(), atom() => term()},
                    fun(() -> reason()), topos_sim_world:world()) -> {pid(), topos_sim_world:world()}.
start_process(Node, #{life := Life} = About, Body, World) ->
    Numbers = topos_sim_world:part(?MODULE, #{}, World),
    Number = maps:get(Node, Numbers, 0) + 1,
    Seed = {topos_sim_world:option(seed, World), Node, Life bsl 32 + Number},
    {Pid, Monitor} = erlang:spawn_monitor(?MODULE, begin_process, [self(), Seed, Body]),
    Process = About#{node => Node, number => Number, monitor => Monitor, ready => none, wait => none},
    Counted = topos_sim_world:set_part(?MODULE, Numbers#{Node => Number}, World),
    {Pid, topos_sim_world:ready(Pid, begins, topos_sim_world:add(Pid, Process, Counted))}.

%% @doc Ends a process at once, wherever it stands, and tells all whom it concerns. No effect on one that has ended.
-spec kill(pid(), reason(), topos_sim_world:world()) -> topos_sim_world:world().
kill(Pid, Reason, World) ->
    case topos_sim_world:find(Pid, World) of
        {ok, _} -> tell_end(Pid, Reason, World, fun stop/2);
        error -> World
    end.

%% @private
-spec begin_process(pid(), {integer(), pos_integer(), pos_integer()}, fun(() -> reason())) -> ok.
begin_process(Scheduler, Seed, Body) ->
    _ = erlang:put(?TAG, Scheduler),
    ok = topos_owner:use(topos_sim_lock),
    %% The effect Random draws from the generator of the process.
    _ = rand:seed(exsss, Seed),
    receive
        {?TAG, begins} -> ok
    end,
    Reason = Body(),
    Scheduler ! {?TAG, self(), ended, Reason},
    ok.

%% internal

-spec step(topos_sim_world:world(), pos_integer()) -> topos_sim_world:world().
step(World, Patience) ->
    case over_limit(World) of
        {true, Error} ->
            topos_sim_world:finish({failed, Error}, World);
        false ->
            case topos_sim_world:next(World) of
                {run, Pid, Answer, Next} ->
                    Pid ! {?TAG, Answer},
                    topos_sim_world:count(operation, hear(Pid, Patience, Next));
                {event, {wake, Pid, Id, Answer}, Next} ->
                    topos_sim_world:count(event, topos_sim_world:wake(Pid, Id, {value, Answer}, Next));
                {event, {Module, Event}, Next} ->
                    topos_sim_world:count(event, Module:happen(Event, Next));
                idle ->
                    topos_sim_world:finish({failed, deadlock(World)}, World)
            end
    end.

%% The process that was let go does something, or ends. Others do not run, but Erlang code may have ended one.
-spec hear(pid(), pos_integer(), topos_sim_world:world()) -> topos_sim_world:world().
hear(Pid, Patience, World) ->
    receive
        {?TAG, Pid, ended, Reason} ->
            tell_end(Pid, Reason, World, fun forget/2);
        {?TAG, Pid, Module, Request} ->
            answer(Pid, Module:handle(Request, Pid, World));
        {'DOWN', _, process, Pid, Reason} ->
            tell_end(Pid, Reason, World, fun forget/2);
        {'DOWN', _, process, Other, Reason} ->
            hear(Pid, Patience, tell_end(Other, Reason, World, fun forget/2))
    after Patience ->
        Error = topos_error:new(simulation_stuck, #{process => name(Pid, World), timeout => Patience}),
        topos_sim_world:finish({failed, Error}, World)
    end.

-spec answer(pid(), answer()) -> topos_sim_world:world().
answer(_, {wait, World}) -> World;
answer(Pid, {Kind, Answer, World}) -> topos_sim_world:ready(Pid, {Kind, Answer}, World).

-spec tell_end(pid(), reason(), topos_sim_world:world(), fun((pid(), World) -> World)) -> World when
    World :: topos_sim_world:world().
tell_end(Pid, Reason, World, Remove) ->
    {ok, Process} = topos_sim_world:find(Pid, World),
    lists:foldl(fun(Module, W) -> Module:ended(Pid, Process, Reason, W) end, Remove(Pid, World), ?MODULES).

-spec forget(pid(), topos_sim_world:world()) -> topos_sim_world:world().
forget(Pid, World) ->
    {ok, #{monitor := Monitor}} = topos_sim_world:find(Pid, World),
    true = erlang:demonitor(Monitor, [flush]),
    topos_sim_world:remove(Pid, World).

-spec stop(pid(), topos_sim_world:world()) -> topos_sim_world:world().
stop(Pid, World) ->
    {ok, #{monitor := Monitor}} = topos_sim_world:find(Pid, World),
    true = erlang:exit(Pid, kill),
    receive
        {'DOWN', Monitor, process, Pid, _} -> topos_sim_world:remove(Pid, World)
    end.

-spec over_limit(topos_sim_world:world()) -> {true, topos_error:t()} | false.
over_limit(World) ->
    Time = topos_sim_world:option(max_time, World),
    Steps = topos_sim_world:option(max_steps, World),
    case topos_sim_world:millis(World) > Time of
        true -> {true, topos_error:new(simulation_limit, #{what => "time", limit => io_lib:format("~b ms", [Time])})};
        false ->
            case topos_sim_world:steps(World) > Steps of
                true -> {true, topos_error:new(simulation_limit, #{what => "steps", limit => integer_to_list(Steps)})};
                false -> false
            end
    end.

-spec deadlock(topos_sim_world:world()) -> topos_error:t().
deadlock(World) ->
    Waiting = [
        [name(Pid, World), " waits in ", operation(What), io_lib:format(" since ~.3f s", [Since / 1_000_000])]
     || {Pid, #{wait := {_, What, Since}}} <- topos_sim_world:processes(World),
        %% A node of tests that nobody calls is not stuck.
        What =/= idle
    ],
    {Named, Others} = lists:split(min(?MAX_NAMED, length(Waiting)), Waiting),
    More = [io_lib:format("and ~b others", [length(Others)]) || Others =/= []],
    topos_error:new(simulation_deadlock, #{
        waiting => unicode:characters_to_binary(lists:join("\n  ", Named ++ More)),
        time => io_lib:format("~.3f", [topos_sim_world:now(World) / 1_000_000])
    }).

%% What somebody waits in, perhaps with what exactly is waited for.
-spec operation({string(), term()} | string()) -> string().
operation({Operation, _}) -> Operation;
operation(Operation) -> Operation.

-spec name(pid(), topos_sim_world:world()) -> unicode:chardata().
name(Pid, World) ->
    {ok, #{node := Node, number := Number, kind := Kind}} = topos_sim_world:find(Pid, World),
    What =
        case Kind of
            main -> case topos_sim_world:option(tests, World) of true -> "the test"; false -> "main" end;
            call -> "a call of the test";
            process -> ["process ", integer_to_list(Number)]
        end,
    [topos_sim_nodes:name(Node, World), ": ", What].
