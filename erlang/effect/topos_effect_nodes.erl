%% @doc The flows of `Topos.Runner': the nodes of the run that a program is part of.
%%
%% They have no evidence of their own, and act through the root handler of the effect `Runner': that of real nodes, which asks the
%% runner, or that of a simulation.
-module(topos_effect_nodes).

-export([on_node/2, node/1, first_names/1, await_members/1]).

-compile({no_auto_import, [node/1]}).

%% @doc What a function answers on another node.
-spec on_node(binary(), topos_runner_call:body()) -> term().
on_node(Name, Body) -> perform(on_node, [Name, Body]).

%% @doc The node of that short name.
-spec node(binary()) -> node().
node(Name) -> perform(node, [Name]).

%% @doc The short names of the first so many nodes of the run, without the first one. Fails with `too_few_nodes' (TP1055).
-spec first_names(integer()) -> [binary()].
first_names(Count) ->
    Names =
        case perform(nodes, []) of
            {ok, All} -> All;
            {error, _} -> []
        end,
    case length(Names) of
        Found when Found < Count -> erlang:error(topos_error:new(too_few_nodes, #{wanted => Count, found => max(Found, 1)}));
        _ -> lists:sublist(Names, 2, max(0, Count - 1))
    end.

%% @doc Waits until so many other nodes are up.
-spec await_members(integer()) -> ok.
await_members(Count) -> perform(await_members, [Count]).

%% internal

-spec perform(atom(), [term()]) -> term().
perform(Operation, Arguments) ->
    #{'Topos.Runner.Runner' := {Module, Instance}} = topos_effect:root(),
    erlang:apply(Module, Operation, [Instance | Arguments]).
