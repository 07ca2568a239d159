%% @doc The effect `Topos.Runner.Runner' in a simulation: which nodes the run has, and faults on request.
-module(topos_sim_runner).
-behaviour(topos_handler).

-export([init/2, terminate/2, portable/1, '$handle_undefined_function'/2]).
-export([nodes/1, kill/2, start/2, partition/2, heal/1, pause/2, resume/2, hold/2, release/2, release_next/3]).
-export([on_node/3, node/2, await_members/2]).

-type instance() :: [].
-type outcome() :: {ok, ok} | {error, binary()}.

-spec init([], topos_effect:evidence()) -> {ok, instance()}.
init([], _Ev) -> {ok, []}.

-spec terminate(term(), instance()) -> ok.
terminate(_Reason, []) -> ok.

-spec portable(instance()) -> true.
portable([]) -> true.

%% @private An operation that the effect has and this module has not.
-spec '$handle_undefined_function'(atom(), [term()]) -> no_return().
'$handle_undefined_function'(Operation, _) -> topos_sim_distributed:not_simulated('Runner', Operation).

%% @doc The short names of the nodes of the run.
-spec nodes(instance()) -> {ok, [binary()]}.
nodes([]) -> call(nodes).

%% @doc Crashes a node.
-spec kill(instance(), binary()) -> outcome().
kill([], Name) -> call({kill, Name}).

%% @doc Starts a node that ended again.
-spec start(instance(), binary()) -> outcome().
start([], Name) -> call({start, Name}).

-spec partition(instance(), [[binary()]]) -> outcome().
partition([], Sides) -> call({partition, Sides}).

-spec heal(instance()) -> outcome().
heal([]) -> call(heal).

-spec pause(instance(), binary()) -> outcome().
pause([], Name) -> call({pause, Name}).

-spec resume(instance(), binary()) -> outcome().
resume([], Name) -> call({resume, Name}).

-spec hold(instance(), binary()) -> outcome().
hold([], Name) -> call({hold, Name}).

-spec release(instance(), binary()) -> outcome().
release([], Name) -> call({release, Name}).

-spec release_next(instance(), binary(), binary()) -> {ok, boolean()} | {error, binary()}.
release_next([], From, To) -> call({release_next, From, To}).

%% What flows ask

%% @doc In a test, what a function answers on another node.
-spec on_node(instance(), binary(), topos_runner_call:body()) -> term().
on_node([], Name, Body) -> topos_sim_calls:call(Name, Body).

%% @doc The node of that short name; those of nodes that the run has not are no error, as on real nodes.
-spec node(instance(), binary()) -> node().
node([], Name) -> call({node, Name}).

%% @doc Waits until so many other nodes are up.
-spec await_members(instance(), integer()) -> ok.
await_members([], Count) -> topos_effect_distributed:value(topos_sim_distributed:ask({await_members, Count})).

%% internal

call(Request) -> topos_sim_scheduler:call(topos_sim_nodes, Request).
