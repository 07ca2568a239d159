%% @doc The flows of `Topos.Remote': processes of other nodes.
%%
%% They have no evidence of their own, and act through the root handler of the effect `Distributed': that of real nodes, over
%% `topos_process', or that of a simulation. A function value is a fun that takes evidence. It crosses without any: on the other node
%% it runs with the evidence of that node's root handlers. That it needs no other is what the compiler has seen to.
-module(topos_effect_remote).

-export([spawn_on/2, send/2, this_process/0]).

-type error() :: topos_effect_distributed:error().
%% A reference to a process, whatever the root handler takes for one.
-type ref() :: term().

%% @doc Starts a process on a node that runs the body there.
-spec spawn_on(node(), fun((ok, topos_effect:evidence()) -> term())) -> {ok, ref()} | {error, error()}.
spawn_on(Node, Body) -> perform(spawn_on, [Node, Body]).

%% @doc Sends a message of a program.
-spec send(term(), ref()) -> {ok, ok} | {error, error()}.
send(Message, Process) -> perform(send_to_process, [Process, Message]).

-spec this_process() -> {ok, ref()} | {error, error()}.
this_process() -> perform(this_process, []).

%% internal

-spec perform(atom(), [term()]) -> term().
perform(Operation, Arguments) ->
    #{'Topos.Partisan.Distributed' := {Module, Instance}} = topos_effect:root(),
    erlang:apply(Module, Operation, [Instance | Arguments]).
