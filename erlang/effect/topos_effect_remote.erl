%% @doc The flows of `Topos.Remote': processes of other nodes, over `topos_process'.
%%
%% A function value is a fun that takes evidence. It crosses without any: on the other node it runs with the evidence of that
%% node's root handlers. That it needs no other is what the compiler has seen to.
-module(topos_effect_remote).

-export([spawn_on/2, spawn_through/3, send_with/3, this_process/0, run/1]).

%% The specs say what the flows' declarations promise, which is more than what the API answers today.
-dialyzer(no_underspecs).

-type error() :: topos_effect_distributed:error().
-type body() :: fun((ok, topos_effect:evidence()) -> term()).

%% @doc Starts a process on a node that runs the body there.
-spec spawn_on(node(), body()) -> {ok, topos_process:ref()} | {error, error()}.
spawn_on(Node, Body) -> outcome(topos_process:spawn_as(Node, Body, fun() -> ?MODULE:run(Body) end)).

%% @doc As {@link spawn_on/2} for a body that is called by another one. It is the inner one whose module the node needs in the
%% same version; the outer one is of the standard library.
-spec spawn_through(node(), Inner :: body(), Outer :: body()) -> {ok, topos_process:ref()} | {error, error()}.
spawn_through(Node, Inner, Outer) -> outcome(topos_process:spawn_as(Node, Inner, fun() -> ?MODULE:run(Outer) end)).

%% @doc Sends a message of a program.
-spec send_with(topos_effect_distributed:options(), term(), topos_process:ref()) -> {ok, ok} | {error, error()}.
send_with(#{channel := Channel} = Given, Message, Process) ->
    Options = topos_effect_distributed:send_options(Given),
    topos_effect_distributed:on_channel(Channel, Options, fun(Full) -> topos_process:send(Process, {'$topos', Message}, Full) end).

-spec this_process() -> {ok, topos_process:ref()} | {error, error()}.
this_process() -> outcome(topos_process:self()).

%% @doc What runs on the other node.
-spec run(body()) -> term().
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
