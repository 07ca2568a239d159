%% The adaptive pool: within bounds whatever comes, at rest after a change, steady under a load that wavers.
-module(prop_topos_channel_pool).

-include_lib("proper/include/proper.hrl").

-export([prop_bounds_and_rest/0, prop_wavering_load_changes_nothing/0, prop_reaches_both_ends/0]).

-define(OPTIONS, #{high => 100, low => 10, grow_after => 3, shrink_after => 6, cooldown => 4}).

bounds() -> ?LET({Min, More}, {range(1, 16), range(0, 48)}, {Min, Min + More}).

prop_bounds_and_rest() ->
    ?FORALL({{Min, Max}, Loads}, {bounds(), list(oneof([0, range(0, 20_000)]))},
            begin
                {Decisions, _} = lists:mapfoldl(fun topos_channel_pool_core:sample/2, pool(Min, Max), Loads),
                Sizes = [N || {resize, N} <- Decisions],
                conjunction([
                    {bounds, lists:all(fun(N) -> N >= Min andalso N =< Max end, Sizes)},
                    {changes, changes([Min | Sizes])},
                    {rest, lists:all(fun(Gap) -> Gap > 4 end, gaps(Decisions))}
                ])
            end).

%% Loads that are never high three times running nor low six times running.
prop_wavering_load_changes_nothing() ->
    ?FORALL(Parts, list({range(0, 2), range(0, 5)}),
            begin
                Loads = lists:append([lists:duplicate(High, 100) ++ lists:duplicate(Low, 10) ++ [50] || {High, Low} <- Parts]),
                {Decisions, _} = lists:mapfoldl(fun topos_channel_pool_core:sample/2, pool(1, 8), Loads),
                lists:all(fun(D) -> D =:= keep end, Decisions)
            end).

prop_reaches_both_ends() ->
    ?FORALL({Min, Max}, bounds(),
            begin
                {_, Grown} = lists:mapfoldl(fun topos_channel_pool_core:sample/2, pool(Min, Max), lists:duplicate(60, 1_000_000)),
                {_, Shrunk} = lists:mapfoldl(fun topos_channel_pool_core:sample/2, Grown, lists:duplicate(90, 0)),
                {topos_channel_pool_core:lanes(Grown), topos_channel_pool_core:lanes(Shrunk)} =:= {Max, Min}
            end).

pool(Min, Max) -> topos_channel_pool_core:new(Min, Max, ?OPTIONS).

changes([A, B | Rest]) -> A =/= B andalso changes([B | Rest]);
changes(_) -> true.

%% Samples between two changes.
gaps(Decisions) ->
    At = [I || {I, {resize, _}} <- lists:zip(lists:seq(1, length(Decisions)), Decisions)],
    case At of
        [] -> [];
        [_ | Later] -> lists:zipwith(fun(A, B) -> B - A end, lists:droplast(At), Later)
    end.
