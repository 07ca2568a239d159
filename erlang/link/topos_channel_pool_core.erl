%% @doc How many lanes an adaptive channel has, as a pure state machine: one sample in, one decision out.
%%
%% The load is how many messages wait a lane. When it was at least `high' in `grow_after' samples running, the lanes are
%% doubled, up to `max'; when it was at most `low' in `shrink_after' samples running, halved, down to `min'. Samples between
%% the two begin both counts anew, and for `cooldown' samples after a change nothing is decided: so a load that wavers
%% does not make the number of lanes waver (hysteresis).
-module(topos_channel_pool_core).

-export([new/3, resumed/2, sample/2, lanes/1, least/1]).
-export_type([t/0, options/0, decision/0]).

-type options() :: #{
    high => pos_integer(), low => non_neg_integer(), grow_after => pos_integer(), shrink_after => pos_integer(),
    cooldown => non_neg_integer()
}.
-type decision() :: keep | {resize, pos_integer()}.
-record(pool, {
    min :: pos_integer(),
    max :: pos_integer(),
    lanes :: pos_integer(),
    busy = 0 :: non_neg_integer(),
    idle = 0 :: non_neg_integer(),
    rest = 0 :: non_neg_integer(),
    options :: options()
}).
-opaque t() :: #pool{}.

%% @doc A pool that begins with its least number of lanes.
-spec new(Min :: pos_integer(), Max :: pos_integer(), options()) -> t().
new(Min, Max, Options) when Min =< Max ->
    Defaults = #{high => 256, low => 16, grow_after => 3, shrink_after => 25, cooldown => 5},
    #{high := High, low := Low} = All = maps:merge(Defaults, Options),
    true = Low < High,
    #pool{min = Min, max = Max, lanes = Min, options = All}.

-spec lanes(t()) -> pos_integer().
lanes(#pool{lanes = Lanes}) -> Lanes.

%% @doc The number of lanes it shrinks to.
-spec least(t()) -> pos_integer().
least(#pool{min = Min}) -> Min.

%% @doc The same pool where it was interrupted, with so many lanes as there are now.
-spec resumed(pos_integer(), t()) -> t().
resumed(Lanes, #pool{min = Min} = Pool) -> Pool#pool{min = min(Min, Lanes), lanes = Lanes, busy = 0, idle = 0, rest = 0}.

%% @doc Takes the number of messages that wait, over all lanes.
-spec sample(non_neg_integer(), t()) -> {decision(), t()}.
sample(_Waiting, #pool{rest = Rest} = Pool) when Rest > 0 ->
    {keep, Pool#pool{rest = Rest - 1}};
sample(Waiting, #pool{lanes = Lanes, busy = Busy, idle = Idle, options = #{high := High, low := Low}} = Pool) ->
    if
        Waiting >= High * Lanes -> decide(Pool#pool{busy = Busy + 1, idle = 0});
        Waiting =< Low * Lanes -> decide(Pool#pool{busy = 0, idle = Idle + 1});
        true -> {keep, Pool#pool{busy = 0, idle = 0}}
    end.

%% internal

-spec decide(t()) -> {decision(), t()}.
decide(#pool{busy = N, lanes = Lanes, max = Max, options = #{grow_after := N}} = Pool) when Lanes < Max ->
    resize(min(Max, 2 * Lanes), Pool);
decide(#pool{idle = N, lanes = Lanes, min = Min, options = #{shrink_after := N}} = Pool) when Lanes > Min ->
    resize(max(Min, Lanes div 2), Pool);
decide(#pool{busy = Busy, idle = Idle, options = #{grow_after := Grow, shrink_after := Shrink}} = Pool) ->
    {keep, Pool#pool{busy = min(Busy, Grow - 1), idle = min(Idle, Shrink - 1)}}.

-spec resize(pos_integer(), t()) -> {decision(), t()}.
resize(Lanes, #pool{options = #{cooldown := Cooldown}} = Pool) ->
    {{resize, Lanes}, Pool#pool{lanes = Lanes, busy = 0, idle = 0, rest = Cooldown}}.
