%% @doc Histograms of durations that many processes fill at once and that can be merged: log-linear buckets.
%%
%% Values below 64 have a bucket each; above, every power of two is divided into 32 buckets, so a value is known to within
%% 1/32 (3.2 %). This is the bucket layout of HdrHistogram (G. Tene, [https://hdrhistogram.org]) with one and a half
%% significant digits. Values are non-negative integers, microseconds by convention; those of 2^36 (19 hours) and more are
%% counted in the last bucket. A histogram takes 8 kB, whatever is recorded.
-module(topos_histogram).

-export([new/0, record/2, snapshot/1, empty/0, merge/2, subtract/2, count/1, percentile/2]).
-export_type([t/0, snapshot/0]).

-define(LINEAR, 64).
-define(LINEAR_BITS, 6).
-define(PARTS, 32).
-define(MAX_BITS, 36).
-define(BUCKETS, (?LINEAR + (?MAX_BITS - ?LINEAR_BITS) * ?PARTS)).

-opaque t() :: counters:counters_ref().
%% How many values each bucket holds; empty buckets are left out.
-opaque snapshot() :: #{pos_integer() => pos_integer()}.

-spec new() -> t().
new() -> counters:new(?BUCKETS, [write_concurrency]).

%% @doc Counts a value; a negative one counts as 0.
-spec record(integer(), t()) -> ok.
record(Value, Histogram) -> counters:add(Histogram, bucket(max(0, Value)), 1).

-spec snapshot(t()) -> snapshot().
snapshot(Histogram) ->
    maps:from_list([{B, N} || B <- lists:seq(1, ?BUCKETS), (N = counters:get(Histogram, B)) > 0]).

-spec empty() -> snapshot().
empty() -> #{}.

%% @doc The values of both. Commutative and associative; nothing is lost by merging.
-spec merge(snapshot(), snapshot()) -> snapshot().
merge(A, B) -> maps:fold(fun(Bucket, N, Acc) -> maps:update_with(Bucket, fun(M) -> M + N end, N, Acc) end, A, B).

%% @doc The values of a later snapshot that an earlier one of the same histogram does not have.
-spec subtract(Later :: snapshot(), Earlier :: snapshot()) -> snapshot().
subtract(Later, Earlier) ->
    maps:filtermap(fun(Bucket, N) -> case N - maps:get(Bucket, Earlier, 0) of M when M > 0 -> {true, M}; _ -> false end end, Later).

-spec count(snapshot()) -> non_neg_integer().
count(Snapshot) -> lists:sum(maps:values(Snapshot)).

%% @doc The smallest value that at least `Percent' of the values do not exceed, as the highest value of its bucket; 0 if
%% there are none.
-spec percentile(number(), snapshot()) -> non_neg_integer().
percentile(Percent, Snapshot) when Percent >= 0, Percent =< 100 ->
    case count(Snapshot) of
        0 -> 0;
        Count -> nth(max(1, ceil(Count * Percent / 100)), lists:sort(maps:to_list(Snapshot)))
    end.

%% internal

-spec nth(pos_integer(), [{pos_integer(), pos_integer()}, ...]) -> non_neg_integer().
nth(Rank, [{Bucket, N} | _]) when Rank =< N -> highest(Bucket);
nth(Rank, [{_, N} | Rest]) -> nth(Rank - N, Rest).

-spec bucket(non_neg_integer()) -> pos_integer().
bucket(Value) when Value < ?LINEAR -> Value + 1;
bucket(Value) when Value >= 1 bsl ?MAX_BITS -> ?BUCKETS;
bucket(Value) ->
    Shift = bits(Value, 0) - ?LINEAR_BITS,
    %% Value bsr Shift is in 32..63.
    ?LINEAR + (Shift - 1) * ?PARTS + (Value bsr Shift) - ?PARTS + 1.

-spec highest(pos_integer()) -> non_neg_integer().
highest(Bucket) when Bucket =< ?LINEAR -> Bucket - 1;
highest(Bucket) ->
    Above = Bucket - 1 - ?LINEAR,
    Shift = Above div ?PARTS + 1,
    ((?PARTS + Above rem ?PARTS + 1) bsl Shift) - 1.

-spec bits(non_neg_integer(), non_neg_integer()) -> non_neg_integer().
bits(0, N) -> N;
bits(Value, N) when Value >= 65536 -> bits(Value bsr 16, N + 16);
bits(Value, N) when Value >= 256 -> bits(Value bsr 8, N + 8);
bits(Value, N) -> bits(Value bsr 1, N + 1).
