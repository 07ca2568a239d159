%% @doc Root handler of the effect `Topos.Runner.Runner': what a program may ask of the `topos run' or `topos test' that started it.
%% The flows of that module come here by `topos_effect_nodes'.
%%
%% Every operation answers `{error, Text}' in a program that was started otherwise.
-module(topos_effect_runner).
-behaviour(topos_handler).

-export([init/2, terminate/2, portable/1]).
-export([nodes/1, kill/2, start/2]).
-export([partition/2, heal/1, pause/2, resume/2, hold/2, release/2, release_next/3]).
-export([on_node/3, node/2, await_members/2]).

-type instance() :: [].

%% How long the nodes of a new cluster may take to see each other, in milliseconds.
-define(PATIENCE, 30_000).

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

%% What flows ask

%% @doc What a function answers on another node.
-spec on_node(instance(), binary(), topos_runner_call:body()) -> term().
on_node([], Name, Body) -> topos_runner:call(Name, Body).

%% @doc The node of that short name. Names of nodes that no run has are no error here: the atom is one of the program's own.
-spec node(instance(), binary()) -> node().
node([], Name) ->
    Host =
        case os:getenv("TOPOS_NODE") of
            false -> "127.0.0.1";
            Own -> lists:last(string:split(Own, "@"))
        end,
    binary_to_atom(unicode:characters_to_binary([Name, $@, Host])).

%% @doc Waits until so many other nodes are up.
-spec await_members(instance(), integer()) -> ok.
await_members([], Count) ->
    {Self, Tag} = {self(), make_ref()},
    {ok, Subscription} = topos_partisan:on_up(any, fun(_) -> Self ! Tag end),
    Deadline = erlang:monotonic_time(millisecond) + ?PATIENCE,
    try
        await_up(Count, Tag, Deadline)
    after
        ok = topos_partisan:cancel(Subscription)
    end.

%% internal

-spec only_simulated(atom()) -> {error, binary()}.
only_simulated(Operation) ->
    Error = topos_error:new(only_simulated, #{operation => <<"Runner.", (atom_to_binary(Operation))/binary>>}),
    {error, unicode:characters_to_binary(topos_error:format(Error))}.

-spec await_up(integer(), reference(), integer()) -> ok.
await_up(Count, Tag, Deadline) ->
    case length(topos_partisan:nodes()) of
        Up when Up >= Count ->
            ok;
        _ ->
            receive
                Tag -> await_up(Count, Tag, Deadline)
            after max(0, Deadline - erlang:monotonic_time(millisecond)) ->
                erlang:error(topos_error:new(timeout, #{operation => <<"to form a cluster">>, timeout => ?PATIENCE}))
            end
    end.

%% `Result () Text' of Topos: the unit is the atom `ok'.
-spec unit(ok | {error, binary()}) -> {ok, ok} | {error, binary()}.
unit(ok) -> {ok, ok};
unit({error, _} = Error) -> Error.
