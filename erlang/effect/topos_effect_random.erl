%% @doc Root handler of the effect `Topos.Random.Random': pseudo-random numbers, not for secrets.
%%
%% Each process has a generator of its own (`rand', exsss), seeded by the VM. `seed' makes the calling process repeatable.
-module(topos_effect_random).
-behaviour(topos_handler).

-export([init/2, terminate/2, portable/1]).
-export([int/3, float/1, seed/2]).

-type instance() :: random.

-spec init([], topos_effect:evidence()) -> {ok, instance()}.
init([], _Ev) -> {ok, random}.

-spec terminate(term(), instance()) -> ok.
terminate(_Reason, random) -> ok.

-spec portable(instance()) -> true.
portable(random) -> true.

%% @doc A whole number from `First' to `Last', both included; `First' if the range is empty.
-spec int(instance(), integer(), integer()) -> integer().
int(random, First, Last) when Last > First -> First + rand:uniform(Last - First + 1) - 1;
int(random, First, _Last) -> First.

%% @doc At least 0.0, less than 1.0.
-spec float(instance()) -> float().
float(random) -> rand:uniform().

%% @doc The same seed gives the same numbers, on every machine.
-spec seed(instance(), integer()) -> ok.
seed(random, Seed) ->
    _ = rand:seed(exsss, Seed),
    ok.
