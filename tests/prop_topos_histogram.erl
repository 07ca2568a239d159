%% Percentiles of a histogram are those of the sorted values, within a bucket's width; merging is adding.
-module(prop_topos_histogram).

-include_lib("proper/include/proper.hrl").

-export([prop_percentiles_are_close/0, prop_merge_is_union/0]).

value() -> oneof([range(0, 200), range(0, 100_000), range(0, 1 bsl 35)]).

prop_percentiles_are_close() ->
    ?FORALL({Values, Percent}, {non_empty(list(value())), range(0, 100)},
            begin
                Rank = max(1, ceil(length(Values) * Percent / 100)),
                Exact = lists:nth(Rank, lists:sort(Values)),
                Got = topos_histogram:percentile(Percent, filled(Values)),
                ?WHENFAIL(io:format("exact ~b, got ~b~n", [Exact, Got]), Got >= Exact andalso Got =< Exact + Exact div 32)
            end).

prop_merge_is_union() ->
    ?FORALL({A, B}, {list(value()), list(value())},
            begin
                Merged = topos_histogram:merge(filled(A), filled(B)),
                Merged =:= filled(A ++ B)
                    andalso topos_histogram:count(Merged) =:= length(A) + length(B)
                    andalso topos_histogram:subtract(Merged, filled(A)) =:= filled(B)
            end).

filled(Values) ->
    Histogram = topos_histogram:new(),
    [ok = topos_histogram:record(V, Histogram) || V <- Values],
    topos_histogram:snapshot(Histogram).
