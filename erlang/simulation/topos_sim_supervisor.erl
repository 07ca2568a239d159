%% @doc Supervisors in a simulation: a process that starts its children again as those of OTP do.
%%
%% Strategies, restarts, intensity and the order of starts and ends are those of OTP's `supervisor' (System
%% Documentation, "Supervisor Behaviour"); `topos_supervisor' says what compiled programs ask of it.
-module(topos_sim_supervisor).

-export([start/3, start_child/4, count/1, start_pool/4, start_worker/2]).
-export_type([restart/0]).

-type restart() :: permanent | transient | temporary.
-type start() :: fun(() -> pid()).

-record(child, {id :: binary(), restart :: restart(), start :: start(), pid :: pid()}).
-record(supervisor, {
    strategy :: topos_supervisor:strategy() | simple_one_for_one,
    %% Of a pool.
    worker = none :: none | {restart(), fun((term()) -> pid())},
    intensity :: non_neg_integer(),
    %% In milliseconds.
    period :: pos_integer(),
    %% When children were started again, the latest first.
    restarts = [] :: [integer()],
    %% The first one first.
    children = [] :: [#child{}]
}).

%% @doc Starts a supervisor without children, linked to the one that starts it as a child.
-spec start(topos_supervisor:strategy(), integer(), integer()) -> pid().
start(Strategy, Intensity, Period) ->
    start(#supervisor{strategy = Strategy, intensity = max(0, Intensity), period = period(Period)}).

-spec start_pool(restart(), integer(), integer(), fun((term()) -> pid())) -> pid().
start_pool(Restart, Intensity, Period, Start) ->
    start(#supervisor{strategy = simple_one_for_one, worker = {Restart, Start}, intensity = max(0, Intensity),
        period = period(Period)}).

%% @doc Fails with `child_not_started' (TP1074).
-spec start_child(pid(), binary(), restart(), start()) -> ok.
start_child(Supervisor, Id, Restart, Start) ->
    case ask(Supervisor, {start_child, Id, Restart, Start}) of
        {ok, _} -> ok;
        {error, Why} -> erlang:error(topos_error:new(child_not_started, #{id => Id, why => Why}))
    end.

%% @doc Fails with `child_not_started' (TP1074).
-spec start_worker(pid(), term()) -> pid().
start_worker(Pool, Argument) ->
    case ask(Pool, {start_worker, Argument}) of
        {ok, Pid} -> Pid;
        {error, Why} -> erlang:error(topos_error:new(child_not_started, #{id => <<"worker">>, why => Why}))
    end.

%% @doc How many children run.
-spec count(pid()) -> non_neg_integer().
count(Supervisor) ->
    case topos_sim_process:ask_server(Supervisor, count) of
        {some, Count} -> Count;
        none -> erlang:exit(noproc)
    end.

%% internal

-spec start(#supervisor{}) -> pid().
start(Supervisor) ->
    Link = case topos_supervisor:is_starting() of true -> link; false -> no_link end,
    topos_sim_process:start(fun() -> loop(Supervisor) end, Link).

%% OTP's counts whole seconds.
-spec period(integer()) -> pos_integer().
period(Millis) -> max(1, Millis div 1_000) * 1_000.

ask(Supervisor, Question) ->
    case topos_sim_process:ask_server(Supervisor, Question) of
        {some, Answer} -> Answer;
        none -> {error, noproc}
    end.

%% In the supervisor; answers why it ends.
-spec loop(#supervisor{}) -> topos_sim_scheduler:reason().
loop(#supervisor{children = Children} = Supervisor) ->
    case topos_sim_process:next_item() of
        stop ->
            ok = stop_all(Children),
            shutdown;
        {some, {question, Reply, Question}} ->
            {Answer, Next} = answer(Question, Supervisor),
            ok = topos_sim_process:answer(Reply, Answer),
            loop(Next);
        {some, {linked_end, Pid, Reason}} ->
            case [Child || #child{pid = P} = Child <- Children, P =:= Pid] of
                [Child] -> child_ended(Child, Reason, Supervisor);
                [] -> loop(Supervisor)
            end;
        %% A message of a program to a supervisor says nothing to it.
        {some, _} ->
            loop(Supervisor)
    end.

answer(count, #supervisor{children = Children} = Supervisor) ->
    {length(Children), Supervisor};
answer({start_child, Id, Restart, Start}, #supervisor{children = Children} = Supervisor) ->
    case [Pid || #child{id = I, pid = Pid} <- Children, I =:= Id] of
        [] -> started(#child{id = Id, restart = Restart, start = Start, pid = self()}, Supervisor);
        [Pid] -> {{error, {already_started, Pid}}, Supervisor}
    end;
answer({start_worker, Argument}, #supervisor{worker = {Restart, Start}} = Supervisor) ->
    started(#child{id = <<"worker">>, restart = Restart, start = fun() -> Start(Argument) end, pid = self()},
        Supervisor);
answer({start_worker, _}, #supervisor{worker = none} = Supervisor) ->
    {{error, not_a_pool}, Supervisor}.

started(#child{start = Start} = Child, #supervisor{children = Children} = Supervisor) ->
    case try_start(Start) of
        {ok, Pid} -> {{ok, Pid}, Supervisor#supervisor{children = Children ++ [Child#child{pid = Pid}]}};
        {error, _} = Error -> {Error, Supervisor}
    end.

-spec try_start(start()) -> {ok, pid()} | {error, term()}.
try_start(Start) ->
    try
        topos_supervisor:start_linked(Start)
    catch
        exit:Reason -> {error, Reason};
        Class:Reason -> {error, {Class, Reason}}
    end.

child_ended(#child{restart = Restart} = Child, Reason, #supervisor{children = Children} = Supervisor) ->
    Again = Restart =:= permanent orelse (Restart =:= transient andalso not is_normal(Reason)),
    case Again of
        true -> restart(Child, Supervisor);
        false -> loop(Supervisor#supervisor{children = Children -- [Child]})
    end.

-spec is_normal(topos_sim_scheduler:reason()) -> boolean().
is_normal({shutdown, _}) -> true;
is_normal(Reason) -> Reason =:= normal orelse Reason =:= shutdown.

%% Too many in a while: the supervisor gives up.
restart(Child, #supervisor{restarts = Restarts, intensity = Intensity, period = Period,
    children = Children} = Supervisor) ->
    Now = topos_sim_time:monotonic(time),
    Recent = [At || At <- [Now | Restarts], At > Now - Period],
    case length(Recent) > Intensity of
        true ->
            ok = stop_all(Children -- [Child]),
            shutdown;
        false ->
            {Before, [Child | After]} = lists:splitwith(fun(C) -> C =/= Child end, Children),
            Counted = Supervisor#supervisor{restarts = Recent},
            case Supervisor#supervisor.strategy of
                one_for_all ->
                    ok = stop_all(Before ++ After),
                    start_again([], Before ++ [Child | After], Counted);
                rest_for_one ->
                    ok = stop_all(After),
                    start_again(Before, [Child | After], Counted);
                _ ->
                    start_again(Before, [Child], Counted#supervisor{children = Before ++ After}, After)
            end
    end.

start_again(Running, Missing, Supervisor) -> start_again(Running, Missing, Supervisor, []).

%% One that cannot be started counts as one that ended.
start_again(Running, [], Supervisor, After) ->
    loop(Supervisor#supervisor{children = Running ++ After});
start_again(Running, [#child{restart = temporary} | Missing], Supervisor, After) ->
    start_again(Running, Missing, Supervisor, After);
start_again(Running, [#child{start = Start} = Child | Missing], Supervisor, After) ->
    case try_start(Start) of
        {ok, Pid} -> start_again(Running ++ [Child#child{pid = Pid}], Missing, Supervisor, After);
        {error, _} -> restart(Child, Supervisor#supervisor{children = Running ++ [Child | Missing] ++ After})
    end.

%% The last one first.
-spec stop_all([#child{}]) -> ok.
stop_all(Children) ->
    lists:foreach(fun(#child{pid = Pid}) -> topos_sim_process:end_process(Pid) end, lists:reverse(Children)).
