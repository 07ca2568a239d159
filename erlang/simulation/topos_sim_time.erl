%% @doc The effect `Topos.Time.Time' in a simulation: virtual time. Every run begins at 2026-01-01T00:00:00Z.
-module(topos_sim_time).
-behaviour(topos_handler).

-export([init/2, terminate/2, portable/1, '$handle_undefined_function'/2]).
-export([now/1, monotonic/1]).

-type instance() :: time.

%% In milliseconds.
-define(EPOCH, 1_767_225_600_000).

-spec init([], topos_effect:evidence()) -> {ok, instance()}.
init([], _Ev) -> {ok, time}.

-spec terminate(term(), instance()) -> ok.
terminate(_Reason, time) -> ok.

-spec portable(instance()) -> true.
portable(time) -> true.

%% @private An operation that the effect has and this module has not.
-spec '$handle_undefined_function'(atom(), [term()]) -> no_return().
'$handle_undefined_function'(Operation, _) -> topos_sim_distributed:not_simulated('Time', Operation).

%% @doc Since 1970-01-01T00:00:00Z.
-spec now(instance()) -> integer().
now(time) -> ?EPOCH + monotonic(time).

%% @doc Since the run began.
-spec monotonic(instance()) -> integer().
monotonic(time) -> topos_sim_scheduler:call(topos_sim_process, now).
