%% @doc A topology of your own: a module that says which nodes a node links to.
%%
%% ```
%% -module(my_ring).
%% -behaviour(topos_topology_handler).
%% -export([init/1, neighbours/3]).
%%
%% init(_Args) -> {ok, none}.
%%
%% neighbours(Node, Members, none) ->
%%     %% The next one, round the circle.
%%     {_, [Node | After]} = lists:splitwith(fun(M) -> M =/= Node end, Members),
%%     lists:sublist(After ++ Members, 1) -- [Node].
%% '''
%% It is chosen with `topology => #{type => custom, handler => my_ring}', the same on every node of the cluster.
%%
%% == What it is asked, and what it owes ==
%% Whenever the members that are up change, `neighbours/3' is asked for the nodes that this one is to have links to. A link is kept if either end wants it.
%% Members that are up are known to all nodes after a moment, so a handler that depends on nothing but its arguments gives the same graph everywhere. That graph
%% is to be connected: nodes that no way leads to are down to each other, dialled now and then, and linked for some seconds when they answer.
%%
%% The calls run in a process of their own, with a bound on time and memory, at most once at a time. A call that fails (an exception, too late, too much
%% memory, something else than a list of at most `max_links' other members) changes nothing: the links of the last good answer stand, `topos_topology:status/0' shows the
%% error, and it is asked again two seconds later, or when the members change.
-module(topos_topology_handler).

-export([new/2, later/2, look/3, result/3, error/1]).
%% Runs in the process of a call.
-export([call/3]).
-export_type([t/0]).

%% Once on each node, when it starts or is switched to this topology; `Args' are `topology.args' of the configuration. An error is one of the start, or of the switch.
-callback init(Args :: term()) -> {ok, State :: term()} | {error, Why :: term()}.
%% The nodes that `Node', this one, is to have links to. `Members': all that are up, this one included, sorted.
-callback neighbours(Node :: node(), Members :: [node(), ...], State :: term()) -> [node()].

