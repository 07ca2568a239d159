%% @doc Root handler of the effect `Topos.Runner.Runner': what a program may ask of the `topos run' that started it.
%%
%% Every operation answers `{error, Text}' in a program that was started otherwise.
-module(topos_effect_runner).
-behaviour(topos_handler).

-export([init/2, terminate/2, portable/1]).
-export([nodes/1, kill/2, start/2]).
-export([partition/2, heal/1, pause/2, resume/2, hold/2, release/2, release_next/3]).

-type instance() :: [].

-spec init([], map()) -> {ok, instance()}.
init([], _Ev) -> {ok, []}.

-spec terminate(term(), instance()) -> ok.
terminate(_Reason, []) -> ok.

%% @doc Only this VM has the line to its runner.
-spec portable(instance()) -> boolean().
portable([]) -> false.

%% @doc The short names of the nodes that the runner started.
-spec nodes(instance()) -> {ok, [binary()]} | {error, binary()}.
nodes([]) -> topos_runner:nodes().

%% @doc Kills a node with SIGKILL.
-spec kill(instance(), binary()) -> {ok, ok} | {error, binary()}.
kill([], Name) -> unit(topos_runner:kill(Name)).

%% @doc Starts a node that ended again.
-spec start(instance(), binary()) -> {ok, ok} | {error, binary()}.
start([], Name) -> unit(topos_runner:start_node(Name)).

%% What needs virtual nodes

-spec partition(instance(), [[binary()]]) -> {error, binary()}.
partition([], _Sides) -> only_simulated(partition).

-spec heal(instance()) -> {error, binary()}.
heal([]) -> only_simulated(heal).

-spec pause(instance(), binary()) -> {error, binary()}.
pause([], _Name) -> only_simulated(pause).

-spec resume(instance(), binary()) -> {error, binary()}.
resume([], _Name) -> only_simulated(resume).

-spec hold(instance(), binary()) -> {error, binary()}.
hold([], _Name) -> only_simulated(hold).

-spec release(instance(), binary()) -> {error, binary()}.
release([], _Name) -> only_simulated(release).

-spec release_next(instance(), binary(), binary()) -> {error, binary()}.
release_next([], _From, _To) -> only_simulated(release_next).

%% internal

-spec only_simulated(atom()) -> {error, binary()}.
only_simulated(Operation) ->
    Error = topos_error:new(only_simulated, #{operation => <<"Runner.", (atom_to_binary(Operation))/binary>>}),
    {error, unicode:characters_to_binary(topos_error:format(Error))}.

%% `Result () Text' of Topos: the unit is the atom `ok'.
-spec unit(ok | {error, binary()}) -> {ok, ok} | {error, binary()}.
unit(ok) -> {ok, ok};
unit({error, _} = Error) -> Error.
