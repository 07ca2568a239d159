%% @doc Work that takes time, away from the process of an engine.
%%
%% The result arrives as the reason of the worker's `DOWN', so a worker that crashes is answered for as well.
-module(topos_engine_worker).

-export([start/1]).
-export([work/1]).

%% @doc Runs the fun; `{'DOWN', Ref, process, Pid, {result, Result}}' follows.
-spec start(fun(() -> term())) -> {pid(), reference()}.
start(Fun) -> spawn_monitor(?MODULE, work, [Fun]).

%% @private
-spec work(fun(() -> term())) -> no_return().
work(Fun) -> exit({result, Fun()}).