-record(handler, {
    module :: module(),
    %% Before `init/1' has answered: its argument.
    state :: {begun, term()} | {args, term()},
    node :: node(),
    timeout :: pos_integer(),
    max_links :: pos_integer(),
    %% For which members it was asked last.
    asked = [] :: [node()],
    call = none :: none | {reference(), pid(), Deadline :: integer()},
    error = none :: none | topos_error:t(),
    retry_at = 0 :: integer()
}).
-opaque t() :: #handler{}.
-type settings() :: #{handler := module(), args := term(), handler_timeout := pos_integer(), max_links := pos_integer(), atom() => term()}.

-define(RETRY, 2_000).
%% Words of memory for a call: 64 MiB.
-define(MAX_HEAP, 8_388_608).

%% @doc Loads the module and calls its `init/1'; at most `handler_timeout' passes. Error: `topology_handler_failed'.
-spec new(settings(), node()) -> {ok, t()} | {error, topos_error:t()}.
new(Settings, Node) ->
    #handler{module = Module, state = State, timeout = Timeout} = Handler = later(Settings, Node),
    {Pid, Ref} = run(Module, State, init),
    receive
        {'DOWN', Ref, process, Pid, {?MODULE, {ok, Begun, []}}} -> {ok, Handler#handler{state = Begun}};
        {'DOWN', Ref, process, Pid, Reason} -> {error, failure(Module, why(Reason))}
    after Timeout ->
        true = exit(Pid, kill),
        true = demonitor(Ref, [flush]),
        {error, failure(Module, {timeout, Timeout})}
    end.

%% @doc A handler that begins when it is asked first, and again and again until it does: for a node that has to follow the others, whether its own handler
%% works or not.
-spec later(settings(), node()) -> t().
later(#{handler := Module, args := Args, handler_timeout := Timeout, max_links := Max}, Node) ->
    #handler{module = Module, state = {args, Args}, node = Node, timeout = Timeout, max_links = Max}.

%% @doc To be called some times a second with the members that are up, this node included, sorted. The answer to what it asks is a `DOWN' message to the
%% calling process, for {@link result/3}.
-spec look(integer(), [node()], t()) -> t().
look(Now, Members, #handler{call = none, asked = Asked, error = Error, retry_at = At} = Handler) when
    Members =/= Asked; Error =/= none, Now >= At
->
    #handler{module = Module, state = State, node = Node, timeout = Timeout, max_links = Max} = Handler,
    {Pid, Ref} = run(Module, State, {neighbours, Node, Members, Max}),
    Handler#handler{asked = Members, call = {Ref, Pid, Now + Timeout}};
look(Now, _, #handler{call = {_, Pid, Deadline}} = Handler) when Now >= Deadline ->
    true = exit(Pid, kill),
    Handler;
look(_, _, Handler) ->
    Handler.

%% @doc What a `DOWN' of that reference says: `none' if it is not of this handler.
-spec result({reference(), term()}, integer(), t()) -> {wanted, [node()], t()} | {failed, topos_error:t(), t()} | none.
result({Ref, Reason}, Now, #handler{call = {Ref, _, Deadline}} = Handler) ->
    Done = Handler#handler{call = none},
    case Reason of
        {?MODULE, {ok, State, Nodes}} ->
            {wanted, Nodes, Done#handler{state = State, error = none}};
        _ ->
            Why = case Reason of killed when Now >= Deadline -> {timeout, Handler#handler.timeout}; _ -> why(Reason) end,
            Error = failure(Handler#handler.module, Why),
            {failed, Error, Done#handler{error = Error, retry_at = Now + ?RETRY}}
    end;
result(_, _, _) ->
    none.

%% @doc Why the last call failed.
-spec error(t()) -> none | topos_error:t().
error(#handler{error = Error}) -> Error.

%% @private
-spec call(module(), {begun | args, term()}, question()) -> no_return().
call(Module, State, Question) ->
    exit({?MODULE, case begun(Module, State) of
        {ok, Begun} -> answer(Module, Begun, Question);
        {error, _} = Error -> Error
    end}).

%% internal

-spec is_handler(module()) -> boolean().
is_handler(Module) ->
    case code:ensure_loaded(Module) of
        {module, Module} ->
            erlang:function_exported(Module, init, 1) andalso erlang:function_exported(Module, neighbours, 3);
        {error, _} ->
            false
    end.

-type question() :: init | {neighbours, node(), [node()], pos_integer()}.

%% The process answers with its exit reason.
-spec run(module(), {begun | args, term()}, question()) -> {pid(), reference()}.
run(Module, State, Question) ->
    Heap = #{size => ?MAX_HEAP, kill => true, error_logger => false},
    spawn_opt(?MODULE, call, [Module, State, Question], [monitor, {max_heap_size, Heap}]).

-spec begun(module(), {begun | args, term()}) -> {ok, term()} | {error, term()}.
begun(_, {begun, State}) ->
    {ok, State};
begun(Module, {args, Args}) ->
    case is_handler(Module) andalso Module:init(Args) of
        false -> {error, {not_a_handler, [{init, 1}, {neighbours, 3}]}};
        {ok, State} -> {ok, State};
        {error, Why} -> {error, {init, Why}};
        Other -> {error, {unexpected, Other}}
    end.

-spec answer(module(), term(), question()) -> {ok, {begun, term()}, [node()]} | {error, term()}.
answer(_, State, init) ->
    {ok, {begun, State}, []};
answer(Module, State, {neighbours, Node, Members, Max}) ->
    case nodes(Module:neighbours(Node, Members, State), Members -- [Node], Max) of
        {ok, Nodes} -> {ok, {begun, State}, Nodes};
        {error, _} = Error -> Error
    end.

-spec nodes(term(), [node()], pos_integer()) -> {ok, [node()]} | {error, term()}.
nodes(Nodes, Others, Max) ->
    case is_list(Nodes) andalso length(Nodes) of
        false -> {error, {no_list, Nodes}};
        Length when Length > Max -> {error, {too_many, Length, Max}};
        _ ->
            case [Node || Node <- Nodes, not lists:member(Node, Others)] of
                [] -> {ok, lists:usort(Nodes)};
                Strangers -> {error, {no_other_members, Strangers}}
            end
    end.

-spec why(term()) -> term().
why({?MODULE, {error, Why}}) -> Why;
why(killed) -> memory;
why({Reason, Stack}) when is_list(Stack) -> Reason;
why(Reason) -> Reason.

-spec failure(module(), term()) -> topos_error:t().
failure(Module, Why) -> topos_error:new(topology_handler_failed, #{handler => Module, why => Why}).
