%% @doc Root handler of the effect `Topos.Time.Time'. All times are milliseconds.
-module(topos_effect_time).
-behaviour(topos_handler).

-export([init/2, terminate/2, portable/1]).
-export([now/1, monotonic/1]).

-type instance() :: time.

-spec init([], topos_effect:evidence()) -> {ok, instance()}.
init([], _Ev) -> {ok, time}.

-spec terminate(term(), instance()) -> ok.
terminate(_Reason, time) -> ok.

-spec portable(instance()) -> true.
portable(time) -> true.

%% @doc Since 1970-01-01T00:00:00Z.
-spec now(instance()) -> integer().
now(time) -> erlang:system_time(millisecond).

%% @doc Since an arbitrary moment of this VM; never goes back.
-spec monotonic(instance()) -> integer().
monotonic(time) -> erlang:monotonic_time(millisecond).
