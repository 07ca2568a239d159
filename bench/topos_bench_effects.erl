%% @doc `make bench-effects': what an effect costs, side by side in one run.
%%
%% The programs are `bench/effects/*.topos'. A figure is the least of the rounds, since what else the machine does only adds
%% to it, in nanoseconds an operation, after what the loop around it takes alone has been subtracted; rounds of all contestants
%% alternate. The direct call is a call of an
%% Erlang function of another module, from the same loop. The process-per-handler is how the language's first prototype
%% answered an operation: a message to a process and its reply. The second table runs programs of the public
%% `effect-handlers-bench', and checks their results.
-module(topos_bench_effects).

-export([main/1, add/1]).

-define(N, 1_000_000).
%% Operations that take microseconds.
-define(FEW, 50_000).
-define(LIST, 1_000).

%% @doc What the direct call calls.
-spec add(integer()) -> integer().
add(N) -> N + 1.

%% @doc Entry of `scripts/bench-effects.sh': arguments are `[Rounds]'.
-spec main([string()]) -> ok.
main(Args) ->
    Rounds = case Args of [Text] -> list_to_integer(Text); [] -> 15 end,
    io:format("~b scheduler(s), Erlang/OTP ~s, ~s; the least of ~b rounds~n~n",
              [erlang:system_info(schedulers_online), erlang:system_info(otp_release),
               erlang:system_info(emu_flavor), Rounds]),
    %% A short list, gone through often: a long one would make the garbage collector a part of the figures.
    Xs = lists:seq(1, ?LIST),
    Often = fun(N, Run) -> fun() -> repeat(N div ?LIST, fun() -> Run(Xs) end) end end,
    Server = spawn_link(fun() -> server(0) end),
    Contestants = [
        {empty, ?N, fun() -> 'Micro':empty(?N, 0) end},
        {empty_with_row, ?N, fun() -> 'Micro':empty_with_row(?N) end},
        {empty_for, ?N, Often(?N, fun 'Micro':empty_for/1)},
        {direct, ?N, fun() -> 'Micro':direct(?N, 0) end},
        {passed, ?N, fun() -> 'Micro':passed(?N) end},
        {member, ?N, fun() -> 'Micro':member(?N, 0) end},
        {direct_for, ?N, Often(?N, fun 'Micro':direct_for/1)},
        {in_sight, ?N, Often(?N, fun 'Micro':in_sight/1)},
        {local_reads, ?N, Often(?N, fun 'Micro':local_reads/1)},
        {local_writes, ?N, Often(?N, fun 'Micro':local_writes/1)},
        {shared_reads, ?N, Often(?N, fun 'Micro':shared_reads/1)},
        {shared_writes, ?FEW, Often(?FEW, fun 'Micro':shared_writes/1)},
        {process, ?FEW, fun() -> ask_all(Server, ?FEW) end}
    ],
    Samples = [{Name, time(Run) / N} || _ <- lists:seq(1, Rounds), {Name, N, Run} <- Contestants],
    true = unlink(Server),
    true = exit(Server, kill),
    M = maps:from_list([{Name, lists:min([T || {S, T} <- Samples, S =:= Name])} || {Name, _, _} <- Contestants]),
    Direct = cost(direct, empty, M),
    DirectFor = cost(direct_for, empty_for, M),
    %% A goal is of nanoseconds beyond a direct call.
    Table = [
        {"direct Erlang call", Direct, Direct, none},
        {"perform, evidence passed", cost(passed, empty_with_row, M), Direct, 15},
        {"trait member, by dictionary", cost(member, empty, M), Direct, none},
        {"perform, handler in sight", cost(in_sight, empty_for, M), DirectFor, none},
        {"local state, read", cost(local_reads, empty_for, M), DirectFor, 50},
        {"local state, assignment", cost(local_writes, empty_for, M), DirectFor, 50},
        {"shared state, read", cost(shared_reads, empty_for, M), DirectFor, none},
        {"shared state, assignment", cost(shared_writes, empty_for, M), DirectFor, none},
        {"process per handler", map_get(process, M), Direct, none}
    ],
    Process = map_get(process, M),
    io:format("~-28s ~12s ~18s ~22s  ~s~n", ["ns an operation", "alone", "beyond a call", "of a process's share", "goal"]),
    [
        io:format("~-28s ~12.1f ~18.1f ~22.4f  ~s~n", [Label, Cost, Cost - Reference, Cost / Process, verdict(Cost - Reference, Goal)])
     || {Label, Cost, Reference, Goal} <- Table
    ],
    programs(Rounds).

%% internal

programs(Rounds) ->
    io:format("~n~-28s ~12s ~14s~n", ["effect-handlers-bench", "n", "ms"]),
    [
        begin
            Expected = 'Programs':Name(N),
            Ms = lists:min([time(fun() -> 'Programs':Name(N) end) / 1.0e6 || _ <- lists:seq(1, min(3, Rounds))]),
            io:format("~-28s ~12b ~14.1f~n", [Name, N, Ms])
        end
     || {Name, N, Expected} <- [
            {countdown, 1_000_000, 0},
            {fibonacci_recursive, 27, 196418},
            {product_early, 10_000, 0},
            {iterator, 1_000_000, 500000500000},
            {parsing_dollars, 1_000, 500500},
            {handler_sieve, 5_000, 1548136}
        ]
    ],
    ok.

verdict(_, none) -> "";
verdict(Beyond, Goal) when Beyond =< Goal -> io_lib:format("~b: reached", [Goal]);
verdict(_, Goal) -> io_lib:format("~b: MISSED", [Goal]).

cost(Name, Empty, Medians) -> map_get(Name, Medians) - map_get(Empty, Medians).

%% In a process of its own, so that every round begins with the same heap. In nanoseconds.
time(Run) ->
    Self = self(),
    {Pid, Monitor} = spawn_opt(
        fun() ->
            Start = erlang:monotonic_time(nanosecond),
            _ = Run(),
            Self ! {self(), erlang:monotonic_time(nanosecond) - Start}
        end,
        [monitor, {min_heap_size, 1_000_000}]
    ),
    receive
        {Pid, Time} ->
            true = demonitor(Monitor, [flush]),
            Time;
        {'DOWN', Monitor, process, Pid, Reason} ->
            exit(Reason)
    end.

repeat(0, _) ->
    ok;
repeat(N, Run) ->
    _ = Run(),
    repeat(N - 1, Run).

server(State) ->
    receive
        {From, Ref, N} ->
            From ! {Ref, N + 1},
            server(State)
    end.

ask_all(_, 0) ->
    ok;
ask_all(Server, N) ->
    Ref = make_ref(),
    Server ! {self(), Ref, N},
    receive
        {Ref, _} -> ask_all(Server, N - 1)
    end.
