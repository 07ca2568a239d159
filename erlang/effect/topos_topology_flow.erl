%% @doc A flow of Topos as the handler of a topology: `P.Topology.Custom({ handler = "Shapes.ring" })'.
%%
%% The flow is public, has no effects, and the type `(own : Node) -> (members : [Node]) -> [Node]'. Its module is on every node that runs
%% the program; a name travels to the others when the topology is switched, a closure could not.
-module(topos_topology_flow).
-behaviour(topos_topology_handler).

-export([init/1, neighbours/3]).

-type flow() :: {module(), Function :: atom()}.

%% @doc The flow of that name, `Module.flow'.
-spec init(binary()) -> {ok, flow()} | {error, term()}.
init(Name) when is_binary(Name) ->
    case string:split(Name, ".", trailing) of
        [Module, Flow] -> find(Module, Flow);
        _ -> {error, no_flow}
    end.

-spec neighbours(node(), [node(), ...], flow()) -> [node()].
neighbours(Node, Members, {Module, Flow}) -> Module:Flow(Node, Members).

%% internal

%% Only of a module that is there a name becomes an atom.
-spec find(binary(), binary()) -> {ok, flow()} | {error, term()}.
find(Module, Flow) ->
    case code:where_is_file(binary_to_list(<<Module/binary, ".beam">>)) of
        non_existing ->
            {error, no_module};
        _ ->
            Loaded = binary_to_atom(Module),
            {module, Loaded} = code:ensure_loaded(Loaded),
            Exported = [{Name, Arity} || {Name, Arity} <- Loaded:module_info(exports), atom_to_binary(Name) =:= Flow],
            %% One with effects is there twice: with what handles them as one argument more.
            case lists:sort(Exported) of
                [{Name, 2}] -> {ok, {Loaded, Name}};
                [] -> {error, no_flow};
                [_ | _] -> {error, {wrong_type, <<"(own : Node) -> (members : [Node]) -> [Node]">>}}
            end
    end.
