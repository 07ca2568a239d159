%% @doc The effect `Topos.IO.IO' in a simulation: the output of virtual nodes. There is no standard input, and no
%% environment: what a run does follows from its seed alone.
-module(topos_sim_io).
-behaviour(topos_handler).

-export([init/2, terminate/2, portable/1, '$handle_undefined_function'/2]).
-export([print/2, write/2, warn/2, read_line/1, env/2]).

-type instance() :: io.

-spec init([], topos_effect:evidence()) -> {ok, instance()}.
init([], _Ev) -> {ok, io}.

-spec terminate(term(), instance()) -> ok.
terminate(_Reason, io) -> ok.

-spec portable(instance()) -> true.
portable(io) -> true.

%% @private An operation that the effect has and this module has not.
-spec '$handle_undefined_function'(atom(), [term()]) -> no_return().
'$handle_undefined_function'(Operation, _) -> topos_sim_distributed:not_simulated('IO', Operation).

-spec print(instance(), binary()) -> ok.
print(io, Text) -> topos_sim_nodes:write(out, [Text, $\n]).

-spec write(instance(), binary()) -> ok.
write(io, Text) -> topos_sim_nodes:write(out, Text).

-spec warn(instance(), binary()) -> ok.
warn(io, Text) -> topos_sim_nodes:write(err, [Text, $\n]).

-spec read_line(instance()) -> none.
read_line(io) -> none.

-spec env(instance(), binary()) -> none.
env(io, _Name) -> none.
