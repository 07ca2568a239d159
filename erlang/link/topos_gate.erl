%% @doc Holds what a peer sends until it was announced here: a subscriber hears `{up, Node, _}' before the first message of
%% that life of the node.
%%
%% The two ends of a link find out that it works at slightly different times, and the first to know sends at once. What
%% comes too early waits, in order, for at most ?MAX_HELD frames a peer; the rest is dropped and sent again by its lane,
%% since nothing of it was acknowledged. A value without processes; `topos_lanes' owns one.
-module(topos_gate).

-export([new/1, open/3, close/2, pass/3]).
-export_type([t/1]).

-define(MAX_HELD, 256).

-type held(Item) :: {held, topos_incarnation:t(), non_neg_integer(), Newest :: [Item]}.
-opaque t(Item) :: #{node() => {open, topos_incarnation:t()} | held(Item)}.

%% @doc A gate that is open for these.
-spec new([{node(), topos_incarnation:t()}]) -> t(_).
new(Open) -> maps:from_list([{Node, {open, Incarnation}} || {Node, Incarnation} <- Open]).

%% @doc The life of the node was announced: what waited for that may pass, oldest first.
-spec open(node(), topos_incarnation:t(), t(Item)) -> {[Item], t(Item)}.
open(Node, Incarnation, Gate) ->
    Waited = case Gate of
        #{Node := {held, Incarnation, _, Newest}} -> lists:reverse(Newest);
        #{} -> []
    end,
    {Waited, Gate#{Node => {open, Incarnation}}}.

%% @doc The node is down: what it sends waits until it is announced again.
-spec close(node(), t(Item)) -> t(Item).
close(Node, Gate) -> maps:remove(Node, Gate).

%% @doc Whether an item of that life of the node may pass now, waits, or is one too many.
-spec pass({node(), topos_incarnation:t()}, Item, t(Item)) -> pass | {hold, t(Item)} | drop.
pass({Node, Incarnation}, Item, Gate) ->
    case Gate of
        #{Node := {open, Incarnation}} -> pass;
        #{Node := {held, Incarnation, Count, _}} when Count >= ?MAX_HELD -> drop;
        #{Node := {held, Incarnation, Count, Newest}} -> {hold, Gate#{Node := {held, Incarnation, Count + 1, [Item | Newest]}}};
        %% Nothing yet, or what an earlier life had sent.
        #{} -> {hold, Gate#{Node => {held, Incarnation, 1, [Item]}}}
    end.
