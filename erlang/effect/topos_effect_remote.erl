%% @doc The flows of `Topos.Remote': processes of other nodes.
%%
%% They have no evidence of their own, and act through the root handler of the effect `Distributed': that of real nodes, over
%% `topos_process', or that of a simulation. A function value is a fun that takes evidence. It crosses without any: on the other
%% node it runs with the evidence of that node's root handlers. That it needs no other is what the compiler has seen to.
-module(topos_effect_remote).

-export([spawn_on/2, spawn_through/3, send_with/3, this_process/0]).

-type error() :: topos_effect_distributed:error().
-type body() :: fun((ok, topos_effect:evidence()) -> term()).
%% A reference to a process, whatever the root handler takes for one.
-type ref() :: term().

%% @doc Starts a process on a node that runs the body there.
-spec spawn_on(node(), body()) -> {ok, ref()} | {error, error()}.
spawn_on(Node, Body) -> perform(spawn_on, [Node, Body]).

%% @doc As {@link spawn_on/2} for a body that is called by another one, of the standard library.
-spec spawn_through(node(), Inner :: body(), Outer :: body()) -> {ok, ref()} | {error, error()}.
spawn_through(Node, Inner, Outer) -> perform(spawn_through, [Node, Inner, Outer]).

%% @doc Sends a message of a program.
-spec send_with(topos_effect_distributed:options(), term(), ref()) -> {ok, ok} | {error, error()}.
send_with(Options, Message, Process) -> perform(send_to_process, [Options, Message, Process]).

-spec this_process() -> {ok, ref()} | {error, error()}.
this_process() -> perform(this_process, []).

%% internal

-spec perform(atom(), [term()]) -> term().
perform(Operation, Arguments) ->
    #{'Topos.Partisan.Distributed' := {Module, Instance}} = topos_effect:root(),
    erlang:apply(Module, Operation, [Instance | Arguments]).
