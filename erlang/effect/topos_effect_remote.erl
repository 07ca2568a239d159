%% @doc The flows of `Topos.Remote': processes of other nodes, over `topos_process'.
%%
%% A function value is a fun that takes evidence. It crosses without any: on the other node it runs with the evidence of that
%% node's root handlers. That it needs no other is what the compiler has seen to.
-module(topos_effect_remote).

-export([spawn_on/2, send/2, this_process/0, run/1]).

%% The specs say what the flows' declarations promise, which is more than what the API answers today.
-dialyzer(no_underspecs).

-type error() :: topos_effect_distributed:error().

%% @doc Starts a process on a node that runs the body there.
-spec spawn_on(node(), fun((ok, topos_effect:evidence()) -> term())) -> {ok, topos_process:ref()} | {error, error()}.
spawn_on(Node, Body) -> outcome(topos_process:spawn_as(Node, Body, fun() -> ?MODULE:run(Body) end)).

%% @doc Sends a message of a program.
-spec send(term(), topos_process:ref()) -> {ok, ok} | {error, error()}.
send(Message, Process) -> outcome(topos_process:send(Process, {'$topos', Message})).

-spec this_process() -> {ok, topos_process:ref()} | {error, error()}.
this_process() -> outcome(topos_process:self()).

%% @doc What runs on the other node.
-spec run(fun((ok, topos_effect:evidence()) -> term())) -> term().
run(Body) ->
    try
        Body(ok, topos_effect:root())
    catch
        Class:Reason:Stack -> topos_effect:report(Class, Reason, Stack)
    end.

%% internal

-spec outcome(ok | {ok, Value} | {error, topos_error:t()}) -> {ok, ok | Value} | {error, error()}.
outcome({ok, Value}) -> {ok, Value};
outcome(Result) -> topos_effect_distributed:outcome(Result).
